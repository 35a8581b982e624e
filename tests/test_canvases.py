"""Canvases with digits that do not overlap."""

from __future__ import annotations

import pytest
import torch

from gdl.data import digits as small_digits
from gdl.data.canvases import digit_canvases
from tests.test_representations import refuses

SIDE = 8


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("split", ["train", "test"])
def test_each_canvas_is_the_sum_of_its_digits(split, most):
    canvases = digit_canvases(60, size=24, most=most, split=split, seed=1)
    stored, labels = small_digits(split)
    known = {tuple(x.flatten().tolist()): int(y) for x, y in zip(stored, labels, strict=True)}
    for image, count, corners, found in zip(
        canvases.images, canvases.counts, canvases.corners, canvases.labels, strict=True
    ):
        left = image.clone()
        for (row, column), label in zip(corners[:count].tolist(), found[:count], strict=True):
            window = left[:, row : row + SIDE, column : column + SIDE]
            assert known[tuple(window.flatten().tolist())] == int(label)
            window.zero_()
        assert left.count_nonzero() == 0
        assert bool((corners[count:] == -1).all()) and bool((found[count:] == -1).all())
    assert canvases.images.dtype == torch.float32 and canvases.images.shape == (60, 1, 24, 24)
    assert canvases.counts.unique().tolist() == list(range(most + 1))


def test_squares_never_overlap_and_reach_every_place():
    canvases = digit_canvases(20_000, seed=0)
    pairs = canvases.corners[canvases.counts == 2]
    assert bool(((pairs[:, 0] - pairs[:, 1]).abs().amax(-1) >= SIDE).all())
    one = canvases.corners[canvases.counts == 1, 0]
    places = (13 * one[:, 0] + one[:, 1]).bincount(minlength=169)
    mean = len(one) / 169
    assert len(places) == 169 and float((places - mean).abs().max()) < 5 * mean**0.5
    shares = canvases.counts.bincount() / 20_000
    assert float((shares - 1 / 3).abs().max()) < 0.015


def test_two_digits_are_in_no_order():
    first, second = digit_canvases(20_000, seed=3).corners.double().unbind(1)
    both = second[:, 0] >= 0
    gap = (first - second)[both].mean(0).abs()
    assert float(gap.max()) < 5 * 7 / float(both.sum()) ** 0.5


def test_equal_calls_give_equal_canvases_whatever_the_global_generator():
    torch.manual_seed(0)
    first = digit_canvases(20, seed=3)
    torch.manual_seed(1)
    assert torch.equal(first.images, digit_canvases(20, seed=3).images)
    assert not torch.equal(first.images, digit_canvases(20, seed=4).images)


def test_digits_of_ones_own():
    given = torch.full((2, 1, 28, 28), 0.5), torch.tensor([3, 7])
    canvases = digit_canvases(30, size=64, digits=given, seed=0)
    assert canvases.images.shape == (30, 1, 64, 64)
    assert torch.equal(canvases.images.sum((1, 2, 3)), canvases.counts * 28**2 * 0.5)
    assert set(canvases.labels.flatten().tolist()) == {-1, 3, 7}


def test_the_fullest_canvas_has_one_arrangement():
    canvases = digit_canvases(10, size=16, most=2, seed=0)
    assert bool((canvases.corners.amax((1, 2)) <= 8).all())


@pytest.mark.parametrize(
    ("error", "argument", "values"),
    [
        (ValueError, "size", {"size": 7}),
        (ValueError, "most", {"size": 10}),
        (ValueError, "most", {"size": 80, "most": 101, "count": 100_000}),
        (ValueError, "most", {"most": 0}),
        (ValueError, "count", {"count": 0}),
        (TypeError, "count", {"count": True}),
        (TypeError, "size", {"size": 20.0}),
        (ValueError, "seed", {"seed": -1}),
        (ValueError, "split", {"split": "val"}),
        (TypeError, "digits", {"digits": torch.zeros(3, 1, 8, 8)}),
        (ValueError, "digits", {"digits": (torch.zeros(3, 8, 8), torch.zeros(3).long())}),
        (ValueError, "digits", {"digits": (torch.zeros(3, 1, 8, 8), torch.zeros(2).long())}),
        (ValueError, "digits", {"digits": (torch.zeros(0, 1, 8, 8), torch.zeros(0).long())}),
        (TypeError, "digits", {"digits": (torch.zeros(3, 1, 8, 8), torch.zeros(3))}),
        (TypeError, "digits", {"digits": (torch.zeros(3, 1, 8, 8).int(), torch.zeros(3).long())}),
        (ValueError, "digits", {"digits": (torch.zeros(1, 1, 8, 8) / 0, torch.zeros(1).long())}),
    ],
)
def test_wrong_input(error, argument, values):
    with refuses(error, argument):
        digit_canvases(**{"count": 30, **values})
