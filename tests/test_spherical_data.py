"""Digits on the sphere: where the projection puts them, which way they turn, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from gdl import data
from gdl.geometry import random_rotations
from tests.test_mnist import store, tiny  # noqa: F401 - a fixture
from tests.test_representations import refuses

F64 = torch.float64
ROTATIONS = random_rotations(3, seed=0)


def sphere(rows: int = 7, columns: int = 9, dtype: torch.dtype = F64) -> Tensor:
    """Points all over the sphere, both poles among them."""
    polar = torch.linspace(0, math.pi, rows, dtype=F64)[:, None]
    azimuth = 2 * math.pi * torch.arange(columns, dtype=F64) / columns
    parts = [polar.sin() * azimuth.sin(), polar.cos().expand(rows, columns)]
    return torch.stack([*parts, polar.sin() * azimuth.cos()], -1).to(dtype)


def images(count: int = 3, h: int = 8, w: int = 8, dtype: torch.dtype = F64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, h, w, dtype=F64, generator=generator).to(dtype)


def lifted(u: Tensor, v: Tensor) -> Tensor:
    """The points of the sphere that are projected to (u, v), by the inverse formula."""
    square = u**2 + v**2
    return torch.stack([2 * u, 1 - square, 2 * v], -1) / (1 + square)[..., None]


# The projection


@pytest.mark.parametrize(("h", "w"), [(8, 8), (5, 8), (9, 4), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_the_centre_of_each_pixel_keeps_its_value(h, w, dtype):
    x, half = images(2, h, w, dtype), max(h, w) / 2
    v = (torch.arange(h, dtype=F64)[:, None].expand(h, w) - (h - 1) / 2) / half
    u = (torch.arange(w, dtype=F64).expand(h, w) - (w - 1) / 2) / half
    found = data.project_on_sphere(x, lifted(u, v))
    assert found.dtype == dtype
    assert torch.allclose(found, x, atol=1e-6 if dtype == torch.float32 else 1e-12)


def test_between_pixels_it_agrees_with_scipy():
    x, points = images(1, 8, 6), sphere(31, 40)[:25]  # not the south pole
    u, v = (points[..., i] / (1 + points[..., 1]) for i in (0, 2))
    places = torch.stack([4 * v + 3.5, 4 * u + 2.5]) + 3
    padded = np.pad(x[0].numpy(), 3)
    expected = scipy.ndimage.map_coordinates(padded, places.numpy(), order=1, cval=0.0)
    np.testing.assert_allclose(data.project_on_sphere(x, points)[0], expected, atol=1e-12)


def test_rows_run_towards_z_and_columns_towards_x():
    axis = torch.linspace(-0.875, 0.875, 8, dtype=F64)
    east, south = axis.expand(8, 8), axis[:, None].expand(8, 8)
    points = torch.tensor([[[0.6, 0.8, 0.0], [0.0, 0.8, 0.6]]], dtype=F64)
    found = data.project_on_sphere(torch.stack([east, south]), points)
    expected = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=F64) * 0.6 / 1.8
    assert torch.allclose(found[:, 0], expected, atol=1e-12)


def test_the_sides_touch_the_equator_and_the_south_is_empty():
    x, points = torch.ones(1, 8, 8, dtype=F64), sphere(91, 120)
    found, height = data.project_on_sphere(x, points)[0], points[..., 1]
    assert ((found[height > 0.3] - 1).abs() < 1e-12).all() and (found[height < -0.5] == 0).all()
    on_equator = lifted(*torch.tensor([[1.0, 0.0], [0.0, -1.0]], dtype=F64).unbind(1))[None]
    # Half of the last pixel's value is left on the border of the picture.
    assert torch.allclose(data.project_on_sphere(x, on_equator), x.new_full((1, 1, 2), 0.5))
    poles = torch.tensor([[[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]], dtype=F64)
    assert data.project_on_sphere(x, poles).tolist() == [[[1.0, 0.0]]]


def test_channels_are_projected_one_by_one_and_many_images_in_parts():
    x, points = images(600, 4, 4), sphere(3, 4)
    whole = data.project_on_sphere(x, points)
    assert whole.shape == (600, 3, 4)
    assert torch.equal(data.project_on_sphere(x[500:], points), whole[500:])
    channels = data.project_on_sphere(x.reshape(300, 2, 4, 4), points)
    assert torch.equal(channels, whole.reshape(300, 2, 3, 4))
    R = random_rotations(600, seed=1)
    turned = data.project_on_sphere(x, points, R)
    assert torch.equal(data.project_on_sphere(x[300:], points, R[300:]), turned[300:])


# Rotations


def test_a_rotated_signal_is_the_old_one_at_the_point_before():
    x, points = images(), sphere()
    for R in ROTATIONS:
        before = data.project_on_sphere(x, points @ R)  # R^-1 x, as rows
        assert torch.allclose(data.project_on_sphere(x, points, R), before, atol=1e-12)
        after = data.project_on_sphere(x, points @ R.T)
        assert not torch.allclose(data.project_on_sphere(x, points, R), after, atol=0.1)


def test_what_was_at_the_pole_is_now_where_the_rotation_took_it():
    x = torch.zeros(1, 3, 3, dtype=F64)
    x[0, 1, 1] = 1.0
    pole = torch.tensor([0.0, 1.0, 0.0], dtype=F64)
    for R in ROTATIONS:
        points = torch.stack([R @ pole, R.T @ pole])[None]
        found = data.project_on_sphere(x, points, R)[0, 0]
        assert abs(float(found[0]) - 1) < 1e-12 and float(found[1]) < 0.9


def test_each_image_may_have_its_own_rotation():
    x, points = images(), sphere()
    each = [data.project_on_sphere(a[None], points, R) for a, R in zip(x, ROTATIONS, strict=True)]
    assert torch.allclose(data.project_on_sphere(x, points, ROTATIONS), torch.cat(each), atol=1e-14)


# Digits


@pytest.mark.parametrize(("split", "count"), [("train", 1297), ("test", 500), ("all", 1797)])
def test_upright_digits_are_projected_digits(split, count):
    points = sphere(3, 4)
    x, y = data.spherical_digits(split, points, rotated=False)
    flat, labels = data.digits(split)
    assert x.shape == (count, 1, 3, 4) and x.dtype == torch.float32
    assert torch.equal(x, data.project_on_sphere(flat, points)) and torch.equal(y, labels)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rotated_digits_have_uniform_rotations_of_their_own(monkeypatch, seed):
    seen = []
    monkeypatch.setattr(
        data.spherical, "project_on_sphere", lambda x, points, R: seen.append(R) or x
    )
    flat = {}
    for split in ("train", "test"):
        x, y = data.spherical_digits(split, sphere(), rotated=True, seed=seed)
        assert torch.equal(x, data.digits(split)[0]) and torch.equal(y, data.digits(split)[1])
        flat[split] = seen[-1].flatten(1)
    assert len(torch.cat(list(flat.values())).unique(dim=0)) == 1797
    # The mean of the entries of uniform rotations is 0, their variance 1 / 3: six deviations.
    assert flat["train"].mean(0).abs().max() < 6 / math.sqrt(3 * 1297)
    data.spherical_digits("test", sphere(), rotated=True, seed=seed)
    assert torch.equal(seen[-1].flatten(1), flat["test"])
    data.spherical_digits("test", sphere(), rotated=True, seed=seed + 1)
    assert not torch.equal(seen[-1].flatten(1), flat["test"])


def test_rotated_digits_are_rotated():
    points = sphere()
    x, _ = data.spherical_digits("test", points, rotated=True)
    R = random_rotations(500, generator=torch.Generator().manual_seed(1))
    assert torch.equal(x, data.project_on_sphere(data.digits("test")[0], points, R))


@pytest.mark.parametrize(("split", "count"), [("train", 12), ("test", 5)])
@pytest.mark.parametrize("rotated", [False, True])
def test_mnist_on_the_sphere(tiny, tmp_path, split, count, rotated):  # noqa: F811 - the fixture
    store(tmp_path, tiny)
    points = sphere(dtype=torch.float32)
    x, y = data.spherical_mnist(split, points, rotated=rotated)
    flat, labels = data.mnist(split)
    assert x.shape == (count, 1, 7, 9) and x.dtype == torch.float32 and torch.equal(y, labels)
    assert torch.equal(x, data.project_on_sphere(flat, points)) != rotated
    assert torch.equal(x, data.spherical_mnist(split, points, rotated=rotated)[0])
    assert (x.amax((1, 2, 3)) > 0).all()


# Wrong input

X, P = torch.zeros(2, 4, 4), torch.tensor([[[0.0, 1.0, 0.0]]])
EYE = torch.eye(3)


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: data.project_on_sphere([[1.0]], P), TypeError, "images"),
        (lambda: data.project_on_sphere(X.long(), P), TypeError, "images"),
        (lambda: data.project_on_sphere(X[0], P), ValueError, "images"),
        (lambda: data.project_on_sphere(X[:0], P), ValueError, "images"),
        (lambda: data.project_on_sphere(X[..., :0], P), ValueError, "images"),
        (lambda: data.project_on_sphere(X / 0, P), ValueError, "images"),
        (lambda: data.project_on_sphere(X, P[0]), ValueError, "points"),
        (lambda: data.project_on_sphere(X, P[..., :2]), ValueError, "points"),
        (lambda: data.project_on_sphere(X, P[:0]), ValueError, "points"),
        (lambda: data.project_on_sphere(X, 2 * P), ValueError, "points"),
        (lambda: data.project_on_sphere(X, P * math.nan), ValueError, "points"),
        (lambda: data.project_on_sphere(X, P.long()), TypeError, "points"),
        (lambda: data.project_on_sphere(X, P, EYE[:2]), ValueError, "rotation"),
        (lambda: data.project_on_sphere(X, P, EYE.expand(3, 3, 3)), ValueError, "rotation"),
        (lambda: data.project_on_sphere(X, P, 2 * EYE), ValueError, "rotation"),
        (lambda: data.project_on_sphere(X, P, -EYE), ValueError, "rotation"),
        (lambda: data.project_on_sphere(X, P, EYE * math.inf), ValueError, "rotation"),
        (lambda: data.project_on_sphere(X, P, "R"), TypeError, "rotation"),
        (lambda: data.spherical_digits("val", P, rotated=True), ValueError, "split"),
        (lambda: data.spherical_digits("test", P, rotated=1), TypeError, "rotated"),
        (lambda: data.spherical_digits("test", P, rotated=True, seed=-1), ValueError, "seed"),
        (lambda: data.spherical_digits("test", P, rotated=True, seed=0.5), TypeError, "seed"),
        (lambda: data.spherical_digits("test", P * 2, rotated=True), ValueError, "points"),
        (lambda: data.spherical_mnist("all", P, rotated=True), ValueError, "split"),
        (lambda: data.spherical_mnist("test", P * 2, rotated=True), ValueError, "points"),
    ],
)
def test_wrong_input_is_named(call, error, argument):
    with refuses(error, argument):
        call()
