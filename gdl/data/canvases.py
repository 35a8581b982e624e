r"""Canvases with a few handwritten digits that do not overlap.

Used in the chapter "inference".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
from gdl.data._checks import _check_choice
from gdl.data.handwriting import digits as small_digits
from gdl.data.handwriting import place

# Arrangements drawn for a canvas before it counts as too small for its digits.
DRAWS = 10_000


@dataclass(frozen=True)
class Canvases:
    """Canvases, and what stands on them.

    Attributes:
        images: (N, 1, size, size), float32.
        counts: (N,), int64, how many digits.
        corners: (N, most, 2), int64, row and column of each digit's top left pixel; -1 where
            absent.
        labels: (N, most), int64, the digits themselves, -1 where absent.

    Chapter: ``inference``.

    >>> digit_canvases(5, seed=0).corners.shape
    torch.Size([5, 2, 2])
    """

    images: Tensor
    counts: Tensor
    corners: Tensor
    labels: Tensor


def digit_canvases(
    count: int,
    *,
    size: int = 20,
    most: int = 2,
    split: str = "train",
    seed: int = 0,
    digits: tuple[Tensor, Tensor] | None = None,
) -> Canvases:
    """Canvases with 0 to ``most`` digits, each number equally often in the mean.

    Args:
        count: number of canvases, at least 1.
        size: their side, in pixels, at least that of the digits.
        most: the largest number of digits, at least 1.
        split: as in :func:`gdl.data.digits`; no digit is in both ``"train"`` and ``"test"``.
        seed: seeds the draw of numbers, digits and places. The split is that of ``digits(split)``.
        digits: images (N, 1, s, s), floating-point, and labels (N,), int64, to draw from instead of
            the split, such as those of :func:`gdl.data.mnist`.

    Returns:
        The canvases. Every arrangement in which no two digits share a pixel of their squares is
        equally likely. Digits are in no order.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: sizes, shapes or a split that do not fit; canvases with no room for the digits.

    Tested: each canvas is the sum of its digits, squares never overlap, absent digits are -1, train
    and test share no digit, and equal calls give equal canvases. Source: the task is that of Eslami
    et al., "Attend, Infer, Repeat", NeurIPS 2016, with smaller digits.

    Chapter: ``inference``.

    >>> canvases = digit_canvases(100, seed=1)
    >>> canvases.images.shape, canvases.counts.bincount().shape
    (torch.Size([100, 1, 20, 20]), torch.Size([3]))
    """
    check.integer("count", count, 1)
    check.integer("size", size, 1)
    check.integer("most", most, 1)
    check.integer("seed", seed, 0, 2**32 - 1)
    _check_choice("split", split, ("train", "test", "all"))
    images, labels = small_digits(split) if digits is None else _given(digits)
    side = images.shape[-1]
    if size < side:
        raise ValueError(f"size: expected at least {side}, the side of the digits, got {size}")
    if most > (size // side) ** 2:
        raise ValueError(
            f"most: expected at most {(size // side) ** 2} digits of side {side} on canvases of "
            f"side {size}, got {most}"
        )
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(most + 1, (count,), generator=generator)
    present = torch.arange(most) < counts[:, None]
    corners = _arrangements(present, size - side + 1, side, generator)
    drawn = torch.randint(len(images), (count, most), generator=generator)
    placed = place(images[drawn.flatten()], size, corners.flatten(0, 1))
    placed = placed.unflatten(0, (count, most)) * present[..., None, None, None]
    return Canvases(
        placed.sum(1),
        counts,
        corners.where(present[..., None], torch.tensor(-1)),
        labels[drawn].where(present, torch.tensor(-1)),
    )


def _arrangements(present: Tensor, places: int, side: int, generator: torch.Generator) -> Tensor:
    """Corners (N, most, 2), drawn anew for each canvas until its digits do not overlap."""
    corners = torch.zeros(*present.shape, 2, dtype=torch.int64)
    both = present[:, :, None] & present[:, None, :]
    both = both & ~torch.eye(present.shape[1], dtype=torch.bool)
    waiting = torch.arange(len(present))
    for _ in range(DRAWS):
        corners[waiting] = torch.randint(
            places, (len(waiting), *corners.shape[1:]), generator=generator
        )
        apart = (corners[waiting, :, None] - corners[waiting, None]).abs().amax(-1) >= side
        waiting = waiting[(both[waiting] & ~apart).any((1, 2))]
        if not len(waiting):
            return corners
    raise ValueError(
        f"size, most: expected room for {present.shape[1]} digits of side {side} on canvases of "
        f"side {places + side - 1}, found none in {DRAWS} draws"
    )


def _given(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    if not isinstance(digits, tuple) or len(digits) != 2:
        raise TypeError(
            f"digits: expected a pair of images and labels, got {type(digits).__name__}"
        )
    images, labels = digits
    check.finite("digits", check.floating("digits", images))
    if images.ndim != 4 or images.shape[1] != 1 or images.shape[2] != images.shape[3]:
        raise ValueError(f"digits: expected images (N, 1, s, s), got {tuple(images.shape)}")
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        raise TypeError("digits: expected int64 labels")
    if labels.shape != images.shape[:1] or not images.numel():
        raise ValueError(
            f"digits: expected one label for each image and at least one, got shapes "
            f"{tuple(images.shape)} and {tuple(labels.shape)}"
        )
    return images, labels
