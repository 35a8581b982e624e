"""The interpolating network, gradient norms and outputs of layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gdl.high_dimensions import gradient_norms, interpolant, layer_outputs
from tests.test_representations import random, refuses, tensor


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-10, 10), min_size=2, max_size=12, unique_by=lambda v: round(v, 3)),
    st.integers(0, 100),
)
def test_the_network_is_numpy_interp(knots, seed):
    knots = torch.tensor(sorted(knots), dtype=torch.float64)
    values = torch.randn(len(knots), generator=torch.Generator().manual_seed(seed)).double()
    network = interpolant(lambda x: values, knots)
    x = torch.linspace(float(knots[0]) - 1, float(knots[-1]), 50, dtype=torch.float64)
    expected = np.interp(x.numpy(), knots.numpy(), values.numpy())
    got = network(x[:, None])[:, 0].detach().numpy()
    assert np.abs(got - expected).max() < 1e-9 / float(knots.diff().min())


def test_right_of_the_last_knot_it_goes_straight_on():
    network = interpolant(torch.square, tensor([0.0, 1.0, 2.0]))
    assert network(tensor([[3.0]])).item() == pytest.approx(7.0)
    assert network(tensor([[-5.0]])).item() == pytest.approx(0.0)
    assert network[0].out_features == 2


@pytest.mark.parametrize("pieces", [4, 16, 64])
def test_the_error_bound_holds_and_is_attained_by_parabolas(pieces):
    knots = torch.linspace(0, 1, pieces + 1, dtype=torch.float64)
    x = torch.linspace(0, 1, 4 * pieces * 8 + 1, dtype=torch.float64)
    error = (interpolant(torch.square, knots)(x[:, None])[:, 0] - x**2).abs().max()
    assert error.item() == pytest.approx(2 / (8 * pieces**2), rel=1e-9)


@pytest.mark.parametrize(
    ("error", "argument", "f", "knots"),
    [
        (TypeError, "f", 3, tensor([0.0, 1.0])),
        (TypeError, "knots", torch.sin, [0.0, 1.0]),
        (ValueError, "knots", torch.sin, tensor([0.0])),
        (ValueError, "knots", torch.sin, tensor([0.0, 0.0])),
        (ValueError, "knots", torch.sin, tensor([1.0, 0.0])),
        (ValueError, "knots", torch.sin, tensor([[0.0, 1.0]])),
        (ValueError, "knots", torch.sin, tensor([0.0, math.inf])),
        (ValueError, "f", torch.log, tensor([0.0, 1.0])),
        (ValueError, "f", lambda x: x[:1], tensor([0.0, 1.0])),
        (TypeError, "f", lambda x: 1.0, tensor([0.0, 1.0])),
        (ValueError, "f", lambda x: 1e308 * x.sign(), tensor([-1e-5, 1e-5])),
        (ValueError, "f", lambda x: 1e308 * (x % 2), tensor([0.0, 1.0, 2.0])),
    ],
)
def test_interpolant_names_what_is_wrong(error, argument, f, knots):
    with refuses(error, argument):
        interpolant(f, knots)


def test_gradient_norms_against_finite_differences():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)).double()
    x = random(4, 1, 6)

    def loss() -> torch.Tensor:
        return model(x).square().sum()

    for norm, layer in zip(gradient_norms(model, loss()), (model[0], model[3]), strict=True):
        slopes = []
        with torch.no_grad():
            for entry in range(layer.weight.numel()):
                flat = layer.weight.view(-1)
                flat[entry] += 1e-6
                up = loss()
                flat[entry] -= 2e-6
                slopes.append((up - loss()) / 2e-6)
                flat[entry] += 1e-6
        assert norm == pytest.approx(torch.stack(slopes).norm().item(), rel=1e-6)


def test_gradient_norms_keep_the_graph_and_skip_what_has_no_matrix():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 1))
    loss = model(torch.ones(1, 2)).sum()
    assert len(gradient_norms(model, loss)) == 2
    assert gradient_norms(model, loss) == gradient_norms(model, loss)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("error", "argument", "model", "loss"),
    [
        (TypeError, "model", torch.relu, torch.ones(1)),
        (TypeError, "loss", nn.Linear(1, 1), 1.0),
        (ValueError, "loss", nn.Linear(1, 1), torch.ones(1)),
        (ValueError, "loss", nn.Linear(1, 1), torch.ones(2, requires_grad=True)),
        (ValueError, "loss", nn.Linear(1, 1), torch.ones(1, requires_grad=True)),
        (ValueError, "model", nn.ReLU(), torch.ones(1, requires_grad=True)),
        (
            ValueError,
            "model",
            nn.Linear(1, 1).requires_grad_(False),
            torch.ones(1, requires_grad=True),
        ),
    ],
)
def test_gradient_norms_name_what_is_wrong(error, argument, model, loss):
    with refuses(error, argument):
        gradient_norms(model, loss)


def test_layer_outputs():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    x = torch.randn(5, 3)
    first, second, last = layer_outputs(model, x)
    assert torch.equal(first, model[0](x)) and torch.equal(second, first.relu())
    assert torch.equal(last, model(x))
    with refuses(TypeError, "model"):
        layer_outputs(nn.Linear(3, 4), x)
    with refuses(TypeError, "x"):
        layer_outputs(model, x.tolist())
    assert layer_outputs(nn.Sequential(), x) == []


def test_steps_in_place_spoil_no_output():
    torch.manual_seed(0)
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 4), nn.ReLU(inplace=True))
    x = torch.randn(5, 3)
    before = x.clone()
    bent, linear, _ = layer_outputs(model, x)
    assert torch.equal(x, before) and torch.equal(linear, model[1](bent)) and (linear < 0).any()
