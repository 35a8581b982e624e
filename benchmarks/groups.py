"""GroupConv2d against torch's convolution of the expanded size, which is the limit.

16 fields of p4 in and out, 64 channels each, 28 x 28 pixels. Times are taken in float32; outputs
and gradients of the input are compared in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.cases import Call, Case, beside_cpu, with_gradients, without_gradients
from gdl.groups import GroupConv2d
from gdl.representations import cyclic

PACKAGES = {"F.conv2d, expanded size": "torch"}
FIELDS, SIDE = 16, 28
TRAIN = "p4, forward and backward, {} x {} kernel, n images"
EVAL = "p4, forward in eval mode, {} x {} kernel, n images"
SIZES = {text.format(taps, taps): (1, 8, 64) for text in (TRAIN, EVAL) for taps in (3, 5)}


def implementations(taps: int, dtype: torch.dtype, device: str) -> dict[str, tuple]:
    """Torch's convolution first, with weights of its own of the same values; then the layer."""
    torch.manual_seed(0)
    layer = GroupConv2d(FIELDS, FIELDS, taps, cyclic(4), padding=taps // 2, dtype=dtype).to(device)
    plain = layer.to_conv2d()

    def expanded(x: Tensor) -> Tensor:
        return F.conv2d(x, plain.weight, plain.bias, padding=taps // 2)

    return {
        "F.conv2d, expanded size": (expanded, list(plain.parameters()), plain),
        "GroupConv2d": (layer, list(layer.parameters()), layer),
    }


def case(task: str, n: int, device: str = "cpu") -> Case:
    taps = 5 if "5 x 5" in task else 3
    trains = "backward" in task

    def compute(f: Callable[[Tensor], Tensor], weights: list[Tensor], x: Tensor) -> Call:
        run = partial(f, x)
        return with_gradients(run, [x, *weights], shown=1) if trains else without_gradients(run)

    def calls(dtype: torch.dtype, device: str) -> dict[str, Call]:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(n, 4 * FIELDS, SIDE, SIDE, generator=generator, dtype=dtype)
        x = x.to(device).requires_grad_()
        found = implementations(taps, dtype, device)
        for _, _, module in found.values():
            module.train(trains)
        return {name: compute(f, weights, x) for name, (f, weights, _) in found.items()}

    return Case(task, n, n, calls(torch.float32, device), lambda: beside_cpu(calls, device))
