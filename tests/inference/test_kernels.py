"""Gaussian kernels: SciPy's distances, motions, and eigenvalues that are known."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.distance import cdist

from gdl.inference.kernels import (
    MOST_POINTS,
    bilateral_kernel,
    gaussian_kernel,
    normalized_kernel,
    pixel_colours,
    pixel_positions,
    spatial_kernel,
)
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("shift", [0.0, 1e4], ids=str)
def test_the_formula_by_scipy(shift):
    f = random(7, 3)
    widths = torch.tensor([0.5, 1.0, 2.0], dtype=F64)
    apart = torch.from_numpy(cdist((f / widths).numpy(), (f / widths).numpy(), "sqeuclidean"))
    wanted = (-apart / 2).exp() * (1 - torch.eye(7, dtype=F64))
    assert gap(gaussian_kernel(f + shift, widths), wanted) < 1e-12 + 1e-15 * shift
    assert gap(gaussian_kernel(f + shift, 0.5), wanted) > 0.1


@both_dtypes
def test_batches_and_dtypes(dtype):
    f = random(2, 3, 5, 4, dtype=dtype)
    kernel = gaussian_kernel(f, 0.7)
    assert kernel.shape == (2, 3, 5, 5) and kernel.dtype == dtype
    assert gap(kernel[1, 2], gaussian_kernel(f[1, 2], 0.7)) < 1e-5
    assert gap(kernel, kernel.mT) < 1e-6
    assert bool((kernel.diagonal(dim1=-2, dim2=-1) == 0).all())
    assert gaussian_kernel(f.to("meta"), 0.7).shape == kernel.shape


def test_motions_change_nothing():
    f = random(6, 3)
    Q = torch.linalg.qr(random(3, 3, seed=1)).Q
    assert gap(gaussian_kernel(f @ Q.T + random(3, seed=2), 0.8), gaussian_kernel(f, 0.8)) < 1e-12
    assert gap(gaussian_kernel(f @ random(3, 3, seed=3), 0.8), gaussian_kernel(f, 0.8)) > 0.01


@pytest.mark.parametrize("width", [0.3, 1.0, 4.0], ids=str)
def test_with_its_diagonal_it_is_positive(width):
    """So that without it no eigenvalue is below -1, and wide kernels come close to that."""
    kernel = spatial_kernel(5, 4, width, dtype=F64)
    values = torch.linalg.eigvalsh(kernel)
    assert values[0] > -1 - 1e-12
    assert (values[0] < -0.98) == (width > 0.9)


def test_pixels_row_by_row():
    p = pixel_positions(3, 4, dtype=F64)
    assert p.shape == (12, 2) and p[2 + 4 * 1].tolist() == [1, 2]
    images = random(2, 3, 3, 4)
    assert torch.equal(pixel_colours(images)[1, 2 + 4 * 1], images[1, :, 1, 2])
    assert torch.equal(pixel_colours(images).mT.reshape(images.shape), images)


def test_bilateral_is_a_product():
    images = random(2, 3, 3, 4)
    near = spatial_kernel(3, 4, 1.3, dtype=F64)
    alike = gaussian_kernel(pixel_colours(images), 0.6)
    assert gap(bilateral_kernel(images, 1.3, 0.6), near * alike) < 1e-14
    assert gap(bilateral_kernel(images, 0.6, 1.3), near * alike) > 0.01
    grey = torch.full((1, 3, 3, 4), 0.4, dtype=F64)
    assert gap(bilateral_kernel(grey, 1.3, 0.6)[0], near) < 1e-14


def test_two_pixels_by_hand():
    images = torch.tensor([[[[0.0, 0.3]]]], dtype=F64)
    found = bilateral_kernel(images, 2.0, 0.5)[0, 0, 1]
    assert math.isclose(found, math.exp(-1 / 8 - 0.09 / 0.5), rel_tol=1e-12)


def test_normalized():
    kernel = bilateral_kernel(random(1, 2, 4, 4), 2.0, 1.0)[0]
    found = normalized_kernel(kernel)
    values, vectors = torch.linalg.eigh(found)
    root = kernel.sum(1).sqrt()
    assert values[0] >= -1 and abs(values[-1] - 1) < 1e-12
    assert gap(vectors[:, -1].abs(), root / root.norm()) < 1e-10
    assert gap(found, found.T) < 1e-15 and gap(normalized_kernel(7 * kernel), found) < 1e-14
    by_rows = kernel / kernel.sum(1, keepdim=True)
    assert gap(by_rows, by_rows.T) > 1e-3
    assert not normalized_kernel(torch.zeros(2, 3, 3)).any()


def test_gradients_by_differences():
    images, widths = random(1, 2, 2, 3), torch.tensor([1.1, 0.7], dtype=F64)

    def kernel(images, widths):
        return normalized_kernel(bilateral_kernel(images, widths[0], widths[1]))

    given = (images.requires_grad_(), widths.requires_grad_())
    assert torch.autograd.gradcheck(kernel, given)


def test_equal_colours_have_finite_gradients():
    images = torch.ones(1, 1, 2, 2, dtype=F64, requires_grad=True)
    bilateral_kernel(images, 1.0, 1.0).sum().backward()
    assert images.grad.abs().max() < 1e-14


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (TypeError, "features", lambda: gaussian_kernel([[0.0]], 1.0)),
        (TypeError, "features", lambda: gaussian_kernel(torch.zeros(2, 2, dtype=torch.int64), 1.0)),
        (ValueError, "features", lambda: gaussian_kernel(torch.zeros(3), 1.0)),
        (ValueError, "features", lambda: gaussian_kernel(torch.zeros(0, 2), 1.0)),
        (ValueError, "features", lambda: gaussian_kernel(torch.tensor([[NAN]]), 1.0)),
        (ValueError, "features", lambda: gaussian_kernel(torch.zeros(MOST_POINTS + 1, 1), 1.0)),
        (ValueError, "widths", lambda: gaussian_kernel(torch.zeros(2, 2), 0.0)),
        (ValueError, "widths", lambda: gaussian_kernel(torch.zeros(2, 2), INF)),
        (TypeError, "widths", lambda: gaussian_kernel(torch.zeros(2, 2), True)),
        (TypeError, "widths", lambda: gaussian_kernel(torch.zeros(2, 2), torch.ones(2, dtype=F64))),
        (ValueError, "widths", lambda: gaussian_kernel(torch.zeros(2, 2), torch.ones(3))),
        (ValueError, "widths", lambda: gaussian_kernel(torch.zeros(2, 2), -torch.ones(2))),
        (ValueError, "widths", lambda: gaussian_kernel(torch.tensor([[0.0], [1e30]]), 1.0)),
        (ValueError, "widths", lambda: gaussian_kernel(torch.tensor([[0.0], [1.0]]), 1e-50)),
        (ValueError, "height", lambda: pixel_positions(0, 3)),
        (TypeError, "width", lambda: pixel_positions(3, 3.0)),
        (TypeError, "dtype", lambda: pixel_positions(3, 3, dtype=torch.int64)),
        (ValueError, "images", lambda: bilateral_kernel(torch.zeros(3, 4, 4), 1.0, 1.0)),
        (ValueError, "images", lambda: bilateral_kernel(torch.zeros(0, 3, 4, 4), 1.0, 1.0)),
        (ValueError, "images", lambda: bilateral_kernel(torch.full((1, 1, 2, 2), INF), 1.0, 1.0)),
        (ValueError, "position_width", lambda: bilateral_kernel(torch.zeros(1, 1, 2, 2), -1, 1.0)),
        (ValueError, "colour_width", lambda: bilateral_kernel(torch.zeros(1, 1, 2, 2), 1, NAN)),
        (ValueError, "kernel", lambda: normalized_kernel(torch.zeros(2, 3))),
        (ValueError, "kernel", lambda: normalized_kernel(-torch.ones(2, 2))),
        (TypeError, "kernel", lambda: normalized_kernel(torch.ones(2, 2, dtype=torch.int64))),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refuses(error, argument, call):
    with refuses(error, argument):
        call()
