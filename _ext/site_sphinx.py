"""What the built site needs beyond its pages: head, weight, and a policy that the pages obey.

Last of all, when every extension has written its part, each HTML file is read once more: pictures
get sizes and load late, what no page can use goes, and the content security policy is computed
from what is then in the page. See ``site_markup`` for how.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from functools import cache, partial
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import site_markup as markup
from docutils import nodes
from sphinx.application import Sphinx
from sphinxext import opengraph

PDF = "one-equation.pdf"
DESCRIPTION = "Geometric deep learning, derived, executed and tested: a book that runs."
SHORTEST_DESCRIPTION = 40
THEME_COLOURS = {"light": "#ffffff", "dark": "#14181e"}
UNLISTED = ("404", "search")
# Files that no page of this site can load.
UNUSED = (
    "**/*.map",
    "**/*.ttf",
    "**/fontawesome.js*",
    "sphinx-thebe.*",
    "*webpack-macros.html",
    "locales/**/*.*o*",
)
FALLBACK_FONT = re.compile(r',\s*url\([^)]*\.ttf\)\s*format\("truetype"\)')
SOURCE_MAP = re.compile(r"/[/*]# sourceMappingURL=\S+\.map(?: \*/)?\s*$")
SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
FORMULA = "\0"


def description(doctree: nodes.document, length: int, titles=frozenset()) -> str:
    """The first sentences of a page up to its first formula, for search engines and cards."""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section):
            found = textwrap.shorten(_plain_sentences(paragraph), length, placeholder=" …")
            if len(found) >= SHORTEST_DESCRIPTION:
                return found
    return DESCRIPTION


def _plain_sentences(paragraph: nodes.paragraph) -> str:
    """The sentences before the first one that holds a formula."""
    parts = [
        FORMULA if isinstance(text.parent, nodes.math) else text.astext()
        for text in paragraph.findall(nodes.Text)
    ]
    sentences = SENTENCE_END.split("".join(parts).strip())
    formula = next((i for i, s in enumerate(sentences) if FORMULA in s), len(sentences))
    return " ".join(sentences[:formula])


def add_head(app: Sphinx, pagename: str, templatename, context: dict, doctree) -> None:
    """Icons and colours for browsers, and a description where no text gives one."""
    pathto = context["pathto"]
    icon = partial(markup.written, "link")
    lines = [
        icon({"rel": "icon", "href": pathto("_static/favicon.png", 1), "sizes": "48x48"}),
        icon({"rel": "apple-touch-icon", "href": pathto("_static/apple-touch-icon.png", 1)}),
        *(
            markup.written(
                "meta",
                {
                    "name": "theme-color",
                    "media": f"(prefers-color-scheme: {scheme})",
                    "content": colour,
                },
            )
            for scheme, colour in THEME_COLOURS.items()
        ),
    ]
    known = context.get("metatags", "")
    if 'name="description"' not in known:
        lines.append(markup.written("meta", {"name": "description", "content": DESCRIPTION}))
    if pagename in UNLISTED:
        lines.append(markup.written("meta", {"name": "robots", "content": "noindex"}))
        context["pageurl"] = None
    context["metatags"] = known + "\n".join(lines)


def add_pdf(app: Sphinx, pagename: str, templatename, context: dict, doctree) -> None:
    """A link to the whole book as one file: among the downloads, and at the foot of every page."""
    address = context["pathto"](PDF, 1)
    for group in context["header_buttons"]:
        if group["label"] == "download-buttons":
            group["buttons"].append(
                {
                    "type": "link",
                    "url": address,
                    "text": "the book, .pdf",
                    "tooltip": "The whole book as one PDF",
                    "icon": "fas fa-book",
                    "label": "download-book-button",
                }
            )
    link = f'<p><a href="{address}">The whole book as one PDF</a></p>'
    context["theme_extra_footer"] = f"{context.get('theme_extra_footer') or ''}{link}"


def trim_static(static: Path) -> None:
    """Remove what no page can load, and the places that name it."""
    for pattern in UNUSED:
        for path in static.glob(pattern):
            path.unlink()
    for path in [*static.rglob("*.css"), *static.glob("scripts/*.js")]:
        text = path.read_text(encoding="utf-8")
        path.write_text(
            SOURCE_MAP.sub("", FALLBACK_FONT.sub("", text)), encoding="utf-8", newline="\n"
        )


def finish_site(app: Sphinx, exception: Exception | None) -> None:
    """Give every written page its last form."""
    if exception is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    trim_static(site / "_static")
    for path in site.glob("_images/**/*.png"):
        path.write_bytes(markup.smaller_png(path.read_bytes()))
    plain = markup.plain_tokens((site / "_static" / "pygments.css").read_text(encoding="utf-8"))
    for path in sorted(site.rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        new = finished_page(text, path.relative_to(site), site, app.config.html_baseurl, plain)
        path.write_text(new, encoding="utf-8", newline="\n")
    allow_quotes(site)


def allow_quotes(site: Path) -> None:
    """Let the search parse the pages it quotes: a browser counts handlers that never run there."""
    search = site / "search.html"
    pages = [path.read_text(encoding="utf-8") for path in site.rglob("*.html")]
    quoted = {handler for page in pages for handler in markup.handlers(markup.tags(page))}
    new = markup.with_policy(search.read_text(encoding="utf-8"), quoted)
    search.write_text(new, encoding="utf-8", newline="\n")


def finished_page(text: str, page: Path, site: Path, base: str, plain: set[str]) -> str:
    """The last form of one page; its large embedded pictures become files of the site."""
    text = markup.without_plain_tokens(text, plain)
    text = markup.extracted(text, partial(_store, site, "../" * (len(page.parts) - 1)))
    text = markup.with_better_tags(
        text,
        size=lambda source: _size(_file(source, page, site, base)),
        search=page.name == "search.html",
    )
    text = markup.with_canonical(text, urljoin(base, page.as_posix()))
    return markup.with_policy(text)


def _store(site: Path, root: str, data: bytes) -> str:
    """Write a picture under the name of its content, and give its address in a page."""
    name = f"_images/{hashlib.sha256(data).hexdigest()}.png"
    path = site / name
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(markup.smaller_png(data))
    return root + name


def _file(source: str, page: Path, site: Path, base: str) -> Path:
    """The file of an address; those of the 404 page start at the root of the host."""
    root = urlsplit(base).path
    if source.startswith(root):
        return site / source.removeprefix(root)
    return (site / page).parent / source


@cache
def _size(path: Path) -> tuple[int, int] | None:
    return markup.picture_size(path.read_bytes()) if path.exists() else None


def setup(app: Sphinx) -> dict:
    """Connect the handlers, each after those of all other extensions."""
    # Its own description takes the first 200 characters, with the source of formulas.
    opengraph.get_description = description
    app.connect("html-page-context", add_head, priority=900)
    app.connect("html-page-context", add_pdf, priority=900)
    app.connect("build-finished", finish_site, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
