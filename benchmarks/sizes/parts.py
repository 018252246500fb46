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
from demo_model.scenes import HELD_OUT_SEED, draw, scenes
from PIL import Image

from outpaint_engine import OutpaintPipeline, OutpaintRequest
from outpaint_engine.canvas import Box
from outpaint_engine.detail.large_run import LargeRun
from outpaint_engine.detail.resize import enlarged
from outpaint_engine.request import Detail
from outpaint_engine.tensors import Array

from .figures import joint_ratio, look

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


def decoding(pipe: OutpaintPipeline, given: Namespace) -> dict[str, Any]:
    """The change that tiles decode, against that of whole decoding, on what a real level decodes; in dB."""
    from outpaint_engine.detail import refine
    from outpaint_engine.detail.tiles import Tiles

    scene = next(scenes(HELD_OUT_SEED, 1))
    middle = draw(scene, SIDE, SIDE)[256:768, 256:768]
    pictures = {}
    for name, tile in (("tiled", refine.VAE_TILE), ("whole", SIDE // 8)):
        before, refine.VAE_TILE = refine.VAE_TILE, tile
        fields = {"width": SIDE, "height": SIDE, "offset_x": 256, "offset_y": 256, "prompt": scene.caption, "seed": 1}
        run = pipe.steps(OutpaintRequest(image=middle, **fields, detail=Detail(levels=8)))
        for _ in run:
            pass
        refine.VAE_TILE = before
        pictures[name] = np.asarray(run.result.images[0], float)
    plan = run.plan
    error = ((pictures["tiled"] - pictures["whole"])[plan.unknown] ** 2).mean()
    spans = Tiles.over(SIDE // 8, SIDE // 8, refine.VAE_TILE, refine.VAE_OVERLAP, "", refine.STRETCH).rows
    lines = {8 * span.start for span in spans[1:]} | {8 * (span.start + len(span.places)) for span in spans[:-1]}
    from outpaint_engine.canvas import tile_edge_ratio

    edge = tile_edge_ratio(pictures["tiled"].astype(np.uint8), plan, lines, lines)
    found = {"decibels": round(float(10 * np.log10(255**2 / error)), 1), "edge_ratio": round(edge or 0, 3)}
    print(found)
    return found


def wrapping(pipe: OutpaintPipeline, given: Namespace) -> dict[str, Any]:
    """512x256 around 256 known: the gradient across the joint, and the time."""
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
            row[f"joint{wrap}"] = round(joint_ratio(np.asarray(result.images[0])), 3)
        rows.append(row)
        print(row, flush=True)
    found = {
        "joint": statistics.median(row["joint"] for row in rows),
        "joint_wrapped": statistics.median(row["jointx"] for row in rows),
        "time_ratio": round(statistics.median(row["secondsx"] / row["seconds"] for row in rows), 3),
    }
    print(found)
    return {**found, "scenes": rows}


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
