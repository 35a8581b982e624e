"""Wigner matrices: their laws at ordinary and at awkward rotations, gradients, cost."""

from __future__ import annotations

import math

import pytest
import torch
from e3nn import o3
from torch.utils.flop_counter import FlopCounterMode

from gdl.geometry import random_rotations
from gdl.representations import SO, spherical_irrep
from gdl.rotations import coupling, spherical_harmonics, wigner_d, wigner_tower
from tests.rotations.common import (
    F64,
    about,
    both_dtypes,
    close,
    float64_default,
    gap,
    irrep_about,
    random,
    special_vectors,
)

DEGREES = range(7)
ANGLES = [0.0, 1e-300, 1e-8, 1e-4, 1.0, math.pi - 1e-8, math.pi, 6.0]
AXES = [(0, 1, 0), (0, 0, 1), (1, 0, 0), (1e-8, 1, 0), (1, -2, 3), (1, 1, 1)]


def awkward() -> torch.Tensor:
    """Rotations at the identity, by tiny angles, by half turns, and near the poles."""
    found = [about(axis, angle) for axis in AXES for angle in ANGLES]
    tilts = [about((1, 0, 0), tilt) for tilt in (1e-12, 1e-8, 1e-4, math.pi - 1e-8)]
    turned = [about((0, 1, 0), 2.0) @ tilt @ about((0, 1, 0), -0.7) for tilt in tilts]
    return torch.stack([*found, *turned])


@pytest.mark.parametrize("degree", range(13))
def test_they_turn_the_harmonics(degree):
    """Y(R x) = D(R) Y(x) for random and for awkward rotations."""
    R = torch.cat([random_rotations(20, seed=0), awkward()])
    x = torch.cat([random(5, 3), special_vectors()])
    Y, D = spherical_harmonics(degree, x), wigner_d(degree, R)
    turned = spherical_harmonics(degree, x @ R.mT)
    assert close(turned, Y @ D.mT)
    assert degree == 0 or gap(turned, Y @ D) > 0.1


@pytest.mark.parametrize("degree", DEGREES)
def test_they_are_a_homomorphism_into_rotations(degree):
    R, S = random_rotations(20, seed=0), random_rotations(20, seed=1)
    D = wigner_d(degree, R)
    assert close(wigner_d(degree, R @ S), D @ wigner_d(degree, S))
    assert degree == 0 or gap(wigner_d(degree, R @ S), wigner_d(degree, S) @ D) > 0.1
    assert close(wigner_d(degree, R.mT), D.mT)
    assert close(D @ D.mT, torch.eye(2 * degree + 1, dtype=F64).expand_as(D))
    assert close(torch.linalg.det(D), torch.ones(20, dtype=F64))


@pytest.mark.parametrize("degree", DEGREES)
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_equal_to_the_exponential_of_the_algebra(degree, axis):
    algebra = spherical_irrep(SO(3), degree).algebra
    for angle in ANGLES:
        expected = irrep_about(algebra, axis, angle)
        assert close(wigner_d(degree, about(axis, angle)), expected)


@pytest.mark.parametrize("degree", DEGREES)
def test_equal_to_e3nn_by_angles(degree):
    angles = [a.double() for a in o3.rand_angles(10)]
    with float64_default():
        expected = o3.wigner_D(degree, *angles)
    assert close(wigner_d(degree, o3.angles_to_matrix(*angles)), expected)


def test_tiny_angles_keep_their_digits_where_angles_lose_them():
    """e3nn goes from the matrix to Euler angles, whose cosine forgets 1e-8."""
    R = about((1, -2, 3), 1e-8)
    with float64_default():
        by_angles = o3.Irrep("2e").D_from_matrix(R)
    expected = irrep_about(spherical_irrep(SO(3), 2).algebra, (1, -2, 3), 1e-8)
    assert gap(wigner_d(2, R), expected) < 1e-14
    assert gap(by_angles, expected) > 1e-10


@both_dtypes
@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3), (0,), (2, 0)], ids=str)
def test_batches(shape, dtype):
    count = math.prod(shape)
    R = random_rotations(max(count, 1), seed=0)[:count].reshape(*shape, 3, 3).to(dtype)
    for degree, D in enumerate(wigner_tower(4, R)):
        assert D.shape == (*shape, 2 * degree + 1, 2 * degree + 1)
        assert D.dtype == dtype
        assert torch.equal(D, wigner_d(degree, R))
        each = [wigner_d(degree, one.double()) for one in R.reshape(-1, 3, 3)]
        if each:
            assert gap(D.reshape(-1, *D.shape[-2:]), torch.stack(each)) < 1e-5


def test_strides_do_not_matter_and_nothing_is_shared():
    R = random_rotations(4, seed=0)
    for one in (R.mT, R.flip(0)[::2], R.expand(2, 4, 3, 3), R[:1], R[0]):
        kept = one.clone()
        D = wigner_tower(2, one)
        assert close(D[2], wigner_d(2, one.contiguous()))
        assert torch.equal(D[1], one)
        D[1].zero_()
        assert torch.equal(one, kept)


def test_float32_is_as_good_as_it_can_be():
    R = torch.cat([random_rotations(20, seed=0), awkward()])
    for degree in DEGREES:
        assert gap(wigner_d(degree, R.float()), wigner_d(degree, R)) < 1e-5


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_gradients_are_those_of_finite_differences(degree):
    """At the identity and at half turns too, where angles have no derivative."""
    R = torch.stack([torch.eye(3, dtype=F64), about((0, 1, 0), math.pi), about((1, 2, 3), 1.0)])
    R.requires_grad_()
    assert torch.autograd.gradcheck(lambda M: wigner_tower(degree, M)[degree], R)
    assert degree != 2 or torch.autograd.gradgradcheck(lambda M: wigner_tower(2, M)[2], R[1])


def test_gradients_are_finite_everywhere():
    R = awkward().requires_grad_()
    sum(D.square().sum() for D in wigner_tower(6, R)).backward()
    assert torch.isfinite(R.grad).all()
    assert float(R.grad.abs().max()) > 1


def test_the_derivative_at_the_identity_is_the_algebra():
    for degree in DEGREES:
        algebra = spherical_irrep(SO(3), degree).algebra
        for X, expected in zip(SO(3).defining.algebra, algebra, strict=True):
            eye = torch.eye(3, dtype=F64)
            _, got = torch.autograd.functional.jvp(
                lambda M, l=degree: wigner_tower(l, M)[l], eye, X, strict=False
            )
            assert close(got, expected)


def test_the_cost_is_the_fourth_power_of_the_degree():
    """Multiplications of matrices for one rotation: fifth differences vanish, fourth do not."""

    def cost(degree: int, count: int) -> int:
        with FlopCounterMode(display=False) as counter:
            wigner_tower(degree, torch.eye(3).expand(count, 3, 3))
        return counter.get_total_flops()

    wigner_tower(12, torch.eye(3))
    counts = torch.tensor([cost(degree, 3) - cost(degree, 2) for degree in range(1, 13)])
    assert (counts.diff(n=5) == 0).all()
    assert (counts.diff(n=4) > 0).all()


def test_a_broken_tower_is_seen(monkeypatch):
    """One coefficient tensor of the wrong sign, or with its factors exchanged."""
    R, Y = random_rotations(5, seed=0), spherical_harmonics(3, x := random(1, 3))
    sound = coupling._coefficients(1, 2, 3)
    for broken in (sound.flip(0), sound.roll(1, 2)):
        monkeypatch.setitem(coupling._FOUND, (1, 2, 3), broken)
        assert gap(spherical_harmonics(3, x @ R.mT), Y @ wigner_d(3, R).mT) > 1e-3
