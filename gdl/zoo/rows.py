r"""Two routes to a row of the table of architectures that use no null space.

One counts double cosets of the group and never looks at a matrix of the layer; the other takes a
layer as it is shipped and reads off the maps that its weights span. Chapter: ``zoo``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import gdl._checks as check
from gdl.representations import Element, Group, multiplication_table

Character = Callable[[Element], float]


def double_cosets(
    group: Group, inner: Sequence[Element], outer: Sequence[Element]
) -> list[tuple[Element, ...]]:
    r"""The double cosets ``B g A = {b g a : b in B, a in A}`` of two subgroups of a finite group.

    They number the orbits of pairs of points, one of G/B and one of G/A: the pair (b B, a A) lies
    in the orbit of B b^-1 a A.

    Args:
        group: a finite group G of at most 2000 elements.
        inner: all elements of A, such as a stabiliser; the identity alone for the trivial subgroup.
        outer: all elements of B.

    Returns:
        Disjoint tuples of elements that fill the group, each in the order of ``group.elements()``,
        the one of the identity first.

    Raises:
        TypeError: ``group`` is no Group, or something else than Elements is given.
        ValueError: an infinite or a larger group, elements of another one, or elements that form
            no subgroup.

    Law tested: equal to all products written out; as many as the solver finds maps from G/A to
    G/B; those from G/B to G/A are the inverses. Chapter: ``zoo``.

    >>> from gdl.representations import symmetric, stabiliser
    >>> S4 = symmetric(4)
    >>> keep = stabiliser(S4.defining, 0)
    >>> [len(coset) for coset in double_cosets(S4, keep, keep)]
    [6, 18]
    """
    table, elements = multiplication_table(group), group.elements()
    right = _subgroup("inner", group, inner, table)
    left = _subgroup("outer", group, outer, table)
    unseen, found = torch.ones(len(elements), dtype=torch.bool), []
    while unseen.any():
        g = int(unseen.nonzero()[0])
        coset = table[left][:, table[g, right]].unique()
        unseen[coset] = False
        found.append(tuple(elements[i] for i in coset.tolist()))
    return found


def dimension_by_cosets(
    group: Group,
    inner: Sequence[Element],
    outer: Sequence[Element],
    chi_in: Character | None = None,
    chi_out: Character | None = None,
) -> int:
    r"""The number of equivariant maps from fields over G/A to fields over G/B (Mackey).

        sum over B g A of the mean over s in B and g A g^-1 of chi_out(s) chi_in(g^-1 s^-1 g)

    Args:
        group: a finite group G of at most 2000 elements.
        inner, outer: all elements of A and of B.
        chi_in: the character of the input fibre, asked for elements of A; 1 by default.
        chi_out: the character of the output fibre, asked for elements of B; 1 by default.

    Raises:
        TypeError: as :func:`double_cosets`; a character that is no function of real values.
        ValueError: as :func:`double_cosets`; a character that is not finite, or a mean that is no
            natural number, so that no two representations have these characters.

    Law tested: the dimension that the solver finds, for scalar fields and for fields of vectors,
    also between different subgroups. Source: Serre 1977, section 7.3. Chapter: ``zoo``.

    >>> from gdl.representations import dihedral, stabiliser
    >>> D5 = dihedral(5)
    >>> mirror = stabiliser(D5.defining, 0)
    >>> dimension_by_cosets(D5, mirror, mirror)
    3
    """
    inner, outer = _elements("inner", inner), _elements("outer", outer)
    cosets = double_cosets(group, inner, outer)
    at_in, at_out = _values("chi_in", chi_in), _values("chi_out", chi_out)
    inside = {group.index(a) for a in inner}
    total = 0
    for g, *_ in cosets:
        seen = [(s, g.inverse() * s * g) for s in outer]
        shared = [(s, back) for s, back in seen if group.index(back) in inside]
        mean = sum(at_out(s) * at_in(back.inverse()) for s, back in shared) / len(shared)
        if round(mean) < 0 or abs(mean - round(mean)) > 1e-6:
            raise ValueError(
                f"chi_in, chi_out: expected characters, got the mean {mean:.6f}, no natural number"
            )
        total += round(mean)
    return total


def layer_maps(layer: nn.Module, matrix_of: Callable[[nn.Module], Tensor]) -> Tensor:
    r"""The maps that the weights of a layer span: one for each parameter, set to 1 among zeros.

    Args:
        layer: linear in its parameters, of which there is at least one; it is not changed.
        matrix_of: from a layer to its matrix, or to anything that is linear in it.

    Returns:
        ``(p, ...)`` for p parameters, detached.

    Raises:
        TypeError: a layer that is no Module, or a ``matrix_of`` that returns no real tensor.
        ValueError: a layer without parameters, or one that is not linear in them.

    Law tested: a linear layer has the matrix units; any weights give the combination; biases and
    products of weights are refused. Chapter: ``zoo``.

    >>> layer_maps(nn.Linear(2, 1, bias=False), lambda layer: layer.weight)
    tensor([[[1., 0.]],
    <BLANKLINE>
            [[0., 1.]]])
    """
    if not isinstance(layer, nn.Module):
        raise TypeError(f"layer: expected a Module, got {type(layer).__name__}")
    probe = copy.deepcopy(layer)
    weights = list(probe.parameters())
    if not any(w.numel() for w in weights):
        raise ValueError("layer: expected at least one parameter, got none")

    def at(vector: Tensor) -> Tensor:
        vector_to_parameters(vector, weights)
        return check.floating("matrix_of", matrix_of(probe)).detach().clone()

    with torch.no_grad():
        now = parameters_to_vector(weights).clone()
        maps = torch.stack([at(unit) for unit in torch.eye(len(now)).to(now)])
        random = torch.randn(len(now), generator=torch.Generator().manual_seed(0)).to(now)
        defect = (at(random) - torch.tensordot(random.to(maps), maps, 1)).norm()
        # A short dtype has an eps so large that it would excuse everything.
        if not defect <= min(1e4 * torch.finfo(now.dtype).eps, 0.1) * maps.norm():
            raise ValueError("layer: expected one that is linear in its parameters, got another")
    return maps


def _values(argument: str, character: Character | None) -> Character:
    """A character that looks at its values; 1 where there is none."""
    if character is None:
        return lambda g: 1.0
    if not callable(character):
        raise TypeError(f"{argument}: expected a function, got {type(character).__name__}")
    return lambda g: check.number(argument, character(g))


def _elements(argument: str, elements: Iterable[Element]) -> list[Element]:
    if not isinstance(elements, Iterable):
        raise TypeError(f"{argument}: expected Elements, got {type(elements).__name__}")
    return list(elements)


def _subgroup(argument: str, group: Group, elements: Sequence[Element], table: Tensor) -> Tensor:
    """The indices of the elements of a subgroup, without repetition."""
    elements = _elements(argument, elements)
    for g in elements:
        if not isinstance(g, Element):
            raise TypeError(f"{argument}: expected Elements, got {type(g).__name__}")
        if g.group != group:
            raise ValueError(
                f"{argument}: expected elements of {group.name}, got one of {g.group.name}"
            )
    indices = torch.tensor([group.index(g) for g in elements], dtype=torch.int64)
    # A finite set that is closed under products holds its inverses.
    closed = torch.equal(table[indices][:, indices].unique(), indices.sort().values)
    if not len(indices) or not closed:
        raise ValueError(
            f"{argument}: expected all elements of a subgroup, got {len(indices)} elements"
        )
    return indices
