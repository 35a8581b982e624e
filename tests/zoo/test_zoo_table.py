"""Rows of the table by counting double cosets, and by the weights of layers."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from gdl import representations as reps
from gdl.equivariance import equivariant_basis, span_residual
from gdl.zoo.rows import dimension_by_cosets, double_cosets, layer_maps
from tests.test_representations import refuses

D5, S4, A4 = reps.dihedral(5), reps.symmetric(4), reps.alternating(4)


def subgroups(group):
    """The identity alone, the stabiliser of a point, a cyclic subgroup, the group."""
    return {
        "one": [group.identity()],
        "point": reps.stabiliser(group.defining, 0),
        "cycle": powers(group.generator(0)),
        "whole": group.elements(),
    }


def powers(g):
    found = [g.group.identity()]
    while g.group.index(found[-1] * g):
        found.append(found[-1] * g)
    return found


@pytest.mark.parametrize("group", [D5, S4, A4], ids=str)
def test_double_cosets_are_all_products(group):
    chosen = subgroups(group).values()
    for inner, outer in itertools.product(chosen, repeat=2):
        cosets = double_cosets(group, inner, outer)
        for coset in cosets:
            products = {group.index(b * coset[-1] * a) for b in outer for a in inner}
            assert [group.index(g) for g in coset] == sorted(products)
        assert sum(map(len, cosets)) == group.order
        assert group.index(cosets[0][0]) == 0


@pytest.mark.parametrize("group", [D5, S4, A4], ids=str)
def test_scalar_fields(group):
    chosen = subgroups(group).values()
    for inner, outer in itertools.product(chosen, repeat=2):
        rho_in, rho_out = reps.cosets(group, inner), reps.cosets(group, outer)
        expected = len(equivariant_basis(rho_in, rho_out))
        assert len(double_cosets(group, inner, outer)) == expected
        assert dimension_by_cosets(group, inner, outer) == expected


def test_order_of_the_factors():
    """From a point to a cycle and back: B g A, not A g B, else the products above are others."""
    point, cycle = subgroups(S4)["point"], subgroups(S4)["cycle"]
    there = {frozenset(S4.index(g) for g in c) for c in double_cosets(S4, point, cycle)}
    back = {frozenset(S4.index(g.inverse()) for g in c) for c in double_cosets(S4, cycle, point)}
    assert there == back


@pytest.mark.parametrize(("n", "expected"), [(5, 10), (6, 12), (7, 14)])
def test_fields_of_vectors_on_a_polygon(n, expected):
    group = reps.dihedral(n)
    plane = reps.circular_irrep(group, 1)
    corner = reps.stabiliser(group.defining, 0)
    field = group.defining * plane
    chi = plane.character
    assert dimension_by_cosets(group, corner, corner, chi, chi) == expected
    assert len(equivariant_basis(field, field)) == expected
    assert dimension_by_cosets(group, corner, corner, None, chi) == len(
        equivariant_basis(group.defining, field)
    )


def test_fibres_over_different_subgroups():
    """From the points of A_4 to the cosets of a cycle, with four-dimensional fibres."""
    point, cycle = subgroups(A4)["point"], subgroups(A4)["cycle"]
    rotation = A4.defining
    got = dimension_by_cosets(A4, point, cycle, rotation.character, rotation.character)
    rho_in, rho_out = A4.defining * rotation, reps.cosets(A4, cycle) * rotation
    assert got == len(equivariant_basis(rho_in, rho_out))


def test_a_fibre_of_the_subgroup_alone():
    """A character of two mirrors and the half turn that no character of D_4 extends.

    A quarter turn exchanges the mirrors and so this character with another one. The field over the
    two cosets is therefore the plane, an irrep of real type.
    """
    D4 = reps.dihedral(4)
    turn, mirror = D4.generator(0), D4.generator(1)
    half = turn * turn
    signs = {D4.identity(): 1, mirror: 1, half: -1, half * mirror: -1}
    by_index = {D4.index(g): sign for g, sign in signs.items()}

    def chi(g):
        return by_index[D4.index(g)]

    plane = reps.circular_irrep(D4, 1)
    assert dimension_by_cosets(D4, list(signs), list(signs), chi, chi) == 1
    assert dimension_by_cosets(D4, list(signs), D4.elements(), chi, plane.character) == 1
    assert len(equivariant_basis(plane, plane)) == 1


def test_a_fibre_of_complex_type():
    """Rotations of a plane under the three turns about a corner of a tetrahedron.

    The induced character by its own formula, and the mean of its square over the group.
    """
    turns = powers(A4.generator(0))
    assert len(turns) == 3

    def chi(g):
        return -1.0 if A4.index(g) else 2.0

    inside = {A4.index(g) for g in turns}

    def induced(g):
        moved = [t.inverse() * g * t for t in A4.elements()]
        return sum(chi(h) for h in moved if A4.index(h) in inside) / len(turns)

    expected = sum(induced(g) ** 2 for g in A4.elements()) / A4.order
    assert dimension_by_cosets(A4, turns, turns, chi, chi) == round(expected) == 6
    assert dimension_by_cosets(A4, turns, iter(turns), chi) == round(
        sum(induced(g) * reps.cosets(A4, turns).character(g) for g in A4.elements()) / A4.order
    )


def test_subgroups_may_be_iterated_once():
    point = subgroups(S4)["point"]
    assert len(double_cosets(S4, iter(point), iter(point))) == 2
    assert dimension_by_cosets(S4, iter(point), iter(point)) == 2


@pytest.mark.parametrize(
    ("chi", "error"),
    [
        (3, TypeError),
        (lambda g: "a", TypeError),
        (lambda g: None, TypeError),
        (lambda g: 1j, TypeError),
        (lambda g: torch.tensor(1.0), TypeError),
        (lambda g: float("nan"), ValueError),
        (lambda g: float("inf"), ValueError),
        (lambda g: -1.0, ValueError),
    ],
    ids=range(8),
)
def test_what_is_no_character(chi, error):
    one = [D5.identity()]
    for name in ("chi_in", "chi_out"):
        with refuses(error, name):
            dimension_by_cosets(D5, one, one, **{name: chi})


def test_bad_groups_are_refused():
    one = [S4.identity()]
    with pytest.raises(ValueError, match="finite"):
        double_cosets(reps.SO(2), [], [])
    with pytest.raises(TypeError, match="group"):
        double_cosets("S4", one, one)
    with pytest.raises(ValueError, match="inner: expected elements of"):
        double_cosets(S4, [D5.identity()], one)
    with pytest.raises(TypeError, match="outer: expected Elements, got int"):
        double_cosets(S4, one, [0])
    for wrong in (None, 3):
        with pytest.raises(TypeError, match="inner: expected Elements"):
            double_cosets(S4, wrong, one)
    for wrong in ([], 2 * one, [S4.generator(1)], [S4.identity(), S4.generator(1)]):
        with pytest.raises(ValueError, match="outer: expected all elements of a subgroup"):
            double_cosets(S4, one, wrong)
    with pytest.raises(ValueError, match="chi_in, chi_out"):
        dimension_by_cosets(D5, D5.elements(), D5.elements(), lambda g: g.group.index(g) * 0.37)


# --- layers -------------------------------------------------------------------------------------


def test_the_weights_of_a_layer():
    layer = nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", bias=False).double()
    before = layer.weight.detach().clone()
    eye = torch.eye(5, dtype=torch.float64)[:, None]
    maps = layer_maps(layer, lambda f: f(eye)[:, 0].T)
    rho = reps.cyclic(5).defining
    assert maps.shape == (3, 5, 5) and not maps.requires_grad
    assert span_residual(maps, equivariant_basis(rho, rho)) < 1e-12
    assert torch.equal(layer.weight, before)
    direct = layer(eye)[:, 0].T
    assert torch.allclose(torch.tensordot(before.flatten(), maps, 1), direct, atol=1e-12)


def test_several_parameters_in_order():
    layer = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    maps = layer_maps(layer, lambda f: f[0].weight + 10 * f[1].weight)
    assert maps.shape == (8, 2, 2) and maps.dtype == torch.float32
    assert maps.flatten(1).sum(1).tolist() == [1.0] * 4 + [10.0] * 4


def test_other_layers_are_refused():
    eye = torch.eye(2)
    deep = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with pytest.raises(ValueError, match="linear in its parameters"):
        layer_maps(deep, lambda f: f(eye))
    with pytest.raises(ValueError, match="linear in its parameters"):
        layer_maps(nn.Linear(2, 2), lambda f: f.weight + 1)
    with pytest.raises(ValueError, match="at least one parameter"):
        layer_maps(nn.ReLU(), lambda f: eye)
    with pytest.raises(ValueError, match="linear in its parameters"):
        layer_maps(deep.bfloat16(), lambda f: f(eye.bfloat16()))
    with pytest.raises(TypeError, match="layer"):
        layer_maps(lambda x: x, lambda f: eye)
    for wrong in (3.0, None, eye.long()):
        with pytest.raises(TypeError, match="matrix_of"):
            layer_maps(nn.Linear(2, 2, bias=False), lambda f, wrong=wrong: wrong)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_maps_of_another_dtype_than_the_weights(dtype):
    maps = layer_maps(nn.Linear(2, 2, bias=False), lambda f: f.weight.to(dtype))
    assert maps.dtype == dtype and torch.equal(maps.flatten(1), torch.eye(4, dtype=dtype))
