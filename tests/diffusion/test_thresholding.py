"""Thresholds for all powers up to 1: brute force, symmetries, scales, derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gdl.diffusion.thresholding import (
    generalized_soft_threshold,
    gst_jump,
    gst_threshold,
)
from tests.programs.test_soft_sorting import F64, gap, random
from tests.test_representations import refuses

POWERS = (1.0, 0.7, 0.5, 0.2, 0.01, 0.0, -0.5, -2.0, -20.0)
NAN, INF = float("nan"), float("inf")


def refused(error: type[Exception], argument: str, function, *given, **named) -> None:
    with refuses(error, argument):
        function(*given, **named)


def cost(x: Tensor, y: Tensor | float, penalty: float, power: float) -> Tensor:
    """What the operator minimises; nothing is paid for 0."""
    paid = torch.where(x == 0, 0.0, torch.where(x == 0, 1.0, x.abs()) ** power)
    return (x - y) ** 2 / 2 + penalty * paid


# --- what it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0.05, 0.7, 2.0])
@pytest.mark.parametrize("power", POWERS)
def test_it_is_the_minimiser(power, penalty):
    """By brute force: no point of a fine grid costs less, and the best one is near."""
    y = torch.linspace(-4, 4, 161, dtype=F64) + 0.0123
    grid = torch.linspace(-6, 6, 60_001, dtype=F64)
    grid[30_000] = 0
    found = generalized_soft_threshold(y, penalty, power)
    costs = cost(grid, y[:, None], penalty, power)
    assert bool((cost(found, y, penalty, power) <= costs.amin(1) + 1e-12).all())
    # Next to the threshold two far points cost nearly the same.
    clear = (y.abs() - gst_threshold(penalty, power)).abs() > 1e-3
    assert gap(found[clear], grid[costs.argmin(1)][clear]) < 2e-4
    assert bool((found == 0).any()) and bool((found != 0).any())


def test_power_one_is_soft_and_power_zero_is_hard():
    y = random(1000)
    soft = y.sign() * (y.abs() - 0.4).clamp_min(0)
    assert gap(generalized_soft_threshold(y, 0.4, 1.0), soft) < 1e-15
    hard = torch.where(y.abs() > math.sqrt(0.8), y, 0.0)
    assert gap(generalized_soft_threshold(y, 0.4, 0.0), hard) < 1e-15
    near = generalized_soft_threshold(y, 0.4, 1e-9)
    assert gap(near, hard) < 1e-8


@pytest.mark.parametrize("power", POWERS)
def test_at_the_threshold_both_answers_cost_the_same(power):
    penalty = torch.tensor(0.7, dtype=F64)
    edge, jump = gst_threshold(penalty, power), gst_jump(penalty, power)
    if power < 1:
        both = cost(torch.stack([jump * 0, jump]), edge, 0.7, power)
        assert abs(both[0] - both[1]) < 1e-12
    just = edge * torch.tensor([1 - 1e-12, 1.0, 1 + 1e-12], dtype=F64)
    found = generalized_soft_threshold(just, penalty, power)
    assert found[0] == 0 and abs(found[2] - jump) < 1e-10
    if power == 1:
        assert jump == 0 and edge == 0.7


@pytest.mark.parametrize("power", POWERS)
def test_small_entries_vanish_and_large_ones_move(power):
    y = torch.linspace(0, 5, 501, dtype=F64)
    found = generalized_soft_threshold(y, 0.3, power)
    kept = found != 0
    assert bool((found[1:] >= found[:-1]).all())
    assert bool((found[kept] >= gst_jump(torch.tensor(0.3, dtype=F64), power) - 1e-12).all())
    away = found[kept] - y[kept]
    if power < 0:
        # So far away that |x|^-20 is below the last bit, nothing moves any more.
        assert bool((away >= 0).all()) and away[0] > 0.01
    elif power > 0:
        assert bool((away < 0).all())


# --- symmetries and scales ------------------------------------------------------------------------


@pytest.mark.parametrize("power", POWERS)
def test_it_commutes_with_signed_permutations_and_not_with_rotations(power):
    y = 2 * random(4, 6)
    order, signs = torch.tensor([2, 0, 5, 1, 3, 4]), torch.tensor([1, -1, -1, 1, 1, -1])
    moved = generalized_soft_threshold(y[:, order] * signs, 0.5, power)
    assert gap(moved, generalized_soft_threshold(y, 0.5, power)[:, order] * signs) == 0
    Q = torch.linalg.qr(random(6, 6, seed=1)).Q
    turned = generalized_soft_threshold(y @ Q, 0.5, power)
    assert gap(turned, generalized_soft_threshold(y, 0.5, power) @ Q) > 0.1


@pytest.mark.parametrize("scale", [1e-3, 0.3, 7.0, 1e4])
@pytest.mark.parametrize("power", POWERS)
def test_scales(power, scale):
    """Another unit of y is another penalty."""
    y = 2 * random(200)
    dear = torch.tensor(0.5 * scale ** (2 - power), dtype=F64)
    scaled = generalized_soft_threshold(scale * y, dear, power)
    assert gap(scaled / scale, generalized_soft_threshold(y, 0.5, power)) < 1e-12
    assert abs(gst_threshold(dear, power) / scale - gst_threshold(0.5, power)) < 1e-6


@pytest.mark.parametrize("power", [1.0, 0.5, -0.5])
def test_the_gate_stands_in_for_the_jump(power):
    """Half open at the threshold, closed far below, open far above, and of every scale."""
    y = torch.linspace(-6, 6, 121, dtype=F64)
    sharp = generalized_soft_threshold(y, 0.8, power)
    edge = gst_threshold(torch.tensor(0.8, dtype=F64), power)
    far = (y.abs() / edge).log().abs() > 0.2
    assert gap(generalized_soft_threshold(y, 0.8, power, width=5e-3)[far], sharp[far]) < 1e-12
    y, width = torch.tensor([0.5, 0.9, 1.0, 1.2, 3.0], dtype=F64) * edge, 0.3
    gate = y ** (1 / width) / (y ** (1 / width) + edge ** (1 / width))
    held = torch.cat([gst_jump(torch.tensor(0.8, dtype=F64), power).expand(3), sharp.new_empty(2)])
    held[3:] = generalized_soft_threshold(y[3:], 0.8, power)
    found = generalized_soft_threshold(y, 0.8, power, width=width)
    assert gap(found, gate * held) < 1e-12
    scaled = generalized_soft_threshold(-7 * y, 0.8 * 7 ** (2 - power), power, width=width)
    assert gap(scaled, -7 * found) < 1e-6
    assert generalized_soft_threshold(0 * y, 0.8, power, width=width).abs().max() == 0


# --- derivatives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0.0, 0.3])
@pytest.mark.parametrize("power", [0.9, 0.5, -0.5, -3.0])
def test_gradients_by_differences(power, width):
    y = torch.tensor([-3.0, -1.7, 0.2, 1.8, 2.5], dtype=F64)
    penalty = torch.tensor([0.3, 0.5, 0.9, 0.5, 0.7], dtype=F64)
    given = (y, penalty, torch.full_like(y, power))
    given = tuple(x.requires_grad_() for x in given)
    assert bool((y.abs() - gst_threshold(penalty, given[2])).abs().amin() > 0.1)

    def operator(y: Tensor, penalty: Tensor, power: Tensor) -> Tensor:
        return generalized_soft_threshold(y, penalty, power, width=width)

    assert torch.autograd.gradcheck(operator, given)
    assert torch.autograd.gradgradcheck(operator, given)


def test_only_the_gate_knows_where_the_jump_is():
    """The mean of the output over the threshold: by differences, and by either derivative."""
    y, penalty = torch.linspace(0.5, 2.5, 20_001, dtype=F64), torch.tensor(0.7, dtype=F64)

    def mean(penalty: Tensor, width: float = 0.0) -> Tensor:
        return generalized_soft_threshold(y, penalty, 0.5, width=width).mean()

    true = (mean(penalty + 1e-2) - mean(penalty - 1e-2)) / 2e-2
    slopes = [
        torch.autograd.grad(mean(p := penalty.clone().requires_grad_(), width), p)[0]
        for width in (0.0, 0.02)
    ]
    assert abs(slopes[1] / true - 1) < 0.02 and abs(slopes[0] / true - 1) > 0.3


def test_gradients_of_shared_numbers():
    y = 2 * random(7, 3)
    penalty, power = (torch.tensor(x, dtype=F64, requires_grad=True) for x in (0.4, 0.3))
    each = torch.full_like(y, 0.4).requires_grad_()
    shared = torch.autograd.grad(generalized_soft_threshold(y, penalty, power).sum(), penalty)[0]
    alone = torch.autograd.grad(generalized_soft_threshold(y, each, power).sum(), each)[0]
    assert abs(shared - alone.sum()) < 1e-12 and abs(shared) > 0.1


def test_a_higher_price_moves_negative_powers_further_away():
    y, penalty = torch.tensor(2.0, dtype=F64), torch.tensor(0.4, dtype=F64, requires_grad=True)
    for power, sign in ((0.5, -1), (-0.5, 1)):
        x = generalized_soft_threshold(y, penalty, power)
        assert sign * torch.autograd.grad(x, penalty)[0] > 0


@pytest.mark.parametrize("width", [0.0, 0.1])
@pytest.mark.parametrize("power", [0.999, 0.5, 0.0, -1.0, -2.0])
def test_gradients_where_nothing_is_paid(power, width):
    """The derivative in y is 1, and one in the power of a penalty of 0 is 0."""
    y = torch.tensor([1e-30, -1e-20, 1.0, 3.0]).requires_grad_()
    penalty, powers = torch.zeros(4).requires_grad_(), torch.full((4,), power).requires_grad_()
    x = generalized_soft_threshold(y, penalty, powers, width=width)
    by_y, by_penalty, by_power = torch.autograd.grad(x.sum(), (y, penalty, powers))
    assert torch.equal(x, y) and torch.equal(by_y, torch.ones(4))
    assert not bool(by_power.any()) and not bool(by_penalty.isnan().any())
    wanted = -power * torch.tensor([1.0, 3.0]) ** (power - 1)
    assert gap(by_penalty[2:].double(), wanted.double()) < 1e-6


# --- numbers at the ends --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
@pytest.mark.parametrize("power", [1.0, 0.999999, 0.5, 1e-6, 0.0, -1e-6, -1.0, -1000.0])
def test_nothing_overflows(power, dtype):
    """The residual of the equation is at rounding, for numbers of all sizes."""
    top = torch.finfo(dtype).max
    sizes = [0.0, torch.finfo(dtype).tiny, 1e-20, 1e-3, 1.0, 1e10, math.sqrt(top) / 4, top / 4]
    y = torch.tensor(sizes, dtype=dtype)
    for penalty in (0.0, 1e-30, 1e-3, 1.0, 1e20):
        x = generalized_soft_threshold(y, penalty, power)
        assert bool(torch.isfinite(x).all())
        kept = x != 0
        pull = penalty * x[kept].double() ** (power - 1) * power if penalty else 0.0
        off = (x[kept].double() + pull - y[kept].double()) / y[kept].double()
        assert not len(off) or off.abs().max() < 8 * (2 + abs(power)) * torch.finfo(dtype).eps
        assert penalty > 0 or torch.equal(x, y)


def test_shapes_and_devices():
    assert generalized_soft_threshold(torch.zeros(0, 3), 1.0, 0.5).shape == (0, 3)
    meta = generalized_soft_threshold(torch.zeros(2, 3, device="meta"), 1.0, 0.5)
    assert meta.shape == (2, 3) and meta.is_meta
    y = random(2, 3)
    per_column = torch.tensor([0.1, 0.5, 0.9], dtype=F64)
    found = generalized_soft_threshold(y, per_column, 0.5)
    for i in range(3):
        assert torch.equal(found[:, i], generalized_soft_threshold(y[:, i], per_column[i], 0.5))
    assert gst_threshold(per_column, 0.5).shape == (3,)


@pytest.mark.parametrize("function", [gst_threshold, gst_jump])
def test_bad_pairs(function):
    refused(TypeError, "penalty", function, "1", 0.5)
    refused(TypeError, "power", function, 1.0, True)
    refused(ValueError, "penalty", function, -1.0, 0.5)
    refused(ValueError, "power", function, 1.0, 1.5)
    refused(ValueError, "power", function, torch.ones(2), torch.zeros(3))
    refused(TypeError, "power", function, torch.ones(2), torch.zeros(2, dtype=F64))
    refused(TypeError, "penalty", function, torch.ones(2, dtype=torch.int64), 0.5)


def test_bad_arguments():
    y = torch.ones(2, 3)
    refused(TypeError, "y", generalized_soft_threshold, [1.0], 1.0, 0.5)
    refused(TypeError, "y", generalized_soft_threshold, y.long(), 1.0, 0.5)
    refused(TypeError, "y", generalized_soft_threshold, y.half(), 1.0, 0.5)
    refused(ValueError, "y", generalized_soft_threshold, y * NAN, 1.0, 0.5)
    refused(ValueError, "y", generalized_soft_threshold, y * INF, 1.0, 0.5)
    refused(ValueError, "penalty", generalized_soft_threshold, y, -0.1, 0.5)
    refused(ValueError, "penalty", generalized_soft_threshold, y, NAN, 0.5)
    refused(TypeError, "penalty", generalized_soft_threshold, y, True, 0.5)
    refused(TypeError, "penalty", generalized_soft_threshold, y, torch.ones(3, dtype=F64), 0.5)
    refused(ValueError, "penalty", generalized_soft_threshold, y, torch.ones(2), 0.5)
    refused(ValueError, "penalty", generalized_soft_threshold, y, torch.ones(1, 2, 3), 0.5)
    refused(ValueError, "power", generalized_soft_threshold, y, 1.0, 1.01)
    refused(ValueError, "power", generalized_soft_threshold, y, 1.0, torch.full((3,), 2.0))
    refused(TypeError, "power", generalized_soft_threshold, y, 1.0, "1")
