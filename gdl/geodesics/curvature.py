r"""Curvature of triangle meshes: what the angles round a vertex lack, and its total.

Chapter: ``geodesics``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gdl.geodesics import _triangles as triangles
from gdl.geodesics._checks import require
from gdl.geodesics.mesh import Mesh


@dataclass(frozen=True)
class GaussBonnet:
    r"""The three numbers of the theorem of Gauss and Bonnet: see :func:`gauss_bonnet`.

    Attributes:
        curvature: the sum of the defects inside.
        turning: the sum of the defects on the boundary.
        topology: 2 pi (V - E + F).

    Law tested: the first two add up to the third. Chapter: ``geodesics``.

    >>> GaussBonnet(curvature=0.0, turning=2 * math.pi, topology=2 * math.pi).turning
    6.283185307179586
    """

    curvature: float
    turning: float
    topology: float


def angle_defects(mesh: Mesh) -> Tensor:
    r"""What the angles round each vertex lack of those in the plane.

        inside         2 pi - sum of the angles at the vertex     integral of Gaussian curvature
        on a boundary    pi - sum of the angles at the vertex     turning of the boundary

    The integral is over the vertex alone, since faces are flat: divide by
    :func:`vertex_areas` for curvature per area.

    Args:
        mesh: a manifold, orientable or not, with areas and without isolated vertices.

    Returns:
        (n,), float64, in radians.

    Raises:
        TypeError: no mesh.
        ValueError: zero-area faces, isolated vertices, non-manifold edges or vertices, by index.

    Law tested: ``igl.gaussian_curvature`` on closed meshes; solids in closed form; the same on
    isometric surfaces; :func:`gauss_bonnet`. Chapter: ``geodesics``.

    >>> triangle = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    >>> angle_defects(triangle) / math.pi
    tensor([0.5000, 0.7500, 0.7500], dtype=torch.float64)
    """
    require(mesh, "areas", "compact", "manifold")
    total = torch.full((mesh.num_vertices,), 2 * math.pi, dtype=torch.float64)
    total[mesh.boundary_vertices] = math.pi
    angles = triangles.angles(mesh.lengths)
    return total.index_add(0, mesh.faces.flatten(), -angles.flatten())


def gauss_bonnet(mesh: Mesh) -> GaussBonnet:
    r"""Total curvature and turning of the boundary, which add up to topology.

        sum of defects inside + sum of defects on the boundary = 2 pi (V - E + F)

    Args:
        mesh: as for :func:`angle_defects`.

    Returns:
        The two sums, and 2 pi times the Euler characteristic, computed from counts alone.

    Raises: TypeError or ValueError as :func:`angle_defects` does.
    Law tested: spheres, clean and noisy, tori, disks, annuli, a Möbius strip, several components.
    Source: the theorem of Gauss and Bonnet for polyhedral surfaces. Chapter: ``geodesics``.

    >>> triangle = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    >>> found = gauss_bonnet(triangle)
    >>> found.curvature, round(found.turning / math.pi, 12), found.topology / math.pi
    (0.0, 2.0, 2.0)
    """
    defects = angle_defects(mesh)
    turning = float(defects[mesh.boundary_vertices].sum())
    inside = torch.ones(mesh.num_vertices, dtype=torch.bool)
    inside[mesh.boundary_vertices] = False
    return GaussBonnet(
        curvature=float(defects[inside].sum()),
        turning=turning,
        topology=2 * math.pi * mesh.euler_characteristic,
    )
