"""Argument checks of graphs: each raises an error that names the argument."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import gdl._checks as check


def finite(name: str, x: Tensor) -> Tensor:
    """Return ``x`` if all its entries are finite."""
    # One pass without a temporary: a finite sum has finite terms, and the converse is rare.
    if check.readable(x) and not math.isfinite(float(x.detach().sum())):
        check.finite(name, x)
    return x


def features(name: str, x: Tensor, channels: int | None = None) -> Tensor:
    """Return ``x`` if it is (n, channels), floating-point and finite, with at least one node."""
    check.floating(name, x)
    wanted = "C" if channels is None else channels
    if x.ndim != 2 or 0 in x.shape or (channels is not None and x.shape[1] != channels):
        raise ValueError(
            f"{name}: expected shape (n, {wanted}) with at least one node, got {tuple(x.shape)}"
        )
    return finite(name, x)


def beside(name: str, x: Tensor, reference: Tensor, of: str) -> Tensor:
    """Return ``x`` in the dtype of a reference tensor if it has its device and dtype."""
    if x.device != reference.device:
        raise ValueError(f"{name}: expected device {reference.device} as {of}, got {x.device}")
    if x.dtype != reference.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(f"{name}: expected {reference.dtype} as {of}, got {x.dtype}")
    return x if x.dtype == reference.dtype else x.to(reference.dtype)


def along_edges(name: str, values: Tensor, edges: int) -> Tensor:
    """Return ``values`` if they are floating-point and finite, one row for each edge."""
    check.floating(name, values)
    if values.ndim == 0 or len(values) != edges:
        raise ValueError(
            f"{name}: expected shape ({edges}, ...), one row for each edge, "
            f"got {tuple(values.shape)}"
        )
    return finite(name, values)


def nodes(name: str, index: Tensor, num_nodes: int, device: torch.device) -> Tensor:
    """Return ``index`` if it is int64 (B,), numbers of nodes."""
    if not isinstance(index, Tensor) or index.dtype != torch.int64:
        got = index.dtype if isinstance(index, Tensor) else type(index).__name__
        raise TypeError(f"{name}: expected an int64 tensor, got {got}")
    if index.ndim != 1:
        raise ValueError(f"{name}: expected shape (B,), got {tuple(index.shape)}")
    if index.device != device:
        raise ValueError(f"{name}: expected device {device}, got {index.device}")
    if check.readable(index) and index.numel():
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= num_nodes:
            raise ValueError(f"{name}: expected entries 0 to {num_nodes - 1}, got {low} to {high}")
    return index
