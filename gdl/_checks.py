"""Argument checks that several rooms share: each raises an error that names the argument."""

from __future__ import annotations

import math
import numbers

import numpy as np
import torch
from torch import Tensor


def integer(name: str, value: int, least: int = 0, most: int | None = None) -> int:
    """Return ``value`` if it is an int from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}")
    if value < least or (most is not None and value > most):
        range_ = f"at least {least}" if most is None else f"{least} to {most}"
        raise ValueError(f"{name}: expected {range_}, got {value}")
    return int(value)


def number(name: str, value: float, low: float = -math.inf, high: float = math.inf) -> float:
    """Return ``value`` if it is a finite number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    if not _is_finite(value):
        raise ValueError(f"{name}: expected a finite number, got {value}")
    if not low <= value <= high:
        raise ValueError(f"{name}: expected a number from {low} to {high}, got {value}")
    return float(value)


def positive(name: str, value: float) -> float:
    """Return ``value`` if it is a positive finite number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    if not (_is_finite(value) and value > 0):
        raise ValueError(f"{name}: expected a positive finite number, got {value}")
    return float(value)


def _is_finite(value: float) -> bool:
    """Whether a number has a finite float; integers may be too large for one."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def boolean(name: str, value: bool) -> bool:
    """Return ``value`` if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return value


def one_of(name: str, value: object, allowed: tuple) -> None:
    """Raise unless ``value`` is one of ``allowed``."""
    # Arrays compare entry by entry, so that `in` has no answer for them.
    if isinstance(value, (np.ndarray, Tensor)) or value not in allowed:
        raise ValueError(f"{name}: expected one of {allowed}, got {value!r}")


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
    if x.layout != torch.strided:
        raise TypeError(f"{name}: expected a dense tensor, got layout {x.layout}")
    return x


def shaped(name: str, x: Tensor, *sizes: int | None) -> Tensor:
    """Return ``x`` if its last axes have these sizes, None being any; more axes may lead."""
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


def like(name: str, x: Tensor, other: Tensor, *sizes: int | None) -> Tensor:
    """Return ``x`` if it is a finite (..., *sizes) of the dtype and device of ``other``."""
    shaped(name, x, *sizes)
    # Autocast may have rounded what an earlier layer returned.
    if x.dtype != other.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(f"{name}: expected {other.dtype}, got {x.dtype}")
    if x.device != other.device:
        raise ValueError(f"{name}: expected device {other.device}, got {x.device}")
    return finite(name, x.to(other.dtype))


def finite(name: str, x: Tensor) -> Tensor:
    """Return ``x`` if all its entries are finite."""
    if readable(x) and not all_finite(x):
        raise ValueError(f"{name}: expected finite entries, got NaN or infinity")
    return x


def all_finite(x: Tensor) -> bool:
    """Whether no entry is NaN or infinite; a finite sum, which is quickly found, says so."""
    return bool(torch.isfinite(x.detach().sum())) or bool(torch.isfinite(x).all())


def readable(x: Tensor) -> bool:
    """Whether there are values to judge: neither on the meta device nor while compiling."""
    return not (x.is_meta or torch.compiler.is_compiling())


def edges(name: str, edge_index: Tensor, nodes: int, device: torch.device) -> Tensor:
    """Return ``edge_index`` if it is int64 (2, E) of sources and targets among the nodes."""
    if not isinstance(edge_index, Tensor) or edge_index.dtype != torch.int64:
        got = edge_index.dtype if isinstance(edge_index, Tensor) else type(edge_index).__name__
        raise TypeError(f"{name}: expected an int64 tensor, got {got}")
    if edge_index.layout != torch.strided:
        raise TypeError(f"{name}: expected a dense tensor, got layout {edge_index.layout}")
    if edge_index.ndim != 2 or len(edge_index) != 2:
        raise ValueError(f"{name}: expected shape (2, E), got {tuple(edge_index.shape)}")
    if edge_index.device != device:
        raise ValueError(f"{name}: expected device {device}, got {edge_index.device}")
    if readable(edge_index) and edge_index.numel():
        low, high = int(edge_index.min()), int(edge_index.max())
        if low < 0 or high >= nodes:
            raise ValueError(
                f"{name}: expected entries 0 to {nodes - 1} for {nodes} points, got {low} to {high}"
            )
    return edge_index


def dictionary(name: str, D: Tensor) -> Tensor:
    """Return ``D`` if it is a finite (m, n) of float32 or float64 without zero columns."""
    floating(name, D)
    if D.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name}: expected float32 or float64, got {D.dtype}")
    if D.ndim != 2 or 0 in D.shape:
        raise ValueError(f"{name}: expected shape (m, n), not empty, got {tuple(D.shape)}")
    finite(name, D)
    if readable(D):
        squares = D.detach().square().sum(0)
        # Squares that underflow or overflow would leave no step size.
        bad = ~((squares >= torch.finfo(D.dtype).tiny) & squares.sum().isfinite())
        if bool(bad.any()):
            atom = int(bad.nonzero()[0])
            raise ValueError(
                f"{name}: expected columns (atoms) whose squared length is positive and finite, "
                f"got {float(squares[atom])} for column {atom} of shape {tuple(D.shape)}"
            )
    return D


def penalty(name: str, value: float) -> float:
    """Return ``value`` if it is a positive number that float32 can hold."""
    largest = torch.finfo(torch.float32).max
    if positive(name, value) > largest:
        raise ValueError(f"{name}: expected at most {largest}, got {value}")
    return float(value)


def signals(name: str, y: Tensor, D: Tensor) -> Tensor:
    """Return ``y`` if it is a finite (..., m) that fits the dictionary (m, n)."""
    return like(name, y, D, len(D))


def codes(name: str, x: Tensor, D: Tensor) -> Tensor:
    """Return ``x`` if it is a finite (..., n) that fits the dictionary (m, n)."""
    return like(name, x, D, D.shape[1])
