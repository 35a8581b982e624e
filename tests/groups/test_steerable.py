"""Steerable kernels: the selection rule, the constraint at any angle, inclusion, interpolation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from gdl import groups
from gdl import representations as reps
from gdl.equivariance import equivariance_error, kernel_basis, span_residual

F64 = torch.float64
SO2, O2, C4 = reps.SO(2), reps.O(2), reps.cyclic(4)
GROUPS = [SO2, O2, reps.cyclic(8), reps.dihedral(8), reps.cyclic(3), reps.dihedral(4)]


def elements(group: reps.Group) -> list[reps.Element]:
    """Random elements, mirrors among them where the group has them."""
    return list(group.elements()) if group.is_finite else group.random(12, seed=3)


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("m", range(5))
def test_the_harmonics_turn_by_their_frequency(group, m):
    points = torch.randn(20, 2, dtype=F64)
    rho, turn = groups.frequency(group, m), groups.plane(group)
    assert rho.relation_error() < 1e-12
    for g in elements(group):
        moved = groups.harmonics(points @ turn(g).T, m)
        assert torch.allclose(moved, groups.harmonics(points, m) @ rho(g).T, atol=1e-12)


def test_the_harmonics_at_the_origin_and_on_the_axes():
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    assert groups.harmonics(points, 0).tolist() == [[1.0], [1.0], [1.0]]
    expected = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=F64)
    assert torch.allclose(groups.harmonics(points, 1), expected, atol=1e-15)


@pytest.mark.parametrize(("a", "b"), list(itertools.product(range(4), repeat=2)))
def test_only_the_sum_and_the_difference_of_frequencies_occur(a, b):
    """Closed form: 1, 2 or 4 kernels of SO(2), at |a - b| and a + b; O(2) keeps half of them."""
    for group, half in ((SO2, 1), (O2, 2)):
        rho_in, rho_out = reps.circular_irrep(group, a), reps.circular_irrep(group, b)
        counts = [len(groups.angular_basis(rho_in, rho_out, m)) for m in range(9)]
        occurring = {m for m, count in enumerate(counts) if count}
        assert occurring == {abs(a - b), a + b}
        expected = 1 if a == b == 0 else 2 if 0 in (a, b) else 4
        assert sum(counts) == max(expected // half, 1)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_the_sampled_kernels_obey_the_constraint_at_every_angle(group):
    """K(h x) = rho_out(h) K(x) rho_in(h)^-1 at points off the grid, from the angular basis."""
    rho_in = groups.plane(group)
    rho_out = groups.frequency(group, 0) + groups.frequency(group, 2)
    points, turn = torch.randn(15, 2, dtype=F64), groups.plane(group)
    for m in range(5):
        W = groups.angular_basis(rho_in, rho_out, m)
        for g in elements(group):
            here, there = (
                torch.einsum("koia,na->knoi", W, groups.harmonics(x, m))
                for x in (points, points @ turn(g).T)
            )
            expected = rho_out(g) @ here @ torch.linalg.inv(rho_in(g))
            assert torch.allclose(there, expected, atol=1e-12)
    found = [len(groups.angular_basis(rho_in, rho_out, m)) for m in range(5)]
    assert sum(found) > 0 and found[1] > 0


@pytest.mark.parametrize("K", [2, 3, 5])
@pytest.mark.parametrize(("a", "b"), list(itertools.product(range(3), repeat=2)))
@pytest.mark.parametrize(("whole", "part"), [(SO2, C4), (O2, reps.dihedral(4))], ids=["SO2", "O2"])
def test_the_kernels_lie_in_the_space_of_the_quarter_turns(whole, part, a, b, K):
    rhos = [reps.circular_irrep(whole, m) for m in (a, b)]
    kernels = groups.steerable_kernels(*rhos, K)
    small = [groups.restrict(rho, part) for rho in rhos]
    every = kernel_basis(*small, groups.offsets(K), groups.plane(part)).flatten(2)
    if len(kernels):
        assert span_residual(kernels, every) < 1e-10
        assert torch.allclose(torch.linalg.matrix_norm(kernels), torch.ones(len(kernels)).double())
        assert span_residual(torch.randn_like(kernels), every) > 1e-3


def test_they_do_not_fill_that_space():
    one = reps.circular_irrep(SO2, 0)
    part = groups.grid_kernels(reps.trivial(C4), reps.trivial(C4), 5)
    kernels = groups.steerable_kernels(one, one, 5)
    assert torch.linalg.matrix_rank(kernels.flatten(1)) == 3 < len(part) == 7


def test_rings_and_frequencies_choose_the_kernels():
    one, two = reps.circular_irrep(SO2, 0), reps.circular_irrep(SO2, 2)
    assert len(groups.steerable_kernels(one, one, 7)) == 4
    assert len(groups.steerable_kernels(one, one, 7, rings=[1.0, 2.5])) == 2
    assert len(groups.steerable_kernels(one, one, 4)) == 2
    assert len(groups.steerable_kernels(one, two, 3)) == 2
    assert len(groups.steerable_kernels(one, two, 3, frequencies=1)) == 0
    assert len(groups.steerable_kernels(one, two, 5, frequencies=2)) == 4
    ring = groups.steerable_kernels(one, one, 9, rings=[3.0], width=0.4).reshape(9, 9)
    radius = groups.offsets(9).norm(dim=1).reshape(9, 9)
    profile = torch.exp(-((radius - 3) ** 2) / (2 * 0.4**2))
    assert torch.allclose(ring, profile / profile.norm(), atol=1e-14)


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("K", [3, 4])
def test_layers_are_equivariant_to_what_the_grid_has_of_the_group(group, K):
    torch.manual_seed(0)
    rho = groups.frequency(group, 0) + groups.frequency(group, 1) + groups.frequency(group, 2)
    net = torch.nn.Sequential(
        groups.SteerableConv2d(1, 2, K, reps.trivial(group), rho, dtype=F64),
        groups.NormNonlinearity(2, rho, dtype=F64),
        groups.SteerableConv2d(2, 2, K, rho, rho, dtype=F64),
    )
    torch.nn.init.normal_(net[1].bias)
    torch.nn.init.normal_(net[2].bias)
    x = torch.randn(2, 1, 10, 10, dtype=F64)
    one = groups.field_action(reps.trivial(group))
    moved = groups.grid_elements(group)
    error = equivariance_error(net, x, one, groups.field_action(rho), moved)
    assert error < 1e-12
    assert len(moved) == {"Z_3": 1, "SO(2)": 4, "Z_8": 4}.get(group.name, 8)
    if len(moved) > 1:
        assert equivariance_error(net, x, one, _pixels_only(rho), moved) > 0.05


def _pixels_only(rho):
    one = groups.field_action(reps.trivial(rho.group))
    return lambda g, f: one(g, f)


def blurred_noise(n: int, width: float) -> torch.Tensor:
    """Smooth noise in a disc, zero at the border, so that it may turn."""
    torch.manual_seed(0)
    reach = int(4 * width)
    taps = torch.exp(-(torch.arange(-reach, reach + 1, dtype=F64) ** 2) / (2 * width**2))
    kernel = torch.outer(taps, taps)[None, None] / taps.sum() ** 2
    x = torch.nn.functional.conv2d(torch.randn(1, 1, n, n, dtype=F64), kernel, padding=reach)
    radius = groups.offsets(n).norm(dim=1).reshape(n, n)
    return x * torch.exp(-((radius / (0.22 * n)) ** 4))


def turn_45(f: torch.Tensor) -> torch.Tensor:
    """Counter-clockwise by 45 degrees, bicubic."""
    c = math.sqrt(0.5)
    grid = torch.nn.functional.affine_grid(
        torch.tensor([[[c, -c, 0.0], [c, c, 0.0]]], dtype=F64).expand(len(f), -1, -1),
        list(f.shape), align_corners=False,
    )  # fmt: skip
    return torch.nn.functional.grid_sample(f, grid, mode="bicubic", align_corners=False)


def error_at_45(group: reps.Group, width: float, K: int = 7) -> float:
    """Relative error of scalars -> vectors under a turn that the pixels do not make."""
    torch.manual_seed(1)
    one, arrow = groups.frequency(group, 0), groups.frequency(group, 1)
    shape = {"rings": [0.0, 1.0, 2.0], "width": 0.7, "padding": "same", "dtype": F64}
    layer = groups.SteerableConv2d(1, 1, K, one, arrow, **shape)
    x = blurred_noise(65, width)
    c = math.sqrt(0.5)
    rotation = torch.tensor([[c, -c], [c, c]], dtype=F64)
    with torch.no_grad():
        turned = turn_45(layer(x))
        expected = torch.einsum("ij,bjhw->bihw", rotation, turned)
        return float((layer(turn_45(x)) - expected).norm() / expected.norm())


def test_the_error_at_45_degrees_falls_as_the_image_becomes_smoother():
    errors = [error_at_45(SO2, width) for width in (1.0, 2.0, 4.0)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.03


def test_a_layer_of_the_quarter_turns_alone_fails_at_45_degrees():
    torch.manual_seed(1)
    x, kernel = blurred_noise(65, 4.0), groups.GroupConv2d
    layer = kernel(1, 1, 7, C4, reps.trivial(C4), groups.plane(C4), padding="same", dtype=F64)
    c = math.sqrt(0.5)
    rotation = torch.tensor([[c, -c], [c, c]], dtype=F64)
    with torch.no_grad():
        expected = torch.einsum("ij,bjhw->bihw", rotation, turn_45(layer(x)))
        error = float((layer(turn_45(x)) - expected).norm() / expected.norm())
    assert error > 4 * error_at_45(SO2, 4.0)


def test_restriction_keeps_the_matrices():
    for m in range(4):
        small = groups.restrict(reps.circular_irrep(O2, m), reps.dihedral(6))
        r, s = (small.group.generator(i) for i in range(2))
        assert torch.allclose(small(r), reps.circular_irrep(O2, m)(O2.exp(math.pi / 3)), atol=1e-14)
        assert torch.equal(small(s), reps.circular_irrep(O2, m)(O2.generator(0)))
        assert small.relation_error() < 1e-12
    same = groups.restrict(reps.circular_irrep(SO2, 2), reps.cyclic(8))
    expected = reps.circular_irrep(reps.cyclic(8), 2)
    for g in reps.cyclic(8).elements():
        assert torch.allclose(same(g), expected(g), atol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: groups.restrict(reps.circular_irrep(SO2, 1), reps.dihedral(4)), "group: expected"),
        (lambda: groups.restrict(reps.circular_irrep(O2, 1), C4), "group: expected Z_n for SO"),
        (lambda: groups.restrict(reps.circular_irrep(SO2, 1), SO2), "group: expected Z_n for SO"),
        (lambda: groups.frequency(SO2, -1), "m: expected at least 0"),
        (lambda: groups.harmonics(torch.zeros(3), 1), "points: expected shape"),
        (lambda: _kernels(rings=[]), "rings: expected radii from 0 to 3"),
        (lambda: _kernels(rings=[-1.0]), "rings: expected radii from 0 to 3"),
        (lambda: _kernels(rings=[math.nan]), "rings: expected radii from 0 to 3"),
        (lambda: _kernels(width=0), "width: expected a number from 0.001"),
        (lambda: _kernels(width=math.nan), "width: expected a number from 0.001"),
        (lambda: _kernels(rings=[3.1]), "rings: expected radii from 0 to 3"),
        (lambda: _kernels(frequencies=-1), "frequencies: expected at least 0"),
        (lambda: _kernels(rings=[0.0], frequencies=-1), "frequencies: expected at least 0"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def _kernels(**options):
    one = reps.circular_irrep(SO2, 0)
    return groups.steerable_kernels(one, one, 3, **options)


def test_small_kernels_are_kept_and_vanishing_ones_are_not():
    one, four = reps.circular_irrep(SO2, 0), reps.circular_irrep(SO2, 4)
    assert len(groups.steerable_kernels(one, one, 3, rings=[0.5], width=0.1)) == 1
    assert len(groups.steerable_kernels(one, one, 3, rings=[3.0], width=0.6)) == 1
    # The sine of 4 theta vanishes on the eight neighbours of a pixel, its cosine does not.
    kept = groups.steerable_kernels(one, four, 3, rings=[1.0], frequencies=4)
    assert len(kept) == 2 and torch.linalg.matrix_rank(kept.flatten(1)) == 2


def test_the_default_rings_are_0_6_pixels_wide():
    one, arrow = reps.circular_irrep(SO2, 0), reps.circular_irrep(SO2, 1)
    explicit = groups.steerable_kernels(one, arrow, 5, rings=[0, 1, 2], width=0.6)
    assert torch.equal(groups.steerable_kernels(one, arrow, 5), explicit)
    layer = groups.SteerableConv2d(1, 1, 5, one, arrow, dtype=F64)
    wide = groups.SteerableConv2d(1, 1, 5, one, arrow, width=1.6, dtype=F64)
    assert span_residual(layer.kernel().detach().reshape(1, 2, 25), _orthonormal(explicit)) < 1e-10
    assert span_residual(wide.kernel().detach().reshape(1, 2, 25), _orthonormal(explicit)) > 1e-3


def _orthonormal(kernels):
    rows = torch.linalg.svd(kernels.flatten(1), full_matrices=False)
    kept = rows.Vh[1e-9 * rows.S[0] < rows.S]
    return kept.reshape(-1, *kernels.shape[1:])


def test_harmonics_near_the_origin_have_full_size():
    near = groups.harmonics(torch.tensor([[0.25, 0.0], [0.0, -0.5]]), 1)
    assert torch.allclose(near, torch.tensor([[1.0, 0.0], [0.0, -1.0]], dtype=F64), atol=1e-15)


@pytest.mark.parametrize("rings", ["12", 3, ["a"], [True], [None]])
def test_rings_that_are_no_list_of_numbers_are_refused(rings):
    with pytest.raises(TypeError, match="rings: expected a list of radii"):
        _kernels(rings=rings)
