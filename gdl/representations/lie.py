r"""Lie groups by a basis of their algebra, with the Haar averages of the small compact ones.

Chapter: ``one_equation``.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from gdl.representations.core import Element, Group, _require_group
from gdl.representations.images import _positive
from gdl.representations.relations import Relation


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
    algebra, rule = _rotation_generators(n), _rotation_rule if n <= 3 else None
    return Group(f"SO({n})", {}, algebra, rule, [_full_turn(len(algebra))])


def _full_turn(count: int, *planes: int) -> Relation:
    """``exp(2 pi X) = 1`` for the first of the fields, or the sum of those given.

    One plane is enough: the brackets carry it to the others. Spinors break it.
    """
    return Relation((tuple(2 * math.pi * (i in (planes or (0,))) for i in range(count)),))


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
    algebra, rule = _rotation_generators(n), _orthogonal_rule if n <= 3 else None
    relations = [Relation((1,), 2), _full_turn(len(algebra))]
    return Group(f"O({n})", {"s": flip}, algebra, rule, relations)


def rotation(group: Group, matrix: Tensor) -> Element:
    r"""The element of SO(n) or O(n) with a given matrix: the inverse of ``group.defining``.

    ``matrix = exp(X)``, or ``exp(X) s`` with the reflection s of O(n). The logarithm X is read off
    the real Schur form, plane by plane; for half turns, where it is not unique, one is chosen.

    Args:
        group: ``SO(n)`` or ``O(n)``.
        matrix: (n, n), orthogonal to 1e-6, with determinant 1 for SO(n).

    Raises:
        TypeError: no Group, or no tensor of real numbers.
        ValueError: another group, a wrong shape, entries that are not finite, a matrix that is not
            orthogonal, or a reflection for SO(n).

    Law tested: ``group.defining(rotation(group, R)) = R``, at tiny angles and half turns too;
    Wigner matrices against e3nn. Chapters: ``symmetry``, ``rotations``, ``gauges``.

    >>> quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    >>> rotation(SO(2), quarter).word
    ((1.5707963267948966,),)
    """
    _require_group("group", group)
    n = group.defining.dim
    if n < 2 or group not in (SO(n), O(n)):
        raise ValueError(f"group: expected SO(n) or O(n), got {group.name}")
    matrix = _orthogonal("matrix", matrix, n)
    flipped = bool(torch.linalg.det(matrix) < 0)
    if flipped and group == SO(n):
        raise ValueError(f"matrix: expected determinant 1 for {group.name}, got -1")
    reflection = group.generator(0) if flipped else group.identity()
    logarithm = _logarithm(matrix @ group.defining(reflection.inverse()))
    fields = torch.stack(group.defining.algebra)
    coefficients = (logarithm * fields).sum((1, 2)) / 2
    return group.exp(*coefficients.tolist()) * reflection


def _orthogonal(argument: str, matrix: Tensor, n: int) -> Tensor:
    if not isinstance(matrix, Tensor) or matrix.is_complex():
        got = matrix.dtype if isinstance(matrix, Tensor) else type(matrix).__name__
        raise TypeError(f"{argument}: expected a real tensor, got {got}")
    if tuple(matrix.shape) != (n, n):
        raise ValueError(f"{argument}: expected shape ({n}, {n}), got {tuple(matrix.shape)}")
    matrix = matrix.detach().cpu().to(torch.float64)
    if not torch.isfinite(matrix).all():
        raise ValueError(f"{argument}: expected finite entries, got NaN or infinity")
    error = float((matrix.T @ matrix - torch.eye(n, dtype=torch.float64)).abs().max())
    if error > 1e-6:
        raise ValueError(
            f"{argument}: expected an orthogonal matrix, but M^T M differs from 1 by {error:.3g}"
        )
    return matrix


def _logarithm(matrix: Tensor) -> Tensor:
    """An antisymmetric X with ``exp(X)`` the given rotation."""
    # Imported here, as SciPy takes longer than all of this package.
    from scipy.linalg import schur

    form, basis = schur(matrix.numpy(), output="real")
    n, k, X = len(form), 0, np.zeros_like(form)
    flips = []
    while k < n:
        if k + 1 < n and form[k + 1, k] != 0.0:
            # The antisymmetric part keeps its digits where the angle is small.
            sine = (form[k + 1, k] - form[k, k + 1]) / 2
            X[k + 1, k] = math.atan2(sine, (form[k, k] + form[k + 1, k + 1]) / 2)
            k += 2
        else:
            flips += [k] if form[k, k] < 0 else []
            k += 1
    for i, j in zip(flips[::2], flips[1::2], strict=True):
        X[j, i] = math.pi
    return torch.from_numpy(basis @ (X - X.T) @ basis.T)


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
    boosts = {f"B{axis}": _unit(4, 0, i) + _unit(4, i, 0) for i, axis in enumerate("xyz", start=1)}
    return Group("SO(1,3)", {}, rotations | boosts, relations=[_full_turn(6)])


def symplectic(n: int) -> Group:
    r"""The symplectic group Sp(n) of R^n (n even), which keeps ``Omega = [[0, I], [-I, 0]]``.

    Its algebra is ``Omega S`` for symmetric ``S``. Not compact.

    Raises: ValueError unless ``n`` is even and positive.
    Law tested: ``X^T Omega + Omega X = 0``. Chapter: ``symmetry``.

    >>> len(symplectic(4).algebra_names)
    10
    """
    if _positive("n", n) % 2:
        raise ValueError(f"n: expected an even integer, got {n}")
    eye = torch.eye(n // 2, dtype=torch.float64)
    omega = torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64), eye)
    pairs = list(itertools.combinations_with_replacement(range(n), 2))
    basis = {
        f"S{i}{j}": omega @ ((_unit(n, i, j) + _unit(n, j, i)) / (2 if i == j else 1))
        for i, j in pairs
    }
    # Omega times diag(1, 0, ..., 1, 0, ...) turns the plane of a position and its momentum.
    turn = _full_turn(len(pairs), 0, pairs.index((n // 2, n // 2)))
    return Group(f"Sp({n})", {}, basis, relations=[turn])


def one_parameter(name: str, *fields: Tensor) -> Group:
    r"""The group generated by ``exp(t X)`` for one or several given matrices ``X``.

    With the nilpotent shift ``N`` the intertwiners are the causal convolutions. Its representations
    are checked only if the matrices are a basis that is closed under brackets.

    Raises: ValueError if the matrices are missing, not square, of different sizes or not finite.
    Law tested: the commutant of N is the lower-triangular Toeplitz matrices. Chapter: ``grids``.

    >>> N = torch.diag(torch.ones(3, dtype=torch.float64), -1)
    >>> one_parameter("causal shifts", N).defining.dim
    4
    """
    return Group(name, {}, {f"X{i}": X for i, X in enumerate(fields)}, relations=())
