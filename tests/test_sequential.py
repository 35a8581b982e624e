"""Images as sequences: rows, pixels, and a fixed order of pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gdl.data import digits, pixel_order, pixels, rows

SHAPES = [(2, 1, 3, 4), (2, 3, 4), (5, 1, 1, 7), (1, 6, 1), (1, 1, 1)]


def picture(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_step_is_a_row(shape, dtype):
    images = picture(shape, dtype)
    height, width = shape[-2:]
    x = rows(images)
    assert x.shape == (shape[0], height, width) and x.dtype == dtype
    for n in range(shape[0]):
        for t in range(height):
            assert torch.equal(x[n, t], images[n, ..., t, :].reshape(width))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_step_is_a_pixel_row_after_row(shape, dtype):
    images = picture(shape, dtype)
    height, width = shape[-2:]
    x = pixels(images)
    assert x.shape == (shape[0], height * width, 1) and x.dtype == dtype
    for n in range(shape[0]):
        for i in range(height):
            for j in range(width):
                assert x[n, i * width + j, 0] == images[n, ..., i, j]


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_step_t_is_the_pixel_at_place_order_t(height, width, seed):
    images, order = picture((3, 1, height, width)), pixel_order(height * width, seed=seed)
    x = pixels(images, order)
    for t, place in enumerate(order.tolist()):
        assert torch.equal(x[:, t, 0], images[:, 0, place // width, place % width])
    assert torch.equal(x[:, order.argsort(), 0].reshape(images.shape), images)


def test_an_order_that_is_no_involution_is_not_applied_backwards():
    x = pixels(torch.tensor([[[10.0, 20.0, 30.0]]]), torch.tensor([1, 2, 0]))
    assert x.flatten().tolist() == [20.0, 30.0, 10.0]


def test_the_digits_keep_all_their_pixels():
    images = digits("test")[0]
    assert torch.equal(rows(images), images[:, 0])
    shuffled = pixels(images, pixel_order(64, seed=0))
    assert not torch.equal(shuffled, pixels(images))
    assert torch.equal(shuffled.sort(1).values, pixels(images).sort(1).values)


def test_gradients_reach_the_image():
    images = picture((2, 1, 3, 4)).requires_grad_()
    weights = picture((2, 12, 1))
    order = pixel_order(12, seed=1)
    (pixels(images, order) * weights).sum().backward()
    assert torch.equal(images.grad.flatten(1)[:, order], weights[..., 0])


@pytest.mark.parametrize("count", [1, 2, 64, 784])
def test_a_pixel_order_is_a_permutation(count):
    order = pixel_order(count, seed=0)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(count))


def test_a_pixel_order_depends_on_its_seed_alone():
    torch.manual_seed(0)
    first = pixel_order(64, seed=1)
    torch.manual_seed(1)
    drawn = torch.get_rng_state()
    assert torch.equal(first, pixel_order(64, seed=1))
    assert torch.equal(drawn, torch.get_rng_state())
    assert len({tuple(pixel_order(64, seed=seed).tolist()) for seed in (0, 1, 2)}) == 3


def test_every_order_of_three_pixels_is_drawn_about_equally_often():
    drawn = [tuple(pixel_order(3, seed=seed).tolist()) for seed in range(600)]
    assert all(60 < drawn.count(order) < 140 for order in set(drawn)) and len(set(drawn)) == 6


@pytest.mark.parametrize("read", [rows, pixels])
@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([[[0.0]]], TypeError, "images: expected a torch.Tensor, got list"),
        (torch.zeros(1, 3, 3).long(), TypeError, "images: expected a real floating-point tensor"),
        (torch.zeros(3, 3), ValueError, r"images: expected shape \(N, 1, H, W\) or \(N, H, W\)"),
        (torch.zeros(2, 3, 4, 4), ValueError, r"\(N, H, W\), got \(2, 3, 4, 4\)"),
        (torch.zeros(1, 1, 1, 2, 2), ValueError, r"\(N, H, W\), got \(1, 1, 1, 2, 2\)"),
        (torch.zeros(0, 1, 2, 2), ValueError, "images: expected at least one pixel, got shape"),
        (torch.zeros(2, 0, 3), ValueError, r"at least one pixel, got shape \(2, 0, 3\)"),
        (torch.full((1, 2, 2), math.nan), ValueError, "images: expected finite entries, got NaN"),
        (torch.full((1, 2, 2), math.inf), ValueError, "images: expected finite entries"),
    ],
    ids=["list", "ints", "flat", "colours", "deep", "no images", "no rows", "nan", "inf"],
)
def test_wrong_images_are_named(read, images, error, message):
    with pytest.raises(error, match=message):
        read(images)


def test_an_order_is_on_the_cpu_whatever_the_default_device_is():
    with torch.device("meta"):
        order = pixel_order(4, seed=0)
    assert torch.equal(order, pixel_order(4, seed=0))


def test_integers_of_numpy_give_the_same_order():
    assert torch.equal(pixel_order(np.int64(4), seed=np.int64(0)), pixel_order(4, seed=0))


def test_rows_are_a_view_and_ordered_pixels_are_not():
    images = picture((2, 1, 3, 4))
    assert rows(images).data_ptr() == pixels(images).data_ptr() == images.data_ptr()
    assert pixels(images, torch.arange(12)).data_ptr() != images.data_ptr()


@pytest.mark.parametrize(
    ("order", "error", "message"),
    [
        ([0, 1, 2, 3], TypeError, "order: expected an int64 tensor, got list"),
        (torch.arange(4.0), TypeError, "order: expected an int64 tensor, got torch.float32"),
        (torch.arange(4).int(), TypeError, "order: expected an int64 tensor, got torch.int32"),
        (torch.arange(3), ValueError, r"order: expected shape \(4,\), got \(3,\)"),
        (torch.arange(4)[None], ValueError, r"order: expected shape \(4,\), got \(1, 4\)"),
        (torch.tensor([0, 1, 2, 4]), ValueError, "order: .* each of 0 to 3 once, got entries 0 to"),
        (torch.tensor([-1, 1, 2, 3]), ValueError, "order: .* got entries -1 to 3"),
        (torch.tensor([0, 2, 2, 3]), ValueError, "order: .* got 2 more than once"),
    ],
    ids=["list", "floats", "int32", "short", "matrix", "too large", "negative", "twice"],
)
def test_what_is_no_permutation_is_named(order, error, message):
    with pytest.raises(error, match=message):
        pixels(torch.zeros(1, 1, 2, 2), order)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "count: expected at least 1, got 0"),
        ({"count": 4.0}, TypeError, "count: expected an int, got float"),
        ({"count": True}, TypeError, "count: expected an int, got bool"),
        ({"seed": -1}, ValueError, "seed: expected 0 to 4294967295, got -1"),
        ({"seed": 2**32}, ValueError, "seed: expected 0 to 4294967295, got 4294967296"),
    ],
    ids=["none", "float", "bool", "negative seed", "large seed"],
)
def test_pixel_order_names_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        pixel_order(**{"count": 4, "seed": 0, **arguments})
