"""Reading fields with a value for each of six directions, turned, at other vertices."""

from __future__ import annotations

import torch
from torch import Tensor


def fibre_index(vertices: Tensor, shifts: Tensor, fibre: int, count: int) -> Tensor:
    r"""Where in ``f.flatten(-2)``, f ``(..., fibre, count)``, the shifted fibres at vertices stand.

        g(u, i) = f(u - s_i, v_i),    u - s modulo the fibre: 1 (scalar) or 6 (regular)

    Args:
        vertices: v, int64, any shape.
        shifts: s, int64, the same shape.
        fibre: 1 or 6.
        count: vertices in f.

    Returns:
        int64 ``(fibre, *v.shape)``.
    """
    u = torch.arange(fibre, device=vertices.device).reshape(fibre, *[1] * vertices.ndim)
    return (u - shifts) % fibre * count + vertices


def read_fibres(x: Tensor, index: Tensor) -> Tensor:
    """Entries of fields (..., d, N) at an index of :func:`fibre_index`: (..., *index.shape)."""
    flat, lead = x.flatten(-2), x.shape[:-2]
    # On the CPU this is several times as fast as indexing, forward and backward.
    places = index.to(x.device).flatten().expand(*lead, -1)
    return flat.gather(-1, places).unflatten(-1, index.shape)
