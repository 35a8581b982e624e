r"""Blind deconvolution read as a network: a picture and its blur from the blurred picture alone.

Chapter: ``diffusion``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.diffusion._shifts import moved_kernels, rolled, whole_mean
from gdl.diffusion.blurring import (
    align,
    estimate_kernels,
    gradients,
    sharpen,
    wiener,
)
from gdl.diffusion.thresholding import generalized_soft_threshold
from gdl.training import History, fit


class BlindDeconvolution(nn.Module):
    r"""Blind deconvolution, unrolled: each iteration has its own weights and its own power.

    On the gradients g of the picture, scaled to a root mean square of 1, from d = g, k = delta::

        d' = argmin |k * d - g|^2 + spread |d - d_old|^2
        d  = argmin |d - d'|^2 / 2 + penalty |d|^power
        k  = argmin mean |k * d - g|^2 + ridge |k - k_old|^2 over the window

    then ``trim`` times its largest entry is taken from all of k, what falls below 0 is set to 0,
    and k is scaled to sum 1 and, together with d, moved by whole pixels so that its mean is in the
    middle. If d is 0 the kernel stays.

    Args:
        iterations: number of layers.
        size: side of the window of the kernel, odd.
        penalty, power, spread, ridge: numbers, or pairs (first, last) between which the layers are
            spaced, geometrically but for the power. All but the power are positive; powers <= 1.
        smoothness: of the restored pictures, positive; that of :func:`~gdl.diffusion.wiener`.
        trim: at least 0, below 1.
        width: of the gate of the thresholds; to be trained, they need one.
        learn_power: whether powers are trained, too.
        device, dtype: of the parameters; float32 or float64.

    Attributes:
        log_penalty, log_spread, log_ridge, power: ``(iterations,)``; log_smoothness: ``()``.

    Shapes: ``layer(images)`` with images (B, 1, H, W) returns kernels (B, size, size);
    ``layer.path(images)`` returns those of all iterations, (iterations + 1, B, size, size), and
    ``layer.restore(images)`` the sharpened images, (B, 1, H, W).

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: other sizes or numbers, images that are constant, not finite, or so small that
            2 size - 1 is more than a side.

    Law tested: a loop of dense solutions to 1e-10; shifts, scales (negative ones, too) and
    constants added to the picture leave the kernel; quarter turns and flips of the picture are
    those of the kernel; gradients by finite differences. Source: the iteration is that of Zuo et
    al., "Learning iteration-wise generalized shrinkage-thresholding operators for blind
    deconvolution", TIP 2016, with other least squares for the kernel. Chapter: ``diffusion``.

    >>> layer = BlindDeconvolution(2, 3, penalty=(1.0, 0.5))
    >>> layer(torch.rand(1, 1, 8, 8)).shape
    torch.Size([1, 3, 3])
    """

    def __init__(
        self,
        iterations: int,
        size: int = 11,
        *,
        penalty: float | tuple[float, float] = (8.0, 0.3),
        power: float | tuple[float, float] = 0.5,
        spread: float | tuple[float, float] = 0.2,
        ridge: float | tuple[float, float] = 0.01,
        smoothness: float = 0.005,
        trim: float = 0.05,
        width: float = 0.0,
        learn_power: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        check.integer("iterations", iterations, 1)
        self.size = _odd("size", size)
        self.trim = check.number("trim", trim, 0)
        if trim >= 1:
            raise ValueError(f"trim: expected less than 1, got {trim}")
        self.width = check.number("width", width, 0)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"dtype: expected torch.float32 or torch.float64, got {dtype!r}")
        check.boolean("learn_power", learn_power)
        self.starts = {
            "log_penalty": _logs("penalty", penalty),
            "log_spread": _logs("spread", spread),
            "log_ridge": _logs("ridge", ridge),
            "power": [check.number("power", p, high=1.0) for p in _ends("power", power)],
        }
        for name in self.starts:
            values = torch.empty(iterations, device=device, dtype=dtype)
            trained = learn_power or name != "power"
            setattr(self, name, nn.Parameter(values, requires_grad=trained))
        self.smoothness = check.positive("smoothness", smoothness)
        self.log_smoothness = nn.Parameter(torch.empty((), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all parameters to their first values."""
        nn.init.constant_(self.log_smoothness, math.log(self.smoothness))
        for name, (first, last) in self.starts.items():
            values = getattr(self, name)
            with torch.no_grad():
                values.copy_(torch.linspace(first, last, len(values), dtype=torch.float64))

    def path(self, images: Tensor) -> Tensor:
        """The kernels of all iterations, the first one, which blurs nothing, included."""
        g = self._edges(images)
        kernel = g.new_zeros(len(g), self.size, self.size)
        kernel[:, self.size // 2, self.size // 2] = 1
        sharp, kernels = g, [kernel]
        for number in range(len(self.power)):
            kernel, sharp = self._layer(number, kernel, sharp, g)
            kernels.append(kernel)
        return torch.stack(kernels)

    def forward(self, images: Tensor) -> Tensor:
        return self.path(images)[-1]

    def restore(self, images: Tensor) -> Tensor:
        """The pictures that :func:`~gdl.diffusion.wiener` finds with the kernels, (B, 1, H, W)."""
        return wiener(images, self(images), self.log_smoothness.exp())

    def _layer(
        self, number: int, kernel: Tensor, sharp: Tensor, g: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One iteration: a new kernel and new sharp gradients."""
        moved = sharpen(g, kernel, self.log_spread[number].exp(), sharp)
        # A power above 1, where training may go, would not be a threshold.
        power = self.power[number].clamp_max(1)
        penalty = self.log_penalty[number].exp()
        sharp = generalized_soft_threshold(moved, penalty, power, width=self.width)
        kernel = estimate_kernels(sharp, g, self.log_ridge[number].exp(), kernel)
        kernel = (kernel - self.trim * kernel.amax((1, 2), keepdim=True)).clamp_min(0)
        mean = whole_mean(kernel)
        return moved_kernels(kernel, mean), rolled(sharp, mean)

    def _edges(self, images: Tensor) -> Tensor:
        """Gradients with root mean square 1."""
        check.typed("images", images, self.power.dtype)
        if images.device != self.power.device:
            raise ValueError(f"images: expected device {self.power.device}, got {images.device}")
        g = gradients(images)
        rms = g.square().mean((1, 2, 3), keepdim=True).sqrt()
        if check.readable(rms) and not check.all_finite(rms):
            raise ValueError("images: expected edges whose squares are finite, got an overflow")
        if check.readable(rms) and not bool((rms > 0).all()):
            raise ValueError("images: expected at least one edge in each, got a constant image")
        return g / rms

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        sizes = f"iterations={len(self.power)}, size={self.size}"
        return f"{sizes}, trim={self.trim}, width={self.width}"


def train_deconvolution(
    model: BlindDeconvolution, images: Tensor, truth: Tensor, **arguments
) -> History:
    r"""Train the schedule of a network in place, for the sharpness of the restored pictures.

    The loss is the mean over pictures of ``10 log10`` of the mean squared error, after
    :func:`~gdl.diffusion.align`: what it falls by, the peak signal-to-noise ratio rises by. The
    kernels are not shown: a kernel that is half right can do more harm than the first one, which
    changes nothing, and squared errors of kernels do not know that.

    Args:
        model: the network; it needs a width to learn its penalties.
        images: blurred, (N, 1, H, W).
        truth: sharp, (N, 1, H, W).
        **arguments: of :func:`gdl.training.fit`, such as ``steps``, ``lr`` and ``seed``.

    Returns:
        The losses.

    Raises: as :func:`gdl.training.fit`.

    Law tested: the loss of the first step is minus the mean peak signal-to-noise ratio; a few steps
    make it smaller. Chapter: ``diffusion``.

    >>> from gdl.data import cartoons, motion_kernels
    >>> from gdl.diffusion import blur
    >>> sharp = cartoons(2, size=16)
    >>> model = BlindDeconvolution(1, 3, width=0.1)
    >>> history = train_deconvolution(
    ...     model, blur(sharp, motion_kernels(2, size=3)), sharp, steps=2, lr=0.1
    ... )
    >>> len(history.step_losses)
    2
    """
    if not isinstance(model, BlindDeconvolution):
        raise TypeError(f"model: expected a BlindDeconvolution, got {type(model).__name__}")
    return fit(_Restored(model), images, truth, loss=_decibels, **arguments)


class _Restored(nn.Module):
    """A network whose output is the restored picture."""

    def __init__(self, model: BlindDeconvolution):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.restore(images)


def _decibels(images: Tensor, truth: Tensor) -> Tensor:
    errors = (align(images, truth) - truth).square().mean((1, 2, 3))
    return 10 * errors.log10().mean()


def _ends(name: str, value: float | tuple[float, float]) -> tuple:
    if not isinstance(value, tuple):
        return (value, value)
    if len(value) != 2:
        raise ValueError(f"{name}: expected a number or a pair, got {len(value)} numbers")
    return value


def _logs(name: str, value: float | tuple[float, float]) -> list[float]:
    return [math.log(check.positive(name, end)) for end in _ends(name, value)]


def _odd(name: str, value: int) -> int:
    check.integer(name, value, 1)
    if value % 2 == 0:
        raise ValueError(f"{name}: expected an odd number, got {value}")
    return value
