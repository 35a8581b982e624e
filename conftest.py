"""The gate: nbval compares stored with fresh outputs; numbers and pictures get a tolerance.

* Text agrees exactly, white space aside, and so do integers, and every character of a claim.
* A number with a decimal point or an exponent may differ by one unit in its last printed digit, but
  by no more than 2% + 1e-4; a cell whose metadata hold {"gdl": {"rtol": 0.05}} (a trained result)
  may differ by that relative tolerance as well.
* A PNG, also one embedded in HTML, has the stored size and differs by at most 8 of 255 (RMS); drawn
  by another version of Matplotlib, it has nearly the stored size.
* Of what a long training found, as filters or drawn digits, processors of another make find others,
  as good: where the metadata hold {"gdl": {"pictures": "size"}}, sizes alone are compared.
* SVG is refused: its bytes change from run to run.
* Where a machine rounds otherwise than the one whose outputs are stored, which is any but Linux on
  x86-64, printed digits and pictures cannot be compared. There every cell runs and every claim must
  hold, and of the outputs the claims alone are compared, character by character.

Kernels inherit the arithmetic in which chapters are executed and stored (tools/nb.py).

nbval leaves pictures out of the comparison, runs cells without history, where a semicolon at the
end hides nothing, and reports by pages of traceback; so four of its methods are replaced below.
What a red cell says is written by tools/reporting.py.
"""

from __future__ import annotations

import asyncio
import base64
import io
import math
import os
import platform
import re
import sys
import warnings

import nbformat
import numpy as np
import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, NbCellError
from PIL import Image

from tools import reporting
from tools.nb import ARITHMETIC

os.environ.update(ARITHMETIC)
if sys.platform == "win32":
    # The default loop of Windows cannot watch the sockets of a kernel. Python 3.14 deprecates
    # policies, but libraries still make their loops by them.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?(?!\w)")
# No spaces: they part the frames of an animation.
EMBEDDED_PNG = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\n]+)")
MAX_RMS = 8.0

_nbval_compare = IPyNbCell.compare_outputs
_nbval_runtest = IPyNbCell.runtest


def stored_arithmetic(system: str = "", machine: str = "") -> bool:
    """Whether a machine, by default this one, finds the very digits that are stored."""
    system, machine = system or platform.system(), machine or platform.machine()
    return (system, machine.lower()) in {("Linux", "x86_64"), ("Linux", "amd64")}


def pytest_report_header() -> str:
    if stored_arithmetic():
        return "chapters: fresh outputs are compared with the stored ones"
    return (
        f"chapters: {platform.system()} on {platform.machine()} rounds otherwise than the stored "
        "outputs; claims are compared, printed digits and pictures are not"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Chapters and slow modules first, so that at the end no worker is left alone with one."""
    long = {_module(item) for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: _module(item) not in long and ".ipynb::" not in item.nodeid)


def _module(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def pytest_terminal_summary(terminalreporter) -> None:
    """The first line of each red cell in full; pytest's own summary cuts it at the margin."""
    reports = [r for r in terminalreporter.stats.get("failed", []) if ".ipynb::" in r.nodeid]
    if reports:
        terminalreporter.section("red cells")
    for report in reports:
        lines = report.longreprtext.splitlines()
        # A worker of pytest-xdist writes its own name first.
        terminalreporter.line(next(line for line in lines if not line.startswith("[gw")))


def close_text(new: str, old: str, rtol: float = 0.0) -> bool:
    """Whether two printed texts agree up to white space and last-digit noise."""
    if _skeleton(new) != _skeleton(old):
        return False
    pairs = zip(NUMBER.findall(new), NUMBER.findall(old), strict=True)
    return all(_close_number(a, b, rtol) for a, b in pairs)


def _skeleton(text: str) -> str:
    """The text with its numbers masked; NumPy pads columns by the width of the signs."""
    return re.sub(r"\s+", " ", NUMBER.sub("#", text)).replace("[ ", "[").strip()


def _close_number(new: str, old: str, rtol: float) -> bool:
    units = [_last_digit(token) for token in (new, old)]
    if units == [None, None]:
        return int(new) == int(old)
    size = abs(float(old))
    # The finer of the two units: NumPy prints 1.0000 as "1.", and 1e-12 is not 1e-10.
    unit = min(unit for unit in units if unit is not None)
    noise = min(1.001 * unit, 0.02 * size + 1e-4)
    return abs(float(new) - float(old)) <= noise + rtol * size


def _last_digit(token: str) -> float | None:
    """One unit in the last printed digit, or None for an integer."""
    mantissa, _, exponent = token.lower().partition("e")
    if "." not in mantissa and not exponent:
        return None
    # Read as text, since a power of ten beyond the floats, as in a base64 picture, would raise.
    return float(f"1e{int(exponent or 0) - len(mantissa.partition('.')[2])}")


def png_problem(new: str, old: str, most: float = MAX_RMS) -> str | None:
    """What is wrong with a fresh base64 picture, if anything."""
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in (new, old)]
    fresh, stored = pictures
    if fresh.info.get("Software") != stored.info.get("Software"):
        # Another Matplotlib: text metrics move everything by a pixel or two.
        near = all(abs(a - b) <= 0.05 * b for a, b in zip(fresh.size, stored.size, strict=True))
        return None if near else f"size {fresh.size}, stored {stored.size}"
    if fresh.size != stored.size:
        return f"size {fresh.size}, stored {stored.size}"
    a, b = (np.asarray(picture.convert("RGB"), dtype=float) for picture in pictures)
    rms = float(np.sqrt(np.mean((a - b) ** 2)))
    return f"RMS {rms:.1f} of 255, at most {most}" if rms > most else None


def pictures_problem(new: list[str], old: list[str], most: float = MAX_RMS) -> str | None:
    """What is wrong with a list of fresh pictures, if anything."""
    if len(new) != len(old):
        return f"{len(new)} pictures, stored {len(old)}"
    for number, pair in enumerate(zip(new, old, strict=True)):
        if problem := png_problem(*pair, most):
            return f"picture {number} differs: {problem}"
    return None


def _pngs(outputs: list[dict]) -> list[str]:
    """Every PNG that a cell shows, its own or embedded in HTML, as base64 text."""
    found = []
    for data in (output.get("data", {}) for output in outputs):
        if "image/png" in data:
            found.append(data["image/png"])
        found += EMBEDDED_PNG.findall(data.get("text/html", ""))
    return found


def _texts(outputs: list[dict]) -> list[dict]:
    """A copy of the outputs with embedded pictures masked: those are compared as pictures."""
    copies = [nbformat.from_dict(output) for output in outputs]
    for data in (output.get("data", {}) for output in copies):
        if "text/html" in data:
            data["text/html"] = EMBEDDED_PNG.sub("PNG", data["text/html"])
    return copies


def _forgive_noise(fresh: dict, stored: dict, rtol: float) -> None:
    """Replace each fresh text that agrees with the stored one up to noise by the stored one."""
    if "gdl" in stored.get("metadata", {}):
        return
    for key, value in fresh.items():
        other = stored.get(key)
        if key == "data":
            _forgive_noise(value, other or {}, rtol)
        elif isinstance(value, str) and isinstance(other, str) and close_text(value, other, rtol):
            fresh[key] = other


def _claims(outputs: list[dict]) -> list[dict]:
    return [output for output in outputs if "claim" in output.get("metadata", {}).get("gdl", {})]


def compare_outputs(self, test, ref, skip_compare=None) -> bool:
    """nbval's comparison, with tolerance for numbers and an eye for pictures."""
    if not stored_arithmetic():
        test, ref = _claims(test), _claims(ref)
    settings = self.cell.metadata.get("gdl", {})
    rtol = float(settings.get("rtol", 0.0))
    most = math.inf if settings.get("pictures") == "size" else MAX_RMS
    fresh, stored = _texts(test), _texts(ref)
    for new, old in zip(fresh, stored, strict=False):
        _forgive_noise(new, old, rtol)
    if not _nbval_compare(self, fresh, stored, skip_compare):
        changes = reporting.changed_lines(fresh, stored)
        self.comparison_traceback = changes or self.comparison_traceback
        return False
    problem = pictures_problem(_pngs(test), _pngs(ref), most)
    if any("image/svg+xml" in output.get("data", {}) for output in ref):
        problem = "an SVG picture is stored; use PNG"
    if problem:
        self.comparison_traceback.append(problem)
    return problem is None


def runtest(self) -> None:
    """Run a cell, and say what is red in the words of the book."""
    try:
        _nbval_runtest(self)
    except NbCellError as error:
        raise pytest.fail.Exception(_red(self, error), pytrace=False) from None


def _red(self, error: NbCellError) -> str:
    cell = reporting.Cell(self.path, self.cell_num + 1, self.cell.source)
    last = self.test_outputs[-1] if self.test_outputs else {}
    if re.match("Timeout of .* executing", str(error)):
        return reporting.slow(cell, self.config.option.nbval_cell_timeout)
    if last.get("output_type") == "error":
        return reporting.raised(cell, last)
    if str(error) == "Cell outputs differ":
        return reporting.differs(cell, self.comparison_traceback)
    return reporting.other(cell, str(error))


def execute_cell_input(self, cell_input, allow_stdin=None) -> str:
    """Run a cell as Jupyter does, with history."""
    return self.kc.execute(cell_input, allow_stdin=allow_stdin, stop_on_error=False)


IPyNbCell.compare_outputs = compare_outputs
IPyNbCell.runtest = runtest
IPyNbCell.repr_failure = pytest.Item.repr_failure
RunningKernel.execute_cell_input = execute_cell_input
