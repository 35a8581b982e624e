r"""Gauge-equivariant convolution: carry the neighbours' features here, weigh them by a kernel.

Whatever frames are chosen at the nodes, the output is the same field.

Chapter: ``gauges``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

import gdl._checks as check
import gdl.gauges._checks as require
from gdl.equivariance import Constant, Expansion, full_precision
from gdl.gauges._irreps import size
from gdl.gauges.graph import GaugedGraph
from gdl.gauges.kernels import neighbour_kernels, self_kernels
from gdl.gauges.orders import Orders
from gdl.representations import SO, circular_irrep


class GaugeConv(nn.Module):
    r"""Convolution on a graph with frames, equivariant under a rotation of each of them.

        f'_p = K_self f_p + sum_q sum_r w_pq^r K_r(theta_pq) rho_in(g_qp) f_q + b
        K_r(theta) = rho_out(theta) K_r(0) rho_in(-theta)

    The second line is the kernel constraint, so a kernel is known from its value in the direction
    0. Each message is steered into the frame whose first axis points at the neighbour, multiplied
    by ``K_r(0)``, one matrix for all edges, and steered back: no edge has a kernel of its own.

    Weights are coefficients of the bases that the solver found, :func:`self_kernels` and
    :func:`neighbour_kernels`, for each pair of multiplicities (and each ring). They start as
    Gaussian numbers of such a variance that a row of ``K_self``, and a row of ``K_1 ... K_R``
    together, has the squared length 1/2 in the mean, or 1 where there is no ``K_self``. So white
    features keep their variance at a node with one neighbour of weight 1 on each ring; where a mean
    of neighbours is taken that disagree, the variance falls.

    Args:
        orders_in, orders_out: types of the features, such as ``"8x0 + 4x1"``.
        rings: R, the number of weights of an edge.
        bias: whether to add a number to each output of order 0; other orders can have none.
        device, dtype: of the weights.

    Attributes:
        orders_in, orders_out: as ``Orders``.
        bias: ``(scalars,)``, or None if not wanted or nothing has the order 0.

    Shapes: ``layer(x, graph)`` with x ``(..., n, orders_in.dim)``; returns ``(..., n,
    orders_out.dim)``. Memory grows with edges times the larger of R d_in and d_out, never with
    d_in d_out times edges. Under autocast the layer computes in the dtype of its weights, and that
    is what it returns.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: orders that do not fit the features, another number of nodes or rings, another
            device, entries that are not finite.

    Law tested: ``layer(rho_in(-a) x, graph.turned(a)) = rho_out(-a) layer(x, graph)`` for a random
    angle at every node; permutations; equality with a matrix K(theta) for each edge, and with
    torch's conv2d on a flat torus. A kernel that does not turn with theta breaks it. Source: de
    Haan, Weiler, Cohen and Welling, Gauge equivariant mesh CNNs, ICLR 2021. Chapter: ``gauges``.

    >>> from gdl.gauges.frames import vertex_gauge
    >>> from gdl.geodesics import icosphere
    >>> graph = vertex_gauge(icosphere(1)).to(dtype=torch.float32)
    >>> layer = GaugeConv("3x0", "2x0 + 4x1")
    >>> layer(torch.ones(graph.num_nodes, 3), graph).shape
    torch.Size([42, 10])
    """

    def __init__(
        self,
        orders_in: str | Sequence[tuple[int, int]] | Orders,
        orders_out: str | Sequence[tuple[int, int]] | Orders,
        *,
        rings: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.orders_in, self.orders_out = Orders(orders_in), Orders(orders_out)
        self.rings = check.integer("rings", rings, 1)
        made = require.made(device, dtype)
        ends = self.orders_in, self.orders_out
        self.own = _Matrix(*ends, 1, _self, made)
        self.neighbour = _Matrix(*ends, self.rings, _neighbour, made)
        scalars = _places(self.orders_out)
        self.places = Constant(scalars, device=device)
        wanted = check.boolean("bias", bias) and len(scalars) > 0
        self.bias = nn.Parameter(torch.empty(len(scalars), **made)) if wanted else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights that keep the variance, as described; biases 0."""
        for row, (_, order) in enumerate(self.orders_out):
            equal = sum(count for count, other in self.orders_in if other == order)
            self.own.draw(row, 1 / (2 * equal) if equal else 0)
            share = (0.5 if equal else 1.0) / (self.rings * self.orders_in.dim)
            self.neighbour.draw(row, share)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, graph: GaugedGraph) -> Tensor:
        x = self._checked(x, graph)
        with full_precision(x.device):
            own, kernels = self.own()[0], self.neighbour().movedim(0, 1).flatten(1)
            carried = x.index_select(-2, graph.sources)
            steered = self.orders_in.rotate(carried, graph.transports - graph.angles)
            on_rings = graph.weights[..., None] * steered.unsqueeze(-2)
            message = linear(on_rings.flatten(-2), kernels)
            unsteered = self.orders_out.rotate(message, graph.angles)
            return linear(x, own, self.shift()).index_add(-2, graph.targets, unsteered)

    def shift(self) -> Tensor | None:
        """The bias on the outputs of order 0, and 0 on the others."""
        if self.bias is None:
            return None
        return self.bias.new_zeros(self.orders_out.dim).index_copy(0, self.places(), self.bias)

    def _checked(self, x: Tensor, graph: GaugedGraph) -> Tensor:
        require.instance("graph", graph, GaugedGraph)
        weight = next(self.parameters())
        if graph.rings != self.rings:
            raise ValueError(f"graph: expected weights on {self.rings} rings, got {graph.rings}")
        if graph.angles.dtype != weight.dtype:
            raise TypeError(
                f"graph: expected {weight.dtype}, the dtype of the layer, got {graph.angles.dtype}"
            )
        check.shaped("x", x, graph.num_nodes, self.orders_in.dim)
        for name, tensor in (("graph", graph.angles), ("x", x)):
            if tensor.device != weight.device:
                raise ValueError(
                    f"{name}: expected device {weight.device} as the layer, got {tensor.device}"
                )
        return check.finite("x", check.typed("x", x, weight.dtype))

    def extra_repr(self) -> str:
        """Orders and rings, for the printed form."""
        return f"{self.orders_in} -> {self.orders_out}, rings={self.rings}"


class _Matrix(nn.Module):
    """Matrices (copies, d_out, d_in) between two types, one block for each pair of orders."""

    def __init__(
        self,
        orders_in: Orders,
        orders_out: Orders,
        copies: int,
        kernels: Callable[[int, int], Tensor],
        made: dict,
    ):
        super().__init__()
        self.rows = nn.ModuleList(
            nn.ModuleList(
                _Block(kernels(n, m), (copies, count_out, count_in), made)
                for count_in, n in orders_in
            )
            for count_out, m in orders_out
        )

    def draw(self, row: int, variance: float) -> None:
        """Draw the coefficients of one row of blocks anew."""
        for block in self.rows[row]:
            if block.weight is not None:
                nn.init.normal_(block.weight, std=math.sqrt(variance))

    def forward(self) -> Tensor:
        return torch.cat([torch.cat([block() for block in row], -1) for row in self.rows], -2)


class _Block(nn.Module):
    """Coefficients of the kernels between two orders, for each pair of multiplicities."""

    def __init__(self, kernels: Tensor, counts: tuple[int, int, int], made: dict):
        super().__init__()
        self.counts, self.maps = counts, Expansion(kernels, **made)
        free = len(kernels) > 0
        self.weight = nn.Parameter(torch.empty(*counts, len(kernels), **made)) if free else None

    def forward(self) -> Tensor:
        weight = self.maps.stack.new_zeros(*self.counts, 0) if self.weight is None else self.weight
        return self.maps(weight).transpose(-3, -2).flatten(-2).flatten(-3, -2)


@cache
def _self(order_in: int, order_out: int) -> Tensor:
    # Solved on the CPU and outside of inference mode, because later layers use the same tensor.
    with torch.inference_mode(False), torch.device("cpu"):
        return self_kernels(*(circular_irrep(SO(2), m) for m in (order_in, order_out)))


@cache
def _neighbour(order_in: int, order_out: int) -> Tensor:
    with torch.inference_mode(False), torch.device("cpu"):
        kernels = neighbour_kernels(*(circular_irrep(SO(2), m) for m in (order_in, order_out)))
        return kernels.at(torch.zeros(1, dtype=torch.float64))[..., 0]


def _places(orders: Orders) -> Tensor:
    """Where the scalars of a feature are, int64."""
    with torch.device("cpu"):
        of_columns = torch.tensor([m for count, m in orders for _ in range(count * size(m))])
        return (of_columns == 0).nonzero()[:, 0]
