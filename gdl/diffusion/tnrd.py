"""Trainable nonlinear reaction diffusion: descent on an energy, another learned one each step.

Chapter: ``diffusion``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gdl._checks as check
from gdl import training
from gdl.diffusion.filters import (
    BOUNDARIES,
    MOVES,
    adjoint_responses,
    dct_filters,
    filter_responses,
    orbit,
)
from gdl.diffusion.potentials import influence, influence_knots, potential
from gdl.equivariance import full_precision

# The share of the steps at the first rate; the others are at a fifth of it.
FIRST_SHARE = 2 / 3


class TNRD(nn.Module):
    r"""Steps of gradient descent on energies of filter responses, each step with its own energy.

        E_t(u) = sum_i sum_p psi_ti((A_ti u)(p)) + lam_t / 2 |u - f|^2
        u_{t+1} = u_t - grad E_t(u_t) = u_t - sum_i A_ti^T phi_ti(A_ti u_t) - lam_t (u_t - f)

    with u_0 = f the noisy image, phi = psi', and A_ti the correlation with a filter, the image
    being continued over its border. Learned are the filters, the functions phi and the numbers
    lam. The filters are combinations of cosines without the constant, scaled to norm 1; phi is
    linear between values at equally spaced knots.

    With a symmetry, the filters come in orbits under quarter turns (and flips), all filters of an
    orbit with the same phi. Turning the image then permutes the responses, and the network
    commutes with turns (and flips) whatever its weights.

    Untrained, phi has the slope 1 / channels at 0. If it starts linear, a step is one of linear
    diffusion for responses up to the reach. If it starts as ``"student"``, it is this slope times
    ``z / (1 + (z / width)^2)`` at the knots: the derivative of
    ``width^2 / 2 log(1 + (z / width)^2)``, whose descent is that of Fields of Experts, and which
    lets large responses, those of edges, go.

    Args:
        stages: number of steps.
        size: side of the filters, odd, at least 3.
        filters: how many are learned in each stage; without a symmetry at most ``size^2 - 1``,
            which is the default, and with one a third of the default, rounded down.
        knots: values of each phi, odd, at least 3.
        reach: phi is constant beyond plus and minus this.
        symmetry: None, ``"C4"`` for quarter turns or ``"D4"`` with flips.
        boundary: ``"reflect"`` or ``"circular"``.
        fidelity: the first value of all lam.
        start: ``"student"`` or ``"linear"``.
        width: of the functions that start as ``"student"``, positive.
        seed: with a symmetry, the first filters are random, since the orbits of cosines coincide.
        device, dtype: of the parameters.

    Attributes:
        coefficients: ``(stages, filters, size^2 - 1)``, of the filters in the cosines.
        values: ``(stages, filters, knots)``, of the influence functions.
        fidelity: ``(stages,)``, the numbers lam.

    Shapes: ``layer(noisy)`` maps ``(B, 1, H, W)`` to the same shape, in the dtype of the
    parameters, in which it computes under autocast, too. Images are meant to lie in [0, 1].

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: sizes that do not fit, images smaller than the filters, entries that are not
            finite, iterates that overflow.

    Law tested: each stage is a step along the gradient of its energy by autograd to 1e-12, also at
    the border; started linear it is the matrix of linear diffusion; with a symmetry it commutes
    with its moves to 1e-12 and without it does not; gradients are those of finite differences.
    Source: Chen and Pock 2017, for the form of a step. Chapter: ``diffusion``.

    >>> layer = TNRD(2, size=3, symmetry="D4", filters=2)
    >>> layer, layer(torch.rand(1, 1, 6, 8)).shape
    (TNRD(stages=2, size=3, filters=2 in 16 channels, symmetry=D4), torch.Size([1, 1, 6, 8]))
    """

    def __init__(
        self,
        stages: int,
        *,
        size: int = 5,
        filters: int | None = None,
        knots: int = 31,
        reach: float = 1.0,
        symmetry: str | None = None,
        boundary: str = "reflect",
        fidelity: float = 0.05,
        start: str = "student",
        width: float = 0.1,
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        check.one_of("symmetry", symmetry, (None, *MOVES))
        check.one_of("boundary", boundary, BOUNDARIES)
        check.integer("stages", stages, 1)
        if check.integer("size", size, 3) % 2 == 0:
            raise ValueError(f"size: expected an odd number, got {size}")
        cosines = size**2 - 1
        if filters is None:
            filters = cosines if symmetry is None else cosines // 3
        check.integer("filters", filters, 1, cosines if symmetry is None else None)
        check.integer("seed", seed, 0, 2**32 - 1)
        dtype = check.real_dtype(torch.get_default_dtype() if dtype is None else dtype)
        self.size, self.symmetry, self.boundary, self.seed = size, symmetry, boundary, seed
        self.reach = check.positive("reach", reach)
        self.first_fidelity = check.number("fidelity", fidelity)
        check.one_of("start", start, ("student", "linear"))
        self.width = check.positive("width", width) if start == "student" else None
        influence_knots(knots, reach)

        def empty(*shape: int) -> Tensor:
            return torch.empty(shape, device=device, dtype=dtype)

        self.coefficients = nn.Parameter(empty(stages, filters, cosines))
        self.values = nn.Parameter(empty(stages, filters, knots))
        self.fidelity = nn.Parameter(empty(stages))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Cosines of the lowest frequencies, or random filters; the first functions."""
        filters, cosines = self.coefficients.shape[1:]
        if self.symmetry is None:
            k = torch.arange(self.size)
            frequency = (k[:, None] + k).flatten()[1:]
            lowest = frequency.argsort(stable=True)[:filters].sort().values
            start = torch.eye(cosines)[lowest]
        else:
            generator = torch.Generator().manual_seed(self.seed)
            start = torch.randn(filters, cosines, generator=generator)
        self.coefficients.copy_(start.expand_as(self.coefficients))
        knots = influence_knots(self.values.shape[2], self.reach, dtype=torch.float64)
        damping = 1 if self.width is None else 1 + (knots / self.width) ** 2
        self.values.copy_((knots / damping / self.channels).expand_as(self.values))
        nn.init.constant_(self.fidelity, self.first_fidelity)

    @property
    def stages(self) -> int:
        """Number of steps."""
        return len(self.fidelity)

    @property
    def channels(self) -> int:
        """Number of filters that are applied in each stage, moved copies included."""
        return self.coefficients.shape[1] * len(MOVES.get(self.symmetry, (0,)))

    def filters(self, stage: int) -> Tensor:
        """The filters of a stage, those of an orbit one after another: (channels, size, size)."""
        cosines = dct_filters(self.size, dtype=self.values.dtype).to(self.values.device)
        rows = F.normalize(self.coefficients[self._index(stage)], dim=1)
        return orbit(torch.einsum("nc,crs->nrs", rows, cosines), self.symmetry)

    def influences(self, stage: int) -> Tensor:
        """The values of the functions of all channels of a stage: (channels, knots)."""
        values = self.values[self._index(stage)]
        return values.repeat_interleave(self.channels // len(values), 0)

    def gradient(self, stage: int, images: Tensor, noisy: Tensor) -> Tensor:
        """The gradient of the energy of a stage, as the network computes it: (B, 1, H, W)."""
        filters, values = self.filters(stage), self.influences(stage)
        responses = filter_responses(images, filters, self.boundary)
        forces = influence(responses, values, self.reach)
        fidelity = self.fidelity[stage] * (images - self._fitting(noisy, images.shape))
        return adjoint_responses(forces, filters, self.boundary) + fidelity

    def energy(self, stage: int, images: Tensor, noisy: Tensor) -> Tensor:
        """The energy E_t of images, in the stage t, given the noisy ones: (B,)."""
        responses = filter_responses(self._fitting(images), self.filters(stage), self.boundary)
        cost = potential(responses, self.influences(stage), self.reach).sum((1, 2, 3))
        distance = (images - self._fitting(noisy, images.shape)).square().sum((1, 2, 3))
        return cost + self.fidelity[stage] / 2 * distance

    def path(self, noisy: Tensor) -> Tensor:
        """All iterates, the noisy images first: (stages + 1, B, 1, H, W)."""
        iterates = [self._fitting(noisy)]
        for stage in range(self.stages):
            # A gradient of rounded products is that of no energy.
            with full_precision(noisy.device):
                u = iterates[-1] - self.gradient(stage, iterates[-1], iterates[0])
            if check.readable(u) and not check.all_finite(u):
                raise ValueError(f"noisy: expected finite iterates, stage {stage} overflows")
            iterates.append(u)
        return torch.stack(iterates)

    def forward(self, noisy: Tensor) -> Tensor:
        return self.path(noisy)[-1]

    def _index(self, stage: int) -> int:
        return check.integer("stage", stage, 0, self.stages - 1)

    def _fitting(self, images: Tensor, shape: torch.Size | None = None) -> Tensor:
        """Finite images of this shape in the dtype and on the device of the parameters."""
        images = check.finite("images", check.typed("images", images, self.values.dtype))
        if images.device != self.values.device:
            raise ValueError(f"images: expected {self.values.device}, got {images.device}")
        wanted = "(B, 1, H, W)" if shape is None else tuple(shape)
        fits = images.shape == shape if shape else images.ndim == 4 and images.shape[1] == 1
        if not fits:
            raise ValueError(f"images: expected shape {wanted}, got {tuple(images.shape)}")
        return images

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        return (
            f"stages={self.stages}, size={self.size}, filters={self.coefficients.shape[1]} in "
            f"{self.channels} channels, symmetry={self.symmetry}"
        )


def random_crops(pictures: Sequence[Tensor], count: int, size: int, seed: int = 0) -> Tensor:
    """Squares at random places of random pictures.

    Args:
        pictures: each (1, 1, H, W), or all together (N, 1, H, W); floating-point.
        count: how many squares, at least 1.
        size: side of a square, at most the smallest side of the pictures.
        seed: of the choices.

    Returns:
        (count, 1, size, size).

    Raises: TypeError or ValueError for other arguments.

    Law tested: each square is found in a picture; all places occur. Chapter: ``diffusion``.

    >>> random_crops(torch.rand(2, 1, 9, 9), 5, 4).shape
    torch.Size([5, 1, 4, 4])
    """
    pictures = _pictures(pictures)
    check.integer("count", count, 1)
    check.integer("size", size, 1, min(min(p.shape[2:]) for p in pictures))
    generator = torch.Generator().manual_seed(check.integer("seed", seed, 0, 2**32 - 1))

    def draw(choices: int) -> int:
        return int(torch.randint(choices, (), generator=generator))

    crops = []
    for _ in range(count):
        picture = pictures[draw(len(pictures))]
        top, left = (draw(side - size + 1) for side in picture.shape[2:])
        crops.append(picture[..., top : top + size, left : left + size])
    return torch.cat(crops)


def train_tnrd(
    model: nn.Module,
    pictures: Sequence[Tensor],
    *,
    steps: int = 240,
    sigma: float = 25 / 255,
    lr: float = 1e-2,
    batch_size: int = 8,
    crop: int = 48,
    crops: int = 400,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> training.History:
    """Train all stages together to remove Gaussian noise from crops, by :func:`gdl.training.fit`.

        mean of (model(u + sigma noise) - u)^2

    The noise is drawn anew in each step. The last third of the steps is at a fifth of the rate.

    Args:
        model: maps (B, 1, H, W) to the same shape.
        pictures: clean ones, each (1, 1, H, W), or all together (N, 1, H, W).
        steps: of the optimiser, at least 2.
        sigma: standard deviation of the noise.
        lr, batch_size, device: as in :func:`gdl.training.fit`.
        crop, crops: side and number of the squares that are cut out of the pictures.
        seed: of crops, noise and batches.

    Returns:
        The losses of all steps.

    Raises: TypeError or ValueError for other arguments.

    Law tested: equal calls give equal weights; the loss falls. Chapter: ``diffusion``.

    >>> layer = TNRD(1, size=3, filters=2)
    >>> len(train_tnrd(layer, torch.rand(1, 1, 9, 9), steps=3, crop=8).step_losses)
    3
    """
    check.integer("steps", steps, 2)
    sigma = check.positive("sigma", sigma)
    clean = random_crops(pictures, crops, crop, seed)
    first = max(1, min(steps - 1, round(FIRST_SHARE * steps)))
    losses = []
    for rate, part, number in ((lr, first, 2 * seed), (lr / 5, steps - first, 2 * seed + 1)):
        losses += training.fit(
            model,
            clean,
            clean,
            steps=part,
            lr=rate,
            batch_size=batch_size,
            loss=F.mse_loss,
            transform=lambda batch: batch + sigma * torch.randn_like(batch),
            seed=number,
            device=device,
        ).step_losses
    return training.History(losses, [])


def denoise(model: TNRD, noisy: Tensor, *, tile: int = 256) -> Tensor:
    """Apply the network to images of any size, tile by tile, in bounded memory.

    A tile is computed with a margin as wide as the network sees, ``stages (size - 1)`` pixels, so
    that the result is that of the whole image.

    Args:
        model: a network with the boundary ``"reflect"``.
        noisy: (B, 1, H, W).
        tile: side of the tiles without their margins, at least 1.

    Returns:
        (B, 1, H, W), without gradients.

    Raises: TypeError or ValueError for other arguments.

    Law tested: equal to the network on the whole image to 1e-12. Chapter: ``diffusion``.

    >>> noisy = torch.rand(1, 1, 40, 70)
    >>> layer = TNRD(2, size=3)
    >>> torch.allclose(denoise(layer, noisy, tile=16), layer(noisy), atol=1e-5)
    True
    """
    if not isinstance(model, TNRD):
        raise TypeError(f"model: expected a TNRD, got {type(model).__name__}")
    check.one_of("boundary of the model", model.boundary, ("reflect",))
    check.integer("tile", tile, 1)
    model._fitting(noisy)
    margin = model.stages * (model.size - 1)
    clean = torch.empty_like(noisy)
    height, width = noisy.shape[2:]
    with torch.no_grad():
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                above, before = max(top - margin, 0), max(left - margin, 0)
                bottom, right = min(top + tile, height), min(left + tile, width)
                part = noisy[:, :, above : bottom + margin, before : right + margin]
                inner = model(part)[:, :, top - above :, left - before :]
                clean[:, :, top:bottom, left:right] = inner[:, :, : bottom - top, : right - left]
    return clean


def _pictures(pictures: Sequence[Tensor]) -> list[Tensor]:
    """Pictures as a list of (1, 1, H, W) of one dtype."""
    listed = list(pictures.split(1)) if isinstance(pictures, Tensor) else list(pictures)
    if not listed:
        raise ValueError("pictures: expected at least one, got none")
    for picture in listed:
        check.finite("pictures", check.floating("pictures", picture))
        if picture.ndim != 4 or picture.shape[:2] != (1, 1) or not picture.numel():
            raise ValueError(f"pictures: expected (1, 1, H, W) each, got {tuple(picture.shape)}")
        if picture.dtype != listed[0].dtype:
            raise ValueError(f"pictures: expected {listed[0].dtype} for all, got {picture.dtype}")
    return listed
