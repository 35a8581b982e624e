"""Arrows and singular points on surfaces.

Used in the chapter ``gauges``.
"""

from __future__ import annotations

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

import gdl.plot._checks as check
from gdl._checks import integer, positive
from gdl.plot.mesh import (
    DEPTH_TOLERANCE,
    _extent,
    _hidden,
    _mesh,
    _points,
    _rotation,
    _shown,
    surface,
)
from gdl.plot.style import PALETTE, SIGNED

View = tuple[float, float]
# Shafts and heads, in inches and in widths of the shaft.
WIDTH = 0.018
HEAD = {"headwidth": 3.8, "headlength": 4.2, "headaxislength": 3.8, "minshaft": 2}
NO_HEAD = {"headwidth": 0, "headlength": 0, "headaxislength": 0}
# Arrows of a field are so long compared with the distance between them.
SHARE = 0.9
POSITIVE, NEGATIVE = ("o", PALETTE[1]), ("s", PALETTE[0])


def arrows(
    ax: Axes,
    vertices: ArrayLike,
    faces: ArrayLike,
    origins: ArrayLike,
    vectors: ArrayLike,
    *,
    view: View = (20.0, 30.0),
    length: float | None = None,
    color: str = "black",
    heads: bool = True,
) -> Axes:
    """Draw arrows on a surface that :func:`surface` has drawn with the same view.

    Of the arrows those are left out whose origins are hidden. They are seen from far away, so that
    those towards the eye are short.

    Args:
        ax: where the surface is.
        vertices, faces, view: as in :func:`surface`.
        origins: (k, 3), on the surface; k may be 0.
        vectors: (k, 3).
        length: of the longest arrow, as a share of the width of the surface; None leaves vectors as
            long as they are.
        color: of all arrows.
        heads: False draws lines.

    Returns:
        The axes.

    Raises: TypeError for no axes, heads that are not True or False, a length that is no number;
    ValueError for wrong shapes, numbers that are not finite, a length that is not positive.
    Law tested: origins and tips lie where the points of the surface do, hidden ones are left out.
    Used in the chapter ``gauges``.

    Chapter: ``gauges``.

    >>> corners, faces = [[0, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 2]]
    >>> ax = surface(corners, faces, view=(0, 0))
    >>> ax = arrows(ax, corners, faces, [[0, 0.2, 0.2]], [[0, 0.5, 0]], view=(0, 0))
    >>> ax.collections[-1].U.tolist()
    [0.5]
    """
    origins, vectors = _pair(origins, vectors)
    check.boolean("heads", heads)
    seen = _Seen(ax, vertices, faces, view)
    visible = seen.visible(origins)
    longest = np.linalg.norm(vectors, axis=1).max(initial=0.0)
    if length is not None and longest > 0:
        vectors = vectors * (positive("length", length) * seen.width / longest)
    seen.quiver(origins[visible], vectors[visible], color, heads)
    return ax


def singular_points(
    ax: Axes,
    vertices: ArrayLike,
    faces: ArrayLike,
    points: ArrayLike,
    indices: ArrayLike,
    *,
    order: int = 1,
    view: View = (20.0, 30.0),
) -> Axes:
    """Mark zeros of a field: an orange disk for a positive index, a blue square for a negative one.

    Beside each stands how often the field turns round it, the index over the order.

    Args:
        ax, vertices, faces, view: as in :func:`arrows`.
        points: (k, 3), on the surface; k may be 0.
        indices: (k,), integers; where the index is 0 nothing is marked.
        order: of the field, at least 1.

    Returns:
        The axes.

    Raises: TypeError for no axes, an order that is no int; ValueError for wrong shapes, other
    numbers.
    Law tested: signs have different shapes, colours and labels; hidden ones are left out. Used in
    the chapter ``gauges``.

    Chapter: ``gauges``.

    >>> corners, faces = [[0, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 2]]
    >>> ax = surface(corners, faces, view=(0, 0))
    >>> ax = singular_points(ax, corners, faces, [[0, 0.2, 0.2]], [-1], order=4, view=(0, 0))
    >>> ax.texts[0].get_text()
    '−1/4'
    """
    points, turns = _places("points", points), _indices(indices)
    if len(turns) != len(points):
        raise ValueError(f"indices: expected shape ({len(points)},), got {turns.shape}")
    order = integer("order", order, 1)
    seen = _Seen(ax, vertices, faces, view)
    drawn = seen.visible(points) & (turns != 0)
    for place, turn in zip(seen.flat(points[drawn]), turns[drawn], strict=True):
        marker, color = POSITIVE if turn > 0 else NEGATIVE
        ax.plot(*place, marker, color=color, markersize=6, markeredgecolor="white", zorder=5)
        ax.annotate(
            _fraction(int(turn), order),
            place,
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=8,
            zorder=6,
            path_effects=[patheffects.withStroke(linewidth=2, foreground="white")],
        )
    return ax


def field_on_surface(
    vertices: ArrayLike,
    faces: ArrayLike,
    vectors: ArrayLike,
    ax: Axes | None = None,
    *,
    values: ArrayLike | None = None,
    cmap: str = SIGNED,
    singular: ArrayLike | None = None,
    count: int = 200,
    length: float | None = None,
    unit: bool = False,
    color: str = "black",
    view: View = (20.0, 30.0),
    title: str | None = None,
) -> Axes:
    """Draw a surface with a tangent field: arrows at some vertices, and its zeros.

    Each vertex that is chosen lies farthest from those before it, so that they are spread evenly.
    A field of order 2 or more is drawn as lines, for it has no heads: line fields and crosses.

    Args:
        vertices, faces, values, cmap, view, title: as in :func:`surface`.
        vectors: (n, 3), one for each vertex, or (n, s, 3) for a field of order s.
        ax: where to draw; a new one by default.
        singular: (m,), integers, the index of the field on each face, marked at the middle.
        count: arrows in all, those behind included; at most n.
        length: of the longest arrow, as in :func:`arrows`; None takes nearly the distance between
            them, and half of it for lines.
        unit: draw all arrows equally long.
        color: of the arrows.

    Returns:
        The axes.

    Raises: as :func:`surface`; also TypeError for a count that is no int; ValueError for another
    number of vectors or of indices, and for a count below 1.
    Law tested: as :func:`surface`, :func:`arrows` and :func:`singular_points`; chosen vertices are
    farther from each other than any vertex is from them. Used in the chapter ``gauges``.

    Chapter: ``gauges``.

    >>> corners, faces = [[0, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 2]]
    >>> ax = field_on_surface(corners, faces, np.ones((3, 3)), singular=[1], view=(0, 0))
    >>> [text.get_text() for text in ax.texts]
    ['+1']
    """
    places, triangles = _mesh(vertices, faces)
    branches = _branches(vectors, len(places))
    count = integer("count", count, 1)
    check.boolean("unit", unit)
    if singular is not None and len(_indices(singular)) != len(triangles):
        raise ValueError(
            f"singular: expected {len(triangles)} indices, one a face, "
            f"got shape {np.shape(singular)}"
        )
    ax = surface(places, triangles, ax, values=values, cmap=cmap, view=view, title=title)
    chosen, apart = _spread(places, min(count, len(places)))
    order = branches.shape[1]
    vectors = branches[chosen].reshape(-1, 3)
    if unit:
        size = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = np.divide(vectors, size, out=np.zeros_like(vectors), where=size > 0)
    if length is None:
        length = SHARE * apart / _extent(places) / min(order, 2)
    arrows(
        ax,
        places,
        triangles,
        places[chosen].repeat(order, 0),
        vectors,
        view=view,
        length=length,
        color=color,
        heads=order == 1,
    )
    if singular is not None:
        middles = places[triangles].mean(1)
        singular_points(ax, places, triangles, middles, singular, order=order, view=view)
    return ax


class _Seen:
    """A surface as the eye sees it, and what is drawn on it."""

    def __init__(self, ax: Axes, vertices: ArrayLike, faces: ArrayLike, view: View) -> None:
        if not isinstance(ax, Axes):
            raise TypeError(f"ax: expected Matplotlib's Axes, got {type(ax).__name__}")
        vertices, faces = _mesh(vertices, faces)
        self.ax, self.to_eye = ax, _rotation(view)
        turned = vertices @ self.to_eye.T
        corners = turned[faces]
        self.corners = corners[_shown(vertices, faces, corners)[0]]
        self.tolerance = DEPTH_TOLERANCE * _extent(turned)
        self.width = _extent(vertices)

    def flat(self, points: np.ndarray) -> np.ndarray:
        """Points or vectors (k, 3) in the plane of the picture."""
        return points @ self.to_eye[:2].T

    def visible(self, points: np.ndarray) -> np.ndarray:
        """Which points no face hides."""
        return ~_hidden(points @ self.to_eye.T, self.corners, self.tolerance)

    def quiver(self, origins: np.ndarray, vectors: np.ndarray, color: str, heads: bool) -> None:
        """Arrows from origin to tip, or lines."""
        self.ax.quiver(
            *self.flat(origins).T,
            *self.flat(vectors).T,
            color=color,
            angles="xy",
            scale_units="xy",
            scale=1,
            units="inches",
            width=WIDTH,
            minlength=0.1,
            zorder=3,
            **(HEAD if heads else NO_HEAD),
        )


def _spread(points: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """Indices of points far from each other, and the distance of the last from those before."""
    chosen = [0]
    nearest = np.linalg.norm(points - points[0], axis=1)
    apart = _extent(points)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        apart = float(nearest.max())
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen), apart


def _pair(origins: ArrayLike, vectors: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    origins, vectors = _places("origins", origins), _places("vectors", vectors)
    if len(vectors) != len(origins):
        raise ValueError(f"vectors: expected shape {origins.shape}, got {vectors.shape}")
    return origins, vectors


def _places(name: str, values: ArrayLike) -> np.ndarray:
    """Points or vectors (k, 3), float64; k may be 0."""
    empty = check.as_numpy(name, values).shape == (0, 3)
    return np.zeros((0, 3)) if empty else _points(name, values)


def _branches(vectors: ArrayLike, n: int) -> np.ndarray:
    """(n, s, 3) of vectors (n, 3) or (n, s, 3)."""
    array = check.as_numpy("vectors", vectors)
    array = check.real_array("vectors", array, 3 if array.ndim == 3 else 2).astype(np.float64)
    if len(array) != n or array.shape[-1] != 3:
        raise ValueError(f"vectors: expected shape ({n}, 3) or ({n}, s, 3), got {array.shape}")
    return array.reshape(n, -1, 3)


def _indices(indices: ArrayLike) -> np.ndarray:
    array = check.as_numpy("indices", indices)
    if array.shape == (0,):
        return np.zeros(0, dtype=np.int64)
    array = check.real_array("indices", array, 1)
    if array.dtype.kind not in "iu":
        raise ValueError(f"indices: expected integers, got {array.dtype}")
    return array.astype(np.int64)


def _fraction(turns: int, order: int) -> str:
    divisor = np.gcd(turns, order)
    whole = f"{'+' if turns > 0 else '−'}{abs(turns) // divisor}"
    return whole if order == divisor else f"{whole}/{order // divisor}"
