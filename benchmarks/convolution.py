"""CircularConv against torch's own convolution with circular padding, and against torch.fft.

In two dimensions kernels are small; on a circle of n points the kernel has n taps, so that each
pair of channels is a circulant matrix. 8 channels in and out, a batch of 4. Times are taken in
float32; the variants are compared in float64, gradients included.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.cases import Call, Case, beside_cpu, compared
from gdl.grids import CircularConv

FORWARD = "forward, 3 x 3 kernel, n x n image"
BACKWARD = "forward and backward, 3 x 3 kernel, n x n image"
KERNEL = "forward, n x n kernel, 64 x 64 image"
CIRCLE = "forward, circulant of n points"
CIRCLE_BACKWARD = "forward and backward, circulant of n points"
SIZES = {
    FORWARD: (16, 32, 64, 128),
    BACKWARD: (16, 32, 64, 128),
    KERNEL: (3, 7, 15, 31),
    CIRCLE: (31, 127, 511),
    CIRCLE_BACKWARD: (31, 127, 511),
}
PACKAGES = dict.fromkeys(
    ("F.conv1d, circular padding", "F.conv2d, circular padding", "torch.fft"), "torch"
)
BATCH, CHANNELS, SIDE = 4, 8, 64


def torch_conv(layer: CircularConv, x: Tensor) -> Tensor:
    """What the layer computes, with torch's convolution."""
    pads = [taps // 2 for taps in reversed(layer.kernel_size) for _ in range(2)]
    convolve = F.conv1d if x.ndim == 3 else F.conv2d
    return convolve(F.pad(x, pads, mode="circular"), layer.weight, layer.bias)


def torch_fft(layer: CircularConv, x: Tensor) -> Tensor:
    """What the layer computes, by the convolution theorem with the kernel on the whole grid."""
    size, taps = x.shape[2:], layer.kernel_size
    axes = tuple(range(-len(size), 0))
    missing = [n - k for n, k in zip(reversed(size), reversed(taps), strict=True)]
    on_grid = F.pad(layer.weight, [amount for m in missing for amount in (0, m)])
    centred = on_grid.roll([-(k // 2) for k in taps], axes)
    spectrum, response = (torch.fft.rfftn(f, dim=axes) for f in (x, centred))
    product = torch.einsum("ni...,oi...->no...", spectrum, response.conj())
    y = torch.fft.irfftn(product, s=size, dim=axes)
    return y + layer.bias.reshape(-1, *[1] * len(size))


def implementations(
    taps: int, dims: int, dtype: torch.dtype, device: str = "cpu"
) -> tuple[CircularConv, dict[str, Callable]]:
    """A layer, and maps of fields that share its weights; torch's convolution first."""
    torch.manual_seed(0)
    layer, fourier = (
        CircularConv(CHANNELS, CHANNELS, taps, dims=dims, method=method, dtype=dtype).to(device)
        for method in ("direct", "fft")
    )
    fourier.weight, fourier.bias = layer.weight, layer.bias
    return layer, {
        f"F.conv{dims}d, circular padding": lambda x: torch_conv(layer, x),
        "CircularConv, direct": layer,
        "CircularConv, fft": fourier,
        "torch.fft": lambda x: torch_fft(layer, x),
    }


def fields(size: tuple[int, ...], dtype: torch.dtype, device: str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, CHANNELS, *size, generator=generator, dtype=dtype)
    return x.to(device).requires_grad_()


def shape(task: str, n: int) -> tuple[tuple[int, ...], int, int]:
    """The size of the field, the taps along an axis, and the amount of work."""
    if task in (CIRCLE, CIRCLE_BACKWARD):
        return (n,), n, n
    return ((SIDE, SIDE), n, n**2) if task == KERNEL else ((n, n), 3, n**2)


def case(task: str, n: int, device: str = "cpu") -> Case:
    size, taps, work = shape(task, n)

    def calls(dtype: torch.dtype, device: str) -> dict[str, Call]:
        x = fields(size, dtype, device)
        layer, variants = implementations(taps, len(size), dtype, device)
        runs = {name: partial(f, x) for name, f in variants.items()}
        gradient = task in (BACKWARD, CIRCLE_BACKWARD)
        return compared(runs, [x, layer.weight, layer.bias] if gradient else None)

    return Case(task, n, work, calls(torch.float32, device), lambda: beside_cpu(calls, device))
