"""Charged particles a second later: EGNN, and its unconstrained twin with and without rotations.

"Where will the charges be?" of the chapter "rotations", over three seeds. The learning rate is the
one of 0.002, 0.005 and 0.01 at which the augmented twin did best with seed 0 and softening 1. The
smaller softenings are there because the lead depends on them.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gdl.equivariance import equivariance_error
from gdl.geometry import random_rotations
from gdl.rotations.egnn import EGNN, GNN
from gdl.rotations.nbody import NBody, ParticleModel, charged_particles, turned
from gdl.training import count_parameters, fit, predict
from studies._runner import Measurements, run
from studies._sizes import width_for

LAYERS, TESTED = 3, 500
OPTIONS = {"edge_attributes": 1, "velocities": True}
egnn = partial(EGNN, 1, 32, LAYERS, **OPTIONS)


def gnn() -> nn.Module:
    """The unconstrained network with the budget of the constrained one."""

    def build(width: int) -> nn.Module:
        return GNN(1, width, LAYERS, **OPTIONS)

    return build(width_for(build, count_parameters(egnn())))


# Network, augmentation by rotations.
VARIANTS = {"EGNN": (egnn, False), "GNN": (gnn, False), "GNN augmented": (gnn, True)}

# Quantity, systems to learn from, steps of training, softening of the force.
TASKS = {
    "test error, 100 runs": (100, 1000, 1.0),
    "test error, 400 runs": (400, 1000, 1.0),
    "test error, 100 runs, 3000 steps": (100, 3000, 1.0),
    "test error, 100 runs, softening 0.7": (100, 1000, 0.7),
    "test error, 100 runs, softening 0.5": (100, 1000, 0.5),
    "test error, 100 runs, softening 0.2": (100, 1000, 0.2),
}


def measure(seed: int) -> Measurements:
    """Mean squared error on unseen systems, and the error of turning with the frame."""
    softenings = {softening for _, _, softening in TASKS.values()}
    data = {s: charged_particles(400 + TESTED, seed=seed, softening=s) for s in softenings}
    for variant, (network, augment) in VARIANTS.items():
        for quantity, (runs, steps, softening) in TASKS.items():
            torch.manual_seed(seed)
            model = ParticleModel(network(), augment=augment)
            error = learn(model, data[softening], runs, steps, seed)
            yield variant, quantity, error
            if quantity == "test error, 400 runs":
                yield variant, "equivariance error, 400 runs", frame_error(model, data[softening])


def learn(model: nn.Module, data: NBody, runs: int, steps: int, seed: int) -> float:
    """The error on the last systems after training on the first ones."""
    x, y = data.states, data.target
    fit(model, x[:runs], y[:runs], steps=steps, lr=5e-3, batch_size=50, loss=mse_loss, seed=seed)
    return mse_loss(predict(model, x[-TESTED:]), y[-TESTED:]).item()


def frame_error(model: nn.Module, data: NBody) -> float:
    """The error of turning with the frame, for the displacements of unseen systems."""

    def act(R: Tensor, x: Tensor) -> Tensor:
        return turned(x, R) if x.shape[-1] == 7 else x @ R.T

    rotations = random_rotations(8, seed=0, dtype=torch.float32)
    states = data.states[-TESTED:]
    return equivariance_error(lambda x: model(x) - x[..., :3], states, act, act, rotations)


if __name__ == "__main__":
    run("nbody", measure)
