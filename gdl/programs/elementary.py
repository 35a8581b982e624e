"""One table of elementary functions and their partial derivatives, which all modes read.

A program is run on numbers, and what it computes besides its value is decided by their kind: floats
compute only that, :class:`~gdl.programs.Counted` numbers count the operations,
:class:`~gdl.programs.Dual` numbers carry slopes along, and a :class:`~gdl.programs.Variable` writes
down the graph. A kind says in ``lift`` what it makes of one elementary function; the chain rule is
one function of this module, and the calculus is the table at its end.

Chapter: ``programs``.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real

import gdl._checks as check

KINDS = ("additions", "multiplications", "functions")
COUNTED_LEVEL, HAND_MADE_LEVEL = 1, 2
_levels = itertools.count(HAND_MADE_LEVEL + 1)


@dataclass(frozen=True)
class Elementary:
    r"""An elementary function: its name, its value at floats, and its partial derivatives.

        y = f(a, b),    dy = f_a(a, b, y) da + f_b(a, b, y) db

    Called on numbers of any kind, it leaves the work to the kind of the highest level. Partial
    derivatives are themselves programs of such numbers, so that they can be differentiated again.
    The module holds ``add``, ``subtract``, ``multiply``, ``divide``, ``negate`` and ``power``,
    which are written ``+ - * / - **``, and ``exp``, ``log``, ``sin``, ``cos`` and ``tanh``. A
    derivative by an exponent needs a positive base.

    Args:
        name: what errors call it.
        value: from floats to a float.
        partials: one function for each argument, of the arguments and of y.
        kind: ``"additions"``, ``"multiplications"`` or ``"functions"``, as it is counted.

    Raises:
        TypeError: a name, a value or partials of other types; called on other things than numbers,
            or on too many.
        ValueError: another kind.
        ArithmeticError: called where the value, or a derivative that is asked for, is not finite.

    Law tested: each partial derivative equals central differences. Chapter: ``programs``.

    >>> exp(0.0), tanh(0.0)
    (1.0, 0.0)
    >>> square = Elementary("square", lambda x: x * x, (lambda x, y: 2 * x,), "multiplications")
    >>> square(3.0)
    9.0
    """

    name: str
    value: Callable[..., float]
    partials: tuple[Callable[..., Scalar], ...]
    kind: str = "functions"

    def __post_init__(self):
        if not isinstance(self.name, str):
            raise TypeError(f"name: expected a str, got {type(self.name).__name__}")
        if not callable(self.value):
            raise TypeError(f"value: expected a function, got {type(self.value).__name__}")
        if not (isinstance(self.partials, tuple) and all(map(callable, self.partials))):
            raise TypeError(f"partials: expected a tuple of functions, got {self.partials!r}")
        check.one_of("kind", self.kind, KINDS)

    def __call__(self, *arguments: Scalar) -> Scalar:
        """The value at these numbers, of the kind that has the highest level among them."""
        if len(arguments) != len(self.partials):
            raise TypeError(
                f"{self.name}: expected {len(self.partials)} numbers, got {len(arguments)}"
            )
        numbers = [self._number(argument) for argument in arguments]
        top = max(numbers, key=level_of)
        if isinstance(top, Number):
            return top.lift(self, numbers)
        return self._finite("value", self.value, numbers)

    def partial(self, position: int, arguments: Sequence[Scalar], y: Scalar) -> Scalar:
        """The derivative by the argument at this position, refused where it is not finite."""
        return self._finite("derivative", self.partials[position], (*arguments, y))

    def _number(self, argument: object) -> Scalar:
        if isinstance(argument, Number):
            return argument
        # Floats come first, since an abstract class takes long to ask.
        if not isinstance(argument, (float, Real)):
            raise TypeError(f"{self.name}: expected numbers, got {type(argument).__name__}")
        return float(argument)

    def _finite(self, what: str, function: Callable, arguments: Sequence[Scalar]) -> Scalar:
        try:
            found = function(*arguments)
            if math.isfinite(real(found)):
                return found
            problem = str(real(found))
        except (ArithmeticError, ValueError) as error:
            problem = str(error)
        at = ", ".join(str(real(argument)) for argument in arguments[: len(self.partials)])
        raise ArithmeticError(f"{self.name}: expected a finite {what} at {at}, got {problem}")


class Number:
    """What all kinds of numbers share: arithmetic by the table, comparison by value.

    A kind has a ``value`` of a lower level, a ``level``, and ``lift(function, arguments)``. Numbers
    have no hash, since equal values may differ in their derivatives, and no ``float()``, since a
    function that would need it, as those of ``math`` do, would lose the derivative.

    Law tested: programs with branches and loops differentiate as torch's do. Chapter: ``programs``.

    >>> class Spoken(Number):
    ...     level = 1
    ...     def __init__(self, value):
    ...         self.value = value
    ...     def lift(self, function, arguments):
    ...         print(function.name)
    ...         return Spoken(function(*(value_below(a, self.level) for a in arguments)))
    >>> y = 2 * Spoken(3.0) + 1
    multiply
    add
    >>> y.value, y > 6.5
    (7.0, True)
    """

    __slots__ = ()
    value: Scalar
    level: int

    def lift(self, function: Elementary, arguments: Sequence[Scalar]) -> Number:
        """The value of an elementary function whose argument of the highest level this is."""
        raise NotImplementedError

    def __add__(self, other):
        return add(self, other)

    def __radd__(self, other):
        return add(other, self)

    def __sub__(self, other):
        return subtract(self, other)

    def __rsub__(self, other):
        return subtract(other, self)

    def __mul__(self, other):
        return multiply(self, other)

    def __rmul__(self, other):
        return multiply(other, self)

    def __truediv__(self, other):
        return divide(self, other)

    def __rtruediv__(self, other):
        return divide(other, self)

    def __pow__(self, other):
        return power(self, other)

    def __rpow__(self, other):
        return power(other, self)

    def __neg__(self):
        return negate(self)

    def __eq__(self, other):
        return real(self) == real(other)

    def __lt__(self, other):
        return real(self) < real(other)

    def __le__(self, other):
        return real(self) <= real(other)

    def __gt__(self, other):
        return real(self) > real(other)

    def __ge__(self, other):
        return real(self) >= real(other)

    def __bool__(self):
        return bool(real(self))


Scalar = float | Number


def chain_rule(
    function: Elementary, arguments: Sequence[Scalar], level: int
) -> tuple[Scalar, list[tuple[Number, Scalar]]]:
    r"""The value of a function one level below, and its derivative by each argument of this level.

        y = f(a, b),    [(a, df/da), (b, df/db)]

    Numbers of lower levels are constants here. An argument that is given twice is listed twice.

    >>> chain_rule(divide, (6.0, 3.0), 1)
    (2.0, [])
    """
    values = [value_below(argument, level) for argument in arguments]
    y = function(*values)
    return y, [
        (argument, function.partial(position, values, y))
        for position, argument in enumerate(arguments)
        if level_of(argument) == level
    ]


def level_of(x: object) -> int:
    """How many derivatives, at least, are open around a number: 0 for floats.

    >>> level_of(3.0)
    0
    """
    return x.level if isinstance(x, Number) else 0


def fresh_level() -> int:
    """A level above all others so far, so that no two derivatives are taken for one another.

    >>> fresh_level() < fresh_level()
    True
    """
    return next(_levels)


def value_below(x: Scalar, level: int) -> Scalar:
    """The value of a number of this level; others are constants here and stay what they are.

    >>> value_below(3.0, 5)
    3.0
    """
    return x.value if level_of(x) == level else x


def real(x: Scalar) -> float:
    """The float at the bottom of a number.

    >>> real(3.0)
    3.0
    """
    while isinstance(x, Number):
        x = x.value
    return x


def _by_base(a: Scalar, b: Scalar, y: Scalar) -> Scalar:
    """The derivative of a**b by a. A constant exponent 0 makes a constant, also at a = 0."""
    return b * a ** (b - 1) if isinstance(b, Number) or b else 0.0


def _one(*arguments: Scalar) -> float:
    return 1.0


def _minus_one(*arguments: Scalar) -> float:
    return -1.0


add = Elementary("add", operator.add, (_one, _one), "additions")
subtract = Elementary("subtract", operator.sub, (_one, _minus_one), "additions")
negate = Elementary("negate", operator.neg, (_minus_one,), "additions")
multiply = Elementary(
    "multiply", operator.mul, (lambda a, b, y: b, lambda a, b, y: a), "multiplications"
)
divide = Elementary(
    "divide", operator.truediv, (lambda a, b, y: 1 / b, lambda a, b, y: -y / b), "multiplications"
)
# Python's own power of a negative base and a fraction is complex; that of math is refused.
power = Elementary("power", math.pow, (_by_base, lambda a, b, y: y * log(a)))
exp = Elementary("exp", math.exp, (lambda x, y: y,))
log = Elementary("log", math.log, (lambda x, y: 1 / x,))
sin = Elementary("sin", math.sin, (lambda x, y: cos(x),))
cos = Elementary("cos", math.cos, (lambda x, y: -sin(x),))
tanh = Elementary("tanh", math.tanh, (lambda x, y: 1 - y * y,))
