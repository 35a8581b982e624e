r"""Signals on SO(3): exact quadrature, their Fourier transform, lifting and group convolution.

The coefficients of degree l form a matrix F_l of size 2l + 1, kept row by row, one degree after the
other: ``sum (2l + 1)^2 = (L + 1)(2L + 1)(2L + 3) / 3`` numbers.

Chapter: ``rotations``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import gdl.rotations._checks as check
from gdl.equivariance import Constant, full_precision
from gdl.rotations.coupling import MOST_COUPLED
from gdl.rotations.sphere import (
    _circle,
    _FilterConv,
    _gauss_legendre,
    _one_or_each,
    _real,
)
from gdl.rotations.wigner import wigner_tower

# A table of this many numbers takes 400 MB in float64.
MOST_SAMPLES = 5 * 10**7


def rotation_grid(degree: int) -> tuple[Tensor, Tensor]:
    r"""Rotations and weights that average the product of two signals of this degree exactly.

        int f(R) dR = sum_n w_n f(R_n)    for f of degree up to 2L, with int dR = 1

    ``R = Y(a) X(b) Y(c)``, e3nn's angles: 2L + 1 equal steps of a and of c, and L + 1
    Gauss-Legendre nodes of cos b; n runs over b, a, c, the last one fastest.

    Args:
        degree: L, from 0 to 64.

    Returns:
        Rotations ``(n, 3, 3)`` and weights ``(n,)`` of sum 1 with ``n = (L + 1)(2L + 1)^2``,
        float64, CPU.

    Raises: TypeError or ValueError for a degree that is no such integer.
    Law tested: the entries of the Wigner matrices up to degree L are orthogonal to 1e-13; equal
    weights fail. Source: Cohen et al. 2018. Chapter: ``rotations``.

    >>> rotations, weights = rotation_grid(2)
    >>> len(rotations), round(float((weights * rotations[:, 1, 1] ** 4).sum()), 12)
    (75, 0.2)
    """
    check.degree("degree", degree)
    cosine, weights = _gauss_legendre(degree)
    circle = _circle(degree)
    polar = _turns((2, 1), cosine, (1 - cosine.square()).sqrt())
    about_y = _turns((0, 2), circle.cos(), circle.sin())
    rotations = torch.einsum("aij,bjk,ckl->bacil", about_y, polar, about_y)
    share = weights / 2 / len(circle) ** 2
    return rotations.reshape(-1, 3, 3), share.repeat_interleave(len(circle) ** 2)


def _turns(plane: tuple[int, int], cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotations in a coordinate plane (i, j): ``R e_j = cos e_j + sin e_i``."""
    i, j = plane
    R = torch.eye(3, dtype=cosine.dtype, device=cosine.device).repeat(len(cosine), 1, 1)
    R[:, i, i], R[:, j, j], R[:, i, j], R[:, j, i] = cosine, cosine, sine, -sine
    return R


def rotation_size(degree: int) -> int:
    """Coefficients of a signal on SO(3): ``sum (2l + 1)^2``.

    Raises: TypeError or ValueError for a degree that is no integer from 0 to 12.
    Law tested: the closed form against the sum. Chapter: ``rotations``.

    >>> [rotation_size(degree) for degree in range(4)]
    [1, 10, 35, 84]
    """
    check.integer("degree", degree, 0, MOST_COUPLED)
    return (degree + 1) * (2 * degree + 1) * (2 * degree + 3) // 3


class RotationTransform(nn.Module):
    r"""The Fourier transform of SO(3), and back.

        analysis    F^l_mn = sum_k w_k sqrt(2l + 1) D^l_mn(R_k) f(R_k)
        synthesis   f(R_k) = sum_lmn F^l_mn sqrt(2l + 1) D^l_mn(R_k)

    By the theorem of Peter and Weyl the functions ``sqrt(2l + 1) D^l_mn`` are orthonormal and
    complete. A signal moved by S, ``f(S^-1 R)``, has the coefficients ``D_l(S) F_l``: each column
    of each matrix is an irrep.

    Args:
        degree: L, from 0 to 12.
        grid_degree: of the grid, at least L, the default; a finer grid resolves what a nonlinearity
            makes of a signal.
        device, dtype: as in torch.nn.Linear.

    Attributes:
        size: coefficients of a signal, ``rotation_size(degree)``.
        grid: shape of a signal, ``(n,)``, as in ``rotation_grid(grid_degree)``.
        one: the coefficient of the signal that is 1 everywhere, 1.

    Shapes: ``(..., n) -> (..., size)``, and back by ``synthesis``.

    Raises: TypeError or ValueError for degrees that are no such integers, a table above 400 MB, and
    for signals that are empty, not finite, or of another shape or dtype.
    Laws tested: each inverts the other to 1e-13; energy is kept. Source: Cohen et al.
    2018. Chapter: ``rotations``.

    >>> transform = RotationTransform(1, grid_degree=2)
    >>> transform(torch.ones(4, 75)).shape
    torch.Size([4, 10])
    """

    one = 1.0

    def __init__(
        self,
        degree: int,
        *,
        grid_degree: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.degree, self.size = degree, rotation_size(degree)
        if grid_degree is not None:
            check.integer("grid_degree", grid_degree, degree, check.MOST_DEGREE)
        self.grid_degree = degree if grid_degree is None else grid_degree
        self.grid = ((self.grid_degree + 1) * (2 * self.grid_degree + 1) ** 2,)
        if self.size * self.grid[0] > MOST_SAMPLES:
            raise ValueError(
                f"degree, grid_degree: expected a table of at most {MOST_SAMPLES} entries, got "
                f"{self.grid[0]} x {self.size} for degrees {degree} and {self.grid_degree}"
            )
        factory = {"device": device, "dtype": _real(dtype)}
        with torch.device("cpu"):
            rotations, weights = rotation_grid(self.grid_degree)
            tower = wigner_tower(degree, rotations)
            blocks = [math.sqrt(2 * l + 1) * D.flatten(1) for l, D in enumerate(tower)]
        self.weights = Constant(weights, **factory)
        self.samples = Constant(torch.cat(blocks, 1), **factory)

    def analysis(self, f: Tensor) -> Tensor:
        """Coefficients ``(..., size)`` of values ``(..., n)``."""
        f = check.signals("f", f, self.weights().dtype, *self.grid)
        with full_precision(f.device):
            return (f * self.weights()) @ self.samples()

    def synthesis(self, F: Tensor) -> Tensor:
        """Values ``(..., n)`` of coefficients ``(..., size)``."""
        F = check.signals("F", F, self.weights().dtype, self.size)
        with full_precision(F.device):
            return F @ self.samples().mT

    def forward(self, f: Tensor) -> Tensor:
        return self.analysis(f)

    def extra_repr(self) -> str:
        """What print(transform) shows."""
        return f"degree={self.degree}, grid={self.grid}"


def _matrices(F: Tensor, degree: int) -> list[Tensor]:
    """The matrices ``(..., 2l + 1, 2l + 1)`` of a signal's coefficients, one for each degree."""
    sizes = [2 * l + 1 for l in range(degree + 1)]
    parts = F.split([n * n for n in sizes], -1)
    return [part.unflatten(-1, (n, n)) for part, n in zip(parts, sizes, strict=True)]


def _rows(matrices: list[Tensor]) -> Tensor:
    return torch.cat([F.flatten(-2) for F in matrices], -1)


def _product_rows(products: list[Tensor]) -> Tensor:
    """Products of two coefficients of degree l, over ``sqrt(2l + 1)``, in one row."""
    return _rows([product / math.sqrt(2 * l + 1) for l, product in enumerate(products)])


def rotate_rotation_coefficients(F: Tensor, rotation: Tensor) -> Tensor:
    r"""The coefficients of the moved signal ``(S.f)(R) = f(S^-1 R)``: ``F_l -> D_l(S) F_l``.

    Args:
        F: coefficients ``(..., sum (2l + 1)^2)``, l up to 12.
        rotation: S, ``(3, 3)`` for all signals, or ``(B, 3, 3)``, one for each entry of the first
            axis of F.

    Returns:
        The shape and dtype of F.

    Raises:
        TypeError: arguments that are no floating-point tensors.
        ValueError: a size that belongs to no degree, entries that are not finite, matrices that are
            no rotations, or not one for all or one for each.

    Law tested: the synthesis at R is the old one at ``S^-1 R``. Chapter: ``rotations``.

    >>> half_turn = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    >>> rotate_rotation_coefficients(torch.ones(10), half_turn).tolist()
    [1.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0]
    """
    check.finite("F", check.shaped("F", F, None))
    sizes = [rotation_size(degree) for degree in range(MOST_COUPLED + 1)]
    if F.shape[-1] not in sizes:
        raise ValueError(
            f"F: expected (L + 1)(2L + 1)(2L + 3) / 3 entries, L up to {MOST_COUPLED}, got "
            f"{tuple(F.shape)}"
        )
    degree = sizes.index(F.shape[-1])
    tower = wigner_tower(degree, _one_or_each(rotation, F))
    between = (1,) * (F.ndim - 2)
    turned = []
    with full_precision(F.device):
        for D, matrix in zip(tower, _matrices(F, degree), strict=True):
            D = D if D.ndim == 2 else D.reshape(len(D), *between, *D.shape[1:])
            turned.append(D.to(F) @ matrix)
    return _rows(turned)


class LiftingSphereConv(_FilterConv):
    r"""Correlation of a signal on the sphere with a filter in every orientation.

        (f * psi)(R) = int f(x) psi(R^-1 x) dx,    coefficients  f_lm psi_ln / sqrt(2l + 1)

    The result is a signal on SO(3), and the filter is free: ``(L + 1)^2`` numbers where a zonal one
    has L + 1. These are all maps from the sphere to SO(3) that commute with the rotations.

    Args:
        in_channels, out_channels: signals in and out.
        degree: L, from 0 to 12.
        bias: add a number to each output signal.
        device, dtype: as in torch.nn.Linear.

    Shapes: ``(..., in_channels, (L + 1)^2) -> (..., out_channels, sum (2l + 1)^2)``, coefficients;
    ``weight`` holds those of psi, ``(out_channels, in_channels, (L + 1)^2)``.

    Raises: TypeError or ValueError for counts that are no such integers, and for signals that are
    empty, not finite, or of another shape or dtype.
    Laws tested: equal to the integral by quadrature; equivariance; the ``(L + 1)^2`` maps are all
    that the solver finds. Source: Cohen et al. 2018. Chapter: ``rotations``.

    >>> LiftingSphereConv(1, 2, 2)(torch.zeros(7, 1, 9)).shape
    torch.Size([7, 2, 35])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        degree: int,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        size = (check.integer("degree", degree, 0, MOST_COUPLED) + 1) ** 2
        super().__init__(in_channels, out_channels, degree, size, bias, device, dtype)

    def forward(self, c: Tensor) -> Tensor:
        sizes = [2 * l + 1 for l in range(self.degree + 1)]
        c = check.signals("c", c, self.weight.dtype, self.in_channels, sum(sizes))
        with full_precision(c.device):
            parts = zip(c.split(sizes, -1), self.weight.split(sizes, -1), strict=True)
            products = [torch.einsum("...im,oin->...omn", f, psi) for f, psi in parts]
            return self._raised(_product_rows(products), RotationTransform.one)


class RotationConv(_FilterConv):
    r"""Group convolution of signals on SO(3), as correlation.

        (f * psi)(R) = int f(S) psi(R^-1 S) dS,     coefficients  F_l Psi_l^T / sqrt(2l + 1)

    The equation ``D(S) W = W D(S)`` on the columns of all F_l leaves one matrix for each degree,
    by Schur's lemma: ``sum (2l + 1)^2`` numbers, as many as a filter has.

    Args:
        in_channels, out_channels: signals in and out.
        degree: L, from 0 to 12.
        bias: add a number to each output signal.
        device, dtype: as in torch.nn.Linear.

    Shapes: coefficients ``(..., in_channels, sum (2l + 1)^2) -> (..., out_channels, the same)``;
    ``weight`` holds those of psi, ``(out_channels, in_channels, sum (2l + 1)^2)``.

    Raises: TypeError or ValueError for counts that are no such integers, and for signals that are
    empty, not finite, or of another shape or dtype.
    Laws tested: equal to the integral by quadrature; equivariance; the maps are all that the
    solver finds. Source: Cohen et al. 2018. Chapter: ``rotations``.

    >>> RotationConv(2, 3, 1)(torch.zeros(7, 2, 10)).shape
    torch.Size([7, 3, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        degree: int,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        size = rotation_size(degree)
        super().__init__(in_channels, out_channels, degree, size, bias, device, dtype)

    def forward(self, F: Tensor) -> Tensor:
        F = check.signals("F", F, self.weight.dtype, self.in_channels, self.weight.shape[-1])
        with full_precision(F.device):
            pairs = zip(_matrices(F, self.degree), _matrices(self.weight, self.degree), strict=True)
            products = [torch.einsum("...imk,oink->...omn", f, psi) for f, psi in pairs]
            return self._raised(_product_rows(products), RotationTransform.one)
