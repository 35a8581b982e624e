"""What the pages' HTML needs after every other extension has written it: pure functions on text.

Only tags that change are written anew; every other byte of a page stays as it is.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

import numpy as np
from PIL import Image

# Smaller pictures are cheaper inside the page than as a request of their own.
EMBEDDED = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]{2000,})")
JAVASCRIPT = ("", "module", "text/javascript", "application/javascript")
# Handlers of the theme, which gdl.js attaches instead.
PRESSES = {"window.print()": "print", "toggleFullScreen()": "fullscreen"}
SEARCH_SCRIPTS = ("searchtools.js", "language_data.js", "searchindex.js")
# The icons come from the fonts of the same set; the script would draw them a second time.
UNUSED_SCRIPTS = ("fontawesome.js", "sphinx-thebe.js")
UNUSED_STYLES = ("sphinx-thebe.css",)
CODE_BLOCK = re.compile(r'(?<=<div class="highlight"><pre>).*?(?=</pre>)', re.DOTALL)
TOKEN = re.compile(
    r'<a class="sphinx-codeautolink-a".*?</a>|<span class="(?P<kind>\w+)">(?P<text>[^<]*)</span>',
    re.DOTALL,
)
GROUND = re.compile(r"(html\S+) \.highlight \{.*?(?<![\w-])color: (#\w+)")
TOKEN_RULE = re.compile(r"(html\S+) \.highlight \.(\w+) \{ (.*?) \}")
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    # MathJax writes style elements, and the tables of notebooks hold style attributes.
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
}

Attributes = dict[str, str | None]


@dataclass
class Tag:
    """A start tag; of a script also what it holds, and where its element stops."""

    name: str
    attributes: Attributes
    start: int
    stop: int
    body: str = ""

    def get(self, name: str) -> str:
        return self.attributes.get(name) or ""

    @property
    def classes(self) -> list[str]:
        return self.get("class").split()


class _Scanner(HTMLParser):
    """Collects the start tags of a page with their places in the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[Tag] = []
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.feed(text)
        self.close()

    def place(self) -> int:
        line, column = self.getpos()
        return self.lines[line - 1] + column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        start = self.place()
        self.tags.append(Tag(tag, dict(attrs), start, start + len(self.get_starttag_text())))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.tags[-1].body += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self.tags[-1].stop = self.place() + len("</script>")


def tags(text: str) -> list[Tag]:
    """The start tags of a page, in order."""
    return _Scanner(text).tags


def written(name: str, attributes: Attributes) -> str:
    """A start tag as text."""
    pairs = [
        key if value is None else f'{key}="{html.escape(value)}"'
        for key, value in attributes.items()
    ]
    return f"<{' '.join([name, *pairs])}>"


def replaced(text: str, edits: list[tuple[int, int, str]]) -> str:
    """The text with each piece from start to stop replaced; the pieces do not overlap."""
    parts, end = [], 0
    for start, stop, new in sorted(edits):
        parts += [text[end:start], new]
        end = stop
    return "".join([*parts, text[end:]])


# --- content security policy --------------------------------------------------------------------


def digest(script: str) -> str:
    """The name by which a policy allows a script."""
    found = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(found).decode()}'"


def inline_scripts(page: list[Tag]) -> list[str]:
    """The scripts of a page that stand in it; blocks of data are none."""
    return [
        tag.body
        for tag in page
        if tag.name == "script" and "src" not in tag.attributes and tag.get("type") in JAVASCRIPT
    ]


def handlers(page: list[Tag]) -> list[str]:
    """The event handlers that stand in attributes."""
    return [
        value or "" for tag in page for key, value in tag.attributes.items() if key.startswith("on")
    ]


def policy(page: list[Tag], quoted: Collection[str] = ()) -> str:
    """The content security policy of a page: this site, and by hash what stands in the page.

    The handlers in ``quoted`` stand in pages that a script of this page parses.
    """
    allowed = sorted(map(digest, set(inline_scripts(page))))
    attached = sorted(map(digest, {*handlers(page), *quoted}))
    scripts = [
        POLICY["script-src"],
        *allowed,
        *(["'unsafe-hashes'", *attached] if attached else []),
    ]
    rules = POLICY | {"script-src": " ".join(dict.fromkeys(scripts))}
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def with_policy(text: str, quoted: Collection[str] = ()) -> str:
    """The page with its policy, before anything that it governs."""
    page = tags(text)
    old = [(tag.start, tag.stop, "") for tag in page if _is_policy(tag)]
    charset = next((tag for tag in page if "charset" in tag.attributes), None)
    if charset is None:
        raise ValueError("the page names no charset, after which its policy would stand")
    rules = policy(page, quoted)
    meta = written("meta", {"http-equiv": "Content-Security-Policy", "content": rules})
    return replaced(text, [*old, (charset.stop, charset.stop, meta.replace("&#x27;", "'"))])


def _is_policy(tag: Tag) -> bool:
    return tag.name == "meta" and tag.get("http-equiv") == "Content-Security-Policy"


# --- weight -------------------------------------------------------------------------------------


def plain_tokens(css: str) -> set[str]:
    """The classes of code tokens that look like the code around them, in every colour scheme."""
    ground = dict(GROUND.findall(css))
    rules: dict[str, set[tuple[str, str]]] = {}
    for scheme, token, declarations in TOKEN_RULE.findall(css):
        rules.setdefault(token, set()).add((scheme, declarations))
    plain = {(scheme, f"color: {colour}") for scheme, colour in ground.items()}
    return {token for token, found in rules.items() if found <= plain}


def without_plain_tokens(text: str, plain: set[str]) -> str:
    """Code without the marks that change nothing, which are a third of a chapter's HTML.

    Inside links they stay: there they keep the link's own colour away.
    """

    def unmarked(match: re.Match) -> str:
        return match["text"] if match["kind"] in plain else match[0]

    return CODE_BLOCK.sub(lambda block: TOKEN.sub(unmarked, block[0]), text)


def extracted(text: str, store: Callable[[bytes], str]) -> str:
    """The page with its large embedded pictures as files; ``store`` gives their addresses."""
    return EMBEDDED.sub(lambda match: store(base64.b64decode(match[1])), text)


def smaller_png(data: bytes) -> bytes:
    """The same pixels in fewer bytes, or the bytes themselves."""
    picture = Image.open(io.BytesIO(data))
    if picture.mode == "RGBA" and picture.getextrema()[3] == (255, 255):
        picture = picture.convert("RGB")
    if picture.mode == "RGB" and picture.getcolors(256):
        picture = _with_palette(picture)
    packed = io.BytesIO()
    picture.save(packed, "PNG", optimize=True)
    return min(packed.getvalue(), data, key=len)


def _with_palette(picture: Image.Image) -> Image.Image:
    """The picture by numbers of its own colours; Pillow's own choice of them is not exact."""
    rgb = np.asarray(picture).astype(np.uint32)
    codes = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    colours = np.unique(codes)
    numbers = np.searchsorted(colours, codes).astype(np.uint8)
    new = Image.fromarray(numbers)
    new.putpalette(
        np.stack([colours >> 16, colours >> 8 & 255, colours & 255], 1).astype(np.uint8).tobytes()
    )
    return new


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, of an SVG from its view box."""
    if not data.lstrip().startswith(b"<"):
        return Image.open(io.BytesIO(data)).size
    box = (ElementTree.fromstring(data).get("viewBox") or "").split()
    return (round(float(box[2])), round(float(box[3]))) if len(box) == 4 else None


# --- tags ---------------------------------------------------------------------------------------


def dropped(tag: Tag, search: bool) -> bool:
    """Whether a page does without this script or style: Thebe, a second set of icons, the search
    where there is nothing to search."""
    name = urlsplit(tag.get("src") or tag.get("href")).path.rpartition("/")[2]
    if tag.name == "script":
        unused = name in UNUSED_SCRIPTS or tag.body.lstrip().startswith("kernelName")
        thebe = tag.get("type") == "text/x-thebe-config"
        return unused or thebe or (not search and name in SEARCH_SCRIPTS)
    return tag.name == "link" and name in UNUSED_STYLES


def improved(tag: Tag, size: tuple[int, int] | None) -> Attributes:
    """The attributes that a tag should have."""
    new = dict(tag.attributes)
    if tag.get("onclick") in PRESSES:
        new["data-press"] = PRESSES[new.pop("onclick")]
    if tag.name == "i" and any(name.startswith("fa-") for name in tag.classes):
        new["aria-hidden"] = "true"
    if "btn-download-source-button" in tag.classes:
        new.pop("target", None)
        new["download"] = None
    if tag.name == "img":
        if size and not {"width", "height"} & new.keys():
            new["width"], new["height"] = map(str, size)
        new["decoding"] = "async"
        if not is_logo(tag):
            new["loading"] = "lazy"
    return new


def is_logo(tag: Tag) -> bool:
    return "logo__image" in tag.classes


def is_sized(tag: Tag) -> bool:
    """Whether this is a picture whose shape the page should know before it has come."""
    return tag.name == "img" and (is_logo(tag) or "_images/" in tag.get("src"))


def with_better_tags(
    text: str, *, size: Callable[[str], tuple[int, int] | None], search: bool
) -> str:
    """The page without what it does not need, and with tags as they should be."""
    edits = []
    for tag in tags(text):
        if dropped(tag, search):
            edits.append((tag.start, tag.stop, ""))
            continue
        new = improved(tag, size(tag.get("src")) if is_sized(tag) else None)
        if new != tag.attributes:
            edits.append((tag.start, tag.stop, written(tag.name, new)))
    return replaced(text, edits)


def with_canonical(text: str, address: str) -> str:
    """A page that only leads elsewhere names the page it leads to as the right one."""
    page = tags(text)
    refresh = next((tag for tag in page if tag.get("http-equiv").lower() == "refresh"), None)
    if refresh is None or any(tag.get("rel") == "canonical" for tag in page):
        return text
    target = urljoin(address, refresh.get("content").partition("url=")[2])
    link = written("link", {"rel": "canonical", "href": target})
    return replaced(text, [(refresh.stop, refresh.stop, link)])
