"""make.py: the commands of each target as data, on three systems, and what a call may say."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import make
from tests.book.chapters import CHAPTERS, ROOT
from tools import browser, chapter_tests

DEFAULTS = {name: default for name, (default, _) in make.VARIABLES.items()}
PYTHON = ".venv/bin/python"
PIP = f"{PYTHON} -m pip"
QUIET = "-q --disable-pip-version-check"
BOOK = ["remove _build", ".venv/bin/jupyter-book build . -W --keep-going"]
NPM = "npm install --no-package-lock --no-fund --no-audit --prefix tools"
PDF = f"{PYTHON} -m tools.pdf --site _build/html"
CHECK = "node tools/site_check.mjs"
UV = f"{PYTHON} -m uv pip compile -q --universal --python-version 3.11 --all-extras"
OUTPUT = "--no-header --no-annotate -o"
COMMANDS = {
    "book": BOOK,
    "pdf": [*BOOK, NPM, PDF],
    "site-check": [*BOOK, NPM, PDF, CHECK],
    "test": [f"{PYTHON} -m pytest -n 2"],
    "colab": [f"{PYTHON} -m pytest -n 2 tests/colab"],
    "lint": [f"{PYTHON} -m ruff check", f"{PYTHON} tools/nb.py check"],
    "notebooks": [f"{PYTHON} tools/nb.py run"],
    "ledger": [f"{PYTHON} -m tools.ledger"],
    "serve": [*BOOK, f"{PYTHON} -m http.server 8000 --bind 127.0.0.1 --directory _build/html"],
    "links": [".venv/bin/jupyter-book build . --builder linkcheck -W --keep-going"],
    "bench": [f"{PYTHON} -m benchmarks"],
    "bench-peers": [f"{PYTHON} -m benchmarks.peers", f"{PYTHON} -m benchmarks --page"],
    "bench-book": [f"{PYTHON} -m tools.bench_book", f"{PYTHON} -m benchmarks --page"],
    "full": [f"{PYTHON} -m tools.full_scale grids graphs"],
    "studies": [f"{PYTHON} -m studies.conservation", f"{PYTHON} -m studies.lista"],
    "mutants": [f"{PYTHON} tools/mutants.py"],
    "lock": [
        f"{PIP} install {QUIET} uv",
        "write .venv/lock.txt",
        f"{UV} -c .venv/lock.txt {OUTPUT} constraints.txt pyproject.toml",
        "write .venv/lock.txt",
        f"{UV} -c .venv/lock.txt --upgrade --resolution lowest-direct {OUTPUT} "
        "constraints-oldest.txt pyproject.toml",
    ],
    "fork": ["python -m tools.fork --repository https://github.com/me/book"],
    "issue": ["python -m tools.github issue A title Its text"],
    "release": ["python -m tools.github release v1.0 _build/html/one-equation.pdf dist/*.whl"],
    "dist": ["remove dist", f"{PIP} wheel . {QUIET} --no-deps --wheel-dir dist"],
    "clean": ["remove _build", "remove dist", "remove .venv-peers", "remove .venv"],
    "help": ["help"],
}
OLD_MODULES = {
    "collections.abc", "os", "pathlib", "re", "shlex", "shutil", "subprocess", "sys", "typing",
}
GIVEN = {
    "NAME": "grids graphs",
    "REPOSITORY": "https://github.com/me/book",
    "TAG": "v1.0",
    "TITLE": "A title",
    "BODY": "Its text",
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A repository of empty files, on a machine without a browser."""
    studies = [f"studies/{name}.py" for name in ("_runner", "conservation", "lista")]
    for name in ("pyproject.toml", "constraints.txt", "tools/package.json", *studies):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(browser, "chromium", lambda: None)
    return tmp_path


def job(root: Path, windows: bool = False, **variables: str) -> make.Job:
    return make.Job({**DEFAULTS, **variables}, root, windows)


def shown(steps: list[make.Step], root: Path) -> list[str]:
    """The words of steps, with paths as on Linux, below the root."""
    names = {sys.executable: "python", make.shutil.which("npm"): "npm"}
    lines = [" ".join(names.get(word, word) for word in step.words) for step in steps]
    return [line.replace(f"{root}{os.sep}", "").replace("\\", "/") for line in lines]


def called(*command: str) -> subprocess.CompletedProcess:
    """A call from the command line, with nothing of this run's own variables and its make."""
    own = {*make.VARIABLES, "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
    kept = {k: v for k, v in os.environ.items() if k not in own}
    return subprocess.run(
        command, cwd=ROOT, env=kept, capture_output=True, encoding="utf-8", check=False
    )


def run_make(*arguments: str) -> subprocess.CompletedProcess:
    return called(sys.executable, "make.py", *arguments)


@pytest.mark.parametrize("target", make.TASKS)
def test_commands(target, tree):
    assert shown(make.TASKS[target].steps(job(tree, **GIVEN)), tree) == COMMANDS[target]


def test_programs_lie_in_scripts_on_windows(tree):
    (_, build) = make.TASKS["book"].steps(job(tree, windows=True))
    assert Path(build.words[0]) == tree / ".venv" / "Scripts" / "jupyter-book.exe"
    (ledger,) = make.TASKS["ledger"].steps(job(tree, windows=True, VENV="env"))
    assert Path(ledger.words[0]) == tree / "env" / "Scripts" / "python.exe"


def test_tests_run_on_one_thread_each(tree):
    (run,) = make.TASKS["test"].steps(job(tree, JOBS="3", ARGS='-x -k "a or b"'))
    assert run.words[1:] == ("-m", "pytest", "-n", "3", "-x", "-k", "a or b")
    assert run.env == {"OMP_NUM_THREADS": "1"}


def test_what_is_built_is_not_built_again(tree):
    (tree / "_build/html").mkdir(parents=True)
    (tree / "_build/html/index.html").touch()
    assert shown(make.pdf(job(tree)), tree) == [NPM, PDF]
    (tree / make.PDF).touch()
    assert shown(make.site_check(job(tree)), tree) == [NPM, CHECK]
    record = tree / "tools/node_modules/.package-lock.json"
    record.parent.mkdir()
    record.touch()
    assert shown(make.site_check(job(tree)), tree) == [CHECK]
    os.utime(record, (0, 0))
    assert shown(make.site_check(job(tree)), tree) == [NPM, CHECK]


@pytest.mark.parametrize("demanded", ["required", ""])
def test_tests_install_what_a_browser_needs(demanded, tree, monkeypatch):
    monkeypatch.setattr(make.shutil, "which", lambda name: name)
    monkeypatch.setattr(browser, "chromium", lambda: Path("chromium"))
    monkeypatch.setenv("GDL_BROWSER", demanded)
    first, _ = make.TASKS["test"].steps(job(tree))
    assert shown([first], tree) == [NPM]
    assert bool(first.optional) is (demanded != "required")
    monkeypatch.setattr(make.shutil, "which", lambda name: None)
    assert len(make.TASKS["test"].steps(job(tree))) == 1


# --- the environment ----------------------------------------------------------------------------


def perform(steps: list[make.Step]) -> None:
    """Carry out the actions, but no command; the folder of the environment is made by hand."""
    for step in steps:
        if step.action:
            step.action()


def test_the_environment_is_made_once(tree):
    steps = make.set_up(job(tree))
    assert shown(steps, tree) == [
        "remove .venv/.ready",
        "python -m venv .venv",
        f"{PIP} install {QUIET} -c constraints.txt -e .[book,test,bench]",
        "write .venv/.ready",
    ]
    (tree / ".venv").mkdir()
    perform(steps)
    assert make.set_up(job(tree)) == []
    assert make.TASKS["ledger"].all_steps(job(tree)) == make.TASKS["ledger"].steps(job(tree))


@pytest.mark.parametrize("source", ["pyproject.toml", "constraints.txt"])
def test_the_environment_is_renewed_when_its_sources_change(source, tree):
    (tree / ".venv").mkdir()
    perform(make.set_up(job(tree)))
    later = (tree / ".venv/.ready").stat().st_mtime + 10
    os.utime(tree / source, (later, later))
    assert make.set_up(job(tree)) != []


def test_other_constraints_renew_the_environment(tree):
    (tree / ".venv").mkdir()
    perform(make.set_up(job(tree)))
    newest = make.set_up(job(tree, CONSTRAINTS=""))
    assert f"{PIP} install {QUIET} -e .[book,test,bench]" in shown(newest, tree)
    with pytest.raises(ValueError, match=r"no such file: .*oldest\.txt"):
        make.set_up(job(tree, CONSTRAINTS="oldest.txt"))
    system = make.set_up(job(tree, SYSTEM="1"))
    assert "python -m venv --system-site-packages --without-pip .venv" in shown(system, tree)


def test_an_interrupted_set_up_is_done_again(tree):
    (tree / ".venv").mkdir()
    perform(make.set_up(job(tree)))
    perform(make.set_up(job(tree, CONSTRAINTS=""))[:2])
    assert make.set_up(job(tree)) != []


# --- the tests of a chapter ---------------------------------------------------------------------


def test_the_tests_of_a_chapter():
    *paths, option, rules = chapter_tests.selection(["grids"], ROOT)
    assert paths[:3] == ["chapters/grids.ipynb", "tests/grids", "gdl/grids"]
    assert paths[-1] == "tests/book" and option == "-k"
    assert re.fullmatch(r"not \(test_anatomy\.py or [\w. ]+\) or grids", rules)


@pytest.mark.parametrize(
    ("chapter", "room", "own", "other"),
    [
        ("symmetry", "representations", "representations_irreps", "equivariance_basis"),
        ("one_equation", "equivariance", "equivariance_basis", "representations"),
        ("graphs", "graphs", "cora", "mnist"),
    ],
)
def test_rooms_of_another_name_and_tests_beside_the_folders(chapter, room, own, other):
    chosen = chapter_tests.selection([chapter], ROOT)
    assert f"gdl/{room}" in chosen and f"tests/test_{own}.py" in chosen
    assert f"tests/test_{other}.py" not in chosen
    assert chosen[-1].endswith(f" or {room}") and f" or {chapter}" in chosen[-1]


@pytest.mark.parametrize("chapter", [path.stem for path in CHAPTERS])
def test_every_chapter_has_tests_and_a_room(chapter):
    chosen = chapter_tests.selection([chapter], ROOT)
    assert all((ROOT / path).exists() for path in chosen[:-2])
    assert any(path.startswith("gdl/") for path in chosen)
    assert any(re.match("tests/(?!book)", path) for path in chosen)


def test_several_chapters_and_one_that_is_not_there():
    chosen = chapter_tests.selection(["grids", "zoo"], ROOT)
    assert {"chapters/grids.ipynb", "chapters/zoo.ipynb"} < {*chosen}
    assert chosen[-1].endswith(" or grids or zoo")
    assert len(chosen) == len(set(chosen))
    with pytest.raises(ValueError, match="no such chapter: grid; there are attention, "):
        chapter_tests.selection(["grids", "grid"], ROOT)


@pytest.mark.slow
def test_pytest_selects_the_rules_of_a_chapter():
    """The expression as pytest reads it: the rules for one chapter, and all of the other tests."""
    *_, option, rules = chapter_tests.selection(["symmetry"], ROOT)
    files = ["tests/book/test_anatomy.py", "tests/book/test_ledger.py", "tests/test_orbits.py"]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, "-n", "0", *files, option, rules],
        cwd=ROOT, capture_output=True, encoding="utf-8", check=False,
    )
    found = [line for line in ran.stdout.splitlines() if line.startswith("tests/")]
    assert ran.returncode == 0, ran.stdout
    for file in files:
        assert any(line.startswith(file) for line in found), file
    assert all("symmetry" in line for line in found if line.startswith("tests/book/"))


# --- the command line ---------------------------------------------------------------------------


def test_variables_come_from_the_call_else_from_the_environment():
    targets, values = make.parsed(["test", "ARGS=-k a=b"], {"JOBS": "4", "ARGS": "-x", "HOME": "h"})
    assert targets == ["test"]
    assert (values["JOBS"], values["ARGS"], values["VENV"]) == ("4", "-k a=b", ".venv")
    assert values.keys() == make.VARIABLES.keys()
    assert make.parsed([], {})[0] == ["book"]
    assert make.parsed(["test"], {"CONSTRAINTS": ""})[1]["CONSTRAINTS"] == ""


@pytest.mark.parametrize(
    ("arguments", "flags", "named"),
    [
        (["tset"], "", "tset"),
        (["test", "CHAPTRE=grids"], "", "CHAPTRE"),
        (["test"], "n -- CHAPTRE=grids ARGS=-k\\ a=b", "CHAPTRE"),
    ],
)
def test_a_misspelled_word_is_refused_with_the_list(arguments, flags, named):
    with pytest.raises(ValueError, match=f"no such target or variable: {named}\n") as told:
        make.parsed(arguments, {"MAKEFLAGS": flags})
    assert "site-check" in str(told.value) and "CONSTRAINTS" in str(told.value)


@pytest.mark.parametrize("flags", ["", "n", " -- PYTHON=python3.12 ARGS=-k\\ a=b CHAPTER=grids"])
def test_what_make_hands_on_is_let_through(flags):
    assert make.parsed(["test"], {"MAKEFLAGS": flags})[0] == ["test"]


@pytest.mark.parametrize("target", ["fork", "issue", "release"])
def test_a_variable_that_is_needed_is_asked_for(target):
    ran = run_make("--dry-run", target)
    assert ran.returncode == 2
    assert re.search("(REPOSITORY|TITLE|TAG) is empty", ran.stderr)


def test_the_first_failure_ends_the_run(monkeypatch, capfd):
    failing = make.Step((sys.executable, "-c", "raise SystemExit(7)"))
    code = "import os; print(os.environ['A'], os.environ['PYTHONUTF8'])"
    printing = make.Step((sys.executable, "-c", code), env={"A": "b"})
    absent = make.Step(("no-such-program",))
    tasks = {"good": [printing], "bad": [printing, failing, printing], "absent": [absent]}
    tasks["lenient"] = [failing._replace(optional="the rest goes on"), printing]
    for name, steps in tasks.items():
        task = make.Task("", lambda job, steps=steps: steps, environment=False)
        monkeypatch.setitem(make.TASKS, name, task)
    assert make.main(["good"]) == 0
    assert make.main(["bad", "good"]) == 7
    assert capfd.readouterr().out.splitlines().count("b 1") == 2
    assert make.main(["absent"]) == 127
    assert "no-such-program was not found" in capfd.readouterr().err
    assert make.main(["lenient"]) == 0
    shown = capfd.readouterr()
    assert "This failed; the rest goes on." in shown.err and "b 1" in shown.out.splitlines()


def test_a_dry_run_shows_the_commands_and_runs_none(tmp_path):
    ran = run_make("-n", "lint", "clean", f"VENV={tmp_path / 'new'}")
    assert ran.returncode == 0, ran.stderr
    assert [shlex.split(line)[1:3] for line in ran.stdout.splitlines()][1:5] == [
        ["-m", "venv"], ["-m", "pip"], [str(tmp_path / "new" / ".ready")], ["-m", "ruff"],
    ]
    assert not (tmp_path / "new").exists()


def test_help_names_every_target_and_variable():
    ran = run_make("help")
    assert ran.returncode == 0
    for name in [*make.TASKS, *make.VARIABLES]:
        assert re.search(rf"^  {name} +\S", ran.stdout, re.MULTILINE), name


def test_an_older_python_is_told_what_is_needed():
    assert make.too_old((3, 11, 0)) is None and make.too_old((4, 0)) is None
    assert make.too_old((3, 10, 13)).startswith("Python 3.11 or newer is needed, and this is 3.10:")


def older_can_read(source: str) -> bool:
    """Whether Python 3.7 comes to the check of its version, and so to the message."""
    try:
        tree = ast.parse(source, feature_version=(3, 7))
    except SyntaxError:
        return False
    before = tree.body[: next(i for i, node in enumerate(tree.body) if isinstance(node, ast.If))]
    named = {node.module for node in before if isinstance(node, ast.ImportFrom)}
    named |= {a.name for node in before if isinstance(node, ast.Import) for a in node.names}
    return named <= OLD_MODULES


def test_an_older_python_can_read_the_driver():
    assert older_can_read((ROOT / "make.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "line", ["print(n := 1)", "import tomllib", "match x:\n    case 1: pass", "import os, tomllib"]
)
def test_what_an_older_python_cannot_read_is_found(line):
    assert older_can_read("import os\nif too_old(v): pass\n")
    assert not older_can_read(f"{line}\nif too_old(v): pass\n")


# --- the Makefile -------------------------------------------------------------------------------


def recipes(makefile: str) -> list[str]:
    return [line.strip() for line in makefile.splitlines() if line.startswith("\t")]


def test_the_makefile_only_hands_over():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^TARGETS := ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    assert sorted(listed.replace("\\\n", " ").split()) == sorted(make.TASKS)
    assert recipes(makefile) == ["$(PYTHON) make.py $@"]
    assert ".DEFAULT_GOAL := book" in makefile
    assert ".PHONY: $(TARGETS)" in makefile
    # Nothing runs while make reads the file, in whatever shell.
    assert not re.search(r"\$\(shell|!=|^include", makefile, re.MULTILINE)


@pytest.mark.skipif(make.shutil.which("make") is None, reason="make is not installed")
def test_make_hands_its_variables_on():
    python = f"PYTHON={Path(sys.executable).as_posix()}"
    shown = called("make", python, "-n", "test", "CHAPTER=grids")
    assert shown.stdout.strip().endswith("make.py test")
    unknown = called("make", python, "test", "CHAPTER=grids moon")
    assert "no such chapter: moon" in unknown.stderr and unknown.returncode
    misspelled = called("make", python, "help", "CHAPTRE=grids")
    assert "no such target or variable: CHAPTRE" in misspelled.stderr
