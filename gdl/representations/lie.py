r"""Lie groups by a basis of their algebra, with the Haar averages of the small compact ones.

Chapter: ``one_equation``.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from gdl.representations.core import Element, Group
from gdl.representations.images import _positive


def _diagonal(entries: list[float]) -> Tensor:
    return torch.diag(torch.tensor(entries, dtype=torch.float64))


def _unit(n: int, i: int, j: int) -> Tensor:
    matrix = torch.zeros(n, n, dtype=torch.float64)
    matrix[i, j] = 1.0
    return matrix


def _rotation_generators(n: int) -> dict[str, Tensor]:
    """A basis of so(n); for n = 3 the generators of rotations about x, y and z."""
    if n == 3:
        planes = {"X": (1, 2), "Y": (2, 0), "Z": (0, 1)}
    elif n == 2:
        planes = {"J": (0, 1)}
    else:
        planes = {f"J{i}{j}": (i, j) for i, j in itertools.combinations(range(n), 2)}
    return {name: _unit(n, j, i) - _unit(n, i, j) for name, (i, j) in planes.items()}


def _rotation_rule(group: Group, degree: int) -> list[tuple[float, Element]]:
    """Weyl's integration formula for SO(2) or SO(3), sampled at equal angles about one axis.

    The weight is constant for SO(2) and ``1 - cos t`` for SO(3); one harmonic more than the product
    of characters contains makes the sum exact.
    """
    count = degree + 2
    angles = [2 * math.pi * k / count for k in range(count)]
    spatial = len(group.algebra_names) == 3
    rest = (0.0,) * (len(group.algebra_names) - 1)
    return [
        ((1 - math.cos(t) if spatial else 1.0) / count, Element(group, ((*rest, t),)))
        for t in angles
    ]


def _orthogonal_rule(group: Group, degree: int) -> list[tuple[float, Element]]:
    """Half the weight on the rotations, half on the other component."""
    rotations = _rotation_rule(group, degree)
    flip = group.generator(0)
    return [(w / 2, g) for w, g in rotations] + [(w / 2, g * flip) for w, g in rotations]


def SO(n: int) -> Group:
    r"""The rotation group SO(n), by the basis of antisymmetric matrices.

    SO(2) has the generator ``J = [[0, -1], [1, 0]]``, counter-clockwise; SO(3) has ``X, Y, Z`` with
    ``[X, Y] = Z``, in the order of the axes (x, y, z).

    Raises: ValueError or TypeError unless ``n`` is an integer >= 2.
    Law tested: brackets; Haar averages against characters for n = 2, 3. Chapter: ``one_equation``.

    >>> SO(3).defining(SO(3).exp(0.0, 0.0, math.pi / 2)).round().tolist()[0]
    [0.0, -1.0, 0.0]
    """
    _positive("n", n, least=2)
    return Group(f"SO({n})", {}, _rotation_generators(n), _rotation_rule if n <= 3 else None)


def O(n: int) -> Group:  # noqa: E743 - the name of the group
    r"""The orthogonal group O(n): SO(n) and one element of determinant -1.

    The extra generator ``s`` is ``diag(1, -1)`` for n = 2, the inversion ``-I`` for n = 3, and
    ``diag(1, ..., 1, -1)`` otherwise.

    Raises: ValueError or TypeError unless ``n`` is an integer >= 2.
    Law tested: relations; Haar averages against characters for n = 2, 3. Chapter: ``one_equation``.

    >>> O(3).generator_names, O(3).algebra_names
    (('s',), ('X', 'Y', 'Z'))
    """
    _positive("n", n, least=2)
    flip = -torch.eye(3) if n == 3 else _diagonal([1.0] * (n - 1) + [-1.0])
    rule = _orthogonal_rule if n <= 3 else None
    return Group(f"O({n})", {"s": flip}, _rotation_generators(n), rule)


def lorentz() -> Group:
    r"""The Lorentz group SO+(1, 3) on (t, x, y, z): three rotations and three boosts.

    Not compact: dimensions can be solved for, but there is no Haar average.
    Law tested: ``L^T eta L = eta`` with ``eta = diag(-1, 1, 1, 1)``. Chapter: ``one_equation``.

    >>> lorentz().algebra_names
    ('X', 'Y', 'Z', 'Bx', 'By', 'Bz')
    """
    rotations = {
        name: torch.block_diag(torch.zeros(1, 1, dtype=torch.float64), R)
        for name, R in _rotation_generators(3).items()
    }
    boosts = {
        f"B{axis}": _unit(4, 0, i) + _unit(4, i, 0) for i, axis in enumerate("xyz", start=1)
    }
    return Group("SO(1,3)", {}, rotations | boosts)


def symplectic(n: int) -> Group:
    r"""The symplectic group Sp(n) of R^n (n even), which keeps ``Omega = [[0, I], [-I, 0]]``.

    Its algebra is ``Omega S`` for symmetric ``S``. Not compact.

    Raises: ValueError unless ``n`` is even and positive.
    Law tested: ``X^T Omega + Omega X = 0``. Chapter: ``one_equation``.

    >>> len(symplectic(4).algebra_names)
    10
    """
    if _positive("n", n) % 2:
        raise ValueError(f"n: expected an even integer, got {n}")
    eye = torch.eye(n // 2, dtype=torch.float64)
    omega = torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64), eye)
    pairs = itertools.combinations_with_replacement(range(n), 2)
    basis = {
        f"S{i}{j}": omega @ ((_unit(n, i, j) + _unit(n, j, i)) / (2 if i == j else 1))
        for i, j in pairs
    }
    return Group(f"Sp({n})", {}, basis)


def one_parameter(name: str, *fields: Tensor) -> Group:
    r"""The group generated by ``exp(t X)`` for one or several given matrices ``X``.

    With the nilpotent shift ``N`` the intertwiners are the causal convolutions.

    Raises: ValueError if the matrices are missing, not square, of different sizes or not finite.
    Law tested: the commutant of N is the lower-triangular Toeplitz matrices. Chapter: ``grids``.

    >>> N = torch.diag(torch.ones(3, dtype=torch.float64), -1)
    >>> one_parameter("causal shifts", N).defining.dim
    4
    """
    return Group(name, {}, {f"X{i}": X for i, X in enumerate(fields)})
