"""Spectral filters: which ones depend on the basis, and which reach how far."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from numpy.polynomial.chebyshev import chebvander
from scipy.sparse.csgraph import shortest_path
from torch import Tensor

from gdl.geodesics.laplacian import cotan_laplacian, vertex_areas
from gdl.geodesics.operators import SurfaceOperators
from gdl.geodesics.spectral import ChebConv
from tests.geodesics.network_samples import (
    F64,
    both_dtypes,
    busy,
    mesh_of,
    random,
    refuses,
    relative,
    surface_of,
)

C, OUT = 3, 2
LAYERS = {
    "polynomial": lambda **made: ChebConv(C, OUT, 4, **made),
}
layers = pytest.mark.parametrize("name", list(LAYERS))
TOLERANCE = {torch.float32: 1e-5, F64: 1e-12}


def made(name: str, dtype: torch.dtype = F64):
    return busy(LAYERS[name](dtype=dtype))


def features(surface: SurfaceOperators, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return random(surface.num_vertices, C, seed=seed, dtype=dtype)


def dense_operator(name: str) -> Tensor:
    """M^-1 L."""
    mesh = mesh_of(name)
    return torch.from_numpy(cotan_laplacian(mesh).toarray()) / vertex_areas(mesh)[:, None]


def by_terms(operators: Tensor, weight: Tensor, x: Tensor, bias: Tensor) -> Tensor:
    """The sum of operators (J, n, n), each with its matrix of channels (J, C', C)."""
    return torch.einsum("jvu,joi,ui->vo", operators, weight, x) + bias


# --- the layers are their formulas --------------------------------------------------------------


@pytest.mark.parametrize("name", ["bumpy", "flat"])
@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_the_polynomial_is_that_of_the_dense_matrix(name, order):
    layer, L = busy(ChebConv(C, OUT, order, dtype=F64)), dense_operator(name)
    surface = surface_of(name, len(L))
    x, bound = features(surface), surface.spectral_bound
    scaled = 2 / bound * L - torch.eye(len(L), dtype=F64)
    # Powers of the matrix, by the coefficients of each Chebyshev polynomial in them.
    to_powers = np.polynomial.chebyshev.cheb2poly
    powers = torch.stack([torch.linalg.matrix_power(scaled, j) for j in range(order + 1)])
    terms = [to_powers(np.eye(order + 1)[j]) for j in range(order + 1)]
    terms = torch.stack([torch.from_numpy(np.pad(t, (0, order + 1 - len(t)))) for t in terms])
    operators = torch.einsum("jp,pvu->jvu", terms, powers)
    out = layer(x, surface)
    assert relative(out, by_terms(operators, layer.weight, x, layer.bias)) < 1e-12
    # The same polynomial of the eigenvalues, in the complete eigenbasis.
    coefficients = surface.vectors.T @ (surface.areas[:, None] * x)
    filtered = torch.einsum("koi,ki->ko", layer.response(surface.values, bound), coefficients)
    spectral = surface.vectors @ filtered + layer.bias
    assert relative(out, spectral) < 1e-11


def test_responses_in_closed_form():
    values, polynomial = torch.tensor([0.0, 0.7, 3.1], dtype=F64), made("polynomial")
    for k, value in enumerate(values.tolist()):
        terms = torch.from_numpy(chebvander(2 * value / 5 - 1, 4).ravel())
        expected = torch.einsum("j,joi->oi", terms, polynomial.weight)
        assert relative(polynomial.response(values, 5.0)[k], expected) < 1e-13


@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_a_polynomial_reaches_exactly_its_order(order):
    surface, layer = surface_of("bumpy"), ChebConv(1, 1, order, bias=False, dtype=F64)
    n = surface.num_vertices
    rings = torch.from_numpy(shortest_path(surface.laplacian != 0, unweighted=True))
    busy(layer)
    for vertex in (0, 50, 161):
        x = torch.zeros(n, 1, dtype=F64)
        x[vertex] = 1
        heard = layer(x, surface).flatten() != 0
        assert torch.equal(heard, rings[vertex] <= order)
        assert (rings[vertex] > order).any()


# --- what they depend on ------------------------------------------------------------------------


def rotated(surface: SurfaceOperators, seed: int, signs_only: bool = False) -> SurfaceOperators:
    """Another eigenbasis of the same surface: each eigenspace turned, or with other signs."""
    apart = (surface.values.diff() > 1e-8 * (1 + surface.values[1:])).nonzero().flatten() + 1
    starts = [0, *apart.tolist(), surface.num_modes]
    sizes = [b - a for a, b in zip(starts[:-1], starts[1:], strict=True)]
    generator = torch.Generator().manual_seed(seed)
    turns = []
    for size in sizes:
        drawn = torch.randn(size, size, dtype=F64, generator=generator)
        turns.append(drawn.diagonal().sign().diag() if signs_only else torch.linalg.qr(drawn)[0])
    if not signs_only:
        assert max(sizes) > 1
    return dataclasses.replace(surface, vectors=surface.vectors @ torch.block_diag(*turns))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_layer_sees_signs(seed):
    surface = surface_of("bumpy")
    other, x = rotated(surface, seed, signs_only=True), features(surface)
    for name in LAYERS:
        assert relative(made(name)(x, other), made(name)(x, surface)) < 1e-13


@layers
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_permutation_of_the_vertices_permutes(name, seed):
    mesh, surface, layer = mesh_of("bumpy"), surface_of("bumpy"), made(name)
    order = torch.randperm(mesh.num_vertices, generator=torch.Generator().manual_seed(seed))
    renumbered = SurfaceOperators.from_mesh(mesh.permuted(order), 20)
    x, back = features(surface), order.argsort()
    # Eigenvalues without multiplicity: the basis is the same up to signs.
    out = layer(x[back], renumbered)
    assert relative(out, layer(x, surface)[back]) < 1e-10
    assert relative(out, layer(x, surface)) > 0.1


@layers
def test_folding_along_edges_changes_nothing(name):
    layer, x = made(name), features(surface_of("flat"))
    assert mesh_of("folded").vertices[:, 2].abs().max() > 0.1
    out = layer(x, surface_of("flat"))
    assert relative(layer(x, surface_of("folded")), out) < 1e-12
    stretched = mesh_of("flat").with_vertices(mesh_of("flat").vertices * torch.tensor([1.2, 1, 1]))
    assert relative(layer(x, SurfaceOperators.from_mesh(stretched, 20)), out) > 1e-3


# --- as modules ---------------------------------------------------------------------------------


@layers
@both_dtypes
def test_dtypes(name, dtype):
    surface, x = surface_of("bumpy", dtype=dtype), features(surface_of("bumpy"), dtype=dtype)
    layer = made(name, dtype)
    out = layer(x, surface)
    assert out.dtype == dtype and out.shape == (len(x), OUT) and out.std() > 0.01
    assert relative(out.double(), made(name)(x.double(), surface_of("bumpy"))) < TOLERANCE[dtype]


@layers
def test_copies_compute_the_same(name):
    surface, layer = surface_of("bumpy"), made(name)
    x = features(surface)
    out = layer(x, surface)
    loaded = LAYERS[name](dtype=F64)
    emptied = LAYERS[name](device="meta", dtype=F64).to_empty(device="cpu")
    for twin in (loaded, emptied):
        twin.load_state_dict(layer.state_dict())
    for twin in (loaded, emptied, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x, surface), out)
    assert torch.equal(layer.float().double()(x, surface).round(decimals=4), out.round(decimals=4))


@layers
def test_gradients(name):
    surface, layer = surface_of("flat"), made(name)
    x = features(surface).requires_grad_()
    parameters = dict(layer.named_parameters())

    def run(x, *values):
        given = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(layer, given, (x, surface))

    assert torch.autograd.gradcheck(run, (x, *parameters.values()), fast_mode=True)


@layers
def test_compiled_and_cast_layers(name):
    surface, layer = surface_of("bumpy", dtype=torch.float32), made(name, torch.float32)
    x = features(surface, dtype=torch.float32)
    out = layer(x, surface)
    assert (
        relative(torch.compile(layer, backend="aot_eager", fullgraph=True)(x, surface), out) < 1e-5
    )
    # What comes in may be rounded; the layer itself computes in its own dtype.
    with torch.autocast("cpu", torch.bfloat16):
        same, low = layer(x, surface), layer(x.bfloat16(), surface)
    assert torch.equal(same, out) and 1e-5 < relative(low, out) < 0.02


@layers
def test_layers_without_bias(name):
    layer = ChebConv(C, OUT, 4, bias=False, dtype=F64)
    assert [key for key, _ in layer.named_parameters()] == ["weight"]
    surface = surface_of("flat")
    assert not layer(torch.zeros(surface.num_vertices, C, dtype=F64), surface).any()


# --- bad input ----------------------------------------------------------------------------------


@layers
def test_bad_features_are_refused(name):
    layer, surface = made(name), surface_of("flat")
    x = features(surface)
    for bad, error in (
        (x[:, :2], ValueError),
        (x[1:], ValueError),
        (x[None], ValueError),
        (x.flatten(), ValueError),
        (x.float(), TypeError),
        (x.long(), TypeError),
        (x.numpy(), TypeError),
        (x.to("meta"), ValueError),
        (x * torch.nan, ValueError),
    ):
        with refuses(error, "x"):
            layer(bad, surface)
    with refuses(TypeError, "surface"):
        layer(x, mesh_of("flat"))
    with refuses(TypeError, "surface"):
        layer(x, surface_of("flat", dtype=torch.float32))
    with refuses(ValueError, "surface"):
        layer(x, surface.to(device="meta"))


@pytest.mark.parametrize(
    ("call", "argument", "error"),
    [
        (lambda: ChebConv(0, 1, 1), "in_channels", ValueError),
        (lambda: ChebConv(1, 1.0, 1), "out_channels", TypeError),
        (lambda: ChebConv(1, 1, 1, bias=1), "bias", TypeError),
        (lambda: ChebConv(1, 1, 1, dtype=torch.int64), "dtype", TypeError),
        (lambda: ChebConv(1, 1, -1), "order", ValueError),
        (lambda: ChebConv(1, 1, True), "order", TypeError),
        (lambda: made("polynomial").response(random(3), 0.0), "bound", ValueError),
        (lambda: made("polynomial").response(random(3, 2), 1.0), "values", ValueError),
    ],
)
def test_bad_arguments(call, argument, error):
    with refuses(error, argument):
        call()
