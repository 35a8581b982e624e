r"""Convex hulls: is a point a mean of others? Every answer with its certificate.

Chapter: ``high_dimensions``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.optimize import linprog
from torch import Tensor

from gdl.high_dimensions._checks import _matrix

# Relative to the largest difference of a coordinate between a query and the points. The solver
# drops matrix entries below 1e-9 and is asked for the tightest tolerance that it has.
TOLERANCE = 1e-9
SOLVER = {
    "presolve": False,  # half the time goes there, and nothing can be removed
    "primal_feasibility_tolerance": 1e-10,
    "dual_feasibility_tolerance": 1e-10,
}


@dataclass(frozen=True)
class HullReport:
    """Which queries lie in the convex hull of some points, and the proof of each answer.

    Attributes:
        inside: (q,), bool.
        weights: (q, N), convex weights that reproduce a query inside; zero outside.
        normals: (q, d), unit normals of hyperplanes that separate a query outside; zero inside.
        margins: (q,), ``n.x - max_i n.p_i``, positive outside and zero inside; at most the distance
            from the hull, because n need not be the normal of the nearest facet.

    Chapter: ``high_dimensions``.

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
        ``|sum of weights - 1|``. Outside: by how much the length of a normal differs from 1, and
        the margin, measured again, from ``margins``; at least 1 where the hyperplane does not
        separate. Infinite where a certificate holds NaN.

        Raises: TypeError or ValueError for tensors that do not fit the report.
        """
        points = _matrix("points", points)
        queries = _matrix("queries", queries, points.shape[1], least=0)
        sizes = (len(queries), len(points), points.shape[1])
        expected = (*self.weights.shape, self.normals.shape[1])
        if sizes != expected:
            raise ValueError(
                f"points, queries: expected (q, N, d) = {expected} like the report, got {sizes}"
            )
        inside, outside = self.inside, ~self.inside
        weights = self.weights[inside]
        normals = self.normals[outside]
        separated = (normals * queries[outside]).sum(1) - (normals @ points.T).amax(1)
        flaws = [
            (weights @ points - queries[inside]).abs().flatten(),
            -weights.flatten(),
            (weights.sum(1) - 1).abs(),
            (normals.norm(dim=1) - 1).abs(),
            torch.where(separated > 0, (separated - self.margins[outside]).abs(), 1 - separated),
            torch.zeros(1, dtype=torch.float64),
        ]
        return float(torch.cat(flaws).nan_to_num(nan=torch.inf).max())


def in_hull(points: Tensor, queries: Tensor) -> HullReport:
    r"""Whether each query lies in the convex hull of the points: interpolation or extrapolation.

    One linear programme a query: maximise ``t`` over directions ``n`` with ``|n_k| <= 1`` such that
    ``n.(x - p_i) >= t`` for all i. A positive optimum is a separating hyperplane; otherwise the
    dual variables of the N constraints are convex weights with ``sum_i w_i p_i = x`` (Farkas'
    lemma). Both are measured on the data before they are returned.

    Args:
        points: (N, d), finite.
        queries: (q, d), finite.

    Returns:
        A ``HullReport`` in float64, on the CPU. With s the largest difference of a coordinate
        between a query and the points: outside where ``t > 1e-9 s``; inside where the weights
        reproduce the query to ``2e-9 s`` in every coordinate.

    Raises:
        TypeError: no tensors of real numbers.
        ValueError: wrong shapes, no points, entries or differences that are not finite.
        RuntimeError: the solver gave up, or its answer proves neither.

    Law tested: every certificate, recomputed from the data, also within 1e-8 of the boundary;
    triangulations; Wendel's probability; points of a sphere. Source: Balestriero, Pesenti and
    LeCun 2021 (interpolation as membership in the hull). Chapter: ``high_dimensions``.

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
    if not math.isfinite(scale):
        raise ValueError("points, queries: expected finite differences, got an overflow")
    weights, normal = torch.zeros_like(points[:, 0]), torch.zeros_like(x)
    if scale == 0.0:
        weights[0] = 1.0
        return True, weights, normal, 0.0
    scaled = offsets / scale
    direction, dual = _widest_gap(scaled)
    # Where no coordinate differs the programme leaves n free, and a long n means a small margin.
    direction = torch.where((offsets == 0).all(0), 0.0, direction)
    if float((scaled @ direction).min()) > TOLERANCE:
        normal = direction / direction.norm()
        return False, weights, normal, float((offsets @ normal).min())
    weights = dual.clamp(min=0)
    weights = weights / weights.sum()
    if not float((weights @ scaled).abs().max()) <= 2 * TOLERANCE:
        raise RuntimeError("the linear programme proves neither inside nor outside")
    return True, weights, normal, 0.0


def _widest_gap(offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Direction n and dual weights of: maximise t, n.offset_i >= t, |n_k| <= 1."""
    count, dim = offsets.shape
    solved = linprog(
        torch.eye(dim + 1, dtype=torch.float64)[-1].neg().numpy(),
        A_ub=torch.cat([-offsets, offsets.new_ones(count, 1)], 1).numpy(),
        b_ub=offsets.new_zeros(count).numpy(),
        bounds=[(-1, 1)] * dim + [(None, None)],
        method="highs-ds",
        options=SOLVER,
    )
    if solved.status != 0:
        raise RuntimeError(f"the linear programme was not solved: {solved.message}")
    return torch.from_numpy(solved.x[:dim]), torch.from_numpy(-solved.ineqlin.marginals)
