"""Groups, words and the algebra of representations, on examples that can be checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sympy.combinatorics import Permutation, PermutationGroup
from torch import Tensor

from gdl import representations as reps
from gdl.representations import Group, Representation

TIGHT = 1e-12
FINITE = [
    reps.cyclic(1),
    reps.cyclic(2),
    reps.cyclic(6),
    reps.dihedral(3),
    reps.dihedral(4),
    reps.symmetric(1),
    reps.symmetric(2),
    reps.symmetric(4),
    reps.alternating(3),
    reps.alternating(5),
    reps.translations(3),
    reps.translations(2, 3),
    reps.translations(2, 2, 3),
    reps.plane_group("p4", 3),
    reps.plane_group("p4m", 4),
    reps.wreath(2, 3),
    reps.wreath(3, 2),
    reps.wreath(1, 3),
    reps.wreath(3, 1),
    reps.direct_product(reps.symmetric(3), reps.cyclic(4)),
]
ORDERS = [1, 2, 6, 6, 8, 1, 2, 24, 3, 60, 3, 6, 12, 36, 128, 72, 48, 6, 6, 24]


def tensor(rows: list) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def close(a: Tensor, b: Tensor, tolerance: float = TIGHT) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool(((a - b).abs() < tolerance).all())


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def refuses(error: type[Exception], argument: str):
    return pytest.raises(error, match=rf"^([\w, ]*, )?{argument}(, [\w, ]*)?: ")


# --- orders and enumeration ---------------------------------------------------------------------


@pytest.mark.parametrize(("group", "order"), list(zip(FINITE, ORDERS, strict=True)), ids=str)
def test_order(group, order):
    images = [Permutation(p.tolist()) for p in group.defining.generators]
    assert group.order == order == PermutationGroup(images).order()
    assert group.is_finite and len(group.elements()) == order


@pytest.mark.parametrize("group", [*FINITE, reps.quaternion()], ids=str)
def test_elements_are_closed_distinct_and_indexed(group):
    elements = group.elements()
    assert elements[0].word == ()
    assert [group.index(g) for g in elements] == list(range(len(elements)))
    for g in elements[:5]:
        for h in (elements[-1], elements[len(elements) // 2], g.inverse()):
            product = elements[group.index(g * h)]
            assert close(group.defining(product), group.defining(g) @ group.defining(h))
    lengths = [len(g.word) for g in elements]
    assert lengths == sorted(lengths)


def test_shortest_words_of_a_cycle():
    assert [g.word for g in reps.cyclic(5).elements()] == [(), (1,), (-1,), (1, 1), (-1, -1)]


def test_quaternions():
    group = reps.quaternion()
    i, j = group.defining(group.generator(0)), group.defining(group.generator(1))
    minus = -torch.eye(4, dtype=torch.float64)
    assert close(i @ i, minus) and close(j @ j, minus) and close(i @ j @ i @ j, minus)
    # Columns are the images of 1, i, j, k: i1 = i, ii = -1, ij = k, ik = -j, and so on.
    assert i.int().T.tolist() == [[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1], [0, 0, -1, 0]]
    assert j.int().T.tolist() == [[0, 0, 1, 0], [0, 0, 0, -1], [-1, 0, 0, 0], [0, 1, 0, 0]]
    assert group.order == 8


@pytest.mark.parametrize("n", [3, 7, 12])
def test_rounding_errors_do_not_split_elements(n):
    c, s = math.cos(2 * math.pi / n), math.sin(2 * math.pi / n)
    group = Group(
        "turn and mirror", {"r": tensor([[c, -s], [s, c]]), "s": tensor([[1, 0], [0, -1]])}
    )
    assert group.order == 2 * n
    r = group.generator(0)
    word = group.identity()
    for _ in range(10 * n + 1):
        word = word * r
    assert group.index(word) == group.index(r)


def test_equal_elements_have_one_index():
    group = reps.dihedral(4)
    r, s = group.generator(0), group.generator(1)
    assert group.index(s * r * s) == group.index(r.inverse()) == group.index(r * r * r)
    assert group.index(r) != group.index(r.inverse())
    assert len({group.index(g) for g in (r * s, s * r)}) == 2


# --- generators of the named groups -------------------------------------------------------------


def test_permutations_by_hand():
    def images(group):
        return [p.tolist() for p in group.defining.generators]

    assert images(reps.cyclic(4)) == [[1, 2, 3, 0]]
    assert images(reps.dihedral(4)) == [[1, 2, 3, 0], [0, 3, 2, 1]]
    assert images(reps.symmetric(4)) == [[1, 0, 2, 3], [1, 2, 3, 0]]
    assert images(reps.symmetric(1)) == [[0], [0]]
    assert images(reps.alternating(4)) == [[1, 2, 0, 3], [1, 3, 2, 0]]
    assert images(reps.wreath(2, 3)) == [
        [1, 0, 2, 3, 4, 5],
        [1, 2, 0, 3, 4, 5],
        [3, 4, 5, 0, 1, 2],
        [3, 4, 5, 0, 1, 2],
    ]
    assert images(reps.wreath(3, 1))[2:] == [[1, 0, 2], [1, 2, 0]]


def test_names():
    assert str(reps.cyclic(4)) == "Group(Z_4)"
    names = {
        "D_5": reps.dihedral(5),
        "S_3": reps.symmetric(3),
        "A_4": reps.alternating(4),
        "Q_8": reps.quaternion(),
        "Z_3 x Z_4": reps.translations(3, 4),
        "p4 on 5x5": reps.plane_group("p4", 5),
        "S_2 wr S_3": reps.wreath(3, 2),
        "SO(3)": reps.SO(3),
        "O(2)": reps.O(2),
        "SO(1,3)": reps.lorentz(),
        "Sp(4)": reps.symplectic(4),
        "S_3 x Z_4": reps.direct_product(reps.symmetric(3), reps.cyclic(4)),
    }
    assert all(group.name == name for name, group in names.items())
    assert reps.dihedral(3).generator_names == ("r", "s")
    assert names["S_3 x Z_4"].generator_names == ("1.swap", "1.cycle", "2.r")
    assert repr(reps.cyclic(3).generator(0)) == "Element(Z_3, (1,))"
    assert repr(reps.cyclic(3).defining) == "Representation(defining of Z_3, dim=3)"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_plane_groups_move_images_like_torch(seed):
    image = torch.randn(5, 5, generator=torch.Generator().manual_seed(seed))
    group = reps.plane_group("p4m", 5)
    moved = [group.defining.act(group.generator(k), image.reshape(-1)) for k in range(4)]
    expected = [image.roll(1, 0), image.roll(1, 1), torch.rot90(image), image.flip(1)]
    for got, want in zip(moved, expected, strict=True):
        assert torch.equal(got.reshape(5, 5), want)
    assert reps.plane_group("p4", 5).generator_names == ("t0", "t1", "r")


def test_translations_are_rolls():
    image, group = random(3, 4, 2), reps.translations(3, 4, 2)
    for axis in range(3):
        moved = group.defining.act(group.generator(axis), image.reshape(-1)).reshape(3, 4, 2)
        assert torch.equal(moved, image.roll(1, axis))


def test_relations_of_the_defining_representations():
    for group in (
        reps.dihedral(5),
        reps.quaternion(),
        reps.O(3),
        reps.lorentz(),
        reps.symplectic(4),
    ):
        assert group.defining.relation_error() < TIGHT


# --- elements -----------------------------------------------------------------------------------


def test_words_of_products_and_inverses():
    group = reps.O(3)
    s, g = group.generator(0), group.exp(1.0, 2.0, -3.0)
    assert (s * g).word == (1, (1.0, 2.0, -3.0))
    assert (s * g).inverse().word == ((-1.0, -2.0, 3.0), -1)
    assert group.identity().word == () and (s * s.inverse()).word == (1, -1)
    assert not group.is_finite


@pytest.mark.parametrize(
    "rho",
    [
        reps.symmetric(4).defining,
        reps.regular(reps.dihedral(5)),
        reps.quaternion().defining,
        reps.SO(3).defining,
        reps.lorentz().defining,
        reps.O(3).defining.dual,
        reps.spherical_irrep(reps.O(3), 2, -1),
        reps.symmetric(3).defining * reps.symmetric(3).defining,
    ],
    ids=str,
)
def test_homomorphism(rho):
    g, h, k = rho.group.random(3, seed=1)
    assert close(rho(g * h), rho(g) @ rho(h), 1e-9)
    assert close(rho(g * h * k), rho(g) @ rho(h * k), 1e-8)
    assert close(rho(g) @ rho(g.inverse()), torch.eye(rho.dim, dtype=torch.float64), 1e-9)
    assert any(not close(rho(a), torch.eye(rho.dim, dtype=torch.float64), 1e-3) for a in (g, h, k))
    assert rho(g).dtype == torch.float64


def test_inverse_letters_act_as_inverses():
    group = reps.symmetric(3)
    cycle = group.generator(1)
    assert group.defining.image(cycle).tolist() == [1, 2, 0]
    assert group.defining.image(cycle.inverse()).tolist() == [2, 0, 1]
    shear = Group("shear", {"a": tensor([[1, 1], [0, 1]])})
    assert shear.defining(shear.generator(0).inverse()).tolist() == [[1, -1], [0, 1]]
    assert shear.defining.dual(shear.generator(0)).tolist() == [[1, 0], [-1, 1]]


def test_random_elements():
    group = reps.direct_product(reps.O(2), reps.symmetric(3))
    drawn = group.random(40, seed=3)
    assert len(drawn) == 40 and len({g.word for g in drawn}) == 40
    assert [g.word for g in drawn] == [g.word for g in group.random(40, seed=3)]
    assert drawn[0].word != group.random(1, seed=4)[0].word
    assert group.random(2)[1].word == group.random(2, seed=0)[1].word
    letters = [a for g in drawn for a in g.word if isinstance(a, int)]
    assert set(letters) == {-3, -2, -1, 1, 2, 3}
    fields = [a for g in drawn for a in g.word if isinstance(a, tuple)]
    assert len(fields) == 40 and all(len(a) == 1 for a in fields)
    lengths = {len(g.word) - 1 for g in drawn}
    assert min(lengths) >= 1 and 20 < max(lengths) <= 32
    assert reps.SO(3).random(1)[0].word == (reps.SO(3).random(1)[0].word[0],)


# --- sums, products, duals ----------------------------------------------------------------------


def test_matrix_of_a_permutation():
    rho = Group("g", {"p": torch.tensor([1, 2, 0])}).defining
    g = rho.group.generator(0)
    assert rho(g).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert rho.act(g, tensor([10, 20, 30])).tolist() == [30, 10, 20]
    assert rho.image(g * g).tolist() == [2, 0, 1]
    assert rho.character(g) == 0.0 and rho.character(rho.group.identity()) == 3.0


def test_direct_sum_and_tensor_product_of_permutations():
    group = reps.cyclic(3)
    rho = group.defining
    both, pairs = rho + rho, rho * rho
    assert both.generators[0].tolist() == [1, 2, 0, 4, 5, 3]
    assert pairs.generators[0].tolist() == [4, 5, 3, 7, 8, 6, 1, 2, 0]
    assert (2 * rho).generators[0].tolist() == both.generators[0].tolist()
    assert both.is_permutation and pairs.is_permutation and (both.dim, pairs.dim) == (6, 9)
    assert both.name == "(defining + defining)" and pairs.name == "(defining * defining)"
    assert (2 * rho).name == "2*defining" and rho.dual.name == "defining*"
    g = group.generator(0)
    assert close(pairs(g), torch.kron(rho(g), rho(g)))


def test_mixed_sums_and_products_use_row_major_kron():
    group = reps.cyclic(4)
    P, R, g = group.defining, reps.circular_irrep(group, 1), group.generator(0)
    assert close((P * R)(g), torch.kron(P(g), R(g)))
    assert close((R * P)(g), torch.kron(R(g), P(g)))
    assert close((P + R)(g), torch.block_diag(P(g), R(g)))
    assert close((R + P)(g), torch.block_diag(R(g), P(g)))
    assert close((3 * R)(g), torch.block_diag(R(g), R(g), R(g)))
    assert not (P + R).is_permutation


def test_sums_and_products_of_lie_algebras():
    group = reps.SO(3)
    V, W = group.defining, reps.spherical_irrep(group, 2)
    X = V.algebra[0]
    eye3, eye5 = (torch.eye(d, dtype=torch.float64) for d in (3, 5))
    assert close((V * W).algebra[0], torch.kron(X, eye5) + torch.kron(eye3, W.algebra[0]))
    assert close((V + W).algebra[0], torch.block_diag(X, W.algebra[0]))
    assert close((2 * V).algebra[0], torch.block_diag(X, X))
    g = group.random(1)[0]
    assert close((V * W)(g), torch.kron(V(g), W(g)), 1e-10)
    assert close((2 * V)(g), torch.block_diag(V(g), V(g)), 1e-10)


@pytest.mark.parametrize("group", [reps.dihedral(5), reps.O(3), reps.lorentz()], ids=str)
def test_characters_of_sums_products_and_duals(group):
    V = group.defining
    W = V * V + V.dual
    for g in group.random(3, seed=2):
        v, dual = V.character(g), V.dual.character(g)
        scale = max(1.0, abs(v) ** 2)
        assert abs(W.character(g) - (v * v + dual)) < 1e-9 * scale
        assert abs(dual - V.character(g.inverse())) < 1e-9 * scale
        assert abs((3 * V).character(g) - 3 * v) < 1e-9 * scale
        assert abs(float(torch.trace(V(g))) - v) < 1e-9 * scale
        assert close(V.dual(g), V(g.inverse()).T, 1e-8 * scale)


def test_dual_pairs_to_an_invariant():
    V = reps.lorentz().defining
    assert all(close(a, -b.T) for a, b in zip(V.dual.algebra, V.algebra, strict=True))
    g, x, y = V.group.random(1)[0], random(4), random(4).flip(0)
    assert abs(float(V.dual.act(g, x) @ V.act(g, y) - x @ y)) < 1e-8
    assert abs(float(V.act(g, x) @ V.act(g, y) - x @ y)) > 1e-2
    assert reps.symmetric(4).defining.dual.is_permutation


def test_determinant():
    sign = reps.symmetric(4).defining.determinant
    swap, cycle = (sign.group.generator(k) for k in (0, 1))
    assert sign.dim == 1 and sign(swap).item() == sign(cycle).item() == -1.0
    assert sign(swap * cycle).item() == 1.0
    assert reps.O(3).defining.determinant(reps.O(3).generator(0)).item() == -1.0
    scaling = reps.one_parameter("scaling", tensor([[1, 0], [0, 2]])).defining.determinant
    assert abs(scaling(scaling.group.exp(0.5)).item() - math.exp(1.5)) < TIGHT
    assert sign.name == "det defining"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_act_keeps_shape_and_dtype(dtype):
    for rho in (reps.cyclic(3).defining, reps.SO(3).defining):
        g, x = rho.group.random(1, seed=0)[0], random(2, 4, 3).to(dtype)
        moved = rho.act(g, x)
        assert moved.dtype == dtype and moved.shape == x.shape
        assert torch.allclose(moved, torch.einsum("ij,abj->abi", rho(g).to(dtype), x), atol=1e-6)
    assert reps.cyclic(3).defining.act(reps.cyclic(3).generator(0), torch.arange(3)).tolist() == [
        2,
        0,
        1,
    ]


def test_act_is_differentiable():
    rho = reps.SO(3).defining
    g, x = rho.group.random(1)[0], random(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: rho.act(g, v), x)


# --- relations ----------------------------------------------------------------------------------


def broken(group, generators, algebra=()) -> Representation:
    """Images that need not be a representation."""
    return Representation(group, generators, algebra, check=False)


def test_relation_error_sees_what_is_no_representation():
    S3 = reps.symmetric(3)
    swapped = broken(S3, [torch.tensor([1, 2, 0]), torch.tensor([1, 0, 2])])
    assert swapped.relation_error() == 1.0
    assert reps.regular(S3).relation_error() == 0.0
    quarter = reps.circular_irrep(reps.cyclic(4), 1)
    tilted = broken(
        reps.cyclic(4),
        [quarter.generators[0] @ torch.linalg.matrix_exp(1e-5 * quarter.generators[0])],
    )
    assert 1e-6 < tilted.relation_error() < 1e-4


def test_relation_error_has_no_sign():
    half = broken(reps.cyclic(2), [tensor([[0.5]])])
    assert half.relation_error() == 0.75
    assert broken(reps.cyclic(2), [tensor([[1.5]])]).relation_error() == 1.25


def test_relation_error_of_algebras():
    SO3, X = reps.SO(3), reps.SO(3).defining.algebra
    assert broken(SO3, [], [X[1], X[0], X[2]]).relation_error() == 2.0
    assert abs(broken(SO3, [], [2 * A for A in X]).relation_error() - 2.0) < TIGHT
    assert Representation(SO3, [], [X[1], X[2], X[0]]).relation_error() < TIGHT
    # The reflection of O(2) must turn J into -J.
    O2 = reps.O(2)
    assert broken(O2, [torch.eye(2)], O2.defining.algebra).relation_error() == 2.0
    assert O2.defining.relation_error() < TIGHT
    assert reps.spherical_irrep(reps.O(3), 3, -1).relation_error() < TIGHT


def test_relation_error_needs_a_closed_basis():
    X, Y, Z = reps.SO(3).defining.algebra
    with refuses(ValueError, "group"):
        reps.one_parameter("two axes", X, Y).defining.relation_error()
    with refuses(ValueError, "group"):
        reps.one_parameter("dependent", X, Y, Z, X + Y).defining.relation_error()


# --- equality -----------------------------------------------------------------------------------


def test_groups_are_equal_by_name_and_generators():
    assert reps.cyclic(4) == reps.cyclic(4) and hash(reps.cyclic(4)) == hash(reps.cyclic(4))
    assert reps.cyclic(4) != reps.cyclic(5) and reps.cyclic(4) != "Z_4"
    p, q = torch.tensor([1, 0, 2]), torch.tensor([0, 2, 1])
    base = Group("g", {"a": p})
    assert base == Group("g", {"a": p}) and base != Group("h", {"a": p})
    assert base != Group("g", {"b": p}) and base != Group("g", {"a": q})
    assert reps.SO(2) != Group("SO(2)", {}, {"K": reps.SO(2).defining.algebra[0]})


def test_images_are_copies():
    p, M = torch.tensor([1, 0]), np.eye(2)
    group, other = Group("g", {"a": p}), Group("h", {"a": M})
    p[0], p[1], M[0, 0] = 0, 1, 7.0
    assert group.defining.generators[0].tolist() == [1, 0]
    assert other.defining.generators[0].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    "image",
    [
        [1, 0],
        np.array([1, 0]),
        torch.tensor([1, 0], dtype=torch.int32),
        torch.tensor([1, 0], dtype=torch.uint8),
        torch.tensor([1, 9, 0])[::2],
    ],
    ids=str,
)
def test_permutations_in_other_clothes(image):
    stored = Group("g", {"a": image}).defining.generators[0]
    assert stored.tolist() == [1, 0] and stored.dtype == torch.int64


def test_matrices_in_other_clothes():
    M = torch.tensor([[0, 1], [-1, 0]])
    for image in (M, M.float(), M.double().requires_grad_(), M.T.contiguous().T, M.numpy()):
        stored = Group("g", {"a": image}).defining.generators[0]
        assert stored.dtype == torch.float64 and stored.is_contiguous() and not stored.requires_grad
        assert stored.tolist() == [[0, 1], [-1, 0]]


# --- products of groups -------------------------------------------------------------------------


def test_direct_product():
    G = reps.direct_product(reps.O(2), reps.cyclic(3))
    J = reps.SO(2).defining.algebra[0]
    assert G.generator_names == ("1.s", "2.r") and G.algebra_names == ("1.J",)
    assert close(G.defining.algebra[0], torch.block_diag(J, torch.zeros(3, 3, dtype=torch.float64)))
    first, second = (
        reps.pull_back(reps.O(2).defining, G, 1),
        reps.pull_back(reps.cyclic(3).defining, G, 2),
    )
    assert close(first.generators[1], torch.eye(2, dtype=torch.float64))
    assert second.generators[0].tolist() == torch.eye(3).tolist()
    assert close(second.generators[1], reps.cyclic(3).defining(reps.cyclic(3).generator(0)))
    assert float(second.algebra[0].abs().max()) == 0.0 and first.name == "defining"
    assert (first * second).relation_error() < TIGHT
    swapped = reps.direct_product(reps.cyclic(3), reps.O(2))
    assert reps.pull_back(reps.O(2).defining, swapped, 2).relation_error() < TIGHT


def test_average_over_a_product_is_the_product_of_averages():
    G = reps.direct_product(reps.O(2), reps.cyclic(4))
    V = reps.pull_back(reps.circular_irrep(reps.O(2), 1), G, 1)
    P = reps.pull_back(reps.cyclic(4).defining, G, 2)
    rule = G.class_quadrature(4)
    assert abs(sum(w for w, _ in rule) - 1) < TIGHT
    for rho, expected in ((V, 0), (P, 1), (V * V, 1), (P * P, 4), (V * V * P * P, 4)):
        assert abs(sum(w * rho.character(g) for w, g in rule) - expected) < 1e-10
    # Elements keep their factor: every word moves V by its O(2) part alone.
    assert {g.word[-1] for _, g in rule[1:4]} == {1 + 1, -2}
