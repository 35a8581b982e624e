"""Blurred and adaptive strides of the room "grids"."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gdl.grids import (
    BlurPool,
    CircularConv,
    PolyphaseDownsample,
    PolyphaseUpsample,
    as_matrix,
    binomial_filter,
    fractional_shift,
    shift,
)

both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def relative(y: torch.Tensor, expected: torch.Tensor) -> float:
    return ((y - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    ("taps", "row"), [(1, [1]), (2, [1, 1]), (3, [1, 2, 1]), (5, [1, 4, 6, 4, 1])]
)
def test_binomial_filter(taps, row):
    filter_ = binomial_filter(taps)
    assert filter_.tolist() == [c / sum(row) for c in row]
    omega = np.linspace(0, np.pi, 9)
    response = np.exp(-1j * np.outer(omega, np.arange(taps))) @ filter_.numpy()
    assert np.abs(np.abs(response) - np.cos(omega / 2) ** (taps - 1)).max() < 1e-15


@both_dtypes
@pytest.mark.parametrize("taps", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [2, 4])
def test_blur_pool_is_its_definition(dtype, taps, stride):
    x = randn(2, 3, 8, 12, dtype=dtype)
    y = BlurPool(taps, stride)(x)
    filter_, left = binomial_filter(taps), (taps - 1) // 2
    expected = sum(
        filter_[a] * filter_[b] * shift((left - a, left - b), x).double()
        for a, b in itertools.product(range(taps), repeat=2)
    )[:, :, ::stride, ::stride]
    assert y.dtype == dtype
    assert relative(y.double(), expected) < 10 * torch.finfo(dtype).eps


def test_two_taps_are_average_pooling():
    x = randn(2, 3, 8, 8)
    assert relative(BlurPool(2)(x), F.avg_pool2d(x, 2)) < 1e-15
    line = randn(2, 3, 8)
    assert relative(BlurPool(2, dims=1)(line), F.avg_pool1d(line, 2)) < 1e-15


def test_blur_pool_commutes_with_shifts_of_its_stride_only():
    x, pool = randn(2, 3, 8, 8), BlurPool(3)
    assert relative(pool(shift((2, -4), x)), shift((1, -2), pool(x))) < 1e-14
    half = fractional_shift((0.5, 0.0), pool(x))
    assert relative(pool(shift((1, 0), x)), half) > 0.1


def test_more_taps_leave_less_aliasing():
    x = randn(64, 1, 64)
    errors = []
    for taps in (1, 3, 5):
        pool = BlurPool(taps, dims=1)
        errors.append(relative(pool(shift(1, x)), fractional_shift(0.5, pool(x))))
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 0


@pytest.mark.parametrize("dims", [1, 2])
def test_reflecting_blur(dims):
    x = randn(1, 2, *[9] * dims)
    y = BlurPool(3, 1, padding="reflect", dims=dims)(x)
    mirrored = np.pad(x.numpy(), [(0, 0), (0, 0)] + [(1, 1)] * dims, mode="reflect")
    expected = torch.zeros_like(x)
    for offset in itertools.product(range(3), repeat=dims):
        weight = np.prod([[0.25, 0.5, 0.25][k] for k in offset])
        window = tuple(slice(k, k + 9) for k in offset)
        expected += weight * torch.as_tensor(mirrored[(..., *window)])
    assert relative(y, expected) < 1e-14
    flat = BlurPool(5, 3, padding="reflect", dims=dims)(torch.ones_like(x))
    assert flat.shape == (1, 2, *[3] * dims) and (flat - 1).abs().max() < 1e-15


phases = {"stride": st.sampled_from([2, 3]), "dims": st.sampled_from([1, 2])}


@settings(deadline=None, max_examples=30)
@given(**phases, g=st.tuples(st.integers(-7, 7), st.integers(-7, 7)), p=st.sampled_from([1, 2, 3]))
def test_polyphase_moves_with_the_field(stride, dims, g, p):
    x = randn(3, 2, *[6 * (axis + 1) for axis in range(dims)])
    down = PolyphaseDownsample(stride, norm=p, dims=dims, return_phase=True)
    g = g[:dims]
    y, phase = down(x)
    moved, moved_phase = down(shift(g, x))
    for n in range(len(x)):
        digits = np.unravel_index(phase[n].item(), [stride] * dims)
        total = [a + b for a, b in zip(digits, g, strict=True)]
        expected = np.ravel_multi_index([t % stride for t in total], [stride] * dims)
        assert moved_phase[n] == expected
        assert torch.equal(moved[n], shift([t // stride for t in total], y[n]))


@settings(deadline=None, max_examples=10)
@given(**phases)
def test_polyphase_keeps_the_strongest_phase(stride, dims):
    x = randn(4, 2, *[6] * dims)
    y, phase = PolyphaseDownsample(stride, dims=dims, return_phase=True)(x)
    for n in range(len(x)):
        parts = [
            x[(n, slice(None), *[slice(a, None, stride) for a in offset])]
            for offset in itertools.product(range(stride), repeat=dims)
        ]
        best = max(range(len(parts)), key=lambda k: parts[k].norm())
        assert phase[n] == best
        assert torch.equal(y[n], parts[best])


def test_the_norm_decides():
    x = torch.tensor([[[3.0, 2.0, 0.0, 2.0]]])
    assert PolyphaseDownsample(norm=2.0, dims=1)(x).tolist() == [[[3.0, 0.0]]]
    assert PolyphaseDownsample(norm=1.0, dims=1)(x).tolist() == [[[2.0, 2.0]]]


@both_dtypes
@settings(deadline=None, max_examples=20)
@given(**phases, g=st.tuples(st.integers(-7, 7), st.integers(-7, 7)))
def test_down_work_up_commutes_with_every_shift(dtype, stride, dims, g):
    torch.manual_seed(0)
    down = PolyphaseDownsample(stride, dims=dims, return_phase=True)
    up, work = PolyphaseUpsample(stride, dims=dims), CircularConv(2, 3, 3, dims=dims, dtype=dtype)
    x = randn(3, 2, *[6] * dims, dtype=dtype)

    def f(x: torch.Tensor) -> torch.Tensor:
        y, phase = down(x)
        return up(work(y), phase)

    g = g[:dims]
    y = f(x)
    assert y.shape == (3, 3, *x.shape[2:]) and y.std() > 0.1
    assert relative(f(shift(g, x)), shift(g, y)) < 10 * torch.finfo(dtype).eps


def test_plain_stride_has_no_such_symmetry():
    x = randn(3, 2, 6, 6)
    plain, moved = x[..., ::2, ::2], shift((1, 0), x)[..., ::2, ::2]
    errors = [relative(moved, shift((g, h), plain)) for g in range(3) for h in range(3)]
    assert min(errors) > 0.5


def test_up_inverts_down_on_the_kept_phase():
    x = randn(2, 3, 4, 6)
    down, up = PolyphaseDownsample(return_phase=True), PolyphaseUpsample()
    y, phase = down(x)
    spread = up(y, phase)
    assert (spread != 0).sum() == y.numel()
    assert torch.equal(spread, torch.where(spread != 0, x, 0.0))
    assert torch.equal(down(spread)[0], y)


@pytest.mark.parametrize(
    "layer", [BlurPool(3), PolyphaseDownsample(2), BlurPool(2, padding="reflect")]
)
def test_layers_in_use(layer):
    x = randn(2, 3, 8, 8, dtype=torch.float32).requires_grad_()
    y = layer(x)
    assert layer(torch.zeros(0, 3, 8, 8)).shape == (0, 3, 4, 4)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), y)
    y.sum().backward()
    assert x.grad.abs().sum() > 0 and torch.isfinite(x.grad).all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert relative(layer(x.detach()).float(), y.detach()) < 0.02
    layer.load_state_dict(layer.state_dict())
    assert torch.autograd.gradcheck(layer, randn(1, 1, 4, 4).requires_grad_())


def test_gradient_of_the_upsampling():
    phase = torch.tensor([3, 1])
    y = randn(2, 1, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: PolyphaseUpsample()(y, phase), y)


def test_blur_pool_as_a_matrix_is_a_strided_circulant():
    W = as_matrix(BlurPool(3, dims=1), (1, 6))
    row = torch.tensor([2, 1, 0, 0, 0, 1], dtype=torch.float64) / 4
    assert torch.equal(W, torch.stack([row.roll(2 * k) for k in range(3)]))


x4, x5 = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 5, 4)


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: binomial_filter(0), ValueError, "taps"),
        (lambda: BlurPool(0), ValueError, "taps"),
        (lambda: BlurPool(3, 0), ValueError, "stride"),
        (lambda: BlurPool(padding="zeros"), ValueError, "padding"),
        (lambda: BlurPool(dims=3), ValueError, "dims"),
        (lambda: BlurPool()(x4[0]), ValueError, "x: expected shape"),
        (lambda: BlurPool()(x5), ValueError, "x: expected sizes that are multiples of 2"),
        (lambda: BlurPool()(x4.long()), TypeError, "x: expected a real"),
        (lambda: BlurPool(9, padding="reflect")(x4), ValueError, "x: 9 taps reflect past"),
        (lambda: BlurPool(12)(x4), ValueError, "x: a kernel of extent"),
        (lambda: PolyphaseDownsample(1.5), TypeError, "stride"),
        (lambda: PolyphaseDownsample(norm=0.0), ValueError, "norm"),
        (lambda: PolyphaseDownsample(norm=float("nan")), ValueError, "norm"),
        (lambda: PolyphaseDownsample(dims=0), ValueError, "dims"),
        (lambda: PolyphaseDownsample()(x5), ValueError, "x: expected sizes"),
        (lambda: PolyphaseDownsample(dims=1)(x4), ValueError, "x: expected shape"),
        (lambda: PolyphaseUpsample(0), ValueError, "stride"),
        (lambda: PolyphaseUpsample(dims=4), ValueError, "dims"),
        (lambda: PolyphaseUpsample()(x4, torch.zeros(2).long()), ValueError, "phase: expected int"),
        (lambda: PolyphaseUpsample()(x4, torch.zeros(1)), ValueError, "phase: expected int"),
        (lambda: PolyphaseUpsample()(x4, torch.tensor([4])), ValueError, "phase: expected values"),
        (lambda: PolyphaseUpsample()(x4[0], torch.tensor([0])), ValueError, "y: expected shape"),
    ],
)
def test_wrong_input_is_named(call, error, name):
    with pytest.raises(error, match=name):
        call()


def test_printed_form_names_the_options():
    assert "taps=3, stride=2, padding='circular'" in repr(BlurPool())
