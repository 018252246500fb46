"""The process of one side: lines of JSON in, one line of JSON out for each. Not for people.

    {"prepare": {"side": TEXT, "task": {...}}}   -> {"seconds": ..., "facts": {...}, "environment": {...}}
    {"run": SEED, "latents": PATH or null, "painted": PATH or null}
        -> {"step": ..., "picture": ..., "cpu": ..., "outside": ..., "peak_rss": ...}

An answer with "error" ends the process; so does the end of the input.
"""

import json
import os
import sys
import time
import traceback
from dataclasses import asdict
from typing import Any

import numpy as np

from outpaint_engine.bench.environment import peak_rss, read_environment
from outpaint_engine.errors import OutpaintError

from .sides import load
from .task import Contestant, SideName, Task


def answer(line: dict[str, Any], side: list[Contestant]) -> dict[str, Any]:
    """Do what a line asks for; `side` holds what was prepared."""
    if "prepare" in line:
        began = time.perf_counter()
        asked = line["prepare"]
        side.append(load(SideName.read(asked["side"]), Task(**asked["task"])))
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "facts": side[0].facts, "environment": asdict(read_environment())}
    turn = side[0].run(int(line["run"]))
    for name in ("latents", "painted"):
        found = getattr(turn, name)
        if line[name] and found is not None:
            np.save(line[name], found)
    return {name: getattr(turn, name) for name in ("step", "picture", "cpu", "outside")} | {"peak_rss": peak_rss()}


def main() -> None:
    # Libraries print what they please; the answers keep standard output for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    side: list[Contestant] = []
    for text in sys.stdin:
        try:
            answered = answer(json.loads(text), side)
        except Exception as error:
            if not isinstance(error, OutpaintError):
                traceback.print_exc()
            answered = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answered), file=answers, flush=True)
        if "error" in answered:
            break


if __name__ == "__main__":
    main()
