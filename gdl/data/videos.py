r"""Small videos made by rule, so that the truth is known: walkers who run, boxes before a wall.

Used in the chapters "sparse_coding" and "factorization".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check

WALKER_WIDTH = 1.5
WALKING, RUNNING = (0.3, 0.7), (1.4, 2.0)
BRIGHTNESS = (0.2, 1.0)
BOX_SPEEDS = (0.5, 1.0)


@dataclass(frozen=True, eq=False)
class Video:
    """A video of walkers with the frames in which one of them runs.

    Attributes:
        frames: (T, size, size), float32.
        labels: (T,), bool, True where someone runs.
        positions: (T, walkers, 2), float32, row and column of each centre, in 0..size.

    Chapter: ``sparse_coding``.

    >>> video = pedestrian_video(5, walkers=2)
    >>> video.positions.shape, bool(video.labels.any())
    (torch.Size([5, 2, 2]), False)
    """

    frames: Tensor
    labels: Tensor
    positions: Tensor


@dataclass(frozen=True, eq=False)
class LayeredVideo:
    """A video with its layers: ``frames = background + foreground`` but for noise.

    Attributes:
        frames: (T, size, size), float32.
        background: (T, size, size), float32, of low rank as a matrix (T, size * size).
        foreground: (T, size, size), float32, positive on the mask and 0 elsewhere.
        mask: (T, size, size), bool, where a box is.

    Chapter: ``factorization``.

    >>> video = background_video(9)
    >>> bool((video.foreground[~video.mask] == 0).all())
    True
    """

    frames: Tensor
    background: Tensor
    foreground: Tensor
    mask: Tensor


def pedestrian_video(
    frames: int,
    *,
    size: int = 24,
    walkers: int = 3,
    anomalies: int = 0,
    duration: int = 16,
    noise: float = 0.01,
    seed: int = 0,
) -> Video:
    r"""Walkers seen from above, of whom one runs now and then.

        frame_t(p) = sum_k a_k exp(-d(p, q_k(t))^2 / (2 * 1.5^2)) + noise,  q_k(t+1) = q_k(t) + v_k

    Each walks straight at .3 to .7 pixels a frame. What leaves the picture on one side comes back
    on the other, and d is the distance on this torus. The video has as many equal parts as
    anomalies: somewhere in each of them one walker runs, at 1.4 to 2 pixels a frame in his own
    direction.

    Args:
        frames: number of frames T, at least 2.
        size: side of a frame in pixels, at least 8.
        walkers: how many, at least 1. Their brightness a_k is drawn from .2 to 1, so that
            a bright walker changes the picture as much as a dark runner.
        anomalies: how many runs, 0 or more.
        duration: frames that a run lasts, its steps counted; ``anomalies`` parts must hold it.
        noise: standard deviation of the normal noise of each pixel, at least 0.
        seed: of all that is drawn, 0..2**32-1. A video with and one without anomalies differ only
            in the runs and what follows them.

    Returns:
        A :class:`~gdl.data.Video`; frame t is labelled where the step to it is a run.

    Raises:
        TypeError: an argument of another type.
        ValueError: a number out of its range, runs that do not fit.

    Law tested: the frames are the formula; steps have these lengths, long ones in labelled frames
    alone; equal calls give equal videos; the noise has its standard deviation. Chapter:
    ``sparse_coding``.

    >>> video = pedestrian_video(60, anomalies=2, seed=0)
    >>> video.frames.shape, int(video.labels.sum())
    (torch.Size([60, 24, 24]), 32)
    """
    check.integer("frames", frames, 2)
    check.integer("size", size, 8)
    check.integer("walkers", walkers, 1)
    check.integer("anomalies", anomalies)
    check.integer("duration", duration, 1)
    noise = check.number("noise", noise, 0.0, 1e3)
    if anomalies and (frames - 1) // anomalies < duration:
        raise ValueError(
            f"anomalies: expected runs that fit into {frames - 1} steps, "
            f"got {anomalies} of {duration} steps"
        )
    draw = _generator(seed)
    start = size * _uniform((walkers, 2), draw)
    brightness = _between(*BRIGHTNESS, walkers, draw)
    velocities = _velocities(*WALKING, walkers, draw)
    grain = noise * torch.randn(frames, size, size, generator=draw, dtype=torch.float32)
    running = torch.zeros(frames, walkers, dtype=torch.bool)
    steps = velocities.expand(frames, walkers, 2).clone()
    for part in range(anomalies):
        room = (frames - 1) // anomalies
        first = 1 + part * room + int(torch.randint(room - duration + 1, (), generator=draw))
        who = int(torch.randint(walkers, (), generator=draw))
        run = slice(first, first + duration)
        running[run, who] = True
        steps[run, who] *= _between(*RUNNING, 1, draw) / velocities[who].norm()
    steps[0] = start
    positions = steps.cumsum(0) % size
    spots = _spots(positions, size, WALKER_WIDTH)
    seen = torch.einsum("k,tkij->tij", brightness, spots) + grain
    return Video(seen, running.any(1), positions)


def background_video(
    frames: int,
    *,
    size: int = 16,
    rank: int = 4,
    boxes: int = 2,
    noise: float = 0.01,
    seed: int = 0,
) -> LayeredVideo:
    r"""A wall in changing light, and boxes that move in front of it.

        background_t = sum_k (1 + cos(2 pi k t / T + phi_k) / 2) spot_k,    k = 1..rank

    Each lamp makes a Gaussian spot, a quarter of the picture wide, at its own place of the wall,
    and gets brighter and darker k times during the video: a matrix of rank ``rank``, row t being
    frame t. Each box is a square of a quarter of the side that adds its own brightness, .5 to 1,
    and moves straight at .5 to 1 pixels a frame, coming back on the other side.

    Args:
        frames: number of frames T, at least 3.
        size: side of a frame in pixels, at least 8.
        rank: number of lamps, at least 1 and fewer than half the frames.
        boxes: how many, 0 or more.
        noise: standard deviation of the normal noise of each pixel, at least 0.
        seed: of all that is drawn, 0..2**32-1.

    Returns:
        A :class:`~gdl.data.LayeredVideo`.

    Raises:
        TypeError: an argument of another type.
        ValueError: a number out of its range.

    Law tested: the background has this rank; the foreground is 0 off the mask and positive on it;
    a single box is a square of the torus that moves; the rest is noise of its standard deviation;
    equal calls give equal videos. Chapter: ``factorization``.

    >>> video = background_video(40, seed=0)
    >>> int(torch.linalg.matrix_rank(video.background.flatten(1).double(), rtol=1e-5))
    4
    """
    check.integer("frames", frames, 3)
    check.integer("size", size, 8)
    check.integer("rank", rank, 1, (frames - 1) // 2)
    check.integer("boxes", boxes)
    noise = check.number("noise", noise, 0.0, 1e3)
    draw = _generator(seed)
    t = torch.arange(frames, dtype=torch.float32)[:, None]
    phases = 2 * math.pi * (t / frames * torch.arange(1, rank + 1) + _uniform((rank,), draw))
    spots = _spots(size * _uniform((rank, 2), draw), size, size / 4)
    background = torch.einsum("tk,kij->tij", 1 + phases.cos() / 2, spots)
    start = size * _uniform((boxes, 2), draw)
    corners = (start + t[..., None] * _velocities(*BOX_SPEEDS, boxes, draw)).floor()
    inside = ((torch.arange(size) - corners[..., None]) % size) < size // 4
    covered = inside[..., 0, :, None] & inside[..., 1, None, :]
    brightness = _between(0.5, 1.0, boxes, draw)
    foreground = (brightness[:, None, None] * covered).sum(1)
    grain = noise * torch.randn(frames, size, size, generator=draw, dtype=torch.float32)
    seen = background + foreground + grain
    return LayeredVideo(seen, background, foreground, covered.any(1))


def cuboids(frames: Tensor, *, size: int = 8, depth: int = 4) -> tuple[Tensor, Tensor]:
    r"""What changes in a video, cut into blocks of space and time.

        g_t = frame_{t+1} - frame_t,    a cuboid holds one tile of g_t, ..., g_{t+depth-1}

    The tiles do not overlap in space; in time a new cuboid starts with each frame.

    Args:
        frames: a video, (T, H, W), floating-point, finite, T > depth.
        size: side of a tile in pixels, a divisor of H and W.
        depth: differences in a cuboid, at least 1.

    Returns:
        The cuboids (T - depth, P, depth * size^2), P tiles row by row, each read by time, row and
        column, in the dtype and on the device of the frames; and the frame in the middle of each,
        ``t + depth // 2``, (T - depth,), int64.

    Raises:
        TypeError: frames that are no floating-point tensor, sizes that are no int.
        ValueError: another shape, entries that are not finite, tiles that do not fit.

    Law tested: each entry is the difference of the two pixels that the formula names; a still video
    gives 0. Chapter: ``sparse_coding``.

    >>> patches, middle = cuboids(torch.arange(5.0)[:, None, None].expand(5, 4, 4), size=2, depth=2)
    >>> patches.shape, bool((patches == 1).all()), middle.tolist()
    (torch.Size([3, 4, 8]), True, [1, 2, 3])
    """
    check.floating("frames", frames)
    if frames.ndim != 3:
        raise ValueError(f"frames: expected shape (T, H, W), got {tuple(frames.shape)}")
    check.finite("frames", frames)
    check.integer("size", size, 1)
    check.integer("depth", depth, 1)
    count, height, width = frames.shape
    if count <= depth:
        raise ValueError(f"frames: expected more than depth = {depth} of them, got {count}")
    if height % size or width % size or not (height and width):
        raise ValueError(
            f"size: expected a divisor of height {height} and width {width}, got {size}"
        )
    windows = frames.diff(dim=0).unfold(0, depth, 1)
    tiles = windows.unflatten(2, (-1, size)).unflatten(1, (-1, size))
    patches = tiles.permute(0, 1, 3, 5, 2, 4).flatten(3).flatten(1, 2)
    middle = torch.arange(count - depth, device=frames.device) + depth // 2
    return patches, middle


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(check.integer("seed", seed, 0, 2**32 - 1))


def _uniform(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=draw, dtype=torch.float32)


def _between(low: float, high: float, count: int, draw: torch.Generator) -> Tensor:
    return low + (high - low) * _uniform((count,), draw)


def _velocities(slowest: float, fastest: float, count: int, draw: torch.Generator) -> Tensor:
    """Any directions, speeds between these: (count, 2)."""
    angle = _between(0, 2 * math.pi, count, draw)
    speed = _between(slowest, fastest, count, draw)
    return speed[:, None] * torch.stack([angle.cos(), angle.sin()], -1)


def _spots(centres: Tensor, size: int, width: float) -> Tensor:
    """Gaussians on the torus around centres (..., 2): (..., size, size)."""
    offset = (torch.arange(size) - centres[..., None] + size / 2) % size - size / 2
    profile = (-offset.square() / (2 * width**2)).exp()
    return profile[..., 0, :, None] * profile[..., 1, None, :]
