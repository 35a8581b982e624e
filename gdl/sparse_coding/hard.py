r"""Iterative hard thresholding read as a network: few codes that are not 0, the others exactly 0.

Chapter: ``sparse_coding``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.sparse_coding._unrolled import of_layer, without_overflow
from gdl.sparse_coding.classical import lipschitz
from gdl.sparse_coding.operators import hard_threshold, helu, top_m


class HardThresholdEncoder(nn.Module):
    r"""Layers that are steps of iterative hard thresholding, with weights to learn.

        with a count M      x_{t+1} = top_M(W_t y + S_t x_t),    x_0 = 0
        with a penalty      x_{t+1} = th_t helu_s((W_t y + S_t x_t) / th_t)

    with :func:`~gdl.sparse_coding.top_m` and :func:`~gdl.sparse_coding.helu`. Untrained, ``W`` is
    ``D^T / L``, ``S = 1 - D^T D / L`` and ``th = sqrt(2 penalty / L)``, which is iterative hard
    thresholding for s = 0. The first layer has no S, because x_0 = 0. For s = 0 the jump hides th
    from gradients. For s > 0 it is a ramp from ``(1 - s) th`` to th, and th is learned as well; of
    th the size counts, not the sign. Trained while s falls to 0, it ends with codes that are 0.

    Args:
        dictionary: D, (m, n), float32 or float64; copied, and not learned.
        layers: number of layers, T.
        count: M, 1 to n; give either this or a penalty.
        penalty: the weight of the number of codes that are not 0, positive; only the first
            thresholds depend on it.
        sharpness: s, 0 to 1, of layers with a penalty. It is not in the ``state_dict``.
        tied: one W, S and th for all layers, else T of them.

    Attributes:
        dictionary: ``(m, n)``, a buffer.
        encoder, recurrence: ``(T, n, m)`` and ``(T - 1, n, n)``; tied, one matrix instead of T, and
            of T - 1 if this is not 0.
        threshold: ``(T, n)``, tied ``(1, n)``; with a count there is none.

    Shapes: ``network(signals)`` maps ``(..., m)`` to codes ``(..., n)``, in the dtype of the
    dictionary; ``network.path(signals)`` is ``(T + 1, ..., n)``, index t after t layers.

    Raises:
        TypeError: arguments of other types or dtypes, both or neither of count and penalty.
        ValueError: shapes or devices that do not fit, entries that are not finite, a column of D
            that is 0, numbers out of their range, codes that overflow.

    Law tested: untrained it is :func:`~gdl.sparse_coding.iht` to 1e-12 at every depth; M codes are
    not 0, whatever the weights; s near 0 is the hard threshold; signed permutations of the atoms
    act on the codes, rotations of the signals leave them; gradients by differences. Source: Wang,
    Ling and Huang, "Learning Deep l0 Encoders", AAAI 2016. Chapter: ``sparse_coding``.

    >>> network = HardThresholdEncoder(torch.eye(3), 2, count=1)
    >>> network(torch.tensor([1.0, -2.0, 0.5])).detach()
    tensor([ 0., -2.,  0.])
    """

    def __init__(
        self,
        dictionary: Tensor,
        layers: int,
        *,
        count: int | None = None,
        penalty: float | None = None,
        sharpness: float = 0.0,
        tied: bool = True,
    ):
        super().__init__()
        D = check.dictionary("dictionary", dictionary).detach().clone()
        n = D.shape[1]
        self.layers = check.integer("layers", layers, 1)
        if (count is None) == (penalty is None):
            got = "neither" if count is None else "both"
            raise TypeError(f"count, penalty: expected one of them, got {got}")
        self.count = None if count is None else check.integer("count", count, 1, n)
        self.penalty = None if penalty is None else check.penalty("penalty", penalty)
        self.tied = check.boolean("tied", tied)
        self.set_sharpness(sharpness)
        self.register_buffer("dictionary", D)
        for name, weight in self._classical().items():
            setattr(self, name, nn.Parameter(weight.clone()))

    def _classical(self) -> dict[str, Tensor]:
        """The weights of iterative hard thresholding, by name."""
        D, n = self.dictionary, self.dictionary.shape[1]
        L = lipschitz(D)
        copies = 1 if self.tied else self.layers
        S = torch.eye(n, dtype=D.dtype, device=D.device) - D.mT @ D / L
        weights = {
            "encoder": (D.mT / L).expand(copies, -1, -1),
            "recurrence": S.expand(min(copies, self.layers - 1), -1, -1),
        }
        if self.penalty is not None:
            weights["threshold"] = D.new_full((copies, n), math.sqrt(2 * self.penalty / L))
        return weights

    def reset_parameters(self) -> None:
        """Set all weights back to those of iterative hard thresholding."""
        with torch.no_grad():
            for name, weight in self._classical().items():
                getattr(self, name).copy_(weight)

    def set_sharpness(self, sharpness: float) -> None:
        """Set s: 0 is the hard threshold, larger is smoother, 1 has no interval that maps to 0."""
        self.sharpness = check.number("sharpness", sharpness, 0.0, 1.0)

    def _activate(self, t: int, u: Tensor) -> Tensor:
        if self.count is not None:
            return top_m(u, self.count)
        threshold = of_layer(t, self.threshold).abs()
        if self.sharpness == 0:
            return hard_threshold(u, threshold)
        threshold = threshold.clamp_min(torch.finfo(u.dtype).eps)
        return threshold * helu(u / threshold, self.sharpness)

    def iterates(self, signals: Tensor) -> Iterator[Tensor]:
        """Yield the codes after 0, 1, ..., ``layers`` layers, each ``(..., n)``."""
        y = check.signals("signals", signals, self.dictionary)
        x = y.new_zeros(*y.shape[:-1], self.dictionary.shape[1])
        yield x
        inputs = [y @ W.mT for W in self.encoder]
        for t in range(self.layers):
            u = of_layer(t, inputs)
            # Nothing recurs in the first layer, whose codes are 0.
            u = u if t == 0 else u + x @ of_layer(t - 1, self.recurrence).mT
            x = self._activate(t, without_overflow(u))
            yield x

    def path(self, signals: Tensor) -> Tensor:
        """All codes on the way, index t after t layers: ``(layers + 1, ..., n)``."""
        return torch.stack(list(self.iterates(signals)))

    def forward(self, signals: Tensor) -> Tensor:
        codes = deque(self.iterates(signals), maxlen=1).pop()
        return codes

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        m, n = self.dictionary.shape
        kind = f"count={self.count}"
        if self.count is None:
            kind = f"penalty={self.penalty}, sharpness={self.sharpness}"
        return f"m={m}, n={n}, layers={self.layers}, {kind}, tied={self.tied}"


def support_recovery(codes: Tensor, truth: Tensor) -> float:
    r"""The share of signals whose support is found: which codes are not 0, not how large they are.

    A support of M places is found if the M largest codes stand there, none of them 0: if every
    ``|code|`` on it is larger than every one off it.

    Args:
        codes: (..., n), floating-point, finite; small codes off the support do no harm.
        truth: the true codes, of the same shape. A signal without any is found by all codes.

    Returns:
        A number from 0 to 1.

    Raises:
        TypeError: arguments that are no floating-point tensors.
        ValueError: shapes that differ, no signals, entries that are not finite.

    Law tested: equal to sets compared one by one; unchanged by scaling and by signed permutations.
    Chapter: ``sparse_coding``.

    >>> truth = torch.tensor([[1.0, 0.0, -2.0], [0.0, 3.0, 0.0]])
    >>> support_recovery(torch.tensor([[0.5, 0.1, 9.0], [2.0, 1.0, 0.0]]), truth)
    0.5
    """
    check.finite("codes", check.floating("codes", codes))
    check.finite("truth", check.floating("truth", truth))
    if codes.shape != truth.shape:
        raise ValueError(f"truth: expected shape {tuple(codes.shape)}, got {tuple(truth.shape)}")
    if not (codes.ndim and codes.numel()):
        raise ValueError(f"codes: expected shape (..., n), not empty, got {tuple(codes.shape)}")
    size, on = codes.abs(), truth != 0
    least = size.masked_fill(~on, math.inf).amin(-1)
    most = size.masked_fill(on, 0).amax(-1)
    return (least > most).double().mean().item()
