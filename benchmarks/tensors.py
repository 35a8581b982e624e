"""The fifteen maps between matrices over n points: mixed first, beside stacked first.

The usual way computes all fifteen maps of the input, n x n each, and mixes the stack by one einsum;
a matrix product of the same stack is its fastest form. The layer mixes the channels of what the
maps share, and repeats afterwards. 32 channels in and out, a batch of 8. Times are taken in
float32; the variants are compared in float64, gradients included.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.cases import Call, Case, beside_cpu, compared
from gdl.graphs.tensors import TensorLinear

FORWARD = "15 maps, 32 -> 32 channels, n x n, batch 8"
BACKWARD = "15 maps, forward and backward, n x n"
SIZES = {FORWARD: (16, 32, 64), BACKWARD: (16, 32, 64)}
PACKAGES = {"stack + einsum": "torch", "stack + matmul": "torch"}
BATCH, CHANNELS = 8, 32


def stacked(x: Tensor) -> Tensor:
    """The fifteen maps of x (B, C, n, n) in the order of the weights, (B, C, 15, n, n)."""
    rows, columns, total = x.sum(3), x.sum(2), x.sum((2, 3))
    diagonal = x.diagonal(dim1=2, dim2=3)
    trace = diagonal.sum(2)

    def everywhere(v: Tensor) -> Tensor:
        return v[:, :, None, None].expand_as(x)

    def along_rows(v: Tensor) -> Tensor:
        return v[:, :, :, None].expand_as(x)

    def along_columns(v: Tensor) -> Tensor:
        return v[:, :, None, :].expand_as(x)

    def on_diagonal(v: Tensor) -> Tensor:
        return torch.diag_embed(v)

    def repeated(v: Tensor) -> Tensor:
        return v[:, :, None].expand_as(diagonal)

    maps = [
        on_diagonal(diagonal), on_diagonal(rows), on_diagonal(columns),
        on_diagonal(repeated(trace)), on_diagonal(repeated(total)),
        along_rows(diagonal), x, along_rows(rows), x.mT, along_columns(diagonal),
        along_columns(rows), along_rows(columns), along_columns(columns),
        everywhere(trace), everywhere(total),
    ]  # fmt: skip
    return torch.stack(maps, dim=2)


def by_einsum(weight: Tensor, stack: Tensor) -> Tensor:
    return torch.einsum("mdc,bcmij->bdij", weight, stack)


def by_matmul(weight: Tensor, stack: Tensor) -> Tensor:
    matrix = weight.permute(1, 2, 0).flatten(1)
    return (matrix @ stack.flatten(3).flatten(1, 2)).unflatten(2, stack.shape[-2:])


def usual(layer: TensorLinear, x: Tensor, mix: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What the layer computes, the usual way."""
    on_diagonal, everywhere = layer.bias[:, :, None, None]
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return mix(layer.weight, stacked(x)) + (everywhere + on_diagonal * eye)


def made(n: int, dtype: torch.dtype, device: str) -> tuple[TensorLinear, Tensor]:
    torch.manual_seed(0)
    layer = TensorLinear(2, 2, CHANNELS, CHANNELS, dtype=torch.float64)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(BATCH, CHANNELS, n, n, dtype=torch.float64)
    return layer.to(device, dtype), x.to(device, dtype).requires_grad_()


def case(task: str, n: int, device: str = "cpu") -> Case:
    def calls(dtype: torch.dtype, device: str) -> dict[str, Call]:
        layer, x = made(n, dtype, device)
        runs = {
            "stack + einsum": lambda: usual(layer, x, by_einsum),
            "stack + matmul": lambda: usual(layer, x, by_matmul),
            "TensorLinear": lambda: layer(x),
        }
        return compared(runs, [x, layer.weight, layer.bias] if task == BACKWARD else None)

    return Case(task, n, n**2, calls(torch.float32, device), lambda: beside_cpu(calls, device))
