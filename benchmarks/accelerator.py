"""The layers on a GPU against the same layers on the CPU, and what torch can do with them there.

    python -m benchmarks.accelerator [DEVICE]

Prints a table of relative differences from the CPU in the same precision, then convolution timings.
Without a GPU it says so and stops.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmarks import convolution
from benchmarks.cases import TIMES, markdown, rows, time_case
from gdl import grids
from gdl.equivariance import EquivariantLinear
from gdl.representations import symmetric, translations
from gdl.training import fit

FIELD = (4, 2, 16, 16)
ROWS = ("layer", "mode", "outputs", "gradients")
MODES = ("float32", "float64", "compiled", "bfloat16 autocast")


def layers() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Each layer with the shape of its input."""
    torch.manual_seed(0)
    tensors, torus = symmetric(5).defining * symmetric(5).defining, translations(4, 4).defining
    return {
        "CircularConv, direct": (grids.CircularConv(2, 3, 5), FIELD),
        "CircularConv, fft": (grids.CircularConv(2, 3, 5, method="fft"), FIELD),
        "LocallyConnected2d": (grids.LocallyConnected2d(2, 3, 3, size=(16, 16)), FIELD),
        "BlurPool": (grids.BlurPool(3), FIELD),
        "PolyphaseDownsample": (grids.PolyphaseDownsample(2), FIELD),
        "ResidualBlock": (grids.ResidualBlock(2), FIELD),
        "UNet, max": (grids.UNet(2, 2, width=4, downsample="max"), FIELD),
        "UNet, polyphase": (grids.UNet(2, 2, width=4), FIELD),
        "cnn": (grids.cnn(2, 10, (8, 8)), FIELD),
        "Scattering": (grids.Scattering((16, 16), 3, angles=4), FIELD),
        "EquivariantLinear, tensors": (EquivariantLinear(tensors, tensors, 2, 3), (4, 2, 25)),
        "EquivariantLinear, torus": (EquivariantLinear(torus, torus, 2, 3), (4, 2, 16)),
    }


def difference(found: Tensor, expected: Tensor) -> float:
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).norm() / expected.norm())


def evaluate(layer: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The output, and the gradients of its squared norm for the input and the parameters."""
    x = x.clone().requires_grad_()
    y = layer(x)
    wanted = [x, *layer.parameters()]
    return y, list(torch.autograd.grad(y.float().square().sum(), wanted))


def evaluate_lower(layer: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        return evaluate(layer, x)


def compare(device: str) -> Iterator[tuple[str, ...]]:
    """A row for each layer and mode; a failure is reported in its row."""
    for name, (layer, shape) in layers().items():
        for mode in MODES:
            dtype = torch.float64 if mode == "float64" else torch.float32
            here = copy.deepcopy(layer).to(dtype)
            x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
            y, gradients = evaluate(here, x)
            there = copy.deepcopy(here).to(device)
            there = torch.compile(there) if mode == "compiled" else there
            step = evaluate_lower if mode == "bfloat16 autocast" else evaluate
            try:
                z, found = step(there, x.to(device))
            except Exception as error:  # one broken layer must not hide the others
                yield name, mode, type(error).__name__, str(error).splitlines()[0][:80]
                continue
            worst = max(difference(a, b) for a, b in zip(found, gradients, strict=True))
            yield name, mode, f"{difference(z, y):.1e}", f"{worst:.1e}"


def train(device: str) -> Iterator[tuple[str, ...]]:
    """Ten training steps on the device against ten on the CPU."""
    for dtype in (torch.float32, torch.float64):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(64, 1, 8, 8, generator=generator, dtype=dtype)
        y = torch.randint(10, (64,), generator=generator)
        losses, models = [], []
        for place in ("cpu", device):
            torch.manual_seed(0)
            models.append(grids.cnn(1, 10, (8, 8)).to(dtype))
            losses.append(fit(models[-1], x, y, steps=10, batch_size=32, device=place).step_losses)
        weights = [torch.cat([p.flatten().cpu() for p in m.parameters()]) for m in models]
        by_loss = difference(torch.tensor(losses[1]), torch.tensor(losses[0]))
        by_weight = difference(weights[1], weights[0])
        yield "fit, ten steps", str(dtype), f"{by_loss:.1e} (loss)", f"{by_weight:.1e} (weights)"


def main(device: str) -> None:
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        print("skipped: torch sees no GPU")
        return
    print(f"torch {torch.__version__} on {device}")
    print(markdown(ROWS, [*compare(device), *train(device)]), flush=True)
    timings = [
        timing
        for task, sizes in convolution.SIZES.items()
        for size in sizes
        for timing in time_case(convolution.case(task, size, device), [1])
    ]
    print(markdown(TIMES, rows(timings)))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cuda")
