"""The three orders in which mean field updates its points, on logarithms of beliefs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

import gdl._checks as check

ORDERS = ("parallel", "damped", "sequential")


def belief_path(
    unary: Tensor,
    coupling: Tensor,
    compatibility: Tensor,
    start: Tensor,
    steps: int,
    *,
    order: str,
    damping: float,
) -> Iterator[Tensor]:
    """Logarithms of the beliefs, the start first: for layers, which know what they pass."""
    check.one_of("order", order, ORDERS)
    check_damping(damping)
    log_q = start
    yield log_q
    for _ in range(steps):
        if order == "sequential":
            log_q = _sweep(unary, coupling, compatibility, log_q)
        else:
            new = (unary + coupling @ log_q.exp() @ compatibility).log_softmax(-1)
            if order == "parallel" or damping == 0:
                log_q = new
            else:
                log_q = torch.logaddexp(log_q + math.log(damping), new + math.log1p(-damping))
        yield log_q


def check_damping(damping: float) -> float:
    """Return ``damping`` if it is a number from 0 to below 1."""
    return check.number("damping", damping, 0.0, math.nextafter(1.0, 0.0))


def _sweep(unary: Tensor, coupling: Tensor, compatibility: Tensor, log_q: Tensor) -> Tensor:
    q = log_q.exp()
    for i in range(q.shape[-2]):
        row = slice(i, i + 1)
        heard = coupling[..., row, :] @ q @ compatibility
        new = (unary[..., row, :] + heard).log_softmax(-1)
        # Out of place, because the message above needs the old beliefs for its gradient.
        log_q = torch.cat([log_q[..., :i, :], new, log_q[..., i + 1 :, :]], -2)
        q = torch.cat([q[..., :i, :], new.exp(), q[..., i + 1 :, :]], -2)
    return log_q
