"""The relaxed layer: its distance from the solutions, and both ends of its penalty."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from gdl.equivariance import equivariance_error, equivariant_basis, span_residual
from gdl.representations import SO, circular_irrep, cyclic, regular, reynolds, symmetric, trivial
from gdl.zoo.roads_relaxed import RelaxedLinear
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

C4 = cyclic(4)
RHO = C4.defining + trivial(C4)


def filled(layer: RelaxedLinear, seed: int = 0) -> RelaxedLinear:
    with torch.no_grad():
        layer.weight.copy_(random(*layer.weight.shape, seed=seed))
        layer.bias.copy_(random(*layer.bias.shape, seed=seed + 1))
    return layer


def projected(layer: RelaxedLinear) -> RelaxedLinear:
    """The layer with the nearest equivariant weight and bias, in place."""
    weight, bias = layer.projected()
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


def error(layer: RelaxedLinear, rho_in, rho_out) -> float:
    x = random(3, layer.weight.shape[1], rho_in.dim, seed=7)
    return equivariance_error(layer, x, rho_in, rho_out, rho_in.group.elements())


@pytest.mark.parametrize(
    ("rho_in", "rho_out"),
    [
        (C4.defining, C4.defining),
        (RHO, regular(C4)),
        (symmetric(3).defining, regular(symmetric(3))),
    ],
    ids=["shift", "sum", "permutations"],
)
def test_starts_and_ends_at_solutions(rho_in, rho_out):
    torch.manual_seed(0)
    layer = RelaxedLinear(rho_in, rho_out, 2, 3, dtype=F64)
    assert error(layer, rho_in, rho_out) < 1e-12 and layer.squared_distance() < 1e-24
    started = layer.weight.detach().clone()
    assert started.abs().max() > 0.1
    assert gap(projected(layer).weight, started) < 1e-14
    filled(layer)
    assert error(layer, rho_in, rho_out) > 0.1
    weight = layer.weight.detach().clone()
    assert error(projected(layer), rho_in, rho_out) < 1e-12
    assert gap(layer.weight, reynolds(weight, rho_in, rho_out)) < 1e-13


def test_distance_by_least_squares():
    layer = filled(RelaxedLinear(RHO, regular(C4), 2, 3, dtype=F64))
    wanted = torch.zeros((), dtype=F64)
    for space, maps in [
        (equivariant_basis(RHO, regular(C4)), layer.weight.reshape(6, -1)),
        (equivariant_basis(trivial(C4), regular(C4)), layer.bias),
    ]:
        columns = space.dense().flatten(1).T
        solution = torch.linalg.lstsq(columns, maps.detach().T).solution
        wanted += (columns @ solution - maps.detach().T).square().sum()
    assert gap(layer.squared_distance(), wanted) < 1e-12 and wanted > 1


def test_distance_is_the_cheapest_sum_of_two_layers():
    """An equivariant layer that is free beside a dense one that costs its squared weights."""
    layer = filled(RelaxedLinear(C4.defining, C4.defining, dtype=F64))
    basis = equivariant_basis(C4.defining, C4.defining).dense()
    c = torch.zeros(len(basis), dtype=F64)
    W = layer.weight.detach()[0, 0]

    def cost(c: Tensor) -> Tensor:
        return (W - torch.einsum("k,kab->ab", c, basis)).square().sum()

    # A quadratic function: one step of Newton leads to its minimum.
    hessian = torch.autograd.functional.hessian(cost, c)
    best = -torch.linalg.solve(hessian, torch.autograd.functional.jacobian(cost, c))
    assert cost(best) < cost(1.01 * best)
    with torch.no_grad():
        layer.bias.zero_()
    assert gap(cost(best), layer.squared_distance()) < 1e-12


def test_gradient_of_the_penalty():
    """Downhill on half the penalty by one step of size 1 is the projection."""
    layer = filled(RelaxedLinear(RHO, regular(C4), 2, 3, dtype=F64))
    (0.5 * layer.squared_distance()).backward()
    weight, bias = layer.projected()
    assert gap(layer.weight - layer.weight.grad, weight) < 1e-13
    assert gap(layer.bias - layer.bias.grad, bias) < 1e-13


def fitted(penalty: float, x: Tensor, y: Tensor) -> RelaxedLinear:
    """The exact minimiser of mean squared error plus penalty, by linear algebra."""
    layer = RelaxedLinear(C4.defining, C4.defining, dtype=F64)
    with torch.no_grad():
        layer.weight.zero_()

    def gradient(flat):
        values = {"weight": flat.reshape(1, 1, 4, 4), "bias": layer.bias.detach()}

        def loss():
            left = torch.func.functional_call(layer, values, (x[:, None],))[:, 0] - y
            eye = equivariant_basis(C4.defining, C4.defining)
            away = values["weight"] - eye.project(values["weight"])
            return left.square().sum(1).mean() + penalty * away.square().sum()

        return loss()

    zero = torch.zeros(16, dtype=F64)
    hessian = torch.autograd.functional.hessian(gradient, zero)
    slope = torch.autograd.functional.jacobian(gradient, zero)
    with torch.no_grad():
        layer.weight.copy_(torch.linalg.solve(hessian, -slope).reshape(1, 1, 4, 4))
    return layer


def test_both_ends_of_the_penalty():
    x, y = random(12, 4), random(12, 4, seed=1)
    dense = torch.linalg.lstsq(x, y).solution.T
    basis = equivariant_basis(C4.defining, C4.defining).dense()
    features = torch.einsum("kab,nb->nak", basis, x).flatten(0, 1)
    c = torch.linalg.lstsq(features, y.flatten()[:, None]).solution[:, 0]
    tied = torch.einsum("k,kab->ab", c, basis)
    assert gap(fitted(0.0, x, y).weight[0, 0], dense) < 1e-10
    assert gap(dense, tied) > 0.1
    gaps = [gap(fitted(t, x, y).weight[0, 0], tied) for t in (1e2, 1e3, 1e4)]
    assert gaps[0] < 0.05 and gaps[1] / gaps[0] == pytest.approx(0.1, rel=0.1)
    assert gaps[2] / gaps[1] == pytest.approx(0.1, rel=0.01)
    distances = [fitted(t, x, y).squared_distance().item() for t in (0.0, 0.1, 1.0, 10.0)]
    assert distances == sorted(distances, reverse=True)


def test_no_common_map_and_continuous_groups():
    plane = circular_irrep(SO(2), 1)
    layer = RelaxedLinear(plane, plane, dtype=F64)
    rotation = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=F64)
    assert span_residual(rotation, equivariant_basis(plane, plane)) < 1e-10
    projected(filled(layer))
    assert gap(layer.weight[0, 0] @ rotation, rotation @ layer.weight[0, 0]) < 1e-10
    assert layer.bias.abs().max() == 0
    none = RelaxedLinear(trivial(SO(2)), plane, dtype=F64)
    assert none.weight.abs().max() == 0
    filled(none)
    wanted = none.weight.square().sum() + none.bias.square().sum()
    assert gap(none.squared_distance(), wanted) < 1e-14


@both_dtypes
def test_what_a_layer_does(dtype):
    layer = filled(RelaxedLinear(RHO, C4.defining, 2, 3, dtype=dtype))
    x = random(5, 2, 5, dtype=dtype)
    wanted = sum(x[:, i] @ layer.weight[:, i].mT for i in range(2)).transpose(0, 1) + layer.bias
    assert layer(x).dtype == dtype and gap(layer(x), wanted) < 1e-5
    assert layer(x[0]).shape == (3, 4) and layer(x[None]).shape == (1, 5, 3, 4)
    other = RelaxedLinear(RHO, C4.defining, 2, 3, dtype=dtype)
    other.load_state_dict(layer.state_dict())
    assert gap(other(x), layer(x)) == 0
    assert set(layer.state_dict()) == {"weight", "bias"}
    assert gap(copy.deepcopy(layer).double().projected()[0], layer.double().projected()[0]) == 0
    assert "2 x 5 -> 3 x 4" in repr(layer)
    meta = RelaxedLinear(RHO, C4.defining, 2, 3, dtype=dtype, device="meta")
    assert meta(x.to("meta")).shape == (5, 3, 4) and meta.squared_distance().shape == ()


@pytest.mark.parametrize(
    ("given", "kind", "argument"),
    [
        ((RHO, RHO, 0, 1), ValueError, "in_channels"),
        ((RHO, RHO, 1, 2.0), TypeError, "out_channels"),
        ((RHO, RHO, True, 1), TypeError, "in_channels"),
        ((RHO, symmetric(3).defining), ValueError, "rho_out"),
        ((3, RHO), TypeError, "rho_in"),
    ],
    ids=range(5),
)
def test_wrong_layers(given, kind, argument):
    with refuses(kind, argument):
        RelaxedLinear(*given)


def test_wrong_input():
    with refuses(TypeError, "dtype"):
        RelaxedLinear(RHO, RHO, dtype=torch.int64)
    layer = RelaxedLinear(RHO, RHO, 2, 1)
    for x, kind in [
        (torch.ones(3, 2, 4), ValueError),
        (torch.ones(3, 1, 5), ValueError),
        (torch.ones(5), ValueError),
        (torch.ones(3, 2, 5, dtype=F64), TypeError),
        ([1.0], TypeError),
    ]:
        with refuses(kind, "x"):
            layer(x)
