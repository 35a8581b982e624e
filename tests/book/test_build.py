"""The site builds without a warning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command = [jupyter_book, "build", ROOT, "-W", "--keep-going"]
    ran = subprocess.run(
        [*command, "--path-output", tmp_path], capture_output=True, text=True, check=False
    )
    warnings = [line for line in ran.stderr.splitlines() + ran.stdout.splitlines()
                if "WARNING" in line or "ERROR" in line]
    assert ran.returncode == 0, "\n".join(warnings)
    for page in ("intro", "chapters/one_equation", "chapters/grids"):
        assert (tmp_path / "_build" / "html" / f"{page}.html").exists()
