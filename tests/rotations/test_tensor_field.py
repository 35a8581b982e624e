"""Tensor field networks: radial functions, convolution, linear maps, gates, the whole network."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from e3nn import o3

from gdl.equivariance import equivariance_error, equivariant_basis, span_residual
from gdl.geometry import complete_graph
from gdl.representations import O, Representation
from gdl.rotations import (
    Gate,
    Irreps,
    IrrepsLinear,
    TensorFieldConv,
    TensorFieldNetwork,
    radial_basis,
    tensor_field,
)
from tests.rotations.common import (
    F64,
    both_dtypes,
    close,
    elements,
    float64_default,
    gap,
    matrices,
    random,
)

IN, OUT = Irreps("2x0e + 1x1o"), Irreps("2x0e + 2x1o + 1x1e + 1x2e")
EDGES = complete_graph(6)
proper = [torch.linalg.det(R) > 0 for R in matrices()]


def conv(harmonics=2, method="aligned", dtype=F64, irreps_in=IN, **options) -> TensorFieldConv:
    torch.manual_seed(0)
    options = {"radius": 4.0, "neighbours": 5.0, "method": method, "dtype": dtype, **options}
    return TensorFieldConv(irreps_in, OUT, harmonics, **options)


def network(irreps_out: str = "1x0e + 1x1o", **options) -> TensorFieldNetwork:
    torch.manual_seed(0)
    made = TensorFieldNetwork(
        "2x0e + 1x1o", irreps_out, "4x0e + 2x0o + 2x1o + 1x1e + 1x2e", radius=4.0, dtype=F64,
        **options,
    )  # fmt: skip
    for name, parameter in made.named_parameters():
        if "biases" in name:
            torch.nn.init.normal_(parameter)
    return made


def cloud(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return random(6, 5, seed=seed), random(6, 3, seed=seed + 10)


def moved(irreps: Irreps, group):
    """The action on features of a cloud and its positions, side by side, of (R, shift)."""

    def act(element, z):
        R, shift = element
        x, positions = z[:, : irreps.dim], z[:, irreps.dim :]
        return torch.cat([irreps.act(R, x), positions @ R.T + shift], 1)

    return act


def error(layer, irreps_out: Irreps, edges: torch.Tensor = EDGES, rotations=None) -> float:
    """Of rotations, reflections and translations."""
    x, positions = cloud()
    shifts = random(24, 3, seed=5)
    motions = list(zip(matrices() if rotations is None else rotations, shifts, strict=False))
    return equivariance_error(
        lambda z: layer(z[:, : IN.dim], z[:, IN.dim :], edges),
        torch.cat([x, positions], 1),
        moved(IN, motions),
        lambda element, y: irreps_out.act(element[0], y),
        motions,
    )


# --- radial functions -----------------------------------------------------------------------------


def test_radial_functions_by_the_formula():
    r, radius, count = torch.linspace(0, 3, 31, dtype=F64), 2.5, 4
    expected = torch.zeros(31, 4, dtype=F64)
    for (n, d), k in itertools.product(enumerate(r.tolist()), range(count)):
        if d < radius:
            step = radius / (count - 1)
            bump = math.exp(1 - 1 / (1 - (d / radius) ** 2))
            expected[n, k] = bump * math.exp(-((d - k * step) ** 2) / (2 * step**2))
    assert close(radial_basis(r, count, radius), expected, 1e-14)
    assert float(radial_basis(r, 1, radius)[0]) == 1
    assert radial_basis(r.reshape(1, 31), 3, 1.0).shape == (1, 31, 3)


@both_dtypes
def test_radial_functions_end_with_all_their_derivatives(dtype):
    eps = torch.finfo(dtype).eps
    r = 2 * torch.tensor([1 - 1e-3, 1 - eps, 1.0, 1 + eps, 2.0, 1e6], dtype=dtype)
    r.requires_grad_()
    value = radial_basis(r, 3, 2.0)
    for _ in range(3):
        assert torch.isfinite(value).all()
        assert float(value[0].detach().abs().max()) < 1e-100 ** (dtype == F64)
        assert torch.equal(value[1:], torch.zeros_like(value[1:]))
        (value,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    r = torch.tensor([1e-3, 0.5, 1.3], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: radial_basis(r, 3, 2.0), r)


# --- convolution ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["aligned", "paths"])
def test_the_convolution_is_the_sum_over_neighbours(method):
    """Edge by edge and path by path, with the coefficients and harmonics of e3nn."""
    layer, (x, positions) = conv(method=method), cloud()
    edges = EDGES[:, ::3]
    product = layer.product
    expected, position = torch.zeros(6, OUT.dim, dtype=F64), 0
    fan_in = [0] * len(OUT)
    for i, _, k in product.paths:
        fan_in[k] += 4 * IN.blocks[i][0]
    for i, j, k in sorted(product.paths, key=lambda path: (path[0], path[2], path[1])):
        (u, first), (_, second), (w, out) = (
            sums.blocks[at] for sums, at in zip((IN, product.filters, OUT), (i, j, k), strict=True)
        )
        size = u * 4 * w
        weight = product.weight[position : position + size].reshape(u, 4, w)
        position += size
        with float64_default():
            C = o3.wigner_3j(first.degree, second.degree, out.degree)
        for source, target in edges.T.tolist():
            r = positions[source] - positions[target]
            Y = o3.spherical_harmonics(second.degree, r, True, normalization="component")
            b = radial_basis(r.norm(), 4, 4.0)
            block = x[source, IN.slices[i]].reshape(u, -1)
            message = torch.einsum("ukw,k,ua,b,abc->wc", weight, b, block, Y, C)
            scaled = message.flatten() * math.sqrt(out.dim / fan_in[k] / 5)
            expected[target, OUT.slices[k]] += scaled
    assert position == product.weight.numel()
    assert close(layer(x, positions, edges), expected, 1e-10)
    assert gap(layer(x, positions, edges.flip(0)), expected) > 0.1
    assert gap(layer(x, -positions, edges), expected) > 0.1


@pytest.mark.parametrize("method", ["aligned", "paths"])
def test_the_convolution_commutes_with_motions(method):
    assert error(conv(method=method), OUT) < 1e-10


def test_filters_that_count_as_even_see_reflections():
    out = Irreps("2x0e + 1x1o + 1x2o")
    torch.manual_seed(0)
    layer = TensorFieldConv(IN, out, Irreps.harmonics(2, parity=1), radius=4.0, dtype=F64)
    turns = matrices()[torch.stack(proper)]
    assert error(layer, out, rotations=turns) < 1e-10
    assert error(layer, out) > 0.1


def test_positions_instead_of_differences_are_seen():
    layer = conv()

    def absolute(x, positions, edges):
        factors = radial_basis(positions.norm(dim=1)[edges[0]], 4, 4.0)
        messages = layer.product(x[edges[0]], positions[edges[0]], factors)
        return torch.zeros(len(x), OUT.dim, dtype=F64).index_add(0, edges[1], messages)

    assert error(absolute, OUT) > 0.1
    x, positions = cloud()
    both = torch.cat([x, positions], 1), (IN + Irreps("1o")).act, OUT.act, matrices()
    assert equivariance_error(lambda z: absolute(z[:, :5], z[:, 5:], EDGES), *both) < 1e-10


def permuted(layer) -> tuple[torch.Tensor, torch.Tensor]:
    """The output for renamed points, and the renamed output."""
    (x, positions), p = cloud(), torch.tensor([3, 0, 5, 1, 4, 2])
    edges = EDGES[:, ::2]
    new_x, new_positions = torch.empty_like(x), torch.empty_like(positions)
    new_x[p], new_positions[p] = x, positions
    expected = layer(x, positions, edges)
    got = layer(new_x, new_positions, p[edges])
    return got[p], expected


@pytest.mark.parametrize("make", [conv, network])
def test_names_and_orders_do_not_matter(make):
    got, expected = permuted(make())
    assert close(got, expected)
    assert gap(got.roll(1, 0), expected) > 0.01
    x, positions = cloud()
    mixed = EDGES[:, torch.randperm(EDGES.shape[1], generator=torch.Generator().manual_seed(0))]
    assert close(make()(x, positions, mixed), make()(x, positions, EDGES))


@pytest.mark.parametrize("make", [conv, network])
def test_a_batch_is_its_clouds(make):
    layer, clouds = make(), [cloud(seed) for seed in range(3)]
    x, positions = (torch.cat(parts) for parts in zip(*clouds, strict=True))
    together = layer(x, positions, complete_graph([6, 6, 6]))
    apart = torch.cat([layer(*one, EDGES) for one in clouds])
    assert close(together, apart)
    assert gap(layer(x, positions, complete_graph(18)), apart) > 0.01


@pytest.mark.parametrize("method", ["aligned", "paths"])
def test_single_atoms_and_points_without_neighbours(method):
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    x, positions = cloud()
    layer = conv(method=method)
    assert torch.equal(layer(x[:1], positions[:1], nothing), torch.zeros(1, OUT.dim, dtype=F64))
    assert torch.equal(layer(x, positions, nothing), torch.zeros(6, OUT.dim, dtype=F64))
    alone = network(method=method)
    one = alone(x[:1], positions[:1], nothing)
    assert one.shape == (1, 4)
    assert float(one.detach().abs().max()) > 0.01
    assert close(alone(x, positions, nothing)[:1], one)
    assert close(alone(x[:1], positions[:1] + 3, nothing), one)


def test_what_is_beyond_the_radius_does_not_count():
    layer, (x, positions) = conv(radius=1.5), cloud()
    source, target = EDGES
    near = EDGES[:, (positions[source] - positions[target]).norm(dim=1) <= 1.5]
    assert 0 < near.shape[1] < EDGES.shape[1]
    assert close(layer(x, positions, near), layer(x, positions, EDGES))
    assert gap(conv()(x, positions, near), conv()(x, positions, EDGES)) > 0.1


def test_the_number_of_neighbours_scales_the_output():
    x, positions = cloud()
    once, four = conv(neighbours=1.0), conv(neighbours=4.0)
    assert close(once(x, positions, EDGES), 2 * four(x, positions, EDGES))


# --- the kernels on a sphere ----------------------------------------------------------------------


def at_the_pole(irreps: Irreps) -> Representation:
    """What the turns about the polar axis, and the mirrors that contain it, do to a feature."""
    rho = irreps.representation()
    mirror = irreps.matrix(torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=F64)))
    return Representation(O(2), [mirror], [rho.algebra[1]])


def kernels_at_the_pole(irreps_in: Irreps, irreps_out: Irreps, degree: int) -> torch.Tensor:
    """K(r) for each weight: its columns are what the pole sends to the origin."""
    layer = TensorFieldConv(irreps_in, irreps_out, degree, radius=2.0, radial=1, dtype=F64)
    positions = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=F64)
    edge, found = torch.tensor([[1], [0]]), []
    for k in range(layer.product.weight.numel()):
        torch.nn.init.zeros_(layer.product.weight).data[k] = 1
        x = torch.eye(irreps_in.dim, dtype=F64)
        columns = [layer(torch.stack([0 * e, e]), positions, edge)[0] for e in x]
        found.append(torch.stack(columns, 1))
    return torch.stack(found).detach()


@pytest.mark.parametrize(
    ("irreps_in", "irreps_out"),
    [("0e", "0e"), ("0e", "1o"), ("1o", "1o"), ("1o", "1e"), ("1e", "2e"), ("2e", "3o"),
     ("0e + 1o", "2x0e + 1o + 1e"), ("1o + 2e", "1o + 2e")],
)  # fmt: skip
def test_the_kernels_on_a_sphere_are_all_that_the_solver_finds(irreps_in, irreps_out):
    """K at one point must commute with what fixes it; the rest of the sphere follows."""
    first, out = Irreps(irreps_in), Irreps(irreps_out)
    degree = first.degree + out.degree
    basis = equivariant_basis(at_the_pole(first), at_the_pole(out))
    kernels = kernels_at_the_pole(first, out, degree)
    assert len(kernels) == torch.linalg.matrix_rank(kernels.flatten(1)) == len(basis)
    assert span_residual(kernels, basis) < 1e-10
    assert out.dim == 1 or span_residual(kernels + 0.1 * kernels.roll(1, 1), basis) > 1e-3


def test_fewer_harmonics_give_fewer_kernels():
    vectors = Irreps("1o")
    basis = equivariant_basis(at_the_pole(vectors), at_the_pole(vectors))
    assert len(basis) == len(kernels_at_the_pole(vectors, vectors, 2)) == 2
    assert len(kernels_at_the_pole(vectors, vectors, 3)) == 2
    assert len(kernels_at_the_pole(vectors, vectors, 1)) == 1
    assert span_residual(kernels_at_the_pole(vectors, vectors, 1), basis) < 1e-10


# --- linear maps and gates ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("irreps_in", "irreps_out"),
    [("2x0e + 1o + 1x1o + 2e", "3x0e + 2x1o"), ("1o + 1e", "2x1e + 1o"), ("2x2e", "2e")],
)
def test_linear_maps_are_all_that_the_solver_finds(irreps_in, irreps_out):
    layer = IrrepsLinear(irreps_in, irreps_out, bias=False, dtype=F64)
    basis = equivariant_basis(
        Irreps(irreps_in).representation(), Irreps(irreps_out).representation()
    )
    maps = []
    for weight, at in [(w, k) for w in layer.weights for k in range(w.numel())]:
        with torch.no_grad():
            for other in layer.weights:
                other.zero_()
            weight.view(-1)[at] = 1
            maps.append(layer(torch.eye(Irreps(irreps_in).dim, dtype=F64)).T)
    assert len(maps) == len(basis)
    assert span_residual(torch.stack(maps), basis) < 1e-10
    assert torch.linalg.matrix_rank(torch.stack(maps).flatten(1)) == len(basis)


def test_linear_maps_have_biases_for_scalars_only():
    irreps = Irreps("2x0e + 1x0o + 2x1o + 1x0e")
    layer = IrrepsLinear(irreps, irreps, dtype=F64)
    for bias in layer.biases:
        torch.nn.init.normal_(bias)
    assert [tuple(b.shape) for b in layer.biases] == [(2, 1), (1, 1)]
    x = random(4, irreps.dim)
    assert equivariance_error(layer, x, irreps.act, irreps.act, matrices()) < 1e-12
    at_zero = layer(torch.zeros_like(x)).detach()
    assert (at_zero[0] != 0).tolist() == [True] * 2 + [False] * 7 + [True]
    for wrong in (layer.biases[0].sum(), at_zero[0, 0]):
        assert equivariance_error(
            lambda x, b=wrong: layer(x) + b, x, irreps.act, irreps.act, matrices()
        ) > 1e-3  # fmt: skip


def test_linear_maps_keep_the_size():
    torch.manual_seed(0)
    layer = IrrepsLinear("64x0e + 32x1o + 32x1o", "64x0e + 64x1o")
    y = layer(torch.randn(200, 64 + 192)).detach()
    for block in layer.irreps_out.split(y):
        assert abs(float(block.square().mean()) - 1) < 0.1


def test_the_gate_by_hand():
    gate = Gate("1x1o + 2x0e + 1x0o + 1x2e")
    assert str(gate.irreps) == "2x0e + 1x0o + 1x1o + 1x2e"
    assert str(gate.irreps_in) == "2x0e + 1x0o + 2x0e + 1x1o + 1x2e"
    x = random(3, gate.irreps_in.dim)
    scalars, odd, gates, vector, tensor = x.split([2, 1, 2, 3, 5], 1)
    gates = 1 / (1 + torch.exp(-gates))
    parts = [
        scalars / (1 + torch.exp(-scalars)), torch.tanh(odd), vector * gates[:, :1],
        tensor * gates[:, 1:],
    ]  # fmt: skip
    assert close(gate(x), torch.cat(parts, 1))


def test_the_gate_commutes_and_pointwise_functions_do_not():
    gate = Gate("4x0e + 2x0o + 2x1o + 1x2e")
    acts = gate.irreps_in.act, gate.irreps.act, matrices()
    x = random(5, gate.irreps_in.dim)
    assert equivariance_error(gate, x, *acts) < 1e-12

    def on_vectors(x):
        return torch.cat([gate(x)[:, :6], torch.relu(gate(x)[:, 6:])], 1)

    def on_pseudoscalars(x):
        return torch.cat([gate(x)[:, :4], F.silu(x[:, 4:6]), gate(x)[:, 6:]], 1)

    for broken in (on_vectors, on_pseudoscalars):
        assert equivariance_error(broken, x, *acts) > 0.1
    turns = matrices()[torch.stack(proper)]
    assert equivariance_error(on_pseudoscalars, x, *acts[:2], turns) < 1e-12


@pytest.mark.parametrize("irreps", ["3x0e", "2x0o", "2x1o", "1x2e + 1x1e"])
def test_gates_of_one_kind(irreps):
    gate = Gate(irreps)
    x = random(2, 3, gate.irreps_in.dim)
    assert gate(x).shape == (2, 3, Irreps(irreps).dim)
    acts = gate.irreps_in.act, gate.irreps.act, matrices()
    assert equivariance_error(gate, x.flatten(0, 1), *acts) < 1e-12


# --- networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["aligned", "paths"])
@pytest.mark.parametrize("irreps_out", ["1x0e + 1x1o", "2x2e + 1x0o"])
def test_networks_commute_with_motions(irreps_out, method):
    made = network(irreps_out, method=method)
    assert error(made, Irreps(irreps_out)) < 1e-10
    assert error(made, Irreps(irreps_out), EDGES[:, ::3]) < 1e-10
    assert made(*cloud(), EDGES).std(0).min() > 1e-3


def test_both_methods_are_one_network():
    aligned, by_paths = network(), network(method="paths")
    assert close(aligned(*cloud(), EDGES), by_paths(*cloud(), EDGES), 1e-10)


def test_a_network_with_a_broken_nonlinearity_is_seen(monkeypatch):
    made = network("1x0o")
    assert error(made, Irreps("1x0o")) < 1e-10
    monkeypatch.setattr(tensor_field.torch, "tanh", F.silu)
    assert error(made, Irreps("1x0o")) > 1e-3


def test_mirror_images_look_alike_unless_reflections_are_given_up():
    """Four unequal points: sums of scalars 0e agree for a cloud and its mirror image."""
    x, positions = torch.ones(4, 1, dtype=F64), random(4, 3)
    mirrored = positions * torch.tensor([-1.0, 1.0, 1.0], dtype=F64)
    edges, options = complete_graph(4), {"radius": 4.0, "layers": 3, "dtype": F64}
    torch.manual_seed(0)
    plain = TensorFieldNetwork("1x0e", "1x0e", "4x0e + 2x1o + 2x2e", **options)
    odd = TensorFieldNetwork("1x0e", "1x0o", "4x0e + 2x0o + 2x1o + 2x1e + 2x2e", **options)
    chiral = TensorFieldNetwork(
        "1x0e", "1x0e", "4x0e + 2x1e + 2x2e", harmonics=Irreps.harmonics(2, parity=1), **options
    )
    for made, sign in ((plain, 1), (odd, -1)):
        here, there = (made(x, p, edges).sum().detach() for p in (positions, mirrored))
        assert abs(float(here - sign * there)) < 1e-12
        assert abs(float(here)) > 1e-6
    here, there = (chiral(x, p, edges).sum().detach() for p in (positions, mirrored))
    assert abs(float(here - there)) > 1e-4


def test_irreps_that_a_layer_cannot_reach_yet_are_left_out():
    made = TensorFieldNetwork("1x0e", "1x0e", "2x0e + 1x0o + 2x1o + 1x1e", layers=3, radius=1.0)
    reached = [str(gate.irreps) for gate in made.gates]
    assert reached[0] == "2x0e + 2x1o"
    assert reached[1] == "2x0e + 2x1o + 1x1e"
    assert reached[2] == "2x0e + 1x0o + 2x1o + 1x1e"


def test_forces_turn_with_the_cloud_and_can_be_trained():
    made, (x, positions) = network("1x0e"), cloud()

    def force(x, positions):
        positions = positions.detach().requires_grad_()
        energy = made(x, positions, EDGES).sum()
        return -torch.autograd.grad(energy, positions, create_graph=True)[0]

    expected = force(x, positions)
    for R, g in zip(matrices()[::4], elements()[::4], strict=True):
        got = force(IN.act(R, x), positions @ R.T + 1.0)
        assert close(got, expected @ O(3).defining(g).T, 1e-10)
    assert close(expected.sum(0), torch.zeros(3, dtype=F64), 1e-10)
    expected.square().sum().backward()
    trained = [p for name, p in made.named_parameters() if name != "readout.biases.0"]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)


def test_energies_have_two_derivatives():
    """On a grid, where all edges lie along axes and diagonals."""
    torch.manual_seed(0)
    made = TensorFieldNetwork("1x0e", "1x0e", "1x0e + 1x1o", radius=3.0, dtype=F64)
    grid = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1.0]], dtype=F64)
    x = torch.ones(4, 1, dtype=F64)

    def energy(positions):
        return made(x, positions, complete_graph(4)).sum()

    assert torch.autograd.gradcheck(energy, grid.requires_grad_())
    assert torch.autograd.gradgradcheck(energy, grid)


@pytest.mark.parametrize("distance", [1e-3, 1e-8, 1e-100])
def test_points_that_nearly_coincide(distance):
    """The values settle, and forces grow like 1 / distance, as those of a direction do."""
    made, (x, positions) = network("1x0e"), cloud()
    positions[1] = positions[0] = 0
    positions[1, 2] = distance
    positions.requires_grad_()
    energy = made(x, positions, EDGES).sum()
    (gradient,) = torch.autograd.grad(energy, positions)
    assert torch.isfinite(energy)
    assert torch.isfinite(gradient).all()
    assert float(gradient.abs().max()) < 1e3 / distance
