r"""Classifiers whose scores do not change when an image is turned (or mirrored) by the group.

The group Z_1 has the identity only: with it the same code is an ordinary CNN.

Chapter: ``groups``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

import gdl.groups._checks as check
from gdl.groups.convolution import GroupConv2d, LiftingConv2d
from gdl.groups.normalisation import FieldBatchNorm2d
from gdl.groups.pooling import FieldPool2d, GroupPool
from gdl.representations import Group, cyclic, regular


class SpatialPool(nn.Module):
    r"""One number for each channel: the largest or the mean over all pixels.

    Every group that permutes the pixels leaves it alone.

    Args:
        reduce: "max" or "mean".

    Shapes: ``(B, C, h, w) -> (B, C)``.

    Raises: ValueError for another reduction; TypeError or ValueError for another input.
    Law tested: invariance under every permutation of the pixels. Chapter: ``groups``.

    >>> import torch
    >>> SpatialPool("mean")(torch.ones(1, 2, 3, 3)).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, reduce: str = "max"):
        super().__init__()
        check.one_of("reduce", reduce, ("max", "mean"))
        self.reduce = reduce

    def forward(self, x: Tensor) -> Tensor:
        check.field("x", x, 1)
        return x.amax((-2, -1)) if self.reduce == "max" else x.mean((-2, -1))


def group_cnn(
    group: Group,
    in_channels: int,
    out_channels: int,
    widths: Sequence[int],
    *,
    kernel_size: int = 3,
    pool_after: Sequence[int] = (),
    readout: str = "max",
) -> nn.Sequential:
    r"""A small classifier: lift, convolve over the group, pool over group and pixels, score.

    Batch norm and a ReLU follow each convolution.

    Args:
        group: Z_n or D_n with n = 1, 2, 4; Z_1 gives a plain CNN.
        in_channels: channels of the image.
        out_channels: scores.
        widths: regular fields after each convolution.
        kernel_size: odd; images are padded with zeros to keep their size.
        pool_after: numbers of the convolutions, from 0, that 2 x 2 maxima follow.
        readout: "max" or "mean", over the pixels.

    Returns:
        A network that maps (B, in_channels, h, w) to (B, out_channels).

    Raises: TypeError or ValueError for other groups, counts, or no width.
    Law tested: the scores are the same for every turned image.
    Chapter: ``groups``.

    >>> import torch
    >>> group_cnn(cyclic(4), 1, 10, (6, 6), pool_after=(0,))(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    if isinstance(widths, str) or not isinstance(widths, Sequence):
        raise TypeError(f"widths: expected a list of ints, got {widths!r}")
    if not widths:
        raise ValueError("widths: expected at least one layer, got none")
    for width in widths:
        check.integer("widths", width, 1)
    check.integer("out_channels", out_channels, 1)
    if check.integer("kernel_size", kernel_size, 1) % 2 == 0:
        raise ValueError(f"kernel_size: expected an odd number, got {kernel_size}")
    _require_layers("pool_after", pool_after, len(widths))
    check.one_of("readout", readout, ("max", "mean"))
    rho = regular(check.group("group", group))
    layers: list[nn.Module] = []
    for number, (fields, width) in enumerate(pairwise((in_channels, *widths))):
        layer = GroupConv2d if number else LiftingConv2d
        layers += [layer(fields, width, kernel_size, group, padding="same", bias=False)]
        layers += [FieldBatchNorm2d(width, rho), nn.ReLU()]
        layers += [FieldPool2d(rho, 2)] if number in pool_after else []
    head = nn.Linear(widths[-1], out_channels)
    return nn.Sequential(*layers, GroupPool(rho), SpatialPool(readout), head)


def p4cnn(
    group: Group | None = None, channels: int = 10, classes: int = 10, *, dropout: float = 0.0
) -> nn.Sequential:
    r"""The network of Cohen and Welling for rotated digits of 28 x 28 pixels.

    Six convolutions of 3 x 3, batch norm and ReLU after each, 2 x 2 maxima after the second, one
    convolution of 4 x 4 to the classes, and the maximum over the group. No padding: 28, 26, 24, 12,
    10, 8, 6, 4, 1 pixels, and every size fits the quarter turns.

    Args:
        group: Z_4 by default, the P4CNN; Z_1 with 20 channels and dropout 0.3 is their Z2CNN.
        channels: fields after each convolution.
        classes: scores.
        dropout: the rate after the convolutions 1, 3, 4, 5 and 6.

    Returns:
        A network that maps (B, 1, 28, 28) to (B, classes).

    Raises: TypeError or ValueError for other groups, counts or rates.
    Law tested: invariance; the number of parameters. Source: Cohen and Welling 2016, section 8.1,
    and the models of their code. Chapter: ``groups``.

    >>> import torch
    >>> p4cnn().eval()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    check.integer("channels", channels, 1)
    check.integer("classes", classes, 1)
    if dropout:
        check.number("dropout", dropout, 0, 1)
    group = cyclic(4) if group is None else check.group("group", group)
    rho = regular(group)
    layers: list[nn.Module] = []
    for number in range(6):
        layer, fields = (GroupConv2d, channels) if number else (LiftingConv2d, 1)
        layers += [layer(fields, channels, 3, group), FieldBatchNorm2d(channels, rho), nn.ReLU()]
        layers += [FieldPool2d(rho, 2)] if number == 1 else []
        layers += [nn.Dropout(dropout)] if dropout and number != 1 else []
    layers += [GroupConv2d(channels, classes, 4, group), GroupPool(rho), SpatialPool()]
    return nn.Sequential(*layers)


def _require_layers(name: str, numbers: Sequence[int], count: int) -> None:
    """Raise unless every entry is the number of a layer, counted from 0."""
    if isinstance(numbers, str) or not isinstance(numbers, Sequence):
        raise TypeError(f"{name}: expected a list of ints, got {numbers!r}")
    for number in numbers:
        if check.integer(name, number, 0) >= count:
            raise ValueError(f"{name}: expected numbers below {count}, got {number}")
