r"""A graph in a gauge: where each neighbour is seen, and how far features turn on the way.

Chapter: ``gauges``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components
from torch import Tensor

import gdl._checks as check
import gdl.gauges._checks as require
from gdl.gauges._chains import summed
from gdl.gauges.orders import Orders

DTYPES = (torch.float32, torch.float64)
NUMBERS = ("angles", "distances", "transports", "weights")
MOST_NODES = 2**31  # Pairs of them are numbered in int64.
Indices = Sequence[int] | Tensor


@dataclass(frozen=True, eq=False, repr=False)
class GaugedGraph:
    r"""Edges q -> p with the polar coordinates of q in the frame of p, and transport from q to p.

        turn the frame of each node p by a_p, counter-clockwise:
        features    f_p       ->  rho(-a_p) f_p
        angles      theta_pq  ->  theta_pq - a_p
        transports  g_qp      ->  g_qp - a_p + a_q

    Angles are in radians, and multiples of 2 pi do not matter. Nothing here knows an embedding: a
    mesh, a flat lattice and a lattice gauge field are read alike. Edges may be parallel, missing in
    one direction, or missing altogether.

    Attributes:
        edge_index: (2, E), int64: q (source), p (target).
        angles: (E,), theta_pq: the direction of q in the frame of p, in radians; float32 or
            float64, like all others.
        distances: (E,), from p to q, at least 0.
        transports: (E,), g_qp: a vector with components f in the frame of q has the components
            R(g) f in the frame of p after transport along the edge.
        weights: (E, R): how much the neighbour counts on each of R rings, R at least 1.
        num_nodes: n, from 1 to 2^31.

    Raises:
        TypeError: tensors of other types, or of different ones.
        ValueError: other shapes, indices out of range, different devices, NaN or infinity, negative
            distances, angles or transports of 1/(2 eps) or more, which have no digits left.

    Law tested: ``turned`` is an action of SO(2)^n; holonomy does not see it; transport of features
    and the change of gauge commute. Chapter: ``gauges``.

    >>> square = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    >>> numbers = torch.ones(4)
    >>> graph = GaugedGraph(square, 0 * numbers, numbers, 0.1 * numbers, numbers[:, None], 4)
    >>> loop = graph.walk([0, 1, 2, 3, 0])
    >>> turned = graph.turned(torch.tensor([0.3, -2.0, 1.0, 0.0]))
    >>> round(graph.holonomy(loop).item(), 6), round(turned.holonomy(loop).item(), 6)
    (0.4, 0.4)
    """

    edge_index: Tensor
    angles: Tensor
    distances: Tensor
    transports: Tensor
    weights: Tensor
    num_nodes: int

    def __post_init__(self) -> None:
        check.integer("num_nodes", self.num_nodes, 1, MOST_NODES)
        device = check.floating("angles", self.angles).device
        check.edges("edge_index", self.edge_index, self.num_nodes, device)
        _require_numbers(self)

    @property
    def sources(self) -> Tensor:
        """The node q of each edge, (E,)."""
        return self.edge_index[0]

    @property
    def targets(self) -> Tensor:
        """The node p of each edge, (E,)."""
        return self.edge_index[1]

    @property
    def num_edges(self) -> int:
        """The number of edges E."""
        return self.edge_index.shape[1]

    @property
    def rings(self) -> int:
        """The number of rings R."""
        return self.weights.shape[1]

    def __repr__(self) -> str:
        return f"GaugedGraph({self.num_nodes} nodes, {self.num_edges} edges)"

    def turned(self, by: Tensor) -> GaugedGraph:
        """The same graph with the frame of each node turned by its own angle (n,).

        Raises: TypeError for another dtype than that of the graph; ValueError for another shape or
        device, NaN or infinity.
        """
        require.like("by", by, (self.num_nodes,), self.angles)
        at_targets, at_sources = by[self.targets], by[self.sources]
        return replace(
            self,
            angles=self.angles - at_targets,
            transports=self.transports - at_targets + at_sources,
        )

    def with_weights(self, weights: Tensor) -> GaugedGraph:
        """The same graph with other weights (E, R)."""
        return replace(self, weights=weights)

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> GaugedGraph:
        """The graph for a network in float32 or float64, or on another device."""
        moved = {name: getattr(self, name).to(dtype=dtype, device=device) for name in NUMBERS}
        return replace(self, edge_index=self.edge_index.to(device), **moved)

    def transport(self, x: Tensor, orders: Orders | str) -> Tensor:
        r"""Features of the sources in the frames of the targets: rho(g_qp) f_q.

        Args:
            x: (..., n, dim), no more precise than the graph; more functions on leading axes.
            orders: how they turn.

        Returns:
            (..., E, dim), in the dtype of x.

        Raises: TypeError for features of other types, or more precise than the graph; ValueError
        for other shapes or devices.
        """
        orders = Orders(orders)
        check.shaped("x", x, self.num_nodes, orders.dim)
        if x.device != self.transports.device:
            raise ValueError(f"x: expected device {self.transports.device}, got {x.device}")
        dtype = self.transports.dtype
        if torch.promote_types(x.dtype, dtype) != dtype:
            raise TypeError(f"x: expected at most the precision of {dtype}, got {x.dtype}")
        return orders.rotate(x.index_select(-2, self.sources), self.transports)

    def walk(self, nodes: Indices) -> Tensor:
        """The edges of a walk through nodes, each from one node to the next.

        Args:
            nodes: (..., k), integers, k at least 2; several walks on leading axes.

        Returns:
            (..., k - 1), int64.

        Raises: TypeError or ValueError for other input; ValueError where no edge, or more than one,
        leads from one node to the next.
        """
        nodes = require.indices("nodes", nodes, self.num_nodes, 2, self.edge_index.device)
        wanted = nodes[..., 1:] * self.num_nodes + nodes[..., :-1]
        keys, order = (self.targets * self.num_nodes + self.sources).sort(stable=True)
        first = torch.searchsorted(keys, wanted)
        count = torch.searchsorted(keys, wanted, right=True) - first
        if bool((count != 1).any()):
            place = tuple((count != 1).nonzero()[0].tolist())
            target, source = divmod(int(wanted[place]), self.num_nodes)
            raise ValueError(
                f"nodes: expected one edge from {source} to {target}, got {int(count[place])}"
            )
        return order[first]

    def holonomy(self, edges: Indices) -> Tensor:
        """The angle by which transport along a closed walk turns vectors, in [-pi, pi).

        Args:
            edges: (..., k), integers, k at least 1: each begins where the last one ended, and the
                first where the last ends, as in ``walk([a, b, c, a])``.

        Returns:
            (...).

        Raises: TypeError or ValueError for other input; ValueError where the walk is interrupted or
        not closed.
        """
        edges = require.indices("edges", edges, self.num_edges, 1, self.edge_index.device)
        apart = self.sources[edges] != self.targets[edges.roll(1, -1)]
        if bool(apart.any()):
            place = tuple(apart.nonzero()[0].tolist())
            expected = int(self.targets[edges.roll(1, -1)[place]])
            raise ValueError(
                "edges: expected a closed walk, each edge from the end of the one before it, got "
                f"an edge from {int(self.sources[edges[place]])} after one to {expected}"
            )
        return wrapped(self.transports[edges].sum(-1))

    def tree_gauge(self) -> Tensor:
        """Angles (n,) for :meth:`turned` that leave no transport along a spanning tree.

        Frames of the first node of each component are carried along a tree of shortest walks, whose
        transports become multiples of 2 pi. So do all others if and only if no closed walk has a
        holonomy; where there are edges in both directions, their transports are taken as opposite.
        """
        n, (q, p) = self.num_nodes, self.edge_index
        keys, order = torch.cat([p * n + q, q * n + p]).sort(stable=True)
        steps = torch.cat([self.transports, -self.transports]).double()[order]
        parent = _spanning_forest(self.edge_index, n)
        child = (parent != torch.arange(n, device=parent.device)).nonzero().flatten()
        edge = torch.searchsorted(keys, child * n + parent[child])
        angles = steps.new_zeros(n).index_put((child,), steps[edge])
        return wrapped(summed(angles, parent)).to(self.transports.dtype)


def wrapped(angles: Tensor) -> Tensor:
    r"""Angles in [-pi, pi) which differ from the given ones by multiples of 2 pi.

    Angles that lie there already stay as they are, to the last bit.

    Raises: TypeError for no floating-point tensor; ValueError for NaN or infinity.
    Law tested: in range, the same sine and cosine. Chapter: ``gauges``.

    >>> angles = torch.tensor([0.5, math.pi, 3 + 2 * math.pi], dtype=torch.float64)
    >>> wrapped(angles).round(decimals=6).tolist()
    [0.5, -3.141593, 3.0]
    """
    check.finite("angles", check.floating("angles", angles))
    there = (angles >= -math.pi) & (angles < math.pi)
    turned = angles - 2 * math.pi * torch.floor((angles + math.pi) / (2 * math.pi))
    # Rounding may end on either side of the cut.
    turned = torch.where(turned < math.pi, turned, -math.pi).clamp(min=-math.pi)
    return torch.where(there, angles, turned)


def _spanning_forest(edge_index: Tensor, n: int) -> Tensor:
    """For each node the next one on the way to the first node of its component."""
    q, p = edge_index.cpu().numpy()
    graph = coo_array((np.ones(len(q)), (q, p)), shape=(n, n))
    _, first = np.unique(connected_components(graph, directed=False)[1], return_index=True)
    # One more node joins the components, so that one search finds them all.
    tails, heads = np.concatenate([q, np.full(len(first), n)]), np.concatenate([p, first])
    joined = coo_array((np.ones(len(tails)), (tails, heads)), shape=(n + 1, n + 1)).tocsr()
    parent = breadth_first_order(joined, n, directed=False)[1][:n].astype(np.int64)
    parent[first] = first
    return torch.from_numpy(parent).to(edge_index.device)


def _require_numbers(graph: GaugedGraph) -> None:
    """One number for each edge, or several weights, in one dtype and on one device."""
    if graph.angles.dtype not in DTYPES:
        raise TypeError(f"angles: expected float32 or float64, got {graph.angles.dtype}")
    edges = graph.edge_index.shape[1]
    for name in ("angles", "distances", "transports"):
        require.like(name, getattr(graph, name), (edges,), graph.angles)
    for name in ("angles", "transports"):
        require.moderate(name, getattr(graph, name), 0.5)
    weights = check.floating("weights", graph.weights)
    if weights.ndim != 2 or not weights.shape[1]:
        raise ValueError(f"weights: expected shape ({edges}, R), got {tuple(weights.shape)}")
    require.like("weights", weights, (edges, weights.shape[1]), graph.angles)
    if check.readable(graph.distances) and bool((graph.distances < 0).any()):
        least = float(graph.distances.detach().min())
        raise ValueError(f"distances: expected at least 0, got {least:.3g}")
