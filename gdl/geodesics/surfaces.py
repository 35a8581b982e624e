r"""Surfaces whose areas, curvatures, symmetries and isometries are known.

Every mesh is a manifold whose faces go counter-clockwise seen from outside (strips: from above).

Chapter: ``geodesics``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

import gdl._checks as check
import gdl.geodesics._checks as require
from gdl.geodesics import _patterns as patterns
from gdl.geodesics.mesh import LARGEST, Mesh

MOST_LEVELS = 9
MOST_CELLS = 2_500_000  # Of two faces each, nearly as many as the finest sphere has.


def icosphere(level: int, radius: float = 1.0) -> Mesh:
    r"""A sphere from an icosahedron, each face split in four ``level`` times.

        V = 10 4^level + 2,    E = 30 4^level,    F = 20 4^level

    The midpoints of the edges are pushed out to the sphere. The 12 vertices of the icosahedron have
    five neighbours, all others six. The vertices of one level are the first ones of the next, so
    that a function on a fine sphere is restricted to a coarse one by ``f[: coarse.num_vertices]``.

    Args:
        level: from 0, the icosahedron, to 9.
        radius: of the sphere through the vertices, in any unit of length.

    Returns:
        A closed mesh of Euler characteristic 2, all vertices at the distance ``radius`` from 0.

    Raises:
        TypeError: a level that is no integer, a radius that is no number.
        ValueError: a level out of range, a radius that is not positive.

    Law tested: the counts; vertices shared with the next level; the sixty rotations of the
    icosahedron permute vertices and faces; the area tends to 4 pi radius^2 as O(h^2).
    Chapter: ``geodesics``.

    >>> icosphere(2)
    Mesh(162 vertices, 320 faces)
    """
    check.integer("level", level, 0, MOST_LEVELS)
    check.positive("radius", radius)
    mesh = patterns.icosahedron()
    for _ in range(level):
        mesh = patterns.finer_sphere(mesh)
    return mesh.with_vertices(radius * mesh.vertices)


def icosahedral_rotations() -> Tensor:
    r"""The sixty rotations of the icosahedron with the vertices of :func:`icosphere`.

    Each carries a directed edge of the icosahedron to another, and there are 12 * 5 of these.

    Returns:
        Matrices (60, 3, 3), float64, the identity first, always in the same order.

    Law tested: orthogonal, of determinant 1, closed under products; 1, 15, 20, 12 and 12 elements
    of trace 3, -1, 0, and the golden ratio and its conjugate. Chapter: ``geodesics``.

    >>> icosahedral_rotations().shape
    torch.Size([60, 3, 3])
    """
    mesh = patterns.icosahedron()
    directed = torch.cat([mesh.edges, mesh.edges.flip(1)])
    frames = _frames(mesh.vertices[directed])
    return frames @ frames[0].T


def _frames(pairs: Tensor) -> Tensor:
    """Orthonormal frames (k, 3, 3), as columns, from pairs of vectors (k, 2, 3)."""
    first = torch.nn.functional.normalize(pairs[:, 0], dim=1)
    third = torch.linalg.cross(first, pairs[:, 1])
    third = torch.nn.functional.normalize(third, dim=1)
    return torch.stack([first, torch.linalg.cross(third, first), third], 2)


def vertex_permutation(mesh: Mesh, matrix: Tensor) -> Tensor:
    r"""The permutation of the vertices by which a matrix carries a mesh to itself.

        A v_i = v_p[i]        functions: (A . f)[p[i]] = f[i]

    Args:
        mesh: whose vertices lie apart from each other.
        matrix: A (3, 3), floating-point: a rotation, or a reflection, which turns the faces over.

    Returns:
        p (n,), int64.

    Raises:
        TypeError: no mesh, no floating-point tensor.
        ValueError: another shape, NaN, a matrix that carries the mesh elsewhere: some vertex more
            than 1e-9 of the size of the mesh beside every vertex, or a face to no face.

    Law tested: products of rotations give products of permutations; the mirror image of a mirror
    image; a rotation by another angle is refused. Chapter: ``geodesics``.

    >>> half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    >>> vertex_permutation(icosphere(0), half_turn).tolist()
    [2, 3, 0, 1, 5, 4, 7, 6, 11, 10, 9, 8]
    """
    require.typed(mesh)
    _require_matrix(matrix)
    moved = mesh.vertices @ matrix.detach().cpu().double().T
    distance, nearest = cKDTree(mesh.vertices.numpy()).query(moved.numpy())
    size = float(mesh.vertices.abs().max())
    if not (distance.max() <= 1e-9 * size and len(np.unique(nearest)) == len(nearest)):
        raise ValueError(
            "matrix: expected one that carries the vertices of the mesh to each other, got one "
            f"that brings a vertex {distance.max():.2g} beside the nearest"
        )
    permutation = torch.from_numpy(nearest)
    if not torch.equal(_sorted_faces(permutation[mesh.faces]), _sorted_faces(mesh.faces)):
        raise ValueError("matrix: expected one that carries faces to faces, got a face lost")
    return permutation


def _sorted_faces(faces: Tensor) -> Tensor:
    return faces.sort(1).values.unique(dim=0)


def torus(major: float, minor: float, around: int, along: int) -> Mesh:
    r"""A torus of revolution about the third axis.

        x = ((R + r cos v) cos u, (R + r cos v) sin u, r sin v)

    Smooth facts: area 4 pi^2 R r, Euler characteristic 0, curvature cos v / (r (R + r cos v)),
    positive outside and negative inside, total 0. Vertex ``i * along + j`` lies at
    ``u = 2 pi i / around`` and ``v = 2 pi j / along``; a turn by ``2 pi / around`` is a symmetry.

    Args:
        major: R, from the axis to the middle of the tube.
        minor: r, the radius of the tube, less than R.
        around: vertices around the axis, at least 3.
        along: vertices around the tube, at least 3; ``around * along`` is at most 2,500,000.

    Returns:
        A closed mesh of ``around * along`` vertices. Its triangles are halves of planar trapezoids.

    Raises: TypeError or ValueError for other numbers.
    Law tested: counts, closed, area, total curvature, the symmetry. Chapter: ``geodesics``.

    >>> torus(1.0, 0.4, 24, 12).euler_characteristic
    0
    """
    check.positive("major", major)
    check.positive("minor", minor)
    if not minor < major:
        raise ValueError(f"minor: expected less than major, {major}, got {minor}")
    check.integer("around", around, 3, MOST_CELLS // 3)
    check.integer("along", along, 3, MOST_CELLS // around)
    u = 2 * math.pi / around * torch.arange(around, dtype=torch.float64)[:, None]
    v = 2 * math.pi / along * torch.arange(along, dtype=torch.float64)
    ring = major + minor * v.cos()
    height = (minor * v.sin()).expand(around, along)
    vertices = torch.stack([ring * u.cos(), ring * u.sin(), height], 2)
    return Mesh(vertices.reshape(-1, 3), patterns.grid_faces(around, along, wrap=(True, True)))


def flat_strip(width: float, height: float, columns: int, rows: int) -> Mesh:
    r"""A flat rectangle of ``columns * rows`` cells, each split by a diagonal.

    Vertex ``i * (rows + 1) + j`` lies at ``(width i / columns, height j / rows, 0)``. Area
    ``width * height``; Euler characteristic 1; each line of constant x consists of edges.

    Args:
        width: along the first axis.
        height: along the second.
        columns: cells along the first axis, at least 1.
        rows: cells along the second, at least 1; ``columns * rows`` is at most 2,500,000.

    Returns:
        A mesh with a boundary, seen from above.

    Raises: TypeError or ValueError for other numbers.
    Law tested: counts and area. Chapter: ``geodesics``.

    >>> flat_strip(2.0, 1.0, 4, 2)
    Mesh(15 vertices, 16 faces)
    """
    _require_strip(width, height, columns, rows)
    x = torch.linspace(0, width, columns + 1, dtype=torch.float64)
    return _strip(x, torch.zeros_like(x), height, rows)


def fold_strip(
    width: float, height: float, columns: int, rows: int, angles: Sequence[float] | Tensor
) -> Mesh:
    r"""The strip of :func:`flat_strip` folded along its inner lines of constant x.

    Each fold lies along edges, so that every triangle moves rigidly: all lengths are those of the
    flat strip up to rounding, and all that is computed from lengths is the same.

    Args:
        width, height, columns, rows: as for :func:`flat_strip`.
        angles: ``columns - 1`` turns in radians, at most pi in size, upwards when positive. Folds
            that run into each other are not noticed.

    Returns:
        A mesh with the faces and the lengths of the flat strip.

    Raises: TypeError or ValueError for other numbers.
    Law tested: lengths within 1e-15; the angle between cells; angles 0. Chapter: ``geodesics``.

    >>> folded = fold_strip(2.0, 1.0, 2, 1, [math.pi / 2])
    >>> folded.vertices[-1].round(decimals=12).tolist()
    [1.0, 1.0, 1.0]
    """
    _require_strip(width, height, columns, rows)
    turns = require.numbers("angles", angles, columns - 1)
    if bool((turns.abs() > math.pi).any()):
        raise ValueError(f"angles: expected turns from -pi to pi, got {turns.tolist()}")
    direction = _running_sum(turns)
    step = width / columns
    x, z = (_running_sum(step * part) for part in (direction.cos(), direction.sin()))
    return _strip(x, z, height, rows)


def _running_sum(steps: Tensor) -> Tensor:
    return torch.cat([steps.new_zeros(1), steps.cumsum(0)])


def roll_strip(width: float, height: float, columns: int, rows: int, angle: float) -> Mesh:
    r"""The strip of :func:`flat_strip` with its vertices on a cylinder of radius width / angle.

    The vertices keep their distances along the cylinder, but edges are chords: with the angle
    ``a = angle / columns`` between lines, lengths along x shrink by the factor
    ``sin(a / 2) / (a / 2)``, about ``1 - a^2 / 24``. Not an isometry of the mesh, but nearly one.

    Args:
        width, height, columns, rows: as for :func:`flat_strip`.
        angle: from the first line to the last, in radians, more than 0 and less than 2 pi.

    Returns:
        A mesh with the faces of the flat strip.

    Raises: TypeError or ValueError for other numbers.
    Law tested: the factor; on the cylinder. Chapter: ``geodesics``.

    >>> rolled = roll_strip(2.0, 1.0, 20, 10, 3.0)
    >>> flat = flat_strip(2.0, 1.0, 20, 10)
    >>> round(1 - rolled.area / flat.area, 6)
    0.000937
    """
    _require_strip(width, height, columns, rows)
    check.positive("angle", angle)
    if not angle < 2 * math.pi:
        raise ValueError(f"angle: expected less than 2 pi, got {angle}")
    turn = torch.linspace(0, angle, columns + 1, dtype=torch.float64)
    radius = width / angle
    # 1 - cos would lose the digits of small angles.
    return _strip(radius * turn.sin(), 2 * radius * (turn / 2).sin() ** 2, height, rows)


def _strip(x: Tensor, z: Tensor, height: float, rows: int) -> Mesh:
    """The surface over a polygon in the plane of x and z."""
    y = torch.linspace(0, height, rows + 1, dtype=torch.float64)
    vertices = torch.stack([v.expand(len(x), len(y)) for v in (x[:, None], y, z[:, None])], 2)
    return Mesh(vertices.reshape(-1, 3), patterns.grid_faces(len(x), len(y), wrap=(False, False)))


def stretch(mesh: Mesh, factors: Sequence[float] | Tensor) -> Mesh:
    r"""A mesh stretched along the three axes: ``x -> (f_0 x_0, f_1 x_1, f_2 x_2)``.

    Args:
        mesh: any.
        factors: (3,), positive and finite.

    Returns:
        A mesh with the same faces.

    Raises: TypeError for no mesh; ValueError for other factors.
    Law tested: equal factors scale lengths, areas and volume. Chapter: ``geodesics``.

    >>> stretch(icosphere(0), (2, 2, 2)).vertices.norm(dim=1).max()
    tensor(2., dtype=torch.float64)
    """
    require.typed(mesh)
    return mesh.with_vertices(mesh.vertices * require.positive_numbers("factors", factors, 3))


def bumpy_sphere(level: int, amplitude: float, seed: int) -> Mesh:
    r"""A sphere with smooth random bumps, the same surface at every level.

        r(x) = 1 + amplitude sum_k a_k sin(w_k . x + p_k),    sum_k |a_k| = 1

    with twelve random waves w_k of length about 4. The surface is star-shaped about 0, has no
    symmetry, and lies between the radii 1 - amplitude and 1 + amplitude. As for
    :func:`icosphere`, the vertices of one level are the first ones of the next.

    Args:
        level: as for :func:`icosphere`.
        amplitude: from 0 to 0.9.
        seed: of the waves.

    Returns:
        A closed mesh of Euler characteristic 2.

    Raises: TypeError or ValueError for other numbers.
    Law tested: the radii; the vertices shared with the next level; the seed. Chapter:
    ``geodesics``.

    >>> bumpy_sphere(3, 0.4, seed=0)
    Mesh(642 vertices, 1280 faces)
    """
    check.number("amplitude", amplitude, 0, 0.9)
    sphere = icosphere(level)
    draw = torch.Generator().manual_seed(check.integer("seed", seed, 0, 2**63 - 1))
    waves = 4 / math.sqrt(3) * torch.randn(12, 3, dtype=torch.float64, generator=draw)
    phases = 2 * math.pi * torch.rand(12, dtype=torch.float64, generator=draw)
    weights = torch.rand(12, dtype=torch.float64, generator=draw)
    bumps = (sphere.vertices @ waves.T + phases).sin() @ (weights / weights.sum())
    return sphere.with_vertices((1 + amplitude * bumps)[:, None] * sphere.vertices)


def roughen(mesh: Mesh, amount: float, seed: int) -> Mesh:
    r"""Noise along the normals: ``v_i + amount z_i n_i`` with independent standard normal z_i.

    n_i is the mean of the normals of the faces at vertex i, weighted by area, of length 1.

    Args:
        mesh: any; a vertex whose faces' normals cancel stays where it is.
        amount: standard deviation, in the unit of the vertices, at least 0.
        seed: of the noise.

    Returns:
        A mesh with the same faces.

    Raises: TypeError or ValueError for other arguments.
    Law tested: size and direction of the noise; the seed; total curvature stays. Chapter:
    ``geodesics``.

    >>> roughen(icosphere(2), 0.01, seed=0)
    Mesh(162 vertices, 320 faces)
    """
    require.typed(mesh)
    check.number("amount", amount, 0)
    draw = torch.Generator().manual_seed(check.integer("seed", seed, 0, 2**63 - 1))
    z = torch.randn(mesh.num_vertices, 1, dtype=torch.float64, generator=draw)
    return mesh.with_vertices(mesh.vertices + amount * z * patterns.vertex_normals(mesh))


def _require_matrix(matrix: Tensor) -> None:
    check.finite("matrix", check.shaped("matrix", matrix, 3, 3))
    if matrix.ndim != 2:
        raise ValueError(f"matrix: expected shape (3, 3), got {tuple(matrix.shape)}")
    if matrix.is_meta:
        raise TypeError("matrix: expected a tensor with entries, got one on meta")
    if float(matrix.detach().abs().max()) > LARGEST:
        raise ValueError(f"matrix: expected entries up to {LARGEST}, got {matrix.tolist()}")


def _require_strip(width: float, height: float, columns: int, rows: int) -> None:
    check.positive("width", width)
    check.positive("height", height)
    check.integer("columns", columns, 1, MOST_CELLS)
    check.integer("rows", rows, 1, MOST_CELLS // columns)
