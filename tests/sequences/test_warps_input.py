"""What warps and insertions refuse, by name."""

from __future__ import annotations

import math

import pytest
import torch

from gdl.sequences.warps import (
    hold,
    hold_matrix,
    pad,
    pad_matrix,
    rates,
    smooth_warp,
)
from tests.sequences.test_warps import line
from tests.test_representations import refuses

X = torch.ones(3, 2)
NAN = torch.full((3, 2), math.nan)
BAD_X = [
    (TypeError, None), (TypeError, [[1.0]]), (TypeError, X.long()), (ValueError, X[0]),
    (ValueError, X[:0]), (ValueError, X[:, :0]), (ValueError, NAN),
]  # fmt: skip


def check_all(f, fits: dict, bad: list[tuple]) -> None:
    f(**fits)
    for error, argument, value in bad:
        with refuses(error, argument):
            f(**{**fits, argument: value})


@pytest.mark.parametrize("insert", [pad, hold])
def test_bad_insertions(insert):
    bad = [
        (TypeError, 1), (TypeError, None), (TypeError, {1, 2}), (TypeError, torch.tensor([1])),
        (TypeError, [1.0]), (TypeError, [True]), (TypeError, "12"), (ValueError, [-1]),
        (ValueError, [4]), (ValueError, [2**70]), (ValueError, [2, 1]),
    ]  # fmt: skip
    check_all(insert, {"x": X, "places": [0, 3]}, [(e, "places", v) for e, v in bad])
    check_all(insert, {"x": X, "places": [0, 3]}, [(e, "x", v) for e, v in BAD_X])
    with pytest.raises(ValueError, match="got 1 at index 2 after 2"):
        insert(X, [0, 2, 1])


@pytest.mark.parametrize("matrix", [pad_matrix, hold_matrix])
def test_bad_windows(matrix):
    bad = [
        (TypeError, "length", 3.0), (ValueError, "length", 0), (ValueError, "length", 10**9),
        (TypeError, "place", 1.0), (ValueError, "place", -1), (ValueError, "place", 4),
    ]  # fmt: skip
    check_all(matrix, {"length": 3, "place": 3}, bad)


LENGTHS = [(TypeError, "length", 3.0), (ValueError, "length", 0), (ValueError, "length", 2**70)]
SEEDS = [(TypeError, "seed", None), (ValueError, "seed", -1), (ValueError, "seed", 2**32)]


def test_bad_warps():
    numbers = [(TypeError, "1"), (ValueError, -1.0), (ValueError, math.nan), (ValueError, math.inf)]
    smooth = [(error, "strength", value) for error, value in [*numbers, (ValueError, 5.1)]]
    fits = {"length": 4, "strength": 1.0, "seed": 0}
    check_all(smooth_warp, fits, [*LENGTHS, *SEEDS, *smooth, (ValueError, "length", 1)])


BAD_TIMES = [
    (TypeError, None), (TypeError, [0.0, 1.0]), (TypeError, torch.arange(3)),
    (ValueError, torch.zeros(0)), (ValueError, torch.tensor(0.0)), (ValueError, torch.zeros(2, 1)),
    (ValueError, line([0.0, math.nan])), (ValueError, line([0.0, math.inf])),
    (ValueError, line([0.0, 2.0, 1.0])),
]  # fmt: skip


def test_bad_times():
    check_all(rates, {"times": line([0.0, 1.0])}, [(e, "times", v) for e, v in BAD_TIMES])
    message = "times: expected times that never decrease, got 0.25 at index 2 after 1.0"
    with pytest.raises(ValueError, match=message):
        rates(line([0.0, 1.0, 0.25, 0.0]))


def test_times_that_fall_by_a_rounding_error():
    with refuses(ValueError, "times"):
        rates(torch.tensor([0.0, 1.0, 1.0 - 1e-7, 2.0]))


def test_bad_starts():
    bad = [(TypeError, "0"), (ValueError, 0.1), (ValueError, math.nan), (ValueError, -math.inf)]
    check_all(rates, {"times": line([0.0, 1.0])}, [(e, "before", v) for e, v in bad])
    with refuses(ValueError, "times"):
        rates(line([1e308]), before=-1e308)
