"""Times escnn's R2Conv beside torch's convolution of the expanded size, in escnn's environment.

    python benchmarks/peers/escnn_convolution.py TASK THREADS REPEATS SIZE ...

TASK is one of benchmarks/groups.py, whose arithmetic this repeats: 16 regular fields of p4 in and
out, 28 x 28 pixels, float32. Prints one line of JSON for each number of images: seconds of both,
how far the layer is from the convolution with its own expanded filter, and from commuting with a
quarter turn, relative.
"""

from __future__ import annotations

import json
import sys
import warnings

# escnn warns that it goes without py3nj, which only rotations of space would use.
warnings.filterwarnings("ignore", message="`py3nj` package not found")

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from clock import in_turn  # noqa: E402
from escnn import gspaces, nn  # noqa: E402

FIELDS, SIDE = 16, 28


def layer_of(taps: int) -> nn.R2Conv:
    turns = gspaces.rot2dOnR2(N=4)
    fields = nn.FieldType(turns, FIELDS * [turns.regular_repr])
    return nn.R2Conv(fields, fields, taps, padding=taps // 2)


def calls(layer: nn.R2Conv, taps: int, x: torch.Tensor, trains: bool) -> list:
    """The layer, and the convolution with weights of its own of the same values."""
    layer.train(trains)
    expanded = [p.detach().clone().requires_grad_() for p in layer.expand_parameters()]

    def escnn() -> torch.Tensor:
        return layer(nn.GeometricTensor(x, layer.in_type)).tensor

    def plain() -> torch.Tensor:
        return F.conv2d(x, *expanded, padding=taps // 2)

    if not trains:
        return [torch.no_grad()(escnn), torch.no_grad()(plain)]

    def step(f, parameters: list):
        y = f()
        return [y, *torch.autograd.grad(y.square().sum(), [x, *parameters])]

    own = [p for p in layer.parameters() if p.requires_grad]
    return [lambda: step(escnn, own), lambda: step(plain, expanded)]


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).detach().norm() / b.detach().norm())


def residual(ours, theirs) -> float:
    """The worst of the outputs and, in training, of the gradients of the input."""
    found, expected = ours(), theirs()
    if isinstance(found, torch.Tensor):
        return difference(found, expected)
    return max(difference(a, b) for a, b in zip(found[:2], expected[:2], strict=True))


@torch.no_grad()
def turned(layer: nn.R2Conv, x: torch.Tensor) -> float:
    image = nn.GeometricTensor(x.detach(), layer.in_type)
    quarter = layer.in_type.gspace.fibergroup.element(1)
    before, after = layer(image.transform(quarter)), layer(image).transform(quarter)
    return difference(before.tensor, after.tensor)


def main(task: str, threads: str, repeats: str, *sizes: str) -> None:
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    taps = 5 if "5 x 5" in task else 3
    layer = layer_of(taps)
    for n in map(int, sizes):
        x = torch.randn(n, 4 * FIELDS, SIDE, SIDE, requires_grad=True)
        both = calls(layer, taps, x, trains="backward" in task)
        checked = {"residual": residual(*both), "turned": turned(layer, x)}
        seconds, plain = in_turn(*both, int(repeats))
        print(json.dumps({"size": n, "warm": seconds, "plain": plain} | checked), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
