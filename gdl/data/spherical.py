"""Digits projected on the sphere, upright or rotated."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from gdl.data._checks import _check_choice
from gdl.data.handwriting import digits
from gdl.data.idx import mnist
from gdl.geometry import random_rotations

# Images at a time: 3600 points on the sphere take 20 MB for each temporary tensor.
PROJECTED = 256


def project_on_sphere(images: Tensor, points: Tensor, rotation: Tensor | None = None) -> Tensor:
    r"""Pictures laid on the sphere by stereographic projection, then rotated, read off at points.

    The picture lies in the plane of the equator, its sides touching the sphere, and is projected
    from the pole y = -1: the point (x, y, z) gets what stands at ``u = x / (1 + y)`` to the right
    and ``v = z / (1 + y)`` downwards, in units of half of the longer side. The northern hemisphere
    y > 0 is the disc ``u^2 + v^2 < 1``, and corners reach south of the equator. Seen from outside
    above the pole y = 1, with z down, the picture is upright and not mirrored. Between pixels the
    interpolation is bilinear; outside the picture the signal is 0.

    With a rotation R the signal is ``(R.f)(x) = f(R^-1 x)``: what was at x is now at R x.

    Args:
        images: ``(B, h, w)`` or ``(B, C, h, w)``, floating-point, finite.
        points: ``(rows, columns, 3)``, unit vectors, such as those of a grid of quadrature.
        rotation: ``(3, 3)`` for all images, or ``(B, 3, 3)``; None is no rotation.

    Returns:
        ``(B, rows, columns)`` or ``(B, C, rows, columns)``, the dtype of ``images``.

    Raises:
        TypeError: images, points or a rotation that are no floating-point tensors.
        ValueError: other shapes, no image, no pixel or no point, entries that are not finite,
            points off the sphere, matrices that are no rotations.

    Law tested: ``f(R^-1 x)``, by moving the points; the inverse fails; a pixel's centre keeps its
    value; agrees with SciPy. Source: Cohen, Geiger, Koehler, Welling, ICLR 2018. Used
    in the chapter "rotations".

    Chapter: ``rotations``.

    >>> north = torch.tensor([[[0.0, 1.0, 0.0]]])
    >>> project_on_sphere(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), north)
    tensor([[[2.5000]]])
    """
    _floating("images", images)
    if images.ndim not in (3, 4) or not images.numel():
        raise ValueError(
            "images: expected shape (B, h, w) or (B, C, h, w), none of them 0, got "
            f"{tuple(images.shape)}"
        )
    points = _on_sphere(points).to(images.device)
    rotation = _rotations(rotation, len(images)).to(images.device)
    flat = images.reshape(len(images), -1, *images.shape[-2:])
    parts = zip(flat.split(PROJECTED), rotation.split(PROJECTED), strict=True)
    values = torch.cat([_read(part, points.reshape(-1, 3) @ R) for part, R in parts])
    return values.reshape(*images.shape[:-2], *points.shape[:-1])


def spherical_digits(
    split: str, points: Tensor, *, rotated: bool, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The small digits of scikit-learn on the sphere, upright, or each rotated by its own rotation.

    Args:
        split: "train" (1297), "test" (500) or "all", the same as ``digits(split)``.
        points: ``(rows, columns, 3)``, unit vectors.
        rotated: whether each digit gets a rotation, uniform on SO(3), once and for all.
        seed: an integer in 0..2**32-1; one seed gives each split other rotations.

    Returns:
        Signals (N, 1, rows, columns), float32 in [0, 1]; labels (N,), int64.

    Raises: TypeError or ValueError for an unknown split, a seed out of range, and points as in
    :func:`project_on_sphere`.

    Tested: labels and digits are those of ``digits``; rotated ones are those by known rotations.
    Used in the chapter "rotations".

    Chapters: ``rotations``, ``gauges``.

    >>> grid = torch.nn.functional.normalize(torch.ones(2, 3, 3), dim=-1)
    >>> spherical_digits("test", grid, rotated=True)[0].shape
    torch.Size([500, 1, 2, 3])
    """
    _check_choice("split", split, ("train", "test", "all"))
    _on_sphere(points)
    return _projected(digits(split), points, rotated, _stream(seed, split))


def spherical_mnist(
    split: str,
    points: Tensor,
    *,
    rotated: bool,
    seed: int = 0,
    source: str = "auto",
    root: str | os.PathLike | None = None,
) -> tuple[Tensor, Tensor]:
    """MNIST on the sphere, upright, or each digit rotated by its own rotation.

    The benchmark of Cohen et al. (2018), made again from MNIST: their grid has 60 x 60 points, and
    the grid of quadrature of the same bandwidth, degree 29, has 30 x 59. Their rotations are shared
    by many digits; here each digit has its own.

    Args:
        split: "train" (60,000) or "test" (10,000).
        points: ``(rows, columns, 3)``, unit vectors.
        rotated, seed: as in :func:`spherical_digits`.
        source, root: as in :func:`mnist`.

    Returns:
        Signals (N, 1, rows, columns), float32 in [0, 1]; labels (N,), int64. At 30 x 59 points they
        take 7 kB a digit, 425 MB for the training set.

    Raises: what :func:`mnist` and :func:`spherical_digits` raise.

    Tested: on small files. Source: Cohen, Geiger, Koehler, Welling, ICLR 2018. Used in
    the full run of "rotations".

    Chapters: ``rotations``, ``gauges``.

    >>> north = torch.tensor([[[0.0, 1.0, 0.0]]])
    >>> spherical_mnist("train", north, rotated=False, source="embedded", root="nowhere")
    ... # doctest: +ELLIPSIS
    Traceback (most recent call last):
    gdl.data.idx.DataUnavailable: MNIST file train-images-idx3-ubyte.gz is not in nowhere...
    """
    _check_choice("split", split, ("train", "test"))
    _on_sphere(points)
    stream = _stream(seed, split)
    return _projected(mnist(split, source=source, root=root), points, rotated, stream)


def _projected(
    labelled: tuple[Tensor, Tensor], points: Tensor, rotated: bool, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    if not isinstance(rotated, bool):
        raise TypeError(f"rotated: expected True or False, got {rotated!r}")
    images, labels = labelled
    rotation = random_rotations(len(images), generator=generator) if rotated else None
    return project_on_sphere(images, points, rotation), labels


def _stream(seed: int, split: str) -> torch.Generator:
    """Random numbers that differ from split to split."""
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed: expected an integer, got {type(seed).__name__}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected an integer in 0..2**32-1, got {seed}")
    number = ("train", "test", "all").index(split)
    return torch.Generator(device="cpu").manual_seed(3 * seed + number)


def _floating(argument: str, x: Tensor) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{argument}: expected a real floating-point tensor, got {got}")
    if not torch.isfinite(x).all():
        raise ValueError(f"{argument}: expected finite numbers, got NaN or infinity")


def _on_sphere(points: Tensor) -> Tensor:
    """Checked points, in float64."""
    _floating("points", points)
    if points.ndim != 3 or points.shape[-1] != 3 or not points.numel():
        raise ValueError(f"points: expected shape (rows, columns, 3), got {tuple(points.shape)}")
    points = points.double()
    off = float((points.norm(dim=-1) - 1).abs().max())
    if off > 1e-5:
        raise ValueError(f"points: expected unit vectors, got lengths that differ by {off:.3g}")
    return points


def _rotations(rotation: Tensor | None, count: int) -> Tensor:
    """Checked rotations, one for each image, in float64."""
    if rotation is None:
        rotation = torch.eye(3, dtype=torch.float64)
    _floating("rotation", rotation)
    if rotation.shape not in ((3, 3), (count, 3, 3)):
        raise ValueError(
            f"rotation: expected shape (3, 3) or ({count}, 3, 3), got {tuple(rotation.shape)}"
        )
    rotation = rotation.double()
    identity = torch.eye(3, dtype=torch.float64, device=rotation.device)
    off = float((rotation.mT @ rotation - identity).abs().max())
    if off > 1e-5 or bool((torch.linalg.det(rotation) < 0).any()):
        raise ValueError(
            "rotation: expected orthogonal matrices of determinant 1, got a defect of "
            f"{off:.3g} or a reflection"
        )
    return rotation.expand(count, 3, 3)


def _read(images: Tensor, points: Tensor) -> Tensor:
    """Values (B, C, n) of pictures (B, C, h, w) at points (B, n, 3) of the unrotated sphere."""
    h, w = images.shape[-2:]
    height = 1 + points[..., 1]
    # At the pole y = -1, from which we project, there is no picture.
    away = height < 1e-6
    scale = max(h, w) / 2 / torch.where(away, 1, height)
    column = points[..., 0] * scale + (w - 1) / 2
    row = points[..., 2] * scale + (h - 1) / 2
    top, left = row.floor(), column.floor()
    values = 0.0
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        r, c = top + down, left + across
        weight = (1 - (row - r).abs()) * (1 - (column - c).abs())
        weight = weight * ((r >= 0) & (r < h) & (c >= 0) & (c < w) & ~away)
        place = (r.clamp(0, h - 1) * w + c.clamp(0, w - 1)).long()
        picked = images.flatten(2).gather(2, place[:, None].expand(-1, images.shape[1], -1))
        values = values + picked * weight[:, None].to(images.dtype)
    return values
