"""Triangles known by the lengths of their sides: areas, cotangents and angles.

Lengths are (m, 3), the side opposite to each corner; so are cotangents and angles. Differences
of lengths come before squares, since squares of nearly equal lengths lose what is left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gdl.geodesics._topology import NEXT, PREVIOUS

EPSILON = torch.finfo(torch.float64).eps
SMALLEST = 1e-100  # Squares of lengths, and areas, keep their digits.


def areas(lengths: Tensor) -> Tensor:
    """(m,): Heron's formula as Kahan arranged it; 0 where the sides do not close."""
    c, b, a = lengths.sort(-1).values.unbind(-1)
    # Divided by the longest side, so that fourth powers neither overflow nor vanish.
    size = torch.where(a > 0, a, 1.0)
    a, b, c = a / size, b / size, c / size
    product = (a + (b + c)) * (c - (a - b)) * (c + (a - b)) * (a + (b - c))
    return size**2 * product.clamp(min=0).sqrt() / 4


def degenerate(lengths: Tensor) -> Tensor:
    """(m,): whether two sides are, up to rounding, no longer than the third, or all are tiny."""
    c, b, a = lengths.sort(-1).values.unbind(-1)
    return (c - (a - b) <= 8 * EPSILON * a) | (a < SMALLEST)


def cotangents(lengths: Tensor) -> Tensor:
    """(m, 3): of the angle at each corner, (b^2 + c^2 - a^2) / (4 area)."""
    return _doubled_products(lengths) / (4 * areas(lengths)[:, None])


def angles(lengths: Tensor) -> Tensor:
    """(m, 3): the angle at each corner, in radians."""
    return torch.atan2(4 * areas(lengths)[:, None], _doubled_products(lengths))


def _doubled_products(lengths: Tensor) -> Tensor:
    """(m, 3): twice the inner product of the two sides that leave each corner."""
    one, other = lengths[:, NEXT], lengths[:, PREVIOUS]
    long, short = torch.maximum(one, other), torch.minimum(one, other)
    return short**2 + (long - lengths) * (long + lengths)
