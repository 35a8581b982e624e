"""Exact margins of linear classifiers, against linear and quadratic programmes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, linprog, minimize

from gdl.high_dimensions import linear_margins
from tests.test_representations import random, refuses

NORMS = [2, math.inf]


def classifier(classes: int, dim: int, count: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    shapes = (classes, dim), (classes,), (count, dim)
    W, b, x = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    return W, b, x, (x @ W.T + b).argmax(1)


@pytest.mark.parametrize(("norm", "distance"), [(2, 5.0), (math.inf, 25 / 7)])
def test_two_classes_by_hand(norm, distance):
    W = torch.tensor([[1.5, 2.0], [-1.5, -2.0]], dtype=torch.float64)
    x, label = torch.tensor([[3.0, 4.0]]), torch.tensor([0])
    margins = linear_margins(W, torch.zeros(2), x, label, norm=norm)
    assert margins.distance.tolist() == pytest.approx([distance])
    step = [[-3.0, -4.0]] if norm == 2 else [[-25 / 7, -25 / 7]]
    assert margins.perturbation.tolist() == [pytest.approx(step[0])]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(2, 6), st.integers(1, 9), st.integers(0, 500), st.sampled_from(NORMS))
def test_just_beyond_flips_and_just_before_does_not(classes, dim, seed, norm):
    W, b, x, y = classifier(classes, dim, 20, seed)
    margins = linear_margins(W, b, x, y, norm=norm)

    def answers(scale):
        return ((x + scale * margins.perturbation) @ W.T + b).argmax(1)

    assert bool((answers(1.001) != y).all()) and bool((answers(0.999) == y).all())
    length = margins.perturbation.norm(dim=1, p=norm)
    assert bool(((length - margins.distance).abs() < 1e-12 * (1 + margins.distance)).all())


def test_the_largest_change_against_a_linear_programme():
    W, b, x, y = classifier(4, 6, 8)
    margins = linear_margins(W, b, x, y, norm=math.inf)
    for i in range(8):
        best = math.inf
        for k in set(range(4)) - {int(y[i])}:
            w, lead = (W[y[i]] - W[k]).numpy(), float((W[y[i]] - W[k]) @ x[i] + b[y[i]] - b[k])
            # Minimise t with -t <= delta_j <= t and w.delta <= -lead.
            rows = np.vstack([np.hstack([s * np.eye(6), -np.ones((6, 1))]) for s in (1, -1)])
            rows = np.vstack([rows, np.append(w, 0)])
            solved = linprog(
                np.append(np.zeros(6), 1),
                rows,
                np.append(np.zeros(12), -lead),
                bounds=[(None, None)] * 7,
            )
            best = min(best, solved.fun)
        assert float(margins.distance[i]) == pytest.approx(best, rel=1e-8)


def test_the_euclidean_distance_against_a_quadratic_programme():
    W, b, x, y = classifier(4, 6, 8)
    margins = linear_margins(W, b, x, y)
    for i in range(8):
        best = math.inf
        for k in set(range(4)) - {int(y[i])}:
            w, lead = (W[y[i]] - W[k]).numpy(), float((W[y[i]] - W[k]) @ x[i] + b[y[i]] - b[k])
            crossed = LinearConstraint(w, -math.inf, -lead)
            solved = minimize(
                lambda delta: delta @ delta,
                np.zeros(6),
                jac=lambda delta: 2 * delta,
                constraints=[crossed],
                method="SLSQP",
                options={"ftol": 1e-12},
            )
            assert solved.success
            best = min(best, math.sqrt(solved.fun))
        assert float(margins.distance[i]) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_other_dtypes_are_computed_in_double(norm, dtype):
    arguments = [(8 * t).round().to(dtype) for t in classifier(3, 4, 6)[:3]]
    doubles = [t.double() for t in arguments]
    labels = (doubles[2] @ doubles[0].T + doubles[1]).argmax(1)
    margins = linear_margins(*arguments, labels, norm=norm)
    exact = linear_margins(*doubles, labels, norm=norm)
    assert torch.equal(margins.distance, exact.distance)
    assert torch.equal(margins.perturbation, exact.perturbation)
    assert margins.distance.dtype == torch.float64


def test_no_random_direction_is_shorter():
    W, b, x, y = classifier(5, 4, 1)
    distance = linear_margins(W, b, x, y).distance[0]
    steps = torch.nn.functional.normalize(random(20_000, 4)) * distance * 0.999
    assert bool((((x + steps) @ W.T + b).argmax(1) == y[0]).all())


def test_what_is_wrong_already_needs_no_change():
    W, b, x, y = classifier(3, 4, 10)
    margins = linear_margins(W, b, x, (y + 1) % 3)
    assert margins.distance.abs().max() == 0 and margins.perturbation.abs().max() == 0


def test_the_bias_counts_and_dtypes_become_double():
    W, x = torch.tensor([[1.0], [-1.0]]), torch.zeros(1, 1)
    for bias, distance in ((0.5, 0.5), (2.0, 2.0)):
        b = torch.tensor([bias, -bias])
        margins = linear_margins(W, b, x, torch.tensor([0]))
        assert margins.distance.tolist() == [distance]
        assert margins.distance.dtype == margins.perturbation.dtype == torch.float64


def test_no_examples():
    margins = linear_margins(torch.eye(3), torch.zeros(3), torch.zeros(0, 3), torch.zeros(0).long())
    assert margins.distance.shape == (0,) and margins.perturbation.shape == (0, 3)


W, B, X, Y = classifier(3, 4, 5)


@pytest.mark.parametrize(
    ("error", "argument", "arguments"),
    [
        (TypeError, "weight", ([[1.0]], B, X, Y)),
        (ValueError, "weight", (W[:1], B, X, Y)),
        (ValueError, "weight", (W * math.nan, B, X, Y)),
        (ValueError, "weight", (W[[0, 0, 1]], B, X, 0 * Y)),
        (ValueError, "bias", (W, B[:2], X, Y)),
        (ValueError, "bias", (W, B[:, None], X, Y)),
        (ValueError, "x", (W, B, X[:, :3], Y)),
        (ValueError, "x", (W, B, X[0], Y)),
        (TypeError, "labels", (W, B, X, Y.double())),
        (TypeError, "labels", (W, B, X, Y.tolist())),
        (ValueError, "labels", (W, B, X, Y[:4])),
        (ValueError, "weight", (1e300 * W, B, X, Y)),
        (ValueError, "weight", (1e200 * W, B, 1e200 * X, Y)),
        (ValueError, "weight", (1e-200 * W, B, X, Y)),
        (ValueError, "labels", (W, B, X, 0 * Y + 3)),
        (ValueError, "labels", (W, B, X, Y - 3)),
    ],
)
def test_bad_input_is_named(error, argument, arguments):
    with refuses(error, argument):
        linear_margins(*arguments)


def test_shapes_are_named():
    with pytest.raises(ValueError, match=r"^bias: expected shape \(3,\), got \(2,\)$"):
        linear_margins(W, B[:2], X, Y)
    with pytest.raises(ValueError, match=r"^x: expected shape \(N, 4\), got \(5, 3\)$"):
        linear_margins(W, B, X[:, :3], Y)


@pytest.mark.parametrize("norm", [1, 0, "inf", math.nan, None])
def test_other_norms_are_refused(norm):
    with refuses(ValueError, "norm"):
        linear_margins(W, B, X, Y, norm=norm)
