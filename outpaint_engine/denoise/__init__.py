"""Closures around the UNet: mask channels, reuse, guidance, the pinned known region, and the check for NaN.

Each takes a prediction function and returns one, so a sampler sees only `Denoise`.
"""

from .corrected import corrected
from .features import forecast_features
from .forecast import forecast
from .guidance import Guidance, guidance_embedding, guided, guided_calls
from .known import Held, hold_by_grey, hold_known, mask_channels, with_mask_channels
from .prediction import Predict, denoiser
from .reuse import LEVELS, Reuse, follows

__all__ = [
    "LEVELS",
    "Guidance",
    "Held",
    "Predict",
    "Reuse",
    "corrected",
    "denoiser",
    "follows",
    "forecast",
    "forecast_features",
    "guidance_embedding",
    "guided",
    "guided_calls",
    "hold_by_grey",
    "hold_known",
    "mask_channels",
    "with_mask_channels",
]
