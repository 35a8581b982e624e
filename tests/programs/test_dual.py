"""Forward mode: slopes are torch's, those of differences, and never those of another derivative."""

from __future__ import annotations

import math
import operator
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.autograd.functional import jvp

from gdl.programs.dual import Dual, derivative, pushforward
from gdl.programs.elementary import (
    Elementary,
    Number,
    cos,
    exp,
    fresh_level,
    log,
    real,
    sin,
    tanh,
)
from tests.programs.random_programs import F64, TABLE, TOLERANCE, gap, gradient, runs
from tests.test_representations import refuses

EXAMPLES = 150
POINTS = {1: [(0.3,), (1.7,)], 2: [(0.3, 1.7), (2.1, -0.6), (1.2, 3.0)]}


def difference(f, x: float, h: float = 3e-4) -> float:
    """The derivative, up to h^4 / 30 times the fifth one and eps / h: about 1e-11."""
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", TABLE, ids=lambda function: function.name)
def test_partial_derivatives_by_differences(function):
    for at in POINTS[len(function.partials)]:
        y = function(*at)
        assert isinstance(y, float) and y == function.value(*at)
        for i in range(len(at)):
            found = difference(lambda u, i=i, at=at: function(*at[:i], u, *at[i + 1 :]), at[i])
            assert abs(function.partial(i, at, y) - found) < 1e-10


def test_negatives():
    assert (-Dual(1.5, 1.0)).value == -1.5 and (-Dual(1.5, 1.0)).slope == -1.0


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "pow"])
def test_operators_on_either_side(name):
    symbol, a, b = getattr(operator, name), 1.5, 0.7
    for da, db in ((1.0, 2.0), (1.0, None), (None, 2.0)):
        u, v = (x if dx is None else Dual(x, dx) for x, dx in ((a, da), (b, db)))
        y = symbol(u, v)
        da, db = da or 0.0, db or 0.0
        wanted = difference(lambda t, da=da, db=db: symbol(a + t * da, b + t * db), 0.0)
        assert y.value == symbol(a, b) and abs(y.slope - wanted) < 1e-10


def test_a_new_row_of_the_table_is_differentiated_like_the_others():
    atan = Elementary("atan", math.atan, (lambda x, y: 1 / (1 + x * x),))
    assert atan(1.0) == math.pi / 4
    assert abs(derivative(lambda x: derivative(atan, x), 0.5) + 1 / 1.25**2) < 1e-15


# --- against torch, and against differences -------------------------------------------------------


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(runs())
def test_pushforwards_are_torchs(run):
    program, x, v = run
    y, dy = pushforward(program, x, v)
    wanted = jvp(program.stacked, torch.tensor(x, dtype=F64), torch.tensor(v, dtype=F64))
    assert gap(y, wanted[0]) < TOLERANCE and gap(dy, wanted[1]) < TOLERANCE
    assert y == [real(a) for a in program(x)]


def newton(x: list) -> list:
    """The root of z exp(z) = x_0 + x_1^2 by as many steps as it takes, and how fast it moved."""
    z, wanted, steps = 0.5, x[0] + x[1] ** 2, []
    while not steps or abs(real(steps[-1])) > 1e-14:
        steps.append((z - wanted * exp(-z)) / (1 + z))
        z = z - steps[-1]
    return [z, max(steps[0], steps[1]), steps[0] if steps[0] > 0 else -steps[0]]


def test_loops_and_branches_against_differences():
    x, v = [0.7, 0.9], [0.4, -1.3]
    y, dy = pushforward(newton, x, v)
    line = [
        difference(lambda t, i=i: newton([a + t * b for a, b in zip(x, v, strict=True)])[i], 0.0)
        for i in range(3)
    ]
    assert abs(y[0] * math.exp(y[0]) - x[0] - x[1] ** 2) < 1e-14
    # By the implicit function theorem: dz = d(x_0 + x_1^2) / (exp(z) (1 + z)).
    assert abs(dy[0] - (v[0] + 2 * x[1] * v[1]) / (math.exp(y[0]) * (1 + y[0]))) < 1e-14
    assert np.abs(np.subtract(dy, line)).max() < 1e-10 and min(map(abs, dy)) > 0.1


def test_pushforwards_are_linear_and_compose():
    def f(x):
        return [x[0] * sin(x[1]), x[1] / x[0], tanh(x[0] - x[1])]

    def g(y):
        return y[0] * y[1] ** 2 + exp(y[2])

    x, v, w = [0.8, -1.1], [0.3, 2.0], [-1.0, 0.5]
    y, dy = pushforward(f, x, v)
    both = pushforward(f, x, [2 * a - b for a, b in zip(v, w, strict=True)])[1]
    assert gap(both, 2 * np.array(dy) - pushforward(f, x, w)[1]) < TOLERANCE
    assert pushforward(lambda x: g(f(x)), x, v) == pushforward(g, y, dy)


# --- nesting --------------------------------------------------------------------------------------


def higher(f, order: int):
    return f if not order else lambda x: derivative(higher(f, order - 1), x)


@pytest.mark.parametrize(
    ("f", "third"),
    [
        (lambda x: exp(2 * x), lambda x: 8 * math.exp(2 * x)),
        (lambda x: x**5 / x, lambda x: 24 * x),
        (lambda x: x**2.5, lambda x: 1.875 * x**-0.5),
        (lambda x: sin(x) * cos(x), lambda x: -4 * math.cos(2 * x)),
        (lambda x: log(x) - x**0.5, lambda x: 2 / x**3 - 0.375 * x**-2.5),
        (lambda x: 2**x, lambda x: math.log(2) ** 3 * 2**x),
        (tanh, lambda x: (4 - 6 / math.cosh(x) ** 2) / math.cosh(x) ** 2),
        (lambda x: x**x, lambda x: x**x * ((math.log(x) + 1) * (math.log(x) + 1) ** 2
         + 3 * (math.log(x) + 1) / x - 1 / x**2)),
    ],
    ids=["exp", "quotient", "power", "product", "log", "exponent", "tanh", "tower"],
)  # fmt: skip
def test_third_derivatives(f, third):
    for x in (0.4, 1.3):
        assert abs(higher(f, 3)(x) - third(x)) < 1e-12 * max(1, abs(third(x)))


def test_derivatives_of_monomials_at_zero():
    for power, found in ((0, []), (1, [1.0]), (2, [0.0, 2.0]), (3, [0.0, 0.0, 6.0])):
        wanted = found + [0.0] * (4 - len(found))
        for exponent in (power, float(power)):
            monomial = [higher(lambda x, n=exponent: x**n, k)(0.0) for k in range(1, 5)]
            assert monomial == wanted


class Tagless(Number):
    """Dual numbers as they are often written: one e for all derivatives."""

    __slots__ = ("slope", "value")
    level = 2

    def __init__(self, value, slope):
        self.value, self.slope = value, slope

    def __add__(self, other):
        a, b = (x if isinstance(x, Tagless) else Tagless(x, 0.0) for x in (self, other))
        return Tagless(a.value + b.value, a.slope + b.slope)

    def __mul__(self, other):
        a, b = (x if isinstance(x, Tagless) else Tagless(x, 0.0) for x in (self, other))
        return Tagless(a.value * b.value, a.slope * b.value + a.value * b.slope)


def tagless(f, x):
    y = f(Tagless(x, 1.0))
    return y.slope if isinstance(y, Tagless) else 0.0


def test_nested_perturbations_are_not_confused():
    """d/dx of x d/dy (x + y) is 1."""
    for take, found in ((derivative, 1.0), (tagless, 2.0)):
        assert take(lambda x: x * take(lambda y: x + y, 1.0), 1.0) == found  # noqa: B023
    # x d/dy (x y) = x^2, whether the inner derivative is taken forwards or backwards.
    ways = [derivative, lambda f, x: gradient(lambda z: f(*z), [x])[0]]
    for outer in ways:
        for inner in ways:
            assert outer(lambda x: x * inner(lambda y: x * y, 3.0), 5.0) == 10.0  # noqa: B023
            assert outer(lambda x: inner(lambda y: x, 3.0), 5.0) == 0.0  # noqa: B023


def test_mixed_derivatives_commute():
    def f(x, y):
        return x**y * sin(x * y)

    one = derivative(lambda x: derivative(lambda y: f(x, y), 0.7), 1.2)
    other = derivative(lambda y: derivative(lambda x: f(x, y), 1.2), 0.7)
    x, y = (torch.tensor(a, dtype=F64, requires_grad=True) for a in (1.2, 0.7))
    (by_x,) = torch.autograd.grad(x**y * torch.sin(x * y), x, create_graph=True)
    (wanted,) = torch.autograd.grad(by_x, y)
    assert abs(one - other) < 1e-14 and abs(one - wanted.item()) < 1e-14


def test_dual_numbers_nested_by_hand():
    inner = Dual(3.0, 1.0, level=4)
    cube = Dual(inner, 1.0, level=5) ** 3
    assert cube.value.value == 27.0 and cube.value.slope == cube.slope.value == 27.0
    assert cube.slope.slope == 18.0


# --- numbers --------------------------------------------------------------------------------------


def test_comparisons_are_those_of_the_values():
    a = Dual(1.0, 5.0)
    for symbol in ("lt", "le", "gt", "ge", "eq", "ne"):
        for b in (0.5, 1.0, 2.0):
            wanted = getattr(operator, symbol)(1.0, b)
            for other in (b, Dual(b, -1.0), Dual(Dual(b, 3.0, 4), 0.0, 5)):
                assert getattr(operator, symbol)(a, other) is wanted
    assert not Dual(0.0, 1.0) and Dual(2.0, 0.0) and a != "1"
    assert max(Dual(1.0, 7.0), Dual(2.0, 8.0)).slope == 8.0


@pytest.mark.parametrize("two", [2, True + 1, np.float64(2), np.float32(2), Fraction(2)], ids=repr)
def test_constants_of_any_real_type(two):
    for y in (Dual(3.0, 1.0) * two, two * Dual(3.0, 1.0)):
        assert y.value == 6.0 and y.slope == 2.0 and type(y.value) is type(y.slope) is float


@pytest.mark.parametrize(
    "lose",
    [float, math.sin, hash, lambda x: x // 2, lambda x: x % 2, round],
    ids=["float", "sin", "hash", "floor", "remainder", "round"],
)
def test_what_would_lose_a_derivative_is_refused(lose):
    with pytest.raises(TypeError):
        lose(Dual(3.0, 1.0))


def test_outputs_that_do_not_depend_on_the_input():
    f = lambda x: [x[0], 2, x[1] - x[1], 0.5]  # noqa: E731
    assert pushforward(f, [3.0, 4.0], [1.0, 1.0]) == ([3.0, 2.0, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0])
    assert derivative(lambda x: 7, 1.0) == 0.0
    assert pushforward(lambda x: (x[0],), [3], [1]) == ([3.0], [1.0])
    assert derivative(lambda t: [t, t * t], 3.0) == [1.0, 6.0]


def test_programs_that_write_in_place_and_alias():
    def f(x):
        same = x
        same[0] = same[0] * x[1]
        x[1] += same[0]
        x.append(x[0] * x[0])
        return x

    x, v = [2.0, 3.0], [1.0, 0.5]
    assert pushforward(f, x, v) == ([6.0, 9.0, 36.0], [4.0, 4.5, 48.0])
    assert x == [2.0, 3.0] and v == [1.0, 0.5]
    assert pushforward(f, np.array(x), np.array(v))[1] == [4.0, 4.5, 48.0]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "x", "says"),
    [
        (lambda x: x**0.5, 0.0, "power: expected a finite derivative at 0.0, 0.5"),
        (lambda x: 1 / x, 0.0, "divide: expected a finite value at 1.0, 0.0"),
        (lambda x: x**-1, 0.0, "power: expected a finite value"),
        (lambda x: x ** (1 / 3), -8.0, "power: expected a finite value"),
        (lambda x: 0**x, 0.0, "power: expected a finite derivative at 0.0, 0.0"),
        (lambda x: (-2) ** x, 2.0, "power: expected a finite derivative at -2.0, 2.0"),
        (log, 0.0, "log: expected a finite value at 0.0"),
        (exp, 1e3, "exp: expected a finite value at 1000.0"),
        (lambda x: x * 1e300 * 1e300, 1e9, "multiply: expected a finite value"),
        (lambda x: derivative(lambda y: log(x * y), 1.0), 0.0, "log: expected a finite value"),
        (lambda x: derivative(lambda b: x**b, 0.0), 0.0, "power: expected a finite derivative"),
    ],
    ids=range(11),
)
def test_derivatives_that_do_not_exist(f, x, says):
    with pytest.raises(ArithmeticError, match=f"^{says}"):
        derivative(f, x)


def test_derivatives_that_overflow():
    with pytest.raises(ArithmeticError, match=r"^f: expected finite derivatives, got inf"):
        pushforward(lambda x: sin(1e300 * x[0]), [0.0], [1e300])
    assert derivative(lambda x: x**0, 0.0) == 0.0 and derivative(lambda x: x**1, 0.0) == 1.0


@pytest.mark.parametrize(
    ("error", "name", "given"),
    [
        (TypeError, "x", {"x": 1.0}),
        (TypeError, "x", {"x": "12"}),
        (TypeError, "x", {"x": [1.0, True]}),
        (TypeError, "x", {"x": [1.0, None]}),
        (TypeError, "x", {"x": {1.0, 2.0}}),
        (TypeError, "x", {"x": torch.ones(2)}),
        (TypeError, "x", {"x": np.ones((2, 2))}),
        (TypeError, "x", {"x": np.array(1.0)}),
        (ValueError, "x", {"x": []}),
        (ValueError, "x", {"x": [1.0, math.nan]}),
        (ValueError, "x", {"x": [1.0, 10**400]}),
        (TypeError, "v", {"v": None}),
        (ValueError, "v", {"v": [1.0]}),
        (ValueError, "v", {"v": [1.0, math.inf]}),
        (TypeError, "f", {"f": lambda x: None}),
        (TypeError, "f", {"f": lambda x: x[0] > 0}),
        (TypeError, "f", {"f": lambda x: [x[0], "1"]}),
        (TypeError, "f", {"f": lambda x: torch.ones(2)}),
        (ValueError, "f", {"f": lambda x: []}),
        (ValueError, "f", {"f": lambda x: math.inf}),
        (TypeError, "add", {"f": lambda x: x[0] + "1"}),
        (TypeError, "multiply", {"f": lambda x: x[0] * 1j}),
        (TypeError, "multiply", {"f": lambda x: torch.ones(()) * x[0]}),
        (TypeError, "exp", {"f": lambda x: exp(x[0], x[1])}),
        (TypeError, "exp", {"f": lambda x: exp(x)}),
    ],
    ids=range(25),
)
def test_wrong_arguments(error, name, given):
    with refuses(error, name):
        pushforward(**{"f": lambda x: x[0] * x[1], "x": [1.0, 2.0], "v": [1.0, 0.0]} | given)


def test_a_number_kept_from_another_derivative_is_refused():
    kept = []
    with refuses(ValueError, "f"):
        derivative(lambda x: x * (derivative(lambda y: kept.append(y) or y, 1.0) + kept[0]), 1.0)


@pytest.mark.parametrize(
    ("error", "name", "given"),
    [
        (TypeError, "value", ("1", 0.0)),
        (TypeError, "slope", (1.0, torch.ones(()))),
        (ValueError, "value", (math.nan, 1.0)),
        (ValueError, "slope", (1.0, math.inf)),
        (ValueError, "value", (Dual(1.0, 1.0), 1.0)),
        (ValueError, "slope", (1.0, Dual(1.0, 1.0, 5), 4)),
    ],
    ids=range(6),
)
def test_wrong_dual_numbers(error, name, given):
    with refuses(error, name):
        Dual(*given)


@pytest.mark.parametrize(
    ("error", "name", "given"),
    [
        (TypeError, "name", (1, math.sin, (math.cos,))),
        (TypeError, "value", ("sin", 1.0, (math.cos,))),
        (TypeError, "partials", ("sin", math.sin, [math.cos])),
        (TypeError, "partials", ("sin", math.sin, (1.0,))),
        (ValueError, "kind", ("sin", math.sin, (math.cos,), "trigonometry")),
    ],
    ids=range(5),
)
def test_wrong_rows_of_the_table(error, name, given):
    with refuses(error, name):
        Elementary(*given)


def test_levels_rise():
    assert Dual(1.0, 0.0).level < fresh_level() < fresh_level()
    with pytest.raises(NotImplementedError):
        Number().lift(exp, ())
