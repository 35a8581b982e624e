"""Convex hulls: answers, certificates that can fail, and inputs without a hull."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from gdl.high_dimensions import HullReport, hulls, in_hull
from tests.test_representations import random, refuses

both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
SQUARE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)


@both_dtypes
def test_a_square_by_hand(dtype):
    queries = torch.tensor([[0.5, 0.5], [1.5, 0.5], [0.25, 1.0], [2.0, 2.0]], dtype=dtype)
    report = in_hull(SQUARE.to(dtype), queries)
    assert report.inside.tolist() == [True, False, True, False]
    assert report.margins.dtype == report.weights.dtype == report.normals.dtype == torch.float64
    assert report.margins.tolist() == pytest.approx([0, 0.5, 0, math.sqrt(2)], abs=1e-9)
    assert report.normals[1].tolist() == pytest.approx([1, 0], abs=1e-9)
    assert report.normals[[0, 2]].abs().max() == 0 and report.weights[[1, 3]].abs().max() == 0
    assert report.certificate_error(SQUARE, queries) < 1e-9


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_membership_against_a_triangulation(dim):
    points = random(40, dim)
    queries = 1.2 * torch.randn(60, dim, generator=torch.Generator().manual_seed(1)).double()
    expected = Delaunay(points.numpy()).find_simplex(queries.numpy()) >= 0
    report = in_hull(points, queries)
    assert report.inside.numpy().tolist() == expected.tolist()
    assert 0 < report.inside.sum() < 60
    assert report.certificate_error(points, queries) < 1e-9
    assert (report.weights.min() >= 0) and (report.margins[~report.inside] > 0).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 1000), st.sampled_from([1e-6, 1, 1e6]))
def test_means_are_inside_whatever_the_scale(count, dim, seed, scale):
    generator = torch.Generator().manual_seed(seed)
    points = scale * torch.randn(count, dim, generator=generator, dtype=torch.float64)
    weights = torch.rand(5, count, generator=generator, dtype=torch.float64)
    queries = weights / weights.sum(1, keepdim=True) @ points
    report = in_hull(points, torch.cat([queries, points]))
    assert report.inside.all()
    assert report.certificate_error(points, torch.cat([queries, points])) < 1e-8 * scale


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 1000))
def test_beyond_the_extreme_point_of_a_direction_is_outside(count, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    normal = torch.nn.functional.normalize(torch.randn(1, dim, generator=generator).double())
    extreme = points[(points @ normal[0]).argmax()]
    report = in_hull(points, (extreme + 0.1 * normal))
    assert not report.inside[0] and report.margins[0] > 1e-3
    assert abs(report.normals[0].norm() - 1) < 1e-12


def test_points_of_a_sphere_are_never_in_the_hull_of_others():
    points = torch.nn.functional.normalize(random(60, 4))
    assert not in_hull(points[:50], points[50:]).inside.any()
    assert in_hull(points[:50], 0.1 * points[50:]).inside.all()


def test_degenerate_sets():
    one = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
    report = in_hull(one, torch.tensor([[2.0, 3.0], [2.0, 3.1]]))
    assert report.inside.tolist() == [True, False]
    assert report.margins[0] == 0 and 0 < report.margins[1] <= 0.1 + 1e-6
    segment = torch.tensor([[0.0, 0.0], [0.0, 0.0], [2.0, 2.0]])
    queries = torch.tensor([[1.0, 1.0], [1.0, 1.1], [3.0, 3.0]])
    assert in_hull(segment, queries).inside.tolist() == [True, False, False]
    line = torch.tensor([[0.0], [1.0]])
    report = in_hull(line, torch.tensor([[0.5], [1.0], [1.01]]))
    assert report.inside.tolist() == [True, True, False]


def test_a_coordinate_in_which_nothing_differs_does_not_shrink_the_margin():
    points = torch.cat([SQUARE, torch.full((4, 3), 7.0)], 1)
    report = in_hull(points, torch.tensor([[1.5, 0.5, 7.0, 7.0, 7.0]]))
    assert report.margins.tolist() == pytest.approx([0.5], abs=1e-12)
    assert report.normals[0].tolist() == pytest.approx([1, 0, 0, 0, 0], abs=1e-12)


def test_just_inside_and_just_outside():
    near = torch.tensor([[0.5, 1 + 1e-6], [0.5, 1 - 1e-6], [0.5, 1 + 1e-11]], dtype=torch.float64)
    report = in_hull(SQUARE, near)
    assert report.inside.tolist() == [False, True, True]
    assert report.margins[0] == pytest.approx(1e-6, rel=1e-3)


def test_the_tolerance_is_the_documented_one():
    segment = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    gaps = torch.tensor([1e-8, 2e-9, 0.8e-9, 0.0], dtype=torch.float64)[:, None]
    for scale in (1e-150, 1e-6, 1.0, 1e150):
        for beyond in (1 + gaps, -gaps):
            report = in_hull(scale * segment, scale * beyond)
            assert report.inside.tolist() == [False, False, True, True]
            assert (report.margins / scale).tolist() == pytest.approx([1e-8, 2e-9, 0, 0], rel=1e-5)


def certified(points: torch.Tensor, queries: torch.Tensor) -> bool:
    """Whether every answer is proved to the documented accuracy, 2e-9 of the size."""
    report = in_hull(points, queries)
    size = (queries[:, None] - points).abs().max()
    in_units = dataclasses.replace(report, margins=report.margins / size)
    return in_units.certificate_error(points / size, queries / size) < 2.1e-9


@pytest.mark.parametrize("dim", [2, 5, 20])
@pytest.mark.parametrize("step", [1e-7, 1e-8, 1e-9, -1e-8])
def test_answers_close_to_the_boundary_are_proved(dim, step):
    points = random(200, dim)
    normals = torch.nn.functional.normalize(random(6, dim))
    heights = points @ normals.T
    vertices = points[heights.argmax(0)]
    edges = points[heights.topk(2, dim=0).indices].mean(0)
    assert certified(points, torch.cat([vertices, edges]) + step * normals.repeat(2, 1))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 1000))
def test_coordinates_of_very_different_sizes(count, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = 10.0 ** torch.randint(-12, 1, (dim,), generator=generator).double()
    points = sizes * torch.randn(count, dim, generator=generator, dtype=torch.float64)
    assert certified(points, torch.cat([1.5 * points[:3], 0.5 * points[-3:]]))


def test_copies_of_a_point_change_nothing():
    queries = torch.tensor([[0.5, 0.5], [1.0, 1.0], [1.5, 0.5], [1.0, 1 + 1e-7]]).double()
    report = in_hull(SQUARE.repeat(25, 1), queries)
    assert report.inside.tolist() == in_hull(SQUARE, queries).inside.tolist()
    assert report.certificate_error(SQUARE.repeat(25, 1), queries) < 2e-9


def test_an_answer_without_a_proof_is_not_given(monkeypatch):
    for weights in (torch.tensor([1.0, 0, 0, 0]), torch.tensor([0, 0, 0, 1.0]), torch.zeros(4)):
        wrong = torch.zeros(2).double(), weights.double()
        monkeypatch.setattr(hulls, "_widest_gap", lambda offsets, wrong=wrong: wrong)
        with pytest.raises(RuntimeError, match="neither inside nor outside"):
            in_hull(SQUARE, torch.tensor([[0.5, 0.5]]))


def test_no_queries():
    report = in_hull(SQUARE, torch.zeros(0, 2))
    assert report.inside.shape == (0,) and report.weights.shape == (0, 4)
    assert report.normals.shape == (0, 2) and report.margins.shape == (0,)
    assert report.certificate_error(SQUARE, torch.zeros(0, 2)) == 0.0


@pytest.mark.parametrize(
    ("name", "forge", "least"),
    [
        ("weights", lambda w: w.roll(1, 1), 0.1),
        ("weights", lambda w: 2 * w, 0.1),
        ("weights", lambda w: w + torch.tensor([-1.0, 1.0, 1.0, -1.0]), 0.4),
        ("normals", lambda n: -n, 1.0),
        ("margins", lambda m: m + 0.25, 0.24),
        ("inside", lambda i: ~i, 0.9),
        ("normals", lambda n: 2 * n, 0.9),
        ("weights", lambda w: w * math.nan, 1e300),
        ("normals", lambda n: n * math.nan, 1e300),
        ("margins", lambda m: m * math.nan, 1e300),
        ("weights", lambda w: 0.5 * w, 0.4),
        ("normals", lambda n: 0.5 * n, 0.4),
    ],
)
def test_a_forged_certificate_is_seen(name, forge, least):
    queries = torch.tensor([[0.25, 0.5], [1.5, 0.5]], dtype=torch.float64)
    report = in_hull(SQUARE, queries)
    fields = {key: getattr(report, key) for key in ("inside", "weights", "normals", "margins")}
    forged = HullReport(**{**fields, name: forge(fields[name])})
    assert report.certificate_error(SQUARE, queries) < 1e-9
    assert forged.certificate_error(SQUARE, queries) > least


@pytest.mark.parametrize(
    ("inside", "weights", "normal", "margin", "error"),
    [
        (True, [0.0, 0.0], 0.0, 0.0, 1.0),
        (True, [0.5, 0.0], 0.0, 0.0, 0.5),
        (True, [2.0, 0.0], 0.0, 0.0, 1.0),
        (True, [1.0, 0.0], 0.0, 0.0, 0.0),
        (True, [0.5, 0.5], 0.0, 0.0, 1.0),
        (True, [1.5, -0.5], 0.0, 0.0, 1.0),
        (False, [0.0, 0.0], 1.0, 0.0, 3.0),
        (False, [0.0, 0.0], -1.0, 0.0, 1.0),
        (False, [0.0, 0.0], -0.5, 0.0, 1.0),
    ],
)
def test_the_error_of_a_certificate_by_hand(inside, weights, normal, margin, error):
    """Points 0 and 2 on a line, and the query 0, which is in their hull."""
    report = HullReport(
        torch.tensor([inside]),
        torch.tensor([weights], dtype=torch.float64),
        torch.tensor([[normal]], dtype=torch.float64),
        torch.tensor([margin], dtype=torch.float64),
    )
    assert report.certificate_error(torch.tensor([[0.0], [2.0]]), torch.zeros(1, 1)) == error


def test_a_certificate_of_other_data_proves_nothing():
    report = in_hull(SQUARE, torch.tensor([[0.5, 0.5], [1.5, 0.5]]))
    assert report.certificate_error(SQUARE + 1, torch.tensor([[0.5, 0.5], [1.5, 0.5]])) > 0.5
    for points, queries in (((3, 2), (2, 2)), ((4, 2), (3, 2)), ((4, 3), (2, 3))):
        with refuses(ValueError, "points"):
            report.certificate_error(torch.zeros(points), torch.zeros(queries))


@pytest.mark.parametrize(
    ("error", "argument", "points", "queries"),
    [
        (TypeError, "points", [[0.0, 1.0]], SQUARE),
        (TypeError, "queries", SQUARE, np.zeros((1, 2))),
        (TypeError, "points", SQUARE.to(torch.complex64), SQUARE),
        (TypeError, "points", SQUARE > 0, SQUARE),
        (ValueError, "points", SQUARE[0], SQUARE),
        (ValueError, "points", torch.zeros(0, 2), SQUARE),
        (ValueError, "points", torch.zeros(3, 0), SQUARE),
        (ValueError, "points", SQUARE * math.nan, SQUARE),
        (ValueError, "queries", SQUARE, SQUARE / 0),
        (ValueError, "queries", SQUARE, torch.zeros(1, 3)),
        (ValueError, "points", 1e308 * (2 * SQUARE - 1), -1.7e308 * torch.ones(1, 2).double()),
    ],
)
def test_bad_input_is_named(error, argument, points, queries):
    with refuses(error, argument):
        in_hull(points, queries)


def test_a_solver_that_gives_up_is_no_answer(monkeypatch):
    class Stuck:
        status, message = 4, "numerical difficulties"

    monkeypatch.setattr(hulls, "linprog", lambda *args, **kwargs: Stuck())
    with pytest.raises(RuntimeError, match="not solved: numerical difficulties"):
        in_hull(SQUARE, SQUARE[:1] + 0.5)


def test_integers_are_points_too():
    report = in_hull(torch.tensor([[0], [4]]), torch.tensor([[2], [5]]))
    assert report.inside.tolist() == [True, False]
