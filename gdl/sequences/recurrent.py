r"""A cell along a sequence, on its own clock or a given one; its rest; what reads off a sequence.

Chapter: ``sequences``.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.sequences import _checks as require
from gdl.sequences.cells import Cell, State

READS = ("last", "mean")


class Recurrent(nn.Module):
    r"""A cell along a sequence: ``z_t = cell(x_t, z_{t-1})``, t = 0 ... T - 1, from a start z_{-1}.

    Args:
        cell: a cell of this room, which holds all weights.

    Shapes: ``layer(x, state=None)`` with x ``(..., T, input_size)`` returns the outputs
    ``(..., T, hidden_size)`` and the last state, a tensor or a tuple as the cell has it. The start
    is a state of shape ``(..., hidden_size)``, or ``(hidden_size,)`` for all sequences, such as
    :func:`fixed_point` returns; None is 0. Leading axes are batches, any number of them or none.

    Raises:
        TypeError: no cell, inputs or starts of other types or dtypes.
        ValueError: empty sequences, shapes or devices that do not fit, entries that are not finite,
            products that overflow.

    Law tested: equal to ``torch.nn.RNN``, ``GRU`` and ``LSTM`` of one layer, ``batch_first=True``,
    with the same weights, in values and gradients. Blanks (zeros) before a sequence delay the
    outputs if and only if the start is a fixed point of the cell at x = 0: with biases the start 0
    is none. Chapter: ``sequences``.

    >>> from gdl.sequences.cells import LSTMCell
    >>> outputs, (h, memory) = Recurrent(LSTMCell(3, 4))(torch.ones(2, 7, 3))
    >>> outputs.shape, torch.equal(outputs[:, -1], h)
    (torch.Size([2, 7, 4]), True)
    """

    def __init__(self, cell: Cell):
        super().__init__()
        self.cell = _required(cell)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        driven, parts = _begun(self.cell, x, state)
        outputs = []
        for step in driven.unbind(-2):
            parts = self.cell.advance(step, *parts)
            outputs.append(parts[0])
        last = parts[0] if self.cell.parts == 1 else parts
        return require.unspoilt("x, state", torch.stack(outputs, -2)), last


class SequenceClassifier(nn.Module):
    r"""Logits of a whole sequence, from the last output of a layer or from the mean of all.

        W y_{T-1} + b    or    W mean_t y_t + b,    y = body(x)

    Args:
        body: a module from ``(..., T, d)`` to ``(..., T, width)``, or to a tuple whose first entry
            is that, such as :class:`Recurrent`.
        width: channels of its outputs.
        classes: how many logits.
        read: ``"last"`` or ``"mean"``.
        device, dtype: of ``head``, the linear map; the body has its own.

    Shapes: ``model(x)`` with x ``(..., T, d)`` returns ``(..., classes)``.

    Raises:
        TypeError: a body that is no module, or that returns no tensor or one of
            another dtype than the head, sizes that are no ints.
        ValueError: sizes below 1, another word for ``read``, outputs of another width or none; and
            what the body raises.

    Law tested: equal to its parts; "mean" is, and "last" is not, the same when the outputs of the
    body change places. Chapter: ``sequences``.

    >>> from gdl.sequences.cells import GatedCell
    >>> model = SequenceClassifier(Recurrent(GatedCell(1, 8)), 8, classes=10)
    >>> model(torch.ones(5, 20, 1)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        body: nn.Module,
        width: int,
        classes: int,
        *,
        read: str = "last",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if not isinstance(body, nn.Module):
            raise TypeError(f"body: expected a module, got {type(body).__name__}")
        require.sizes(width=width, classes=classes)
        check.one_of("read", read, READS)
        self.body, self.read = body, read
        self.head = nn.Linear(width, classes, **require.made(device, dtype))

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.body(x)
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        require.sequence("body", outputs, self.head.in_features)
        outputs = require.weighted("body", outputs, self.head.weight)
        read = outputs[..., -1, :] if self.read == "last" else outputs.mean(-2)
        return self.head(read)


def warped_recurrence(cell: Cell, x: Tensor, rates: Tensor, state: State | None = None) -> Tensor:
    r"""A recurrence on a clock that is given, whose rates stretch and stop time.

        h_t = h_{t-1} + r_t (cell(x_t, h_{t-1}) - h_{t-1})

    This is one Euler step of length ``r_t = c'(t) dt`` for the warped equation
    ``dh/dt = c'(t) (cell(x(c(t)), h) - h)``. Rates of 1 are the cell itself, a constant rate makes
    a plain cell leaky, a rate of 0 stops the clock.

    Args:
        cell: one whose state is a single tensor.
        x: ``(..., T, input_size)``, in the dtype of the cell.
        rates: finite, at least 0, ``(T,)`` or one for each step of each sequence ``(..., T)``, in
            the dtype of the cell. Above 1 a step goes beyond the cell; it is allowed, as Euler's
            scheme allows it, and may be unstable.
        state: the start, ``(..., hidden_size)`` or ``(hidden_size,)``; None is 0.

    Returns:
        States after each step, ``(..., T, hidden_size)``.

    Raises:
        TypeError: no cell, other types or dtypes.
        ValueError: a cell with a state of several parts, shapes or devices that do not fit, empty
            sequences, negative rates, entries that are not finite, products that overflow.

    Law tested: rates of 1 give :class:`Recurrent` and constant ones a leaky network; whatever is
    inserted at rate 0 changes no state, exactly; without the rates it does. Source: Tallec and
    Ollivier, Can recurrent neural networks warp time?, ICLR 2018. Chapter: ``sequences``.

    >>> from gdl.sequences.cells import PlainCell
    >>> cell, x = PlainCell(1, 3), torch.ones(4, 1)
    >>> states = warped_recurrence(cell, x, torch.tensor([1.0, 0.0, 0.5, 0.0]))
    >>> torch.equal(states[1], states[0]), torch.equal(states[3], states[2])
    (True, True)
    """
    if _required(cell).parts != 1:
        raise ValueError(f"cell: expected a state of one tensor, got {cell.parts}")
    driven, (h,) = _begun(cell, x, state)
    rates = _required_rates(rates, driven)
    states = []
    for step, rate in zip(driven.unbind(-2), rates.unbind(-1), strict=True):
        h = torch.lerp(h, cell.advance(step, h)[0], rate[..., None])
        states.append(h)
    return require.unspoilt("x, rates, state", torch.stack(states, -2))


@torch.no_grad()
def fixed_point(
    cell: Cell, x: Tensor | None = None, *, tolerance: float = 1e-12, steps: int = 10_000
) -> State:
    r"""The rest of a cell: a state z with ``cell(x, z) = z``, by ``z <- cell(x, z)`` from 0.

    The cells of this room keep their state in a box, so by Brouwer's theorem there is one; the
    iteration finds it only where it attracts, which small weights ensure. It is done in float64,
    without a gradient.

    Args:
        cell: a cell of this room.
        x: the input that stays, ``(input_size,)``, in the dtype of the cell; None is 0.
        tolerance: how far one more step may move an entry of the state. A cell that contracts by a
            factor q is then within about ``tolerance / (1 - q)`` of the fixed point.
        steps: the most iterations.

    Returns:
        The state, in the dtype of the cell, a tensor ``(hidden_size,)`` or a tuple of them; as the
        start of :class:`Recurrent` it serves every sequence.

    Raises:
        TypeError: no cell, other types or dtypes.
        ValueError: x of another shape or device, entries or weights that are not finite, a
            tolerance that is not positive, no steps, a cell on the meta device.
        RuntimeError: no convergence; the message says how far the last step went.

    Law tested: the cell returns what it is given; with it as the start, blanks before a sequence
    delay the outputs. A cell that oscillates is refused. Chapter: ``sequences``.

    >>> from gdl.sequences.cells import PlainCell
    >>> cell = PlainCell(1, 3, dtype=torch.float64)
    >>> _ = nn.init.constant_(cell.weight_hh, 0.1)
    >>> rest = fixed_point(cell)
    >>> bool((cell(torch.zeros(1, dtype=torch.float64), rest) - rest).abs().max() < 1e-12)
    True
    """
    _required(cell)
    check.positive("tolerance", tolerance)
    check.integer("steps", steps, 1)
    weight = cell.weight_ih
    if weight.is_meta:
        raise ValueError("cell: expected weights with values, got the meta device")
    for parameter in cell.parameters():
        check.finite("cell", parameter)
    x = weight.new_zeros(cell.input_size) if x is None else _required_input(cell, x)
    rest = _iterated(copy.deepcopy(cell).double(), x.double(), tolerance, steps)
    parts = tuple(part.to(weight.dtype) for part in rest)
    return parts[0] if cell.parts == 1 else parts


def _iterated(cell: Cell, x: Tensor, tolerance: float, steps: int) -> tuple[Tensor, ...]:
    """The first state from 0 on that one more step moves by no more than the tolerance."""
    driven = require.unspoilt("x", cell.drive(x))
    parts = cell.start(x)
    for _ in range(steps):
        after = cell.advance(driven, *parts)
        change = max(float((b - a).abs().max()) for a, b in zip(parts, after, strict=True))
        if change <= tolerance:
            return parts
        parts = after
    raise RuntimeError(
        f"fixed_point: expected a change of at most {tolerance:.3g}, got {change:.3g} after "
        f"{steps} steps"
    )


def _required(cell: Cell) -> Cell:
    if not isinstance(cell, Cell):
        raise TypeError(f"cell: expected a Cell, got {type(cell).__name__}")
    return cell


def _begun(cell: Cell, x: Tensor, state: State | None) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What checked sequences drive, and the parts of their start."""
    require.sequence("x", x, cell.input_size)
    x = require.weighted("x", x, cell.weight_ih)
    driven = require.unspoilt("x", cell.drive(x))
    parts = cell.states(state, x[..., 0, :])
    # Gates would turn an infinite product into a finite state that is wrong.
    require.unspoilt("state", cell.recur(parts[0]))
    return driven, parts


def _required_rates(rates: Tensor, driven: Tensor) -> Tensor:
    """Return rates of the steps if they are finite and not negative."""
    check.floating("rates", rates)
    steps = tuple(driven.shape[:-1])
    if tuple(rates.shape) not in (steps, steps[-1:]):
        wanted = " or ".join(str(shape) for shape in dict.fromkeys((steps, steps[-1:])))
        raise ValueError(f"rates: expected shape {wanted}, got {tuple(rates.shape)}")
    rates = check.finite("rates", require.weighted("rates", rates, driven))
    if check.readable(rates) and bool((rates < 0).any()):
        raise ValueError(f"rates: expected at least 0, got {rates.min().item():.3g}")
    return rates


def _required_input(cell: Cell, x: Tensor) -> Tensor:
    """Return one checked input of the cell."""
    check.floating("x", x)
    if tuple(x.shape) != (cell.input_size,):
        raise ValueError(f"x: expected shape ({cell.input_size},), got {tuple(x.shape)}")
    return check.finite("x", require.weighted("x", x, cell.weight_ih))
