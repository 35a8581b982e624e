"""Learned equations: untrained the heat equation, trained the equation behind the pictures."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gdl.diffusion.evolution import (
    EvolutionPDE,
    perona_malik,
    regress_equation,
    train_evolution,
)
from gdl.diffusion.invariants import (
    INVARIANTS,
    laplacian_eigenvalues,
    laplacian_stencil,
    stencil_jet,
)
from gdl.equivariance import equivariance_error
from tests.diffusion.test_invariants import SYMMETRIES, boundaries, moved, padded
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN, INF = float("nan"), float("inf")
GROWTH = (0.0, -0.3, 0.5, 1.0, 0.0, 0.0)


def with_coefficients(values, layers: int, step: float, **options) -> EvolutionPDE:
    model = EvolutionPDE(layers, step=step, shared=True, dtype=F64, **options)
    with torch.no_grad():
        model.coefficients.copy_(torch.as_tensor(values, dtype=F64))
    return model


def random_model(layers: int = 3, step: float = 0.05, seed: int = 0, **options) -> EvolutionPDE:
    model = EvolutionPDE(layers, step=step, dtype=F64, **options)
    with torch.no_grad():
        model.coefficients.copy_(random(*model.coefficients.shape, seed=seed))
    return model


def pictures(count: int = 8, size: int = 12, seed: int = 0) -> Tensor:
    """Smooth random images of large contrast."""
    noise = random(count, 1, size, size, seed=seed)
    return 4 * EvolutionPDE(3, step=0.2, dtype=F64)(noise).detach()


# --- the heat equation ----------------------------------------------------------------------------


@boundaries
@pytest.mark.parametrize("layers", [1, 6])
def test_untrained_it_is_a_loop_of_convolutions(layers, boundary):
    images = u = random(2, 1, 6, 9)
    kernel = laplacian_stencil()[None, None]
    states = [u]
    for _ in range(layers):
        u = u + 0.2 * F.conv2d(padded(u, boundary), kernel)
        states.append(u)
    for shared in (False, True):
        model = EvolutionPDE(layers, step=0.2, shared=shared, boundary=boundary, dtype=F64)
        path = model.path(images)
        assert path.shape == (layers + 1, *images.shape)
        assert gap(path, torch.stack(states)) < 1e-12
        assert gap(model(images), states[-1]) < 1e-12


def test_untrained_it_is_solved_by_eigenvectors():
    images = random(1, 1, 5, 8)
    factors = (1 + 0.2 * laplacian_eigenvalues(5, 8, "circular")) ** 10
    expected = torch.fft.ifft2(torch.fft.fft2(images) * factors).real
    model = EvolutionPDE(10, step=0.2, boundary="circular", dtype=F64)
    assert gap(model(images), expected) < 1e-12


def test_each_layer_has_its_own_equation():
    model, images = random_model(), random(2, 1, 5, 6)
    u, states = images, [images]
    for coefficients in model.coefficients.detach():
        u = with_coefficients(coefficients, layers=1, step=0.05)(u).detach()
        states.append(u)
    assert gap(model.path(images), torch.stack(states)) < 1e-12


@boundaries
def test_steps_up_to_a_quarter_are_stable(boundary):
    images = random(4, 1, 6, 6)
    model = EvolutionPDE(30, step=0.25, boundary=boundary, dtype=F64)
    path = model.path(images).detach()
    highest, lowest = path.amax((2, 3, 4)), path.amin((2, 3, 4))
    assert bool((highest.diff(dim=0) <= 1e-15).all() and (lowest.diff(dim=0) >= -1e-15).all())
    assert gap(path.sum((2, 3, 4)), path[:1].sum((2, 3, 4)).expand(31, -1)) < 1e-12


def test_longer_steps_explode():
    i, j = torch.meshgrid(torch.arange(6), torch.arange(6), indexing="ij")
    board = (1.0 - 2.0 * ((i + j) % 2)).to(F64)[None, None]
    for step, factor in ((0.25, 1.0), (0.26, 1.08), (0.2, 0.6)):
        model = EvolutionPDE(40, step=step, boundary="circular", dtype=F64)
        assert float(model(board).detach().abs().max()) == pytest.approx(factor**40, rel=1e-9)


def test_an_evolution_that_overflows():
    model = with_coefficients([0, 0, 0, 1, 0, 1], layers=60, step=1.0)
    with refuses(ValueError, "step"):
        model(pictures(1))


# --- symmetry -------------------------------------------------------------------------------------


@boundaries
@pytest.mark.parametrize("size", [(6, 6), (5, 8)], ids=str)
def test_it_commutes_with_turns_and_flips(size, boundary):
    model = random_model(boundary=boundary)
    assert equivariance_error(model, random(2, 1, *size), moved, moved, SYMMETRIES) < 1e-12


def test_a_twin_with_a_direction_does_not():
    def twin(u):
        for _ in range(3):
            u = u + 0.05 * (stencil_jet(u)[:, 3:4] + 0.5 * stencil_jet(u)[:, 5:6])
        return u

    assert equivariance_error(twin, random(2, 1, 6, 6), moved, moved, SYMMETRIES) > 0.01


def test_it_commutes_with_shifts():
    def shifted(g, x):
        return torch.roll(x, g, (-2, -1))

    shifts, images = [(1, 0), (2, 3)], random(1, 1, 6, 7)
    model = random_model(boundary="circular")
    assert equivariance_error(model, images, shifted, shifted, shifts) < 1e-12
    assert equivariance_error(random_model(), images, shifted, shifted, shifts) > 1e-3


GREYS = {
    "negative": lambda x: -x,
    "brighter": lambda x: x + 0.7,
    "contrast": lambda x: 2 * x,
}


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ("negative", ("u", "lap u", "grad^T H grad")),
        ("brighter", ("1", "|grad u|^2", "lap u", "grad^T H grad", "tr H^2")),
        ("contrast", ("u", "lap u")),
    ],
    ids=["negative", "brighter", "contrast"],
)
def test_changes_of_grey_values(change, kept):
    """Which terms alone give an equation that commutes with a change of the grey values."""
    images, act = random(2, 1, 6, 6), GREYS[change]
    for k, name in enumerate(INVARIANTS):
        model = with_coefficients([float(j == k) for j in range(6)], layers=2, step=0.1)
        error = equivariance_error(model, images, lambda _, x: act(x), lambda _, x: act(x), [0])
        assert error < 1e-12 if name in kept else error > 1e-3


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
def test_gradients_by_differences(shared):
    model = random_model(shared=shared)

    def solve(coefficients, images):
        return torch.func.functional_call(model, {"coefficients": coefficients}, (images,))

    given = (model.coefficients.detach(), random(1, 1, 3, 4))
    assert torch.autograd.gradcheck(solve, tuple(x.clone().requires_grad_() for x in given))


def test_gradients_by_the_adjoint_equation():
    """u' = a lap u + b |grad u|^2, backwards in time, with matrices of the differences."""
    size, step, a, b = (4, 5), 0.1, 0.8, 0.3
    one = torch.eye(20, dtype=F64).reshape(20, 1, *size)
    R, C, RR, CC = (stencil_jet(one)[:, k].flatten(1).T for k in (1, 2, 3, 5))
    L = RR + CC
    images, target = random(1, 1, *size), random(20, seed=1)
    states = [images.flatten()]
    for _ in range(6):
        u = states[-1]
        states.append(u + step * (a * L @ u + b * ((R @ u) ** 2 + (C @ u) ** 2)))
    adjoint, gradient = states[-1] - target, torch.zeros(2, dtype=F64)
    for u in reversed(states[:-1]):
        terms = torch.stack([L @ u, (R @ u) ** 2 + (C @ u) ** 2])
        gradient += step * terms @ adjoint
        J = a * L + 2 * b * ((R @ u)[:, None] * R + (C @ u)[:, None] * C)
        adjoint = adjoint + step * J.T @ adjoint
    model = with_coefficients([0, 0, b, a, 0, 0], layers=6, step=step)
    loss = (model(images).flatten() - target).square().sum() / 2
    loss.backward()
    assert gap(model.coefficients.grad[0, [3, 2]], gradient) < 1e-12


# --- equations from pictures ----------------------------------------------------------------------


@pytest.mark.parametrize("truth", [GROWTH, (0, 0, 0, 1.0, 0, 0)], ids=["growth", "heat"])
def test_it_finds_the_equation(truth):
    first = pictures(4, size=10)
    last = with_coefficients(truth, layers=4, step=0.1)(first).detach()
    model = with_coefficients([0, 0, 0, 0.5, 0, 0], layers=4, step=0.1)
    train_evolution(model, first, last, steps=160, lr=5e-2)
    found = model.coefficients.detach()[0]
    wanted = torch.tensor(truth, dtype=F64)
    assert float((found - wanted)[wanted != 0].abs().max()) < 1e-2
    assert float((found - wanted)[wanted == 0].abs().max()) < 0.05


def test_one_step_is_read_exactly():
    before = pictures()
    for boundary in ("replicate", "circular"):
        truth = torch.tensor([0.1, -0.3, 0.5, 1.0, 0.2, -0.4], dtype=F64)
        after = with_coefficients(truth, layers=1, step=0.05, boundary=boundary)(before).detach()
        found, left = regress_equation(before, after, 0.05, boundary=boundary)
        assert gap(found, truth) < 1e-8 and left < 1e-10
        names = tuple(reversed(INVARIANTS))
        found, _ = regress_equation(before, after, 0.05, invariants=names, boundary=boundary)
        assert gap(found, truth.flip(0)) < 1e-8
    found, left = regress_equation(before, after, 0.05, invariants=("lap u",))
    assert left > 0.1


def test_finer_steps_are_read_to_first_order():
    """The equation solved with steps of a tenth, and a hundredth: the coefficients converge."""
    before, errors = pictures(), []
    for step in (0.02, 0.01):
        after = with_coefficients(GROWTH, layers=20, step=step / 20)(before).detach()
        found, _ = regress_equation(before, after, step)
        errors.append(gap(found, torch.tensor(GROWTH, dtype=F64)))
    assert 1.8 < errors[0] / errors[1] < 2.2


def test_an_equation_with_a_direction_is_averaged():
    """u_t = u_rr + u_cc / 2, which no invariants express; 3/4 lap u is its mean over the group."""
    some = pictures(size=8)
    before = torch.cat([moved(g, some) for g in SYMMETRIES])
    jet = stencil_jet(before)
    after = before + 0.1 * (jet[:, 3:4] + 0.5 * jet[:, 5:6])
    found, left = regress_equation(before, after, 0.1)
    assert gap(found, torch.tensor([0, 0, 0, 0.75, 0, 0], dtype=F64)) < 1e-10
    assert 0.1 < left < 0.5
    uneven, _ = regress_equation(before[:8], after[:8], 0.1)
    assert gap(uneven, found) > 1e-3


# --- diffusion that stops at edges ----------------------------------------------------------------


@boundaries
def test_perona_and_malik(boundary):
    images = random(2, 1, 6, 6)

    def flow(x):
        return perona_malik(x, 5, step=0.25, contrast=0.5, boundary=boundary)

    found = flow(images)
    assert equivariance_error(flow, images, moved, moved, SYMMETRIES) < 1e-12
    assert gap(found.sum((2, 3)), images.sum((2, 3))) < 1e-12
    assert found.max() <= images.max() and found.min() >= images.min()
    heat = EvolutionPDE(5, step=0.25, boundary=boundary, dtype=F64)(images)
    assert gap(perona_malik(images, 5, step=0.25, contrast=1e7, boundary=boundary), heat) < 1e-12
    assert gap(found, heat) > 0.1
    assert torch.equal(perona_malik(images, 0, contrast=1.0), images)


def test_it_follows_the_gradient_of_an_energy():
    """sum over neighbours of c^2 / 2 log(1 + (d/c)^2), each pair once."""
    contrast = 0.5

    def energy(u):
        pairs = (u.diff(dim=2), u.diff(dim=3))
        return sum((contrast**2 / 2 * torch.log1p((d / contrast) ** 2)).sum() for d in pairs)

    u = random(1, 1, 5, 6)
    energies = [float(energy(u))]
    for _ in range(10):
        gradient = torch.func.grad(energy)(u)
        after = perona_malik(u, 1, step=0.2, contrast=contrast)
        assert gap(after, u - 0.2 * gradient) < 1e-13
        u = after
        energies.append(float(energy(u)))
    assert all(b < a for a, b in zip(energies, energies[1:], strict=False))


# --- modules, types and wrong input ---------------------------------------------------------------


@both_dtypes
def test_what_the_module_does(dtype):
    model = EvolutionPDE(3, step=0.1, dtype=dtype)
    assert model.coefficients.shape == (3, 6) and model.coefficients.dtype == dtype
    assert EvolutionPDE(3, step=0.1, shared=True).coefficients.shape == (1, 6)
    chosen = ("lap u", "u")
    small = with_coefficients([[2.0, 3.0]], layers=1, step=0.1, invariants=chosen).to(dtype)
    images = random(2, 1, 4, 5, dtype=dtype)
    whole = with_coefficients([0, 3.0, 0, 2.0, 0, 0], layers=1, step=0.1).to(dtype)
    assert gap(small(images), whole(images)) < 1e-5
    text = "EvolutionPDE(layers=3, step=0.1, shared=False, terms=6, boundary=replicate)"
    assert repr(model) == text
    other = EvolutionPDE(3, step=0.1, dtype=dtype)
    with torch.no_grad():
        other.coefficients.copy_(random(3, 6, dtype=dtype) / 10)
    assert gap(other(images), model(images)) > 1e-3
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(images), model(images))
    assert torch.equal(copy.deepcopy(model)(images), model(images))
    with torch.no_grad():
        other.coefficients.zero_()
    other.reset_parameters()
    assert torch.equal(other.coefficients, model.coefficients)
    meta = EvolutionPDE(3, step=0.1, device="meta")
    assert meta(torch.zeros(2, 1, 4, 5, device="meta")).shape == (2, 1, 4, 5)


@pytest.mark.parametrize(
    ("layers", "options", "error", "argument"),
    [
        (0, {}, ValueError, "layers"),
        (True, {}, TypeError, "layers"),
        (1.0, {}, TypeError, "layers"),
        (2, {"step": 0.0}, ValueError, "step"),
        (2, {"step": NAN}, ValueError, "step"),
        (2, {"step": "1"}, TypeError, "step"),
        (2, {"shared": 1}, TypeError, "shared"),
        (2, {"invariants": "lap u"}, TypeError, "invariants"),
        (2, {"invariants": ()}, TypeError, "invariants"),
        (2, {"invariants": ("u",)}, ValueError, "invariants"),
        (2, {"invariants": ("lap u", "u_rr")}, ValueError, "invariants"),
        (2, {"invariants": ("lap u", "lap u")}, ValueError, "invariants"),
        (2, {"boundary": "zero"}, ValueError, "boundary"),
        (2, {"dtype": torch.int64}, TypeError, "dtype"),
    ],
    ids=lambda value: str(value) if isinstance(value, (str, dict)) else "",
)
def test_wrong_modules(layers, options, error, argument):
    with refuses(error, argument):
        EvolutionPDE(layers, **{"step": 0.1, **options})


def test_wrong_images():
    model = EvolutionPDE(2, step=0.1)
    wrong = [(random(1, 1, 4, 4), TypeError), (torch.zeros(4, 4), ValueError)]
    wrong += [(torch.full((1, 1, 4, 4), NAN), ValueError), ("image", TypeError)]
    wrong += [(torch.zeros(1, 1, 4, 4, device="meta"), ValueError)]
    for images, error in wrong:
        with refuses(error, "images"):
            model(images)


def test_wrong_training():
    model, images = EvolutionPDE(2, step=0.1), torch.rand(3, 1, 4, 4)
    with refuses(TypeError, "model"):
        train_evolution(torch.nn.Linear(2, 2), images, images)
    with refuses(ValueError, "first"):
        train_evolution(model, images[0], images[0])
    with refuses(ValueError, "last"):
        train_evolution(model, images, images[:2])
    with refuses(ValueError, "last"):
        train_evolution(model, images, INF * images)


def test_a_training_that_diverges():
    images = pictures(2, size=6)
    model = EvolutionPDE(2, step=0.1, dtype=F64)
    with refuses(ValueError, "lr"):
        train_evolution(model, images, images, steps=3, lr=10.0)


def test_wrong_regression():
    before = random(2, 1, 5, 5)
    after, flat = before + 1, torch.ones(2, 1, 5, 5, dtype=F64)
    wrong = [
        ((before[0], after, 0.1), ValueError, "before"),
        ((before, after[:1], 0.1), ValueError, "after"),
        ((before, after.float(), 0.1), ValueError, "after"),
        ((before, after, 0.0), ValueError, "step"),
        ((before, before, 0.1), ValueError, "after"),
        ((flat, flat + 1, 0.1), ValueError, "before"),
        ((before, NAN * after, 0.1), ValueError, "after"),
    ]
    for arguments, error, name in wrong:
        with refuses(error, name):
            regress_equation(*arguments)
    with refuses(ValueError, "invariants"):
        regress_equation(before, after, 0.1, invariants=("u_rr",))


def test_wrong_perona_malik():
    images = random(1, 1, 4, 4)
    for steps, error in ((-1, ValueError), (1.0, TypeError), (True, TypeError)):
        with refuses(error, "steps"):
            perona_malik(images, steps, contrast=1.0)
    for step, error in ((0.26, ValueError), (-0.1, ValueError), (NAN, ValueError)):
        with refuses(error, "step"):
            perona_malik(images, 1, step=step, contrast=1.0)
    for contrast, error in ((0.0, ValueError), (math.inf, ValueError), (None, TypeError)):
        with refuses(error, "contrast"):
            perona_malik(images, 1, contrast=contrast)
    with refuses(ValueError, "boundary"):
        perona_malik(images, 1, contrast=1.0, boundary="zero")
    with pytest.raises(ValueError, match="contrast"):
        perona_malik(torch.ones(1, 1, 4, 4), 1, contrast=1e-50)
    with refuses(ValueError, "images"):
        perona_malik(images[0], 1, contrast=1.0)


def test_regression_of_trained_images_and_of_steps_that_are_too_short():
    before, after = torch.rand(2, 1, 1, 8, 8, requires_grad=True)
    coefficients, left = regress_equation(before, after, 0.1)
    assert coefficients.requires_grad and 0 < left < 1
    with pytest.raises(ValueError, match="^step: "):
        regress_equation(before, after, 1e-320)
