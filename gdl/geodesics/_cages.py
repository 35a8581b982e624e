"""Cages of four-legged animals: quadrilaterals that a subdivision rounds off.

The body is a box of cells; neck, head, tail, legs and ears are extruded from its faces, so that all
species have the same quadrilaterals. x points forward, y to the left, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

FORWARD, LEFT, UP = np.eye(3)
BODY_CELLS, NECK, HEAD, SNOUT, TAIL = 6, 4, 3, 3, 8
# The corners of the body's cross-section as (y, z), in its half width and half height.
INNER = np.array([1, 0, 0, 1, 1, 0, 0, 1], bool)
SECTION = np.array([(0.4, -1), (1, -0.55), (1, 0.55), (0.4, 1)])
SECTION = np.concatenate([SECTION, -SECTION])
CENTRE, LEFT_BELOW, RIGHT_BELOW = (7, 0, 3, 4), 0, 6


@dataclass(frozen=True)
class Proportions:
    """Lengths, half widths and elevations (radians) of a species, in any unit of length."""

    body: tuple[float, float, float]  # length, half width, half height
    front: float  # size of the chest in that of the hips
    rise: float  # of the shoulders above the hips
    leg: float  # length
    leg_radii: tuple[float, float]  # at hip and foot
    sprawl: float  # elevation of the upper leg above straight down
    neck: tuple[float, float]  # length, elevation
    neck_radii: tuple[float, float]  # at chest and head
    head: tuple[float, float, float]  # length, radius, elevation
    snout: tuple[float, float, float]  # length, radius and elevation at the tip
    tail: tuple[float, float, float]  # length, elevations at root and tip
    tail_radii: tuple[float, float]
    ear: tuple[float, ...]  # length, half widths along and up, elevation, backward sweep


@dataclass(frozen=True)
class Bend:
    """What lies beyond a ring of vertices turns about a pivot, the ring itself half as far."""

    limb: str
    axes: dict[str, np.ndarray]  # of the angles that turn it
    share: float
    pivot: np.ndarray
    ring: tuple[int, ...]
    beyond: range


class Cage:
    """Vertices, quadrilaterals counter-clockwise seen from outside, parts and bends."""

    def __init__(self) -> None:
        self.points: list[np.ndarray] = []
        self.quads: list[tuple[int, ...]] = []
        self.parts: list[str] = []
        self.bends: list[Bend] = []

    def add(self, points: np.ndarray, part: str) -> tuple[int, ...]:
        """New vertices; returns their indices."""
        start = len(self.points)
        self.points += list(points)
        self.parts += [part] * len(points)
        return tuple(range(start, len(self.points)))

    def centre(self, quad: int) -> np.ndarray:
        """The mean of the corners of a quadrilateral."""
        return self.corners(quad).mean(0)

    def corners(self, quad: int) -> np.ndarray:
        """(4, 3)."""
        return np.array([self.points[vertex] for vertex in self.quads[quad]])

    def extrude(self, quad: int, tube: Tube, part: str) -> list[tuple[int, ...]]:
        """Grow a tube out of a quadrilateral, which becomes its end; returns the rings."""
        offsets = self.corners(quad) - self.centre(quad)
        signs = np.sign(np.stack([offsets @ axis for axis in tube.base], 1))
        rings = [self.quads[quad]]
        for centre, axes, sizes in zip(tube.centres, tube.axes, tube.sizes, strict=True):
            ring = self.add(centre + (signs * sizes) @ axes, part)
            old = rings[-1]
            self.quads += [(old[k], old[k - 3], ring[k - 3], ring[k]) for k in range(4)]
            rings.append(ring)
        self.quads[quad] = rings[-1]
        return rings


@dataclass(frozen=True)
class Tube:
    """Rings of four vertices: centres (k, 3), two axes each (k, 2, 3), half widths (k, 2).

    The axes of the face that it grows from say which corner goes on to which.
    """

    base: np.ndarray
    centres: np.ndarray
    axes: np.ndarray
    sizes: np.ndarray


def cage(shape: Proportions) -> Cage:
    """The cage of a species."""
    made = Cage()
    front, rear = _body(made, shape)
    _neck_and_head(made, shape, front)
    _tail(made, shape, rear)
    for side, below in (("left", LEFT_BELOW), ("right", RIGHT_BELOW)):
        for pair, cell in (("front", BODY_CELLS - 1), ("hind", 0)):
            _leg(made, shape, 8 * cell + below, f"{side} {pair}")
    return made


def _body(made: Cage, shape: Proportions) -> tuple[int, int]:
    """The box; returns its central faces in front and behind."""
    length, width, height = shape.body
    along = np.linspace(0, 1, BODY_CELLS + 1)
    size = np.interp(along, (0, 1), (1, shape.front)) * (0.75 + 0.25 * np.sin(np.pi * along) ** 0.5)
    rings = []
    for t, scale in zip(along, size, strict=True):
        points = np.empty((8, 3))
        points[:, 0] = length * (t - 0.5)
        points[:, 1] = width * scale * SECTION[:, 0]
        points[INNER, 1] *= 1 + 2 * (t - 0.5) ** 2
        points[:, 2] = height * scale * SECTION[:, 1] + shape.rise * t
        rings.append(made.add(points, "body"))
    for old, new in zip(rings, rings[1:], strict=False):
        made.quads += [(old[k], old[k - 7], new[k - 7], new[k]) for k in range(8)]
    start = len(made.quads)
    for corners in (CENTRE, (0, 1, 2, 3), (4, 5, 6, 7)):
        made.quads.append(tuple(rings[-1][k] for k in corners))
        made.quads.append(tuple(rings[0][k] for k in reversed(corners)))
    return start, start + 1


def _neck_and_head(made: Cage, shape: Proportions, front: int) -> None:
    length, rise = shape.neck
    head, radius, nod = shape.head
    snout, tip, droop = shape.snout
    steps = np.repeat((length / NECK, head / HEAD, snout / SNOUT), (NECK, HEAD, SNOUT))
    # Turns are spread over several rings, so that these do not meet on the inner side.
    knots = (0, NECK - 2, NECK + 1, NECK + HEAD - 1, len(steps) - 1)
    elevations = np.interp(range(len(steps)), knots, (0.6 * rise, rise, nod, nod, droop))
    skull = (radius, 1.05 * radius, 0.92 * radius)
    radii = [*np.linspace(*shape.neck_radii, NECK), *skull, *np.linspace(0.8 * radius, tip, SNOUT)]
    chest = np.ptp(made.corners(front)[:, 2]) / 2
    start = made.centre(front) + 0.5 * (chest - shape.neck_radii[0]) * UP
    tube = _upright_tube(start, 1, steps, elevations, radii)
    crown = range(len(made.quads) + 4 * (NECK + 1), len(made.quads) + 4 * (NECK + 2))
    rings = made.extrude(front, tube, "head")
    for side in (1, -1):
        face = max(crown, key=lambda quad: side * made.centre(quad)[1])
        _ear(made, shape, face, side, tube.axes[NECK, 1])
    for k in range(1, NECK + 1):
        _bend_tube(made, "neck", 1 / NECK, tube, k, rings)
    for k in (NECK, NECK + 1):
        _bend_tube(made, "head", 1 / 2, tube, k, rings)


def _ear(made: Cage, shape: Proportions, face: int, side: int, crown: np.ndarray) -> None:
    length, along, upwards, elevation, sweep = shape.ear
    ahead = np.cos(sweep) * FORWARD + np.sin(sweep) * side * LEFT
    aside = np.cos(sweep) * side * LEFT - np.sin(sweep) * FORWARD
    out = np.cos(elevation) * aside + np.sin(elevation) * UP
    across = np.cos(elevation) * UP - np.sin(elevation) * aside
    centres = made.centre(face) + np.outer((0.5 * length, length), out)
    sizes = np.outer((1, 0.75), (along, upwards))
    axes = np.broadcast_to(np.stack([ahead, across]), (2, 2, 3))
    base = np.stack([np.cross(LEFT, crown), crown])
    made.extrude(face, Tube(base, centres, axes, sizes), "head")


def _tail(made: Cage, shape: Proportions, rear: int) -> None:
    length, root, tip = shape.tail
    elevations = np.linspace(root, tip, TAIL)
    radii = np.linspace(*shape.tail_radii, TAIL)
    start = made.centre(rear) + 0.3 * shape.body[2] * UP
    tube = _upright_tube(start, -1, np.full(TAIL, length / TAIL), elevations, radii)
    rings = made.extrude(rear, tube, "tail")
    for k in range(1, TAIL):
        _bend_tube(made, "tail", 1 / (TAIL - 1), tube, k, rings)


def _upright_tube(
    start: np.ndarray, way: int, steps: np.ndarray, elevations: np.ndarray, radii: ArrayLike
) -> Tube:
    """A tube in the mirror plane: forwards for way 1, backwards for -1."""
    ahead = np.stack([way * np.cos(elevations), 0 * elevations, np.sin(elevations)], 1)
    centres = start + np.cumsum(steps[:, None] * ahead, 0)
    # The plane of a ring lies half way between the steps before and after it.
    turned = (elevations + np.append(elevations[1:], elevations[-1])) / 2
    normals = np.stack([-way * np.sin(turned), 0 * turned, np.cos(turned)], 1)
    axes = np.stack([np.broadcast_to(LEFT, normals.shape), normals], 1)
    sizes = np.repeat(np.array(radii)[:, None], 2, 1)
    return Tube(np.stack([LEFT, UP]), centres, axes, sizes)


def _bend_tube(
    made: Cage, joint: str, share: float, tube: Tube, k: int, rings: list[tuple[int, ...]]
) -> None:
    axes = dict(zip((f"{joint} lift", f"{joint} turn"), tube.axes[k - 1], strict=True))
    beyond = range(rings[k][-1] + 1, len(made.points))
    limb = made.parts[rings[k][0]]
    made.bends.append(Bend(limb, axes, share, tube.centres[k - 1], rings[k], beyond))


def _leg(made: Cage, shape: Proportions, face: int, name: str) -> None:
    side = 1 if name.startswith("left") else -1
    upper, lower = shape.sprawl, 0.1 * shape.sprawl
    spread = np.array([upper, upper, upper, (upper + lower) / 2, lower, lower])
    down = np.stack([0 * spread, side * np.sin(spread), -np.cos(spread)], 1)
    across = np.stack([0 * spread, side * np.cos(spread), np.sin(spread)], 1)
    start = made.centre(face)
    centres = start + np.cumsum(shape.leg / 6 * down, 0)
    radii = np.interp(range(6), (0, 3, 5), (*shape.leg_radii, shape.leg_radii[1]))
    # A foot: wider, and further ahead.
    radii[-1] *= 1.25
    centres[-1] += 0.5 * radii[-1] * FORWARD
    axes = np.stack([np.broadcast_to(FORWARD, across.shape), across], 1)
    sizes = np.repeat(radii[:, None], 2, 1)
    tube = Tube(np.stack([FORWARD, side * LEFT]), centres, axes, sizes)
    rings = made.extrude(face, tube, f"{name} leg")
    swing = np.cross(FORWARD, down)
    for k in range(1, 5):
        hip = {f"{name} swing": swing[0], f"{name} spread": side * FORWARD}
        knee = {f"{name} knee": swing[k]}
        axes, pivot = (hip, (start, *centres)[k - 1]) if k < 3 else (knee, centres[k - 1])
        beyond = range(rings[k][-1] + 1, len(made.points))
        made.bends.append(Bend(name, axes, 1 / 2, pivot, rings[k], beyond))


SHAPES = {
    "horse": Proportions(
        body=(1.2, 0.27, 0.31),
        front=1.05,
        rise=0.05,
        leg=0.8,
        leg_radii=(0.11, 0.065),
        sprawl=0.0,
        neck=(0.6, 0.8),
        neck_radii=(0.18, 0.13),
        head=(0.32, 0.13, -0.35),
        snout=(0.26, 0.085, -0.6),
        tail=(0.75, -0.2, -1.45),
        tail_radii=(0.075, 0.05),
        ear=(0.17, 0.055, 0.04, 1.2, 0.0),
    ),
    "dachshund": Proportions(
        body=(1.45, 0.21, 0.21),
        front=1.12,
        rise=0.0,
        leg=0.38,
        leg_radii=(0.085, 0.07),
        sprawl=0.0,
        neck=(0.4, 0.65),
        neck_radii=(0.16, 0.13),
        head=(0.28, 0.145, -0.1),
        snout=(0.3, 0.07, -0.15),
        tail=(0.7, 0.2, 0.9),
        tail_radii=(0.06, 0.035),
        ear=(0.24, 0.085, 0.05, -0.6, 0.2),
    ),
    "giraffe": Proportions(
        body=(0.95, 0.23, 0.27),
        front=1.2,
        rise=0.2,
        leg=1.1,
        leg_radii=(0.11, 0.06),
        sprawl=0.0,
        neck=(1.2, 1.15),
        neck_radii=(0.17, 0.1),
        head=(0.24, 0.12, -0.3),
        snout=(0.24, 0.075, -0.4),
        tail=(0.6, -0.5, -1.45),
        tail_radii=(0.05, 0.045),
        ear=(0.16, 0.05, 0.04, 0.5, 0.2),
    ),
    "elephant": Proportions(
        body=(1.3, 0.42, 0.42),
        front=0.95,
        rise=0.05,
        leg=0.72,
        leg_radii=(0.14, 0.13),
        sprawl=0.0,
        neck=(0.45, 0.1),
        neck_radii=(0.22, 0.24),
        head=(0.38, 0.27, -0.1),
        snout=(0.9, 0.08, -1.6),
        tail=(0.5, -0.7, -1.45),
        tail_radii=(0.06, 0.045),
        ear=(0.38, 0.06, 0.26, -0.1, 0.45),
    ),
    "lizard": Proportions(
        body=(1.2, 0.22, 0.14),
        front=1.0,
        rise=0.0,
        leg=0.48,
        leg_radii=(0.085, 0.06),
        sprawl=1.2,
        neck=(0.25, 0.1),
        neck_radii=(0.14, 0.12),
        head=(0.24, 0.14, 0.0),
        snout=(0.24, 0.06, -0.1),
        tail=(1.4, -0.1, 0.1),
        tail_radii=(0.12, 0.04),
        ear=(0.05, 0.05, 0.05, 0.9, 0.0),
    ),
}
