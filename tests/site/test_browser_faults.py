"""Each check of the browser turns red by its own fault, and a page without one stays green.

Two sites of small pages: one is clean; in the other each page has one planted fault.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.site import small_site
from tests.site.needs import need_browser
from tools import browser

# One chapter each: the text that is replaced, what replaces it, and the checks that must object.
H1, ICON, LAST = "<h1>A page</h1>", '<link rel="icon"', "</main>"
FAULTS: dict[str, tuple[str, str, set[str]]] = {
    "nothing": ("", "", set()),
    "nothing_with_a_player": ("", "", set()),
    "broken_link": ("book.pdf", "gone.pdf", {"links"}),
    "dead_anchor": ("intro.html#thm", "intro.html#gone", {"links"}),
    "foreign_picture": (
        LAST,
        '<img src="https://cdn.example/a.png" alt="">',
        {"foreign", "policy", "pictures"},
    ),
    "third_party_script": (
        ICON,
        '<script src="https://cdn.example/a.js"></script>' + ICON,
        {"foreign", "policy"},
    ),
    "third_party_script_allowed": (
        "default-src 'self'",
        "default-src 'self' https:",
        {"policy"},
    ),
    "missing_file": (
        LAST,
        '<script src="../_static/gone.js"></script>',
        {"links", "requests", "console"},
    ),
    "console_error": (ICON, '<script src="../_static/noisy.js"></script>' + ICON, {"console"}),
    "script_error": (ICON, '<script src="../_static/broken.js"></script>' + ICON, {"console"}),
    "inline_script": (LAST, "<script>document.title = 'x'</script>", {"policy"}),
    "inline_handler": (H1, '<h1 onclick="f()">A page</h1>', {"policy", "keyboard"}),
    "no_policy": ("Content-Security-Policy", "Other", {"policy"}),
    "idle_policy": ("default-src 'self'", "frame-src 'self'", {"policy"}),
    "plain_formula": ('class="math"', 'class="math" data-fault="plain"', {"maths"}),
    "formula_error": (LAST, "<mjx-merror>undefined</mjx-merror>", {"maths"}),
    "no_heading": (H1, "<p>A page</p>", {"markup"}),
    "same_id": (LAST, '<p id="main">twice</p>', {"ids"}),
    "no_alt": (' alt="noise" loading', " loading", {"alt", "axe"}),
    "empty_alt": ('alt="noise" loading', 'alt="" loading', {"alt"}),
    "no_pixels": ("_images/far.png", "_static/broken.png", {"pictures"}),
    "eager_picture": (' loading="lazy"', "", {"lazy"}),
    "early_picture": (' loading="lazy"', ' loading="lazy" data-fault="early"', {"lazy"}),
    "heavy_picture": ("_images/far.png", "_images/heavy.png", {"weight"}),
    "heavy_script": (ICON, '<script src="../_static/heavy.js"></script>' + ICON, {"weight"}),
    "wide": (H1, H1 + '<p class="wide">wide</p>', {"overflow"}),
    "always_light": ('<html lang="en">', '<html lang="en" data-fault="light">', {"dark"}),
    "dimmed_picture": ('<img src="../_images', '<img class="dimmed" src="../_images', {"dark"}),
    "faint_in_dark": (H1, H1 + '<p class="faint">faint</p>', {"axe"}),
    "no_language": ('<html lang="en">', "<html>", {"axe"}),
    "no_description": ('property="og:description"', 'property="og:other"', {"head"}),
    "no_card": (
        '_static/icon.png">\n<link rel="stylesheet',
        '_static/gone.png">\n<link rel="stylesheet',
        {"head"},
    ),
    "other_address": (
        'rel="canonical" href="',
        'rel="canonical" href="https://elsewhere.example/',
        {"head"},
    ),
    "no_icon": ('rel="icon"', 'rel="prefetch"', {"head"}),
    "no_next": ('rel="next"', 'rel="help"', {"chapter"}),
    "no_notebook": ("btn-download-source-button", "other", {"chapter"}),
    "empty_notebook": (small_site.NOTEBOOK, "{}", {"chapter"}),
    "wrong_launch": ('buttons"><a href="', 'buttons"><a href="https://colab.example/', {"chapter"}),
    "no_badge": (
        f'<p><a href="{small_site.COLAB}',
        '<p><a href="https://other.example',
        {"chapter"},
    ),
    "restless_player": (
        'class="gdl-player"',
        'class="gdl-player" data-fault="restless"',
        {"players"},
    ),
    "dead_player": ('class="gdl-player"', 'class="gdl-player" data-fault="dead"', {"players"}),
    "stuck_player": ('class="gdl-player"', 'class="gdl-player" data-fault="stuck"', {"players"}),
    "hurried_player": (
        'class="gdl-player"',
        'class="gdl-player" data-fault="hurried"',
        {"players"},
    ),
    "no_copy_button": ('class="highlight"', 'class="highlight" data-fault="bare"', {"copying"}),
    "dead_copy_button": ('class="highlight"', 'class="highlight" data-fault="dead"', {"copying"}),
    "garbled_copy": ('class="highlight"', 'class="highlight" data-fault="garbled"', {"copying"}),
    "no_skip_link": ('<a class="skip" href="#main">Skip to main content</a>', "", {"keyboard"}),
    "unreachable_button": (
        LAST,
        '<button type="button" tabindex="-1">Press</button></main>',
        {"keyboard"},
    ),
    "trap": (H1, H1 + '<button type="button" data-fault="trap">Press</button>', {"keyboard"}),
    "positive_tabindex": (
        LAST,
        '<a href="../intro.html" tabindex="1">first</a></main>',
        {"keyboard"},
    ),
    "invisible_focus": (
        LAST,
        '<button type="button" class="unmarked">Press</button></main>',
        {"keyboard"},
    ),
    "search_without_key": ("<dialog>", "<dialog data-fault='closed'>", {"keyboard"}),
    "search_stays_open": ("<dialog>", "<dialog data-fault='open'>", {"keyboard"}),
    "not_in_sitemap": ("chapters/not_in_sitemap.html</loc>", "intro.html</loc>", {"sitemap"}),
}
# Other files of the site, likewise.
ELSEWHERE: dict[str, tuple[str, str, set[str]]] = {
    "sitemap.xml": (
        "chapters/api/one.html</loc>",
        f"chapters/api/one.html</loc></url><url><loc>{small_site.ADDRESS}gone.html</loc>",
        {"sitemap"},
    ),
    "moved.html": ("intro.html", "gone.html", {"redirects"}),
    "search.html": ('"layer"', '"player"', {"search"}),
    "chapters/no/where.html": (
        'href="/book/_static/site.css"',
        'href="_static/site.css"',
        {"requests", "console"},
    ),
}
PLANTED_IN = {"chapters/no/where.html": "404.html"}
FAULT_OF = {
    **{f"chapters/{name}.html": fault for name, fault in FAULTS.items()},
    "_sources/chapters/empty_notebook.ipynb": FAULTS["empty_notebook"],
    **{PLANTED_IN.get(path, path): fault for path, fault in ELSEWHERE.items()},
}


def planted(path: str, text: str) -> str:
    old, new, _ = FAULT_OF.get(path, ("", "", set()))
    if path == "sitemap.xml":
        text = text.replace(*FAULTS["not_in_sitemap"][:2])
    if path in ("chapters/empty_notebook.html", "chapters/not_in_sitemap.html") or not old:
        return text
    assert old in text, f"{path}: nothing to replace"
    return text.replace(old, new, 1)


def checked(site: Path, *more: str) -> tuple[int, dict[str, set[str]], str]:
    """Exit status, the checks that object to each page, and what was printed."""
    report = site / "report.json"
    command = ["node", "tools/site_check.mjs", "--site", site, "--report", report, *more]
    ran = subprocess.run(
        [*command, "--chromium", browser.chromium()],
        cwd=browser.ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert report.exists(), ran.stdout + ran.stderr
    found = json.loads(report.read_text(encoding="utf-8"))
    faults = found["site"] + [fault for page in found["pages"].values() for fault in page["faults"]]
    objections: dict[str, set[str]] = {}
    for fault in faults:
        objections.setdefault(fault["page"].partition("?")[0], set()).add(fault["check"])
    return ran.returncode, objections, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    need_browser()
    folder = tmp_path_factory.mktemp("faulty")
    small_site.write(folder, list(FAULTS), planted)
    files = {
        "noisy.js": "console.error('noise')",
        "broken.js": "nowhere()",
        "broken.png": "no picture",
        "heavy.js": "// " + 4_000_000 * "x",
    }
    for name, text in files.items():
        (folder / "_static" / name).write_text(text, encoding="utf-8")
    (folder / "_images/heavy.png").write_bytes(small_site.png(800, 700))
    walked = [name for name, fault in FAULTS.items() if not fault[2] or "keyboard" in fault[2]]
    return checked(folder, *(f"--keyboard=chapters/{name}.html" for name in walked))


@pytest.mark.slow
def test_a_clean_site_is_green(tmp_path):
    need_browser()
    small_site.write(tmp_path, ["one", "two_with_a_player"], lambda path, text: text)
    status, objections, printed = checked(tmp_path)
    assert (status, objections) == (0, {}), printed


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_turns_its_check_red(faulty, name):
    status, objections, printed = faulty
    assert status == 1
    assert objections.get(f"chapters/{name}.html", set()) == FAULTS[name][2], printed


@pytest.mark.slow
@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_fault_elsewhere_turns_its_check_red(faulty, path):
    _, objections, printed = faulty
    assert objections.get(path, set()) == ELSEWHERE[path][2], printed


@pytest.mark.slow
def test_nothing_else_is_red(faulty):
    _, objections, printed = faulty
    expected = {f"chapters/{name}.html" for name, fault in FAULTS.items() if fault[2]} | set(
        ELSEWHERE
    )
    assert set(objections) == expected, printed


@pytest.mark.slow
def test_a_search_that_may_not_parse_what_it_quotes_is_red(tmp_path):
    need_browser()

    def change(path: str, text: str) -> str:
        return text.replace(H1, '<h1 onclick="f()">A page</h1>') if path == "intro.html" else text

    small_site.write(tmp_path, ["one"], change)
    _, objections, printed = checked(tmp_path)
    assert objections["search.html"] == {"policy"}, printed


@pytest.mark.slow
def test_an_unbuilt_site_is_named(tmp_path):
    need_browser()
    ran = subprocess.run(
        ["node", "tools/site_check.mjs", "--site", tmp_path, "--chromium", browser.chromium()],
        cwd=browser.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2 and "build the site first" in ran.stderr
