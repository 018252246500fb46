"""Takes the steps whose output was forecast once more, when the next whole call says what lay at their end.

The idea of UniPC's corrector (Zhao et al. 2023, arXiv 2302.04867), which costs no further model call: there the output
at the end of a step mends that step, here that of a whole call mends the forecast ones before it.
"""

from collections.abc import Callable, Container, Sequence
from typing import NamedTuple

import numpy as np

from ..samplers import Denoise
from ..schedule import NoiseSchedule, Prediction, Time
from ..tensors import Array

__all__ = ["corrected"]


class Made(NamedTuple):
    """One model call of a run as it was made."""

    time: Time
    x: Array
    predicted: Prediction


def corrected(denoise: Denoise, schedule: NoiseSchedule, whole: Container[int], until: int) -> Denoise:
    """Correct x in the calls `whole` of a run before call `until`, for a sampler that makes x of a prediction alone.

    DDIM is one: its next x is made of x_0 and noise, so reading the output at another x is all that it takes.
    """
    call = -1
    made: list[Made] = []

    def denoise_corrected(x: Array, time: Time) -> Prediction:
        nonlocal call
        call += 1
        predicted = denoise(x, time)
        if call in whole:
            if call < until and len(made) > 1:
                x = x + _missed(schedule.read, made, time, predicted.output)
                predicted = schedule.read(predicted.output, x, time.level)
            made.clear()
        made.append(Made(time, x, predicted))
        return predicted

    return denoise_corrected


def _missed(read: Callable[..., Prediction], made: Sequence[Made], time: Time, output: Array) -> Array:
    """What x lacks at `time`, had the outputs since the whole call made[0] lain on the line to `output`."""
    (begin, _, first), *forecast = made
    missed = np.float32(0) * output
    for here, x, was in forecast:
        share = (here.t - begin.t) / (time.t - begin.t)
        now = read(first.output + np.float32(share) * (output - first.output), x + missed, here.level)
        missed = here.next.mix(now.x0, now.noise) - here.next.mix(was.x0, was.noise)
    return missed
