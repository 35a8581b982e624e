"""Reverse mode: one linear graph, read forwards, backwards and along its paths, and torch's."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from torch.autograd.functional import hessian, jacobian, vjp

from gdl.programs.dual import Dual, derivative, pushforward
from gdl.programs.elementary import Number, cos, exp, log, sin, tanh
from gdl.programs.tape import (
    MOST_STEPS,
    Tape,
    Variable,
    pullback,
    record,
)
from tests.programs.random_programs import F64, TOLERANCE, gap, gradient, hessian_product, runs
from tests.test_representations import refuses

random_runs = settings(max_examples=100, deadline=None, derandomize=True)


def swirl(x):
    """A map of three numbers to two, with a loop and a number that is used often."""
    r = (x[0] ** 2 + x[1] ** 2 + 1) ** 0.5
    u, v = x[0], x[1]
    for _ in range(4):
        u, v = u * cos(r) - v * sin(r), u * sin(r) + v * cos(r)
    return [u * exp(-x[2]), v / (1 + x[2] * x[2]) + u * u]


POINT = [0.7, -1.1, 0.4]


# --- against torch --------------------------------------------------------------------------------


@random_runs
@given(runs(vectors=2))
def test_pullbacks_and_gradients_are_torchs(run):
    program, x, _, v = run
    point = torch.tensor(x, dtype=F64)
    m = len(program(x))
    w = (v * m)[:m]
    y, found = pullback(program, x, w)
    wanted = vjp(program.stacked, point, torch.tensor(w, dtype=F64))
    assert gap(y, wanted[0]) < TOLERANCE and gap(found, wanted[1]) < TOLERANCE
    wanted = jacobian(program.stacked_scalar, point)
    assert gap(gradient(program.scalar, x), wanted) < TOLERANCE


@random_runs
@given(runs(vectors=2))
def test_one_tape_read_in_all_directions(run):
    """<w, J v> = <J^T w, v>, and J by columns, rows and paths is that of torch."""
    program, x, v, w = run
    tape = record(program, x)
    w = (w * len(tape.values))[: len(tape.values)]
    pushed, pulled = tape.push(v), tape.pull(w)
    left = sum(a * b for a, b in zip(w, pushed, strict=True))
    size = sum(abs(a * b) for a, b in zip(w, pushed, strict=True))
    right = sum(a * b for a, b in zip(pulled, v, strict=True))
    assert abs(left - right) < TOLERANCE * max(1, size)
    assert gap(pushed, pushforward(program, x, v)[1]) < TOLERANCE
    wanted = jacobian(program.stacked, torch.tensor(x, dtype=F64))
    for found in (tape.jacobian("forward"), tape.jacobian("reverse"), tape.paths()):
        assert gap(found, wanted) < TOLERANCE


@random_runs
@given(runs())
def test_hessian_products_are_torchs(run):
    program, x, v = run
    wanted = hessian(program.stacked_scalar, torch.tensor(x, dtype=F64)) @ torch.tensor(
        v, dtype=F64
    )
    assert gap(hessian_product(program.scalar, x, v), wanted) < 10 * TOLERANCE


def test_jacobians_by_differences():
    rows = record(swirl, POINT).jacobian()
    h = 1e-5
    for j in range(3):
        up, down = ([a + s * h * (i == j) for i, a in enumerate(POINT)] for s in (1, -1))
        for i, (a, b) in enumerate(zip(swirl(up), swirl(down), strict=True)):
            assert abs(rows[i][j] - (a - b) / (2 * h)) < 1e-8
    assert min(abs(entry) for row in rows for entry in row) > 1e-2


# --- nesting --------------------------------------------------------------------------------------


def test_hessians_four_ways():
    """Forward over reverse, reverse over forward, and each over itself."""

    def f(x):
        return swirl(x)[0] * log(2 + swirl(x)[1] ** 2)

    v = [0.3, -0.8, 1.7]
    found = [
        hessian_product(f, POINT, v),
        gradient(lambda x: pushforward(f, x, v)[1], POINT),
        pullback(lambda x: gradient(f, x), POINT, v)[1],
        [pushforward(lambda x, e=e: pushforward(f, x, e)[1], POINT, v)[1] for e in unit(3)],
    ]
    wanted = hessian(swirl_torch, torch.tensor(POINT, dtype=F64)) @ torch.tensor(v, dtype=F64)
    assert wanted.abs().min() > 0.1
    for way in found:
        assert gap(way, wanted) < TOLERANCE


def unit(n: int) -> list[list[float]]:
    return torch.eye(n, dtype=F64).tolist()


def swirl_torch(x):
    u, v = x[0], x[1]
    r = (x[:2].square().sum() + 1).sqrt()
    for _ in range(4):
        u, v = u * r.cos() - v * r.sin(), u * r.sin() + v * r.cos()
    return u * (-x[2]).exp() * (2 + (v / (1 + x[2] ** 2) + u * u) ** 2).log()


def test_an_exponent_that_passes_through_zero():
    """exp(x)^x = exp(x^2) curves by 2 at 0, where torch treats exponents of 0 as constants."""
    assert hessian_product(lambda x: exp(x[0]) ** x[0], [0.0], [1.0]) == [2.0]


def test_third_derivatives_through_both_modes():
    """The derivative of the Hessian of x^4 y along v, twice in the direction of x."""
    f = lambda x: x[0] ** 4 * x[1]  # noqa: E731
    found = pushforward(lambda x: hessian_product(f, x, [1.0, 0.0]), [2.0, 3.0], [1.0, 0.0])[1]
    assert found == [24 * 2.0 * 3.0, 12 * 2.0**2]
    assert gradient(lambda x: derivative(lambda y: x[0] * y * y, 3.0), [2.0]) == [6.0]
    assert derivative(lambda a: gradient(lambda x: a * x[0] ** 3, [2.0])[0], 5.0) == 12.0


def test_a_tape_of_dual_numbers():
    tape = record(lambda x: x[0] ** 3, [Dual(2.0, 1.0)])
    (found,) = tape.pull([1.0])
    assert tape.values[0].slope == found.value == 12.0 and found.slope == 12.0


# --- the graph ------------------------------------------------------------------------------------


def test_the_tape_of_a_small_program():
    def f(x):
        u = x[0] * x[1]
        return [sin(u) + u, u * u]

    tape = record(f, [2.0, 3.0])
    assert tape.rows == [
        (), (), ((0, 3.0), (1, 2.0)), ((2, math.cos(6.0)),), ((3, 1.0), (2, 1.0)),
        ((2, 6.0), (2, 6.0)),
    ]  # fmt: skip
    assert (tape.inputs, tape.outputs, tape.nodes, tape.edges) == (2, [4, 5], 6, 7)
    assert tape.values == [math.sin(6.0) + 6.0, 36.0]
    u = math.cos(6.0) + 1
    assert tape.jacobian() == tape.paths() == [[3 * u, 2 * u], [36.0, 24.0]]


def test_parents_of_a_variable():
    seen = []
    record(lambda x: seen.append(x[0] / x[1]) or seen[0], [3.0, 2.0])
    assert seen[0].parents == ((0, 0.5), (1, -0.75)) and seen[0].value == 1.5
    assert len(repr(seen[0])) < 100


def test_only_what_was_computed_is_on_the_tape():
    def f(x):
        constant = sum(math.sqrt(i) for i in range(100))
        return x[0] * constant if x[0] > 0 else exp(sin(x[0])) * constant

    assert record(f, [1.0]).nodes == 2 and record(f, [-1.0]).nodes == 4
    assert gradient(f, [1.0]) == [sum(math.sqrt(i) for i in range(100))]
    wasteful = record(lambda x: [exp(x[0]), x[0]][1], [1.0])
    assert wasteful.nodes == 2 and wasteful.pull([1.0]) == [1.0]


def test_inputs_constants_and_repetitions_among_the_outputs():
    f = lambda x: [x[1], 2, x[0] * x[1], x[1], 0.5]  # noqa: E731
    tape = record(f, [3.0, 4.0])
    assert tape.values == [4.0, 2.0, 12.0, 4.0, 0.5] and tape.nodes == 5
    wanted = [[0.0, 1.0], [0.0, 0.0], [4.0, 3.0], [0.0, 1.0], [0.0, 0.0]]
    for found in (tape.jacobian(), tape.jacobian("forward"), tape.paths()):
        assert found == wanted
    assert pullback(f, [3.0, 4.0], [1.0, 10.0, 2.0, 5.0, 7.0])[1] == [8.0, 12.0]
    assert gradient(lambda x: 7, [1.0, 2.0]) == [0.0, 0.0]
    assert hessian_product(lambda x: 7, [1.0], [1.0]) == [0.0]
    assert pullback(lambda x: 7, [1.0], 2.0) == (7.0, [0.0])
    assert pullback(lambda x: (x[0],), [3], [2]) == ([3.0], [2.0])


def test_programs_that_write_in_place():
    def f(x):
        x[0] *= x[1]
        same = x
        same[1] += x[0]
        return same[0] * x[1] + x[0]

    x = [2.0, 3.0]
    # f = (x y) (y + x y) + x y
    assert gradient(f, x) == [3.0 * 9 + 6.0 * 3 + 3, 2.0 * 9 + 6.0 * 3 + 2] and x == [2.0, 3.0]


def test_deep_graphs_need_no_recursion():
    def f(x):
        y = x[0]
        for _ in range(100_000):
            y = y * 0.99999
        return y

    tape = record(f, [2.0])
    wanted = 0.99999**100_000
    assert tape.nodes == 100_001
    for found in (tape.push([1.0]), tape.pull([1.0]), *tape.paths()):
        assert abs(found[0] - wanted) < 1e-10


def doubled(times: int):
    def f(x):
        y = x[0]
        for _ in range(times):
            y = y + y
        return y

    return f


def test_paths_double_and_edges_do_not():
    tape = record(doubled(10), [1.0])
    assert tape.edges == 20 and tape.paths() == [[1024.0]]
    long = record(doubled(60), [1.0])
    assert long.edges == 120 and long.pull([1.0]) == [2.0**60]
    with refuses(ValueError, "paths"):
        long.paths()
    # Steps, and not paths only, are what takes time: 2^17 paths have 2^18 - 1 of them.
    assert 2**17 < MOST_STEPS < 2**18 - 1
    with refuses(ValueError, "paths"):
        record(doubled(17), [1.0]).paths()


# --- what is refused ------------------------------------------------------------------------------


def test_derivatives_that_do_not_exist():
    for f in (lambda x: x[0] ** 0.5, lambda x: 1 / x[0], lambda x: log(x[0])):
        with pytest.raises(ArithmeticError, match=r"^\w+: expected a finite (value|derivative)"):
            gradient(f, [0.0])
    assert gradient(lambda x: x[0] ** 0 + x[0] ** 1, [0.0]) == [1.0]
    steep = record(lambda x: tanh(1e200 * x[0]), [0.0])
    for spoilt in (lambda: steep.push([1e200]), lambda: steep.pull([1e200])):
        with pytest.raises(ArithmeticError, match=r"^f: expected finite derivatives, got inf"):
            spoilt()
    with pytest.raises(ArithmeticError, match=r"^f: expected finite derivatives, got inf"):
        record(lambda x: 1e200 * (1e200 * (1e-300 * x[0] * 1e200)), [0.0]).paths()


@pytest.mark.parametrize(
    ("error", "name", "call"),
    [
        (TypeError, "x", lambda: record(exp, 1.0)),
        (ValueError, "x", lambda: record(exp, [])),
        (ValueError, "x", lambda: record(sum, [math.nan])),
        (TypeError, "f", lambda: record(lambda x: None, [1.0])),
        (TypeError, "w", lambda: pullback(lambda x: x, [1.0], 1.0)),
        (ValueError, "w", lambda: pullback(lambda x: x, [1.0], [1.0, 2.0])),
        (TypeError, "w", lambda: pullback(sum, [1.0], [1.0])),
        (ValueError, "w", lambda: pullback(sum, [1.0], math.inf)),
        (ValueError, "v", lambda: record(sum, [1.0, 2.0]).push([1.0])),
        (TypeError, "v", lambda: record(sum, [1.0, 2.0]).push([1.0, "1"])),
        (ValueError, "w", lambda: record(sum, [1.0, 2.0]).pull([1.0, 2.0])),
        (ValueError, "mode", lambda: record(sum, [1.0]).jacobian("backward")),
        (TypeError, "tanh", lambda: record(lambda x: tanh(x), [1.0])),
        (ValueError, "value", lambda: Variable(math.nan, 3, 0, [()])),
        (ValueError, "rows", lambda: Tape(1, [1], [(), ((1, 2.0),)], [2.0], True)),
    ],
    ids=range(15),
)
def test_wrong_arguments(error, name, call):
    with refuses(error, name):
        call()


def test_a_number_kept_from_another_recording_is_refused():
    kept: list[Number] = []
    with refuses(ValueError, "f"):
        gradient(
            lambda x: x[0] * (gradient(lambda y: kept.extend(y) or y[0], x)[0] + kept[0]), [1.0]
        )
