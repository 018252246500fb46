"""The products that adapters store instead of a weight's change.

LoRA (Hu et al. 2021, arXiv:2106.09685) and LoCon, its form for convolutions; LoHa (FedPara, arXiv:2108.06098) and LoKr
(arXiv:2212.10650) as LyCORIS writes them (`lycoris/functional`), each with and without a Tucker core.
"""

import math

import numpy as np

from ..tensors import Array

__all__ = ["Factors", "delta_of", "fits", "rank_of", "shape_of"]

Factors = dict[str, Array]
"""The arrays of one layer by name: LoRA's are `down`, `up` and `mid`, the others LyCORIS' own."""
CORE = "ab...,ap,bq->pq..."
FIRST = ("up", "hada_w1_a", "lokr_w1", "lokr_w1_a")
"""Each kind of product has one of these factors once."""
LOHA = {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}


def shape_of(factors: Factors) -> tuple[int, ...] | None:
    """The shape of the product; None where the factors are no whole set, do not fit each other, or have rank 0."""
    if not all(value.size for value in factors.values()):
        return None
    names = set(factors)
    if {"down", "up"} <= names <= {"down", "up", "mid"}:
        return _lora_shape(factors["down"].shape, factors["up"].shape, factors.get("mid"))
    if LOHA <= names <= LOHA | {"hada_t1", "hada_t2"} and ("hada_t1" in names) == ("hada_t2" in names):
        one, two = (_pair_shape(factors, f"hada_w{n}", f"hada_t{n}") for n in (1, 2))
        return one if one == two else None
    taken = _taken(names, "lokr_w1", "") | _taken(names, "lokr_w2", "lokr_t2")
    if not names or names != taken:
        return None
    one, two = _pair_shape(factors, "lokr_w1", ""), _pair_shape(factors, "lokr_w2", "lokr_t2")
    if one is None or two is None or len(one) != 2:
        return None
    return one[0] * two[0], one[1] * two[1], *two[2:]


def delta_of(factors: Factors, scale: float) -> Array:
    """`scale` times the product, float32, in the shape of `shape_of`."""
    first = next(name for name in FIRST if name in factors)
    # A factor is far smaller than the product.
    factors = factors | {first: factors[first] * np.float32(scale)}
    if "up" in factors:
        up, down = (_flat(factors[name]) for name in ("up", "down"))
        if "mid" in factors:
            return np.einsum(CORE, factors["mid"], up.T, down, optimize=True)
        # In columns, as linear layers are stored.
        return (down.T @ up.T).T.reshape(len(up), *factors["down"].shape[1:])
    if "hada_w1_a" in factors:
        return _pair(factors, "hada_w1", "hada_t1") * _pair(factors, "hada_w2", "hada_t2")
    one, two = _pair(factors, "lokr_w1", ""), _pair(factors, "lokr_w2", "lokr_t2")
    product: Array = np.kron(one.reshape(*one.shape, *(1,) * (two.ndim - 2)), two)
    return product


def rank_of(factors: Factors) -> int:
    """What alpha is divided by; 0 for a LoKr of whole matrices, whose alpha means nothing."""
    for name in ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b"):
        if name in factors:
            return len(factors[name])
    return 0


def fits(made: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a product is a change of a weight: the same shape, but for axes of 1 at the end, or rows laid flat."""
    return _trimmed(made) == _trimmed(shape) or made == (shape[0], math.prod(shape[1:]))


def _lora_shape(down: tuple[int, ...], up: tuple[int, ...], mid: Array | None) -> tuple[int, ...] | None:
    if min(len(down), len(up)) < 2 or math.prod(up[2:]) != 1:
        return None
    if mid is None:
        return (up[0], *down[1:]) if up[1] == down[0] else None
    if mid.ndim < 3 or mid.shape[:2] != (up[1], down[0]) or math.prod(down[2:]) != 1:
        return None
    return up[0], down[1], *mid.shape[2:]


def _taken(names: set[str], name: str, core: str) -> set[str]:
    """The names that a matrix of LoKr takes: itself, or two factors and perhaps a core."""
    return {name} if name in names else {f"{name}_a", f"{name}_b"} | ({core} & names)


def _pair_shape(factors: Factors, name: str, core: str) -> tuple[int, ...] | None:
    if name in factors:
        return factors[name].shape if factors[name].ndim >= 2 else None
    first, second = factors[f"{name}_a"].shape, factors[f"{name}_b"].shape
    if len(first) != 2 or len(second) < 2:
        return None
    if core not in factors:
        return (first[0], *second[1:]) if first[1] == second[0] else None
    middle = factors[core].shape
    fitting = len(middle) >= 3 and len(second) == 2 and middle[:2] == (first[0], second[0])
    return (first[1], second[1], *middle[2:]) if fitting else None


def _pair(factors: Factors, name: str, core: str) -> Array:
    if name in factors:
        return factors[name]
    first, second = factors[f"{name}_a"], factors[f"{name}_b"]
    if core in factors:
        return np.einsum(CORE, factors[core], first, second, optimize=True)
    product: Array = (first @ _flat(second)).reshape(len(first), *second.shape[1:])
    return product


def _flat(array: Array) -> Array:
    return array.reshape(len(array), -1)


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
