"""Generated graphs against NetworkX, their parameters and the binomial distribution."""

from __future__ import annotations

import itertools
import math
import random
import re

import networkx as nx
import pytest
import torch
from torch import Tensor

from gdl.graphs.generators import (
    barbell,
    binary_tree,
    circular_skip_link,
    cycle,
    rook,
    shrikhande,
    stochastic_block_model,
)
from gdl.graphs.matrices import homophily
from gdl.graphs.refinement import wl_classes

F64 = torch.float64
# Skips that give ten graphs no two of which are isomorphic, on 41 nodes.
SKIPS = (2, 3, 4, 5, 6, 9, 11, 12, 13, 16)


def refuses(error, argument: str):
    return pytest.raises(error, match=rf"^{re.escape(argument)}\b")


def graph(A: Tensor) -> nx.Graph:
    return nx.from_numpy_array(A.numpy())


def blocks(sizes: list[int], *rates: float, **options) -> tuple[Tensor, Tensor]:
    return stochastic_block_model(sizes, *rates, **{"seed": 0} | options)


MADE = {
    "cycle": lambda **o: cycle(7, **o),
    "csl": lambda **o: circular_skip_link(11, 3, **o),
    "rook": lambda **o: rook(3, **o),
    "shrikhande": lambda **o: shrikhande(**o),
    "barbell": lambda **o: barbell(4, 2, **o),
    "tree": lambda **o: binary_tree(3, **o),
    "blocks": lambda **o: blocks([4, 5], 0.6, 0.3, **o)[0],
}
all_made = pytest.mark.parametrize("kind", list(MADE))


@all_made
def test_matrices_are_simple_graphs(kind):
    A = MADE[kind]()
    assert A.ndim == 2 and torch.equal(A, A.T) and not A.diagonal().any()
    assert A.unique().tolist() == [0, 1]


@all_made
def test_dtypes(kind):
    assert MADE[kind]().dtype == torch.get_default_dtype()
    for dtype in (torch.float32, F64, torch.bfloat16):
        A = MADE[kind](dtype=dtype)
        assert A.dtype == dtype and torch.equal(A.double(), MADE[kind]().double())
    for wrong in (torch.int64, "float32", torch.complex64):
        with refuses(TypeError, "dtype"):
            MADE[kind](dtype=wrong)


# --- graphs without chance ----------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 4, 9])
def test_the_cycle(n):
    A = cycle(n)
    assert bool((A.sum(0) == 2).all()) and nx.is_connected(graph(A))
    assert all(A[i, (i + 1) % n] == 1 for i in range(n))


@pytest.mark.parametrize(("n", "skip"), [(5, 2), (8, 3), (41, 16), (9, 3), (7, 5)])
def test_a_circular_skip_link(n, skip):
    A = circular_skip_link(n, skip)
    steps = {1, n - 1, skip, n - skip}
    for i, j in itertools.product(range(n), repeat=2):
        assert A[i, j] == ((j - i) % n in steps)
    assert bool((A.sum(0) == 4).all())


def test_skip_links_differ_where_refinement_sees_one_class():
    assert not wl_classes([circular_skip_link(41, skip) for skip in SKIPS]).any()
    # The ten are all there are: every other skip has the spectrum of one of them.
    spectra = torch.stack(
        [torch.linalg.eigvalsh(circular_skip_link(41, skip, dtype=F64)) for skip in range(2, 40)]
    )
    ten = spectra[[skip - 2 for skip in SKIPS]]
    assert (ten[:, None] - ten).abs().amax(2).fill_diagonal_(1).min() > 1e-2
    assert (spectra[:, None] - ten).abs().amax(2).min(1).values.max() < 1e-12


@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_the_graph_of_the_rook(m):
    A = rook(m)
    for a, b in itertools.product(range(m * m), repeat=2):
        same_row, same_column = a // m == b // m, a % m == b % m
        assert A[a, b] == (same_row != same_column)
    expected = (2 * m - 2) * torch.eye(m * m) + (m - 2) * A + 2 * (1 - A - torch.eye(m * m))
    assert torch.equal(A @ A, expected)


def cliques(A: Tensor, size: int) -> int:
    return sum(len(c) == size for c in nx.enumerate_all_cliques(graph(A)))


def test_rook_and_shrikhande_are_alike_and_not_the_same():
    pair = [rook(4, dtype=F64), shrikhande(dtype=F64)]
    eye, one = torch.eye(16, dtype=F64), torch.ones(16, 16, dtype=F64)
    for A in pair:
        # Strongly regular with parameters (16, 6, 2, 2).
        assert torch.equal(A @ A, 6 * eye + 2 * A + 2 * (one - A - eye))
        assert nx.is_strongly_regular(graph(A))
    spectra = [torch.linalg.eigvalsh(A) for A in pair]
    expected = torch.tensor([-2.0] * 9 + [2.0] * 6 + [6.0], dtype=F64)
    for spectrum in spectra:
        assert torch.allclose(spectrum, expected, atol=1e-12)
    assert not nx.is_isomorphic(*map(graph, pair))
    assert [cliques(A, 4) for A in pair] == [8, 0]
    assert [cliques(A, 3) for A in pair] == [32, 32]


def test_the_neighbours_in_the_shrikhande_graph_form_a_hexagon():
    G = graph(shrikhande())
    for node in G:
        assert nx.is_isomorphic(G.subgraph(G[node]), nx.cycle_graph(6))
    # Two steps of a neighbouring node: (0, 0) to (1, 1) is node 5, to (1, 0) node 4.
    assert sorted(G[0]) == [1, 3, 4, 5, 12, 15]


@pytest.mark.parametrize(("n", "path"), [(2, 0), (3, 0), (4, 1), (5, 3)])
def test_the_barbell(n, path):
    A = barbell(n, path)
    assert len(A) == 2 * n + path
    assert A.sum() / 2 == n * (n - 1) + path + 1
    for bell in (slice(0, n), slice(n + path, None)):
        assert torch.equal(A[bell, bell], 1 - torch.eye(n))
    bar = list(range(n - 1, n + path + 1))
    assert all(A[a, b] == 1 for a, b in itertools.pairwise(bar))
    assert set(itertools.pairwise(bar)) <= set(nx.bridges(graph(A)))


@pytest.mark.parametrize("depth", [0, 1, 2, 5])
def test_the_binary_tree(depth):
    A = binary_tree(depth)
    n = 2 ** (depth + 1) - 1
    assert A.shape == (n, n) and nx.is_tree(graph(A))
    for child in range(1, n):
        assert A[(child - 1) // 2, child] == 1
    distance = nx.single_source_shortest_path_length(graph(A), 0)
    assert [v for v in range(n) if distance[v] == depth] == list(range(n - 2**depth, n))


# --- graphs of chance ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_numbers_of_edges_are_binomial(seed):
    sizes, rates = [60, 80, 100], (0.3, 0.05)
    A, labels = blocks(sizes, *rates, seed=seed)
    assert labels.dtype == torch.int64 and labels.bincount().tolist() == sizes
    for a, b in itertools.combinations_with_replacement(range(3), 2):
        edges = float(A[labels == a][:, labels == b].sum()) / (2 if a == b else 1)
        pairs = math.comb(sizes[a], 2) if a == b else sizes[a] * sizes[b]
        p = rates[a != b]
        # Five standard deviations: once in a million.
        assert abs(edges - p * pairs) < 5 * math.sqrt(p * (1 - p) * pairs)


@pytest.mark.parametrize(("h", "degree"), [(0.9, 8), (0.5, 4), (0.1, 12), (1.0, 5), (0.0, 5)])
def test_homophily_and_degree_are_those_asked_for(h, degree):
    sizes = [150, 250, 100]
    found = [blocks(sizes, homophily=h, degree=degree, seed=seed) for seed in (0, 1, 2)]
    edges = sum(float(A.sum()) for A, _ in found) / 2
    expected = 3 * 500 * degree / 2
    assert abs(edges - expected) < 5 * math.sqrt(expected)
    share = sum(homophily(A, labels) for A, labels in found) / 3
    assert abs(share - h) <= 5 * math.sqrt(h * (1 - h) / expected)


def test_the_two_descriptions_agree():
    # 2 blocks of 50: 2450 pairs within, 2500 between; 300 edges within and 100 between.
    ours, labels = blocks([50, 50], homophily=0.75, degree=8)
    theirs, same = blocks([50, 50], 300 / 2450, 100 / 2500)
    assert torch.equal(ours, theirs) and torch.equal(labels, same)


def test_certain_and_impossible_edges():
    A, labels = blocks([3, 4], 1, 0)
    assert torch.equal(A, (labels[:, None] == labels).float() - torch.eye(7))
    assert torch.equal(blocks([3, 4], 0, 1)[0], (labels[:, None] != labels).float())
    assert (
        not blocks([3, 4], 0, 0)[0].any() and not blocks([3, 4], homophily=0.3, degree=0)[0].any()
    )
    assert torch.equal(blocks([3, 4], 1.0, 1.0)[0], 1 - torch.eye(7))


def test_one_block_and_blocks_of_one_node():
    A, labels = blocks([1], 0.5, 0.5)
    assert A.tolist() == [[0]] and labels.tolist() == [0]
    assert torch.equal(blocks([4], homophily=1, degree=3)[0], 1 - torch.eye(4))
    assert torch.equal(blocks([1] * 4, homophily=0, degree=3)[0], 1 - torch.eye(4))


def test_the_seed_fixes_the_graph_and_nothing_else():
    states = torch.get_rng_state(), random.getstate()
    A, B, C = (blocks([20, 20], 0.5, 0.2, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(A, B) and not torch.equal(A, C)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    torch.manual_seed(5)
    assert torch.equal(blocks([20, 20], 0.5, 0.2)[0], A)


# --- what they refuse ---------------------------------------------------------------------------

NO_INTEGER = [(TypeError, 3.0), (TypeError, True), (TypeError, None), (TypeError, "3")]


@pytest.mark.parametrize(
    ("function", "argument", "fits", "wrong"),
    [
        (cycle, "n", {"n": 3}, [2, 0, -1, 10_001]),
        (circular_skip_link, "n", {"n": 11, "skip": 2}, [4, 0, -1, 10_001]),
        (circular_skip_link, "skip", {"n": 11, "skip": 9}, [1, 0, -2, 10, 11]),
        (rook, "m", {"m": 2}, [1, 0, -1, 101]),
        (barbell, "n", {"n": 2}, [1, 0, -1, 10_001]),
        (barbell, "path", {"n": 2, "path": 0}, [-1]),
        (binary_tree, "depth", {"depth": 0}, [-1, 13]),
    ],
)
def test_bad_sizes_are_named(function, argument, fits, wrong):
    function(**fits)
    for error, value in [*NO_INTEGER, *((ValueError, value) for value in wrong)]:
        with refuses(error, argument):
            function(**fits | {argument: value})


def test_half_the_cycle_is_no_skip():
    with refuses(ValueError, "skip"):
        circular_skip_link(8, 4)


def test_a_barbell_too_large_is_refused():
    with refuses(ValueError, "2 n + path"):
        barbell(3, 9_999)


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (TypeError, "sizes", {"sizes": 5}),
        (TypeError, "sizes", {"sizes": "34"}),
        (TypeError, "sizes", {"sizes": [3.0, 4]}),
        (TypeError, "sizes", {"sizes": [True, 4]}),
        (TypeError, "sizes", {"sizes": None}),
        (ValueError, "sizes", {"sizes": []}),
        (ValueError, "sizes", {"sizes": [0, 4]}),
        (ValueError, "sizes", {"sizes": [-1, 4]}),
        (ValueError, "sum of sizes", {"sizes": [9_999, 2]}),
        (ValueError, "p_in", {"p_in": -0.1}),
        (ValueError, "p_in", {"p_in": 1.1}),
        (ValueError, "p_in", {"p_in": math.nan}),
        (TypeError, "p_in", {"p_in": "0.5"}),
        (TypeError, "p_in", {"p_in": None}),
        (TypeError, "p_in", {"p_in": True}),
        (ValueError, "p_out", {"p_out": -0.1}),
        (ValueError, "p_out", {"p_out": 1.1}),
        (ValueError, "p_out", {"p_out": math.inf}),
        (TypeError, "p_in, p_out", {"p_out": None}),
        (TypeError, "p_in, p_out", {"homophily": 0.5}),
        (TypeError, "p_in, p_out", {"homophily": 0.5, "degree": 3}),
        (TypeError, "p_in, p_out", {"p_in": None, "p_out": None}),
        (TypeError, "p_in, p_out", {"p_in": None, "p_out": None, "homophily": 0.5}),
        (TypeError, "seed", {"seed": 1.5}),
        (TypeError, "seed", {"seed": None}),
        (ValueError, "seed", {"seed": -1}),
    ],
)
def test_bad_blocks_are_named(error, argument, change):
    fits = {"sizes": [3, 4], "p_in": 0.5, "p_out": 0.5, "seed": 0}
    stochastic_block_model(**fits)
    with refuses(error, argument):
        stochastic_block_model(**fits | change)


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (ValueError, "homophily", {"homophily": -0.1}),
        (ValueError, "homophily", {"homophily": 1.1}),
        (ValueError, "homophily", {"homophily": math.nan}),
        (TypeError, "homophily", {"homophily": "0.5"}),
        (ValueError, "degree", {"degree": -1}),
        (ValueError, "degree", {"degree": math.inf}),
        (TypeError, "degree", {"degree": "3"}),
        # More edges than pairs: within the blocks, then between them.
        (ValueError, "degree", {"homophily": 1.0, "degree": 3}),
        (ValueError, "degree", {"homophily": 0.0, "degree": 4}),
        (ValueError, "degree", {"sizes": [8]}),
        (ValueError, "degree", {"sizes": [1, 1, 1]}),
    ],
)
def test_bad_shares_are_named(error, argument, change):
    fits = {"sizes": [3, 3], "homophily": 0.5, "degree": 2, "seed": 0}
    stochastic_block_model(**fits)
    with refuses(error, argument):
        stochastic_block_model(**fits | change)
