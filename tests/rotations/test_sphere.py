"""Signals on the sphere: quadrature, the Fourier transform, rotations, zonal convolution."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import scipy.special
import torch

from gdl.equivariance import equivariance_error, equivariant_basis, span_residual
from gdl.representations import spherical_irrep
from gdl.rotations.sphere import SphericalTransform, ZonalConv, rotate_coefficients, sphere_grid
from tests.rotations.signals import (
    F64,
    ROTATIONS,
    SO3,
    draw,
    harmonics,
    on_sphere,
    relative,
)
from tests.test_representations import refuses


def monomial(a: int, b: int, c: int) -> float:
    """The integral of ``x^a y^b z^c`` over the sphere, in closed form."""
    if a % 2 or b % 2 or c % 2:
        return 0.0
    halves = [math.gamma((power + 1) / 2) for power in (a, b, c)]
    return 2 * math.prod(halves) / math.gamma((a + b + c + 3) / 2)


def worst_monomial(degree: int, points, weights) -> float:
    powers = [p for p in product(range(degree + 1), repeat=3) if sum(p) <= degree]
    return max(
        abs(float((weights * (points ** torch.tensor(p)).prod(-1)).sum()) - monomial(*p))
        for p in powers
    )


# Quadrature


@pytest.mark.parametrize("degree", [0, 1, 2, 5])
def test_polynomials_of_twice_the_degree_are_integrated(degree):
    points, weights = sphere_grid(degree)
    assert points.shape == (degree + 1, 2 * degree + 1, 3)
    assert weights.shape == points.shape[:2] and weights.min() > 0
    assert torch.allclose(points.norm(dim=-1), torch.ones_like(weights), atol=1e-15)
    assert worst_monomial(2 * degree, points, weights) < 1e-13
    # One degree more in the azimuth, two more in the height, and the grid is blind.
    assert worst_monomial(2 * degree + 2, points, weights) > 1e-3
    equal = torch.full_like(weights, 4 * math.pi / weights.numel())
    # One or two rows do weigh the same.
    assert degree < 2 or worst_monomial(2 * degree, points, equal) > 1e-2


@pytest.mark.parametrize("degree", [0, 3, 8])
def test_harmonics_are_orthonormal_on_the_grid(degree):
    points, weights = sphere_grid(degree)
    Y = harmonics(degree, points).flatten(0, 1)
    gram = Y.T @ (weights.flatten()[:, None] * Y)
    assert torch.allclose(gram, torch.eye(len(gram), dtype=F64), atol=1e-13)


def test_rows_run_from_the_north_and_columns_from_z_to_x():
    points, _ = sphere_grid(4)
    assert (points[:, 0, 1].diff() < 0).all()
    assert (points[:, 0, 0] == 0).all() and (points[:, 0, 2] > 0).all()
    azimuth = torch.atan2(points[..., 0], points[..., 2])
    assert torch.allclose(azimuth[:, 1], torch.full((5,), 2 * math.pi / 9, dtype=F64))


# The Fourier transform


@pytest.mark.parametrize(("degree", "grid"), [(0, 0), (1, 1), (4, 4), (4, 7), (10, 10), (11, 16)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_directions_are_sums_over_e3nns_harmonics(degree, grid, seed):
    transform = SphericalTransform(degree, grid_degree=grid, dtype=F64)
    points, weights = sphere_grid(grid)
    Y = harmonics(degree, points)
    f, c = draw(2, 3, *transform.grid, seed=seed), draw(2, 3, transform.size, seed=seed)
    expected = torch.einsum("bcrs,rs,rsk->bck", f, weights, Y)
    assert torch.allclose(transform(f), expected, atol=1e-12)
    assert torch.allclose(transform.synthesis(c), torch.einsum("bck,rsk->bcrs", c, Y), atol=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 6, 12, 30, 64])
def test_analysis_inverts_synthesis_and_keeps_the_energy(degree):
    transform = SphericalTransform(degree, dtype=F64)
    c = draw(3, transform.size)
    f = transform.synthesis(c)
    assert relative(transform.analysis(f), c) < 1e-13
    energy = (f.square() * sphere_grid(degree)[1]).sum((-2, -1))
    assert torch.allclose(energy, c.square().sum(-1), rtol=1e-12)


def test_a_rough_signal_keeps_its_low_coefficients_up_to_the_limit_of_the_grid():
    degree, grid = 3, 6
    transform = SphericalTransform(degree, grid_degree=grid, dtype=F64)
    for rough, exact in ((2 * grid - degree, True), (2 * grid - degree + 3, False)):
        c = draw(1, (rough + 1) ** 2)
        f = on_sphere(c, sphere_grid(grid)[0].reshape(-1, 3)).unflatten(-1, transform.grid)
        error = relative(transform(f), c[:, : transform.size])
        assert error < 1e-12 if exact else error > 1e-2


def test_one_is_the_coefficient_of_the_constant():
    transform = SphericalTransform(2, dtype=F64)
    c = transform(torch.ones(transform.grid, dtype=F64))
    assert torch.allclose(c, transform.one * torch.eye(9, dtype=F64)[0], atol=1e-14)


# Rotations


def test_rotated_coefficients_are_those_of_the_rotated_signal():
    c, points = draw(3, 49), torch.nn.functional.normalize(draw(20, 3, seed=1), dim=-1)
    for R in ROTATIONS:
        expected = on_sphere(c, points @ R)  # R^-1 x, as rows
        assert relative(on_sphere(rotate_coefficients(c, R), points), expected) < 1e-12
        assert relative(on_sphere(rotate_coefficients(c, R.T), points), expected) > 0.1


def test_a_step_of_the_columns_is_a_rotation_about_the_pole():
    transform = SphericalTransform(5, dtype=F64)
    c = draw(2, transform.size)
    angle = 2 * math.pi / transform.grid[1]
    about_y = torch.tensor(
        [
            [math.cos(angle), 0, math.sin(angle)],
            [0, 1, 0],
            [-math.sin(angle), 0, math.cos(angle)],
        ],
        dtype=F64,
    )
    rolled = transform.synthesis(c).roll(1, -1)
    assert relative(transform.synthesis(rotate_coefficients(c, about_y)), rolled) < 1e-13
    assert relative(transform.synthesis(rotate_coefficients(c, about_y.T)), rolled) > 0.1


@pytest.mark.parametrize("shape", [(3, 16), (3, 2, 16), (3, 2, 4, 16)])
def test_each_signal_of_a_batch_may_have_its_own_rotation(shape):
    c = draw(*shape)
    each = torch.stack([rotate_coefficients(x, R) for x, R in zip(c, ROTATIONS, strict=True)])
    assert torch.allclose(rotate_coefficients(c, ROTATIONS), each, atol=1e-14)


# Zonal convolution


@pytest.mark.parametrize("degree", [0, 2, 6])
def test_zonal_convolution_is_the_integral(degree):
    layer = ZonalConv(2, 3, degree, bias=False, dtype=F64)
    c = draw(4, 2, (degree + 1) ** 2)
    points, weights = sphere_grid(degree)
    points, weights = points.reshape(-1, 3), weights.flatten()
    x = torch.nn.functional.normalize(draw(5, 3, seed=1), dim=-1)
    with torch.no_grad():
        kernel = layer.kernel((x @ points.T).flatten()).unflatten(-1, (5, len(points)))
        integral = torch.einsum("oixn,n,bin->box", kernel, weights, on_sphere(c, points))
        assert relative(on_sphere(layer(c), x), integral) < 1e-12


def test_the_weights_are_those_of_funk_and_hecke():
    layer = ZonalConv(1, 2, 5, dtype=F64)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    kernel = layer.kernel(torch.from_numpy(nodes)).detach().numpy()[:, 0]
    for l in range(6):
        P = scipy.special.eval_legendre(l, nodes)
        found = 2 * math.pi * (kernel * P * weights).sum(-1)
        np.testing.assert_allclose(found, layer.weight[:, 0, l].detach(), atol=1e-13)


def act(R, c):
    return rotate_coefficients(c, R)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_zonal_convolution_commutes_with_rotations_and_no_other_does(seed):
    layer, c = ZonalConv(2, 3, 6, dtype=F64), draw(4, 2, 49, seed=seed)
    torch.nn.init.ones_(layer.bias)
    elements = [*ROTATIONS, ROTATIONS[0] @ ROTATIONS[1]]
    assert equivariance_error(layer, c, act, act, elements) < 1e-13
    pointed = draw(49, seed=seed)
    assert equivariance_error(lambda c: pointed * c, c, act, act, elements) > 0.1


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_the_zonal_maps_are_all_that_the_solver_finds(degree):
    rho = sum(
        (spherical_irrep(SO3, l) for l in range(1, degree + 1)), start=spherical_irrep(SO3, 0)
    )
    basis = equivariant_basis(rho, rho)
    assert len(basis) == degree + 1
    layer = ZonalConv(1, 1, degree, bias=False, dtype=F64)
    maps = []
    for weight in torch.eye(degree + 1, dtype=F64):
        layer.weight.data = weight[None, None]
        columns = layer(torch.eye(rho.dim, dtype=F64)[:, None])[:, 0]
        maps.append(columns.T.detach())
    assert span_residual(torch.stack(maps), basis) < 1e-10
    rank = torch.linalg.matrix_rank(torch.stack(maps).flatten(1))
    assert rank == len(basis)


def test_the_bias_raises_each_signal_by_a_number():
    layer, c = ZonalConv(2, 3, 2, dtype=F64), draw(4, 2, 9)
    transform = SphericalTransform(2, dtype=F64)
    with torch.no_grad():
        before = transform.synthesis(layer(c))
        layer.bias.copy_(torch.tensor([1.0, -2.0, 0.5]))
        raised = transform.synthesis(layer(c)) - before
    assert torch.allclose(raised, layer.bias[:, None, None].expand_as(raised), atol=1e-14)


# Wrong input

NAN = torch.full((1, 9), math.nan)


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: sphere_grid(-1), ValueError, "degree"),
        (lambda: sphere_grid(65), ValueError, "degree"),
        (lambda: sphere_grid(2.0), TypeError, "degree"),
        (lambda: SphericalTransform(True), TypeError, "degree"),
        (lambda: SphericalTransform(4, grid_degree=3), ValueError, "grid_degree"),
        (lambda: SphericalTransform(4, grid_degree=65), ValueError, "grid_degree"),
        (lambda: SphericalTransform(4, dtype=torch.int64), TypeError, "dtype"),
        (lambda: SphericalTransform(2)(torch.zeros(3, 4)), ValueError, "f"),
        (lambda: SphericalTransform(2)(torch.zeros(0, 3, 5)), ValueError, "f"),
        (lambda: SphericalTransform(2)(torch.zeros(3, 5, dtype=F64)), TypeError, "f"),
        (lambda: SphericalTransform(2)(torch.zeros(3, 5).long()), TypeError, "f"),
        (lambda: SphericalTransform(2)(torch.full((3, 5), math.inf)), ValueError, "f"),
        (lambda: SphericalTransform(2).synthesis(torch.zeros(8)), ValueError, "c"),
        (lambda: SphericalTransform(2).synthesis(NAN), ValueError, "c"),
        (lambda: rotate_coefficients(torch.zeros(8), torch.eye(3)), ValueError, "c"),
        (lambda: rotate_coefficients(torch.zeros(0), torch.eye(3)), ValueError, "c"),
        (lambda: rotate_coefficients(torch.zeros(14**2), torch.eye(3)), ValueError, "c"),
        (lambda: rotate_coefficients(NAN, torch.eye(3)), ValueError, "c"),
        (lambda: rotate_coefficients("c", torch.eye(3)), TypeError, "c"),
        (lambda: rotate_coefficients(torch.zeros(9), -torch.eye(3)), ValueError, "rotation"),
        (lambda: rotate_coefficients(torch.zeros(9), 2 * torch.eye(3)), ValueError, "rotation"),
        (lambda: rotate_coefficients(torch.zeros(9), torch.eye(3)[None]), ValueError, "rotation"),
        (
            lambda: rotate_coefficients(torch.zeros(2, 9), torch.eye(3).expand(3, 3, 3)),
            ValueError,
            "rotation",
        ),
        (lambda: ZonalConv(0, 1, 2), ValueError, "in_channels"),
        (lambda: ZonalConv(1, 1.0, 2), TypeError, "out_channels"),
        (lambda: ZonalConv(1, 1, 65), ValueError, "degree"),
        (lambda: ZonalConv(1, 1, 2, bias=1), TypeError, "bias"),
        (lambda: ZonalConv(1, 1, 2, dtype=torch.complex64), TypeError, "dtype"),
        (lambda: ZonalConv(2, 1, 2)(torch.zeros(9)), ValueError, "c"),
        (lambda: ZonalConv(2, 1, 2)(torch.zeros(1, 9)), ValueError, "c"),
        (lambda: ZonalConv(1, 1, 2)(NAN), ValueError, "c"),
        (lambda: ZonalConv(1, 1, 2).kernel(torch.tensor([1.1])), ValueError, "cosine"),
        (lambda: ZonalConv(1, 1, 2).kernel(torch.zeros(1, 1)), ValueError, "cosine"),
    ],
)
def test_wrong_input_is_named(call, error, argument):
    with refuses(error, argument):
        call()
