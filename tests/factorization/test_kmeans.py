"""k-means: Lloyd's step is a gradient step, soft or hard; scikit-learn and searches as oracles."""

from __future__ import annotations

import functools
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from gdl import data
from gdl.factorization.kmeans import (
    annealed_lloyd,
    clustering_accuracy,
    critical_temperature,
    free_energy,
    inertia,
    kmeans_plus_plus,
    lloyd,
    lloyd_step,
    soft_lloyd,
    soft_step,
    squared_distances,
)
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN, INF = float("nan"), float("inf")


def blobs(n: int = 60, d: int = 3, k: int = 4, seed: int = 0, dtype: torch.dtype = F64) -> tuple:
    """Points around k centres, and a poor start, whose centres are all around one of them."""
    centres = 3 * random(k, d, seed=seed + 100)
    points = centres[torch.arange(n) % k] + random(n, d, seed=seed)
    return points.to(dtype), points[: k * k : k].clone().to(dtype)


@functools.cache
def pixels() -> Tensor:
    return data.digits("all")[0].flatten(1).double()


def by_sklearn(points: Tensor, start: Tensor, steps: int = 300):
    from sklearn.cluster import KMeans

    model = KMeans(
        len(start), init=start.numpy(), n_init=1, tol=0, algorithm="lloyd", max_iter=steps
    )
    with warnings.catch_warnings():
        # It warns of clusters without points, which are what is compared.
        warnings.simplefilter("ignore")
        return model.fit(points.numpy())


def gradient(objective, points: Tensor, centres: Tensor, *given) -> Tensor:
    leaf = centres.clone().requires_grad_()
    return torch.autograd.grad(objective(points, leaf, *given), leaf)[0]


# --- distances and inertia ------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (7,), (2, 3)], ids=str)
def test_squared_distances_entry_by_entry(batch):
    x, w = random(*batch, 3), random(4, 3, seed=1)
    for offset in (0.0, 1e6):
        found = squared_distances(x + offset, w + offset)
        wanted = ((x + offset)[..., None, :] - (w + offset)).square().sum(-1)
        assert gap(found, wanted) < 1e-12
    assert squared_distances(w, w).diagonal().min() >= 0


def test_inertia_is_the_least_over_all_labels():
    x, w = random(4, 3), random(3, 3, seed=1)
    every = itertools.product(range(3), repeat=4)
    least = min(float((x - w[list(labels)]).square().sum()) for labels in every)
    assert float(inertia(x, w)) == pytest.approx(least, rel=1e-12)


# --- Lloyd ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lloyds_step_is_a_gradient_step(seed):
    x, w = blobs(seed=seed)
    moved, labels = lloyd_step(x, w)
    counts = labels.bincount(minlength=len(w))[:, None]
    assert int(counts.min()) > 0
    means = torch.stack([x[labels == j].mean(0) for j in range(len(w))])
    slope = gradient(inertia, x, w)
    assert gap(slope, 2 * counts * (w - means)) < 1e-10
    assert gap(moved, w - slope / (2 * counts)) < 1e-12
    assert gap(moved, means) < 1e-12


def test_the_gradient_by_differences():
    x, w = blobs(12, k=2)
    assert torch.autograd.gradcheck(lambda v: inertia(x, v), (w.clone().requires_grad_(),))
    assert torch.autograd.gradcheck(lambda v: free_energy(x, v, 2.0), (w.requires_grad_(),))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lloyd_is_scikit_learns(seed):
    x = pixels()
    start = x.mean(0) + 0.1 * random(10, 64, seed=seed)
    found, wanted = lloyd(x, start), by_sklearn(x, start)
    assert np.abs(found.centres.numpy() - wanted.cluster_centers_).max() < 1e-12
    assert (found.labels.numpy() == wanted.labels_).all()
    assert found.inertia == pytest.approx(wanted.inertia_, rel=1e-12)
    assert found.converged and found.steps == wanted.n_iter_ > 10


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_cut_short_it_is_scikit_learns(steps):
    x, w = blobs(300, seed=3)
    found, wanted = lloyd(x, w, most_steps=steps), by_sklearn(x, w, steps)
    assert np.abs(found.centres.numpy() - wanted.cluster_centers_).max() < 1e-12
    assert (found.labels.numpy() == wanted.labels_).all()
    assert not found.converged and found.steps == steps


def test_the_inertia_never_rises():
    for seed in range(5):
        x, w = blobs(seed=seed)
        w[3] += 100.0
        before = float(inertia(x, w))
        for _ in range(10):
            w, labels = lloyd_step(x, w)
            after = float(inertia(x, w))
            assert after <= float((x - w[labels]).square().sum()) + 1e-10 <= before + 2e-10
            before = after


def test_a_fixed_point_stays():
    x, w = blobs()
    found = lloyd(x, w)
    again = lloyd(x, found.centres)
    assert again.steps == 2 and gap(again.centres, found.centres) < 1e-12
    assert torch.equal(found.labels, squared_distances(x, found.centres).argmin(1))


# --- empty clusters -------------------------------------------------------------------------------


def test_an_empty_cluster_takes_the_farthest_point():
    x, w = blobs()
    w[2] += 1e3
    farthest = int(squared_distances(x, w).amin(1).argmax())
    moved, labels = lloyd_step(x, w)
    assert labels[farthest] == 2 and int((labels == 2).sum()) == 1
    assert gap(moved[2], x[farthest]) < 1e-12
    wanted = by_sklearn(x, w, 1)
    assert np.abs(moved.numpy() - wanted.cluster_centers_).max() < 1e-12


def test_two_empty_clusters():
    """Scikit-learn gives the same points, in an order of its own."""
    x, w = blobs()
    w[1:3] += 1e3
    moved, labels = lloyd_step(x, w)
    assert labels.bincount(minlength=4).min() == 1
    wanted = torch.from_numpy(by_sklearn(x, w, 1).cluster_centers_)
    order = torch.cdist(moved, wanted).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    assert gap(moved, wanted[order]) < 1e-12


def test_no_cluster_is_emptied_for_another():
    """The farthest point is alone, so that the next one goes."""
    x = torch.tensor([[0.0], [1.0], [3.0], [100.0]], dtype=F64)
    w = torch.tensor([[0.0], [90.0], [1e4]], dtype=F64)
    moved, labels = lloyd_step(x, w)
    assert labels.tolist() == [0, 0, 2, 1]
    assert moved.flatten().tolist() == [0.5, 100.0, 3.0]


def test_one_cluster_fills_two_empty_ones():
    """Of its three points one stays; a cluster of two gives one."""
    x = torch.tensor([[0.0], [1.0], [3.0]], dtype=F64)
    moved, labels = lloyd_step(x, torch.tensor([[0.0], [1e4], [2e4]], dtype=F64))
    assert labels.tolist() == [0, 2, 1] and moved.flatten().tolist() == [0.0, 3.0, 1.0]


def test_more_clusters_than_different_points():
    x = torch.tensor([[1.0], [1.0], [1.0], [2.0]], dtype=F64)
    w = torch.tensor([[1.0], [2.0], [7.0]], dtype=F64)
    found = lloyd(x, w)
    assert found.inertia == 0 and found.converged and found.centres.flatten().tolist() == [1, 2, 7]
    thirds = torch.tensor([[0.1], [0.1], [0.1], [1 / 3], [1 / 3], [1 / 3]], dtype=F64)
    moved, labels = lloyd_step(thirds, torch.tensor([[0.1], [0.33], [7.0]], dtype=F64))
    moved, labels = lloyd_step(thirds, torch.cat([moved[:2].roll(1), moved[2:] + 50]))
    assert labels.tolist() == [1, 1, 1, 0, 0, 0] and float(inertia(thirds, moved)) < 1e-28
    same = torch.ones(3, 2, dtype=F64)
    assert lloyd(same, kmeans_plus_plus(same, 3, 0)).inertia == 0
    assert annealed_lloyd(same, same).inertia == 0


def test_as_many_clusters_as_points():
    x, _ = blobs(6)
    found = lloyd(x, x.flip(0))
    assert found.inertia < 1e-28 and found.labels.tolist() == [5, 4, 3, 2, 1, 0]
    assert float(lloyd(x[:1], x[1:2]).inertia) == 0


# --- soft -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.3, 3.0, 30.0])
def test_the_soft_step_is_a_gradient_step(temperature):
    x, w = blobs()
    p = (-squared_distances(x, w) / temperature).softmax(-1)
    total = p.sum(0)[:, None]
    means = torch.stack([(p[:, j, None] * x).sum(0) / p[:, j].sum() for j in range(len(w))])
    slope = gradient(free_energy, x, w, temperature)
    assert gap(slope, 2 * total * (w - means)) < 1e-10
    assert gap(soft_step(x, w, temperature), w - slope / (2 * total)) < 1e-12


@pytest.mark.parametrize("temperature", [0.3, 3.0, 30.0])
def test_the_free_energy_never_rises(temperature):
    x, w = blobs()
    for _ in range(20):
        moved = soft_step(x, w, temperature)
        assert free_energy(x, moved, temperature) <= free_energy(x, w, temperature) + 1e-10
        w = moved


def test_the_free_energy_lies_below_the_inertia():
    x, w = blobs()
    hard, last = float(inertia(x, w)), -INF
    for temperature in (30.0, 10.0, 3.0, 1.0, 0.1, 1e-3):
        soft = float(free_energy(x, w, temperature))
        assert last < soft <= hard + 1e-10
        assert soft >= hard - temperature * len(x) * math.log(len(w)) - 1e-10
        last = soft
    assert hard - last < 1e-5


def test_cold_it_is_lloyds():
    x, w = blobs()
    assert gap(soft_step(x, w, 1e-6), lloyd_step(x, w)[0]) < 1e-10
    cold, hard = soft_lloyd(x, w, 1e-6), lloyd(x, w)
    assert gap(cold.centres, hard.centres) < 1e-10 and torch.equal(cold.labels, hard.labels)
    assert cold.inertia == pytest.approx(hard.inertia, rel=1e-12)


def test_at_rest_the_gradient_vanishes():
    x, w = blobs()
    found = soft_lloyd(x, w, 2.0, most_steps=2000)
    assert found.converged and found.steps > 5
    assert gradient(free_energy, x, found.centres, 2.0).abs().max() < 1e-8
    assert not soft_lloyd(x, w, 2.0, most_steps=3).converged


@both_dtypes
def test_soft_centres_rest_when_they_move_less_than_said(dtype):
    """The last step is the first within the bound, with coordinates far from 1."""
    x, w = (1e3 * y for y in blobs(dtype=dtype))
    found = soft_lloyd(x, w, 2e6, most_steps=2000)
    bound = torch.finfo(dtype).eps ** 0.75 * float((x - x.mean(0)).abs().max())
    moves = []
    for _ in range(found.steps):
        previous, w = w, soft_step(x, w, 2e6)
        moves.append(float((w - previous).abs().max()))
    assert found.converged and torch.equal(found.centres, w)
    assert min(moves[:-1]) > bound >= moves[-1]


def test_a_centre_without_weight_stays():
    x, w = blobs()
    w[0] += 1e4
    assert torch.equal(soft_step(x, w, 1.0)[0], w[0])


@pytest.mark.parametrize(("share", "grows"), [(0.98, True), (1.02, False)], ids=str)
def test_the_critical_temperature(share, grows):
    """Centres apart by little part further below it, and meet above it."""
    x, _ = blobs()
    temperature = share * critical_temperature(x)
    axis = torch.linalg.eigh(torch.cov(x.T, correction=0)).eigenvectors[:, -1]
    w = x.mean(0) + 1e-5 * torch.stack([axis, -axis])
    moved = soft_step(x, w, temperature)
    growth = float((moved[0] - moved[1]).norm() / (w[0] - w[1]).norm())
    assert growth == pytest.approx(1 / share, rel=1e-6) and (growth > 1) == grows


def test_one_point_is_never_apart():
    alone = torch.ones(1, 2, dtype=F64)
    assert critical_temperature(alone) == 0
    assert torch.equal(annealed_lloyd(alone, alone).centres, alone)


def test_annealing_step_by_step():
    x, w = blobs()
    found = annealed_lloyd(x, w, temperature=5.0, cooling=3)
    for temperature in (5.0, 5.0 * 20 ** (-1 / 3), 5.0 * 20 ** (-2 / 3)):
        w = soft_step(x, w, temperature)
    hard = lloyd(x, w)
    assert gap(found.centres, hard.centres) < 1e-12
    assert found.steps == 3 + hard.steps and found.converged


def test_annealing_forgets_a_poor_start():
    """The schedule was chosen on other seeds of the digits."""
    x = pixels()
    starts = [x.mean(0) + 0.1 * random(10, 64, seed=seed) for seed in range(2)]
    hard = [lloyd(x, w).inertia for w in starts]
    annealed = [annealed_lloyd(x, w).inertia for w in starts]
    assert sum(annealed) < sum(hard) and max(annealed) < 1.01 * min(hard)


# --- starts ---------------------------------------------------------------------------------------


def test_draws_follow_the_squared_distances():
    """Over 1000 seeds frequencies lie within four standard deviations of the probabilities."""
    x = torch.tensor([[0.0], [1.0], [3.0]], dtype=F64)
    wanted = {}
    for first, second in itertools.permutations(range(3), 2):
        weights = (x - x[first]).square().flatten()
        wanted[first, second] = float(weights[second] / weights.sum()) / 3
    draws = 1000
    counts = dict.fromkeys(wanted, 0)
    for seed in range(draws):
        chosen = kmeans_plus_plus(x, 2, seed).flatten().tolist()
        counts[tuple(x.flatten().tolist().index(value) for value in chosen)] += 1
    for pair, share in wanted.items():
        error = math.sqrt(draws * share * (1 - share))
        assert abs(counts[pair] - draws * share) < 4 * error


def test_starts_are_different_points():
    x, _ = blobs()
    w = kmeans_plus_plus(x, 60, 0)
    assert gap(w.sort(0).values, x.sort(0).values) == 0
    assert torch.equal(kmeans_plus_plus(x, 5, 3), kmeans_plus_plus(x, 5, 3))
    assert not torch.equal(kmeans_plus_plus(x, 5, 3), kmeans_plus_plus(x, 5, 4))


# --- motions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_everything_follows_euclidean_motions(seed):
    x, w = blobs(seed=seed)
    Q, shift = torch.linalg.qr(random(3, 3, seed=seed)).Q, 10 * random(3, seed=seed + 1)

    def move(y: Tensor) -> Tensor:
        return y @ Q.T + shift

    for method in (lloyd, lambda x, w: soft_lloyd(x, w, 2.0), annealed_lloyd):
        still, moved = method(x, w), method(move(x), move(w))
        assert gap(moved.centres, move(still.centres)) < 1e-9
        assert torch.equal(moved.labels, still.labels)
    assert gap(kmeans_plus_plus(move(x), 4, seed), move(kmeans_plus_plus(x, 4, seed))) == 0
    stretched = x * torch.tensor([1.0, 1.0, 10.0], dtype=F64)
    assert not torch.equal(lloyd(stretched, w).labels, lloyd(x, w).labels)


@both_dtypes
def test_dtypes(dtype):
    x, w = blobs(dtype=dtype)
    double = lloyd(x.double(), w.double())
    for found in (lloyd(x, w), lloyd(x + 1000, w + 1000)):
        assert found.centres.dtype == dtype and torch.equal(found.labels, double.labels)
        assert soft_lloyd(x, w, 2.0).centres.dtype == dtype
    assert kmeans_plus_plus(x, 3, 0).dtype == annealed_lloyd(x, w).centres.dtype == dtype
    assert squared_distances(x.to("meta"), w.to("meta")).shape == (60, 4)


# --- accuracy -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clusters", "classes"), [(3, 3), (4, 3), (2, 4)], ids=str)
def test_accuracy_by_search(clusters, classes):
    generator = np.random.default_rng(0)
    for _ in range(10):
        labels, truth = generator.integers(clusters, size=20), generator.integers(classes, size=20)
        names = itertools.permutations(range(max(clusters, classes)), clusters)
        wanted = max(float(np.mean(np.array(name)[labels] == truth)) for name in names)
        assert clustering_accuracy(labels, truth) == pytest.approx(wanted, abs=1e-12)
        assert clustering_accuracy(5 - labels, torch.tensor(truth)) == pytest.approx(wanted)


# --- wrong input ----------------------------------------------------------------------------------


METHODS = [
    lloyd,
    lloyd_step,
    inertia,
    annealed_lloyd,
    lambda x, w: soft_lloyd(x, w, 1.0),
    lambda x, w: soft_step(x, w, 1.0),
    lambda x, w: free_energy(x, w, 1.0),
]


@pytest.mark.parametrize("method", METHODS, ids=range(len(METHODS)))
def test_wrong_points_and_centres(method):
    x, w = blobs()
    for wrong, error in [
        (x.tolist(), TypeError),
        (x.long(), TypeError),
        (x.half(), TypeError),
        (x.to(torch.complex128), TypeError),
        (x[0], ValueError),
        (x[None], ValueError),
        (x[:0], ValueError),
        (x[:, :0], ValueError),
        (x * NAN, ValueError),
        (x / 0, ValueError),
    ]:
        with refuses(error, "points"):
            method(wrong, w)
        with refuses(error, "centres"):
            method(x, wrong)
    for wrong, error in [
        (w.float(), TypeError),
        (w[:, :2], ValueError),
        (w.to("meta"), ValueError),
        (torch.cat([x, w]), ValueError),
    ]:
        with refuses(error, "centres"):
            method(x, wrong)
    with refuses(ValueError, "points"):
        method(1e200 * x, w)


def test_wrong_numbers():
    x, w = blobs()
    for wrong, error in [(0, ValueError), (2.0, TypeError), (True, TypeError)]:
        for method in (lloyd, lambda x, w, **k: soft_lloyd(x, w, 1.0, **k), annealed_lloyd):
            with refuses(error, "most_steps"):
                method(x, w, most_steps=wrong)
        with refuses(error, "cooling"):
            annealed_lloyd(x, w, cooling=wrong)
        with refuses(error, "clusters"):
            kmeans_plus_plus(x, wrong, 0)
    with refuses(ValueError, "clusters"):
        kmeans_plus_plus(x, 61, 0)
    assert kmeans_plus_plus(x, 2, 2**63 - 1).shape == (2, 3)
    for wrong, error in [(-1, ValueError), (0.5, TypeError), (2**63, ValueError)]:
        with refuses(error, "seed"):
            kmeans_plus_plus(x, 2, wrong)
    for wrong, error in [(0.0, ValueError), (-1, ValueError), (NAN, ValueError), ("1", TypeError)]:
        for method in (soft_lloyd, soft_step, free_energy):
            with refuses(error, "temperature"):
                method(x, w, wrong)
        with refuses(error, "temperature"):
            annealed_lloyd(x, w, temperature=wrong)
    with refuses(ValueError, "temperature"):
        soft_step(1e10 * x, w, 1e-300)


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        ([0.0, 1.0], TypeError),
        ([True, False], TypeError),
        ([], TypeError),
        (np.zeros((2, 1), dtype=int), ValueError),
        (np.zeros(0, dtype=int), ValueError),
    ],
    ids=range(5),
)
def test_wrong_labels(labels, error):
    with refuses(error, "labels"):
        clustering_accuracy(labels, [0, 1])
    with refuses(error, "truth"):
        clustering_accuracy([0, 1], labels)
    with refuses(ValueError, "truth"):
        clustering_accuracy([0, 1], [0, 1, 1])
