r"""Nonlinearities on the grid, and two networks for signals on the sphere.

Chapter: ``rotations``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gdl.rotations._checks as check
from gdl.rotations.rotation_group import LiftingSphereConv, RotationConv, RotationTransform
from gdl.rotations.sphere import SphericalTransform, ZonalConv, _real


class GridNonlinearity(nn.Module):
    r"""A function of the values of a signal: synthesis on a grid, the function, analysis.

    A function of the values commutes with every motion of the signal; a grid does not. What the
    function makes beyond the degrees that the grid tells apart comes back as an error. A polynomial
    of order p keeps within the degree p L, and is exact, to rounding, on a grid of degree
    ``(p + 1) L / 2`` or more. A relu never is: its error falls as the grid gets finer.

    Args:
        transform: a ``SphericalTransform`` or a ``RotationTransform``; its ``grid_degree`` is the
            grid.
        function: maps tensors entry by entry, such as torch.relu.
        degree: of the result, at most that of the grid, by default that of the transform. With
            degree 0 the result is an invariant: the mean over SO(3), or over the sphere times
            ``sqrt(4 pi)``.

    Shapes: coefficients ``(..., transform.size) -> (..., size of the new degree)``.

    Raises: TypeError or ValueError for another transform, function or degree, and for signals that
    are empty, not finite, or of another shape or dtype.
    Laws tested: a square is exact on a grid that is fine enough, and not on the coarsest; for white
    signals of degree 4 the error of relu is above 0.1 at ``grid_degree=4``, below 0.1 at 6, below
    0.05 at 8 and below 0.02 at 12. Source: Cohen et al. 2018. Chapter: ``rotations``.

    >>> square = GridNonlinearity(RotationTransform(1, grid_degree=2), torch.square, degree=0)
    >>> square(torch.ones(1, 10)).round(decimals=4)  # Parseval: the sum of squares
    tensor([[10.]])
    """

    def __init__(
        self,
        transform: SphericalTransform | RotationTransform,
        function: Callable[[Tensor], Tensor] = torch.relu,
        *,
        degree: int | None = None,
    ):
        super().__init__()
        _require_transform(transform)
        if not callable(function):
            raise TypeError(f"function: expected a function, got {type(function).__name__}")
        self.transform, self.function = transform, function
        self.back = transform if degree is None else _at_degree(transform, degree)

    def forward(self, c: Tensor) -> Tensor:
        values = self.transform.synthesis(c)
        changed = self.function(values)
        if not isinstance(changed, Tensor) or changed.shape != values.shape:
            got = tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__
            raise ValueError(f"function: expected to keep {tuple(values.shape)}, got {got}")
        return self.back.analysis(changed)


def _require_transform(transform: SphericalTransform | RotationTransform) -> None:
    if not isinstance(transform, (SphericalTransform, RotationTransform)):
        raise TypeError(
            "transform: expected a SphericalTransform or a RotationTransform, got "
            f"{type(transform).__name__}"
        )


def _at_degree(
    transform: SphericalTransform | RotationTransform, degree: int
) -> SphericalTransform | RotationTransform:
    """The transform of another degree on the same grid."""
    check.integer("degree", degree, 0, transform.grid_degree)
    weights = transform.weights()
    options = {"device": weights.device, "dtype": weights.dtype}
    return type(transform)(degree, grid_degree=transform.grid_degree, **options)


class SignalBatchNorm(nn.Module):
    r"""Batch normalisation of signals, from their coefficients alone.

        y = (f - mean) / sqrt(var + eps) * weight + bias

    with the mean and the variance of each channel over the batch and over the sphere or SO(3). The
    mean is the coefficient of degree 0, and by Parseval the variance is the sum of squares of the
    others, so that rotations change neither.

    Args:
        channels: signals of one example.
        transform: whose coefficients they are.
        eps, momentum: as in ``torch.nn.BatchNorm2d``.
        device, dtype: as in torch.nn.Linear.

    Shapes: coefficients ``(B, channels, transform.size)``, and the same out.

    Raises: TypeError or ValueError for arguments out of range, and for signals that are empty, not
    finite, or of another shape or dtype.
    Laws tested: mean 0 and variance 1 by quadrature in train mode; commutes with rotations in both
    modes. Source: Ioffe and Szegedy 2015. Chapter: ``rotations``.

    >>> norm = SignalBatchNorm(2, SphericalTransform(3))
    >>> norm(torch.randn(5, 2, 16)).shape
    torch.Size([5, 2, 16])
    """

    def __init__(
        self,
        channels: int,
        transform: SphericalTransform | RotationTransform,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.channels = check.integer("channels", channels, 1)
        _require_transform(transform)
        self.eps, self.momentum = check.positive("eps", eps), check.positive("momentum", momentum)
        if momentum > 1:
            raise ValueError(f"momentum: expected at most 1, got {momentum}")
        self.size, self.one = transform.size, transform.one
        factory = {"device": device, "dtype": _real(dtype)}
        self.weight = nn.Parameter(torch.ones(channels, **factory))
        self.bias = nn.Parameter(torch.zeros(channels, **factory))
        self.register_buffer("running_mean", torch.zeros(channels, **factory))
        self.register_buffer("running_var", torch.ones(channels, **factory))

    def forward(self, c: Tensor) -> Tensor:
        c = check.signals("c", c, self.weight.dtype, self.channels, self.size)
        if c.ndim != 3:
            raise ValueError(f"c: expected (B, {self.channels}, {self.size}), got {tuple(c.shape)}")
        mean, var = self._statistics(c) if self.training else (self.running_mean, self.running_var)
        scale = self.weight * (var + self.eps).rsqrt()
        shift = self.one * (self.bias - mean * scale)
        return c * scale[:, None] + F.pad(shift[:, None], (0, self.size - 1))

    def _statistics(self, c: Tensor) -> tuple[Tensor, Tensor]:
        if len(c) * self.size < 2:
            raise ValueError(
                f"c: expected more than one number per channel in train mode, got {tuple(c.shape)}"
            )
        mean = c[..., 0].mean(0) / self.one
        centred = c - F.pad(self.one * mean[:, None], (0, self.size - 1))
        var = centred.square().sum(-1).mean(0) / self.one**2
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var, self.momentum)
        return mean, var


class SphericalCNN(nn.Module):
    r"""A network that sees a signal on the sphere in every orientation: invariant to SO(3).

    Analysis, lifting to SO(3), group convolutions, the mean over SO(3), a linear map. After each
    convolution come batch norm and a relu on a grid, which hands on the next degree. The network is
    as invariant as these grids are fine; the other layers add no error.

    Args:
        in_channels: signals in.
        out_channels: numbers out, such as the scores of classes.
        grid_degree: of the grid of the signals, from the first degree to 64.
        degrees: of the lifted signal and after each further layer, each at most 12.
        channels: signals after each convolution, as many as degrees.
        margin: by how much the degree of a relu's grid exceeds that of its signal.
        device, dtype: as in torch.nn.Linear.

    Shapes: values on ``sphere_grid(grid_degree)``, ``(B, in_channels, rows, columns) ->
    (B, out_channels)``.

    Raises: TypeError or ValueError for numbers out of range, lists that are empty or of two
    lengths, and signals that are empty, not finite, or of another shape or dtype.
    Laws tested: rotations of a band-limited signal change the outputs, whose batch norm also
    magnifies errors, by less than a tenth, and by less than a fiftieth with margin 6; mirror images
    differ. Source: Cohen et al. 2018. Chapter: ``rotations``.

    >>> SphericalCNN(1, 10, grid_degree=8)(torch.zeros(2, 1, 9, 17)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        grid_degree: int,
        degrees: Sequence[int] = (5, 3),
        channels: Sequence[int] = (8, 10),
        margin: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        kinds = (LiftingSphereConv, RotationConv, RotationTransform)
        sizes = (in_channels, out_channels, grid_degree, degrees, channels, margin)
        self.layers = _network(kinds, *sizes, device=device, dtype=dtype)

    def forward(self, f: Tensor) -> Tensor:
        return self.layers(f)


class ZonalCNN(nn.Module):
    r"""The same with zonal convolutions, from the sphere to the sphere: ``SphericalCNN``'s rival.

    Its filters know distances and no directions: few weights, and little work, in each layer.

    Args:
        in_channels, out_channels, grid_degree, degrees, channels, margin, device, dtype: as in
            ``SphericalCNN``; a degree may be up to 64.

    Shapes: values on ``sphere_grid(grid_degree)``, ``(B, in_channels, rows, columns) ->
    (B, out_channels)``.

    Raises: as ``SphericalCNN``.
    Laws tested: rotations of a band-limited signal change the outputs by less than a fifth, and by
    less than a tenth with margin 6; reflections do not, since zonal filters cannot see them.
    Source: Esteves et al. 2018. Chapter: ``rotations``.

    >>> ZonalCNN(1, 10, grid_degree=8)(torch.zeros(2, 1, 9, 17)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        grid_degree: int,
        degrees: Sequence[int] = (5, 3),
        channels: Sequence[int] = (36, 42),
        margin: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        kinds = (ZonalConv, ZonalConv, SphericalTransform)
        sizes = (in_channels, out_channels, grid_degree, degrees, channels, margin)
        self.layers = _network(kinds, *sizes, device=device, dtype=dtype)

    def forward(self, f: Tensor) -> Tensor:
        return self.layers(f)


def _network(
    kinds: tuple,
    in_channels: int,
    out_channels: int,
    grid_degree: int,
    degrees: Sequence[int],
    channels: Sequence[int],
    margin: int,
    **made,
) -> nn.Sequential:
    """Convolution, batch norm and relu for each degree; the mean, batch norm, a linear map."""
    _require_layers(degrees, channels, margin)
    check.integer("out_channels", out_channels, 1)
    first, further, transform = kinds
    layers: list[nn.Module] = [SphericalTransform(degrees[0], grid_degree=grid_degree, **made)]
    widths, steps = pairwise((in_channels, *channels)), pairwise((*degrees, 0))
    for number, ((fields, width), (degree, after)) in enumerate(zip(widths, steps, strict=True)):
        convolution = further if number else first
        grid = transform(degree, grid_degree=degree + margin, **made)
        layers += [convolution(fields, width, degree, bias=False, **made)]
        layers += [SignalBatchNorm(width, grid, **made), GridNonlinearity(grid, degree=after)]
    norm = nn.BatchNorm1d(channels[-1], affine=False, **made)
    return nn.Sequential(*layers, nn.Flatten(), norm, nn.Linear(channels[-1], out_channels, **made))


def _require_layers(degrees: Sequence[int], channels: Sequence[int], margin: int) -> None:
    for name, values in (("degrees", degrees), ("channels", channels)):
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise TypeError(f"{name}: expected a list of ints, got {values!r}")
        for value in values:
            check.integer(name, value, int(name == "channels"))
    if not degrees or len(degrees) != len(channels):
        raise ValueError(
            "degrees, channels: expected equally many, at least one, got "
            f"{len(degrees)} and {len(channels)}"
        )
    check.integer("margin", margin, 0)
