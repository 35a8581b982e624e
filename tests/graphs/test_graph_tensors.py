"""The maps between tensors: their symmetry, their span, the network, their input, their life."""

from __future__ import annotations

import copy
import itertools
import math
import pickle

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks import tensors as benchmark
from gdl.equivariance import equivariance_error, equivariant_basis, span_residual
from gdl.graphs.partitions import (
    bell,
    count_blocks,
    dimension_by_partitions,
    set_partitions,
)
from gdl.graphs.sets import DeepSetLayer
from gdl.graphs.tensors import InvariantGraphNetwork, TensorLinear
from gdl.representations import Element, symmetric, tensor_power
from tests.test_representations import refuses

F32, F64 = torch.float32, torch.float64
TOLERANCE = {F32: 1e-5, F64: 1e-12}
ORDERS = list(itertools.product(range(4), repeat=2))
both_dtypes = pytest.mark.parametrize("dtype", [F32, F64], ids=str)
all_orders = pytest.mark.parametrize(("k", "l"), ORDERS)
aggregations = pytest.mark.parametrize("aggregation", ["sum", "mean"])


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().abs().max())


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).detach().norm() / expected.detach().norm())


def busy(model: nn.Module) -> nn.Module:
    """The model with random numbers everywhere, also where it starts with zeros."""
    with torch.no_grad():
        for seed, p in enumerate(model.parameters()):
            p.copy_(0.5 * random(*p.shape, seed=seed + 1))
    return model


def layer(k: int, l: int, in_channels: int = 2, out_channels: int = 3, **options) -> TensorLinear:
    options = {"dtype": F64} | options
    return busy(TensorLinear(k, l, in_channels, out_channels, **options))


def tensors(k: int, n: int = 4, channels: int = 2, batch: int = 3, dtype=F64) -> Tensor:
    return random(batch, channels, *[n] * k, dtype=dtype)


def elements(n: int) -> list[Element]:
    group = symmetric(n)
    swap, cycle = group.generator(0), group.generator(1)
    return [swap, cycle, cycle.inverse(), swap * cycle, cycle * swap * cycle.inverse(),
            *group.random(2, seed=0)]  # fmt: skip


def act(n: int, order: int):
    """Permutations of the points of tensors (B, C, n, ...)."""
    rho = tensor_power(symmetric(n).defining, order)

    def move(g: Element, x: Tensor) -> Tensor:
        return rho.act(g, x.reshape(*x.shape[:2], -1)).reshape(x.shape)

    return move


def own_maps(k: int, l: int, n: int, **options) -> Tensor:
    """The matrices that the fast layer applies, one for each weight, read off unit tensors."""
    fast = TensorLinear(k, l, 1, bell(k + l), bias=False, dtype=F64, **options)
    units = torch.eye(n**k, dtype=F64).reshape(-1, 1, *[n] * k)
    found = []
    with torch.no_grad():
        # A few at a time, because six copies of every cube are mixed at once.
        for chosen in torch.arange(bell(k + l)).split(29):
            part = TensorLinear(k, l, 1, len(chosen), bias=False, dtype=F64, **options)
            part.weight.copy_(torch.eye(len(fast.weight), dtype=F64)[:, chosen, None])
            found.append(part(units, n).reshape(n**k, len(chosen), n**l).permute(1, 2, 0))
    return torch.cat(found)


# --- symmetry -----------------------------------------------------------------------------------


@both_dtypes
@aggregations
@all_orders
def test_the_layer_commutes_with_permutations(k, l, aggregation, dtype):
    n = 5
    f = layer(k, l, aggregation=aggregation, dtype=dtype)
    x = tensors(k, n, dtype=dtype)
    error = equivariance_error(lambda x: f(x, n), x, act(n, k), act(n, l), elements(n))
    assert error < TOLERANCE[dtype]


@pytest.mark.parametrize(("k", "l"), [(2, 2), (1, 3), (3, 1), (0, 2)])
def test_a_weight_of_one_position_breaks_the_symmetry(k, l):
    n, f = 5, layer(k, l)

    def broken(x: Tensor) -> Tensor:
        y = f(x, n).clone()
        y[(..., *[1] * l)] += 0.1
        return y

    x = tensors(k, n)
    assert equivariance_error(broken, x, act(n, k), act(n, l), elements(n)) > 1e-4


@all_orders
def test_the_output_depends_on_the_input_and_its_place(k, l):
    y = layer(k, l)(tensors(k), 4)
    assert y.shape == (3, 3, *[4] * l)
    assert gap(y[0], y[1]) > 1e-2
    if k > 0 and l > 0:
        assert gap(y, y.flip(2)) > 1e-2


# --- completeness -------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 7))
@all_orders
def test_the_maps_span_what_the_solver_finds(k, l, n):
    rho_in, rho_out = (tensor_power(symmetric(n).defining, order) for order in (k, l))
    basis, maps = equivariant_basis(rho_in, rho_out, method="orbits"), own_maps(k, l, n)
    assert span_residual(maps, basis) < 1e-12
    # Products of maps of zeros and ones are integers: this Gram matrix is exact.
    gram = maps.flatten(1) @ maps.flatten(1).T
    rank = int(torch.linalg.matrix_rank(gram, hermitian=True))
    assert rank == len(basis) == dimension_by_partitions(k, l, n)


@pytest.mark.parametrize("n", [1, 2, 3])
@aggregations
@all_orders
def test_the_fast_layer_is_the_dense_one(k, l, aggregation, n):
    reference = TensorLinear(k, l, 1, 1, aggregation=aggregation).maps(n)
    assert torch.equal(reference[-1] > 0, torch.ones(n**l, n**k, dtype=torch.bool))
    assert gap(own_maps(k, l, n, aggregation=aggregation), reference) < 1e-13


def test_a_forgotten_transpose_is_noticed():
    """What is left commutes with permutations still, and so only completeness can tell."""
    n, rho = 4, tensor_power(symmetric(4).defining, 2)
    maps = own_maps(2, 2, n)
    transpose = set_partitions(4).index((0, 1, 1, 0))
    x = random(n, n)
    assert torch.equal((maps[transpose] @ x.flatten()).reshape(n, n), x.T)
    left = torch.cat([maps[:transpose], maps[transpose + 1 :]])
    assert span_residual(left, equivariant_basis(rho, rho)) < 1e-12
    assert torch.linalg.matrix_rank(left.flatten(1)) == 14
    assert span_residual(torch.eye(16).roll(1, 0), equivariant_basis(rho, rho)) > 0.5


def selected(n: int, tuples: list[tuple[int, ...]], rows: list[int]) -> Tensor:
    """The matrix that writes numbers on the given index tuples, numbered by ``rows``."""
    order, E = len(tuples[0]), torch.zeros([n] * len(tuples[0]) + [max(rows) + 1], dtype=F64)
    for index, row in zip(tuples, rows, strict=True):
        E[(*index, row)] = 1.0
    return E.reshape(n**order, -1)


def tuples_of(n: int, size: int, ordered: bool) -> Tensor:
    """Directed or undirected edges (triangles, nodes) without loops, written into tensors."""
    tuples = list(itertools.permutations(range(n), size))
    if ordered:
        return selected(n, tuples, list(range(len(tuples))))
    number = {s: i for i, s in enumerate(itertools.combinations(range(n), size))}
    return selected(n, tuples, [number[tuple(sorted(t))] for t in tuples])


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ((2, False), (2, False), 3),
        ((2, True), (2, True), 7),
        ((1, False), (2, False), 2),
        ((1, False), (2, True), 3),
        ((3, False), (3, False), 4),
        ((2, False), (3, False), 3),
    ],
    ids=["edges", "arrows", "node to edge", "node to arrow", "triangles", "edge to triangle"],
)
def test_graph_shaped_signals_restrict_the_same_maps(source, target, expected):
    """Symmetry and empty diagonals are kept: the maps of edges are the restrictions of these."""
    n = 6
    E_in, E_out = tuples_of(n, *source), tuples_of(n, *target)
    maps = own_maps(source[0], target[0], n)
    restricted = E_out.T @ maps @ E_in
    assert torch.linalg.matrix_rank(restricted.flatten(1)) == expected


def test_means_are_sums_over_n():
    n = 5
    sums, means = (
        TensorLinear(2, 2, 2, 3, aggregation=a, bias=False, dtype=F64) for a in ("sum", "mean")
    )
    with torch.no_grad():
        for p, w, v in zip(set_partitions(4), sums.weight, means.weight, strict=True):
            w.copy_(v / n ** (count_blocks(p) - count_blocks(p[:2])))
    x = tensors(2, n)
    assert torch.allclose(sums(x), means(x), atol=1e-12, rtol=0)


def test_means_carry_over_to_other_sizes():
    """Every point twice gives every output twice, where no diagonal is singled out."""
    f = layer(1, 1, aggregation="mean")
    x = tensors(1)
    assert torch.allclose(f(x.repeat(1, 1, 2)), f(x).repeat(1, 1, 2), atol=1e-12, rtol=0)
    g = layer(1, 1)
    assert gap(g(x.repeat(1, 1, 2)), g(x).repeat(1, 1, 2)) > 0.1


@aggregations
def test_order_one_is_the_layer_of_sets(aggregation):
    f = layer(1, 1, aggregation=aggregation)
    sets = DeepSetLayer(2, 3, aggregation=aggregation, dtype=F64)
    same, whole = f.weight.detach()
    sets.load_state_dict({"own.weight": same, "own.bias": f.bias[0], "whole.weight": whole})
    x = tensors(1)
    assert torch.allclose(f(x), sets(x.mT).mT, atol=1e-12, rtol=0)


@settings(max_examples=40, deadline=None)
@given(
    k=st.integers(0, 3),
    l=st.integers(0, 3),
    n=st.integers(1, 4),
    batch=st.integers(0, 3),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    aggregation=st.sampled_from(["sum", "mean"]),
    bias=st.booleans(),
)
def test_the_layer_is_its_formula(k, l, n, batch, channels, aggregation, bias):
    f = layer(k, l, *channels, aggregation=aggregation, bias=bias)
    x = tensors(k, n, channels[0], batch)
    expected = torch.einsum("pdc,pij,bcj->bdi", f.weight, f.maps(n), x.reshape(*x.shape[:2], n**k))
    if bias:
        expected = expected + torch.einsum("qd,qi->di", f.bias, layer(0, l).maps(n)[..., 0])
    y = f(x.requires_grad_(), n)
    assert y.shape == (batch, channels[1], *[n] * l)
    assert torch.allclose(y.reshape(expected.shape), expected, atol=1e-11, rtol=1e-12)
    y.sum().backward()
    assert torch.isfinite(x.grad).all() and torch.isfinite(f.weight.grad).all()


@all_orders
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("batch", [0, 2])
def test_an_output_may_be_written_to(k, l, n, batch):
    f, x = layer(k, l, bias=False), tensors(k, n, batch=batch)
    expected = torch.autograd.grad(f(x, n).relu().sum(), f.weight)
    found = torch.autograd.grad(f(x, n).relu_().sum(), f.weight)
    assert torch.equal(found[0], expected[0])


@all_orders
def test_one_tensor_needs_no_batch(k, l):
    f, x = layer(k, l), tensors(k)
    assert torch.allclose(f(x[1], 4), f(x, 4)[1], atol=1e-12, rtol=0)
    assert f(x[1], 4).shape == (3, *[4] * l)


def test_the_number_of_points_is_needed_for_scalars_only():
    assert layer(0, 0)(tensors(0)).shape == (3, 3)
    assert layer(0, 2)(tensors(0), 1).shape == (3, 3, 1, 1)
    assert torch.equal(layer(2, 1)(tensors(2), 4), layer(2, 1)(tensors(2)))


@pytest.mark.parametrize("task", [benchmark.FORWARD, benchmark.BACKWARD])
def test_the_usual_way_computes_the_same(task, monkeypatch):
    """All fifteen maps stacked and mixed by one einsum, gradients included."""
    case = benchmark.case(task, 16)
    assert case.check() < 1e-12
    found = benchmark.stacked
    monkeypatch.setattr(benchmark, "stacked", lambda x: found(x.mT))
    assert case.check() > 1e-3


# --- the network --------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_network_is_invariant(order, dtype):
    n = 5
    net = busy(InvariantGraphNetwork(2, (6, 6), 3, order=order, hidden=7, dtype=dtype))
    x = tensors(2, n, dtype=dtype)
    error = equivariance_error(net, x, act(n, 2), lambda g, y: y, elements(n))
    assert error < 10 * TOLERANCE[dtype]
    assert net(x).shape == (3, 3) and net(x[0]).shape == (3,)
    assert gap(net(x)[0], net(x)[1]) > 1e-3


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("order", "apart"), [(1, False), (2, False), (3, True)])
def test_order_three_sees_more_than_colour_refinement(order, apart, seed):
    """One hexagon and two triangles: every point has two neighbours in both."""
    triangles = nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))
    graphs = [torch.tensor(nx.to_numpy_array(g))[None] for g in (nx.cycle_graph(6), triangles)]
    torch.manual_seed(seed)
    net = InvariantGraphNetwork(1, (16, 16), 8, order=order, dtype=F64)
    hexagon, pair = (net.invariant(_features(net, x)) for x in graphs)
    difference = relative(pair, hexagon)
    assert difference > 1e-3 if apart else difference < 1e-12


def _features(net: InvariantGraphNetwork, x: Tensor) -> Tensor:
    for equivariant in net.layers:
        x = equivariant(x).relu()
    return x


@pytest.mark.parametrize("order", [2, 3])
def test_the_network_learns(order):
    torch.manual_seed(0)
    x = (random(24, 1, 5, 5) > 0).double()
    y = torch.einsum("bij,bji->b", x[:, 0], x[:, 0])[:, None] / 10
    net = InvariantGraphNetwork(1, (8, 8), 1, order=order, dtype=F64)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        loss = (net(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


# --- input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "argument"),
    [
        ({"in_order": 4}, ValueError, "in_order"),
        ({"out_order": -1}, ValueError, "out_order"),
        ({"in_order": 2.0}, TypeError, "in_order"),
        ({"in_channels": 0}, ValueError, "in_channels"),
        ({"out_channels": True}, TypeError, "out_channels"),
        ({"bias": 1}, TypeError, "bias"),
        ({"aggregation": "max"}, ValueError, "aggregation"),
        ({"dtype": torch.int64}, TypeError, "dtype"),
        ({"dtype": torch.complex64}, TypeError, "dtype"),
    ],
)
def test_layers_refuse_bad_arguments(arguments, error, argument):
    sizes = {"in_order": 2, "out_order": 2, "in_channels": 1, "out_channels": 1}
    with refuses(error, argument):
        TensorLinear(**sizes | arguments)


def with_entry(value: float) -> Tensor:
    x = tensors(2)
    x[1, 1, 2, 3] = value
    return x


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (random(3, 2, 4, 5), ValueError),
        (random(3, 3, 4, 4), ValueError),
        (random(4, 4), ValueError),
        (random(1, 3, 2, 4, 4), ValueError),
        (random(3, 2, 0, 0), ValueError),
        (with_entry(math.nan), ValueError),
        (with_entry(math.inf), ValueError),
        (with_entry(-math.inf), ValueError),
        (random(3, 2, 4, 4).float(), TypeError),
        (torch.ones(3, 2, 4, 4, dtype=torch.int64), TypeError),
        ([[1.0]], TypeError),
    ],
    ids=["not square", "channels", "no channels", "an axis too many", "no points", "NaN", "inf",
         "-inf", "float32", "integers", "list"],
)  # fmt: skip
def test_layers_refuse_bad_input(x, error):
    for l in range(4):
        with refuses(error, "x"):
            layer(2, l)(x)


@pytest.mark.parametrize(("k", "l"), [(1, 1), (3, 0), (0, 0)])
def test_entries_that_are_not_finite_are_found_in_every_order(k, l):
    x = tensors(k)
    x.view(-1)[-1] = math.nan
    with refuses(ValueError, "x"):
        layer(k, l)(x)


def test_two_infinities_do_not_cancel():
    x = with_entry(math.inf)
    x[1, 1, 0, 0] = -math.inf
    with refuses(ValueError, "x"):
        layer(2, 2)(x)


def test_contradicting_numbers_of_points_are_refused():
    for f, x, n, error in (
        (layer(0, 2), tensors(0), None, ValueError), (layer(0, 2), tensors(0), 0, ValueError),
        (layer(2, 2), tensors(2), 5, ValueError), (layer(1, 0), tensors(1), 4.0, TypeError),
    ):  # fmt: skip
        with refuses(error, "n"):
            f(x, n)


@pytest.mark.parametrize(
    ("arguments", "error", "argument"),
    [
        ({"widths": ()}, ValueError, "widths"),
        ({"widths": 8}, TypeError, "widths"),
        ({"widths": "88"}, TypeError, "widths"),
        ({"widths": (8, 0)}, ValueError, "widths"),
        ({"in_channels": 0}, ValueError, "in_channels"),
        ({"out_features": 0}, ValueError, "out_features"),
        ({"order": 0}, ValueError, "order"),
        ({"order": 4}, ValueError, "order"),
        ({"hidden": 0}, ValueError, "hidden"),
        ({"aggregation": "max"}, ValueError, "aggregation"),
        ({"dtype": torch.int32}, TypeError, "dtype"),
    ],
)
def test_networks_refuse_bad_arguments(arguments, error, argument):
    with refuses(error, argument):
        InvariantGraphNetwork(**{"in_channels": 1, "widths": (4,), "out_features": 2} | arguments)


def test_a_network_refuses_a_graph_that_is_not_square():
    with refuses(ValueError, "x"):
        InvariantGraphNetwork(1, (4,), 2)(torch.ones(1, 1, 3, 4))


# --- life ---------------------------------------------------------------------------------------

SOME = pytest.mark.parametrize(("k", "l"), [(2, 2), (0, 2), (1, 3), (2, 0)])


@pytest.mark.parametrize("by", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
@SOME
def test_copies_compute_the_same_and_share_nothing(k, l, by):
    f, x = layer(k, l), tensors(k)
    expected, twin = f(x, 4), by(f)
    assert torch.equal(twin(x, 4), expected)
    with torch.no_grad():
        twin.weight.add_(1)
    assert torch.equal(f(x, 4), expected) and not torch.equal(twin(x, 4), expected)


@SOME
def test_the_state_holds_the_weights_only(k, l):
    f, other, x = layer(k, l), TensorLinear(k, l, 2, 3, dtype=F64), tensors(k)
    assert set(f.state_dict()) == {"weight", "bias"}
    other.load_state_dict(f.state_dict())
    assert torch.equal(other(x, 4), f(x, 4))
    assert set(layer(k, l, bias=False).state_dict()) == {"weight"}


@SOME
def test_layers_survive_casts_and_the_meta_device(k, l):
    f, x = layer(k, l), tensors(k)
    expected, state = f(x, 4), f.state_dict()
    emptied = copy.deepcopy(f).to("meta").to_empty(device="cpu")
    emptied.load_state_dict(state)
    assert torch.equal(emptied(x, 4), expected)
    cast = copy.deepcopy(f).float().half().double()
    cast.load_state_dict(state)
    assert torch.equal(cast(x, 4), expected)
    with torch.device("meta"):
        planned = TensorLinear(k, l, 2, 3, dtype=F64)
        y = planned(torch.empty(3, 2, *[4] * k, dtype=F64), 4)
    assert y.is_meta and y.shape == expected.shape
    built = planned.to_empty(device="cpu")
    built.load_state_dict(state)
    assert torch.equal(built(x, 4), expected)


def test_a_device_and_a_dtype_can_be_given():
    net = InvariantGraphNetwork(1, (4,), 2, device="meta", dtype=torch.float16)
    made = [*net.parameters(), *net.buffers()]
    assert {t.device.type for t in made} == {"meta"}
    assert {p.dtype for p in net.parameters()} == {torch.float16}
    half = TensorLinear(2, 2, 2, 3, dtype=torch.bfloat16)
    assert half(tensors(2, dtype=torch.bfloat16)).dtype == torch.bfloat16


@all_orders
def test_gradients_are_those_of_differences(k, l):
    f, x = layer(k, l, 1, 2), tensors(k, 2 if k == l == 3 else 3, 1, 2).requires_grad_()
    n = x.shape[-1] if k else 3
    names = [name for name, _ in f.named_parameters()]

    def call(x: Tensor, *parameters: Tensor) -> Tensor:
        state = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(f, state, (x, n))

    parameters = [p.detach().clone().requires_grad_() for p in f.parameters()]
    assert torch.autograd.gradcheck(call, (x, *parameters), fast_mode=True)
    if k + l <= 4:
        assert torch.autograd.gradgradcheck(call, (x, *parameters), fast_mode=True)


@SOME
def test_a_compiled_layer_computes_the_same_in_one_graph(k, l):
    f, x = layer(k, l), tensors(k).requires_grad_()
    compiled = torch.compile(f, backend="aot_eager", fullgraph=True)
    got, expected = compiled(x, 4), f(x, 4)
    assert torch.allclose(got, expected, atol=1e-12, rtol=0)
    for a, b in zip(
        *(torch.autograd.grad(y.square().sum(), [x, f.weight]) for y in (got, expected)),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-11, rtol=1e-12)


def test_an_ensemble_by_vmap():
    f, x = layer(2, 2), tensors(2)
    weights = {name: torch.stack([v, -v]) for name, v in f.state_dict().items()}
    both = torch.func.vmap(lambda state: torch.func.functional_call(f, state, (x,)))(weights)
    expected = f(x).detach()
    assert torch.allclose(both, torch.stack([expected, -expected]), atol=1e-12, rtol=0)


@SOME
def test_layers_run_under_autocast(k, l):
    f, x = layer(k, l, dtype=F32), tensors(k, dtype=F32)
    expected = f(x, 4)
    with torch.autocast("cpu", torch.bfloat16):
        got = f(x.bfloat16(), 4)
        got.float().square().sum().backward()
    assert 0 < relative(got.float(), expected) < 0.05
    assert torch.isfinite(f.weight.grad).all()
    with refuses(TypeError, "x"):
        f(x.bfloat16(), 4)


def test_the_input_is_left_alone():
    for k, l in ORDERS:
        x = tensors(k)
        before = x.clone()
        y = layer(k, l)(x, 4)
        y.detach().zero_()
        assert torch.equal(x, before)


def test_new_weights_are_drawn_and_what_layers_print():
    torch.manual_seed(0)
    f = TensorLinear(2, 2, 64, 64, dtype=F64)
    assert torch.equal(f.bias, torch.zeros(2, 64, dtype=F64))
    assert float(f.weight.detach().var()) == pytest.approx(1 / (15 * 64), rel=0.02)
    before = f.weight.detach().clone()
    nn.init.ones_(f.bias)
    f.reset_parameters()
    assert not torch.equal(f.weight, before) and not f.bias.any()
    assert f.extra_repr() == (
        "order 2 -> 2, channels 64 -> 64, maps=15, bias=True, aggregation=sum"
    )
