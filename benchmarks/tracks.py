"""The two tracks of a comparison: exact sides, and approximate ones, each beside its own exact run."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

import numpy as np

from .contest import Side
from .quality.measure import decibels
from .ratios import Ratio, paired_ratio

__all__ = ["approximate_lines", "beside_exact"]


def beside_exact(side: Side, sides: Sequence[Side]) -> dict[str, Any]:
    """The track of a side, and on the approximate one its gain and its loss.

    `times_as_fast` is the exact run's processor seconds by its own, `decibels` the PSNR of the painted area, one a
    round. Both are left out where the side's exact run is not in the comparison.
    """
    if side.name.exact == side.name.text:
        return {"track": "exact"}
    found: dict[str, Any] = {"track": "approximate"}
    exact = next((other for other in sides if other.name.text == side.name.exact), None)
    if exact is None:
        return found
    own, others = ([turn["cpu"] for turn in each.turns] for each in (side, exact))
    pairs = zip(side.painted, exact.painted, strict=True)
    each = [decibels(np.load(ours), np.load(whole)) for ours, whole in pairs]
    quality = {"mean": round(mean(each), 2), "worst": min(each), "each": each}
    ratio = asdict(paired_ratio(others, own))
    return found | {"beside_exact": {"side": exact.name.text, "times_as_fast": ratio, "decibels": quality}}


def approximate_lines(sides: Sequence[dict[str, Any]]) -> list[str]:
    """A table of the approximate track, from the sides of a result; nothing where there are none."""
    if not sides:
        return []
    heading = f"{'cpu s':>9}  {'times the first':24}{'times as fast as exact':26}{'dB to it':>9}{'worst':>7}"
    lines = [f"{'approximate, by processor time':36}{heading}"]
    for side in sides:
        first = Ratio(**side["cpu_ratio"]) if side["cpu_ratio"] else "-"
        line = f"{side['side']:36}{np.median(side['cpu_seconds']):9.4f}  {first!s:24}"
        if found := side.get("beside_exact"):
            quality = found["decibels"]
            line += f"{Ratio(**found['times_as_fast'])!s:26}{quality['mean']:9.1f}{quality['worst']:7.1f}"
        else:
            line += "its exact run is no side"
        lines.append(line)
    return lines
