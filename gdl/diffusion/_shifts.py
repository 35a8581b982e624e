"""Kernels and images moved by whole pixels, each by its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def whole_mean(kernels: Tensor) -> Tensor:
    """The mean displacements, rounded to whole pixels, (B, 2)."""
    line = torch.arange(kernels.shape[-1], device=kernels.device) - kernels.shape[-1] // 2
    weights = kernels.detach() / kernels.detach().sum((1, 2), keepdim=True)
    means = [(weights.sum(axis) * line).sum(1) for axis in (2, 1)]
    return torch.stack(means, 1).round().to(torch.int64)


def moved_kernels(kernels: Tensor, back: Tensor) -> Tensor:
    """Kernels moved back by whole pixels, zeros entering, and scaled to sum 1."""
    size = kernels.shape[-1]
    moved = rolled(pad(kernels[:, None], (size // 2,) * 4), -back)
    inside = moved[:, 0, size // 2 : size // 2 + size, size // 2 : size // 2 + size]
    return inside / inside.sum((1, 2), keepdim=True)


def rolled(images: Tensor, by: Tensor) -> Tensor:
    """Each image rolled by its own (row, column)."""
    pairs = zip(images, by.tolist(), strict=True)
    return torch.stack([image.roll(shift, (1, 2)) for image, shift in pairs])
