"""Patterns of faces: Platonic solids, grids, subdivision of triangles and quadrilaterals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array, diags_array, vstack
from torch import Tensor

from gdl.geodesics.mesh import Mesh

GOLDEN_RATIO = (1 + math.sqrt(5)) / 2


def icosahedron() -> Mesh:
    """The cyclic permutations of (0, +-1, +-g), g the golden ratio, on the unit sphere."""
    signs = list(itertools.product((1.0, -1.0), repeat=2))
    points = [(0.0, a, b * GOLDEN_RATIO) for a, b in signs]
    vertices = torch.tensor(points, dtype=torch.float64)
    vertices = torch.cat([vertices.roll(shift, 1) for shift in range(3)])
    faces = torch.tensor(list(itertools.combinations(range(12), 3)))
    sides = (vertices[faces] - vertices[faces.roll(1, 1)]).norm(dim=2)
    faces = faces[(sides < 2.1).all(1)]
    outward = torch.linalg.det(vertices[faces]) > 0
    faces = torch.where(outward[:, None], faces, faces.flip(1))
    return Mesh(torch.nn.functional.normalize(vertices, dim=1), faces)


def finer_sphere(mesh: Mesh) -> Mesh:
    """Faces split in four; new vertices pushed out to the unit sphere, old ones not touched."""
    finer = split_in_four(mesh)
    new = torch.nn.functional.normalize(finer.vertices[mesh.num_vertices :], dim=1)
    return finer.with_vertices(torch.cat([mesh.vertices, new]))


def split_in_four(mesh: Mesh) -> Mesh:
    """The same surface with the midpoints of the edges as new vertices, after the old ones."""
    midpoints = mesh.vertices[mesh.edges].mean(1)
    a, b, c = mesh.faces.unbind(1)
    # Side k lies opposite to corner k.
    u, v, w = (mesh.face_edges + mesh.num_vertices).unbind(1)
    children = ((a, w, v), (w, b, u), (v, u, c), (u, v, w))
    faces = torch.stack([torch.stack(child, 1) for child in children], 1).reshape(-1, 3)
    return Mesh(torch.cat([mesh.vertices, midpoints]), faces)


def grid_faces(n: int, m: int, *, wrap: tuple[bool, bool]) -> Tensor:
    """Two triangles for each cell of an n by m grid of vertices i m + j, from i to j.

    An axis that is wrapped closes up.
    """
    i = torch.arange(n if wrap[0] else n - 1)[:, None]
    j = torch.arange(m if wrap[1] else m - 1)
    right, up = (i + 1) % n, (j + 1) % m
    a, b, c, d = i * m + j, right * m + j, right * m + up, i * m + up
    return torch.stack([a, b, c, a, c, d], 2).reshape(-1, 3)


def vertex_normals(mesh: Mesh) -> Tensor:
    """The means (n, 3) of the normals of the faces at each vertex, by area, of length 1 or 0."""
    weighted = (mesh.face_areas[:, None] * mesh.face_normals).repeat_interleave(3, 0)
    sums = torch.zeros_like(mesh.vertices).index_add_(0, mesh.faces.flatten(), weighted)
    return torch.nn.functional.normalize(sums, dim=1)


def catmull_clark(quads: np.ndarray, n: int) -> tuple[csr_array, np.ndarray]:
    """One step: the matrix from old to new vertices and the new quadrilaterals.

    New vertices: the n old ones moved, then one for each edge, then one for each face. Every new
    quadrilateral goes from an old vertex over an edge to a face and back over an edge.
    """
    m = len(quads)
    sides = np.sort(np.stack([quads, np.roll(quads, -1, 1)], 2).reshape(-1, 2), 1)
    edges, index = np.unique(sides, axis=0, return_inverse=True)
    index = index.reshape(m, 4)
    e = len(edges)
    faces = _incidence(np.repeat(np.arange(m), 4), quads.ravel(), (m, n)) / 4
    beside = _incidence(index.ravel(), np.repeat(np.arange(m), 4), (e, m)) / 2
    middles = _incidence(np.repeat(np.arange(e), 2), edges.ravel(), (e, n)) / 2
    around = _incidence(quads.ravel(), np.repeat(np.arange(m), 4), (n, m))
    spokes = _incidence(edges.ravel(), np.repeat(np.arange(e), 2), (n, e))
    valence = around.sum(1)
    # (F + 2 R + (v - 3) P) / v, with the means F of the faces and R of the edges about P.
    mean = diags_array(1 / valence**2)
    moved = mean @ (around @ faces + 2 * (spokes @ middles)) + diags_array(1 - 3 / valence)
    matrix = vstack([moved, (beside @ faces + middles) / 2, faces], format="csr")
    centre = np.broadcast_to(np.arange(m)[:, None] + n + e, (m, 4))
    children = np.stack([quads, index + n, centre, np.roll(index, 1, 1) + n], 2)
    return csr_array(matrix), children.reshape(-1, 4)


def _incidence(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_array:
    return coo_array((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
