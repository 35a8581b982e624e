"""What layers on surfaces are made of: options of tensors, checks of features, first weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.geodesics.operators import SurfaceOperators


def made(device: torch.device | str | None, dtype: torch.dtype | None) -> dict:
    """The options of the tensors of a layer."""
    return {"device": device, "dtype": None if dtype is None else check.real_dtype(dtype)}


def bias(channels: int, wanted: bool, options: dict) -> nn.Parameter | None:
    """A bias of zeros, if one is wanted."""
    return nn.Parameter(torch.zeros(channels, **options)) if check.boolean("bias", wanted) else None


def glorot(weight: Tensor) -> None:
    """Entries of variance 2 / (inputs + outputs), evenly spread, by the last two axes."""
    bound = math.sqrt(6 / (weight.shape[-2] + weight.shape[-1]))
    nn.init.uniform_(weight, -bound, bound)


def features(
    name: str, x: Tensor, surface: SurfaceOperators, channels: int | None, weight: Tensor
) -> Tensor:
    """Return ``x`` in the dtype of the layer, if it is (n, channels) on its surface."""
    of_surface("surface", surface)
    check.floating(name, x)
    wanted = "C" if channels is None else channels
    n = surface.num_vertices
    fits = x.ndim == 2 and len(x) == n and x.shape[1] > 0
    if not fits or (channels is not None and x.shape[1] != channels):
        raise ValueError(f"{name}: expected shape ({n}, {wanted}), got {tuple(x.shape)}")
    for part, tensor in (("surface", surface.vectors), (name, x)):
        if tensor.device != weight.device:
            raise ValueError(
                f"{part}: expected device {weight.device} as the layer, got {tensor.device}"
            )
    if surface.dtype != weight.dtype:
        raise TypeError(
            f"surface: expected {weight.dtype}, the dtype of the layer, got {surface.dtype}"
        )
    return check.finite(name, check.typed(name, x, weight.dtype))


def of_surface(name: str, surface: SurfaceOperators) -> SurfaceOperators:
    """Return ``surface`` if it is one."""
    if not isinstance(surface, SurfaceOperators):
        raise TypeError(f"{name}: expected SurfaceOperators, got {type(surface).__name__}")
    return surface


def shifted(x: Tensor, by: Tensor | None) -> Tensor:
    """``x`` plus a bias, if there is one."""
    return x if by is None else x + by
