"""The table of architectures: every dimension by at least two independent routes.

The routes are the solver, the average of characters, the number of orbits, the null space of the
system written out by hand, and the closed formula.
"""

from __future__ import annotations

import itertools
import math

import networkx as nx
import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from gdl import representations as reps
from gdl.equivariance import (
    dimension_by_characters,
    dimension_by_orbits,
    equivariant_basis,
    kernel_basis,
)
from gdl.representations import (
    Group,
    Representation,
    circular_irrep,
    pull_back,
    spherical_irrep,
    tensor_power,
)
from tests.test_equivariance_kernels import mackey, plane, square
from tests.test_representations import close, tensor

SO2, O2, SO3, O3 = reps.SO(2), reps.O(2), reps.SO(3), reps.O(3)
C4, D4 = reps.cyclic(4), reps.dihedral(4)


def dimension(rho_in: Representation, rho_out: Representation) -> int:
    """The dimension on which all routes agree that are open to the pair."""
    found = {len(equivariant_basis(rho_in, rho_out)), dimension_by_characters(rho_in, rho_out)}
    if rho_in.is_permutation and rho_out.is_permutation:
        found.add(dimension_by_orbits(rho_in, rho_out))
    assert len(found) == 1, found
    return found.pop()


def null_space(pairs: list[tuple[Tensor, Tensor]]) -> int:
    """Columns of SciPy's null space of ``A W = W B``, for groups without an average."""
    return scipy.linalg.null_space(
        np.vstack([np.kron(A, np.eye(len(B))) - np.kron(np.eye(len(A)), B.T) for A, B in pairs])
    ).shape[1]


def direct_sum(*summands: Representation) -> Representation:
    return sum(summands[1:], summands[0])


def stirling(n: int, k: int) -> int:
    """Partitions of n things into k blocks."""
    if n == k:
        return 1
    return 0 if k == 0 or k > n else k * stirling(n - 1, k) + stirling(n - 1, k - 1)


def on_tuples(group: Group, points: list, move) -> Representation:
    """The permutation representation on points, where ``move(p, x)`` is the image of x."""
    index = {x: i for i, x in enumerate(points)}
    return Representation(
        group,
        [
            torch.tensor([index[move(p.tolist(), x)] for x in points])
            for p in group.defining.generators
        ],
    )


def on_subsets(n: int, size: int) -> Representation:
    subsets = list(itertools.combinations(range(n), size))
    return on_tuples(reps.symmetric(n), subsets, lambda p, x: tuple(sorted(p[i] for i in x)))


# --- grids --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 8])
def test_circular_convolution(n):
    assert dimension(reps.cyclic(n).defining, reps.cyclic(n).defining) == n


@pytest.mark.parametrize(("n", "expected"), [(5, 3), (6, 4), (7, 4), (8, 5)])
def test_symmetric_convolution(n, expected):
    assert dimension(reps.dihedral(n).defining, reps.dihedral(n).defining) == expected == n // 2 + 1


def near_pixels(n: int, size: int) -> Tensor:
    offset = (torch.arange(n)[:, None] - torch.arange(n) + n // 2) % n - n // 2
    near = (offset.abs() <= size // 2).int()
    return torch.einsum("ik,jl->ijkl", near, near).reshape(n * n, n * n).bool()


def test_convolution_of_images():
    rho = reps.translations(6, 6).defining
    assert dimension(rho, rho) == 36
    near = near_pixels(6, 3)
    basis = equivariant_basis(rho, rho, support=near)
    assert len(basis) == 9 == int(near.sum()) // 36


def test_causal_and_two_sided_convolution():
    N = torch.diag(torch.ones(7, dtype=torch.float64), -1)
    causal = reps.one_parameter("causal", N).defining
    assert len(equivariant_basis(causal, causal)) == 8 == null_space([(N, N)])
    two_sided = reps.one_parameter("two-sided", N, N.T).defining
    assert len(equivariant_basis(two_sided, two_sided)) == 1 == null_space([(N, N), (N.T, N.T)])
    short = reps.one_parameter("causal", N[:6, :6]).defining
    A, B = (r.algebra[0] for r in (3 * short, 2 * short))
    assert len(equivariant_basis(2 * short, 3 * short)) == 36 == null_space([(A, B)]) == 6 * 2 * 3


# --- groups of the plane ------------------------------------------------------------------------


@pytest.mark.parametrize("K", [1, 3, 5, 7])
def test_scalar_kernels(K):
    for group, formula in ((C4, (K * K + 3) // 4), (D4, (K + 1) * (K + 3) // 8)):
        one, turn = reps.trivial(group), plane(group)
        assert len(kernel_basis(one, one, square(K), turn)) == formula
        assert round(mackey(one, one, square(K), turn)) == formula


@pytest.mark.parametrize(("K", "expected"), [(3, 0), (5, 1), (7, 3)])
def test_pseudo_scalar_kernels(K, expected):
    one, sign, turn = reps.trivial(D4), plane(D4).determinant, plane(D4)
    assert len(kernel_basis(one, sign, square(K), turn)) == expected == (K - 1) * (K - 3) // 8
    assert round(mackey(one, sign, square(K), turn)) == expected


def test_lifting():
    for group in (C4, D4):
        one, regular = reps.trivial(group), reps.regular(group)
        assert len(kernel_basis(one, regular, square(3), plane(group))) == 9
        assert round(mackey(one, regular, square(3), plane(group))) == 9


@pytest.mark.parametrize(("name", "group", "expected"), [("p4", C4, 36), ("p4m", D4, 72)])
def test_group_convolution(name, group, expected):
    """Kernel solver, full solver on a 5 x 5 torus, and the formula |H| K^2."""
    regular = reps.regular(group)
    assert len(kernel_basis(regular, regular, square(3), plane(group))) == expected
    whole = reps.plane_group(name, 5)
    fields, centre = reps.regular(whole), 12
    pixel = torch.stack([whole.defining.image(g)[centre] for g in whole.elements()])
    support = near_pixels(5, 3)[pixel][:, pixel]
    assert len(equivariant_basis(fields, fields, support=support)) == expected == group.order * 9
    assert dimension(fields, fields) == whole.order


@pytest.mark.parametrize("name", ["p4", "p4m"])
def test_scalar_fields_on_a_torus(name):
    rho = reps.plane_group(name, 5).defining
    assert len(equivariant_basis(rho, rho, support=near_pixels(5, 3))) == 3
    assert dimension(rho, rho) == {"p4": (25 + 3) // 4, "p4m": 6 * 8 // 8}[name]


def fibres(group: Group) -> dict[str, Representation]:
    found = {
        "triv": reps.trivial(group),
        "std": plane(group),
        "reg": reps.regular(group),
        "sign": circular_irrep(group, 2),
    }
    if group == D4:
        found |= {"det": plane(D4).determinant, "sign det": circular_irrep(D4, 2, -1)}
    return found


@pytest.mark.parametrize("group", [C4, D4], ids=str)
def test_every_pair_of_fibres(group):
    turn, table = plane(group), {}
    for (a, rho_in), (b, rho_out) in itertools.product(fibres(group).items(), repeat=2):
        table[a, b] = len(kernel_basis(rho_in, rho_out, square(3), turn))
        assert table[a, b] == round(mackey(rho_in, rho_out, square(3), turn))
    if group == C4:
        assert len(table) == 16 and table["std", "std"] == 10
    else:
        expected = {
            ("std", "std"): 5,
            ("std", "triv"): 2,
            ("reg", "std"): 18,
            ("det", "det"): 3,
            ("reg", "reg"): 72,
            ("triv", "reg"): 9,
            ("triv", "det"): 0,
        }
        assert len(table) == 36 and expected.items() <= table.items()


@pytest.mark.parametrize(("d", "scalar", "regular"), [(4, 5, 20), (6, 7, 42)])
def test_oriented_neighbourhoods(d, scalar, regular):
    group = reps.cyclic(d)
    one, ring = reps.trivial(group), reps.regular(group)
    around = one + ring
    assert dimension(around, ring) == scalar == d + 1
    assert dimension(around * ring, ring) == regular == d * (d + 1)
    assert dimension(around, one) == 2


# --- sets and graphs ----------------------------------------------------------------------------


def test_deep_sets():
    V = reps.symmetric(5).defining
    assert dimension(V, V) == 2 and dimension(V, reps.trivial(V.group)) == 1
    assert dimension(2 * V, 3 * V) == 12 == 2 * 2 * 3


@pytest.mark.parametrize("n", range(1, 7))
def test_tensors_over_sets(n):
    V = reps.symmetric(n).defining
    for k, l in itertools.product(range(3), repeat=2):
        expected = sum(stirling(k + l, j) for j in range(n + 1))
        assert dimension(tensor_power(V, k), tensor_power(V, l)) == expected
    table = {1: 1, 2: 8, 3: 14, 4: 15, 5: 15, 6: 15}
    assert len(equivariant_basis(V * V, V * V)) == table[n]
    assert dimension(reps.trivial(V.group), V * V) == min(n, 2)


@pytest.mark.parametrize(
    ("n", "three_two", "three_three"), [(3, 41, 122), (4, 51, 187), (5, 52, 202), (6, 52, 203)]
)
def test_tensors_of_order_three(n, three_two, three_three):
    V = reps.symmetric(n).defining
    assert len(equivariant_basis(tensor_power(V, 3), tensor_power(V, 2))) == three_two
    assert three_two == sum(stirling(5, j) for j in range(n + 1))
    assert dimension_by_orbits(tensor_power(V, 3), tensor_power(V, 3)) == three_three
    assert three_three == sum(stirling(6, j) for j in range(n + 1))


def test_alternating_groups_see_orientation():
    for n, expected in ((4, 22), (5, 16)):
        pairs = tensor_power(reps.alternating(n).defining, 2)
        assert dimension(pairs, pairs) == expected


def test_exchangeable_matrices():
    G = reps.direct_product(reps.symmetric(3), reps.symmetric(4))
    rho = pull_back(reps.symmetric(3).defining, G, 1) * pull_back(reps.symmetric(4).defining, G, 2)
    assert dimension(rho, rho) == 4 == 2 * 2


def test_sets_of_sets():
    for outer, inner in ((3, 2), (2, 3), (3, 3)):
        rho = reps.wreath(outer, inner).defining
        assert dimension(rho, rho) == 3


def test_sets_of_symmetric_elements():
    Z6 = reps.cyclic(6)
    G = reps.direct_product(reps.symmetric(4), Z6)
    rho = pull_back(reps.symmetric(4).defining, G, 1) * pull_back(reps.regular(Z6), G, 2)
    assert dimension(rho, rho) == 12 == 2 * Z6.order


def test_unordered_pairs_and_triples():
    nodes, edges, triangles = (on_subsets(6, k) for k in (1, 2, 3))
    assert nodes.relation_error() == edges.relation_error() == triangles.relation_error() == 0
    expected = {(1, 1): 2, (1, 2): 2, (2, 2): 3, (2, 3): 3, (3, 3): 4, (1, 3): 2}
    subsets = {1: nodes, 2: edges, 3: triangles}
    for (a, b), count in expected.items():
        assert dimension(subsets[a], subsets[b]) == count == min(a, b) + 1


def test_directed_edges():
    group = reps.symmetric(5)
    arrows = list(itertools.permutations(range(5), 2))
    directed = on_tuples(group, arrows, lambda p, x: (p[x[0]], p[x[1]]))
    assert dimension(directed, directed) == 7
    assert dimension(group.defining, directed) == 3
    # All pairs are loops and arrows: 15 = 7 + 2 * 3 + 2.
    assert dimension(group.defining + directed, group.defining + directed) == 15 == 7 + 2 * 3 + 2


def test_message_passing():
    edges, nodes = on_subsets(5, 2), reps.symmetric(5).defining
    assert dimension(edges * nodes, nodes) == 6
    assert dimension(nodes * nodes * nodes, nodes) == 15


@pytest.mark.parametrize("degree", range(1, 6))
def test_unlabelled_neighbourhoods(degree):
    group = reps.symmetric(degree)
    assert dimension(reps.trivial(group) + group.defining, reps.trivial(group)) == 2


def automorphisms(graph: nx.Graph) -> Group:
    graph = nx.convert_node_labels_to_integers(graph)
    matcher = nx.isomorphism.GraphMatcher(graph, graph)
    found = [[m[i] for i in range(len(graph))] for m in matcher.isomorphisms_iter()]
    return Group("Aut", {f"g{k}": torch.tensor(p) for k, p in enumerate(found)})


GRAPHS = {
    "cycle": (nx.cycle_graph(8), 16, 5, 5),
    "Petersen": (nx.petersen_graph(), 120, 3, 3),
    "cube": (nx.cubical_graph(), 48, 4, 4),
    "complete": (nx.complete_graph(5), 120, 2, 2),
    "icosahedron": (nx.icosahedral_graph(), 120, 4, 4),
    "octahedron": (nx.octahedral_graph(), 48, 3, 3),
    "path": (nx.path_graph(6), 2, 18, 6),
    "Frucht": (nx.frucht_graph(), 1, 144, 12),
    "C7(1,2)": (nx.circulant_graph(7, [1, 2]), 14, 4, 4),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_automorphisms_of_one_graph(name):
    """Equivariant maps against spectral filters: equal for distance-transitive graphs."""
    graph, order, orbitals, spectral = GRAPHS[name]
    group = automorphisms(graph)
    nodes = group.defining
    assert group.order == order == len(nodes.generators)
    burnside = sum(nodes.character(g) ** 2 for g in group.elements()) / order
    assert len(equivariant_basis(nodes, nodes)) == orbitals == dimension_by_orbits(nodes, nodes)
    assert burnside == orbitals
    values = np.linalg.eigvalsh(nx.to_numpy_array(graph))
    assert 1 + int((np.diff(values) > 1e-6).sum()) == spectral


# --- plane and gauges ---------------------------------------------------------------------------


def harmonics(group: Group, top: int) -> Representation:
    return direct_sum(*(circular_irrep(group, j) for j in range(top + 1)))


@pytest.mark.parametrize(("m", "n"), list(itertools.product(range(4), repeat=2)))
def test_steerable_kernels(m, n):
    zeros = (m == 0) + (n == 0)
    for group, expected in ((SO2, 4 // 2**zeros), (O2, max(1, 2 // 2**zeros))):
        rho, sigma = circular_irrep(group, n), circular_irrep(group, m)
        assert dimension(harmonics(group, m + n) * rho, sigma) == expected
        if m and n:
            assert dimension(harmonics(group, m + n - 1) * rho, sigma) == expected // 2


@pytest.mark.parametrize(("m", "n"), list(itertools.product(range(4), repeat=2)))
def test_self_interaction(m, n):
    for group, own in ((SO2, 2), (O2, 1)):
        expected = 0 if m != n else 1 if m == 0 else own
        assert dimension(circular_irrep(group, n), circular_irrep(group, m)) == expected


# --- rotations of space -------------------------------------------------------------------------


@pytest.mark.parametrize("l1", range(4))
def test_tensor_product_paths(l1):
    """All l1, l2 <= 3 and l3 <= 6; the largest only by characters and the triangle rule."""
    for l2, l3 in itertools.product(range(4), range(7)):
        a, b, c = (spherical_irrep(SO3, l) for l in (l1, l2, l3))
        expected = int(abs(l1 - l2) <= l3 <= l1 + l2)
        assert dimension_by_characters(a * b, c) == expected
        if a.dim * b.dim * c.dim <= 250:
            assert len(equivariant_basis(a * b, c)) == expected


def test_parity_of_paths():
    irreps = {(l, p): spherical_irrep(O3, l, p) for l in range(3) for p in (1, -1)}
    for (l1, p1), (l2, p2), (l3, p3) in itertools.product(irreps, repeat=3):
        if l1 <= l2 and l1 + l2 + l3 <= 4:
            expected = abs(l1 - l2) <= l3 <= l1 + l2 and p1 * p2 == p3
            assert dimension(irreps[l1, p1] * irreps[l2, p2], irreps[l3, p3]) == expected


def spherical(top: int, multiplicity=lambda l: 1) -> Representation:
    return direct_sum(*(multiplicity(l) * spherical_irrep(SO3, l) for l in range(top + 1)))


def test_counts_of_paths():
    for L in range(7):
        N = L + 1
        triples = itertools.product(range(N), repeat=3)
        assert sum(abs(a - b) <= c <= a + b for a, b, c in triples) == N * (N * N + 1) // 2
    for L, expected in ((0, 1), (1, 5), (2, 15)):
        rho = spherical(L)
        assert dimension(rho * rho, rho) == expected == (L + 1) * ((L + 1) ** 2 + 1) // 2


def test_counts_of_filters():
    for L, expected in ((0, 1), (1, 6), (2, 19)):
        N, rho, filters = L + 1, spherical(L), spherical(2 * L)
        assert dimension_by_characters(filters * rho, rho) == expected == N * (2 * N * N + 1) // 3
    assert dimension(spherical(2) * spherical(1), spherical(1)) == 6


@pytest.mark.parametrize("L", [1, 2, 3])
def test_spherical_convolutions(L):
    sphere = spherical(L)
    assert dimension(sphere, sphere) == L + 1
    if L < 3:
        rotations = spherical(L, lambda l: 2 * l + 1)
        assert dimension(sphere, rotations) == (L + 1) ** 2
        whole = (L + 1) * (2 * L + 1) * (2 * L + 3) // 3
        assert dimension(rotations, rotations) == whole == {1: 10, 2: 35}[L]


def test_isotropic_tensors():
    """Ranks 0 to 6 by null space, to 8 by the integral of the character's powers."""
    riordan = [1, 0, 1, 1, 3, 6, 15, 36, 91]
    V = SO3.defining
    for rank in range(7):
        assert len(equivariant_basis(tensor_power(V, rank), reps.trivial(SO3))) == riordan[rank]
    assert len(equivariant_basis(tensor_power(V, 2), tensor_power(V, 2))) == riordan[4]
    rule = SO3.class_quadrature(8)
    for rank in range(9):
        assert abs(sum(w * V.character(g) ** rank for w, g in rule) - riordan[rank]) < 1e-8


@pytest.mark.parametrize("m", [1, 2, 3])
def test_vector_polynomials(m):
    """Vector-valued polynomials of m vectors: the series m t / (1 - t^2)^(m (m + 1) / 2)."""
    rule, V, top = O3.class_quadrature(8), O3.defining, 7
    series = [
        m * math.comb(k // 2 + m * (m + 1) // 2 - 1, k // 2) if k % 2 == 0 else 0
        for k in range(top)
    ]
    for degree in range(1, top + 1):
        counted = 0.0
        for weight, g in rule:
            R = V(g)
            powers = [
                m * float(torch.trace(torch.linalg.matrix_power(R, i)))
                for i in range(1, degree + 1)
            ]
            symmetric = [1.0]
            for k in range(1, degree + 1):
                symmetric.append(sum(powers[i - 1] * symmetric[k - i] for i in range(1, k + 1)) / k)
            counted += weight * symmetric[degree] * V.character(g)
        assert abs(counted - series[degree - 1]) < 1e-8


# --- other metrics, point clouds, types of irreps -----------------------------------------------


def test_lorentz():
    V = reps.lorentz().defining
    one = reps.trivial(V.group)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    metric = equivariant_basis(V * V, one)
    assert len(metric) == 1 == null_space([(zero, X) for X in (V * V).algebra])
    found = metric[0].reshape(4, 4)
    assert close(found / found[1, 1], torch.diag(tensor([-1, 1, 1, 1])), 1e-10)
    assert len(equivariant_basis(tensor_power(V, 4), one)) == 4
    assert null_space([(zero, X) for X in tensor_power(V, 4).algebra]) == 4
    euclidean = equivariant_basis(SO3.defining * SO3.defining, reps.trivial(SO3))[0].reshape(3, 3)
    assert close(euclidean / euclidean[0, 0], torch.eye(3, dtype=torch.float64), 1e-10)


def test_symplectic():
    V = reps.symplectic(4).defining
    form = equivariant_basis(V * V, reps.trivial(V.group))
    zero = torch.zeros(1, 1, dtype=torch.float64)
    assert len(form) == 1 == null_space([(zero, X) for X in (V * V).algebra])
    omega = form[0].reshape(4, 4)
    expected = torch.kron(tensor([[0, 1], [-1, 0]]), torch.eye(2, dtype=torch.float64))
    assert close(omega / omega[0, 2], expected, 1e-10) and close(omega, -omega.T, 1e-12)


def test_point_clouds():
    n = 4
    G = reps.direct_product(reps.symmetric(n), SO3)
    cloud = pull_back(reps.symmetric(n).defining, G, 1) * pull_back(SO3.defining, G, 2)
    assert dimension(cloud, cloud) == 2
    basis = equivariant_basis(cloud, cloud)
    own = torch.eye(3 * n, dtype=torch.float64)
    mean = torch.kron(
        torch.full((n, n), 1 / n, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    )
    maps = torch.stack([own, mean])
    assert close(basis.project(maps), maps, 1e-10)


def test_point_clouds_with_translations():
    """Homogeneous coordinates, R^(3n) and a constant one: the identity and the mean."""
    n = 4
    still = torch.zeros(1, 1, dtype=torch.float64)
    moves = {"shift": torch.arange(n).roll(1), "swap": torch.tensor([1, 0, 2, 3])}
    permute = {
        name: torch.block_diag(torch.kron(torch.eye(n)[:, p], torch.eye(3)), torch.eye(1)).double()
        for name, p in moves.items()
    }
    fields = {
        f"R{i}": torch.block_diag(torch.kron(torch.eye(n, dtype=torch.float64), X), still)
        for i, X in enumerate(SO3.defining.algebra)
    }
    for axis in range(3):
        T = torch.zeros(3 * n + 1, 3 * n + 1, dtype=torch.float64)
        T[axis : 3 * n : 3, -1] = 1.0
        fields[f"T{axis}"] = T
    rho = Group("S_4 x SE(3)", permute, fields).defining
    assert len(equivariant_basis(rho, rho)) == 2
    assert null_space([(A, A) for A in rho.generators + rho.algebra]) == 2


def test_real_types_of_irreps():
    for rho, expected, indicator in (
        (circular_irrep(reps.dihedral(5), 1), 1, 1),
        (circular_irrep(reps.cyclic(5), 1), 2, 0),
        (reps.quaternion().defining, 4, -2),
    ):
        assert dimension(rho, rho) == expected
        # Frobenius-Schur: for a real irrep of complex or quaternionic type the average is 0 or -2.
        group = rho.group
        assert (
            abs(sum(rho.character(g * g) for g in group.elements()) / group.order - indicator)
            < 1e-10
        )
