r"""Robust PCA with the low rank written as a product: one dictionary, and codes for each signal.

Signals are rows. Each is a combination of few atoms, shared by all signals, plus sparse outliers:
``signals ~ codes @ dictionary.T + outliers``. Chapter: ``factorization``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
from gdl.factorization._checks import constant, matrix, without_overflow
from gdl.sparse_coding.operators import shrink


def factored_objective(
    signals: Tensor,
    dictionary: Tensor,
    codes: Tensor,
    outliers: Tensor,
    *,
    low_rank_penalty: float,
    sparse_penalty: float,
) -> Tensor:
    r"""What robust PCA in factored form minimises.

        |X - S D^T - O|^2 / 2 + low_rank_penalty (|D|^2 + |S|^2) / 2 + sparse_penalty |O|_1

    By the variational form of the nuclear norm its minimum over D and S, if D has columns enough,
    is that of the convex ``|X - L - O|^2 / 2 + low_rank_penalty |L|_* + sparse_penalty |O|_1``.

    Args:
        signals: X, (N, m), float32 or float64.
        dictionary: D, (m, q); columns may be 0.
        codes: S, (N, q).
        outliers: O, (N, m).
        low_rank_penalty, sparse_penalty: positive.

    Returns:
        A scalar, differentiable.

    Raises: TypeError or ValueError for other input.

    Law tested: by hand; unchanged by every rotation D R, S R of both factors and by signed
    permutations of the signals' entries. Chapter: ``factorization``.

    >>> X, D, S = torch.ones(1, 2), torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0]])
    >>> O = torch.zeros(1, 2)
    >>> factored_objective(X, D, S, O, low_rank_penalty=0.1, sparse_penalty=0.5)
    tensor(0.6000)
    """
    D, X = _data(dictionary, matrix("signals", signals))
    S = check.like("codes", codes, D, len(X), D.shape[1])
    O = check.like("outliers", outliers, D, *X.shape)
    low_rank_penalty, sparse_penalty = _penalties(low_rank_penalty, sparse_penalty)
    rows = _row_objective(X, D, S, O, low_rank_penalty, sparse_penalty)
    total = rows.sum() + low_rank_penalty * D.square().sum() / 2
    return without_overflow("signals", total)


def robust_objective(
    codes: Tensor,
    signals: Tensor,
    dictionary: Tensor,
    *,
    low_rank_penalty: float,
    sparse_penalty: float,
) -> Tensor:
    r"""What codes and outliers of a signal minimise for a given dictionary.

        |x - D s - o|^2 / 2 + low_rank_penalty |s|^2 / 2 + sparse_penalty |o|_1,    z = [s; o]

    Args:
        codes: z, (..., q + m).
        signals: x, (..., m).
        dictionary: D, (m, q), float32 or float64; columns may be 0.
        low_rank_penalty, sparse_penalty: positive.

    Returns:
        One number for each signal, (...), differentiable.

    Raises: TypeError or ValueError for other input.

    Law tested: summed over the signals and with the ridge on D it is the factored objective; none
    of many random codes is better than :func:`~gdl.factorization.robust_codes`. Chapter:
    ``factorization``.

    >>> weights = {"low_rank_penalty": 1.0, "sparse_penalty": 1.0}
    >>> D = torch.tensor([[1.0], [0.0]])
    >>> robust_objective(torch.tensor([0.5, 0.0, 3.0]), torch.tensor([1.0, 4.0]), D, **weights)
    tensor(3.7500)
    """
    D, x = _data(dictionary, signals)
    m, q = D.shape
    z = check.like("codes", codes, D, q + m)
    if z.shape[:-1] != x.shape[:-1]:
        expected = (*x.shape[:-1], q + m)
        raise ValueError(f"codes: expected shape {expected}, got {tuple(z.shape)}")
    low_rank_penalty, sparse_penalty = _penalties(low_rank_penalty, sparse_penalty)
    rows = _row_objective(x, D, z[..., :q], z[..., q:], low_rank_penalty, sparse_penalty)
    return without_overflow("signals", rows)


def _row_objective(
    x: Tensor, D: Tensor, s: Tensor, o: Tensor, low_rank_penalty: float, sparse_penalty: float
) -> Tensor:
    ridge = low_rank_penalty * s.square().sum(-1) / 2
    return (x - s @ D.T - o).square().sum(-1) / 2 + ridge + sparse_penalty * o.abs().sum(-1)


@dataclass(frozen=True, eq=False)
class FactoredSplit:
    r"""Low rank plus sparse in factors, as :func:`~gdl.factorization.factored_rpca` finds it.

    Attributes:
        dictionary: D, (m, q).
        codes: S, (N, q).
        outliers: O, (N, m).
        objectives: the objective at the start and after each round.

    Chapter: ``factorization``.

    >>> D, S = torch.ones(3, 1), torch.ones(4, 1)
    >>> FactoredSplit(D, S, torch.zeros(4, 3), (1.0,)).low_rank.shape
    torch.Size([4, 3])
    """

    dictionary: Tensor
    codes: Tensor
    outliers: Tensor
    objectives: tuple[float, ...]

    @property
    def low_rank(self) -> Tensor:
        """L = S D^T, of shape (N, m)."""
        return self.codes @ self.dictionary.T


def factored_rpca(
    signals: Tensor,
    rank: int,
    *,
    low_rank_penalty: float,
    sparse_penalty: float,
    rounds: int = 200,
) -> FactoredSplit:
    r"""Minimise the factored objective over one part after the other.

        S <- (X - O) D (D^T D + p)^-1
        D <- (X - O)^T S (S^T S + p)^-1     with p = low_rank_penalty
        O <- soft_threshold(X - S D^T, sparse_penalty)

    Each line is the exact minimum over its part, so the objective never rises. The start is the
    singular value decomposition of X, and O = 0. The objective is not convex: a rank that is too
    low, or a start elsewhere, may end in a point that is not the minimum.

    Args:
        signals: X, (N, m), float32 or float64.
        rank: q, from 1 to min(N, m).
        low_rank_penalty, sparse_penalty: positive.
        rounds: how many rounds of the three lines.

    Returns:
        The factors and the course of the objective.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes and numbers that do not fit, entries that are not finite, ``signals``
            requires a gradient.

    Law tested: the objective never rises; with rank enough it ends at the minimum of the convex
    problem, by its conditions of optimality; there ``D^T D = S^T S``. Chapter: ``factorization``.

    >>> X = torch.ones(8, 8)
    >>> X[0, 0] = 9
    >>> found = factored_rpca(X, 1, low_rank_penalty=0.1, sparse_penalty=0.1)
    >>> found.dictionary.shape, found.outliers[0, :2].round(decimals=1)
    (torch.Size([8, 1]), tensor([7.9000, 0.0000]))
    """
    X = constant("signals", matrix("signals", signals))
    check.integer("rank", rank, 1, min(X.shape))
    weights = {"low_rank_penalty": low_rank_penalty, "sparse_penalty": sparse_penalty}
    low_rank_penalty, sparse_penalty = _penalties(low_rank_penalty, sparse_penalty)
    check.integer("rounds", rounds)

    U, s, Vh = torch.linalg.svd(X, full_matrices=False)
    root = s[:rank].sqrt()
    S, D, O = U[:, :rank] * root, Vh[:rank].T * root, torch.zeros_like(X)
    objectives = [float(factored_objective(X, D, S, O, **weights))]
    for _ in range(rounds):
        S = ridge_codes(X - O, D, low_rank_penalty)
        D = ridge_codes((X - O).T, S, low_rank_penalty)
        O = shrink(X - S @ D.T, sparse_penalty)
        objectives.append(float(factored_objective(X, D, S, O, **weights)))
    return FactoredSplit(D, S, O, tuple(objectives))


def ridge_codes(signals: Tensor, dictionary: Tensor, penalty: float) -> Tensor:
    r"""Codes by ridge regression.

        argmin of |x - D s|^2 / 2 + penalty |s|^2 / 2  =  (D^T D + penalty)^-1 D^T x

    Args:
        signals: x, (..., m).
        dictionary: D, (m, q), float32 or float64; columns may be 0.
        penalty: positive.

    Returns:
        s, (..., q), differentiable.

    Raises: TypeError or ValueError for other input.

    Law tested: the gradient of the objective is 0 there. Chapter: ``factorization``.

    >>> ridge_codes(torch.tensor([3.0, 1.0]), torch.tensor([[1.0], [0.0]]), 0.5)
    tensor([2.0000])
    """
    D, x = _data(dictionary, signals)
    root = math.sqrt(check.positive("penalty", penalty))
    # Least squares with the rows root * 1 below D: D^T D would double the digits that are lost.
    Q, R = torch.linalg.qr(torch.cat([D, root * torch.eye(D.shape[1]).to(D)]))
    seen = x.reshape(-1, len(D)) @ Q[: len(D)]
    codes = torch.linalg.solve_triangular(R.T, seen, upper=False, left=False)
    return without_overflow("signals", codes.reshape(*x.shape[:-1], -1))


def proximal_codes(
    signals: Tensor,
    dictionary: Tensor,
    *,
    low_rank_penalty: float,
    sparse_penalty: float,
    steps: int,
    path: bool = False,
) -> Tensor:
    r"""Codes and outliers of each signal for a given dictionary, by proximal gradient descent.

        minimise |x - D s - o|^2 / 2 + low_rank_penalty |s|^2 / 2 + sparse_penalty |o|_1

    With z = [s; o] and Phi = [D 1] this is a lasso in which s pays a square instead of an absolute
    value, and its iteration is ISTA in a metric of its own. Each part takes half of what neither of
    them explains, and pays its penalty:

        r = x - D s - o
        s <- argmin of |D s + r / 2 - D s'|^2 + low_rank_penalty |s'|^2 / 2 over s'
        o <- soft_threshold(o + r / 2, sparse_penalty / 2)

    ``|D a + b|^2`` is at most ``2 |D a|^2 + 2 |b|^2``, so that no step raises the objective. ISTA
    itself would have one step for both, which the longest direction of D decides for all others.

    Args:
        signals: x, (..., m); each is solved by itself.
        dictionary: D, (m, q), float32 or float64; columns may be 0.
        low_rank_penalty, sparse_penalty: positive.
        steps: how many, from z = 0.
        path: whether to return all iterates.

    Returns:
        z = [s; o], (..., q + m), or with ``path`` (steps + 1, ..., q + m); differentiable.

    Raises: TypeError or ValueError for other input.

    Law tested: the objective never rises; it ends at the solution of
    :func:`~gdl.factorization.robust_codes`; the outliers do not depend on the units of the codes.
    Chapter: ``factorization``.

    >>> x, D = torch.tensor([1.0, 4.0]), torch.tensor([[1.0], [0.0]])
    >>> proximal_codes(x, D, low_rank_penalty=1.0, sparse_penalty=1.0, steps=50)
    tensor([0.5000, 0.0000, 3.0000])
    """
    D, x = _data(dictionary, signals)
    low_rank_penalty, sparse_penalty = _penalties(low_rank_penalty, sparse_penalty)
    check.integer("steps", steps)
    check.boolean("path", path)
    ridge = ridge_codes(torch.eye(len(D)).to(D), D, low_rank_penalty / 2)
    s, o = torch.zeros_like(x @ D), torch.zeros_like(x)
    iterates = [torch.cat([s, o], -1)]
    for _ in range(steps):
        low_rank = s @ D.T
        half = (x - low_rank - o) / 2
        s = (low_rank + half) @ ridge
        o = shrink(o + half, sparse_penalty / 2)
        iterates.append(torch.cat([s, o], -1))
    return without_overflow("signals", torch.stack(iterates) if path else iterates[-1])


def robust_codes(
    signals: Tensor,
    dictionary: Tensor,
    *,
    low_rank_penalty: float,
    sparse_penalty: float,
    tolerance: float | None = None,
    most_steps: int = 10_000,
) -> Tensor:
    r"""The codes and outliers that :func:`~gdl.factorization.proximal_codes` tends to.

    Minimises over s and o in turn, each exactly:

        s <- (D^T D + low_rank_penalty)^-1 D^T (x - o)
        o <- soft_threshold(x - D s, sparse_penalty)

    Without o this is regression with Huber's loss and a ridge: what o takes away from a residual
    is what makes its square linear beyond ``sparse_penalty``.

    Args:
        signals: x, (..., m); each is solved by itself.
        dictionary: D, (m, q), float32 or float64; columns may be 0.
        low_rank_penalty, sparse_penalty: positive.
        tolerance: the largest last change of o, relative to the largest entry of its signal;
            1e-10 in float64, 1e-5 in float32 if None.
        most_steps: the most steps.

    Returns:
        z = [s; o], (..., q + m).

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes and numbers that do not fit, entries that are not finite, an input
            requires a gradient.
        ArithmeticError: the tolerance is not met after ``most_steps`` steps.

    Law tested: SciPy finds the same minimum of Huber's loss; the conditions of optimality.
    Chapter: ``factorization``.

    >>> x, D = torch.tensor([1.0, 4.0]), torch.tensor([[1.0], [0.0]])
    >>> robust_codes(x, D, low_rank_penalty=1.0, sparse_penalty=1.0)
    tensor([0.5000, 0.0000, 3.0000])
    """
    D, x = _data(dictionary, signals)
    constant("signals", x)
    constant("dictionary", D)
    low_rank_penalty, sparse_penalty = _penalties(low_rank_penalty, sparse_penalty)
    default = 1e-10 if D.dtype == torch.float64 else 1e-5
    tolerance = default if tolerance is None else check.positive("tolerance", tolerance)
    check.integer("most_steps", most_steps, 1)
    allowed = tolerance * x.abs().amax(-1, keepdim=True)
    ridge, o = ridge_codes(torch.eye(len(D)).to(D), D, low_rank_penalty), torch.zeros_like(x)
    for _ in range(most_steps):
        s = (x - o) @ ridge
        before, o = o, shrink(x - s @ D.T, sparse_penalty)
        if bool(((o - before).abs() <= allowed).all()):
            return torch.cat([s, o], -1)
    raise ArithmeticError(
        f"signals: expected codes to {tolerance:.3g} within most_steps = {most_steps}, "
        f"got a last change of {float((o - before).abs().max()):.3g}"
    )


def _data(dictionary: Tensor, signals: Tensor) -> tuple[Tensor, Tensor]:
    D = matrix("dictionary", dictionary)
    return D, check.like("signals", signals, D, len(D))


def _penalties(low_rank_penalty: float, sparse_penalty: float) -> tuple[float, float]:
    low_rank_penalty = check.positive("low_rank_penalty", low_rank_penalty)
    return low_rank_penalty, check.positive("sparse_penalty", sparse_penalty)
