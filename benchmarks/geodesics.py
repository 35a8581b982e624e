"""Surfaces beside potpourri3d, libigl, robust-laplacian and SciPy: spheres of n vertices.

Heat distances are those of the same linear systems, potpourri3d's 1e-6 of the identity in the
second one included; both factorise it once. potpourri3d has no batches: its 32 sources are solved
one after the other. "Factorise" begins with vertices and faces; our mesh is made and checked anew.
Sizes 2562, 10242 and 40962 are icospheres, 10000 and 40000 the convex hulls of spirals. The
eigenvalues are compared with those of SciPy's eigsh, which factorises with its default ordering and
takes more than 10 s each time at the largest size, where it is not timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import igl
import numpy as np
import robust_laplacian
import torch
from potpourri3d import MeshHeatMethodDistanceSolver
from scipy.sparse import sparray, spmatrix
from scipy.sparse.linalg import eigsh
from scipy.spatial import ConvexHull
from torch import Tensor

from benchmarks.cases import Case, disagreement
from gdl.geodesics.distances import HeatMethod
from gdl.geodesics.laplacian import cotan_laplacian, mass_matrix
from gdl.geodesics.mesh import Mesh
from gdl.geodesics.spectrum import eigenbasis
from gdl.geodesics.surfaces import icosphere

FACTORISE, ONE, BATCH = (
    f"heat distance, {what}, n vertices" for what in ("factorise", "1 source", "32 sources")
)
LAPLACIAN = "cotangent Laplacian, n vertices"
SPECTRUM = "128 eigenvalues, n vertices"
LEVELS = {2562: 4, 10242: 5, 40962: 6}
SPHERES = (2562, 10000, 10242, 40000, 40962)
SIZES = {
    FACTORISE: SPHERES,
    ONE: SPHERES,
    BATCH: SPHERES,
    LAPLACIAN: tuple(LEVELS),
    SPECTRUM: tuple(LEVELS),
}
REGULARISATION = 1e-6
UNTIMED = (SPECTRUM, 40962, "SciPy")


@cache
def sphere(n: int) -> Mesh:
    """An icosphere, or the convex hull of a spiral."""
    if n in LEVELS:
        return icosphere(LEVELS[n])
    i = np.arange(n) + 0.5
    polar, around = np.arccos(1 - 2 * i / n), np.pi * (1 + 5**0.5) * i
    ring = np.sin(polar)
    points = np.stack([np.cos(around) * ring, np.sin(around) * ring, np.cos(polar)], 1)
    faces = ConvexHull(points).simplices
    outwards = np.linalg.det(points[faces]) > 0
    return Mesh(points, np.where(outwards[:, None], faces, faces[:, ::-1]))


def ours(mesh: Mesh) -> HeatMethod:
    return HeatMethod(Mesh(mesh.vertices, mesh.faces), regularisation=REGULARISATION)


def theirs(mesh: Mesh) -> MeshHeatMethodDistanceSolver:
    return MeshHeatMethodDistanceSolver(
        mesh.vertices.numpy(), mesh.faces.numpy(), t_coef=1.0, use_robust=False
    )


def distances(n: int, sources: Sequence[int]) -> dict[str, Callable[[], list[Tensor]]]:
    peer, solver = theirs(sphere(n)), ours(sphere(n))

    def one_by_one() -> list[Tensor]:
        return [torch.from_numpy(peer.compute_distance(v)) for v in sources]

    def at_once() -> list[Tensor]:
        if len(sources) == 1:
            return [solver.distance(sources[0])]
        return list(solver.distances(sources).T)

    return {"potpourri3d": one_by_one, "gdl": at_once}


def factorisations(n: int) -> dict[str, Callable[[], object]]:
    return {"potpourri3d": lambda: theirs(sphere(n)), "gdl": lambda: ours(sphere(n))}


def laplacians(n: int) -> dict[str, Callable[[], sparray | spmatrix]]:
    vertices, faces = sphere(n).vertices, sphere(n).faces
    arrays = vertices.numpy(), faces.numpy()
    return {
        "libigl": lambda: -igl.cotmatrix(*arrays),
        "robust-laplacian": lambda: robust_laplacian.mesh_laplacian(*arrays, mollify_factor=0.0)[0],
        "gdl": lambda: cotan_laplacian(Mesh(vertices, faces)),
    }


def difference(made: dict[str, Callable[[], sparray | spmatrix]]) -> float:
    """The largest relative difference of their products with a few waves."""

    def product(call: Callable[[], sparray | spmatrix]) -> Callable[[], list[Tensor]]:
        matrix = call()
        waves = np.cos(np.outer(np.arange(matrix.shape[0]), [0.1, 1.0, 2.0]))
        return lambda: [torch.from_numpy(matrix @ waves)]

    return disagreement({name: product(call) for name, call in made.items()})


def spectra(n: int) -> dict[str, Callable[[], list[Tensor]]]:
    mesh = sphere(n)
    start = np.random.default_rng(0).standard_normal(n)

    def default() -> list[Tensor]:
        system = cotan_laplacian(mesh).tocsc(), 128, mass_matrix(mesh).tocsc()
        values = eigsh(*system, sigma=-1.0, v0=start, return_eigenvectors=True)[0]
        return [torch.from_numpy(np.sort(values))]

    return {"SciPy": default, "gdl": lambda: [eigenbasis(mesh, 128).values]}


def case(task: str, n: int) -> Case:
    if task == FACTORISE:
        return Case(task, n, n, factorisations(n), lambda: disagreement(distances(n, [0])))
    if task == LAPLACIAN:
        made = laplacians(n)
        return Case(task, n, n, made, lambda: difference(made))
    calls = spectra(n) if task == SPECTRUM else distances(n, range(1 if task == ONE else 32))
    timed = {name: call for name, call in calls.items() if (task, n, name) != UNTIMED}
    return Case(task, n, n, timed, lambda: disagreement(calls))
