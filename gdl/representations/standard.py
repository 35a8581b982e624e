r"""Standard representations: trivial, regular, cosets, and the real irreps of plane and space.

Chapter: ``one_equation``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gdl.representations.core import (
    Element,
    Group,
    Representation,
    _require_element,
    _require_group,
)
from gdl.representations.finite import cyclic, dihedral
from gdl.representations.images import _positive
from gdl.representations.lie import SO, O


def trivial(group: Group, copies: int = 1) -> Representation:
    r"""The representation in which nothing moves: ``rho(g) = 1``, ``copies`` times.

    Raises: TypeError if ``group`` is no Group; ValueError or TypeError unless ``copies`` is a
    positive integer.
    Law tested: maps into it are invariants. Chapter: ``one_equation``.

    >>> from gdl.representations import cyclic
    >>> trivial(cyclic(5)).dim
    1
    """
    _require_group("group", group)
    _positive("copies", copies)
    still, zero = torch.arange(copies), torch.zeros(copies, copies, dtype=torch.float64)
    return Representation(
        group,
        [still] * len(group.generator_names),
        [zero] * len(group.algebra_names),
        name="trivial" if copies == 1 else f"{copies}*trivial",
        check=False,
    )


def regular(group: Group) -> Representation:
    r"""The regular representation of a finite group: ``g e_h = e_{gh}``.

    The basis follows ``group.elements()``; for signals on the points of a cycle or a grid, in their
    own order, take ``group.defining``.

    Raises: ValueError for an infinite group.
    Law tested: its character is |G| at the identity and 0 elsewhere. Source: Serre 1977, section
    2.4. Chapter: ``one_equation``.

    >>> from gdl.representations import dihedral
    >>> regular(dihedral(4)).dim
    8
    """
    _require_group("group", group)
    rho = cosets(group, [group.identity()])
    rho.name = "regular"
    return rho


def cosets(group: Group, subgroup: Sequence[Element]) -> Representation:
    r"""The permutation representation of a finite group on the cosets ``G/H`` (quotient, escnn).

    Args:
        group: a finite group.
        subgroup: elements that generate H.

    Raises: TypeError if ``group`` is no Group or ``subgroup`` holds no Elements; ValueError for an
    infinite group, or an empty or foreign list of elements.
    Law tested: dimension |G|/|H|; transitivity (one orbit). Chapter: ``one_equation``.

    >>> from gdl.representations import dihedral
    >>> D4 = dihedral(4)
    >>> cosets(D4, [D4.generator(1)]).dim
    4
    """
    _require_group("group", group)
    if not subgroup:
        raise ValueError("subgroup: expected at least one element, got none")
    for h in subgroup:
        _require_element("subgroup", group, h)
    elements = group.elements()
    label = torch.full((len(elements),), -1)
    representatives = []
    for i, g in enumerate(elements):
        if label[i] < 0:
            label[_right_orbit(group, g, subgroup)] = len(representatives)
            representatives.append(g)
    images = [
        label[[group.index(group.generator(i) * g) for g in representatives]]
        for i in range(len(group.generator_names))
    ]
    order = len(elements) // len(representatives)
    return Representation(group, images, name=f"cosets of a subgroup of order {order}")


def _right_orbit(group: Group, g: Element, subgroup: Sequence[Element]) -> list[int]:
    """Indices of the coset ``g H``."""
    found = {group.index(g): g}
    frontier = [g]
    while frontier:
        candidates = [x * h for x in frontier for h in subgroup]
        frontier = []
        for x in candidates:
            if group.index(x) not in found:
                found[group.index(x)] = x
                frontier.append(x)
    return list(found)


def _rotation(turns: int, order: int) -> Tensor:
    """Rotation by ``2 pi turns / order``; a quarter turn is exact."""
    angle = 2 * math.pi * turns / order
    c, s = (0.0, 1.0) if 4 * turns == order else (math.cos(angle), math.sin(angle))
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def circular_irrep(group: Group, frequency: int, parity: int = 1) -> Representation:
    r"""The real irrep of frequency m of SO(2), O(2), Z_n or D_n.

    Dimension 2 (rotation by ``m`` times the angle; the reflection is ``diag(1, -1)``) for m > 0,
    and dimension 1 for m = 0, where ``parity`` is the image of the reflection. For Z_n and D_n with
    n even the frequency n/2 has dimension 1: ``r -> -1``.

    Raises: TypeError if ``group`` is no Group; ValueError if it is none of the four, if the
    frequency is out of range, or if the parity is not 1 or -1.
    Law tested: relations; orthogonality of characters. Source: Serre 1977, section 5.
    Chapter: ``one_equation``.

    >>> from gdl.representations import cyclic
    >>> circular_irrep(SO(2), 3).dim, circular_irrep(cyclic(4), 2).dim
    (2, 1)
    """
    _require_group("group", group)
    if not _is_circular(group):
        raise ValueError(f"group: expected SO(2), O(2), Z_n or D_n, got {group.name}")
    if parity not in (1, -1):
        raise ValueError(f"parity: expected 1 or -1, got {parity!r}")
    order = group.relations[0].power if group.is_finite else None
    _positive("frequency", frequency, least=0)
    if order is not None and frequency > order // 2:
        raise ValueError(f"frequency: expected 0..{order // 2} for {group.name}, got {frequency}")
    real = frequency == 0 or 2 * frequency == order
    one = torch.ones(1, 1, dtype=torch.float64)
    if real:
        sign = 1 if frequency == 0 else -1
        images = {"r": sign * one, "s": parity * one, "J": 0 * one}
    else:
        turn = _rotation(frequency, order) if order else None
        mirror = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
        images = {"r": turn, "s": mirror, "J": frequency * _rotation(1, 4)}
    return Representation(
        group,
        [images[name] for name in group.generator_names],
        [images[name] for name in group.algebra_names],
        name=f"frequency {frequency}" + ("-" if real and parity < 0 else ""),
    )


def _is_circular(group: Group) -> bool:
    if not group.is_finite:
        return group in (SO(2), O(2))
    if not group.relations:
        return False
    n = group.relations[0].power
    return group in (cyclic(n), dihedral(n))


def spherical_irrep(group: Group, degree: int, parity: int = 1) -> Representation:
    r"""The real irrep of degree l of SO(3) or O(3), of dimension 2l + 1.

    The basis is that of real spherical harmonics in the order of e3nn, so that ``degree=1`` is the
    vector (x, y, z) itself. ``parity`` is the image of the inversion of O(3); e3nn's ``1o`` is
    ``degree=1, parity=-1``.

    Raises: TypeError if ``group`` is no Group; ValueError if it is neither SO(3) nor O(3), the
    degree is negative, or the parity is not 1 or -1.
    Law tested: brackets; Casimir ``-X^2-Y^2-Z^2 = l(l+1)``; ``degree=1`` equals the defining
    representation. Source: ladder operators, e.g. Sakurai, Modern Quantum Mechanics, eq. (3.5.41).
    Chapter: ``rotations``.

    >>> spherical_irrep(SO(3), 2).dim
    5
    """
    _require_group("group", group)
    if group not in (SO(3), O(3)):
        raise ValueError(f"group: expected SO(3) or O(3), got {group.name}")
    _positive("degree", degree, least=0)
    if parity not in (1, -1):
        raise ValueError(f"parity: expected 1 or -1, got {parity!r}")
    inversion = parity * torch.eye(2 * degree + 1, dtype=torch.float64)
    return Representation(
        group,
        [inversion] * len(group.generator_names),
        _angular_momentum(degree),
        name=f"degree {degree}" + ("" if group == SO(3) else "eo"[parity < 0]),
    )


def _angular_momentum(degree: int) -> list[Tensor]:
    """Real antisymmetric generators of rotations about e3nn's x, y, z on real harmonics."""
    m = torch.arange(-degree, degree + 1, dtype=torch.float64)
    raising = torch.diag(torch.sqrt(degree * (degree + 1) - m[:-1] * (m[:-1] + 1)), -1)
    raising = raising.to(torch.complex128)
    lowering = raising.T
    about = [0.5 * (raising + lowering), -0.5j * (raising - lowering), torch.diag(m).to(raising)]
    to_real = _complex_to_real(degree)
    real = [(to_real @ (-1j * J) @ to_real.conj().T).real for J in about]
    # Real harmonics are written with the polar axis z; e3nn's is y, a cyclic relabelling.
    return [real[1], real[2], real[0]]


def _complex_to_real(degree: int) -> Tensor:
    """From coefficients in complex harmonics to real ones, m = -l..l (Condon-Shortley)."""
    change = torch.zeros(2 * degree + 1, 2 * degree + 1, dtype=torch.complex128)
    change[degree, degree] = 1.0
    for m in range(1, degree + 1):
        sign, root = (-1) ** m, math.sqrt(0.5)
        change[degree + m, degree + m] = sign * root
        change[degree + m, degree - m] = root
        change[degree - m, degree + m] = 1j * sign * root
        change[degree - m, degree - m] = -1j * root
    return change
