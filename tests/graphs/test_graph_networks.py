"""Networks on graphs: for nodes, for collections of graphs, disjoint unions and pooling."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gdl.graphs.adjacency import Adjacency
from gdl.graphs.attentional import GATConv
from gdl.graphs.message_passing import GCNConv, MPNNConv
from gdl.graphs.networks import (
    GIN,
    GraphClassifier,
    GraphNetwork,
    NodeClassifier,
    disjoint_union,
    pool,
)
from gdl.training import accuracy, fit, predict
from tests.graphs.graph_samples import F64, TOLERANCE, both_dtypes, busy, close, random, rough_edges
from tests.test_representations import refuses

NONE = torch.empty(2, 0, dtype=torch.int64)
EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])


def collection(dtype: torch.dtype = F64) -> list[tuple[Tensor, Tensor]]:
    """Graphs of several sizes: one node, no edges, and the rough one."""
    return [
        (random(7, 3, seed=1, dtype=dtype), rough_edges(7)),
        (random(1, 3, seed=2, dtype=dtype), NONE),
        (random(4, 3, seed=3, dtype=dtype), NONE),
        (random(5, 3, seed=4, dtype=dtype), rough_edges(5)),
    ]


def gin(dtype: torch.dtype = F64, **options) -> GIN:
    """With running means and variances that are not those of the start."""
    network = busy(GIN(3, 6, 2, layers=3, dtype=dtype, **options))
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.running_mean.copy_(random(6, seed=7))
            layer.running_var.copy_(random(6, seed=8).abs() + 0.5)
    return network


# --- a network of layers ------------------------------------------------------------------------


def test_a_network_is_its_layers_with_relu_between_them():
    layers = [GCNConv(3, 5, dtype=F64), GATConv(5, 4, dtype=F64), GCNConv(4, 2, dtype=F64)]
    network, x, edges = busy(GraphNetwork(layers)), random(7, 3), rough_edges(7)
    h = layers[1](layers[0](x, edges).relu(), edges).relu()
    out = network(x, edges)
    assert torch.equal(out, layers[2](h, edges)) and out.min() < 0 < out.max()


def test_edge_attributes_reach_every_layer():
    layers = [MPNNConv(nn.Linear(8, 3, dtype=F64), nn.Linear(6, 3, dtype=F64)) for _ in range(2)]
    network, edges = busy(GraphNetwork(layers)), rough_edges(7)
    x, e = random(7, 3), random(edges.shape[1], 2)
    out = network(x, edges, e)
    assert close(out, layers[1](layers[0](x, edges, e).relu(), edges, e))
    assert not close(out, network(x, edges, e.flip(0)), 1e-3)


def test_dropout_is_for_training():
    network = GraphNetwork([GCNConv(3, 5), GCNConv(5, 2)], dropout=0.5)
    x, edges = torch.ones(7, 3), rough_edges(7)
    torch.manual_seed(0)
    assert not close(network(x, edges), network(x, edges), 1e-3)
    network.eval()
    assert torch.equal(network(x, edges), network(x, edges))


# --- one graph ----------------------------------------------------------------------------------


def blocks(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two communities of 15 nodes whose features say next to nothing."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(30) // 15
    chance = torch.where(y[:, None] == y[None], 0.5, 0.05)
    upper = torch.rand(30, 30, generator=generator).triu(1) + torch.ones(30, 30).tril()
    edges = (upper < chance).nonzero().T
    return torch.eye(30), torch.cat([edges, edges.flip(0)], dim=1), y


def learnt(seed: int, x: Tensor, edges: Tensor, y: Tensor) -> float:
    """The accuracy on all nodes, when the label of one node of each community is known."""
    torch.manual_seed(seed)
    model = NodeClassifier(GraphNetwork([GCNConv(30, 8), GCNConv(8, 2)]), x, edges)
    known = torch.tensor([0, 29])
    fit(model, known, y[known], epochs=60, lr=0.02, seed=seed, progress=False)
    return accuracy(model, torch.arange(30), y)


def test_nodes_of_one_graph_are_learnt_from_two_labels():
    given = [(seed, *blocks(seed)) for seed in (0, 1, 2)]
    heard = [learnt(seed, x, edges, y) for seed, x, edges, y in given]
    # Without edges nothing is known of the nodes that were not seen: chance, in the mean.
    alone = [learnt(seed, x, NONE, y) for seed, x, _, y in given]
    assert min(heard) > 0.8 and sum(heard) > sum(alone) + 3 * 0.2, (heard, alone)


@both_dtypes
def test_the_classifier_gives_the_rows_of_its_network(dtype):
    network, edges = busy(GCNConv(3, 2, dtype=dtype)), rough_edges(7)
    x, nodes = random(7, 3, dtype=dtype), torch.tensor([5, 0, 5])
    graph = Adjacency(edges, 7, random(edges.shape[1], dtype=dtype).abs())
    plain, weighted = NodeClassifier(network, x, edges), NodeClassifier(network, x, graph)
    assert torch.equal(plain(nodes), network(x, edges)[nodes])
    assert torch.equal(weighted(nodes), network(x, graph)[nodes])
    assert torch.equal(plain(), network(x, edges)) and not close(plain(), weighted(), 1e-3)
    assert close(predict(plain, nodes, batch_size=1), plain(nodes), TOLERANCE[dtype])


def test_the_classifier_hands_edge_attributes_on():
    network, edges = MPNNConv(nn.Linear(8, 3, dtype=F64), nn.Linear(6, 2, dtype=F64)), EDGES
    x, e = random(3, 3), random(3, 2)
    model = NodeClassifier(network, x, edges, e)
    assert torch.equal(model(), network(x, edges, e))
    assert model.float()().dtype == torch.float32


# --- many graphs --------------------------------------------------------------------------------


def test_a_union_keeps_its_graphs_apart():
    x, edge_index, batch = disjoint_union(collection())
    assert batch.tolist() == [0] * 7 + [1] + [2] * 4 + [3] * 5
    dense = Adjacency(edge_index, 17, dtype=F64).dense()
    parts = [Adjacency(edges, len(part), dtype=F64).dense() for part, edges in collection()]
    assert torch.equal(dense, torch.block_diag(*parts))
    assert torch.equal(x, torch.cat([part for part, _ in collection()]))


@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_pooling_is_the_loop_over_graphs(reduce):
    x, batch = random(6, 3) - 1, torch.tensor([3, 0, 0, 1, 3, 0])
    found = pool(x, batch, 4, reduce)
    for i in range(4):
        mine = x[batch == i]
        expected = torch.zeros(3, dtype=F64)
        if len(mine):
            expected = mine.amax(0) if reduce == "max" else getattr(mine, reduce)(0)
        assert close(found[i], expected)


@both_dtypes
@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_a_batch_gives_its_graphs_one_by_one(dtype, reduce):
    network, graphs = gin(dtype, reduce=reduce), collection(dtype)
    out = network(*disjoint_union(graphs))
    alone = torch.cat([network(x, edges) for x, edges in graphs])
    assert close(out, alone, TOLERANCE[dtype]) and out.std() > 1e-3
    model = GraphClassifier(network, graphs)
    chosen = torch.tensor([3, 1, 1, 0, 2, 3])
    assert close(model(chosen), alone[chosen], TOLERANCE[dtype]) and len(model) == 4
    assert not close(model(chosen), alone[chosen.flip(0)], 1e-3)


def test_a_network_reads_out_every_depth():
    """By the formula, with the perceptrons of its layers."""
    network, (x, edges) = gin(), collection()[0]
    A = Adjacency(edges, 7, dtype=F64).dense()
    h, logits = x, network.readouts[0](x.sum(0))
    for layer, readout in zip(network.layers, network.readouts[1:], strict=True):
        h = layer.nn(A @ h + (1 + layer.eps) * h)
        logits = logits + readout(h.sum(0))
    assert close(network(x, edges)[0], logits)


@both_dtypes
def test_permuted_nodes_change_nothing(dtype):
    network, (x, edges) = gin(dtype), collection(dtype)[0]
    out = network(x, edges)
    for seed in (0, 1, 2):
        p = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
        for q in (p, p.argsort(), p[p]):
            moved = network(torch.empty_like(x).index_copy(0, q, x), q[edges])
            assert close(moved, out, TOLERANCE[dtype])
    assert not close(network(x.roll(1, 0), edges), out, 1e-3)


def test_graphs_without_nodes_are_counted():
    network, (x, edges) = gin(), collection()[0]
    batch = torch.zeros(7, dtype=torch.int64)
    assert network(x, edges, batch).shape == (1, 2)
    out = network(x, edges, batch, num_graphs=2)
    assert out.shape == (2, 2) and close(out[1], sum(r.bias for r in network.readouts))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch_geometric")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_batches_of_pytorch_geometric_go_through():
    from torch_geometric.data import Batch, Data

    network, graphs = gin(), collection()
    data = [Data(x=x, edge_index=edges) for x, edges in graphs]
    batch = Batch.from_data_list(data)
    expected = network(*disjoint_union(graphs))
    assert close(network(batch.x, batch.edge_index, batch.batch), expected)
    assert close(GraphClassifier(network, data)(torch.arange(4)), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch_geometric")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_pooling_agrees_with_pytorch_geometric(reduce):
    import torch_geometric.nn as pyg

    x, batch = random(6, 3), torch.tensor([0, 0, 1, 1, 1, 2])
    theirs = {"sum": pyg.global_add_pool, "mean": pyg.global_mean_pool, "max": pyg.global_max_pool}
    assert close(pool(x, batch, 3, reduce), theirs[reduce](x, batch))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_small_and_large_cycles_are_told_apart(seed):
    graphs, labels = [], []
    for n in (3, 4, 5, 6, 7, 8) * 4:
        ring = torch.stack([torch.arange(n), torch.arange(1, n + 1) % n])
        graphs.append((torch.ones(n, 1), torch.cat([ring, ring.flip(0)], dim=1)))
        labels.append(int(n > 5))
    torch.manual_seed(seed)
    model = GraphClassifier(GIN(1, 8, 2, layers=2, dropout=0.0), graphs)
    y = torch.tensor(labels)
    history = fit(model, torch.arange(24), y, epochs=80, batch_size=12, lr=0.02, progress=False)
    assert history.epoch_losses[-1] < 0.5 * history.epoch_losses[0]


# --- what is refused ----------------------------------------------------------------------------


def lone(channels: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return torch.ones(1, channels, dtype=dtype), NONE


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (TypeError, "layers", lambda: GraphNetwork([torch.relu])),
        (ValueError, "layers", lambda: GraphNetwork([])),
        (ValueError, "dropout", lambda: GraphNetwork([GCNConv(3, 2)], dropout=1.5)),
        (TypeError, "dropout", lambda: GraphNetwork([GCNConv(3, 2)], dropout=None)),
        (TypeError, "network", lambda: NodeClassifier(torch.relu, torch.ones(3, 3), EDGES)),
        (ValueError, "x", lambda: NodeClassifier(GCNConv(3, 2), torch.ones(0, 3), NONE)),
        (ValueError, "x", lambda: NodeClassifier(GCNConv(3, 2), torch.ones(3, 3) / 0, EDGES)),
        (TypeError, "x", lambda: NodeClassifier(GCNConv(3, 2), [1.0], EDGES)),
        (ValueError, "edges", lambda: NodeClassifier(GCNConv(3, 2), torch.ones(3, 3), EDGES + 1)),
        (TypeError, "edge_attr", lambda: NodeClassifier(GCNConv(3, 2), torch.ones(3, 3), EDGES, 1)),
        (TypeError, "network", lambda: GraphClassifier(None, [(torch.ones(3, 3), EDGES)])),
        (ValueError, "graphs", lambda: GraphClassifier(GIN(3, 4, 2), [])),
        (TypeError, "graphs", lambda: GraphClassifier(GIN(3, 4, 2), [torch.ones(3, 3)])),
        (TypeError, "graphs", lambda: disjoint_union([(torch.ones(3, 3), EDGES, None)])),
        (ValueError, "graphs", lambda: disjoint_union([])),
        (ValueError, "x", lambda: disjoint_union([(torch.ones(0, 3), NONE)])),
        (ValueError, "x", lambda: disjoint_union([lone(2), lone(3)])),
        (TypeError, "x", lambda: disjoint_union([lone(2), lone(2, F64)])),
        (ValueError, "edge_index", lambda: disjoint_union([(torch.ones(2, 3), EDGES)])),
        (TypeError, "edge_index", lambda: disjoint_union([(torch.ones(3, 3), EDGES.float())])),
        (ValueError, "batch", lambda: pool(torch.ones(3, 2), torch.tensor([0, 1, 2]), 2)),
        (ValueError, "batch", lambda: pool(torch.ones(3, 2), torch.tensor([0, 1]), 2)),
        (TypeError, "batch", lambda: pool(torch.ones(3, 2), torch.ones(3), 2)),
        (ValueError, "num_graphs", lambda: pool(torch.ones(3, 2), torch.tensor([0, 0, 0]), 0)),
        (ValueError, "reduce", lambda: pool(torch.ones(1, 2), torch.tensor([0]), 1, "median")),
        (ValueError, "x", lambda: pool(torch.ones(3), torch.tensor([0, 0, 0]), 1)),
    ],
)  # fmt: skip
def test_bad_input_is_named(error, argument, call):
    with refuses(error, argument):
        call()


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (ValueError, "x", {"x": torch.ones(3, 4)}),
        (ValueError, "x", {"x": torch.ones(0, 3), "edges": NONE}),
        (ValueError, "x", {"x": torch.ones(3, 3) * math.nan}),
        (ValueError, "edges", {"edges": EDGES + 1}),
        (TypeError, "edges", {"edges": EDGES.float()}),
        (ValueError, "batch", {"batch": torch.tensor([0, 1])}),
        (TypeError, "batch", {"batch": torch.tensor([0.0, 1.0, 1.0])}),
        (ValueError, "batch", {"batch": torch.tensor([0, 0, -1])}),
        (ValueError, "batch", {"batch": torch.tensor([0, 0, 2]), "num_graphs": 2}),
        (ValueError, "num_graphs", {"num_graphs": 0, "batch": torch.tensor([0, 0, 0])}),
    ],
)
def test_a_bad_batch_is_named(error, argument, change):
    network = GIN(3, 4, 2, layers=1).eval()
    given = {"x": torch.ones(3, 3), "edges": EDGES}
    network(**given)
    with refuses(error, argument):
        network(**given | change)


@pytest.mark.parametrize(
    ("error", "value"),
    [
        (ValueError, torch.tensor([3])), (ValueError, torch.tensor([-1])),
        (ValueError, torch.tensor([[0]])), (ValueError, torch.tensor([0], device="meta")),
        (TypeError, torch.tensor([0.0])), (TypeError, [0]), (TypeError, 0),
    ],
)  # fmt: skip
def test_bad_numbers_of_nodes_and_graphs_are_named(error, value):
    nodes = NodeClassifier(GCNConv(3, 2), torch.ones(3, 3), EDGES)
    with refuses(error, "nodes"):
        nodes(value)
    graphs = GraphClassifier(GIN(3, 4, 2, layers=1), [(torch.ones(2, 3), NONE)] * 3)
    with refuses(error, "indices"):
        graphs(value)
    with refuses(ValueError, "indices"):
        graphs(torch.empty(0, dtype=torch.int64))


def test_bad_options_of_a_network_are_named():
    sizes = {"in_channels": 3, "hidden": 4, "classes": 2, "layers": 1}
    bad = {name: [0, True, 1.5, None] for name in sizes}
    bad |= {"dropout": [-1, 2, None], "reduce": ["median", None], "train_eps": [1]}
    for argument, values in (bad | {"dtype": [torch.int64]}).items():
        for value in values:
            with refuses((TypeError, ValueError), argument):
                GIN(**sizes | {argument: value})
