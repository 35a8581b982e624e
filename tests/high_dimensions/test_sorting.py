"""Comparator networks: the zero-one principle, and shortest programs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gdl.high_dimensions import apply_network, search_sorting_network
from tests.test_representations import refuses

BUBBLE = [(0, 1), (1, 2), (2, 3), (0, 1), (1, 2), (0, 1)]


def all_orders(n: int) -> torch.Tensor:
    return torch.tensor(list(itertools.permutations(range(n))))


def sorts_all(comparators: list[tuple[int, int]], n: int) -> bool:
    """Whether the comparators sort all lists of zeros and ones."""
    x = torch.tensor(list(itertools.product((0, 1), repeat=n)))
    return torch.equal(apply_network(comparators, x), x.sort(dim=1).values)


@pytest.mark.parametrize(("n", "size"), [(1, 0), (2, 1), (3, 3), (4, 5), (5, 9)])
def test_shortest_programs_sort_all_orders(n, size):
    program = search_sorting_network(n)
    assert len(program) == size and all(i < j for i, j in program)
    x = all_orders(n)
    assert torch.equal(apply_network(program, x), x.sort(dim=1).values)
    assert sorts_all(program, n)
    for k in range(size):
        assert not sorts_all(program[:k] + program[k + 1 :], n)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_no_shorter_program_may_break_the_order_of_places(n):
    """A search over what is left of all n! orders, with comparators in both directions."""
    goal = {tuple(range(n))}
    reached, steps = {frozenset(itertools.permutations(range(n)))}, 0
    seen = set(reached)
    while goal not in reached:
        steps += 1
        reached = {
            frozenset(exchanged(order, i, j) for order in orders)
            for orders in reached
            for i, j in itertools.permutations(range(n), 2)
        } - seen
        seen |= reached
    assert steps == len(search_sorting_network(n))


def exchanged(order: tuple[int, ...], i: int, j: int) -> tuple[int, ...]:
    result = list(order)
    result[i], result[j] = sorted((order[i], order[j]))
    return tuple(result)


def test_no_program_of_four_steps_sorts_four():
    pairs = list(itertools.combinations(range(4), 2))
    assert not any(sorts_all(p, 4) for p in itertools.product(pairs, repeat=4))


pair = st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(lambda p: p[0] != p[1])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(pair, max_size=9))
def test_zeros_and_ones_decide_for_all_orders(comparators):
    x = all_orders(4)
    sorts_orders = torch.equal(apply_network(comparators, x), x.sort(dim=1).values)
    assert sorts_all(comparators, 4) == sorts_orders


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool])
def test_a_comparator_moves_the_smaller_to_its_first_place(dtype):
    x = torch.tensor([[1, 0, 1], [0, 1, 0]]).to(dtype)
    assert apply_network([(2, 0)], x).to(torch.int64).tolist() == [[1, 0, 1], [0, 1, 0]]
    assert apply_network([(0, 1)], x).to(torch.int64).tolist() == [[0, 1, 1], [0, 1, 0]]
    assert apply_network([(1, 0)], x).to(torch.int64).tolist() == [[1, 0, 1], [1, 0, 0]]
    assert apply_network([], x).dtype == dtype and x.to(torch.int64)[0].tolist() == [1, 0, 1]


def test_places_may_be_numpy_integers_and_infinity_is_a_number():
    pair = tuple(np.array([0, 1]))
    x = torch.tensor([math.inf, -math.inf])
    assert apply_network([pair], x).tolist() == [-math.inf, math.inf]


def test_any_leading_shape():
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(apply_network(BUBBLE, x), x.sort(dim=-1).values)
    assert apply_network([], torch.zeros(3, 0)).shape == (3, 0)


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (TypeError, "x", lambda: apply_network([], [1.0])),
        (TypeError, "x", lambda: apply_network([], torch.zeros(2, dtype=torch.complex64))),
        (ValueError, "x", lambda: apply_network([], torch.tensor(1.0))),
        (ValueError, "comparators", lambda: apply_network([(0, 3)], torch.zeros(3))),
        (ValueError, "comparators", lambda: apply_network([(-1, 0)], torch.zeros(3))),
        (ValueError, "comparators", lambda: apply_network([(1, 1)], torch.zeros(3))),
        (ValueError, "comparators", lambda: apply_network([(0, 1, 2)], torch.zeros(3))),
        (ValueError, "comparators", lambda: apply_network([(0.0, 1.0)], torch.zeros(3))),
        (ValueError, "comparators", lambda: apply_network([(False, True)], torch.zeros(3))),
        (ValueError, "comparators", lambda: apply_network([0, 1], torch.zeros(3))),
        (TypeError, "comparators", lambda: apply_network(3, torch.zeros(3))),
        (ValueError, "x", lambda: apply_network([], torch.tensor([math.nan, 1.0]))),
        (ValueError, "n", lambda: search_sorting_network(6)),
        (ValueError, "n", lambda: search_sorting_network(0)),
        (TypeError, "n", lambda: search_sorting_network(True)),
        (TypeError, "n", lambda: search_sorting_network(math.pi)),
    ],
)
def test_bad_input_is_named(error, argument, call):
    with refuses(error, argument):
        call()
