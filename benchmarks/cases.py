"""A case is one task of one size that several implementations solve: ours and others."""

from __future__ import annotations

import importlib
import math
import multiprocessing
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

import gdl

AGREE = 1e-10
TURNS = 3  # a machine that slows down meanwhile meets all variants of a case
OURS = "gdl"

Call = Callable[[], object]
Outputs = Tensor | tuple[Tensor, ...]


def _listed(outputs: Outputs) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def without_gradients(run: Callable[[], Outputs]) -> Call:
    """Only the values."""

    def call() -> list[Tensor]:
        with torch.no_grad():
            return _listed(run())

    return call


def with_gradients(
    run: Callable[[], Outputs], inputs: Sequence[Tensor], shown: int | None = None
) -> Call:
    """The values, and gradients of the sum of their squares, which alone would not see them turned.

    All gradients are computed; ``shown`` says how many are compared, where later ones have other
    shapes in other variants.
    """

    def call() -> list[Tensor]:
        values = _listed(run())
        # The gradients of several numbers are those of their sum.
        squares = [value.square().sum() for value in values]
        slopes = torch.autograd.grad(squares, inputs)[:shown]
        return [*(value.detach() for value in values), *slopes]

    return call


def compared(
    runs: dict[str, Callable[[], Outputs]], inputs: Sequence[Tensor] | None
) -> dict[str, Call]:
    """The values, with gradients where there are inputs to differentiate by."""
    if inputs is None:
        return {name: without_gradients(run) for name, run in runs.items()}
    return {name: with_gradients(run, inputs) for name, run in runs.items()}


def worst(values: Iterable[float]) -> float:
    """The largest; not a number if one of them is none, which Python's max may pass over."""
    return float(torch.tensor([*values], dtype=torch.float64).max())


def apart(a: Tensor, b: Tensor) -> float:
    """The relative difference of two tensors; infinite beside zeros, unless both are equal."""
    if a.shape != b.shape:
        raise ValueError(f"variants: expected one shape, got {tuple(a.shape)}, {tuple(b.shape)}")
    return 0.0 if torch.equal(a, b) else float((a - b).norm() / b.norm())


def disagreement(calls: dict[str, Callable[[], Sequence[Tensor]]]) -> float:
    """The largest relative difference of the tensors of any variant from those of the first."""
    reference, *others = ([value.cpu() for value in call()] for call in calls.values())
    pairs = (pair for found in others for pair in zip(found, reference, strict=True))
    return worst(apart(a, b) for a, b in pairs)


def beside_cpu(calls: Callable[[torch.dtype, str], dict[str, Call]], device: str) -> float:
    """The disagreement in float64 on a device, from the first variant on the CPU."""
    reference, *_ = calls(torch.float64, "cpu").values()
    here = calls(torch.float64, device)
    return disagreement(here if device == "cpu" else {"CPU": reference} | here)


@dataclass
class Case:
    """One task at one size.

    Attributes:
        task: what is computed.
        size: the number in the task's name that is swept.
        work: the amount that the exponent of the time is fitted against.
        variants: name -> call without arguments; the first is the reference of the ratios.
        check: worst disagreement between the variants in float64, relative; run before timing.
    """

    task: str
    size: int
    work: int
    variants: dict[str, Call]
    check: Callable[[], float]


@dataclass(frozen=True)
class Run:
    """One variant of a case, on one device, with one number of threads.

    Attributes:
        turn: variants of a case take turns; this is one of TURNS, and their times are joined.
        measures_memory: whether this is the run that measures the peak as well: the last turn at
            the last size that a variant reaches, with all threads.
    """

    section: str
    task: str
    size: int
    device: str
    threads: int
    variant: str
    turn: int = 0
    measures_memory: bool = False

    def __str__(self) -> str:
        where = f"{self.task}, {self.size}, {self.device}, {self.threads} threads"
        return f"{where}, {self.variant}, turn {self.turn}"


def load(section: str) -> ModuleType:
    """The module of a section, in which SIZES, PACKAGES and case are looked up."""
    return importlib.import_module(f"benchmarks.{section}")


def build(section: str, task: str, size: int, device: str) -> Case:
    """The case; only sections that can run on another device are told about it."""
    make = load(section).case
    return make(task, size, device) if "device" in signature(make).parameters else make(task, size)


def devices(section: str) -> list[str]:
    """Where a section can run on this machine; one that asks whether it is available has a GPU."""
    module = load(section)
    if hasattr(module, "available"):
        return ["cuda"]
    movable = "device" in signature(module.case).parameters
    return ["cpu", "cuda"] if movable and torch.cuda.is_available() else ["cpu"]


def thread_counts(section: str, device: str) -> list[int]:
    """One thread and all of them, unless a section has its own; a GPU has its own."""
    every = torch.get_num_threads()
    counts = getattr(load(section), "THREADS", {1, every})
    return sorted(counts) if device == "cpu" else [every]


def runs(section: str) -> Iterator[Run]:
    """Everything that is measured in a section, variants of one case side by side."""
    for device in devices(section):
        for task, sizes in load(section).SIZES.items():
            named = {size: list(build(section, task, size, device).variants) for size in sizes}
            last = {variant: size for size, variants in named.items() for variant in variants}
            counts = thread_counts(section, device)
            yield from (
                Run(
                    section, task, size, device, threads, variant, turn,
                    (last[variant], counts[-1], TURNS - 1) == (size, threads, turn),
                )
                for size, variants in named.items()
                for threads in counts
                for turn in range(TURNS)
                for variant in variants
            )  # fmt: skip


def package(section: str, variant: str) -> tuple[str, str]:
    """Who does the work, and its version."""
    name = load(section).PACKAGES.get(variant, OURS)
    return name, gdl.__version__ if name == OURS else version(name)


def peak_of(call: Call, warm_up: Call) -> float:
    """Megabytes by which a call raises the peak of this process, after a smaller call.

    The peak never falls, so only one call can be measured in a process.
    """
    warm_up()
    before = _peak()
    call()
    return _peak() - before


def _peak() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        # Linux lets a process inherit ru_maxrss from the one that started it, but not this line.
        line = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        return 1024 * int(line[1]) / 1e6
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    import resource

    # Elsewhere the unit is bytes, as on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def peak_here(run: Run) -> float:
    """The peak of a run in this process, after the same variant at its smallest size."""
    small = build(run.section, run.task, load(run.section).SIZES[run.task][0], run.device)
    large = build(run.section, run.task, run.size, run.device)
    return peak_of(large.variants[run.variant], small.variants[run.variant])


def peak_in_a_process(run: Run) -> float:
    """The peak of a run in a fresh process, in megabytes; not a number when that ended early."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        # The server imports the libraries once, and has no threads that a fork would break.
        context.set_forkserver_preload([f"benchmarks.{run.section}"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(peak_here, run).result()
        except BrokenProcessPool:
            return math.nan


def peak_on_gpu(call: Call) -> float:
    """Megabytes that torch allocates on the GPU during a call, beyond what it held before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6
