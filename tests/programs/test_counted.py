"""Costs in operations: of programs, of passes over the tape, and of Jacobians in either mode."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings

from gdl.programs.counted import Counted, Counter, count
from gdl.programs.dual import derivative, pushforward
from gdl.programs.elementary import cos, exp, log, sin, tanh
from gdl.programs.tape import pullback, record
from tests.programs.random_programs import TABLE, gradient, hessian_product, runs
from tests.test_representations import refuses

# Costs of a pushforward and of a pullback of one operation: itself, its partial derivatives, and
# for each argument a product and a sum; a pushforward saves one sum.
COSTS = {
    "add": (4, 5), "subtract": (4, 5), "negate": (2, 3), "multiply": (4, 5), "divide": (7, 8),
    "power": (9, 10), "exp": (2, 3), "log": (3, 4), "sin": (3, 4), "cos": (4, 5), "tanh": (4, 5),
}  # fmt: skip
USUAL_PUSH, USUAL_PULL = 4, 5
SIZES = (1, 6, 36)


def chain(x):
    """Each input enters once, by a sum, a product and a function."""
    y = x[0]
    for i, a in enumerate(x):
        y = (sin, cos, tanh, exp)[i % 4](y * a + 0.5) - a
    return y


def spread(x):
    """A map from n numbers to 2 n."""
    middle = sum((a * a for a in x[1:]), x[0])
    return [f(middle * a) for a in x for f in (sin, exp)]


def inputs(n: int) -> list[float]:
    return [math.cos(i + 1) for i in range(n)]


# --- counting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "wanted"),
    [
        (lambda x: x[0], (0, 0, 0)),
        (lambda x: x[0] * x[1] / 3, (2, 0, 0)),
        (lambda x: 1 - x[0] + x[1], (0, 2, 0)),
        (lambda x: -x[0] - x[1] * 2, (1, 2, 0)),
        (lambda x: x[0] ** 3, (0, 0, 1)),
        (lambda x: exp(sin(x[0])) * tanh(cos(x[1])) + x[0] ** 0.5 + log(x[0]), (1, 2, 6)),
        (lambda x: sum(a * a for a in x), (2, 2, 0)),
        (lambda x: 2.0 * 3.0 + x[0] if x[0] > x[1] else x[1], (0, 1, 0)),
    ],
    ids=range(8),
)
def test_counts_by_hand(f, wanted):
    counter = count(f, [1.5, 0.5])
    assert (counter.multiplications, counter.additions, counter.functions) == wanted
    assert counter.total == sum(wanted)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(runs())
def test_counted_numbers_compute_as_floats_do(run):
    program, x, v = run
    counter = Counter()
    y, dy = pushforward(program, [Counted(a, counter) for a in x], v)
    wanted = pushforward(program, x, v)
    for found, floats in zip((y, dy), wanted, strict=True):
        assert [a.value if isinstance(a, Counted) else a for a in found] == floats


def test_a_counted_number_counts_in_its_counter():
    first, second = Counter(), Counter()
    y = Counted(2.0, first) * Counted(3.0, second)
    assert y.value == 6.0 and y.counter is first and (first.total, second.total) == (1, 0)
    with pytest.raises(ArithmeticError, match="log: expected a finite value at 0.0"):
        log(Counted(0.0, first))
    assert first.total == 1


# --- the cost of derivatives ----------------------------------------------------------------------


@pytest.mark.parametrize("function", TABLE, ids=lambda function: function.name)
def test_the_cost_of_each_row_of_the_table(function):
    """The ratio of a program is a mean of those of its operations, whatever its size."""
    x = [0.7, 1.3][: len(function.partials)]
    program = lambda x: [function(*x)]  # noqa: E731
    assert count(program, x).total == 1
    pushed = count(pushforward, program, x, [1.0] * len(x)).total
    pulled = count(pullback, program, x, [1.0]).total
    # One sum adds the covector to nothing.
    assert (pushed, pulled - 1) == COSTS[function.name]
    if function.name not in ("divide", "power"):
        assert pushed <= USUAL_PUSH and pulled - 1 <= USUAL_PULL


@pytest.mark.parametrize("n", SIZES)
def test_a_gradient_costs_a_few_programs(n):
    """The ratio is bounded at any n; n pushforwards cost n times as much."""
    x = inputs(n)
    own = count(chain, x).total
    assert own == 4 * n
    assert count(gradient, chain, x).total <= USUAL_PULL * own
    assert count(pullback, chain, x, 1.0).total <= USUAL_PULL * own + 1
    assert count(pushforward, chain, x, inputs(n)).total <= USUAL_PUSH * own
    # Hessian products are pushforwards of gradients, so that their ratios multiply.
    product = count(hessian_product, chain, x, inputs(n)).total
    assert product <= USUAL_PUSH * USUAL_PULL * own
    by_columns = count(lambda x: record(chain, x).jacobian("forward"), x).total
    assert by_columns > n * own


@settings(max_examples=60, deadline=None, derandomize=True)
@given(runs())
def test_the_cost_of_random_programs(run):
    program, x, v = run
    own = count(program, x).total
    m = len(program(x))
    most_pushed, most_pulled = map(max, zip(*COSTS.values(), strict=True))
    assert count(pushforward, program, x, v).total <= most_pushed * own
    assert count(pullback, program, x, [1.0] * m).total <= most_pulled * own + m


def passes(f, x, way: str, vector: list[float]) -> Counter:
    """The operations of reading a tape that is already written."""
    written = count(record, f, x)
    both = count(lambda x, u: getattr(record(f, x), way)(u), x, vector)
    return Counter(
        both.multiplications - written.multiplications,
        both.additions - written.additions,
        both.functions - written.functions,
    )


@pytest.mark.parametrize(("way", "size"), [("push", 5), ("pull", 10)], ids=["push", "pull"])
def test_a_pass_takes_a_multiplication_for_each_edge(way, size):
    edges = record(spread, inputs(5)).edges
    found = passes(spread, inputs(5), way, inputs(size))
    seeds = {"push": 0, "pull": 10}[way]
    assert found == Counter(multiplications=edges, additions=edges + seeds)


@pytest.mark.parametrize("n", [3, 8])
@pytest.mark.parametrize(("f", "outputs"), [(spread, 2), (chain, 0)], ids=["out", "in"])
def test_a_jacobian_takes_n_passes_or_m(f, outputs, n):
    """From R^n to R^2n, forwards is cheaper; to R^1, backwards."""
    x, m = inputs(n), outputs * n or 1
    tape, written = record(f, x), count(record, f, x).total
    forward, reverse = (
        count(lambda x, mode=mode: record(f, x).jacobian(mode), x).total - written
        for mode in ("forward", "reverse")
    )
    pushed = n * passes(f, x, "push", inputs(n)).total
    pulled = m * passes(f, x, "pull", inputs(m)).total
    assert pushed == 2 * n * tape.edges and pulled == m * (2 * tape.edges + m)
    # Products of plain floats, of the unit vectors with the ones of sums, are not seen.
    assert 0.5 * pushed < forward <= pushed and 0.5 * pulled < reverse <= pulled
    assert (forward < reverse) == (pushed < pulled) == (n < m)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "name", "call"),
    [
        (TypeError, "value", lambda: Counted("1", Counter())),
        (ValueError, "value", lambda: Counted(math.nan, Counter())),
        (ValueError, "value", lambda: Counted(Counted(1.0, Counter()), Counter())),
        (TypeError, "counter", lambda: Counted(1.0, 0)),
        (TypeError, "program", lambda: count(1.0, [1.0])),
        (TypeError, "arguments", lambda: count(abs, None)),
        (TypeError, "arguments", lambda: count(abs, "reverse")),
        (ValueError, "arguments", lambda: count(sum, [1.0, math.inf])),
        (ValueError, "arguments", lambda: count(sum, [])),
    ],
    ids=range(9),
)
def test_wrong_arguments(error, name, call):
    with refuses(error, name):
        call()


def test_counters_see_nested_derivatives():
    # Two products, and for each of them two products and a sum.
    cube = lambda x: x * x * x  # noqa: E731
    once = count(lambda x: derivative(cube, x), 2.0)
    twice = count(lambda x: derivative(lambda t: derivative(cube, t), x), 2.0)
    assert (once.multiplications, once.additions) == (6, 2)
    assert once.total < twice.total <= USUAL_PUSH * once.total
