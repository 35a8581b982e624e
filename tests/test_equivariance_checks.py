"""The two measurements: what they return, what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from gdl import representations as reps
from gdl.equivariance import equivariance_error, equivariant_basis, span_residual
from tests.test_representations import random, refuses, tensor

Z5 = reps.cyclic(5).defining
ELEMENTS = Z5.group.elements()
CIRCULANT = equivariant_basis(Z5, Z5)


def error(f, x=None, elements=ELEMENTS, act_in=Z5, act_out=Z5):
    return equivariance_error(f, random(3, 5) if x is None else x, act_in, act_out, elements)


@pytest.mark.parametrize(("dtype", "below"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_solutions_pass_and_others_fail(dtype, below):
    W = CIRCULANT.combine(random(5)).to(dtype)
    x = random(3, 5, dtype=dtype)
    assert error(lambda v: v @ W.T, x) < below
    assert error(lambda v: v @ random(5, 5, dtype=dtype).T, x) > 0.1
    assert error(torch.relu, x) == 0.0
    assert error(lambda v: v * torch.arange(5).to(dtype), x) > 0.1


def test_value_by_hand():
    Z2 = reps.cyclic(2).defining
    scale = tensor([1, 3])
    # x = (1, 2): f(g x) = (2, 3), g f(x) = (6, 1); |(-4, 2)| / |(6, 1)|
    measured = error(lambda v: v * scale, tensor([1, 2]), Z2.group.elements(), Z2, Z2)
    assert abs(measured - math.sqrt(20 / 37)) < 1e-15


def test_worst_element_and_order_of_actions():
    def f(v):
        return v @ W.T

    W, x = random(5, 5), random(3, 5)
    alone = [error(f, x, [g]) for g in ELEMENTS]
    assert error(f, x, ELEMENTS) == max(alone) and min(alone) < 1e-15
    assert error(f, x, iter(ELEMENTS)) == max(alone)
    S3, r = reps.symmetric(3).defining, reps.regular(reps.symmetric(3))
    V = equivariant_basis(S3, r).combine(random(3))
    act = {"elements": S3.group.elements(), "act_in": S3, "act_out": r}
    assert error(lambda v: v @ V.T, random(2, 3), **act) < 1e-14
    wrong = {**act, "act_out": lambda g, y: r.act(g.inverse(), y)}
    assert error(lambda v: v @ V.T, random(2, 3), **wrong) > 0.1


def test_actions_as_functions():
    rolled = error(
        lambda v: v + v.roll(1, -1),
        random(2, 6),
        range(6),
        lambda k, v: v.roll(k, -1),
        lambda k, v: v.roll(k, -1),
    )
    assert rolled == 0.0
    assert (
        error(
            lambda v: v.flip(-1),
            random(2, 6),
            range(6),
            lambda k, v: v.roll(k, -1),
            lambda k, v: v.roll(k, -1),
        )
        > 0.1
    )
    invariant = error(
        lambda v: v.sum(-1), random(2, 6), range(6), lambda k, v: v.roll(k, -1), lambda k, y: y
    )
    assert invariant < 1e-14


def test_complex_and_changing_dtypes():
    assert error(lambda v: torch.fft.fft(v).abs(), act_out=lambda g, y: y) < 1e-13
    assert error(lambda v: torch.fft.fft(v), act_out=lambda g, y: y) > 0.1
    assert error(lambda v: v.float()) == 0.0
    assert error(lambda v: (v > 0).int()) == 0.0
    assert error(lambda v: v, torch.arange(5)) == 0.0
    # The difference is taken in float64: float16 alone would overflow at 256^2.
    big = torch.full((5,), 256.0, dtype=torch.float16)
    assert error(lambda v: v, big) == 0.0


def test_inputs_are_left_alone():
    x = random(3, 5)
    kept = x.clone()
    assert error(torch.relu_, x) == 0.0 and torch.equal(x, kept)
    still = error(torch.relu_, x, [0], lambda g, v: v, lambda g, v: v)
    assert still == 0.0 and torch.equal(x, kept)
    module = nn.Linear(5, 5)
    measured = error(module, random(3, 5, dtype=torch.float32).requires_grad_())
    assert isinstance(measured, float) and measured > 0.1 and module.weight.grad is None


def test_zero_maps_are_refused_and_constant_maps_are_honest():
    with refuses(ValueError, "f"):
        error(lambda v: 0 * v)
    assert error(torch.ones_like) == 0.0
    assert error(lambda v: torch.ones_like(v) * torch.arange(5)) > 0.1


@pytest.mark.parametrize(
    ("given", "kind", "argument"),
    [
        ({"x": [1.0] * 5}, TypeError, "x"),
        ({"x": np.ones(5)}, TypeError, "x"),
        ({"x": torch.full((5,), math.nan)}, ValueError, "x"),
        ({"x": torch.ones(4)}, ValueError, "x"),
        ({"x": torch.full((5,), math.inf)}, ValueError, "x"),
        ({"x": torch.ones(0, 5)}, ValueError, "f"),
        ({"f": lambda v: v * math.nan}, ValueError, "f"),
        ({"f": lambda v: v / 0}, ValueError, "f"),
        ({"f": lambda v: (v, v)}, TypeError, "f"),
        ({"f": lambda v: v.numpy()}, TypeError, "f"),
        ({"f": lambda v: 1e200 * v}, ValueError, "f"),
        ({"elements": []}, ValueError, "elements"),
        ({"elements": iter(())}, ValueError, "elements"),
        ({"elements": 3}, TypeError, "elements"),
        ({"elements": ELEMENTS[1]}, TypeError, "elements"),
        ({"act_in": None}, TypeError, "act_in"),
        ({"act_out": torch.eye(5)}, TypeError, "act_out"),
        ({"act_in": lambda g, v: v.tolist()}, TypeError, "act_in"),
        ({"act_out": lambda g, v: v[0]}, ValueError, "act_out"),
        ({"act_out": lambda g, v: v.sum(-1, keepdim=True)}, ValueError, "act_out"),
        ({"act_out": lambda g, v: v * math.nan}, ValueError, "act_out"),
        ({"act_in": lambda g, v: v * math.nan}, ValueError, "act_in"),
        ({"act_out": lambda g, v: None}, TypeError, "act_out"),
    ],
)
def test_bad_input(given, kind, argument):
    with refuses(kind, argument):
        error(**{"f": lambda v: v, **given})


def test_exhausted_generator_of_elements():
    elements = (g for g in ELEMENTS)
    assert error(lambda v: v, elements=elements) == 0.0
    with refuses(ValueError, "elements"):
        error(lambda v: v, elements=elements)


# --- span ---------------------------------------------------------------------------------------


def test_span_residual_by_hand():
    Z2 = reps.cyclic(2).defining
    basis = equivariant_basis(Z2, Z2)
    assert span_residual(tensor([[1, 2], [2, 1]]), basis) < 1e-15
    assert abs(span_residual(tensor([[1, 0], [0, -1]]), basis) - 1) < 1e-15
    assert abs(span_residual(tensor([[1, 0], [0, 0]]), basis) - math.sqrt(0.5)) < 1e-15
    both = torch.stack([tensor([[1, 0], [0, 0]]), torch.eye(2, dtype=torch.float64)])
    assert abs(span_residual(both, basis) - math.sqrt(0.5)) < 1e-15
    assert abs(span_residual(both.flip(0), basis) - math.sqrt(0.5)) < 1e-15


@pytest.mark.parametrize(("dtype", "below"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_span_residual_of_combinations(dtype, below):
    SO3 = reps.SO(3).defining
    for basis in (CIRCULANT, equivariant_basis(SO3 * SO3, SO3 * SO3)):
        inside = basis.combine(random(4, len(basis))).to(dtype)
        assert span_residual(inside, basis) < below
        assert (
            span_residual(1e8 * inside, basis) < below
            and span_residual(1e-8 * inside, basis) < below
        )
        assert span_residual(inside, basis.dense()) < below
        assert span_residual(inside, basis.dense().float()) < 1e-6
        assert span_residual(inside.requires_grad_(), basis) < below
        outside = random(4, *basis.shape, dtype=dtype)
        assert span_residual(outside, basis) > 0.1
        expected = (outside.double() - basis.project(outside.double())).norm(dim=(1, 2))
        expected = float((expected / outside.double().norm(dim=(1, 2))).max())
        assert abs(span_residual(outside, basis) - expected) < 1e-12


def test_span_of_nothing():
    SO3 = reps.SO(3)
    assert (
        span_residual(torch.ones(1, 3), equivariant_basis(SO3.defining, reps.trivial(SO3))) == 1.0
    )


@pytest.mark.parametrize(
    ("maps", "kind"),
    [
        (torch.ones(4, 5), ValueError),
        (torch.ones(5), ValueError),
        (torch.ones(1, 1, 5, 5), ValueError),
        (torch.ones(0, 5, 5), ValueError),
        (torch.zeros(5, 5), ValueError),
        (torch.stack([torch.eye(5), torch.zeros(5, 5)]), ValueError),
        (torch.ones(5, 5) * 1j, TypeError),
        (torch.full((5, 5), math.nan), ValueError),
        (torch.full((5, 5), math.inf), ValueError),
        (np.eye(5), TypeError),
        ([[1.0]], TypeError),
        (None, TypeError),
    ],
    ids=str,
)
def test_bad_maps(maps, kind):
    with refuses(kind, "maps"):
        span_residual(maps, CIRCULANT)
    if not isinstance(maps, torch.Tensor) or maps.is_complex():
        with refuses(kind, "maps"):
            span_residual(maps, CIRCULANT.dense())


@pytest.mark.parametrize(
    ("basis", "kind"),
    [
        (torch.eye(5), ValueError),
        (torch.ones(2, 5, 5), ValueError),
        (2 * CIRCULANT.dense(), ValueError),
        (1.2 * CIRCULANT.dense(), ValueError),
        ((1 + 1e-5) * CIRCULANT.dense(), ValueError),
        (CIRCULANT.dense() * 1j, TypeError),
        (np.eye(5), TypeError),
        (None, TypeError),
        (Z5, TypeError),
    ],
    ids=str,
)
def test_bad_bases(basis, kind):
    with refuses(kind, "basis"):
        span_residual(torch.eye(5), basis)
