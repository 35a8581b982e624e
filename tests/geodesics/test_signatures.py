"""Signatures against the series of the round sphere, matrix exponentials, and isometries."""

from __future__ import annotations

import math
import re

import pytest
import scipy.linalg
import torch
from torch import Tensor

from gdl.geodesics.laplacian import cotan_laplacian
from gdl.geodesics.mesh import Mesh
from gdl.geodesics.signatures import (
    heat_kernel,
    heat_kernel_signature,
    heat_times,
)
from gdl.geodesics.spectrum import Eigenbasis, eigenbasis
from gdl.geodesics.surfaces import bumpy_sphere, flat_strip, fold_strip, icosphere
from gdl.geometry import random_rotations

F64 = torch.float64
BUMPY, STRIP = bumpy_sphere(2, 0.2, 0), flat_strip(2.0, 1.0, 8, 6)
TIMES = torch.tensor([0.02, 0.1, 0.5, 2.0], dtype=F64)


def refuses(error, argument: str):
    return pytest.raises(error, match=rf"^{re.escape(argument)}: ")


def complete(mesh: Mesh) -> Eigenbasis:
    return eigenbasis(mesh, mesh.num_vertices)


def signatures(basis: Eigenbasis) -> Tensor:
    """At times fixed and automatic, each scaled to size 1."""
    found = [
        heat_kernel_signature(basis, TIMES),
        heat_kernel_signature(basis),
    ]
    return torch.cat([f / f.abs().max() for f in found], 1)


def gap(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max() / b.abs().max())


def sphere_series(t: float) -> float:
    """The heat that a point of the unit sphere keeps."""
    return sum((2 * n + 1) * math.exp(-n * (n + 1) * t) for n in range(400)) / (4 * math.pi)


# --- heat ---------------------------------------------------------------------------------------


def test_the_heat_kernel_is_the_exponential_of_the_laplacian():
    L = cotan_laplacian(BUMPY).toarray()
    basis = complete(BUMPY)
    mass = basis.mass.toarray()
    expected = scipy.linalg.expm(-0.07 * scipy.linalg.solve(mass, L)) @ scipy.linalg.inv(mass)
    found = heat_kernel(basis, 0.07)
    assert gap(found, torch.from_numpy(expected)) < 1e-10
    chosen = torch.tensor([3, 40, 3])
    assert gap(heat_kernel(basis, 0.07, chosen), found[:, chosen]) < 1e-14
    assert gap(found[:, 3], found[:, 40]) > 0.1


def test_heat_is_kept_and_flows_on():
    basis = complete(STRIP)
    M = torch.from_numpy(basis.mass.toarray())
    early, late, sum_ = (heat_kernel(basis, t) for t in (0.01, 0.04, 0.05))
    one = torch.ones(len(M), dtype=F64)
    assert gap(early @ M @ one, one) < 1e-12
    assert gap(early @ M @ late, sum_) < 1e-12 and gap(early, sum_) > 0.1


def test_the_heat_signature_is_the_diagonal_of_the_kernel():
    basis = complete(BUMPY)
    found = heat_kernel_signature(basis, TIMES)
    for column, t in zip(found.T, TIMES.tolist(), strict=True):
        assert gap(column, heat_kernel(basis, t).diagonal()) < 1e-13


@pytest.mark.parametrize("k", [5, 40])
def test_the_trace_is_the_sum_of_exponentials(k):
    basis = eigenbasis(BUMPY, k)
    traces = basis.mass.diagonal() @ heat_kernel_signature(basis, TIMES).numpy()
    expected = torch.exp(-basis.values[:, None] * TIMES).sum(0)
    assert gap(torch.from_numpy(traces), expected) < 1e-12


def test_on_the_sphere_it_is_the_series():
    errors = []
    for level in (2, 3, 4):
        basis = eigenbasis(icosphere(level), 81)
        found = heat_kernel_signature(basis, torch.tensor([0.2, 0.5, 1.0], dtype=F64))
        expected = torch.tensor([sphere_series(t) for t in (0.2, 0.5, 1.0)], dtype=F64)
        errors.append(float((found / expected - 1).abs().max()))
    assert errors[0] < 0.1 and errors[1] < 0.3 * errors[0] and errors[2] < 0.3 * errors[1]


def test_the_series_has_the_expansion_of_curvature_one():
    for t in (0.1, 0.05, 0.01):
        flat = 1 / (4 * math.pi * t)
        remainder = sphere_series(t) / flat - (1 + t / 3)
        # The next term of the expansion is t^2 / 15.
        assert abs(remainder / t**2 - 1 / 15) < t / 20
        assert abs(sphere_series(t) / flat - (1 - t / 3)) > 0.5 * t


def test_automatic_times():
    basis = eigenbasis(BUMPY, 30)
    times = heat_times(basis, 7)
    assert times.shape == (7,) and heat_times(basis).shape == (100,)
    ends = 4 * math.log(10) / basis.values[[29, 1]]
    assert gap(times[[0, -1]], ends) < 1e-14
    ratios = times[1:] / times[:-1]
    assert gap(ratios, ratios.mean().expand(6)) < 1e-13
    larger = eigenbasis(Mesh(3 * BUMPY.vertices, BUMPY.faces), 30)
    assert gap(heat_times(larger, 7), 9 * times) < 1e-9
    assert torch.equal(
        heat_kernel_signature(basis), heat_kernel_signature(basis, heat_times(basis))
    )


# --- waves --------------------------------------------------------------------------------------


# --- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rotating_and_renumbering(seed):
    basis = eigenbasis(BUMPY, 20)
    Q = random_rotations(1, seed=seed)[0]
    p = torch.randperm(BUMPY.num_vertices, generator=torch.Generator().manual_seed(seed))
    expected = signatures(basis)
    assert (
        gap(signatures(eigenbasis(BUMPY.with_vertices(BUMPY.vertices @ Q.T), 20)), expected) < 1e-9
    )
    renumbered = signatures(eigenbasis(BUMPY.permuted(p), 20))
    assert gap(renumbered[p], expected) < 1e-9 and gap(renumbered, expected) > 0.1


def test_folding_changes_nothing_and_stretching_does():
    folded = fold_strip(2.0, 1.0, 8, 6, [0.5, -1.0, 0.3, 1.0, 1.0, -1.0, 2.0])
    stretched = STRIP.with_vertices(STRIP.vertices * torch.tensor([1.0, 1.2, 1.0], dtype=F64))
    expected = signatures(eigenbasis(STRIP, 20))
    assert gap(signatures(eigenbasis(folded, 20)), expected) < 1e-10
    assert gap(signatures(eigenbasis(stretched, 20)), expected) > 0.02


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rotations_inside_eigenspaces_change_nothing(seed):
    basis = eigenbasis(icosphere(2), 16)
    generator = torch.Generator().manual_seed(seed)
    sizes = basis.clusters(1e-6)
    assert max(sizes) > 2 and sum(sizes) == 16
    turns = [torch.linalg.qr(torch.randn(d, d, dtype=F64, generator=generator))[0] for d in sizes]
    inside = Eigenbasis(basis.values, basis.vectors @ torch.block_diag(*turns), basis.mass)
    across = torch.linalg.qr(torch.randn(16, 16, dtype=F64, generator=generator))[0]
    mixed = Eigenbasis(basis.values, basis.vectors @ across, basis.mass)
    assert gap(inside.vectors, basis.vectors) > 0.1
    assert gap(signatures(inside), signatures(basis)) < 1e-10
    assert gap(signatures(mixed), signatures(basis)) > 0.1


def test_every_component_has_a_constant():
    sphere = icosphere(1)
    faces = torch.cat([sphere.faces, sphere.faces + sphere.num_vertices])
    two = Mesh(torch.cat([sphere.vertices, 2 * sphere.vertices + 9]), faces)
    basis = eigenbasis(two, 84)
    late = heat_kernel_signature(basis, torch.tensor([1e3]))
    areas = torch.tensor([sphere.area, 4 * sphere.area], dtype=F64)
    assert gap(late, (1 / areas).repeat_interleave(42)[:, None]) < 1e-10


def test_gradients_with_respect_to_times():
    basis, times = eigenbasis(BUMPY, 20), TIMES.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: heat_kernel_signature(basis, t)[:5], times)


def test_single_precision_in_double_out():
    basis = eigenbasis(BUMPY, 20)
    found = heat_kernel_signature(basis, TIMES.float())
    assert found.dtype == F64 and gap(found, heat_kernel_signature(basis, TIMES)) < 1e-6


BASIS = eigenbasis(BUMPY, 8)
BAD_ROWS = [
    ([0.1], TypeError),
    (torch.tensor([1]), TypeError),
    (torch.ones(1, device="meta"), TypeError),
    (torch.ones(1).to_sparse(), TypeError),
    (torch.tensor([[0.1]]), ValueError),
    (torch.tensor([]), ValueError),
    (torch.tensor([torch.nan]), ValueError),
]


@pytest.mark.parametrize(("row", "error"), BAD_ROWS, ids=str)
def test_other_times_are_refused(row, error):
    with refuses(error, "times"):
        heat_kernel_signature(BASIS, row)


@pytest.mark.parametrize("time", [0.0, -1.0])
def test_times_are_positive(time):
    with refuses(ValueError, "times"):
        heat_kernel_signature(BASIS, torch.tensor([1.0, time]))
    with refuses(ValueError, "time"):
        heat_kernel(BASIS, time)


@pytest.mark.parametrize(
    ("vertices", "error"),
    [
        ([0], TypeError),
        (torch.tensor([0.0]), TypeError),
        (torch.zeros(1, dtype=torch.int64, device="meta"), TypeError),
        (torch.zeros(1, dtype=torch.int64).to_sparse(), TypeError),
        (torch.tensor([[0]]), ValueError),
        (torch.tensor([-1]), ValueError),
        (torch.tensor([162]), ValueError),
    ],
    ids=str,
)
def test_other_vertices_are_refused(vertices, error):
    with refuses(error, "vertices"):
        heat_kernel(BASIS, 0.1, vertices)


@pytest.mark.parametrize(
    "f",
    [
        lambda b: heat_kernel(b, 0.1),
        lambda b: heat_kernel_signature(b, TIMES),
        heat_times,
    ],
    ids=["kernel", "heat", "times"],
)
def test_something_else_than_a_basis_is_refused(f):
    with refuses(TypeError, "basis"):
        f(BUMPY)


def test_a_basis_without_waves_is_refused():
    constant = eigenbasis(BUMPY, 1)
    for f in (heat_times, heat_kernel_signature):
        with refuses(ValueError, "basis"):
            f(constant)
    assert heat_kernel_signature(constant, TIMES).shape == (162, 4)


def test_other_counts_are_refused():
    with refuses(ValueError, "count"):
        heat_times(BASIS, 1)
    with refuses(TypeError, "count"):
        heat_times(BASIS, 2.0)
    assert len(heat_times(BASIS, 2)) == 2
