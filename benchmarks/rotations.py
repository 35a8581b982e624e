"""Products of features with harmonics, and Wigner matrices, beside e3nn.

16 copies of each degree up to L in and out, filters up to L, natural parity, weights shared by all
2000 edges. "edge-aligned" includes the Wigner matrices. e3nn's product gets its harmonics for
nothing in the forward pass; in the backward pass, which needs them for the gradients of positions,
they are part of the call. Sizes are L. Times are taken in float32; values are compared in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from e3nn import o3
from torch import Tensor

from benchmarks.cases import Case, disagreement
from gdl.geometry import random_rotations
from gdl.rotations import E3nnTensorProduct, Irreps, TensorProduct, wigner_tower

EDGES, COPIES = 2000, 16
PRODUCT = "tensor product, 2000 edges, 16 copies, L = n"
GRADIENT = "tensor product, forward and backward, L = n"
WIGNER = "Wigner matrices up to degree n, 2000 rotations"
SIZES = {PRODUCT: (1, 2, 3, 4, 5), GRADIENT: (2, 3, 4), WIGNER: (2, 3, 4, 6)}


def product(L: int, method: str, dtype: torch.dtype, device: str) -> TensorProduct:
    irreps = Irreps.of((COPIES, irrep) for _, irrep in Irreps.harmonics(L))
    torch.manual_seed(0)
    made = TensorProduct(irreps, irreps, L, method=method, dtype=torch.float64)
    return made.to(device, dtype)


def products(L: int, dtype: torch.dtype, device: str) -> dict[str, torch.nn.Module]:
    """e3nn first, then both forms of ours, with the same weights."""
    aligned = product(L, "aligned", dtype, device)
    return {
        "e3nn, FullyConnectedTensorProduct": E3nnTensorProduct(aligned).to(device),
        "edge-aligned": aligned,
        "paths": product(L, "paths", dtype, device),
    }


def forward(module: torch.nn.Module, x: Tensor, r: Tensor) -> Callable[[], list[Tensor]]:
    inner, given = module, r
    if isinstance(module, E3nnTensorProduct):
        inner, given = module.tensor_product, module.second_input(r).detach()

    def call() -> list[Tensor]:
        with torch.no_grad():
            return [inner(x, given)]

    return call


def backward(module: torch.nn.Module, x: Tensor, r: Tensor) -> Callable[[], list[Tensor]]:
    """The gradients of features and of positions; that of the weights has another order."""
    return lambda: list(torch.autograd.grad(module(x, r).square().sum(), [x, r]))


def product_case(task: str, L: int, device: str) -> Case:
    compute = backward if task == GRADIENT else forward

    def calls(dtype: torch.dtype) -> dict[str, Callable[[], list[Tensor]]]:
        found = products(L, dtype, device)
        generator = torch.Generator().manual_seed(0)
        size = COPIES * (L + 1) ** 2
        x = torch.randn(EDGES, size, generator=generator, dtype=dtype).to(device)
        r = torch.randn(EDGES, 3, generator=generator, dtype=dtype).to(device)
        x, r = x.requires_grad_(), r.requires_grad_()
        return {name: compute(module, x, r) for name, module in found.items()}

    return Case(task, L, L, calls(torch.float32), lambda: disagreement(calls(torch.float64)))


def by_e3nn(L: int, R: Tensor) -> list[Tensor]:
    return [o3.Irrep(degree, 1).D_from_matrix(R) for degree in range(L + 1)]


def wigner_case(task: str, L: int, device: str) -> Case:
    R = random_rotations(EDGES, seed=0).to(device)

    def calls(dtype: torch.dtype) -> dict[str, Callable[[], list[Tensor]]]:
        rotations = R.to(dtype)
        return {
            "e3nn, D_from_matrix": lambda: by_e3nn(L, rotations),
            "gdl, wigner_tower": lambda: wigner_tower(L, rotations),
        }

    def check() -> float:
        default = torch.get_default_dtype()
        # e3nn's generators have the precision of the default dtype.
        torch.set_default_dtype(torch.float64)
        try:
            return disagreement(calls(torch.float64))
        finally:
            torch.set_default_dtype(default)

    return Case(task, L, L, calls(torch.float32), check)


def case(task: str, n: int, device: str = "cpu") -> Case:
    return (wigner_case if task == WIGNER else product_case)(task, n, device)
