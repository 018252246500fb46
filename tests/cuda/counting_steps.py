"""The process that runs the loop on the device on the stubs and prints what each step sent to the GPU, as JSON.

python -m tests.cuda.counting_steps ENGINE_SET SIDE
"""

import contextlib
import ctypes
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engines import Loading, find_backend
from outpaint_engine.errors import NumericalError
from outpaint_engine.on_device import Given, run_on_device
from outpaint_engine.samplers import linear_steps, scheduler_of
from outpaint_engine.schedule import NoiseSchedule

from .counting import counted, traced

STEPS = 6


def main() -> None:
    folder, side = sys.argv[1], int(sys.argv[2]) // 8
    engine_set = EngineSet.open(folder)
    scheduler, settings = scheduler_of("DPM Multi", engine_set.scheduler)
    steps = linear_steps(scheduler.sample, scheduler.plan(NoiseSchedule(settings), STEPS, 1.0))
    assert steps is not None
    with find_backend("ort-cuda").load(Loading(engine_set, "unet")) as engine, tempfile.TemporaryDirectory() as scratch:
        width = engine.inputs["encoder_hidden_states"].shape[2]
        assert isinstance(width, int)
        x, extra = (np.ones((1, channels, side, side), np.float32) for channels in (4, 5))
        given = Given(x, np.ones((2, 77, width), np.float32), None, extra, 7.5)
        library = ctypes.CDLL("libcudart.so.13")
        pictures = []
        for _ in range(2):
            run = run_on_device(engine, steps, given)
            assert run is not None
            found = []
            for _ in range(STEPS - 1):
                found.append(counted(traced(library, lambda run=run: next(run), Path(scratch) / "trace")))
            pictures.append(found)
            # The stubs compute nothing.
            with contextlib.suppress(NumericalError):
                list(run)
        print(json.dumps(pictures))


if __name__ == "__main__":
    main()
