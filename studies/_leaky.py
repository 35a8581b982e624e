"""The cell with constant rates of the study "warped_digits"."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.sequences.cells import Cell


class LeakyCell(Cell):
    r"""The plain recurrence slowed down, each unit by a rate of its own, which is learned.

        h' = a c + (1 - a) h,    c = tanh(W x + b + U h + b'),    a = sigmoid(l)

    This is what a clock that runs at a constant rate makes of the plain recurrence.

    Args:
        input_size, hidden_size, device, dtype: as in :class:`Cell`.
        rate: where the rates of all units start, between 0 and 1, both excluded.

    Attributes:
        logit_rate: l, ``(hidden_size,)``, the only parameter that torch's cell has not.

    Shapes: as in :class:`Cell`.

    Raises:
        TypeError: a rate that is no number, and as :class:`Cell`.
        ValueError: a rate that is not between 0 and 1, and as :class:`Cell`.

    Law tested: the formula, unit by unit; equal to the plain cell on a clock of constant rate,
    :func:`~gdl.sequences.warped_recurrence`. Source: Tallec and Ollivier, Can recurrent
    neural networks warp time?, ICLR 2018. Chapter: ``sequences``.

    >>> LeakyCell(3, 2, rate=0.25).rates.tolist()
    [0.25, 0.25]
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        rate: float = 0.5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        if not 0 < check.number("rate", rate) < 1:
            raise ValueError(f"rate: expected a number between 0 and 1, got {rate}")
        super().__init__(input_size, hidden_size, device=device, dtype=dtype)
        self.first_rate = float(rate)
        self.logit_rate = nn.Parameter(self.bias_hh.new_empty(self.hidden_size))
        self._reset_rates()

    @property
    def rates(self) -> Tensor:
        """The rate of each unit, ``(hidden_size,)``, between 0 and 1."""
        return torch.sigmoid(self.logit_rate)

    def reset_parameters(self) -> None:
        """Weights and biases as in torch, the rates as they were first."""
        super().reset_parameters()
        self._reset_rates()

    def _reset_rates(self) -> None:
        nn.init.constant_(self.logit_rate, math.log(self.first_rate / (1 - self.first_rate)))

    def advance(self, driven: Tensor, h: Tensor) -> tuple[Tensor]:
        """The next state: a share of the way from the last to a candidate."""
        return (torch.lerp(h, torch.tanh(driven + self.recur(h)), self.rates),)
