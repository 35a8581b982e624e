"""Factors and clusters far from zero, with outliers, and of very large and small numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gdl.factorization import _lloyd
from gdl.factorization._lloyd import Points, labels_of
from gdl.factorization.kmeans import lloyd, squared_distances
from gdl.factorization.kmeans_net import KMeansLayer, KMeansNet
from gdl.factorization.nonnegative import coordinate_step, multiplicative_step, solve_nonnegative
from gdl.factorization.objective import ONE_HOT, factorize
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses


def two_clouds() -> torch.Tensor:
    return torch.cat([0.1 * random(10, 2), 3 + 0.1 * random(10, 2, seed=1)])


@both_dtypes
def test_an_outlier_blurs_no_cluster(dtype):
    """Far away it would take the digits of |x|^2 that tell the two clouds apart."""
    outlier = 1 / torch.finfo(dtype).eps ** 0.75
    x = torch.cat([two_clouds(), torch.tensor([[outlier, 0.0]], dtype=F64)]).to(dtype)
    w = x[[0, 12, 20]]
    wanted = (x[:, None] - w).square().sum(-1)
    assert gap(squared_distances(x, w) / wanted.clamp_min(1e-30), wanted.sign()) < 1e-5
    found = lloyd(x, w)
    assert found.labels.tolist() == [0] * 10 + [1] * 10 + [2] and found.converged
    net = KMeansNet(3, init=w).fit(x)
    exact = (x - found.centres[found.labels]).square().sum(-1)
    assert -net.score(x) == pytest.approx(float(exact.sum()), rel=1e-5)
    assert gap(net.transform(x).amin(-1), exact.sqrt()) < 1e-5


def test_distances_have_second_derivatives():
    x = two_clouds()
    curvature = torch.autograd.functional.hessian(lambda w: squared_distances(x, w).sum(), x[:2])
    assert gap(curvature.reshape(4, 4), 2 * len(x) * torch.eye(4, dtype=F64)) < 1e-10


def test_autocast_rounds_no_distance():
    x = two_clouds().float()
    layer = KMeansLayer(x[:3])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert gap(layer.costs(x), (x[:, None] - x[:3]).square().sum(-1)) < 1e-5


@both_dtypes
@pytest.mark.parametrize("scale", [1e-22, 1.0, 1e15], ids=str)
@pytest.mark.parametrize("place", [0.0, 1e3], ids=str)
def test_labels_are_those_of_the_squares(dtype, scale, place):
    """Many points lie as near to two centres, where rounding would choose; so do small squares."""
    for seed in range(20):
        x = (scale * (random(60, 3, seed=seed).mul(2).round() + place)).to(dtype)
        w = x[:7] + (scale * 0.5)
        labels = squared_distances(x, w).argmin(1)
        found = labels_of(Points(x).nearest(w))
        assert torch.equal(found, labels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(labels_of(Points(x).nearest(w)), labels)


def test_without_a_margin_rounding_chooses(monkeypatch):
    """The control of the test above."""
    monkeypatch.setattr(_lloyd, "MARGIN", -3)  # that of d = 3
    with pytest.raises(AssertionError):
        test_labels_are_those_of_the_squares(torch.float32, 1.0, 1e3)


def test_clusters_of_points_with_gradients():
    """A number made of a tensor that requires a gradient would be a warning."""
    x = two_clouds().requires_grad_()
    assert lloyd(x, x[[0, 12]]).inertia == lloyd(x.detach(), x.detach()[[0, 12]]).inertia


def test_arrays_that_are_read_backwards():
    x = two_clouds().numpy()
    found = KMeansNet(2, init=x[[0, 12]]).fit(x[::-1, ::-1].copy()[::-1, ::-1])
    assert found.labels_.tolist() == [0] * 10 + [1] * 10
    assert np.array_equal(found.predict(x), found.labels_)


@both_dtypes
def test_one_hot_codes_far_from_zero(dtype):
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0], [6.0, 0.0]], dtype=dtype)
    x = x + 0.1 / torch.finfo(dtype).eps ** 0.75
    found = factorize(x, x[[0, 2]].T.clone(), codes=ONE_HOT, steps=3)
    assert found.codes.argmax(-1).tolist() == [0, 0, 1, 1]
    assert all(b <= a for a, b in zip(found.losses, found.losses[1:], strict=False))


@pytest.mark.parametrize("scale", [2.0**-600, 2.0**600], ids=["small", "large"])
def test_nonnegative_codes_scale_with_the_signals(scale):
    y, D = random(4, 6), random(6, 5, seed=1)
    wanted = solve_nonnegative(y, D)
    assert gap(solve_nonnegative(scale * y, D) / scale, wanted) < 1e-10
    assert float(wanted.max()) > 0.1


def test_codes_too_large_for_the_dtype():
    with refuses(ValueError, "signals"):
        solve_nonnegative(torch.full((2,), 1e25), 1e-18 * torch.eye(2))


@pytest.mark.parametrize("step", [coordinate_step, multiplicative_step], ids=lambda f: f.__name__)
def test_factors_whose_squares_overflow(step):
    X, large, one = torch.ones(2, 2), torch.full((2, 1), 1e30), torch.ones(2, 1)
    with refuses(ValueError, "dictionary"):
        step(X, large, one)
