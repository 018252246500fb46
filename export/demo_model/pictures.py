"""What the autoencoder learns from: scenes drawn at three sizes, whole or in crops, half of them chosen by detail.

A scene drawn at 1024 pixels is the same poster four times as large, so its crops are zoomed content: what tiles of a
large canvas show. GroupNorm's statistics differ between a crop, a whole picture and a whole picture of another size;
a decoder that knows only one of them shifts the colours of the others (measured: up to 12 dB).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from .scenes import draw, scenes

SEED = 7
COUNTS = {256: 1600, 512: 240, 1024: 60}
"""Scenes drawn at each size."""
SHARES = (0.6, 0.2, 0.2)
"""How often a crop comes from each size, the smallest first."""
WHOLE_SHARES = (0.6, 0.05)
"""How often a large picture is a whole one of the smallest size and of the next; else it is a crop of the former."""
CANDIDATES = 6
"""A crop chosen by detail is the one with the strongest edges of this many."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """Square scenes by size in pixels; each an array of shape (n, size, size, 3)."""

    by_size: dict[int, Pixels]

    @classmethod
    def drawn(cls, counts: dict[int, int], folder: Path) -> "Pictures":
        """Draw `counts` scenes of each size, no scene at two sizes; what lies in `folder` already is read back."""
        by_size = {}
        for offset, (size, count) in enumerate(counts.items()):
            path = folder / f"pictures-{size}-{count}.npy"
            if not path.exists():
                chosen = tqdm(scenes(SEED + offset, count), desc=f"drawing at {size}", total=count, mininterval=10)
                part = path.with_name("part.npy")
                np.save(part, np.stack([draw(scene, size, size) for scene in chosen]))
                part.replace(path)
            by_size[size] = np.load(path, mmap_mode="r")
        return cls(by_size)

    @property
    def side(self) -> int:
        """The smallest size drawn."""
        return min(self.by_size)

    def crops(self, count: int, side: int, rng: np.random.Generator) -> Tensor:
        """`count` crops of `side` pixels of any size, every second one chosen by detail, as `to_tensor` gives them."""
        return to_tensor(np.stack([self._crop(side, rng, CANDIDATES if i % 2 else 1) for i in range(count)]))

    def large(self, rng: np.random.Generator) -> Tensor:
        """A whole picture, or one crop as large as the smallest of them, as `to_tensor` gives it."""
        sizes, drawn = sorted(self.by_size)[: len(WHOLE_SHARES)], rng.random()
        for size, reached in zip(sizes, np.cumsum(WHOLE_SHARES), strict=False):
            if drawn < reached:
                pictures = self.by_size[size]
                return to_tensor(_perhaps_mirrored(pictures[rng.integers(len(pictures))], rng)[None])
        return self.crops(1, self.side, rng)

    def _crop(self, side: int, rng: np.random.Generator, candidates: int) -> Pixels:
        sizes, shares = sorted(self.by_size), np.array(SHARES[: len(self.by_size)])
        found = []
        for size in rng.choice(sizes, size=candidates, p=shares / shares.sum()):
            pictures = self.by_size[int(size)]
            top, left = rng.integers(size - side + 1, size=2)
            found.append(pictures[rng.integers(len(pictures)), top : top + side, left : left + side])
        return _perhaps_mirrored(max(found, key=_detail), rng)


def to_tensor(pixels: Pixels) -> Tensor:
    """(n, h, w, 3) in [0, 255] as (n, 3, h, w) in [-1, 1], channels last in memory."""
    scaled = torch.from_numpy(np.array(pixels, np.float32, order="C")).permute(0, 3, 1, 2) / 127.5 - 1
    return scaled.contiguous(memory_format=torch.channels_last)


def _detail(crop: Pixels) -> float:
    grey = crop[::2, ::2].mean(axis=2, dtype=np.float32)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def _perhaps_mirrored(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels
