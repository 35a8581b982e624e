"""Random programs with loops and branches, which run on floats, on our numbers and on tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from gdl.programs import elementary
from gdl.programs.dual import pushforward
from gdl.programs.elementary import real
from gdl.programs.tape import record

F64 = torch.float64
TOLERANCE = 1e-12
UNARY = ("negate", "exp", "log", "sin", "cos", "tanh")
BINARY = ("add", "subtract", "multiply", "divide", "power")
TABLE = tuple(getattr(elementary, name) for name in UNARY + BINARY)
NAMES = UNARY + BINARY + ("square", "inverse", "branch", "loop", "constant")


def plain(a) -> float:
    return a.item() if isinstance(a, Tensor) else real(a)


def apply(name: str, a):
    """An elementary function of one argument, of torch for tensors."""
    if name == "negate":
        return -a
    return getattr(torch if isinstance(a, Tensor) else elementary, name)(a)


@dataclass(frozen=True)
class Program:
    """Steps (name, i, j) on a growing list of registers; the last ones are the outputs.

    A step whose result would be large or not smooth is replaced by a bounded one, which makes the
    program branch on values.
    """

    inputs: int
    steps: tuple[tuple[str, int, int], ...]
    outputs: int

    def __call__(self, x) -> list:
        registers = list(x)
        for name, i, j in self.steps:
            a, b = registers[i % len(registers)], registers[j % len(registers)]
            registers.append(step(name, a, b))
        return registers[-self.outputs :]

    def scalar(self, x):
        """A program with one output: the sum of the squares, with the first input among them."""
        return sum((y * y for y in self(x)), x[0] * 0.5)

    def stacked(self, x: Tensor) -> Tensor:
        return torch.stack([torch.as_tensor(y, dtype=F64) + 0 * x.sum() for y in self(list(x))])

    def stacked_scalar(self, x: Tensor) -> Tensor:
        return self.scalar(list(x))


def step(name: str, a, b):
    u, v = plain(a), plain(b)
    if name in ("log", "power") and not 0.3 < u < 4:
        return apply("tanh", a) + 0.75 * b
    if name == "power" and v == 0:
        return a + b  # torch loses mixed derivatives where an exponent that varies is 0
    if (name == "divide" and abs(v) < 0.5) or (name == "inverse" and abs(u) < 0.5):
        return apply("sin", a) - 2 * b
    if max(abs(u), abs(v)) > 4:
        return apply("sin", a) * apply("cos", b)
    match name:
        case "add":
            return a + b
        case "subtract":
            return 1 - a - b
        case "multiply":
            return a * b
        case "divide":
            return a / b + 2 / b if abs(v) > 1 else a / b
        case "power":
            return a**b + 2.0**b - a**1.5
        case "square":
            return a**2 - b**3
        case "inverse":
            return a**-1 - a**0
        case "branch":
            return a * b if a > b else a - b
        case "loop":
            while abs(plain(a)) < 1 and a != 0:
                a = 2 * a + a * a * a
            return a
        case "constant":
            return 0.25 * i_am_constant(a)
        case _:
            return apply(name, a)


def i_am_constant(a) -> float:
    """A float that is told by the value and yet is a constant to derivatives."""
    return math.floor(plain(a))


@st.composite
def programs(draw, most_steps: int = 12) -> Program:
    inputs = draw(st.integers(1, 4))
    indices = st.integers(0, 20)
    steps = draw(st.lists(st.tuples(st.sampled_from(NAMES), indices, indices), max_size=most_steps))
    return Program(inputs, tuple(steps), draw(st.integers(1, 3)))


@st.composite
def runs(draw, vectors: int = 1) -> tuple:
    """A program, a point, and so many tangent vectors at it."""
    program = draw(programs())
    entries = st.floats(-2, 2).filter(lambda a: a == 0 or abs(a) > 1e-3)
    point = st.lists(entries, min_size=program.inputs, max_size=program.inputs)
    return program, *(draw(point) for _ in range(1 + vectors))


def gap(found, wanted) -> float:
    """The largest difference, relative to the largest of the numbers where they are above 1."""
    found, wanted = (torch.as_tensor(each, dtype=F64) for each in (found, wanted))
    assert found.shape == wanted.shape
    return ((found - wanted).abs().max() / max(1.0, wanted.abs().max())).item()


def gradient(f, x):
    """The row of the Jacobian of a program that returns one number."""
    (row,) = record(f, x).jacobian()
    return row


def hessian_product(f, x, v):
    """The pushforward of the gradient."""
    return pushforward(lambda x: gradient(f, x), x, v)[1]
