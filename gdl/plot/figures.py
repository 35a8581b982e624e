"""The figures that are used twice or more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

import gdl.plot._checks as check
from gdl.plot.style import GREY, MARKERS, PALETTE, SIGNED


def matrix(
    values: ArrayLike,
    ax: Axes | None = None,
    *,
    title: str | None = None,
    limit: float | None = None,
    numbers: bool = False,
    colorbar: bool = False,
) -> Axes:
    """A signed matrix: white is zero, red is positive, blue is negative, limits symmetric.

    Entry W[i, j] is drawn in row i, counted downwards, and column j, in the colour of W[i, j] /
    limit on a scale from -1 to 1.

    Args:
        values: (rows, columns), real and finite; a tensor or an array.
        ax: where to draw; None makes a new figure.
        title: written above.
        limit: the value of full colour; None takes the largest magnitude.
        numbers: write each entry with two digits into its cell, for matrices small enough.
        colorbar: draw the scale.

    Returns:
        The axes that hold the picture.

    Raises:
        ValueError: wrong number of dimensions, no entries, an entry that is not real or not
            finite, a limit that is not positive.

    Tested: rows run downwards, the scale is symmetric, zero is white. Used in every chapter.

    Chapters: ``symmetry``, ``one_equation``, ``grids`` and others.

    >>> matrix([[0.0, 1.0], [-2.0, 0.0]]).images[0].get_clim()
    (-2.0, 2.0)
    """
    values = check.real_array("values", values, 2)
    ax = ax or _square_axes(1)[0]
    limit = check.scale_limit(values, limit)
    image = ax.imshow(values, cmap=SIGNED, vmin=-limit, vmax=limit)
    _bare(ax, title)
    if numbers:
        _write_cells(ax, values, "{:.2g}", abs(values) > 0.6 * limit)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, shrink=0.8)
    return ax


def weight_sharing(labels: ArrayLike, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """A matrix of shared weights: one colour and one number for each orbit of entries.

    W[i, j] = theta[labels[i, j]], and zero where the label is -1.

    Args:
        labels: (d_out, d_in), integers: the orbit of each entry, -1 where the weight is zero.
            Up to 16 rows and columns the labels are written too, so that colour is not the only
            sign.
        ax: where to draw; None makes a new figure.
        title: written above.

    Returns:
        The axes that hold the picture.

    Raises:
        ValueError: labels that are not integers of at least -1 in two dimensions.

    Tested: entries have equal colours exactly when they have equal labels, and the numbers can be
    read on them. Used first in the chapter "one_equation".

    Chapters: ``symmetry``, ``one_equation``, ``groups``.

    >>> weight_sharing([[0, 1], [1, 0]]).texts[1].get_text()
    '1'
    """
    labels = check.real_array("labels", labels, 2)
    if labels.min() < -1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels: expected integers of at least -1, got {labels.dtype} from {labels.min()}"
        )
    ax = ax or _square_axes(1)[0]
    orbits = int(labels.max()) + 1
    colors = ListedColormap(["white", *_orbit_colors(orbits)])
    ax.imshow(labels, cmap=colors, vmin=-1.5, vmax=orbits - 0.5)
    _bare(ax, title)
    if max(labels.shape) <= 16:
        dark = np.array([_luminance(color) < 0.4 for color in colors.colors])
        _write_cells(ax, labels, "{:d}", dark[labels + 1], skip=labels < 0)
    return ax


def image_row(
    images: ArrayLike | Sequence[ArrayLike],
    titles: Sequence[str] | None = None,
    *,
    signed: bool = False,
    limit: float | None = None,
) -> Figure:
    """Images side by side on one common scale: grey from 0 up, or signed around 0.

    Args:
        images: N images of shape (h, w) or (1, h, w); a tensor (N, 1, h, w) will do.
        titles: one for each image.
        signed: use the colours of :func:`matrix` instead of grey.
        limit: the value of white (or full colour); None takes the largest magnitude of all.

    Returns:
        The figure, with one picture for each image.

    Raises:
        ValueError: no image, an image of another shape or not finite, unsigned images with
            negative values, a limit that is not positive, a number of titles that does not match.

    Tested: all images share one scale, and keep their order. Used first in the chapter
    "one_equation".

    Chapters: ``high_dimensions``, ``one_equation``, ``grids`` and others.

    >>> len(image_row(np.zeros((3, 1, 8, 8)), ["a", "b", "c"]).axes)
    3
    """
    arrays = [check.real_array("images", _without_channel(image), 2) for image in images]
    if not arrays:
        raise ValueError("images: expected at least one, got none")
    lowest = min(array.min() for array in arrays)
    if not signed and lowest < 0:
        raise ValueError(f"images: expected no negative value unless signed=True, got {lowest}")
    titles = check.one_title_each(titles, [""] * len(arrays))
    limit = max(check.scale_limit(array, limit) for array in arrays)
    axes = _square_axes(len(arrays), len(arrays))
    for ax, array, title in zip(axes, arrays, titles, strict=True):
        cmap, vmin = (SIGNED, -limit) if signed else (GREY, 0)
        ax.imshow(array, cmap=cmap, vmin=vmin, vmax=limit)
        _bare(ax, title)
    return axes[0].figure


def bars(
    results: Mapping[str, Sequence[float]], ax: Axes | None = None, *, ylabel: str = "accuracy"
) -> Axes:
    """One bar a model: its height is the mean over seeds, its line runs from least to greatest.

    Args:
        results: name of the model -> one value a seed.
        ax: where to draw; None makes a new figure.
        ylabel: what is measured.

    Returns:
        The axes that hold the bars.

    Raises:
        ValueError: no models, a model without values, a value that is not finite.

    Tested: height and line are mean and range. Used first in the chapter "one_equation".

    Chapters: ``symmetry``, ``one_equation``, ``grids`` and others.

    >>> float(bars({"CNN": [1.0, 3.0]}).patches[0].get_height())
    2.0
    """
    if not results:
        raise ValueError("results: expected at least one model, got none")
    ax = ax or plt.subplots()[1]
    for position, (name, values) in enumerate(results.items()):
        values = check.real_array(f"results[{name!r}]", values, 1)
        mean = float(values.mean())
        spread = [[mean - values.min()], [values.max() - mean]]
        color = PALETTE[position % len(PALETTE)]
        ax.bar(position, mean, yerr=spread, capsize=4, color=color, ecolor="#444444")
    ax.set_xticks(range(len(results)), list(results))
    ax.set_ylabel(ylabel)
    return ax


def curves(
    x: ArrayLike,
    results: Mapping[str, ArrayLike],
    ax: Axes | None = None,
    *,
    xlabel: str = "",
    ylabel: str = "",
) -> Axes:
    """One line a model: the mean over seeds, in a band from least to greatest.

    Args:
        x: positions, (n,).
        results: name of the model -> (seeds, n), or (n,) for one seed.
        ax: where to draw; None makes a new figure.
        xlabel: what ``x`` is.
        ylabel: what is measured.

    Returns:
        The axes that hold the lines and their legend.

    Raises:
        ValueError: shapes that do not match, a value that is not finite, no models.

    Tested: line and band are mean and range. Used first in the chapter "one_equation".

    Chapters: ``one_equation``, ``grids``, ``groups``.

    >>> curves([0, 1], {"CNN": [[0.0, 1.0], [0.0, 3.0]]}).lines[0].get_ydata().tolist()
    [0.0, 2.0]
    """
    x = check.real_array("x", x, 1)
    if not results:
        raise ValueError("results: expected at least one model, got none")
    ax = ax or plt.subplots()[1]
    for k, (name, values) in enumerate(results.items()):
        values = np.atleast_2d(check.as_numpy(f"results[{name!r}]", values))
        values = check.real_array(f"results[{name!r}]", values, 2)
        if values.shape[1] != len(x):
            raise ValueError(
                f"results[{name!r}]: expected shape (seeds, {len(x)}), got {values.shape}"
            )
        (line,) = ax.plot(x, values.mean(0), marker=MARKERS[k % len(MARKERS)], label=name)
        ax.fill_between(x, values.min(0), values.max(0), color=line.get_color(), alpha=0.2, lw=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return ax


def _without_channel(image: ArrayLike) -> np.ndarray:
    array = check.as_numpy("images", image)
    return array[0] if array.ndim == 3 and len(array) == 1 else array


def _square_axes(count: int, columns: int = 1) -> list[Axes]:
    """Axes for square pictures in rows of ``columns``; the left-over places stay empty."""
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    side = 3.0 if count == 1 else max(1.1, 6.0 / columns)
    # A quarter of an inch a row for the titles keeps the pictures large.
    figure = plt.figure(figsize=(side * columns, (side + 0.25) * rows))
    return [figure.add_subplot(rows, columns, k + 1) for k in range(count)]


def _bare(ax: Axes, title: str | None) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(visible=True, color="#888888", linewidth=0.8)
    if title:
        ax.set_title(title)


def _write_cells(
    ax: Axes, values: np.ndarray, form: str, light: np.ndarray, skip: np.ndarray | None = None
) -> None:
    size = min(11, 110 / max(values.shape))
    for (row, column), value in np.ndenumerate(values):
        if skip is None or not skip[row, column]:
            color = "white" if light[row, column] else "black"
            text = form.format(value)
            ax.text(column, row, text, ha="center", va="center", color=color, fontsize=size)


def _orbit_colors(count: int) -> list[str]:
    return [_orbit_color(k, count) for k in range(count)]


def _orbit_color(k: int, count: int) -> str:
    """The colour of orbit k of so many."""
    if count <= len(PALETTE):
        return PALETTE[k]
    # Steps of the golden ratio keep neighbouring orbits far apart on the scale.
    return mpl.colors.to_hex(mpl.colormaps["viridis"](k * 0.618034 % 1))


def _luminance(color: str) -> float:
    return float(np.dot(mpl.colors.to_rgb(color), (0.2126, 0.7152, 0.0722)))
