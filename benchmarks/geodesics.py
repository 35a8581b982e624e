"""Spheres of n vertices beside potpourri3d, pygeodesic, libigl, robust-laplacian and SciPy.

Heat distances are those of the same linear systems, potpourri3d's 1e-6 of the identity in the
second one included; both factorise it once. potpourri3d has no batches: its 32 sources are solved
one after the other. "Factorise" begins with vertices and faces; our mesh is made and checked anew.
pygeodesic's distances are exact, and nothing of them is kept from source to source; those of the
heat method, after the factorisation, approximate them. There the check is not agreement: the mean
relative error of both heat methods must be at most 4%. The eigenvalues are compared with those of
SciPy's eigsh. Spheres are the convex hulls of spirals. All is computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import igl
import numpy as np
import robust_laplacian
import torch
from potpourri3d import MeshHeatMethodDistanceSolver
from pygeodesic.geodesic import PyGeodesicAlgorithmExact
from scipy.sparse import sparray, spmatrix
from scipy.sparse.linalg import eigsh
from scipy.spatial import ConvexHull
from torch import Tensor

from benchmarks.cases import Call, Case, disagreement, worst
from gdl.geodesics.distances import HeatMethod
from gdl.geodesics.laplacian import cotan_laplacian, mass_matrix
from gdl.geodesics.mesh import Mesh
from gdl.geodesics.spectrum import eigenbasis

FACTORISE, ONE, BATCH = (
    f"heat distance, {what}, n vertices" for what in ("factorise", "1 source", "32 sources")
)
EXACT = "exact distance and heat, 1 source, n vertices"
LAPLACIAN = "cotangent Laplacian, n vertices"
SPECTRUM = "32 eigenvalues, n vertices"
SPHERES = (625, 2500, 10000)
SIZES = {
    FACTORISE: SPHERES,
    ONE: SPHERES,
    BATCH: SPHERES,
    EXACT: (160, 640, 2500),
    LAPLACIAN: SPHERES,
    SPECTRUM: (320, 640, 1280),
}
PACKAGES = {
    "potpourri3d": "potpourri3d",
    "pygeodesic, exact": "pygeodesic",
    "libigl": "libigl",
    "robust-laplacian": "robust-laplacian",
    "SciPy": "scipy",
}
REGULARISATION, HEAT_ERROR, EIGENVALUES = 1e-6, 0.04, 32


@cache
def sphere(n: int) -> Mesh:
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


def distances(n: int, sources: Sequence[int]) -> dict[str, Call]:
    peer, solver = theirs(sphere(n)), ours(sphere(n))

    def one_by_one() -> list[Tensor]:
        return [torch.from_numpy(peer.compute_distance(v)) for v in sources]

    def at_once() -> list[Tensor]:
        if len(sources) == 1:
            return [solver.distance(sources[0])]
        return list(solver.distances(sources).T)

    return {"potpourri3d": one_by_one, "gdl": at_once}


def exact(mesh: Mesh, source: int) -> Callable[[], list[Tensor]]:
    solver = PyGeodesicAlgorithmExact(mesh.vertices.numpy(), mesh.faces.numpy().astype(np.int32))
    return lambda: [torch.from_numpy(solver.geodesicDistances(np.array([source]))[0])]


def beside_exact(n: int) -> dict[str, Call]:
    return {"pygeodesic, exact": exact(sphere(n), 0)} | distances(n, [0])


def excess(calls: dict[str, Call]) -> float:
    """The largest mean relative error of any variant to the first; 0 up to what is stated."""
    reference, *others = (call()[0] for call in calls.values())
    away = reference > 0
    errors = [float(((d - reference).abs()[away] / reference[away]).mean()) for d in others]
    largest = worst(errors)
    return 0.0 if largest <= HEAT_ERROR else largest


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


def spectra(n: int) -> dict[str, Call]:
    mesh = sphere(n)
    start = np.random.default_rng(0).standard_normal(n)

    def default() -> list[Tensor]:
        system = cotan_laplacian(mesh).tocsc(), EIGENVALUES, mass_matrix(mesh).tocsc()
        values = eigsh(*system, sigma=-1.0, v0=start, return_eigenvectors=True)[0]
        return [torch.from_numpy(np.sort(values))]

    return {"SciPy": default, "gdl": lambda: [eigenbasis(mesh, EIGENVALUES).values]}


def case(task: str, n: int) -> Case:
    if task == FACTORISE:
        return Case(task, n, n, factorisations(n), lambda: disagreement(distances(n, [0])))
    if task == LAPLACIAN:
        made = laplacians(n)
        return Case(task, n, n, made, lambda: difference(made))
    if task == EXACT:
        calls = beside_exact(n)
        return Case(task, n, n, calls, lambda: excess(calls))
    calls = spectra(n) if task == SPECTRUM else distances(n, range(1 if task == ONE else 32))
    return Case(task, n, n, calls, lambda: disagreement(calls))
