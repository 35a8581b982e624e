"""The map of assumptions: every combination counted twice, equivariant, nested, named."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import torch

from gdl import representations as reps
from gdl.equivariance import Basis, dimension_by_characters, equivariance_error, span_residual
from gdl.representations import Representation
from gdl.zoo import Assumptions, Layer, possible, solve, vocabulary
from gdl.zoo.assumptions import _pattern, _reduced
from gdl.zoo.domains import DOMAINS, MOST_POSES
from gdl.zoo.names import NAMES, NOTHING, UNNAMED, NameTable, Row
from tests.test_representations import refuses

F64 = torch.float64
DOMAIN_NAMES = vocabulary()["domain"]
ENTRIES = 4096


@functools.cache
def layers(domain: str) -> list[Layer]:
    return [solve(a) for a in possible(domain, ENTRIES)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


# --- every combination ----------------------------------------------------------------------------


@pytest.mark.parametrize("domain", DOMAIN_NAMES)
def test_both_counts_agree(domain):
    found = layers(domain)
    assert len(found) == len(possible(domain, ENTRIES)) > 10
    assert [layer.dimension for layer in found] == [layer.counted for layer in found]
    assert {layer.route for layer in found} <= {"characters", "orbits"}


@pytest.mark.parametrize("domain", DOMAIN_NAMES)
def test_random_maps_commute_with_random_elements(domain):
    """And maps that are not solutions do not, wherever the group moves anything."""
    for layer in layers(domain):
        group, r = layer.rho_in.group, layer.dimension
        if not r:
            continue
        W = layer.basis.combine(random(r))
        x, elements = random(4, layer.rho_in.dim, seed=1), group.random(4, seed=2)

        def error(W, layer=layer, x=x, elements=elements):
            return equivariance_error(lambda v: v @ W.T, x, layer.rho_in, layer.rho_out, elements)

        assert error(W) < 1e-10, layer
        unconstrained = layer.assumptions.group == "trivial" or r == W.numel()
        if not unconstrained:
            assert error(W + random(*W.shape, seed=3)) > 1e-3, layer


@pytest.mark.parametrize("domain", DOMAIN_NAMES)
def test_a_larger_group_leaves_a_subspace(domain):
    found = {layer.assumptions.words: layer for layer in layers(domain)}
    groups, checked = vocabulary(domain)["group"], 0
    for (_, group, *rest), layer in found.items():
        before = groups[groups.index(group) - 1]
        smaller = found.get((domain, before, *rest)) if group != groups[0] else None
        if smaller is None or rest[0] == "poses" or rest[1] == "poses":
            continue
        assert layer.dimension <= smaller.dimension
        if layer.dimension:
            maps = layer.basis.combine(random(3, layer.dimension))
            assert span_residual(maps, smaller.basis) < 1e-10
            checked += 1
        if smaller.dimension > layer.dimension > 0:
            maps = smaller.basis.combine(random(1, smaller.dimension))
            assert span_residual(maps, layer.basis) > 1e-3
    assert checked > 5


@pytest.mark.parametrize("domain", DOMAIN_NAMES)
def test_the_pattern_is_the_solution(domain):
    """Weights put where the pattern says, with sign and size, make an equivariant map, and all."""
    for layer in layers(domain):
        r = layer.dimension
        assert layer.pattern.shape == layer.scale.shape == layer.basis.shape
        assert layer.pattern.dtype == torch.int64 and layer.scale.dtype == F64
        assert set(layer.pattern.abs().unique().tolist()) - {0} == set(range(1, r + 1))
        assert bool(((layer.scale > 0) == (layer.pattern != 0)).all())
        if r:
            weights = torch.cat([torch.zeros(1, dtype=F64), random(r)])
            W = layer.scale * layer.pattern.sign() * weights[layer.pattern.abs()]
            assert span_residual(W, layer.basis) < 1e-10
            signs = layer.pattern.sign() * weights[layer.pattern.abs()]
            if bool((layer.scale[layer.pattern != 0] < 0.99).any()):
                assert span_residual(signs, layer.basis) > 1e-3


@pytest.mark.parametrize("domain", DOMAIN_NAMES)
def test_groups_are_what_they_say(domain):
    """Orders by enumeration, where that is cheap; images are homomorphisms; groups are nested."""
    for name, choice in DOMAINS[domain].groups.items():
        group = choice.build()
        if choice.order is None:
            assert not group.is_finite
        elif choice.order <= 720:
            assert group.order == choice.order, name
    for layer in layers(domain):
        order = DOMAINS[domain].groups[layer.assumptions.group].order
        if order is None or order <= 144:
            for rho in (layer.rho_in, layer.rho_out):
                small = rho.dim <= 16
                assert not small or rho.relation_error() < 1e-10


def test_larger_groups_agree_with_characters_too():
    for words in (
        ("Petersen", "automorphisms", "edges", "points"),
        ("grid", "p4m", "points", "points"),
        ("table", "rows and columns", "points", "points"),
        ("set", "all permutations", "points", "points"),
    ):
        layer = solve(Assumptions(*words))
        assert dimension_by_characters(layer.rho_in, layer.rho_out) == layer.dimension


# --- the table of architectures -------------------------------------------------------------------

KNOWN = {
    ("cycle", "shifts", "points", "points"): (8, "circular convolution"),
    ("cycle", "shifts and mirrors", "points", "points"): (8 // 2 + 1, "symmetric convolution"),
    ("cycle", "shifts by two", "points", "every second point"): (8, "convolution, stride 2"),
    ("grid", "shifts", "points", "points", "neighbours"): (9, "3 x 3 convolution"),
    ("grid", "p4", "points", "points", "neighbours"): (3, "p4 convolution of scalar fields"),
    ("grid", "p4m", "points", "points", "neighbours"): (3, "p4m convolution of scalar fields"),
    ("grid", "p4", "points", "poses", "neighbours"): (9, "p4 lifting convolution"),
    ("grid", "p4m", "points", "poses", "neighbours"): (9, "p4m lifting convolution"),
    ("grid", "p4", "poses", "poses", "neighbours"): (36, "p4 group convolution"),
    ("grid", "p4m", "poses", "poses", "neighbours"): (72, "p4m group convolution"),
    ("set", "all permutations", "points", "points"): (2, "Deep Sets layer"),
    ("set", "all permutations", "points", "number"): (1, "sum pooling of a set"),
    ("set", "trivial", "points", "points"): (25, "dense layer"),
    ("pairs", "all permutations", "pairs", "pairs"): (15, "Maron's 15, graph to graph"),
    ("pairs", "all permutations", "pairs", "points"): (5, "Maron's layer, graph to nodes"),
    ("pairs", "all permutations", "number", "pairs"): (2, "graph bias, diagonal and rest"),
    ("pairs", "all permutations", "edges", "edges"): (3, "Johnson scheme, edges to edges"),
    ("pairs", "all permutations", "edges x points", "points"): (6, "message passing, simple graph"),
    ("table", "rows and columns", "points", "points"): (4, "exchangeable matrix layer"),
    ("table", "rows and each row", "points", "points"): (3, "layer for sets of sets"),
    ("table", "rows and column shifts", "points", "points"): (
        2 * 4,
        "sets of symmetric elements (DSS)",
    ),
    ("Petersen", "automorphisms", "points", "points"): (3, "polynomial graph filter"),
    ("cube", "automorphisms", "points", "points"): (4, "polynomial graph filter"),
    ("neighbourhood", "permutations of neighbours", "points", "number"): (
        2,
        "message passing, own and sum",
    ),
    ("neighbourhood", "turns", "points", "directions"): (6 + 1, "gauge-equivariant lifting"),
    ("neighbourhood", "turns", "points x directions", "directions"): (
        6 * 7,
        "gauge-equivariant convolution",
    ),
    ("plane", "SO(2)", "order 1", "order 1"): (2, "self-interaction, complex weight"),
    ("plane", "O(2)", "order 1", "order 1"): (1, "self-interaction, real weight"),
    ("space", "SO(3)", "degrees 1 x 1", "degree 1"): (1, "cross product"),
    ("space", "O(3)", "degrees 1 x 1", "degree 1"): (0, NOTHING),
    ("space", "O(3)", "degrees 1 x 1", "axial vector"): (1, "cross product"),
}


@pytest.mark.parametrize("words", KNOWN, ids=" ".join)
def test_known_layers(words):
    layer = solve(Assumptions(*words))
    assert (layer.dimension, layer.name) == KNOWN[words]


@pytest.mark.parametrize(("m", "n"), list(itertools.product((0, 1), (0, 1, 2))))
def test_steerable_kernels(m, n):
    zeros = (m == 0) + (n == 0)
    for group, expected in (("SO(2)", 4 // 2**zeros), ("O(2)", max(1, 2 // 2**zeros))):
        layer = solve(Assumptions("plane", group, f"circle x order {m}", f"order {n}"))
        assert (layer.dimension, layer.name) == (expected, f"{group}-steerable kernel")


def test_patterns_by_hand():
    complex_weight = solve(Assumptions("plane", "SO(2)", "order 1", "order 1"))
    assert complex_weight.pattern.tolist() == [[1, 2], [-2, 1]]
    deep_sets = solve(Assumptions("set", "all permutations", "points", "points"))
    assert deep_sets.pattern.tolist() == [[1 if i == j else 2 for j in range(5)] for i in range(5)]
    cross = solve(Assumptions("space", "SO(3)", "degrees 1 x 1", "degree 1"))
    e = torch.eye(3, dtype=F64)
    levi_civita = torch.stack([torch.linalg.cross(a, b) for a in e for b in e], 1).long()
    assert cross.pattern.tolist() == levi_civita.tolist()
    # Symmetric and traceless, with entries 1 and, for 2 yy - xx - zz, 2 and -1 over root 3.
    degree2 = solve(Assumptions("space", "SO(3)", "degrees 1 x 1", "degree 2"))
    third = 1 / math.sqrt(3)
    expected = torch.tensor([[-third, 0, 0], [0, 2 * third, 0], [0, 0, -third]], dtype=F64)
    found = (degree2.scale * degree2.pattern.sign())[2].reshape(3, 3)
    assert float((found / found[1, 1] - expected / expected[1, 1]).abs().max()) < 1e-10


def test_reduction():
    W = random(3, 8)
    R = _reduced(W)
    assert float((torch.linalg.solve(W[:, :3], W) - R).abs().max()) < 1e-10
    swapped = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]], dtype=F64)
    assert _reduced(swapped).tolist() == [[1.0, 0.0, 3.0], [0.0, 1.0, 0.0]]


def test_mixed_entries_have_no_pattern():
    mixed = torch.tensor([[[1.0, 0.0, 1.0]], [[0.0, 1.0, 1.0]]], dtype=F64)
    with refuses(ValueError, "basis"):
        _pattern(Basis(stack=mixed, method="given"))


# --- names ----------------------------------------------------------------------------------------


def test_every_name_is_used_and_every_chapter_exists():
    used = {NAMES.find(*a.words) for d in DOMAIN_NAMES for a in possible(d)}
    assert set(NAMES.rows) == used - {None}
    found = [layer for d in DOMAIN_NAMES for layer in layers(d)]
    assert any(layer.name == UNNAMED for layer in found)
    assert all(layer.name == NOTHING for layer in found if layer.dimension == 0)
    assert not any(layer.name == NOTHING for layer in found if layer.dimension)


ROW = Row("set", "*", "points", "number", "everywhere", "sum pooling", "graphs")


def changed(**fields) -> Row:
    return Row(**{name: fields.get(name, getattr(ROW, name)) for name in Row.__dataclass_fields__})


@pytest.mark.parametrize(
    "rows",
    [
        (ROW, changed(name="another")),
        (ROW, changed(domain="*", group="cyclic")),
        (changed(domain="sets"),),
        (changed(group="SO(17)"),),
        (changed(input="point"),),
        (changed(output="points, edges x points"),),
        (changed(support="near"),),
        (changed(chapter="zoology"),),
    ],
    ids=range(8),
)
def test_a_wrong_table_is_refused(rows):
    with refuses(ValueError, "rows"):
        NameTable(rows)


def test_the_row_with_the_fewest_stars_counts():
    special = changed(group="cyclic", name="special")
    for rows in ((ROW, special), (special, ROW)):
        table = NameTable(rows)
        assert table.find("set", "cyclic", "points", "number", "everywhere") == special
        assert table.find("set", "trivial", "points", "number", "everywhere") == ROW
        assert table.find("set", "trivial", "points", "points", "everywhere") is None


# --- input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "error", "argument"),
    [
        (("cycles", "shifts", "points", "points"), ValueError, "domain"),
        (("cycle", "p4", "points", "points"), ValueError, "group"),
        (("cycle", "shifts", "point", "points"), ValueError, "input"),
        (("pairs", "cyclic", "points", "edges x points"), ValueError, "output"),
        (("cycle", "shifts", "points", "points", "near"), ValueError, "support"),
        (("plane", "SO(2)", "order 1", "order 1", "neighbours"), ValueError, "support"),
        ((1, "shifts", "points", "points"), TypeError, "domain"),
        (("cycle", None, "points", "points"), TypeError, "group"),
    ],
    ids=range(8),
)
def test_unknown_words(words, error, argument):
    with refuses(error, argument):
        Assumptions(*words)


def test_combinations_that_do_not_exist():
    for words, argument in (
        (("cycle", "shifts", "points", "every second point"), "every second point"),
        (("cycle", "shifts", "points", "poses"), "poses"),
        (("cycle", "all permutations", "poses", "points"), "poses"),
        (("table", "all permutations", "points", "rows"), "rows"),
        (("Petersen", "all permutations", "edges", "points"), "edges"),
        (("cycle", "shifts", "points", "number", "neighbours"), "support"),
    ):
        with refuses(ValueError, argument):
            solve(Assumptions(*words))
    with refuses(TypeError, "assumptions"):
        solve(("cycle", "shifts", "points", "points"))


@pytest.mark.parametrize("domain", ["cycle", "table", "Petersen"])
def test_possible_lists_all_and_no_others(domain):
    words = vocabulary(domain)
    every = {(domain, *w) for w in itertools.product(*words.values())}
    exist = {a.words for a in possible(domain)}
    assert exist < every and len(exist) == len(possible(domain))
    for five in sorted(every - exist):
        with pytest.raises(ValueError):
            solve(Assumptions(*five))
    assert {a.words for a in possible(domain, 12)} < exist
    assert all(math.prod(solve(a).basis.shape) <= 12 for a in possible(domain, 12))


def test_wrong_arguments_of_the_lists():
    for call, error, argument in (
        (lambda: vocabulary("sets"), ValueError, "domain"),
        (lambda: vocabulary(3), TypeError, "domain"),
        (lambda: possible("sets"), ValueError, "domain"),
        (lambda: possible("set", 0), ValueError, "most_entries"),
        (lambda: possible("set", True), TypeError, "most_entries"),
    ):
        with refuses(error, argument):
            call()


def test_poses_are_a_regular_representation():
    for group in ("p4", "p4m"):
        layer = solve(Assumptions("grid", group, "points", "poses"))
        whole: Representation = reps.regular(layer.rho_out.group)
        assert layer.rho_out.dim == whole.dim == layer.rho_out.group.order <= MOST_POSES
        for g in layer.rho_out.group.random(5):
            assert layer.rho_out.character(g) == whole.character(g)
