"""The layer of deep sets beside two linear layers and a mean: 8 sets of n elements, 64 channels.

The mean is the aggregation. The layer checks what it gets; two linear layers of torch do not. The
backward pass is that of the elements and of all weights. Times are taken in float32; the variants
are compared in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.cases import Call, Case, beside_cpu, compared
from gdl.graphs.sets import DeepSetLayer

FORWARD = "deep sets, forward, n elements"
BACKWARD = "deep sets, forward and backward, n elements"
SIZES = dict.fromkeys((FORWARD, BACKWARD), (50, 500, 5000))
USUAL = "two Linear + mean"
PACKAGES = {USUAL: "torch"}
BATCH, CHANNELS = 8, 64


def usual(layer: DeepSetLayer, x: Tensor) -> Tensor:
    """What the layer computes, by its own two linear layers of torch."""
    return layer.own(x) + layer.whole(x.mean(-2, keepdim=True))


def made(n: int, dtype: torch.dtype, device: str) -> tuple[DeepSetLayer, Tensor]:
    torch.manual_seed(0)
    layer = DeepSetLayer(CHANNELS, CHANNELS, aggregation="mean", dtype=torch.float64)
    x = torch.randn(BATCH, n, CHANNELS, dtype=torch.float64)
    return layer.to(device, dtype), x.to(device, dtype).requires_grad_()


def case(task: str, n: int, device: str = "cpu") -> Case:
    def calls(dtype: torch.dtype, device: str) -> dict[str, Call]:
        layer, x = made(n, dtype, device)
        runs = {USUAL: lambda: usual(layer, x), "DeepSetLayer": lambda: layer(x)}
        return compared(runs, [x, *layer.parameters()] if task == BACKWARD else None)

    return Case(task, n, n, calls(torch.float32, device), lambda: beside_cpu(calls, device))
