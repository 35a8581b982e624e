r"""Relations: what the images of the generators must satisfy to form a representation.

A group given by generators and relations sends each generator to a matrix; the matrices form a
representation exactly if every relation holds for them (von Dyck's theorem). For a Lie algebra the
relations are the brackets, and the conjugates of the basis under the discrete generators.

Chapter: ``symmetry``.
"""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gdl.representations.images import _compose, _inverse_image, _positive
from gdl.representations.words import Letter, _breadth_first, _inverse_letter, _keys

if TYPE_CHECKING:
    from gdl.representations.core import Group, Representation

__all__ = ["Relation"]

TOLERANCE = 1e-8
CHECKED_ORDER = 2000
CHECKED_MEMORY = 2**26


@dataclass(frozen=True)
class Relation:
    r"""A relation ``(word)^power = 1`` between the generators of a group.

    Args:
        word: letters as in ``Element``: ``i + 1`` for the i-th discrete generator, ``-(i + 1)`` for
            its inverse, a tuple of coefficients ``c`` for ``exp(sum_a c_a X_a)``.
        power: a positive integer.

    Raises:
        TypeError: the word is no tuple of letters, or the power no integer.
        ValueError: the word is empty, has the letter 0 or a coefficient that is not finite, or the
            power is not positive.

    Law tested: coset enumeration (sympy) of the relations of each finite family gives its order.
    Source: Coxeter and Moser, Generators and Relations for Discrete Groups, chapters 1 and 6.
    Chapter: ``symmetry``.

    >>> from gdl.representations import dihedral
    >>> [relation.spelled(dihedral(4)) for relation in dihedral(4).relations]
    ['r^4 = 1', 's^2 = 1', '(s r)^2 = 1']
    """

    word: tuple[int | tuple[float, ...], ...]
    power: int = 1

    def __post_init__(self) -> None:
        _positive("power", self.power)
        if not isinstance(self.word, tuple):
            raise TypeError(f"word: expected a tuple of letters, got {type(self.word).__name__}")
        if not self.word:
            raise ValueError("word: expected at least one letter, got none")
        for letter in self.word:
            _require_letter(letter)

    def spelled(self, group: Group) -> str:
        """The relation in the names of the generators of ``group``, such as ``(s r)^2 = 1``.

        Raises: ValueError if the group has no such letters.

        >>> import math
        >>> from gdl.representations import SO
        >>> Relation(((2 * math.pi,),)).spelled(SO(2))
        'exp(2 pi J) = 1'
        """
        _require_letters("word", group, self)
        if len(self.word) == 1:
            return f"{_syllable(group, self.word[0], self.power)} = 1"
        runs = itertools.groupby(self.word)
        text = " ".join(_syllable(group, a, len(list(run))) for a, run in runs)
        return f"{text} = 1" if self.power == 1 else f"({text})^{self.power} = 1"

    def error(self, rho: Representation) -> float:
        """The largest entry of ``|rho(word)^power - 1|``, infinite where the product overflows.

        Powers are taken by repeated squaring. For permutations the error is 0 or 1, exactly.

        >>> from gdl.representations import dihedral
        >>> r, s, sr = dihedral(4).relations
        >>> sr.error(dihedral(4).defining)
        0.0
        """
        _require_letters("word", rho.group, self)
        runs = [(letter, len(list(run))) for letter, run in itertools.groupby(self.word)]
        # An overflow is the answer here, an infinite error, and needs no warning.
        with np.errstate(over="ignore", invalid="ignore"):
            factors = [_power(_judged_image(rho, letter), count) for letter, count in runs]
        return _distance_from_one(_power(reduce(_compose, factors), self.power))


def _judged_image(rho: Representation, letter: Letter) -> Tensor:
    """The image of a letter as exactly as a check needs it, without SciPy, which is slow to import.

    Its exponential has a few digits more, where torch's is off by up to 1e-11.
    """
    if isinstance(letter, tuple):
        return torch.linalg.matrix_exp(rho._exponent(letter))
    return rho._letter_image(letter)


def _require_letter(letter: object) -> None:
    if isinstance(letter, tuple):
        if not all(isinstance(c, numbers.Real) and math.isfinite(c) for c in letter):
            raise ValueError(f"word: expected finite coefficients, got {letter}")
    elif isinstance(letter, bool) or not isinstance(letter, int):
        raise TypeError(f"word: expected integers and tuples as letters, got {letter!r}")
    elif letter == 0:
        raise ValueError("word: expected letters counted from 1, got 0")


def _require_letters(argument: str, group: Group, relation: Relation) -> None:
    for letter in relation.word:
        if isinstance(letter, tuple):
            known = len(letter) == len(group.algebra_names) > 0
        else:
            known = abs(letter) <= len(group.generator_names)
        if not known:
            raise ValueError(f"{argument}: {group.name} has no letter {letter}")


def _power(image: Tensor, exponent: int) -> Tensor:
    result = None
    while exponent:
        if exponent % 2:
            result = image if result is None else _compose(result, image)
        exponent //= 2
        if exponent:
            image = _compose(image, image)
    return result


def _distance_from_one(image: Tensor) -> float:
    if image.ndim == 1:
        return float(not torch.equal(image, torch.arange(len(image))))
    return _largest(image - torch.eye(len(image), dtype=image.dtype))


def _largest(difference: Tensor) -> float:
    """The largest absolute entry; what overflowed is infinitely far away, not a NaN."""
    return float(torch.nan_to_num(difference.abs(), nan=math.inf, posinf=math.inf).max())


# --- presentations ------------------------------------------------------------------------------


def _commutator(a: tuple[Letter, ...], b: tuple[Letter, ...]) -> Relation:
    return Relation(a + b + _inverse_word(a) + _inverse_word(b))


def _inverse_word(word: tuple[Letter, ...]) -> tuple[Letter, ...]:
    return tuple(_inverse_letter(a) for a in reversed(word))


def _reduced(word: tuple[Letter, ...]) -> tuple[Letter, ...]:
    """The word without neighbours that cancel."""
    kept: list[Letter] = []
    for letter in word:
        if kept and kept[-1] == _inverse_letter(letter):
            kept.pop()
        else:
            kept.append(letter)
    return tuple(kept)


def _cayley_relations(
    group: Group, order: int | None = None, memory: int | None = None
) -> tuple[Relation, ...]:
    """One relation ``s g = h`` for each edge of the Cayley graph of the discrete part.

    Together they present the group; edges of the tree of shortest words say ``1 = 1``.
    """
    if not group.generator_names:
        return ()
    found = _breadth_first(group, order, memory)
    letters = range(1, len(group.generator_names) + 1)
    image_of = {a: group.defining._letter_image(a) for k in letters for a in (k, -k)}
    images = {(): group.defining.image(group.identity())}
    for g in list(found.values())[1:]:
        images[g.word] = _compose(image_of[g.word[0]], images[g.word[1:]])
    stacked = torch.stack(list(images.values()))
    words = {}
    for s in letters:
        for word, key in zip(images, _keys(_compose(image_of[s], stacked)), strict=True):
            words[_reduced((s, *word, *found[key].inverse().word))] = None
    words.pop((), None)
    return tuple(Relation(word) for word in words)


def _known_relations(group: Group) -> tuple[Relation, ...]:
    """The relations that a construction checks: those given, or those of a small Cayley graph."""
    if group.relations is not None:
        return group.relations
    try:
        return _cayley_relations(group, CHECKED_ORDER, CHECKED_MEMORY)
    except ValueError:
        return ()


def _all_relations(group: Group) -> tuple[Relation, ...]:
    return _cayley_relations(group) if group.relations is None else group.relations


# --- Lie algebras -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Structure:
    """Coordinates of brackets ``(a, b, c)`` and of conjugates ``(s, a, c)`` in the algebra.

    ``problem`` says why there are none, for an algebra that is no closed basis.
    """

    brackets: Tensor
    conjugates: Tensor
    problem: str = ""


def _structure(group: Group) -> _Structure:
    fields, generators = group.defining.algebra, group.defining.generators
    stacked, flat = torch.stack(fields), torch.stack(fields).flatten(1).T
    none = torch.zeros(0)
    if torch.linalg.matrix_rank(flat) < flat.shape[1]:
        message = f"group: the Lie algebra given for {group.name} is not a basis"
        return _Structure(none, none, message)
    q, r = torch.linalg.qr(flat)
    scale = max(1.0, float(flat.abs().max())) ** 2
    coordinates = []
    for moved in itertools.chain(
        (X @ stacked - stacked @ X for X in fields),
        (s @ stacked @ _inverse_image(s) for s in generators),
    ):
        columns = moved.flatten(1).T
        found = torch.linalg.solve_triangular(r, q.T @ columns, upper=True)
        if float((flat @ found - columns).abs().max()) > TOLERANCE * scale:
            message = f"group: the algebra of {group.name} is not closed"
            return _Structure(none, none, message)
        coordinates.append(found.T)
    brackets = torch.stack(coordinates[: len(fields)])
    conjugates = torch.stack(coordinates[len(fields) :]) if generators else none
    return _Structure(brackets, conjugates)


# --- checks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Finding:
    """One relation measured: the error, the size that rounding is relative to, and its name."""

    argument: str
    error: float
    scale: float
    spelled: Callable[[], str]

    @property
    def fails(self) -> bool:
        return self.error == math.inf or self.error > TOLERANCE * self.scale


def _require_relations(rho: Representation) -> None:
    """Refuse images that break a relation of the group."""
    group = rho.group
    closed = rho.algebra and not group._structure.problem
    findings = itertools.chain(
        _algebra_findings(rho) if closed else (), _word_findings(rho, group._known_relations)
    )
    for finding in findings:
        if finding.fails:
            raise ValueError(
                f"{finding.argument}: {finding.spelled()} holds in {group.name} but fails for "
                f"these images (error {_rounded(finding.error)})"
            )


def _require_presentation(group: Group, relations: Sequence[Relation]) -> None:
    """Refuse relations that the defining representation of a group breaks."""
    for relation in relations:
        if not isinstance(relation, Relation):
            raise TypeError(f"relations: expected Relations, got {type(relation).__name__}")
        _require_letters("relations", group, relation)
    for finding in _word_findings(group.defining, relations):
        if finding.fails:
            raise ValueError(
                f"relations: {finding.spelled()} fails for the images given for {group.name} "
                f"(error {_rounded(finding.error)})"
            )


def _rounded(error: float) -> float:
    return float(f"{error:.3g}")


def _relation_error(rho: Representation) -> float:
    if rho.algebra and rho.group._structure.problem:
        raise ValueError(rho.group._structure.problem)
    findings = itertools.chain(
        _algebra_findings(rho) if rho.algebra else (),
        _word_findings(rho, _all_relations(rho.group)),
    )
    return max((finding.error for finding in findings), default=0.0)


def _word_findings(rho: Representation, relations: Sequence[Relation]) -> Iterator[_Finding]:
    images = () if rho.is_permutation else rho.generators + rho.algebra
    scale = max([1.0, *(float(image.abs().max()) for image in images)])
    for relation in relations:
        kinds = {isinstance(letter, tuple) for letter in relation.word}
        argument = ", ".join(("generators", "algebra")[kind] for kind in sorted(kinds))
        spelled = partial(relation.spelled, rho.group)
        yield _Finding(argument, relation.error(rho), scale, spelled)


def _algebra_findings(rho: Representation) -> Iterator[_Finding]:
    """Brackets and conjugates against the coordinates that they have in the group."""
    group, structure = rho.group, rho.group._structure
    stacked = torch.stack(rho.algebra)
    sizes = stacked.abs().amax((1, 2))
    for a, X in enumerate(rho.algebra):
        # The bracket is antisymmetric, and [X, X] = 0 whatever X is.
        later = stacked[a + 1 :]
        found = X @ later - later @ X
        expected = torch.einsum("bc,cij->bij", structure.brackets[a, a + 1 :], stacked)
        for b, (got, want) in enumerate(zip(found, expected, strict=True), start=a + 1):
            scale = float(torch.maximum(sizes[a] * sizes[b], want.abs().max()))
            spelled = partial(_spelled_bracket, group, a, b)
            yield _Finding("algebra", _largest(got - want), scale, spelled)
    for s, image in enumerate(rho.generators):
        inverse = _inverse_image(image)
        found = image @ stacked @ inverse
        expected = torch.einsum("ac,cij->aij", structure.conjugates[s], stacked)
        size = float(image.abs().max() * inverse.abs().max())
        for a, (got, want) in enumerate(zip(found, expected, strict=True)):
            scale = max(size * float(sizes[a]), float(want.abs().max()))
            spelled = partial(_spelled_conjugate, group, s, a)
            yield _Finding("generators, algebra", _largest(got - want), scale, spelled)


# --- spelling -------------------------------------------------------------------------------------


def _syllable(group: Group, letter: Letter, count: int) -> str:
    if isinstance(letter, tuple):
        return _raised(f"exp({_combination(letter, group.algebra_names)})", count)
    name = group.generator_names[abs(letter) - 1]
    exponent = count if letter > 0 else -count
    return _raised(f"({name})" if " " in name else name, exponent)


def _raised(text: str, exponent: int) -> str:
    return text if exponent == 1 else f"{text}^{exponent}"


def _combination(coefficients: Sequence[float], names: Sequence[str]) -> str:
    """A linear combination as text: ``Z``, ``-J``, ``2 pi X + 0.5 Y``, ``0``."""
    terms = [
        f"{_coefficient(float(c))}{name}"
        for c, name in zip(coefficients, names, strict=True)
        if abs(c) > 1e-12
    ]
    return " + ".join(terms).replace("+ -", "- ") or "0"


def _coefficient(value: float) -> str:
    turns = round(value / math.pi)
    if turns and abs(value - turns * math.pi) < 1e-12 * abs(value):
        return f"{_coefficient(float(turns))}pi "
    if abs(abs(value) - 1) < 1e-12:
        return "-" if value < 0 else ""
    return f"{value:.3g} "


def _spelled_bracket(group: Group, a: int, b: int) -> str:
    names = group.algebra_names
    value = _combination(group._structure.brackets[a, b].tolist(), names)
    return f"[{names[a]}, {names[b]}] = {value}"


def _spelled_conjugate(group: Group, s: int, a: int) -> str:
    generator, names = _syllable(group, s + 1, 1), group.algebra_names
    value = _combination(group._structure.conjugates[s, a].tolist(), names)
    return f"{generator} {names[a]} {_syllable(group, -(s + 1), 1)} = {value}"
