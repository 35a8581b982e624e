r"""One objective, four kinds of codes: sparse, nonnegative, of low rank, one of each row hot.

    F(D, Z) = 1/2 |X - Z D^T|^2 + penalty (g(Z) + h(D))

Chapter: ``factorization``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
from gdl.factorization import _checks as require
from gdl.factorization._sweeps import sweep
from gdl.factorization.nonnegative import Factors
from gdl.sparse_coding.operators import shrink

# Columns of length 1 have this length after rounding.
_LONGEST = 1 + 1e-6


@dataclass(frozen=True)
class Penalty:
    r"""What one factor costs, and its proximal operator.

        prox(u, t) = the F that makes 1/2 |F - u|^2 + t value(F) least

    A constraint costs 0 where it holds and infinity elsewhere; its proximal operator is the
    projection, for every t. The proximal operator is tried on fixed matrices: one that something
    simple beats is refused.

    Args:
        name: for messages.
        prox: maps a matrix and a number of at least 0 to a matrix of the same shape.
        value: maps a matrix to a number of at least 0, or infinity.
        constraint: whether the values are 0 and infinity only.

    Raises:
        TypeError: a name that is no text, functions that are none.
        ValueError: a proximal operator that is beaten, a constraint with other values.

    Law tested: the proximal operators of the room against a search; one with a wrong threshold,
    one that does not project and one that claims a constraint are refused. Chapter:
    ``factorization``.

    >>> L1.prox(torch.tensor([[3.0, -0.5]]), 1.0), L1.value(torch.tensor([[3.0, -0.5]]))
    (tensor([[2., 0.]]), 3.5)
    """

    name: str
    prox: Callable[[Tensor, float], Tensor]
    value: Callable[[Tensor], float]
    constraint: bool = False

    def __post_init__(self):
        if not isinstance(self.name, str):
            raise TypeError(f"name: expected a str, got {type(self.name).__name__}")
        for part in ("prox", "value"):
            if not callable(getattr(self, part)):
                raise TypeError(f"{part}: expected a function, got {getattr(self, part)!r}")
        check.boolean("constraint", self.constraint)
        generator = torch.Generator().manual_seed(0)
        tried = torch.randn(3, 3, 3, dtype=torch.float64, generator=generator)
        for u, step in itertools.product(tried, (0.3, 2.0)):
            best = self.prox(u, step)
            if self.constraint and self.value(best) != 0:
                raise ValueError(f"prox: expected a projection on {self.name}, got {best}")
            # Near the point itself, and far from it.
            others = [best + s * (v - best) for v in tried for s in (1e-3, 0.1, 1.0)]
            others += [s * best for s in (0.0, 0.9, 0.999, 1.001, 1.1)]
            # Points that meet a constraint.
            others += [self.prox(v, step) for v in (*tried, -u, 2 * u)]
            least = min(self._moved(other, u, step) for other in others)
            if self._moved(best, u, step) > least + 1e-12:
                raise ValueError(f"prox: expected the least of {self.name} + a square at {u}")

    def _moved(self, point: Tensor, u: Tensor, step: float) -> float:
        return float((point - u).square().sum()) / 2 + step * self.value(point)


def _vertices(u: Tensor, threshold: float) -> Tensor:
    return torch.zeros_like(u).scatter(-1, u.argmax(-1, keepdim=True), 1.0)


def _short(u: Tensor, threshold: float) -> Tensor:
    """The columns that are longer than 1, cut to this length."""
    return u / torch.linalg.vector_norm(u, dim=0).clamp_min(1.0)


def _costs_nothing(holds: Callable[[Tensor], Tensor]) -> Callable[[Tensor], float]:
    return lambda x: 0.0 if bool(holds(x)) else math.inf


L1 = Penalty("l1 norm", shrink, lambda x: float(x.abs().sum()))
RIDGE = Penalty("half the square", lambda u, t: u / (1 + t), lambda x: float(x.square().sum()) / 2)
ORTHANT = Penalty(
    "no negative entries", lambda u, t: u.relu(), _costs_nothing(lambda x: (x >= 0).all()), True
)
HOT = Penalty(
    "rows with one 1 and else 0",
    _vertices,
    _costs_nothing(lambda x: ((x == 0) | (x == 1)).all() & (x.sum(-1) == 1).all()),
    True,
)
BALL = Penalty(
    "columns of length at most 1",
    _short,
    _costs_nothing(lambda x: (torch.linalg.vector_norm(x, dim=0) <= _LONGEST).all()),
    True,
)
FREE = Penalty("nothing", lambda u, t: u, _costs_nothing(lambda x: torch.tensor(True)), True)


@dataclass(frozen=True)
class CodeKind:
    r"""A kind of codes: what a factorisation asks of its codes, and of its atoms.

    The four of the room and the changes of basis R that leave their objectives as they are,
    ``Z -> Z R`` and ``D -> D R^-T``:

    - ``SPARSE``: the l1 norm of the codes, atoms of length at most 1; the signed permutations.
    - ``NONNEGATIVE``: no negative entries on either side; permutations times positive scalings.
    - ``LOW_RANK``: half the squares of both sides, which at best is the nuclear norm of the
      product; all orthogonal matrices.
    - ``ONE_HOT``: each row of the codes is a vertex of the simplex, any atoms; permutations. It is
      k-means.

    Args:
        name: for messages.
        codes: what the codes cost.
        atoms: what the dictionary costs, a function that adds up over its columns.

    Raises: TypeError where a part is of another type.

    Law tested: the four groups, found among thousands of matrices; each kind against its own
    solver. Chapter: ``factorization``.

    >>> SPARSE.name, SPARSE.weighted, ONE_HOT.weighted
    ('sparse', True, False)
    """

    name: str
    codes: Penalty
    atoms: Penalty

    def __post_init__(self):
        if not isinstance(self.name, str):
            raise TypeError(f"name: expected a str, got {type(self.name).__name__}")
        for part in ("codes", "atoms"):
            if not isinstance(getattr(self, part), Penalty):
                got = type(getattr(self, part)).__name__
                raise TypeError(f"{part}: expected a Penalty, got {got}")

    @property
    def weighted(self) -> bool:
        """Whether the objective has a weight, which constraints have not."""
        return not (self.codes.constraint and self.atoms.constraint)


SPARSE = CodeKind("sparse", L1, BALL)
NONNEGATIVE = CodeKind("nonnegative", ORTHANT, ORTHANT)
LOW_RANK = CodeKind("low rank", RIDGE, RIDGE)
ONE_HOT = CodeKind("one hot", HOT, FREE)


def factorization_objective(
    X: Tensor, dictionary: Tensor, codes: Tensor, kind: CodeKind, penalty: float | None = None
) -> float:
    r"""``1/2 |X - Z D^T|^2 + penalty (g(Z) + h(D))``, infinite where a constraint does not hold.

    Args:
        X: (N, m), float32 or float64.
        dictionary: D, (m, q).
        codes: Z, (N, q).
        kind: g and h.
        penalty: the weight, positive, for the kinds that have one; else None.

    Raises: TypeError or ValueError for other arguments.

    Law tested: each kind by hand; unchanged under its group by
    :func:`~gdl.factorization.change_gauge`. Chapter: ``factorization``.

    >>> X, D, Z = torch.tensor([[3.0]]), torch.tensor([[1.0]]), torch.tensor([[2.0]])
    >>> [factorization_objective(X, D, Z, kind, 0.5) for kind in (SPARSE, LOW_RANK)]
    [1.5, 1.75]
    >>> [factorization_objective(X, D, Z, kind) for kind in (NONNEGATIVE, ONE_HOT)]
    [0.5, inf]
    """
    X, D, weight = _checked(X, dictionary, kind, penalty)
    return _objective(X, D, require.factor("codes", codes, X, len(X), D.shape[1]), kind, weight)


def change_gauge(dictionary: Tensor, codes: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    r"""The same product in another basis of the codes: ``D R^-T`` and ``Z R``.

    Args:
        dictionary: D, (m, q), floating-point.
        codes: Z, (..., q).
        matrix: R, (q, q), invertible.

    Returns:
        The new D and Z; ``Z D^T`` is unchanged.

    Raises: TypeError or ValueError for other arguments, a singular matrix among them.

    Law tested: the product to 1e-12; two changes are the change by the product; all that leaves an
    objective unchanged is the group of its kind. Chapter: ``factorization``.

    >>> change_gauge(torch.tensor([[6.0]]), torch.tensor([[1.0]]), torch.tensor([[2.0]]))
    (tensor([[3.]]), tensor([[2.]]))
    """
    D = check.finite("dictionary", check.floating("dictionary", dictionary))
    if D.ndim != 2 or 0 in D.shape:
        raise ValueError(f"dictionary: expected shape (m, q), not empty, got {tuple(D.shape)}")
    q = D.shape[1]
    Z = check.finite("codes", check.shaped("codes", codes, q))
    R = require.factor("matrix", matrix, D, q, q)
    if Z.dtype != D.dtype or Z.device != D.device:
        raise TypeError(f"codes: expected {D.dtype} on {D.device}, got {Z.dtype} on {Z.device}")
    moved, failed = torch.linalg.solve_ex(R, D.T)
    if bool(failed) or not bool(moved.isfinite().all()):
        raise ValueError("matrix: expected an invertible matrix, got a singular one")
    return moved.T, Z @ R


@torch.no_grad()
def factorize(
    X: Tensor,
    dictionary: Tensor,
    *,
    codes: CodeKind,
    steps: int,
    penalty: float | None = None,
    code_steps: int = 10,
) -> Factors:
    r"""Codes and atoms by turns: one algorithm for every kind of codes.

        Z <- prox_g(Z - (Z D^T - X) D / L),    L the norm of D^T D, repeated
        d_j <- prox_h(d_j + (X - Z D^T)^T z_j / |z_j|^2),    for each atom j in turn

    The codes take steps of proximal gradient descent, the layers that the networks unroll; each
    atom becomes the best one. So no step raises the objective. One-hot codes find the best vertex
    at once: there ``z_j^2 = z_j``, so that the square is a linear function. With each cluster's
    mean as the best atom that is Lloyd's algorithm. An atom without codes stays where it is.

    Args:
        X: (N, m), float32 or float64.
        dictionary: D, (m, q), the first atoms, within the constraint of their kind.
        codes: the kind of codes.
        steps: number of alternations, at least 0.
        penalty: the weight, positive, for the kinds that have one; else None.
        code_steps: steps of proximal gradient descent on the codes in each alternation. The first
            codes, which come before the first alternation, start at 0.

    Returns:
        The factors, and the objective at the first codes and after each alternation.

    Raises: TypeError or ValueError for other arguments.

    Law tested: the objective never rises; sparse codes are those of scikit-learn's Lasso and
    lose no more than its dictionary learning; nonnegative factors reach the loss of scikit-learn's
    NMF; products of low rank are singular values, soft-thresholded; one-hot codes follow
    scikit-learn's KMeans from step to step. Chapter: ``factorization``.

    >>> X = torch.tensor([[0.0], [1.0], [10.0]])
    >>> found = factorize(X, torch.tensor([[0.0, 1.0]]), codes=ONE_HOT, steps=3)
    >>> found.dictionary, found.losses[-1]
    (tensor([[ 0.5000, 10.0000]]), 0.25)
    """
    X, D, weight = _checked(X, dictionary, codes, penalty)
    if codes.atoms.value(D) == math.inf:
        raise ValueError(f"dictionary: expected {codes.atoms.name}, got atoms that do not fit")
    check.integer("steps", steps)
    check.integer("code_steps", code_steps, 1)
    Z = _coded(X, D, X.new_zeros(len(X), D.shape[1]), codes, weight, code_steps)
    losses = [_objective(X, D, Z, codes, weight)]
    for _ in range(steps):
        D = sweep(D, X.T @ Z, Z.T @ Z, lambda u, step: codes.atoms.prox(u, weight * step))
        Z = _coded(X, D, Z, codes, weight, code_steps)
        losses.append(_objective(X, D, Z, codes, weight))
    return Factors(D, Z, tuple(losses))


def _coded(X: Tensor, D: Tensor, Z: Tensor, kind: CodeKind, weight: float, steps: int) -> Tensor:
    """Codes no worse than Z for these atoms."""
    if kind.codes is HOT:
        # Seen from the middle of the atoms, which is the same for all, no digits cancel.
        origin = D.mean(1)
        atoms = D - origin[:, None]
        return HOT.prox((X - origin) @ atoms - atoms.square().sum(0) / 2, weight)
    gram, right = D.T @ D, X @ D
    L = float(torch.linalg.matrix_norm(gram, 2))
    for _ in range(steps if L > 0 else 0):
        Z = kind.codes.prox(Z - (Z @ gram - right) / L, weight / L)
    return Z


def _objective(X: Tensor, D: Tensor, Z: Tensor, kind: CodeKind, weight: float) -> float:
    costs = kind.codes.value(Z), kind.atoms.value(D)
    if math.inf in costs:
        return math.inf
    return float((X - Z @ D.T).square().sum()) / 2 + weight * sum(costs)


def _checked(
    X: Tensor, dictionary: Tensor, kind: CodeKind, penalty: float | None
) -> tuple[Tensor, Tensor, float]:
    """X and its dictionary, if they fit, and the weight of the objective."""
    X = require.samples("X", X)
    D = require.factor("dictionary", dictionary, X, X.shape[1], None)
    if not isinstance(kind, CodeKind):
        raise TypeError(f"codes: expected a CodeKind, got {type(kind).__name__}")
    if kind.weighted:
        return X, D, check.penalty("penalty", penalty)
    if penalty is not None:
        raise ValueError(f"penalty: expected None, {kind.name} codes have none, got {penalty!r}")
    return X, D, 0.0
