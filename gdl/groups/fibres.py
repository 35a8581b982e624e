r"""The fibre of a field: its blocks, and the lengths of the parts of a vector in them.

Chapter: ``groups``.
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl.groups._checks as check
from gdl.representations import Representation

__all__ = ["blocks"]


def blocks(rho: Representation) -> list[int]:
    r"""The sizes of the finest blocks along the diagonal that all images of rho respect.

    For a direct sum these are its summands, or finer ones.

    Raises: TypeError if ``rho`` is no Representation.
    Law tested: the sizes of sums of irreps and of regular representations. Chapter: ``groups``.

    >>> from gdl.representations import circular_irrep, dihedral, regular, trivial
    >>> D4 = dihedral(4)
    >>> blocks(2 * trivial(D4) + circular_irrep(D4, 1) + regular(D4))
    [1, 1, 2, 8]
    """
    check.representation("rho", rho)
    with torch.device("cpu"):
        return _blocks(rho)


def _blocks(rho: Representation) -> list[int]:
    matrices = [rho(rho.group.generator(i)) for i in range(len(rho.generators))]
    touched = sum(a.abs() for a in (*matrices, *rho.algebra)) > 1e-12
    touched = touched | touched.T | torch.eye(rho.dim, dtype=torch.bool)
    # A block ends where nothing above or left of it reaches further.
    reach = torch.where(touched, torch.arange(rho.dim), -1).amax(1).cummax(0).values
    ends = (reach == torch.arange(rho.dim)).nonzero().flatten() + 1
    return torch.diff(ends, prepend=torch.zeros(1, dtype=ends.dtype)).tolist()


def _block_of(sizes: list[int]) -> Tensor:
    """The block to which each entry of a fibre belongs."""
    counts = torch.tensor(sizes, device="cpu")
    return torch.repeat_interleave(torch.arange(len(sizes), device="cpu"), counts)


def _fibres(x: Tensor, channels: int, fibre: int) -> Tensor:
    """(..., C d, h, w) as (..., C, d, h, w)."""
    return x.unflatten(-3, (channels, fibre))


def _squares(fibres: Tensor, sizes: list[int]) -> Tensor:
    """The squared length of each block of (..., C, d, h, w), shape (..., C, blocks, h, w)."""
    return torch.stack([part.square().sum(-3) for part in fibres.split(sizes, -3)], -3)


def _lengths(fibres: Tensor, sizes: list[int]) -> Tensor:
    """The length of each block, without overflow; at 0, where it has no derivative, that of 0."""
    lengths = []
    for part in fibres.split(sizes, -3):
        largest = part.detach().abs().amax(-3, keepdim=True)
        zero = largest == 0
        unit = torch.where(zero, 1, largest)
        squares = (part / unit).square().sum(-3, keepdim=True)
        lengths.append(unit * torch.where(zero, 1, squares).sqrt() * ~zero)
    return torch.cat(lengths, -3)
