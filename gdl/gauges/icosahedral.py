r"""Convolution on the icosphere with frames in Z_6: exact under the sixty rotations.

Away from twelve corners the icosphere is a hexagonal grid. There the layer is the group convolution
of the plane with seven taps; where charts meet, what is read turns by transport.

Chapter: ``gauges``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gdl._checks as check
import gdl.gauges._checks as require
from gdl.equivariance import Constant, Expansion, full_precision, kernel_basis
from gdl.gauges._fibres import fibre_index, read_fibres
from gdl.gauges.icosahedral_grid import CORNERS, SIXTHS, STEPS, IcosahedralGrid
from gdl.representations import Representation, circular_irrep, cyclic, trivial

FIBRES = {"scalar": 1, "regular": SIXTHS}


def hexagonal_kernels(fibre_in: str, fibre_out: str) -> Tensor:
    r"""All kernels on a vertex and its six neighbours that do not depend on the frame.

        K(h x) = rho_out(h) K(x) rho_in(h)^-1    for h in Z_6

    Tap 0 is the vertex, tap 1 + d the neighbour in direction d. From scalar to scalar there are 2
    (the centre, and one ring), from scalar to regular and back 7, from regular to regular 42.

    Args:
        fibre_in, fibre_out: ``"scalar"`` or ``"regular"``.

    Returns:
        float64 ``(r, d_out, d_in, 7)``, orthonormal, d = 1 or 6.

    Raises: ValueError for another fibre.
    Law tested: the dimension is ``1/6 sum_h Fix(h) chi_out(h) chi_in(h^-1)``; the constraint, for
    each h. Source: Cohen, Weiler, Kicanaoglu and Welling, ICML 2019. Chapter: ``gauges``.

    >>> [len(hexagonal_kernels(*pair)) for pair in (("scalar", "regular"), ("regular", "regular"))]
    [7, 42]
    """
    _required("fibre_in", fibre_in)
    _required("fibre_out", fibre_out)
    with torch.device("cpu"):
        rho_in, rho_out = _representation(fibre_in), _representation(fibre_out)
        angles = torch.arange(SIXTHS, dtype=torch.float64) * math.pi / 3
        ring = torch.stack([angles.cos(), angles.sin()], 1)
        points = torch.cat([torch.zeros(1, 2, dtype=torch.float64), ring])
        return kernel_basis(rho_in, rho_out, points, circular_irrep(cyclic(SIXTHS), 1))


class IcosahedralConv(nn.Module):
    r"""Gauge-equivariant convolution on the icosphere, by one planar convolution of all charts.

        f'_p = b + K_0 f_p + sum_d K_d rho(g_pd) f_q,    q the neighbour in direction d

    with the kernels of :func:`hexagonal_kernels` and transport g of the grid. The charts are padded
    by a ring of what lies around them, turned by g; then frames agree and torch's convolution of
    3 x 3 taps, two of which are zero, does the rest. At the corners the output is zero. A scalar
    input is read at the corners, a regular one counts as zero there.

    Args:
        in_channels, out_channels: fields in and out.
        grid: vertices, frames and transport.
        fibre_in, fibre_out: ``"scalar"`` or ``"regular"``.
        bias: one number for each field, at all but the corners.
        transport: False reads neighbours as if all frames agreed: a broken twin, for comparison.
        device, dtype: as in torch.nn.Linear.

    Attributes:
        weight: coefficients ``(out_channels, in_channels, r)`` in the kernels.

    Shapes: ``(B, in_channels, d_in, N) -> (B, out_channels, d_out, N)``, d = 1 or 6. Under autocast
    the convolution is torch's, computed and returned in the half precision that autocast asks for.

    Raises:
        TypeError: a grid that is none, counts that are no ints, an input of another dtype.
        ValueError: counts or fibres out of range; an input of another shape or device, empty or not
            finite.

    Law tested: equal to the sum over neighbours; commutes with the sixty rotations, with frames
    turned at each vertex, and in the middle of a chart is the convolution of the hexagonal plane
    group p6. Source: Cohen, Weiler, Kicanaoglu and Welling, ICML 2019. Chapter: ``gauges``.

    >>> layer = IcosahedralConv(1, 4, IcosahedralGrid(2), fibre_in="scalar")
    >>> layer.weight.shape, layer(torch.rand(3, 1, 1, 162)).shape
    (torch.Size([4, 1, 7]), torch.Size([3, 4, 6, 162]))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: IcosahedralGrid,
        *,
        fibre_in: str = "regular",
        fibre_out: str = "regular",
        bias: bool = True,
        transport: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.in_channels = check.integer("in_channels", in_channels, 1)
        self.out_channels = check.integer("out_channels", out_channels, 1)
        self.num_vertices, self.level = _grid(grid).num_vertices, grid.level
        kernels = _on_pixels(hexagonal_kernels(fibre_in, fibre_out))
        self.d_out, self.d_in = kernels.shape[1:3]
        made = require.made(device, dtype)
        self.expansion = Expansion(kernels.flatten(2), **made)
        read, write = _tables(grid, self.d_in, self.d_out, check.boolean("transport", transport))
        self.read, self.write = Constant(read, device=device), Constant(write, device=device)
        shape = (out_channels, in_channels, self.expansion.count)
        self.weight = nn.Parameter(torch.empty(shape, **made))
        if check.boolean("bias", bias):
            self.bias = nn.Parameter(torch.empty(out_channels, **made))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights that keep the variance of white inputs, and a bias as ``Conv2d`` does."""
        fields, kernels = self.weight.shape[1:]
        nn.init.normal_(self.weight, std=math.sqrt(self.d_out / (kernels * fields)))
        if self.bias is not None:
            bound = 1 / math.sqrt(fields * self.d_in * (SIXTHS + 1))
            nn.init.uniform_(self.bias, -bound, bound)

    def kernel(self) -> Tensor:
        """The kernel of the charts, ``(out_channels d_out, in_channels d_in, 3, 3)``."""
        # Autocast would round the basis to half precision before anything is summed.
        with full_precision(self.weight.device):
            maps = self.expansion(self.weight).unflatten(-1, (self.d_in, 3, 3))
            return maps.transpose(1, 2).flatten(2, 3).flatten(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        shape = (self.in_channels, self.d_in, self.num_vertices)
        x = _fields(x, shape, self.weight)
        if self.d_in > 1:
            x = _with_corners(x[..., CORNERS:])
        charts = read_fibres(x, self.read()).flatten(1, 2)
        bias = None if self.bias is None else self.bias.repeat_interleave(self.d_out)
        y = F.conv2d(charts, self.kernel(), bias)
        y = y.unflatten(1, (self.out_channels, self.d_out)).flatten(-2)
        return _with_corners(read_fibres(y, self.write()))

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        return (
            f"{self.in_channels} x {self.d_in}, {self.out_channels} x {self.d_out}, "
            f"level={self.level}, kernels={self.expansion.count}"
        )


class IcosahedralPool(nn.Module):
    r"""To the next coarser level: the mean of each vertex and its neighbours, then every second.

        f'_p = 1/7 (f_p + sum_d rho(g_pd) f_q)    at the vertices p of the coarser grid

    Each of these is a vertex of the finer grid too, in the same frame, and its neighbours there are
    no corners. The mean comes first because each rotation must take what is read to what is read:
    maxima over 2 x 2 squares of a chart are no such thing.

    Args:
        grid: the finer grid, of level 2 or more.
        fibre: ``"scalar"`` or ``"regular"``.
        device: of the tables.

    Shapes: ``(B, C, d, N) -> (B, C, d, N')``, N' = (N - 2) / 4 + 2; zero at the corners.

    Raises: TypeError for a grid that is none; ValueError for level 1 or another fibre, and for an
    input of another shape, empty or not finite.
    Law tested: commutes with the sixty rotations and with frames turned at each vertex; 2 x 2
    maxima do not. Source: the mean is ours; Cohen, Weiler, Kicanaoglu and Welling (ICML 2019) take
    every second vertex. Chapter: ``gauges``.

    >>> IcosahedralPool(IcosahedralGrid(2))(torch.ones(1, 1, 6, 162))[0, 0, 0, [0, 12]].tolist()
    [0.0, 1.0]
    """

    def __init__(
        self,
        grid: IcosahedralGrid,
        *,
        fibre: str = "regular",
        device: torch.device | str | None = None,
    ):
        super().__init__()
        coarse = _grid(grid).coarser().num_vertices
        _required("fibre", fibre)
        self.fibre, self.num_vertices, self.level = FIBRES[fibre], grid.num_vertices, grid.level
        kept = torch.arange(CORNERS, coarse, device="cpu")[:, None]
        taps = torch.cat([kept, grid.neighbours[CORNERS:coarse]], 1)
        shifts = torch.cat([torch.zeros_like(kept), grid.transports[CORNERS:coarse]], 1)
        index = fibre_index(taps.T, shifts.T, self.fibre, self.num_vertices)
        self.read = Constant(index, device=device)

    def forward(self, x: Tensor) -> Tensor:
        x = _fields(x, (None, self.fibre, self.num_vertices), None)
        return _with_corners(read_fibres(x, self.read()).mean(-2))

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        return f"level {self.level} to {self.level - 1}, d={self.fibre}"


class IcosahedralBatchNorm(nn.Module):
    r"""Batch norm of each field, over the batch, the directions and all vertices but the corners.

        y = (x - mean) / sqrt(var + eps) * weight + bias,    zero at the corners

    Args:
        channels: fields.
        eps, momentum: as in ``torch.nn.BatchNorm2d``.
        device, dtype: as in torch.nn.Linear.

    Shapes: ``(B, channels, d, N)``, and the same out; d = 1 or 6.

    Raises: TypeError or ValueError for arguments out of range, and for inputs of another shape,
    device or dtype, empty or not finite.
    Law tested: mean 0 and variance 1 away from the corners, whatever stands there; commutes with
    rotations and frames. Source: Ioffe and Szegedy 2015. Chapter: ``gauges``.

    >>> IcosahedralBatchNorm(2)(torch.ones(3, 2, 6, 42)).abs().max().item()
    0.0
    """

    def __init__(
        self,
        channels: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.channels = check.integer("channels", channels, 1)
        check.positive("eps", eps)
        check.number("momentum", momentum, 0, 1)
        self.norm = nn.BatchNorm2d(channels, eps, momentum, **require.made(device, dtype))

    def forward(self, x: Tensor) -> Tensor:
        x = _fields(x, (self.channels, None, None), self.norm.weight)
        if x.shape[-2] not in FIBRES.values():
            raise ValueError(
                f"x: expected shape (B, C, d, N) with d = 1 or 6, got {tuple(x.shape)}"
            )
        if x.shape[-1] <= CORNERS:
            raise ValueError(f"x: expected more than {CORNERS} vertices, got {tuple(x.shape)}")
        return _with_corners(self.norm(x[..., CORNERS:]))


class IcosahedralCNN(nn.Module):
    r"""A classifier of signals on the icosphere, invariant to the sixty rotations.

    Convolutions, each followed by batch norm and a relu, which commutes with permutations of the
    directions; pooling after some; the largest value, or the mean, over directions; the mean over
    all vertices but the corners; a linear map.

    Args:
        in_channels: scalar signals in.
        out_channels: numbers out, such as the scores of classes.
        grid: of the signals.
        channels: fields after each convolution.
        pool_after: numbers of the convolutions, from 0, after which the level falls by one; it
            stops at 1.
        fibre: ``"regular"``, or ``"scalar"`` for a network of isotropic kernels.
        reduce: ``"max"`` or ``"mean"``, over directions.
        transport: as in :class:`IcosahedralConv`.
        device, dtype: as in torch.nn.Linear.

    Shapes: ``(B, in_channels, 1, N) -> (B, out_channels)``.

    Raises: TypeError or ValueError for arguments out of range, too many poolings, and inputs as in
    :class:`IcosahedralConv`.
    Law tested: invariance to the sixty rotations and to frames; without transport neither; a mirror
    image differs. Source: adapted from Cohen, Weiler, Kicanaoglu and Welling, ICML 2019.
    Chapter: ``gauges``.

    >>> network = IcosahedralCNN(1, 10, IcosahedralGrid(2), channels=(4, 8), pool_after=(0,))
    >>> network(torch.rand(3, 1, 1, 162)).shape
    torch.Size([3, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: IcosahedralGrid,
        *,
        channels: Sequence[int] = (8, 16, 16),
        pool_after: Sequence[int] = (0,),
        fibre: str = "regular",
        reduce: str = "max",
        transport: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        _grid(grid)
        check.integer("out_channels", out_channels, 1)
        check.one_of("reduce", reduce, ("max", "mean"))
        _required("fibre", fibre)
        _layers(channels, pool_after)
        if len(pool_after) >= grid.level:
            raise ValueError(
                f"pool_after: expected at most {grid.level - 1} for level {grid.level}, "
                f"got {pool_after}"
            )
        self.reduce, made = reduce, require.made(device, dtype)
        layers: list[nn.Module] = []
        for number, (fields, width) in enumerate(pairwise((in_channels, *channels))):
            options = {"fibre_in": fibre if number else "scalar", "fibre_out": fibre}
            options |= {"bias": False, "transport": transport}
            layers += [IcosahedralConv(fields, width, grid, **options, **made)]
            layers += [IcosahedralBatchNorm(width, **made), nn.ReLU()]
            if number in pool_after:
                layers.append(IcosahedralPool(grid, fibre=fibre, device=device))
                grid = grid.coarser()
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1], out_channels, **made)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(x)[..., CORNERS:]
        x = x.amax(-2) if self.reduce == "max" else x.mean(-2)
        return self.head(x.mean(-1))


def _on_pixels(kernels: Tensor) -> Tensor:
    """Kernels on the seven taps (r, d_out, d_in, 7) as 3 x 3 pixels (r, d_out, d_in, 9)."""
    places = [3 * (1 + down) + 1 + right for down, right in ((0, 0), *STEPS)]
    pixels = kernels.new_zeros(*kernels.shape[:-1], 9)
    pixels[..., places] = kernels
    return pixels


def _tables(grid: IcosahedralGrid, d_in: int, d_out: int, transport: bool) -> tuple[Tensor, Tensor]:
    """Where a picture reads the field, and where the field reads the picture, corners left out.

    The picture shows the padded charts one below the other; in the result of a convolution two rows
    between charts are meaningless.
    """
    index, shift = (t.flatten(0, 1) for t in (grid.padding_index, grid.padding_shift))
    read = fibre_index(index, shift * int(transport), d_in, grid.num_vertices)
    charts, rows, columns = grid.charts.shape
    with torch.device("cpu"):
        row = torch.arange(charts)[:, None, None] * (rows + 2) + torch.arange(rows)[:, None]
        place = torch.zeros(grid.num_vertices, dtype=torch.int64)
        place[grid.charts] = row * columns + torch.arange(columns)
    pixels = (len(index) - 2) * columns
    write = fibre_index(place[CORNERS:], -grid.gauge[CORNERS:], d_out, pixels)
    return read, write


def _with_corners(x: Tensor) -> Tensor:
    """Zeros for the corners, which are the first vertices, before the other ones."""
    return F.pad(x, (CORNERS, 0))


def _required(name: str, fibre: str) -> None:
    check.one_of(name, fibre, tuple(FIBRES))


def _representation(fibre: str) -> Representation:
    group = cyclic(SIXTHS)
    # On the six directions in their own order, which that of the elements of the group is not.
    return group.defining if fibre == "regular" else trivial(group)


def _grid(grid: IcosahedralGrid) -> IcosahedralGrid:
    require.instance("grid", grid, IcosahedralGrid)
    return grid


def _layers(channels: Sequence[int], pool_after: Sequence[int]) -> None:
    for name, values, least in (("channels", channels, 1), ("pool_after", pool_after, 0)):
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise TypeError(f"{name}: expected a list of ints, got {values!r}")
        for value in values:
            check.integer(name, value, least)
    if not channels:
        raise ValueError("channels: expected at least one layer, got none")
    if len(set(pool_after)) < len(pool_after) or any(k >= len(channels) for k in pool_after):
        raise ValueError(
            f"pool_after: expected different numbers below {len(channels)}, got {pool_after}"
        )


def _fields(x: Tensor, shape: tuple[int | None, ...], weight: Tensor | None) -> Tensor:
    """Return ``x``, in the dtype of the layer if it has one, if it is (B, C, d, N)."""
    check.shaped("x", x, *shape)
    if x.ndim != 4 or not x.numel():
        wanted = ", ".join("n" if size is None else str(size) for size in shape)
        raise ValueError(f"x: expected shape (B, {wanted}), none of them 0, got {tuple(x.shape)}")
    if weight is None:
        return check.finite("x", x)
    if x.device != weight.device:
        raise ValueError(f"x: expected device {weight.device} as the layer, got {x.device}")
    return check.finite("x", check.typed("x", x, weight.dtype))
