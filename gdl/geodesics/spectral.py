r"""Filters of functions on a surface: in an eigenbasis, or as polynomials of the Laplacian.

    free multipliers      f -> sum_k phi_k theta_k <phi_k, f>     depend on bases of eigenspaces
    functions of lambda   f -> sum_k phi_k g(lambda_k) <phi_k, f> do not
    polynomials           f -> sum_j theta_j T_j(M^-1 L) f        need no basis at all

Here <phi, f> = phi^T M f with the areas M of the vertices.

Chapter: ``geodesics``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

import gdl._checks as check
import gdl.geodesics._checks as require
import gdl.geodesics._layers as parts
from gdl.equivariance import Constant, full_precision
from gdl.geodesics.operators import SurfaceOperators


def multiply_spectrum(surface: SurfaceOperators, f: Tensor, multipliers: Tensor) -> Tensor:
    r"""Multiply the spectral coefficients of functions.

        f -> sum_k phi_k theta_k phi_k^T M f,         theta_k a number or a matrix

    The first eigenvectors are used, as many as there are multipliers; what lies in the others is
    lost.

    Args:
        surface: with at least that many modes.
        f: ``(n, C)``, in the dtype of the surface.
        multipliers: ``(K,)``, the same for each channel, or ``(K, C', C)``.

    Returns:
        ``(n, C)`` or ``(n, C')``, differentiable in f and the multipliers.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes that do not fit, no multiplier or more than modes, entries that are not
            finite.

    Law tested: ones on all n modes are the identity; products of multipliers are compositions.
    Chapter: ``geodesics``.

    >>> from gdl.geodesics.mesh import Mesh
    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> surface = SurfaceOperators.from_mesh(square, 4)
    >>> f = torch.tensor([[1.0], [0.0], [3.0], [0.0]], dtype=torch.float64)
    >>> mean = multiply_spectrum(surface, f, torch.ones(1, dtype=torch.float64))
    >>> mean.flatten().round(decimals=6)
    tensor([1.3333, 1.3333, 1.3333, 1.3333], dtype=torch.float64)
    """
    check.floating("multipliers", multipliers)
    f = parts.features("f", f, surface, None, multipliers)
    _require_multipliers(surface, f, multipliers)
    return _multiplied(surface, f, multipliers)


class SpectralConv(nn.Module):
    r"""The spectral convolution with free multipliers, one matrix of channels for each eigenvector.

        y = sum_k phi_k theta_k phi_k^T M x + b,      k = 0 .. modes - 1

    What it learns belongs to one eigenbasis of one surface. The signs of eigenvectors cancel, but
    another basis inside an eigenspace, or two eigenvectors that change places or mix, make it
    another map: :class:`SpectralFilter` does not have this fault.

    Args:
        in_channels, out_channels: C and C'.
        modes: how many eigenvectors.
        bias: whether b is there.
        device, dtype: of the weights.

    Attributes:
        weight: theta ``(modes, C', C)``.

    Shapes: ``layer(x, surface)`` with x ``(n, C)``; returns ``(n, C')``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes or devices that do not fit, fewer modes on the surface, entries that are
            not finite.

    Law tested: a permutation of the vertices permutes; signs do not matter; a rotation inside an
    eigenspace changes the output, which is why the layer stands here. Source: Bruna, Zaremba, Szlam
    and LeCun, Spectral Networks and Locally Connected Networks on Graphs, ICLR 2014. Chapter:
    ``geodesics``.

    >>> from gdl.geodesics.mesh import Mesh
    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> surface = SurfaceOperators.from_mesh(square, 3).to(dtype=torch.float32)
    >>> SpectralConv(2, 5, modes=3)(torch.ones(4, 2), surface).shape
    torch.Size([4, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: int,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.in_channels = check.integer("in_channels", in_channels, 1)
        self.out_channels = check.integer("out_channels", out_channels, 1)
        self.modes = check.integer("modes", modes, 1)
        made = parts.made(device, dtype)
        self.weight = nn.Parameter(torch.empty(modes, out_channels, in_channels, **made))
        self.bias = parts.bias(out_channels, bias, made)
        parts.glorot(self.weight)

    def forward(self, x: Tensor, surface: SurfaceOperators) -> Tensor:
        x = parts.features("x", x, surface, self.in_channels, self.weight)
        if surface.num_modes < self.modes:
            raise ValueError(
                f"surface: expected at least {self.modes} modes, got {surface.num_modes}"
            )
        return parts.shifted(_multiplied(surface, x, self.weight), self.bias)


class SpectralFilter(nn.Module):
    r"""A spectral convolution whose multipliers are a learned smooth function of the eigenvalue.

        y = sum_k phi_k g(lambda_k) phi_k^T M x + b,    g(lambda) = sum_j theta_j e^{-t_j lambda}

    A sum over an eigenspace does not depend on its basis, so g may be carried from one surface to
    another. Heat kernels are chosen, rather than a perceptron of lambda, because any number of
    them is smooth and bounded by the sum of |theta_j| for every eigenvalue, also those of other
    surfaces, because nearby eigenvalues get nearby multipliers, and because their span is dense in
    the continuous functions that vanish at infinity; t = 0 adds the constants, which are local.

    Args:
        in_channels, out_channels: C and C'.
        times: t_j, different, at least 0, in units of area; for a surface of area A, from A / 1000
            to A / 10 is a good range.
        bias: whether b is there.
        device, dtype: of the weights.

    Attributes:
        weight: theta ``(J, C', C)``.

    Shapes: ``layer(x, surface)`` with x ``(n, C)``; returns ``(n, C')``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: negative, equal or no times, shapes or devices that do not fit, entries that are
            not finite.

    Law tested: independent of signs and bases of eigenspaces, unless the last one is cut;
    invariant under isometry; a permutation of the vertices permutes; :class:`SpectralConv` is the
    control. Chapter: ``geodesics``.

    >>> heat = SpectralFilter(1, 1, times=[0.0, 1.0], dtype=torch.float64)
    >>> nn.init.ones_(heat.weight)
    Parameter containing:
    tensor([[[1.]],
    <BLANKLINE>
            [[1.]]], dtype=torch.float64, requires_grad=True)
    >>> heat.response(torch.tensor([0.0, 1.0], dtype=torch.float64)).flatten().tolist()
    [2.0, 1.3678794411714423]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        times: Iterable[float],
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.in_channels = check.integer("in_channels", in_channels, 1)
        self.out_channels = check.integer("out_channels", out_channels, 1)
        made = parts.made(device, dtype)
        self.times = Constant(_times(times, made["dtype"]), **made)
        count = len(self.times())
        self.weight = nn.Parameter(torch.empty(count, out_channels, in_channels, **made))
        self.bias = parts.bias(out_channels, bias, made)
        parts.glorot(self.weight)

    def response(self, values: Tensor) -> Tensor:
        """The multipliers g(lambda) ``(k, C', C)`` at eigenvalues ``(k,)``."""
        values = _eigenvalues(values, self.weight)
        # A cast of the layer may have turned a long time into infinity.
        kernels = torch.exp(-values[:, None] * check.finite("times", self.times()))
        return torch.einsum("kj,joi->koi", kernels, self.weight)

    def forward(self, x: Tensor, surface: SurfaceOperators) -> Tensor:
        x = parts.features("x", x, surface, self.in_channels, self.weight)
        with full_precision(x.device):
            multipliers = self.response(surface.values)
        return parts.shifted(_multiplied(surface, x, multipliers), self.bias)


class ChebConv(nn.Module):
    r"""A polynomial of the Laplacian, in Chebyshev form: no eigenvectors, and local.

        y = sum_j theta_j T_j(S) x + b,   j = 0 .. order,     S = (2 / b_max) M^-1 L - I
        T_0 = I,   T_1 = S,   T_j = 2 S T_{j-1} - T_{j-2}

    b_max bounds the eigenvalues of M^-1 L, so that S has them in [-1, 1], where every T_j is at
    most 1. It is Gershgorin's bound, which the surface computes without an eigenvector; it grows
    as the mesh is refined, and so the same weights mean other distances on a finer mesh.

    Args:
        in_channels, out_channels: C and C'.
        order: the degree of the polynomial, at least 0. (``K`` of PyTorch Geometric's ``ChebConv``
            counts terms, and is one more.)
        bias: whether b is there.
        device, dtype: of the weights.

    Attributes:
        weight: theta ``(order + 1, C', C)``.

    Shapes: ``layer(x, surface)`` with x ``(n, C)``; returns ``(n, C')``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes or devices that do not fit, entries that are not finite.

    Law tested: a vertex is heard ``order`` rings away and no further; equal to the polynomial of
    the dense matrix, and to that of the eigenvalues in a complete eigenbasis; invariant under
    isometry; a permutation of the vertices permutes. Source: Defferrard, Bresson and Vandergheynst,
    Convolutional Neural Networks on Graphs with Fast Localized Spectral Filtering, NeurIPS 2016.
    Chapter: ``geodesics``.

    >>> from gdl.geodesics.mesh import Mesh
    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> surface = SurfaceOperators.from_mesh(square, 1).to(dtype=torch.float32)
    >>> ChebConv(2, 5, order=3)(torch.ones(4, 2), surface).shape
    torch.Size([4, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        order: int,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.in_channels = check.integer("in_channels", in_channels, 1)
        self.out_channels = check.integer("out_channels", out_channels, 1)
        self.order = check.integer("order", order)
        made = parts.made(device, dtype)
        self.weight = nn.Parameter(torch.empty(order + 1, out_channels, in_channels, **made))
        self.bias = parts.bias(out_channels, bias, made)
        parts.glorot(self.weight)

    def response(self, values: Tensor, bound: float) -> Tensor:
        """The multipliers ``(k, C', C)`` at eigenvalues ``(k,)`` that the bound scales."""
        values = _eigenvalues(values, self.weight)
        scaled = 2 / check.positive("bound", bound) * values[:, None] - 1
        terms = _chebyshev(torch.ones_like(scaled), lambda u: scaled * u, self.order)
        return torch.einsum("kj,joi->koi", torch.cat(terms, dim=1), self.weight)

    def forward(self, x: Tensor, surface: SurfaceOperators) -> Tensor:
        x = parts.features("x", x, surface, self.in_channels, self.weight)
        scale = 2 / surface.spectral_bound
        with full_precision(x.device):
            terms = _chebyshev(x, lambda u: scale * surface.apply_laplacian(u) - u, self.order)
            mixed = self.weight.transpose(0, 1).flatten(1)
            return parts.shifted(torch.cat(terms, dim=1) @ mixed.T, self.bias)


def _chebyshev(first: Tensor, step: Callable[[Tensor], Tensor], order: int) -> list[Tensor]:
    """T_0 u, T_1 u, ... for u = ``first`` and the operator ``step``."""
    terms = [first, step(first)][: order + 1]
    while len(terms) <= order:
        terms.append(2 * step(terms[-1]) - terms[-2])
    return terms


def _multiplied(surface: SurfaceOperators, f: Tensor, multipliers: Tensor) -> Tensor:
    with full_precision(f.device):
        vectors = surface.vectors[:, : len(multipliers)]
        coefficients = vectors.T @ (surface.areas[:, None] * f)
        if multipliers.ndim == 1:
            return vectors @ (multipliers[:, None] * coefficients)
        return vectors @ torch.einsum("koi,ki->ko", multipliers, coefficients)


def _require_multipliers(surface: SurfaceOperators, f: Tensor, multipliers: Tensor) -> None:
    check.finite("multipliers", multipliers)
    channels = f.shape[1]
    if multipliers.ndim not in (1, 3) or multipliers.shape[2:] not in ((), (channels,)):
        raise ValueError(
            f"multipliers: expected shape (K,) or (K, C', {channels}), "
            f"got {tuple(multipliers.shape)}"
        )
    if not 0 < len(multipliers) <= surface.num_modes:
        raise ValueError(
            f"multipliers: expected 1 to {surface.num_modes} as there are modes, "
            f"got {len(multipliers)}"
        )


def _eigenvalues(values: Tensor, weight: Tensor) -> Tensor:
    check.floating("values", values)
    if values.ndim != 1:
        raise ValueError(f"values: expected shape (k,), got {tuple(values.shape)}")
    return check.finite("values", check.typed("values", values, weight.dtype))


def _times(times: Iterable[float], dtype: torch.dtype | None) -> Tensor:
    """The times in float64, if they are finite and different in the dtype of the layer."""
    if isinstance(times, Tensor):
        times = require.numbers("times", times, times.numel()).tolist()
    if not isinstance(times, Iterable):
        raise TypeError(f"times: expected numbers, got {type(times).__name__}")
    read = [check.number("times", time, 0) for time in times]
    exact = torch.tensor(read, dtype=torch.float64, device="cpu")
    rounded = check.finite("times", exact.to(dtype or torch.get_default_dtype()))
    if not read or len(rounded.unique()) < len(read):
        raise ValueError(f"times: expected different times, at least one, got {rounded.tolist()}")
    return exact
