"""The autoencoder of the study "kmeans_net", trained alone or together with clusters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.factorization.kmeans_net import KMeansLayer
from gdl.training import History, fit


class ConvAutoencoder(nn.Module):
    r"""A small convolutional autoencoder of square images with one channel.

    Two convolutions of stride 2 and a linear layer make the code, and the same backwards the image.

    Args:
        side: of the images, a multiple of 4.
        code: size of the code.
        channels: of the first convolution; the second has twice as many.
        seed: of the first weights.

    Shapes: ``encode`` maps ``(n, 1, side, side)`` to ``(n, code)``, ``decode`` maps back, and the
    module is one after the other.

    Raises: TypeError or ValueError for other arguments.

    Law tested: shapes; equal seeds give equal weights; training lowers the error. Chapter:
    ``factorization``.

    >>> ConvAutoencoder(8, 10).encode(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """

    def __init__(self, side: int, code: int, *, channels: int = 16, seed: int = 0):
        super().__init__()
        if check.integer("side", side, 4) % 4:
            raise ValueError(f"side: expected a multiple of 4, got {side}")
        check.integer("code", code, 1)
        check.integer("channels", channels, 1)
        quarter, wide = side // 4, 2 * channels
        self.side = side
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(check.integer("seed", seed, 0, 2**32 - 1))
            self.encoder = nn.Sequential(
                nn.Conv2d(1, channels, 4, stride=2, padding=1), nn.ReLU(),
                nn.Conv2d(channels, wide, 4, stride=2, padding=1), nn.ReLU(),
                nn.Flatten(), nn.Linear(wide * quarter**2, code),
            )  # fmt: skip
            self.decoder = nn.Sequential(
                nn.Linear(code, wide * quarter**2), nn.ReLU(),
                nn.Unflatten(1, (wide, quarter, quarter)),
                nn.ConvTranspose2d(wide, channels, 4, stride=2, padding=1), nn.ReLU(),
                nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1),
            )  # fmt: skip

    def encode(self, images: Tensor) -> Tensor:
        """Codes of images."""
        check.shaped("images", images, 1, self.side, self.side)
        return self.encoder(images)

    def decode(self, codes: Tensor) -> Tensor:
        """Images of codes."""
        return self.decoder(codes)

    def forward(self, images: Tensor) -> Tensor:
        return self.decode(self.encode(images))


def train_autoencoder(
    autoencoder: nn.Module,
    images: Tensor,
    *,
    layer: KMeansLayer | None = None,
    weight: float = 0.0,
    epochs: int = 10,
    lr: float = 1e-3,
    batch_size: int = 128,
    seed: int = 0,
) -> History:
    r"""Train an autoencoder in place, alone or together with a clustering of its codes.

        mean over images of |x - decode(c)|^2 + weight sum_j p_j |c - w_j|^2,    c = encode(x)

    with p the assignment of the layer. Without the first term all codes would fall into one point.

    Args:
        autoencoder: a module with ``encode`` to ``(n, d)`` and ``decode``.
        images: (n, ...), floating-point.
        layer: its centres are trained too; None: reconstruction only.
        weight: of the second term, not negative.
        epochs, lr, batch_size, seed: see :func:`gdl.training.fit`.

    Returns:
        The losses.

    Raises: TypeError or ValueError for other arguments.

    Law tested: the first loss is the formula; both parts are trained, or one alone. Chapter:
    ``factorization``.

    >>> history = train_autoencoder(ConvAutoencoder(4, 2), torch.ones(8, 1, 4, 4), epochs=20)
    >>> history.epoch_losses[-1] < history.epoch_losses[0]
    True
    """
    if layer is not None and not isinstance(layer, KMeansLayer):
        raise TypeError(f"layer: expected a KMeansLayer or None, got {type(layer).__name__}")
    check.floating("images", images)
    joint = _JointLoss(autoencoder, layer, check.number("weight", weight, 0.0))
    nothing = torch.zeros(len(images), dtype=images.dtype)
    given = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "seed": seed}
    return fit(joint, images, nothing, loss=lambda losses, _: losses.mean(), **given)


class _JointLoss(nn.Module):
    """The loss of each image, (n,)."""

    def __init__(self, autoencoder: nn.Module, layer: KMeansLayer | None, weight: float):
        super().__init__()
        self.autoencoder, self.layer, self.weight = autoencoder, layer, weight

    def forward(self, images: Tensor) -> Tensor:
        codes = self.autoencoder.encode(images)
        losses = (self.autoencoder.decode(codes) - images).square().flatten(1).sum(1)
        if self.layer is None:
            return losses
        return losses + self.weight * (self.layer(codes) * self.layer.costs(codes)).sum(-1)
