"""The HTML of the site: its policy, its pictures, its weight, and nothing from elsewhere.

The checks that every built page must pass meet pages with planted faults here.
"""

from __future__ import annotations

import base64
import importlib
import io
import re
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest
import yaml
from docutils import nodes
from PIL import Image
from pygments.formatters import HtmlFormatter

from _ext import site_markup as markup
from tests.book.chapters import ROOT, files
from tests.book.test_links import _toc_files
from tests.site.page_checks import page_problems, site_problems, style_problems, weight

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
SPHINX = CONFIG["sphinx"]["config"]
# --- a page, and the faults of its twins --------------------------------------------------------

GOOD = """<!DOCTYPE html>
<html lang="en"><head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width">
<meta name="description" content="A page.">
<meta name="theme-color" content="#fff">
<link rel="canonical" href="https://example.org/book/page.html">
<link rel="icon" href="_static/favicon.svg"><link rel="apple-touch-icon" href="_static/touch.png">
<script>
  let mode = "a < b && c";
</script>
<script src="_static/gdl.js"></script>
<script type="application/json">{"data": 1}</script>
</head><body>
<img class="logo__image" alt="The book, home" src="_static/logo.svg">
<img alt="one" src="_images/1.png"><img alt="two" src="_images/2.png">
<img alt="three" src="_images/3.png"
 onload="this.closest('p').hidden = 1 &lt; 2 &amp;&amp; &quot;x&quot;">
<button onclick="window.print()">Print</button>
<a href="https://example.org/elsewhere">A link is no load</a>
</body></html>
"""


def finished(text: str, search: bool = False) -> str:
    better = markup.with_better_tags(text, size=lambda source: (30, 20), search=search)
    return markup.with_policy(better)


def test_a_page_comes_out_right():
    assert page_problems(finished(GOOD)) == []


def test_the_last_form_is_stable():
    assert finished(finished(GOOD)) == finished(GOOD)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("let mode", "let  mode", "without its hash"),
        ("&lt; 2", "&lt; 3", "without its hash"),
        ("</body>", "<script>bad()</script></body>", "without its hash"),
        ("</body>", '<p onclick="bad()"></p></body>', "without its hash"),
        ("script-src 'self'", "script-src 'self' 'unsafe-inline'", "scripts: 'unsafe-inline'"),
        ("script-src 'self'", "script-src 'self' https:", "scripts: https:"),
        ("script-src 'self'", f"script-src 'self' {markup.digest('x')}", "of nothing"),
        ("default-src 'none'", "default-src *", "no default-src 'none'"),
        ("base-uri 'none'", "base-uri *", "no base-uri 'none'"),
        (" 'unsafe-hashes'", "", "hashes of handlers"),
        ("Content-Security-Policy", "X-Policy", "0 policies"),
        ('<meta charset="utf-8"/>', '<meta charset="utf-8"/><script src="a.js"></script>', "after"),
        ("_static/gdl.js", "https://cdn.example.org/gdl.js", "from elsewhere"),
        ("_static/gdl.js", "//cdn.example.org/gdl.js", "from elsewhere"),
        ("_static/favicon.svg", "https://cdn.example.org/i.svg", "from elsewhere"),
        ("_images/1.png", "https://cdn.example.org/1.png", "from elsewhere"),
        ("<button ", '<button style="background:url(//cdn.example.org/a)" ', "from elsewhere"),
        ('alt="two"', "", "no alt"),
        ('alt="two"', 'alt=""', "no alt"),
        ('width="30"', "", "no size"),
        ('loading="lazy"', "", "not lazy"),
        ('class="logo__image"', 'class="logo__image" loading="lazy"', "a lazy logo"),
        ('name="description"', 'name="keywords"', "no description"),
        ('rel="canonical"', 'rel="alternate"', "no canonical"),
        ("</head>", '<meta property="og:title" content="A"></head>', "no og:image"),
    ],
)
def test_a_fault_is_found(old, new, problem):
    page = finished(GOOD)
    assert old in page
    assert any(problem in found for found in page_problems(page.replace(old, new)))


@pytest.mark.parametrize(
    "css",
    [
        "@import 'https://fonts.example.org/a.css';",
        "a { background: url( //cdn.example.org/a.png ) }",
        '@font-face { src: url("https://cdn.example.org/a.woff2") }',
    ],
)
def test_a_style_from_elsewhere_is_found(css):
    assert style_problems(css)


def test_our_own_styles_load_nothing_from_elsewhere():
    styles = [name for name in files() if re.fullmatch(r"_static/.*\.css", name)]
    assert styles
    assert {name: style_problems((ROOT / name).read_text("utf-8")) for name in styles} == {
        name: [] for name in styles
    }


# --- the parts ----------------------------------------------------------------------------------


def test_a_digest_is_the_one_of_the_standard():
    """The example of the W3C's recommendation, Content Security Policy Level 2."""
    script = "alert('Hello, world.');"
    assert markup.digest(script) == "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"


def test_scripts_and_handlers_are_read_as_a_browser_reads_them():
    page = markup.tags(GOOD)
    assert markup.inline_scripts(page) == ['\n  let mode = "a < b && c";\n']
    assert markup.handlers(page) == [
        "this.closest('p').hidden = 1 < 2 && \"x\"",
        "window.print()",
    ]


def test_a_page_without_handlers_allows_none():
    assert "unsafe-hashes" not in markup.policy(markup.tags("<script>a()</script>"))


def test_a_page_without_a_charset_is_refused():
    with pytest.raises(ValueError, match="names no charset"):
        markup.with_policy("<html><head></head></html>")


def test_what_does_not_change_keeps_its_bytes():
    text = "<p  class = 'a'>x &amp; y</p>\n<script>if (a<b) c('</p>')</script><!-- <img> -->"
    assert markup.with_better_tags(text, size=lambda source: None, search=False) == text


def test_buttons_of_the_theme_lose_their_handlers():
    page = finished('<meta charset="utf-8"><button onclick="toggleFullScreen()">F</button>')
    assert '<button data-press="fullscreen">' in page and "unsafe-hashes" not in page
    script = (ROOT / "_static" / "gdl.js").read_text(encoding="utf-8")
    assert all(f"{press}:" in script for press in markup.PRESSES.values())


def test_the_download_is_a_download():
    link = '<a class="btn btn-download-source-button" href="_sources/a.ipynb" target="_blank">'
    new = markup.with_better_tags(link, size=lambda source: None, search=False)
    assert new == '<a class="btn btn-download-source-button" href="_sources/a.ipynb" download>'


@pytest.mark.parametrize(
    "element",
    [
        '<script defer="" src="../_static/scripts/fontawesome.js?digest=1"></script>',
        '<script src="../searchindex.js"></script>',
        '<script type="text/x-thebe-config">{ a: 1 }</script>',
        "<script>kernelName = 'python3'</script>",
        '<link href="../_static/sphinx-thebe.css?v=1" rel="stylesheet"/>',
    ],
)
def test_what_a_page_does_not_need_goes(element):
    assert markup.with_better_tags(f"<p>{element}</p>", size=None, search=False) == "<p></p>"


def test_the_search_page_keeps_its_scripts():
    text = '<script src="searchindex.js"></script>'
    assert markup.with_better_tags(text, size=None, search=True) == text


def _css(light: str, dark: str) -> str:
    styles = {"light": light, "dark": dark}
    return "\n".join(
        HtmlFormatter(style=style).get_style_defs(f'html[data-theme="{theme}"] .highlight')
        for theme, style in styles.items()
    )


def test_plain_tokens_are_those_of_the_ground():
    css = _css("a11y-high-contrast-light", "a11y-high-contrast-dark")
    assert {"n", "p"} <= markup.plain_tokens(css)
    assert not {"k", "s2", "mi", "c1", "o"} & markup.plain_tokens(css)


def test_a_token_that_one_scheme_colours_is_not_plain():
    css = _css("a11y-high-contrast-light", "a11y-high-contrast-dark")
    coloured = re.sub(
        r'(html\[data-theme="dark"\] \.highlight \.n \{ color: )#\w+', r"\1#ff0000", css
    )
    assert coloured != css
    assert markup.plain_tokens(css) - markup.plain_tokens(coloured) == {"n"}


def test_code_loses_only_plain_marks():
    link = '<a class="sphinx-codeautolink-a" href="x.html"><span class="n">f</span></a>'
    code = (
        f'<span></span>{link}<span class="p">(</span><span class="k">not</span> '
        '<span class="n">x</span><span class="p">)</span>'
    )
    text = f'<span class="n">a</span><div class="highlight"><pre>{code}</pre></div>'
    new = markup.without_plain_tokens(text, {"n", "p"})
    wanted = f'<span></span>{link}(<span class="k">not</span> x)'
    assert new == f'<span class="n">a</span><div class="highlight"><pre>{wanted}</pre></div>'


def _png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


@pytest.mark.parametrize(
    ("colours", "alpha"),
    [(2, 255), (200, 255), (256, 255), (257, 255), (5000, 255), (40, 90)],
)
def test_a_smaller_picture_has_the_same_pixels(colours, alpha):
    generator = np.random.default_rng(0)
    palette = generator.choice(256**3, size=colours, replace=False)
    places = np.resize(np.arange(colours), (90, 80))
    rgb = np.stack([palette >> 16, palette >> 8 & 255, palette & 255], axis=1)[places]
    data = _png(np.concatenate([rgb, np.full((90, 80, 1), alpha)], axis=2))
    smaller = markup.smaller_png(data)
    assert np.array_equal(_pixels(smaller), _pixels(data))
    assert len(smaller) < len(data)
    assert markup.smaller_png(smaller) == smaller


def test_sizes_of_pictures():
    assert markup.picture_size(_png(np.zeros((20, 30, 3)))) == (30, 20)
    svg = (ROOT / "_static" / "logo.svg").read_bytes()
    assert markup.picture_size(svg) == (96, 96)
    assert markup.picture_size(b'<svg xmlns="http://www.w3.org/2000/svg"/>') is None


def test_large_embedded_pictures_become_files():
    large = "data:image/png;base64," + base64.b64encode(bytes(3000)).decode()
    small = "data:image/png;base64," + base64.b64encode(bytes(30)).decode()
    stored = []
    new = markup.extracted(
        f'<img src="{small}"><p data-frames="{large} {large}">',
        lambda data: stored.append(data) or f"{len(stored)}.png",
    )
    assert new == f'<img src="{small}"><p data-frames="1.png 2.png">'
    assert stored == [bytes(3000)] * 2


def test_a_redirect_names_its_target():
    page = (ROOT / SPHINX["redirect_html_template_file"]).read_text(encoding="utf-8")
    moved = page.replace("${to_uri}", "../intro.html")
    address = "https://example.org/book/chapters/index.html"
    done = finished(markup.with_canonical(moved, address))
    assert 'rel="canonical" href="https://example.org/book/intro.html"' in done
    assert page_problems(done) == []
    assert "no canonical" in page_problems(finished(moved))
    assert "no visible link" in page_problems(done.replace("<a href", "<b href"))


def redirect_problems(redirects: dict[str, str], pages: list[str]) -> list[str]:
    """Redirects that hide a page, or lead to none."""
    targets = {old: urljoin(f"/{old}.html", new) for old, new in redirects.items()}
    hidden = [f"{old} is a page" for old in redirects if old in pages]
    known = {f"/{page}.html" for page in pages}
    return hidden + [f"{old} leads to {to}" for old, to in targets.items() if to not in known]


PAGES = _toc_files(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))


def test_redirects_lead_to_pages():
    assert "index" in SPHINX["redirects"]
    assert redirect_problems(SPHINX["redirects"], PAGES) == []


@pytest.mark.parametrize(
    ("redirects", "problem"),
    [
        ({"intro": "chapters/ledger.html"}, "intro is a page"),
        ({"old": "chapters/nothing.html"}, "old leads to /chapters/nothing.html"),
        ({"chapters/old": "intro.html"}, "chapters/old leads to /chapters/intro.html"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_found(redirects, problem):
    assert redirect_problems(redirects, PAGES) == [problem]


# --- what needs Sphinx --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site():
    """The extension, imported as Sphinx does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "_ext"))
        yield importlib.import_module("site_sphinx")


def _document(*paragraphs: list) -> nodes.document:
    section = nodes.section()
    section += [nodes.paragraph("", "", *parts) for parts in paragraphs]
    document = nodes.document(None, None)
    document += section
    return document


def test_a_description_stops_before_the_first_formula(site):
    badge = nodes.reference("", "", nodes.image(alt="Open in Colab"))
    sentence = "Why do networks that ignore positions always end up convolving?"
    formula = nodes.math("", r"h \times w")
    document = _document(
        [badge],
        [nodes.Text("Too short.")],
        [nodes.Text(f"{sentence} On a torus of "), formula, nodes.Text(" points. And more.")],
    )
    assert site.description(document, 200) == sentence
    assert site.description(document, 50) == "Why do networks that ignore positions always end …"
    assert site.description(_document([formula]), 200) == site.DESCRIPTION


def test_what_no_page_loads_is_removed(site, tmp_path: Path):
    kept = ["styles/a.css", "scripts/a.js", "vendor/a.woff2", "gdl.js"]
    gone = [
        "styles/a.css.map",
        "vendor/a.ttf",
        "scripts/fontawesome.js",
        "locales/de/x.json",
        "webpack-macros.html",
    ]
    for name in kept + gone:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            'a { src: url(../a.woff2) format("woff2"),url(../a.ttf) '
            'format("truetype") }\n/*# sourceMappingURL=a.css.map */',
            encoding="utf-8",
        )
    site.trim_static(tmp_path)
    left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert left == sorted(kept)
    css = (tmp_path / "styles/a.css").read_text(encoding="utf-8")
    assert css == 'a { src: url(../a.woff2) format("woff2") }\n'


def test_a_finished_page(site, tmp_path: Path):
    picture = _png(np.zeros((20, 30, 3)))
    for folder in ("_images", "chapters"):
        (tmp_path / folder).mkdir()
    (tmp_path / "_images" / "1.png").write_bytes(picture)
    frame = _png(np.random.default_rng(0).integers(0, 256, (60, 60, 3)))
    uri = "data:image/png;base64," + base64.b64encode(frame).decode()
    # Addresses of the 404 page start at the root of the host.
    text = GOOD.replace("_images/1.png", "../_images/1.png").replace("_images/3.png", uri)
    text = text.replace("_images/2.png", "/book/_images/1.png")
    page = Path("chapters/a.html")
    new = site.finished_page(text, page, tmp_path, "https://example.org/book/", set())
    assert new.count('width="30" height="20"') == 2
    (stored,) = set(re.findall(r"\.\./_images/([0-9a-f]{64}\.png)", new))
    assert np.array_equal(_pixels((tmp_path / "_images" / stored).read_bytes()), _pixels(frame))


# --- a whole site -------------------------------------------------------------------------------

BASE = "https://example.org/book/"


@pytest.fixture
def small_site(tmp_path: Path) -> Path:
    """One page that is right, with its pictures, styles and a sitemap."""
    for folder in ("_images", "_static"):
        (tmp_path / folder).mkdir()
    for number in (1, 2, 3):
        (tmp_path / "_images" / f"{number}.png").write_bytes(bytes(100))
    (tmp_path / "_static" / "a.css").write_text("a { color: red }", encoding="utf-8")
    (tmp_path / "page.html").write_text(finished(GOOD), encoding="utf-8")
    (tmp_path / "sitemap.xml").write_text(
        '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
        f"<url><loc>{BASE}page.html</loc></url></urlset>",
        encoding="utf-8",
    )
    return tmp_path


def test_a_site_comes_out_right(small_site):
    assert site_problems(small_site, BASE) == []


def test_the_search_may_parse_the_pages_it_quotes(small_site, site):
    search = small_site / "search.html"
    without = re.sub(r'\son(?:load|click)="[^"]*"', "", GOOD)
    search.write_text(finished(without), encoding="utf-8")
    assert any("without its hash" in found for found in site_problems(small_site, BASE))
    site.allow_quotes(small_site)
    assert site_problems(small_site, BASE) == []


def test_a_page_weighs_its_pictures_and_frames(small_site):
    page = small_site / "page.html"
    before = weight(page, small_site)
    assert before == page.stat().st_size + 300
    (small_site / "_images" / "4.png").write_bytes(bytes(5000))
    text = page.read_text(encoding="utf-8")
    page.write_text(text + '<p data-frames="_images/4.png _images/1.png"></p>', encoding="utf-8")
    assert weight(page, small_site) == page.stat().st_size + 5300


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("other.html", "<p>", "other.html: 0 policies"),
        ("other.html", "x" * 1_600_000, "other.html: 1.6 MB"),
        ("_static/a.css", "@import '//cdn.example.org/a.css';", "a.css: from elsewhere"),
        ("_static/a.js", "x" * 4_100_000, "shared files: 4.1 MB"),
        ("sitemap.xml", "<urlset/>", "sitemap.xml: no page"),
        (
            "sitemap.xml",
            f"<urlset><url><loc>{BASE}gone.html</loc></url></urlset>",
            f"sitemap.xml: {BASE}gone.html",
        ),
    ],
)
def test_a_fault_of_a_site_is_found(small_site, name, text, problem):
    (small_site / name).write_text(text, encoding="utf-8")
    assert any(problem in found for found in site_problems(small_site, BASE))
