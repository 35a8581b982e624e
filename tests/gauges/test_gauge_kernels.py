"""Kernels on directions: the published table as functions, the constraint, dimensions."""

from __future__ import annotations

import itertools
import math
import re

import pytest
import torch
from torch import Tensor

from gdl.equivariance import dimension_by_characters, equivariant_basis
from gdl.gauges.kernels import NeighbourKernels, neighbour_kernels, self_kernels
from gdl.representations import SO, O, Representation, circular_irrep, cyclic

F64 = torch.float64
PAIRS = list(itertools.product(range(5), range(5)))
pairs = pytest.mark.parametrize(("n", "m"), PAIRS, ids=[f"{n}-{m}" for n, m in PAIRS])
groups = pytest.mark.parametrize("name", ["SO(2)", "O(2)"])
GROUPS = {"SO(2)": SO(2), "O(2)": O(2)}
# The irreps of O(2): numbers, numbers that change their sign in a mirror, pairs.
MIRRORED = {"0+": (0, 1), "0-": (0, -1), "1": (1, 1), "2": (2, 1), "3": (3, 1)}


def irrep(order: int, group: str = "SO(2)", parity: int = 1) -> Representation:
    return circular_irrep(GROUPS[group], order, parity)


def mirrored(name: str) -> Representation:
    return irrep(MIRRORED[name][0], "O(2)", MIRRORED[name][1])


def circle(n: int, m: int) -> Tensor:
    """More than 2 (m + n) angles, which tell functions of frequency up to m + n + 1 apart."""
    count = 2 * (m + n) + 5
    return 0.1 + torch.arange(count, dtype=F64) * (2 * math.pi / count)


def matrices(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row) for row in rows])


def published(n: int, m: int, theta: Tensor, sum_: int | None = None, sign: int = 1) -> Tensor:
    """The table of kernels from order n to order m, by hand: (r, d_out, d_in, k).

    Another frequency than m + n, or a sign of m - n, makes a false one.
    """

    def waves(frequency: int) -> tuple[Tensor, Tensor]:
        return torch.cos(frequency * theta), torch.sin(frequency * theta)

    plus = m + n if sum_ is None else sum_
    (c, s), (C, S) = waves(sign * (m - n)), waves(plus)
    if not n and not m:
        return C[None, None, None]
    if not m:
        return torch.stack([matrices([[C, S]]), matrices([[S, -C]])])
    if not n:
        return torch.stack([matrices([[C], [S]]), matrices([[S], [-C]])])
    return torch.stack(
        [
            matrices([[c, -s], [s, c]]),
            matrices([[s, c], [-c, s]]),
            matrices([[C, S], [S, -C]]),
            matrices([[-S, C], [C, S]]),
        ]
    )


def outside(functions: Tensor, span: Tensor) -> float:
    """The largest relative part of a function that is not in a span, both (r, ...)."""
    basis = torch.linalg.qr(span.flatten(1).T)[0]
    flat = functions.flatten(1).T
    return float(((flat - basis @ (basis.T @ flat)).norm(dim=0) / flat.norm(dim=0)).max())


# --- the published table ------------------------------------------------------------------------


@pairs
def test_the_solver_finds_the_published_table(n, m):
    theta = circle(n, m)
    found, table = neighbour_kernels(irrep(n), irrep(m)).at(theta), published(n, m, theta)
    assert found.shape == table.shape == ((1, 2, 2, 4)[bool(n) + 2 * bool(m)], *table.shape[1:])
    assert outside(found, table) < 1e-10
    assert outside(table, found) < 1e-10


@pairs
def test_another_frequency_is_not_in_the_table(n, m):
    theta = circle(n, m)
    found = neighbour_kernels(irrep(n), irrep(m)).at(theta)
    assert outside(published(n, m, theta, sum_=m + n + 1), found) > 0.9
    if n and m and n != m:
        assert outside(published(n, m, theta, sign=-1), found) > 0.9
    if bool(n) != bool(m):
        assert outside(published(n, m, theta, sum_=-(m + n)), found) > 0.9


@pairs
def test_half_of_the_table_survives_mirrors(n, m):
    theta = circle(n, m)
    found = neighbour_kernels(irrep(n, "O(2)"), irrep(m, "O(2)")).at(theta)
    assert len(found) == (1, 1, 1, 2)[bool(n) + 2 * bool(m)]
    even = published(n, m, theta)[:: 2 if n and m else 1][: len(found)]
    assert outside(found, even) < 1e-10
    odd = published(n, m, theta)[1:2]
    assert not len(odd) or outside(odd, found) > 0.9


def test_numbers_that_change_their_sign_in_a_mirror():
    names = list(MIRRORED)[:4]
    sizes = [[len(neighbour_kernels(mirrored(a), mirrored(b))) for a in names] for b in names]
    assert sizes == [[1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 2, 2], [1, 1, 2, 2]]
    theta = circle(2, 0)
    odd = neighbour_kernels(mirrored("2"), mirrored("0-")).at(theta)
    assert outside(odd, published(2, 0, theta)[1:]) < 1e-10
    assert outside(odd, published(2, 0, theta)[:1]) > 0.9
    none = neighbour_kernels(mirrored("0+"), mirrored("0-"))
    assert none.at(theta).shape == (0, 1, 1, len(theta))


@pairs
def test_kernels_at_the_centre(n, m):
    whole, half = (self_kernels(irrep(n, name), irrep(m, name)) for name in GROUPS)
    assert len(whole) == (0 if n != m else 2 if n else 1)
    assert len(half) == (n == m)
    assert whole.shape[1:] == half.shape[1:] == (1 + bool(m), 1 + bool(n))
    if n == m:
        identity = torch.eye(1 + bool(n), dtype=F64)[None]
        assert outside(identity, whole) < 1e-12
        assert outside(identity, half) < 1e-12
    if n == m > 0:
        quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=F64)
        assert outside(quarter, whole) < 1e-12
        assert outside(quarter, half) > 0.9


def test_a_mirror_of_numbers_divides_the_kernels_at_the_centre():
    signs = ["0+", "0-"]
    sizes = [[len(self_kernels(mirrored(a), mirrored(b))) for a in signs] for b in signs]
    assert sizes == [[1, 0], [0, 1]]


# --- the constraint -----------------------------------------------------------------------------


def slanted(rho: Representation) -> Representation:
    """The same representation in a basis that is not orthonormal."""
    change = torch.eye(rho.dim, dtype=F64) + 0.3 * torch.triu(torch.ones(rho.dim, rho.dim)).double()
    back = torch.linalg.inv(change)
    images = ([change @ A @ back for A in found] for found in (rho.generators, rho.algebra))
    return Representation(rho.group, *images)


def sums(name: str) -> dict[str, Representation]:
    a, b, c = (irrep(m, name) for m in (0, 1, 3))
    return {"sum": 2 * a + c, "slanted": slanted(a + b), "irrep": b}


SUMS = [(a, b) for a in ("sum", "slanted", "irrep") for b in ("sum", "slanted", "irrep")]


@groups
@pytest.mark.parametrize(("a", "b"), SUMS, ids=[f"{a} to {b}" for a, b in SUMS])
def test_kernels_turn_with_the_frame(name, a, b):
    rho_in, rho_out = sums(name)[a], sums(name)[b]
    kernels = neighbour_kernels(rho_in, rho_out)
    theta, turn = circle(3, 3), 0.7
    group = rho_in.group
    back, there = rho_out(group.exp(-turn)), rho_in(group.exp(turn))
    seen = torch.einsum("oa,raik,ij->rojk", back, kernels.at(theta), there)
    assert float((kernels.at(theta - turn) - seen).abs().max()) < 1e-12
    assert float((kernels.at(theta + turn) - seen).abs().max()) > 0.1
    if name == "O(2)":
        s = group.generator(0)
        seen = torch.einsum("oa,raik,ij->rojk", rho_out(s), kernels.at(theta), rho_in(s))
        assert float((kernels.at(-theta) - seen).abs().max()) < 1e-12


def halves(rho: Representation) -> tuple[int, int]:
    """How many dimensions the mirror keeps, and how many it reverses."""
    trace = float(rho(rho.group.generator(0)).trace())
    return round((rho.dim + trace) / 2), round((rho.dim - trace) / 2)


@groups
@pytest.mark.parametrize(("a", "b"), SUMS, ids=[f"{a} to {b}" for a, b in SUMS])
def test_all_kernels_are_found(name, a, b):
    """Averages of characters, and what a direction leaves free, count alike."""
    rho_in, rho_out = sums(name)[a], sums(name)[b]
    kernels = neighbour_kernels(rho_in, rho_out)
    by_characters = sum(dimension_by_characters(rho_in * irrep(m, name), rho_out) for m in range(9))
    assert len(kernels) == by_characters
    at_zero = kernels.at(torch.zeros(1, dtype=F64)).flatten(1)
    assert int(torch.linalg.matrix_rank(at_zero)) == len(kernels)
    if name == "SO(2)":
        assert len(kernels) == rho_in.dim * rho_out.dim
    else:
        (even_in, odd_in), (even_out, odd_out) = (halves(rho) for rho in (rho_in, rho_out))
        assert len(kernels) == even_in * even_out + odd_in * odd_out


@groups
def test_frequencies_are_those_of_the_waves(name):
    kernels = neighbour_kernels(irrep(2, name), irrep(3, name))
    half = 1 if name == "O(2)" else 2
    assert kernels.frequencies.tolist() == [1] * half + [5] * half
    theta = torch.arange(16, dtype=F64) * (math.pi / 8)
    spectrum = torch.fft.rfft(kernels.at(theta)).abs().amax((1, 2))
    assert spectrum.argmax(1).tolist() == kernels.frequencies.tolist()
    others = spectrum.scatter(1, kernels.frequencies[:, None], 0)
    assert float(others.max()) < 1e-12


@groups
def test_kernels_are_orthonormal(name):
    pair = irrep(1, name), irrep(2, name)
    for theta in (circle(2, 2), torch.tensor([0.4], dtype=F64)):
        values = neighbour_kernels(*pair).at(theta).flatten(1)
        gram = values @ values.T / len(theta)
        assert float((gram - torch.eye(len(gram))).abs().max()) < 1e-12
    slant = neighbour_kernels(*(slanted(irrep(0, name) + rho) for rho in pair))
    values = slant.at(circle(2, 2)).flatten(1)
    gram = values @ values.T / len(circle(2, 2))
    assert float((gram - torch.eye(len(gram))).abs().max()) < 1e-12


def test_self_kernels_are_the_commutant():
    rho_in, rho_out = irrep(1) + 2 * irrep(2), irrep(0) + irrep(2)
    found = self_kernels(rho_in, rho_out)
    assert torch.equal(found, equivariant_basis(rho_in, rho_out).dense())
    assert len(found) == dimension_by_characters(rho_in, rho_out) == 4
    g = SO(2).exp(0.9)
    assert float((found @ rho_in(g) - rho_out(g) @ found).abs().max()) < 1e-12


def test_angles_in_single_precision_and_none_at_all():
    kernels = neighbour_kernels(irrep(1), irrep(1))
    assert kernels.at(torch.empty(0)).shape == (4, 2, 2, 0)
    single = kernels.at(circle(1, 1).float())
    assert single.dtype == F64
    assert float((single - kernels.at(circle(1, 1))).abs().max()) < 1e-5
    assert repr(kernels) == "NeighbourKernels(4 of 2 x 2, frequencies [0, 2])"
    assert isinstance(kernels, NeighbourKernels)


# --- bad input ----------------------------------------------------------------------------------


def refuses(error: type[Exception], text: str):
    return pytest.raises(error, match="^" + re.escape(text))


@pytest.mark.parametrize("solve", [neighbour_kernels, self_kernels])
def test_other_groups_are_refused(solve):
    four = circular_irrep(cyclic(4), 1)
    with refuses(ValueError, "rho_in: expected a representation of SO(2) or O(2), got one of Z_4"):
        solve(four, four)
    with refuses(ValueError, "rho_out: expected a representation of SO(2) or O(2), got one of Z_4"):
        solve(irrep(1), four)
    with refuses(ValueError, "rho_out: expected a representation of SO(2) like rho_in"):
        solve(irrep(1), irrep(1, "O(2)"))
    with refuses(TypeError, "rho_in: expected a Representation, got int"):
        solve(1, irrep(1))
    with refuses(TypeError, "rho_out: expected a Representation, got str"):
        solve(irrep(1), "1x0")


def test_bad_angles_are_refused():
    kernels = neighbour_kernels(irrep(0), irrep(1))
    with refuses(TypeError, "angles: expected a torch.Tensor, got float"):
        kernels.at(0.5)
    with refuses(TypeError, "angles: expected a real floating-point tensor, got torch.int64"):
        kernels.at(torch.arange(3))
    with refuses(ValueError, "angles: expected shape (k,), got ()"):
        kernels.at(torch.tensor(0.0))
    with refuses(ValueError, "angles: expected finite entries, got NaN or infinity"):
        kernels.at(torch.tensor([0.0, math.nan]))
    with refuses(ValueError, "angles: expected angles below 4.5e+15, got 1e+307"):
        kernels.at(torch.tensor([1e307], dtype=torch.float64))
