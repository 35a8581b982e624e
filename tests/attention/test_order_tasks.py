"""Ranks, reversal, and the best that a model without positions can do."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gdl.attention.tasks import (
    random_tokens,
    ranks,
    reversal,
    reversal_ceiling,
    token_accuracy,
    token_loss,
    token_targets,
)
from gdl.attention.transformer import TokenTransformer
from gdl.training import fit
from tests.attention.common import F64, gap, permutations, random
from tests.test_representations import refuses


def test_tokens_are_uniform_and_seeded():
    t = random_tokens(5000, 4, 5, seed=0)
    assert t.dtype == torch.int64 and t.shape == (5000, 4)
    counts = torch.stack([t[:, i].bincount(minlength=5) for i in range(4)]).double()
    # Five standard deviations of a binomial count.
    assert (counts - 1000).abs().max() < 5 * (5000 * 0.2 * 0.8) ** 0.5
    assert torch.equal(t, random_tokens(5000, 4, 5, seed=0))
    assert not torch.equal(t, random_tokens(5000, 4, 5, seed=1))


def test_ranks_are_those_of_sorting():
    t = random_tokens(200, 7, 6, seed=0)
    expected = torch.searchsorted(t.sort(-1).values, t)
    assert torch.equal(ranks(t), expected)
    assert len(ranks(t).unique()) == 7
    for p in permutations(7):
        assert torch.equal(ranks(t[:, p]), ranks(t)[:, p])


def test_quantiles_are_ranks_of_the_share():
    t = random_tokens(200, 12, 30, seed=0)
    assert torch.equal(ranks(t, 4), torch.floor(4 * ranks(t) / 12).long())
    assert ranks(t, 4).unique().tolist() == [0, 1, 2, 3]
    assert torch.equal(ranks(t, 12), ranks(t))


def test_as_many_quantiles_as_there_may_be():
    t = torch.tensor([3, 1, 2, 0])
    assert ranks(t, 2**31).tolist() == [2**31 * r // 4 for r in t.tolist()]


def test_tokens_are_on_the_cpu_whatever_the_default():
    with torch.device("meta"):
        t = random_tokens(2, 3, 5, seed=0)
    assert torch.equal(t, random_tokens(2, 3, 5, seed=0))


def test_reversal():
    t = random_tokens(20, 5, 9, seed=0)
    for i in range(5):
        assert torch.equal(reversal(t)[:, i], t[:, 4 - i])
    assert torch.equal(reversal(reversal(t)), t)
    swapped = t[:, [1, 0, 2, 3, 4]]
    assert not torch.equal(reversal(swapped), reversal(t)[:, [1, 0, 2, 3, 4]])


# --- the ceiling ----------------------------------------------------------------------------------


def by_counting(n: int, values: int) -> Fraction:
    """For each token and multiset, the answer that is right most often."""
    right: dict[tuple, Counter] = defaultdict(Counter)
    for t in itertools.product(range(values), repeat=n):
        for i in range(n):
            right[t[i], tuple(sorted(t))][t[n - 1 - i]] += 1
    return Fraction(sum(max(c.values()) for c in right.values()), n * values**n)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("values", [1, 2, 3, 4])
def test_the_ceiling_is_counted(n, values):
    assert reversal_ceiling(n, values) == by_counting(n, values)


def test_the_longest_sequences_have_a_ceiling():
    assert 0.5 < reversal_ceiling(40, 2) < 1


@pytest.mark.parametrize(("n", "values"), [(2, 2), (3, 2), (4, 2), (2, 3)])
def test_the_ceiling_is_the_best_of_all_equivariant_functions(n, values):
    """Every table (token, multiset) -> answer is tried, and no other function is equivariant."""
    sequences = list(itertools.product(range(values), repeat=n))
    places = sorted({(t[i], tuple(sorted(t))) for t in sequences for i in range(n)})
    best = 0
    for answers in itertools.product(range(values), repeat=len(places)):
        table = dict(zip(places, answers, strict=True))
        right = sum(
            table[t[i], tuple(sorted(t))] == t[n - 1 - i] for t in sequences for i in range(n)
        )
        best = max(best, right)
    assert reversal_ceiling(n, values) == Fraction(best, n * len(sequences))


def test_the_ceiling_is_met_by_the_likeliest_answer():
    n, values = 8, 16
    t = random_tokens(4000, n, values, seed=0)
    multiplicities = (t[:, :, None] == torch.arange(values)).sum(1)
    others = multiplicities[:, None, :] - (t[:, :, None] == torch.arange(values)).long()
    right = (others.argmax(-1) == reversal(t)).double().mean(1)
    deviation = right.std().item() / len(t) ** 0.5
    assert abs(right.mean().item() - float(reversal_ceiling(n, values))) < 5 * deviation


def test_many_values_leave_a_guess_among_the_others():
    assert abs(float(reversal_ceiling(8, 10**6)) - 1 / 7) < 1e-3
    assert abs(float(reversal_ceiling(9, 10**6)) - 1 / 9) < 1e-3


# --- learning -------------------------------------------------------------------------------------


def test_the_loss_is_the_cross_entropy_of_the_labels():
    logits, y = random(3, 5, 4), random_tokens(3, 5, 4, seed=0)
    expected = cross_entropy(logits.reshape(15, 4), y.reshape(15))
    assert gap(token_loss(logits, token_targets(y, 4).double()), expected) < 1e-14
    assert token_targets(y, 4).dtype == torch.float32


def test_the_loss_of_logits_that_autocast_rounds_is_in_the_dtype_of_the_targets():
    logits = random(5, 4, dtype=torch.bfloat16)
    targets = token_targets(random_tokens(1, 5, 4, seed=0)[0], 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(token_loss(logits, targets), token_loss(logits.float(), targets))
    with refuses(TypeError, "targets"):
        token_loss(logits, targets)


def test_targets_without_values_have_a_shape():
    labels = torch.empty(2, 3, dtype=torch.int64, device="meta")
    assert token_targets(labels, 4).shape == (2, 3, 4) and ranks(labels).is_meta


def test_accuracy_is_counted():
    t = torch.tensor([[0, 1, 2], [2, 2, 1]])
    model = nn.Embedding.from_pretrained(torch.eye(3))
    assert token_accuracy(model, t, t) == 1
    assert token_accuracy(model, t, torch.tensor([[0, 1, 0], [1, 1, 1]])) == 0.5


def test_a_transformer_learns_to_rank():
    torch.manual_seed(0)
    t = random_tokens(256, 4, 6, seed=0)
    model = TokenTransformer(6, 4, layers=1, width=16, heads=2, hidden=32)
    fit(model, t, token_targets(ranks(t), 4), steps=80, lr=1e-2, loss=token_loss)
    unseen = random_tokens(256, 4, 6, seed=1)
    largest_class = ranks(unseen).flatten().bincount().max().item() / unseen.numel()
    assert token_accuracy(model, unseen, ranks(unseen)) > largest_class + 0.2
    y = model(unseen)
    for p in permutations(4):
        assert gap(model(unseen[:, p]), y[:, p]) < 1e-4


ONES = torch.ones(1, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (ValueError, "count", lambda: random_tokens(0, 2, 2, seed=0)),
        (ValueError, "length", lambda: random_tokens(2, 0, 2, seed=0)),
        (TypeError, "values", lambda: random_tokens(2, 2, 2.0, seed=0)),
        (ValueError, "count", lambda: random_tokens(2**70, 2, 2, seed=0)),
        (ValueError, "values", lambda: random_tokens(2, 2, 2**64, seed=0)),
        (TypeError, "seed", lambda: random_tokens(2, 2, 2, seed=None)),
        (ValueError, "seed", lambda: random_tokens(2, 2, 2, seed=2**70)),
        (ValueError, "seed", lambda: random_tokens(2, 2, 2, seed=-1)),
        (TypeError, "tokens", lambda: ranks(torch.ones(3))),
        (TypeError, "tokens", lambda: reversal([1, 2])),
        (ValueError, "tokens", lambda: reversal(torch.empty(2, 0, dtype=torch.int64))),
        (ValueError, "tokens", lambda: ranks(torch.tensor(1))),
        (ValueError, "classes", lambda: ranks(torch.tensor([1]), 0)),
        (ValueError, "classes", lambda: ranks(torch.tensor([3, 1, 2, 0]), 2**62)),
        (ValueError, "classes", lambda: ranks(torch.tensor([3, 1, 2, 0]), 2**70)),
        (ValueError, "length", lambda: reversal_ceiling(0, 3)),
        (ValueError, "length", lambda: reversal_ceiling(41, 3)),
        (ValueError, "values", lambda: reversal_ceiling(3, 0)),
        (TypeError, "length", lambda: reversal_ceiling(True, 3)),
        (ValueError, "y", lambda: token_targets(torch.tensor([0, 3]), 3)),
        (ValueError, "y", lambda: token_targets(torch.tensor([-1]), 3)),
        (ValueError, "targets", lambda: token_loss(torch.ones(2, 3), torch.ones(2, 1))),
        (TypeError, "targets", lambda: token_loss(torch.ones(2, 3), torch.tensor([1, 2]))),
        (TypeError, "targets", lambda: token_loss(torch.ones(2, 3), torch.ones(2, 3, dtype=F64))),
        (ValueError, "targets", lambda: token_loss(torch.ones(2, 3), torch.ones(2, 3) / 0)),
        (ValueError, "logits", lambda: token_loss(torch.ones(2, 3) * math.nan, torch.ones(2, 3))),
        (ValueError, "logits", lambda: token_loss(torch.ones(0, 3), torch.ones(0, 3))),
        (ValueError, "logits", lambda: token_loss(torch.ones(2, 0), torch.ones(2, 0))),
        (ValueError, "y", lambda: _accuracy(torch.tensor([[1]]))),
        (ValueError, "model", lambda: token_accuracy(nn.Flatten(0), ONES, ONES)),
    ],
)  # fmt: skip
def test_bad_input_is_named(error, argument, call):
    with refuses(error, argument):
        call()


def _accuracy(y: Tensor) -> float:
    return token_accuracy(nn.Embedding(3, 3, dtype=F64), torch.tensor([[1, 2]]), y)
