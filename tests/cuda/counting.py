"""The process that runs an engine of ours on the stubs and prints what each call sent to the GPU, as one line of JSON.

    python -m tests.cuda.counting ENGINE_SET PART ROWS SIDE

`stub_trace` of the stubs writes a line a thing: "kernel NAME", "product", "convolution", "memset BYTES", "copy BYTES",
"copy BYTES from host", "wait", "graph begin|end|launch"; what is recorded in a CUDA graph ends in "captured".
"""

import ctypes
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from outpaint_engine.engine_set import EngineSet
from outpaint_engine.engines import Engine, Loading, find_backend

QUIET = ("copy", "wait", "graph")
"""What is no launch of a kernel."""
TEXTS = ("input_ids", "encoder_hidden_states")
CALLS = 4


def feeds(engine: Engine, rows: int, side: int, call: int) -> dict[str, np.ndarray]:
    """Feeds of another number in each call, for a canvas of `side` pixels."""
    found = {}
    for name, spec in engine.inputs.items():
        pixels = side if spec.shape[1:2] == (3,) else side // 8
        free = iter([77] if name in TEXTS else [pixels, pixels])
        shape = [rows, *(axis if isinstance(axis, int) else next(free) for axis in spec.shape[1:])]
        found[name] = np.full(shape, call, spec.dtype)
    return found


def traced(library: ctypes.CDLL, run: Callable[[], object], path: Path) -> list[str]:
    """The lines that calling `run` wrote."""
    library.stub_trace(str(path).encode())
    run()
    library.stub_trace(None)
    return path.read_text().splitlines()


def counted(lines: list[str]) -> dict[str, object]:
    words = Counter(line.split()[0] for line in lines)
    kernels = Counter(line.split()[1] for line in lines if line.startswith("kernel"))
    return {
        "launches": sum(count for word, count in words.items() if word not in QUIET),
        "copies": words["copy"],
        "waits": words["wait"],
        "recorded_from_host": sum(line.startswith("copy") and "from host captured" in line for line in lines),
        "graphs": [line for line in lines if line.startswith("graph")],
        "kernels": dict(kernels.most_common(12)),
    }


def main() -> None:
    folder, part, rows, side = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    backend = find_backend("ort-cuda")
    probe = backend.probe()
    with backend.load(Loading(EngineSet.open(folder), part)) as engine, tempfile.TemporaryDirectory() as scratch:
        library = ctypes.CDLL("libcudart.so.13")
        wanted = next(iter(engine.outputs))
        trace = Path(scratch) / "trace"
        calls = []
        for number in range(CALLS):
            fed = feeds(engine, rows, side, number)
            calls.append(counted(traced(library, partial(engine.run, fed, (wanted,)), trace)))
        print(json.dumps({"device": probe.device, "precision": engine.precision, "calls": calls}))


if __name__ == "__main__":
    main()
