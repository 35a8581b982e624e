r"""Sorting programs made of comparators, found by search and proved by the zero-one principle.

Chapter: ``high_dimensions``.
"""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Sequence

import torch
from torch import Tensor

import gdl._checks as check

MOST_SEARCHED = 5

Comparator = tuple[int, int]


def apply_network(comparators: Sequence[Comparator], x: Tensor) -> Tensor:
    r"""Run a list of comparators: ``(i, j)`` puts the smaller entry in place i, the larger in j.

    Args:
        comparators: pairs of different places in 0..n-1.
        x: (..., n), any dtype with an order, no NaN.

    Returns:
        The shape and dtype of x.

    Raises:
        TypeError: no tensor, complex entries, or comparators that are no sequence.
        ValueError: a comparator that is no pair of different places of x, or NaN.

    Law tested: equal to ``torch.sort`` for sorting networks; commutes with increasing functions.
    Source: Knuth, The Art of Computer Programming 3, section 5.3.4. Chapter: ``high_dimensions``.

    >>> apply_network([(0, 1)], torch.tensor([[2.0, 1.0], [1.0, 2.0]])).tolist()
    [[1.0, 2.0], [1.0, 2.0]]
    """
    if not isinstance(x, Tensor) or x.is_complex():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x: expected a tensor with an order, got {got}")
    if not x.ndim:
        raise ValueError("x: expected shape (..., n), got ()")
    if torch.isnan(x).any():
        raise ValueError("x: expected numbers with an order, got NaN")
    columns = list(x.unbind(-1))
    for i, j in _pairs(comparators, len(columns)):
        low, high = torch.minimum(columns[i], columns[j]), torch.maximum(columns[i], columns[j])
        columns[i], columns[j] = low, high
    return torch.stack(columns, -1) if columns else x.clone()


def _pairs(comparators: Sequence[Comparator], n: int) -> list[Comparator]:
    if not isinstance(comparators, Sequence):
        raise TypeError(f"comparators: expected a sequence, got {type(comparators).__name__}")
    for pair in comparators:
        if not _is_pair(pair, n):
            raise ValueError(f"comparators: expected pairs of different places < {n}, got {pair}")
    return list(comparators)


def _is_pair(pair: object, n: int) -> bool:
    return (
        isinstance(pair, Sequence)
        and len(pair) == 2
        and all(isinstance(k, numbers.Integral) and not isinstance(k, bool) for k in pair)
        and all(0 <= k < n for k in pair)
        and pair[0] != pair[1]
    )


def search_sorting_network(n: int) -> tuple[Comparator, ...]:
    r"""A shortest list of comparators that sorts n numbers, by breadth-first search.

    A program is known by what it makes of all lists of 0 and 1; the search goes over these sets, so
    each is reached first by a shortest program. Places ``i < j`` only: the smaller entry to the
    left. A program that breaks this rule can be rewritten to obey it, without another comparator
    (Knuth 3, exercise 5.3.4-16), so none is shorter.

    Raises: TypeError or ValueError unless n is an integer from 1 to 5; the sets multiply quickly.
    Law tested: sizes 0, 1, 3, 5, 9; sorts all n! orders. Source: Knuth 3, section 5.3.4. Chapter:
    ``high_dimensions``.

    >>> search_sorting_network(3)
    ((0, 1), (0, 2), (1, 2))
    """
    check.integer("n", n, 1, MOST_SEARCHED)
    goal = frozenset((2**k - 1) << (n - k) for k in range(n + 1))
    frontier = {frozenset(range(2**n)): ()}
    seen = set(frontier)
    tables = {pair: _on_masks(pair, n) for pair in itertools.combinations(range(n), 2)}
    while goal not in frontier:
        following = {}
        for masks, program in frontier.items():
            for pair, table in tables.items():
                reached = frozenset(table[mask] for mask in masks)
                if reached not in seen:
                    seen.add(reached)
                    following[reached] = (*program, pair)
        frontier = following
    return frontier[goal]


def _on_masks(pair: Comparator, n: int) -> list[int]:
    """What a comparator makes of each list of 0 and 1; bit i of a number is place i."""
    i, j = pair
    exchange = (1 << i) | (1 << j)
    wrong = 1 << i
    return [mask ^ exchange if mask & exchange == wrong else mask for mask in range(2**n)]
