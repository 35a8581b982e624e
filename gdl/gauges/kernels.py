r"""Kernels on the directions of a tangent plane that no choice of frame can change.

A neighbour is seen at an angle theta. When the frame turns by a, the angle becomes theta - a, and
features turn too. A kernel that gives the same answer in every frame obeys

    K(theta - a) = rho_out(-a) K(theta) rho_in(a)

which is the one equation between ``rho_in (x) (frequency m)`` and ``rho_out``, once for every
frequency m of theta. A kernel at the centre has no angle, so it commutes with every rotation.

Chapter: ``gauges``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
import gdl.gauges._checks as require
from gdl.equivariance import equivariant_basis
from gdl.representations import SO, O, Representation, circular_irrep


@dataclass(frozen=True, eq=False, repr=False)
class NeighbourKernels:
    r"""A basis of kernels, each a wave of one frequency in the angle of the neighbour.

        K_k(theta) = cosines_k cos(m_k theta) + sines_k sin(m_k theta)

    Orthonormal in the mean over the circle. Between irreps, which are orthogonal, it is orthonormal
    at every angle.

    Attributes:
        frequencies: m, int64 ``(r,)``, in rising order.
        cosines: float64 ``(r, d_out, d_in)``.
        sines: float64 ``(r, d_out, d_in)``, 0 where m is 0.

    Law tested: those of :func:`neighbour_kernels`. Chapter: ``gauges``.

    >>> vector, scalar = circular_irrep(SO(2), 1), circular_irrep(SO(2), 0)
    >>> kernels = neighbour_kernels(vector, scalar)
    >>> len(kernels), kernels.frequencies.tolist(), kernels.at(torch.zeros(5)).shape
    (2, [1, 1], torch.Size([2, 1, 2, 5]))
    """

    frequencies: Tensor
    cosines: Tensor
    sines: Tensor

    def __len__(self) -> int:
        return len(self.frequencies)

    def __repr__(self) -> str:
        d_out, d_in = self.cosines.shape[1:]
        found = sorted(set(self.frequencies.tolist()))
        return f"NeighbourKernels({len(self)} of {d_out} x {d_in}, frequencies {found})"

    def at(self, angles: Tensor) -> Tensor:
        r"""The kernels at angles ``(k,)`` in radians: float64 ``(r, d_out, d_in, k)``.

        Raises: TypeError or ValueError unless the angles are finite numbers in one row, below 1/eps
        of their dtype, where they have no digits left.
        """
        check.floating("angles", angles)
        if angles.ndim != 1:
            raise ValueError(f"angles: expected shape (k,), got {tuple(angles.shape)}")
        phases = self.frequencies[:, None] * require.moderate("angles", angles, 1).to(self.cosines)
        waves = zip((self.cosines, self.sines), (phases.cos(), phases.sin()), strict=True)
        return sum(part[..., None] * wave[:, None, None] for part, wave in waves)


def neighbour_kernels(rho_in: Representation, rho_out: Representation) -> NeighbourKernels:
    r"""All kernels with ``K(theta - a) = rho_out(-a) K(theta) rho_in(a)``, for every rotation a.

    For O(2) they obey ``K(-theta) = rho_out(s) K(theta) rho_in(s)`` as well, with the mirror s.
    The value at theta = 0 is free for SO(2), since no rotation fixes a direction; the mirror does,
    so for O(2) that value commutes with it.

    Args:
        rho_in, rho_out: representations of SO(2), or both of O(2).

    Returns:
        A basis of ``dim(rho_out) dim(rho_in)`` kernels for SO(2).

    Raises: TypeError for no Representation; ValueError for other groups, or two of them.
    Law tested: between the irreps m and n of SO(2) only the frequencies |m - n| and m + n occur:
    1, 2 or 4 kernels, the span of the published table at more than 2 (m + n) angles; half of them
    for O(2), 1, 1 and 2. Source: the table is that of de Haan, Weiler, Cohen and Welling, Gauge
    equivariant mesh CNNs, ICLR 2021. Chapter: ``gauges``.

    >>> rho = [circular_irrep(SO(2), m) for m in range(3)]
    >>> neighbour_kernels(rho[1], rho[2])
    NeighbourKernels(4 of 2 x 2, frequencies [1, 3])
    """
    _require_planar(rho_in, rho_out)
    shape = (rho_out.dim, rho_in.dim)
    frequencies, waves = [], []
    for m in range(_top(rho_in) + _top(rho_out) + 1):
        harmonic = circular_irrep(rho_in.group, m)
        maps = equivariant_basis(rho_in * harmonic, rho_out).dense()
        maps = maps.reshape(-1, *shape, harmonic.dim)
        # The mean of cos^2 is 1/2; a constant has no sine.
        waves.append(math.sqrt(2) * maps if m else torch.nn.functional.pad(maps, (0, 1)))
        frequencies += [m] * len(maps)
    cosines, sines = torch.cat(waves).unbind(-1)
    return NeighbourKernels(torch.tensor(frequencies, dtype=torch.int64), cosines, sines)


def self_kernels(rho_in: Representation, rho_out: Representation) -> Tensor:
    r"""All maps with ``K rho_in(a) = rho_out(a) K``: what a node may do to its own features.

    Args:
        rho_in, rho_out: representations of SO(2), or both of O(2).

    Returns:
        float64 ``(r, d_out, d_in)``, orthonormal.

    Raises: TypeError for no Representation; ValueError for other groups, or two of them.
    Law tested: 1 between scalars, 2 between equal orders (the identity and a quarter turn), else
    none; for O(2) one between equal orders. Source: de Haan, Weiler, Cohen and Welling, Gauge
    equivariant mesh CNNs, ICLR 2021. Chapter: ``gauges``.

    >>> rho = [circular_irrep(SO(2), m) for m in range(3)]
    >>> [[len(self_kernels(a, b)) for a in rho] for b in rho]
    [[1, 0, 0], [0, 2, 0], [0, 0, 2]]
    """
    _require_planar(rho_in, rho_out)
    return equivariant_basis(rho_in, rho_out).dense()


def _top(rho: Representation) -> int:
    """The largest frequency: the generator has the eigenvalues i m and -i m."""
    return round(float(torch.linalg.eigvals(rho.algebra[0]).imag.abs().max()))


def _require_planar(rho_in: Representation, rho_out: Representation) -> None:
    for name, rho in (("rho_in", rho_in), ("rho_out", rho_out)):
        if not isinstance(rho, Representation):
            raise TypeError(f"{name}: expected a Representation, got {type(rho).__name__}")
        if rho.group not in (SO(2), O(2)):
            raise ValueError(
                f"{name}: expected a representation of SO(2) or O(2), got one of {rho.group.name}"
            )
    if rho_in.group != rho_out.group:
        raise ValueError(
            f"rho_out: expected a representation of {rho_in.group.name} like rho_in, "
            f"got one of {rho_out.group.name}"
        )
