"""What happens to layers after they are made: copied, moved, cast, compiled, emptied, trained."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from gdl.attention.attention import EdgeAttention, MultiHeadAttention, causal_mask
from gdl.attention.graph_encodings import BasisInvariantEncoder, SignInvariantEncoder
from gdl.attention.transformer import EncoderLayer, TokenTransformer, TransformerEncoder
from gdl.geometry import complete_graph
from tests.attention.common import F64, busy, gap, random

N, WIDTH = 5, 8
TOKENS = torch.tensor([[0, 3, 1, 4, 1], [2, 2, 0, 4, 3]])


def sequences(dtype: torch.dtype) -> tuple[Tensor]:
    return (random(2, N, WIDTH, dtype=dtype),)


def symmetric(dtype: torch.dtype) -> Tensor:
    x = random(3, N, N, dtype=dtype) / 3
    return x + x.transpose(1, 2)


# How a layer is made, and what it is given in a dtype.
LAYERS = {
    "attention": (lambda **made: MultiHeadAttention(WIDTH, 2, **made), sequences),
    "rotary attention": (
        lambda **made: MultiHeadAttention(WIDTH, 2, rotary=100, **made), sequences,
    ),
    "edge attention": (
        lambda **made: EdgeAttention(WIDTH, 2, **made),
        lambda dtype: (random(N, WIDTH, dtype=dtype), complete_graph(N)),
    ),
    "encoder layer": (lambda **made: EncoderLayer(WIDTH, 2, 12, **made), sequences),
    "sinusoidal encoder": (
        lambda **made: TransformerEncoder(2, WIDTH, 2, positions="sinusoidal", **made), sequences,
    ),
    "learned encoder": (
        lambda **made: TransformerEncoder(
            2, WIDTH, 2, positions="learned", max_length=N, **made
        ), sequences,
    ),
    "token transformer": (
        lambda **made: TokenTransformer(
            5, 3, layers=1, width=WIDTH, heads=2, positions="rotary", **made
        ),
        lambda dtype: (TOKENS,),
    ),
    "sign encoder": (
        lambda **made: SignInvariantEncoder(3, 2, WIDTH, **made),
        lambda dtype: (random(N, 3, dtype=dtype) / 2,),
    ),
    "basis encoder": (
        lambda **made: BasisInvariantEncoder(2, WIDTH, **made),
        lambda dtype: (random(3, dtype=dtype), symmetric(dtype)),
    ),
}  # fmt: skip
layers = pytest.mark.parametrize("name", list(LAYERS))


def make(name: str, dtype: torch.dtype = F64) -> tuple[nn.Module, tuple[Tensor, ...]]:
    build, inputs = LAYERS[name]
    return busy(build(dtype=dtype)), inputs(dtype)


@layers
@torch.no_grad()
def test_copies_compute_the_same(name):
    layer, given = make(name)
    y = layer(*given)
    build, _ = LAYERS[name]
    loaded = build(dtype=F64)
    loaded.load_state_dict(layer.state_dict())
    emptied = build(device="meta", dtype=F64).to_empty(device="cpu")
    emptied.load_state_dict(layer.state_dict())
    back = copy.deepcopy(layer).to("meta").to_empty(device="cpu")
    back.load_state_dict(layer.state_dict())
    twins = (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded, emptied, back)
    for twin in twins:
        assert torch.equal(twin(*given), y)


@layers
@torch.no_grad()
def test_dtypes_casts_and_the_meta_device(name):
    layer, given = make(name, torch.float32)
    y = layer(*given)
    assert y.dtype == torch.float32
    doubled = [x.double() if x.is_floating_point() else x for x in given]
    y_double = copy.deepcopy(layer).double()(*doubled)
    assert y_double.dtype == F64 and gap(y_double.float(), y) < 1e-5 * y.abs().max().item() + 1e-5
    build, _ = LAYERS[name]
    shapes = build(device="meta")(*[x.to("meta") for x in given])
    assert shapes.shape == y.shape and shapes.is_meta


@layers
def test_the_default_dtype_is_that_of_torch(name):
    build, _ = LAYERS[name]
    assert {p.dtype for p in build().parameters()} == {torch.float32}
    assert {p.dtype for p in build(dtype=F64).parameters()} == {F64}


@layers
def test_training_reaches_every_weight(name):
    torch.manual_seed(0)
    build, inputs = LAYERS[name]
    layer = build()
    layer(*inputs(torch.float32)).pow(2).sum().backward()
    for parameter_name, p in layer.named_parameters():
        assert torch.isfinite(p.grad).all()
        # A constant added to all keys changes no softmax.
        assert p.grad.abs().max() > 0 or parameter_name.endswith("in_proj_bias")


@layers
@torch.no_grad()
def test_compiled_layers_compute_the_same(name):
    layer, given = make(name, torch.float32)
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert gap(compiled(*given), layer(*given)) < 1e-5


def test_masks_in_a_compiled_layer():
    layer, (x,) = make("attention", torch.float32)
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    given = {"mask": causal_mask(N), "key_mask": torch.arange(N).expand(2, N) > 0}
    y = compiled(x, **given)
    assert gap(y, layer(x, **given)) < 1e-5
    assert torch.isfinite(y).all()


@layers
def test_autocast_rounds_and_no_more(name):
    layer, given = make(name, torch.float32)
    y = layer(*given)
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(*given)
    low.float().pow(2).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())
    assert (low.float() - y).norm() < 0.05 * y.norm()
    assert not torch.equal(low.float(), y)


def test_masks_under_autocast():
    layer, (x,) = make("rotary attention", torch.float32)
    given = {"mask": random(N, N, seed=3, dtype=torch.float32), "key_mask": torch.ones(2, N) > 0}
    given["key_mask"][0] = False
    y = layer(x, **given)
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(x, **given)
    assert (low.float() - y).norm() < 0.05 * y.norm()


@layers
def test_sixteen_bits(name):
    layer, given = make(name, torch.float32)
    low = [x.bfloat16() if x.is_floating_point() else x for x in given]
    y = copy.deepcopy(layer).bfloat16()(*low)
    assert y.dtype == torch.bfloat16
    assert (y.float() - layer(*given)).norm() < 0.1 * y.float().norm()
