"""The network of learned energies: its stages, its symmetry, its training."""

import itertools
import math

import numpy as np
import pytest
import torch

from gdl.diffusion.filters import MOVES, dct_filters, move
from gdl.diffusion.potentials import influence_knots
from gdl.diffusion.quality import psnr
from gdl.diffusion.tnrd import TNRD, denoise, random_crops, train_tnrd
from gdl.equivariance import equivariance_error
from tests.diffusion.test_filters import matrix, random


def network(stages=2, seed=0, spread=0.05, **arguments):
    """A network in float64 with random weights, such that all terms matter."""
    arguments = {"size": 3, "filters": 3, "knots": 7, "dtype": torch.float64} | arguments
    net = TNRD(stages, **arguments)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(spread * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return net


def images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).double()


def act(g, x):
    return move(x, *g)


VARIANTS = list(itertools.product((None, "C4", "D4"), ("reflect", "circular")))


@pytest.mark.parametrize(("symmetry", "boundary"), VARIANTS, ids=str)
def test_a_stage_is_a_step_along_the_gradient_of_its_energy(symmetry, boundary):
    net = network(symmetry=symmetry, boundary=boundary)
    f = images(2, 1, 6, 7)
    path = net.path(f)
    assert path.shape == (3, 2, 1, 6, 7)
    assert torch.equal(path[0], f)
    assert torch.equal(path[-1], net(f))
    for stage, (before, after) in enumerate(itertools.pairwise(path.detach())):
        u = before.clone().requires_grad_()
        (slope,) = torch.autograd.grad(net.energy(stage, u, f).sum(), u)
        assert torch.allclose(after, before - slope, atol=1e-12)
        assert slope.abs().max() > 0.05


def test_the_energy_is_the_sum_of_its_terms():
    """Responses by the matrix of NumPy, the integral by many trapezia."""
    net = network(1).requires_grad_(False)
    u, f = images(1, 1, 5, 6), images(1, 1, 5, 6, seed=1)
    A = matrix(net.filters(0), 5, 6, "reflect")
    responses = (A @ u.flatten()).reshape(3, -1).numpy()
    knots = influence_knots(7, 1.0, dtype=torch.float64).numpy()
    total = net.fidelity[0].item() / 2 * float((u - f).square().sum())
    for z, values in zip(responses, net.influences(0).numpy(), strict=True):
        for x in z:
            points = np.linspace(0, x, 20001)
            total += np.trapezoid(np.interp(points, knots, values), points)
    assert float(net.energy(0, u, f)) == pytest.approx(total, abs=1e-6)


@pytest.mark.parametrize("boundary", ["reflect", "circular"])
def test_started_linear_it_is_linear_diffusion(boundary):
    arguments = {"start": "linear", "reach": 4.0, "fidelity": 0.1, "dtype": torch.float64}
    net = TNRD(3, size=3, boundary=boundary, **arguments)
    f = images(1, 1, 5, 6)
    mode = "wrap" if boundary == "circular" else "reflect"
    A = matrix(dct_filters(3, dtype=torch.float64), 5, 6, mode)
    step = torch.eye(30, dtype=torch.float64) - A.T @ A / 8
    u = f.flatten()
    for _ in range(3):
        u = step @ u - 0.1 * (u - f.flatten())
    assert torch.allclose(net(f).flatten(), u, atol=1e-12)


def test_started_as_student_it_is_descent_of_fields_of_experts():
    """width^2 / 2 log(1 + (A u / width)^2) / channels by autograd; knots are close."""
    net = TNRD(1, size=3, knots=4001, width=0.2, fidelity=0.1, dtype=torch.float64)
    u, f = images(1, 1, 5, 6).requires_grad_(), images(1, 1, 5, 6, seed=1)
    A = matrix(dct_filters(3, dtype=torch.float64), 5, 6, "reflect")
    experts = 0.02 * torch.log1p((A @ u.flatten() / 0.2).square()).sum() / 8
    (slope,) = torch.autograd.grad(experts + 0.05 * (u - f).square().sum(), u)
    assert torch.allclose(net.gradient(0, u, f), slope, atol=1e-5)


def test_energy_falls_along_small_steps():
    net = network(1)
    with torch.no_grad():
        net.values.mul_(0.2)
    f = images(1, 1, 8, 8)
    u, energies = f, []
    for _ in range(8):
        energies.append(net.energy(0, u, f).item())
        u = (u - net.gradient(0, u, f)).detach()
    assert all(b < a for a, b in itertools.pairwise(energies))


@pytest.mark.parametrize("boundary", ["reflect", "circular"])
@pytest.mark.parametrize("symmetry", MOVES)
def test_tied_filters_commute_with_moves(symmetry, boundary):
    f = images(2, 1, 6, 7)
    net = network(symmetry=symmetry, boundary=boundary)
    assert equivariance_error(net, f, act, act, MOVES[symmetry]) < 1e-12
    assert net.channels == 3 * len(MOVES[symmetry]) == len(net.filters(0)) == len(net.influences(0))
    untied = network(boundary=boundary)
    assert equivariance_error(untied, f, act, act, MOVES[symmetry][1:]) > 1e-3
    if symmetry == "C4":
        assert equivariance_error(net, f, act, act, MOVES["D4"][4:]) > 1e-3


def tied_cosines(odd=True, equal=True):
    """All cosines of side 3, phi_kl with the same values as phi_lk, and odd."""
    net = TNRD(2, size=3, knots=7, dtype=torch.float64)
    values = 0.1 * random(2, 3, 3, 7)
    if equal:
        values = values + values.transpose(1, 2)
    if odd:
        values = values - values.flip(-1)
    with torch.no_grad():
        net.values.copy_(values.flatten(1, 2)[:, 1:])
    return net


def test_cosines_commute_with_moves_if_phi_is_odd_and_the_same_for_kl_and_lk():
    f = images(2, 1, 6, 6)

    def error(moves, **arguments):
        return equivariance_error(tied_cosines(**arguments), f, act, act, moves)

    assert error(MOVES["D4"]) < 1e-12
    assert error(MOVES["D4"], odd=False) > 1e-3
    assert error(MOVES["C4"], equal=False) > 1e-3
    half_turns_and_flips = [(2, False), (0, True), (2, True)]
    assert error(half_turns_and_flips, equal=False) < 1e-12


def test_shifts_commute_on_a_torus():
    net, f = network(boundary="circular"), images(1, 1, 6, 7)

    def shift(g, x):
        return x.roll(g, (2, 3))

    assert equivariance_error(net, f, shift, shift, [(1, 0), (2, 3)]) < 1e-12
    assert equivariance_error(network(), f, shift, shift, [(1, 0)]) > 1e-3


def test_gradients_are_those_of_finite_differences():
    net, f = network(symmetry="C4", filters=1), images(1, 1, 4, 5).requires_grad_()
    names = [name for name, _ in net.named_parameters()]

    def call(noisy, *weights):
        return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), noisy)

    assert torch.autograd.gradcheck(call, (f, *net.parameters()))


def test_parameters_and_copies():
    net = TNRD(3, size=5, filters=12)
    assert sum(p.numel() for p in net.parameters()) == 3 * (12 * (24 + 31) + 1)
    assert TNRD(1).coefficients.shape == (1, 24, 24)
    assert TNRD(1, symmetry="D4").coefficients.shape == (1, 8, 24)
    low = TNRD(1, size=3, filters=2).filters(0)
    assert torch.allclose(low, dct_filters(3)[[0, 2]], atol=1e-6)
    other = TNRD(3, size=5, filters=12, start="linear")
    other.load_state_dict(net.state_dict())
    f = images(1, 1, 9, 9).float()
    assert torch.equal(net(f), other(f))
    assert net(f).dtype == torch.float32
    norms = network().filters(1).flatten(1).norm(dim=1)
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-12)
    assert TNRD(2, size=3, device="meta")(torch.zeros(1, 1, 5, 5, device="meta")).shape[3] == 5
    assert "12 in 12 channels" in repr(net)


def test_constants_stay():
    constant = torch.full((1, 1, 6, 6), 0.4, dtype=torch.float64)
    net = TNRD(2, size=3, dtype=torch.float64)
    assert torch.allclose(net(constant), constant, atol=1e-12)
    assert (network()(constant) - constant).abs().max() > 1e-3


@pytest.mark.parametrize("shape", [(40, 23), (5, 61), (16, 16)], ids=str)
@pytest.mark.parametrize("tile", [1, 7, 16, 100])
def test_tiles_give_the_whole_image(shape, tile):
    if tile == 1:
        shape = tuple(n // 3 + 3 for n in shape)
    net, noisy = network(size=5, filters=3), images(2, 1, *shape)
    assert torch.allclose(denoise(net, noisy, tile=tile), net(noisy), atol=1e-12)


def test_a_narrower_margin_would_not_do():
    """The network sees stages (size - 1) pixels far, and no farther."""
    net, noisy = network(size=5), images(1, 1, 21, 21)
    changed = noisy.clone()
    changed[0, 0, 10, 10] += 0.1
    rows = (net(noisy) - net(changed)).abs().amax((0, 1, 3)).nonzero().flatten()
    assert (rows.min(), rows.max()) == (10 - 8, 10 + 8)


def test_crops_are_in_their_pictures_and_all_places_occur():
    pictures = [torch.arange(30.0).reshape(1, 1, 5, 6), 100 + torch.arange(16.0).view(1, 1, 4, 4)]
    crops = random_crops(pictures, 300, 3)
    corners = set(crops[:, 0, 0, 0].tolist())
    wanted = {6 * r + c for r in range(3) for c in range(4)}
    assert corners == wanted | {100 + 4 * r + c for r in range(2) for c in range(2)}
    for crop in crops[:, 0]:
        width = 6 if crop[0, 0] < 100 else 4
        offsets = width * torch.arange(3.0)[:, None] + torch.arange(3.0)
        assert torch.equal(crop - crop[0, 0], offsets)
    assert torch.equal(crops, random_crops(pictures, 300, 3))
    assert not torch.equal(crops, random_crops(pictures, 300, 3, seed=1))


def test_training_is_reproducible_and_removes_noise():
    """Discs, which training has not seen at these places."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    discs = torch.stack(
        [
            ((y - a).square() + (x - b).square() < r * r).float() * 0.8
            for a, b, r in [(10, 12, 7), (20, 9, 5), (16, 20, 9), (12, 16, 6)]
        ]
    )[:, None]
    nets = [TNRD(2, size=3, filters=4) for _ in range(2)]
    histories = [train_tnrd(net, discs[:3], steps=60, crop=24, crops=20, seed=5) for net in nets]
    assert histories[0].step_losses == histories[1].step_losses
    assert len(histories[0].step_losses) == 60
    for p, q in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(p, q)
    noise = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    noisy = discs[3:] + 25 / 255 * noise
    with torch.no_grad():
        untrained, trained = TNRD(2, size=3, filters=4)(noisy), nets[0](noisy)
    assert psnr(trained, discs[3:]) > psnr(untrained, discs[3:]) + 1


BAD = {
    "stages": ({"stages": 0}, ValueError),
    "a bool": ({"stages": True}, TypeError),
    "even size": ({"size": 4}, ValueError),
    "filters": ({"filters": 25}, ValueError),
    "no filters": ({"filters": 0, "symmetry": "C4"}, ValueError),
    "knots": ({"knots": 30}, ValueError),
    "reach": ({"reach": 0.0}, ValueError),
    "symmetry": ({"symmetry": "C8"}, ValueError),
    "boundary": ({"boundary": "zero"}, ValueError),
    "fidelity": ({"fidelity": math.nan}, ValueError),
    "start": ({"start": "cubic"}, ValueError),
    "width": ({"width": -1.0}, ValueError),
    "seed": ({"seed": 1.5}, TypeError),
    "dtype": ({"dtype": torch.int64}, TypeError),
}


@pytest.mark.parametrize("kind", BAD)
def test_network_refuses_bad_sizes(kind):
    arguments, error = BAD[kind]
    with pytest.raises(error):
        TNRD(**({"stages": 1} | arguments))


BAD_IMAGES = {
    "two channels": (torch.zeros(1, 2, 6, 6), ValueError),
    "flat": (torch.zeros(6, 6), ValueError),
    "small": (torch.zeros(1, 1, 6, 2), ValueError),
    "NaN": (torch.full((1, 1, 6, 6), math.nan), ValueError),
    "float64": (torch.zeros(1, 1, 6, 6).double(), TypeError),
    "whole numbers": (torch.zeros(1, 1, 6, 6).long(), TypeError),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_network_refuses_bad_images(kind):
    noisy, error = BAD_IMAGES[kind]
    for call in (TNRD(1), lambda x: denoise(TNRD(1), x)):
        with pytest.raises(error, match="images"):
            call(noisy)


def test_network_names_overflows_and_bad_calls():
    net = TNRD(3, size=3)
    with torch.no_grad():
        net.fidelity.fill_(1e30)
    with pytest.raises(ValueError, match="overflow"):
        net(images(1, 1, 5, 5).float())
    u = torch.zeros(1, 1, 5, 5)
    with pytest.raises(ValueError, match="stage"):
        net.energy(3, u, u)
    with pytest.raises(ValueError, match="expected shape"):
        net.energy(0, u, u[..., :1])
    with pytest.raises(ValueError, match="expected shape"):
        net.gradient(0, u, u[..., :1])
    with pytest.raises(TypeError, match="model"):
        denoise(torch.nn.Identity(), u)
    with pytest.raises(ValueError, match="boundary"):
        denoise(TNRD(1, boundary="circular"), u)
    with pytest.raises(ValueError, match="tile"):
        denoise(net, u, tile=0)


def test_training_refuses_bad_pictures():
    net = TNRD(1, size=3)
    for pictures in ([], torch.zeros(1, 2, 9, 9), [torch.zeros(9, 9)]):
        with pytest.raises(ValueError, match="pictures"):
            train_tnrd(net, pictures)
    with pytest.raises(ValueError, match="size"):
        train_tnrd(net, torch.zeros(1, 1, 9, 9), crop=10)
    with pytest.raises(ValueError, match="sigma"):
        train_tnrd(net, torch.zeros(1, 1, 9, 9), crop=9, sigma=0.0)
    with pytest.raises(ValueError, match="steps"):
        train_tnrd(net, torch.zeros(1, 1, 9, 9), crop=9, steps=1)


@pytest.mark.parametrize("seed", [-1, 2**70])
def test_seeds_out_of_range(seed):
    for call in (
        lambda: TNRD(1, size=3, seed=seed),
        lambda: random_crops(torch.rand(1, 1, 5, 5), 1, 3, seed),
    ):
        with pytest.raises(ValueError, match="^seed: expected 0"):
            call()


@pytest.mark.parametrize("symmetry", [None, "D4"])
def test_under_autocast_it_computes_in_the_dtype_of_its_weights(symmetry):
    net, noisy = TNRD(2, size=3, symmetry=symmetry), torch.rand(1, 1, 7, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = net(noisy)
    assert torch.equal(rounded, net(noisy))
