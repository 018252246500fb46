"""Optimum's inpaint pipelines: ONNX Runtime's over our engine set, and OpenVINO's, exported when it is loaded.

Each needs an environment of its own, so each is imported on use.
"""

from ..task import SideName, Task
from .inpaint_pipeline import InpaintPipelineSide

__all__ = ["load"]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def load(name: SideName, task: Task) -> InpaintPipelineSide:
    return _on_openvino(name, task) if name.kind == "optimum-intel" else _on_onnxruntime(name, task)


def _on_onnxruntime(name: SideName, task: Task) -> InpaintPipelineSide:
    from optimum.onnxruntime import ORTStableDiffusionInpaintPipeline

    if name.precision != "fp32":
        raise ValueError("optimum runs a set in the precision that it is stored in: say fp32.")
    # With IO binding its UNet declares its output to be as wide as its input, which a 9-channel UNet's is not.
    options = name.taken(use_io_binding=False)
    pipeline = ORTStableDiffusionInpaintPipeline.from_pretrained(
        task.engines, provider=PROVIDERS[name.device], export=False, **options
    )
    facts = {"device": name.device, "precision": "fp32", "providers": list(pipeline.providers), **options}
    return InpaintPipelineSide(pipeline, task, facts)


def _on_openvino(name: SideName, task: Task) -> InpaintPipelineSide:
    from optimum.intel import OVStableDiffusionInpaintPipeline

    from .openvino_graph import HINTS

    name.taken()
    pipeline = OVStableDiffusionInpaintPipeline.from_pretrained(
        task.checkpoint,
        export=True,
        compile=False,
        device=name.device.upper(),
        ov_config={"INFERENCE_PRECISION_HINT": HINTS[name.precision], "PERFORMANCE_HINT": "LATENCY"},
        safety_checker=None,
    )
    # One static shape.
    pipeline.reshape(batch_size=1, height=task.height, width=task.width, num_images_per_prompt=1)
    pipeline.compile()
    ran = pipeline.unet.request.get_property("INFERENCE_PRECISION_HINT")
    return InpaintPipelineSide(pipeline, task, {"device": name.device, "precision": ran.to_string()})
