"""Where the rockets of the study "landing" start."""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check
from gdl.programs.rocket import STATE


def random_starts(count: int, *, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    r"""Starts to land from, ``(count, 7)``, uniform in a box, with 200 kg of fuel.

    x within 20 m of the origin, y from 20 to 40 m, vx within 5 m/s, vy from -10 to 0 m/s, tilt
    within 0.3 rad, spin within 0.1 rad/s, mass 1000 kg.

    Raises: TypeError or ValueError for other arguments.

    Law tested: inside the box, equal for equal seeds. Chapter: ``programs``.

    >>> random_starts(2, seed=0).shape
    torch.Size([2, 7])
    """
    check.integer("count", count, 1)
    generator = torch.Generator().manual_seed(check.integer("seed", seed))
    check.real_dtype(dtype)
    centre = torch.tensor([0.0, 30.0, 0.0, -5.0, 0.0, 0.0, 1000.0], dtype=torch.float64)
    extent = torch.tensor([20.0, 10.0, 5.0, 5.0, 0.3, 0.1, 0.0], dtype=torch.float64)
    draws = torch.rand(count, STATE, generator=generator, dtype=torch.float64)
    return (centre + (2 * draws - 1) * extent).to(dtype)
