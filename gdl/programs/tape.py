"""Reverse mode: a tape of the steps of a program, read forwards or backwards.

Chapter: ``programs``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import gdl._checks as check
from gdl.programs._numbers import finite, point, run, set_below
from gdl.programs.elementary import (
    Elementary,
    Number,
    Scalar,
    chain_rule,
    fresh_level,
    level_of,
    value_below,
)

Edges = tuple[tuple[int, Scalar], ...]
MODES = ("forward", "reverse")
MOST_STEPS = 200_000


@dataclass(frozen=True, eq=False, slots=True)
class Variable(Number):
    r"""A number that remembers its parents, and its partial derivative by each of them.

    :func:`~gdl.programs.record` makes the first ones; each operation with them makes another and
    writes one row of the tape, so that a parent always stands before its children.

    Args:
        value: a number of a lower level; a float, unless derivatives are nested.
        level: which recording it belongs to.
        index: its place on the tape.
        rows: those of the tape so far; ``rows[index]`` are its own parents.

    Law tested: an argument given twice is a parent twice. Chapter: ``programs``.

    >>> x = Variable(3.0, 3, 0, [()])
    >>> y = x * x
    >>> y.value, y.parents
    (9.0, ((0, 3.0), (0, 3.0)))
    """

    value: Scalar
    level: int
    index: int
    rows: list[Edges] = field(repr=False)

    def __post_init__(self):
        set_below(self, "value")

    @property
    def parents(self) -> Edges:
        """Pairs of the place of a parent and the partial derivative by it."""
        return self.rows[self.index]

    def lift(self, function: Elementary, arguments: Sequence[Scalar]) -> Variable:
        """The value of an elementary function, whose edges are written on the tape."""
        y, edges = chain_rule(function, arguments, self.level)
        self.rows.append(tuple((argument.index, partial) for argument, partial in edges))
        return Variable(y, self.level, len(self.rows) - 1, self.rows)


@dataclass(frozen=True, eq=False)
class Tape:
    r"""The linear graph of a program at a point: nodes in the order in which they were computed.

    The derivative of each step is known by the numbers on its edges, which makes the whole a linear
    map, J. Read forwards, the tape applies J to tangent vectors; read backwards, its transpose to
    covectors. Each takes one multiplication and one addition for each edge. :func:`record` makes
    tapes.

    Args:
        inputs: their number n; they are the first nodes.
        outputs: the places of the m outputs.
        rows: for each node, pairs of the place of a parent and the partial derivative by it.
        values: the m outputs of the program.
        single: whether the program returned one number instead of a list.

    Law tested: J by rows, by columns and by paths agree to 1e-12, and with torch's; ``<w, J v>``
    is ``<J^T w, v>``. Chapter: ``programs``.

    >>> tape = record(lambda x: [x[0] * x[1], x[0] + x[0]], [3.0, 5.0])
    >>> tape.values, tape.nodes, tape.edges
    ([15.0, 6.0], 4, 4)
    >>> tape.push([1.0, 0.0]), tape.pull([1.0, 0.0])
    ([5.0, 2.0], [5.0, 3.0])
    """

    inputs: int
    outputs: list[int]
    rows: list[Edges] = field(repr=False)
    values: list[Scalar]
    single: bool

    def __post_init__(self):
        if any(parent >= node for node, row in enumerate(self.rows) for parent, _ in row):
            raise ValueError("rows: expected parents that stand before their children")

    @property
    def nodes(self) -> int:
        """How many nodes there are, inputs and outputs that are constants among them."""
        return len(self.rows)

    @property
    def edges(self) -> int:
        """The number of edges from a parent to a child."""
        return sum(len(row) for row in self.rows)

    def push(self, v: Sequence[Scalar]) -> list[Scalar]:
        """The image ``J v`` of a tangent vector of n numbers: m numbers, read forwards."""
        slopes = point("v", v, self.inputs)
        for row in self.rows[self.inputs :]:
            slopes.append(sum((partial * slopes[parent] for parent, partial in row), 0.0))
        return [finite(slopes[node]) for node in self.outputs]

    def pull(self, w: Sequence[Scalar]) -> list[Scalar]:
        """The image ``J^T w`` of a covector of m numbers: n numbers, read backwards."""
        slopes: list[Scalar] = [0.0] * self.nodes
        for node, weight in zip(self.outputs, point("w", w, len(self.outputs)), strict=True):
            slopes[node] += weight
        for node in reversed(range(self.nodes)):
            for parent, partial in self.rows[node]:
                slopes[parent] += partial * slopes[node]
        return [finite(slope) for slope in slopes[: self.inputs]]

    def jacobian(self, mode: str = "reverse") -> list[list[Scalar]]:
        """J as m rows of n numbers: by n pushes if ``mode`` is "forward", m pulls if "reverse"."""
        check.one_of("mode", mode, MODES)
        if mode == "forward":
            columns = [self.push(e) for e in _basis(self.inputs)]
            return [list(row) for row in zip(*columns, strict=True)]
        return [self.pull(e) for e in _basis(len(self.outputs))]

    def paths(self) -> list[list[Scalar]]:
        """J as m rows, entry (i, j) summed over all paths from input j to output i.

        Each path adds the product of its edges. The number of paths may double with each operation:
        more than 200000 steps on them are refused, with a ValueError.
        """
        matrix: list[list[Scalar]] = [[0.0] * self.inputs for _ in self.outputs]
        ends: list[tuple[int, int, Scalar]] = [(i, k, 1.0) for i, k in enumerate(self.outputs)]
        steps = 0
        while ends:
            output, node, product = ends.pop()
            if node < self.inputs:
                matrix[output][node] += product
            ends += [(output, parent, partial * product) for parent, partial in self.rows[node]]
            steps += 1
            if steps > MOST_STEPS:
                raise ValueError(f"paths: expected at most {MOST_STEPS} steps on them, got more")
        return [[finite(entry) for entry in row] for row in matrix]


def record(f: Callable, x: Sequence[Scalar]) -> Tape:
    r"""Run a program once and keep what its derivative needs.

    Args:
        f: from a list of n numbers to one number, or to a list or tuple of m, as in
            :func:`~gdl.programs.pushforward`.
        x: n finite numbers; numbers of other derivatives nest.

    Returns:
        A :class:`~gdl.programs.Tape`, which grows by one node for each operation. Operations
        between constants are not on it.

    Raises: TypeError, ValueError or ArithmeticError as :func:`~gdl.programs.pushforward` does.

    Law tested: a tape of 100000 nodes needs no recursion; a branch not taken is not on the tape.
    Chapter: ``programs``.

    >>> record(lambda x: x[0] * x[1], [3.0, 5.0]).rows
    [(), (), ((0, 5.0), (1, 3.0))]
    """
    x = point("x", x)
    level = fresh_level()
    rows: list[Edges] = [()] * len(x)
    outputs, single = run(f, [Variable(a, level, i, rows) for i, a in enumerate(x)], level)
    places = []
    for output in outputs:
        if level_of(output) < level:
            # A constant is a node that nothing leads to.
            rows.append(())
        places.append(output.index if level_of(output) == level else len(rows) - 1)
    return Tape(len(x), places, rows, [value_below(a, level) for a in outputs], single)


def pullback(
    f: Callable, x: Sequence[Scalar], w: Scalar | Sequence[Scalar]
) -> tuple[Scalar | list[Scalar], list[Scalar]]:
    r"""The value of a program at a point, and the covector of a covector of its outputs.

        y = f(x),    xbar = J^T w,    J_ij = df_i / dx_j

    Args:
        f, x: as in :func:`~gdl.programs.record`.
        w: m finite numbers, or one if f returns one.

    Returns:
        y, one number or m, and xbar, n numbers.

    Raises: TypeError, ValueError or ArithmeticError as :func:`~gdl.programs.pushforward` does.

    Law tested: equal to torch's ``vjp`` to 1e-12 for random programs; counted in operations, a
    gradient costs at most 5 times a program of ``+ - *`` and functions of one argument, at any n.
    Chapter: ``programs``.

    >>> pullback(lambda x: [x[0] * x[1], x[0] / x[1]], [6.0, 2.0], [1.0, 0.0])
    ([12.0, 3.0], [2.0, 6.0])
    """
    tape = record(f, x)
    if tape.single:
        return tape.values[0], tape.pull(point("w", [w], 1))
    return tape.values, tape.pull(w)


def _basis(n: int) -> list[list[float]]:
    return [[float(i == j) for j in range(n)] for i in range(n)]
