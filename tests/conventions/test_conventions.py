"""Every row of chapters/conventions.md has a test, and every test of a convention has a row."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conventions.common import ROOT

PAGE = (ROOT / "chapters" / "conventions.md").read_text(encoding="utf-8")
TESTS = [
    path.read_text(encoding="utf-8")
    for path in sorted(Path(__file__).parent.glob("test_*_conventions.py"))
]
Row = tuple[str, str]


def rows(page: str) -> list[Row]:
    """Section and name of each row of the tables."""
    found, section = [], ""
    for line in page.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("|") and (name := line.split("|")[1].strip()) not in ("", "---"):
            found.append((section, name))
    return found


def named_rows(source: str) -> dict[str, tuple[list[Row], bool]]:
    """For each test the rows that it names, and whether it sees something differ."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            named = [
                tuple(ast.literal_eval(argument) for argument in call.args)
                for call in node.decorator_list
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "convention"
            ]
            found[node.name] = named, any(_differs(part) for part in ast.walk(node))
    return found


def _differs(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return any(isinstance(op, (ast.NotEq, ast.Gt)) for op in node.ops)
    refused = isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.raises"
    return refused or isinstance(node, ast.Not)


def problems(page: str, sources: list[str]) -> list[str]:
    wanted, found = rows(page), []
    tests = [item for source in sources for item in named_rows(source).items()]
    found += [f"{row}: twice on the page" for row in sorted(set(wanted)) if wanted.count(row) > 1]
    for name, (named, _) in tests:
        found += [] if named else [f"{name}: names no row"]
        found += [f"{name}: no row {row}" for row in named if row not in wanted]
    for row in dict.fromkeys(wanted):
        differing = [differs for _, (named, differs) in tests if row in named]
        if not differing:
            found.append(f"{row}: no test")
        elif not any(differing):
            found.append(f"{row}: nothing is seen to fail")
    return found


def test_rows_and_tests_belong_together():
    assert len(rows(PAGE)) > 80 and len(TESTS) > 5
    assert problems(PAGE, TESTS) == []


SMALL_PAGE = """
## Signs

| | Convention |
| --- | --- |
| Up | y points up. |
"""
SMALL_TEST = """
@convention("Signs", "Up")
def test_up():
    assert y == 1 and not y == -1
"""


def test_a_page_and_its_test_pass():
    assert problems(SMALL_PAGE, [SMALL_TEST]) == []


@pytest.mark.parametrize(
    ("page", "test", "problem"),
    [
        (SMALL_PAGE + "| Left | x points left. |", SMALL_TEST, "('Signs', 'Left'): no test"),
        (SMALL_PAGE + "| Up | Up. |", SMALL_TEST, "('Signs', 'Up'): twice on the page"),
        (SMALL_PAGE.replace("Up", "Down"), SMALL_TEST, "test_up: no row ('Signs', 'Up')"),
        (SMALL_PAGE.replace("Signs", "Axes"), SMALL_TEST, "('Axes', 'Up'): no test"),
        (SMALL_PAGE, SMALL_TEST.partition("\n@")[2].partition("\n")[2], "test_up: names no row"),
        (SMALL_PAGE, SMALL_TEST.partition(" and")[0], "('Signs', 'Up'): nothing is seen to fail"),
    ],
    ids=["row without test", "row twice", "renamed row", "renamed section", "bare", "agreeing"],
)
def test_a_gap_is_found(page, test, problem):
    assert problem in problems(page, [test])
