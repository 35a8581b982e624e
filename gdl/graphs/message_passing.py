r"""Message passing: layers that differ by the way in which a node hears its neighbours.

    convolutional     h_i = phi(x_i, sum_j c_ij psi(x_j))             c_ij given by the graph
    attentional       h_i = phi(x_i, sum_j a(x_i, x_j) psi(x_j))      a number, computed
    message passing   h_i = phi(x_i, sum_j psi(x_i, x_j, e_ij))       a vector, computed

Each line contains the one before it; the attentional layers are in ``gdl.graphs.attentional``.
Parameters have the names of the layers of PyTorch Geometric, whose state dicts load here.

Chapter: ``graphs``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

import gdl._checks as check
import gdl.graphs._checks as graph_check
import gdl.graphs._parts as parts
from gdl.graphs.adjacency import REDUCTIONS, Adjacency


class MessagePassing(nn.Module):
    r"""The base of the layers: it checks the input; a layer says how a node hears, in ``hear``.

    ``hear(x, graph, edge_attr)`` gets features ``(n, C)`` and an :class:`Adjacency`. Its three
    flavours are ``graph.matmul(psi(x))``, ``graph.attend(graph.softmax(scores), psi(x))`` and
    ``graph.aggregate(messages)``.

    Args:
        in_channels: C; None where the layer cannot tell.

    Attributes:
        hears: what ``edge_attr`` is to the layer: ``"weights"`` ``(E,)`` of the edges, which enter
            the adjacency matrix; ``"features"`` ``(E, D)``; or ``"nothing"``.

    Shapes: ``layer(x, edges, edge_attr=None)`` with x ``(n, C)`` and edges an ``edge_index``, int64
    ``(2, E)`` of sources j and targets i, or an :class:`Adjacency`, which spares the sorting;
    ``edge_attr`` is in the order of ``edge_index``. Returns ``(n, C')``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: no node, shapes or devices that do not fit, edges that leave the graph, entries
            that are not finite; ``edge_attr`` or weights that the layer does not hear.

    Law tested: a permutation of the nodes permutes the output, one of the edges with their
    attributes changes nothing. Source: the three flavours are those of Bronstein, Bruna, Cohen and
    Velickovic, Geometric Deep Learning, 2021. Chapter: ``graphs``.

    >>> class Loudest(MessagePassing):
    ...     def hear(self, x, graph, edge_attr):
    ...         return graph.aggregate(x[graph.edge_index[0]], "max")
    >>> Loudest(1)(torch.tensor([[3.0], [5.0]]), torch.tensor([[0, 1, 1], [0, 0, 1]])).tolist()
    [[5.0], [5.0]]
    """

    hears = "nothing"

    def __init__(self, in_channels: int | None = None):
        super().__init__()
        self.in_channels = (
            None if in_channels is None else check.integer("in_channels", in_channels, 1)
        )

    def forward(
        self, x: Tensor, edges: Tensor | Adjacency, edge_attr: Tensor | None = None
    ) -> Tensor:
        check.floating("x", x)
        weight = next(self.parameters(), None)
        if weight is not None:
            x = graph_check.beside("x", x, weight, "the layer")
        graph_check.features("x", x, self.in_channels)
        weighting = edge_attr if self.hears == "weights" else None
        graph = _graph(x, edges, weighting)
        if self.hears != "weights" and graph.weighted:
            raise ValueError(
                f"edges: expected no weights, {type(self).__name__} does not hear them"
            )
        if self.hears == "nothing" and edge_attr is not None:
            raise ValueError(f"edge_attr: expected None, {type(self).__name__} does not hear it")
        if self.hears == "features" and edge_attr is not None:
            edge_attr = _edge_features(edge_attr, x, graph)
        return self.hear(x, graph, edge_attr)

    def hear(self, x: Tensor, graph: Adjacency, edge_attr: Tensor | None) -> Tensor:
        """What the nodes make of what they hear; each layer has its own."""
        raise NotImplementedError(f"{self._get_name()}.hear: expected a method of the layer")


class GCNConv(MessagePassing):
    r"""The graph convolution: neighbours count by their degrees.

        X' = D~^-1/2 A~ D~^-1/2 X W^T + b,        A~ = A with self-loops,  D~ = diag(sum_j A~_ij)

    Args:
        in_channels, out_channels: C and C'.
        add_self_loops: whether each node hears itself, as in :meth:`Adjacency.with_self_loops`:
            loops that were there do not count twice. By default as ``normalize``.
        normalize: whether to divide by the degrees; otherwise X' = A X W^T + b.
        bias: whether b is there.
        device, dtype: of the weights.

    Shapes: as :class:`MessagePassing`; ``edge_attr`` ``(E,)`` are weights of the edges.

    Raises: TypeError or ValueError as :class:`MessagePassing` does; for a negative degree; and for
    self-loops without normalisation.
    Law tested: equal to PyTorch Geometric's GCNConv with the same weights, and to the dense
    formula. They differ where a node has several weighted self-loops: PyTorch Geometric keeps one
    of them, here they add. Source: Kipf and Welling, Semi-Supervised Classification with Graph
    Convolutional Networks, ICLR 2017. Chapter: ``graphs``.

    >>> layer = GCNConv(3, 2)
    >>> layer(torch.ones(2, 3), torch.tensor([[0], [1]])).shape
    torch.Size([2, 2])
    """

    hears = "weights"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        add_self_loops: bool | None = None,
        normalize: bool = True,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(in_channels)
        self.out_channels = check.integer("out_channels", out_channels, 1)
        self.normalize = check.boolean("normalize", normalize)
        loops = normalize if add_self_loops is None else add_self_loops
        self.add_self_loops = check.boolean("add_self_loops", loops)
        if loops and not normalize:
            raise ValueError("add_self_loops: expected False without normalisation, got True")
        made = parts.made(device, dtype)
        self.lin = nn.Linear(in_channels, out_channels, bias=False, **made)
        self.bias = parts.bias(out_channels, bias, made)
        parts.glorot(self.lin.weight)

    def hear(self, x: Tensor, graph: Adjacency, edge_attr: Tensor | None) -> Tensor:
        """D~^-1/2 A~ D~^-1/2 X W^T + b."""
        if self.normalize:
            graph = graph.normalised("symmetric", self_loops=self.add_self_loops)
        return parts.shifted(graph.matmul(self.lin(x)), self.bias)


class SAGEConv(MessagePassing):
    r"""GraphSAGE: a node, and the mean of its neighbours.

        x_i' = W_l mean_j x_j + b + W_r x_i

    Args:
        in_channels, out_channels: C and C'.
        aggr: ``"mean"``, ``"sum"`` or ``"max"`` over the neighbours; 0 where there are none.
        normalize: whether the output is divided by its length.
        bias: whether b is there.
        device, dtype: of the weights.

    Shapes: as :class:`MessagePassing`; with weights ``edge_attr`` ``(E,)`` the mean is the weighted
    one, sum_j w_ij x_j / sum_j w_ij; a maximum has none.

    Raises: TypeError or ValueError as :class:`MessagePassing` does.
    Law tested: equal to PyTorch Geometric's SAGEConv with the same weights, and to the dense
    formula. Source: Hamilton, Ying and Leskovec, Inductive Representation Learning on Large Graphs,
    NeurIPS 2017. Chapter: ``graphs``.

    >>> layer = SAGEConv(3, 2)
    >>> layer(torch.ones(2, 3), torch.tensor([[0], [1]])).shape
    torch.Size([2, 2])
    """

    hears = "weights"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        aggr: str = "mean",
        normalize: bool = False,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(in_channels)
        self.out_channels = check.integer("out_channels", out_channels, 1)
        self.aggr, self.normalize = _reduction(aggr), check.boolean("normalize", normalize)
        made = parts.made(device, dtype)
        self.lin_l = nn.Linear(in_channels, out_channels, check.boolean("bias", bias), **made)
        self.lin_r = nn.Linear(in_channels, out_channels, bias=False, **made)

    def hear(self, x: Tensor, graph: Adjacency, edge_attr: Tensor | None) -> Tensor:
        """W_l mean_j x_j + b + W_r x_i."""
        out = self.lin_l(self._neighbours(x, graph)) + self.lin_r(x)
        return normalize(out, dim=1) if self.normalize else out

    def _neighbours(self, x: Tensor, graph: Adjacency) -> Tensor:
        if self.aggr == "mean":
            return graph.normalised("row").matmul(x)
        if self.aggr == "sum":
            return graph.matmul(x)
        if graph.weighted:
            raise ValueError("edge_attr: expected no weights of edges for a maximum")
        return graph.aggregate(x.index_select(0, graph.edge_index[0]), "max")


class GINConv(MessagePassing):
    r"""The graph isomorphism layer: a perceptron of a sum that tells multisets apart.

        x_i' = nn((1 + eps) x_i + sum_j x_j)

    Args:
        nn: a module that maps ``(n, C)`` to ``(n, C')``, a perceptron.
        eps: a number.
        train_eps: whether eps is learnt.
        device, dtype: of eps; by default those of the first parameter of ``nn``.

    Shapes: as :class:`MessagePassing`; with weights ``edge_attr`` ``(E,)`` the sum is that of
    w_ij x_j.

    Raises: TypeError or ValueError as :class:`MessagePassing` does.
    Law tested: equal to PyTorch Geometric's GINConv with the same weights, and to the dense
    formula. Source: Xu, Hu, Leskovec and Jegelka, How Powerful are Graph Neural Networks?,
    ICLR 2019. Chapter: ``graphs``.

    >>> layer = GINConv(nn.Identity(), eps=0.5)
    >>> layer(torch.tensor([[1.0], [10.0]]), torch.tensor([[0], [1]])).tolist()
    [[1.5], [16.0]]
    """

    hears = "weights"

    def __init__(
        self,
        nn: nn.Module,
        eps: float = 0.0,
        train_eps: bool = False,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(_width(_module("nn", nn)))
        self.nn = nn
        first = next(nn.parameters(), None)
        made = parts.made(device, dtype)
        if first is not None:
            made = {"device": made["device"] or first.device, "dtype": made["dtype"] or first.dtype}
        value = torch.full((1,), check.number("eps", eps), **made)
        if check.boolean("train_eps", train_eps):
            self.eps = torch.nn.Parameter(value)
        else:
            self.register_buffer("eps", value)

    def hear(self, x: Tensor, graph: Adjacency, edge_attr: Tensor | None) -> Tensor:
        """nn((1 + eps) x_i + sum_j x_j)."""
        return self.nn(torch.addcmul(graph.matmul(x), x, 1 + self.eps))


class MPNNConv(MessagePassing):
    r"""General message passing: a message for each edge, from both ends and the edge itself.

        x_i' = phi(x_i, sum_j psi(x_i, x_j, e_ij))

    Args:
        psi: a module that maps the receiver, the sender and the edge, side by side in this order,
            ``(E, 2 C + D)``, to messages ``(E, M)``.
        phi: a module that maps a node and what it heard, ``(n, C + M)``, to ``(n, C')``.
        aggr: ``"sum"``, ``"mean"`` or ``"max"`` of the messages; 0 where there are none.

    Shapes: as :class:`MessagePassing`; ``edge_attr`` ``(E, D)``, or None for D = 0.

    Raises: TypeError or ValueError as :class:`MessagePassing` does, and where the input of ``psi``,
    if it begins with a linear map, is not as wide as x_i, x_j and e_ij together.
    Law tested: equal to the loop over edges; :class:`GCNConv` and :class:`GATConv` are special
    cases; a permutation of the edges without their attributes changes the output. Source: Gilmer,
    Schoenholz, Riley, Vinyals and Dahl, Neural Message Passing for Quantum Chemistry, ICML 2017.
    Chapter: ``graphs``.

    >>> layer = MPNNConv(nn.Linear(2 * 3 + 1, 5), nn.Linear(3 + 5, 2))
    >>> layer(torch.ones(2, 3), torch.tensor([[0], [1]]), torch.ones(1, 1)).shape
    torch.Size([2, 2])
    """

    hears = "features"

    def __init__(self, psi: nn.Module, phi: nn.Module, aggr: str = "sum"):
        super().__init__()
        self.psi, self.phi = _module("psi", psi), _module("phi", phi)
        self.aggr = _reduction(aggr)

    def hear(self, x: Tensor, graph: Adjacency, edge_attr: Tensor | None) -> Tensor:
        """phi(x_i, sum_j psi(x_i, x_j, e_ij))."""
        source, target = graph.edge_index
        ends = [x.index_select(0, target), x.index_select(0, source)]
        heard = torch.cat(ends if edge_attr is None else [*ends, edge_attr], dim=1)
        expected = _width(self.psi)
        if expected not in (None, heard.shape[1]):
            raise ValueError(
                f"x, edge_attr: expected {expected} inputs of psi, "
                f"got 2 x {x.shape[1]} + {heard.shape[1] - 2 * x.shape[1]}"
            )
        messages = self.psi(heard)
        return self.phi(torch.cat([x, graph.aggregate(messages, self.aggr)], dim=1))


def _graph(x: Tensor, edges: Tensor | Adjacency, weight: Tensor | None) -> Adjacency:
    """The adjacency matrix that a layer hears, of the dtype and device of x."""
    if not isinstance(edges, Adjacency):
        edge_index = check.edges("edges", edges, len(x), x.device)
        if weight is None:
            return Adjacency(edge_index, len(x), dtype=x.dtype)
        graph_check.along_edges("edge_attr", weight, edge_index.shape[1])
        if weight.ndim != 1:
            raise ValueError(f"edge_attr: expected weights (E,), got {tuple(weight.shape)}")
        weight = graph_check.beside("edge_attr", weight, x, "x")
        return Adjacency(edge_index, len(x), weight)
    if weight is not None:
        raise ValueError("edge_attr: expected None, an Adjacency holds the weights of its edges")
    if edges.num_nodes != len(x):
        raise ValueError(f"edges: expected {len(x)} nodes as x has rows, got {edges.num_nodes}")
    graph_check.beside("edges", edges.weight, x, "x")
    return edges


def _edge_features(edge_attr: Tensor, x: Tensor, graph: Adjacency) -> Tensor:
    graph_check.along_edges("edge_attr", edge_attr, graph.num_edges)
    if edge_attr.ndim != 2:
        raise ValueError(f"edge_attr: expected shape (E, D), got {tuple(edge_attr.shape)}")
    return graph_check.beside("edge_attr", edge_attr, x, "x")


def _width(module: nn.Module) -> int | None:
    """How many inputs a perceptron takes, where its first layer tells."""
    if isinstance(module, nn.Sequential) and len(module):
        module = module[0]
    return module.in_features if isinstance(module, nn.Linear) else None


def _module(name: str, value: nn.Module) -> nn.Module:
    if not isinstance(value, nn.Module):
        raise TypeError(f"{name}: expected a module, got {type(value).__name__}")
    return value


def _reduction(aggr: str) -> str:
    check.one_of("aggr", aggr, REDUCTIONS)
    return aggr
