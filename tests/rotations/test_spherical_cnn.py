"""Nonlinearities on the grid, batch norm, two networks, and what happens to them."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from gdl.equivariance import equivariance_error
from gdl.rotations.rotation_group import (
    LiftingSphereConv,
    RotationConv,
    RotationTransform,
    rotate_rotation_coefficients,
    rotation_grid,
)
from gdl.rotations.sphere import SphericalTransform, ZonalConv, rotate_coefficients, sphere_grid
from gdl.rotations.spherical_cnn import GridNonlinearity, SignalBatchNorm, SphericalCNN, ZonalCNN
from gdl.training import count_parameters
from tests.rotations.signals import F64, ROTATIONS, draw, relative
from tests.test_representations import refuses

SPACES = pytest.mark.parametrize(
    ("transform", "rotate"),
    [
        (SphericalTransform, rotate_coefficients),
        (RotationTransform, rotate_rotation_coefficients),
    ],
    ids=["sphere", "rotations"],
)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
both_networks = pytest.mark.parametrize("network", [SphericalCNN, ZonalCNN])


def broken(layer, rotate, c) -> float:
    def act(R, x):
        return rotate(x, R)

    return equivariance_error(layer, c, act, act, ROTATIONS)


# Nonlinearities


@SPACES
@pytest.mark.parametrize("power", [1, 2, 3])
def test_polynomials_are_exact_on_a_grid_that_is_fine_enough(transform, rotate, power):
    degree = 4
    enough = math.ceil((power + 1) * degree / 2)
    for grid in range(degree, enough + 2):
        made = transform(degree, grid_degree=grid, dtype=F64)
        layer = GridNonlinearity(made, lambda values: values**power)
        error = broken(layer, rotate, draw(4, made.size))
        assert error < 1e-13 if grid >= enough else error > 1e-3


@SPACES
def test_the_error_of_relu_falls_as_the_grid_gets_finer(transform, rotate):
    errors = {}
    for grid in (4, 6, 8, 12):
        made = transform(4, grid_degree=grid, dtype=F64)
        errors[grid] = broken(GridNonlinearity(made), rotate, draw(6, made.size))
    assert errors[4] > 0.1 > errors[6] and errors[8] < 0.05 and errors[12] < 0.02
    assert list(errors.values()) == sorted(errors.values(), reverse=True)


@SPACES
@pytest.mark.parametrize("degree", [0, 2, 5])
def test_the_result_has_the_degree_that_is_asked_for(transform, rotate, degree):
    made = transform(3, grid_degree=5, dtype=F64)
    c, whole = draw(2, made.size), transform(5, dtype=F64)
    reduced = GridNonlinearity(made, degree=degree)(c)
    expected = whole.analysis(made.synthesis(c).relu())[..., : reduced.shape[-1]]
    assert reduced.shape[-1] == transform(degree).size
    assert torch.allclose(reduced, expected, atol=1e-13)


def test_degree_0_is_the_mean():
    F, c = draw(3, 35), draw(3, 9)
    on_group, on_sphere = (made(2, grid_degree=4, dtype=F64) for made in
                           (RotationTransform, SphericalTransform))  # fmt: skip
    mean = (on_group.synthesis(F).relu() * rotation_grid(4)[1]).sum(-1)
    assert torch.allclose(GridNonlinearity(on_group, degree=0)(F)[:, 0], mean, atol=1e-14)
    area = sphere_grid(4)[1] / (4 * math.pi)
    mean = (on_sphere.synthesis(c).relu() * area).sum((-2, -1))
    found = GridNonlinearity(on_sphere, degree=0)(c)[:, 0] / on_sphere.one
    assert torch.allclose(found, mean, atol=1e-14)


# Batch norm


@SPACES
def test_batch_norm_standardises_over_the_batch_and_the_domain(transform, rotate):
    made = transform(3, grid_degree=4, dtype=F64)
    norm = SignalBatchNorm(2, made, dtype=F64, eps=1e-12)
    c = 3 * draw(5, 2, made.size) + 1
    grid = sphere_grid if transform is SphericalTransform else rotation_grid
    weights = grid(4)[1]
    weights = weights / weights.sum()
    values = made.synthesis(norm(c)).detach()
    dims = tuple(d for d in range(values.ndim) if d != 1)
    mean = (values * weights).sum(dims) / len(c)
    var = (values.square() * weights).sum(dims) / len(c) - mean**2
    assert torch.allclose(mean, torch.zeros(2, dtype=F64), atol=1e-13)
    assert torch.allclose(var, torch.ones(2, dtype=F64), atol=1e-10)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, -3.0]))
        norm.bias.copy_(torch.tensor([0.5, 1.0]))
        scaled = made.synthesis(norm(c))
    expected = values.transpose(1, -1) * norm.weight + norm.bias
    assert torch.allclose(scaled, expected.transpose(1, -1), atol=1e-12)


@SPACES
def test_batch_norm_remembers_and_commutes_with_rotations(transform, rotate):
    made = transform(3, dtype=F64)
    norm = SignalBatchNorm(2, made, dtype=F64, momentum=1.0)
    nn.init.constant_(norm.bias, 0.7)
    c = draw(5, 2, made.size) + 1
    trained = norm(c)
    assert torch.allclose(norm.eval()(c), trained, atol=1e-14)
    for mode in (True, False):
        assert broken(norm.train(mode), rotate, c) < 1e-13
    slow = SignalBatchNorm(2, made, dtype=F64, momentum=0.25)
    slow(c)
    assert torch.allclose(slow.running_mean, 0.25 * norm.running_mean)
    assert torch.allclose(slow.running_var, 0.75 + 0.25 * norm.running_var)
    before = slow.running_mean.clone()
    slow.eval()(c)
    assert torch.equal(slow.running_mean, before)


# Networks


def settled(network, margin, dtype=F64, seed=0):
    """A network whose batch norms know its signals, and these on the grid of degree 8."""
    torch.manual_seed(seed)
    net = network(1, 4, grid_degree=8, margin=margin, dtype=dtype)
    transform = SphericalTransform(5, grid_degree=8, dtype=dtype)
    f = transform.synthesis(draw(16, 1, 36, seed=seed + 5, dtype=dtype)) / transform.one
    with torch.no_grad():
        for _ in range(60):
            net(f)
    return net.eval(), f, transform


def variation(net, f, transform) -> float:
    def rotated(R, f):
        return transform.synthesis(rotate_coefficients(transform(f), R))

    return equivariance_error(net, f, rotated, lambda R, y: y, ROTATIONS)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("network", "bounds"), [(SphericalCNN, (0.1, 0.02)),
                                                 (ZonalCNN, (0.2, 0.1))])  # fmt: skip
def test_networks_are_as_invariant_as_their_grids_are_fine(network, bounds, seed):
    coarse, fine = (variation(*settled(network, margin, seed=seed)) for margin in (2, 6))
    assert fine < 0.5 * coarse and coarse < bounds[0] and fine < bounds[1]


def test_a_planar_network_is_not_invariant():
    _, f, transform = settled(ZonalCNN, 2)
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 8, 3, padding=1, dtype=F64)
    planar = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9 * 17, 4).double())
    assert variation(planar, f, transform) > 0.3


@pytest.mark.parametrize("seed", [0, 1, 2])
@both_networks
def test_only_zonal_networks_cannot_see_a_reflection(network, seed):
    net, f, _ = settled(network, 2, seed=seed)
    mirrored = f[..., -torch.arange(17) % 17]  # x becomes -x
    with torch.no_grad():
        difference = relative(net(mirrored), net(f))
    assert difference < 1e-12 if network is ZonalCNN else difference > 1e-2


@both_networks
def test_networks_tell_signals_apart_and_learn_everywhere(network):
    net, f, _ = settled(network, 2)
    assert float(net(f).detach().std(0).min()) > 0.05
    net.train()(f).square().sum().backward()
    assert all(float(p.grad.abs().max()) > 0 for p in net.parameters())


@both_networks
@pytest.mark.parametrize(("degrees", "channels"), [((3,), (2,)), ([4, 3, 3], [2, 3, 4])])
def test_networks_of_other_depths(network, degrees, channels):
    net = network(2, 3, grid_degree=5, degrees=degrees, channels=channels, margin=1)
    assert net(torch.randn(4, 2, 6, 11)).shape == (4, 3)


def test_the_number_of_weights():
    lifted = SphericalCNN(1, 10, grid_degree=8, degrees=(5, 3), channels=(8, 10))
    assert count_parameters(lifted) == 36 * 8 + 84 * 80 + 2 * 18 + 110
    zonal = ZonalCNN(1, 10, grid_degree=8, degrees=(5, 3), channels=(36, 42))
    assert count_parameters(zonal) == 6 * 36 + 4 * 36 * 42 + 2 * 78 + 430


# What happens to layers


def layers(dtype=torch.float32):
    """Each layer and an input of it."""
    on_sphere = SphericalTransform(2, grid_degree=3, dtype=dtype)
    on_group = RotationTransform(2, grid_degree=3, dtype=dtype)
    return {
        "transform of the sphere": (on_sphere, draw(3, 2, 4, 7, dtype=dtype)),
        "transform of rotations": (on_group, draw(3, 2, 196, dtype=dtype)),
        "zonal": (ZonalConv(2, 3, 2, dtype=dtype), draw(3, 2, 9, dtype=dtype)),
        "lifting": (LiftingSphereConv(2, 3, 2, dtype=dtype), draw(3, 2, 9, dtype=dtype)),
        "group": (RotationConv(2, 3, 2, dtype=dtype), draw(3, 2, 35, dtype=dtype)),
        "relu": (GridNonlinearity(on_group, degree=1), draw(3, 2, 35, dtype=dtype)),
        "batch norm": (SignalBatchNorm(2, on_sphere, dtype=dtype), draw(3, 2, 9, dtype=dtype)),
        "network": (
            SphericalCNN(2, 3, grid_degree=3, degrees=(2, 2), channels=(2, 2), dtype=dtype).eval(),
            draw(3, 2, 4, 7, dtype=dtype),
        ),
    }


each_layer = pytest.mark.parametrize("name", list(layers()))


@each_layer
def test_single_and_double_precision_agree(name):
    torch.manual_seed(0)
    layer, x = layers()[name]
    wide = copy.deepcopy(layer).double()
    with torch.no_grad():
        y = layer(x)
        assert y.dtype == torch.float32
        assert relative(y.double(), wide(x.double())) < 1e-5
        # A detour through half precision loses the weights' digits, and no constant's.
        detour = copy.deepcopy(wide).half().double()
        detour.load_state_dict(wide.state_dict())
        assert torch.equal(detour(x.double()), wide(x.double()))


@each_layer
def test_layers_survive_copies_files_and_empty_memory(name):
    layer, x = layers()[name]
    layer.eval()
    with torch.no_grad():
        expected = layer(x)
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(twin(x), expected)
        emptied = copy.deepcopy(layer).to("meta").to_empty(device="cpu")
        emptied.load_state_dict(layer.state_dict())
        assert torch.equal(emptied(x), expected)


@each_layer
def test_layers_can_be_planned_on_the_meta_device(name):
    _, x = layers()[name]
    with torch.device("meta"):
        layer = layers()[name][0]
    assert {t.device.type for t in (*layer.parameters(), *layer.buffers())} == {"meta"}
    assert layer(x.to("meta")).shape == layers()[name][0](x).shape


@each_layer
def test_autocast_keeps_the_digits_of_signals(name):
    layer, x = layers()[name]
    layer.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        y, rounded = layer(x), layer(x.bfloat16())
    with torch.no_grad():
        bound = 2e-2 if name == "network" else 1e-6
        assert relative(y.float(), layer(x)) < bound
        assert relative(rounded.float(), layer(x)) < 5e-2


@each_layer
def test_layers_compile(name):
    layer, x = layers()[name]
    layer.eval()
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(compiled(x), layer(x), atol=1e-5)


@pytest.mark.parametrize("name", [n for n in layers() if n not in ("relu", "network")])
def test_gradients(name):
    layer, x = layers(F64)[name]
    layer.eval()
    x = x[:1].requires_grad_()
    assert torch.autograd.gradcheck(layer, x)


@each_layer
def test_batches_of_one_and_of_many_axes(name):
    layer, x = layers(F64)[name]
    layer.eval()
    with torch.no_grad():
        y = layer(x)
        assert torch.allclose(layer(x[:1]), y[:1], atol=1e-13)
        if name not in ("batch norm", "network"):
            assert torch.allclose(layer(x[0]), y[0], atol=1e-13)
            assert torch.allclose(layer(x[None, None])[0, 0], y, atol=1e-13)


def test_constants_are_no_part_of_a_checkpoint():
    assert not RotationTransform(2).state_dict() and not SphericalTransform(2).state_dict()


# Wrong input


SPHERE = SphericalTransform(2)


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: GridNonlinearity(2), TypeError, "transform"),
        (lambda: GridNonlinearity(SPHERE, 3), TypeError, "function"),
        (lambda: GridNonlinearity(SPHERE, degree=3), ValueError, "degree"),
        (lambda: GridNonlinearity(SPHERE, torch.sum)(torch.ones(9)), ValueError, "function"),
        (lambda: GridNonlinearity(SPHERE, lambda x: 1)(torch.ones(9)), ValueError, "function"),
        (lambda: GridNonlinearity(SPHERE)(torch.ones(8)), ValueError, "c"),
        (lambda: SignalBatchNorm(0, SPHERE), ValueError, "channels"),
        (lambda: SignalBatchNorm(1, None), TypeError, "transform"),
        (lambda: SignalBatchNorm(1, SPHERE, eps=0), ValueError, "eps"),
        (lambda: SignalBatchNorm(1, SPHERE, momentum=2.0), ValueError, "momentum"),
        (lambda: SignalBatchNorm(1, SPHERE)(torch.ones(1, 9)), ValueError, "c"),
        (lambda: SignalBatchNorm(1, SPHERE)(torch.ones(1, 2, 9)), ValueError, "c"),
        (lambda: SignalBatchNorm(1, SphericalTransform(0))(torch.ones(1, 1, 1)), ValueError, "c"),
        (lambda: SphericalCNN(1, 2, grid_degree=4), ValueError, "grid_degree"),
        (lambda: SphericalCNN(1, 0, grid_degree=8), ValueError, "out_channels"),
        (lambda: SphericalCNN(1, 2, grid_degree=8, degrees=5), TypeError, "degrees"),
        (lambda: SphericalCNN(1, 2, grid_degree=8, degrees=(5,)), ValueError, "channels"),
        (lambda: SphericalCNN(1, 2, grid_degree=8, degrees=(), channels=()), ValueError, "degrees"),
        (lambda: SphericalCNN(1, 2, grid_degree=20, degrees=(13, 1)), ValueError, "degree"),
        (lambda: ZonalCNN(1, 2, grid_degree=8, channels=(0, 1)), ValueError, "channels"),
        (lambda: ZonalCNN(1, 2, grid_degree=8, degrees=(1, 7)), ValueError, "degree"),
        (lambda: ZonalCNN(1, 2, grid_degree=8, margin=-1), ValueError, "margin"),
        (lambda: ZonalCNN(1, 2, grid_degree=8)(torch.ones(1, 9, 17)), ValueError, "c"),
        (lambda: ZonalCNN(1, 2, grid_degree=8)(torch.ones(1, 1, 9, 16)), ValueError, "f"),
    ],
)
def test_wrong_input_is_named(call, error, argument):
    with refuses(error, argument):
        call()
