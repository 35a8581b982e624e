"""The training steps of full scale, in small, on the CPU and on a device that is not the CPU."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from benchmarks import layers, steps
from tests.benchmarks.other_device import other_device


def small(task: str) -> int:
    """As few as the network can be trained on."""
    return {"n papers": 20, "n vertices": 96}.get(task.split(", ")[-1], 2)


@pytest.mark.parametrize("task", steps.SIZES)
def test_a_step_is_the_same_on_another_device(task, monkeypatch):
    n = small(task)
    before = steps.drawn(task, n)
    moved, starts = steps.drawn(task, n), [p.clone() for p in before.network.parameters()]
    losses, weights = steps.after_a_step(before, "cpu")
    with other_device(monkeypatch) as device:
        there = steps.after_a_step(moved, device)
    assert layers.difference(there[0], losses) < 1e-12
    assert layers.difference(there[1], weights) < 1e-12
    assert {t.device.type for t in [*there[0], *there[1]]} == {device}
    assert layers.difference(weights, starts) > 1e-6


def test_another_step_is_noticed(monkeypatch):
    rates = itertools.count(1)

    def faster(n: int) -> steps.Training:
        x = torch.ones(n, 2)
        return steps.Training(nn.Linear(2, 1), (x,), x[:, :1], nn.MSELoss(), lr=1e-2 * next(rates))

    monkeypatch.setitem(steps.TASKS, "t", faster)
    assert steps.agreement("t", 3, "cpu") > 1e-3


def test_equal_steps_agree():
    task = "training step, LISTA, 100 keys, batch n"
    assert steps.agreement(task, 4, "cpu") == 0.0


def test_a_case_trains_in_each_call_and_waits(monkeypatch):
    waited, losses = [], []
    started = steps.started

    def listened(*arguments):
        network, step = started(*arguments)
        return network, lambda: losses.append(float(step()))

    monkeypatch.setattr(steps, "started", listened)
    monkeypatch.setattr(steps, "finished", waited.append)
    case = steps.case("training step, GIN, PROTEINS, n graphs", 3, device="cpu")
    for call in case.variants.values():
        call()
        call()
    assert waited == ["cpu"] * 4
    first, second = losses[:2], losses[2:]
    assert first == second
    assert first[0] != first[1]
    assert list(case.variants) == ["CPU, float32", "CUDA, float32"]


def test_sizes_are_those_of_the_data():
    sizes = {task: n for task, (n,) in steps.SIZES.items()}
    assert sizes["training step, GCN, Cora, n papers"] == 2708
    assert len(sizes) > 12
    assert steps.available is layers.available
    assert steps.PACKAGES == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
@pytest.mark.parametrize("task", steps.SIZES)
def test_a_step_agrees_on_the_gpu(task):
    assert steps.agreement(task, small(task), "cuda") < 1e-10
