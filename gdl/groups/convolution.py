r"""Convolutions of feature fields: the lifting layer, the group convolution, and what they share.

A map of fields that commutes with the shifts and with a group H that fixes the origin is a
convolution whose kernel obeys ``K(h x) = rho_out(h) K(x) rho_in(h)^-1``. The layer keeps the
coefficients of K in a basis of these kernels, expands them, and calls torch's convolution.

Chapter: ``groups``.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gdl.groups._checks as check
from gdl.equivariance import Basis, Expansion, equivariant_basis, full_precision, kernel_space
from gdl.groups.plane import Lattice, acts_on_grid, lattice_of, offsets, plane
from gdl.representations import Group, Representation, regular, trivial

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class FieldConv2d(nn.Module):
    r"""A convolution of feature fields whose kernels are combinations of given ones.

        y_o(p) = b_o + sum_i sum_x K_oi(x) f_i(s p + d x),    K_oi = sum_k w_oik B_k

    ``LiftingConv2d``, ``GroupConv2d`` and ``SteerableConv2d`` choose the kernels B_k; everything
    else is here. Arguments, shapes and behaviour are those of ``torch.nn.Conv2d``, but that a
    channel counts a whole field: the tensor has ``channels * rho.dim`` channels, the entries of a
    fibre next to each other.

    Args:
        in_channels, out_channels: fields in and out.
        kernel_size: K, or (rows, columns); even sizes are centred between pixels.
        rho_in, rho_out: representations on the fibres, ``d_in`` and ``d_out``.
        kernels: maps ``(r, d_out, d_in * rows * columns)``, a tensor or a ``Basis``; taken as they
            are, so that a broken twin can be built.
        stride, padding, dilation, groups, bias, padding_mode, device, dtype: as in
            ``torch.nn.Conv2d``; padding may be "valid" or "same". The bias is invariant: one number
            for each copy of the trivial representation in ``rho_out``.
        exact: refuse images and strides that the group does not map to themselves. With False
            they are taken, and the symmetry may break.

    Shapes: ``(B, in_channels * d_in, h, w) -> (B, out_channels * d_out, h', w')``, or without B.

    Raises:
        TypeError: a count that is no int, an input that is no real tensor.
        ValueError: counts out of range, groups that do not divide the channels, kernels of another
            shape, no kernel at all; when called, an input of the wrong shape, or one that breaks
            the symmetry, with the reason and the cure.

    Laws tested: ``f(g.x) = g.f(x)`` for all elements and products, with a bias; equal to
    ``to_conv2d()``. Source: Cohen, Geiger, Weiler 2019. Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> one = trivial(cyclic(4))
    >>> mean = torch.full((1, 1, 9), 1 / 9)
    >>> layer = FieldConv2d(2, 3, 3, one, one, mean)
    >>> layer.weight.shape, layer(torch.zeros(1, 2, 8, 8)).shape
    (torch.Size([3, 2, 1]), torch.Size([1, 3, 6, 6]))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        rho_in: Representation,
        rho_out: Representation,
        kernels: Basis | Tensor,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        exact: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.in_channels = check.integer("in_channels", in_channels, 1)
        self.out_channels = check.integer("out_channels", out_channels, 1)
        self.groups = check.integer("groups", groups, 1)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups: {groups} does not divide {in_channels} input and {out_channels} output "
                "fields"
            )
        self.rho_in = check.representation("rho_in", rho_in)
        self.rho_out = check.representation("rho_out", rho_out, rho_in.group)
        # Bases are solved on the CPU, whatever device layers are being made on.
        with torch.device("cpu"):
            self.lattice = lattice_of("rho_in", rho_in)
            invariants = equivariant_basis(trivial(rho_out.group), rho_out) if bias else ()
        check.one_of("padding_mode", padding_mode, PADDING_MODES)
        check.real_dtype(dtype)
        self.exact, self.padding_mode = exact, padding_mode
        self.kernel_size = check.pair("kernel_size", kernel_size, 1)
        self.stride = self._symmetric("stride", stride, 1)
        self.dilation = self._symmetric("dilation", dilation, 1)
        self.padding = self._padding(padding)
        factory = {"device": device, "dtype": dtype}
        self.expansion = Expansion(self._required_kernels(kernels), **factory)
        shape = (out_channels, in_channels // groups, self.expansion.count)
        self.weight = nn.Parameter(torch.empty(shape, **factory))
        if len(invariants):
            self.bias_expansion = Expansion(invariants, **factory)
            self.bias = nn.Parameter(torch.empty(out_channels, len(invariants), **factory))
        else:
            self.register_parameter("bias", None)
        self._cached: tuple | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights that keep the variance of white inputs, and a bias as ``Conv2d`` does."""
        kernels, fields = self.expansion.count, self.weight.shape[1]
        taps = fields * self.rho_in.dim * math.prod(self.kernel_size)
        nn.init.normal_(self.weight, std=math.sqrt(self.rho_out.dim / (kernels * fields)))
        if self.bias is not None:
            nn.init.uniform_(self.bias, -1 / math.sqrt(taps), 1 / math.sqrt(taps))

    def kernel(self) -> Tensor:
        """The expanded kernel, ``(out_channels d_out, in_channels d_in / groups, rows, columns)``.

        The layer itself keeps an expanded kernel in eval mode, when no gradient is needed, as long
        as the weights have the same values.
        """
        return self._expand()[0]

    def forward(self, x: Tensor) -> Tensor:
        check.field("x", x, self.rho_in.dim, self.in_channels)
        reach = self._reach()
        if any(n + 2 * p < r for n, p, r in zip(x.shape[-2:], self.padding, reach, strict=True)):
            raise ValueError(
                f"x: a kernel that reaches over {reach} pixels does not fit into shape "
                f"{tuple(x.shape)} with padding {self.padding}"
            )
        if self.exact:
            size = (x.shape[-2], x.shape[-1])
            window = (self.kernel_size, self.stride, self.padding, self.dilation)
            self.lattice.require(size, *window)
        kernel, bias = self._expanded()
        padding = self.padding
        if self.padding_mode != "zeros" and any(padding):
            down, right = padding
            x, padding = F.pad(x, (right, right, down, down), mode=self.padding_mode), (0, 0)
        return F.conv2d(x, kernel, bias, self.stride, padding, self.dilation, self.groups)

    def to_conv2d(self) -> nn.Conv2d:
        """The same map as a plain ``torch.nn.Conv2d``, for inference: it shares nothing with this.

        Law tested: both have the same values; a ``Conv2d`` does not refuse unfit images.
        """
        with torch.inference_mode(False), torch.no_grad():
            kernel, bias = self._expand()
            conv = nn.Conv2d(
                self.in_channels * self.rho_in.dim,
                self.out_channels * self.rho_out.dim,
                self.kernel_size,
                self.stride,
                self.padding,
                self.dilation,
                self.groups,
                bias is not None,
                self.padding_mode,
                device=kernel.device,
                dtype=kernel.dtype,
            )
            state = {"weight": kernel} if bias is None else {"weight": kernel, "bias": bias}
            conv.load_state_dict(state)
        return conv.train(self.training)

    def train(self, mode: bool = True) -> FieldConv2d:
        """As ``torch.nn.Module.train``; forgets the kept kernel."""
        self._cached = None
        return super().train(mode)

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        return (
            f"{self.in_channels} x {self.rho_in.name}, {self.out_channels} x {self.rho_out.name}, "
            f"group={self.rho_in.group.name}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, kernels={self.expansion.count}"
        )

    def __getstate__(self) -> dict:
        """What is copied and pickled: everything but the kept kernel."""
        return self.__dict__ | {"_cached": None}

    def _apply(self, fn, recurse=True):
        self._cached = None
        return super()._apply(fn, recurse)

    def _expanded(self) -> tuple[Tensor, Tensor | None]:
        """Kernel and bias, from the cache where that is safe."""
        weights = [self.weight] if self.bias is None else [self.weight, self.bias]
        # Tensors in place of parameters come from pruning, parametrisations, replicas and vmap.
        plain = all(type(w) is nn.Parameter for w in weights)
        learns = torch.is_grad_enabled() and any(w.requires_grad for w in weights)
        if self.training or learns or not plain or torch.compiler.is_compiling():
            return self._expand()
        if self._cached is None or not all(map(_same, self._cached[0], weights)):
            # An inference tensor could not take part in a later backward pass to the input.
            with torch.inference_mode(False), torch.no_grad():
                expanded = self._expand()
                if type(expanded[0]) is not Tensor or expanded[0].is_meta:
                    return expanded
                self._cached = ([w.detach().clone() for w in weights], expanded)
        return self._cached[1]

    def _expand(self) -> tuple[Tensor, Tensor | None]:
        # Autocast would round the basis to half precision before anything is summed.
        with full_precision(self.weight.device):
            maps = self.expansion(self.weight).unflatten(-1, (self.rho_in.dim, *self.kernel_size))
            kernel = maps.transpose(1, 2).flatten(2, 3).flatten(0, 1)
            if self.bias is None:
                return kernel, None
            return kernel, self.bias_expansion(self.bias).flatten()

    def _reach(self) -> tuple[int, ...]:
        """The pixels from the first to the last tap, along each axis."""
        taps = zip(self.dilation, self.kernel_size, strict=True)
        return tuple(d * (k - 1) + 1 for d, k in taps)

    def _symmetric(self, name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
        values = check.pair(name, value, least)
        if self.exact:
            self.lattice.require_equal(name, values)
        return values

    def _padding(self, padding: int | tuple[int, int] | str) -> tuple[int, int]:
        if padding == "valid":
            return (0, 0)
        if padding != "same":
            return self._symmetric("padding", padding, 0)
        if self.stride != (1, 1):
            raise ValueError(f'padding: "same" needs stride 1, got {self.stride}')
        rows, columns = (r - 1 for r in self._reach())
        if rows % 2 or columns % 2:
            raise ValueError(
                f'padding: "same" cannot be centred around a kernel that reaches over '
                f"{self._reach()} pixels; use an odd kernel, or a number"
            )
        return (rows // 2, columns // 2)

    def _required_kernels(self, kernels: Basis | Tensor) -> Basis | Tensor:
        if not isinstance(kernels, (Basis, Tensor)):
            raise TypeError(f"kernels: expected a Basis or a tensor, got {type(kernels).__name__}")
        shape = kernels.shape if isinstance(kernels, Basis) else kernels.shape[1:]
        expected = (self.rho_out.dim, self.rho_in.dim * math.prod(self.kernel_size))
        if tuple(shape) != expected:
            raise ValueError(f"kernels: expected maps of shape {expected}, got {tuple(shape)}")
        if isinstance(kernels, Tensor) and (
            kernels.is_complex() or not torch.isfinite(kernels).all()
        ):
            raise ValueError("kernels: expected finite real numbers, got complex ones, NaN or inf")
        if not len(kernels):
            raise ValueError(
                f"kernel_size: no kernel of size {self.kernel_size} maps {self.rho_in} to "
                f"{self.rho_out}"
            )
        return kernels


def _same(kept: Tensor, weight: Tensor) -> bool:
    """Whether a kept copy has the values of the weight; versions and names of tensors can lie."""
    return kept.device == weight.device and kept.dtype == weight.dtype and kept.equal(weight)


def grid_kernels(
    rho_in: Representation, rho_out: Representation, kernel_size: int | tuple[int, int]
) -> Basis:
    r"""All kernels between two fields on a grid: the kernel constraint, solved on K x K points.

    Args:
        rho_in, rho_out: representations of Z_n or D_n with n in 1, 2, 4.
        kernel_size: K, or (rows, columns) where the group keeps them.

    Returns:
        A ``Basis`` of maps ``(d_out, d_in * rows * columns)``.

    Raises: TypeError for other types; ValueError for a group that does not act on the grid, for
    representations of two groups, and for a kernel that a quarter turn does not keep.
    Law tested: the dimension is ``1/|H| sum_h Fix(h) chi_out(h) chi_in(h^-1)``; ``4 K^2`` for the
    regular representations of Z_4, ``8 K^2`` for D_4. Source: Cohen, Geiger, Weiler 2019, theorem
    3.1. Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> rho = regular(cyclic(4))
    >>> len(grid_kernels(rho, rho, 3))
    36
    """
    group = check.representation("rho_in", rho_in).group
    check.representation("rho_out", rho_out, group)
    kernel_size = check.pair("kernel_size", kernel_size, 1)
    if not acts_on_grid(group):
        raise ValueError(
            f"group: {group.name} does not map the grid of pixels to itself, expected Z_n or D_n "
            "with n = 1, 2, 4; see SteerableConv2d for other rotations"
        )
    Lattice(group).require_equal("kernel_size", kernel_size)
    return kernel_space(rho_in, rho_out, offsets(kernel_size), plane(group))


class GroupConv2d(FieldConv2d):
    r"""Group convolution on the grid, between fields of any fibre.

        (f * psi)(x, h) = sum_y sum_u psi(h^-1 (y - x), h^-1 u) f(y, u)

    for the regular representation, the default, where f(y, u) is a function on all shifts and all u
    in H. The entries ``psi(., u)`` are the kernel of the first output of each fibre,
    ``layer.kernel()[::H.order]``. With other representations the kernels are those of
    :func:`grid_kernels`: complete, so that every equivariant map of that support is such a layer.

    Args:
        in_channels, out_channels: fields in and out.
        kernel_size: K, or (rows, columns) where the group keeps them.
        group: Z_n or D_n with n in 1, 2, 4; with the shifts Z_4 is p4 and D_4 is p4m.
        rho_in, rho_out: representations of the group on the fibres; None takes the regular one.
        options: the keyword arguments of ``FieldConv2d``: stride, padding, dilation, groups, bias,
            padding_mode, exact, device, dtype.

    Raises: what ``FieldConv2d`` and :func:`grid_kernels` raise.
    Laws tested: equivariance; ``|H| K^2`` weights for each pair of regular fields; its kernels span
    the space that the solver finds; equal to the sum above, written as loops. Source: Cohen and
    Welling 2016, equation (11). Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> layer = GroupConv2d(2, 3, 3, cyclic(4), padding=1)
    >>> layer.weight.shape, layer(torch.zeros(1, 2 * 4, 9, 9)).shape
    (torch.Size([3, 2, 36]), torch.Size([1, 12, 9, 9]))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        group: Group,
        rho_in: Representation | None = None,
        rho_out: Representation | None = None,
        **options,
    ):
        check.group("group", group)
        with torch.device("cpu"):
            rho_in = regular(group) if rho_in is None else rho_in
            rho_out = regular(group) if rho_out is None else rho_out
            check.representation("rho_in", rho_in, group)
            kernels = grid_kernels(rho_in, rho_out, kernel_size)
        channels = (in_channels, out_channels)
        super().__init__(*channels, kernel_size, rho_in, rho_out, kernels, **options)


class LiftingConv2d(GroupConv2d):
    r"""The first layer: from an image, whose channels the group leaves alone, to functions on it.

        (f * psi)(x, h) = sum_y psi(h^-1 (y - x)) f(y)

    It correlates the image with every turned (and mirrored) copy of each filter.

    Args:
        in_channels: channels of the image.
        out_channels: fields.
        kernel_size, group, rho_out, options: as in ``GroupConv2d``.

    Raises: what ``GroupConv2d`` raises.
    Laws tested: equivariance; K^2 weights for each pair of a channel and a regular field. Source:
    Cohen and Welling 2016, equation (10). Chapter: ``groups``.

    >>> from gdl.representations import dihedral
    >>> LiftingConv2d(1, 6, 3, dihedral(4))(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 48, 6, 6])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        group: Group,
        rho_out: Representation | None = None,
        **options,
    ):
        with torch.device("cpu"):
            one = trivial(check.group("group", group))
        super().__init__(in_channels, out_channels, kernel_size, group, one, rho_out, **options)
