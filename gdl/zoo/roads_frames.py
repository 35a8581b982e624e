r"""Frames of point clouds: elements of a rotation group that move along with the cloud.

A cloud is a tensor ``(B, n, d)``, its points taken about the origin: subtract the mean first to be
free of translations as well.

Chapter: ``zoo``.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

import gdl._checks as check


def rotate(g: Tensor, x: Tensor) -> Tensor:
    r"""Move every point of a cloud by a matrix, ``(g x)_i = g x_i``.

    Args:
        g: (d, d), or (B, d, d) with one matrix for each cloud.
        x: clouds (B, n, d).

    Raises:
        TypeError: tensors of different dtypes (but under autocast), or not floating-point.
        ValueError: shapes that do not fit, entries not finite.

    Law tested: matrices multiply as moves follow each other. Chapter: ``zoo``.

    >>> quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> rotate(quarter, torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])).tolist()
    [[[0.0, 1.0], [-2.0, 0.0]]]
    """
    _require_clouds(x)
    d = x.shape[-1]
    check.finite("g", check.floating("g", g))
    if g.dtype != x.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(f"g: expected {x.dtype}, the dtype of x, got {g.dtype}")
    if g.shape not in ((d, d), (len(x), d, d)):
        wanted = f"({d}, {d}) or ({len(x)}, {d}, {d})"
        raise ValueError(f"g: expected shape {wanted}, got {tuple(g.shape)}")
    return x @ g.mT


def principal_frame(x: Tensor, *, special: bool = False) -> list[tuple[Tensor, float]]:
    r"""The frame of principal axes: eigenvectors of ``sum_i x_i x_i^T`` with all their signs.

    An eigenvector is known up to its sign only, so a cloud has ``2^d`` frames of O(d), and half as
    many of SO(d). Any single choice of signs would not move along.

    Args:
        x: clouds (B, n, d), with d different moments each.
        special: whether to keep rotations only, for SO(d); else O(d).

    Returns:
        Pairs of matrices (B, d, d), whose columns are axes by growing moment, and equal weights:
        ``2^d`` pairs, or ``2^(d-1)``.

    Raises:
        TypeError: x that is not floating-point.
        ValueError: other shapes, entries not finite, moments that are equal to rounding.

    Law tested: the set moves along, ``F(h x) = h F(x)``, for O(d) and SO(d); matrices are
    orthogonal, and diagonalise. Source: Puny et al. 2022. Chapter: ``zoo``.

    >>> len(principal_frame(torch.randn(1, 5, 2))), len(principal_frame(torch.randn(1, 5, 3)))
    (4, 8)
    """
    _require_clouds(x)
    check.boolean("special", special)
    moments, axes = torch.linalg.eigh(_second_moments(x))
    _require_distinct(moments)
    if special:
        # Turn the last axis over where the axes make a reflection.
        sign = torch.linalg.det(axes).sign()
        axes = torch.cat([axes[..., :-1], sign[:, None, None] * axes[..., -1:]], -1)
    signs = torch.tensor(list(itertools.product((1.0, -1.0), repeat=x.shape[-1]))).to(x)
    kept = signs[signs.prod(1) > 0] if special else signs
    return [(axes.to(x.dtype) * s, 1 / len(kept)) for s in kept]


def farthest_frame(x: Tensor) -> list[tuple[Tensor, float]]:
    r"""A canonicalisation in the plane: the turn that takes the first axis to the farthest point.

    It jumps where the farthest point changes; no rule for a single turn is without such jumps.

    Args:
        x: clouds in the plane, (B, n, 2), not all points at the origin.

    Returns:
        One pair: rotations (B, 2, 2), and the number 1.

    Raises:
        TypeError: x that is not floating-point.
        ValueError: other shapes, entries not finite, a cloud at the origin.

    Law tested: moves along, ``F(h x) = h F(x)``, where one point is farthest. Chapter: ``zoo``.

    >>> farthest_frame(torch.tensor([[[1.0, 0.0], [0.0, 2.0]]]))[0][0].tolist()
    [[[0.0, -1.0], [1.0, 0.0]]]
    """
    points, length = _polar(x)
    farthest = torch.arange(len(x), device=x.device), length.argmax(1)
    return [(_turn_to(points[farthest], length[farthest]), 1.0)]


def direction_frame(x: Tensor, *, power: float = 2.0) -> list[tuple[Tensor, Tensor]]:
    r"""A weighted frame in the plane: the turns to all points, near ones counting less.

        g_i takes the first axis to the direction of x_i,     w_i = |x_i|^p / sum_j |x_j|^p

    A point at the origin has no direction, but also no weight. So averages over this frame are
    continuous, at the price of one pass for each point.

    Args:
        x: clouds in the plane, (B, n, 2), not all points at the origin.
        power: p, positive. For large ones it is nearly :func:`~gdl.zoo.farthest_frame`.

    Returns:
        n pairs: rotations (B, 2, 2), and weights (B,).

    Raises:
        TypeError: x that is not floating-point.
        ValueError: other shapes, entries not finite, a cloud at the origin, p not positive.

    Law tested: moves along, also under orders of the points; an average over it changes by little
    where the farthest point changes or a point passes the origin. Chapter: ``zoo``.

    >>> frame = direction_frame(torch.tensor([[[1.0, 0.0], [0.0, 3.0]]]))
    >>> [round(float(w), 3) for _, w in frame]
    [0.1, 0.9]
    """
    power = check.positive("power", power)
    points, length = _polar(x)
    # Relative to the longest, so that high powers cannot overflow.
    relative = length / length.amax(1, keepdim=True)
    # For p < 1 a root, whose infinite slope at the origin would make NaN of the gradient 0.
    away = relative > 0
    weights = torch.where(away, torch.where(away, relative, 1.0) ** power, 0.0)
    weights = weights / weights.sum(1, keepdim=True)
    parts = zip(points.unbind(1), length.unbind(1), weights.unbind(1), strict=True)
    return [(_turn_to(p, r), w) for p, r, w in parts]


def _turn_to(p: Tensor, length: Tensor) -> Tensor:
    """Rotations (B, 2, 2) that take the first axis to the directions of p; the identity at 0."""
    first = torch.tensor([1.0, 0.0], dtype=p.dtype, device=p.device)
    at_origin = (length == 0)[:, None]
    unit = p / torch.where(at_origin, 1.0, length[:, None])
    c, s = torch.where(at_origin, first, unit).unbind(-1)
    return torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)


def _polar(x: Tensor) -> tuple[Tensor, Tensor]:
    """Points of the scaled clouds, and their distances from the origin, with gradient 0 there."""
    _require_clouds(x)
    if x.shape[-1] != 2:
        raise ValueError(f"x: expected clouds in the plane, (B, n, 2), got {tuple(x.shape)}")
    points = _scaled(x)
    length = torch.linalg.vector_norm(points, dim=-1)
    if check.readable(length) and not bool((length.detach().amax(1) > 0).all()):
        raise ValueError("x: expected clouds with a point off the origin, got one at the origin")
    return points, length


def _second_moments(x: Tensor) -> Tensor:
    """``sum_i x_i x_i^T`` of the scaled clouds, at least in float32, which eigenvectors need."""
    wide = _scaled(x).to(torch.promote_types(x.dtype, torch.float32))
    # Not as a product of matrices, which autocast would round.
    return (wide[..., :, None] * wide[..., None, :]).sum(1)


def _scaled(x: Tensor) -> Tensor:
    """Each cloud with 1 as its largest entry, so that no square overflows or vanishes.

    Frames do not depend on the size of a cloud, so gradients need not pass through it.
    """
    size = x.detach().abs().amax((1, 2), keepdim=True)
    return x / torch.where(size == 0, 1.0, size)


def _require_clouds(x: Tensor) -> None:
    check.floating("x", x)
    if x.ndim != 3 or not x.numel():
        raise ValueError(f"x: expected shape (B, n, d), not empty, got {tuple(x.shape)}")
    check.finite("x", x)


def _require_distinct(moments: Tensor) -> None:
    moments = moments.detach()
    if not check.readable(moments) or moments.shape[-1] == 1:
        return
    least = (moments.diff(dim=-1) / moments[:, -1:]).amin()
    if not float(least) > 100 * torch.finfo(moments.dtype).eps:
        raise ValueError("x: expected clouds whose principal moments differ, got equal ones")
