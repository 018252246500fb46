"""A sampling loop that stays on the device: latents, masks and embeddings are copied there once a picture.

The loops of `samplers` and `denoise` are the reference. What they do after a UNet call, for a sampler that is linear,
is one small graph here, with the sampler's weights as its input.
"""

from .loop import DeviceStep, Given, run_on_device

__all__ = ["DeviceStep", "Given", "run_on_device"]
