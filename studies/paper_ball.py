"""How well a linear cut separates the halves of a crumpled sheet after each layer of a network.

"Un-crumpling paper" of the chapter "high_dimensions", over three seeds of sheet, folds and weights.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from gdl.high_dimensions import crumple, layer_outputs, random_folds, sheet
from gdl.training import accuracy, fit
from studies._runner import Measurements, run

TRAIN = 1500


def narrow_network(layers: int = 5, width: int = 32) -> nn.Sequential:
    sizes = [3] + [width] * layers
    blocks = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*blocks, nn.Linear(width, 2)).double()


def probe(features: Tensor, label: Tensor) -> float:
    """Test accuracy of a linear classifier on features."""
    x = features - features[:TRAIN].mean(0)
    x = x / x[:TRAIN].std()
    head = nn.Linear(x.shape[1], 2).double()
    fit(head, x[:TRAIN], label[:TRAIN], epochs=60, lr=0.05)
    return accuracy(head, x[TRAIN:], label[TRAIN:])


def measure(seed: int) -> Measurements:
    """Accuracy of the probe on the crumpled sheet and after each hidden layer."""
    paper = sheet(2000, seed=seed)
    label = (paper[:, 0] > 0).long()
    ball, _ = crumple(paper, random_folds(3, seed=seed))
    torch.manual_seed(seed)
    network = narrow_network()
    with torch.no_grad():
        untrained = layer_outputs(network, ball)[-2]
    fit(network, ball[:TRAIN], label[:TRAIN], epochs=120, lr=3e-3, seed=seed)
    with torch.no_grad():
        stages = [ball, *layer_outputs(network, ball)[:-1]]
    for k, stage in enumerate(stages):
        yield f"layer {k}" if k else "ball", "linear probe", probe(stage, label)
    yield "layer 5, untrained", "linear probe", probe(untrained, label)


if __name__ == "__main__":
    run("paper_ball", measure)
