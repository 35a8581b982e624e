r"""Irreducible representations over the real numbers, discovered by averaging one random matrix.

A symmetric matrix that commutes with an orthogonal representation has invariant eigenspaces, and a
random one has no eigenspace larger than it must be: each is irreducible. Nothing else is put in.

Chapter: ``symmetry``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gdl.representations.averaging import TOLERANCE, orthogonalise, reynolds
from gdl.representations.cayley import _require_representation, _walk
from gdl.representations.core import Element, Group, Representation, _require_group
from gdl.representations.images import _as_matrix, _positive
from gdl.representations.orbits import _class_indices
from gdl.representations.relations import _require_relations
from gdl.representations.standard import regular

DIMENSION_LIMIT = 512

# Differences of eigenvalues, relative to the largest one: below the first they are rounding, above
# the second they are real, and what lies between is not decided.
EQUAL, DIFFERENT = 1e-11, 1e-8

SCHUR_TYPES = {(1, 1): "real", (2, 0): "complex", (4, -2): "quaternionic"}


@dataclass(frozen=True, eq=False)
class Summand:
    """An irrep inside a representation, with all of its copies.

    Attributes:
        irrep: by orthogonal matrices.
        multiplicity: how many copies there are.
        schur_type: "real", "complex" or "quaternionic", after the maps that commute with the irrep.
        basis: ``(d, multiplicity * irrep.dim)``, float64, with
            ``rho(g) basis = basis kron(eye(multiplicity), irrep(g))``; orthonormal columns if
            ``rho`` is orthogonal.

    Chapter: ``symmetry``.

    >>> from gdl.representations import symmetric
    >>> [(s.irrep.dim, s.multiplicity) for s in decompose(symmetric(4).defining)]
    [(1, 1), (3, 1)]
    """

    irrep: Representation
    multiplicity: int
    schur_type: str
    basis: Tensor


@dataclass(frozen=True, eq=False)
class CharacterTable:
    """The characters of the real irreps of a finite group.

    Attributes:
        representatives: one element of each conjugacy class, the identity first.
        sizes: of the classes.
        values: ``(irreps, classes)``, float64, the trivial irrep first.
        dims: of the irreps.
        schur_types: "real", "complex" or "quaternionic", for each irrep.

    Chapter: ``symmetry``.

    >>> from gdl.representations import symmetric
    >>> character_table(symmetric(3)).dims
    (1, 1, 2)
    """

    representatives: tuple[Element, ...]
    sizes: tuple[int, ...]
    values: Tensor
    dims: tuple[int, ...]
    schur_types: tuple[str, ...]


def frobenius_schur(rho: Representation) -> int:
    r"""The Frobenius-Schur indicator ``1/|G| sum_g chi(g^2)`` of a representation.

    For a real irrep it is 1, 0 or -2 if the maps that commute with it are the real numbers, the
    complex numbers or the quaternions. Complex irreps have 1, 0 or -1; a real irrep of complex type
    is the sum of two conjugate ones, and a real irrep of quaternionic type is twice the same one.

    Args:
        rho: a representation of a finite group.

    Raises:
        TypeError: ``rho`` is no Representation.
        ValueError: an infinite group, or an average that is no integer (the images are no
            representation).

    Law tested: agrees with ``<chi, chi>`` on irreps; on the regular representation it counts the
    elements with ``g^2 = 1``. Source: Serre 1977, section 13.2. Chapter: ``symmetry``.

    >>> from gdl.representations import circular_irrep, cyclic, quaternion
    >>> frobenius_schur(circular_irrep(cyclic(5), 1)), frobenius_schur(quaternion().defining)
    (0, -2)
    """
    _require_representation("rho", rho)
    return _whole(sum(_trace_of_square(image) for _, image in _walk(rho)) / rho.group.order)


def _trace_of_square(image: Tensor) -> float:
    if image.ndim == 1:
        return float((image[image] == torch.arange(len(image))).sum())
    return float((image * image.T).sum())


def _whole(mean: float) -> int:
    if not math.isfinite(mean) or abs(mean - round(mean)) > 1e-6:
        raise ValueError(
            f"rho: expected a representation, got {mean:.6f} as a mean of characters, "
            "which is no integer"
        )
    return round(mean)


def decompose(rho: Representation, seed: int = 0) -> tuple[Summand, ...]:
    r"""A representation of a finite group as a direct sum of real irreps.

    A random matrix is averaged over the group. The eigenspaces of its symmetric part are
    irreducible; copies of one irrep are recognised by their characters, and the averaged matrix
    itself, which maps copies to each other, aligns them.

    Args:
        rho: of dimension 512 at most.
        seed: of the random matrix; irreps (up to a change of basis), multiplicities and their order
            do not depend on it, bases do.

    Returns:
        The summands by dimension, then by characters in falling order of the classes of
        ``conjugacy_classes``: the trivial irrep first where it occurs.

    Raises:
        TypeError: ``rho`` is no Representation, or ``seed`` no integer.
        ValueError: an infinite group, a representation that is too large or none, or eigenvalues
            that leave the eigenspaces in doubt (try another seed).

    Law tested: the bases together are invertible and make every ``rho(g)`` block diagonal;
    dimensions of S_3, D_4, A_4, S_4; ``<chi, chi>`` = 1, 2, 4 agrees with the Frobenius-Schur
    indicator. Source: Serre 1977, sections 1.4 and 2.6; for the random matrix, Dixon 1970. Chapter:
    ``symmetry``.

    >>> from gdl.representations import dihedral, regular
    >>> [(s.irrep.dim, s.multiplicity) for s in decompose(regular(dihedral(4)))]
    [(1, 1), (1, 1), (1, 1), (1, 1), (2, 2)]
    """
    _require_representation("rho", rho)
    if rho.dim > DIMENSION_LIMIT:
        raise ValueError(f"rho: expected a dimension of at most {DIMENSION_LIMIT}, got {rho.dim}")
    _require_relations(rho)
    generator = torch.Generator().manual_seed(_positive("seed", seed, least=0))
    straight, change = orthogonalise(rho)
    W = torch.randn(rho.dim, rho.dim, generator=generator, dtype=torch.float64)
    W = reynolds(W, straight, straight)
    classes = _class_indices(rho.group)
    summands = [
        _summand(straight, W, copies, classes)
        for _, copies in sorted(_copies(straight, _eigenspaces(W + W.T), classes).items())
    ]
    _require_block_diagonal(straight, summands)
    return tuple(
        Summand(s.irrep, s.multiplicity, s.schur_type, torch.linalg.solve(change, s.basis))
        for s in summands
    )


def _eigenspaces(A: Tensor) -> list[Tensor]:
    """Orthonormal bases of the eigenspaces of a symmetric matrix, ``(d, k)`` each."""
    values, vectors = torch.linalg.eigh(A)
    jumps = values.diff() / values.abs().max()
    doubtful = (jumps > EQUAL) & (jumps < DIFFERENT)
    if bool(doubtful.any()):
        raise ValueError(
            "seed: expected eigenvalues that are equal or apart, got a relative difference of "
            f"{float(jumps[doubtful][0]):.1e}; try another seed"
        )
    ends = ((jumps >= DIFFERENT).nonzero()[:, 0] + 1).tolist()
    return list(vectors.tensor_split(ends, dim=1))


def _copies(
    rho: Representation, spaces: list[Tensor], classes: list[list[int]]
) -> dict[tuple[float, ...], list[Tensor]]:
    """The invariant subspaces by dimension and character, in an order that no seed changes."""
    sizes = [space.shape[1] for space in spaces]
    vectors = torch.cat(spaces, 1)
    at = {members[0]: k for k, members in enumerate(classes)}
    characters = torch.zeros(len(spaces), len(classes), dtype=torch.float64)
    for i, image in _walk(rho):
        if i in at:
            moved = vectors[image] if image.ndim == 1 else image.T @ vectors
            traces = (moved * vectors).sum(0).split(sizes)
            characters[:, at[i]] = torch.stack([part.sum() for part in traces])
    found: dict[tuple[float, ...], list[Tensor]] = {}
    for space, row in zip(spaces, characters.tolist(), strict=True):
        # The sign puts the trivial irrep first: no character of its dimension is larger.
        key = (space.shape[1], *(round(-value, 6) + 0.0 for value in row))
        found.setdefault(key, []).append(space)
    return found


def _summand(
    rho: Representation, W: Tensor, copies: list[Tensor], classes: list[list[int]]
) -> Summand:
    first = copies[0]
    irrep = _restricted(rho, first)
    starts = [first, *(space @ (space.T @ W @ first) for space in copies[1:])]
    basis = torch.cat([_aligned(start, irrep, rho) for start in starts], 1)
    squares = _class_characters(irrep, classes) ** 2
    norm = _whole(float(squares @ _weights(classes)))
    kind = SCHUR_TYPES.get((norm, frobenius_schur(irrep)))
    if kind is None:
        raise ValueError("seed: expected irreducible eigenspaces, got a sum; try another seed")
    return Summand(irrep, len(copies), kind, basis)


def _restricted(rho: Representation, space: Tensor) -> Representation:
    """What rho does inside an invariant subspace with an orthonormal basis."""
    images = [space.T @ _as_matrix(image) @ space for image in rho.generators]
    return Representation(rho.group, images, name=f"irrep of dimension {space.shape[1]}")


def _aligned(start: Tensor, irrep: Representation, rho: Representation) -> Tensor:
    """The orthonormal embedding of an irrep nearest to a start.

    The average removes what rounding mixed into close eigenspaces. By Schur's lemma the Gram matrix
    of an embedding is a multiple of one, so that scaling makes it orthonormal.
    """
    embedding = reynolds(start, irrep, rho)
    return embedding * (math.sqrt(irrep.dim) / embedding.norm())


def _class_characters(rho: Representation, classes: list[list[int]]) -> Tensor:
    at = {members[0]: k for k, members in enumerate(classes)}
    values = torch.zeros(len(classes), dtype=torch.float64)
    for i, image in _walk(rho):
        if i in at:
            values[at[i]] = torch.trace(_as_matrix(image))
    return values


def _weights(classes: list[list[int]]) -> Tensor:
    sizes = torch.tensor([len(members) for members in classes], dtype=torch.float64)
    return sizes / sizes.sum()


def _require_block_diagonal(rho: Representation, summands: list[Summand]) -> None:
    one = torch.eye(rho.dim, dtype=torch.float64)
    basis = torch.cat([s.basis for s in summands], 1)
    errors = [basis.T @ basis - one]
    for k, image in enumerate(rho.generators):
        blocks = torch.block_diag(
            *(s.irrep.generators[k] for s in summands for _ in range(s.multiplicity))
        )
        errors.append(_as_matrix(image) @ basis - basis @ blocks)
    # Not "> TOLERANCE": NaN, which a failed alignment leaves, is not small either.
    if not all(float(error.abs().max()) <= TOLERANCE for error in errors):
        raise ValueError("rho: expected a representation, got images that do not split into irreps")


def irreps(group: Group, seed: int = 0) -> tuple[Representation, ...]:
    r"""All real irreps of a finite group, found inside its regular representation.

    Args:
        group: finite, of order 512 at most.
        seed: of the random matrix; characters and order do not depend on it, bases do.

    Returns:
        Orthogonal representations, the trivial one first, by dimension and then by characters.

    Raises:
        TypeError: ``group`` is no Group, or ``seed`` no integer.
        ValueError: an infinite or larger group.

    Law tested: ``sum_i d_i^2 / <chi_i, chi_i> = |G|``; as many as classes of pairs {g, g^-1};
    published character tables. Source: Serre 1977, sections 2.4 and 13.2. Chapter: ``symmetry``.

    >>> from gdl.representations import symmetric
    >>> [rho.dim for rho in irreps(symmetric(4))]
    [1, 1, 2, 3, 3]
    """
    return tuple(summand.irrep for summand in _all_irreps(group, seed))


def _all_irreps(group: Group, seed: int) -> tuple[Summand, ...]:
    _require_group("group", group)
    if group.order > DIMENSION_LIMIT:
        raise ValueError(
            f"group: expected at most {DIMENSION_LIMIT} elements, got {group.order} in {group.name}"
        )
    return decompose(regular(group), seed)


def character_table(group: Group) -> CharacterTable:
    r"""The character table of a finite group over the real numbers.

    ``<chi_i, chi_j> = 1/|G| sum_g chi_i(g) chi_j(g)`` is 0 for different rows and 1, 2 or 4 for
    equal ones, by the type of the irrep.

    Args:
        group: finite, of order 512 at most.

    Raises:
        TypeError: ``group`` is no Group.
        ValueError: an infinite or larger group.

    Law tested: orthogonality of rows and columns; the published tables of S_3, D_4, S_4, A_4, A_5,
    Q_8, Z_5, D_5. Source: Serre 1977, chapters 2, 5 and 13. Chapter: ``symmetry``.

    >>> from gdl.representations import dihedral
    >>> character_table(dihedral(3)).values.round().int().tolist()
    [[1, 1, 1], [1, 1, -1], [2, -1, 0]]
    """
    summands = _all_irreps(group, seed=0)
    elements, classes = group.elements(), _class_indices(group)
    return CharacterTable(
        representatives=tuple(elements[members[0]] for members in classes),
        sizes=tuple(len(members) for members in classes),
        values=torch.stack([_class_characters(s.irrep, classes) for s in summands]),
        dims=tuple(s.irrep.dim for s in summands),
        schur_types=tuple(s.schur_type for s in summands),
    )
