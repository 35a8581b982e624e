"""One spelling for each symbol and each word, in the text of every page; chapters/notation.md."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.book.chapters import CHAPTERS, ROOT, prose
from tools import nb as nbtool

PAGES = [*CHAPTERS, *sorted((ROOT / "chapters").glob("*.md")), ROOT / "intro.md"]
NOT_OURS = re.compile(
    r"^## References\n.*|"  # titles are spelled as their authors did
    r"^```.*?^```$|`[^`\n]*`|"  # code
    r"\]\([^)\n]*\)|"  # addresses
    r"^:label:[^\n]*$|\{(?:eq|ref|prf:ref|numref)\}|\(eq-[\w-]*\)",
    re.MULTILINE | re.DOTALL,
)

FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)


@dataclass(frozen=True)
class Rule:
    """A spelling that is not ours, the one that is, and a sample of the fault."""

    wrong: str
    right: str
    sample: str
    in_formulas_only: bool = False

    def places(self, text: str) -> list[re.Match]:
        found = list(re.finditer(self.wrong, text))
        if not self.in_formulas_only:
            return found
        spans = [match.span() for match in FORMULA.finditer(text)]
        return [m for m in found if any(a <= m.start() < b for a, b in spans)]


RULES = {
    "in and out": Rule(
        r"_\{(?:\\text|\\textrm|\\operatorname)?\{?(?:in|out)\}",
        r"\rho_{\mathrm{in}}, \rho_{\mathrm{out}}",
        r"$\rho_{\text{in}}$",
    ),
    "transpose": Rule(
        r"\\top\b|\\intercal|\\mathsf\{T\}|\\mathrm\{?\s?T\}?\b",
        r"^{\mathsf T}",
        r"$A^\top A$",
    ),
    "number fields": Rule(
        r"\\mathbb [A-Z]|\\R\b|\\mathbf\{?\s?[RCZN]\b", r"\mathbb{R}", r"$\mathbb R^n$"
    ),
    "named functions": Rule(
        r"\\(?:mathrm|text)\{(?:vec|tr|diag|sign|softmax|prox|span|rank|err|div|sort)\}",
        r"\operatorname{vec}",
        r"$\mathrm{vec}(W)$",
    ),
    "names of groups": Rule(
        r"\\mathrm [A-Z]\(|(?<![A-Za-z{])(?:SO|SU|GL|SE)\(",
        r"\mathrm{SO}(3)",
        r"$\mathrm O(2)$ or $SO(3)$",
        in_formulas_only=True,
    ),
    "ones": Rule(r"\\mathbf 1|\b1 1\^", r"\mathbf{1}", r"$\mathbf 1^{\mathsf T} x$"),
    "differential": Rule(r"\\mathrm d", r"\mathrm{d}t", r"$\int f\,\mathrm dt$"),
    "small epsilon": Rule(r"\\epsilon\b", r"\varepsilon", r"$\epsilon > 0$"),
    "norm": Rule(
        r"(?<!\\,)\\\|(?!\\,)|\\Vert\b",
        r"\lVert x \rVert; \,\|\, in \mathrm{KL}(q \,\|\, p) alone",
        r"$\|x\|$",
    ),
    "Deep Sets": Rule(r"DeepSets?\b|\b[Dd]eep sets?\b", "Deep Sets", "the layer of DeepSets"),
    "colour refinement": Rule(
        r"Weisfeiler-Le[hm]|\bWL(?: test)\b|\b(?:color|vertex) refinement",
        "colour refinement",
        "the WL test",
    ),
    "learned": Rule(r"\b[Uu]?n?[Ll]earnt\b", "learned", "a learnt filter"),
    "data set": Rule(r"\b[Dd]atasets?\b", "data set", "a dataset"),
    "nonlinear": Rule(r"\b[Nn]on-(?:linear|negative)", "nonlinear, nonnegative", "non-linear"),
    "British -ise": Rule(
        r"\b(?![Ff]actoriz|[Gg]eneralized (?:soft )?threshold|[Ss]ize|[Rr]esize|[Pp]rize|[Ss]eize)"
        r"[A-Za-z]+iz(?:e|es|ed|ing|ation|ations|er|ers)\b|\b[Ff]actoris|\b[Aa]nalyz",
        "-ise, -isation; factorization alone keeps the z of its chapter",
        "normalized kernels",
    ),
    "British -our, -re, -l": Rule(
        r"\b[A-Za-z]*(?:[Cc]olor|[Nn]eighbor|[Bb]ehavior|[Ff]avor)[a-z]*\b"
        r"|\b[Cc]enter(?:s|ed)?\b|\b[Mm]odeling\b|\b[Ll]abeled\b|\b[Ff]iber",
        "colour, neighbour, behaviour, favour, centre, modelling, labelled, fibre",
        "its neighbors",
    ),
}


def text_of(path) -> str:
    """What a page says: its prose, and the captions of its figures."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    nb = nbtool.read(path)
    shown = [cell.metadata.get("mystnb", {}) for cell in nb.cells]
    captions = [
        part[key]
        for meta in shown
        for part, key in ((meta.get("figure", {}), "caption"), (meta.get("image", {}), "alt"))
        if key in part
    ]
    return "\n\n".join([prose(nb), *captions])


def spelling_problems(text: str) -> list[str]:
    """Each place where the text writes something in another way than the book does."""
    ours = NOT_OURS.sub(lambda match: "\n" * match[0].count("\n"), text)
    return [
        f"{name}: ...{ours[max(0, match.start() - 25) : match.end() + 15]!r}..., not {rule.right}"
        for name, rule in RULES.items()
        for match in rule.places(ours)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_uses_one_spelling(page):
    assert spelling_problems(text_of(page)) == []


@pytest.mark.parametrize("name", RULES)
def test_another_spelling_is_found(name):
    problems = spelling_problems(f"Here is {RULES[name].sample} in a sentence.")
    assert {problem.partition(":")[0] for problem in problems} == {name}


@pytest.mark.parametrize(
    "text",
    [
        r"$\rho_{\mathrm{in}}(g)^{\mathsf T}$ on $\mathbb{R}^n$ with $\operatorname{vec}(W)$",
        r"$\prod_{t=1}^T a_t$ and $\mathrm{KL}(q \,\|\, p)$ and $\lVert x \rVert$",
        r"Plain SO(3) in the text between $x$ and $y$, and $\mathrm{SO}(3)$ in a formula.",
        "A factorization of any size, and generalized soft thresholding of a neighbour.",
        "Code keeps its own: `nn.Linear(in_channels)`, `color='k'`, `normalize=True`.",
        "Text.\n\n## References\n\n- Zaheer et al. *Deep sets*. Generalized datasets.\n",
    ],
)
def test_our_own_spelling_is_let_through(text):
    assert spelling_problems(text) == []
