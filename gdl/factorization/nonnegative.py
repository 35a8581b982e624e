r"""Factors without negative entries: the codes of a dictionary, and the dictionary with them.

Chapter: ``factorization``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
from gdl.factorization import _checks as require
from gdl.factorization._checks import without_overflow
from gdl.factorization._sweeps import sweep
from gdl.sparse_coding.classical import lipschitz

MOST_SWEEPS = 10_000


@dataclass(frozen=True)
class Factors:
    r"""Two factors of a matrix, ``X ~ codes @ dictionary.T``, and how they were reached.

    Args:
        dictionary: D, (m, q), the columns are atoms.
        codes: Z, (N, q), a row for each row of X.
        losses: the objective at the start and after each step.

    Chapter: ``factorization``.

    >>> factors = Factors(torch.ones(3, 1), torch.ones(2, 1), (4.0, 0.0))
    >>> factors.product().shape, len(factors.losses)
    (torch.Size([2, 3]), 2)
    """

    dictionary: Tensor
    codes: Tensor
    losses: tuple[float, ...]

    def product(self) -> Tensor:
        """``Z D^T``, (N, m)."""
        return self.codes @ self.dictionary.T


def nonnegative_codes(
    signals: Tensor,
    dictionary: Tensor,
    *,
    penalty: float = 0.0,
    steps: int,
    start: Tensor | None = None,
    path: bool = False,
) -> Tensor:
    r"""Proximal gradient descent on the squared error of codes without negative entries.

        x_{t+1} = relu(x_t - (D^T (D x_t - y) + penalty) / L),    L the norm of D^T D

    for ``1/2 |y - D x|^2 + penalty sum_j x_j`` over x >= 0. With penalty 0 it is the projected
    gradient method for nonnegative least squares.

    Args:
        signals: y, (..., m).
        dictionary: D, (m, n), float32 or float64, of any signs, without zero columns.
        penalty: a number of at least 0.
        steps: number of steps, at least 0.
        start: x_0, (..., n), 0 by default; it need not be feasible.
        path: whether to return all iterates.

    Returns:
        x, (..., n), or with path (steps + 1, ..., n). Differentiable in every argument but L.

    Raises: TypeError or ValueError for other arguments, and where iterates overflow.

    Law tested: 20,000 steps agree with scipy's nnls to 1e-10; with a penalty the conditions of
    Karush, Kuhn and Tucker hold; no step raises the objective. Chapter: ``factorization``.

    >>> D = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> nonnegative_codes(torch.tensor([3.0, -1.0]), D, steps=100)
    tensor([3.0000, 0.0000])
    """
    D = check.dictionary("dictionary", dictionary)
    y = check.signals("signals", signals, D)
    penalty = check.number("penalty", penalty, 0.0, torch.finfo(D.dtype).max)
    check.integer("steps", steps)
    check.boolean("path", path)
    L = lipschitz(D)
    x = y.new_zeros(*y.shape[:-1], D.shape[1]) if start is None else _start(start, y, D)
    iterates = [x]
    for _ in range(steps):
        slope = (x @ D.T - y) @ D + penalty
        x = (x - slope / L).relu()
        iterates.append(x)
    without_overflow("signals", x)
    return torch.stack(iterates) if path else x


@torch.no_grad()
def solve_nonnegative(
    signals: Tensor,
    dictionary: Tensor,
    *,
    penalty: float = 0.0,
    tolerance: float = 1e-12,
) -> Tensor:
    r"""The best codes without negative entries: nonnegative least squares, with a certificate.

    Coordinate descent until the conditions of Karush, Kuhn and Tucker hold,

        |min(x_j |d_j|, g_j / |d_j|)| <= tolerance |y|,    g = D^T (D x - y) + penalty

    for every atom j: where a code is positive its slope is 0, where it is 0 its slope is not
    negative. Both sides have the unit of the signal. It computes in float64.

    Args:
        signals: y, (..., m).
        dictionary: D, (m, n), float32 or float64, of any signs, without zero columns.
        penalty: a number of at least 0, the price of the sum of the codes.
        tolerance: relative to the length of the signal, 1e-14 to 1.

    Returns:
        x, (..., n), without gradients.

    Raises:
        TypeError or ValueError: other arguments.
        ArithmeticError: the tolerance is not met.

    Law tested: equal to scipy's nnls to 1e-10, also with a penalty; with more atoms than entries
    the products are equal; the conditions above hold. Chapter: ``factorization``.

    >>> D = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> solve_nonnegative(torch.tensor([3.0, -1.0]), D)
    tensor([3., 0.])
    """
    D = check.dictionary("dictionary", dictionary)
    y = check.signals("signals", signals, D)
    penalty = check.number("penalty", penalty, 0.0, torch.finfo(D.dtype).max)
    check.number("tolerance", tolerance, 1e-14, 1.0)
    # Unit atoms put codes and slopes in the unit of the signal.
    atoms, rows = D.double(), y.double().reshape(-1, len(D))
    lengths = torch.linalg.vector_norm(atoms, dim=0)
    atoms = atoms / lengths
    gram, right = atoms.T @ atoms, rows @ atoms - penalty / lengths
    # Squares of the largest and the smallest numbers would overflow or vanish.
    largest = rows.abs().amax(1, keepdim=True)
    units = rows / torch.where(largest > 0, largest, 1)
    allowed = tolerance * largest[:, 0] * torch.linalg.vector_norm(units, dim=1)
    x = torch.zeros_like(right)
    for _ in range(MOST_SWEEPS):
        defect = torch.minimum(x, x @ gram - right).abs().amax(1)
        if bool((defect <= allowed).all()):
            codes = (x / lengths).to(D.dtype).reshape(*y.shape[:-1], D.shape[1])
            return without_overflow("signals", codes)
        x = sweep(x, right, gram, _relu)
    raise ArithmeticError(
        f"{int((defect > allowed).sum())} of {len(x)} codes miss the tolerance {tolerance} after "
        f"{MOST_SWEEPS} sweeps, the worst by {float((defect - allowed).max()):.2g}"
    )


def coordinate_step(X: Tensor, dictionary: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    r"""One sweep over the codes, one over the atoms: each column in turn becomes the best one.

        z_j <- relu(z_j + (X - Z D^T) d_j / |d_j|^2),    then the same for d_j with X transposed

    It is least squares in one column while all others rest, so that no step raises the objective
    ``1/2 |X - Z D^T|^2``. The two factors play the same part: transposing X exchanges them, but
    for the order of the sweeps. Columns that meet a zero column stay.

    Args:
        X: (N, m), float32 or float64, no negative entries, not zero.
        dictionary: D, (m, q), no negative entries.
        codes: Z, (N, q), no negative entries.

    Returns:
        The new D and Z.

    Raises: TypeError or ValueError for other arguments.

    Law tested: equal to scikit-learn's coordinate descent to 1e-12 after several steps; never
    raises the objective; commutes with permutations and positive scalings of the atoms.
    Chapter: ``factorization``.

    >>> X = torch.tensor([[2.0, 4.0], [1.0, 2.0]])
    >>> D, Z = coordinate_step(X, torch.ones(2, 1), torch.ones(2, 1))
    >>> bool((X - Z @ D.T).abs().max() < 1e-6)
    True
    """
    X, D, Z = _triple(X, dictionary, codes)
    Z = sweep(Z, X @ D, _gram("dictionary", D), _relu)
    return sweep(D, X.T @ Z, _gram("codes", Z), _relu), Z


def multiplicative_step(X: Tensor, dictionary: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    r"""The multiplicative updates: gradient steps so short that no entry changes its sign.

        Z <- Z * (X D) / (Z D^T D),    then D <- D * (X^T Z) / (D Z^T Z)

    entry by entry. That is ``Z - r * (Z D^T D - X D)`` with the rates ``r = Z / (Z D^T D)``, one
    for each entry. Where an entry is 0 it stays 0: the start decides which can be positive.

    Args:
        X: (N, m), float32 or float64, no negative entries, not zero.
        dictionary: D, (m, q), no negative entries.
        codes: Z, (N, q), no negative entries.

    Returns:
        The new D and Z. Entries whose denominator is 0 do not matter and stay.

    Raises: TypeError or ValueError for other arguments.

    Law tested: equal to scikit-learn's multiplicative updates to 1e-12 after several steps; never
    raises the objective; zeros stay; commutes with permutations and positive scalings of the
    atoms. Chapter: ``factorization``.

    >>> X = torch.tensor([[2.0, 4.0], [1.0, 2.0]])
    >>> D, Z = multiplicative_step(X, torch.ones(2, 1), torch.ones(2, 1))
    >>> bool((X - Z @ D.T).abs().max() < 1e-6)
    True
    """
    X, D, Z = _triple(X, dictionary, codes)
    Z = _multiplied(Z, X @ D, _gram("dictionary", D))
    return _multiplied(D, X.T @ Z, _gram("codes", Z)), Z


@torch.no_grad()
def nmf(X: Tensor, rank: int, *, steps: int, seed: int) -> Factors:
    r"""A matrix as the product of two without negative entries: parts that only add up.

        least 1/2 |X - Z D^T|^2 over D >= 0 and Z >= 0

    by :func:`~gdl.factorization.coordinate_step` from a uniformly random start. The objective is
    convex in each factor, not in both: other seeds end at other factors. An atom that is zero or
    that no row uses starts again as the row that is described worst, its codes being zero, which
    leaves the objective as it is.

    Args:
        X: (N, m), float32 or float64, no negative entries, not zero.
        rank: q, the number of atoms, at least 1.
        steps: number of steps, at least 0.
        seed: seeds the start, at least 0.

    Returns:
        Factors with atoms of length 1, which takes the freedom of scaling away, and
        ``1/2 |X - Z D^T|^2`` at the start and after each step.

    Raises: TypeError or ValueError for other arguments.

    Law tested: losses never rise; over four seeds the best loss is that of scikit-learn's NMF to
    1 percent; a product of rank 1 is found exactly; dead atoms come back. Chapter:
    ``factorization``.

    >>> X = torch.tensor([[2.0, 4.0], [1.0, 2.0]])
    >>> factors = nmf(X, 1, steps=5, seed=0)
    >>> factors.dictionary.T, bool(factors.losses[-1] < 1e-10)
    (tensor([[0.4472, 0.8944]]), True)
    """
    X = require.nonnegative("X", require.samples("X", X))
    check.integer("rank", rank, 1)
    check.integer("steps", steps)
    check.integer("seed", seed)
    generator = torch.Generator().manual_seed(seed)
    Z, D = (
        torch.rand(size, rank, dtype=X.dtype, generator=generator).to(X.device) for size in X.shape
    )
    # Products as large as the entries of X: a mean of q products of two numbers of mean 1/2.
    Z = Z * (4 * X.mean() / rank)
    losses = [_loss(X, D, Z)]
    for _ in range(steps):
        D, Z = coordinate_step(X, *_revived(X, D, Z))
        losses.append(_loss(X, D, Z))
    D, Z = _revived(X, D, Z)
    lengths = torch.linalg.vector_norm(D, dim=0)
    return Factors(D / lengths, Z * lengths, tuple(losses))


def _relu(x: Tensor, step: float) -> Tensor:
    """The projection on the orthant, which needs no length of a step."""
    return x.relu()


def _multiplied(factor: Tensor, right: Tensor, gram: Tensor) -> Tensor:
    below = factor @ gram
    ratio = right / torch.where(below > 0, below, 1)
    return torch.where(below > 0, factor * ratio, factor)


def _revived(X: Tensor, D: Tensor, Z: Tensor) -> tuple[Tensor, Tensor]:
    """The factors with dead atoms replaced by the rows that are described worst, unused so far."""
    dead = ((D == 0).all(0) | (Z == 0).all(0)).nonzero()[:, 0]
    if not len(dead):
        return D, Z
    useful = (X > 0).any(1)
    misfit = (X - Z @ D.T).square().sum(1)[useful]
    worst = misfit.argsort(descending=True, stable=True)
    chosen = worst[torch.arange(len(dead), device=X.device) % len(worst)]
    D, Z = D.clone(), Z.clone()
    D[:, dead], Z[:, dead] = X[useful][chosen].T, 0
    return D, Z


def _gram(name: str, F: Tensor) -> Tensor:
    """``F^T F`` if it is finite."""
    gram = F.T @ F
    if check.readable(gram) and not bool(gram.isfinite().all()):
        raise ValueError(f"{name}: expected columns whose products stay finite, got an overflow")
    return gram


def _loss(X: Tensor, D: Tensor, Z: Tensor) -> float:
    return float((X - Z @ D.T).square().sum() / 2)


def _start(start: Tensor, y: Tensor, D: Tensor) -> Tensor:
    start = check.codes("start", start, D)
    wanted = (*y.shape[:-1], D.shape[1])
    if start.shape != wanted:
        raise ValueError(f"start: expected shape {wanted}, got {tuple(start.shape)}")
    return start


def _triple(X: Tensor, dictionary: Tensor, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """X and its factors, if they fit and have no negative entries."""
    X = require.nonnegative("X", require.samples("X", X))
    D = require.factor("dictionary", dictionary, X, X.shape[1], None)
    Z = require.factor("codes", codes, X, X.shape[0], D.shape[1])
    return X, require.nonnegative("dictionary", D), require.nonnegative("codes", Z)
