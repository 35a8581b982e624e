"""Wrong input to mechanics, its networks and its systems is refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gdl.programs.energy_networks import (
    ForceField,
    FreePotential,
    HamiltonianNetwork,
    LagrangianNetwork,
    PairPotential,
    VectorFieldNetwork,
)
from gdl.programs.mechanics import (
    angular_momentum,
    euler_lagrange,
    forces,
    hamiltonian_field,
    momentum,
)
from gdl.programs.systems import (
    body_samples,
    double_pendulum_acceleration,
    double_pendulum_lagrangian,
    morse_potential,
    pendulum_energy,
    pendulum_field,
    pendulum_samples,
    triangle_strip,
)
from tests.sequences.common import random
from tests.test_representations import refuses

NAN, INF = float("nan"), float("inf")


def energy(state):
    return state.square().sum(-1)


def kinetic(q, v):
    return v.square().sum(-1)


def pairs(q):
    return q.square().sum((-2, -1))


def zeros(*shape):
    return torch.zeros(shape)


# Everything that takes one tensor, its argument's name and a shape that fits.
ONE = {
    "hamiltonian_field": (lambda x: hamiltonian_field(energy, x), "state", (3, 4)),
    "forces": (lambda x: forces(pairs, x), "positions", (3, 4, 2)),
    "momentum": (momentum, "p", (4, 2)),
    "pendulum_energy": (pendulum_energy, "state", (3, 2)),
    "pendulum_field": (pendulum_field, "state", (3, 2)),
    "morse_potential": (morse_potential, "positions", (3, 4, 2)),
    "VectorFieldNetwork": (VectorFieldNetwork(2), "state", (3, 4)),
    "HamiltonianNetwork": (HamiltonianNetwork(2), "state", (3, 4)),
    "HamiltonianNetwork.energy": (HamiltonianNetwork(2).energy, "state", (3, 4)),
    "LagrangianNetwork": (LagrangianNetwork(2), "state", (3, 4)),
    "LagrangianNetwork.energy": (LagrangianNetwork(2).energy, "state", (3, 4)),
    "LagrangianNetwork.mass": (LagrangianNetwork(2).mass, "q", (3, 2)),
    "PairPotential": (PairPotential(), "positions", (3, 4, 2)),
    "FreePotential": (FreePotential(4, 2), "positions", (3, 4, 2)),
    "ForceField": (ForceField(PairPotential()), "positions", (3, 4, 2)),
}
ones = pytest.mark.parametrize("name", list(ONE))
networks = pytest.mark.parametrize("name", [name for name in ONE if name[0].isupper()])

# Everything that takes two tensors of one shape, and their names.
TWO = {
    "euler_lagrange": (lambda q, v: euler_lagrange(kinetic, q, v), "q", "v", (3, 2)),
    "angular_momentum": (angular_momentum, "q", "p", (3, 4, 2)),
    "double_pendulum_lagrangian": (double_pendulum_lagrangian, "q", "v", (3, 2)),
    "double_pendulum_acceleration": (double_pendulum_acceleration, "q", "v", (3, 2)),
}
twos = pytest.mark.parametrize("name", list(TWO))


@ones
def test_one_tensor(name):
    function, argument, shape = ONE[name]
    function(random(*shape, dtype=torch.float32))
    for wrong in (None, 1.0, [0.0, 1.0], torch.zeros(shape, dtype=int), torch.zeros(shape) * 1j):
        with refuses(TypeError, argument):
            function(wrong)
    with refuses(TypeError, argument):
        function(torch.zeros(shape).to_sparse())
    with refuses(ValueError, argument):
        function(torch.tensor(1.0))
    for bad in (NAN, INF):
        x = random(*shape, dtype=torch.float32)
        x.flatten()[-1] = bad
        with refuses(ValueError, argument):
            function(x)


@networks
def test_shapes_dtypes_and_devices_of_networks(name):
    function, argument, shape = ONE[name]
    with refuses(TypeError, argument):
        function(torch.zeros(shape, dtype=torch.float64))
    with refuses(ValueError, argument):
        function(torch.zeros(shape, device="meta"))
    if name not in ("PairPotential", "ForceField"):
        with refuses(ValueError, argument):
            function(torch.zeros(*shape[:-1], shape[-1] + 1))


def test_coordinates_and_velocities_of_a_network():
    lagrangian, good = LagrangianNetwork(2).lagrangian, zeros(3, 2)
    for name, values in (("q", (None, good.double())), ("v", (None, good.double()))):
        for wrong in values:
            with refuses(TypeError, name):
                lagrangian(**{"q": good, "v": good} | {name: wrong})
    for wrong in (zeros(1, 2), zeros(2), zeros(4, 3, 2), zeros(3, 1), good * NAN):
        with refuses(ValueError, "v"):
            lagrangian(good, wrong)


@twos
def test_two_tensors(name):
    function, first, second, shape = TWO[name]
    good = random(*shape, dtype=torch.float32)
    function(good, good)
    for wrong in (None, 1.0, torch.zeros(shape, dtype=int)):
        with refuses(TypeError, first):
            function(wrong, good)
        with refuses(TypeError, second):
            function(good, wrong)
    with refuses(ValueError, first):
        function(torch.tensor(1.0), torch.tensor(1.0))
    for other in (good.double(), good[:1], good[None]):
        with refuses(ValueError, second):
            function(good, other)
    for bad in (NAN, INF):
        with refuses(ValueError, first):
            function(torch.full_like(good, bad), good)
        with refuses(ValueError, second):
            function(good, torch.full_like(good, bad))


def test_odd_states_and_dimensions():
    for size in (0, 3):
        with refuses(ValueError, "state"):
            hamiltonian_field(energy, zeros(5, size))
    with refuses(ValueError, "q"):
        euler_lagrange(kinetic, zeros(5, 0), zeros(5, 0))
    with refuses(TypeError, "q"):
        euler_lagrange(kinetic, zeros(5, 2).half(), zeros(5, 2).half())
    for d in (1, 4):
        with refuses(ValueError, "q"):
            angular_momentum(zeros(3, d), zeros(3, d))
    for function in (pendulum_energy, pendulum_field):
        with refuses(ValueError, "state"):
            function(zeros(3))


# Everything that differentiates a program, and the name of the program.
PROGRAMS = {
    "hamiltonian": lambda f: hamiltonian_field(f, torch.ones(3, 2)),
    "potential": lambda f: forces(f, torch.ones(3, 1, 2)),
    "lagrangian": lambda f: euler_lagrange(
        lambda q, v: f(q + v), torch.ones(3, 2), torch.ones(3, 2)
    ),
}
programs = pytest.mark.parametrize("name", list(PROGRAMS))


def one_each(x):
    return x.reshape(3, 2).square().sum(-1)


@programs
def test_programs_that_are_no_energy(name):
    run = PROGRAMS[name]
    with refuses(TypeError, name):
        run(lambda x: 1.0)
    wrong_shapes = (lambda x: x, lambda x: one_each(x).sum(), lambda x: one_each(x)[:, None])
    for wrong in (*wrong_shapes, lambda x: one_each(x).double()):
        with refuses(ValueError, name):
            run(wrong)
    for value in (NAN, INF):
        with refuses(ValueError, name):
            run(lambda x, value=value: one_each(x) * value)


@programs
def test_a_program_that_is_not_differentiated_is_refused(name):
    """Its gradient would be zero, silently, although the energy is not constant."""
    run, weight = PROGRAMS[name], torch.ones(3, requires_grad=True)
    detached = (
        lambda x: one_each(x.detach()),
        lambda x: one_each(x).detach(),
        lambda x: one_each(x.detach()) * weight,
        lambda x: weight * 1.0,
    )
    for program in detached:
        with refuses(ValueError, name):
            run(program)


@programs
def test_gradients_that_are_not_finite(name):
    with pytest.raises(FloatingPointError, match=name):
        PROGRAMS[name](lambda x: (one_each(x - x.detach())).sqrt())


def test_no_functions():
    with refuses(TypeError, "hamiltonian"):
        hamiltonian_field(1.0, zeros(2))
    with refuses(TypeError, "lagrangian"):
        euler_lagrange(None, zeros(2), zeros(2))
    with refuses(TypeError, "potential"):
        forces(zeros(2), zeros(3, 2))
    with refuses(TypeError, "potential"):
        ForceField(lambda q: q)


def test_singular_mass_matrices():
    q, v = random(5, 2), random(5, 2, seed=1)
    singular = {
        "linear in v": lambda q, v: (q * v).sum(-1),
        "one velocity only": lambda q, v: v[..., 0].square() - q.square().sum(-1),
        "a sum of velocities": lambda q, v: v.sum(-1).square() + q.sum(-1),
        "no velocity": lambda q, v: q.square().sum(-1),
        "nearly": lambda q, v: v.sum(-1).square() + 1e-17 * v[..., 0].square(),
    }
    for lagrangian in singular.values():
        with pytest.raises(torch.linalg.LinAlgError, match="lagrangian: .* singular for 5 of 5"):
            euler_lagrange(lagrangian, q, v)
    q[3, 0] = 0
    with pytest.raises(torch.linalg.LinAlgError, match="singular for 1 of 5"):
        euler_lagrange(lambda q, v: (q[..., :1] * v).square().sum(-1), q, v)
    # Small and indefinite masses are none of these.
    small = euler_lagrange(lambda q, v: 1e-20 * (v.square() - q.square()).sum(-1), q, v)
    assert (small + q).abs().max() < 1e-12
    saddle = euler_lagrange(lambda q, v: v[..., 0] * v[..., 1] - q[..., 0] * q[..., 1], q, v)
    assert (saddle + q).abs().max() < 1e-12


SIZED = {
    "VectorFieldNetwork": (VectorFieldNetwork, ("coordinates", "hidden")),
    "HamiltonianNetwork": (HamiltonianNetwork, ("coordinates", "hidden")),
    "LagrangianNetwork": (LagrangianNetwork, ("coordinates", "hidden")),
    "PairPotential": (PairPotential, ("hidden",)),
    "FreePotential": (FreePotential, ("particles", "dimensions", "hidden")),
}


@pytest.mark.parametrize("name", list(SIZED))
def test_sizes_and_dtypes_of_networks(name):
    kind, arguments = SIZED[name]
    good = dict.fromkeys(arguments, 2)
    assert isinstance(kind(**good), nn.Module)
    for argument in arguments:
        for wrong in (True, 1.0, "2", None):
            with refuses(TypeError, argument):
                kind(**good | {argument: wrong})
        for wrong in (0, -1):
            with refuses(ValueError, argument):
                kind(**good | {argument: wrong})
    for wrong in (torch.int64, torch.complex64, "float32"):
        with refuses(TypeError, "dtype"):
            kind(**good, dtype=wrong)


@pytest.mark.parametrize("sample", [pendulum_samples, body_samples], ids=lambda f: f.__name__)
def test_arguments_of_samples(sample):
    for wrong in (True, 1.0, None):
        with refuses(TypeError, "count"):
            sample(wrong)
        with refuses(TypeError, "seed"):
            sample(2, seed=wrong)
    for argument, values in (("count", (0, -1)), ("seed", (-1,))):
        for wrong in values:
            with refuses(ValueError, argument):
                sample(**{"count": 2} | {argument: wrong})
    with refuses(TypeError, "dtype"):
        sample(2, dtype=torch.int64)


def test_numbers_of_samples():
    for wrong in (0.0, 2.0, -1.0, NAN, INF):
        with refuses(ValueError, "highest"):
            pendulum_samples(2, highest=wrong)
    for wrong in (-0.1, NAN, INF):
        with refuses(ValueError, "noise"):
            pendulum_samples(2, noise=wrong)
    for wrong in (0.0, -1.0, NAN, INF):
        with refuses(ValueError, "spread"):
            body_samples(2, spread=wrong)
    for wrong in (None, True, "1"):
        with refuses(TypeError, "highest"):
            pendulum_samples(2, highest=wrong)
        with refuses(TypeError, "noise"):
            pendulum_samples(2, noise=wrong)
        with refuses(TypeError, "spread"):
            body_samples(2, spread=wrong)
    for make in (triangle_strip, lambda n: body_samples(2, particles=n)):
        for wrong in (1, 0, -1):
            with refuses(ValueError, "particles"):
                make(wrong)
        with refuses(TypeError, "particles"):
            make(3.0)
    with refuses(TypeError, "dtype"):
        triangle_strip(3, dtype=torch.int64)


def test_bodies_at_one_place():
    q = triangle_strip(3).repeat(4, 1, 1)
    q[2, 0] = q[2, 1]
    with refuses(ValueError, "positions"):
        morse_potential(q)
    with refuses(ValueError, "positions"):
        forces(morse_potential, q)
