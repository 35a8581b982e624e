"""Faces laid out in the plane one at a time, and what lies across their edges.

A point or direction in a face is a complex number: corner 0 at 0, corner 1 on the positive real
axis, corner 2 above it. A side is named by the opposite corner, and a corner of the mesh is the
pair of its face and its number there.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator

import numpy as np

from gdl.geodesics import _topology as topology
from gdl.geodesics import _triangles as triangles
from gdl.geodesics._checks import require
from gdl.geodesics.mesh import Mesh

Corner = tuple[int, int]

# A path that comes so close to a vertex, as a share of the side, goes through it.
AT_VERTEX = 1e-12
# The sine of an angle up to which a line is parallel to a side.
PARALLEL = 1e-14


def cross(p: complex, q: complex) -> float:
    """Positive where q is to the left of p."""
    return (p.conjugate() * q).imag


class Unfolding:
    """The faces of a manifold: unfolded when they are asked for."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = require(mesh, "areas", "manifold")
        self._across = _opposite_corners(mesh)

    def corners(self, face: int) -> tuple[complex, complex, complex]:
        a, b, c = self.mesh.lengths[face].tolist()
        cosine = (b * b + (c - a) * (c + a)) / (2 * c)
        height = 2 * float(self.mesh.face_areas[face]) / c
        return 0j, complex(c), complex(cosine, height)

    def side(self, face: int, k: int) -> tuple[complex, complex]:
        """The ends of the side opposite to corner k; the face is to the left."""
        corners = self.corners(face)
        return corners[(k + 1) % 3], corners[(k + 2) % 3]

    def vertex(self, face: int, k: int) -> int:
        return int(self.mesh.faces[face, k])

    def angle(self, face: int, k: int) -> float:
        return float(triangles.angles(self.mesh.lengths[face : face + 1])[0, k])

    def point(self, face: int, barycentric: tuple[float, float, float]) -> complex:
        return sum(w * z for w, z in zip(barycentric, self.corners(face), strict=True))

    def barycentric(self, face: int, z: complex) -> list[float]:
        found = []
        for k in range(3):
            start, end = self.side(face, k)
            found.append(max(0.0, cross(end - start, z - start)))
        return [w / sum(found) for w in found]

    def in_plane(self, face: int, direction: tuple[float, float, float]) -> complex | None:
        """The part of a direction of space in a face, of size 1; None if there is none."""
        a, b, c = self.mesh.vertices[self.mesh.faces[face]].numpy()
        real = (b - a) / np.linalg.norm(b - a)
        imaginary = c - a - real * (real @ (c - a))
        imaginary /= np.linalg.norm(imaginary)
        vector = np.asarray(direction) / np.abs(direction).max()
        found = complex(real @ vector, imaginary @ vector)
        return found / abs(found) if abs(found) > PARALLEL else None

    def exit(
        self, face: int, z: complex, heading: complex, sides: list[int]
    ) -> tuple[int, float, float]:
        """The side through which a ray leaves, where on it from 0 to 1, and how far away."""
        found = []
        for k in sides:
            start, end = self.side(face, k)
            slope = cross(heading, end - start)
            if slope > PARALLEL * abs(end - start):
                along = cross(start - z, heading) / slope
                far = cross(start - z, end - start) / slope
                found.append((far, k, along))
        far, k, along = min(found)
        return k, along, far

    def across(self, face: int, k: int) -> Corner | None:
        """The corner on the other side of a side; None at a boundary."""
        opposite = int(self._across[face, k])
        return None if opposite < 0 else divmod(opposite, 3)

    def turned(self, face: int, k: int, heading: complex) -> complex:
        """A direction carried over a side into the plane of the next face."""
        start, end = self.side(face, k)
        next_face, j = self.across(face, k)
        other_start, other_end = self.side(next_face, j)
        relative = heading / (end - start)
        if self.vertex(face, (k + 1) % 3) == self.vertex(next_face, (j + 1) % 3):
            # Both run through the side in the same direction: the next face lies face down.
            carried = relative.conjugate() * (other_end - other_start)
        else:
            carried = relative * (other_start - other_end)
        return carried / abs(carried)

    def share(self, face: int, k: int, along: float) -> float:
        """Where on its own side the next face finds the point ``along`` on side k."""
        next_face, j = self.across(face, k)
        same = self.vertex(face, (k + 1) % 3) == self.vertex(next_face, (j + 1) % 3)
        return along if same else 1 - along

    def on_side(self, face: int, k: int, along: float) -> complex:
        start, end = self.side(face, k)
        return (1 - along) * start + along * end

    def fan(self, face: int, k: int, entered: int) -> Iterator[tuple[Corner, int]]:
        """The corners round a vertex, each with the side of its face through which one comes.

        Once round the vertex, or up to a boundary.
        """
        first = (face, k)
        while True:
            yield (face, k), entered
            left = 3 - k - entered
            if self.across(face, left) is None:
                return
            vertex = self.vertex(face, k)
            face, entered = self.across(face, left)
            k = self.mesh.faces[face].tolist().index(vertex)
            if (face, k) == first:
                return

    def corners_at(self, face: int, k: int) -> list[Corner]:
        """All corners at the vertex of one of them."""
        forward = [corner for corner, _ in self.fan(face, k, (k + 1) % 3)]
        backward = [corner for corner, _ in self.fan(face, k, (k + 2) % 3)]
        return list(dict.fromkeys(forward + backward))

    def is_inside(self, face: int, k: int, heading: complex, margin: float = 0.0) -> bool:
        """Whether a direction points from corner k into the face."""
        z = self.corners(face)
        right, left = z[(k + 1) % 3] - z[k], z[(k + 2) % 3] - z[k]
        after = cross(right, heading) >= -margin * abs(right)
        return after and cross(heading, left) >= -margin * abs(left)

    def straight_on(self, face: int, k: int, heading: complex) -> tuple[Corner, complex] | None:
        """Where a path that arrives at corner k goes on; None at a boundary.

        It leaves half of the angles at the vertex on either side.
        """
        corners = self.corners_at(face, k)
        if any(self.across(f, (j + s) % 3) is None for f, j in corners for s in (1, 2)):
            return None
        z = self.corners(face)
        right = z[(k + 1) % 3] - z[k]
        # The side to the right of the corner, seen from it, is the one opposite to corner k + 2.
        rest = max(0.0, cmath.phase(-heading / right)) + self.total(corners) / 2
        while True:
            for (f, j), entered in self.fan(face, k, (k + 2) % 3):
                angle = self.angle(f, j)
                if rest <= angle:
                    return (f, j), self._at_angle(f, j, entered, rest)
                rest -= angle

    def total(self, corners: list[Corner]) -> float:
        return math.fsum(self.angle(f, k) for f, k in corners)

    def _at_angle(self, face: int, k: int, entered: int, angle: float) -> complex:
        """The direction from corner k at an angle from the side ``entered`` there."""
        z = self.corners(face)
        end = 3 - k - entered
        side = z[end] - z[k]
        turn = angle if end == (k + 1) % 3 else -angle
        return side / abs(side) * cmath.exp(1j * turn)


def _opposite_corners(mesh: Mesh) -> np.ndarray:
    """(m, 3): 3 f + k of the corner across the side opposite to each corner, -1 at boundaries."""
    first, second = topology.opposite_corners(mesh.face_edges)
    opposite = np.full(3 * mesh.num_faces, -1)
    opposite[first], opposite[second] = second, first
    return opposite.reshape(-1, 3)
