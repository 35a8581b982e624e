r"""Iterative soft thresholding read as a network: its matrices, or two scalars a layer, learned.

Chapter: ``sparse_coding``.
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check
from gdl.sparse_coding._unrolled import FIXED, Unrolled, Update, of_layer
from gdl.sparse_coding.classical import lipschitz
from gdl.sparse_coding.dictionaries import analytic_weights

_DENSE = {
    "encoder": ("codes", "signals"),
    "recurrence": ("codes", "codes"),
    "threshold": ("sizes",),
}
_COUPLED = {"weight": ("signals", "codes"), "threshold": ("sizes",)}
_SCALARS = {"step": (), "threshold": ()}
_LEARNED = {"tied": _DENSE, "untied": _DENSE, "coupled": _COUPLED, "steps": _SCALARS}


class LISTA(Unrolled):
    r"""Learned iterative soft thresholding: the layers are steps of ISTA, with weights to learn.

        ISTA             x_{t+1} = soft(x_t - D^T (D x_t - y) / L, penalty / L),    x_0 = 0
        tied, untied     x_{t+1} = soft(W_t y + S_t x_t, th_t)
        coupled          x_{t+1} = soft(x_t - W_t^T (D x_t - y), th_t)
        steps            x_{t+1} = soft(x_t - step_t D^T (D x_t - y), th_t)

    with the soft threshold of :func:`~gdl.sparse_coding.soft_threshold`. Untrained all of them are
    ISTA: ``W = D^T / L`` (coupled ``D / L``), ``S = 1 - D^T D / L``, ``step = 1 / L``,
    ``th = penalty / L``. The first layer has no S, because x_0 = 0. A threshold below 0 acts as 0.

    Args:
        dictionary: D, (m, n), float32 or float64; copied, and not learned.
        penalty: the weight of ``|x|_1``, positive; only the first weights depend on it.
        layers: number of layers, T.
        tying: "tied", one W, S and th for all layers, which makes the network recurrent; "untied";
            "coupled", where one matrix a layer does for W and S; "steps", two scalars a layer.

    Attributes:
        dictionary: ``(m, n)``, a buffer.
        encoder, recurrence: of tied and untied networks, ``(T, n, m)`` and ``(T - 1, n, n)``, or
            one matrix instead of T, and of T - 1 if this is not 0.
        weight: of coupled ones, ``(T, m, n)``.
        step: of "steps", ``(T,)``.
        threshold: ``(T, n)``, tied ``(1, n)``, of "steps" ``(T,)``.

    Shapes: ``network(signals)`` maps ``(..., m)`` to codes ``(..., n)``, in the dtype of the
    dictionary; ``network.path(signals)`` is ``(T + 1, ..., n)``, index t after t layers;
    ``network.iterates(signals)`` yields the same one by one.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes or devices that do not fit, entries that are not finite, a column of D
            that is 0, a penalty that is not positive, codes that overflow.

    Law tested: untrained it is a loop of ISTA to 1e-12, for every tying and depth; gradients by
    finite differences; the numbers of parameters; ``in_gauge`` with signed permutations of the
    codes and orthogonal matrices of the signals gives the same codes in the new coordinates, with
    random weights too; a rotation of the codes does not. Chapter: ``sparse_coding``.

    >>> network = LISTA(torch.eye(2), 0.5, 3)
    >>> network(torch.tensor([2.0, 0.25])).detach()
    tensor([1.5000, 0.0000])
    """

    def __init__(self, dictionary: Tensor, penalty: float, layers: int, *, tying: str = "untied"):
        check.one_of("tying", tying, tuple(_LEARNED))
        super().__init__(dictionary, penalty, layers, _LEARNED[tying])
        self.tying = tying
        self._learn(self._classical())

    def _classical(self) -> dict[str, Tensor]:
        D, (_, n) = self.dictionary, self.dictionary.shape
        L = lipschitz(D)
        copies = 1 if self.tying == "tied" else self.layers
        level = D.new_tensor(self.penalty / L)
        weights = {
            "encoder": (copies, D.mT / L),
            "recurrence": (min(copies, self.layers - 1), torch.eye(n).to(D) - D.mT @ D / L),
            "weight": (copies, D / L),
            "step": (copies, D.new_tensor(1 / L)),
            "threshold": (copies, level if self.tying == "steps" else level.expand(n)),
        }
        return {
            name: weight.expand(count, *weight.shape)
            for name, (count, weight) in weights.items()
            if name in _LEARNED[self.tying]
        }

    def _update(self, signals: Tensor) -> Update:
        D = self.dictionary
        if self.tying == "coupled":
            return lambda t, x: x - (x @ D.mT - signals) @ self.weight[t]
        if self.tying == "steps":
            return lambda t, x: x - self.step[t] * ((x @ D.mT - signals) @ D)
        first = signals @ self.encoder[0].mT

        def dense(t: int, x: Tensor) -> Tensor:
            # Nothing recurs in the first layer, whose codes are 0.
            if t == 0:
                return first
            u = first if len(self.encoder) == 1 else signals @ self.encoder[t].mT
            return u + x @ of_layer(t - 1, self.recurrence).mT

        return dense

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        return f"{super().extra_repr()}, tying={self.tying!r}"


class ALISTA(Unrolled):
    r"""Analytic LISTA: the matrix is computed, not learned; two scalars a layer are learned.

        x_{t+1} = soft(x_t - step_t W^T (D x_t - y), th_t),    x_0 = 0

    with the W of :func:`~gdl.sparse_coding.analytic_weights`: of all with ``w_i^T d_i = 1`` the one
    of least ``|W^T D|_F``. Untrained, ``step = 1 / l`` and ``th = penalty / l``, where l is the
    largest eigenvalue of ``W^T D``. These are the classical weights in this sense: with
    ``M = (D D^T)^{-1}`` and ``c_i = 1 / d_i^T M d_i``, the layers are steps of ISTA for the
    dictionary ``M^{1/2} D C^{1/2}``, whose columns have length 1, the signals ``M^{1/2} y``, and
    the penalty ``sum_i penalty |z_i| / sqrt(c_i)`` on ``z_i = x_i / sqrt(c_i)``. With D for W they
    would be ISTA itself, which is :class:`~gdl.sparse_coding.LISTA` with ``tying="steps"``.

    Args:
        dictionary: D, (m, n) of rank m, float32 or float64; copied, and not learned.
        penalty: positive; only the first thresholds depend on it.
        layers: number of layers, T.

    Attributes:
        dictionary, analytic: D and W, ``(m, n)``, buffers.
        step, threshold: ``(T,)``.

    Shapes: as of :class:`~gdl.sparse_coding.LISTA`.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: what LISTA refuses, and a dictionary whose rank is below m.

    Law tested: untrained it is the loop of ISTA for the dictionary above, to 1e-10; two parameters
    a layer; gradients by finite differences; ``in_gauge`` as of LISTA, and equal to the network
    that is built from the dictionary in the new coordinates. Chapter: ``sparse_coding``.

    >>> network = ALISTA(torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]), 0.1, 12)
    >>> sum(weights.numel() for weights in network.parameters())
    24
    """

    def __init__(self, dictionary: Tensor, penalty: float, layers: int):
        axes = {"analytic": FIXED["dictionary"]} | _SCALARS
        super().__init__(dictionary, penalty, layers, axes)
        self.register_buffer("analytic", analytic_weights(self.dictionary))
        self._learn(self._classical())

    def _classical(self) -> dict[str, Tensor]:
        D = self.dictionary
        # W^T D has the eigenvalues of D W^T, and zeros. All are real: see the docstring.
        largest = float(torch.linalg.eigvals(D @ self.analytic.mT).real.amax())
        return {
            "step": D.new_full((self.layers,), 1 / largest),
            "threshold": D.new_full((self.layers,), self.penalty / largest),
        }

    def _update(self, signals: Tensor) -> Update:
        D, W = self.dictionary, self.analytic
        return lambda t, x: x - self.step[t] * ((x @ D.mT - signals) @ W)
