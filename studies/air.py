"""Attend, infer, repeat on canvases with digits: what it takes to count, over three seeds.

The section of this name of the chapter "inference". Each seed has canvases, weights and noise of
its own; the digits of the test canvases occur in no training canvas. The recipe sums the count out,
with capped logits and a uniform distribution mixed in; then without one, the other or both of
these; then with the count drawn. All train for the same number of steps.

The sizes, the number of steps and the schedule were chosen on seeds 10 to 14.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gdl.data.canvases import Canvases, digit_canvases
from gdl.inference.attend_infer_repeat import (
    PLACE,
    AttendInferRepeat,
    train_air,
    window_errors,
)
from gdl.inference.estimators import (
    best_baseline,
    count_log_probabilities,
    gradient_variance,
    score_gradients,
)
from studies._runner import Measurements, run

SIZE, SIDE, STEPS = 20, 8, 1000
TRAIN, TEST, NEAR = 4000, 1000, 1.5
UNMIXED = ((1.0, 0.0),)
VARIANTS = {
    "recipe": ({}, {}),
    "no cap": ({"cap": math.inf}, {}),
    "no mixing": ({}, {"mixing": UNMIXED}),
    "plain": ({"cap": math.inf}, {"mixing": UNMIXED}),
    "sampled": ({}, {"objective": "sampled"}),
}
PICTURES, DRAWS = 64, 64


def measure(seed: int) -> Measurements:
    """Canvases and weights of one seed."""
    train = digit_canvases(TRAIN, size=SIZE, seed=seed)
    test = digit_canvases(TEST, size=SIZE, split="test", seed=1000 + seed)
    yield from variances(untrained(seed), test.images[:PICTURES])
    yield "untrained", "count accuracy", held_out(untrained(seed), test)["count accuracy"]
    for variant, (sizes, training) in VARIANTS.items():
        model = untrained(seed, **sizes)
        train_air(model, train.images, steps=STEPS, seed=seed, **training)
        for quantity, value in held_out(model, test).items():
            yield variant, quantity, value


def untrained(seed: int, **sizes) -> AttendInferRepeat:
    """The model with the weights of this seed."""
    torch.manual_seed(seed)
    return AttendInferRepeat(SIZE, SIDE, **sizes)


def held_out(model: AttendInferRepeat, test: Canvases) -> dict[str, float]:
    """How well it counts and finds digits that it has not seen, and the bound without noise."""
    found = model.infer(test.images)
    errors = window_errors(found, test.corners + (SIDE - 1) / 2, test.counts)
    if not len(errors):  # no digit counted right, none found: as far off as the canvas is wide
        errors = torch.full((1,), float(SIZE))
    with torch.no_grad():
        zeros = torch.zeros(TEST, model.steps, PLACE + model.what)
        bound = model.elbo(test.images, noise=zeros).mean()
    return {
        "count accuracy": float((found.counts == test.counts).double().mean()),
        "third digit found": third_digit(model),
        "bound": float(bound),
        "error of place, median": float(errors.median()),
        "places within 1.5 pixels": float((errors < NEAR).double().mean()),
    }


def third_digit(model: AttendInferRepeat) -> float:
    """The share of right counts on canvases with three digits, which no training had."""
    crowd = digit_canvases(TEST, size=SIZE, most=3, split="test", seed=2000)
    three = crowd.counts == 3
    return float((model.infer(crowd.images[three]).counts == 3).double().mean())


def variances(model: AttendInferRepeat, images: Tensor) -> Measurements:
    """Of the gradient with respect to the logits: over the other noise, and over the drawn count.

    By the law of total variance the drawn count adds the mean over the noise of its own variance.
    """
    torch.manual_seed(0)
    means, extra = [], {"sampled, no baseline": [], "sampled, best baseline": []}
    with torch.no_grad():
        for _ in range(DRAWS):
            unfolding = model.unfold(images)
            logits, values = unfolding.logits, model.values(images, unfolding)
            q = count_log_probabilities(logits).exp()
            means.append((q[..., None] * score_gradients(logits, values)).sum(-2))
            best = best_baseline(logits, values)
            for variant, baseline in zip(extra, (0.0, best), strict=True):
                extra[variant].append(gradient_variance(logits, values, baseline))
    over_noise = float(torch.stack(means).var(0).sum(-1).mean())
    yield "enumerated", "gradient variance", over_noise
    for variant, found in extra.items():
        yield variant, "gradient variance", over_noise + float(torch.stack(found).mean())


if __name__ == "__main__":
    run("air", measure)
