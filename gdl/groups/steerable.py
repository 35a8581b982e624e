r"""Steerable convolution: kernels for all rotations, sampled on the pixels.

On each circle around the origin a kernel is a finite Fourier series in the angle. Rotations act on
the frequency m by the irrep of frequency m, so that the kernel constraint is the one equation
between ``rho_in (x) (frequency m)`` and ``rho_out``, once for every m. The radius is free.

Chapter: ``groups``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

import gdl.groups._checks as check
from gdl.equivariance import equivariant_basis
from gdl.groups.convolution import FieldConv2d
from gdl.groups.plane import offsets, plane
from gdl.representations import SO, Group, O, Representation, circular_irrep

# Kernels whose samples all but vanish on the pixels are left out: sin 4 theta on 3 x 3 taps is one.
NEGLIGIBLE = 1e-8
ROUNDING = 1e-12
WIDTHS = (1e-3, 1e6)


def restrict(rho: Representation, group: Group) -> Representation:
    r"""A representation of SO(2) or O(2), seen by the rotations of Z_n or the elements of D_n.

    Args:
        rho: representation of SO(2) for Z_n, of O(2) for D_n.
        group: Z_n or D_n.

    Returns:
        The representation ``h -> rho(h)`` of the smaller group, of the same dimension.

    Raises: TypeError for other types; ValueError for other groups.
    Law tested: a homomorphism; the restriction of the frequency m to Z_n is the frequency m of Z_n
    for m < n / 2. Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> restrict(circular_irrep(SO(2), 1), cyclic(4)).dim
    2
    """
    check.representation("rho", rho)
    check.group("group", group)
    plane(group)  # refuses a group that is no Z_n or D_n
    mirrored = "s" in group.generator_names
    if rho.group != (O(2) if mirrored else SO(2)) or not group.is_finite:
        raise ValueError(
            f"group: expected Z_n for SO(2) or D_n for O(2), got {group.name} for {rho}"
        )
    images = {"r": rho(rho.group.exp(2 * math.pi / group.relations[0].power))}
    if mirrored:
        images["s"] = rho(rho.group.generator(0))
    return Representation(group, [images[name] for name in group.generator_names], name=rho.name)


def frequency(group: Group, m: int) -> Representation:
    r"""How the group moves the functions cos(m theta), sin(m theta) on a circle.

    The vector Y = (cos m theta, sin m theta), or (1) for m = 0, obeys ``Y(h x) = rho(h) Y(x)``. It
    is an irrep of SO(2) and O(2), and may fall apart for Z_n and D_n: on the corners of a square
    the frequency 4 is constant.

    Raises: TypeError or ValueError for other groups, and unless m is an int of at least 0.
    Law tested: the functions themselves. Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> frequency(cyclic(4), 4)(cyclic(4).generator(0)).round().int().tolist()
    [[1, 0], [0, 1]]
    """
    plane(group)
    check.integer("m", m, 0)
    if not group.is_finite:
        return circular_irrep(group, m)
    whole = O(2) if "s" in group.generator_names else SO(2)
    return restrict(circular_irrep(whole, m), group)


def angular_basis(rho_in: Representation, rho_out: Representation, m: int) -> Tensor:
    r"""All kernels of frequency m on a circle, as coefficients of cos(m theta) and sin(m theta).

    ``K(theta) = sum_a W[:, :, a] Y_a(theta)`` obeys the kernel constraint exactly if W solves
    ``W (rho_in (x) rho_m)(h) = rho_out(h) W``, with rho_m from :func:`frequency`.

    Args:
        rho_in, rho_out: representations of Z_n, D_n, SO(2) or O(2).
        m: the frequency, at least 0.

    Returns:
        float64 ``(r, d_out, d_in, 1 or 2)``, orthonormal.

    Raises: TypeError or ValueError for other groups or representations of two groups.
    Law tested: between the irreps a and b of SO(2) only the frequencies |a - b| and a + b occur, 1,
    2 or 4 kernels in all; half of them survive for O(2). Source: Weiler and Cesa 2019.
    Chapter: ``groups``.

    >>> vector, scalar = circular_irrep(SO(2), 1), circular_irrep(SO(2), 0)
    >>> [len(angular_basis(vector, scalar, m)) for m in range(4)]
    [0, 2, 0, 0]
    """
    check.representation("rho_in", rho_in)
    check.representation("rho_out", rho_out, rho_in.group)
    harmonic = frequency(rho_in.group, m)
    basis = equivariant_basis(rho_in * harmonic, rho_out)
    return basis.dense().reshape(-1, rho_out.dim, rho_in.dim, harmonic.dim)


def harmonics(points: Tensor, m: int) -> Tensor:
    r"""The circular harmonics of frequency m at points of the plane, (cos m theta, sin m theta).

    At the origin, where the angle means nothing, they are 0 for m > 0.

    Args:
        points: (n, 2), the coordinates (x, y).
        m: the frequency, at least 0.

    Returns:
        float64 ``(n, 2)``, or ``(n, 1)`` of ones for m = 0.

    Raises: TypeError or ValueError unless m is an int of at least 0 and points has two columns.
    Law tested: ``Y(h x) = rho_m(h) Y(x)`` for random rotations and mirrors. Chapter: ``groups``.

    >>> harmonics(torch.tensor([[0.0, 2.0]]), 2).round().tolist()
    [[-1.0, 0.0]]
    """
    check.integer("m", m, 0)
    if not isinstance(points, Tensor) or points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points: expected shape (n, 2), got {getattr(points, 'shape', points)}")
    if points.is_complex() or not torch.isfinite(points).all():
        raise ValueError("points: expected finite real coordinates")
    x, y = points.to(torch.float64).unbind(1)
    if m == 0:
        return torch.ones(len(points), 1, dtype=torch.float64)
    angle = m * torch.atan2(y, x)
    away = (torch.hypot(x, y) > 0).to(torch.float64)
    return torch.stack([away * torch.cos(angle), away * torch.sin(angle)], dim=1)


def steerable_kernels(
    rho_in: Representation,
    rho_out: Representation,
    kernel_size: int,
    *,
    rings: Sequence[float] | None = None,
    width: float = 0.6,
    frequencies: int | None = None,
) -> Tensor:
    r"""Samples of kernels that obey the constraint for all rotations, one ring at a time.

        K(x) = exp(-(|x| - radius)^2 / (2 width^2)) sum_a W[:, :, a] Y_a(x / |x|)

    for every ring, every frequency m that the ring can carry, and every W of
    :func:`angular_basis`; each scaled to length 1. Sampling commutes with quarter turns, so that
    these kernels lie in the space of :func:`grid_kernels` for the quarter turns of the group; they
    do not fill it.

    Args:
        rho_in, rho_out: representations of Z_n, D_n, SO(2) or O(2).
        kernel_size: K.
        rings: radii in pixels, from 0 to K; None takes 0, 1, 2 ... (1/2, 3/2 ... for even K) up to
            (K - 1) / 2.
        width: standard deviation of a ring in pixels.
        frequencies: the largest m on every ring of positive radius; None allows twice the radius.

    Returns:
        float64 ``(r, d_out, d_in * K * K)``.

    Raises: TypeError or ValueError for other types, no ring or one outside 0 to K, a width that is
    not in 1e-3 to 1e6.
    Law tested: inclusion, as above; the constraint itself at points moved by random rotations.
    Source: Weiler and Cesa 2019. Chapter: ``groups``.

    >>> scalar = circular_irrep(SO(2), 0)
    >>> steerable_kernels(scalar, scalar, 3).shape  # the two rings, both of frequency 0
    torch.Size([2, 1, 9])
    """
    check.integer("kernel_size", kernel_size, 1)
    rings = _rings(rings, kernel_size)
    check.number("width", width, *WIDTHS)
    if frequencies is not None:
        check.integer("frequencies", frequencies, 0)
    points = offsets(kernel_size)
    limits = [_band_limit(radius, frequencies) for radius in rings]
    away = points.norm(dim=1) - torch.tensor(rings, dtype=torch.float64)[:, None]
    profiles = torch.exp(-((away / width) ** 2) / 2)
    kernels = []
    for m in range(max(limits) + 1):
        angular = angular_basis(rho_in, rho_out, m)
        waves = torch.einsum("koia,na->koin", angular, harmonics(points, m)).flatten(2)
        # A sine that is 0 on the pixels comes out as rounding, which a faint ring would magnify.
        waves = torch.where(waves.abs() < ROUNDING, 0, waves)
        for limit, profile in zip(limits, profiles.repeat(1, rho_in.dim), strict=True):
            if m <= limit:
                kernels.append(waves * profile)
    stack = torch.cat(kernels)
    lengths = torch.linalg.matrix_norm(stack)
    kept = lengths > NEGLIGIBLE
    return stack[kept] / lengths[kept, None, None]


def _rings(rings: Sequence[float] | None, kernel_size: int) -> list[float]:
    if rings is None:
        half = (kernel_size - 1) / 2
        return [half - k for k in range(int(half) + 1)][::-1]
    if isinstance(rings, str) or not isinstance(rings, Sequence):
        raise TypeError(f"rings: expected a list of radii, got {rings!r}")
    if not all(isinstance(r, (int, float)) and not isinstance(r, bool) for r in rings):
        raise TypeError(f"rings: expected a list of radii, got {rings!r}")
    if not rings or not all(0 <= radius <= kernel_size for radius in rings):
        raise ValueError(f"rings: expected radii from 0 to {kernel_size}, one or more, got {rings}")
    return [float(radius) for radius in rings]


def _band_limit(radius: float, frequencies: int | None) -> int:
    """The largest frequency of a ring: a point has no angle, and few pixels carry few waves."""
    if radius == 0:
        return 0
    if frequencies is None:
        return int(2 * radius)
    return frequencies


class SteerableConv2d(FieldConv2d):
    r"""Steerable convolution for Z_n, D_n, SO(2) and O(2), between fields of any fibre.

    The kernels are circular harmonics times Gaussian rings, :func:`steerable_kernels`. By quarter
    turns (and mirrors) the layer is equivariant to rounding. By other angles the pixels themselves
    do not turn: what remains is the error of sampling and interpolation, small for smooth fields
    and kernels.

    Args:
        in_channels, out_channels: fields in and out.
        kernel_size: K.
        rho_in, rho_out: representations of one group, such as ``circular_irrep(SO(2), 1)``, sums of
            them, or ``regular(cyclic(8))``.
        rings, width, frequencies: as in :func:`steerable_kernels`.
        options: the keyword arguments of ``FieldConv2d``.

    Raises: what ``FieldConv2d`` and :func:`steerable_kernels` raise.
    Laws tested: equivariance to quarter turns and mirrors; its kernels lie in the span of
    ``kernel_basis``; the error at 45 degrees falls as kernels and images become smoother. Source:
    Weiler and Cesa 2019. Chapter: ``groups``.

    >>> rho = circular_irrep(SO(2), 0) + circular_irrep(SO(2), 1)
    >>> SteerableConv2d(1, 4, 5, circular_irrep(SO(2), 0), rho)(torch.zeros(1, 1, 9, 9)).shape
    torch.Size([1, 12, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        rho_in: Representation,
        rho_out: Representation,
        *,
        rings: Sequence[float] | None = None,
        width: float = 0.6,
        frequencies: int | None = None,
        **options,
    ):
        shape = {"rings": rings, "width": width, "frequencies": frequencies}
        with torch.device("cpu"):
            kernels = steerable_kernels(rho_in, rho_out, kernel_size, **shape)
        channels = (in_channels, out_channels)
        super().__init__(*channels, kernel_size, rho_in, rho_out, kernels, **options)
