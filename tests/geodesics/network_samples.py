"""What the tests of networks on surfaces share: surfaces, features, layers with random weights."""

from __future__ import annotations

import functools
import re

import pytest
import torch
from torch import Tensor, nn

from gdl.geodesics.mesh import Mesh
from gdl.geodesics.operators import SurfaceOperators
from gdl.geodesics.surfaces import bumpy_sphere, flat_strip, fold_strip, icosphere, torus

F64 = torch.float64
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
FOLDS = [0.7, -1.1, 0.3, 2.0, -0.4, 1.3, -0.9]

MESHES = {
    "bumpy": lambda: bumpy_sphere(2, 0.4, seed=0),
    "sphere": lambda: icosphere(2),
    "torus": lambda: torus(2.0, 0.7, 14, 9),
    "flat": lambda: flat_strip(2.0, 1.3, 8, 5),
    "folded": lambda: fold_strip(2.0, 1.3, 8, 5, FOLDS),
}


@functools.cache
def mesh_of(name: str) -> Mesh:
    return MESHES[name]()


@functools.cache
def surface_of(name: str, k: int = 20, dtype: torch.dtype = F64) -> SurfaceOperators:
    return SurfaceOperators.from_mesh(mesh_of(name), k).to(dtype=dtype)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def relative(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).detach().norm() / b.detach().norm())


def busy(layer: nn.Module, scale: float = 0.4) -> nn.Module:
    """The layer with random weights everywhere, also where it starts with zeros, in eval mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in layer.named_parameters():
            drawn = scale * torch.randn(p.shape, dtype=F64, generator=generator)
            p.copy_(drawn.abs() if name.endswith("time") else drawn)
    return layer.eval()


def refuses(error, argument: str):
    return pytest.raises(error, match=rf"^{re.escape(argument)}\b")
