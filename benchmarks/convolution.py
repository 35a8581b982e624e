"""CircularConv against torch's own convolution with circular padding, and against torch.fft.

Times are taken in float32; the variants are compared in float64, gradients included.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.cases import Case, disagreement
from gdl.grids import CircularConv

FORWARD = "forward, 3 x 3 kernel, n x n image"
BACKWARD = "forward and backward, 3 x 3 kernel, n x n image"
KERNEL = "forward, n x n kernel, 64 x 64 image"
SIZES = {FORWARD: (16, 32, 64, 128), BACKWARD: (16, 32, 64, 128), KERNEL: (3, 7, 15, 31)}
BATCH, CHANNELS, SIDE = 4, 8, 64


def torch_conv(layer: CircularConv, x: Tensor) -> Tensor:
    """What the layer computes, with torch's convolution."""
    left = layer.kernel_size[0] // 2
    padded = F.pad(x, [left] * 4, mode="circular")
    return F.conv2d(padded, layer.weight, layer.bias)


def torch_fft(layer: CircularConv, x: Tensor) -> Tensor:
    """What the layer computes, by the convolution theorem with the kernel on the whole grid."""
    side, taps = x.shape[-1], layer.kernel_size[0]
    on_grid = F.pad(layer.weight, [0, side - taps] * 2).roll([-(taps // 2)] * 2, (-2, -1))
    spectrum, response = torch.fft.rfft2(x), torch.fft.rfft2(on_grid).conj()
    y = torch.fft.irfft2(torch.einsum("nihw,oihw->nohw", spectrum, response), s=x.shape[-2:])
    return y + layer.bias[:, None, None]


def implementations(
    taps: int, dtype: torch.dtype, device: str = "cpu"
) -> tuple[CircularConv, dict[str, Callable]]:
    """A layer, and maps of images that share its weights; torch's convolution first."""
    torch.manual_seed(0)
    layer, fourier = (
        CircularConv(CHANNELS, CHANNELS, taps, method=method, dtype=dtype, device=device)
        for method in ("direct", "fft")
    )
    fourier.weight, fourier.bias = layer.weight, layer.bias
    return layer, {
        "F.conv2d, circular padding": lambda x: torch_conv(layer, x),
        "CircularConv, direct": layer,
        "CircularConv, fft": fourier,
        "torch.fft": lambda x: torch_fft(layer, x),
    }


def images(side: int, dtype: torch.dtype, device: str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, CHANNELS, side, side, generator=generator, dtype=dtype)
    return x.to(device).requires_grad_()


def forward(f: Callable[[Tensor], Tensor], x: Tensor, layer: CircularConv) -> list[Tensor]:
    with torch.no_grad():
        return [f(x)]


def backward(f: Callable[[Tensor], Tensor], x: Tensor, layer: CircularConv) -> list[Tensor]:
    """Gradients of the squared output with respect to the input and the weights."""
    return list(torch.autograd.grad(f(x).square().sum(), [x, layer.weight, layer.bias]))


def case(task: str, n: int, device: str = "cpu") -> Case:
    side, taps = (SIDE, n) if task == KERNEL else (n, 3)
    compute = backward if task == BACKWARD else forward

    def calls(dtype: torch.dtype) -> dict[str, Callable[[], list[Tensor]]]:
        x = images(side, dtype, device)
        layer, variants = implementations(taps, dtype, device)
        return {name: lambda f=f: compute(f, x, layer) for name, f in variants.items()}

    work = taps**2 if task == KERNEL else side**2
    return Case(task, n, work, calls(torch.float32), lambda: disagreement(calls(torch.float64)))
