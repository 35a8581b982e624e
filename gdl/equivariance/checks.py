r"""Two measurements that a layer must pass: it commutes with the group, and it lies in the span.

Chapter: ``one_equation``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from gdl.equivariance.basis import Basis
from gdl.representations import Representation

Action = Representation | Callable[[Any, Tensor], Tensor]


def equivariance_error(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    act_in: Action,
    act_out: Action,
    elements: Iterable[Any],
) -> float:
    r"""How far ``f`` is from ``f(g x) = g f(x)``: relative, for the worst element.

        max_g |f(g x) - g f(x)| / |g f(x)|

    Args:
        f: any map of tensors, for instance a module in eval mode.
        x: an input without symmetry of its own; several samples are better than one.
        act_in: a Representation (acting on the last axis), or a function ``(g, x) -> g x``.
        act_out: the same for the outputs.
        elements: what the actions take as g; products and inverses, not only generators.

    Returns:
        The error, accumulated in float64 whatever the dtype of f.

    Raises:
        TypeError: ``x`` is no tensor, ``f`` or an action does not return one, or ``elements``
            cannot be iterated.
        ValueError: a value is not finite, an output is zero (a zero map passes every test), no
            elements, or ``act_out`` gives another shape than f.

    Law tested: 0 for every map of the basis, clearly positive for a random one; an output that is
    zero is refused. Chapter: ``one_equation``.

    >>> from gdl.representations import cyclic, regular
    >>> rho = regular(cyclic(5))
    >>> x = torch.arange(5.0, dtype=torch.float64)
    >>> equivariance_error(torch.relu, x, rho, rho, rho.group.elements())
    0.0
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x: expected a tensor, got {type(x).__name__}")
    _require_finite("x", x)
    if not isinstance(elements, Iterable):
        raise TypeError(f"elements: expected several, got {type(elements).__name__}")
    elements = list(elements)
    if not elements:
        raise ValueError("elements: expected at least one group element, got none")
    act_in, act_out = _as_function("act_in", act_in), _as_function("act_out", act_out)
    with torch.no_grad():
        reference = _result("f", f(x.clone()))
        return max(
            _relative(
                _result("f", f(_result("act_in", act_in(g, x.clone())))),
                _result("act_out", act_out(g, reference.clone())),
            )
            for g in elements
        )


def _as_function(argument: str, action: Action) -> Callable[[Any, Tensor], Tensor]:
    if isinstance(action, Representation):
        return action.act
    if not callable(action):
        raise TypeError(f"{argument}: expected an action, got {type(action).__name__}")
    return action


def _result(argument: str, y: Any) -> Tensor:
    if not isinstance(y, Tensor):
        raise TypeError(f"{argument}: expected to return a tensor, got {type(y).__name__}")
    _require_finite(argument, y)
    return y


def _relative(got: Tensor, expected: Tensor) -> float:
    if got.shape != expected.shape:
        shapes = f"{tuple(got.shape)}, got {tuple(expected.shape)}"
        raise ValueError(f"act_out: expected the shape of f(g x), {shapes}")
    wide = torch.promote_types(got.dtype, torch.float64)
    expected = expected.to(wide)
    size = float(torch.linalg.vector_norm(expected))
    if size == 0.0:
        raise ValueError("f: expected a map that does not vanish, f(x) is zero")
    error = float(torch.linalg.vector_norm(got.to(wide) - expected)) / size
    if not math.isfinite(size + error):
        raise ValueError("f: expected values of moderate size, their norm overflows")
    return error


def _require_finite(argument: str, x: Tensor) -> None:
    if not torch.isfinite(x).all():
        raise ValueError(f"{argument}: expected finite values, got NaN or infinity")


def span_residual(maps: Tensor, basis: Basis | Tensor) -> float:
    r"""How far the maps are from the span of the basis: 0 when every map lies in it.

        max_k |W_k - P W_k| / |W_k|      with P the orthogonal projector onto the span

    Args:
        maps: ``(d_out, d_in)`` or ``(k, d_out, d_in)``.
        basis: a ``Basis``, or orthonormal maps ``(r, d_out, d_in)``.

    Raises:
        TypeError: maps that are no real tensor, a basis that is none.
        ValueError: shapes that do not match, no maps, a map that is zero or not finite, a tensor of
            maps that are not orthonormal.

    Law tested: 0 for combinations of the basis, 1 for a map orthogonal to it. Chapter:
    ``one_equation``.

    >>> from gdl.equivariance import equivariant_basis
    >>> from gdl.representations import cyclic, regular
    >>> b = equivariant_basis(regular(cyclic(4)), regular(cyclic(4)))
    >>> span_residual(torch.ones(4, 4), b)
    0.0
    """
    if not isinstance(maps, Tensor):
        raise TypeError(f"maps: expected a tensor, got {type(maps).__name__}")
    if maps.is_complex():
        raise TypeError(f"maps: expected real maps, got {maps.dtype}")
    basis = _as_basis(basis)
    maps = maps if maps.ndim == 3 else maps[None]
    if maps.ndim != 3 or tuple(maps.shape[1:]) != basis.shape or not len(maps):
        raise ValueError(
            f"maps: expected shape (k, {basis.shape[0]}, {basis.shape[1]}), got {tuple(maps.shape)}"
        )
    _require_finite("maps", maps)
    maps = maps.detach().to(torch.float64).cpu()
    lengths = torch.linalg.matrix_norm(maps)
    if (lengths == 0).any():
        raise ValueError("maps: expected maps that are not zero")
    return float((torch.linalg.matrix_norm(maps - basis.project(maps)) / lengths).max())


def _as_basis(basis: Basis | Tensor) -> Basis:
    if isinstance(basis, Basis):
        return basis
    if not isinstance(basis, Tensor) or basis.is_complex():
        got = basis.dtype if isinstance(basis, Tensor) else type(basis).__name__
        raise TypeError(f"basis: expected a Basis or a real tensor, got {got}")
    if basis.ndim != 3:
        raise ValueError(f"basis: expected shape (r, d_out, d_in), got {tuple(basis.shape)}")
    stack = basis.detach().to("cpu", torch.float64)
    gram = stack.flatten(1) @ stack.flatten(1).T
    if not torch.allclose(gram, torch.eye(len(stack), dtype=torch.float64), atol=1e-6):
        raise ValueError("basis: expected orthonormal maps")
    return Basis(stack=stack, method="given")
