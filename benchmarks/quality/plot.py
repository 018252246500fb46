"""Quality against time as a picture: one point a setting, one panel a guidance scale."""

from pathlib import Path
from typing import Any

__all__ = ["write_plot"]


def write_plot(content: dict[str, Any], path: Path) -> None:
    """Time relative to the first setting on the left axis, mean PSNR to many steps upwards."""
    from matplotlib.figure import Figure

    from outpaint_engine.bench.plot import INK

    scales = sorted({run["guidance_scale"] for run in content["runs"]})
    figure = Figure(figsize=(5 * len(scales), 4.2), dpi=100, layout="constrained")
    for panel, scale in zip(figure.subplots(1, len(scales), squeeze=False)[0], scales, strict=True):
        runs = [run for run in content["runs"] if run["guidance_scale"] == scale]
        for run in runs:
            speed = runs[0]["cpu_seconds"] / run["cpu_seconds"]
            quality = run.get("to_many_steps", run.get("to_its_exact_run"))["mean"]
            panel.plot(speed, quality, "o", color="#0969da" if "=" not in run["setting"] else "#d1570a")
            panel.annotate(run["setting"], (speed, quality), fontsize=7, xytext=(4, 4), textcoords="offset points")
        panel.set(title=f"guidance {scale:g}", xlabel=f"times as fast as {runs[0]['setting']}", ylabel="PSNR, dB")
        panel.title.set_color(INK)
    figure.savefig(path, metadata={"Software": ""})
