"""Energies and forces of molecules: invariance, gradients, wrong input; and the geometries."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor, nn

from gdl.data import molecules
from gdl.equivariance import equivariance_error
from gdl.geometry import random_rotations
from gdl.rotations import CloudEnergy, EnergyAndForces, TensorFieldNetwork, elastic_energy

F64 = torch.float64
REST = molecules()["ethanol"][1]


def shaken(count: int, seed: int = 0) -> Tensor:
    noise = torch.randn(count, *REST.shape, generator=torch.Generator().manual_seed(seed))
    return REST + 0.1 * noise.double()


def turn_forces(R: Tensor, both: Tensor) -> Tensor:
    forces = both[:, 1:].unflatten(1, (-1, 3)) @ R.T
    return torch.cat([both[:, :1], forces.flatten(1)], 1)


class Springs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return elastic_energy(x, REST.to(x))


def tensor_field(features: Tensor) -> CloudEnergy:
    torch.manual_seed(0)
    options = {"harmonics": 1, "layers": 2, "radius": 5.0, "dtype": features.dtype}
    network = TensorFieldNetwork(f"{features.shape[1]}x0e", "1x0e", "4x0e + 2x1o", **options)
    return CloudEnergy(network, features)


# --- the reference energy ------------------------------------------------------------------------


def test_the_energy_is_zero_at_rest_and_positive_elsewhere():
    energies = elastic_energy(torch.cat([REST[None], shaken(5)]), REST)
    assert float(energies[0]) == 0.0
    assert bool((energies[1:] > 1e-3).all())


def test_the_energy_by_hand():
    rest = torch.tensor([[0.0, 0, 0], [1, 0, 0]], dtype=F64)
    found = elastic_energy(1.5 * rest, rest, stiffness=2.0)
    assert float(found) == pytest.approx((1 - torch.tensor(-1.0, dtype=F64).exp()) ** 2)


def test_the_energy_does_not_know_the_frame():
    x = shaken(3)
    for R in random_rotations(3, seed=0, reflections=True):
        moved = elastic_energy(x @ R.T + 1.0, REST)
        assert torch.allclose(moved, elastic_energy(x, REST), atol=1e-12)
    assert not torch.allclose(elastic_energy(1.1 * x, REST), elastic_energy(x, REST), atol=1e-3)


# --- forces --------------------------------------------------------------------------------------


def test_forces_are_minus_the_slope():
    x, step = shaken(2), 1e-5
    both = EnergyAndForces(Springs())(x)
    for atom, axis in [(0, 0), (3, 1), (8, 2)]:
        moved = torch.zeros_like(x)
        moved[:, atom, axis] = step
        slope = (elastic_energy(x + moved, REST) - elastic_energy(x - moved, REST)) / (2 * step)
        assert torch.allclose(both[:, 1 + 3 * atom + axis], -slope, atol=1e-8)


def test_forces_turn_and_sum_to_zero():
    features = torch.eye(9, dtype=F64)[:, :3]
    model = EnergyAndForces(tensor_field(features))
    rotations = random_rotations(3, seed=1, reflections=True)
    found = equivariance_error(model, shaken(4), lambda R, x: x @ R.T, turn_forces, rotations)
    assert found < 1e-10
    back = equivariance_error(model, shaken(4), lambda R, x: x @ R, turn_forces, rotations)
    assert back > 1e-3
    forces = model(shaken(4)).detach()[:, 1:].unflatten(1, (9, 3))
    assert float(forces.sum(1).norm() / forces.norm()) < 1e-12


def test_a_batch_is_its_molecules_one_by_one():
    energy, x = tensor_field(torch.eye(9, dtype=F64)[:, :2]), shaken(3)
    alone = torch.cat([energy(x[k : k + 1]) for k in range(3)])
    assert torch.allclose(energy(x), alone, atol=1e-12)
    assert float(alone.detach().std()) > 1e-6


def test_weights_learn_from_forces_and_nothing_is_kept_without_grad():
    model = EnergyAndForces(tensor_field(torch.eye(9, dtype=F64)[:, :2]))
    model(shaken(2))[:, 1:].square().sum().backward()
    slopes = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(slopes) > 3 and all(bool(torch.isfinite(s).all()) for s in slopes)
    assert any(float(s.abs().max()) > 0 for s in slopes)
    with torch.no_grad():
        quiet = model(shaken(2))
    assert not quiet.requires_grad
    assert torch.allclose(quiet, model(shaken(2)).detach(), atol=1e-12)


def test_positions_may_require_gradients():
    x = shaken(1).requires_grad_()
    EnergyAndForces(Springs())(x)[:, 1:].square().sum().backward()
    assert float(x.grad.abs().max()) > 0


# --- geometries ----------------------------------------------------------------------------------


def test_bond_lengths():
    bonds = {"water": (0, 1, 0.969), "methane": (0, 1, 1.090), "ethanol": (0, 1, 1.512)}
    for name, (i, j, length) in bonds.items():
        _, x = molecules()[name]
        assert float((x[i] - x[j]).norm()) == pytest.approx(length, abs=2e-3)


def test_atoms_have_numbers_and_places():
    for numbers, positions in molecules().values():
        assert numbers.dtype == torch.int64 and positions.dtype == F64
        assert positions.shape == (len(numbers), 3)
        assert float(torch.pdist(positions).min()) > 0.9


def test_hydrogen_peroxide_is_handed_and_water_is_not():
    """The volume that four points span changes its sign in the mirror."""
    x = molecules()["hydrogen peroxide"][1]
    assert abs(float(torch.linalg.det(x[1:] - x[0]))) > 0.5
    _, water = molecules()["water"]
    assert float(water[:, 0].abs().max()) == 0.0


def test_the_collection_of_ase():
    if importlib.util.find_spec("ase") is None:
        with pytest.raises(ModuleNotFoundError, match="pip install ase"):
            molecules("g2")
    else:
        assert len(molecules("g2")) == 162


# --- wrong input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: molecules("qm9"), ValueError, "source"),
        (lambda: elastic_energy(REST[:3], REST), ValueError, "positions"),
        (lambda: elastic_energy(REST, REST[:, :2]), ValueError, "rest"),
        (lambda: elastic_energy(REST / 0, REST), ValueError, "positions"),
        (lambda: elastic_energy(torch.ones(2, 3), torch.ones(2, 3)), ValueError, "coincide"),
        (lambda: elastic_energy(REST, REST, stiffness=0.0), ValueError, "stiffness"),
        (lambda: CloudEnergy(len, torch.eye(2)), TypeError, "network"),
        (lambda: CloudEnergy(nn.Identity(), torch.ones(2)), ValueError, "features"),
        (lambda: CloudEnergy(nn.Identity(), torch.eye(2).long()), TypeError, "features"),
        (lambda: tensor_field(torch.eye(2))(torch.ones(2, 3)), ValueError, "positions"),
        (lambda: EnergyAndForces(len), TypeError, "energy"),
        (lambda: EnergyAndForces(nn.Identity())(torch.ones(1, 2, 3)), ValueError, "energy"),
        (lambda: EnergyAndForces(Springs())(torch.ones(1, 9, 2)), ValueError, "positions"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
