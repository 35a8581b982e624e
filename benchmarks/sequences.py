"""Recurrences of n steps, all at once and one after another.

Linear recurrences have 8 sequences of 16 numbers, and factors that are constant, so that SciPy's
filter and a convolution by FFT can join in; neither the loop nor the scan makes use of that. The
nonlinear ones have 64 sequences of 64 numbers and as many states, beside torch's own. State spaces
have 8 sequences of 16 numbers and 32 complex states. The backward pass is that of the inputs and of
all factors or weights. Times are taken in float32; values are compared in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor, nn

from benchmarks.cases import Call, Case, compared, disagreement
from gdl.sequences.cells import GRUCell, LSTMCell, PlainCell
from gdl.sequences.recurrent import Recurrent
from gdl.sequences.scan import recurrence, scan
from gdl.sequences.state_space import StateSpace

LINEAR = "linear recurrence"
SPACE = "state space"
KINDS = {"LSTM": (nn.LSTM, LSTMCell), "GRU": (nn.GRU, GRUCell), "RNN": (nn.RNN, PlainCell)}
STEPS = {
    LINEAR: (8, 32, 128, 512, 2048),
    SPACE: (64, 256, 1024),
    **dict.fromkeys(KINDS, (20, 60, 180)),
}
PACKAGES = {"torch.fft": "torch", "scipy.signal.lfilter": "scipy"}
PACKAGES |= {f"torch.nn.{kind}": "torch" for kind in KINDS}
BATCH, CHANNELS, STATES = 8, 16, 32
WIDE = 64


def named(name: str, gradient: bool) -> str:
    return f"{name}, forward{' and backward' if gradient else ''}, n steps"


TASKS = {named(name, gradient): (name, gradient) for name in STEPS for gradient in (False, True)}
SIZES = {task: STEPS[name] for task, (name, _) in TASKS.items()}


def random(*shape: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def convolved(a: Tensor, b: Tensor) -> Tensor:
    """The recurrence of constant factors as a convolution with their powers."""
    steps = b.shape[-2]
    powers = a ** torch.arange(steps, dtype=a.dtype)[:, None]
    product = torch.fft.rfft(powers, 2 * steps, 0) * torch.fft.rfft(b, 2 * steps, -2)
    return torch.fft.irfft(product, 2 * steps, -2)[..., :steps, :]


def filtered(a: Tensor, b: Tensor) -> Tensor:
    columns = zip(a.detach().numpy(), b.detach().numpy().swapaxes(0, -1), strict=True)
    one = np.ones(1, dtype=a.detach().numpy().dtype)
    out = [lfilter(one, np.array([1, -factor], one.dtype), x, 0) for factor, x in columns]
    return torch.from_numpy(np.stack(out).swapaxes(0, -1))


Variants = tuple[dict[str, Callable[[], Tensor]], list[Tensor]]


def linear(steps: int, dtype: torch.dtype, gradient: bool) -> Variants:
    b = random(BATCH, steps, CHANNELS, dtype=dtype)
    a = torch.linspace(-0.9, 0.99, CHANNELS, dtype=torch.float64).to(dtype).requires_grad_()
    runs = {"loop": recurrence, "gdl, scan": scan, "torch.fft": convolved}
    if not gradient:
        runs["scipy.signal.lfilter"] = filtered
    return {name: lambda run=run: run(a, b) for name, run in runs.items()}, [a, b]


def nonlinear(kind: str, steps: int, dtype: torch.dtype) -> Variants:
    """Both layers have the weights of torch's, under which their gradients are listed too."""
    torch.manual_seed(0)
    layer, cell = KINDS[kind]
    theirs = layer(WIDE, WIDE, batch_first=True).to(dtype)
    ours = Recurrent(cell(WIDE, WIDE, dtype=dtype))
    names = [name for name, _ in ours.cell.named_parameters()]
    weights = [getattr(theirs, f"{name}_l0") for name in names]
    for name, weight in zip(names, weights, strict=True):
        setattr(ours.cell, name, weight)
    x = random(WIDE, steps, WIDE, dtype=dtype)
    return {f"torch.nn.{kind}": lambda: theirs(x)[0], "gdl": lambda: ours(x)[0]}, [x, *weights]


def space(steps: int, dtype: torch.dtype) -> Variants:
    torch.manual_seed(0)
    layer = StateSpace(CHANNELS, CHANNELS, STATES, dtype=torch.float64).to(dtype)
    x = random(BATCH, steps, CHANNELS, dtype=dtype)
    modes = ("recurrence", "scan", "convolution")
    runs = {mode: lambda mode=mode: layer(x, mode=mode) for mode in modes}
    return runs, [x, *layer.parameters()]


def variants(task: str, steps: int, dtype: torch.dtype) -> Variants:
    name, gradient = TASKS[task]
    if name == LINEAR:
        return linear(steps, dtype, gradient)
    return space(steps, dtype) if name == SPACE else nonlinear(name, steps, dtype)


def case(task: str, steps: int) -> Case:
    _, gradient = TASKS[task]

    def calls(dtype: torch.dtype) -> dict[str, Call]:
        runs, inputs = variants(task, steps, dtype)
        return compared(runs, inputs if gradient else None)

    return Case(
        task, steps, steps, calls(torch.float32), lambda: disagreement(calls(torch.float64))
    )
