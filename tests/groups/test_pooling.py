"""Pooling in a fibre, over cosets and over pixels, against loops, closed forms and torch."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gdl import groups
from gdl import representations as reps
from gdl.equivariance import equivariance_error
from tests.groups.common import C4, D4, F64, GRID_GROUPS, O2, SO2, both_dtypes, error


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def rounding(dtype: torch.dtype) -> float:
    return 100 * torch.finfo(dtype).eps


# --- blocks ---------------------------------------------------------------------------------------


def finest_blocks(rho: reps.Representation, elements) -> list[int]:
    """A cut at k is allowed if no image of any element reaches across it."""
    images = torch.stack([rho(g) for g in elements]).abs().amax(0) > 1e-9
    cuts = [
        k
        for k in range(rho.dim + 1)
        if not images[:k, k:].any() and not images[k:, :k].any()
    ]  # fmt: skip
    return [b - a for a, b in itertools.pairwise(cuts)]


@pytest.mark.parametrize("group", [*GRID_GROUPS, reps.cyclic(6), reps.symmetric(3)], ids=str)
def test_blocks_of_a_finite_group_are_the_finest_that_all_elements_respect(group):
    one, regular = reps.trivial(group), reps.regular(group)
    quotient = reps.cosets(group, [group.elements()[-1]])
    for rho in (one, 2 * one + regular, quotient + one + quotient, group.defining):
        assert groups.blocks(rho) == finest_blocks(rho, group.elements())
    assert groups.blocks(2 * one + regular) == [1, 1, group.order]


@pytest.mark.parametrize("group", [SO2, O2], ids=str)
def test_blocks_of_a_sum_of_irreps_are_the_irreps(group):
    rho = reps.circular_irrep(group, 0) + reps.circular_irrep(group, 3)
    rho = rho + 2 * reps.circular_irrep(group, 0) + reps.circular_irrep(group, 1)
    assert groups.blocks(rho) == finest_blocks(rho, group.random(5)) == [1, 2, 1, 1, 2]


def test_blocks_of_interleaved_orbits_and_of_one_sided_entries():
    negative = reps.Representation(reps.cyclic(2), [-torch.eye(2, dtype=F64).flip(0)])
    assert groups.blocks(negative) == [2]
    opposite = [torch.eye(2, dtype=F64).flip(0), -torch.eye(2, dtype=F64).flip(0)]
    assert groups.blocks(reps.Representation(reps.dihedral(2), opposite)) == [2]
    swap = torch.tensor([2, 3, 0, 1, 4])
    assert groups.blocks(reps.Representation(reps.cyclic(2), [swap])) == [4, 1]
    for shear in ([[1.0, 1.0], [0.0, -1.0]], [[1.0, 0.0], [1.0, -1.0]]):
        rho = reps.Representation(reps.cyclic(2), [torch.tensor(shear, dtype=F64)])
        assert groups.blocks(reps.trivial(reps.cyclic(2)) + rho) == [1, 2]


# --- cosets ---------------------------------------------------------------------------------------

r, s = D4.generator(0), D4.generator(1)
SUBGROUPS = {
    "1 in Z_4": (C4, [C4.identity()]),
    "r^2 in Z_4": (C4, [C4.generator(0) * C4.generator(0)]),
    "Z_4 in Z_4": (C4, [C4.generator(0)]),
    "r in D_4": (D4, [r]),
    "r^2 in D_4": (D4, [r * r]),
    "s in D_4": (D4, [s]),
    "rs in D_4": (D4, [r * s]),
    "r^2, s in D_4": (D4, [r * r, s]),
    "D_4 in D_4": (D4, [r, s]),
}
subgroups = pytest.mark.parametrize(("group", "generators"), SUBGROUPS.values(), ids=SUBGROUPS)


def subgroup(group: reps.Group, generators: list[reps.Element]) -> list[reps.Element]:
    found = {0: group.identity()}
    while True:
        products = [a * b for a in found.values() for b in generators]
        new = {group.index(g): g for g in products if group.index(g) not in found}
        if not new:
            return list(found.values())
        found.update(new)


def partition(group: reps.Group, K: list[reps.Element], left: bool = True) -> list[list[int]]:
    """The cosets hK (or K h), in the order in which the elements first meet them."""
    found: list[list[int]] = []
    for h in group.elements():
        if not any(group.index(h) in members for members in found):
            found.append([group.index(h * k if left else k * h) for k in K])
    return found


def pooled_by_loops(x, group, parts, reduce):
    channels = x.shape[1] // group.order
    y = torch.empty(x.shape[0], channels * len(parts), *x.shape[2:], dtype=x.dtype)
    for c, (i, members) in itertools.product(range(channels), enumerate(parts)):
        entries = [x[:, c * group.order + m] for m in members]
        total = entries[0].clone()
        for entry in entries[1:]:
            total = torch.maximum(total, entry) if reduce == "max" else total + entry
        y[:, c * len(parts) + i] = total if reduce == "max" else total / len(members)
    return y


@subgroups
@both_dtypes
@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_coset_pooling_is_the_loop_over_cosets_and_equivariant(group, generators, reduce, dtype):
    layer = groups.CosetPool(group, generators, reduce)
    x = torch.randn(2, 3 * group.order, 4, 4, dtype=dtype)
    parts = partition(group, subgroup(group, generators))
    expected = pooled_by_loops(x, group, parts, reduce)
    assert layer(x).dtype == dtype
    assert (layer(x) - expected).abs().max() < rounding(dtype)
    assert error(layer, x, reps.regular(group), layer.rho_out) < rounding(dtype)
    assert layer.rho_out.dim == len(parts) == group.order // len(parts[0])
    signature = [layer.rho_out.image(g).tolist() for g in group.elements()]
    assert signature == [reps.cosets(group, generators).image(g).tolist() for g in group.elements()]


@pytest.mark.parametrize("generators", [[s], [r * s]], ids=str)
def test_right_cosets_break_the_symmetry(generators):
    parts = partition(D4, subgroup(D4, generators), left=False)
    x = torch.randn(1, 8, 4, 4, dtype=F64)
    for reduce in ("max", "mean"):
        twin = lambda x, reduce=reduce: pooled_by_loops(x, D4, parts, reduce)  # noqa: E731
        assert error(twin, x, reps.regular(D4), reps.cosets(D4, generators)) > 0.1


@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_pooling_over_the_whole_group_is_group_pooling(reduce):
    x = torch.randn(2, 24, 3, 3, dtype=F64)
    whole = groups.CosetPool(D4, [r, s], reduce)(x)
    pooled = groups.GroupPool(reps.regular(D4), reduce)(x)
    by_torch = x.unflatten(1, (3, 8)).max(2).values if reduce == "max" else None
    assert torch.allclose(whole, pooled, atol=1e-15)
    if by_torch is not None:
        assert torch.equal(pooled, by_torch)
    assert torch.equal(groups.CosetPool(D4, [D4.identity()], reduce)(x), x)


# --- invariants -----------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("group", GRID_GROUPS, ids=str)
@pytest.mark.parametrize("reduce", ["max", "mean", "norm"])
def test_group_pooling_is_invariant(group, reduce, dtype):
    rho = reps.regular(group) + reps.trivial(group) + reps.cosets(group, [group.elements()[-1]])
    if reduce == "norm":
        rho = rho + groups.plane(group)
    layer = groups.GroupPool(rho, reduce)
    x = torch.randn(2, 3 * rho.dim, 4, 4, dtype=dtype)
    assert layer(x).dtype == dtype
    assert layer(x).shape == (2, 3 * len(groups.blocks(rho)), 4, 4)
    assert error(layer, x, rho, reps.trivial(group)) < rounding(dtype)


@pytest.mark.parametrize("reduce", ["max", "mean", "norm"])
def test_group_pooling_is_the_loop_over_blocks(reduce):
    rho = reps.regular(C4) + 2 * reps.trivial(C4) + reps.regular(C4)
    x = torch.randn(2, 3 * rho.dim, 2, 5, dtype=F64)
    x[0, :4] = 0.0
    y = groups.GroupPool(rho, reduce)(x)
    pool = {"max": torch.amax, "mean": torch.mean, "norm": torch.linalg.vector_norm}[reduce]
    for c, (i, (a, b)) in itertools.product(range(3), enumerate([(0, 4), (4, 5), (5, 6), (6, 10)])):
        part = x[:, 10 * c + a : 10 * c + b]
        assert torch.allclose(y[:, 4 * c + i], pool(part, dim=1), atol=1e-15)


@both_dtypes
@pytest.mark.parametrize("group", [SO2, O2], ids=str)
def test_lengths_do_not_change_under_any_rotation_of_the_fibre(group, dtype):
    rho = reps.circular_irrep(group, 0) + reps.circular_irrep(group, 2)
    x = torch.randn(5, rho.dim, dtype=dtype)
    length = groups.GroupPool(rho, "norm")
    pooled = length(x[..., None, None])
    assert torch.allclose(pooled[:, 0, 0, 0], x[:, 0].abs())
    assert torch.allclose(pooled[:, 1, 0, 0], torch.hypot(x[:, 1], x[:, 2]))
    for g in group.random(10, seed=1):
        turned = rho.act(g, x)
        assert (length(turned[..., None, None]) - pooled).abs().max() < rounding(dtype)
        assert (turned.amax(-1) - x.amax(-1)).abs().max() > 1e-3


def test_the_maximum_of_a_rotated_vector_is_no_invariant():
    rho = groups.plane(C4)
    with pytest.raises(ValueError, match="rho: expected a permutation representation.*use norm"):
        groups.GroupPool(rho)
    twin = lambda x: x.unflatten(1, (3, 2)).amax(2)  # noqa: E731
    assert error(twin, torch.randn(1, 6, 4, 4, dtype=F64), rho, reps.trivial(C4)) > 0.1


def test_the_length_has_a_finite_gradient_at_zero():
    layer = groups.GroupPool(reps.circular_irrep(SO2, 1), "norm")
    x = torch.zeros(1, 2, 2, 2, dtype=F64, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert not y.any() and not x.grad.any()
    x = torch.randn(2, 4, 2, 1, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)
    layer(x).sum().backward()
    pairs = x.detach().unflatten(1, (2, 2))
    assert torch.allclose(x.grad.unflatten(1, (2, 2)), pairs / pairs.norm(dim=2, keepdim=True))


@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_gradients_of_coset_pooling(reduce):
    x = torch.randn(1, 8, 2, 1, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(groups.CosetPool(D4, [s], reduce), x)


# --- pixels ---------------------------------------------------------------------------------------

WINDOWS = [(2, None, 0), (2, 2, 1), (3, 2, 1), (3, 1, 0), (1, 2, 0), (4, 3, 2), (3, 3, 1)]


def torch_pool(reduce, kernel_size, stride, padding) -> nn.Module:
    return (nn.MaxPool2d if reduce == "max" else nn.AvgPool2d)(kernel_size, stride, padding)


@both_dtypes
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_field_pooling_is_torchs_pooling(reduce, window, dtype):
    x = torch.randn(2, 8, 9, 6, dtype=dtype)
    for layer in (
        groups.FieldPool2d(reps.regular(C4), *window, reduce=reduce, exact=False),
        groups.FieldPool2d(reps.regular(reps.cyclic(1)), *window, reduce=reduce),
    ):
        assert torch.equal(layer(x), torch_pool(reduce, *window)(x))
        assert torch.equal(layer(x[0]), layer(x)[0])


def fits(n: int, window: tuple) -> bool:
    """Whether windows laid down from both ends are the same."""
    kernel_size, stride, padding = window
    stride = stride or kernel_size
    starts = list(range(-padding, n + padding - kernel_size + 1, stride))
    mirrored = sorted(n - (start + kernel_size) for start in starts)
    return starts == mirrored


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("reduce", ["max", "mean"])
@pytest.mark.parametrize("group", [C4, D4, reps.cyclic(2)], ids=str)
def test_field_pooling_is_equivariant_exactly_where_the_windows_fit(group, reduce, window):
    rho = reps.regular(group)
    judged = set()
    for n in range(6, 11):
        x = torch.randn(1, 2 * rho.dim, n, n, dtype=F64)
        loose = groups.FieldPool2d(rho, *window, reduce=reduce, exact=False)
        strict = groups.FieldPool2d(rho, *window, reduce=reduce)
        judged.add(fits(n, window))
        if fits(n, window):
            assert torch.equal(strict(x), loose(x))
            assert error(strict, x, rho, rho) < 1e-15
        else:
            assert error(loose, x, rho, rho) > 0.1
            with pytest.raises(ValueError, match=rf"^x: {group.name} .* {n} x {n} .*exact=False"):
                strict(x)
    assert True in judged
    assert (False in judged) == (window[1] != 1)


def test_a_mirror_asks_for_its_own_axis_only():
    rho = reps.regular(reps.dihedral(1))
    layer = groups.FieldPool2d(rho, 2)
    assert layer(torch.zeros(1, 2, 8, 7)).shape == (1, 2, 4, 3)
    with pytest.raises(ValueError, match=r"^x: .*padded rows"):
        layer(torch.zeros(1, 2, 7, 8))
    assert error(layer, torch.randn(1, 2, 8, 7, dtype=F64), rho, rho) == 0.0


def test_a_quarter_turn_needs_a_square():
    x = torch.randn(1, 4, 4, 6, dtype=F64)
    with pytest.raises(ValueError, match=r"^x: Z_4 .*a quarter turn makes 6 x 4 out of 4 x 6"):
        groups.FieldPool2d(reps.regular(C4), 2)(x)
    half = reps.regular(reps.cyclic(2))
    assert error(groups.FieldPool2d(half, 2), x, half, half) == 0.0


@both_dtypes
def test_means_of_vectors_turn_with_them_and_maxima_do_not(dtype):
    rho = groups.plane(D4)
    x = torch.randn(2, 6, 6, 6, dtype=dtype)
    mean = groups.FieldPool2d(rho, 2, reduce="mean")
    assert error(mean, x, rho, rho) < rounding(dtype)
    assert error(lambda x: F.max_pool2d(x, 2), x, rho, rho) > 0.1
    with pytest.raises(ValueError, match="rho: expected a permutation representation"):
        groups.FieldPool2d(rho, 2)


@pytest.mark.parametrize("whole", [SO2, O2], ids=str)
def test_fields_of_continuous_groups_are_judged_by_quarter_turns(whole):
    rho = reps.circular_irrep(whole, 1)
    layer = groups.FieldPool2d(rho, 2, reduce="mean")
    x = torch.randn(1, 4, 6, 6, dtype=F64)
    act = groups.field_action(rho)
    assert equivariance_error(layer, x, act, act, groups.grid_elements(whole)) < 1e-14
    with pytest.raises(ValueError, match="^x: "):
        layer(torch.zeros(1, 4, 5, 5))


def test_the_printed_layer_tells_its_window():
    layer = groups.FieldPool2d(reps.regular(C4), 3, 2)
    assert repr(layer) == "FieldPool2d(max, kernel_size=3, stride=2)"
