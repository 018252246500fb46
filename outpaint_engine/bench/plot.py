"""A measurement as a picture: where one picture's time goes, and every step. Needs matplotlib, imported on use."""

import importlib.util
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BackendUnavailable
from .record import Measurement
from .table import WORDS, described, machine

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_matplotlib", "plot"]

INK, FAINT = "#24292f", "#8c959f"
STAGE, UNET, ENGINE, OUTSIDE = "#54aeff", "#0969da", "#0969da", "#d1570a"
STYLE: dict[str, Any] = {
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
}


def check_matplotlib() -> None:
    """Raise a `BackendUnavailable` with the pip line where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise BackendUnavailable('A plot needs matplotlib. Try: pip install "outpaint_engine[plot]"')


def plot(found: Measurement) -> bytes:
    """A PNG of 1500 x 660 pixels: stages on the left, steps on the right.

    Raises:
        BackendUnavailable: matplotlib is missing.
    """
    check_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.4), dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
        _stages(left, found)
        _steps(right, found)
        title = f"{described(found)}\n{machine(found.environment)}, {found.date[:10]}"
        figure.suptitle(title, fontsize=9, color=INK, x=0.01, horizontalalignment="left")
        content = io.BytesIO()
        figure.savefig(content, format="png")
    return content.getvalue()


def _stages(axes: "Axes", found: Measurement) -> None:
    """A bar for each stage, the median of the pictures, the first on top."""
    names, medians = list(found.stages), [spread.p50 for spread in found.stages.values()]
    colours = [UNET if name == "unet" else STAGE for name in names]
    bars = axes.barh([WORDS[name] for name in names], medians, color=colours, height=0.65)
    labels = [f"{_short(value)}  {value / found.picture.p50:.1%}" for value in medians]
    axes.bar_label(bars, labels, padding=4, fontsize=9, color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0, max(medians) * 1.38)
    axes.set_title(f"One picture: {_short(found.picture.p50)} (median of {len(found.picture.values)})")
    axes.set_xlabel("seconds")
    axes.tick_params(axis="y", length=0)


def _steps(axes: "Axes", found: Measurement) -> None:
    """Every step of every picture as a dot, the medians as a line, and what is outside the engine beneath."""
    calls = found.ran.calls
    seconds, outside = (
        1000 * np.array(spread.values).reshape(-1, calls) for spread in (found.steps.seconds, found.steps.outside)
    )
    numbers = np.arange(1, calls + 1)
    for values, colour, name in (
        (seconds, ENGINE, f"step: p50 {_short(found.steps.seconds.p50)}, p99 {_short(found.steps.seconds.p99)}"),
        (outside, OUTSIDE, f"of it outside the engine: {found.steps.outside_share:.2%}"),
    ):
        for row in values:
            axes.plot(numbers, row, ".", color=colour, alpha=0.4, markersize=5, markeredgewidth=0)
        axes.plot(numbers, np.median(values, axis=0), color=colour, linewidth=1.6, label=name)
    axes.set_ylim(0, 1.3 * float(np.percentile(seconds, 99)))
    axes.set_xlim(0.5, calls + 0.5)
    axes.set_title(f"Each UNet step, {len(seconds)} pictures")
    axes.set_xlabel("step")
    axes.set_ylabel("milliseconds")
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def _short(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.{1 if value >= 0.01 else 2}f} ms"
