"""Checks of graphs and walks: each raises an error that names the argument."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

import gdl._checks as check
from gdl.geodesics._arrays import read_array


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
