"""Sets of digits with their sum."""

from __future__ import annotations

import pytest
import torch

from gdl.data import digit_sums, digits


def indices(x: torch.Tensor, split: str) -> torch.Tensor:
    """Where each image of the sets stands in the split; one image is there twice."""
    images = digits(split)[0].flatten(1)
    same = (x.flatten(0, 1).flatten(1)[:, None] == images).all(2)
    assert same.any(1).all()
    return same.int().argmax(1).unflatten(0, x.shape[:2])


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_sum_is_that_of_the_labels_of_the_images(split):
    x, sums = digit_sums(40, 7, split=split, seed=1)
    assert x.shape == (40, 7, 1, 8, 8) and x.dtype == torch.float32
    assert sums.shape == (40,) and sums.dtype == torch.float32
    labels = digits(split)[1]
    assert torch.equal(sums, labels[indices(x, split)].sum(1).float())


def test_train_and_test_share_no_image_whatever_the_seeds():
    rows = {}
    for split, seed in (("train", 0), ("test", 1)):
        images = digit_sums(200, 20, split=split, seed=seed)[0].flatten(0, 1).flatten(1)
        rows[split] = set(map(tuple, images.tolist()))
    assert len(rows["train"]) > 1200 and len(rows["test"]) > 490
    assert rows["train"].isdisjoint(rows["test"])


def test_equal_calls_give_equal_sets_whatever_the_global_generator():
    torch.manual_seed(0)
    first = digit_sums(20, 5, seed=3)
    torch.manual_seed(1)
    second = digit_sums(20, 5, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], digit_sums(20, 5, seed=4)[0])


def test_all_images_are_drawn_about_equally_often():
    x, sums = digit_sums(5000, 2, split="test")
    counts = indices(x, "test").flatten().bincount(minlength=500)
    assert int((counts > 0).sum()) > 490 and int(counts.max()) < 60
    assert abs(float(sums.mean()) - 2 * float(digits("test")[1].float().mean())) < 0.3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sets": 0}, ValueError, "sets: expected at least 1, got 0"),
        ({"size": 0}, ValueError, "size: expected at least 1, got 0"),
        ({"sets": 3.0}, TypeError, "sets: expected an int, got float"),
        ({"sets": True}, TypeError, "sets: expected an int, got bool"),
        ({"seed": -1}, ValueError, "seed: expected 0 to 4294967295, got -1"),
        ({"split": "dev"}, ValueError, "split: expected one of train, test, all, got 'dev'"),
    ],
    ids=["no sets", "empty sets", "float", "bool", "seed", "split"],
)
def test_digit_sums_names_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        digit_sums(**{"sets": 3, "size": 2, **arguments})
