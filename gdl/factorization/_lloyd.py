r"""Lloyd's step on matrices: which cluster each point is in, and the means of the clusters.

Which cluster a point is in is said by a column of 0 and a single 1, as by the layer, so that both
halves of a step are one product of matrices each.

Chapter: ``factorization``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import gdl._checks as check

# Points whose differences from all centres are held at once.
BLOCK = 256
# The difference of two scores and that of two squares are off, both together, by less than
# 2 (d + MARGIN) units of the last digit of the largest square of d numbers.
MARGIN = 6


def squares_of_differences(points: Tensor, centres: Tensor) -> Tensor:
    """Squared distances ``(..., k)`` of ``(..., d)`` to ``(k, d)``, without cancelled digits."""
    # cdist has no second derivative.
    squares = torch.stack([(points - w).square().sum(-1) for w in centres], -1)
    if check.readable(squares) and not bool(torch.isfinite(squares).all()):
        raise ValueError("points, centres: expected squared distances that stay finite")
    return squares


class Points:
    """Points ``(n, d)`` as every step needs them: seen from their mean.

    Far from zero the digits of their products would cancel, and those of their means.
    """

    def __init__(self, points: Tensor):
        self.given = points
        self.mean = points.mean(0)
        self.centred = points - self.mean
        # A product with columns that lie in a row takes two thirds of the time.
        self.columns = self.centred.detach().T.contiguous()
        self.radius = math.sqrt(self.columns.square().sum(0).amax())

    def nearest(self, centres: Tensor) -> Tensor:
        """The clusters ``(k, n)`` of the nearest centres, the first of equally near ones.

        ``|w|^2 - 2 w . x`` is least at the nearest centre. Where rounding may hide which one that
        is, the squares of differences decide.
        """
        w = (centres - self.mean).detach()
        lengths = w.square().sum(1, keepdim=True)
        scores = torch.addmm(lengths, w, self.columns, alpha=-2)
        # Autocast has dtypes of its own.
        precision, reach = torch.finfo(scores.dtype), self.radius + math.sqrt(lengths.amax())
        # Where squares underflow, their rounding no longer shrinks with them.
        units = 2 * (len(self.columns) + MARGIN)
        rounding = units * (precision.eps * reach * reach + precision.tiny)
        clusters = scores.le_(scores.amin(0) + rounding).to(centres.dtype)
        if not reach * reach < precision.max:
            return one_hot(squares_of_differences(self.given, centres).argmin(1), centres)
        found = clusters.sum(0)
        if found.amax() > 1:
            for unsure in (found > 1).nonzero().flatten().split(BLOCK):
                differences = (self.given[unsure, None] - centres).detach()
                clusters[:, unsure] = 0.0
                clusters[differences.square().sum(-1).argmin(1), unsure] = 1.0
        return clusters

    def means(self, weights: Tensor, centres: Tensor) -> Tensor:
        """Means with weights ``(k, n)``; where there is no weight, the centre as it was."""
        total = weights.sum(1, keepdim=True)
        some = total > torch.finfo(total.dtype).tiny
        means = self.mean + weights @ self.centred / total.where(some, 1.0)
        return means.where(some, centres)

    def step(self, centres: Tensor) -> tuple[Tensor, Tensor]:
        """The centres after a step, and the clusters that they are the means of."""
        clusters = self._without_empty(self.nearest(centres), centres)
        return self.means(clusters, centres), clusters

    def _without_empty(self, clusters: Tensor, centres: Tensor) -> Tensor:
        """The clusters after each empty one took the farthest point that it may take."""
        if clusters.sum(1).all():
            return clusters
        points, labels = self.given.detach(), labels_of(clusters)
        counts = labels.bincount(minlength=len(centres))
        distances = (points - centres.detach()[labels]).square().sum(-1)
        # Points equal to each other may lie off their mean by rounding.
        rounding = 64 * torch.finfo(points.dtype).eps ** 2 * points.square().sum(-1).amax()
        for cluster in (counts == 0).nonzero().flatten().tolist():
            movable = distances * (counts[labels] > 1)
            farthest = movable.argmax()
            if movable[farthest] <= rounding:
                break
            counts[labels[farthest]] -= 1
            counts[cluster] += 1
            labels[farthest] = cluster
        return one_hot(labels, centres)


def one_hot(labels: Tensor, centres: Tensor) -> Tensor:
    """The clusters ``(k, n)`` of labels ``(n,)``."""
    clusters = torch.zeros(len(centres), len(labels), dtype=centres.dtype, device=centres.device)
    return clusters.scatter_(0, labels[None], 1.0)


def labels_of(clusters: Tensor) -> Tensor:
    """The label ``(n,)`` of each column of ``(k, n)``, int64."""
    # Along the first axis argmax is ten times slower.
    return clusters.max(0).indices
