"""Checks that modules of this room share: each raises an error that names the argument."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

import gdl._checks as check
from gdl.geodesics._arrays import read_array


def instance(name: str, value: object, kind: type) -> None:
    """Raise unless ``value`` is of this type."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected {_named(kind)}, got {type(value).__name__}")


def made(device: torch.device | str | None, dtype: torch.dtype | None) -> dict:
    """Options for what a layer makes."""
    return {"device": device, "dtype": None if dtype is None else check.real_dtype(dtype)}


def moderate(name: str, angles: Tensor, share: float) -> Tensor:
    """Return finite angles below a share of 1/eps, where digits after the point end."""
    check.finite(name, angles)
    limit = share / torch.finfo(angles.dtype).eps
    if check.readable(angles) and bool((angles.abs() >= limit).any()):
        largest = float(angles.detach().abs().max())
        raise ValueError(f"{name}: expected angles below {limit:.3g}, got {largest:.3g}")
    return angles


def indices(
    name: str, values: Sequence[int] | Tensor, count: int, least: int, device: torch.device
) -> Tensor:
    """Integers (..., k) from 0 to count - 1, k at least ``least``."""
    read = read_array(name, values)
    if not read.ndim or read.shape[-1] < least:
        raise ValueError(f"{name}: expected shape (..., k), k at least {least}, got {read.shape}")
    if read.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, got {read.dtype}")
    if ((read < 0) | (read >= count)).any():
        got = f"{read.min()} to {read.max()}"
        raise ValueError(f"{name}: expected indices 0 to {count - 1}, got {got}")
    return torch.from_numpy(read.astype(np.int64)).to(device)


def like(name: str, x: Tensor, shape: tuple[int, ...], angles: Tensor) -> Tensor:
    """Finite numbers of a shape, of the dtype of the angles and on their device."""
    check.floating(name, x)
    if x.dtype != angles.dtype:
        raise TypeError(f"{name}: expected {angles.dtype}, as the angles, got {x.dtype}")
    if x.device != angles.device:
        raise ValueError(f"{name}: expected device {angles.device}, got {x.device}")
    if tuple(x.shape) != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(x.shape)}")
    return check.finite(name, x)


def _named(kind: type) -> str:
    """The name of a type, after its article."""
    return f"an {kind.__name__}" if kind.__name__[0] in "AEIOU" else f"a {kind.__name__}"
