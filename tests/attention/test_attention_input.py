"""What the room of attention refuses, by name, rather than broadcast, spoil or crash on it."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from gdl.attention.attention import (
    EdgeAttention,
    Heads,
    MultiHeadAttention,
    attend,
    attend_along,
    attention_weights,
    causal_mask,
)
from gdl.attention.encodings import rotary, rotary_matrix, sinusoidal
from gdl.attention.graph_encodings import (
    BasisInvariantEncoder,
    SignInvariantEncoder,
    eigenspace_projectors,
    laplacian_encoding,
    random_walk_encoding,
)
from gdl.attention.linear import elu_plus_one, kernel_attend, linear_attend
from gdl.attention.transformer import EncoderLayer, TokenTransformer, TransformerEncoder
from tests.attention.common import random
from tests.test_representations import refuses

NAN = torch.full((3, 4), math.nan)
X = torch.ones(3, 4)
EDGES = torch.tensor([[0, 1], [1, 2]])
POSITIONS = torch.arange(3)


def check_all(f, fits: dict, bad: list[tuple]) -> None:
    """The call goes through as it is, and is refused with each bad argument in its place."""
    f(**fits)
    for error, argument, value in bad:
        with refuses(error, argument):
            f(**{**fits, argument: value})


NO_TENSOR = [(TypeError, None), (TypeError, [[1.0]]), (TypeError, torch.ones(3, 4).long())]
BAD_TOKENS = [
    *NO_TENSOR, (ValueError, NAN), (ValueError, X[0]), (ValueError, X[:0]), (ValueError, X[:, :0]),
]  # fmt: skip


@pytest.mark.parametrize("f", [attend, linear_attend, kernel_attend])
def test_queries_keys_and_values(f):
    fits = {"q": X, "k": X, "v": X}
    check_all(f, fits, [(error, name, value) for name in fits for error, value in BAD_TOKENS])
    mixed = [("k", X.double()), ("v", X.double())]
    check_all(f, fits, [(TypeError, name, value) for name, value in mixed])
    shapes = [("k", X[:, :3]), ("k", X[None]), ("v", X[:2]), ("v", X.expand(2, 3, 4))]
    check_all(f, fits, [(ValueError, name, value) for name, value in shapes])
    with refuses(ValueError, "k"):
        f(X.expand(2, 3, 4), X.expand(1, 3, 4), X.expand(2, 3, 4))


def test_masks_of_functions():
    fits = {"q": X, "k": X, "v": X, "mask": torch.ones(3, 3) > 0}
    spoilt = torch.zeros(3, 3)
    spoilt[0, 0] = math.nan
    bad = [
        (TypeError, [[True]]), (TypeError, torch.ones(3, 3).long()), (ValueError, torch.ones(3, 1)),
        (ValueError, torch.ones(1, 3)), (ValueError, torch.ones(3)), (ValueError, spoilt),
        (ValueError, torch.full((3, 3), math.inf)), (ValueError, torch.ones(1, 3, 3)),
        (ValueError, torch.ones(3, 3, device="meta")),
    ]  # fmt: skip
    check_all(attend, fits, [(error, "mask", value) for error, value in bad])
    scales = [(TypeError, "1"), (TypeError, True), (ValueError, math.nan), (ValueError, math.inf)]
    check_all(attend, fits, [(error, "scale", value) for error, value in scales])


def test_products_that_overflow():
    huge = torch.full((3, 4), 1e30)
    for f in (attend, partial(linear_attend, feature_map=torch.clone, normalise=False)):
        with refuses(ValueError, "q"):
            f(huge, huge, huge)
    with refuses(ValueError, "q"):
        attention_weights(huge, huge)
    with refuses(ValueError, "q"):
        attend_along(huge, huge, huge, EDGES)


def test_edges():
    fits = {"q": X, "k": X, "v": X, "edge_index": EDGES}
    bad = [
        (ValueError, EDGES + 1), (ValueError, EDGES - 1), (TypeError, EDGES.int()),
        (TypeError, EDGES.float()), (ValueError, EDGES[0]), (ValueError, EDGES.T.repeat(2, 1)),
        (TypeError, None),
    ]  # fmt: skip
    check_all(attend_along, fits, [(error, "edge_index", value) for error, value in bad])
    bad = [(error, name, x) for name in "qkv" for error, x in BAD_TOKENS]
    bad += [(ValueError, "k", X[:2]), (ValueError, "v", X[:2]), (ValueError, "k", X[:, :2])]
    bad += [(ValueError, name, torch.ones(1, 1, 3, 4)) for name in "qkv"]
    bad += [(ValueError, "v", torch.ones(3, 1, 4)), (TypeError, "v", X.double())]
    check_all(attend_along, fits, bad)
    layer = EdgeAttention(4, 2)
    fits = {"x": X, "edge_index": EDGES}
    bad = [("x", X[None]), ("x", X[:, :2]), ("x", NAN), ("edge_index", EDGES + 1)]
    check_all(layer, fits, [(ValueError, name, value) for name, value in bad])


FULL = torch.full((3, 4), torch.finfo(torch.float32).max)


def loud(kind: type[Heads]) -> Heads:
    """A layer whose queries and keys are 0, and whose outputs are 36 times a token's entries."""
    layer = kind(4, 2)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.eye(12, 4).roll(8, 0))
        layer.out_proj.weight.fill_(9.0)
    return layer


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("query", lambda: MultiHeadAttention(4, 2)(1e25 * random(3, 4, dtype=torch.float32))),
        ("query", lambda: MultiHeadAttention(4, 2)(
            1e25 * random(3, 4, dtype=torch.float32), mask=torch.ones(3, 3) > 0)),
        ("query", lambda: loud(MultiHeadAttention)(FULL / 10)),
        ("x", lambda: loud(EdgeAttention)(FULL / 10, EDGES)),
        ("x", lambda: EncoderLayer(4, 2, 3)(1e25 * random(3, 4, dtype=torch.float32))),
        ("x", lambda: TransformerEncoder(1, 4, 2)(1e25 * random(3, 4, dtype=torch.float32))),
        ("x", lambda: rotary(FULL, torch.full((3,), math.pi / 4))),
        ("positions", lambda: rotary(X, torch.full((3,), 1e308, dtype=torch.float64), 1e-3)),
        ("positions", lambda: sinusoidal(torch.tensor(1e308, dtype=torch.float64), 4, 1e-3)),
        ("positions", lambda: rotary_matrix(torch.tensor(1e308, dtype=torch.float64), 4, 1e-3)),
    ],
)  # fmt: skip
def test_results_that_overflow(argument, call):
    with refuses(ValueError, argument):
        call()


def test_perceptrons_that_overflow():
    """The second is finite, but too large for the norm after it."""
    encoder = TransformerEncoder(1, 4, 2, hidden=3)
    (layer,) = encoder.layers
    torch.nn.init.ones_(layer.linear1.bias)
    torch.nn.init.zeros_(layer.linear1.weight)
    torch.nn.init.constant_(layer.linear2.weight, 3e38)
    with refuses(ValueError, "x"):
        layer(X)
    with torch.no_grad():
        layer.linear2.weight.copy_(1e25 * random(4, 3, dtype=torch.float32))
    assert layer(X).isfinite().all()
    with refuses(ValueError, "x"):
        encoder(X)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_masks_that_overflow(sign):
    """Both in the dtype of the queries, and when they are added to the logits."""
    wide = torch.full((3, 3), sign * 1e300, dtype=torch.float64)
    most = sign * torch.finfo(torch.float32).max
    layer = MultiHeadAttention(4, 2)
    for call in (partial(attend, X, X, X), partial(attention_weights, X, X), partial(layer, X)):
        with refuses(ValueError, "mask"):
            call(mask=wide)
    q = math.sqrt(abs(most) / 8) * X
    with refuses(ValueError, "mask"):
        attention_weights(q, sign * q, mask=torch.full((3, 3), most))
    barred = torch.full((3, 3), -math.inf, dtype=torch.float64)
    assert attend(X, X, X, mask=barred).count_nonzero() == 0


@pytest.mark.parametrize("n", [0, -1, 1.5, True, None])
def test_sizes_of_causal_masks(n):
    with refuses((TypeError, ValueError), "n"):
        causal_mask(n)


# --- layers ---------------------------------------------------------------------------------------

NO_COUNT = [0, -1, True, 1.5, None, "3"]
SIZES = {
    MultiHeadAttention: {"embed_dim": 4, "num_heads": 2},
    EdgeAttention: {"embed_dim": 4, "num_heads": 2},
    EncoderLayer: {"width": 4, "heads": 2, "hidden": 3},
    TransformerEncoder: {"layers": 1, "width": 4, "heads": 2},
    TokenTransformer: {"tokens": 3, "outputs": 2, "layers": 1, "width": 4, "heads": 2},
    SignInvariantEncoder: {"k": 2, "out_channels": 3, "hidden": 4},
    BasisInvariantEncoder: {"out_channels": 3, "hidden": 4},
}


@pytest.mark.parametrize("kind", list(SIZES), ids=lambda kind: kind.__name__)
def test_sizes_and_dtypes(kind):
    bad = [((TypeError, ValueError), name, value) for name in SIZES[kind] for value in NO_COUNT]
    bad += [(TypeError, "dtype", torch.int64), (TypeError, "dtype", "float32")]
    check_all(kind, SIZES[kind], bad)


@pytest.mark.parametrize(
    ("error", "argument", "make"),
    [
        (ValueError, "num_heads", lambda: MultiHeadAttention(6, 4)),
        (ValueError, "num_heads", lambda: EncoderLayer(6, 4, 8)),
        (ValueError, "rotary", lambda: MultiHeadAttention(6, 2, rotary=100)),
        (ValueError, "rotary", lambda: TransformerEncoder(1, 6, 2, positions="rotary")),
        (ValueError, "rotary", lambda: MultiHeadAttention(4, 2, rotary=0)),
        (ValueError, "rotary", lambda: MultiHeadAttention(4, 2, rotary=math.nan)),
        (TypeError, "rotary", lambda: MultiHeadAttention(4, 2, rotary=True)),
        (TypeError, "bias", lambda: MultiHeadAttention(4, 2, bias=1)),
        (ValueError, "width", lambda: TransformerEncoder(1, 3, 1, positions="sinusoidal")),
        (ValueError, "positions", lambda: TransformerEncoder(1, 4, 2, positions="relative")),
        (ValueError, "positions", lambda: TransformerEncoder(1, 4, 2, positions=True)),
        (ValueError, "max_length", lambda: TransformerEncoder(1, 4, 2, positions="learned")),
        (ValueError, "max_length", lambda: TransformerEncoder(1, 4, 2, max_length=9)),
        (ValueError, "max_length", lambda: TransformerEncoder(
            1, 4, 2, positions="learned", max_length=0)),
        (ValueError, "hidden", lambda: TransformerEncoder(1, 4, 2, hidden=0)),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(error, argument, make):
    with refuses(error, argument):
        make()


@pytest.mark.parametrize("kind", [MultiHeadAttention, EdgeAttention])
def test_tokens_of_attention(kind):
    layer = kind(4, 2)
    name = "query" if kind is MultiHeadAttention else "x"
    rest = {"edge_index": EDGES} if kind is EdgeAttention else {}
    bad = [*BAD_TOKENS, (ValueError, torch.ones(3, 5)), (TypeError, X.double())]
    check_all(layer, {name: X, **rest}, [(error, name, value) for error, value in bad])


def test_keys_values_and_masks_of_the_layer():
    layer, x = MultiHeadAttention(4, 2), torch.ones(5, 3, 4)
    fits = {
        "query": x, "key": x[:, :2], "value": x[:, :2], "mask": torch.ones(3, 2) > 0,
        "key_mask": torch.ones(5, 2) > 0,
    }  # fmt: skip
    bad = [
        (ValueError, "key", x[:, :1]), (ValueError, "key", x[:3, :2]), (ValueError, "value", x),
        (TypeError, "key", x[:, :2].double()), (ValueError, "value", x[:, :2, :3]),
        (ValueError, "mask", torch.ones(2, 3)), (ValueError, "mask", torch.ones(3, 1)),
        (ValueError, "mask", torch.ones(2, 3, 2)), (ValueError, "mask", torch.ones(5, 3, 3, 2)),
        (ValueError, "mask", torch.ones(1, 5, 2, 3, 2)), (TypeError, "mask", "causal"),
        (TypeError, "mask", torch.ones(3, 2).int()),
        (ValueError, "mask", torch.full((3, 2), math.nan)),
        (ValueError, "key_mask", torch.ones(2) > 0), (TypeError, "key_mask", torch.ones(5, 2)),
        (ValueError, "key_mask", torch.ones(1, 2) > 0), (TypeError, "key_mask", [True, False]),
        (ValueError, "key_mask", torch.ones(5, 2, device="meta") > 0),
        (ValueError, "positions", torch.arange(3)),
    ]  # fmt: skip
    check_all(layer, fits, bad)
    layer.weights(x, x[:, :2], mask=fits["mask"], key_mask=fits["key_mask"])
    with refuses(ValueError, "mask"):
        layer.weights(x, mask=torch.ones(3, 2))


def test_positions_of_rotary_attention():
    layer = MultiHeadAttention(4, 2, rotary=100)
    bad = [
        (ValueError, torch.arange(2)), (ValueError, torch.arange(6).reshape(2, 3)),
        (TypeError, [0, 1, 2]), (TypeError, POSITIONS > 0), (TypeError, POSITIONS * 1j),
        (ValueError, torch.tensor([0.0, 1.0, math.nan])), (ValueError, torch.tensor(3)),
    ]  # fmt: skip
    fits = {"query": X, "positions": POSITIONS}
    check_all(layer, fits, [(error, "positions", value) for error, value in bad])
    check_all(layer, fits, [(ValueError, "key", X)])


def test_positions_of_encoders():
    learned = TransformerEncoder(1, 4, 2, positions="learned", max_length=3)
    fits = {"x": X, "positions": POSITIONS}
    bad = [(ValueError, POSITIONS + 1), (ValueError, POSITIONS - 1), (TypeError, POSITIONS.float())]
    check_all(learned, fits, [(error, "positions", value) for error, value in bad])
    with refuses(ValueError, "positions"):
        learned(torch.ones(4, 4))
    with refuses(ValueError, "positions"):
        TransformerEncoder(1, 4, 2)(**fits)
    for kind in ("sinusoidal", "rotary"):
        model = TransformerEncoder(1, 4, 2, positions=kind)
        check_all(model, fits, [(ValueError, "positions", torch.arange(2))])
    check_all(learned, {"x": X}, [(error, "x", value) for error, value in BAD_TOKENS])
    check_all(EncoderLayer(4, 2, 3), {"x": X}, [(e, "x", value) for e, value in BAD_TOKENS])


def test_tokens_of_the_transformer():
    model = TokenTransformer(3, 2, layers=1, width=4, heads=2)
    bad = [
        (ValueError, torch.tensor([[0, 3]])), (ValueError, torch.tensor([[-1, 2]])),
        (TypeError, torch.tensor([[0, 1]]).int()), (TypeError, torch.tensor([[0.0, 1.0]])),
        (ValueError, torch.empty(2, 0, dtype=torch.int64)), (ValueError, torch.tensor(1)),
        (TypeError, [[0, 1]]),
    ]  # fmt: skip
    check_all(model, {"t": torch.tensor([[0, 2]])}, [(error, "t", value) for error, value in bad])


def test_feature_maps():
    fits = {"q": X, "k": X, "v": X, "feature_map": elu_plus_one}
    bad = [
        (TypeError, None), (ValueError, lambda x: x - 2), (ValueError, torch.zeros_like),
        (ValueError, lambda x: x[..., :0]), (ValueError, lambda x: x[1:]), (ValueError, len),
        (ValueError, lambda x: x.double()), (ValueError, lambda x: x / 0),
    ]  # fmt: skip
    for f in (linear_attend, kernel_attend):
        check_all(f, fits, [(error, "feature_map", value) for error, value in bad])
        bad_flags = [("causal", 1), ("causal", None), ("normalise", 0)]
        check_all(f, fits, [(TypeError, name, value) for name, value in bad_flags])
        with refuses(ValueError, "causal"):
            f(X, X[:2], X[:2], causal=True)
    with refuses(TypeError, "x"):
        elu_plus_one(POSITIONS)


# --- encodings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [sinusoidal, rotary_matrix])
def test_encodings_of_positions(f):
    fits = {"positions": POSITIONS, "channels": 4, "base": 100.0}
    bad = [
        ((TypeError, ValueError), "channels", value) for value in [3, 0, -2, 2.0, True, None]
    ] + [((TypeError, ValueError), "base", value) for value in [0, -1.0, math.nan, True, "1", None]]
    bad += [
        (TypeError, "positions", 3), (TypeError, "positions", POSITIONS > 1),
        (TypeError, "positions", POSITIONS * 1j),
        (ValueError, "positions", torch.tensor([math.inf])),
    ]  # fmt: skip
    check_all(f, fits, bad)
    with refuses(TypeError, "dtype"):
        sinusoidal(POSITIONS, 4, dtype=torch.int64)


def test_rotary_encodings():
    fits = {"x": X, "positions": POSITIONS}
    bad = [(error, "x", value) for error, value in BAD_TOKENS]
    bad += [(ValueError, "x", torch.ones(3, 3)), (ValueError, "base", 0.0)]
    bad += [(ValueError, "positions", POSITIONS[:2]), (ValueError, "positions", POSITIONS[None])]
    bad += [(ValueError, "positions", torch.empty(3, device="meta"))]
    check_all(rotary, fits, bad)


A = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
BAD_GRAPHS = [
    (TypeError, None), (TypeError, A.long()), (ValueError, A[:2]), (ValueError, A[None]),
    (ValueError, A[:0, :0]), (ValueError, -A), (ValueError, A / 0), (ValueError, A[0]),
    (ValueError, torch.full((3, 3), 1e200, dtype=torch.float64) * 1e200),
    (ValueError, torch.empty(3, 3, device="meta")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("f", "number", "most"),
    [
        (laplacian_encoding, "k", 2),
        (eigenspace_projectors, "k", 2),
        (random_walk_encoding, "steps", None),
    ],
)
def test_graphs(f, number, most):
    fits = {"adjacency": A, number: 2}
    check_all(f, fits, [(error, "adjacency", value) for error, value in BAD_GRAPHS])
    no_count = [value for value in NO_COUNT if value is not None]
    bad = [((TypeError, ValueError), number, value) for value in no_count]
    bad += [(ValueError, number, most + 1)] if most else []
    check_all(f, fits, bad)
    if most:
        directed = A.clone()
        directed[0, 1] = 2.0
        one_way = A.double()
        one_way[0, 1] = one_way[1, 0] = 1e10
        one_way[1, 2], one_way[2, 1] = 1e-6, 0.0
        check_all(f, fits, [(ValueError, "adjacency", each) for each in (directed, one_way)])


def test_sums_of_weights_that_overflow():
    huge = torch.full((3, 3), 1e308, dtype=torch.float64)
    for f in (laplacian_encoding, eigenspace_projectors, random_walk_encoding):
        with refuses(ValueError, "adjacency"):
            f(huge, 1)


def test_vectors_and_projectors():
    signs = SignInvariantEncoder(2, 3, 4)
    vectors = torch.ones(5, 2)
    bad = [
        (ValueError, vectors[:, :1]), (ValueError, vectors[None]), (ValueError, vectors * math.nan),
        (ValueError, vectors[:0]), (TypeError, vectors.double()), (TypeError, None),
    ]  # fmt: skip
    check_all(signs, {"vectors": vectors}, [(error, "vectors", value) for error, value in bad])
    spaces = BasisInvariantEncoder(3, 4)
    P = torch.eye(3)[None]
    bad = [
        (ValueError, "projectors", P[0]), (ValueError, "projectors", P[:, :2]),
        (ValueError, "projectors", P * math.nan), (TypeError, "projectors", P.double()),
        (TypeError, "projectors", None), (ValueError, "projectors", torch.ones(1, 0, 0)),
        (ValueError, "values", torch.ones(2)), (ValueError, "values", torch.ones(1, 1)),
        (TypeError, "values", 1.0), (TypeError, "values", torch.ones(1).double()),
        (ValueError, "values", torch.tensor([math.inf])),
    ]  # fmt: skip
    check_all(spaces, {"values": torch.ones(1), "projectors": P}, bad)
