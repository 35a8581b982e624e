"""Linear attention: equal to the same kernel for all pairs, and to a cubic map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gdl.attention.linear import elu_plus_one, kernel_attend, linear_attend
from gdl.geometry import random_rotations
from tests.attention.common import F64, TOLERANCE, both_dtypes, gap, permutation_gap, random


def squares(x: Tensor) -> Tensor:
    """A feature map to another number of channels, non-negative."""
    return torch.cat([x.square(), torch.ones_like(x[..., :1])], dim=-1)


def triple(*lead: int, n: int = 6, m: int = 6, dtype=F64) -> list[Tensor]:
    sizes = ((n, 4), (m, 4), (m, 3))
    return [random(*lead, *size, seed=i, dtype=dtype) for i, size in enumerate(sizes)]


def by_loops(q, k, v, feature_map, causal, normalise):
    y = torch.zeros(len(q), v.shape[1], dtype=q.dtype)
    for i in range(len(q)):
        keys = range(i + 1) if causal else range(len(k))
        weights = {j: float(feature_map(q[i]) @ feature_map(k[j])) for j in keys}
        y[i] = sum(w * v[j] for j, w in weights.items())
        y[i] /= sum(weights.values()) if normalise else 1
    return y


@pytest.mark.parametrize("feature_map", [elu_plus_one, squares])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_both_forms_are_the_formula(feature_map, causal, normalise):
    q, k, v = triple()
    given = {"feature_map": feature_map, "causal": causal, "normalise": normalise}
    expected = by_loops(q, k, v, **given)
    for form in (linear_attend, kernel_attend):
        assert gap(form(q, k, v, **given), expected) < 1e-13


@both_dtypes
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_the_two_forms_agree(dtype, causal, lead):
    q, k, v = (x.requires_grad_() for x in triple(*lead, n=40, m=40, dtype=dtype))
    forms = [form(q, k, v, causal=causal) for form in (linear_attend, kernel_attend)]
    assert gap(*forms) < TOLERANCE[dtype]
    gradients = [torch.autograd.grad(y.square().sum(), (q, k, v)) for y in forms]
    for a, b in zip(*gradients, strict=True):
        assert gap(a, b) < 10 * TOLERANCE[dtype] and a.abs().max() > 1e-3


@both_dtypes
def test_the_feature_map_has_all_its_digits(dtype):
    x = torch.tensor([-80.0, -20.0, -15.0, -10.0, -5.0, -1e-3], dtype=dtype)
    got = elu_plus_one(x).double()
    assert (got / x.double().exp() - 1).abs().max() < 16 * torch.finfo(dtype).eps
    above = torch.tensor([0.0, 1e-3, 3.0, 90.0], dtype=dtype, requires_grad=True)
    y = elu_plus_one(above)
    assert torch.equal(y, above + 1)
    assert torch.equal(torch.autograd.grad(y.sum(), above)[0], torch.ones_like(above))


def test_weights_are_exact_where_features_are_small():
    q, k, v = triple(dtype=torch.float32)
    q, k = q - 12, k - 12
    exact = linear_attend(q.double(), k.double(), v.double())
    assert gap(linear_attend(q, k, v).double(), exact) < 1e-5


def test_more_keys_than_queries():
    q, k, v = triple(n=3, m=8)
    assert gap(linear_attend(q, k, v), kernel_attend(q, k, v)) < 1e-13


def test_without_weights_to_divide_by_it_is_a_cubic_map():
    X = random(6, 3)

    def cubic(X: Tensor) -> Tensor:
        return linear_attend(X, X, X, feature_map=torch.clone, normalise=False)

    assert gap(cubic(X), X @ X.T @ X) < 1e-12
    assert gap(cubic(2 * X), 8 * cubic(X)) < 1e-12
    assert permutation_gap(cubic, X) < 1e-12
    for R in random_rotations(4, seed=0, reflections=True):
        assert gap(cubic(X @ R.T), cubic(X) @ R.T) < 1e-12
        # With the feature map the channels are not alike any more.
        assert gap(linear_attend(X @ R.T, X @ R.T, X @ R.T), linear_attend(X, X, X) @ R.T) > 1e-2


def test_the_weights_are_a_mean():
    q, k, v = triple()
    constant = torch.ones_like(v)
    for causal in (False, True):
        assert gap(linear_attend(q, k, constant, causal=causal), constant) < 1e-13
    assert gap(linear_attend(q, k, v, causal=True)[0], v[0]) < 1e-13


def test_causal_sums_look_back_only():
    x = random(6, 4)
    y = linear_attend(x, x, x, causal=True)
    later = torch.cat([x[:3], random(3, 4, seed=5)])
    other = linear_attend(later, later, later, causal=True)
    assert torch.equal(other[:3], y[:3]) and gap(other[3:], y[3:]) > 1e-2


@both_dtypes
def test_the_feature_map(dtype):
    x = torch.linspace(-5, 5, 101, dtype=dtype)
    expected = torch.where(x > 0, x + 1, x.exp())
    assert gap(elu_plus_one(x), expected) < TOLERANCE[dtype]
    assert (elu_plus_one(x) > 0).all()


@pytest.mark.parametrize("causal", [False, True])
def test_derivatives_are_those_of_differences(causal):
    given = [x.requires_grad_() for x in triple(n=3, m=3)]
    assert torch.autograd.gradcheck(lambda *x: linear_attend(*x, causal=causal), given)
