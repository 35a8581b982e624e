"""Triangle meshes, seen from far away: surfaces in colour, with curves and points on them.

Used in the chapter ``geodesics``.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from numpy.typing import ArrayLike

import gdl.plot._checks as check
from gdl.plot.figures import _orbit_color
from gdl.plot.style import SIGNED

# The colour without values, and that of the label -1.
PLAIN = "#D9D4C7"
# Where the light comes from (right, up, towards the eye), and how much of it is everywhere.
LIGHT = np.array([-0.45, 0.55, 0.70]) / np.linalg.norm([-0.45, 0.55, 0.70])
AMBIENT = 0.5
# A face whose normal has less than this share towards the eye is seen as a line.
EDGE_ON = 1e-9
# What lies deeper than this share of the picture's width below the surface is hidden.
DEPTH_TOLERANCE = 0.02
# Products of three coordinates of this size stay finite.
LARGEST = 1e100
# Pairs of a point and a face that are compared at once.
MOST_PAIRS = 2_000_000
# Parts into which one side of a polyline is cut to find the visible ones.
MOST_PIECES = 1000


def surface(
    vertices: ArrayLike,
    faces: ArrayLike,
    ax: Axes | None = None,
    *,
    values: ArrayLike | None = None,
    cmap: str = SIGNED,
    limit: float | tuple[float, float] | None = None,
    view: tuple[float, float] = (20.0, 30.0),
    light: bool = True,
    edges: bool = False,
    curves: Sequence[ArrayLike] = (),
    points: ArrayLike | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a triangle mesh as an eye far away sees it, the z axis upright.

    Faces are painted from back to front, each in one colour. On a closed and oriented mesh those
    that look away from the eye are left out. Of curves and points only the visible parts are drawn.

    Args:
        vertices: (n, 3), real, of at most ``LARGEST``.
        faces: (m, 3), integers from 0 to n - 1.
        ax: where to draw; a new one by default.
        values: one number, one label or one colour for each vertex or for each face; for each
            vertex where there are as many of both. Numbers, (n,) or (m,), floating point, are
            read through ``cmap``; labels, (n,) or (m,), integers from -1, take the colours of
            ``PALETTE`` in turn, and -1 none; colours, (n, 3) or (m, 3), are red, green and blue
            from 0 to 1. A face shows the mean over its corners, of labels the median, which is
            the one that two corners share.
        cmap: Matplotlib's name of a colour map, for numbers.
        limit: the number of full colour; the scale runs from ``-limit`` with the map ``SIGNED``
            and from 0 with others. A pair gives both ends. None takes the largest magnitude with
            ``SIGNED``, and the least and greatest number with others.
        view: elevation and azimuth of the eye in degrees; azimuth 0 looks from +x, 90 from +y.
        light: shade each face by the angle between its normal and the light, which comes from the
            upper left behind the eye.
        edges: draw the sides of the faces.
        curves: polylines near the surface, each (k, 3) with at least two points.
        points: (p, 3), near the surface.
        title: above the picture.

    Returns:
        The axes.

    Raises: TypeError for switches that are not True or False and curves that are no sequence;
    ValueError for wrong shapes, no faces, an index out of range, numbers that are not finite,
    colours outside 0 to 1, labels below -1, an unknown map, a limit that is not positive or not
    ordered.
    Law tested: what is nearer is painted later, faces turned away are left out, numbers, labels
    and colours appear where they belong, and what lies behind is hidden. Used in the chapter
    ``geodesics``.

    Chapters: ``geodesics``, ``gauges``.

    >>> corners = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    >>> ax = surface(corners, [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    >>> len(ax.collections[0].get_paths())  # three faces look away
    1
    """
    vertices, faces = _mesh(vertices, faces)
    check.boolean("light", light)
    check.boolean("edges", edges)
    curves = check.listed("curves", curves)
    curves = [_points(f"curves[{k}]", curve, 2) for k, curve in enumerate(curves)]
    colors = _face_colors(values, faces, len(vertices), cmap, limit)
    to_eye = _rotation(view)
    seen = vertices @ to_eye.T
    corners = seen[faces]
    shown, normals = _shown(vertices, faces, corners)
    if light:
        colors = colors * (AMBIENT + (1 - AMBIENT) * np.maximum(normals @ LIGHT, 0))[:, None]
    ax = plt.subplots(figsize=(2.2, 2.2))[1] if ax is None else ax
    order = shown[np.argsort(corners[shown, :, 2].mean(1), kind="stable")]
    ax.add_collection(
        PolyCollection(
            corners[order, :, :2],
            facecolors=colors[order],
            edgecolors=(0, 0, 0, 0.5) if edges else colors[order],
            # Without a line of its own colour a face leaves a seam to its neighbours.
            linewidths=0.3 if edges else 1.0,
            rasterized=True,
        )
    )
    _frame(ax, seen)
    tolerance = DEPTH_TOLERANCE * _extent(seen)
    _draw_curves(ax, curves, to_eye, corners[shown], tolerance)
    if points is not None:
        marks = _points("points", points) @ to_eye.T
        marks = marks[~_hidden(marks, corners[shown], tolerance)]
        ax.plot(*marks[:, :2].T, "o", color="black", markersize=4, markeredgecolor="white")
    if title is not None:
        ax.set_title(title, fontsize=9)
    return ax


def _mesh(vertices: ArrayLike, faces: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    vertices = _points("vertices", vertices)
    faces = check.real_array("faces", faces, 2)
    if faces.dtype.kind not in "iu" or faces.shape[1] != 3:
        raise ValueError(
            f"faces: expected integers of shape (m, 3), got {faces.dtype} of shape {faces.shape}"
        )
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(
            f"faces: expected entries 0 to {len(vertices) - 1} for {len(vertices)} vertices, "
            f"got {faces.min()} to {faces.max()}"
        )
    return vertices, faces.astype(np.int64)


def _points(name: str, values: ArrayLike, least: int = 1) -> np.ndarray:
    """``values`` in float64 if they are at least so many finite points of space."""
    points = check.real_array(name, values, 2)
    if points.shape[1] != 3 or len(points) < least:
        raise ValueError(f"{name}: expected shape (n, 3) with n >= {least}, got {points.shape}")
    points = points.astype(np.float64)
    if abs(points).max() > LARGEST:
        raise ValueError(f"{name}: expected coordinates of at most {LARGEST:g}")
    return points


def _rotation(view: tuple[float, float]) -> np.ndarray:
    """The rows right, up and towards the eye."""
    angles = check.real_array("view", view, 1)
    if angles.shape != (2,):
        raise ValueError(f"view: expected elevation and azimuth, got shape {angles.shape}")
    elevation, azimuth = np.radians(angles)
    c, s = np.cos(azimuth), np.sin(azimuth)
    level = np.array([c, s, 0.0])
    upright = np.array([0.0, 0.0, 1.0])
    up = np.cos(elevation) * upright - np.sin(elevation) * level
    eye = np.cos(elevation) * level + np.sin(elevation) * upright
    return np.stack([np.array([-s, c, 0.0]), up, eye])


def _face_colors(
    values: ArrayLike | None,
    faces: np.ndarray,
    vertices: int,
    cmap: str,
    limit: float | tuple[float, float] | None,
) -> np.ndarray:
    """(m, 3): red, green and blue of each face before it is lit."""
    if cmap not in mpl.colormaps:
        raise ValueError(f"cmap: expected the name of one of Matplotlib's maps, got {cmap!r}")
    if values is None:
        return np.tile(mpl.colors.to_rgb(PLAIN), (len(faces), 1))
    array = check.as_numpy("values", values)
    array = check.real_array("values", array, 2 if array.ndim == 2 else 1)
    if len(array) not in (vertices, len(faces)) or array.shape[1:] not in ((), (3,)):
        raise ValueError(
            f"values: expected shape ({vertices},), ({len(faces)},), ({vertices}, 3) or "
            f"({len(faces)}, 3), got {array.shape}"
        )
    corners = array[faces] if len(array) == vertices else array[:, None]
    if array.ndim == 2:
        if array.min() < 0 or array.max() > 1:
            raise ValueError(
                f"values: expected colours from 0 to 1, got {array.min()} to {array.max()}"
            )
        return corners.mean(1)
    if array.dtype.kind != "f":
        return _label_colors(corners.astype(np.int64))
    low, high = _scale(array, cmap, limit)
    return mpl.colormaps[cmap]((corners.mean(1) - low) / (high - low))[:, :3]


def _label_colors(corners: np.ndarray) -> np.ndarray:
    if corners.min() < -1:
        raise ValueError(f"values: expected labels of at least -1, got {corners.min()}")
    count = int(corners.max()) + 1
    median = np.sort(corners, 1)[:, corners.shape[1] // 2]
    labels, index = np.unique(median, return_inverse=True)
    colors = [PLAIN if k < 0 else _orbit_color(int(k), count) for k in labels]
    return np.array([mpl.colors.to_rgb(color) for color in colors])[index]


def _scale(
    values: np.ndarray, cmap: str, limit: float | tuple[float, float] | None
) -> tuple[float, float]:
    """The numbers at both ends of the colour map."""
    if isinstance(limit, tuple | list) or np.ndim(limit) == 1:
        ends = check.real_array("limit", limit, 1)
        if ends.shape != (2,) or not ends[0] < ends[1]:
            raise ValueError(f"limit: expected a number below another, got {tuple(limit)}")
        return float(ends[0]), float(ends[1])
    if cmap == SIGNED:
        limit = check.scale_limit(values, limit)
        return -limit, limit
    if limit is not None:
        return 0.0, check.scale_limit(values, limit)
    low, high = float(values.min()), float(values.max())
    # Equal numbers still need a scale of positive length.
    half = 0.5 * max(1.0, abs(low))
    return (low, high) if low < high else (low - half, high + half)


def _shown(
    vertices: np.ndarray, faces: np.ndarray, corners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The faces to paint, and the unit normals of all, towards the eye."""
    # Lengths near 1 have products that neither vanish nor overflow.
    corners = corners / _extent(vertices)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    towards = normals[:, 2]
    inwards = _inwards(vertices, faces)
    if inwards is None:
        shown = np.arange(len(faces))
    else:
        shown = np.flatnonzero(np.where(inwards, -towards, towards) > EDGE_ON)
    return shown, np.where(towards[:, None] < 0, -normals, normals)


def _inwards(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray | None:
    """Whether the normal of each face points inwards; None unless closed and oriented."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(vertices)
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    forwards, backwards = np.sort(start * n + end), np.sort(end * n + start)
    if not np.array_equal(forwards, backwards):
        return None
    graph = coo_array((np.ones(len(start)), (start, end)), shape=(n, n))
    component = connected_components(graph, directed=False)[1][faces[:, 0]]
    # Near the origin the volumes lose fewer digits.
    centred = (vertices - vertices.mean(0)) / _extent(vertices)
    a, b, c = centred[faces].transpose(1, 0, 2)
    volumes = np.bincount(component, (a * np.cross(b, c)).sum(1))
    return volumes[component] < 0


def _frame(ax: Axes, seen: np.ndarray) -> None:
    """A square without axes, in which the whole surface has room."""
    low, high = seen[:, :2].min(0), seen[:, :2].max(0)
    half = 0.52 * _extent(seen[:, :2])
    x, y = (low + high) / 2
    ax.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal")
    ax.set_axis_off()


def _extent(points: np.ndarray) -> float:
    """The longest side of the box around the points; 1 where it is a point."""
    return float(np.ptp(points, axis=0).max()) or 1.0


def _draw_curves(
    ax: Axes,
    curves: Sequence[np.ndarray],
    to_eye: np.ndarray,
    corners: np.ndarray,
    tolerance: float,
) -> None:
    for curve in curves:
        fine = _refined(curve @ to_eye.T, tolerance)
        pieces = np.stack([fine[:-1], fine[1:]], 1)
        visible = ~_hidden(pieces.mean(1), corners, tolerance)
        lines = _joined(pieces[..., :2], visible)
        ax.add_collection(LineCollection(lines, colors="black", linewidths=1.5, capstyle="round"))


def _refined(curve: np.ndarray, step: float) -> np.ndarray:
    """The same polyline with no piece much longer than ``step``."""
    lengths = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    counts = np.clip(np.ceil(lengths / step), 1, MOST_PIECES).astype(np.int64)
    position = np.concatenate([[0.0], np.repeat(1 / counts, counts).cumsum()])
    return np.stack([np.interp(position, range(len(curve)), axis) for axis in curve.T], 1)


def _joined(pieces: np.ndarray, visible: np.ndarray) -> list[np.ndarray]:
    """The runs of visible pieces, each as one polyline."""
    if not visible.any():
        return []
    kept = np.flatnonzero(visible)
    runs = np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1)
    return [np.concatenate([pieces[run, 0], pieces[run[-1:], 1]]) for run in runs]


def _hidden(places: np.ndarray, corners: np.ndarray, tolerance: float) -> np.ndarray:
    """Which places lie deeper than ``tolerance`` behind some face."""
    chunks = np.array_split(places, 1 + len(places) * len(corners) // MOST_PAIRS)
    return np.concatenate([_behind(chunk, corners, tolerance) for chunk in chunks])


def _behind(places: np.ndarray, corners: np.ndarray, tolerance: float) -> np.ndarray:
    a, b, c = corners.transpose(1, 0, 2)
    u, v, w = b - a, c - a, places[:, None] - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    flat = area == 0
    area = np.where(flat, 1.0, area)
    # Barycentric coordinates of every place in every face, as the eye sees them.
    s = (w[..., 0] * v[:, 1] - w[..., 1] * v[:, 0]) / area
    t = (u[:, 0] * w[..., 1] - u[:, 1] * w[..., 0]) / area
    inside = (s >= 0) & (t >= 0) & (s + t <= 1) & ~flat
    over = s * u[:, 2] + t * v[:, 2] - w[..., 2]
    return (inside & (over > tolerance)).any(1)
