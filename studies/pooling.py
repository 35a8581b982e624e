"""How far pooling by two is from moving its output by half a pixel; the seed draws the noise.

The table of pooling layers of the chapter "grids", over three seeds, in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gdl.grids import BlurPool, fractional_shift, shift
from studies._runner import Measurements, run

POOLS = {
    "stride": BlurPool(1, dims=1).double(),
    "max": nn.MaxPool1d(2),
    "average": nn.AvgPool1d(2),
    "blur 3": BlurPool(3, dims=1).double(),
    "blur 5": BlurPool(5, dims=1).double(),
}


def half_pixel_error(pool: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """The error relative to the variation of the output, since no shift moves a constant."""
    expected = fractional_shift(0.5, pool(x))
    variation = (expected - expected.mean()).norm()
    return float((pool(shift(1, x)) - expected).norm() / variation)


def measure(seed: int) -> Measurements:
    """The error on white noise, and on noise damped by a Gaussian in frequency."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(200, 1, 64, generator=generator, dtype=torch.float64)
    damping = torch.exp(-(torch.arange(33, dtype=torch.float64) ** 2) / 128)
    smooth = torch.fft.irfft(torch.fft.rfft(white) * damping, n=64)
    for variant, pool in POOLS.items():
        yield variant, "half-pixel error, white noise", half_pixel_error(pool, white)
        yield variant, "half-pixel error, smooth", half_pixel_error(pool, smooth)


if __name__ == "__main__":
    run("pooling", measure)
