"""Functions of the fibre: they commute with the group, and a plain relu on vectors does not."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from gdl import groups
from gdl import representations as reps
from gdl.equivariance import equivariance_error
from tests.groups.common import C4, D4, F64, GRID_GROUPS, O2, SO2, both_dtypes, error


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def fibre_error(f, x: torch.Tensor, rho_in, rho_out, elements) -> float:
    """The fibre turns by any angle; the pixels, which no grid could follow, stay."""

    def turning(rho):
        def act(g, x):
            fibres = x.unflatten(1, (-1, rho.dim)).movedim(2, -1)
            return rho.act(g, fibres).movedim(-1, 2).flatten(1, 2)

        return act

    return equivariance_error(f, x, turning(rho_in), turning(rho_out), elements)


def rounding(dtype: torch.dtype) -> float:
    return 100 * torch.finfo(dtype).eps


def mixed(group: reps.Group) -> reps.Representation:
    return reps.trivial(group) + groups.plane(group) + reps.regular(group)


def fill(parameter: nn.Parameter) -> None:
    with torch.no_grad():
        parameter.copy_(torch.randn(parameter.shape) / 2)


# --- pointwise ------------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("group", GRID_GROUPS, ids=str)
def test_pointwise_functions_commute_with_permutations(group, dtype):
    rho = reps.regular(group) + reps.trivial(group)
    rho = rho + reps.cosets(group, [group.elements()[-1]])
    x = torch.randn(2, 2 * rho.dim, 4, 4, dtype=dtype)
    for function in (torch.relu, torch.tanh, nn.ELU()):
        layer = groups.PointwiseNonlinearity(rho, function)
        assert torch.equal(layer(x), function(x))
        assert error(layer, x, rho, rho) < rounding(dtype)
    assert torch.equal(groups.PointwiseNonlinearity(rho)(x), x.clamp(min=0))


@pytest.mark.parametrize(
    "rho",
    [groups.plane(C4), reps.circular_irrep(D4, 0, -1), reps.circular_irrep(SO2, 1), mixed(D4)],
    ids=str,
)
def test_relu_is_refused_on_fibres_that_are_not_permuted(rho):
    with pytest.raises(ValueError, match=r"^rho: expected a permutation .*use a norm or a gate"):
        groups.PointwiseNonlinearity(rho)


@pytest.mark.parametrize("rho", [groups.plane(C4), reps.circular_irrep(D4, 0, -1)], ids=str)
def test_relu_on_a_rotated_vector_breaks_the_symmetry(rho):
    x = torch.randn(1, 3 * rho.dim, 4, 4, dtype=F64)
    assert error(torch.relu, x, rho, rho) > 0.1


# --- norms ----------------------------------------------------------------------------------------


def norm_by_loops(x: torch.Tensor, sizes: list[int], bias: torch.Tensor) -> torch.Tensor:
    y = torch.zeros_like(x)
    for b, c, i, j in itertools.product(*map(range, (x.shape[0], len(bias), *x.shape[2:]))):
        start = c * sum(sizes)
        for k, size in enumerate(sizes):
            v = x[b, start : start + size, i, j]
            if v.any():
                length = v.square().sum().sqrt()
                y[b, start : start + size, i, j] = (length + bias[c, k]).clamp(min=0) * v / length
            start += size
    return y


@both_dtypes
@pytest.mark.parametrize("group", [C4, D4], ids=str)
def test_the_norm_nonlinearity_is_its_formula_written_as_loops(group, dtype):
    rho = mixed(group)
    layer = groups.NormNonlinearity(2, rho, dtype=dtype)
    assert layer.bias.shape == (2, 3) and layer.bias.dtype == dtype and not layer.bias.any()
    fill(layer.bias)
    layer.bias.data[1, 1] = -10.0
    x = torch.randn(2, 2 * rho.dim, 2, 3, dtype=dtype)
    x[0, :, 0, 1] = 0.0
    expected = norm_by_loops(x, [1, 2, group.order], layer.bias)
    assert (layer(x) - expected).abs().max() < rounding(dtype)
    assert not layer(x)[0, :, 0, 1].any()
    assert not layer(x)[:, rho.dim + 1 : rho.dim + 3].any()


@both_dtypes
@pytest.mark.parametrize("group", GRID_GROUPS, ids=str)
def test_the_norm_nonlinearity_is_equivariant_on_the_grid(group, dtype):
    rho = mixed(group)
    layer = groups.NormNonlinearity(2, rho, dtype=dtype)
    fill(layer.bias)
    x = torch.randn(2, 2 * rho.dim, 4, 4, dtype=dtype)
    assert error(layer, x, rho, rho) < rounding(dtype)


@both_dtypes
@pytest.mark.parametrize("group", [SO2, O2], ids=str)
def test_norms_and_gates_commute_with_every_rotation_of_the_fibre(group, dtype):
    rho = reps.circular_irrep(group, 0) + reps.circular_irrep(group, 1)
    rho = rho + reps.circular_irrep(group, 3)
    norm = groups.NormNonlinearity(4, rho, dtype=dtype)
    fill(norm.bias)
    gate = groups.GatedNonlinearity(rho)
    drawn = group.random(8, seed=0)
    elements = [*drawn, *(g * h for g, h in itertools.pairwise(drawn))]
    for f, rho_in in ((norm, rho), (gate, gate.rho_in)):
        x = torch.randn(2, 4 * rho_in.dim, 2, 2, dtype=dtype)
        assert fibre_error(f, x, rho_in, rho, elements) < rounding(dtype)
    x = torch.randn(2, 4 * rho.dim, 2, 2, dtype=dtype)
    assert fibre_error(torch.relu, x, rho, rho, elements) > 0.1


def test_one_norm_for_two_blocks_of_one_irrep_would_be_coarser():
    """Each block has its own threshold: a direct sum of layers."""
    one = reps.circular_irrep(SO2, 1)
    layer, first, second = (groups.NormNonlinearity(1, rho) for rho in (one + one, one, one))
    fill(layer.bias)
    with torch.no_grad():
        first.bias.copy_(layer.bias[:, :1])
        second.bias.copy_(layer.bias[:, 1:])
    x = torch.randn(3, 4, 2, 2)
    expected = torch.cat([first(x[:, :2]), second(x[:, 2:])], 1)
    assert torch.equal(layer(x), expected)


def test_lengths_need_orthogonal_matrices():
    shear = torch.tensor([[1.0, 1.0], [0.0, -1.0]], dtype=F64)
    rho = reps.Representation(reps.cyclic(2), [shear])
    with pytest.raises(ValueError, match=r"^rho: expected orthogonal matrices"):
        groups.NormNonlinearity(1, rho)
    x = torch.randn(1, 2, 4, 4, dtype=F64)
    twin = lambda x: x * x.norm(dim=1, keepdim=True)  # noqa: E731
    assert error(twin, x, rho, rho) > 0.1
    cured, _ = reps.orthogonalise(rho)
    assert error(twin, x, cured, cured) < 1e-14
    assert groups.NormNonlinearity(1, cured).bias.shape == (1, 1)
    boost = reps.Representation(SO2, [], [torch.tensor([[0.0, 2.0], [-0.5, 0.0]], dtype=F64)])
    with pytest.raises(ValueError, match=r"^rho: expected orthogonal matrices"):
        groups.NormNonlinearity(1, boost)


def test_the_gradient_at_zero_is_finite():
    layer = groups.NormNonlinearity(2, reps.circular_irrep(SO2, 1) + reps.trivial(SO2), dtype=F64)
    fill(layer.bias)
    x = torch.randn(2, 6, 2, 1, dtype=F64)
    x[0] = 0.0
    x.requires_grad_()
    layer(x).square().sum().backward()
    assert torch.isfinite(x.grad).all() and torch.isfinite(layer.bias.grad).all()
    assert layer.bias.grad.any() and x.grad[1].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, F64], ids=str)
@pytest.mark.parametrize("threshold", [-0.5, 0.0])
def test_the_gradient_beside_zero_is_finite(dtype, threshold):
    layer = groups.NormNonlinearity(1, reps.circular_irrep(SO2, 1), dtype=dtype)
    nn.init.constant_(layer.bias, threshold)
    for size in (1e-320, 1e-310, 1e-300, 1e-45, 1e-42, 1e-39, 1e-37, 1e-20, 1e-6, 1e-4):
        x = torch.tensor([size, 2 * size], dtype=dtype).reshape(1, 2, 1, 1).requires_grad_()
        layer.bias.grad = None
        layer(x).sum().backward()
        assert x.grad.isfinite().all() and layer.bias.grad.isfinite().all(), size
        expected = torch.ones_like(x) if threshold == 0 else torch.zeros_like(x)
        assert torch.allclose(x.grad, expected, atol=0.01), size


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, F64], ids=str)
@pytest.mark.parametrize("threshold", [0.5, 30.0])
def test_the_gradient_beside_zero_of_a_field_that_is_lengthened(dtype, threshold):
    """It is as large as b / |v|, so finite wherever that is a number; elsewhere that at 0."""
    layer = groups.NormNonlinearity(1, reps.circular_irrep(SO2, 1), dtype=dtype)
    nn.init.constant_(layer.bias, threshold)
    direction, pull = torch.tensor([0.6, 0.8], dtype=F64), torch.tensor([0.3, -0.2], dtype=F64)
    for size in (0.0, 1e-320, 1e-306, 1e-250, 1e-160, 1e-40, 1e-36, 1e-30, 1e-19, 1e-3):
        x = (size * direction).to(dtype).reshape(1, 2, 1, 1).requires_grad_()
        layer.bias.grad = None
        layer(x).backward(pull.to(dtype).reshape(1, 2, 1, 1))
        assert x.grad.isfinite().all() and layer.bias.grad.isfinite().all(), size
        length = math.hypot(*x.flatten().tolist())
        along = (pull @ direction) * direction
        near_zero = length < 4 * max(1, threshold) / torch.finfo(dtype).max
        stretch = 1.0 if near_zero else 1 + threshold / length
        expected = along + stretch * (pull - along)
        error = (x.grad.flatten() - expected).abs().max()
        assert error <= 20 * torch.finfo(dtype).eps * expected.abs().max(), size


def test_gradients_of_the_norm_nonlinearity_away_from_its_kinks():
    layer = groups.NormNonlinearity(2, mixed(C4), dtype=F64)
    fill(layer.bias)
    x = 2 + torch.rand(1, 14, 2, 1, dtype=F64)
    x.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, b: torch.func.functional_call(layer, {"bias": b}, (x,)),
        (x, layer.bias),
    )


def test_without_thresholds_the_norm_nonlinearity_is_the_identity():
    """Also at zero, where its gradient is then the identity as well."""
    layer = groups.NormNonlinearity(1, reps.circular_irrep(SO2, 1), dtype=F64)
    x = torch.randn(2, 2, 2, 2, dtype=F64)
    x[0] = 0.0
    x.requires_grad_()
    assert torch.allclose(layer(x), x, atol=1e-15)
    assert torch.autograd.gradcheck(layer, x)


# --- gates ----------------------------------------------------------------------------------------


def gated_by_loops(x: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    fibres = []
    for fibre in x.split(len(sizes) + sum(sizes), dim=1):
        start = len(sizes)
        for k, size in enumerate(sizes):
            fibres.append(fibre[:, start : start + size] / (1 + torch.exp(-fibre[:, k : k + 1])))
            start += size
    return torch.cat(fibres, 1)


@both_dtypes
@pytest.mark.parametrize("group", GRID_GROUPS, ids=str)
def test_gates_are_their_formula_and_equivariant(group, dtype):
    rho = reps.regular(group) + reps.trivial(group) + reps.regular(group)
    layer = groups.GatedNonlinearity(rho)
    assert layer.rho_in.dim == 3 + rho.dim
    for g in group.elements():
        expected = torch.block_diag(torch.eye(3, dtype=F64), rho(g))
        assert torch.equal(layer.rho_in(g), expected)
    x = torch.randn(2, 2 * layer.rho_in.dim, 4, 4, dtype=dtype)
    expected = gated_by_loops(x, [group.order, 1, group.order])
    assert (layer(x) - expected).abs().max() < rounding(dtype)
    assert error(layer, x, layer.rho_in, rho) < rounding(dtype)


def test_gates_need_no_orthogonal_matrices():
    shear = torch.tensor([[1.0, 1.0], [0.0, -1.0]], dtype=F64)
    layer = groups.GatedNonlinearity(reps.Representation(reps.cyclic(2), [shear]))
    x = torch.randn(2, 6, 3, 3, dtype=F64)
    assert error(layer, x, layer.rho_in, layer.rho) < 1e-14


def test_a_gate_that_is_no_invariant_breaks_the_symmetry():
    rho = groups.plane(D4)
    twin = lambda x: x * x[:, :1].sigmoid()  # noqa: E731
    assert error(twin, torch.randn(1, 2, 4, 4, dtype=F64), rho, rho) > 0.1
    gates = groups.GatedNonlinearity(rho)
    x = torch.randn(1, 6, 4, 4, dtype=F64)
    assert error(gates, x, gates.rho_in, rho) < 1e-14


def test_gradients_of_gates():
    x = torch.randn(1, 6, 2, 1, dtype=F64)
    x[..., 0, :] = 0.0
    x.requires_grad_()
    assert torch.autograd.gradcheck(groups.GatedNonlinearity(groups.plane(D4)), x)


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float16, 300.0), (torch.float32, 1e30), (torch.float32, 1e-30)]
)
def test_lengths_neither_overflow_nor_vanish(dtype, size):
    arrow = reps.circular_irrep(reps.SO(2), 1)
    x = torch.full((1, 2, 1, 1), size, dtype=dtype)
    y = groups.NormNonlinearity(1, arrow, dtype=dtype)(x)
    assert torch.allclose(y, x, rtol=2e-3, atol=0)
    length = groups.GroupPool(arrow, "norm")(x)
    assert torch.allclose(length.double(), x[:, :1].double() * 2**0.5, rtol=2e-3, atol=0)


@pytest.mark.parametrize("threshold", [-0.5, 0.0])
def test_the_gradient_at_zero_is_that_of_the_function(threshold):
    layer = groups.NormNonlinearity(1, reps.circular_irrep(reps.SO(2), 1), dtype=torch.float64)
    torch.nn.init.constant_(layer.bias, threshold)
    layer.requires_grad_(False)
    x = torch.zeros(1, 2, 1, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)


def test_nan_is_not_swallowed():
    arrow = reps.circular_irrep(reps.SO(2), 1)
    assert groups.GroupPool(arrow, "norm")(torch.full((1, 2, 1, 1), torch.nan)).isnan().all()


@pytest.mark.parametrize("group", [reps.SO(2), reps.O(2)], ids=str)
def test_numbers_of_a_continuous_group_may_be_clipped(group):
    relu = groups.PointwiseNonlinearity(reps.trivial(group, 3))
    assert relu(-torch.ones(1, 3, 2, 2)).abs().max() == 0
    groups.GroupPool(reps.trivial(group), "max")
    groups.FieldPool2d(reps.trivial(group), 2)
    with pytest.raises(ValueError, match="rho: expected a permutation representation"):
        groups.PointwiseNonlinearity(reps.circular_irrep(group, 1))


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (None, TypeError, "function: expected a function, got NoneType"),
        (torch.sum, ValueError, r"function: expected to keep \(1, 4, 2, 2\), got \(\)"),
    ],
)
def test_a_function_that_is_none_is_named(function, error, message):
    with pytest.raises(error, match=message):
        groups.PointwiseNonlinearity(reps.regular(reps.cyclic(4)), function)(torch.ones(1, 4, 2, 2))


def test_a_matrix_of_zeros_and_ones_need_not_be_a_permutation():
    O2 = reps.O(2)
    shear = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    for image in (shear, shear.T):
        twin = reps.Representation(O2, [image], [torch.zeros(2, 2).double()], check=False)
        with pytest.raises(ValueError, match="rho: expected a permutation representation"):
            groups.PointwiseNonlinearity(twin)
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    pair = reps.Representation(O2, [swap], [torch.zeros(2, 2).double()])
    groups.PointwiseNonlinearity(pair)
    doubled = reps.Representation(O2, [2 * swap], [torch.zeros(2, 2).double()], check=False)
    with pytest.raises(ValueError, match="rho: expected a permutation"):
        groups.PointwiseNonlinearity(doubled)


def test_shrinking_matrices_are_not_orthogonal():
    shrunk = 0.5 * torch.eye(2, dtype=torch.float64)
    twin = reps.Representation(reps.cyclic(2), [shrunk], check=False)
    with pytest.raises(ValueError, match="rho: expected orthogonal matrices"):
        groups.NormNonlinearity(1, twin)
