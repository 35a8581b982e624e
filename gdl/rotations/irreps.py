r"""Irreps strings: "16x0e + 8x1o" says how many copies of which irrep of O(3) a feature holds.

Chapter: ``rotations``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

import gdl.rotations._checks as check
from gdl.equivariance import full_precision
from gdl.representations import Group, O, Representation, spherical_irrep
from gdl.rotations.coupling import MOST_COUPLED
from gdl.rotations.wigner import wigner_tower

BLOCK = re.compile(r"(?:(\d{1,9})\s*x\s*)?(\d{1,9})\s*([eo])", re.ASCII)


@dataclass(frozen=True)
class Irrep:
    """An irrep of O(3): degree l, and the sign p by which the inversion acts.

    Attributes:
        degree: l; the dimension is 2l + 1.
        parity: 1 (written "e", even) or -1 ("o", odd).

    Raises: TypeError or ValueError for a degree that is no int from 0 to 12, or another parity.
    Law tested: as ``e3nn.o3.Irrep``. Chapter: ``rotations``.

    >>> str(Irrep(1, -1)), Irrep(2, 1).dim
    ('1o', 5)
    """

    degree: int
    parity: int

    def __post_init__(self) -> None:
        check.integer("degree", self.degree, 0, MOST_COUPLED)
        check.one_of("parity", self.parity, (1, -1))

    @property
    def dim(self) -> int:
        """The dimension 2l + 1."""
        return 2 * self.degree + 1

    def couples(self, other: Irrep, out: Irrep) -> bool:
        """Whether ``out`` occurs in the product with ``other``: the triangle rule, and parity."""
        triangle = abs(self.degree - other.degree) <= out.degree <= self.degree + other.degree
        return triangle and self.parity * other.parity == out.parity

    def __str__(self) -> str:
        return f"{self.degree}{'e' if self.parity == 1 else 'o'}"


class Irreps:
    r"""A direct sum of irreps of O(3), as a feature of a point carries it.

    Args:
        irreps: a string such as "16x0e + 8x1o" ("1o" means "1x1o"; blocks may repeat), an
            ``Irreps``, or anything whose ``str`` is such a string, as e3nn's class. Blocks without
            copies are dropped; the empty string is the space of dimension 0.

    Attributes:
        blocks: pairs (copies, Irrep).
        dim: of the whole sum; the copies of a block lie one after another.
        degree: the largest; -1 for the empty sum.
        slices: where each block lies.

    Raises: ValueError for a malformed string, naming the part that is not understood.
    Law tested: as ``e3nn.o3.Irreps``: dimensions, slices, matrices. Source: Geiger and Smidt
    2022. Chapter: ``rotations``.

    >>> vectors = Irreps("4x0e + 2x1o")
    >>> vectors.dim, vectors.slices, str(vectors + Irreps("2e"))
    (10, (slice(0, 4, None), slice(4, 10, None)), '4x0e + 2x1o + 1x2e')
    """

    def __init__(self, irreps: str | Irreps):
        self.blocks: tuple[tuple[int, Irrep], ...] = tuple(_parsed(str(irreps)))
        sizes = [copies * irrep.dim for copies, irrep in self.blocks]
        self.dim = sum(sizes)
        self.degree = max([irrep.degree for _, irrep in self.blocks], default=-1)
        ends = list(accumulate(sizes, initial=0))
        self.slices = tuple(slice(a, b) for a, b in zip(ends, ends[1:], strict=False))

    @classmethod
    def of(cls, blocks: Iterable[tuple[int, Irrep]]) -> Irreps:
        """The sum of blocks given as pairs (copies, Irrep)."""
        if not isinstance(blocks, Iterable):
            raise TypeError(f"blocks: expected pairs (copies, Irrep), got {type(blocks).__name__}")
        return cls(" + ".join(f"{copies}x{irrep}" for copies, irrep in blocks))

    @classmethod
    def harmonics(cls, degree: int, parity: int = -1) -> Irreps:
        """One irrep of each degree up to l, of parity ``parity ** l``: the harmonics are odd.

        With ``parity=1`` they count as even, which is right for rotations only.
        """
        check.integer("degree", degree, 0, MOST_COUPLED)
        check.one_of("parity", parity, (1, -1))
        return cls.of((1, Irrep(k, parity**k)) for k in range(degree + 1))

    def split(self, x: Tensor) -> list[Tensor]:
        """The blocks of features ``(..., dim)``, each ``(..., copies, 2l + 1)``."""
        check.shaped("x", x, self.dim)
        sizes = [copies * irrep.dim for copies, irrep in self.blocks]
        parts = zip(x.split(sizes, -1), self.blocks, strict=True)
        return [part.unflatten(-1, (copies, irrep.dim)) for part, (copies, irrep) in parts]

    def join(self, blocks: list[Tensor]) -> Tensor:
        """The inverse of ``split``."""
        return torch.cat([block.flatten(-2) for block in blocks], -1)

    def act(self, matrix: Tensor, x: Tensor) -> Tensor:
        r"""The action ``D(R) x`` on features.

        Args:
            matrix: orthogonal ``(..., 3, 3)``, reflections too, in the dtype of x.
            x: ``(..., dim)``; the leading axes of both broadcast.

        Raises: TypeError or ValueError for other inputs.
        Law tested: equal to ``matrix(R) @ x``.
        """
        check.shaped("x", x, self.dim)
        signs, tower = self._tower(matrix)
        if matrix.dtype != x.dtype:
            raise TypeError(f"matrix: expected {x.dtype} like x, got {matrix.dtype}")
        if not self.blocks:
            return x.expand(*torch.broadcast_shapes(x.shape[:-1], matrix.shape[:-2]), 0)
        with full_precision(x.device):
            turned = [
                torch.einsum("...ij,...uj->...ui", tower[irrep.degree], block)
                * (signs if irrep.parity < 0 else torch.ones_like(signs))
                for block, (_, irrep) in zip(self.split(x), self.blocks, strict=True)
            ]
        return self.join(turned)

    def matrix(self, matrix: Tensor) -> Tensor:
        r"""The matrices D(R) on the whole sum, for orthogonal R: rotations and reflections.

        Args:
            matrix: ``(..., 3, 3)``.

        Returns:
            Block-diagonal ``(..., dim, dim)``.

        Raises: TypeError or ValueError for matrices that are not orthogonal.
        Law tested: homomorphism; equal to ``e3nn.o3.Irreps.D_from_matrix``.
        """
        check.shaped("matrix", matrix, 3, 3)
        eye = torch.eye(self.dim, dtype=matrix.dtype, device=matrix.device)
        return self.act(matrix[..., None, :, :], eye).transpose(-1, -2)

    def representation(self, group: Group | None = None) -> Representation:
        r"""The sum as a representation, for the solver.

        Args:
            group: ``O(3)``, the default, or ``SO(3)``, which forgets the parities.

        Raises: ValueError for another group, or for the empty sum.
        Law tested: the same matrices as ``matrix``.
        """
        group = O(3) if group is None else group
        if not self.blocks:
            raise ValueError("irreps: expected at least one irrep, got none")
        parts = [
            spherical_irrep(group, irrep.degree, irrep.parity)
            for copies, irrep in self.blocks
            for _ in range(copies)
        ]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def _tower(self, matrix: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The sign of each matrix, shaped to multiply blocks, and D of its rotation part."""
        check.orthogonal("matrix", matrix)
        signs = torch.linalg.det(matrix.detach()).sign()[..., None, None]
        return signs, wigner_tower(max(self.degree, 0), matrix * signs)

    def __iter__(self) -> Iterator[tuple[int, Irrep]]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def __add__(self, other: Irreps) -> Irreps:
        if not isinstance(other, Irreps):
            return NotImplemented
        return Irreps.of([*self.blocks, *other.blocks])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Irreps) and self.blocks == other.blocks

    def __hash__(self) -> int:
        return hash(self.blocks)

    def __str__(self) -> str:
        return " + ".join(f"{copies}x{irrep}" for copies, irrep in self.blocks)

    def __repr__(self) -> str:
        return f'Irreps("{self}")'


def _parsed(text: str) -> Iterator[tuple[int, Irrep]]:
    if not text.strip():
        return
    for part in text.split("+"):
        found = BLOCK.fullmatch(part.strip())
        if found is None:
            raise ValueError(
                f'irreps: expected blocks such as "8x1o", joined by "+", got {part.strip()!r} in '
                f"{text!r}"
            )
        copies, degree, parity = found.groups()
        if int(degree) > MOST_COUPLED:
            raise ValueError(f"irreps: expected degrees up to {MOST_COUPLED}, got {part.strip()!r}")
        if copies is None or int(copies):
            yield int(copies or 1), Irrep(int(degree), 1 if parity == "e" else -1)


def _named_irreps(name: str, irreps: Irreps | str, *, empty: bool = False) -> Irreps:
    """``Irreps(irreps)``, whose errors name the argument; dimension 0 is one, unless ``empty``."""
    try:
        found = Irreps(irreps)
    except ValueError as error:
        raise ValueError(f"{name}: {str(error).removeprefix('irreps: ')}") from None
    if not found.blocks and not empty:
        raise ValueError(f"{name}: expected at least one irrep, got none")
    return found


def paths(
    irreps_in: Irreps | str, filters: Irreps | str, irreps_out: Irreps | str
) -> list[tuple[int, int, int]]:
    r"""The couplings that symmetry allows: (input block, filter block, output block).

    The product of input and filter contains the output when the degrees form a triangle and the
    parities multiply.

    Args:
        irreps_in, filters, irreps_out: the three sums, ``Irreps`` or strings.

    Returns:
        Triples of block numbers, the input running slowest, then the output, then the filter.

    Raises: ValueError for malformed strings.
    Law tested: the solver finds as many maps; as many as the instructions of
    ``e3nn.o3.FullyConnectedTensorProduct``; ``N (N^2 + 1) / 2`` for one of each degree below N,
    ignoring parity. Source: Thomas et al. 2018. Chapter: ``rotations``.

    >>> one_of_each = Irreps.harmonics(2)
    >>> len(paths(one_of_each, one_of_each, one_of_each))
    11
    """
    given = {"irreps_in": irreps_in, "filters": filters, "irreps_out": irreps_out}
    irreps_in, filters, irreps_out = (_named_irreps(*item, empty=True) for item in given.items())
    return [
        (i, j, k)
        for i, (_, first) in enumerate(irreps_in)
        for k, (_, out) in enumerate(irreps_out)
        for j, (_, second) in enumerate(filters)
        if first.couples(second, out)
    ]
