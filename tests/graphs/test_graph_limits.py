"""Where sums, maxima, caches and tolerances of graphs would go wrong without being noticed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import gdl.graphs.adjacency as adjacency
import gdl.graphs.attentional as attentional
from gdl.graphs import (
    GIN,
    Adjacency,
    GATConv,
    GATv2Conv,
    GCNConv,
    GINConv,
    GraphClassifier,
    GraphNetwork,
    MPNNConv,
    NodeClassifier,
    aggregate,
    barbell,
    disjoint_union,
    effective_resistance,
    laplacian,
    neighbour_softmax,
    pool,
    refine,
)
from tests.test_representations import refuses

EDGES = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 1]])
HUB = torch.zeros(1000, dtype=torch.int64)
F64 = torch.float64


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_equal_maxima_share_their_gradient_and_nothing_else_does(value):
    values = torch.full((3, 1), value, dtype=F64, requires_grad=True)
    out = aggregate(values, torch.tensor([0, 0, 1]), 3, "max")
    assert out.flatten().tolist() == [value, value, 0.0]
    out.sum().backward()
    assert values.grad.flatten().tolist() == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_counts_a_thousand_neighbours(dtype):
    shares = neighbour_softmax(torch.zeros(1000, dtype=dtype), HUB, 1)
    assert abs(float(shares.float().sum()) - 1) < 0.01
    assert float(aggregate(torch.ones(1000, 1, dtype=dtype), HUB, 1, "mean")) == 1
    assert float(pool(torch.ones(1000, 1, dtype=dtype), HUB, 1, "mean")) == 1
    star = torch.stack([torch.arange(1, 1001), HUB])
    assert float(Adjacency(star, 1001, dtype=dtype).degrees()[0]) == 1000


def test_what_is_kept_does_not_depend_on_what_was_given():
    weight, edges = torch.tensor([1.0, 2.0, 3.0, 4.0]), EDGES.clone()
    A, x = Adjacency(edges, 3, weight), torch.eye(3)
    before = A @ x
    weight.mul_(2)
    edges[0, 0] = 2
    assert torch.equal(A @ x, before) and torch.equal(A.dense(), before)
    assert torch.equal(A.normalised("row").dense(), before / before.sum(1, keepdim=True))


def test_a_learned_weight_is_the_given_one():
    weight = torch.ones(4, requires_grad=True)
    A = Adjacency(EDGES, 3, weight)
    assert A.weight is weight
    with torch.no_grad():
        weight.mul_(3)
    assert torch.equal(A @ torch.eye(3), A.dense())


def test_given_numbers_of_graphs_count():
    network = GIN(2, 4, 3, 1).eval()
    alone = network(torch.ones(3, 2), EDGES)
    five = network(torch.ones(3, 2), EDGES, num_graphs=5)
    assert five.shape == (5, 3)
    assert torch.allclose(five[:1], alone)


def test_weights_of_edges_reach_a_graph_convolution():
    torch.manual_seed(0)
    layer, x, weight = GCNConv(2, 2), torch.randn(3, 2), torch.rand(4) + 0.5
    model = NodeClassifier(layer, x, EDGES, weight)
    assert torch.allclose(model(), layer(x, EDGES, weight))
    assert not torch.allclose(model(), layer(x, EDGES))


@pytest.mark.parametrize("layer", [GATConv, GATv2Conv])
def test_pieces_of_edges_are_all_used(layer, monkeypatch):
    torch.manual_seed(0)
    convolution, x = layer(3, 2, heads=2).double(), torch.randn(6, 3, dtype=F64)
    edges = torch.randint(6, (2, 25))

    def results() -> list[torch.Tensor]:
        h = x.clone().requires_grad_()
        out = convolution(h, edges)
        return [out, *torch.autograd.grad(out.square().sum(), [h, *convolution.parameters()])]

    whole = results()
    monkeypatch.setattr(adjacency, "PIECE", 4)
    monkeypatch.setattr(attentional, "PIECE", 4)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(whole, results(), strict=True))


def test_gradients_of_weights_use_all_pieces(monkeypatch):
    monkeypatch.setattr(adjacency, "PIECE", 4)
    edges = torch.randint(6, (2, 25), generator=torch.Generator().manual_seed(0))
    weight = torch.ones(25, dtype=F64, requires_grad=True)
    x = torch.randn(6, 2, dtype=F64)
    (Adjacency(edges, 6, weight) @ x).sum().backward()
    assert torch.allclose(weight.grad, x[edges[0]].sum(1))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_products_can_be_mapped_over():
    A, x = Adjacency(EDGES, 3, dtype=F64), torch.randn(5, 3, 2, dtype=F64)
    assert torch.allclose(torch.func.vmap(A.matmul)(x), A.dense() @ x)
    assert torch.allclose(torch.func.jacrev(A.matmul)(x[0, :, 0]), A.dense())


def test_a_small_negative_degree_has_no_root():
    A = Adjacency(EDGES, 3, torch.tensor([1.0, -0.5, 1.0, 1.0]))
    with refuses(ValueError, "weight"):
        A.normalised("symmetric")
    assert torch.isfinite(A.normalised("row").dense()).all()


def test_tiny_and_huge_weights():
    tiny = Adjacency(EDGES, 3, torch.full((4,), 1e-40)).normalised("row")
    assert torch.allclose(tiny.dense().sum(1), torch.ones(3))
    with refuses(ValueError, "weight"):
        Adjacency(EDGES, 3, torch.full((4,), 3e38)).normalised("row")


def test_weights_so_far_apart_that_resistances_are_lost():
    bells = barbell(5, dtype=F64)
    bells[4, 5] = bells[5, 4] = 1e-12
    with refuses(ValueError, "adjacency"):
        effective_resistance(bells)


def test_a_faint_edge_in_one_direction_is_noticed():
    A = torch.zeros(4, 4, dtype=F64)
    A[0, 1] = A[1, 0] = 1e10
    A[2, 3] = 1e-6
    with refuses(ValueError, "adjacency"):
        laplacian(A)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_products_are_symmetric_up_to_rounding(seed):
    generator = torch.Generator().manual_seed(seed)
    X = torch.rand(40, 5, generator=generator)
    laplacian(X @ torch.diag(torch.rand(5, generator=generator)) @ X.T)


def test_refinement_goes_on_until_nothing_splits():
    path = torch.diag(torch.ones(59), 1)
    (colours,) = refine([path + path.T])
    assert len(colours.unique()) == 30


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: GraphNetwork(5), TypeError, "layers"),
        (lambda: disjoint_union(None), TypeError, "graphs"),
        (lambda: GraphClassifier(GIN(1, 2, 2, 1), 5), TypeError, "graphs"),
        (lambda: Adjacency(EDGES, 3).aggregate(torch.ones(4, 1), "median"), ValueError, "reduce"),
        (lambda: Adjacency(EDGES, 3).aggregate(torch.ones(5, 1)), ValueError, "messages"),
        (lambda: Adjacency(EDGES, 3).softmax(torch.ones(5)), ValueError, "scores"),
        (lambda: Adjacency(EDGES, 3).attend(torch.ones(4, 0), torch.ones(3, 0, 1)),
         ValueError, "weights"),
        (lambda: GINConv(nn.Linear(3, 2))(torch.eye(3).to_sparse(), EDGES), TypeError, "x"),
        (lambda: Adjacency(EDGES.to_sparse(), 3), TypeError, "edge_index"),
        (lambda: NodeClassifier(MPNNConv(nn.Linear(5, 2), nn.Linear(4, 2)), torch.ones(3, 2),
                                EDGES, torch.ones(3, 1)), ValueError, "edge_attr"),
        (lambda: NodeClassifier(GCNConv(2, 2), torch.ones(3, 2), Adjacency(EDGES, 7)),
         ValueError, "edges"),
        (lambda: NodeClassifier(GCNConv(2, 2), torch.ones(3, 2), Adjacency(EDGES, 3),
                                torch.ones(4)), ValueError, "edge_attr"),
        (lambda: GINConv(nn.Linear(3, 2), eps=10**400), ValueError, "eps"),
    ],
)  # fmt: skip
def test_wrong_input_is_named(call, error, argument):
    with refuses(error, argument):
        call()


def test_scores_that_overflow_are_refused():
    layer = copy.deepcopy(GATConv(1, 1)).double()
    with torch.no_grad():
        layer.att_src.fill_(1e300)
        layer.lin.weight.fill_(1e10)
    with refuses(ValueError, "x"):
        layer(torch.ones(3, 1, dtype=F64), EDGES)
