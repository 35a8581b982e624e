"""Averages over a finite group: the Reynolds operator and the invariant inner product."""

from __future__ import annotations

import math

import pytest
import torch

from gdl import representations as reps
from gdl.equivariance import equivariant_basis
from gdl.equivariance import reynolds as handed_on
from gdl.representations import (
    Group,
    Representation,
    decompose,
    frobenius_schur,
    invariant_inner_product,
    orthogonalise,
    regular,
    reynolds,
)
from tests.test_representations import close, random, refuses, tensor

TIGHT = 1e-10
D4, Q8, A4 = reps.dihedral(4), reps.quaternion(), reps.alternating(4)
S3, S4 = reps.symmetric(3), reps.symmetric(4)


def skewed(rho: Representation, seed: int = 0, strength: float = 0.5) -> Representation:
    """The representation in a basis that is not orthonormal."""
    noise = torch.randn(rho.dim, rho.dim, generator=torch.Generator().manual_seed(seed)).double()
    change = torch.eye(rho.dim, dtype=torch.float64) + strength * noise / math.sqrt(rho.dim)
    back = torch.linalg.inv(change)
    images = [
        change @ rho(rho.group.generator(i)) @ back for i in range(len(rho.group.generator_names))
    ]
    return Representation(rho.group, images, name=f"skewed {rho.name}")


def test_the_solver_hands_the_average_on():
    assert handed_on is reynolds


@pytest.mark.parametrize("rho_in", [S3.defining, skewed(S3.defining)], ids=str)
@pytest.mark.parametrize("rho_out", [regular(S3), skewed(regular(S3), 1)], ids=str)
def test_reynolds_is_the_sum_over_all_words(rho_in, rho_out):
    W = random(2, rho_out.dim, rho_in.dim)
    words = [rho_out(g.inverse()) @ W @ rho_in(g) for g in S3.elements()]
    assert close(reynolds(W, rho_in, rho_out), sum(words) / 6, TIGHT)


@pytest.mark.parametrize("group", [S4, Q8, reps.translations(2, 3)], ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_invariant_inner_product(group, seed):
    rho = skewed(group.defining, seed)
    B = invariant_inner_product(rho)
    assert close(B, sum(rho(g).T @ rho(g) for g in group.elements()) / group.order, TIGHT)
    assert close(B, B.T) and float(torch.linalg.eigvalsh(B).min()) > 0
    for g in group.random(3):
        assert close(rho(g).T @ B @ rho(g), B, TIGHT)
    images = rho.generators
    assert not any(close(a.T @ a, torch.eye(rho.dim).double(), 1e-3) for a in images)
    basis = equivariant_basis(rho, rho.dual)
    assert close(basis.project(B), B, TIGHT)


def test_the_invariant_inner_product_by_hand():
    stretched = Representation(reps.cyclic(2), [tensor([[0, 2], [0.5, 0]])])
    assert close(invariant_inner_product(stretched), tensor([[0.625, 0], [0, 2.5]]))
    straight, C = orthogonalise(stretched)
    assert close(C, torch.diag(tensor([0.625, 2.5]).sqrt()), TIGHT)
    assert close(straight.generators[0], tensor([[0, 1], [1, 0]]), TIGHT)


@pytest.mark.parametrize("group", [S4, Q8, A4], ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_orthogonalise(group, seed):
    rho = skewed(group.defining, seed)
    straight, change = orthogonalise(rho)
    one = torch.eye(rho.dim, dtype=torch.float64)
    assert close(change, change.T, TIGHT)
    for g in group.random(3):
        assert close(straight(g).T @ straight(g), one, TIGHT)
        assert close(straight(g) @ change, change @ rho(g), TIGHT)
    again, still = orthogonalise(straight)
    assert close(still, one, TIGHT) and close(again(g), straight(g), TIGHT)


def test_permutations_are_orthogonal_already():
    straight, change = orthogonalise(S4.defining)
    assert straight is S4.defining and torch.equal(change, torch.eye(4, dtype=torch.float64))
    assert torch.equal(invariant_inner_product(S4.defining), torch.eye(4, dtype=torch.float64))


def test_averages_find_what_is_no_representation():
    broken = Representation(reps.cyclic(3), [tensor([[2.0]])], check=False)
    with refuses(ValueError, "rho"):
        invariant_inner_product(broken)
    with refuses(ValueError, "rho"):
        orthogonalise(broken)
    swap = Representation(D4, [torch.tensor([1, 2, 3, 0]), torch.tensor([1, 0, 2, 3])], check=False)
    with pytest.raises(ValueError, match=r"^generators: \(s r\)\^2 = 1 holds in D_4 but fails"):
        decompose(swap)
    with refuses(ValueError, "rho"):
        frobenius_schur(Representation(reps.cyclic(2), [tensor([[1.5]])], check=False))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_changes_of_basis_that_rounding_spoils_are_refused(seed):
    draw = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(seed)).double()
    Q, P = torch.linalg.qr(draw).Q
    for power, spoilt in ((3, False), (5, True)):
        change = Q @ torch.diag(torch.logspace(0, power, 4).double()) @ P
        back = torch.linalg.inv(change)
        images = [change @ S4.defining(S4.generator(i)) @ back for i in range(2)]
        rho = Representation(S4, images, check=False)
        if spoilt:
            with refuses(ValueError, "rho"):
                orthogonalise(rho)
        else:
            straight, _ = orthogonalise(rho)
            for a in straight.generators:
                assert close(a.T @ a, torch.eye(4).double(), TIGHT)


@pytest.mark.parametrize(
    "read", [invariant_inner_product, orthogonalise, frobenius_schur, decompose]
)
def test_a_representation_of_a_finite_group_is_asked_for(read):
    for wrong in (S3, torch.eye(2), None):
        with refuses(TypeError, "rho"):
            read(wrong)
    endless = Group("Z", {"t": tensor([[1, 1], [0, 1]])})
    for rho in (reps.SO(3).defining, reps.trivial(endless, 2)):
        with refuses(ValueError, "group"):
            read(rho)


def test_an_orthogonalised_representation_says_so():
    skew = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    flip = skew @ torch.diag(torch.tensor([1.0, -1.0]).double()) @ torch.linalg.inv(skew)
    rho, _ = reps.orthogonalise(reps.Representation(reps.cyclic(2), [flip], name="skew"))
    assert rho.name == "skew, orthogonal"
