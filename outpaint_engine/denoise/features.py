"""The UNet's deep features, forecast where it is not run whole, and its shallow part run on them.

DeepCache's cut (Ma et al. 2023, arXiv 2312.00858), with the features on a line (TaylorSeer, arXiv 2503.06923, of first
order) in place of the latest ones.
"""

from collections.abc import Callable, Container

from ..tensors import Array
from .forecast import Trend
from .prediction import Predict

__all__ = ["PredictDeep", "PredictShallow", "forecast_features"]

PredictDeep = Callable[[Array, float, Array], tuple[Array, Array]]
"""As `Predict`; the output, and the deep features (B, C, h, w) that the shallow part takes."""
PredictShallow = Callable[[Array, float, Array, Array], Array]
"""As `Predict`, with the deep features last."""


def forecast_features(
    whole: PredictDeep, shallow: PredictShallow, whole_calls: Container[int], slope: float
) -> Predict:
    """Run the UNet whole in `whole_calls` of a run, from 0, and its shallow part in the others."""
    trend = Trend(slope)
    call = -1

    def whole_or_shallow(sample: Array, timestep: float, context: Array) -> Array:
        nonlocal call
        call += 1
        if call not in whole_calls:
            return shallow(sample, timestep, context, trend.at(timestep, len(sample)))
        output, features = whole(sample, timestep, context)
        trend.add(timestep, features)
        return output

    return whole_or_shallow
