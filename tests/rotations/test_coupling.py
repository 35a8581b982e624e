"""Clebsch-Gordan coefficients: solver, e3nn, characters, closed forms; where they are kept."""

from __future__ import annotations

import itertools
import math
import threading

import pytest
import torch
from e3nn import o3

from gdl.equivariance import dimension_by_characters, equivariant_basis, span_residual
from gdl.representations import SO, spherical_irrep
from gdl.rotations import clebsch_gordan, coupling, coupling_basis, wigner_d
from gdl.rotations.coupling import MOST_COUPLED
from tests.rotations.common import F64, close, float64_default, gap

SMALL = range(5)
TRIPLES = list(itertools.product(SMALL, repeat=3))
ALLOWED = [t for t in TRIPLES if abs(t[0] - t[1]) <= t[2] <= t[0] + t[1]]
FORBIDDEN = sorted(set(TRIPLES) - set(ALLOWED))
LARGE = [(5, 6, 7), (6, 6, 12), (8, 8, 8), (1, 10, 11), (11, 11, 11)]


def irreps(*degrees: int):
    return [spherical_irrep(SO(3), degree) for degree in degrees]


@pytest.mark.parametrize("first", SMALL)
def test_equal_to_the_3j_symbols_of_e3nn_for_every_allowed_triple(first):
    for triple in (t for t in ALLOWED if t[0] == first):
        C = clebsch_gordan(*triple)
        with float64_default():
            expected = o3.wigner_3j(*triple)
        assert C.dtype == F64
        assert close(C, expected)
        cosine = float((C * expected).sum() / C.norm() / expected.norm())
        assert abs(cosine - 1) < 1e-12
        assert not close(-C, expected)


@pytest.mark.parametrize("triple", LARGE, ids=str)
def test_large_degrees_too(triple):
    with float64_default():
        assert close(clebsch_gordan(*triple), o3.wigner_3j(*triple))


def test_the_largest_degree_commutes_with_rotations():
    """e3nn has no degree 12."""
    C, (rho,) = clebsch_gordan(12, 12, 12), irreps(12)
    for g in SO(3).random(2, seed=0):
        assert close(torch.einsum("abc,ai,bj,ck->ijk", C, *3 * [rho(g)]), C)
        assert gap(torch.einsum("abc,ai,bj,kc->ijk", C, *3 * [rho(g)]), C) > 1e-3


@pytest.mark.parametrize("first", SMALL)
def test_forbidden_triples_have_no_map(first):
    for triple in (t for t in FORBIDDEN if t[0] == first):
        assert len(coupling_basis(*triple)) == 0
        with pytest.raises(ValueError, match="^degree_out: expected a degree in the product"):
            clebsch_gordan(*triple)


@pytest.mark.parametrize("triple", [t for t in TRIPLES if max(t) < 4], ids=str)
def test_dimensions_by_characters_and_by_the_solver_without_a_support(triple):
    first, second, out = irreps(*triple)
    found = coupling_basis(*triple)
    everywhere = equivariant_basis(first * second, out)
    assert len(found) == len(everywhere) == dimension_by_characters(first * second, out)
    assert len(found) == (triple in ALLOWED)
    if len(found):
        assert span_residual(found.dense(), everywhere) < 1e-10


@pytest.mark.parametrize("triple", [t for t in ALLOWED if t[2] == 2], ids=str)
def test_they_commute_with_rotations(triple):
    C, rhos = clebsch_gordan(*triple), irreps(*triple)
    for g in SO(3).random(3, seed=0):
        matrices = [rho(g) for rho in rhos]
        assert close(torch.einsum("abc,ai,bj,ck->ijk", C, *matrices), C)
        matrices[2] = matrices[2].T
        assert gap(torch.einsum("abc,ai,bj,ck->ijk", C, *matrices), C) > 1e-3


@pytest.mark.parametrize(("l1", "l2"), [(0, 3), (1, 1), (1, 2), (2, 2), (3, 2), (4, 4)])
def test_all_paths_together_are_orthogonal(l1, l2):
    parts = [
        math.sqrt(2 * l + 1) * clebsch_gordan(l1, l2, l).flatten(0, 1)
        for l in range(abs(l1 - l2), l1 + l2 + 1)
    ]
    change = torch.cat(parts, 1)
    assert close(change.T @ change, torch.eye((2 * l1 + 1) * (2 * l2 + 1), dtype=F64))


def test_the_products_of_vectors_by_hand():
    dot, cross = clebsch_gordan(1, 1, 0)[..., 0], clebsch_gordan(1, 1, 1)
    assert close(dot, torch.eye(3, dtype=F64) / math.sqrt(3))
    a, b = torch.tensor([[1.0, 2, 3], [-2.0, 0.5, 4]], dtype=F64)
    got = torch.einsum("abc,a,b->c", cross, a, b) * math.sqrt(6)
    assert close(got, torch.linalg.cross(a, b))
    assert not close(got, torch.linalg.cross(b, a))


def test_exchanging_the_first_two_degrees():
    """<l1 l2 | l3> = (-1)^(l1 + l2 + l3) <l2 l1 | l3>."""
    for l1, l2, l3 in ALLOWED:
        swapped = clebsch_gordan(l2, l1, l3).transpose(0, 1)
        assert close(clebsch_gordan(l1, l2, l3), (-1) ** (l1 + l2 + l3) * swapped)


# --- where they are kept --------------------------------------------------------------------------


@pytest.fixture
def nothing_kept(monkeypatch):
    monkeypatch.setattr(coupling, "_FOUND", {})


def test_every_call_gives_a_new_tensor(nothing_kept):
    clebsch_gordan(1, 2, 2).zero_()
    assert abs(float(clebsch_gordan(1, 2, 2).norm()) - 1) < 1e-12


def under_meta():
    with torch.device("meta"):
        clebsch_gordan(1, 2, 3)


def under_inference_mode():
    with torch.inference_mode():
        clebsch_gordan(1, 2, 3)


def under_another_dtype():
    with float64_default():
        torch.set_default_dtype(torch.float16)
        clebsch_gordan(1, 2, 3)


def under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        clebsch_gordan(1, 2, 3)


def under_a_gradient():
    torch.func.grad(lambda R: wigner_d(3, R).sum())(torch.eye(3, dtype=F64))


def under_vmap():
    torch.func.vmap(lambda x: x * clebsch_gordan(1, 2, 3).sum())(torch.ones(2))


@pytest.mark.parametrize(
    "first_call",
    [under_meta, under_inference_mode, under_another_dtype, under_autocast, under_a_gradient,
     under_vmap],
)  # fmt: skip
def test_the_first_call_may_come_from_anywhere(nothing_kept, first_call):
    first_call()
    C = clebsch_gordan(1, 2, 3)
    with float64_default():
        assert close(C, o3.wigner_3j(1, 2, 3))
    assert C.device.type == "cpu"
    weight = torch.ones((), dtype=F64, requires_grad=True)
    (weight * C).square().sum().backward()
    assert abs(float(weight.grad) - 2) < 1e-12


def test_many_threads_may_ask_at_once(nothing_kept):
    found = []
    ask = [threading.Thread(target=lambda: found.append(clebsch_gordan(2, 2, 3))) for _ in range(8)]
    for thread in ask:
        thread.start()
    for thread in ask:
        thread.join()
    assert len(found) == 8
    assert all(torch.equal(C, found[0]) for C in found)


def test_the_support_leaves_the_fraction_that_is_said():
    for l in (1, 4, MOST_COUPLED):
        support = coupling._axial_support(l, l, l)
        assert 0 < float(support.double().mean()) < 4 / (2 * l + 1)
    C = clebsch_gordan(4, 3, 4)
    kept = coupling._axial_support(4, 3, 4).reshape(9, 9, 7).permute(1, 2, 0)
    assert float(C[~kept].abs().max()) == 0 < float(C[kept].abs().max())
