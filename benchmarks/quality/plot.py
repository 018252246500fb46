"""Quality against time as a picture: one point a setting, one panel a guidance scale."""

from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["write_plot"]

EXACT, APPROXIMATE = "#0969da", "#d1570a"


def write_plot(content: dict[str, Any], path: Path) -> None:
    """How many times as fast as the first setting on the horizontal axis, mean PSNR to many steps upwards."""
    from matplotlib.figure import Figure

    runs = content["runs"]
    # What a picture costs does not depend on the guidance scale, as long as there is guidance.
    seconds = {
        run["setting"]: median(each["cpu_seconds"] for each in runs if each["setting"] == run["setting"])
        for run in runs
    }
    scales = sorted({run["guidance_scale"] for run in runs})
    figure = Figure(figsize=(5 * len(scales), 4.2), dpi=80, layout="constrained")
    for panel, scale in zip(figure.subplots(1, len(scales), squeeze=False)[0], scales, strict=True):
        for run in (run for run in runs if run["guidance_scale"] == scale):
            speed = seconds[runs[0]["setting"]] / seconds[run["setting"]]
            quality = run.get("to_many_steps", run.get("to_its_exact_run"))["mean"]
            panel.plot(speed, quality, "o", color=APPROXIMATE if "=" in run["setting"] else EXACT)
            panel.annotate(run["setting"], (speed, quality), fontsize=7, xytext=(4, 4), textcoords="offset points")
        panel.margins(0.15)
        panel.set(title=f"guidance {scale:g}", xlabel=f"times as fast as {runs[0]['setting']}", ylabel="PSNR, dB")
    figure.savefig(path, metadata={"Software": ""})
