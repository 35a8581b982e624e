"""Convolution on the icosphere: slow reference, sixty rotations, frames, networks, training."""

from __future__ import annotations

import copy
import functools
import math
import pickle

import pytest
import torch
from torch import Tensor, nn

from gdl.equivariance import dimension_by_characters
from gdl.gauges._fibres import fibre_index, read_fibres
from gdl.gauges.icosahedral import (
    FIBRES,
    IcosahedralBatchNorm,
    IcosahedralCNN,
    IcosahedralConv,
    IcosahedralPool,
    hexagonal_kernels,
)
from gdl.gauges.icosahedral_grid import STEPS, IcosahedralGrid
from gdl.geodesics import icosahedral_rotations, vertex_permutation
from gdl.representations import Representation, cyclic, trivial
from tests.geodesics.network_samples import F64, both_dtypes, busy, random, refuses, relative

levels = pytest.mark.parametrize("level", [1, 2, 3, 4])
seeds = pytest.mark.parametrize("seed", [0, 1, 2])
PAIRS = [(a, b) for a in FIBRES for b in FIBRES]
pairs = pytest.mark.parametrize(
    ("fibre_in", "fibre_out"), PAIRS, ids=["-".join(pair) for pair in PAIRS]
)
fibres = pytest.mark.parametrize("fibre", list(FIBRES))
SIXTY = icosahedral_rotations()


@functools.cache
def grid_of(level: int) -> IcosahedralGrid:
    return IcosahedralGrid(level)


@functools.cache
def actions(level: int) -> list[tuple[Tensor, Tensor]]:
    return [grid_of(level).action(R) for R in SIXTY]


def rotated(x: Tensor) -> list[Tensor]:
    """A field under each of the sixty, as ``act`` does it; the actions are kept."""
    level = {42: 1, 162: 2, 642: 3, 2562: 4}[x.shape[-1]]
    fields = []
    for permutation, shift in actions(level):
        back = permutation.argsort()
        fields.append(read_fibres(x, fibre_index(back, shift[back], x.shape[-2], x.shape[-1])))
    return fields


def worst(layer: nn.Module, x: Tensor) -> float:
    """The largest relative error of equivariance under the sixty rotations."""
    pairs = zip(rotated(x), rotated(layer(x)), strict=True)
    return max(relative(layer(moved), expected) for moved, expected in pairs)


def variance(net: nn.Module, x: Tensor) -> float:
    """The largest relative change of scores under the sixty rotations."""
    out = net(x)
    return max(relative(net(moved), out) for moved in rotated(x))


def turns(grid: IcosahedralGrid, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(6, (grid.num_vertices,), generator=generator)


def conv(grid: IcosahedralGrid, fibre_in: str, fibre_out: str, **options) -> IcosahedralConv:
    options = {"dtype": F64} | options
    return busy(IcosahedralConv(2, 3, grid, fibre_in=fibre_in, fibre_out=fibre_out, **options))


def field(level: int, fibre: str, batch: int = 2, channels: int = 2, seed: int = 0) -> Tensor:
    return random(batch, channels, FIBRES[fibre], grid_of(level).num_vertices, seed=seed)


# --- kernels ------------------------------------------------------------------------------------


def fibre_of(name: str) -> Representation:
    return cyclic(6).defining if name == "regular" else trivial(cyclic(6))


@pairs
def test_dimensions_by_characters_and_by_the_published_table(fibre_in, fibre_out):
    kernels = hexagonal_kernels(fibre_in, fibre_out)
    published = {1: 2, 6: 7, 36: 42}[FIBRES[fibre_in] * FIBRES[fibre_out]]
    ring = cyclic(6).defining
    by_characters = sum(
        dimension_by_characters(points * fibre_of(fibre_in), fibre_of(fibre_out))
        for points in (trivial(cyclic(6)), ring)
    )
    assert len(kernels) == published == by_characters
    flat = kernels.flatten(1)
    assert (flat @ flat.T - torch.eye(len(flat), dtype=F64)).abs().max() < 1e-12


@pairs
def test_kernels_obey_the_constraint(fibre_in, fibre_out):
    """K(h d) = rho_out(h) K(d) rho_in(h)^-1, with both fibres in the order of directions."""
    kernels = hexagonal_kernels(fibre_in, fibre_out)
    for h in range(6):
        moved = kernels[..., [0, *(1 + (d + h) % 6 for d in range(6))]]
        assert torch.equal(moved, kernels.roll((h, h), (1, 2)))
    assert (kernels[..., 1] - kernels[..., 2]).abs().max() > 0.1 or len(kernels) == 2


# --- the layer ----------------------------------------------------------------------------------


def reference(layer: IcosahedralConv, grid: IcosahedralGrid, x: Tensor, names: tuple) -> Tensor:
    """The sum over neighbours, vertex by vertex, from the tables of the grid."""
    maps = torch.einsum("oik,kabt->oiabt", layer.weight, hexagonal_kernels(*names))
    out = torch.zeros(len(x), layer.out_channels, maps.shape[2], grid.num_vertices, dtype=F64)
    for p in range(12, grid.num_vertices):
        total = layer.bias[:, None] + torch.einsum("oiab,nib->noa", maps[..., 0], x[..., p])
        for d in range(6):
            q, g = int(grid.neighbours[p, d]), int(grid.transports[p, d])
            fibre = x[..., q].roll(g, -1)
            if q < 12 and x.shape[2] == 6:
                fibre = torch.zeros_like(fibre)
            total = total + torch.einsum("oiab,nib->noa", maps[..., 1 + d], fibre)
        out[..., p] = total
    return out


@pairs
@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("gauged", [False, True])
def test_it_is_the_sum_over_neighbours(level, gauged, fibre_in, fibre_out):
    grid = grid_of(level).turned(turns(grid_of(level)) * int(gauged))
    layer, x = conv(grid, fibre_in, fibre_out), field(level, fibre_in)
    out = layer(x)
    assert relative(out, reference(layer, grid, x, (fibre_in, fibre_out))) < 1e-14
    assert out[..., 12:].std() > 0.1 and not out[..., :12].any()


@levels
@pairs
def test_it_commutes_with_the_sixty_rotations(level, fibre_in, fibre_out):
    grid, x = grid_of(level), field(level, fibre_in, batch=1)
    layer = conv(grid, fibre_in, fibre_out)
    out = layer(x)
    assert worst(layer, x) < 1e-12
    assert torch.equal(rotated(x)[17], grid.act(SIXTY[17], x))
    assert min(relative(moved, out) for moved in rotated(out)[1:]) > 0.1


@levels
@pytest.mark.parametrize("fibre_out", list(FIBRES))
def test_without_transport_it_does_not(level, fibre_out):
    broken = conv(grid_of(level), "regular", fibre_out, transport=False)
    assert worst(broken, field(level, "regular", batch=1)) > 0.1


@pairs
def test_single_precision(fibre_in, fibre_out):
    x, layer = (
        field(3, fibre_in).float(),
        conv(grid_of(3), fibre_in, fibre_out, dtype=torch.float32),
    )
    assert layer(x).dtype == torch.float32
    assert worst(layer, x) < 2e-6


@levels
@pairs
@seeds
def test_it_does_not_see_frames(level, fibre_in, fibre_out, seed):
    grid, x = grid_of(level), field(level, fibre_in, batch=1)
    layer, by = conv(grid, fibre_in, fibre_out), turns(grid, seed)
    turned = conv(grid.turned(by), fibre_in, fibre_out)
    seen = grid.in_frames(x, by)
    assert relative(turned(seen), grid.in_frames(layer(x), by)) < 1e-12
    if (fibre_in, fibre_out) != ("scalar", "scalar"):
        assert relative(layer(seen), grid.in_frames(layer(x), by)) > 0.1


def test_inside_a_chart_it_is_the_group_convolution_of_the_hexagonal_plane():
    """sum_y sum_u psi(h^-1 (y - x), h^-1 u) f(y, u), with psi the first row of the kernels."""
    grid, x = grid_of(3), field(3, "regular", batch=1, channels=1)
    layer = busy(IcosahedralConv(1, 1, grid, bias=False, dtype=F64))
    psi = torch.einsum(
        "k,kbt->bt", layer.weight[0, 0], hexagonal_kernels("regular", "regular")[:, 0]
    )
    f, out = x[0, 0][:, grid.charts[2]], layer(x)[0, 0][:, grid.charts[2]]
    for row, column in ((2, 3), (4, 9), (5, 6)):
        for h in range(6):
            total = psi[:, 0].roll(h) @ f[:, row, column]
            for d, (down, right) in enumerate(STEPS):
                turned_back = psi[:, 1 + (d - h) % 6].roll(h)
                total = total + turned_back @ f[:, row + down, column + right]
            assert (total - out[h, row, column]).abs() < 1e-13


def test_a_scalar_is_read_at_corners_and_a_regular_field_is_not():
    grid = grid_of(2)
    for fibre, seen in (("scalar", True), ("regular", False)):
        layer, x = conv(grid, fibre, "regular"), field(2, fibre)
        changed = torch.cat([x[..., :12] + 1, x[..., 12:]], -1)
        assert torch.equal(layer(changed), layer(x)) != seen


def test_weights_keep_the_variance_of_white_fields():
    torch.manual_seed(0)
    for names in PAIRS:
        layer = IcosahedralConv(32, 32, grid_of(3), fibre_in=names[0], fibre_out=names[1])
        out = layer(torch.randn(4, 32, FIBRES[names[0]], 642))
        assert 0.8 < out[..., 12:].var() < 1.25


@pairs
def test_the_bias_is_as_wide_as_that_of_a_convolution_with_seven_taps(fibre_in, fibre_out):
    torch.manual_seed(0)
    layer = IcosahedralConv(3, 256, grid_of(1), fibre_in=fibre_in, fibre_out=fibre_out)
    bound = nn.Conv1d(3 * FIBRES[fibre_in], 256, 7).weight[0].numel() ** -0.5
    assert 0.9 * bound < layer.bias.abs().max() <= bound


# --- pooling and batch norm ---------------------------------------------------------------------


@pytest.mark.parametrize("level", [2, 3, 4])
@fibres
def test_pooling_commutes_with_rotations_and_frames(level, fibre):
    fine, x = grid_of(level), field(level, fibre, batch=1)
    coarse, pool = fine.coarser(), IcosahedralPool(fine, fibre=fibre)
    out = pool(x)
    assert out.shape[-1] == coarse.num_vertices == (fine.num_vertices - 2) // 4 + 2
    assert not out[..., :12].any() and out[..., 12:].std() > 0.1
    assert worst(pool, x) < 1e-12
    by = turns(fine)
    turned = IcosahedralPool(fine.turned(by), fibre=fibre)(fine.in_frames(x, by))
    assert relative(turned, coarse.in_frames(out, by[: coarse.num_vertices])) < 1e-12


@fibres
def test_pooling_by_hand(fibre):
    grid, x = grid_of(2), field(2, fibre)
    out = IcosahedralPool(grid, fibre=fibre)(x)
    for p in (12, 20, 41):
        total = x[..., p]
        for q, g in zip(grid.neighbours[p].tolist(), grid.transports[p].tolist(), strict=True):
            total = total + x[..., q].roll(g, -1)
        assert relative(out[..., p], total / 7) < 1e-14


@fibres
def test_maxima_over_squares_of_a_chart_do_not_commute(fibre):
    fine, x = grid_of(3), field(3, fibre, batch=1)
    coarse = fine.coarser()

    def squares(f: Tensor) -> Tensor:
        pooled = nn.functional.max_pool2d(f[..., fine.charts].flatten(0, 3), 2)
        out = torch.zeros(*f.shape[:-1], coarse.num_vertices, dtype=F64)
        out[..., coarse.charts] = pooled.reshape(*f.shape[:-1], *coarse.charts.shape)
        return out

    assert worst(squares, x) > 0.1


def test_batch_norm_leaves_corners_out():
    norm = IcosahedralBatchNorm(2, momentum=1.0, dtype=F64)
    x = 3 + 2 * field(1, "regular", batch=4)
    x[..., :12] = 1e3
    out = norm(x)
    inner = x[..., 12:].transpose(0, 1).flatten(1)
    assert not out[..., :12].any()
    assert out[..., 12:].mean((0, 2, 3)).abs().max() < 1e-12
    assert (out[..., 12:].var((0, 2, 3), correction=0) - 1).abs().max() < 1e-4
    assert relative(norm.norm.running_mean, inner.mean(1)) < 1e-12
    assert relative(norm.norm.running_var, inner.var(1)) < 1e-12
    assert relative(norm.eval()(x), out) < 1e-2


@pytest.mark.parametrize("options", [{}, {"eps": 1e-3}], ids=["default", "wide"])
def test_batch_norm_of_small_fields_by_hand(options):
    norm = IcosahedralBatchNorm(2, dtype=F64, **options)
    x = 3e-3 * field(1, "regular", batch=4)
    inner = x[..., 12:]
    var, mean = torch.var_mean(inner, dim=(0, 2, 3), correction=0, keepdim=True)
    expected = (inner - mean) / (var + options.get("eps", 1e-5)).sqrt()
    assert relative(norm(x)[..., 12:], expected) < 1e-12


@seeds
def test_batch_norm_commutes_with_rotations_and_frames(seed):
    grid, x = grid_of(2), field(2, "regular", seed=seed)
    by = turns(grid, seed)
    for mode in (True, False):
        norm = busy(IcosahedralBatchNorm(2, dtype=F64)).train(mode)
        out = norm(x)
        assert relative(norm(grid.act(SIXTY[17], x)), grid.act(SIXTY[17], out)) < 1e-12
        assert relative(norm(grid.in_frames(x, by)), grid.in_frames(out, by)) < 1e-12


# --- networks -----------------------------------------------------------------------------------

OPTIONS = {
    "regular": {},
    "mean": {"reduce": "mean"},
    "scalar": {"fibre": "scalar"},
    "two levels down": {"pool_after": (0, 1)},
    "no pooling": {"pool_after": ()},
}
kinds = pytest.mark.parametrize("kind", list(OPTIONS))


def network(grid: IcosahedralGrid, **options) -> IcosahedralCNN:
    """Random weights everywhere, and batch norms that know signals like those they will see."""
    options = {"channels": (4, 5, 6), "dtype": F64} | options
    net = busy(IcosahedralCNN(2, 7, grid, **options)).train()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        net(field(grid.level, "scalar", batch=4, seed=3).to(options["dtype"]))
    return net.eval()


@kinds
@pytest.mark.parametrize("level", [3, 4])
def test_scores_are_invariant_to_the_sixty_rotations_and_to_frames(kind, level):
    grid, x = grid_of(level), field(level, "scalar")
    net, by = network(grid, **OPTIONS[kind]), turns(grid)
    out = net(x)
    assert (out[0] - out[1]).abs().max() > 1e-3 and out.shape == (2, 7)
    assert variance(net, x) < 1e-12
    assert relative(network(grid.turned(by), **OPTIONS[kind])(x), out) < 1e-12
    shuffled = x[..., torch.randperm(x.shape[-1], generator=torch.Generator().manual_seed(0))]
    assert relative(net(shuffled), out) > 1e-3


@kinds
def test_scores_in_train_mode_are_invariant(kind):
    grid, x = grid_of(3), field(3, "scalar")
    assert variance(network(grid, **OPTIONS[kind]).train(), x) < 1e-11


@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_the_readout_by_hand(reduce):
    net, x = network(grid_of(2), reduce=reduce), field(2, "scalar")
    kept = net.layers(x)
    fibres = kept.max(2).values if reduce == "max" else kept.sum(2) / 6
    expected = fibres[..., 12:].mean(2) @ net.head.weight.T + net.head.bias
    assert relative(net(x), expected) < 1e-13


def test_without_transport_scores_are_not():
    grid, x = grid_of(3), field(3, "scalar")
    broken = network(grid, transport=False)
    assert variance(broken, x) > 1e-3
    right = network(grid)
    assert list(right.state_dict()) == list(broken.state_dict())


def test_only_directions_tell_a_mirror_image():
    grid, x = grid_of(3), field(3, "scalar")
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    mirrored = x[..., vertex_permutation(grid.mesh, mirror)]
    assert relative(network(grid)(mirrored), network(grid)(x)) > 1e-3
    isotropic = network(grid, fibre="scalar")
    assert relative(isotropic(mirrored), isotropic(x)) < 1e-12


@seeds
def test_it_learns_what_isotropic_kernels_cannot(seed):
    """A signal or its mirror image."""
    torch.manual_seed(seed)
    grid = grid_of(2)
    signals = torch.randn(4, 1, 1, 162)
    mirror = vertex_permutation(grid.mesh, torch.diag(torch.tensor([-1.0, 1.0, 1.0])))
    x, y = torch.cat([signals, signals[..., mirror]]), torch.arange(8) // 4
    rights = {}
    for fibre, width in (("regular", 4), ("scalar", 16)):
        net = IcosahedralCNN(1, 2, grid, channels=(width, width), fibre=fibre)
        optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(150):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimiser.step()
        moved = grid.act(SIXTY[23], x)
        rights[fibre] = int((net.eval()(moved).argmax(1) == y).sum())
    assert rights == {"regular": 8, "scalar": 4}


# --- life of a layer ----------------------------------------------------------------------------


@both_dtypes
def test_gradients_are_finite_also_at_zero(dtype):
    net = network(grid_of(2), dtype=dtype)
    for scale in (0.0, 1.0):
        x = (scale * field(2, "scalar")).to(dtype).requires_grad_()
        net(x).square().sum().backward()
        assert x.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in net.parameters())
        assert scale == 0 or all(p.grad.any() for p in net.parameters())


def test_gradients_agree_with_differences():
    layer, pool = conv(grid_of(2), "regular", "regular"), IcosahedralPool(grid_of(2))
    x = field(2, "regular", batch=1).requires_grad_()
    direction, weight = random(*x.shape, seed=5), random(1, 3, 6, 42, seed=6)
    (slope,) = torch.autograd.grad((pool(layer(x)) * weight).sum(), x)
    with torch.no_grad():
        h = 1e-3
        ends = [(pool(layer(x + s * h * direction)) * weight).sum() for s in (1, -1)]
        expected = float(ends[0] - ends[1]) / (2 * h)
    assert abs(float((slope * direction).sum()) - expected) < 1e-9 * abs(expected)


def test_copies_and_states():
    net, x = network(grid_of(3)), field(3, "scalar")
    out = net(x)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(x), out)
    again = network(grid_of(3))
    nn.init.zeros_(again.head.weight)
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(x), out)
    assert not any("read" in name or "write" in name for name in net.state_dict())


def test_precision_survives_a_detour():
    net, x = network(grid_of(2)), field(2, "scalar")
    detour = copy.deepcopy(net).float()
    assert detour(x.float()).dtype == torch.float32
    assert relative(detour(x.float()).double(), net(x)) < 1e-5
    back = detour.double()
    back.load_state_dict(net.state_dict())
    assert relative(back(x), net(x)) < 1e-14


def test_meta_device():
    with torch.device("meta"):
        net = IcosahedralCNN(2, 7, grid_of(2), channels=(4, 5, 6), dtype=F64)
        assert net(torch.zeros(2, 2, 1, 162, dtype=F64)).shape == (2, 7)
    filled = net.to_empty(device="cpu")
    filled.load_state_dict(network(grid_of(2)).state_dict())
    x = field(2, "scalar")
    assert torch.equal(filled.eval()(x), network(grid_of(2))(x))


def test_compiled():
    net, x = network(grid_of(2)), field(2, "scalar")
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    assert relative(compiled(x), net(x)) < 1e-13


def test_autocast():
    """What a convolution returns is what autocast asks for."""
    net, x = network(grid_of(2), dtype=torch.float32), field(2, "scalar").float()
    kernel = net.layers[0].kernel()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(x)
        out.float().sum().backward()
        assert torch.equal(net.layers[0].kernel(), kernel)
        assert net.layers[0](x).dtype == torch.bfloat16
    assert relative(out.float(), net(x)) < 0.05
    assert all(p.grad.isfinite().all() for p in net.parameters())


# --- wrong input --------------------------------------------------------------------------------


def test_wrong_fields_are_named():
    grid = grid_of(2)
    good = field(2, "regular")
    layers = {
        "conv": conv(grid, "regular", "regular"),
        "norm": IcosahedralBatchNorm(2, dtype=F64),
        "pool": IcosahedralPool(grid),
    }
    for name, layer in layers.items():
        wrong = [
            (ValueError, good[0]),
            (ValueError, good[None]),
            (ValueError, good[:0]),
            (ValueError, torch.full_like(good, math.inf)),
            (TypeError, good.long()),
            (TypeError, good.numpy()),
            (TypeError, good.to_sparse()),
        ]
        wrong += [(ValueError, good[:, :1]), (TypeError, good.float())] if name != "pool" else []
        wrong += (
            [(ValueError, good[..., :42]), (ValueError, good[:, :, :1])] if name != "norm" else []
        )
        for error, x in wrong:
            with refuses(error, "x"):
                layer(x)
    with refuses(ValueError, "x"):
        layers["conv"](good.to("meta"))
    with refuses(ValueError, "x"):
        layers["norm"](good[..., :12])
    with refuses(ValueError, "x"):
        layers["norm"](good[:, :, :3])
    nan = good.clone()
    nan[0, 0, 0, 50] = math.nan
    for layer in layers.values():
        with refuses(ValueError, "x"):
            layer(nan)


def test_wrong_arguments_are_named():
    grid = grid_of(2)
    for error, argument, made in (
        (TypeError, "grid", lambda: IcosahedralConv(1, 1, 2)),
        (TypeError, "grid", lambda: IcosahedralPool(None)),
        (TypeError, "grid", lambda: IcosahedralCNN(1, 1, 2)),
        (ValueError, "grid", lambda: IcosahedralPool(grid_of(1))),
        (ValueError, "pool_after", lambda: IcosahedralCNN(1, 1, grid, pool_after=(0, 1))),
        (ValueError, "pool_after", lambda: IcosahedralCNN(1, 1, grid_of(1), pool_after=(0,))),
        (ValueError, "in_channels", lambda: IcosahedralConv(0, 1, grid)),
        (TypeError, "out_channels", lambda: IcosahedralConv(1, 1.0, grid)),
        (ValueError, "fibre_in", lambda: IcosahedralConv(1, 1, grid, fibre_in="vector")),
        (ValueError, "fibre_out", lambda: IcosahedralConv(1, 1, grid, fibre_out=6)),
        (ValueError, "fibre", lambda: IcosahedralPool(grid, fibre="vector")),
        (TypeError, "bias", lambda: IcosahedralConv(1, 1, grid, bias=1)),
        (TypeError, "transport", lambda: IcosahedralConv(1, 1, grid, transport="no")),
        (TypeError, "dtype", lambda: IcosahedralConv(1, 1, grid, dtype=torch.int64)),
        (TypeError, "dtype", lambda: IcosahedralBatchNorm(1, dtype=torch.complex64)),
        (ValueError, "channels", lambda: IcosahedralBatchNorm(0)),
        (ValueError, "eps", lambda: IcosahedralBatchNorm(1, eps=0.0)),
        (ValueError, "momentum", lambda: IcosahedralBatchNorm(1, momentum=1.5)),
        (ValueError, "channels", lambda: IcosahedralCNN(1, 1, grid, channels=())),
        (ValueError, "channels", lambda: IcosahedralCNN(1, 1, grid, channels=(1, 0))),
        (TypeError, "channels", lambda: IcosahedralCNN(1, 1, grid, channels=8)),
        (ValueError, "pool_after", lambda: IcosahedralCNN(1, 1, grid, pool_after=(3,))),
        (ValueError, "pool_after", lambda: IcosahedralCNN(1, 1, grid, pool_after=(0, 0))),
        (TypeError, "pool_after", lambda: IcosahedralCNN(1, 1, grid, pool_after=0)),
        (ValueError, "reduce", lambda: IcosahedralCNN(1, 1, grid, reduce="sum")),
        (ValueError, "fibre", lambda: IcosahedralCNN(1, 1, grid, fibre="vector")),
        (ValueError, "in_channels", lambda: IcosahedralCNN(0, 1, grid)),
        (ValueError, "out_channels", lambda: IcosahedralCNN(1, 0, grid)),
    ):
        with refuses(error, argument):
            made()
