"""Relations: presentations that are true and complete, and images refused with the reason."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.combinatorics import Permutation, PermutationGroup
from sympy.combinatorics.fp_groups import FpGroup
from sympy.combinatorics.free_groups import free_group

from gdl import representations as reps
from gdl.representations import Group, Relation, Representation
from tests.test_representations import refuses, tensor

SMALL = [
    reps.cyclic(1),
    reps.cyclic(7),
    reps.dihedral(3),
    reps.dihedral(6),
    *(reps.symmetric(n) for n in range(1, 6)),
    reps.alternating(3),
    reps.alternating(4),
    reps.alternating(5),
    reps.quaternion(),
    reps.translations(3, 4),
    reps.translations(2, 2, 3),
    reps.plane_group("p4", 3),
    reps.plane_group("p4m", 3),
    reps.plane_group("p4", 4),
    reps.wreath(2, 1),
    reps.wreath(1, 3),
    reps.wreath(2, 2),
    reps.wreath(2, 3),
    reps.direct_product(reps.symmetric(3), reps.cyclic(4)),
]
CONTINUOUS = [
    reps.SO(2),
    reps.SO(3),
    reps.SO(4),
    reps.O(2),
    reps.O(3),
    reps.lorentz(),
    reps.symplectic(2),
    reps.symplectic(4),
    reps.direct_product(reps.SO(3), reps.symmetric(3)),
    reps.direct_product(reps.cyclic(3), reps.O(2)),
    reps.direct_product(reps.O(2), reps.O(2)),
]


def presented(relations: list[Relation], generators: int) -> FpGroup:
    """The abstract group of the relations, for sympy's coset enumeration."""
    free, *letters = free_group(",".join(f"x{i}" for i in range(generators)))
    words = []
    for relation in relations:
        word = free.identity
        for a in relation.word:
            word = word * (letters[a - 1] if a > 0 else letters[-a - 1] ** -1)
        words.append(word**relation.power)
    return FpGroup(free, words)


def count(abstract: FpGroup, limit: int = 1000) -> int:
    """The order, as the number of cosets of the trivial subgroup."""
    cosets = abstract.coset_enumeration([], max_cosets=limit)
    cosets.compress()
    return len(cosets.table)


@pytest.mark.parametrize("group", SMALL, ids=lambda g: g.name)
def test_a_presentation_gives_its_group_and_nothing_larger(group):
    abstract = presented(list(group.relations), len(group.generator_names))
    assert count(abstract) == group.order


@pytest.mark.parametrize(("group", "order"), [(reps.symmetric(6), 720), (reps.symmetric(7), 5040)])
def test_presentations_of_larger_symmetric_groups(group, order):
    """By the cosets of the powers of the cycle, which has the order n at most."""
    abstract = presented(list(group.relations), 2)
    cosets = abstract.coset_enumeration([abstract.generators[1]], max_cosets=20_000)
    cosets.compress()
    assert len(cosets.table) * group.defining.dim == order


@pytest.mark.parametrize(
    "group", [reps.dihedral(4), reps.quaternion(), *(reps.plane_group("p4m", n) for n in (1, 2))]
)
def test_relations_read_from_the_cayley_graph_are_a_presentation(group):
    copy = Group("copy", dict(zip(group.generator_names, group.defining.generators, strict=True)))
    assert count(presented(list(copy._known_relations), len(copy.generator_names))) == copy.order


def test_the_presentation_of_a_symmetric_group_cannot_lose_its_first_relations():
    """Without cycle^4 = 1 there are 72 elements; S_4 is the triangle group (2, 3, 4)."""
    swap, cycle, product, *implied = reps.symmetric(4).relations
    assert count(presented([swap, product, *implied], 2)) == 72
    assert count(presented([swap, cycle, product], 2)) == 24
    with pytest.raises(ValueError, match="coset enumeration has defined more than 500 cosets"):
        count(presented([cycle, product, *implied], 2), 500)


def test_without_one_relation_the_group_is_another():
    relations = list(reps.dihedral(5).relations)
    assert count(presented(relations, 2)) == 10
    assert count(presented([*relations[:1], Relation((1,), 10), *relations[1:]], 2)) == 10
    assert count(presented([Relation((1,), 10), *relations[1:]], 2)) == 20


@pytest.mark.parametrize("group", SMALL + CONTINUOUS, ids=lambda g: g.name)
def test_the_relations_hold_in_the_group(group):
    assert max(r.error(group.defining) for r in group.relations) < 1e-12
    assert group.defining.relation_error() < 1e-12


@pytest.mark.parametrize("n", [1, 2])
def test_tiny_tori_have_no_presentation_and_are_still_checked(n):
    group = reps.plane_group("p4m", n)
    assert group.relations is None and group.defining.relation_error() == 0
    if n == 2:
        with refuses(ValueError, "generators"):
            Representation(group, [2 * torch.eye(1)] * 4)


def test_relations_are_spelled_with_the_names_of_the_generators():
    def spelled(group):
        return [relation.spelled(group) for relation in group.relations]

    assert spelled(reps.dihedral(4)) == ["r^4 = 1", "s^2 = 1", "(s r)^2 = 1"]
    assert spelled(reps.quaternion()) == ["i^4 = 1", "i^2 j^-2 = 1", "j i j^-1 i = 1"]
    assert spelled(reps.translations(2, 3)) == ["t0^2 = 1", "t1^3 = 1", "t0 t1 t0^-1 t1^-1 = 1"]
    assert spelled(reps.SO(2)) == ["exp(2 pi J) = 1"]
    assert spelled(reps.O(3)) == ["s^2 = 1", "exp(2 pi X) = 1"]
    assert spelled(reps.symplectic(2)) == ["exp(2 pi S00 + 2 pi S11) = 1"]
    wreath = spelled(reps.wreath(2, 1))
    assert "(inner swap) = 1" in wreath and "(outer swap) (outer cycle) = 1" in wreath
    assert "(outer cycle)^2 = 1" in wreath
    half = Relation(((0.5, 0.0, -1.0),), 2)
    assert half.spelled(reps.SO(3)) == "exp(0.5 X - Z)^2 = 1"
    assert Relation(((0.0, 0.0, 0.0),)).spelled(reps.SO(3)) == "exp(0) = 1"


def refusal(group, *images, algebra=()) -> str:
    with pytest.raises(ValueError, match=" holds in .* but fails for these images ") as caught:
        Representation(group, list(images), list(algebra))
    return str(caught.value)


def test_the_relation_that_fails_is_named():
    D4 = reps.dihedral(4)
    r, s = D4.defining.generators
    quarter, flip = tensor([[0, -1], [1, 0]]), tensor([[1, 0], [0, -1]])
    assert refusal(D4, r, r) == (
        "generators: s^2 = 1 holds in D_4 but fails for these images (error 1.0)"
    )
    assert "r^4 = 1" in refusal(D4, tensor([[2.0]]), tensor([[1.0]]))
    assert "(s r)^2 = 1" in refusal(D4, quarter, torch.eye(2))
    assert "(s r)^2 = 1 holds in D_4" in refusal(D4, r[r], torch.tensor([1, 0, 2, 3]))
    assert Representation(D4, [quarter, flip]).relation_error() == 0.0
    still, exchange = torch.arange(3), torch.tensor([1, 0, 2])
    assert "cycle^3 = 1" in refusal(reps.symmetric(3), still, exchange)
    assert Representation(reps.symmetric(3), [exchange, still]).dim == 3


def test_brackets_and_conjugates_are_named():
    SO3, O2 = reps.SO(3), reps.O(2)
    X, Y, Z = SO3.defining.algebra
    assert "algebra: [X, Y] = Z holds in SO(3)" in refusal(SO3, algebra=(Y, X, Z))
    assert "[X, Y] = Z" in refusal(SO3, algebra=(2 * X, 2 * Y, 2 * Z))
    J = O2.defining.algebra[0]
    assert "generators, algebra: s J s^-1 = -J holds in O(2)" in refusal(
        O2, torch.eye(2), algebra=(J,)
    )
    assert Representation(SO3, [], (Y, Z, X)).dim == 3
    quarter = SO3.defining(SO3.exp(0.0, 0.0, math.pi / 2))
    doubled = Group("doubled", {"r": quarter}, dict(zip("XYZ", (X, Y, Z), strict=True)))
    assert doubled.defining.relation_error() < 1e-12
    assert "r X r^-1 = Y holds in doubled" in refusal(doubled, quarter.T, algebra=(X, Y, Z))
    assert "r^4 = 1" in refusal(doubled, -2 * quarter, algebra=(X, Y, Z))


def test_spinors_are_no_representations_of_rotations():
    J = reps.SO(2).defining.algebra[0]
    assert "exp(2 pi J) = 1" in refusal(reps.SO(2), algebra=(J / 2,))
    i, j = reps.quaternion().defining.generators
    half = (i / 2, j / 2, i @ j / 2)
    assert "exp(2 pi X) = 1 holds in SO(3)" in refusal(reps.SO(3), algebra=half)
    # All brackets hold: only the full turn tells a spinor.
    spinor = Representation(reps.SO(3), [], half, check=False)
    assert abs(spinor.relation_error() - 2) < 1e-12


def test_check_false_builds_the_broken_twin():
    twin = Representation(reps.cyclic(2), [tensor([[3.0]])], check=False)
    assert twin.relation_error() == 8.0 and twin.dim == 1


def test_rounding_is_forgiven_and_more_is_not():
    quarter = reps.circular_irrep(reps.cyclic(4), 1).generators[0]
    J = tensor([[0, -1], [1, 0]])
    for angle, fails in ((1e-10, False), (1e-7, True)):
        image = quarter @ torch.linalg.matrix_exp(angle * J)
        if fails:
            assert "r^4 = 1" in refusal(reps.cyclic(4), image)
        else:
            assert Representation(reps.cyclic(4), [image]).dim == 2


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from(SMALL[2:]), st.integers(0, 1000))
def test_conjugates_are_accepted_and_noise_is_refused(group, seed):
    rho = group.defining
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(rho.dim, rho.dim, generator=generator, dtype=torch.float64)
    change = torch.linalg.matrix_exp(0.3 * noise / noise.norm())
    back = torch.linalg.inv(change)
    images = [change @ rho(group.generator(i)) @ back for i in range(len(rho.generators))]
    assert Representation(group, images).relation_error() < 1e-9
    if rho.dim > 1:
        with refuses(ValueError, "generators"):
            Representation(group, [images[0] + 0.01 * torch.eye(rho.dim), *images[1:]])


@st.composite
def random_images(draw):
    group = draw(st.sampled_from([reps.dihedral(3), reps.symmetric(3), reps.translations(2, 3)]))
    size = draw(st.integers(1, 4))
    return group, [draw(st.permutations(range(size))) for _ in group.generator_names]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(random_images())
def test_random_images_are_accepted_exactly_if_their_graph_is_no_larger_than_the_group(pair):
    """Images extend to a homomorphism iff the pairs (generator, image) generate |G| elements."""
    group, images = pair
    pairs = [
        Permutation([*p.tolist(), *(len(p) + i for i in image)])
        for p, image in zip(group.defining.generators, images, strict=True)
    ]
    extends = PermutationGroup(pairs).order() == group.order
    tensors = [torch.tensor(image) for image in images]
    copy = Group("copy", dict(zip(group.generator_names, group.defining.generators, strict=True)))
    for same in (group, copy):
        for forms in (tensors, [torch.eye(len(p))[:, p] for p in tensors]):
            if extends:
                assert Representation(same, forms).relation_error() == 0.0
            else:
                with refuses(ValueError, "generators"):
                    Representation(same, forms)


def test_conditioning_is_no_reason_to_refuse():
    """Rounding grows with the entries of the images, and so does what is forgiven."""
    change = torch.eye(4, dtype=torch.float64)
    change[0, 3] = 1000.0
    assert float(torch.linalg.cond(change)) > 1e5
    back = torch.linalg.inv(change)
    for group in (reps.quaternion(), reps.SO(4), reps.O(4), reps.symplectic(4)):
        rho = group.defining
        images = [[change @ A @ back for A in part] for part in (rho.generators, rho.algebra)]
        assert Representation(group, *images).dim == 4


def test_high_frequencies_are_accepted_and_half_ones_are_not():
    J = reps.SO(2).defining.algebra[0]
    assert Representation(reps.SO(2), [], [10**7 * J]).relation_error() > 1e-8
    assert "exp(2 pi J) = 1" in refusal(reps.SO(2), algebra=((10**7 + 0.5) * J,))


def test_overflow_is_an_infinite_error():
    with pytest.raises(ValueError, match=r"r\^100003 = 1 .* \(error inf\)"):
        Representation(reps.cyclic(100_003), [tensor([[2.0, 1.0], [0.0, -2.0]])])
    huge = [1e200 * X for X in reps.SO(3).defining.algebra]
    assert "[X, Y] = Z" in refusal(reps.SO(3), algebra=huge)
    for size in (200.0, 1e5):
        stretch = torch.diag(tensor([size, -size]))
        assert "(error inf)" in refusal(reps.SO(2), algebra=(stretch,))


def test_weyl_spinors_are_no_representation_of_the_lorentz_group():
    """-i sigma / 2 and sigma / 2 on C^2 = R^4: all brackets hold, a full turn is -1."""
    sigma = [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]]
    pauli = [torch.tensor(s, dtype=torch.complex128) for s in sigma]

    def real(A):
        top = torch.cat([A.real, -A.imag], 1)
        return torch.cat([top, torch.cat([A.imag, A.real], 1)])

    spinor = [real(-0.5j * s) for s in pauli] + [real(0.5 * s) for s in pauli]
    assert "exp(2 pi X) = 1 holds in SO(1,3)" in refusal(reps.lorentz(), algebra=spinor)
    assert Representation(reps.lorentz(), [], reps.lorentz().defining.dual.algebra).dim == 4


def test_factors_of_a_product_must_commute():
    G = reps.direct_product(reps.symmetric(3), reps.cyclic(2))
    swap, cycle = reps.symmetric(3).defining.generators
    assert "1.cycle 2.r 1.cycle^-1 2.r^-1 = 1" in refusal(G, swap, cycle, swap)
    mixed = reps.direct_product(reps.SO(3), reps.cyclic(2))
    X = reps.SO(3).defining.algebra
    flip = torch.diag(tensor([1.0, 1.0, -1.0]))
    assert "2.r 1.X 2.r^-1 = 1.X holds in" in refusal(mixed, flip, algebra=X)
    twice = reps.direct_product(reps.SO(2), reps.SO(2))
    turn, other = reps.quaternion().defining.generators
    assert "[1.J, 2.J] = 0 holds in" in refusal(twice, algebra=(turn, other))
    assert "exp(2 pi 1.J) = 1 holds in" in refusal(twice, algebra=(turn / 2, turn))
    assert "exp(2 pi 2.J) = 1 holds in" in refusal(twice, algebra=(turn, turn / 2))


@pytest.mark.parametrize(
    ("keeps", "name"),
    [
        (lambda A, B: [A * B, B * A * B.inverse()], None),
        (lambda A, B: [B * A * B.inverse()], "(outer swap) (outer cycle) (inner swap)^-1"),
        (lambda A, B: [A * B], "(outer cycle) (outer swap) (outer cycle)^-1 (inner swap)^-1"),
    ],
)
def test_what_keeps_the_first_block_of_a_wreath_product_keeps_its_points(keeps, name):
    """S_4 permutes the cosets of a subgroup as blocks: right only for the stabiliser of a point."""
    S4, group = reps.symmetric(4), reps.wreath(4, 3)
    blocks = reps.cosets(S4, keeps(S4.generator(0), S4.generator(1)))
    inner = [torch.arange(3 * blocks.dim) for _ in range(2)]
    for image, p in zip(inner, reps.symmetric(3).defining.generators, strict=True):
        image[:3] = p
    outer = [(3 * p[:, None] + torch.arange(3)).flatten() for p in blocks.generators]
    if name is None:
        assert Representation(group, [*inner, *outer]).dim == 12
    else:
        assert name in refusal(group, *inner, *outer)


@pytest.mark.parametrize(
    "group",
    [reps.symmetric(40), reps.translations(40, 40), reps.alternating(20), reps.wreath(6, 6)],
    ids=lambda g: g.name,
)
def test_large_groups_are_checked_without_being_enumerated(group):
    count = len(group.generator_names)
    assert Representation(group, group.defining.generators).dim == group.defining.dim
    assert len(group.relations) < 200
    with refuses(ValueError, "generators"):
        Representation(group, [2 * torch.eye(1)] * count)
    p = torch.arange(group.defining.dim)
    p[:4] = torch.tensor([1, 2, 3, 0])
    with refuses(ValueError, "generators"):
        Representation(group, [*group.defining.generators[:-1], p])


def test_a_group_without_a_presentation_is_checked_on_its_cayley_graph():
    p = torch.tensor([1, 2, 3, 4, 0])
    mine = Group("mine", {"a": p, "b": p[p]})
    assert mine.relations is None
    assert Representation(mine, [p, p[p]]).relation_error() == 0
    assert " = 1 holds in mine" in refusal(mine, p, p)
    assert " = 1 holds in mine" in refusal(mine, tensor([[2.0]]), tensor([[4.0]]))
    assert Representation(mine, [p, p], check=False).relation_error() == 1.0


def test_a_large_group_without_a_presentation_is_left_to_relation_error():
    S7 = reps.symmetric(7)
    mine = Group("mine", dict(zip("ab", S7.defining.generators, strict=True)))
    broken = Representation(mine, [tensor([[-1.0]]), tensor([[-1.0]])])
    assert broken.relation_error() == 2.0


def test_false_relations_of_a_group_are_refused():
    r = reps.cyclic(4).defining.generators[0]
    with pytest.raises(ValueError, match=r"^relations: r\^2 = 1 fails for the images given for Z"):
        Group("Z", {"r": r}, relations=[Relation((1,), 2)])
    with refuses(TypeError, "relations"):
        Group("Z", {"r": r}, relations=["r^4"])
    with refuses(ValueError, "relations"):
        Group("Z", {"r": r}, relations=[Relation((2,), 4)])
    with refuses(ValueError, "relations"):
        Group("Z", {"r": r}, relations=[Relation(((1.0,),))])


def test_algebras_that_are_not_closed_can_be_built():
    X, Y, _ = reps.SO(3).defining.algebra
    group = reps.one_parameter("two axes", X, Y)
    assert Representation(group, [], [X, Y]).dim == 3
    with refuses(ValueError, "group"):
        group.defining.relation_error()


@pytest.mark.parametrize(
    ("error", "argument", "arguments"),
    [
        (TypeError, "word", ([1],)),
        (TypeError, "word", ((1.0,),)),
        (TypeError, "word", ((True,),)),
        (ValueError, "word", ((),)),
        (ValueError, "word", ((0,),)),
        (ValueError, "word", (((math.nan,),),)),
        (TypeError, "power", ((1,), 2.0)),
        (ValueError, "power", ((1,), 0)),
    ],
)
def test_bad_relations_are_named(error, argument, arguments):
    with refuses(error, argument):
        Relation(*arguments)


def test_powers_are_taken_by_squaring():
    large = reps.cyclic(100_003)
    assert large.relations[0].error(large.defining) == 0.0
    assert Relation((1,), 100_002).error(large.defining) == 1.0
    double = Representation(reps.cyclic(2), [tensor([[2.0]])], check=False)
    assert [Relation((1,), k).error(double) for k in (1, 2, 3, 5, 6)] == [1, 3, 7, 31, 63]
    assert Relation((1,), 10_000).error(double) == math.inf
    with refuses(ValueError, "word"):
        Relation((2,)).error(double)


def test_every_family_carries_its_presentation():
    assert all(group.relations is not None for group in SMALL + CONTINUOUS)
    counts = {group.name: len(group.relations) for group in SMALL}
    assert (counts["A_3"], counts["A_4"], counts["A_5"]) == (1, 3, 6)
    assert (counts["D_6"], counts["Q_8"], counts["S_4"]) == (3, 3, 5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_brackets_of_a_skew_basis(seed):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    basis = torch.einsum("ab,bij->aij", mix, torch.stack(reps.SO(3).defining.algebra))
    group = reps.one_parameter("skew", *basis)
    degree_two = torch.stack(reps.spherical_irrep(reps.SO(3), 2).algebra)
    images = torch.einsum("ab,bij->aij", mix, degree_two)
    assert group.defining.relation_error() < 1e-10
    assert Representation(group, [], list(images)).relation_error() < 1e-10
    with refuses(ValueError, "algebra"):
        Representation(group, [], [images[0], images[2], images[1]])
