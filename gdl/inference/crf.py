r"""A conditional random field as a layer: mean field steps between the pixels of a picture.

Chapter: ``inference``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl import training
from gdl.inference._steps import ORDERS, belief_path, check_damping
from gdl.inference.fields import PairwiseField
from gdl.inference.kernels import (
    gaussian_kernel,
    normalized_kernel,
    pixel_colours,
    pixel_positions,
)


class MeanFieldCRF(nn.Module):
    r"""Steps of mean field as layers: pixels that are near, or near and alike, vote together.

        K = smooth_weight k_smooth + bilateral_weight k_bilateral
        log Q_{t+1} = log softmax(u + K Q_t M),    Q_0 = softmax(u)

    with Gaussian kernels of positions and of positions and colours. The weights, the widths and,
    if wanted, M are the same in all steps, so the layer is a recurrent network, and may be run with
    another number of steps than it was trained with. It holds ``n^2`` numbers a picture.

    Args:
        classes: number of labels, at least 2.
        steps: of mean field, at least 0.
        smooth_width: of the kernel of positions, in pixels.
        position_width, colour_width: of the kernel of positions and colours.
        smooth_weight, bilateral_weight: the first values of the weights, any sign.
        learn_widths: whether the widths are trained.
        learn_compatibility: whether M is trained; else it stays the identity. Its symmetric part
            is what counts.
        normalize: divide the kernels by the roots of their row sums,
            :func:`~gdl.inference.normalized_kernel`.
        order, damping: as in :func:`~gdl.inference.mean_field`.
        device, dtype: of the parameters.

    Attributes:
        steps: may be changed.
        weights: (2,), smooth and bilateral.
        log_widths: (3,), logarithms of smooth, position and colour width.
        compatibility: (classes, classes).

    Shapes: ``layer(unary, images)`` with unary ``(B, classes, H, W)``, logits, and images
    ``(B, C, H, W)`` returns log-probabilities ``(B, classes, H, W)``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: numbers out of range, shapes or devices that do not fit, entries that are not
            finite, weights trained to something that is not.

    Law tested: it is mean field on ``layer.field(...)``, by loops to 1e-12; pixels may be permuted
    with their positions; turned and flipped pictures give turned and flipped answers to 1e-12;
    gradients by differences. Source: Zheng et al. 2015. Chapter: ``inference``.

    >>> layer = MeanFieldCRF(3, steps=2)
    >>> layer(torch.zeros(1, 3, 4, 5), torch.zeros(1, 1, 4, 5)).exp().sum(1).shape
    torch.Size([1, 4, 5])
    """

    def __init__(
        self,
        classes: int,
        *,
        steps: int = 5,
        smooth_width: float = 1.5,
        position_width: float = 3.0,
        colour_width: float = 0.5,
        smooth_weight: float = 3.0,
        bilateral_weight: float = 3.0,
        learn_widths: bool = True,
        learn_compatibility: bool = False,
        normalize: bool = True,
        order: str = "parallel",
        damping: float = 0.5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.classes = check.integer("classes", classes, 2)
        self.steps = check.integer("steps", steps)
        check.one_of("order", order, ORDERS)
        self.order = order
        self.damping = check_damping(damping)
        self.normalize = check.boolean("normalize", normalize)
        self.first_weights = (
            check.number("smooth_weight", smooth_weight),
            check.number("bilateral_weight", bilateral_weight),
        )
        self.first_widths = (
            check.positive("smooth_width", smooth_width),
            check.positive("position_width", position_width),
            check.positive("colour_width", colour_width),
        )
        check.boolean("learn_widths", learn_widths)
        check.boolean("learn_compatibility", learn_compatibility)
        dtype = check.real_dtype(torch.get_default_dtype() if dtype is None else dtype)
        where = {"device": device, "dtype": dtype}
        self.weights = nn.Parameter(torch.empty(2, **where))
        self.log_widths = nn.Parameter(torch.empty(3, **where), requires_grad=learn_widths)
        self.compatibility = nn.Parameter(
            torch.empty(classes, classes, **where), requires_grad=learn_compatibility
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weights, widths and compatibility to their first values."""
        with torch.no_grad():
            self.weights.copy_(torch.tensor(self.first_weights, dtype=torch.float64))
            self.log_widths.copy_(torch.tensor(self.first_widths, dtype=torch.float64).log())
            nn.init.eye_(self.compatibility)

    def field(self, unary: Tensor, images: Tensor) -> PairwiseField:
        """The field of each picture, pixels row by row; arguments are those of the layer."""
        return PairwiseField(*self._parts(unary, images))

    def coupling(self, positions: Tensor, colours: Tensor) -> Tensor:
        r"""K, ``(B, n, n)``, of points at positions ``(n, 2)`` with colours ``(B, n, C)``."""
        smooth, place, colour = self.log_widths.exp()
        near = gaussian_kernel(positions, smooth)
        scaled = positions.expand(len(colours), -1, -1) / place, colours / colour
        alike = gaussian_kernel(torch.cat(scaled, -1), 1.0)
        if self.normalize:
            near, alike = normalized_kernel(near), normalized_kernel(alike)
        return self.weights[0] * near + self.weights[1] * alike

    def path(self, unary: Tensor, images: Tensor) -> list[Tensor]:
        """The log-probabilities after 0, 1, ..., steps steps, each as the layer returns them."""
        u, coupling, compatibility = self._parts(unary, images)
        check.finite("coupling", coupling)
        check.finite("compatibility", compatibility)
        how = {"order": self.order, "damping": self.damping}
        start = u.log_softmax(-1)
        beliefs = belief_path(u, coupling, compatibility, start, self.steps, **how)
        return [log_q.mT.reshape(unary.shape) for log_q in beliefs]

    def forward(self, unary: Tensor, images: Tensor) -> Tensor:
        return self.path(unary, images)[-1]

    def _parts(self, unary: Tensor, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Evidence (B, n, classes), coupling (B, n, n) and compatibility of checked arguments."""
        unary = check.typed("unary", unary, self.weights.dtype)
        images = check.typed("images", images, self.weights.dtype)
        colours = pixel_colours(images)
        wanted = (len(images), self.classes, *images.shape[-2:])
        if unary.shape != wanted:
            raise ValueError(f"unary: expected shape {wanted}, got {tuple(unary.shape)}")
        for name, x in (("unary", unary), ("images", images)):
            if x.device != self.weights.device:
                raise ValueError(f"{name}: expected device {self.weights.device}, got {x.device}")
        u = check.finite("unary", unary).flatten(2).mT
        positions = pixel_positions(*images.shape[-2:], device=u.device, dtype=u.dtype)
        symmetric = (self.compatibility + self.compatibility.T) / 2
        return u, self.coupling(positions, colours), symmetric

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        return (
            f"classes={self.classes}, steps={self.steps}, order={self.order!r}, "
            f"normalize={self.normalize}"
        )


class PixelClassifier(nn.Module):
    r"""A small network that judges every pixel by its own colour, and sees no other.

        logits = A relu(B colour + b) + a

    Args:
        channels: of the images, at least 1.
        classes: number of labels, at least 2.
        hidden: width, at least 1.
        seed: of the first weights.
        device, dtype: of the parameters.

    Shapes: images ``(B, channels, H, W)`` to logits ``(B, classes, H, W)``.

    Raises: TypeError or ValueError for other arguments.

    Law tested: permuted pixels give permuted logits; equal seeds give equal weights. Chapter:
    ``inference``.

    >>> PixelClassifier(3, 4)(torch.zeros(2, 3, 5, 6)).shape
    torch.Size([2, 4, 5, 6])
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        hidden: int = 32,
        *,
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.channels = check.integer("channels", channels, 1)
        check.integer("classes", classes, 2)
        check.integer("hidden", hidden, 1)
        check.integer("seed", seed, 0, 2**32 - 1)
        where = {"device": device, "dtype": dtype}
        # A layer draws its first weights from the default generator, which is given back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(channels, hidden, 1, **where),
                nn.ReLU(),
                nn.Conv2d(hidden, classes, 1, **where),
            )

    def forward(self, images: Tensor) -> Tensor:
        check.finite("images", check.typed("images", images, self.layers[0].weight.dtype))
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise ValueError(
                f"images: expected shape (B, {self.channels}, H, W), got {tuple(images.shape)}"
            )
        return self.layers(images)


class SegmentationNet(nn.Module):
    r"""Evidence of each pixel by itself, then a CRF between the pixels, as one network.

    Args:
        unary: maps images (B, C, H, W) to logits (B, classes, H, W).
        crf: a :class:`~gdl.inference.MeanFieldCRF`; None leaves the evidence as it is.

    Shapes: images ``(B, C, H, W)`` to log-probabilities ``(B, classes, H, W)``.

    Raises: TypeError for anything but modules.

    Law tested: it is the composition of its parts. Chapter: ``inference``.

    >>> net = SegmentationNet(PixelClassifier(3, 2), MeanFieldCRF(2))
    >>> net(torch.zeros(1, 3, 4, 4)).shape
    torch.Size([1, 2, 4, 4])
    """

    def __init__(self, unary: nn.Module, crf: MeanFieldCRF | None = None):
        super().__init__()
        if not isinstance(unary, nn.Module):
            raise TypeError(f"unary: expected a module, got {type(unary).__name__}")
        if crf is not None and not isinstance(crf, MeanFieldCRF):
            raise TypeError(f"crf: expected a MeanFieldCRF or None, got {type(crf).__name__}")
        self.unary, self.crf = unary, crf

    def forward(self, images: Tensor) -> Tensor:
        logits = self.unary(images)
        return logits.log_softmax(1) if self.crf is None else self.crf(logits, images)


def train_segmentation(
    net: nn.Module, images: Tensor, labels: Tensor, *, steps: int, classes: int, **arguments
) -> training.History:
    r"""Train on pictures with a label for every pixel, by the mean of ``-log Q_i(x_i)``.

    Args:
        net: maps images (B, C, H, W) to log-probabilities or logits (B, classes, H, W).
        images: (N, C, H, W), floating-point, finite.
        labels: (N, H, W), int64, 0 to classes - 1.
        steps: of optimisation, at least 1.
        classes: number of labels.
        arguments: further ones of :func:`gdl.training.fit`, such as lr, batch_size and seed.

    Returns:
        The losses, :class:`gdl.training.History`.

    Raises: TypeError or ValueError for other arguments.

    Law tested: the first loss is the formula; equal calls give equal weights. Chapter:
    ``inference``.

    >>> net = PixelClassifier(1, 2)
    >>> x, y = torch.rand(4, 1, 3, 3), torch.zeros(4, 3, 3, dtype=torch.int64)
    >>> len(train_segmentation(net, x, y, steps=2, classes=2).step_losses)
    2
    """
    check.integer("classes", classes, 2)
    check.floating("images", images)
    _check_labels("labels", labels, classes)
    if labels.ndim != 3 or images.ndim != 4 or images[:, 0].shape != labels.shape:
        raise ValueError(
            "labels: expected shape (N, H, W) for images (N, C, H, W), "
            f"got {tuple(labels.shape)} for {tuple(images.shape)}"
        )
    targets = nn.functional.one_hot(labels, classes).movedim(-1, 1).to(images.dtype)
    return training.fit(net, images, targets, steps=steps, **arguments)


def mean_iou(predicted: Tensor, truth: Tensor, classes: int) -> float:
    r"""Intersection over union, averaged over the classes that occur in either.

        mean_c |predicted = c and truth = c| / |predicted = c or truth = c|

    Args:
        predicted, truth: int64, of one shape, 0 to classes - 1.
        classes: number of labels.

    Returns:
        A number from 0 to 1.

    Raises: TypeError or ValueError for other arguments.

    Law tested: scikit-learn's Jaccard score, averaged over the classes that occur; 1 for equal
    labels; unchanged if labels are renamed. Chapter: ``inference``.

    >>> round(mean_iou(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2), 3)
    0.5
    """
    check.integer("classes", classes, 1)
    for name, labels in (("predicted", predicted), ("truth", truth)):
        _check_labels(name, labels, classes)
    if predicted.shape != truth.shape or not truth.numel():
        raise ValueError(
            f"predicted: expected shape {tuple(truth.shape)}, not empty, "
            f"got {tuple(predicted.shape)}"
        )
    pairs = torch.bincount((truth * classes + predicted).flatten(), minlength=classes**2)
    table = pairs.reshape(classes, classes).double()
    both = table.diagonal()
    either = table.sum(0) + table.sum(1) - both
    return float((both / either)[either > 0].mean())


def _check_labels(name: str, labels: Tensor, classes: int) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        got = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"{name}: expected an int64 tensor, got {got}")
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(
            f"{name}: expected labels 0 to {classes - 1}, "
            f"got {int(labels.min())} to {int(labels.max())}"
        )
