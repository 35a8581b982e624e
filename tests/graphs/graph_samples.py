"""What the tests of graphs share: dtypes, and a graph with all that makes trouble."""

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
    return float((a - b).detach().abs().max()) if a.numel() else 0.0


def close(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> bool:
    return a.shape == b.shape and gap(a, b) < tolerance


def rough_edges(n: int, loops: bool = True) -> Tensor:
    """Directed edges with duplicates, single and double self-loops, and the last node alone."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(n - 1, (2, 2 * n), generator=generator)
    repeated = edges[:, [0, 3, 3]]
    loop = torch.tensor([[0, 1, 1, 2, 2], [0, 1, 1, 2, 2]])
    both = torch.cat([edges, repeated, loop], dim=1)
    order = torch.randperm(both.shape[1], generator=generator)
    both = both[:, order]
    return both if loops else both[:, both[0] != both[1]]


def busy(model: nn.Module, scale: float = 0.5) -> nn.Module:
    """The model with random weights everywhere, also where it starts with zeros."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(scale * torch.randn(p.shape, dtype=F64, generator=generator))
    return model.eval()
