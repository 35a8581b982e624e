"""Coordinate descent and annealed training, of studies of the chapter "sparse_coding"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import gdl._checks as check
from gdl.sparse_coding.hard import HardThresholdEncoder
from gdl.sparse_coding.operators import shrink
from gdl.training import History, fit


def coordinate_descent(
    signals: Tensor,
    dictionary: Tensor,
    penalty: float,
    steps: int,
    *,
    start: Tensor | None = None,
    path: bool = False,
) -> Tensor:
    r"""Coordinate descent for the lasso that moves the coordinate which would move most.

    Coordinate j alone is best at ``S_penalty(B_j) / |d_j|^2`` where ``B_j`` is the product of atom
    d_j with what the other atoms leave of the signal. Each step moves, in each signal, the one
    coordinate farthest from its best, and costs n operations.

    Args:
        signals: y, (..., m).
        dictionary: D, (m, n), no zero columns.
        penalty, steps: positive.
        start: x_0, (..., n), by default 0.
        path: return all iterates, the start first.

    Returns:
        x, (..., n), or (steps + 1, ..., n) with ``path``.
    """
    gram = dictionary.mT @ dictionary
    squares, others = gram.diagonal(), gram - torch.diag(gram.diagonal())
    x = signals.new_zeros(*signals.shape[:-1], len(squares)) if start is None else start
    products = signals @ dictionary - x @ others
    iterates = [x]
    for _ in range(steps):
        best = shrink(products, penalty) / squares
        place = (best - x).abs().argmax(-1, keepdim=True)
        change = (best - x).gather(-1, place)
        products = products - change * others[place[..., 0]]
        x = x.scatter_add(-1, place, change)
        iterates.append(x)
    return torch.stack(iterates) if path else x


def anneal(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    schedule: Sequence[float] = (0.5, 0.2, 0.1, 0.0),
    steps: int = 200,
    lr: float = 1e-3,
    batch_size: int = 64,
    loss: Callable[[Tensor, Tensor], Tensor] = mse_loss,
    seed: int = 0,
) -> list[History]:
    r"""Train a model while the hard thresholds in it get sharp: one stage for each sharpness.

    A ramp lets the thresholds learn, a jump makes codes exactly 0. So s falls from stage to stage,
    and at the end, 0, the model is trained as it will be used. Each stage is a call of
    :func:`~gdl.training.fit` with steps and rate as given.

    Args:
        model: holds at least one :class:`~gdl.sparse_coding.HardThresholdEncoder` with a penalty,
            or is one.
        x, y: inputs and targets, (N, ...), as of :func:`~gdl.training.fit`.
        schedule: the sharpness of each stage, from 0 to 1, at least one and never rising.
        steps, lr, batch_size, loss: of each stage.
        seed: of the first stage; the later ones count on.

    Returns:
        What each stage saw. The model stays at the last sharpness.

    Raises: TypeError or ValueError for other arguments, before anything is trained.

    Law tested: the stages are calls of fit at these sharpnesses, bit by bit; thresholds learn in
    ramps, and never at a jump. Chapter: ``sparse_coding``.

    >>> network, y = HardThresholdEncoder(torch.eye(2), 1, penalty=0.5), torch.ones(4, 2)
    >>> history = anneal(network, y, 2 * y, schedule=[0.5, 0.0], steps=3)
    >>> len(history), network.sharpness
    (2, 0.0)
    """
    encoders = [
        module
        for module in model.modules()
        if isinstance(module, HardThresholdEncoder) and module.penalty is not None
    ]
    if not encoders:
        raise ValueError("model: expected a HardThresholdEncoder with a penalty in it, got none")
    if not isinstance(schedule, (list, tuple)):
        raise TypeError(f"schedule: expected a list of numbers, got {type(schedule).__name__}")
    levels = [check.number("schedule", level, 0.0, 1.0) for level in schedule]
    if not levels or levels != sorted(levels, reverse=True):
        raise ValueError(
            f"schedule: expected at least one number and none that rises, got {levels}"
        )
    check.integer("seed", seed)
    histories = []
    for stage, level in enumerate(levels):
        for encoder in encoders:
            encoder.set_sharpness(level)
        histories.append(
            fit(
                model, x, y, steps=steps, lr=lr, batch_size=batch_size, loss=loss, seed=seed + stage
            )
        )
    return histories
