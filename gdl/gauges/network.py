r"""A network of gauge-equivariant convolutions.

Chapter: ``gauges``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gdl._checks as check
from gdl.gauges.conv import GaugeConv
from gdl.gauges.graph import GaugedGraph
from gdl.gauges.nonlinearities import GatedNonlinearity, NormNonlinearity, RegularNonlinearity
from gdl.gauges.orders import Orders

NONLINEARITIES = ("gated", "norm", "regular")
READOUTS = ("vertices", "global")


class GaugeBlock(nn.Module):
    r"""A gauge-equivariant convolution, its nonlinearity, and dropout of whole channels.

        y = dropout(nonlinearity(conv(x))),     or x + y if the orders agree and it is wanted

    Args:
        orders_in, orders_out: of the features, as :class:`Orders` reads them.
        nonlinearity: ``"gated"``, ``"norm"`` or ``"regular"``.
        samples: of the regular nonlinearity, which needs them.
        function: of the numbers of order 0, or of the samples. A module with weights, such as
            ``nn.PReLU()``, becomes a part of the block.
        residual: whether x is added where orders_in is orders_out.
        dropout: the share of channels dropped at each vertex in training, from 0 to less than 1;
            the two numbers of a pair go together.
        rings: R, of the graph.
        device, dtype: of the weights.

    Shapes: ``block(x, graph)`` with x ``(..., n, orders_in.dim)``; returns
    ``(..., n, orders_out.dim)``.

    Raises: TypeError or ValueError for other arguments, and as :class:`GaugeConv` does.
    Law tested: as for :class:`GaugeMeshCNN`. Chapter: ``gauges``.

    >>> GaugeBlock("1x0", "2x0 + 1x1").conv.orders_out
    Orders('1x0 + 2x0 + 1x1')
    """

    def __init__(
        self,
        orders_in: str | Orders,
        orders_out: str | Orders,
        *,
        nonlinearity: str = "gated",
        samples: int | None = None,
        function: Callable[[Tensor], Tensor] = torch.relu,
        residual: bool = True,
        dropout: float = 0.0,
        rings: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.orders_in, self.orders_out = Orders(orders_in), Orders(orders_out)
        self.dropout = _share(dropout)
        wanted = check.boolean("residual", residual)
        self.residual = wanted and self.orders_in == self.orders_out
        made = {"device": device, "dtype": dtype}
        self.act = _nonlinearity(nonlinearity, self.orders_out, samples, function, made)
        between = self.act.orders_in if nonlinearity == "gated" else self.orders_out
        self.conv = GaugeConv(self.orders_in, between, rings=rings, **made)

    def forward(self, x: Tensor, graph: GaugedGraph) -> Tensor:
        y = self._thinned(self.act(self.conv(x, graph)))
        return x + y if self.residual else y

    def _thinned(self, x: Tensor) -> Tensor:
        if not self.training or self.dropout == 0:
            return x
        blocks = self.orders_out.split(x)
        return self.orders_out.join(
            [block * F.dropout(torch.ones_like(block[..., :1]), self.dropout) for block in blocks]
        )


class GaugeMeshCNN(nn.Module):
    r"""A network on frames: gauge-equivariant blocks, a convolution, a readout.

        x -> block_1 -> ... -> block_layers -> conv -> readout

    Frames go in with the graph, and the same output comes out in them: ``orders_out`` of
    ``"1x1"`` is a tangent field, of ``"5x0"`` five numbers at each vertex, in whatever frames.
    With scalars only, as in ``hidden="32x0"``, kernels have no direction: an isotropic network on
    the same graph. The gated and norm nonlinearities are exact, the regular one nearly so:
    :class:`RegularNonlinearity`.

    Args:
        orders_in, orders_out: of input and output, as :class:`Orders` reads them.
        hidden: of the features between.
        layers: blocks; their first has no residual connection unless hidden is orders_in.
        readout: ``"vertices"``; ``"global"``, the mean over the vertices, each of them counted
            alike, of numbers of order 0, because vectors at two vertices have no sum.
        nonlinearity, samples, function, residual, dropout, rings, device, dtype: as in
            :class:`GaugeBlock`; all blocks share one function, and its weights if it has some.

    Shapes: ``network(x, graph)`` with x ``(..., n, orders_in.dim)`` returns
    ``(..., n, orders_out.dim)`` or ``(..., orders_out.dim)``; the leading axes are many features
    on one graph.

    Raises:
        TypeError: arguments of other types or dtypes (the graph has the dtype of the network:
            :meth:`GaugedGraph.to`).
        ValueError: shapes or devices that do not fit, names or sizes out of range, a global readout
            of pairs, entries that are not finite.

    Law tested: turning the frame of each vertex turns output fields of order m by m times as much,
    and changes no number of order 0; a permutation of the vertices permutes. A ReLU on pairs
    breaks it. Source: adapted from de Haan, Weiler, Cohen and Welling, Gauge Equivariant Mesh CNNs,
    ICLR 2021, which has regular nonlinearities and batch normalisation. Chapter: ``gauges``.

    >>> from gdl.gauges.frames import vertex_gauge
    >>> from gdl.geodesics import icosphere
    >>> graph = vertex_gauge(icosphere(1)).to(dtype=torch.float32)
    >>> GaugeMeshCNN("1x0", "1x1")(torch.ones(42, 1), graph).shape
    torch.Size([42, 2])
    """

    def __init__(
        self,
        orders_in: str | Orders,
        orders_out: str | Orders,
        *,
        hidden: str | Orders = "16x0 + 8x1 + 4x2",
        layers: int = 3,
        readout: str = "vertices",
        nonlinearity: str = "gated",
        samples: int | None = None,
        function: Callable[[Tensor], Tensor] = torch.relu,
        residual: bool = True,
        dropout: float = 0.0,
        rings: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.orders_in, self.orders_out = Orders(orders_in), Orders(orders_out)
        self.hidden = Orders(hidden)
        check.integer("layers", layers, 1)
        self.readout = _readout(readout, self.orders_out)
        options = {"nonlinearity": nonlinearity, "samples": samples, "function": function}
        options |= {"residual": residual, "dropout": dropout}
        made = {"rings": rings, "device": device, "dtype": dtype}
        inputs = [self.orders_in, *(layers - 1) * [self.hidden]]
        self.blocks = nn.ModuleList(
            GaugeBlock(orders, self.hidden, **options, **made) for orders in inputs
        )
        self.last = GaugeConv(self.hidden, self.orders_out, **made)

    def forward(self, x: Tensor, graph: GaugedGraph) -> Tensor:
        for block in self.blocks:
            x = block(x, graph)
        x = self.last(x, graph)
        return x if self.readout == "vertices" else x.mean(-2)


def _nonlinearity(
    name: str,
    orders: Orders,
    samples: int | None,
    function: Callable[[Tensor], Tensor],
    made: dict,
) -> nn.Module:
    check.one_of("nonlinearity", name, NONLINEARITIES)
    if (samples is not None) != (name == "regular"):
        raise ValueError(
            'samples: expected an int with nonlinearity="regular" and None otherwise, got '
            f"{samples} with {name!r}"
        )
    if name == "regular":
        return RegularNonlinearity(orders, samples, function, **made)
    if name == "norm":
        return NormNonlinearity(orders, function=function, **made)
    return GatedNonlinearity(orders, function=function)


def _readout(readout: str, orders: Orders) -> str:
    check.one_of("readout", readout, READOUTS)
    if readout == "global" and orders.top > 0:
        raise ValueError(
            f'readout: expected "vertices" for orders_out "{orders}", because a mean needs '
            'numbers of order 0, got "global"'
        )
    return readout


def _share(dropout: float) -> float:
    check.number("dropout", dropout, 0)
    if dropout >= 1:
        raise ValueError(f"dropout: expected a number from 0 to less than 1, got {dropout}")
    return float(dropout)
