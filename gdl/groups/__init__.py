"""Groups of the plane: group convolution and steerable CNNs; the room of chapter "groups"."""

from gdl.groups.convolution import FieldConv2d, GroupConv2d, LiftingConv2d, grid_kernels
from gdl.groups.fibres import blocks
from gdl.groups.networks import SpatialPool, group_cnn, p4cnn
from gdl.groups.nonlinearities import GatedNonlinearity, NormNonlinearity, PointwiseNonlinearity
from gdl.groups.normalisation import FieldBatchNorm2d
from gdl.groups.plane import (
    Lattice,
    acts_on_grid,
    field_action,
    grid_element,
    grid_elements,
    offsets,
    plane,
)
from gdl.groups.pooling import CosetPool, FieldPool2d, GroupPool
from gdl.groups.steerable import (
    SteerableConv2d,
    angular_basis,
    frequency,
    harmonics,
    restrict,
    steerable_kernels,
)

__all__ = [
    "CosetPool",
    "FieldBatchNorm2d",
    "FieldConv2d",
    "FieldPool2d",
    "GatedNonlinearity",
    "GroupConv2d",
    "GroupPool",
    "Lattice",
    "LiftingConv2d",
    "NormNonlinearity",
    "PointwiseNonlinearity",
    "SpatialPool",
    "SteerableConv2d",
    "acts_on_grid",
    "angular_basis",
    "blocks",
    "field_action",
    "frequency",
    "grid_element",
    "grid_elements",
    "grid_kernels",
    "group_cnn",
    "harmonics",
    "offsets",
    "p4cnn",
    "plane",
    "restrict",
    "steerable_kernels",
]
