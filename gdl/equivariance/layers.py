r"""The slow universal layer: coefficients times the basis that the solver found.

Chapter: ``one_equation``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gdl.equivariance.basis import Basis, _require_shape
from gdl.equivariance.solver import equivariant_basis
from gdl.representations import Representation, trivial
from gdl.representations.images import _positive


class EquivariantLinear(nn.Module):
    r"""The most general equivariant affine layer, ``y_o = sum_i W_oi x_i + b_o``.

    Every ``W_oi`` is a combination of the basis of ``Hom(rho_in, rho_out)``, and every bias one of
    the basis of ``Hom(trivial, rho_out)``. It serves as the reference that a fast layer must equal.

    Args:
        rho_in: representation on one input channel, dimension ``d_in``.
        rho_out: representation on one output channel, dimension ``d_out``.
        in_channels: number of copies of rho_in.
        out_channels: number of copies of rho_out.
        bias: whether to add the equivariant bias.
        support: bool ``(d_out, d_in)``, where the maps may be non-zero.
        method: back end of the solver.
        device: as in torch.nn.Linear.
        dtype: as in torch.nn.Linear; the basis is solved in float64 and stored in this dtype.

    Shapes: ``(..., in_channels, d_in) -> (..., out_channels, d_out)``.

    Raises:
        TypeError: channels that are no integers, a dtype or an input that is not floating-point.
        ValueError: channels that are not positive, representations without a common map, an input
            of another shape; and what ``equivariant_basis`` raises.

    Law tested: ``layer(rho_in(g) x) = rho_out(g) layer(x)`` for random elements; the number of
    weights is ``in_channels * out_channels * dim Hom``. Source: Finzi, Welling, Wilson 2021,
    section 4. Chapter: ``one_equation``.

    >>> from gdl.representations import symmetric
    >>> layer = EquivariantLinear(symmetric(5).defining, symmetric(5).defining, 2, 3)
    >>> layer.weight.shape, layer(torch.randn(7, 2, 5)).shape
    (torch.Size([3, 2, 2]), torch.Size([7, 3, 5]))
    """

    def __init__(
        self,
        rho_in: Representation,
        rho_out: Representation,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        bias: bool = True,
        support: Tensor | None = None,
        method: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        _positive("in_channels", in_channels)
        _positive("out_channels", out_channels)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(f"dtype: expected a floating-point type, got {dtype}")
        basis = equivariant_basis(rho_in, rho_out, support=support, method=method)
        if not len(basis):
            raise ValueError(f"rho_in, rho_out: no equivariant map from {rho_in} to {rho_out}")
        self.in_shape, self.out_dim = (in_channels, rho_in.dim), rho_out.dim
        factory = {"device": device, "dtype": dtype}
        self.maps = Expansion(basis, **factory)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, len(basis), **factory))
        biases = equivariant_basis(trivial(rho_out.group), rho_out) if bias else ()
        if len(biases):
            self.bias_maps = Expansion(biases, **factory)
            self.bias = nn.Parameter(torch.empty(out_channels, len(biases), **factory))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights that keep the variance of white inputs; biases zero."""
        weights = self.weight.shape[1] * self.weight.shape[2]
        nn.init.normal_(self.weight, std=math.sqrt(self.out_dim / weights))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def matrix(self) -> Tensor:
        """The maps ``W``, shape ``(out_channels, in_channels, d_out, d_in)``."""
        return self.maps(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        _require_shape("x", x, self.in_shape)
        y = torch.einsum("oiab,...ib->...oa", self.matrix(), x)
        return y if self.bias is None else y + self.bias_maps(self.bias)[..., 0]


class Expansion(nn.Module):
    r"""A basis inside a layer: coefficients ``c`` in, the map ``sum_k c_k b_k`` out.

    The maps are buffers, so that they follow the layer to its device and dtype. They are no part of
    the state dict: a checkpoint holds coefficients only. The exact basis is kept beside them,
    because a cast from float32 to float64 would keep the rounding of float32.

    Args:
        basis: a ``Basis``, or maps ``(r, d_out, d_in)`` that need not be orthonormal.
        device: of the buffers.
        dtype: of the buffers, by default torch's; the basis itself stays float64.

    Shapes: ``(..., r) -> (..., d_out, d_in)``.

    Raises: TypeError for a basis that is neither; ValueError for maps of another shape.
    Law tested: equal to ``Basis.combine``; exact in float64 after a detour through float32.
    Chapter: ``one_equation``.

    >>> from gdl.equivariance import equivariant_basis
    >>> from gdl.representations import cyclic, regular
    >>> maps = Expansion(equivariant_basis(regular(cyclic(3)), regular(cyclic(3))))
    >>> maps(torch.ones(2, 3)).shape
    torch.Size([2, 3, 3])
    """

    def __init__(
        self,
        basis: Basis | Tensor,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if isinstance(basis, Tensor):
            basis = Basis(stack=basis.detach().to("cpu", torch.float64), method="given")
        if not isinstance(basis, Basis):
            raise TypeError(f"basis: expected a Basis or a tensor, got {type(basis).__name__}")
        self.by_orbit, self.shape, self.count = basis.labels is not None, basis.shape, len(basis)
        if self.by_orbit:
            # One extra slot holds the zero of the entries outside the support.
            labels = torch.where(basis.labels < 0, len(basis), basis.labels)
            scale = basis.sizes.to(torch.float64).rsqrt()
            self._exact = {"labels": labels.reshape(-1), "scale": scale}
        else:
            self._exact = {"stack": basis.stack.flatten(1)}
        dtype = dtype or torch.get_default_dtype()
        device = torch.get_default_device() if device is None else device
        for name, value in self._exact.items():
            cast = value.to(device, dtype if value.is_floating_point() else value.dtype)
            self.register_buffer(name, cast, persistent=False)

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        for name, value in self._exact.items():
            setattr(self, name, value.to(getattr(self, name)))
        return self

    def forward(self, coefficients: Tensor) -> Tensor:
        if self.by_orbit:
            padded = nn.functional.pad(coefficients * self.scale, (0, 1))
            maps = padded.index_select(-1, self.labels)
        else:
            maps = coefficients @ self.stack
        return maps.unflatten(-1, self.shape)

    def maps(self) -> Tensor:
        """All maps, ``(r, d_out, d_in)``, in the dtype and on the device of the layer."""
        like = self.scale if self.by_orbit else self.stack
        return self(torch.eye(self.count, dtype=like.dtype, device=like.device))
