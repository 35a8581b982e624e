"""Local Sphinx glue: what the book needs and no extension offers.

* MathJax is served from the site itself, so pages work without a network.
* The outputs of ``gdl.claims.claim`` carry the class ``claim``, so that CSS can style them.
* Docstrings name the chapter that derives an object; on the pages of the package this is a link.
* The terms of the glossary are targets of Markdown links, which read well without Sphinx too.
* Scripts, roles and options that the theme or Jupyter Book get wrong are put right.
"""

from __future__ import annotations

import re
import shutil
from importlib.metadata import distribution
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx_codeautolink.extension import block

CLAIM_MARK = "✓ "
# What stays as it is (examples, literal blocks, code, roles, list marks), or a sign that does not.
PLAIN_TEXT = re.compile(
    r"^ *>>>.*?(?=^ *$|\Z)|::\n\n(?: .*\n|\n)+|``.*?``|`[^`]*`|^ *\* |(?P<sign>[*|])",
    re.MULTILINE | re.DOTALL,
)
CHAPTERS = re.compile(r"Chapters?:(?:\s+(?:and\s+)?``\w+``,?)+")
BOX_ID = re.compile(r' id="(proof|(proof|exercise|solution)-content)"')


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    """Copy what the pages need of MathJax (1.8 MB of 24 MB) out of its Python package."""
    if exception is not None or app.builder.format != "html":
        return
    package = distribution("sphinx-mathjax-offline")
    source = Path(package.locate_file("sphinx-mathjax-offline/static/mathjax"))
    target = Path(app.outdir) / "_static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "tex-chtml-full.js", target / "tex-chtml-full.js")
    fonts = "output/chtml/fonts"
    shutil.copytree(source / fonts, target / fonts, dirs_exist_ok=True)


def escape_formulas(app: Sphinx, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings write formulas as plain text: stars and bars mean themselves, not markup."""
    text = PLAIN_TEXT.sub(lambda m: "\\" + m[0] if m["sign"] else m[0], "\n".join(lines))
    lines[:] = text.split("\n")


def link_chapters(app: Sphinx, what, name, obj, options, lines: list[str]) -> None:
    """ "Chapter: ``graphs``." becomes a link to that chapter."""
    text = CHAPTERS.sub(
        lambda m: re.sub(r"``(\w+)``", r":doc:`/chapters/\1`", m[0]), "\n".join(lines)
    )
    lines[:] = text.split("\n")


def register_terms(app: Sphinx, doctree: nodes.document) -> None:
    """Let ``[word](glossary.md#term-word)`` find the terms of a glossary."""
    slugs = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for term in doctree.findall(nodes.term):
        for target in term["ids"]:
            slugs[target] = (term.line, target, term.astext())


def mark_claims(app: Sphinx, doctree: nodes.document) -> None:
    """Give printed claims a class of their own."""
    for node in doctree.findall(nodes.literal_block):
        if "output" in node["classes"] and node.astext().startswith(CLAIM_MARK):
            node["classes"].append("claim")


def drop_thebe(app: Sphinx, pagename, templatename, context, doctree) -> None:
    """Remove sphinx-thebe, which Jupyter Book always loads, and loads twice."""

    def is_thebe(script) -> bool:
        body = script.attributes.get("body") or ""
        return "thebe" in str(script.filename) or "THEBE_JS_URL" in body

    scripts = context.get("script_files", [])
    context["script_files"] = [script for script in scripts if not is_thebe(script)]


def set_theme_options(app: Sphinx, config: Config) -> None:
    """Hide pydata's top bar, which holds a second search button, and name the logo.

    Not in ``_config.yml``: there the options replace those that make the launch buttons.
    """
    options = config.html_theme_options
    for key in ("navbar_start", "navbar_center", "navbar_end", "navbar_persistent"):
        options[key] = []
    options["logo"] = {"text": config.project, "alt_text": f"{config.project}, home"}


def fix_markup(app: Sphinx, pagename, templatename, context, doctree) -> None:
    """Two faults of accessibility in the body of a page.

    Docutils gives citations a deprecated role, and their list is then without items.
    sphinx-proof and sphinx-exercise give every proof, and the inside of every box, the same id.
    """
    if "body" in context:
        body = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
        context["body"] = BOX_ID.sub("", body)


def depart_titled_section(self, node: nodes.section) -> None:
    """Pop a title only where there is one.

    sphinx-proof and sphinx-exercise emit sections without a title; codeautolink pops one for each.
    """
    if self.title_stack and any(isinstance(child, nodes.title) for child in node.children):
        self.title_stack.pop()


def setup(app: Sphinx) -> dict:
    """Connect the handlers."""
    block.CodeBlockAnalyser.depart_section = depart_titled_section
    app.connect("config-inited", set_theme_options)
    app.connect("autodoc-process-docstring", link_chapters, priority=300)
    app.connect("autodoc-process-docstring", escape_formulas, priority=400)
    app.connect("doctree-read", register_terms)
    app.connect("doctree-read", mark_claims)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", fix_markup)
    app.connect("build-finished", copy_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
