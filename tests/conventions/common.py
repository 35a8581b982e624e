"""What the tests of conventions share: numbers, their comparison, and the name of a row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).parents[2]
TIGHT = 1e-12
J = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
N = 5


def convention(section: str, row: str) -> Callable[[Callable], Callable]:
    """Say which row of chapters/conventions.md a test asserts."""
    return lambda test: test


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and float((a - b).abs().max()) < TIGHT
