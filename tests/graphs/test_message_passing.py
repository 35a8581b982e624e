"""Layers of message passing: beside PyTorch Geometric, dense formulas and each other."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from gdl.graphs.adjacency import Adjacency
from gdl.graphs.attentional import GATConv, GATv2Conv
from gdl.graphs.message_passing import GCNConv, GINConv, MessagePassing, MPNNConv, SAGEConv
from gdl.representations import symmetric
from tests.graphs.graph_samples import (
    F64,
    TOLERANCE,
    both_dtypes,
    busy,
    close,
    random,
    rough_edges,
)
from tests.test_representations import refuses

C, HIDDEN, OUT, D = 4, 5, 3, 2


def perceptron(inputs: int, outputs: int, dtype: torch.dtype | None = F64) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN, dtype=dtype), nn.Tanh(), nn.Linear(HIDDEN, outputs, dtype=dtype)
    )


def gin(dtype: torch.dtype | None = F64, **options) -> GINConv:
    return GINConv(perceptron(C, OUT, dtype), **options)


def mpnn(dtype: torch.dtype | None = F64, edge_dim: int = D, **options) -> MPNNConv:
    psi, phi = perceptron(2 * C + edge_dim, HIDDEN, dtype), perceptron(C + HIDDEN, OUT, dtype)
    return MPNNConv(psi, phi, **options)


def made(kind: type, **options) -> Callable[..., MessagePassing]:
    return lambda dtype=F64: kind(C, OUT, dtype=dtype, **options)


LAYERS: dict[str, Callable[..., MessagePassing]] = {
    "GCN": made(GCNConv),
    "GCN without loops": made(GCNConv, add_self_loops=False),
    "GCN without degrees": made(GCNConv, normalize=False),
    "GCN without bias": made(GCNConv, bias=False),
    "SAGE": made(SAGEConv),
    "SAGE sum": made(SAGEConv, aggr="sum"),
    "SAGE max": made(SAGEConv, aggr="max"),
    "SAGE normalised": made(SAGEConv, normalize=True, bias=False),
    "GIN": lambda dtype=F64: gin(dtype, eps=0.3),
    "GIN learning": lambda dtype=F64: gin(dtype, train_eps=True),
    "GAT": made(GATConv, heads=2),
    "GAT mean": made(GATConv, heads=2, concat=False),
    "GAT without loops": made(GATConv, heads=3, add_self_loops=False, negative_slope=0.4),
    "GAT without bias": made(GATConv, bias=False),
    "GATv2": made(GATv2Conv, heads=2),
    "GATv2 mean": made(GATv2Conv, heads=2, concat=False),
    "GATv2 without loops": made(GATv2Conv, heads=3, add_self_loops=False, negative_slope=0.4),
    "GATv2 shared": made(GATv2Conv, heads=2, share_weights=True, bias=False),
    "MPNN": mpnn,
    "MPNN mean": lambda dtype=F64: mpnn(dtype, aggr="mean"),
    "MPNN max": lambda dtype=F64: mpnn(dtype, aggr="max"),
    "MPNN without features": lambda dtype=F64: mpnn(dtype, edge_dim=0),
}
layers = pytest.mark.parametrize("name", list(LAYERS))
graphs = pytest.mark.parametrize("n", [3, 7, 12])


def heard(name: str, n: int, edges: int, dtype: torch.dtype = F64) -> Tensor | None:
    """The edge attributes that a layer is given: features, weights or none."""
    if name.startswith("MPNN") and "without" not in name:
        return random(edges, D, seed=n, dtype=dtype)
    hears_weights = name.startswith(("GCN", "GIN", "SAGE")) and "max" not in name
    return random(edges, seed=n, dtype=dtype).abs() + 0.1 if hears_weights else None


# --- beside PyTorch Geometric -------------------------------------------------------------------


def theirs(name: str) -> nn.Module:
    """The same layer of PyTorch Geometric, in float64."""
    import torch_geometric.nn as pyg

    def of(kind: type, **options) -> nn.Module:
        return kind(C, OUT, **options).double()

    made = {
        "GCN": lambda: of(pyg.GCNConv),
        "GCN without loops": lambda: of(pyg.GCNConv, add_self_loops=False),
        "GCN without degrees": lambda: of(pyg.GCNConv, normalize=False),
        "GCN without bias": lambda: of(pyg.GCNConv, bias=False),
        "SAGE": lambda: of(pyg.SAGEConv),
        "SAGE sum": lambda: of(pyg.SAGEConv, aggr="sum"),
        "SAGE max": lambda: of(pyg.SAGEConv, aggr="max"),
        "SAGE normalised": lambda: of(pyg.SAGEConv, normalize=True, bias=False),
        "GIN": lambda: pyg.GINConv(perceptron(C, OUT, None), eps=0.3).double(),
        "GIN learning": lambda: pyg.GINConv(perceptron(C, OUT, None), train_eps=True).double(),
        "GAT": lambda: of(pyg.GATConv, heads=2),
        "GAT mean": lambda: of(pyg.GATConv, heads=2, concat=False),
        "GAT without loops": lambda: of(
            pyg.GATConv, heads=3, add_self_loops=False, negative_slope=0.4
        ),
        "GAT without bias": lambda: of(pyg.GATConv, bias=False),
        "GATv2": lambda: of(pyg.GATv2Conv, heads=2),
        "GATv2 mean": lambda: of(pyg.GATv2Conv, heads=2, concat=False),
        "GATv2 without loops": lambda: of(
            pyg.GATv2Conv, heads=3, add_self_loops=False, negative_slope=0.4
        ),
        "GATv2 shared": lambda: of(pyg.GATv2Conv, heads=2, share_weights=True, bias=False),
    }
    return made[name]()


PYG = [name for name in LAYERS if not name.startswith("MPNN")]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch_geometric")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", PYG)
@graphs
def test_layers_agree_with_pytorch_geometric(name, n):
    peer = busy(theirs(name))
    layer = LAYERS[name]()
    layer.load_state_dict(peer.state_dict())
    edge_index, x = rough_edges(n), random(n, C, seed=n).requires_grad_()
    for edges in (edge_index, Adjacency(edge_index, n, dtype=F64)):
        agree(layer.eval(), peer, x, edges, edge_index)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch_geometric")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", [name for name in PYG if name.startswith("GCN")])
@graphs
def test_weights_of_edges_agree_with_pytorch_geometric(name, n):
    peer, layer = busy(theirs(name)), LAYERS[name]()
    layer.load_state_dict(peer.state_dict())
    # Of several weighted loops at one node PyTorch Geometric keeps one, which is no sum.
    loop = torch.tensor([[0, 2], [0, 2]])
    edge_index = torch.cat([loop, rough_edges(n, loops=False)], dim=1)
    weight = heard(name, n, edge_index.shape[1]).requires_grad_()
    x = random(n, C, seed=n).requires_grad_()
    agree(layer, peer, x, edge_index, edge_index, weight)
    agree(layer, peer, x, Adjacency(edge_index, n, weight.detach()), edge_index, weight.detach())


def agree(
    layer: nn.Module,
    peer: nn.Module,
    x: Tensor,
    edges: Tensor | Adjacency,
    edge_index: Tensor,
    weight: Tensor | None = None,
) -> None:
    """Values and gradients are those of the peer."""
    given = () if weight is None or isinstance(edges, Adjacency) else (weight,)
    out = layer(x, edges, *given)
    expected = peer(x, edge_index, *(() if weight is None else (weight,)))
    # A fixed direction: the gradient of a plain sum misses what cancels.
    direction = random(*out.shape, seed=9)
    own, other = dict(layer.named_parameters()), dict(peer.named_parameters())
    assert own.keys() == other.keys()
    inputs = [x, *given] if given else [x]
    found = torch.autograd.grad((out * direction).sum(), [*inputs, *own.values()])
    wanted = torch.autograd.grad(
        (expected * direction).sum(), [*inputs, *(other[name] for name in own)]
    )
    assert close(out, expected, 1e-10) and out.std() > 0.01
    assert all(close(a, b, 1e-10) for a, b in zip(found, wanted, strict=True))
    assert all(a.abs().max() > 0 for a in found)


# --- beside the dense formula -------------------------------------------------------------------


def dense_of(edge_index: Tensor, n: int, weight: Tensor | None = None) -> Tensor:
    dense = torch.zeros(n, n, dtype=F64)
    for e, (j, i) in enumerate(edge_index.T.tolist()):
        dense[i, j] += 1 if weight is None else weight[e]
    return dense


def one_loop_each(dense: Tensor) -> Tensor:
    return dense - dense.diagonal().diag() + torch.eye(len(dense), dtype=F64)


def gcn_formula(layer: GCNConv, x: Tensor, dense: Tensor) -> Tensor:
    """D~^-1/2 A~ D~^-1/2 X W^T + b, by matrices."""
    looped = one_loop_each(dense)
    root = looped.sum(1).pow(-0.5).diag()
    return root @ looped @ root @ x @ layer.lin.weight.T + layer.bias


def gin_formula(layer: GINConv, x: Tensor, dense: Tensor) -> Tensor:
    """nn((A + (1 + eps) 1) X), by matrices."""
    return layer.nn((dense + (1 + layer.eps) * torch.eye(len(x), dtype=F64)) @ x)


def sage_formula(layer: SAGEConv, x: Tensor, dense: Tensor) -> Tensor:
    """W_l D^-1 A X + b + W_r X, by matrices."""
    mean = dense / dense.sum(1, keepdim=True).clamp(min=1e-300)
    return mean @ x @ layer.lin_l.weight.T + layer.lin_l.bias + x @ layer.lin_r.weight.T


def gat_formula(layer: GATConv, x: Tensor, dense: Tensor) -> Tensor:
    """The softmax over the rows of a masked matrix of scores, for each head."""
    by_head = (x @ layer.lin.weight.T).view(len(x), layer.heads, OUT)
    out = []
    for h in range(layer.heads):
        z = by_head[:, h]
        scores = (z @ layer.att_dst[0, h])[:, None] + (z @ layer.att_src[0, h])[None]
        out.append(masked_softmax(leaky_relu(scores, 0.2), one_loop_each(dense)) @ z)
    return torch.cat(out, 1) + layer.bias


def gatv2_formula(layer: GATv2Conv, x: Tensor, dense: Tensor) -> Tensor:
    """The same, with a score for each pair of nodes."""
    sent = layer.lin_l(x).view(len(x), layer.heads, OUT)
    received = layer.lin_r(x).view(len(x), layer.heads, OUT)
    out = []
    for h in range(layer.heads):
        pairs = leaky_relu(received[:, None, h] + sent[None, :, h], 0.2)
        out.append(masked_softmax(pairs @ layer.att[0, h], one_loop_each(dense)) @ sent[:, h])
    return torch.cat(out, 1) + layer.bias


def masked_softmax(scores: Tensor, counts: Tensor) -> Tensor:
    """An edge that comes twice counts twice."""
    shares = counts * scores.exp()
    return shares / shares.sum(1, keepdim=True)


FORMULAS = {
    "GCN": gcn_formula, "GIN": gin_formula, "SAGE": sage_formula,
    "GAT": gat_formula, "GATv2": gatv2_formula,
}  # fmt: skip


@pytest.mark.parametrize("name", list(FORMULAS))
@graphs
def test_layers_are_the_dense_formula(name, n):
    layer, x, edge_index = busy(LAYERS[name]()), random(n, C, seed=n), rough_edges(n)
    expected = FORMULAS[name](layer, x, dense_of(edge_index, n))
    assert close(layer(x, edge_index), expected)
    assert not close(layer(x, edge_index.flip(0)), expected, 1e-3)


@pytest.mark.parametrize("name", ["GCN", "GIN", "SAGE"])
def test_weighted_layers_are_the_dense_formula(name):
    n, edge_index = 7, rough_edges(7, loops=False)
    weight = heard(name, n, edge_index.shape[1])
    layer, x = busy(LAYERS[name]()), random(n, C)
    expected = FORMULAS[name](layer, x, dense_of(edge_index, n, weight))
    assert close(layer(x, edge_index, weight), expected)
    assert not close(layer(x, edge_index), expected, 1e-3)


@pytest.mark.parametrize("aggr", ["sum", "mean", "max"])
@pytest.mark.parametrize("features", [0, D])
def test_general_messages_are_the_loop_over_edges(aggr, features):
    n, edge_index = 7, rough_edges(7)
    layer, x = busy(mpnn(edge_dim=features, aggr=aggr)), random(7, C)
    e = random(edge_index.shape[1], features)
    out = layer(x, edge_index, e if features else None)
    for i in range(n):
        messages = [
            layer.psi(torch.cat([x[i], x[j], e[k]]))
            for k, (j, t) in enumerate(edge_index.T.tolist())
            if t == i
        ]
        received = torch.zeros(HIDDEN, dtype=F64)
        if messages:
            stacked = torch.stack(messages)
            received = stacked.amax(0) if aggr == "max" else getattr(stacked, aggr)(0)
        assert close(out[i], layer.phi(torch.cat([x[i], received])))


# --- each flavour contains the one before it ----------------------------------------------------


class Fixed(nn.Module):
    """A message that is a function of the receiver, the sender and the edge."""

    def __init__(self, function: Callable[[Tensor, Tensor, Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, ends: Tensor) -> Tensor:
        return self.function(*ends.split([C, C, ends.shape[1] - 2 * C], dim=1))


class Second(nn.Module):
    """What was heard, without the node itself."""

    def forward(self, both: Tensor) -> Tensor:
        return both[:, C:]


def test_a_convolution_is_attention_with_scores_of_the_graph():
    n, edge_index = 7, rough_edges(7)
    layer, x = busy(GCNConv(C, OUT, dtype=F64)), random(7, C)
    normalised = Adjacency(edge_index, n, dtype=F64).normalised("symmetric", self_loops=True)
    values = layer.lin(x)[:, None]
    heard = normalised.attend(normalised.weight[:, None], values)[:, 0]
    assert close(heard + layer.bias, layer(x, edge_index))


def test_a_convolution_is_message_passing():
    n, edge_index = 7, rough_edges(7)
    layer, x = busy(GCNConv(C, OUT, dtype=F64)), random(7, C)
    normalised = Adjacency(edge_index, n, dtype=F64).normalised("symmetric", self_loops=True)
    general = MPNNConv(Fixed(lambda x_i, x_j, c: c * layer.lin(x_j)), Second())
    heard = general(x, normalised.edge_index, normalised.weight[:, None])
    assert close(heard + layer.bias, layer(x, edge_index))


def test_attention_is_message_passing():
    """The softmax is a quotient of two sums of messages."""
    n, edge_index = 7, rough_edges(7)
    layer, x = busy(GATConv(C, OUT, dtype=F64)), random(7, C)

    def psi(x_i: Tensor, x_j: Tensor, _: Tensor) -> Tensor:
        z_i, z_j = layer.lin(x_i), layer.lin(x_j)
        score = z_j @ layer.att_src[0, 0] + z_i @ layer.att_dst[0, 0]
        share = leaky_relu(score, 0.2).exp()[:, None]
        return torch.cat([share * z_j, share], dim=1)

    others, every = edge_index[:, edge_index[0] != edge_index[1]], torch.arange(n).expand(2, n)
    heard = MPNNConv(Fixed(psi), Second())(x, torch.cat([others, every], dim=1))
    assert close(heard[:, :OUT] / heard[:, OUT:] + layer.bias, layer(x, edge_index))


def test_two_nodes_rank_their_neighbours_alike_in_gat_only():
    """Every node hears every node; a fixed score orders the senders once for all."""
    n = 6
    every = torch.cartesian_prod(torch.arange(n), torch.arange(n)).T
    x = random(n, C)

    def rankings(layer: nn.Module) -> int:
        scores = layer._attention(x, every)[1].view(n, n)
        return len(scores.argsort(0).unique(dim=1).T)

    assert rankings(busy(GATConv(C, 8, dtype=F64))) == 1
    assert rankings(busy(GATv2Conv(C, 8, dtype=F64))) > 1


# --- permutations -------------------------------------------------------------------------------


def permutations(n: int) -> list[Tensor]:
    """Random permutations with their products and inverses; node i becomes p[i]."""
    group = symmetric(n)
    a, b = group.random(2, seed=0)
    elements = [a, b, a * b, a.inverse(), b.inverse() * a]
    return [group.defining(g).argmax(0) for g in elements]


@both_dtypes
@layers
def test_permuted_nodes_give_the_permuted_output(name, dtype):
    n, edge_index = 7, rough_edges(7)
    layer, x = busy(LAYERS[name](dtype)), random(n, C, dtype=dtype)
    attributes = heard(name, n, edge_index.shape[1], dtype)
    out = layer(x, edge_index, attributes)
    for p in permutations(n):
        moved = layer(torch.empty_like(x).index_copy(0, p, x), p[edge_index], attributes)
        assert close(moved[p], out, TOLERANCE[dtype])
        assert not close(moved, out, 1e-3)
    assert out.std(0).min() > 1e-3


@layers
def test_the_order_of_edges_with_their_attributes_changes_nothing(name):
    n, edge_index = 7, rough_edges(7)
    layer, x = busy(LAYERS[name]()), random(n, C)
    attributes = heard(name, n, edge_index.shape[1])
    order = torch.randperm(edge_index.shape[1], generator=torch.Generator().manual_seed(0))
    moved = None if attributes is None else attributes[order]
    out = layer(x, edge_index, attributes)
    assert close(layer(x, edge_index[:, order], moved), out)
    assert close(layer(x, edge_index[:, order.argsort()], _take(attributes, order.argsort())), out)
    if attributes is not None:
        assert not close(layer(x, edge_index[:, order], attributes), out, 1e-3)


def _take(attributes: Tensor | None, order: Tensor) -> Tensor | None:
    return None if attributes is None else attributes[order]


@layers
def test_an_adjacency_gives_what_the_edges_give(name):
    n, edge_index = 7, rough_edges(7)
    layer, x = busy(LAYERS[name]()), random(n, C)
    attributes = heard(name, n, edge_index.shape[1])
    weight = attributes if layer.hears == "weights" else None
    graph = Adjacency(edge_index, n, weight, dtype=F64 if weight is None else None)
    given = attributes if layer.hears == "features" else None
    for _ in range(2):
        assert torch.equal(layer(x, graph, given), layer(x, edge_index, attributes))


# --- small and empty graphs ---------------------------------------------------------------------


@both_dtypes
@layers
@pytest.mark.parametrize("n", [1, 4])
def test_without_edges_values_and_gradients_are_finite(name, n, dtype):
    layer, none = busy(LAYERS[name](dtype)), torch.empty(2, 0, dtype=torch.int64)
    x = random(n, C, dtype=dtype).requires_grad_()
    attributes = heard(name, n, 0, dtype)
    out = layer(x, none, attributes)
    out.square().sum().backward()
    assert out.shape[0] == n and torch.isfinite(out).all()
    # Without loops a convolution hears nothing at all.
    assert x.grad is None or torch.isfinite(x.grad).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in layer.parameters())


@layers
def test_one_node_with_a_loop(name):
    layer, loop = busy(LAYERS[name]()), torch.tensor([[0], [0]])
    x = random(1, C).requires_grad_()
    out = layer(x, loop, heard(name, 1, 1))
    (gradient,) = torch.autograd.grad(out.square().sum(), x)
    assert torch.isfinite(out).all() and torch.isfinite(gradient).all()


@layers
def test_gradients_are_those_of_differences(name):
    edge_index = rough_edges(4)
    layer, x = busy(LAYERS[name]()), random(4, C).requires_grad_()
    attributes = heard(name, 4, edge_index.shape[1])
    inputs = (x,) if attributes is None else (x, attributes.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, *a: layer(x, edge_index, *a), inputs)


def test_several_weighted_loops_add():
    layer = busy(GCNConv(C, OUT, dtype=F64))
    x, twice = random(2, C), torch.tensor([[0, 0, 1], [0, 0, 0]])
    once = torch.tensor([[0, 1], [0, 0]])
    out = layer(x, twice, torch.tensor([0.5, 1.5, 3.0], dtype=F64))
    assert close(out, layer(x, once, torch.tensor([2.0, 3.0], dtype=F64)))


def test_attention_drops_shares_in_training_only():
    layer, x = GATConv(C, OUT, dropout=0.5, dtype=F64), random(7, C)
    torch.manual_seed(0)
    assert not close(layer(x, rough_edges(7)), layer(x, rough_edges(7)), 1e-3)
    layer.eval()
    assert torch.equal(layer(x, rough_edges(7)), layer(x, rough_edges(7)))


def test_a_layer_of_your_own_needs_to_hear():
    with pytest.raises(NotImplementedError, match=r"MessagePassing\.hear"):
        MessagePassing()(torch.ones(2, 1), torch.tensor([[0], [1]]))


# --- what is refused ----------------------------------------------------------------------------

EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])


@layers
@pytest.mark.parametrize(
    ("error", "argument", "value"),
    [
        (ValueError, "x", torch.ones(3, C + 1)),
        (ValueError, "x", torch.ones(0, C)),
        (ValueError, "x", torch.ones(C)),
        (ValueError, "x", torch.ones(3, C) * math.nan),
        (ValueError, "x", torch.ones(3, C) + math.inf),
        (ValueError, "x", torch.ones(3, C, device="meta")),
        (TypeError, "x", torch.ones(3, C).double()),
        (TypeError, "x", torch.ones(3, C).long()),
        (TypeError, "x", None),
        (ValueError, "edges", EDGES + 1),
        (ValueError, "edges", EDGES - 1),
        (ValueError, "edges", EDGES[0]),
        (ValueError, "edges", EDGES.to("meta")),
        (TypeError, "edges", EDGES.float()),
        (TypeError, "edges", EDGES.int()),
        (TypeError, "edges", None),
        (ValueError, "edges", Adjacency(EDGES, 4)),
        (TypeError, "edges", Adjacency(EDGES, 3, dtype=F64)),
        (ValueError, "edges", Adjacency(EDGES, 3).to("meta")),
        (ValueError, "edge_attr", torch.ones(2, D)),
        (ValueError, "edge_attr", torch.ones(3, D, 1)),
        (ValueError, "edge_attr", torch.ones(3, D) * math.nan),
    ],
)
def test_bad_input_is_named(name, error, argument, value):
    layer = LAYERS[name](torch.float32)
    given = {"x": torch.ones(3, C), "edges": EDGES}
    given["edge_attr"] = heard(name, 3, 3, torch.float32)
    layer(**given)
    with refuses(error, argument):
        layer(**given | {argument: value} | ({"edge_attr": None} if argument == "edges" else {}))


@pytest.mark.parametrize("name", ["GCN", "GIN", "SAGE"])
@pytest.mark.parametrize(
    ("error", "value"),
    [
        (ValueError, torch.ones(4)),
        (ValueError, torch.ones(3, 1)),
        (TypeError, torch.ones(3).double()),
        (TypeError, torch.ones(3).long()),
        (ValueError, torch.tensor([1.0, math.nan, 1.0])),
        (ValueError, torch.ones(3, device="meta")),
    ],
)
def test_bad_weights_are_named(name, error, value):
    with refuses(error, "edge_attr"):
        LAYERS[name](torch.float32)(torch.ones(3, C), EDGES, value)


def test_weights_are_given_once_and_where_they_are_heard():
    x, weighted = torch.ones(3, C), Adjacency(EDGES, 3, torch.ones(3))
    GCNConv(C, OUT)(x, weighted)
    with refuses(ValueError, "edge_attr"):
        GCNConv(C, OUT)(x, weighted, torch.ones(3))
    for layer in (GATConv(C, OUT), GATv2Conv(C, OUT), mpnn(torch.float32, edge_dim=0)):
        with refuses(ValueError, "edges"):
            layer(x, weighted)
    with refuses(ValueError, "edge_attr"):
        SAGEConv(C, OUT, aggr="max")(x, weighted)
    with refuses(ValueError, "edge_attr"):
        GATConv(C, OUT)(x, EDGES, torch.ones(3, 1))


def test_messages_of_another_width_are_named():
    with refuses(ValueError, "x, edge_attr"):
        mpnn(torch.float32)(torch.ones(3, C), EDGES, torch.ones(3, D + 1))
    with refuses(ValueError, "x, edge_attr"):
        mpnn(torch.float32)(torch.ones(3, C), EDGES)


NO_COUNT = [0, -1, True, 1.5, None, "3"]
ATTENTION = {
    "heads": NO_COUNT, "concat": [1, None], "negative_slope": [math.nan, "a", None],
    "dropout": [-0.1, 1.1, None], "add_self_loops": [1, None],
}  # fmt: skip
BAD = [
    (GCNConv, {"add_self_loops": [1, "yes"], "normalize": [1, None], "bias": [1, None]}),
    (SAGEConv, {"aggr": ["median", None], "normalize": [1, None], "bias": [1, None]}),
    (GATConv, ATTENTION | {"bias": [1, None]}),
    (GATv2Conv, ATTENTION | {"bias": [1, None], "share_weights": [1, None]}),
]


@pytest.mark.parametrize(("kind", "options"), BAD, ids=[kind.__name__ for kind, _ in BAD])
def test_bad_options_are_named(kind, options):
    channels = {"in_channels": [*NO_COUNT[:-2], "3"], "out_channels": NO_COUNT}
    for argument, values in {**channels, "dtype": [torch.int64], **options}.items():
        for value in values:
            with refuses((TypeError, ValueError), argument):
                kind(**{"in_channels": C, "out_channels": OUT, argument: value})


def test_bad_modules_are_named():
    with refuses(ValueError, "add_self_loops"):
        GCNConv(C, OUT, add_self_loops=True, normalize=False)
    with refuses(TypeError, "nn"):
        GINConv(torch.relu)
    with refuses(TypeError, "eps"):
        GINConv(nn.Identity(), eps=None)
    with refuses(ValueError, "eps"):
        GINConv(nn.Identity(), eps=math.nan)
    with refuses(TypeError, "train_eps"):
        GINConv(nn.Identity(), train_eps=1)
    with refuses(TypeError, "psi"):
        MPNNConv(None, nn.Identity())
    with refuses(TypeError, "phi"):
        MPNNConv(nn.Identity(), 3)
    with refuses(ValueError, "aggr"):
        MPNNConv(nn.Identity(), nn.Identity(), aggr="median")
