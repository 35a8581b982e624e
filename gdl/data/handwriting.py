"""Handwritten digits of 8 x 8 pixels that ship inside scikit-learn, alone and on a canvas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gdl.data._checks import _check_choice, _check_corners, _pairs

TEST_DIGITS = 500
DIGIT_SIDE = 8


def digits(split: str = "train", *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The 1797 handwritten digits of 8 x 8 pixels that ship inside scikit-learn.

    The split is stratified (each class keeps its share) and random over images, so that the same
    writers occur on both sides: it measures new images, not new writers.

    Args:
        split: ``"train"`` (1297 images), ``"test"`` (500) or ``"all"`` (1797, in stored order).
        seed: which stratified split; has no effect on ``"all"``.

    Returns:
        Images (N, 1, 8, 8), float32, the stored counts 0..16 divided by 16; labels (N,), int64.

    Raises:
        ValueError: ``split`` is none of the three.

    Tested: train and test partition the stored digits, and each image keeps its label. Source:
    Alpaydin and Kaynak, UCI Machine Learning Repository 1998. Used first in the chapter
    "one_equation".

    Chapters: ``high_dimensions``, ``symmetry``, ``one_equation`` and others.

    >>> x, y = digits("test")
    >>> x.shape, y.dtype, float(x.max())
    (torch.Size([500, 1, 8, 8]), torch.int64, 1.0)
    """
    _check_choice("split", split, ("train", "test", "all"))
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    x = torch.as_tensor(bunch.images / 16, dtype=torch.float32)[:, None]
    y = torch.as_tensor(bunch.target, dtype=torch.int64)
    if split == "all":
        return x, y
    train, test = train_test_split(
        np.arange(len(y)), test_size=TEST_DIGITS, stratify=bunch.target, random_state=seed
    )
    chosen = torch.as_tensor(train if split == "train" else test)
    return x[chosen], y[chosen]


def place(images: Tensor, size: int, offsets: Tensor) -> Tensor:
    """Each image on a zero canvas, its top left corner at its offset.

    ``place(images, size, offsets)[n, c, r_n + i, k_n + j] = images[n, c, i, j]`` with
    ``(r_n, k_n) = offsets[n]``, and zero elsewhere.

    Args:
        images: (N, C, h, w), any dtype.
        size: side of the square canvas, in pixels.
        offsets: (N, 2), int64, (row, column) with row in 0..size-h and column in 0..size-w.

    Returns:
        (N, C, size, size), dtype of ``images``.

    Raises:
        ValueError: shapes that do not match, a canvas that is too small, an offset outside it.

    Law: moving an offset by (a, b) is the shift of the canvas by (a, b), as ``torch.roll`` does it.
    Used in the chapter "grids".

    Chapter: ``grids``.

    >>> place(torch.ones(1, 1, 1, 2), 3, torch.tensor([[2, 1]]))[0, 0].int().tolist()
    [[0, 0, 0], [0, 0, 0], [0, 1, 1]]
    """
    if images.ndim != 4:
        raise ValueError(f"images: expected shape (N, C, h, w), got {tuple(images.shape)}")
    n, channels, h, w = images.shape
    if size < max(h, w):
        raise ValueError(f"size: expected at least {max(h, w)} for {h} x {w} images, got {size}")
    if offsets.shape != (n, 2) or offsets.dtype != torch.int64:
        raise ValueError(
            f"offsets: expected int64 of shape {(n, 2)}, got {offsets.dtype} of shape "
            f"{tuple(offsets.shape)}"
        )
    _check_corners("offsets", offsets, size - h, size - w)
    rows = offsets[:, 0, None, None] + torch.arange(h)[:, None]
    columns = offsets[:, 1, None, None] + torch.arange(w)
    canvas = images.new_zeros(n, size, size, channels)
    canvas[torch.arange(n)[:, None, None], rows, columns] = images.permute(0, 2, 3, 1)
    return canvas.permute(0, 3, 1, 2).contiguous()


def digits_on_canvas(
    size: int = 16,
    positions: Sequence[tuple[int, int]] | None = None,
    *,
    split: str = "train",
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """The 8 x 8 digits on a larger zero canvas: train at one place, test at another.

    Args:
        size: side of the canvas, at least 8.
        positions: the allowed (row, column) of the digit's top left corner, each in 0..size-8.
            Every digit goes to one of them, drawn uniformly; None allows them all.
        split: as in :func:`digits`.
        seed: seeds the draw of the places. The split is always that of ``digits(split)``.

    Returns:
        Images (N, 1, size, size), float32; labels (N,), int64; offsets (N, 2), int64.

    Raises:
        ValueError: ``size`` below 8, ``positions`` empty or outside the canvas, an unknown
            ``split``.

    Tested: the canvas holds the digit at its offset and nothing else, and every allowed place is
    drawn. Used first in the chapter "one_equation".

    Chapters: ``one_equation``, ``grids``.

    >>> x, y, offsets = digits_on_canvas(16, [(4, 4)], split="test")
    >>> x.shape, offsets.unique(dim=0).tolist()
    (torch.Size([500, 1, 16, 16]), [[4, 4]])
    """
    if size < DIGIT_SIDE:
        raise ValueError(f"size: expected at least {DIGIT_SIDE}, got {size}")
    x, y = digits(split)
    if positions is None:
        side = torch.arange(size - DIGIT_SIDE + 1)
        allowed = torch.cartesian_prod(side, side)
    else:
        allowed = _pairs("positions", positions)
        _check_corners("positions", allowed, size - DIGIT_SIDE, size - DIGIT_SIDE)
    generator = torch.Generator().manual_seed(seed)
    offsets = allowed[torch.randint(len(allowed), (len(x),), generator=generator)]
    return place(x, size, offsets), y, offsets
