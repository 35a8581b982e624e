"""Irreps discovered from one random matrix, against published tables."""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gdl import representations as reps
from gdl.equivariance import equivariant_basis
from gdl.representations import (
    Group,
    Representation,
    character_table,
    conjugacy_classes,
    decompose,
    frobenius_schur,
    irreps,
    regular,
    reynolds,
)
from gdl.representations.irreps import (
    _aligned,
    _eigenspaces,
    _require_block_diagonal,
    _summand,
)
from gdl.representations.orbits import _class_indices
from tests.test_averaging import skewed
from tests.test_representations import close, random, refuses, tensor

TIGHT = 1e-10
Z5, D4, D5, Q8 = reps.cyclic(5), reps.dihedral(4), reps.dihedral(5), reps.quaternion()
S3, S4, A4, A5 = reps.symmetric(3), reps.symmetric(4), reps.alternating(4), reps.alternating(5)
GROUPS = [
    reps.cyclic(1),
    reps.cyclic(2),
    Z5,
    reps.cyclic(6),
    S3,
    D4,
    D5,
    Q8,
    A4,
    S4,
    A5,
    reps.translations(2, 2, 2),
    reps.plane_group("p4", 3),
    reps.direct_product(Q8, reps.cyclic(3)),
    reps.direct_product(Q8, Q8),
    reps.direct_product(S3, reps.cyclic(4)),
]
NORMS = {"real": 1, "complex": 2, "quaternionic": 4}
INDICATORS = {"real": 1, "complex": 0, "quaternionic": -2}
GOLDEN = (1 + math.sqrt(5)) / 2
R, C, H = "real", "complex", "quaternionic"


def block_error(rho: Representation, parts: tuple) -> float:
    """The largest entry of ``basis^-1 rho(g) basis - blocks`` over random words."""
    basis = torch.cat([part.basis for part in parts], 1)
    worst = 0.0
    for g in rho.group.random(4):
        copies = [torch.kron(torch.eye(p.multiplicity).double(), p.irrep(g)) for p in parts]
        blocks = torch.block_diag(*copies)
        found = torch.linalg.solve(basis, rho(g) @ basis)
        worst = max(worst, float((found - blocks).abs().max()))
    return worst


# --- published tables -----------------------------------------------------------------------------

# Rows: dimension, Schur type, then the character by the classes named above, each by its size and
# the order of its elements. Serre 1977, chapter 5; Fulton and Harris 1991, lectures 2 and 3. Rows
# of complex irreps are added to their conjugates; the complex row of Q_8 is doubled.
TABLES = {
    "S_3": (S3, [(1, 1), (3, 2), (2, 3)], [(R, 1, 1, 1), (R, 1, -1, 1), (R, 2, 0, -1)]),
    "A_4": (
        A4,
        [(1, 1), (3, 2), (4, 3), (4, 3)],
        [(R, 1, 1, 1, 1), (C, 2, 2, -1, -1), (R, 3, -1, 0, 0)],
    ),
    "S_4": (
        S4,
        [(1, 1), (6, 2), (3, 2), (8, 3), (6, 4)],
        [
            (R, 1, 1, 1, 1, 1),
            (R, 1, -1, 1, 1, -1),
            (R, 2, 0, 2, -1, 0),
            (R, 3, 1, -1, 0, -1),
            (R, 3, -1, -1, 0, 1),
        ],
    ),
    "A_5": (
        A5,
        [(1, 1), (15, 2), (20, 3), (12, 5), (12, 5)],
        [
            (R, 1, 1, 1, 1, 1),
            (R, 3, -1, 0, GOLDEN, 1 - GOLDEN),
            (R, 3, -1, 0, 1 - GOLDEN, GOLDEN),
            (R, 4, 0, 1, -1, -1),
            (R, 5, 1, -1, 0, 0),
        ],
    ),
    "D_4": (
        D4,
        [(1, 1), (1, 2), (2, 4), (2, 2), (2, 2)],
        [
            (R, 1, 1, 1, 1, 1),
            (R, 1, 1, 1, -1, -1),
            (R, 1, 1, -1, 1, -1),
            (R, 1, 1, -1, -1, 1),
            (R, 2, -2, 0, 0, 0),
        ],
    ),
    "Q_8": (
        Q8,
        [(1, 1), (1, 2), (2, 4), (2, 4), (2, 4)],
        [
            (R, 1, 1, 1, 1, 1),
            (R, 1, 1, 1, -1, -1),
            (R, 1, 1, -1, 1, -1),
            (R, 1, 1, -1, -1, 1),
            (H, 4, -4, 0, 0, 0),
        ],
    ),
    "D_5": (
        D5,
        [(1, 1), (2, 5), (2, 5), (5, 2)],
        [
            (R, 1, 1, 1, 1),
            (R, 1, 1, 1, -1),
            (R, 2, GOLDEN - 1, -GOLDEN, 0),
            (R, 2, -GOLDEN, GOLDEN - 1, 0),
        ],
    ),
    "Z_5": (
        Z5,
        [(1, 1), (1, 5), (1, 5), (1, 5), (1, 5)],
        [
            (R, 1, 1, 1, 1, 1),
            (C, 2, GOLDEN - 1, GOLDEN - 1, -GOLDEN, -GOLDEN),
            (C, 2, -GOLDEN, -GOLDEN, GOLDEN - 1, GOLDEN - 1),
        ],
    ),
}


def order_of(group: Group, g: reps.Element) -> int:
    power, count = g, 1
    while group.index(power):
        power, count = power * g, count + 1
    return count


@pytest.mark.parametrize("name", TABLES)
def test_published_character_tables(name):
    group, columns, rows = TABLES[name]
    table = character_table(group)
    ours = [
        (size, order_of(group, g))
        for size, g in zip(table.sizes, table.representatives, strict=True)
    ]
    assert sorted(ours) == sorted(columns) and table.values.dtype == torch.float64
    found = {
        (kind, *(round(x, 9) + 0.0 for x in row))
        for kind, row in zip(table.schur_types, table.values.tolist(), strict=True)
    }
    # Classes of one size and order may stand in any order: one renaming must fit all rows.
    fits = [
        {(kind, *(round(row[k], 9) + 0.0 for k in p)) for kind, *row in rows} == found
        for p in itertools.permutations(range(len(columns)))
        if [columns[k] for k in p] == ours
    ]
    assert any(fits) and table.dims == tuple(round(x) for x in table.values[:, 0].tolist())


# --- laws of every table --------------------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_laws_of_character_tables(group):
    table = character_table(group)
    values, sizes = table.values, torch.tensor(table.sizes).double()
    norms = torch.tensor([NORMS[kind] for kind in table.schur_types]).double()
    assert close(values @ torch.diag(sizes / group.order) @ values.T, torch.diag(norms), TIGHT)
    # Columns: the sum over real rows of chi chi / norm counts pairs up to inversion.
    inverse = {
        c: i for i, members in enumerate(conjugacy_classes(group)) for c in _at(group, members)
    }
    same = torch.zeros(len(sizes), len(sizes), dtype=torch.float64)
    for i, g in enumerate(table.representatives):
        centraliser = group.order / table.sizes[i]
        for j in {i, inverse[group.index(g.inverse())]}:
            same[i, j] = centraliser / (1 if inverse[group.index(g.inverse())] == i else 2)
    assert close(values.T @ torch.diag(1 / norms) @ values, same, TIGHT * group.order)
    assert sum(d * d / NORMS[k] for d, k in zip(table.dims, table.schur_types, strict=True)) == (
        group.order
    )
    pairs = {frozenset((inverse[i], inverse[_inverse(group, i)])) for i in range(group.order)}
    assert len(table.dims) == len(pairs)
    assert close(values[0], torch.ones(len(sizes)).double(), TIGHT)


def _at(group: Group, members: tuple) -> list[int]:
    return [group.index(g) for g in members]


def _inverse(group: Group, i: int) -> int:
    return group.index(group.elements()[i].inverse())


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_irreps_are_irreps(group):
    table, found = character_table(group), irreps(group)
    assert tuple(rho.dim for rho in found) == table.dims == tuple(sorted(table.dims))
    for rho, kind, row in zip(found, table.schur_types, table.values, strict=True):
        one = torch.eye(rho.dim, dtype=torch.float64)
        g = group.random(1)[0]
        assert close(rho(g).T @ rho(g), one, TIGHT) and rho.relation_error() < TIGHT
        assert frobenius_schur(rho) == INDICATORS[kind]
        assert len(equivariant_basis(rho, rho)) == NORMS[kind]
        characters = [rho.character(g) for g in table.representatives]
        assert close(row, tensor(characters), TIGHT)
    for a, b in itertools.combinations(found, 2):
        assert len(equivariant_basis(a, b)) == 0


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_no_seed_changes_characters_or_their_order(group):
    values = character_table(group).values
    representatives = character_table(group).representatives
    for seed in (1, 2):
        rows = [[rho.character(g) for g in representatives] for rho in irreps(group, seed)]
        assert close(tensor(rows), values, TIGHT)


@pytest.mark.parametrize("n", range(3, 9))
def test_irreps_of_polygons_are_the_circular_ones(n):
    group = reps.dihedral(n)
    known = [reps.circular_irrep(group, m) for m in range(1, (n + 1) // 2)]
    signs = (0,) if n % 2 else (0, n // 2)
    known += [reps.circular_irrep(group, m, parity) for m in signs for parity in (1, -1)]
    table = character_table(group)
    expected = sorted(tuple(round(k.character(g), 6) for g in table.representatives) for k in known)
    assert sorted(tuple(round(x, 6) for x in row) for row in table.values.tolist()) == expected


# --- decompositions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (S3, {1: 2, 2: 2}),
        (D4, {1: 4, 2: 2}),
        (A4, {1: 1, 2: 1, 3: 3}),
        (S4, {1: 2, 2: 2, 3: 6}),
        (Q8, {1: 4, 4: 1}),
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_multiplicities_of_the_random_matrix(group, expected, seed):
    rho = regular(group)
    W = (
        random(group.order, group.order)
        if seed == 0
        else torch.randn(
            group.order, group.order, generator=torch.Generator().manual_seed(seed)
        ).double()
    )
    values = torch.linalg.eigvalsh(reynolds(W + W.T, rho, rho))
    sizes = torch.unique(torch.round(values, decimals=8), return_counts=True)[1].tolist()
    assert {d: sizes.count(d) for d in set(sizes)} == expected
    parts: dict[int, int] = {}
    for part in decompose(rho, seed):
        parts[part.irrep.dim] = parts.get(part.irrep.dim, 0) + part.multiplicity
    assert parts == expected


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_regular_representation_is_block_diagonal(group, seed):
    rho = regular(group)
    parts = decompose(rho, seed)
    basis = torch.cat([part.basis for part in parts], 1)
    assert close(basis.T @ basis, torch.eye(group.order).double(), TIGHT)
    assert block_error(rho, parts) < TIGHT
    for part in parts:
        assert part.multiplicity * NORMS[part.schur_type] == part.irrep.dim
        assert part.basis.shape == (rho.dim, part.multiplicity * part.irrep.dim)


@pytest.mark.parametrize(
    "rho",
    [
        S4.defining * S4.defining,
        3 * D4.defining + reps.trivial(D4),
        2 * Q8.defining,
        3 * reps.circular_irrep(Z5, 1) + Z5.defining,
        reps.trivial(S3, 4),
        A4.defining * A4.defining,
        S3.defining.determinant,
    ],
    ids=str,
)
@pytest.mark.parametrize("skew", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_copies_are_aligned(rho, skew, seed):
    rho = skewed(rho, seed) if skew else rho
    parts = decompose(rho, seed)
    assert block_error(rho, parts) < TIGHT
    assert sum(part.multiplicity * part.irrep.dim for part in parts) == rho.dim
    for part in parts:
        # The multiplicity by characters: a second route.
        group = rho.group
        mean = sum(part.irrep.character(g) * rho.character(g) for g in group.elements())
        assert round(mean / group.order) == part.multiplicity * NORMS[part.schur_type]
        across = torch.linalg.pinv(part.basis)
        g = group.random(1)[0]
        copies = torch.kron(torch.eye(part.multiplicity).double(), part.irrep(g))
        assert close(across @ rho(g) @ part.basis, copies, TIGHT)
        if not skew:
            assert close(across, part.basis.T, TIGHT)
    keys = [part.irrep.dim for part in parts]
    assert keys == sorted(keys)


def test_decompositions_by_hand():
    parts = decompose(S4.defining * S4.defining)
    found = [(p.irrep.dim, p.multiplicity, p.schur_type) for p in parts]
    assert found == [(1, 2, R), (2, 1, R), (3, 3, R), (3, 1, R)]
    (part,) = decompose(2 * Q8.defining)
    assert (part.irrep.dim, part.multiplicity, part.schur_type) == (4, 2, H)
    (part,) = decompose(reps.trivial(S3, 4))
    assert (part.irrep.dim, part.multiplicity, part.schur_type) == (1, 4, R)
    assert close(part.irrep.generators[0], tensor([[1]]), TIGHT)
    (part,) = decompose(S3.defining.determinant)
    assert close(part.irrep.generators[0], tensor([[-1]]), TIGHT)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([S3, D4, Q8, A4]),
    st.lists(st.integers(0, 2), min_size=5, max_size=5),
    st.integers(0, 2),
)
def test_what_is_put_together_is_found_again(group, copies, seed):
    known = irreps(group)
    chosen = [(i, n) for i, n in enumerate(copies[: len(known)]) if n]
    if not chosen:
        return
    rho = sum((n * known[i] for i, n in chosen[1:]), start=chosen[0][1] * known[chosen[0][0]])
    parts = decompose(skewed(rho, seed), seed)
    assert [p.multiplicity for p in parts] == [n for _, n in chosen]
    assert [p.irrep.dim for p in parts] == [known[i].dim for i, _ in chosen]


def test_frobenius_schur_counts_square_roots_of_one():
    for group in GROUPS:
        roots = sum(group.index(g * g) == 0 for g in group.elements())
        assert frobenius_schur(regular(group)) == roots
    assert frobenius_schur(reps.trivial(S3, 3)) == 3
    assert frobenius_schur(skewed(Q8.defining)) == -2


# --- limits and wrong input -----------------------------------------------------------------------


def test_close_eigenvalues_are_not_decided():
    assert [space.shape[1] for space in _eigenspaces(torch.diag(tensor([1, 1, 2])))] == [2, 1]
    assert [space.shape[1] for space in _eigenspaces(torch.zeros(1, 1).double())] == [1]
    cases = ((1e-13, [2, 1]), (1e-7, [1, 1, 1]))
    for (gap, sizes), scale in itertools.product(cases, (1e-6, 1, 1e6)):
        found = _eigenspaces(scale * torch.diag(tensor([1, 1 + gap, 2])))
        assert [space.shape[1] for space in found] == sizes
    for gap in (1e-10, 1e-9):
        with refuses(ValueError, "seed"):
            _eigenspaces(torch.diag(tensor([1, 1 + gap, 2])))


def test_a_reducible_eigenspace_is_refused():
    classes = _class_indices(S3)
    one = torch.eye(3, dtype=torch.float64)
    with refuses(ValueError, "seed"):
        _summand(S3.defining, one, [one], classes)


def test_an_embedding_is_cleaned_of_rounding():
    (line, plane) = decompose(S3.defining)
    for start in (plane.basis + 1e-3 * line.basis, 3 * plane.basis + 1e-3 * line.basis):
        embedding = _aligned(start, plane.irrep, S3.defining)
        assert close(embedding, plane.basis, TIGHT)


def test_parts_that_do_not_fit_are_refused():
    rho = S4.defining
    (line, space) = decompose(rho)
    _require_block_diagonal(rho, [line, space])
    spoilt = [
        replace(space, basis=space.basis.flip(1)),
        replace(space, basis=2 * space.basis),
        replace(space, basis=space.basis * math.nan),
        replace(space, irrep=irreps(S4)[4]),
    ]
    for wrong in spoilt:
        with refuses(ValueError, "rho"):
            _require_block_diagonal(rho, [line, wrong])


def test_a_decomposition_is_checked_before_it_is_handed_out(monkeypatch):
    # The function irreps hides the module of that name from an import.
    module = sys.modules["gdl.representations.irreps"]
    monkeypatch.setattr(module, "_aligned", lambda start, irrep, rho: 2 * start)
    with refuses(ValueError, "rho"):
        decompose(S3.defining)


@pytest.mark.slow
@pytest.mark.parametrize("group", [reps.plane_group("p4m", 8), reps.dihedral(256)], ids=str)
def test_the_largest_groups(group):
    assert group.order == 512
    table = character_table(group)
    squares = [d * d / NORMS[k] for d, k in zip(table.dims, table.schur_types, strict=True)]
    assert sum(squares) == 512
    weights = torch.diag(torch.tensor(table.sizes).double() / 512)
    gram = table.values @ weights @ table.values.T
    assert close(gram, torch.diag(gram.diagonal()), TIGHT)


def test_larger_groups_are_refused():
    with refuses(ValueError, "group"):
        irreps(reps.cyclic(513))
    with refuses(ValueError, "group"):
        character_table(reps.symmetric(6))
    with refuses(ValueError, "rho"):
        decompose(reps.trivial(S3, 513))
    for read in (irreps, character_table):
        for wrong in (S3.defining, None):
            with refuses(TypeError, "group"):
                read(wrong)
        with refuses(ValueError, "group"):
            read(reps.SO(2))


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (0.5, TypeError), (None, TypeError)])
def test_seeds_are_natural_numbers(seed, error):
    with refuses(error, "seed"):
        decompose(S3.defining, seed)
    with refuses(error, "seed"):
        irreps(S3, seed)


def test_matrices_in_single_precision_are_read():
    images = [a.to(torch.float32) for a in skewed(D4.defining, strength=0).generators]
    (one, sign, plane) = decompose(Representation(D4, images))
    assert (one.irrep.dim, sign.irrep.dim, plane.irrep.dim) == (1, 1, 2)
    assert isinstance(plane.basis, Tensor) and plane.basis.dtype == torch.float64
