"""Heat on surfaces: against dense matrices, with derivatives, for times that are learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import Tensor, nn

from gdl.geodesics.diffusion_net import LearnedDiffusion, diffuse
from gdl.geodesics.laplacian import cotan_laplacian, vertex_areas
from gdl.geodesics.operators import SurfaceOperators
from tests.geodesics.network_samples import F64, mesh_of, random, refuses, relative, surface_of

METHODS = ["spectral", "implicit"]
methods = pytest.mark.parametrize("method", METHODS)
C = 3
TIMES = torch.tensor([0.0, 0.05, 0.7], dtype=F64)


def features(surface: SurfaceOperators, channels: int = C, dtype: torch.dtype = F64) -> Tensor:
    return random(surface.num_vertices, channels, dtype=dtype)


# --- heat ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bumpy", "flat", "torus"])
def test_heat_flows_as_by_dense_matrices(name):
    mesh = mesh_of(name)
    L, M = torch.from_numpy(cotan_laplacian(mesh).toarray()), vertex_areas(mesh).diag()
    surface = surface_of(name, mesh.num_vertices)
    f = features(surface)
    for c, t in enumerate(TIMES.tolist()):
        exact = torch.from_numpy(expm(-t * torch.linalg.solve(M, L).numpy())) @ f
        step = torch.linalg.solve(M + t * L, M @ f)
        found = {method: diffuse(surface, f, TIMES, method)[:, c] for method in METHODS}
        assert relative(found["spectral"], exact[:, c]) < 1e-11
        assert relative(found["implicit"], step[:, c]) < 1e-11
        assert t == 0 or relative(found["implicit"], exact[:, c]) > 1e-3


@methods
def test_heat_is_kept_and_evens_out(method):
    surface = surface_of("bumpy")
    f, total = features(surface), lambda f: surface.areas @ f
    late = diffuse(surface, f, torch.full((C,), 1e6, dtype=F64), method)
    assert relative(total(diffuse(surface, f, TIMES, method)), total(f)) < 1e-11
    assert relative(late, surface.mean(f).expand_as(f)) < 1e-4
    constant = torch.full_like(f, 3.0)
    assert relative(diffuse(surface, constant, TIMES, method), constant) < 1e-11


def test_spectral_times_add():
    surface, f = surface_of("bumpy"), features(surface_of("bumpy"))
    twice = diffuse(surface, diffuse(surface, f, TIMES), TIMES)
    assert relative(twice, diffuse(surface, f, 2 * TIMES)) < 1e-12
    steps = diffuse(surface, diffuse(surface, f, TIMES, "implicit"), TIMES, "implicit")
    assert relative(steps, diffuse(surface, f, 2 * TIMES, "implicit")) > 1e-3


@methods
@pytest.mark.parametrize("times", [TIMES, torch.tensor([0.3, 0.3, 0.01], dtype=F64)], ids=str)
def test_derivatives_are_those_by_differences(method, times):
    surface = surface_of("flat")
    f = features(surface).requires_grad_()
    # Differences need room on both sides of a time.
    t = (times + 0.01).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, t: diffuse(surface, f, t, method), (f, t))


@methods
def test_the_slope_at_time_zero(method):
    """Minus the Laplacian, for both: v - t M^-1 L v is the first order of either."""
    surface = surface_of("flat", 54)
    f, t = features(surface), torch.zeros(C, dtype=F64, requires_grad=True)
    weight = features(surface, C) ** 2
    (diffuse(surface, f, t, method) * weight).sum().backward()
    assert relative(t.grad, -(surface.apply_laplacian(f) * weight).sum(0)) < 1e-10


def test_the_implicit_step_is_differentiable_once():
    surface = surface_of("flat")
    f = features(surface).requires_grad_()
    (slope,) = torch.autograd.grad(
        diffuse(surface, f, TIMES, "implicit").square().sum(), f, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@methods
def test_single_precision_heat(method):
    surface = surface_of("bumpy", dtype=torch.float32)
    f = features(surface, dtype=torch.float32)
    out = diffuse(surface, f, TIMES.float(), method)
    assert out.dtype == torch.float32
    expected = diffuse(surface_of("bumpy"), f.double(), TIMES.float().double(), method)
    assert relative(out.double(), expected) < 1e-5


# --- learned times ------------------------------------------------------------------------------


def test_times_are_sizes():
    layer = LearnedDiffusion(3, dtype=F64)
    assert layer.times().tolist() == [0, 0, 0]
    with torch.no_grad():
        layer.time.copy_(torch.tensor([-2.0, 0.0, 3.0]))
    assert layer.times().tolist() == [2, 0, 3]
    surface = surface_of("bumpy")
    x = features(surface)
    assert torch.equal(layer(x, surface), diffuse(surface, x, layer.times().detach()))


@pytest.mark.parametrize("wanted", [0.0, 0.4])
@pytest.mark.parametrize("start", [-0.05, 0.0, 1.0])
def test_times_are_learned_from_either_side(wanted, start):
    """Gradient descent finds the time, at 0 and away from it, from outside and at the border."""
    layer = LearnedDiffusion(2, dtype=F64)
    nn.init.constant_(layer.time, start)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        (layer.times() - wanted).square().sum().backward()
        optimiser.step()
    assert (layer.times() - wanted).abs().max() < 1e-6


def test_the_slope_is_nowhere_zero():
    layer = LearnedDiffusion(3, dtype=F64)
    with torch.no_grad():
        layer.time.copy_(torch.tensor([-0.5, 0.0, 0.5]))
    layer.times().sum().backward()
    assert layer.time.grad.tolist() == [-1, 1, 1]


# --- bad input ----------------------------------------------------------------------------------


@methods
@pytest.mark.parametrize(
    ("times", "error"),
    [
        (torch.tensor([0.1, -1e-9, 0.1], dtype=F64), ValueError),
        (torch.tensor([0.1, torch.nan, 0.1], dtype=F64), ValueError),
        (torch.tensor([0.1, torch.inf, 0.1], dtype=F64), ValueError),
        (torch.tensor([0.1], dtype=F64), ValueError),
        (torch.tensor(0.1, dtype=F64), ValueError),
        (torch.tensor([1, 1, 1]), TypeError),
        (np.ones(3), TypeError),
        (0.1, TypeError),
    ],
    ids=str,
)
def test_bad_times(method, times, error):
    surface = surface_of("flat")
    with refuses(error, "times"):
        diffuse(surface, features(surface), times, method)


@pytest.mark.parametrize(
    ("call", "argument", "error"),
    [
        (lambda: diffuse(surface_of("flat"), random(54, 3), TIMES, "heat"), "method", ValueError),
        (lambda: LearnedDiffusion(0), "channels", ValueError),
        (lambda: LearnedDiffusion(1, method="explicit"), "method", ValueError),
    ],
)
def test_bad_arguments(call, argument, error):
    with refuses(error, argument):
        call()
