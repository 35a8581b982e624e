"""Attention of n tokens with themselves beside torch's: 128 channels in 8 heads, a batch of 4.

All have the same weights, without masks or dropout. torch.nn.MultiheadAttention is asked for no
weights of attention and is in eval mode, so that it may take its fast path. Written out, it is two
linear maps around F.scaled_dot_product_attention. The backward pass is that of the tokens and of
all weights. Times are taken in float32; the variants are compared in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.cases import Call, Case, beside_cpu, with_gradients, without_gradients
from gdl.attention import MultiHeadAttention

FORWARD = "attention, forward, n tokens"
BACKWARD = "attention, forward and backward, n tokens"
SIZES = dict.fromkeys((FORWARD, BACKWARD), (32, 128, 512))
MODULE, WRITTEN = "torch.nn.MultiheadAttention", "F.scaled_dot_product_attention"
PACKAGES = dict.fromkeys((MODULE, WRITTEN), "torch")
BATCH, CHANNELS, HEADS = 4, 128, 8


def by_module(module: nn.MultiheadAttention, x: Tensor) -> Tensor:
    return module(x, x, x, need_weights=False)[0]


def written_out(module: nn.MultiheadAttention, x: Tensor) -> Tensor:
    parts = F.linear(x, module.in_proj_weight, module.in_proj_bias).chunk(3, -1)
    heads = (part.unflatten(-1, (HEADS, -1)).transpose(-3, -2) for part in parts)
    joined = F.scaled_dot_product_attention(*heads).transpose(-3, -2).flatten(-2)
    return module.out_proj(joined)


def layers(
    dtype: torch.dtype, device: str
) -> dict[str, tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]]:
    """Modules with the same weights, torch's first, and how they are called."""
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(CHANNELS, HEADS, batch_first=True, dtype=torch.float64).eval()
    for bias in (theirs.in_proj_bias, theirs.out_proj.bias):
        nn.init.normal_(bias)
    ours = MultiHeadAttention(CHANNELS, HEADS, dtype=torch.float64).eval()
    ours.load_state_dict(theirs.state_dict())
    theirs, ours = theirs.to(device, dtype), ours.to(device, dtype)
    return {
        MODULE: (theirs, by_module),
        WRITTEN: (theirs, written_out),
        "MultiHeadAttention": (ours, MultiHeadAttention.forward),
    }


def case(task: str, n: int, device: str = "cpu") -> Case:
    def call_of(module: nn.Module, run: Callable, x: Tensor) -> Call:
        value = partial(run, module, x)
        if task == FORWARD:
            return without_gradients(value)
        return with_gradients(value, [x, *(p for _, p in sorted(module.named_parameters()))])

    def calls(dtype: torch.dtype, device: str) -> dict[str, Call]:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(BATCH, n, CHANNELS, generator=generator, dtype=torch.float64)
        x = x.to(device, dtype).requires_grad_()
        return {name: call_of(*made, x) for name, made in layers(dtype, device).items()}

    return Case(task, n, n, calls(torch.float32, device), lambda: beside_cpu(calls, device))
