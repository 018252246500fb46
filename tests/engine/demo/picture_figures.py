"""What a picture is measured by beside the true one: blur, rims, and lines that jump. Plain numpy.

Pictures are (h, w, 3) in [0, 255]; `where` is a bool array (h, w) of the pixels that count, all if None.
"""

import numpy as np

Array = np.ndarray

EDGE_PERCENTILE = 99
PROFILE, SIDES = 8, 3
"""Rows on each side of a ridge line that are looked at, and how many of them at each end give the colours beside it."""
SMALLEST_STEP = 12.0
"""Levels between both sides of a line; a fainter one is not counted."""
STRIP, REACH, STEEPEST = 8, 32, 2
"""Columns a line is followed through, rows in which it is looked for across a seam, rows it may climb a column."""


def psnr(picture: Array, truth: Array) -> float:
    """Peak signal-to-noise ratio in dB."""
    error = float(((np.asarray(picture, np.float64) - truth) ** 2).mean())
    return 10 * float(np.log10(255**2 / error))


def gradients(picture: Array) -> Array:
    """Differences to the right and downwards, (2, h - 1, w - 1, 3)."""
    levels = np.asarray(picture, np.float32)
    return np.stack([np.diff(levels, axis=1)[:-1], np.diff(levels, axis=0)[:, :-1]])


def sharpness(picture: Array, truth: Array, where: Array | None = None) -> float:
    """The 99th percentile of the gradient's length over the true picture's: 1 is as sharp, less is blurred."""
    return _strongest(picture, where) / _strongest(truth, where)


def explained_gradient(picture: Array, truth: Array, where: Array | None = None) -> float:
    """1 - |grad(picture) - grad(truth)|^2 / |grad(truth)|^2: 1 is perfect, 0 is what a flat picture gets.

    Blur lowers it, and rims and staircases lower it too, which `sharpness` takes for sharp.
    """
    counted = _counted(where, truth)
    found, wanted = gradients(picture)[:, counted], gradients(truth)[:, counted]
    return 1 - float(((found - wanted) ** 2).sum(dtype=np.float64) / (wanted**2).sum(dtype=np.float64))


def ridge_explained_gradient(picture: Array, where: Array | None = None, top: float = 0.35) -> float | None:
    """How much of the gradient across ridge lines is that of a clean step between the colours beside them.

    In every column the strongest vertical step below `top` (a share of the height) that lies where it counts is taken,
    and compared with a step of the same two colours, antialiased over one pixel, in the best place. The true picture
    is not needed, since a painted ridge may rightly lie elsewhere. None where no column has a line.
    """
    levels = np.asarray(picture, np.float64)
    steps = np.linalg.norm(np.diff(levels, axis=0), axis=2)
    if where is not None:
        steps = np.where(where[1:], steps, 0)
    steps[: max(PROFILE, int(top * len(levels)))] = 0
    steps[len(levels) - PROFILE - 1 :] = 0
    difference = total = 0.0
    for column, row in enumerate(steps.argmax(axis=0)):
        profile = levels[row + 1 - PROFILE : row + 1 + PROFILE, column] if steps[row, column] else levels[:0, 0]
        if where is not None and not where[row + 1 - PROFILE : row + 1 + PROFILE, column].all():
            continue
        if len(profile) < 2 * PROFILE:
            continue
        above, below = profile[:SIDES].mean(axis=0), profile[-SIDES:].mean(axis=0)
        if np.linalg.norm(below - above) >= SMALLEST_STEP:
            missed, whole = _beside_a_step(np.diff(profile, axis=0), below - above)
            difference, total = difference + missed, total + whole
    return 1 - difference / total if total else None


def line_jump(picture: Array, seam: int, known: tuple[int, int], painted: tuple[int, int], top: float = 0.42) -> float:
    """By how many rows the strongest line of the known columns is off at column `seam` in the painted ones.

    The line is followed through the columns `known` and `painted` (first, end), as straight as it is there, and both
    are drawn on to the seam. Only below `top`, a share of the height, and only a step of about the same colours counts.
    `REACH` where the painted side has no such line.
    """
    steps = np.diff(np.asarray(picture, np.float64), axis=0)
    # A soft line's step is spread over rows; a sharp one's is not.
    steps[1:-1] = steps[1:-1] + (steps[:-2] + steps[2:]) / 2
    steps[: int(top * len(picture))] = 0
    strength = np.linalg.norm(steps, axis=2)
    columns = np.arange(*known)
    rows = _path(strength[:, columns])
    colour = np.mean([steps[row, column] for row, column in zip(rows, columns, strict=True)], axis=0)
    expected = _drawn_on(columns, rows, seam)
    alike = np.clip(steps @ (colour / np.linalg.norm(colour)), 0, None)
    far = np.abs(np.arange(len(alike)) - expected) > REACH
    alike[far] = 0
    columns = np.arange(*painted)
    found = _path(alike[:, columns])
    if alike[found, columns].mean() < 0.25 * np.linalg.norm(colour):
        return float(REACH)
    return min(float(REACH), abs(_drawn_on(columns, found, seam) - expected))


def _strongest(picture: Array, where: Array | None) -> float:
    lengths = np.sqrt((gradients(picture) ** 2).sum(axis=(0, 3)))
    return float(np.percentile(lengths[_counted(where, picture)], EDGE_PERCENTILE))


def _counted(where: Array | None, picture: Array) -> Array:
    """The gradients that lie between pixels that count, bool (h - 1, w - 1)."""
    if where is None:
        where = np.ones(picture.shape[:2], bool)
    return where[:-1, :-1] & where[:-1, 1:] & where[1:, :-1]


def _beside_a_step(slopes: Array, step: Array) -> tuple[float, float]:
    """Squared length of `slopes` (n, 3) less those of a step in the best place, and of that step's own slopes."""
    best = (np.inf, 0.0)
    for row in range(PROFILE - 3, PROFILE + 2):
        for share in (0, 0.25, 0.5, 0.75):
            ideal = np.zeros_like(slopes)
            ideal[row], ideal[row + 1] = (1 - share) * step, share * step
            best = min(best, (float(((slopes - ideal) ** 2).sum()), float((ideal**2).sum())))
    return best


def _path(strength: Array) -> Array:
    """Rows, one a column, of the strongest line through `strength` that climbs at most `STEEPEST` rows a column."""
    reached, came = strength[:, 0].copy(), []
    for column in strength.T[1:]:
        shifts = np.arange(-STEEPEST, STEEPEST + 1)
        options = np.stack([_shifted(reached, shift) - 1e-3 * abs(shift) for shift in shifts])
        came.append(shifts[options.argmax(axis=0)])
        reached = options.max(axis=0) + column
    rows = [int(reached.argmax())]
    for back in reversed(came):
        rows.append(rows[-1] + int(back[rows[-1]]))
    return np.array(rows[::-1])


def _shifted(values: Array, shift: int) -> Array:
    """`values[i + shift]` at i; nothing comes from outside."""
    padded = np.pad(values, STEEPEST, constant_values=-np.inf)
    return padded[STEEPEST + shift : STEEPEST + shift + len(values)]


def _drawn_on(columns: Array, rows: Array, to: int) -> float:
    slope, start = np.polyfit(columns, rows, 1)
    return float(slope * to + start)
