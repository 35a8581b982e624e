"""The basis: both storages, projection, combination, memory."""

from __future__ import annotations

import math

import pytest
import torch

from gdl import representations as reps
from gdl.equivariance import Basis, equivariant_basis
from tests.test_representations import close, random, refuses, tensor

TIGHT = 1e-12
S4 = reps.symmetric(4).defining
NEAR = torch.tensor([[abs(i - j) % 5 in (0, 1, 4) for j in range(5)] for i in range(5)])
Z5 = reps.cyclic(5).defining
BASES = {
    "orbits": equivariant_basis(S4 * S4, S4),
    "support": equivariant_basis(Z5, Z5, support=NEAR),
    "dense": equivariant_basis(S4 * S4, S4, method="dense"),
    "SO(3)": equivariant_basis(reps.SO(3).defining * reps.SO(3).defining, 2 * reps.SO(3).defining),
}


@pytest.fixture(params=BASES, ids=str)
def basis(request):
    return BASES[request.param]


def test_orthonormal(basis):
    flat = basis.dense().flatten(1)
    assert close(flat @ flat.T, torch.eye(len(basis), dtype=torch.float64))


def test_iteration_and_indexing(basis):
    stacked = torch.stack(list(basis))
    assert torch.equal(stacked, basis.dense()) and len(stacked) == len(basis)
    assert torch.equal(basis[-1], basis[len(basis) - 1]) and torch.equal(basis[0], stacked[0])
    assert torch.equal(basis[-len(basis)], stacked[0])
    assert basis[0].dtype == torch.float64 and tuple(basis[0].shape) == basis.shape
    for k in (len(basis), -len(basis) - 1):
        with pytest.raises(IndexError, match="k: expected"):
            basis[k]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
@pytest.mark.parametrize("lead", [(), (3,), (2, 0), (2, 3)])
def test_coefficients_and_combination_are_inverse(basis, dtype, lead):
    c = random(*lead, len(basis)).to(dtype)
    W = basis.combine(c)
    assert W.dtype == dtype and W.shape == (*lead, *basis.shape)
    back = basis.coefficients(W)
    assert back.dtype == dtype and back.shape == c.shape
    assert torch.allclose(back, c, atol=1e-5 if dtype == torch.float32 else 1e-12)
    expected = torch.einsum("...k,kab->...ab", c, basis.dense().to(dtype))
    assert torch.allclose(W, expected, atol=1e-5 if dtype == torch.float32 else 1e-12)


def test_projection(basis):
    W = random(2, *basis.shape)
    P = basis.project(W)
    maps = basis.dense()
    assert close(P, torch.einsum("kab,kcd,ncd->nab", maps, maps, W), 1e-11)
    assert close(basis.project(P), P) and not close(P, W, 1e-2)
    assert close(basis.coefficients(W), torch.einsum("kab,nab->nk", maps, W), 1e-11)
    assert abs(float(((W - P) * P).sum())) < 1e-11


def test_literal_values():
    basis = equivariant_basis(reps.symmetric(3).defining, reps.symmetric(3).defining)
    a, b = math.sqrt(1 / 3), math.sqrt(1 / 6)
    assert close(basis[0], a * torch.eye(3, dtype=torch.float64))
    assert close(basis[1], b * (1 - torch.eye(3, dtype=torch.float64)))
    assert basis.sizes.tolist() == [3, 6] and repr(basis) == "Basis(2 maps of 3 x 3, orbits)"
    W = tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert close(basis.coefficients(W), tensor([15 * a, 30 * b]))
    assert close(basis.project(W), tensor([[5, 5, 5]] * 3))


def test_entries_outside_the_support_vanish():
    basis = BASES["support"]
    W = basis.combine(torch.ones(3, dtype=torch.float64))
    assert not W[~NEAR].any() and (W[NEAR] != 0).all()
    outside = torch.zeros(5, 5, dtype=torch.float64)
    outside[0, 2] = 1.0
    assert not basis.coefficients(outside).any() and not basis.project(outside).any()


def test_combination_is_differentiable(basis):
    c = random(2, len(basis)).requires_grad_()
    assert torch.autograd.gradcheck(basis.combine, c, fast_mode=True)
    W = random(*basis.shape).requires_grad_()
    assert torch.autograd.gradcheck(basis.coefficients, W, fast_mode=True)


def test_non_contiguous(basis):
    W = random(*reversed(basis.shape)).T
    assert close(basis.project(W), basis.project(W.contiguous()))


def test_dense_respects_the_limit():
    basis = BASES["orbits"]
    size = 8 * len(basis) * 4 * 16
    assert basis.dense(max_bytes=size).shape == (len(basis), 4, 16)
    with refuses(ValueError, "max_bytes"):
        basis.dense(max_bytes=size - 1)
    grid = reps.translations(40, 40).defining
    with refuses(ValueError, "max_bytes"):
        equivariant_basis(grid, grid).dense()


def test_empty_basis():
    basis = equivariant_basis(reps.SO(3).defining, reps.trivial(reps.SO(3)))
    assert len(basis) == 0 and list(basis) == [] and basis.dense().shape == (0, 1, 3)
    assert not basis.project(torch.ones(1, 3)).any()
    empty = equivariant_basis(Z5, Z5, support=torch.zeros(5, 5, dtype=torch.bool))
    assert len(empty) == 0 and empty.dense().shape == (0, 5, 5)
    assert not empty.project(torch.ones(5, 5)).any()


@pytest.mark.parametrize(
    ("W", "error"),
    [
        (torch.ones(4, 15), ValueError),
        (torch.ones(16, 4), ValueError),
        (torch.ones(16), ValueError),
        (torch.tensor(1.0), ValueError),
        (torch.ones(4, 16, dtype=torch.int64), TypeError),
        (torch.ones(4, 16, dtype=torch.bool), TypeError),
        ([[1.0]], TypeError),
        (torch.ones(4, 16).numpy(), TypeError),
    ],
    ids=str,
)
def test_bad_maps(W, error):
    for name in ("orbits", "dense"):
        for method in (BASES[name].coefficients, BASES[name].project):
            with refuses(error, "W"):
                method(W)


@pytest.mark.parametrize(
    ("c", "error"),
    [
        (torch.ones(6), ValueError),
        (torch.ones(1), ValueError),
        (torch.tensor(1.0), ValueError),
        (torch.ones(5, dtype=torch.int64), TypeError),
        ([1.0] * 5, TypeError),
    ],
    ids=str,
)
def test_bad_coefficients(c, error):
    for name in ("orbits", "dense"):
        assert len(BASES[name]) == 5
        with refuses(error, "coefficients"):
            BASES[name].combine(c)


def test_exactly_one_storage():
    stack = torch.ones(1, 1, 1, dtype=torch.float64)
    for given in (
        {},
        {"stack": stack, "labels": torch.zeros(1, 1, dtype=torch.int64)},
        {"stack": stack[0]},
        {"labels": torch.zeros(1, dtype=torch.int64)},
    ):
        with refuses(ValueError, "labels, stack"):
            Basis(method="given", **given)
    assert Basis(stack=stack, method="given").gap == math.inf
