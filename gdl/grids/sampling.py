"""Coarser and finer grids: blurred strides, and strides that choose their own phase."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gdl.grids._checks as check
from gdl.grids.convolution import circular_pad


def binomial_filter(taps: int) -> Tensor:
    r"""The binomial low-pass filter, b_k = C(taps - 1, k) / 2^(taps - 1).

    Its transfer function is cos(omega / 2)^(taps - 1) in modulus, with a zero of order taps - 1 at
    the Nyquist frequency.

    Args:
        taps: the length of the filter.

    Returns:
        (taps,), float64, with sum 1.

    Raises:
        TypeError: taps is no int.
        ValueError: taps is below 1.

    Law: the rows of Pascal's triangle. Used in the chapter "grids".

    Chapter: ``grids``.

    >>> binomial_filter(3)
    tensor([0.2500, 0.5000, 0.2500], dtype=torch.float64)
    """
    order = check.positive_int("taps", taps) - 1
    row = [math.comb(order, k) for k in range(taps)]
    return torch.tensor(row, dtype=torch.float64) / 2**order


class BlurPool(nn.Module):
    r"""Blur with a binomial filter, then take every stride-th sample (Zhang 2019).

    y(p) = sum_k b_k x(s p + k - (taps - 1) // 2) along each axis, b = ``binomial_filter(taps)``.
    The blur removes the high frequencies that the stride would fold onto low ones. The layer
    commutes exactly with shifts by multiples of the stride, and with other shifts up to what is
    left of the aliasing. taps=1 is a plain stride; with taps=2 and stride=2 it is average pooling.

    Args:
        taps: length of the binomial filter, usually 2, 3 or 5.
        stride: samples kept, one in ``stride`` along each axis; it must divide the size.
        padding: "circular", or "reflect" for pictures, which leaves the symmetry to the interior.
        dims: 1 for (N, C, n), 2 for (N, C, h, w).

    Raises:
        TypeError: taps or stride is no int; when called, an x that is no real tensor.
        ValueError: taps or stride below 1, padding or dims unknown; when called, an x of the wrong
            shape, of a size that the stride does not divide, or too small for the filter.

    Laws: the formula; commutes with the shifts by multiples of the stride, and not with others.
    Source: Zhang, Making Convolutional Networks Shift-Invariant Again, 2019, section 3.2.
    Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> BlurPool(3, dims=1)(torch.tensor([[[0.0, 4.0, 0.0, 0.0]]]))
    tensor([[[1., 1.]]])
    """

    def __init__(
        self, taps: int = 3, stride: int = 2, *, padding: str = "circular", dims: int = 2
    ) -> None:
        super().__init__()
        check.one_of("padding", padding, ("circular", "reflect"))
        check.one_of("dims", dims, (1, 2))
        self.taps, self.dims, self.padding = check.positive_int("taps", taps), dims, padding
        self.stride = check.positive_int("stride", stride)
        line = binomial_filter(taps)
        kernel = line if dims == 1 else torch.outer(line, line)
        self.register_buffer("kernel", kernel.to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, *size) to (N, C, *size / stride)."""
        check.field("x", x, self.dims)
        check.divisible("x", x, self.dims, self.stride)
        channels, kernel = x.shape[1], self.kernel.to(x.dtype)
        kernel = kernel.expand(channels, 1, *kernel.shape)
        conv = F.conv1d if self.dims == 1 else F.conv2d
        return conv(self._pad(x), kernel, stride=self.stride, groups=channels)

    def _pad(self, x: Tensor) -> Tensor:
        if self.padding == "circular":
            return circular_pad(x, (self.taps,) * self.dims)
        reach = self.taps - 1
        if min(x.shape[2:]) <= reach - reach // 2:
            raise ValueError(f"x: {self.taps} taps reflect past a field of {tuple(x.shape)}")
        return F.pad(x, [reach // 2, reach - reach // 2] * self.dims, mode="reflect")

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        return f"taps={self.taps}, stride={self.stride}, padding={self.padding!r}, dims={self.dims}"


class PolyphaseDownsample(nn.Module):
    r"""A stride that keeps the strongest of its phases, so that it commutes with every shift.

    A field splits into stride^dims phases x[a::stride]. A shift of the field permutes the phases
    and shifts each of them on the coarse grid. Keeping the phase of largest norm, for all channels
    together, is therefore a choice that moves with the field: if the phase was a and the field is
    shifted by g, the phase becomes (a + g) mod stride and the output shifts by
    floor((a + g) / stride), a whole number of coarse points.

    Two phases of exactly equal norm are told apart by their place, which no shift respects. Random
    fields have no such ties; pictures of few grey levels can, so let a layer come first.

    Args:
        stride: it must divide the size.
        norm: the exponent p of the norm that ranks the phases.
        dims: 1 for (N, C, n), 2 for (N, C, h, w).
        return_phase: return (coarse, phase), as torch's max-pooling does with return_indices; phase
            is a long tensor (N,), row-major over the axes, for ``PolyphaseUpsample``.

    Raises:
        TypeError: stride is no int; when called, an x that is no real tensor.
        ValueError: stride below 1, norm not positive, dims unknown; when called, an x of the wrong
            shape or of a size that the stride does not divide.

    Law: for the shifted field, phase and output are those of the formula above.
    Source: Chaman and Dokmanic, Truly Shift-Invariant Convolutional Neural Networks, 2021, sec. 4.
    Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> x = torch.tensor([[[0.0, 3.0, 1.0, 4.0]]])
    >>> PolyphaseDownsample(2, dims=1)(x)
    tensor([[[3., 4.]]])
    """

    def __init__(
        self, stride: int = 2, *, norm: float = 2.0, dims: int = 2, return_phase: bool = False
    ) -> None:
        super().__init__()
        check.one_of("dims", dims, (1, 2))
        if not norm > 0:
            raise ValueError(f"norm: expected a positive exponent, got {norm}")
        self.stride = check.positive_int("stride", stride)
        self.norm, self.dims, self.return_phase = norm, dims, return_phase

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Map (N, C, *size) to (N, C, *size / stride), and to the phases if asked for."""
        check.field("x", x, self.dims)
        check.divisible("x", x, self.dims, self.stride)
        phases = _split(x, self.stride, self.dims)
        strength = torch.linalg.vector_norm(phases.detach().flatten(2), self.norm, dim=2)
        phase = strength.argmax(1)
        coarse = (phases * _indicator(phase, phases)).sum(1)
        return (coarse, phase) if self.return_phase else coarse


class PolyphaseUpsample(nn.Module):
    r"""Put a coarse field back on the phase that ``PolyphaseDownsample`` took it from.

    The other points are zero; a convolution usually follows. Down, any map that commutes with the
    coarse shifts, and up again commute exactly with every shift of the fine grid.

    Args:
        stride, dims: as for the downsampling layer.

    Raises:
        TypeError: stride is no int; when called, a y that is no real tensor.
        ValueError: stride below 1, dims unknown; when called, a y of the wrong shape, or phases
            that are not N integers in 0..stride^dims - 1.

    Laws: down, a convolution and up commute with every shift; up(down(x))
    is x on the kept phase, zero elsewhere.
    Source: Chaman and Dokmanic, Truly shift-equivariant convolutional neural networks with adaptive
    polyphase upsampling, 2021. Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> y, phase = torch.tensor([[[3.0, 4.0]]]), torch.tensor([1])
    >>> PolyphaseUpsample(2, dims=1)(y, phase)
    tensor([[[0., 3., 0., 4.]]])
    """

    def __init__(self, stride: int = 2, *, dims: int = 2) -> None:
        super().__init__()
        check.one_of("dims", dims, (1, 2))
        self.stride, self.dims = check.positive_int("stride", stride), dims

    def forward(self, y: Tensor, phase: Tensor) -> Tensor:
        """Map (N, C, *size) and (N,) to (N, C, *size * stride)."""
        check.field("y", y, self.dims)
        if phase.shape != y.shape[:1] or phase.is_floating_point():
            raise ValueError(
                f"phase: expected integers of shape {tuple(y.shape[:1])}, "
                f"got {phase.dtype} of shape {tuple(phase.shape)}"
            )
        self._check_range(phase)
        phases = y.unsqueeze(1).expand(-1, self.stride**self.dims, *[-1] * (self.dims + 1))
        return _join(phases * _indicator(phase, phases), self.stride, self.dims)

    def _check_range(self, phase: Tensor) -> None:
        count = self.stride**self.dims
        # A compiled graph cannot branch on values.
        if not torch.compiler.is_compiling() and ((phase < 0) | (phase >= count)).any():
            raise ValueError(f"phase: expected values in 0..{count - 1}, got {phase.tolist()}")


def _split(x: Tensor, stride: int, dims: int) -> Tensor:
    """(N, C, *size) -> (N, stride^dims, C, *size / stride): the phases, row-major."""
    for axis in range(dims):
        x = x.unflatten(2 + 2 * axis, (x.shape[2 + 2 * axis] // stride, stride))
    coarse, phase = range(2, x.ndim, 2), range(3, x.ndim, 2)
    return x.permute(0, *phase, 1, *coarse).flatten(1, dims)


def _join(phases: Tensor, stride: int, dims: int) -> Tensor:
    """The inverse of ``_split``."""
    x = phases.unflatten(1, (stride,) * dims)
    pairs = [axis for k in range(dims) for axis in (dims + 2 + k, 1 + k)]
    x = x.permute(0, dims + 1, *pairs)
    for axis in range(dims):
        x = x.flatten(2 + axis, 3 + axis)
    return x


def _indicator(phase: Tensor, phases: Tensor) -> Tensor:
    """1 on the chosen phase and 0 on the others, shaped to multiply ``phases``."""
    chosen = torch.arange(phases.shape[1], device=phases.device) == phase[:, None]
    return chosen.to(phases.dtype).reshape(*chosen.shape, *[1] * (phases.ndim - 2))
