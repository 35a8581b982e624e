"""Thresholds: proximal maps by brute force, and the symmetries they commute with."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from gdl.sparse_coding.operators import (
    hard_threshold,
    helu,
    keep_largest,
    shrink,
    soft_threshold,
    top_m,
)
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN, INF = float("nan"), float("inf")
THRESHOLDS = [soft_threshold, hard_threshold]
thresholds = pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda f: f.__name__)


# --- proximal maps --------------------------------------------------------------------------------


PENALTIES = {
    soft_threshold: (lambda x, t: t * x.abs(), lambda t: t),
    hard_threshold: (lambda x, t: t * (x != 0), lambda t: math.sqrt(2 * t)),
}


@thresholds
@pytest.mark.parametrize("price", [0.05, 0.7, 2.0])
def test_no_point_of_a_grid_is_better(threshold, price):
    penalty, at = PENALTIES[threshold]
    u = torch.cat([2 * random(40), torch.tensor([0.0], dtype=F64)])
    x = threshold(u, at(price))
    grid = torch.linspace(-6, 6, 24001, dtype=F64)
    grid[12000] = 0
    cost = (x - u).square() / 2 + penalty(x, price)
    costs = (grid - u[:, None]).square() / 2 + penalty(grid, price)
    assert bool((cost <= costs.amin(-1) + 1e-12).all())
    # The grid has the spacing 5e-4: the best point on it is that near.
    best = grid[costs.argmin(-1)]
    away = (u.abs() - at(price)).abs() > 1e-3
    assert float((best - x)[away].abs().max()) < 3e-4


@thresholds
def test_pieces_by_hand(threshold):
    u = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], dtype=F64)
    wanted = {
        soft_threshold: [-1.0, 0, 0, 0, 0, 0, 1.0],
        hard_threshold: [-2.0, 0, 0, 0, 0, 0, 2.0],
    }[threshold]
    assert threshold(u, 1.0).tolist() == wanted
    assert gap(threshold(u, 0.0), u) == 0


@both_dtypes
@thresholds
def test_a_threshold_for_each_entry(threshold, dtype):
    u, t = random(2, 3, 4, dtype=dtype), random(4, seed=1, dtype=dtype).abs()
    found = threshold(u, t)
    assert found.dtype == dtype
    for j in range(4):
        assert gap(found[..., j], threshold(u[..., j], t[j])) == 0
        assert gap(found[..., j], threshold(u[..., j], float(t[j]))) == 0


def test_derivatives_by_differences():
    u = random(3, 5)
    t = 0.2 + random(5, seed=1).abs() / 4
    assert float((u.abs() - t).abs().min()) > 1e-3
    inputs = (u.clone().requires_grad_(), t.clone().requires_grad_())
    assert torch.autograd.gradcheck(soft_threshold, inputs)
    assert torch.autograd.gradcheck(lambda v: top_m(v, 2), (u.clone().requires_grad_(),))
    assert torch.autograd.gradcheck(lambda v: helu(v, 0.4), (u.clone().requires_grad_(),))


# --- what commutes with the soft threshold --------------------------------------------------------


def signed_permutations(n: int):
    for order in itertools.permutations(range(n)):
        for signs in itertools.product((-1.0, 1.0), repeat=n):
            yield torch.tensor(signs, dtype=F64)[:, None] * torch.eye(n, dtype=F64)[list(order)]


def failure(Q, operator, n: int = 3) -> float:
    u = 2 * random(200, n)
    return gap(operator(u @ Q.mT), operator(u) @ Q.mT)


def soft(u):
    return soft_threshold(u, 0.6)


def test_it_commutes_with_signed_permutations():
    group = list(signed_permutations(3))
    assert len(group) == 48
    for Q in group:
        assert failure(Q, soft) == 0
        assert failure(Q, lambda u: hard_threshold(u, 0.6)) == 0
        assert failure(Q, lambda u: top_m(u, 2)) == 0
        assert failure(Q, lambda u: helu(u, 0.3)) == 0


def test_it_commutes_with_no_other_orthogonal_matrix():
    """The twin: rotations by multiples of 15 degrees, and orthogonal matrices drawn at random."""
    for step in range(24):
        angle = step * math.pi / 12
        Q = torch.eye(3, dtype=F64)
        Q[:2, :2] = torch.tensor(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=F64
        )
        broken = failure(Q, soft)
        assert broken < 1e-12 if step % 6 == 0 else broken > 0.05
    for seed in range(200):
        assert failure(torch.linalg.qr(random(3, 3, seed=seed)).Q, soft) > 0.05


def test_the_one_sided_threshold_knows_signs():
    kept = [Q for Q in signed_permutations(3) if failure(Q, lambda u: u.relu()) == 0]
    assert len(kept) == 6 and all(bool((Q >= 0).all()) for Q in kept)
    for Q in kept:
        assert failure(Q, lambda u: (u - 0.6).relu()) == 0


# --- HELU -----------------------------------------------------------------------------------------


@both_dtypes
def test_the_three_pieces_of_helu(dtype):
    u = torch.tensor([-3.0, -1.0, -0.75, -0.5, -0.1, 0.0, 0.5, 0.6, 0.9, 1.0, 1.5], dtype=dtype)
    wanted = torch.tensor([-3.0, -1.0, -0.5, 0, 0, 0, 0, 0.2, 0.8, 1.0, 1.5], dtype=dtype)
    assert gap(helu(u, 0.5), wanted) < 4 * torch.finfo(dtype).eps
    assert gap(helu(u, 1.0), u) < 2 * torch.finfo(dtype).eps


@pytest.mark.parametrize("sharpness", [0.9, 0.3, 1e-3])
def test_helu_is_continuous(sharpness):
    u = torch.linspace(-2, 2, 400_001, dtype=F64)
    steps = helu(u, sharpness).diff()
    assert bool((steps >= -1e-15).all())
    assert float(steps.max()) <= 1e-5 / sharpness * (1 + 1e-9) + 1e-12


@both_dtypes
@pytest.mark.parametrize("sharpness", [0.1, 1e-6, 1e-30, 1e-300])
def test_helu_tends_to_the_hard_threshold(sharpness, dtype):
    if sharpness < torch.finfo(dtype).tiny:
        with refuses(ValueError, "sharpness"):
            helu(torch.ones(1, dtype=dtype), sharpness)
        return
    u = torch.linspace(-2, 2, 4001, dtype=F64).to(dtype).requires_grad_()
    size = u.detach().abs()
    off = (size < 1 - sharpness - 1e-6) | (size > 1)
    found = helu(u, sharpness)
    assert gap(found[off], hard_threshold(u, 1.0)[off]) == 0
    found.sum().backward()
    assert gap(u.grad[off], (size > 1).to(dtype)[off]) == 0
    ends = torch.tensor([-1.0, 1.0], dtype=dtype)
    assert helu(ends, sharpness).tolist() == [-1, 1] and hard_threshold(ends, 1.0).tolist() == [
        0,
        0,
    ]


# --- the largest entries --------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(6))
def test_no_other_entries_are_closer(count):
    u = random(7, 5)
    found = top_m(u, count)
    assert bool(((found != 0).sum(-1) == count).all())
    masks = torch.tensor(
        [[j in kept for j in range(5)] for kept in itertools.combinations(range(5), count)]
    )
    distances = torch.where(masks[:, None], 0, u).square().sum(-1)
    assert gap((u - found).square().sum(-1), distances.amin(0)) < 1e-15


def test_ties_go_to_the_lowest_index():
    u = torch.tensor([1.0, -2.0, 2.0, 2.0, -1.0])
    assert top_m(u, 2).tolist() == [0, -2, 2, 0, 0]
    assert top_m(u, 4).tolist() == [1, -2, 2, 2, 0]
    assert int((top_m(torch.ones(300), 7) != 0).nonzero().max()) == 6


# --- arguments ------------------------------------------------------------------------------------


@both_dtypes
def test_inner_loops_use_the_same_maps(dtype):
    u = random(2, 3, 4, dtype=dtype)
    assert gap(shrink(u, 0.3), soft_threshold(u, 0.3)) == 0
    assert gap(keep_largest(u, 2), top_m(u, 2)) == 0


def test_shapes_without_values():
    meta, empty = torch.ones(2, 3, device="meta"), torch.ones(0, 3)
    for threshold in THRESHOLDS:
        assert threshold(meta, torch.ones(3, device="meta")).shape == (2, 3)
        assert threshold(empty, 1.0).shape == (0, 3)
        assert threshold(torch.tensor(3.0), 1.0).shape == ()
    for u in (meta, empty):
        assert helu(u, 0.5).shape == top_m(u, 2).shape == u.shape


@thresholds
def test_wrong_arguments(threshold):
    u = torch.ones(2, 3)
    for bad in ([1.0], None, 1.0, torch.ones(2, dtype=torch.int64), torch.ones(2) + 1j):
        with refuses(TypeError, "u"):
            threshold(bad, 1.0)
    for bad in (NAN, INF):
        with refuses(ValueError, "u"):
            threshold(bad * u, 1.0)
        with refuses(ValueError, "threshold"):
            threshold(u, bad)
        with refuses(ValueError, "threshold"):
            threshold(u, torch.tensor([1.0, bad, 1.0]))
    for bad in (True, "1", None, torch.ones(3, dtype=F64), torch.ones(3, dtype=torch.int64)):
        with refuses(TypeError, "threshold"):
            threshold(u, bad)
    for bad in (-1e-9, torch.tensor([1.0, -1.0, 1.0]), torch.ones(2), torch.ones(4, 2, 3)):
        with refuses(ValueError, "threshold"):
            threshold(u, bad)
    with refuses(ValueError, "threshold"):
        threshold(u, torch.ones(3, device="meta"))


def test_wrong_arguments_of_the_others():
    u = torch.ones(2, 3)
    for bad in (True, 1.0, None):
        with refuses(TypeError, "count"):
            top_m(u, bad)
    for bad in (-1, 4):
        with refuses(ValueError, "count"):
            top_m(u, bad)
    with refuses(ValueError, "u"):
        top_m(torch.tensor(1.0), 0)
    for bad in (0.0, -0.1, 1.1, NAN):
        with refuses(ValueError, "sharpness"):
            helu(u, bad)
    with refuses(TypeError, "sharpness"):
        helu(u, torch.tensor(0.5))
    for operator in (lambda v: top_m(v, 1), lambda v: helu(v, 0.5)):
        with refuses(ValueError, "u"):
            operator(NAN * u)
        with refuses(TypeError, "u"):
            operator([1.0])
