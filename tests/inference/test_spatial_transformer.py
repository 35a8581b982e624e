"""The spatial transformer: a linear map, exact for whole shifts and for affine pictures."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from gdl.equivariance import equivariance_error
from gdl.inference.spatial_transformer import glimpse, glimpse_matrix, paste, paste_matrix
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN = float("nan")
scales = pytest.mark.parametrize("scale", [0.6, 1.0, 1.7], ids=str)


def at(*where: float, dtype: torch.dtype = F64) -> Tensor:
    return torch.tensor(where, dtype=dtype)


def by_grid_sample(images: Tensor, where: Tensor, size: int, side: int | None = None) -> Tensor:
    """Reading a window by torch, or with a side, drawing it: corners of pixels are at +-1."""
    read, scale, places = images.shape[-1], where[:, 0], where[:, 1:]
    if side is None:
        zoom = scale * (size - 1) / (read - 1)
        shift = (2 * places - (read - 1)) / (read - 1)
    else:
        zoom = (size - 1) / (read - 1) / scale
        shift = ((size - 1) - 2 * places) / (read - 1) / scale[:, None]
    theta = torch.zeros(len(where), 2, 3, dtype=images.dtype)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom
    theta[:, :, 2] = shift.flip(1)
    grid = affine_grid(theta, [*images.shape[:2], size, size], align_corners=True)
    return grid_sample(images, grid, align_corners=True, padding_mode="zeros")


def places(count: int) -> Tensor:
    latent = random(count, 3, seed=5)
    return torch.cat([(0.3 * latent[:, :1]).exp(), 4.5 + 3 * latent[:, 1:]], 1)


def test_torch_reads_the_same():
    images, where = random(7, 2, 10, 10), places(7)
    assert gap(glimpse(images, where, 4), by_grid_sample(images, where, 4)) < 1e-12


def test_torch_draws_the_same():
    windows, where = random(7, 2, 4, 4), places(7)
    assert gap(paste(windows, where, 10), by_grid_sample(windows, where, 10, side=4)) < 1e-12


@both_dtypes
@scales
def test_both_are_their_matrices(scale, dtype):
    where = torch.tensor([[scale, 3.2, 2.6], [scale, 0.0, 4.0]], dtype=dtype)
    images, windows = random(2, 3, 7, 6, dtype=dtype), random(2, 3, 4, 4, dtype=dtype)
    read = glimpse(images, where, 4).flatten(-2)
    drawn = paste(windows, where, 7).flatten(-2)
    close = 1e-12 if dtype == F64 else 1e-5
    assert gap(read, images.flatten(-2) @ glimpse_matrix(where, 7, 6, 4).mT) < close
    assert gap(drawn, windows.flatten(-2) @ paste_matrix(where, 4, 7).mT) < close
    pixels = torch.eye(16, dtype=dtype).reshape(16, 1, 4, 4)
    columns = paste(pixels, where[:1].expand(16, 3), 7).flatten(1)
    assert gap(columns.T, paste_matrix(where[0], 4, 7)) < close


def test_whole_shifts_are_copies():
    image = random(1, 9, 9)
    assert torch.equal(glimpse(image, at(1.0, 4.0, 5.0), 3), image[:, 3:6, 4:7])
    assert torch.equal(glimpse(image, at(1.0, 0.0, 0.0), 3)[:, 1:, 1:], image[:, :2, :2])
    canvas = paste(image[:, :3, :3], at(1.0, 4.0, 5.0), 9)
    assert torch.equal(canvas[:, 3:6, 4:7], image[:, :3, :3])
    assert canvas.count_nonzero() == 9
    assert not torch.equal(glimpse(image, at(1.0, 4.5, 5.0), 3), image[:, 3:6, 4:7])


@scales
def test_shifted_places_shift_the_drawing_and_the_reading(scale):
    """rho_out(g) W = W rho_in(g): torch.roll on canvases, addition on places; half pixels fail."""
    window = random(1, 4, 4)
    where = at(scale, 9.3, 8.8)
    shifts = [(1, 0), (0, -2), (3, 2)]
    error = equivariance_error(
        lambda place: paste(window, place, 20),
        where,
        lambda shift, place: place + at(0.0, *shift),
        lambda shift, canvas: torch.roll(canvas, shift, (-2, -1)),
        shifts,
    )
    assert error < 1e-12
    picture = random(1, 20, 20)
    for shift in shifts:
        rolled = torch.roll(picture, shift, (-2, -1))
        read = glimpse(rolled, where + at(0.0, *shift), 4)
        assert gap(read, glimpse(picture, where, 4)) < 1e-12
    half = torch.roll(paste(window, where, 20), (1, 0), (-2, -1))
    assert gap(paste(window, where + at(0.0, 0.5, 0.0), 20), half) > 0.1


def affine(rows: int, columns: int) -> Tensor:
    r, c = torch.arange(rows, dtype=F64)[:, None], torch.arange(columns, dtype=F64)
    return (2 + 0.7 * r - 1.3 * c)[None]


@scales
def test_affine_pictures_are_read_exactly(scale):
    where = at(scale, 7.3, 8.1)
    found = glimpse(affine(16, 16), where, 5)
    ticks = scale * (torch.arange(5, dtype=F64) - 2)
    exact = 2 + 0.7 * (7.3 + ticks[:, None]) - 1.3 * (8.1 + ticks)
    assert gap(found[0], exact) < 1e-12
    curved = affine(16, 16) ** 2
    assert gap(glimpse(curved, at(1.5, 7.3, 8.1), 5)[0], exact**2) > 0.01


def test_a_window_of_a_window_is_a_window_of_affine_pictures_only():
    first, then = at(1.4, 10.2, 9.7), at(0.8, 3.6, 4.1)
    together = at(1.4 * 0.8, 10.2 + 1.4 * (3.6 - 4), 9.7 + 1.4 * (4.1 - 4))
    for picture, exact in ((affine(21, 21), True), (random(1, 21, 21), False)):
        twice = glimpse(glimpse(picture, first, 9), then, 5)
        assert (gap(twice, glimpse(picture, together, 5)) < 1e-12) == exact


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.0], ids=str)
def test_what_was_drawn_on_pixels_is_read_back(scale):
    window, half = random(2, 4, 4), scale / 2 % 1
    where = at(scale, 10 + half, 9 + half)
    assert gap(glimpse(paste(window, where, 21), where, 4), window) < 1e-12
    between = at(scale, 10.2, 9.7)
    assert gap(glimpse(paste(window, between, 21), between, 4), window) > 0.05


def test_drawing_is_the_adjoint_of_reading_at_scale_one_only():
    for scale in (1.0, 0.8, 2.0):
        where = at(scale, 8.3, 7.9)
        same = gap(paste_matrix(where, 4, 18), glimpse_matrix(where, 18, 18, 4).mT) < 1e-12
        assert same == (scale == 1.0)
    # Drawing keeps brightness and the adjoint keeps the sum: the area of a pixel lies between them.
    for scale in (1.0, 2.0, 3.0):
        where = at(scale, 8.3, 7.9)
        drawn = paste_matrix(where, 4, 18).sum(0)
        adjoint = glimpse_matrix(where, 18, 18, 4).sum(1)
        assert gap(drawn, scale**2 * adjoint) < 1e-12


@pytest.mark.parametrize("function", [glimpse, paste])
def test_gradients_by_differences(function):
    picture = random(2, 1, 6, 6).requires_grad_()
    # No pixel of these windows lies on a pixel of the picture, where weights have a corner.
    where = torch.tensor([[0.83, 2.61, 3.17], [1.29, 3.43, 2.11]], dtype=F64, requires_grad=True)
    size = 4 if function is glimpse else 9
    assert torch.autograd.gradcheck(lambda x, w: function(x, w, size), (picture, where))


def test_leading_axes_dtypes_and_meta():
    images = random(2, 3, 1, 6, 6, dtype=torch.float32)
    where = torch.tensor([1.0, 2.5, 2.5]).expand(2, 3, 3)
    found = glimpse(images, where, 4)
    assert found.shape == (2, 3, 1, 4, 4) and found.dtype == torch.float32
    assert torch.equal(found[1, 2], glimpse(images[1, 2], where[1, 2], 4))
    assert paste(found, where, 6).shape == images.shape
    assert glimpse(images.to("meta"), where.to("meta"), 4).shape == found.shape


GOOD = {"images": torch.zeros(1, 5, 6), "where": torch.ones(3), "size": 3}


@pytest.mark.parametrize(
    ("error", "argument", "value"),
    [
        (ValueError, "size", 6),
        (ValueError, "size", 0),
        (TypeError, "size", True),
        (TypeError, "size", 3.0),
        (TypeError, "images", [[1.0]]),
        (TypeError, "images", torch.zeros(1, 5, 6, dtype=torch.int64)),
        (ValueError, "images", torch.zeros(5, 6)),
        (ValueError, "images", torch.zeros(0, 5, 6)),
        (ValueError, "images", torch.full((1, 5, 6), NAN)),
        (ValueError, "where", torch.ones(2)),
        (ValueError, "where", torch.ones(4, 3)),
        (TypeError, "where", torch.ones(3, dtype=F64)),
        (TypeError, "where", (1.0, 1.0, 1.0)),
        (ValueError, "where", torch.tensor([0.0, 1.0, 1.0])),
        (ValueError, "where", torch.tensor([1.0, NAN, 1.0])),
    ],
)
def test_wrong_input_to_reading(error, argument, value):
    with refuses(error, argument):
        glimpse(**{**GOOD, argument: value})


def test_wrong_input_to_drawing_and_matrices():
    window, where = torch.zeros(1, 3, 3), torch.ones(3)
    for error, argument, call in [
        (ValueError, "size", lambda: paste(window, where, 2)),
        (TypeError, "size", lambda: paste(window, where, 4.0)),
        (ValueError, "windows", lambda: paste(torch.zeros(1, 3, 4), where, 5)),
        (ValueError, "windows", lambda: paste(window + NAN, where, 5)),
        (ValueError, "where", lambda: paste(window, -where, 5)),
        (ValueError, "where", lambda: paste_matrix(torch.ones(2), 3, 5)),
        (ValueError, "size", lambda: paste_matrix(where, 3, 2)),
        (ValueError, "window", lambda: paste_matrix(where, 0, 2)),
        (ValueError, "size", lambda: glimpse_matrix(where, 4, 5, 5)),
        (ValueError, "height", lambda: glimpse_matrix(where, 0, 5, 1)),
        (TypeError, "width", lambda: glimpse_matrix(where, 4, None, 1)),
    ]:
        with refuses(error, argument):
            call()
