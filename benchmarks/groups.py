"""GroupConv2d against torch's convolution of the expanded size, which is the limit.

16 fields of p4 in and out, 64 channels each, 28 x 28 pixels. Times are taken in float32; outputs
and gradients of the input are compared in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.cases import Case, disagreement
from gdl.groups import GroupConv2d
from gdl.representations import cyclic

FIELDS, SIDE = 16, 28
TRAIN = "p4, forward and backward, {} x {} kernel, n images"
EVAL = "p4, forward in eval mode, {} x {} kernel, n images"
SIZES = {text.format(taps, taps): (1, 8, 64) for text in (TRAIN, EVAL) for taps in (3, 5)}


def implementations(taps: int, dtype: torch.dtype, device: str) -> dict[str, tuple]:
    """Torch's convolution first, with weights of its own of the same values; then the layer."""
    torch.manual_seed(0)
    options = {"padding": taps // 2, "dtype": dtype, "device": device}
    layer = GroupConv2d(FIELDS, FIELDS, taps, cyclic(4), **options)
    plain = layer.to_conv2d()

    def expanded(x: Tensor) -> Tensor:
        return F.conv2d(x, plain.weight, plain.bias, padding=taps // 2)

    return {
        "F.conv2d, expanded size": (expanded, list(plain.parameters()), plain),
        "GroupConv2d": (layer, list(layer.parameters()), layer),
    }


def training(f: Callable[[Tensor], Tensor], parameters: list, x: Tensor) -> list[Tensor]:
    """Gradients of the squared output; those of the weights are computed, and have two shapes."""
    y = f(x)
    return [y.detach(), torch.autograd.grad(y.square().sum(), [x, *parameters])[0]]


def inference(f: Callable[[Tensor], Tensor], parameters: list, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [f(x)]


def case(task: str, n: int, device: str = "cpu") -> Case:
    taps = 5 if "5 x 5" in task else 3
    trains = "backward" in task
    compute = training if trains else inference

    def calls(dtype: torch.dtype) -> dict[str, Callable[[], list[Tensor]]]:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(n, 4 * FIELDS, SIDE, SIDE, generator=generator, dtype=dtype)
        x = x.to(device).requires_grad_()
        found = implementations(taps, dtype, device)
        for _, _, module in found.values():
            module.train(trains)
        return {
            name: lambda f=f, p=p: compute(f, p, x) for name, (f, p, _) in found.items()
        }

    return Case(task, n, n, calls(torch.float32), lambda: disagreement(calls(torch.float64)))
