r"""Paths along a surface: straightest geodesics, and descent of a distance.

Chapter: ``geodesics``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

import gdl._checks as check
from gdl.geodesics import _checks as require
from gdl.geodesics._topology import NEXT, PREVIOUS
from gdl.geodesics._unfolding import AT_VERTEX, PARALLEL, Corner, Unfolding, cross
from gdl.geodesics.mesh import Mesh

MOST_FACES = 100_000


@dataclass(frozen=True, eq=False)
class Path:
    r"""A polyline on a surface, each segment in one face.

    Attributes:
        mesh: the surface.
        faces: (p,), int64, the face of each segment.
        barycentric: (p, 2, 3), float64, the start and the end of each segment, in its face.

    The same faces and weights on an isometric mesh are the same path there.

    Law tested: the end of a segment and the start of the next are the same point, on the edge or
    at the vertex that their faces share. Chapter: ``geodesics``.

    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> path = shoot(square, 0, [0.25, 0.5, 0.25], [-1, 1, 0], 5.0)
    >>> path.faces, round(path.length, 4)
    (tensor([0, 1]), 1.0607)
    """

    mesh: Mesh
    faces: Tensor
    barycentric: Tensor

    @cached_property
    def points(self) -> Tensor:
        """Where the segments begin, and where the last one ends; (p + 1, 3), float64."""
        corners = self.mesh.vertices[self.mesh.faces[self.faces]]
        ends = torch.einsum("pek,pkd->ped", self.barycentric, corners)
        return torch.cat([ends[:1, 0], ends[:, 1]])

    @cached_property
    def lengths(self) -> Tensor:
        """The lengths of the segments, (p,), float64."""
        step = self.barycentric[:, 1] - self.barycentric[:, 0]
        squares = self.mesh.lengths[self.faces] ** 2
        # In a triangle, |sum_k s_k v_k|^2 for weights s that sum to 0.
        products = step[:, NEXT] * step[:, PREVIOUS] * squares
        return (-products.sum(1)).clamp(min=0).sqrt()

    @property
    def length(self) -> float:
        """The sum of the lengths of the segments."""
        return float(self.lengths.sum())


def shoot(
    mesh: Mesh,
    face: int,
    barycentric: ArrayLike | Tensor,
    direction: ArrayLike | Tensor,
    length: float,
    *,
    max_faces: int = MOST_FACES,
) -> Path:
    r"""The straightest geodesic: straight in each face, and straight when two are unfolded.

    At an edge the neighbour is turned into the plane of the face, where the line goes on. At a
    vertex, the angle to the left of the path equals that to the right. At a boundary it stops,
    shorter than asked for. No orientation is needed: a Möbius strip will do.

    Args:
        mesh: an edge has at most two faces, and a vertex one fan of faces; no zero-area faces.
        face: where to start.
        barycentric: (3,), the point to start from; not negative, with sum 1.
        direction: (3,), in space; its part in the plane of the face counts, and not its size.
        length: of the path, positive, in the unit of the vertices; one that is lost in the rounding
            of the start gives a path of length 0.
        max_faces: the most segments to follow.

    Returns:
        The path, of the length asked for up to rounding, or ending on a boundary.

    Raises:
        TypeError: arguments of other types.
        ValueError: other shapes or values, a mesh that is no manifold, a direction along the
            normal, one that leaves the face at the corner from which it starts, more segments than
            ``max_faces``.

    Law tested: on a strip folded along its edges, the straight line of the flat one to 1e-12; the
    great circles in the limit of fine spheres; the way back. Source: Polthier and Schmies,
    Straightest geodesics on polyhedral surfaces, 1998. Chapter: ``geodesics``.

    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> shoot(square, 0, [0.25, 0.5, 0.25], [-1, 1, 0], 0.5).points[-1].round(decimals=4)
    tensor([0.3964, 0.6036, 0.0000], dtype=torch.float64)
    """
    surface = Unfolding(mesh)
    check.integer("face", face, 0, mesh.num_faces - 1)
    check.positive("length", length)
    check.integer("max_faces", max_faces, 1)
    start = tuple(require.numbers("barycentric", barycentric, 3).tolist())
    if min(start) < 0 or abs(sum(start) - 1) > 1e-9:
        raise ValueError(f"barycentric: expected three of sum 1, not negative, got {start}")
    towards = tuple(require.numbers("direction", direction, 3).tolist())
    heading = surface.in_plane(face, towards) if any(towards) else None
    if heading is None:
        raise ValueError(f"direction: expected one along the face, got {towards}, not along it")
    return _follow(surface, face, start, heading, length, max_faces)


def trace_path(mesh: Mesh, distance: Tensor, start: int, *, max_faces: int = MOST_FACES) -> Path:
    r"""The path of steepest descent of a function from a vertex, to a local minimum.

    The function is linear on each face, and the path follows minus its gradient; where the faces
    on both sides of an edge lead to it, it follows the edge. Down a distance it is a geodesic to
    the nearest source, up to the error of the distance.

    Args:
        mesh: an edge has at most two faces, and a vertex one fan of faces; no zero-area faces.
        distance: (n,), floating-point and finite, such as that of a heat method.
        start: the vertex to start from, in some face.
        max_faces: the most segments to follow.

    Returns:
        The path to a local minimum; one segment of length 0 if ``start`` is one.

    Raises:
        TypeError: arguments of other types.
        ValueError: other shapes or values, a mesh that is no manifold.

    Law tested: values fall along the path; it ends at the source; on the plane it is straight; its
    length tends to the distance on fine spheres. Chapter: ``geodesics``.

    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> trace_path(square, torch.tensor([0.0, 1.0, 1.5, 1.0]), 2).points.tolist()
    [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    surface = Unfolding(mesh)
    check.integer("start", start, 0, mesh.num_vertices - 1)
    check.integer("max_faces", max_faces, 1)
    check.finite("distance", check.floating("distance", distance))
    if distance.is_meta:
        raise TypeError("distance: expected a tensor with entries, got one on meta")
    if distance.shape != (mesh.num_vertices,):
        raise ValueError(
            f"distance: expected shape ({mesh.num_vertices},), got {tuple(distance.shape)}"
        )
    found = (mesh.faces == start).nonzero()
    if not len(found):
        raise ValueError(f"start: expected a vertex of some face, {start} is isolated")
    return _Descent(surface, distance, max_faces).path(tuple(found[0].tolist()))


class _Trail:
    """The segments of a path, as they come."""

    def __init__(self, surface: Unfolding, most: int) -> None:
        self.surface, self.most, self.steps = surface, most, 0
        self.faces: list[int] = []
        self.ends: list[list[list[float]]] = []

    def add(self, face: int, start: complex, end: complex) -> None:
        self.steps += 1
        if self.steps > self.most:
            raise ValueError(f"max_faces: expected a path of {self.most} segments, got more")
        if start == end:
            return
        self.faces.append(face)
        self.ends.append([self.surface.barycentric(face, z) for z in (start, end)])

    def path(self, face: int, end: complex) -> Path:
        """The path, which has one segment, of length 0, if nothing else."""
        if not self.faces:
            self.faces.append(face)
            self.ends.append([self.surface.barycentric(face, end)] * 2)
        return Path(
            self.surface.mesh,
            torch.tensor(self.faces),
            torch.tensor(self.ends, dtype=torch.float64),
        )


def _follow(
    surface: Unfolding,
    face: int,
    start: tuple[float, float, float],
    heading: complex,
    length: float,
    most: int,
) -> Path:
    trail = _Trail(surface, most)
    z, sides = surface.point(face, start), [0, 1, 2]
    if max(start) > 1 - AT_VERTEX:
        corner = int(np.argmax(start))
        if not surface.is_inside(face, corner, heading, PARALLEL):
            raise ValueError(
                f"direction: expected one that points from corner {corner} into face {face}"
            )
    while True:
        k, along, far = surface.exit(face, z, heading, sides)
        if far >= length:
            end = z + length * heading
            trail.add(face, z, end)
            return trail.path(face, end)
        length -= far
        corner = _corner_near(k, along)
        end = surface.on_side(face, k, along) if corner is None else surface.corners(face)[corner]
        trail.add(face, z, end)
        if corner is not None:
            onward = surface.straight_on(face, corner, heading)
            if onward is None:
                return trail.path(face, end)
            (face, k), heading = onward
            z, sides = surface.corners(face)[k], [k]
        else:
            if surface.across(face, k) is None:
                return trail.path(face, end)
            heading, along = surface.turned(face, k, heading), surface.share(face, k, along)
            face, k = surface.across(face, k)
            z, sides = surface.on_side(face, k, along), [(k + 1) % 3, (k + 2) % 3]


# A face, and either its corner k or, with a number from 0 to 1, a point on the side opposite to it.
Place = tuple[int, int, float | None]


class _Descent:
    """Steepest descent of a function that is linear on each face."""

    def __init__(self, surface: Unfolding, values: Tensor, most: int) -> None:
        self.surface, self.values = surface, _near_one(values)
        self.trail = _Trail(surface, most)

    def path(self, corner: Corner) -> Path:
        at: Place | None = (*corner, None)
        while at is not None:
            face, k, along = at
            if along is None:
                end, at = self.surface.corners(face)[k], self._from_vertex(face, k)
            else:
                end, at = self.surface.on_side(face, k, along), self._from_side(face, k, along)
        return self.trail.path(face, end)

    def _from_vertex(self, face: int, k: int) -> Place | None:
        corners = self.surface.corners_at(face, k)
        best, step = 0.0, None
        for f, j in corners:
            slope, heading = self._downhill(f)
            if slope > best and self.surface.is_inside(f, j, heading):
                best, step = slope, (f, j, heading)
        for f, j in corners:
            z = self.surface.corners(f)
            for end in ((j + 1) % 3, (j + 2) % 3):
                slope = (self._value(f, j) - self._value(f, end)) / abs(z[end] - z[j])
                # An edge next to the line through a face is as steep as it, up to rounding.
                if slope > best * (1 + AT_VERTEX):
                    best, step = slope, (f, j, end)
        if step is None:
            return None
        f, j, onward = step
        z = self.surface.corners(f)
        if isinstance(onward, int):
            self.trail.add(f, z[j], z[onward])
            return f, onward, None
        return self._through(f, z[j], onward, [j])

    def _from_side(self, face: int, k: int, along: float) -> Place | None:
        opposite = self.surface.across(face, k)
        if opposite is not None:
            f, j = opposite
            start, end = self.surface.side(f, j)
            slope, heading = self._downhill(f)
            if slope > 0 and cross(end - start, heading) > PARALLEL * abs(end - start):
                z = self.surface.on_side(f, j, self.surface.share(face, k, along))
                return self._through(f, z, heading, [(j + 1) % 3, (j + 2) % 3])
        return self._along(face, k, along)

    def _along(self, face: int, k: int, along: float) -> Place | None:
        """Down a side that both its faces lead to."""
        ends = ((k + 1) % 3, (k + 2) % 3)
        first, second = (self._value(face, end) for end in ends)
        if first == second:
            return None
        lower = ends[0] if first < second else ends[1]
        start = self.surface.on_side(face, k, along)
        self.trail.add(face, start, self.surface.corners(face)[lower])
        return face, lower, None

    def _through(self, face: int, z: complex, heading: complex, sides: list[int]) -> Place:
        k, along, _ = self.surface.exit(face, z, heading, sides)
        corner = _corner_near(k, along)
        if corner is not None:
            self.trail.add(face, z, self.surface.corners(face)[corner])
            return face, corner, None
        self.trail.add(face, z, self.surface.on_side(face, k, along))
        return face, k, along

    def _value(self, face: int, k: int) -> float:
        return self.values[self.surface.vertex(face, k)]

    def _downhill(self, face: int) -> tuple[float, complex]:
        """The size of the gradient, and the direction against it."""
        corners = self.surface.corners(face)
        doubled = cross(corners[1], corners[2])
        gradient = 0j
        for k in range(3):
            start, end = self.surface.side(face, k)
            gradient += self._value(face, k) * 1j * (end - start) / doubled
        size = abs(gradient)
        return size, -gradient / size if size > 0 else 0j


def _corner_near(k: int, along: float) -> int | None:
    """The corner at an end of side k, if a point lies there."""
    if along <= AT_VERTEX:
        return (k + 1) % 3
    return (k + 2) % 3 if along >= 1 - AT_VERTEX else None


def _near_one(values: Tensor) -> list[float]:
    """The values over a power of two, which costs no digit, so that gradients do not overflow."""
    wide = values.detach().cpu().double()
    _, exponent = math.frexp(float(wide.abs().max()))
    return (wide / 2.0 ** (exponent - 1)).tolist()
