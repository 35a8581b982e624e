"""What an integrator says of itself: its order is measured, and what it is not is refused."""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from torch import Tensor

from gdl.programs.integrators import (
    LEAPFROG,
    RK4,
    ButcherTableau,
    Splitting,
    rooted_trees,
    runge_kutta,
    split,
)
from tests.test_representations import refuses, tensor

EULER = ButcherTableau("explicit Euler", ((0.0,),), (1.0,), 1)
MIDPOINT = ButcherTableau("midpoint", ((0.0, 0.0), (0.5, 0.0)), (0.0, 1.0), 2)
KUTTA3 = ButcherTableau("Kutta", ((0, 0, 0), (0.5, 0, 0), (-1, 2, 0)), (1 / 6, 2 / 3, 1 / 6), 3)
SYMPLECTIC_EULER = Splitting("symplectic Euler", drifts=(1.0,), kicks=(1.0,), order=1)
# Drift, kick, drift: a first kick of 0 is left out.
POSITIONS_FIRST = Splitting("drift first", drifts=(0.5, 0.5), kicks=(0.0, 1.0), order=2)
# Ruth's splitting of third order.
RUTH3 = Splitting("Ruth", drifts=(2 / 3, -2 / 3, 1.0), kicks=(7 / 24, 3 / 4, -1 / 24), order=3)
# Yoshida's three leapfrogs of h x, h (1 - 2 x), h x: 2 x^3 + (1 - 2 x)^3 = 0, and the middle one
# goes back.
LONG = 1 / (2 - 2 ** (1 / 3))
BACK = 1 - 2 * LONG
YOSHIDA4 = Splitting(
    "Yoshida",
    drifts=(LONG, BACK, LONG),
    kicks=(LONG / 2, (LONG + BACK) / 2, (LONG + BACK) / 2, LONG / 2),
    order=4,
)
# Five leapfrogs, since one with 1 / (4 - 4^(1/3)) four times is of order 4 as well.
OUTER = 1 / (4 - 4 ** (1 / 3))
FIVE = (OUTER, OUTER, 1 - 4 * OUTER, OUTER, OUTER)
SUZUKI4 = Splitting(
    "Suzuki",
    drifts=FIVE,
    kicks=[(a + b) / 2 for a, b in zip((0, *FIVE), (*FIVE, 0), strict=True)],
    order=4,
)
TABLEAUX = (EULER, MIDPOINT, KUTTA3, RK4)
SPLITTINGS = (SYMPLECTIC_EULER, LEAPFROG, POSITIONS_FIRST, RUTH3, YOSHIDA4, SUZUKI4)
tableaux = pytest.mark.parametrize("tableau", TABLEAUX, ids=lambda t: t.name)
splittings = pytest.mark.parametrize("scheme", SPLITTINGS, ids=lambda t: t.name)

Q0, P0, TIME = tensor([1.3]), tensor([0.4]), 2.0


def pendulum(state: Tensor) -> Tensor:
    q, p = state.chunk(2, -1)
    return torch.cat([p, -torch.sin(q)], -1)


@cache
def exact_pendulum() -> Tensor:
    """The state after TIME by a method of order 8, to 1e-12."""
    start = [Q0.item(), P0.item()]
    solved = solve_ivp(
        lambda _, y: [y[1], -math.sin(y[0])], (0, TIME), start, "DOP853", rtol=3e-14, atol=1e-14
    )
    return torch.from_numpy(solved.y[:, -1])


def end(method: ButcherTableau | Splitting, steps: int) -> Tensor:
    clock = {"step": TIME / steps, "steps": steps, "every": steps}
    if isinstance(method, ButcherTableau):
        return runge_kutta(pendulum, torch.cat([Q0, P0]), tableau=method, **clock)[-1]
    return torch.cat([x[-1] for x in split(torch.sin, Q0, P0, scheme=method, **clock)])


def test_numbers_of_rooted_trees():
    assert [len(rooted_trees(n)) for n in range(1, 10)] == [1, 1, 2, 4, 9, 20, 48, 115, 286]


def test_the_eight_conditions_of_order_four_by_hand():
    A, b = np.array(RK4.matrix), np.array(RK4.weights)
    c = A.sum(1)
    by_hand = {
        (): b.sum() - 1,
        ((),): b @ c - 1 / 2,
        ((), ()): b @ c**2 - 1 / 3,
        (((),),): b @ A @ c - 1 / 6,
        ((), (), ()): b @ c**3 - 1 / 4,
        ((), ((),)): b @ (c * (A @ c)) - 1 / 8,
        (((), ()),): b @ A @ c**2 - 1 / 12,
        ((((),),),): b @ A @ A @ c - 1 / 24,
    }
    assert set(by_hand) == {t for n in range(1, 5) for t in rooted_trees(n)}
    assert RK4.nodes == tuple(c) == (0, 0.5, 0.5, 1)
    # A tableau of order 1 has defects to compare.
    rough = ButcherTableau("rough", RK4.matrix, (0.1, 0.2, 0.3, 0.4), 1)
    b = np.array(rough.weights)
    assert abs(rough.defect(((), ((),))) - (b @ (c * (A @ c)) - 1 / 8)) < 1e-15
    assert abs(rough.defect((((), ()),)) - (b @ A @ c**2 - 1 / 12)) < 1e-15
    assert abs(rough.defect(((),)) - (b @ c - 1 / 2)) < 1e-15 < abs(rough.defect(((),)))
    for tree, defect in by_hand.items():
        assert abs(RK4.defect(tree) - defect) < 1e-15 and abs(defect) < 1e-15


def nilpotent(size: int, seed: int) -> np.ndarray:
    """A strictly upper triangular matrix: products of ``size`` of them vanish."""
    return np.triu(np.random.default_rng(seed).standard_normal((size, size)), 1)


@splittings
def test_words_are_the_product_of_exponentials(scheme):
    def gap(size: int) -> float:
        letters = {"k": nilpotent(size, 0), "d": nilpotent(size, 1)}
        step = np.eye(size)
        for letter, share in scheme.moves:
            step = step @ expm(share * letters[letter])
        difference = np.eye(size) * 0
        for length in range(1, size):
            for word in map("".join, product("kd", repeat=length)):
                matrices = [letters[letter] for letter in word]
                difference = difference + scheme.defect(word) * np.linalg.multi_dot(
                    [np.eye(size), *matrices, np.eye(size)]
                )
        flow = expm(letters["k"] + letters["d"])
        assert np.abs(step - flow - difference).max() < 1e-12
        return np.abs(step - flow).max()

    assert gap(scheme.order + 1) < 1e-13 and gap(scheme.order + 2) > 1e-5


@pytest.mark.parametrize("method", [*TABLEAUX, *SPLITTINGS], ids=lambda t: t.name)
def test_the_order_is_the_slope_of_the_error(method):
    steps = np.array([64, 128, 256]) if method.order < 4 else np.array([16, 32, 64])
    errors = [float((end(method, int(n)) - exact_pendulum()).norm()) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert errors[-1] > 1e-11 and abs(slope - method.order) < 0.1


@pytest.mark.parametrize("order", [1, 2, 3, 5, 8])
def test_another_order_than_the_tableau_has_is_refused(order):
    with pytest.raises(ValueError, match=rf"^order: the coefficients have order .*, got {order}$"):
        ButcherTableau("claims", RK4.matrix, RK4.weights, order)
    with pytest.raises(ValueError, match=r"^order: the coefficients have order"):
        Splitting("claims", YOSHIDA4.drifts, YOSHIDA4.kicks, order)


@pytest.mark.parametrize(("i", "j"), [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
def test_a_tableau_with_one_number_changed_is_refused(i, j):
    rows = [list(row) for row in RK4.matrix]
    rows[i][j] += 1e-6
    with refuses(ValueError, "order"):
        ButcherTableau("broken", rows, RK4.weights, 4)


@pytest.mark.parametrize("name", ["drifts", "kicks"])
@pytest.mark.parametrize("i", [0, 1, 2])
def test_a_splitting_with_one_number_changed_is_refused(name, i):
    given = {"drifts": list(YOSHIDA4.drifts), "kicks": list(YOSHIDA4.kicks)}
    given[name][i] += 1e-6
    with refuses(ValueError, name):
        Splitting("broken", **given, order=4)
    given[name][(i + 1) % 3] -= 1e-6
    with refuses(ValueError, "order"):
        Splitting("broken", **given, order=4)


def test_weights_that_are_exchanged_are_refused():
    with refuses(ValueError, "order"):
        ButcherTableau("broken", RK4.matrix, (1 / 6, 1 / 6, 1 / 3, 1 / 3), 4)
    with refuses(ValueError, "order"):
        Splitting("broken", drifts=(1.0,), kicks=(0.25, 0.75), order=2)


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (TypeError, "name", {"name": 3}),
        (TypeError, "matrix", {"matrix": 0}),
        (TypeError, "matrix", {"matrix": ("00", "00")}),
        (TypeError, "matrix", {"matrix": ((0, 0), (True, 0))}),
        (TypeError, "matrix", {"matrix": torch.zeros(2, 2)}),
        (ValueError, "matrix", {"matrix": ()}),
        (ValueError, "matrix", {"matrix": ((0, 0),)}),
        (ValueError, "matrix", {"matrix": ((0,), (0.5, 0))}),
        (ValueError, "matrix", {"matrix": ((0, 0), (math.nan, 0))}),
        (ValueError, "matrix", {"matrix": ((0, 0), (0.5, 0.1))}),
        (ValueError, "matrix", {"matrix": ((0, 0.1), (0.5, 0))}),
        (TypeError, "weights", {"weights": (0, "1")}),
        (ValueError, "weights", {"weights": ()}),
        (ValueError, "weights", {"weights": (0, math.inf)}),
        (ValueError, "weights", {"weights": (0, 0.9)}),
        (TypeError, "order", {"order": 2.0}),
        (TypeError, "order", {"order": True}),
        (ValueError, "order", {"order": 0}),
        (ValueError, "order", {"order": 9}),
    ],
)
def test_a_tableau_that_is_none_is_named(error, argument, change):
    given = {"name": "x", "matrix": MIDPOINT.matrix, "weights": MIDPOINT.weights, "order": 2}
    ButcherTableau(**given)
    with refuses(error, argument):
        ButcherTableau(**given | change)


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (TypeError, "name", {"name": None}),
        (TypeError, "drifts", {"drifts": 1.0}),
        (TypeError, "drifts", {"drifts": ("1",)}),
        (TypeError, "kicks", {"kicks": {0.5}}),
        (ValueError, "drifts", {"drifts": ()}),
        (ValueError, "drifts", {"drifts": (math.nan,)}),
        (ValueError, "drifts", {"drifts": (0.9,)}),
        (ValueError, "kicks", {"kicks": (0.5, 0.4)}),
        (ValueError, "kicks", {"kicks": (0.2, 0.6, 0.2)}),
        (ValueError, "kicks", {"drifts": (0.5, 0.5), "kicks": (1.0,)}),
        (TypeError, "order", {"order": "2"}),
        (ValueError, "order", {"order": 9}),
    ],
)
def test_a_splitting_that_is_none_is_named(error, argument, change):
    given = {"name": "x", "drifts": (1.0,), "kicks": (0.5, 0.5), "order": 2}
    Splitting(**given)
    with refuses(error, argument):
        Splitting(**given | change)


def test_methods_are_values():
    again = Splitting(LEAPFROG.name, [1], [0.5, 0.5], 2)
    assert again == LEAPFROG and hash(again) == hash(LEAPFROG)
    with pytest.raises(AttributeError):
        LEAPFROG.order = 4
    assert [s.symmetric for s in SPLITTINGS] == [False, True, True, False, True, True]
    for order in ("1", True, 0, 10):
        with refuses((TypeError, ValueError), "order"):
            rooted_trees(order)
