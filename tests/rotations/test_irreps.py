"""Irreps strings: parsing, layout and matrices as in e3nn; the paths as the solver finds them."""

from __future__ import annotations

import itertools

import pytest
import torch
from e3nn import o3

from gdl.equivariance import equivariant_basis
from gdl.representations import SO, O, rotation
from gdl.rotations import Irrep, Irreps, coupling_basis, paths
from tests.rotations.common import F64, close, elements, float64_default, gap, matrices, random

STRINGS = [
    "1x0e", "16x0e + 8x1o", "2e", "1o+1o", "0o", " 3x2o +1x0e+ 2x1e ", "1x0e + 1x1o + 1x2e + 1x3o",
    "4 x 1o", "2x12e",
]  # fmt: skip
MIXED = Irreps("2x0e + 1x0o + 2x1o + 1x1e + 1x2e + 1x3o")


@pytest.mark.parametrize("text", STRINGS)
def test_strings_mean_what_they_mean_in_e3nn(text):
    ours, theirs = Irreps(text), o3.Irreps(text.replace(" x ", "x"))
    assert ours.dim == theirs.dim
    assert list(ours.slices) == list(theirs.slices())
    assert len(ours) == len(theirs)
    assert ours.degree == theirs.lmax
    assert str(ours).replace(" ", "") == str(theirs).replace(" ", "")
    assert [(n, i.degree, i.parity, i.dim, str(i)) for n, i in ours] == [
        (n, i.l, i.p, i.dim, str(i)) for n, i in theirs
    ]
    assert ours == Irreps(str(ours)) == Irreps(theirs) == Irreps(ours) == Irreps.of(ours)
    assert hash(ours) == hash(Irreps(str(ours)))
    assert eval(repr(ours), {"Irreps": Irreps}) == ours


def test_sums_are_written_block_by_block():
    assert str(Irreps("1o") + Irreps("2x1o") + Irreps("")) == "1x1o + 2x1o"
    assert Irreps("1o + 2x1o") != Irreps("3x1o")
    assert Irreps("1o") != "1x1o"
    assert str(Irreps("0x4e + 1o + 0x0e")) == "1x1o"


def test_the_empty_sum():
    nothing = Irreps(" ")
    assert (nothing.dim, nothing.degree, len(nothing), str(nothing)) == (0, -1, 0, "")
    assert nothing == Irreps.of([]) == Irreps("0x1o")
    assert nothing.split(torch.zeros(4, 0)) == []
    assert nothing.act(torch.eye(3).expand(4, 1, 3, 3), torch.zeros(2, 0)).shape == (4, 2, 0)
    assert nothing.matrix(torch.eye(3).expand(4, 3, 3)).shape == (4, 0, 0)


def test_harmonics_have_their_parity():
    assert str(Irreps.harmonics(3)) == "1x0e + 1x1o + 1x2e + 1x3o"
    assert str(Irreps.harmonics(2, parity=1)) == "1x0e + 1x1e + 1x2e"


@pytest.mark.parametrize("text", STRINGS)
def test_splitting_and_joining(text):
    irreps = Irreps(text)
    x = random(2, 3, irreps.dim)
    blocks = irreps.split(x)
    assert [tuple(b.shape) for b in blocks] == [(2, 3, n, irrep.dim) for n, irrep in irreps]
    assert torch.equal(irreps.join(blocks), x)
    assert torch.equal(blocks[-1][..., -1, :], x[..., -irreps.blocks[-1][1].dim :])


def test_the_matrices_are_those_of_e3nn():
    """e3nn goes through angles, and is right to 1e-9 here."""
    R = matrices()
    with float64_default():
        expected = o3.Irreps(str(MIXED)).D_from_matrix(R)
    assert close(MIXED.matrix(R), expected, 1e-9)


@pytest.mark.parametrize("group", [O(3), SO(3)], ids=str)
def test_the_matrices_are_those_of_the_representation(group):
    rho = MIXED.representation(group)
    assert rho.relation_error() < 1e-12
    for g in group.random(4, seed=0):
        assert close(MIXED.matrix(group.defining(g)), rho(g))
    inversion = -torch.eye(3, dtype=F64)
    parities = torch.tensor([p for n, i in MIXED for p in n * i.dim * [i.parity]], dtype=F64)
    assert close(MIXED.matrix(inversion), parities.diag())
    assert close(MIXED.representation()(rotation(O(3), inversion)), parities.diag())


def test_the_matrices_multiply():
    for R, S in itertools.product(matrices()[::5], repeat=2):
        assert close(MIXED.matrix(R @ S), MIXED.matrix(R) @ MIXED.matrix(S))
    R, S = matrices()[:2]
    assert gap(MIXED.matrix(S @ R), MIXED.matrix(R) @ MIXED.matrix(S)) > 0.1


def test_acting_is_multiplying():
    R, x = matrices(), random(7, MIXED.dim)
    expected = torch.einsum("gij,nj->gni", MIXED.matrix(R), x)
    assert close(MIXED.act(R[:, None], x), expected)
    assert close(MIXED.act(R[0], x), expected[0])
    paired = MIXED.act(R[:7].reshape(7, 3, 3), x)
    assert close(paired, torch.stack([expected[k, k] for k in range(7)]))
    assert gap(MIXED.act(R[0].T, x), expected[0]) > 0.1


def test_float32_stays_float32():
    R, x = matrices().float(), random(7, MIXED.dim).float()
    assert MIXED.matrix(R).dtype == MIXED.act(R[0], x).dtype == torch.float32
    assert gap(MIXED.act(R[0], x), MIXED.act(R[0].double(), x.double())) < 1e-5


# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("N", range(1, 8))
def test_one_of_each_degree_gives_n_times_n_squared_plus_1_over_2(N):
    one_of_each = Irreps.harmonics(N - 1, parity=1)
    assert len(paths(one_of_each, one_of_each, one_of_each)) == N * (N * N + 1) // 2


@pytest.mark.parametrize(
    ("irreps_in", "filters", "irreps_out"),
    [("2x0e + 1o", "0e + 1o + 2e", "3x0e + 1e + 1o + 0o"), ("1o + 1o", "0e + 1e", "1o + 2o"),
     ("2e", "0e", "2o"), ("0e + 1o + 2e", "0e + 1o + 2e", "0e + 1o + 2e")],
)  # fmt: skip
def test_the_solver_and_e3nn_find_as_many(irreps_in, filters, irreps_out):
    found = paths(irreps_in, filters, irreps_out)
    sums = [Irreps(text) for text in (irreps_in, filters, irreps_out)]
    assert found == paths(*sums)
    assert found == sorted(found, key=lambda path: (path[0], path[2], path[1]))
    theirs = o3.FullyConnectedTensorProduct(irreps_in, filters, irreps_out).instructions
    assert sorted(found) == sorted((t.i_in1, t.i_in2, t.i_out) for t in theirs)
    rho_in, rho_filter, rho_out = (
        Irreps.of((1, i) for _, i in irreps).representation() for irreps in sums
    )
    assert len(found) == len(equivariant_basis(rho_in * rho_filter, rho_out))


def test_couplings_are_the_triangle_rule_and_the_parity():
    for l1, l2, l3 in itertools.product(range(3), repeat=3):
        triangle = len(coupling_basis(l1, l2, l3)) == 1
        for p1, p2, p3 in itertools.product((1, -1), repeat=3):
            coupled = Irrep(l1, p1).couples(Irrep(l2, p2), Irrep(l3, p3))
            assert coupled == (triangle and p1 * p2 == p3)


def test_the_elements_have_both_signs_and_no_symmetry():
    """The other tests would pass for fewer elements too."""
    assert len(elements()) == len(matrices()) == 24
    assert len({round(float(M[0, 1]), 9) for M in matrices()}) > 12
