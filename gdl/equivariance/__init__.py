"""The equation ``rho_out(g) W = W rho_in(g)``: its solver, its oracles, the tests of a layer."""

from gdl.equivariance.basis import Basis
from gdl.equivariance.checks import equivariance_error, span_residual
from gdl.equivariance.constants import Constant, full_precision
from gdl.equivariance.diagnosis import Diagnosis, StepReport, diagnose
from gdl.equivariance.kernels import kernel_basis, kernel_space
from gdl.equivariance.layers import EquivariantLinear, Expansion
from gdl.equivariance.oracles import dimension_by_characters, dimension_by_orbits
from gdl.equivariance.solver import equivariant_basis
from gdl.representations import reynolds

__all__ = [
    "Basis",
    "Constant",
    "Diagnosis",
    "EquivariantLinear",
    "Expansion",
    "StepReport",
    "diagnose",
    "dimension_by_characters",
    "dimension_by_orbits",
    "equivariance_error",
    "equivariant_basis",
    "full_precision",
    "kernel_basis",
    "kernel_space",
    "reynolds",
    "span_residual",
]
