"""Patches of brick, grass and gravel: where they lie, how they are scaled, which way they face."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from gdl import data

NAMES = ["brick", "grass", "gravel"]
SPLITS = ["train", "test"]
SEEDS = [0, 1, 2]


def halves(name: str) -> dict[str, Tensor]:
    """The two halves of a photograph, in units of the left one, by numpy and in float64."""
    photograph = data.images(name, 256)[0, 0].double().numpy()
    left, right = np.hsplit(photograph, 2)
    scaled = [(half - left.mean()) / left.std(ddof=1) for half in (left, right)]
    return dict(zip(SPLITS, map(torch.from_numpy, scaled), strict=True))


def nearest(patches: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """The (row, column) of the most similar window of each patch, and its root mean square error.

    All windows of the half are compared.
    """
    size = patches.shape[-1]
    windows = half.unfold(0, size, 1).unfold(1, size, 1)
    across = windows.shape[1]
    distances = torch.cdist(patches.double().flatten(1), windows.flatten(0, 1).flatten(1))
    least, index = distances.min(1)
    return torch.stack([index // across, index % across], 1), least / size


def roughness(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Root mean square step down the rows, and across the columns."""
    return tuple(patches.diff(dim=dim).square().mean().sqrt() for dim in (-2, -1))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("split", SPLITS)
def test_every_patch_lies_in_its_half_and_not_in_the_other(split, seed):
    x, y = data.textures(split, size=16, count=20, seed=seed)
    other = "test" if split == "train" else "train"
    for label, name in enumerate(NAMES):
        photograph, patches = halves(name), x[y == label]
        assert nearest(patches, photograph[split])[1].max() < 1e-5
        assert nearest(patches, photograph[other])[1].min() > 1e-2


@pytest.mark.parametrize("split", SPLITS)
def test_every_place_can_be_drawn(split):
    x, y = data.textures(split, size=126, count=300)
    places = torch.cat([nearest(x[y == k], halves(name)[split])[0] for k, name in enumerate(NAMES)])
    assert places.amin(0).tolist() == [0, 0] and places.amax(0).tolist() == [130, 2]


def test_the_training_half_has_mean_zero_and_deviation_one():
    x, y = data.textures("train", size=1, count=100_000)
    for label in range(3):
        pixels = x[y == label].double()
        assert pixels.mean().abs() < 5 * 100_000**-0.5
        assert (pixels.var() - 1).abs() < 5 * (pixels**2).std() * 100_000**-0.5


def test_the_places_of_splits_seeds_and_textures_are_all_different():
    draws = []
    for split, seed in itertools.product(SPLITS, [0, 1, 2, 3]):
        x, y = data.textures(split, size=128, count=10, seed=seed)
        draws += [nearest(x[y == k], halves(name)[split])[0] for k, name in enumerate(NAMES)]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(draws, 2))


@pytest.mark.parametrize("split", SPLITS)
def test_the_patches_depend_on_the_arguments_alone(split):
    before = torch.random.get_rng_state()
    first, labels = data.textures(split, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(5)
    again, _ = data.textures(split, seed=1)
    assert torch.equal(first, again)
    assert torch.equal(labels, torch.tensor([0] * 300 + [1] * 300 + [2] * 300))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("size", "count"), [(1, 1), (128, 2), (7, 3)])
def test_shapes_and_types(split, size, count):
    x, y = data.textures(split, size=size, count=count, seed=2**32 - 1)
    assert x.shape == (3 * count, 1, size, size) and x.dtype == torch.float32
    assert y.shape == (3 * count,) and y.dtype == torch.int64


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("split", SPLITS)
def test_bricks_stand_and_grass_and_gravel_face_no_way(split, seed):
    x, y = data.textures(split, seed=seed)
    down, across = roughness(x[y == 0])
    assert across > 1.5 * down
    for label in (1, 2):
        down, across = roughness(x[y == label])
        assert 1 / 1.2 < across / down < 1.2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"split": "all"}, ValueError, r"split: expected one of train, test, got 'all'"),
        ({"split": None}, ValueError, r"split: expected one of train, test, got None"),
        ({"size": 0}, ValueError, r"size: expected an integer in 1\.\.128, got 0"),
        ({"size": 129}, ValueError, r"size: expected an integer in 1\.\.128, got 129"),
        ({"size": 16.0}, TypeError, r"size: expected an integer, got 16\.0"),
        ({"size": True}, TypeError, r"size: expected an integer, got True"),
        ({"count": 0}, ValueError, r"count: expected an integer of at least 1, got 0"),
        ({"count": "3"}, TypeError, r"count: expected an integer, got '3'"),
        ({"seed": -1}, ValueError, r"seed: expected an integer in 0\.\.4294967295, got -1"),
        ({"seed": 2**32}, ValueError, r"seed: expected an integer in .* got 4294967296"),
        ({"seed": None}, TypeError, r"seed: expected an integer, got None"),
    ],
)
def test_textures_name_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        data.textures(**arguments)
