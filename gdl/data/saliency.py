r"""Small colour scenes with one thing to look at.

Used in the chapter "diffusion".
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check

LEAST_SIZE = 12
CONTRAST = 0.5


def saliency_scenes(
    count: int, *, size: int = 24, noise: float = 0.18, seed: int = 0
) -> tuple[Tensor, Tensor]:
    r"""Coloured objects before backgrounds with distractors, and where the objects are.

    Background, object and two distractors are of one colour each, with Gaussian noise in every
    pixel. The object, an ellipse or a rectangle, leaves two pixels free to every side; a distractor
    has its centre on the border and lies behind the object. The colours of background and object
    differ by at least 0.5 in the Euclidean norm, and so do those of object and distractors.

    Args:
        count: number of scenes.
        size: height and width, at least 12.
        noise: standard deviation in every pixel and channel; values are clipped to [0, 1].
        seed: seeds the draw.

    Returns:
        Images (count, 3, size, size) and masks (count, 1, size, size), float32, the masks 1 on the
        object and 0 elsewhere.

    Raises:
        TypeError: arguments of other types.
        ValueError: counts below 1, sizes below 12, a negative noise, a seed not in 0..2**32-1.

    Law tested: two pixels are free to every side, masks are neither empty nor full, colours differ
    as said, equal calls give equal scenes, other seeds others. Chapter: ``diffusion``.

    >>> images, masks = saliency_scenes(4)
    >>> images.shape, masks.shape, masks.unique()
    (torch.Size([4, 3, 24, 24]), torch.Size([4, 1, 24, 24]), tensor([0., 1.]))
    """
    check.integer("count", count, 1)
    check.integer("size", size, LEAST_SIZE)
    check.number("noise", noise, 0.0)
    check.integer("seed", seed, 0, 2**32 - 1)
    generator = torch.Generator().manual_seed(seed)
    scenes = [_scene(size, generator) for _ in range(count)]
    images = torch.stack([image for image, _ in scenes])
    images = images + noise * torch.randn(images.shape, generator=generator)
    return images.clamp(0, 1), torch.stack([mask for _, mask in scenes])[:, None].float()


def _scene(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One image without noise, (3, size, size), and its mask, (size, size)."""
    ground, other, another, colour = _colours(generator)
    image = ground[:, None, None].expand(3, size, size)
    for paint in (other, another):
        image = torch.where(_distractor(size, generator), paint[:, None, None], image)
    mask = _object(size, generator)
    return torch.where(mask, colour[:, None, None], image), mask


def _colours(generator: torch.Generator) -> Tensor:
    """Background, two distractors and the object, which differs from all of them: (4, 3)."""
    while True:
        colours = torch.rand(4, 3, generator=generator)
        if bool(((colours[:3] - colours[3]).norm(dim=1) >= CONTRAST).all()):
            return colours


def _object(size: int, generator: torch.Generator) -> Tensor:
    """A shape that leaves two pixels free to every side."""
    radii = size * (0.13 + 0.12 * torch.rand(2, generator=generator))
    room = size - 5 - 2 * radii
    centre = 2 + radii + room * torch.rand(2, generator=generator)
    return _shape(size, centre, radii, generator)


def _distractor(size: int, generator: torch.Generator) -> Tensor:
    """A shape with its centre on the border."""
    centre = (size - 1) * torch.rand(2, generator=generator)
    axis = int(torch.randint(2, (), generator=generator))
    centre[axis] = (size - 1) * int(torch.randint(2, (), generator=generator))
    radii = size * (0.15 + 0.2 * torch.rand(2, generator=generator))
    return _shape(size, centre, radii, generator)


def _shape(size: int, centre: Tensor, radii: Tensor, generator: torch.Generator) -> Tensor:
    """An ellipse or a rectangle of these half-axes."""
    line = torch.arange(size, dtype=radii.dtype)
    row, column = (line - centre[0]) / radii[0], (line - centre[1]) / radii[1]
    if int(torch.randint(2, (), generator=generator)):
        return row.square()[:, None] + column.square() <= 1
    return (row.abs()[:, None] <= 1) & (column.abs() <= 1)
