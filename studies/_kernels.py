"""How far kernels are from the true ones, in the study "deblurring"."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def kernel_error(kernels: Tensor, truth: Tensor, *, reach: int = 2) -> Tensor:
    r"""The relative squared distance of kernels, up to whole shifts, which no picture can tell.

        min over shifts a of |shift_a k - truth|^2 / |truth|^2

    Args:
        kernels, truth: (B, size, size); truth is not 0.
        reach: the largest shift along rows and columns.

    Returns:
        (B,).
    """
    norm, steps = truth.square().sum((1, 2)), range(-reach, reach + 1)
    kernels, truth = (pad(k, (reach,) * 4) for k in (kernels, truth))
    shifts = [kernels.roll((row, column), (1, 2)) for row in steps for column in steps]
    return torch.stack([(k - truth).square().sum((1, 2)) for k in shifts]).amin(0) / norm
