r"""Saliency by learning to diffuse: guidance, similarities and seeds of an elliptic system.

Chapter: ``diffusion``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import gdl._checks as check
from gdl import training
from gdl.diffusion.elliptic import (
    MOST_VERTICES,
    grid_edges,
    similarity_weights,
    solve_diffusion,
)
from gdl.diffusion.seeds import diffusion_seeds
from gdl.equivariance import full_precision

# A squared distance of colours that counts as far, and a value above which a pixel may be a seed.
FAR, SURE = 0.25, 0.5


class LearningToDiffuse(nn.Module):
    r"""A saliency map as the rest state of a learned diffusion: an implicit layer.

        sum_q K_pq (f_p - f_q) + lam (f_p - g_p) = 0,    f = 0 on the border,    f = 1 on seeds

    Neighbours are pixels that share a side, with weights of
    :func:`~gdl.diffusion.similarity_weights` on learned linear features of the colours. The
    guidance g is a guess pixel by pixel,

        g_p = sigmoid(bias + a D_p + c R_p),    D_p = -(1/s) log mean_q exp(-s |x_p - x_q|^2)

    with D_p a soft least distance of the colour at p to the colours on the border, and R_p the
    squared distance to the centre of the image, 1 in the corners. All numbers are learned.

    Args:
        channels: of the images.
        contrast, lam: first values of the coefficients of the diffusion, positive.
        seeds: how many seeds to choose greedily in each image, among pixels where the map without
            seeds is above 1/2; as many as there are, where these are fewer.
        device, dtype: of the parameters; float32 or float64.

    Attributes:
        features: the matrix of the features, ``(channels, channels)``, at first the identity.
        log_contrast, log_lam, log_sharpness: logarithms of contrast, lam and s.
        guess: bias, a and c.

    Shapes: ``layer(images)`` with images ``(B, channels, H, W)``, H and W at least 3, at most 6400
    pixels, returns f as ``(B, 1, H, W)``, between 0 and 1, in the dtype of the parameters, under
    autocast, too.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: sizes, shapes or devices that do not fit, images that are not finite.

    Law tested: turned and flipped images have turned and flipped maps to 1e-12; 0 <= f <= 1; the
    border is 0; for large lam it is the guidance, for equal weights heat at rest; gradients of
    all parameters by differences; the map once more by loops over pixels. Chapter: ``diffusion``.

    >>> layer = LearningToDiffuse()
    >>> image = torch.zeros(1, 3, 7, 7)
    >>> image[:, 0, 2:5, 2:5] = 1
    >>> (layer(image) > 0.5).sum()
    tensor(9)
    """

    def __init__(
        self,
        channels: int = 3,
        *,
        contrast: float = 20.0,
        lam: float = 0.02,
        seeds: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        check.integer("channels", channels, 1)
        self.contrast, self.lam = check.positive("contrast", contrast), check.positive("lam", lam)
        self.seeds = check.integer("seeds", seeds, 0)
        dtype = check.real_dtype(torch.get_default_dtype() if dtype is None else dtype)
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"dtype: expected float32 or float64, got {dtype}")
        shapes = {"features": (channels, channels), "guess": (3,)}
        shapes |= dict.fromkeys(("log_contrast", "log_lam", "log_sharpness"), ())
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all parameters to the first values, which are chosen by hand."""
        with torch.no_grad():
            nn.init.eye_(self.features)
            self.log_contrast.fill_(math.log(self.contrast))
            self.log_lam.fill_(math.log(self.lam))
            self.log_sharpness.fill_(math.log(10 / FAR))
            self.guess.copy_(torch.tensor([-2.0, 4 / FAR, -2.0]))

    def guidance(self, images: Tensor) -> Tensor:
        r"""The guess g, pixel by pixel: (B, 1, H, W)."""
        x = self._fitting(images)
        height, width = x.shape[2:]
        colours = x.flatten(2).mT
        sides = (x[:, :, 0], x[:, :, -1], x[:, :, 1:-1, 0], x[:, :, 1:-1, -1])
        border = torch.cat(sides, -1).mT
        distances = (colours[:, :, None] - border[:, None]).square().sum(-1)
        sharpness = self.log_sharpness.exp()
        soft = torch.logsumexp(-sharpness * distances, -1) - math.log(border.shape[1])
        rows = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype).square() / 2
        columns = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype).square() / 2
        centre = (rows[:, None] + columns).flatten()
        bias, by_colour, by_centre = self.guess
        g = torch.sigmoid(bias - by_colour * soft / sharpness + by_centre * centre)
        return g.reshape(len(x), 1, height, width)

    def system(self, images: Tensor) -> dict[str, Tensor]:
        r"""The arguments of :func:`~gdl.diffusion.solve_diffusion`, without seeds."""
        x = self._fitting(images)
        height, width = x.shape[2:]
        edges = grid_edges(height, width, device=x.device)
        # The factorisation knows no half precision.
        with full_precision(x.device):
            h = x.flatten(2).mT @ self.features.mT
            g = self.guidance(x).flatten(1)
        return {
            "weights": similarity_weights(h, edges, self.log_contrast.exp()),
            "edge_index": edges,
            "guidance": g,
            "lam": self.log_lam.exp(),
            "held": _border(height, width, x.device).flatten().expand_as(g),
            "values": torch.zeros_like(g),
        }

    def choose(self, images: Tensor) -> Tensor:
        r"""Where the seeds are, bool (B, 1, H, W)."""
        with torch.no_grad():
            parts = self.system(images)
            found = torch.zeros_like(parts["held"])
            sure = solve_diffusion(**parts) > SURE
            alike = {name: parts[name] for name in ("edge_index", "lam")}
            for i, seeds in enumerate(found):
                own = {name: x[i] for name, x in parts.items() if name not in alike}
                most = min(self.seeds, int(sure[i].sum()))
                chosen = diffusion_seeds(**own, **alike, count=most, allowed=sure[i])
                seeds[list(chosen.elements)] = True
        return found.reshape(len(images), 1, *images.shape[2:])

    def forward(self, images: Tensor) -> Tensor:
        parts = self.system(images)
        if self.seeds:
            seeds = self.choose(images).flatten(1)
            parts["held"], parts["values"] = parts["held"] | seeds, seeds.to(self.guess.dtype)
        return solve_diffusion(**parts).reshape(len(images), 1, *images.shape[2:])

    def _fitting(self, images: Tensor) -> Tensor:
        """Finite images of the channels, dtype and device of the parameters."""
        channels = len(self.features)
        images = check.typed("images", images, self.features.dtype)
        fits = images.ndim == 4 and len(images) and images.shape[1] == channels
        if not (fits and min(images.shape[2:]) >= 3):
            raise ValueError(
                f"images: expected shape (B, {channels}, H, W) with H and W at least 3, "
                f"got {tuple(images.shape)}"
            )
        if images.shape[2] * images.shape[3] > MOST_VERTICES:
            raise ValueError(
                f"images: expected at most {MOST_VERTICES} pixels, got {tuple(images.shape[2:])}"
            )
        if images.device != self.features.device:
            raise ValueError(f"images: expected device {self.features.device}, got {images.device}")
        return check.finite("images", images)

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        return (
            f"channels={len(self.features)}, contrast={self.contrast}, lam={self.lam}, "
            f"seeds={self.seeds}"
        )


def train_saliency(
    model: nn.Module,
    images: Tensor,
    masks: Tensor,
    *,
    steps: int = 150,
    lr: float = 0.05,
    batch_size: int = 10,
    seed: int = 0,
) -> training.History:
    r"""Train a saliency map on squared errors, in place.

    Args:
        model: maps images to maps of the shape of the masks.
        images, masks: (N, C, H, W) and (N, 1, H, W).
        steps, lr, batch_size, seed: of :func:`gdl.training.fit`.

    Returns:
        The losses.

    Raises: what :func:`gdl.training.fit` raises.

    Law tested: the loss falls, and equal calls give equal weights. Chapter: ``diffusion``.

    >>> image = torch.zeros(1, 3, 7, 7)
    >>> mask = torch.zeros(1, 1, 7, 7)
    >>> image[:, 0, 2:5, 2:5] = mask[:, :, 2:5, 2:5] = 1
    >>> history = train_saliency(LearningToDiffuse(), image, mask, steps=3)
    >>> history.step_losses[-1] < history.step_losses[0]
    True
    """
    return training.fit(
        model, images, masks, steps=steps, lr=lr, batch_size=batch_size, seed=seed, loss=mse_loss
    )


def _border(height: int, width: int, device: torch.device) -> Tensor:
    """Pixels on the border: (height, width), bool."""
    border = torch.ones(height, width, dtype=torch.bool, device=device)
    border[1:-1, 1:-1] = False
    return border
