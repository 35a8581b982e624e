"""Set partitions, and the maps between tensors that they count."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from sympy.functions.combinatorial.numbers import bell as sympy_bell
from sympy.functions.combinatorial.numbers import stirling as sympy_stirling
from sympy.utilities.iterables import multiset_partitions

from gdl.equivariance import (
    dimension_by_characters,
    dimension_by_orbits,
    equivariant_basis,
    span_residual,
)
from gdl.graphs.partitions import (
    bell,
    canonical,
    count_blocks,
    dimension_by_partitions,
    partition_map,
    set_partitions,
)
from gdl.representations import SO, alternating, cyclic, symmetric, tensor_power, trivial
from tests.test_representations import refuses

ORDERS = list(itertools.product(range(4), repeat=2))


def tensors(n: int, order: int):
    return tensor_power(symmetric(n).defining, order)


# --- partitions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("m", range(8))
def test_the_partitions_are_those_of_sympy(m):
    found = set_partitions(m)
    blocks = {
        tuple(tuple(i for i in range(m) if p[i] == b) for b in range(count_blocks(p)))
        for p in found
    }
    expected = {tuple(map(tuple, p)) for p in multiset_partitions(list(range(m)))} if m else {()}
    assert blocks == expected
    assert len(found) == len(set(found)) == bell(m)
    assert list(found) == sorted(found)


@pytest.mark.parametrize("m", range(9))
def test_stirling_numbers_count_partitions_by_blocks(m):
    sizes = [count_blocks(p) for p in set_partitions(m)]
    for j in range(m + 3):
        assert sizes.count(j) == sympy_stirling(m, j)


def test_bell_numbers():
    assert [bell(m) for m in range(8)] == [1, 1, 2, 5, 15, 52, 203, 877]
    for m in range(30):
        assert bell(m + 1) == sum(math.comb(m, i) * bell(i) for i in range(m + 1))
    assert bell(100) == sympy_bell(100)


@pytest.mark.parametrize("m", range(6))
def test_the_names_of_blocks_do_not_matter(m):
    for partition in set_partitions(m):
        assert canonical(partition) == partition
        assert canonical(("c", "a", "e", "b", "d", "f")[b] for b in partition) == partition
        assert canonical(-b for b in partition) == partition


# --- dimensions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 7))
@pytest.mark.parametrize(("k", "l"), ORDERS)
def test_the_dimension_by_four_routes(k, l, n):
    rho_in, rho_out = tensors(n, k), tensors(n, l)
    expected = dimension_by_partitions(k, l, n)
    assert expected == sum(sympy_stirling(k + l, j) for j in range(n + 1))
    assert len(equivariant_basis(rho_in, rho_out, method="orbits")) == expected
    assert dimension_by_orbits(rho_in, rho_out) == expected
    if n <= 5:
        assert dimension_by_characters(rho_in, rho_out) == expected
    if rho_in.dim * rho_out.dim <= 256:
        assert len(equivariant_basis(rho_in, rho_out, method="dense")) == expected


def test_the_table_of_dimensions():
    table = {
        (2, 2): [1, 8, 14, 15, 15, 15],
        (2, 1): [1, 4, 5, 5, 5, 5],
        (3, 2): [1, 16, 41, 51, 52, 52],
        (3, 3): [1, 32, 122, 187, 202, 203],
        (1, 1): [1, 2, 2, 2, 2, 2],
        (0, 0): [1, 1, 1, 1, 1, 1],
    }
    for (k, l), expected in table.items():
        assert [dimension_by_partitions(k, l, n) for n in range(1, 7)] == expected
        assert [dimension_by_partitions(l, k, n) for n in range(1, 7)] == expected
    assert dimension_by_partitions(0, 0, 10**12) == 1


@pytest.mark.parametrize(("n", "expected"), [(3, 27), (4, 22), (5, 16), (6, 15)])
def test_even_permutations_alone_allow_more_maps(n, expected):
    """From n = k + l + 2 = 6 on A_n moves four indices as freely as S_n does."""
    pairs = tensor_power(alternating(n).defining, 2)
    assert len(equivariant_basis(pairs, pairs)) == expected
    assert dimension_by_orbits(pairs, pairs) == dimension_by_characters(pairs, pairs) == expected
    assert (expected > dimension_by_partitions(2, 2, n)) == (n < 6)


# --- maps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 5))
@pytest.mark.parametrize(("k", "l"), ORDERS)
def test_the_orbit_maps_are_the_orbits_of_the_solver(k, l, n):
    """In its order: the first index tuple of an orbit is the restricted growth string itself."""
    basis = equivariant_basis(tensors(n, k), tensors(n, l), method="orbits")
    labels = torch.full(basis.shape, -1)
    maps = [partition_map(p, k, l, n, basis="orbit") for p in set_partitions(k + l)]
    occurring = [orbit for orbit in maps if orbit.any()]
    for number, orbit in enumerate(occurring):
        labels[orbit.bool()] = number
    assert torch.equal(labels, basis.labels)
    assert torch.equal(sum(maps), torch.ones_like(maps[0]))
    for orbit, p in zip(maps, set_partitions(k + l), strict=True):
        assert orbit.any() == (count_blocks(p) <= n)


def is_coarser(coarse: tuple[int, ...], fine: tuple[int, ...]) -> bool:
    """Whether every block of the fine partition lies in one block of the coarse one."""
    return len(set(zip(fine, coarse, strict=True))) == count_blocks(fine)


@pytest.mark.parametrize("n", range(1, 5))
@pytest.mark.parametrize(("k", "l"), [(2, 2), (0, 3), (3, 1), (1, 1), (0, 0), (2, 3)])
def test_diagrams_are_sums_of_orbits(k, l, n):
    diagrams, orbits = (
        torch.stack([partition_map(p, k, l, n, basis=basis) for p in set_partitions(k + l)])
        for basis in ("diagram", "orbit")
    )
    partitions = set_partitions(k + l)
    Z = torch.tensor([[is_coarser(q, p) for q in partitions] for p in partitions]).double()
    assert torch.equal(torch.einsum("pq,qab->pab", Z, orbits), diagrams)
    back = torch.linalg.inv(Z).round()
    assert torch.equal(torch.einsum("pq,qab->pab", back, diagrams), orbits)
    basis = equivariant_basis(tensors(n, k), tensors(n, l), method="orbits")
    assert span_residual(diagrams, basis) < 1e-12
    assert torch.linalg.matrix_rank(diagrams.flatten(1)) == len(basis)


def test_named_maps_of_matrices():
    x = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(4, dtype=torch.float64)
    expected = {
        (0, 1, 0, 1): x,
        (0, 1, 1, 0): x.T,
        (0, 0, 1, 1): x.trace() * torch.eye(4).double(),
        (0, 1, 0, 2): torch.outer(x.sum(1), ones),
        (0, 1, 2, 0): torch.outer(x.sum(0), ones),
        (0, 1, 1, 1): torch.outer(ones, x.diagonal()),
        (0, 1, 2, 3): x.sum() * torch.outer(ones, ones),
    }
    for partition, y in expected.items():
        got = (partition_map(partition, 2, 2, 4) @ x.reshape(-1)).reshape(4, 4)
        assert torch.allclose(got, y, atol=1e-12, rtol=0)


@pytest.mark.parametrize("order", range(5))
def test_a_tensor_power_permutes_all_axes(order):
    rho = tensors(4, order)
    x = torch.randn([4] * order, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for g in symmetric(4).random(4, seed=0):
        old = symmetric(4).defining.image(g).argsort()
        moved = x[torch.meshgrid(*[old] * order, indexing="ij")] if order else x
        assert torch.equal(rho.act(g, x.reshape(-1)), moved.reshape(-1))


def test_tensor_powers_of_other_groups():
    assert tensor_power(SO(3).defining, 2).relation_error() < 1e-12
    half_turn = SO(3).exp(0.0, 0.0, math.pi)
    assert tensor_power(SO(3).defining, 2).character(half_turn) == pytest.approx(1.0)
    assert tensor_power(trivial(cyclic(5)), 900).dim == 1


# --- input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: set_partitions(-1), ValueError, "m"),
        (lambda: set_partitions(11), ValueError, "m"),
        (lambda: set_partitions(2.0), TypeError, "m"),
        (lambda: bell(-1), ValueError, "m"),
        (lambda: bell(1001), ValueError, "m"),
        (lambda: canonical(3), TypeError, "blocks"),
        (lambda: canonical([[1]]), TypeError, "blocks"),
        (lambda: count_blocks(3), TypeError, "partition"),
        (lambda: dimension_by_partitions(-1, 1, 3), ValueError, "in_order"),
        (lambda: dimension_by_partitions(1, 501, 3), ValueError, "out_order"),
        (lambda: dimension_by_partitions(1, 1, 0), ValueError, "n"),
        (lambda: dimension_by_partitions(1, 1, 2.5), TypeError, "n"),
        (lambda: partition_map((0, 1), 1, 1, 0), ValueError, "n"),
        (lambda: partition_map((0, 1), 2, 1, 3), ValueError, "partition"),
        (lambda: partition_map((0, 2), 1, 1, 3), ValueError, "partition"),
        (lambda: partition_map((1, 0), 1, 1, 3), ValueError, "partition"),
        (lambda: partition_map([0, 1], 1, 1, 3), TypeError, "partition"),
        (lambda: partition_map((0, [1]), 1, 1, 3), TypeError, "partition"),
        (lambda: partition_map((0, 1), 1, 1, 10**5), ValueError, "n"),
        (lambda: partition_map((0, 1), 1, 1, 3, basis="block"), ValueError, "basis"),
        (lambda: partition_map((0, 1), -1, 3, 3), ValueError, "in_order"),
        (lambda: tensor_power(symmetric(3), 2), TypeError, "rho"),
        (lambda: tensor_power(symmetric(3).defining, -1), ValueError, "order"),
        (lambda: tensor_power(symmetric(3).defining, 2.0), TypeError, "order"),
        (lambda: tensor_power(symmetric(9).defining, 10), ValueError, "order"),
        (lambda: tensor_power(trivial(cyclic(3)), 10**7), ValueError, "order"),
    ],
)
def test_bad_input_is_refused(call, error, argument):
    with refuses(error, argument):
        call()
