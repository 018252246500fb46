"""Large canvases on the demo: how they look, what they cost, and what shows at tiles and joints.

    python -m benchmarks.sizes look --scenes 20          1024x1024, the middle 512 and the middle 256 known
    python -m benchmarks.sizes large --scenes 4          3000x2000 and 4000x3000, extended by a quarter
    python -m benchmarks.sizes time --rounds 3           1024x1024: the straight pass, the default, every level refined
    python -m benchmarks.sizes memory                    1 and 12 megapixels, each in a fresh process
    python -m benchmarks.sizes decode --scenes 4         tiled decoding against whole, at 1024x1024
    python -m benchmarks.sizes wrap --scenes 10          512x256 that wraps, and its time against one that does not
    python -m benchmarks.sizes film --scenes 4           ten hops: whether colours go anywhere
    python -m benchmarks.sizes sheet                     docs/images/large-canvas.jpg

Each part writes its figures into `--out` beside those of the others. Times are CPU seconds of interleaved runs.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from outpaint_engine import EngineOptions, OutpaintPipeline
from outpaint_engine.bench.environment import read_environment

from . import parts

PARTS = {
    "look": parts.looks,
    "large": parts.large,
    "time": parts.times,
    "memory": parts.memory,
    "decode": parts.decoding,
    "wrap": parts.wrapping,
    "film": parts.film,
    "sheet": parts.sheet,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--engines", default="demo")
    parser.add_argument("--device", default="ort-cpu")
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25, help="of `time`; with fewer than 25 the VAE counts for more")
    parser.add_argument("--ways", nargs="+", choices=parts.WAYS, default=list(parts.WAYS), help="of `time`")
    parser.add_argument("--levels", type=int, nargs="+", default=[0], help="how many levels are refined")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/sizes.json"))
    given = parser.parse_args()
    with OutpaintPipeline.from_pretrained(given.engines, device=given.device, options=EngineOptions(threads=1)) as pipe:
        found = PARTS[given.part](pipe, given)
    if found:
        kept = json.loads(given.out.read_text()) if given.out.exists() else {}
        kept[given.part] = {"environment": asdict(read_environment()), **found}
        given.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
