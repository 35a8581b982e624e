r"""The solution space of the equation, stored as compactly as the solver found it.

Chapter: ``one_equation``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor


class Basis:
    r"""A Frobenius-orthonormal basis of the linear maps with ``rho_out(g) W = W rho_in(g)``.

    There are two ways to store one. Where every generator permutes, the maps are indicators of
    orbits of index pairs, and an integer label for each entry of W says it all: 1600 maps of
    1600 x 1600 take 20 MB instead of 33 GB. Otherwise the maps are stacked, ``(r, d_out, d_in)``.

    Attributes:
        shape: ``(d_out, d_in)`` of one map.
        gap: the smallest non-zero eigenvalue of the normal matrix; infinite where no eigenvalue had
            to be judged (orbits), or where every map is equivariant.
        method: the back end that found it, ``"orbits"``, ``"dense"`` or ``"sparse"``.
        labels: int64 ``(d_out, d_in)``, the orbit of each entry, -1 where the map must vanish; or
            None.
        stack: float64 ``(r, d_out, d_in)``, or None.

    Raises: ValueError unless exactly one of ``labels`` and ``stack`` is given, in its shape.
    Law tested: ``<b[i], b[j]> = delta_ij``; ``project`` is the orthogonal projector; both storages
    agree. Chapter: ``one_equation``.

    >>> from gdl.equivariance import equivariant_basis
    >>> from gdl.representations import cyclic, regular
    >>> b = equivariant_basis(regular(cyclic(3)), regular(cyclic(3)))
    >>> len(b), b.labels.tolist()
    (3, [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
    """

    def __init__(
        self,
        *,
        labels: Tensor | None = None,
        stack: Tensor | None = None,
        gap: float = math.inf,
        method: str,
    ):
        if (labels is None) == (stack is None):
            raise ValueError("labels, stack: expected exactly one of the two")
        given, axes = (stack, 3) if labels is None else (labels, 2)
        if given.ndim != axes:
            raise ValueError(f"labels, stack: expected {axes} axes, got shape {tuple(given.shape)}")
        self.labels, self.stack = labels, stack
        self.gap, self.method = gap, method
        if labels is not None:
            self.shape = tuple(labels.shape)
            self.sizes = torch.bincount(labels[labels >= 0])
        else:
            self.shape = tuple(stack.shape[1:])
            self.sizes = None

    def __len__(self) -> int:
        return len(self.stack) if self.labels is None else len(self.sizes)

    def __repr__(self) -> str:
        return f"Basis({len(self)} maps of {self.shape[0]} x {self.shape[1]}, {self.method})"

    def __getitem__(self, k: int) -> Tensor:
        """The k-th map, float64 ``(d_out, d_in)``."""
        if not -len(self) <= k < len(self):
            raise IndexError(f"k: expected -{len(self)}..{len(self) - 1}, got {k}")
        one_hot = torch.zeros(len(self), dtype=torch.float64)
        one_hot[k] = 1.0
        return self.combine(one_hot)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[k] for k in range(len(self)))

    def coefficients(self, W: Tensor) -> Tensor:
        """Inner products of ``W (..., d_out, d_in)`` with the maps, shape ``(..., r)``."""
        _require_shape("W", W, self.shape)
        flat = W.flatten(-2)
        if self.stack is not None:
            return flat @ self.stack.flatten(1).to(flat).T
        kept = self.labels.reshape(-1) >= 0
        labels = self.labels.reshape(-1)[kept].to(W.device)
        sums = flat.new_zeros(*flat.shape[:-1], len(self)).index_add(-1, labels, flat[..., kept])
        return sums / self.sizes.to(flat).sqrt()

    def combine(self, coefficients: Tensor) -> Tensor:
        """The map ``sum_k c_k b_k``, shape ``(..., d_out, d_in)``, from ``c (..., r)``."""
        _require_shape("coefficients", coefficients, (len(self),))
        if self.stack is not None:
            flat = coefficients @ self.stack.flatten(1).to(coefficients)
            return flat.reshape(*coefficients.shape[:-1], *self.shape)
        values = coefficients / self.sizes.to(coefficients).sqrt()
        padded = torch.cat([values, values.new_zeros(*values.shape[:-1], 1)], dim=-1)
        return padded[..., self.labels.to(values.device)]

    def project(self, W: Tensor) -> Tensor:
        """The orthogonal projection of ``W (..., d_out, d_in)`` onto the span of the basis."""
        return self.combine(self.coefficients(W))

    def dense(self, max_bytes: int = 2**30) -> Tensor:
        """All maps, float64 ``(r, d_out, d_in)``.

        Raises:
            ValueError: the stack would be larger than ``max_bytes``.
        """
        size = 8 * len(self) * self.shape[0] * self.shape[1]
        if size > max_bytes:
            raise ValueError(
                f"max_bytes: the dense basis takes {size} bytes, allowed are {max_bytes}; "
                "use labels, project or combine instead"
            )
        return self.combine(torch.eye(len(self), dtype=torch.float64))


def _require_shape(argument: str, x: Tensor, last: tuple[int, ...]) -> None:
    """Refuse other trailing axes, and integers: casting a basis to them would make it vanish."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{argument}: expected a tensor, got {type(x).__name__}")
    if not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"{argument}: expected a floating-point tensor, got {x.dtype}")
    if x.ndim < len(last) or tuple(x.shape[-len(last) :]) != last:
        expected = ", ".join(str(d) for d in last)
        raise ValueError(f"{argument}: expected shape (..., {expected}), got {tuple(x.shape)}")
