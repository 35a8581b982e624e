r"""Relaxed equivariance: any weights, and the distance from those that solve the equation.

Chapter: ``zoo``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.equivariance import Expansion, equivariant_basis
from gdl.representations import Representation, trivial


class RelaxedLinear(nn.Module):
    r"""A dense layer that knows how far it is from the solutions of the equation.

        y_o = sum_i W_oi x_i + b_o,      d(W, b)^2 = |W - P W|^2 + |b - P b|^2

    P is the orthogonal projector onto the equivariant maps. A loss with the penalty ``t d^2`` has
    the dense layer at t = 0 and tends to the equivariant one as t grows. The penalty equals that of
    two layers in parallel, an equivariant one that is free and a dense one that costs its squared
    weights, with the sum shared between them at the least cost.

    Args:
        rho_in: representation on one input channel, dimension ``d_in``.
        rho_out: representation on one output channel, dimension ``d_out``.
        in_channels: number of copies of rho_in.
        out_channels: number of copies of rho_out.
        device: as in torch.nn.Linear.
        dtype: as in torch.nn.Linear.

    Attributes:
        weight: ``(out_channels, in_channels, d_out, d_in)``.
        bias: ``(out_channels, d_out)``.

    Shapes: ``(..., in_channels, d_in) -> (..., out_channels, d_out)``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: channels that are not positive, an input of another shape, representations of
            two groups.

    Law tested: the layer starts as an equivariant one, and the projection makes it one again and
    changes no equivariant one; the distance is that of least squares on the basis; minimisers of a
    squared loss with the penalty tend to the dense and to the equivariant solution at both ends.
    Source: the two parallel layers are those of Finzi, Benton, Wilson 2021. Chapter: ``zoo``.

    >>> from gdl.representations import cyclic
    >>> rho = cyclic(4).defining
    >>> layer = RelaxedLinear(rho, rho, 1, 2)
    >>> layer(torch.randn(7, 1, 4)).shape, bool(layer.squared_distance() < 1e-10)
    (torch.Size([7, 2, 4]), True)
    """

    def __init__(
        self,
        rho_in: Representation,
        rho_out: Representation,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        check.integer("in_channels", in_channels, 1)
        check.integer("out_channels", out_channels, 1)
        dtype = check.real_dtype(torch.get_default_dtype() if dtype is None else dtype)
        maps = equivariant_basis(rho_in, rho_out)
        biases = equivariant_basis(trivial(rho_out.group), rho_out)
        factory = {"device": device, "dtype": dtype}
        self.maps, self.bias_maps = Expansion(maps, **factory), Expansion(biases, **factory)
        size = (out_channels, in_channels, rho_out.dim, rho_in.dim)
        self.weight = nn.Parameter(torch.empty(size, **factory))
        self.bias = nn.Parameter(torch.empty(size[0], size[2], **factory))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights of an equivariant layer, with the size that keeps variances; biases zero."""
        _, inputs, out_dim, _ = self.weight.shape
        nn.init.zeros_(self.bias)
        count = self.maps.count
        scale = math.sqrt(out_dim / (inputs * count)) if count else 0.0
        with torch.no_grad():
            c = scale * torch.randn(*self.weight.shape[:2], count).to(self.weight)
            self.weight.copy_(self.maps(c))

    def projected(self) -> tuple[Tensor, Tensor]:
        """The nearest equivariant weight and bias, in the shapes of both."""
        weight = _onto(self.maps, self.weight)
        return weight, _onto(self.bias_maps, self.bias[..., None])[..., 0]

    def squared_distance(self) -> Tensor:
        """``|W - P W|^2 + |b - P b|^2``, a scalar, differentiable."""
        weight, bias = self.projected()
        return (self.weight - weight).square().sum() + (self.bias - bias).square().sum()

    def forward(self, x: Tensor) -> Tensor:
        _, inputs, _, d_in = self.weight.shape
        check.shaped("x", check.typed("x", x, self.weight.dtype), inputs, d_in)
        return torch.einsum("oiab,...ib->...oa", self.weight, x) + self.bias

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        outputs, inputs, d_out, d_in = self.weight.shape
        return f"{inputs} x {d_in} -> {outputs} x {d_out}, equivariant maps={self.maps.count}"


def _onto(maps: Expansion, W: Tensor) -> Tensor:
    """The orthogonal projection of ``(..., d_out, d_in)`` onto the span of orthonormal maps."""
    return maps(W.flatten(-2) @ maps.maps().flatten(1).T)
