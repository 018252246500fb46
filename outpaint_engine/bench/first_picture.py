"""The process that `starts` times: loads an engine set, paints one picture, and prints one line at each milestone.

Options come as JSON on standard input. Not imported by anything, so that it may be run as a module.
"""

import json
import sys

from ..engine_set import EngineSet
from ..engines import EngineOptions
from ..errors import OutpaintError
from ..pipeline import OutpaintPipeline
from .environment import peak_rss
from .record import BenchOptions
from .workload import bench_request, loading

__all__: list[str] = []


def _main() -> None:
    _say("imported")
    fields = json.load(sys.stdin)
    options = BenchOptions(**{**fields, "load": EngineOptions(**fields["load"])})
    try:
        request = bench_request(options, EngineSet.open(options.engines, verify=False).native_size, 0)
        with OutpaintPipeline.from_pretrained(
            options.engines, device=options.device, options=loading(options, request), max_batch=options.batch
        ) as pipe:
            _say("ready")
            pipe(request)
            _say("first_picture", peak_rss=peak_rss())
    except OutpaintError as error:
        _say("failed", error=str(error), kind=type(error).__name__)


def _say(milestone: str, **facts: str | int) -> None:
    print(json.dumps({"milestone": milestone, **facts}), flush=True)


if __name__ == "__main__":
    _main()
