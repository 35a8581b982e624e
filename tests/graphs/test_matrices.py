"""Matrices of graphs against NetworkX, PyG, SciPy and closed forms."""

from __future__ import annotations

import itertools
import math
import re

import networkx as nx
import numpy as np
import pytest
import scipy.sparse.csgraph
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gdl.graphs.matrices import (
    adjacency_matrix,
    edge_list,
    effective_resistance,
    homophily,
    laplacian,
    propagation,
)

F64 = torch.float64
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
TOLERANCE = {torch.float32: 1e-5, F64: 1e-12}
uses_pyg = pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning:torch"
)
NORMALISATIONS = [None, "symmetric", "random_walk"]


def refuses(error, argument: str):
    return pytest.raises(error, match=rf"^{re.escape(argument)}\b")


def weighted(n: int, seed: int, *, p: float = 0.4, loops: bool = False) -> Tensor:
    """A random symmetric matrix of weights from 1 to 2, about a share p of them present."""
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(n, n, dtype=F64, generator=generator) < p
    A = ((1 + torch.rand(n, n, dtype=F64, generator=generator)) * present).triu(0 if loops else 1)
    return A + A.triu(1).T


def directed(n: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    A = torch.rand(n, n, dtype=F64, generator=generator)
    return (A * (A > 0.5)).fill_diagonal_(0)


def apart() -> Tensor:
    """Three components: weighted ones of four and five nodes, and an isolated node."""
    dense = [weighted(n, 1, p=1.0) for n in (4, 5)]
    return torch.block_diag(*dense, torch.zeros(1, 1, dtype=F64))


def graph(A: Tensor) -> nx.Graph:
    return nx.from_numpy_array(A.numpy())


def close(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> bool:
    return a.shape == b.shape and float((a - b).abs().max()) < tolerance


def permutations(n: int) -> list[Tensor]:
    return [torch.randperm(n, generator=torch.Generator().manual_seed(s)) for s in range(3)]


GRAPHS = {
    "weighted": weighted(9, 0),
    "loops": weighted(8, 1, loops=True),
    "components": apart(),
    "one node": torch.zeros(1, 1, dtype=F64),
    "no edge": torch.zeros(4, 4, dtype=F64),
    "karate": torch.from_numpy(nx.to_numpy_array(nx.karate_club_graph(), weight=None)),
}
all_graphs = pytest.mark.parametrize("name", list(GRAPHS))


# --- adjacency matrices and lists of edges ------------------------------------------------------


@both_dtypes
def test_a_row_gathers_from_the_sources(dtype):
    edge_index = torch.tensor([[0, 0, 0, 2, 3, 1], [1, 1, 2, 0, 3, 0]])
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], dtype=dtype)
    A = adjacency_matrix(edge_index, 5, weight)
    x = torch.arange(10, dtype=dtype).reshape(5, 2) + 1
    received = torch.zeros(5, 2, dtype=dtype)
    for j, i, w in zip(*edge_index.tolist(), weight.tolist(), strict=True):
        received[i] += w * x[j]
    assert A.dtype == dtype and A.shape == (5, 5)
    assert torch.equal(A @ x, received) and not torch.equal(A.T @ x, received)
    assert A[1, 0] == 3 and A[3, 3] == 5


@uses_pyg
def test_the_matrix_is_that_of_pyg():
    from torch_geometric.utils import to_dense_adj

    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(0, 6, (2, 40), generator=generator)
    weight = torch.rand(40, dtype=F64, generator=generator)
    theirs = to_dense_adj(edge_index, edge_attr=weight, max_num_nodes=6)[0]
    assert close(adjacency_matrix(edge_index, 6, weight), theirs.T)
    assert not close(adjacency_matrix(edge_index, 6, weight), theirs)


@pytest.mark.parametrize("name", ["karate", "components", "loops"])
def test_the_matrix_of_a_graph_is_that_of_networkx(name):
    G = graph(GRAPHS[name])
    one_way = [(u, v, data["weight"]) for u, v, data in G.edges(data=True)]
    pairs = one_way + [(v, u, w) for u, v, w in one_way if u != v]
    edge_index = torch.tensor([[u, v] for u, v, _ in pairs]).T
    weight = torch.tensor([w for *_, w in pairs], dtype=F64)
    found = adjacency_matrix(edge_index, len(G), weight)
    assert torch.equal(found, torch.from_numpy(nx.to_numpy_array(G)).to(F64))


def test_dtypes_of_the_matrix():
    edges = torch.tensor([[0], [1]])
    one = torch.ones(1, dtype=torch.float16)
    assert adjacency_matrix(edges, 2).dtype == torch.get_default_dtype()
    assert adjacency_matrix(edges, 2, dtype=F64).dtype == F64
    assert adjacency_matrix(edges, 2, one).dtype == torch.float16
    assert adjacency_matrix(edges, 2, one, dtype=F64).dtype == F64


def test_the_matrix_is_differentiable_in_the_weights():
    edge_index = torch.tensor([[0, 0, 2], [1, 1, 2]])
    weight = torch.tensor([1.0, 2.0, 3.0], dtype=F64, requires_grad=True)
    scale = torch.arange(9, dtype=F64).reshape(3, 3)
    (adjacency_matrix(edge_index, 3, weight) * scale).sum().backward()
    assert weight.grad.tolist() == [3.0, 3.0, 8.0]


@given(st.integers(1, 7), st.data())
@settings(deadline=None, max_examples=50)
def test_the_list_of_edges_gives_the_matrix_back(n, data):
    pairs = st.lists(st.tuples(*[st.integers(0, n - 1)] * 2), unique=True)
    chosen = data.draw(pairs)
    edge_index = torch.tensor(chosen, dtype=torch.int64).reshape(-1, 2).T
    found = edge_list(adjacency_matrix(edge_index, n))
    assert found.dtype == torch.int64 and found.is_contiguous()
    # By target, then by source.
    assert found.T.tolist() == [list(e) for e in sorted(chosen, key=lambda e: (e[1], e[0]))]


def test_weights_are_found_again():
    A = directed(6, 0)
    edge_index = edge_list(A)
    source, target = edge_index
    assert torch.equal(adjacency_matrix(edge_index, 6, A[target, source]), A)
    assert not torch.equal(adjacency_matrix(edge_index, 6, A[source, target]), A)


# --- Laplacians ---------------------------------------------------------------------------------


@all_graphs
def test_laplacians_are_those_of_networkx(name):
    A = GRAPHS[name]
    plain = torch.from_numpy(nx.laplacian_matrix(graph(A)).toarray()).to(F64)
    normalised = torch.from_numpy(nx.normalized_laplacian_matrix(graph(A)).toarray())
    assert close(laplacian(A), plain)
    assert close(laplacian(A, "symmetric"), normalised)


@uses_pyg
@pytest.mark.parametrize("name", ["weighted", "karate"])
def test_laplacians_are_those_of_pyg(name):
    from torch_geometric.utils import get_laplacian

    A = GRAPHS[name]
    assert A.sum(1).min() > 0
    edges = edge_list(A)
    source, target = edges
    for ours, theirs in {None: None, "symmetric": "sym", "random_walk": "rw"}.items():
        found = get_laplacian(edges, A[target, source], theirs, num_nodes=len(A))
        # Their entry (row, column) is (source, target); both are rows here.
        assert close(laplacian(A, ours), adjacency_matrix(found[0].flip(0), len(A), found[1]))


@uses_pyg
def test_isolated_nodes_are_as_in_scipy_and_not_as_in_pyg():
    from torch_geometric.utils import get_laplacian

    A = apart()
    theirs = scipy.sparse.csgraph.laplacian(A.numpy(), normed=True)
    assert close(laplacian(A, "symmetric"), torch.from_numpy(theirs))
    edges = edge_list(A)
    found = get_laplacian(edges, A[edges[1], edges[0]], "sym", num_nodes=len(A))
    difference = adjacency_matrix(*found[:1], len(A), found[1]) - laplacian(A, "symmetric")
    expected = torch.zeros_like(A)
    expected[-1, -1] = 1
    assert close(difference, expected)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_quadratic_form(seed):
    A = weighted(8, seed, loops=True)
    x = torch.randn(8, dtype=F64, generator=torch.Generator().manual_seed(seed))
    energy = sum(A[i, j] * (x[i] - x[j]) ** 2 for i in range(8) for j in range(i))
    assert energy > 0.1 and math.isclose(x @ laplacian(A) @ x, energy, rel_tol=1e-12)


@all_graphs
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_kernel_counts_the_components(name, normalisation):
    A = GRAPHS[name]
    eigenvalues = torch.linalg.eigvals(laplacian(A, normalisation))
    assert eigenvalues.imag.abs().max() < 1e-10
    assert eigenvalues.real.min() > -1e-10
    components = nx.number_connected_components(graph(A))
    assert int((eigenvalues.real < 1e-8).sum()) == components
    if normalisation:
        assert eigenvalues.real.max() < 2 + 1e-10


def test_the_largest_eigenvalue_is_two_on_bipartite_graphs_only():
    for n, largest in ((6, 2.0), (5, 1 + math.cos(math.pi / 5))):
        A = torch.from_numpy(nx.to_numpy_array(nx.cycle_graph(n)))
        found = torch.linalg.eigvalsh(laplacian(A, "symmetric"))[-1]
        assert math.isclose(found, largest, rel_tol=1e-12)


def test_a_random_walk_keeps_constants():
    L = laplacian(weighted(9, 0), "random_walk")
    ones = torch.ones(9, dtype=F64)
    assert (L @ ones).abs().max() < 1e-14 and (L.T @ ones).abs().max() > 0.1
    assert not torch.allclose(L, L.T)


# --- the propagation matrix ---------------------------------------------------------------------


@uses_pyg
@pytest.mark.parametrize("A", [weighted(9, 0), apart(), directed(7, 0)], ids=["w", "parts", "d"])
def test_propagation_is_that_of_pyg(A):
    from torch_geometric.nn.conv.gcn_conv import gcn_norm

    edges = edge_list(A)
    edges, weight = gcn_norm(edges, A[edges[1], edges[0]], len(A), add_self_loops=True)
    assert close(propagation(A), adjacency_matrix(edges, len(A), weight))


@all_graphs
def test_the_eigenvectors_of_one(name):
    A = GRAPHS[name]
    eigenvalues = torch.linalg.eigvalsh(propagation(A))
    assert eigenvalues[0] > -1 and eigenvalues[-1] < 1 + 1e-12
    components = list(nx.connected_components(graph(A)))
    assert int((eigenvalues > 1 - 1e-8).sum()) == len(components)
    for nodes in components:
        member = torch.zeros(len(A), dtype=F64)
        member[list(nodes)] = 1
        v = member * (1 + A.sum(1)).sqrt()
        assert close(propagation(A) @ v, v)


def test_a_self_loop_adds_to_the_identity():
    A = torch.tensor([[3.0, 0.0], [0.0, 0.0]], dtype=F64)
    assert close(propagation(A), torch.eye(2, dtype=F64))
    # D~ = diag(5, 2), and A + I = [[4, 1], [1, 1]].
    A = torch.tensor([[3.0, 1.0], [1.0, 0.0]], dtype=F64)
    expected = torch.tensor([[4 / 5, 10**-0.5], [10**-0.5, 1 / 2]], dtype=F64)
    assert close(propagation(A), expected)


# --- effective resistance -----------------------------------------------------------------------


def hops(n: int) -> Tensor:
    i = torch.arange(n, dtype=F64)
    return (i - i[:, None]).abs()


CLOSED = {
    "path": (nx.path_graph, lambda n: hops(n)),
    "cycle": (nx.cycle_graph, lambda n: hops(n) * (n - hops(n)) / n),
    "complete": (nx.complete_graph, lambda n: 2 / n * (1 - torch.eye(n, dtype=F64))),
}


@both_dtypes
@pytest.mark.parametrize("kind", list(CLOSED))
@pytest.mark.parametrize("n", [3, 8, 50])
def test_resistance_in_closed_form(dtype, kind, n):
    make, formula = CLOSED[kind]
    R = effective_resistance(torch.from_numpy(nx.to_numpy_array(make(n))).to(dtype))
    assert R.dtype == dtype and not R.diagonal().any()
    assert close(R.to(F64) / n, formula(n) / n, TOLERANCE[dtype])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_resistance_is_that_of_networkx(seed):
    # A cycle keeps the random graph connected.
    A = weighted(9, seed, p=0.3) + torch.from_numpy(nx.to_numpy_array(nx.cycle_graph(9)))
    G = graph(A)
    theirs = nx.resistance_distance(G, weight="weight", invert_weight=False)
    expected = torch.tensor([[theirs[i][j] for j in range(9)] for i in range(9)], dtype=F64)
    assert close(effective_resistance(A), expected)


@all_graphs
def test_resistance_from_the_pseudo_inverse(name):
    A = GRAPHS[name]
    L = torch.linalg.pinv(laplacian(A), hermitian=True)
    own = L.diagonal()
    expected = own[:, None] + own - 2 * L
    for inside, outside in itertools.permutations(nx.connected_components(graph(A)), 2):
        expected[[[i] for i in inside], list(outside)] = math.inf
    R = effective_resistance(A)
    finite = expected.isfinite()
    assert torch.equal(R.isfinite(), finite)
    assert close(R[finite], expected[finite]) and bool((R[~finite] > 0).all())


@all_graphs
def test_foster(name):
    A = GRAPHS[name]
    R = effective_resistance(A)
    joined = A > 0
    total = (A[joined] * R[joined]).sum() / 2
    expected = len(A) - nx.number_connected_components(graph(A))
    assert math.isclose(total, expected, rel_tol=1e-12, abs_tol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rayleigh(seed):
    A = weighted(7, seed, p=0.3)
    R = effective_resistance(A)
    for i, j in itertools.combinations(range(7), 2):
        more = A.clone()
        more[i, j] = more[j, i] = A[i, j] + 0.5
        changed = effective_resistance(more)
        assert bool((changed <= R + 1e-12).all())
        assert changed[i, j] < R[i, j]


def test_resistance_is_a_metric():
    R = effective_resistance(GRAPHS["karate"])
    assert torch.equal(R, R.T) and bool((R + torch.eye(34) > 0).all())
    through = R[:, :, None] + R[None]
    assert bool((R[:, None] <= through + 1e-12).all())


@pytest.mark.parametrize("scale", [1e-300, 1e-10, 1e10, 1e300])
def test_resistance_scales_inversely(scale):
    A = apart()
    R = effective_resistance(A)
    finite = R.isfinite()
    found = effective_resistance(A * scale)
    assert torch.equal(found.isfinite(), finite)
    assert close(found[finite] * scale, R[finite])


@pytest.mark.parametrize("small", [1e-6, 1e-9, 1e-12])
def test_a_weak_bridge_is_no_gap(small):
    A = torch.diag(torch.tensor([1.0, small], dtype=F64), 1)
    R = effective_resistance(A + A.T)
    assert math.isclose(R[0, 1], 1, rel_tol=1e-6)
    assert math.isclose(R[0, 2], 1 + 1 / small, rel_tol=1e-6)


def test_what_rounding_spoils_is_refused():
    A = torch.diag(torch.tensor([1e-20, 1.0], dtype=F64), 1)
    with refuses(ValueError, "adjacency"):
        effective_resistance(A + A.T)


def test_self_loops_carry_no_current():
    A = apart()
    loops = A + torch.diag(torch.logspace(-3, 20, len(A), dtype=F64))
    assert torch.equal(effective_resistance(loops), effective_resistance(A))


# --- homophily ----------------------------------------------------------------------------------


@uses_pyg
@pytest.mark.parametrize("A", [(directed(9, 0) > 0).double(), GRAPHS["karate"]], ids=["d", "k"])
def test_homophily_is_that_of_pyg(A):
    from torch_geometric.utils import homophily as theirs

    labels = torch.arange(len(A)) % 3
    expected = theirs(edge_list(A), labels, method="edge")
    assert 0.1 < expected < 0.9 and math.isclose(homophily(A, labels), expected, abs_tol=1e-6)


def test_homophily_of_blocks_and_of_bipartitions():
    A = torch.block_diag(weighted(4, 0, p=1.0), weighted(3, 0, p=1.0))
    assert homophily(A, torch.tensor([5, 5, 5, 5, -1, -1, -1])) == 1
    even = torch.from_numpy(nx.to_numpy_array(nx.cycle_graph(6)))
    assert homophily(even, torch.arange(6) % 2) == 0


def test_homophily_weighs_edges_and_counts_loops():
    A = torch.tensor([[2.0, 1.0, 0.0], [1.0, 0.0, 3.0], [0.0, 3.0, 0.0]])
    assert math.isclose(homophily(A, torch.tensor([0, 0, 1])), 0.4)


# --- all of them --------------------------------------------------------------------------------

MATRICES = {
    "laplacian": laplacian,
    "symmetric": lambda A: laplacian(A, "symmetric"),
    "random_walk": lambda A: laplacian(A, "random_walk"),
    "propagation": propagation,
    "resistance": effective_resistance,
}
all_matrices = pytest.mark.parametrize("kind", list(MATRICES))


@all_matrices
def test_permutations_permute(kind):
    make, A = MATRICES[kind], weighted(9, 1, p=0.5)
    for p in permutations(9):
        assert close(make(A[p][:, p]), make(A)[p][:, p])
    assert not close(make(A), make(A)[p][:, p])


def test_homophily_does_not_depend_on_the_order():
    A, labels = weighted(9, 1), torch.arange(9) % 2
    for p in permutations(9):
        assert math.isclose(homophily(A[p][:, p], labels[p]), homophily(A, labels))


@all_matrices
def test_float32_is_near_float64(kind):
    A = weighted(9, 1, p=0.5)
    found = MATRICES[kind](A.float())
    assert found.dtype == torch.float32
    assert close(found.double(), MATRICES[kind](A.float().double()), 1e-5)


@all_matrices
def test_the_input_stays_as_it_was(kind):
    A = weighted(6, 0, loops=True)
    before = A.clone()
    MATRICES[kind](A)
    assert torch.equal(A, before)


@all_matrices
def test_slopes_are_those_of_finite_differences(kind):
    # Weights on the edges of a connected graph, so that every result is finite.
    pattern = torch.from_numpy(nx.to_numpy_array(nx.wheel_graph(5))).triu(1).bool()

    def result(weight):
        A = torch.zeros(5, 5, dtype=F64).masked_scatter(pattern, weight)
        return MATRICES[kind](A + A.T)

    weight = torch.linspace(0.5, 2, int(pattern.sum()), dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(result, weight)


@all_matrices
def test_slopes_are_finite_with_isolated_nodes(kind):
    A = apart().requires_grad_()
    M = MATRICES[kind](A)
    M.masked_fill(~M.isfinite(), 0).square().sum().backward()
    assert bool(A.grad.isfinite().all()) and A.grad.abs().max() > 0


# --- what they refuse ---------------------------------------------------------------------------

ONE = torch.zeros(3, 3)
LOP = torch.zeros(3, 3).index_put((torch.tensor([0]), torch.tensor([1])), torch.tensor(1.0))
BAD = {
    "not a tensor": (TypeError, np.zeros((3, 3))),
    "a list": (TypeError, [[0.0]]),
    "none": (TypeError, None),
    "integers": (TypeError, ONE.long()),
    "truth values": (TypeError, ONE.bool()),
    "complex": (TypeError, ONE.to(torch.complex64)),
    "not square": (ValueError, torch.zeros(3, 4)),
    "a vector": (ValueError, torch.zeros(3)),
    "a batch": (ValueError, torch.zeros(2, 3, 3)),
    "no node": (ValueError, torch.zeros(0, 0)),
    "nan": (ValueError, ONE + math.nan),
    "infinite": (ValueError, ONE + math.inf),
}
NEGATIVE = {
    "negative": (ValueError, -LOP - LOP.T),
    "overflow": (ValueError, torch.full((3, 3), 3e38)),
}
ASYMMETRIC = {"asymmetric": (ValueError, LOP), "slightly": (ValueError, 1 + 1e-4 * LOP)}
CALLS = {
    "edge_list": (edge_list, BAD),
    "propagation": (propagation, BAD | NEGATIVE),
    "homophily": (lambda A: homophily(A, torch.tensor([0, 0, 1])), BAD | NEGATIVE),
    "laplacian": (laplacian, BAD | NEGATIVE | ASYMMETRIC),
    "symmetric": (MATRICES["symmetric"], BAD | NEGATIVE | ASYMMETRIC),
    "random_walk": (MATRICES["random_walk"], BAD | NEGATIVE | ASYMMETRIC),
    "effective_resistance": (effective_resistance, BAD | NEGATIVE | ASYMMETRIC),
}


@pytest.mark.parametrize(("call", "bad"), [(c, b) for c in CALLS for b in CALLS[c][1]])
def test_bad_matrices_are_named(call, bad):
    function, cases = CALLS[call]
    function(torch.ones(3, 3))
    error, value = cases[bad]
    with refuses(error, "adjacency"):
        function(value)


@pytest.mark.parametrize("name", ["edge_list", "propagation", "homophily"])
def test_directed_graphs_are_allowed_where_nothing_needs_symmetry(name):
    CALLS[name][0](LOP)


def test_rounding_is_no_asymmetry():
    A = weighted(6, 0, p=0.8)
    p = torch.nextafter(A, A + 1).triu(1) + A.tril()
    assert not torch.equal(p, p.T)
    assert close(laplacian(p), laplacian(A))
    assert torch.equal(effective_resistance(p), effective_resistance(p).T)


EDGES = torch.tensor([[0, 1], [1, 2]])
FITS = {"edge_index": EDGES, "num_nodes": 3, "weight": torch.ones(2), "dtype": None}


@pytest.mark.parametrize(
    ("error", "argument", "value"),
    [
        (TypeError, "edge_index", EDGES.float()),
        (TypeError, "edge_index", EDGES.int()),
        (TypeError, "edge_index", EDGES.tolist()),
        (ValueError, "edge_index", EDGES.T.repeat(2, 2)),
        (ValueError, "edge_index", EDGES[0]),
        (ValueError, "edge_index", EDGES + 1),
        (ValueError, "edge_index", EDGES - 1),
        (ValueError, "num_nodes", 0),
        (ValueError, "num_nodes", -3),
        (TypeError, "num_nodes", 3.0),
        (TypeError, "num_nodes", True),
        (TypeError, "weight", torch.ones(2).long()),
        (TypeError, "weight", [1.0, 1.0]),
        (ValueError, "weight", torch.ones(3)),
        (ValueError, "weight", torch.ones(1)),
        (ValueError, "weight", torch.ones(2, 1)),
        (ValueError, "weight", torch.tensor([1.0, math.nan])),
        (ValueError, "weight", torch.ones(2, device="meta")),
        (TypeError, "dtype", torch.int64),
        (TypeError, "dtype", "float32"),
    ],
)
def test_bad_edges_are_named(error, argument, value):
    adjacency_matrix(**FITS)
    with refuses(error, argument):
        adjacency_matrix(**FITS | {argument: value})


@pytest.mark.parametrize("value", ["sym", "rw", True, 1, "Symmetric"])
def test_a_bad_normalisation_is_named(value):
    with refuses(ValueError, "normalisation"):
        laplacian(ONE, value)


@pytest.mark.parametrize(
    ("error", "value"),
    [
        (TypeError, torch.zeros(3)),
        (TypeError, [0, 0, 1]),
        (TypeError, torch.zeros(3, dtype=torch.int32)),
        (ValueError, torch.zeros(2, dtype=torch.int64)),
        (ValueError, torch.zeros(1, dtype=torch.int64)),
        (ValueError, torch.zeros(3, 1, dtype=torch.int64)),
        (ValueError, torch.zeros(3, dtype=torch.int64, device="meta")),
    ],
)
def test_bad_labels_are_named(error, value):
    with refuses(error, "labels"):
        homophily(LOP, value)


def test_a_graph_without_edges_has_no_homophily():
    with refuses(ValueError, "adjacency"):
        homophily(ONE, torch.zeros(3, dtype=torch.int64))
