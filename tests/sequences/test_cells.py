"""Recurrent cells: their formulas, torch's cells, what is a case of what, and their lifetime."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from gdl.sequences.cells import Cell, GatedCell, GRUCell, LSTMCell, PlainCell
from studies._leaky import LeakyCell
from tests.sequences.common import F64, TOLERANCE, both_dtypes, busy, gap, random

CHANNELS, HIDDEN, BATCH = 3, 5, 4
CELLS = [PlainCell, LeakyCell, GatedCell, GRUCell, LSTMCell]
# Which block of the weights makes the candidate, a tanh.
CANDIDATE = {PlainCell: 0, LeakyCell: 0, GatedCell: 0, GRUCell: 2, LSTMCell: 2}
PEERS = {PlainCell: nn.RNNCell, GRUCell: nn.GRUCell, LSTMCell: nn.LSTMCell}
cells = pytest.mark.parametrize("kind", CELLS, ids=lambda kind: kind.__name__)
peers = pytest.mark.parametrize("kind", list(PEERS), ids=lambda kind: kind.__name__)


def make(kind: type[Cell], dtype: torch.dtype = F64, scale: float = 0.4) -> Cell:
    return busy(kind(CHANNELS, HIDDEN, dtype=dtype), scale)


def inputs(kind: type[Cell], dtype: torch.dtype = F64) -> tuple[Tensor, tuple[Tensor, ...]]:
    """An input and the parts of a state."""
    parts = tuple(random(BATCH, HIDDEN, seed=2 + k, dtype=dtype) for k in range(kind.parts))
    return random(BATCH, CHANNELS, dtype=dtype), parts


def as_tuple(state: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else state


def as_state(parts: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    return parts[0] if len(parts) == 1 else parts


# --- formulas and torch ---------------------------------------------------------------------------


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def dots(cell: Cell, weight: str, bias: str, vector: list[float]) -> list[list[float]]:
    """Sums over the entries of a vector, unit by unit, one list for each block."""
    rows, shifts = getattr(cell, weight).tolist(), getattr(cell, bias).tolist()
    sums = [
        shift + sum(w * v for w, v in zip(row, vector, strict=True))
        for row, shift in zip(rows, shifts, strict=True)
    ]
    return [sums[k : k + HIDDEN] for k in range(0, len(sums), HIDDEN)]


def by_units(cell: Cell, x: list[float], state: list[list[float]]) -> list[list[float]]:
    """The parts of the next state by the closed formulas, without tensors."""
    h, results = state[0], []
    driven, past = dots(cell, "weight_ih", "bias_ih", x), dots(cell, "weight_hh", "bias_hh", h)
    for j in range(HIDDEN):
        d, p = [block[j] for block in driven], [block[j] for block in past]
        match cell:
            case PlainCell():
                after = [math.tanh(d[0] + p[0])]
            case LeakyCell():
                a = sigmoid(cell.logit_rate[j].item())
                after = [a * math.tanh(d[0] + p[0]) + (1 - a) * h[j]]
            case GatedCell():
                g = sigmoid(d[1] + p[1])
                after = [g * math.tanh(d[0] + p[0]) + (1 - g) * h[j]]
            case GRUCell():
                r, z = sigmoid(d[0] + p[0]), sigmoid(d[1] + p[1])
                after = [(1 - z) * math.tanh(d[2] + r * p[2]) + z * h[j]]
            case LSTMCell():
                enter, keep, out = (sigmoid(d[k] + p[k]) for k in (0, 1, 3))
                memory = keep * state[1][j] + enter * math.tanh(d[2] + p[2])
                after = [out * math.tanh(memory), memory]
        results.append(after)
    return [list(part) for part in zip(*results, strict=True)]


@cells
@torch.no_grad()
def test_a_step_is_its_formula(kind):
    cell, (x, parts) = make(kind), inputs(kind)
    after = as_tuple(cell(x, as_state(parts)))
    assert len(after) == kind.parts
    for row in range(BATCH):
        expected = by_units(cell, x[row].tolist(), [part[row].tolist() for part in parts])
        for part, wanted in zip(after, expected, strict=True):
            assert gap(part[row], torch.tensor(wanted, dtype=F64)) < 1e-14


@both_dtypes
@peers
def test_cells_are_those_of_torch(kind, dtype):
    ours, theirs = make(kind, dtype), PEERS[kind](CHANNELS, HIDDEN, dtype=dtype)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    given = inputs(kind, dtype)
    leaves, total = [], []
    for cell in (ours, theirs):
        x, parts = (copy.deepcopy(each) for each in given)
        leaves.append([x.requires_grad_(), *(part.requires_grad_() for part in parts)])
        after = as_tuple(cell(x, as_state(parts)))
        total.append(after)
        sum(part.pow(3).sum() for part in after).backward()
    for part, twin in zip(*total, strict=True):
        assert gap(part, twin) < TOLERANCE[dtype]
    leaves = [
        [*each, *cell.parameters()] for each, cell in zip(leaves, (ours, theirs), strict=True)
    ]
    for leaf, twin in zip(*leaves, strict=True):
        assert gap(leaf.grad, twin.grad) < TOLERANCE[dtype] * twin.grad.abs().max().item()


@peers
def test_new_weights_are_drawn_as_torch_draws_them(kind):
    for seed in (0, 1, 2):
        torch.manual_seed(seed)
        theirs = PEERS[kind](CHANNELS, HIDDEN)
        torch.manual_seed(seed)
        ours = kind(CHANNELS, HIDDEN)
        reset = busy(kind(CHANNELS, HIDDEN))
        torch.manual_seed(seed)
        reset.reset_parameters()
        for p, q, r in zip(theirs.parameters(), ours.parameters(), reset.parameters(), strict=True):
            assert torch.equal(p, q) and torch.equal(p, r)


@cells
def test_the_start_is_0_unless_it_is_given(kind):
    cell, (x, parts) = make(kind), inputs(kind)
    zeros = tuple(torch.zeros_like(part) for part in parts)
    for here, there in zip(as_tuple(cell(x)), as_tuple(cell(x, as_state(zeros))), strict=True):
        assert torch.equal(here, there)
    assert gap(as_tuple(cell(x))[0], as_tuple(cell(x, as_state(parts)))[0]) > 1e-2


@cells
def test_forward_is_advance_after_drive(kind):
    cell, (x, parts) = make(kind), inputs(kind)
    driven = cell.drive(x)
    assert driven.shape == (BATCH, kind.blocks * HIDDEN)
    for here, there in zip(
        as_tuple(cell(x, as_state(parts))), cell.advance(driven, *parts), strict=True
    ):
        assert torch.equal(here, there)


@cells
@torch.no_grad()
def test_leading_axes_are_batches(kind):
    cell, (x, parts) = make(kind), inputs(kind)
    y = as_tuple(cell(x, as_state(parts)))
    folded = cell(x.unflatten(0, (2, 2)), as_state(tuple(p.unflatten(0, (2, 2)) for p in parts)))
    one = cell(x[1], as_state(tuple(part[1] for part in parts)))
    for whole, many, single in zip(y, as_tuple(folded), as_tuple(one), strict=True):
        assert gap(many.flatten(0, 1), whole) < 1e-14
        assert gap(single, whole[1]) < 1e-14


@cells
@torch.no_grad()
def test_a_state_without_leading_axes_is_that_of_every_sequence(kind):
    cell, (x, parts) = make(kind), inputs(kind)
    shared = as_tuple(cell(x, as_state(tuple(part[0] for part in parts))))
    spread = as_tuple(cell(x, as_state(tuple(part[:1].repeat(BATCH, 1) for part in parts))))
    for here, there in zip(shared, spread, strict=True):
        assert gap(here, there) < 1e-14


@cells
def test_gradients_of_a_step(kind):
    cell, (x, parts) = make(kind), inputs(kind)
    names = [name for name, _ in cell.named_parameters()]

    def step(x: Tensor, *rest: Tensor):
        weights = dict(zip(names, rest[kind.parts :], strict=True))
        return functional_call(cell, weights, (x, as_state(rest[: kind.parts])))

    leaves = [x, *parts, *cell.parameters()]
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(step, leaves)


# --- what is a case of what -----------------------------------------------------------------------


def rows(cell: Cell, *blocks: int) -> Tensor:
    """The indices of the rows of these blocks."""
    return torch.cat([torch.arange(HIDDEN) + block * HIDDEN for block in blocks])


def share(into: Cell, source: Cell, blocks: tuple[int, ...], signs: Tensor | float = 1.0) -> None:
    """Copy rows of all weights, block by block, times a sign for each of them."""
    chosen = rows(source, *blocks)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        p, q = getattr(into, name), getattr(source, name)
        sign = torch.as_tensor(signs, dtype=q.dtype).expand(len(chosen))
        p.copy_(q[chosen] * (sign[:, None] if q.ndim == 2 else sign))


def clear(cell: Cell, block: int, bias: float) -> None:
    """Make a block the same number whatever comes."""
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(cell, name)[rows(cell, block)] = bias if name == "bias_ih" else 0.0


@torch.no_grad()
def test_the_gated_cell_is_torchs_gru_without_its_reset_gate():
    gated, (x, (h,)) = make(GatedCell), inputs(GatedCell)
    gru = nn.GRUCell(CHANNELS, HIDDEN, dtype=F64)
    update_turned = torch.tensor([1.0, -1.0, 1.0]).repeat_interleave(HIDDEN)
    share(gru, gated, (0, 1, 0), update_turned)
    clear(gru, 0, 60.0)
    assert gap(gated(x, h), gru(x, h)) < 1e-14
    same_sign = copy.deepcopy(gru)
    share(same_sign, gated, (0, 1, 0))
    clear(same_sign, 0, 60.0)
    half_open = copy.deepcopy(gru)
    clear(half_open, 0, 0.0)
    for twin in (same_sign, half_open):
        assert gap(gated(x, h), twin(x, h)) > 1e-2


@torch.no_grad()
def test_an_open_gate_is_plain_and_a_constant_one_leaky():
    gated, (x, (h,)) = make(GatedCell), inputs(GatedCell)
    plain, leaky = (make(kind) for kind in (PlainCell, LeakyCell))
    for cell in (plain, leaky):
        share(cell, gated, (0,))
    leaky.logit_rate.fill_(-0.7)
    assert gap(gated(x, h), plain(x, h)) > 1e-2 and gap(gated(x, h), leaky(x, h)) > 1e-2
    clear(gated, 1, -0.7)
    assert gap(gated(x, h), leaky(x, h)) < 1e-14
    clear(gated, 1, 60.0)
    assert gap(gated(x, h), plain(x, h)) < 1e-14


class ShownTanh(GatedCell):
    """A gated cell that is shown tanh(h) where it would see h."""

    def recur(self, h: Tensor) -> Tensor:
        return super().recur(torch.tanh(h))


def tied(sign: float) -> LSTMCell:
    """An LSTM whose forget rows are the input rows times a sign."""
    lstm = make(LSTMCell)
    signs = torch.tensor([1.0, sign, 1.0, 1.0]).repeat_interleave(HIDDEN)
    share(lstm, copy.deepcopy(lstm), (0, 0, 2, 3), signs)
    return lstm


def memory_gap(lstm: LSTMCell, gated: GatedCell) -> float:
    """How far the memory is from the gated state, over some steps from a common start."""
    share(gated, lstm, (2, 0))
    state = memory = random(HIDDEN, seed=3)
    h, worst = torch.tanh(memory), 0.0
    for x in random(30, CHANNELS):
        h, memory = lstm(x, (h, memory))
        state = gated(x, state)
        worst = max(worst, gap(memory, state))
    return worst


@torch.no_grad()
def test_the_memory_of_an_lstm_with_tied_gates_and_no_feedback_is_the_gated_state():
    lstm, untied = tied(-1.0), tied(1.0)
    with_feedback = memory_gap(lstm, make(GatedCell))
    for cell in (lstm, untied):
        cell.weight_hh.zero_()
    assert memory_gap(lstm, make(GatedCell)) < 1e-13
    assert memory_gap(untied, make(GatedCell)) > 1e-2
    assert with_feedback > 1e-2


@torch.no_grad()
def test_the_memory_of_an_lstm_with_tied_and_open_gates_is_a_gated_state_that_is_shown_its_tanh():
    lstm, untied = tied(-1.0), tied(1.0)
    half_open = memory_gap(lstm, make(ShownTanh))
    for cell in (lstm, untied):
        clear(cell, 3, 60.0)
    assert memory_gap(lstm, make(ShownTanh)) < 1e-13
    assert memory_gap(lstm, make(GatedCell)) > 1e-2
    assert memory_gap(untied, make(ShownTanh)) > 1e-2
    assert half_open > 1e-2


# --- symmetries of the weights --------------------------------------------------------------------


def relabelled(cell: Cell, p: Tensor, signs: Tensor, *, columns: bool, every_row: bool) -> Cell:
    """The cell for units that move from i to p[i] and take a sign, which only candidates have."""
    twin, back = copy.deepcopy(cell), p.argsort()
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        blocks = getattr(cell, name).unflatten(0, (cell.blocks, HIDDEN)).index_select(1, back)
        signed = torch.ones(cell.blocks, HIDDEN, dtype=F64)
        signed[slice(None) if every_row else CANDIDATE[type(cell)]] = signs
        blocks = blocks * signed.reshape(cell.blocks, HIDDEN, *[1] * (blocks.ndim - 2))
        if name == "weight_hh" and columns:
            blocks = blocks[..., back] * signs
        getattr(twin, name).copy_(blocks.flatten(0, 1))
    if isinstance(cell, LeakyCell):
        twin.logit_rate.copy_(cell.logit_rate[back])
    return twin


def relabelling_gap(cell: Cell, p: Tensor, signs: Tensor, **how: bool) -> float:
    """How far the states of the relabelled cell are from the relabelled states."""
    twin, back = relabelled(cell, p, signs, **how), p.argsort()
    x, parts = inputs(type(cell))
    twins = tuple(part[..., back] * signs for part in parts)
    for _ in range(3):
        parts = as_tuple(cell(x, as_state(parts)))
        twins = as_tuple(twin(x, as_state(twins)))
    return max(gap(a[..., back] * signs, b) for a, b in zip(parts, twins, strict=True))


UNSIGNED = torch.ones(HIDDEN, dtype=F64)
SIGNS = torch.tensor([1.0, -1.0, -1.0, 1.0, -1.0], dtype=F64)
ORDERS = [torch.tensor([1, 2, 0, 4, 3]), torch.tensor([4, 0, 3, 1, 2])]


@cells
@torch.no_grad()
def test_relabelling_the_units_permutes_the_states(kind):
    cell = make(kind)
    for p in ORDERS:
        assert relabelling_gap(cell, p, UNSIGNED, columns=True, every_row=False) < 1e-14
        assert relabelling_gap(cell, p, UNSIGNED, columns=False, every_row=False) > 1e-2


@cells
@torch.no_grad()
def test_turning_the_signs_of_units_turns_those_of_the_states(kind):
    cell = make(kind)
    for p in ORDERS:
        assert relabelling_gap(cell, p, SIGNS, columns=True, every_row=False) < 1e-14
        assert relabelling_gap(cell, p, SIGNS, columns=False, every_row=False) > 1e-2
        if kind.blocks > 1:
            assert relabelling_gap(cell, p, SIGNS, columns=True, every_row=True) > 1e-2


# --- rates ----------------------------------------------------------------------------------------


@both_dtypes
def test_rates_start_where_they_are_told(dtype):
    for rate in (0.02, 0.5, 0.9):
        cell = LeakyCell(CHANNELS, HIDDEN, rate=rate, dtype=dtype)
        wanted = torch.full((HIDDEN,), rate, dtype=dtype)
        assert gap(cell.rates, wanted) < TOLERANCE[dtype] / 10
        busy(cell).reset_parameters()
        assert gap(cell.rates, wanted) < TOLERANCE[dtype] / 10
        assert cell.weight_hh.abs().max() <= 1 / math.sqrt(HIDDEN)
        torch.manual_seed(0)
        cell.reset_parameters()
        torch.manual_seed(0)
        assert torch.equal(cell.weight_hh, PlainCell(CHANNELS, HIDDEN, dtype=dtype).weight_hh)


# --- after they are made --------------------------------------------------------------------------


@cells
@torch.no_grad()
def test_copies_compute_the_same(kind):
    cell, (x, parts) = make(kind), inputs(kind)
    y = as_tuple(cell(x, as_state(parts)))
    loaded = kind(CHANNELS, HIDDEN, dtype=F64)
    emptied = kind(CHANNELS, HIDDEN, device="meta", dtype=F64).to_empty(device="cpu")
    for twin in (loaded, emptied):
        twin.load_state_dict(cell.state_dict())
    for twin in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell)), loaded, emptied):
        for part, wanted in zip(as_tuple(twin(x, as_state(parts))), y, strict=True):
            assert torch.equal(part, wanted)


@cells
@torch.no_grad()
def test_dtypes_casts_and_the_meta_device(kind):
    cell, (x, parts) = make(kind, torch.float32), inputs(kind, torch.float32)
    y = as_tuple(cell(x, as_state(parts)))
    doubled = copy.deepcopy(cell).double()(x.double(), as_state(tuple(p.double() for p in parts)))
    halved = copy.deepcopy(cell).bfloat16()(
        x.bfloat16(), as_state(tuple(p.bfloat16() for p in parts))
    )
    meta = kind(CHANNELS, HIDDEN, device="meta")(x.to("meta"))
    for part, double, half, shape in zip(
        y, as_tuple(doubled), as_tuple(halved), as_tuple(meta), strict=True
    ):
        assert part.dtype == torch.float32 and double.dtype == F64
        assert half.dtype == torch.bfloat16 and shape.is_meta
        assert gap(double.float(), part) < 1e-5
        assert gap(half.float(), part) < 0.05
        assert shape.shape == part.shape
    assert {p.dtype for p in kind(1, 2).parameters()} == {torch.float32}


@cells
def test_training_reaches_every_weight(kind):
    cell, (x, parts) = make(kind), inputs(kind)
    sum(part.pow(2).sum() for part in as_tuple(cell(x, as_state(parts)))).backward()
    for p in cell.parameters():
        assert torch.isfinite(p.grad).all() and (p.grad != 0).all()


@cells
@torch.no_grad()
def test_compiled_cells_compute_the_same(kind):
    cell, (x, parts) = make(kind), inputs(kind)
    torch._dynamo.reset()
    compiled = torch.compile(cell, backend="aot_eager", fullgraph=True)
    for part, wanted in zip(
        as_tuple(compiled(x, as_state(parts))), as_tuple(cell(x, as_state(parts))), strict=True
    ):
        assert gap(part, wanted) < 1e-14


@cells
def test_autocast_rounds_products_and_keeps_the_dtype_of_states(kind):
    cell, (x, parts) = make(kind, torch.float32), inputs(kind, torch.float32)
    y = as_tuple(cell(x, as_state(parts)))
    with torch.autocast("cpu", torch.bfloat16):
        low = as_tuple(cell(x.bfloat16(), as_state(parts)))
    sum(part.pow(2).sum() for part in low).backward()
    assert all(torch.isfinite(p.grad).all() for p in cell.parameters())
    for part, wanted in zip(low, y, strict=True):
        assert part.dtype == torch.float32
        assert 0 < gap(part, wanted) < 0.05


def test_cells_print_their_sizes():
    assert str(GatedCell(3, 4)) == "GatedCell(3, 4)"
