"""How much faster the named approximations make a picture, at full size too, without painting 25 steps.

    python -m benchmarks.speed --engines sd15 --side 512 --rounds 3 --out benchmarks/results/speed-sd15.json
    python -m benchmarks.speed --engines sd15 --side 512 --rounds 3 --tiny-decoder-of OTHER --out decoders.json

Each round paints four steps of `reuse` on a square and on the square extended to the right by half, one after the
other: two steps are whole and two forecast, and the rest of a picture (texts, VAE, pasting) is what it always is. A
picture of any setting is so many whole steps, forecast steps and one rest, of the same round. CPU seconds of one
thread, so that other work on the machine counts little. `--tiny-decoder-of` times the decoders alone, in turns: the
VAE's of one set and the tiny one of another or the same.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from outpaint_engine import EngineOptions, EngineSet, OutpaintPipeline, OutpaintRequest
from outpaint_engine.bench.environment import read_environment
from outpaint_engine.bench.workload import ramps
from outpaint_engine.components import TINY_DECODER, TinyDecoder, VaeDecoder
from outpaint_engine.denoise import Reuse
from outpaint_engine.engines import Loading, find_backend
from outpaint_engine.request import SPEEDS

from .ratios import paired_ratio

STEPS = 25
PROBE = Reuse(3)
"""Of four steps: whole, forecast, forecast, whole."""


class Parts(NamedTuple):
    """CPU seconds of a whole step, a forecast one, and everything else of a picture."""

    whole: float
    forecast: float
    rest: float

    def picture(self, whole: int, forecast: int = 0) -> float:
        return whole * self.whole + forecast * self.forecast + self.rest


def measured(pipe: OutpaintPipeline, side: int, width: int, seed: int) -> Parts:
    """Paint four steps of a canvas of `width` x `side`, with half the square given, or all of it on a wider canvas."""
    given = side if width > side else side // 2
    request = OutpaintRequest(
        image=np.ascontiguousarray(ramps(given, side)),
        prompt=f"a wide view, take {seed}",
        width=width,
        height=side,
        offset_x=0 if width > side else side // 4,
        num_inference_steps=4,
        reuse=PROBE,
        seed=seed,
    )
    began = time.process_time()
    ends = [time.process_time() for _ in pipe.steps(request)]
    picture = time.process_time() - began
    # The first step's end comes after the start of the run: texts, VAE encoder, noise.
    first, second, last = np.diff(ends)
    return Parts(last, (first + second) / 2, picture - first - second - 2 * last)


def ratios(square: list[Parts], wide: list[Parts]) -> dict[str, object]:
    """Times as fast as the exact run on the same canvas; with its 95 % interval where there are rounds enough."""
    found: dict[str, object] = {}
    names = {name: options for name, options in SPEEDS.items() if name != "exact"}
    reuses = {"careful": {"reuse": "careful"}, "fast": {"reuse": "fast"}}
    settings = {f"reuse {name}": options for name, options in reuses.items()}
    settings |= {f"speed {name}": options for name, options in names.items()}
    for name, options in settings.items():
        request = OutpaintRequest(image=None, **options)
        steps = request.num_inference_steps
        whole = len(request.chosen_reuse.whole_calls(steps, range(steps)))
        taken = [parts.picture(whole, steps - whole) for parts in square]
        found[name] = asdict(paired_ratio([parts.picture(STEPS) for parts in square], taken))
        # A square extended to the right by half: the window is as large as the square.
        if wide:
            found[f"{name}, half as wide again, window"] = asdict(
                paired_ratio([parts.picture(STEPS) for parts in wide], taken)
            )
    return found


def decoders(engines: str, tiny: str, device: str, side: int, rounds: int) -> dict[str, object]:
    """Seconds of decoding one picture, of a thread's CPU time and on the clock, by either decoder, and the ratios."""
    load, options = find_backend(device).load, EngineOptions(threads=1)
    full_set, tiny_set = (EngineSet.open(folder, verify=False) for folder in (engines, tiny))
    sides = {
        "full": VaeDecoder(load(Loading(full_set, "vae_decoder", options)), full_set.latent_scale),
        "tiny": TinyDecoder(load(Loading(tiny_set, TINY_DECODER, options))),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for seed in range(rounds):
        latents = np.random.default_rng(seed).standard_normal((1, 4, side // 8, side // 8)).astype(np.float32)
        for name, decoder in sides.items():
            began, clock = time.process_time(), time.perf_counter()
            decoder.decode(latents)
            taken = {"cpu": time.process_time() - began, "wall": time.perf_counter() - clock}
            found[name].append(taken)
            print(name, taken, flush=True)
    ratios = {
        kind: asdict(paired_ratio(*([each[kind] for each in found[name]] for name in ("full", "tiny"))))
        for kind in ("cpu", "wall")
    }
    return {"engines": full_set.source["name"], "side": side, "full_over_tiny": ratios, **found}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.splitlines()[0])
    parser.add_argument("--engines", default="demo")
    parser.add_argument("--device", default="ort-cpu")
    parser.add_argument("--side", type=int, help="of the square, in pixels [the set's native size]")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--square-only", action="store_true", help="leave out the wide canvas and the window")
    parser.add_argument("--tiny-decoder-of", metavar="SET", help="time decoders alone: a set that has a tiny one")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.tiny_decoder_of:
        content = decoders(given.engines, given.tiny_decoder_of, given.device, given.side, given.rounds)
        content["environment"] = asdict(read_environment())
        given.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return
    options = EngineOptions(threads=1)
    with OutpaintPipeline.from_pretrained(given.engines, device=given.device, options=options, verify=False) as pipe:
        side = given.side or pipe.models.engine_set.native_size
        square, wide = [], []
        for seed in range(given.rounds):
            square.append(measured(pipe, side, side, seed))
            print(f"square {square[-1]}", flush=True)
            if not given.square_only:
                wide.append(measured(pipe, side, side + side // 16 * 8, seed))
                print(f"wide   {wide[-1]}", flush=True)
            content = {
                "engines": pipe.models.engine_set.source.get("name", given.engines),
                "side": side,
                "steps": STEPS,
                "times_as_fast": ratios(square, wide),
                "square": [parts._asdict() for parts in square],
                "wide": [parts._asdict() for parts in wide],
                "environment": asdict(read_environment()),
            }
            given.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name, ratio in content["times_as_fast"].items():
        print(f"{name:48}{ratio['ratio']:.2f}")


if __name__ == "__main__":
    main()
