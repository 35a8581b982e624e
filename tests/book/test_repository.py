"""What must not lie in the repository, and what a linter can see."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.book.chapters import ROOT, files
from tools.nb import MACHINE_PATH

TEXT = (".py", ".md", ".ipynb", ".yml", ".yaml", ".toml", ".txt", ".csv", ".bib", ".css", ".js",
        ".mjs", ".cff", ".html", "Makefile", "run")
# These show paths and unfinished marks on purpose: they test the search for them.
EXAMPLES = ("tests/book/test_repository.py", "tests/book/test_anatomy.py", "tools/nb.py")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|TBD)\b")
# The letters of an encoded picture mean nothing.
PICTURE = re.compile(r'"image/png": "[^"]*"|;base64,[\w+/=]+')
HOSTS = re.compile(r"find-links|\b(?:10|192\.168)(?:\.\d+){2,3}(?::\d+)?/")
MAX_BYTES = 2_000_000


def _texts() -> list[str]:
    return sorted(name for name in files() if name.endswith(TEXT) and name not in EXAMPLES)


def text_problems(text: str) -> list[str]:
    text = PICTURE.sub("", text)
    found = [match[0] for match in (UNFINISHED.search(text), MACHINE_PATH.search(text)) if match]
    found += [match[0] for match in [HOSTS.search(text)] if match]
    return found + [path for path in (str(ROOT), str(Path.home())) if path + "/" in text]


def test_no_unfinished_mark_and_no_path_of_a_machine():
    found = {}
    for name in _texts():
        if problems := text_problems((ROOT / name).read_text(encoding="utf-8")):
            found[name] = problems
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "# TODO: finish",
        "see FIXME",
        "open('/home/reader/x.txt')",
        f"cd {ROOT}/gdl",
        "pip install --find-links wheels",
        "http://10.0.0.1/simple",
    ],
)
def test_an_unfinished_mark_or_path_is_found(text):
    assert text_problems(text)


def test_an_encoded_picture_is_not_read():
    assert text_problems('"image/png": "iVBO/XXX+/home/reader"') == []
    assert text_problems('"image/png": "iVBO", "text/plain": "see XXX"') == ["XXX"]


def test_files_are_small():
    sizes = {name: (ROOT / name).stat().st_size for name in files()}
    assert {name: size for name, size in sizes.items() if size > MAX_BYTES} == {}


def test_nothing_built_is_in_the_repository():
    built = re.compile(r"(^|/)(_build|\.venv|__pycache__|drafts|\.ipynb_checkpoints)/|\.pyc$")
    assert [name for name in files() if built.search(name)] == []


def _ruff(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise"]
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_lint():
    ran = _ruff()
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("import os\n", "F401"),
        ("x = " + "1 + " * 30 + "1\n", "E501"),
        ("import b\nimport a\n\na, b\n", "I001"),
        ("# x = f(1)\n", "ERA001"),
    ],
)
def test_lint_finds(source, rule, tmp_path):
    path = tmp_path / "faulty.py"
    path.write_text(source, encoding="utf-8")
    assert rule in _ruff("--config", ROOT / "pyproject.toml", path).stdout


def test_licences():
    code = (ROOT / "LICENSE").read_text(encoding="utf-8")
    text = (ROOT / "LICENSE-TEXT").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert code.startswith("MIT License")
    assert "Creative Commons Attribution 4.0 International" in text
    assert project["license"] == "MIT"
    assert citation["license"] == ["MIT", "CC-BY-4.0"]


def test_version_is_the_cited_one():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    source = (ROOT / "gdl" / "__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{citation["version"]}"' in source
