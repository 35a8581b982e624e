"""Every layer is in the benchmark of the GPU, and goes where it is sent, which needs no GPU."""

from __future__ import annotations

import functools
import importlib
import itertools
import math
import pkgutil

import pytest
import torch
from torch import Tensor, nn

import gdl
from benchmarks import layers
from benchmarks.layers import differences, evaluate, made
from benchmarks.samples import F64, LAYERS, Sample
from gdl import attention, graphs, sequences
from tests.benchmarks.other_device import other_device

NOT_CALLED = {
    attention.Heads: "what two layers share, without a forward pass",
    graphs.MessagePassing: "abstract: a layer says what it hears",
    sequences.Cell: "abstract: a cell says how it advances",
}
OF_GRIDS = ("CircularConv", "LocallyConnected2d", "BlurPool", "Polyphase", "Residual", "UNet")


def exported() -> set[type[nn.Module]]:
    rooms = (importlib.import_module(m.name) for m in pkgutil.iter_modules(gdl.__path__, "gdl."))
    names = [getattr(room, name) for room in rooms for name in getattr(room, "__all__", ())]
    return {x for x in names if isinstance(x, type) and issubclass(x, nn.Module)}


@functools.cache
def on_cpu(name: str) -> tuple[list[Tensor], list[Tensor]]:
    return evaluate(made(name, "cpu", F64))


class Forgetful(nn.Module):
    """Keeps a tensor where ``to`` does not find it."""

    def __init__(self):
        super().__init__()
        self.scale = torch.tensor([2.0, 3.0], dtype=F64)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale.to(x.dtype) * x


class Drifting(nn.Module):
    """Not the same function in the next network."""

    born = itertools.count()

    def __init__(self, of_float32: bool):
        super().__init__()
        self.shift, self.of_float32 = 1e-2 * next(self.born), of_float32

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift * ((x.dtype == torch.float32) == self.of_float32)


class Stuck(nn.Identity):
    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32:
            raise RuntimeError("no float32\nmore")
        return x


def test_every_layer_is_there():
    there = {type(make().layer) for make in LAYERS.values()}
    assert exported() - there == set(NOT_CALLED)
    assert there <= exported()
    assert len(there) > 100


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_goes_to_another_device(name, monkeypatch):
    outputs, gradients = on_cpu(name)
    assert any(y.any() for y in outputs)
    sample = made(name, "cpu", F64)
    with other_device(monkeypatch) as device:
        found, slopes = evaluate(sample.on(device, F64))
    assert layers.difference(found, outputs) < 1e-12
    assert layers.difference(slopes, gradients) < 1e-12
    assert {t.device.type for t in [*found, *slopes]} == {device}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_in_float32_is_near(name):
    sample = made(name, "cpu", torch.float32)
    for found, expected in zip(evaluate(sample), on_cpu(name), strict=True):
        assert layers.difference(found, expected) < 1e-4
        assert {t.dtype for t in found} <= {torch.float32}


def test_a_tensor_that_is_left_behind_is_noticed(monkeypatch):
    monkeypatch.setitem(LAYERS, "forgetful", lambda: Sample(Forgetful(), (torch.ones(3, 2),)))
    assert layers.agreement("forgetful", "cpu") == 0.0
    with other_device(monkeypatch) as device, pytest.raises(RuntimeError, match="same device"):
        layers.agreement("forgetful", device)


def test_another_function_on_the_device_is_noticed(monkeypatch):
    monkeypatch.setitem(LAYERS, "drift", lambda: Sample(Drifting(False), (torch.ones(3),)))
    assert layers.agreement("drift", "cpu") > 1e-3
    monkeypatch.setitem(LAYERS, "drift", lambda: Sample(Drifting(True), (torch.ones(3),)))
    with pytest.raises(ValueError, match=r"drift: float32 on cpu differs by"):
        layers.agreement("drift", "cpu")


def test_gradients_see_what_a_plain_sum_does_not():
    x = torch.randn(4, 5, dtype=F64, requires_grad=True)
    outputs, (gradient,) = evaluate(Sample(nn.Softmax(-1), (x,)))
    assert gradient.norm() > 0.1
    (of_sum,) = torch.autograd.grad(x.softmax(-1).sum(), x)
    assert of_sum.norm() < 1e-14


def test_differences():
    one, two = torch.ones(3), torch.tensor([1.0, 1.0, 2.0])
    assert layers.difference([], []) == 0.0
    assert layers.difference([one, two], [one, two]) == 0.0
    assert layers.difference([two], [one]) == pytest.approx(1 / math.sqrt(3))
    assert math.isnan(layers.difference([one * math.nan], [one]))
    assert layers.difference([one], [0 * one]) == math.inf


def test_each_mode_of_the_table(monkeypatch):
    # On a CPU compiling needs a C++ compiler; the layers' own tests compile without one.
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda layer: compiled.append(layer))
    chosen = {name: make for name, make in LAYERS.items() if name.startswith(OF_GRIDS)}
    monkeypatch.setattr(layers, "LAYERS", chosen)
    rows = list(layers.compare("cpu"))
    assert len(rows) == len(layers.MODES) * len(chosen)
    assert len(compiled) == len(chosen) > 9
    # In eight bits gradients lose more than outputs: most seen is 0.10, for the polyphase U-net.
    bounds = {"float64": (1e-12, 1e-12), "bfloat16 autocast": (0.1, 0.2)}
    for name, mode, *found in rows:
        outputs, gradients = bounds.get(mode, (1e-5, 1e-5))
        assert float(found[0]) < outputs, (name, mode)
        assert float(found[1]) < gradients, (name, mode)
    lower = [found for _, mode, *found in rows if mode == "bfloat16 autocast"]
    assert max(float(outputs) for outputs, _ in lower) > 1e-4


def test_a_layer_that_fails_is_reported_in_its_row(monkeypatch):
    stuck = {"stuck": lambda: Sample(Stuck(), (torch.ones(3),))}
    monkeypatch.setattr(layers, "LAYERS", stuck | {"BlurPool": LAYERS["BlurPool"]})
    monkeypatch.setattr(layers, "MODES", ("float32", "float64"))
    rows = list(layers.compare("cpu"))
    assert rows[:2] == [
        ("stuck", "float32", "RuntimeError", "no float32"),
        ("stuck", "float64", "0.0e+00", "0.0e+00"),
    ]
    assert [row[0] for row in rows[2:]] == ["BlurPool"] * 2


def test_a_case_runs_and_waits_for_the_device(monkeypatch):
    waited = []
    monkeypatch.setattr(layers, "finished", waited.append)
    task, *_ = layers.SIZES
    case = layers.case(task, 1, device="cpu")
    assert list(case.variants) == ["CPU, float32", "CUDA, float32"]
    for call in case.variants.values():
        call()
    assert waited == ["cpu", "cpu"]
    assert case.check() == 0.0
    assert layers.PACKAGES == {}


def test_a_layer_that_fails_hides_no_other_call(monkeypatch):
    monkeypatch.setitem(LAYERS, "stuck", lambda: Sample(Stuck(), (torch.ones(3),)))
    monkeypatch.setitem(layers.TASKS, "t", "stuck")
    case = layers.case("t", 1, device="cpu")
    for call in [*case.variants.values(), case.check]:
        with pytest.raises(RuntimeError, match="no float32"):
            call()


def test_a_gpu_is_waited_for(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(1))
    layers.finished("cpu")
    assert not waited
    layers.finished("cuda:0")
    assert waited == [1]


def test_float32_is_not_rounded_and_settings_come_back():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with pytest.raises(RuntimeError, match="inside"), layers.full_precision():
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
        raise RuntimeError("inside")
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert layers.available() == "skipped: torch sees no GPU"
    layers.main("cuda")
    assert capsys.readouterr().out == "skipped: torch sees no GPU\n"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert layers.available() is None


def test_the_table_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(layers, "compare", lambda device: [("BlurPool", "float64", "0", "1")])
    layers.main("cpu")
    assert capsys.readouterr().out.splitlines()[1:] == ["BlurPool | float64 | 0 | 1"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_agrees_on_the_gpu(name):
    assert layers.agreement(name, "cuda") < 1e-10
    assert max(differences(name, "cuda", "float32")) < layers.AGREE32
