r"""Blur, and the least squares problems that undo it: a linear map with two arguments.

    b = k * x + noise,   with * the circular convolution,   sum k = 1,   k >= 0

Kernels are ``(B, size, size)`` with odd size and the displacement 0 in the middle.

Chapter: ``diffusion``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

import gdl._checks as check
from gdl.diffusion._shifts import moved_kernels, whole_mean


def blur(images: Tensor, kernels: Tensor) -> Tensor:
    r"""The circular convolution of each image with its kernel: ``b_p = sum_a k_a x_(p - a)``.

    Args:
        images: (B, C, H, W), floating-point.
        kernels: (B, size, size), size odd and at most H and W.

    Returns:
        b, (B, C, H, W).

    Raises: TypeError or ValueError for other arguments.

    Law tested: the sum above by rolls; commutes with shifts; quarter turns and flips of both are
    those of the result. Chapter: ``diffusion``.

    >>> x = torch.zeros(1, 1, 3, 3); x[0, 0, 0, 0] = 1
    >>> kernel = torch.tensor([[[0.0, 0, 0], [0, 0.75, 0.25], [0, 0, 0]]])
    >>> blur(x, kernel)[0, 0, 0]
    tensor([0.7500, 0.2500, 0.0000])
    """
    _check_pair(images, kernels)
    return _inverse(_spectrum(kernels, images) * torch.fft.rfft2(images), images)


def gradients(images: Tensor) -> Tensor:
    r"""Forward differences along rows and columns, circular: (B, 1, H, W) to (B, 2, H, W).

    Args:
        images: (B, 1, H, W), floating-point.

    Returns:
        ``x_(r+1, c) - x_(r, c)`` and ``x_(r, c+1) - x_(r, c)``.

    Raises: TypeError or ValueError for other arguments.

    Law tested: commutes with blurring. Chapter: ``diffusion``.

    >>> gradients(torch.tensor([[[[0.0, 1.0], [3.0, 3.0]]]])).tolist()
    [[[[3.0, 2.0], [-3.0, -2.0]], [[1.0, -1.0], [0.0, 0.0]]]]
    """
    _check_images(images)
    return torch.cat([images.roll(-1, 2) - images, images.roll(-1, 3) - images], 1)


def sharpen(fields: Tensor, kernels: Tensor, weight: float | Tensor, guess: Tensor) -> Tensor:
    r"""The fields of least ``|k * d - fields|^2 + weight |d - guess|^2``, by Fourier.

    Args:
        fields: (B, C, H, W), floating-point; the blurred gradients.
        kernels: (B, size, size).
        weight: positive.
        guess: (B, C, H, W).

    Returns:
        d, (B, C, H, W).

    Raises: TypeError or ValueError for other arguments.

    Law tested: a dense least squares solution, 1e-10. Chapter: ``diffusion``.

    >>> delta = torch.zeros(1, 3, 3); delta[0, 1, 1] = 1
    >>> sharpen(torch.ones(1, 1, 4, 4), delta, 1.0, torch.zeros(1, 1, 4, 4))[0, 0, 0]
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    _check_pair(fields, kernels)
    _check_alike("guess", guess, fields)
    _check_weight(weight)
    K = _spectrum(kernels, fields)
    above = K.conj() * torch.fft.rfft2(fields) + weight * torch.fft.rfft2(guess)
    return _inverse(above / (K.abs().square() + weight), fields)


def estimate_kernels(
    sharp: Tensor, fields: Tensor, weight: float | Tensor, guess: Tensor
) -> Tensor:
    r"""The kernels of least ``mean |k * sharp - fields|^2 + weight |k - guess|^2``.

    The mean is over pixels, the fields of one image are summed. The kernel lives in the window of
    the guess, so this is a system with one unknown for each of its pixels. Its matrix holds the
    products of ``sharp`` with itself shifted, its right side those with ``fields``.

    Args:
        sharp: (B, C, H, W), floating-point.
        fields: (B, C, H, W).
        weight: positive.
        guess: (B, size, size), size odd, 2 size - 1 at most H and W.

    Returns:
        k, (B, size, size).

    Raises: TypeError or ValueError for other arguments.

    Law tested: a dense least squares solution, 1e-10. Chapter: ``diffusion``.

    >>> sharp = torch.zeros(1, 1, 8, 8); sharp[0, 0, 4, 4] = 8
    >>> shifted = sharp.roll(1, 2)
    >>> estimate_kernels(sharp, shifted, 1e-4, torch.zeros(1, 3, 3)).round(decimals=3)[0]
    tensor([[0., 0., 0.],
            [0., 0., 0.],
            [0., 1., 0.]])
    """
    _check_pair(sharp, guess)
    _check_alike("fields", fields, sharp)
    _check_weight(weight)
    size, pixels = guess.shape[-1], sharp.shape[-1] * sharp.shape[-2]
    if 2 * size - 1 > min(sharp.shape[-2:]):
        raise ValueError(
            f"guess: expected at most {(min(sharp.shape[-2:]) + 1) // 2} pixels a side for images "
            f"of shape {tuple(sharp.shape[-2:])}, got {size}"
        )
    S, B = torch.fft.rfft2(sharp), torch.fft.rfft2(fields)
    itself = _inverse(S.abs().square().sum(1), sharp) / pixels
    across = _inverse((S.conj() * B).sum(1), sharp) / pixels
    line = torch.arange(size, device=sharp.device) - size // 2
    row, column = (a.flatten() for a in torch.meshgrid(line, line, indexing="ij"))
    matrix = itself[:, row[:, None] - row, column[:, None] - column]
    ridge = weight * torch.eye(size * size, dtype=sharp.dtype, device=sharp.device)
    right = across[:, row, column] + weight * guess.flatten(1)
    solution, failed = torch.linalg.solve_ex(matrix + ridge, right)
    if check.readable(failed) and bool(failed.any()):
        raise ValueError("weight: expected a larger one, got a system that is singular")
    return check.finite("weight, guess", solution).reshape(guess.shape)


def wiener(images: Tensor, kernels: Tensor, smoothness: float | Tensor = 0.001) -> Tensor:
    r"""The images of least ``|k * x - images|^2 + smoothness |gradients of x|^2``, by Fourier.

    This is Wiener's filter for white noise and pictures whose gradients are white, with
    ``smoothness`` the ratio of the variances of noise and gradients.

    Args:
        images: (B, C, H, W), floating-point, blurred.
        kernels: (B, size, size), with sums that are not 0.
        smoothness: positive.

    Returns:
        x, (B, C, H, W).

    Raises: TypeError or ValueError for other arguments.

    Law tested: a dense least squares solution, 1e-10; commutes with shifts, quarter turns and
    flips. Chapter: ``diffusion``.

    >>> delta = torch.zeros(1, 3, 3); delta[0, 1, 1] = 1
    >>> wiener(torch.ones(1, 1, 4, 4), delta)[0, 0, 0]
    tensor([1., 1., 1., 1.])
    """
    _check_pair(images, kernels)
    _check_weight(smoothness, "smoothness")
    if check.readable(kernels) and bool((kernels.sum((1, 2)) == 0).any()):
        raise ValueError("kernels: expected sums that are not 0, since no mean could be recovered")
    K = _spectrum(kernels, images)
    rows, columns = images.shape[-2:]
    like = {"dtype": images.dtype, "device": images.device}
    r = 2 - 2 * (2 * math.pi * torch.fft.fftfreq(rows, **like)).cos()
    c = 2 - 2 * (2 * math.pi * torch.fft.rfftfreq(columns, **like)).cos()
    below = K.abs().square() + smoothness * (r[:, None] + c)
    return _inverse(K.conj() * torch.fft.rfft2(images) / below, images)


def centre_kernel(kernels: Tensor) -> Tensor:
    r"""Kernels shifted by whole pixels so that their means are nearest to the middle.

    The mean of k is the sum of displacements a, weighted by ``k_a / sum k``. Zeros enter at the
    border; what leaves the window is lost, and the rest is scaled to sum 1.

    Args:
        kernels: (B, size, size), floating-point, not negative, with positive sums, size odd.

    Returns:
        (B, size, size), with sums 1.

    Raises: TypeError or ValueError for other arguments.

    Law tested: undoes shifts that lose nothing; afterwards means are at most half a pixel from the
    middle if nothing was lost; commutes with quarter turns and flips. Chapter: ``diffusion``.

    >>> kernel = torch.zeros(1, 5, 5); kernel[0, 3, 1] = 2
    >>> centre_kernel(kernel)[0, 2]
    tensor([0., 0., 1., 0., 0.])
    """
    _check_kernels(kernels)
    if check.readable(kernels) and bool((kernels.sum((1, 2)) <= 0).any() | (kernels < 0).any()):
        raise ValueError("kernels: expected entries >= 0 with positive sums")
    return moved_kernels(kernels, whole_mean(kernels))


def align(images: Tensor, truth: Tensor, *, reach: int = 2) -> Tensor:
    r"""Each image in that of its circular shifts by whole pixels which is nearest to the truth.

    Args:
        images, truth: (B, C, H, W), floating-point.
        reach: the largest shift along rows and columns.

    Returns:
        (B, C, H, W).

    Raises: TypeError or ValueError for other arguments.

    Law tested: undoes shifts within the reach; never farther from the truth than the images.
    Chapter: ``diffusion``.

    >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> bool((align(x.roll(1, 3), x) == x).all())
    True
    """
    _check_images(images, None)
    _check_alike("truth", truth, images)
    check.integer("reach", reach)
    shifted = torch.stack(_shifts(images, reach))
    best = (shifted - truth).square().sum((2, 3, 4)).argmin(0)
    return shifted[best, torch.arange(len(images), device=images.device)]


def sparse_energy(images: Tensor, power: float) -> Tensor:
    r"""The mean of ``|g|^power`` over all gradients g of an image, ``|0|^0`` being 0.

    Args:
        images: (B, 1, H, W), floating-point.
        power: positive, or 0 to count the gradients that are not 0.

    Returns:
        (B,), differentiable where gradients are not 0; flat places receive no gradient.

    Raises: TypeError or ValueError for other arguments.

    Law tested: by hand on a step, and its gradient by differences. Chapter: ``diffusion``.

    >>> sparse_energy(torch.tensor([[[[0.0, 2.0], [0.0, 2.0]]]]), 2.0)
    tensor([2.])
    """
    check.number("power", power, 0)
    size = gradients(images).abs()
    # Flat places cost nothing, and the slope of the power there, perhaps infinite, is not theirs.
    steps = torch.where(size > 0, size, 1.0)
    return torch.where(size > 0, steps**power, 0.0).mean((1, 2, 3))


def _spectrum(kernels: Tensor, images: Tensor) -> Tensor:
    """Eigenvalues of the blur, (B, 1, H, W // 2 + 1)."""
    size, (rows, columns) = kernels.shape[-1], images.shape[-2:]
    padded = pad(kernels, (0, columns - size, 0, rows - size))
    return torch.fft.rfft2(padded.roll((-(size // 2),) * 2, (1, 2)))[:, None]


def _inverse(spectrum: Tensor, like: Tensor) -> Tensor:
    result = torch.fft.irfft2(spectrum, s=like.shape[-2:])
    if check.readable(result) and not check.all_finite(result):
        raise ValueError(f"images, kernels: expected a result that {like.dtype} can hold")
    return result


def _shifts(x: Tensor, reach: int) -> list[Tensor]:
    steps = range(-reach, reach + 1)
    return [x.roll((row, column), (-2, -1)) for row in steps for column in steps]


def _check_images(images: Tensor, channels: int | None = 1) -> None:
    check.shaped("images", images, channels, None, None)
    if images.ndim != 4 or not images.numel():
        wanted = "C" if channels is None else channels
        raise ValueError(f"images: expected shape (B, {wanted}, H, W), got {tuple(images.shape)}")
    if images.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"images: expected float32 or float64, got {images.dtype}")
    check.finite("images", images)


def _check_kernels(kernels: Tensor) -> None:
    check.floating("kernels", kernels)
    if kernels.ndim != 3 or kernels.shape[1] != kernels.shape[2] or kernels.shape[1] % 2 == 0:
        raise ValueError(
            f"kernels: expected shape (B, size, size) with odd size, got {tuple(kernels.shape)}"
        )
    check.finite("kernels", kernels)


def _check_pair(images: Tensor, kernels: Tensor) -> None:
    """Images and one kernel for each, that is not larger."""
    _check_images(images, None)
    _check_kernels(kernels)
    _check_same_kind("kernels", kernels, images)
    if len(kernels) != len(images):
        raise ValueError(f"kernels: expected one for each of {len(images)}, got {len(kernels)}")
    if kernels.shape[-1] > min(images.shape[-2:]):
        raise ValueError(
            f"images: expected at least the {kernels.shape[-1]} pixels of a kernel a side, got "
            f"{tuple(images.shape[-2:])}"
        )


def _check_alike(name: str, x: Tensor, like: Tensor) -> None:
    check.finite(name, check.floating(name, x))
    _check_same_kind(name, x, like)
    if x.shape != like.shape:
        raise ValueError(f"{name}: expected shape {tuple(like.shape)}, got {tuple(x.shape)}")


def _check_same_kind(name: str, x: Tensor, like: Tensor) -> None:
    if x.dtype != like.dtype or x.device != like.device:
        wanted, got = (f"{t.dtype} on {t.device}" for t in (like, x))
        raise TypeError(f"{name}: expected {wanted}, got {got}")


def _check_weight(weight: float | Tensor, name: str = "weight") -> None:
    if not isinstance(weight, Tensor):
        check.positive(name, weight)
    elif check.readable(weight) and not (weight.numel() == 1 and bool(0 < weight < math.inf)):
        raise ValueError(f"{name}: expected a positive finite number, got {weight.detach()}")
