r"""Recurrences that can be scanned: a diagonal linear state space on its own clock, and a gate.

Both are the exact solutions of a differential equation whose input is held during each sample, so
that how a sample is cut into shorter ones does not matter: they commute with warps of time.

Chapter: ``sequences``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, logsigmoid

import gdl._checks as check
from gdl.sequences import _checks as require
from gdl.sequences.scan import recurrence, scan

Durations = Tensor | float | None
RUNS = {"scan": scan, "recurrence": recurrence}
CONVOLUTION = "convolution"
COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


class StateSpace(nn.Module):
    r"""A diagonal complex linear state space, solved exactly while each sample is held.

        z'(s) = Lambda z(s) + B u(s),    y = Re(C z) + D u,    Lambda = -exp(nu) + i theta
        z_t = exp(Lambda d_t) z_{t-1} + Lambda^{-1} (exp(Lambda d_t) - 1) B u_t

    ``d_t`` is ``exp(log_step)`` times the duration of sample t, which is 1 unless given. Durations
    are a warp of time: they may be irregular, and 0 where no time passes. The real part of Lambda
    is negative, whatever is learned, so that the state forgets its start; but factors of states
    that take longer than about 2/eps samples to forget round to magnitude 1, which keeps it. To
    read the same signal at k times the rate, subtract log k from ``log_step``.

    At first forgetting times are log-uniform between two bounds and ``theta`` is uniform between 0
    and pi radians a sample; B and C are complex Gaussian, B so scaled that white noise of variance
    1 drives each state to variance 1, C so that the outputs have it too; D and ``log_step`` are 0.

    Args:
        c_in, c_out, states: numbers of inputs, outputs and complex states.
        shortest, longest: bounds of the first forgetting times, in samples, from eps to 2/eps of
            the dtype.
        device, dtype: of the weights; float32 or float64.

    Attributes:
        nu, theta: ``(states,)``, float.
        log_step: scalar.
        B: ``(2, states, c_in)``, real and imaginary parts.
        C: ``(2, c_out, states)``, real and imaginary parts.
        D: ``(c_out, c_in)``.

    Shapes: ``layer(x, durations=None, mode="scan", state=None)`` with x ``(..., T, c_in)`` returns
    ``(..., T, c_out)``. Durations are ``(..., T)``, or ``(T,)`` for all sequences, or one number.
    ``state`` is z before the first sample, complex ``(..., states)``, 0 by default. ``mode`` is
    ``"scan"``, ``"recurrence"`` (one step after another), or ``"convolution"`` (by FFT, padded with
    zeros; for samples of one duration, given as a number or not at all). No nonlinearity is
    applied. Under autocast the products with B, C and D are rounded and the states are not.

    Raises:
        TypeError: arguments of other types or dtypes, weights of other dtypes than float32 and
            float64.
        ValueError: sizes or shapes that do not fit, no step, entries that are not finite, negative
            durations, an unknown mode, durations of single samples with ``"convolution"``,
            products that overflow.

    Law tested: the three modes agree; cutting samples into pieces whose durations add up leaves
    the states at the old times unchanged, which Euler's steps break at first order; shift
    equivariance. Source: Gu, Goel and Re, Efficiently modeling long sequences with structured
    state spaces, ICLR 2022; Smith, Warrington and Linderman, Simplified state space layers for
    sequence modeling, ICLR 2023; Orvieto et al., Resurrecting recurrent neural networks for long
    sequences, ICML 2023. Chapter: ``sequences``.

    >>> StateSpace(2, 3, 8)(torch.ones(4, 10, 2)).shape
    torch.Size([4, 10, 3])
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        states: int,
        *,
        shortest: float = 1.0,
        longest: float = 100.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        require.sizes(c_in=c_in, c_out=c_out, states=states)
        made = require.made(device, dtype)
        self.nu = nn.Parameter(torch.empty(states, **made))
        self.theta = nn.Parameter(torch.empty(states, **made))
        self.log_step = nn.Parameter(torch.empty((), **made))
        self.B = nn.Parameter(torch.empty(2, states, c_in, **made))
        self.C = nn.Parameter(torch.empty(2, c_out, states, **made))
        self.D = nn.Parameter(torch.empty(c_out, c_in, **made))
        self._check_weights()
        eps = torch.finfo(self.nu.dtype).eps
        self.shortest = check.number("shortest", shortest, eps, 2 / eps)
        self.longest = check.number("longest", longest, self.shortest, 2 / eps)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Forgetting times, phases and scales as described."""
        nn.init.uniform_(self.nu, -math.log(self.longest), -math.log(self.shortest))
        nn.init.uniform_(self.theta, 0, math.pi)
        for parameter in (self.log_step, self.D):
            nn.init.zeros_(parameter)
        _, states, c_in = self.B.shape
        nn.init.normal_(self.B, std=math.sqrt(1 / (2 * c_in)))
        nn.init.normal_(self.C, std=math.sqrt(1 / states))
        # Driven by white noise, |z|^2 comes to rest at |gain|^2 / (1 - |factor|^2) in the mean.
        _, gain = self.discretise(1.0)
        self.B *= (torch.expm1(-2 * self.nu.exp()).neg().sqrt() / gain.abs())[:, None]

    @property
    def forgetting_times(self) -> Tensor:
        r"""The numbers of samples after which states fall to 1/e, ``exp(-nu - log_step)``."""
        return torch.exp(-self.nu - self.log_step)

    def discretise(self, durations: Tensor | float) -> tuple[Tensor, Tensor]:
        r"""Factors ``exp(Lambda d)`` and gains ``Lambda^{-1} (exp(Lambda d) - 1)`` of durations.

        Args:
            durations: at least 0, any shape ``(...)`` in the dtype of the layer, or one number.

        Returns:
            Two complex tensors ``(..., states)``; gains lose no digits for short durations.

        Raises: TypeError or ValueError for other arguments.
        """
        if not isinstance(durations, Tensor):
            durations = self.nu.new_tensor(check.number("durations", durations, 0.0))
        durations = require.lapses(require.weighted("durations", durations, self.nu))
        lapse = (durations * self.log_step.exp())[..., None]
        decay, turn = lapse * -self.nu.exp(), lapse * self.theta
        sine, cosine, size = turn.sin(), turn.cos(), decay.exp()
        factor = torch.complex(size * cosine, size * sine)
        # exp(w) - 1 cancels where w is small; the two parts of this sum have one sign there.
        real = torch.expm1(decay) * cosine - 2 * (turn / 2).sin().square()
        return factor, torch.complex(real, size * sine) / torch.complex(-self.nu.exp(), self.theta)

    def states(
        self,
        x: Tensor,
        durations: Durations = None,
        mode: str = "scan",
        state: Tensor | None = None,
    ) -> Tensor:
        r"""The states after each sample, complex ``(..., T, states)``; :meth:`read` reads them.

        Arguments and errors are those of the layer; ``mode`` is ``"scan"`` or ``"recurrence"``.
        """
        check.one_of("mode", mode, tuple(RUNS))
        x = self._checked(x)
        factor, gain = self.discretise(_durations(durations, x))
        added = require.unspoilt("x, durations", gain * self._driven(x))
        factor = factor if factor.ndim == 1 else factor.expand(added.shape)
        return RUNS[mode](factor, added, self._start(state, x))

    def read(self, z: Tensor, x: Tensor) -> Tensor:
        r"""The outputs ``Re(C z) + D x`` of states and inputs, ``(..., T, c_out)``."""
        x = self._checked(x)
        self._fitting("z", z, x.shape[:-1])
        y = linear(z.real, self.C[0]) - linear(z.imag, self.C[1]) + linear(x, self.D)
        return require.unspoilt("z, x", y)

    def impulse_response(self, length: int, duration: float = 1.0) -> Tensor:
        r"""The kernel of the layer on samples of one duration, ``(length, c_out, c_in)``.

            k_j = Re(C exp(Lambda j d) Lambda^{-1} (exp(Lambda d) - 1) B),    and D is added to k_0

        It takes memory for ``length * c_out * states`` complex numbers.

        Raises: TypeError or ValueError for other arguments.

        >>> StateSpace(2, 3, 8).impulse_response(10).shape
        torch.Size([10, 3, 2])
        """
        check.integer("length", length, 1)
        _, gain = self.discretise(check.number("duration", duration, 0.0))
        powers = self._powers(self._count(length), duration)
        kernel = ((self._outward() * (powers * gain)[:, None]) @ torch.complex(*self.B)).real
        return torch.cat([kernel[:1] + self.D, kernel[1:]])

    def forward(
        self,
        x: Tensor,
        durations: Durations = None,
        mode: str = "scan",
        state: Tensor | None = None,
    ) -> Tensor:
        check.one_of("mode", mode, (*RUNS, CONVOLUTION))
        if mode == CONVOLUTION:
            return self._convolved(self._checked(x), durations, state)
        return self.read(self.states(x, durations, mode, state), x)

    def _convolved(self, x: Tensor, durations: Durations, state: Tensor | None) -> Tensor:
        if isinstance(durations, Tensor):
            raise ValueError(
                f"durations: expected one number or None with mode {CONVOLUTION!r}, "
                f"got a tensor of shape {tuple(durations.shape)}"
            )
        duration = _durations(durations, x)
        steps = x.shape[-2]
        # A circle of 2 T samples, T of them zeros, on which nothing comes round.
        kernel = torch.fft.rfft(self.impulse_response(steps, duration), 2 * steps, 0)
        spectrum = torch.fft.rfft(x, 2 * steps, -2)
        product = torch.einsum("foi,...fi->...fo", kernel, spectrum)
        y = torch.fft.irfft(product, 2 * steps, -2)[..., :steps, :]
        start = self._start(state, x)
        if start is not None:
            kept = self._powers(self._count(steps) + 1, duration)
            y = y + ((kept * start[..., None, :]) @ self._outward().mT).real
        return require.unspoilt("x", y)

    def _powers(self, counts: Tensor, duration: float) -> Tensor:
        """Factors of so many samples: phases of many turns keep their digits in float64 only."""
        lapse = duration * self.log_step.double().exp() * counts.double()
        rate = torch.complex(-self.nu.double().exp(), self.theta.double())
        return (lapse[:, None] * rate).exp().to(COMPLEX[self.nu.dtype])

    def _count(self, length: int) -> Tensor:
        return torch.arange(length, device=self.nu.device, dtype=self.nu.dtype)

    def _outward(self) -> Tensor:
        return torch.complex(*self.C)

    def _driven(self, x: Tensor) -> Tensor:
        """``B x`` in the precision of the weights."""
        return torch.complex(*(linear(x, part).to(self.nu.dtype) for part in self.B))

    def _start(self, state: Tensor | None, x: Tensor) -> Tensor | None:
        return None if state is None else self._fitting("state", state, x.shape[:-2])

    def _fitting(self, name: str, z: Tensor, leading: tuple[int, ...]) -> Tensor:
        """States, checked."""
        like = self.nu.new_empty((), dtype=COMPLEX[self.nu.dtype])
        return require.fitting(name, z, (*leading, len(self.nu)), like)

    def _checked(self, x: Tensor) -> Tensor:
        self._check_weights()
        return require.inputs("x", x, self.D, self.D.shape[1])

    def _check_weights(self) -> None:
        if self.nu.dtype not in COMPLEX:
            raise TypeError(f"dtype: expected weights in float32 or float64, got {self.nu.dtype}")

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        c_out, c_in = self.D.shape
        return f"c_in={c_in}, c_out={c_out}, states={len(self.nu)}"


class ScannedGate(nn.Module):
    r"""A gated recurrence whose gates read the input only, so that it can be scanned.

        h_t = g_t c_t + (1 - g_t) h_{t-1},    g_t = sigmoid(W_g x_t + b_g),    c_t = W_c x_t + b_c

    Since ``1 - sigmoid(v) = exp(-softplus(v))``, this is the exact solution of
    ``dh/ds = r (c - h)`` with the rate ``r = softplus(W_g x_t + b_g)`` and c held for one unit of
    time: the gate is a clock. With durations both are held for these, and
    ``1 - g_t = (1 - sigmoid(W_g x_t + b_g))^{d_t}``.

    Args:
        c_in, hidden: numbers of inputs and outputs.
        device, dtype: of the weights.

    Attributes:
        gate, candidate: linear layers, ``W_g, b_g`` and ``W_c, b_c``. A gate bias of
            ``-log(time - 1)`` keeps the share ``1 - 1/time`` of the state where the weights are 0.

    Shapes: ``layer(x, durations=None, mode="scan", state=None)`` with x ``(..., T, c_in)`` returns
    h, ``(..., T, hidden)``. Durations are ``(..., T)``, or ``(T,)`` for all sequences, or one
    number; ``mode`` is ``"scan"`` or ``"recurrence"``; ``state`` is h before the first sample,
    ``(..., hidden)``, 0 by default. Under autocast the products with the weights are rounded and
    the states are not.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: sizes or shapes that do not fit, no step, entries that are not finite, negative
            durations, an unknown mode.

    Law tested: both modes agree; cutting samples into pieces whose durations add up leaves the
    states at the old times unchanged; ``1 - g`` over a merged interval is the product. Source: the
    recurrence is the minGRU of Feng et al., Were RNNs all we needed?, arXiv 2410.01201, without
    logarithms. Chapter: ``sequences``.

    >>> ScannedGate(2, 8)(torch.ones(4, 10, 2)).shape
    torch.Size([4, 10, 8])
    """

    def __init__(
        self,
        c_in: int,
        hidden: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        require.sizes(c_in=c_in, hidden=hidden)
        made = require.made(device, dtype)
        self.gate = nn.Linear(c_in, hidden, **made)
        self.candidate = nn.Linear(c_in, hidden, **made)

    def forward(
        self,
        x: Tensor,
        durations: Durations = None,
        mode: str = "scan",
        state: Tensor | None = None,
    ) -> Tensor:
        check.one_of("mode", mode, tuple(RUNS))
        weight = self.gate.weight
        x = require.inputs("x", x, weight, weight.shape[1])
        lapse = _durations(durations, x)
        lapse = lapse[..., None] if isinstance(lapse, Tensor) else lapse
        # The logarithm of what is kept of the state.
        kept = logsigmoid(-self.gate(x).to(weight.dtype)) * lapse
        added = -torch.expm1(kept) * self.candidate(x).to(weight.dtype)
        require.unspoilt("x, durations", added)
        if state is not None:
            require.fitting("state", state, (*x.shape[:-2], weight.shape[0]), weight)
        return RUNS[mode](kept.exp(), added, state)


def _durations(durations: Durations, x: Tensor) -> Tensor | float:
    """Durations of the samples of x, one number for all or a checked tensor; None is 1."""
    if isinstance(durations, Tensor):
        return require.durations(durations, x)
    return 1.0 if durations is None else check.number("durations", durations, 0.0)
