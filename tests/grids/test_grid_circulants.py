"""Shifts, circulants and Fourier: the room "grids" against NumPy, SciPy and direct sums."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gdl.grids import (
    as_matrix,
    circulant,
    dft_matrix,
    fractional_shift,
    shift,
)

sizes = pytest.mark.parametrize("n", [1, 2, 5, 8])


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_shift_acts_from_the_left_on_positions():
    x = randn(3, 5, 7)
    y = shift((2, -3), x)
    for row in range(5):
        for column in range(7):
            assert torch.equal(y[:, row, column], x[:, (row - 2) % 5, (column + 3) % 7])


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(1, 9))
def test_shifts_compose(g, h, n):
    x = torch.arange(n)
    assert torch.equal(shift(g, shift(h, x)), shift(g + h, x))


def test_shift_scales_to_a_coarser_map():
    x = randn(2, 4, 4)
    assert torch.equal(shift((4, -2), x, size=(8, 8)), shift((2, -1), x))
    assert torch.equal(shift((4, -2), x, size=(8, 4)), shift((2, -2), x))
    pooled = randn(2, 1, 1)
    assert torch.equal(shift((3, 1), pooled, size=(8, 8)), pooled)


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: shift((1, 0), torch.zeros(4, 4), size=(8, 8)), ValueError, "g: a shift by 1 of 8"),
        (lambda: shift((1, 0), torch.zeros(4)), ValueError, "g: 2 shifts"),
        (lambda: shift((1,), torch.zeros(4), size=(8, 8)), ValueError, "size: expected 1"),
        (lambda: shift(0.5, torch.zeros(4)), TypeError, "g: expected"),
        (lambda: shift((), torch.zeros(4)), TypeError, "g: expected"),
        (lambda: shift(1, [1.0, 2.0]), TypeError, "x: expected a torch.Tensor"),
        (lambda: fractional_shift(0.5, torch.arange(4)), TypeError, "x: expected a real"),
        (lambda: fractional_shift((0.5, 0.5), torch.zeros(4)), ValueError, "t: 2 shifts"),
        (lambda: fractional_shift(float("nan"), torch.zeros(4)), ValueError, "t: expected finite"),
        (lambda: dft_matrix(0), ValueError, "n: expected at least 1"),
        (lambda: dft_matrix(2.0), TypeError, "n: expected an int"),
        (lambda: circulant(torch.zeros(2, 2)), ValueError, "theta: expected shape"),
        (lambda: circulant(torch.zeros(0)), ValueError, "theta: expected shape"),
        (lambda: circulant(torch.tensor([1.0, float("nan")])), ValueError, "theta: expected fin"),
        (lambda: as_matrix(torch.relu, (4,)), ValueError, "f: expected a linear map"),
        (lambda: as_matrix(lambda x: x + 1, (4,)), ValueError, "f: expected a linear map, got f"),
        (lambda: as_matrix(lambda x: x / 0, (4,)), ValueError, "f: its values"),
        (lambda: as_matrix(torch.abs, (4,), affine=True), ValueError, "f: expected a linear map"),
        (lambda: as_matrix(torch.abs, (0,)), ValueError, "shape_in: expected at least 1"),
    ],
)
def test_wrong_input_is_named(call, error, name):
    with pytest.raises(error, match=name):
        call()


@sizes
def test_circulant_agrees_with_scipy_and_with_its_definition(n):
    theta = randn(n, seed=1)
    C = circulant(theta)
    assert np.array_equal(C.numpy(), scipy.linalg.circulant(theta.numpy()))
    S = torch.eye(n, dtype=torch.float64).roll(1, 0)
    total = sum(theta[k] * torch.linalg.matrix_power(S, k) for k in range(n))
    assert torch.equal(C, total)
    assert torch.equal(C @ S, S @ C)


@sizes
def test_dft_matrix_is_unitary_and_agrees_with_numpy(n):
    F, f = dft_matrix(n), randn(n)
    assert (F @ F.conj().T - torch.eye(n)).abs().max() < 1e-14
    expected = np.fft.fft(f.numpy(), norm="ortho")
    assert np.abs((F @ f.to(F.dtype)).numpy() - expected).max() < 1e-14


def test_dft_matrix_keeps_its_phases_when_large():
    F = dft_matrix(1024)
    column = np.fft.fft(np.eye(1024)[1023], norm="ortho")
    assert np.abs(F[:, 1023].numpy() - column).max() < 1e-15


@sizes
def test_the_dft_diagonalises_every_circulant(n):
    theta = randn(n, seed=2)
    F, eigenvalues = dft_matrix(n), torch.from_numpy(np.fft.fft(theta.numpy()))
    C = circulant(theta).to(F.dtype)
    assert (C - F.conj().T @ torch.diag(eigenvalues) @ F).abs().max() < 1e-13
    if n > 2:
        other = randn(n, n).to(F.dtype)
        off_diagonal = F @ other @ F.conj().T
        assert (off_diagonal - torch.diag(off_diagonal.diagonal())).abs().max() > 0.1


def test_circulants_multiply_as_their_filters_convolve():
    theta, eta = randn(6, seed=1), randn(6, seed=2)
    product = torch.zeros(6, dtype=torch.float64)
    for i in range(6):
        for j in range(6):
            product[(i + j) % 6] += theta[i] * eta[j]
    assert (circulant(theta) @ circulant(eta) - circulant(product)).abs().max() < 1e-14
    assert (circulant(theta) @ eta - product).abs().max() < 1e-14


@pytest.mark.parametrize("n", [7, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fractional_shift_at_integers_is_the_shift(n, dtype):
    x = randn(2, n, n + 1, dtype=dtype)
    moved = fractional_shift((3, -2), x)
    assert moved.dtype == dtype
    assert (moved - shift((3, -2), x)).abs().max() < 40 * torch.finfo(dtype).eps


@settings(deadline=None)
@given(st.floats(-5, 5), st.integers(3, 12), st.data())
def test_fractional_shift_is_exact_on_band_limited_fields(t, n, data):
    k = data.draw(st.integers(0, (n - 1) // 2))
    points = torch.arange(n, dtype=torch.float64)
    wave = torch.sin(2 * np.pi * k * points / n + 0.3)
    expected = torch.sin(2 * np.pi * k * (points - t) / n + 0.3)
    assert (fractional_shift(t, wave) - expected).abs().max() < 1e-12


def test_fractional_shifts_compose_where_no_mode_sits_at_nyquist():
    x = randn(9)
    twice = fractional_shift(0.7, fractional_shift(0.4, x))
    assert (twice - fractional_shift(1.1, x)).abs().max() < 1e-13
    nyquist = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    half = fractional_shift(0.5, nyquist)
    assert half.abs().max() < 1e-15
    assert (fractional_shift(0.25, nyquist) - nyquist * 0.5**0.5).abs().max() < 1e-15


def test_as_matrix_recovers_matrix_and_offset():
    W, b = randn(6, 12), randn(6, seed=1)

    def affine(x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) @ W.T + b).reshape(-1, 2, 3)

    matrix, offset = as_matrix(affine, (3, 4), affine=True)
    assert (matrix - W).abs().max() < 1e-14 and torch.equal(offset, b)
    assert (as_matrix(lambda x: 1e9 * x @ W.T, (12,)) / 1e9 - W).abs().max() < 1e-14
    with pytest.raises(ValueError, match="f: expected a linear map"):
        as_matrix(lambda x: 1e-9 * x.relu(), (3,))
    assert as_matrix(lambda x: 0 * x, (3,)).abs().max() == 0
    assert as_matrix(lambda x: x, (3,), dtype=torch.float32).dtype == torch.float32
