"""What cells and layers refuse, by name, rather than broadcast, spoil or crash on it."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from gdl.sequences.cells import Cell, GatedCell, GRUCell, LSTMCell, PlainCell
from gdl.sequences.recurrent import (
    Recurrent,
    SequenceClassifier,
    fixed_point,
    warped_recurrence,
)
from studies._leaky import LeakyCell
from tests.test_representations import refuses

CHANNELS, HIDDEN, BATCH, T = 3, 5, 4, 7
CELLS = [PlainCell, LeakyCell, GatedCell, GRUCell, LSTMCell]
cells = pytest.mark.parametrize("kind", CELLS, ids=lambda kind: kind.__name__)

X = torch.ones(BATCH, T, CHANNELS)
STEP = X[:, 0]
H = torch.ones(BATCH, HIDDEN)
BAD_SEQUENCES = [
    (TypeError, None), (TypeError, [[1.0]]), (TypeError, X.long()), (TypeError, X.double()),
    (ValueError, X[:, :0]), (ValueError, X[:0]), (ValueError, X[:, :, :2]), (ValueError, X[0, 0]),
    (ValueError, X * math.nan), (ValueError, X / 0), (ValueError, X.to("meta")),
]  # fmt: skip


# --- cells ----------------------------------------------------------------------------------------


@cells
def test_bad_sizes(kind):
    for name, fits in (("input_size", {"hidden_size": 2}), ("hidden_size", {"input_size": 2})):
        for error, value in [
            (ValueError, 0), (ValueError, -1), (TypeError, 2.0), (TypeError, True),
            (TypeError, None),
        ]:  # fmt: skip
            with refuses(error, name):
                kind(**fits, **{name: value})
    with refuses(TypeError, "dtype"):
        kind(2, 2, dtype=torch.int64)


@cells
def test_bad_inputs(kind):
    cell = kind(CHANNELS, HIDDEN)
    for error, x in [
        (TypeError, None), (TypeError, [[1.0]]), (TypeError, STEP.long()),
        (TypeError, STEP.double()), (ValueError, STEP[:, :2]), (ValueError, STEP[0, 0]),
        (ValueError, STEP * math.nan), (ValueError, STEP / 0), (ValueError, STEP.to("meta")),
    ]:  # fmt: skip
        with refuses(error, "x"):
            cell(x)
    with pytest.raises(ValueError, match="^x: expected finite entries"):
        cell(STEP * math.nan)


@cells
def test_bad_states(kind):
    cell = kind(CHANNELS, HIDDEN)
    for error, part in [
        (TypeError, None), (TypeError, 0.0), (TypeError, H.long()), (TypeError, H.double()),
        (ValueError, H[:, :2]), (ValueError, H[:1]), (ValueError, H[0, :1]), (ValueError, H[None]),
        (ValueError, H * math.nan), (ValueError, H.to("meta")),
    ]:  # fmt: skip
        with refuses(error, "state"):
            cell(STEP, (part,) + (H,) * (kind.parts - 1))
    for error, state in [
        (TypeError, 0.0), (TypeError, [H] * kind.parts), (TypeError, "h"), (ValueError, ()),
        (ValueError, (H,) * (kind.parts + 1)),
    ]:  # fmt: skip
        with refuses(error, "state"):
            cell(STEP, state)


def test_a_tensor_is_no_state_of_two_parts():
    with refuses(ValueError, "state"):
        LSTMCell(CHANNELS, HIDDEN)(STEP, H)


@cells
def test_products_of_a_step_that_overflow(kind):
    cell = kind(CHANNELS, HIDDEN)
    with torch.no_grad():
        cell.weight_ih.copy_(torch.tensor([1e20, -1e20, 0.0]))
    with refuses(ValueError, "x"):
        cell(1e30 * STEP)


@cells
def test_products_with_the_state_that_overflow(kind):
    cell, more = kind(CHANNELS, HIDDEN), (H,) * (kind.parts - 1)
    with torch.no_grad():
        # The sum is 0, its terms are not: what comes out is infinite or NaN, and a gate hides it.
        cell.weight_hh.copy_(torch.tensor([1e20, -1e20, 0.0, 0.0, 0.0]))
    with refuses(ValueError, "state"):
        cell(STEP, (1e30 * H, *more))
    with refuses(ValueError, "state"):
        Recurrent(cell)(X, (1e30 * H, *more))


class Growing(Cell):
    """A cell whose states have no bound."""

    def advance(self, driven: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        return (1e20 * h + driven,)


def test_states_that_outgrow_their_dtype():
    cell = Growing(CHANNELS, HIDDEN)
    with refuses(ValueError, "state"):
        cell(STEP, 1e30 * H)
    with refuses(ValueError, "state"):
        Recurrent(cell)(X, H)


def test_bad_rates():
    for error, rate in [
        (ValueError, 0), (ValueError, 1.0), (ValueError, -0.1), (ValueError, math.nan),
        (ValueError, math.inf), (TypeError, "1"), (TypeError, None), (TypeError, True),
    ]:  # fmt: skip
        with refuses(error, "rate"):
            LeakyCell(CHANNELS, HIDDEN, rate=rate)


def test_a_cell_needs_a_step():
    with pytest.raises(NotImplementedError, match="^advance: expected Cell "):
        Cell(CHANNELS, HIDDEN)(STEP)


# --- layers, clocks, rests ------------------------------------------------------------------------


@cells
def test_bad_sequences_and_starts(kind):
    layer, more = Recurrent(kind(CHANNELS, HIDDEN)), (H,) * (kind.parts - 1)
    layer(X, (H, *more))
    for error, x in BAD_SEQUENCES:
        with refuses(error, "x"):
            layer(x)
    for error, part in [
        (TypeError, H.double()), (TypeError, None), (ValueError, H[:1]), (ValueError, H[:, :2]),
        (ValueError, H[None]), (ValueError, H[:, None]), (ValueError, H * math.nan),
    ]:  # fmt: skip
        with refuses(error, "state"):
            layer(X, (part, *more))
        with refuses(error, "state"):
            layer(X, (*more, part))
    with refuses(ValueError, "state"):
        layer(X, (H, H, H))
    with refuses(ValueError, "state"):
        layer(X[0], (H, *more))


@pytest.mark.parametrize(
    "f", [Recurrent, fixed_point, lambda cell: warped_recurrence(cell, X, X[0, :, 0])],
    ids=["Recurrent", "fixed_point", "warped_recurrence"],
)  # fmt: skip
def test_what_is_no_cell(f):
    for cell in (None, nn.RNNCell(CHANNELS, HIDDEN), PlainCell):
        with refuses(TypeError, "cell"):
            f(cell)


def test_bad_clocks():
    cell, rates = GatedCell(CHANNELS, HIDDEN), torch.ones(T)
    for error, given in [
        (TypeError, None), (TypeError, 1.0), (TypeError, rates.long()), (TypeError, rates.double()),
        (ValueError, rates[1:]), (ValueError, rates[:, None]), (ValueError, rates[None]),
        (ValueError, rates[0]), (ValueError, -rates), (ValueError, rates * math.nan),
        (ValueError, rates / 0), (ValueError, torch.ones(T, BATCH)), (ValueError, rates.to("meta")),
        (ValueError, torch.ones(BATCH, T, 1)),
    ]:  # fmt: skip
        with refuses(error, "rates"):
            warped_recurrence(cell, X, given)
    for error, x in BAD_SEQUENCES:
        with refuses(error, "x"):
            warped_recurrence(cell, x, rates)
    with refuses(ValueError, "state"):
        warped_recurrence(cell, X, rates, H[:1])
    with refuses(ValueError, "cell"):
        warped_recurrence(LSTMCell(CHANNELS, HIDDEN), X, rates)
    with refuses(ValueError, "rates"):
        warped_recurrence(cell, X, 1e38 * rates)


def test_one_negative_rate_is_enough():
    rates = torch.ones(T)
    rates[3] = -1e-6
    with refuses(ValueError, "rates"):
        warped_recurrence(GatedCell(CHANNELS, HIDDEN), X, rates)


def test_bad_fixed_points():
    cell, x = PlainCell(CHANNELS, HIDDEN), X[0, 0]
    for error, given in [
        (TypeError, 0.0), (TypeError, x.long()), (TypeError, x.double()), (ValueError, x[1:]),
        (ValueError, X), (ValueError, x * math.nan), (ValueError, x.to("meta")),
    ]:  # fmt: skip
        with refuses(error, "x"):
            fixed_point(cell, given)
    for error, given in [
        (ValueError, 0), (ValueError, -1.0), (ValueError, math.nan), (TypeError, "1"),
    ]:  # fmt: skip
        with refuses(error, "tolerance"):
            fixed_point(cell, tolerance=given)
    for error, given in [(ValueError, 0), (TypeError, 1.5), (TypeError, None)]:
        with refuses(error, "steps"):
            fixed_point(cell, steps=given)
    with refuses(ValueError, "cell"):
        fixed_point(PlainCell(CHANNELS, HIDDEN, device="meta"))
    spoilt = copy.deepcopy(cell)
    nn.init.constant_(spoilt.weight_hh, math.nan)
    with refuses(ValueError, "cell"):
        fixed_point(spoilt)


def test_every_weight_of_a_fixed_point_is_finite():
    for name, _ in LeakyCell(CHANNELS, HIDDEN).named_parameters():
        cell = LeakyCell(CHANNELS, HIDDEN)
        nn.init.constant_(getattr(cell, name), math.inf)
        with refuses(ValueError, "cell"):
            fixed_point(cell)


def test_inputs_of_a_fixed_point_that_overflow():
    cell = PlainCell(CHANNELS, HIDDEN, dtype=torch.float64)
    nn.init.constant_(cell.weight_ih, 1e200)
    with refuses(ValueError, "x"):
        fixed_point(cell, 1e200 * X[0, 0].double())


class Listed(nn.Module):
    """A body that returns a list."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


def test_a_list_is_no_output():
    with refuses(TypeError, "body"):
        SequenceClassifier(Listed(), CHANNELS, 2)(X)


def test_a_body_has_the_dtype_of_the_head():
    with refuses(TypeError, "body"):
        SequenceClassifier(nn.Identity(), CHANNELS, 2)(X.double())


def test_bad_classifiers():
    fits = {"body": nn.Identity(), "width": CHANNELS, "classes": 2}
    SequenceClassifier(**fits)(X)
    for error, name, value in [
        (TypeError, "body", None), (TypeError, "body", torch.tanh), (ValueError, "width", 0),
        (TypeError, "width", 3.0), (ValueError, "classes", 0), (TypeError, "classes", True),
        (ValueError, "read", "first"), (ValueError, "read", None), (ValueError, "read", X),
    ]:  # fmt: skip
        with refuses(error, name):
            SequenceClassifier(**{**fits, name: value})
    with refuses(TypeError, "dtype"):
        SequenceClassifier(**fits, dtype=torch.int64)
    for x in (X[..., :2], X[:, :0], X[0, 0]):
        with refuses(ValueError, "body"):
            SequenceClassifier(**fits)(x)
    with refuses(ValueError, "x"):
        SequenceClassifier(Recurrent(GRUCell(CHANNELS, HIDDEN)), HIDDEN, 2)(X * math.nan)


@cells
def test_products_that_overflow(kind):
    layer = Recurrent(kind(CHANNELS, HIDDEN))
    nn.init.constant_(layer.cell.weight_ih, 1e20)
    with refuses(ValueError, "x"):
        layer(1e30 * X)
