"""Optimum's ONNX Runtime pipeline, over the engine set that ours runs too: the same graphs."""

from optimum.onnxruntime import ORTStableDiffusionInpaintPipeline

from ..task import SideName, Task
from .inpaint_pipeline import InpaintPipelineSide

__all__ = ["load"]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def load(name: SideName, task: Task) -> InpaintPipelineSide:
    if name.precision != "fp32":
        raise ValueError("optimum runs a set in the precision that it is stored in: say fp32.")
    # With IO binding its UNet declares its output to be as wide as its input, which a 9-channel UNet's is not.
    options = name.taken(use_io_binding=False)
    pipeline = ORTStableDiffusionInpaintPipeline.from_pretrained(
        task.engines, provider=PROVIDERS[name.device], export=False, **options
    )
    facts = {"device": name.device, "precision": "fp32", "providers": list(pipeline.providers), **options}
    return InpaintPipelineSide(pipeline, task, facts)
