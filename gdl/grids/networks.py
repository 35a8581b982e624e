"""Blocks and networks on periodic grids whose equivariance is known and measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gdl.grids._checks as check
from gdl.grids.convolution import CircularConv
from gdl.grids.sampling import PolyphaseDownsample, PolyphaseUpsample


class ResidualBlock(nn.Module):
    r"""The residual block h + f(h), f two circular convolutions with a ReLU between.

    The identity commutes with every shift, so h + f(h) does exactly when f does.

    Args:
        channels: fields in and out.
        kernel_size, dims: as in ``CircularConv``.

    Raises:
        TypeError: channels or kernel_size is no int; when called, an h that is no real tensor.
        ValueError: a count below 1, dims unknown; when called, an h of the wrong shape.

    Law: commutes with every shift. Source: He et al., Deep Residual Learning, 2016, equation (1).
    Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> ResidualBlock(4)(torch.zeros(2, 4, 8, 8)).shape
    torch.Size([2, 4, 8, 8])
    """

    def __init__(
        self, channels: int, kernel_size: int | tuple[int, ...] = 3, *, dims: int = 2
    ) -> None:
        super().__init__()
        check.positive_int("channels", channels)
        self.first = CircularConv(channels, channels, kernel_size, dims=dims)
        self.second = CircularConv(channels, channels, kernel_size, dims=dims)

    def forward(self, h: Tensor) -> Tensor:
        """Map (N, channels, *size) to the same shape."""
        return h + self.second(F.relu(self.first(h)))


class UNetBlock(nn.Module):
    r"""One level of a U-net: the inner network works on a coarser grid, a skip keeps the fine one.

    relu(decode([h, up(inner(down(h)))])) with h = relu(encode(x)). The skip is equivariant to every
    shift. With downsample="max" (2 x 2 maxima down, nearest neighbour up) the whole commutes with
    the even shifts only, if inner commutes with every coarse one. With downsample="polyphase" the
    chosen phase travels from down to up, and the whole commutes with every shift.

    Args:
        in_channels, channels: fields in and out.
        inner: a network that maps (N, channels, *size / 2) to the same shape.
        downsample: "max" or "polyphase".
        kernel_size, dims: as in ``CircularConv``.

    Raises:
        TypeError: a count that is no int; when called, an x that is no real tensor.
        ValueError: a count below 1, downsample or dims unknown; when called, an x of the wrong
            shape or of an odd size.

    Law: the two statements above, measured on a ``UNet``.
    Sources: Ronneberger, Fischer and Brox 2015; Chaman and Dokmanic 2021 for the polyphase form.
    Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> UNetBlock(1, 4, ResidualBlock(4))(torch.zeros(2, 1, 6, 6)).shape
    torch.Size([2, 4, 6, 6])
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        inner: nn.Module,
        *,
        downsample: str = "polyphase",
        kernel_size: int | tuple[int, ...] = 3,
        dims: int = 2,
    ) -> None:
        super().__init__()
        check.one_of("downsample", downsample, ("max", "polyphase"))
        check.positive_int("channels", channels)
        self.encode = CircularConv(in_channels, channels, kernel_size, dims=dims)
        self.inner = inner
        self.decode = CircularConv(2 * channels, channels, kernel_size, dims=dims)
        self.down, self.up = None, None
        if downsample == "polyphase":
            self.down = PolyphaseDownsample(2, dims=dims, return_phase=True)
            self.up = PolyphaseUpsample(2, dims=dims)
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, *size) to (N, channels, *size); the sizes must be even."""
        check.field("x", x, self.dims)
        check.divisible("x", x, self.dims, 2)
        h = F.relu(self.encode(x))
        if self.down is None:
            pool = F.max_pool1d if self.dims == 1 else F.max_pool2d
            coarse = F.interpolate(self.inner(pool(h, 2)), scale_factor=2, mode="nearest")
        else:
            coarse, phase = self.down(h)
            coarse = self.up(self.inner(coarse), phase)
        return F.relu(self.decode(torch.cat([h, coarse], 1)))


class UNet(nn.Module):
    r"""A U-net of ``levels`` nested ``UNetBlock``s around a ``ResidualBlock``.

    Equivariant to every shift with downsample="polyphase", to the shifts by multiples of 2^levels
    with downsample="max".

    Args:
        in_channels, out_channels: fields in and out.
        width: channels of every inner field.
        levels: how often the grid is halved; 2^levels must divide its size.
        downsample, kernel_size, dims: as in ``UNetBlock``.

    Raises:
        TypeError: a count that is no int; when called, an x that is no real tensor.
        ValueError: a count below 1, downsample or dims unknown; when called, an x of the wrong
            shape or of a size that 2^levels does not divide.

    Laws: the two statements above, measured. Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> UNet(1, 2, width=4, levels=2)(torch.zeros(1, 1, 8, 8)).shape
    torch.Size([1, 2, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 16,
        levels: int = 2,
        downsample: str = "polyphase",
        kernel_size: int | tuple[int, ...] = 3,
        dims: int = 2,
    ) -> None:
        super().__init__()
        check.positive_int("levels", levels)
        check.positive_int("width", width)
        options = {"kernel_size": kernel_size, "dims": dims}
        net: nn.Module = ResidualBlock(width, **options)
        for level in range(levels):
            channels = in_channels if level == levels - 1 else width
            net = UNetBlock(channels, width, net, downsample=downsample, **options)
        self.levels, self.dims = levels, dims
        self.body = net
        self.head = CircularConv(width, out_channels, 1, dims=dims)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, *size) to (N, out_channels, *size)."""
        check.field("x", x, self.dims)
        check.divisible("x", x, self.dims, 2**self.levels)
        return self.head(self.body(x))


def cnn(
    in_channels: int,
    out_channels: int,
    widths: Sequence[int] = (16, 32),
    *,
    kernel_size: int | tuple[int, ...] = 3,
    pool: Callable[[], nn.Module] | None = None,
    readout: str = "mean",
    dims: int = 2,
) -> nn.Sequential:
    r"""A plain classifier: circular convolutions with ReLU, one number per channel, a linear map.

    Without ``pool`` the output is invariant to every shift: equivariant layers, then an invariant.

    Args:
        in_channels, out_channels: fields in, scores out.
        widths: channels after each convolution.
        pool: makes the layer that follows each convolution, for example
            lambda: nn.MaxPool2d(2), BlurPool or PolyphaseDownsample.
        readout: "mean" or "max" over the grid. The mean dilutes what is small in a large field.
        kernel_size, dims: as in ``CircularConv``.

    Returns:
        A network that maps (N, in_channels, *size) to (N, out_channels).

    Raises:
        TypeError: a count that is no int.
        ValueError: no widths, a count below 1, readout or dims unknown.

    Law: the invariance, for pool None and PolyphaseDownsample. Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> cnn(1, 10, (8, 8))(torch.zeros(2, 1, 16, 16)).shape
    torch.Size([2, 10])
    """
    check.one_of("dims", dims, (1, 2))
    check.one_of("readout", readout, ("mean", "max"))
    if not widths:
        raise ValueError("widths: expected at least one layer, got none")
    layers: list[nn.Module] = []
    for channels, width in pairwise((in_channels, *widths)):
        layers += [CircularConv(channels, width, kernel_size, dims=dims), nn.ReLU()]
        layers += [] if pool is None else [pool()]
    if readout == "mean":
        point = nn.AdaptiveAvgPool1d(1) if dims == 1 else nn.AdaptiveAvgPool2d(1)
    else:
        point = nn.AdaptiveMaxPool1d(1) if dims == 1 else nn.AdaptiveMaxPool2d(1)
    return nn.Sequential(*layers, point, nn.Flatten(), nn.Linear(widths[-1], out_channels))


def maximise(
    unit: Callable[[Tensor], Tensor],
    shape: Sequence[int],
    *,
    norm: float = 1.0,
    steps: int = 200,
    lr: float = 0.1,
    smooth: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""The inputs of a given norm that excite a unit most, by projected gradient ascent.

    x <- norm * u / |u| with u = x + lr * norm * g / |g| and g the gradient of unit at x, from a
    random start on the sphere. The maximum of a linear unit <w, x> is norm * w / |w|.

    Args:
        unit: maps a batch (N, ...) to one number each, (N,).
        shape: of the batch of inputs; each is maximised from its own start.
        norm: the Euclidean norm of each input, the only regulariser.
        steps, lr: length and relative step of the ascent.
        smooth: applied to the gradient, for example a low-pass filter against pixel noise.
        seed: of the random start.
        device, dtype: of the inputs.

    Returns:
        A tensor of the given shape. Where a gradient is zero its input stays.

    Raises:
        TypeError: steps is no int.
        ValueError: steps below 1, norm or lr not positive, or a unit without one value each.

    Law: for a linear unit, the maximum in closed form above.
    Source: Erhan et al., Visualizing Higher-Layer Features of a Deep Network, 2009, section 4.
    Used in the chapter "grids".

    Chapter: ``grids``.

    >>> maximise(lambda x: x @ torch.tensor([3.0, 4.0]), (1, 2))
    tensor([[0.6000, 0.8000]])
    """
    check.positive_int("steps", steps)
    if not norm > 0:
        raise ValueError(f"norm: expected a positive number, got {norm}")
    if not lr > 0:
        raise ValueError(f"lr: expected a positive number, got {lr}")
    start = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    x = norm * _unit_vectors(start.to(device))
    for _ in range(steps):
        x.requires_grad_(True)
        values = unit(x)
        if values.shape != x.shape[:1]:
            expected = tuple(x.shape[:1])
            raise ValueError(f"unit: expected values of shape {expected}, got {values.shape}")
        (gradient,) = torch.autograd.grad(values.sum(), x)
        gradient = gradient if smooth is None else smooth(gradient)
        x = norm * _unit_vectors(x.detach() + lr * norm * _unit_vectors(gradient))
    return x


def _unit_vectors(x: Tensor) -> Tensor:
    return F.normalize(x.flatten(1), dim=1, eps=torch.finfo(x.dtype).tiny).reshape(x.shape)
