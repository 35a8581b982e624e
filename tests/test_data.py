"""Data sets that ship inside dependencies: content, splits, places, licences."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
from hypothesis import given
from hypothesis import strategies as st

from gdl import data
from gdl.data import idx

README = Path(__file__).parents[1] / "data" / "README.md"


def row_hashes(x: torch.Tensor) -> Counter:
    return Counter(image.numpy().tobytes() for image in x)


# Digits


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_digit_splits_partition_the_stored_digits(seed):
    train, y_train = data.digits("train", seed=seed)
    test, y_test = data.digits("test", seed=seed)
    everything, labels = data.digits("all")
    assert (train.shape, test.shape) == ((1297, 1, 8, 8), (500, 1, 8, 8))
    assert row_hashes(train) + row_hashes(test) == row_hashes(everything)
    assert torch.equal(y_train.bincount() + y_test.bincount(), labels.bincount())
    shares = labels.bincount() * 500 / 1797
    assert (y_test.bincount() - shares).abs().max() < 1


def test_digits_keep_images_with_their_labels():
    everything, labels = data.digits("all")
    label_of = {
        image.numpy().tobytes(): int(y) for image, y in zip(everything, labels, strict=True)
    }
    for split in ("train", "test"):
        pairs = zip(*data.digits(split), strict=True)
        assert all(label_of[image.numpy().tobytes()] == y for image, y in pairs)


def test_digits_are_the_stored_counts_over_sixteen():
    x, y = data.digits("all")
    assert x.dtype == torch.float32 and y.dtype == torch.int64
    counts = (x * 16).round()
    assert torch.equal(counts / 16, x)
    file = Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"
    stored = np.loadtxt(file, delimiter=",")
    assert np.array_equal(counts.reshape(1797, 64).numpy(), stored[:, :-1])
    assert np.array_equal(y.numpy(), stored[:, -1])


def test_the_digit_split_does_not_move_between_versions():
    x, _ = data.digits("test")
    counts = (x * 16).round().to(torch.uint8).numpy()
    expected = "6b259e4b4d2cd1064bfe6e2e55e1f83583ad6cbf3213461cc64c6e145073736e"
    assert hashlib.sha256(counts.tobytes()).hexdigest() == expected


def test_digit_splits_differ_between_seeds_only():
    first, again, other = (data.digits("test", seed=s)[0] for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_digits_refuse_an_unknown_split():
    with pytest.raises(ValueError, match=r"split: expected one of train, test, all, got 'val'"):
        data.digits("val")


# Places on a canvas


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(st.integers(0, 5), st.integers(0, 4), st.integers(0, 2**16))
def test_place_is_the_shift_of_the_corner_image(dtype, row, column, seed):
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed)).to(dtype)
    corner = data.place(images, 9, torch.zeros(2, 2, dtype=torch.int64))
    moved = data.place(images, 9, torch.tensor([[row, column], [0, 0]]))
    assert moved.dtype == dtype and moved.shape == (2, 3, 9, 9)
    assert torch.equal(corner[:, :, :4, :5], images)
    assert torch.equal(moved[0], corner[0].roll((row, column), (-2, -1)))
    assert torch.equal(moved[1], corner[1])


@pytest.mark.parametrize(
    ("shape", "size", "offsets", "message"),
    [
        ((1, 8, 8), 16, [[0, 0]], r"images: expected shape \(N, C, h, w\), got \(1, 8, 8\)"),
        ((1, 1, 8, 8), 7, [[0, 0]], r"size: expected at least 8 for 8 x 8 images, got 7"),
        ((1, 1, 8, 8), 16, [[0, 9]], r"offsets: .*0\.\.8, got \(0, 9\)"),
        ((1, 1, 8, 8), 16, [[-1, 0]], r"offsets: .*0\.\.8, got \(-1, 0\)"),
        ((2, 1, 8, 8), 16, [[0, 0]], r"offsets: expected int64 of shape \(2, 2\), got .*\(1, 2\)"),
        ((1, 1, 8, 8), 16, [[0.0, 0.0]], r"offsets: expected int64 of shape .* got torch.float32"),
    ],
)
def test_place_names_what_is_wrong(shape, size, offsets, message):
    with pytest.raises(ValueError, match=message):
        data.place(torch.zeros(shape), size, torch.tensor(offsets))


def test_digits_on_canvas_hold_the_digit_at_its_offset_and_nothing_else():
    x, y, offsets = data.digits_on_canvas(20, split="test", seed=1)
    plain, labels = data.digits("test")
    assert torch.equal(y, labels) and x.shape == (500, 1, 20, 20)
    for image, digit, (row, column) in zip(x, plain, offsets.tolist(), strict=True):
        assert torch.equal(image[:, row : row + 8, column : column + 8], digit)
    assert torch.equal(x.sum((1, 2, 3)), plain.sum((1, 2, 3)))
    assert offsets.amin(0).tolist() == [0, 0] and offsets.amax(0).tolist() == [12, 12]


def test_digits_on_canvas_draw_only_the_allowed_places_and_all_of_them():
    allowed = [(0, 0), (4, 8), (8, 1)]
    _, _, offsets = data.digits_on_canvas(16, allowed, split="test")
    places = Counter(map(tuple, offsets.tolist()))
    assert set(places) == set(allowed)
    assert min(places.values()) > 100


def test_digits_on_canvas_depend_on_the_seed_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = data.digits_on_canvas(16, split="test", seed=0)[2]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, data.digits_on_canvas(16, split="test", seed=0)[2])
    assert not torch.equal(first, data.digits_on_canvas(16, split="test", seed=1)[2])


@pytest.mark.parametrize(
    ("size", "positions", "message"),
    [
        (7, None, "size: expected at least 8, got 7"),
        (16, [], "positions: expected at least one"),
        (16, [(1, 2, 3)], r"positions: .* of shape \(1, 3\)"),
        (16, [(0.5, 1)], "positions: .*got torch.float32"),
        (16, [(0, 0), (9, 3)], r"positions: expected rows in 0\.\.8 .* got \(9, 3\)"),
    ],
)
def test_digits_on_canvas_name_what_is_wrong(size, positions, message):
    with pytest.raises(ValueError, match=message):
        data.digits_on_canvas(size, positions)


# Images


@pytest.mark.parametrize("name", data.IMAGES)
def test_every_image_ships_inside_the_wheel(name, no_network, monkeypatch, tmp_path):
    monkeypatch.setenv("SKIMAGE_DATADIR", str(tmp_path))
    image = data.images(name, 48)
    assert image.shape == (1, 1, 48, 48) and image.dtype == torch.float32
    assert 0 <= image.min() < image.max() <= 1
    assert list(tmp_path.iterdir()) == []


def test_an_image_is_the_mean_over_areas_of_its_central_square():
    import skimage.data

    stored = skimage.data.clock()
    assert stored.shape == (300, 400)
    square = stored[:, 50:350].astype(float) / 255
    expected = square.reshape(50, 6, 50, 6).mean((1, 3))
    assert np.abs(data.images("clock", 50)[0, 0].numpy() - expected).max() < 1e-6


def test_colour_images_become_grey_by_luminance():
    import skimage.color
    import skimage.data

    expected = skimage.color.rgb2gray(skimage.data.astronaut())
    assert np.abs(data.images("astronaut", 512)[0, 0].numpy() - expected).max() < 1e-6


def test_several_images_keep_their_order():
    both = data.images(["camera", "brick"], 32)
    assert torch.equal(both, torch.cat([data.images("camera", 32), data.images("brick", 32)]))


@pytest.mark.parametrize(
    ("names", "size", "message"),
    [
        ("lena", 64, "names: expected one of astronaut, .* got 'lena'"),
        (["camera", "coins"], 64, "names: .* got 'coins'"),
        ([], 64, "names: expected at least one name, got none"),
        ("text", 173, r"size: expected 1\.\.172 for 'text', got 173"),
        ("text", 0, r"size: expected 1\.\.172 for 'text', got 0"),
    ],
)
def test_images_name_what_is_wrong(names, size, message):
    with pytest.raises(ValueError, match=message):
        data.images(names, size)


def test_the_readme_states_licence_and_checksum_of_everything():
    text = README.read_text(encoding="utf-8")
    licences = dict(re.findall(r"^\| `(\w+)` \| (CC0|public domain) \|", text, re.MULTILINE))
    assert licences == data.IMAGES
    for name, file in idx.MNIST_FILES.items():
        assert f"| `{name}` | {file.size} | `{file.sha256}` |" in text
