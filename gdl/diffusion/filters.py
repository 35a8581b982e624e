"""Filters, their exact adjoints, and how quarter turns and flips move them.

An image is filtered after it has been continued over its border, ``A = K P`` with the
continuation P and the correlation K. The adjoint is ``A^T = P^T K^T``: correlate with the
filter turned by 180 degrees, then fold what lies outside back onto the pixels that it came from.

Chapter: ``diffusion``.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

import gdl._checks as check

BOUNDARIES = ("reflect", "circular")

# Each move is (quarter turns, flip): first flip the columns or not, then turn counter-clockwise.
MOVES = {
    "C4": tuple((turns, False) for turns in range(4)),
    "D4": tuple((turns, flip) for flip in (False, True) for turns in range(4)),
}


def dct_filters(size: int, *, dtype: torch.dtype | None = None) -> Tensor:
    r"""The products of cosines on a square, all but the constant one.

        c_kl(r, s) = w_k(r) w_l(s),    w_k(r) = a_k cos(pi k (r + 1/2) / size)

    with a_0^2 = 1 / size and a_k^2 = 2 / size. Together with the constant they are an orthonormal
    basis, so that each of these sums to zero.

    Args:
        size: side of the square, at least 2.
        dtype: of the result, torch's default by default.

    Returns:
        (size^2 - 1, size, size), in the order (k, l) = (0, 1), (0, 2), ..., row by row.

    Raises: TypeError or ValueError for other arguments.

    Law tested: orthonormal to 1e-12 and of mean zero; equal to ``scipy.fft.dctn`` of a picture; a
    quarter turn or a flip maps each to another one up to its sign. Chapter: ``diffusion``.

    >>> dct_filters(2).shape
    torch.Size([3, 2, 2])
    """
    check.integer("size", size, 2)
    dtype = check.real_dtype(torch.get_default_dtype() if dtype is None else dtype)
    k = torch.arange(size, dtype=torch.float64)
    waves = torch.cos(math.pi * k[:, None] * (k + 0.5) / size) * math.sqrt(2 / size)
    waves[0] /= math.sqrt(2)
    return torch.einsum("kr,ls->klrs", waves, waves).flatten(0, 1)[1:].to(dtype)


def move(x: Tensor, turns: int, flip: bool = False) -> Tensor:
    """Flip the columns of the last two axes or not, then turn counter-clockwise by quarters.

    Args:
        x: (..., H, W).
        turns: number of quarter turns, any int.
        flip: whether to reverse the columns first.

    Returns:
        (..., H, W), or (..., W, H) for odd ``turns``.

    Raises: TypeError or ValueError for other arguments.

    Law tested: the eight moves are different and closed under composition; they are the matrices
    by which the solver is asked. Chapter: ``diffusion``.

    >>> move(torch.tensor([[1, 2], [3, 4]]), 1).tolist()
    [[2, 4], [1, 3]]
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x: expected a torch.Tensor, got {type(x).__name__}")
    if x.ndim < 2:
        raise ValueError(f"x: expected shape (..., H, W), got {tuple(x.shape)}")
    check.boolean("flip", flip)
    turns = check.integer("turns", turns, -(2**62), 2**62) % 4
    return torch.rot90(x.flip(-1) if flip else x, turns, (-2, -1))


def orbit(filters: Tensor, symmetry: str | None) -> Tensor:
    """All filters that quarter turns, and flips, make of some.

    Args:
        filters: (n, K, K), floating-point.
        symmetry: ``"C4"`` for quarter turns, ``"D4"`` with flips, None for the filters alone.

    Returns:
        (n |G|, K, K), the moved copies of each filter one after another.

    Raises: TypeError or ValueError for other arguments.

    Law tested: moving the image permutes the responses within each orbit to 1e-12, the filters
    alone do not; they span what the solver finds. Chapter: ``diffusion``.

    >>> orbit(torch.eye(3)[None], "C4").shape
    torch.Size([4, 3, 3])
    """
    _filters(filters)
    check.one_of("symmetry", symmetry, (None, *MOVES))
    if symmetry is None:
        return filters
    return torch.stack([move(filters, *g) for g in MOVES[symmetry]], 1).flatten(0, 1)


def filter_responses(images: Tensor, filters: Tensor, boundary: str = "reflect") -> Tensor:
    """Correlate every image with every filter, the image being continued over its border.

        (A u)_i(p) = sum_d k_i(d) u(p + d)

    Args:
        images: (B, 1, H, W), floating-point.
        filters: (n, K, K), K odd, in the dtype of the images.
        boundary: ``"reflect"`` mirrors the image at its outermost pixels, ``"circular"`` wraps.

    Returns:
        (B, n, H, W).

    Raises: TypeError or ValueError for other arguments, and for images with sides of at most
    ``K // 2`` pixels.

    Law tested: the matrix of its definition to 1e-12, on pictures that are not square, too; its
    boundaries are those of ``numpy.pad``. Chapter: ``diffusion``.

    >>> filter_responses(torch.ones(1, 1, 4, 5), dct_filters(3)).abs().max() < 1e-6
    tensor(True)
    """
    reach = _fitting(images, filters, 1)
    check.one_of("boundary", boundary, BOUNDARIES)
    x = images
    for axis in (2, 3):
        x = x.index_select(axis, _sources(images.shape[axis], reach, boundary, x.device))
    return F.conv2d(x, filters[:, None])


def adjoint_responses(responses: Tensor, filters: Tensor, boundary: str = "reflect") -> Tensor:
    """The transposed map of :func:`~gdl.diffusion.filter_responses`, borders included.

        <A u, v> = <u, A^T v>    for all u and v

    Args:
        responses: (B, n, H, W), floating-point.
        filters: (n, K, K), K odd, in the dtype of the responses.
        boundary: ``"reflect"`` or ``"circular"``.

    Returns:
        (B, 1, H, W).

    Raises: TypeError or ValueError for other arguments, and for responses with sides of at most
    ``K // 2`` pixels.

    Law tested: the transposed matrix to 1e-12; correlating with turned filters under the same
    boundary is not it for ``"reflect"``, and is for ``"circular"``. Chapter: ``diffusion``.

    >>> adjoint_responses(torch.ones(1, 8, 4, 5), dct_filters(3)).shape
    torch.Size([1, 1, 4, 5])
    """
    reach = _fitting(responses, filters, len(_filters(filters)))
    check.one_of("boundary", boundary, BOUNDARIES)
    x = F.conv_transpose2d(responses, filters[:, None])
    for axis in (2, 3):
        side = responses.shape[axis]
        shape = (*x.shape[:axis], side, *x.shape[axis + 1 :])
        sources = _sources(side, reach, boundary, x.device)
        x = x.new_zeros(shape).index_add(axis, sources, x)
    return x


def _sources(side: int, reach: int, boundary: str, device: torch.device) -> Tensor:
    """For each position from -reach to side - 1 + reach, the pixel that is seen there."""
    position = torch.arange(-reach, side + reach, device=device)
    if boundary == "circular":
        return position % side
    return (side - 1) - ((side - 1) - position.abs()).abs()


def _filters(filters: Tensor) -> Tensor:
    check.finite("filters", check.floating("filters", filters))
    if filters.ndim != 3 or not filters.numel() or filters.shape[1] != filters.shape[2]:
        raise ValueError(f"filters: expected shape (n, K, K), got {tuple(filters.shape)}")
    return filters


def _fitting(x: Tensor, filters: Tensor, channels: int) -> int:
    """How far the filters reach, if the field has these channels and is larger than that."""
    _filters(filters)
    check.finite("images", check.floating("images", x))
    if x.dtype != filters.dtype or x.device != filters.device:
        want, got = f"{filters.dtype} on {filters.device}", f"{x.dtype} on {x.device}"
        raise ValueError(f"images: expected {want}, as the filters, got {got}")
    size = filters.shape[-1]
    if size % 2 == 0:
        raise ValueError(f"filters: expected an odd side, got shape {tuple(filters.shape)}")
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"images: expected shape (B, {channels}, H, W), got {tuple(x.shape)}")
    if min(x.shape[2:]) <= size // 2:
        raise ValueError(
            f"images: expected sides above {size // 2} for filters of side {size}, "
            f"got {tuple(x.shape)}"
        )
    return size // 2
