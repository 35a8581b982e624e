r"""One style for all figures, the figures used twice or more, and a small player for animations.

Every figure has a white opaque background, so that it stays legible on a dark page, colours that
people with a colour vision deficiency can tell apart, and letters that are readable when the
figure is 380 px wide.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

# Okabe and Ito, "Color Universal Design", 2008; yellow last, for it is weak on white.
PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#F0E442",
)
SIGNED = "RdBu_r"
GREY = "gray"
MARKERS = "osD^vPX*"

STYLE = {
    "axes.axisbelow": True,
    "axes.facecolor": "white",
    "axes.grid": False,
    "axes.prop_cycle": mpl.cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "figure.edgecolor": "white",
    "figure.facecolor": "white",
    "figure.figsize": (5.0, 3.0),
    "font.size": 11,
    "image.interpolation": "nearest",
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "savefig.dpi": 110,
    "savefig.facecolor": "white",
    "savefig.transparent": False,
    # Without a salt the ids inside an SVG differ from run to run.
    "svg.hashsalt": "gdl",
    "toolbar": "None",
}


def use_style() -> None:
    """Make the book's style Matplotlib's default for this process.

    >>> use_style(); mpl.rcParams["figure.dpi"]
    110.0
    """
    mpl.rcParams.update(STYLE)


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

    Args:
        values: (rows, columns), real and finite; a tensor or an array.
        ax: where to draw; None makes a new figure.
        title: written above.
        limit: the value of full colour; None takes the largest magnitude.
        numbers: write each entry with two digits into its cell, for matrices small enough.
        colorbar: draw the scale.

    Raises:
        ValueError: wrong number of dimensions, no entries, an entry that is not finite.

    >>> matrix([[0.0, 1.0], [-2.0, 0.0]]).images[0].get_clim()
    (-2.0, 2.0)
    """
    values = _array("values", values, 2)
    ax = ax or _square_axes(1)[0]
    limit = _limit(values, limit)
    image = ax.imshow(values, cmap=SIGNED, vmin=-limit, vmax=limit)
    _bare(ax, title)
    if numbers:
        _write_cells(ax, values, "{:.2g}", abs(values) > 0.6 * limit)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, shrink=0.8)
    return ax


def basis_gallery(
    basis: Sequence[ArrayLike],
    *,
    titles: Sequence[str] | None = None,
    columns: int = 5,
    most: int = 15,
) -> Figure:
    """The maps of a basis as small multiples, on one common scale.

    Args:
        basis: anything with a length and ``basis[k]`` of shape (d_out, d_in): a stack
            (r, d_out, d_in) or a ``Basis`` of the solver, which is never made dense as a whole.
        titles: one for each map that is shown; None numbers them from 1.
        columns: maps in a row.
        most: how many maps to show; the figure says when there are more.

    Raises:
        ValueError: an empty basis, or a number of titles that does not match.

    >>> len(basis_gallery(np.eye(4).reshape(4, 2, 2)).axes)
    4
    """
    if len(basis) == 0 or columns < 1 or most < 1:
        raise ValueError(
            "basis, columns, most: expected at least one map, column and shown map, "
            f"got {len(basis)}, {columns}, {most}"
        )
    maps = [_array("basis", basis[k], 2) for k in range(min(len(basis), most))]
    titles = _titles(titles, [str(k + 1) for k in range(len(maps))])
    limit = max(_limit(values, None) for values in maps)
    axes = _square_axes(len(maps), columns)
    for ax, values, title in zip(axes, maps, titles, strict=True):
        matrix(values, ax, title=title, limit=limit)
    if len(basis) > most:
        axes[0].figure.suptitle(f"the first {most} of {len(basis)} maps")
    return axes[0].figure


def weight_sharing(labels: ArrayLike, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """A matrix of shared weights: one colour and one number for each orbit of entries.

    Args:
        labels: (d_out, d_in), integers: the orbit of each entry, -1 where the weight is zero.
            Up to 16 rows and columns the labels are written too, so that colour is not the only
            sign.
        ax: where to draw; None makes a new figure.
        title: written above.

    Raises:
        ValueError: labels that are not integers of at least -1 in two dimensions.

    >>> weight_sharing([[0, 1], [1, 0]]).texts[1].get_text()
    '1'
    """
    labels = _array("labels", labels, 2)
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
        limit: the value of white (or full colour); None takes the largest magnitude.

    Raises:
        ValueError: no image, an image of another shape or not finite, unsigned images with
            negative values, a number of titles that does not match.

    >>> len(image_row(np.zeros((3, 1, 8, 8)), ["a", "b", "c"]).axes)
    3
    """
    arrays = [_array("images", _without_channel(image), 2) for image in images]
    if not arrays:
        raise ValueError("images: expected at least one, got none")
    lowest = min(array.min() for array in arrays)
    if not signed and lowest < 0:
        raise ValueError(f"images: expected no negative value unless signed=True, got {lowest}")
    titles = _titles(titles, [""] * len(arrays))
    limit = max(_limit(array, limit) for array in arrays)
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

    Raises:
        ValueError: no models, a model without values, a value that is not finite.

    >>> float(bars({"CNN": [1.0, 3.0]}).patches[0].get_height())
    2.0
    """
    if not results:
        raise ValueError("results: expected at least one model, got none")
    ax = ax or plt.subplots()[1]
    for position, (name, values) in enumerate(results.items()):
        values = _array(f"results[{name!r}]", values, 1)
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

    Raises:
        ValueError: shapes that do not match, a value that is not finite, no models.

    >>> curves([0, 1], {"CNN": [[0.0, 1.0], [0.0, 3.0]]}).lines[0].get_ydata().tolist()
    [0.0, 2.0]
    """
    x = _array("x", x, 1)
    if not results:
        raise ValueError("results: expected at least one model, got none")
    ax = ax or plt.subplots()[1]
    for k, (name, values) in enumerate(results.items()):
        values = _array(f"results[{name!r}]", np.atleast_2d(_numpy(values)), 2)
        if values.shape[1] != len(x):
            raise ValueError(
                f"results[{name!r}]: expected shape (seeds, {len(x)}), got {values.shape}"
            )
        (line,) = ax.plot(x, values.mean(0), marker=MARKERS[k % len(MARKERS)], label=name)
        ax.fill_between(x, values.min(0), values.max(0), color=line.get_color(), alpha=0.2, lw=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return ax


PLAYER_BYTES = 1_000_000
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# The handlers find their parts through the enclosing element, so no id and no script tag is
# needed: they work wherever HTML is inserted, and where handlers are stripped the first frame
# stands alone, because only a handler reveals the controls. Nothing moves before the reader asks;
# a reader who prefers reduced motion gets a button that goes one frame further.
_SHOW = (
    "const p=this.closest('.gdl-player'),i=p.querySelector('img');"
    "p.frames??=[i.src,...p.dataset.frames.split(' ')].map("
    "s=>Object.assign(new Image(),{src:s}));"
    "i.src=p.frames[this.value].src;"
    "this.setAttribute('aria-valuetext',`frame ${+this.value+1} of ${p.frames.length}`)"
)
_PLAY = (
    "const p=this.closest('.gdl-player'),s=p.querySelector('input'),"
    "next=()=>{s.value=(+s.value+1)%(+s.max+1);s.oninput()},"
    "stop=()=>{clearInterval(p.timer);p.timer=0;this.textContent='Play'};"
    "if(matchMedia('(prefers-reduced-motion: reduce)').matches)next();"
    "else if(p.timer)stop();"
    "else{this.textContent='Pause';"
    "p.timer=setInterval(()=>p.isConnected?next():stop(),1000/p.dataset.fps)}"
)
_REVEAL = (
    "const c=this.closest('.gdl-player').querySelector('.gdl-controls');"
    "if(c.hidden){c.hidden=false;"
    "if(matchMedia('(prefers-reduced-motion: reduce)').matches)"
    "c.querySelector('button').textContent='Next frame'}"
)
_PLAYER = """\
<div class="gdl-player" role="group" aria-label="Animation: {alt}" data-fps="{fps:g}" \
data-frames="{rest}" style="max-width:{width}px;background:#fff;color:#000">
<img src="{first}" alt="{alt}" width="{width}" height="{height}" \
style="display:block;max-width:100%;height:auto" onload="{reveal}">
<div class="gdl-controls" hidden style="padding:4px">
<button type="button" style="min-width:7em;min-height:32px" onclick="{play}">Play</button>
<input type="range" min="0" max="{last}" value="0" step="1" aria-label="Frame" \
aria-valuetext="frame 1 of {count}" style="width:50%;min-height:32px;vertical-align:middle" \
oninput="{show}">
</div>
</div>
"""


@dataclass(frozen=True, repr=False)
class Player:
    """An animation that a notebook shows: HTML with controls, and its first frame as PNG.

    Front ends that run HTML show the player; those that do not show the first frame. The bytes of
    a PNG depend on the versions of Matplotlib and zlib, so compare stored players by the pixels
    of the data URIs in their HTML, never byte by byte.
    """

    frames: tuple[bytes, ...]
    fps: float
    alt: str

    def __repr__(self) -> str:
        return f"Player({len(self.frames)} frames, {self.fps:g} fps): {self.alt}"

    def _repr_html_(self) -> str:
        uris = ["data:image/png;base64," + base64.b64encode(f).decode() for f in self.frames]
        width, height = _png_size(self.frames[0])
        return _PLAYER.format(
            alt=html.escape(self.alt),
            fps=self.fps,
            first=uris[0],
            rest=" ".join(uris[1:]),
            width=width,
            height=height,
            last=len(uris) - 1,
            count=len(uris),
            reveal=html.escape(_REVEAL),
            play=html.escape(_PLAY),
            show=html.escape(_SHOW),
        )

    def _repr_png_(self) -> bytes:
        return self.frames[0]


def player(frames: Iterable[Figure | ArrayLike | bytes], fps: float = 8, *, alt: str) -> Player:
    """An embedded animation with a static first frame, a play button and a slider.

    It needs no file, no network and no widget, and both controls work from the keyboard.

    Args:
        frames: at least two of one size: Matplotlib figures (closed once drawn, so a generator
            needs the memory of one), grey arrays (h, w) with values in [0, 1], enlarged to at
            least 240 px without smoothing, or finished PNG files as bytes.
        fps: frames a second, above 0 and at most 30.
        alt: what the animation shows, for a reader who cannot see it.

    Raises:
        ValueError: fewer than two frames, frames of different size, an empty ``alt``, values
            outside [0, 1], or more than 1 MB of HTML.

    >>> player([np.zeros((8, 8)), np.ones((8, 8))], fps=2, alt="a blinking square")
    Player(2 frames, 2 fps): a blinking square
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt: expected a text that describes the animation, got {alt!r}")
    if not 0 < fps <= 30:
        raise ValueError(f"fps: expected above 0 and at most 30, got {fps!r}")
    pngs = tuple(_png(frame) for frame in frames)
    sizes = sorted({_png_size(png) for png in pngs})
    if len(pngs) < 2 or len(sizes) > 1:
        raise ValueError(
            f"frames: expected at least two, all of one size, got {len(pngs)} of sizes {sizes}"
        )
    result = Player(pngs, fps, alt.strip())
    size = len(result._repr_html_())
    if size > PLAYER_BYTES:
        raise ValueError(
            f"frames: expected at most {PLAYER_BYTES} bytes of HTML, got {size}: "
            "use fewer or smaller frames"
        )
    return result


def _numpy(values: ArrayLike) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _array(name: str, values: ArrayLike, ndim: int) -> np.ndarray:
    array = _numpy(values)
    if array.ndim != ndim or array.size == 0 or array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name}: expected real numbers in {ndim} dimension(s) and at least one, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite values, got nan or infinity")
    return array


def _without_channel(image: ArrayLike) -> np.ndarray:
    array = _numpy(image)
    return array[0] if array.ndim == 3 and len(array) == 1 else array


def _limit(values: np.ndarray, limit: float | None) -> float:
    if limit is None:
        # An all-zero picture still needs a scale of positive length.
        return float(abs(values).max()) or 1.0
    if not (math.isfinite(limit) and limit > 0):
        raise ValueError(f"limit: expected a positive number, got {limit!r}")
    return float(limit)


def _titles(titles: Sequence[str] | None, default: list[str]) -> Sequence[str]:
    if titles is not None and len(titles) != len(default):
        raise ValueError(f"titles: expected {len(default)}, got {len(titles)}")
    return default if titles is None else titles


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
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    # Steps of the golden ratio keep neighbouring orbits far apart on the scale.
    return [mpl.colors.to_hex(mpl.colormaps["viridis"](k * 0.618034 % 1)) for k in range(count)]


def _luminance(color: str) -> float:
    return float(np.dot(mpl.colors.to_rgb(color), (0.2126, 0.7152, 0.0722)))


def _png(frame: Figure | ArrayLike | bytes) -> bytes:
    if isinstance(frame, bytes):
        if not frame.startswith(_PNG_SIGNATURE) or len(frame) < 24:
            raise ValueError(f"frames: expected PNG bytes, got {frame[:8]!r}")
        return frame
    buffer = io.BytesIO()
    if isinstance(frame, Figure):
        frame.savefig(buffer, format="png")
        plt.close(frame)
        return buffer.getvalue()
    values = _array("frames", frame, 2)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            f"frames: expected grey values in [0, 1], got {values.min()}..{values.max()}"
        )
    scale = max(1, math.ceil(240 / max(values.shape)))
    enlarged = np.kron(values, np.ones((scale, scale)))
    plt.imsave(buffer, enlarged, cmap=GREY, vmin=0, vmax=1, format="png")
    return buffer.getvalue()


def _png_size(png: bytes) -> tuple[int, int]:
    """Width and height, from the header chunk that every PNG starts with."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
