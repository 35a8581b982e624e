"""Colour refinement against NetworkX, fractional isomorphism, trees and brute force."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from gdl.graphs.generators import binary_tree, circular_skip_link, cycle, rook, shrikhande
from gdl.graphs.refinement import refine, wl_classes

F64 = torch.float64
orders = pytest.mark.parametrize("order", [1, 2])


def refuses(error, argument: str):
    return pytest.raises(error, match=f"^{re.escape(argument)}:")


@functools.cache
def atlas(n: int | None = None) -> list[nx.Graph]:
    """All graphs with n nodes, or with 1 to 7."""
    return [G for G in nx.graph_atlas_g()[1:] if n is None or len(G) == n]


def matrix(G: nx.Graph) -> Tensor:
    return torch.from_numpy(nx.to_numpy_array(G, weight=None))


def matrices(n: int | None = None) -> list[Tensor]:
    return [matrix(G) for G in atlas(n)]


def same_partition(a: Iterable[Hashable], b: Iterable[Hashable]) -> bool:
    a, b = list(a), list(b)
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


def shuffled(A: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    p = torch.randperm(len(A), generator=torch.Generator().manual_seed(seed))
    return A[p][:, p], p


# --- the integers of the chapter ----------------------------------------------------------------


def characteristic_polynomial(A: Tensor) -> tuple[int, ...]:
    """By Faddeev and LeVerrier, in exact integers; the spectrum is its roots."""
    A = A.long()
    M, coefficients = torch.zeros_like(A), [1]
    for k in range(1, len(A) + 1):
        M = A @ M + coefficients[-1] * torch.eye(len(A), dtype=torch.int64)
        coefficients.append(-int((A @ M).trace()) // k)
    return tuple(coefficients)


@pytest.mark.parametrize(
    ("n", "graphs", "classes", "spectra"),
    [
        (1, 1, 1, 1), (2, 2, 2, 2), (3, 4, 4, 4), (4, 11, 11, 11),
        (5, 34, 34, 33), (6, 156, 152, 151), (7, 1044, 1022, 988),
    ],
)  # fmt: skip
def test_classes_of_small_graphs(n, graphs, classes, spectra):
    found = matrices(n)
    assert len(found) == graphs
    assert len(wl_classes(found).unique()) == classes
    assert len(wl_classes(found, order=2).unique()) == graphs
    assert len({characteristic_polynomial(A) for A in found}) == spectra


def test_sizes_are_told_apart():
    assert len(wl_classes(matrices()).unique()) == 1 + 2 + 4 + 11 + 34 + 152 + 1022


def test_order_two_refines_order_one():
    found = matrices(6)
    pairs = set(zip(wl_classes(found, 2).tolist(), wl_classes(found).tolist(), strict=True))
    assert len(pairs) == 156


def test_what_order_one_cannot_see():
    triangles = torch.block_diag(cycle(3), cycle(3))
    assert wl_classes([cycle(6), triangles]).tolist() == [0, 0]
    assert len(wl_classes([cycle(6), triangles], order=2).unique()) == 2
    skips = [circular_skip_link(41, k) for k in (2, 3, 4, 5, 6, 9, 11, 12, 13, 16)]
    assert not wl_classes(skips).any()


def test_what_order_two_cannot_see():
    pair = [rook(4, dtype=F64), shrikhande(dtype=F64)]
    assert not nx.is_isomorphic(*(nx.from_numpy_array(A.numpy()) for A in pair))
    assert wl_classes(pair, order=2).tolist() == [0, 0]
    # Strongly regular: equal, adjacent and other pairs.
    for A, colours in zip(pair, refine(pair, order=2), strict=True):
        assert same_partition(
            colours.flatten().tolist(), (A + 2 * torch.eye(16)).flatten().tolist()
        )


# --- order 1 by independent routes --------------------------------------------------------------


def test_classes_are_those_of_networkx():
    graphs = [G.copy() for G in atlas()]
    for G in graphs:
        nx.set_node_attributes(G, 0, "colour")
    hashes = [nx.weisfeiler_lehman_graph_hash(G, node_attr="colour", iterations=7) for G in graphs]
    assert same_partition(wl_classes(matrices()).tolist(), hashes)


def unfolded(G: nx.Graph, node: int, rounds: int) -> tuple:
    """The tree of all walks from a node, with its branches sorted."""
    if rounds == 0:
        return ()
    return tuple(sorted(unfolded(G, other, rounds - 1) for other in G[node]))


@pytest.mark.parametrize("rounds", [0, 1, 2, 3, 4])
def test_colours_are_trees_of_walks(rounds):
    graphs = atlas(5) + atlas(4)
    colours = refine([matrix(G) for G in graphs], rounds=rounds)
    trees = [unfolded(G, v, rounds) for G in graphs for v in G]
    assert same_partition(torch.cat(colours).tolist(), trees)


def fractionally_isomorphic(A: Tensor, B: Tensor) -> bool:
    """Whether a doubly stochastic X solves A X = X B, by a linear programme."""
    n = len(A)
    one, ones = np.eye(n), np.ones((1, n))
    commutes = np.kron(A.numpy(), one) - np.kron(one, B.numpy().T)
    sums = np.vstack([np.kron(one, ones), np.kron(ones, one)])
    right = np.concatenate([np.zeros(n * n), np.ones(2 * n)])
    found = linprog(np.zeros(n * n), A_eq=np.vstack([commutes, sums]), b_eq=right, bounds=(0, None))
    assert found.status in (0, 2)
    return found.status == 0


@pytest.mark.parametrize(("n", "equal"), [(5, 0), (6, 4)])
def test_classes_are_those_of_fractional_isomorphism(n, equal):
    found = matrices(n)
    classes = wl_classes(found).tolist()
    degrees = [sorted(A.sum(0).tolist()) for A in found]
    decided = []
    for g, h in itertools.combinations(range(len(found)), 2):
        if degrees[g] == degrees[h]:
            decided.append(fractionally_isomorphic(found[g], found[h]))
            assert decided[-1] == (classes[g] == classes[h])
    assert sum(decided) == equal < len(decided)


def homomorphisms(tree: nx.Graph, A: Tensor) -> int:
    """Maps of the nodes of a tree that send edges to edges, counted from the leaves to node 0."""

    def below(node: int, parent: int | None) -> Tensor:
        counts = torch.ones(len(A), dtype=torch.int64)
        for child in tree[node]:
            if child != parent:
                counts = counts * (A @ below(child, node))
        return counts

    return int(below(0, None).sum())


def counts_of(trees: list[nx.Graph], n: int) -> list[tuple[int, ...]]:
    return [tuple(homomorphisms(T, A.long()) for T in trees) for A in matrices(n)]


def test_classes_are_those_of_counts_of_trees():
    trees = [T for size in range(1, 6) for T in nx.nonisomorphic_trees(size)]
    assert same_partition(wl_classes(matrices(6)).tolist(), counts_of(trees, 6))
    # Stars alone count no more than degrees.
    stars = [nx.star_graph(leaves) for leaves in range(6)]
    degrees = [tuple(sorted(A.sum(0).tolist())) for A in matrices(6)]
    assert same_partition(counts_of(stars, 6), degrees) and len(set(degrees)) < 152


def test_no_tree_splits_a_class():
    trees = [T for size in range(1, 8) for T in nx.nonisomorphic_trees(size)]
    classes, counts = wl_classes(matrices(7)).tolist(), counts_of(trees, 7)
    assert len(set(zip(classes, counts, strict=True))) == len(set(classes))


def set_partitions(n: int) -> list[tuple[int, ...]]:
    found = [()]
    for _ in range(n):
        found = [(*p, b) for p in found for b in range(max(p, default=-1) + 2)]
    return found


def is_equitable(A: Tensor, blocks: tuple[int, ...]) -> bool:
    """Whether nodes of one block have equally many neighbours in each."""
    member = torch.nn.functional.one_hot(torch.tensor(blocks)).double()
    profiles = zip(blocks, map(tuple, (A @ member).tolist()), strict=True)
    return len(set(profiles)) == len(set(blocks))


@pytest.mark.parametrize("n", [3, 4, 5])
def test_the_stable_colouring_is_the_coarsest_equitable_partition(n):
    for A in matrices(n):
        equitable = [p for p in set_partitions(n) if is_equitable(A, p)]
        coarsest = min(equitable, key=lambda p: len(set(p)))
        assert same_partition(refine([A])[0].tolist(), coarsest)


# --- order 2 by independent routes --------------------------------------------------------------


def by_definition(A: Tensor, rounds: int) -> list[Hashable]:
    """Colours of pairs as nested tuples, without numbering."""
    pairs = list(itertools.product(range(len(A)), repeat=2))
    c = {(u, v): (u == v, float(A[u, v])) for u, v in pairs}
    for _ in range(rounds):
        c = {
            (u, v): (c[u, v], tuple(sorted((c[u, w], c[w, v]) for w in range(len(A)))))
            for u, v in pairs
        }
    return [c[pair] for pair in pairs]


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_rounds_of_order_two_by_definition(rounds):
    graphs = matrices(4) + matrices(3)
    colours = refine(graphs, order=2, rounds=rounds)
    expected = [c for A in graphs for c in by_definition(A, rounds)]
    assert same_partition(torch.cat([c.flatten() for c in colours]).tolist(), expected)


def orbits_of_pairs(A: Tensor) -> dict[tuple[int, int], tuple[int, int]]:
    """The smallest image of each pair under the automorphisms that NetworkX lists."""
    G = nx.from_numpy_array(A.numpy())
    group = list(nx.isomorphism.GraphMatcher(G, G).isomorphisms_iter())
    pairs = itertools.product(range(len(A)), repeat=2)
    return {(u, v): min((p[u], p[v]) for p in group) for u, v in pairs}


@pytest.mark.parametrize("n", [4, 5])
def test_the_stable_colouring_of_pairs_is_that_of_orbits(n):
    for A in matrices(n):
        (c,) = refine([A], order=2)
        assert same_partition(c.flatten().tolist(), orbits_of_pairs(A).values())


def test_orbits_may_be_finer_than_colours():
    graphs = [rook(4, dtype=F64), shrikhande(dtype=F64)]
    assert [len(set(orbits_of_pairs(A).values())) for A in graphs] == [3, 4]
    assert [len(c.unique()) for c in refine(graphs, order=2)] == [3, 3]


def test_the_stable_colouring_is_a_coherent_configuration():
    (c,) = refine([matrix(nx.karate_club_graph())], order=2)
    classes = len(c.unique())
    assert 34 < classes < 34**2
    through = {}
    for u, v in itertools.product(range(34), repeat=2):
        found = Counter(zip(c[u].tolist(), c[:, v].tolist(), strict=True))
        assert through.setdefault(int(c[u, v]), found) == found
    # The transpose of a colour is a colour, and the diagonal has its own.
    assert len(set(zip(c.flatten().tolist(), c.T.flatten().tolist(), strict=True))) == classes
    apart = ~torch.eye(34, dtype=torch.bool)
    assert not set(c.diagonal().tolist()) & set(c[apart].tolist())


# --- both orders --------------------------------------------------------------------------------


@orders
@pytest.mark.parametrize("rounds", [0, 1, None])
def test_permutations_permute(order, rounds):
    graphs = matrices(6)[60:120:4] + [binary_tree(3, dtype=F64)]
    colours = refine(graphs, order, rounds=rounds)
    for seed in range(3):
        moved = [shuffled(A, seed) for A in graphs]
        # In another order of the graphs as well.
        found = refine([A for A, _ in moved][::-1], order, rounds=rounds)[::-1]
        for c, f, (_, p) in zip(colours, found, moved, strict=True):
            assert torch.equal(f, c[p] if order == 1 else c[p][:, p])


@orders
def test_isomorphic_graphs_share_their_class(order):
    graphs = matrices(6)
    classes = wl_classes(graphs, order)
    moved = wl_classes([shuffled(A, seed)[0] for seed, A in enumerate(graphs)], order)
    assert torch.equal(moved, classes)


@orders
def test_colours_are_int64_numbers_without_gaps(order):
    graphs = [matrix(nx.karate_club_graph()), torch.zeros(1, 1), cycle(5)]
    for rounds in (0, 1, None):
        found = refine(graphs, order, rounds=rounds)
        assert [tuple(c.shape) for c in found] == [(n,) * order for n in (34, 1, 5)]
        assert all(c.dtype == torch.int64 for c in found)
        together = torch.cat([c.flatten() for c in found]).unique()
        assert together.tolist() == list(range(len(together)))


@orders
def test_rounds_only_split(order):
    A = matrix(nx.karate_club_graph())
    before = refine([A], order, rounds=0)[0].flatten().tolist()
    counts = [len(set(before))]
    for rounds in range(1, 6):
        after = refine([A], order, rounds=rounds)[0].flatten().tolist()
        assert len(set(zip(before, after, strict=True))) == len(set(after))
        before = after
        counts.append(len(set(after)))
    assert counts[0] < counts[1] < counts[2]
    assert counts[-1] == counts[-2]
    assert same_partition(refine([A], order)[0].flatten().tolist(), before)


@pytest.mark.parametrize("n", [2, 9, 10])
def test_a_path_takes_as_many_rounds_as_it_is_deep(n):
    (c,) = refine([matrix(nx.path_graph(n))])
    distance = [min(v, n - 1 - v) for v in range(n)]
    assert same_partition(c.tolist(), distance)


@orders
def test_given_colours_are_kept_apart(order):
    n = 7
    root = torch.zeros(n, dtype=torch.int64)
    root[2] = 5
    (c,) = refine([cycle(n)], order, colours=[root])
    distance = [min(abs(v - 2), n - abs(v - 2)) for v in range(n)]
    nodes = c if order == 1 else c.diagonal()
    assert same_partition(nodes.tolist(), distance)
    plain = refine([cycle(n)], order)[0]
    assert len(plain.unique()) < len(c.unique())


@orders
def test_colours_mean_the_same_in_all_graphs(order):
    a, b = torch.tensor([0, 0, 1]), torch.tensor([1, 1, 0])
    graphs = [cycle(3), cycle(3)]
    assert len(wl_classes(graphs, order, colours=[a, b]).unique()) == 2
    assert len(wl_classes(graphs, order, colours=[a, a.flip(0)]).unique()) == 1
    assert len(wl_classes(graphs, order, colours=[a, a - 1], rounds=0).unique()) == 2


@orders
def test_weights_are_colours_of_edges(order):
    path = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    uneven = path.clone()
    uneven[0, 1] = uneven[1, 0] = -2.5
    (c,) = refine([uneven], order)
    assert len((c if order == 1 else c.diagonal()).unique()) == 3
    assert len(wl_classes([path, uneven, 2 * path], order).unique()) == 3


def test_a_self_loop_is_a_neighbour():
    A = cycle(4)
    A[0, 0] = 1
    assert same_partition(refine([A])[0].tolist(), [0, 1, 2, 1])


def test_an_isolated_node_has_its_own_colour():
    A = torch.block_diag(cycle(3), torch.zeros(1, 1))
    assert refine([A])[0].tolist() == [1, 1, 1, 0]
    assert refine([torch.zeros(1, 1)], rounds=3)[0].tolist() == [0]


@orders
def test_the_dtype_of_the_matrix_does_not_matter(order):
    for A, B in zip(matrices(5), matrices(5), strict=True):
        assert torch.equal(refine([A], order)[0], refine([B.float()], order)[0])
    assert wl_classes([cycle(6), cycle(6, dtype=F64)], order).tolist() == [0, 0]


@orders
def test_rounding_is_no_asymmetry(order):
    A = 0.7 * cycle(6, dtype=F64)
    B = A.clone()
    B[0, 1] = torch.nextafter(A[0, 1], torch.tensor(1.0, dtype=F64))
    before = B.clone()
    (c,) = refine([B], order)
    assert torch.equal(B, before)
    nodes = c if order == 1 else c.diagonal()
    assert nodes[0] == nodes[1] and nodes[5] == nodes[2]


def test_rounds_stop_the_classes_early():
    graphs = [
        matrix(nx.path_graph(6)),
        torch.block_diag(cycle(4, dtype=F64), matrix(nx.path_graph(2))),
    ]
    degrees = [sorted(A.sum(0).tolist()) for A in graphs]
    assert degrees[0] == degrees[1]
    assert len(wl_classes(graphs, rounds=1).unique()) == 1
    assert len(wl_classes(graphs, rounds=2).unique()) == 2


# --- what they refuse ---------------------------------------------------------------------------

GOOD = cycle(3)
TRIANGULAR = torch.ones(3, 3).triu()
NODES = torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize("function", [refine, wl_classes])
@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (TypeError, "graphs", {"graphs": GOOD}),
        (TypeError, "graphs", {"graphs": None}),
        (TypeError, "graphs", {"graphs": {0: GOOD}}),
        (ValueError, "graphs", {"graphs": []}),
        (TypeError, "graphs[1]", {"graphs": [GOOD, None]}),
        (TypeError, "graphs[1]", {"graphs": [GOOD, GOOD.long()]}),
        (TypeError, "graphs[0]", {"graphs": [nx.cycle_graph(3), GOOD]}),
        (ValueError, "graphs[0]", {"graphs": [TRIANGULAR, GOOD]}),
        (ValueError, "graphs[1]", {"graphs": [GOOD, GOOD[:2]]}),
        (ValueError, "graphs[1]", {"graphs": [GOOD, GOOD[:0, :0]]}),
        (ValueError, "graphs[1]", {"graphs": [GOOD, GOOD[None]]}),
        (ValueError, "graphs[1]", {"graphs": [GOOD, GOOD * math.nan]}),
        (ValueError, "graphs[1]", {"graphs": [GOOD, GOOD + math.inf]}),
        (ValueError, "order", {"order": 0}),
        (ValueError, "order", {"order": 3}),
        (TypeError, "order", {"order": 1.0}),
        (TypeError, "order", {"order": True}),
        (ValueError, "rounds", {"rounds": -1}),
        (TypeError, "rounds", {"rounds": 1.5}),
        (TypeError, "rounds", {"rounds": True}),
        (TypeError, "colours", {"colours": NODES}),
        (ValueError, "colours", {"colours": [NODES]}),
        (ValueError, "colours", {"colours": [NODES] * 3}),
        (ValueError, "colours", {"colours": []}),
        (TypeError, "colours[1]", {"colours": [NODES, NODES.float()]}),
        (TypeError, "colours[1]", {"colours": [NODES, NODES.tolist()]}),
        (ValueError, "colours[0]", {"colours": [NODES[:2], NODES]}),
        (ValueError, "colours[0]", {"colours": [NODES[None], NODES]}),
    ],
)
def test_bad_input_is_named(function, error, argument, change):
    fits = {"graphs": [GOOD, GOOD], "colours": [NODES, NODES], "rounds": 1, "order": 2}
    function(**fits)
    with refuses(error, argument):
        function(**fits | change)
