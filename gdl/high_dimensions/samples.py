r"""Random samples in high dimensions: what they surround, and how far apart two of them are.

Chapter: ``high_dimensions``.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from gdl.high_dimensions._checks import _count, _matrix

MOST_PAIRS = 10**8


def wendel(count: int, dim: int) -> Fraction:
    r"""The probability that the origin lies in the convex hull of random points, exactly.

    ``1 - 2^-(N-1) sum_{k=0}^{d-1} C(N-1, k)`` for N independent points in d dimensions, in general
    position, with a law that is symmetric about the origin.

    Raises: TypeError or ValueError unless both are positive integers.
    Law tested: 0 for N <= d, one half for N = 2d, and linear programming on Gaussian points.
    Source: Wendel 1962. Chapter: ``high_dimensions``.

    >>> wendel(3, 2), wendel(10, 5)
    (Fraction(1, 4), Fraction(1, 2))
    """
    _count("count", count), _count("dim", dim)
    outside = sum(math.comb(count - 1, k) for k in range(min(dim, count)))
    return 1 - Fraction(outside, 2 ** (count - 1))


def wasserstein(x: Tensor, y: Tensor, *, torus: bool = False) -> float:
    r"""The Wasserstein-1 distance of two samples of equal size.

    ``min over pairings of 1/N sum_i |x_i - y_pi(i)|``, solved exactly as an assignment problem. It
    is the largest difference that a 1-Lipschitz function can make between the two means
    (Kantorovich and Rubinstein).

    Args:
        x: (N, d), finite.
        y: (N, d), finite.
        torus: measure distances on the unit torus, where coordinates count modulo 1.

    Returns:
        The distance, in the unit of the coordinates.

    Raises:
        TypeError: no tensors of real numbers.
        ValueError: different shapes, no points, entries that are not finite, more than 10^8 pairs.

    Law tested: ``int |F - G|`` in one dimension; the dual linear programme; a shift moves a sample
    by its length. Source: Villani, Topics in Optimal Transportation, theorem 1.14. Chapter:
    ``high_dimensions``.

    >>> wasserstein(torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [1.0]]))
    1.5
    """
    x = _matrix("x", x)
    y = _matrix("y", y, x.shape[1])
    if len(x) != len(y):
        raise ValueError(f"y: expected {len(x)} points like x, got {len(y)}")
    if len(x) ** 2 * x.shape[1] > MOST_PAIRS:
        raise ValueError(f"x: expected N^2 d of at most {MOST_PAIRS}, got {tuple(x.shape)}")
    difference = x[:, None] - y[None]
    if torus:
        difference = difference - difference.round()
    cost = difference.norm(dim=-1)
    rows, columns = linear_sum_assignment(cost.numpy())
    return float(cost[torch.from_numpy(rows), torch.from_numpy(columns)].mean())
