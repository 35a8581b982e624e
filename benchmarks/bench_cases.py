"""The benchmark of one variant; ``python -m benchmarks`` runs it for every variant of a section."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache

import torch
from threadpoolctl import threadpool_limits

from benchmarks.cases import (
    AGREE,
    Call,
    Case,
    Run,
    build,
    package,
    peak_in_a_process,
    peak_on_gpu,
)

# Neighbouring runs share a case; older ones must not keep their memory.
built = lru_cache(maxsize=1)(build)


@lru_cache(maxsize=1)
def agreed(section: str, task: str, size: int, device: str) -> float:
    return built(section, task, size, device).check()


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Torch, and the libraries below NumPy and SciPy, each have a pool of threads of their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def finished(call: Call, device: str) -> Call:
    """A GPU returns before its work is done."""
    if device == "cpu":
        return call

    def wait() -> None:
        call()
        torch.cuda.synchronize()

    return wait


def peak(run: Run, case: Case) -> float | None:
    if not run.measures_memory:
        return None
    return (
        peak_in_a_process(run) if run.device == "cpu" else peak_on_gpu(case.variants[run.variant])
    )


def place(device: str) -> str:
    return platform.machine() if device == "cpu" else torch.cuda.get_device_name()


def bench_variant(benchmark, run: Run) -> None:
    where = run.section, run.task, run.size, run.device
    difference, case = agreed(*where), built(*where)
    # Times of variants that compute different things mean nothing.
    assert difference < AGREE, f"{run.task}, size {run.size}: they differ by {difference:.1e}"
    with limited(run.threads):
        benchmark(finished(case.variants[run.variant], run.device))
    name, release = package(run.section, run.variant)
    benchmark.extra_info |= asdict(run) | {
        "work": case.work,
        "package": name,
        "version": release,
        "difference": difference,
        "peak_mb": peak(run, case),
        "place": place(run.device),
    }
