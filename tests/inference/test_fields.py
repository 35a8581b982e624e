"""Pairwise fields: scores by loops, sums by loops over all labellings, symmetry of the labels."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from gdl import representations as reps
from gdl.equivariance import equivariant_basis, span_residual
from gdl.inference.fields import PairwiseField, doubled
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN = float("nan")


def random_coupling(n: int, *, batch: tuple[int, ...] = (), seed: int = 0) -> Tensor:
    K = random(*batch, n, n, seed=seed)
    return (K + K.mT) * (1 - torch.eye(n, dtype=F64)) / 2


def random_field(
    n: int, labels: int, *, strength: float = 1.0, batch: tuple[int, ...] = (), seed: int = 0
) -> PairwiseField:
    M = random(labels, labels, seed=seed + 1)
    u = random(*batch, n, labels, seed=seed + 2)
    K = strength * random_coupling(n, batch=batch, seed=seed)
    return PairwiseField(u, K, (M + M.T) / 2)


def random_beliefs(*shape: int, seed: int = 5) -> Tensor:
    return random(*shape, seed=seed).softmax(-1)


def by_loops(field: PairwiseField) -> dict[tuple[int, ...], float]:
    """The score of every labelling, by the formula."""
    u, K, M = (x.tolist() for x in (field.unary, field.coupling, field.compatibility))
    points = range(field.points)
    scores = {}
    for x in itertools.product(range(field.labels), repeat=field.points):
        pairs = sum(K[i][j] * M[x[i]][x[j]] for i in points for j in points if i < j)
        scores[x] = sum(u[i][x[i]] for i in points) + pairs
    return scores


# --- sums -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "labels"), [(1, 3), (4, 2), (5, 3)])
def test_scores_and_sums_by_loops(n, labels):
    field = random_field(n, labels)
    scores = by_loops(field)
    x = torch.tensor(list(scores))
    assert gap(field.score(x), torch.tensor(list(scores.values()), dtype=F64)) < 1e-12
    exact = field.enumerate()
    total = sum(map(math.exp, scores.values()))
    assert abs(exact.log_partition - math.log(total)) < 1e-12
    for i, label in itertools.product(range(n), range(labels)):
        share = sum(math.exp(s) for x, s in scores.items() if x[i] == label) / total
        assert abs(exact.marginals[i, label] - share) < 1e-12
    assert tuple(exact.best.tolist()) == max(scores, key=scores.get)


def test_several_chunks(monkeypatch):
    field = random_field(6, 3)
    whole = field.enumerate()
    monkeypatch.setattr("gdl.inference.fields.CHUNK", 100)
    parts = field.enumerate()
    assert abs(parts.log_partition - whole.log_partition) < 1e-12
    assert gap(parts.marginals, whole.marginals) < 1e-12
    assert torch.equal(parts.best, whole.best)


def test_marginals_are_the_gradient_of_the_log_partition():
    field = random_field(5, 3)
    u = field.unary.clone().requires_grad_()
    moving = PairwiseField(u, field.coupling, field.compatibility)
    (gradient,) = torch.autograd.grad(moving.enumerate().log_partition, u)
    assert gap(gradient, field.enumerate().marginals) < 1e-12


def test_large_scores_do_not_overflow():
    field = PairwiseField(torch.tensor([[5000.0, 0.0]] * 3), torch.zeros(3, 3), torch.eye(2))
    exact = field.enumerate()
    assert exact.log_partition == 15000 and torch.equal(exact.marginals[:, 0], torch.ones(3))


def test_points_may_be_renumbered_and_labels_renamed():
    field = random_field(5, 3)
    points, labels = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([2, 0, 1])
    moved = PairwiseField(
        field.unary[points][:, labels],
        field.coupling[points][:, points],
        field.compatibility[labels][:, labels],
    )
    exact, there = field.enumerate(), moved.enumerate()
    assert abs(exact.log_partition - there.log_partition) < 1e-12
    assert gap(exact.marginals[points][:, labels], there.marginals) < 1e-12
    careless = PairwiseField(moved.unary, field.coupling, moved.compatibility)
    assert abs(exact.log_partition - careless.enumerate().log_partition) > 1e-3


# --- free energy ----------------------------------------------------------------------------------


def test_free_energy_is_divergence_from_the_field():
    field, Q = random_field(4, 3), random_beliefs(4, 3)
    log_z = field.enumerate().log_partition
    divergence = 0.0
    for x, score in by_loops(field).items():
        q = math.prod(Q[i, label].item() for i, label in enumerate(x))
        divergence += q * (math.log(q) - score + log_z.item())
    assert abs(field.free_energy(Q) + log_z - divergence) < 1e-12 and divergence > 0


def test_without_coupling_the_bound_is_reached():
    field = random_field(4, 3, strength=0.0)
    exact = field.enumerate()
    assert gap(exact.marginals, field.unary.softmax(-1)) < 1e-12
    assert abs(field.free_energy(exact.marginals) + exact.log_partition) < 1e-12
    assert field.free_energy(random_beliefs(4, 3)) + exact.log_partition > 0.1


def test_certain_beliefs_have_no_entropy():
    field, x = random_field(4, 3), torch.tensor([0, 2, 1, 1])
    Q = torch.eye(3, dtype=F64)[x]
    assert abs(field.free_energy(Q) + field.score(x)) < 1e-12


@both_dtypes
def test_batches(dtype):
    field = random_field(4, 3, batch=(2,))
    parts = (x.to(dtype) for x in (field.unary, field.coupling, field.compatibility))
    field = PairwiseField(*parts)
    Q = random_beliefs(2, 4, 3).to(dtype)
    one = PairwiseField(field.unary[1], field.coupling[1], field.compatibility)
    assert field.free_energy(Q).shape == (2,)
    assert gap(field.free_energy(Q)[1], one.free_energy(Q[1])) < 1e-5
    assert gap(field.couple(Q)[1], one.couple(Q[1])) < 1e-5
    assert field.zero_sum_spectrum().shape == (2, 8)


# --- the map W ------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [2, 3, 5])
def test_spectrum_on_differences(labels):
    """By the matrix K (x) M between projections."""
    field = random_field(4, labels)
    centre = torch.eye(labels, dtype=F64) - 1 / labels
    whole = torch.kron(field.coupling, centre @ field.compatibility @ centre)
    found = torch.linalg.eigvalsh(whole)
    # The projection leaves out the vectors that are constant over labels: n zeros.
    nonzero = found[found.abs().argsort()][4:].sort().values
    assert gap(field.zero_sum_spectrum(), nonzero) < 1e-10


def test_doubled():
    field = random_field(3, 2)
    twice = doubled(field)
    Q = random_beliefs(3, 2)
    K = torch.linalg.eigvalsh(field.coupling)
    assert gap(torch.linalg.eigvalsh(twice.coupling), torch.cat([K, -K]).sort().values) < 1e-12
    assert abs(twice.mean_score(torch.cat([Q, Q])) - 2 * field.mean_score(Q)) < 1e-12
    assert doubled(random_field(3, 2, batch=(4,))).coupling.shape == (4, 6, 6)


@pytest.mark.parametrize("labels", [2, 3, 4])
def test_label_symmetric_fields_are_potts(labels):
    """Compatibilities that commute with all renamings: the identity, and one that nobody sees."""
    everyone = reps.symmetric(labels).defining
    basis = equivariant_basis(everyone, everyone)
    assert len(basis) == 2
    one = torch.eye(labels, dtype=F64)
    allowed = torch.stack([one, torch.ones(labels, labels, dtype=F64)])
    assert span_residual(allowed, basis.dense()) < 1e-12
    field = random_field(4, labels)
    potts = PairwiseField(field.unary, field.coupling, one)
    shifted = PairwiseField(field.unary, field.coupling, one + 0.7)
    assert gap(potts.enumerate().marginals, shifted.enumerate().marginals) < 1e-12
    assert gap(potts.enumerate().marginals, field.enumerate().marginals) > 1e-3


# --- bad input ------------------------------------------------------------------------------------

U, K2, ONE = torch.zeros(2, 3), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.eye(3)
BATCH = random_field(2, 2, batch=(3,))
FIELD = PairwiseField(U, K2, ONE)


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (TypeError, "unary", lambda: PairwiseField([[0.0]], K2, ONE)),
        (TypeError, "unary", lambda: PairwiseField(U.long(), K2, ONE)),
        (ValueError, "unary", lambda: PairwiseField(torch.zeros(3), K2, ONE)),
        (ValueError, "unary", lambda: PairwiseField(torch.full((2, 3), NAN), K2, ONE)),
        (ValueError, "unary", lambda: PairwiseField(torch.zeros(0, 3), torch.zeros(0, 0), ONE)),
        (ValueError, "coupling", lambda: PairwiseField(U, torch.zeros(3, 3), ONE)),
        (ValueError, "coupling", lambda: PairwiseField(U, torch.zeros(4, 2, 2), ONE)),
        (ValueError, "coupling", lambda: PairwiseField(U, torch.eye(2), ONE)),
        (ValueError, "coupling", lambda: PairwiseField(U, K2.triu(), ONE)),
        (TypeError, "coupling", lambda: PairwiseField(U, K2.double(), ONE)),
        (ValueError, "compatibility", lambda: PairwiseField(U, K2, torch.eye(2))),
        (ValueError, "compatibility", lambda: PairwiseField(U, K2, torch.ones(3, 3).triu())),
        (ValueError, "compatibility", lambda: PairwiseField(U, K2, torch.zeros(1, 3, 3))),
        (TypeError, "labels", lambda: FIELD.score(torch.zeros(2))),
        (TypeError, "labels", lambda: FIELD.score([0, 1])),
        (ValueError, "labels", lambda: FIELD.score(torch.tensor([0, 3]))),
        (ValueError, "labels", lambda: FIELD.score(torch.tensor([0, -1]))),
        (ValueError, "labels", lambda: FIELD.score(torch.tensor([0, 1, 2]))),
        (ValueError, "beliefs", lambda: FIELD.free_energy(torch.ones(2, 3))),
        (ValueError, "beliefs", lambda: FIELD.free_energy(torch.tensor([[2.0, -1.0, 0.0]] * 2))),
        (ValueError, "beliefs", lambda: FIELD.free_energy(torch.ones(3, 2) / 2)),
        (TypeError, "beliefs", lambda: FIELD.free_energy(torch.ones(2, 3).double() / 3)),
        (ValueError, "beliefs", lambda: BATCH.free_energy(torch.ones(4, 2, 2, dtype=F64) / 2)),
        (ValueError, "beliefs", lambda: BATCH.free_energy(torch.ones(2, 2, dtype=F64) / 2)),
        (ValueError, "unary", lambda: random_field(30, 2).enumerate()),
        (ValueError, "unary", lambda: PairwiseField(U + 3e38, K2, ONE).enumerate()),
        (ValueError, "unary", lambda: random_field(2, 2, batch=(3,)).enumerate()),
        (ValueError, "unary", lambda: random_field(2, 1).zero_sum_spectrum()),
        (TypeError, "field", lambda: doubled(U)),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refuses(error, argument, call):
    with refuses(error, argument):
        call()
