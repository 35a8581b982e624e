r"""What networks read from a surface: areas, an eigenbasis, the Laplacian, gradients on faces.

Chapter: ``geodesics``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array, issparse, vstack
from torch import Tensor

import gdl._checks as check
from gdl.geodesics._factor import nested_dissection
from gdl.geodesics._sparse import SparseMatrix
from gdl.geodesics.laplacian import cotan_laplacian, intrinsic_gradient
from gdl.geodesics.mesh import Mesh
from gdl.geodesics.spectrum import Eigenbasis, eigenbasis

F64 = torch.float64


@dataclass(frozen=True, eq=False, repr=False)
class SurfaceOperators:
    r"""All that a network on a surface reads from it; functions of the side lengths alone.

        Phi^T M Phi = I,   L Phi = M Phi Lambda,   M = diag(areas)

    Made by :meth:`from_mesh`. The eigenpairs have the dtype and the device of the network, and so
    has what is computed from features; the other fields stay in float64 on the CPU. One surface
    may serve several networks, and is not to be changed in place.

    Attributes:
        values: (k,), the eigenvalues lambda, ascending.
        vectors: (n, k), the eigenvectors Phi.
        faces: (m, 3), int64.
        face_areas: (m,), float64.
        laplacian: L (n, n), the cotan Laplacian, positive semi-definite.
        gradients: complex (m, n); times a function it is its gradient on each face, in a frame of
            that face.
        areas: (n,), a third of the area of the faces at each vertex, the diagonal of M;
            ``exact_areas`` is the same in NumPy's float64.
        spectral_bound: of the eigenvalues of M^-1 L, by Gershgorin's discs.

    Raises:
        TypeError: fields of other types or dtypes.
        ValueError: shapes that do not fit, entries that are not finite, a vertex without area,
            vectors that are not orthonormal in the areas, or no eigenvectors (the basis of another
            surface), a surface too large or too small for the dtype.

    Law tested: an isometry leaves what is computed as it is; so does another choice of frames, up
    to the phase of a face; a permutation of the vertices permutes it. Chapter: ``geodesics``.

    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> surface = SurfaceOperators.from_mesh(square, 3)
    >>> surface
    SurfaceOperators(4 vertices, 2 faces, 3 modes, torch.float64)
    >>> surface.areas
    tensor([0.3333, 0.1667, 0.3333, 0.1667], dtype=torch.float64)
    >>> surface.gradient(3 * square.vertices[:, :1]).abs().flatten().round(decimals=6)
    tensor([3., 3.], dtype=torch.float64)
    """

    values: Tensor
    vectors: Tensor
    faces: Tensor
    face_areas: Tensor
    laplacian: csr_array
    gradients: csr_array
    exact_areas: np.ndarray = field(init=False)
    areas: Tensor = field(init=False)
    spectral_bound: float = field(init=False)
    _products: dict[str, SparseMatrix] = field(init=False)

    def __post_init__(self) -> None:
        _require_faces(self)
        exact_areas = self._keep("exact_areas", _vertex_areas(self))
        _require_range(self)
        _require_matrices(self)
        rows = abs(self.laplacian).sum(1) / exact_areas
        self._keep("spectral_bound", float(rows.max()))
        _require_basis(self)
        self._keep("areas", torch.from_numpy(exact_areas).to(self.device, self.dtype))
        # All at once: a compiler could not look into SciPy when a layer first asks for one.
        matrices = _matrices(self).items()
        products = {name: _product(name, matrix, self) for name, matrix in matrices}
        self._keep("_products", products)

    @classmethod
    def from_mesh(cls, mesh: Mesh, k: int) -> SurfaceOperators:
        """The operators of a mesh with its first k eigenpairs.

        Where the k-th eigenvalue equals the next one, the basis of their eigenspace is cut in an
        arbitrary place, and that enters what is made of it: let k end a cluster, or lie where the
        filters have faded.
        """
        if not isinstance(mesh, Mesh):
            raise TypeError(f"mesh: expected a Mesh, got {type(mesh).__name__}")
        return cls.from_basis(mesh, eigenbasis(mesh, k))

    @classmethod
    def from_basis(cls, mesh: Mesh, basis: Eigenbasis) -> SurfaceOperators:
        """The operators of a mesh with an eigenbasis of it, in the lumped mass."""
        if not isinstance(mesh, Mesh):
            raise TypeError(f"mesh: expected a Mesh, got {type(mesh).__name__}")
        if not isinstance(basis, Eigenbasis):
            raise TypeError(f"basis: expected an Eigenbasis, got {type(basis).__name__}")
        return cls(
            basis.values,
            basis.vectors,
            mesh.faces,
            mesh.face_areas,
            cotan_laplacian(mesh),
            intrinsic_gradient(mesh),
        )

    def __repr__(self) -> str:
        n, m, k = self.num_vertices, self.num_faces, self.num_modes
        return f"SurfaceOperators({n} vertices, {m} faces, {k} modes, {self.dtype})"

    @property
    def num_vertices(self) -> int:
        """n."""
        return len(self.vectors)

    @property
    def num_faces(self) -> int:
        """m."""
        return len(self.faces)

    @property
    def num_modes(self) -> int:
        """k."""
        return len(self.values)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the eigenpairs."""
        return self.vectors.dtype

    @property
    def device(self) -> torch.device:
        """The device of the eigenpairs."""
        return self.vectors.device

    @cached_property
    def elimination_order(self) -> np.ndarray:
        """The order in which M + t L is best factorised, for every t > 0; (n,)."""
        return nested_dissection(self.laplacian)

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> SurfaceOperators:
        """The operators for a network in another floating-point dtype, or on another device."""
        dtype = None if dtype is None else check.real_dtype(dtype)
        values, vectors = (x.to(dtype=dtype, device=device) for x in (self.values, self.vectors))
        return replace(self, values=values, vectors=vectors)

    def project(self, f: Tensor) -> Tensor:
        """The coefficients Phi^T M f (k, C) of functions f (n, C)."""
        return self.vectors.T @ (self.areas[:, None] * self._rows("f", f, self.num_vertices))

    def synthesise(self, coefficients: Tensor) -> Tensor:
        """The functions Phi c (n, C) of coefficients c (k, C)."""
        return self.vectors @ self._rows("coefficients", coefficients, self.num_modes)

    def apply_laplacian(self, f: Tensor) -> Tensor:
        """M^-1 L f (n, C) for functions f (n, C)."""
        return self._products["laplacian"].times(self._rows("f", f, self.num_vertices))

    def gradient(self, f: Tensor) -> Tensor:
        """The gradients of functions f (n, C) on the faces, complex (m, C)."""
        if self.dtype not in (torch.float16, torch.float32, F64):
            raise TypeError(
                "f: expected float16, float32 or float64, which have complex numbers, "
                f"got {self.dtype}: see gradient_parts"
            )
        return torch.complex(*self.gradient_parts(f))

    def gradient_parts(self, f: Tensor) -> Tensor:
        """Real and imaginary parts (2, m, C) of :meth:`gradient`."""
        parts = self._products["gradients"].times(self._rows("f", f, self.num_vertices))
        return parts.unflatten(0, (2, self.num_faces))

    def to_vertices(self, values: Tensor) -> Tensor:
        """At each vertex the mean (n, C) of values (m, C) on its faces, weighted by area."""
        return self._products["to_vertices"].times(self._rows("values", values, self.num_faces))

    def to_faces(self, f: Tensor) -> Tensor:
        """On each face the mean (m, C) of functions f (n, C) at its corners."""
        return self._products["to_faces"].times(self._rows("f", f, self.num_vertices))

    def mean(self, f: Tensor) -> Tensor:
        """The mean (C,) of functions f (n, C) over the surface, by area."""
        return self.areas @ self._rows("f", f, self.num_vertices) / self.areas.sum()

    def _rows(self, name: str, x: Tensor, rows: int) -> Tensor:
        check.floating(name, x)
        if x.ndim != 2 or len(x) != rows:
            raise ValueError(f"{name}: expected shape ({rows}, C), got {tuple(x.shape)}")
        if x.dtype != self.dtype:
            raise TypeError(f"{name}: expected {self.dtype} as the surface, got {x.dtype}")
        if x.device != self.device:
            raise ValueError(f"{name}: expected device {self.device}, got {x.device}")
        return x

    def _keep(self, name: str, value: object) -> object:
        object.__setattr__(self, name, value)
        return value


def _vertex_areas(surface: SurfaceOperators) -> np.ndarray:
    thirds = np.repeat(surface.face_areas.numpy() / 3, 3)
    areas = np.bincount(surface.faces.flatten().numpy(), thirds, surface.num_vertices)
    if not areas.all():
        bare = int(np.flatnonzero(areas == 0)[0])
        raise ValueError(f"faces: expected every vertex in a face, vertex {bare} is in none")
    return areas


def _matrices(surface: SurfaceOperators) -> dict[str, csr_array]:
    """The maps of functions and of values on faces, each linear."""
    areas, faces = surface.exact_areas, surface.faces.numpy()
    shape = (surface.num_faces, surface.num_vertices)
    at = (np.repeat(np.arange(surface.num_faces), 3), faces.ravel())
    shares = surface.face_areas.numpy()[:, None] / 3 / areas[faces]
    return {
        "laplacian": diags_array(1 / areas) @ surface.laplacian,
        "gradients": vstack([surface.gradients.real, surface.gradients.imag]),
        "to_vertices": csr_array((shares.ravel(), at), shape=shape).T,
        "to_faces": csr_array((np.full(faces.size, 1 / 3), at), shape=shape),
    }


def _require_faces(surface: SurfaceOperators) -> None:
    check.shaped("vectors", surface.vectors, None, None)
    if surface.vectors.ndim != 2:
        raise ValueError(f"vectors: expected shape (n, k), got {tuple(surface.vectors.shape)}")
    faces, areas, n = surface.faces, surface.face_areas, surface.num_vertices
    if not isinstance(faces, Tensor) or faces.dtype != torch.int64 or not faces.is_cpu:
        raise TypeError("faces: expected an int64 tensor on the CPU")
    if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces):
        raise ValueError(f"faces: expected shape (m, 3), got {tuple(faces.shape)}")
    if int(faces.min()) < 0 or int(faces.max()) >= n:
        raise ValueError(
            f"faces: expected indices 0 to {n - 1}, "
            f"got {int(faces.min())} to {int(faces.max())} (the basis of another surface?)"
        )
    if not isinstance(areas, Tensor) or areas.dtype != F64 or not areas.is_cpu:
        raise TypeError("face_areas: expected a float64 tensor on the CPU")
    if areas.shape != (len(faces),) or not bool((areas > 0).all()):
        raise ValueError(
            f"face_areas: expected {len(faces)} positive areas, got shape {tuple(areas.shape)} "
            f"with least entry {float(areas.min()):.3g}"
        )


def _product(name: str, matrix: csr_array, surface: SurfaceOperators) -> SparseMatrix:
    largest = abs(matrix).max()
    if not largest <= torch.finfo(surface.dtype).max:
        raise ValueError(
            f"{name}: expected entries that {surface.dtype} can hold, "
            f"got {largest:.3g}; scale the surface"
        )
    return SparseMatrix(csr_array(matrix), surface.dtype, surface.device)


def _require_range(surface: SurfaceOperators) -> None:
    """Refuse areas that the dtype of the network turns into 0, infinity or few digits."""
    limits = torch.finfo(surface.dtype)
    least, total = surface.exact_areas.min(), surface.exact_areas.sum()
    if not (least >= limits.tiny and total <= limits.max):
        raise ValueError(
            f"face_areas: expected areas from {limits.tiny:.3g} at a vertex to {limits.max:.3g} "
            f"in all, as {surface.dtype} can hold, got {least:.3g} to {total:.3g}; "
            "scale the surface"
        )


def _require_matrices(surface: SurfaceOperators) -> None:
    n, m = surface.num_vertices, surface.num_faces
    for name, shape in (("laplacian", (n, n)), ("gradients", (m, n))):
        matrix = getattr(surface, name)
        if not issparse(matrix):
            raise TypeError(f"{name}: expected a sparse matrix, got {type(matrix).__name__}")
        if matrix.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {matrix.shape}")
        if not np.isfinite(matrix.data).all():
            raise ValueError(f"{name}: expected finite entries, got NaN or infinity")


def _require_basis(surface: SurfaceOperators) -> None:
    """Refuse what is no eigenbasis of the Laplacian in the areas, up to rounding."""
    values, vectors = surface.values, check.finite("vectors", surface.vectors)
    check.finite("values", check.floating("values", values))
    if values.dtype != vectors.dtype or values.device != vectors.device:
        raise TypeError(
            f"values: expected {vectors.dtype} on {vectors.device} as the vectors, "
            f"got {values.dtype} on {values.device}"
        )
    if not len(values) or values.shape != vectors.shape[1:]:
        raise ValueError(
            f"values: expected shape ({vectors.shape[1]},) with at least one, "
            f"got {tuple(values.shape)}"
        )
    if not check.readable(vectors):
        return
    exact, areas = vectors.double().cpu().numpy(), surface.exact_areas[:, None]
    apart = exact.T @ (areas * exact) - np.eye(len(values))
    applied = surface.laplacian @ exact / areas
    residual = (applied - exact * values.double().cpu().numpy()) / surface.spectral_bound
    # Vectors are as large as one over the root of the area, the residual is to have no unit.
    residual *= surface.exact_areas.sum() ** 0.5
    allowed = len(vectors) ** 0.5 * torch.finfo(vectors.dtype).eps ** 0.5
    for fault, off in (("orthonormal in the areas", apart), ("eigenvectors", residual)):
        if not np.abs(off).max() <= allowed:
            raise ValueError(
                f"vectors: expected {fault}, off by {np.abs(off).max():.3g} "
                "(the basis of another surface, or in the full mass matrix?)"
            )
