"""Positions on graphs: what the choice of eigenvectors changes, and what undoes it."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
import torch
from torch import Tensor

from gdl.attention.graph_encodings import (
    BasisInvariantEncoder,
    Eigenspaces,
    SignInvariantEncoder,
    eigenspace_projectors,
    laplacian_encoding,
    random_walk_encoding,
)
from tests.attention.common import (
    F64,
    TOLERANCE,
    both_dtypes,
    busy,
    cycle,
    gap,
    path,
    permutations,
    random,
    random_graph,
)
from tests.test_representations import refuses


def laplacian(adjacency: Tensor) -> Tensor:
    graph = nx.from_numpy_array(adjacency.numpy())
    return torch.from_numpy(nx.normalized_laplacian_matrix(graph).toarray())


def weighted() -> Tensor:
    """A connected graph of different weights, without repeated eigenvalues."""
    weights = random(9, 9, seed=3).abs()
    found = random_graph(9, 0.5) * (weights + weights.T)
    assert nx.is_connected(nx.from_numpy_array(found.numpy()))
    return found


def disconnected() -> Tensor:
    """A cycle, a path, and an isolated node."""
    return torch.block_diag(cycle(5), path(3), torch.zeros(1, 1, dtype=F64))


# --- eigenvectors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("adjacency", [weighted(), path(6), cycle(6), disconnected()])
def test_columns_are_eigenvectors_above_zero(adjacency):
    n = len(adjacency)
    components = nx.number_connected_components(nx.from_numpy_array(adjacency.numpy()))
    v = laplacian_encoding(adjacency, n - components)
    L = laplacian(adjacency)
    values = (v * (L @ v)).sum(0)
    assert gap(L @ v, v * values) < 1e-12
    assert gap(v.T @ v, torch.eye(n - components, dtype=F64)) < 1e-12
    assert (values.diff() > -1e-12).all() and values[0] > 1e-3
    expected = np.linalg.eigvalsh(L.numpy())[components:]
    assert gap(values, torch.from_numpy(expected)) < 1e-12
    # Fewer columns are the first ones.
    assert torch.equal(laplacian_encoding(adjacency, 1), v[:, :1])


def test_the_path_is_a_cosine():
    n = 7
    v = laplacian_encoding(path(n), 1)[:, 0]
    wave = torch.cos(math.pi * torch.arange(n, dtype=F64) / (n - 1))
    degrees = path(n).sum(0)
    expected = degrees.sqrt() * wave
    expected = expected / expected.norm()
    assert min(gap(v, expected), gap(v, -expected)) < 1e-12


@pytest.mark.parametrize("weight", [1e-6, 1e-12, 1e-16, 1e-20, 1e-300])
def test_weak_edges_do_not_mix_the_kernel_in(weight):
    block = torch.ones(4, 4, dtype=F64) - torch.eye(4, dtype=F64)
    adjacency = torch.block_diag(block, block)
    adjacency[0, 4] = adjacency[4, 0] = weight
    v = laplacian_encoding(adjacency, 7)
    assert gap(v.T @ v, torch.eye(7, dtype=F64)) < 1e-12
    assert (adjacency.sum(0).sqrt() @ v).abs().max() < 1e-12
    side = torch.tensor([1.0] * 4 + [-1.0] * 4, dtype=F64) / math.sqrt(8)
    assert gap(v[:, 0] * v[0, 0].sign(), side) < 1e-6


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_the_scale_of_weights_does_not_matter(scale):
    spaces = eigenspace_projectors(disconnected())
    scaled = eigenspace_projectors(scale * disconnected())
    assert gap(scaled.values, spaces.values) < 1e-12
    assert gap(scaled.projectors, spaces.projectors) < 1e-10


@both_dtypes
def test_weights_may_differ_by_their_rounding(dtype):
    adjacency = weighted().to(dtype)
    rounded = adjacency.clone()
    rounded[0] *= 1 + 4 * torch.finfo(dtype).eps
    assert not torch.equal(rounded, rounded.T)
    # Neither triangle counts more than the other.
    assert torch.equal(laplacian_encoding(rounded, 8), laplacian_encoding(rounded.T, 8))
    P = eigenspace_projectors(adjacency).projectors
    assert gap(eigenspace_projectors(rounded).projectors, P) < 1e3 * torch.finfo(dtype).eps
    rounded[0] *= 1 + 64 * torch.finfo(dtype).eps
    with refuses(ValueError, "adjacency"):
        eigenspace_projectors(rounded)


def test_simple_eigenvectors_follow_a_renumbering_up_to_sign():
    adjacency = weighted()
    v = laplacian_encoding(adjacency, 4)
    flipped = 0
    for p in permutations(9):
        moved = laplacian_encoding(adjacency[p][:, p], 4)
        signs = (moved * v[p]).sum(0).round()
        assert torch.equal(signs.abs(), torch.ones(4, dtype=F64))
        assert gap(moved * signs, v[p]) < 1e-11
        flipped += int((signs < 0).sum())
    assert flipped


# --- projectors -----------------------------------------------------------------------------------


def parts(spaces: Eigenspaces) -> tuple[Tensor, Tensor, Tensor]:
    return spaces.values, spaces.multiplicities, spaces.projectors


@both_dtypes
@pytest.mark.parametrize("adjacency", [weighted(), cycle(7), disconnected()])
def test_projectors_are_orthogonal_and_complete(dtype, adjacency):
    values, multiplicities, P = parts(eigenspace_projectors(adjacency.to(dtype)))
    n = len(adjacency)
    assert P.dtype == values.dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    for i in range(len(P)):
        for j in range(len(P)):
            expected = P[i] if i == j else torch.zeros_like(P[i])
            assert gap(P[i] @ P[j], expected) < tolerance
        assert gap(P[i], P[i].T) < tolerance
        assert abs(P[i].trace().item() - multiplicities[i].item()) < 10 * tolerance
    graph = nx.from_numpy_array(adjacency.numpy())
    components = nx.number_connected_components(graph)
    assert multiplicities.sum() == n - components and (values.diff() > 1e-7).all()
    rest = torch.eye(n, dtype=dtype) - P.sum(0)
    L = laplacian(adjacency).to(dtype)
    assert gap(L @ rest, torch.zeros_like(L)) < 10 * tolerance
    assert gap((values[:, None, None] * P).sum(0), L) < 10 * tolerance


def test_projectors_of_a_cycle_are_known():
    n = 6
    values, multiplicities, P = parts(eigenspace_projectors(cycle(n)))
    assert multiplicities.tolist() == [2, 2, 1]
    steps = torch.arange(n)[:, None] - torch.arange(n)
    for k in range(3):
        angle = 2 * math.pi * (k + 1) / n
        assert abs(values[k].item() - (1 - math.cos(angle))) < 1e-12
        expected = multiplicities[k].item() / n * torch.cos(angle * steps.double())
        assert gap(P[k], expected) < 1e-12


@pytest.mark.parametrize("n", [3, 4, 8])
def test_projectors_of_the_complete_graph_are_known(n):
    ones = torch.ones(n, n, dtype=F64)
    values, multiplicities, P = parts(eigenspace_projectors(ones - torch.eye(n, dtype=F64)))
    assert multiplicities.tolist() == [n - 1]
    assert gap(P[0], torch.eye(n, dtype=F64) - ones / n) < 1e-12
    assert abs(values[0].item() - n / (n - 1)) < 1e-12


@pytest.mark.parametrize(
    ("graph", "multiplicities"),
    [(nx.petersen_graph(), [5, 4]), (nx.cubical_graph(), [3, 3, 1]),
     (nx.octahedral_graph(), [3, 2]), (nx.icosahedral_graph(), [3, 5, 3]),
     (nx.star_graph(5), [4, 1])],
    ids=["Petersen", "cube", "octahedron", "icosahedron", "star"],
)  # fmt: skip
def test_multiplicities_of_known_graphs(graph, multiplicities):
    adjacency = torch.from_numpy(nx.to_numpy_array(graph))
    assert eigenspace_projectors(adjacency).multiplicities.tolist() == multiplicities


@pytest.mark.parametrize("adjacency", [weighted(), cycle(7), disconnected()])
def test_projectors_follow_a_renumbering(adjacency):
    values, _, P = parts(eigenspace_projectors(adjacency))
    assert P.std() > 1e-2
    for p in permutations(len(adjacency)):
        moved = eigenspace_projectors(adjacency[p][:, p])
        assert gap(moved.values, values) < 1e-12
        assert gap(moved.projectors, P[:, p][:, :, p]) < 1e-10


def test_no_eigenspace_is_cut_in_two():
    whole = eigenspace_projectors(cycle(6))
    two = eigenspace_projectors(cycle(6), 2)
    assert two.multiplicities.tolist() == [2]
    assert torch.equal(two.projectors, whole.projectors[:1])
    assert eigenspace_projectors(cycle(6), 5).multiplicities.tolist() == [2, 2, 1]
    with pytest.raises(ValueError, match=r"^k: 1 cuts .* eigenvectors 1 to 2; take 2$"):
        eigenspace_projectors(cycle(6), 1)
    with pytest.raises(ValueError, match=r"^k: 3 cuts .* eigenvectors 3 to 4; take 2 or 4$"):
        eigenspace_projectors(cycle(6), 3)


def bent_cycle(by: float) -> Tensor:
    adjacency = cycle(6)
    adjacency[0, 1] += by
    adjacency[1, 0] += by
    return adjacency


def test_eigenvalues_that_are_neither_equal_nor_apart_are_refused():
    assert eigenspace_projectors(bent_cycle(1e-14)).multiplicities.tolist() == [2, 2, 1]
    assert eigenspace_projectors(bent_cycle(1e-3)).multiplicities.tolist() == [1] * 5
    with refuses(ValueError, "adjacency"):
        eigenspace_projectors(bent_cycle(1e-8))


def test_a_component_that_hardly_hangs_on_is_refused():
    adjacency = torch.block_diag(cycle(4), cycle(3))
    adjacency[0, 4] = adjacency[4, 0] = 1e-12
    with refuses(ValueError, "adjacency"):
        eigenspace_projectors(adjacency)
    assert laplacian_encoding(adjacency, 6).shape == (7, 6)


def test_graphs_without_edges():
    empty = torch.zeros(3, 3, dtype=F64)
    values, multiplicities, P = parts(eigenspace_projectors(empty))
    assert values.shape == multiplicities.shape == (0,) and P.shape == (0, 3, 3)
    for f in (laplacian_encoding, eigenspace_projectors):
        with refuses(ValueError, "k"):
            f(empty, 1)
    assert torch.equal(random_walk_encoding(empty, 2), torch.zeros(3, 2, dtype=F64))


# --- random walks ---------------------------------------------------------------------------------


def test_walks_are_counted_one_by_one():
    adjacency = random_graph(5, 0.7)
    adjacency[0, 1] = 0  # no way back: the graph is directed
    adjacency[2, 2] = 3.0
    got = random_walk_encoding(adjacency, 3)

    def back(start: int, node: int, steps: int) -> float:
        if not steps:
            return float(node == start)
        total = float(adjacency[:, node].sum())
        moves = ((i, float(adjacency[i, node])) for i in range(5))
        return sum(w / total * back(start, i, steps - 1) for i, w in moves if w)

    for i in range(5):
        for t in range(3):
            assert abs(got[i, t].item() - back(i, i, t + 1)) < 1e-14


@both_dtypes
def test_walks_follow_a_renumbering(dtype):
    adjacency = weighted().to(dtype)
    encoding = random_walk_encoding(adjacency, 5)
    assert encoding.dtype == dtype and encoding.std(0)[1:].min() > 1e-3
    for p in permutations(9):
        moved = random_walk_encoding(adjacency[p][:, p], 5)
        assert gap(moved, encoding[p]) < TOLERANCE[dtype]


def test_walks_on_bipartite_graphs_return_at_even_steps():
    encoding = random_walk_encoding(path(6), 6)
    assert torch.equal(encoding[:, ::2], torch.zeros(6, 3, dtype=F64))
    assert encoding[:, 1::2].min() > 0


def test_a_walk_ends_at_a_node_without_edges():
    encoding = random_walk_encoding(disconnected(), 4)
    assert torch.equal(encoding[-1], torch.zeros(4, dtype=F64))
    assert gap(encoding[:5], random_walk_encoding(cycle(5), 4)) < 1e-14


# --- networks -------------------------------------------------------------------------------------


def sign_encoder(k: int = 4, dtype=F64) -> SignInvariantEncoder:
    return busy(SignInvariantEncoder(k, 3, 8, dtype=dtype))


class OneSided(SignInvariantEncoder):
    """The broken twin: signs matter."""

    def forward(self, vectors: Tensor) -> Tensor:
        v = len(vectors) ** 0.5 * vectors.T.unsqueeze(-1)
        return self.rho(self.phi(v).transpose(0, 1).flatten(1))


def every_sign(k: int) -> Tensor:
    return torch.cartesian_prod(*[torch.tensor([1.0, -1.0])] * k)


@both_dtypes
@torch.no_grad()
def test_signs_do_not_matter(dtype):
    encoder, v = sign_encoder(dtype=dtype), random(9, 4, dtype=dtype) / 3
    y = encoder(v)
    assert y.std(0).min() > 1e-2
    for signs in every_sign(4):
        assert gap(encoder(v * signs.to(dtype)), y) < TOLERANCE[dtype]
    broken = busy(OneSided(4, 3, 8, dtype=dtype))
    assert gap(broken(v * torch.tensor([1, -1, 1, 1])), broken(v)) > 1e-2


@torch.no_grad()
def test_the_encoder_is_its_formula():
    encoder, v = sign_encoder(2), random(9, 2) / 3
    parts = []
    for i in range(2):
        columns = [s * 3 * v[:, i, None] for s in (1, -1)]
        parts.append(encoder.phi(columns[0]) + encoder.phi(columns[1]))
    assert gap(encoder(v), encoder.rho(torch.cat(parts, dim=1))) < 1e-13


@torch.no_grad()
def test_signs_within_an_eigenvector_matter():
    encoder, v = sign_encoder(), random(9, 4) / 3
    other = v.clone()
    other[0, 0] *= -1
    # Not the absolute values: another node sees that this one has changed sides.
    assert gap(encoder(other)[1:], encoder(v)[1:]) > 1e-4


@torch.no_grad()
def test_features_of_signs_follow_a_renumbering():
    encoder, adjacency = sign_encoder(), weighted()
    y = encoder(laplacian_encoding(adjacency, 4))
    for p in permutations(9):
        assert gap(encoder(laplacian_encoding(adjacency[p][:, p], 4)), y[p]) < 1e-9


def turned_spaces(adjacency: Tensor, seed: int) -> Tensor:
    """Projectors from other orthonormal bases of the same eigenspaces."""
    _, multiplicities, P = parts(eigenspace_projectors(adjacency))
    found = []
    for i, (m, projector) in enumerate(zip(multiplicities.tolist(), P, strict=True)):
        basis = torch.linalg.eigh(projector).eigenvectors[:, -m:]
        Q = torch.linalg.qr(random(m, m, seed=seed + i)).Q
        found.append((basis @ Q) @ (basis @ Q).T)
    return torch.stack(found)


@torch.no_grad()
def test_bases_do_not_matter_to_projectors_but_to_signs_they_do():
    encoder, adjacency = busy(BasisInvariantEncoder(3, 8, dtype=F64)), cycle(6)
    adjacency[0, 2] = adjacency[2, 0] = adjacency[0, 4] = adjacency[4, 0] = 1.0
    adjacency[2, 4] = adjacency[4, 2] = 1.0
    spaces = eigenspace_projectors(adjacency)
    assert spaces.multiplicities.tolist() == [2, 3]
    y = encoder(spaces.values, spaces.projectors)
    assert y.std(0).max() > 1e-2
    assert gap(encoder(spaces.values, turned_spaces(adjacency, 5)), y) < 1e-12
    signs, v = sign_encoder(2), laplacian_encoding(adjacency, 2)
    Q = torch.linalg.qr(random(2, 2)).Q
    assert gap(signs(v @ Q), signs(v)) > 1e-2


@both_dtypes
@torch.no_grad()
def test_features_of_spaces_follow_a_renumbering(dtype):
    encoder, adjacency = busy(BasisInvariantEncoder(3, 8, dtype=dtype)), weighted().to(dtype)
    y = encoder(*parts(eigenspace_projectors(adjacency))[::2])
    assert y.std(0).min() > 1e-3
    for p in permutations(9):
        moved = encoder(*parts(eigenspace_projectors(adjacency[p][:, p]))[::2])
        assert gap(moved, y[p]) < (1e-4 if dtype == torch.float32 else 1e-9)


@torch.no_grad()
def test_features_of_spaces_are_their_formula():
    encoder = busy(BasisInvariantEncoder(3, 8, dtype=F64))
    values, _, P = parts(eigenspace_projectors(path(4)))
    n = 4
    expected = []
    for a in range(n):
        received = torch.zeros(8, dtype=F64)
        for value, p in zip(values, P, strict=True):
            for b in range(n):
                pair = torch.stack([value, n * p[a, a], n * p[b, b], n * p[a, b]])
                received += encoder.phi(pair) / n
        expected.append(encoder.rho(received))
    assert gap(encoder(values, P), torch.stack(expected)) < 1e-12


@torch.no_grad()
def test_graphs_with_the_same_eigenvalues_are_told_apart():
    encoder = busy(BasisInvariantEncoder(3, 8, dtype=F64))
    star = torch.from_numpy(nx.to_numpy_array(nx.star_graph(4)))
    square = torch.block_diag(cycle(4), torch.zeros(1, 1, dtype=F64))
    values, _, P = parts(eigenspace_projectors(star))
    other_values, _, other_P = parts(eigenspace_projectors(square))
    assert gap(values, other_values) < 1e-12
    sums = [encoder(values, P).sum(0), encoder(values, other_P).sum(0)]
    assert gap(*sums) > 1e-2


@torch.no_grad()
def test_a_graph_without_eigenspaces_has_features():
    encoder = busy(BasisInvariantEncoder(3, 8, dtype=F64))
    spaces = eigenspace_projectors(torch.zeros(2, 2, dtype=F64))
    y = encoder(spaces.values, spaces.projectors)
    assert y.shape == (2, 3) and torch.isfinite(y).all()
