r"""From assumptions to the layer that they force: five words in, one architecture out.

Chapter: ``zoo``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
from gdl import representations as reps
from gdl.equivariance import (
    Basis,
    dimension_by_characters,
    dimension_by_orbits,
    equivariant_basis,
)
from gdl.representations import Representation
from gdl.zoo.domains import DOMAINS, Choice, PointDomain, Space
from gdl.zoo.names import EVERYWHERE, NAMES, NOTHING, UNNAMED

# Above this order characters take too long, and pairs are counted instead.
CHARACTER_LIMIT = 64
TINY = 1e-9


@dataclass(frozen=True)
class Assumptions:
    """Five words that decide a linear layer.

    What the words may be is listed by :func:`~gdl.zoo.vocabulary`.

    Attributes:
        domain: where signals live.
        group: which moves of the domain change nothing that matters.
        input: what the layer reads.
        output: what it writes.
        support: where weights may be non-zero.

    Raises: TypeError for a word that is no str; ValueError for an unknown one, with what there is.

    Law tested: unknown words are refused with the list of those that exist. Chapter: ``zoo``.

    >>> Assumptions("set", "all permutations", "points", "number").support
    'everywhere'
    >>> Assumptions("pairs", "p4", "points", "number")
    Traceback (most recent call last):
    ValueError: group: expected one of trivial, cyclic, all permutations, got 'p4'
    """

    domain: str
    group: str
    input: str
    output: str
    support: str = EVERYWHERE

    def __post_init__(self):
        _one_of("domain", self.domain, DOMAINS)
        domain = DOMAINS[self.domain]
        _one_of("group", self.group, domain.groups)
        _one_of("input", self.input, domain.spaces)
        _one_of("output", self.output, domain.outputs)
        _one_of("support", self.support, (EVERYWHERE, *domain.supports))

    @property
    def words(self) -> tuple[str, str, str, str, str]:
        """The five words in order."""
        return self.domain, self.group, self.input, self.output, self.support


@dataclass(frozen=True, eq=False)
class Layer:
    """The linear layer that assumptions force, solved and counted twice.

    Attributes:
        assumptions: the five words.
        rho_in, rho_out: the representations.
        basis: of all maps that the assumptions allow.
        counted: their number by a route that solves nothing.
        route: that route, "characters" or "orbits".
        pattern: int64 ``(d_out, d_in)``, k where the k-th weight stands, -k where its negative
            does, 0 where the map must vanish.
        scale: float64 ``(d_out, d_in)``, the size of the entry for weight 1, at most 1.
        name: what the field calls the layer.
        chapter: the chapter that derives it.

    Law tested: as for :func:`~gdl.zoo.solve`; weights put where the pattern says solve the
    equation. Chapter: ``zoo``.

    >>> layer = solve(Assumptions("cycle", "shifts and mirrors", "points", "points"))
    >>> layer.name, layer.dimension, layer.counted, layer.pattern[0].tolist()
    ('symmetric convolution', 5, 5, [1, 2, 3, 4, 5, 4, 3, 2])
    """

    assumptions: Assumptions
    rho_in: Representation
    rho_out: Representation
    basis: Basis
    counted: int
    route: str
    pattern: Tensor
    scale: Tensor
    name: str
    chapter: str

    @property
    def dimension(self) -> int:
        """The number of free weights, found by the solver."""
        return len(self.basis)

    @property
    def what(self) -> str:
        """The domain in words."""
        return DOMAINS[self.assumptions.domain].what

    @property
    def sentence(self) -> str:
        """The layer in words, for a reader who does not see its picture."""
        a, (rows, columns) = self.assumptions, self.basis.shape
        where = "" if a.support == EVERYWHERE else f", weights only at: {a.support}"
        return (
            f"{self.what}, group {a.group}, from {a.input} to {a.output}{where}: "
            f"{self.name}; {_weights(self.dimension)} in {rows} x {columns} entries, "
            f"{self.counted} counted by {self.route}"
        )

    def __repr__(self) -> str:
        return f"Layer({self.sentence})"


def _weights(count: int) -> str:
    return "1 free weight" if count == 1 else f"{count} free weights"


def vocabulary(domain: str | None = None) -> dict[str, tuple[str, ...]]:
    """The words of the map.

    Args:
        domain: one domain, or None for the names of all of them.

    Returns:
        For None, ``{"domain": names}``. For a domain, the words for "group" (from the trivial group
        up, each inside the next), "input", "output" and "support".

    Raises: TypeError or ValueError for a domain that does not exist.

    Law tested: every word is accepted by :class:`~gdl.zoo.Assumptions`. Chapter: ``zoo``.

    >>> vocabulary("set")["group"]
    ('trivial', 'cyclic', 'even permutations', 'all permutations')
    """
    if domain is None:
        return {"domain": tuple(DOMAINS)}
    _one_of("domain", domain, DOMAINS)
    chosen = DOMAINS[domain]
    return {
        "group": tuple(chosen.groups),
        "input": chosen.spaces,
        "output": chosen.outputs,
        "support": (EVERYWHERE, *chosen.supports),
    }


def possible(domain: str, most_entries: int | None = None) -> tuple[Assumptions, ...]:
    """All assumptions on a domain that have a layer, in the order of the vocabulary.

    Args:
        domain: a word of ``vocabulary()["domain"]``.
        most_entries: leave out layers with more entries than this, None for all.

    Raises: TypeError or ValueError for a domain that does not exist or a limit that is no positive
    integer.

    Law tested: :func:`~gdl.zoo.solve` solves all of them, and refuses all others. Chapter: ``zoo``.

    >>> len(possible("set"))
    20
    """
    _one_of("domain", domain, DOMAINS)
    if most_entries is not None:
        check.integer("most_entries", most_entries, 1)
    chosen, found = DOMAINS[domain], []
    for group, choice in chosen.groups.items():
        spaces = _spaces(domain, choice)
        for (a, x), (b, y) in itertools.product(spaces.items(), repeat=2):
            small = most_entries is None or x.rho.dim * y.rho.dim <= most_entries
            if small and b in chosen.outputs:
                local = chosen.supports if x.places and y.places else ()
                words = ((domain, group, a, b, s) for s in (EVERYWHERE, *local))
                found += [Assumptions(*five) for five in words]
    return tuple(found)


def _spaces(domain: str, choice: Choice) -> dict[str, Space]:
    """The spaces that the group keeps."""
    found = {}
    for name in DOMAINS[domain].spaces:
        try:
            found[name] = DOMAINS[domain].space(name, choice)
        except ValueError:
            continue
    return found


def solve(assumptions: Assumptions) -> Layer:
    r"""The layer that assumptions force: all W with ``rho_out(g) W = W rho_in(g)``, and its name.

    Weights are counted twice: by the solver, and by characters (finite groups of at most 64
    elements, and compact groups) or by a walk over the orbits of pairs.

    Args:
        assumptions: the five words.

    Raises:
        TypeError: no Assumptions.
        ValueError: a space that the group does not keep, or a support between spaces without
            places.

    Law tested: for every combination both counts agree, random maps commute with random elements,
    and maps with one wrong entry do not; a larger group leaves a subspace. Chapter: ``zoo``.

    >>> solve(Assumptions("pairs", "all permutations", "pairs", "pairs")).dimension
    15
    >>> solve(Assumptions("cycle", "shifts", "points", "every second point"))
    Traceback (most recent call last):
    ValueError: every second point: Z_8 carries one of them to something else
    """
    if not isinstance(assumptions, Assumptions):
        raise TypeError(f"assumptions: expected Assumptions, got {type(assumptions).__name__}")
    domain = DOMAINS[assumptions.domain]
    choice = domain.groups[assumptions.group]
    x, y = (domain.space(name, choice) for name in (assumptions.input, assumptions.output))
    support = _support(domain, assumptions.support, x, y)
    basis = equivariant_basis(x.rho, y.rho, support=support)
    counted, route = _count(x.rho, y.rho, support, choice.order)
    pattern, scale = _pattern(basis)
    row = NAMES.find(*assumptions.words)
    name = NOTHING if not len(basis) else UNNAMED if row is None else row.name
    chapter = "one_equation" if row is None else row.chapter
    return Layer(assumptions, x.rho, y.rho, basis, counted, route, pattern, scale, name, chapter)


def _support(domain: PointDomain, name: str, x: Space, y: Space) -> Tensor | None:
    """Which entries of W may be non-zero: those whose places are close."""
    if name == EVERYWHERE:
        return None
    if x.places is None or y.places is None:
        raise ValueError(f"support: {name!r} needs places on both sides, a number has none")
    close = domain.supports[name]
    return torch.tensor(
        [[any(close(i, j) for i in out for j in into) for into in x.places] for out in y.places]
    )


# --- the second count -----------------------------------------------------------------------------


def _count(
    rho_in: Representation, rho_out: Representation, support: Tensor | None, order: int | None
) -> tuple[int, str]:
    """The number of maps without solving: as invariants of the pairs that the support keeps."""
    if support is not None:
        rho_in, rho_out = _kept_pairs(rho_in, rho_out, support), reps.trivial(rho_in.group)
        if rho_in is None:
            return 0, "orbits"
    if order is not None and order > CHARACTER_LIMIT:
        return dimension_by_orbits(rho_in, rho_out), "orbits"
    return dimension_by_characters(rho_in, rho_out), "characters"


def _kept_pairs(
    rho_in: Representation, rho_out: Representation, support: Tensor
) -> Representation | None:
    """How the group permutes the pairs (out, in) whose whole orbit lies in the support."""
    pairs = rho_out * rho_in
    kept = support.reshape(-1)
    while True:
        before = kept
        for p in pairs.generators:
            kept = kept & kept[p]
        if torch.equal(kept, before):
            break
    if not kept.any():
        return None
    index = kept.cumsum(0) - 1
    images = [index[p[kept]] for p in pairs.generators]
    return Representation(pairs.group, images, name="pairs", check=False)


# --- the picture ----------------------------------------------------------------------------------


def _pattern(basis: Basis) -> tuple[Tensor, Tensor]:
    """Which weight stands where, with its sign and size."""
    if basis.labels is not None:
        return basis.labels + 1, (basis.labels >= 0).double()
    rows = _reduced(basis.stack.flatten(1))
    if bool(((rows.abs() > TINY).sum(0) > 1).any()):
        raise ValueError("basis: expected entries with one weight each, got a mixture")
    numbers = torch.arange(1, len(rows) + 1)[:, None]
    pattern = (rows.sign() * numbers * (rows.abs() > TINY)).sum(0).long()
    scale = (rows.abs() / rows.abs().amax(1, keepdim=True)).sum(0)
    return pattern.reshape(basis.shape), scale.reshape(basis.shape)


def _reduced(rows: Tensor) -> Tensor:
    """The reduced row echelon form, by Gauss and Jordan with pivots from left to right."""
    rows = rows.clone()
    rank = 0
    for column in range(rows.shape[1]):
        if rank == len(rows):
            break
        pivot = rank + int(rows[rank:, column].abs().argmax())
        if rows[pivot, column].abs() < TINY:
            continue
        rows[[rank, pivot]] = rows[[pivot, rank]]
        rows[rank] /= rows[rank, column].clone()
        others = torch.arange(len(rows)) != rank
        rows[others] -= rows[others, column, None] * rows[rank]
        rank += 1
    return rows * (rows.abs() > TINY)


# --- arguments ------------------------------------------------------------------------------------


def _one_of(argument: str, word: str, known: Iterable[str]) -> None:
    if not isinstance(word, str):
        raise TypeError(f"{argument}: expected a str, got {type(word).__name__}")
    if word not in known:
        raise ValueError(f"{argument}: expected one of {', '.join(known)}, got {word!r}")
