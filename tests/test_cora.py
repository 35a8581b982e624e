"""The real Cora, where GDL_DATA holds a copy: ten trainings with edges, and ten without."""

from __future__ import annotations

import statistics

import pytest
import torch
from torch import nn

from gdl import data
from gdl.graphs import GCNConv
from gdl.graphs.networks import GraphNetwork, NodeClassifier
from gdl.training import accuracy, fit

HIDDEN, SEEDS = 16, range(10)


@pytest.fixture(scope="module")
def cora():
    try:
        return data.cora(source="embedded", normalise=True)
    except data.DataUnavailable as error:
        pytest.skip(str(error))


def test_cora_is_the_graph_that_everybody_uses(cora):
    assert cora.x.shape == (2708, 1433) and cora.edge_index.shape == (2, 10556)
    assert cora.y.bincount().tolist() == [351, 217, 418, 818, 426, 298, 180]
    assert cora.y[cora.train].bincount().tolist() == [20] * 7
    assert torch.equal(cora.train, torch.arange(140))
    assert torch.equal(cora.validation, torch.arange(140, 640))
    assert torch.equal(cora.test, torch.arange(1708, 2708))
    edges = {tuple(edge) for edge in cora.edge_index.T.tolist()}
    assert len(edges) == 10556 and edges == {(j, i) for i, j in edges}
    assert all(i != j for i, j in edges)
    torch.testing.assert_close(cora.x.sum(1), torch.ones(2708))


def trained(model: nn.Module, x: torch.Tensor, cora: data.LabelledGraph, seed: int) -> nn.Module:
    """The settings of Kipf and Welling, with weight decay on both layers and 100 epochs."""
    y = cora.y[cora.train]
    fit(model, x, y, epochs=100, lr=0.01, batch_size=len(y), weight_decay=5e-4, seed=seed)
    return model


def with_edges(cora: data.LabelledGraph, seed: int) -> float:
    torch.manual_seed(seed)
    layers = [GCNConv(cora.x.shape[1], HIDDEN), GCNConv(HIDDEN, 7)]
    model = NodeClassifier(GraphNetwork(layers, dropout=0.5), cora.x, cora.edge_index)
    trained(model, cora.train, cora, seed)
    return accuracy(model, cora.test, cora.y[cora.test], batch_size=len(cora.test))


def without_edges(cora: data.LabelledGraph, seed: int) -> float:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Dropout(), nn.Linear(cora.x.shape[1], HIDDEN), nn.ReLU(), nn.Dropout(),
        nn.Linear(HIDDEN, 7),
    )  # fmt: skip
    trained(model, cora.x[cora.train], cora, seed)
    return accuracy(model, cora.x[cora.test], cora.y[cora.test])


@pytest.mark.slow
def test_a_gcn_reaches_eighty_percent_and_leaves_a_perceptron_behind(cora):
    gcn = statistics.mean(with_edges(cora, seed) for seed in SEEDS)
    perceptron = statistics.mean(without_edges(cora, seed) for seed in SEEDS)
    assert gcn >= 0.80, f"GCN {gcn:.4f}"
    assert gcn - perceptron >= 0.15, f"GCN {gcn:.4f}, perceptron {perceptron:.4f}"
