r"""Independent routes to the dimension of the solution space.

None of them solves the equation: characters only take traces, orbits only count, and the Reynolds
operator only averages. Chapter: ``one_equation``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gdl.equivariance.solver import _require_representation
from gdl.representations import Representation


def _require_one_group(rho_in: Representation, rho_out: Representation) -> None:
    _require_representation("rho_in", rho_in)
    _require_representation("rho_out", rho_out)
    if rho_in.group != rho_out.group:
        raise ValueError(
            f"rho_out: expected a representation of {rho_in.group.name} like rho_in, "
            f"got one of {rho_out.group.name}"
        )


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
    return max((float(torch.linalg.eigvals(X).abs().max()) for X in rho.algebra), default=0.0)


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


def reynolds(W: Tensor, rho_in: Representation, rho_out: Representation) -> Tensor:
    r"""The group average ``R[W] = 1/|G| sum_g rho_out(g)^-1 W rho_in(g)``.

    R is a projector onto the equivariant maps, orthogonal if the representations are; its trace is
    their dimension.

    Args:
        W: ``(..., d_out, d_in)``, any number of maps.
        rho_in: representation of a finite group on the inputs.
        rho_out: representation of the same group on the outputs.

    Returns:
        float64, the shape of W.

    Raises:
        TypeError: an argument that is no Representation, or W complex.
        ValueError: an infinite group, different groups, a wrong shape, or entries that are not
            finite.

    Law tested: ``R R = R``; ``R[W]`` is equivariant; ``tr R`` is the dimension. Source: Serre 1977,
    section 2.2. Chapter: ``one_equation``.

    >>> from gdl.representations import cyclic, regular
    >>> rho = regular(cyclic(2))
    >>> reynolds(torch.tensor([[1.0, 2.0], [4.0, 3.0]]), rho, rho).tolist()
    [[2.0, 3.0], [3.0, 2.0]]
    """
    _require_one_group(rho_in, rho_out)
    if not isinstance(W, Tensor) or tuple(W.shape[-2:]) != (rho_out.dim, rho_in.dim):
        got = tuple(W.shape) if isinstance(W, Tensor) else type(W).__name__
        raise ValueError(f"W: expected shape (..., {rho_out.dim}, {rho_in.dim}), got {got}")
    if W.is_complex():
        raise TypeError(f"W: expected real entries, got {W.dtype}")
    if not torch.isfinite(W).all():
        raise ValueError("W: expected finite entries, got NaN or infinity")
    elements = rho_in.group.elements()
    W = W.to(torch.float64)
    return sum(rho_out(g.inverse()) @ W @ rho_in(g) for g in elements) / len(elements)
