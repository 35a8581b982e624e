"""Every benchmark runs at its smallest size; runs, peaks and threads are what they say."""

from __future__ import annotations

import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import bench_cases, cases, convolution, solver
from benchmarks.cases import Case, Run
from gdl.grids import CircularConv

SECTIONS = [name for name in command.SECTIONS if not command.skipped(name)]
TASKS = [(name, task) for name in SECTIONS for task in cases.load(name).SIZES]
RUN = Run("convolution", convolution.FORWARD, 16, "cpu", 1, "torch.fft")


class Benchmark:
    """In place of the fixture of pytest-benchmark."""

    def __init__(self):
        self.called, self.extra_info = [], {}

    def __call__(self, call):
        self.called.append(torch.get_num_threads())
        call()


@pytest.mark.parametrize(("section", "task"), TASKS, ids=[task for _, task in TASKS])
def test_a_benchmark_runs_at_its_smallest_size(section, task):
    case = cases.build(section, task, cases.load(section).SIZES[task][0], "cpu")
    assert case.check() < cases.AGREE
    for call in case.variants.values():
        call()


def test_a_run_is_recorded(monkeypatch):
    fixture = Benchmark()
    bench_cases.bench_variant(fixture, RUN)
    info = fixture.extra_info
    assert fixture.called == [1]
    assert (info["variant"], info["package"], info["version"]) == (
        "torch.fft",
        "torch",
        torch.__version__,
    )
    assert (info["work"], info["peak_mb"]) == (256, None)
    assert 0 < info["difference"] < cases.AGREE


@pytest.mark.parametrize(("found", "said"), [(1e-3, r"1\.0e-03"), (math.nan, "nan")])
def test_variants_that_disagree_are_not_timed(found, said, monkeypatch):
    wrong = Case("sum", 1, 1, {"torch.fft": lambda: pytest.fail("timed")}, check=lambda: found)
    monkeypatch.setattr(bench_cases, "built", lambda *where: wrong)
    bench_cases.agreed.cache_clear()
    with pytest.raises(AssertionError, match=f"differ by {said}"):
        bench_cases.bench_variant(Benchmark(), RUN)
    bench_cases.agreed.cache_clear()


ONES = [torch.ones(2), torch.ones(2)]


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("variant", ["a", "b", "c"])
def test_a_variant_that_is_not_a_number_disagrees(variant, k):
    calls = dict.fromkeys("abc", lambda: ONES)
    assert cases.disagreement(calls) == 0.0
    planted = [*ONES[:k], ONES[k] * math.nan, *ONES[k + 1 :]]
    found = cases.disagreement(calls | {variant: lambda: planted})
    assert math.isnan(found) and not found < cases.AGREE


def test_the_largest_disagreement_counts():
    x = torch.ones(4)
    calls = {"a": lambda: [x, x], "b": lambda: [x, x + 1e-3], "c": lambda: [x, x]}
    assert cases.disagreement(calls) == pytest.approx(1e-3, rel=1e-3)
    assert cases.worst([1.0, 3.0, 2.0]) == 3.0
    assert cases.apart(x, 0 * x) == math.inf and cases.apart(0 * x, 0 * x) == 0.0


def test_variants_with_other_shapes_or_fewer_tensors_are_refused():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 1\), \(2,\)"):
        cases.disagreement({"a": lambda: [torch.ones(2)], "b": lambda: [torch.ones(2, 1)]})
    with pytest.raises(ValueError, match="longer"):
        cases.disagreement({"a": lambda: ONES, "b": lambda: ONES[:1]})


def test_values_are_compared_beside_gradients():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    runs = {"own": lambda: 1 * x, "turned": lambda: -x}
    # The squares are those of a turned value, and so are their gradients.
    assert cases.disagreement(cases.compared(runs, [x])) == 2.0
    assert cases.disagreement(cases.compared(runs, None)) == 2.0
    value, slope = cases.with_gradients(lambda: 3 * x, [x])()
    assert not value.requires_grad and slope.tolist() == [18.0, 36.0]
    assert not cases.without_gradients(lambda: 3 * x)()[0].requires_grad
    assert len(cases.with_gradients(lambda: x, [x, x], shown=1)()) == 2


def test_several_values_are_compared_beside_the_gradients_of_all():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    own, doubled, slope = cases.with_gradients(lambda: (1 * x, 2 * x), [x])()
    assert (own.tolist(), doubled.tolist()) == ([1.0, 2.0], [2.0, 4.0])
    assert slope.tolist() == [10.0, 20.0]
    assert len(cases.without_gradients(lambda: (x, x))()) == 2


def test_a_variant_that_computes_something_else_is_noticed(monkeypatch):
    monkeypatch.setattr(convolution, "torch_fft", lambda layer, x: layer(x.roll(1, -1)))
    assert convolution.case(convolution.FORWARD, 16).check() > 0.1


def test_a_solver_that_misses_a_map_is_noticed(monkeypatch):
    found = solver.null_space
    monkeypatch.setattr(solver, "null_space", lambda C: found(C)[1:])
    assert solver.case(solver.TORUS, 3).check() == float("inf")


def test_a_solver_that_finds_another_space_is_noticed(monkeypatch):
    found = solver.null_space
    monkeypatch.setattr(solver, "null_space", lambda C: found(C).roll(1, -1).mT.contiguous())
    assert solver.case(solver.TENSORS, 3).check() > 0.1


@pytest.mark.parametrize("backend", [convolution.torch_conv, convolution.torch_fft])
def test_both_references_are_the_layer(backend):
    layer = CircularConv(2, 3, 5, dtype=torch.float64)
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    assert torch.allclose(backend(layer, x), layer(x), atol=1e-12, rtol=0)


def test_every_variant_runs_once_for_each_number_of_threads(monkeypatch):
    monkeypatch.setattr(cases, "thread_counts", lambda *where: [1, 2])
    found = [run for run in cases.runs("convolution") if run.task == convolution.KERNEL]
    sizes = convolution.SIZES[convolution.KERNEL]
    assert len(found) == len(set(found)) == cases.TURNS * 2 * 4 * len(sizes)
    measured = {(run.size, run.threads, run.turn) for run in found if run.measures_memory}
    assert measured == {(sizes[-1], 2, cases.TURNS - 1)}


def test_variants_take_turns():
    first = [run for run in cases.runs("convolution") if run.task == convolution.KERNEL][:8]
    assert len({run.variant for run in first[:4]}) == 4
    assert [run.variant for run in first[4:]] == [run.variant for run in first[:4]]


def test_a_variant_that_stops_early_is_measured_where_it_stops(monkeypatch):
    class Section:
        SIZES = {"t": (1, 2)}

        @staticmethod
        def case(task, size):
            names = ["fast", "slow"][: 3 - size]
            return Case(task, size, size, dict.fromkeys(names, int), lambda: 0.0)

    monkeypatch.setattr(cases, "load", lambda section: Section)
    monkeypatch.setattr(cases, "thread_counts", lambda *where: [1])
    memory = {(run.variant, run.size) for run in cases.runs("s") if run.measures_memory}
    assert memory == {("fast", 2), ("slow", 1)}


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), bench_cases.limited(1):
        raise KeyError
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("gpu", [False, True])
def test_where_a_section_runs(gpu, monkeypatch):
    """On a GPU if it can move; what measures GPUs alone stays there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert cases.devices("graphs") == ["cpu", "cuda"][: 1 + gpu]
    assert cases.devices("solver") == ["cpu"]
    assert cases.devices("layers") == cases.devices("steps") == ["cuda"]


def test_on_one_thread_and_on_all(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert cases.thread_counts("graphs", "cpu") == [1, 7]
    assert cases.thread_counts("graphs", "cuda") == [7]
    assert cases.thread_counts("startup", "cpu") == [1]


def test_runs_have_names_of_their_own():
    assert str(RUN) == f"{convolution.FORWARD}, 16, cpu, 1 threads, torch.fft, turn 0"
    found = [str(run) for run in cases.runs("convolution")]
    assert len(found) == len(set(found))


def test_a_peak_is_what_a_call_adds_after_a_smaller_one(monkeypatch):
    said, peaks = [], iter([30.0, 37.0])
    monkeypatch.setattr(cases, "_peak", lambda: said.append("peak") or next(peaks))
    assert cases.peak_of(lambda: said.append("call"), lambda: said.append("small")) == 7
    assert said == ["small", "peak", "call", "peak"]


MEGABYTES = 300


def peak_of_ones() -> float:
    return cases.peak_of(lambda: torch.ones(MEGABYTES * 250_000), lambda: torch.ones(1))


def test_a_large_allocation_raises_the_peak():
    # In a process of its own: another test of this one may have reached a higher peak before.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert 0.9 * MEGABYTES < pool.submit(peak_of_ones).result() < 1.1 * MEGABYTES


@pytest.mark.slow
def test_the_peak_of_a_variant_is_measured_in_a_process_of_its_own():
    large = Run("tensors", "15 maps, 32 -> 32 channels, n x n, batch 8", 64, "cpu", 1, "")
    stack, ours = (
        cases.peak_in_a_process(Run(*list(vars(large).values())[:5], variant))
        for variant in ("stack + einsum", "TensorLinear")
    )
    # Fifteen maps of 8 x 32 x 64 x 64 numbers take 63 MB.
    assert 60 < stack < 300
    assert 0 <= ours < stack


def test_a_process_that_dies_has_no_peak(monkeypatch):
    class Broken:
        def __init__(self, *_, **__): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def submit(self, *_):
            raise cases.BrokenProcessPool

    monkeypatch.setattr(cases, "ProcessPoolExecutor", Broken)
    assert cases.peak_in_a_process(RUN) != cases.peak_in_a_process(RUN)
