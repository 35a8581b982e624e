r"""k-means: Lloyd's step, hard and soft, its starts, and what a clustering is worth.

Points are the rows of ``(n, d)``, centres the rows of ``(k, d)``, labels are int64 in 0..k-1.
Everything follows the points under rotations, reflections and translations.

Chapter: ``factorization``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

import gdl._checks as check
from gdl.factorization._checks import checked_centres, checked_points
from gdl.factorization._lloyd import Points, labels_of, squares_of_differences

# The share of the first temperature that annealing comes down to.
LAST_SHARE = 1 / 20


@dataclass(frozen=True, eq=False)
class Clusters:
    """What Lloyd's algorithm found.

    Attributes:
        centres: (k, d).
        labels: (n,), int64, the nearest centre of each point.
        inertia: sum of squared distances to it.
        steps: steps made, the last one included.
        converged: whether the last step changed nothing.

    Chapter: ``factorization``.

    >>> lloyd(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.0], [4.0]])).labels
    tensor([0, 0, 1])
    """

    centres: Tensor
    labels: Tensor
    inertia: float
    steps: int
    converged: bool


def squared_distances(points: Tensor, centres: Tensor) -> Tensor:
    r"""Squared distances of points to centres.

        |x - w_j|^2 = |x|^2 - (2 w_j . x - |w_j|^2)

    The bracket is a linear layer, see :class:`~gdl.factorization.KMeansLayer`. Computed is the left
    side, so that no digits cancel: neither far from zero nor where the centres are far apart.

    Args:
        points: (..., d), float32 or float64.
        centres: (k, d).

    Returns:
        (..., k), not negative, differentiable.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes or devices that do not fit, entries that are not finite, an overflow.

    Law tested: equal to the sums of squared differences; far from zero, and with an outlier, too.
    Chapter: ``factorization``.

    >>> squared_distances(torch.tensor([3.0, 4.0]), torch.tensor([[0.0, 0.0], [3.0, 3.0]]))
    tensor([25.,  1.])
    """
    checked_points("centres", centres)
    check.finite("points", check.shaped("points", points, centres.shape[1]))
    if points.dtype != centres.dtype:
        raise TypeError(f"points: expected {centres.dtype}, as the centres, got {points.dtype}")
    if points.device != centres.device:
        raise ValueError(f"points: expected device {centres.device}, got {points.device}")
    return squares_of_differences(points, centres)


def inertia(points: Tensor, centres: Tensor) -> Tensor:
    r"""The objective of k-means: the sum of squared distances to the nearest centre.

        sum_i min_j |x_i - w_j|^2

    Args:
        points: (n, d), float32 or float64.
        centres: (k, d), k <= n.

    Returns:
        A scalar, differentiable where no point has two nearest centres.

    Raises: TypeError or ValueError for other arguments, see
        :func:`~gdl.factorization.squared_distances`.

    Law tested: equal to that of scikit-learn; its gradient is ``2 n_j (w_j - mean_j)``, n_j and
    mean_j being those of the points nearest to w_j. Chapter: ``factorization``.

    >>> inertia(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.0], [4.0]]))
    tensor(2.)
    """
    checked_centres("centres", centres, checked_points("points", points))
    return _inertia(points, centres, labels_of(Points(points).nearest(centres)))


def lloyd_step(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    r"""Each point to its nearest centre, then each centre to the mean of its points.

        w_j <- mean of x_i with label j = w_j - (1 / 2 n_j) d inertia / d w_j

    A cluster without points takes the point that is farthest from its centre, among those that
    leave no other cluster empty; only where no such point is off its centre, there being fewer
    different points than centres, a centre without points stays.

    Args:
        points: (n, d), float32 or float64.
        centres: (k, d), k <= n.

    Returns:
        Centres (k, d), and the labels (n,), int64, that they are the means of. Of two equally near
        centres a point takes the first.

    Raises: TypeError or ValueError for other arguments, more centres than points among them.

    Law tested: equal to a step of scikit-learn, with an empty cluster too; it is the step of the
    gradient above; the inertia never rises; centres are the means of their labels. Source: Lloyd,
    IEEE Transactions on Information Theory 28, 1982. Chapter: ``factorization``.

    >>> lloyd_step(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.0], [4.0]]))
    (tensor([[0.5000],
            [5.0000]]), tensor([0, 0, 1]))
    """
    checked_centres("centres", centres, checked_points("points", points))
    centres, clusters = Points(points).step(centres)
    return centres, labels_of(clusters)


def lloyd(points: Tensor, centres: Tensor, *, most_steps: int = 300) -> Clusters:
    r"""Lloyd's algorithm: steps until the labels repeat.

    Args:
        points: (n, d), float32 or float64.
        centres: (k, d), the start, k <= n.
        most_steps: an end for the patient; ``converged`` tells whether it came first.

    Returns:
        The :class:`~gdl.factorization.Clusters`.

    Raises: TypeError or ValueError for other arguments, more centres than points among them.

    Law tested: centres to 1e-12 and labels equal to those of scikit-learn's KMeans from the same
    start, after as many steps; the inertia never rises. Chapter: ``factorization``.

    >>> found = lloyd(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.0], [1.0]]))
    >>> found.centres.flatten(), found.inertia, found.steps
    (tensor([0.5000, 5.0000]), 0.5, 3)
    """
    check.integer("most_steps", most_steps, 1)
    checked_centres("centres", centres, checked_points("points", points))
    seen = Points(points)
    centres, clusters = seen.step(centres)
    for step in range(2, most_steps + 1):
        previous, (centres, clusters) = clusters, seen.step(centres)
        # A point that moves enters a cluster; torch.equal says the same in ten times the time.
        if previous.sub_(clusters).amin() >= 0:
            return _clusters(seen, centres, step, True)
    return _clusters(seen, centres, most_steps, False)


def free_energy(points: Tensor, centres: Tensor, temperature: float) -> Tensor:
    r"""The soft objective: the inertia with a soft minimum.

        F = -temperature sum_i log sum_j exp(-|x_i - w_j|^2 / temperature)

    Args:
        points: (n, d), float32 or float64.
        centres: (k, d), k <= n.
        temperature: positive, in units of squared distances.

    Returns:
        A scalar, differentiable.

    Raises: TypeError or ValueError for other arguments.

    Law tested: between ``inertia - temperature n log k`` and the inertia, falling in the
    temperature; its gradient is ``2 n_j (w_j - mean_j)``, means weighted by the soft assignment and
    n_j the sum of weights. Chapter: ``factorization``.

    >>> x, w = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.0], [4.0]])
    >>> [round(float(free_energy(x, w, t)), 4) for t in (1.0, 0.1)]
    [1.9997, 2.0]
    """
    checked_centres("centres", centres, checked_points("points", points))
    temperature = check.positive("temperature", temperature)
    logits = _logits(squared_distances(points, centres), temperature)
    return -temperature * logits.logsumexp(-1).sum()


def soft_step(points: Tensor, centres: Tensor, temperature: float) -> Tensor:
    r"""Lloyd's step with soft labels: each centre to the weighted mean of all points.

        p_ij = softmax_j(-|x_i - w_j|^2 / temperature),    w_j <- sum_i p_ij x_i / sum_i p_ij

    A centre whose weights all vanish stays.

    Args:
        points: (n, d), float32 or float64.
        centres: (k, d), k <= n.
        temperature: positive, in units of squared distances.

    Returns:
        Centres (k, d).

    Raises: TypeError or ValueError for other arguments.

    Law tested: it is the step ``w_j - (1 / 2 n_j) dF / dw_j`` of
    :func:`~gdl.factorization.free_energy`, which never rises; at low temperatures it is Lloyd's
    step. Chapter: ``factorization``.

    >>> x, w = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.0], [4.0]])
    >>> soft_step(x, w, 4.0).flatten()
    tensor([0.4788, 4.5005])
    """
    checked_centres("centres", centres, checked_points("points", points))
    temperature = check.positive("temperature", temperature)
    weights = _logits(squared_distances(points, centres), temperature).softmax(-1)
    return Points(points).means(weights.T, centres)


def soft_lloyd(
    points: Tensor, centres: Tensor, temperature: float, *, most_steps: int = 300
) -> Clusters:
    r"""Lloyd's algorithm with soft labels: soft steps until the centres rest.

    They rest when no coordinate moves by more than ``eps^(3/4)`` of the largest distance of a
    coordinate from its mean, eps being the precision of the dtype.

    Args:
        points: (n, d), float32 or float64.
        centres: (k, d), the start, k <= n.
        temperature: positive, in units of squared distances.
        most_steps: an end for the patient; ``converged`` tells whether it came first.

    Returns:
        The :class:`~gdl.factorization.Clusters`, labels and inertia those of the nearest centres.

    Raises: TypeError or ValueError for other arguments.

    Law tested: where it rests the gradient of :func:`~gdl.factorization.free_energy` vanishes; at
    low temperatures it is :func:`~gdl.factorization.lloyd`. Chapter: ``factorization``.

    >>> x = torch.tensor([[0.0], [1.0], [5.0]], dtype=torch.float64)
    >>> soft_lloyd(x, x[:2], 0.1).centres.flatten()
    tensor([0.5000, 5.0000], dtype=torch.float64)
    """
    check.integer("most_steps", most_steps, 1)
    checked_points("points", points)
    spread = float((points - points.mean(0)).abs().amax())
    rest = torch.finfo(points.dtype).eps ** 0.75 * spread
    for step in range(1, most_steps + 1):
        previous, centres = centres, soft_step(points, centres, temperature)
        if float((centres - previous).abs().amax()) <= rest:
            return _clusters(Points(points), centres, step, True)
    return _clusters(Points(points), centres, most_steps, False)


def annealed_lloyd(
    points: Tensor,
    centres: Tensor,
    *,
    temperature: float | None = None,
    cooling: int = 150,
    most_steps: int = 300,
) -> Clusters:
    r"""Soft steps while the temperature falls, then Lloyd's algorithm.

        temperature_t = temperature (1/20)^(t / cooling),    t = 0..cooling-1,    a step at each

    Near the critical temperature all centres fall towards the mean, and what they were at the start
    is forgotten but for the direction in which they part again.

    Args:
        points: (n, d), float32 or float64.
        centres: (k, d), the start, k <= n; equal ones part in Lloyd's steps only.
        temperature: the first one, positive, in units of squared distances; None: the
            :func:`~gdl.factorization.critical_temperature`.
        cooling: number of soft steps.
        most_steps: most steps of Lloyd's algorithm.

    Returns:
        The :class:`~gdl.factorization.Clusters`; ``steps`` counts both kinds.

    Raises: TypeError or ValueError for other arguments.

    Law tested: equal to its soft steps one by one and then Lloyd's; from poor starts its mean
    inertia is below that of Lloyd's algorithm alone. Source: Rose, Gurewitz and Fox, Statistical
    mechanics and phase transitions in clustering, Physical Review Letters 65, 1990, has the method;
    the schedule is ours. Chapter: ``factorization``.

    >>> x = torch.tensor([[0.0], [1.0], [5.0]])
    >>> annealed_lloyd(x, x[:2]).centres.flatten()
    tensor([0.5000, 5.0000])
    """
    check.integer("cooling", cooling, 1)
    check.integer("most_steps", most_steps, 1)
    checked_centres("centres", centres, checked_points("points", points))
    if temperature is None:
        temperature = critical_temperature(points)
    else:
        check.positive("temperature", temperature)
    # Points that are all equal have no critical temperature, and nothing to anneal.
    if temperature > 0:
        for step in range(cooling):
            centres = soft_step(points, centres, temperature * LAST_SHARE ** (step / cooling))
    found = lloyd(points, centres, most_steps=most_steps)
    return replace(found, steps=found.steps + cooling)


def critical_temperature(points: Tensor) -> float:
    r"""The temperature above which centres near the mean of the points all fall into it.

        twice the largest eigenvalue of the covariance, (1/n) sum_i (x_i - mean) (x_i - mean)^T

    Near the mean the difference of two centres is multiplied by 2 covariance / temperature in a
    soft step: below this temperature it grows.

    Args:
        points: (n, d), float32 or float64.

    Returns:
        A number, 0 if all points are equal.

    Raises: TypeError or ValueError for other arguments.

    Law tested: the difference of two centres near the mean grows just below this temperature and
    shrinks just above. Source: Rose, Gurewitz and Fox, Statistical mechanics and phase transitions
    in clustering, Physical Review Letters 65, 1990. Chapter: ``factorization``.

    >>> round(critical_temperature(torch.tensor([[-1.0, 0.0], [1.0, 0.0]])), 4)
    2.0
    """
    checked_points("points", points)
    # The mean of equal points may be off by rounding, and their covariance not 0.
    if bool((points == points[0]).all()):
        return 0.0
    deviations = points - points.mean(0)
    covariance = deviations.T @ deviations / len(points)
    if not bool(torch.isfinite(covariance).all()):
        raise ValueError("points: expected a covariance that stays finite")
    return 2 * float(torch.linalg.eigvalsh(covariance)[-1])


def kmeans_plus_plus(points: Tensor, clusters: int, seed: int) -> Tensor:
    r"""A start for k-means: points drawn far from each other.

    The first is drawn uniformly, each further one with probabilities proportional to the squared
    distances to the nearest one drawn so far. Where all of these are 0, uniformly.

    Args:
        points: (n, d), float32 or float64.
        clusters: how many, 1 to n.
        seed: of the draws; points moved by a Euclidean motion have the same draws.

    Returns:
        Centres (clusters, d), among the points.

    Raises: TypeError or ValueError for other arguments, more clusters than points among them.

    Law tested: draws follow these probabilities over many seeds. Source: Arthur and Vassilvitskii,
    k-means++: the advantages of careful seeding, SODA 2007. Chapter: ``factorization``.

    >>> x = torch.tensor([[0.0], [0.0], [5.0]])
    >>> kmeans_plus_plus(x, 2, seed=0).flatten().sort().values
    tensor([0., 5.])
    """
    checked_points("points", points)
    check.integer("clusters", clusters, 1, len(points))
    generator = torch.Generator().manual_seed(check.integer("seed", seed, 0, 2**63 - 1))
    distances = torch.full((len(points),), torch.inf, dtype=points.dtype, device=points.device)
    weights, chosen = torch.ones_like(distances), []
    for _ in range(clusters):
        chosen.append(_draw(weights, generator))
        distances = distances.minimum((points - points[chosen[-1]]).square().sum(-1))
        if not bool(torch.isfinite(distances).all()):
            raise ValueError("points: expected squared distances that stay finite")
        weights = distances if bool(distances.any()) else torch.ones_like(distances)
    return points[chosen]


def clustering_accuracy(
    labels: Tensor | np.ndarray | Sequence[int], truth: Tensor | np.ndarray | Sequence[int]
) -> float:
    r"""The share of points whose label names their class, under the best naming of the clusters.

        max over injections s of (1/n) sum_i [s(labels_i) = truth_i]

    The best one is an assignment problem. Clusters beyond the number of classes have no name.

    Args:
        labels, truth: (n,), integers.

    Returns:
        A number between 0 and 1.

    Raises: TypeError or ValueError unless both are integers of one shape (n,), n > 0.

    Law tested: equal to a search through all namings; unchanged by renaming the clusters. Source:
    assignment by ``scipy.optimize.linear_sum_assignment``. Chapter: ``factorization``.

    >>> clustering_accuracy([2, 2, 0, 0], [0, 0, 1, 0])
    0.75
    """
    from scipy.optimize import linear_sum_assignment

    labels, truth = _class_numbers("labels", labels), _class_numbers("truth", truth)
    if labels.shape != truth.shape:
        raise ValueError(f"truth: expected shape {labels.shape}, got {truth.shape}")
    _, found = np.unique(labels, return_inverse=True)
    _, wanted = np.unique(truth, return_inverse=True)
    table = np.zeros((found.max() + 1, wanted.max() + 1), dtype=np.int64)
    np.add.at(table, (found, wanted), 1)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(labels))


def _inertia(points: Tensor, centres: Tensor, labels: Tensor) -> Tensor:
    return (points - centres[labels]).square().sum()


def _clusters(seen: Points, centres: Tensor, steps: int, converged: bool) -> Clusters:
    labels = labels_of(seen.nearest(centres))
    inertia = float(_inertia(seen.given, centres, labels).detach())
    return Clusters(centres, labels, inertia, steps, converged)


def _logits(squares: Tensor, temperature: float) -> Tensor:
    logits = -squares / temperature
    if check.readable(logits) and not bool(torch.isfinite(logits).all()):
        raise ValueError(f"temperature: expected finite distances / temperature, got {temperature}")
    return logits


def _draw(weights: Tensor, generator: torch.Generator) -> int:
    """An index with probability proportional to its weight."""
    steps = weights.cpu().double().cumsum(0)
    level = torch.rand(1, generator=generator, dtype=torch.float64) * steps[-1]
    return min(int(torch.searchsorted(steps, level, right=True)), len(weights) - 1)


def _class_numbers(name: str, x: Tensor | np.ndarray | Sequence[int]) -> np.ndarray:
    x = np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x)
    if x.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, got {x.dtype}")
    if x.ndim != 1 or not len(x):
        raise ValueError(f"{name}: expected shape (n,), n > 0, got {x.shape}")
    return x
