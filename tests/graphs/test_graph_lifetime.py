"""Layers and networks on graphs as modules: copies, casts, meta device, compilation, autocast."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gdl.graphs.adjacency import Adjacency
from gdl.graphs.attentional import GATConv, GATv2Conv
from gdl.graphs.message_passing import GCNConv, GINConv, MPNNConv, SAGEConv
from gdl.graphs.networks import GIN, GraphClassifier, GraphNetwork, NodeClassifier
from tests.graphs.graph_samples import F64, busy, close, random, rough_edges

N, C = 7, 4


def perceptron(inputs: int, outputs: int, **made) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 5, **made), nn.Tanh(), nn.Linear(5, outputs, **made))


MODELS: dict[str, Callable[..., nn.Module]] = {
    "GCN": lambda **made: GCNConv(C, 3, **made),
    "SAGE": lambda **made: SAGEConv(C, 3, **made),
    "SAGE max": lambda **made: SAGEConv(C, 3, aggr="max", **made),
    "GIN layer": lambda **made: GINConv(perceptron(C, 3, **made), eps=0.1, **made),
    "GIN learning": lambda **made: GINConv(perceptron(C, 3, **made), train_eps=True),
    "GAT": lambda **made: GATConv(C, 3, heads=2, **made),
    "GATv2": lambda **made: GATv2Conv(C, 3, heads=2, concat=False, **made),
    "MPNN": lambda **made: MPNNConv(perceptron(2 * C, 5, **made), perceptron(C + 5, 3, **made)),
    "network": lambda **made: GraphNetwork([GCNConv(C, 5, **made), GATConv(5, 3, **made)]),
    "GIN": lambda **made: GIN(C, 5, 2, layers=2, dropout=0.0, **made),
}
models = pytest.mark.parametrize("name", list(MODELS))


def inputs(dtype: torch.dtype = F64) -> tuple[Tensor, Tensor]:
    return random(N, C, dtype=dtype), rough_edges(N)


@models
def test_copies_compute_the_same(name):
    model, given = busy(MODELS[name](dtype=F64)), inputs()
    out = model(*given)
    loaded = MODELS[name](dtype=F64)
    loaded.load_state_dict(model.state_dict())
    emptied = MODELS[name](device="meta", dtype=F64).to_empty(device="cpu")
    emptied.load_state_dict(model.state_dict())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded, emptied):
        assert torch.equal(twin.eval()(*given), out)


@models
def test_dtype_device_and_cast(name):
    model, (x, edges) = busy(MODELS[name]()), inputs(torch.float32)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    out = model(x, edges)
    assert out.dtype == torch.float32
    assert close(model.double()(x.double(), edges), out.double(), 1e-5)
    assert all(p.device.type == "meta" for p in MODELS[name](device="meta").parameters())


@models
def test_training_reaches_every_weight(name):
    torch.manual_seed(0)
    model, (x, edges) = MODELS[name]().train(), inputs(torch.float32)
    out = model(x, edges)
    (out * random(*out.shape, seed=3, dtype=torch.float32)).sum().backward()
    # A shift before a batch norm is taken off again by its mean.
    shifts = {n for n, _ in model.named_parameters() if n.endswith(("nn.0.bias", "nn.3.bias"))}
    for parameter, value in model.named_parameters():
        assert torch.isfinite(value.grad).all()
        assert value.grad.abs().max() > 0 or (name == "GIN" and parameter in shifts), parameter


@models
@pytest.mark.parametrize("kind", ["edges", "Adjacency"])
def test_compiled_layers_compute_the_same(name, kind):
    model, (x, edges) = busy(MODELS[name]()), inputs(torch.float32)
    graph = Adjacency(edges, N) if kind == "Adjacency" else edges
    x = x.requires_grad_()
    compiled = torch.compile(model, backend="aot_eager")
    for _ in range(2):
        out, expected = compiled(x, graph), model(x, edges)
        found, wanted = (torch.autograd.grad(y.square().sum(), x)[0] for y in (out, expected))
        assert close(out, expected, 1e-5) and close(found, wanted, 1e-4)


@models
def test_autocast_stays_near(name):
    model, (x, edges) = busy(MODELS[name]()), inputs(torch.float32)
    for graph in (edges, Adjacency(edges, N)):
        out = model(x, graph)
        with torch.autocast("cpu", torch.bfloat16):
            low = model(x, graph)
        assert ((low.float() - out).norm() / out.norm()).item() < 0.05
        assert not torch.equal(low.float(), out)


def test_eps_keeps_its_digits_and_its_name():
    layer = GINConv(nn.Identity(), eps=0.1, dtype=F64)
    assert list(layer.state_dict()) == ["eps"] and layer.eps.item() == 0.1
    assert not list(layer.parameters())
    learning = GINConv(nn.Linear(2, 2, dtype=F64), eps=0.1, train_eps=True)
    assert learning.eps.dtype == F64 and learning.eps.requires_grad


# --- the modules that hold graphs ---------------------------------------------------------------


def holders() -> dict[str, Callable[[], nn.Module]]:
    x, edges = inputs()
    graph = Adjacency(edges, N, random(edges.shape[1]).abs())
    graphs = [(x, edges), (x[:3], torch.empty(2, 0, dtype=torch.int64))]
    return {
        "nodes": lambda: NodeClassifier(GCNConv(C, 3, dtype=F64), x, edges),
        "weighted": lambda: NodeClassifier(GCNConv(C, 3, dtype=F64), x, graph),
        "graphs": lambda: GraphClassifier(GIN(C, 5, 2, layers=2, dtype=F64), graphs),
    }


held = pytest.mark.parametrize("name", ["nodes", "weighted", "graphs"])
CHOSEN = torch.tensor([1, 0, 1])


@held
def test_the_graph_is_no_part_of_the_state(name):
    model = holders()[name]()
    assert all(key.startswith("network.") for key in model.state_dict())
    assert all(key.startswith("network.") for key, _ in model.named_parameters())


@held
def test_the_graph_survives_every_journey(name):
    model = busy(holders()[name]())
    out, state = model(CHOSEN), copy.deepcopy(model.state_dict())
    single = model.float()(CHOSEN)
    assert single.dtype == torch.float32 and close(single.double(), out, 1e-5)
    for twin in (
        model.double(),
        model.to("meta").to_empty(device="cpu"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        twin.load_state_dict(state)
        assert torch.equal(twin(CHOSEN), out)


@held
def test_it_can_be_compiled(name):
    model = busy(holders()[name]())
    assert close(torch.compile(model, backend="aot_eager")(CHOSEN), model(CHOSEN))
