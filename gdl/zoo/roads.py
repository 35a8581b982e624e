r"""Averages over a group and over frames: roads to symmetry that take any model.

    f_F(x) = sum_k w_k g_k f(g_k^{-1} x),      (g_k, w_k) in F(x)

The whole group, with equal weights, is the average over a group. A few elements that move along
with the input, ``F(h x) = h F(x)``, are a frame; a single one is a canonicalisation.

Chapter: ``zoo``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.representations import Element

Action = Callable[[Any, Tensor], Tensor]
Frame = Callable[[Tensor], Sequence[tuple[Any, float | Tensor]]]


def _inverse(g: Element) -> Element:
    if not isinstance(g, Element):
        raise TypeError(f"inverse: expected a function for elements of type {type(g).__name__}")
    return g.inverse()


def nothing(g: Any, y: Tensor) -> Tensor:
    """The trivial action ``g y = y``: as an action on outputs it asks for invariance.

    Law tested: returns its argument. Chapter: ``zoo``.

    >>> nothing(2, torch.ones(1))
    tensor([1.])
    """
    return y


class FrameAverage(nn.Module):
    r"""A model averaged over a frame of its input.

        f_F(x) = sum_k w_k g_k f(g_k^{-1} x),      (g_k, w_k) in F(x)

    If the frame moves along with the input, that is ``F(h x)`` has the elements ``h g_k`` with the
    weights ``w_k``, then ``f_F(h x) = h f_F(x)`` for every model f. All moved copies pass the model
    in one batch.

    Args:
        model: any module that maps (B, ...) to (B, ...), each example by itself.
        frame: ``x -> [(g_1, w_1), ...]``. Each g is one element for the whole batch or, if the
            actions take it, a tensor with one for each example; each weight a number or (B,).
        act_in: ``(g, x) -> g x``.
        act_out: ``(g, y) -> g y``; by default outputs are to be invariant.
        inverse: ``g -> g^{-1}``; by default that of :class:`~gdl.representations.Element`.

    Shapes: ``(B, ...) -> (B, ...)``, those of the model.

    Raises:
        TypeError: a model that is no module, actions, inverse or a frame that cannot be called, a
            frame without pairs of an element and a weight, elements that need another inverse than
            the default one, an input or outputs that are not floating-point.
        ValueError: an empty batch or frame, an action that changes the shape, weights of a wrong
            shape or that do not sum to 1, a model that mixes up the batch.

    Law tested: equivariant for each of the frames of this room and any model; equal to the sum
    written as a loop; a frame that stays behind is not equivariant. Source: Puny et al. 2022.
    Chapter: ``zoo``.

    >>> square = FrameAverage(nn.Identity(), lambda x: [(0, 0.5), (2, 0.5)], quarter_turn,
    ...                       inverse=lambda k: -k)
    >>> square(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).tolist()
    [[[[2.5, 2.5], [2.5, 2.5]]]]
    """

    def __init__(
        self,
        model: nn.Module,
        frame: Frame,
        act_in: Action,
        act_out: Action = nothing,
        *,
        inverse: Callable[[Any], Any] = _inverse,
    ):
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TypeError(f"model: expected a module, got {type(model).__name__}")
        called = {"frame": frame, "act_in": act_in, "act_out": act_out, "inverse": inverse}
        for name, function in called.items():
            _require_callable(name, function)
        self.model, self.frame = model, frame
        self.act_in, self.act_out, self.inverse = act_in, act_out, inverse

    def forward(self, x: Tensor) -> Tensor:
        _require_batch(x)
        frame = _pairs(self.frame(x))
        weights = _weights([w for _, w in frame], x)
        moved = [_same_shape("act_in", self.act_in(self.inverse(g), x), x) for g, _ in frame]
        answers = self.model(torch.cat(moved))
        if not isinstance(answers, Tensor) or len(answers) != len(frame) * len(x):
            got = tuple(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
            raise ValueError(f"model: expected {len(frame) * len(x)} outputs, got {got}")
        if not (answers.is_floating_point() or answers.is_complex()):
            raise TypeError(f"model: expected floating-point outputs, got {answers.dtype}")
        parts = answers.unflatten(0, (len(frame), len(x)))
        back = [
            _same_shape("act_out", self.act_out(g, y), y)
            for (g, _), y in zip(frame, parts, strict=True)
        ]
        y = torch.stack(back)
        return (weights.to(y).reshape(*weights.shape, *[1] * (y.ndim - 2)) * y).sum(0)


class GroupAverage(FrameAverage):
    r"""A model averaged over all elements of a finite group, or over samples of a larger one.

        f_G(x) = 1/|G| sum_g g f(g^{-1} x)

    It is the frame average whose frame is the whole group, whatever the input. ``f -> f_G`` is a
    projection: it leaves equivariant maps as they are, and makes all others equivariant. On linear
    maps it is :func:`~gdl.representations.reynolds`.

    Args:
        model: any module that maps (B, ...) to (B, ...), each example by itself.
        elements: the elements g, each as ``act_in``, ``act_out`` and ``inverse`` take it.
        act_in, act_out, inverse: as in :class:`~gdl.zoo.FrameAverage`.

    Raises:
        TypeError, ValueError: as there; no elements, or something that is no collection of them.

    Law tested: equivariant; applied twice as once; on linear maps the Reynolds operator; over N
    equally spaced turns equal to the integral over the circle for polynomials of degree below N,
    and not for degree N. Chapter: ``zoo``.

    >>> from gdl.representations import cyclic
    >>> rho = cyclic(3).defining
    >>> mean = GroupAverage(nn.Linear(3, 3), rho.group.elements(), rho.act, rho.act)
    >>> x, g = torch.randn(5, 3), rho.group.generator(0)
    >>> torch.allclose(mean(rho.act(g, x)), rho.act(g, mean(x)), atol=1e-6)
    True
    """

    def __init__(
        self,
        model: nn.Module,
        elements: Iterable[Any],
        act_in: Action,
        act_out: Action = nothing,
        *,
        inverse: Callable[[Any], Any] = _inverse,
    ):
        if not isinstance(elements, Iterable) or getattr(elements, "ndim", 1) == 0:
            raise TypeError(f"elements: expected several, got {type(elements).__name__}")
        self.elements = tuple(elements)
        if not self.elements:
            raise ValueError("elements: expected at least one, got none")
        super().__init__(model, self._all, act_in, act_out, inverse=inverse)

    def _all(self, x: Tensor) -> list[tuple[Any, float]]:
        return [(g, 1 / len(self.elements)) for g in self.elements]

    def extra_repr(self) -> str:
        """The number of elements, for the printed form."""
        return f"elements={len(self.elements)}"


class ScoredFrame(nn.Module):
    r"""A frame from a score: elements whose undoing makes the input look best.

        w_g(x) = exp(s(g^{-1} x) / T) / sum_h exp(s(h^{-1} x) / T)

    For a temperature T > 0 the frame has all elements of the group, with weights that are as smooth
    as the score. For T = 0 it is a canonicalisation: the one best element, and the first of several
    that are equally good; there the weights jump. The score may be a network that learns with the
    model (only for T > 0: a choice has no gradient).

    Args:
        score: ``(B, ...) -> (B,)``, any function or module.
        elements: ``(m, ...)``, the elements of a finite group as the action takes them.
        act_in: ``(g, x) -> g x`` for one element, and for T = 0 for one an example.
        inverse: ``g -> g^{-1}``, as in :class:`~gdl.zoo.FrameAverage`.
        temperature: T, at least 0.

    Shapes: ``frame(x)`` with x ``(B, ...)`` returns ``[(g, w), ...]``: m elements with weights
    ``(B,)``, or for T = 0 one pair, the elements ``(B, ...)`` and the number 1.

    Raises:
        TypeError: a score or action that cannot be called, elements that are no tensor, an input
            or scores that are not floating-point.
        ValueError: no elements, a negative temperature or one that is 0 in the dtype of the input,
            an action that changes the shape, an empty batch, scores of another shape or not finite.

    Law tested: the weights move along, ``w_{hg}(h x) = w_g(x)``; small temperatures approach T = 0.
    Source: the choice by a best score is one of the two ways of Kaba et al. 2023. Chapter:
    ``zoo``.

    >>> corner = ScoredFrame(lambda x: x[:, 0, 0, 0], torch.arange(4), quarter_turn,
    ...                      inverse=lambda k: -k)
    >>> corner(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    [(tensor([2]), 1.0)]
    """

    def __init__(
        self,
        score: Callable[[Tensor], Tensor],
        elements: Tensor,
        act_in: Action,
        *,
        inverse: Callable[[Any], Any],
        temperature: float = 0.0,
    ):
        super().__init__()
        for name, function in {"score": score, "act_in": act_in, "inverse": inverse}.items():
            _require_callable(name, function)
        if not isinstance(elements, Tensor):
            raise TypeError(f"elements: expected a tensor, got {type(elements).__name__}")
        if elements.ndim == 0 or not len(elements):
            raise ValueError(f"elements: expected shape (m, ...), got {tuple(elements.shape)}")
        self.score, self.act_in, self.inverse = score, act_in, inverse
        self.temperature = check.number("temperature", temperature, 0.0)
        self.register_buffer("elements", elements)

    def scores(self, x: Tensor) -> Tensor:
        """The scores of the input with each element undone, ``(m, B)``."""
        _require_batch(x)
        undone = [_same_shape("act_in", self.act_in(self.inverse(g), x), x) for g in self.elements]
        found = [check.floating("score", self.score(copy)) for copy in undone]
        for s in found:
            if s.shape != x.shape[:1]:
                raise ValueError(f"score: expected shape ({len(x)},), got {tuple(s.shape)}")
        # A score under autocast is rounded; as weights its rounding errors would not sum to 1.
        return check.finite("score", torch.stack(found).to(x.dtype))

    def forward(self, x: Tensor) -> list[tuple[Tensor, float | Tensor]]:
        scores = self.scores(x)
        if self.temperature == 0:
            return [(self.elements[scores.argmax(0)], 1.0)]
        least = torch.finfo(scores.dtype).tiny
        if self.temperature < least:
            raise ValueError(f"temperature: expected 0 or at least {least}, got {self.temperature}")
        # Relative to the best, so that low temperatures cannot overflow.
        weights = ((scores - scores.detach().amax(0)) / self.temperature).softmax(0)
        return list(zip(self.elements, weights, strict=True))

    def extra_repr(self) -> str:
        """The settings, for the printed form."""
        return f"elements={len(self.elements)}, temperature={self.temperature}"


def quarter_turn(k: int | Tensor, x: Tensor) -> Tensor:
    """Turn pictures counter-clockwise by k quarters, as ``torch.rot90`` does.

    Args:
        k: an int for all pictures, or int64 () or (B,), one for each. Any integer; 4 is no turn.
        x: pictures (B, channels, n, n).

    Returns:
        The turned pictures, in the shape of x.

    Raises:
        TypeError: k that is no integer.
        ValueError: pictures that are not square or have other axes, k of another shape.

    Law tested: ``torch.rot90`` picture by picture; turns add up. Chapter: ``zoo``.

    >>> quarter_turn(1, torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).tolist()
    [[[[2.0, 4.0], [1.0, 3.0]]]]
    """
    if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[-1] != x.shape[-2]:
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x: expected shape (B, channels, n, n), got {got}")
    if not isinstance(k, Tensor):
        check.integer("k", k, least=-(2**63), most=2**63 - 1)
        return torch.rot90(x, k % 4, (-2, -1))
    if k.dtype != torch.int64:
        raise TypeError(f"k: expected int64, got {k.dtype}")
    if k.shape not in ((), x.shape[:1]):
        raise ValueError(f"k: expected shape () or ({len(x)},), got {tuple(k.shape)}")
    turns = torch.stack([torch.rot90(x, quarters, (-2, -1)) for quarters in range(4)])
    return turns[k.to(x.device).expand(len(x)) % 4, torch.arange(len(x), device=x.device)]


def _require_callable(name: str, function: Any) -> None:
    if not callable(function):
        raise TypeError(f"{name}: expected a function, got {type(function).__name__}")


def _pairs(frame: Any) -> list[tuple[Any, float | Tensor]]:
    """The elements and weights of a frame, after a look at whether they are there."""
    pairs = list(frame) if isinstance(frame, Iterable) else [frame]
    for pair in pairs:
        if not isinstance(pair, Sequence) or len(pair) != 2:
            got = type(pair).__name__
            raise TypeError(f"frame: expected pairs of an element and a weight, got {got}")
    if not pairs:
        raise ValueError("frame: expected at least one element, got none")
    return pairs


def _require_batch(x: Tensor) -> None:
    check.floating("x", x)
    if x.ndim == 0 or not len(x):
        raise ValueError(f"x: expected shape (B, ...) with B > 0, got {tuple(x.shape)}")


def _same_shape(name: str, moved: Tensor, x: Tensor) -> Tensor:
    if not isinstance(moved, Tensor) or moved.shape != x.shape:
        got = tuple(moved.shape) if isinstance(moved, Tensor) else type(moved).__name__
        raise ValueError(f"{name}: expected to return shape {tuple(x.shape)}, got {got}")
    return moved


def _weights(weights: list[float | Tensor], x: Tensor) -> Tensor:
    """All weights as one tensor, ``(m, B)``, after a look at their shapes and sum."""
    numbers = [w if isinstance(w, Tensor) else check.number("frame", w) for w in weights]
    rows = [torch.as_tensor(w, dtype=x.dtype, device=x.device) for w in numbers]
    for row in rows:
        if row.shape not in ((), x.shape[:1]):
            raise ValueError(f"frame: expected weights () or ({len(x)},), got {tuple(row.shape)}")
    stacked = torch.stack([row.expand(len(x)) for row in rows])
    off = (stacked.detach().sum(0) - 1).abs().max()
    if check.readable(off) and not float(off) < len(rows) * 100 * torch.finfo(x.dtype).eps:
        raise ValueError(f"frame: expected weights that sum to 1, off by {float(off):.2g}")
    return stacked
