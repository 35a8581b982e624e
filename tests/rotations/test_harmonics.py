"""Spherical harmonics: their law, three independent sources, extreme vectors, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from e3nn import o3
from scipy.special import sph_harm_y

from gdl.representations import SO, spherical_irrep
from gdl.rotations import spherical_harmonics, unit
from tests.rotations.common import F64, both_dtypes, close, gap, random, special_vectors

DEGREES = range(7)


@pytest.mark.parametrize("degree", DEGREES)
def test_rotations_act_by_the_irrep(degree):
    """Y(R x) = D(R) Y(x), with D from the exponential of the algebra."""
    x, rho = torch.cat([random(20, 3), special_vectors()]), spherical_irrep(SO(3), degree)
    Y = spherical_harmonics(degree, x)
    for g in SO(3).random(5, seed=0):
        turned = spherical_harmonics(degree, x @ SO(3).defining(g).T)
        assert close(turned, Y @ rho(g).T)
        assert degree == 0 or gap(turned, Y @ rho(g)) > 0.1


@pytest.mark.parametrize("degree", DEGREES)
def test_the_inversion_gives_the_parity(degree):
    x = random(10, 3)
    Y = spherical_harmonics(degree, x)
    assert torch.equal(spherical_harmonics(degree, -x), (-1) ** degree * Y)


def test_two_degrees_by_hand():
    x, y, z = (v := random(10, 3) / 2).unbind(-1)
    root = math.sqrt(15)
    second = [
        root * x * z, root * x * y, math.sqrt(5) * (y * y - (x * x + z * z) / 2), root * y * z,
        root / 2 * (z * z - x * x),
    ]  # fmt: skip
    expected = torch.stack([torch.ones_like(x), *(math.sqrt(3) * v.T), *second], -1)
    assert close(spherical_harmonics([0, 1, 2], v, normalize=False), expected)
    other_axis = spherical_harmonics([0, 1, 2], v[:, [1, 2, 0]], normalize=False)
    assert gap(other_axis, expected) > 0.1


@pytest.mark.parametrize("normalization", ["component", "integral", "norm"])
@pytest.mark.parametrize("normalize", [True, False])
def test_equal_to_e3nn(normalization, normalize):
    x, degrees = torch.cat([random(20, 3), special_vectors()]), list(range(12))
    options = {"normalization": normalization, "normalize": normalize}
    expected = o3.spherical_harmonics(degrees, x, **options)
    got = spherical_harmonics(degrees, x, **options)
    assert gap(got / expected.abs().clamp(min=1), expected / expected.abs().clamp(min=1)) < 1e-12


@pytest.mark.parametrize("degree", [0, 1, 2, 5, 12, 30, 64])
def test_equal_to_scipy(degree):
    """Its polar axis is z and its harmonics are complex: the axes are renamed, the parts taken."""
    x = unit(torch.cat([random(20, 3), special_vectors()]))
    east, polar, north = x.numpy().T
    theta, phi = np.arctan2(np.hypot(east, north), polar), np.arctan2(east, north)
    m = np.arange(degree + 1)[:, None]
    values = (-1.0) ** m * sph_harm_y(degree, m, theta, phi) * np.where(m, math.sqrt(2), 1)
    expected = np.concatenate([values.imag[:0:-1], values.real]).T
    got = spherical_harmonics(degree, x, normalization="integral")
    assert close(got, torch.from_numpy(expected), 1e-11)


def test_orthonormal_under_exact_quadrature():
    """Gauss-Legendre nodes in y, equal angles about it."""
    top = 8
    y, weights = np.polynomial.legendre.leggauss(top + 1)
    phi = 2 * math.pi * np.arange(2 * top + 1) / (2 * top + 1)
    radius = np.sqrt(1 - y**2)[:, None]
    axes = [radius * np.sin(phi), y[:, None] + 0 * phi, radius * np.cos(phi)]
    points = torch.from_numpy(np.stack(axes, -1))
    Y = spherical_harmonics(range(top + 1), points, normalization="integral").flatten(0, 1)
    measure = torch.from_numpy(np.repeat(weights * 2 * math.pi / len(phi), len(phi)))
    assert close(Y.T @ (measure[:, None] * Y), torch.eye((top + 1) ** 2, dtype=F64))


@pytest.mark.parametrize(
    ("normalization", "square"),
    [("component", lambda l: 2 * l + 1), ("norm", lambda l: 1.0),
     ("integral", lambda l: (2 * l + 1) / (4 * math.pi))],
    ids=["component", "norm", "integral"],
)  # fmt: skip
def test_the_length_does_not_depend_on_the_direction(normalization, square):
    x = torch.cat([random(20, 3), special_vectors()])
    for degree in (0, 1, 6, 40, 64):
        Y = spherical_harmonics(degree, x, normalization=normalization)
        assert gap(Y.square().sum(-1) / square(degree), torch.ones(len(x), dtype=F64)) < 1e-12


@both_dtypes
@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-30, 1e30, 1e200, 1e300])
def test_only_the_direction_counts(dtype, scale):
    if dtype == torch.float32:
        scale = max(min(scale, 1e35), 1e-35)
    x = torch.cat([random(5, 3), torch.tensor([[3.0, -4.0, 12.0]])]).to(dtype)
    Y, eps = spherical_harmonics(range(7), x), torch.finfo(dtype).eps
    assert close(spherical_harmonics(range(7), scale * x), Y, 200 * eps)
    assert close(unit(scale * x).norm(dim=-1), torch.ones(len(x), dtype=dtype), 4 * eps)


def test_float32_is_as_good_as_it_can_be():
    x = random(50, 3)
    exact, single = (spherical_harmonics(range(7), v) for v in (x, x.float()))
    assert single.dtype == torch.float32
    assert gap(single, exact) < 1e-5


def test_denormal_numbers_have_a_direction():
    for tiny in (
        torch.tensor([3e-45, -1e-44, 0.0]),
        torch.tensor([1e-322, 0.0, -3e-320], dtype=F64),
    ):
        u = unit(tiny)
        assert torch.isfinite(u).all()
        assert abs(float(u.norm()) - 1) < 1e-6
        assert torch.equal(u.sign(), tiny.sign())


def test_the_zero_vector_has_the_only_value_that_rotations_keep():
    zero = torch.zeros(3, dtype=F64)
    for normalize in (True, False):
        Y = spherical_harmonics(range(5), zero, normalize=normalize)
        assert torch.equal(Y, torch.tensor([1.0] + 24 * [0.0], dtype=F64))


def test_without_normalisation_they_are_homogeneous_polynomials():
    x = random(10, 3)
    for degree in (0, 1, 2, 5):
        p = spherical_harmonics(degree, x, normalize=False)
        assert gap(spherical_harmonics(degree, 3 * x, normalize=False), 3**degree * p) < 1e-10
        on_sphere = spherical_harmonics(degree, x) * x.norm(dim=-1, keepdim=True) ** degree
        assert close(p, on_sphere, 1e-11)


def test_shapes_and_the_order_of_degrees():
    x = random(2, 3, 3)
    Y = spherical_harmonics([2, 0, 1, 0], x)
    assert Y.shape == (2, 3, 10)
    assert torch.equal(Y, torch.cat([spherical_harmonics(l, x) for l in (2, 0, 1, 0)], -1))
    assert torch.equal(spherical_harmonics((l for l in (1, 2)), x[0, 0]), Y.new_tensor(
        [*spherical_harmonics(1, x[0, 0]), *spherical_harmonics(2, x[0, 0])]))  # fmt: skip
    assert spherical_harmonics(np.int64(3), x[:0]).shape == (0, 3, 7)
    flipped = x.transpose(0, 1)
    assert not flipped.is_contiguous()
    assert torch.equal(spherical_harmonics(2, flipped), Y[..., :5].transpose(0, 1))


@pytest.mark.parametrize("normalize", [True, False])
def test_gradients_are_those_of_finite_differences(normalize):
    """At the poles, on the axes and the diagonals too; the second derivatives as well."""
    x = torch.tensor([[0.0, -1, 0], [1, 0, 0], [1, 1, 1], [0.3, -2, 0.4]], dtype=F64)
    x.requires_grad_()

    def f(v):
        return spherical_harmonics([0, 1, 3], v, normalize=normalize)

    assert torch.autograd.gradcheck(f, x)
    assert torch.autograd.gradgradcheck(f, x)


@both_dtypes
def test_gradients_at_zero_are_zero(dtype):
    x = torch.zeros(2, 3, dtype=dtype, requires_grad=True)
    for f in (unit, lambda v: spherical_harmonics(range(6), v)):
        (gradient,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
        assert torch.equal(gradient, torch.zeros_like(x))
    polynomial = spherical_harmonics([0, 2, 3], x, normalize=False)
    assert torch.equal(torch.autograd.grad(polynomial.sum(), x)[0], torch.zeros_like(x))


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_the_gradient_of_a_direction(scale):
    """d u / d x = (1 - u u^T) / |x|."""
    x = scale * torch.tensor([1.0, -2.0, 2.0], dtype=F64)
    u = x / scale / 3
    expected = (torch.eye(3, dtype=F64) - torch.outer(u, u)) / 3
    assert close(torch.func.jacrev(unit)(x) * scale, expected)
