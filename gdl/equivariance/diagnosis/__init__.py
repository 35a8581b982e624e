"""Which layer breaks the symmetry, by how much, for which element, and why."""

from gdl.equivariance.diagnosis.diagnose import diagnose
from gdl.equivariance.diagnosis.report import Diagnosis, StepReport

__all__ = ["Diagnosis", "StepReport", "diagnose"]
