r"""Sets of handwritten digits, whose label is their sum.

Used in the chapter "graphs".
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check
from gdl.data.handwriting import digits


def digit_sums(
    sets: int, size: int, *, split: str = "train", seed: int = 0
) -> tuple[Tensor, Tensor]:
    r"""Sets of images of digits of scikit-learn, each with the sum of its digits.

    The images of a set are drawn uniformly with replacement. The label of a set does not depend on
    their order: :math:`s_n = \sum_i y_{ni}`.

    Args:
        sets: number of sets, at least 1.
        size: images in each set, at least 1.
        split: as in :func:`gdl.data.digits`; no image is in both ``"train"`` and ``"test"``.
        seed: seeds the draw. The split is always that of ``digits(split)``.

    Returns:
        Images (sets, size, 1, 8, 8), float32 in [0, 1]; sums (sets,), float32, from 0 to 9 size.

    Raises:
        TypeError: ``sets``, ``size`` or ``seed`` is no int.
        ValueError: ``sets`` or ``size`` below 1, ``seed`` not in 0..2**32-1, an unknown ``split``.

    Law tested: the sum is that of the labels of the images, train and test share no image, and
    equal calls give equal sets. Source: the task is that of Zaheer et al., "Deep Sets", NeurIPS
    2017, with smaller images. Chapter: ``graphs``.

    >>> x, sums = digit_sums(100, 3)
    >>> x.shape, sums.shape, bool((sums <= 27).all())
    (torch.Size([100, 3, 1, 8, 8]), torch.Size([100]), True)
    """
    check.integer("sets", sets, 1)
    check.integer("size", size, 1)
    check.integer("seed", seed, 0, 2**32 - 1)
    images, labels = digits(split)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(images), (sets, size), generator=generator)
    return images[drawn], labels[drawn].sum(1).to(torch.float32)
