"""Orders of features: text, layout, rotation by the irreps of SO(2)."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gdl.gauges._irreps import size
from gdl.gauges.orders import Orders
from gdl.representations import SO

F64 = torch.float64
TEXTS = ["1x0", "1x1", "3x0 + 2x1", "1x2 + 2x0 + 1x1 + 1x2", "2x4 + 1x3"]
texts = pytest.mark.parametrize("text", TEXTS)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


# --- what is read ---------------------------------------------------------------------------


def test_text_pairs_and_orders_are_read_alike():
    orders = Orders("8x0 + 4x1+2 x 3")
    assert orders.blocks == ((8, 0), (4, 1), (2, 3))
    assert (orders.dim, orders.top, orders.scalars, len(orders)) == (20, 3, 8, 3)
    assert list(orders) == list(orders.blocks)
    assert orders == Orders(orders) == Orders([(8, 0), [4, 1], (2, 3)]) == Orders(str(orders))
    assert str(orders) == "8x0 + 4x1 + 2x3" and repr(orders) == "Orders('8x0 + 4x1 + 2x3')"
    assert len({orders, Orders(str(orders)), Orders("1x0")}) == 2


def test_equality_is_of_blocks_in_their_sequence():
    assert Orders("1x0 + 1x1") != Orders("1x1 + 1x0")
    assert Orders("1x1 + 1x1") != Orders("2x1")
    assert Orders("1x0") != "1x0"


def test_blocks_may_repeat_and_scalars_be_absent():
    orders = Orders("2x0 + 1x2 + 3x0")
    assert (orders.dim, orders.scalars) == (7, 5)
    assert Orders("3x2").scalars == 0
    assert Orders("100000x1 + 1x64").dim == 200_002


@texts
def test_copies_and_pickles_are_equal(text):
    orders = Orders(text)
    assert copy.deepcopy(orders) == pickle.loads(pickle.dumps(orders)) == orders


@pytest.mark.parametrize(
    "text", ["", "8", "8x", "x1", "8x0 +", "8x0, 4x1", "-1x0", "1.5x0", "1x0 4x1", "8*0", "٣x1"]
)
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match=r'^orders: expected text like "8x0 \+ 4x1", got'):
        Orders(text)


def test_numbers_of_thousands_of_digits_are_refused():
    for text in ("9" * 5000 + "x1", "1x" + "9" * 5000):
        with pytest.raises(ValueError, match='^orders: expected text like "8x0'):
            Orders(text)


@pytest.mark.parametrize(
    ("orders", "error", "message"),
    [
        (5, TypeError, r"^orders: expected text or pairs \(multiplicity, order\), got 5"),
        (None, TypeError, "^orders: expected text or pairs"),
        ([1, 2], TypeError, "^orders: expected text or pairs"),
        ([(1, 2, 3)], TypeError, "^orders: expected text or pairs"),
        ([], ValueError, "^orders: expected at least one block, got none"),
        ([(0, 1)], ValueError, "^multiplicity: expected at least 1, got 0"),
        ("0x1", ValueError, "^multiplicity: expected at least 1, got 0"),
        ("1x65", ValueError, "^order: expected 0 to 64, got 65"),
        ([(1, -1)], ValueError, "^order: expected 0 to 64, got -1"),
        ([(1.0, 1)], TypeError, "^multiplicity: expected an int, got float"),
        ([(True, 1)], TypeError, "^multiplicity: expected an int, got bool"),
        ([(1, "1")], TypeError, "^order: expected an int, got str"),
    ],
    ids=str,
)
def test_other_pairs_are_refused(orders, error, message):
    with pytest.raises(error, match=message):
        Orders(orders)


# --- layout ---------------------------------------------------------------------------------


def test_blocks_follow_each_other_and_pairs_stay_together():
    numbers, pairs = Orders("2x0 + 2x3").split(torch.arange(6.0))
    assert numbers.tolist() == [[0], [1]]
    assert pairs.tolist() == [[2, 3], [4, 5]]
    assert [size(0), size(1), size(7)] == [1, 2, 2]


@texts
@both_dtypes
@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (0,)], ids=str)
def test_join_undoes_split(text, dtype, leading):
    orders = Orders(text)
    x = random(*leading, orders.dim, dtype=dtype)
    blocks = orders.split(x)
    shapes = [block.shape for block in blocks]
    assert shapes == [(*leading, count, size(order)) for count, order in orders]
    assert torch.equal(orders.join(blocks), x)


def test_what_does_not_fit_is_refused():
    orders = Orders("2x0 + 1x1")
    with pytest.raises(ValueError, match=r"^x: expected shape \(\.\.\., 4\), got \(3, 5\)"):
        orders.split(torch.zeros(3, 5))
    with pytest.raises(TypeError, match="^x: expected a real floating-point tensor"):
        orders.split(torch.zeros(4, dtype=torch.int64))
    blocks = orders.split(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"^blocks: expected 2 for 2x0 \+ 1x1, got 1"):
        orders.join(blocks[:1])
    with pytest.raises(ValueError, match=r"^blocks: expected shape \(\.\.\., 2, 1\)"):
        orders.join(blocks[::-1])
    with pytest.raises(ValueError, match="^blocks: expected the same leading axes"):
        orders.join([blocks[0], blocks[1][:1]])
    with pytest.raises(
        TypeError, match=r"^blocks: expected one dtype, got \[torch.float32, torch."
    ):
        orders.join([blocks[0], blocks[1].double()])
    for bad in (3, None):
        with pytest.raises(TypeError, match="^blocks: expected a list of tensors, got"):
            orders.join(bad)


# --- rotation -------------------------------------------------------------------------------


@texts
def test_rotation_is_the_representation(text):
    orders = Orders(text)
    rho = orders.representation()
    assert rho.group == SO(2) and rho.dim == orders.dim
    x, angles = random(7, orders.dim), 4 * random(7, seed=1)
    matrices = torch.stack([rho(SO(2).exp(float(a))) for a in angles])
    expected = torch.einsum("nij,nj->ni", matrices, x)
    assert (orders.rotate(x, angles) - expected).abs().max() < 1e-12
    wrong = torch.einsum("nji,nj->ni", matrices, x)
    assert text == "1x0" or (orders.rotate(x, angles) - wrong).abs().max() > 0.1


@texts
@given(a=st.floats(-7, 7), b=st.floats(-7, 7))
@settings(deadline=None, max_examples=25)
def test_rotation_is_a_homomorphism(text, a, b):
    orders = Orders(text)
    x, a, b = random(3, orders.dim), torch.full((3,), a, dtype=F64), torch.full((3,), b, dtype=F64)
    once = orders.rotate(x, a + b)
    assert (orders.rotate(orders.rotate(x, a), b) - once).abs().max() < 1e-12
    assert (once.norm(dim=-1) - x.norm(dim=-1)).abs().max() < 1e-12


def test_a_quarter_turn_is_counter_clockwise():
    quarter = torch.tensor(torch.pi / 2, dtype=F64)
    x = torch.tensor([5.0, 1, 0, 1, 0], dtype=F64)
    turned = Orders("1x0 + 1x1 + 1x2").rotate(x, quarter)
    assert (turned - torch.tensor([5.0, 0, 1, -1, 0], dtype=F64)).abs().max() < 1e-15


def test_angles_are_one_for_each_feature_or_shared_by_leading_axes():
    orders = Orders("1x0 + 2x1")
    x, angles = random(2, 4, orders.dim), random(4, seed=1)
    shared = orders.rotate(x, angles)
    assert torch.equal(shared, orders.rotate(x, angles.expand(2, 4)))
    assert torch.equal(shared[1], orders.rotate(x[1], angles))
    assert torch.equal(orders.rotate(x, angles[0]), orders.rotate(x, angles[:1].expand(2, 4)))


@both_dtypes
def test_float32_and_float64_stay(dtype):
    orders = Orders("2x0 + 2x4")
    x, angles = random(9, orders.dim), 3 * random(9, seed=1)
    turned = orders.rotate(x.to(dtype), angles.to(dtype))
    assert turned.dtype == dtype
    assert (turned - orders.rotate(x, angles)).abs().max() < 100 * torch.finfo(dtype).eps


def test_half_precision_takes_angles_in_float32():
    orders = Orders("2x0 + 2x4")
    x, angles = random(50, orders.dim), 3 * random(50, seed=1)
    turned = orders.rotate(x.bfloat16(), angles.float())
    assert turned.dtype == torch.bfloat16
    exact = orders.rotate(x.bfloat16().double(), angles.float().double())
    rounding = torch.finfo(torch.bfloat16).eps / 2 * exact.abs()
    assert bool(((turned - exact).abs() <= rounding + 1e-5).all())
    coarse = orders.rotate(x, angles.bfloat16().double())
    assert (coarse - orders.rotate(x, angles)).abs().max() > 0.02
    with pytest.raises(TypeError, match=r"^angles: expected at least the precision of torch.float"):
        orders.rotate(x, angles.float())


@pytest.mark.parametrize("text", ["3x0", "2x1", "1x0 + 1x3"])
def test_derivatives(text):
    orders = Orders(text)
    x, angles = random(3, orders.dim), random(3, seed=1)
    x[0] = 0
    inputs = (x.requires_grad_(), angles.requires_grad_())
    assert torch.autograd.gradcheck(orders.rotate, inputs)
    for gradient in torch.autograd.grad(orders.rotate(*inputs).sum(), inputs, allow_unused=True):
        assert gradient is None or bool(gradient.isfinite().all())


def test_compiled_on_meta_and_under_autocast():
    orders = Orders("2x0 + 1x1")
    x, angles = random(3, 4, dtype=torch.float32), random(3, seed=1, dtype=torch.float32)
    compiled = torch.compile(orders.rotate, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x, angles), orders.rotate(x, angles))
    assert orders.rotate(x.to("meta"), angles.to("meta")).shape == (3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(orders.rotate(x, angles), compiled(x, angles))


@pytest.mark.parametrize(
    ("x", "angles", "error", "message"),
    [
        ((3, 5), (3,), ValueError, r"^x: expected shape \(\.\.\., 4\), got \(3, 5\)"),
        ((3, 4), (4,), ValueError, r"^angles: .* shape \(3,\), got \(4,\)"),
        ((3, 4), (1,), ValueError, r"^angles: .* shape \(3,\), got \(1,\)"),
        ((3, 4), (3, 1), ValueError, r"^angles: .* shape \(3,\), got \(3, 1\)"),
        ((3, 4), (2, 3), ValueError, r"^angles: .* shape \(3,\), got \(2, 3\)"),
        ((2, 3, 4), (2,), ValueError, r"^angles: .* shape \(2, 3\), got \(2,\)"),
    ],
    ids=str,
)
def test_shapes_that_do_not_fit(x, angles, error, message):
    with pytest.raises(error, match=message):
        Orders("2x0 + 1x1").rotate(torch.zeros(x), torch.zeros(angles))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_other_angles_are_refused(bad):
    orders, x = Orders("2x0 + 1x1"), torch.zeros(3, 4)
    with pytest.raises(ValueError, match="^angles: expected finite entries"):
        orders.rotate(x, torch.tensor([0.0, bad, 0.0]))
    with pytest.raises(TypeError, match="^angles: expected a real floating-point tensor"):
        orders.rotate(x, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(TypeError, match="^angles: expected a torch.Tensor, got float"):
        orders.rotate(x, bad)
    with pytest.raises(ValueError, match="^angles: expected device cpu, got meta"):
        orders.rotate(x, torch.zeros(3, device="meta"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64], ids=str)
def test_angles_without_digits_are_refused(dtype):
    orders, limit = Orders("1x64"), 1 / torch.finfo(dtype).eps
    below = torch.nextafter(torch.tensor(limit, dtype=dtype), torch.zeros((), dtype=dtype))
    for angle in (below, -below):
        assert orders.rotate(torch.ones(2, dtype=dtype), angle).isfinite().all()
    for angle in (limit, -limit, torch.finfo(dtype).max):
        with pytest.raises(ValueError, match="^angles: expected angles below"):
            orders.rotate(torch.ones(2, dtype=dtype), torch.tensor(angle, dtype=dtype))
