"""What it takes to change a LoRA at run time on `ort-cpu`, beside opening the same parts without one.

    python -m benchmarks.lora_swap OUT.json [--engines demo] [--rounds 5]

The LoRA is made up: factors of rank 16 for every layer that kohya's trainer adds some to by default, which are the
linear layers and 1 x 1 convolutions of the UNet's attention blocks and the text encoder's linear layers. Opening and
swapping take turns, with prepared graphs and without; CPU seconds of one thread. Memory is the process's own, of one
combination more (Linux with glibc).
"""

import argparse
import ctypes
import json
import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from outpaint_engine import EngineOptions, EngineSet, OutpaintPipeline
from outpaint_engine.adapters import changeable
from outpaint_engine.bench.environment import read_environment
from outpaint_engine.engine_set.weights import stored_weights
from outpaint_engine.engines import Loading, find_backend
from outpaint_engine.lora_models import Loras

from .ratios import paired_ratio

RANK = 16
SIDES = {"plain": False, "prepared": True}
ROOM_FOR_ONE = Loras(most_bytes=0)
PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}


def made_lora(engine_set: EngineSet, path: Path) -> int:
    """Write the LoRA, and return how many bytes of float32 weights it changes."""
    random, factors, changed = np.random.default_rng(0), {}, 0
    for part, prefix in PREFIXES.items():
        for name, (rows, columns, *kernel) in changeable(stored_weights(engine_set, part)).items():
            beside_attention = part == "text_encoder" or "attentions" in name
            if not beside_attention or kernel not in ([], [1, 1]):
                continue
            key = prefix + name.removesuffix(".weight").replace(".", "_")
            for factor, shape in (("down", (RANK, columns, *kernel)), ("up", (rows, RANK, *kernel))):
                factors[f"{key}.lora_{factor}.weight"] = random.normal(0, 0.02, shape).astype(np.float32)
            changed += 4 * rows * columns
    save_file(factors, path)
    return changed


def opening(pipe: OutpaintPipeline) -> float:
    """CPU seconds of opening the UNet and the text encoder again, as they are."""
    engine_set, backend = pipe.models.engine_set, find_backend(pipe.models.unet.engine.backend)
    graphs = {"unet": "model", "text_encoder": "added_words" if pipe.models.text_encoder.takes_words else "model"}
    began = time.process_time()
    engines = [
        backend.load(Loading(engine_set, part, EngineOptions(threads=1), (), graph)) for part, graph in graphs.items()
    ]
    taken = time.process_time() - began
    for engine in engines:
        engine.close()
    return taken


def swapping(pipe: OutpaintPipeline, path: Path, strength: float) -> tuple[float, int]:
    """CPU seconds of painting with the LoRA at another strength from now on, and the bytes it took."""
    before, began = _private_bytes(), time.process_time()
    pipe.load_lora(path, strength)
    return time.process_time() - began, _private_bytes() - before


def contest(engines: str, turns: int, folder: Path) -> tuple[dict[str, dict[str, list[float]]], int]:
    """For each side the seconds of every turn and the bytes of a further combination; and the bytes changed."""
    found: dict[str, dict[str, list[float]]] = {}
    pipes: dict[str, OutpaintPipeline] = {}
    path = folder / "made.safetensors"
    with ExitStack() as stack:
        for side, prepare in SIDES.items():
            os.environ["XDG_CACHE_HOME"] = str(folder / side)
            options = EngineOptions(threads=1, prepare=prepare)
            pipe = OutpaintPipeline.from_pretrained(engines, device="ort-cpu", options=options, loras=ROOM_FOR_ONE)
            pipes[side] = stack.enter_context(pipe)
            changed = made_lora(pipe.models.engine_set, path)
            found[side] = {"opening": [], "swapping": [], "further_bytes": [swapping(pipe, path, 0.5)[1]]}
        for turn in range(turns):
            for side, pipe in pipes.items():
                os.environ["XDG_CACHE_HOME"] = str(folder / side)
                found[side]["opening"].append(opening(pipe))
                found[side]["swapping"].append(swapping(pipe, path, 0.6 + turn / 100)[0])
                print(side, *(f"{what} {taken[-1]:.2f}" for what, taken in found[side].items()), flush=True)
    return found, changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--engines", default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.out.parent) as folder:
        found, changed = contest(given.engines, given.rounds, Path(folder))
    plain = found["plain"]["opening"]
    result = {
        "engines": Path(given.engines).name,
        "rank": RANK,
        "changed_bytes": changed,
        "swapping_to_plain_opening": {
            name: asdict(paired_ratio(side["swapping"], plain)) for name, side in found.items()
        },
        **found,
        "environment": asdict(read_environment()),
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["swapping_to_plain_opening"], indent=1))


def _private_bytes() -> int:
    # What was freed and may be used again is not held.
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
