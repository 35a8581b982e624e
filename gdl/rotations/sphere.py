r"""Signals on the sphere: exact quadrature, their Fourier transform, zonal convolution.

A signal is kept by its values on a grid, or by its coefficients in the spherical harmonics, which
the rotations mix by blocks. Order and axes are those of ``gdl.rotations.harmonics``: the polar axis
is y, and the degrees follow each other, each with its orders from -l to l.

Chapter: ``rotations``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gdl.rotations._checks as check
from gdl.equivariance import Constant, full_precision
from gdl.rotations.coupling import MOST_COUPLED
from gdl.rotations.harmonics import spherical_harmonics
from gdl.rotations.wigner import wigner_tower


def sphere_grid(degree: int) -> tuple[Tensor, Tensor]:
    r"""Points and areas that integrate the product of two signals of this degree exactly.

        int f(x) dx = sum_rc w_rc f(x_rc)    for f of degree up to 2L

    Rows are the L + 1 Gauss-Legendre nodes of ``y = cos(polar angle)``, from the pole y = 1 down;
    columns are 2L + 1 equal steps of the azimuth ``a``, with ``(x, z) = sin(polar angle)
    (sin a, cos a)``.

    Args:
        degree: L, from 0 to 64.

    Returns:
        Points ``(L + 1, 2L + 1, 3)`` and weights ``(L + 1, 2L + 1)`` of sum 4 pi, float64, CPU.

    Raises: TypeError or ValueError for a degree that is no such integer.
    Law tested: harmonics up to degree L are orthonormal to 1e-13; a product of larger degree is
    not integrated, and equal weights fail. Source: Driscoll and Healy 1994 for the idea; the
    Gauss-Legendre nodes need half of their rows. Chapter: ``rotations``.

    >>> points, weights = sphere_grid(2)
    >>> points.shape, round(float((weights * points[..., 1] ** 4).sum() / (4 * torch.pi)), 12)
    (torch.Size([3, 5, 3]), 0.2)
    """
    check.degree("degree", degree)
    y, weights = _gauss_legendre(degree)
    azimuth = _circle(degree)
    sine = (1 - y.square()).sqrt()[:, None]
    points = torch.stack(
        [sine * azimuth.sin(), y[:, None].expand(-1, len(azimuth)), sine * azimuth.cos()], -1
    )
    return points, (weights * 2 * math.pi / len(azimuth))[:, None].repeat(1, len(azimuth))


def _gauss_legendre(degree: int) -> tuple[Tensor, Tensor]:
    """Nodes from 1 down to -1, and weights of sum 2, exact for polynomials of degree 2L + 1."""
    nodes, weights = np.polynomial.legendre.leggauss(degree + 1)
    return torch.from_numpy(nodes[::-1].copy()), torch.from_numpy(weights[::-1].copy())


def _circle(degree: int) -> Tensor:
    """Equal angles that integrate the product of two waves of frequency up to L."""
    count = 2 * degree + 1
    return 2 * math.pi / count * torch.arange(count, dtype=torch.float64, device="cpu")


class SphericalTransform(nn.Module):
    r"""The Fourier transform of the sphere, and back: first along the rows, then down the columns.

        analysis    c_lm = sum_rc w_rc Y_lm(x_rc) f(x_rc)
        synthesis   f(x_rc) = sum_lm c_lm Y_lm(x_rc)

    with orthonormal harmonics. The module itself is the analysis, so that it can start a network.

    Args:
        degree: L, from 0 to 64.
        grid_degree: of the grid, at least L, the default; a finer grid resolves what a nonlinearity
            makes of a signal.
        device, dtype: as in torch.nn.Linear.

    Attributes:
        size: coefficients of a signal, ``(L + 1)^2``.
        grid: shape of a signal, ``(rows, columns)``, as in ``sphere_grid(grid_degree)``.
        one: the coefficient of the signal that is 1 everywhere, ``sqrt(4 pi)``.

    Shapes: ``(..., rows, columns) -> (..., (L + 1)^2)``, and back by ``synthesis``.

    Raises: TypeError or ValueError for degrees that are no such integers, and for signals that are
    empty, not finite, or of another shape or dtype.
    Laws tested: each inverts the other to 1e-13; a signal of degree up to ``2 grid_degree - L``
    has its true coefficients; energy is kept. Source: Cohen et al. 2018.
    Chapter: ``rotations``.

    >>> transform = SphericalTransform(3, grid_degree=5)
    >>> c = transform(torch.ones(2, 6, 11))
    >>> c.shape, round(float(c[0, 0]), 4)  # the root of 4 pi
    (torch.Size([2, 16]), 3.5449)
    """

    one = math.sqrt(4 * math.pi)

    def __init__(
        self,
        degree: int,
        *,
        grid_degree: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.degree = check.degree("degree", degree)
        if grid_degree is not None:
            check.integer("grid_degree", grid_degree, degree, check.MOST_DEGREE)
        self.grid_degree = degree if grid_degree is None else grid_degree
        self.size = (degree + 1) ** 2
        self.grid = (self.grid_degree + 1, 2 * self.grid_degree + 1)
        factory = {"device": device, "dtype": _real(dtype)}
        with torch.device("cpu"):
            points, weights = sphere_grid(self.grid_degree)
            legendre, place = _meridian(degree, points)
            waves = _waves(degree, _circle(self.grid_degree))
        self.weights = Constant(weights, **factory)
        self.legendre = Constant(legendre, **factory)
        self.waves = Constant(waves, **factory)
        self.place = Constant(place, device=device)

    def analysis(self, f: Tensor) -> Tensor:
        """Coefficients ``(..., (L + 1)^2)`` of values ``(..., rows, columns)``."""
        f = check.signals("f", f, self.waves().dtype, *self.grid)
        with full_precision(f.device):
            rows = torch.einsum("...rc,cm->...rm", f * self.weights(), self.waves())
            table = torch.einsum("...rm,rlm->...lm", rows, self.legendre())
            return table.flatten(-2).index_select(-1, self.place())

    def synthesis(self, c: Tensor) -> Tensor:
        """Values ``(..., rows, columns)`` of coefficients ``(..., (L + 1)^2)``."""
        c = check.signals("c", c, self.waves().dtype, self.size)
        with full_precision(c.device):
            table = c.new_zeros(*c.shape[:-1], self.legendre()[0].numel())
            table = table.index_copy(-1, self.place(), c).unflatten(-1, self.legendre().shape[1:])
            rows = torch.einsum("...lm,rlm->...rm", table, self.legendre())
            return torch.einsum("...rm,cm->...rc", rows, self.waves())

    def forward(self, f: Tensor) -> Tensor:
        return self.analysis(f)

    def extra_repr(self) -> str:
        """What print(transform) shows."""
        return f"degree={self.degree}, grid={self.grid}"


def _meridian(degree: int, points: Tensor) -> tuple[Tensor, Tensor]:
    """``Y_lm`` without its wave, ``(rows, L + 1, 2L + 1)``, and the places of (l, m) in the table.

    At azimuth 0 the wave of order m >= 0 is 1, and the orders m and -m differ by the wave alone.
    """
    Y = spherical_harmonics(range(degree + 1), points[:, 0], normalization="integral")
    table = Y.new_zeros(len(Y), degree + 1, 2 * degree + 1)
    l = _degrees(degree)
    m = torch.arange(len(l)) - l * (l + 1)
    table[:, l, degree + m] = Y[:, l * (l + 1) + m.abs()]
    return table, l * (2 * degree + 1) + degree + m


def _waves(degree: int, azimuth: Tensor) -> Tensor:
    """``sin(|m| a)`` for m < 0 and ``cos(m a)`` for m >= 0, ``(columns, 2L + 1)``."""
    angles = azimuth[:, None] * torch.arange(degree + 1)
    return torch.cat([angles[:, 1:].sin().flip(1), angles.cos()], 1)


def _degrees(degree: int) -> Tensor:
    """The degree of each of the ``(L + 1)^2`` coefficients."""
    degrees = torch.arange(degree + 1)
    return degrees.repeat_interleave(2 * degrees + 1)


def rotate_coefficients(c: Tensor, rotation: Tensor) -> Tensor:
    r"""The coefficients of the rotated signal ``(R.f)(x) = f(R^-1 x)``: ``c_l -> D_l(R) c_l``.

    Args:
        c: coefficients ``(..., (L + 1)^2)``, L up to 12.
        rotation: R, ``(3, 3)`` for all signals, or ``(B, 3, 3)``, one for each entry of the first
            axis of c.

    Returns:
        The shape and dtype of c.

    Raises:
        TypeError: arguments that are no floating-point tensors.
        ValueError: a size that is not (L + 1)^2, entries that are not finite, matrices that are no
            rotations, or not one for all or one for each.

    Law tested: the synthesis at x is the old one at ``R^-1 x``; the inverse rotation fails.
    Chapter: ``rotations``.

    >>> half_turn = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    >>> rotate_coefficients(torch.tensor([1.0, 2.0, 3.0, 4.0]), half_turn).tolist()
    [1.0, -2.0, 3.0, -4.0]
    """
    check.finite("c", check.shaped("c", c, None))
    degree = math.isqrt(c.shape[-1]) - 1
    if not 0 <= degree <= MOST_COUPLED or (degree + 1) ** 2 != c.shape[-1]:
        raise ValueError(
            f"c: expected (L + 1)^2 entries, L up to {MOST_COUPLED}, got {tuple(c.shape)}"
        )
    tower = wigner_tower(degree, _one_or_each(rotation, c))
    parts = c.split([2 * l + 1 for l in range(degree + 1)], -1)
    with full_precision(c.device):
        turned = [_along_first(D.to(c), part) for D, part in zip(tower, parts, strict=True)]
        return torch.cat(turned, -1)


def _one_or_each(rotation: Tensor, x: Tensor) -> Tensor:
    """Checked rotations, (3, 3) or one for each entry of the first axis of x."""
    check.rotations("rotation", rotation)
    if rotation.ndim != 2 and (x.ndim < 2 or tuple(rotation.shape) != (len(x), 3, 3)):
        raise ValueError(
            "rotation: expected (3, 3), or one rotation for each entry of the first axis of "
            f"{tuple(x.shape)}, got {tuple(rotation.shape)}"
        )
    return rotation


def _along_first(D: Tensor, x: Tensor) -> Tensor:
    """``D x`` along the last axis; D is a matrix, or one for each entry of the first axis."""
    if D.ndim == 2:
        return x @ D.mT
    return torch.einsum("bmn,b...n->b...m", D, x)


class _FilterConv(nn.Module):
    """A convolution of signals by their coefficients: one filter for each pair of channels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        degree: int,
        filter_size: int,
        bias: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ):
        super().__init__()
        self.in_channels = check.integer("in_channels", in_channels, 1)
        self.out_channels = check.integer("out_channels", out_channels, 1)
        self.degree = degree
        factory = {"device": device, "dtype": _real(dtype)}
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, filter_size, **factory))
        has_bias = check.boolean("bias", bias)
        self.bias = nn.Parameter(torch.empty(out_channels, **factory)) if has_bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights that keep the energy of signals; biases zero."""
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.in_channels))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        return f"{self.in_channels}, {self.out_channels}, degree={self.degree}"

    def _raised(self, coefficients: Tensor, one: float) -> Tensor:
        """Signals with the bias; ``one`` is the coefficient of the signal that is 1."""
        if self.bias is None:
            return coefficients
        return coefficients + F.pad(one * self.bias[:, None], (0, coefficients.shape[-1] - 1))


def _real(dtype: torch.dtype | None) -> torch.dtype:
    return check.real_dtype(torch.get_default_dtype() if dtype is None else dtype)


class ZonalConv(_FilterConv):
    r"""Convolution of signals on the sphere with kernels that depend on the distance alone.

        (k * f)(x) = int k(<x, y>) f(y) dy,     coefficients  c_lm -> lambda_l c_lm

    The equation ``D(R) W = W D(R)`` leaves one number for each degree, by Schur's lemma: every
    convolution from the sphere to the sphere is zonal. By the Funk-Hecke formula the numbers are
    ``lambda_l = 2 pi int k(t) P_l(t) dt``.

    Args:
        in_channels, out_channels: signals in and out.
        degree: L, from 0 to 64.
        bias: add a number to each output signal.
        device, dtype: as in torch.nn.Linear.

    Shapes: coefficients ``(..., in_channels, (L + 1)^2) -> (..., out_channels, (L + 1)^2)``;
    ``weight`` holds lambda, ``(out_channels, in_channels, L + 1)``.

    Raises: TypeError or ValueError for counts that are no such integers, and for signals that are
    empty, not finite, or of another shape or dtype.
    Laws tested: equal to the integral by quadrature; commutes with rotations; the L + 1 maps are
    all that the solver finds; a kernel that is not zonal fails. Source: Atkinson and
    Han 2012, chapter 2; Esteves et al. 2018. Chapter: ``rotations``.

    >>> ZonalConv(2, 3, 4)(torch.zeros(7, 2, 25)).shape
    torch.Size([7, 3, 25])
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
        check.degree("degree", degree)
        super().__init__(in_channels, out_channels, degree, degree + 1, bias, device, dtype)
        with torch.device("cpu"):
            degrees = _degrees(degree)
        self.degrees = Constant(degrees, device=device)

    def kernel(self, cosine: Tensor) -> Tensor:
        """``k(t) = sum_l (2l + 1) / (4 pi) lambda_l P_l(t)``: (n,) -> (out, in, n)."""
        t = check.finite("cosine", check.shaped("cosine", cosine, None))
        if t.ndim != 1 or (check.readable(t) and bool((t.abs() > 1).any())):
            raise ValueError(
                f"cosine: expected numbers from -1 to 1 of shape (n,), got {t} of {tuple(t.shape)}"
            )
        points = torch.stack([(1 - t.square()).sqrt(), t, torch.zeros_like(t)], -1)
        l = torch.arange(self.degree + 1, device=t.device)
        Y = spherical_harmonics(range(self.degree + 1), points)[:, l * (l + 1)]
        # The harmonic of order 0 in this normalization is the root of 2l + 1 times P_l.
        scale = (2 * l + 1).to(t).sqrt() / (4 * math.pi)
        return torch.einsum("oil,nl->oin", self.weight.to(t), Y * scale)

    def forward(self, c: Tensor) -> Tensor:
        c = check.signals("c", c, self.weight.dtype, self.in_channels, len(self.degrees()))
        with full_precision(c.device):
            scales = self.weight.index_select(-1, self.degrees())
            y = torch.einsum("oik,...ik->...ok", scales, c)
            return self._raised(y, SphericalTransform.one)
