"""Constants of layers: exact after any journey, outside the state, in full precision."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from gdl.equivariance import Constant, full_precision

THIRDS = torch.arange(1, 7, dtype=torch.float64).reshape(2, 3) / 3


class Layer(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.third = Constant(THIRDS, **options)
        self.index = Constant(torch.tensor([2, 0, 1]))


JOURNEYS = {
    "float32 and back": lambda layer: layer.float().double(),
    "half and back": lambda layer: layer.half().to(torch.float64),
    "bfloat16 and back": lambda layer: layer.to(torch.bfloat16).double(),
    "meta device": lambda layer: layer.to("meta").to_empty(device="cpu").double(),
    "only emptied": lambda layer: layer.to_empty(device="cpu").double(),
    "copied": lambda layer: copy.deepcopy(layer.float()).double(),
    "pickled": lambda layer: pickle.loads(pickle.dumps(layer.float())).double(),
    "loaded": lambda layer: (layer.load_state_dict({}), layer.double())[1],
    "shared": lambda layer: layer.share_memory().double(),
}


@pytest.mark.parametrize("journey", JOURNEYS)
def test_no_journey_loses_a_digit(journey):
    layer = JOURNEYS[journey](Layer())
    assert layer.third().dtype == torch.float64
    assert torch.equal(layer.third(), THIRDS)
    assert layer.index().tolist() == [2, 0, 1]
    assert layer.index().dtype == torch.int64


def test_a_plain_buffer_loses_digits():
    plain = nn.Module()
    plain.register_buffer("values", THIRDS)
    assert not torch.equal(plain.float().double().values, THIRDS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_it_follows_the_dtype_of_the_layer(dtype):
    for layer in (Layer(dtype=dtype), Layer().to(dtype)):
        assert torch.equal(layer.third(), THIRDS.to(dtype))
        assert layer.index().dtype == torch.int64


def test_by_default_it_has_the_dtype_and_the_device_of_torch():
    assert Layer().third().dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert Layer().third().dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        layer = Constant(THIRDS.clone())
    assert layer().is_meta
    assert torch.equal(layer.to_empty(device="cpu").double()(), THIRDS)
    assert Constant(THIRDS, device="meta")().is_meta


@pytest.mark.parametrize("values", [[True, False], [1, 2], [1j, 2.0]], ids=str)
def test_what_is_not_real_keeps_its_dtype(values):
    values = torch.tensor(values)
    constant = Constant(values, dtype=torch.float64).float()
    assert constant().dtype == values.dtype
    assert torch.equal(constant(), values)


def test_it_is_no_part_of_the_state_and_learns_nothing():
    layer = Layer()
    assert dict(layer.state_dict()) == {}
    assert list(layer.parameters()) == []
    values = THIRDS.clone().requires_grad_()
    assert not Constant(values)().requires_grad


@pytest.mark.parametrize(
    "values", [None, 1.0, [1.0], THIRDS.numpy()], ids=lambda v: type(v).__name__
)
def test_what_is_no_tensor_is_named(values):
    with pytest.raises(TypeError, match="^values: expected a torch.Tensor, got"):
        Constant(values)


def test_full_precision_switches_autocast_off_and_on_again():
    a, b = torch.full((2, 2), 1 / 3), torch.eye(2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (a @ b).dtype == torch.bfloat16
        with full_precision(torch.device("cpu")):
            assert torch.equal(a @ b, a)
        assert (a @ b).dtype == torch.bfloat16
    with full_precision(torch.device("cpu")):
        assert (a @ b).dtype == torch.float32


def test_devices_without_autocast_are_left_alone():
    assert not torch.amp.is_autocast_available("meta")
    with full_precision(torch.device("meta")):
        assert (torch.empty(2, 2, device="meta") @ torch.empty(2, 2, device="meta")).is_meta


def test_it_shares_no_memory_with_what_it_was_given():
    values = torch.ones(3, dtype=torch.float64)
    constant = Constant(values, dtype=torch.float64)
    values[0] = 2.0
    constant.values[1] = 3.0
    assert constant.double()().tolist() == [1.0, 1.0, 1.0]
