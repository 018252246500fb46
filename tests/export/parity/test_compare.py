"""The sides of a comparison do the same work: same weights, noise, mask and steps, so the same latents."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SIDES = ("ours:ort-cpu:fp32", "diffusers:cpu:fp32", "diffusers:cpu:bf16")


def test_the_sides_paint_the_same_picture(checkpoint: Path, inpainting_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    sides = [word for side in SIDES for word in ("--side", side)]
    files = ("--checkpoint", str(checkpoint), "--engines", str(inpainting_set), "--out", str(out))
    command = [sys.executable, "-m", "benchmarks.compare", *sides, *files, "--size", "64x64", "--steps", "4"]
    subprocess.run([*command, "--rounds", "1", "--warmup", "0", "--pause", "0"], cwd=ROOT, check=True, timeout=200)
    ours, fp32, bf16 = json.loads(out.read_text())["sides"]
    assert fp32["latents_difference"] < 1e-3 and fp32["facts"]["precision"] == "float32"
    assert bf16["latents_difference"] < 0.1 and bf16["facts"]["precision"] == "bfloat16"
    assert ours["picture_ratio"] and fp32["picture_ratio"] and bf16["step_ratio"]
