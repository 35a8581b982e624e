"""Learning to diffuse: its system, its symmetry, its gradients, its training."""

from __future__ import annotations

import copy

import networkx as nx
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from gdl.data.saliency import saliency_scenes
from gdl.diffusion.elliptic import solve_diffusion
from gdl.diffusion.saliency import LearningToDiffuse, train_saliency
from gdl.diffusion.seeds import diffusion_value, greedy_choice
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN = float("nan")


def images(count: int = 2, height: int = 7, width: int = 6) -> Tensor:
    return torch.rand(
        count, 3, height, width, dtype=F64, generator=torch.Generator().manual_seed(0)
    )


def layer(**arguments) -> LearningToDiffuse:
    """With parameters that are not those set by hand."""
    model = LearningToDiffuse(contrast=3.0, lam=0.2, dtype=F64, **arguments)
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            parameter += 0.2 * random(parameter.numel(), seed=i).reshape(parameter.shape)
    return model


def turns(x: Tensor) -> list[Tensor]:
    return [torch.rot90(y, k, (-2, -1)) for y in (x, x.flip(-1)) for k in range(4)]


def test_the_map_pixel_by_pixel():
    """All of it once more, with networkx's Laplacian and loops over pixels."""
    model, x = layer(), images(1)
    E, (bias, a, c) = model.features.detach(), model.guess.tolist()
    contrast, lam, s = (
        float(p.detach().exp()) for p in (model.log_contrast, model.log_lam, model.log_sharpness)
    )
    grid = nx.grid_2d_graph(7, 6)
    ring = [p for p in grid if p[0] in (0, 6) or p[1] in (0, 5)]
    for p, q in grid.edges:
        jump = E @ (x[0, :, p[0], p[1]] - x[0, :, q[0], q[1]])
        grid.edges[p, q]["weight"] = float((-contrast * (jump @ jump)).exp())
    order = sorted(grid)
    A = torch.from_numpy(nx.laplacian_matrix(grid, order).toarray()) + lam * torch.eye(
        42, dtype=F64
    )
    right = torch.zeros(42, dtype=F64)
    for i, (row, column) in enumerate(order):
        if (row, column) in ring:
            A[i] = torch.eye(42, dtype=F64)[i]
            continue
        near = [
            (-s * (x[0, :, row, column] - x[0, :, q[0], q[1]]).square().sum()).exp() for q in ring
        ]
        far = -torch.stack(near).mean().log() / s
        off = ((row - 3) / 3) ** 2 / 2 + ((column - 2.5) / 2.5) ** 2 / 2
        right[i] = lam * torch.sigmoid(bias + a * far + c * off)
    wanted = torch.linalg.solve(A, right).reshape(1, 1, 7, 6)
    assert gap(model(x), wanted) < 1e-12


@pytest.mark.parametrize("seeds", [0, 2])
def test_turned_and_flipped_images_have_turned_and_flipped_maps(seeds):
    model, x = layer(seeds=seeds), images()
    found = turns(model(x))
    assert all(gap(model(y), f) < 1e-12 for y, f in zip(turns(x), found, strict=True))
    assert gap(model(turns(x)[2]), found[0]) > 0.01
    twin = copy.deepcopy(model)
    one_sided = torch.linspace(0, 2, 6, dtype=F64)
    twin.guidance = lambda y: torch.sigmoid(model.guidance(y).logit() + one_sided)
    x = images(2, 6, 6)
    assert gap(twin(turns(x)[1]), turns(twin(x))[1]) > 0.01


def test_maps_lie_between_zero_and_one():
    model, x = layer(), images(5)
    f = model(x)
    assert f.shape == (5, 1, 7, 6) and f.min() >= 0 and f.max() <= 1
    border = nn.functional.pad(torch.zeros(5, 4, dtype=torch.bool), (1, 1, 1, 1), value=True)
    assert bool((f[..., border] == 0).all()) and bool((f[..., ~border] > 0).all())
    with torch.no_grad():
        model.log_lam.fill_(20.0)
    assert gap(model(x)[..., 1:-1, 1:-1], model.guidance(x)[..., 1:-1, 1:-1]) < 1e-7


def test_without_contrast_and_jumps_it_is_heat():
    """Equal weights: the system is that of the five-point Laplacian, by convolution."""
    model, x = layer(), images(1, 8, 8)
    with torch.no_grad():
        model.log_contrast.fill_(-60.0)
    f, g, lam = model(x), model.guidance(x), model.log_lam.exp()
    stencil = torch.tensor([[0, 1.0, 0], [1, -4, 1], [0, 1, 0]], dtype=F64).reshape(1, 1, 3, 3)
    lap = nn.functional.conv2d(f, stencil)
    inner = (..., slice(1, -1), slice(1, -1))
    assert gap(lap, lam * (f - g)[inner]) < 1e-12


@pytest.mark.parametrize("seeds", [0, 1])
def test_gradients_by_differences(seeds):
    model, x = layer(seeds=seeds), images(1, 5, 5)
    names, values = zip(*model.named_parameters(), strict=True)

    def run(x, *parameters):
        return functional_call(model, dict(zip(names, parameters, strict=True)), (x,))

    leaves = [x.requires_grad_(), *(v.detach().clone().requires_grad_() for v in values)]
    assert torch.autograd.gradcheck(run, leaves)


def test_seeds_are_the_greedy_ones():
    model, (x, _) = layer(seeds=3), saliency_scenes(2, size=12, seed=1)
    x = x.double()
    with torch.no_grad():
        model.guess.copy_(torch.tensor([-2.0, 16.0, -2.0]))
    chosen, parts = model.choose(x), model.system(x)
    for i in range(2):
        own = {k: v if k in ("edge_index", "lam") else v[i] for k, v in parts.items()}
        sure = (solve_diffusion(**own) > 0.5).nonzero()[:, 0].tolist()
        best = greedy_choice(diffusion_value(**own), sure, min(3, len(sure)), lazy=True)
        assert sorted(best.elements) == chosen[i].flatten().nonzero()[:, 0].tolist()
        assert len(best.elements) > 0
    f = model(x)
    assert bool((f[chosen] == 1).all())
    model.seeds = 0
    assert bool((f >= model(x) - 1e-12).all()) and gap(f, model(x)) > 0.1


def test_nothing_sure_means_no_seeds():
    model, x = layer(seeds=3), torch.zeros(1, 3, 5, 5, dtype=F64)
    assert not model.choose(x).any()
    plain = copy.deepcopy(model)
    plain.seeds = 0
    assert gap(model(x), plain(x)) == 0


def test_training():
    x, y = saliency_scenes(8, size=12, seed=5)
    models = [LearningToDiffuse() for _ in range(2)]
    for model in models:
        losses = train_saliency(model, x, y, steps=15, seed=1).step_losses
        assert len(losses) == 15 and losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(*pair) for pair in zip(*(m.parameters() for m in models), strict=True))
    parts = {k: v.detach() for k, v in models[0].system(x).items()}
    assert gap(models[0](x).flatten(1), solve_diffusion(**parts)) < 1e-6


@both_dtypes
def test_what_a_layer_does(dtype):
    model = LearningToDiffuse(dtype=dtype)
    assert repr(model) == "LearningToDiffuse(channels=3, contrast=20.0, lam=0.02, seeds=0)"
    x = images().to(dtype)
    assert model(x).dtype == dtype
    other = LearningToDiffuse(contrast=1.0, lam=1.0, dtype=dtype)
    assert gap(other(x), model(x)) > 0.01
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    assert sum(p.numel() for p in LearningToDiffuse(channels=1).parameters()) == 7
    other.reset_parameters()
    assert float(other.log_lam.detach()) == 0
    assert LearningToDiffuse(channels=1, dtype=dtype)(x[:, :1]).shape == (2, 1, 7, 6)


@pytest.mark.parametrize("seeds", [0, 2])
def test_under_autocast_it_computes_in_the_dtype_of_its_weights(seeds):
    model, x = LearningToDiffuse(seeds=seeds), images().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(x)
    assert torch.equal(rounded, model(x))


def test_shapes_are_known_without_numbers():
    model = LearningToDiffuse(device="meta")
    f = model(torch.zeros(2, 3, 6, 5, device="meta"))
    assert f.is_meta and f.shape == (2, 1, 6, 5)
    f.sum().backward()
    assert all(p.grad.shape == p.shape for p in model.parameters())


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, TypeError),
        (torch.zeros(1, 3, 5, 5), TypeError),
        (torch.zeros(1, 3, 5, 5, dtype=torch.int64), TypeError),
        (torch.zeros(3, 5, 5, dtype=F64), ValueError),
        (torch.zeros(0, 3, 5, 5, dtype=F64), ValueError),
        (torch.zeros(1, 1, 5, 5, dtype=F64), ValueError),
        (torch.zeros(1, 3, 2, 5, dtype=F64), ValueError),
        (torch.full((1, 3, 5, 5), NAN, dtype=F64), ValueError),
    ],
)
def test_wrong_images(value, error):
    for model in (layer(), layer(seeds=1)):
        for call in (model, model.guidance, model.system):
            with refuses(error, "images"):
                call(value)


def test_wrong_arguments():
    for name, value, error in (
        ("channels", 0, ValueError),
        ("channels", True, TypeError),
        ("contrast", 0.0, ValueError),
        ("lam", -1.0, ValueError),
        ("lam", "small", TypeError),
        ("seeds", -1, ValueError),
        ("dtype", torch.float16, TypeError),
        ("dtype", torch.int64, TypeError),
    ):
        with refuses(error, name):
            LearningToDiffuse(**{name: value})
    with refuses(ValueError, "images"):
        LearningToDiffuse()(torch.zeros(1, 3, 81, 80))
