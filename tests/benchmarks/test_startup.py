"""The imports that are timed succeed, in an interpreter of their own; a broken one is noticed."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks import startup
from benchmarks.cases import load

(CASE,) = (startup.case(task, n) for task, sizes in startup.SIZES.items() for n in sizes)


def test_the_variants_are_torch_and_one_room_more():
    assert list(CASE.variants) == ["import torch, gdl.equivariance", "import torch"]
    assert load("startup").PACKAGES == {"import torch": "torch"}


@pytest.mark.parametrize("variant", list(CASE.variants))
def test_an_import_succeeds(variant):
    CASE.variants[variant]()


def test_the_room_offers_its_solver():
    assert CASE.check() == 0


@pytest.mark.parametrize(
    "code", ["import gdl.no_such_room", startup.SOLVES.replace("_basis", "_bases")]
)
def test_a_room_that_is_broken_is_noticed(code, monkeypatch):
    monkeypatch.setattr(startup, "SOLVES", code)
    assert CASE.check() == math.inf


def test_an_import_that_fails_is_not_timed():
    with pytest.raises(RuntimeError, match="(?s)'import nothing_here' failed: .*ModuleNotFound"):
        startup.start("import nothing_here")


def test_nothing_is_imported_before_and_the_threads_are_those_of_the_row():
    code = "import os, sys; print('torch' in sys.modules, os.environ['OMP_NUM_THREADS'])"
    assert startup.run(code).stdout.split() == ["False", str(torch.get_num_threads())]
