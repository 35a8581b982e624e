r"""Thresholds: the nonlinearities of sparse coding, most of them proximal maps of a penalty.

The proximal map of a penalty h sends u to the x that minimises ``|x - u|^2 / 2 + h(x)``.

Chapter: ``sparse_coding``.
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check


def soft_threshold(u: Tensor, threshold: float | Tensor) -> Tensor:
    r"""The soft threshold, proximal map of ``threshold |x|_1``.

        S(u) = sign(u) max(|u| - threshold, 0)

    Args:
        u: (..., n), any shape, floating-point.
        threshold: at least 0; a number, or a tensor that broadcasts to the shape of ``u``.

    Returns:
        x, in the shape and dtype of ``u``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: entries that are not finite, thresholds below 0 or of other shapes.

    Law tested: minimises its penalty against every point of a grid; commutes with all signed
    permutations of three coordinates, and with no other of 200 orthogonal matrices, 24 rotations
    by multiples of 15 degrees among them; derivatives by differences. Chapter: ``sparse_coding``.

    >>> soft_threshold(torch.tensor([-3.0, 0.5, 2.0]), 1.0)
    tensor([-2.,  0.,  1.])
    """
    return shrink(_input(u), _threshold(threshold, u))


def hard_threshold(u: Tensor, threshold: float | Tensor) -> Tensor:
    r"""The hard threshold: keeps what is larger than the threshold.

        H(u) = u where |u| > threshold, else 0

    With threshold ``sqrt(2 p)`` it is a proximal map of ``p |x|_0``, p times the number of entries
    that are not 0. At a tie both 0 and u are minima; it takes 0.

    Args:
        u: (..., n), any shape, floating-point.
        threshold: at least 0; a number, or a tensor that broadcasts to the shape of ``u``.

    Returns:
        x, in the shape and dtype of ``u``; the threshold has no gradient.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: entries that are not finite, thresholds below 0 or of other shapes.

    Law tested: minimises its penalty against every point of a grid; a tie goes to 0. Chapter:
    ``sparse_coding``.

    >>> hard_threshold(torch.tensor([-3.0, 1.0, 2.0]), 1.0)
    tensor([-3.,  0.,  2.])
    """
    _input(u)
    return torch.where(u.abs() > _threshold(threshold, u), u, 0)


def helu(u: Tensor, sharpness: float) -> Tensor:
    r"""The hard threshold at 1 with a ramp of width ``sharpness`` instead of a jump.

        0                            where |u| <= 1 - s
        sign(u) (|u| - 1 + s) / s    between
        u                            where |u| >= 1

    It is continuous, with slopes 0, 1/s and 1: the identity for s = 1, and for s to 0 the hard
    threshold except at 1 itself, which it keeps.

    Args:
        u: (..., n), any shape, floating-point.
        sharpness: s, above 0 (at least the least normal number of the dtype), at most 1.

    Returns:
        x, in the shape and dtype of ``u``.

    Raises: TypeError or ValueError for other arguments.

    Law tested: its three pieces by hand; continuous; equal to
    :func:`~gdl.sparse_coding.hard_threshold` off the ramp for every s down to 1e-300. Chapter:
    ``sparse_coding``.

    >>> helu(torch.tensor([-2.0, 0.5, 0.75, 0.875, 1.0]), 0.25)
    tensor([-2.0000,  0.0000,  0.0000,  0.5000,  1.0000])
    """
    s = check.number("sharpness", sharpness, torch.finfo(_input(u).dtype).tiny, 1.0)
    return torch.where(u.abs() >= 1, u, shrink(u, 1 - s) / s)


def top_m(u: Tensor, count: int) -> Tensor:
    r"""The ``count`` entries of largest size in each row; 0 elsewhere.

    It projects onto the vectors with at most ``count`` entries that are not 0. Among entries of
    equal size those of lowest index stay, so that it commutes with permutations where there are
    no ties.

    Args:
        u: (..., n), floating-point.
        count: how many entries stay, 0 to n.

    Returns:
        x, in the shape and dtype of ``u``.

    Raises: TypeError or ValueError for other arguments.

    Law tested: no other choice of entries is closer to u, by enumeration; ties by hand. Chapter:
    ``sparse_coding``.

    >>> top_m(torch.tensor([1.0, -3.0, 2.0, -2.0]), 2)
    tensor([ 0., -3.,  2.,  0.])
    """
    check.shaped("u", u, None)
    check.integer("count", count, 0, u.shape[-1])
    return keep_largest(check.finite("u", u), count)


def shrink(u: Tensor, threshold: float | Tensor) -> Tensor:
    """The soft threshold without checks, for inner loops: thresholds must be at least 0.

    >>> shrink(torch.tensor([3.0, -0.5]), 1.0)
    tensor([2., 0.])
    """
    if not isinstance(threshold, Tensor):
        # clamp takes no number that the dtype cannot hold.
        threshold = min(threshold, torch.finfo(u.dtype).max)
    return u - u.clamp(-threshold, threshold)


def keep_largest(u: Tensor, count: int) -> Tensor:
    """The ``count`` largest entries of each row without checks, for inner loops.

    >>> keep_largest(torch.tensor([3.0, -4.0, 0.5]), 1)
    tensor([ 0., -4.,  0.])
    """
    # A stable order, which topk is not, leaves ties to the lowest index.
    places = u.abs().argsort(dim=-1, descending=True, stable=True)[..., :count]
    return torch.zeros_like(u).scatter(-1, places, u.gather(-1, places))


def _input(u: Tensor) -> Tensor:
    return check.finite("u", check.floating("u", u))


def _threshold(threshold: float | Tensor, u: Tensor) -> float | Tensor:
    """A threshold, or several that broadcast to ``u``, all at least 0."""
    if not isinstance(threshold, Tensor):
        return check.number("threshold", threshold, low=0.0)
    check.typed("threshold", threshold, u.dtype)
    if threshold.device != u.device:
        raise ValueError(f"threshold: expected device {u.device}, got {threshold.device}")
    if not _broadcasts(threshold.shape, u.shape):
        raise ValueError(
            f"threshold: expected a shape that broadcasts to {tuple(u.shape)}, "
            f"got {tuple(threshold.shape)}"
        )
    check.finite("threshold", threshold)
    if check.readable(threshold) and bool((threshold < 0).any()):
        raise ValueError(f"threshold: expected at least 0, got {float(threshold.detach().min())}")
    return threshold


def _broadcasts(small: torch.Size, large: torch.Size) -> bool:
    try:
        return torch.broadcast_shapes(small, large) == large
    except RuntimeError:
        return False
