"""`outpaint`, with a UNet that never returns at 192x192: `python -m benchmarks.service.hanging_server serve ...`."""

import threading
from collections.abc import Collection, Mapping
from typing import Any

from outpaint_engine.cli import main
from outpaint_engine.engines.base import EngineDecorator
from outpaint_engine.pipeline import OutpaintPipeline
from outpaint_engine.tensors import Array

LATENTS = 192 // 8


class _Hanging(EngineDecorator):
    def run(self, feeds: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
        if feeds["sample"].shape[2] == LATENTS:
            threading.Event().wait()
        return self.engine.run(feeds, wanted)


class _Pipeline(OutpaintPipeline):
    @classmethod
    def from_pretrained(cls, *arguments: Any, **options: Any) -> Any:
        pipeline = OutpaintPipeline.from_pretrained(*arguments, **options)
        models = pipeline.models.with_engines({"unet": _Hanging(pipeline.models.engines["unet"])})
        return OutpaintPipeline(models, max_batch=pipeline.max_batch)


if __name__ == "__main__":
    from outpaint_engine import shared

    shared.OutpaintPipeline = _Pipeline  # type: ignore[misc]
    main()
