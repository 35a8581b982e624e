r"""The smallest change of an input that fools a linear classifier, in closed form.

Chapter: ``high_dimensions``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gdl.high_dimensions._checks import _matrix, _vector


@dataclass(frozen=True)
class Margins:
    """How far inputs are from being misread, and the shortest way there.

    Attributes:
        distance: (N,), the length of the smallest perturbation; zero where the answer is wrong
            already.
        perturbation: (N, d), which leads onto the boundary.

    Chapter: ``high_dimensions``.

    >>> weight = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> m = linear_margins(weight, torch.zeros(2), torch.tensor([[3.0, 7.0]]), torch.tensor([0]))
    >>> m.distance.tolist(), m.perturbation.tolist()
    ([3.0], [[-3.0, -0.0]])
    """

    distance: Tensor
    perturbation: Tensor


def linear_margins(
    weight: Tensor, bias: Tensor, x: Tensor, labels: Tensor, *, norm: float = 2
) -> Margins:
    r"""The exact smallest perturbation that makes ``argmax(W x + b)`` differ from the label.

    ``min over k != y of ((w_y - w_k).x + b_y - b_k) / |w_y - w_k|_*``, where ``|.|_*`` is dual to
    the norm of the perturbation: Euclidean for 2, the sum of absolute values for ``math.inf``.

    Args:
        weight: (K, d), at least two classes.
        bias: (K,).
        x: (N, d), finite.
        labels: (N,), int64 in 0..K-1.
        norm: 2, or ``math.inf`` for the largest change of an entry.

    Returns:
        ``Margins`` in float64, on the CPU, in the unit of x.

    Raises:
        TypeError: no tensors of real numbers, or labels that are no int64.
        ValueError: shapes that do not fit, labels out of range, another norm, two classes with
            equal weights, entries or scores that are not finite.

    Law tested: a thousandth beyond the margin flips the answer and a thousandth before it does not;
    a linear and a quadratic programme. Source: Moosavi-Dezfooli, Fawzi and Frossard 2016, eq. (8),
    for the Euclidean norm; the dual norm by Hölder's inequality. Chapter: ``high_dimensions``.

    >>> weight, label = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), torch.tensor([0])
    >>> x, bias = torch.tensor([[1.0, 1.0]]), torch.zeros(2)
    >>> linear_margins(weight, bias, x, label, norm=math.inf).distance.tolist()
    [1.0]
    """
    weight = _matrix("weight", weight, least=2)
    bias = _vector("bias", bias, len(weight))
    x = _matrix("x", x, weight.shape[1], least=0)
    labels = _checked_labels(labels, len(x), len(weight))
    if norm not in (2, math.inf):
        raise ValueError(f"norm: expected 2 or math.inf, got {norm!r}")
    rivals = _rivals(labels, len(weight))
    difference = weight[labels][:, None] - weight[rivals]
    size = difference.norm(dim=-1) if norm == 2 else difference.abs().sum(-1)
    if bool((size == 0).any()):
        raise ValueError("weight: expected different rows, got two at distance zero")
    scores = x @ weight.T + bias
    lead = scores.gather(1, labels[:, None]) - scores.gather(1, rivals)
    if not (torch.isfinite(size).all() and torch.isfinite(lead).all()):
        raise ValueError("weight, bias, x: expected finite scores, got an overflow")
    distance, nearest = (lead / size).min(1)
    distance = distance.clamp(min=0)
    direction = difference[torch.arange(len(x)), nearest]
    step = direction.sign() if norm == math.inf else torch.nn.functional.normalize(direction)
    return Margins(distance, -distance[:, None] * step)


def _checked_labels(labels: Tensor, count: int, classes: int) -> Tensor:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        got = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"labels: expected an int64 tensor, got {got}")
    if labels.shape != (count,):
        raise ValueError(f"labels: expected shape ({count},), got {tuple(labels.shape)}")
    if count and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels: expected 0..{classes - 1}, got {labels.min()}..{labels.max()}")
    return labels.cpu()


def _rivals(labels: Tensor, classes: int) -> Tensor:
    """The other classes of each example, (N, K - 1)."""
    others = torch.arange(classes - 1).expand(len(labels), -1)
    return others + (others >= labels[:, None])
