"""Photographs and textures that ship inside scikit-image, all free of rights."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gdl.data._checks import _check_choice

# Luminance weights of ITU-R BT.709, as in skimage.color.rgb2gray.
LUMINANCE = (0.2125, 0.7154, 0.0721)

IMAGES = {
    "astronaut": "public domain",
    "brick": "CC0",
    "camera": "CC0",
    "cat": "CC0",
    "cell": "CC0",
    "clock": "public domain",
    "coffee": "CC0",
    "grass": "CC0",
    "gravel": "CC0",
    "horse": "CC0",
    "hubble_deep_field": "public domain",
    "microaneurysms": "CC0",
    "retina": "CC0",
    "rocket": "public domain",
    "text": "public domain",
}

TEXTURES = ("brick", "grass", "gravel")
TEXTURE_SIDE = 256


def images(names: str | Sequence[str] = "camera", size: int = 64) -> Tensor:
    """Grey photographs and textures that ship inside scikit-image, all free of rights.

    The central square is cut out, turned to grey by luminance and reduced by averaging over areas.
    Nothing is downloaded: ``IMAGES`` lists only files inside the wheel, with their licence.

    Args:
        names: one name or several names of ``IMAGES``.
        size: side in pixels, at most the smaller side of each image.

    Returns:
        (N, 1, size, size), float32 in [0, 1], one image for each name.

    Raises:
        ValueError: no name or an unknown one, or a size that would need enlarging.

    Tested: each pixel is the mean over its area, and no image needs a network. Sources: the
    gallery of scikit-image, see ``data/README.md``. Used in the chapter "grids".

    Chapters: ``symmetry``, ``grids``, ``groups`` and others.

    >>> images(["camera", "brick"], size=32).shape
    torch.Size([2, 1, 32, 32])
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise ValueError("names: expected at least one name, got none")
    for name in names:
        _check_choice("names", name, tuple(IMAGES))
    return torch.cat([_image(name, size) for name in names])


def textures(
    split: str = "train", *, size: int = 16, count: int = 300, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Patches of three photographs: brick, grass and gravel, with labels 0, 1 and 2.

    Each photograph is reduced to 256 x 256 pixels, shifted and scaled to mean 0 and standard
    deviation 1 over its left half. Training patches are cut out of the left half and test patches
    out of the right half, so that no pixel is on both sides.

    Args:
        split: ``"train"`` or ``"test"``.
        size: side of a patch in pixels, at most 128.
        count: patches of each texture, cut at random places; they may overlap.
        seed: seeds the places, 0..2**32-1; those of the two splits are drawn independently.

    Returns:
        Patches (3 * count, 1, size, size), float32, in the order of the labels; labels int64.

    Raises:
        ValueError: an unknown ``split``, or a size, count or seed out of range.
        TypeError: a size, count or seed that is no integer.

    Tested: every patch is found in its half of its photograph and not in the other. Bricks stand:
    their long joints run down the columns, while grass and gravel have no such direction. Sources:
    the gallery of scikit-image, see ``data/README.md``. Used in the chapter "symmetry".

    Chapter: ``symmetry``.

    >>> x, y = textures("test", size=8, count=2)
    >>> x.shape, y.tolist()
    (torch.Size([6, 1, 8, 8]), [0, 0, 1, 1, 2, 2])
    """
    _check_choice("split", split, ("train", "test"))
    half = TEXTURE_SIDE // 2
    _check_range("size", size, 1, half)
    _check_range("count", count, 1)
    _check_range("seed", seed, 0, 2**32 - 1)
    # Even and odd, so that no seed of one split is a seed of the other.
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    patches = []
    for photograph in images(TEXTURES, TEXTURE_SIDE)[:, 0]:
        left = photograph[:, :half]
        region = left if split == "train" else photograph[:, half:]
        region = (region - left.mean()) / left.std()
        rows = torch.randint(TEXTURE_SIDE - size + 1, (count, 1, 1), generator=generator)
        columns = torch.randint(half - size + 1, (count, 1, 1), generator=generator)
        step = torch.arange(size)
        patches.append(region[rows + step[:, None], columns + step])
    labels = torch.arange(len(TEXTURES)).repeat_interleave(count)
    return torch.cat(patches)[:, None], labels


def _check_range(argument: str, value: int, least: int, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{argument}: expected an integer, got {value!r}")
    if value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"in {least}..{most}"
        raise ValueError(f"{argument}: expected an integer {limits}, got {value}")


def _image(name: str, size: int) -> Tensor:
    import skimage.data

    stored = getattr(skimage.data, name)()
    pixels = torch.as_tensor(stored / np.float64(255 if stored.dtype == np.uint8 else 1))
    if pixels.ndim == 3:
        pixels = pixels @ torch.tensor(LUMINANCE, dtype=pixels.dtype)
    side = min(pixels.shape)
    if not 1 <= size <= side:
        raise ValueError(f"size: expected 1..{side} for {name!r}, got {size}")
    top, left = ((length - side) // 2 for length in pixels.shape)
    square = pixels[None, None, top : top + side, left : left + side]
    return F.interpolate(square, size=(size, size), mode="area").to(torch.float32)
