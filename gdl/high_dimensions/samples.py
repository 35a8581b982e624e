r"""Random samples in high dimensions: what they surround, and how far apart two of them are.

Chapter: ``high_dimensions``.
"""

from __future__ import annotations

from fractions import Fraction

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import gdl._checks as check
from gdl.high_dimensions._checks import _matrix

MOST_POINTS = 10**5
MOST_NUMBERS = 2 * 10**7


def wendel(count: int, dim: int) -> Fraction:
    r"""The probability that the origin lies in the convex hull of random points, exactly.

    ``1 - 2^-(N-1) sum_{k=0}^{d-1} C(N-1, k)`` for N independent points in d dimensions, in general
    position, with a law that is symmetric about the origin.

    Args:
        count: N, from 1 to 100,000.
        dim: d, at least 1.

    Raises: TypeError or ValueError unless both are such integers.
    Law tested: 0 for N <= d, one half for N = 2d, and linear programming on Gaussian points.
    Source: Wendel 1962. Chapter: ``high_dimensions``.

    >>> wendel(3, 2), wendel(10, 5)
    (Fraction(1, 4), Fraction(1, 2))
    """
    check.integer("count", count, 1, MOST_POINTS)
    check.integer("dim", dim, 1)
    if count <= dim:
        return Fraction(0)
    outside = binomial = 1
    for k in range(1, dim):
        binomial = binomial * (count - k) // k
        outside += binomial
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
        ValueError: different shapes, no points, entries or distances that are not finite, more
            than 2 * 10^7 numbers to compare (N^2 d).

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
    if len(x) ** 2 * x.shape[1] > MOST_NUMBERS:
        raise ValueError(f"x: expected N^2 d of at most {MOST_NUMBERS}, got {tuple(x.shape)}")
    difference = x[:, None] - y[None]
    if torus:
        difference = difference - difference.round()
    cost = difference.norm(dim=-1)
    if not torch.isfinite(cost).all():
        raise ValueError("x, y: expected finite distances, got an overflow")
    rows, columns = linear_sum_assignment(cost.numpy())
    return float(cost[torch.from_numpy(rows), torch.from_numpy(columns)].mean())
