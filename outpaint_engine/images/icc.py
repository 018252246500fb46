"""ICC profiles of curves and a matrix, applied to grey and to 16-bit samples.

Pillow's colour engine takes 8 bits of a sample, where a linear curve has steps of 13 levels in the shadows, and is 9
levels off in grey. Specification: ICC.1:2022, sections 10.6 (curveType),
10.18 (parametricCurveType) and annex F.3 (the model). Profiles of tables are left to Pillow.
"""

import struct
from collections.abc import Callable

import numpy as np

from ..tensors import Array

__all__ = ["to_srgb"]

SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
"""sRGB's primaries in the connection space, XYZ under D50; one a column."""
ROWS = 64
PARAMETERS = (1, 3, 4, 5, 7)


def to_srgb(samples: Array, profile: bytes | None) -> Array | None:
    """Grey (height, width) or RGB (height, width, 3) uint16 to sRGB uint8 (height, width, 3).

    None where the profile is missing, unreadable, for other colours, or one of tables.
    """
    grey = samples.ndim == 2
    try:
        curves, matrix = _model(profile or b"", grey)
    except (struct.error, KeyError, ValueError, IndexError):
        return None
    if grey:
        return np.repeat(_levels(curves[0])[samples][..., None], 3, axis=-1)
    levels, out = _levels(np.linspace(0, 1, 65536)), np.empty(samples.shape, np.uint8)
    for at in range(0, len(samples), ROWS):
        rows = samples[at : at + ROWS]
        light = np.stack([curve[rows[..., channel]] for channel, curve in enumerate(curves)], axis=-1) @ matrix.T
        # A step of light is a twentieth of a level where the curve is steepest.
        out[at : at + ROWS] = levels[np.rint(65535 * light.clip(0, 1)).astype(np.uint16)]
    return out


def _levels(light: Array) -> Array:
    """Light in [0, 1] by sRGB's curve, IEC 61966-2-1, as levels of 255, uint8."""
    light = light.clip(0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)


def _model(profile: bytes, grey: bool) -> tuple[list[Array], Array]:
    """The curve of each channel as 65,536 values, and what turns their light into sRGB's."""
    if profile[16:20] != (b"GRAY" if grey else b"RGB ") or profile[20:24] != b"XYZ ":
        raise ValueError
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for index in range(min(count, 100)):
        name, at, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        tags[name] = profile[at : at + size]
    if b"A2B0" in tags:
        raise ValueError
    if grey:
        return [_curve(tags[b"kTRC"])], np.eye(3)
    primaries = np.array([struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]) / 65536
    return [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")], np.linalg.inv(SRGB) @ primaries.T


def _curve(tag: bytes) -> Array:
    x = np.linspace(0, 1, 65536)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return x
        points = np.frombuffer(tag, ">u2", count, 12)
        return x ** (points[0] / 256) if count == 1 else np.interp(x, np.linspace(0, 1, count), points / 65535)
    if tag[:4] != b"para":
        raise ValueError
    (kind,) = struct.unpack_from(">H", tag, 8)
    return _parametric(kind, np.array(struct.unpack_from(f">{PARAMETERS[kind]}i", tag, 12)) / 65536, x)


def _parametric(kind: int, values: Array, x: Array) -> Array:
    g, a, b, c, d, e, f = np.pad(values, (0, 7 - len(values))).tolist()
    if kind == 0:
        return x**g
    power: Callable[[Array], Array] = lambda x: np.maximum(a * x + b, 0) ** g  # noqa: E731
    if kind in (1, 2):
        return np.where(x >= -b / a, power(x), 0) + (c if kind == 2 else 0)
    return np.where(x >= d, power(x) + (e if kind == 4 else 0), c * x + (f if kind == 4 else 0))
