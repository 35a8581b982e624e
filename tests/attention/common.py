"""What the tests of attention share: dtypes, random tensors and graphs, permutations."""

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


def permutations(n: int) -> list[Tensor]:
    """Random ones with their products and inverses."""
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randperm(n, generator=generator) for _ in range(2))
    return [p, q, p[q], q[p], p.argsort(), p[q].argsort()]


def permutation_gap(f, x: Tensor) -> float:
    """How far ``f`` is from commuting with permutations of the axis before the last."""
    y = f(x)
    assert y.std(-2).min() > 1e-4
    orders = permutations(x.shape[-2])
    return max(gap(f(x.index_select(-2, p)), y.index_select(-2, p)) for p in orders)


def busy(model: nn.Module, scale: float = 0.4) -> nn.Module:
    """The model with random weights everywhere, biases and norms included."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(scale * torch.randn(p.shape, dtype=F64, generator=generator))
    return model.eval()


def random_graph(n: int, share: float = 0.4, seed: int = 0) -> Tensor:
    """A symmetric 0-1 matrix without loops, float64."""
    upper = torch.rand(n, n, generator=torch.Generator().manual_seed(seed)).triu(1) > 1 - share
    return (upper | upper.T).double()


def path(n: int) -> Tensor:
    return torch.diag(torch.ones(n - 1, dtype=F64), 1) + torch.diag(
        torch.ones(n - 1, dtype=F64), -1
    )


def cycle(n: int) -> Tensor:
    shift = torch.eye(n, dtype=F64).roll(1, 0)
    return shift + shift.T
