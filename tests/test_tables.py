"""Multiplication tables: from groups, to groups, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gdl import representations as reps
from gdl.representations import Group, associator_defects, from_table, multiplication_table
from tests.test_representations import FINITE, refuses, tensor

SMALL = [group for group in FINITE if group.order <= 72] + [reps.quaternion()]
# A Latin square with an identity that is no group: 1 1 = 0 would be a subgroup of two in five.
LOOP = [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]]


def minus(n: int) -> Tensor:
    return (torch.arange(n)[:, None] - torch.arange(n)) % n


def plus(n: int) -> Tensor:
    return (torch.arange(n)[:, None] + torch.arange(n)) % n


def defects_one_by_one(table: list[list[int]]) -> int:
    triples = itertools.product(range(len(table)), repeat=3)
    return sum(table[table[a][b]][c] != table[a][table[b][c]] for a, b, c in triples)


# --- from groups ----------------------------------------------------------------------------------


def test_by_hand():
    assert multiplication_table(reps.cyclic(1)).tolist() == [[0]]
    V4 = multiplication_table(reps.translations(2, 2))
    assert V4.tolist() == [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]
    S3 = reps.symmetric(3)
    swap, cycle = S3.index(S3.generator(0)), S3.index(S3.generator(1))
    table = multiplication_table(S3)
    assert table[swap, cycle] != table[cycle, swap] and table[swap, swap] == 0
    assert table.dtype == torch.int64


@pytest.mark.parametrize("group", SMALL, ids=str)
def test_every_entry_is_the_product_of_two_words(group):
    table, elements = multiplication_table(group), group.elements()
    for i, g in enumerate(elements):
        assert table[i].tolist() == [group.index(g * h) for h in elements]


@pytest.mark.parametrize("group", SMALL, ids=str)
def test_a_group_has_no_defect(group):
    assert associator_defects(multiplication_table(group)) == 0


def test_large_groups():
    table = multiplication_table(reps.cyclic(2000))
    assert table.shape == (2000, 2000) and bool((table.sort(1).values == torch.arange(2000)).all())
    with refuses(ValueError, "group"):
        multiplication_table(reps.cyclic(2001))
    with refuses(ValueError, "group"):
        multiplication_table(reps.SO(2))
    with refuses(ValueError, "group"):
        multiplication_table(Group("Z", {"t": tensor([[1, 1], [0, 1]])}))
    with refuses(TypeError, "group"):
        multiplication_table(plus(3))


# --- defects --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 9))
def test_defects_of_subtraction(n):
    # (a - b) - c = a - (b - c) exactly if 2c = 0.
    zero = 2 if n % 2 == 0 else 1
    assert associator_defects(minus(n)) == n * n * (n - zero)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(0, n - 1), min_size=n, max_size=n), min_size=n, max_size=n
        )
    )
)
def test_defects_one_by_one(table):
    assert associator_defects(table) == defects_one_by_one(table)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(0, n - 1), min_size=n, max_size=n), min_size=n, max_size=n
        )
    )
)
def test_a_table_is_taken_exactly_if_it_is_a_group(table):
    n = range(len(table))
    neutral = [e for e in n if all(table[e][a] == a == table[a][e] for a in n)]
    undone = all(any(table[a][b] == table[b][a] == e for b in n) for e in neutral for a in n)
    if neutral and undone and defects_one_by_one(table) == 0:
        assert from_table(table).order == len(table)
    else:
        with refuses(ValueError, "table"):
            from_table(table)


# --- to groups ------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", SMALL, ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_table_of_the_group_of_a_table_is_that_table(group, seed):
    table = multiplication_table(group)
    p = torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))
    renumbered = p[table[p.argsort()][:, p.argsort()]]
    identity = int(p[0])
    copy = from_table(renumbered, name="copy")
    assert copy.name == "copy" and copy.order == group.order
    # The element that moves the identity to a point has the number of that point.
    number = torch.tensor([int(copy.defining.image(g)[identity]) for g in copy.elements()])
    assert torch.equal(number[multiplication_table(copy)], renumbered[number][:, number])
    for name, image in zip(copy.generator_names, copy.defining.generators, strict=True):
        assert torch.equal(image, renumbered[int(name[1:])])


def test_generators_are_few():
    assert from_table(plus(12)).generator_names == ("g1",)
    D7 = reps.dihedral(7)
    expected = tuple(f"g{D7.index(D7.generator(i))}" for i in range(2))
    assert from_table(multiplication_table(D7)).generator_names == expected
    bits = torch.arange(16)[:, None] ^ torch.arange(16)
    assert from_table(bits).generator_names == ("g1", "g2", "g4", "g8")
    assert from_table([[0]]).order == 1 and from_table([[0]]).generator_names == ("g0",)
    shifted = (torch.arange(4)[:, None] + torch.arange(4) + 1) % 4  # the identity is 3
    assert from_table(shifted).generator_names == ("g0",)


@pytest.mark.parametrize(
    "table",
    [
        plus(3).numpy(),
        plus(3).tolist(),
        plus(3).to(torch.int32),
        np.array(plus(3).tolist(), dtype=np.uint8),
    ],
    ids=repr,
)
def test_arrays_and_lists_are_tables_too(table):
    assert from_table(table).order == 3 and associator_defects(table) == 0


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (minus(8), "an identity, got none: a 0 = a for every a, but 0 1 = 7"),
        (minus(8).T, "an identity, got none: 0 a = a for every a, but 1 0 = 7"),
        ((2 * plus(3)) % 3, "an identity, got none: no row and no column reads"),
        ([[1, 1], [1, 1]], "an identity, got none: no row and no column reads"),
        ([[0, 1, 2], [1, 0, 1], [2, 2, 0]], "inverses, got row 1 with 1 in columns 0 and 2"),
        ([[0, 1], [1, 1]], "inverses, got row 1 with 1 in columns 0 and 1"),
        ([[0, 1, 2], [1, 0, 2], [2, 1, 0]], "inverses, got column 1 with 1 in rows 0 and 2"),
        (LOOP, "associativity, got (1 1) 2 = 2 but 1 (1 2) = 4"),
        ([[0, 1], [1, 2]], "closure, entries in 0..1, got 1 1 = 2"),
        ([[0, -1], [1, 0]], "closure, entries in 0..1, got 0 1 = -1"),
    ],
    ids=str,
)
def test_the_axiom_that_fails_is_named(table, message):
    with refuses(ValueError, "table") as caught:
        from_table(table)
    assert f"expected {message}" in str(caught.value)


def test_the_witness_of_associativity_is_true():
    table = LOOP
    assert table[table[1][1]][2] == 2 and table[1][table[1][2]] == 4


@pytest.mark.parametrize("read", [from_table, associator_defects])
@pytest.mark.parametrize(
    ("table", "error"),
    [
        (torch.zeros(2, 3, dtype=torch.int64), ValueError),
        (torch.zeros(3, dtype=torch.int64), ValueError),
        (torch.zeros(0, 0, dtype=torch.int64), ValueError),
        (torch.zeros(1, 1, 1, dtype=torch.int64), ValueError),
        (torch.zeros(1, 1), ValueError),
        (torch.zeros(1, 1, dtype=torch.bool), ValueError),
        (torch.zeros(1, 1, dtype=torch.complex64), ValueError),
        ([[0, 1], [1]], ValueError),
        ([], ValueError),
        ([["a"]], ValueError),
        (np.array([[None]]), ValueError),
        (plus(1001), ValueError),
        (None, TypeError),
        ("table", TypeError),
        (3, TypeError),
        (reps.cyclic(3), TypeError),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_table(read, table, error):
    with refuses(error, "table"):
        read(table)


def test_a_name_is_text():
    with refuses(TypeError, "name"):
        from_table(plus(2), name=2)
