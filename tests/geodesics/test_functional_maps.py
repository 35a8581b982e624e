"""Functional maps: isometries are orthogonal and commute, maps of points respect products."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import torch
from torch import Tensor

from gdl.geodesics import functional_maps
from gdl.geodesics.functional_maps import (
    fit_functional_map,
    functional_map,
    pointwise_map,
    transfer,
    zoomout,
)
from gdl.geodesics.mesh import Mesh
from gdl.geodesics.spectrum import Eigenbasis, eigenbasis
from gdl.geodesics.surfaces import stretch
from tests.geodesics.network_samples import F64, mesh_of, random, refuses, relative

seeds = pytest.mark.parametrize("seed", [0, 1, 2])
# Sizes that cut no eigenspace: l to 2, 3 and 4 on the sphere.
isometric = pytest.mark.parametrize(
    ("name", "k"), [("sphere", 9), ("sphere", 16), ("sphere", 25), ("bumpy", 20), ("flat", 12)]
)


@functools.cache
def basis_of(name: str, k: int) -> Eigenbasis:
    return eigenbasis(mesh_of(name), k)


def renumbered(mesh: Mesh, seed: int) -> tuple[Mesh, Tensor]:
    """The same surface, and for each of its vertices the vertex of the old one."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(mesh.num_vertices, generator=generator)
    return mesh.permuted(order), order.argsort()


def pair(name: str, k: int, seed: int = 0) -> tuple[Eigenbasis, Eigenbasis, Tensor]:
    other, T = renumbered(mesh_of(name), seed)
    return basis_of(name, k), eigenbasis(other, k), T


def apart(C: Tensor, D: Tensor) -> float:
    return float((C - D).abs().max())


def orthogonal(k: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(random(k, k, seed=seed))[0]


def commutator(C: Tensor, one: Eigenbasis, two: Eigenbasis) -> float:
    largest = max(one.values.max(), two.values.max())
    return apart(C * one.values, two.values[:, None] * C) / float(largest)


# --- maps of points -----------------------------------------------------------------------------


@isometric
@seeds
def test_an_isometry_is_orthogonal_and_commutes(name, k, seed):
    one, two, T = pair(name, k, seed)
    C = functional_map(one, two, T)
    eye = torch.eye(k, dtype=F64)
    assert C.shape == (k, k) and apart(C.T @ C, eye) < 1e-12
    assert commutator(C, one, two) < 1e-12
    # Controls: no isometry, and the isometry the wrong way round.
    wide = eigenbasis(stretch(mesh_of(name), (1.3, 1.0, 0.8)), k)
    D = functional_map(wide, two, T)
    assert apart(D.T @ D, eye) > 0.05 and commutator(D, wide, two) > 0.01
    assert commutator(functional_map(one, two, T.argsort()), one, two) > 0.01


def test_a_fold_is_the_identity():
    one, two = basis_of("flat", 12), eigenbasis(mesh_of("folded"), 12)
    C = functional_map(one, two, torch.arange(54))
    assert apart(C.abs(), torch.eye(12, dtype=F64)) < 1e-10


@isometric
def test_functions_pulled_back_have_the_mapped_coefficients(name, k):
    one, two, T = pair(name, k)
    f = one.synthesise(random(k, 3))
    C = functional_map(one, two, T)
    assert relative(C @ one.project(f), two.project(f[T])) < 1e-12
    assert relative(transfer(C, one, two, f), f[T]) < 1e-12
    assert relative(transfer(C, one, two, f[:, 0]), f[T, 0]) < 1e-12
    assert relative(transfer(C, one, two, f), f) > 0.1


def test_maps_of_points_compose_contravariantly():
    """T: 2 -> 1 and S: 3 -> 2 give T o S: 3 -> 1, and the matrix of S times that of T."""
    mesh = mesh_of("sphere")
    two, T = renumbered(mesh, 0)
    three, S = renumbered(two, 1)
    bases = [eigenbasis(m, 16) for m in (mesh, two, three)]
    C, D = functional_map(*bases[:2], T), functional_map(*bases[1:], S)
    assert apart(functional_map(bases[0], bases[2], T[S]), D @ C) < 1e-11
    assert apart(functional_map(bases[0], bases[2], T[S]), C @ D) > 0.1


def test_a_rectangular_map():
    """From a coarse surface to a fine one, by the coarse vertex nearest to each fine one."""
    one, two = basis_of("torus", 7), basis_of("bumpy", 11)
    T = torch.cdist(mesh_of("bumpy").vertices, mesh_of("torus").vertices).argmin(1)
    C = functional_map(one, two, T)
    assert C.shape == (11, 7)
    f = random(126, 2)
    expected = two.vectors @ two.project(one.synthesise(one.project(f))[T])
    assert relative(transfer(C, one, two, f), expected) < 1e-12
    assert transfer(C[:5, :3], one, two, f).shape == (162, 2)


@seeds
def test_only_maps_of_points_respect_products(seed):
    n = mesh_of("flat").num_vertices
    one, two, T = pair("flat", n, seed)
    f, g = random(n, 1, seed=seed), random(n, 1, seed=seed + 10)

    def defect(C: Tensor) -> float:
        product = transfer(C, one, two, f) * transfer(C, one, two, g)
        return relative(transfer(C, one, two, f * g), product)

    assert defect(functional_map(one, two, T)) < 1e-11
    squeezed = torch.randint(n, (n,), generator=torch.Generator().manual_seed(seed))
    assert defect(functional_map(one, two, squeezed)) < 1e-11
    assert defect(orthogonal(n, seed)) > 0.5


# --- from a matrix to points --------------------------------------------------------------------


@seeds
@pytest.mark.parametrize("name", ["bumpy", "sphere", "flat"])
def test_the_map_of_points_comes_back(name, seed):
    one, two, T = pair(name, 25, seed)
    C = functional_map(one, two, T)
    assert torch.equal(pointwise_map(C, one, two), T)
    assert torch.equal(pointwise_map(C[:20, :20], one, two), T)
    assert not torch.equal(pointwise_map(orthogonal(25, seed) @ C, one, two), T)


def test_the_nearest_point_by_hand():
    """Also where the matrix is far from orthogonal: it is applied to the rows of surface 2."""
    one, two, C = basis_of("bumpy", 6), basis_of("torus", 5), random(5, 6)
    rows = two.vectors @ C
    expected = (rows[:, None] - one.vectors).norm(dim=2).argmin(1)
    assert torch.equal(pointwise_map(C, one, two), expected)


@seeds
@pytest.mark.parametrize("step", [1, 4])
def test_zoomout_grows_a_small_map_into_the_exact_one(seed, step):
    one, two, T = pair("bumpy", 30, seed)
    exact = functional_map(one, two, T)
    begin = exact[:8, :8] + 0.15 * random(8, 8, seed=seed)
    wrong = (pointwise_map(begin, one, two) != T).double().mean()
    refined = zoomout(begin, one, two, step=step)
    assert wrong > 0.25 and apart(refined, exact) < 1e-10
    assert torch.equal(pointwise_map(refined, one, two), T)


def test_zoomout_of_rectangles_and_of_complete_maps():
    one, two, T = pair("bumpy", 20)
    fewer = dataclasses.replace(two, values=two.values[:12], vectors=two.vectors[:, :12])
    exact = functional_map(one, two, T)
    assert zoomout(exact[:9, :9], one, fewer, step=5).shape == (12, 20)
    assert apart(zoomout(exact, one, two), exact) < 1e-10


# --- fits ---------------------------------------------------------------------------------------


@seeds
@pytest.mark.parametrize("commute", [0.0, 1e-3, 1.0])
def test_enough_descriptors_give_the_isometry(seed, commute):
    one, two, T = pair("bumpy", 20, seed)
    f = random(162, 25, seed=seed)
    C = fit_functional_map(one, two, f, f[T], commute=commute)
    assert apart(C, functional_map(one, two, T)) < 1e-10


def test_few_descriptors_need_the_penalty():
    one, two, T = pair("bumpy", 20)
    f = random(162, 4)
    exact = functional_map(one, two, T)
    with refuses(ValueError, "descriptors_1"):
        fit_functional_map(one, two, f, f[T], commute=0.0)
    C = fit_functional_map(one, two, f, f[T])
    assert apart(C, exact) < 1e-8


def test_rows_solve_the_whole_problem():
    """The slope of the penalised sum of squares is zero, and any step away from it goes up."""
    one, two = basis_of("torus", 9), basis_of("bumpy", 7)
    f, g, weight = random(126, 12), random(162, 12), 0.3
    A, B = one.project(f), two.project(g)
    largest = torch.cat([one.values, two.values]).max()

    def loss(C: Tensor) -> Tensor:
        commutes = (C * one.values - two.values[:, None] * C) / largest
        return (C @ A - B).square().sum() + weight * A.square().sum() * commutes.square().sum()

    C = fit_functional_map(one, two, f, g, commute=weight).requires_grad_()
    (slope,) = torch.autograd.grad(loss(C), C)
    assert C.shape == (7, 9) and slope.abs().max() < 1e-9 * A.square().sum()
    assert all(loss(C + 1e-3 * random(7, 9, seed=s)) > loss(C) for s in range(3))


def test_a_larger_weight_commutes_better():
    one, two = basis_of("torus", 9), basis_of("bumpy", 7)
    f, g = random(126, 12), random(162, 12)
    gaps = [
        commutator(fit_functional_map(one, two, f, g, commute=w), one, two) for w in (0, 0.01, 1, 9)
    ]
    assert all(later < earlier for earlier, later in zip(gaps[:-1], gaps[1:], strict=True))


def test_scales_of_descriptors_and_surfaces_do_not_matter():
    one, two = basis_of("flat", 9), basis_of("bumpy", 7)
    f, g = random(54, 12), random(162, 12)
    C = fit_functional_map(one, two, f, g)
    for scale in (100, 1e200, 1e-170, 1e-300):
        assert apart(fit_functional_map(one, two, scale * f, scale * g), C) < 1e-10
    # Scaled unlike, the map follows, and the penalty stays.
    unlike = fit_functional_map(one, two, 1e-170 * f, 1e20 * g)
    assert apart(unlike * 1e-190, C) < 1e-10
    wide = [
        eigenbasis(stretch(mesh_of(name), (7, 7, 7)), k) for name, k in (("flat", 9), ("bumpy", 7))
    ]
    # Eigenvectors may come with other signs.
    assert apart(fit_functional_map(*wide, f, g).abs(), C.abs()) < 1e-8


# --- bad input ----------------------------------------------------------------------------------

ONE, TWO = basis_of("torus", 9), basis_of("bumpy", 7)
C0, F0, G0 = random(7, 9), random(126, 9), random(162, 9)
T0 = torch.arange(162) % 126
# Finite, and of infinite coefficients.
H0 = torch.full((126, 9), 1.5e308, dtype=F64)


@pytest.mark.parametrize(
    ("call", "argument", "error"),
    [
        (lambda: functional_map(ONE.vectors, TWO, T0), "basis_1", TypeError),
        (lambda: functional_map(ONE, mesh_of("bumpy"), T0), "basis_2", TypeError),
        (lambda: functional_map(ONE, TWO, T0.double()), "correspondence", TypeError),
        (lambda: functional_map(ONE, TWO, T0.tolist()), "correspondence", TypeError),
        (lambda: functional_map(ONE, TWO, T0.to("meta")), "correspondence", TypeError),
        (lambda: functional_map(ONE, TWO, T0.to_sparse()), "correspondence", TypeError),
        (lambda: functional_map(ONE, TWO, T0[1:]), "correspondence", ValueError),
        (lambda: functional_map(TWO, ONE, T0), "correspondence", ValueError),
        (lambda: functional_map(ONE, TWO, T0 + 1), "correspondence", ValueError),
        (lambda: functional_map(ONE, TWO, T0 - 1), "correspondence", ValueError),
        (lambda: fit_functional_map(ONE, TWO, F0, F0), "descriptors_2", ValueError),
        (lambda: fit_functional_map(ONE, TWO, G0, G0), "descriptors_1", ValueError),
        (lambda: fit_functional_map(ONE, TWO, F0, G0[:, :3]), "descriptors_2", ValueError),
        (lambda: fit_functional_map(ONE, TWO, F0[:, :0], G0[:, :0]), "descriptors_1", ValueError),
        (lambda: fit_functional_map(ONE, TWO, F0 * torch.nan, G0), "descriptors_1", ValueError),
        (lambda: fit_functional_map(ONE, TWO, H0, G0), "descriptors_1", ValueError),
        (lambda: fit_functional_map(TWO, ONE, G0, H0), "descriptors_2", ValueError),
        (
            lambda: fit_functional_map(ONE, TWO, 1e-200 * F0, 1e200 * G0),
            "descriptors_2",
            ValueError,
        ),
        (lambda: transfer(1e308 * torch.ones_like(C0), ONE, TWO, H0[:, :1]), "C", ValueError),
        (lambda: fit_functional_map(ONE, TWO, F0, G0.float()), "descriptors_2", TypeError),
        (lambda: fit_functional_map(ONE, TWO, F0, G0.numpy()), "descriptors_2", TypeError),
        (lambda: fit_functional_map(ONE, TWO, F0, G0, commute=-1), "commute", ValueError),
        (lambda: fit_functional_map(ONE, TWO, F0, G0, commute="1"), "commute", TypeError),
        (lambda: fit_functional_map(ONE, TWO, 0 * F0, G0), "descriptors_1", ValueError),
        (lambda: pointwise_map(C0.T, ONE, TWO), "C", ValueError),
        (lambda: pointwise_map(C0, TWO, ONE), "C", ValueError),
        (lambda: pointwise_map(C0[0], ONE, TWO), "C", ValueError),
        (lambda: pointwise_map(C0[:0], ONE, TWO), "C", ValueError),
        (lambda: pointwise_map(C0.float(), ONE, TWO), "C", TypeError),
        (lambda: pointwise_map(C0 * torch.inf, ONE, TWO), "C", ValueError),
        (lambda: pointwise_map(C0.to("meta"), ONE, TWO), "C", TypeError),
        (lambda: pointwise_map(C0, None, TWO), "basis_1", TypeError),
        (lambda: zoomout(C0.T, ONE, TWO), "C", ValueError),
        (lambda: zoomout(C0, ONE, TWO, step=0), "step", ValueError),
        (lambda: zoomout(C0, ONE, TWO, step=1.5), "step", TypeError),
        (lambda: transfer(C0, ONE, TWO, G0), "f", ValueError),
        (lambda: transfer(C0, ONE, TWO, F0[None]), "f", ValueError),
        (lambda: transfer(C0, ONE, TWO, F0[:, 0].float()), "f", TypeError),
        (lambda: transfer(C0, ONE, TWO, [1.0]), "f", TypeError),
        (lambda: transfer(C0[None], ONE, TWO, F0), "C", ValueError),
    ],
)
def test_bad_arguments(call, argument, error):
    with refuses(error, argument):
        call()


def test_zoomout_grows_rows_and_columns_each_by_a_step(monkeypatch):
    basis = eigenbasis(mesh_of("bumpy"), 12)
    shapes = []
    nearest = functional_maps._nearest

    def recorded(C, *vectors):
        shapes.append(tuple(C.shape))
        return nearest(C, *vectors)

    monkeypatch.setattr(functional_maps, "_nearest", recorded)
    zoomout(torch.eye(12, dtype=F64)[:5, :9], basis, basis, step=2)
    assert shapes == [(5, 9), (7, 11), (9, 12), (11, 12)]
