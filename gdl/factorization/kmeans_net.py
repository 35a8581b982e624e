r"""k-means as a network: a linear layer under a softmax, an estimator, an autoencoder in front.

Chapter: ``factorization``.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.factorization._checks import checked_points
from gdl.factorization.kmeans import (
    Clusters,
    annealed_lloyd,
    critical_temperature,
    free_energy,
    inertia,
    kmeans_plus_plus,
    lloyd,
    soft_lloyd,
    squared_distances,
)
from gdl.training import predict

MODES = ("hard", "soft", "annealed")
STARTS = ("k-means++", "random")
# Where soft clustering gets no temperature: low enough to tell clusters, not yet hard.
SOFT_SHARE = 1 / 10


class KMeansLayer(nn.Module):
    r"""Clusters as a layer: a softmax over a linear layer whose weights and biases are tied.

        z_j = W_j . x + b_j,   W_j = 2 w_j,   b_j = -|w_j|^2,   so that |x - w_j|^2 = |x|^2 - z_j
        p = softmax(z / temperature), or 1 at the largest z and 0 elsewhere

    Args:
        centres: (k, d), float32 or float64: the start of the parameter.
        temperature: of the softmax, positive, in units of squared distances; None: the largest z.

    Attributes:
        centres: (k, d), the only parameter.

    Shapes: ``layer(points)`` with points ``(..., d)`` in the dtype of the centres returns the
    assignment ``(..., k)``, rows that sum to 1.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes or devices that do not fit, entries that are not finite.

    Law tested: equal to the softmax or the largest of :meth:`as_linear`; soft assignments tend to
    the hard one; a gradient step of :meth:`objective` with rate ``1 / (2 n_j)`` is Lloyd's step.
    Source: Peng, Tsang, Zhou and Zhu, k-meansNet: when k-means meets differentiable programming,
    arXiv:1808.07292. Chapter: ``factorization``.

    >>> layer = KMeansLayer(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
    >>> layer(torch.tensor([[1.0, 0.0], [3.0, 5.0]])).detach()
    tensor([[1., 0.],
            [0., 1.]])
    """

    def __init__(self, centres: Tensor, temperature: float | None = None):
        super().__init__()
        checked_points("centres", centres)
        if temperature is not None:
            temperature = check.positive("temperature", temperature)
        self.temperature = temperature
        self.centres = nn.Parameter(centres.detach().clone())

    def costs(self, points: Tensor) -> Tensor:
        """Squared distances ``|x|^2 - z`` to the centres: ``(..., d)`` to ``(..., k)``."""
        return squared_distances(points, self.centres)

    def forward(self, points: Tensor) -> Tensor:
        # The term |x|^2 is the same for all centres, so that neither softmax nor argmin sees it.
        costs = self.costs(points)
        if self.temperature is not None:
            return (-costs / self.temperature).softmax(-1)
        return torch.zeros_like(costs).scatter(-1, costs.argmin(-1, keepdim=True), 1.0)

    def predict(self, points: Tensor) -> Tensor:
        """The nearest centre of each point: ``(..., d)`` to ``(...)``, int64."""
        return self.costs(points).argmin(-1)

    def objective(self, points: Tensor) -> Tensor:
        """The inertia, or with a temperature the free energy, of points ``(n, d)``: a scalar."""
        if self.temperature is None:
            return inertia(points, self.centres)
        return free_energy(points, self.centres, self.temperature)

    def as_linear(self) -> nn.Linear:
        """The linear layer z with weights ``2 w_j`` and biases ``-|w_j|^2``, no longer tied."""
        centres = self.centres.detach()
        clusters, size = centres.shape
        linear = nn.Linear(size, clusters, device=centres.device, dtype=centres.dtype)
        with torch.no_grad():
            linear.weight.copy_(2 * centres)
            linear.bias.copy_(-centres.square().sum(-1))
        return linear

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        clusters, size = self.centres.shape
        return f"clusters={clusters}, size={size}, temperature={self.temperature}"


class KMeansNet:
    r"""k-means, hard, soft or annealed, with the conventions of a scikit-learn estimator.

    Hard is :func:`~gdl.factorization.lloyd`, soft :func:`~gdl.factorization.soft_lloyd` and
    annealed :func:`~gdl.factorization.annealed_lloyd`. What is fitted is a
    :class:`~gdl.factorization.KMeansLayer`.

    Args:
        clusters: how many.
        mode: ``"hard"``, ``"soft"`` or ``"annealed"``.
        temperature: of soft, or the first one of annealed; None: the
            :func:`~gdl.factorization.critical_temperature`, for soft a tenth of it.
        init: ``"k-means++"``, ``"random"`` (different points), or centres (clusters, d).
        autoencoder: a module with ``encode``, whose outputs ``(n, d)`` are clustered, and which is
            left as it is.
        max_steps: most steps of soft and of Lloyd's algorithm.
        cooling: number of soft steps of annealed.
        seed: of the start.

    Attributes:
        cluster_centers_: (clusters, d). Like all results it is a tensor if the data is one, and
            an array otherwise.
        labels_: (n,), the nearest centre of each point of fit.
        inertia_: sum of squared distances to it.
        n_iter_: steps made.
        converged_: whether the steps came to rest before ``max_steps``.
        layer_: the layer.

    Raises:
        TypeError: at fit, for arguments or data of other types.
        ValueError: at fit, for values that do not fit; more clusters than points among them.
        RuntimeError: results are asked for before fit.

    Law tested: hard from given centres equals scikit-learn's KMeans, centres to 1e-12, same labels;
    works in its clone and Pipeline; predictions are the largest of the linear layer; for data moved
    by a Euclidean motion labels are equal and centres move along, in every mode. Chapter:
    ``factorization``.

    >>> points = np.array([[0.0], [1.0], [5.0], [6.0]])
    >>> net = KMeansNet(2).fit(points)
    >>> sorted(net.cluster_centers_.ravel().tolist()), net.inertia_
    ([0.5, 5.5], 1.0)
    """

    def __init__(
        self,
        clusters: int,
        *,
        mode: str = "hard",
        temperature: float | None = None,
        init: str | Tensor | np.ndarray = "k-means++",
        autoencoder: nn.Module | None = None,
        max_steps: int = 300,
        cooling: int = 150,
        seed: int = 0,
    ):
        # As scikit-learn asks, arguments are kept as they are and judged by fit.
        self.clusters = clusters
        self.mode = mode
        self.temperature = temperature
        self.init = init
        self.autoencoder = autoencoder
        self.max_steps = max_steps
        self.cooling = cooling
        self.seed = seed

    def fit(self, X: Tensor | np.ndarray, y: object = None) -> KMeansNet:
        """Find the centres of X, ``(n, d)``, or of what the autoencoder makes of it."""
        check.one_of("mode", self.mode, MODES)
        check.integer("max_steps", self.max_steps, 1)
        points = self._encoded(X)
        found, temperature = self._search(points, self._first_centres(points))
        self.layer_ = KMeansLayer(found.centres, temperature)
        self.cluster_centers_ = _in_kind(found.centres, X)
        self.labels_ = _in_kind(found.labels, X)
        self.inertia_ = found.inertia
        self.n_iter_, self.converged_ = found.steps, found.converged
        return self

    def predict(self, X: Tensor | np.ndarray) -> Tensor | np.ndarray:
        """The nearest centre of each point: (n,), int64."""
        return _in_kind(self._fitted().predict(self._encoded(X)), X)

    def fit_predict(self, X: Tensor | np.ndarray, y: object = None) -> Tensor | np.ndarray:
        """Fit, and the labels of the points: (n,), int64."""
        return self.fit(X).labels_

    def transform(self, X: Tensor | np.ndarray) -> Tensor | np.ndarray:
        """The distances of the points to the centres: (n, clusters)."""
        return _in_kind(self._fitted().costs(self._encoded(X)).detach().sqrt(), X)

    def fit_transform(self, X: Tensor | np.ndarray, y: object = None) -> Tensor | np.ndarray:
        """Fit, and the distances of the points to the centres: (n, clusters)."""
        return self.fit(X).transform(X)

    def score(self, X: Tensor | np.ndarray, y: object = None) -> float:
        """Minus the sum of squared distances to the nearest centre."""
        costs = self._fitted().costs(self._encoded(X)).detach()
        return -float(costs.amin(-1).sum())

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments by name."""
        return {name: getattr(self, name) for name in _ARGUMENTS}

    def set_params(self, **params: Any) -> KMeansNet:
        """Set arguments by name."""
        for name, value in params.items():
            check.one_of("params", name, _ARGUMENTS)
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"KMeansNet({given})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "layer_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="clusterer",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float64", "float32"]),
        )

    def _search(self, points: Tensor, start: Tensor) -> tuple[Clusters, float | None]:
        """The clusters by this mode, and the temperature of their layer."""
        steps, temperature = self.max_steps, self.temperature
        if temperature is not None:
            check.positive("temperature", temperature)
        if self.mode == "hard":
            return lloyd(points, start, most_steps=steps), None
        if self.mode == "annealed":
            given = {"temperature": temperature, "cooling": self.cooling, "most_steps": steps}
            return annealed_lloyd(points, start, **given), None
        if temperature is None:
            temperature = SOFT_SHARE * critical_temperature(points)
        if temperature == 0:
            raise ValueError("X: expected different points, or a temperature, got equal ones")
        return soft_lloyd(points, start, temperature, most_steps=steps), temperature

    def _first_centres(self, points: Tensor) -> Tensor:
        clusters = check.integer("clusters", self.clusters, 1, len(points))
        if not isinstance(self.init, str):
            centres = checked_points("init", _as_points("init", self.init)).to(points)
            if centres.shape != (clusters, points.shape[1]):
                raise ValueError(
                    f"init: expected shape {(clusters, points.shape[1])}, "
                    f"got {tuple(centres.shape)}"
                )
            return centres
        check.one_of("init", self.init, STARTS)
        if self.init == "k-means++":
            return kmeans_plus_plus(points, clusters, self.seed)
        generator = torch.Generator().manual_seed(check.integer("seed", self.seed, 0, 2**63 - 1))
        return points[torch.randperm(len(points), generator=generator)[:clusters]]

    def _encoded(self, X: Tensor | np.ndarray) -> Tensor:
        """The points that are clustered."""
        if self.autoencoder is None:
            return checked_points("X", _as_points("X", X))
        _check_autoencoder(self.autoencoder)
        images = check.finite("X", _as_points("X", X))
        first = next(self.autoencoder.parameters(), images)
        codes = predict(_Encoder(self.autoencoder), images.to(first.dtype))
        return checked_points("codes of X", codes)

    def _fitted(self) -> KMeansLayer:
        if not hasattr(self, "layer_"):
            raise RuntimeError("KMeansNet: expected a call of fit before this one")
        return self.layer_


_ARGUMENTS = tuple(inspect.signature(KMeansNet).parameters)


class _Encoder(nn.Module):
    """The first half of an autoencoder as a module of its own."""

    def __init__(self, autoencoder: nn.Module):
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, images: Tensor) -> Tensor:
        return self.autoencoder.encode(images)


def _check_autoencoder(autoencoder: nn.Module) -> None:
    encodes = callable(getattr(autoencoder, "encode", None))
    if not (isinstance(autoencoder, nn.Module) and encodes):
        got = type(autoencoder).__name__
        raise TypeError(f"autoencoder: expected a module with encode, got {got}")


def _as_points(name: str, x: Tensor | np.ndarray | Sequence) -> Tensor:
    """A floating-point tensor; arrays of other real numbers become float64."""
    if isinstance(x, Tensor):
        return check.floating(name, x).detach()
    x = np.asarray(x)
    if x.dtype.kind not in "iuf":
        raise TypeError(f"{name}: expected an array of real numbers, got {x.dtype}")
    # Of arrays that are read backwards torch makes no tensors.
    x = np.ascontiguousarray(x)
    return torch.tensor(x if x.dtype in (np.float32, np.float64) else x.astype(np.float64))


def _in_kind(x: Tensor, given: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """A tensor where a tensor was given, else an array."""
    return x if isinstance(given, Tensor) else x.cpu().numpy()
