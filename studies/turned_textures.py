"""Three textures, learned upright and turned afterwards: a CNN, augmented or not, p4 and p4m.

"What the symmetry buys" of the chapter "groups", on its second data set, over three seeds.
"""

from __future__ import annotations

import torch

from gdl import data
from gdl.groups import group_cnn
from gdl.representations import cyclic, dihedral
from gdl.training import accuracy, fit
from studies._runner import Measurements, run
from studies.turned_digits import quarter_turns

# Group, fields after each convolution, augmentation.
VARIANTS = {
    "plain": (cyclic(1), (12, 16, 16), None),
    "augmented": (cyclic(1), (12, 16, 16), quarter_turns),
    "p4": (cyclic(4), (6, 8, 8), None),
    "p4m": (dihedral(4), (4, 6, 6), None),
}


def measure(seed: int) -> Measurements:
    """Test accuracy on patches as they are, and at random quarter turns."""
    x, y = data.textures("train", size=8, count=100, seed=seed)
    upright, labels = data.textures("test", size=8, count=300, seed=seed)
    torch.manual_seed(seed)
    turned = quarter_turns(upright)
    for variant, (group, widths, augment) in VARIANTS.items():
        torch.manual_seed(seed)
        model = group_cnn(group, 1, 3, widths, pool_after=(0,), readout="mean")
        fit(model, x, y, steps=200, lr=1e-2, seed=seed, transform=augment)
        yield variant, "accuracy upright", accuracy(model, upright, labels)
        yield variant, "accuracy turned", accuracy(model, turned, labels)


if __name__ == "__main__":
    run("turned_textures", measure)
