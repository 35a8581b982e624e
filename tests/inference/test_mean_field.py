"""Mean field: the bound by enumeration, the exact account of a step, the threshold and below it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from gdl.inference.fields import PairwiseField, doubled
from gdl.inference.kernels import spatial_kernel
from gdl.inference.updates import descent_threshold, mean_field, step_descent
from tests.inference.test_fields import random_beliefs, random_coupling, random_field
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN = float("nan")
SEEDS = pytest.mark.parametrize("seed", range(5))
DAMPINGS = pytest.mark.parametrize("damping", [0.0, 0.2, 0.5, 0.9])


def grid(side: int) -> Tensor:
    """Which pixels of a square picture are neighbours."""
    places = list(itertools.product(range(side), repeat=2))
    near = [[float(abs(a - c) + abs(b - d) == 1) for c, d in places] for a, b in places]
    return torch.tensor(near, dtype=F64)


def without_evidence(coupling: Tensor, labels: int = 2) -> PairwiseField:
    return PairwiseField(
        torch.zeros(len(coupling), labels, dtype=F64), coupling, torch.eye(labels, dtype=F64)
    )


def with_least_eigenvalue(least: float, seed: int, labels: int = 3) -> PairwiseField:
    """A random field, scaled so that the least eigenvalue of W on differences is this."""
    field = random_field(6, labels, seed=seed)
    factor = least / float(field.zero_sum_spectrum()[0])
    return PairwiseField(field.unary, factor * field.coupling, field.compatibility)


# --- the steps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["parallel", "damped", "sequential"])
def test_steps_by_loops(order):
    field = random_field(4, 3)
    u, K, M = field.unary, field.coupling, field.compatibility
    Q = u.softmax(-1)
    for _ in range(3):
        old = Q.clone()
        for i in range(4):
            heard = (Q if order == "sequential" else old).clone()
            logits = torch.stack(
                [
                    u[i, a] + sum(K[i, j] * (M[a] * heard[j]).sum() for j in range(4))
                    for a in (0, 1, 2)
                ]
            )
            Q[i] = logits.exp() / logits.exp().sum()
        if order == "damped":
            Q = 0.3 * old + 0.7 * Q
    found = mean_field(field, 3, order=order, damping=0.3, path=True)
    assert gap(found.marginals, Q) < 1e-12
    assert found.path.shape == (4, 4, 3) and torch.equal(found.path[-1], found.marginals)
    assert gap(found.free_energies, field.free_energy(found.path)) < 1e-12


@both_dtypes
@pytest.mark.parametrize("order", ["parallel", "damped", "sequential"])
def test_batches_and_dtypes(order, dtype):
    field = random_field(4, 3, batch=(2,))
    field = PairwiseField(
        *(x.to(dtype) for x in (field.unary, field.coupling, field.compatibility))
    )
    one = PairwiseField(field.unary[1], field.coupling[1], field.compatibility)
    start = random_beliefs(2, 4, 3).to(dtype)
    found = mean_field(field, 4, order=order, start=start)
    assert found.marginals.dtype == dtype and found.free_energies.shape == (5, 2)
    assert found.path is None
    assert gap(found.marginals[1], mean_field(one, 4, order=order, start=start[1]).marginals) < 1e-5


def test_without_coupling_a_step_is_exact():
    field = random_field(4, 3, strength=0.0)
    found = mean_field(field, 1, start=random_beliefs(4, 3))
    assert gap(found.marginals, field.enumerate().marginals) < 1e-12
    assert mean_field(field, 0).free_energies.shape == (1,)


@SEEDS
def test_between_enumeration_and_the_unary(seed):
    """Never below -log Z; and weak couplings bring the marginals nearer than evidence alone."""
    field = random_field(6, 3, strength=0.3, seed=seed)
    exact = field.enumerate()
    found = mean_field(field, 50, order="sequential")
    assert bool((found.free_energies > -exact.log_partition - 1e-12).all())
    error = (found.marginals - exact.marginals).norm()
    assert error < 0.5 * (field.unary.softmax(-1) - exact.marginals).norm()


@SEEDS
@pytest.mark.parametrize("strength", [1.0, 10.0], ids=str)
def test_sequential_sweeps_never_rise(seed, strength):
    field = random_field(6, 3, strength=strength, seed=seed)
    energies = mean_field(field, 20, order="sequential").free_energies
    assert energies.diff().max() < 1e-12 * strength


def test_points_may_be_renumbered_in_parallel_steps_only():
    field = random_field(5, 3, strength=2.0)
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = PairwiseField(field.unary[order], field.coupling[order][:, order], field.compatibility)

    def difference(how: str) -> float:
        here, there = (mean_field(f, 2, order=how).marginals for f in (field, moved))
        return gap(here[order], there)

    assert difference("parallel") < 1e-12 and difference("damped") < 1e-12
    assert difference("sequential") > 1e-3


@pytest.mark.parametrize("order", ["parallel", "damped", "sequential"])
def test_gradients_by_differences(order):
    field = random_field(3, 2)

    def beliefs(u, K, M):
        zero = 1 - torch.eye(3, dtype=F64)
        return mean_field(PairwiseField(u, (K + K.T) * zero, M + M.T), 3, order=order).marginals

    given = (field.unary, field.coupling, field.compatibility)
    assert torch.autograd.gradcheck(beliefs, tuple(x.clone().requires_grad_() for x in given))


def test_extreme_evidence():
    field = PairwiseField(torch.tensor([[1e5, -1e5]] * 3), torch.zeros(3, 3), torch.eye(2))
    found = mean_field(field, 3, order="damped")
    assert torch.equal(found.marginals[:, 0], torch.ones(3))
    assert bool(torch.isfinite(found.free_energies).all())


def test_a_certain_start():
    field, start = random_field(2, 2), torch.eye(2, dtype=F64)
    wanted = 0.5 * start + 0.5 * mean_field(field, 1, start=start).marginals
    assert gap(mean_field(field, 1, order="damped", start=start).marginals, wanted) < 1e-15


@pytest.mark.parametrize("order", ["parallel", "damped", "sequential"])
def test_the_gradient_of_a_start_with_zeros(order):
    field, start = random_field(3, 2), torch.eye(2, dtype=F64)[[0, 1, 1]]
    Q = start.clone().requires_grad_()
    found = mean_field(field, 1, order=order, damping=0.3, start=Q)
    weights = random_beliefs(3, 2)
    u, K, M = field.unary, field.coupling, field.compatibility
    new = start.clone().requires_grad_()
    if order == "sequential":
        rows = list(new)
        for i in range(3):
            rows[i] = (u[i] + (K[i] @ torch.stack(rows)) @ M).softmax(-1)
        wanted = torch.stack(rows)
    else:
        wanted = (u + K @ new @ M).softmax(-1)
        wanted = 0.3 * new + 0.7 * wanted if order == "damped" else wanted
    expected = torch.autograd.grad((weights * wanted).sum(), new)[0]
    assert expected.abs().max() > 1e-3
    assert gap(torch.autograd.grad((weights * found.marginals).sum(), Q)[0], expected) < 1e-12
    last = mean_field(field, 2, order=order, damping=0.3, start=Q).free_energies[-1]
    assert torch.autograd.grad(last, Q)[0].isfinite().all()


# --- the account of a step ------------------------------------------------------------------------


@SEEDS
@DAMPINGS
def test_the_identity(seed, damping):
    field, Q = random_field(5, 3, strength=3.0, seed=seed), random_beliefs(5, 3, seed=seed)
    terms = step_descent(field, Q, damping)
    new = mean_field(field, 1, start=Q).marginals
    R = damping * Q + (1 - damping) * new
    fall = field.free_energy(Q) - field.free_energy(R)
    assert abs(terms.total() - fall) < 1e-12 * (1 + abs(fall))
    assert abs(terms.divergence + terms.mixing - fall) > 1e-3
    moved = (new - Q).square().sum()
    assert terms.divergence >= (1 - damping) * moved
    assert terms.mixing >= damping * (1 - damping) * moved


def test_the_terms_batch():
    field, Q = random_field(5, 3, batch=(2,)), random_beliefs(2, 5, 3)
    one = PairwiseField(field.unary[1], field.coupling[1], field.compatibility)
    assert gap(step_descent(field, Q).total()[1], step_descent(one, Q[1]).total()) < 1e-12


@pytest.mark.parametrize("labels", [2, 3, 6])
def test_zero_sums_bound_the_norm(labels):
    """The step of the proof from Pinsker's l1 norm to l2."""
    D = random(1000, labels)
    D = D - D.mean(1, keepdim=True)
    assert bool((D.abs().sum(1).square() >= 2 * D.square().sum(1) - 1e-12).all())
    pair = torch.tensor([1.0, -1.0])
    assert pair.abs().sum().square() == 2 * pair.square().sum()


# --- the threshold --------------------------------------------------------------------------------


@SEEDS
@DAMPINGS
def test_above_the_threshold_no_step_rises(seed, damping):
    field = with_least_eigenvalue(descent_threshold(damping), seed)
    for start in (
        None,
        random_beliefs(6, 3, seed=seed),
        random(6, 3, seed=seed).mul(9).softmax(-1),
    ):
        energies = mean_field(field, 60, order="damped", damping=damping, start=start).free_energies
        assert energies.diff().max() < 1e-12 * (1 + energies.abs().max())


@SEEDS
@DAMPINGS
def test_below_the_threshold_some_step_rises(seed, damping):
    """Two labels without evidence, near their symmetric state, along the least eigenvector."""
    K = random_coupling(6, seed=seed)
    values, vectors = torch.linalg.eigh(K)
    push = 1e-4 * vectors[:, :1] * torch.tensor([1.0, -1.0], dtype=F64)

    def rises(least: float) -> bool:
        return bool(
            step_descent(without_evidence(K * least / values[0]), 0.5 + push, damping).total() < 0
        )

    high, low = 0.0, 3 * descent_threshold(damping)
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) else (low, middle)
    assert abs(high - descent_threshold(damping)) < 1e-5 * abs(descent_threshold(damping))


def leaves(least: float, labels: int, damping: float) -> bool:
    """Whether the symmetric state is left, where everyone wants to be unlike everyone."""
    everyone = torch.ones(6, 6, dtype=F64) - torch.eye(6, dtype=F64)
    field = without_evidence(least / 5 * everyone, labels)
    push = 1e-9 * random(6, labels)
    start = 1 / labels + push - push.mean(-1, keepdim=True)
    how = {"order": "damped", "damping": damping}
    last = mean_field(field, 300, start=start, **how).marginals
    return bool((last - 1 / labels).norm() > (start - 1 / labels).norm())


@pytest.mark.parametrize(("labels", "damping"), [(2, 0.0), (2, 0.5), (3, 0.0), (4, 0.0)])
def test_where_the_symmetric_state_becomes_unstable(labels, damping):
    """At -L (1 + d) / (1 - d), which for two labels is the threshold of the theorem."""
    wanted = -labels * (1 + damping) / (1 - damping)
    assert leaves(1.03 * wanted, labels, damping) and not leaves(0.97 * wanted, labels, damping)
    assert (wanted == descent_threshold(damping)) == (labels == 2)


def test_ruled_out_labels_bring_the_threshold_of_two_back():
    """So that no constant below -2 would do for more labels."""
    K = -2.02 / 2 * grid(2)
    push = 1e-3 * torch.tensor([1.0, -1.0, 0.0], dtype=F64)
    for third, falls in ((0.0, True), (-30.0, False)):
        u = torch.tensor([0.0, 0.0, third], dtype=F64).expand(4, 3)
        field = PairwiseField(u, K, torch.eye(3, dtype=F64))
        assert (step_descent(field, u.softmax(-1) + push).total() > 0) == falls


def test_kernels_with_their_diagonal_never_rise():
    """With a positive W the step is majorise-minimise: the linear part of F is below F."""
    K = 40 * (spatial_kernel(3, 3, 1.0, dtype=F64) + torch.eye(9, dtype=F64))
    u = random(9, 3)

    def free_energy(Q):
        return float(-(Q * (u + K @ Q / 2)).sum() - torch.special.entr(Q).sum())

    Q = random_beliefs(9, 3)
    for _ in range(20):
        new = (u + K @ Q).softmax(-1)
        assert free_energy(new) <= free_energy(Q) + 1e-9
        Q = new


# --- period two -----------------------------------------------------------------------------------


def test_a_repulsive_grid_oscillates_with_period_two():
    u = torch.tensor([0.5, 0.0], dtype=F64).expand(9, 2)
    field = PairwiseField(u, -3 * grid(3), torch.eye(2, dtype=F64))
    Q = mean_field(field, 200, path=True).path
    assert gap(Q[-1], Q[-3]) < 1e-12 and gap(Q[-1], Q[-2]) > 0.5
    energies = mean_field(field, 20).free_energies
    assert energies.diff().max() > 5
    best = -field.enumerate().log_partition
    sweeps = mean_field(field, 50, order="sequential").free_energies[-1]
    assert best < sweeps < best + 2 < energies[-1]
    damped = mean_field(field, 200, order="damped", damping=0.9).free_energies
    assert damped.diff().max() < 1e-12 and damped[-1] < best + 2


@SEEDS
def test_parallel_steps_are_sweeps_of_the_doubled_field(seed):
    field = random_field(5, 3, strength=4.0, seed=seed)
    twice = doubled(field)
    Q = mean_field(field, 12, path=True).path
    sweeps = mean_field(twice, 6, order="sequential", path=True)
    for t in range(1, 7):
        assert gap(sweeps.path[t], torch.cat([Q[2 * t - 1], Q[2 * t]])) < 1e-12
    assert sweeps.free_energies.diff().max() < 1e-10


@SEEDS
def test_the_last_beliefs_have_period_two(seed):
    field = random_field(5, 3, strength=6.0, seed=seed)
    Q = mean_field(field, 500, path=True).path
    assert gap(Q[-1], Q[-3]) < 1e-6


# --- small and large couplings --------------------------------------------------------------------


@SEEDS
def test_weak_couplings_contract(seed):
    """Below 2 in norm the step halves distances times the norm, and so has one fixed point."""
    field = random_field(5, 3, seed=seed)
    norm = float(field.zero_sum_spectrum().abs().max())
    field = PairwiseField(field.unary, 1.8 / norm * field.coupling, field.compatibility)
    P, Q = (random(5, 3, seed=s).mul(3).softmax(-1) for s in (seed, seed + 50))
    p, q = (mean_field(field, 1, start=x).marginals for x in (P, Q))
    assert (p - q).norm() <= 0.9 * (P - Q).norm() + 1e-15
    p, q = (mean_field(field, 400, start=x).marginals for x in (P, Q))
    assert gap(p, q) < 1e-12


def test_the_pitchfork_of_two_labels():
    """On a complete graph q = (1 + m) / 2 with m = tanh(strength (n - 1) m / 2)."""
    n = 6
    K = torch.ones(n, n, dtype=F64) - torch.eye(n, dtype=F64)
    start = torch.tensor([0.9, 0.1], dtype=F64).expand(n, 2)
    for strength in (0.3, 0.36, 0.44, 1.0):
        m = 1.0
        for _ in range(400):
            m = math.tanh(strength * (n - 1) * m / 2)
        found = mean_field(without_evidence(strength * K), 400, start=start).marginals
        assert abs(found[0, 0] - (1 + m) / 2) < 1e-8
        # The largest eigenvalue of W is strength (n - 1), and 2 is where the symmetry breaks.
        assert (m > 0.1) == (strength * (n - 1) > 2)


def test_the_threshold_by_hand():
    assert descent_threshold() == -2 and descent_threshold(0.5) == -6


# --- bad input ------------------------------------------------------------------------------------

FIELD = random_field(3, 2)
Q0 = random_beliefs(3, 2)


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (TypeError, "field", lambda: mean_field(Q0, 3)),
        (TypeError, "steps", lambda: mean_field(FIELD, 2.0)),
        (TypeError, "steps", lambda: mean_field(FIELD, True)),
        (ValueError, "steps", lambda: mean_field(FIELD, -1)),
        (ValueError, "order", lambda: mean_field(FIELD, 1, order="random")),
        (ValueError, "damping", lambda: mean_field(FIELD, 1, order="damped", damping=1.0)),
        (ValueError, "damping", lambda: mean_field(FIELD, 1, damping=NAN)),
        (TypeError, "start", lambda: mean_field(FIELD, 1, start=Q0.float())),
        (TypeError, "start", lambda: mean_field(FIELD, 1, start=Q0.tolist())),
        (ValueError, "start", lambda: mean_field(FIELD, 1, start=Q0[:2])),
        (ValueError, "start", lambda: mean_field(FIELD, 1, start=2 * Q0)),
        (ValueError, "start", lambda: mean_field(FIELD, 1, start=Q0 * NAN)),
        (TypeError, "field", lambda: step_descent(Q0, Q0)),
        (TypeError, "beliefs", lambda: step_descent(FIELD, Q0.float())),
        (ValueError, "beliefs", lambda: step_descent(FIELD, Q0[:, :1])),
        (ValueError, "beliefs", lambda: step_descent(FIELD, torch.eye(2, dtype=F64)[[0, 1, 1]])),
        (ValueError, "damping", lambda: step_descent(FIELD, Q0, -0.1)),
        (ValueError, "damping", lambda: descent_threshold(1.0)),
        (TypeError, "damping", lambda: descent_threshold("0")),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refuses(error, argument, call):
    with refuses(error, argument):
        call()
