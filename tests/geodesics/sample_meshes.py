"""Small meshes whose defects and topology are known."""

from __future__ import annotations

import math

import numpy as np
import torch
import trimesh
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from gdl.geodesics._triangles import areas
from gdl.geodesics.mesh import Mesh

F64 = torch.float64


def sphere(level: int) -> Mesh:
    body = trimesh.creation.icosphere(level)
    return Mesh(body.vertices, body.faces)


def torus() -> Mesh:
    body = trimesh.creation.torus(2.0, 0.7, major_sections=24, minor_sections=12)
    return Mesh(body.vertices, body.faces)


def tetrahedron() -> Mesh:
    vertices = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    return Mesh(vertices, [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])


def strip(columns: int, turns: int) -> Mesh:
    """A closed band of squares with some half turns; an odd number gives a Möbius strip."""
    index = torch.arange(columns)
    angle = 2 * math.pi * index / columns
    tilt = turns * angle / 2
    rim = torch.stack([angle.cos(), angle.sin(), torch.zeros(columns)], 1)
    across = torch.stack([tilt.cos() * angle.cos(), tilt.cos() * angle.sin(), tilt.sin()], 1)
    after = (index + 1) % columns
    left, right, next_left, next_right = index, index + columns, after, after + columns
    if turns % 2:
        next_left, next_right = next_left.clone(), next_right.clone()
        next_left[-1], next_right[-1] = columns, 0
    faces = [
        torch.stack([left, right, next_right], 1),
        torch.stack([left, next_right, next_left], 1),
    ]
    return Mesh(torch.cat([rim - across / 3, rim + across / 3]), torch.cat(faces))


def together(*meshes: Mesh) -> Mesh:
    """Several meshes as one, side by side."""
    starts = np.cumsum([0] + [mesh.num_vertices for mesh in meshes])
    shift = torch.tensor([20.0, 0.0, 0.0], dtype=F64)
    return Mesh(
        torch.cat([mesh.vertices + i * shift for i, mesh in enumerate(meshes)]),
        torch.cat(
            [mesh.faces + int(start) for mesh, start in zip(meshes, starts[:-1], strict=True)]
        ),
    )


def terrain(n: int, seed: int, height: float = 0.5) -> Mesh:
    """Random points of the unit square, triangulated, at random heights; oriented, one boundary."""
    generator = np.random.default_rng(seed)
    points = np.concatenate([generator.random((n, 2)), [[0, 0], [0, 1], [1, 0], [1, 1]]])
    faces = Delaunay(points).simplices
    a, b, c = points[faces].transpose(1, 0, 2)
    turned = (b - a)[:, 0] * (c - a)[:, 1] < (b - a)[:, 1] * (c - a)[:, 0]
    faces[turned] = faces[turned][:, [0, 2, 1]]
    return Mesh(np.column_stack([points, height * generator.random(n + 4)]), faces)


def is_regular(mesh: Mesh) -> bool:
    """Whether triangles are thick enough for lengths to keep twelve digits of their areas."""
    return bool((areas(mesh.lengths) > 0.01 * mesh.lengths.amax(1) ** 2).all())


regular_terrains = st.builds(terrain, st.integers(0, 30), st.integers(0, 1000)).filter(is_regular)

CLOSED = {"tetrahedron": tetrahedron(), "sphere": sphere(2), "torus": torus()}
OPEN = {"terrain": terrain(40, 0), "annulus": strip(9, 0), "Möbius": strip(9, 1)}
MESHES = CLOSED | OPEN | {"two": together(sphere(1), strip(7, 0))}
EULER = {
    "tetrahedron": 2,
    "sphere": 2,
    "torus": 0,
    "terrain": 1,
    "annulus": 0,
    "Möbius": 0,
    "two": 2,
}
