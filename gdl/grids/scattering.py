"""Morlet wavelets that form a Parseval frame, and the scattering transform (Mallat 2012)."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

import gdl.grids._checks as check

# A Gaussian exp(-u^2 / (2 sigma^2)) has half of its power at u = sigma * HALF_POWER.
HALF_POWER = math.sqrt(math.log(2))


def morlet_bank(
    size: int | tuple[int, ...], scales: int, *, angles: int = 8, per_octave: int = 1
) -> tuple[Tensor, Tensor]:
    r"""Fourier transforms of a bank of Morlet wavelets and of its low-pass filter.

    A Morlet wavelet is a Gaussian in frequency around xi, minus a Gaussian around 0 that makes its
    mean zero: psi^(w) = g(w - xi) - (g(-xi) / g(0)) g(w). Wavelet number l of the bank has
    |xi| = (3 pi / 4) 2^(-l / per_octave); radially and in angle neighbouring wavelets meet at half
    of their power. The low-pass phi is a Gaussian of half amplitude at pi / 2^scales.

    A real signal has |x^(-w)| = |x^(w)|, so half of the plane of frequencies, angles in [0, pi), is
    enough. Every filter is divided by the square root of the Littlewood-Paley sum, which makes

        |phi^(w)|^2 + 1/2 sum_l (|psi_l^(w)|^2 + |psi_l^(-w)|^2) = 1    at every frequency w,

    a Parseval frame: the wavelet transform of a real signal preserves its norm exactly.

    Args:
        size: n or (n,) for signals, (h, w) for images; at least 2^scales.
        scales: octaves J.
        angles: directions L of the image wavelets, pi l / L from the column axis towards the row
            axis; not used for signals.
        per_octave: wavelets Q in each octave.

    Returns:
        psi, (J Q, L, h, w) or (J Q, n), and phi, of shape size: real, float64, periodic in
        frequency, in the order of torch.fft.fftn.

    Raises:
        TypeError: a count that is no int.
        ValueError: a count below 1, fewer than 2 angles, a size of more than two axes or of fewer
            than 2^scales points.

    Laws: the Littlewood-Paley sum is 1 at every frequency; a quarter turn of the grid turns the
    bank by a quarter.
    Sources: Mallat 2012, section 2.1; Bruna and Mallat 2013, section 2.
    Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> psi, phi = morlet_bank(32, 3)
    >>> psi.shape, float(phi[0])
    (torch.Size([3, 32]), 1.0)
    """
    size = check.size_tuple("size", size)
    check.positive_int("scales", scales)
    if check.positive_int("angles", angles) < 2:
        raise ValueError(f"angles: expected at least 2 directions, got {angles}")
    check.positive_int("per_octave", per_octave)
    if min(size) < 2**scales:
        raise ValueError(f"size: expected at least 2^scales = {2**scales} points, got {size}")
    grid = _periods_of_frequencies(size)
    directions = [math.pi * k / angles for k in range(angles)] if len(size) == 2 else [0.0]
    ratio = 2 ** (1 / per_octave)
    centres = [0.75 * math.pi / ratio**k for k in range(scales * per_octave)]
    psi = torch.stack(
        [
            torch.stack([_morlet(grid, centre, ratio, angle, angles) for angle in directions])
            for centre in centres
        ]
    )
    width = math.pi / 2**scales / math.sqrt(2 * math.log(2))
    phi = torch.exp(-(grid**2).sum(0) / (2 * width**2)).sum(0)
    axes = tuple(range(-len(size), 0))
    power = (psi**2).sum((0, 1))
    # w -> -w is index k -> -k modulo n: a flip, then a shift that puts frequency 0 back.
    mirrored = torch.roll(power.flip(axes), (1,) * len(size), axes)
    root = (phi**2 + (power + mirrored) / 2).sqrt()
    psi = psi / root
    return (psi if len(size) == 2 else psi.squeeze(1)), phi / root


def _periods_of_frequencies(size: tuple[int, ...]) -> Tensor:
    """Angular frequencies (y, x) with their aliases, shape (dims, 3^dims, *size)."""
    axes = [2 * math.pi * torch.fft.fftfreq(n, dtype=torch.float64) for n in size]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    turns = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=len(size))))
    turns = 2 * math.pi * turns.to(grid).T
    return grid.unsqueeze(1) + turns.reshape(*turns.shape, *[1] * len(size))


def _morlet(grid: Tensor, centre: float, ratio: float, angle: float, angles: int) -> Tensor:
    """One wavelet of amplitude about sqrt(2), since a real signal sees half of its power."""
    radial = centre * (ratio - 1) / (ratio + 1) / HALF_POWER
    if len(grid) == 1:
        along, across = grid[0], torch.zeros_like(grid[0])
    else:
        along = math.sin(angle) * grid[0] + math.cos(angle) * grid[1]
        across = math.cos(angle) * grid[0] - math.sin(angle) * grid[1]
    tangential = centre * math.tan(math.pi / (2 * angles)) / HALF_POWER

    def gauss(middle: float) -> Tensor:
        squares = ((along - middle) / radial) ** 2 + (across / tangential) ** 2
        return torch.exp(-squares / 2).sum(0)

    bump, envelope = gauss(centre), gauss(0.0)
    origin = (0,) * bump.ndim
    return math.sqrt(2) * (bump - bump[origin] / envelope[origin] * envelope)


def wavelet_transform(x: Tensor, psi: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
    r"""The periodic wavelet transform W x = (x * phi, x * psi_l for all l).

    Args:
        x: (..., *size), real.
        psi, phi: filters in frequency, (*bank, *size) and (*size), as ``morlet_bank`` returns them.

    Returns:
        low, (..., *size), real, and high, (..., *bank, *size), complex.

    Raises:
        TypeError: x is no real floating-point tensor.
        ValueError: x is empty, or x, psi and phi differ in size.

    Laws: |x|^2 = |low|^2 + |high|^2 for a whole bank; commutes with every shift.
    Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> low, high = wavelet_transform(torch.eye(8).double(), *morlet_bank(8, 2))
    >>> torch.allclose(low.square().sum() + high.abs().square().sum(), torch.tensor(8.0).double())
    True
    """
    check.real_tensor("x", x)
    check.not_empty("x", x)
    dims = phi.ndim
    if x.shape[-dims:] != phi.shape or psi.shape[-dims:] != phi.shape:
        raise ValueError(
            f"x: expected fields of size {tuple(phi.shape)}, got x of shape {tuple(x.shape)} "
            f"and psi of shape {tuple(psi.shape)}"
        )
    axes = tuple(range(-dims, 0))
    spectrum = torch.fft.fftn(x.to(phi.dtype), dim=axes)
    low = torch.fft.ifftn(spectrum * phi, dim=axes).real
    aligned = spectrum.reshape(*x.shape[:-dims], *[1] * (psi.ndim - dims), *phi.shape)
    return low, torch.fft.ifftn(aligned * psi, dim=axes)


class Scattering(nn.Module):
    r"""The scattering transform: wavelet moduli in cascade, averaged at the scale 2^J.

    S_0 x = x * phi,  S_1 x = |x * psi_l| * phi,  S_2 x = ||x * psi_l| * psi_m| * phi for m coarser
    than l; the energy of the other pairs is negligible. Nothing is learned.

    Args:
        size: n or (n,) for signals, (h, w) for images.
        scales, angles, per_octave: the bank, see ``morlet_bank``.
        order: 0, 1 or 2.
        stride: of the output samples, default 2^scales; it must divide the size.
        device, dtype: of the filters, in which the transform is computed.

    Attributes:
        paths: for each output channel the wavelets on its way, each (index of scale, of angle).

    Raises:
        TypeError: a count that is no int; when called, an x that is no real tensor.
        ValueError: order, stride or a number of the bank out of range; when called, an x that is
            empty or of another size.

    Laws: |S x - S y| <= |x - y|; the moduli commute with every shift; the output changes ever less
    under a shift as J grows, and by at most a constant times the dilation under a dilation.
    Sources: Mallat 2012, theorems 2.10 and 2.12; Bruna and Mallat 2013.
    Derived in the chapters "one_equation" and "grids".

    Chapter: ``grids``.

    >>> Scattering((16, 16), scales=2, angles=4)(torch.zeros(5, 1, 16, 16)).shape
    torch.Size([5, 1, 25, 4, 4])
    """

    def __init__(
        self,
        size: int | tuple[int, ...],
        scales: int,
        *,
        angles: int = 8,
        per_octave: int = 1,
        order: int = 2,
        stride: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check.one_of("order", order, (0, 1, 2))
        psi, phi = morlet_bank(size, scales, angles=angles, per_octave=per_octave)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        self.stride = check.positive_int("stride", 2**scales if stride is None else stride)
        check.divisible("size", phi, phi.ndim, self.stride)
        psi = psi.unflatten(0, (len(psi), 1)) if phi.ndim == 1 else psi
        self.register_buffer("psi", psi.to(device=device, dtype=dtype))
        self.register_buffer("phi", phi.to(device=device, dtype=dtype))
        self.order = order
        wavelets = list(itertools.product(range(len(psi)), range(psi.shape[1])))
        pairs = [(a, b) for a in wavelets for b in wavelets if b[0] > a[0]]
        self.paths = [(), *[(a,) for a in wavelets], *pairs]
        self.paths = [path for path in self.paths if len(path) <= order]

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., *size) to (..., paths, *size / stride)."""
        dims = self.phi.ndim
        low, high = wavelet_transform(x, self.psi, self.phi)
        outputs = [self._sample(low).unsqueeze(-dims - 1)]
        if self.order >= 1:
            first = high.abs()
            outputs.append(self._average(first).flatten(-dims - 2, -dims - 1))
        if self.order == 2:
            for scale in range(len(self.psi) - 1):
                fields = first.select(-dims - 2, scale)
                second = wavelet_transform(fields, self.psi[scale + 1 :], self.phi)[1].abs()
                outputs.append(self._average(second).flatten(-dims - 3, -dims - 1))
        return torch.cat(outputs, -dims - 1)

    def _average(self, fields: Tensor) -> Tensor:
        axes = tuple(range(-self.phi.ndim, 0))
        spectrum = torch.fft.fftn(fields, dim=axes)
        return self._sample(torch.fft.ifftn(spectrum * self.phi, dim=axes).real)

    def _sample(self, fields: Tensor) -> Tensor:
        return fields[(..., *[slice(None, None, self.stride)] * self.phi.ndim)]
