"""What every page of the built site must pass: policy, pictures, head, weight, nothing foreign."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from _ext import site_markup as markup

MAX_PAGE_BYTES = 1_500_000
MAX_SHARED_BYTES = 4_000_000
# What a browser loads by itself, by tag and attribute; links that a reader follows are not here.
LOADED = {
    "script": ["src"],
    "img": ["src", "srcset"],
    "iframe": ["src"],
    "embed": ["src"],
    "object": ["data"],
    "source": ["src", "srcset"],
    "video": ["src", "poster"],
    "audio": ["src"],
    "use": ["href"],
    "image": ["href"],
}
LOADED_LINKS = {"stylesheet", "preload", "icon", "apple-touch-icon", "manifest", "modulepreload"}
ELSEWHERE = re.compile(r"\s*(?:[a-z][a-z+.-]*:)?//", re.IGNORECASE)
IN_STYLE = re.compile(r"url\(\s*['\"]?\s*(?:https?:)?//|@import\s+['\"](?:https?:)?//")
HASH = re.compile(r"'sha256-[A-Za-z0-9+/]{43}='")
STRICT = ("default-src 'none'", "object-src 'none'", "base-uri 'none'", "form-action 'self'")


def policy_problems(page: list[markup.Tag], quoted: Collection[str] = ()) -> list[str]:
    """What is missing from a page's policy, or too much in it; it allows what it quotes too."""
    metas = [
        (number, tag)
        for number, tag in enumerate(page)
        if tag.get("http-equiv").lower() == "content-security-policy"
    ]
    if len(metas) != 1:
        return [f"{len(metas)} policies"]
    place, meta = metas[0]
    rules = [rule.strip() for rule in meta.get("content").split(";")]
    scripts = next((rule.split()[1:] for rule in rules if rule.startswith("script-src ")), [])
    found = [f"no {rule}" for rule in STRICT if rule not in rules]
    found += [
        f"scripts: {source}"
        for source in scripts
        if not HASH.fullmatch(source) and source not in ("'self'", "'unsafe-hashes'")
    ]
    if any(tag.name in ("script", "link", "style") for tag in page[:place]):
        found.append("the policy comes after something that it governs")
    wanted = {markup.digest(script) for script in markup.inline_scripts(page)}
    attached = {markup.digest(handler) for handler in [*markup.handlers(page), *quoted]}
    if not wanted | attached <= set(scripts):
        found.append("a script or a handler without its hash")
    if not set(filter(HASH.fullmatch, scripts)) <= wanted | attached:
        found.append("a hash of nothing in the page")
    if bool(attached) != ("'unsafe-hashes'" in scripts):
        found.append("hashes of handlers without handlers, or the reverse")
    return found


def loaded_addresses(page: list[markup.Tag]) -> list[str]:
    """Every address that the browser loads without being asked."""
    of_tags = [tag.get(name) for tag in page for name in LOADED.get(tag.name, [])]
    links = [
        tag.get("href")
        for tag in page
        if tag.name == "link" and LOADED_LINKS & set(tag.get("rel").split())
    ]
    return [address for address in of_tags + links if address]


def outside_problems(page: list[markup.Tag]) -> list[str]:
    """Scripts, styles, pictures and fonts from another host."""
    found = [address for address in loaded_addresses(page) if ELSEWHERE.match(address)]
    styles = [tag.get("style") for tag in page]
    return [f"from elsewhere: {address}" for address in found] + [
        f"from elsewhere: {style}" for style in styles if IN_STYLE.search(style)
    ]


def picture_problems(page: list[markup.Tag]) -> list[str]:
    """Pictures without a description, without a size, or that do not wait until they are near."""
    pictures = [tag for tag in page if tag.name == "img"]
    return [
        *(f"no alt: {tag.get('src')[:80]}" for tag in pictures if not tag.get("alt")),
        *(
            f"no size: {tag.get('src')[:80]}"
            for tag in pictures
            if markup.is_sized(tag) and not (tag.get("width") and tag.get("height"))
        ),
        *(
            f"not lazy: {tag.get('src')[:80]}"
            for tag in pictures
            if not markup.is_logo(tag) and tag.get("loading") != "lazy"
        ),
        *(
            f"a lazy logo: {tag.get('src')}"
            for tag in pictures
            if markup.is_logo(tag) and tag.get("loading") == "lazy"
        ),
    ]


def head_problems(page: list[markup.Tag]) -> list[str]:
    """What a search engine, a card or a browser's tab would miss."""
    named = {tag.get("name") or tag.get("property") for tag in page if tag.name == "meta"}
    related = {tag.get("rel") for tag in page if tag.name == "link"}
    if any(tag.get("http-equiv").lower() == "refresh" for tag in page):
        body = [tag for tag in page if tag.name == "a" and tag.get("href")]
        return [
            f"no {what}"
            for what, there in {"canonical": "canonical" in related, "visible link": body}.items()
            if not there
        ]
    wanted = {"description", "theme-color", "viewport"}
    if "robots" not in named:
        related_wanted = {"canonical", "icon", "apple-touch-icon"}
    else:
        related_wanted = {"icon", "apple-touch-icon"}
    if "og:title" in named:
        wanted |= {"og:image", "og:image:alt", "og:description", "og:url", "twitter:card"}
    return [f"no {name}" for name in sorted(wanted - named) + sorted(related_wanted - related)]


def page_problems(text: str, quoted: Collection[str] = ()) -> list[str]:
    """Everything that is wrong with a built page."""
    page = markup.tags(text)
    checks = (outside_problems, picture_problems, head_problems)
    return policy_problems(page, quoted) + [problem for check in checks for problem in check(page)]


def style_problems(css: str) -> list[str]:
    """What a style sheet loads from another host."""
    return IN_STYLE.findall(css)


def weight(path: Path, site: Path) -> int:
    """The bytes of a page and of all its pictures, those of its animations too."""
    text = path.read_text(encoding="utf-8")
    named = [
        address
        for tag in markup.tags(text)
        for address in [*(tag.get("src"),) * (tag.name == "img"), *tag.get("data-frames").split()]
    ]
    folder = path.parent.relative_to(site).as_posix()
    files = {
        posixpath.normpath(posixpath.join(folder, unquote(urlsplit(address).path)))
        for address in named
        if address and not address.startswith("data:")
    }
    pictures = [site / name for name in files if (site / name).is_file()]
    return sum(file.stat().st_size for file in [path, *pictures])


def shared_weight(site: Path) -> int:
    """The bytes of all scripts, styles and fonts, whether a page loads them or not."""
    kinds = {".js", ".css", ".woff", ".woff2", ".ttf"}
    return sum(path.stat().st_size for path in site.rglob("*") if path.suffix in kinds)


def sitemap_problems(site: Path, base: str) -> list[str]:
    """Addresses without a page, or no address at all."""
    tree = ElementTree.parse(site / "sitemap.xml")
    listed = [node.text or "" for node in tree.iter() if node.tag.endswith("loc")]
    wrong = [
        address
        for address in listed
        if not address.startswith(base) or not (site / address.removeprefix(base)).is_file()
    ]
    twice = sorted({address for address in listed if listed.count(address) > 1})
    return [f"sitemap.xml: {address}" for address in wrong + twice] + (
        [] if listed else ["sitemap.xml: no page"]
    )


def site_problems(site: Path, base: str) -> list[str]:
    """Everything that is wrong with a built site, by file."""
    found = sitemap_problems(site, base)
    pages = {path: path.read_text("utf-8") for path in sorted(site.rglob("*.html"))}
    handlers = {one for text in pages.values() for one in markup.handlers(markup.tags(text))}
    for path, text in pages.items():
        name = path.relative_to(site).as_posix()
        quoted = handlers if name == "search.html" else ()
        found += [f"{name}: {problem}" for problem in page_problems(text, quoted)]
        if (size := weight(path, site)) > MAX_PAGE_BYTES:
            found.append(f"{name}: {size / 1e6:.1f} MB with its pictures")
    for path in sorted(site.rglob("*.css")):
        problems = style_problems(path.read_text(encoding="utf-8"))
        found += [f"{path.name}: from elsewhere: {problem}" for problem in problems]
    if (size := shared_weight(site)) > MAX_SHARED_BYTES:
        found.append(f"shared files: {size / 1e6:.1f} MB")
    return found
