"""Constant sparse matrices that multiply features, on any device, with gradients."""

from __future__ import annotations

import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import embedding_bag


class SparseMatrix:
    """A constant real matrix in compressed rows, with its transpose for gradients.

    The product with features ``(n, C)`` is torch's kernel for bags of rows.
    """

    def __init__(self, matrix: csr_array, dtype: torch.dtype, device: torch.device):
        made = {"dtype": dtype, "device": device}
        self._matrix = _compressed(matrix, made)
        self._transpose = _compressed(matrix.T.tocsr(), made)
        counts = self._matrix[1].diff()
        self._rows = torch.repeat_interleave(counts, output_size=len(matrix.data))
        self._size = matrix.shape[0]

    def times(self, x: Tensor) -> Tensor:
        """The matrix times x."""
        if torch.compiler.is_compiling():
            return self._traceable(x)
        return _Product.apply(x.contiguous(), *self._matrix, *self._transpose)

    def _traceable(self, x: Tensor) -> Tensor:
        """The product by operations that a compiler sees through."""
        columns, _, entries = self._matrix
        terms = entries[:, None] * x.index_select(0, columns)
        return x.new_zeros(self._size, x.shape[1]).index_add(0, self._rows, terms)


def _compressed(matrix: csr_array, made: dict) -> tuple[Tensor, Tensor, Tensor]:
    """Columns, where each row begins and the last one ends, and the entries."""
    columns = torch.from_numpy(matrix.indices).to(made["device"], torch.int64)
    pointers = torch.from_numpy(matrix.indptr).to(made["device"], torch.int64)
    return columns, pointers, torch.from_numpy(matrix.data).to(**made)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, *rows: Tensor) -> Tensor:
        ctx.save_for_backward(*rows)
        columns, pointers, entries = rows[:3]
        return embedding_bag(
            columns,
            x,
            pointers,
            mode="sum",
            per_sample_weights=entries,
            include_last_offset=True,
        )

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows = ctx.saved_tensors
        own, transposed = rows[:3], rows[3:]
        return _Product.apply(gradient.contiguous(), *transposed, *own), *[None] * 6
