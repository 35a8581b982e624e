"""Which variants are timed: those of the sections named by ``--section``."""

from __future__ import annotations

import pytest

from benchmarks.cases import runs


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--section", required=True, help="a module of benchmarks")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "run" in metafunc.fixturenames:
        metafunc.parametrize("run", list(runs(metafunc.config.getoption("section"))), ids=str)
