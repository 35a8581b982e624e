"""Orbits, stabilisers, Burnside's lemma, classes and subgroups, against sympy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sympy.combinatorics import Permutation, PermutationGroup

from gdl import representations as reps
from gdl.representations import (
    Group,
    Representation,
    burnside,
    conjugacy_classes,
    orbits,
    stabiliser,
)
from gdl.representations.orbits import _joined
from tests.test_representations import FINITE, refuses, tensor

INTRANSITIVE = [
    Group("three orbits", {"a": torch.tensor([1, 0, 2, 4, 5, 3]), "b": torch.arange(6)}),
    reps.direct_product(reps.symmetric(3), reps.cyclic(4)),
    Group(
        "interleaved",
        {"a": torch.tensor([2, 1, 4, 5, 0, 3]), "b": torch.tensor([4, 1, 0, 3, 2, 5])},
    ),
]
GROUPS = FINITE + INTRANSITIVE


def by_sympy(group: Group) -> PermutationGroup:
    return PermutationGroup([Permutation(a.tolist()) for a in group.defining.generators])


def arrays(group: Group, elements: tuple) -> set[tuple[int, ...]]:
    found = {tuple(group.defining.image(g).tolist()) for g in elements}
    assert len(found) == len(elements)
    return found


def colourings(group: Group, colours: int) -> Representation:
    """The group acting on the colourings of its points."""
    n = group.defining.dim
    powers = colours ** torch.arange(n)
    digits = (torch.arange(colours**n)[:, None] // powers) % colours
    images = [(digits[:, p.argsort()] * powers).sum(1) for p in group.defining.generators]
    return Representation(group, images)


# --- orbits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 30, 1000])
@pytest.mark.parametrize("moves", [1, 2, 5])
def test_orbits_are_connected_components(size, moves):
    """Those of SciPy; long cycles and points that stay among them."""
    for seed in range(10):
        generator = np.random.default_rng(seed)
        permutations = [np.arange(size) for _ in range(moves)]
        for p in permutations:
            moved = generator.permutation(size)[: generator.integers(size + 1)]
            p[moved] = np.roll(moved, 1)
        ends = np.tile(np.arange(size), moves), np.concatenate(permutations)
        graph = coo_array((np.ones(size * moves), ends), shape=(size, size))
        _, labels = connected_components(graph, directed=False)
        found = _joined([torch.from_numpy(p) for p in permutations])
        assert found.tolist() == labels.tolist()


def test_orbits_by_hand():
    a, _, c = INTRANSITIVE
    assert orbits(a.defining).tolist() == [0, 0, 1, 2, 2, 2]
    assert orbits(c.defining).tolist() == [0, 1, 0, 2, 0, 2]
    assert orbits(reps.trivial(reps.cyclic(3), 4)).tolist() == [0, 1, 2, 3]
    assert orbits(reps.regular(reps.dihedral(4))).tolist() == [0] * 8
    assert orbits(a.defining).dtype == torch.int64


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_orbits_of_sympy(group):
    labels = orbits(group.defining).tolist()
    ours = {frozenset(i for i, x in enumerate(labels) if x == label) for label in set(labels)}
    theirs = {frozenset(orbit) for orbit in by_sympy(group).orbits()}
    fixed = set(range(group.defining.dim)) - set().union(*theirs, set())
    assert ours == theirs | {frozenset([i]) for i in fixed}
    assert list(dict.fromkeys(labels)) == list(range(len(ours)))


def test_orbits_need_no_enumeration():
    endless = Group("Z", {"t": tensor([[1, 1], [0, 1]])})
    rho = Representation(endless, [torch.tensor([1, 0, 2])])
    assert orbits(rho).tolist() == [0, 0, 1]
    assert int(orbits(reps.symmetric(2000).defining).max()) == 0
    line = reps.cyclic(100_000).defining
    assert int(orbits(line + line).max()) == 1


# --- stabilisers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_stabilisers_of_sympy(group):
    rho, labels = group.defining, orbits(group.defining)
    for point in range(rho.dim):
        found = stabiliser(rho, point)
        theirs = {tuple(p.array_form) for p in by_sympy(group).stabilizer(point).elements}
        assert arrays(group, found) == theirs
        assert len(found) * int((labels == labels[point]).sum()) == group.order
        assert [group.index(g) for g in found] == sorted(group.index(g) for g in found)


def test_stabilisers_of_another_action_than_the_defining_one():
    D4 = reps.dihedral(4)
    diagonals = Representation(D4, [torch.tensor([1, 0]), torch.tensor([0, 1])])
    words = {g.word for g in stabiliser(diagonals, 0)}
    assert len(words) == 4 and () in words and D4.generator(1).word in words
    assert all(sum(abs(a) == 1 for a in word) % 2 == 0 for word in words)


@pytest.mark.parametrize(
    ("point", "error"),
    [(4, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError), (None, TypeError)],
)
def test_a_point_is_an_index(point, error):
    with refuses(error, "point"):
        stabiliser(reps.dihedral(4).defining, point)


# --- Burnside -------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [g for g in GROUPS if g.order <= 128], ids=str)
def test_burnside_counts_orbits(group):
    V = group.defining
    for rho in (V, V + V, V * V):
        assert burnside(rho) == len(orbits(rho).unique())
    assert burnside(V) == len(by_sympy(group).orbits()) + _still(group)


def _still(group: Group) -> int:
    """Points that no generator moves, which sympy does not count as orbits."""
    images = torch.stack(group.defining.generators)
    theirs = set().union(*by_sympy(group).orbits(), set())
    still = (images == torch.arange(group.defining.dim)).all(0).nonzero().flatten().tolist()
    return len(set(still) - theirs)


@pytest.mark.parametrize("n", range(3, 9))
@pytest.mark.parametrize("colours", [2, 3])
def test_necklaces_and_bracelets(n, colours):
    # Polya's enumeration: a permutation with c cycles leaves colours^c colourings alone.
    necklaces = sum(colours ** math.gcd(k, n) for k in range(n)) // n
    mirrors = (
        n * colours ** ((n + 1) // 2)
        if n % 2
        else n // 2 * (colours ** (n // 2) + colours ** (n // 2 + 1))
    )
    assert burnside(colourings(reps.cyclic(n), colours)) == necklaces
    assert burnside(colourings(reps.dihedral(n), colours)) == (necklaces * n + mirrors) // (2 * n)


def test_colourings_under_all_permutations_are_multisets():
    for n, colours in ((4, 2), (4, 3), (5, 2)):
        expected = math.comb(n + colours - 1, n)
        assert burnside(colourings(reps.symmetric(n), colours)) == expected
    # Polya: an even permutation group has as many, as soon as two points have one colour.
    assert burnside(colourings(reps.alternating(4), 2)) == 5
    assert burnside(colourings(reps.alternating(3), 3)) == 11


def test_burnside_finds_what_is_no_representation():
    broken = Representation(reps.cyclic(4), [torch.tensor([1, 2, 0])], check=False)
    with refuses(ValueError, "rho"):
        burnside(broken)


@pytest.mark.parametrize("read", [orbits, burnside, lambda rho: stabiliser(rho, 0)])
def test_permutations_are_asked_for(read):
    turn = reps.circular_irrep(reps.cyclic(4), 1)
    with refuses(ValueError, "rho"):
        read(turn)
    with refuses(ValueError, "rho"):
        read(reps.SO(2).defining)
    for wrong in (turn.group, torch.arange(3), None):
        with refuses(TypeError, "rho"):
            read(wrong)


@pytest.mark.parametrize("read", [burnside, lambda rho: stabiliser(rho, 0)])
def test_finite_groups_are_asked_for(read):
    endless = Group("Z", {"t": tensor([[1, 1], [0, 1]])})
    with refuses(ValueError, "group"):
        read(Representation(endless, [torch.tensor([1, 0])]))


def test_groups_too_large_to_enumerate():
    with refuses(ValueError, "group"):
        burnside(reps.symmetric(9).defining)


# --- conjugacy classes ----------------------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_classes_of_sympy(group):
    ours = {frozenset(arrays(group, c)) for c in conjugacy_classes(group)}
    theirs = by_sympy(group).conjugacy_classes()
    assert ours == {frozenset(tuple(p.array_form) for p in c) for c in theirs}
    central = sum(len(c) == 1 for c in conjugacy_classes(group))
    assert central == by_sympy(group).center().order()


@pytest.mark.parametrize("group", [*GROUPS, reps.quaternion()], ids=str)
def test_order_of_the_classes(group):
    classes = conjugacy_classes(group)
    indices = [[group.index(g) for g in c] for c in classes]
    assert indices[0] == [0] and sorted(sum(indices, [])) == list(range(group.order))
    assert all(c == sorted(c) for c in indices)
    keys = [(len(c), c[0]) for c in indices[1:]]
    assert keys == sorted(keys)


def test_classes_of_matrices():
    sizes = [len(c) for c in conjugacy_classes(reps.quaternion())]
    assert sizes == [1, 1, 2, 2, 2]
    turn = reps.circular_irrep(reps.dihedral(5), 1)
    D5 = Group("D_5 of the plane", dict(zip("rs", turn.generators, strict=True)))
    assert [len(c) for c in conjugacy_classes(D5)] == [1, 2, 2, 5]


def test_classes_of_a_large_group_are_partitions():
    sizes = sorted(len(c) for c in conjugacy_classes(reps.symmetric(7)))
    assert len(sizes) == 15 and sum(sizes) == 5040 and sizes[-1] == 840


# --- subgroups ------------------------------------------------------------------------------------


def test_classes_refuse():
    for wrong in (reps.cyclic(4).defining, None):
        with refuses(TypeError, "group"):
            conjugacy_classes(wrong)
    with refuses(ValueError, "group"):
        conjugacy_classes(reps.O(2))
