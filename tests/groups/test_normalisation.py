"""Batch normalisation of fields against torch's, a loop, and the law it keeps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gdl import groups
from gdl import representations as reps
from gdl.equivariance import equivariance_error, equivariant_basis
from tests.groups.common import (
    C4,
    D4,
    F64,
    GRID_GROUPS,
    O2,
    SO2,
    both_dtypes,
    elements_and_products,
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def error(f, x: torch.Tensor, rho: reps.Representation) -> float:
    act = groups.field_action(rho)
    return equivariance_error(f, x, act, act, elements_and_products(rho.group))


def rounding(dtype: torch.dtype) -> float:
    return 100 * torch.finfo(dtype).eps


def mixed(group: reps.Group) -> reps.Representation:
    return reps.trivial(group) + groups.plane(group) + reps.regular(group)


def randomise(layer: nn.Module) -> None:
    with torch.no_grad():
        layer.weight.copy_(0.5 + torch.rand(layer.weight.shape))
        layer.bias.copy_(torch.randn(layer.bias.shape))


def field(rho: reps.Representation, dtype=F64, channels: int = 2, side: int = 4) -> torch.Tensor:
    """Neither centred nor white."""
    return 1 + 3 * torch.randn(3, channels * rho.dim, side, side, dtype=dtype)


# --- torch's normalisation ------------------------------------------------------------------------


def unit(rho: reps.Representation) -> float:
    """What one coefficient of the mean adds to each entry of a permuted fibre: +-1 / sqrt(d)."""
    entries = equivariant_basis(reps.trivial(rho.group), rho).dense().flatten()
    assert (entries - entries[0]).abs().max() < 1e-12 and len(entries) == rho.dim
    return float(entries[0])


def torchs(rho: reps.Representation, layer: groups.FieldBatchNorm2d, dtype, **options):
    """BatchNorm over batch, fibre and pixels with the parameters of the layer."""
    norm = nn.BatchNorm3d(layer.channels, **options).to(dtype)
    if norm.affine:
        with torch.no_grad():
            norm.weight.copy_(layer.weight[:, 0])
            norm.bias.copy_(layer.bias[:, 0] * unit(rho))
    return norm


OPTIONS = [
    {},
    {"eps": 0.1},
    {"momentum": 0.7},
    {"affine": False},
    {"track_running_stats": False},
]


@both_dtypes
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    "rho", [reps.trivial(C4), reps.trivial(SO2), reps.regular(C4), reps.regular(D4)], ids=str
)
def test_on_one_permuted_block_it_is_torchs_norm_over_batch_group_and_pixels(rho, options, dtype):
    """Values, gradients and running statistics, over several steps and then in eval mode."""
    layer = groups.FieldBatchNorm2d(2, rho, **options).to(dtype)
    assert math.isclose(abs(unit(rho)), 1 / math.sqrt(rho.dim), rel_tol=1e-12)
    if layer.weight is not None:
        randomise(layer)
    reference = torchs(rho, layer, dtype, **options)
    tolerance = {"rtol": rounding(dtype), "atol": rounding(dtype)}
    for training in (True, True, True, False):
        layer.train(training)
        reference.train(training)
        x = field(rho, dtype).requires_grad_()
        x_reference = x.detach().clone().requires_grad_()
        y = layer(x)
        y_reference = reference(x_reference.unflatten(1, (2, rho.dim))).flatten(1, 2)
        assert y.dtype == dtype
        assert torch.allclose(y, y_reference, **tolerance)
        cotangent = torch.randn_like(y)
        inputs = [x, *layer.parameters()]
        grads = torch.autograd.grad(y, inputs, cotangent)
        inputs_reference = [x_reference, *reference.parameters()]
        expected = torch.autograd.grad(y_reference, inputs_reference, cotangent)
        assert torch.allclose(grads[0], expected[0], **tolerance)
        if layer.weight is not None:
            scale = 1 + cotangent.abs().sum()
            assert (grads[1][:, 0] - expected[1]).abs().max() < rounding(dtype) * scale
            assert (grads[2][:, 0] - expected[2] * unit(rho)).abs().max() < rounding(dtype) * scale
        if layer.track_running_stats:
            assert torch.allclose(layer.running_var[:, 0], reference.running_var, **tolerance)
            mean = layer.running_mean[:, 0] * unit(rho)
            assert torch.allclose(mean, reference.running_mean, **tolerance)


@pytest.mark.parametrize("training", [True, False])
def test_on_the_trivial_fibre_it_is_torchs_batch_norm_2d(training):
    layer = groups.FieldBatchNorm2d(3, reps.trivial(D4), dtype=F64)
    reference = nn.BatchNorm2d(3, dtype=F64)
    randomise(layer)
    with torch.no_grad():
        reference.weight.copy_(layer.weight[:, 0])
        reference.bias.copy_(layer.bias[:, 0] * unit(layer.rho))
    for mode in (True, training):
        x = field(layer.rho, channels=3)
        assert torch.allclose(layer.train(mode)(x), reference.train(mode)(x), atol=1e-13)


# --- the formula ----------------------------------------------------------------------------------


def normalised_by_loops(x, rho, sizes, eps, elements):
    """The mean, averaged over the group, and the mean square of each block, without weights."""
    projector = torch.stack([rho(g) for g in elements]).mean(0)
    y = torch.empty_like(x)
    for c in range(x.shape[1] // rho.dim):
        fibre = x[:, c * rho.dim : (c + 1) * rho.dim]
        mean = projector @ torch.stack([fibre[:, i].mean() for i in range(rho.dim)])
        start = 0
        for size in sizes:
            part = slice(start, start + size)
            centred = fibre[:, part] - mean[part, None, None]
            variance = centred.square().mean()
            entries = slice(c * rho.dim + start, c * rho.dim + start + size)
            y[:, entries] = centred / math.sqrt(variance + eps)
            start += size
    return y


@pytest.mark.parametrize("group", [C4, D4], ids=str)
def test_on_a_mixed_fibre_it_is_the_formula_written_as_loops(group):
    rho = mixed(group)
    layer = groups.FieldBatchNorm2d(2, rho, eps=0.3, dtype=F64)
    x = field(rho)
    expected = normalised_by_loops(x, rho, [1, 2, group.order], 0.3, group.elements())
    assert torch.allclose(layer(x), expected, atol=1e-13)
    ordinary = nn.BatchNorm2d(2 * rho.dim, eps=0.3, dtype=F64)(x)
    assert (layer(x) - ordinary).abs().max() > 0.1


def test_invariants_between_blocks_are_found_as_well():
    """The trivial irrep hides in the regular representation, and nowhere in a vector."""
    rho = mixed(D4)
    layer = groups.FieldBatchNorm2d(2, rho)
    assert layer.bias.shape == layer.running_mean.shape == (2, 2)
    assert layer.weight.shape == layer.running_var.shape == (2, 3)
    vector = groups.FieldBatchNorm2d(2, groups.plane(D4), dtype=F64)
    assert vector.bias.shape == (2, 0)
    x = field(vector.rho)
    squares = x.unflatten(1, (2, 2)).square().mean((0, 2, 3, 4))
    expected = x / (squares + 1e-5).sqrt().repeat_interleave(2)[:, None, None]
    assert torch.allclose(vector(x), expected, atol=1e-13)


def test_vectors_keep_their_mean_in_the_running_variance():
    """Closed form: constant vectors (3, 4) have the mean square 25 / 2, and samples - 1 counts."""
    layer = groups.FieldBatchNorm2d(1, reps.circular_irrep(SO2, 1), momentum=0.5, dtype=F64)
    x = torch.tensor([3.0, 4.0], dtype=F64)[None, :, None, None].expand(2, 2, 3, 3)
    y = layer(x)
    assert torch.allclose(y, x / math.sqrt(12.5 + 1e-5), atol=1e-14)
    assert torch.allclose(layer.running_var, torch.tensor([[0.5 + 0.5 * 12.5 * 36 / 35]]).double())
    layer.eval()
    expected = x / math.sqrt(0.5 + 0.5 * 12.5 * 36 / 35 + 1e-5)
    assert torch.allclose(layer(x), expected, atol=1e-14)


# --- equivariance ---------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("group", GRID_GROUPS, ids=str)
@pytest.mark.parametrize("options", OPTIONS[2:], ids=str)
def test_it_is_equivariant_in_train_and_in_eval_mode(group, options, dtype):
    rho = mixed(group)
    layer = groups.FieldBatchNorm2d(2, rho, **options).to(dtype)
    if layer.weight is not None:
        randomise(layer)
    x = field(rho, dtype)
    assert error(layer, x, rho) < rounding(dtype)
    layer.eval()
    assert error(layer, x, rho) < rounding(dtype)


@pytest.mark.parametrize("group", [SO2, O2], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_it_commutes_with_every_rotation_of_the_fibre(group, training):
    rho = reps.circular_irrep(group, 0) + reps.circular_irrep(group, 1)
    rho = rho + reps.circular_irrep(group, 2)
    layer = groups.FieldBatchNorm2d(2, rho, dtype=F64)
    randomise(layer)
    layer(field(rho))
    layer.train(training)

    def act(g, x):
        return rho.act(g, x.unflatten(1, (2, rho.dim)).movedim(2, -1)).movedim(-1, 2).flatten(1, 2)

    x = field(rho)
    assert equivariance_error(layer, x, act, act, group.random(10, seed=2)) < 1e-13
    plain = nn.BatchNorm2d(2 * rho.dim, dtype=F64)
    plain(field(rho))
    plain.train(training)
    assert equivariance_error(plain, x, act, act, group.random(10, seed=2)) > 0.05


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_norm_for_each_element_of_the_group_breaks_the_symmetry(training):
    """In train mode it is saved by its statistics, which turn too, until it has learned weights."""
    rho = reps.regular(C4)
    plain = nn.BatchNorm2d(8, dtype=F64)
    plain(field(rho))
    randomise(plain)
    plain.train(training)
    assert error(plain, field(rho), rho) > 0.1
    fresh = nn.BatchNorm2d(8, dtype=F64)
    assert error(fresh, field(rho), rho) < 1e-13


# --- modes, copies and gradients ------------------------------------------------------------------


def test_eval_mode_uses_the_running_statistics_and_keeps_them():
    rho = mixed(C4)
    layer = groups.FieldBatchNorm2d(2, rho, dtype=F64)
    layer(field(rho))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    assert before["running_mean"].any() and not torch.equal(
        before["running_var"], torch.ones_like(before["running_var"])
    )
    layer.eval()
    x = field(rho)
    both = layer(x)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert torch.allclose(torch.cat([layer(x[:1]), layer(x[1:])]), both, atol=1e-14)
    layer.train()
    assert not torch.allclose(torch.cat([layer(x[:1]), layer(x[1:])]), both, atol=1e-3)


def test_without_running_statistics_both_modes_are_the_same():
    rho = reps.regular(C4)
    layer = groups.FieldBatchNorm2d(2, rho, track_running_stats=False, dtype=F64)
    assert set(layer.state_dict()) == {"weight", "bias"}
    x = field(rho)
    assert torch.equal(layer.train()(x), layer.eval()(x))


def test_the_state_holds_parameters_and_statistics():
    layer = groups.FieldBatchNorm2d(2, mixed(C4))
    names = {"weight", "bias", "running_mean", "running_var"}
    assert set(layer.state_dict()) == names
    bare = groups.FieldBatchNorm2d(2, mixed(C4), affine=False)
    assert set(bare.state_dict()) == {"running_mean", "running_var"}
    assert not list(bare.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_gradients(training):
    rho = mixed(C4)
    layer = groups.FieldBatchNorm2d(1, rho, dtype=F64, momentum=0.0)
    randomise(layer)
    layer.train(training)
    x = torch.randn(2, rho.dim, 2, 1, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, layer.weight, layer.bias))


def test_gradients_at_zero_are_finite():
    rho = mixed(C4)
    layer = groups.FieldBatchNorm2d(2, rho, dtype=F64)
    x = torch.zeros(2, 2 * rho.dim, 3, 3, dtype=F64, requires_grad=True)
    y = layer(x)
    y.square().sum().backward()
    assert not y.any() and torch.isfinite(x.grad).all()


def test_the_dtype_argument_is_the_cast():
    rho = mixed(D4)
    x = field(rho)
    direct = groups.FieldBatchNorm2d(2, rho, dtype=F64)
    cast = groups.FieldBatchNorm2d(2, rho).double()
    assert {v.dtype for v in direct.state_dict().values()} == {F64}
    assert torch.equal(direct(x), cast(x))


def test_half_precision_inputs_are_normalised_in_float32():
    rho = reps.regular(C4)
    layer = groups.FieldBatchNorm2d(2, rho)
    x = (1000 + field(rho, torch.float32)).half()
    y = layer(x)
    assert y.dtype == torch.float16
    assert torch.equal(y, layer(x.float()).half())


def test_a_single_value_has_no_variance():
    layer = groups.FieldBatchNorm2d(2, mixed(C4))
    with pytest.raises(ValueError, match="^x: expected more than one value per block in train"):
        layer(torch.zeros(1, 14, 1, 1))
    with pytest.raises(ValueError, match="a batch of 0 fields of 3 x 4 pixels"):
        layer(torch.zeros(0, 14, 3, 4))
    assert layer.eval()(torch.zeros(1, 14, 1, 1)).shape == (1, 14, 1, 1)
    assert layer(torch.zeros(0, 14, 3, 3)).shape == (0, 14, 3, 3)
    regular = groups.FieldBatchNorm2d(2, reps.regular(C4))
    assert torch.isfinite(regular(torch.randn(1, 8, 1, 1))).all()
    assert torch.isfinite(regular.running_var).all()
    trivial = groups.FieldBatchNorm2d(1, reps.trivial(C4))
    assert torch.isfinite(trivial(torch.randn(1, 1, 1, 2))).all()
    assert torch.isfinite(trivial(torch.randn(2, 1, 1, 1))).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_dtype_of_the_input_is_kept_on_every_fibre(dtype):
    rho = reps.circular_irrep(SO2, 0) + reps.circular_irrep(SO2, 1)
    x = torch.randn(2, 6, 3, 3).to(dtype)
    y = groups.FieldBatchNorm2d(2, rho).to(dtype)(x)
    assert y.dtype == dtype
    exact = groups.FieldBatchNorm2d(2, rho, dtype=torch.float64)(x.double())
    assert torch.allclose(y.double(), exact, atol=0.02)
    assert groups.FieldBatchNorm2d(2, rho)(x).dtype == dtype


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"momentum": None}, TypeError, "momentum: expected a number, got NoneType"),
        ({"momentum": 1.5}, ValueError, "momentum: expected a number from 0 to 1, got 1.5"),
        ({"momentum": math.nan}, ValueError, "momentum: expected a number from 0"),
        ({"eps": -1e-9}, ValueError, "eps: expected a number from 0"),
        ({"eps": "small"}, TypeError, "eps: expected a number, got str"),
        ({"dtype": "float32"}, TypeError, "dtype: expected a real floating-point type of torch"),
    ],
)
def test_wrong_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        groups.FieldBatchNorm2d(2, reps.regular(C4), **options)
