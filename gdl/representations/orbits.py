r"""What a group makes of a point: orbits, stabilisers, fixed points, conjugacy classes.

Chapter: ``symmetry``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gdl.representations.cayley import _all_images, _require_permutation, _walk
from gdl.representations.core import Element, Group, Representation, _require_group
from gdl.representations.images import _positive
from gdl.representations.tables import _left_products
from gdl.representations.words import _keys


def orbits(rho: Representation) -> Tensor:
    r"""The orbit of every point that a group permutes, ``Gx = {gx : g in G}``.

    Only the generators are used, so the group may be too large to enumerate.

    Args:
        rho: a representation whose generators permute the basis.

    Returns:
        Labels ``(d,)``, int64, numbered 0, 1, ... in the order of their first points.

    Raises:
        TypeError: ``rho`` is no Representation.
        ValueError: a generator does not permute.

    Law tested: points share a label exactly if an element carries one to the other (sympy); the
    number of labels is ``burnside(rho)``. Chapter: ``symmetry``.

    >>> from gdl.representations import Representation, cyclic
    >>> orbits(Representation(cyclic(2), [torch.tensor([3, 1, 2, 0])])).tolist()
    [0, 1, 2, 0]
    """
    _require_permutation("rho", rho)
    return _joined(rho.generators)


def _joined(permutations: Sequence[Tensor]) -> Tensor:
    """Labels of the points that permutations connect, in the order of their first points.

    Every part follows its earliest neighbour, if that is earlier than itself, up to a part that has
    none; these are the parts of the next round. Whatever the length of the cycles, at most half of
    the parts that have neighbours are left in each round.
    """
    count = len(permutations[0])
    label = points = torch.arange(count)
    here, there = points.repeat(len(permutations)), torch.cat(list(permutations))
    while len(here):
        first = points.scatter_reduce(0, here, there, "amin")
        first = first.scatter_reduce(0, there, here, "amin")
        beyond = first.index_select(0, first)
        while not torch.equal(first, beyond):
            first, beyond = beyond, beyond.index_select(0, beyond)
        number = ((first == points).cumsum(0) - 1).index_select(0, first)
        label, here, there = (number.index_select(0, part) for part in (label, here, there))
        apart = here != there
        here, there = here[apart], there[apart]
        points = torch.arange(int(number.max()) + 1)
    return label


def stabiliser(rho: Representation, point: int) -> tuple[Element, ...]:
    r"""The elements of a finite group that leave a point where it is, ``G_x = {g : gx = x}``.

    Args:
        rho: a representation whose generators permute the basis.
        point: in 0..d-1.

    Returns:
        Its elements in the order of ``group.elements()``, the identity first.

    Raises:
        TypeError: ``rho`` is no Representation, or ``point`` no integer.
        ValueError: a generator does not permute, a point out of range, or an infinite group.

    Law tested: ``|G| = |Gx| |G_x|``; the same elements as sympy's. Chapter: ``symmetry``.

    >>> from gdl.representations import symmetric
    >>> len(stabiliser(symmetric(4).defining, 0))
    6
    """
    _require_permutation("rho", rho)
    if _positive("point", point, least=0) >= rho.dim:
        raise ValueError(f"point: expected 0..{rho.dim - 1}, got {point}")
    elements = rho.group.elements()
    return tuple(elements[i] for i in sorted(i for i, p in _walk(rho) if int(p[point]) == point))


def burnside(rho: Representation) -> int:
    r"""The number of orbits, as the mean number of points that an element leaves in place.

    ``|X/G| = 1/|G| sum_g |{x : gx = x}|``

    Args:
        rho: a representation of a finite group whose generators permute the basis.

    Raises:
        TypeError: ``rho`` is no Representation.
        ValueError: a generator does not permute, the group is infinite, or the mean is no integer
            (the images are no representation).

    Law tested: equals the number of labels of ``orbits``; colourings against Polya's formula.
    Source: Burnside, Theory of Groups of Finite Order, 1911, section 145 (Cauchy, Frobenius).
    Chapter: ``symmetry``.

    >>> from gdl.representations import symmetric
    >>> S4 = symmetric(4).defining
    >>> burnside(S4), burnside(S4 * S4)
    (1, 2)
    """
    _require_permutation("rho", rho)
    still = torch.arange(rho.dim)
    fixed = sum(int((image == still).sum()) for _, image in _walk(rho))
    if fixed % rho.group.order:
        raise ValueError(
            f"rho: expected a representation, got {fixed}/{rho.group.order} fixed points on "
            "average, which is no integer"
        )
    return fixed // rho.group.order


def conjugacy_classes(group: Group) -> tuple[tuple[Element, ...], ...]:
    r"""The classes ``{h g h^-1 : h in G}`` of a finite group: one move, seen from every side.

    Returns:
        The class of the identity first, then by size, then by the first element in the order of
        ``group.elements()``, which each class keeps.

    Raises:
        TypeError: ``group`` is no Group.
        ValueError: an infinite group.

    Law tested: the same sets as sympy's. Source: Serre 1977, section 2.5. Chapter: ``symmetry``.

    >>> from gdl.representations import dihedral
    >>> [len(c) for c in conjugacy_classes(dihedral(4))]
    [1, 1, 2, 2, 2]
    """
    _require_group("group", group)
    elements = group.elements()
    return tuple(tuple(elements[i] for i in indices) for indices in _class_indices(group))


def _class_indices(group: Group) -> list[list[int]]:
    inverse = _inverses(group)
    generators = [group.generator(i) for i in range(len(group.generator_names))]
    # s g s^-1 = s (s g^-1)^-1 needs products from the left only.
    conjugations = [left[inverse[left[inverse]]] for left in _left_products(group, generators)]
    labels = _joined(conjugations)
    classes: list[list[int]] = [[] for _ in range(int(labels.max()) + 1)]
    for i, label in enumerate(labels.tolist()):
        classes[label].append(i)
    return sorted(classes, key=lambda members: (len(members), members[0]))


def _inverses(group: Group) -> Tensor:
    """The index of the inverse of each element."""
    images = _all_images(group.defining)
    index = {key: i for i, key in enumerate(_keys(images))}
    inverses = images.argsort(1) if images.ndim == 2 else torch.linalg.inv(images)
    return torch.tensor([index[key] for key in _keys(inverses)])
