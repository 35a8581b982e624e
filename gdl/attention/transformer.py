r"""A small Transformer encoder, with torch's weights, and a model of sequences of tokens.

Without positions it is a function of sets: permuting the tokens permutes the output.

Chapter: ``attention``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.attention import _checks as require
from gdl.attention.attention import MultiHeadAttention
from gdl.attention.encodings import sinusoidal

POSITIONS = (None, "sinusoidal", "rotary", "learned")
BASE = 10000.0


class EncoderLayer(nn.Module):
    r"""Attention, then a perceptron at each token, each after a norm and beside a shortcut.

        x <- x + attention(norm1(x)),    x <- x + linear2(relu(linear1(norm2(x))))

    Args:
        width: d, channels of the tokens.
        heads: of the attention; a divisor of d.
        hidden: width of the perceptron.
        rotary: as in :class:`~gdl.attention.attention.MultiHeadAttention`.
        device, dtype: of the weights, whose names and shapes are those of
            ``torch.nn.TransformerEncoderLayer``.

    Shapes: ``layer(x, mask=, key_mask=, positions=)`` with x ``(..., n, d)``, the rest as for the
    attention; returns ``(..., n, d)``.

    Raises: TypeError or ValueError as the attention does.
    Law tested: permuting tokens permutes the output, which a causal mask breaks; equal to
    ``torch.nn.TransformerEncoderLayer`` with ``norm_first=True``, ``batch_first=True``,
    ``dropout=0`` and the same weights, in values and gradients. Source: Xiong et al., ICML 2020
    (the place of the norms). Chapter: ``attention``.

    >>> EncoderLayer(8, 2, 16)(torch.ones(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        rotary: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        _require_sizes(width=width, heads=heads, hidden=hidden)
        made = _made(device, dtype)
        self.self_attn = MultiHeadAttention(width, heads, rotary=rotary, **made)
        self.linear1 = nn.Linear(width, hidden, **made)
        self.linear2 = nn.Linear(hidden, width, **made)
        self.norm1 = nn.LayerNorm(width, **made)
        self.norm2 = nn.LayerNorm(width, **made)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        x = _tokens(x, self.norm1.weight)
        near = {"mask": mask, "key_mask": key_mask, "positions": positions}
        x = x + self.self_attn(require.unspoilt("x", self.norm1(x)), **near)
        return require.unspoilt("x", x + self.linear2(torch.relu(self.linear1(self.norm2(x)))))


class TransformerEncoder(nn.Module):
    r"""Layers of attention and perceptrons, a norm at the end, and positions if they are asked for.

        x <- x + e(p)  (sinusoidal, learned),    layers,    norm

    Args:
        layers: how many.
        width: d, channels of the tokens; even with sinusoidal positions, and even in each head with
            rotary ones.
        heads: of the attention; a divisor of d.
        hidden: width of the perceptrons; None is 4 d.
        positions: None for sets; ``"sinusoidal"`` adds fixed vectors to the tokens, ``"learned"``
            adds one that is learned for each place, ``"rotary"`` turns queries and keys.
        max_length: the longest sequence, for learned positions only, which need it.
        device, dtype: of the weights, whose names and shapes are those of
            ``torch.nn.TransformerEncoder`` with a norm, and ``position_table``.

    Shapes: ``encoder(x, mask=, key_mask=)`` with x ``(..., n, d)``, the masks as for the attention;
    returns ``(..., n, d)``.

    Raises:
        TypeError: arguments of other types.
        ValueError: counts that do not fit, unknown positions, a sequence longer than
            ``max_length``, shapes that do not fit, no token, entries that are not finite, products
            that overflow.

    Law tested: without positions permuting tokens permutes the output, with any of them it does
    not; a shift of all positions leaves the rotary encoder as it is and changes the others.
    Source: Vaswani et al., NeurIPS 2017. Chapter: ``attention``.

    >>> encoder = TransformerEncoder(2, 8, 2, positions="rotary")
    >>> encoder(torch.ones(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        *,
        hidden: int | None = None,
        positions: str | None = None,
        max_length: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        _require_sizes(layers=layers, width=width, heads=heads)
        check.one_of("positions", positions, POSITIONS)
        if positions == "sinusoidal":
            require.even("width", width)
        if (positions == "learned") != (max_length is not None):
            raise ValueError("max_length: expected a number with learned positions, else None")
        made = _made(device, dtype)
        self.positions = positions
        hidden = 4 * width if hidden is None else hidden
        rotary = BASE if positions == "rotary" else None
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, hidden, rotary=rotary, **made) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, **made)
        if positions == "learned":
            _require_sizes(max_length=max_length)
            self.position_table = nn.Parameter(torch.empty(max_length, width, **made))
            nn.init.normal_(self.position_table, std=0.02)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        x = _tokens(x, self.norm.weight)
        if positions is None and self.positions is not None:
            positions = torch.arange(x.shape[-2], device=x.device)
        x = x + self._encoded(positions, x) if self.positions in ("sinusoidal", "learned") else x
        turned_to = positions if self.positions == "rotary" else None
        if self.positions is None and positions is not None:
            raise ValueError("positions: expected None, the encoder was made without positions")
        for layer in self.layers:
            x = layer(x, mask=mask, key_mask=key_mask, positions=turned_to)
        return require.unspoilt("x", self.norm(x))

    def _encoded(self, positions: Tensor, x: Tensor) -> Tensor:
        """What is added to the tokens."""
        require.positions(positions, x.shape[:-1])
        if self.positions == "sinusoidal":
            return sinusoidal(positions, x.shape[-1], BASE, dtype=x.dtype)
        return self.position_table[_places(positions, len(self.position_table))]


class TokenTransformer(nn.Module):
    r"""A Transformer from sequences of tokens to logits at each token.

        logits_i = W encoder(embedding(t))_i + b

    Args:
        tokens: how many different ones.
        outputs: logits at each token.
        layers, width, heads, hidden, positions, max_length, device, dtype: as in
            :class:`TransformerEncoder`.

    Shapes: ``model(t, mask=, key_mask=)`` with t int64 ``(..., n)``, entries 0 to tokens - 1;
    returns ``(..., n, outputs)``.

    Raises:
        TypeError: tokens that are no int64 tensor.
        ValueError: tokens out of range or none, and as :class:`TransformerEncoder`.

    Law tested: as for :class:`TransformerEncoder`. Chapter: ``attention``.

    >>> model = TokenTransformer(10, 4, layers=1, width=8, heads=2)
    >>> model(torch.tensor([[3, 1, 4, 1]])).shape
    torch.Size([1, 4, 4])
    """

    def __init__(
        self,
        tokens: int,
        outputs: int,
        *,
        layers: int,
        width: int,
        heads: int,
        hidden: int | None = None,
        positions: str | None = None,
        max_length: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        _require_sizes(tokens=tokens, outputs=outputs)
        made = _made(device, dtype)
        self.encoder = TransformerEncoder(
            layers, width, heads, hidden=hidden, positions=positions, max_length=max_length, **made
        )
        self.embedding = nn.Embedding(tokens, width, **made)
        self.head = nn.Linear(width, outputs, **made)

    def forward(
        self, t: Tensor, *, mask: Tensor | None = None, key_mask: Tensor | None = None
    ) -> Tensor:
        if not isinstance(t, Tensor) or t.dtype != torch.int64:
            got = t.dtype if isinstance(t, Tensor) else type(t).__name__
            raise TypeError(f"t: expected an int64 tensor, got {got}")
        if not t.ndim or not t.numel():
            raise ValueError(f"t: expected at least one token, (..., n), got {tuple(t.shape)}")
        most = self.embedding.num_embeddings - 1
        if check.readable(t) and bool(((t < 0) | (t > most)).any()):
            raise ValueError(
                f"t: expected tokens 0 to {most}, got {t.min().item()} to {t.max().item()}"
            )
        return self.head(self.encoder(self.embedding(t), mask=mask, key_mask=key_mask))


def _tokens(x: Tensor, weight: Tensor) -> Tensor:
    """Return checked tokens in the dtype of the weights."""
    return check.typed("x", require.tokens("x", x, len(weight)), weight.dtype)


def _places(positions: Tensor, count: int) -> Tensor:
    """Return ``positions`` if they are rows of the table of learned positions."""
    if positions.dtype != torch.int64:
        raise TypeError(f"positions: expected int64 for learned ones, got {positions.dtype}")
    if positions.is_meta or torch.compiler.is_compiling():
        return positions
    low, high = int(positions.min()), int(positions.max())
    if low < 0 or high >= count:
        raise ValueError(
            f"positions: expected 0 to {count - 1}, below max_length, got {low} to {high}"
        )
    return positions


def _require_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        check.integer(name, value, 1)


def _made(device: torch.device | str | None, dtype: torch.dtype | None) -> dict:
    return {"device": device, "dtype": None if dtype is None else check.real_dtype(dtype)}
