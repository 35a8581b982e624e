"""The network on frames: exact equivariance on surfaces, readouts, training, modules, input."""

from __future__ import annotations

import copy
import functools
import math
import pickle

import pytest
import torch
from torch import Tensor, nn

from gdl.gauges.frames import vertex_gauge
from gdl.gauges.graph import GaugedGraph
from gdl.gauges.network import GaugeBlock, GaugeMeshCNN
from gdl.geodesics import Creature, Mesh, flat_strip, icosphere, torus
from tests.geodesics.network_samples import F64, both_dtypes, busy, random, refuses, relative

seeds = pytest.mark.parametrize("seed", [0, 1, 2])
HIDDEN = "4x0 + 3x1 + 2x2 + 1x3 + 2x4"
BAND = "3x0 + 3x1 + 3x2"
IN, OUT = "1x0 + 1x1 + 1x4", "2x0 + 1x1 + 1x3"


def cut_creature() -> Mesh:
    """The hind part of a creature, open where it was cut."""
    body = Creature("lizard").random_pose(0)
    hind = body.vertices[body.faces].mean(1)[:, 0] < 0
    return Mesh(body.vertices, body.faces[hind]).compact()


MESHES = {
    "sphere": lambda: icosphere(2),
    "torus": lambda: torus(2.0, 0.7, 14, 9),
    "creature": cut_creature,
    "strip": lambda: flat_strip(2.0, 1.3, 8, 5),
}


@functools.cache
def graph_of(name: str, dtype: torch.dtype = F64) -> GaugedGraph:
    return vertex_gauge(MESHES[name]()).to(dtype=dtype)


def angles(graph: GaugedGraph, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * math.pi * torch.rand(graph.num_nodes, dtype=F64, generator=generator)


def network(orders_in: str = IN, orders_out: str = OUT, **options) -> GaugeMeshCNN:
    return busy(GaugeMeshCNN(orders_in, orders_out, **{"dtype": F64, "layers": 2} | options), 0.3)


def features(net: nn.Module, graph: GaugedGraph, *leading: int, seed: int = 0) -> Tensor:
    weight = next(net.parameters())
    shape = (*leading, graph.num_nodes, net.orders_in.dim)
    return random(*shape, seed=seed, dtype=weight.dtype)


def frame_error(net: nn.Module, graph: GaugedGraph, seed: int = 0) -> float:
    """A random frame at every vertex, against the output turned into it."""
    x, by = features(net, graph, seed=seed), angles(graph, seed + 5)
    moved = net(net.orders_in.rotate(x, -by), graph.turned(by))
    out = net(x, graph)
    assert out.std() > 0.1
    vertices = getattr(net, "readout", "vertices") == "vertices"
    return relative(moved, net.orders_out.rotate(out, -by) if vertices else out)


# --- equivariance -------------------------------------------------------------------------------

EXACT = {
    "gated": {"hidden": HIDDEN},
    "norm": {"hidden": HIDDEN, "nonlinearity": "norm"},
    "plain": {"hidden": HIDDEN, "residual": False, "function": torch.tanh},
    "polynomial": {
        "hidden": BAND, "nonlinearity": "regular", "samples": 7, "function": torch.square,
    },
    "isotropic": {"hidden": "6x0", "orders_out": "3x0"},
    "global": {"hidden": HIDDEN, "orders_out": "3x0", "readout": "global"},
}  # fmt: skip


@seeds
@pytest.mark.parametrize("variant", list(EXACT))
@pytest.mark.parametrize("mesh", list(MESHES))
def test_frames_do_not_matter(mesh, variant, seed):
    options = dict(EXACT[variant])
    net = network(orders_out=options.pop("orders_out", OUT), **options)
    assert frame_error(net, graph_of(mesh), seed) < 1e-12


@pytest.mark.parametrize("mesh", list(MESHES))
def test_a_relu_on_pairs_makes_them_matter(mesh):
    net = network(hidden=HIDDEN, nonlinearity="norm")
    for block in net.blocks:
        block.act = nn.ReLU()
    assert frame_error(net, graph_of(mesh)) > 0.1


def test_frames_matter_less_with_more_samples():
    options = {"hidden": BAND, "nonlinearity": "regular"}
    errors = [
        frame_error(network(samples=samples, **options), graph_of("torus"))
        for samples in (5, 16, 64)
    ]
    assert errors[0] > 0.01 and errors[0] > 5 * errors[1] > 25 * errors[2]
    smooth = network(samples=64, function=torch.nn.functional.silu, **options)
    assert frame_error(smooth, graph_of("torus")) < errors[2] / 10


@pytest.mark.parametrize("readout", ["vertices", "global"])
@seeds
def test_a_permutation_of_the_vertices_permutes(readout, seed):
    graph = graph_of("creature")
    net = network("1x0 + 1x1", "3x0", hidden=HIDDEN, readout=readout)
    order = torch.randperm(graph.num_nodes, generator=torch.Generator().manual_seed(seed))
    new = GaugedGraph(
        order[graph.edge_index], graph.angles, graph.distances, graph.transports, graph.weights,
        graph.num_nodes,
    )  # fmt: skip
    x, out = features(net, graph), net(features(net, graph), graph)
    expected = out[order.argsort()] if readout == "vertices" else out
    assert relative(net(x[order.argsort()], new), expected) < 1e-12
    assert relative(net(x, new), expected) > 1e-3


def test_leading_axes_are_many_features():
    graph, net = graph_of("sphere"), network(hidden=HIDDEN)
    whole = network(orders_out="2x0", hidden=HIDDEN, readout="global")
    x = features(net, graph, 3, 2)
    assert net(x, graph).shape == (3, 2, graph.num_nodes, net.orders_out.dim)
    assert whole(x, graph).shape == (3, 2, 2)
    for model in (net, whole):
        assert relative(model(x, graph)[2, 1], model(x[2, 1], graph)) < 1e-13


# --- parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_network_is_its_blocks(layers):
    graph, net = graph_of("torus"), network("2x1", "1x1", hidden=HIDDEN, layers=layers)
    x = features(net, graph)
    steps = [x]
    for block in net.blocks:
        y = block.act(block.conv(steps[-1], graph))
        steps.append(y + steps[-1] if len(steps) > 1 else y)
    assert relative(net(x, graph), net.last(steps[-1], graph)) < 1e-15
    assert len(net.blocks) == layers
    assert net.blocks[0].act.orders_in == net.blocks[0].conv.orders_out


def test_residuals_need_equal_orders():
    assert GaugeBlock(HIDDEN, HIDDEN).residual is True
    assert GaugeBlock(HIDDEN, HIDDEN, residual=False).residual is False
    assert GaugeBlock(IN, HIDDEN).residual is False


def test_a_global_readout_is_the_mean_of_the_vertices():
    graph, options = graph_of("sphere"), {"orders_out": "2x0", "hidden": HIDDEN}
    x = features(network(**options), graph)
    at_vertices = network(**options)(x, graph)
    assert relative(network(readout="global", **options)(x, graph), at_vertices.mean(0)) < 1e-14


@pytest.mark.parametrize("nonlinearity", ["gated", "norm"])
def test_dropout_takes_whole_channels(nonlinearity):
    graph = graph_of("sphere")
    block = busy(
        GaugeBlock("2x0 + 2x2", "4x0 + 3x1", nonlinearity=nonlinearity, function=torch.exp,
                   dropout=0.25, dtype=F64)
    )  # fmt: skip
    x = features(block, graph)
    kept = block(x, graph)
    assert torch.equal(kept, block(x, graph))
    block.train()
    torch.manual_seed(0)
    numbers, pairs = block.orders_out.split(block(x, graph) / kept)
    assert torch.equal(pairs[..., 0] == 0, pairs[..., 1] == 0)
    ratios = torch.cat([numbers.flatten(), pairs.flatten()])
    dropped = ratios == 0
    assert relative(ratios[~dropped], torch.full_like(ratios[~dropped], 4 / 3)) < 1e-14
    assert 0.2 < dropped.double().mean() < 0.3
    assert 0.2 < (pairs[..., 0] == 0).double().mean() < 0.3

    def drawn(features: Tensor, on: GaugedGraph) -> Tensor:
        torch.manual_seed(1)
        return block(features, on)

    by = angles(graph)
    moved = drawn(block.orders_in.rotate(x, -by), graph.turned(by))
    assert relative(moved, block.orders_out.rotate(drawn(x, graph), -by)) < 1e-13


def test_a_network_without_directions_gives_no_field():
    """Numbers alone know no direction: they hear sums that forget where neighbours are."""
    graph = graph_of("torus")
    net = network("1x0", "3x0", hidden="5x0")
    x, by = features(net, graph), torch.linspace(0, 6, graph.num_nodes, dtype=F64)
    elsewhere = GaugedGraph(
        graph.edge_index, graph.angles.flip(0), graph.distances, graph.transports, graph.weights,
        graph.num_nodes,
    )  # fmt: skip
    assert relative(net(x, elsewhere), net(x, graph)) < 1e-14
    directed = network("1x0", "3x0", hidden="5x0 + 2x1")
    assert relative(directed(x, elsewhere), directed(x, graph)) > 0.01
    assert relative(directed(x, graph.turned(by)), directed(x, graph)) < 1e-13


def test_rings_have_kernels_of_their_own():
    graph = graph_of("creature")
    far = graph.distances[:, None] * graph.weights
    rings = graph.with_weights(torch.cat([graph.weights, far], 1))
    net = network(hidden=HIDDEN, rings=2)
    assert frame_error(net, rings) < 1e-12
    x = features(net, graph)
    swapped = rings.with_weights(rings.weights.flip(1))
    assert relative(net(x, swapped), net(x, rings)) > 0.01


# --- training -----------------------------------------------------------------------------------

VARIANTS = {
    "gated": {"hidden": HIDDEN},
    "norm": {"hidden": HIDDEN, "nonlinearity": "norm"},
    "regular": {"hidden": BAND, "nonlinearity": "regular", "samples": 9},
    "dropout": {"hidden": HIDDEN, "dropout": 0.1},
}
variants = pytest.mark.parametrize("variant", list(VARIANTS))


@variants
def test_training_reaches_every_weight(variant):
    graph = graph_of("creature", torch.float32)
    torch.manual_seed(0)
    net = GaugeMeshCNN(IN, OUT, layers=2, **VARIANTS[variant])
    out = net(features(net, graph), graph)
    (out * random(*out.shape, seed=3, dtype=torch.float32)).sum().backward()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().max() > 0, name


@variants
def test_features_of_zeros_have_finite_derivatives(variant):
    graph = graph_of("sphere", torch.float32)
    net = GaugeMeshCNN(IN, OUT, layers=2, **VARIANTS[variant])
    x = torch.zeros(graph.num_nodes, net.orders_in.dim, requires_grad=True)
    net(x, graph).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


@seeds
def test_it_learns_a_field_that_an_isotropic_network_cannot(seed):
    """The field that one convolution makes of a function."""
    graph = graph_of("torus", torch.float32)
    x = random(12, graph.num_nodes, 1, seed=seed, dtype=torch.float32)
    teacher = GaugeBlock("1x0", "1x1", nonlinearity="norm")
    y = teacher(x, graph).detach()
    errors = {}
    for name, hidden, out in (("gauge", "4x0 + 4x1", "1x1"), ("isotropic", "12x0", "2x0")):
        torch.manual_seed(seed)
        net = GaugeMeshCNN("1x0", out, hidden=hidden, layers=1)
        optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
        for _ in range(100):
            optimiser.zero_grad()
            (net(x[:8], graph) - y[:8]).square().mean().backward()
            optimiser.step()
        errors[name] = relative(net(x[8:], graph), y[8:])
    assert errors["gauge"] < 0.1 and errors["isotropic"] > 0.9, errors


# --- as a module --------------------------------------------------------------------------------


@variants
@both_dtypes
def test_dtypes(variant, dtype):
    net = network(dtype=dtype, **VARIANTS[variant])
    graph, wide = graph_of("sphere", dtype), network(**VARIANTS[variant])
    x = features(net, graph)
    out = net(x, graph)
    assert out.dtype == dtype
    exact = wide(x.double(), graph_of("sphere"))
    assert relative(out.double(), exact) < (1e-4 if dtype == torch.float32 else 1e-15)


@variants
def test_copies_compute_the_same(variant):
    graph, net = graph_of("creature"), network(**VARIANTS[variant])
    x = features(net, graph)
    out = net(x, graph)
    loaded = GaugeMeshCNN(IN, OUT, layers=2, dtype=F64, **VARIANTS[variant])
    options = {"layers": 2, "device": "meta", "dtype": F64, **VARIANTS[variant]}
    emptied = GaugeMeshCNN(IN, OUT, **options)
    assert all(tensor.is_meta for tensor in (*emptied.parameters(), *emptied.buffers()))
    emptied = emptied.to_empty(device="cpu")
    for twin in (loaded, emptied):
        twin.load_state_dict(net.state_dict())
    for twin in (loaded, emptied, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin.eval()(x, graph), out)


@pytest.mark.parametrize(
    "options", [{}, {"nonlinearity": "norm"}, {"nonlinearity": "regular", "samples": 5}],
    ids=["gated", "norm", "regular"],
)  # fmt: skip
def test_compiled_and_cast_modules(options):
    graph = graph_of("strip", torch.float32)
    small = {"hidden": "2x0 + 2x1", "layers": 1, "dtype": torch.float32}
    net = network("1x0", "1x1", **small, **options)
    x = features(net, graph).requires_grad_()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)(x, graph)
    out = net(x, graph)
    slopes = [torch.autograd.grad(y.square().sum(), x)[0] for y in (out, compiled)]
    assert relative(compiled, out) < 1e-5 and relative(slopes[1], slopes[0]) < 1e-4
    with torch.autocast("cpu", torch.bfloat16):
        low = net(x, graph)
    assert relative(low.float(), out) < 0.05


# --- bad input ----------------------------------------------------------------------------------


def test_bad_features_are_refused():
    graph, net = graph_of("sphere"), network(hidden=HIDDEN)
    x = features(net, graph)
    for bad, error in (
        (x[:, 1:], ValueError),
        (x[1:], ValueError),
        (x.flatten(), ValueError),
        (x.float(), TypeError),
        (x.long(), TypeError),
        (x.numpy(), TypeError),
        (x.to("meta"), ValueError),
        (x * torch.nan, ValueError),
    ):
        with refuses(error, "x"):
            net(bad, graph)
    with refuses(TypeError, "graph"):
        net(x, icosphere(2))
    with refuses(TypeError, "graph"):
        net(x, graph_of("sphere", torch.float32))
    with refuses(ValueError, "graph"):
        net(x, graph.with_weights(graph.weights.repeat(1, 2)))


@pytest.mark.parametrize(
    ("call", "argument", "error"),
    [
        (lambda: GaugeMeshCNN("one", "1x1"), "orders", ValueError),
        (lambda: GaugeMeshCNN("1x0", "1x1", layers=0), "layers", ValueError),
        (lambda: GaugeMeshCNN("1x0", "1x1", layers=1.0), "layers", TypeError),
        (lambda: GaugeMeshCNN("1x0", "1x1", rings=0), "rings", ValueError),
        (lambda: GaugeMeshCNN("1x0", "1x1", readout="faces"), "readout", ValueError),
        (lambda: GaugeMeshCNN("1x0", "1x1", readout="global"), "readout", ValueError),
        (lambda: GaugeMeshCNN("1x0", "1x1", nonlinearity="relu"), "nonlinearity", ValueError),
        (lambda: GaugeMeshCNN("1x0", "1x1", samples=9), "samples", ValueError),
        (lambda: GaugeMeshCNN("1x0", "1x1", nonlinearity="regular"), "samples", ValueError),
        (lambda: network(hidden=BAND, nonlinearity="regular", samples=4), "samples", ValueError),
        (lambda: network(hidden=HIDDEN, nonlinearity="regular", samples=9), "orders", ValueError),
        (lambda: GaugeMeshCNN("1x0", "1x1", function=1), "function", TypeError),
        (lambda: GaugeMeshCNN("1x0", "1x1", residual=1), "residual", TypeError),
        (lambda: GaugeMeshCNN("1x0", "1x1", dropout=1.0), "dropout", ValueError),
        (lambda: GaugeMeshCNN("1x0", "1x1", dropout=-0.1), "dropout", ValueError),
        (lambda: GaugeMeshCNN("1x0", "1x1", dtype=torch.int64), "dtype", TypeError),
    ],
)
def test_bad_arguments(call, argument, error):
    with refuses(error, argument):
        call()
