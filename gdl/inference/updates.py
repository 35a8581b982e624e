r"""Mean field: independent labels that listen to each other until nothing changes.

Chapter: ``inference``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
from gdl.inference._checks import instance
from gdl.inference._steps import belief_path, check_damping
from gdl.inference.fields import PairwiseField


@dataclass(frozen=True, eq=False)
class MeanField:
    r"""Beliefs and how they came about.

    Attributes:
        marginals: Q, (..., n, L), after the last step.
        free_energies: (steps + 1, ...), the first before the first step.
        path: (steps + 1, ..., n, L), all beliefs; None unless asked for.

    Chapter: ``inference``.

    >>> field = PairwiseField(torch.zeros(2, 2), torch.zeros(2, 2), torch.eye(2))
    >>> mean_field(field, 3).free_energies
    tensor([-1.3863, -1.3863, -1.3863, -1.3863])
    """

    marginals: Tensor
    free_energies: Tensor
    path: Tensor | None = None


def mean_field(
    field: PairwiseField,
    steps: int,
    *,
    order: str = "parallel",
    damping: float = 0.5,
    start: Tensor | None = None,
    path: bool = False,
) -> MeanField:
    r"""Replace the beliefs of each point by what its neighbours' beliefs make of its evidence.

        Q' = softmax(u + W Q),    W Q = K Q M

    Parallel steps do this for all points at once. Damped ones keep a share of the old beliefs,
    ``damping Q + (1 - damping) Q'``. A sequential step is one sweep: point after point, each from
    the beliefs that its neighbours have by then.

    Args:
        field: a :class:`~gdl.inference.PairwiseField`, also a batch.
        steps: at least 0.
        order: "parallel", "damped" or "sequential".
        damping: the share of the old beliefs, from 0 to below 1; for "damped" alone.
        start: (..., n, L), rows are distributions; softmax(u) by default.
        path: keep the beliefs of all steps.

    Returns:
        A :class:`~gdl.inference.MeanField`, differentiable, also where the start is 0.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: numbers out of range, a start of another shape or that is no distribution.

    Law tested: the steps by loops; a sequential sweep never raises F, nor does a parallel step
    above the eigenvalue of :func:`~gdl.inference.descent_threshold`; F is never below ``-log Z`` by
    enumeration; without coupling one step is exact. Chapter: ``inference``.

    >>> field = PairwiseField(torch.tensor([[1.0, 0.0], [0.0, 0.0]]),
    ...                       torch.tensor([[0.0, 2.0], [2.0, 0.0]]), torch.eye(2))
    >>> mean_field(field, 50).marginals
    tensor([[0.9136, 0.0864],
            [0.8395, 0.1605]])
    """
    instance("field", field, PairwiseField)
    check.integer("steps", steps)
    if start is None:
        first = field.unary.log_softmax(-1)
    else:
        check.typed("start", start, field.unary.dtype)
        if start.shape != field.unary.shape:
            raise ValueError(
                f"start: expected shape {tuple(field.unary.shape)}, got {tuple(start.shape)}"
            )
        # A number beside 0, because log 0 has no gradient; below rounding, so nothing else changes.
        first = (start + 4 * torch.finfo(start.dtype).tiny).log()
        try:
            field.free_energy(start)
        except ValueError as error:
            raise ValueError(str(error).replace("beliefs", "start", 1)) from None
    parts = (field.unary, field.coupling, field.compatibility)
    energies, beliefs = [], []
    for log_beliefs in belief_path(*parts, first, steps, order=order, damping=damping):
        if not path:
            beliefs.clear()
        beliefs.append(log_beliefs.exp())
        energies.append(field.free_energy(beliefs[-1]))
    kept = torch.stack(beliefs) if path else None
    return MeanField(beliefs[-1], torch.stack(energies), kept)


def descent_threshold(damping: float = 0.0) -> float:
    r"""The least eigenvalue of W on differences for which parallel steps cannot raise F.

        -2 (1 + damping) / (1 - damping)

    Args:
        damping: the share of the old beliefs, from 0 to below 1.

    Returns:
        The threshold, -2 without damping.

    Raises: TypeError or ValueError for other arguments.

    Law tested: random fields at it never rise; for two labels without evidence, bisection finds the
    eigenvalue below which a step does rise, to 1e-5. Chapter: ``inference``.

    >>> descent_threshold(), descent_threshold(0.5)
    (-2.0, -6.0)
    """
    check_damping(damping)
    return -2 * (1 + damping) / (1 - damping)


@dataclass(frozen=True, eq=False)
class Descent:
    r"""By how much one parallel step lowers F, and the three terms that it is made of.

    Attributes:
        divergence: ``(1 - d) KL(Q || Q')``, never negative.
        mixing: ``d KL(Q || R) + (1 - d) KL(Q' || R)``, never negative, 0 without damping.
        curvature: ``(1 - d)^2 <D, W D> / 2`` with ``D = Q' - Q``, of either sign.

    Chapter: ``inference``.

    >>> field = PairwiseField(torch.zeros(2, 2), torch.zeros(2, 2), torch.eye(2))
    >>> Q = torch.tensor([[0.9, 0.1], [0.5, 0.5]])
    >>> step_descent(field, Q).total()
    tensor(0.3681)
    """

    divergence: Tensor
    mixing: Tensor
    curvature: Tensor

    def total(self) -> Tensor:
        """``F(Q) - F(R)``, (...)."""
        return self.divergence + self.mixing + self.curvature


def step_descent(field: PairwiseField, beliefs: Tensor, damping: float = 0.0) -> Descent:
    r"""The exact account of one parallel step from Q to ``R = d Q + (1 - d) Q'``.

        F(Q) - F(R) = (1 - d) KL(Q || Q') + d KL(Q || R) + (1 - d) KL(Q' || R)
                      + (1 - d)^2 <D, W D> / 2,    D = Q' - Q

    Args:
        field: a :class:`~gdl.inference.PairwiseField`.
        beliefs: Q, (..., n, L), rows are positive distributions.
        damping: d, from 0 to below 1.

    Returns:
        A :class:`~gdl.inference.Descent`.

    Raises: TypeError or ValueError for other arguments.

    Law tested: the total is the difference of two free energies to 1e-12, for random fields and
    beliefs; each of the first two terms is at least its bound by Pinsker's inequality. Chapter:
    ``inference``.

    >>> field = PairwiseField(torch.zeros(2, 2), torch.tensor([[0.0, -3.0], [-3.0, 0.0]]),
    ...                       torch.eye(2))
    >>> bool(step_descent(field, torch.tensor([[0.6, 0.4], [0.6, 0.4]])).total() < 0)
    True
    """
    instance("field", field, PairwiseField)
    check.typed("beliefs", beliefs, field.unary.dtype)
    field.free_energy(beliefs)
    if check.readable(beliefs) and bool((beliefs == 0).any()):
        raise ValueError("beliefs: expected positive entries, got a zero")
    parts = (field.unary, field.coupling, field.compatibility)
    log_q, log_r = belief_path(*parts, beliefs.log(), 1, order="damped", damping=damping)
    _, log_new = belief_path(*parts, beliefs.log(), 1, order="parallel", damping=damping)
    new = log_new.exp()
    moved = new - beliefs
    share = 1 - damping
    mixing = damping * _divergence(log_q, log_r) + share * _divergence(log_new, log_r)
    curvature = share**2 * (moved * field.couple(moved)).sum((-2, -1)) / 2
    return Descent(share * _divergence(log_q, log_new), mixing, curvature)


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q), summed over the points."""
    return (log_p.exp() * (log_p - log_q)).sum((-2, -1))
