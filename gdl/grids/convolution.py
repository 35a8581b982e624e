"""Convolution on a periodic grid, and the local layer without weight sharing to compare it with."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gdl.grids._checks as check
from gdl.grids.circulants import as_matrix


def circular_pad(x: Tensor, kernel_size: tuple[int, ...], dilation: int = 1) -> Tensor:
    r"""Wrap the spatial axes of x (N, C, *size) so that a kernel fits around every point.

    A kernel of K taps at dilation d reaches from -left to d (K-1) - left with left = d (K-1) // 2,
    as ``padding="same"`` in torch: centred for odd K, one tap further to the right for even K.

    Args:
        x: (N, C, *size).
        kernel_size: taps, one int per spatial axis.
        dilation: the distance d between taps.

    Returns:
        (N, C, *(size + d (K-1))), of which position q holds x at (q - left) mod size.

    Raises:
        ValueError: the kernel wraps more than once around the field.

    Law: a convolution of the result commutes with every shift. Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> circular_pad(torch.tensor([[[1.0, 2.0, 3.0]]]), (4,))
    tensor([[[3., 1., 2., 3., 1., 2.]]])
    """
    reach = [dilation * (k - 1) for k in kernel_size]
    if any(r - r // 2 > n for r, n in zip(reach, x.shape[2:], strict=True)):
        raise ValueError(
            f"x: a kernel of extent {tuple(r + 1 for r in reach)} wraps more than once around a "
            f"field of shape {tuple(x.shape)}"
        )
    pads = [amount for r in reversed(reach) for amount in (r // 2, r - r // 2)]
    return F.pad(x, pads, mode="circular")


def circular_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    dilation: int = 1,
    groups: int = 1,
    method: str = "direct",
) -> Tensor:
    r"""Circular convolution of channels, y_o(p) = b_o + sum_i sum_k w_oi(k) x_i(p + d k - left).

    Args:
        x: (N, C_in, n) or (N, C_in, h, w).
        weight: (C_out, C_in / groups, K) or (C_out, C_in / groups, K, L).
        bias: (C_out,) or None.
        dilation, groups: as in torch.nn.Conv2d.
        method: "direct" pads and calls torch's convolution, O(size K) per channel pair; "fft"
            multiplies spectra, O(size log size) per channel and independent of K.

    Returns:
        (N, C_out, *size): the size is kept, and left = d (K-1) // 2.

    Raises:
        TypeError: x or weight is no real floating-point tensor, dilation or groups no int.
        ValueError: shapes that do not match, dilation or groups below 1, groups that do not divide
            the output channels, an unknown method, or, for "direct", a kernel that wraps more than
            once around the field.

    Laws: commutes with every shift; both methods agree. Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    >>> circular_conv(x, torch.tensor([[[1.0, 0.0, 0.0]]]))
    tensor([[[4., 1., 2., 3.]]])
    """
    check.real_tensor("weight", weight)
    if weight.ndim not in (3, 4):
        raise ValueError(f"weight: expected 3 or 4 axes, got shape {tuple(weight.shape)}")
    check.positive_int("dilation", dilation)
    check.positive_int("groups", groups)
    check.one_of("method", method, ("direct", "fft"))
    dims = weight.ndim - 2
    check.field("x", x, dims, weight.shape[1] * groups)
    if weight.shape[0] % groups:
        raise ValueError(f"groups: {groups} does not divide {weight.shape[0]} output channels")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias: expected {tuple(weight.shape[:1])}, got {tuple(bias.shape)}")
    if method == "fft" and len(x) > 0:
        return _fft_conv(x, weight, bias, dilation, groups)
    conv = F.conv1d if dims == 1 else F.conv2d
    padded = circular_pad(x, weight.shape[2:], dilation)
    return conv(padded, weight, bias, dilation=dilation, groups=groups)


def _fft_conv(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int, groups: int) -> Tensor:
    size, axes = x.shape[2:], tuple(range(2, x.ndim))
    # Half precision has no FFT on the CPU, and too few digits for one elsewhere.
    dtype = torch.promote_types(torch.promote_types(x.dtype, weight.dtype), torch.float32)
    on_grid = weight.to(dtype)
    for axis, n in zip(axes, size, strict=True):
        on_grid = _wrapped(on_grid, axis, n, dilation)
    response = torch.fft.rfftn(on_grid, dim=axes).conj().unflatten(0, (groups, -1))
    spectrum = torch.fft.rfftn(x.to(dtype), dim=axes).unflatten(1, (groups, weight.shape[1]))
    product = torch.einsum("ngi...,goi...->ngo...", spectrum, response).flatten(1, 2)
    y = torch.fft.irfftn(product, s=size, dim=axes)
    return y if bias is None else y + bias.to(dtype).reshape(-1, *[1] * len(size))


def _wrapped(weight: Tensor, axis: int, n: int, dilation: int) -> Tensor:
    """The taps along an axis at their places on n points; taps that meet are added."""
    taps = weight.shape[axis]
    place = dilation * torch.arange(taps, device=weight.device) - dilation * (taps - 1) // 2
    shape = [*weight.shape[:axis], n, *weight.shape[axis + 1 :]]
    return weight.new_zeros(shape).index_add(axis, place.remainder(n), weight)


class CircularConv(nn.Module):
    r"""A convolution layer that commutes with every shift of a periodic grid.

    The arguments are those of torch.nn.Conv1d and Conv2d, without stride and padding: a stride
    commutes with fewer shifts (see ``PolyphaseDownsample``), and the padding is always circular.
    With a kernel as large as the grid, its maps are all the maps that commute with the shifts; with
    a smaller kernel, all those of that support.

    Args:
        in_channels, out_channels: fields in and out.
        kernel_size: taps, an int or one int per axis; odd kernels are centred, even ones reach one
            tap further to the right, as ``padding="same"`` does.
        dims: 1 for (N, C, n), 2 for (N, C, h, w).
        dilation, groups, bias, device, dtype: as in torch.nn.Conv2d.
        method: "direct" or "fft", see ``circular_conv``.

    Raises:
        TypeError: a count that is no int; when called, an x that is no real tensor.
        ValueError: a count below 1, groups that do not divide the channels, dims or method unknown;
            when called, an x of the wrong shape, or too small for the kernel.

    Laws: equivariance to every shift; the matrix lies in the span of the commutant of the shifts;
    equal to torch's convolution with padding_mode="circular". Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> layer = CircularConv(3, 8, 5)
    >>> layer(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 8, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        *,
        dims: int = 2,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        method: str = "direct",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check.one_of("dims", dims, (1, 2))
        check.one_of("method", method, ("direct", "fft"))
        self.in_channels = check.positive_int("in_channels", in_channels)
        self.out_channels = check.positive_int("out_channels", out_channels)
        self.kernel_size = _kernel_tuple(kernel_size, dims)
        self.dilation = check.positive_int("dilation", dilation)
        self.groups = check.positive_int("groups", groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups: {groups} does not divide {in_channels} input and "
                f"{out_channels} output channels"
            )
        self.method = method
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = None
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias uniformly within 1 / sqrt(fan in), as torch.nn.Conv2d does."""
        bound = 1 / math.sqrt(self.weight[0].numel())
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, *size) to (N, out_channels, *size)."""
        return circular_conv(
            x,
            self.weight,
            self.bias,
            dilation=self.dilation,
            groups=self.groups,
            method=self.method,
        )

    def as_matrix(self, size: int | tuple[int, ...]) -> Tensor:
        """The matrix (out_channels * points, in_channels * points) on a grid, without bias.

        Args:
            size: of the grid, an int or one int per axis.

        Raises:
            TypeError: a size that is no int.
            ValueError: the wrong number of sizes, a size below 1 or too small for the kernel.
        """
        size = check.size_tuple("size", size, (len(self.kernel_size),))

        def linear(x: Tensor) -> Tensor:
            return circular_conv(
                x, self.weight, dilation=self.dilation, groups=self.groups, method=self.method
            )

        weight = self.weight
        shape = (self.in_channels, *size)
        return as_matrix(linear, shape, dtype=weight.dtype, device=weight.device)

    def to_conv(self) -> nn.Conv1d | nn.Conv2d:
        """The same layer as a plain torch.nn.Conv1d or Conv2d that shares nothing with this one.

        Law: both layers have the same values, on every grid that the kernel fits.
        """
        plain = nn.Conv1d if len(self.kernel_size) == 1 else nn.Conv2d
        conv = plain(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            padding="same",
            padding_mode="circular",
            dilation=self.dilation,
            groups=self.groups,
            bias=self.bias is not None,
            device=self.weight.device,
            dtype=self.weight.dtype,
        )
        conv.load_state_dict(self.state_dict())
        return conv

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}, "
            f"method={self.method!r}"
        )


class LocallyConnected2d(nn.Module):
    r"""A local layer with a kernel of its own at every point: locality without weight sharing.

    y_o(p) = b_o(p) + sum_i sum_k w_oi(k; p) x_i(p + k - left), with the periodic boundary and the
    centring of ``CircularConv``. It has as many times more parameters as the grid has points.

    Args:
        in_channels, out_channels, kernel_size, bias, device, dtype: as in ``CircularConv``.
        size: the grid, (h, w).

    Raises:
        TypeError: a count that is no int; when called, an x that is no real tensor.
        ValueError: a count below 1; when called, an x of another shape, or a kernel that wraps more
            than once around the grid.

    Law: equal to ``CircularConv`` when all its kernels are equal. Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> layer = LocallyConnected2d(1, 2, 3, size=(4, 4))
    >>> sum(p.numel() for p in layer.parameters())  # (9 + 1) * 2 at each of 16 points
    320
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        size: tuple[int, int],
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = check.positive_int("in_channels", in_channels)
        self.out_channels = check.positive_int("out_channels", out_channels)
        self.kernel_size = _kernel_tuple(kernel_size, 2)
        self.size = check.size_tuple("size", size, (2,))
        fan_in, points = in_channels * math.prod(self.kernel_size), math.prod(self.size)
        bound = 1 / math.sqrt(fan_in)
        weight = torch.empty(out_channels, fan_in, points, device=device, dtype=dtype)
        self.weight = nn.Parameter(weight.uniform_(-bound, bound))
        self.bias = None
        if bias:
            offset = torch.empty(out_channels, *self.size, device=device, dtype=dtype)
            self.bias = nn.Parameter(offset.uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, h, w) to (N, out_channels, h, w)."""
        check.field("x", x, 2, self.in_channels)
        if x.shape[2:] != self.size:
            raise ValueError(f"x: expected a field of size {self.size}, got shape {tuple(x.shape)}")
        patches = F.unfold(circular_pad(x, self.kernel_size), self.kernel_size)
        y = torch.einsum("nkp,okp->nop", patches, self.weight).unflatten(2, self.size)
        return y if self.bias is None else y + self.bias


def _kernel_tuple(kernel_size: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    """A kernel size as one positive int per axis."""
    sizes = (kernel_size,) * dims if isinstance(kernel_size, int) else kernel_size
    return check.size_tuple("kernel_size", sizes, (dims,))
