"""The look of all figures: colours, markers, and the settings of Matplotlib."""

from __future__ import annotations

import matplotlib as mpl

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
    """Make the book's style, ``STYLE``, Matplotlib's default for this process.

    Tested: figures are white and opaque even after a dark style, an SVG is the same in every run,
    and the colours of ``PALETTE`` can be told apart by people without red or without green cones.
    Called by ``gdl.chapter.setup`` at the start of every chapter.

    Chapters: all of them.

    >>> use_style(); mpl.rcParams["figure.dpi"]
    110.0
    """
    mpl.rcParams.update(STYLE)
