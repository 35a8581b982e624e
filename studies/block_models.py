"""Nodes of random graphs with planted classes: what the edges are worth, and when.

The section on homophily of the chapter "graphs", over three seeds, each with several graphs. Three
blocks of a hundred nodes with weak features, ten labels in each. In the homophilic graphs a node is
joined to its own block eight times as often as to another, in the heterophilic ones the other way
round, and in the indifferent ones they are equal; all have the same mean degree.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gdl.graphs import GATConv, GCNConv, GINConv, SAGEConv, edge_list, stochastic_block_model
from gdl.graphs.networks import GraphNetwork, NodeClassifier
from gdl.training import accuracy, fit
from studies._runner import Measurements, run

CLASSES, SIZE, LABELS, GRAPHS = 3, 100, 10, 5
FEATURES, HIDDEN, STRENGTH = 16, 16, 0.7
PROBABILITIES = {
    "homophilic": (0.08, 0.01),
    "heterophilic": (0.00584, 0.0467),
    "indifferent": (0.0331, 0.0331),
}


class Alone(nn.Linear):
    """A layer that hears no neighbour."""

    def forward(self, x: Tensor, edges: Tensor, edge_attr: None = None) -> Tensor:
        return super().forward(x)


def isomorphism_layer(inputs: int, outputs: int) -> nn.Module:
    """GIN with a perceptron of one hidden layer."""
    return GINConv(nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs)))


# The layer, how many of them.
VARIANTS: dict[str, tuple[Callable[[int, int], nn.Module], int]] = {
    "MLP": (Alone, 2),
    "GCN": (GCNConv, 2),
    "GCN, 8 layers": (GCNConv, 8),
    "GAT": (GATConv, 2),
    "GraphSAGE": (SAGEConv, 2),
    "GIN": (isomorphism_layer, 2),
}


def network(layer: Callable[[int, int], nn.Module], depth: int) -> nn.Module:
    """Layers of one kind from the features to the classes."""
    widths = [FEATURES, *[HIDDEN] * (depth - 1), CLASSES]
    pairs = zip(widths[:-1], widths[1:], strict=True)
    return GraphNetwork([layer(inputs, outputs) for inputs, outputs in pairs], dropout=0.5)


def planted(kind: str, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A graph: features, edges, classes, and the nodes in an order that begins with the labels."""
    within, between = PROBABILITIES[kind]
    adjacency, y = stochastic_block_model([SIZE] * CLASSES, within, between, seed=seed)
    # A seed of its own: the same one would draw the features from the numbers of the edges.
    generator = torch.Generator().manual_seed(10_000 + seed)
    x = torch.randn(len(y), FEATURES, generator=generator)
    x[:, :CLASSES] += STRENGTH * torch.eye(CLASSES)[y]
    chosen = torch.stack([torch.randperm(SIZE, generator=generator) for _ in range(CLASSES)])
    order = (chosen + SIZE * torch.arange(CLASSES)[:, None]).T.flatten()
    return x, edge_list(adjacency), y, order


def learn(model: nn.Module, y: Tensor, order: Tensor, seed: int) -> float:
    """The accuracy on the nodes that were not learnt from."""
    labelled, others = order.split([LABELS * CLASSES, len(order) - LABELS * CLASSES])
    fit(
        model, labelled, y[labelled], steps=200, lr=1e-2, batch_size=len(labelled),
        weight_decay=5e-4, seed=seed,
    )  # fmt: skip
    return accuracy(model, others, y[others])


def measure(seed: int) -> Measurements:
    """Mean accuracy on the nodes without a label, over several graphs of each kind."""
    for kind in PROBABILITIES:
        graphs = [planted(kind, GRAPHS * seed + number) for number in range(GRAPHS)]
        for variant, (layer, depth) in VARIANTS.items():
            scores = []
            for x, edges, y, order in graphs:
                torch.manual_seed(seed)
                model = NodeClassifier(network(layer, depth), x, edges)
                scores.append(learn(model, y, order, seed))
            yield variant, f"accuracy, {kind}", sum(scores) / len(scores)


if __name__ == "__main__":
    run("block_models", measure)
