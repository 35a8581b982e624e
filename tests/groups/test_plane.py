"""Pixels, fields and windows under the groups of the plane, against torch.rot90 and torch.flip."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from gdl import groups
from gdl import representations as reps
from gdl.equivariance import equivariance_error

GRID_GROUPS = [reps.cyclic(n) for n in (1, 2, 4)] + [reps.dihedral(n) for n in (1, 2, 4)]
C4, D4 = reps.cyclic(4), reps.dihedral(4)


def as_torch(g: reps.Element, x: torch.Tensor) -> torch.Tensor:
    """The action spelled with torch: the last letter of the word acts first."""
    quarter = 4 // g.group.relations[0].power
    for letter in reversed(g.word):
        if abs(letter) == 1:
            x = torch.rot90(x, letter * quarter, (-2, -1))
        else:
            x = x.flip(-2)
    return x


@pytest.mark.parametrize("group", GRID_GROUPS, ids=str)
@pytest.mark.parametrize("side", [1, 4, 5])
def test_pixels_move_as_torch_moves_them(group, side):
    x = torch.randn(2, 3, side, side)
    act = groups.field_action(reps.trivial(group))
    for g in group.elements():
        assert torch.equal(act(g, x), as_torch(g, x))


@pytest.mark.parametrize("group", [*GRID_GROUPS, reps.cyclic(8), reps.dihedral(3)], ids=str)
def test_the_plane_is_a_faithful_orthogonal_representation(group):
    rho = groups.plane(group)
    matrices = [rho(g) for g in group.elements()]
    assert rho.dim == 2 and rho.relation_error() < 1e-14
    assert len({tuple((1e6 * m).round().flatten().tolist()) for m in matrices}) == group.order
    exact = all(torch.equal(m, m.round()) for m in matrices)
    assert exact == (group in GRID_GROUPS)


def test_rotations_are_counter_clockwise_and_the_mirror_keeps_x():
    arrow = torch.tensor([1.0, 0.0], dtype=torch.float64)
    r, s = D4.generator(0), D4.generator(1)
    assert (groups.plane(D4)(r) @ arrow).tolist() == [0.0, 1.0]
    assert (groups.plane(D4)(s) @ (arrow + 2 * arrow.flip(0))).tolist() == [1.0, -2.0]


@pytest.mark.parametrize("group", GRID_GROUPS, ids=str)
def test_the_action_on_fields_is_a_left_action(group):
    rho = reps.regular(group) + groups.plane(group)
    act = groups.field_action(rho)
    f = torch.randn(2, 3 * rho.dim, 4, 4, dtype=torch.float64)
    for g, h in itertools.product(group.elements(), repeat=2):
        assert torch.allclose(act(g * h, f), act(g, act(h, f)), atol=1e-14)


def test_the_fibre_turns_with_the_pixels():
    """A field of arrows x -> x, which points away from the centre, looks the same when turned."""
    y, x = torch.meshgrid(torch.arange(2.0, -3, -1), torch.arange(-2.0, 3), indexing="ij")
    radial, act = torch.stack([x, y]), groups.field_action(groups.plane(D4))
    pixels = groups.field_action(reps.trivial(D4))
    for g in D4.elements():
        assert torch.equal(act(g, radial), radial)
    assert not torch.equal(pixels(D4.generator(0), radial), radial)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_action_keeps_dtype_and_swaps_the_sides(dtype):
    act = groups.field_action(reps.regular(C4))
    x = torch.randn(1, 8, 3, 5, dtype=dtype)
    turned = act(C4.generator(0), x)
    assert turned.shape == (1, 8, 5, 3) and turned.dtype == dtype


@pytest.mark.parametrize("size", [1, 2, 3, (3, 5), (2, 4)])
@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
def test_offsets_are_centred_and_ordered_like_pixels(size, dilation):
    rows, columns = (size, size) if isinstance(size, int) else size
    down, right = (dilation, dilation) if isinstance(dilation, int) else dilation
    points = groups.offsets(size, dilation).reshape(rows, columns, 2)
    assert points.sum((0, 1)).abs().max() == 0
    assert torch.equal(points[0, :, 0].diff(), torch.full((columns - 1,), float(right)).double())
    assert torch.equal(points[:, 0, 1].diff(), torch.full((rows - 1,), -float(down)).double())


def test_only_quarter_turns_move_pixels_to_pixels():
    act = groups.field_action(reps.circular_irrep(reps.SO(2), 1))
    x = torch.randn(1, 2, 3, 3)
    quarter = act(reps.SO(2).exp(math.pi / 2), x)
    assert torch.allclose(quarter[:, 0], -torch.rot90(x[:, 1], 1, (-2, -1)), atol=1e-6)
    with pytest.raises(ValueError, match="g: .* does not map the grid .* need interpolation"):
        act(reps.SO(2).exp(math.pi / 4), x)
    with pytest.raises(ValueError, match="g: .* does not map the grid"):
        groups.grid_element(groups.plane(reps.cyclic(8)), reps.cyclic(8).generator(0))


def test_which_groups_act_on_the_grid():
    assert all(groups.acts_on_grid(group) for group in GRID_GROUPS)
    others = [reps.cyclic(3), reps.cyclic(8), reps.dihedral(6), reps.SO(2), reps.O(2)]
    assert not any(groups.acts_on_grid(group) for group in others)


WINDOWS = list(itertools.product((7, 8, 9), (1, 2, 3, 4), (1, 2, 3), (0, 1, 2), (1, 2)))


@pytest.mark.parametrize("group", [C4, reps.dihedral(1), reps.cyclic(1)], ids=str)
def test_the_windows_are_judged_as_the_convolution_itself_judges(group):
    """The verdict on each window against the equivariance error of the layer itself."""
    torch.manual_seed(0)
    lattice, one = groups.Lattice(group), reps.trivial(group)
    act = groups.field_action(one)
    verdicts = []
    for n, K, s, p, d in WINDOWS:
        if n + 2 * p < d * (K - 1) + 1:
            continue
        options = {"stride": s, "padding": p, "dilation": d, "exact": False}
        conv = groups.GroupConv2d(1, 1, K, group, one, one, dtype=torch.float64, **options)
        x = torch.randn(1, 1, n, n, dtype=torch.float64)
        error = equivariance_error(conv, x, act, act, group.elements())
        problem = lattice.problem((n, n), (K, K), (s, s), (p, p), (d, d))
        assert (problem is None) == (error < 1e-12), (n, K, s, p, d, error)
        verdicts.append(problem is None)
    assert len(verdicts) > 150
    assert all(verdicts) == (group.order == 1)


@pytest.mark.parametrize("group", [*GRID_GROUPS, reps.cyclic(6), reps.dihedral(12)], ids=str)
def test_the_elements_that_keep_the_grid(group):
    kept = {group.index(g) for g in groups.grid_elements(group)}
    expected = set()
    for g in group.elements():
        matrix = groups.plane(group)(g)
        if (matrix - matrix.round()).abs().max() < 1e-9:
            expected.add(group.index(g))
    assert kept == expected and len(kept) == len(groups.grid_elements(group))


def test_a_mirror_asks_for_its_own_axis_only():
    lattice = groups.Lattice(reps.dihedral(1))  # (x, y) -> (x, -y) reverses the rows
    windows = [(3, 3), (2, 2), (0, 0), (1, 1)]
    assert lattice.problem((9, 8), *windows) is None
    assert "padded rows" in lattice.problem((8, 9), *windows)
    both = groups.Lattice(reps.cyclic(2))
    assert "padded columns" in both.problem((9, 8), *windows)
    assert "a quarter turn makes 8 x 9 out of 9 x 8" in groups.Lattice(C4).problem((9, 8), *windows)


def test_the_refusal_names_sizes_that_do_fit():
    lattice = groups.Lattice(C4)
    windows = [(3, 3), (3, 3), (1, 1), (1, 1)]
    with pytest.raises(ValueError, match="the last 2 of the padded rows. Pad or crop to 10 x"):
        lattice.require((9, 9), *windows)
    assert lattice.problem((10, 10), *windows) is None
    lattice.require((10, 10), *windows)
    with pytest.raises(ValueError, match="Pad or crop to 10 x 10 or 7 x 7, or say exact=False"):
        lattice.require((9, 9), *windows)
    lattice.require_equal("stride", (2, 2))
    with pytest.raises(ValueError, match="stride: expected one value for both axes"):
        lattice.require_equal("stride", (1, 2))
    groups.Lattice(reps.dihedral(2)).require_equal("stride", (1, 2))


def test_the_continuous_groups_are_judged_by_their_quarter_turns():
    window = [(8, 8), (3, 3), (2, 2), (0, 0), (1, 1)]
    for group in (reps.SO(2), reps.O(2), reps.cyclic(8), reps.cyclic(12)):
        assert groups.Lattice(group).turns
        assert groups.Lattice(group).problem(*window) is not None
    assert groups.Lattice(reps.cyclic(6)).reverses == [True, True]
    assert not groups.Lattice(reps.cyclic(6)).turns
    assert groups.Lattice(reps.cyclic(3)).reverses == [False, False]
    assert groups.Lattice(reps.cyclic(3)).problem(*window) is None


def test_a_hopeless_window_offers_no_size():
    pool = groups.FieldPool2d(reps.regular(C4), 2, 1000, 1)
    with pytest.raises(ValueError, match="x: Z_4 .* Say exact=False to use it all the same"):
        pool(torch.zeros(1, 4, 5, 5))


def test_a_representation_that_is_no_plane_is_named():
    with pytest.raises(ValueError, match="rho_plane: expected the result of plane"):
        groups.grid_element(reps.regular(C4), C4.generator(0))
    with pytest.raises(TypeError, match="subgroup: expected a list of elements, got int"):
        groups.CosetPool(C4, 5)
