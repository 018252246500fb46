"""What the steps have in common: their arguments, how calls are timed, and how a result is written."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from outpaint_engine.bench.environment import read_environment

__all__ = ["arguments", "timed", "write"]


def arguments(module: str, description: str) -> argparse.ArgumentParser:
    """With what every step takes: --device, --few, --out."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.gpu.{module}", description=description)
    parser.add_argument("--device", required=True)
    parser.add_argument("--few", action="store_true", help="a few calls, to see that it runs")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def timed(call: Callable[[], object], few: bool) -> dict[str, Any]:
    """Milliseconds of calls, for two seconds or at least seven, after four that are not counted."""
    for _ in range(1 if few else 4):
        call()
    taken: list[float] = []
    end = time.perf_counter() + (0 if few else 2)
    while len(taken) < (2 if few else 7) or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1e3)
    low, middle, high = (round(float(each), 4) for each in np.quantile(taken, (0.1, 0.5, 0.9)))
    return {"ms": middle, "ms_p10": low, "ms_p90": high, "calls": len(taken)}


def write(path: Path, found: dict[str, Any]) -> None:
    """A result with its date and machine, and one line for who is watching."""
    about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "environment": asdict(read_environment())}
    path.write_text(json.dumps({**found, **about}, indent=1) + "\n")
    print(json.dumps(found))
