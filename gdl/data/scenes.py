r"""Coloured shapes under strong noise, with the class of every pixel.

Used in the chapter "inference".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import gdl._checks as check

SATURATION = 0.2
BRIGHTNESS = 0.4
SHAPES = 4
SIDES = (0.15, 0.35)


def colour_scenes(
    count: int,
    *,
    size: int = 24,
    classes: int = 3,
    noise: float = 0.2,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    r"""Pictures of four shapes that cover each other, in front of a ground.

        image_k(p) = 1/2 + b + 0.2 cos(2 pi (class / classes + k / 3)) + noise,    k = 0, 1, 2

    The class is the hue, and the brightness b says nothing about it: it is drawn from -.4 to .4
    for each shape and for the ground by itself. The ground is of class 0; each shape is a disc or a
    box, equally likely, with a class from 1 to classes - 1, its radius or half side lengths .15 to
    .35 of the side and its centre anywhere. Later shapes cover earlier ones.

    Args:
        count: number of pictures N, at least 1.
        size: side in pixels, at least 4.
        classes: from 2 to 12.
        noise: standard deviation of the normal noise of each channel of each pixel, at least 0.
        seed: of all that is drawn, 0..2**32-1. The shapes do not depend on the noise.

    Returns:
        Images (N, 3, size, size), float32, not clipped to [0, 1], and labels (N, size, size),
        int64.

    Raises:
        TypeError: an argument of another type.
        ValueError: a number out of its range.

    Law tested: without noise the hue of every pixel is that of its label; brightness is constant on
    shapes and does not depend on the label; noise has its standard deviation; equal calls give
    equal scenes. Chapter: ``inference``.

    >>> images, labels = colour_scenes(2, size=16)
    >>> images.shape, labels.shape, int(labels.max())
    (torch.Size([2, 3, 16, 16]), torch.Size([2, 16, 16]), 2)
    """
    check.integer("count", count, 1)
    check.integer("size", size, 4)
    check.integer("classes", classes, 2, 12)
    noise = check.number("noise", noise, 0.0, 1e3)
    draw = torch.Generator().manual_seed(check.integer("seed", seed, 0, 2**32 - 1))
    brightness = BRIGHTNESS * (2 * _uniform((count, SHAPES + 1), draw) - 1)
    kinds = torch.randint(1, classes, (count, SHAPES), generator=draw)
    labels = torch.zeros(count, size, size, dtype=torch.int64)
    light = brightness[:, 0, None, None].expand(count, size, size)
    for k in range(SHAPES):
        inside = _shapes(count, size, draw)
        labels = torch.where(inside, kinds[:, k, None, None], labels)
        light = torch.where(inside, brightness[:, k + 1, None, None], light)
    grain = noise * torch.randn(count, 3, size, size, generator=draw, dtype=torch.float32)
    turns = labels[:, None] / classes + torch.arange(3)[:, None, None] / 3
    return 0.5 + light[:, None] + SATURATION * (2 * math.pi * turns).cos() + grain, labels


def _shapes(count: int, size: int, draw: torch.Generator) -> Tensor:
    """One disc or box for each picture: (count, size, size), bool."""
    centres = size * _uniform((count, 2, 1), draw)
    reach = size * (SIDES[0] + (SIDES[1] - SIDES[0]) * _uniform((count, 2, 1), draw))
    round_ = (_uniform((count,), draw) < 0.5)[:, None, None]
    offset = torch.arange(size) + 0.5 - centres
    rows, columns = offset[:, 0, :, None], offset[:, 1, None, :]
    disc = rows.square() + columns.square() < reach[:, :1].square()
    box = (rows.abs() < reach[:, :1]) & (columns.abs() < reach[:, 1:])
    return torch.where(round_, disc, box)


def _uniform(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=draw, dtype=torch.float32)
