"""The Transformer encoder: torch's, its symmetry, and what positions do to it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gdl.attention.attention import causal_mask
from gdl.attention.encodings import sinusoidal
from gdl.attention.transformer import EncoderLayer, TokenTransformer, TransformerEncoder
from tests.attention.common import (
    F64,
    TOLERANCE,
    both_dtypes,
    busy,
    gap,
    permutation_gap,
    permutations,
    random,
)

N, BATCH, WIDTH, HEADS, HIDDEN = 6, 3, 8, 2, 12
PADDING = torch.arange(N) < torch.tensor([[6], [4], [1]])
CAUSAL = causal_mask(N)
MASKS = {
    "none": ({}, {}),
    "causal": ({"mask": CAUSAL}, {"mask": ~CAUSAL}),
    "padding": ({"key_mask": PADDING}, {"src_key_padding_mask": ~PADDING}),
}
masks = pytest.mark.parametrize("name", list(MASKS))


def torch_layer(dtype: torch.dtype = F64) -> nn.TransformerEncoderLayer:
    options = {"dropout": 0.0, "batch_first": True, "norm_first": True, "dtype": dtype}
    return nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, **options)


def torch_encoder(layers: int, dtype: torch.dtype = F64) -> nn.TransformerEncoder:
    norm = nn.LayerNorm(WIDTH, dtype=dtype)
    return nn.TransformerEncoder(torch_layer(dtype), layers, norm, enable_nested_tensor=False)


def encoder(positions: str | None = None, dtype: torch.dtype = F64, layers: int = 2):
    length = 40 if positions == "learned" else None
    return busy(
        TransformerEncoder(
            layers, WIDTH, HEADS, hidden=HIDDEN, positions=positions, max_length=length, dtype=dtype
        )
    )


def agree(ours: nn.Module, theirs: nn.Module, name: str, dtype: torch.dtype) -> None:
    """Values and all gradients, in train mode, where torch takes no fast path."""
    here, there = MASKS[name]
    if isinstance(theirs, nn.TransformerEncoderLayer) and "mask" in there:
        there = {"src_mask": there["mask"]}
    x = random(BATCH, N, WIDTH, dtype=dtype).requires_grad_()
    x_twin = x.detach().clone().requires_grad_()
    y = ours.train()(x, **here)
    y_twin = theirs.train()(x_twin, **there)
    assert gap(y, y_twin) < TOLERANCE[dtype] * y_twin.abs().max().item()
    for output in (y, y_twin):
        output.pow(3).sum().backward()
    pairs = [(x, x_twin), *zip(ours.parameters(), theirs.parameters(), strict=True)]
    for p, p_twin in pairs:
        assert gap(p.grad, p_twin.grad) < 10 * TOLERANCE[dtype] * p_twin.grad.abs().max().item()


@both_dtypes
@masks
def test_the_layer_is_that_of_torch(dtype, name):
    ours, theirs = busy(EncoderLayer(WIDTH, HEADS, HIDDEN, dtype=dtype)), torch_layer(dtype)
    theirs.load_state_dict(ours.state_dict())
    agree(ours, theirs, name, dtype)


@both_dtypes
@masks
def test_the_encoder_is_that_of_torch(dtype, name):
    ours, theirs = encoder(dtype=dtype, layers=3), torch_encoder(3, dtype)
    theirs.load_state_dict(ours.state_dict())
    agree(ours, theirs, name, dtype)


def test_weights_can_be_exchanged():
    ours, theirs = encoder(), busy(torch_encoder(2), 0.2)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = random(BATCH, N, WIDTH)
    assert gap(ours(x), theirs.train()(x)) < 1e-12


def test_the_layer_is_its_formula():
    layer, x = busy(EncoderLayer(WIDTH, HEADS, HIDDEN, dtype=F64)), random(N, WIDTH)
    z = x + layer.self_attn(layer.norm1(x))
    expected = z + layer.linear2(torch.relu(layer.linear1(layer.norm2(z))))
    assert gap(layer(x), expected) < 1e-13


# --- symmetry and positions -----------------------------------------------------------------------

KINDS = [None, "sinusoidal", "rotary", "learned"]


@both_dtypes
@torch.no_grad()
def test_without_positions_tokens_can_be_permuted(dtype):
    assert permutation_gap(encoder(dtype=dtype), random(BATCH, N, WIDTH, dtype=dtype)) < (
        10 * TOLERANCE[dtype]
    )


@pytest.mark.parametrize("positions", KINDS)
@torch.no_grad()
def test_positions_and_causal_masks_break_the_symmetry(positions):
    model, x = encoder(positions), random(BATCH, N, WIDTH)
    if positions is not None:
        assert permutation_gap(model, x) > 1e-2
    assert permutation_gap(lambda x: model(x, mask=CAUSAL), x) > 1e-2


@pytest.mark.parametrize("positions", KINDS[1:])
@torch.no_grad()
def test_tokens_move_with_their_positions(positions):
    model, x, places = encoder(positions), random(BATCH, N, WIDTH), torch.arange(N)
    y = model(x)
    assert gap(model(x, positions=places), y) == 0
    for p in permutations(N):
        assert gap(model(x[:, p], positions=places[p]), y[:, p]) < 1e-11


@torch.no_grad()
def test_only_rotary_positions_can_be_shifted():
    x, places = random(BATCH, N, WIDTH), torch.arange(N)
    for positions in KINDS[1:]:
        model = encoder(positions)
        moved = gap(model(x, positions=places + 9), model(x))
        assert moved < 1e-11 if positions == "rotary" else moved > 1e-2


@torch.no_grad()
def test_added_positions_are_added_before_the_first_layer():
    x, plain = random(BATCH, N, WIDTH), encoder()
    fixed = TransformerEncoder(2, WIDTH, HEADS, hidden=HIDDEN, positions="sinusoidal", dtype=F64)
    fixed.load_state_dict(plain.state_dict())
    assert gap(fixed(x), plain(x + sinusoidal(torch.arange(N), WIDTH, dtype=F64))) < 1e-13
    learned = encoder("learned")
    state = learned.state_dict()
    table = state.pop("position_table")
    plain.load_state_dict(state)
    assert gap(learned(x), plain(x + table[:N])) < 1e-13


@torch.no_grad()
def test_padding_is_not_looked_at():
    model, x = encoder("sinusoidal"), random(BATCH, N, WIDTH)
    there = PADDING[..., None]
    other = torch.where(there, x, random(BATCH, N, WIDTH, seed=5))
    y, y_other = model(x, key_mask=PADDING), model(other, key_mask=PADDING)
    assert gap(y * there, y_other * there) < 1e-13
    assert gap(y[1, :4], model(x[1, :4])) < 1e-12
    assert gap(model(x), model(other)) > 1e-2


@pytest.mark.parametrize("positions", KINDS)
def test_longer_sequences_and_one_token(positions):
    model = encoder(positions)
    for n in (1, 40):
        assert torch.isfinite(model(random(n, WIDTH))).all()


# --- tokens ---------------------------------------------------------------------------------------


def tokens(*shape: int) -> Tensor:
    return torch.randint(10, shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("positions", KINDS)
@torch.no_grad()
def test_logits_are_those_of_the_parts(positions):
    length = N if positions == "learned" else None
    model = busy(
        TokenTransformer(
            10, 4, layers=1, width=WIDTH, heads=HEADS, positions=positions, max_length=length,
            dtype=F64,
        )
    )  # fmt: skip
    t = tokens(BATCH, N)
    y = model(t)
    assert y.shape == (BATCH, N, 4)
    assert gap(y, model.head(model.encoder(model.embedding.weight[t]))) < 1e-13
    given = {"mask": CAUSAL, "key_mask": PADDING}
    expected = model.head(model.encoder(model.embedding.weight[t], **given))
    assert gap(model(t, **given), expected) < 1e-13
    assert gap(expected, y) > 1e-3
    order = permutations(N)[0]
    moved = gap(model(t[:, order]), y[:, order])
    assert moved < 1e-12 if positions is None else moved > 1e-3
    assert gap(model(t[0]), y[0]) < 1e-12


def test_the_width_of_the_perceptrons():
    assert TransformerEncoder(1, 8, 2).layers[0].linear1.out_features == 32
    assert TransformerEncoder(1, 8, 2, hidden=5).layers[0].linear1.out_features == 5
