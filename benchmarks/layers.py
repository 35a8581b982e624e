"""Every layer of the package on the GPU beside the same layer on the CPU, forward and backward.

The smallest instance that shows all that a layer does: these times are the cost of its calls, not
of its arithmetic. The backward pass is that of the inputs and of all weights. TF32 is off. Before
they are timed, outputs and gradients in float64 on the GPU are compared with those on the CPU, and
those in float32 too, which may differ by a thousandth.

    python -m benchmarks.layers [DEVICE]

prints the differences, also of compiled layers and under autocast to bfloat16.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from benchmarks.cases import Case, worst
from benchmarks.samples import F64, LAYERS, Sample

AGREE32 = 1e-3
MODES = ("float64", "float32", "compiled", "bfloat16 autocast")
PACKAGES: dict[str, str] = {}

TASKS = {f"forward and backward, {name}": name for name in LAYERS}
SIZES = dict.fromkeys(TASKS, (1,))


def made(name: str, device: str, dtype: torch.dtype) -> Sample:
    """The layer with the same weights and inputs wherever it goes: all are drawn on the CPU."""
    torch.manual_seed(0)
    sample = LAYERS[name]()
    sample.layer.double()
    return sample.on(device, dtype)


def tensors(outputs: object) -> list[Tensor]:
    """Those in nested tuples or lists that have decimals."""
    if isinstance(outputs, Tensor):
        return [outputs] if outputs.is_floating_point() else []
    return [t for part in outputs for t in tensors(part)] if isinstance(outputs, Sequence) else []


def wave(outputs: Sequence[Tensor]) -> Tensor:
    """One number; a plain sum would not see a layer whose outputs sum to 1."""
    y = torch.cat([y.flatten() for y in outputs])
    y = y.to(torch.promote_types(y.dtype, torch.float32))
    return y @ torch.arange(len(y), dtype=y.dtype, device=y.device).cos()


def evaluate(sample: Sample) -> tuple[list[Tensor], list[Tensor]]:
    """The outputs, and the gradients of one number made of them."""
    outputs, leaves = tensors(sample()), sample.leaves()
    if not leaves:
        return outputs, []
    gradients = torch.autograd.grad(
        wave(outputs), leaves, allow_unused=True, materialize_grads=True
    )
    return outputs, list(gradients)


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Relative, of all entries together."""
    a, b = (
        torch.cat([torch.zeros(0, dtype=F64), *(t.detach().cpu().double().flatten() for t in ts)])
        for ts in (found, expected)
    )
    return 0.0 if torch.equal(a, b) else float((a - b).norm() / b.norm())


@contextmanager
def full_precision() -> Iterator[None]:
    """Convolutions on a GPU otherwise round float32 to ten bits."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def finished(device: str) -> None:
    """A GPU returns before its work is done."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def available() -> str | None:
    """None, or why nothing here can be measured."""
    return None if torch.cuda.is_available() else "skipped: torch sees no GPU"


def differences(name: str, device: str, mode: str) -> tuple[float, float]:
    """Of outputs and of gradients, on the device in this mode from float64 on the CPU."""
    outputs, gradients = evaluate(made(name, "cpu", F64))
    sample = made(name, device, F64 if mode == "float64" else torch.float32)
    if mode == "compiled":
        sample.layer.compile()
    lower = torch.autocast(torch.device(device).type, torch.bfloat16, mode == "bfloat16 autocast")
    with full_precision(), lower:
        found, slopes = evaluate(sample)
    return difference(found, outputs), difference(slopes, gradients)


def agreement(name: str, device: str) -> float:
    """The larger difference in float64; raises where that in float32 is too large."""
    rounded = worst(differences(name, device, "float32"))
    if not rounded < AGREE32:
        raise ValueError(f"{name}: float32 on {device} differs by {rounded:.1e} from float64")
    return worst(differences(name, device, "float64"))


def timed(name: str, device: str) -> Callable[[], object]:
    """One pass in float32; the first call makes the layer, so that a failure is that call's."""
    sample = cache(lambda: made(name, device, torch.float32))

    def call() -> None:
        with full_precision():
            evaluate(sample())
            finished(device)

    return call


def case(task: str, n: int, device: str = "cuda") -> Case:
    name = TASKS[task]
    variants = {"CPU, float32": timed(name, "cpu"), "CUDA, float32": timed(name, device)}
    return Case(task, n, n, variants, lambda: agreement(name, device))


def compare(device: str) -> Iterator[tuple[str, ...]]:
    """A row for each layer and mode; a failure is reported in its row."""
    for name in LAYERS:
        for mode in MODES:
            try:
                outputs, gradients = differences(name, device, mode)
            except Exception as error:  # one broken layer must not hide the others
                yield name, mode, type(error).__name__, f"{error}".partition("\n")[0][:80]
            else:
                yield name, mode, f"{outputs:.1e}", f"{gradients:.1e}"


def main(device: str) -> None:
    if torch.device(device).type == "cuda" and (why := available()):
        print(why)
        return
    print(f"torch {torch.__version__} on {device}")
    for row in compare(device):
        print(" | ".join(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cuda")
