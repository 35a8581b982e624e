"""Gauge-equivariant convolution beside a kernel for each edge: tori of n edges, 40 numbers a node.

From 16x0 + 8x1 + 4x2 to the same. The reference takes features to the frames of the targets, sums
the waves of K(theta) into one matrix for each edge, 8192 edges at a time, and multiplies. The
backward pass is that of the features and of all weights. Times are taken in float32; values are
compared in float64.
"""

from __future__ import annotations

import math
from functools import cache, partial

import torch
from torch import Tensor

from benchmarks.cases import Call, Case, compared, disagreement
from gdl.gauges.conv import GaugeConv
from gdl.gauges.frames import vertex_gauge
from gdl.gauges.graph import GaugedGraph
from gdl.geodesics.surfaces import torus

ORDERS = "16x0 + 8x1 + 4x2"
FORWARD = "gauge-equivariant convolution, n edges"
BACKWARD = "gauge-equivariant convolution, forward and backward, n edges"
GRIDS = {1200: (20, 10), 4800: (40, 20), 19200: (80, 40)}
SIZES = {FORWARD: tuple(GRIDS), BACKWARD: tuple(GRIDS)}
REFERENCE = "a kernel for each edge"
PACKAGES = {REFERENCE: "torch"}
PIECE = 8192


@cache
def graph_of(n: int) -> GaugedGraph:
    return vertex_gauge(torus(2.0, 0.7, *GRIDS[n]))


def waves(angles: Tensor, top: int) -> Tensor:
    """1 and the cosines and sines up to a frequency, (k, 2 top + 1)."""
    turns = angles[:, None] * torch.arange(1, top + 1, dtype=angles.dtype)
    return torch.cat([torch.ones_like(angles)[:, None], turns.cos(), turns.sin()], 1)


def fourier(layer: GaugeConv, dtype: torch.dtype) -> tuple[Tensor, int]:
    """The Fourier coefficients of K(theta), from its values at equal angles."""
    top = layer.orders_in.top + layer.orders_out.top
    angles = torch.arange(2 * top + 1, dtype=torch.float64) * (2 * math.pi / (2 * top + 1))
    inverse = torch.linalg.inv(waves(angles, top)).to(dtype)
    around = angles.to(dtype)[:, None]
    # K rho_in(-theta) has the columns K rho_in(-theta) e_i, and rows are what `rotate` turns.
    identity = torch.eye(layer.orders_in.dim, dtype=dtype).expand(len(angles), -1, -1)
    turned = layer.orders_in.rotate(identity, -around.expand(-1, identity.shape[1]))
    columns = turned @ layer.neighbour()[0].T
    values = layer.orders_out.rotate(columns, around.expand(-1, columns.shape[1]))
    return inverse @ values.mT.flatten(1), top


def dense(layer: GaugeConv, x: Tensor, graph: GaugedGraph) -> Tensor:
    coefficients, top = fourier(layer, x.dtype)
    shape = layer.orders_out.dim, layer.orders_in.dim
    y = x @ layer.own()[0].T + layer.shift()
    for piece in torch.arange(graph.num_edges).split(PIECE):
        kernels = (waves(graph.angles[piece], top) @ coefficients).unflatten(1, shape)
        carried = x.index_select(0, graph.sources[piece])
        carried = layer.orders_in.rotate(carried, graph.transports[piece])
        message = (kernels @ carried[..., None])[..., 0] * graph.weights[piece]
        y = y.index_add(0, graph.targets[piece], message)
    return y


def variants(n: int, dtype: torch.dtype) -> dict[str, tuple]:
    torch.manual_seed(0)
    layer = GaugeConv(ORDERS, ORDERS, dtype=torch.float64).to(dtype)
    given = layer, graph_of(n).to(dtype=dtype)
    return {REFERENCE: (dense, *given), "gdl": (GaugeConv.forward, *given)}


def case(task: str, n: int) -> Case:
    def calls(dtype: torch.dtype) -> dict[str, Call]:
        found = variants(n, dtype)
        generator = torch.Generator().manual_seed(0)
        layer = found["gdl"][1]
        size = graph_of(n).num_nodes, layer.orders_in.dim
        x = torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        runs = {name: partial(run, layer, x, graph) for name, (run, _, graph) in found.items()}
        return compared(runs, [x, *layer.parameters()] if task == BACKWARD else None)

    return Case(task, n, n, calls(torch.float32), lambda: disagreement(calls(torch.float64)))
