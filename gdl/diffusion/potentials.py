"""Functions of one variable that are learned by their values, and their exact integrals.

An influence function says how strongly the response of a filter pulls on the image, and its
integral, the potential, what the response costs.

Chapter: ``diffusion``.
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check


def influence_knots(count: int, reach: float, *, dtype: torch.dtype | None = None) -> Tensor:
    """Equally spaced points from ``-reach`` to ``reach``, at which the functions are given.

    Args:
        count: how many, odd, at least 3, so that 0 is one of them.
        reach: the largest, positive.
        dtype: of the result, torch's default by default.

    Returns:
        (count,), and ``x[i] = -x[-1 - i]`` exactly.

    Raises: TypeError or ValueError for other arguments.

    Law tested: 0 is in the middle; reversed and negated they are the same. Chapter: ``diffusion``.

    >>> influence_knots(5, 1.0)
    tensor([-1.0000, -0.5000,  0.0000,  0.5000,  1.0000])
    """
    if check.integer("count", count, 3) % 2 == 0:
        raise ValueError(f"count: expected an odd number, got {count}")
    dtype = check.real_dtype(torch.get_default_dtype() if dtype is None else dtype)
    half = count // 2
    return torch.arange(-half, half + 1).to(dtype) * (check.positive("reach", reach) / half)


def influence(responses: Tensor, values: Tensor, reach: float = 1.0) -> Tensor:
    """Apply to each channel its function, linear between its values at equally spaced knots.

        phi_i(z) = sum_j values_ij hat((z - x_j) / h),    hat(t) = max(0, 1 - |t|)

    with knots x_j at distance h; beyond the outermost knots it stays at their values.

    Args:
        responses: (B, n, H, W), floating-point.
        values: (n, knots), the number of knots odd, in the dtype of the responses.
        reach: the outermost knots are at plus and minus this, positive.

    Returns:
        (B, n, H, W).

    Raises: TypeError or ValueError for other arguments.

    Law tested: ``numpy.interp`` to 1e-12; values on a line give a linear function; gradients in
    responses and values are those of finite differences. Chapter: ``diffusion``.

    >>> values = torch.tensor([[0.0, 0.0, 2.0]])
    >>> influence(torch.tensor([-3.0, 0.25, 3.0]).reshape(1, 1, 1, 3), values).flatten()
    tensor([0.0000, 0.5000, 2.0000])
    """
    left, rise, fraction, _ = _located(responses, values, reach)
    return left + rise * fraction


def potential(responses: Tensor, values: Tensor, reach: float = 1.0) -> Tensor:
    """The integrals of the functions of :func:`~gdl.diffusion.influence` from 0.

        psi_i(z) = integral of phi_i from 0 to z,    so that psi_i' = phi_i and psi_i(0) = 0

    Args:
        responses, values, reach: as there.

    Returns:
        (B, n, H, W): quadratic between knots, linear beyond the outermost.

    Raises: TypeError or ValueError for other arguments.

    Law tested: its derivative by autograd is the influence to 1e-12; equal to an integral by
    ``scipy.integrate.quad``. Chapter: ``diffusion``.

    >>> values = torch.tensor([[-1.0, 0.0, 1.0]])
    >>> potential(torch.tensor([-0.5, 0.5, 2.0]).reshape(1, 1, 1, 3), values).flatten()
    tensor([0.1250, 0.1250, 1.5000])
    """
    left, rise, fraction, beyond = _located(responses, values, reach)
    half = values.shape[1] // 2
    areas = torch.cumulative_trapezoid(values, dim=1)
    areas = torch.cat([torch.zeros_like(areas[:, :1]), areas], 1)
    start = _taken(areas - areas[:, half : half + 1], _cells(responses, values, reach)[0])
    within = start + left * fraction + rise * fraction.square() / 2
    return (within + beyond * (left + rise * fraction)) * (reach / half)


def _cells(z: Tensor, values: Tensor, reach: float) -> tuple[Tensor, Tensor, Tensor]:
    """The knot to the left of each response, how far it is past it, and past all knots."""
    half = values.shape[1] // 2
    position = z * (half / reach) + half
    inside = position.clamp(0, 2 * half)
    cell = inside.detach().long().clamp(max=2 * half - 1)
    return cell, inside - cell, position - inside


def _located(z: Tensor, values: Tensor, reach: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The value at the left knot, the rise to the next, the fraction of the way, the rest."""
    _check(z, values, reach)
    cell, fraction, beyond = _cells(z, values, reach)
    return _taken(values, cell), _taken(values.diff(dim=1), cell), fraction, beyond


def _taken(table: Tensor, cell: Tensor) -> Tensor:
    """Entries of row i of the table for channel i."""
    rows = torch.arange(len(table), device=table.device)[:, None, None] * table.shape[1]
    # A gather of one row has a fast transpose, unlike indexing.
    return table.flatten().gather(0, (cell + rows).flatten()).reshape(cell.shape)


def _check(z: Tensor, values: Tensor, reach: float) -> None:
    check.finite("responses", check.floating("responses", z))
    check.finite("values", check.floating("values", values))
    if check.positive("reach", reach) < torch.finfo(z.dtype).tiny * values.shape[-1]:
        raise ValueError(f"reach: expected a number that {z.dtype} can hold, got {reach}")
    if values.ndim != 2 or values.shape[1] < 3 or values.shape[1] % 2 == 0:
        raise ValueError(f"values: expected shape (n, odd from 3), got {tuple(values.shape)}")
    if z.ndim != 4 or z.shape[1] != len(values):
        raise ValueError(f"responses: expected (B, {len(values)}, H, W), got {tuple(z.shape)}")
    if z.dtype != values.dtype or z.device != values.device:
        want, got = f"{z.dtype} on {z.device}", f"{values.dtype} on {values.device}"
        raise ValueError(f"values: expected {want}, as the responses, got {got}")
