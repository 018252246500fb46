"""The parts of the measurement; each prints as it goes and returns what the result file keeps."""

import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from demo_model.scenes import HELD_OUT_SEED, Scene, draw, scenes
from PIL import Image

from outpaint_engine import OutpaintPipeline, OutpaintRequest
from outpaint_engine.canvas import Box, tile_edge_ratio
from outpaint_engine.detail import mosaics
from outpaint_engine.detail.large_run import LargeRun
from outpaint_engine.detail.resize import enlarged
from outpaint_engine.detail.tiles import edges
from outpaint_engine.film import Hops
from outpaint_engine.request import Detail
from outpaint_engine.tensors import Array

from .figures import drift, joint, look

SIDE, GUIDANCE = 1024, 2.5
WAYS = {"straight": "off", "default": "auto", "refined once": Detail(levels=1), "every level": Detail(levels=8)}
QUARTERS = {"right": (1, 0, 0, 0), "all": (1, 1, 1, 1)}


def looks(pipe: OutpaintPipeline, given: Namespace) -> dict[str, Any]:
    """1024x1024: coherence, seam, sharpness."""
    found = {}
    for levels in given.levels:
        for known in (512, 256):
            rows = []
            for scene in islice(scenes(HELD_OUT_SEED, given.scenes), given.scenes):
                truth, at = draw(scene, SIDE, SIDE), (SIDE - known) // 2
                request = OutpaintRequest(
                    image=truth[at : at + known, at : at + known],
                    width=SIDE,
                    height=SIDE,
                    offset_x=at,
                    offset_y=at,
                    prompt=scene.caption,
                    seed=scene.seed,
                    guidance_scale=GUIDANCE,
                    detail=Detail(levels=levels),
                )
                rows.append({"scene": scene.caption, **_figures(pipe, request, truth)})
                print(known, levels, rows[-1], flush=True)
            found[f"middle {known}, levels {levels}"] = {"medians": _medians(rows), "scenes": rows}
            print(known, levels, found[f"middle {known}, levels {levels}"]["medians"], flush=True)
    return found


def large(pipe: OutpaintPipeline, given: Namespace) -> dict[str, Any]:
    """3000x2000 and 4000x3000, extended by a quarter on the right and on all sides."""
    found = {}
    for width, height in ((3000, 2000), (4000, 3000)):
        for name, sides in QUARTERS.items():
            for levels in given.levels:
                rows = []
                for scene in islice(scenes(HELD_OUT_SEED + 2, given.scenes), given.scenes):
                    truth = draw(scene, width, height)
                    request = _extended(truth, sides, scene, Detail(levels=levels))
                    rows.append({"scene": scene.caption, **_figures(pipe, request, truth)})
                    print(width, name, levels, rows[-1], flush=True)
                found[f"{width}x{height}, {name}, levels {levels}"] = {"medians": _medians(rows), "scenes": rows}
    return found


def _extended(truth: Array, sides: tuple[int, int, int, int], scene: Any, detail: Detail) -> OutpaintRequest:
    """What is left of a scene without the sides, which are a quarter of it each and are to be painted again."""
    height, width = truth.shape[:2]
    right, left, top, bottom = sides
    across, down = width / (4 + left + right), height / (4 + top + bottom)
    x, y = round(left * across), round(top * down)
    given = truth[y : height - round(bottom * down), x : width - round(right * across)]
    return OutpaintRequest(
        image=given,
        width=width,
        height=height,
        offset_x=x,
        offset_y=y,
        prompt=scene.caption,
        seed=scene.seed,
        guidance_scale=GUIDANCE,
        detail=detail,
    )


def _figures(pipe: OutpaintPipeline, request: OutpaintRequest, truth: Array) -> dict[str, float | None]:
    run = pipe.steps(request)
    assert isinstance(run, LargeRun)
    began = time.process_time()
    for _ in run:
        pass
    seconds = time.process_time() - began
    picture, small = np.asarray(run.result.images[0]), np.asarray(run.composition.result.images[0])
    plain = enlarged(small, (request.width, request.height), Box(0, 0, request.width, request.height))
    quality = run.result.quality[0]
    figures = {
        **asdict(look(picture, truth, plain, run.plan.unknown)),
        "seam": quality.seam_gradient_ratio,
        "ring": quality.ring_color_shift,
        "tile_edges": quality.tile_edge_ratio,
        "changed": quality.changed_pixels,
        "cpu_seconds": seconds,
    }
    return {name: value if value is None else round(value, 3) for name, value in figures.items()}


def _medians(rows: list[Mapping[str, Any]]) -> dict[str, float]:
    names = [name for name, value in rows[0].items() if isinstance(value, int | float)]
    found = {name: round(statistics.median(row[name] for row in rows), 3) for name in names}
    return found | {"worst_ups": max(row["ups"] for row in rows), "changed": sum(row["changed"] for row in rows)}


def times(pipe: OutpaintPipeline, given: Namespace) -> dict[str, Any]:
    """CPU seconds at 1024x1024, in turns."""
    scene = next(scenes(HELD_OUT_SEED, 1))
    middle = draw(scene, SIDE, SIDE)[256:768, 256:768]
    ways = {name: WAYS[name] for name in given.ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, detail in ways.items():
            began = time.process_time()
            pipe(
                image=middle,
                width=SIDE,
                height=SIDE,
                offset_x=256,
                offset_y=256,
                prompt=scene.caption,
                seed=1,
                num_inference_steps=given.steps,
                detail=detail,
            )
            seconds[name].append(round(time.process_time() - began, 2))
            print(name, seconds[name][-1], flush=True)
    shares = {
        name: round(statistics.median(a / b for a, b in zip(seconds[name], seconds["straight"], strict=True)), 3)
        for name in ways
        if name != "straight"
    }
    print(shares)
    return {"steps": given.steps, "cpu_seconds": seconds, "share_of_straight": shares}


ONE = """
import resource, sys
import numpy as np
from outpaint_engine import EngineOptions, OutpaintPipeline
from outpaint_engine.film import Hops
from outpaint_engine.request import Detail
width, height, levels, engines = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
given = np.full((height, width * 3 // 4 // 8 * 8, 3), 90, np.uint8)
given[::7] += 40
with OutpaintPipeline.from_pretrained(engines, device="ort-cpu", options=EngineOptions(threads=1)) as pipe:
    pipe(image=given, width=width, height=height, num_inference_steps=4, seed=1, detail=Detail(levels=levels))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
PIXEL_BYTES = 3 * 0.75 + 3 + 1 + 3 + 4
"""Of a canvas's own arrays: the picture that was given, the canvas, what is unknown, the result, and its PIL image."""


def memory(pipe: OutpaintPipeline, given: Namespace) -> dict[str, Any]:
    """Peak memory of 1 and 12 megapixels, the right quarter painted, each in a fresh process."""
    found = {}
    for levels in given.levels:
        peaks = {}
        for width, height in ((1248, 832), (4000, 3000)):
            command = [sys.executable, "-c", ONE, str(width), str(height), str(levels), given.engines]
            peak = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            canvas = round(PIXEL_BYTES * width * height)
            peaks[f"{width}x{height}"] = {"peak": peak, "canvas": canvas, "aside": peak - canvas}
        one, twelve = (each["aside"] for each in peaks.values())
        found[f"levels {levels}"] = {**peaks, "ratio": round(twelve / one, 3)}
        print(levels, found[f"levels {levels}"], flush=True)
    return found


def _of_every_kind(count: int) -> list[Scene]:
    """So many held-out scenes, up to 20: every sixth, since the kinds follow each other in turns of five."""
    found = list(islice(scenes(HELD_OUT_SEED, 20), 20))
    return [found[6 * number % 20 + number // 10] for number in range(count)]


def decoding(pipe: OutpaintPipeline, given: Namespace) -> dict[str, Any]:
    """What tiles make of a level, against what the autoencoder makes of it whole, every level refined; in dB."""
    rows = []
    for scene in _of_every_kind(given.scenes):
        middle = draw(scene, SIDE, SIDE)[256:768, 256:768]
        fields = {"width": SIDE, "height": SIDE, "offset_x": 256, "offset_y": 256, "prompt": scene.caption, "seed": 1}
        pictures, row = {}, {"scene": scene.caption}
        for name, whole in (("tiled", mosaics.WHOLE), ("whole", SIDE // 8)):
            before, mosaics.WHOLE = mosaics.WHOLE, whole
            result = pipe(image=middle, **fields, guidance_scale=GUIDANCE, detail=Detail(levels=8))
            mosaics.WHOLE = before
            pictures[name] = np.asarray(result.images[0])
            row[f"seconds_{name}"] = round(result.timings.stages["vae_decoder"], 2)
        error = ((pictures["tiled"].astype(float) - pictures["whole"])[result.plan.unknown] ** 2).mean()
        lines = set(edges(mosaics.Mosaics.over(SIDE // 8, SIDE // 8, "").grid.rows, SIDE // 8))
        lines = {8 * line for line in lines}
        row["decibels"] = round(float(10 * np.log10(255**2 / error)), 1)
        row["edge_ratio"] = round(tile_edge_ratio(pictures["tiled"], result.plan, lines, lines) or 0, 3)
        rows.append(row)
        print(row, flush=True)
    found = {name: statistics.median(row[name] for row in rows) for name in ("decibels", "edge_ratio")}
    print(found)
    return {**found, "scenes": rows}


def wrapping(pipe: OutpaintPipeline, given: Namespace) -> dict[str, Any]:
    """512x256 around 256 known: the gradient across the joint and at other columns, and the time."""
    rows: list[dict[str, Any]] = []
    for scene in islice(scenes(HELD_OUT_SEED, given.scenes), given.scenes):
        middle, row = draw(scene, 256, 256), {"scene": scene.caption}
        for wrap in ("", "x"):
            began = time.process_time()
            result = pipe(
                image=middle,
                width=512,
                height=256,
                offset_x=128,
                prompt=scene.caption,
                seed=scene.seed,
                guidance_scale=GUIDANCE,
                detail="off",
                wrap=wrap,
            )
            row[f"seconds{wrap}"] = round(time.process_time() - began, 3)
            painted = (result.plan.painted_share == 1).all(axis=0)
            found = asdict(joint(np.asarray(result.images[0]), painted))
            row |= {f"joint_{name}{wrap}": round(value, 3) for name, value in found.items()}
        rows.append(row)
        print(row, flush=True)
    medians = {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0] if "joint" in name}
    found = {**medians, "time_ratio": round(statistics.median(row["secondsx"] / row["seconds"] for row in rows), 3)}
    print(found)
    return {**found, "scenes": rows}


def film(pipe: OutpaintPipeline, given: Namespace) -> dict[str, Any]:
    """Ten hops around 256x256: whether the colours of what is painted go anywhere."""
    hops, rows = Hops(256, 256, 2.0, 10), []
    for scene in _of_every_kind(given.scenes):
        keyframes = [draw(scene, 256, 256)]
        for hop in range(1, hops.count + 1):
            placed = hops.options((scene.caption,), scene.seed, hop)
            result = pipe(image=keyframes[-1], guidance_scale=GUIDANCE, **placed)
            keyframes.append(np.asarray(result.images[0]))
        trend, error = drift(keyframes, result.plan.unknown)
        rows.append({"scene": scene.caption, "drift": round(trend, 2), "standard_error": round(error, 2)})
        print(rows[-1], flush=True)
    return {"drift": round(statistics.median(row["drift"] for row in rows), 2), "scenes": rows}


def sheet(pipe: OutpaintPipeline, given: Namespace) -> None:
    """docs/images/large-canvas.jpg: the true scene, what of it is given, and 1024x1024 painted around that."""
    rows = []
    for number, known in ((0, 512), (6, 512), (6, 256)):
        scene = next(islice(scenes(HELD_OUT_SEED, 20), number, None))
        truth, at = draw(scene, SIDE, SIDE), (SIDE - known) // 2
        middle = np.full_like(truth, 127)
        middle[at : at + known, at : at + known] = truth[at : at + known, at : at + known]
        fields = {"width": SIDE, "height": SIDE, "offset_x": at, "offset_y": at, "prompt": scene.caption}
        result = pipe(image=truth[at : at + known, at : at + known], **fields, seed=scene.seed, guidance_scale=GUIDANCE)
        row = (truth, middle, np.asarray(result.images[0]))
        rows.append(np.hstack([np.pad(each, ((0, 16), (0, 16), (0, 0))) for each in row]))
    picture = Image.fromarray(np.vstack(rows)).resize((900, 900), Image.Resampling.LANCZOS)
    picture.save(Path("docs/images/large-canvas.jpg"), quality=88)
