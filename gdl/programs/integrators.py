r"""Integrators as data: a method is a few numbers, and it proves its own order when it is built.

A Runge-Kutta method approximates the flow of any field; its order is decided by rooted trees. A
splitting alternates two flows that are known exactly, kicks and drifts, so that it is symplectic
whatever its numbers are; its order is decided by words in two letters.

Chapter: ``programs``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
import gdl._motion as motion

MOST_ORDER = 8
ROUNDING = 1e-12
KICK, DRIFT = "k", "d"

Tree = tuple[tuple, ...]


def rooted_trees(order: int) -> tuple[Tree, ...]:
    r"""All rooted trees of so many nodes; a tree is the sorted tuple of its branches.

    The single node is ``()``. Every larger tree is a smaller one with a leaf more.

    Args:
        order: the number of nodes, from 1 to 9.

    Raises: TypeError or ValueError for another number.
    Law tested: their numbers are 1, 1, 2, 4, 9, 20, 48, 115, 286. Chapter: ``programs``.

    >>> rooted_trees(3)
    (((), ()), (((),),))
    """
    check.integer("order", order, 1, MOST_ORDER + 1)
    trees: set[Tree] = {()}
    for _ in range(order - 1):
        trees = {grown for tree in trees for grown in _grown(tree)}
    return tuple(sorted(trees))


def _grown(tree: Tree) -> Iterable[Tree]:
    """The tree with one leaf more, in each place."""
    yield tuple(sorted((*tree, ())))
    for i, branch in enumerate(tree):
        for grown in _grown(branch):
            yield tuple(sorted((*tree[:i], grown, *tree[i + 1 :])))


def _nodes(tree: Tree) -> int:
    return 1 + sum(map(_nodes, tree))


def _density(tree: Tree) -> int:
    return _nodes(tree) * math.prod(map(_density, tree))


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _words(length: int) -> Iterable[str]:
    return map("".join, itertools.product((KICK, DRIFT), repeat=length))


def _claim(order: int, defects: Callable[[int], Iterable[float]]) -> None:
    """Raise unless the conditions of this order hold and one of the next order does not."""
    check.integer("order", order, 1, MOST_ORDER)
    found = 0
    while found <= order and all(abs(defect) < ROUNDING for defect in defects(found + 1)):
        found += 1
    if found != order:
        more = " or more" if found > order else ""
        raise ValueError(f"order: the coefficients have order {found}{more}, got {order}")


def _whole(name: str, shares: tuple[float, ...]) -> None:
    if abs(math.fsum(shares) - 1) > ROUNDING:
        raise ValueError(f"{name}: expected numbers that add up to 1, got {math.fsum(shares)}")


def _listed(name: str, values: Sequence) -> tuple:
    if not isinstance(values, (tuple, list)):
        raise TypeError(f"{name}: expected a tuple, got {type(values).__name__}")
    if not values:
        raise ValueError(f"{name}: expected at least one number, got none")
    return tuple(values)


def _numbers(name: str, values: Sequence[float]) -> tuple[float, ...]:
    return tuple(check.number(name, value) for value in _listed(name, values))


def _text(name: str, value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a str, got {type(value).__name__}")


def _instance(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected a {kind.__name__}, got {type(value).__name__}")


@dataclass(frozen=True)
class ButcherTableau:
    r"""An explicit Runge-Kutta method: the numbers A and b of a step h along ``dy/dt = f(y)``.

        k_i = f(y + h sum_j a_ij k_j),      y' = y + h sum_i b_i k_i

    Its Taylor series agrees with that of the flow up to ``h^p`` exactly if each rooted tree t of up
    to p nodes has ``Phi(t) = 1 / gamma(t)``. Both are products over the tree: ``gamma(t)`` is the
    number of nodes of t times the gammas of its branches, and ``Phi(t) = sum_i b_i g_i(t)`` with
    ``g_i(t)`` the product of ``sum_j a_ij g_j`` over the branches. A tableau that claims another
    order than it has is refused.

    Args:
        name: for messages.
        matrix: A, ``s`` rows of ``s`` numbers, zero on and above the diagonal.
        weights: b, ``s`` numbers.
        order: p, from 1 to 8.

    Raises:
        TypeError: a name that is no text, entries that are no numbers, an order that is no int.
        ValueError: sizes that do not fit, a tableau that is not explicit, weights that do not add
            up to 1, another order than the tableau has.

    Law tested: the order is the slope of the measured error; tableaux with one number changed are
    refused. Source: Butcher, Numerical Methods for Ordinary Differential Equations, 2nd edition,
    section 31. Chapter: ``programs``.

    >>> heun = ButcherTableau("Heun", ((0, 0), (1, 0)), (1 / 2, 1 / 2), 2)
    >>> heun.nodes, heun.defect(((), ()))
    ((0.0, 1.0), 0.16666666666666669)
    """

    name: str
    matrix: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    order: int

    def __post_init__(self):
        _text("name", self.name)
        weights = _numbers("weights", self.weights)
        matrix = tuple(_numbers("matrix", row) for row in _listed("matrix", self.matrix))
        sizes = [len(row) for row in matrix]
        if sizes != [len(weights)] * len(weights):
            raise ValueError(
                f"matrix: expected {len(weights)} rows of as many numbers as weights, "
                f"got rows of {sizes}"
            )
        if any(x for i, row in enumerate(matrix) for x in row[i:]):
            raise ValueError("matrix: expected zeros on and above the diagonal: an explicit method")
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "weights", weights)
        _whole("weights", weights)
        _claim(self.order, lambda order: map(self.defect, rooted_trees(order)))

    @property
    def nodes(self) -> tuple[float, ...]:
        r"""The times of the stages within a step, ``c_i = sum_j a_ij``."""
        return tuple(math.fsum(row) for row in self.matrix)

    def defect(self, tree: Tree) -> float:
        r"""``Phi(t) - 1 / gamma(t)``, which is 0 if the method does justice to the tree."""
        return _dot(self.weights, self._stages(tree)) - 1 / _density(tree)

    def _stages(self, tree: Tree) -> list[float]:
        """``g_i(t)`` of each stage i."""
        branches = [self._stages(branch) for branch in tree]
        return [math.prod(_dot(row, branch) for branch in branches) for row in self.matrix]


@dataclass(frozen=True)
class Splitting:
    r"""A symplectic method for ``H = |p|^2 / (2 m) + U(q)``: kicks and drifts by turns.

        kick by c:  p <- p - c h grad U(q)          drift by d:  q <- q + d h p / m

    Each is the exact flow of one part of H, hence symplectic, and so is any product of them. A step
    is kick, drift, kick, drift, ...; a fraction of 0 leaves a move out. With K and D for the two
    vector fields the step is ``exp(c_1 K) exp(d_1 D) exp(c_2 K) ...``, and it has the order p
    exactly if each word of up to p letters has the coefficient ``1 / length!`` in this product,
    which is its coefficient in ``exp(K + D)``. A splitting that claims another order than it has
    is refused.

    Args:
        name: for messages.
        drifts: the fractions d.
        kicks: the fractions c, as many as drifts or one more.
        order: p, from 1 to 8.

    Raises:
        TypeError: a name that is no text, fractions that are no numbers, an order that is no int.
        ValueError: numbers of fractions that do not fit, kicks or drifts that do not add up to 1,
            another order than the splitting has.

    Law tested: the order is the slope of the measured error; splittings with one number changed
    are refused; a step is symplectic, one that is no splitting is not; a symmetric one followed by
    its mirror image returns. Chapter: ``programs``.

    >>> LEAPFROG.symmetric, Splitting("Euler", (1.0,), (1.0,), 1).symmetric
    (True, False)
    """

    name: str
    drifts: tuple[float, ...]
    kicks: tuple[float, ...]
    order: int

    def __post_init__(self):
        _text("name", self.name)
        for name in ("drifts", "kicks"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        if len(self.kicks) - len(self.drifts) not in (0, 1):
            raise ValueError(
                f"kicks: expected as many as drifts or one more, "
                f"got {len(self.kicks)} beside {len(self.drifts)}"
            )
        _whole("drifts", self.drifts)
        _whole("kicks", self.kicks)
        _claim(self.order, lambda order: map(self.defect, _words(order)))

    @property
    def moves(self) -> tuple[tuple[str, float], ...]:
        r"""The moves of a step, pairs of a letter, ``"k"`` or ``"d"``, and its fraction."""
        pairs = itertools.zip_longest(self.kicks, self.drifts, fillvalue=0.0)
        moves = (move for kick, drift in pairs for move in ((KICK, kick), (DRIFT, drift)))
        return tuple((letter, share) for letter, share in moves if share)

    @property
    def symmetric(self) -> bool:
        r"""Whether a step reads the same backwards, so that a step of -h undoes one of h."""
        return self.moves == self.moves[::-1]

    def defect(self, word: str) -> float:
        r"""The coefficient of a word in the step, less ``1 / length!``; ``"kd"`` is K D."""
        found = [1.0] + [0.0] * len(word)
        for letter, share in self.moves:
            # Back to front, so that each entry adds what its prefixes were before this move.
            for end in range(len(word), 0, -1):
                start = end
                while start and word[start - 1] == letter:
                    start -= 1
                    power = share ** (end - start) / math.factorial(end - start)
                    found[end] += found[start] * power
        return found[-1] - 1 / math.factorial(len(word))


RK4 = ButcherTableau(
    "classical Runge-Kutta",
    ((0.0, 0.0, 0.0, 0.0), (1 / 2, 0.0, 0.0, 0.0), (0.0, 1 / 2, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    4,
)

LEAPFROG = Splitting("leapfrog", drifts=(1.0,), kicks=(1 / 2, 1 / 2), order=2)


def runge_kutta(
    field: Callable[[Tensor], Tensor],
    state: Tensor,
    *,
    step: float,
    steps: int,
    tableau: ButcherTableau = RK4,
    every: int = 1,
) -> Tensor:
    r"""Integrate ``dy/dt = f(y)`` by an explicit Runge-Kutta method.

        k_i = f(y + h sum_j a_ij k_j),      y <- y + h sum_i b_i k_i

    Autograd goes through all steps.

    Args:
        field: f, maps states to their rates, of the same shape.
        state: y, any shape, floating-point and finite.
        step: h, in the unit of time; negative runs backwards.
        steps: how many, at most a million.
        tableau: the method.
        every: keep every so many-th state; it divides ``steps``.

    Returns:
        States ``(steps / every + 1, *state.shape)``, the start included.

    Raises:
        TypeError: arguments of other types.
        ValueError: rates of another shape or dtype, entries that are not finite, a number of steps
            out of range or no multiple of ``every``.
        FloatingPointError: the trajectory left the range of numbers; names the step.

    Law tested: the slope of the error is the order of the tableau; linear invariants are kept to
    rounding, quadratic ones drift; not symplectic. Chapter: ``programs``.

    >>> runge_kutta(lambda y: -y, torch.tensor([1.0]), step=0.1, steps=10)[-1].round(decimals=4)
    tensor([0.3679])
    """
    motion.function("field", field)
    check.finite("state", check.floating("state", state))
    motion.clock(step, steps, every)
    _instance("tableau", tableau, ButcherTableau)
    states = [state]
    for index in range(1, steps + 1):
        rates: list[Tensor] = []
        for row in tableau.matrix:
            stage = _moved(state, step, row, rates)
            rates.append(motion.slope("field", field, "state", stage))
        state = _moved(state, step, tableau.weights, rates)
        motion.within_range(index, state)
        if index % every == 0:
            states.append(state)
    return torch.stack(states)


def split(
    gradient: Callable[[Tensor], Tensor],
    position: Tensor,
    momentum: Tensor,
    *,
    mass: float | Tensor = 1.0,
    step: float,
    steps: int,
    scheme: Splitting = LEAPFROG,
    every: int = 1,
) -> tuple[Tensor, Tensor]:
    r"""Integrate ``dq/dt = p / m``, ``dp/dt = -grad U(q)`` by kicks and drifts.

    With the scheme ``LEAPFROG`` it is :func:`gdl.geometry.leapfrog`, bit by bit.

    Args:
        gradient: maps positions to ``grad U`` of the same shape.
        position: q, any shape, floating-point and finite.
        momentum: p, the shape and dtype of q.
        mass: m, positive; a number or a tensor that broadcasts to q. It is used in the dtype of q.
        step: h, in the unit of time; negative runs backwards.
        steps: how many, at most a million.
        scheme: the splitting.
        every: keep every so many-th state; it divides ``steps``.

    Returns:
        Positions and momenta, each ``(steps / every + 1, *q.shape)``, the start included.

    Raises:
        TypeError: arguments of other types.
        ValueError: shapes or dtypes that differ, entries that are not finite, a mass that is not
            positive, a number of steps out of range or no multiple of ``every``.
        FloatingPointError: the trajectory left the range of numbers; names the step.

    Law tested: the slope of the error is the order of the scheme; the Jacobian of a step keeps
    Omega; symmetric schemes return when the momentum is turned round; invariant potentials keep
    momentum and angular momentum to rounding; the error of the energy does not grow. Source:
    Yoshida, Construction of higher order symplectic integrators, Physics Letters A 150, 1990.
    Chapter: ``programs``.

    >>> q, p = torch.tensor([1.0]), torch.tensor([0.0])
    >>> positions, momenta = split(lambda q: q, q, p, step=0.1, steps=1)
    >>> [round(float(v[1]), 3) for v in (positions, momenta)]
    [0.995, -0.1]
    """
    motion.state(position, momentum)
    mass = motion.masses(mass, position)
    motion.clock(step, steps, every)
    motion.function("gradient", gradient)
    _instance("scheme", scheme, Splitting)
    moves = scheme.moves
    positions, momenta = [position], [momentum]
    slope = None
    for index in range(1, steps + 1):
        for letter, share in moves:
            if letter == DRIFT:
                position, slope = position + share * step * momentum / mass, None
                continue
            if slope is None:
                slope = motion.slope("gradient", gradient, "position", position)
            momentum = momentum - share * step * slope
        motion.within_range(index, position, momentum)
        if index % every == 0:
            positions.append(position)
            momenta.append(momentum)
    return torch.stack(positions), torch.stack(momenta)


def symplectic_form(
    n: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
) -> Tensor:
    r"""The matrix Omega of the symplectic form on ``(q, p)``, ``(2n, 2n)``: [[0, 1], [-1, 0]].

    Args:
        n: the number of coordinates q, at least 1.
        dtype, device: of the result.

    Raises: TypeError or ValueError for other arguments.
    Law tested: it is antisymmetric, and its square is -1. Chapter: ``programs``.

    >>> symplectic_form(1).tolist()
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    check.integer("n", n, 1)
    one = torch.eye(n, dtype=check.real_dtype(dtype), device=device)
    return torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=dtype, device=device), one)


def symplectic_error(jacobian: Tensor) -> float:
    r"""How far a matrix is from symplectic: the largest entry of ``|J^T Omega J - Omega|``.

    Args:
        jacobian: J, ``(2n, 2n)``, of a map of ``(q, p)``.

    Raises: TypeError or ValueError for other arguments.
    Law tested: 0 for the shears of a kick and a drift, ``|det J - 1|`` for n = 1.
    Chapter: ``programs``.

    >>> symplectic_error(torch.diag(torch.tensor([2.0, 0.5]))), symplectic_error(2 * torch.eye(2))
    (0.0, 3.0)
    """
    check.floating("jacobian", jacobian)
    size = len(jacobian) if jacobian.ndim == 2 else 0
    if size == 0 or size % 2 or jacobian.shape[1] != size:
        raise ValueError(f"jacobian: expected shape (2n, 2n), got {tuple(jacobian.shape)}")
    check.finite("jacobian", jacobian)
    omega = symplectic_form(size // 2, dtype=jacobian.dtype, device=jacobian.device)
    return float((jacobian.mT @ omega @ jacobian - omega).abs().max())


def _moved(state: Tensor, step: float, shares: Sequence[float], rates: list[Tensor]) -> Tensor:
    """``y + h sum_j a_j k_j`` over the rates that are known."""
    terms = [share * rate for share, rate in zip(shares, rates, strict=False) if share]
    return state + step * sum(terms[1:], terms[0]) if terms else state
