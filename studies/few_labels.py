"""Few labels: scattering against pixels and against a trained convolutional network.

The section on scattering of the chapter "grids", over three seeds. The seed draws the labelled
examples and the initial weights.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from gdl import data
from gdl.grids import Scattering
from gdl.training import accuracy, fit
from studies._runner import Measurements, convolutional, run

# Number of labels, and for how many epochs the convolutional network is trained on them.
EPOCHS = {100: 60, 300: 30, 1000: 12}
TESTS = {"in place": [(4, 4)], "moved": list(itertools.product((3, 4, 5), repeat=2))}


def linear_scores(features: dict[str, Tensor], y: Tensor, labels: Tensor) -> dict[str, float]:
    """Test accuracy of a linear classifier that is trained on features["train"]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(features["train"].numpy(), y.numpy())
    return {name: model.score(features[name].numpy(), labels.numpy()) for name in TESTS}


def trained_scores(
    images: dict[str, Tensor], y: Tensor, labels: Tensor, seed: int
) -> dict[str, float]:
    """Test accuracy of the convolutional network, trained on images["train"]."""
    torch.manual_seed(seed)
    model = convolutional()
    fit(model, images["train"], y, epochs=EPOCHS[len(y)], batch_size=32, seed=seed)
    return {name: accuracy(model, images[name], labels) for name in TESTS}


def measure(seed: int) -> Measurements:
    """Test accuracy in place, and with the digit moved by up to one pixel in each direction."""
    x, y, _ = data.digits_on_canvas(16, TESTS["in place"])
    labels = data.digits("test")[1]
    images = {
        name: data.digits_on_canvas(16, places, split="test")[0] for name, places in TESTS.items()
    }
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    images["train"] = x[order[: max(EPOCHS)]]
    scattering = Scattering((16, 16), 3, angles=8, stride=8)
    pixels = {name: part.flatten(1) for name, part in images.items()}
    scattered = {name: scattering(part).flatten(1) for name, part in images.items()}
    for n in EPOCHS:
        few = y[order[:n]]
        scores = {
            "pixels": linear_scores(_first(n, pixels), few, labels),
            "scattering": linear_scores(_first(n, scattered), few, labels),
            "CNN": trained_scores(_first(n, images), few, labels, seed),
        }
        for variant, by_test in scores.items():
            for name, score in by_test.items():
                yield variant, f"accuracy {name}, {n} labels", score


def _first(n: int, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tests, with the first n examples to train on."""
    return {**parts, "train": parts["train"][:n]}


if __name__ == "__main__":
    run("few_labels", measure)
