r"""Recurrent cells: plain, leaky and gated from the derivation, and torch's GRU and LSTM.

Chapter: ``sequences``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

import gdl._checks as check
from gdl.sequences import _checks as require

State = Tensor | tuple[Tensor, ...]


class Cell(nn.Module):
    r"""One step of a recurrence, split into what the input drives and what waits for the state.

        z_t = advance(drive(x_t), z_{t-1}),    drive(x) = W x + b,    recur(h) = U h + b'

    ``drive`` takes all steps of a sequence at once; only ``advance`` has to go one by one. This is
    the base of the cells below. A cell of your own says how many ``blocks`` of ``hidden_size`` rows
    its weights have, of how many ``parts`` its state consists, and how it does ``advance``.

    Args:
        input_size: channels of the input.
        hidden_size: units of the state.
        device, dtype: of the weights, whose names, shapes and order of blocks are torch's:
            ``weight_ih``, ``weight_hh``, ``bias_ih``, ``bias_hh``.

    Attributes:
        blocks: rows of the weights, in units of ``hidden_size``.
        parts: tensors of the state, each ``(..., hidden_size)``; the first of them is the output.

    Shapes: ``cell(x, state=None)`` with x ``(..., input_size)``; a state is a tensor
    ``(..., hidden_size)``, or a tuple of ``parts`` of them; None is 0, and ``(hidden_size,)`` is
    the state of every sequence. Returns the next state, a tensor where ``parts`` is 1, else a
    tuple. Under autocast products are rounded, and states stay in the dtype of the weights.

    Raises:
        TypeError: sizes that are no ints, inputs or states of other types or dtypes.
        ValueError: sizes below 1, shapes or devices that do not fit, another number of parts,
            entries that are not finite, products that overflow.

    Law tested: forward is ``advance`` after ``drive``; relabelling the units, ``W -> P W``,
    ``U -> P U P^T``, ``b -> P b`` in every block, permutes the states. Chapter: ``sequences``.

    >>> class Sum(Cell):
    ...     def advance(self, driven, h):
    ...         return (h + driven,)
    >>> Sum(3, 4)(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    blocks = 1
    parts = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        require.sizes(input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = int(input_size), int(hidden_size)
        made, rows = require.made(device, dtype), self.blocks * self.hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, self.input_size, **made))
        self.weight_hh = nn.Parameter(torch.empty(rows, self.hidden_size, **made))
        self.bias_ih = nn.Parameter(torch.empty(rows, **made))
        self.bias_hh = nn.Parameter(torch.empty(rows, **made))
        # Not self.reset_parameters(): a subclass may have parameters that are yet to come.
        Cell.reset_parameters(self)

    def reset_parameters(self) -> None:
        """Weights and biases uniform within 1 / sqrt(hidden_size), as in torch."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh):
            nn.init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """Both sizes, as torch prints them."""
        return f"{self.input_size}, {self.hidden_size}"

    def drive(self, x: Tensor) -> Tensor:
        """What inputs ``(..., input_size)`` add to the blocks: ``(..., blocks * hidden_size)``."""
        # Autocast rounds the product; the states that come of it are not to be rounded.
        return linear(x, self.weight_ih, self.bias_ih).to(self.weight_ih.dtype)

    def recur(self, h: Tensor) -> Tensor:
        """What outputs ``(..., hidden_size)`` of the step before add to the blocks."""
        return linear(h, self.weight_hh, self.bias_hh)

    def advance(self, driven: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """The next state, from what the input drives and the parts of the state."""
        raise NotImplementedError(f"advance: expected {type(self).__name__} to have its own")

    def start(self, x: Tensor) -> tuple[Tensor, ...]:
        """The parts of the state 0 for inputs ``(..., input_size)``."""
        zero = x.new_zeros(*x.shape[:-1], self.hidden_size)
        return (zero,) * self.parts

    def states(self, state: State | None, x: Tensor) -> tuple[Tensor, ...]:
        """The parts of a state, checked and expanded for inputs ``(..., input_size)``."""
        if state is None:
            return self.start(x)
        if not isinstance(state, (Tensor, tuple)):
            raise TypeError(f"state: expected a tensor or a tuple, got {type(state).__name__}")
        given = (state,) if isinstance(state, Tensor) else state
        if len(given) != self.parts:
            raise ValueError(f"state: expected {self.parts} tensors, got {len(given)}")
        shape = (*x.shape[:-1], self.hidden_size)
        return tuple(require.state("state", part, shape, x) for part in given)

    def forward(self, x: Tensor, state: State | None = None) -> State:
        check.finite("x", check.shaped("x", x, self.input_size))
        x = require.weighted("x", x, self.weight_ih)
        driven = require.unspoilt("x", self.drive(x))
        parts = self.states(state, x)
        # Gates would turn an infinite product into a finite state that is wrong.
        require.unspoilt("state", self.recur(parts[0]))
        after = self.advance(driven, *parts)
        require.unspoilt("x, state", after[0])
        return after[0] if self.parts == 1 else after


class PlainCell(Cell):
    r"""The plain recurrence: every step replaces the state.

        h' = tanh(W x + b + U h + b')

    Arguments, shapes and errors are those of :class:`Cell`.

    Law tested: the formula, unit by unit; equal to ``torch.nn.RNNCell`` with the same weights, in
    values and gradients. Source: Elman, Finding structure in time, Cognitive Science 14, 1990.
    Chapter: ``sequences``.

    >>> PlainCell(3, 4)(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    def advance(self, driven: Tensor, h: Tensor) -> tuple[Tensor]:
        """The next state: a candidate, as it is."""
        return (torch.tanh(driven + self.recur(h)),)


class GatedCell(Cell):
    r"""The plain recurrence on a clock that it reads off its input and state.

        h' = g c + (1 - g) h,    c = tanh(W_c x + b_c + U_c h + b'_c)
        g = sigmoid(W_g x + b_g + U_g h + b'_g)

    The gate g is the rate of the clock, unit by unit. Order of blocks: candidate, gate. Arguments,
    shapes and errors are those of :class:`Cell`.

    Law tested: the formula, unit by unit; equal to ``torch.nn.GRUCell`` with its reset gate open
    and the sign of its update weights turned; plain where the gate is open, leaky where it is
    constant. Source: Tallec and Ollivier, Can recurrent neural networks warp time?, ICLR 2018.
    Chapter: ``sequences``.

    >>> GatedCell(3, 4)(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    blocks = 2

    def advance(self, driven: Tensor, h: Tensor) -> tuple[Tensor]:
        """The next state: as far from the last to a candidate as the gate says."""
        candidate, gate = (driven + self.recur(h)).chunk(2, -1)
        return (torch.lerp(h, torch.tanh(candidate), torch.sigmoid(gate)),)


class GRUCell(Cell):
    r"""The gated recurrent unit, with torch's names and order of blocks: reset, update, candidate.

        h' = z h + (1 - z) c,    c = tanh(W_c x + b_c + r (U_c h + b'_c))
        r = sigmoid(W_r x + b_r + U_r h + b'_r),    z = sigmoid(W_z x + b_z + U_z h + b'_z)

    Arguments, shapes and errors are those of :class:`Cell`.

    Law tested: the formula, unit by unit; equal to ``torch.nn.GRUCell`` with the same weights, in
    values and gradients. Source: Cho et al., EMNLP 2014 (there r stands inside the product with
    U_c). Chapter: ``sequences``.

    >>> GRUCell(3, 4)(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    blocks = 3

    def advance(self, driven: Tensor, h: Tensor) -> tuple[Tensor]:
        """The next state: a candidate that sees part of the last, and the last, mixed."""
        reset, update, candidate = driven.chunk(3, -1)
        past_reset, past_update, past = self.recur(h).chunk(3, -1)
        reset, update = torch.sigmoid(reset + past_reset), torch.sigmoid(update + past_update)
        return (torch.lerp(torch.tanh(candidate + reset * past), h, update),)


class LSTMCell(Cell):
    r"""Long short-term memory, with torch's names and order of blocks: i, f, c, o.

        m' = f m + i c,    h' = o tanh(m'),    c = tanh(W_c x + b_c + U_c h + b'_c)

    The gates i (input), f (forget) and o (output) are sigmoids of the same form. A state is the
    pair ``(h, m)`` of output and memory. Arguments, shapes and errors are those of :class:`Cell`.

    Law tested: the formula, unit by unit; equal to ``torch.nn.LSTMCell`` with the same weights, in
    values and gradients. Let the rows of f be minus those of i, so that ``f = 1 - i``: where U = 0,
    the memory is the state of :class:`GatedCell` with i for its gate; where o = 1, it is the state
    of a gated cell that is shown ``tanh(h)`` for h. Source: Hochreiter and Schmidhuber, Neural
    Computation 9, 1997 (without f); Gers, Schmidhuber and Cummins, Neural Computation 12, 2000
    (with it). Chapter: ``sequences``.

    >>> h, memory = LSTMCell(3, 4)(torch.ones(2, 3))
    >>> h.shape, memory.shape
    (torch.Size([2, 4]), torch.Size([2, 4]))
    """

    blocks = 4
    parts = 2

    def advance(self, driven: Tensor, h: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The next output and memory."""
        enter, keep, candidate, out = (driven + self.recur(h)).chunk(4, -1)
        memory = torch.sigmoid(keep) * memory + torch.sigmoid(enter) * torch.tanh(candidate)
        return torch.sigmoid(out) * torch.tanh(memory), memory
