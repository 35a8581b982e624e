r"""Cartoons with sharp edges, and the paths of a shaken camera: pictures whose blur is known.

Used in the chapter "diffusion".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import gdl._checks as check

SHAPES, PATH = 8, 256


def cartoons(count: int, *, size: int = 64, seed: int = 0) -> Tensor:
    r"""Pictures of constant areas: ellipses and rectangles of random greys over each other.

    Each picture has eight shapes at uniform places, with half axes of 8 to 30 percent of the
    side, turned by uniform angles. Shapes wrap around the border, as a circular blur does.

    Args:
        count: number of pictures, at least 1.
        size: side in pixels, at least 8.
        seed: seeds the draw, 0..2**32-1.

    Returns:
        (count, 1, size, size), float32 in [0, 1].

    Raises: TypeError or ValueError for other arguments.

    Law tested: values between 0 and 1, at most nine greys in a picture, equal seeds give equal
    pictures and more pictures begin with the same ones. Chapter: ``diffusion``.

    >>> cartoons(2, size=16).shape
    torch.Size([2, 1, 16, 16])
    """
    check.integer("count", count, 1)
    check.integer("size", size, 8)
    check.integer("seed", seed, 0, 2**32 - 1)
    generator = torch.Generator().manual_seed(seed)
    # One row of numbers a picture, so that the first pictures do not depend on how many follow.
    drawn = torch.rand(count, SHAPES * 7 + 1, generator=generator)
    pictures = drawn[:, -1, None, None].expand(count, size, size).clone()
    row, column, turn, grey, kind, height, width = drawn[:, :-1].reshape(count, SHAPES, 7).unbind(2)
    place = (torch.arange(size) + 0.5) / size
    for shape in range(SHAPES):
        # The nearest copy of the shape on the torus.
        r = (place - row[:, shape, None] + 0.5) % 1 - 0.5
        c = (place - column[:, shape, None] + 0.5) % 1 - 0.5
        cos, sin = (f(math.pi * turn[:, shape])[:, None, None] for f in (torch.cos, torch.sin))
        r, c = r[:, :, None], c[:, None, :]
        along = (cos * r + sin * c) / (0.08 + 0.22 * height[:, shape, None, None])
        across = (cos * c - sin * r) / (0.08 + 0.22 * width[:, shape, None, None])
        ellipse = along.square() + across.square() < 1
        rectangle = (along.abs() < 0.8) & (across.abs() < 0.8)
        inside = torch.where(kind[:, shape, None, None] < 0.5, ellipse, rectangle)
        pictures = torch.where(inside, grey[:, shape, None, None], pictures)
    return pictures[:, None]


def motion_kernels(count: int, *, size: int = 11, seed: int = 0) -> Tensor:
    r"""Blur kernels of a shaken camera: curved paths, drawn with the same time at each step.

    The direction of the path turns at a rate that itself wanders. The path is scaled to reach at
    most half of the window from its mean, by 40 to 80 percent of that, and put with its mean on
    the middle of the window. Each of its points is shared between the four pixels around it in
    such a way that the mean stays.

    Args:
        count: number of kernels, at least 1.
        size: side in pixels, odd, at least 3.
        seed: seeds the draw, 0..2**32-1.

    Returns:
        (count, size, size), float32, not negative, each with sum 1 and its mean on the middle.

    Raises: TypeError or ValueError for other arguments.

    Law tested: not negative, sums 1 and centres of mass to 1e-6, equal seeds give equal kernels and
    more kernels begin with the same ones. Chapter: ``diffusion``.

    >>> kernels = motion_kernels(2, size=5)
    >>> kernels.shape, bool((kernels.sum((1, 2)) - 1).abs().max() < 1e-6)
    (torch.Size([2, 5, 5]), True)
    """
    check.integer("count", count, 1)
    check.integer("size", size, 3)
    if size % 2 == 0:
        raise ValueError(f"size: expected an odd number, got {size}")
    check.integer("seed", seed, 0, 2**32 - 1)
    generator = torch.Generator().manual_seed(seed)
    # Rows of a multiple of 16 numbers: other rows end differently for another count.
    drawn = torch.randn(count, PATH + 16, generator=generator, dtype=torch.float64)
    first, rate, extent = drawn[:, :3, None].unbind(1)
    turning = 2 * rate / PATH + (0.5 / PATH) * drawn[:, 16:].cumsum(1)
    angle = 10 * first + turning.cumsum(1)
    path = torch.stack([angle.sin(), angle.cos()], 2).cumsum(1)
    path = path - path.mean(1, keepdim=True)
    reach = (size // 2) * (0.4 + 0.4 * torch.special.ndtr(extent)[:, :, None])
    path = path / path.abs().amax((1, 2), keepdim=True) * reach + size // 2
    pixels = torch.arange(size, dtype=torch.float64)
    # Hats of width 1 around each pixel: bilinear interpolation, read backwards.
    hats = (1 - (path[..., None] - pixels).abs()).clamp_min(0)
    return (torch.einsum("npi,npj->nij", hats[:, :, 0], hats[:, :, 1]) / PATH).float()
