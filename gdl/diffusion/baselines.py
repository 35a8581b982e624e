"""Classical denoisers whose parameter is chosen for each image by looking at the truth.

No method that does not know the truth can choose better, so that they are hard to beat.

Chapter: ``diffusion``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import gdl._checks as check
from gdl.diffusion.quality import psnr


@dataclass(frozen=True)
class OracleDenoising:
    """What the best parameter of each image gives.

    Attributes:
        images: ``(B, 1, H, W)``, the denoised images.
        parameters: ``(B,)``, float64, the parameter chosen for each.
        psnr: ``(B,)``, of the denoised images.

    Chapter: ``diffusion``.

    >>> truth = torch.rand(1, 1, 8, 8)
    >>> oracle_tv(truth + 0.1, truth, weights=(0.1, 0.2)).images.shape
    torch.Size([1, 1, 8, 8])
    """

    images: Tensor
    parameters: Tensor
    psnr: Tensor


def oracle_tv(
    noisy: Tensor, truth: Tensor, *, weights: Sequence[float] | None = None
) -> OracleDenoising:
    """Total variation with the best weight, by ``skimage.restoration.denoise_tv_chambolle``.

    Args:
        noisy, truth: (B, 1, H, W), floating-point.
        weights: to choose from; by default 16 from 0.02 to 0.4.

    Returns:
        The best of each image.

    Raises: TypeError or ValueError for other arguments.

    Law tested: best on its grid; the result has less of its energy than the noisy image and than
    the truth. Chapter: ``diffusion``.

    >>> truth = torch.zeros(1, 1, 16, 16)
    >>> noisy = 0.1 * torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> bool(oracle_tv(noisy, truth).psnr > 30)
    True
    """
    from skimage.restoration import denoise_tv_chambolle

    weights = np.geomspace(0.02, 0.4, 16) if weights is None else weights
    return _best(
        noisy,
        truth,
        weights,
        lambda x, w: denoise_tv_chambolle(x, weight=w, eps=1e-5, max_num_iter=500),
    )


def oracle_nlm(
    noisy: Tensor,
    truth: Tensor,
    *,
    sigma: float = 25 / 255,
    cuts: Sequence[float] | None = None,
) -> OracleDenoising:
    """Non-local means with the best cut-off, by ``skimage.restoration.denoise_nl_means``.

    Patches of 5 x 5 pixels are compared up to 7 pixels away.

    Args:
        noisy, truth: (B, 1, H, W), floating-point.
        sigma: standard deviation of the noise, which the distances of patches are corrected for.
        cuts: cut-off distances h to choose from; by default 12 from 0.02 to 0.2.

    Returns:
        The best of each image.

    Raises: TypeError or ValueError for other arguments.

    Law tested: best on its grid; better than the noisy image. Chapter: ``diffusion``.

    >>> truth = torch.zeros(1, 1, 16, 16)
    >>> noisy = 0.1 * torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> bool(oracle_nlm(noisy, truth, cuts=(0.1, 0.2)).psnr > 25)
    True
    """
    from skimage.restoration import denoise_nl_means

    cuts = np.geomspace(0.02, 0.2, 12) if cuts is None else cuts
    sigma = check.positive("sigma", sigma)
    return _best(
        noisy,
        truth,
        cuts,
        lambda x, h: denoise_nl_means(x, patch_size=5, patch_distance=7, h=h, sigma=sigma),
    )


def _best(
    noisy: Tensor,
    truth: Tensor,
    parameters: Sequence[float],
    method: Callable[[np.ndarray, float], np.ndarray],
) -> OracleDenoising:
    """For each image the result and the parameter with the highest ratio."""
    psnr(noisy, truth)
    if noisy.shape[1] != 1:
        raise ValueError(f"noisy: expected shape (B, 1, H, W), got {tuple(noisy.shape)}")
    parameters = [check.positive("parameters", float(value)) for value in parameters]
    if not parameters:
        raise ValueError("parameters: expected at least one to choose from, got none")
    pixels = noisy.detach().cpu().double().numpy()
    results = torch.stack(
        [
            torch.stack([torch.from_numpy(method(image[0], value))[None] for image in pixels])
            for value in parameters
        ]
    ).to(truth)
    ratios = torch.stack([psnr(result, truth) for result in results])
    best = ratios.argmax(0)
    images = torch.arange(len(noisy), device=best.device)
    chosen = torch.tensor(parameters, dtype=torch.float64, device=best.device)[best]
    return OracleDenoising(results[best, images], chosen, ratios[best, images])
