"""A count summed out and a count drawn: one gradient, and the variance between them."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from gdl.inference.estimators import (
    best_baseline,
    count_log_probabilities,
    enumerated,
    gradient_variance,
    mixed,
    sampled,
    score_gradients,
    without_value,
)
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN, INF = float("nan"), float("inf")
steps = pytest.mark.parametrize("steps", [1, 3])
baselines = pytest.mark.parametrize("baseline", [0.0, -2.5], ids=str)


def problem(steps: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    return random(4, steps, seed=seed), 3 * random(4, steps + 1, seed=seed + 1)


def every_gradient(logits: Tensor, values: Tensor, baseline: float) -> Tensor:
    """Autograd of the sampled bound at every count: (B, T + 1, T)."""
    rows = []
    for n in range(values.shape[-1]):
        leaf = logits.clone().requires_grad_()
        counts = torch.full(logits.shape[:-1], n)
        sampled(count_log_probabilities(leaf), values, counts, baseline).sum().backward()
        rows.append(leaf.grad)
    return torch.stack(rows, -2)


@both_dtypes
@steps
def test_probabilities_of_counts(steps, dtype):
    """By running the loop over all outcomes of T coins."""
    logits = random(2, steps, dtype=dtype)
    p = logits.sigmoid()
    found = torch.zeros(2, steps + 1, dtype=dtype)
    for coins in itertools.product((False, True), repeat=steps):
        chance = torch.stack([p[:, t] if c else 1 - p[:, t] for t, c in enumerate(coins)]).prod(0)
        found[:, (*coins, False).index(False)] += chance
    assert gap(count_log_probabilities(logits).exp(), found) < (1e-12 if dtype == F64 else 1e-6)


def test_extreme_logits_stay_finite():
    log_q = count_log_probabilities(torch.tensor([[800.0, -800.0], [-800.0, 800.0]]))
    assert torch.isfinite(log_q).all()
    assert log_q.exp().tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_mixing():
    log_q = count_log_probabilities(random(5, 3))
    q = log_q.exp()
    for mix in (0.0, 0.2, 0.7, 1.0):
        assert gap(mixed(log_q, mix).exp(), (1 - mix) * q + mix / 4) < 1e-12
    assert torch.equal(mixed(log_q, 0.0), log_q)
    certain = mixed(count_log_probabilities(torch.tensor([900.0])), 0.5).exp()
    assert gap(certain, torch.tensor([0.25, 0.75])) < 1e-6


@steps
def test_the_bound_is_below_the_evidence_and_reaches_it(steps):
    logits, values = problem(steps)
    log_q = count_log_probabilities(logits)
    by_hand = sum(log_q[:, n].exp() * (values[:, n] - log_q[:, n]) for n in range(steps + 1))
    assert gap(enumerated(log_q, values), by_hand) < 1e-12
    evidence = values.logsumexp(-1)
    assert bool((enumerated(log_q, values) < evidence - 1e-3).all())
    assert gap(enumerated(values.log_softmax(-1), values), evidence) < 1e-12


@steps
@baselines
def test_the_mean_over_counts_is_the_enumerated_gradient(steps, baseline):
    logits, values = problem(steps)
    leaf = logits.clone().requires_grad_()
    enumerated(count_log_probabilities(leaf), values).sum().backward()
    q = count_log_probabilities(logits).exp()
    mean = (q[..., None] * every_gradient(logits, values, baseline)).sum(-2)
    assert gap(mean, leaf.grad) < 1e-10
    # Without the score function the mean is another vector.
    for n in range(steps + 1):
        biased = logits.clone().requires_grad_()
        log_q = count_log_probabilities(biased)
        (q[:, n] * (values - log_q)[:, n]).sum().backward()
        mean = mean - biased.grad
    assert (mean - 0).abs().max() > 0.1


def test_gradients_reach_the_values():
    logits, values = problem(3)
    log_q, free = count_log_probabilities(logits), values.clone().requires_grad_()
    enumerated(log_q, free).sum().backward()
    assert gap(free.grad, log_q.exp()) < 1e-12
    free.grad = None
    sampled(log_q, free, torch.tensor([0, 1, 2, 3])).sum().backward()
    assert torch.equal(free.grad, torch.eye(4, dtype=F64))


@steps
@baselines
def test_closed_form_of_every_gradient(steps, baseline):
    logits, values = problem(steps)
    found = score_gradients(logits, values, baseline)
    assert gap(found, every_gradient(logits, values, baseline)) < 1e-12
    assert gap(score_gradients(logits, values, torch.full((4,), baseline, dtype=F64)), found) == 0


def test_the_variance_is_that_of_drawn_counts():
    logits, values = random(3), random(4, seed=1)
    gradients = score_gradients(logits, values, 0.3)
    generator = torch.Generator().manual_seed(0)
    q = count_log_probabilities(logits).exp()
    drawn = gradients[torch.multinomial(q, 200_000, replacement=True, generator=generator)]
    squares = (drawn - drawn.mean(0)).square().sum(-1)
    error = float(squares.std()) / len(squares) ** 0.5
    assert abs(float(squares.mean() - gradient_variance(logits, values, 0.3))) < 4 * error
    assert error < 0.01 * float(squares.mean())


@steps
def test_the_best_baseline(steps):
    logits, values = problem(steps)
    best = best_baseline(logits, values)
    least = gradient_variance(logits, values, best)
    for shift in (-1.0, 1e-3, 2.0):
        more = gradient_variance(logits, values, best + shift) - least
        curvature = gradient_variance(logits, values, best + 1.0) - least
        assert gap(more, shift**2 * curvature) < 1e-9 and bool((more > 0).all())


def test_one_step_and_the_best_baseline_leave_no_variance():
    """A coin has two gradients with one mean, so one number can make them equal."""
    logits, values = random(5, 1), random(5, 2, seed=1)
    assert gradient_variance(logits, values, best_baseline(logits, values)).max() < 1e-20
    assert gradient_variance(logits, values).min() > 1e-3


def test_the_bound_is_flat_where_the_guide_is_right():
    """At q = posterior, the value less the baseline log p(x) is 0: nothing is left to vary."""
    values = random(3, seed=2)
    q = values.softmax(-1)
    logits = torch.stack([(1 - q[0]).logit(), (q[2] / q[1]).log()])
    assert gap(count_log_probabilities(logits).exp(), q) < 1e-12
    best = values.logsumexp(-1) - 1
    assert float(gradient_variance(logits, values, best)) < 1e-20


def test_without_value():
    x = random(3).requires_grad_()
    y = without_value(x.square())
    assert torch.equal(y.detach(), torch.zeros(3, dtype=F64))
    y.sum().backward()
    assert gap(x.grad, 2 * x.detach()) < 1e-15


def test_gradients_by_differences():
    logits, values = problem(3)
    inputs = (logits.requires_grad_(), values.requires_grad_())
    for function in (
        lambda l, v: enumerated(mixed(count_log_probabilities(l), 0.2), v),
        gradient_variance,
        best_baseline,
    ):
        assert torch.autograd.gradcheck(function, inputs)


def test_wrong_input():
    logits, values = problem(3)
    log_q, counts = count_log_probabilities(logits), torch.zeros(4, dtype=torch.int64)
    for error, argument, call in [
        (TypeError, "logits", lambda: count_log_probabilities([0.0])),
        (TypeError, "logits", lambda: count_log_probabilities(torch.ones(2, dtype=torch.int64))),
        (ValueError, "logits", lambda: count_log_probabilities(torch.tensor([NAN]))),
        (ValueError, "logits", lambda: count_log_probabilities(torch.zeros(2, 0))),
        (ValueError, "logits", lambda: count_log_probabilities(torch.tensor(1.0))),
        (ValueError, "mix", lambda: mixed(log_q, 1.1)),
        (TypeError, "mix", lambda: mixed(log_q, True)),
        (ValueError, "log_probabilities", lambda: mixed(log_q - INF, 0.5)),
        (ValueError, "values", lambda: enumerated(log_q, values[:1])),
        (ValueError, "values", lambda: enumerated(log_q, values + INF)),
        (TypeError, "values", lambda: enumerated(log_q, values.float())),
        (ValueError, "counts", lambda: sampled(log_q, values, counts[:2])),
        (ValueError, "counts", lambda: sampled(log_q, values, counts + 4)),
        (ValueError, "counts", lambda: sampled(log_q, values, counts - 1)),
        (TypeError, "counts", lambda: sampled(log_q, values, counts.double())),
        (ValueError, "baseline", lambda: sampled(log_q, values, counts, torch.zeros(3))),
        (ValueError, "baseline", lambda: sampled(log_q, values, counts, NAN)),
        (TypeError, "baseline", lambda: sampled(log_q, values, counts, "0")),
        (ValueError, "values", lambda: score_gradients(logits, values[:, 1:])),
        (ValueError, "baseline", lambda: gradient_variance(logits, values, torch.zeros(3))),
        (ValueError, "values", lambda: best_baseline(logits, values * NAN)),
        (TypeError, "x", lambda: without_value(1.0)),
    ]:
        with refuses(error, argument):
            call()


@pytest.mark.parametrize("sure", [1e4, -1e4], ids=str)
def test_a_count_that_is_certain_needs_no_baseline(sure):
    logits, values = torch.full((2,), sure, dtype=F64), random(3)
    assert float(best_baseline(logits, values)) == 0
    assert float(gradient_variance(logits, values, best_baseline(logits, values))) == 0
