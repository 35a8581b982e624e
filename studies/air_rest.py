"""Attend, infer, repeat with a guide that sees what is left, over three seeds.

The section "The same question again" of the chapter "inference". Canvases, sizes, steps and first
weights are those of the study ``air_starts``, five for each seed; the guide sees at each step the
picture minus what has been drawn so far, with the recipe and without it. That this guide was tried
is due to failures of the other one, which were looked at on canvases of seed 50 and the first
weights 200 and 201; nothing else was chosen.
"""

from __future__ import annotations

from gdl.data.canvases import digit_canvases
from gdl.inference.attend_infer_repeat import train_air
from studies._runner import Measurements, run
from studies.air import SIZE, STEPS, TEST, TRAIN, VARIANTS, held_out, untrained
from studies.air_starts import ENOUGH, STARTS


def measure(seed: int) -> Measurements:
    """Five trainings with and without the recipe on the canvases of one seed."""
    train = digit_canvases(TRAIN, size=SIZE, seed=seed)
    test = digit_canvases(TEST, size=SIZE, split="test", seed=1000 + seed)
    for variant in ("recipe", "plain"):
        sizes, training = VARIANTS[variant]
        found = []
        for start in range(STARTS):
            first = 100 + STARTS * seed + start
            model = untrained(first, rest=True, **sizes)
            train_air(model, train.images, steps=STEPS, seed=first, **training)
            found.append(held_out(model, test))
        shares = [values["count accuracy"] for values in found]
        yield variant, "failures of five", sum(share < ENOUGH for share in shares)
        yield variant, "count accuracy, least", min(shares)
        thirds = [values["third digit found"] for values in found]
        yield variant, "third digit found, least", min(thirds)


if __name__ == "__main__":
    run("air_rest", measure)
