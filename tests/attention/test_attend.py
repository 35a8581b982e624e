"""Softmax attention: its formula, its symmetry, its masks, torch's layer, and graphs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from gdl.attention.attention import (
    EdgeAttention,
    MultiHeadAttention,
    attend,
    attend_along,
    attention_weights,
    causal_mask,
)
from gdl.attention.encodings import rotary, rotary_matrix, sinusoidal
from gdl.geometry import complete_graph
from tests.attention.common import (
    F64,
    TOLERANCE,
    both_dtypes,
    busy,
    gap,
    permutation_gap,
    permutations,
    random,
    random_graph,
)

# --- the function ---------------------------------------------------------------------------------


def triple(*lead: int, n: int = 5, m: int = 7, d: int = 4, e: int = 3, dtype=F64):
    sizes = ((n, d), (m, d), (m, e))
    return [random(*lead, *size, seed=i, dtype=dtype) for i, size in enumerate(sizes)]


def some_mask(n: int = 5, m: int = 7) -> Tensor:
    """A mask whose second row is empty."""
    mask = torch.rand(n, m, generator=torch.Generator().manual_seed(3)) > 0.4
    mask[:, 0], mask[1] = True, False
    assert mask.any(1).sum() == n - 1
    return mask


def by_loops(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    y = torch.zeros(len(q), v.shape[1], dtype=q.dtype)
    for i in range(len(q)):
        seen = [j for j in range(len(k)) if mask[i, j]]
        powers = {j: math.exp(scale * float(sum(q[i] * k[j]))) for j in seen}
        for j in seen:
            y[i] += powers[j] / sum(powers.values()) * v[j]
    return y


@pytest.mark.parametrize("scale", [None, 0.3, -1.0, 0.0])
def test_attention_is_the_formula(scale):
    q, k, v = triple()
    for mask in (torch.ones(5, 7, dtype=torch.bool), some_mask()):
        expected = by_loops(q, k, v, mask, 0.5 if scale is None else scale)
        assert gap(attend(q, k, v, mask=mask, scale=scale), expected) < 1e-14


@both_dtypes
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_attention_is_that_of_torch(dtype, lead):
    q, k, v = triple(*lead, dtype=dtype)
    terms = random(5, 7, seed=9, dtype=dtype)
    for mask in (None, terms, terms > 0):
        expected = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        assert gap(attend(q, k, v, mask=mask), expected) < TOLERANCE[dtype]


def test_masks_that_are_shared_over_axes():
    q, k, v = triple(2, 3)
    for shape in ((5, 7), (1, 1, 5, 7), (2, 1, 5, 7), (1, 3, 5, 7), (2, 3, 5, 7)):
        mask = random(*shape, seed=5) > 0
        got = attend(q, k, v, mask=mask)
        whole = mask.expand(2, 3, 5, 7)
        for a in range(2):
            for b in range(3):
                alone = attend(q[a, b], k[a, b], v[a, b], mask=whole[a, b])
                assert gap(got[a, b], alone) < 1e-14


def test_minus_infinity_leaves_a_pair_out():
    q, k, v = triple()
    terms = torch.zeros(5, 7, dtype=F64).masked_fill(~some_mask(), -math.inf)
    assert torch.equal(attend(q, k, v, mask=terms), attend(q, k, v, mask=some_mask()))


def test_a_row_without_pairs_is_zero_and_has_gradients():
    q, k, v = (x.requires_grad_() for x in triple())
    y = attend(q, k, v, mask=some_mask())
    assert torch.equal(y[1], torch.zeros(3, dtype=F64)) and y[0].abs().min() > 0
    y.square().sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in (q, k, v))
    assert torch.equal(q.grad[1], torch.zeros(4, dtype=F64)) and q.grad[0].abs().max() > 0
    weights = attention_weights(q, k, mask=some_mask())
    expected = torch.ones(5, dtype=F64)
    expected[1] = 0
    assert gap(weights.sum(1), expected) < 1e-14


def test_large_logits_do_no_harm():
    q, k, v = triple()
    y = attend(1e6 * q, k, v)
    best = (q @ k.T).argmax(1)
    assert gap(y, v[best]) < 1e-12


def test_queries_and_keys_can_be_permuted():
    q, k, v = triple()
    y = attend(q, k, v)
    for p in permutations(5):
        assert gap(attend(q[p], k, v), y[p]) < 1e-14
    for p in permutations(7):
        assert gap(attend(q, k[p], v[p]), y) < 1e-14
        assert gap(attend(q, k, v[p]), y) > 1e-2


def test_a_mask_moves_with_its_tokens():
    q, k, v = triple(n=6, m=6)
    mask = random_graph(6) > 0
    y = attend(q, k, v, mask=mask)
    for p in permutations(6):
        moved = [x[p] for x in (q, k, v)]
        assert gap(attend(*moved, mask=mask[p][:, p]), y[p]) < 1e-14
        assert gap(attend(*moved, mask=mask), y[p]) > 1e-2


def test_derivatives_are_those_of_differences():
    q, k, v = (x.requires_grad_() for x in triple(n=3, m=4))
    mask = some_mask(3, 4)
    assert torch.autograd.gradcheck(lambda *x: attend(*x, mask=mask), (q, k, v))


def test_the_causal_mask_looks_back_only():
    x = random(6, 4)
    y = attend(x, x, x, mask=causal_mask(6))
    for i in range(6):
        later = x.clone()
        later[i + 1 :] = random(5 - i, 4, seed=7)
        other = attend(later, later, later, mask=causal_mask(6))
        assert torch.equal(other[: i + 1], y[: i + 1])
    # The last output does depend on the first token.
    assert gap(attend(x, x[1:], x[1:])[5], y[5]) > 1e-3


# --- the layer against torch's --------------------------------------------------------------------

N, BATCH, WIDTH, HEADS = 6, 3, 8, 2
CAUSAL = causal_mask(N)
PADDING = torch.arange(N) < torch.tensor([[6], [4], [1]])
TERMS = random(BATCH, HEADS, N, N, seed=4)

# Ours, and what torch calls the same: its booleans say who does not take part.
MASKS = {
    "none": ({}, {}),
    "causal": ({"mask": CAUSAL}, {"attn_mask": ~CAUSAL}),
    "padding": ({"key_mask": PADDING}, {"key_padding_mask": ~PADDING}),
    "both": (
        {"mask": CAUSAL, "key_mask": PADDING},
        {"attn_mask": ~CAUSAL, "key_padding_mask": ~PADDING},
    ),
    "terms": ({"mask": TERMS}, {"attn_mask": TERMS.flatten(0, 1)}),
    "boolean for heads": ({"mask": TERMS > -1}, {"attn_mask": (TERMS <= -1).flatten(0, 1)}),
}


def twins(bias: bool = True, dtype: torch.dtype = F64) -> tuple[MultiHeadAttention, nn.Module]:
    ours = busy(MultiHeadAttention(WIDTH, HEADS, bias=bias, dtype=dtype))
    theirs = nn.MultiheadAttention(WIDTH, HEADS, bias=bias, batch_first=True, dtype=dtype)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@both_dtypes
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", list(MASKS))
def test_the_layer_is_that_of_torch(dtype, bias, name):
    ours, theirs = twins(bias, dtype)
    here, there = (
        {key: mask.to(dtype) if mask.is_floating_point() else mask for key, mask in given.items()}
        for given in MASKS[name]
    )
    x = random(BATCH, N, WIDTH, dtype=dtype).requires_grad_()
    x_twin = x.detach().clone().requires_grad_()
    y = ours(x, **here)
    y_twin, weights = theirs(x_twin, x_twin, x_twin, average_attn_weights=False, **there)
    assert gap(y, y_twin) < TOLERANCE[dtype]
    assert gap(ours.weights(x, **here), weights) < TOLERANCE[dtype]
    for output in (y, y_twin):
        output.square().sum().backward()
    scale = x_twin.grad.abs().max().item()
    assert gap(x.grad, x_twin.grad) < scale * TOLERANCE[dtype]
    for p, p_twin in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert gap(p.grad, p_twin.grad) < 1e2 * scale * TOLERANCE[dtype]


@pytest.mark.parametrize("bias", [True, False])
def test_keys_and_values_of_other_tokens(bias):
    ours, theirs = twins(bias)
    query, key, value = (random(BATCH, n, WIDTH, seed=n) for n in (4, 6, 6))
    value = value + 1
    padding = {"key_mask": PADDING}, {"key_padding_mask": ~PADDING}
    for here, there in (({}, {}), padding):
        assert gap(ours(query, key, value, **here), theirs(query, key, value, **there)[0]) < 1e-12
        assert gap(ours(query, key, **here), theirs(query, key, key, **there)[0]) < 1e-12
    assert gap(ours(query, query, query), ours(query)) < 1e-14


@pytest.mark.parametrize("bias", [True, False])
def test_weights_can_be_exchanged_and_start_alike(bias):
    torch.manual_seed(0)
    ours = MultiHeadAttention(WIDTH, HEADS, bias=bias)
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(WIDTH, HEADS, bias=bias)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(
        torch.equal(ours.state_dict()[name], value) for name, value in theirs.state_dict().items()
    )
    ours.load_state_dict(busy(theirs).state_dict())
    assert torch.equal(ours.in_proj_weight, theirs.in_proj_weight)


def test_the_layer_is_attention_head_by_head():
    ours, _ = twins()
    x = random(N, WIDTH)
    mask = random_graph(N) > 0
    W, b = ours.in_proj_weight.reshape(3, HEADS, 4, WIDTH), ours.in_proj_bias.reshape(3, HEADS, 4)
    heads = []
    for h in range(HEADS):
        q, k, v = (x @ W[part, h].T + b[part, h] for part in range(3))
        heads.append(attend(q, k, v, mask=mask))
    expected = torch.cat(heads, dim=1) @ ours.out_proj.weight.T + ours.out_proj.bias
    assert gap(ours(x, mask=mask), expected) < 1e-14


def test_masks_for_each_sequence_and_more_axes():
    ours, _ = twins()
    x = random(2, BATCH, N, WIDTH)
    mask = random(2, BATCH, N, N, seed=6) > 0
    y = ours(x, mask=mask)
    for a in range(2):
        for b in range(BATCH):
            assert gap(y[a, b], ours(x[a, b], mask=mask[a, b])) < 1e-13


@both_dtypes
def test_a_token_that_sees_nothing_gets_the_bias(dtype):
    ours, _ = twins(dtype=dtype)
    x = random(BATCH, N, WIDTH, dtype=dtype).requires_grad_()
    keys = PADDING.clone()
    keys[2] = False
    y = ours(x, mask=CAUSAL, key_mask=keys)
    assert gap(y[2], ours.out_proj.bias.expand(N, WIDTH)) < TOLERANCE[dtype]
    assert torch.equal(ours.weights(x, key_mask=keys)[2], torch.zeros(HEADS, N, N, dtype=dtype))
    y.square().sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad[0].abs().max() > 0
    assert all(torch.isfinite(p.grad).all() for p in ours.parameters())


# --- the symmetry ---------------------------------------------------------------------------------


@both_dtypes
def test_tokens_can_be_permuted(dtype):
    ours, _ = twins(dtype=dtype)
    x = random(BATCH, N, WIDTH, dtype=dtype)
    with torch.no_grad():
        assert permutation_gap(ours, x) < TOLERANCE[dtype]


def test_a_causal_mask_or_positions_break_the_symmetry():
    ours, _ = twins()
    turned = MultiHeadAttention(WIDTH, HEADS, rotary=10000, dtype=F64)
    turned.load_state_dict(ours.state_dict())
    x = random(BATCH, N, WIDTH)
    encoding = sinusoidal(torch.arange(N), WIDTH, dtype=F64)
    for f in (
        lambda x: ours(x, mask=CAUSAL),
        lambda x: ours(x + encoding),
        turned,
    ):
        with torch.no_grad():
            assert permutation_gap(f, x) > 1e-2


@both_dtypes
def test_rotary_attention_depends_on_differences_only(dtype):
    layer = busy(MultiHeadAttention(WIDTH, HEADS, rotary=100, dtype=dtype))
    x = random(BATCH, N, WIDTH, dtype=dtype)
    with torch.no_grad():
        y = layer(x)
        places = torch.arange(N)
        assert gap(layer(x, positions=places + 17), y) < TOLERANCE[dtype]
        each = places + torch.tensor([[0], [5], [-3]])
        assert gap(layer(x, positions=each), y) < TOLERANCE[dtype]
        assert gap(layer(x, positions=2 * places), y) > 1e-3
        plain = MultiHeadAttention(WIDTH, HEADS, dtype=dtype)
        plain.load_state_dict(layer.state_dict())
        added = [plain(x + sinusoidal(places + s, WIDTH, dtype=dtype)) for s in (0, 17)]
    assert gap(*added) > 1e-3


def test_rotary_attention_moves_tokens_with_their_positions():
    layer = busy(MultiHeadAttention(WIDTH, HEADS, rotary=100, dtype=F64))
    x, places = random(N, WIDTH), torch.arange(N)
    y = layer(x)
    for p in permutations(N):
        assert gap(layer(x[p], positions=places[p]), y[p]) < 1e-12


def test_rotary_attention_turns_queries_and_keys_but_no_values():
    layer = busy(MultiHeadAttention(4, 1, rotary=100, dtype=F64))
    x = random(N, 4)
    q, k, v = (part.squeeze(0) for part in layer.split(x))
    R = rotary_matrix(torch.arange(N), 4, 100)
    logits = (R @ q[..., None]).squeeze(-1) @ (R @ k[..., None]).squeeze(-1).T / 2
    expected = layer.out_proj(logits.softmax(1) @ v)
    assert gap(layer(x), expected) < 1e-13
    assert gap(attend(rotary(q, base=100), rotary(k, base=100), v), logits.softmax(1) @ v) < 1e-13


# --- on graphs ------------------------------------------------------------------------------------


def edges_of(adjacency: Tensor) -> Tensor:
    target, source = adjacency.nonzero().T
    return torch.stack([source, target])


def edge_twins(dtype: torch.dtype = F64) -> tuple[EdgeAttention, MultiHeadAttention]:
    ours, _ = twins(dtype=dtype)
    along = EdgeAttention(WIDTH, HEADS, dtype=dtype)
    along.load_state_dict(ours.state_dict())
    return along, ours


@both_dtypes
def test_on_the_complete_graph_it_is_attention(dtype):
    along, ours = edge_twins(dtype)
    x = random(N, WIDTH, dtype=dtype).requires_grad_()
    y, expected = along(x, complete_graph(N, loop=True)), ours(x)
    assert gap(y, expected) < TOLERANCE[dtype]
    gradients = [torch.autograd.grad(z.square().sum(), x)[0] for z in (y, expected)]
    assert gap(*gradients) < 10 * TOLERANCE[dtype]
    # Without the loops a token does not see itself.
    assert gap(along(x, complete_graph(N)), expected) > 1e-3


def test_on_a_graph_it_is_attention_with_the_mask_of_its_adjacency():
    along, ours = edge_twins()
    directed = random(N, N, seed=8) > 0.2
    directed[2] = False
    x = random(N, WIDTH)
    assert not torch.equal(directed, directed.T)
    assert gap(along(x, edges_of(directed)), ours(x, mask=directed)) < 1e-13
    assert gap(along(x, edges_of(directed.T)), ours(x, mask=directed)) > 1e-3


def test_a_batch_of_sets_is_a_union_of_complete_graphs():
    along, ours = edge_twins()
    x = random(7, WIDTH)
    y = along(x, complete_graph([3, 4], loop=True))
    assert gap(y, torch.cat([ours(x[:3]), ours(x[3:])])) < 1e-13


def test_edges_without_heads_and_with_a_scale():
    q, k, v = triple(n=6, m=6)
    mask = random_graph(6) > 0
    for scale in (None, 0.7):
        got = attend_along(q, k, v, edges_of(mask), scale=scale)
        assert gap(got, attend(q, k, v, mask=mask, scale=scale)) < 1e-14


def test_an_edge_given_twice_counts_twice():
    q, k, v = triple(n=3, m=3)
    got = attend_along(q, k, v, torch.tensor([[0, 1, 1], [2, 2, 2]]))
    powers = (q[2] @ k.T / 2).exp()
    expected = (powers[0] * v[0] + 2 * powers[1] * v[1]) / (powers[0] + 2 * powers[1])
    assert gap(got[2], expected) < 1e-14
    assert torch.equal(got[:2], torch.zeros(2, 3, dtype=F64))


def test_nodes_and_edges_can_be_renumbered():
    along, _ = edge_twins()
    x, edge_index = random(N, WIDTH), edges_of(random(N, N, seed=8) > 0.2)
    y = along(x, edge_index)
    shuffled = edge_index[:, torch.randperm(edge_index.shape[1])]
    assert gap(along(x, shuffled), y) < 1e-13
    for p in permutations(N):
        # Node i becomes node p[i].
        assert gap(along(x[p.argsort()], p[edge_index]), y[p.argsort()]) < 1e-13


@both_dtypes
@pytest.mark.parametrize("n", [1, 3])
def test_a_graph_without_edges(dtype, n):
    along, _ = edge_twins(dtype)
    x = random(n, WIDTH, dtype=dtype).requires_grad_()
    y = along(x, torch.empty(2, 0, dtype=torch.int64))
    assert gap(y, along.out_proj.bias.expand(n, WIDTH)) < TOLERANCE[dtype]
    y.sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))
