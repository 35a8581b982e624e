"""What happens to tensor field layers after they are made: cast, copied, compiled, trained."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from gdl.geometry import complete_graph, random_rotations
from gdl.rotations import (
    E3nnTensorProduct,
    Gate,
    Irreps,
    IrrepsLinear,
    TensorFieldConv,
    TensorFieldNetwork,
    TensorProduct,
    spherical_harmonics,
    wigner_d,
    wigner_tower,
)
from tests.rotations.common import F64, both_dtypes, close, gap, random

EDGES, OUT = complete_graph(5), Irreps("1x0e + 1x1o + 1x1e + 1x2e")
methods = pytest.mark.parametrize("method", ["aligned", "paths"])


def network(method: str = "aligned", dtype: torch.dtype = F64, **options) -> TensorFieldNetwork:
    torch.manual_seed(0)
    return TensorFieldNetwork(
        "1x0e", OUT, "4x0e + 2x1o + 1x1e + 1x2e", radius=4.0, method=method, dtype=dtype, **options
    )  # fmt: skip


def cloud(dtype: torch.dtype = F64) -> list[torch.Tensor]:
    return [torch.ones(5, 1, dtype=dtype), random(5, 3, dtype=dtype), EDGES]


def constants(module: torch.nn.Module) -> list[torch.Tensor]:
    found = [value.clone() for name, value in module.named_buffers() if "couplings" in name]
    assert found
    return found


@methods
@pytest.mark.parametrize("by", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
def test_copies_compute_the_same_and_share_nothing(method, by):
    layer = network(method)
    expected, twin = layer(*cloud()), by(layer)
    assert torch.equal(twin(*cloud()), expected)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert torch.equal(layer(*cloud()), expected)
    assert gap(twin(*cloud()), expected) > 0.1


@methods
def test_the_state_holds_the_weights_only(method):
    layer, other = network(method), network(method)
    state = layer.state_dict()
    assert set(state) == {name for name, _ in layer.named_parameters()}
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(state)
    assert torch.equal(other(*cloud()), layer(*cloud()))


def test_the_state_of_one_method_fits_the_other():
    aligned, by_paths = network(), network("paths")
    with torch.no_grad():
        for parameter in by_paths.parameters():
            parameter.normal_()
    aligned.load_state_dict(by_paths.state_dict())
    assert close(aligned(*cloud()), by_paths(*cloud()), 1e-10)


@methods
def test_a_detour_through_single_precision_spoils_no_constant(method):
    layer = network(method)
    before = constants(layer)
    for value, kept in zip(constants(layer.float().half().double()), before, strict=True):
        assert value.dtype == F64
        assert torch.equal(value, kept)
    fresh = network(method)
    layer.load_state_dict(fresh.state_dict())
    assert torch.equal(layer(*cloud()), fresh(*cloud()))


@methods
def test_an_emptied_layer_is_whole_again_once_it_is_loaded(method):
    layer = network(method)
    expected, state = layer(*cloud()), layer.state_dict()
    emptied = copy.deepcopy(layer).to("meta").to_empty(device="cpu")
    emptied.load_state_dict(state)
    assert torch.equal(emptied(*cloud()), expected)


@methods
def test_layers_can_be_planned_on_the_meta_device(method):
    with torch.device("meta"):
        layer = network(method)
        y = layer(torch.empty(5, 1, dtype=F64), torch.empty(5, 3, dtype=F64), EDGES.to("meta"))
        assert wigner_d(3, torch.empty(2, 3, 3)).shape == (2, 7, 7)
        assert Irreps("1o + 2e").act(torch.empty(4, 3, 3), torch.empty(4, 8)).shape == (4, 8)
    assert y.shape == (5, OUT.dim)
    assert y.is_meta
    assert {p.device.type for p in layer.parameters()} == {"meta"}
    built = layer.to_empty(device="cpu")
    built.load_state_dict(network(method).state_dict())
    assert torch.equal(built(*cloud()), network(method)(*cloud()))


@methods
def test_a_device_and_a_dtype_can_be_given(method):
    layer = network(method, device="meta")
    assert {p.device.type for p in [*layer.parameters(), *layer.buffers()]} == {"meta"}
    half = network(method, torch.bfloat16)
    assert {p.dtype for p in [*half.parameters(), *half.buffers()]} == {torch.bfloat16}
    assert half(*cloud(torch.bfloat16)).dtype == torch.bfloat16


@methods
def test_layers_made_in_inference_mode_work(method):
    with torch.inference_mode():
        layer = network(method)
        expected = layer(*cloud())
    with torch.no_grad():
        assert torch.equal(layer(*cloud()), expected)
    loaded = network(method)
    loaded.load_state_dict(layer.state_dict())
    loaded(*cloud()).sum().backward()
    assert torch.equal(loaded(*cloud()), expected)


# --- training -------------------------------------------------------------------------------------


@both_dtypes
@methods
def test_every_parameter_gets_a_gradient_and_learns(method, dtype):
    layer = network(method, dtype)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    target = random(5, OUT.dim, seed=4, dtype=dtype)
    losses = []
    for _ in range(6):
        loss = (layer(*cloud(dtype)) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(float(p.grad.abs().max()) > 0 for p in layer.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_nothing_to_sum_gives_zero_gradients():
    """Zero features, no edges, edges beyond the radius: no NaN comes back."""
    layer = network()
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    x, positions, edges = cloud()
    for features, points, pairs in (
        (0 * x, positions, edges), (x, positions, nothing), (x, 100 * positions, edges)
    ):  # fmt: skip
        features, points = features.clone().requires_grad_(), points.clone().requires_grad_()
        layer.zero_grad()
        layer(features, points, pairs).square().sum().backward()
        gradients = [features.grad, points.grad, *(p.grad for p in layer.parameters())]
        assert all(g is None or torch.isfinite(g).all() for g in gradients)
    assert torch.equal(points.grad, torch.zeros_like(points))


def test_an_ensemble_by_vmap():
    layer, given = network(), cloud()
    weights = {k: torch.stack([v, 2 * v, -v]) for k, v in layer.state_dict().items()}

    def call(state):
        return torch.func.functional_call(layer, state, tuple(given))

    together = torch.func.vmap(call)(weights)
    for k in range(3):
        assert close(together[k], call({name: value[k] for name, value in weights.items()}))


def test_derivatives_of_functions():
    R = random_rotations(1, seed=0)[0]
    reverse = torch.func.jacrev(lambda M: wigner_tower(3, M)[3])(R)
    many = torch.func.vmap(lambda M: wigner_tower(3, M)[3])(R.expand(2, 3, 3))
    assert reverse.shape == (7, 7, 3, 3)
    assert close(many[1], wigner_d(3, R))
    layer = network()
    x, positions, edges = cloud()
    jacobian = torch.func.jacrev(lambda p: layer(x, p, edges).sum(0))(positions)
    assert close(jacobian.sum(1), torch.zeros(OUT.dim, 3, dtype=F64), 1e-10)


# --- compiled, mixed precision --------------------------------------------------------------------


@methods
def test_a_compiled_layer_computes_the_same_in_one_graph(method):
    torch.manual_seed(0)
    layer = TensorFieldConv("2e", "2e", "2e", radius=4.0, radial=2, method=method, dtype=F64)
    x, positions, edges = random(5, 5), random(5, 3, seed=1).requires_grad_(), EDGES
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    got, expected = compiled(x, positions, edges), layer(x, positions, edges)
    assert close(got, expected)
    gradients = [torch.autograd.grad(y.square().sum(), positions)[0] for y in (got, expected)]
    assert close(*gradients)


def test_compiled_functions_compute_the_same():
    R, x = random_rotations(3, seed=0), random(4, 3)
    wigner_d(4, R)

    def f(R, x):
        return wigner_d(4, R), spherical_harmonics(range(4), x)

    for got, expected in zip(
        torch.compile(f, backend="aot_eager", fullgraph=True)(R, x), f(R, x), strict=True
    ):
        assert close(got, expected)


@methods
def test_autocast_does_not_round_the_geometry(method):
    """Convolutions compute in the precision of their weights, whatever came before."""
    torch.manual_seed(0)
    layer = TensorFieldConv("2x0e + 1x1o", "2x0e + 2x1o", 2, radius=4.0, method=method)
    x, positions, edges = random(5, 5).float(), random(5, 3).float(), EDGES
    expected, R = layer(x, positions, edges), random_rotations(2, seed=0).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x, positions, edges), expected)
        rounded = layer(x.bfloat16(), positions, edges)
        given = x[:3], positions[:3], torch.ones(3, 4)
        frames = wigner_tower(1, torch.eye(3).expand(3, 3, 3))
        products = [layer.product(*given), E3nnTensorProduct(layer.product)(*given)]
        if method == "aligned":
            products.append(layer.product.in_frames(x[:3], frames, given[2]))
        D, turned = wigner_d(2, R), Irreps("2x0e + 1x1o").act(R[0], x)
    assert torch.equal(D, wigner_d(2, R))
    assert torch.equal(turned, Irreps("2x0e + 1x1o").act(R[0], x))
    assert rounded.dtype == torch.float32
    assert 0 < gap(rounded, expected) < 0.05
    assert {p.dtype for p in products} == {torch.float32}
    with pytest.raises(TypeError, match="^x: expected torch.float32"):
        layer(x.bfloat16(), positions, edges)


@methods
def test_networks_run_under_autocast(method):
    layer = network(method, torch.float32)
    expected = layer(*cloud(torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        got = layer(*cloud(torch.float32))
        got.float().square().sum().backward()
    assert gap(got, expected) < 0.1
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


def test_what_layers_print():
    product = TensorProduct("2x0e", "2x1o", 1, method="paths")
    assert repr(product).splitlines()[1].strip() == (
        "2x0e -> 2x1o, filters 1x0e + 1x1o, paths=1, method=paths"
    )
    assert "paths=1" in repr(TensorFieldConv("0e", "1o", 1, radius=1.0))


def test_resetting_draws_new_weights():
    torch.manual_seed(0)
    for layer in (TensorProduct("2x0e", "2x1o", 1), IrrepsLinear("2x0e + 1o", "2x0e + 2x1o")):
        before = [p.detach().clone() for p in layer.parameters()]
        torch.nn.init.ones_(before[-1])
        layer.reset_parameters()
        assert all(not torch.equal(a, b) for a, b in zip(before, layer.parameters(), strict=True))
    assert all(torch.equal(b, torch.zeros_like(b)) for b in layer.biases)
    assert list(Gate("2x0e + 1o").parameters()) == []
