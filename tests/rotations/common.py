"""What the tests of tensor fields share: dtypes, elements of O(3), clouds, e3nn in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from scipy.linalg import expm
from torch import Tensor

from gdl.representations import SO, Element, O

F64 = torch.float64
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)

# Directions where formulas with angles, or a choice of axes, break down.
SPECIAL = [
    (1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1), (1, 1, 0), (0, 1, 1),
    (1, 1, 1), (-1, 1, -1), (1, -1, -1), (1e-9, 1, 0), (0, -1, 1e-12), (1e-9, 1e-9, 1),
    (1e-200, -1, 1e-200), (0.3, 0.3, -2), (0.2, -1.5, 0.7),
]  # fmt: skip


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def special_vectors(dtype: torch.dtype = F64) -> Tensor:
    return torch.tensor(SPECIAL, dtype=F64).to(dtype)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> bool:
    return a.shape == b.shape and gap(a, b) < tolerance


def gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().abs().max()) if a.numel() else 0.0


def about(axis: tuple[float, float, float], angle: float) -> Tensor:
    """The rotation by an angle about an axis, by SciPy's matrix exponential."""
    return _exponential(SO(3).defining.algebra, axis, angle)


def irrep_about(algebra: list[Tensor], axis: tuple[float, float, float], angle: float) -> Tensor:
    """The same in a representation that is given by its algebra."""
    return _exponential(algebra, axis, angle)


def _exponential(algebra: list[Tensor], axis: tuple[float, float, float], angle: float) -> Tensor:
    length = math.hypot(*axis)
    field = sum(a / length * X for a, X in zip(axis, algebra, strict=True))
    return torch.from_numpy(expm(angle * field.numpy()))


def elements() -> list[Element]:
    """Rotations and reflections of space, with their products and inverses."""
    found = [*O(3).random(3, seed=0), O(3).generator(0)]
    products = [g * h for g, h in itertools.product(found, repeat=2)]
    return [*found, *products, *(g.inverse() for g in found)]


def matrices() -> Tensor:
    """The elements as orthogonal matrices; both components occur."""
    found = torch.stack([O(3).defining(g) for g in elements()])
    assert 0 < int((torch.linalg.det(found) < 0).sum()) < len(found)
    return found


@contextmanager
def float64_default() -> Iterator[None]:
    """e3nn computes its constants in torch's default dtype, whatever that of its inputs."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(F64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
