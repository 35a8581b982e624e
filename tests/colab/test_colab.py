"""A chapter alone, as in Colab: no package of the book, no documentation tools, an empty folder.

The stand-in for Colab is a virtual environment that holds hard links to what Colab has: torch,
numpy and their like, of this environment's versions, and nothing else. The set-up cell installs the
rest from a clone of this repository, and must leave torch and numpy as they are.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode, v4
from packaging.requirements import Requirement

from tests.book.chapters import CHAPTERS, ROOT, SETUP_CELL, code_cells, files
from tools import nb as nbtool

PRESENT = (
    "torch", "numpy", "scipy", "matplotlib", "scikit-learn", "scikit-image", "networkx", "tqdm",
    "ipykernel", "pip",
)
ABSENT = ("gdl-book", "jupyter-book", "sphinx", "myst-nb", "nbval", "pytest", "jupytext")
UNTOUCHED = ("torch", "numpy")

pytestmark = pytest.mark.slow


def with_dependencies(names: tuple[str, ...]) -> set[str]:
    """The distributions that these need, themselves included."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)
    return found


def link(name: str, target: Path) -> None:
    """Give another environment the files of a distribution, but for scripts, headers and tests."""
    for file in metadata.files(name) or ():
        if {"..", "include", "tests"} & set(file.parts):
            continue
        source, copy = Path(file.locate()), target / file
        if source.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, copy)


def state(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Identity, time and size of each file: all change when pip installs a file anew."""
    paths = (path for path in folder.rglob("*") if path.suffix != ".pyc" and path.is_file())
    stats = {path: path.stat() for path in paths}
    return {path: (s.st_ino, s.st_mtime_ns, s.st_size) for path, s in stats.items()}


@dataclass
class Colab:
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site(self) -> Path:
        return next(self.folder.glob("lib/python*/site-packages"))

    def versions(self) -> dict[str, str]:
        listed = [self.python, "-m", "pip", "list", "--format=json"]
        found = json.loads(subprocess.run(listed, capture_output=True, check=True).stdout)
        return {package["name"].lower(): package["version"] for package in found}

    def core(self) -> dict[Path, tuple[int, int, int]]:
        """The state of all that must stay untouched."""
        patterns = [pattern for name in UNTOUCHED for pattern in (name, f"{name}-*.dist-info")]
        folders = [path for pattern in patterns for path in self.site.glob(pattern)]
        return {path: known for folder in folders for path, known in state(folder).items()}

    def run(self, nb: NotebookNode, cwd: Path, source: str) -> NotebookNode:
        hidden = ("PYTHONPATH", "VIRTUAL_ENV", "GDL_SOURCE", "JPY_SESSION_NAME")
        env = {key: value for key, value in os.environ.items() if key not in hidden}
        env |= {"GDL_SOURCE": source, "MPLCONFIGDIR": str(self.folder / "matplotlib")}
        return nbtool.execute(nb, cwd=cwd, env=env, kernel="colab")


@pytest.fixture(scope="module")
def bare() -> Iterator[Colab]:
    """The environment before any chapter ran; beside our own, where hard links are possible."""
    folder = Path(tempfile.mkdtemp(prefix="colab-", dir=sys.prefix))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    colab = Colab(folder)
    for name in with_dependencies(PRESENT):
        link(name, colab.site)
    kernel = folder / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    command = [str(colab.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    settings = {"argv": command, "display_name": "Colab", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
        yield colab
    shutil.rmtree(folder)


def clone() -> str:
    """Where pip finds this repository: the last commit, or the files themselves if they differ."""
    if git("status", "--porcelain", "--", "gdl", "pyproject.toml", "README.md"):
        return f"file://{ROOT}"
    return f"git+file://localhost{ROOT}@{git('rev-parse', 'HEAD')}"


def git(*arguments: str) -> str:
    command = ["git", *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


@pytest.fixture(scope="module")
def installed(bare, tmp_path_factory) -> tuple[Colab, dict[str, str], dict]:
    """The environment after the set-up cell, with the versions and the core before it."""
    versions, core = bare.versions(), bare.core()
    cell = v4.new_notebook(cells=[v4.new_code_cell(SETUP_CELL)])
    ran = bare.run(cell, tmp_path_factory.mktemp("empty"), clone())
    assert ran.cells[0].outputs == []
    return bare, versions, core


def test_a_wrong_source_stops_the_chapter(bare, tmp_path):
    """Comes first: afterwards the package is there, and the cell installs nothing."""
    cell = v4.new_notebook(cells=[v4.new_code_cell(SETUP_CELL)])
    with pytest.raises(CellExecutionError, match="CalledProcessError"):
        bare.run(cell, tmp_path, f"file://{tmp_path}/missing")


def test_the_stand_in_has_what_colab_has(installed):
    _, before, _ = installed
    assert set(PRESENT) <= set(before)
    assert not set(ABSENT) & set(before)


def test_set_up_leaves_torch_and_numpy_alone(installed):
    colab, before, core = installed
    after = colab.versions()
    assert {name: after[name] for name in before} == before
    assert len(core) > 1000
    assert colab.core() == core


def test_set_up_installs_the_book_and_no_documentation_tools(installed):
    colab, before, _ = installed
    new = set(colab.versions()) - set(before)
    assert "gdl-book" in new
    assert new & set(ABSENT) == {"gdl-book"}


def test_the_installed_package_is_complete(installed):
    colab, _, _ = installed
    expected = {name for name in files() if name.startswith("gdl/")}
    found = {path.relative_to(colab.site).as_posix() for path in state(colab.site / "gdl")}
    assert found == expected


def test_a_changed_file_is_noticed(tmp_path):
    path = tmp_path / "core.py"
    path.write_text("x = 1", encoding="utf-8")
    before = state(tmp_path)
    assert state(tmp_path) == before
    shutil.copy2(path, tmp_path / "new")
    (tmp_path / "new").replace(path)
    assert state(tmp_path) != before


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_runs_alone(path, installed, tmp_path):
    colab, _, core = installed
    shutil.copy(path, tmp_path)
    stored = nbtool.read(path)
    ran = nbtool.normalise(colab.run(stored, tmp_path, "file:///never/read"))
    assert nbtool.problems(ran) == []
    assert claimed(ran) == claimed(stored)
    assert colab.core() == core


def claimed(nb: NotebookNode) -> list[str]:
    """The text of every claim."""
    outputs = (output for cell in code_cells(nb) for output in cell.outputs)
    return [output.data["text/plain"] for output in outputs if "gdl" in output.get("metadata", {})]
