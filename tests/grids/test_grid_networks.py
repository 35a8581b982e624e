"""Blocks and networks of the room "grids": the symmetry that each one keeps, and loses."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from gdl.grids import (
    BlurPool,
    CircularConv,
    PolyphaseDownsample,
    ResidualBlock,
    UNet,
    UNetBlock,
    cnn,
    maximise,
    shift,
)

both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
dimensions = pytest.mark.parametrize("dims", [1, 2])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def worst(f, x, elements, act_out=shift) -> float:
    """The largest relative error of f(g x) = g f(x)."""
    y = f(x).detach()
    # The spread about the mean: a constant output would be equivariant for no merit.
    spread = (y - y.mean()).norm()
    return max(((f(shift(g, x)) - act_out(g, y)).norm() / spread).item() for g in elements)


def shifts(n: int, dims: int, step: int = 1) -> list[tuple[int, ...]]:
    return list(itertools.product(range(0, n, step), repeat=dims))


@both_dtypes
@dimensions
def test_residual_block_commutes_with_every_shift(dtype, dims):
    block = ResidualBlock(3, dims=dims).to(dtype)
    x = randn(2, 3, *[6] * dims, dtype=dtype)
    assert worst(block, x, shifts(6, dims)) < 20 * torch.finfo(dtype).eps


def test_residual_block_is_the_identity_plus_its_branch():
    block = ResidualBlock(3).double()
    x = randn(2, 3, 6, 6)
    branch = block.second.to_conv()(torch.relu(block.first.to_conv()(x)))
    assert (block(x) - x - branch).abs().max() < 1e-14
    nn.init.zeros_(block.second.weight)
    nn.init.zeros_(block.second.bias)
    assert torch.equal(block(x), x)


@both_dtypes
@dimensions
def test_polyphase_unet_commutes_with_every_shift(dtype, dims):
    net = UNet(2, 3, width=4, levels=2, downsample="polyphase", dims=dims).to(dtype)
    x = randn(2, 2, *[8] * dims, dtype=dtype)
    assert net(x).shape == (2, 3, *[8] * dims)
    assert worst(net, x, shifts(8, dims)) < 100 * torch.finfo(dtype).eps


@dimensions
@pytest.mark.parametrize("levels", [1, 2])
def test_plain_unet_commutes_with_multiples_of_two_to_the_levels(dims, levels):
    net = UNet(2, 3, width=4, levels=levels, downsample="max", dims=dims).double()
    x = randn(2, 2, *[8] * dims)
    assert worst(net, x, shifts(8, dims, 2**levels)) < 1e-13
    assert worst(net, x, [(2 ** (levels - 1),) * dims]) > 1e-3


class Zero(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


def test_unet_uses_its_skip_and_its_inner_network():
    x = randn(1, 2, 8, 8)
    for downsample in ("max", "polyphase"):
        block = UNetBlock(2, 3, nn.Identity(), downsample=downsample).double()
        h = torch.relu(block.encode(x))
        y = block(x)
        block.inner = Zero()
        zeros = torch.zeros_like(h)
        skip_only = torch.relu(block.decode(torch.cat([h, zeros], 1)))
        assert (block(x) - skip_only).abs().max() < 1e-14
        assert (y - skip_only).abs().max() > 1e-3


def test_plain_unet_block_is_its_definition():
    block = UNetBlock(2, 3, nn.Identity(), downsample="max").double()
    x = randn(1, 2, 4, 4)
    h = torch.relu(block.encode(x))
    coarse = h.unflatten(3, (2, 2)).unflatten(2, (2, 2)).amax((3, 5))
    fine = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    expected = torch.relu(block.decode(torch.cat([h, fine], 1)))
    assert (block(x) - expected).abs().max() < 1e-14


def invariant(_, y):
    return y


@both_dtypes
@dimensions
@pytest.mark.parametrize("downsample", [None, PolyphaseDownsample])
@pytest.mark.parametrize("readout", ["mean", "max"])
def test_cnn_is_invariant(dtype, dims, downsample, readout):
    pool = downsample and (lambda: downsample(2, dims=dims))
    net = cnn(1, 5, (6, 6), pool=pool, readout=readout, dims=dims).to(dtype)
    x = randn(3, 1, *[8] * dims, dtype=dtype)
    assert net(x).shape == (3, 5)
    assert worst(net, x, shifts(8, dims), invariant) < 100 * torch.finfo(dtype).eps


@pytest.mark.parametrize("pool", [lambda: nn.MaxPool2d(2), lambda: BlurPool(3)])
def test_pooling_costs_the_invariance_of_a_cnn(pool):
    net = cnn(1, 5, (6, 6), pool=pool).double()
    x = randn(3, 1, 8, 8)
    assert worst(net, x, shifts(8, 2, 4), invariant) < 1e-13
    assert worst(net, x, [(1, 0)], invariant) > 1e-4


def test_cnn_has_the_layers_asked_for():
    net = cnn(2, 5, (6, 7), kernel_size=5)
    convs = [layer for layer in net if isinstance(layer, CircularConv)]
    shapes = [tuple(conv.weight.shape) for conv in convs]
    assert shapes == [(6, 2, 5, 5), (7, 6, 5, 5)]
    kinds = [type(layer).__name__ for layer in net]
    tail = ["AdaptiveAvgPool2d", "Flatten", "Linear"]
    assert kinds == ["CircularConv", "ReLU", "CircularConv", "ReLU", *tail]
    x = randn(3, 2, 8, 8, dtype=torch.float32)
    fields = net[:4](x)
    for readout, statistic in [("mean", fields.mean((2, 3))), ("max", fields.amax((2, 3)))]:
        other = cnn(2, 5, (6, 7), kernel_size=5, readout=readout)
        other.load_state_dict(net.state_dict())
        assert (other(x) - net[-1](statistic)).abs().max() < 1e-6


@pytest.mark.parametrize(
    "net", [ResidualBlock(2), UNet(2, 2, width=4), UNet(2, 2, width=4, downsample="max"), cnn(2, 3)]
)
def test_networks_in_use(net):
    x = randn(2, 2, 8, 8, dtype=torch.float32)
    y = net(x)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    assert (compiled(x) - y).abs().max() < 1e-5
    y.square().sum().backward()
    gradients = [p.grad for p in net.parameters()]
    assert all(torch.isfinite(g).all() for g in gradients)
    assert sum(g.abs().sum() for g in gradients) > 0
    net.load_state_dict(net.state_dict())
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = net(x).float()
    assert mixed.shape == y.shape and torch.isfinite(mixed).all()


@pytest.mark.parametrize("norm", [1.0, 3.0])
def test_maximise_finds_the_optimum_of_a_linear_unit(norm):
    w = randn(4, 4)
    x = maximise(lambda x: (x * w).sum((1, 2)), (3, 4, 4), norm=norm, dtype=torch.float64)
    assert x.shape == (3, 4, 4) and not x.requires_grad
    assert (x - norm * w / w.norm()).abs().max() < 1e-6


def test_maximise_starts_where_the_seed_says_and_smooths():
    w = randn(8)

    def unit(x):
        return x.double() @ w

    one, other = (maximise(unit, (2, 8), steps=1, lr=1e-9, seed=s) for s in (0, 1))
    assert (one - other).abs().max() > 0.1 and (one[0] - one[1]).abs().max() > 0.1
    assert torch.equal(one, maximise(unit, (2, 8), steps=1, lr=1e-9, seed=0))
    flat = maximise(unit, (1, 8), smooth=lambda g: g.mean(1, keepdim=True).expand_as(g))
    assert flat.std() < 1e-6 and torch.sign(flat[0, 0]) == torch.sign(w.sum())


def test_maximise_leaves_a_dead_unit_where_it_started():
    dead = maximise(lambda x: 0 * x.sum(1), (1, 4))
    assert torch.allclose(dead, maximise(lambda x: 0 * x.sum(1), (1, 4), steps=1))
    assert abs(dead.norm() - 1) < 1e-6


x6 = torch.zeros(1, 2, 6, 6)


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: ResidualBlock(0), ValueError, "channels"),
        (lambda: ResidualBlock(2)(torch.zeros(1, 3, 6, 6)), ValueError, "x: expected 2 channels"),
        (lambda: UNet(2, 2, levels=0), ValueError, "levels"),
        (lambda: UNet(2, 2, width=0), ValueError, "width"),
        (lambda: UNet(0, 2), ValueError, "in_channels"),
        (lambda: UNet(2, 2, downsample="avg"), ValueError, "downsample"),
        (lambda: UNet(2, 2, width=4)(x6), ValueError, "x: expected sizes that are multiples of 4"),
        (lambda: UNet(2, 2, width=4)(x6[0]), ValueError, "x: expected shape"),
        (lambda: UNetBlock(2, 0, nn.Identity()), ValueError, "channels"),
        (lambda: UNetBlock(2, 2, nn.Identity())(x6[..., :5]), ValueError, "x: expected sizes"),
        (lambda: cnn(1, 2, ()), ValueError, "widths"),
        (lambda: cnn(1, 2, readout="sum"), ValueError, "readout"),
        (lambda: cnn(1, 2, dims=3), ValueError, "dims"),
        (lambda: maximise(torch.sum, (2, 3)), ValueError, "unit: expected values of shape"),
        (lambda: maximise(torch.sum, (2, 3), norm=0.0), ValueError, "norm"),
        (lambda: maximise(torch.sum, (2, 3), lr=-1.0), ValueError, "lr"),
        (lambda: maximise(torch.sum, (2, 3), steps=0), ValueError, "steps"),
    ],
)
def test_wrong_input_is_named(call, error, name):
    with pytest.raises(error, match=name):
        call()
