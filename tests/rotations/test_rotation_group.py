"""Signals on SO(3): quadrature, the Fourier transform, lifting and group convolution."""

from __future__ import annotations

import math

import pytest
import scipy.special
import torch
from e3nn import o3

from gdl.equivariance import equivariance_error, equivariant_basis, span_residual
from gdl.representations import spherical_irrep, trivial
from gdl.rotations.rotation_group import (
    LiftingSphereConv,
    RotationConv,
    RotationTransform,
    rotate_rotation_coefficients,
    rotation_grid,
    rotation_size,
)
from gdl.rotations.sphere import _circle, _gauss_legendre, rotate_coefficients, sphere_grid
from tests.rotations.signals import (
    F64,
    ROTATIONS,
    SO3,
    draw,
    matrix_coefficients,
    on_sphere,
    relative,
)
from tests.test_representations import refuses

ELEMENTS = [*ROTATIONS, ROTATIONS[0] @ ROTATIONS[1].T]


def by_angles(degree: int, grid: int) -> torch.Tensor:
    """``sqrt(2l + 1) D^l_mn`` on the grid, by exponentials of the three angles."""
    nodes = torch.from_numpy(scipy.special.roots_legendre(grid + 1)[0]).flip(0)
    steps = torch.arange(2 * grid + 1, dtype=F64) * 2 * math.pi / (2 * grid + 1)
    b, a, c = torch.meshgrid(nodes.arccos(), steps, steps, indexing="ij")
    blocks = []
    for l in range(degree + 1):
        X, Y, _ = spherical_irrep(SO3, l).algebra
        factors = [
            torch.matrix_exp(angle.flatten()[:, None, None] * generator)
            for angle, generator in ((a, Y), (b, X), (c, Y))
        ]
        blocks.append(math.sqrt(2 * l + 1) * (factors[0] @ factors[1] @ factors[2]).flatten(1))
    return torch.cat(blocks, 1)


# Quadrature

# The averages of trace(R)^k over SO(3), the dimension of the isotropic tensors of rank k.
ISOTROPIC = [1, 0, 1, 1, 3, 6, 15, 36, 91]


@pytest.mark.parametrize("degree", [0, 1, 2, 4])
def test_powers_of_the_trace_count_isotropic_tensors(degree):
    rotations, weights = rotation_grid(degree)
    assert len(rotations) == len(weights) == (degree + 1) * (2 * degree + 1) ** 2
    identity = torch.eye(3, dtype=F64).expand_as(rotations)
    assert torch.allclose(rotations @ rotations.mT, identity, atol=1e-14)
    assert torch.allclose(torch.linalg.det(rotations), torch.ones_like(weights))
    trace = rotations.diagonal(dim1=1, dim2=2).sum(1)
    equal = torch.full_like(weights, 1 / len(weights))
    found = [float((weights * trace**k).sum()) for k in range(2 * degree + 1)]
    assert found == pytest.approx(ISOTROPIC[: 2 * degree + 1], abs=1e-11)
    assert degree < 2 or abs(float((equal * trace**2).sum()) - 1) > 1e-2
    top = float((weights * rotations[:, 1, 1] ** (2 * degree + 2)).sum())
    assert abs(top - 1 / (2 * degree + 3)) > 1e-3


@pytest.mark.parametrize(("degree", "grid"), [(0, 0), (1, 2), (4, 4), (6, 6)])
def test_the_matrix_coefficients_are_orthonormal_on_the_grid(degree, grid):
    D = by_angles(degree, grid)
    gram = D.T @ (rotation_grid(grid)[1][:, None] * D)
    assert torch.allclose(gram, torch.eye(rotation_size(degree), dtype=F64), atol=1e-12)


def test_the_grid_is_that_of_e3nns_angles():
    circle, cosines = _circle(2), _gauss_legendre(2)[0]
    b, a, c = torch.meshgrid(cosines.arccos(), circle, circle, indexing="ij")
    expected = o3.angles_to_matrix(a.flatten(), b.flatten(), c.flatten())
    assert torch.allclose(rotation_grid(2)[0], expected, atol=1e-14)


def test_sizes():
    sizes = [rotation_size(degree) for degree in range(13)]
    assert sizes == [sum((2 * l + 1) ** 2 for l in range(top + 1)) for top in range(13)]


# The Fourier transform


@pytest.mark.parametrize(("degree", "grid"), [(0, 0), (1, 3), (4, 4), (3, 5)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_directions_are_sums_over_exponentials(degree, grid, seed):
    transform = RotationTransform(degree, grid_degree=grid, dtype=F64)
    D, weights = by_angles(degree, grid), rotation_grid(grid)[1]
    f, F = draw(2, 3, *transform.grid, seed=seed), draw(2, 3, transform.size, seed=seed)
    assert torch.allclose(transform(f), (f * weights) @ D, atol=1e-12)
    assert torch.allclose(transform.synthesis(F), F @ D.T, atol=1e-11)


@pytest.mark.parametrize("degree", [0, 1, 4, 8])
def test_analysis_inverts_synthesis_and_keeps_the_energy(degree):
    transform = RotationTransform(degree, dtype=F64)
    F = draw(3, transform.size)
    f = transform.synthesis(F)
    assert relative(transform.analysis(f), F) < 1e-13
    energy = (f.square() * rotation_grid(degree)[1]).sum(-1)
    assert torch.allclose(energy, F.square().sum(-1), rtol=1e-12)
    one = transform(torch.ones(transform.grid, dtype=F64))
    expected = transform.one * torch.eye(transform.size, dtype=F64)[0]
    assert torch.allclose(one, expected, atol=1e-13)


def test_moved_coefficients_are_those_of_the_moved_signal():
    F, at = draw(4, rotation_size(3)), ROTATIONS @ ROTATIONS[0]
    for S in ROTATIONS:
        moved = rotate_rotation_coefficients(F, S) @ matrix_coefficients(3, at).T
        assert relative(moved, F @ matrix_coefficients(3, S.T @ at).T) < 1e-12
        assert relative(moved, F @ matrix_coefficients(3, S @ at).T) > 0.1


@pytest.mark.parametrize("shape", [(3, 35), (3, 2, 35), (3, 2, 4, 35)])
def test_each_signal_of_a_batch_may_have_its_own_rotation(shape):
    F = draw(*shape)
    pairs = zip(F, ROTATIONS, strict=True)
    each = torch.stack([rotate_rotation_coefficients(x, R) for x, R in pairs])
    assert torch.allclose(rotate_rotation_coefficients(F, ROTATIONS), each, atol=1e-14)


# Convolutions


def on_sphere_act(R, c):
    return rotate_coefficients(c, R)


def on_rotations_act(R, F):
    return rotate_rotation_coefficients(F, R)


def values(F, rotations):
    """Values (..., n) at rotations (n, 3, 3) of the signals with coefficients F."""
    degree = [rotation_size(l) for l in range(13)].index(F.shape[-1])
    return F @ matrix_coefficients(degree, rotations).T


@pytest.mark.parametrize("degree", [0, 2, 5])
def test_lifting_is_the_integral(degree):
    layer = LiftingSphereConv(2, 3, degree, bias=False, dtype=F64)
    c = draw(4, 2, (degree + 1) ** 2)
    points, weights = (x.flatten(0, 1) for x in sphere_grid(degree))
    f, F = on_sphere(c, points), layer(c).detach()
    for R in ROTATIONS:
        psi = on_sphere(layer.weight.detach(), points @ R)  # R^-1 x, as rows
        integral = torch.einsum("n,bin,oin->bo", weights, f, psi)
        assert relative(values(F, R[None])[..., 0], integral) < 1e-12
        assert degree == 0 or relative(values(F, R.T[None])[..., 0], integral) > 0.1


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_group_convolution_is_the_integral(degree):
    layer = RotationConv(2, 3, degree, bias=False, dtype=F64)
    F = draw(4, 2, rotation_size(degree))
    grid, weights = rotation_grid(degree)
    f, out = values(F, grid), layer(F).detach()
    for R in ROTATIONS:
        psi = values(layer.weight.detach(), R.T @ grid)
        integral = torch.einsum("n,bin,oin->bo", weights, f, psi)
        assert relative(values(out, R[None])[..., 0], integral) < 1e-12
        assert degree == 0 or relative(values(out, R.T[None])[..., 0], integral) > 0.1


def wrong_side(F):
    """Products of the coefficients in the other order, of degree 1."""
    psi = draw(3, 3)
    turned = (psi @ F[..., 1:].unflatten(-1, (3, 3))).flatten(-2)
    return torch.cat([F[..., :1], turned], -1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_convolutions_commute_with_rotations(seed):
    lifting = LiftingSphereConv(2, 3, 6, dtype=F64)
    convolution = RotationConv(2, 3, 4, dtype=F64)
    for layer in (lifting, convolution):
        torch.nn.init.ones_(layer.bias)
    c, F = draw(4, 2, 49, seed=seed), draw(4, 2, rotation_size(4), seed=seed)
    acts = (on_sphere_act, on_rotations_act)
    assert equivariance_error(lifting, c, *acts, ELEMENTS) < 1e-13
    assert equivariance_error(convolution, F, acts[1], acts[1], ELEMENTS) < 1e-13
    small = F[..., :10]
    assert equivariance_error(wrong_side, small, acts[1], acts[1], ELEMENTS) > 0.1


def maps_of(layer, dim_in: int) -> torch.Tensor:
    """One map (d_out, d_in) for each weight."""
    maps = []
    for weight in torch.eye(layer.weight.shape[-1], dtype=F64):
        layer.weight.data = weight[None, None]
        maps.append(layer(torch.eye(dim_in, dtype=F64)[:, None])[:, 0].T.detach())
    return torch.stack(maps)


def spheres(degree: int):
    first, *others = [spherical_irrep(SO3, l) for l in range(degree + 1)]
    return sum(others, start=first)


def groups(degree: int):
    """Coefficients row by row: the rows turn, the columns are copies."""
    first, *others = [
        spherical_irrep(SO3, l) * ((2 * l + 1) * trivial(SO3)) for l in range(degree + 1)
    ]
    return sum(others, start=first)


@pytest.mark.parametrize(
    ("layer", "rho_in", "degree", "count"),
    [
        (LiftingSphereConv, spheres, 1, 4),
        (LiftingSphereConv, spheres, 2, 9),
        (RotationConv, groups, 1, 10),
        (RotationConv, groups, 2, 35),
    ],
    ids=["lifting 1", "lifting 2", "group 1", "group 2"],
)
def test_the_convolutions_are_all_that_the_solver_finds(layer, rho_in, degree, count):
    basis = equivariant_basis(rho_in(degree), groups(degree))
    maps = maps_of(layer(1, 1, degree, bias=False, dtype=F64), rho_in(degree).dim)
    assert len(basis) == len(maps) == count
    assert torch.linalg.matrix_rank(maps.flatten(1)) == count
    assert span_residual(maps, basis) < 1e-10
    assert span_residual(draw(*maps.shape[1:]), basis) > 0.1


@pytest.mark.parametrize("layer", [LiftingSphereConv, RotationConv])
def test_the_bias_raises_each_signal_by_a_number(layer):
    layer = layer(1, 2, 1, dtype=F64)
    x = draw(3, 1, layer.weight.shape[-1])
    with torch.no_grad():
        before = values(layer(x), ROTATIONS)
        layer.bias.copy_(torch.tensor([1.0, -2.0]))
        raised = values(layer(x), ROTATIONS) - before
    assert torch.allclose(raised, layer.bias[:, None].expand_as(raised), atol=1e-13)


@pytest.mark.parametrize("layer", [LiftingSphereConv, RotationConv])
def test_the_first_weights_keep_the_energy(layer):
    torch.manual_seed(0)
    layer = layer(30, 40, 4, dtype=F64)
    x = draw(50, 30, layer.weight.shape[-1], seed=1)
    energies = [y.square().sum(-1).mean() for y in (x, layer(x).detach())]
    assert 0.9 < float(energies[1] / energies[0]) < 1.1


# Wrong input

EYE = torch.eye(3)


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: rotation_grid(-1), ValueError, "degree"),
        (lambda: rotation_grid("2"), TypeError, "degree"),
        (lambda: rotation_size(13), ValueError, "degree"),
        (lambda: RotationTransform(13), ValueError, "degree"),
        (lambda: RotationTransform(2, grid_degree=1), ValueError, "grid_degree"),
        (lambda: RotationTransform(12, grid_degree=20), ValueError, "degree"),
        (lambda: RotationTransform(1, dtype=torch.int64), TypeError, "dtype"),
        (lambda: RotationTransform(1)(torch.zeros(17)), ValueError, "f"),
        (lambda: RotationTransform(1)(torch.zeros(0, 18)), ValueError, "f"),
        (lambda: RotationTransform(1)(torch.zeros(18, dtype=F64)), TypeError, "f"),
        (lambda: RotationTransform(1).synthesis(torch.zeros(9)), ValueError, "F"),
        (lambda: RotationTransform(1).synthesis(torch.full((10,), math.nan)), ValueError, "F"),
        (lambda: rotate_rotation_coefficients(torch.zeros(9), EYE), ValueError, "F"),
        (lambda: rotate_rotation_coefficients(torch.zeros(10).long(), EYE), TypeError, "F"),
        (lambda: rotate_rotation_coefficients(torch.zeros(10), -EYE), ValueError, "rotation"),
        (lambda: rotate_rotation_coefficients(torch.zeros(10), EYE[None]), ValueError, "rotation"),
        (lambda: LiftingSphereConv(1, 0, 2), ValueError, "out_channels"),
        (lambda: LiftingSphereConv(1, 1, 13), ValueError, "degree"),
        (lambda: LiftingSphereConv(2, 1, 1)(torch.zeros(1, 4)), ValueError, "c"),
        (lambda: LiftingSphereConv(1, 1, 1)(torch.zeros(1, 4, dtype=F64)), TypeError, "c"),
        (lambda: RotationConv(1, 1, -1), ValueError, "degree"),
        (lambda: RotationConv(True, 1, 1), TypeError, "in_channels"),
        (lambda: RotationConv(1, 1, 1, bias=None), TypeError, "bias"),
        (lambda: RotationConv(1, 1, 1)(torch.zeros(1, 9)), ValueError, "F"),
        (lambda: RotationConv(1, 1, 1)(torch.full((1, 10), math.inf)), ValueError, "F"),
    ],
)
def test_wrong_input_is_named(call, error, argument):
    with refuses(error, argument):
        call()
