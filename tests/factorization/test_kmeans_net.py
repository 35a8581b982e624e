"""k-means as a network: the layer is linear, the estimator is scikit-learn's."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gdl import data
from gdl.factorization.kmeans import (
    annealed_lloyd,
    critical_temperature,
    inertia,
    kmeans_plus_plus,
    lloyd,
    lloyd_step,
    soft_lloyd,
    soft_step,
)
from gdl.factorization.kmeans_net import KMeansLayer, KMeansNet
from gdl.training import count_parameters
from studies._autoencoders import ConvAutoencoder, train_autoencoder
from tests.factorization.test_kmeans import blobs, by_sklearn, pixels
from tests.programs.test_soft_sorting import both_dtypes, gap, random
from tests.test_representations import refuses

NAN = float("nan")
modes = pytest.mark.parametrize("mode", ["hard", "soft", "annealed"])


# --- the layer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (7,), (2, 3)], ids=str)
def test_the_layer_is_linear(batch):
    x, w = random(*batch, 3), random(4, 3, seed=1)
    linear = KMeansLayer(w).as_linear()
    assert gap(linear.weight, 2 * w) == 0 and gap(linear.bias, -w.square().sum(-1)) == 0
    z = linear(x)
    assert gap(x.square().sum(-1, keepdim=True) - z, KMeansLayer(w).costs(x)) < 1e-12
    assert torch.equal(KMeansLayer(w).predict(x), z.argmax(-1))
    hard = KMeansLayer(w)(x)
    assert torch.equal(hard.argmax(-1), z.argmax(-1)) and torch.equal(hard.sum(-1), hard.amax(-1))
    assert gap(KMeansLayer(w, 0.7)(x), (z / 0.7).softmax(-1)) < 1e-12


@pytest.mark.parametrize("temperature", [None, 0.5, 10.0], ids=str)
def test_a_gradient_step_of_the_layer_is_lloyds(temperature):
    x, w = blobs()
    layer = KMeansLayer(w, temperature)
    layer.objective(x).backward()
    total = layer(x).detach().sum(0)[:, None]
    moved = w - layer.centres.grad / (2 * total)
    wanted = lloyd_step(x, w)[0] if temperature is None else soft_step(x, w, temperature)
    assert gap(moved, wanted) < 1e-12


def test_soft_tends_to_hard():
    x = pixels()
    w = lloyd(x, kmeans_plus_plus(x, 10, 0)).centres
    hard, gaps = float(inertia(x, w)), []
    for temperature in (1.0, 0.1, 1e-2, 1e-3):
        layer = KMeansLayer(w, temperature)
        gaps.append(float((layer(x) * layer.costs(x)).sum().detach()) - hard)
    assert gaps == sorted(gaps, reverse=True) and gaps[0] > 100
    assert 0 <= gaps[-1] < 1e-5
    assert gap(KMeansLayer(w, 1e-6)(x), KMeansLayer(w)(x)) < 1e-5


def test_gradients_of_the_soft_layer_by_differences():
    x, w = random(5, 3), random(4, 3, seed=1)

    def assign(points, centres):
        layer = KMeansLayer(centres, 2.0)
        return torch.func.functional_call(layer, {"centres": centres}, (points,))

    assert torch.autograd.gradcheck(assign, (x.requires_grad_(), w.requires_grad_()))


@both_dtypes
def test_what_a_layer_does(dtype):
    x, w = blobs(dtype=dtype)
    layer = KMeansLayer(w, 2.0)
    assert count_parameters(layer) == 12 and layer.centres.dtype == dtype
    assert repr(layer) == "KMeansLayer(clusters=4, size=3, temperature=2.0)"
    other = KMeansLayer(torch.zeros_like(w), 2.0)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x)) and torch.equal(copy.deepcopy(layer)(x), layer(x))
    with torch.no_grad():
        layer.centres.zero_()
    assert not torch.equal(w, torch.zeros_like(w))
    for temperature in (None, 2.0):
        assert KMeansLayer(w.to("meta"), temperature)(x.to("meta")).shape == (60, 4)


# --- the estimator --------------------------------------------------------------------------------


def test_hard_is_scikit_learns():
    x = pixels()
    start = x.mean(0) + 0.1 * random(10, 64, seed=5)
    wanted = by_sklearn(x, start)
    for given in (x, x.numpy()):
        net = KMeansNet(10, init=start).fit(given)
        assert type(net.cluster_centers_) is type(net.labels_) is type(given)
        assert np.abs(np.asarray(net.cluster_centers_) - wanted.cluster_centers_).max() < 1e-12
        assert (np.asarray(net.labels_) == wanted.labels_).all()
        assert net.inertia_ == pytest.approx(wanted.inertia_, rel=1e-12)
        assert net.n_iter_ == wanted.n_iter_ and net.converged_
        assert (np.asarray(net.predict(given)) == wanted.predict(x.numpy())).all()
        distances = wanted.transform(x.numpy())
        assert np.abs(np.asarray(net.transform(given)) - distances).max() < 1e-10
        assert net.score(given) == pytest.approx(wanted.score(x.numpy()), rel=1e-12)


def test_modes_are_the_functions():
    x, w = blobs()
    soft = KMeansNet(4, mode="soft", init=w).fit(x)
    temperature = critical_temperature(x) / 10
    assert gap(soft.cluster_centers_, soft_lloyd(x, w, temperature).centres) == 0
    assert soft.layer_.temperature == temperature
    soft = KMeansNet(4, mode="soft", init=w, temperature=3.0, max_steps=7).fit(x)
    assert gap(soft.cluster_centers_, soft_lloyd(x, w, 3.0, most_steps=7).centres) == 0
    assert soft.n_iter_ == 7 and not soft.converged_ and soft.layer_.temperature == 3.0
    annealed = KMeansNet(4, mode="annealed", init=w, temperature=3.0, cooling=7).fit(x)
    wanted = annealed_lloyd(x, w, temperature=3.0, cooling=7)
    assert gap(annealed.cluster_centers_, wanted.centres) == 0
    assert annealed.layer_.temperature is None and annealed.n_iter_ == wanted.steps


def test_starts():
    x, _ = blobs()
    net = KMeansNet(4, seed=3).fit(x)
    wanted = lloyd(x, kmeans_plus_plus(x, 4, 3))
    assert gap(net.cluster_centers_, wanted.centres) == 0
    first, again, other = (KMeansNet(60, init="random", seed=s).fit(x) for s in (0, 0, 1))
    assert first.inertia_ < 1e-28 and torch.equal(first.labels_, again.labels_)
    assert not torch.equal(first.labels_, other.labels_)


@modes
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_labels_ignore_euclidean_motions(mode, seed):
    """Pixels are sixteenths, so that ties are broken first: a reflected tie may fall otherwise."""
    x = pixels()[:300] + 1e-3 * random(300, 64, seed=seed)
    Q, shift = torch.linalg.qr(random(64, 64, seed=seed)).Q, random(64, seed=seed + 1)
    still, moved = (
        KMeansNet(10, mode=mode, cooling=20, seed=seed).fit(y) for y in (x, x @ Q.T + shift)
    )
    assert gap(moved.cluster_centers_, still.cluster_centers_ @ Q.T + shift) < 1e-9
    assert torch.equal(moved.labels_, still.labels_)
    assert torch.equal(moved.predict(x @ Q.T + shift), still.predict(x))


@modes
def test_predictions(mode):
    x, _ = blobs()
    net = KMeansNet(4, mode=mode)
    assert torch.equal(net.fit_predict(x), net.labels_)
    assert torch.equal(net.predict(x), net.labels_)
    assert torch.equal(net.layer_.as_linear()(x).argmax(-1), net.labels_)
    assert gap(net.transform(x), torch.cdist(x, net.cluster_centers_)) < 1e-7
    assert torch.equal(net.fit_transform(x), net.transform(x))
    assert net.transform(x[:1]).shape == (1, 4) and net.predict(x[:1]) == net.labels_[0]
    assert net.score(x) == pytest.approx(-net.inertia_, rel=1e-12)


def test_conventions_of_scikit_learn():
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, w = blobs()
    net = KMeansNet(4, init=w, mode="annealed", cooling=5)
    copied = clone(net.fit(x))
    assert not hasattr(copied, "layer_") and torch.equal(copied.init, w) and copied.cooling == 5
    assert list(net.get_params()) == [
        "clusters", "mode", "temperature", "init", "autoencoder", "max_steps", "cooling", "seed",
    ]  # fmt: skip
    assert net.set_params(clusters=3, init="random") is net and net.fit(x).layer_(x).shape == (
        60,
        3,
    )
    assert repr(KMeansNet(2)).startswith("KMeansNet(clusters=2, mode='hard', temperature=None")
    with refuses(ValueError, "params"):
        net.set_params(k=3)
    pipe = make_pipeline(StandardScaler(), KMeansNet(4, seed=1))
    scaled = StandardScaler().fit_transform(x.numpy())
    wanted = KMeansNet(4, seed=1).fit(scaled)
    assert (pipe.fit_predict(x.numpy()) == wanted.labels_).all()
    assert (pipe.predict(x.numpy()) == wanted.labels_).all()
    assert pipe.score(x.numpy()) == pytest.approx(wanted.score(scaled))
    found = GridSearchCV(KMeansNet(2), {"clusters": [2, 4]}, cv=2).fit(x.numpy())
    assert found.best_params_ == {"clusters": 4}


def test_kinds_of_data():
    x, _ = blobs()
    net = KMeansNet(2).fit([[0], [1], [5], [6]])
    assert net.cluster_centers_.dtype == np.float64 and net.inertia_ == 1
    single = KMeansNet(4).fit(x.numpy().astype(np.float32))
    assert single.cluster_centers_.dtype == np.float32
    assert KMeansNet(1).fit(x).cluster_centers_.shape == (1, 3)
    kept = x.numpy().copy()
    given = x.numpy()
    KMeansNet(4).fit(given)
    assert (given == kept).all()


# --- the autoencoder ------------------------------------------------------------------------------


class Halves(nn.Module):
    """The first two of four pixels are the code, and decoding repeats them, scaled."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def encode(self, images: Tensor) -> Tensor:
        return self.scale * images[:, :2]

    def decode(self, codes: Tensor) -> Tensor:
        return torch.cat([codes, codes], -1)


def test_codes_are_clustered():
    x = random(20, 4, dtype=torch.float32)
    module = Halves()
    net = KMeansNet(3, autoencoder=module).fit(x)
    wanted = KMeansNet(3).fit(0.5 * x[:, :2])
    assert gap(net.cluster_centers_, wanted.cluster_centers_) == 0
    assert torch.equal(net.predict(x), wanted.labels_)
    assert gap(net.transform(x), wanted.transform(0.5 * x[:, :2])) == 0
    assert torch.equal(KMeansNet(3, autoencoder=module).fit(x.double()).labels_, wanted.labels_)
    assert module.scale.grad is None


def test_the_joint_loss_by_hand():
    x = random(20, 4, dtype=torch.float32)
    layer = KMeansLayer(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    module = Halves()
    codes = 0.5 * x[:, :2]
    error = (torch.cat([codes, codes], -1) - x).square().sum(-1).mean()
    cost = torch.cdist(codes, layer.centres.detach()).square().amin(-1).mean()
    given = {"epochs": 1, "batch_size": 20, "lr": 0.01}
    together = train_autoencoder(module, x, layer=layer, weight=3.0, **given)
    assert together.step_losses[0] == pytest.approx(float(error + 3 * cost), rel=1e-5)
    assert module.scale != 0.5 and not bool((layer.centres == layer.centres.round()).any())
    before = layer.centres.detach().clone()
    alone = train_autoencoder(Halves(), x, **given)
    assert alone.step_losses[0] == pytest.approx(float(error), rel=1e-5)
    assert torch.equal(before, layer.centres)


def test_the_convolutional_autoencoder():
    images = data.digits("test")[0][:128]
    module = ConvAutoencoder(8, 5, channels=4)
    codes = module.encode(images)
    assert codes.shape == (128, 5) and module.decode(codes).shape == images.shape
    assert torch.equal(module(images), module.decode(codes))
    same, other = ConvAutoencoder(8, 5, channels=4), ConvAutoencoder(8, 5, channels=4, seed=1)
    assert torch.equal(same(images), module(images)) and not torch.equal(
        other.encode(images), codes
    )
    state = torch.get_rng_state()
    assert ConvAutoencoder(28, 10)(torch.zeros(2, 1, 28, 28)).shape == (2, 1, 28, 28)
    assert torch.equal(torch.get_rng_state(), state)
    losses = train_autoencoder(module, images, epochs=30, lr=1e-2).epoch_losses
    assert losses[-1] < 0.8 * losses[0]


# --- wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "argument"),
    [
        ({"clusters": 0}, ValueError, "clusters"),
        ({"clusters": 61}, ValueError, "clusters"),
        ({"clusters": 2.0}, TypeError, "clusters"),
        ({"clusters": True}, TypeError, "clusters"),
        ({"mode": "fuzzy"}, ValueError, "mode"),
        ({"init": "best"}, ValueError, "init"),
        ({"init": None}, TypeError, "init"),
        ({"init": torch.zeros(3, 3)}, ValueError, "init"),
        ({"init": torch.full((4, 3), NAN)}, ValueError, "init"),
        ({"init": np.array([["a"]])}, TypeError, "init"),
        ({"temperature": 0.0}, ValueError, "temperature"),
        ({"temperature": "hot"}, TypeError, "temperature"),
        ({"max_steps": 0}, ValueError, "max_steps"),
        ({"mode": "annealed", "cooling": 0}, ValueError, "cooling"),
        ({"seed": -1}, ValueError, "seed"),
        ({"init": "random", "seed": 0.5}, TypeError, "seed"),
        ({"autoencoder": "conv"}, TypeError, "autoencoder"),
        ({"autoencoder": nn.Linear(3, 2)}, TypeError, "autoencoder"),
    ],
    ids=range(18),
)
def test_wrong_arguments(given, error, argument):
    net = KMeansNet(**({"clusters": 4} | given))
    with refuses(error, argument):
        net.fit(blobs()[0])


def test_wrong_data():
    x, _ = blobs()
    net = KMeansNet(4)
    for method in (net.predict, net.transform, net.score):
        with pytest.raises(RuntimeError, match=r"^KMeansNet: expected a call of fit"):
            method(x)
    net.fit(x)
    for wrong, error in [
        (x.long(), TypeError),
        ("points", TypeError),
        (x.numpy() > 0, TypeError),
        (x[0], ValueError),
        (x[:0], ValueError),
        (x * NAN, ValueError),
        (x.numpy() * math.inf, ValueError),
    ]:
        for method in (net.fit, net.predict, net.transform, net.score):
            with refuses(error, "X"):
                method(wrong)
    for wrong, error in [(x[:, :2], ValueError), (x.float(), TypeError)]:
        with refuses(error, "points"):
            net.predict(wrong)
    with refuses(ValueError, "X"):
        KMeansNet(4, mode="soft").fit(torch.ones(5, 2))


def test_wrong_layers_and_modules():
    x, w = blobs()
    for wrong, error in [(w.tolist(), TypeError), (w[0], ValueError), (w * NAN, ValueError)]:
        with refuses(error, "centres"):
            KMeansLayer(wrong)
    for wrong, error in [(0.0, ValueError), (NAN, ValueError), (True, TypeError)]:
        with refuses(error, "temperature"):
            KMeansLayer(w, wrong)
    for wrong, error in [(x[:, :2], ValueError), (x.float(), TypeError), (x * NAN, ValueError)]:
        with refuses(error, "points"):
            KMeansLayer(w)(wrong)
    for given, error, argument in [
        ((6, 2), ValueError, "side"),
        ((0, 2), ValueError, "side"),
        ((8, 0), ValueError, "code"),
        ((8, 2.5), TypeError, "code"),
    ]:
        with refuses(error, argument):
            ConvAutoencoder(*given)
    with refuses(ValueError, "images"):
        ConvAutoencoder(8, 2).encode(torch.zeros(2, 1, 8, 7))
    images = torch.zeros(4, 4)
    with refuses(TypeError, "layer"):
        train_autoencoder(Halves(), images, layer=nn.Linear(2, 2))
    with refuses(ValueError, "weight"):
        train_autoencoder(Halves(), images, weight=-1.0)
    with refuses(TypeError, "images"):
        train_autoencoder(Halves(), images.long())
