r"""Gaussian kernels between pixels: how much two of them have to do with each other.

Chapter: ``inference``.
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check

MOST_POINTS = 2**14


def gaussian_kernel(features: Tensor, widths: float | Tensor) -> Tensor:
    r"""Affinities of all pairs of points by their features, and none of a point with itself.

        k_ij = exp(- sum_c (f_ic - f_jc)^2 / (2 w_c^2))  for i != j,    k_ii = 0

    It holds ``n^2`` numbers, and there is no way around them here.

    Args:
        features: (..., n, d), floating-point, finite, n at most 16384.
        widths: w > 0, one number for all features or a tensor (d,), also a trained one.

    Returns:
        (..., n, n), symmetric up to rounding, entries between 0 and 1, zero diagonal.

    Raises:
        TypeError: arguments of other types.
        ValueError: other shapes, entries that are not finite, widths that are not positive or so
            small that squared distances overflow, more points than 16384.

    Law tested: the formula by SciPy's distances to 1e-12; unchanged by motions of the features;
    with ones on the diagonal no eigenvalue is negative. Chapter: ``inference``.

    >>> gaussian_kernel(torch.tensor([[0.0], [1.0], [2.0]]), 1.0)
    tensor([[0.0000, 0.6065, 0.1353],
            [0.6065, 0.0000, 0.6065],
            [0.1353, 0.6065, 0.0000]])
    """
    check.finite("features", check.shaped("features", features, None, None))
    n = features.shape[-2]
    if not 1 <= n <= MOST_POINTS:
        raise ValueError(
            f"features: expected 1 to {MOST_POINTS} points, got {n}; a kernel holds n^2 numbers"
        )
    scaled = features / _widths(widths, features)
    # Distances do not see a common shift, but their rounding does.
    scaled = scaled - scaled.mean(-2, keepdim=True)
    lengths = scaled.square().sum(-1)
    if check.readable(lengths) and not check.all_finite(lengths):
        raise ValueError("features, widths: expected squares of f / w that are finite numbers")
    squared = lengths[..., :, None] + lengths[..., None, :] - 2 * scaled @ scaled.mT
    kernel = (-squared.clamp(min=0) / 2).exp()
    return kernel.masked_fill(torch.eye(n, dtype=torch.bool, device=features.device), 0)


def pixel_positions(
    height: int,
    width: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Row and column of every pixel, row by row: ``(height * width, 2)``.

    Args:
        height, width: of the image, at least 1.
        device, dtype: of the result; a real floating-point type.

    Raises: TypeError or ValueError for other arguments.

    Law tested: pixel ``column + width * row`` stands at ``(row, column)``. Chapter: ``inference``.

    >>> pixel_positions(1, 3)
    tensor([[0., 0.],
            [0., 1.],
            [0., 2.]])
    """
    check.integer("height", height, 1)
    check.integer("width", width, 1)
    kind = check.real_dtype(torch.get_default_dtype() if dtype is None else dtype)
    rows, columns = (torch.arange(side, device=device, dtype=kind) for side in (height, width))
    return torch.cartesian_prod(rows, columns)


def spatial_kernel(height: int, width: int, spread: float | Tensor, **where) -> Tensor:
    r"""The kernel of the positions alone: near pixels have to do with each other.

        k_ij = exp(-|p_i - p_j|^2 / (2 spread^2)),    k_ii = 0

    Args:
        height, width: of the image, at least 1.
        spread: in pixels, positive, a number or a scalar tensor.
        where: device and dtype of the result.

    Returns:
        (n, n) with n = height * width, pixels row by row.

    Raises: TypeError or ValueError for other arguments.

    Law tested: that of :func:`~gdl.inference.gaussian_kernel` on the positions. Chapter:
    ``inference``.

    >>> spatial_kernel(1, 2, 1.0)
    tensor([[0.0000, 0.6065],
            [0.6065, 0.0000]])
    """
    return gaussian_kernel(pixel_positions(height, width, **where), spread)


def bilateral_kernel(
    images: Tensor, position_width: float | Tensor, colour_width: float | Tensor
) -> Tensor:
    r"""The kernel of positions and colours: near pixels of like colour belong together.

        k_ij = exp(-|p_i - p_j|^2 / (2 position_width^2) - |c_i - c_j|^2 / (2 colour_width^2))

    and ``k_ii = 0``.

    Args:
        images: (B, C, H, W), floating-point, finite.
        position_width: in pixels, positive, a number or a scalar tensor.
        colour_width: in the units of the images, positive, a number or a scalar tensor.

    Returns:
        (B, n, n) with n = H * W, pixels row by row.

    Raises: TypeError or ValueError for other arguments.

    Law tested: the product of the kernel of positions and that of colours, off the diagonal; an
    image of one colour gives the spatial kernel. Chapter: ``inference``.

    >>> bilateral_kernel(torch.tensor([[[[0.0, 0.0, 1.0]]]]), 2.0, 0.3)
    tensor([[[0.0000, 0.8825, 0.0023],
             [0.8825, 0.0000, 0.0034],
             [0.0023, 0.0034, 0.0000]]])
    """
    colours = pixel_colours(images)
    positions = pixel_positions(*images.shape[-2:], device=images.device, dtype=images.dtype)
    scaled = (
        positions.expand(len(images), -1, -1)
        / _widths(position_width, positions, "position_width"),
        colours / _widths(colour_width, colours, "colour_width"),
    )
    return gaussian_kernel(torch.cat(scaled, -1), 1.0)


def pixel_colours(images: Tensor) -> Tensor:
    r"""The colours of the pixels, row by row: ``(B, C, H, W)`` to ``(B, H * W, C)``.

    Raises: TypeError or ValueError for anything but finite floating-point images.

    Law tested: inverse to reshaping. Chapter: ``inference``.

    >>> pixel_colours(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]]))
    tensor([[[1., 3.],
             [2., 4.]]])
    """
    check.floating("images", images)
    if images.ndim != 4 or not images.numel():
        raise ValueError(f"images: expected shape (B, C, H, W), got {tuple(images.shape)}")
    return check.finite("images", images).flatten(2).mT


def normalized_kernel(kernel: Tensor) -> Tensor:
    r"""The kernel divided by the roots of its row sums, so that its eigenvalues are at most 1.

        k_ij / sqrt(d_i d_j),    d_i = sum_j k_ij

    It stays symmetric, which division by rows would not. Points without neighbours keep 0.

    Args:
        kernel: (..., n, n), floating-point, finite, not negative.

    Returns:
        (..., n, n).

    Raises: TypeError or ValueError for other arguments.

    Law tested: eigenvalues between -1 and 1, the largest being 1 with eigenvector ``sqrt(d)``;
    times a constant it stays the same. Chapter: ``inference``.

    >>> normalized_kernel(torch.tensor([[0.0, 4.0], [4.0, 0.0]]))
    tensor([[0., 1.],
            [1., 0.]])
    """
    check.finite("kernel", check.shaped("kernel", kernel, None, None))
    if kernel.shape[-1] != kernel.shape[-2]:
        raise ValueError(f"kernel: expected shape (..., n, n), got {tuple(kernel.shape)}")
    if check.readable(kernel) and bool((kernel < 0).any()):
        raise ValueError("kernel: expected entries that are not negative")
    least = torch.finfo(kernel.dtype).tiny ** 0.5
    scale = kernel.sum(-1).clamp(min=least).rsqrt()
    return scale[..., :, None] * kernel * scale[..., None, :]


def _widths(widths: float | Tensor, features: Tensor, name: str = "widths") -> float | Tensor:
    """Positive widths that divide features (..., d)."""
    if not isinstance(widths, Tensor):
        return check.positive(name, widths)
    check.typed(name, widths, features.dtype)
    if widths.shape not in ((), features.shape[-1:]):
        raise ValueError(
            f"{name}: expected one number or shape {tuple(features.shape[-1:])}, "
            f"got {tuple(widths.shape)}"
        )
    if check.readable(widths) and not bool((widths > 0).all() and torch.isfinite(widths).all()):
        raise ValueError(f"{name}: expected positive finite widths")
    return widths
