"""The CRF as a layer: mean field by loops, permuted pixels, turned pictures, training."""

from __future__ import annotations

import copy

import pytest
import torch
from sklearn.metrics import jaccard_score
from torch import Tensor, nn

from gdl.data.scenes import colour_scenes
from gdl.inference.crf import (
    MeanFieldCRF,
    PixelClassifier,
    SegmentationNet,
    mean_iou,
    train_segmentation,
)
from gdl.inference.kernels import (
    bilateral_kernel,
    normalized_kernel,
    pixel_colours,
    pixel_positions,
    spatial_kernel,
)
from gdl.inference.updates import mean_field
from tests.programs.test_soft_sorting import F64, gap, random
from tests.test_representations import refuses

NAN = float("nan")
ORDERS = pytest.mark.parametrize("order", ["parallel", "damped", "sequential"])


def pictures(height: int = 4, width: int = 5) -> tuple[Tensor, Tensor]:
    return random(2, 3, height, width), random(2, 2, height, width, seed=1)


def trained_like(**arguments) -> MeanFieldCRF:
    """A layer whose parameters are all unlike their first values."""
    layer = MeanFieldCRF(3, dtype=F64, learn_compatibility=True, **arguments)
    with torch.no_grad():
        for k, parameter in enumerate(layer.parameters()):
            parameter += 0.3 * random(*parameter.shape, seed=k)
    return layer


# --- the layer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_it_is_mean_field_by_loops(steps, normalize):
    u, x = pictures()
    layer = trained_like(steps=steps, normalize=normalize)
    smooth, place, colour = layer.log_widths.detach().exp()
    near, alike = spatial_kernel(4, 5, smooth, dtype=F64), bilateral_kernel(x, place, colour)
    if normalize:
        near, alike = normalized_kernel(near), normalized_kernel(alike)
    M = layer.compatibility.detach()
    logits = u
    for _ in range(steps):
        Q = logits.softmax(1).flatten(2)
        votes = layer.weights[0] * torch.einsum("ij,bcj->bci", near, Q)
        votes = votes + layer.weights[1] * torch.einsum("bij,bcj->bci", alike, Q)
        logits = u + torch.einsum("ac,bcj->baj", (M + M.T) / 2, votes).reshape(u.shape)
    assert gap(layer(u, x), logits.log_softmax(1)) < 1e-12
    assert len(layer.path(u, x)) == steps + 1
    assert torch.equal(layer.path(u, x)[-1], layer(u, x))


def test_first_values_are_exact():
    layer = MeanFieldCRF(3, smooth_width=0.1, colour_width=0.3, smooth_weight=0.7, dtype=F64)
    assert gap(layer.log_widths.exp(), torch.tensor([0.1, 3.0, 0.3], dtype=F64)) < 1e-15
    assert gap(layer.weights, torch.tensor([0.7, 3.0], dtype=F64)) < 1e-15


@ORDERS
def test_it_is_mean_field_on_its_field(order):
    u, x = pictures()
    layer = trained_like(steps=3, order=order, damping=0.3)
    found = mean_field(layer.field(u, x), 3, order=order, damping=0.3).marginals
    assert gap(layer(u, x).exp().flatten(2).mT, found) < 1e-12


def test_one_picture_at_a_time():
    u, x = pictures()
    layer = trained_like()
    assert gap(layer(u, x)[1:], layer(u[1:], x[1:])) < 1e-12


def test_without_steps_or_weights_it_is_the_evidence():
    u, x = pictures()
    assert gap(MeanFieldCRF(3, steps=0, dtype=F64)(u, x), u.log_softmax(1)) < 1e-15
    deaf = MeanFieldCRF(3, smooth_weight=0.0, bilateral_weight=0.0, dtype=F64)
    assert gap(deaf(u, x), u.log_softmax(1)) < 1e-12


# --- symmetry -------------------------------------------------------------------------------------


def test_pixels_may_be_permuted():
    """Positions and colours and evidence together; not colours and evidence alone."""
    u, x = pictures()
    layer, order = trained_like(), torch.randperm(20, generator=torch.Generator().manual_seed(0))
    places, colours = pixel_positions(4, 5, dtype=F64), pixel_colours(x)
    K = layer.coupling(places, colours)
    moved = layer.coupling(places[order], colours[:, order])
    assert gap(moved, K[:, order][:, :, order]) < 1e-12
    assert gap(layer.coupling(places, colours[:, order]), K[:, order][:, :, order]) > 0.01


MOVES = {
    "turn": lambda x: torch.rot90(x, 1, (-2, -1)),
    "flip": lambda x: x.flip(-1),
    "half turn": lambda x: torch.rot90(x, 2, (-2, -1)),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("order", ["parallel", "damped"])
def test_turned_pictures_have_turned_answers(name, order):
    u, x = pictures()
    layer, move = trained_like(order=order), MOVES[name]
    assert gap(layer(move(u), move(x)), move(layer(u, x))) < 1e-12
    assert (
        gap(layer(move(u), x if x.shape == move(x).shape else move(x).flip(-1)), move(layer(u, x)))
        > 1e-3
    )


@pytest.mark.parametrize("name", MOVES)
def test_sweeps_go_row_by_row(name):
    u, x = pictures()
    layer, move = trained_like(order="sequential", steps=1), MOVES[name]
    assert gap(layer(move(u), move(x)), move(layer(u, x))) > 1e-4


def test_labels_may_be_renamed():
    u, x = pictures()
    order = [2, 0, 1]
    potts = MeanFieldCRF(3, dtype=F64)
    assert gap(potts(u[:, order], x), potts(u, x)[:, order]) < 1e-12
    partial = trained_like()
    assert gap(partial(u[:, order], x), partial(u, x)[:, order]) > 1e-3


# --- gradients and what a module does -------------------------------------------------------------


@ORDERS
@pytest.mark.parametrize("normalize", [True, False])
def test_gradients_by_differences(normalize, order):
    u, x = pictures(2, 2)
    layer = trained_like(steps=2, order=order, normalize=normalize)
    names = [name for name, _ in layer.named_parameters()]

    def answer(u, x, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, given, (u, x))

    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    assert torch.autograd.gradcheck(answer, (u.requires_grad_(), x.requires_grad_(), *values))


def test_what_a_layer_does():
    layer = MeanFieldCRF(3, steps=2)
    assert repr(layer) == "MeanFieldCRF(classes=3, steps=2, order='parallel', normalize=True)"
    assert torch.equal(layer.compatibility, torch.eye(3))
    learned = {name for name, p in layer.named_parameters() if p.requires_grad}
    assert learned == {"weights", "log_widths"}
    fixed = MeanFieldCRF(3, learn_widths=False, learn_compatibility=True)
    learned = {name for name, p in fixed.named_parameters() if p.requires_grad}
    assert learned == {"weights", "compatibility"}
    u, x = (y.float() for y in pictures())
    other = MeanFieldCRF(3, steps=2, smooth_weight=9.0)
    assert gap(other(u, x), layer(u, x)) > 0.01
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(u, x), layer(u, x))
    assert gap(copy.deepcopy(layer).double()(u.double(), x.double()).float(), layer(u, x)) < 1e-4
    with torch.no_grad():
        layer.weights.zero_()
    layer.reset_parameters()
    assert layer.weights.tolist() == [3, 3]
    meta = MeanFieldCRF(3, device="meta")
    assert meta(u.to("meta"), x.to("meta")).shape == u.shape


def test_pixel_classifier_sees_one_pixel():
    net, (_, x) = PixelClassifier(2, 3, dtype=F64), pictures()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    moved = net(x.flatten(2)[..., order].reshape(x.shape)).flatten(2)
    assert gap(moved, net(x).flatten(2)[..., order]) < 1e-12
    state = torch.random.get_rng_state()
    same, other = PixelClassifier(2, 3, seed=0, dtype=F64), PixelClassifier(2, 3, seed=1, dtype=F64)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(same(x), net(x)) and gap(other(x), net(x)) > 0.01


def test_the_joint_network_is_a_composition():
    _, x = pictures()
    unary, crf = PixelClassifier(2, 3, dtype=F64), trained_like()
    assert torch.equal(SegmentationNet(unary, crf)(x), crf(unary(x), x))
    assert torch.equal(SegmentationNet(unary)(x), unary(x).log_softmax(1))


def test_training():
    x, y = colour_scenes(6, size=8, seed=10)
    nets = [
        SegmentationNet(PixelClassifier(3, 3, seed=10), MeanFieldCRF(3, steps=2)) for _ in (0, 1)
    ]
    before = nets[0](x).detach()
    by_hand = -before.gather(1, y[:, None]).mean()
    how = {"steps": 40, "classes": 3, "lr": 0.03, "batch_size": 6, "progress": False}
    losses = [train_segmentation(net, x, y, **how).step_losses for net in nets]
    assert abs(losses[0][0] - by_hand) < 1e-5 and losses[0] == losses[1]
    assert losses[0][-1] < 0.7 * losses[0][0]
    assert nets[0].crf.weights.tolist() != [3, 3]


# --- scores ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_mean_iou_by_scikit_learn(seed):
    draw = torch.Generator().manual_seed(seed)
    a, b = (torch.randint(0, 4, (3, 5, 5), generator=draw) for _ in (0, 1))
    wanted = jaccard_score(b.flatten(), a.flatten(), average="macro")
    assert abs(mean_iou(a, b, 4) - wanted) < 1e-12
    assert mean_iou(a, b, 9) == mean_iou(a, b, 4)
    order = torch.tensor([2, 3, 0, 1])
    assert abs(mean_iou(order[a], order[b], 4) - wanted) < 1e-12
    assert mean_iou(a, a, 4) == 1 and mean_iou(torch.zeros_like(a), 1 + torch.zeros_like(a), 2) == 0


# --- bad input ------------------------------------------------------------------------------------

LAYER = MeanFieldCRF(3)
U, X = torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4)
Y = torch.zeros(2, 4, 4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (ValueError, "classes", lambda: MeanFieldCRF(1)),
        (TypeError, "classes", lambda: MeanFieldCRF(True)),
        (ValueError, "steps", lambda: MeanFieldCRF(3, steps=-1)),
        (ValueError, "order", lambda: MeanFieldCRF(3, order="any")),
        (ValueError, "damping", lambda: MeanFieldCRF(3, damping=1.0)),
        (ValueError, "smooth_width", lambda: MeanFieldCRF(3, smooth_width=0.0)),
        (ValueError, "colour_width", lambda: MeanFieldCRF(3, colour_width=NAN)),
        (TypeError, "smooth_weight", lambda: MeanFieldCRF(3, smooth_weight="1")),
        (TypeError, "learn_widths", lambda: MeanFieldCRF(3, learn_widths=1)),
        (TypeError, "dtype", lambda: MeanFieldCRF(3, dtype=torch.int64)),
        (TypeError, "unary", lambda: LAYER(U.double(), X)),
        (TypeError, "images", lambda: LAYER(U, X.long())),
        (ValueError, "images", lambda: LAYER(U, X[0])),
        (ValueError, "images", lambda: LAYER(U, X + NAN)),
        (ValueError, "unary", lambda: LAYER(U[:, :2], X)),
        (ValueError, "unary", lambda: LAYER(U[:1], X)),
        (ValueError, "unary", lambda: LAYER(U + NAN, X)),
        (ValueError, "unary", lambda: LAYER(U.mT[:, :, :3], X)),
        (ValueError, "unary", lambda: LAYER(U.to("meta"), X)),
        (
            ValueError,
            "features",
            lambda: LAYER(torch.zeros(1, 3, 200, 200), X.new_zeros(1, 1, 200, 200)),
        ),
        (ValueError, "channels", lambda: PixelClassifier(0, 3)),
        (ValueError, "seed", lambda: PixelClassifier(1, 3, seed=-1)),
        (ValueError, "images", lambda: PixelClassifier(3, 3)(X)),
        (TypeError, "unary", lambda: SegmentationNet(torch.sin)),
        (TypeError, "crf", lambda: SegmentationNet(nn.Identity(), nn.Identity())),
        (TypeError, "labels", lambda: train_segmentation(LAYER, X, Y.float(), steps=1, classes=3)),
        (ValueError, "labels", lambda: train_segmentation(LAYER, X, Y[:1], steps=1, classes=3)),
        (ValueError, "labels", lambda: train_segmentation(LAYER, X, Y + 3, steps=1, classes=3)),
        (TypeError, "predicted", lambda: mean_iou(Y.float(), Y, 3)),
        (ValueError, "truth", lambda: mean_iou(Y, Y - 1, 3)),
        (ValueError, "predicted", lambda: mean_iou(Y[0], Y, 3)),
        (ValueError, "predicted", lambda: mean_iou(Y[:0], Y[:0], 3)),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refuses(error, argument, call):
    with refuses(error, argument):
        call()


def test_weights_that_are_not_finite():
    layer = MeanFieldCRF(3)
    with torch.no_grad():
        layer.log_widths[0] = NAN
    with refuses(ValueError, "widths"):
        layer(U, X)


@pytest.mark.parametrize("name", ["weights", "compatibility"])
def test_trained_to_nothing(name):
    layer = MeanFieldCRF(3)
    with torch.no_grad():
        getattr(layer, name)[0] = NAN
    with refuses(ValueError, "coupling" if name == "weights" else name):
        layer(U, X)


def test_evidence_of_pixels_that_are_not_finite():
    with refuses(ValueError, "images"):
        PixelClassifier(1, 2)(torch.full((1, 1, 2, 2), NAN))
