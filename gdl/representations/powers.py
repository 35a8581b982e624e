r"""Powers: how a group acts on tensors, and on the polynomials of its variables.

Chapters: ``rotations``, ``graphs``.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter

import torch
from torch import Tensor

import gdl._checks as check
from gdl.representations.core import Representation, _require_group
from gdl.representations.images import _as_matrix, _positive
from gdl.representations.standard import trivial

MOST_MONOMIALS = 6000
MOST_ENTRIES, MOST_ORDER = 10**8, 1000


def tensor_power(rho: Representation, order: int) -> Representation:
    r"""The representation on tensors of an order, ``rho * rho * ... * rho``; order 0 is trivial.

    For the permutations of n points ``(p T)[p(i_1), ..., p(i_k)] = T[i_1, ..., i_k]``, tensors in
    row-major order.

    Args:
        rho: for instance ``symmetric(n).defining``.
        order: k, at least 0.

    Raises: TypeError if ``rho`` is no Representation; TypeError or ValueError for other orders, or
    tensors of more than 10^8 entries.
    Law tested: permuting all axes of a tensor. Chapter: ``graphs``.

    >>> from gdl.representations import symmetric
    >>> tensor_power(symmetric(4).defining, 3).dim
    64
    """
    if not isinstance(rho, Representation):
        raise TypeError(f"rho: expected a Representation, got {type(rho).__name__}")
    check.integer("order", order)
    # A representation of dimension 1 has tensors of one entry, whatever the order.
    if order > MOST_ORDER or rho.dim**order > MOST_ENTRIES:
        raise ValueError(
            f"order: expected tensors of at most {MOST_ENTRIES} entries, got order {order} in "
            f"dimension {rho.dim}"
        )
    if order == 0:
        return trivial(rho.group)
    return functools.reduce(lambda power, _: power * rho, range(order - 1), rho)


def symmetric_power(rho: Representation, degree: int) -> Representation:
    r"""The representation Sym^k on symmetric tensors of rank k, that is on monomials of degree k.

    The basis is ``sqrt(k! / a!) x^a`` for the multi-indices a with ``|a| = k``, so that the power
    of an orthogonal representation is orthogonal. Equivariant polynomial maps of degree k from rho
    to another representation are the equivariant linear maps from Sym^k rho to it.

    Args:
        rho: of dimension d.
        degree: k, at least 0; degree 0 is the trivial representation.

    Returns:
        A representation of dimension ``binom(d + k - 1, k)``, at most 6000.

    Raises: TypeError for other types; ValueError for a degree below 0 or too many monomials.
    Law tested: ``Sym^k(rho)(g) v(x) = v(rho(g) x)`` on the monomials v of degree k; Molien's series
    counts its invariants. Source: Fulton and Harris 1991. Chapter: ``rotations``.

    >>> from gdl.representations import SO
    >>> symmetric_power(SO(3).defining, 2).dim
    6
    """
    if not isinstance(rho, Representation):
        raise TypeError(f"rho: expected a Representation, got {type(rho).__name__}")
    _require_group("group", rho.group)
    _positive("degree", degree, least=0)
    count = math.comb(rho.dim + degree - 1, degree)
    if count > MOST_MONOMIALS:
        raise ValueError(
            f"degree: expected at most {MOST_MONOMIALS} monomials, got {count} of degree {degree} "
            f"in {rho.dim} variables"
        )
    if degree == 0:
        return trivial(rho.group)
    generators = [_power(_as_matrix(image), degree) for image in rho.generators]
    algebra = [_derivation(X, degree) for X in rho.algebra]
    return Representation(rho.group, generators, algebra, name=f"Sym^{degree} of {rho.name}")


def _monomials(variables: int, degree: int) -> list[tuple[int, ...]]:
    return list(itertools.combinations_with_replacement(range(variables), degree))


def _lengths(variables: int, degree: int) -> Tensor:
    """``sqrt(k! / a!)`` for each monomial: the length of its symmetrised tensor."""
    repeats = [Counter(m).values() for m in _monomials(variables, degree)]
    counts = [math.factorial(degree) / math.prod(map(math.factorial, r)) for r in repeats]
    return torch.tensor(counts, dtype=torch.float64).sqrt()


def _times(variables: int, degree: int) -> list[Tensor]:
    """For each variable, where it takes each monomial of degree k - 1."""
    place = {m: at for at, m in enumerate(_monomials(variables, degree))}
    return [
        torch.tensor([place[tuple(sorted((*m, j)))] for m in _monomials(variables, degree - 1)])
        for j in range(variables)
    ]


def _power(A: Tensor, degree: int) -> Tensor:
    """The matrix of the substitution x -> A x on monomials: row a is ``(A x)^a``."""
    n, power = len(A), torch.ones(1, 1, dtype=torch.float64)
    for k in range(1, degree + 1):
        times, place = _times(n, k), {m: at for at, m in enumerate(_monomials(n, k - 1))}
        rows = []
        for first, *rest in _monomials(n, k):
            row = torch.zeros(math.comb(n + k - 1, k), dtype=torch.float64)
            for j in range(n):
                row.index_add_(0, times[j], A[first, j] * power[place[tuple(rest)]])
            rows.append(row)
        power = torch.stack(rows)
    lengths = _lengths(n, degree)
    return lengths[:, None] * power / lengths


def _derivation(X: Tensor, degree: int) -> Tensor:
    """d/dt of ``_power(exp(t X))`` at 0: each factor of a monomial moves in turn."""
    n, monomials = len(X), _monomials(len(X), degree)
    place = {m: at for at, m in enumerate(monomials)}
    moves = [(i, j) for i in range(n) for j in range(n) if X[i, j] != 0]
    matrix = torch.zeros(len(monomials), len(monomials), dtype=torch.float64)
    for row, monomial in enumerate(monomials):
        counts = Counter(monomial)
        for i, j in moves:
            if counts[i]:
                rest = list(monomial)
                rest[rest.index(i)] = j
                matrix[row, place[tuple(sorted(rest))]] += counts[i] * X[i, j]
    lengths = _lengths(n, degree)
    return lengths[:, None] * matrix / lengths
