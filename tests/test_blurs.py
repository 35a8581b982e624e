"""Cartoons and the paths of a shaken camera."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gdl.data.blurs import cartoons, motion_kernels
from tests.test_representations import refuses


def refused(error: type[Exception], argument: str, function, *given, **named) -> None:
    with refuses(error, argument):
        function(*given, **named)


@pytest.mark.parametrize("size", [8, 15, 64])
def test_cartoons_are_constant_areas(size):
    x = cartoons(5, size=size, seed=1)
    assert x.shape == (5, 1, size, size) and x.dtype == torch.float32
    assert x.min() >= 0 and x.max() <= 1
    for picture in x:
        assert 2 <= len(picture.unique()) <= 9
    flat = (x.roll(1, 2) == x).float().mean()
    assert flat > (0.4 if size < 16 else 0.85 if size == 64 else 0.5)


def test_cartoons_wrap_around():
    """Columns are as alike across the border as within the picture."""
    x = cartoons(100, seed=2)
    jumps = (x - x.roll(1, 3)).abs().mean((0, 1, 2))
    assert jumps[0] < 1.5 * jumps[1:].mean()


@pytest.mark.parametrize("size", [3, 5, 11, 21])
def test_kernels_are_weights_around_the_middle(size):
    k = motion_kernels(50, size=size, seed=1)
    assert k.shape == (50, size, size) and k.dtype == torch.float32
    assert k.min() >= 0 and (k.sum((1, 2)) - 1).abs().max() < 1e-6
    line = torch.arange(size) - size // 2
    for axis in (1, 2):
        assert (k.sum(axis) @ line.float()).abs().max() < 1e-5


def test_kernels_are_connected_paths_of_some_length():
    from scipy.ndimage import label

    for kernel in motion_kernels(50, seed=3):
        inside = (kernel > 0).numpy()
        assert label(inside, np.ones((3, 3)))[1] == 1
        rows, columns = inside.nonzero()
        assert max(np.ptp(rows), np.ptp(columns)) >= 3
        assert kernel.max() < 0.5


@pytest.mark.parametrize("maker", [cartoons, motion_kernels])
def test_seeds(maker):
    assert torch.equal(maker(3, seed=4), maker(3, seed=4))
    assert torch.equal(maker(5, seed=4)[:3], maker(3, seed=4))
    assert not torch.equal(maker(3, seed=4), maker(3, seed=5))
    x = maker(3, seed=4)
    assert not torch.equal(x[0], x[1])


@pytest.mark.parametrize("maker", [cartoons, motion_kernels])
def test_bad_arguments(maker):
    refused(ValueError, "count", maker, 0)
    refused(TypeError, "count", maker, True)
    refused(ValueError, "size", maker, 1, size=1)
    refused(TypeError, "size", maker, 1, size=8.0)
    refused(ValueError, "seed", maker, 1, seed=-1)
    refused(ValueError, "size", motion_kernels, 1, size=10)
