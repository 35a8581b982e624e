r"""Low rank plus sparse by a network: proximal gradient descent with learned matrices.

Chapter: ``factorization``.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.factorization._checks import matrix, without_overflow
from gdl.factorization.low_rank import ridge_codes, robust_objective
from gdl.sparse_coding.operators import shrink
from gdl.training import History, fit


class LowRankSparseEncoder(nn.Module):
    r"""Few steps of robust PCA for one signal after the other, as layers to be trained.

        z_0 = 0,    u = W x + H z_t,    z_{t+1} = [u_s; soft_threshold(u_o, th)],    z = [s; o]

    and the signal is ``x ~ D s + o``. All layers share W, H and th. Untrained they are
    :func:`~gdl.factorization.proximal_codes`: with G the matrix of ridge regression,
    ``G = (D^T D + low_rank_penalty / 2)^-1 D^T``,

        W = [G; 1] / 2,    H = [G D, -G; -D, 1] / 2,    th = sparse_penalty / 2

    What the low rank pays is linear: it is part of W and H. Only the outliers are not, and so
    every rotation of s can be undone by the weights, trained or not.

    Args:
        dictionary: D, (m, q), float32 or float64; copied, and learned.
        low_rank_penalty, sparse_penalty: positive.
        layers: number of layers.

    Attributes:
        dictionary: ``(m, q)``.
        encoder: W, ``(q + m, m)``.
        recurrence: H, ``(q + m, q + m)``.
        threshold: th, ``(m,)``; where it is negative it acts as 0.

    Shapes: ``network(signals)`` maps ``(..., m)`` to codes z, ``(..., q + m)``, in the dtype of
    the dictionary; ``network.path(signals)`` is ``(layers + 1, ..., q + m)``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes or devices that do not fit, entries that are not finite, codes that
            overflow.

    Law tested: untrained it is ``proximal_codes`` to 1e-12 at every depth; ``in_gauge`` turns the
    codes and leaves the parts as they are, with random weights too; gradients by finite
    differences. Chapter: ``factorization``.

    >>> weights = {"low_rank_penalty": 1.0, "sparse_penalty": 1.0}
    >>> network = LowRankSparseEncoder(torch.tensor([[1.0], [0.0]]), layers=50, **weights)
    >>> network(torch.tensor([1.0, 4.0])).detach()
    tensor([0.5000, 0.0000, 3.0000])
    """

    def __init__(
        self,
        dictionary: Tensor,
        *,
        low_rank_penalty: float,
        sparse_penalty: float,
        layers: int,
    ):
        super().__init__()
        D = matrix("dictionary", dictionary).detach().clone()
        self.low_rank_penalty = check.positive("low_rank_penalty", low_rank_penalty)
        self.sparse_penalty = check.positive("sparse_penalty", sparse_penalty)
        self.layers = check.integer("layers", layers, 1)
        self.register_buffer("start", D)
        for name, weight in self._classical().items():
            setattr(self, name, nn.Parameter(weight))

    def _classical(self) -> dict[str, Tensor]:
        """The weights of proximal gradient descent, by name."""
        m = len(self.start)
        D, one = self.start, torch.eye(m).to(self.start)
        G = ridge_codes(one, D, self.low_rank_penalty / 2).T
        return {
            "dictionary": D.clone(),
            "encoder": torch.cat([G, one]) / 2,
            "recurrence": torch.cat([torch.cat([G @ D, -G], 1), torch.cat([-D, one], 1)]) / 2,
            "threshold": one.new_full((m,), self.sparse_penalty / 2),
        }

    def reset_parameters(self) -> None:
        """Set all weights back to those of proximal gradient descent for the first dictionary."""
        with torch.no_grad():
            for name, weight in self._classical().items():
                getattr(self, name).copy_(weight)

    def path(self, signals: Tensor) -> Tensor:
        """All codes on the way, index t after t layers: ``(layers + 1, ..., q + m)``."""
        m, q = self.dictionary.shape
        x = check.like("signals", signals, self.dictionary, m)
        # Training may push a threshold below 0.
        level = self.threshold.clamp_min(0)
        seen, z = x @ self.encoder.T, x.new_zeros(*x.shape[:-1], q + m)
        iterates = [z]
        for _ in range(self.layers):
            u = seen + z @ self.recurrence.T
            z = torch.cat([u[..., :q], shrink(u[..., q:], level)], -1)
            iterates.append(z)
        return without_overflow("signals", torch.stack(iterates))

    def forward(self, signals: Tensor) -> Tensor:
        return self.path(signals)[-1]

    def parts(self, signals: Tensor) -> tuple[Tensor, Tensor]:
        """The two parts of signals ``(..., m)``, each of this shape: D s, low in rank, and o."""
        codes, q = self(signals), self.dictionary.shape[1]
        return codes[..., :q] @ self.dictionary.T, codes[..., q:]

    def objective(self, signals: Tensor) -> Tensor:
        r"""What the codes should minimise, a number for each of the signals: ``(..., m)`` to (...).

        It is :func:`~gdl.factorization.robust_objective` at the network's codes and its D.
        """
        weights = {
            "low_rank_penalty": self.low_rank_penalty,
            "sparse_penalty": self.sparse_penalty,
        }
        return robust_objective(self(signals), signals, self.dictionary, **weights)

    def in_gauge(self, rotation: Tensor) -> LowRankSparseEncoder:
        r"""The same network for rotated codes, as a new one: ``s -> R s``, ``D -> D R^T``.

        Args:
            rotation: R, (q, q), orthogonal; reflections count too.

        Raises: TypeError or ValueError for other matrices.
        """
        m, q = self.dictionary.shape
        R = check.like("rotation", matrix("rotation", rotation), self.dictionary, q, q)
        one = torch.eye(q + m).to(R)
        slack = 100 * q * torch.finfo(R.dtype).eps
        if check.readable(R) and bool(((R.T @ R - one[:q, :q]).abs() > slack).any()):
            raise ValueError("rotation: expected an orthogonal matrix, got one that is not")
        turn = torch.block_diag(R, one[q:, q:])
        network = copy.deepcopy(self)
        with torch.no_grad():
            network.start.copy_(self.start @ R.T)
            network.dictionary.copy_(self.dictionary @ R.T)
            network.encoder.copy_(turn @ self.encoder)
            network.recurrence.copy_(turn @ self.recurrence @ turn.T)
        return network

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        m, q = self.dictionary.shape
        return f"signals={m}, rank={q}, layers={self.layers}"


def train_encoder(
    network: LowRankSparseEncoder,
    signals: Tensor,
    parts: tuple[Tensor, Tensor] | None = None,
    *,
    steps: int = 500,
    lr: float = 1e-3,
    batch_size: int = 64,
    seed: int = 0,
) -> History:
    r"""Train an encoder and its dictionary, in place: on signals alone, or on their parts.

        without parts    mean of |x - D s - o|^2 / 2 + p |s|^2 / 2 + q |o|_1  +  p |D|^2 / (2 N)
        with parts       mean of |D s - low_rank|^2 + |o - sparse|^2

    p and q are the two penalties, N the number of signals: the first is the factored objective of
    all signals, divided by N, with the network's codes.

    Args:
        network: changed in place, and left in eval mode.
        signals: (N, m).
        parts: (low_rank, sparse), each (N, m), what the signals consist of; None trains without.
        steps, lr, batch_size, seed: as in :func:`~gdl.training.fit`.

    Returns:
        The losses.

    Raises:
        TypeError: arguments of other types.
        ValueError: shapes that do not fit.
        FloatingPointError: the loss is not finite.

    Law tested: the first loss is the factored objective divided by N, or the error of the parts;
    trained, the network is better than untrained; equal calls give equal weights. Chapter:
    ``factorization``.

    >>> weights = {"low_rank_penalty": 0.1, "sparse_penalty": 0.1}
    >>> network = LowRankSparseEncoder(torch.eye(3, 1), layers=2, **weights)
    >>> history = train_encoder(network, torch.ones(4, 3), steps=5)
    >>> history.step_losses[-1] < history.step_losses[0]
    True
    """
    if not isinstance(network, LowRankSparseEncoder):
        raise TypeError(f"network: expected an encoder, got {type(network).__name__}")
    x = check.like("signals", matrix("signals", signals), network.dictionary, len(network.start))
    if parts is None:
        model, inputs = _Unsupervised(network, len(x)), x
    else:
        if not (isinstance(parts, tuple) and len(parts) == 2):
            raise TypeError(f"parts: expected a pair of tensors, got {type(parts).__name__}")
        known = [check.like("parts", part, x, *x.shape) for part in parts]
        model, inputs = _Supervised(network), torch.stack([x, *known], 1)
    options = {"steps": steps, "lr": lr, "batch_size": batch_size, "seed": seed}
    return fit(model, inputs, x.new_zeros(len(x)), loss=lambda output, _: output.mean(), **options)


class _Unsupervised(nn.Module):
    """The terms of the objective, one for each signal of a batch."""

    def __init__(self, network: LowRankSparseEncoder, total: int):
        super().__init__()
        self.network, self.total = network, total

    def forward(self, signals: Tensor) -> Tensor:
        ridge = self.network.low_rank_penalty * self.network.dictionary.square().sum() / 2
        return self.network.objective(signals) + ridge / self.total


class _Supervised(nn.Module):
    """The errors of the parts, one for each signal of a batch (B, 3, m) of signals and parts."""

    def __init__(self, network: LowRankSparseEncoder):
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        signals, *known = inputs.unbind(1)
        found = self.network.parts(signals)
        return sum((a - b).square().sum(-1) for a, b in zip(found, known, strict=True))
