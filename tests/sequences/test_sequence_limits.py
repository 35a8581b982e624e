"""What no dtype holds: overflow, lost digits, forgetting times that round to for ever."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from gdl.sequences.causal import CausalConv1d, CausalConvStack
from gdl.sequences.cells import PlainCell
from gdl.sequences.memory import clip_gradients_, gradient_reach, lyapunov_exponents
from gdl.sequences.recurrent import Recurrent
from gdl.sequences.state_space import ScannedGate, StateSpace
from gdl.sequences.systems import hankel, ho_kalman
from tests.sequences.common import F64, both_dtypes, gap, random
from tests.test_representations import refuses

seeds = pytest.mark.parametrize("seed", [0, 1, 2])
half_dtypes = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


def linear_cell(hidden: int, dtype: torch.dtype = torch.float32) -> PlainCell:
    """A plain cell that rests at 0, where it is linear, and whose W_h is to be filled in."""
    cell = PlainCell(1, hidden, dtype=dtype)
    for p in cell.parameters():
        nn.init.zeros_(p)
    nn.init.ones_(cell.weight_ih)
    return cell


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float32, 1e30), (F64, 1e200), (torch.float16, 6e4)], ids=str
)
def test_exploded_gradients_become_a_step(dtype, size):
    layer = clip_gradients_(nn.Linear(2, 1, bias=False, dtype=dtype), 1.0)
    direction = torch.tensor([[0.6, 0.8]], dtype=dtype)
    layer(size * direction).sum().backward()
    assert torch.allclose(layer.weight.grad, direction, rtol=1e-3)


def test_infinite_gradients_are_refused():
    layer = clip_gradients_(nn.Linear(2, 1), 1.0)
    with refuses(ValueError, "model"):
        (layer(torch.ones(2)) * 3e38 * 3e38).backward()


def test_a_reach_that_overflows():
    cell = linear_cell(2)
    with torch.no_grad():
        cell.weight_hh.copy_(torch.tensor([[10.0, -9.0], [3.0, 10.0]]))
    with refuses(ValueError, "layer"):
        gradient_reach(Recurrent(cell), torch.zeros(60, 1))


# --- Lyapunov exponents ---------------------------------------------------------------------------


@half_dtypes
def test_exponents_need_full_precision(dtype):
    with refuses(TypeError, "cell"):
        lyapunov_exponents(PlainCell(1, 2, dtype=dtype), torch.zeros(3, 1, dtype=dtype))


def test_exponents_of_jacobians_that_overflow():
    cell = linear_cell(2)
    nn.init.constant_(cell.weight_hh, 2e38)
    with refuses(ValueError, "cell"):
        lyapunov_exponents(cell, torch.zeros(3, 1))


@seeds
@both_dtypes
def test_lost_directions_leave_nothing_but_rounding(seed, dtype):
    cell, x = linear_cell(3, dtype), torch.zeros(1, 1, dtype=dtype)
    with torch.no_grad():
        cell.weight_hh.copy_(random(3, 1, seed=seed) @ random(1, 3, seed=seed + 10))
    kept, *lost = lyapunov_exponents(cell, x).tolist()
    assert kept > -3 and max(lost) < 0.8 * math.log(torch.finfo(dtype).eps)


def test_a_direction_that_is_exactly_lost_has_no_rate():
    cell = linear_cell(2)
    nn.init.constant_(cell.weight_hh[0, 0].detach(), 0.5)
    assert lyapunov_exponents(cell, torch.zeros(4, 1))[1] == -math.inf


# --- layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["scan", "recurrence", "convolution"])
def test_outputs_of_a_state_space_that_overflow(mode):
    layer = StateSpace(1, 1, 2)
    nn.init.constant_(layer.C, 3e38)
    with refuses(ValueError, "x"):
        layer(100 * torch.ones(4, 1), mode=mode)


def test_a_convolution_that_overflows():
    layer = CausalConv1d(1, 1, 2)
    nn.init.constant_(layer.weight, 1e3)
    with refuses(ValueError, "x"):
        layer(torch.full((4, 1), 3e38))


def test_outputs_of_a_stack_that_overflow():
    model = CausalConvStack(1, 4, 1, dilations=(1,))
    nn.init.ones_(model.entry.weight)
    nn.init.constant_(model.exit.weight, 1e30)
    with refuses(ValueError, "x"):
        model(torch.full((4, 1), 1e20))


@pytest.mark.parametrize("dtype", [F64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "kind", [lambda c, h: StateSpace(c, h, 4), ScannedGate], ids=["space", "gate"]
)
def test_durations_of_any_dtype_under_autocast(kind, dtype):
    layer, x = kind(1, 2), torch.ones(4, 1)
    if isinstance(layer, StateSpace):
        # A step that would be rounded with the durations, if these were.
        nn.init.constant_(layer.log_step, 0.123)
    lapse = torch.tensor([1.0, 0.5, 0.0, 2.0])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x, lapse.to(dtype)), layer(x, lapse))


@seeds
@torch.no_grad()
def test_phases_of_many_turns_keep_their_digits(seed):
    torch.manual_seed(seed)
    layer = StateSpace(1, 1, 8, longest=1e4)
    nn.init.constant_(layer.log_step, 0.1)
    exact = copy.deepcopy(layer).double().impulse_response(20_000)
    assert gap(layer.impulse_response(20_000).double(), exact) < 1e-5 * exact.abs().max()


@both_dtypes
@torch.no_grad()
def test_the_longest_memory_still_forgets_and_longer_ones_round_to_for_ever(dtype):
    longest = 2 / torch.finfo(dtype).eps
    layer = StateSpace(1, 1, 10, shortest=longest, longest=longest, dtype=dtype)
    nn.init.zeros_(layer.theta)
    factor, _ = layer.discretise(1.0)
    assert (factor.real < 1).all()
    layer.nu -= math.log(4)
    factor, _ = layer.discretise(1.0)
    assert (factor.real == 1).all()


@both_dtypes
@pytest.mark.parametrize("name", ["shortest", "longest"])
def test_memories_that_would_round_to_none_or_for_ever_are_refused(name, dtype):
    eps = torch.finfo(dtype).eps
    for value in (0.9 * eps, 2.1 / eps, 1e300):
        with refuses(ValueError, name):
            StateSpace(1, 1, 2, **{name: value}, dtype=dtype)


@both_dtypes
@torch.no_grad()
def test_the_shortest_memory_has_finite_weights_and_forgets_at_once(dtype):
    eps = torch.finfo(dtype).eps
    layer = StateSpace(1, 1, 4, shortest=eps, longest=eps, dtype=dtype)
    factor, _ = layer.discretise(1.0)
    assert layer.B.isfinite().all() and (factor == 0).all()
    assert layer(torch.ones(3, 1, dtype=dtype)).abs().min() > 0


# --- Hankel matrices ------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 3e38), (F64, 1e308)], ids=str)
def test_singular_values_that_overflow(dtype, size):
    with refuses(ValueError, "kernel"):
        ho_kalman(torch.full((8,), size, dtype=dtype), 1)


def test_a_hankel_matrix_is_on_the_device_of_its_kernel():
    kernel = torch.ones(4)
    with torch.device("meta"):
        matrix = hankel(kernel, 2, 3)
    assert torch.equal(matrix, torch.ones(2, 3))
