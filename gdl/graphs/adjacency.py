r"""Sums over neighbours: the adjacency matrix in compressed rows, and what runs along edges.

An edge j -> i carries a message from its source j to its target i. ``edge_index`` is int64
``(2, E)``, sources in row 0, targets in row 1.

Chapter: ``graphs``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.nn.functional import embedding_bag

import gdl._checks as check
import gdl.graphs._checks as graph_check

NORMALISATIONS = ("symmetric", "row")
REDUCTIONS = ("sum", "mean", "max")
# Edges at a time where each needs rows of its own: fewer than would leave the cache.
PIECE = 16384


class Adjacency:
    r"""The matrix of a graph: A[i, j] is the weight of the edge j -> i, and A x sums over sources.

        (A x)_i = sum over edges j -> i of w_ij x_j

    The edges are sorted by target once; the transpose, for gradients, and normalised matrices are
    made when they are first asked for, and kept. Duplicated edges count twice, their weights add;
    self-loops are edges like others. The sum is taken by torch's kernel for bags of rows, which is
    a product of a matrix in compressed rows with a dense one.

    Args:
        edge_index: int64 ``(2, E)``, sources and targets; no edge is fine.
        num_nodes: n, at least 1.
        weight: ``(E,)``, finite, of the edges in the order of ``edge_index``; None for ones. It may
            require gradients; nothing that depends on it is kept then.
        dtype: of the matrix where ``weight`` is None, by default torch's.

    Attributes:
        edge_index, weight: copies of what was given, in the given order, not to be changed in
            place; a weight that requires gradients is the given one, and should go on to do so.
        weighted: whether weights were given.
        num_nodes: n.

    Shapes: ``A @ x`` with x ``(n,)`` or ``(n, C)`` has the shape of x.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes, devices or lengths that do not fit, edges that leave the graph, weights
            that are not finite.

    Law tested: equal to the dense matrix, with its first and second derivatives, on graphs with
    duplicates, self-loops and isolated nodes; a permutation P gives P A P^T.
    Chapter: ``graphs``.

    >>> A = Adjacency(torch.tensor([[0, 0, 1], [1, 2, 2]]), 3)
    >>> A.dense().tolist()
    [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    >>> A @ torch.tensor([5.0, 7.0, 9.0])
    tensor([ 0.,  5., 12.])
    """

    def __init__(
        self,
        edge_index: Tensor,
        num_nodes: int,
        weight: Tensor | None = None,
        *,
        dtype: torch.dtype | None = None,
    ):
        self.num_nodes = check.integer("num_nodes", num_nodes, 1)
        device = edge_index.device if isinstance(edge_index, Tensor) else None
        # A copy: what is kept must not depend on what happens to the tensors given.
        self.edge_index = check.edges("edge_index", edge_index, num_nodes, device).clone()
        self.weighted = weight is not None
        if weight is None:
            dtype = torch.get_default_dtype() if dtype is None else check.real_dtype(dtype)
            weight = torch.ones(edge_index.shape[1], dtype=dtype, device=device)
        elif dtype is not None:
            raise ValueError(f"dtype: expected None beside a weight, got {dtype}")
        weight = _edge_weight(weight, self.edge_index)
        self.weight = weight if weight.requires_grad else weight.clone()
        self._kept: dict[object, Adjacency | Tensor] = {}

    @property
    def num_edges(self) -> int:
        """E, duplicates and self-loops included."""
        return self.edge_index.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.weight.dtype

    @property
    def device(self) -> torch.device:
        """The device of edges and weights."""
        return self.weight.device

    def __repr__(self) -> str:
        kind = "weighted" if self.weighted else "unweighted"
        return f"Adjacency({self.num_nodes} nodes, {self.num_edges} edges, {kind}, {self.dtype})"

    def __matmul__(self, x: Tensor) -> Tensor:
        return self.matmul(x)

    def matmul(self, x: Tensor) -> Tensor:
        """A x, for x ``(n,)`` or ``(n, C)`` of the matrix's dtype."""
        check.floating("x", x)
        if x.ndim not in (1, 2) or len(x) != self.num_nodes:
            raise ValueError(
                f"x: expected shape ({self.num_nodes},) or ({self.num_nodes}, C), "
                f"got {tuple(x.shape)}"
            )
        x = graph_check.beside("x", x, self.weight, "the adjacency matrix")
        columns = x[:, None] if x.ndim == 1 else x
        if torch.compiler.is_compiling():
            return self._traceable(columns, self.weight).reshape(x.shape)
        weight = self._keep("sorted weight", self._sorted_weight)
        if not _differentiated(x, weight):
            product = _bags(columns, weight, self._rows)
            return product if x.ndim == 2 else product[:, 0]
        product = _Product.apply(columns[:, None], weight[:, None], self._rows)
        return product.reshape(x.shape)

    def attend(self, weights: Tensor, values: Tensor) -> Tensor:
        r"""The product with other weights on the same edges, for each of H heads.

            out[i, h] = sum over edges e = (j -> i) of weights[e, h] values[j, h]

        Args:
            weights: ``(E, H)``, in the order of ``edge_index``.
            values: ``(n, H, C)``, of the same dtype.

        Returns: ``(n, H, C)``.
        Raises: TypeError or ValueError for tensors of other shapes, dtypes or devices.
        """
        check.floating("weights", weights)
        check.floating("values", values)
        if weights.ndim != 2 or len(weights) != self.num_edges or not weights.shape[1]:
            raise ValueError(
                f"weights: expected shape ({self.num_edges}, H), got {tuple(weights.shape)}"
            )
        heads = weights.shape[1]
        if values.ndim != 3 or values.shape[:2] != (self.num_nodes, heads):
            raise ValueError(
                f"values: expected shape ({self.num_nodes}, {heads}, C), got {tuple(values.shape)}"
            )
        values = graph_check.beside("values", values, weights, "the weights")
        if torch.compiler.is_compiling():
            return self._traceable(values, weights)
        ordered = weights.index_select(0, self._rows.order)
        return _Product.apply(values, ordered, self._rows)

    def softmax(self, scores: Tensor) -> Tensor:
        """:func:`neighbour_softmax` of scores ``(E, ...)``, without a look at their values."""
        self._require_rows("scores", scores)
        return _softmax(scores, self.edge_index[1], self.num_nodes)

    def aggregate(self, messages: Tensor, reduce: str = "sum") -> Tensor:
        """:func:`aggregate` of messages ``(E, ...)``, without a look at their values."""
        check.one_of("reduce", reduce, REDUCTIONS)
        self._require_rows("messages", messages)
        return _reduced(messages, self.edge_index[1], self.num_nodes, reduce)

    def degrees(self) -> Tensor:
        """The weighted in-degrees sum_j A[i, j], ``(n,)``; 0 for a node without incoming edges."""
        return _sums(self.weight, self.edge_index[1], self.num_nodes)

    def dense(self) -> Tensor:
        """The matrix ``(n, n)``."""
        source, target = self.edge_index
        empty = self.weight.new_zeros(self.num_nodes, self.num_nodes)
        return empty.index_put((target, source), self.weight, accumulate=True)

    def with_self_loops(self) -> Adjacency:
        r"""The matrix in which each node has one self-loop, kept at the second call.

        Loops that were there are replaced: their edges stay in their places with weight 0, and the
        loops 0, 1, ..., n - 1 come after all edges. Without weights a loop weighs 1; with weights
        a node that had loops keeps their sum, and the others get 1. The result has weights, which
        layers that hear none refuse.
        """
        return self._keep("self-loops", self._with_loops)

    def normalised(self, kind: str, *, self_loops: bool = False) -> Adjacency:
        r"""The matrix divided by degrees, kept at the second call.

            "symmetric": D^-1/2 A D^-1/2          "row": D^-1 A,          D = diag(sum_j A[i, j])

        With self-loops A is that of :meth:`with_self_loops`, as in the graph convolution of Kipf
        and Welling. A node of degree 0 has a row of zeros (and a column, if symmetric). Degrees are
        those of incoming edges, also where the graph is directed.

        Args:
            kind: ``"symmetric"`` or ``"row"``.
            self_loops: whether to give each node its loop first.

        Raises:
            TypeError: ``self_loops`` is no bool.
            ValueError: another kind; weights with a negative degree, of which there is no root.

        >>> A = Adjacency(torch.tensor([[0, 1], [1, 0]]), 3)
        >>> A.normalised("row", self_loops=True).dense().tolist()
        [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
        """
        check.one_of("kind", kind, NORMALISATIONS)
        base = self.with_self_loops() if check.boolean("self_loops", self_loops) else self
        return base._keep(kind, lambda: base._divided(kind))

    def to(self, *args, **kwargs) -> Adjacency:
        """The matrix on another device or in another floating-point dtype, as ``Tensor.to``."""
        weight = self.weight.to(*args, **kwargs)
        check.real_dtype(weight.dtype)
        if weight is self.weight:
            return self
        edge_index = self.edge_index.to(weight.device)
        if self.weighted:
            return Adjacency(edge_index, self.num_nodes, weight)
        return Adjacency(edge_index, self.num_nodes, dtype=weight.dtype)

    def _require_rows(self, name: str, values: Tensor) -> None:
        check.floating(name, values)
        if values.ndim == 0 or len(values) != self.num_edges:
            raise ValueError(
                f"{name}: expected shape ({self.num_edges}, ...), got {tuple(values.shape)}"
            )

    @cached_property
    def _rows(self) -> _Rows:
        with torch.inference_mode(False):
            return _Rows.of(*self.edge_index, self.num_nodes)

    def _traceable(self, x: Tensor, weight: Tensor) -> Tensor:
        """The product by operations that a compiler sees through, and fuses."""
        source, target = self.edge_index
        messages = weight[..., None] * x.index_select(0, source)
        return _sums(messages, target, self.num_nodes)

    def _sorted_weight(self) -> Tensor:
        return self.weight.index_select(0, self._rows.order)

    def _keep(self, key: object, make: Callable[[], Adjacency | Tensor]) -> Adjacency | Tensor:
        """What ``make`` gives, made once unless its gradients belong to one backward pass."""
        if self.weight.requires_grad or (torch.compiler.is_compiling() and key not in self._kept):
            return make()
        if key not in self._kept:
            # What is kept in inference mode could not be saved for a backward pass later.
            with torch.inference_mode(False):
                self._kept[key] = make()
        return self._kept[key]

    def _with_loops(self) -> Adjacency:
        n, (source, target) = self.num_nodes, self.edge_index
        every = torch.arange(n, device=self.device)
        edge_index = torch.cat([self.edge_index, every.expand(2, n)], dim=1)
        loop = source == target
        loops = self.weight.new_ones(n)
        if self.weighted:
            had = _sums(loop.to(self.dtype), target, n) > 0
            loops = torch.where(had, _sums(self.weight * loop, target, n), loops)
        return Adjacency(edge_index, n, torch.cat([self.weight * ~loop, loops]))

    def _divided(self, kind: str) -> Adjacency:
        degrees, (source, target) = self.degrees(), self.edge_index
        graph_check.finite("weight, summed at a node", degrees)
        if kind == "row":
            shares = self.weight / torch.where(degrees == 0, 1, degrees)[target]
            return self._reweighted(torch.where(degrees[target] == 0, 0, shares))
        if check.readable(degrees) and bool((degrees < 0).any()):
            raise ValueError(
                f"weight: expected degrees of at least 0, got {float(degrees.detach().min()):.3g}"
            )
        root = torch.where(degrees == 0, 0, torch.where(degrees == 0, 1, degrees).rsqrt())
        return self._reweighted(root[target] * self.weight * root[source])

    def _reweighted(self, weight: Tensor) -> Adjacency:
        return Adjacency(self.edge_index, self.num_nodes, weight)


@dataclass(eq=False)
class _Rows:
    """Where the entries of a sparse matrix are, row by row.

    Attributes:
        order: the entries in the order of the rows, as positions in the order they came in.
        rows, columns: of each entry.
        pointers: where each row begins, and where the last one ends.
    """

    order: Tensor
    rows: Tensor
    columns: Tensor
    pointers: Tensor

    @classmethod
    def of(cls, columns: Tensor, rows: Tensor, size: int) -> _Rows:
        rows, order = torch.sort(rows, stable=True)
        starts = torch.arange(size + 1, device=rows.device)
        return cls(order, rows, columns.index_select(0, order), torch.searchsorted(rows, starts))

    @cached_property
    def transposed(self) -> _Rows:
        """The same for the transpose, whose entries come in the order of these rows."""
        return _Rows.of(self.rows, self.columns, len(self.pointers) - 1)


def _differentiated(*tensors: Tensor) -> bool:
    """Whether derivatives are asked of a function of these tensors, backward or forward."""
    # A transform of torch.func hides what the transforms outside of it ask.
    if torch._C._are_functorch_transforms_active():
        return True
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        return True
    return any(unpack_dual(x).tangent is not None for x in tensors)


def _bags(x: Tensor, weight: Tensor, entries: _Rows) -> Tensor:
    """A x for x (n, C) and the weights (E,) in the order of the rows, without gradients."""
    # Detached, the kernel does not number the bags of each entry for a backward pass of its own.
    return embedding_bag(
        entries.columns,
        x.detach().contiguous(),
        entries.pointers,
        mode="sum",
        per_sample_weights=weight.contiguous(),
        include_last_offset=True,
    )


class _Product(torch.autograd.Function):
    """A_h x_h for each head h, by torch's kernel for bags of rows; gradients are products with A^T.

    x is (n, H, C), the weights are (E, H), in the order of the rows.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, entries: _Rows) -> Tensor:
        heads = [_bags(x[:, h], weight[:, h], entries) for h in range(x.shape[1])]
        return heads[0][:, None] if len(heads) == 1 else torch.stack(heads, dim=1)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Tensor, _Rows], output: Tensor) -> None:
        x, weight, ctx.entries = inputs
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), entries = ctx.saved_tensors, ctx.entries
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            transposed = entries.transposed
            weights = weight.index_select(0, transposed.order)
            of_x = _Product.apply(gradient, weights, transposed)
        if ctx.needs_input_grad[1]:
            of_weight = _dots(gradient, x, entries)
        return of_x, of_weight, None


def _dots(a: Tensor, b: Tensor, entries: _Rows) -> Tensor:
    """The inner product of a at the row and b at the column of each entry, (E, H)."""
    pieces = zip(entries.rows.split(PIECE), entries.columns.split(PIECE), strict=True)
    return torch.cat([(a.index_select(0, i) * b.index_select(0, j)).sum(2) for i, j in pieces])


def neighbour_softmax(scores: Tensor, target: Tensor, num_nodes: int) -> Tensor:
    r"""The softmax over the edges that end at the same node.

        alpha_e = exp(s_e) / sum over edges e' with the target of e of exp(s_e')

    The largest score of each node is taken off first, so large scores do no harm; a node without
    edges is asked nothing.

    Args:
        scores: ``(E,)`` or ``(E, heads)``, each head by itself; finite.
        target: int64 ``(E,)``, row 1 of ``edge_index``.
        num_nodes: n, at least 1.

    Returns: the shape of ``scores``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: lengths that differ, targets out of range, scores that are not finite.

    Law tested: equal to the softmax of each node's own scores; sums to one at each node that has
    edges; a constant added to a node's scores changes nothing. Chapters: ``graphs``, ``attention``.

    >>> neighbour_softmax(torch.tensor([0.0, 0.0, 5.0]), torch.tensor([1, 1, 0]), 3).tolist()
    [0.5, 0.5, 1.0]
    """
    _require_at("scores", scores, target, num_nodes)
    return _softmax(scores, target, num_nodes)


def aggregate(values: Tensor, target: Tensor, num_nodes: int, reduce: str = "sum") -> Tensor:
    r"""What arrives at each node: the sum, mean or maximum of the values of its edges.

        out[i] = reduce over edges e with target i of values[e],      0 where there is none

    Args:
        values: ``(E, ...)``, finite, one row for each edge.
        target: int64 ``(E,)``, row 1 of ``edge_index``.
        num_nodes: n, at least 1.
        reduce: ``"sum"``, ``"mean"`` or ``"max"`` (entry by entry; equal ones share its gradient).

    Returns: ``(n, ...)``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: lengths that differ, targets out of range, values that are not finite, another
            ``reduce``.

    Law tested: equal to the loop over nodes; the order of the edges changes nothing.
    Chapter: ``graphs``.

    >>> values, target = torch.tensor([[1.0], [3.0], [-2.0]]), torch.tensor([0, 0, 2])
    >>> [aggregate(values, target, 3, reduce).T.tolist() for reduce in ("sum", "mean", "max")]
    [[[4.0, 0.0, -2.0]], [[2.0, 0.0, -2.0]], [[3.0, 0.0, -2.0]]]
    """
    _require_at("values", values, target, num_nodes)
    check.one_of("reduce", reduce, REDUCTIONS)
    return _reduced(values, target, num_nodes, reduce)


def _softmax(scores: Tensor, target: Tensor, num_nodes: int) -> Tensor:
    highest = _highest(scores.detach(), target, num_nodes)
    shares = (scores - highest.index_select(0, target)).exp()
    totals = _sums(shares, target, num_nodes)
    return shares / totals.index_select(0, target)


def _reduced(values: Tensor, target: Tensor, num_nodes: int, reduce: str) -> Tensor:
    if reduce == "max":
        return _highest(values, target, num_nodes)
    sums = _sums(values, target, num_nodes)
    if reduce == "sum":
        return sums
    counts = _sums(torch.ones_like(target, dtype=values.dtype), target, num_nodes).clamp(min=1)
    return sums / counts.view(-1, *[1] * (values.ndim - 1))


def _sums(values: Tensor, target: Tensor, num_nodes: int) -> Tensor:
    # Sums of many terms lose the small ones in half precision.
    wide = torch.promote_types(values.dtype, torch.float32)
    empty = values.new_zeros(num_nodes, *values.shape[1:], dtype=wide)
    return empty.index_add(0, target, values.to(wide)).to(values.dtype)


def _highest(values: Tensor, target: Tensor, num_nodes: int) -> Tensor:
    index = target.view(-1, *[1] * (values.ndim - 1)).expand_as(values)
    # Begun at 0, torch would count the beginning as a tie with a maximum of 0, in the gradient.
    empty = values.new_full((num_nodes, *values.shape[1:]), -math.inf)
    highest = empty.scatter_reduce(0, index, values, "amax")
    return highest.masked_fill(highest.isneginf(), 0)


def _require_at(name: str, values: Tensor, target: Tensor, num_nodes: int) -> None:
    check.integer("num_nodes", num_nodes, 1)
    check.floating(name, values)
    graph_check.nodes("target", target, num_nodes, values.device)
    graph_check.along_edges(name, values, len(target))


def _edge_weight(weight: Tensor, edge_index: Tensor) -> Tensor:
    check.floating("weight", weight)
    if weight.shape != edge_index.shape[1:]:
        raise ValueError(
            f"weight: expected shape ({edge_index.shape[1]},), one for each edge, "
            f"got {tuple(weight.shape)}"
        )
    if weight.device != edge_index.device:
        raise ValueError(f"weight: expected device {edge_index.device}, got {weight.device}")
    return graph_check.finite("weight", weight)
