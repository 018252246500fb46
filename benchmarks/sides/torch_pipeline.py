"""diffusers on torch: eager, or with the UNet compiled, in inductor's mode or by the backend that is named."""

import torch
from outpaint_export.parity.reference import reference_pipeline
from outpaint_export.sources.opening import open_source, silence_libraries

from ..task import SideName, Task
from .inpaint_pipeline import InpaintPipelineSide

__all__ = ["load"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""Of inductor, torch's own compiler."""


def load(name: SideName, task: Task) -> InpaintPipelineSide:
    options = name.taken(compile=False, channels_last=False)
    silence_libraries()
    dtype = DTYPES[name.precision]
    pipeline = reference_pipeline(open_source(task.checkpoint)).to(name.device, dtype)
    if options["channels_last"] or options["compile"]:
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
    if options["compile"]:
        asked = "max-autotune" if options["compile"] is True else options["compile"]
        how = {"mode": asked} if asked in MODES else {"backend": asked}
        pipeline.unet = torch.compile(pipeline.unet, fullgraph=True, **how)
    facts = {"device": name.device, "precision": str(dtype).removeprefix("torch."), **options}
    if name.device.startswith("cuda"):
        return InpaintPipelineSide(pipeline, task, facts, dtype, torch.cuda.synchronize)
    return InpaintPipelineSide(pipeline, task, facts, dtype)
