r"""The spatial transformer for windows without turns: reading and drawing, two linear maps.

A window of side w stands at ``where = (scale, row, column)``, in pixels: its centre is at this row
and column of the canvas, and neighbours in the window are ``scale`` pixels of the canvas apart.
Interpolation is bilinear, a product of one map for rows and one for columns.

Chapter: ``inference``.
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check


def glimpse(images: Tensor, where: Tensor, size: int) -> Tensor:
    r"""Read a square window of each image.

        window(i, j) = image(row + scale (i - c), column + scale (j - c)),    c = (size - 1) / 2

    with bilinear interpolation between pixels and zeros outside the image.

    Args:
        images: (..., C, H, W), floating-point, finite.
        where: (..., 3), scale, row and column of each window, with the leading axes and the dtype
            of ``images``; scales are positive.
        size: side of the window, at least 1 and at most H and W.

    Returns:
        (..., C, size, size).

    Raises: TypeError or ValueError for other arguments.

    Law tested: the matrix of :func:`~gdl.inference.glimpse_matrix`; whole shifts are exact; affine
    images are read exactly; torch's grid_sample. Source: Jaderberg, Simonyan, Zisserman and
    Kavukcuoglu, "Spatial Transformer Networks", NeurIPS 2015. Chapter: ``inference``.

    >>> image = torch.arange(16.0).reshape(1, 4, 4)
    >>> glimpse(image, torch.tensor([1.0, 1.5, 2.5]), 2)
    tensor([[[ 6.,  7.],
             [10., 11.]]])
    """
    _pictures("images", images)
    _size("size", size, min(images.shape[-2:]))
    scale, row, column = _places(where, images)
    rows = _reading(scale, row, size, images.shape[-2])
    columns = _reading(scale, column, size, images.shape[-1])
    return rows @ images @ columns.mT


def paste(windows: Tensor, where: Tensor, size: int) -> Tensor:
    r"""Draw a square window on an empty square canvas: the inverse of reading it.

        canvas(a, b) = window(c + (a - row) / scale, c + (b - column) / scale),    c = (w - 1) / 2

    with bilinear interpolation and zeros outside the window.

    Args:
        windows: (..., C, w, w), floating-point, finite.
        where: (..., 3), as in :func:`~gdl.inference.glimpse`.
        size: side of the canvas, at least w.

    Returns:
        (..., C, size, size).

    Raises: TypeError or ValueError for other arguments.

    Law tested: the matrix of :func:`~gdl.inference.paste_matrix`; linear in the window; a whole
    shift of ``where`` shifts the drawing; read back, a window returns exactly where its pixels fell
    on pixels of the canvas; at scale 1 it is the adjoint of :func:`~gdl.inference.glimpse`, at
    other scales it is not. Chapter: ``inference``.

    >>> paste(torch.ones(1, 1, 1), torch.tensor([1.0, 2.0, 0.0]), 3)[0]
    tensor([[0., 0., 0.],
            [0., 0., 0.],
            [1., 0., 0.]])
    """
    _pictures("windows", windows)
    height, width = windows.shape[-2:]
    if height != width:
        raise ValueError(f"windows: expected square ones, got {height} x {width}")
    check.integer("size", size)
    if size < width:
        raise ValueError(f"size: expected a canvas of at least {width}, the window, got {size}")
    scale, row, column = _places(where, windows)
    rows = _drawing(scale, row, width, size)
    columns = _drawing(scale, column, width, size)
    return rows @ windows @ columns.mT


def glimpse_matrix(where: Tensor, height: int, width: int, size: int) -> Tensor:
    r"""The matrix of :func:`~gdl.inference.glimpse` on pictures read row by row.

    It is the Kronecker product of the map for rows and the map for columns.

    Args:
        where: (..., 3), floating-point.
        height, width: of the picture, at least ``size``.
        size: side of the window.

    Returns:
        (..., size^2, height width).

    Raises: TypeError or ValueError for other arguments.

    Law tested: equal to reading each picture of one pixel. Chapter: ``inference``.

    >>> glimpse_matrix(torch.tensor([1.0, 0.0, 0.5]), 2, 2, 1)
    tensor([[0.5000, 0.5000, 0.0000, 0.0000]])
    """
    check.integer("height", height, 1)
    check.integer("width", width, 1)
    _size("size", size, min(height, width))
    scale, row, column = _split(where)
    return _kronecker(_reading(scale, row, size, height), _reading(scale, column, size, width))


def paste_matrix(where: Tensor, window: int, size: int) -> Tensor:
    r"""The matrix of :func:`~gdl.inference.paste` on pictures read row by row.

    Args:
        where: (..., 3), floating-point.
        window: side of the window, at least 1.
        size: side of the canvas, at least ``window``.

    Returns:
        (..., size^2, window^2).

    Raises: TypeError or ValueError for other arguments.

    Law tested: equal to drawing each window of one pixel; the transpose of
    :func:`~gdl.inference.glimpse_matrix` at scale 1. Chapter: ``inference``.

    >>> paste_matrix(torch.tensor([1.0, 0.0, 0.5]), 1, 2).T
    tensor([[0.5000, 0.5000, 0.0000, 0.0000]])
    """
    check.integer("window", window, 1)
    check.integer("size", size, window)
    scale, row, column = _split(where)
    return _kronecker(_drawing(scale, row, window, size), _drawing(scale, column, window, size))


def _reading(scale: Tensor, centre: Tensor, window: int, size: int) -> Tensor:
    """One axis of a glimpse: (..., window, size)."""
    pixels = torch.arange(window, dtype=scale.dtype, device=scale.device) - (window - 1) / 2
    places = centre[..., None] + scale[..., None] * pixels
    return _hat(places[..., None] - torch.arange(size, dtype=scale.dtype, device=scale.device))


def _drawing(scale: Tensor, centre: Tensor, window: int, size: int) -> Tensor:
    """One axis of a drawing: (..., size, window)."""
    pixels = torch.arange(size, dtype=scale.dtype, device=scale.device)
    places = (window - 1) / 2 + (pixels - centre[..., None]) / scale[..., None]
    return _hat(places[..., None] - torch.arange(window, dtype=scale.dtype, device=scale.device))


def _hat(distance: Tensor) -> Tensor:
    """The weight of a pixel at this distance under linear interpolation."""
    return torch.relu(1 - distance.abs())


def _kronecker(rows: Tensor, columns: Tensor) -> Tensor:
    product = torch.einsum("...ia,...jb->...ijab", rows, columns)
    return product.flatten(-2).flatten(-3, -2)


def _pictures(name: str, x: Tensor) -> None:
    check.finite(name, check.floating(name, x))
    if x.ndim < 3 or not x.numel():
        raise ValueError(f"{name}: expected shape (..., C, H, W), not empty, got {tuple(x.shape)}")


def _size(name: str, size: int, most: int) -> None:
    check.integer(name, size, 1)
    if size > most:
        raise ValueError(f"{name}: expected at most {most}, the side of the picture, got {size}")


def _places(where: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scale, row and column with one more axis for the channels."""
    check.floating("where", where)
    wanted = (*pictures.shape[:-3], 3)
    if where.shape != wanted:
        raise ValueError(f"where: expected shape {wanted}, got {tuple(where.shape)}")
    if where.dtype != pictures.dtype or where.device != pictures.device:
        raise TypeError(
            f"where: expected {pictures.dtype} on {pictures.device}, as the pictures, "
            f"got {where.dtype} on {where.device}"
        )
    return _split(where[..., None, :])


def _split(where: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    check.finite("where", check.shaped("where", where, 3))
    scale, row, column = where.unbind(-1)
    if check.readable(scale) and bool((scale <= 0).any()):
        raise ValueError(f"where: expected positive scales, got {float(scale.detach().min())}")
    return scale, row, column
