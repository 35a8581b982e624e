"""Conventions of images, convolutions and pictures that diffuse."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gdl import diffusion, grids
from gdl import representations as reps
from tests.conventions.common import TIGHT, J, N, close, convention, random


def dot(row: int, column: int) -> Tensor:
    image = torch.zeros(N, N, dtype=torch.float64)
    image[row, column] = 1.0
    return image


def where(image: Tensor) -> tuple[int, int]:
    row, column = divmod(int(image.argmax()), N)
    return row, column


def centred_xy(row: int, column: int) -> Tensor:
    return torch.tensor([column - N // 2, N // 2 - row], dtype=torch.float64)


def centred_row_column(row: int, column: int) -> Tensor:
    return torch.tensor([row - N // 2, column - N // 2], dtype=torch.float64)


# --- images -------------------------------------------------------------------------------------


@convention("Images", "Shifts")
def test_shifts_of_images():
    down, right = reps.translations(N, N + 1).generator(0), reps.translations(N, N + 1).generator(1)
    image, act = random(N, N + 1), reps.translations(N, N + 1).defining.act
    assert close(act(down, image.reshape(-1)), torch.roll(image, (1, 0), (0, 1)).reshape(-1))
    assert close(act(right, image.reshape(-1)), torch.roll(image, (0, 1), (0, 1)).reshape(-1))
    assert not close(act(down, image.reshape(-1)), torch.roll(image, (-1, 0), (0, 1)).reshape(-1))
    assert where(torch.roll(dot(1, 3), (1, 0), (0, 1))) == (2, 3)
    assert where(torch.roll(dot(1, 3), (0, 1), (0, 1))) == (1, 4)
    assert close(grids.shift((1, 2), image), torch.roll(image, (1, 2), (0, 1)))


@convention("Images", "Indices")
@convention("Images", "Rotations")
def test_rot90_is_counter_clockwise_for_the_reader():
    start, end = (0, 3), where(torch.rot90(dot(0, 3)))
    assert close(centred_xy(*end), J @ centred_xy(*start))
    assert not close(centred_xy(*end), J.T @ centred_xy(*start))
    y_down = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    assert not close(y_down @ centred_xy(*end), J @ y_down @ centred_xy(*start))
    assert close(centred_row_column(*end), J @ centred_row_column(*start))
    group, image = reps.plane_group("p4", N), random(N, N)
    turned = group.defining.act(group.generator(2), image.reshape(-1))
    assert close(turned, torch.rot90(image).reshape(-1))


@convention("Images", "Reflections")
def test_flip_exchanges_left_and_right():
    start, end = (0, 3), where(dot(0, 3).flip(1))
    mirror = torch.diag(torch.tensor([-1.0, 1.0], dtype=torch.float64))
    assert close(centred_xy(*end), mirror @ centred_xy(*start))
    assert not close(centred_xy(*end), -mirror @ centred_xy(*start))
    assert close(centred_row_column(*end), -mirror @ centred_row_column(*start))
    group, image = reps.plane_group("p4m", N), random(N, N)
    mirrored = group.defining.act(group.generator(3), image.reshape(-1))
    assert close(mirrored, image.flip(1).reshape(-1))


@convention("Images", "Batches")
def test_channels_come_before_rows_and_columns():
    x, w = random(2, 3, 5, 7), random(4, 3, 3, 3)
    y = grids.circular_conv(x, w)
    assert y.shape == (2, 4, 5, 7)
    assert close(y[1], grids.circular_conv(x[1:], w)[0]) and not close(y[0], y[1])
    with pytest.raises(ValueError, match="x: expected"):
        grids.circular_conv(x.movedim(1, -1), w)


# --- convolution and fourier transform ----------------------------------------------------------


@convention("Convolution and Fourier transform", '"Convolution"')
def test_convolution_is_cross_correlation():
    x, w = random(1, 1, 6, 6), random(1, 1, 3, 3)
    expected = (w[0, 0] * x[0, 0, 2:5, 1:4]).sum()
    mirrored = (w[0, 0].flip(0, 1) * x[0, 0, 2:5, 1:4]).sum()
    for y in (F.conv2d(x, w, padding=1), grids.circular_conv(x, w)):
        assert close(y[0, 0, 3, 2], expected)
        assert not close(y[0, 0, 3, 2], mirrored)


@convention("Convolution and Fourier transform", "Centre")
@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_centre_of_a_kernel(size):
    x, w, left = random(1, 1, 7), random(1, 1, size), (size - 1) // 2
    y = grids.circular_conv(x, w)
    for reach in (left, left + 1):
        near = [[x[0, 0, (p + k - reach) % 7] for k in range(size)] for p in range(7)]
        found = torch.tensor(near, dtype=torch.float64) @ w[0, 0]
        assert close(y[0, 0], found) if reach == left else not close(y[0, 0], found)


@convention("Convolution and Fourier transform", "Circulants")
def test_circulants():
    theta, x = random(N), random(N).flip(0)
    C, S = grids.circulant(theta), torch.eye(N, dtype=torch.float64).roll(1, 0)
    powers = sum(theta[k] * torch.linalg.matrix_power(S, k) for k in range(N))
    assert S[1, 0] == 1 and close(C, powers) and close(C[:, 0], theta)
    textbook = [sum(theta[k] * x[(p - k) % N] for k in range(N)) for p in range(N)]
    correlation = [sum(theta[k] * x[(p + k) % N] for k in range(N)) for p in range(N)]
    assert close(C @ x, torch.stack(textbook))
    assert not close(C @ x, torch.stack(correlation))


@convention("Convolution and Fourier transform", "Fourier")
def test_fourier_transform():
    x, n = random(6), 6
    k = torch.arange(n, dtype=torch.float64)
    wave = torch.polar(torch.ones(n, n, dtype=torch.float64), -2 * math.pi * torch.outer(k, k) / n)
    transform = wave @ x.to(wave)
    assert close(torch.fft.fft(x), transform)
    assert not close(torch.fft.fft(x), wave.conj() @ x.to(wave))
    assert close(grids.dft_matrix(n) @ x.to(wave), transform / math.sqrt(n))
    assert not close(grids.dft_matrix(n) @ x.to(wave), transform / n)


@convention("Convolution and Fourier transform", "Aliasing")
def test_every_second_sample_folds_the_spectrum():
    x = random(6)
    low, high = torch.fft.fft(x).chunk(2)
    assert close(torch.fft.fft(x[::2]), (low + high) / 2)
    assert not close(torch.fft.fft(x[::2]), low + high)


# --- diffusion ----------------------------------------------------------------------------------


@convention("Diffusion", "Laplacian of a picture")
def test_the_laplacian_of_a_picture_is_negative():
    u = random(1, 1, 5, 6)
    found = diffusion.differential_invariants(u)[0, diffusion.INVARIANTS.index("lap u"), 2, 3]
    near = u[0, 0, 1, 3] + u[0, 0, 3, 3] + u[0, 0, 2, 2] + u[0, 0, 2, 4]
    assert close(found, near - 4 * u[0, 0, 2, 3])
    assert not close(found, 4 * u[0, 0, 2, 3] - near)
    assert float(diffusion.laplacian_eigenvalues(4, 4).max()) < TIGHT


@convention("Diffusion", "Borders")
def test_borders_are_called_as_torch_calls_them():
    image, k = random(1, 1, 5, 6), random(1, 3, 3)
    mirrored = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), k[:, None])
    assert close(diffusion.filter_responses(image, k, "reflect"), mirrored)
    wrapped = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="circular"), k[:, None])
    assert close(diffusion.filter_responses(image, k, "circular"), wrapped)
    assert not close(mirrored, wrapped)
    around = F.pad(image, (1, 1, 1, 1), mode="replicate")
    slope = (around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]) / 2
    assert close(diffusion.stencil_jet(image, "replicate")[:, 2:3], slope)


@convention("Diffusion", "Filters")
def test_responses_are_correlations_and_their_adjoint_folds_the_border_back():
    image, k, forces = random(1, 1, 5, 6), random(2, 3, 3), random(1, 2, 5, 6)
    there = (diffusion.filter_responses(image, k, "reflect") * forces).sum()
    back = (diffusion.adjoint_responses(forces, k, "reflect") * image).sum()
    assert close(there, back)
    here, patch = diffusion.filter_responses(image, k, "reflect")[0, 0, 2, 3], image[0, 0, 1:4, 2:5]
    assert close(here, (k[0] * patch).sum()) and not close(here, (k[0].flip(0, 1) * patch).sum())


@convention("Diffusion", "Blur")
def test_blur_convolves_and_its_middle_does_not_move():
    image = random(1, 1, 5, 6)
    kernel = torch.zeros(1, 3, 3, dtype=torch.float64)
    kernel[0, 1, 2] = 1.0
    assert close(diffusion.blur(image, kernel), image.roll(1, 3))
    assert not close(diffusion.blur(image, kernel), image.roll(-1, 3))


@convention("Diffusion", "Thresholds of powers")
def test_thresholds_of_powers_have_a_half_and_zero_is_free():
    y = torch.tensor([3.0], dtype=torch.float64)
    assert close(diffusion.generalized_soft_threshold(y, 1.0, 1.0), y - 1.0)
    assert not close(diffusion.generalized_soft_threshold(y, 1.0, 1.0), y - 0.5)
    half = torch.tensor(0.5, dtype=torch.float64)
    assert math.isclose(float(diffusion.gst_threshold(half, 0.0)), 1.0, rel_tol=TIGHT)


@convention("Diffusion", "Decibels of a picture")
def test_decibels_are_for_grey_values_up_to_one():
    image = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    found = diffusion.psnr(image + 0.01, image)
    assert close(found, torch.tensor([40.0], dtype=torch.float64))
    assert not close(found, torch.tensor([-40.0], dtype=torch.float64))
