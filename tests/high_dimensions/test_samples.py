"""Wendel's probability and the Wasserstein distance, against other routes."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from gdl.high_dimensions import in_hull, wasserstein, wendel
from tests.test_representations import random, refuses, tensor


def test_wendel_by_hand():
    # On a line the origin is outside if all points lie on one side.
    assert [wendel(n, 1) for n in (1, 2, 3)] == [0, Fraction(1, 2), Fraction(3, 4)]
    # Three directions in the plane fit into a half plane with probability 3/4.
    assert wendel(3, 2) == Fraction(1, 4)
    assert all(wendel(n, d) == 0 for d in range(1, 6) for n in range(1, d + 1))
    assert all(wendel(2 * d, d) == Fraction(1, 2) for d in range(1, 40))


def test_wendel_follows_its_recursion():
    # A new hyperplane splits a pattern of regions in one dimension less: W(N+1, d) = mean of two.
    for n, d in itertools.product(range(1, 12), range(2, 8)):
        outside = {(k, e): 1 - wendel(k, e) for k in (n, n + 1) for e in (d - 1, d)}
        assert outside[n + 1, d] == (outside[n, d] + outside[n, d - 1]) / 2


@pytest.mark.parametrize(("count", "dim"), [(4, 2), (8, 3)])
def test_wendel_against_linear_programmes(count, dim):
    draws = random(400, count, dim)
    origin = torch.zeros(1, dim)
    hits = np.mean([bool(in_hull(points, origin).inside) for points in draws])
    assert abs(hits - float(wendel(count, dim))) < 3 * math.sqrt(0.25 / 400)


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (-3, 2)])
def test_wendel_refuses_numbers_out_of_range(arguments):
    with refuses(ValueError, "count" if arguments[0] < 1 else "dim"):
        wendel(*arguments)
    with refuses(TypeError, "count"):
        wendel(2.0, 1)
    with refuses(TypeError, "dim"):
        wendel(2, True)


def test_wendel_of_many_points():
    assert wendel(10**5, 10**9) == 0
    assert wendel(2000, 1000) == Fraction(1, 2)
    outside = sum(math.comb(499, k) for k in range(260))
    assert wendel(500, 260) == 1 - Fraction(outside, 2**499)
    with refuses(ValueError, "count"):
        wendel(10**5 + 1, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wasserstein_in_one_dimension(dtype):
    x, y = random(50, 1), torch.randn(50, 1, generator=torch.Generator().manual_seed(1)).double()
    expected = wasserstein_distance(x[:, 0], y[:, 0])
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    assert wasserstein(x.to(dtype), y.to(dtype)) == pytest.approx(expected, abs=tolerance)


def test_wasserstein_tries_all_pairings():
    x, y = random(6, 3), random(12, 3)[6:]
    cost = torch.cdist(x, y)
    best = min(
        cost[torch.arange(6), torch.tensor(p)].mean().item()
        for p in itertools.permutations(range(6))
    )
    assert wasserstein(x, y) == pytest.approx(best, abs=1e-12)


def test_wasserstein_is_a_distance():
    x, y, z = (random(30, 2)[k::3] for k in range(3))
    assert wasserstein(x, x.flip(0)) < 1e-12
    assert wasserstein(x, y) == pytest.approx(wasserstein(y, x), abs=1e-12)
    assert wasserstein(x, z) <= wasserstein(x, y) + wasserstein(y, z)
    assert wasserstein(x, x + torch.tensor([3.0, 4.0])) == pytest.approx(5.0, abs=1e-12)


def test_wasserstein_of_many_points():
    x = random(600, 2)
    assert wasserstein(x, x + 1) == pytest.approx(math.sqrt(2), abs=1e-12)


def test_wasserstein_on_the_torus():
    x = torch.tensor([[0.05, 0.5]])
    assert wasserstein(x, torch.tensor([[0.95, 0.5]]), torus=True) == pytest.approx(0.1, abs=1e-6)
    assert wasserstein(x, torch.tensor([[0.95, 0.5]])) == pytest.approx(0.9, abs=1e-6)
    shift = torch.tensor([0.3, 0.9])
    a, b = torch.rand(2, 20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = wasserstein((a + shift) % 1, (b + shift) % 1, torus=True)
    assert moved == pytest.approx(wasserstein(a, b, torus=True), abs=1e-7)
    assert wasserstein(a, b, torus=True) < wasserstein(a, b)


@pytest.mark.parametrize(
    ("error", "argument", "x", "y"),
    [
        (TypeError, "x", [1.0], torch.zeros(1, 1)),
        (ValueError, "x", torch.zeros(3), torch.zeros(3, 1)),
        (ValueError, "y", torch.zeros(3, 2), torch.zeros(3, 1)),
        (ValueError, "y", torch.zeros(3, 2), torch.zeros(2, 2)),
        (ValueError, "x", torch.zeros(0, 2), torch.zeros(0, 2)),
        (ValueError, "y", torch.zeros(1, 1), torch.full((1, 1), math.nan)),
        (ValueError, "x", torch.zeros(4_500, 1), torch.zeros(4_500, 1)),
        (ValueError, "x", torch.zeros(3_000, 3), torch.zeros(3_000, 3)),
        (ValueError, "x", tensor([[1e200, 0.0]]), tensor([[0.0, 1e200]])),
        (TypeError, "y", torch.zeros(1, 1), torch.zeros(1, 1) > 0),
    ],
)
def test_wasserstein_names_what_is_wrong(error, argument, x, y):
    with refuses(error, argument):
        wasserstein(x, y)
