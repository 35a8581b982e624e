"""What the tests of signals share: an independent evaluation of them, and their rotations."""

from __future__ import annotations

import math

import torch
from e3nn import o3
from torch import Tensor

from gdl import representations as reps
from gdl.geometry import random_rotations

F64 = torch.float64
ROTATIONS = random_rotations(3, seed=0)
SO3 = reps.SO(3)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=F64, generator=generator).to(dtype)


def harmonics(degree: int, points: Tensor) -> Tensor:
    """e3nn's orthonormal harmonics, (..., (L + 1)^2)."""
    degrees = list(range(degree + 1))
    return o3.spherical_harmonics(degrees, points, normalize=False, normalization="integral")


def on_sphere(c: Tensor, points: Tensor) -> Tensor:
    """Values (..., n) at points (n, 3) of the signals with coefficients (..., (L + 1)^2)."""
    return c @ harmonics(math.isqrt(c.shape[-1]) - 1, points).mT


def matrix_coefficients(degree: int, rotations: Tensor) -> Tensor:
    """``sqrt(2l + 1) D^l_mn(R)``, (n, size), by exponentials of the Lie algebra."""
    elements = [reps.rotation(SO3, R) for R in rotations]
    blocks = []
    for l in range(degree + 1):
        rho = reps.spherical_irrep(SO3, l)
        blocks.append(math.sqrt(2 * l + 1) * torch.stack([rho(g).flatten() for g in elements]))
    return torch.cat(blocks, 1)


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm())
