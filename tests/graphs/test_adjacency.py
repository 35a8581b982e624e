"""The adjacency matrix: its products beside dense ones, degrees, softmax and sums at nodes."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad

from gdl.graphs.adjacency import Adjacency, aggregate, neighbour_softmax
from tests.graphs.graph_samples import F64, TOLERANCE, both_dtypes, close, random, rough_edges
from tests.test_representations import refuses

EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])


def matrix(weighted: bool = True, dtype: torch.dtype = F64, n: int = 7) -> Adjacency:
    edge_index = rough_edges(n)
    weight = random(edge_index.shape[1], seed=5, dtype=dtype).abs() if weighted else None
    return Adjacency(edge_index, n, weight, dtype=None if weighted else dtype)


def by_hand(edge_index: Tensor, n: int, weight: Tensor) -> Tensor:
    dense = torch.zeros(n, n, dtype=weight.dtype)
    for (j, i), w in zip(edge_index.T.tolist(), weight, strict=True):
        dense[i, j] += w
    return dense


weights = pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])


# --- products -----------------------------------------------------------------------------------


@both_dtypes
@weights
@pytest.mark.parametrize("shape", [(7,), (7, 0), (7, 1), (7, 5)])
def test_a_product_is_that_of_the_dense_matrix(dtype, weighted, shape):
    A, x = matrix(weighted, dtype), random(*shape, dtype=dtype)
    dense = by_hand(A.edge_index, 7, A.weight)
    assert torch.allclose(A.dense(), dense, atol=TOLERANCE[dtype])
    assert close(A @ x, dense @ x, TOLERANCE[dtype])
    assert A.matmul(x).dtype == A.dtype == dtype
    assert (A.num_nodes, A.num_edges, A.weighted) == (7, A.edge_index.shape[1], weighted)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 2**31))
def test_any_graph_gives_the_product_of_its_dense_matrix(n, edges, seed):
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(n, (2, edges), generator=generator)
    weight = torch.randn(edges, dtype=F64, generator=generator)
    A, x = Adjacency(edge_index, n, weight), random(n, 3, seed=1)
    assert close(A @ x, by_hand(edge_index, n, weight) @ x, 1e-13)


def test_the_order_of_the_edges_is_kept_and_does_not_matter():
    A = matrix()
    assert torch.equal(A.edge_index, rough_edges(7))
    order = torch.randperm(A.num_edges, generator=torch.Generator().manual_seed(0))
    other = Adjacency(A.edge_index[:, order], 7, A.weight[order])
    x = random(7, 3)
    assert torch.equal(other.edge_index, A.edge_index[:, order])
    assert close(other @ x, A @ x)
    misaligned = Adjacency(A.edge_index[:, order], 7, A.weight)
    assert not close(misaligned @ x, A @ x, 1e-3)


def test_edges_lead_from_source_to_target():
    A = Adjacency(torch.tensor([[0], [1]]), 2)
    assert (A @ torch.tensor([3.0, 5.0])).tolist() == [0.0, 3.0]


def test_duplicates_and_loops_count_as_often_as_they_come():
    A = Adjacency(torch.tensor([[0, 0, 1], [1, 1, 1]]), 2, torch.tensor([1.0, 2.0, 4.0]))
    assert A.dense().tolist() == [[0.0, 0.0], [3.0, 4.0]]
    assert (A @ torch.tensor([1.0, 10.0])).tolist() == [0.0, 43.0]
    assert A.degrees().tolist() == [0.0, 7.0]


def test_derivatives_are_those_of_differences():
    A, x = matrix(), random(7, 2).requires_grad_()
    weight = A.weight.clone().requires_grad_()

    def product(x, weight):
        return Adjacency(A.edge_index, 7, weight) @ x

    def normalised(x, weight):
        made = Adjacency(A.edge_index, 7, weight)
        return [made.normalised(kind, self_loops=loops) @ x for kind, loops in KINDS]

    for function in (product, normalised):
        assert torch.autograd.gradcheck(function, (x, weight))
        assert torch.autograd.gradgradcheck(function, (x, weight))


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_a_transform_within_another_hides_no_gradient():
    A, x = matrix(), random(3, 7, 2)
    # What is kept, the transpose as well, has to be made outside of the transforms.
    (A @ x[0].clone().requires_grad_()).sum().backward()

    def energy(product):
        return lambda x: torch.vmap(product)(x).square().sum()

    found, expected = (torch.func.grad(energy(f))(x) for f in (A.matmul, A.dense().matmul))
    assert expected.norm() > 1 and close(found, expected)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("enabled", [True, False])
def test_forward_derivatives_are_refused_rather_than_lost(enabled):
    A, x = matrix(), random(7, 2)
    with forward_ad.dual_level(), torch.set_grad_enabled(enabled):
        dual = forward_ad.make_dual(x, x)
        with pytest.raises(NotImplementedError, match="jvp"):
            A @ dual


@both_dtypes
def test_gradients_are_products_with_the_dense_transpose(dtype):
    A, x, g = matrix(dtype=dtype), random(7, 3, dtype=dtype).requires_grad_(), random(7, 3, seed=2)
    (gradient,) = torch.autograd.grad(A @ x, x, g.to(dtype))
    assert close(gradient, A.dense().T @ g.to(dtype), TOLERANCE[dtype])
    assert not close(gradient, A.dense() @ g.to(dtype), 1e-3)


def test_a_permutation_of_the_nodes_conjugates_the_matrix():
    A, p = matrix(), torch.tensor([3, 0, 6, 1, 2, 5, 4])
    P = torch.zeros(7, 7, dtype=F64)
    P[p, torch.arange(7)] = 1
    moved = Adjacency(p[A.edge_index], 7, A.weight)
    assert close(moved.dense(), P @ A.dense() @ P.T)
    assert not close(moved.dense(), P.T @ A.dense() @ P, 1e-3)


@weights
def test_attention_is_a_product_for_each_head(weighted):
    A, values = matrix(weighted), random(7, 2, 3)
    shares = random(A.num_edges, 2, seed=3)
    heard = A.attend(shares, values)
    for h in range(2):
        assert close(heard[:, h], by_hand(A.edge_index, 7, shares[:, h]) @ values[:, h])
    inputs = values.requires_grad_(), shares.requires_grad_()
    assert torch.autograd.gradcheck(lambda v, s: A.attend(s, v), inputs)
    assert torch.autograd.gradgradcheck(lambda v, s: A.attend(s, v), inputs)


# --- degrees and normalisation ------------------------------------------------------------------

KINDS = [("symmetric", False), ("symmetric", True), ("row", False), ("row", True)]
kinds = pytest.mark.parametrize(("kind", "loops"), KINDS)


def normalised_by_hand(A: Adjacency, kind: str, loops: bool) -> Tensor:
    dense = A.dense()
    if loops:
        had = torch.zeros(A.num_nodes, dtype=torch.bool)
        for j, i in A.edge_index.T.tolist():
            had[i] |= i == j
        diagonal = dense.diagonal().clone() if A.weighted else torch.ones(A.num_nodes)
        diagonal[~had] = 1
        dense = dense - dense.diagonal().diag() + diagonal.to(dense).diag()
    degrees = dense.sum(1)
    power = -0.5 if kind == "symmetric" else -1
    scale = torch.tensor([d**power if d else 0.0 for d in degrees.tolist()], dtype=dense.dtype)
    scaled = scale[:, None] * dense
    return scaled * scale if kind == "symmetric" else scaled


@both_dtypes
@weights
@kinds
def test_normalised_matrices_are_the_dense_ones(dtype, weighted, kind, loops):
    A = matrix(weighted, dtype)
    found = A.normalised(kind, self_loops=loops)
    assert close(found.dense(), normalised_by_hand(A, kind, loops), TOLERANCE[dtype])
    assert close(A.degrees(), A.dense().sum(1), TOLERANCE[dtype])


def test_the_rough_graph_has_what_makes_trouble():
    A = matrix(weighted=False)
    pairs = A.edge_index.T.tolist()
    assert (A.degrees() == 0).any() and A.dense().max() > 1 and A.dense().diagonal().max() > 1
    assert len(pairs) > len({tuple(pair) for pair in pairs})
    assert not torch.equal(A.dense(), A.dense().T)


def test_rows_sum_to_one_where_there_are_edges():
    A = matrix()
    sums = A.normalised("row").degrees()
    assert close(sums, (A.degrees() > 0).double())


def test_a_weight_of_zero_on_every_edge_gives_zeros_with_gradients():
    weight = torch.zeros(3, dtype=F64, requires_grad=True)
    for kind in ("symmetric", "row"):
        dense = Adjacency(EDGES, 3, weight).normalised(kind).dense()
        (gradient,) = torch.autograd.grad(dense.sum(), weight)
        assert torch.equal(dense, torch.zeros(3, 3, dtype=F64)) and torch.isfinite(gradient).all()


def test_what_was_made_is_kept_unless_its_weights_learn():
    A = matrix()
    for kind, loops in KINDS:
        assert A.normalised(kind, self_loops=loops) is A.normalised(kind, self_loops=loops)
    assert A.with_self_loops() is A.with_self_loops()
    assert A.normalised("row") is not A.normalised("symmetric")
    assert A.normalised("row") is not A.normalised("row", self_loops=True)
    learning = Adjacency(EDGES, 3, torch.ones(3, requires_grad=True))
    for _ in range(2):
        (learning.normalised("symmetric", self_loops=True) @ torch.ones(3)).sum().backward()


def test_self_loops_come_last_in_the_order_of_the_nodes():
    A = Adjacency(torch.tensor([[0, 1, 1], [0, 2, 1]]), 3).with_self_loops()
    assert A.edge_index.tolist() == [[0, 1, 1, 0, 1, 2], [0, 2, 1, 0, 1, 2]]
    assert A.weight.tolist() == [0.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    weighted = Adjacency(torch.tensor([[0, 0, 1], [0, 0, 2]]), 3, torch.tensor([2.0, 3.0, 7.0]))
    assert weighted.with_self_loops().weight.tolist() == [0.0, 0.0, 7.0, 5.0, 1.0, 1.0]


# --- softmax and sums at nodes ------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_the_softmax_is_that_of_each_node(dtype, shape):
    target = rough_edges(7)[1]
    scores = 5 * random(len(target), *shape, dtype=dtype)
    shares = neighbour_softmax(scores, target, 7)
    for i in range(7):
        mine = target == i
        assert close(shares[mine], scores[mine].softmax(0), TOLERANCE[dtype])
    assert shares.shape == scores.shape and shares.std() > 0.1


@both_dtypes
def test_large_scores_do_no_harm(dtype):
    target = torch.tensor([0, 0, 2, 2])
    scores = torch.tensor([1e4, 1e4 - 1, -1e4, -2e4], dtype=dtype, requires_grad=True)
    shares = neighbour_softmax(scores, target, 3)
    expected = [1 / (1 + math.exp(-1)), 1 / (1 + math.e), 1.0, 0.0]
    assert close(shares, torch.tensor(expected, dtype=dtype), TOLERANCE[dtype])
    (gradient,) = torch.autograd.grad(shares[0], scores)
    assert torch.isfinite(gradient).all() and gradient[0] > 0.1


@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_what_arrives_is_the_loop_over_nodes(reduce, shape):
    target = rough_edges(7)[1]
    values = random(len(target), *shape) - 1
    found = aggregate(values, target, 7, reduce)
    for i in range(7):
        mine = values[target == i]
        expected = torch.zeros(shape, dtype=F64)
        if len(mine):
            expected = mine.amax(0) if reduce == "max" else getattr(mine, reduce)(0)
        assert close(found[i], expected)
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(0))
    assert close(aggregate(values[order], target[order], 7, reduce), found)


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_a_matrix_sums_along_its_own_edges(shape):
    A = matrix(weighted=True)
    values, target = random(A.num_edges, *shape), A.edge_index[1]
    assert torch.equal(A.softmax(values), neighbour_softmax(values, target, 7))
    for reduce in ("sum", "mean", "max"):
        assert torch.equal(A.aggregate(values, reduce), aggregate(values, target, 7, reduce))
    assert not torch.equal(A.aggregate(values, "sum"), aggregate(values, A.edge_index[0], 7, "sum"))


def test_sums_and_softmax_have_the_derivatives_of_differences():
    target = rough_edges(7)[1]
    values = random(len(target), 2).requires_grad_()
    for reduce in ("sum", "mean", "max"):
        assert torch.autograd.gradcheck(lambda v, r=reduce: aggregate(v, target, 7, r), values)
    assert torch.autograd.gradcheck(lambda s: neighbour_softmax(s, target, 7), values)


def test_without_edges_nothing_arrives():
    none, empty = torch.empty(2, 0, dtype=torch.int64), torch.empty(0, 2, requires_grad=True)
    A = Adjacency(none, 3)
    assert neighbour_softmax(empty, none[1], 3).shape == (0, 2)
    for reduce in ("sum", "mean", "max"):
        assert aggregate(empty, none[1], 3, reduce).tolist() == [[0.0, 0.0]] * 3
    assert (A @ torch.ones(3, 2)).tolist() == [[0.0, 0.0]] * 3
    assert A.attend(torch.empty(0, 2), torch.ones(3, 2, 4)).abs().sum() == 0
    for kind in ("symmetric", "row"):
        assert A.normalised(kind).dense().abs().sum() == 0
        assert torch.equal(A.normalised(kind, self_loops=True).dense(), torch.eye(3))


# --- its life -----------------------------------------------------------------------------------


def test_it_moves_between_dtypes_and_devices():
    A, x = matrix(weighted=False), random(7, 3)
    assert A.to(torch.float64) is A and A.to("cpu") is A
    single = A.to(torch.float32)
    assert single.dtype == torch.float32 and not single.weighted
    assert close(single @ x.float(), (A @ x).float(), 1e-6)
    meta = A.to("meta", torch.float32)
    assert meta.device.type == "meta" and meta.dtype == torch.float32
    assert meta.normalised("row").matmul(x.float().to("meta")).shape == (7, 3)
    assert matrix().to(torch.float32).weighted
    with refuses(TypeError, "dtype"):
        A.to(torch.int64)


def test_copies_compute_the_same():
    A, x = matrix(), random(7, 3).requires_grad_()
    out = A.normalised("symmetric", self_loops=True) @ x
    out.sum().backward()
    for twin in (copy.deepcopy(A), pickle.loads(pickle.dumps(A))):
        assert torch.equal(twin.normalised("symmetric", self_loops=True) @ x, out)


def test_what_was_kept_in_inference_mode_has_gradients_later():
    A, B, x = matrix(), matrix(), random(7, 3)
    shares = random(B.num_edges, 1)
    with torch.inference_mode():
        A.normalised("symmetric", self_loops=True) @ x
        A @ x
        B.attend(shares, x[:, None])
    x, shares = x.requires_grad_(), shares.requires_grad_()
    (A @ x + A.normalised("symmetric", self_loops=True) @ x).sum().backward()
    B.attend(shares, x[:, None]).sum().backward()
    assert x.grad.abs().min() > 0 and shares.grad.abs().min() > 0


def test_it_introduces_itself():
    assert repr(matrix()) == "Adjacency(7 nodes, 22 edges, weighted, torch.float64)"


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (ValueError, "edge_index", {"edge_index": EDGES + 1}),
        (ValueError, "edge_index", {"edge_index": EDGES - 1}),
        (ValueError, "edge_index", {"edge_index": EDGES[0]}),
        (ValueError, "edge_index", {"edge_index": EDGES.repeat(2, 1)}),
        (TypeError, "edge_index", {"edge_index": EDGES.float()}),
        (TypeError, "edge_index", {"edge_index": EDGES.int()}),
        (TypeError, "edge_index", {"edge_index": EDGES.tolist()}),
        (ValueError, "num_nodes", {"num_nodes": 0}),
        (TypeError, "num_nodes", {"num_nodes": 3.0}),
        (TypeError, "num_nodes", {"num_nodes": True}),
        (ValueError, "weight", {"weight": torch.ones(2)}),
        (ValueError, "weight", {"weight": torch.ones(3, 1)}),
        (ValueError, "weight", {"weight": torch.tensor([1.0, math.nan, 1.0])}),
        (ValueError, "weight", {"weight": torch.tensor([1.0, math.inf, -math.inf])}),
        (ValueError, "weight", {"weight": torch.ones(3, device="meta")}),
        (TypeError, "weight", {"weight": torch.ones(3).long()}),
        (TypeError, "weight", {"weight": [1.0, 1.0, 1.0]}),
        (TypeError, "dtype", {"dtype": torch.int64}),
        (ValueError, "dtype", {"dtype": torch.float32, "weight": torch.ones(3)}),
    ],
)
def test_a_bad_matrix_is_named(error, argument, change):
    with refuses(error, argument):
        Adjacency(**{"edge_index": EDGES, "num_nodes": 3, **change})


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (ValueError, "x", lambda A: A @ torch.ones(2, 3)),
        (ValueError, "x", lambda A: A @ torch.ones(3, 1, 1)),
        (ValueError, "x", lambda A: A @ torch.ones(3, device="meta")),
        (TypeError, "x", lambda A: A @ torch.ones(3).double()),
        (TypeError, "x", lambda A: A @ torch.ones(3).long()),
        (TypeError, "x", lambda A: A @ 3.0),
        (ValueError, "weights", lambda A: A.attend(torch.ones(2, 1), torch.ones(3, 1, 1))),
        (ValueError, "weights", lambda A: A.attend(torch.ones(3), torch.ones(3, 1, 1))),
        (ValueError, "values", lambda A: A.attend(torch.ones(3, 1), torch.ones(3, 2, 1))),
        (ValueError, "values", lambda A: A.attend(torch.ones(3, 1), torch.ones(3, 1))),
        (TypeError, "values", lambda A: A.attend(torch.ones(3, 1), torch.ones(3, 1, 1).double())),
        (TypeError, "values", lambda A: A.attend(torch.ones(3, 1), None)),
        (TypeError, "values", lambda A: A.attend(torch.ones(3, 1), torch.ones(3, 1, 1).long())),
        (TypeError, "weights", lambda A: A.attend(torch.ones(3, 1).long(), torch.ones(3, 1, 1))),
        (ValueError, "scores", lambda A: A.softmax(torch.ones(2))),
        (ValueError, "scores", lambda A: A.softmax(torch.tensor(1.0))),
        (TypeError, "scores", lambda A: A.softmax(torch.ones(3).long())),
        (ValueError, "messages", lambda A: A.aggregate(torch.ones(2))),
        (ValueError, "messages", lambda A: A.aggregate(torch.tensor(1.0))),
        (TypeError, "messages", lambda A: A.aggregate([1.0, 2.0, 3.0])),
        (ValueError, "reduce", lambda A: A.aggregate(torch.ones(3), "median")),
        (ValueError, "kind", lambda A: A.normalised("column")),
        (TypeError, "self_loops", lambda A: A.normalised("row", self_loops=1)),
        (ValueError, "weight", lambda A: Adjacency(EDGES, 3, -A.weight).normalised("symmetric")),
    ],
)
def test_a_bad_product_is_named(error, argument, call):
    with refuses(error, argument):
        call(Adjacency(EDGES, 3))


@pytest.mark.parametrize("function", [neighbour_softmax, aggregate])
@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (TypeError, "first", {"first": torch.ones(3).long()}),
        (TypeError, "first", {"first": None}),
        (ValueError, "first", {"first": torch.ones(2)}),
        (ValueError, "first", {"first": torch.tensor(1.0)}),
        (ValueError, "first", {"first": torch.ones(3) * math.nan}),
        (ValueError, "target", {"target": EDGES[1] + 1}),
        (ValueError, "target", {"target": EDGES[1] - 1}),
        (ValueError, "target", {"target": EDGES}),
        (ValueError, "target", {"target": EDGES[1].to("meta")}),
        (TypeError, "target", {"target": EDGES[1].float()}),
        (TypeError, "target", {"target": [0, 1, 2]}),
        (ValueError, "num_nodes", {"num_nodes": 0}),
        (TypeError, "num_nodes", {"num_nodes": 2.5}),
    ],
)
def test_bad_values_at_nodes_are_named(function, error, argument, change):
    first = "scores" if function is neighbour_softmax else "values"
    given = {"first": torch.ones(3), "target": EDGES[1], "num_nodes": 3, **change}
    with refuses(error, first if argument == "first" else argument):
        function(*given.values())


def test_a_bad_reduction_is_named():
    with refuses(ValueError, "reduce"):
        aggregate(torch.ones(3), EDGES[1], 3, "median")
