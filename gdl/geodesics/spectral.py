r"""Filters of functions on a surface that need no eigenbasis: polynomials of the Laplacian.

Chapter: ``geodesics``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import gdl._checks as check
import gdl.geodesics._layers as parts
from gdl.equivariance import full_precision
from gdl.geodesics.operators import SurfaceOperators


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


def _eigenvalues(values: Tensor, weight: Tensor) -> Tensor:
    check.floating("values", values)
    if values.ndim != 1:
        raise ValueError(f"values: expected shape (k,), got {tuple(values.shape)}")
    return check.finite("values", check.typed("values", values, weight.dtype))
