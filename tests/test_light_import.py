"""What ``import gdl.equivariance`` and a first solution load: no package that is slow to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = {"scipy", "matplotlib", "numpy.f2py", "torch_geometric", "e3nn", "pandas"}
ROOT = Path(__file__).parents[1]


def loaded(statement: str, *folders: Path) -> set[str]:
    """Which of the slow packages a fresh interpreter has after a statement."""
    code = f"import sys; sys.path[:0] = {list(map(str, folders))}; {statement}"
    code += f"; print(*sorted({SLOW} & set(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_equivariance_loads_nothing_slow():
    assert loaded("import gdl.equivariance") == set()


@pytest.mark.parametrize("group", ["symmetric(3)", "translations(2, 3)", "SO(3)"])
def test_a_first_solution_loads_nothing_slow(group):
    code = "from gdl import equivariance as e, representations as r"
    code += f"; rho = r.tensor_power(r.{group}.defining, 2); e.equivariant_basis(rho, rho)"
    assert loaded(code) == set()


@pytest.mark.parametrize("name", sorted(SLOW))
def test_a_slow_import_is_seen(tmp_path, name):
    """Stand-ins, so that packages that are not installed are seen too."""
    package = tmp_path.joinpath(*name.split("."))
    package.mkdir(parents=True)
    for folder in (package, *package.parents):
        if folder == tmp_path:
            break
        (folder / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "planted.py").write_text(f"import {name}\n", encoding="utf-8")
    assert loaded("import planted", tmp_path) == {name}
