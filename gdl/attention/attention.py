r"""Softmax attention: on sequences, with torch's weights, and on the edges of a graph.

A token attends to all tokens, a node to its neighbours; on the complete graph the two are one
layer. Booleans in masks say who takes part, as an adjacency matrix does: entry (i, j) is True
where token i may look at token j. ``torch.nn.MultiheadAttention`` means the opposite by them.

Chapter: ``attention``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

import gdl._checks as check
from gdl.attention import _checks as require
from gdl.attention.encodings import rotary
from gdl.graphs.adjacency import aggregate, neighbour_softmax


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    r"""Softmax attention, written out: each query takes a weighted mean of the values.

        y_i = sum_j a_ij v_j,    a_ij = softmax_j(scale q_i . k_j + mask_ij)

    Args:
        q: queries, ``(..., n, d)``.
        k: keys, ``(..., m, d)``.
        v: values, ``(..., m, e)``, with the leading axes of q and k.
        mask: ``(n, m)``, or ``(..., n, m)`` with axes of 1 where it is shared. True where i may
            look at j; or real numbers added to the logits, -inf for pairs left out. None is all
            pairs.
        scale: of the logits; None is ``1 / sqrt(d)``.

    Returns:
        ``(..., n, e)``; a row whose pairs are all left out is zero.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes that do not fit, no token, entries that are not finite, logits that
            overflow.

    Law tested: permuting queries permutes the result, permuting keys and values together changes
    nothing, and a causal mask breaks both; equal to torch's. Source: Vaswani et al., NeurIPS 2017,
    equation (1). Chapter: ``attention``.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> attend(x, x, x, scale=0.0).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    require.queries(q, k, v)
    return attention_weights(q, k, mask=mask, scale=scale) @ v


def attention_weights(
    q: Tensor, k: Tensor, *, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    r"""How much each query takes from each key: rows that sum to 1.

        a_ij = softmax_j(scale q_i . k_j + mask_ij)

    Args:
        q, k, mask, scale: as in :func:`attend`.

    Returns:
        ``(..., n, m)``; a row whose pairs are all left out is zero.

    Raises: TypeError or ValueError as :func:`attend` does.
    Law tested: as for :func:`attend`. Chapter: ``attention``.

    >>> attention_weights(torch.zeros(1, 2), torch.zeros(4, 2)).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    require.tokens("q", q, None)
    require.tokens("k", k, q.shape[-1])
    require.alike(q=q, k=k)
    scores = require.unspoilt("q, k", _scale(scale, q) * (q @ k.transpose(-1, -2)))
    if mask is None:
        return scores.softmax(-1)
    terms = _terms(require.mask("mask", mask, scores.shape, q.device), scores.dtype)
    terms, empty = _without_empty_rows(terms)
    weights = require.unspoilt("q, k, mask", (scores + terms).softmax(-1))
    return weights.masked_fill(empty, 0)


def attend_along(
    q: Tensor, k: Tensor, v: Tensor, edge_index: Tensor, *, scale: float | None = None
) -> Tensor:
    r"""Softmax attention along the edges of a graph: attentional message passing.

        y_i = sum_(j -> i) a_ij v_j,    a_ij = softmax over the edges j -> i of scale q_i . k_j

    Args:
        q, k: queries and keys of the nodes, ``(n, d)``, or ``(n, h, d)`` with h heads.
        v: values, ``(n, e)`` or ``(n, h, e)``.
        edge_index: int64 ``(2, E)``, sources j and targets i. An edge given twice counts twice.
        scale: of the logits; None is ``1 / sqrt(d)``.

    Returns:
        The shape of v; a node without incoming edges gets zero.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes that do not fit, no node, entries that are not finite, products that
            overflow, edges that leave the graph.

    Law tested: on the complete graph with loops equal to :func:`attend`; renumbering nodes
    renumbers the result, renumbering edges changes nothing. Chapter: ``attention``.

    >>> from gdl.geometry import complete_graph
    >>> x = torch.eye(3)
    >>> torch.allclose(attend_along(x, x, x, complete_graph(3, loop=True)), attend(x, x, x))
    True
    """
    for name, x in (("q", q), ("k", k), ("v", v)):
        require.tokens(name, x, None)
        if x.ndim not in (2, 3) or x.shape[:-1] != q.shape[:-1]:
            raise ValueError(
                f"{name}: expected (n, d) or (n, heads, d) with n and heads as q, "
                f"{tuple(q.shape)}, got {tuple(x.shape)}"
            )
        if x.dtype != q.dtype or x.device != q.device:
            raise TypeError(
                f"{name}: expected {q.dtype} on {q.device} as q, got {x.dtype} on {x.device}"
            )
    check.shaped("k", k, q.shape[-1])
    source, target = check.edges("edge_index", edge_index, len(q), q.device)
    products = (q.index_select(0, target) * k.index_select(0, source)).sum(-1)
    scores = require.unspoilt("q, k", _scale(scale, q) * products)
    weights = neighbour_softmax(scores, target, len(q)).to(v.dtype)
    return aggregate(weights[..., None] * v.index_select(0, source), target, len(q), "sum")


def causal_mask(n: int, *, device: torch.device | str | None = None) -> Tensor:
    r"""The mask under which a token looks at itself and at earlier ones: True where j <= i.

    Args:
        n: tokens, at least 1.
        device: of the mask, by default torch's.

    Returns:
        Boolean ``(n, n)``.

    Raises: TypeError or ValueError for an n that is no positive integer.
    Law tested: the output at i does not depend on later tokens; permutations no longer commute.
    Chapter: ``attention``.

    >>> causal_mask(3).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    n = check.integer("n", n, 1)
    return torch.ones(n, n, dtype=torch.bool, device=device).tril()


class Heads(nn.Module):
    r"""Queries, keys and values in several heads, and the map that joins the heads again.

    What the attention layers share; names, shapes and initial values of the weights are those of
    ``torch.nn.MultiheadAttention``.

    Args:
        embed_dim: d, channels of the tokens.
        num_heads: h, which divides d.
        bias: of all four linear maps.
        device, dtype: of the weights.

    Raises: TypeError or ValueError for other arguments.
    Chapter: ``attention``.

    >>> sorted(Heads(8, 2).state_dict())
    ['in_proj_bias', 'in_proj_weight', 'out_proj.bias', 'out_proj.weight']
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.embed_dim = check.integer("embed_dim", embed_dim, 1)
        self.num_heads = check.integer("num_heads", num_heads, 1)
        if embed_dim % num_heads:
            raise ValueError(f"num_heads: expected a divisor of {embed_dim}, got {num_heads}")
        self.head_dim = embed_dim // num_heads
        check.boolean("bias", bias)
        made = {"device": device, "dtype": None if dtype is None else check.real_dtype(dtype)}
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim, **made))
        self.register_parameter(
            "in_proj_bias", nn.Parameter(torch.zeros(3 * embed_dim, **made)) if bias else None
        )
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=bias, **made)
        nn.init.xavier_uniform_(self.in_proj_weight)
        if bias:
            nn.init.zeros_(self.out_proj.bias)

    def split(self, x: Tensor, name: str = "x") -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of tokens, ``(..., h, n, d / h)``; errors use the name."""
        x = self._required(name, x)
        parts = linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        q, k, v = (self._in_heads(part) for part in parts)
        return q, k, v

    def split_apart(
        self, query: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of some tokens, keys and values of others, ``(..., h, n, d / h)``."""
        given = {"query": query, "key": key, "value": value}
        given = {name: self._required(name, x) for name, x in given.items()}
        require.alike(**given)
        if value.shape != key.shape:
            raise ValueError(
                f"key, value: expected equal shapes, got {tuple(key.shape)} and "
                f"{tuple(value.shape)}"
            )
        biases = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        maps = zip(given.values(), self.in_proj_weight.chunk(3), biases, strict=True)
        q, k, v = (self._in_heads(linear(*each)) for each in maps)
        return q, k, v

    def join(self, heads: Tensor, names: str = "x") -> Tensor:
        """The output ``(..., n, d)`` of heads ``(..., h, n, d / h)``; errors use the names."""
        return require.unspoilt(names, self.out_proj(heads.transpose(-3, -2).flatten(-2)))

    def _required(self, name: str, x: Tensor) -> Tensor:
        require.tokens(name, x, self.embed_dim)
        return check.typed(name, x, self.in_proj_weight.dtype)

    def _in_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)


class MultiHeadAttention(Heads):
    r"""Multi-head softmax attention, with the weights of ``torch.nn.MultiheadAttention``.

        y = W_o concat_h attend(W_q^h x, W_k^h x, W_v^h x) + b_o

    Args:
        embed_dim, num_heads, bias, device, dtype: as in :class:`Heads`; heads share the channels.
        rotary: base of the rotary encoding of queries and keys, for instance 10000; None leaves
            the tokens a set.

    Shapes: ``layer(query, key, value)`` with query ``(..., n, d)``, key and value ``(..., m, d)``,
    by default the query (key's default) and the key (value's default); returns ``(..., n, d)``.
    ``mask`` is ``(n, m)``, ``(..., n, m)`` or, for each head, ``(..., h, n, m)``, True where i may
    look at j, or added to the logits; ``key_mask`` is boolean ``(..., m)``, True for tokens that
    are there, False for padding. A token that may look at nothing gets ``b_o``. ``positions``,
    ``(n,)`` or ``(..., n)``, by default 0 to n - 1, are for the rotary encoding, which has no key.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: heads that do not divide the channels, an odd number of channels a head with
            ``rotary``, shapes that do not fit, no token, entries that are not finite, products that
            overflow.

    Law tested: permuting tokens permutes the output; a causal mask or positions break it; equal to
    ``torch.nn.MultiheadAttention`` with the same weights, in values and gradients; equal to
    :func:`attend` head by head. Source: Vaswani et al., NeurIPS 2017. Chapter: ``attention``.

    >>> layer = MultiHeadAttention(8, 2)
    >>> layer.load_state_dict(nn.MultiheadAttention(8, 2).state_dict())
    <All keys matched successfully>
    >>> layer(torch.ones(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        bias: bool = True,
        rotary: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(embed_dim, num_heads, bias=bias, device=device, dtype=dtype)
        self.rotary = None if rotary is None else check.positive("rotary", rotary)
        if rotary is not None and self.head_dim % 2:
            raise ValueError(
                f"rotary: expected an even number of channels a head, got {self.head_dim}"
            )

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        q, k, v = self._placed(query, key, value, positions)
        terms = self._logit_terms(q, k, mask, key_mask)
        if terms is None:
            return self.join(scaled_dot_product_attention(q, k, v), "query, key, value")
        terms, empty = _without_empty_rows(terms)
        heads = scaled_dot_product_attention(q, k, v, attn_mask=terms)
        return self.join(heads.masked_fill(empty, 0), "query, key, value, mask")

    def weights(
        self,
        query: Tensor,
        key: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """How much each token takes from each, ``(..., h, n, m)``; arguments as of the layer."""
        q, k, _ = self._placed(query, key, None, positions)
        return attention_weights(q, k, mask=self._logit_terms(q, k, mask, key_mask))

    def _placed(
        self, query: Tensor, key: Tensor | None, value: Tensor | None, positions: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, turned to their positions if the layer has them."""
        if self.rotary is None and positions is not None:
            raise ValueError("positions: expected None, the layer was made without rotary")
        if self.rotary is not None and key is not None:
            raise ValueError("key: expected None with rotary, whose positions are of one sequence")
        if key is None and value is None:
            q, k, v = self.split(query, "query")
        else:
            key = query if key is None else key
            q, k, v = self.split_apart(query, key, key if value is None else value)
        if self.rotary is None:
            return q, k, v
        if positions is not None:
            require.positions(positions, query.shape[:-1])
            positions = positions if positions.ndim == 1 else positions.unsqueeze(-2)
        return rotary(q, positions, self.rotary), rotary(k, positions, self.rotary), v

    def _logit_terms(
        self, q: Tensor, k: Tensor, mask: Tensor | None, key_mask: Tensor | None
    ) -> Tensor | None:
        """Both masks as terms of the logits, (..., h, n, m) or with axes of 1 where shared."""
        scores = (*q.shape[:-1], k.shape[-2])
        found = []
        if mask is not None:
            whole = (*scores[:-3], *scores[-2:])
            for_heads = isinstance(mask, Tensor) and mask.ndim == len(scores)
            require.mask("mask", mask, scores if for_heads else whole, q.device)
            found.append(mask if for_heads or mask.ndim == 2 else mask.unsqueeze(-3))
        if key_mask is not None:
            keys = _required_keys(key_mask, (*scores[:-3], scores[-1]), q.device)
            found.append(keys[..., None, None, :].expand(*scores[:-3], 1, *scores[-2:]))
        return sum(_terms(each, q.dtype) for each in found) if found else None


class EdgeAttention(Heads):
    r"""Multi-head attention of nodes to their neighbours, with the weights of attention on sets.

        y_i = W_o concat_h sum_(j -> i) a_ij^h W_v^h x_j + b_o

    Args:
        embed_dim, num_heads, bias, device, dtype: as in :class:`Heads`.

    Shapes: ``layer(x, edge_index)`` with x ``(n, d)`` and edge_index int64 ``(2, E)`` of sources j
    and targets i; returns ``(n, d)``. A node without incoming edges gets ``b_o``.

    Raises: TypeError or ValueError as :func:`attend_along` does.
    Law tested: on the complete graph with loops equal to :class:`MultiHeadAttention`, on another
    one to its mask; renumbering nodes renumbers the output. Chapter: ``attention``.

    >>> layer = EdgeAttention(8, 2)
    >>> layer(torch.ones(3, 8), torch.tensor([[0, 1], [1, 2]])).shape
    torch.Size([3, 8])
    """

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        if isinstance(x, Tensor) and x.ndim != 2:
            raise ValueError(f"x: expected shape (n, {self.embed_dim}), got {tuple(x.shape)}")
        q, k, v = (part.transpose(0, 1) for part in self.split(x))
        return self.join(attend_along(q, k, v, edge_index).transpose(0, 1))


def _scale(scale: float | None, q: Tensor) -> float:
    return 1 / math.sqrt(q.shape[-1]) if scale is None else check.number("scale", scale)


def _terms(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask as terms of the logits: 0, or -inf for pairs left out."""
    if mask.dtype != torch.bool:
        return require.kept_finite("mask", mask, mask.to(dtype))
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, -math.inf)


def _without_empty_rows(terms: Tensor) -> tuple[Tensor, Tensor]:
    """Terms with rows of -inf set to 0, where softmax has a value, and which rows those are."""
    empty = torch.isneginf(terms).all(-1, keepdim=True)
    return terms.masked_fill(empty, 0), empty


def _required_keys(key_mask: Tensor, shape: tuple[int, ...], device: torch.device) -> Tensor:
    if not isinstance(key_mask, Tensor) or key_mask.dtype != torch.bool:
        got = key_mask.dtype if isinstance(key_mask, Tensor) else type(key_mask).__name__
        raise TypeError(f"key_mask: expected a boolean tensor, got {got}")
    if tuple(key_mask.shape) != shape:
        raise ValueError(f"key_mask: expected shape {shape}, got {tuple(key_mask.shape)}")
    if key_mask.device != device:
        raise ValueError(f"key_mask: expected device {device}, got {key_mask.device}")
    return key_mask
