"""Arguments of the room: finite tensors of the right shape, in double precision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import gdl._checks as check


def _matrix(argument: str, value: Tensor, columns: int | None = None, least: int = 1) -> Tensor:
    """A finite tensor of shape (N, d) with at least ``least`` rows, as float64 on the CPU."""
    shape = f"(N, {'d' if columns is None else columns})"
    if not isinstance(value, Tensor):
        raise TypeError(f"{argument}: expected a tensor, got {type(value).__name__}")
    if value.ndim != 2 or not value.shape[1] or columns not in (None, value.shape[1]):
        raise ValueError(f"{argument}: expected shape {shape}, got {tuple(value.shape)}")
    if len(value) < least:
        raise ValueError(f"{argument}: expected at least {least} rows, got {len(value)}")
    return _finite(argument, value)


def _vector(argument: str, value: Tensor, size: int | None = None) -> Tensor:
    """A finite tensor of shape (d,), as float64 on the CPU."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{argument}: expected a tensor, got {type(value).__name__}")
    if value.ndim != 1 or not len(value) or size not in (None, len(value)):
        shape = "(d,)" if size is None else f"({size},)"
        raise ValueError(f"{argument}: expected shape {shape}, got {tuple(value.shape)}")
    return _finite(argument, value)


def _finite(argument: str, value: Tensor) -> Tensor:
    if value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{argument}: expected real numbers, got {value.dtype}")
    if not torch.isfinite(value).all():
        raise ValueError(f"{argument}: expected finite entries, got NaN or infinity")
    return value.detach().to("cpu", torch.float64)


def _seed(seed: int) -> int:
    """A seed that torch's generators take."""
    return check.integer("seed", seed, 0, 2**63 - 1)


def _instances(argument: str, values: Sequence, kind: type) -> list:
    """A list of objects of one kind."""
    if not isinstance(values, Sequence):
        raise TypeError(f"{argument}: expected a list, got {type(values).__name__}")
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(
                f"{argument}: expected {kind.__name__} objects, got {type(value).__name__}"
            )
    return list(values)
