"""One small task on every road to symmetry: digits under quarter turns, in three worlds.

"Other roads to symmetry" of the chapter "zoo", over three seeds. 300 digits to learn from; a turned
world, where every digit stands at a random quarter turn, a mixed one, where one in five does, and
an upright one, where one in twenty does. The same network of 64 hidden units takes every road but
that of the layers: they solve the equation, once with as many units (a quarter of the weights) and
once with as many weights (four times the units). All train for as many epochs, but "augmented x 4"
for four times as many.

Epochs, rate, the temperature of the weighted frame, the penalty and the shares of turned digits
were chosen on seeds 10 to 12.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gdl import data
from gdl.equivariance import EquivariantLinear
from gdl.representations import Representation, cyclic, regular, trivial
from gdl.training import accuracy, fit
from gdl.zoo.roads import FrameAverage, GroupAverage, ScoredFrame, quarter_turn
from gdl.zoo.roads_relaxed import RelaxedLinear
from studies._runner import Measurements, run

WORLDS = {"turned": 1.0, "mixed": 0.2, "upright": 0.05}
DIGITS, UNITS, EPOCHS, RATE = 300, 64, 60, 3e-3
PENALTIES = (0.0, 0.01, 0.1, 1.0)

C4 = cyclic(4)
PIXELS = Representation(C4, [torch.arange(64).reshape(8, 8).rot90().flatten().argsort()])

Data = tuple[Tensor, Tensor]


def world(share: float, seed: int) -> tuple[Data, Data]:
    """Digits to learn from, and the test digits four times, a share of them turned at random."""
    generator = torch.Generator().manual_seed(seed)
    x, y = data.digits("train")
    chosen = torch.randperm(len(x), generator=generator)[:DIGITS]
    seen, labels = data.digits("test")
    move = partial(sometimes_turned, share=share, generator=generator)
    tested = torch.cat([move(seen) for _ in range(4)])
    return (move(x[chosen]), y[chosen]), (tested, labels.repeat(4))


def sometimes_turned(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Each picture, with this probability, at a random quarter turn (which may be none)."""
    k = torch.randint(4, (len(x),), generator=generator)
    return quarter_turn(k * (torch.rand(len(x), generator=generator) < share), x)


def turned_anew(x: Tensor) -> Tensor:
    """Augmentation: each picture at a random quarter turn."""
    return quarter_turn(torch.randint(4, (len(x),)), x)


def dense() -> nn.Sequential:
    """The network that knows nothing."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, UNITS), nn.ReLU(), nn.Linear(UNITS, 10))


def layered(layer: type[nn.Module], fields: int) -> nn.Sequential:
    """The network with layers for the pixels, for fields on the group, and for labels."""
    return nn.Sequential(
        nn.Flatten(2),
        layer(PIXELS, regular(C4), 1, fields),
        nn.ReLU(),
        layer(regular(C4), trivial(C4), fields, 10),
        nn.Flatten(),
    )


def opposite(k: Tensor | int) -> Tensor | int:
    """The inverse of a turn by k quarters."""
    return -k


def averaged(model: nn.Module) -> nn.Module:
    """The mean over the four turns."""
    return GroupAverage(model, range(4), quarter_turn, inverse=opposite)


def ink(x: Tensor) -> Tensor:
    """The ink in the upper left quarter, weighted so that no two quarters tie."""
    weights = torch.arange(16.0, 0.0, -1.0).sqrt().reshape(4, 4) / 3
    return (weights * x[..., :4, :4]).sum((1, 2, 3))


def framed(model: nn.Module, temperature: float) -> nn.Module:
    """The mean over the turns that bring much ink to the upper left."""
    frame = ScoredFrame(
        ink, torch.arange(4), quarter_turn, inverse=opposite, temperature=temperature
    )
    return FrameAverage(model, frame, quarter_turn, inverse=opposite)


def relaxed_loss(model: nn.Module, penalty: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross entropy and the distance of the weights from the solutions."""
    layers = [layer for layer in model if isinstance(layer, RelaxedLinear)]
    return lambda output, y: (
        cross_entropy(output, y) + penalty * sum(layer.squared_distance() for layer in layers)
    )


def measure(seed: int) -> Measurements:
    """Test accuracy of each road in each of the worlds."""
    for name, share in WORLDS.items():
        train, test = world(share, seed)
        for road, value in roads(train, test, seed):
            yield road, f"accuracy, {name}", value


def roads(train: Data, test: Data, seed: int) -> list[tuple[str, float]]:
    """Train a network on each road; name and test accuracy."""

    def trained(build: Callable[[], nn.Module], epochs: int = EPOCHS, **settings) -> nn.Module:
        torch.manual_seed(seed)
        model = build()
        if "penalty" in settings:
            settings = {"loss": relaxed_loss(model, settings["penalty"])}
        fit(model, *train, epochs=epochs, lr=RATE, seed=seed, **settings)
        return model

    plain = trained(dense)
    models = {
        "dense": plain,
        "augmented": trained(dense, transform=turned_anew),
        "augmented x 4": trained(dense, 4 * EPOCHS, transform=turned_anew),
        "averaged afterwards": averaged(plain),
        "averaged": trained(lambda: averaged(dense())),
        "canonical": trained(lambda: framed(dense(), 0.0)),
        "weighted frame": trained(lambda: framed(dense(), 1.0)),
        "layers": trained(lambda: layered(EquivariantLinear, UNITS // 4)),
        "layers, same weights": trained(lambda: layered(EquivariantLinear, UNITS)),
    }
    for t in PENALTIES:
        build = partial(layered, RelaxedLinear, UNITS // 4)
        models[f"relaxed, penalty {t:g}"] = trained(build, penalty=t)
    return [(road, accuracy(model, *test)) for road, model in models.items()]


if __name__ == "__main__":
    run("roads", measure)
