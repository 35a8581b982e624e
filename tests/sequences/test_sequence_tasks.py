"""Recall, copying and sorting: what is shown, what is asked, and what a guess is worth."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gdl.sequences.cells import GatedCell
from gdl.sequences.recurrent import Recurrent, SequenceClassifier
from gdl.sequences.tasks import recall
from gdl.training import fit
from studies._writing import (
    answer_accuracy,
    answer_loss,
    answer_targets,
    copying,
    sorting,
    sorting_baseline,
)
from tests.test_representations import refuses

IGNORED = -100


def read(x: Tensor, length: int) -> Tensor:
    """The tokens that are shown first."""
    return x.argmax(-1)[:, :length]


# --- recall ---------------------------------------------------------------------------------------


def test_recall_shows_a_symbol_and_then_noise():
    x, y = recall(4000, 7, noise=0.3, seed=0)
    assert x.shape == (4000, 8, 1) and x.dtype == torch.float32
    assert y.shape == (4000,) and y.dtype == torch.int64
    assert torch.equal(x[:, 0, 0], torch.where(y == 1, 1.0, -1.0))
    # Five standard deviations of each estimate.
    assert abs(y.double().mean() - 0.5) < 5 * 0.5 / math.sqrt(4000)
    noise = x[:, 1:, 0].double()
    assert noise.mean(0).abs().max() < 5 * 0.3 / math.sqrt(4000)
    assert (noise.std(0) - 0.3).abs().max() < 5 * 0.3 / math.sqrt(8000)
    joint = torch.corrcoef(torch.cat([noise, y[:, None].double()], 1).T) - torch.eye(8)
    assert joint.abs().max() < 5 / math.sqrt(4000)


def test_recall_without_noise():
    x, _ = recall(5, 3, noise=0, seed=0)
    assert torch.equal(x[:, 1:], torch.zeros(5, 3, 1))


MAKERS = {
    "recall": lambda seed: recall(6, 4, seed=seed),
    "copying": lambda seed: copying(6, 5, 3, 2, seed=seed),
    "sorting": lambda seed: sorting(6, 3, values=5, seed=seed),
}


@pytest.mark.parametrize("make", list(MAKERS.values()), ids=list(MAKERS))
def test_tasks_are_seeded_and_on_the_cpu(make):
    state = torch.get_rng_state()
    with torch.device("meta"):
        first = make(0)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b, c in zip(first, make(0), make(1), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)
        assert a.device.type == "cpu"


# --- copying and sorting --------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "delay"), [(1, 1), (3, 1), (4, 6)], ids=str)
def test_copying_asks_for_what_was_shown(length, delay):
    x, y = copying(50, 4, length, delay, seed=0)
    assert x.shape == (50, 2 * length + delay, 6) and x.dtype == torch.float32
    assert y.shape == x.shape[:2] and y.dtype == torch.int64
    assert torch.equal(x.sum(-1), torch.ones(x.shape[:2])) and x.unique().tolist() == [0, 1]
    shown = x.argmax(-1)
    assert torch.equal(y[:, length + delay :], shown[:, :length])
    assert (y[:, : length + delay] == IGNORED).all()
    rest = shown[:, length:]
    assert rest.unique().tolist() == ([4, 5])
    go = (rest == 5).nonzero()
    assert torch.equal(go, torch.stack([torch.arange(50), torch.full((50,), delay - 1)], 1))


def test_symbols_are_uniform():
    x, _ = copying(4000, 5, 3, 1, seed=0)
    counts = torch.stack([read(x, 3)[:, i].bincount(minlength=5) for i in range(3)]).double()
    assert (counts - 800).abs().max() < 5 * math.sqrt(4000 * 0.2 * 0.8)


def test_sorting_asks_for_the_tokens_in_order():
    x, y = sorting(200, 5, values=7, seed=0)
    assert x.shape == (200, 11, 9) and y.shape == (200, 11)
    tokens, answers = read(x, 5), y[:, 6:]
    assert (y[:, :6] == IGNORED).all()
    assert x.argmax(-1)[:, 5:].tolist() == [[8, 7, 7, 7, 7, 7]] * 200
    assert (answers.diff(dim=-1) >= 0).all() and not (tokens.diff(dim=-1) >= 0).all(-1).all()
    for shown, asked in zip(tokens.tolist(), answers.tolist(), strict=True):
        assert Counter(shown) == Counter(asked)


# --- the worth of a guess -------------------------------------------------------------------------


def by_counting(length: int, values: int) -> Fraction:
    places = [Counter() for _ in range(length)]
    for sequence in itertools.product(range(values), repeat=length):
        for counter, token in zip(places, sorted(sequence), strict=True):
            counter[token] += 1
    right = sum(counter.most_common(1)[0][1] for counter in places)
    return Fraction(right, length * values**length)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
@pytest.mark.parametrize("values", [1, 2, 3, 4])
def test_the_baseline_of_sorting_is_that_of_counting(length, values):
    assert sorting_baseline(length, values) == by_counting(length, values)


def test_the_baseline_of_sorting_by_sampling():
    _, y = sorting(20_000, 6, values=8, seed=0)
    shares = [y[:, i].bincount().max() / 20_000 for i in range(7, 13)]
    exact = float(sorting_baseline(6, 8))
    assert abs(float(sum(shares)) / 6 - exact) < 5 * math.sqrt(exact * (1 - exact) / 20_000)
    assert exact > 1.5 / 8


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_loss_is_the_cross_entropy_of_the_answers(dtype):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 9, 5, dtype=dtype, generator=generator, requires_grad=True)
    y = torch.randint(5, (4, 9), generator=generator)
    y[torch.rand(4, 9, generator=generator) < 0.4] = IGNORED
    got = answer_loss(logits, answer_targets(y, 5))
    expected = cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=IGNORED)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    assert got.dtype == dtype and abs(got - expected).item() < tolerance
    (slope,) = torch.autograd.grad(got, logits)
    assert (slope[y == IGNORED] == 0).all() and (slope[y != IGNORED] != 0).all()


def test_the_loss_under_autocast():
    # 257 is no number of bfloat16.
    y = torch.arange(257)[None] % 2
    layer = nn.Linear(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        logits = layer(torch.ones(1, 257, 2))
        loss = answer_loss(logits, answer_targets(y, 2))
    assert logits.dtype == torch.bfloat16 and loss.dtype == torch.float32
    assert abs(loss - cross_entropy(logits[0].float(), y[0])) < 1e-6


def test_targets_by_hand():
    targets = answer_targets(torch.tensor([[2, IGNORED], [0, 1]]), 3)
    assert targets.dtype == torch.float32
    assert targets.tolist() == [[[0, 0, 1], [0, 0, 0]], [[1, 0, 0], [0, 1, 0]]]


def test_accuracy_counts_answers_only():
    x = torch.eye(3)[torch.tensor([[0, 1, 2, 2], [1, 1, 0, 2]])]
    y = torch.tensor([[IGNORED, 1, 2, 0], [IGNORED, IGNORED, 0, 2]])
    assert answer_accuracy(nn.Identity(), x, y) == pytest.approx(4 / 5)
    assert answer_accuracy(nn.Identity(), x[:1], y[:1]) == pytest.approx(2 / 3)


def test_a_gated_cell_learns_a_short_recall():
    torch.manual_seed(0)
    model = SequenceClassifier(Recurrent(GatedCell(1, 8)), 8, 2)
    x, y = recall(640, 3, seed=0)
    history = fit(model, x, y, epochs=2, lr=1e-2)
    assert history.step_losses[-1] < 0.5 * history.step_losses[0]


class Reader(nn.Module):
    def __init__(self, features: int, classes: int):
        super().__init__()
        self.body, self.head = Recurrent(GatedCell(features, 12)), nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0])


def test_answers_are_fit_to_be_trained_on():
    torch.manual_seed(0)
    x, y = sorting(320, 2, values=3, seed=0)
    model = Reader(5, 3)
    fit(model, x, answer_targets(y, 3), epochs=20, lr=2e-2, loss=answer_loss)
    assert answer_accuracy(model, *sorting(200, 2, values=3, seed=1)) > sorting_baseline(2, 3) + 0.1


# --- wrong input ----------------------------------------------------------------------------------

SIZES = {
    "recall": (recall, {"count": 2, "delay": 3, "seed": 0}),
    "copying": (copying, {"count": 2, "symbols": 3, "length": 2, "delay": 1, "seed": 0}),
    "sorting": (sorting, {"count": 2, "length": 2, "values": 3, "seed": 0}),
    "baseline": (sorting_baseline, {"length": 2, "values": 3}),
}
EVERY_SIZE = [(name, size) for name, (_, sizes) in SIZES.items() for size in sizes]


@pytest.mark.parametrize(("name", "size"), EVERY_SIZE, ids=str)
@pytest.mark.parametrize(
    ("wrong", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError), ("2", TypeError)]
)
def test_sizes_are_checked(name, size, wrong, error):
    make, sizes = SIZES[name]
    with refuses(error, size):
        make(**sizes | {size: wrong})


@pytest.mark.parametrize(("name", "size"), [s for s in EVERY_SIZE if s[1] != "seed"], ids=str)
def test_nothing_is_no_size(name, size):
    make, sizes = SIZES[name]
    with refuses(ValueError, size):
        make(**sizes | {size: 0})


@pytest.mark.parametrize(
    ("noise", "error"), [(-0.1, ValueError), (math.nan, ValueError), ("1", TypeError)], ids=str
)
def test_noise_is_checked(noise, error):
    with refuses(error, "noise"):
        recall(2, 3, noise=noise, seed=0)


def test_noise_that_overflows():
    with refuses(ValueError, "noise"):
        recall(9, 9, noise=1e39, seed=0)


@pytest.mark.parametrize(
    ("y", "error"),
    [
        (torch.tensor([3]), ValueError),
        (torch.tensor([-1]), ValueError),
        (torch.tensor([-101]), ValueError),
        (torch.tensor(1), ValueError),
        (torch.empty(0, dtype=torch.int64), ValueError),
        (torch.tensor([1.0]), TypeError),
        ([1], TypeError),
    ],
    ids=["class", "negative", "ignored", "number", "empty", "float", "list"],
)
def test_labels_are_checked(y, error):
    with refuses(error, "y"):
        answer_targets(y, 3)


def test_classes_are_checked():
    with refuses(ValueError, "classes"):
        answer_targets(torch.tensor([0]), 0)


TARGETS = answer_targets(torch.tensor([[IGNORED, 1]]), 3)


@pytest.mark.parametrize(
    ("logits", "targets", "error", "argument"),
    [
        (torch.zeros(1, 2, 4), TARGETS, ValueError, "targets"),
        (torch.zeros(2, 2, 3), TARGETS, ValueError, "targets"),
        (torch.zeros(1, 2, 3), 0 * TARGETS, ValueError, "targets"),
        (torch.zeros(1, 2, 3), TARGETS.long(), TypeError, "targets"),
        (torch.zeros(1, 2, 3), 0.5 * TARGETS, ValueError, "targets"),
        (torch.zeros(1, 2, 3), TARGETS.cumsum(-1), ValueError, "targets"),
        (torch.zeros(1, 2, 3), TARGETS - TARGETS.roll(1, -1), ValueError, "targets"),
        (torch.full((1, 2, 3), math.nan), TARGETS, ValueError, "logits"),
        (torch.zeros(1, 0, 3), TARGETS[:, :0], ValueError, "logits"),
        (None, TARGETS, TypeError, "logits"),
    ],
    ids=[
        "classes",
        "batch",
        "none due",
        "int64",
        "halves",
        "two",
        "negative",
        "nan",
        "empty",
        "none",
    ],
)
def test_logits_and_targets_are_checked(logits, targets, error, argument):
    with refuses(error, argument):
        answer_loss(logits, targets)


def test_logits_whose_differences_overflow():
    with refuses(ValueError, "logits"):
        answer_loss(torch.tensor([[3e38, -3e38]]), torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_many_answers_in_half_precision(dtype):
    targets = answer_targets(torch.arange(70_000) % 2, 2).to(dtype)
    loss = answer_loss(torch.zeros(70_000, 2, dtype=dtype), targets)
    assert loss.dtype == torch.float32 and abs(loss.item() - math.log(2)) < 1e-5


@pytest.mark.parametrize(
    ("x", "y", "argument"),
    [
        (torch.zeros(2, 3, 4), torch.zeros(2, 2, dtype=torch.int64), "y"),
        (torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64), "y"),
        (torch.zeros(2, 3, 4), torch.full((2, 3), IGNORED), "y"),
        (torch.full((2, 3, 4), math.nan), torch.zeros(2, 3, dtype=torch.int64), "x"),
        (torch.zeros(0, 3, 4), torch.zeros(0, 3, dtype=torch.int64), "x"),
        (torch.zeros(2, 3, 4), torch.tensor([[0, 1, 2], [3, 4, 0]]), "y"),
        (torch.zeros(2, 3, 4), torch.tensor([[0, 1, 2], [3, -5, 0]]), "y"),
    ],
    ids=["length", "one", "none due", "nan", "empty", "class", "negative"],
)
def test_inputs_of_the_accuracy_are_checked(x, y, argument):
    with refuses(ValueError, argument):
        answer_accuracy(nn.Identity(), x, y)


def test_models_of_the_accuracy_are_checked():
    with refuses(ValueError, "model"):
        answer_accuracy(nn.Flatten(), torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64))


def test_logits_of_the_accuracy_are_finite():
    model = nn.Linear(4, 2)
    nn.init.constant_(model.bias, math.nan)
    with refuses(ValueError, "model"):
        answer_accuracy(model, torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64))
