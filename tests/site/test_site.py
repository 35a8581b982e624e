"""The site builds without a warning, the book prints, and a browser finds no fault in any page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.site.needs import need_browser
from tests.site.page_checks import site_problems
from tools import browser


def run(*command: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, cwd=browser.ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The finished build and the folder of its pages."""
    folder = tmp_path_factory.mktemp("build")
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    ran = run(jupyter_book, "build", ".", "-W", "--keep-going", "--path-output", folder)
    return ran, folder / "_build" / "html"


@pytest.fixture(scope="module")
def site(build):
    """The pages together with the PDF to which they link."""
    need_browser()
    ran, html = build
    if ran.returncode:
        pytest.fail("the site was not built")
    printed = run(sys.executable, "-m", "tools.pdf", "--site", html)
    assert printed.returncode == 0, printed.stdout + printed.stderr
    return html


@pytest.mark.slow
def test_the_site_builds_without_a_warning(build):
    ran, html = build
    lines = (ran.stdout + ran.stderr).splitlines()
    warnings = [line for line in lines if "WARNING" in line or "ERROR" in line]
    assert ran.returncode == 0, "\n".join(warnings or lines[-20:])
    for page in ("intro", "chapters/one_equation", "chapters/grids"):
        assert (html / f"{page}.html").exists()


@pytest.mark.slow
def test_every_page_keeps_the_rules_of_pages(build):
    ran, html = build
    if ran.returncode:
        pytest.fail("the site was not built")
    config = yaml.safe_load((browser.ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert site_problems(html, config["html"]["baseurl"]) == []


@pytest.mark.slow
def test_the_browser_finds_no_fault(site):
    ran = run("node", "tools/site_check.mjs", "--site", site, "--chromium", browser.chromium())
    assert ran.returncode == 0, ran.stdout + ran.stderr
