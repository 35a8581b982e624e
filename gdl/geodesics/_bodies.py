"""Smooth bodies from the cages of animals, at several resolutions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array

from gdl.geodesics._cages import SHAPES, Bend, cage
from gdl.geodesics._patterns import catmull_clark, vertex_normals
from gdl.geodesics.mesh import Mesh

LEVELS = 3
SIDED_PARTS = (
    "body",
    "head",
    "tail",
    "left front leg",
    "right front leg",
    "left hind leg",
    "right hind leg",
)
RELAXATIONS = 10


@dataclass(frozen=True)
class Body:
    """The vertices (n, 3) of the finest level, their parts (n,), and how far each bend turns them.

    The surface of the finest level has area 1. ``weights[:, k]`` belongs to ``bends[k]``.
    """

    vertices: np.ndarray
    parts: np.ndarray
    bends: list[Bend]
    weights: np.ndarray


@dataclass(frozen=True)
class Level:
    """One step of the subdivision: the matrix from the vertices before, faces, neighbours."""

    matrix: csr_array
    faces: np.ndarray
    neighbours: csr_array


@lru_cache(maxsize=1)
def levels() -> tuple[Level, ...]:
    """The subdivision, which is the same for all species."""
    made = cage(next(iter(SHAPES.values())))
    quads, n, found = np.array(made.quads), len(made.points), []
    for _ in range(LEVELS):
        matrix, quads = catmull_clark(quads, n)
        n = matrix.shape[0]
        # The diagonal joins the two midpoints of edges: a rule that no mirror image changes.
        faces = np.concatenate([quads[:, [0, 1, 3]], quads[:, [1, 2, 3]]])
        found.append(Level(matrix, faces, _neighbours(quads, n)))
    return tuple(found)


@lru_cache(maxsize=len(SHAPES))
def body(species: str) -> Body:
    """The body of a species: vertices, parts and weights run through the same subdivision."""
    made = cage(SHAPES[species])
    points = np.array(made.points)
    weights = np.zeros((len(points), len(made.bends)))
    for k, bend in enumerate(made.bends):
        weights[list(bend.ring), k] = 0.5
        weights[bend.beyond, k] = 1
    shares = np.array([[part == name for name in SIDED_PARTS] for part in made.parts], float)
    for level in levels():
        points, weights, shares = (level.matrix @ x for x in (points, weights, shares))
        points = _relaxed(points, level)
    size = Mesh(points, levels()[-1].faces).area ** 0.5
    # Rounding must not decide between two parts with equal shares, or left and right differ.
    parts = shares.round(9).argmax(1)
    bends = [replace(bend, pivot=bend.pivot / size) for bend in made.bends]
    return Body(points / size, parts, bends, weights)


def _neighbours(quads: np.ndarray, n: int) -> csr_array:
    """The mean over the neighbours of each vertex, as a matrix."""
    start, end = quads.ravel(), np.roll(quads, -1, 1).ravel()
    joined = coo_array((np.ones(len(start)), (start, end)), shape=(n, n)).tocsr()
    return csr_array(diags_array(1 / joined.sum(1)) @ joined)


def _relaxed(x: np.ndarray, level: Level) -> np.ndarray:
    """Vertices slid along the surface half way to the mean of their neighbours, a few times."""
    for _ in range(RELAXATIONS):
        normals = vertex_normals(Mesh(x, level.faces)).numpy()
        step = level.neighbours @ x - x
        x = x + (step - (step * normals).sum(1, keepdims=True) * normals) / 2
    return x
