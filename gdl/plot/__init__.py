"""One style for all figures, the figures used twice or more, and a small player for animations.

Every figure has a white opaque background, so that it stays legible on a dark page, colours that
people with a colour vision deficiency can tell apart, and letters that are readable when the
figure is 380 px wide.
"""

from gdl.plot.animation import PLAYER_BYTES, Player, player
from gdl.plot.fields import arrows, field_on_surface, singular_points
from gdl.plot.figures import bars, curves, image_row, matrix, weight_sharing
from gdl.plot.mesh import surface
from gdl.plot.sphere import globe
from gdl.plot.style import GREY, MARKERS, PALETTE, SIGNED, STYLE, use_style

__all__ = [
    "GREY",
    "MARKERS",
    "PALETTE",
    "PLAYER_BYTES",
    "Player",
    "SIGNED",
    "STYLE",
    "arrows",
    "bars",
    "curves",
    "field_on_surface",
    "globe",
    "image_row",
    "matrix",
    "player",
    "singular_points",
    "surface",
    "use_style",
    "weight_sharing",
]
