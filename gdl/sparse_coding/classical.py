r"""Classical sparse coding: the iterations that the networks of this chapter unroll.

A code of a signal y is an x with ``D x`` near y and few entries that are not 0: a minimum of

    F(x; y) = |y - D x|^2 / 2 + penalty |x|_1.

Signals and codes are rows: ``signals (..., m)``, ``codes (..., n)``, ``dictionary (m, n)``, so that
``signals`` is near ``codes @ dictionary.T``. L is the largest eigenvalue of ``D^T D``.

Chapter: ``sparse_coding``.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import gdl._checks as check
from gdl.sparse_coding.operators import keep_largest, shrink

_TINY = torch.finfo(torch.float64).tiny


def lipschitz(dictionary: Tensor) -> float:
    r"""L, the largest eigenvalue of ``D^T D``: gradients of F's square change at most L-fold.

    Args:
        dictionary: D, (m, n), float32 or float64, no zero columns; not on the meta device.

    Returns:
        L, a positive number.

    Raises: TypeError or ValueError for other arguments.

    Law tested: the largest eigenvalue of ``D^T D`` and of ``D D^T`` by NumPy; scales with the
    square of D. Chapter: ``sparse_coding``.

    >>> lipschitz(torch.tensor([[3.0, 0.0], [0.0, 2.0]]))
    9.0
    """
    D = check.dictionary("dictionary", dictionary)
    if D.is_meta:
        raise ValueError("dictionary: expected entries with values, got the meta device")
    return float(torch.linalg.matrix_norm(D.detach(), 2)) ** 2


def lasso_objective(codes: Tensor, signals: Tensor, dictionary: Tensor, penalty: float) -> Tensor:
    r"""What a code costs: ``F = |y - D x|^2 / 2 + penalty |x|_1``.

    Args:
        codes: x, (..., n), in the dtype of the dictionary.
        signals: y, (..., m), with the same leading axes.
        dictionary: D, (m, n), float32 or float64, no zero columns.
        penalty: positive.

    Returns:
        F, (...), differentiable.

    Raises: TypeError or ValueError for other arguments, and where results overflow.

    Law tested: by hand; least at the codes of scikit-learn's Lasso. Chapter: ``sparse_coding``.

    >>> D = torch.eye(2)
    >>> lasso_objective(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 3.0]), D, 0.5)
    tensor(5.5000)
    """
    x, y, D, penalty = _pair(codes, signals, dictionary, penalty)
    return _bounded(_objective(x, y, D, penalty))


def duality_gap(codes: Tensor, signals: Tensor, dictionary: Tensor, penalty: float) -> Tensor:
    r"""A certificate: the objective of a code is at most this much above the least one.

    With the residual ``r = y - D x`` and ``s = min(1, penalty / max |D^T r|)``, the point ``s r``
    is feasible for the dual problem, and the gap between the two objectives is

        (1 - s)^2 |r|^2 / 2 + sum_i (penalty |x_i| - s x_i (D^T r)_i)

    where no summand is negative, so that small gaps do not drown in rounding.

    Args:
        codes: x, (..., n), in the dtype of the dictionary.
        signals: y, (..., m), with the same leading axes.
        dictionary: D, (m, n), float32 or float64, no zero columns.
        penalty: positive.

    Returns:
        The gap, (...), at least 0 up to rounding, and 0 only where the code is best.

    Raises: TypeError or ValueError for other arguments, and where results overflow.

    Law tested: equals primal minus dual objective to 1e-12; bounds the excess of random codes and
    of iterates; at most 1e-12 at the codes of least-angle regression. Chapter: ``sparse_coding``.

    >>> y, D = torch.tensor([2.0, 3.0]), torch.eye(2)
    >>> duality_gap(torch.tensor([1.5, 2.5]), y, D, 0.5), duality_gap(torch.zeros(2), y, D, 0.5)
    (tensor(0.), tensor(4.5139))
    """
    x, y, D, penalty = _pair(codes, signals, dictionary, penalty)
    return _bounded(_gap(x, y, D, penalty))


def ista(
    signals: Tensor,
    dictionary: Tensor,
    penalty: float,
    steps: int,
    *,
    start: Tensor | None = None,
    path: bool = False,
) -> Tensor:
    r"""Iterative soft thresholding: a gradient step on the square, then the threshold.

        x_{t+1} = S_{penalty/L}(x_t - D^T (D x_t - y) / L)

    Args:
        signals: y, (..., m), in the dtype of the dictionary.
        dictionary: D, (m, n), float32 or float64, no zero columns.
        penalty: positive.
        steps: how many, at least 0.
        start: x_0, (..., n), by default 0.
        path: return all iterates, the start first.

    Returns:
        x, (..., n), or (steps + 1, ..., n) with ``path``; differentiable, L being a constant.

    Raises: TypeError or ValueError for other arguments, and where results overflow.

    Law tested: its limit is the code of scikit-learn's Lasso; F never rises; ``F(x_t) - F* <=
    L |x_0 - x*|^2 / (2 t)``; the batch is a loop over signals. Chapter: ``sparse_coding``.

    >>> ista(torch.tensor([2.0, 0.3]), torch.eye(2), 0.5, steps=1)
    tensor([1.5000, 0.0000])
    """
    y, D, penalty, x = _problem(signals, dictionary, penalty, start)
    L = lipschitz(D)
    return _run(_iterate(lambda u: shrink(u, penalty / L), y, D, L, x), steps, path)


def fista(
    signals: Tensor,
    dictionary: Tensor,
    penalty: float,
    steps: int,
    *,
    start: Tensor | None = None,
    path: bool = False,
) -> Tensor:
    r"""The fast version: the step of ISTA from a point that runs ahead of the last two iterates.

        x_{k+1} = S_{penalty/L}(z_k - D^T (D z_k - y) / L)
        z_{k+1} = x_{k+1} + (t_k - 1) / t_{k+1} (x_{k+1} - x_k)

    with ``z_0 = x_0``, ``t_0 = 1`` and ``t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2``. F may rise.

    Args:
        signals: y, (..., m), in the dtype of the dictionary.
        dictionary: D, (m, n), float32 or float64, no zero columns.
        penalty: positive.
        steps: how many, at least 0.
        start: x_0, (..., n), by default 0.
        path: return all iterates x, the start first.

    Returns:
        x, (..., n), or (steps + 1, ..., n) with ``path``; differentiable, L being a constant.

    Raises: TypeError or ValueError for other arguments, and where results overflow.

    Law tested: its limit is the code of scikit-learn's Lasso; ``F(x_k) - F* <=
    2 L |x_0 - x*|^2 / (k + 1)^2``; the first step is that of ISTA. Chapter: ``sparse_coding``.

    >>> fista(torch.tensor([2.0, 0.3]), torch.eye(2), 0.5, steps=9)
    tensor([1.5000, 0.0000])
    """
    y, D, penalty, x = _problem(signals, dictionary, penalty, start)
    return _run(_fista(y, D, penalty, x), steps, path)


@torch.no_grad()
def solve_lasso(
    signals: Tensor,
    dictionary: Tensor,
    penalty: float,
    *,
    tolerance: float = 1e-10,
    most_steps: int = 20_000,
) -> Tensor:
    r"""Codes of least objective, certified by their duality gap.

    FISTA, which forgets its momentum wherever it leads uphill, until every gap is at most
    ``tolerance`` times the objective, and the next step of ISTA would move no entry by more than
    ``tolerance max |D^T y| / L``: a gap can be as small as the square of the error of a code. It
    computes in float64.

    Args:
        signals: y, (..., m), in the dtype of the dictionary.
        dictionary: D, (m, n), float32 or float64, no zero columns.
        penalty: positive.
        tolerance: relative, 1e-13 to 1.
        most_steps: when to give up.

    Returns:
        x, (..., n), in the dtype of the dictionary, without gradient.

    Raises: TypeError or ValueError for other arguments, ArithmeticError for a gap or a move that is
    still larger after ``most_steps``.

    Law tested: the codes of scikit-learn's Lasso (alpha = penalty / m) and of least-angle
    regression to 1e-8; optimality conditions; a code is 0 exactly if ``penalty >= max |D^T y|``.
    Chapter: ``sparse_coding``.

    >>> solve_lasso(torch.tensor([2.0, 0.3]), torch.eye(2), 0.5)
    tensor([1.5000, 0.0000])
    """
    given, D, penalty, start = _problem(signals, dictionary, penalty, None)
    check.number("tolerance", tolerance, 1e-13, 1.0)
    check.integer("most_steps", most_steps, 1)
    L, D = lipschitz(D.double()), D.double()
    y, x = given.double().reshape(-1, len(D)), start.double().reshape(-1, D.shape[1])
    codes, rows = x.clone(), torch.arange(len(x), device=x.device)
    z, t = x, x.new_ones(len(x), 1)
    _bounded(_objective(x, y, D, penalty))
    for step in range(most_steps + 1):
        if step % 20 == 0 or step == most_steps:
            gaps, moves = _relative_gap(x, y, D, penalty), _relative_move(x, y, D, penalty, L)
            done = (gaps <= tolerance) & (moves <= tolerance)
            codes[rows[done]] = x[done]
            rows, y, x, z, t = (each[~done] for each in (rows, y, x, z, t))
            if not len(rows):
                return _bounded(codes.reshape(start.shape).to(start.dtype))
        new = _proximal_step(z, y, D, penalty, L)
        uphill = ((z - new) * (new - x)).sum(-1, keepdim=True) > 0
        later = (1 + (1 + 4 * t.square()).sqrt()) / 2
        z = torch.where(uphill, new, new + (t - 1) / later * (new - x))
        t = torch.where(uphill, 1.0, later)
        x = new
    raise ArithmeticError(
        f"{len(rows)} of {len(codes)} codes are not at rest to {tolerance} after {most_steps} "
        f"steps: relative gap {float(gaps.max()):.2g}, relative move {float(moves.max()):.2g}"
    )


def iht(
    signals: Tensor,
    dictionary: Tensor,
    *,
    count: int | None = None,
    penalty: float | None = None,
    steps: int,
    start: Tensor | None = None,
    path: bool = False,
) -> Tensor:
    r"""Iterative hard thresholding: a gradient step, then the largest entries.

        x_{t+1} = H(x_t - D^T (D x_t - y) / L)

    With ``count``, H keeps that many entries: descent of ``|y - D x|^2 / 2`` among such codes. With
    ``penalty`` it keeps entries larger than ``sqrt(2 penalty / L)``: descent of
    ``|y - D x|^2 / 2 + penalty |x|_0``. Neither need find the least one.

    Args:
        signals: y, (..., m), in the dtype of the dictionary.
        dictionary: D, (m, n), float32 or float64, no zero columns.
        count: how many entries stay, 0 to n; or else
        penalty: positive, the price of an entry.
        steps: how many, at least 0.
        start: x_0, (..., n), by default 0.
        path: return all iterates, the start first.

    Returns:
        x, (..., n), or (steps + 1, ..., n) with ``path``.

    Raises: TypeError or ValueError for other arguments, neither or both of count and penalty, and
    where results overflow.

    Law tested: both objectives never rise; the best code by enumeration is a fixed point; at most
    ``count`` entries. Chapter: ``sparse_coding``.

    >>> iht(torch.tensor([2.0, 0.3]), torch.eye(2), count=1, steps=1)
    tensor([2., 0.])
    """
    if (count is None) == (penalty is None):
        raise TypeError(
            f"count, penalty: expected one of the two, got count={count}, penalty={penalty}"
        )
    y, D, price, x = _problem(signals, dictionary, 1.0 if penalty is None else penalty, start)
    L = lipschitz(D)
    if count is None:
        least = math.sqrt(2 * price / L)
        return _run(_iterate(lambda u: torch.where(u.abs() > least, u, 0), y, D, L, x), steps, path)
    check.integer("count", count, 0, D.shape[1])
    return _run(_iterate(lambda u: keep_largest(u, count), y, D, L, x), steps, path)


@torch.no_grad()
def omp(signals: Tensor, dictionary: Tensor, count: int) -> Tensor:
    r"""Orthogonal matching pursuit: one more atom at a time, all coefficients fitted anew.

    Each step takes the atom at the smallest angle to the residual (the lowest index at a tie), then
    the residual becomes what the atoms taken so far cannot explain.

    Args:
        signals: y, (..., m), in the dtype of the dictionary.
        dictionary: D, (m, n), float32 or float64, no zero columns; the lengths of its atoms do not
            matter to the choice.
        count: how many atoms, 0 to min(m, n).

    Returns:
        x, (..., n), with ``count`` entries, fewer where fewer atoms already span all others or
        leave a residual of at most ``m eps |y|``; without gradient.

    Raises: TypeError or ValueError for other arguments.

    Law tested: scikit-learn's ``orthogonal_mp`` for atoms of length 1; scaled atoms scale codes
    inversely; an orthogonal dictionary gives the best code. Chapter: ``sparse_coding``.

    >>> omp(torch.tensor([2.0, 0.3]), torch.eye(2), 1)
    tensor([2., 0.])
    """
    given, D, _, start = _problem(signals, dictionary, 1.0, None)
    check.integer("count", count, 0, min(D.shape))
    atoms = (D / torch.linalg.vector_norm(D, dim=0)).mT
    y, eps = given.reshape(-1, len(D)), len(D) * torch.finfo(D.dtype).eps
    # Squares of the largest and the smallest numbers would overflow or vanish.
    scale = torch.where((y != 0).any(-1, keepdim=True), y.abs().amax(-1, keepdim=True), 1)
    residual = y = y / scale
    least = eps * torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    basis, chosen = y.new_zeros(len(y), 0, len(D)), y.new_zeros(len(y), 0, dtype=torch.int64)
    for _ in range(count):
        new = (residual @ atoms.mT).abs().scatter(-1, chosen, -1.0).argmax(-1)
        direction = atoms[new]
        # The second pass removes the rounding errors of the first.
        for _ in range(2):
            direction = direction - ((basis @ direction[..., None]) * basis).sum(-2)
        # Rounding is all that is left of an atom in the span of the others.
        size = torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
        going = (torch.linalg.vector_norm(residual, dim=-1, keepdim=True) > least) & (size > eps)
        direction = torch.where(going, direction / size, 0)
        residual = residual - (residual * direction).sum(-1, keepdim=True) * direction
        basis = torch.cat([basis, direction[:, None]], 1)
        chosen = torch.cat([chosen, new[:, None]], 1)
    triangle = (basis @ D.mT[chosen].mT).triu()
    # Signals that were done early have directions 0: their coefficient is 0 over 1.
    triangle = triangle + torch.diag_embed((basis == 0).all(-1).to(D.dtype))
    values = torch.linalg.solve_triangular(triangle, basis @ y[..., None], upper=True)
    codes = y.new_zeros(len(y), D.shape[1]).scatter(-1, chosen, scale * values[..., 0])
    return _bounded(codes).reshape(start.shape)


# --- the iterations, without checks ---------------------------------------------------------------


def _proximal_step(x: Tensor, y: Tensor, D: Tensor, penalty: float, L: float) -> Tensor:
    return shrink(x - (x @ D.mT - y) @ D / L, penalty / L)


def _iterate(
    threshold: Callable[[Tensor], Tensor], y: Tensor, D: Tensor, L: float, x: Tensor
) -> Iterator[Tensor]:
    """Gradient steps of length 1/L, each followed by the threshold."""
    while True:
        yield x
        x = threshold(x - (x @ D.mT - y) @ D / L)


def _fista(y: Tensor, D: Tensor, penalty: float, x: Tensor) -> Iterator[Tensor]:
    L, z, t = lipschitz(D), x, 1.0
    while True:
        yield x
        new = _proximal_step(z, y, D, penalty, L)
        later = (1 + math.sqrt(1 + 4 * t**2)) / 2
        z = new + (t - 1) / later * (new - x)
        x, t = new, later


def _run(iterates: Iterator[Tensor], steps: int, path: bool) -> Tensor:
    """The iterate after these steps, or all of them stacked."""
    check.integer("steps", steps)
    check.boolean("path", path)
    first = itertools.islice(iterates, steps + 1)
    return _bounded(torch.stack(list(first)) if path else deque(first, maxlen=1).pop())


def _objective(x: Tensor, y: Tensor, D: Tensor, penalty: float) -> Tensor:
    return (y - x @ D.mT).square().sum(-1) / 2 + penalty * x.abs().sum(-1)


def _gap(x: Tensor, y: Tensor, D: Tensor, penalty: float) -> Tensor:
    residual = y - x @ D.mT
    products = residual @ D
    scale = penalty / products.abs().amax(-1, keepdim=True).clamp_min(penalty)
    rest = ((1 - scale) * residual).square().sum(-1) / 2
    return rest + (penalty * x.abs() - scale * x * products).sum(-1)


def _relative_gap(x: Tensor, y: Tensor, D: Tensor, penalty: float) -> Tensor:
    """The gap as a share of the objective, 0 for signals that are 0."""
    return _gap(x, y, D, penalty) / _objective(x, y, D, penalty).clamp_min(_TINY)


def _relative_move(x: Tensor, y: Tensor, D: Tensor, penalty: float, L: float) -> Tensor:
    """How far ISTA would go, as a share of the first gradient step from 0."""
    move = (_proximal_step(x, y, D, penalty, L) - x).abs().amax(-1)
    return L * move / (y @ D).abs().amax(-1).clamp_min(_TINY)


# --- arguments ------------------------------------------------------------------------------------


def _problem(
    signals: Tensor, dictionary: Tensor, penalty: float, start: Tensor | None
) -> tuple[Tensor, Tensor, float, Tensor]:
    """Checked arguments, and the first iterate."""
    D = check.dictionary("dictionary", dictionary)
    y = check.signals("signals", signals, D)
    penalty = check.penalty("penalty", penalty)
    shape = (*y.shape[:-1], D.shape[1])
    if start is None:
        return y, D, penalty, y.new_zeros(shape)
    x = check.codes("start", start, D)
    if x.shape != shape:
        raise ValueError(f"start: expected shape {shape}, got {tuple(x.shape)}")
    return y, D, penalty, x


def _pair(
    codes: Tensor, signals: Tensor, dictionary: Tensor, penalty: float
) -> tuple[Tensor, Tensor, Tensor, float]:
    D = check.dictionary("dictionary", dictionary)
    x, y = check.codes("codes", codes, D), check.signals("signals", signals, D)
    if x.shape[:-1] != y.shape[:-1]:
        raise ValueError(
            f"codes, signals: expected equal leading axes, got shapes {tuple(x.shape)} "
            f"and {tuple(y.shape)}"
        )
    return x, y, D, check.penalty("penalty", penalty)


def _bounded(result: Tensor) -> Tensor:
    """Return ``result`` if no entry of it overflowed."""
    if check.readable(result) and not bool(torch.isfinite(result).all()):
        raise ValueError("signals: expected results that stay finite, got an overflow")
    return result
