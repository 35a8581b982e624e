r"""A matrix as low rank plus sparse: the convex problem, solved to a certificate.

Chapter: ``factorization``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
from gdl.factorization._checks import constant, matrices, without_overflow
from gdl.sparse_coding.operators import shrink


def nuclear_norm(X: Tensor) -> Tensor:
    r"""The sum of the singular values.

        |X|_* = sum_i s_i(X) = min of (|D|^2 + |S|^2) / 2 over all S and D with S D^T = X

    so that a small ridge on both factors of a matrix is a small rank of the matrix. The least is
    reached by ``D = V s^(1/2)``, ``S = U s^(1/2)`` and by all ``D R``, ``S R``, R orthogonal.

    Args:
        X: (..., m, n), float32 or float64, finite.

    Returns:
        (...), differentiable where all singular values are positive; elsewhere the derivative is
        a subgradient.

    Raises: TypeError or ValueError for other input.

    Law tested: both equations, the second over random and over optimised factors; unchanged by
    rotations from both sides. Chapter: ``factorization``.

    >>> nuclear_norm(torch.tensor([[3.0, 0.0], [0.0, -4.0]]))
    tensor(7.)
    """
    return without_overflow("X", torch.linalg.svdvals(matrices("X", X)).sum(-1))


def singular_value_threshold(X: Tensor, threshold: float) -> Tensor:
    r"""Soft thresholding of the singular values, the proximal operator of the nuclear norm.

        argmin of |Z - X|^2 / 2 + threshold |Z|_*  =  U max(s - threshold, 0) V^T

    Args:
        X: (..., m, n), float32 or float64, finite.
        threshold: a number, 0 or more.

    Returns:
        The minimiser, (..., m, n). No gradient: where singular values meet, that of the singular
        vectors is infinite.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: other shapes, entries that are not finite, a negative threshold, X requires a
            gradient.

    Law tested: the conditions of optimality; equivariant under rotations from both sides.
    Chapter: ``factorization``.

    >>> singular_value_threshold(torch.tensor([[3.0, 0.0], [0.0, -1.0]]), 2.0)
    tensor([[1., 0.],
            [0., 0.]])
    """
    constant("X", matrices("X", X))
    U, s, Vh = torch.linalg.svd(X, full_matrices=False)
    shrunk = (s - check.number("threshold", threshold, 0)).clamp_min(0)
    return without_overflow("X", (U * shrunk.unsqueeze(-2)) @ Vh)


@dataclass(frozen=True, eq=False)
class Split:
    r"""A matrix as low rank plus sparse, as :func:`~gdl.factorization.robust_pca` finds it.

    Attributes:
        low_rank: L, (..., m, n).
        sparse: O, (..., m, n).
        dual: Y, (..., m, n), the certificate: ``<X, Y> / max(1, |Y|_2)`` is a lower bound of the
            objective of every split.
        steps: how many steps it took.

    Chapter: ``factorization``.

    >>> float(robust_pca(torch.ones(4, 3, dtype=torch.float64)).sparse.abs().max()) < 1e-6
    True
    """

    low_rank: Tensor
    sparse: Tensor
    dual: Tensor
    steps: int


def robust_pca(
    X: Tensor,
    *,
    penalty: float | None = None,
    tolerance: float | None = None,
    most_steps: int = 5000,
) -> Split:
    r"""Principal component pursuit: the split into low rank plus sparse.

        minimise |L|_* + penalty |O|_1 over all L + O = X

    by the alternating direction method of multipliers: with r = 1.25 / mean |X|,

        L <- singular_value_threshold(X - O + Y/r, 1/r)
        O <- soft_threshold(X - L + Y/r, penalty/r)
        Y <- Y + r (X - L - O)

    The objective is convex, so no start is needed, and Y proves how good a split is:
    ``|Y|_2 <= 1`` and ``|Y|_inf <= penalty`` make ``<X, Y>`` a lower bound of it.

    Args:
        X: (..., m, n), float32 or float64, finite; each matrix is split by itself.
        penalty: positive; 1 / sqrt(max(m, n)) if None, with which Candes et al. recover both parts
            exactly when the rank is low and the sparse entries are few and spread at random.
        tolerance: how far X - L - O may be from 0, relative to X, and r times the last change of O,
            relative to Y, both in the 2-norm; 1e-7 in float64, 1e-5 in float32 if None.
        most_steps: the most steps.

    Returns:
        The split; O has exact zeros, L is low in rank up to the tolerance.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes and numbers that do not fit, entries that are not finite, X requires a
            gradient.
        ArithmeticError: the tolerance is not met after ``most_steps`` steps.

    Law tested: the objective is within 1e-6 of the lower bound; a random matrix of rank 2 with 5
    percent of its entries replaced is recovered to 1e-6; equivariant under signed permutations of
    rows and columns, transposes and scales. Chapter: ``factorization``.

    >>> X = torch.ones(8, 8)
    >>> X[0, 0] = 9
    >>> robust_pca(X).sparse[0, :2].round(decimals=3)
    tensor([8., 0.])
    """
    constant("X", matrices("X", X))
    penalty = _default_penalty(X) if penalty is None else check.positive("penalty", penalty)
    default = 1e-7 if X.dtype == torch.float64 else 1e-5
    tolerance = default if tolerance is None else check.positive("tolerance", tolerance)
    check.integer("most_steps", most_steps, 1)

    scale = _one_for_zero(X.abs().amax((-2, -1), keepdim=True))
    X = X / scale
    r = 1.25 / _one_for_zero(X.abs().mean((-2, -1), keepdim=True))
    O = Y = torch.zeros_like(X)
    for step in range(1, most_steps + 1):
        U, s, Vh = torch.linalg.svd(X - O + Y / r, full_matrices=False)
        L = (U * (s.unsqueeze(-2) - 1 / r).clamp_min(0)) @ Vh
        before, O = O, shrink(X - L + Y / r, penalty / r)
        rest = X - L - O
        Y = Y + r * rest
        worst = max(_relative(rest, X), _relative(r * (O - before), Y))
        if worst <= tolerance:
            return Split(scale * L, scale * O, Y, step)
    raise ArithmeticError(
        f"X: expected a split to {tolerance:.3g} within most_steps = {most_steps}, "
        f"got to {worst:.3g}"
    )


def _default_penalty(X: Tensor) -> float:
    return 1 / math.sqrt(max(X.shape[-2:]))


def _one_for_zero(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.ones_like(x))


def _relative(x: Tensor, whole: Tensor) -> float:
    """The largest norm of a matrix of the batch, relative to that of the whole."""
    norms = torch.linalg.matrix_norm(torch.stack([x, whole]))
    return float((norms[0] / _one_for_zero(norms[1])).max())
