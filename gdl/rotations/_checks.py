"""Argument checks of this room: each raises an error that names the argument."""

from __future__ import annotations

import torch
from torch import Tensor

from gdl._checks import (
    boolean,
    edges,
    finite,
    floating,
    integer,
    one_of,
    positive,
    readable,
    real_dtype,
    shaped,
    typed,
)
from gdl.equivariance import full_precision

__all__ = [
    "boolean",
    "cloud",
    "degree",
    "directions",
    "distinct",
    "edges",
    "finite",
    "floating",
    "integer",
    "one_of",
    "orthogonal",
    "positive",
    "readable",
    "real_dtype",
    "rotations",
    "shaped",
    "signals",
    "typed",
    "vectors",
]

MOST_DEGREE = 64


def degree(name: str, value: int) -> int:
    """Return ``value`` if it is a degree that this room supports."""
    return integer(name, value, 0, MOST_DEGREE)


def vectors(name: str, x: Tensor) -> Tensor:
    """Return ``x`` if it holds finite vectors (..., 3)."""
    return finite(name, shaped(name, x, 3))


def rotations(name: str, matrix: Tensor) -> Tensor:
    """Return ``matrix`` if it holds rotations (..., 3, 3): orthogonal, of determinant 1."""
    matrix = orthogonal(name, matrix)
    if readable(matrix) and bool((torch.linalg.det(_judged(matrix)) < 0).any()):
        raise ValueError(
            f"{name}: expected rotations, got a matrix of determinant -1; "
            "Irreps.matrix takes reflections"
        )
    return matrix


def orthogonal(name: str, matrix: Tensor) -> Tensor:
    """Return ``matrix`` if it holds orthogonal matrices (..., 3, 3)."""
    finite(name, shaped(name, matrix, 3, 3))
    if not readable(matrix):
        return matrix
    judged = _judged(matrix)
    with full_precision(judged.device):
        product = judged.transpose(-1, -2) @ judged
    defect = product - torch.eye(3, dtype=judged.dtype, device=judged.device)
    worst = float(defect.abs().max()) if defect.numel() else 0.0
    allowed = max(1e-6, 16 * torch.finfo(matrix.dtype).eps)
    if worst > allowed:
        raise ValueError(
            f"{name}: expected orthogonal matrices, but M^T M differs from 1 by {worst:.3g}"
        )
    return matrix


def _judged(matrix: Tensor) -> Tensor:
    matrix = matrix.detach()
    return matrix if matrix.dtype == torch.float64 else matrix.float()


def cloud(name: str, x: Tensor, features: int, positions: Tensor) -> None:
    """Raise unless ``x`` is (N, features) and ``positions`` (N, 3), of one dtype, and N > 0."""
    shaped(name, x, None, features)
    shaped("positions", positions, None, 3)
    if x.ndim != 2 or positions.ndim != 2 or len(x) != len(positions):
        raise ValueError(
            f"{name}, positions: expected (N, {features}) and (N, 3), got {tuple(x.shape)} and "
            f"{tuple(positions.shape)}"
        )
    if not len(x):
        raise ValueError("positions: expected at least one point, got an empty cloud")
    if x.dtype != positions.dtype or x.device != positions.device:
        raise TypeError(
            f"positions: expected {x.dtype} on {x.device} as {name}, got {positions.dtype} on "
            f"{positions.device}"
        )
    finite("positions", positions)


def directions(name: str, x: Tensor) -> Tensor:
    """Return ``x`` if it holds finite vectors (..., 3), none of them zero."""
    vectors(name, x)
    if readable(x):
        zero = (x == 0).all(-1)
        if bool(zero.any()):
            raise ValueError(
                f"{name}: expected directions, but entry {zero.nonzero()[0].tolist()} has length "
                "0: two points coincide"
            )
    return x


def distinct(name: str, vectors: Tensor, edge_index: Tensor) -> None:
    """Raise if an edge joins two points at the same place, so that it has no direction."""
    if not readable(vectors):
        return
    zero = (vectors == 0).all(-1)
    if bool(zero.any()):
        source, target = edge_index[:, zero.nonzero()[0, 0]].tolist()
        raise ValueError(
            f"{name}: points {source} and {target} coincide, and the edge between them has no "
            "direction; leave it out"
        )


def signals(name: str, x: Tensor, dtype: torch.dtype, *sizes: int) -> Tensor:
    """Return ``x`` in ``dtype`` if it holds finite signals (..., *sizes) of this dtype.

    Under autocast, where layers before this one may have rounded, other dtypes are cast.
    """
    shaped(name, x, *sizes)
    if not x.numel():
        raise ValueError(f"{name}: expected at least one signal, got shape {tuple(x.shape)}")
    return finite(name, typed(name, x, dtype))
