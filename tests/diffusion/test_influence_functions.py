"""Functions given by their values at knots, and their integrals."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from gdl.diffusion.potentials import influence, influence_knots, potential


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("reach", [1.0, 0.3])
@pytest.mark.parametrize("count", [3, 11])
def test_functions_are_those_of_numpy_and_integrals_those_of_scipy(count, reach):
    knots = influence_knots(count, reach, dtype=torch.float64)
    values = random(3, count)
    z = torch.cat([2 * reach * random(17), knots]).repeat(2, 3, 1, 1)
    found, cost = influence(z, values, reach), potential(z, values, reach)
    for i, row in enumerate(values.numpy()):

        def function(x, row=row):
            return np.interp(x, knots.numpy(), row)

        assert np.allclose(found[:, i].numpy(), function(z[:, i].numpy()), atol=1e-12)
        for x, psi in zip(z[0, i, 0, :6].tolist(), cost[0, i, 0, :6].tolist(), strict=True):
            inner = sorted({0.0, x, *(k for k in knots.tolist() if min(0, x) < k < max(0, x))})
            area = sum(quad(function, a, b)[0] for a, b in zip(inner, inner[1:], strict=False))
            assert psi == pytest.approx(area if x > 0 else -area, abs=1e-12)


def test_derivative_of_the_potential_is_the_influence():
    z, values = (2 * random(2, 3, 4, 5)).requires_grad_(), random(3, 11, seed=1)
    (slope,) = torch.autograd.grad(potential(z, values).sum(), z)
    assert torch.allclose(slope, influence(z, values), atol=1e-12)
    assert z.detach().abs().max() > 1
    assert potential(torch.zeros(1, 3, 1, 1).double(), values).abs().max() < 1e-15


def test_values_on_a_line_give_it_and_the_ends_go_on():
    knots = influence_knots(5, 2.0, dtype=torch.float64)
    assert knots[2] == 0
    assert torch.equal(knots, -knots.flip(0))
    z = random(1, 1, 4, 4)
    assert torch.allclose(influence(z, 3 * knots[None], 2.0), 3 * z.clamp(-2, 2), atol=1e-12)
    assert influence(torch.full((1, 1, 1, 1), 1e30), knots[None].float(), 2.0).item() == 2


@pytest.mark.parametrize("function", [influence, potential], ids=["influence", "potential"])
def test_gradients_are_those_of_finite_differences(function):
    z, values = random(2, 2, 3, 2).requires_grad_(), random(2, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(function, (z, values, 1.5))


BAD = {
    "even number of knots": (torch.zeros(1, 1, 2, 2), torch.zeros(1, 4), 1.0, ValueError),
    "one knot": (torch.zeros(1, 1, 2, 2), torch.zeros(1, 1), 1.0, ValueError),
    "flat values": (torch.zeros(1, 1, 2, 2), torch.zeros(3), 1.0, ValueError),
    "other channels": (torch.zeros(1, 2, 2, 2), torch.zeros(1, 3), 1.0, ValueError),
    "three axes": (torch.zeros(1, 2, 2), torch.zeros(1, 3), 1.0, ValueError),
    "NaN": (torch.full((1, 1, 2, 2), torch.nan), torch.zeros(1, 3), 1.0, ValueError),
    "infinite values": (torch.zeros(1, 1, 2, 2), torch.full((1, 3), torch.inf), 1.0, ValueError),
    "no reach": (torch.zeros(1, 1, 2, 2), torch.zeros(1, 3), 0.0, ValueError),
    "mixed types": (torch.zeros(1, 1, 2, 2), torch.zeros(1, 3).double(), 1.0, ValueError),
    "whole numbers": (torch.zeros(1, 1, 2, 2).int(), torch.zeros(1, 3), 1.0, TypeError),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("function", [influence, potential], ids=["influence", "potential"])
def test_functions_refuse_bad_arguments(kind, function):
    z, values, reach, error = BAD[kind]
    with pytest.raises(error):
        function(z, values, reach)


@pytest.mark.parametrize(
    ("count", "reach"), [(4, 1.0), (1, 1.0), (True, 1.0), (5, -1.0), (5, torch.inf)], ids=str
)
def test_knots_refuse_bad_arguments(count, reach):
    with pytest.raises((TypeError, ValueError), match="count|reach"):
        influence_knots(count, reach)


def test_knots_that_coincide_in_this_dtype():
    values = torch.tensor([[0.0, 1.0, 2.0]])
    for function in (influence, potential):
        with pytest.raises(ValueError, match="^reach: "):
            function(torch.zeros(1, 1, 2, 2), values, 1e-50)
