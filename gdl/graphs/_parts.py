"""What layers on graphs are made of: options of tensors, biases, first weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import gdl._checks as check


def made(device: torch.device | str | None, dtype: torch.dtype | None) -> dict:
    """The options of the tensors of a layer."""
    return {"device": device, "dtype": None if dtype is None else check.real_dtype(dtype)}


def bias(channels: int, wanted: bool, options: dict) -> nn.Parameter | None:
    """A bias of zeros, if one is wanted."""
    return nn.Parameter(torch.zeros(channels, **options)) if check.boolean("bias", wanted) else None


def shifted(x: Tensor, by: Tensor | None) -> Tensor:
    """``x`` plus a bias, if there is one."""
    return x if by is None else x + by


def glorot(weight: Tensor) -> None:
    """Entries of variance 2 / (inputs + outputs), evenly spread, by the last two axes."""
    bound = math.sqrt(6 / (weight.shape[-2] + weight.shape[-1]))
    nn.init.uniform_(weight, -bound, bound)
