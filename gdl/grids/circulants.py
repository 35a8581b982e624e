"""Shifts, the matrices that commute with them, and the Fourier basis that they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral

import torch
from torch import Tensor

import gdl.grids._checks as check


def shift(g: int | Sequence[int], x: Tensor, size: Sequence[int] | None = None) -> Tensor:
    r"""The action of a translation on a periodic field, (g.x)(p) = x(p - g).

    Args:
        g: an integer per shifted axis, (dy, dx) for images; positive moves content to higher index.
        x: a tensor whose last len(g) axes are space.
        size: the size of the grid on which g is measured, if x is a coarser map of that grid. A
            stride of s turns g into g / s; a map pooled to one point does not move.

    Returns:
        A tensor of the shape and dtype of x.

    Raises:
        TypeError: g is no integer or sequence of integers, or x is no tensor.
        ValueError: more shifts than x has axes, a size of another length than g, or g / s that is
            not an integer, so that the coarse map has no such shift.

    Law: shift(g, shift(h, x)) = shift(g + h, x). Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> shift(1, torch.tensor([1.0, 2.0, 3.0]))
    tensor([3., 1., 2.])
    >>> shift((0, 2), torch.eye(4), size=(8, 8))[0]
    tensor([0., 1., 0., 0.])
    """
    check.is_tensor("x", x)
    steps = tuple(g) if isinstance(g, Sequence) else (g,)
    if not steps or not all(isinstance(step, Integral) for step in steps):
        raise TypeError(f"g: expected an int or a sequence of ints, got {g!r}")
    if len(steps) > x.ndim:
        raise ValueError(f"g: {len(steps)} shifts for x of shape {tuple(x.shape)}")
    axes = tuple(range(-len(steps), 0))
    if size is not None:
        if len(size) != len(steps):
            raise ValueError(f"size: expected {len(steps)} sizes, got {tuple(size)}")
        coarse = x.shape[-len(steps) :]
        steps = tuple(map(_coarse_step, steps, size, coarse))
    return torch.roll(x, tuple(map(int, steps)), axes)


def _coarse_step(step: int, fine: int, coarse: int) -> int:
    if coarse == 1:
        return 0
    if (step * coarse) % fine:
        raise ValueError(f"g: a shift by {step} of {fine} points is no shift of {coarse} points")
    return step * coarse // fine


def fractional_shift(t: float | Sequence[float], x: Tensor) -> Tensor:
    r"""Shift a periodic field by a real number of grid points, by its Fourier interpolant.

    Mode k of each axis is multiplied by exp(-2 pi i k t / n). At the Nyquist frequency k = n/2 the
    grid holds only the sum of the modes +k and -k, so the factor is their mean, cos(pi t), and the
    result stays real. The action is therefore exact, and composes, on fields without that mode.

    Args:
        t: a number per shifted axis, in grid points.
        x: a real tensor whose last len(t) axes are space.

    Returns:
        A tensor of the shape and dtype of x.

    Raises:
        TypeError: x is no real floating-point tensor.
        ValueError: x is empty, t is not finite, or there are more shifts than x has axes.

    Law: integer t gives shift(t, x); for odd n, t and then u gives t + u.
    Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> wave = torch.cos(2 * math.pi * torch.arange(8.0) / 8)
    >>> moved = torch.cos(2 * math.pi * (torch.arange(8.0) - 0.5) / 8)
    >>> torch.allclose(fractional_shift(0.5, wave), moved, atol=1e-6)
    True
    """
    check.real_tensor("x", x)
    check.not_empty("x", x)
    steps = tuple(t) if isinstance(t, Sequence) else (t,)
    if not steps or len(steps) > x.ndim:
        raise ValueError(f"t: {len(steps)} shifts for x of shape {tuple(x.shape)}")
    if not all(math.isfinite(step) for step in steps):
        raise ValueError(f"t: expected finite numbers, got {t}")
    for axis, step in zip(range(-len(steps), 0), steps, strict=True):
        n = x.shape[axis]
        k = torch.arange(n // 2 + 1, device=x.device, dtype=x.dtype)
        phase = torch.polar(torch.ones_like(k), -2 * math.pi * k * step / n)
        if n % 2 == 0:
            phase[-1] = math.cos(math.pi * step)
        spectrum = torch.fft.rfft(x.movedim(axis, -1)) * phase
        x = torch.fft.irfft(spectrum, n=n).movedim(-1, axis)
    return x


def circulant(theta: Tensor) -> Tensor:
    r"""The circulant matrix C(theta) = sum_k theta_k S^k, that is C[i, j] = theta[(i - j) mod n].

    Its first column is theta, and C(theta) f is the circular convolution of theta and f. The
    circulants are exactly the matrices that commute with S.

    Args:
        theta: (n,), real or complex.

    Returns:
        (n, n), dtype of theta.

    Raises:
        TypeError: theta is no tensor.
        ValueError: theta is empty, has more than one axis, or is not finite.

    Laws: C S = S C; C(theta) C(eta) = C(C(theta) eta); equal to scipy.linalg.circulant.
    Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> circulant(torch.tensor([1.0, 2.0, 0.0]))
    tensor([[1., 0., 2.],
            [2., 1., 0.],
            [0., 2., 1.]])
    """
    _vector("theta", theta)
    index = torch.arange(len(theta), device=theta.device)
    return theta[(index[:, None] - index[None, :]) % len(theta)]


def dft_matrix(n: int) -> Tensor:
    r"""The unitary discrete Fourier transform, F[k, x] = exp(-2 pi i k x / n) / sqrt(n).

    Its rows are the common eigenvectors of all circulants: C(theta) = F^* diag(lambda) F with
    lambda = ``circulant_eigenvalues(theta)``.

    Args:
        n: the number of grid points.

    Returns:
        (n, n), complex128, one frequency k a row.

    Raises:
        TypeError: n is no int.
        ValueError: n is below 1.

    Laws: F F^* = I; F C(theta) F^* is diagonal for every theta; equal to numpy.fft.fft with
    norm="ortho". Derived in the chapter "grids".

    Chapter: ``grids``.

    >>> F = dft_matrix(4)
    >>> torch.allclose(F @ F.conj().T, torch.eye(4, dtype=torch.complex128))
    True
    """
    check.positive_int("n", n)
    k = torch.arange(n, dtype=torch.float64)
    # k x is reduced modulo n first, so that large products keep their phase to the last digit.
    angle = -2 * math.pi * torch.remainder(torch.outer(k, k), n) / n
    return torch.polar(torch.full_like(angle, 1 / math.sqrt(n)), angle)


def as_matrix(
    f: Callable[[Tensor], Tensor],
    shape_in: Sequence[int],
    *,
    affine: bool = False,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""The dense matrix of a linear map: its columns are the images of the basis vectors.

    Args:
        f: maps a batch (N, *shape_in) to a batch (N, *shape_out); called without gradients.
        shape_in: the shape of one input, for example (channels, h, w).
        affine: accept f(0) != 0 and return the pair (matrix, f(0)).
        dtype, device: of the vectors that f receives.

    Returns:
        (d_out, d_in) with both shapes flattened row-major, so that W @ x.flatten() = f(x); for
        ``affine`` the pair of it and f(0), (d_out,).

    Raises:
        TypeError: a size in shape_in is no int.
        ValueError: a size below 1, an f that is not linear (affine) on random inputs, or whose
            values are not finite.

    Law: the matrix of x -> M x + b is M, and the offset b. Used in the chapter "grids".

    Chapter: ``grids``.

    >>> as_matrix(lambda x: x.flip(-1), (2,))
    tensor([[0., 1.],
            [1., 0.]], dtype=torch.float64)
    """
    shape = tuple(check.positive_int("shape_in", n) for n in shape_in)
    basis = torch.eye(math.prod(shape), dtype=dtype, device=device)
    zero = torch.zeros(1, *shape, dtype=dtype, device=device)
    probes = torch.randn(3, len(basis), generator=torch.Generator().manual_seed(0))
    probes = probes.to(basis)
    with torch.no_grad():
        bias = f(zero).flatten(1)
        matrix = (f(basis.reshape(-1, *shape)).flatten(1) - bias).T
        images = f(probes.reshape(-1, *shape)).flatten(1)
    check.finite("f: its values", matrix)
    if not affine and bias.abs().max() > 0:
        raise ValueError("f: expected a linear map, got f(0) != 0 (pass affine=True)")
    defect = (images - probes @ matrix.T - bias).norm()
    # Rounding in a sum of d terms of random sign grows like sqrt(d).
    if defect > 100 * torch.finfo(dtype).eps * math.sqrt(len(basis)) * images.norm():
        raise ValueError(f"f: expected a linear map, got a defect of {defect:.1e} on random inputs")
    return (matrix, bias[0]) if affine else matrix


def _vector(name: str, theta: Tensor) -> None:
    check.is_tensor(name, theta)
    if theta.ndim != 1 or len(theta) == 0:
        raise ValueError(f"{name}: expected shape (n,) with n >= 1, got {tuple(theta.shape)}")
    check.finite(name, theta)
