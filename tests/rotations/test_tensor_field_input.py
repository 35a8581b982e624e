"""What the functions and layers of tensor fields refuse, and how: the error names the argument."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gdl import representations as reps
from gdl import rotations
from gdl.rotations import Irrep, Irreps, TensorFieldConv, TensorProduct
from tests.rotations.common import F64

EYE = torch.eye(3)
SHEAR = torch.tensor([[1.0, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
MIRROR = torch.diag(torch.tensor([1.0, -1.0, 1.0]))

NO_TENSOR = [None, 1.0, "x", [[1.0, 0.0, 0.0]], np.ones((2, 3)), torch.ones(2, 3).long(),
             torch.ones(2, 3).bool(), torch.ones(2, 3).to(torch.complex64)]  # fmt: skip
NO_VECTORS = [*NO_TENSOR, torch.tensor(1.0), torch.ones(2), torch.ones(3, 2),
              torch.tensor([math.nan, 0.0, 0.0]), torch.tensor([0.0, math.inf, 0.0])]  # fmt: skip
NO_MATRIX = [*NO_TENSOR, torch.ones(3), torch.ones(9), torch.ones(3, 2), torch.ones(2, 9)]
NO_ROTATION = [*NO_MATRIX, 2 * EYE, SHEAR, torch.zeros(3, 3), EYE * math.nan, torch.ones(3, 3),
               torch.stack([EYE, 1.001 * EYE])]  # fmt: skip
NO_DEGREE = [None, -1, True, 1.0, math.nan, "1", torch.tensor(1), 13]
NO_COUNT = [None, 0, -1, True, 1.5, math.nan, "3", [1], torch.tensor(2)]
NO_POSITIVE = [None, 0, -1.0, True, math.nan, math.inf, "1", torch.tensor(1.0)]
NO_IRREPS = [None, 3, True, "abc", "1x", "1o +", "-1x0e", "1x13e", "1.5x0e", ["1o"], "1x0e 1x1o",
             "1x1o,", "9999999999x1o", "9" * 5000 + "x1o", "1x99999999999o", "\uff11o",
             "1O"]  # fmt: skip
NOTHING = ["", " ", "0x1o", Irreps("")]
NO_DTYPE = [torch.int64, torch.bool, torch.complex64, "float32", float]
NO_METHOD = [None, 0, "fast", True]
NO_HARMONICS = [*NO_IRREPS, *NOTHING, "2x1o", "1o + 1o", -1, 13, 1.5][1:]

PRODUCT = {
    "irreps_in": [*NO_IRREPS, *NOTHING],
    "irreps_out": [*NO_IRREPS, *NOTHING, "1x0o", "1o + 5e"],
    "harmonics": [value for value in NO_HARMONICS if value != 3],
    "radial": NO_COUNT,
    "method": NO_METHOD,
    "dtype": NO_DTYPE,
}
CONVOLUTION = {**PRODUCT, "radius": NO_POSITIVE, "neighbours": NO_POSITIVE}

# For every public name arguments that fit, and for each of them values that do not.
CASES = {
    "E3nnTensorProduct": (
        {"product": TensorProduct("1o", "1o", 1)},
        {"product": [None, "1o", torch.nn.Linear(1, 1), TensorProduct]},
    ),
    "Gate": ({"irreps": "1x0e + 1x1o"}, {"irreps": [*NO_IRREPS, *NOTHING]}),
    "Irrep": (
        {"degree": 1, "parity": -1},
        {"degree": NO_DEGREE, "parity": [None, 0, 2, "o", 0.5]},
    ),
    "Irreps": ({"irreps": "2x0e + 1o"}, {"irreps": NO_IRREPS}),
    "Irreps.harmonics": (
        {"degree": 2, "parity": 1},
        {"degree": NO_DEGREE, "parity": [None, 0, 2, "o"]},
    ),
    "Irreps.of": ({"blocks": [(2, Irrep(1, 1))]}, {"blocks": [None, 3, Irrep(1, 1)]}),
    "IrrepsLinear": (
        {"irreps_in": "2x0e + 1o", "irreps_out": "1o"},
        {
            "irreps_in": [*NO_IRREPS, *NOTHING],
            "irreps_out": [*NO_IRREPS, *NOTHING, "1e", "1o + 0o"],
            "bias": [None, 0, 1, "no"],
            "dtype": NO_DTYPE,
        },
    ),
    "TensorFieldConv": ({"irreps_in": "2x0e", "irreps_out": "1o", "radius": 1.0}, CONVOLUTION),
    "TensorFieldNetwork": (
        {"irreps_in": "2x0e", "irreps_out": "1o", "radius": 1.0},
        {
            **CONVOLUTION,
            "irreps_out": [*NO_IRREPS, *NOTHING, "5e"],
            "hidden": [*NO_IRREPS, *NOTHING, "2x0o"],
            "layers": NO_COUNT,
        },
    ),
    "TensorProduct": ({"irreps_in": "2x0e", "irreps_out": "1o"}, PRODUCT),
    "align": (
        {"vectors": torch.ones(2, 3)},
        {"vectors": [*NO_VECTORS, torch.zeros(3), torch.tensor([[1.0, 0.0, 0.0], [0.0] * 3])]},
    ),
    "clebsch_gordan": (
        {"degree_1": 1, "degree_2": 1, "degree_out": 1},
        {"degree_1": NO_DEGREE, "degree_2": NO_DEGREE, "degree_out": [*NO_DEGREE, 3]},
    ),
    "coupling_basis": (
        {"degree_1": 1, "degree_2": 1, "degree_out": 1},
        {"degree_1": NO_DEGREE, "degree_2": NO_DEGREE, "degree_out": NO_DEGREE},
    ),
    "paths": (
        {"irreps_in": "1o", "filters": "1o", "irreps_out": "0e"},
        {"irreps_in": NO_IRREPS, "filters": NO_IRREPS, "irreps_out": NO_IRREPS},
    ),
    "radial_basis": (
        {"distance": torch.ones(2), "count": 3, "radius": 1.0},
        {
            "distance": [
                *NO_TENSOR,
                -torch.ones(2),
                torch.tensor(math.nan),
                torch.tensor(math.inf),
            ],
            "count": NO_COUNT,
            "radius": NO_POSITIVE,
        },
    ),
    "spherical_harmonics": (
        {"degrees": [0, 1], "x": torch.ones(2, 3)},
        {
            "degrees": [
                [],
                [0, -1],
                [1.0],
                [True],
                [None],
                "12",
                65,
                torch.tensor(1),
                *NO_DEGREE[:-1],
            ],
            "x": NO_VECTORS,
            "normalize": [None, 0, "yes"],
            "normalization": [None, "unit", ["norm"], 1],
        },
    ),
    "unit": ({"x": torch.ones(2, 3)}, {"x": NO_VECTORS}),
    "wigner_d": (
        {"degree": 2, "rotation": EYE},
        {"degree": NO_DEGREE, "rotation": [*NO_ROTATION, -EYE, MIRROR]},
    ),
    "wigner_tower": ({"degree": 2, "rotation": EYE}, {"degree": NO_DEGREE, "rotation": NO_MATRIX}),
}
REFUSED = [(name, argument) for name, (_, wrong) in CASES.items() for argument in wrong]


def find(name: str):
    found = rotations
    for part in name.split("."):
        found = getattr(found, part)
    return found


def refuses(argument: str):
    return pytest.raises((TypeError, ValueError), match=rf"^{argument}: ")


@pytest.mark.parametrize("name", CASES)
def test_the_arguments_that_fit_are_accepted(name):
    find(name)(**CASES[name][0])


@pytest.mark.parametrize(("name", "argument"), REFUSED)
def test_a_wrong_argument_is_named(name, argument):
    fitting, wrong = CASES[name]
    for value in wrong[argument]:
        with refuses(argument):
            find(name)(**{**fitting, argument: value})


def test_numpy_integers_are_integers():
    assert rotations.wigner_d(np.int64(2), EYE).shape == (5, 5)
    assert Irreps.harmonics(np.int32(1)) == Irreps("0e + 1o")
    assert TensorProduct("0e", "1o", np.int64(1)).filters == Irreps("0e + 1o")


def test_polynomials_that_overflow_are_refused():
    with pytest.raises(ValueError, match="^x: expected vectors whose power 4 is finite in torch.f"):
        rotations.spherical_harmonics([0, 4], torch.full((3,), 1e100, dtype=F64), normalize=False)


def test_the_messages_say_what_is_wrong():
    cases = {
        "irreps_in: expected blocks such as \"8x1o\".*got '2y1o' in '0e .2y1o'": lambda: (
            TensorProduct("0e +2y1o", "1o")
        ),
        "irreps_in: expected degrees up to 12, got '1x13e'": lambda: TensorProduct("1x13e", "1o"),
        "irreps_out: no path from 1x0e with filters 1x0e . 1x1o to 0o, 3o": lambda: TensorProduct(
            "0e", "1o + 0o + 3o", 1
        ),
        "harmonics: expected each irrep once, got 2x1o; see the argument radial": lambda: (
            TensorProduct("0e", "1o", "2x1o")
        ),
        "hidden: no path from 1x0e with filters .* to 2x0o": lambda: rotations.TensorFieldNetwork(
            "0e", "0e", "2x0o", radius=1.0
        ),
        "degree_out: expected a degree in the product of 1 and 2, from 1 to 3, got 0": lambda: (
            rotations.clebsch_gordan(1, 2, 0)
        ),
        "rotation: expected rotations, got a matrix of determinant -1; Irreps.matrix": lambda: (
            rotations.wigner_d(1, -EYE)
        ),
        "rotation: expected orthogonal matrices, but M.T M differs from 1 by 3": lambda: (
            rotations.wigner_d(1, 2 * EYE)
        ),
        r"vectors: expected directions, but entry \[1\] has length 0": lambda: rotations.align(
            torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
        ),
    }
    for message, call in cases.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            call()


# --- methods of Irreps ----------------------------------------------------------------------------

MIXED = Irreps("2x0e + 1x1o")


@pytest.mark.parametrize(
    "x", [*NO_TENSOR, torch.ones(()), torch.ones(4), torch.ones(5, 4)], ids=str
)
def test_features_that_do_not_fit_the_irreps(x):
    for call in (MIXED.split, lambda x: MIXED.act(EYE, x)):
        with refuses("x"):
            call(x)


def test_matrices_that_do_not_act():
    for matrix in NO_ROTATION:
        for call in (MIXED.matrix, lambda matrix: MIXED.act(matrix, torch.ones(5))):
            with refuses("matrix"):
                call(matrix)
    with pytest.raises(
        TypeError, match="^matrix: expected torch.float64 like x, got torch.float32"
    ):
        MIXED.act(EYE, torch.ones(5, dtype=F64))
    assert MIXED.act(MIRROR, torch.ones(5)).tolist() == [1, 1, 1, -1, 1]


def test_sums_that_have_no_representation():
    for group in ("SO(3)", 3, reps.cyclic(4), reps.O(2), reps.SO(2)):
        with refuses("group"):
            MIXED.representation(group)
    with refuses("irreps"):
        Irreps("").representation()
    with pytest.raises(TypeError, match="unsupported operand"):
        MIXED + "1o"


# --- inputs of layers -----------------------------------------------------------------------------

X, R, B = torch.ones(4, 5), torch.eye(3)[[0, 1, 2, 0]], torch.ones(4, 2)


@pytest.fixture(scope="module", params=["aligned", "paths", "e3nn"])
def product(request):
    method = "paths" if request.param == "paths" else "aligned"
    layer = TensorProduct("2x0e + 1x1o", "1x0e + 1x1o", 1, radial=2, method=method)
    return rotations.E3nnTensorProduct(layer) if request.param == "e3nn" else layer


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("x", [*NO_TENSOR, X[:, :4], X[0], X[None], X.double(), torch.ones(())]),
        ("vectors", [*NO_VECTORS, R[:3], R[None], R[:1], R.double(), 0 * R, R - R[:1]]),
        ("radial", [*NO_TENSOR, B[:3], B[:, :1], B[:1], B[None], B.double()]),
    ],
    ids=["x", "vectors", "radial"],
)
def test_products_name_what_does_not_fit(product, argument, values):
    fitting = {"x": X, "vectors": R, "radial": B}
    assert product(**fitting).shape == (4, 4)
    for value in values:
        with refuses(argument):
            product(**{**fitting, argument: value})


def test_frames_that_do_not_fit():
    layer = TensorProduct("2x0e + 1x1o", "1x0e + 1x2e", 1)
    tower = rotations.wigner_tower(2, rotations.align(R))
    assert layer.in_frames(X, tower).shape == (4, 6)
    for wrong in (tower[:2], tower[1:], [D[:1] for D in tower], [D[:3] for D in tower], []):
        with refuses("tower"):
            layer.in_frames(X, wrong)
    for argument, given in {"x": (X[:, :4], tower), "radial": (X, tower, B)}.items():
        with refuses(argument):
            layer.in_frames(*given)
    with refuses("method"):
        TensorProduct("2x0e + 1x1o", "1x0e", 1, method="paths").in_frames(X, tower)


POSITIONS = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])
TWICE = POSITIONS.clone()
TWICE[1] = 0


@pytest.mark.parametrize("kind", ["conv", "network"])
@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("x", [*NO_TENSOR, X[:, :4], X[0], X[None], X[:3], X.double()]),
        ("x|positions|x, positions", [POSITIONS[:3], POSITIONS[None], POSITIONS[0]]),
        ("positions", [*NO_VECTORS, POSITIONS[:, :2], POSITIONS.double(), TWICE]),
        ("edge_index", [None, 1, [[0], [1]], EDGES.int(), EDGES.float(), EDGES.T, EDGES[0],
                        EDGES[None], EDGES + 2, EDGES - 1, EDGES.to("meta")]),
    ],
    ids=["x", "lengths", "positions", "edge_index"],
)  # fmt: skip
def test_clouds_that_do_not_fit(kind, argument, values):
    if kind == "conv":
        layer = TensorFieldConv("2x0e + 1x1o", "1x0e", 1, radius=2.0)
    else:
        options = {"harmonics": 1, "layers": 1, "radius": 2.0}
        layer = rotations.TensorFieldNetwork("2x0e + 1x1o", "1x0e", "2x0e", **options)
    fitting = {"x": X, "positions": POSITIONS, "edge_index": EDGES}
    assert layer(**fitting).shape == (4, 1)
    replaced = argument.split("|")[-1].split(", ")[-1]
    for value in values:
        with pytest.raises((TypeError, ValueError), match=rf"^(x, positions|{argument}): "):
            layer(**{**fitting, replaced: value})


def test_the_messages_of_clouds_name_the_points():
    layer = TensorFieldConv("2x0e + 1x1o", "1x0e", 1, radius=2.0)
    with pytest.raises(ValueError, match="^positions: points 0 and 1 coincide.*leave it out"):
        layer(X, TWICE, EDGES)
    with pytest.raises(
        ValueError, match="^edge_index: expected entries 0 to 3 for 4 points, got 2 "
    ):
        layer(X, POSITIONS, EDGES + 2)
    with pytest.raises(ValueError, match="^positions: expected at least one point, got an empty"):
        layer(X[:0], POSITIONS[:0], EDGES[:, :0])
    apart = torch.tensor([[2], [3]])
    assert layer(X, TWICE, apart).shape == (4, 1)


@pytest.mark.parametrize(
    "layer",
    [rotations.IrrepsLinear("2x0e + 1x1o", "1x0e"), rotations.Gate("1x0e + 1x1o")],
    ids=["linear", "gate"],
)
def test_maps_at_points_name_what_does_not_fit(layer):
    assert layer(X).shape[:-1] == (4,)
    for value in [*NO_TENSOR, X[:, :4], torch.ones(()), torch.ones(5, 1)]:
        with refuses("x"):
            layer(value)


def test_only_layers_with_weights_have_a_dtype():
    with refuses("x"):
        rotations.IrrepsLinear("2x0e + 1x1o", "1x0e")(X.double())
    assert rotations.Gate("1x0e + 1x1o")(X.double()).dtype == F64


def test_features_that_are_no_numbers_stay_so():
    """As in torch: NaN goes through, it is not turned into a number."""
    x = X.clone()
    x[1, 0] = math.nan
    y = TensorFieldConv("2x0e + 1x1o", "1x0e", 1, radius=2.0)(x, POSITIONS, EDGES)
    assert y.isnan().squeeze(1).tolist() == [False, False, True, False]
