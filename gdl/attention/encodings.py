r"""Positions along a line: sinusoidal encodings and rotary ones, both from one representation.

A shift by s turns the k-th pair of channels by the angle ``s base^(-2k/d)``: a representation of
the shifts by rotations of the plane, one for each pair.

Pairs are channels ``(2k, 2k + 1)``, interleaved. Some libraries pair ``(k, k + d/2)`` instead;
``x.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)`` takes their order to this one.

Chapter: ``attention``.
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check
from gdl.attention import _checks as require


def sinusoidal(
    positions: Tensor, channels: int, base: float = 10000.0, *, dtype: torch.dtype | None = None
) -> Tensor:
    r"""The encoding of a position by sines and cosines of geometrically spaced frequencies.

        e_2k(p) = sin(p w_k),    e_2k+1(p) = cos(p w_k),    w_k = base^(-2k/d)

    Args:
        positions: p, any shape, integers or real numbers, in units of one token.
        channels: d, even.
        base: sets the slowest frequency, positive.
        dtype: of the result; None is that of real positions, and torch's default for integers.

    Returns:
        ``(..., channels)``, computed in float64 and rounded at the end.

    Raises:
        TypeError: arguments of other types.
        ValueError: an odd number of channels, a base that is not positive, positions that are not
            finite, angles that overflow.

    Law tested: a shift is a rotation, ``e(p + s) = R(s)^T e(p)`` with the matrices of
    :func:`rotary_matrix`; transposing them breaks it. Source: Vaswani et al., NeurIPS 2017.
    Chapter: ``attention``.

    >>> sinusoidal(torch.tensor([0, 1]), 4, dtype=torch.float64).round(decimals=4).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.8415, 0.5403, 0.01, 1.0]]
    """
    require.positions(positions)
    if dtype is None:
        dtype = positions.dtype if positions.is_floating_point() else torch.get_default_dtype()
    angles = _angles(positions, require.even("channels", channels), base)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).to(check.real_dtype(dtype))


def rotary(x: Tensor, positions: Tensor | None = None, base: float = 10000.0) -> Tensor:
    r"""Turn each pair of channels by an angle proportional to the position: RoPE.

        (rho(p) x)_2k   = cos(p w_k) x_2k - sin(p w_k) x_2k+1
        (rho(p) x)_2k+1 = sin(p w_k) x_2k + cos(p w_k) x_2k+1,    w_k = base^(-2k/d)

    Applied to queries and keys it makes the logits depend on differences of positions only, because
    ``(rho(i) q) . (rho(j) k) = q . rho(j - i) k``.

    Args:
        x: ``(..., n, d)``, d even.
        positions: p, ``(n,)``, or one for each token with axes of 1 where it is shared; None is
            0, ..., n - 1.
        base: sets the slowest frequency, positive.

    Returns:
        The shape and dtype of x; angles are computed in float64.

    Raises:
        TypeError: arguments of other types.
        ValueError: an odd d, positions of another shape, entries that are not finite, no token, a
            base that is not positive, angles or entries that overflow.

    Law tested: ``rho(a + b) = rho(a) rho(b)``; lengths are kept; the logits stay when all positions
    shift, which an added encoding breaks; equal to :func:`rotary_matrix`. Source: Su et al.,
    RoFormer, arXiv 2104.09864. Chapter: ``attention``.

    >>> rotary(torch.eye(2), torch.tensor([0.0, torch.pi / 2])).round().int().tolist()
    [[1, 0], [-1, 0]]
    """
    require.tokens("x", x, None)
    require.even("x", x.shape[-1])
    if positions is None:
        positions = torch.arange(x.shape[-2], device=x.device)
    require.positions(positions, x.shape[:-1])
    if positions.device != x.device:
        raise ValueError(f"positions: expected device {x.device}, got {positions.device}")
    # Half precision would spoil the angles between far tokens.
    working = torch.promote_types(x.dtype, torch.float32)
    angles = _angles(positions, x.shape[-1], base)
    cos, sin = angles.cos().to(working), angles.sin().to(working)
    first, second = x.to(working).unflatten(-1, (-1, 2)).unbind(-1)
    turned = [cos * first - sin * second, sin * first + cos * second]
    return require.unspoilt("x", torch.stack(turned, dim=-1).flatten(-2).to(x.dtype))


def rotary_matrix(positions: Tensor, channels: int, base: float = 10000.0) -> Tensor:
    r"""The representation of shifts by block rotations, written out as matrices.

        rho(p) = blockdiag_k [[cos p w_k, -sin p w_k], [sin p w_k, cos p w_k]]

    Args:
        positions: p, any shape, integers or real numbers.
        channels: d, even.
        base: sets the slowest frequency, positive.

    Returns:
        Orthogonal matrices ``(..., d, d)``, float64.

    Raises: TypeError or ValueError as :func:`sinusoidal` does.
    Law tested: ``rho(a + b) = rho(a) rho(b)``, ``rho(-a) = rho(a)^T``, orthogonal. Source: Su et
    al., RoFormer, arXiv 2104.09864. Chapter: ``attention``.

    >>> rotary_matrix(torch.tensor(torch.pi / 2), 2).round().int().tolist()
    [[0, -1], [1, 0]]
    """
    require.positions(positions)
    angles = _angles(positions, require.even("channels", channels), base)
    cos, sin = angles.cos(), angles.sin()
    along = torch.stack([cos, cos], dim=-1).flatten(-2)
    below = torch.stack([sin, torch.zeros_like(sin)], dim=-1).flatten(-2)[..., :-1]
    lower = torch.diag_embed(below, offset=-1)
    return torch.diag_embed(along) + lower - lower.transpose(-1, -2)


def _angles(positions: Tensor, channels: int, base: float) -> Tensor:
    """The angle of each pair of channels, (..., channels / 2), in float64."""
    check.positive("base", base)
    pairs = torch.arange(0, channels, 2, dtype=torch.float64, device=positions.device)
    angles = positions.double()[..., None] * base ** (-pairs / channels)
    return require.unspoilt("positions, base", angles)
