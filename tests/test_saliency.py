"""Saliency scenes: objects away from the border, distractors on it, colours that differ."""

from __future__ import annotations

import pytest
import torch

from gdl.data.saliency import CONTRAST, saliency_scenes
from tests.test_representations import refuses


@pytest.mark.parametrize("size", [12, 17, 24])
def test_objects_keep_away_from_the_border(size):
    images, masks = saliency_scenes(50, size=size, seed=3)
    assert images.shape == (50, 3, size, size) and masks.shape == (50, 1, size, size)
    assert images.dtype == masks.dtype == torch.float32
    assert images.min() >= 0 and images.max() <= 1 and set(masks.unique().tolist()) == {0.0, 1.0}
    inner = masks[:, 0, 2:-2, 2:-2].sum((1, 2))
    assert torch.equal(inner, masks.sum((1, 2, 3))) and inner.min() >= 4
    assert (inner / size**2).max() < 0.4


def test_colours_are_those_that_are_said():
    images, masks = saliency_scenes(60, noise=0.0, seed=1)
    distractors = 0
    for image, mask in zip(images, masks[:, 0] > 0, strict=True):
        assert (image[:, mask].T - image[:, mask].T[0]).abs().max() == 0
        around = image[:, ~mask].T.unique(dim=0)
        assert 1 <= len(around) <= 3
        assert (around - image[:, mask].T[0]).norm(dim=1).min() >= CONTRAST
        ring = torch.cat([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], 1).T
        assert {tuple(c) for c in around.tolist()} == {
            tuple(c) for c in ring.unique(dim=0).tolist()
        }
        distractors += len(around) - 1
    assert distractors > 90


def test_noise_has_its_deviation():
    quiet, _ = saliency_scenes(40, noise=0.0, seed=2)
    loud, _ = saliency_scenes(40, noise=0.05, seed=2)
    inside = (quiet > 0.2) & (quiet < 0.8)
    assert float((loud - quiet)[inside].std()) == pytest.approx(0.05, rel=0.05)


def test_equal_calls_give_equal_scenes():
    first, again, other = (saliency_scenes(3, seed=seed)[0] for seed in (4, 4, 5))
    assert torch.equal(first, again) and not torch.equal(first, other)
    state = torch.get_rng_state()
    saliency_scenes(2)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("count", 0, ValueError),
        ("count", 2.0, TypeError),
        ("count", True, TypeError),
        ("size", 11, ValueError),
        ("noise", -0.1, ValueError),
        ("noise", float("nan"), ValueError),
        ("noise", "much", TypeError),
        ("seed", -1, ValueError),
        ("seed", 2**32, ValueError),
    ],
)
def test_wrong_input(name, value, error):
    with refuses(error, name):
        saliency_scenes(**{"count": 1, name: value})
