r"""Bend a mesh and keep its lengths: rotations about joints, then as rigid as possible.

Chapter: ``geodesics``.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array, diags_array
from torch import Tensor

import gdl._checks as check
from gdl.geodesics import _checks as require
from gdl.geodesics._factor import SymmetricFactor
from gdl.geodesics.laplacian import cotan_laplacian, vertex_areas
from gdl.geodesics.mesh import Mesh


class AsRigidAsPossible:
    r"""Moves vertices so that the surroundings of each turn rigidly, near a wanted position.

        E(p, R) = 1/2 sum_ij w_ij |(p_i - p_j) - R_i (r_i - r_j)|^2 + h sum_i m_i |p_i - q_i|^2

    over directed edges, with the rest positions r, the wanted ones q, the cotan weights w (0 where
    they are negative), the areas m of vertices and one rotation R_i for each vertex. A step fits
    all rotations (singular values of 3 x 3 matrices) and then solves one sparse linear system for
    p, whose matrix does not depend on the pose and is factorised once. No step raises E.

    Args:
        rest: a mesh whose faces have areas.
        hold: h, in 1 / length^2, positive; bends of a wavelength above 2 pi / sqrt(h) stay as
            they are wanted, shorter ones are smoothed out.

    Raises:
        TypeError: no mesh, no number.
        ValueError: faces without area, isolated vertices, a number that is not positive, or so
            small that the linear system is singular in float64.

    Law tested: no step raises E; a rigid motion stays as it is; the linear system is the gradient
    of E. Source: Sorkine and Alexa, As-rigid-as-possible surface modeling, 2007 (there the wanted
    positions are fixed vertices). Chapter: ``geodesics``.

    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> wanted = square.with_vertices(square.vertices * torch.tensor([1.5, 1.0, 1.0]))
    >>> [round(float(m.area), 3) for m in (wanted, AsRigidAsPossible(square, 1.0)(wanted, 9))]
    [1.5, 1.099]
    """

    def __init__(self, rest: Mesh, hold: float) -> None:
        require.measurable(rest, name="rest")
        self.rest = rest
        self.hold = check.positive("hold", hold)
        L = cotan_laplacian(rest).tocoo()
        apart = L.row != L.col
        self._edges = torch.from_numpy(np.stack([L.row, L.col])[:, apart]).long()
        # A negative weight would reward an edge for turning away, and its rotation be ambiguous.
        self._weights = torch.from_numpy(-L.data[apart]).clamp(min=0)
        self._areas = vertex_areas(rest)
        self._sides = self._weights[:, None] * self._along(rest.vertices)
        matrix = self._stiffness() + hold * diags_array(self._areas.numpy())
        try:
            self._factor = SymmetricFactor(csr_array(matrix))
        except ValueError as error:
            raise ValueError(f"hold: expected a larger number, got {hold}: {error}") from error

    def __call__(self, wanted: Mesh, steps: int) -> Mesh:
        """The mesh after some steps that start at the wanted one.

        Raises: TypeError or ValueError for other faces than those of the rest, or other steps.
        """
        self._require_fitting(wanted)
        check.integer("steps", steps)
        p = wanted.vertices
        held = self.hold * self._areas[:, None] * wanted.vertices
        for _ in range(steps):
            pulled = self._pull(self.rotations(p)) + held
            p = torch.from_numpy(self._factor.solve(pulled.numpy()))
        return wanted.with_vertices(p)

    def rotations(self, vertices: Tensor) -> Tensor:
        """The rotations (n, 3, 3) that bring the rest nearest to these vertices (n, 3).

        Raises: TypeError or ValueError for anything else.
        """
        vertices = self.rest.with_vertices(vertices).vertices
        source, _ = self._edges
        products = self._along(vertices)[:, :, None] * self._sides[:, None, :]
        sums = products.new_zeros(len(vertices), 3, 3).index_add_(0, source, products)
        U, _, Vh = torch.linalg.svd(sums)
        # A reflection becomes a rotation by turning over the direction of the least singular value.
        sign = torch.linalg.det(U @ Vh).sign()
        U = torch.cat([U[:, :, :2], sign[:, None, None] * U[:, :, 2:]], 2)
        return U @ Vh

    def energy(self, vertices: Tensor, wanted: Mesh) -> float:
        """E at these vertices (n, 3), with the best rotations.

        Raises: TypeError or ValueError for anything else.
        """
        self._require_fitting(wanted)
        vertices = self.rest.with_vertices(vertices).vertices
        turned = (
            self.rotations(vertices)[self._edges[0]] @ self._along(self.rest.vertices)[:, :, None]
        )
        gaps = (self._along(vertices) - turned[:, :, 0]).square().sum(1)
        away = (vertices - wanted.vertices).square().sum(1)
        return float((self._weights @ gaps) / 2 + self.hold * (self._areas @ away))

    def _stiffness(self) -> csr_array:
        n = self.rest.num_vertices
        weights = coo_array((self._weights.numpy(), tuple(self._edges.numpy())), shape=(n, n))
        return csr_array(diags_array(weights.sum(1)) - weights)

    def _along(self, vertices: Tensor) -> Tensor:
        source, target = self._edges
        return vertices[source] - vertices[target]

    def _pull(self, rotations: Tensor) -> Tensor:
        source, target = self._edges
        mean = (rotations[source] + rotations[target]) / 2
        pulls = (mean @ self._sides[:, :, None])[:, :, 0]
        return torch.zeros_like(self.rest.vertices).index_add_(0, source, pulls)

    def _require_fitting(self, wanted: Mesh) -> None:
        require.typed(wanted, "wanted")
        if wanted.num_vertices != self.rest.num_vertices:
            raise ValueError(
                f"wanted: expected {self.rest.num_vertices} vertices, got {wanted.num_vertices}"
            )
        if not torch.equal(wanted.faces, self.rest.faces):
            raise ValueError(f"wanted: expected the faces of rest, {self.rest}, got others")


def edge_distortion(rest: Mesh, posed: Mesh) -> Tensor:
    r"""The relative change of length of each edge: ``|l' - l| / l``.

    Args:
        rest: a mesh whose edges have lengths.
        posed: the same faces, vertices elsewhere.

    Returns:
        (e,), float64, in the order of ``rest.edges``. Its mean weighted by length is
        ``sum |l' - l| / sum l``.

    Raises:
        TypeError: no meshes.
        ValueError: other faces, an edge of length 0.

    Law tested: 0 for rigid motions; s - 1 for a dilation by s. Chapter: ``geodesics``.

    >>> triangle = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    >>> edge_distortion(triangle, triangle.with_vertices(1.5 * triangle.vertices))
    tensor([0.5000, 0.5000, 0.5000], dtype=torch.float64)
    """
    require.typed(rest, "rest")
    require.typed(posed, "posed")
    if not torch.equal(rest.faces, posed.faces):
        raise ValueError(f"posed: expected the faces of rest, {rest}, got others, {posed}")
    lengths = rest.edge_lengths
    if not bool((lengths > 0).all()):
        raise ValueError("rest: expected edges with a length, got one of length 0")
    return (posed.edge_lengths - lengths).abs() / lengths
