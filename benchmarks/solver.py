"""The solver of the equation against SciPy's null space of the same stacked constraints.

The time is fitted against the number of unknowns, the entries of one map.
"""

from __future__ import annotations

import math

import scipy.linalg
import torch
from torch import Tensor

from benchmarks.cases import Case, worst
from gdl.equivariance import Basis, equivariant_basis, span_residual
from gdl.representations import SO, Representation, spherical_irrep, symmetric, translations

TENSORS = "maps of order-2 tensors over n points"
TORUS = "maps of images on an n x n torus"
HARMONICS = "maps of SO(3) harmonics up to degree n"
VECTORS = "maps of SO(3) tensors of order n"

# Eigenvalues and SciPy stop where a call takes minutes: its matrix at n = 40 would be 100 TB.
SMALL = (2, 3, 4)
SIZES = {
    TENSORS: (*SMALL, 10, 20, 40),
    TORUS: (*SMALL, 10, 20, 40),
    HARMONICS: (1, 2, 3),
    VECTORS: (1, 2, 3),
}
SCIPY = "scipy.linalg.null_space"
UNTIMED = (VECTORS, 3)  # SciPy takes a second
PACKAGES = {SCIPY: "scipy"}
STIRLING = (1, 7, 6, 1)  # partitions of four indices into 1, 2, 3, 4 blocks
RIORDAN = (1, 3, 15)  # invariants of SO(3) that are linear in each of 2, 4, 6 vectors


def representation(task: str, n: int) -> Representation:
    if task == TENSORS:
        return symmetric(n).defining * symmetric(n).defining
    if task == TORUS:
        return translations(n, n).defining
    rotations = SO(3)
    if task == VECTORS:
        return math.prod([rotations.defining] * (n - 1), start=rotations.defining)
    return sum(
        (spherical_irrep(rotations, degree) for degree in range(1, n + 1)),
        start=spherical_irrep(rotations, 0),
    )


def constraints(rho: Representation) -> Tensor:
    """The matrix C of the equation C vec(W) = 0, all generators stacked."""
    group, eye = rho.group, torch.eye(rho.dim, dtype=torch.float64)
    images = [rho(group.generator(k)) for k in range(len(group.generator_names))]
    blocks = (
        torch.kron(A, eye) - torch.kron(eye, A.T.contiguous()) for A in (*images, *rho.algebra)
    )
    return torch.cat(list(blocks))


def null_space(C: Tensor) -> Tensor:
    """SciPy's answer, (r, d, d)."""
    d = math.isqrt(C.shape[1])
    return torch.from_numpy(scipy.linalg.null_space(C.numpy()).T).reshape(-1, d, d)


def case(task: str, n: int) -> Case:
    rho, permutes = representation(task, n), task in (TENSORS, TORUS)
    small = n in SMALL or not permutes
    methods = ["orbits"] if permutes else []
    methods += ["dense", "sparse"] if small else []
    # Bound as a default, since a closure would see the last method of the loop.
    variants = {m: lambda m=m: equivariant_basis(rho, rho, method=m) for m in methods}
    if small and (task, n) != UNTIMED:
        C = constraints(rho)
        variants[SCIPY] = lambda: null_space(C)
    solvers = list(variants.values())
    return Case(task, n, rho.dim**2, variants, lambda: _disagreement(task, n, solvers))


def expected(task: str, n: int) -> int:
    """The dimension of the space of maps."""
    if task == VECTORS:
        return RIORDAN[n - 1]
    return {TENSORS: sum(STIRLING[:n]), TORUS: n * n, HARMONICS: n + 1}[task]


def _disagreement(task: str, n: int, solvers: list) -> float:
    """Infinite unless each finds as many maps as theory says; else the distance of the spans."""
    reference, *others = [solve() for solve in solvers]
    if any(len(found) != expected(task, n) for found in (reference, *others)):
        return math.inf
    return worst([0.0, *(span_residual(_stack(found), reference) for found in others)])


def _stack(found: Basis | Tensor) -> Tensor:
    return found.dense() if isinstance(found, Basis) else found
