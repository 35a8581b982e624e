"""Kernels on points: the constraint, its dimension, and the equation of the whole group."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gdl import representations as reps
from gdl.equivariance import equivariant_basis, kernel_basis
from gdl.equivariance.solver import solve_pairs
from gdl.representations import Group, Representation
from tests.test_representations import close, refuses, tensor

TIGHT = 1e-10


def square(size: int) -> Tensor:
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    return torch.cartesian_prod(axis, axis)


def plane(group: Group) -> Representation:
    """C_n and D_n on the plane, also for n where the irrep of frequency 1 is that action."""
    return reps.circular_irrep(group, 1)


def mackey(rho_in: Representation, rho_out: Representation, points: Tensor, h_plane) -> float:
    total = 0.0
    for h in rho_in.group.elements():
        fixed = ((points @ h_plane(h).T - points).abs().amax(1) < 1e-9).sum()
        total += float(fixed) * rho_out.character(h) * rho_in.character(h.inverse())
    return total / rho_in.group.order


C4, D4, D3 = reps.cyclic(4), reps.dihedral(4), reps.dihedral(3)
FIBRES = [
    (C4, reps.trivial(C4), reps.regular(C4)),
    (C4, reps.regular(C4), plane(C4)),
    (C4, plane(C4), plane(C4)),
    (D4, plane(D4), reps.regular(D4)),
    (D4, reps.circular_irrep(D4, 0, -1), reps.trivial(D4)),
    (D4, reps.regular(D4), plane(D4)),
    (D4, reps.cosets(D4, [D4.generator(1)]), reps.circular_irrep(D4, 2, -1)),
]


@pytest.mark.parametrize(("group", "rho_in", "rho_out"), FIBRES, ids=str)
@pytest.mark.parametrize("size", [1, 3])
def test_constraint_and_dimension(group, rho_in, rho_out, size):
    points, turn = square(size), plane(group)
    K = kernel_basis(rho_in, rho_out, points, turn)
    assert K.shape == (
        round(mackey(rho_in, rho_out, points, turn)),
        rho_out.dim,
        rho_in.dim,
        size**2,
    )
    assert K.dtype == torch.float64
    flat = K.flatten(1)
    assert close(flat @ flat.T, torch.eye(len(K), dtype=torch.float64), TIGHT)
    for g in group.elements():
        to = [int(((points @ turn(g).T)[x] - points).abs().sum(1).argmin()) for x in range(size**2)]
        expected = torch.einsum("ab,kbcx,cd->kadx", rho_out(g), K, rho_in(g.inverse()))
        assert close(K[..., to], expected, TIGHT)


def test_scalar_kernels_by_hand():
    K = kernel_basis(reps.trivial(C4), reps.trivial(C4), square(3), plane(C4))
    pictures = {tuple((k.reshape(-1) * 2).round().int().tolist()) for k in K}
    assert pictures == {
        (1, 0, 1, 0, 0, 0, 1, 0, 1),
        (0, 1, 0, 1, 0, 1, 0, 1, 0),
        (0, 0, 0, 0, 2, 0, 0, 0, 0),
    }


def test_vector_kernels_by_hand():
    """Scalar to vector: the field points outwards or turns round, and vanishes at the origin."""
    points = square(3)
    K = kernel_basis(reps.trivial(C4), plane(C4), points, plane(C4))
    assert len(K) == 4 and float(K[..., 4].abs().max()) < TIGHT
    outwards = points.T[None, :, None, :]
    projection = torch.einsum("kacx,acx->k", K, outwards[0])
    length = float(sum(p**2 for p in projection))
    assert abs(length - float(_best(points) @ _best(points))) < TIGHT


def _best(points: Tensor) -> Tensor:
    """The norm of the outward field on each ring; the span contains it ring by ring."""
    radius = points.norm(dim=1)
    return torch.stack([(radius[ring] ** 2).sum().sqrt() for ring in (radius == 1, radius > 1.2)])


@pytest.mark.parametrize("name", ["p4", "p4m"])
def test_whole_group_on_a_torus(name):
    """Kernels, as circulant matrices on a 5 x 5 torus, span the solutions of the full equation."""
    n, group = 5, reps.plane_group(name, 5)
    H = C4 if name == "p4" else D4
    basis = equivariant_basis(group.defining, group.defining, support=_near(n, 3))
    # The reflection of the pixels exchanges left and right: diag(1, -1) on (row, column).
    K = kernel_basis(reps.trivial(H), reps.trivial(H), square(3), plane(H))
    assert len(K) == len(basis) == 3
    maps = torch.stack([_as_matrix(k.reshape(3, 3), n) for k in K])
    assert close(basis.project(maps), maps, TIGHT)


def _near(n: int, size: int) -> Tensor:
    offset = (torch.arange(n)[:, None] - torch.arange(n) + n // 2) % n - n // 2
    near = offset.abs() <= size // 2
    return torch.einsum("ik,jl->ijkl", near.int(), near.int()).reshape(n * n, n * n).bool()


def _as_matrix(kernel: Tensor, n: int) -> Tensor:
    out = torch.zeros(n, n, n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            for a in range(3):
                for b in range(3):
                    out[i, j, (i + a - 1) % n, (j + b - 1) % n] += kernel[a, b]
    return out.reshape(n * n, n * n)


def test_regular_kernels_against_the_full_equation():
    """Full solver for a field of C4-regular fibres on a 3 x 3 torus: 36 maps, the same span."""
    n, points = 3, square(3)
    fibre, turn = reps.regular(C4), plane(C4)
    moves = [torch.roll(torch.arange(9).reshape(3, 3), 1, d).reshape(-1).argsort() for d in (0, 1)]
    r = turn(C4.generator(0))
    index = ((points @ r.T + 1) * tensor([3, 1])).sum(1).round().long()
    eye4 = torch.arange(4)
    pixels = [*moves, index]
    fibres = [eye4, eye4, fibre.generators[0]]
    group = Group(
        "p4 fields",
        {
            f"g{k}": (p[:, None] * 4 + f).reshape(-1)
            for k, (p, f) in enumerate(zip(pixels, fibres, strict=True))
        },
    )
    basis = equivariant_basis(group.defining, group.defining)
    K = kernel_basis(fibre, fibre, points, turn)
    assert len(basis) == len(K) == 36
    maps = torch.zeros(36, n, n, 4, n, n, 4, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            for x, (a, b) in enumerate(points.long().tolist()):
                maps[:, i, j, :, (i - a) % n, (j - b) % n] = K[..., x]
    maps = maps.reshape(36, 36, 36)
    assert close(basis.project(maps), maps, TIGHT)


def test_points_in_any_order_unit_and_dtype():
    turn = plane(C4)
    reference = kernel_basis(plane(C4), plane(C4), square(3), turn)
    for scale in (1e-9, 1e9):
        assert kernel_basis(plane(C4), plane(C4), scale * square(3), turn).shape == reference.shape
    assert kernel_basis(plane(C4), plane(C4), square(3).long(), turn).shape == reference.shape
    assert (
        kernel_basis(plane(C4), plane(C4), square(3).float().requires_grad_(), turn).shape
        == reference.shape
    )
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    shuffled = kernel_basis(plane(C4), plane(C4), square(3)[order], turn)
    P, Q = (k.flatten(1).T @ k.flatten(1) for k in (shuffled, reference[..., order]))
    assert close(P, Q, TIGHT)


def test_many_points_with_irrational_coordinates():
    D6 = reps.dihedral(6)
    turn = plane(D6)
    hexagon = torch.stack([turn(g) @ tensor([1.0, 0.0]) for g in D6.elements()]).round(decimals=12)
    hexagon = torch.unique(hexagon, dim=0)
    points = torch.cat(
        [s * hexagon for s in (1.0, 2.0, 3.0, 4.0, 5.0)] + [torch.zeros(1, 2).double()]
    )
    K = kernel_basis(turn, turn, points, turn)
    assert len(points) == 31 and len(K) == round(mackey(turn, turn, points, turn)) == 11


def test_images_that_are_not_orthogonal():
    change = tensor([[1.0, 2.0], [0.0, 1.0]])
    skew = Representation(C4, [change @ plane(C4).generators[0] @ torch.linalg.inv(change)])
    K = kernel_basis(skew, skew, square(3), plane(C4))
    flat = K.flatten(1)
    assert len(K) == 10 and close(flat @ flat.T, torch.eye(10, dtype=torch.float64), TIGHT)
    g = C4.generator(0)
    to = [
        int(((square(3) @ plane(C4)(g).T)[x] - square(3)).abs().sum(1).argmin()) for x in range(9)
    ]
    assert close(K[..., to], torch.einsum("ab,kbcx,cd->kadx", skew(g), K, skew(g.inverse())), TIGHT)


def test_no_kernel():
    origin = torch.zeros(1, 2)
    K = kernel_basis(reps.trivial(C4), plane(C4), origin, plane(C4))
    assert K.shape == (0, 2, 1, 1) and K.dtype == torch.float64


def test_icosahedral_rotations_of_space():
    A5 = reps.alternating(5)
    points = torch.zeros(1, 5)
    assert len(kernel_basis(A5.defining, A5.defining, points, A5.defining)) == 2


def test_solve_pairs_is_the_commutant():
    J = tensor([[0, -1], [1, 0]])
    assert len(solve_pairs([(J, J)], torch.ones(2, 2, dtype=torch.bool))) == 2
    assert (
        len(solve_pairs([(J, J), (torch.diag(tensor([1, -1])),) * 2], torch.ones(2, 2).bool())) == 1
    )


@pytest.mark.parametrize(
    ("points", "error"),
    [
        (torch.zeros(0, 2), ValueError),
        (torch.zeros(2), ValueError),
        (torch.zeros(3, 3), ValueError),
        (torch.zeros(1, 1, 2), ValueError),
        (tensor([[math.nan, 0]]), ValueError),
        (tensor([[math.inf, 0]]), ValueError),
        (tensor([[1, 0]]), ValueError),
        (tensor([[1, 0], [0, 1], [-1, 0]]), ValueError),
        (torch.zeros(2, 2), ValueError),
        (1e-9 * tensor([[1, 0], [0, 1], [-1, 0]]), ValueError),
        (tensor([[1, 0], [0, 2], [-1, 0], [0, -2]]), ValueError),
        (1e6 * tensor([[1, 0], [0, 1.0001], [-1, 0], [0, -1]]), ValueError),
        (torch.cat([square(3), square(3)[:1]]), ValueError),
        (square(3) * 1j, TypeError),
        (square(3).numpy(), TypeError),
        (None, TypeError),
        ([[0.0, 0.0]], TypeError),
    ],
    ids=str,
)
def test_bad_points(points, error):
    with refuses(error, "points"):
        kernel_basis(reps.trivial(C4), reps.trivial(C4), points, plane(C4))


def test_bad_representations():
    points = square(3)
    with refuses(ValueError, "rho_in"):
        kernel_basis(reps.trivial(D3), reps.trivial(C4), points, plane(C4))
    with refuses(ValueError, "rho_out"):
        kernel_basis(reps.trivial(C4), reps.trivial(D3), points, plane(C4))
    for position, name in enumerate(("rho_in", "rho_out")):
        arguments = [reps.trivial(C4), reps.trivial(C4), points, plane(C4)]
        arguments[position] = torch.eye(1)
        with refuses(TypeError, name):
            kernel_basis(*arguments)
    with refuses(TypeError, "stabiliser"):
        kernel_basis(reps.trivial(C4), reps.trivial(C4), points, C4)
    SO2 = reps.SO(2)
    with refuses(ValueError, "stabiliser"):
        kernel_basis(reps.trivial(SO2), reps.trivial(SO2), torch.zeros(1, 2), SO2.defining)
