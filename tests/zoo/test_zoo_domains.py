"""The vocabulary of the map against networkx, enumeration and closed forms."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
import torch

from gdl.zoo import Assumptions, solve
from gdl.zoo.domains import DOMAINS

ENUMERATED = 150
JOINED = {
    "cycle": lambda: nx.cycle_graph(8),
    "grid": lambda: nx.grid_2d_graph(4, 4, periodic=True),
    "Petersen": nx.petersen_graph,
    "cube": lambda: nx.hypercube_graph(3),
}


def seen(domain: str) -> np.ndarray:
    """The entries that a layer without symmetry may use to look at neighbours."""
    layer = solve(Assumptions(domain, "trivial", "points", "points", "neighbours"))
    return (layer.pattern != 0).numpy()


@pytest.mark.parametrize("domain", ["cycle", "cube", "Petersen"])
def test_neighbours_are_those_of_the_graph(domain):
    found = seen(domain)
    assert found.diagonal().all() and (found == found.T).all()
    without_self = nx.from_numpy_array(found & ~np.eye(len(found), dtype=bool))
    assert nx.is_isomorphic(without_self, JOINED[domain]())
    assert not nx.is_isomorphic(nx.complement(without_self), JOINED[domain]())


def test_neighbours_on_the_cycle_are_one_step_away():
    step = np.roll(np.eye(8, dtype=bool), 1, axis=0)
    assert (seen("cycle") == (np.eye(8, dtype=bool) | step | step.T)).all()


def test_neighbours_on_the_grid_are_a_window_of_nine():
    line = np.roll(np.eye(4, dtype=bool), 1, axis=0)
    line = np.eye(4, dtype=bool) | line | line.T
    assert (seen("grid") == np.kron(line, line)).all()


CHOICES = {
    f"{name}, {word}": choice
    for name, domain in DOMAINS.items()
    for word, choice in domain.groups.items()
    if choice.order is not None and choice.order <= ENUMERATED
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_order_of_a_group_is_the_number_of_its_elements(name):
    assert len(CHOICES[name].build().elements()) == CHOICES[name].order


def of(domain: str, group: str, space: str):
    return solve(Assumptions(domain, group, space, space)).rho_out


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_field_of_the_plane_turns_as_often_as_its_order(order):
    rho = of("plane", "SO(2)", f"order {order}")
    turned = float(rho(rho.group.exp(0.3)).trace())
    assert turned == pytest.approx((1 + (order > 0)) * math.cos(0.3 * order), abs=1e-12)


@pytest.mark.parametrize(
    ("space", "trace"),
    [("degree 0", 1), ("degree 1", -3), ("axial vector", 3), ("degree 2", 5)],
)
def test_what_the_inversion_does(space, trace):
    rho = of("space", "O(3)", space)
    assert torch.equal(rho(rho.group.generator(0)).trace().round(), torch.tensor(float(trace)))
