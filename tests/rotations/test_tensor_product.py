"""Products of features and harmonics: both methods, e3nn, the law, the cost, broken twins."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gdl.equivariance import equivariance_error
from gdl.rotations import (
    E3nnTensorProduct,
    Irreps,
    TensorProduct,
    align,
    clebsch_gordan,
    spherical_harmonics,
    tensor_product,
    wigner_tower,
)
from tests.rotations.common import (
    F64,
    about,
    both_dtypes,
    close,
    gap,
    matrices,
    random,
    special_vectors,
)

ROTATIONS_ONLY = Irreps.harmonics(3, parity=1)

# Inputs, outputs, filters, number of radial factors.
PRODUCTS = {
    "natural parity": ("2x0e + 3x1o + 2e", "3x0e + 2x1o + 2x2e", 3, 1),
    "mixed parity, radial factors": ("2x0e + 2x1o + 1x1e + 2o", "1x0e + 0o + 2x1o + 1e + 2e", 2, 3),
    "repeated blocks out of order": ("2x1o + 1x0e + 1x1o", "1o + 2x0e + 3x1o + 0e", 2, 2),
    "rotations only": ("2x0e + 2x1o + 1x2e", "2x0e + 1x1e + 1x1o + 2e", ROTATIONS_ONLY, 1),
    "chosen filters": ("2x1o + 2x2e", "1x2e + 2x3o", "2e + 1o", 2),
    "scalars": ("4x0e", "2x0e", 0, 2),
    "from scalars": ("2x0e", "0e + 1o + 2e + 3o + 4e", 4, 1),
    "to scalars": ("0e + 1o + 2e + 3o + 4e", "2x0e", 4, 1),
    "high degrees": ("1x5o + 1x4e", "1x6e + 1x5o", 7, 1),
}
products = pytest.mark.parametrize("name", PRODUCTS)


def made(name: str, method: str = "aligned", dtype: torch.dtype = F64) -> TensorProduct:
    torch.manual_seed(0)
    *sums, radial = PRODUCTS[name]
    return TensorProduct(*sums, radial=radial, method=method, dtype=dtype)


def inputs(product: TensorProduct, vectors: torch.Tensor | None = None) -> list[torch.Tensor]:
    r = torch.cat([random(6, 3, seed=1), special_vectors()]) if vectors is None else vectors
    x = random(len(r), product.irreps_in.dim, seed=2)
    return [x, r, random(len(r), product.radial, seed=3)]


def error(product: TensorProduct, f=None, elements: torch.Tensor | None = None) -> float:
    """How far f(D(R) x, R r) is from D(R) f(x, r); features and vectors are one input."""
    x, r, radial = inputs(product, random(6, 3, seed=1))
    together, dim = product.irreps_in + Irreps("1o"), product.irreps_in.dim
    f = product if f is None else f
    return equivariance_error(
        lambda z: f(z[:, :dim], z[:, dim:], radial),
        torch.cat([x, r], 1),
        together.act,
        product.irreps_out.act,
        matrices() if elements is None else elements,
    )


def proper() -> torch.Tensor:
    found = matrices()
    return found[torch.linalg.det(found) > 0]


# --- the law --------------------------------------------------------------------------------------


@products
@pytest.mark.parametrize("method", ["aligned", "paths"])
def test_products_commute_with_rotations_and_reflections(name, method):
    elements = proper() if name == "rotations only" else None
    assert error(made(name, method), elements=elements) < 1e-12


def test_filters_that_count_as_even_give_up_reflections():
    product = made("rotations only")
    assert error(product, elements=proper()) < 1e-12
    assert error(product, elements=-torch.eye(3, dtype=F64)[None]) > 0.1


@products
def test_both_methods_and_e3nn_agree(name):
    """Values, and the gradients of features, vectors, factors and weights."""
    aligned, by_paths = made(name), made(name, "paths")
    assert torch.equal(aligned.weight, by_paths.weight)
    twin = E3nnTensorProduct(aligned)
    ours = value_and_gradients(aligned, aligned.weight, inputs(aligned))
    assert float(ours[0].abs().max()) > 0.1
    for got, expected in zip(
        value_and_gradients(by_paths, by_paths.weight, inputs(aligned)), ours, strict=True
    ):
        assert close(got, expected, 1e-10)
    *theirs, of_weight = value_and_gradients(twin, twin.tensor_product.weight, inputs(aligned))
    for got, expected in zip(theirs, ours[:-1], strict=True):
        assert close(got, expected, 1e-10)
    with torch.no_grad():
        aligned.weight.copy_(ours[-1])
    assert close(aligned.e3nn_weight(), of_weight, 1e-10)


def value_and_gradients(product, weight, given) -> list[torch.Tensor]:
    given = [t.requires_grad_() for t in given]
    y = product(*given)
    scored = (y * torch.linspace(-1, 1, y.numel(), dtype=F64).view_as(y)).sum()
    options = {"allow_unused": True, "materialize_grads": True}
    return [y.detach(), *torch.autograd.grad(scored, [*given, weight], **options)]


def test_one_product_by_hand():
    """A vector to a scalar and a vector: w (x . r) and w' (x cross r), up to factors."""
    product = TensorProduct("1o", "0e + 1e", "1o", dtype=F64)
    x, r = random(5, 3), random(5, 3, seed=1)
    u, (a, b) = r / r.norm(dim=1, keepdim=True), product.weight
    scalar, vector = (a * (x * u).sum(1, keepdim=True), b * torch.linalg.cross(x, u))
    expected = torch.cat([scalar, vector * (3 / 2) ** 0.5], 1)
    assert close(product(x, r), expected)
    assert gap(product(x, -r), expected) > 0.1
    assert close(product(u, r)[:, 1:], torch.zeros(5, 3, dtype=F64))


def test_the_number_of_weights():
    product = made("mixed parity, radial factors")
    blocks = product.irreps_in.blocks, product.irreps_out.blocks
    expected = sum(blocks[0][i][0] * 3 * blocks[1][k][0] for i, _, k in product.paths)
    assert product.weight.numel() == expected == len(product.e3nn_weight())
    twin = E3nnTensorProduct(product).tensor_product
    assert twin.weight_numel == expected


def test_outputs_have_the_size_of_inputs():
    """Variance 1 for each block, within the spread of 400 draws of the weights."""
    product = TensorProduct("4x0e + 3x1o", "2x0e + 2x1o + 1e", 2, dtype=F64)
    r, x = random(1, 3), random(400, 1, 13, seed=1)
    weights = random(400, product.weight.numel(), seed=2)

    def f(weight, x):
        return torch.func.functional_call(product, {"weight": weight}, (x, r))

    for block in product.irreps_out.split(torch.func.vmap(f)(weights, x)):
        assert abs(float(block.square().mean()) - 1) < 0.25


# --- frames ---------------------------------------------------------------------------------------


@both_dtypes
def test_aligning_gives_rotations_to_the_axis(dtype):
    eps, pole = torch.finfo(dtype).eps, torch.tensor([0.0, 1.0, 0.0], dtype=dtype)
    scales = torch.tensor([1e-30, 1.0, 1e30], dtype=dtype)[:, None, None]
    vectors = scales * torch.cat([random(20, 3), special_vectors()]).to(dtype)
    R = align(vectors)
    assert close(R @ R.mT, torch.eye(3, dtype=dtype).expand_as(R), 8 * eps)
    assert close(torch.linalg.det(R), torch.ones(R.shape[:-2], dtype=dtype), 8 * eps)
    up = (R @ (vectors / scales)[..., None])[..., 0]
    length = (vectors / scales).norm(dim=-1, keepdim=True)
    assert close(up, length * pole, 32 * eps)


def test_the_turn_about_the_edge_that_align_chooses_does_not_matter():
    product = made("mixed parity, radial factors")
    x, r, radial = inputs(product)
    expected = product(x, r, radial)
    R = align(r)
    assert close(product.in_frames(x, wigner_tower(3, R), radial), expected)
    turns = torch.stack([about((0, 1, 0), 0.3 * k) for k in range(len(r))])
    assert close(product.in_frames(x, wigner_tower(3, turns @ R), radial), expected)
    tilted = torch.stack([about((1, 0, 0), 0.3)] * len(r))
    assert gap(product.in_frames(x, wigner_tower(3, tilted @ R), radial), expected) > 0.1


def test_layers_may_share_the_frames():
    first, second = made("natural parity"), made("chosen filters")
    r = random(5, 3)
    tower = wigner_tower(3, align(r))
    for product in (first, second):
        x, _, radial = inputs(product, r)
        assert close(product.in_frames(x, tower, radial), product(x, r, radial))


@pytest.mark.parametrize(
    ("tower", "method", "named"),
    [
        (lambda r: [], "aligned", "tower"),
        (lambda r: wigner_tower(1, align(r)), "aligned", "tower"),
        (lambda r: wigner_tower(3, align(r[1:])), "aligned", "tower"),
        (lambda r: [D[:, 1:] for D in wigner_tower(3, align(r))], "aligned", "tower"),
        (lambda r: wigner_tower(3, align(r)), "paths", "method"),
    ],
    ids=range(5),
)
def test_frames_that_do_not_fit_are_named(tower, method, named):
    product = made("mixed parity, radial factors", method)
    x, r, radial = inputs(product)
    with pytest.raises(ValueError, match=f"^{named}: "):
        product.in_frames(x, tower(r), radial)


# --- broken twins ---------------------------------------------------------------------------------


def test_a_transposed_wigner_matrix_is_seen(monkeypatch):
    product = made("natural parity")
    sound = product(*inputs(product))

    def transposed(degree, rotation):
        return [D.mT for D in wigner_tower(degree, rotation)]

    monkeypatch.setattr(tensor_product, "wigner_tower", transposed)
    assert error(product) > 0.1
    assert gap(product(*inputs(product)), sound) > 0.1


@pytest.mark.parametrize("method", ["aligned", "paths"])
def test_one_coupling_of_the_wrong_sign_is_seen(monkeypatch, method):
    """It is another set of weights, so the law holds; e3nn tells the difference."""

    def flipped(*degrees):
        return clebsch_gordan(*degrees) * (-1 if degrees == (1, 1, 2) else 1)

    expected = E3nnTensorProduct(made("natural parity"))
    monkeypatch.setattr(tensor_product, "clebsch_gordan", flipped)
    product = made("natural parity", method)
    assert error(product) < 1e-12
    assert gap(product(*inputs(product)), expected(*inputs(product))) > 0.1


def test_one_entry_of_a_coupling_breaks_the_law(monkeypatch):
    def broken(*degrees):
        C = clebsch_gordan(*degrees)
        C[0, 0] *= -1
        return C

    monkeypatch.setattr(tensor_product, "clebsch_gordan", broken)
    assert error(made("natural parity", "paths")) > 0.1


@pytest.mark.parametrize("method", ["aligned", "paths"])
def test_another_order_of_axes_is_seen(method):
    product = made("natural parity", method)
    assert error(product, lambda x, r, radial: product(x, r[:, [1, 2, 0]], radial)) > 0.1


def test_another_order_of_factors_is_seen(monkeypatch):
    product = made("natural parity", "paths")

    def reversed_orders(degree, x):
        return spherical_harmonics(degree, x).flip(-1)

    monkeypatch.setattr(tensor_product, "spherical_harmonics", reversed_orders)
    assert error(product) > 0.1


# --- derivatives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["aligned", "paths"])
def test_first_and_second_derivatives(method):
    """Along the axes and the diagonals, where the frames jump; as training on forces needs them."""
    torch.manual_seed(0)
    product = TensorProduct("0e + 1o", "0e + 1e + 2e", 2, method=method, dtype=F64)
    r = torch.tensor([[1, 1, 1], [1, 0, 0], [0, -1, 0]], dtype=F64)
    given = [random(3, 4).requires_grad_(), r.requires_grad_()]
    assert torch.autograd.gradcheck(product, given)
    assert torch.autograd.gradgradcheck(product, given)


def test_the_weights_and_the_factors_have_derivatives():
    product = made("chosen filters")
    x, r, radial = inputs(product, special_vectors()[::4])

    def f(weight, radial):
        return torch.func.functional_call(product, {"weight": weight}, (x, r, radial))

    weight = product.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(f, (weight, radial.requires_grad_()))


# --- sizes and types ------------------------------------------------------------------------------


@products
@pytest.mark.parametrize("method", ["aligned", "paths"])
def test_no_edge_and_one_edge(name, method):
    product = made(name, method)
    given = inputs(product)
    y = product(*given)
    for count in (0, 1):
        part = product(*(t[:count] for t in given))
        assert part.shape == (count, product.irreps_out.dim)
        assert close(part, y[:count])


@products
def test_float32(name):
    product = made(name)
    y = product(*inputs(product))
    single = product.float()(*(t.float() for t in inputs(product)))
    assert single.dtype == torch.float32
    assert gap(single, y) < 1e-4


def test_strides_do_not_matter():
    product = made("natural parity")
    given = inputs(product)
    strided = [t.T.contiguous().T for t in given]
    assert not strided[0].is_contiguous()
    assert close(product(*strided), product(*given))


def test_no_radial_factor_is_a_factor_of_one():
    for method in ("aligned", "paths"):
        product = made("natural parity", method)
        x, r, _ = inputs(product)
        assert close(product(x, r), product(x, r, torch.ones(len(r), 1, dtype=F64)))
        assert close(product(x, r), product(x, 7 * r))


def test_rows_are_edges():
    product = made("natural parity")
    x, r, radial = inputs(product)
    order = torch.randperm(len(r), generator=torch.Generator().manual_seed(0))
    assert close(product(x[order], r[order], radial[order]), product(x, r, radial)[order])


# --- cost -----------------------------------------------------------------------------------------


def multiplications(degree: int, method: str) -> int:
    """Of matrices, for one more edge, with one copy of each degree up to L, ignoring parity."""
    one_of_each = Irreps.harmonics(degree, parity=1)
    with torch.device("meta"):
        product = TensorProduct(one_of_each, one_of_each, one_of_each, method=method)
        counts = []
        for edges in (2, 3):
            x, r = torch.empty(edges, one_of_each.dim), torch.empty(edges, 3)
            tower = [torch.empty(edges, 2 * l + 1, 2 * l + 1) for l in range(degree + 1)]
            with FlopCounterMode(display=False) as counter:
                product(x, r) if method == "paths" else product.in_frames(x, tower)
            counts.append(counter.get_total_flops())
    return counts[1] - counts[0]


@pytest.mark.parametrize(("method", "power"), [("aligned", 3), ("paths", 6)])
def test_the_cost_is_a_polynomial_of_the_degree(monkeypatch, method, power):
    """Differences of order power + 1 vanish, those of order power do not."""
    # Only shapes are counted: neither the coefficients nor the harmonics need to be computed.
    empty = {
        "clebsch_gordan": lambda *degrees: torch.zeros([2 * l + 1 for l in degrees], device="cpu"),
        "spherical_harmonics": lambda degree, x: x.new_empty(len(x), 2 * degree + 1),
    }
    for name, function in empty.items():
        monkeypatch.setattr(tensor_product, name, function)
    counts = torch.tensor([multiplications(degree, method) for degree in range(power + 2)])
    assert (counts.diff(n=power + 1) == 0).all()
    assert (counts.diff(n=power) > 0).all()
