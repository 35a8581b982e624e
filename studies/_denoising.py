"""The simplest denoiser of the study "tnrd"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from gdl.diffusion.baselines import OracleDenoising
from gdl.diffusion.quality import psnr


def oracle_gaussian(
    noisy: Tensor, truth: Tensor, *, widths: Sequence[float] = tuple(np.geomspace(0.4, 4, 16))
) -> OracleDenoising:
    """Convolution with the Gaussian that is best for each image, (B, 1, H, W)."""
    pixels = noisy.cpu().double().numpy()
    blurred = [[gaussian_filter(x[0], s, mode="mirror")[None] for x in pixels] for s in widths]
    results = torch.from_numpy(np.array(blurred)).to(truth)
    ratios = torch.stack([psnr(result, truth) for result in results])
    best, images = ratios.argmax(0), torch.arange(len(noisy))
    return OracleDenoising(results[best, images], torch.tensor(widths)[best], ratios[best, images])
