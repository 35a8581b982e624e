"""Frames, transport and gauge-equivariant convolution on surfaces and graphs.

Chapter: ``gauges``.
"""

from gdl.gauges.conv import GaugeConv
from gdl.gauges.fields import (
    TangentFields,
    connection_laplacian,
    field_indices,
    smoothest_fields,
    to_space,
    vertex_gradient,
)
from gdl.gauges.frames import (
    face_gauge,
    face_holonomies,
    interior_vertices,
    projected_gauge,
    rescaled_angles,
    tangent_frames,
    vertex_gauge,
    vertex_holonomies,
)
from gdl.gauges.graph import GaugedGraph, wrapped
from gdl.gauges.icosahedral import (
    IcosahedralBatchNorm,
    IcosahedralCNN,
    IcosahedralConv,
    IcosahedralPool,
    hexagonal_kernels,
)
from gdl.gauges.icosahedral_grid import IcosahedralGrid
from gdl.gauges.kernels import NeighbourKernels, neighbour_kernels, self_kernels
from gdl.gauges.network import GaugeBlock, GaugeMeshCNN
from gdl.gauges.nonlinearities import GatedNonlinearity, NormNonlinearity, RegularNonlinearity
from gdl.gauges.orders import Orders

__all__ = [
    "GatedNonlinearity",
    "GaugeBlock",
    "GaugeConv",
    "GaugeMeshCNN",
    "GaugedGraph",
    "IcosahedralBatchNorm",
    "IcosahedralCNN",
    "IcosahedralConv",
    "IcosahedralGrid",
    "IcosahedralPool",
    "NeighbourKernels",
    "NormNonlinearity",
    "Orders",
    "RegularNonlinearity",
    "TangentFields",
    "connection_laplacian",
    "face_gauge",
    "face_holonomies",
    "field_indices",
    "hexagonal_kernels",
    "interior_vertices",
    "neighbour_kernels",
    "projected_gauge",
    "rescaled_angles",
    "self_kernels",
    "smoothest_fields",
    "tangent_frames",
    "to_space",
    "vertex_gauge",
    "vertex_gradient",
    "vertex_holonomies",
    "wrapped",
]
