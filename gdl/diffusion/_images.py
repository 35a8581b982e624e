"""Single-channel images: what the equations of this room ask of them, and their borders."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

import gdl._checks as check

# How an image goes on outside, as torch calls it. A border as wide as one pixel, repeated, is the
# mirror image at the outer edges of the pixels.
BOUNDARIES = ("replicate", "circular")


def check_images(images: Tensor, name: str = "images") -> Tensor:
    """Return ``images`` if they are finite, (B, 1, H, W), and at least 3 x 3 pixels large."""
    check.finite(name, check.floating(name, images))
    if images.ndim != 4 or images.shape[1] != 1 or not len(images):
        raise ValueError(f"{name}: expected shape (B, 1, H, W), got {tuple(images.shape)}")
    if min(images.shape[2:]) < 3:
        raise ValueError(
            f"{name}: expected at least 3 rows and 3 columns, got {tuple(images.shape[2:])}"
        )
    return images


def bordered(images: Tensor, boundary: str) -> Tensor:
    """The images with one more pixel on every side."""
    check.one_of("boundary", boundary, BOUNDARIES)
    return F.pad(images, (1, 1, 1, 1), mode=boundary)
