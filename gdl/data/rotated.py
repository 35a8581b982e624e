"""Images turned by any angle, and MNIST turned as in the benchmark of rotated digits."""

from __future__ import annotations

import math
import os

import torch
from torch import Tensor

from gdl.data._checks import _check_choice
from gdl.data.idx import mnist

# Larochelle et al. 2007: 12,000 training images, of which we take 2,000 for validation.
PROTOCOL = {"train": 10_000, "validation": 2_000, "test": 50_000}
CHUNK = 4096


def rotate(images: Tensor, angles: Tensor | float) -> Tensor:
    r"""Images turned counter-clockwise about their centre, with bilinear interpolation.

    The result at the place p is the image at R(-angle) p; what comes from outside is 0.

    Args:
        images: (N, C, h, w), real floating-point, finite.
        angles: in radians, a number or one for each image, (N,); quarter turns (up to
            seven either way) are exact when given in float64, as Python numbers are.

    Returns:
        A tensor of the same shape and dtype.

    Raises:
        TypeError: images that are no real floating-point tensor, angles that are no numbers.
        ValueError: shapes that do not match, an image or angle that is not finite.

    Tested: multiples of a quarter turn are ``torch.rot90``, bit for bit, on square images; linear
    functions are turned exactly inside; other angles agree with SciPy. Used in the chapter
    "groups".

    Chapter: ``groups``.

    >>> x = torch.arange(9.0).reshape(1, 1, 3, 3)
    >>> torch.equal(rotate(x, math.pi / 2), torch.rot90(x, 1, (-2, -1)))
    True
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        got = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images: expected a real floating-point tensor, got {got}")
    if images.ndim != 4:
        raise ValueError(f"images: expected shape (N, C, h, w), got {tuple(images.shape)}")
    if not torch.isfinite(images).all():
        raise ValueError("images: expected finite numbers, got NaN or infinity")
    angles = _angles(angles, len(images)).to(images.device)
    if not len(images):
        return images.clone()
    parts = zip(images.split(CHUNK), angles.split(CHUNK), strict=True)
    return torch.cat([_turned(*part) for part in parts])


def rotated_mnist(
    split: str = "train",
    *,
    source: str = "auto",
    root: str | os.PathLike | None = None,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """MNIST with each digit turned by an angle of its own, uniform over the full circle.

    The protocol of Larochelle et al. (2007), made again from MNIST by this function: 62,000 of its
    70,000 digits in an order and with angles drawn from ``seed``; 10,000 to train, 2,000 to
    validate and 50,000 to test. It is not their file: digits, angles and interpolation differ, so
    errors published for theirs can be compared with errors on this one only with care.

    Args:
        split: "train", "validation" or "test".
        source, root: as in :func:`mnist`.
        seed: 0..2**32-1; one seed gives three splits that share no digit.

    Returns:
        Images (N, 1, 28, 28), float32 in [0, 1]; labels (N,), int64. From a copy with fewer digits
        the splits have the same proportions.

    Raises:
        ValueError: an unknown ``split``, a seed out of range, fewer than three digits; what
            :func:`mnist` raises.
        DataUnavailable: as in :func:`mnist`.

    Tested: on small files: the splits share no digit, and each image is the digit turned. Source:
    Larochelle, Erhan, Courville, Bergstra, Bengio, ICML 2007, section 3. Used in the chapter
    "groups".

    Chapter: ``groups``.

    >>> sum(PROTOCOL.values())
    62000
    """
    _check_choice("split", split, tuple(PROTOCOL))
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected an integer in 0..2**32-1, got {seed!r}")
    parts = [mnist(part, source=source, root=root) for part in ("train", "test")]
    images, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    if len(images) < len(PROTOCOL):
        raise ValueError(f"root: expected at least 3 digits of MNIST, got {len(images)}")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    angles = 2 * math.pi * torch.rand(len(images), generator=generator, dtype=torch.float64)
    share = min(1.0, len(images) / sum(PROTOCOL.values()))
    sizes = [max(1, int(share * size)) for size in PROTOCOL.values()]
    start = sum(sizes[: list(PROTOCOL).index(split)])
    chosen = order[start : start + sizes[list(PROTOCOL).index(split)]]
    return rotate(images[chosen], angles[chosen]), labels[chosen]


def _angles(angles: Tensor | float, count: int) -> Tensor:
    try:
        angles = torch.as_tensor(angles, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"angles: expected numbers, got {type(angles).__name__}") from error
    if angles.ndim and angles.shape != (count,):
        raise ValueError(f"angles: expected one or {count}, got shape {tuple(angles.shape)}")
    if not torch.isfinite(angles).all():
        raise ValueError("angles: expected finite numbers, got NaN or infinity")
    return angles.expand(count)


def _turned(images: Tensor, angles: Tensor) -> Tensor:
    h, w = images.shape[-2:]
    cos, sin = (_clean(f(angles))[:, None, None] for f in (torch.cos, torch.sin))
    # Coordinates from the centre, y up; pixels are whole or half numbers, so that they are exact.
    up = (h - 1) / 2 - torch.arange(h, dtype=torch.float64, device=images.device)[:, None]
    right = torch.arange(w, dtype=torch.float64, device=images.device) - (w - 1) / 2
    row = (h - 1) / 2 - (cos * up - sin * right)
    column = (cos * right + sin * up) + (w - 1) / 2
    top, left = row.floor(), column.floor()
    result = torch.zeros_like(images)
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        r, c = top + down, left + across
        weight = (1 - (row - r).abs()) * (1 - (column - c).abs())
        weight = weight * ((r >= 0) & (r < h) & (c >= 0) & (c < w))
        place = (r.clamp(0, h - 1) * w + c.clamp(0, w - 1)).long().flatten(1)
        picked = images.flatten(2).gather(2, place[:, None].expand(-1, images.shape[1], -1))
        result = result + picked.reshape(images.shape) * weight[:, None].to(images.dtype)
    return result


def _clean(values: Tensor) -> Tensor:
    """The cosine of pi / 2 is 6e-17 in floating point; a quarter turn must be exact."""
    return torch.where(values.abs() < 1e-15, 0, values)
