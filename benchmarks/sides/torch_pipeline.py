"""diffusers on torch: eager, or with the UNet compiled, in inductor's mode or by the backend that is named.

With `deepcache=N` the package DeepCache (Ma et al. 2023, arXiv 2312.00858) runs the UNet whole in every Nth step, and
in the others its entry and the end of its last block alone, on the deep features of the latest whole one.
"""

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
    options = name.taken(compile=False, channels_last=False, deepcache=1)
    if options["compile"] and options["deepcache"] > 1:
        raise ValueError("DeepCache takes its turns in Python, which a compiled graph has none of: say one of the two.")
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
    if options["deepcache"] > 1:
        from DeepCache import DeepCacheSDHelper

        cached = DeepCacheSDHelper(pipeline)
        cached.set_params(cache_interval=options["deepcache"], cache_branch_id=0)
        cached.enable()
    facts = {"device": name.device, "precision": str(dtype).removeprefix("torch."), **options}
    if name.device.startswith("cuda"):
        return InpaintPipelineSide(pipeline, task, facts, dtype, torch.cuda.synchronize)
    return InpaintPipelineSide(pipeline, task, facts, dtype)
