"""Paper: a fold is an isometry of curves, and can be undone."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gdl.high_dimensions import Fold, crumple, random_folds, sheet, uncrumple
from tests.test_representations import close, random, refuses, tensor

both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def some_fold(dim: int = 3, offset: float = 0.1) -> Fold:
    return Fold(torch.arange(1.0, dim + 1), offset)


@both_dtypes
def test_a_fold_by_hand(dtype):
    fold = Fold(torch.tensor([0.0, 3.0]), 1.0)
    x = torch.tensor([[5.0, 0.5], [5.0, 1.0], [5.0, 1.5], [5.0, 3.0]], dtype=dtype)
    assert fold(x).tolist() == [[5.0, 0.5], [5.0, 1.0], [5.0, 0.5], [5.0, -1.0]]
    assert fold(x).dtype == dtype
    assert fold.height(x).tolist() == [-0.5, 0.0, 0.5, 2.0]
    assert fold.side(x).tolist() == [False, False, True, True]
    assert fold.normal.tolist() == [0.0, 1.0] and float(fold.offset) == 1.0
    assert fold.normal.dtype == fold.offset.dtype == torch.float64


def test_a_fold_is_a_reflection_on_one_side_and_nothing_on_the_other():
    fold, x = some_fold(), random(200, 3)
    n, height = fold.normal, x @ fold.normal - fold.offset
    mirror = torch.eye(3, dtype=torch.float64) - 2 * torch.outer(n, n)
    expected = torch.where(height[:, None] > 0, x @ mirror + 2 * fold.offset * n, x)
    assert close(fold(x), expected) and 0 < (height > 0).sum() < 200


def test_a_fold_is_one_relu_with_a_skip_connection():
    fold, x = some_fold(), random(50, 3)
    into, out = torch.nn.Linear(3, 1).double(), torch.nn.Linear(1, 3, bias=False).double()
    with torch.no_grad():
        into.weight.copy_(fold.normal[None]), into.bias.fill_(-fold.offset)
        out.weight.copy_(-2 * fold.normal[:, None])
        assert close(fold(x), x + out(torch.relu(into(x))))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_a_fold_never_increases_distances(dim, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(30, dim, generator=generator, dtype=torch.float64)
    fold = Fold(torch.randn(dim, generator=generator), 0.3)
    assert (torch.cdist(fold(x), fold(x)) - torch.cdist(x, x)).max() < 1e-7


def test_folds_keep_the_length_of_curves_and_are_continuous():
    t = torch.linspace(-0.5, 0.5, 20001, dtype=torch.float64)
    curve = torch.stack([t, 0.4 * torch.sin(5 * t), 0 * t], 1)
    folded, moved = crumple(curve, random_folds(4))
    length = [path.diff(dim=0).norm(dim=1).sum() for path in (curve, folded)]
    assert abs(length[1] / length[0] - 1) < 1e-3
    assert folded.diff(dim=0).norm(dim=1).max() < 1.01 * curve.diff(dim=0).norm(dim=1).max()
    assert bool((moved.any(1) & ~moved.all(1)).all())
    squashed = curve - torch.relu(some_fold().height(curve))[:, None] * some_fold().normal
    assert abs(squashed.diff(dim=0).norm(dim=1).sum() / length[0] - 1) > 0.01


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 8), st.integers(0, 1000))
def test_uncrumple_inverts_crumple(count, seed):
    paper, folds = sheet(100, seed=seed), random_folds(count, seed=seed)
    ball, moved = crumple(paper, folds)
    assert ball.shape == (100, 3) and moved.shape == (count, 100) and moved.dtype == torch.bool
    assert close(uncrumple(ball, moved, folds), paper)


@both_dtypes
def test_crumpling_keeps_the_dtype(dtype):
    paper, folds = sheet(200).to(dtype), random_folds(5)
    ball, moved = crumple(paper, folds)
    assert ball.dtype == dtype
    assert close(uncrumple(ball, moved, folds), paper, 1e-12 if dtype == torch.float64 else 1e-5)


def test_no_folds_and_no_points():
    paper, empty = sheet(3), torch.zeros(0, 3)
    assert torch.equal(uncrumple(*crumple(paper, []), []), paper)
    ball, moved = crumple(empty, random_folds(2))
    assert moved.shape == (2, 0) and uncrumple(ball, moved, random_folds(2)).shape == (0, 3)


def test_the_order_of_the_folds_matters():
    paper, folds = sheet(100), random_folds(3)
    ball, moved = crumple(paper, folds)
    assert (uncrumple(ball, moved, folds[::-1]) - paper).abs().max() > 0.05
    assert (uncrumple(ball, ~moved, folds) - paper).abs().max() > 0.05


def test_the_sheet():
    paper = sheet(10_000, seed=1)
    assert paper.dtype == torch.float64 and bool((paper[:, 2] == 0).all())
    assert bool((paper[:, :2].abs() <= 0.5).all())
    assert paper[:, :2].mean(0).abs().max() < 0.01
    assert paper[:, :2].var(0).tolist() == pytest.approx([1 / 12, 1 / 12], rel=0.05)
    assert torch.equal(sheet(5, seed=1), sheet(5, seed=1))
    assert not torch.equal(sheet(5, seed=1), sheet(5, seed=2))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_creases_go_through_the_middle_and_are_tilted(seed):
    folds = random_folds(4, tilt=0.5, seed=seed)
    _, moved = crumple(sheet(4096, seed=seed), folds)
    assert bool(((moved.double().mean(1) > 0.2) & (moved.double().mean(1) < 0.8)).all())
    tilts = [float(f.normal[2] / f.normal[:2].norm()) for f in folds]
    assert tilts == pytest.approx([0.5] * 4, abs=1e-12)
    again = random_folds(4, tilt=0.5, seed=seed)
    assert all(torch.equal(a.normal, b.normal) for a, b in zip(folds, again, strict=True))


def test_a_fold_is_a_module():
    fold = some_fold()
    assert fold.to(torch.float32).normal.dtype == torch.float32
    assert fold.offset.dtype == torch.float32 and not list(fold.parameters())
    other = Fold(torch.tensor([1.0, 0.0, 0.0]), -2.0)
    other.load_state_dict(some_fold().state_dict())
    assert torch.equal(other(sheet(50)), some_fold()(sheet(50)))
    x = random(5, 3).requires_grad_()
    assert torch.autograd.gradcheck(some_fold(), x)
    assert some_fold()(torch.zeros(2, 4, 3)).shape == (2, 4, 3)


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (TypeError, "normal", lambda: Fold([1.0], 0.0)),
        (ValueError, "normal", lambda: Fold(torch.zeros(3), 0.0)),
        (ValueError, "normal", lambda: Fold(torch.zeros(3, 1), 0.0)),
        (ValueError, "normal", lambda: Fold(tensor([math.nan, 1.0]), 0.0)),
        (ValueError, "normal", lambda: Fold(tensor([1e200, 0.0]), 0.0)),
        (ValueError, "normal", lambda: Fold(tensor([1e-160, 0.0]), 0.0)),
        (TypeError, "offset", lambda: Fold(torch.ones(2), "0")),
        (TypeError, "offset", lambda: Fold(torch.ones(2), True)),
        (ValueError, "offset", lambda: Fold(torch.ones(2), math.inf)),
        (ValueError, "x", lambda: some_fold()(torch.zeros(5, 2))),
        (ValueError, "x", lambda: some_fold()(torch.tensor(1.0))),
        (TypeError, "x", lambda: some_fold()(torch.zeros(5, 3, dtype=torch.int64))),
        (ValueError, "moved", lambda: some_fold().unfold(torch.zeros(5, 3), torch.zeros(5))),
        (ValueError, "moved", lambda: some_fold().unfold(torch.zeros(5, 3), torch.ones(4) > 0)),
        (ValueError, "count", lambda: sheet(0)),
        (TypeError, "count", lambda: sheet(2.0)),
        (ValueError, "seed", lambda: sheet(2, seed=-1)),
        (ValueError, "seed", lambda: sheet(2, seed=2**63)),
        (TypeError, "seed", lambda: random_folds(2, seed=0.0)),
        (ValueError, "count", lambda: random_folds(-1)),
        (ValueError, "tilt", lambda: random_folds(1, tilt=0.0)),
        (ValueError, "tilt", lambda: random_folds(1, tilt=math.nan)),
        (ValueError, "tilt", lambda: random_folds(1, tilt=-1000.5)),
        (TypeError, "tilt", lambda: random_folds(1, tilt="0.2")),
        (TypeError, "folds", lambda: crumple(sheet(2), 3)),
        (TypeError, "x", lambda: crumple([[0.0, 0.0, 0.0]], [])),
        (ValueError, "x", lambda: crumple(sheet(2)[:, :2], random_folds(1))),
        (TypeError, "folds", lambda: crumple(sheet(2), [torch.nn.ReLU()])),
        (ValueError, "x", lambda: crumple(sheet(2) * math.nan, [])),
        (ValueError, "moved", lambda: uncrumple(sheet(2), torch.ones(1, 2) > 0, [])),
        (TypeError, "folds", lambda: uncrumple(sheet(2), torch.ones(1, 2) > 0, ["fold"])),
        (ValueError, "y", lambda: uncrumple(sheet(2) / 0, torch.ones(0, 2) > 0, [])),
        (TypeError, "y", lambda: uncrumple([[0.0]], torch.ones(0, 1) > 0, [])),
        (TypeError, "moved", lambda: uncrumple(sheet(2), torch.ones(0, 2), [])),
        (TypeError, "moved", lambda: uncrumple(sheet(2), [], [])),
        (ValueError, "moved", lambda: uncrumple(sheet(2), torch.ones(0, 5) > 0, [])),
        (ValueError, "moved", lambda: uncrumple(sheet(2), torch.ones(2) > 0, [])),
    ],
)
def test_bad_input_is_named(error, argument, call):
    with refuses(error, argument):
        call()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_crease_goes_through_the_centroid_of_its_sheet(seed):
    folds = random_folds(20, seed=seed)
    centroid = sheet(4096, seed=seed).mean(0)
    assert abs(float(centroid @ folds[0].normal) - folds[0].offset) < 1e-12
    assert all(float(fold.normal[1]) >= 0 for fold in folds)
    assert min(float(fold.normal[0]) for fold in folds) < 0


def test_the_defaults_of_random_folds():
    default, stated = random_folds(3), random_folds(3, tilt=0.2, seed=0)
    assert [fold.normal.tolist() for fold in default] == [f.normal.tolist() for f in stated]
    assert float(random_folds(1, tilt=1000)[0].normal[2]) == pytest.approx(1, abs=1e-6)


def test_what_lies_on_the_crease_does_not_move():
    fold = Fold(torch.tensor([1.0, 0.0, 0.0]), 0.0)
    _, moved = crumple(tensor([[0.0, 1, 2], [1, 1, 2]]), [fold])
    assert moved.tolist() == [[False, True]]


def test_the_sheet_has_double_precision_and_seed_zero():
    assert torch.equal(sheet(7), sheet(7, seed=0)) and len(sheet(1, seed=2**63 - 1)) == 1
    assert not torch.equal(sheet(100).float().double(), sheet(100))
