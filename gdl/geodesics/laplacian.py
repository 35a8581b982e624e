r"""Laplacian, mass, gradient and divergence of functions that are linear on each face.

Laplacian, mass and the intrinsic gradient follow from the lengths of the edges alone, so that
bending a surface without stretching it changes none of them.

Chapter: ``geodesics``.
"""

from __future__ import annotations

import torch
from scipy.sparse import coo_array, csr_array, diags_array
from torch import Tensor

import gdl._checks as check
from gdl.geodesics import _triangles as triangles
from gdl.geodesics._checks import measurable
from gdl.geodesics._topology import NEXT, PREVIOUS
from gdl.geodesics.mesh import Mesh


def cotan_laplacian(mesh: Mesh) -> csr_array:
    r"""The Laplacian of linear finite elements, positive semi-definite and integrated.

        u^T L u = integral of |grad u|^2,      L_ij = -1/2 sum cot(angle opposite to edge ij)

    summed over the faces at the edge, with rows that sum to 0. It approximates minus the
    Laplace-Beltrami operator, times area: ``mass_matrix(mesh)^-1 L`` is the operator itself. At
    a boundary nothing is prescribed, which is Neumann's condition.

    Args:
        mesh: with areas and without isolated vertices; it need be neither manifold, oriented,
            closed nor connected.

    Returns:
        L (n, n), float64.

    Raises:
        TypeError: no mesh.
        ValueError: zero-area faces or isolated vertices, by index.

    Law tested: minus ``igl.cotmatrix``; robust_laplacian's on Delaunay meshes; -divergence times
    gradient; the same on isometric surfaces. Chapter: ``geodesics``.

    >>> mesh = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> cotan_laplacian(mesh).toarray().tolist()[1]
    [-0.5, 1.0, -0.5, 0.0]
    """
    measurable(mesh)
    return _stiffness(mesh.faces, mesh.lengths, mesh.num_vertices)


def mass_matrix(mesh: Mesh, *, lumped: bool = True) -> csr_array:
    r"""The inner product of functions on a surface, u^T M v = integral of u v.

        lumped   M_ii = a third of the area of the faces at i           (barycentric areas)
        full     M_ij = 1/12 of the area of the faces at edge ij,  M_ii = 1/6 of those at i

    The full matrix is exact for functions that are linear on each face; the lumped one is diagonal.

    Args:
        mesh: as for :func:`cotan_laplacian`.
        lumped: diagonal or full.

    Returns:
        M (n, n), float64, symmetric and positive definite; entries sum to the area.

    Raises:
        TypeError: no mesh, lumped that is no bool.
        ValueError: zero-area faces or isolated vertices, by index.

    Law tested: ``igl.massmatrix``, barycentric and full; integrals of products in closed form.
    Chapter: ``geodesics``.

    >>> mesh = Mesh([[0, 0, 0], [2, 0, 0], [0, 3, 0]], [[0, 1, 2]])
    >>> mass_matrix(mesh).diagonal().tolist()
    [1.0, 1.0, 1.0]
    >>> mass_matrix(mesh, lumped=False).toarray().tolist()[0]
    [0.5, 0.25, 0.25]
    """
    measurable(mesh)
    check.boolean("lumped", lumped)
    return _mass(mesh.faces, mesh.face_areas, mesh.num_vertices, lumped)


def vertex_areas(mesh: Mesh) -> Tensor:
    r"""A third of the area of the faces at each vertex: the diagonal of the lumped mass.

    Returns: (n,), float64, positive; the sum is the area.
    Raises: TypeError or ValueError as :func:`mass_matrix` does.
    Law tested: the diagonal of ``igl.massmatrix``. Chapter: ``geodesics``.

    >>> vertex_areas(Mesh([[0, 0, 0], [2, 0, 0], [0, 3, 0]], [[0, 1, 2]]))
    tensor([1., 1., 1.], dtype=torch.float64)
    """
    return torch.from_numpy(mass_matrix(mesh).diagonal())


def gradient(mesh: Mesh) -> csr_array:
    r"""The gradient of a function on each face, a vector in space.

        grad u = sum_k u_k (n x e_k) / (2 area),     e_k the side opposite to corner k

    Args:
        mesh: as for :func:`cotan_laplacian`; a face turned over has the same gradient.

    Returns:
        G (3 m, n), float64: ``(G @ u).reshape(m, 3)`` has one vector for each face. (libigl
        stacks all x, then all y, then all z instead.)

    Raises: TypeError or ValueError as :func:`cotan_laplacian` does.
    Law tested: ``igl.grad``, rows reordered; exact for linear functions, projected onto the faces;
    G^T diag(areas) G is the cotan Laplacian. Chapter: ``geodesics``.

    >>> mesh = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    >>> (gradient(mesh) @ [0.0, 5.0, 7.0]).tolist()
    [5.0, 7.0, 0.0]
    """
    measurable(mesh)
    corners = mesh.vertices[mesh.faces]
    sides = corners[:, PREVIOUS] - corners[:, NEXT]
    heights = 2 * mesh.face_areas[:, None, None]
    slopes = torch.linalg.cross(mesh.face_normals[:, None].expand_as(sides), sides) / heights
    row = torch.arange(3 * mesh.num_faces).reshape(-1, 1, 3).expand_as(slopes)
    column = mesh.faces[:, :, None].expand_as(slopes)
    return _assembled(slopes, row, column, (3 * mesh.num_faces, mesh.num_vertices))


def divergence(mesh: Mesh) -> csr_array:
    r"""The divergence of a field of one vector for each face, integrated round each vertex.

        D = -G^T diag(areas),      u^T D X = -integral of <grad u, X>

    Adjoint to minus the gradient, so that ``cotan_laplacian(mesh) = -D @ gradient(mesh)``.

    Returns:
        D (n, 3 m), float64; columns are ordered as the rows of :func:`gradient`.

    Raises: TypeError or ValueError as :func:`cotan_laplacian` does.
    Law tested: sums to 0 over the surface, boundary included; the cotan Laplacian. Chapter:
    ``geodesics``.

    >>> mesh = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    >>> (divergence(mesh) @ [1.0, 0.0, 0.0]).tolist()
    [0.5, -0.5, 0.0]
    """
    G = gradient(mesh)
    areas = mesh.face_areas.repeat_interleave(3)
    return csr_array(-G.T @ diags_array(areas.numpy()))


def intrinsic_gradient(mesh: Mesh) -> csr_array:
    r"""The gradient on each face as a complex number, a function of the lengths alone.

    The real axis of a face runs from its corner 0 to its corner 1, the imaginary one from there
    towards corner 2. Where the surface is bent without stretching, the numbers stay.

    Returns:
        G (m, n), complex128: ``abs(G @ u)`` is the length of the gradient of u, and L is the real
        part of G^H diag(areas) G.

    Raises: TypeError or ValueError as :func:`cotan_laplacian` does.
    Law tested: as long as :func:`gradient`, and at the same angle to the first side; the same on
    isometric surfaces. Chapter: ``geodesics``.

    >>> mesh = Mesh([[0, 0, 0], [0, 2, 0], [-1, 0, 0]], [[0, 1, 2]])
    >>> (intrinsic_gradient(mesh) @ [0.0, 6.0, 5.0]).round(9).tolist()
    [(3+5j)]
    """
    measurable(mesh)
    side = mesh.lengths[:, 2]
    height = 2 * mesh.face_areas / side
    apex = torch.complex(triangles.cotangents(mesh.lengths)[:, 0] * height, height)
    corners = torch.stack([torch.zeros_like(apex), side.to(apex.dtype), apex], 1)
    slopes = 1j * (corners[:, PREVIOUS] - corners[:, NEXT]) / (2 * mesh.face_areas[:, None])
    row = torch.arange(mesh.num_faces)[:, None].expand_as(mesh.faces)
    return _assembled(slopes, row, mesh.faces, (mesh.num_faces, mesh.num_vertices))


def _stiffness(faces: Tensor, lengths: Tensor, n: int) -> csr_array:
    weight = triangles.cotangents(lengths) / 2
    a, b = faces[:, NEXT], faces[:, PREVIOUS]
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    # One half, then its transpose: the result is symmetric to the last bit.
    half = _assembled(weight, low, high, (n, n))
    between = half + half.T
    return csr_array(diags_array(between.sum(1)) - between)


def _mass(faces: Tensor, areas: Tensor, n: int, lumped: bool) -> csr_array:
    if lumped:
        third = (areas / 3)[:, None].expand_as(faces)
        return _assembled(third, faces, faces, (n, n))
    share = (1 + torch.eye(3, dtype=areas.dtype)) * areas[:, None, None] / 12
    row, column = faces[:, :, None].expand_as(share), faces[:, None].expand_as(share)
    return _assembled(share, row, column, (n, n))


def _assembled(values: Tensor, row: Tensor, column: Tensor, shape: tuple[int, int]) -> csr_array:
    """The matrix of sums of the values at each place."""
    places = (row.flatten().numpy(), column.flatten().numpy())
    return coo_array((values.flatten().numpy(), places), shape=shape).tocsr()
