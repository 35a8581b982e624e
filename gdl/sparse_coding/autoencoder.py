r"""Dictionary learning end to end: an encoder, the dictionary it writes for, and a reader of codes.

Chapter: ``sparse_coding``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gdl._checks as check
from gdl.sparse_coding.classical import lasso_objective
from gdl.training import History, fit


class SparseAutoencoder(nn.Module):
    r"""An encoder of this room, a dictionary of its own as decoder, and a linear head if wanted.

        s = encoder(y),    y ~ D s,    logits = W s + b

    D is learned apart from the copy that gave the encoder its first weights. Its atoms keep the
    lengths that they start with: if they could grow, codes would shrink and their penalty with
    them, although nothing became sparser. The head starts at 0.

    Args:
        encoder: a module from signals ``(..., m)`` to codes ``(..., n)``.
        dictionary: D at the start, (m, n), floating-point, no zero atoms.
        classes: how many logits; None for no head.

    Attributes:
        atoms: ``(m, n)``, the directions of the atoms, of any length.
        head: ``nn.Linear(n, classes)``, or None.

    Shapes: ``model(signals)`` with signals ``(..., m)`` returns the logits ``(..., classes)`` if
    there is a head, so that :func:`~gdl.training.accuracy` takes the model as it is; else the
    reconstructions ``(..., m)``. Codes are ``model.encoder(signals)``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes or devices that do not fit, zero atoms, entries that are not finite,
            classes below 1, an encoder whose codes do not fit.

    Law tested: at the start the objective is that of the lasso at the encoder's codes; atoms keep
    their lengths and the objective does not see the scale of ``atoms``; without that the objective
    can be made as small as one likes. Chapter: ``sparse_coding``.

    >>> model = SparseAutoencoder(nn.Identity(), torch.eye(2), classes=3)
    >>> model(torch.ones(5, 2)).shape, model.objective(torch.ones(5, 2), 0.1).detach()
    (torch.Size([5, 3]), tensor(0.2000))
    """

    def __init__(self, encoder: nn.Module, dictionary: Tensor, *, classes: int | None = None):
        super().__init__()
        if not isinstance(encoder, nn.Module):
            raise TypeError(f"encoder: expected a module, got {type(encoder).__name__}")
        D = check.dictionary("dictionary", dictionary).detach()
        self.encoder = encoder
        self.atoms = nn.Parameter(D.clone())
        self.register_buffer("lengths", D.norm(dim=0))
        self.head = None
        if classes is not None:
            check.integer("classes", classes, 1)
            self.head = nn.utils.skip_init(
                nn.Linear, D.shape[1], classes, device=D.device, dtype=D.dtype
            )
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    @property
    def dictionary(self) -> Tensor:
        """The directions of ``atoms`` in the lengths of the start, shape (m, n)."""
        return self.atoms * (self.lengths / self.atoms.norm(dim=0))

    def forward(self, signals: Tensor) -> Tensor:
        codes = self.encode(signals)
        return codes @ self.dictionary.T if self.head is None else self.head(codes)

    def encode(self, signals: Tensor) -> Tensor:
        """The encoder's codes ``(..., n)`` of signals ``(..., m)``, both of them checked."""
        y = check.signals("signals", signals, self.atoms)
        codes = self.encoder(y)
        check.codes("encoder", codes, self.atoms)
        if codes.shape[:-1] != y.shape[:-1]:
            raise ValueError(
                f"encoder: expected codes of batch shape {tuple(y.shape[:-1])}, "
                f"got {tuple(codes.shape)}"
            )
        return codes

    def objective(self, signals: Tensor, penalty: float) -> Tensor:
        r"""How well sparse codes describe signals: the mean of ``|y - D s|^2 / 2 + penalty |s|_1``.

        Args:
            signals: ``(..., m)``, at least one.
            penalty: the weight of ``|s|_1``, positive.

        Returns:
            A scalar, differentiable in the encoder and in D.

        Raises: TypeError or ValueError as the model does, and for other penalties.
        """
        return _mean_objective(self, self.encode(signals), signals, penalty)

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        m, n = self.atoms.shape
        return f"m={m}, n={n}"


def train_autoencoder(
    model: SparseAutoencoder,
    signals: Tensor,
    labels: Tensor | None = None,
    *,
    penalty: float,
    weight: float = 1.0,
    steps: int = 1000,
    lr: float = 1e-3,
    batch_size: int = 64,
    seed: int = 0,
) -> History:
    r"""Train encoder, dictionary and head together, in place: no code is ever given as a target.

        mean of |y - D s|^2 / 2 + penalty |s|_1    +    weight * cross entropy (with labels)

    It is :func:`~gdl.training.fit` on a module that returns the terms of this loss. To keep the
    dictionary, set ``model.atoms.requires_grad_(False)`` first.

    Args:
        model: changed in place, and left in eval mode.
        signals: ``(N, m)``.
        labels: ``(N,)``, int64, for a model with a head; None trains without them.
        penalty: the weight of ``|s|_1``, positive.
        weight: of the cross entropy, at least 0; without labels it has no effect.
        steps, lr, batch_size, seed: as in :func:`~gdl.training.fit`.

    Returns:
        The losses.

    Raises:
        TypeError: arguments of other types.
        ValueError: shapes that do not fit, labels without a head or outside its classes.
        FloatingPointError: the loss is not finite.

    Law tested: the first loss is ``model.objective`` plus the cross entropy of the whole batch;
    training lowers the objective below that of the start and, with D learned, below the minimum
    over all codes for the D of the start; equal calls give equal weights. Chapter:
    ``sparse_coding``.

    >>> model = SparseAutoencoder(nn.Linear(2, 2), torch.eye(2))
    >>> len(train_autoencoder(model, torch.ones(5, 2), penalty=0.1, steps=3).step_losses)
    3
    """
    if not isinstance(model, SparseAutoencoder):
        raise TypeError(f"model: expected a SparseAutoencoder, got {type(model).__name__}")
    y = check.signals("signals", signals, model.atoms)
    if y.ndim != 2 or not len(y):
        raise ValueError(f"signals: expected shape (N, m), not empty, got {tuple(y.shape)}")
    check.penalty("penalty", penalty)
    weight = check.number("weight", weight, 0.0)
    targets = (
        torch.zeros(len(y), dtype=torch.int64) if labels is None else _labels(model, y, labels)
    )

    def loss(terms: tuple[Tensor, Tensor | None], targets: Tensor) -> Tensor:
        objective, logits = terms
        if labels is None:
            return objective
        return objective + weight * cross_entropy(logits, targets)

    task = _Terms(model, penalty)
    return fit(task, y, targets, loss=loss, steps=steps, lr=lr, batch_size=batch_size, seed=seed)


class _Terms(nn.Module):
    """Objective and logits of a batch: what the loss of a training is made of."""

    def __init__(self, model: SparseAutoencoder, penalty: float):
        super().__init__()
        self.model, self.penalty = model, penalty

    def forward(self, signals: Tensor) -> tuple[Tensor, Tensor | None]:
        codes = self.model.encode(signals)
        objective = _mean_objective(self.model, codes, signals, self.penalty)
        return objective, None if self.model.head is None else self.model.head(codes)


def _mean_objective(model: SparseAutoencoder, codes: Tensor, y: Tensor, penalty: float) -> Tensor:
    values = lasso_objective(codes, y, model.dictionary, penalty)
    if not values.numel():
        raise ValueError(f"signals: expected at least one, got shape {tuple(y.shape)}")
    return values.mean()


def _labels(model: SparseAutoencoder, y: Tensor, labels: Tensor) -> Tensor:
    """Labels, one for each signal, among the classes of the head."""
    if model.head is None:
        raise ValueError("labels: expected None for a model without a head, got labels")
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        got = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"labels: expected an int64 tensor, got {got}")
    if labels.shape != y.shape[:1]:
        raise ValueError(f"labels: expected shape ({len(y)},), got {tuple(labels.shape)}")
    classes = model.head.out_features
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(f"labels: expected 0 to {classes - 1}, got {low} to {high}")
    return labels
