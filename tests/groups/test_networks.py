"""Whole classifiers: the same scores for every turned image; and what each layer has in common."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gdl import groups
from gdl import representations as reps
from gdl.equivariance import equivariance_error
from gdl.training import count_parameters

F64 = torch.float64
C1, C4, D4 = reps.cyclic(1), reps.cyclic(4), reps.dihedral(4)
GRID_GROUPS = [reps.cyclic(n) for n in (1, 2, 4)] + [reps.dihedral(n) for n in (1, 2, 4)]
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def invariant(_, y: torch.Tensor) -> torch.Tensor:
    return y


def error(net: nn.Module, x: torch.Tensor, group: reps.Group) -> float:
    """The change of the scores, relative to what an image does to them at all."""
    found = group.elements()
    elements = [*found, *(g * h for g, h in itertools.product(found, repeat=2))]
    act = groups.field_action(reps.trivial(group))
    with torch.no_grad():
        level = net(x).mean(0)
    return equivariance_error(lambda x: net(x) - level, x, act, invariant, elements)


def randomise(net: nn.Module) -> nn.Module:
    """Biases that are far from zero: a zero bias would hide one that breaks the symmetry."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape) / 4)
    return net


def types(net: nn.Sequential) -> list[str]:
    return [type(module).__name__ for module in net]


# --- the pool over pixels -------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_the_spatial_pool_forgets_where_the_pixels_were(reduce, dtype):
    x = torch.randn(2, 3, 4, 5, dtype=dtype)
    y = groups.SpatialPool(reduce)(x)
    moved = x.flatten(2)[..., torch.randperm(20)].reshape(x.shape)
    assert torch.allclose(groups.SpatialPool(reduce)(moved), y, atol=10 * torch.finfo(dtype).eps)
    for b, c in itertools.product(range(2), range(3)):
        pixels = x[b, c].flatten().tolist()
        expected = max(pixels) if reduce == "max" else sum(pixels) / 20
        assert abs(float(y[b, c]) - expected) < 10 * torch.finfo(dtype).eps
    assert torch.equal(groups.SpatialPool(reduce)(x[0]), y[0])
    assert torch.equal(groups.SpatialPool()(x), x.amax((2, 3)))


# --- the small classifier -------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("group", GRID_GROUPS, ids=str)
@pytest.mark.parametrize("readout", ["max", "mean"])
def test_the_classifier_is_invariant(group, readout, dtype):
    net = groups.group_cnn(group, 2, 5, (3, 4, 3), pool_after=(0, 2), readout=readout)
    net = randomise(net).to(dtype)
    x = torch.randn(3, 2, 8, 8, dtype=dtype)
    assert net(x).shape == (3, 5)
    for training in (True, False):
        assert error(net.train(training), x, group) < 1000 * torch.finfo(dtype).eps


def test_a_plain_network_is_not():
    x = torch.randn(3, 1, 8, 8, dtype=F64)
    plain = randomise(groups.group_cnn(C1, 1, 5, (4, 4))).double()
    assert error(plain, x, C4) > 0.01
    turning = randomise(groups.group_cnn(C4, 1, 5, (4, 4))).double()
    assert error(turning, x, D4) > 0.01
    with torch.no_grad():
        turning[0].weight.add_(torch.randn_like(turning[0].weight))
    assert error(turning, x, C4) < 1e-12


def test_a_bias_for_each_channel_breaks_the_symmetry():
    class Shifted(nn.Module):
        def forward(self, x):
            return x + torch.linspace(-1, 1, x.shape[1], dtype=x.dtype)[:, None, None]

    net = groups.group_cnn(C4, 1, 5, (4, 4)).double()
    x = torch.randn(3, 1, 8, 8, dtype=F64)
    assert error(net, x, C4) < 1e-12
    net.insert(1, Shifted())
    assert error(net, x, C4) > 0.01


@pytest.mark.parametrize("readout", ["max", "mean"])
def test_the_classifier_is_its_definition(readout):
    net = groups.group_cnn(C4, 2, 5, (3, 4), pool_after=(1,), readout=readout).double()
    net[-1].bias.data.copy_(torch.randn(5))
    head = net[-1]
    x = torch.randn(2, 2, 8, 8, dtype=F64)
    y = x
    for layer in (net[0], net[3]):
        y = F.conv2d(y, layer.kernel(), padding=1).unflatten(1, (-1, 4))
        y = F.batch_norm(y, None, None, training=True).flatten(1, 2).clamp(min=0)
    y = F.max_pool2d(y, 2).unflatten(1, (4, 4)).amax(2).flatten(2)
    y = y.amax(2) if readout == "max" else y.mean(2)
    assert torch.allclose(net(x), y @ head.weight.T + head.bias, atol=1e-13)


def test_the_group_of_one_element_gives_an_ordinary_network():
    net = groups.group_cnn(C1, 2, 5, (3, 4), pool_after=(0,)).double()
    plain = nn.Sequential(
        net[0].to_conv2d(), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2),
        net[4].to_conv2d(), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), net[-1],
    ).double()  # fmt: skip
    x = torch.randn(2, 2, 9, 7, dtype=F64)
    for training in (True, False):
        assert torch.allclose(net.train(training)(x), plain.train(training)(x), atol=1e-12)


def test_pooling_follows_the_convolutions_that_are_named():
    norm, pool = ["FieldBatchNorm2d", "ReLU"], ["FieldPool2d"]
    expected = {
        (): [*norm, "GroupConv2d", *norm],
        (0,): [*norm, *pool, "GroupConv2d", *norm],
        (1,): [*norm, "GroupConv2d", *norm, *pool],
        (1, 0): [*norm, *pool, "GroupConv2d", *norm, *pool],
    }
    for pool_after, middle in expected.items():
        net = groups.group_cnn(D4, 1, 2, [2, 2], pool_after=pool_after)
        assert types(net) == ["LiftingConv2d", *middle, "GroupPool", "SpatialPool", "Linear"]
        windows = [(m.kernel_size, m.stride) for m in net if isinstance(m, groups.FieldPool2d)]
        assert windows == [(2, 2)] * len(pool_after)
    with pytest.raises(ValueError, match=r"^x: D_4 .* 7 x 7"):
        groups.group_cnn(D4, 1, 2, [2, 2], pool_after=(0,))(torch.zeros(1, 1, 7, 7))


@pytest.mark.parametrize("group", GRID_GROUPS, ids=str)
@pytest.mark.parametrize("K", [1, 3, 5])
def test_the_parameters_of_the_classifier_are_counted(group, K):
    net = groups.group_cnn(group, 2, 7, (3, 4, 5), kernel_size=K)
    weights = 2 * 3 * K**2 + (3 * 4 + 4 * 5) * group.order * K**2
    normalised = 2 * (3 + 4 + 5)
    assert count_parameters(net) == weights + normalised + 5 * 7 + 7


# --- the P4CNN ------------------------------------------------------------------------------------


def trained(net: nn.Module, dtype) -> nn.Module:
    """A few batches of statistics and any biases, then eval mode."""
    randomise(net).to(dtype)
    for _ in range(2):
        net(torch.randn(4, 1, 28, 28, dtype=dtype))
    return net.eval()


@both_dtypes
@pytest.mark.parametrize("group", [C4, reps.cyclic(2), reps.dihedral(1), D4], ids=str)
def test_the_p4cnn_is_invariant(group, dtype):
    net = trained(groups.p4cnn(group, 3, 4, dropout=0.3), dtype)
    x = torch.randn(2, 1, 28, 28, dtype=dtype)
    assert net(x).shape == (2, 4)
    assert error(net, x, group) < 1000 * torch.finfo(dtype).eps


def test_the_z2cnn_is_not_invariant():
    net = trained(groups.p4cnn(C1, 3, 4), F64)
    assert error(net, torch.randn(2, 1, 28, 28, dtype=F64), C4) > 0.01


def test_the_sizes_of_the_p4cnn():
    sizes = [28]
    net = groups.p4cnn(channels=2, classes=3).eval()
    x = torch.zeros(1, 1, 28, 28)
    for layer in net[:-2]:
        x = layer(x)
        sizes.append(x.shape[-1])
    assert [n for n, _ in itertools.groupby(sizes)] == [28, 26, 24, 12, 10, 8, 6, 4, 1]
    assert x.shape == (1, 12, 1, 1)
    with pytest.raises(ValueError, match=r"^x: Z_4 .* 23 x 23"):
        net(torch.zeros(1, 1, 27, 27))


@pytest.mark.parametrize(
    ("group", "channels", "total"), [(C4, 10, 24680), (C1, 20, 21750), (D4, 10, 49080)]
)
def test_the_number_of_parameters_of_the_p4cnn(group, channels, total):
    """Weights 9 c, 5 times 9 |H| c^2, 16 |H| c 10; biases; two for each normalised field."""
    n, c = group.order, channels
    assert total == 9 * c + 5 * 9 * n * c**2 + 16 * n * c * 10 + (6 * c + 10) + 2 * 6 * c
    assert count_parameters(groups.p4cnn(group, channels)) == total


def test_the_default_of_the_p4cnn():
    net = groups.p4cnn()
    assert net[0].rho_in.group == C4 and count_parameters(net) == 24680
    assert "Dropout" not in types(net)


def test_where_the_layers_of_the_p4cnn_stand():
    net = groups.p4cnn(C4, 2, dropout=0.3)
    block = ["GroupConv2d", "FieldBatchNorm2d", "ReLU"]
    expected = ["LiftingConv2d", *block[1:], "Dropout", *block, "FieldPool2d"]
    expected += [*block, "Dropout"] * 4 + ["GroupConv2d", "GroupPool", "SpatialPool"]
    assert types(net) == expected
    assert {m.p for m in net if isinstance(m, nn.Dropout)} == {0.3}
    assert types(groups.p4cnn(C4, 2)) == [name for name in expected if name != "Dropout"]


def test_training_steps_reach_every_weight():
    for net in (groups.p4cnn(C4, 2, 3), groups.group_cnn(D4, 1, 3, (2, 2))):
        x = torch.randn(4, 1, 28, 28)
        F.cross_entropy(net(x), torch.arange(4) % 3).backward()
        for name, parameter in net.named_parameters():
            assert torch.isfinite(parameter.grad).all()
            assert parameter.grad.any() or name.endswith("bias")


# --- what every layer has in common ---------------------------------------------------------------

VECTORS = reps.trivial(D4) + groups.plane(D4)
LAYERS = {
    "CosetPool": lambda: groups.CosetPool(D4, [D4.generator(1)]),
    "CosetPool mean": lambda: groups.CosetPool(D4, [D4.generator(1)], "mean"),
    "GroupPool max": lambda: groups.GroupPool(reps.regular(D4)),
    "GroupPool mean": lambda: groups.GroupPool(reps.regular(D4), "mean"),
    "GroupPool norm": lambda: groups.GroupPool(VECTORS, "norm"),
    "FieldPool2d max": lambda: groups.FieldPool2d(reps.regular(D4), 2),
    "FieldPool2d mean": lambda: groups.FieldPool2d(VECTORS, 2, padding=1, reduce="mean"),
    "PointwiseNonlinearity": lambda: groups.PointwiseNonlinearity(reps.regular(D4), torch.tanh),
    "NormNonlinearity": lambda: groups.NormNonlinearity(6, VECTORS),
    "GatedNonlinearity": lambda: groups.GatedNonlinearity(2 * groups.plane(D4)),
    "FieldBatchNorm2d": lambda: groups.FieldBatchNorm2d(6, VECTORS + reps.regular(D4)),
    "FieldBatchNorm2d eval": lambda: groups.FieldBatchNorm2d(6, VECTORS).eval(),
    "SpatialPool": groups.SpatialPool,
    "group_cnn": lambda: groups.group_cnn(C4, 24, 3, (2, 2), pool_after=(0,)),
}
layers = pytest.mark.parametrize("name", LAYERS)


def made(name: str) -> nn.Module:
    layer = LAYERS[name]()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn(parameter.shape) / 4)
    return layer


def image(layer: nn.Module, batch: int = 3, **options) -> torch.Tensor:
    """Six fields; 24 channels serve all the others."""
    width = layer.rho.dim if hasattr(layer, "channels") else 4
    return torch.randn(batch, 6 * width, 4, 4, **options)


@layers
def test_one_image_is_a_batch_of_one(name):
    layer = made(name)
    x = image(layer, 1)
    y = copy.deepcopy(layer)(x)
    assert torch.allclose(layer(x[0]), y[0], atol=1e-6)
    assert layer(x[0]).ndim == y.ndim - 1


@layers
def test_an_empty_batch_stays_empty(name):
    layer = made(name).eval()
    x = image(layer)
    assert layer(x[:0]).shape == (0, *layer(x).shape[1:])


@layers
def test_copies_and_pickles_have_the_same_values(name):
    layer = made(name)
    x = image(layer)
    if layer.training and hasattr(layer, "running_mean"):
        layer(x)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    for twin in copies:
        assert twin.state_dict().keys() == layer.state_dict().keys()
        assert twin.training == layer.training
        assert torch.equal(twin.eval()(x), copy.deepcopy(layer).eval()(x))


@layers
def test_the_state_dict_goes_round(name):
    layer, other = made(name), made(name)
    x = image(layer)
    if layer.training:
        layer(x)
    layer.eval()
    other.eval()
    if layer.state_dict():
        assert not torch.equal(layer(x), other(x))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), other(x))
    for key in layer.state_dict():
        assert key.rpartition(".")[2] in ("weight", "bias", "running_mean", "running_var")


@layers
def test_a_detour_through_float32_loses_nothing_but_the_digits_of_the_weights(name):
    layer = made(name)
    exact = copy.deepcopy(layer).double()
    detour = copy.deepcopy(layer).double().float().double()
    x = image(layer, dtype=F64)
    assert exact(x).dtype == F64
    assert torch.equal(exact(x), detour(x))
    assert torch.allclose(exact(x).float(), layer(x.float()), atol=1e-4)
    if hasattr(layer, "rho") and name != "FieldPool2d mean":
        act_in = groups.field_action(getattr(layer, "rho_in", layer.rho))
        found = layer.rho.group.elements()
        pooled = layer(x.float()).shape[1] != x.shape[1] and not hasattr(layer, "rho_in")
        act_out = groups.field_action(reps.trivial(layer.rho.group) if pooled else layer.rho)
        assert equivariance_error(detour, x, act_in, act_out, found) < 1e-13


@layers
def test_autocast_stays_close(name):
    layer = made(name).eval()
    x = image(layer)
    expected = layer(x).detach()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        rounded = layer(x.bfloat16())
    scale = float(expected.abs().max())
    for got in (y, rounded):
        assert got.shape == expected.shape
        assert float((got.detach().float() - expected).abs().max()) < 0.05 * scale


@layers
def test_compile_changes_nothing(name):
    layer = made(name).double()
    twin = copy.deepcopy(layer)
    torch.compiler.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = image(layer, dtype=F64).requires_grad_()
    y, expected = compiled(x), twin(x)
    assert torch.allclose(y, expected, atol=1e-13)
    grads = (torch.autograd.grad(v.square().sum(), x)[0] for v in (y, expected))
    assert torch.allclose(*grads, atol=1e-12)
    for a, b in zip(layer.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-14)


@layers
def test_all_zeros_have_finite_gradients(name):
    layer = made(name).double()
    x = torch.zeros_like(image(layer, dtype=F64)).requires_grad_()
    layer(x).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


@layers
def test_the_input_is_left_alone(name):
    layer = made(name)
    x = image(layer)
    before = x.clone()
    layer(x)
    assert torch.equal(x, before)


GOOD = {"group": reps.cyclic(4), "in_channels": 1, "out_channels": 2, "widths": (2, 2)}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"out_channels": 0}, ValueError, "out_channels: expected at least 1, got 0"),
        ({"out_channels": 1.5}, TypeError, "out_channels: expected an int, got float"),
        ({"widths": 3}, TypeError, "widths: expected a list of ints"),
        ({"widths": "ab"}, TypeError, "widths: expected a list of ints"),
        ({"widths": (2, 0)}, ValueError, "widths: expected at least 1, got 0"),
        ({"widths": (2, True)}, TypeError, "widths: expected an int, got bool"),
        ({"kernel_size": 2}, ValueError, "kernel_size: expected an odd number, got 2"),
        ({"pool_after": (2,)}, ValueError, "pool_after: expected numbers below 2, got 2"),
        ({"pool_after": (-1,)}, ValueError, "pool_after: expected at least 0, got -1"),
        ({"pool_after": 1}, TypeError, "pool_after: expected a list of ints"),
        ({"readout": "sum"}, ValueError, "readout: expected one of"),
    ],
)
def test_wrong_options_of_a_network_are_named(options, error, message):
    with pytest.raises(error, match=message):
        groups.group_cnn(**{**GOOD, **options})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"channels": 0}, ValueError, "channels: expected at least 1"),
        ({"classes": "ten"}, TypeError, "classes: expected an int, got str"),
        ({"dropout": 1.1}, ValueError, "dropout: expected a number from 0 to 1"),
        ({"dropout": True}, TypeError, "dropout: expected a number, got bool"),
        ({"dropout": float("nan")}, ValueError, "dropout: expected a number from 0 to 1"),
    ],
)
def test_wrong_options_of_the_p4cnn_are_named(options, error, message):
    with pytest.raises(error, match=message):
        groups.p4cnn(**options)


def test_a_network_may_give_a_single_score():
    assert groups.p4cnn(classes=1).eval()(torch.zeros(1, 1, 28, 28)).shape == (1, 1)


@pytest.mark.parametrize("shape", [(1, 4, 0, 5), (1, 4, 5, 0), (1, 0, 5, 5), (4, 0, 5)])
def test_images_without_pixels_are_refused(shape):
    layers = groups.GroupConv2d(1, 1, 1, reps.cyclic(4)), groups.SpatialPool("mean")
    for layer in layers:
        with pytest.raises(ValueError, match="x: expected at least one channel and one pixel"):
            layer(torch.zeros(shape))
