"""The gate on mutated copies of a small notebook: faults fail, last-digit noise passes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from nbformat import NotebookNode, v4

from conftest import _pngs, close_text, pictures_problem, stored_arithmetic
from tests.book import sample
from tests.book.chapters import ROOT
from tests.book.sample import picture
from tools import nb as nbtool

SECOND_CLAIM = 'claim("There are seven", 7, equals=7, oracle=second)'
SOURCES = (
    "print('loss 0.1234 after 40 steps')",
    """from IPython.display import display
display({"text/plain": "the claim holds: error < 1e-12"}, raw=True, metadata={"gdl": {"m": 1}})""",
    """import base64, io
from PIL import Image
buffer = io.BytesIO()
Image.new("RGB", (60, 40), "white").save(buffer, "PNG")
png = base64.b64encode(buffer.getvalue()).decode()
display({"image/png": png, "text/plain": "picture"}, raw=True)""",
    """html = f'<img alt="frame 3" src="data:image/png;base64,{png}">'
display({"text/html": html}, raw=True)""",
    "'shown only without the semicolon';",
    f"""from gdl.claims import claim
gap, broken, second = 1e-16, 0.5, 7
claim("The sum is small", gap, below=1e-9, control=broken)
{SECOND_CLAIM}""",
)


def _text(old: str, new: str) -> Callable[[NotebookNode], None]:
    """Change what the notebook stores, so that what it computes disagrees."""

    def fault(nb: NotebookNode) -> None:
        for output in (output for cell in nb.cells for output in cell.outputs):
            for holder, key in ((output, "text"), (output.get("data", {}), "text/plain")):
                if key in holder:
                    holder[key] = holder[key].replace(old, new)

    return fault


def _picture(png: str) -> Callable[[NotebookNode], None]:
    def fault(nb: NotebookNode) -> None:
        nb.cells[2].outputs[0].data["image/png"] = png

    return fault


def _frame(nb: NotebookNode) -> None:
    data = nb.cells[3].outputs[0].data
    black = f"base64,{picture('black')}"
    data["text/html"] = re.sub('base64,[^"]*', black, data["text/html"])


def _alt_text(nb: NotebookNode) -> None:
    data = nb.cells[3].outputs[0].data
    data["text/html"] = data["text/html"].replace("frame 3", "frame 4")


def _no_picture(nb: NotebookNode) -> None:
    del nb.cells[2].outputs[0].data["image/png"]


def _svg(nb: NotebookNode) -> None:
    nb.cells[2].source = 'display({"image/svg+xml": "<svg></svg>"}, raw=True)'
    nb.cells[2].outputs[0].data = {"image/svg+xml": "<svg></svg>"}
    nb.cells[3].source, nb.cells[3].outputs = "pass", []


def _no_output(nb: NotebookNode) -> None:
    nb.cells[1].outputs = []


def _broken_cell(nb: NotebookNode) -> None:
    nb.cells[3].source = "raise ValueError('broken')"


def _metadata(nb: NotebookNode) -> None:
    nb.cells[1].outputs[0].metadata = {"gdl": {"m": 2}}


def _code(number: int, old: str, new: str) -> Callable[[NotebookNode], None]:
    """Change what the notebook computes."""

    def fault(nb: NotebookNode) -> None:
        assert old in nb.cells[number].source
        nb.cells[number].source = nb.cells[number].source.replace(old, new)

    return fault


def _trained(nb: NotebookNode) -> None:
    _text("0.1234", "0.1260")(nb)
    nb.cells[0].metadata["gdl"] = {"rtol": 0.05}


def _trained_picture(png: str) -> Callable[[NotebookNode], None]:
    def fault(nb: NotebookNode) -> None:
        _picture(png)(nb)
        nb.cells[2].metadata["gdl"] = {"pictures": "size"}

    return fault


# The number of the cell that must fail, or None where all must pass.
COPIES: dict[str, tuple[int | None, Callable[[NotebookNode], None]]] = {
    "original": (None, lambda nb: None),
    "last_digit": (None, _text("0.1234", "0.1235")),
    "measured_value": (None, _metadata),
    "trained_result": (None, _trained),
    "trained_picture": (None, _trained_picture(picture("black"))),
    "trained_size": (2, _trained_picture(picture(size=(60, 41)))),
    "wrong_decimal": (0, _text("0.1234", "0.1434")),
    "wrong_integer": (0, _text("40", "41")),
    "wrong_word": (0, _text("loss", "accuracy")),
    "wrong_claim": (1, _text("holds", "fails")),
    "wrong_bound": (1, _text("1e-12", "2e-12")),
    "missing_output": (1, _no_output),
    "wrong_picture": (2, _picture(picture("black"))),
    "wrong_size": (2, _picture(picture(size=(60, 41)))),
    "missing_picture": (2, _no_picture),
    "svg": (2, _svg),
    "wrong_frame": (3, _frame),
    "wrong_html": (3, _alt_text),
    "broken_cell": (3, _broken_cell),
    "claim_fails": (5, _code(5, "1e-16, 0.5", "0.25, 0.5")),
    "control_holds": (5, _code(5, "1e-16, 0.5", "1e-16, 1e-16")),
    "oracle_disagrees": (5, _code(5, "0.5, 7", "0.5, 8")),
    "claim_gone": (5, _code(5, SECOND_CLAIM, 'print("There are seven")')),
}

# What the failing cell of a copy says.
SAID = {
    "wrong_decimal": (
        "wrong_decimal, code cell 1: output changed: "
        "stored 'loss 0.1434 after 40 steps', now 'loss 0.1234 after 40 steps'",
        "make test CHAPTER=wrong_decimal",
        "python tools/nb.py run wrong_decimal",
    ),
    "missing_output": ("output changed: stored nothing, now 'the claim holds: error < 1e-12'",),
    "wrong_picture": ("wrong_picture, code cell 3: output changed: picture 0 differs: RMS 255",),
    "missing_picture": ("output changed: 1 pictures, stored 0",),
    "wrong_frame": ("wrong_frame, code cell 4: output changed: picture 0 differs: RMS 255",),
    "wrong_html": ("output changed: stored '<img alt=",),
    "svg": ("an SVG picture is stored; use PNG",),
    "broken_cell": (
        "broken_cell, code cell 4: ValueError: broken",
        "line 1: raise ValueError('broken')",
        "make test CHAPTER=broken_cell",
    ),
    "claim_fails": (
        'claim_fails, code cell 6: claim "The sum is small" fails: measured 0.25, expected < 1e-09',
        'line 3: claim("The sum is small", gap, below=1e-9, control=broken)',
        "make test CHAPTER=claim_fails",
    ),
    "control_holds": ('claim "The sum is small" fails: ', "control 1e-16 satisfies < 1e-09"),
    "oracle_disagrees": (
        'claim "There are seven" fails: the oracle gives 8, expected = 7',
        f"line 4: {SECOND_CLAIM}",
    ),
    "claim_gone": ("stored '✓ There are seven  [= 7; the oracle agrees]', now 'There are seven'",),
}


# On a machine that rounds otherwise: what is still red.
ELSEWHERE = {
    "original": None,
    "wrong_decimal": None,
    "wrong_picture": None,
    "broken_cell": 3,
    "claim_fails": 5,
    "claim_gone": 5,
}


class Gate(NamedTuple):
    """What pytest printed, and what each failing cell of each copy said."""

    printed: str
    failed: dict[str, dict[int, str]]


@pytest.fixture(scope="module")
def sample_notebook(tmp_path_factory) -> str:
    source = v4.new_notebook(cells=[v4.new_code_cell(source) for source in SOURCES])
    return nbtool.dumps(nbtool.execute(source, cwd=tmp_path_factory.mktemp("sample")))


@pytest.fixture(scope="module")
def gate(sample_notebook, tmp_path_factory) -> Gate:
    """One run of pytest over all copies."""
    return _gate(tmp_path_factory.mktemp("gate"), sample_notebook, COPIES)


@pytest.fixture(scope="module")
def gate_elsewhere(sample_notebook, tmp_path_factory) -> Gate:
    folder = tmp_path_factory.mktemp("elsewhere")
    return _gate(folder, sample_notebook, ELSEWHERE, "\nstored_arithmetic = lambda: False\n")


def _gate(folder: Path, notebook: str, copies: Collection[str], more_conftest: str = "") -> Gate:
    conftest = (ROOT / "conftest.py").read_text(encoding="utf-8")
    (folder / "conftest.py").write_text(conftest + more_conftest, encoding="utf-8")
    for name in copies:
        nb = nbtool.nbformat.reads(notebook, as_version=4)
        COPIES[name][1](nb)
        (folder / f"{name}.ipynb").write_text(nbtool.nbformat.writes(nb), encoding="utf-8")
    gate = _run_pytest(folder)
    assert f"{len(copies) * len(SOURCES)} items" in gate.printed
    return gate


def _run_pytest(folder: Path, *more: str) -> Gate:
    """Run pytest in a folder with settings of its own, so that it does not look further up."""
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    report = folder / "report.xml"
    options = ["--nbval", "--nbval-current-env", "-p", "no:cacheprovider", f"--junitxml={report}"]
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "pytest.ini", "--rootdir", folder, "-n", "1"]
        + [*options, *more],
        cwd=folder,
        env={**outer, "COLUMNS": "250", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    failed: dict[str, dict[int, str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        for fault in (*case.iter("failure"), *case.iter("error")):
            name = case.get("classname").removesuffix(".ipynb").rpartition(".")[2]
            number = int(case.get("name").removeprefix("Cell "))
            failed.setdefault(name, {})[number] = fault.text
    return Gate(ran.stdout, failed)


@pytest.mark.slow
@pytest.mark.parametrize("copy", COPIES)
def test_gate(copy, gate):
    expected, _ = COPIES[copy]
    assert set(gate.failed.get(copy, {})) == (set() if expected is None else {expected})


@pytest.mark.slow
@pytest.mark.parametrize("copy", SAID)
def test_a_red_cell_says_what_is_wrong(copy, gate):
    (said,) = gate.failed[copy].values()
    first, *rest = said.splitlines()
    assert first.startswith(f"{copy}, code cell {COPIES[copy][0] + 1}: ")
    assert SAID[copy][0] in first
    for words in SAID[copy][1:]:
        assert words in said
    assert len(rest) < 20 and len(said) < 2000
    assert "base64" not in said and "Traceback" not in said


@pytest.mark.slow
def test_red_cells_are_listed_at_the_end(gate):
    said = SAID["claim_fails"][0]
    listed = gate.printed.partition("= red cells =")[2]
    assert f"\n{said}\n" in listed
    assert f"\nFAILED claim_fails.ipynb::Cell 5 - Failed: {said}\n" in listed
    assert "original" not in listed


@pytest.mark.slow
def test_a_slow_cell_is_red(tmp_path):
    shutil.copy(ROOT / "conftest.py", tmp_path)
    nb = v4.new_notebook(cells=[sample.code("import time\ntime.sleep(600)")])
    (tmp_path / "tired.ipynb").write_text(nbtool.dumps(nb), encoding="utf-8")
    gate = _run_pytest(tmp_path, "--nbval-cell-timeout=3")
    first, *rest = gate.failed["tired"][0].splitlines()
    assert first == "tired, code cell 1: slower than 3 s, the limit for a cell"
    assert rest == ["  line 2: time.sleep(600)", "  This chapter alone: make test CHAPTER=tired"]


@pytest.mark.slow
@pytest.mark.parametrize("copy", ELSEWHERE)
def test_where_numbers_round_otherwise_claims_are_compared(copy, gate_elsewhere):
    expected = ELSEWHERE[copy]
    failed = set(gate_elsewhere.failed.get(copy, {}))
    assert failed == (set() if expected is None else {expected})


@pytest.mark.slow
def test_the_header_says_what_is_compared(gate, gate_elsewhere):
    assert "fresh outputs are compared with the stored ones" in gate.printed
    assert "claims are compared, printed digits and pictures are not" in gate_elsewhere.printed


@pytest.mark.parametrize(
    ("system", "machine", "stored"),
    [
        ("Linux", "x86_64", True),
        ("Linux", "AMD64", True),
        ("Linux", "aarch64", False),
        ("Darwin", "x86_64", False),
        ("Darwin", "arm64", False),
        ("Windows", "AMD64", False),
    ],
)
def test_whose_digits_are_stored(system, machine, stored):
    assert stored_arithmetic(system, machine) is stored


@pytest.mark.parametrize(
    ("new", "old", "agree"),
    [
        ("loss 0.1235", "loss 0.1234", True),
        ("loss 0.1237", "loss 0.1234", False),
        ("[ 1.00  2.00]", "[1.00 2.01]", True),
        ("n = 3", "n = 4", False),
        ("1.2e-07", "1.3e-07", True),
        ("1.2e-07", "1.2e-05", False),
        ("1e-12", "1e-10", False),
        ("9.9e-08", "1.0e-07", True),
        ("0.9999", "1.", True),
        ("acc 0.91", "accuracy 0.91", False),
        ("-0.0000", "0.0000", True),
        ("nan", "0.5", False),
        ("Data(x=[3, 4])", "Data(x=[3, 5])", False),
        ("True", "False", False),
        ("[1. 0.]", "[0. 0.]", False),
        ("0.5", "0.6", False),
        ("16.", "17.", False),
        ("1e3", "1000", True),
        ("1 2", "1", False),
    ],
)
def test_close_text(new, old, agree):
    assert close_text(new, old) is agree


def test_relative_tolerance():
    assert close_text("acc 0.91", "acc 0.94", rtol=0.05)
    assert not close_text("acc 0.80", "acc 0.94", rtol=0.05)
    assert not close_text("n = 99", "n = 100", rtol=0.05)


def test_pictures():
    assert pictures_problem([picture()], [picture()]) is None
    assert pictures_problem([picture((250, 250, 250))], [picture()]) is None
    assert "RMS" in pictures_problem([picture("black")], [picture()])
    assert "size" in pictures_problem([picture(size=(61, 40))], [picture()])
    assert "stored 1" in pictures_problem([], [picture()])


def test_every_frame_of_an_animation_is_a_picture():
    frames = [picture(color) for color in ("white", "black", "red")]
    first, *rest = (f"data:image/png;base64,{frame}" for frame in frames)
    player = f'<div data-frames="{" ".join(rest)}"><img src="{first}"></div>'
    assert _pngs([{"data": {"text/html": player}}]) == [frames[1], frames[2], frames[0]]


def test_numbers_beyond_the_floats_are_compared_and_do_not_raise():
    assert not close_text("x 1e5000", "x 2e5000")
    assert close_text("x 1e-5000", "x 1e-5000")
