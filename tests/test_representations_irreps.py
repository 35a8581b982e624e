"""Lie groups, irreps and the other standard representations, against formulas and e3nn."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from e3nn import o3
from torch import Tensor

from gdl import representations as reps
from gdl.representations import Group, circular_irrep, cosets, regular, spherical_irrep, trivial
from tests.test_representations import TIGHT, close, random, refuses, tensor

SO2, O2, SO3, O3 = reps.SO(2), reps.O(2), reps.SO(3), reps.O(3)


def average(rho: reps.Representation, sigma: reps.Representation, degree: int) -> float:
    rule = rho.group.class_quadrature(degree)
    return sum(w * rho.character(g) * sigma.character(g.inverse()) for w, g in rule)


# --- Lie groups ---------------------------------------------------------------------------------


def test_rotations_by_hand():
    assert SO2.defining.algebra[0].tolist() == [[0, -1], [1, 0]]
    X, Y, Z = SO3.defining.algebra
    assert X.tolist() == [[0, 0, 0], [0, 0, -1], [0, 1, 0]]
    assert Y.tolist() == [[0, 0, 1], [0, 0, 0], [-1, 0, 0]]
    assert Z.tolist() == [[0, -1, 0], [1, 0, 0], [0, 0, 0]]
    for A, B, C in ((X, Y, Z), (Y, Z, X), (Z, X, Y)):
        assert close(A @ B - B @ A, C)
    quarter = SO3.defining(SO3.exp(0.0, 0.0, math.pi / 2))
    assert close(quarter @ tensor([1, 0, 0]), tensor([0, 1, 0]))


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_rotation_groups(n):
    group, full = reps.SO(n), reps.O(n)
    assert len(group.algebra_names) == n * (n - 1) // 2 and group.generator_names == ()
    assert full.generator_names == ("s",) and full.algebra_names == group.algebra_names
    assert group.defining.relation_error() < TIGHT and full.defining.relation_error() < TIGHT
    R = group.defining(group.random(1)[0])
    assert close(R @ R.T, torch.eye(n, dtype=torch.float64), 1e-10)
    assert abs(float(torch.linalg.det(R)) - 1) < 1e-10
    s = full.defining(full.generator(0))
    assert abs(float(torch.linalg.det(s)) + 1) < TIGHT and close(s @ s, torch.eye(n).double())


def test_reflections_by_hand():
    expected = {2: [1, -1], 3: [-1, -1, -1], 4: [1, 1, 1, -1]}
    for n, diagonal in expected.items():
        assert close(reps.O(n).defining.generators[0], torch.diag(tensor(diagonal)))


def test_names_of_the_algebras():
    assert SO2.algebra_names == ("J",) and SO3.algebra_names == ("X", "Y", "Z")
    assert reps.SO(4).algebra_names == ("J01", "J02", "J03", "J12", "J13", "J23")
    assert reps.SO(4).defining.algebra[1].tolist()[2] == [1, 0, 0, 0]


def test_lorentz():
    group = reps.lorentz()
    eta = torch.diag(tensor([-1, 1, 1, 1]))
    assert (
        len(group.algebra_names) == 6
        and torch.linalg.matrix_rank(torch.stack(group.defining.algebra).flatten(1)) == 6
    )
    for A in group.defining.algebra:
        assert close(A.T @ eta + eta @ A, torch.zeros(4, 4, dtype=torch.float64))
    L = group.defining(group.exp(0.1, 0.2, -0.3, 0.4, 0.5, -0.6))
    assert close(L.T @ eta @ L, eta, 1e-10)
    boost = group.defining(group.exp(0, 0, 0, 0, 1, 0))
    assert close(boost @ tensor([1, 0, 0, 0]), tensor([math.cosh(1), 0, math.sinh(1), 0]), 1e-10)
    turn = group.defining(group.exp(0, 0, math.pi / 2, 0, 0, 0))
    assert close(turn @ tensor([1, 1, 0, 0]), tensor([1, 0, 1, 0]), 1e-10)


@pytest.mark.parametrize("n", [2, 4])
def test_symplectic(n):
    group, half = reps.symplectic(n), n // 2
    omega = torch.zeros(n, n, dtype=torch.float64)
    omega[:half, half:], omega[half:, :half] = torch.eye(half), -torch.eye(half)
    algebra = group.defining.algebra
    assert (
        len(algebra)
        == n * (n + 1) // 2
        == torch.linalg.matrix_rank(torch.stack(algebra).flatten(1))
    )
    for A in algebra:
        assert close(A.T @ omega + omega @ A, torch.zeros(n, n, dtype=torch.float64))
        assert float(A.abs().max()) == 1.0
    assert close(omega.T @ algebra[0], torch.diag(tensor([1] + [0] * (n - 1))))


def test_haar_averages_are_exact():
    for l, m in itertools.product(range(4), repeat=2):
        assert (
            abs(average(spherical_irrep(SO3, l), spherical_irrep(SO3, m), l + m) - (l == m)) < 1e-10
        )
    for l, m, p, q in itertools.product(range(3), range(3), (1, -1), (1, -1)):
        a, b = spherical_irrep(O3, l, p), spherical_irrep(O3, m, q)
        assert abs(average(a, b, l + m) - (l == m and p == q)) < 1e-10
    for m, n in itertools.product(range(4), repeat=2):
        both = 2 if m == n > 0 else int(m == n)
        assert abs(average(circular_irrep(SO2, m), circular_irrep(SO2, n), m + n) - both) < 1e-10
        assert abs(average(circular_irrep(O2, m), circular_irrep(O2, n), m + n) - (m == n)) < 1e-10
    assert abs(average(circular_irrep(O2, 0, -1), circular_irrep(O2, 0), 0)) < 1e-10


@pytest.mark.parametrize("group", [SO2, O2, SO3, O3], ids=str)
def test_haar_weights(group):
    rule = group.class_quadrature(3)
    assert abs(sum(w for w, _ in rule) - 1) < TIGHT and all(w >= 0 for w, _ in rule)
    # One point fewer would alias the top frequency: the rule is as short as it can be.
    assert len(rule) == 5 * (2 if group.generator_names else 1)


# --- circular irreps ----------------------------------------------------------------------------


def test_circular_irreps_by_hand():
    assert circular_irrep(SO2, 3).algebra[0].tolist() == [[0, -3], [3, 0]]
    assert circular_irrep(SO2, 0).algebra[0].tolist() == [[0]]
    quarter = circular_irrep(reps.cyclic(4), 1)
    assert quarter.generators[0].tolist() == [[0, -1], [1, 0]]
    assert circular_irrep(reps.cyclic(4), 2).generators[0].tolist() == [[-1]]
    assert circular_irrep(reps.cyclic(4), 0).generators[0].tolist() == [[1]]
    assert circular_irrep(reps.cyclic(8), 6 - 4).generators[0].tolist() == [[0, -1], [1, 0]]
    assert circular_irrep(reps.cyclic(12), 3).generators[0].tolist() == [[0, -1], [1, 0]]
    third = circular_irrep(reps.cyclic(3), 1).generators[0]
    assert close(third, tensor([[-0.5, -math.sqrt(0.75)], [math.sqrt(0.75), -0.5]]))
    fifth = circular_irrep(reps.cyclic(5), 2).generators[0]
    angle = 4 * math.pi / 5
    assert close(fifth[:, 0], tensor([math.cos(angle), math.sin(angle)]))
    D4 = circular_irrep(reps.dihedral(4), 1)
    assert D4.generators[1].tolist() == [[1, 0], [0, -1]]
    signs = [
        [a.item() for a in circular_irrep(reps.dihedral(4), m, p).generators]
        for m in (0, 2)
        for p in (1, -1)
    ]
    assert signs == [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    assert [r.name for r in (D4, circular_irrep(O2, 0), circular_irrep(O2, 0, -1))] == [
        "frequency 1",
        "frequency 0",
        "frequency 0-",
    ]


@pytest.mark.parametrize(
    "group", [reps.cyclic(5), reps.cyclic(6), reps.dihedral(5), reps.dihedral(6)], ids=str
)
def test_circular_irreps_are_orthogonal_and_complete(group):
    n = group.defining.dim
    mirrored = len(group.generator_names) == 2
    irreps = [
        circular_irrep(group, m, p)
        for m in range(n // 2 + 1)
        for p in (1, -1)
        if p == 1 or (mirrored and (m == 0 or 2 * m == n))
    ]
    for i, a in enumerate(irreps):
        assert a.relation_error() < 1e-10
        for j, b in enumerate(irreps):
            own = 2 if (a.dim == 2 and not mirrored) else 1
            assert abs(average(a, b, 0) - (own if i == j else 0)) < 1e-10
    assert sum(a.dim**2 / (2 if a.dim == 2 and not mirrored else 1) for a in irreps) == group.order


# --- spherical irreps ---------------------------------------------------------------------------


@pytest.mark.parametrize("degree", range(6))
def test_spherical_irreps(degree):
    rho = spherical_irrep(SO3, degree)
    X, Y, Z = rho.algebra
    eye = torch.eye(2 * degree + 1, dtype=torch.float64)
    assert rho.dim == 2 * degree + 1 and close(X @ Y - Y @ X, Z) and close(Y @ Z - Z @ Y, X)
    assert all(close(A, -A.T) for A in rho.algebra)
    assert close(-(X @ X + Y @ Y + Z @ Z), degree * (degree + 1) * eye, 1e-11)
    assert rho.relation_error() < 1e-11


def test_degree_one_is_the_vector():
    for group, parity in ((SO3, 1), (O3, -1)):
        rho = spherical_irrep(group, 1, parity)
        images = (rho.generators + rho.algebra, group.defining.generators + group.defining.algebra)
        assert all(close(a, b) for a, b in zip(*images, strict=True))


def e3nn_matrix(irrep: str, R: Tensor) -> Tensor:
    return o3.Irrep(irrep).D_from_matrix(R)


@pytest.mark.parametrize("degree", range(1, 5))
@pytest.mark.parametrize("parity", [1, -1])
def test_spherical_irreps_equal_those_of_e3nn(degree, parity):
    rho, name = spherical_irrep(O3, degree, parity), f"{degree}{'e' if parity == 1 else 'o'}"
    for g in O3.random(3, seed=1):
        D = e3nn_matrix(name, O3.defining(g).float()).double()
        # e3nn's Wigner matrices are good to float32 only.
        assert close(rho(g), D, 1e-4)
        assert not close(rho(g.inverse()), D, 1e-2) or g.word[0] == g.inverse().word[0]


@pytest.mark.parametrize("degree", range(1, 5))
def test_generators_equal_those_of_harmonics(degree):
    """Y(R x) = rho(R) Y(x), with e3nn's harmonics in float64."""
    rho, x = spherical_irrep(SO3, degree), random(7, 3)
    for g in SO3.random(3, seed=2):
        turned = o3.spherical_harmonics(degree, x @ SO3.defining(g).T, True)
        assert close(turned, rho.act(g, o3.spherical_harmonics(degree, x, True)), 1e-10)


def test_names_and_parity():
    assert [spherical_irrep(O3, 2, p).name for p in (1, -1)] == ["degree 2e", "degree 2o"]
    assert spherical_irrep(SO3, 2).name == "degree 2"
    assert spherical_irrep(O3, 2, -1).generators[0].tolist() == (-torch.eye(5)).tolist()
    assert spherical_irrep(O3, 1).generators[0].tolist() == torch.eye(3).tolist()


# --- trivial, regular, cosets -------------------------------------------------------------------


def test_trivial():
    for group in (reps.dihedral(3), SO3, O3):
        rho = trivial(group, 2)
        assert close(rho(group.random(1)[0]), torch.eye(2, dtype=torch.float64))
    assert trivial(reps.dihedral(3)).is_permutation and trivial(reps.dihedral(3)).name == "trivial"
    assert trivial(SO3).dim == 1 and trivial(SO3, 3).name == "3*trivial"


@pytest.mark.parametrize(
    "group", [reps.cyclic(4), reps.symmetric(3), reps.quaternion(), reps.alternating(4)], ids=str
)
def test_regular(group):
    rho, elements = regular(group), group.elements()
    assert rho.dim == group.order and rho.is_permutation and rho.relation_error() == 0.0
    assert rho.name == "regular"
    for i, g in enumerate(elements):
        assert rho.character(g) == (group.order if i == 0 else 0)
        for j, h in enumerate(elements):
            assert int(rho.image(g)[j]) == group.index(g * h)


def test_cosets():
    D4 = reps.dihedral(4)
    r, s = D4.generator(0), D4.generator(1)
    corners = cosets(D4, [s])
    assert corners.dim == 4 and corners.relation_error() == 0.0
    assert corners.name == "cosets of a subgroup of order 2"
    assert cosets(D4, [r]).dim == 2 and cosets(D4, [r, s]).dim == 1 and cosets(D4, [r * r]).dim == 4
    # The stabiliser of the coset H is H itself, also where H is not normal.
    for g in D4.elements():
        assert (int(corners.image(g)[0]) == 0) == (D4.index(g) in (0, D4.index(s)))
    fixed = sum(corners.character(g) for g in D4.elements()) / D4.order
    assert fixed == 1.0
    assert cosets(D4, [r]).generators[0].tolist() == [0, 1]
    assert cosets(D4, [r]).generators[1].tolist() == [1, 0]


# --- bad input ----------------------------------------------------------------------------------


def test_irreps_refuse_other_groups():
    turn = Group("Z_4", {"r": torch.tensor([[0, -1], [1, 0]])})
    for group in (reps.symmetric(3), SO3, O3, reps.quaternion(), turn, reps.translations(4)):
        with refuses(ValueError, "group"):
            circular_irrep(group, 1)
    for group in (SO2, reps.SO(4), reps.cyclic(3), reps.lorentz()):
        with refuses(ValueError, "group"):
            spherical_irrep(group, 1)
    for make in (
        lambda g: circular_irrep(g, 1),
        lambda g: spherical_irrep(g, 1),
        trivial,
        regular,
        lambda g: cosets(g, []),
    ):
        with refuses(TypeError, "group"):
            make("SO(3)")


def test_indices_of_irreps():
    for frequency, error in (
        (-1, ValueError),
        (3, ValueError),
        (1.0, TypeError),
        (True, TypeError),
    ):
        with refuses(error, "frequency"):
            circular_irrep(reps.cyclic(5), frequency)
    assert circular_irrep(SO2, 50).dim == 2 and circular_irrep(reps.cyclic(5), 2).dim == 2
    for degree, error in ((-1, ValueError), (1.5, TypeError)):
        with refuses(error, "degree"):
            spherical_irrep(SO3, degree)
    for parity in (0, 2, "e", None):
        with refuses(ValueError, "parity"):
            circular_irrep(O2, 0, parity)
        with refuses(ValueError, "parity"):
            spherical_irrep(O3, 1, parity)


def test_trivial_and_cosets_refuse_bad_arguments():
    Z4 = reps.cyclic(4)
    for copies, error in ((0, ValueError), (1.0, TypeError), (True, TypeError)):
        with refuses(error, "copies"):
            trivial(Z4, copies)
    for subgroup, error in (
        ([], ValueError),
        ([reps.cyclic(5).generator(0)], ValueError),
        (["r"], TypeError),
    ):
        with refuses(error, "subgroup"):
            cosets(Z4, subgroup)
    for group in (SO2, O3):
        with refuses(ValueError, "group"):
            regular(group)
