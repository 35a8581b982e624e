r"""Iterative shrinkage with a memory: the unit that SC2Net repeats, an LSTM whose output is sparse.

Chapter: ``sparse_coding``.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import gdl._checks as check
from gdl.sparse_coding._unrolled import Unrolled
from gdl.sparse_coding.classical import lipschitz
from gdl.sparse_coding.operators import shrink

# At a bias of 60 the logistic function is 1 or, up to 1e-26, 0.
SATURATED = 60.0
START = 2.0

# Gates multiply codes, so that what they give is a size, without a sign; what they read has one.
_AXES = {
    "encoder": ("codes", "signals"),
    "recurrence": ("codes", "codes"),
    "threshold": ("sizes",),
    "input_signal": ("sizes", "signals"),
    "input_code": ("sizes", "codes"),
    "input_bias": ("sizes",),
    "forget_signal": ("sizes", "signals"),
    "forget_code": ("sizes", "codes"),
    "forget_bias": ("sizes",),
}

# Codes and memory.
State = tuple[Tensor, Tensor]


class SparseLSTM(Unrolled):
    r"""Sparse codes by an LSTM: iterative soft thresholding (ISTA) with a gated memory inside.

        i_t  = sigmoid(U_i y + W_i s_{t-1} + b_i)            how much enters the memory
        f_t  = sigmoid(U_f y + W_f s_{t-1} + b_f)            how much stays in it
        c_t  = f_t * c_{t-1} + i_t * (W y + S s_{t-1})
        s_t  = soft(c_t, th)

    from ``s_0 = c_0 = 0``, with the same weights at every step. What enters is linear, without the
    tanh of an LSTM, and there is no output gate: the soft threshold stands in their place. A
    threshold below 0 acts as 0.

    Untrained, ``W = D^T / L``, ``S = 1 - D^T D / L`` and ``th = penalty / L`` as in ISTA, and the
    gates read nothing: ``i = sigmoid(2)`` and ``f = sigmoid(-2)``. Because ``i + f = 1``, the fixed
    points are those of ISTA, the minima of the lasso objective. At ``i = 1`` and ``f = 0``, see
    :meth:`saturate_`, every step is one of ISTA.

    Args:
        dictionary: D, (m, n), float32 or float64; copied, and not learned.
        penalty: the weight of ``|x|_1``, positive; only the first thresholds depend on it.
        steps: how often a signal is read, T.

    Attributes:
        dictionary: ``(m, n)``, a buffer.
        encoder, recurrence, threshold: W, S and th, ``(n, m)``, ``(n, n)`` and ``(n,)``.
        input_signal, input_code, input_bias: ``U_i``, ``W_i`` and ``b_i``, of the same shapes.
        forget_signal, forget_code, forget_bias: ``U_f``, ``W_f`` and ``b_f``.

    Shapes: ``network(signals)`` maps ``(..., m)`` to codes ``(..., n)``, in the dtype of the
    dictionary; ``network.path(signals)`` is ``(T + 1, ..., n)``, index t after t steps;
    ``network.iterates(signals)`` yields the same one by one.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes or devices that do not fit, entries that are not finite, a column of D
            that is 0, a penalty that is not positive, codes that overflow.

    Law tested: equal to the equations above, entry by entry; with saturated gates to ISTA, and for
    other weights to a tied LISTA, to 1e-12; many untrained steps end at a minimum of the lasso
    objective, and elsewhere if ``i + f`` is not 1; ``in_gauge`` with signed permutations of the
    codes and orthogonal matrices of the signals gives the same codes in the new coordinates;
    ``network(-y) = -network(y)`` if the gates read nothing, not if they do. Source: Zhou, Di, Du,
    Peng, Yang, Pan, Tsang, Liu, Qin and Goh, SC2Net, AAAI 2018. Chapter: ``sparse_coding``.

    >>> network = SparseLSTM(torch.eye(2), penalty=0.5, steps=3).saturate_()
    >>> network(torch.tensor([2.0, 0.25])).detach()
    tensor([1.5000, 0.0000])
    """

    def __init__(self, dictionary: Tensor, penalty: float, steps: int):
        super().__init__(dictionary, penalty, check.integer("steps", steps, 1), _AXES)
        self._learn(self._classical())

    def _classical(self) -> dict[str, Tensor]:
        D, (m, n) = self.dictionary, self.dictionary.shape
        L = lipschitz(D)
        return {
            "encoder": D.mT / L,
            "recurrence": torch.eye(n).to(D) - D.mT @ D / L,
            "threshold": D.new_full((n,), self.penalty / L),
            "input_signal": D.new_zeros(n, m),
            "input_code": D.new_zeros(n, n),
            "input_bias": D.new_full((n,), START),
            "forget_signal": D.new_zeros(n, m),
            "forget_code": D.new_zeros(n, n),
            "forget_bias": D.new_full((n,), -START),
        }

    @torch.no_grad()
    def saturate_(self, bias: float = SATURATED) -> SparseLSTM:
        r"""Let gates read nothing, open the input gates and close the forget gates.

        Args:
            bias: ``b_i`` and ``-b_f``, so that ``i = sigmoid(bias)`` and ``f = 1 - i``. By default
                no memory is left.

        Returns:
            The network itself.

        Raises: TypeError or ValueError for a bias that is no finite number.

        >>> SparseLSTM(torch.eye(2), 0.5, 3).saturate_().forget_bias.detach()
        tensor([-60., -60.])
        """
        bias = check.number("bias", bias)
        for weight in (self.input_signal, self.input_code, self.forget_signal, self.forget_code):
            weight.zero_()
        self.input_bias.fill_(bias)
        self.forget_bias.fill_(-bias)
        return self

    def iterates(self, signals: Tensor) -> Iterator[Tensor]:
        """Yield the codes after 0, 1, ..., T steps, each ``(..., n)``."""
        y = check.signals("signals", signals, self.dictionary)
        state, read = self._rest(y.shape[:-1]), self._read(y)
        yield state[0]
        for _ in range(self.layers):
            state = self._step(read, state)
            yield state[0]

    def gates(self, signals: Tensor) -> tuple[Tensor, Tensor]:
        r"""What the gates are at every step, numbers from 0 to 1: i and f, each ``(T, ..., n)``.

        Arguments and errors are those of the network.
        """
        _, open_to_signal, keep_for_signal = self._read(
            check.signals("signals", signals, self.dictionary)
        )
        before = self.path(signals)[:-1]
        return (
            torch.sigmoid(open_to_signal + before @ self.input_code.mT),
            torch.sigmoid(keep_for_signal + before @ self.forget_code.mT),
        )

    def frames(self, sequence: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        r"""Codes of a video, one step for every frame; the memory goes from frame to frame.

        For k steps on every frame, repeat it: ``sequence.repeat_interleave(k, 0)``.

        Args:
            sequence: ``(frames, ..., m)``, at least one.
            state: codes s and memory c before the first frame, each ``(..., n)``; None is 0.

        Returns:
            Codes ``(frames, ..., n)``, and the state after the last frame.

        Raises: TypeError or ValueError as the network does.

        Law tested: a still video of T frames ends at ``network(signals)``; a video in two parts,
        the state handed on, has the codes of the whole. Chapter: ``sparse_coding``.

        >>> network = SparseLSTM(torch.eye(2), penalty=0.5, steps=1)
        >>> codes, state = network.frames(torch.ones(7, 5, 2))
        >>> codes.shape, torch.equal(codes[-1], state[0])
        (torch.Size([7, 5, 2]), True)
        """
        y = check.signals("sequence", sequence, self.dictionary)
        if y.ndim < 2 or not len(y):
            raise ValueError(
                f"sequence: expected shape (frames, ..., {y.shape[-1]}), at least one frame, "
                f"got {tuple(y.shape)}"
            )
        batch = y.shape[1:-1]
        state = self._rest(batch) if state is None else self._given(state, batch)
        codes = []
        for read in zip(*self._read(y), strict=True):
            state = self._step(read, state)
            codes.append(state[0])
        codes = torch.stack(codes)
        if check.readable(codes) and not bool(torch.isfinite(codes).all()):
            raise ValueError("sequence: expected codes that stay finite, got an overflow")
        return codes, state

    def _read(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the signal gives to memory, input gate and forget gate, the same at every step."""
        return (
            y @ self.encoder.mT,
            y @ self.input_signal.mT + self.input_bias,
            y @ self.forget_signal.mT + self.forget_bias,
        )

    def _step(self, read: tuple[Tensor, Tensor, Tensor], state: State) -> State:
        entering, open_to_signal, keep_for_signal = read
        s, c = state
        i = torch.sigmoid(open_to_signal + s @ self.input_code.mT)
        f = torch.sigmoid(keep_for_signal + s @ self.forget_code.mT)
        c = f * c + i * (entering + s @ self.recurrence.mT)
        # Training may push a threshold below 0, where it acts as 0.
        return shrink(c, self.threshold.clamp_min(0)), c

    def _rest(self, batch: torch.Size) -> State:
        zero = self.dictionary.new_zeros(*batch, self.dictionary.shape[1])
        return zero, zero

    def _given(self, state: State, batch: torch.Size) -> State:
        """A state of these batch axes."""
        if not isinstance(state, tuple) or len(state) != 2:
            raise TypeError(f"state: expected a tuple (codes, memory), got {type(state).__name__}")
        wanted = (*batch, self.dictionary.shape[1])
        for part in state:
            if check.codes("state", part, self.dictionary).shape != wanted:
                raise ValueError(f"state: expected shapes {wanted}, got {tuple(part.shape)}")
        return state

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        m, n = self.dictionary.shape
        return f"m={m}, n={n}, penalty={self.penalty}, steps={self.layers}"
