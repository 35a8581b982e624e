"""Turned images, and the benchmark of rotated digits made again from small files."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch

from gdl import data
from tests.test_mnist import store, tiny  # noqa: F401 - a fixture


@pytest.mark.parametrize("k", [-5, -1, 0, 1, 2, 3, 7])
@pytest.mark.parametrize("side", [1, 4, 7, 28])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quarter_turns_are_exact(k, side, dtype):
    x = torch.randn(3, 2, side, side, dtype=dtype)
    turned = data.rotate(x, torch.full((3,), k * math.pi / 2, dtype=torch.float64))
    assert torch.equal(turned, torch.rot90(x, k, (-2, -1)))


@pytest.mark.parametrize("size", [(9, 9), (8, 11)])
def test_other_angles_agree_with_scipy(size):
    x, angles = torch.rand(4, 1, *size, dtype=torch.float64), torch.tensor([0.3, -1.1, 2.5, 4.0])
    turned = data.rotate(x, angles)
    for image, angle, got in zip(x[:, 0].numpy(), angles.tolist(), turned[:, 0], strict=True):
        # Padding first: SciPy drops what lies between the border and the outside.
        padded = np.pad(image, 12)
        expected = scipy.ndimage.rotate(padded, math.degrees(angle), reshape=False, order=1)
        inside = expected[12 : 12 + size[0], 12 : 12 + size[1]]
        np.testing.assert_allclose(got.numpy(), inside, atol=1e-6)


def test_a_linear_image_is_turned_exactly():
    axis = torch.arange(11, dtype=torch.float64) - 5
    x = axis.expand(11, 11)[None, None]
    turned = data.rotate(x, math.pi / 6)[0, 0]
    expected = math.cos(math.pi / 6) * axis - math.sin(math.pi / 6) * axis[:, None]
    inside = (axis**2 + axis[:, None] ** 2) < 16
    assert torch.allclose(turned[inside], expected[inside], atol=1e-12)


def test_one_angle_serves_all_images_and_nothing_stays_nothing():
    x = torch.rand(3, 1, 5, 5)
    one_each = torch.full((3,), 0.4, dtype=torch.float64)
    assert torch.equal(data.rotate(x, 0.4), data.rotate(x, one_each))
    assert data.rotate(x[:0], 0.4).shape == (0, 1, 5, 5)
    many = torch.rand(5000, 1, 3, 3)
    angles = torch.rand(5000, dtype=torch.float64)
    assert torch.equal(data.rotate(many, angles)[4500:], data.rotate(many[4500:], angles[4500:]))


@pytest.mark.parametrize(
    ("images", "angles", "error", "message"),
    [
        (torch.zeros(1, 1, 3, 3).long(), 0.0, TypeError, "images: expected a real floating"),
        ("x", 0.0, TypeError, "images: expected a real floating-point tensor, got str"),
        (torch.zeros(3, 3), 0.0, ValueError, r"images: expected shape \(N, C, h, w\)"),
        (torch.zeros(1, 1, 3, 3), "a", TypeError, "angles: expected numbers, got str"),
        (torch.zeros(2, 1, 3, 3), torch.zeros(3), ValueError, "angles: expected one or 2"),
        (torch.full((1, 1, 3, 3), math.inf), 0.0, ValueError, "images: expected finite numbers"),
        (torch.zeros(1, 1, 3, 3), math.nan, ValueError, "angles: expected finite numbers"),
    ],
)
def test_wrong_input_is_named(images, angles, error, message):
    with pytest.raises(error, match=message):
        data.rotate(images, angles)


@pytest.fixture
def upright(tiny, tmp_path, monkeypatch):  # noqa: F811 - the fixture of that name
    store(tmp_path, tiny)
    parts = [data.mnist(split) for split in ("train", "test")]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def test_the_splits_are_disjoint_and_turned_copies_of_digits(upright):
    images, labels = upright
    splits = [data.rotated_mnist(split) for split in ("train", "validation", "test")]
    assert all(len(x) == len(y) > 0 for x, y in splits)
    assert sum(len(y) for _, y in splits) <= len(labels)
    again = data.rotated_mnist("train")
    assert torch.equal(again[0], splits[0][0])
    other = data.rotated_mnist("train", seed=1)
    assert not torch.equal(other[0], splits[0][0])


def test_each_image_is_its_digit_turned_by_a_known_angle(upright, monkeypatch):
    images, labels = upright
    seen = []
    monkeypatch.setattr(data.rotated, "rotate", lambda x, a: seen.append((x, a)) or x)
    for split in ("train", "validation", "test"):
        x, y = data.rotated_mnist(split)
        for image, label in zip(x, y, strict=True):
            same = [i for i in range(len(images)) if torch.equal(images[i], image)]
            assert any(labels[i] == label for i in same)
    angles = torch.cat([a for _, a in seen])
    assert len(angles.unique()) == len(angles)
    assert float(angles.min()) >= 0 and float(angles.max()) < 2 * math.pi


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "val"}, "split: expected one of train, validation, test"),
        ({"seed": -1}, "seed: expected an integer"),
        ({"seed": 1.5}, "seed: expected an integer"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        data.rotated_mnist(**options)


def many(count):
    """Images that hold their own number, so that a split can be read off."""
    return torch.arange(count, dtype=torch.float32)[:, None, None, None], torch.zeros(count).long()


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(70000, [10000, 2000, 50000]), (62000, [10000, 2000, 50000]), (3, [1, 1, 1])],
)
def test_the_sizes_of_the_protocol_without_a_shared_digit(monkeypatch, count, sizes):
    x, y = many(count)
    parts = {"train": (x[:-1], y[:-1]), "test": (x[-1:], y[-1:])}
    monkeypatch.setattr(data.rotated, "mnist", lambda split, **_: parts[split])
    angles = []
    monkeypatch.setattr(data.rotated, "rotate", lambda x, a: angles.append(a) or x)
    splits = [data.rotated_mnist(s)[0].flatten() for s in ("train", "validation", "test")]
    assert [len(s) for s in splits] == sizes
    assert len(torch.cat(splits).unique()) == sum(sizes)
    if count > 1000:
        # The mean of cos and sin over 62,000 uniform angles: six standard deviations.
        turns = torch.cat(angles)
        assert max(turns.cos().mean().abs(), turns.sin().mean().abs()) < 6 / (2 * 62000) ** 0.5


def test_too_few_digits_are_named(monkeypatch):
    monkeypatch.setattr(data.rotated, "mnist", lambda split, **_: many(1))
    with pytest.raises(ValueError, match="root: expected at least 3 digits of MNIST, got 2"):
        data.rotated_mnist()
