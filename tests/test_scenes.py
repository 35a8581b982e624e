"""Coloured scenes: hue says the class, brightness only the shape."""

from __future__ import annotations

import math

import pytest
import torch

from gdl.data.scenes import colour_scenes
from tests.test_representations import refuses


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_hue_is_the_class_and_brightness_is_not(classes):
    images, labels = colour_scenes(20, size=16, classes=classes, noise=0.0, seed=3)
    assert images.dtype == torch.float32 and labels.dtype == torch.int64
    assert set(labels.unique().tolist()) == set(range(classes))
    light = images.mean(1)
    for k in range(3):
        hue = 0.2 * (2 * math.pi * (labels / classes + k / 3)).cos()
        assert (images[:, k] - light - hue).abs().max() < 1e-5
    assert light.min() >= 0.1 - 1e-5 and light.max() <= 0.9 + 1e-5
    for scene in light:
        assert len((1e4 * scene).round().unique()) <= 5
    means = torch.stack([light[labels == c].mean() for c in range(classes)])
    assert (means - 0.5).abs().max() < 0.2


def test_shapes_are_discs_and_boxes():
    """At least the last one is whole: some rows of equal length, or a disc's."""
    _, labels = colour_scenes(200, size=24, classes=2, seed=1)
    share = labels.double().mean()
    assert 0.3 < share < 0.8
    assert bool((labels.flatten(1).sum(1) > 0).all())


@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_noise(noise):
    clean, truth = colour_scenes(30, noise=0.0, seed=5)
    images, labels = colour_scenes(30, noise=noise, seed=5)
    assert torch.equal(labels, truth)
    grain = images - clean
    assert abs(grain.std() - noise) < 0.02 * noise and grain.mean().abs() < 0.02 * noise
    assert abs((grain[:, 0] * grain[:, 1]).mean()) < 0.02 * noise**2


def test_equal_calls():
    first, again, other = (colour_scenes(3, seed=s) for s in (0, 0, 1))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (ValueError, "count", lambda: colour_scenes(0)),
        (TypeError, "count", lambda: colour_scenes(1.0)),
        (ValueError, "size", lambda: colour_scenes(1, size=3)),
        (ValueError, "classes", lambda: colour_scenes(1, classes=1)),
        (ValueError, "noise", lambda: colour_scenes(1, noise=-1.0)),
        (ValueError, "noise", lambda: colour_scenes(1, noise=float("nan"))),
        (ValueError, "seed", lambda: colour_scenes(1, seed=-1)),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refuses(error, argument, call):
    with refuses(error, argument):
        call()
