"""Attend, infer, repeat from five first weights: how often each way to treat the count fails.

The section "What it takes" of the chapter "inference", over three seeds. Canvases, sizes, steps and
schedule are those of the study ``air``; five draws of the first weights and of the noise for each
seed. A training fails if fewer than 95 percent of the held-out canvases are counted right.
"""

from __future__ import annotations

from gdl.data.canvases import digit_canvases
from gdl.inference.attend_infer_repeat import train_air
from studies._runner import Measurements, run
from studies.air import SIZE, STEPS, TEST, TRAIN, VARIANTS, held_out, untrained

STARTS, ENOUGH = 5, 0.95


def measure(seed: int) -> Measurements:
    """Five trainings of each variant on the canvases of one seed."""
    train = digit_canvases(TRAIN, size=SIZE, seed=seed)
    test = digit_canvases(TEST, size=SIZE, split="test", seed=1000 + seed)
    for variant in ("recipe", "plain", "sampled"):
        sizes, training = VARIANTS[variant]
        shares = []
        for start in range(STARTS):
            first = 100 + STARTS * seed + start
            model = untrained(first, **sizes)
            train_air(model, train.images, steps=STEPS, seed=first, **training)
            shares.append(held_out(model, test)["count accuracy"])
        yield variant, "failures of five", sum(share < ENOUGH for share in shares)
        yield variant, "count accuracy, least", min(shares)


if __name__ == "__main__":
    run("air_starts", measure)
