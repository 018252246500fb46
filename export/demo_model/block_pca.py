"""The linear code that the autoencoder starts from: the strongest components of 8 x 8 blocks of pixels, whitened.

An autoencoder trained from random weights left three of its four channels all but unused; begun from four numbers
that each say something, it keeps using them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

BLOCK = 8


@dataclass(frozen=True)
class BlockPca:
    """`mean` (192,) of a block of pixels, and `components` (channels, 192) that make its whitened coefficients."""

    mean: Tensor
    components: Tensor

    @classmethod
    def of(cls, pixels: Tensor, channels: int = 4) -> "BlockPca":
        """The strongest `channels` components of `pixels` (n, 3, 8h, 8w)."""
        blocks = _blocks(pixels).flatten(2).transpose(1, 2).flatten(0, 1).double()
        mean = blocks.mean(dim=0)
        variances, directions = torch.linalg.eigh(torch.cov((blocks - mean).T))
        strongest = slice(-channels, None)
        components = directions[:, strongest].T / variances[strongest, None].sqrt()
        return cls(mean.float(), components.flip(0).float())

    def coefficients(self, pixels: Tensor) -> Tensor:
        """Whitened coefficients of `pixels` (n, 3, 8h, 8w): shape (n, channels, h, w), each of deviation 1."""
        blocks = _blocks(pixels) - self.mean.to(pixels)[:, None, None]
        return torch.einsum("kc,nchw->nkhw", self.components.to(pixels), blocks)


def _blocks(pixels: Tensor) -> Tensor:
    return pixel_unshuffle(pixels, BLOCK)
