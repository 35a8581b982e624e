"""Forgetting times, chrono initialisation, the reach of gradients, Lyapunov exponents."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from gdl.sequences.cells import Cell, GatedCell, GRUCell, LSTMCell, PlainCell
from gdl.sequences.memory import (
    chrono_,
    clip_gradients_,
    forgetting_time,
    gate_bias,
    gradient_reach,
    lyapunov_exponents,
)
from gdl.sequences.recurrent import Recurrent
from studies._leaky import LeakyCell
from tests.test_representations import refuses

F64 = torch.float64
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
GATED = {"LSTM": LSTMCell, "gated": GatedCell, "GRU": GRUCell}
# The block that decides what is kept, and the sign of its bias for keeping.
KEEPERS = {"LSTM": (1, 1), "gated": (1, -1), "GRU": (1, 1)}
every_gate = pytest.mark.parametrize("name", list(GATED))


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def busy(cell: Cell, seed: int = 0, scale: float = 0.5) -> Cell:
    with torch.no_grad():
        for i, p in enumerate(cell.parameters()):
            p.copy_(scale * random(*p.shape, seed=100 * seed + i))
    return cell


def emptied(cell: Cell) -> Cell:
    """Without weights; the biases stay."""
    nn.init.zeros_(cell.weight_ih)
    nn.init.zeros_(cell.weight_hh)
    return cell


def total_bias(cell: Cell, block: int) -> Tensor:
    return (cell.bias_ih + cell.bias_hh).detach().unflatten(0, (cell.blocks, -1))[block]


def kept_bias(name: str, cell: Cell) -> Tensor:
    block, sign = KEEPERS[name]
    return sign * total_bias(cell, block)


# --- forgetting times -----------------------------------------------------------------------------


@both_dtypes
def test_the_time_is_one_over_what_a_gate_forgets(dtype):
    b = torch.linspace(-5, 5, 41, dtype=F64)
    series = 1 / (1 - torch.sigmoid(b))
    got = forgetting_time(b.to(dtype))
    assert got.dtype == dtype
    assert torch.allclose(got.double(), series, rtol=1e-12 if dtype == F64 else 1e-5, atol=0)


def test_the_time_is_the_sum_of_what_is_left():
    b = torch.tensor([-1.0, 0.0, 2.0], dtype=F64)
    left = torch.sigmoid(b) ** torch.arange(2000, dtype=F64)[:, None]
    assert torch.allclose(forgetting_time(b), left.sum(0), rtol=1e-12, atol=0)


@both_dtypes
def test_times_and_biases_are_inverse(dtype):
    times = torch.tensor([[1.01, 2.0, 3.718], [10.0, 200.0, 1e6]], dtype=dtype)
    tolerance = {"rtol": 1e-5 if dtype == torch.float32 else 1e-12, "atol": 0}
    assert torch.allclose(forgetting_time(gate_bias(times)), times, **tolerance)
    b = torch.linspace(-3, 12, 16, dtype=dtype)
    assert torch.allclose(gate_bias(forgetting_time(b)), b, atol=50 * torch.finfo(dtype).eps)


def test_times_by_hand():
    assert forgetting_time(torch.zeros(())).item() == 2
    assert forgetting_time(torch.tensor(1.0)).item() == pytest.approx(1 + math.e)
    assert gate_bias(torch.tensor(2.0)).item() == 0


# Biases from which on the time is infinite.
@pytest.mark.parametrize(
    ("dtype", "last"), [(torch.float16, 11), (torch.float32, 88), (F64, 709)], ids=str
)
def test_infinite_times_are_refused(dtype, last):
    assert bool(torch.isfinite(forgetting_time(torch.tensor([0.0, last], dtype=dtype))).all())
    with refuses(ValueError, "bias"):
        forgetting_time(torch.tensor([0.0, last + 1], dtype=dtype))


@pytest.mark.parametrize("time", [1.0, 0.5, -2.0, 0.0, math.inf, math.nan])
def test_impossible_times_are_refused(time):
    with refuses(ValueError, "time"):
        gate_bias(torch.tensor([2.0, time]))


@pytest.mark.parametrize("bias", [math.inf, -math.inf, math.nan])
def test_impossible_biases_are_refused(bias):
    with refuses(ValueError, "bias"):
        forgetting_time(torch.tensor([bias, 0.0]))


@pytest.mark.parametrize("wrong", [1.0, torch.tensor([3])], ids=["float", "int64"])
def test_times_are_floating_tensors(wrong):
    with refuses(TypeError, "bias"):
        forgetting_time(wrong)
    with refuses(TypeError, "time"):
        gate_bias(wrong)


# --- chrono initialisation ------------------------------------------------------------------------

UNITS, LONGEST = 500, 100


def sampled_times(name: str) -> Tensor:
    cells = [chrono_(GATED[name](1, UNITS, dtype=F64), LONGEST, seed=seed) for seed in range(3)]
    return torch.cat([forgetting_time(kept_bias(name, cell)) for cell in cells])


def distance_from_uniform(times: Tensor) -> float:
    return stats.kstest(times.numpy(), stats.uniform(2, LONGEST - 2).cdf).statistic


def bound(count: int) -> float:
    """Exceeded once in a million samples, by the inequality of Dvoretzky, Kiefer and Wolfowitz."""
    return math.sqrt(math.log(2 / 1e-6) / (2 * count))


@every_gate
def test_chrono_spreads_the_times_evenly(name):
    times = sampled_times(name)
    assert times.min() >= 2 and times.max() <= LONGEST
    assert distance_from_uniform(times) < bound(len(times))
    deviation = (LONGEST - 2) / math.sqrt(12 * len(times))
    assert abs(times.mean() - (LONGEST + 2) / 2) < 5 * deviation


def test_other_spreads_are_told_apart():
    u = torch.rand(3 * UNITS, dtype=F64, generator=torch.Generator().manual_seed(0))
    exponential = 2 - (LONGEST - 2) / 2 * torch.log1p(-u)
    log_uniform = 1 + (LONGEST - 1) ** u
    for times in (exponential, log_uniform):
        assert distance_from_uniform(times) > bound(len(times))


@every_gate
@both_dtypes
def test_chrono_sets_the_sum_of_both_biases_and_nothing_else(name, dtype):
    before = busy(GATED[name](3, 7, dtype=dtype))
    cell = chrono_(copy.deepcopy(before), 50, seed=1)
    block, _ = KEEPERS[name]
    changed = {0, 1} if name == "LSTM" else {block}
    for p, q in zip(cell.parameters(), before.parameters(), strict=True):
        assert p.dtype == dtype and p.requires_grad
        for i, (new, old) in enumerate(
            zip(p.unflatten(0, (cell.blocks, -1)), q.unflatten(0, (cell.blocks, -1)), strict=True)
        ):
            assert torch.equal(new, old) == (p.ndim == 2 or i not in changed)
    for i in changed:
        assert torch.equal(cell.bias_hh.unflatten(0, (cell.blocks, -1))[i], torch.zeros(7).to(p))
    times = forgetting_time(kept_bias(name, cell))
    assert times.min() >= 2 - 1e-6 and times.max() <= 50 + 1e-4 and times.std() > 5


def test_what_enters_an_lstm_and_what_it_keeps_add_up_to_one():
    cell = chrono_(LSTMCell(1, 20, dtype=F64), 80, seed=0)
    both = torch.sigmoid(total_bias(cell, 0)) + torch.sigmoid(total_bias(cell, 1))
    assert torch.allclose(both, torch.ones(20, dtype=F64), atol=1e-14)


def test_chrono_is_in_place_and_seeded():
    cell = LSTMCell(1, 5)
    parameter = cell.bias_ih
    assert chrono_(cell, 10, seed=0) is cell and cell.bias_ih is parameter
    torch.manual_seed(3)
    again = chrono_(LSTMCell(1, 5), 10, seed=0)
    assert torch.equal(total_bias(again, 1), total_bias(cell, 1))
    other = chrono_(LSTMCell(1, 5), 10, seed=1)
    assert not torch.equal(total_bias(other, 1), total_bias(cell, 1))
    state = torch.get_rng_state()
    chrono_(cell, 10, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_shortest_longest_time_is_two():
    cell = chrono_(LSTMCell(1, 4), 2, seed=0)
    assert torch.equal(total_bias(cell, 1), torch.zeros(4))


def test_a_chrono_cell_on_the_meta_device():
    assert chrono_(GatedCell(1, 3, device="meta"), 10, seed=0).bias_ih.is_meta


@every_gate
def test_a_cell_without_weights_forgets_at_its_times(name):
    cell = emptied(chrono_(GATED[name](1, 6, dtype=F64), 40, seed=0))
    with torch.no_grad():
        candidate = {"LSTM": 2, "gated": 0, "GRU": 2}[name]
        for bias in (cell.bias_ih, cell.bias_hh):
            bias.unflatten(0, (cell.blocks, -1))[candidate] = 0
        times = forgetting_time(kept_bias(name, cell))
        start = random(6, seed=3)
        parts = (start, start) if name == "LSTM" else (start,)
        memory = parts[-1]
        for _ in range(25):
            parts = cell.advance(cell.drive(random(1)), *parts)
            memory = memory * (1 - 1 / times)
            assert torch.allclose(parts[-1], memory, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("time", [5, 50, 500])
def test_about_a_third_is_left_after_the_forgetting_time(time):
    cell = emptied(GatedCell(1, 1, dtype=F64))
    with torch.no_grad():
        cell.bias_ih[0] = 0
        cell.bias_ih[1] = -gate_bias(torch.tensor(float(time), dtype=F64))
        cell.bias_hh.zero_()
        one = torch.ones(1, dtype=F64)
        outputs, last = Recurrent(cell)(torch.ones(time, 1, dtype=F64), one)
    left = torch.cat([one[None], outputs])
    assert torch.allclose(left[1:] / left[:-1], torch.tensor(1 - 1 / time, dtype=F64), rtol=1e-12)
    assert 0 < 1 / math.e - last.item() < 1 / time


@pytest.mark.parametrize("cell", [PlainCell(1, 2), LeakyCell(1, 2)], ids=["plain", "leaky"])
def test_cells_without_gates_have_no_chrono_start(cell):
    with pytest.raises(
        TypeError, match=rf"^cell: expected .*LSTMCell.*, got {type(cell).__name__}"
    ):
        chrono_(cell, 10, seed=0)


def test_modules_of_torch_are_refused():
    with refuses(TypeError, "cell"):
        chrono_(nn.LSTM(1, 2), 10, seed=0)


@pytest.mark.parametrize("longest", [1.99, 0, -5, math.inf, math.nan, 10**400], ids=str)
def test_impossible_longest_times_are_refused(longest):
    cell = LSTMCell(1, 2)
    before = copy.deepcopy(cell.state_dict())
    with refuses(ValueError, "longest"):
        chrono_(cell, longest, seed=0)
    assert all(torch.equal(cell.state_dict()[k], v) for k, v in before.items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, F64], ids=str)
def test_gates_of_the_longest_time_still_forget(dtype):
    most = 2 / torch.finfo(dtype).eps
    cell = chrono_(LSTMCell(1, 64, dtype=dtype), most, seed=0)
    assert (torch.sigmoid(total_bias(cell, 1)) < 1).all()
    with refuses(ValueError, "longest"):
        chrono_(cell, 1.01 * most, seed=0)


@pytest.mark.parametrize("longest", ["10", True, None], ids=str)
def test_the_longest_time_is_a_number(longest):
    with refuses(TypeError, "longest"):
        chrono_(LSTMCell(1, 2), longest, seed=0)


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (0.5, TypeError)], ids=str)
def test_seeds_of_chrono_are_checked(seed, error):
    with refuses(error, "seed"):
        chrono_(LSTMCell(1, 2), 10, seed=seed)


# --- the reach of gradients -----------------------------------------------------------------------


def at_rest(hidden: int, inputs: int, dtype: torch.dtype = F64, seed: int = 0) -> PlainCell:
    """Without biases: at x = 0 the derivative of tanh is 1 and the cell is linear."""
    cell = busy(PlainCell(inputs, hidden, dtype=dtype), seed=seed)
    nn.init.zeros_(cell.bias_ih)
    nn.init.zeros_(cell.bias_hh)
    return cell


@both_dtypes
def test_reach_at_rest_is_that_of_the_powers(dtype):
    cell, steps = at_rest(4, 3, dtype), 9
    reach = gradient_reach(Recurrent(cell), torch.zeros(steps, 3, dtype=dtype))
    a, b = cell.weight_hh.detach().double(), cell.weight_ih.detach().double()
    powers = [torch.linalg.matrix_power(a, steps - 1 - t) @ b for t in range(steps)]
    expected = torch.stack([torch.linalg.matrix_norm(p) for p in powers])
    assert reach.dtype == dtype and reach.shape == (steps,)
    assert torch.allclose(reach.double(), expected, rtol=1e-12 if dtype == F64 else 1e-5, atol=0)
    turned = torch.stack([torch.linalg.matrix_norm(p.T @ a) for p in powers])
    assert not torch.allclose(turned, expected, rtol=1e-2)


@pytest.mark.parametrize("kind", [GatedCell, GRUCell, LSTMCell], ids=lambda k: k.__name__)
def test_reach_equals_differences(kind):
    layer = Recurrent(busy(kind(2, 5, dtype=F64)))
    x = random(3, 7, 2, seed=4)
    reach, step = gradient_reach(layer, x), 1e-5
    squares = torch.zeros(3, 7, dtype=F64)
    for t in range(7):
        for c in range(2):
            shift = torch.zeros_like(x)
            shift[:, t, c] = step
            with torch.no_grad():
                slope = (layer(x + shift)[0][:, -1] - layer(x - shift)[0][:, -1]) / (2 * step)
            squares[:, t] += slope.square().sum(-1)
    assert reach.min() > 1e-6
    assert torch.allclose(reach, squares.sqrt(), rtol=1e-6)
    alone = torch.stack([gradient_reach(layer, sequence) for sequence in x])
    assert torch.allclose(reach, alone, rtol=1e-12)


def test_reach_leaves_gradients_and_inputs_alone():
    layer = Recurrent(busy(GatedCell(1, 3)))
    x = random(4, 1, dtype=torch.float32)
    with torch.no_grad():
        reach = gradient_reach(layer, x)
    assert not reach.requires_grad and not x.requires_grad
    assert all(p.grad is None for p in layer.parameters())


def test_tiny_reaches_do_not_underflow():
    cell = at_rest(1, 1, torch.float32)
    nn.init.constant_(cell.weight_hh, 1e-2)
    nn.init.constant_(cell.weight_ih, 1)
    reach = gradient_reach(Recurrent(cell), torch.zeros(16, 1))
    assert reach[0].item() == pytest.approx(1e-30, rel=1e-4, abs=0)


def test_a_layer_of_one_tensor_has_a_reach():
    class Sums(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.cumsum(-2)

    expected = torch.full((5,), math.sqrt(2))
    assert torch.allclose(gradient_reach(Sums(), torch.randn(5, 2)), expected)


def test_what_is_not_used_has_no_reach():
    class Last(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    assert gradient_reach(Last(), torch.zeros(3, 1)).tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (lambda x: x[..., -1, :], ValueError),
        (lambda x: x[..., :-1, :], ValueError),
        (lambda x: torch.ones_like(x), ValueError),
        (lambda x: torch.ones_like(x, requires_grad=True), ValueError),
        (lambda x: 3.0, TypeError),
        (7, TypeError),
    ],
    ids=["last", "shorter", "constant", "parameter", "number", "no layer"],
)
def test_layers_without_a_reach_are_refused(returned, error):
    with refuses(error, "layer"):
        gradient_reach(returned, torch.zeros(2, 4, 3))


@pytest.mark.parametrize(
    "x", [torch.zeros(0, 2), torch.zeros(2), torch.full((3, 2), math.nan)], ids=["0", "flat", "nan"]
)
def test_sequences_without_a_reach_are_refused(x):
    with refuses(ValueError, "x"):
        gradient_reach(Recurrent(PlainCell(2, 2)), x)


# --- clipping -------------------------------------------------------------------------------------


@both_dtypes
def test_long_gradients_are_shortened_and_short_ones_stay(dtype):
    cell = busy(GatedCell(2, 4, dtype=dtype))
    cell.bias_hh.requires_grad_(False)
    x = random(5, 2, dtype=dtype)
    Recurrent(cell)(x)[0].square().sum().backward()
    free = [p.grad for p in cell.parameters() if p.requires_grad]
    cell.zero_grad()
    norms = sorted(g.norm().item() for g in free)
    largest = (norms[0] + norms[-1]) / 2
    assert clip_gradients_(cell, largest) is cell
    Recurrent(cell)(x)[0].square().sum().backward()
    for p, g in zip([p for p in cell.parameters() if p.requires_grad], free, strict=True):
        expected = g * min(1, largest / g.norm().item())
        assert torch.allclose(p.grad, expected, rtol=1e-5 if dtype == torch.float32 else 1e-12)
    assert cell.bias_hh.grad is None


def test_a_gradient_of_nothing_stays_nothing():
    layer = clip_gradients_(nn.Linear(2, 1), 1.0)
    (0 * layer(torch.ones(2))).sum().backward()
    assert torch.equal(layer.weight.grad, torch.zeros(1, 2))


def test_copies_are_not_clipped():
    layer = copy.deepcopy(clip_gradients_(nn.Linear(1, 1), 1e-3))
    layer(torch.ones(1)).backward()
    assert layer.weight.grad.item() == 1


@pytest.mark.parametrize("largest", [0, -1.0, math.nan, math.inf])
def test_bounds_are_positive(largest):
    with refuses(ValueError, "largest"):
        clip_gradients_(nn.Linear(1, 1), largest)


def test_only_modules_are_clipped():
    with refuses(TypeError, "model"):
        clip_gradients_(torch.zeros(2, requires_grad=True), 1.0)


# --- Lyapunov exponents ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PlainCell, LeakyCell, GatedCell, GRUCell])
@pytest.mark.parametrize("steps", [1, 8])
def test_exponents_add_up_to_the_mean_change_of_volume(kind, steps):
    cell = busy(kind(2, 5, dtype=F64))
    x, h = random(steps, 2, seed=5), random(5, seed=6)
    got = lyapunov_exponents(cell, x, h)
    volumes = []
    with torch.no_grad():
        for step in x:
            shifts = 1e-6 * torch.eye(5, dtype=F64)
            jacobian = torch.stack([cell(step, h + e) - cell(step, h - e) for e in shifts]) / 2e-6
            volumes.append(torch.linalg.det(jacobian).abs().log())
            h = cell(step, h)
    assert got.shape == (5,) and got.dtype == F64 and got.std() > 0.05
    assert got.sum().item() == pytest.approx(torch.stack(volumes).mean().item(), abs=1e-6)


def test_exponents_at_rest_are_those_of_the_eigenvalues():
    cell, count = at_rest(3, 1), 200
    turn = torch.linalg.qr(random(3, 3, seed=8)).Q + 0.3 * random(3, 3, seed=9)
    moduli = torch.tensor([0.9, 0.5, 0.2], dtype=F64)
    with torch.no_grad():
        cell.weight_hh.copy_(turn @ torch.diag(moduli) @ torch.linalg.inv(turn))
    once, twice = (lyapunov_exponents(cell, torch.zeros(n * count, 1, dtype=F64)) for n in (1, 2))
    # What the first steps add to the mean cancels in the difference.
    assert torch.allclose(2 * twice - once, moduli.log(), atol=1e-10)
    assert not torch.allclose(once, torch.linalg.svdvals(cell.weight_hh).log(), atol=1e-2)


def test_exponents_of_a_triangular_cell_are_exact_at_any_length():
    cell = at_rest(4, 1)
    with torch.no_grad():
        cell.weight_hh.copy_(cell.weight_hh.triu())
    expected = cell.weight_hh.detach().diagonal().abs().log()
    for steps in (1, 7):
        got = lyapunov_exponents(cell, torch.zeros(steps, 1, dtype=F64))
        assert torch.allclose(got, expected, atol=1e-12)


def test_the_start_of_the_trajectory_counts():
    cell = busy(GatedCell(1, 3, dtype=F64))
    x = random(5, 1)
    zero = lyapunov_exponents(cell, x, torch.zeros(3, dtype=F64))
    assert torch.equal(lyapunov_exponents(cell, x), zero)
    assert not torch.allclose(lyapunov_exponents(cell, x, 2 * random(3)), zero, atol=1e-3)


def test_gates_bring_exponents_near_zero():
    cells = {name: GatedCell(1, 8, dtype=F64) for name in ("standard", "chrono")}
    for cell in cells.values():
        busy(cell, scale=0.2)
    chrono_(cells["chrono"], 100, seed=0)
    x = random(50, 1)
    slowest = {name: lyapunov_exponents(cell, x).max() for name, cell in cells.items()}
    assert -0.05 < slowest["chrono"] < 0.05 and slowest["standard"] < -0.2


@pytest.mark.parametrize(
    ("cell", "error"),
    [(LSTMCell(1, 2), ValueError), (nn.RNNCell(1, 2), TypeError)],
    ids=["LSTM", "torch"],
)
def test_cells_without_exponents_are_refused(cell, error):
    with refuses(error, "cell"):
        lyapunov_exponents(cell, torch.zeros(3, 1))


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (torch.zeros(0, 1), ValueError),
        (torch.zeros(4, 2), ValueError),
        (torch.zeros(2, 4, 1), ValueError),
        (torch.full((4, 1), math.inf), ValueError),
        (torch.zeros(4, 1, dtype=F64), TypeError),
        ([[0.0]], TypeError),
    ],
    ids=["empty", "width", "batch", "infinite", "float64", "list"],
)
def test_sequences_without_exponents_are_refused(x, error):
    with refuses(error, "x"):
        lyapunov_exponents(PlainCell(1, 2), x)


@pytest.mark.parametrize("state", [torch.zeros(3), torch.full((2,), math.nan)], ids=["size", "nan"])
def test_states_of_exponents_are_checked(state):
    with refuses(ValueError, "state"):
        lyapunov_exponents(PlainCell(1, 2), torch.zeros(3, 1), state)
