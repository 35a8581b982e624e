"""Surfaces: triangle meshes, their Laplacians, distances, and networks that see only lengths.

Chapter: ``geodesics``.
"""

from gdl.geodesics.creatures import JOINTS, PARTS, SPECIES, Creature, random_angles
from gdl.geodesics.curvature import GaussBonnet, angle_defects, gauss_bonnet
from gdl.geodesics.diffusion_net import (
    DiffusionBlock,
    DiffusionNet,
    GradientFeatures,
    LearnedDiffusion,
    diffuse,
)
from gdl.geodesics.distances import HeatMethod, edge_distances, great_circle
from gdl.geodesics.functional_maps import (
    fit_functional_map,
    functional_map,
    pointwise_map,
    transfer,
    zoomout,
)
from gdl.geodesics.laplacian import (
    cotan_laplacian,
    divergence,
    gradient,
    intrinsic_gradient,
    mass_matrix,
    vertex_areas,
)
from gdl.geodesics.mesh import Mesh, MeshReport
from gdl.geodesics.operators import SurfaceOperators
from gdl.geodesics.paths import Path, shoot, trace_path
from gdl.geodesics.posing import AsRigidAsPossible, edge_distortion
from gdl.geodesics.signatures import (
    heat_kernel,
    heat_kernel_signature,
    heat_times,
)
from gdl.geodesics.spectral import ChebConv
from gdl.geodesics.spectrum import Eigenbasis, eigenbasis
from gdl.geodesics.surfaces import (
    bumpy_sphere,
    flat_strip,
    fold_strip,
    icosahedral_rotations,
    icosphere,
    roll_strip,
    roughen,
    stretch,
    torus,
    vertex_permutation,
)

__all__ = [
    "JOINTS",
    "PARTS",
    "SPECIES",
    "AsRigidAsPossible",
    "ChebConv",
    "Creature",
    "DiffusionBlock",
    "DiffusionNet",
    "Eigenbasis",
    "GaussBonnet",
    "GradientFeatures",
    "HeatMethod",
    "LearnedDiffusion",
    "Mesh",
    "MeshReport",
    "Path",
    "SurfaceOperators",
    "angle_defects",
    "bumpy_sphere",
    "cotan_laplacian",
    "diffuse",
    "divergence",
    "edge_distances",
    "edge_distortion",
    "eigenbasis",
    "fit_functional_map",
    "flat_strip",
    "fold_strip",
    "functional_map",
    "gauss_bonnet",
    "gradient",
    "great_circle",
    "heat_kernel",
    "heat_kernel_signature",
    "heat_times",
    "icosahedral_rotations",
    "icosphere",
    "intrinsic_gradient",
    "mass_matrix",
    "pointwise_map",
    "random_angles",
    "roll_strip",
    "roughen",
    "shoot",
    "stretch",
    "torus",
    "trace_path",
    "transfer",
    "vertex_areas",
    "vertex_permutation",
    "zoomout",
]
