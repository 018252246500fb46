"""optimum-intel's OpenVINO pipeline: exported from the checkpoint when it is loaded, one static shape."""

from optimum.intel import OVStableDiffusionInpaintPipeline

from ..task import SideName, Task
from .inpaint_pipeline import InpaintPipelineSide
from .openvino_graph import HINTS

__all__ = ["load"]


def load(name: SideName, task: Task) -> InpaintPipelineSide:
    name.taken()
    pipeline = OVStableDiffusionInpaintPipeline.from_pretrained(
        task.checkpoint,
        export=True,
        compile=False,
        device=name.device.upper(),
        ov_config={"INFERENCE_PRECISION_HINT": HINTS[name.precision], "PERFORMANCE_HINT": "LATENCY"},
        safety_checker=None,
    )
    pipeline.reshape(batch_size=1, height=task.height, width=task.width, num_images_per_prompt=1)
    pipeline.compile()
    ran = pipeline.unet.request.get_property("INFERENCE_PRECISION_HINT")
    return InpaintPipelineSide(pipeline, task, {"device": name.device, "precision": ran.to_string()})
