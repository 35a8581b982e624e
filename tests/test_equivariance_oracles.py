"""The oracles: characters, orbits and the Reynolds operator."""

from __future__ import annotations

import math

import pytest
import torch

from gdl import representations as reps
from gdl.equivariance import (
    dimension_by_characters,
    dimension_by_orbits,
    equivariant_basis,
    reynolds,
)
from gdl.representations import Representation
from tests.test_representations import close, random, refuses, tensor

TIGHT = 1e-10
SO2, O2, SO3, O3 = reps.SO(2), reps.O(2), reps.SO(3), reps.O(3)


def test_characters_by_hand():
    S3 = reps.symmetric(3).defining
    assert dimension_by_characters(S3, S3) == 2
    assert dimension_by_characters(reps.trivial(S3.group), S3) == 1
    assert dimension_by_characters(S3.determinant, S3) == 0
    assert dimension_by_characters(reps.regular(S3.group), S3) == 3
    Q8 = reps.quaternion().defining
    assert dimension_by_characters(Q8, Q8) == 4


def test_characters_of_a_product_of_groups():
    group = reps.direct_product(reps.cyclic(3), reps.cyclic(3))
    a = reps.pull_back(reps.circular_irrep(reps.cyclic(3), 1), group, 1)
    b = reps.pull_back(reps.circular_irrep(reps.cyclic(3), 1), group, 2)
    for rho in (a, a * b, a + b):
        for sigma in (a, a * b, a + b):
            assert dimension_by_characters(rho, sigma) == len(equivariant_basis(rho, sigma))


@pytest.mark.parametrize("m", range(4))
@pytest.mark.parametrize("n", range(4))
def test_characters_of_the_circle(m, n):
    for group in (SO2, O2):
        rho, sigma = reps.circular_irrep(group, m), reps.circular_irrep(group, n)
        for a, b in ((rho, sigma), (rho * rho, sigma), (rho * sigma, rho * sigma)):
            assert dimension_by_characters(a, b) == len(equivariant_basis(a, b))


@pytest.mark.parametrize("parity", [1, -1])
def test_characters_of_space(parity):
    for l in range(3):
        V = reps.spherical_irrep(O3, l, parity)
        assert dimension_by_characters(V, V) == 1
        assert dimension_by_characters(V, reps.spherical_irrep(O3, l, -parity)) == 0
        assert dimension_by_characters(V * V, V * V) == 2 * l + 1
        assert dimension_by_characters(V * V, reps.trivial(O3)) == 1
    high = reps.spherical_irrep(SO3, 9)
    assert dimension_by_characters(high, high) == 1


def test_characters_refuse_what_is_no_representation():
    SO3_half = Representation(SO3, [], [0.4 * X for X in SO3.defining.algebra], check=False)
    with refuses(ValueError, "rho_in, rho_out"):
        dimension_by_characters(SO3_half, SO3.defining)
    for group in (reps.lorentz(), reps.SO(4)):
        with refuses(ValueError, "group"):
            dimension_by_characters(group.defining, group.defining)


def test_orbits_by_hand():
    Z4, D4 = reps.cyclic(4).defining, reps.dihedral(4).defining
    assert dimension_by_orbits(Z4, Z4) == 4 and dimension_by_orbits(D4, D4) == 3
    assert (
        dimension_by_orbits(2 * Z4, Z4) == 8
        and dimension_by_orbits(Z4, reps.trivial(Z4.group)) == 1
    )
    still = reps.trivial(Z4.group, 3)
    assert dimension_by_orbits(still, still) == 9
    line = reps.cyclic(100).defining
    assert dimension_by_orbits(line, line) == 100


@pytest.mark.parametrize(
    "group", [reps.dihedral(5), reps.alternating(4), reps.wreath(2, 2)], ids=str
)
def test_orbits_equal_characters(group):
    V = group.defining
    for rho, sigma in ((V, V), (V * V, V), (V, reps.trivial(group)), (V * V, V * V + V)):
        assert dimension_by_orbits(rho, sigma) == dimension_by_characters(rho, sigma)


def test_orbits_need_permutations():
    group = reps.cyclic(4)
    turn = reps.circular_irrep(group, 1)
    for pair in ((turn, group.defining), (group.defining, turn)):
        with refuses(ValueError, "rho_in, rho_out"):
            dimension_by_orbits(*pair)


@pytest.mark.parametrize("oracle", [dimension_by_characters, dimension_by_orbits])
def test_same_group_and_type(oracle):
    Z4, Z5 = reps.cyclic(4).defining, reps.cyclic(5).defining
    with refuses(ValueError, "rho_out"):
        oracle(Z4, Z5)
    with refuses(TypeError, "rho_in"):
        oracle("Z4", Z4)
    with refuses(TypeError, "rho_out"):
        oracle(Z4, None)


# --- Reynolds -----------------------------------------------------------------------------------


def test_reynolds_by_hand():
    Z3 = reps.cyclic(3).defining
    W = tensor([[3, 0, 0], [0, 0, 6], [0, 0, 0]])
    assert close(reynolds(W, Z3, Z3), tensor([[1, 2, 0], [0, 1, 2], [2, 0, 1]]))


@pytest.mark.parametrize(
    "pair",
    [
        (reps.symmetric(3).defining, reps.regular(reps.symmetric(3))),
        (reps.dihedral(5).defining, reps.circular_irrep(reps.dihedral(5), 1)),
        (reps.quaternion().defining, reps.quaternion().defining),
    ],
    ids=str,
)
def test_reynolds_is_the_projector(pair):
    rho_in, rho_out = pair
    W = random(3, 2, rho_out.dim, rho_in.dim)
    R = reynolds(W, rho_in, rho_out)
    assert R.shape == W.shape and close(reynolds(R, rho_in, rho_out), R, TIGHT)
    basis = equivariant_basis(rho_in, rho_out)
    assert close(basis.project(W), R, TIGHT)
    for g in rho_in.group.random(3):
        assert close(rho_out(g) @ R, R @ rho_in(g), TIGHT)
    units = torch.eye(rho_out.dim * rho_in.dim, dtype=torch.float64)
    matrix = reynolds(units.reshape(-1, rho_out.dim, rho_in.dim), rho_in, rho_out).flatten(1)
    assert abs(float(torch.trace(matrix)) - len(basis)) < TIGHT


def test_reynolds_of_images_that_are_not_orthogonal():
    change = tensor([[1.0, 2.0], [0.0, 1.0]])
    turn = reps.circular_irrep(reps.cyclic(4), 1)
    skew = Representation(turn.group, [change @ turn.generators[0] @ torch.linalg.inv(change)])
    R = reynolds(random(2, 2), turn, skew)
    g = turn.group.generator(0)
    assert close(skew(g) @ R, R @ turn(g), TIGHT) and float(R.abs().max()) > 1e-2
    assert close(reynolds(change, turn, skew), change, TIGHT)


def test_reynolds_dtypes():
    Z3 = reps.cyclic(3).defining
    for dtype in (torch.float32, torch.int64, torch.bool):
        assert reynolds(torch.eye(3, dtype=dtype), Z3, Z3).dtype == torch.float64


@pytest.mark.parametrize(
    ("W", "error"),
    [
        (torch.ones(2, 3), ValueError),
        (torch.ones(3), ValueError),
        (torch.ones(3, 3).numpy(), ValueError),
        (torch.full((3, 3), math.nan), ValueError),
        (torch.full((3, 3), math.inf), ValueError),
        (torch.ones(3, 3) * 1j, TypeError),
        (None, ValueError),
    ],
    ids=str,
)
def test_reynolds_refuses(W, error):
    Z3 = reps.cyclic(3).defining
    with refuses(error, "W"):
        reynolds(W, Z3, Z3)


def test_reynolds_needs_a_finite_group():
    with refuses(ValueError, "group"):
        reynolds(torch.eye(3), SO3.defining, SO3.defining)
    with refuses(ValueError, "rho_out"):
        reynolds(torch.eye(3), reps.cyclic(3).defining, reps.symmetric(3).defining)
    with refuses(TypeError, "rho_in"):
        reynolds(torch.eye(3), None, SO3.defining)


def test_characters_of_products_with_many_repeated_eigenvalues():
    """torch.linalg.eigvals does not converge for these generators."""
    V = [reps.spherical_irrep(SO3, degree) for degree in range(5)]
    assert dimension_by_characters(V[2] * V[4], V[3]) == 1
    assert dimension_by_characters(V[4] * V[1], V[2]) == 0
