r"""Convex hulls: is a point a mean of others? Every answer with its certificate.

Chapter: ``high_dimensions``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

from gdl.high_dimensions._checks import _matrix

# Relative to the largest distance between a query and the points. A query that lies outside by
# less counts as inside; its weights reproduce it to that distance.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class HullReport:
    """Which queries lie in the convex hull of some points, and the proof of each answer.

    Attributes:
        inside: (q,), bool.
        weights: (q, N), convex weights that reproduce a query inside; zero outside.
        normals: (q, d), unit normals of hyperplanes that separate a query outside; zero inside.
        margins: (q,), ``n.x - max_i n.p_i``, positive outside and zero inside.

    >>> corners = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    >>> report = in_hull(corners, torch.tensor([[0.5, 0.5], [2.0, 2.0]]))
    >>> report.inside.tolist(), round(float(report.margins[1]), 4)
    ([True, False], 1.4142)
    """

    inside: Tensor
    weights: Tensor
    normals: Tensor
    margins: Tensor

    def certificate_error(self, points: Tensor, queries: Tensor) -> float:
        """How far the certificates are from proving the answers for these points and queries.

        Inside: the largest of ``|weights @ points - x|``, of a negative weight, and of
        ``|sum of weights - 1|``. Outside: by how much the margin, measured again, differs from
        ``margins``; more than 1 where the hyperplane does not separate.

        Raises: TypeError or ValueError for tensors that do not fit the report.
        """
        points = _matrix("points", points)
        queries = _matrix("queries", queries, points.shape[1], least=0)
        if self.weights.shape != (len(queries), len(points)):
            raise ValueError(
                f"points, queries: expected {self.weights.shape[1]} points and "
                f"{len(self.weights)} queries, got {len(points)} and {len(queries)}"
            )
        inside, outside = self.inside, ~self.inside
        weights = self.weights[inside]
        normals = self.normals[outside]
        separated = (normals * queries[outside]).sum(1) - (normals @ points.T).amax(1)
        flaws = [
            (weights @ points - queries[inside]).abs().flatten(),
            -weights.flatten(),
            (weights.sum(1) - 1).abs(),
            torch.where(separated > 0, (separated - self.margins[outside]).abs(), 1 - separated),
        ]
        return max([0.0, *(float(flaw.max()) for flaw in flaws if len(flaw))])


def in_hull(points: Tensor, queries: Tensor) -> HullReport:
    r"""Whether each query lies in the convex hull of the points: interpolation or extrapolation.

    One linear programme a query: maximise ``t`` over directions ``n`` with ``|n_k| <= 1`` such that
    ``n.(x - p_i) >= t`` for all i. A positive optimum is a separating hyperplane; otherwise the
    dual variables of the N constraints are convex weights with ``sum_i w_i p_i = x`` (Farkas'
    lemma).

    Args:
        points: (N, d), finite.
        queries: (q, d), finite.

    Returns:
        A ``HullReport`` in float64. A query outside by less than 1e-9 of the size of the problem
        counts as inside.

    Raises:
        TypeError: no tensors of real numbers.
        ValueError: wrong shapes, no points, entries that are not finite.
        RuntimeError: the solver gave up.

    Law tested: every certificate, recomputed from the data; Wendel's probability; points of a
    sphere. Source: Balestriero, Pesenti and LeCun 2021 (interpolation as membership in the hull).
    Chapter: ``high_dimensions``.

    >>> square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> in_hull(square, torch.tensor([[0.5, 0.9], [0.5, 1.1]])).inside.tolist()
    [True, False]
    """
    points = _matrix("points", points)
    queries = _matrix("queries", queries, points.shape[1], least=0)
    answers = [_answer(points, x) for x in queries]
    if not answers:
        answers = [(True, points.new_zeros(len(points)), points.new_zeros(points.shape[1]), 0.0)]
    inside, weights, normals, margins = zip(*answers, strict=True)
    count = len(queries)
    return HullReport(
        torch.tensor(inside)[:count],
        torch.stack(weights)[:count],
        torch.stack(normals)[:count],
        torch.tensor(margins, dtype=torch.float64)[:count],
    )


def _answer(points: Tensor, x: Tensor) -> tuple[bool, Tensor, Tensor, float]:
    """Inside, weights, normal and margin for one query."""
    offsets = x - points
    scale = float(offsets.abs().max())
    weights, normal = torch.zeros_like(points[:, 0]), torch.zeros_like(x)
    if scale == 0.0:
        weights[0] = 1.0
        return True, weights, normal, 0.0
    direction, margin, dual = _widest_gap((offsets / scale).numpy())
    if margin > TOLERANCE:
        normal = torch.from_numpy(direction)
        normal = normal / normal.norm()
        return False, weights, normal, float((offsets @ normal).min())
    weights = torch.from_numpy(dual).clamp(min=0)
    return True, weights / weights.sum(), normal, 0.0


def _widest_gap(offsets: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Direction n, gap t and dual weights of: maximise t, n.offset_i >= t, |n_k| <= 1."""
    count, dim = offsets.shape
    solved = linprog(
        np.append(np.zeros(dim), -1.0),
        A_ub=np.hstack([-offsets, np.ones((count, 1))]),
        b_ub=np.zeros(count),
        bounds=[(-1, 1)] * dim + [(None, None)],
        method="highs",
    )
    if solved.status != 0:
        raise RuntimeError(f"the linear programme was not solved: {solved.message}")
    return solved.x[:dim], -solved.fun, -solved.ineqlin.marginals
