"""DiffusionNet: gradients without frames, exact invariances, derivatives, training."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gdl.geodesics.diffusion_net import (
    DiffusionBlock,
    DiffusionNet,
    GradientFeatures,
    LearnedDiffusion,
    diffuse,
)
from gdl.geodesics.laplacian import vertex_areas
from gdl.geodesics.mesh import Mesh
from gdl.geodesics.operators import SurfaceOperators
from gdl.geodesics.surfaces import bumpy_sphere
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

seeds = pytest.mark.parametrize("seed", [0, 1, 2])
C, OUT, WIDTH = 3, 2, 6


def network(dtype: torch.dtype = F64, **options) -> DiffusionNet:
    return busy(DiffusionNet(C, OUT, width=WIDTH, blocks=2, dtype=dtype, **options))


def features(surface: SurfaceOperators, channels: int = C, dtype: torch.dtype = F64) -> Tensor:
    return random(surface.num_vertices, channels, dtype=dtype)


# --- gradient features --------------------------------------------------------------------------


def gradient_formula(layer: GradientFeatures, x: Tensor, mesh: Mesh) -> Tensor:
    """The feature from gradients in space, face by face, in a frame of an arbitrary angle."""
    A = layer.real.weight.to(torch.complex128)
    if layer.imaginary is not None:
        A = A + 1j * layer.imaginary.weight
    sums = torch.zeros(len(x), x.shape[1], dtype=F64)
    weights = torch.zeros(len(x), 1, dtype=F64)
    for f, corners in enumerate(mesh.faces):
        a, b, c = mesh.vertices[corners]
        first = nn.functional.normalize(b - 0.3 * a - 0.7 * c, dim=0)
        second = torch.linalg.cross(mesh.face_normals[f], first)
        frame = torch.stack([first, second])
        plane = torch.stack([b - a, c - a]) @ frame.T
        u = x[corners]
        slope = torch.linalg.solve(plane, torch.stack([u[1] - u[0], u[2] - u[0]]))
        z = torch.complex(slope[0], slope[1])
        sums[corners] += mesh.face_areas[f] * (z.conj() * (A @ z)).real
        weights[corners] += mesh.face_areas[f]
    return (sums / weights).tanh()


@pytest.mark.parametrize("orientation", [True, False])
@pytest.mark.parametrize("name", ["bumpy", "flat"])
def test_the_feature_is_its_formula(name, orientation):
    surface = surface_of(name)
    layer = busy(GradientFeatures(C, orientation=orientation, dtype=F64), 0.05)
    x = features(surface)
    out = layer(x, surface)
    assert relative(out, gradient_formula(layer, x, mesh_of(name))) < 1e-12
    assert 0.1 < out.std() < 0.9


def test_the_imaginary_part_changes_its_sign_in_a_mirror():
    surface, layer = surface_of("bumpy"), busy(GradientFeatures(C, dtype=F64), 0.05)
    mirrored = SurfaceOperators.from_mesh(mirror(mesh_of("bumpy")), 20)
    nn.init.zeros_(layer.real.weight)
    x = features(surface)
    assert layer(x, surface).std() > 0.1
    assert relative(layer(x, mirrored), -layer(x, surface)) < 1e-12


def test_a_block_is_its_formula():
    surface, block = surface_of("bumpy"), busy(DiffusionBlock(C, dtype=F64))
    x = features(surface)
    v = diffuse(surface, x, block.diffusion.time.detach().abs())
    heard = torch.cat([x, v, block.gradients(v, surface)], dim=1)
    assert block.mlp[0].in_features == 3 * C and len(block.mlp) == 7
    assert relative(block(x, surface), x + block.mlp(heard)) < 1e-14


# --- exact invariances of the network -----------------------------------------------------------


def mirror(mesh: Mesh) -> Mesh:
    """The mirror image, its faces counter-clockwise seen from outside again."""
    return Mesh(mesh.vertices * torch.tensor([-1.0, 1.0, 1.0]), mesh.faces.flip(1))


def turned_corners(mesh: Mesh, seed: int) -> Mesh:
    """The same mesh; the corners of each face begin elsewhere, which changes its frame."""
    generator = torch.Generator().manual_seed(seed)
    shift = torch.randint(3, (mesh.num_faces, 1), generator=generator)
    return Mesh(mesh.vertices, mesh.faces.gather(1, (torch.arange(3) + shift) % 3))


VARIANTS = {
    "spectral": {},
    "implicit": {"method": "implicit"},
    "unoriented": {"orientation": False},
    "without gradients": {"gradient_features": False},
    "faces": {"readout": "faces"},
    "global": {"readout": "global"},
}
variants = pytest.mark.parametrize("variant", list(VARIANTS))


@variants
def test_folding_along_edges_changes_nothing(variant):
    net, x = network(**VARIANTS[variant]), features(surface_of("flat"))
    out = net(x, surface_of("flat"))
    assert variant == "global" or out.std() > 0.1
    assert relative(net(x, surface_of("folded")), out) < 1e-12
    wider = Mesh(mesh_of("flat").vertices * torch.tensor([1.2, 1, 1]), mesh_of("flat").faces)
    assert relative(net(x, SurfaceOperators.from_mesh(wider, 20)), out) > 1e-3


@variants
@seeds
def test_a_permutation_of_the_vertices_permutes(variant, seed):
    mesh, surface, net = mesh_of("bumpy"), surface_of("bumpy"), network(**VARIANTS[variant])
    order = torch.randperm(mesh.num_vertices, generator=torch.Generator().manual_seed(seed))
    renumbered = SurfaceOperators.from_mesh(mesh.permuted(order), 20)
    x, back = features(surface), order.argsort()
    out, expected = net(x[back], renumbered), net(x, surface)
    moves = variant not in ("faces", "global")
    assert relative(out, expected[back] if moves else expected) < 1e-10
    assert relative(net(x, renumbered), expected[back] if moves else expected) > 1e-3


@variants
@seeds
def test_frames_of_faces_do_not_matter(variant, seed):
    net, x = network(**VARIANTS[variant]), features(surface_of("bumpy"))
    other = SurfaceOperators.from_mesh(turned_corners(mesh_of("bumpy"), seed), 20)
    assert relative(other.gradient(x), surface_of("bumpy").gradient(x)) > 0.5
    assert relative(net(x, other), net(x, surface_of("bumpy"))) < 1e-11


def test_the_basis_of_an_eigenspace_does_not_matter():
    surface, net = surface_of("sphere", 9), network()
    turn = torch.linalg.qr(random(5, 5))[0]
    turned = torch.cat([surface.vectors[:, :4], surface.vectors[:, 4:] @ turn], dim=1)
    other, x = dataclasses.replace(surface, vectors=turned), features(surface)
    assert relative(net(x, other), net(x, surface)) < 1e-11


def test_only_a_complex_matrix_sees_a_mirror():
    surface, mirrored = (
        SurfaceOperators.from_mesh(m, 20) for m in (mesh_of("bumpy"), mirror(mesh_of("bumpy")))
    )
    x = features(surface)
    blind, seeing = network(orientation=False), network()
    assert relative(blind(x, mirrored), blind(x, surface)) < 1e-11
    assert relative(seeing(x, mirrored), seeing(x, surface)) > 0.01
    # A mirror is the complex conjugation of every learned matrix.
    conjugate = copy.deepcopy(seeing)
    with torch.no_grad():
        for block in conjugate.blocks:
            block.gradients.imaginary.weight.neg_()
    assert relative(conjugate(x, mirrored), seeing(x, surface)) < 1e-11


def test_readouts_by_hand():
    mesh, surface, x = mesh_of("flat"), surface_of("flat"), features(surface_of("flat"))
    at = {readout: network(readout=readout)(x, surface) for readout in READOUT_SHAPES}
    assert {name: tuple(out.shape) for name, out in at.items()} == READOUT_SHAPES
    assert relative(at["faces"], at["vertices"][mesh.faces].mean(1)) < 1e-13
    by_area = (vertex_areas(mesh)[:, None] * at["vertices"]).sum(0) / mesh.area
    assert relative(at["global"], by_area) < 1e-13
    assert relative(at["vertices"].mean(0), by_area) > 1e-4


READOUT_SHAPES = {"vertices": (54, OUT), "faces": (80, OUT), "global": (OUT,)}


# --- another resolution -------------------------------------------------------------------------


def smooth_network(seed: int) -> DiffusionNet:
    torch.manual_seed(seed)
    net = DiffusionNet(3, 4, dtype=F64)
    for block in net.blocks:
        nn.init.uniform_(block.diffusion.time, 0.01, 0.3)
    return net.eval()


@functools.cache
def at_level(level: int) -> tuple[Mesh, SurfaceOperators]:
    mesh = bumpy_sphere(level, 0.4, seed=0)
    return mesh, SurfaceOperators.from_mesh(mesh, 48)


@seeds
def test_a_finer_mesh_of_the_surface_gives_nearly_the_same(seed):
    net = smooth_network(seed)
    outs = [net(at_level(level)[0].vertices, at_level(level)[1]) for level in (2, 3, 4)]
    fine = outs.pop()
    coarse, middle = (relative(out, fine[: len(out)]) for out in outs)
    # Errors of order h^2: an edge half as long, a quarter of the error.
    assert middle < 0.005 and middle < 0.5 * coarse
    assert relative(outs[1].flip(0), fine[: len(outs[1])]) > 10 * middle


# --- training -----------------------------------------------------------------------------------


@seeds
def test_it_learns_what_a_pointwise_network_cannot(seed):
    """The sign of the function that is left when heat has flown, from a rough start."""
    torch.manual_seed(seed)
    surface = surface_of("torus", 24, torch.float32)
    x = torch.randn(20, surface.num_vertices, 1)
    smooth = [diffuse(surface, given, torch.tensor([0.3])) for given in x]
    labels = [(s > s.mean()).long().flatten() for s in smooth]
    net, alone = DiffusionNet(1, 2, width=16, blocks=2), pointwise_network()
    scores = {}
    for name, model, run in (("net", net, lambda g: net(g, surface)), ("alone", alone, alone)):
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        for step in range(160):
            optimiser.zero_grad()
            cross_entropy(run(x[step % 16]), labels[step % 16]).backward()
            optimiser.step()
        right = [(run(x[i]).argmax(1) == labels[i]).float().mean() for i in range(16, 20)]
        scores[name] = sum(right).item() / 4
    assert scores["net"] > scores["alone"] + 0.15
    assert all((block.diffusion.times() > 0).any() for block in net.blocks)


def pointwise_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
    )


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_training_reaches_every_weight(variant):
    torch.manual_seed(0)
    net = DiffusionNet(C, OUT, width=WIDTH, blocks=2, dropout=0.2, **VARIANTS[variant]).train()
    for block in net.blocks:
        nn.init.constant_(block.diffusion.time, 0.1)
    surface = surface_of("flat", dtype=torch.float32)
    out = net(features(surface, dtype=torch.float32), surface)
    (out * random(*out.shape, seed=3, dtype=torch.float32)).sum().backward()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().max() > 0, name


def test_derivatives_of_the_network():
    surface = surface_of("flat")
    # Smooth activations: differences across the kink of a ReLU are no derivatives.
    net = network()
    for block in net.blocks:
        for index, layer in enumerate(block.mlp):
            if isinstance(layer, nn.ReLU):
                block.mlp[index] = nn.Tanh()
    x = features(surface).requires_grad_()
    names, values = zip(*net.named_parameters(), strict=True)

    def run(x, *values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (x, surface))

    assert torch.autograd.gradcheck(run, (x, *values), fast_mode=True)


def test_dropout_is_for_training():
    surface = surface_of("flat")
    net, x = network(dropout=0.5), features(surface)
    assert torch.equal(net(x, surface), net(x, surface))
    net.train()
    assert relative(net(x, surface), net(x, surface)) > 1e-3


# --- as modules ---------------------------------------------------------------------------------

MODULES = {
    "diffusion": lambda **made: LearnedDiffusion(C, **made),
    "implicit diffusion": lambda **made: LearnedDiffusion(C, method="implicit", **made),
    "gradients": lambda **made: GradientFeatures(C, **made),
    "block": lambda **made: DiffusionBlock(C, **made),
    "network": lambda **made: DiffusionNet(C, OUT, width=WIDTH, blocks=2, **made),
    "faces": lambda **made: DiffusionNet(C, OUT, width=WIDTH, blocks=1, readout="faces", **made),
    "global": lambda **made: DiffusionNet(C, OUT, width=WIDTH, blocks=1, readout="global", **made),
}
modules = pytest.mark.parametrize("name", list(MODULES))


@modules
@both_dtypes
def test_dtypes(name, dtype):
    surface, exact = surface_of("bumpy", dtype=dtype), surface_of("bumpy")
    x = features(surface, dtype=dtype)
    out = busy(MODULES[name](dtype=dtype), 0.2)(x, surface)
    assert out.dtype == dtype
    wide = busy(MODULES[name](dtype=F64), 0.2)(x.double(), exact)
    assert relative(out.double(), wide) < (1e-4 if dtype == torch.float32 else 1e-14)


@modules
def test_copies_compute_the_same(name):
    surface, module = surface_of("bumpy"), busy(MODULES[name](dtype=F64))
    x = features(surface)
    out = module(x, surface)
    loaded = MODULES[name](dtype=F64)
    emptied = MODULES[name](device="meta", dtype=F64).to_empty(device="cpu")
    for twin in (loaded, emptied):
        twin.load_state_dict(module.state_dict())
    for twin in (loaded, emptied, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin.eval()(x, surface), out)


# A sparse factorisation is not compiled.
@pytest.mark.parametrize("name", [name for name in MODULES if name != "implicit diffusion"])
def test_compiled_and_cast_modules(name):
    surface = surface_of("bumpy", dtype=torch.float32)
    module, x = busy(MODULES[name](), 0.2), features(surface, dtype=torch.float32).requires_grad_()
    out, compiled = (
        module(x, surface),
        torch.compile(module, backend="aot_eager", fullgraph=True)(x, surface),
    )
    slopes = [torch.autograd.grad(y.square().sum(), x)[0] for y in (out, compiled)]
    assert relative(compiled, out) < 1e-5 and relative(slopes[1], slopes[0]) < 1e-4
    with torch.autocast("cpu", torch.bfloat16):
        low = module(x, surface)
    assert relative(low.float(), out) < 0.05


# --- bad input ----------------------------------------------------------------------------------


@modules
def test_bad_features_are_refused(name):
    module, surface = busy(MODULES[name](dtype=F64)), surface_of("flat")
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
            module(bad, surface)
    with refuses(TypeError, "surface"):
        module(x, mesh_of("flat"))
    with refuses(TypeError, "surface"):
        module(x, surface_of("flat", dtype=torch.float32))
    with refuses(ValueError, "x"):
        module(x, surface_of("bumpy"))


@pytest.mark.parametrize(
    ("call", "argument", "error"),
    [
        (lambda: GradientFeatures(2.0), "channels", TypeError),
        (lambda: GradientFeatures(2, orientation=1), "orientation", TypeError),
        (lambda: DiffusionBlock(2, gradient_features="yes"), "gradient_features", TypeError),
        (lambda: DiffusionBlock(2, dropout=1.0), "dropout", ValueError),
        (lambda: DiffusionBlock(2, dropout=-0.1), "dropout", ValueError),
        (lambda: DiffusionBlock(2, dtype=torch.int32), "dtype", TypeError),
        (lambda: DiffusionNet(0, 1), "in_channels", ValueError),
        (lambda: DiffusionNet(1, 0), "out_channels", ValueError),
        (lambda: DiffusionNet(1, 1, width=0), "width", ValueError),
        (lambda: DiffusionNet(1, 1, blocks=-1), "blocks", ValueError),
        (lambda: DiffusionNet(1, 1, readout="edges"), "readout", ValueError),
        (lambda: DiffusionNet(1, 1, method="heat"), "method", ValueError),
    ],
)
def test_bad_arguments(call, argument, error):
    with refuses(error, argument):
        call()
