"""Symmetric powers: monomials, orthogonality, Molien's series, wrong input."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from gdl.equivariance import dimension_by_characters, equivariant_basis
from gdl.representations import (
    SO,
    O,
    Representation,
    cyclic,
    spherical_irrep,
    symmetric,
    symmetric_power,
    trivial,
)

F64 = torch.float64


def monomials(x: Tensor, degree: int) -> Tensor:
    """``sqrt(k! / a!) x^a``, by the definition."""
    values = []
    for indices in itertools.combinations_with_replacement(range(len(x)), degree):
        repeats = math.prod(math.factorial(indices.count(i)) for i in set(indices))
        weight = math.sqrt(math.factorial(degree) / repeats)
        values.append(weight * math.prod(float(x[i]) for i in indices))
    return torch.tensor(values, dtype=F64)


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "rho", [O(3).defining, 2 * SO(2).defining, symmetric(3).defining], ids=lambda rho: rho.name
)
def test_it_moves_monomials(rho: Representation, degree: int):
    power = symmetric_power(rho, degree)
    x = torch.randn(rho.dim, dtype=F64, generator=torch.Generator().manual_seed(0))
    backwards = []
    for g in rho.group.random(8, seed=1):
        moved = monomials(rho(g) @ x, degree)
        assert torch.allclose(power(g) @ monomials(x, degree), moved, atol=1e-12, rtol=1e-12)
        backwards.append(float((power(g).T @ monomials(x, degree) - moved).abs().max()))
    # Some elements are their own inverse, but not all.
    assert max(backwards) > 1e-3


@pytest.mark.parametrize("degree", [2, 4])
def test_it_is_orthogonal_and_a_representation(degree: int):
    power = symmetric_power(O(3).defining, degree)
    g, h = O(3).random(2, seed=0)
    eye = torch.eye(power.dim, dtype=F64)
    assert float((power(g).T @ power(g) - eye).abs().max()) < 1e-12
    assert float((power(g * h) - power(g) @ power(h)).abs().max()) < 1e-12
    assert power.relation_error() < 1e-9


def test_degrees_zero_and_one():
    rho = spherical_irrep(SO(3), 2)
    g = SO(3).random(1, seed=0)[0]
    assert symmetric_power(rho, 0).dim == 1
    assert float(symmetric_power(rho, 0)(g)) == 1.0
    assert torch.allclose(symmetric_power(rho, 1)(g), rho(g), atol=1e-12)


def test_the_square_of_vectors_is_a_number_and_a_degree_two():
    square = symmetric_power(SO(3).defining, 2)
    found = [dimension_by_characters(square, spherical_irrep(SO(3), k)) for k in range(4)]
    assert found == [1, 0, 1, 0]


@pytest.mark.parametrize("vectors", [1, 2, 3])
def test_molien_counts_invariants(vectors: int):
    """The invariants of O(3) are polynomials in the scalar products."""
    products = vectors * (vectors + 1) // 2
    for degree in range(5):
        half = degree // 2
        expected = 0 if degree % 2 else math.comb(half + products - 1, products - 1)
        power = symmetric_power(vectors * O(3).defining, degree)
        assert len(equivariant_basis(trivial(O(3)), power)) == expected


def test_a_finite_group_by_molien():
    """Invariants of S_3: one for each partition of the degree into parts of at most 3."""
    powers = [symmetric_power(symmetric(3).defining, k) for k in range(7)]
    found = [len(equivariant_basis(trivial(symmetric(3)), power)) for power in powers]
    assert found == [1, 1, 2, 3, 4, 5, 7]


@pytest.mark.parametrize(
    ("rho", "degree", "error", "message"),
    [
        ("rho", 2, TypeError, "rho"),
        (cyclic(3).defining, -1, ValueError, "degree"),
        (cyclic(3).defining, 1.5, TypeError, "degree"),
        (3 * SO(3).defining, 12, ValueError, "6000 monomials"),
    ],
    ids=["no representation", "negative", "fraction", "too many"],
)
def test_wrong_input(rho, degree, error, message):
    with pytest.raises(error, match=message):
        symmetric_power(rho, degree)
