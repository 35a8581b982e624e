r"""Attentional layers: a node hears its neighbours with weights computed from both ends.

Chapter: ``graphs``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, leaky_relu

import gdl._checks as check
import gdl.graphs._checks as graph_check
import gdl.graphs._parts as parts
from gdl.graphs.adjacency import PIECE, Adjacency
from gdl.graphs.message_passing import MessagePassing


class _Attention(MessagePassing):
    """What both attentional layers share: heads, softmax, the sum; they differ by the scores."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int,
        concat: bool,
        negative_slope: float,
        dropout: float,
        add_self_loops: bool,
        bias: bool,
        made: dict,
    ):
        super().__init__(in_channels)
        self.out_channels = check.integer("out_channels", out_channels, 1)
        self.heads = check.integer("heads", heads, 1)
        self.concat = check.boolean("concat", concat)
        self.negative_slope = check.number("negative_slope", negative_slope)
        self.dropout = check.number("dropout", dropout, 0, 1)
        self.add_self_loops = check.boolean("add_self_loops", add_self_loops)
        self.bias = parts.bias(out_channels * (heads if concat else 1), bias, made)

    def hear(self, x: Tensor, graph: Adjacency, edge_attr: Tensor | None) -> Tensor:
        """sum_j alpha_ij psi(x_j), with alpha the softmax of the layer's scores."""
        if self.add_self_loops:
            graph = graph.with_self_loops()
        values, scores = self._attention(x, graph.edge_index)
        graph_check.finite("x, its scores", scores)
        # Loops that were replaced have weight 0.
        scores = scores.masked_fill((graph.weight == 0)[:, None], -math.inf)
        shares = dropout(graph.softmax(scores), self.dropout, self.training)
        heard = graph.attend(shares, values)
        return parts.shifted(heard.flatten(1) if self.concat else heard.mean(1), self.bias)

    def _by_head(self, features: Tensor) -> Tensor:
        return features.view(-1, self.heads, self.out_channels)

    def _attention(self, x: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        """The values (n, H, C') and the scores (E, H)."""
        raise NotImplementedError


class GATConv(_Attention):
    r"""The graph attention layer: neighbours count by a score of both ends.

        x_i' = sum_j alpha_ij W x_j + b,        alpha_ij = softmax over j of s_ij,
        s_ij = LeakyReLU(a_src . W x_j + a_dst . W x_i)

    for each of H heads. The order of a node's neighbours by score is the same for every node,
    because the score is a monotone function of a sum; :class:`GATv2Conv` has no such limit.

    Args:
        in_channels, out_channels: C, and C' of one head.
        heads: H.
        concat: heads side by side, ``(n, H C')``, or else their mean, ``(n, C')``.
        negative_slope: of LeakyReLU.
        dropout: the share of alpha that is dropped in training.
        add_self_loops: whether each node hears itself, once.
        bias: whether b is there.
        device, dtype: of the weights.

    Shapes: as :class:`MessagePassing`; no ``edge_attr``, and no weights.

    Raises: TypeError or ValueError as :class:`MessagePassing` does.
    Law tested: equal to PyTorch Geometric's GATConv with the same weights, and to the dense
    formula. Source: Velickovic, Cucurull, Casanova, Romero, Lio and Bengio, Graph Attention
    Networks, ICLR 2018. Chapter: ``graphs``.

    >>> layer = GATConv(3, 2, heads=4)
    >>> layer(torch.ones(2, 3), torch.tensor([[0], [1]])).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = True,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        made = parts.made(device, dtype)
        options = (heads, concat, negative_slope, dropout, add_self_loops, bias)
        super().__init__(in_channels, out_channels, *options, made)
        self.lin = nn.Linear(in_channels, heads * out_channels, bias=False, **made)
        self.att_src = nn.Parameter(torch.empty(1, heads, out_channels, **made))
        self.att_dst = nn.Parameter(torch.empty(1, heads, out_channels, **made))
        for weight in (self.lin.weight, self.att_src, self.att_dst):
            parts.glorot(weight)

    def _attention(self, x: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        values, (source, target) = self._by_head(self.lin(x)), edge_index
        sent, received = (values * self.att_src).sum(2), (values * self.att_dst).sum(2)
        scores = sent.index_select(0, source) + received.index_select(0, target)
        return values, leaky_relu(scores, self.negative_slope)


class GATv2Conv(_Attention):
    r"""Graph attention with scores that depend on both ends together.

        x_i' = sum_j alpha_ij W_l x_j + b,      alpha_ij = softmax over j of s_ij,
        s_ij = a . LeakyReLU(W_l x_j + W_r x_i)

    for each of H heads; W_l and W_r have biases of their own.

    Args:
        in_channels, out_channels, heads, concat: as in :class:`GATConv`.
        negative_slope, dropout, add_self_loops, device, dtype: as in :class:`GATConv`.
        bias: whether the layer and both linear maps have biases.
        share_weights: whether W_r is W_l.

    Shapes: as :class:`GATConv`.

    Raises: TypeError or ValueError as :class:`MessagePassing` does.
    Law tested: equal to PyTorch Geometric's GATv2Conv with the same weights, and to the dense
    formula; two nodes may rank the same neighbours differently. Source: Brody, Alon and Yahav, How
    Attentive are Graph Attention Networks?, ICLR 2022. Chapter: ``graphs``.

    >>> layer = GATv2Conv(3, 2, heads=4, concat=False)
    >>> layer(torch.ones(2, 3), torch.tensor([[0], [1]])).shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = True,
        *,
        bias: bool = True,
        share_weights: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        made = parts.made(device, dtype)
        options = (heads, concat, negative_slope, dropout, add_self_loops, bias)
        super().__init__(in_channels, out_channels, *options, made)
        shared = check.boolean("share_weights", share_weights)
        self.lin_l = nn.Linear(in_channels, heads * out_channels, bias, **made)
        self.lin_r = (
            self.lin_l if shared else nn.Linear(in_channels, heads * out_channels, bias, **made)
        )
        self.att = nn.Parameter(torch.empty(1, heads, out_channels, **made))
        for weight in (self.lin_l.weight, self.lin_r.weight, self.att):
            parts.glorot(weight)

    def _attention(self, x: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        sent = self._by_head(self.lin_l(x))
        received = sent if self.lin_r is self.lin_l else self._by_head(self.lin_r(x))
        scores = [
            self._scores(sent.index_select(0, source), received.index_select(0, target))
            for source, target in edge_index.split(PIECE, dim=1)
        ]
        return sent, torch.cat(scores)

    def _scores(self, sent: Tensor, received: Tensor) -> Tensor:
        return (leaky_relu(sent + received, self.negative_slope) * self.att).sum(2)
