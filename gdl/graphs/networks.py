r"""Networks of message passing: for the nodes of one graph, and for graphs of a collection.

Chapter: ``graphs``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

import gdl._checks as check
import gdl.graphs._checks as graph_check
import gdl.graphs._parts as parts
from gdl.equivariance import Constant
from gdl.graphs.adjacency import Adjacency, aggregate
from gdl.graphs.message_passing import GINConv


class GraphNetwork(nn.Module):
    r"""Layers of message passing one after another, with ReLU between them.

    Args:
        layers: at least one; each is called as ``layer(x, edges, edge_attr)``.
        dropout: the share of features that is dropped in training, before each layer.

    Shapes: ``network(x, edges, edge_attr=None)`` as :class:`MessagePassing`.

    Raises: TypeError for layers that are no modules, ValueError if there are none, and as the
    layers do.
    Law tested: equal to its layers one by one; permutations of nodes permute the output. Chapter:
    ``graphs``.

    >>> from gdl.graphs.message_passing import GCNConv
    >>> network = GraphNetwork([GCNConv(3, 8), GCNConv(8, 2)], dropout=0.5)
    >>> network(torch.ones(2, 3), torch.tensor([[0], [1]])).shape
    torch.Size([2, 2])
    """

    def __init__(self, layers: Iterable[nn.Module], dropout: float = 0.0):
        super().__init__()
        layers = _listed("layers", layers)
        for layer in layers:
            if not isinstance(layer, nn.Module):
                raise TypeError(f"layers: expected modules, got {type(layer).__name__}")
        if not layers:
            raise ValueError("layers: expected at least one, got none")
        self.layers = nn.ModuleList(layers)
        self.dropout = check.number("dropout", dropout, 0, 1)

    def forward(
        self, x: Tensor, edges: Tensor | Adjacency, edge_attr: Tensor | None = None
    ) -> Tensor:
        for depth, layer in enumerate(self.layers):
            x = x.relu() if depth else x
            x = dropout(x, self.dropout, self.training) if self.dropout else x
            x = layer(x, edges, edge_attr)
        return x


class NodeClassifier(nn.Module):
    r"""A network together with the one graph whose nodes it tells apart.

    The whole graph is computed at each call, and the rows of the nodes asked for are returned, so
    that :func:`gdl.training.fit` trains it on numbers of nodes. The graph follows the module to its
    device and dtype, and is no part of the state dict.

    Args:
        network: called as ``network(x, edges)``, and ``network(x, edges, edge_attr)`` if there are
            attributes.
        x: ``(n, C)``, finite.
        edges: int64 ``(2, E)``, or an :class:`Adjacency`.
        edge_attr: ``(E, ...)`` or None.

    Shapes: ``model(nodes)`` with int64 ``(B,)`` gives ``(B, C')``; ``model()`` all nodes.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes that do not fit, edges or nodes out of range.

    Law tested: equal to the rows of the network's output, after any journey; learns with ``fit``.
    Chapter: ``graphs``.

    >>> from gdl.graphs.message_passing import GCNConv
    >>> model = NodeClassifier(GCNConv(3, 2), torch.eye(3), torch.tensor([[0, 1], [1, 2]]))
    >>> model(torch.tensor([2, 2])).shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        network: nn.Module,
        x: Tensor,
        edges: Tensor | Adjacency,
        edge_attr: Tensor | None = None,
    ):
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(f"network: expected a module, got {type(network).__name__}")
        self.network = network
        self.x = _constant(graph_check.features("x", x))
        self._given = self.graph = _graph_of(x, edges, edge_attr)
        self.edge_attr = None
        if edge_attr is not None and edge_attr.ndim > 1:
            self.edge_attr = _constant(
                graph_check.along_edges("edge_attr", edge_attr, self.graph.num_edges)
            )

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        x = self.x()
        if (x.device, x.dtype) != (self.graph.device, self.graph.dtype):
            self.graph = self._given.to(x.device, x.dtype)
        return self

    def forward(self, nodes: Tensor | None = None) -> Tensor:
        x = self.x()
        if nodes is not None:
            graph_check.nodes("nodes", nodes, len(x), x.device)
        given = () if self.edge_attr is None else (self.edge_attr(),)
        out = self.network(x, self.graph, *given)
        return out if nodes is None else out[nodes]


class GIN(nn.Module):
    r"""The graph isomorphism network: layers of GIN, and a readout of each of them.

        h^0 = x,        h^(k+1) = MLP_k((1 + eps) h_i^k + sum_j h_j^k),
        logits = sum over k of W_k pool(h^k) + b_k

    A perceptron is Linear, BatchNorm, ReLU, Linear, BatchNorm, ReLU. The readout of every depth,
    the input included, is jumping knowledge.

    Args:
        in_channels: C, of the nodes.
        hidden: of the layers.
        classes: of the graphs.
        layers: how many layers of message passing.
        dropout: the share of logits of each depth that is dropped in training.
        reduce: of the pooling: ``"sum"``, ``"mean"`` or ``"max"``.
        train_eps: whether eps is learnt, from 0; otherwise it is 0.
        device, dtype: of the weights.

    Shapes: ``network(x, edges, batch=None)`` with x ``(n, C)``, edges as in
    :class:`MessagePassing`, and batch int64 ``(n,)``, the number of the graph of each node, or None
    for one graph; returns ``(graphs, classes)``. ``num_graphs=`` spares the search for the largest
    number, and counts graphs without nodes at the end.

    Raises: TypeError or ValueError as :class:`MessagePassing` and :func:`pool` do.
    Law tested: a permutation of nodes changes nothing; a batch gives its graphs one by one (in eval
    mode). Source: Xu, Hu, Leskovec and Jegelka, How Powerful are Graph Neural Networks?, ICLR 2019.
    Chapter: ``graphs``.

    >>> network = GIN(3, 8, 2, layers=2).eval()
    >>> network(torch.ones(2, 3), torch.tensor([[0], [1]])).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        classes: int,
        layers: int = 4,
        *,
        dropout: float = 0.5,
        reduce: str = "sum",
        train_eps: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        sizes = {"in_channels": in_channels, "hidden": hidden, "classes": classes, "layers": layers}
        for name, size in sizes.items():
            check.integer(name, size, 1)
        self.dropout = check.number("dropout", dropout, 0, 1)
        check.one_of("reduce", reduce, ("sum", "mean", "max"))
        self.reduce = reduce
        made = parts.made(device, dtype)
        widths = [in_channels, *[hidden] * layers]
        self.layers = nn.ModuleList(
            GINConv(_perceptron(width, hidden, made), train_eps=train_eps, **made)
            for width in widths[:-1]
        )
        self.readouts = nn.ModuleList(nn.Linear(width, classes, **made) for width in widths)

    def forward(
        self,
        x: Tensor,
        edges: Tensor | Adjacency,
        batch: Tensor | None = None,
        *,
        num_graphs: int | None = None,
    ) -> Tensor:
        graph_check.features("x", x, self.layers[0].in_channels)
        if batch is None:
            batch = torch.zeros(len(x), dtype=torch.int64, device=x.device)
            num_graphs = 1 if num_graphs is None else num_graphs
        if num_graphs is None:
            num_graphs = _count(batch)
        if not isinstance(edges, Adjacency):
            edge_index = check.edges("edges", edges, len(x), x.device)
            edges = Adjacency(edge_index, len(x), dtype=x.dtype)
        depths = [x]
        for layer in self.layers:
            depths.append(layer(depths[-1], edges))
        logits = [
            dropout(readout(pool(h, batch, num_graphs, self.reduce)), self.dropout, self.training)
            for readout, h in zip(self.readouts, depths, strict=True)
        ]
        return torch.stack(logits).sum(0)


class GraphClassifier(nn.Module):
    r"""A network together with the collection of graphs that it tells apart.

    The graphs asked for are joined at each call, so that :func:`gdl.training.fit` trains it on
    numbers of graphs. They follow the module to its device and dtype, and are no part of the state
    dict.

    Args:
        network: called as ``network(x, edge_index, batch, num_graphs=B)``, as :class:`GIN`.
        graphs: pairs of x ``(n, C)`` and edge_index ``(2, E)``, or objects with these attributes,
            such as the ``Data`` of PyTorch Geometric.

    Shapes: ``model(indices)`` with int64 ``(B,)`` gives the rows of the network, ``(B, classes)``;
    an index may come twice.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: no graphs, shapes that do not fit, indices out of range.

    Law tested: equal to the network on each graph by itself, after any journey; learns with
    ``fit``. Chapter: ``graphs``.

    >>> edge, none = torch.tensor([[0, 1], [1, 0]]), torch.empty(2, 0, dtype=torch.int64)
    >>> graphs = [(torch.ones(2, 3), edge), (torch.ones(4, 3), none)]
    >>> model = GraphClassifier(GIN(3, 8, 2, layers=2), graphs).eval()
    >>> model(torch.tensor([1, 0, 1])).shape
    torch.Size([3, 2])
    """

    def __init__(self, network: nn.Module, graphs: Sequence):
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(f"network: expected a module, got {type(network).__name__}")
        self.network = network
        pairs = [_pair(graph) for graph in _listed("graphs", graphs)]
        x, edge_index, batch = disjoint_union(pairs)
        sizes = torch.bincount(batch, minlength=len(pairs))
        edge_sizes = torch.tensor([pair[1].shape[1] for pair in pairs], device=x.device)
        self.x, self.edge_index = _constant(x), _constant(edge_index)
        self.sizes, self.edge_sizes = _constant(sizes), _constant(edge_sizes)

    def __len__(self) -> int:
        return len(self.sizes())

    def forward(self, indices: Tensor) -> Tensor:
        x, all_sizes = self.x(), self.sizes()
        graph_check.nodes("indices", indices, len(self), x.device)
        if not len(indices):
            raise ValueError("indices: expected at least one graph, got none")
        nodes, batch = _ranges(all_sizes, indices)
        edges, of_edge = _ranges(self.edge_sizes(), indices)
        # From numbers in the whole collection to numbers in this batch.
        first, sizes = all_sizes.cumsum(0) - all_sizes, all_sizes[indices]
        shift = sizes.cumsum(0) - sizes - first[indices]
        edge_index = self.edge_index()[:, edges] + shift[of_edge]
        return self.network(x[nodes], edge_index, batch, num_graphs=len(indices))


def disjoint_union(graphs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    r"""Several graphs as one, without edges between them.

    Args:
        graphs: pairs of x ``(n, C)`` and edge_index int64 ``(2, E)``; at least one pair, of the
            same C, dtype and device.

    Returns: x, edge_index, and batch, int64, the number of the graph of each node.

    Raises:
        TypeError: something else than such pairs.
        ValueError: no graph, shapes that differ, edges that leave their graph.

    Law tested: a layer on the union is the layer on each graph. Chapter: ``graphs``.

    >>> edge = torch.tensor([[0], [1]])
    >>> x, edge_index, batch = disjoint_union([(torch.ones(2, 1), edge), (torch.ones(3, 1), edge)])
    >>> edge_index.tolist(), batch.tolist()
    ([[0, 2], [1, 3]], [0, 0, 1, 1, 1])
    """
    pairs = [_pair(graph) for graph in _listed("graphs", graphs)]
    if not pairs:
        raise ValueError("graphs: expected at least one, got none")
    first = graph_check.features("x", pairs[0][0])
    shifted, start = [], 0
    for x, edge_index in pairs:
        graph_check.features("x", x, first.shape[1])
        graph_check.beside("x", x, first, "the first graph")
        shifted.append(check.edges("edge_index", edge_index, len(x), x.device) + start)
        start += len(x)
    sizes = torch.tensor([len(x) for x, _ in pairs], device=first.device)
    batch = torch.arange(len(pairs), device=first.device).repeat_interleave(sizes)
    return torch.cat([x for x, _ in pairs]), torch.cat(shifted, dim=1), batch


def pool(x: Tensor, batch: Tensor, num_graphs: int, reduce: str = "sum") -> Tensor:
    r"""The sum, mean or maximum of the features of each graph's nodes.

    Args:
        x: ``(n, C)``, finite.
        batch: int64 ``(n,)``, the number of the graph of each node, in any order.
        num_graphs: how many graphs there are, at least 1; one without nodes gets 0.
        reduce: ``"sum"``, ``"mean"`` or ``"max"``.

    Returns: ``(num_graphs, C)``.

    Raises: TypeError or ValueError for other arguments.
    Law tested: equal to the loop over graphs. Chapter: ``graphs``.

    >>> pool(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([0, 1, 1]), 2, "mean").tolist()
    [[1.0], [3.0]]
    """
    graph_check.features("x", x)
    graph_check.nodes("batch", batch, check.integer("num_graphs", num_graphs, 1), x.device)
    if len(batch) != len(x):
        raise ValueError(f"batch: expected shape ({len(x)},), got {tuple(batch.shape)}")
    return aggregate(x, batch, num_graphs, reduce)


def _perceptron(inputs: int, hidden: int, made: dict) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden, **made), nn.BatchNorm1d(hidden, **made), nn.ReLU(),
        nn.Linear(hidden, hidden, **made), nn.BatchNorm1d(hidden, **made), nn.ReLU(),
    )  # fmt: skip


def _graph_of(x: Tensor, edges: Tensor | Adjacency, edge_attr: Tensor | None) -> Adjacency:
    """The matrix of a graph; ``edge_attr`` of one axis are its weights."""
    if isinstance(edges, Adjacency):
        if edges.num_nodes != len(x):
            raise ValueError(f"edges: expected {len(x)} nodes as x has, got {edges.num_nodes}")
        if edge_attr is not None and edge_attr.ndim == 1:
            raise ValueError(
                "edge_attr: expected None, an Adjacency holds the weights of its edges"
            )
        return edges
    edge_index = check.edges("edges", edges, len(x), x.device)
    if edge_attr is None or check.floating("edge_attr", edge_attr).ndim > 1:
        return Adjacency(edge_index, len(x), dtype=x.dtype)
    return Adjacency(
        edge_index, len(x), graph_check.along_edges("edge_attr", edge_attr, edge_index.shape[1])
    )


def _constant(values: Tensor) -> Constant:
    """Data of a module, in the device and dtype in which they came."""
    return Constant(values, device=values.device, dtype=values.dtype)


def _listed(name: str, values: Iterable) -> list:
    if not isinstance(values, Iterable):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    return list(values)


def _pair(graph: object) -> tuple[Tensor, Tensor]:
    """The features and edges of a graph."""
    if isinstance(graph, tuple) and len(graph) == 2:
        return graph
    x, edge_index = getattr(graph, "x", None), getattr(graph, "edge_index", None)
    if x is None or edge_index is None:
        raise TypeError(
            f"graphs: expected pairs (x, edge_index), or objects with both, got {graph!r:.80}"
        )
    return x, edge_index


def _count(batch: Tensor) -> int:
    """One more than the largest number of a graph."""
    if not isinstance(batch, Tensor) or batch.dtype != torch.int64:
        got = batch.dtype if isinstance(batch, Tensor) else type(batch).__name__
        raise TypeError(f"batch: expected an int64 tensor, got {got}")
    return int(batch.max()) + 1 if batch.numel() else 1


def _ranges(sizes: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of the chosen blocks of a list, and the place in ``chosen`` of each."""
    starts, counts = (sizes.cumsum(0) - sizes)[chosen], sizes[chosen]
    block = torch.arange(len(chosen), device=chosen.device).repeat_interleave(counts)
    before = (counts.cumsum(0) - counts)[block]
    return torch.arange(len(block), device=chosen.device) - before + starts[block], block
