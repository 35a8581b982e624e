r"""Independent routes to the dimension of the solution space.

Neither solves the equation: characters only take traces, and orbits only count. A third route, the
trace of the average ``gdl.representations.reynolds``, only averages. Chapter: ``one_equation``.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from gdl.equivariance.solver import _require_one_group
from gdl.representations import Representation


def dimension_by_characters(rho_in: Representation, rho_out: Representation) -> int:
    r"""The dimension as the average of characters, ``dim = avg_g chi_out(g) chi_in(g^-1)``.

    The average is exact for finite groups, and for SO(2), O(2), SO(3), O(3) by Weyl's integration
    formula sampled at enough angles.

    Raises:
        TypeError: an argument that is no Representation.
        ValueError: different groups, a group without a Haar average, or an average that is not an
            integer (the images do not form a representation).

    Law tested: equals the dimension that the solver finds. Source: Serre 1977, section 2.3, theorem
    4. Chapter: ``one_equation``.

    >>> from gdl.representations import SO, spherical_irrep
    >>> l1, l2 = spherical_irrep(SO(3), 1), spherical_irrep(SO(3), 2)
    >>> dimension_by_characters(l1 * l2, l1)
    1
    """
    _require_one_group(rho_in, rho_out)
    degree = math.ceil(_top_frequency(rho_in) + _top_frequency(rho_out) - 1e-6)
    average = sum(
        weight * rho_out.character(g) * rho_in.character(g.inverse())
        for weight, g in rho_in.group.class_quadrature(degree)
    )
    if abs(average - round(average)) > 1e-6:
        raise ValueError(
            f"rho_in, rho_out: the character average {average:.6f} is not an integer; the images "
            "do not form a representation (relation_error)"
        )
    return round(average)


def _top_frequency(rho: Representation) -> float:
    """The largest frequency of ``rho(exp tX)`` over the basis of the algebra."""
    # NumPy's routine converges where torch's gives up on many repeated eigenvalues.
    return max((float(abs(np.linalg.eigvals(X.numpy())).max()) for X in rho.algebra), default=0.0)


def dimension_by_orbits(rho_in: Representation, rho_out: Representation) -> int:
    r"""The dimension for permutation representations: the number of orbits of index pairs.

    Every pair takes the smallest label that its neighbours have, until nothing changes; the
    solver's back end uses a graph search instead.

    Raises:
        TypeError: an argument that is no Representation.
        ValueError: different groups, or generators that do not permute.

    Law tested: equals the character average and the solver's dimension. Source: Burnside's lemma,
    e.g. Serre 1977, exercise 2.6. Chapter: ``one_equation``.

    >>> from gdl.representations import symmetric
    >>> S5 = symmetric(5).defining
    >>> dimension_by_orbits(S5, S5)
    2
    """
    _require_one_group(rho_in, rho_out)
    if not (rho_in.is_permutation and rho_out.is_permutation):
        raise ValueError("rho_in, rho_out: expected generators that permute, got matrices")
    labels = torch.arange(rho_out.dim * rho_in.dim).reshape(rho_out.dim, rho_in.dim)
    while True:
        before = labels
        for p, q in zip(rho_out.generators, rho_in.generators, strict=True):
            labels = torch.minimum(labels, labels[p][:, q])
        if torch.equal(labels, before):
            return len(labels.unique())
