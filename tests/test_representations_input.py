"""What groups and representations refuse, and how: the error names the argument."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gdl import representations as reps
from gdl.representations import Element, Group, Representation, words
from tests.test_representations import refuses, tensor


@pytest.mark.parametrize(
    "make",
    [
        reps.cyclic,
        reps.symmetric,
        reps.dihedral,
        reps.alternating,
        reps.SO,
        reps.O,
        reps.symplectic,
        reps.translations,
        lambda n: reps.plane_group("p4", n),
    ],
)
@pytest.mark.parametrize(
    ("n", "error"),
    [
        (0, ValueError),
        (-3, ValueError),
        (2.0, TypeError),
        (True, TypeError),
        ("3", TypeError),
        (None, TypeError),
        (math.nan, TypeError),
        (torch.tensor(3), TypeError),
    ],
)
def test_sizes_must_be_positive_integers(make, n, error):
    with pytest.raises(error, match=r"^(n|sizes): expected an integer"):
        make(n)


def test_least_sizes():
    for make, least in ((reps.dihedral, 1), (reps.alternating, 3), (reps.SO, 2), (reps.O, 2)):
        make(least)
        with refuses(ValueError, "n"):
            make(least - 1)
    assert reps.cyclic(np.int64(3)) == reps.cyclic(3)
    with refuses(ValueError, "n"):
        reps.symplectic(3)
    with refuses(ValueError, "sizes"):
        reps.translations()
    with refuses(ValueError, "name"):
        reps.plane_group("p6", 3)
    with refuses(ValueError, "outer"):
        reps.wreath(0, 2)
    with refuses(TypeError, "inner"):
        reps.wreath(2, 1.5)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (torch.tensor([0, 0]), ValueError),
        (torch.tensor([1, 2]), ValueError),
        (torch.tensor([-1, 0]), ValueError),
        (torch.tensor([0.0, 1.0]), ValueError),
        (torch.tensor([], dtype=torch.int64), ValueError),
        (torch.zeros(0, 0), ValueError),
        (torch.ones(2, 3), ValueError),
        (torch.ones(2, 2, 2), ValueError),
        (torch.tensor(1), ValueError),
        (torch.ones(2, 2), ValueError),
        (torch.zeros(1, 1), ValueError),
        (torch.tensor([[math.nan]]), ValueError),
        (torch.tensor([[math.inf]]), ValueError),
        (torch.tensor([True, False]), ValueError),
        (torch.eye(2) * 1j, TypeError),
        (torch.tensor([1j]), TypeError),
        (torch.diag(tensor([1, 1e-13])), ValueError),
    ],
    ids=str,
)
def test_images_are_validated(image, error):
    with refuses(error, "generators"):
        Group("g", {"a": image})


def test_algebras_are_validated():
    with refuses(ValueError, "algebra"):
        reps.one_parameter("g", torch.tensor([[math.nan]]))
    with refuses(ValueError, "algebra"):
        reps.one_parameter("g", torch.zeros(2, 3))
    with refuses(ValueError, "generators"):
        reps.one_parameter("g", torch.zeros(2, 2), torch.zeros(3, 3))
    with refuses(ValueError, "generators"):
        reps.one_parameter("g")
    with refuses(TypeError, "generators"):
        Group("g", [torch.eye(2)])
    with refuses(TypeError, "algebra"):
        Group("g", {}, [torch.eye(2)])
    nilpotent = reps.one_parameter("g", torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert nilpotent.algebra_names == ("X0",) and nilpotent.defining.dim == 2
    assert nilpotent.defining(nilpotent.exp(3.0)).tolist() == [[1, 0], [3, 1]]
    assert (
        torch.linalg.cond(Group("g", {"a": torch.diag(tensor([1, 1e-11]))}).defining.generators[0])
        > 1e10
    )


def test_number_of_images():
    with refuses(ValueError, "generators, algebra"):
        Representation(reps.dihedral(3), [torch.eye(1)])
    with refuses(ValueError, "generators, algebra"):
        Representation(reps.SO(2), [], [torch.zeros(1, 1), torch.zeros(1, 1)])
    with refuses(TypeError, "group"):
        Representation("D_3", [torch.eye(1)])


def test_foreign_elements_and_representations():
    Z4, Z5 = reps.cyclic(4), reps.cyclic(5)
    for broken in (
        lambda: Z4.defining(Z5.generator(0)),
        lambda: Z4.index(Z5.generator(0)),
        lambda: Z4.defining.act(Z5.generator(0), torch.ones(4)),
    ):
        with refuses(ValueError, "g"):
            broken()
    for broken in (
        lambda: Z4.defining + Z5.defining,
        lambda: Z4.defining * Z5.defining,
        lambda: Z4.generator(0) * Z5.generator(0),
    ):
        with refuses(ValueError, "other"):
            broken()
    for broken in (
        lambda: Z4.defining(1),
        lambda: Z4.index("r"),
        lambda: Z4.defining.character(None),
    ):
        with refuses(TypeError, "g"):
            broken()


def test_operators_refuse_other_types():
    rho, g = reps.cyclic(4).defining, reps.cyclic(4).generator(0)
    for broken in (
        lambda: rho + 1,
        lambda: rho * 2,
        lambda: 1.5 * rho,
        lambda: True * rho,
        lambda: g * 2,
        lambda: 2 * g,
    ):
        with pytest.raises(TypeError):
            broken()
    for copies in (0, -1):
        with refuses(ValueError, "copies"):
            copies * rho


def test_words_must_belong_to_the_group():
    Z4, SO3 = reps.cyclic(4), reps.SO(3)
    letters = ((Z4, 0), (Z4, 2), (Z4, -2), (Z4, (1.0,)), (Z4, ()), (SO3, 1), (SO3, (1.0, 2.0)))
    for group, letter in letters:
        with refuses(ValueError, "g"):
            group.defining(Element(group, (letter,)))


def test_arguments_of_groups():
    Z4, SO3 = reps.cyclic(4), reps.SO(3)
    for index, error in ((1, ValueError), (-1, ValueError), (0.5, TypeError), (False, TypeError)):
        with refuses(error, "index"):
            Z4.generator(index)
    with refuses(ValueError, "index"):
        SO3.generator(0)
    for coefficients in (
        (),
        (1.0, 2.0),
        (1.0, 2.0, math.nan),
        (1.0, 2.0, math.inf),
        (1.0, 2.0, "3"),
    ):
        with refuses(ValueError, "coefficients"):
            SO3.exp(*coefficients)
    with refuses(ValueError, "coefficients"):
        Z4.exp()
    for count, error in ((0, ValueError), (-1, ValueError), (2.0, TypeError)):
        with refuses(error, "count"):
            Z4.random(count)
    with refuses(ValueError, "seed"):
        Z4.random(1, seed=-1)
    for degree, error in ((-1, ValueError), (1.5, TypeError)):
        with refuses(error, "degree"):
            SO3.class_quadrature(degree)


def test_act_refuses_wrong_inputs():
    SO2 = reps.SO(2)
    for x, error in (
        (torch.ones(3), ValueError),
        (torch.tensor(1.0), ValueError),
        ([1.0, 2.0], ValueError),
        (np.ones(2), ValueError),
        (torch.arange(2), TypeError),
    ):
        with refuses(error, "x"):
            SO2.defining.act(SO2.exp(1.0), x)


def test_infinite_groups_have_no_order(monkeypatch):
    monkeypatch.setattr(words, "ENUMERATION_LIMIT", 500)
    for group in (reps.SO(2), reps.O(3), reps.lorentz()):
        with refuses(ValueError, "group"):
            _ = group.order
    for matrix in ([[2, 1], [1, 1]], [[0.5]], [[1, 1], [0, 1]]):
        with refuses(ValueError, "group"):
            _ = Group("infinite", {"a": tensor(matrix)}).order
    for group in (reps.lorentz(), reps.SO(4), reps.O(4), reps.symplectic(2)):
        with refuses(ValueError, "group"):
            group.class_quadrature(2)


@pytest.mark.parametrize("matrix", [[[2, 1], [1, 1]], [[-2]], [[0.5]], [[-3, 0], [0, -3]]], ids=str)
def test_growing_elements_are_noticed_early(matrix):
    with pytest.raises(ValueError, match="grow without bound"):
        _ = Group("growing", {"a": tensor(matrix)}).order


def test_large_groups_are_refused(monkeypatch):
    monkeypatch.setattr(words, "ENUMERATION_LIMIT", 500)
    assert reps.symmetric(5).order == 120
    monkeypatch.setattr(words, "ENUMERATION_LIMIT", 119)
    with refuses(ValueError, "group"):
        _ = reps.symmetric(5).order
    monkeypatch.setattr(words, "ENUMERATION_LIMIT", 120)
    assert reps.symmetric(5).order == 120
    with refuses(ValueError, "group"):
        _ = reps.symmetric(20).order
    monkeypatch.setattr(words, "ENUMERATION_LIMIT", 50_000)
    monkeypatch.setattr(words, "MEMORY_LIMIT", 10_000)
    with refuses(ValueError, "group"):
        reps.symmetric(5).elements()


def test_direct_products_and_pull_backs_refuse_other_groups():
    with refuses(TypeError, "second"):
        reps.direct_product(reps.cyclic(3), 4)
    with refuses(TypeError, "first"):
        reps.direct_product("Z_3", reps.cyclic(3))
    G = reps.direct_product(reps.symmetric(3), reps.cyclic(4))
    for rho, product, factor, error, argument in (
        (reps.symmetric(3).defining, G, 3, ValueError, "factor"),
        (reps.symmetric(3).defining, G, 2, ValueError, "rho"),
        (reps.cyclic(4).defining, G, 1, ValueError, "rho"),
        (reps.dihedral(3).defining, G, 1, ValueError, "rho"),
        (reps.cyclic(3).defining, G, 2, ValueError, "rho"),
        (reps.symmetric(4).defining, G, 1, ValueError, "rho"),
        (reps.symmetric(3), G, 1, TypeError, "rho"),
        (reps.symmetric(3).defining, "G", 1, TypeError, "product"),
    ):
        with refuses(error, argument):
            reps.pull_back(rho, product, factor)


def test_large_matrices_are_refused():
    pixels = reps.translations(100, 100).defining
    assert (pixels + pixels).dim == 20_000 and (2 * pixels).is_permutation
    with refuses(ValueError, "rho"):
        pixels(pixels.group.generator(0))
    V = reps.SO(3).defining
    many = V * V * V * V * V * V
    with refuses(ValueError, "rho"):
        many * V * V * V
    rotation = reps.circular_irrep(reps.cyclic(3), 1)
    with refuses(ValueError, "rho"):
        3001 * rotation


@pytest.mark.parametrize("image", [None, 3, "r", {1, 0}, reps.cyclic(2)], ids=str)
def test_images_must_be_tensors(image):
    with refuses(TypeError, "generators"):
        Group("g", {"a": image})
    with refuses(TypeError, "algebra"):
        Group("g", {}, {"X": image})
