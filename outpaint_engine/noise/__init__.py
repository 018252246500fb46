"""Where standard normals come from: a seed gives the noise of torch on the CPU, of torch on CUDA, or of numpy."""

from .mt19937 import TorchNoise
from .philox import TorchCudaNoise
from .sources import NOISES, NoiseSource, NumpyNoise, noise_source, random_seed

__all__ = ["NOISES", "NoiseSource", "NumpyNoise", "TorchCudaNoise", "TorchNoise", "noise_source", "random_seed"]
