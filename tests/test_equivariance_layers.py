"""The universal layer: equivariant, complete, and at home in torch."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from torch import nn

from gdl import representations as reps
from gdl.equivariance import EquivariantLinear, equivariance_error, equivariant_basis, span_residual
from tests.test_representations import random, refuses

SO3 = reps.SO(3)
V = SO3.defining
S4 = reps.symmetric(4).defining
D4 = reps.dihedral(4)
PAIRS = {
    "sets": (S4, S4),
    "graphs": (S4 * S4, S4),
    "space": (V * V, V + reps.trivial(SO3, 2)),
    "plane": (reps.regular(D4), reps.circular_irrep(D4, 1) + reps.trivial(D4)),
}


@pytest.fixture(params=PAIRS)
def pair(request):
    return PAIRS[request.param]


def layer_of(pair, dtype=torch.float64, **options) -> EquivariantLinear:
    torch.manual_seed(0)
    layer = EquivariantLinear(*pair, 2, 3, dtype=dtype, **options)
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    return layer


@pytest.mark.parametrize(("dtype", "below"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_equivariant(pair, dtype, below):
    layer, (rho_in, rho_out) = layer_of(pair, dtype), pair
    assert layer.bias is not None
    x = random(5, 2, rho_in.dim, dtype=dtype)
    elements = rho_in.group.random(4, seed=1)
    assert layer(x).dtype == dtype and layer(x).shape == (5, 3, rho_out.dim)
    assert equivariance_error(layer, x, rho_in, rho_out, elements) < below
    broken = copy.deepcopy(layer)
    buffer = broken.maps.labels if broken.maps.by_orbit else broken.maps.stack
    buffer[...] = buffer.flip(-1).roll(1, -1)
    assert equivariance_error(broken, x, rho_in, rho_out, elements) > 1e-3
    assert not torch.allclose(layer(x)[0], layer(x)[1])


def test_complete(pair):
    layer, (rho_in, rho_out) = layer_of(pair), pair
    basis = equivariant_basis(rho_in, rho_out)
    assert layer.weight.shape == (3, 2, len(basis))
    matrix = layer.matrix()
    assert matrix.shape == (3, 2, rho_out.dim, rho_in.dim)
    assert span_residual(matrix.flatten(0, 1), basis) < 1e-12
    assert torch.allclose(matrix, basis.combine(layer.weight), atol=1e-14)
    biases = equivariant_basis(reps.trivial(rho_in.group), rho_out)
    assert layer.bias.shape == (3, len(biases))
    at_zero = layer(torch.zeros(2, rho_in.dim, dtype=torch.float64))
    assert torch.allclose(at_zero, biases.combine(layer.bias)[..., 0], atol=1e-14)


def test_value_by_hand():
    layer = EquivariantLinear(
        reps.symmetric(2).defining, reps.symmetric(2).defining, dtype=torch.float64
    )
    with torch.no_grad():
        layer.weight[0, 0] = torch.tensor([2.0, 3.0])
        layer.bias[0] = torch.tensor([5.0])
    # Identity and swap over sqrt 2; the bias is (1, 1) over sqrt 2.
    expected = torch.tensor(
        [[2 * 1 + 3 * 10 + 5, 3 * 1 + 2 * 10 + 5]], dtype=torch.float64
    ) / math.sqrt(2)
    assert torch.allclose(
        layer(torch.tensor([[1.0, 10.0]], dtype=torch.float64)), expected, atol=1e-14
    )


def test_leading_axes_and_strides():
    layer = layer_of(PAIRS["sets"])
    x = random(2, 3, 2, 4)
    assert torch.allclose(layer(x)[1, 2], layer(x[1, 2]), atol=1e-14) and layer(x[0, 0]).shape == (
        3,
        4,
    )
    assert torch.allclose(layer(x.transpose(0, 1)), layer(x).transpose(0, 1), atol=1e-14)
    assert layer(x[:0]).shape == (0, 3, 3, 4)


def test_bias():
    without = EquivariantLinear(S4, S4, bias=False)
    assert without.bias is None and list(without.state_dict()) == ["weight"]
    assert not without(torch.zeros(1, 4)).any()
    assert EquivariantLinear(V, V).bias is None
    layer = EquivariantLinear(S4, S4, 1, 2)
    assert not layer.bias.any() and layer.bias.shape == (2, 1)


def test_support():
    Z5 = reps.cyclic(5).defining
    near = torch.tensor([[(i - j) % 5 in (0, 1, 4) for j in range(5)] for i in range(5)])
    for method in ("orbits", "dense", "sparse"):
        layer = EquivariantLinear(Z5, Z5, support=near, method=method, dtype=torch.float64)
        assert layer.weight.shape == (1, 1, 3) and not layer.matrix()[..., ~near].any()
        assert layer.matrix()[..., near].abs().min() > 0
        x = random(2, 1, 5)
        assert equivariance_error(layer, x, Z5, Z5, Z5.group.elements()) < 1e-12


def test_initial_variance():
    """White inputs leave with the same variance, whatever the sizes."""
    for rho_in, rho_out in (PAIRS["sets"], PAIRS["graphs"], (S4, S4 * S4)):
        torch.manual_seed(0)
        layer = EquivariantLinear(rho_in, rho_out, 64, 64)
        variance = layer(torch.randn(500, 64, rho_in.dim)).detach().var()
        assert 0.8 < float(variance) < 1.25
    layer.reset_parameters()
    assert not layer.bias.any()


# --- torch --------------------------------------------------------------------------------------


def test_gradients(pair):
    layer = layer_of(pair)
    x = random(2, 2, pair[0].dim).requires_grad_()
    assert torch.autograd.gradcheck(layer, x)
    layer(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in layer.parameters())
    assert {name for name, _ in layer.named_parameters()} == {"weight", "bias"}


def test_state_dict(pair):
    layer, other = layer_of(pair), EquivariantLinear(*pair, 2, 3, dtype=torch.float64)
    assert set(layer.state_dict()) == {"weight", "bias"}
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    x = random(4, 2, pair[0].dim)
    assert torch.equal(layer(x), other(x))


@pytest.mark.parametrize("name", ["graphs", "space"])
def test_compile(name):
    layer = layer_of(PAIRS[name])
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = random(4, 2, PAIRS[name][0].dim)
    assert torch.allclose(compiled(x), layer(x), atol=1e-14)
    compiled(x).sum().backward()
    assert layer.weight.grad.abs().max() > 0


def test_autocast(pair):
    layer = layer_of(pair, torch.float32)
    x = random(4, 2, pair[0].dim, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = layer(x)
    assert torch.allclose(low.float(), layer(x), atol=0.1, rtol=0.05)
    assert not torch.equal(low.float(), layer(x))


def test_casts_keep_the_exact_basis(pair):
    """float32 and back: the maps must not keep the rounding of float32."""
    layer = layer_of(pair, torch.float32).double()
    rho_in, rho_out = pair
    x = random(5, 2, rho_in.dim)
    assert layer(x).dtype == torch.float64
    assert equivariance_error(layer, x, rho_in, rho_out, rho_in.group.random(4, seed=1)) < 1e-12
    assert span_residual(layer.matrix().flatten(0, 1), equivariant_basis(rho_in, rho_out)) < 1e-12
    assert layer.maps.float() is layer.maps
    assert layer.float()(x.float()).dtype == torch.float32
    assert layer.to(torch.bfloat16)(x.bfloat16()).dtype == torch.bfloat16


def test_default_dtype():
    assert EquivariantLinear(S4, S4)(torch.randn(1, 4)).dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert EquivariantLinear(V, V)(torch.randn(1, 3)).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", ["graphs", "space"])
def test_meta_device(name):
    layer = EquivariantLinear(*PAIRS[name], device="meta")
    assert layer(torch.empty(2, 1, PAIRS[name][0].dim, device="meta")).shape == (
        2,
        1,
        PAIRS[name][1].dim,
    )
    real = layer.to_empty(device="cpu")
    real.reset_parameters()
    rho_in, rho_out = PAIRS[name]
    x = random(2, 1, rho_in.dim, dtype=torch.float32)
    assert equivariance_error(real, x, rho_in, rho_out, rho_in.group.random(3)) < 1e-5


def test_deepcopy_is_independent(pair):
    layer = layer_of(pair)
    twin = copy.deepcopy(layer)
    x = random(2, 2, pair[0].dim)
    assert torch.equal(layer(x), twin(x))
    with torch.no_grad():
        twin.weight += 1.0
    assert not torch.equal(layer(x), twin(x))


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["in_channels", "out_channels"])
@pytest.mark.parametrize(
    ("count", "kind"),
    [
        (0, ValueError),
        (-1, ValueError),
        (1.0, TypeError),
        (True, TypeError),
        ("2", TypeError),
    ],
)
def test_channels(argument, count, kind):
    with refuses(kind, argument):
        EquivariantLinear(S4, S4, **{argument: count})


def test_construction_refuses():
    with refuses(ValueError, "rho_in, rho_out"):
        EquivariantLinear(V, reps.trivial(SO3))
    with refuses(ValueError, "rho_out"):
        EquivariantLinear(V, S4)
    with refuses(TypeError, "rho_in"):
        EquivariantLinear(None, S4)
    with refuses(TypeError, "dtype"):
        EquivariantLinear(S4, S4, dtype=torch.int64)
    with refuses(ValueError, "method"):
        EquivariantLinear(S4, S4, method="quick")
    with refuses(TypeError, "support"):
        EquivariantLinear(S4, S4, support=torch.ones(4, 4))


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (torch.ones(4), ValueError),
        (torch.ones(2, 5), ValueError),
        (torch.ones(1, 4), ValueError),
        (torch.ones(4, 2), ValueError),
        (torch.tensor(1.0), ValueError),
        (torch.ones(2, 4, dtype=torch.int64), TypeError),
        (torch.ones(2, 4).numpy(), TypeError),
        ([[1.0] * 4] * 2, TypeError),
        (None, TypeError),
    ],
    ids=str,
)
def test_inputs(x, kind):
    with refuses(kind, "x"):
        EquivariantLinear(S4, S4, 2, 3)(x)


def test_channels_are_not_broadcast():
    with refuses(ValueError, "x"):
        EquivariantLinear(S4, S4, 2, 3)(torch.ones(7, 1, 4))
