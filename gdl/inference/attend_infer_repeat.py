r"""Attend, infer, repeat: a picture taken apart into objects, one window after another.

Eslami, Heess, Weber, Tassa, Szepesvari, Kavukcuoglu and Hinton, "Attend, Infer, Repeat", NeurIPS
2016. The number of objects is summed out exactly, or drawn.

Chapter: ``inference``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import gdl._checks as check
from gdl.equivariance import full_precision
from gdl.inference.estimators import (
    count_log_probabilities,
    enumerated,
    mixed,
    sampled,
    without_value,
)
from gdl.inference.spatial_transformer import glimpse, paste
from gdl.training import History, fit

# Places are Gaussian in the logarithm of the scale and in pixels: what one unit of each means.
SCALE_SPREAD = 0.1
PLACE, DECODER_BIAS = 3, -2.0

# Until this share of the steps, this weight of the uniform distribution over counts.
MIXING = ((0.1, 1.0), (0.7, 0.2), (1.0, 0.0))


@dataclass(frozen=True)
class Unfolding:
    """What the guide did, step by step, T of them whether or not it would have stopped.

    Attributes:
        logits: (B, T), of going on.
        where: (B, T, 3), scale, row and column of each window.
        glimpses: (B, T, 1, w, w), what it read.
        windows: (B, T, 1, w, w), what it drew.
        canvases: (B, T + 1, 1, S, S), the drawing after 0 to T steps.
        divergences: (B, T + 1), of place and content from their priors after 0 to T steps.

    Law tested: step by step by hand. Chapter: ``inference``.

    >>> _ = torch.manual_seed(0)
    >>> AttendInferRepeat(6, 3, hidden=8).unfold(torch.zeros(2, 1, 6, 6)).canvases.shape
    torch.Size([2, 4, 1, 6, 6])
    """

    logits: Tensor
    where: Tensor
    glimpses: Tensor
    windows: Tensor
    canvases: Tensor
    divergences: Tensor


@dataclass(frozen=True)
class Inference:
    """What the guide believes of each picture, without noise.

    Attributes:
        probabilities: (B, T + 1), of each count.
        counts: (B,), int64, the most likely one.
        where: (B, T, 3), scale, row and column of the windows; the first ``counts`` of them are
            believed.
        glimpses, windows: (B, T, 1, w, w), read and drawn there.
        reconstruction: (B, 1, S, S), the drawing of the most likely count.

    Law tested: the reconstruction is the sum of the believed windows. Chapter: ``inference``.

    >>> _ = torch.manual_seed(0)
    >>> AttendInferRepeat(6, 3, hidden=8).infer(torch.zeros(2, 1, 6, 6)).probabilities.shape
    torch.Size([2, 4])
    """

    probabilities: Tensor
    counts: Tensor
    where: Tensor
    glimpses: Tensor
    windows: Tensor
    reconstruction: Tensor


class AttendInferRepeat(nn.Module):
    r"""A generative model of pictures with a few objects, and a recurrent guide that inverts it.

    The model draws a count n with probability proportional to ``prior^n``; for each object a place
    and a content, both standard Gaussian; and the picture,

        x = sum_{t <= n} paste(decoder(content_t), where_t) + noise

    The guide reads the picture, or what is left of it, and its own last step, and proposes for
    t = 1 to T whether to go on, a place, and, from the window there, a content.

    Args:
        canvas: S, side of the pictures, in pixels.
        window: w, side of the windows, at most S.
        steps: T, the largest count.
        what: entries of a content.
        hidden: width of the layers.
        noise: standard deviation of a pixel.
        prior: the ratio of the probabilities of n + 1 and n objects, from 0 (excluded) to 1.
        cap: logits of going on are ``cap tanh(logit / cap)``; infinity leaves them free.
        rest: whether each step sees what is left, the picture minus what has been drawn so far,
            in place of the picture.
        device, dtype: of the weights.

    Shapes: ``layer(images)`` with images ``(B, 1, S, S)`` is :meth:`elbo`, ``(B,)``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: sizes, shapes or devices that do not fit, pictures that are not finite.

    Law tested: the enumerated bound is the mean of the sampled one over counts, value and gradient;
    it does not exceed the evidence, integrated by drawing from a small model; shifted places shift
    the drawing, and objects in another order draw the same. Chapter: ``inference``.

    >>> _ = torch.manual_seed(0)
    >>> layer = AttendInferRepeat(12, 5, hidden=16)
    >>> layer(torch.zeros(2, 1, 12, 12)).shape
    torch.Size([2])
    """

    def __init__(
        self,
        canvas: int,
        window: int,
        *,
        steps: int = 3,
        what: int = 8,
        hidden: int = 128,
        noise: float = 0.3,
        prior: float = 0.01,
        cap: float = 4.0,
        rest: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.window = check.integer("window", window, 1)
        self.canvas = check.integer("canvas", canvas, window)
        self.steps = check.integer("steps", steps, 1)
        self.what = check.integer("what", what, 1)
        check.integer("hidden", hidden, 1)
        self.noise = check.positive("noise", noise)
        check.positive("prior", prior)
        self.prior = check.number("prior", prior, 0.0, 1.0)
        self.rest = check.boolean("rest", rest)
        self.cap = math.inf if cap == math.inf else check.positive("cap", cap)
        dtype = check.real_dtype(torch.get_default_dtype() if dtype is None else dtype)
        kind = {"device": device, "dtype": dtype}
        pixels, read = canvas**2, window**2
        self.eye = nn.Linear(pixels, hidden, **kind)
        self.memory = nn.LSTMCell(hidden + PLACE + what, hidden, **kind)
        self.going_on = nn.Linear(hidden, 1, **kind)
        self.place = nn.Linear(hidden, 2 * PLACE, **kind)
        self.content = _perceptron(read, hidden, 2 * what, **kind)
        self.decoder = _perceptron(what, hidden, read, **kind)
        self.baseline = _perceptron(pixels, hidden, 1, **kind)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew from torch's default generator; windows are dark at first."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.LSTMCell)):
                module.reset_parameters()
        nn.init.constant_(self.decoder[-1].bias, DECODER_BIAS)

    def draw(self, contents: Tensor, where: Tensor) -> Tensor:
        r"""The drawing of some objects without noise: the sum over them, in no order.

        Args:
            contents: (B, n, what).
            where: (B, n, 3), scale, row and column.

        Returns:
            (B, 1, S, S).
        """
        check.finite("contents", check.shaped("contents", contents, self.what))
        return paste(self._windows(contents), where, self.canvas).sum(1)

    def place_of(self, latent: Tensor) -> Tensor:
        r"""Scale, row and column of a standard Gaussian place, (..., 3) to (..., 3).

        The scale is ``exp(0.1 latent)``; row and column lie about the middle of the canvas, with a
        third of the room for the window as standard deviation.
        """
        check.finite("latent", check.shaped("latent", latent, PLACE))
        spread = max(self.canvas - self.window, 1) / 3
        middle = (self.canvas - 1) / 2
        scale = (SCALE_SPREAD * latent[..., :1]).exp()
        return torch.cat([scale, middle + spread * latent[..., 1:]], -1)

    def unfold(self, images: Tensor, noise: Tensor | None = None) -> Unfolding:
        r"""All T steps of the guide.

        Args:
            images: (B, 1, S, S), in the dtype of the weights.
            noise: (B, T, 3 + what), standard Gaussian, for places and contents; by default drawn
                from torch's default generator. Zeros give the means.
        """
        images = self._fitting("images", images, (1, self.canvas, self.canvas))
        shape = (self.steps, PLACE + self.what)
        if noise is None:
            noise = torch.randn(len(images), *shape, dtype=images.dtype, device=images.device)
        noise = self._fitting("noise", noise, shape)
        if len(noise) != len(images):
            raise ValueError(f"noise: expected {len(images)} pictures, got {len(noise)}")
        # Places of windows are not to be rounded.
        with full_precision(images.device):
            return self._unfolded(images, noise)

    def _unfolded(self, images: Tensor, noise: Tensor) -> Unfolding:
        left, seen, state = images, self._seen(images), None
        latent = noise.new_zeros(len(images), PLACE + self.what)
        logits, places, glimpses, contents, divergences = [], [], [], [], []
        for epsilon in noise.unbind(1):
            state = self.memory(torch.cat([seen, latent], 1), state)
            logits.append(self.going_on(state[0])[:, 0])
            latent_place, cost_place = _drawn(self.place(state[0]), epsilon[:, :PLACE])
            places.append(self.place_of(latent_place))
            glimpses.append(glimpse(left, places[-1], self.window))
            content, cost = _drawn(self.content(glimpses[-1].flatten(1)), epsilon[:, PLACE:])
            contents.append(content)
            divergences.append(cost_place + cost)
            latent = torch.cat([latent_place, content], 1)
            if self.rest:
                left = left - paste(self._windows(content), places[-1], self.canvas)
                seen = self._seen(left)
        where, windows = torch.stack(places, 1), self._windows(torch.stack(contents, 1))
        return Unfolding(
            self._capped(torch.stack(logits, 1)),
            where,
            torch.stack(glimpses, 1),
            windows,
            _running(paste(windows, where, self.canvas)),
            _running(torch.stack(divergences, 1)),
        )

    def values(self, images: Tensor, unfolding: Unfolding) -> Tensor:
        r"""What each count is worth, without its own probability under the guide: (B, T + 1).

        v_n = log p(x | drawing_n) - divergence_n + log p(n)
        """
        errors = (images[:, None] - unfolding.canvases).square().sum((2, 3, 4))
        pixels = self.canvas**2
        fit = -errors / (2 * self.noise**2) - pixels * math.log(self.noise * math.sqrt(2 * math.pi))
        counts = torch.arange(self.steps + 1, dtype=images.dtype, device=images.device)
        prior = torch.log_softmax(counts * math.log(self.prior), 0)
        return fit - unfolding.divergences + prior

    def elbo(self, images: Tensor, *, mix: float = 0.0, noise: Tensor | None = None) -> Tensor:
        r"""The bound on log p(x) with the count summed out.

            sum_n q(n) (v_n - log q(n))

        Args:
            images: (B, 1, S, S).
            mix: weight of the uniform distribution in q; the bound is one for every weight.
            noise: as in :meth:`unfold`.

        Returns:
            (B,).
        """
        unfolding = self.unfold(images, noise)
        log_q = mixed(count_log_probabilities(unfolding.logits), mix)
        return enumerated(log_q, self.values(images, unfolding))

    def nvil(
        self, images: Tensor, *, noise: Tensor | None = None, counts: Tensor | None = None
    ) -> Tensor:
        r"""The bound at drawn counts, with the score-function gradient and a learned baseline.

        The gradient of the result also fits the baseline, a network of the picture, to the bound
        by least squares.

        Args:
            images: (B, 1, S, S).
            noise: as in :meth:`unfold`.
            counts: (B,), int64; by default drawn from q.

        Returns:
            (B,).
        """
        unfolding = self.unfold(images, noise)
        log_q = count_log_probabilities(unfolding.logits)
        if counts is None:
            counts = torch.multinomial(log_q.detach().exp(), 1)[:, 0]
        # In units of one number for each pixel, so that the baseline's weights need not grow large.
        baseline = self.canvas**2 * self.baseline(images.flatten(1))[:, 0]
        bound = sampled(log_q, self.values(images, unfolding), counts, baseline)
        misfit = ((bound.detach() - baseline) / self.canvas) ** 2
        return bound - without_value(misfit)

    def infer(self, images: Tensor) -> Inference:
        """What the guide believes, with means for places and contents, and without gradients.

        Args:
            images: (B, 1, S, S).
        """
        images = self._fitting("images", images, (1, self.canvas, self.canvas))
        with torch.no_grad():
            zeros = images.new_zeros(len(images), self.steps, PLACE + self.what)
            found = self.unfold(images, zeros)
            probabilities = count_log_probabilities(found.logits).exp()
        counts = probabilities.argmax(1)
        drawing = found.canvases[torch.arange(len(images), device=images.device), counts]
        return Inference(probabilities, counts, found.where, found.glimpses, found.windows, drawing)

    def forward(self, images: Tensor) -> Tensor:
        return self.elbo(images)

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        return (
            f"canvas={self.canvas}, window={self.window}, steps={self.steps}, what={self.what}, "
            f"noise={self.noise}, prior={self.prior}, cap={self.cap}, rest={self.rest}"
        )

    def _seen(self, images: Tensor) -> Tensor:
        return self.eye(images.flatten(1)).relu()

    def _windows(self, contents: Tensor) -> Tensor:
        """Contents (..., what) to windows (..., 1, w, w), from 0 to 1."""
        pixels = self.decoder(contents).sigmoid()
        return pixels.unflatten(-1, (1, self.window, self.window))

    def _capped(self, logits: Tensor) -> Tensor:
        return logits if self.cap == math.inf else self.cap * (logits / self.cap).tanh()

    def _fitting(self, name: str, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A finite tensor of this shape, with an axis before it, as the weights are."""
        weight = self.going_on.weight
        x = check.typed(name, x, weight.dtype)
        if x.device != weight.device:
            raise ValueError(f"{name}: expected device {weight.device}, got {x.device}")
        if x.shape[1:] != shape or not len(x):
            wanted = ", ".join(map(str, shape))
            raise ValueError(f"{name}: expected shape (B, {wanted}), got {tuple(x.shape)}")
        return check.finite(name, x)


def train_air(
    model: AttendInferRepeat,
    images: Tensor,
    *,
    steps: int = 1000,
    objective: str = "enumerated",
    mixing: Sequence[tuple[float, float]] = MIXING,
    lr: float = 1e-3,
    batch_size: int = 64,
    seed: int = 0,
) -> History:
    r"""Raise the bound of a model on some pictures, in place.

    Args:
        model: as it comes from its constructor, or trained before.
        images: (N, 1, S, S), in the dtype of the weights.
        steps: of Adam.
        objective: ``"enumerated"``, the count summed out, or ``"sampled"``, one count drawn.
        mixing: pairs of a share of the steps, increasing to 1, and the weight of the uniform
            distribution over counts until then: first all counts are drawn alike, whatever the
            guide says, and in the end the guide alone. Only for the enumerated objective.
        lr: Adam's learning rate.
        batch_size: pictures a step.
        seed: seeds the order of the pictures and the noise.

    Returns:
        The losses, minus the bound.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: arguments that do not fit, as in :func:`gdl.training.fit`.

    Law tested: equal calls give equal weights; the schedule is followed step by step; the bound
    rises. Chapter: ``inference``.

    >>> _ = torch.manual_seed(0)
    >>> layer = AttendInferRepeat(6, 3, hidden=8)
    >>> history = train_air(layer, torch.zeros(4, 1, 6, 6), steps=3, batch_size=4)
    >>> history.step_losses[-1] < history.step_losses[0]
    True
    """
    if not isinstance(model, AttendInferRepeat):
        raise TypeError(f"model: expected AttendInferRepeat, got {type(model).__name__}")
    check.integer("steps", steps, 1)
    check.one_of("objective", objective, ("enumerated", "sampled"))
    plan = [_phase(pair) for pair in mixing]
    ends = [end for end, _ in plan]
    if not plan or ends != sorted(ends) or ends[-1] != 1.0:
        raise ValueError(f"mixing: expected shares of the steps that increase to 1, got {ends}")
    images = model._fitting("images", images, (1, model.canvas, model.canvas))
    return fit(
        _Loss(model, steps, objective, plan),
        images,
        images.new_zeros(len(images)),
        steps=steps,
        lr=lr,
        batch_size=batch_size,
        loss=lambda output, _: output.mean(),
        seed=seed,
        progress=False,
    )


def window_errors(found: Inference, centres: Tensor, counts: Tensor) -> Tensor:
    r"""How far objects are from the windows that believe in them, in pixels.

    For every object of a picture whose count was inferred rightly: the distance from its centre to
    the nearest centre of a believed window.

    Args:
        found: of N pictures.
        centres: (N, most, 2), floating-point, row and column; those beyond the count are not read.
        counts: (N,), int64, the true ones, at most ``most``.

    Returns:
        (K,), one for each object, picture after picture.

    Raises: TypeError or ValueError for other arguments.

    Law tested: by hand; pictures with a wrong count have no part in it. Chapter: ``inference``.

    >>> _ = torch.manual_seed(0)
    >>> found = AttendInferRepeat(6, 3, hidden=8).infer(torch.zeros(1, 1, 6, 6))
    >>> window_errors(found, torch.zeros(1, 2, 2), torch.tensor([2])).shape
    torch.Size([0])
    """
    if not isinstance(found, Inference):
        raise TypeError(f"found: expected Inference, got {type(found).__name__}")
    pictures = len(found.counts)
    check.finite("centres", check.floating("centres", centres))
    if centres.ndim != 3 or len(centres) != pictures or centres.shape[2] != 2:
        raise ValueError(f"centres: expected ({pictures}, most, 2), got {tuple(centres.shape)}")
    if not isinstance(counts, Tensor) or counts.dtype != torch.int64:
        raise TypeError("counts: expected an int64 tensor")
    most = centres.shape[1]
    if counts.shape != (pictures,) or bool(((counts < 0) | (counts > most)).any()):
        raise ValueError(f"counts: expected ({pictures},) with entries from 0 to {most}")
    distances = (centres[:, :, None] - found.where[:, None, :, 1:]).norm(dim=-1)
    step = torch.arange(distances.shape[2], device=counts.device)
    believed = step < found.counts[:, None]
    nearest = distances.where(believed[:, None], torch.inf).amin(2)
    there = torch.arange(most, device=counts.device) < counts[:, None]
    return nearest[there & (counts == found.counts)[:, None]]


class _Loss(nn.Module):
    """Minus the bound, one training step after another."""

    def __init__(
        self, model: AttendInferRepeat, steps: int, objective: str, plan: list[tuple[float, float]]
    ):
        super().__init__()
        self.model, self.steps, self.objective, self.plan = model, steps, objective, plan
        self.taken = 0

    def forward(self, images: Tensor) -> Tensor:
        share, self.taken = self.taken / self.steps, self.taken + 1
        if self.objective == "sampled":
            return -self.model.nvil(images)
        mix = next(weight for end, weight in self.plan if share < end)
        return -self.model.elbo(images, mix=mix)


def _phase(pair: tuple[float, float]) -> tuple[float, float]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"mixing: expected pairs of a share and a weight, got {pair!r}")
    end, weight = pair
    return check.positive("mixing", end), check.number("mixing", weight, 0.0, 1.0)


def _perceptron(inputs: int, hidden: int, outputs: int, **kind) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden, **kind), nn.ReLU(), nn.Linear(hidden, outputs, **kind)
    )


def _drawn(parameters: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A Gaussian draw from its mean and raw deviation, and its divergence from the standard one."""
    mean, raw = parameters.chunk(2, -1)
    deviation = softplus(raw)
    divergence = (mean**2 + deviation**2 - 1) / 2 - deviation.log()
    return mean + deviation * noise, divergence.sum(-1)


def _running(x: Tensor) -> Tensor:
    """Sums of the first 0, 1, ... entries along the second axis."""
    return torch.cat([torch.zeros_like(x[:, :1]), x.cumsum(1)], 1)
