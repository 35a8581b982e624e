r"""What networks of unrolled soft thresholding share: layers, overflow, other coordinates.

Chapter: ``sparse_coding``.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.sparse_coding.operators import shrink

# What the last axes of each tensor are indexed by. Thresholds of codes are sizes: they know
# permutations but no signs. Scalars belong to no axis.
FIXED = {"dictionary": ("signals", "codes")}

# What maps the number of a layer and codes to what this layer thresholds.
Update = Callable[[int, Tensor], Tensor]


class Unrolled(nn.Module):
    """Layers ``x -> soft(update(t, x), threshold_t)``, from the codes 0 on.

    Attributes:
        axes: the axes of every tensor, by its name.
    """

    def __init__(self, dictionary: Tensor, penalty: float, layers: int, axes: dict[str, tuple]):
        super().__init__()
        D = check.dictionary("dictionary", dictionary).detach().clone()
        if D.is_meta:
            raise ValueError("dictionary: expected entries with values, got the meta device")
        self.penalty = check.penalty("penalty", penalty)
        self.layers = check.integer("layers", layers, 1)
        self.axes = FIXED | axes
        self.register_buffer("dictionary", D)

    def _classical(self) -> dict[str, Tensor]:
        """The classical weights, by name."""
        raise NotImplementedError

    def _update(self, signals: Tensor) -> Update:
        """What the layers threshold, for these signals."""
        raise NotImplementedError

    def _learn(self, weights: dict[str, Tensor]) -> None:
        """Make parameters of these weights."""
        for name, weight in weights.items():
            setattr(self, name, nn.Parameter(weight.clone()))

    def reset_parameters(self) -> None:
        """Set all weights back to the classical ones."""
        with torch.no_grad():
            for name, weight in self._classical().items():
                getattr(self, name).copy_(weight)

    def iterates(self, signals: Tensor) -> Iterator[Tensor]:
        """Yield the codes after 0, 1, ..., ``layers`` layers, each ``(..., n)``."""
        y = check.signals("signals", signals, self.dictionary)
        update = self._update(y)
        x = y.new_zeros(*y.shape[:-1], self.dictionary.shape[1])
        yield x
        for t in range(self.layers):
            # Training may push a threshold below 0, where it acts as 0.
            x = shrink(update(t, x), of_layer(t, self.threshold).clamp_min(0))
            yield x

    def path(self, signals: Tensor) -> Tensor:
        """All codes on the way, index t after t layers: ``(layers + 1, ..., n)``."""
        return without_overflow(torch.stack(list(self.iterates(signals))))

    def forward(self, signals: Tensor) -> Tensor:
        # One at a time: iterates that are kept take fresh memory, and half of the time.
        codes = deque(self.iterates(signals), maxlen=1).pop()
        return without_overflow(codes)

    def in_gauge(self, *, codes: Tensor | None = None, signals: Tensor | None = None) -> Unrolled:
        r"""The same network in other coordinates, as a new one.

            new(y Q^T) = old(y) P^T

        Each axis of each tensor is multiplied by the matrix of its coordinates: P for codes, Q for
        signals, ``|P|`` for thresholds of codes.

        Args:
            codes: P, (n, n), a signed permutation; the identity by default.
            signals: Q, (m, m), orthogonal; the identity by default.

        Raises: TypeError or ValueError for other matrices.
        """
        m, n = self.dictionary.shape
        matrices = {}
        if codes is not None:
            matrices["codes"] = _signed_permutation("codes", self._square("codes", codes, n))
            matrices["sizes"] = codes.abs()
        if signals is not None:
            matrices["signals"] = _orthogonal("signals", self._square("signals", signals, m))
        network = copy.deepcopy(self)
        with torch.no_grad():
            for name, axes in self.axes.items():
                tensor = getattr(network, name)
                for axis, kind in enumerate(axes, -len(axes)):
                    if kind in matrices:
                        tensor.copy_(_along(axis, tensor, matrices[kind]))
        return network

    def _square(self, name: str, matrix: Tensor, size: int) -> Tensor:
        """A finite matrix of this size in the dtype and on the device of the dictionary."""
        check.finite(name, check.typed(name, matrix, self.dictionary.dtype))
        if matrix.shape != (size, size):
            raise ValueError(f"{name}: expected shape {(size, size)}, got {tuple(matrix.shape)}")
        if matrix.device != self.dictionary.device:
            raise ValueError(
                f"{name}: expected device {self.dictionary.device}, got {matrix.device}"
            )
        return matrix

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        m, n = self.dictionary.shape
        return f"m={m}, n={n}, penalty={self.penalty}, layers={self.layers}"


def of_layer(t: int, stack: Sequence[Tensor] | Tensor) -> Tensor:
    """The entry of layer t, or the one that all layers share."""
    return stack[min(t, len(stack) - 1)]


def without_overflow(codes: Tensor) -> Tensor:
    if check.readable(codes) and not check.all_finite(codes):
        raise ValueError("signals: expected codes that stay finite, got an overflow")
    return codes


def _along(axis: int, tensor: Tensor, matrix: Tensor) -> Tensor:
    """The tensor with one of its axes multiplied by a matrix."""
    return (tensor.movedim(axis, -1) @ matrix.mT).movedim(-1, axis)


def _signed_permutation(name: str, P: Tensor) -> Tensor:
    """Return a matrix with one entry in each row and column, 1 or -1."""
    entries = P.abs()
    one = torch.ones_like(entries[0])
    is_binary = bool(((entries == 0) | (entries == 1)).all())
    if not (is_binary and torch.equal(entries.sum(0), one) and torch.equal(entries.sum(1), one)):
        raise ValueError(f"{name}: expected one entry of 1 or -1 in each row and column, else 0")
    return P


def _orthogonal(name: str, Q: Tensor) -> Tensor:
    """Return a matrix whose columns are orthonormal up to rounding."""
    error = float((Q.mT @ Q - torch.eye(len(Q)).to(Q)).abs().amax())
    if error > 1e3 * torch.finfo(Q.dtype).eps:
        raise ValueError(f"{name}: expected an orthogonal matrix, Q^T Q is off by {error:.1e}")
    return Q
