"""Conventions of groups, representations, the equation and Lie algebras."""

from __future__ import annotations

import math
import re

import pytest
import torch

from gdl import groups
from gdl import representations as reps
from gdl.equivariance import equivariance_error, equivariant_basis
from tests.conventions.common import ROOT, J, N, close, convention, random


def pair(group: reps.Group) -> tuple[reps.Element, reps.Element]:
    """Two elements that do not commute."""
    g, h = (group.generator(0), group.generator(1)) if group.is_finite else group.random(2, seed=0)
    assert not close(group.defining(g * h), group.defining(h * g))
    return g, h


def numbers(picture: str, name: str) -> list[int]:
    row = re.search(rf'<g id="{name}".*?</g>', picture, re.DOTALL)[0]
    return [int(v) for v in re.findall(r">(\d+)</text>", row)]


# --- groups and representations -----------------------------------------------------------------


@convention("Groups and representations", "Action")
@pytest.mark.parametrize(
    "rho",
    [
        reps.symmetric(4).defining,
        reps.regular(reps.dihedral(5)),
        reps.SO(3).defining,
        reps.quaternion().defining,
    ],
    ids=str,
)
def test_left_action(rho):
    g, h = pair(rho.group)
    assert close(rho(g * h), rho(g) @ rho(h))
    assert not close(rho(g * h), rho(h) @ rho(g))


@convention("Groups and representations", "Functions")
def test_functions_are_carried_along():
    shift = reps.translations(N)
    t, f = shift.generator(0), random(N)
    moved = shift.defining.act(t, f)
    assert close(moved, torch.roll(f, 1))
    assert close(moved, torch.stack([f[(i - 1) % N] for i in range(N)]))
    assert not close(moved, torch.stack([f[(i + 1) % N] for i in range(N)]))


@convention("Groups and representations", "Permutations")
def test_permutation_moves_basis_vectors():
    p = torch.tensor([1, 2, 0, 3])
    rho = reps.Group("one cycle", {"p": p}).defining
    g, x = rho.group.generator(0), random(4)
    assert all(rho(g)[p[i], i] == 1 for i in range(4))
    assert close(rho.act(g, x)[p], x)
    assert not close(rho.act(g, x), x[p])


@convention("Groups and representations", "Words")
def test_words():
    group = reps.symmetric(4)
    a, b = group.generator(0), group.generator(1)
    assert (a * b).word == a.word + b.word
    assert close(group.defining(a * b), group.defining(a) @ group.defining(b))
    assert not close(group.defining(a * b), group.defining(b) @ group.defining(a))


@convention("Groups and representations", "Batches")
def test_action_on_the_last_axis():
    rho = reps.SO(3).defining
    g, x = rho.group.random(1, seed=0)[0], random(2, 7, 3)
    assert close(rho.act(g, x), x @ rho(g).T)
    assert close(rho.act(g, x)[1, 4], rho(g) @ x[1, 4])
    assert not close(rho.act(g, x), x @ rho(g))


@convention("Groups and representations", "Dual")
def test_dual():
    rho = reps.lorentz().defining
    g = rho.group.random(1, seed=0)[0]
    assert close(rho.dual(g), rho(g.inverse()).T)
    assert not close(rho.dual(g), rho(g))


@convention("Groups and representations", "Regular")
def test_regular():
    group = reps.dihedral(4)
    rho, elements = reps.regular(group), group.elements()
    g, h = pair(group)
    e_h = torch.eye(len(elements), dtype=torch.float64)[group.index(h)]
    assert int(rho.act(g, e_h).argmax()) == group.index(g * h) != group.index(h * g)


@convention("Groups and representations", "Functions")
def test_the_square_of_the_first_page_commutes():
    picture = (ROOT / "_static" / "commuting_square.svg").read_text(encoding="utf-8")
    x = torch.tensor(numbers(picture, "x"))
    assert len(x) == N
    layer = lambda v: v + torch.roll(v, -1)  # noqa: E731 - each number and its right neighbour
    assert numbers(picture, "shifted") == torch.roll(x, 1).tolist()
    assert numbers(picture, "mapped") == layer(x).tolist()
    assert numbers(picture, "both") == layer(torch.roll(x, 1)).tolist()
    assert numbers(picture, "both") == torch.roll(layer(x), 1).tolist()


@convention("Groups and representations", "Plane")
def test_in_the_plane_y_points_up_and_the_mirror_reverses_it():
    D4 = reps.dihedral(4)
    turn, mirror = (groups.plane(D4)(D4.generator(i)) for i in range(2))
    assert close(turn, J) and not close(turn, J.T)
    assert close(mirror, torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64)))
    assert not close(mirror, torch.diag(torch.tensor([-1.0, 1.0], dtype=torch.float64)))


@convention("Groups and representations", "Fields")
def test_fields_turn_counter_clockwise_and_their_fibres_with_them():
    D4 = reps.dihedral(4)
    r, s = D4.generator(0), D4.generator(1)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    pixels = groups.field_action(reps.trivial(D4))
    assert torch.equal(pixels(r, x), torch.rot90(x, 1, (-2, -1)))
    assert not torch.equal(pixels(r, x), torch.rot90(x, -1, (-2, -1)))
    assert torch.equal(pixels(s, x), x.flip(-2)) and not torch.equal(pixels(s, x), x.flip(-1))
    regular = groups.field_action(reps.regular(D4))
    f = torch.zeros(1, 3 * 8, 3, 3)
    f[0, 2 * 8 + D4.index(s), 0, 1] = 1.0
    assert regular(r, f)[0, 2 * 8 + D4.index(r * s), 1, 0] == 1.0
    assert regular(r, f)[0, 2 * 8 + D4.index(s * r), 1, 0] == 0.0


# --- matrices and the equation ------------------------------------------------------------------


@convention("Matrices and the equation", "Vectorisation")
def test_vec_is_row_major():
    A, W, B = random(3, 4), random(4, 5), random(5, 2)
    assert close((A @ W @ B).reshape(-1), torch.kron(A, B.T.contiguous()) @ W.reshape(-1))
    column_major = torch.kron(B.T.contiguous(), A) @ W.reshape(-1)
    assert not close((A @ W @ B).reshape(-1), column_major)


@convention("Matrices and the equation", "Tensor product")
def test_tensor_product():
    group = reps.SO(3)
    rho, g, a, b = group.defining, group.random(1, seed=0)[0], random(3), random(3).flip(0)
    both = rho * rho
    assert close(both(g), torch.kron(rho(g), rho(g)))
    moved = both.act(g, torch.outer(a, b).reshape(-1))
    assert close(moved, torch.outer(rho(g) @ a, rho(g) @ b).reshape(-1))
    assert not close(moved, torch.outer(rho(g) @ b, rho(g) @ a).reshape(-1))


@convention("Matrices and the equation", "The equation")
def test_equation_is_invariance_under_out_times_dual_in():
    group = reps.dihedral(5)
    rho_in, rho_out = reps.regular(group), group.defining
    basis = equivariant_basis(rho_in, rho_out)
    W, (g, _) = basis.combine(random(len(basis))), pair(group)
    assert close(rho_out(g) @ W, W @ rho_in(g))
    assert close((rho_out * rho_in.dual).act(g, W.reshape(-1)), W.reshape(-1))
    assert not close((rho_in.dual * rho_out).act(g, W.reshape(-1)), W.reshape(-1))


@convention("Matrices and the equation", "Bases")
@convention("Matrices and the equation", "Precision")
@pytest.mark.parametrize("group", [reps.cyclic(5), reps.SO(2)], ids=str)
def test_bases_are_orthonormal_and_in_double_precision(group):
    rho = group.defining * group.defining
    maps = equivariant_basis(rho, rho).dense()
    assert maps.dtype == torch.float64 != torch.get_default_dtype()
    eye = torch.eye(len(maps), dtype=torch.float64)
    assert close(torch.einsum("aij,bij->ab", maps, maps), eye)
    assert not close(torch.einsum("aij,bji->ab", maps, maps), eye)


@convention("Matrices and the equation", "Error")
def test_error_is_relative_and_takes_the_worst_element():
    rho = reps.cyclic(N).defining
    W, x, elements = random(N, N), random(N), rho.group.elements()
    errors = [
        float((W @ rho(g) @ x - rho(g) @ W @ x).norm() / (rho(g) @ W @ x).norm()) for g in elements
    ]
    measured = equivariance_error(lambda v: v @ W.T, x, rho, rho, elements)
    assert measured == pytest.approx(max(errors), rel=1e-12)
    assert measured > 1.1 * sum(errors) / N
    # Squares of these numbers overflow in single precision.
    huge = equivariance_error(lambda v: v @ W.float().T, 1e30 * x.float(), rho, rho, elements)
    assert huge == pytest.approx(measured, rel=1e-5)


# --- Lie algebras -------------------------------------------------------------------------------


@convention("Lie algebras", "Derivative")
@pytest.mark.parametrize("group", [reps.SO(2), reps.SO(3), reps.lorentz()], ids=str)
def test_algebra_is_the_derivative(group):
    rho, step = group.defining * group.defining.dual, 1e-5
    for a in range(len(group.algebra_names)):
        unit = [step * (b == a) for b in range(len(group.algebra_names))]
        plus, minus = rho(group.exp(*unit)), rho(group.exp(*unit).inverse())
        derivative = (plus - minus) / (2 * step)
        assert float((derivative - rho.algebra[a]).abs().max()) < 1e-8
        assert float((derivative + rho.algebra[a]).abs().max()) > 0.1


@convention("Lie algebras", "Tensor product")
@convention("Lie algebras", "Dual")
def test_algebra_of_products_and_duals():
    rho, eye = reps.lorentz().defining, torch.eye(4, dtype=torch.float64)
    for X, product, dual in zip(rho.algebra, (rho * rho).algebra, rho.dual.algebra, strict=True):
        assert close(product, torch.kron(X, eye) + torch.kron(eye, X))
        assert close(dual, -X.T) and not close(dual, X.T)
        assert not close(product, torch.kron(X, X))


@convention("Lie algebras", "SO(2)")
def test_rotations_of_the_plane_are_counter_clockwise():
    group = reps.SO(2)
    assert close(group.defining.algebra[0], J) and not close(group.defining.algebra[0], J.T)
    t = 0.3
    turned = group.defining(group.exp(t)) @ torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert close(turned, torch.tensor([math.cos(t), math.sin(t)], dtype=torch.float64))


@convention("Lie algebras", "SO(3)")
def test_rotations_of_space():
    group = reps.SO(3)
    X, Y, Z = group.defining.algebra
    assert group.algebra_names == ("X", "Y", "Z")
    assert all(close(A, -A.T) for A in (X, Y, Z))
    for A, B, C in ((X, Y, Z), (Y, Z, X), (Z, X, Y)):
        assert close(A @ B - B @ A, C) and not close(A @ B - B @ A, -C)
    quarter = group.defining(group.exp(0.0, 0.0, math.pi / 2))
    assert close(quarter @ torch.eye(3, dtype=torch.float64)[0], torch.eye(3).double()[1])
    for g in group.random(20, seed=0):
        assert float(torch.linalg.det(group.defining(g))) == pytest.approx(1.0, abs=1e-12)


@convention("Lie algebras", "O(3)")
def test_the_generator_of_all_motions_is_the_inversion():
    inversion = reps.O(3).defining(reps.O(3).generator(0))
    assert close(inversion, -torch.eye(3, dtype=torch.float64))
    assert not close(inversion, torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)))


@convention("Lie algebras", "Lorentz")
def test_time_comes_first_and_its_sign_is_negative():
    eta = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    group = reps.lorentz()
    for X in group.defining.algebra:
        assert close(X.T @ eta + eta @ X, torch.zeros(4, 4, dtype=torch.float64))
    X, last = group.defining.algebra[3], torch.diag(eta.diag().flip(0))
    assert not close(X.T @ last + last @ X, torch.zeros(4, 4, dtype=torch.float64))
    boost = group.defining(group.exp(0.0, 0.0, 0.0, 0.5, 0.0, 0.0))
    assert boost[0, 0] == pytest.approx(math.cosh(0.5)) and boost[0, 1] != 0
