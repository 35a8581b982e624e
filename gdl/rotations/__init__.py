"""Rotations: the sphere, space and point clouds; the room of chapter "rotations"."""

from gdl.rotations.coupling import clebsch_gordan, coupling_basis
from gdl.rotations.e3nn_twin import E3nnTensorProduct
from gdl.rotations.egnn import EGNN, GNN, EGNNLayer
from gdl.rotations.harmonics import spherical_harmonics, unit
from gdl.rotations.irreps import Irrep, Irreps, paths
from gdl.rotations.molecules import CloudEnergy, EnergyAndForces, elastic_energy
from gdl.rotations.nbody import (
    NBody,
    ParticleModel,
    charged_particles,
    published_particles,
    simulate,
    turned,
)
from gdl.rotations.rotation_group import (
    LiftingSphereConv,
    RotationConv,
    RotationTransform,
    rotate_rotation_coefficients,
    rotation_grid,
    rotation_size,
)
from gdl.rotations.sphere import (
    SphericalTransform,
    ZonalConv,
    rotate_coefficients,
    sphere_grid,
)
from gdl.rotations.spherical_cnn import (
    GridNonlinearity,
    SignalBatchNorm,
    SphericalCNN,
    ZonalCNN,
)
from gdl.rotations.tensor_field import (
    Gate,
    IrrepsLinear,
    TensorFieldConv,
    TensorFieldNetwork,
    radial_basis,
)
from gdl.rotations.tensor_product import TensorProduct, align
from gdl.rotations.wigner import wigner_d, wigner_tower

__all__ = [
    "CloudEnergy",
    "E3nnTensorProduct",
    "EGNN",
    "EGNNLayer",
    "GNN",
    "EnergyAndForces",
    "Gate",
    "GridNonlinearity",
    "Irrep",
    "Irreps",
    "IrrepsLinear",
    "LiftingSphereConv",
    "NBody",
    "ParticleModel",
    "RotationConv",
    "RotationTransform",
    "SignalBatchNorm",
    "SphericalCNN",
    "SphericalTransform",
    "TensorFieldConv",
    "TensorFieldNetwork",
    "TensorProduct",
    "ZonalCNN",
    "ZonalConv",
    "align",
    "charged_particles",
    "clebsch_gordan",
    "coupling_basis",
    "elastic_energy",
    "paths",
    "published_particles",
    "radial_basis",
    "rotate_coefficients",
    "rotate_rotation_coefficients",
    "rotation_grid",
    "rotation_size",
    "simulate",
    "sphere_grid",
    "spherical_harmonics",
    "turned",
    "unit",
    "wigner_d",
    "wigner_tower",
]
