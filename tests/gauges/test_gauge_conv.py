"""Gauge-equivariant convolution: frames do not matter, and what the layer is on known ground."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import pickle
import re

import pytest
import torch
from torch import Tensor, nn

from gdl.gauges.conv import GaugeConv
from gdl.gauges.frames import vertex_gauge
from gdl.gauges.graph import GaugedGraph
from gdl.gauges.kernels import neighbour_kernels, self_kernels
from gdl.gauges.orders import Orders
from gdl.geodesics import Mesh
from gdl.geodesics.creatures import Creature
from gdl.geodesics.surfaces import flat_strip, icosphere, torus
from gdl.representations import SO

F64 = torch.float64
IN, OUT = Orders("3x0 + 2x1 + 1x2 + 1x4"), Orders("1x1 + 2x0 + 1x3 + 2x4")
NUMBERS = ("angles", "distances", "transports", "weights")
seeds = pytest.mark.parametrize("seed", [0, 1, 2])


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def relative(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).detach().norm() / b.detach().norm())


def layer_of(
    orders_in: Orders | str = IN, orders_out: Orders | str = OUT, *, seed: int = 0, **options
) -> GaugeConv:
    """A layer whose bias is not 0."""
    torch.manual_seed(seed)
    layer = GaugeConv(orders_in, orders_out, **{"dtype": F64, **options})
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    return layer


def creature_cut_open() -> Mesh:
    """Body and head of a posed horse, without legs and tail."""
    horse = Creature("horse")
    pose = horse.random_pose(0)
    return Mesh(pose.vertices, pose.faces[(horse.labels[pose.faces] < 2).all(1)]).compact()


def tangle() -> GaugedGraph:
    """Random numbers at random edges: parallel ones, loops, nodes without any."""
    pairs = torch.randint(9, (2, 30), generator=torch.Generator().manual_seed(3))
    weights = random(30, 3, seed=4)
    return GaugedGraph(
        pairs, 4 * random(30), torch.ones(30, dtype=F64), 4 * random(30, seed=1), weights, 11
    )


MESHES = {
    "sphere": lambda: icosphere(1),
    "torus": lambda: torus(2.0, 0.7, 9, 7),
    "creature": creature_cut_open,
    "strip": lambda: flat_strip(2.0, 1.3, 5, 4),
    "square": lambda: Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0.2], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]]),
}
graphs = pytest.mark.parametrize("name", [*MESHES, "tangle"])


@functools.cache
def graph_of(name: str) -> GaugedGraph:
    """On a mesh the second ring of weights tells the edges apart by their length."""
    if name == "tangle":
        return tangle()
    graph = vertex_gauge(MESHES[name]())
    far = graph.distances / graph.distances.mean()
    weights = torch.cat([graph.weights, graph.weights * far[:, None], -(graph.weights**2)], 1)
    return graph.with_weights(weights)


def features(graph: GaugedGraph, orders: Orders = IN, seed: int = 0) -> Tensor:
    return random(graph.num_nodes, orders.dim, seed=seed)


def rotation(orders: Orders, angles: Tensor) -> Tensor:
    """Matrices (k, dim, dim), entry by entry."""
    found = torch.zeros(len(angles), orders.dim, orders.dim, dtype=F64)
    at = 0
    for order in [order for count, order in orders for _ in range(count)]:
        c, s = torch.cos(order * angles), torch.sin(order * angles)
        found[:, at, at] = c
        if order:
            found[:, at + 1, at + 1] = c
            found[:, at + 1, at], found[:, at, at + 1] = s, -s
        at += 2 if order else 1
    return found


def edge_by_edge(layer: GaugeConv, x: Tensor, graph: GaugedGraph, kernel=None) -> Tensor:
    """The formula of the layer with a matrix K_r(theta) for each edge and each ring."""
    kernel = kernel or turning_kernel(layer)
    y = x @ layer.own()[0].T
    scalars = torch.cat([torch.full((c * (1 + bool(m)),), m == 0) for c, m in layer.orders_out])
    if layer.bias is not None:
        y[:, scalars] += layer.bias
    carried = rotation(layer.orders_in, graph.transports) @ x[graph.sources, :, None]
    for r in range(layer.rings):
        message = kernel(r, graph.angles) @ carried
        for p, heard in zip(
            graph.targets.tolist(), graph.weights[:, r, None] * message[..., 0], strict=True
        ):
            y[p] += heard
    return y


def turning_kernel(layer: GaugeConv):
    def kernel(r: int, theta: Tensor) -> Tensor:
        there, back = rotation(layer.orders_out, theta), rotation(layer.orders_in, -theta)
        return there @ layer.neighbour()[r] @ back

    return kernel


def test_rotations_by_hand_are_the_representation():
    angles = random(4)
    by_words = [IN.representation()(SO(2).exp(float(angle))) for angle in angles]
    assert relative(rotation(IN, angles), torch.stack(by_words)) < 1e-14


def gauge_error(run, graph: GaugedGraph, seed: int = 0) -> float:
    """How much the output changes, as a field, when each node turns its frame by any angle."""
    x, by = features(graph), 3 * random(graph.num_nodes, seed=seed + 10)
    out = run(x, graph)
    assert out.detach().std(0).min() > 1e-2
    return relative(run(IN.rotate(x, -by), graph.turned(by)), OUT.rotate(out, -by))


# --- frames do not matter -----------------------------------------------------------------------


@graphs
@seeds
def test_random_frames_at_every_node_change_nothing(name, seed):
    assert gauge_error(layer_of(rings=3, seed=seed), graph_of(name), seed) < 1e-12


@pytest.mark.parametrize("name", ["sphere", "torus", "square", "tangle"])
def test_a_kernel_that_obeys_no_constraint_breaks_it(name):
    layer = layer_of(rings=3)
    waves = random(3, 5, OUT.dim, IN.dim, seed=5) / IN.dim**0.5

    def constant(r: int, theta: Tensor) -> Tensor:
        return waves[r, 0]

    def series(r: int, theta: Tensor) -> Tensor:
        parts = [
            torch.ones_like(theta),
            *(f(k * theta) for k in (1, 2) for f in (torch.cos, torch.sin)),
        ]
        return torch.einsum("ke,koi->eoi", torch.stack(parts), waves[r])

    def error(kernel) -> float:
        return gauge_error(lambda x, g: edge_by_edge(layer, x, g, kernel), graph_of(name))

    with torch.no_grad():
        assert error(constant) > 0.1
        assert error(series) > 0.1
        assert error(turning_kernel(layer)) < 1e-12


def test_every_part_of_the_geometry_counts():
    layer, graph, x = layer_of(rings=3), graph_of("tangle"), features(graph_of("tangle"))
    out = layer(x, graph)
    for name in ("angles", "transports", "weights"):
        other = dataclasses.replace(graph, **{name: getattr(graph, name).roll(1, 0)})
        assert relative(layer(x, other), out) > 0.1, name
    whole_turns = dataclasses.replace(
        graph, angles=graph.angles + 2 * math.pi, transports=graph.transports - 4 * math.pi
    )
    assert relative(layer(x, whole_turns), out) < 1e-13


# --- what it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sphere", "strip", "square", "tangle"])
@pytest.mark.parametrize("rings", [1, 3])
def test_it_is_its_formula_edge_by_edge(name, rings):
    graph = graph_of(name)
    graph = graph.with_weights(graph.weights[:, -rings:])
    layer, x = layer_of(rings=rings), features(graph)
    with torch.no_grad():
        assert relative(layer(x, graph), edge_by_edge(layer, x, graph)) < 1e-13


def test_its_kernels_are_those_of_the_solver():
    layer, theta = layer_of(rings=2), random(60, seed=8)
    rho_in, rho_out = IN.representation(), OUT.representation()
    with torch.no_grad():
        at = turning_kernel(layer)
        for r in range(2):
            values = at(r, theta).movedim(0, -1).flatten()
            span = neighbour_kernels(rho_in, rho_out).at(theta).flatten(1)
            missed = values - torch.linalg.lstsq(span.T, values[:, None]).solution[:, 0] @ span
            assert float(missed.norm() / values.norm()) < 1e-10
        own, span = layer.own()[0].flatten(), self_kernels(rho_in, rho_out).flatten(1)
        assert relative(span.T @ (span @ own), own) < 1e-12
        assert int((own.abs() > 0).sum()) == int((span.abs() > 1e-12).any(0).sum())


def test_a_weight_for_every_kernel_and_every_pair_of_features():
    layer = layer_of(rings=2)
    sizes = {"own": 0, "neighbour": 0}
    for name, parameter in layer.named_parameters():
        if name != "bias":
            sizes[name.split(".")[0]] += parameter.numel()
    # Equal orders: 3 x 2 pairs of numbers, 2 x 1 of order 1, 1 x 2 of order 4, two kernels each.
    assert sizes == {"own": 6 + 2 * 2 + 2 * 2, "neighbour": 2 * OUT.dim * IN.dim}
    assert layer.bias.shape == (2,)


def lattice(height: int, width: int) -> GaugedGraph:
    """A flat torus: eight neighbours, up to (1, 1), on rings of radius 1 and sqrt 2; y is up."""
    edges, angles, distances = [], [], []
    for row in range(height):
        for column in range(width):
            for down, right in OFFSETS:
                q = (row + down) % height * width + (column + right) % width
                edges.append((q, row * width + column))
                angles.append(math.atan2(-down, right))
                distances.append(math.hypot(down, right))
    distances = torch.tensor(distances, dtype=F64)
    weights = torch.stack([distances < 1.2, distances > 1.2], 1).to(F64)
    angles = torch.tensor(angles, dtype=F64)
    index = torch.tensor(edges).T.contiguous()
    return GaugedGraph(index, angles, distances, 0 * angles, weights, height * width)


OFFSETS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]


def test_on_a_flat_torus_it_is_a_convolution_of_the_plane():
    height, width = 5, 6
    layer, x = layer_of(rings=2), random(height * width, IN.dim)
    graph, at = lattice(height, width), turning_kernel(layer)
    kernel = torch.zeros(OUT.dim, IN.dim, 3, 3, dtype=F64)
    with torch.no_grad():
        kernel[:, :, 1, 1] = layer.own()[0]
        for down, right in OFFSETS:
            ring = int(math.hypot(down, right) > 1.2)
            theta = torch.tensor([math.atan2(-down, right)], dtype=F64)
            kernel[:, :, 1 + down, 1 + right] = at(ring, theta)[0]
        image = nn.functional.pad(x.T.reshape(1, IN.dim, height, width), (1, 1, 1, 1), "circular")
        expected = nn.functional.conv2d(image, kernel, layer.shift())
        assert relative(layer(x, graph), expected[0].flatten(1).T) < 1e-13
        mirrored = dataclasses.replace(graph, angles=-graph.angles)
        assert relative(layer(x, mirrored), expected[0].flatten(1).T) > 0.1


def test_between_numbers_it_is_isotropic():
    layer, graph = layer_of("3x0", "2x0", rings=3), graph_of("sphere")
    x = features(graph, Orders("3x0"))
    adjacency = torch.zeros(3, graph.num_nodes, graph.num_nodes, dtype=F64)
    adjacency[:, graph.targets, graph.sources] = graph.weights.T
    heard = torch.einsum("roi,rpq,qi->po", layer.neighbour(), adjacency, x)
    assert relative(layer(x, graph), x @ layer.own()[0].T + heard + layer.bias) < 1e-13
    turned = dataclasses.replace(graph, angles=graph.angles.flip(0), transports=graph.angles)
    assert torch.equal(layer(x, turned), layer(x, graph))


def test_numbers_make_vectors_from_their_neighbours_only():
    layer, graph = layer_of("2x0", "1x1"), graph_of("sphere")
    graph = graph.with_weights(graph.weights[:, :1])
    x = features(graph, Orders("2x0"))
    assert layer.bias is None
    assert float(layer(x, graph).detach().norm()) > 0.1
    nobody = graph.with_weights(0 * graph.weights)
    assert torch.equal(layer(x, nobody), torch.zeros(graph.num_nodes, 2, dtype=F64))


@graphs
def test_permutations_of_nodes_and_of_edges(name):
    layer, graph, x = layer_of(rings=3), graph_of(name), features(graph_of(name))
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(graph.num_nodes, generator=generator)
    renumbered = dataclasses.replace(graph, edge_index=order.argsort()[graph.edge_index])
    assert relative(layer(x[order], renumbered), layer(x, graph)[order]) < 1e-13
    assert relative(layer(x, renumbered), layer(x, graph)[order]) > 0.1
    shuffle = torch.randperm(graph.num_edges, generator=generator)
    moved = {field: getattr(graph, field)[shuffle] for field in NUMBERS}
    moved["edge_index"] = graph.edge_index[:, shuffle]
    assert relative(layer(x, dataclasses.replace(graph, **moved)), layer(x, graph)) < 1e-13


def test_leading_axes_are_other_functions():
    layer, graph = layer_of(rings=3), graph_of("torus")
    x = random(2, 3, graph.num_nodes, IN.dim)
    out = layer(x, graph)
    assert out.shape == (2, 3, graph.num_nodes, OUT.dim)
    for i in range(2):
        for j in range(3):
            assert relative(out[i, j], layer(x[i, j], graph)) < 1e-13
    assert layer(x[:0], graph).shape == (0, 3, graph.num_nodes, OUT.dim)


def empty_graph() -> GaugedGraph:
    none = torch.zeros(0, dtype=F64)
    index = torch.zeros(2, 0, dtype=torch.int64)
    return GaugedGraph(index, none, none, none, torch.zeros(0, 2, dtype=F64), 4)


@pytest.mark.parametrize("edges", [1, 2])
def test_a_few_edges(edges):
    graph, layer, x = graph_of("tangle"), layer_of(rings=3), features(graph_of("tangle"))
    numbers = {name: getattr(graph, name)[:edges] for name in NUMBERS}
    few = dataclasses.replace(graph, edge_index=graph.edge_index[:, :edges], **numbers)
    with torch.no_grad():
        assert relative(layer(x, few), edge_by_edge(layer, x, few)) < 1e-13


def test_without_edges_only_the_centre_speaks():
    layer = layer_of(rings=2)
    x = random(4, IN.dim).requires_grad_()
    out = layer(x, empty_graph())
    assert relative(out, x @ layer.own()[0].T + layer.shift()) < 1e-15
    assert relative(layer(x.expand(2, 3, 4, -1), empty_graph()), out.expand(2, 3, 4, -1)) < 1e-15
    out.square().sum().backward()
    gradients = [x.grad, *(p.grad for p in layer.parameters())]
    assert all(bool(torch.isfinite(g).all()) for g in gradients)


# --- weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("orders_in", "orders_out", "rings"),
    [("32x0", "32x0", 1), ("16x0 + 8x1 + 4x2", "16x1 + 8x0", 2), ("24x0", "12x1", 1)],
    ids=["numbers", "mixed", "vectors from numbers"],
)
def test_white_features_keep_their_variance(orders_in, orders_out, rings):
    """Each node has one neighbour of weight 1 on each ring."""
    n = 400
    index = torch.stack([torch.cat([torch.arange(n).roll(r + 1) for r in range(rings)]),
                         torch.arange(n).repeat(rings)])  # fmt: skip
    weights = torch.eye(rings, dtype=F64).repeat_interleave(n, 0)
    angles = random(n * rings)
    graph = GaugedGraph(index, angles, torch.ones_like(angles), angles.flip(0), weights, n)
    x = random(20, n, Orders(orders_in).dim)
    means = []
    for seed in range(30):
        torch.manual_seed(seed)
        layer = GaugeConv(orders_in, orders_out, rings=rings, dtype=F64)
        blocks = layer.orders_out.split(layer(x[seed % 20], graph).detach())
        means.append(torch.stack([block.square().mean() for block in blocks]))
    assert (torch.stack(means).mean(0) - 1).abs().max() < 0.1


def test_resetting_draws_anew():
    layer = layer_of()
    before = [p.detach().clone() for p in layer.parameters()]
    layer.reset_parameters()
    assert not any(torch.equal(a, b) for a, b in zip(before, layer.parameters(), strict=True))
    assert layer.bias.abs().max() == 0
    assert GaugeConv("2x1", "2x0 + 1x1", bias=False).bias is None


def test_derivatives():
    graph = graph_of("square")
    graph = graph.with_weights(graph.weights[:, :2])
    layer = layer_of("1x0 + 1x1 + 1x2", "1x0 + 1x1", rings=2)
    x = random(4, 5).requires_grad_()
    numbers = {"angles": graph.angles, "transports": graph.transports, "weights": graph.weights}
    inputs = [value.clone().requires_grad_() for value in numbers.values()]
    names, values = zip(*layer.named_parameters(), strict=True)

    def run(x, angles, transports, weights, *values):
        moved = dataclasses.replace(graph, angles=angles, transports=transports, weights=weights)
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(layer, state, (x, moved))

    assert torch.autograd.gradcheck(run, (x, *inputs, *values))
    assert torch.autograd.gradgradcheck(lambda x: run(x, *inputs, *values).square(), (x,))


def test_training_reaches_every_weight():
    layer, graph = layer_of(rings=3), graph_of("sphere")
    out = layer(features(graph), graph)
    (out * random(*out.shape, seed=3)).sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.numel() and float(parameter.grad.abs().max()) > 0, name


# --- as a module --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_dtypes(dtype):
    graph = graph_of("sphere")
    exact, layer = layer_of(rings=3), layer_of(rings=3).to(dtype)
    out = layer(features(graph).to(dtype), graph.to(dtype=dtype))
    assert out.dtype == dtype
    wanted = exact(features(graph), graph)
    assert relative(out.double(), wanted) < (1e-5 if dtype == torch.float32 else 1e-15)


def test_copies_compute_the_same():
    layer, graph = layer_of(rings=3), graph_of("sphere")
    x = features(graph)
    out, state = layer(x, graph), layer.state_dict()
    assert set(state) == {name for name, _ in layer.named_parameters()}
    loaded = layer_of(rings=3, seed=1)
    with torch.device("meta"):
        planned = GaugeConv(IN, OUT, rings=3, dtype=F64)
        shape = planned(torch.empty(graph.num_nodes, IN.dim, dtype=F64), graph.to(device="meta"))
    assert shape.is_meta and shape.shape == out.shape
    given = GaugeConv(IN, OUT, rings=3, device="meta", dtype=F64)
    tensors = [*given.parameters(), *given.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    twins = [loaded, planned.to_empty(device="cpu"), given.to_empty(device="cpu")]
    for twin in twins:
        twin.load_state_dict(state)
    twins += [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer_of(rings=3)]
    for twin in twins:
        assert torch.equal(twin(x, graph), out)
    assert relative(layer_of(rings=3, seed=1)(x, graph), out) > 0.1


def test_a_detour_through_single_precision_spoils_no_kernel():
    layer, fresh, graph = layer_of().float().double(), layer_of(seed=1), graph_of("square")
    graph = graph.with_weights(graph.weights[:, :1])
    layer.load_state_dict(fresh.state_dict())
    assert torch.equal(layer(features(graph), graph), fresh(features(graph), graph))


def test_layers_made_in_inference_mode_spoil_no_later_one():
    from gdl.gauges import conv

    conv._self.cache_clear()
    conv._neighbour.cache_clear()
    with torch.inference_mode():
        layer_of("1x0 + 1x1", "1x1")
    graph = graph_of("square")
    graph = graph.with_weights(graph.weights[:, :1])
    layer_of("1x0 + 1x1", "1x1")(random(4, 3), graph).sum().backward()


def test_compiled_and_cast():
    graph = graph_of("sphere").to(dtype=torch.float32)
    layer = layer_of(rings=3).float()
    x = features(graph).float().requires_grad_()
    out = layer(x, graph)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)(x, graph)
    slopes = [torch.autograd.grad(y.square().sum(), x)[0] for y in (out, compiled)]
    assert relative(compiled, out) < 1e-6 and relative(slopes[1], slopes[0]) < 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x, graph), out)
        low = layer(x.bfloat16(), graph)
    assert low.dtype == torch.float32 and 0 < relative(low, out) < 0.02


def test_no_kernel_is_made_for_an_edge():
    """The largest tensor of the forward pass grows with edges times dimension."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor):
                largest[0] = max(largest[0], out.numel())
            return out

    graph = graph_of("torus")
    with Watch():
        layer_of(rings=3)(features(graph), graph)
    assert largest[0] <= graph.num_edges * 3 * IN.dim
    assert graph.num_edges * 3 * IN.dim < graph.num_edges * IN.dim * OUT.dim


def test_what_a_layer_prints():
    assert repr(layer_of(rings=3)).splitlines()[1].strip() == f"{IN} -> {OUT}, rings=3"


# --- bad input ----------------------------------------------------------------------------------


def refuses(error: type[Exception], text: str):
    return pytest.raises(error, match="^" + re.escape(text))


def test_bad_features_are_refused():
    layer, graph = layer_of(rings=3), graph_of("square")
    x = features(graph)
    for bad, error in (
        (x[:, 1:], ValueError),
        (x[1:], ValueError),
        (x[0], ValueError),
        (x.float(), TypeError),
        (x.long(), TypeError),
        (x.numpy(), TypeError),
        (x.to(torch.complex128), TypeError),
        (x.to("meta"), ValueError),
        (x * torch.nan, ValueError),
        (x / 0, ValueError),
    ):
        with refuses(error, "x: expected"):
            layer(bad, graph)
    with refuses(ValueError, f"x: expected shape (..., 4, {IN.dim}), got (4, {OUT.dim})"):
        layer(random(4, OUT.dim), graph)


def test_bad_graphs_are_refused():
    layer, graph = layer_of(rings=2), graph_of("square")
    x = features(graph)
    with refuses(ValueError, "graph: expected weights on 2 rings, got 3"):
        layer(x, graph)
    graph = graph.with_weights(graph.weights[:, :2])
    with refuses(TypeError, "graph: expected torch.float64, the dtype of the layer"):
        layer(x, graph.to(dtype=torch.float32))
    with refuses(TypeError, "graph: expected a GaugedGraph, got Tensor"):
        layer(x, graph.edge_index)
    with refuses(ValueError, "graph: expected device cpu as the layer, got meta"):
        layer(x, graph.to(device="meta"))


@pytest.mark.parametrize(
    ("call", "argument", "error"),
    [
        (lambda: GaugeConv("1y0", "1x0"), "orders", ValueError),
        (lambda: GaugeConv("1x0", "0x1"), "multiplicity", ValueError),
        (lambda: GaugeConv("1x0", "1x1", rings=0), "rings", ValueError),
        (lambda: GaugeConv("1x0", "1x1", rings=1.0), "rings", TypeError),
        (lambda: GaugeConv("1x0", "1x0", bias=1), "bias", TypeError),
        (lambda: GaugeConv("1x1", "1x1", bias="no"), "bias", TypeError),
        (lambda: GaugeConv("1x0", "1x0", dtype=torch.int64), "dtype", TypeError),
        (lambda: GaugeConv("1x0", "1x0", dtype="float32"), "dtype", TypeError),
    ],
    ids=["text", "none", "no ring", "half a ring", "bias", "word", "integers", "name"],
)
def test_bad_arguments(call, argument, error):
    with refuses(error, argument):
        call()
