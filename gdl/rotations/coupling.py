r"""Clebsch-Gordan coefficients: the one map from V_l1 x V_l2 to V_l3, found by the solver.

Chapter: ``rotations``.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

import gdl.rotations._checks as check
from gdl.equivariance import Basis
from gdl.equivariance.solver import solve_pairs
from gdl.representations import SO, spherical_irrep

# Three of degree 12 have 15,625 unknowns, 1729 of them in the support: a fifth of a second.
MOST_COUPLED = 12

# A dictionary, because torch.compile reads one and looks through functools.cache.
_FOUND: dict[tuple[int, int, int], Tensor] = {}


def coupling_basis(degree_1: int, degree_2: int, degree_out: int) -> Basis:
    r"""All linear maps ``V_l1 x V_l2 -> V_l3`` that commute with the rotations.

    The equation ``D_l3(R) W = W (D_l1(R) x D_l2(R))``. Rotations about the polar axis alone couple
    the orders m_1, m_2 to ``|m_3| = |m_1| + |m_2|`` or ``||m_1| - |m_2||``; the solver is asked for
    the maps with this support, which leaves at most ``4 / (2l + 1)`` of the unknowns.

    Args:
        degree_1, degree_2, degree_out: l1, l2, l3, from 0 to 12.

    Returns:
        A ``Basis`` of maps ``(2 l3 + 1, (2 l1 + 1)(2 l2 + 1))``: one if
        ``|l1 - l2| <= l3 <= l1 + l2``, none otherwise.

    Raises: TypeError or ValueError for degrees that are no such integers.
    Law tested: the dimension is that of the triangle rule and of the character integral; the same
    space without the support. Source: the theorem of Wigner and Eckart.
    Chapter: ``rotations``.

    >>> [len(coupling_basis(1, 1, degree)) for degree in range(4)]
    [1, 1, 1, 0]
    """
    degrees = (("degree_1", degree_1), ("degree_2", degree_2), ("degree_out", degree_out))
    for name, value in degrees:
        check.integer(name, value, 0, MOST_COUPLED)
    with torch.device("cpu"):
        first, second, out = (spherical_irrep(SO(3), value) for _, value in degrees)
        pairs = list(zip(out.algebra, (first * second).algebra, strict=True))
        return solve_pairs(pairs, _axial_support(degree_1, degree_2, degree_out), "sparse")


def _axial_support(degree_1: int, degree_2: int, degree_out: int) -> Tensor:
    """Where a map that commutes with the rotations about the polar axis may be non-zero."""
    m1, m2, m3 = (torch.arange(-d, d + 1).abs() for d in (degree_1, degree_2, degree_out))
    m1, m2, m3 = m1[None, :, None], m2[None, None, :], m3[:, None, None]
    return ((m3 == m1 + m2) | (m3 == (m1 - m2).abs())).flatten(1)


def clebsch_gordan(degree_1: int, degree_2: int, degree_out: int) -> Tensor:
    r"""The invariant tensor ``C[m1, m2, m3]`` of three degrees, of Frobenius norm 1.

    ``sum C[a, b, c] x_a y_b`` is the component of degree l3 of ``x y^T``. The solver finds C up to
    sign; the sign is that of Condon and Shortley, as in e3nn: the complex coefficient
    ``<l1 l1; l2 (l3 - l1) | l3 l3>`` is positive.

    Args:
        degree_1, degree_2, degree_out: l1, l2, l3, from 0 to 12, within the triangle.

    Returns:
        float64 ``(2 l1 + 1, 2 l2 + 1, 2 l3 + 1)`` on the CPU; a new tensor at every call.

    Raises: TypeError or ValueError for degrees out of range or outside the triangle.
    Law tested: equal to ``e3nn.o3.wigner_3j`` to 1e-12; orthogonality over all paths. Source:
    Sakurai, Modern Quantum Mechanics, on angular momentum. Chapter: ``rotations``.

    >>> cross = clebsch_gordan(1, 1, 1) * math.sqrt(6)
    >>> [round(float(cross[i, j, k])) for i, j, k in [(0, 1, 2), (1, 0, 2), (0, 0, 2)]]
    [1, -1, 0]
    """
    degrees = (("degree_1", degree_1), ("degree_2", degree_2), ("degree_out", degree_out))
    for name, value in degrees:
        check.integer(name, value, 0, MOST_COUPLED)
    if not abs(degree_1 - degree_2) <= degree_out <= degree_1 + degree_2:
        raise ValueError(
            f"degree_out: expected a degree in the product of {degree_1} and {degree_2}, from "
            f"{abs(degree_1 - degree_2)} to {degree_1 + degree_2}, got {degree_out}"
        )
    return _coefficients(degree_1, degree_2, degree_out).clone()


def _coefficients(degree_1: int, degree_2: int, degree_out: int) -> Tensor:
    """The tensor, solved for at the first call."""
    key = degree_1, degree_2, degree_out
    if key not in _FOUND:
        # What is kept must not depend on where it is first asked for: inside vmap, in inference
        # mode, on the meta device. A thread starts without any of these.
        with ThreadPoolExecutor(1) as fresh:
            _FOUND[key] = fresh.submit(_solved, *key).result()
    return _FOUND[key]


def _solved(degree_1: int, degree_2: int, degree_out: int) -> Tensor:
    shape = (2 * degree_out + 1, 2 * degree_1 + 1, 2 * degree_2 + 1)
    found = coupling_basis(degree_1, degree_2, degree_out)[0]
    tensor = found.reshape(shape).permute(1, 2, 0).contiguous()
    return tensor * _condon_shortley(tensor)


def _condon_shortley(tensor: Tensor) -> float:
    """The sign that makes the coefficient of the highest weight positive."""
    l1, l2, l3 = ((size - 1) // 2 for size in tensor.shape)
    first, second, out = (_state(l, m) for l, m in ((l1, l1), (l2, l3 - l1), (l3, l3)))
    value = torch.einsum("abc,a,b,c->", tensor.to(first), first, second, out.conj())
    return math.copysign(1.0, float(value.real))


def _state(degree: int, order: int) -> Tensor:
    """The state |l m> in the real basis of e3nn, whose phase is ``i^-l``."""
    state = torch.zeros(2 * degree + 1, dtype=torch.complex128)
    m, sign = abs(order), 1 if order < 0 else (-1) ** order
    if m == 0:
        state[degree] = 1.0
    else:
        state[degree + m] = sign * math.sqrt(0.5)
        state[degree - m] = sign * math.copysign(1.0, order) * 1j * math.sqrt(0.5)
    return state * (-1j) ** degree
