r"""Linear systems with a hidden state, their kernels, and the way back by the Hankel matrix.

Chapter: ``sequences``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
from gdl.sequences import _checks as require


def shift_matrix(T: int, *, dtype: torch.dtype = torch.float64) -> Tensor:
    r"""The delay by one step on a window of T steps: ``(N x)_t = x_{t-1}`` and ``x_{-1} = 0``.

    Ones below the diagonal; what leaves the window is lost, so ``N^T = 0`` and N has no inverse.

    Args:
        T: steps of the window, at least 1.
        dtype: of the result, a real floating-point type.

    Returns:
        ``(T, T)``.

    Raises: TypeError or ValueError for other arguments.
    Law tested: nilpotent of degree T; its commutant is spanned by :func:`causal_toeplitz`.
    Chapter: ``sequences``.

    >>> shift_matrix(3).tolist()
    [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    T = check.integer("T", T, 1)
    return torch.ones(T - 1, dtype=check.real_dtype(dtype)).diag_embed(-1)


def causal_toeplitz(kernel: Tensor, length: int | None = None) -> Tensor:
    r"""The matrix of a causal convolution, constant along diagonals and zero above the main one.

        y_t = sum_{j = 0..t} k_j x_{t-j}

    Args:
        kernel: ``(K,)``, or ``(K, c_out, c_in)`` with a matrix for each delay.
        length: steps T of the window, K by default. A longer kernel is cut, a shorter one continued
            by zeros.

    Returns:
        ``(T, T)``, or ``(T c_out, T c_in)`` for rows ``t c_out + o`` and columns ``s c_in + i``;
        in the dtype of the kernel.

    Raises: TypeError or ValueError for other arguments, empty or not finite kernels.
    Law tested: commutes with every power of the delay, and these are all such matrices; equal to
    ``scipy.linalg.toeplitz`` and to torch's convolution. Chapter: ``sequences``.

    >>> causal_toeplitz(torch.tensor([1.0, 2.0]), 3).tolist()
    [[1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 2.0, 1.0]]
    """
    blocks = _as_blocks(kernel)
    T = len(blocks) if length is None else check.integer("length", length, 1)
    known = blocks[:T]
    # At least one delay of zeros at the end, where the index -1 of the future points.
    continued = torch.cat([known, known.new_zeros(T - len(known) + 1, *known.shape[1:])])
    times = torch.arange(T, device=kernel.device)
    return _as_matrix(continued[(times[:, None] - times).clamp(min=-1)])


def hankel(kernel: Tensor, rows: int, columns: int) -> Tensor:
    r"""The matrix from past inputs to future outputs, constant along antidiagonals.

        H[i, j] = k_{i+j}

    An input j steps before the present one drives ``k_{i+j}`` of the output i steps after it. Its
    rank is the number of states that have to be remembered between the two.

    Args:
        kernel: ``(K,)`` or ``(K, c_out, c_in)``.
        rows, columns: numbers of blocks; they read ``rows + columns - 1`` delays.

    Returns:
        ``(rows c_out, columns c_in)``, in the dtype of the kernel.

    Raises: TypeError or ValueError for other arguments, and for a kernel that is too short.
    Law tested: equal to ``scipy.linalg.hankel``; to observability times controllability for the
    kernel of a :class:`LinearSystem`. Source: Kalman, Falb and Arbib, Topics in Mathematical System
    Theory, 1969. Chapter: ``sequences``.

    >>> hankel(torch.tensor([1.0, 2.0, 3.0, 4.0]), 2, 3).tolist()
    [[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]
    """
    blocks = _as_blocks(kernel)
    require.sizes(rows=rows, columns=columns)
    if len(blocks) < rows + columns - 1:
        raise ValueError(
            f"kernel: expected at least rows + columns - 1 = {rows + columns - 1} delays, got "
            f"{len(blocks)}"
        )
    i, j = (torch.arange(n, device=kernel.device) for n in (rows, columns))
    return _as_matrix(blocks[i[:, None] + j])


@dataclass(frozen=True, eq=False)
class LinearSystem:
    r"""A linear recurrence: what is remembered of the inputs, and what is read from it.

        z_t = A z_{t-1} + B x_t,    y_t = C z_t

    There is no direct term ``D x_t``: the state at t has seen ``x_t``, so that ``k_0 = C B``.

    Attributes:
        A: ``(n, n)``, of n states.
        B: ``(n, c_in)``.
        C: ``(c_out, n)``.

    All have one dtype and device.

    Raises: TypeError or ValueError for shapes and dtypes that do not fit, no states or channels,
        entries that are not finite.

    Law tested: its run from 0 is :func:`causal_toeplitz` of its impulse response, and
    ``scipy.signal.dlsim``; other coordinates of the state leave the response as it is. Source:
    Kalman, Falb and Arbib, Topics in Mathematical System Theory, 1969. Chapter: ``sequences``.

    >>> half = LinearSystem(torch.tensor([[0.5]]), torch.ones(1, 1), torch.ones(1, 1))
    >>> half.impulse_response(3).flatten().tolist()
    [1.0, 0.5, 0.25]
    """

    A: Tensor
    B: Tensor
    C: Tensor

    def __post_init__(self):
        check.shaped("A", self.A, None, None)
        states = len(self.A)
        for name, sizes in (("A", (states,) * 2), ("B", (states, None)), ("C", (None, states))):
            matrix = check.shaped(name, getattr(self, name), *sizes)
            if matrix.ndim != 2 or not matrix.numel():
                raise ValueError(
                    f"{name}: expected a matrix for at least one state and channel, got shape "
                    f"{tuple(matrix.shape)}"
                )
            check.finite(name, _as_a(name, matrix, self.A))

    @property
    def order(self) -> int:
        """The number of states, n."""
        return len(self.A)

    def controllability(self, T: int) -> Tensor:
        """What T inputs can reach, ``[B, A B, ..., A^{T-1} B]``: ``(n, T c_in)``."""
        blocks = [self.B]
        for _ in range(check.integer("T", T, 1) - 1):
            blocks.append(self.A @ blocks[-1])
        return require.unspoilt("A, B", torch.cat(blocks, 1))

    def observability(self, T: int) -> Tensor:
        """What T outputs show of a state, ``C`` over ``C A`` to ``C A^{T-1}``: ``(T c_out, n)``."""
        blocks = [self.C]
        for _ in range(check.integer("T", T, 1) - 1):
            blocks.append(blocks[-1] @ self.A)
        return require.unspoilt("A, C", torch.cat(blocks))

    def impulse_response(self, T: int) -> Tensor:
        """The kernel ``k_j = C A^j B`` for j below T: ``(T, c_out, c_in)``."""
        seen = self.observability(T).unflatten(0, (T, len(self.C)))
        return require.unspoilt("A, B, C", seen @ self.B)

    def states(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """The states ``(..., T, n)`` for inputs ``(..., T, c_in)``, from ``z_{-1}`` or from 0."""
        require.sequence("x", x, self.B.shape[1])
        _as_a("x", x, self.A)
        shape = (*x.shape[:-2], self.order)
        z = x.new_zeros(shape) if start is None else require.state("start", start, shape, x)
        states = []
        for driven in (x @ self.B.T).unbind(-2):
            z = z @ self.A.T + driven
            states.append(z)
        return require.unspoilt("x", torch.stack(states, -2))

    def run(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """The outputs ``(..., T, c_out)`` for inputs ``(..., T, c_in)``, from ``z_{-1}`` or 0."""
        return require.unspoilt("x", self.states(x, start) @ self.C.T)

    def changed(self, G: Tensor) -> LinearSystem:
        r"""The same system in other coordinates ``G z`` of its state: a gauge that nobody sees.

            A -> G A G^-1,    B -> G B,    C -> C G^-1

        Args:
            G: ``(n, n)``, float32 or float64, with a condition number below ``1 / sqrt(eps)``.

        Raises: TypeError or ValueError for other arguments, singular and ill-conditioned ones.
        """
        check.shaped("G", G, self.order, self.order)
        if G.ndim != 2:
            raise ValueError(f"G: expected {(self.order,) * 2}, got {tuple(G.shape)}")
        check.finite("G", _as_a("G", _of_full_precision("G", G), self.A))
        values = torch.linalg.svdvals(G.detach())
        limit = 1 / math.sqrt(torch.finfo(G.dtype).eps)
        if values[0] >= limit * values[-1]:
            raise ValueError(
                f"G: expected an invertible matrix with a condition number below {limit:.3g}, got "
                f"singular values from {float(values[0]):.3g} to {float(values[-1]):.3g}"
            )
        read = torch.linalg.solve(G, torch.cat([G @ self.A, self.C]), left=False)
        return LinearSystem(read[: self.order], G @ self.B, read[self.order :])


def ho_kalman(kernel: Tensor, order: int) -> LinearSystem:
    r"""A linear system with a given kernel, from the factors of its Hankel matrix.

        H = U S V^T,    O = U_n S_n^1/2,    R = S_n^1/2 V_n^T
        A = S_n^-1/2 U_n^T H' V_n S_n^-1/2,    B, C: the first blocks of R and O

    with ``H'[i, j] = k_{i+j+1}``. The K delays are read as K // 2 block rows and K - K // 2 block
    columns. The coordinates of the state are balanced: ``O^T O = R R^T = S_n``. If n is the rank,
    the system has the whole kernel, also beyond what was read, as far as the kernel is that of
    some system with n states; otherwise it keeps the n largest singular values, and is an
    approximation. Small singular values amplify noise of the kernel by their inverse. No gradient
    goes through the factors: those of equal singular values are not unique.

    Args:
        kernel: ``(K,)`` or ``(K, c_out, c_in)``, float32 or float64.
        order: n, at most the rank that the Hankel matrix shows.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: a kernel that is zero, not finite or too short for n states, an order above the
            rank, with the singular values around the gap.

    Law tested: the impulse response is the kernel, far beyond K; two systems with one kernel differ
    by exactly one change of coordinates. Source: Ho and Kalman, Effective construction of linear
    state-variable models from input/output functions, 1966, for the idea; the balanced factors are
    those of Kung, 1978. Chapter: ``sequences``.

    >>> kernel = 0.5 ** torch.arange(20, dtype=torch.float64)
    >>> system = ho_kalman(kernel[:6], 1)
    >>> torch.allclose(system.impulse_response(20).flatten(), kernel)
    True
    """
    blocks = _decomposable(kernel)
    n = check.integer("order", order, 1)
    rows, columns = len(blocks) // 2, len(blocks) - len(blocks) // 2
    c_out, c_in = blocks.shape[1:]
    if min(rows * c_out, columns * c_in) < n:
        raise ValueError(
            f"kernel: expected more delays for {n} states, got {len(blocks)}, whose Hankel matrix "
            f"has the shape {(rows * c_out, columns * c_in)}"
        )
    if not blocks.any():
        raise ValueError("kernel: expected a kernel that is not zero, which needs no state")
    U, values, Vh = torch.linalg.svd(hankel(blocks[:-1], rows, columns), full_matrices=False)
    require.unspoilt("kernel", values)
    rank = _counted(values, _rounding(values, max(rows * c_out, columns * c_in)))
    if n > rank:
        raise ValueError(
            f"order: expected at most {rank}, the rank of the Hankel matrix, got {n}; "
            f"{_around(values, rank)}"
        )
    root = values[:n].sqrt()
    later = hankel(blocks[1:], rows, columns)
    A = (U[:, :n] / root).T @ later @ (Vh[:n].T / root)
    B, C = root[:, None] * Vh[:n, :c_in], U[:c_out, :n] * root
    return LinearSystem(A.contiguous(), B.contiguous(), C.contiguous())


def _as_blocks(kernel: Tensor) -> Tensor:
    """A checked kernel as (K, c_out, c_in)."""
    check.floating("kernel", kernel)
    if kernel.ndim not in (1, 3) or not kernel.numel():
        raise ValueError(
            f"kernel: expected shape (K,) or (K, c_out, c_in) without empty axes, got "
            f"{tuple(kernel.shape)}"
        )
    check.finite("kernel", kernel)
    return kernel.reshape(-1, 1, 1) if kernel.ndim == 1 else kernel


def _as_matrix(blocks: Tensor) -> Tensor:
    """Blocks (rows, columns, c_out, c_in) side by side."""
    return blocks.transpose(1, 2).flatten(2).flatten(0, 1)


def _decomposable(kernel: Tensor) -> Tensor:
    """The blocks of a kernel that a decomposition can read, without its gradient."""
    blocks = _as_blocks(_of_full_precision("kernel", check.floating("kernel", kernel)))
    if kernel.is_meta:
        raise ValueError("kernel: expected values, got a tensor on the meta device")
    return blocks.detach()


def _as_a(name: str, x: Tensor, A: Tensor) -> Tensor:
    """Return ``x`` if it has the dtype of A and its device."""
    if x.dtype != A.dtype:
        raise TypeError(f"{name}: expected {A.dtype}, the dtype of A, got {x.dtype}")
    if x.device != A.device:
        raise ValueError(f"{name}: expected device {A.device}, as A, got {x.device}")
    return x


def _of_full_precision(name: str, x: Tensor) -> Tensor:
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name}: expected float32 or float64, got {x.dtype}")
    return x


def _rounding(values: Tensor, size: int) -> float:
    """The share of the largest singular value below which a matrix of this size has rounding."""
    return size * torch.finfo(values.dtype).eps


def _counted(values: Tensor, share: float) -> int:
    """How many singular values are above a share of the largest."""
    return int((values > share * values[0]).sum())


def _around(values: Tensor, rank: int) -> str:
    """The singular values on both sides of a rank, for a message."""
    near = ", ".join(f"{float(s):.3g}" for s in values[max(rank - 2, 0) : rank + 2])
    return f"singular values around {rank}: {near}"
