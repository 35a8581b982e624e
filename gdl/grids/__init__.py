"""Grids: shifts, convolution, sampling, networks and scattering; the room of chapter "grids"."""

from gdl.grids.circulants import (
    as_matrix,
    circulant,
    dft_matrix,
    fractional_shift,
    shift,
)
from gdl.grids.convolution import (
    CircularConv,
    LocallyConnected2d,
    circular_conv,
    circular_pad,
)
from gdl.grids.networks import ResidualBlock, UNet, UNetBlock, cnn, maximise
from gdl.grids.sampling import BlurPool, PolyphaseDownsample, PolyphaseUpsample, binomial_filter
from gdl.grids.scattering import Scattering, morlet_bank, wavelet_transform

__all__ = [
    "BlurPool",
    "CircularConv",
    "LocallyConnected2d",
    "PolyphaseDownsample",
    "PolyphaseUpsample",
    "ResidualBlock",
    "Scattering",
    "UNet",
    "UNetBlock",
    "as_matrix",
    "binomial_filter",
    "circulant",
    "circular_conv",
    "circular_pad",
    "cnn",
    "dft_matrix",
    "fractional_shift",
    "maximise",
    "morlet_bank",
    "shift",
    "wavelet_transform",
]
