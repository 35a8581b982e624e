"""Charged particles: the force is the gradient, what is conserved, the data sets, the model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gdl.equivariance import equivariance_error
from gdl.geometry import leapfrog, random_rotations
from gdl.rotations import nbody
from gdl.rotations.egnn import EGNN, GNN
from gdl.rotations.nbody import (
    NBody,
    ParticleModel,
    charged_particles,
    published_particles,
    simulate,
    turned,
)
from gdl.training import fit, predict
from tests.test_representations import close, refuses, tensor

F64 = torch.float64
softenings = pytest.mark.parametrize("softening", [0.0, 0.2, 1.0])


@pytest.fixture(scope="module")
def start() -> NBody:
    return charged_particles(40, steps=1, dtype=F64)


def given(start: NBody) -> tuple[Tensor, Tensor, Tensor]:
    return start.position, start.velocity, start.charge


# --- energy and force ---------------------------------------------------------------------------


def coulomb_energy(x: Tensor, q: Tensor, softening: float = 1.0, strength: float = 1.0) -> Tensor:
    """The potential energy, pair by pair."""
    pairs = [(i, j) for i in range(x.shape[-2]) for j in range(i)]
    apart = [(x[..., i, :] - x[..., j, :]).square().sum(-1) + softening**2 for i, j in pairs]
    products = [q[..., i] * q[..., j] for i, j in pairs]
    return strength * sum(p / s.sqrt() for p, s in zip(products, apart, strict=True))


def coulomb_gradient(x: Tensor, q: Tensor, softening: float = 1.0, strength: float = 1.0) -> Tensor:
    x = x.detach().requires_grad_()
    energy = coulomb_energy(x, q, softening, strength).sum()
    return torch.autograd.grad(energy, x)[0]


@softenings
@pytest.mark.parametrize("strength", [1.0, 2.5])
def test_forces_are_those_of_the_energy(start, softening, strength):
    """Both steps of a leapfrog, with the gradient of automatic differentiation."""
    x, v, q = given(start)
    options = {"softening": softening, "strength": strength}
    found = simulate(x, v, q, steps=2, step=0.01, **options)
    wanted = leapfrog(lambda x: coulomb_gradient(x, q, **options), x, v, step=0.01, steps=2)
    for ours, theirs in zip(found, wanted, strict=True):
        assert close(ours, theirs, 1e-12)
    assert (found[1][-1] - v).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_one_particle_and_particles_that_meet(dtype):
    alone, rest = torch.ones(1, 3, dtype=dtype), torch.zeros(1, 3, dtype=dtype)
    assert not simulate(alone, rest, alone[:, 0], steps=3, step=0.1, softening=0)[1].any()
    x = torch.ones(2, 3, dtype=dtype, requires_grad=True)
    end = simulate(x, torch.zeros_like(x), x[:, 0].detach(), steps=3, step=0.1)[0][-1]
    assert torch.isfinite(torch.autograd.grad(end.sum(), x)[0]).all()


# --- motion -------------------------------------------------------------------------------------


def energies(x: Tensor, v: Tensor, q: Tensor, softening: float) -> Tensor:
    kinetic = v.square().sum((-2, -1)) / 2
    return kinetic + coulomb_energy(x, q.expand(x.shape[:-1]), softening=softening)


def energy_error(start: NBody, steps: int, softening: float = 0.5) -> Tensor:
    x, v, q = given(start)
    xs, vs = simulate(x, v, q, steps=steps, step=1 / steps, softening=softening)
    found = energies(xs, vs, q, softening)
    return (found - found[0]).abs().amax(0)


def drift(x: Tensor, v: Tensor) -> tuple[float, float]:
    """How much momentum and angular momentum change, for states (steps, S, n, 3)."""
    momentum, turning = v.sum(-2), torch.linalg.cross(x, v).sum(-2)
    return tuple((p - p[0]).abs().max().item() for p in (momentum, turning))


@pytest.mark.parametrize("softening", [0.2, 1.0])
def test_momentum_and_angular_momentum_are_conserved(start, softening):
    x, v = simulate(*given(start), steps=1000, every=50, softening=softening)
    assert max(drift(x, v)) < 1e-13
    assert (v[-1] - v[0]).abs().max() > 0.1


def no_reaction(x: Tensor, q: Tensor) -> Tensor:
    """The broken law: only positive charges feel the others."""
    return coulomb_gradient(x, q) * (q > 0)[..., None]


def off_the_line(x: Tensor, q: Tensor) -> Tensor:
    """The broken law: forces that are not along the line of the pair; reaction is kept."""
    apart = x[..., :, None, :] - x[..., None, :, :]
    swirl = torch.linalg.cross(apart, torch.ones_like(apart))
    return (swirl * (q[..., :, None] * q[..., None, :])[..., None]).sum(-2)


def euler(gradient, x: Tensor, v: Tensor, *, step: float, steps: int) -> tuple[Tensor, Tensor]:
    xs, vs = [x], [v]
    for _ in range(steps):
        x, v = x + step * v, v - step * gradient(x)
        xs.append(x)
        vs.append(v)
    return torch.stack(xs), torch.stack(vs)


def test_broken_laws_lose_what_is_conserved(start):
    x, v, q = given(start)
    one_sided = euler(lambda x: no_reaction(x, q), x, v, step=1e-2, steps=100)
    swirling = euler(lambda x: off_the_line(x, q), x, v, step=1e-2, steps=100)
    assert drift(*one_sided)[0] > 0.1
    momentum, turning = drift(*swirling)
    assert momentum < 1e-12 and turning > 0.1


def test_the_energy_error_is_of_second_order(start):
    errors = [energy_error(start, steps).max().item() for steps in (100, 200, 400)]
    assert errors[0] < 1e-3
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert coarse / fine == pytest.approx(4, rel=0.05)


def test_euler_loses_more_energy(start):
    x, v, q = given(start)
    xs, vs = euler(lambda x: coulomb_gradient(x, q, softening=0.5), x, v, step=1e-2, steps=100)
    found = energies(xs, vs, q, 0.5)
    lost = (found - found[0]).abs().amax(0)
    assert lost.max() > 1e-2 and lost.max() > 100 * energy_error(start, 100).max()


def test_systems_do_not_see_each_other(start):
    x, v, q = given(start)
    together = simulate(x, v, q, steps=20, step=0.01)[0]
    for k in (0, 7):
        assert close(simulate(x[k], v[k], q[k], steps=20, step=0.01)[0], together[:, k], 1e-14)


def test_the_motion_turns_with_the_frame_and_runs_backwards(start):
    x, v, q = given(start)
    R = random_rotations(40, seed=1, reflections=True)
    options = {"steps": 200, "step": 5e-3, "every": 200}
    xs, vs = simulate(x, v, q, **options)
    other, _ = simulate(x @ R.mT + 1, v @ R.mT, q, **options)
    assert close(other[-1], xs[-1] @ R.mT + 1, 1e-12)
    back, _ = simulate(xs[-1], -vs[-1], q, **options)
    assert close(back[-1], x, 1e-12)


# --- data sets ----------------------------------------------------------------------------------


def test_the_target_is_the_simulated_end():
    data = charged_particles(6, bodies=3, seed=1, steps=50, step=0.01, softening=0.3, dtype=F64)
    options = {"steps": 50, "step": 0.01, "softening": 0.3}
    xs, _ = simulate(data.position, data.velocity, data.charge, **options)
    assert torch.equal(data.target, xs[-1])
    assert (data.target - data.position).abs().mean() > 0.1
    x, v, q = data.states.split([3, 3, 1], dim=-1)
    assert torch.equal(x, data.position) and torch.equal(v, data.velocity)
    assert torch.equal(q[..., 0], data.charge)
    single = charged_particles(6, bodies=3, seed=1, steps=50, step=0.01, softening=0.3)
    assert single.target.dtype == torch.float32
    assert torch.equal(single.target, data.target.float())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_start_is_distributed_as_said(seed):
    data = charged_particles(4000, seed=seed, steps=1, dtype=F64)
    n = 4000 * 5
    assert close(data.velocity.norm(dim=-1), torch.full((4000, 5), 0.5, dtype=F64), 1e-14)
    for vectors, variance in ((data.position, 1.0), (2 * data.velocity, 1 / 3)):
        flat = vectors.reshape(n, 3)
        assert flat.mean(0).abs().max() < 5 * math.sqrt(variance / n)
        assert ((flat.T @ flat) / n - variance * torch.eye(3)).abs().max() < 5 * math.sqrt(2 / n)
    assert set(data.charge.unique().tolist()) == {-1.0, 1.0}
    assert data.charge.mean().abs() < 5 / math.sqrt(n)
    for vectors in (data.position, 2 * data.velocity):
        correlation = (data.charge[..., None] * vectors).mean((0, 1))
        assert correlation.abs().max() < 5 / math.sqrt(n)


def test_the_seed_fixes_the_data_and_nothing_else():
    state = torch.get_rng_state()
    data = [charged_particles(2, seed=seed, steps=3).states for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(data[0], data[1]) and not torch.equal(data[0], data[2])


# The first particle of a system: frame 30, its velocity, frame 40. Recorded from the program of
# github.com/vgsatorras/egnn, generate_dataset.py --num-train 10000 --seed 43 --sufix small.
RECORDED = {
    "train": [
        [2.989116317166655, 1.769370120446526, -1.1712942795381607],
        [1.1338110406668451, 0.39568061256371995, -0.2266065730886864],
        [4.1654998367653935, 2.191309138415654, -1.3826188023600456],
    ],
    "valid": [
        [-0.19507483294519706, 2.29160697344111, -0.33008609998675364],
        [-0.061465481195315835, 1.3009848702605398, -0.3176459986773655],
        [-0.38497564467572165, 3.534515648713477, -0.6500929093601948],
    ],
    "test": [
        [1.7298977492711582, 0.7635153613745032, 0.3273713700122135],
        [0.1671993817871212, 0.7315009774494371, -0.8391265006667794],
        [2.202854589119615, 0.9621634480550973, -0.679564197523353],
    ],
}
CHARGES = {"train": [-1, 1, -1, -1, -1], "valid": [-1, 1, -1, -1, -1], "test": [1, 1, -1, -1, 1]}


@pytest.mark.parametrize("split", list(RECORDED))
def test_the_published_data_are_drawn_again(split):
    data = published_particles(split, 1, dtype=F64)
    assert data.charge[0].tolist() == CHARGES[split]
    found = torch.stack([data.position, data.velocity, data.target])[:, 0, 0]
    assert close(found, tensor(RECORDED[split]), 1e-9)


def test_more_published_systems_begin_with_those_of_fewer():
    few, more = (published_particles("train", k) for k in (1, 3))
    assert torch.allclose(few.target, more.target[:1], atol=1e-6)
    assert few.states.shape == (1, 5, 7) and few.target.dtype == torch.float32


def test_published_forces_are_cut_off(monkeypatch):
    # Two attracting charges almost at the same place: the force is 10^4, of which 100 remain.
    x, v = tensor([[[0.0, 0.0, 0.0], [0.01, 0.0, 0.0]]]), torch.zeros(1, 2, 3, dtype=F64)
    monkeypatch.setattr(nbody, "_published_start", lambda *_: (x, v, tensor([[1.0, -1.0]])))
    monkeypatch.setattr(nbody, "PUBLISHED_INPUT", 1)
    monkeypatch.setattr(nbody, "PUBLISHED_TARGET", 2)
    data = published_particles("train", 1, dtype=F64)
    assert data.velocity[0, :, 0].tolist() == pytest.approx([0.1, -0.1])
    assert data.position[0, :, 0].tolist() == pytest.approx([1e-4, 0.01 - 1e-4])
    assert data.target[0, :, 0].tolist() == pytest.approx([3e-4, 0.01 - 3e-4])


# --- learning -----------------------------------------------------------------------------------

OPTIONS = {"edge_attributes": 1, "velocities": True}


@pytest.fixture(scope="module")
def task() -> NBody:
    return charged_particles(30, steps=50, step=0.02)


def make(network: type[nn.Module], augment: bool = False, dtype: torch.dtype = torch.float32):
    torch.manual_seed(0)
    return ParticleModel(network(1, 8, 2, **OPTIONS, dtype=dtype), augment=augment)


@pytest.mark.parametrize("network", [EGNN, GNN])
def test_the_model_is_the_network_on_each_system(network, task):
    model = make(network)
    assert model(task.states).shape == task.target.shape
    for k in (0, 3):
        x, v, q = task.position[k], task.velocity[k], task.charge[k]
        pairs = [(j, i) for i in range(5) for j in range(5) if i != j]
        products = torch.stack([q[j] * q[i] for j, i in pairs])[:, None]
        edges = torch.tensor(pairs).T
        _, later = model.network(v.square().sum(1, keepdim=True), x, edges, products, v)
        assert torch.allclose(model(task.states)[k], later, atol=1e-6)


def act(R: Tensor, x: Tensor) -> Tensor:
    return turned(x, R) if x.shape[-1] == 7 else x @ R.T


def test_the_model_turns_with_the_frame():
    states = charged_particles(5, steps=1, dtype=F64).states
    elements = random_rotations(4, seed=0, reflections=True)
    errors = [
        equivariance_error(make(network, dtype=F64).eval(), states, act, act, elements)
        for network in (EGNN, GNN)
    ]
    assert errors[0] < 1e-12 and errors[1] > 1e-2


def test_turned_states_are_a_left_action(task):
    R, S = random_rotations(2, seed=0, reflections=True, dtype=torch.float32)
    once = turned(turned(task.states, S), R)
    assert torch.allclose(once, turned(task.states, R @ S), atol=1e-6)
    assert torch.equal(once[..., 6], task.charge)
    assert not torch.allclose(once, turned(task.states, S @ R), atol=1e-2)
    each = random_rotations(30, seed=1, dtype=torch.float32)
    several = turned(task.states, each)
    assert torch.allclose(several[3], turned(task.states[3:4], each[3])[0], atol=1e-6)


def test_augmentation_is_a_turned_input_with_a_turned_target(task):
    model = make(GNN, augment=True)
    torch.manual_seed(1)
    loss = (model(task.states) - task.target).square().mean()
    torch.manual_seed(1)
    R = random_rotations(30, dtype=torch.float32)
    assert not torch.equal(R[0], R[1])
    expected = model.eval()(turned(task.states, R)) - task.target @ R.mT
    assert loss.item() == pytest.approx(expected.square().mean().item(), rel=1e-5)
    assert not torch.allclose(model.train()(task.states), model.eval()(task.states), atol=1e-3)


def test_augmentation_leaves_an_equivariant_network_and_eval_mode_alone(task):
    model, plain = make(EGNN, augment=True), make(EGNN)
    assert torch.allclose(model.train()(task.states), plain(task.states), atol=1e-5)
    model, plain = make(GNN, augment=True), make(GNN)
    assert torch.equal(model.eval()(task.states), plain(task.states))


@pytest.mark.parametrize("network", [EGNN, GNN])
@pytest.mark.parametrize("augment", [False, True])
def test_the_task_can_be_learned(network, augment, task):
    model = make(network, augment)
    history = fit(
        model, task.states, task.target, steps=60, lr=1e-2, batch_size=30,
        loss=nn.functional.mse_loss,
    )  # fmt: skip
    assert history.step_losses[-1] < 0.5 * history.step_losses[0]
    assert predict(model, task.states).shape == task.target.shape


# --- what they refuse ---------------------------------------------------------------------------

X, V, Q = torch.eye(3), torch.zeros(3, 3), torch.ones(3)
PARTICLES = [
    (TypeError, "position", {"position": X.tolist()}),
    (TypeError, "position", {"position": X.long()}),
    (ValueError, "position", {"position": X[0]}),
    (ValueError, "position", {"position": X[:0]}),
    (ValueError, "position", {"position": X * math.nan}),
    (TypeError, "charges", {"charges": None}),
    (TypeError, "charges", {"charges": Q.long()}),
    (ValueError, "charges", {"charges": Q[:2]}),
    (ValueError, "charges", {"charges": Q[:, None]}),
    (ValueError, "charges", {"charges": Q[:1]}),
    (ValueError, "charges", {"charges": Q.double()}),
    (ValueError, "charges", {"charges": Q * math.inf}),
    (TypeError, "softening", {"softening": None}),
    (TypeError, "softening", {"softening": False}),
    (TypeError, "softening", {"softening": torch.tensor(0.0)}),
    (ValueError, "softening", {"softening": -0.1}),
    (ValueError, "softening", {"softening": math.nan}),
    (ValueError, "softening", {"softening": math.inf}),
    (ValueError, "softening", {"position": torch.zeros(3, 3), "softening": 0.0}),
    (TypeError, "strength", {"strength": "1"}),
    (ValueError, "strength", {"strength": 0.0}),
    (ValueError, "strength", {"strength": math.nan}),
]


@pytest.mark.parametrize(("error", "argument", "change"), PARTICLES)
def test_particles_that_are_none(error, argument, change):
    with refuses(error, argument):
        simulate(**{"position": X, "velocity": V, "charges": Q, "steps": 4, **change})


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (ValueError, "position", {"position": X * math.nan}),
        (TypeError, "position", {"position": None}),
        (ValueError, "charges", {"charges": Q[:2]}),
        (ValueError, "momentum", {"velocity": V[:2]}),
        (ValueError, "softening", {"softening": -1.0}),
        (ValueError, "strength", {"strength": -1.0}),
        (ValueError, "steps", {"steps": -1}),
        (ValueError, "every", {"every": 3}),
        (ValueError, "step", {"step": 0.0}),
    ],
)
def test_motions_that_are_none(error, argument, change):
    with refuses(error, argument):
        simulate(**{"position": X, "velocity": V, "charges": Q, "steps": 4, **change})


def test_a_collision_without_softening_is_stopped():
    x, v = tensor([[0.0], [1e-200]]), torch.zeros(2, 1, dtype=F64)
    with refuses(ValueError, "softening"):
        simulate(x, v, tensor([1.0, -1.0]), softening=0.0)
    with pytest.raises(FloatingPointError, match="step"):
        simulate(1e160 * x, v, tensor([1e300, -1e300]), softening=0.0)


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("count", [0, -1, 1.5, True, None]),
        ("bodies", [0, 2.0, True]),
        ("seed", [-1, 0.5, None, True]),
        ("steps", [0, -1, 1.5]),
        ("step", [0.0, math.nan, "1"]),
        ("softening", [-1.0, None]),
        ("strength", [0.0, None]),
        ("dtype", [torch.int64, None, "float32"]),
    ],
)
def test_data_sets_that_are_none(argument, values):
    for value in values:
        with refuses((TypeError, ValueError), argument):
            charged_particles(**{"count": 2, "steps": 2, argument: value})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("split", "all"), ("split", None), ("count", 0), ("count", 10001), ("count", 1.5),
        ("dtype", torch.int64),
    ],
)  # fmt: skip
def test_published_data_that_are_none(argument, value):
    with refuses((TypeError, ValueError), argument):
        published_particles(**{"split": "train", "count": 1, argument: value})


def test_models_and_states_that_are_none(task):
    with refuses(TypeError, "network"):
        ParticleModel(lambda x: x)
    with refuses(TypeError, "augment"):
        ParticleModel(nn.Identity(), augment=1)
    model, eye = make(EGNN), torch.eye(3)
    bad = [task.states[0], task.states[..., :6], task.states[:0], task.states * math.nan]
    for states in bad:
        with refuses(ValueError, "states"):
            model(states)
        with refuses(ValueError, "states"):
            turned(states, eye)
    with refuses(TypeError, "states"):
        model(task.states.long())
    for rotations in (2 * eye, eye.double(), eye[:2], eye.expand(2, 3, 3), eye * math.nan):
        with refuses(ValueError, "rotations"):
            turned(task.states, rotations)
