"""Nonlinearities of tangent features: equivariance, the error of sampling, derivatives, input."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gdl.gauges.nonlinearities import GatedNonlinearity, NormNonlinearity, RegularNonlinearity
from gdl.gauges.orders import Orders
from tests.geodesics.network_samples import both_dtypes, busy, random, refuses, relative

F64 = torch.float64
MIXED = "3x0 + 2x1 + 1x2 + 2x4"
seeds = pytest.mark.parametrize("seed", [0, 1, 2])


def band(top: int, count: int = 4) -> Orders:
    return Orders([(count, order) for order in range(top + 1)])


def angles(*shape: int, seed: int = 7) -> Tensor:
    return 2 * math.pi * torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def turn_error(layer: nn.Module, orders_in: Orders, orders_out: Orders, seed: int = 0) -> float:
    """Features of 300 vertices, each turned by an angle of its own."""
    x, by = random(300, orders_in.dim, seed=seed), angles(300, seed=seed + 10)
    return relative(layer(orders_in.rotate(x, by)), orders_out.rotate(layer(x), by))


# --- exact ones ---------------------------------------------------------------------------------


@seeds
@pytest.mark.parametrize("orders", [MIXED, "5x0", "4x3", "1x2 + 2x0 + 1x2"])
def test_norms_and_gates_commute_with_every_angle(orders, seed):
    orders = Orders(orders)
    norm, gate = busy(NormNonlinearity(orders, dtype=F64)), GatedNonlinearity(orders)
    assert turn_error(norm, orders, orders, seed) < 1e-14
    assert turn_error(gate, gate.orders_in, orders, seed) < 1e-14
    for layer, width in ((norm, orders.dim), (gate, gate.orders_in.dim)):
        x, y = random(2, 300, width, seed=seed)
        assert layer(x).std() > 0.1
        assert relative(layer(x + y), layer(x) + layer(y)) > 0.05


def test_a_relu_on_pairs_does_not():
    assert turn_error(torch.relu, Orders(MIXED), Orders(MIXED)) > 0.1
    assert turn_error(torch.relu, Orders("5x0"), Orders("5x0")) == 0


def test_norms_by_hand():
    layer = NormNonlinearity("2x0 + 3x1", function=torch.square, dtype=F64)
    layer.bias.data = torch.tensor([-1.0, -10.0, 5.0], dtype=F64)
    x = torch.tensor([-2.0, 0.5, 3.0, 4.0, 3.0, 4.0, 0.0, -2.0], dtype=F64)
    expected = torch.tensor([4.0, 0.25, 2.4, 3.2, 0.0, 0.0, 0.0, -7.0], dtype=F64)
    assert relative(layer(x), expected) < 1e-15


def test_gates_by_hand():
    layer = GatedNonlinearity("1x1 + 2x0 + 2x3", function=torch.square)
    assert layer.orders_in == Orders("3x0 + 1x1 + 2x0 + 2x3")
    gates = torch.tensor([0.0, math.log(3), -math.log(3)], dtype=F64)
    x = torch.tensor([2.0, 4.0, -3.0, 1.0, 4.0, 8.0, 4.0, 8.0], dtype=F64)
    expected = torch.tensor([1.0, 2.0, 9.0, 1.0, 3.0, 6.0, 1.0, 2.0], dtype=F64)
    assert relative(layer(torch.cat([gates, x])), expected) < 1e-15
    assert GatedNonlinearity("4x0").orders_in == Orders("4x0")


@both_dtypes
def test_norms_at_zero(dtype):
    layer = NormNonlinearity("3x2", dtype=dtype)
    layer.bias.data = torch.tensor([-0.5, 0.0, 0.5], dtype=dtype)
    x = torch.zeros(6, dtype=dtype, requires_grad=True)
    out = layer(x)
    assert torch.equal(out, torch.zeros(6, dtype=dtype))
    out.sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 1, 1, 1]
    assert torch.isfinite(layer.bias.grad).all()


@pytest.mark.parametrize("bias", [-0.5, 0.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64], ids=str)
def test_derivatives_are_finite_beside_zero(dtype, bias):
    layer = NormNonlinearity("1x1", dtype=dtype)
    nn.init.constant_(layer.bias, bias)
    sizes = [0.0, 1e-320, 1e-310, 1e-300, 1e-45, 1e-42, 1e-39, 1e-37, 1e-20, 1e-6, 1e-4, 1.0]
    for size in sizes:
        x = torch.tensor([size, 2 * size], dtype=dtype, requires_grad=True)
        layer.bias.grad = None
        y = layer(x)
        y.sum().backward()
        for values in (y, x.grad, layer.bias.grad):
            assert bool(values.isfinite().all()), size
        # Each entry's derivative is rounded by itself.
        if bias == 0:
            assert torch.allclose(y, x, rtol=0.02, atol=0)
            assert torch.allclose(x.grad, torch.ones_like(x), atol=0.05)


def test_lengths_do_not_overflow():
    layer = NormNonlinearity("1x1", dtype=F64)
    for size in (1e-320, 1e-200, 1e200, 1e307):
        x = size * torch.tensor([3.0, -4.0], dtype=F64)
        assert torch.allclose(layer(x), x, rtol=1e-3, atol=0)


# --- sampled ones -------------------------------------------------------------------------------


def sampled(top: int, samples: int, function) -> RegularNonlinearity:
    return RegularNonlinearity(band(top), samples, function, dtype=F64)


@pytest.mark.parametrize("top", [0, 1, 3])
def test_the_samples_are_those_of_the_function(top):
    """Against sums written out, channel by channel, and integrals on a fine circle."""
    orders, samples = band(top, count=2), 2 * top + 3
    layer = RegularNonlinearity(orders, samples, torch.exp, dtype=F64)
    x = 0.3 * random(5, orders.dim)
    blocks = orders.split(x)
    expected = [torch.zeros_like(block) for block in blocks]
    for sample in range(samples):
        phi = 2 * math.pi * sample / samples
        value = blocks[0][..., 0].clone()
        waves = []
        for m in range(1, top + 1):
            wave = torch.tensor([math.cos(m * phi), math.sin(m * phi)], dtype=F64)
            waves.append(math.sqrt(2) * wave)
            value += blocks[m] @ waves[-1]
        for m, out in enumerate(expected):
            wave = waves[m - 1] if m else torch.ones(1, dtype=F64)
            out += value.exp()[..., None] * wave / samples
    assert relative(layer(x), orders.join(expected)) < 1e-14


@pytest.mark.parametrize("top", [0, 1, 2, 4])
@pytest.mark.parametrize("extra", [0, 1, 5])
def test_a_linear_function_changes_nothing(top, extra):
    orders = band(top)
    x = random(20, orders.dim)
    layer = RegularNonlinearity(orders, 2 * top + 1 + extra, torch.nn.Identity(), dtype=F64)
    assert relative(layer(x), x) < 1e-14


def test_the_blocks_may_stand_in_any_order():
    orders, mixed = Orders("2x0 + 2x1 + 2x2"), Orders("2x2 + 2x0 + 2x1")
    zero, one, two = orders.split(random(9, orders.dim))
    options = {"samples": 7, "dtype": F64}
    out = RegularNonlinearity(orders, **options)(orders.join([zero, one, two]))
    moved = RegularNonlinearity(mixed, **options)(mixed.join([two, zero, one]))
    a, b, c = orders.split(out)
    assert relative(moved, mixed.join([c, a, b])) < 1e-14


@pytest.mark.parametrize("samples", [5, 8, 11])
def test_turns_by_a_sample_are_exact(samples):
    layer, orders = sampled(2, samples, torch.relu), band(2)
    x = random(300, orders.dim)
    step = 2 * math.pi / samples
    steps = torch.arange(300, dtype=F64) % samples * step
    assert relative(layer(orders.rotate(x, steps)), orders.rotate(layer(x), steps)) < 1e-13
    half = steps + step / 2
    assert relative(layer(orders.rotate(x, half)), orders.rotate(layer(x), half)) > 0.01


@pytest.mark.parametrize("power", [2, 3, 4])
@pytest.mark.parametrize("top", [1, 2, 3])
def test_a_polynomial_is_exact_from_its_number_of_samples_on(top, power):
    orders, enough = band(top), (power + 1) * top + 1
    errors = [
        turn_error(sampled(top, n, lambda v: v**power), orders, orders)
        for n in (enough - 1, enough, enough + 1, enough + 6)
    ]
    assert errors[0] > 0.01 and max(errors[1:]) < 1e-13


@seeds
@pytest.mark.parametrize("top", [1, 2, 4])
def test_the_error_falls_with_the_samples(top, seed):
    """As N^-2 with kinks, N^-3 with kinks of the slope, geometrically without."""
    orders, counts = band(top), (32, 64, 128)

    def errors(function):
        return [turn_error(sampled(top, n, function), orders, orders, seed) for n in counts]

    rates = {
        name: [math.log2(a / b) for a, b in zip(found, found[1:], strict=False)]
        for name, found in (("relu", errors(torch.relu)), ("elu", errors(F.elu)))
    }
    assert all(1.5 < rate < 2.5 for rate in rates["relu"]), rates
    assert all(2.4 < rate < 3.6 for rate in rates["elu"]), rates
    smooth = errors(F.silu)
    assert smooth[0] > 10 * smooth[1] and smooth[2] < 1e-6 < errors(torch.relu)[2]


def test_few_samples_are_refused():
    for top in (0, 1, 4):
        with refuses(ValueError, "samples"):
            RegularNonlinearity(band(top), 2 * top)
        RegularNonlinearity(band(top), 2 * top + 1)


# --- all as modules -----------------------------------------------------------------------------

LAYERS = {
    "norm": lambda **made: NormNonlinearity("2x0 + 2x1 + 2x2", **made),
    "gated": lambda **made: GatedNonlinearity("2x0 + 2x1 + 2x2"),
    "regular": lambda **made: RegularNonlinearity("2x0 + 2x1 + 2x2", 9, **made),
}
layers = pytest.mark.parametrize("name", list(LAYERS))


def features_of(layer: nn.Module, *leading: int, dtype: torch.dtype = F64) -> Tensor:
    return random(*leading, getattr(layer, "orders_in", layer.orders).dim, dtype=dtype)


@layers
@both_dtypes
def test_dtypes_and_leading_axes(name, dtype):
    layer, exact = (busy(LAYERS[name](dtype=d)) for d in (dtype, F64))
    x = features_of(layer, 2, 3, 7, dtype=dtype)
    out = layer(x)
    assert out.shape == (2, 3, 7, layer.orders.dim) and out.dtype == dtype
    assert relative(out[1, 2], layer(x[1, 2])) < 1e-6
    assert relative(out.double(), exact(x.double())) < (1e-6 if dtype == torch.float32 else 1e-15)
    assert layer(x[:0]).shape == (0, 3, 7, layer.orders.dim)


@layers
def test_derivatives(name):
    layer = busy(LAYERS[name](dtype=F64))
    x = features_of(layer, 4).requires_grad_()
    names = [n for n, _ in layer.named_parameters()]

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))


@layers
def test_copies_and_casts(name):
    layer = busy(LAYERS[name](dtype=F64))
    x = features_of(layer, 5)
    out = layer(x)
    emptied = LAYERS[name](device="meta", dtype=F64).to_empty(device="cpu")
    emptied.load_state_dict(layer.state_dict())
    for twin in (emptied, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), out)
    fresh = LAYERS[name](dtype=F64)
    assert torch.equal(fresh.float().double()(x), LAYERS[name](dtype=F64)(x))


@layers
def test_compiled_and_cast_modules(name):
    layer = busy(LAYERS[name]())
    x = features_of(layer, 5, dtype=torch.float32).requires_grad_()
    out, compiled = layer(x), torch.compile(layer, backend="aot_eager", fullgraph=True)(x)
    slopes = [torch.autograd.grad(y.square().sum(), x)[0] for y in (out, compiled)]
    assert relative(compiled, out) < 1e-6 and relative(slopes[1], slopes[0]) < 1e-5
    rough = x.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(rough)
    assert relative(low.float(), out) < 0.05
    # What has tensors of its own computes in their precision.
    if name != "gated":
        assert torch.equal(low, layer(rough.float()))


@settings(max_examples=40, deadline=None)
@given(
    blocks=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4)), min_size=1, max_size=4),
    leading=st.lists(st.integers(0, 3), max_size=2),
)
def test_any_orders_and_shapes(blocks, leading):
    orders = Orders(blocks)
    for layer in (NormNonlinearity(orders), GatedNonlinearity(orders)):
        x = features_of(layer, *leading, dtype=torch.float32)
        assert layer(x).shape == (*leading, orders.dim)


# --- bad input ----------------------------------------------------------------------------------


@layers
def test_bad_features_are_refused(name):
    layer = LAYERS[name](dtype=F64)
    x = features_of(layer, 5)
    for bad, error in (
        (x[..., 1:], ValueError),
        (x[0, 0], ValueError),
        (x.long(), TypeError),
        (x.tolist(), TypeError),
        (x * torch.nan, ValueError),
        (x / 0, ValueError),
    ):
        with refuses(error, "x"):
            layer(bad)
    # A gate has no tensor of its own to compare with.
    if name != "gated":
        with refuses(TypeError, "x"):
            layer(x.float())
        with refuses(ValueError, "x"):
            layer(x.to("meta"))


def test_functions_may_widen_what_they_get():
    x = random(5, 6, dtype=torch.float32)
    for layer in (
        NormNonlinearity("2x0 + 2x1", function=torch.Tensor.double),
        GatedNonlinearity("2x0 + 1x0 + 1x1", function=torch.Tensor.double),
        RegularNonlinearity("2x0 + 2x1", 5, torch.Tensor.double),
    ):
        assert layer(x).dtype == torch.float32


def cut(x: Tensor) -> Tensor:
    return x > 0


@pytest.mark.parametrize(
    ("call", "argument", "error"),
    [
        (lambda: NormNonlinearity("2y0"), "orders", ValueError),
        (lambda: NormNonlinearity("2x0", function=3), "function", TypeError),
        (lambda: NormNonlinearity("2x1", dtype=torch.int64), "dtype", TypeError),
        (lambda: NormNonlinearity("2x0", function=sum)(torch.ones(2)), "function", ValueError),
        (lambda: NormNonlinearity("1x0", function=len)(torch.ones(1, 1)), "function", ValueError),
        (lambda: GatedNonlinearity("1x0", function=cut)(torch.ones(1)), "function", TypeError),
        (lambda: RegularNonlinearity("1x0", 3, cut)(torch.ones(1)), "function", TypeError),
        (lambda: GatedNonlinearity("2x1 + x0"), "orders", ValueError),
        (lambda: GatedNonlinearity("2x1", function="relu"), "function", TypeError),
        (lambda: RegularNonlinearity("2x0 + 2x2", 9), "orders", ValueError),
        (lambda: RegularNonlinearity("2x1", 9), "orders", ValueError),
        (lambda: RegularNonlinearity("2x0 + 1x1", 9), "orders", ValueError),
        (lambda: RegularNonlinearity("2x0 + 1x1 + 1x1", 9), "orders", ValueError),
        (lambda: RegularNonlinearity("2x0 + 2x1", 9.0), "samples", TypeError),
        (lambda: RegularNonlinearity("2x0 + 2x1", 9, None), "function", TypeError),
        (lambda: RegularNonlinearity("2x0", 9, dtype=torch.cfloat), "dtype", TypeError),
    ],
)  # fmt: skip
def test_bad_arguments(call, argument, error):
    with refuses(error, argument):
        call()
