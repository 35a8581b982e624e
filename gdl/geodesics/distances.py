r"""Distances along a surface: by heat, along its edges, and on the round sphere.

Chapter: ``geodesics``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array, sparray, vstack
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

import gdl._checks as check
from gdl.geodesics._checks import measurable, require
from gdl.geodesics._factor import SymmetricFactor
from gdl.geodesics.laplacian import cotan_laplacian, intrinsic_gradient, vertex_areas
from gdl.geodesics.mesh import Mesh

HOTTEST = 1e290
COLDEST = float(np.finfo(np.float64).tiny)
FLAT = 4 * float(np.finfo(np.float64).eps)
LONGEST = 1e6  # areas: later, u is constant up to what float64 can tell.
CHUNK = 32

Array = NDArray[np.float64]
Sources = int | Iterable[int] | Tensor


class HeatMethod:
    r"""Geodesic distance from two sparse linear systems, factorised once for all sources.

        (M + t L) u = delta,    X = -grad u / |grad u|,    L phi = -div X

    L is the cotangent Laplacian, positive semi-definite, M the lumped mass, delta 1 at the sources.
    After a short time t heat falls off with the distance, so that its gradient points along
    geodesics; phi has gradients closest to X, and is shifted to mean 0 over the sources of its
    component. Boundaries have Neumann conditions. Everything follows from the lengths of the edges.

    The gradients of phi do not see constants: one vertex of each component is set to 0 in the
    second system, exactly. Some implementations add a multiple of the identity to L in its place,
    as potpourri3d does with 1e-6; ``regularisation`` does so here.

    Heat falls by a factor of about e for each length sqrt(t), and is followed over 598 orders of
    magnitude: by default to about 1300 mean edge lengths from the sources.

    At the default time heat falls by about e from vertex to vertex, too steeply for functions that
    are linear on faces: far from the sources distances are too short by about half a percent, on
    fine meshes too. A time that shrinks more slowly than h^2, such as h^1.5, has no such floor.
    Triangles should be well shaped: on a sphere stretched to 100 : 1 : 0.01 distances are off by
    nearly their own size, with both equations solved exactly.

    Args:
        mesh: n vertices, none of them isolated, no face without area.
        time: t, in squared units of length; None is the squared mean length of the edges.
        regularisation: r of the second system ``(L + r I) phi = -div X``; 0 solves it exactly.

    Raises:
        TypeError: arguments of other types.
        ValueError: a mesh with zero-area faces, isolated vertices or faces too different in size
            for float64; a time that is not positive or longer than 1e6 times the area; a
            regularisation that is negative, or positive and lost in rounding.

    Law tested: potpourri3d's solver to 1e-3, and to 1e-10 with its regularisation; both equations
    solved densely; nearer to the exact polyhedral distance and the great circle on finer meshes;
    renumbering, rotation, scale and folding. Source: Crane, Weischedel and Wardetzky, ACM
    Transactions on Graphics 32, 2013. Chapter: ``geodesics``.

    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> HeatMethod(square).distance(0).round(decimals=3)
    tensor([0.0000, 0.9160, 1.3170, 0.9160], dtype=torch.float64)
    """

    def __init__(
        self, mesh: Mesh, *, time: float | None = None, regularisation: float = 0.0
    ) -> None:
        self.mesh = measurable(mesh)
        self.time = mesh.mean_edge_length**2 if time is None else check.positive("time", time)
        if self.time > LONGEST * mesh.area:
            raise ValueError(
                f"time: expected at most {LONGEST:.0e} times the area {mesh.area:.3g}, "
                f"got {self.time:.3g}"
            )
        self.regularisation = check.number("regularisation", regularisation, 0.0)
        laplacian = cotan_laplacian(mesh)
        self._component = mesh.component.numpy()
        # In units of the mean, so that what follows does not depend on the unit of length.
        unit = mesh.area / mesh.num_vertices
        self._mass = vertex_areas(mesh).numpy() / unit
        heat = diags_array(self._mass) + self.time / unit * laplacian
        shapes = "mesh: expected faces of more similar sizes and shapes"
        self._heat = _factor(heat, None, shapes)
        poisson, self._held = _definite(laplacian, self.regularisation, self._component)
        larger = f"regularisation: expected 0 or a larger number than {self.regularisation}"
        self._poisson = _factor(poisson, self._heat.order, larger if regularisation else shapes)
        self._root_areas = np.sqrt(mesh.face_areas.numpy())
        self._slopes = _slopes(mesh, self._root_areas)
        # Made once: SciPy checks every matrix that it makes, which takes longer than a product.
        self._magnitudes, self._fluxes = abs(self._slopes), self._slopes.T.tocsr()

    def distance(self, sources: Sources) -> Tensor:
        """Distances (n,), float64, from a vertex, or from the nearest of a set of vertices.

        They are infinite in components without a source. From one vertex, its own is 0; from
        several, theirs have mean 0 in each component, and some are slightly negative.

        Raises:
            TypeError: sources that are no integers.
            ValueError: no source, one out of range, or heat that vanishes on its way.
        """
        return torch.from_numpy(self._distances([_vertices("sources", sources, self.mesh)])[:, 0])

    def distances(self, sources: Sequence[Sources]) -> Tensor:
        """Distances (n, k), float64: column j is ``distance(sources[j])``, all k solved at once.

        Raises: as :meth:`distance`.
        """
        sets = [
            _vertices(f"sources[{j}]", chosen, self.mesh)
            for j, chosen in enumerate(_sequence(sources))
        ]
        chunks = [self._distances(sets[j : j + CHUNK]) for j in range(0, len(sets), CHUNK)]
        return torch.from_numpy(np.concatenate(chunks, axis=1))

    def _distances(self, sets: list[NDArray[np.int64]]) -> Array:
        directions = self._directions(self._heat.solve(self._heated(sets)), sets)
        phi = self._poisson.solve(self._outflow(directions))
        for j, sources in enumerate(sets):
            labels = self._component[sources]
            counts = np.bincount(labels, minlength=self.mesh.num_components)
            sums = np.bincount(labels, phi[sources, j], minlength=self.mesh.num_components)
            zero = np.full(len(counts), -np.inf)
            np.divide(sums, counts, out=zero, where=counts > 0)
            phi[:, j] -= zero[self._component]
        return phi

    def _heated(self, sets: list[NDArray[np.int64]]) -> Array:
        """The sources, so hot that u reaches up to HOTTEST: only its directions matter."""
        delta = np.zeros((self.mesh.num_vertices, len(sets)))
        for j, sources in enumerate(sets):
            delta[sources, j] = HOTTEST * self._mass[sources].min()
        return delta

    def _directions(self, u: Array, sets: list[NDArray[np.int64]]) -> Array:
        """-grad u / |grad u| in the frames of the faces (2, m, k), and 0 where u is flat."""
        self._require_heat(u, sets)
        slopes = self._slopes @ u
        # Where u is flat, the terms of a slope cancel, and its rounding has no direction.
        slopes[np.abs(slopes) <= FLAT * (self._magnitudes @ np.abs(u))] = 0.0
        slopes = slopes.reshape(2, -1, u.shape[1])
        # Divided by the larger entry first, so that squares neither overflow nor vanish.
        slopes /= _or_one(np.abs(slopes).max(0))
        slopes /= _or_one(np.sqrt(np.square(slopes).sum(0)))
        return np.negative(slopes, out=slopes)

    def _outflow(self, directions: Array) -> Array:
        """-div X, integrated over the vertices (n, k), and 0 where phi is held at 0."""
        directions *= self._root_areas[:, None]
        outflow = self._fluxes @ directions.reshape(-1, directions.shape[2])
        outflow[self._held] = 0.0
        return outflow

    def _require_heat(self, u: Array, sets: list[NDArray[np.int64]]) -> None:
        cold = np.abs(u) < COLDEST
        if not cold.any():
            return
        for j, sources in enumerate(sets):
            reached = np.isin(self._component, self._component[sources])
            lost = int((cold[:, j] & reached).sum())
            if lost:
                raise ValueError(
                    "time: expected one for which heat reaches every vertex of the component, got "
                    f"{self.time:.3g}, which leaves {lost} of them without any in float64; "
                    f"try {4 * self.time:.3g} or more"
                )


def edge_distances(mesh: Mesh, sources: Sources) -> Tensor:
    r"""Lengths of the shortest paths along edges, by Dijkstra's algorithm.

    Never below the distance on the surface; on regular meshes they stay too long by a factor that
    does not tend to 1 as the mesh is refined.

    Args:
        mesh: any.
        sources: a vertex, or a set of them: distances are those to the nearest.

    Returns:
        (n,), float64, infinite in components without a source.

    Raises:
        TypeError: arguments of other types.
        ValueError: no source, or one out of range.

    Law tested: NetworkX; at least the exact polyhedral distance, and equal to it on edges that are
    shortest paths. Chapter: ``geodesics``.

    >>> square = Mesh([[0, 0, 0], [3, 0, 0], [3, 4, 0], [0, 4, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> edge_distances(square, 1)
    tensor([3., 0., 4., 7.], dtype=torch.float64)
    """
    require(mesh)
    start, end = mesh.edges.numpy().T
    shape = (mesh.num_vertices, mesh.num_vertices)
    graph = coo_array((mesh.edge_lengths.numpy(), (start, end)), shape=shape).tocsr()
    chosen = _vertices("sources", sources, mesh)
    return torch.from_numpy(dijkstra(graph, directed=False, indices=chosen, min_only=True))


def great_circle(points: Tensor, source: Tensor, radius: float = 1.0) -> Tensor:
    r"""The distance on a round sphere about 0, from the directions of the points.

        d = 2 radius atan2(|p - s|, |p + s|)        for unit vectors p and s

    Exact up to rounding at all angles, where the arc cosine of p . s loses half of the digits for
    points close to the source or opposite to it.

    Args:
        points: (..., 3), floating-point, not 0; only their directions count.
        source: (3,), likewise, in the dtype of the points.
        radius: of the sphere, positive.

    Returns:
        (...), in the dtype of the points, in the unit of the radius, from 0 to pi radius.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: other shapes, entries that are not finite, a point at 0, a radius that is not
            positive, or too large for the dtype of the points.

    Law tested: the arc length of a rotation by a known angle, from 1e-12 to pi. Source: Kahan's
    formula for the angle between vectors. Chapter: ``geodesics``.

    >>> great_circle(torch.eye(3), torch.tensor([0.0, 0.0, 2.0]), radius=2.0)
    tensor([3.1416, 3.1416, 0.0000])
    """
    p = _unit("points", check.shaped("points", points, 3))
    s = _unit("source", check.shaped("source", source, 3))
    if s.shape != (3,):
        raise ValueError(f"source: expected shape (3,), got {tuple(s.shape)}")
    if s.dtype != p.dtype:
        raise TypeError(f"source: expected {p.dtype} as the points, got {s.dtype}")
    angle = 2 * torch.atan2((p - s).norm(dim=-1), (p + s).norm(dim=-1))
    largest = torch.finfo(p.dtype).max
    if check.positive("radius", radius) * math.pi > largest:
        raise ValueError(f"radius: expected at most {largest / math.pi:.3g}, got {radius}")
    return radius * angle


def _unit(name: str, x: Tensor) -> Tensor:
    if x.is_meta:
        raise TypeError(f"{name}: expected a tensor with entries, got one on meta")
    check.finite(name, x)
    # Divided by the largest entry first, so that squares neither overflow nor vanish.
    largest = x.abs().amax(-1, keepdim=True)
    if not bool((largest > 0).all()):
        raise ValueError(f"{name}: expected points other than 0, got 0")
    scaled = x / largest
    return scaled / scaled.norm(dim=-1, keepdim=True)


def _or_one(size: Array) -> Array:
    return np.where(size > 0, size, 1.0)


def _factor(matrix: sparray, order: NDArray[np.int64] | None, expected: str) -> SymmetricFactor:
    try:
        return SymmetricFactor(matrix, order)
    except ValueError as error:
        raise ValueError(f"{expected}, got {error}") from error


def _slopes(mesh: Mesh, root_areas: Array) -> csr_array:
    """The real over the imaginary parts (2 m, n) of the gradient, times the root of the area.

    Directions do not depend on a factor for each face, and this one makes the entries pure numbers.
    """
    gradient = intrinsic_gradient(mesh)
    parts = vstack([diags_array(root_areas) @ part for part in (gradient.real, gradient.imag)])
    # Half the memory that indices need as int64: each solution reads all of them twice.
    places = parts.indices.astype(np.int32), parts.indptr.astype(np.int32)
    return csr_array((parts.data, *places), shape=parts.shape)


def _definite(
    laplacian: csr_array, regularisation: float, component: NDArray[np.int64]
) -> tuple[sparray, NDArray[np.int64]]:
    """The Laplacian made definite, and the vertices held at 0 for that.

    They are one of each component, or none if the Laplacian has r I added.
    """
    free = np.ones(len(component))
    if regularisation > 0:
        return laplacian + regularisation * diags_array(free), np.array([], dtype=np.int64)
    held = np.unique(component, return_index=True)[1]
    free[held] = 0.0
    kept = diags_array(free)
    # An entry of the size of the others keeps the matrix well scaled.
    return kept @ laplacian @ kept + diags_array((1 - free) * laplacian.diagonal()), held


def _sequence(sources: Sequence[Sources]) -> list[Sources]:
    is_array = isinstance(sources, (Tensor, np.ndarray)) and sources.ndim > 0
    if not (is_array or isinstance(sources, Sequence)):
        raise TypeError(f"sources: expected a sequence, got {type(sources).__name__}")
    if not len(sources):
        raise ValueError("sources: expected at least one, got none")
    return list(sources)


def _vertices(name: str, sources: Sources, mesh: Mesh) -> NDArray[np.int64]:
    """The vertices of a set, each once, ascending."""
    is_array = isinstance(sources, (Tensor, np.ndarray))
    listed = list(sources) if isinstance(sources, Iterable) and not is_array else sources
    try:
        read = np.asarray(listed)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name}: expected a vertex or several, got {sources!r}") from None
    if read.size == 0:
        raise ValueError(f"{name}: expected at least one vertex, got none")
    if read.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected a vertex or several, as integers, got {sources!r}")
    if read.ndim > 1:
        raise ValueError(f"{name}: expected a vertex or a set of them, got shape {read.shape}")
    if read.min() < 0 or read.max() >= mesh.num_vertices:
        raise ValueError(
            f"{name}: expected vertices 0 to {mesh.num_vertices - 1}, "
            f"got {read.min()} to {read.max()}"
        )
    return np.unique(read.astype(np.int64))
