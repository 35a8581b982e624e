"""Networks of equal size for the studies."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

import gdl._checks as check
from gdl.training import count_parameters


def width_for(build: Callable[[int], nn.Module], parameters: int) -> int:
    r"""The width at which a model has the number of parameters nearest to a budget.

    Of two equally near ones it is the smaller.

    Args:
        build: maps a width, 1, 2, ..., to a model whose number of parameters grows with it.
        parameters: the budget, at least 1.

    Raises: TypeError or ValueError for other arguments, or if the model does not grow.
    Law tested: the neighbouring widths are no nearer. Chapter: ``rotations``.

    >>> width_for(lambda width: nn.Linear(10, width), 100)
    9
    """
    if not callable(build):
        raise TypeError(f"build: expected a function, got {type(build).__name__}")
    check.integer("parameters", parameters, 1)
    width, count, before = 0, 0, 0
    while count < parameters:
        width, before = width + 1, count
        # Shapes only: nothing is drawn from the generators.
        with torch.device("meta"):
            count = count_parameters(build(width))
        if count <= before:
            raise ValueError(
                f"build: expected more parameters with the width, got {before} then {count}"
            )
    return width - 1 if width > 1 and parameters - before <= count - parameters else width
