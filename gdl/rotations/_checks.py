"""Argument checks of this room: each raises an error that names the argument."""

from __future__ import annotations

import math
import numbers

import torch
from torch import Tensor

from gdl.equivariance import full_precision

MOST_DEGREE = 64


def integer(name: str, value: int, least: int = 0, most: int | None = None) -> int:
    """Return ``value`` if it is an int from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}")
    if value < least or (most is not None and value > most):
        range_ = f"at least {least}" if most is None else f"{least} to {most}"
        raise ValueError(f"{name}: expected {range_}, got {value}")
    return int(value)


def degree(name: str, value: int) -> int:
    """Return ``value`` if it is a degree that this room supports."""
    return integer(name, value, 0, MOST_DEGREE)


def positive(name: str, value: float) -> float:
    """Return ``value`` if it is a positive finite number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a positive finite number, got {value}")
    return float(value)


def one_of(name: str, value: object, allowed: tuple) -> None:
    """Raise unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {allowed}, got {value!r}")


def boolean(name: str, value: bool) -> bool:
    """Return ``value`` if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return value


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return ``dtype`` if it is a real floating-point type."""
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"dtype: expected a real floating-point type of torch, got {dtype!r}")
    return dtype


def floating(name: str, x: Tensor) -> Tensor:
    """Return ``x`` if it is a tensor of real floating-point numbers."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"{name}: expected a real floating-point tensor, got {x.dtype}")
    return x


def shaped(name: str, x: Tensor, *sizes: int | None) -> Tensor:
    """Return ``x`` if its last axes have these sizes, None being any; one more axis may lead."""
    floating(name, x)
    tail = tuple(x.shape[-len(sizes) :])
    fits = len(tail) == len(sizes) and all(
        want is None or got == want for got, want in zip(tail, sizes, strict=True)
    )
    if not fits:
        wanted = ", ".join("n" if size is None else str(size) for size in sizes)
        raise ValueError(f"{name}: expected shape (..., {wanted}), got {tuple(x.shape)}")
    return x


def typed(name: str, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``x`` in ``dtype`` if it has this dtype, or autocast is on and may have rounded it."""
    floating(name, x)
    if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(f"{name}: expected {dtype}, the dtype of the layer, got {x.dtype}")
    return x.to(dtype)


def finite(name: str, x: Tensor) -> Tensor:
    """Return ``x`` if all its entries are finite."""
    if readable(x) and not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name}: expected finite entries, got NaN or infinity")
    return x


def readable(x: Tensor) -> bool:
    """Whether there are values to judge: neither on the meta device nor while compiling."""
    return not (x.is_meta or torch.compiler.is_compiling())


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


def edges(name: str, edge_index: Tensor, positions: Tensor) -> None:
    """Raise unless ``edge_index`` is int64 (2, E) of sources and targets among the points."""
    if not isinstance(edge_index, Tensor) or edge_index.dtype != torch.int64:
        got = edge_index.dtype if isinstance(edge_index, Tensor) else type(edge_index).__name__
        raise TypeError(f"{name}: expected an int64 tensor, got {got}")
    if edge_index.ndim != 2 or len(edge_index) != 2:
        raise ValueError(f"{name}: expected shape (2, E), got {tuple(edge_index.shape)}")
    if edge_index.device != positions.device:
        raise ValueError(f"{name}: expected device {positions.device}, got {edge_index.device}")
    if not readable(edge_index) or not edge_index.numel():
        return
    low, high = int(edge_index.min()), int(edge_index.max())
    if low < 0 or high >= len(positions):
        raise ValueError(
            f"{name}: expected entries 0 to {len(positions) - 1} for {len(positions)} points, got "
            f"{low} to {high}"
        )


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
