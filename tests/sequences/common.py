"""What the tests of sequences share: dtypes, random tensors, random weights, blanks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

F64 = torch.float64
TOLERANCE = {torch.float32: 1e-5, F64: 1e-12}
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def gap(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape and a.dtype == b.dtype
    return float((a - b).detach().abs().max())


def busy(model: nn.Module, scale: float = 0.4, seed: int = 1) -> nn.Module:
    """The model with random weights everywhere, biases included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(scale * torch.randn(p.shape, dtype=F64, generator=generator))
    return model.eval()


def delayed(x: Tensor, k: int) -> Tensor:
    """The sequence (..., T, d) after k blanks: (..., T + k, d)."""
    return torch.cat([x.new_zeros(*x.shape[:-2], k, x.shape[-1]), x], -2)
