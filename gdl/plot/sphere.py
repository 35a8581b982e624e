"""Functions on the sphere, seen from one side.

Used in the chapter ``rotations``.
"""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

import gdl.plot._checks as check
from gdl.plot.style import SIGNED


def globe(
    function: Callable[[Tensor], Tensor],
    ax: Axes | None = None,
    *,
    tilt: float = 0.5,
    turn: float = 0.4,
    pixels: int = 120,
    limit: float | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a function on the sphere as a globe: blue below zero, white at zero, red above.

    The eye is far away, so that a hemisphere is seen; the polar axis y points up, towards the eye
    by ``tilt``.

    Args:
        function: maps points ``(n, 3)`` of the unit sphere, float64, to values ``(n,)``.
        ax: where to draw; a new one by default.
        tilt: angle of the polar axis towards the eye, in radians.
        turn: angle by which the globe is turned about its polar axis, in radians.
        pixels: width of the picture.
        limit: the value of full colour; the largest one seen by default.
        title: above the globe.

    Returns:
        The axes.

    Raises: TypeError if ``function`` is none; ValueError if it gives another shape or values that
    are not finite, or if there are too few pixels.
    Law tested: the pole lies where the tilt puts it, and the left of the picture is the left of the
    globe. Used in the chapter ``rotations``.

    Chapter: ``rotations``.

    >>> ax = globe(lambda points: points[:, 1], pixels=20)
    >>> ax.images[0].get_array().shape
    (20, 20)
    """
    if not callable(function):
        raise TypeError(f"function: expected a function, got {type(function).__name__}")
    if isinstance(pixels, bool) or not isinstance(pixels, int) or pixels < 2:
        raise ValueError(f"pixels: expected an int of at least 2, got {pixels!r}")
    points, inside = _seen(tilt, turn, pixels)
    values = function(points)
    if not isinstance(values, Tensor) or tuple(values.shape) != (len(points),):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"function: expected values of shape ({len(points)},), got {got}")
    picture = np.full((pixels, pixels), np.nan)
    picture[inside] = check.real_array("function", values, 1)
    limit = check.scale_limit(picture[inside], limit)
    ax = plt.subplots(figsize=(2, 2))[1] if ax is None else ax
    ax.imshow(picture, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
    ax.add_patch(plt.Circle((pixels / 2 - 0.5,) * 2, pixels / 2, fill=False, color="0.4", lw=0.8))
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title, fontsize=9)
    return ax


def _seen(tilt: float, turn: float, pixels: int) -> tuple[Tensor, np.ndarray]:
    """The points of the sphere behind the pixels, and which pixels there are."""
    ticks = (torch.arange(pixels, dtype=torch.float64) + 0.5) / pixels * 2 - 1
    up, right = torch.meshgrid(-ticks, ticks, indexing="ij")
    depth = 1 - up.square() - right.square()
    inside = depth > 0
    # The eye looks from +z: right is x, up is y.
    eye = torch.stack([right[inside], up[inside], depth[inside].sqrt()], -1)
    c, s = np.cos(tilt), np.sin(tilt)
    about_x = torch.tensor([[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]], dtype=torch.float64)
    c, s = np.cos(turn), np.sin(turn)
    about_y = torch.tensor([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]], dtype=torch.float64)
    return eye @ (about_y @ about_x).T, inside.numpy()
