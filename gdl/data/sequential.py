r"""Images read as sequences: row by row, and pixel by pixel in the order of the page or any other.

Used in the chapter "sequences".
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check


def rows(images: Tensor) -> Tensor:
    r"""Images read row by row from the top: each row is one step.

        x_{n t i} = image_{n t i}

    Args:
        images: one channel, (N, 1, H, W) or (N, H, W), real floating-point, finite, not empty.

    Returns:
        Sequences (N, H, W) of H steps with W features, dtype and device of ``images``; a view.

    Raises:
        TypeError: ``images`` is no real floating-point tensor.
        ValueError: another shape, no pixel at all, an entry that is not finite.

    Law tested: step t is row t of the image, with and without the axis of the channel. Chapter:
    ``sequences``.

    >>> rows(torch.arange(6.0).reshape(1, 1, 2, 3)).tolist()
    [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]
    """
    return _pictures(images)


def pixels(images: Tensor, order: Tensor | None = None) -> Tensor:
    r"""Images read pixel by pixel: each pixel is one step with one feature.

        x_{n t} = vec(image_n)_{order[t]}    (vec row by row)

    Args:
        images: one channel, (N, 1, H, W) or (N, H, W), real floating-point, finite, not empty.
        order: the place in the row-major vector of what is read at each step, int64, (H * W,), a
            permutation; by default the rows from the top, each from the left.

    Returns:
        Sequences (N, H * W, 1), dtype and device of ``images``; without an order a view where one
        exists.

    Raises:
        TypeError: ``images`` is no real floating-point tensor, ``order`` no int64 tensor.
        ValueError: another shape, no pixel at all, an entry that is not finite, an ``order`` that
            is no permutation of H * W places.

    Law tested: step t is the pixel at place order[t], and the inverse order gives the image back.
    Source: Le, Jaitly and Hinton, arXiv 1504.00941, 2015, which reads MNIST in these two ways.
    Chapter: ``sequences``.

    >>> image = torch.tensor([[[0.1, 0.2], [0.3, 0.4]]], dtype=torch.float64)
    >>> pixels(image, torch.tensor([3, 0, 1, 2])).flatten().tolist()
    [0.4, 0.1, 0.2, 0.3]
    """
    steps = _pictures(images).flatten(1)[..., None]
    if order is None:
        return steps
    return steps[:, _permutation("order", order, steps.shape[1]).to(steps.device)]


def pixel_order(count: int, *, seed: int) -> Tensor:
    r"""A permutation that stays the same for all images, as permuted MNIST needs it.

    Args:
        count: number of pixels, at least 1.
        seed: seeds the draw, uniform over all permutations.

    Returns:
        The places 0..count-1 in the order of their reading, int64, (count,).

    Raises:
        TypeError: ``count`` or ``seed`` is no int.
        ValueError: ``count`` below 1, ``seed`` not in 0..2**32-1.

    Law tested: a permutation, the same for equal arguments whatever the global generator, another
    for another seed. Chapter: ``sequences``.

    >>> order = pixel_order(784, seed=0)
    >>> torch.equal(order.sort().values, torch.arange(784))
    True
    """
    count = check.integer("count", count, 1)
    generator = torch.Generator("cpu").manual_seed(check.integer("seed", seed, 0, 2**32 - 1))
    return torch.randperm(count, generator=generator, device="cpu")


def _pictures(images: Tensor) -> Tensor:
    """The images without the axis of their one channel: (N, H, W)."""
    check.floating("images", images)
    shape = tuple(images.shape)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[1] != 1):
        raise ValueError(f"images: expected shape (N, 1, H, W) or (N, H, W), got {shape}")
    if not images.numel():
        raise ValueError(f"images: expected at least one pixel, got shape {shape}")
    check.finite("images", images)
    return images[:, 0] if len(shape) == 4 else images


def _permutation(name: str, order: Tensor, count: int) -> Tensor:
    if not isinstance(order, Tensor) or order.dtype != torch.int64:
        got = order.dtype if isinstance(order, Tensor) else type(order).__name__
        raise TypeError(f"{name}: expected an int64 tensor, got {got}")
    if tuple(order.shape) != (count,):
        raise ValueError(f"{name}: expected shape ({count},), got {tuple(order.shape)}")
    if not torch.equal(order.sort().values, torch.arange(count, device=order.device)):
        raise ValueError(
            f"{name}: expected each of 0 to {count - 1} once, got {_repeated(order, count)}"
        )
    return order


def _repeated(order: Tensor, count: int) -> str:
    """What an order has that no permutation has."""
    low, high = int(order.min()), int(order.max())
    if low < 0 or high >= count:
        return f"entries {low} to {high}"
    return f"{int(order.bincount().argmax())} more than once"
