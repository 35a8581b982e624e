"""How far an image is from the true one.

Chapter: ``diffusion``.
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check


def psnr(images: Tensor, truth: Tensor, peak: float = 1.0) -> Tensor:
    """Peak signal-to-noise ratio of each image, in decibels.

        10 log10(peak^2 / mean of (image - truth)^2)

    the mean being over channels and pixels. It is infinite for equal images. Noise of standard
    deviation s alone has ``-20 log10(s / peak)``, which is 20.2 for s = 25/255.

    Args:
        images: (B, C, H, W), floating-point, finite.
        truth: the same shape, dtype and device.
        peak: the largest value that a pixel can have, positive.

    Returns:
        (B,), in the dtype of the images; differentiable where the images differ.

    Raises: TypeError or ValueError for other arguments.

    Law tested: equal to ``skimage.metrics.peak_signal_noise_ratio`` to 1e-12; adding a constant c
    gives ``-20 log10(c / peak)``; images of a batch do not see each other. Chapter: ``diffusion``.

    >>> truth = torch.zeros(1, 1, 4, 4)
    >>> psnr(truth + 0.1, truth)
    tensor([20.])
    """
    check.finite("images", check.floating("images", images))
    check.finite("truth", check.floating("truth", truth))
    if images.ndim != 4 or not images.numel():
        raise ValueError(f"images: expected shape (B, C, H, W), got {tuple(images.shape)}")
    for kind in ("shape", "dtype", "device"):
        want, got = getattr(images, kind), getattr(truth, kind)
        if got != want:
            raise ValueError(f"truth: expected the {kind} of images, {want}, got {got}")
    peak = check.positive("peak", peak)
    if peak < torch.finfo(images.dtype).tiny:
        raise ValueError(f"peak: expected a number that {images.dtype} can hold, got {peak}")
    error = ((images - truth) / peak).square().mean((1, 2, 3))
    return -10 * torch.log10(error)
