"""How far a decoded picture is from the true one; pixels of shape (n, 3, h, w) in [-1, 1], every loss a scalar."""

from torch import Tensor
from torch.nn.functional import avg_pool2d

GRADIENT_WEIGHT = 2.0
POOL = 4


def reconstruction_error(decoded: Tensor, pixels: Tensor) -> Tensor:
    """L1 + 0.5 MSE + `GRADIENT_WEIGHT` times the L1 of the gradients' difference: blur costs twice."""
    error = decoded - pixels
    slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 0.5 * error.square().mean() + GRADIENT_WEIGHT * slopes


def pooled_gradient_error(decoded: Tensor, pixels: Tensor) -> Tensor:
    """How much the strength of edges differs, in the mean over `POOL` x `POOL` pixels, wherever in them they lie.

    It asks for sharpness where the place of an edge is not known to the pixel. Much of it makes rims and staircases.
    """
    return (_strength(decoded) - _strength(pixels)).abs().mean()


def _strength(pixels: Tensor) -> Tensor:
    across, down = pixels.diff(dim=-1)[..., 1:, :], pixels.diff(dim=-2)[..., :, 1:]
    return avg_pool2d((across.square() + down.square() + 1e-4).sqrt(), POOL)
