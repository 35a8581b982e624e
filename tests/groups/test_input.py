"""What every public name refuses, and how: the error names the argument."""

from __future__ import annotations

import math

import pytest
import torch

from gdl import groups
from gdl import representations as reps

F64 = torch.float64
C1, C2, C4, D4 = reps.cyclic(1), reps.cyclic(2), reps.cyclic(4), reps.dihedral(4)
C8, S4, SO2, SO3 = reps.cyclic(8), reps.symmetric(4), reps.SO(2), reps.SO(3)
REGULAR, VECTOR = reps.regular(C4), groups.plane(C4)
SHEAR = reps.Representation(C2, [torch.tensor([[1.0, 1.0], [0.0, -1.0]], dtype=F64)])
QUARTER = C4.generator(0)

NO_GROUP = [None, "Z_4", 4, REGULAR]
NO_REPRESENTATION = [None, "regular", 4, C4, torch.eye(4)]
NO_COUNT = [None, 0, -1, True, 1.5, 2.0, math.nan, "3", [1], torch.tensor(2)]
NO_SIZE = [None, 0, -1, True, 1.5, math.nan, "3", (1,), (1, 2, 3), (3, 0), (3, True), (3.0, 3.0)]
NO_DTYPE = [torch.int64, torch.bool, torch.complex64]
NO_WORD = [None, 0, "sum", True, "MAX"]

CONVOLUTION = {
    "kernel_size": [*NO_SIZE, (3, 1)],
    "stride": [*NO_SIZE, (1, 2)],
    "padding": [None, -1, True, 1.5, "full", (1,), (0, -1), (1, 0)],
    "dilation": [*NO_SIZE, (1, 2)],
    "in_channels": NO_COUNT,
    "out_channels": NO_COUNT,
    "groups": [*NO_COUNT, 2],
    "padding_mode": [None, 0, "wrap"],
    "dtype": NO_DTYPE,
}
RINGS = {
    "rings": [[], [-1.0], [math.nan], [math.inf]],
    "width": [0, -1.0, math.nan, math.inf, None, "1"],
    "frequencies": [-1, True, 1.5, "2"],
}

# For every public name arguments that fit, and for each of them values that do not.
CASES = {
    "CosetPool": (
        {"group": C4, "subgroup": [QUARTER * QUARTER]},
        {
            "group": [*NO_GROUP, SO2],
            "subgroup": [None, [], [0], ["r"], [REGULAR], [D4.generator(1)]],
            "reduce": [*NO_WORD, "norm"],
        },
    ),
    "FieldBatchNorm2d": (
        {"channels": 2, "rho": REGULAR},
        {"channels": NO_COUNT, "rho": [*NO_REPRESENTATION, SHEAR], "dtype": NO_DTYPE},
    ),
    "FieldConv2d": (
        {
            "in_channels": 1,
            "out_channels": 3,
            "kernel_size": 3,
            "rho_in": REGULAR,
            "rho_out": VECTOR,
            "kernels": torch.zeros(1, 2, 36),
        },
        {
            **CONVOLUTION,
            "kernel_size": [x for x in NO_SIZE if x != 2],
            "rho_in": NO_REPRESENTATION,
            "rho_out": [*NO_REPRESENTATION, reps.regular(D4)],
            "kernels": [torch.zeros(1, 2, 35), torch.zeros(1, 3, 36)],
        },
    ),
    "FieldPool2d": (
        {"rho": REGULAR, "kernel_size": 2},
        {
            "rho": [*NO_REPRESENTATION, VECTOR],
            "kernel_size": NO_COUNT,
            "stride": [value for value in NO_COUNT if value is not None],
            "padding": [None, -1, 2, True, 0.5, "same"],
            "reduce": [*NO_WORD, "norm"],
        },
    ),
    "GatedNonlinearity": ({"rho": REGULAR}, {"rho": NO_REPRESENTATION}),
    "GroupConv2d": (
        {"in_channels": 1, "out_channels": 3, "kernel_size": 3, "group": C4},
        {
            **CONVOLUTION,
            "group": [*NO_GROUP, C8, reps.cyclic(3), S4],
            "rho_in": [*NO_REPRESENTATION[1:], reps.regular(D4)],
            "rho_out": [*NO_REPRESENTATION[1:], reps.regular(D4)],
        },
    ),
    "GroupPool": (
        {"rho": REGULAR},
        {"rho": [*NO_REPRESENTATION, VECTOR, SHEAR], "reduce": NO_WORD},
    ),
    "Lattice": ({"group": C4}, {"group": [*NO_GROUP, S4, SO3]}),
    "LiftingConv2d": (
        {"in_channels": 1, "out_channels": 3, "kernel_size": 3, "group": C4},
        {
            **CONVOLUTION,
            "group": [*NO_GROUP, C8, S4, SO2],
            "rho_out": [*NO_REPRESENTATION[1:], reps.regular(D4)],
        },
    ),
    "NormNonlinearity": (
        {"channels": 2, "rho": VECTOR},
        {"channels": NO_COUNT, "rho": [*NO_REPRESENTATION, SHEAR], "dtype": NO_DTYPE},
    ),
    "PointwiseNonlinearity": ({"rho": REGULAR}, {"rho": [*NO_REPRESENTATION, VECTOR]}),
    "SpatialPool": ({}, {"reduce": [*NO_WORD, "norm"]}),
    "SteerableConv2d": (
        {
            "in_channels": 1,
            "out_channels": 3,
            "kernel_size": 3,
            "rho_in": VECTOR,
            "rho_out": VECTOR,
        },
        {
            **CONVOLUTION,
            **RINGS,
            "kernel_size": [*NO_COUNT, (3, 3)],
            "rho_in": NO_REPRESENTATION,
            "rho_out": [*NO_REPRESENTATION, groups.plane(D4)],
        },
    ),
    "acts_on_grid": ({"group": C4}, {"group": [*NO_GROUP]}),
    "angular_basis": (
        {"rho_in": VECTOR, "rho_out": REGULAR, "m": 1},
        {
            "rho_in": NO_REPRESENTATION,
            "rho_out": [*NO_REPRESENTATION, groups.plane(D4)],
            "m": [None, -1, True, 1.0, math.nan],
        },
    ),
    "blocks": ({"rho": REGULAR}, {"rho": NO_REPRESENTATION}),
    "field_action": ({"rho": REGULAR}, {"rho": NO_REPRESENTATION}),
    "frequency": (
        {"group": C8, "m": 1},
        {"group": [*NO_GROUP, S4, SO3], "m": [None, -1, True, 1.0, math.nan]},
    ),
    "grid_element": (
        {"rho_plane": VECTOR, "g": QUARTER},
        {"rho_plane": NO_REPRESENTATION, "g": [None, 1, "r", D4.generator(0), VECTOR]},
    ),
    "grid_elements": ({"group": C4}, {"group": [*NO_GROUP, S4, SO3]}),
    "grid_kernels": (
        {"rho_in": REGULAR, "rho_out": VECTOR, "kernel_size": 3},
        {
            "rho_in": NO_REPRESENTATION,
            "rho_out": [*NO_REPRESENTATION, groups.plane(D4)],
            "kernel_size": [*NO_SIZE, (3, 1)],
        },
    ),
    "group_cnn": (
        {"group": C4, "in_channels": 1, "out_channels": 2, "widths": (2, 2)},
        {
            "group": [*NO_GROUP, C8, S4, SO2],
            "in_channels": NO_COUNT,
            "widths": [(), None],
            "kernel_size": [*NO_SIZE, (3, 1)],
        },
    ),
    "harmonics": (
        {"points": torch.randn(3, 2), "m": 1},
        {
            "points": [None, [[0.0, 1.0]], torch.zeros(3), torch.zeros(3, 3), torch.zeros(1, 3, 2)],
            "m": [None, -1, True, 1.0, math.nan],
        },
    ),
    "offsets": ({"kernel_size": 3}, {"kernel_size": NO_SIZE, "dilation": NO_SIZE}),
    "p4cnn": (
        {"channels": 2},
        {
            "group": [*NO_GROUP[1:], C8, S4, SO2],
        },
    ),
    "plane": ({"group": C4}, {"group": [*NO_GROUP, S4, SO3]}),
    "restrict": (
        {"rho": reps.circular_irrep(SO2, 1), "group": C4},
        {"rho": NO_REPRESENTATION, "group": [*NO_GROUP, D4, S4, SO2]},
    ),
    "steerable_kernels": (
        {"rho_in": VECTOR, "rho_out": VECTOR, "kernel_size": 3},
        {
            **RINGS,
            "rho_in": NO_REPRESENTATION,
            "rho_out": [*NO_REPRESENTATION, groups.plane(D4)],
            "kernel_size": [*NO_COUNT, (3, 3)],
        },
    ),
}
REFUSED = [
    pytest.param(name, argument, value, id=f"{name}-{argument}-{value!r}".replace("\n", " "))
    for name, (_, wrong) in CASES.items()
    for argument, values in wrong.items()
    for value in values
]


def refuses(argument: str):
    return pytest.raises((TypeError, ValueError), match=rf"^{argument}: ")


def test_every_public_name_has_its_cases():
    assert set(CASES) == set(groups.__all__)


@pytest.mark.parametrize("name", CASES)
def test_the_arguments_that_fit_are_accepted(name):
    getattr(groups, name)(**CASES[name][0])


@pytest.mark.parametrize(("name", "argument", "value"), REFUSED)
def test_a_wrong_argument_is_named(name, argument, value):
    with refuses(argument):
        getattr(groups, name)(**{**CASES[name][0], argument: value})


# --- inputs of layers -----------------------------------------------------------------------------

LAYERS = {
    "CosetPool": (groups.CosetPool(C4, [QUARTER]), 8),
    "FieldBatchNorm2d": (groups.FieldBatchNorm2d(2, REGULAR), 8),
    "FieldConv2d": (groups.FieldConv2d(2, 1, 3, REGULAR, VECTOR, torch.ones(1, 2, 36)), 8),
    "FieldPool2d max": (groups.FieldPool2d(REGULAR, 2), 8),
    "FieldPool2d mean": (groups.FieldPool2d(REGULAR, 2, reduce="mean"), 8),
    "GatedNonlinearity": (groups.GatedNonlinearity(2 * VECTOR), 12),
    "GroupConv2d": (groups.GroupConv2d(2, 3, 3, C4), 8),
    "GroupPool max": (groups.GroupPool(REGULAR), 8),
    "GroupPool norm": (groups.GroupPool(REGULAR, "norm"), 8),
    "LiftingConv2d": (groups.LiftingConv2d(8, 3, 3, C4), 8),
    "NormNonlinearity": (groups.NormNonlinearity(2, REGULAR), 8),
    "PointwiseNonlinearity": (groups.PointwiseNonlinearity(REGULAR), 8),
    "SpatialPool": (groups.SpatialPool(), 8),
    "SteerableConv2d": (groups.SteerableConv2d(2, 3, 3, REGULAR, VECTOR), 8),
    "field_action": (lambda x: groups.field_action(REGULAR)(QUARTER, x), 8),
    "group_cnn": (groups.group_cnn(C4, 8, 2, (2,), pool_after=(0,)), 8),
}
layers = pytest.mark.parametrize("name", LAYERS)


@layers
@pytest.mark.parametrize(
    "x",
    [
        None,
        "x",
        [[1.0]],
        torch.zeros(8, 4, 4).numpy(),
        torch.zeros(1, 8, 4, 4, dtype=torch.int64),
        torch.zeros(1, 8, 4, 4, dtype=torch.bool),
        torch.zeros(1, 8, 4, 4, dtype=torch.complex64),
        torch.zeros(4),
        torch.zeros(8, 4),
        torch.zeros(()),
    ],
    ids=lambda x: f"{type(x).__name__} {getattr(x, 'dtype', '')} {getattr(x, 'shape', '')}",
)
def test_what_is_no_field_is_named(name, x):
    with refuses("x"):
        LAYERS[name][0](x)


@pytest.mark.parametrize("name", sorted(LAYERS.keys() - {"SpatialPool"}))
@pytest.mark.parametrize("change", [-1, 1, 2])
def test_channels_that_do_not_fit_the_fibre_are_named(name, change):
    layer, channels = LAYERS[name]
    for shape in ((channels + change, 4, 4), (2, channels + change, 4, 4)):
        with pytest.raises(ValueError, match=rf"^x: expected .* got .*{channels + change}"):
            layer(torch.zeros(shape))


def test_lengths_need_orthogonal_matrices():
    with pytest.raises(ValueError, match="^rho: expected orthogonal matrices.*orthogonalise"):
        groups.GroupPool(SHEAR, "norm")


@pytest.mark.parametrize("name", ["FieldBatchNorm2d", "GroupConv2d", "NormNonlinearity"])
def test_a_number_of_fields_is_part_of_the_layer(name):
    with pytest.raises(ValueError, match=r"^x: expected 2 fields of 4, 8 channels, got 12"):
        LAYERS[name][0](torch.zeros(1, 12, 4, 4))


@pytest.mark.parametrize("name", ["FieldPool2d max", "GroupConv2d", "SteerableConv2d", "group_cnn"])
def test_images_that_a_quarter_turn_does_not_keep_are_refused(name):
    with pytest.raises(ValueError, match=r"^x: Z_4 .*quarter turn .* exact=False"):
        LAYERS[name][0](torch.zeros(1, 8, 4, 6))
    with pytest.raises(ValueError, match=r"^x: Z_4 .*6 x 4 out of 4 x 6"):
        LAYERS[name][0](torch.zeros(8, 4, 6))


@pytest.mark.parametrize("n", [5, 7])
@pytest.mark.parametrize("name", ["FieldPool2d max", "FieldPool2d mean", "group_cnn"])
def test_sizes_with_a_remainder_are_refused_with_the_cure(name, n):
    cure = rf"^x: Z_4 .* mod 2 = 1: .*crop to {n - 1} x {n - 1} or {n + 1} x {n + 1}, or say"
    with pytest.raises(ValueError, match=cure):
        LAYERS[name][0](torch.zeros(1, 8, n, n))


def test_windows_larger_than_the_image_are_refused():
    with pytest.raises(ValueError, match="^x: a kernel that reaches over"):
        groups.GroupConv2d(2, 1, 5, C4)(torch.zeros(1, 8, 4, 4))
    for padding, shape in ((0, (1, 8, 3, 3)), (0, (8, 3, 5)), (0, (8, 5, 3)), (1, (8, 1, 1))):
        pool = groups.FieldPool2d(REGULAR, 4, 1, padding, exact=False)
        with pytest.raises(ValueError, match="^x: a window of 4 does not fit into"):
            pool(torch.zeros(shape))
    assert groups.FieldPool2d(reps.regular(C1), 4)(torch.zeros(1, 4, 4)).shape == (1, 1, 1)
    assert groups.FieldPool2d(REGULAR, 4)(torch.zeros(1, 8, 4, 4)).shape == (1, 8, 1, 1)
    assert groups.FieldPool2d(REGULAR, 4, 1, 1)(torch.zeros(1, 8, 2, 2)).shape == (1, 8, 1, 1)


def test_the_action_refuses_elements_that_do_not_keep_the_grid():
    act = groups.field_action(reps.regular(C8))
    with refuses("g"):
        act(C8.generator(0), torch.zeros(1, 8, 4, 4))
    with refuses("g"):
        act(QUARTER, torch.zeros(1, 8, 4, 4))
    assert act(C8.generator(0) * C8.generator(0), torch.zeros(1, 8, 4, 4)).shape == (1, 8, 4, 4)


def test_nothing_hides_a_value_that_is_no_number():
    """NaN and infinity go through as in torch: they are not turned into numbers."""
    x = torch.zeros(1, 8, 4, 4)
    x[0, 5, 1, 2] = math.nan
    for name in ("CosetPool", "FieldPool2d max", "NormNonlinearity", "GroupPool max"):
        assert LAYERS[name][0](x).isnan().any()
