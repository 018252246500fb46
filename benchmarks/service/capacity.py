"""`python -m benchmarks.service.capacity`: what a picture costs the parts of the service.

The painter, in CPU seconds: a UNet step for 1, 2 and 4 pictures at once, and the rest of a picture, with the demo on
one thread. The server: CPU seconds of reading a request's body, and seconds until a process of its own has decoded the
picture. What submissions cost the store is `benchmarks.service.submissions`. Written to
benchmarks/results/service/capacity.json; docs/scaling.md uses it.
"""

import base64
import io
import json
import platform
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

from PIL import Image

from outpaint_engine import EngineOptions, OutpaintPipeline
from outpaint_engine.images import encode
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.pictures.decoding import Decoders
from outpaint_engine.service.routes.schema import Contract

ROUNDS, STEPS, SIDE, TOGETHER, SIDES = 5, 10, 256, (1, 2, 4), (512, 1024)
PICTURE = Path("examples/sunset-mountains.png")
RESULT = Path("benchmarks/results/service/capacity.json")


def main() -> None:
    found = {"painter": painter(), "server": {f"{side}x{side}": server(side) for side in SIDES}}
    print(json.dumps(found, indent=1))
    setting = {
        "seconds_of": f"demo, ort-cpu, one thread, {SIDE}x{SIDE}, {STEPS} steps; medians of {ROUNDS}",
        "machine": platform.machine(),
        "versions": {"python": platform.python_version(), "onnxruntime": version("onnxruntime")},
        "date": date.today().isoformat(),
    }
    RESULT.write_text(json.dumps({**setting, **found}, indent=1) + "\n")


def painter() -> dict[str, dict[str, float]]:
    """CPU seconds of a step for so many pictures at once, and of what else one picture takes."""
    fields = {"prompt": "sunset mountains", "width": SIDE, "height": SIDE, "scale": 0.5, "offset_x": 64, "offset_y": 64}
    found: dict[str, dict[str, list[float]]] = {}
    with OutpaintPipeline.from_pretrained(
        "demo", device="ort-cpu", options=EngineOptions(threads=1), max_batch=max(TOGETHER)
    ) as pipe:
        for _ in range(ROUNDS + 1):
            for together in TOGETHER:
                step, rest = one_run(pipe, fields | {"num_images": together})
                ways = found.setdefault(f"{together} at once", {"step": [], "rest of a picture": []})
                ways["step"].append(step)
                ways["rest of a picture"].append(rest / together)
    # The first of each reads the weights.
    return {name: {part: round(median(values[1:]), 5) for part, values in ways.items()} for name, ways in found.items()}


def one_run(pipe: OutpaintPipeline, fields: dict[str, object]) -> tuple[float, float]:
    """CPU seconds of a step of these pictures, and of all that is not a step."""
    began, steps = time.process_time(), []
    run = pipe.steps(image=PICTURE, num_inference_steps=STEPS, **fields)
    last = time.process_time()
    for _ in run:
        steps.append(time.process_time() - last)
        last = time.process_time()
    for image in run.result.images:
        encode(image, ".jpg")
    # The first step's time has the encoding before it, and counts as another's.
    step = median(steps[1:])
    return step, time.process_time() - began - STEPS * step


def server(side: int) -> dict[str, float]:
    """Seconds of taking one request with a picture of this side."""
    buffer = io.BytesIO()
    Image.open(PICTURE).convert("RGB").resize((side, side)).save(buffer, "PNG")
    content, contract = buffer.getvalue(), Contract(Configuration())
    body = json.dumps({"image": base64.b64encode(content).decode(), "prompt": "sunset mountains"}).encode()
    limits = Configuration()
    decoders = Decoders(1, limits.decode_seconds, limits.decode_bytes)
    try:
        read = repeated(lambda: contract.read(body))
        decoders.decode(content)
        answered = repeated(lambda: decoders.decode(content), time.perf_counter)
    finally:
        decoders.close()
    return {"reading the body, CPU": read, "decoding, elapsed": answered, "megabytes": len(content) / 1e6}


def repeated(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """The median seconds of one."""
    taken = []
    for _ in range(20):
        began = clock()
        work()
        taken.append(clock() - began)
    return round(median(taken), 5)


if __name__ == "__main__":
    main()
