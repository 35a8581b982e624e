"""A small player for animations that needs no file, no network and no widget."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

import gdl.plot._checks as check
from gdl.plot.style import GREY

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
    of the data URIs in their HTML, never byte by byte. :func:`player` checks and makes one.

    Attributes:
        frames: PNG files, all of one size.
        fps: frames a second.
        alt: what the animation shows, in words.

    Tested: every frame is in the HTML, in order; it needs nothing from outside, and nothing moves
    before the reader asks.

    Chapters: ``symmetry``, ``one_equation``, ``grids`` and others.

    >>> still, blink = np.zeros((8, 8)), np.ones((8, 8))
    >>> shown = player([still, blink], alt="a blinking square")
    >>> shown._repr_png_() == shown.frames[0]
    True
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

    Returns:
        What a notebook shows when it is the last line of a cell.

    Raises:
        ValueError: fewer than two frames, frames of different size, ``fps`` out of range, an empty
            ``alt``, bytes that are no PNG, values outside [0, 1], or more than 1 MB of HTML.

    Tested: figures are drawn one by one and closed, and equal frames give equal HTML. Used first
    in the chapter "one_equation".

    Chapters: ``symmetry``, ``one_equation``, ``grids`` and others.

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
    values = check.real_array("frames", frame, 2)
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
