"""Wavelets and scattering of the room "grids": the frame identity and what follows from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gdl.grids import Scattering, fractional_shift, morlet_bank, shift, wavelet_transform

banks = pytest.mark.parametrize(
    ("size", "scales", "angles", "per_octave"),
    [
        ((64,), 4, 2, 1),
        ((65,), 3, 2, 4),
        ((16, 16), 2, 4, 1),
        ((32, 20), 3, 8, 1),
        ((17, 24), 2, 3, 2),
    ],
)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@banks
def test_the_bank_is_a_parseval_frame(size, scales, angles, per_octave):
    psi, phi = morlet_bank(size, scales, angles=angles, per_octave=per_octave)
    lead = (scales * per_octave,) if len(size) == 1 else (scales * per_octave, angles)
    assert psi.shape == (*lead, *size) and phi.shape == size
    power = (psi**2).reshape(-1, *size).sum(0).numpy()
    index = np.ix_(*[(-np.arange(n)) % n for n in size])
    total = phi.numpy() ** 2 + (power + power[index]) / 2
    assert np.abs(total - 1).max() < 1e-14
    assert psi.reshape(math.prod(lead), -1)[:, 0].abs().max() == 0
    assert phi.flatten()[0] == 1 and phi.min() >= 0
    x = randn(3, *size)
    low, high = wavelet_transform(x, psi, phi)
    assert not low.is_complex() and high.shape == (3, *lead, *size)
    energy = low.square().sum() + high.abs().square().sum()
    assert abs(energy / x.square().sum() - 1) < 1e-14


def test_centres_and_widths_of_the_wavelets():
    psi, phi = morlet_bank(1024, 4, per_octave=2)
    omega = 2 * math.pi * torch.fft.fftfreq(1024, dtype=torch.float64)
    peaks = omega[psi.argmax(1)] / (0.75 * math.pi)
    # Dividing by the frame's sum moves a peak by a few per cent, and the first one, which has no
    # finer neighbour, towards the end of the band.
    assert 1 < peaks[0] < 4 / 3
    assert (peaks[1:] * 2 ** (torch.arange(1, 8) / 2) - 1).abs().max() < 0.05
    crossings = [psi[k] - psi[k + 1] for k in range(1, 7)]
    for k, difference in enumerate(crossings, start=1):
        between = (omega < omega[psi[k].argmax()]) & (omega > omega[psi[k + 1].argmax()])
        meeting = psi[k][between][difference[between].abs().argmin()]
        # Two neighbours share the whole power where they meet, |psi|^2 / 2 = 1 / 2 each.
        assert abs(meeting**2 / 2 - 0.5) < 0.05
    assert 0.4 < phi[(omega - math.pi / 16).abs().argmin()] < 0.6
    assert phi[omega.abs() > math.pi / 4].max() < 1e-4


def test_neighbouring_wavelets_overlap_as_their_widths_say():
    psi, _ = morlet_bank((64, 64), 2, angles=4)
    # Point 12 of 64 is the centre 3 pi / 8 of the coarser wavelets. A power of one half at the
    # distance w gives the amplitude 2^(-(d / w)^2 / 2) at the distance d; w is a third of the
    # centre along the wavelet, and tan(pi / 8) of it across. Ratios do not see the normalisation.
    here = psi[:, :, 0, 12]
    across = (math.sin(math.pi / 4) / math.tan(math.pi / 8)) ** 2
    along = math.cos(math.pi / 4)
    mean = 2**-4.5
    own = 1 - mean**2
    finer = 2 ** (-(1.5**2) / 2) * (1 - mean)
    turned = 2 ** (-((3 - 3 * along) ** 2 + across) / 2)
    turned -= mean * 2 ** (-((3 * along) ** 2 + across) / 2)
    assert abs(here[0, 0] / here[1, 0] - finer / own) < 1e-4
    assert abs(here[1, 1] / here[1, 0] - turned / own) < 1e-4


@pytest.mark.parametrize("angles", [4, 6])
def test_direction_of_the_image_wavelets(angles):
    psi, _ = morlet_bank((64, 64), 2, angles=angles)
    omega = 2 * math.pi * torch.fft.fftfreq(64, dtype=torch.float64)
    for number in range(angles):
        weight = psi[1, number] ** 2
        row = (weight.sum(1) * omega).sum() / weight.sum()
        column = (weight.sum(0) * omega).sum() / weight.sum()
        turn = math.atan2(row, column) - math.pi * number / angles
        assert abs(math.remainder(turn, 2 * math.pi)) < 0.02


def test_a_quarter_turn_of_the_grid_turns_the_bank():
    psi, phi = morlet_bank((15, 15), 2, angles=4)

    def turn(f: torch.Tensor) -> torch.Tensor:
        # (row, column) -> (column, -row), frequency 0 staying in place.
        return f.transpose(-1, -2).flip(-2).roll(1, -2)

    assert (turn(phi) - phi).abs().max() < 1e-12
    mirrored = psi.flip((-1, -2)).roll((1, 1), (-1, -2))
    expected = torch.cat([mirrored[:, 2:], psi[:, :2]], 1)
    assert (turn(psi) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("size", [(64,), (16, 16)])
def test_energy_moves_down_the_cascade_and_none_is_lost(size):
    psi, phi = morlet_bank(size, 2, angles=4)
    x = randn(2, *size)
    axes = tuple(range(1, x.ndim))
    low0, high = wavelet_transform(x, psi, phi)
    first = high.abs()
    low1, high = wavelet_transform(first, psi, phi)
    rest = high.abs().square().flatten(1).sum(1)
    kept = low0.square().sum(axes) + low1.square().flatten(1).sum(1)
    assert ((kept + rest) / x.square().sum(axes) - 1).abs().max() < 1e-13
    coarser = Scattering(size, 2, angles=4, stride=1, dtype=torch.float64)(x)
    energy = coarser.square().flatten(1).sum(1)
    assert (kept < energy).all() and (energy < kept + rest).all()


@pytest.mark.parametrize(("size", "per_octave"), [((32,), 1), ((32,), 2), ((16, 16), 1)])
def test_channels_are_the_paths(size, per_octave):
    net = Scattering(size, 2, angles=3, per_octave=per_octave, stride=1, dtype=torch.float64)
    psi, phi = morlet_bank(size, 2, angles=3, per_octave=per_octave)
    psi = psi if len(size) == 2 else psi[:, None]
    axes = tuple(range(1, len(size) + 1))
    x = randn(2, *size)
    y = net(x)
    assert y.shape == (2, len(net.paths), *size)
    for channel, path in enumerate(net.paths):
        u = x
        for scale, angle in path:
            u = torch.fft.ifftn(torch.fft.fftn(u, dim=axes) * psi[scale, angle], dim=axes).abs()
        expected = torch.fft.ifftn(torch.fft.fftn(u, dim=axes) * phi, dim=axes).real
        assert (y[:, channel] - expected).abs().max() < 1e-13
    scales = [[scale for scale, _ in path] for path in net.paths]
    assert all(path == sorted(set(path)) for path in scales)


def test_counts_orders_and_strides():
    for order, paths in [(0, 1), (1, 1 + 12), (2, 1 + 12 + 3 * 16)]:
        net = Scattering((16, 16), 3, angles=4, order=order, stride=4)
        assert net(torch.zeros(2, 1, 16, 16)).shape == (2, 1, paths, 4, 4)
        assert len(net.paths) == paths
    assert len(Scattering((16, 16), 2).paths) == 1 + 2 * 8 + 8 * 8
    x = randn(1, 16, 16, dtype=torch.float32)
    fine, coarse = (Scattering((16, 16), 2, stride=s)(x) for s in (1, None))
    assert torch.equal(fine[..., ::4, ::4], coarse)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(32,), (16, 16)])
def test_scattering_commutes_with_shifts_and_does_not_expand(dtype, size):
    net = Scattering(size, 2, angles=4, stride=1, dtype=dtype)
    x, y = randn(3, *size, dtype=dtype), randn(3, *size, seed=1, dtype=dtype)
    g = (5,) * len(size)
    error = (net(shift(g, x)) - shift(g, net(x))).norm() / net(x).norm()
    assert error < 20 * torch.finfo(dtype).eps
    for scale in (1e-3, 1.0):
        near = x + scale * y
        expansion = (net(x) - net(near)).flatten(1).norm(dim=1) / (x - near).flatten(1).norm(dim=1)
        assert (expansion < 1).all() and (expansion > 0).all()
    coarse = Scattering(size, 2, angles=4, dtype=dtype)
    assert (coarse(x) - coarse(y)).norm() < (x - y).norm()
    assert (coarse(shift((4,) * len(size), x)) - shift((1,) * len(size), coarse(x))).norm() < 1e-5


def test_invariance_grows_with_the_scale():
    x = randn(4, 256)
    changes = []
    for scales in (1, 2, 3, 4, 5, 6):
        net = Scattering(256, scales, stride=1, dtype=torch.float64)
        changes.append(((net(shift(1, x)) - net(x)).norm() / net(x).norm()).item())
    assert all(later < 0.75 * earlier for earlier, later in zip(changes, changes[1:], strict=False))


def gabor(t: torch.Tensor, frequency: float) -> torch.Tensor:
    return torch.exp(-(t**2) / 2) * torch.cos(frequency * t)


def test_stable_under_dilations_where_the_fourier_modulus_is_not():
    t = torch.linspace(-8, 8, 4097, dtype=torch.float64)[:-1]
    net = Scattering(4096, 10, stride=1, dtype=torch.float64)
    epsilon = 0.01
    fourier, scattering = [], []
    for frequency in (8.0, 32.0, 128.0):
        x, y = gabor(t, frequency), gabor((1 - epsilon) * t, frequency)
        spectra = torch.fft.fft(torch.stack([x, y]), norm="ortho").abs()
        fourier.append(((spectra[0] - spectra[1]).norm() / x.norm()).item())
        scattering.append(((net(x) - net(y)).norm() / x.norm()).item())
    assert fourier[2] > 8 * fourier[0]
    assert max(scattering) < 2.4 * epsilon


def test_smooth_fields_lie_in_the_low_pass():
    psi, phi = morlet_bank((32, 32), 2)
    ramp = torch.arange(32, dtype=torch.float64)
    x = torch.cos(2 * math.pi * ramp / 32)[:, None].expand(32, 32)
    low, high = wavelet_transform(x, psi, phi)
    assert (low - x).norm() < 0.1 * x.norm()
    moved = wavelet_transform(fractional_shift((0.5, 0.0), x), psi, phi)[0]
    assert (moved - fractional_shift((0.5, 0.0), low)).abs().max() < 1e-14


def test_scattering_in_use():
    net = Scattering((8, 8), 2, angles=2)
    other = Scattering((8, 8), 2, angles=4, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(net.state_dict())
    x = randn(2, 8, 8, dtype=torch.float32).requires_grad_()
    y = net(x)
    assert y.dtype == torch.float32 and not list(net.parameters())
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    assert (compiled(x) - y).abs().max() < 1e-6
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (net(x.bfloat16()) - y).abs().max() < 0.02
    net.double()
    assert torch.autograd.gradcheck(net, randn(1, 8, 8).requires_grad_())
    zeros = torch.zeros(1, 8, 8, dtype=torch.float64, requires_grad=True)
    net(zeros).sum().backward()
    assert torch.isfinite(zeros.grad).all()


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: morlet_bank((4, 4, 4), 1), ValueError, "size: expected 1 or 2 sizes"),
        (lambda: morlet_bank(0, 1), ValueError, "size: expected at least 1"),
        (lambda: morlet_bank((16, 7), 3), ValueError, r"size: expected at least 2\^scales = 8"),
        (lambda: morlet_bank(8, 0), ValueError, "scales"),
        (lambda: morlet_bank((8, 8), 2, angles=1), ValueError, "angles"),
        (lambda: morlet_bank(8, 2, per_octave=0), ValueError, "per_octave"),
        (lambda: Scattering(16, 2, order=3), ValueError, "order"),
        (lambda: Scattering(18, 2), ValueError, "size: expected sizes that are multiples of 4"),
        (lambda: Scattering(16, 2, stride=0), ValueError, "stride"),
        (lambda: Scattering(16, 2)(torch.zeros(2, 15)), ValueError, "x: expected fields of size"),
        (lambda: Scattering(16, 2)(torch.zeros(0, 16)), ValueError, "x: expected at least one"),
        (lambda: Scattering(16, 2)(torch.zeros(2, 16).long()), TypeError, "x: expected a real"),
    ],
)
def test_wrong_input_is_named(call, error, name):
    with pytest.raises(error, match=name):
        call()
