r"""Causal convolutions: the past only, as far as a stack of dilated kernels reaches.

Chapter: ``sequences``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

import gdl._checks as check
from gdl.sequences import _checks as require

Memory = tuple[Tensor, ...]


class CausalConv1d(nn.Module):
    r"""Convolution over the present and the past of a sequence.

        y_t = b + sum_{j = 0..k-1} W[:, :, k-1-j] x_{t - j d}

    The order of the taps is that of torch: the last one reads the present.

    Args:
        c_in, c_out: channels.
        kernel_size: k, the taps.
        dilation: d, the steps between taps.
        bias, device, dtype: as in ``torch.nn.Conv1d``.

    Attributes:
        weight: ``(c_out, c_in, k)``; starts as in ``torch.nn.Conv1d``, as the bias does.
        bias: ``(c_out,)`` or None.

    Shapes: ``layer(x, past=None)`` with x ``(..., T, c_in)`` and the inputs before it, past
    ``(..., memory, c_in)``, or ``(c_in,)`` if they were constant, 0 by default; returns
    ``(..., T, c_out)``.

    Raises: TypeError or ValueError for other arguments, empty sequences, entries that are not
        finite, products that overflow.

    Law tested: causal; equal to ``torch.nn.Conv1d`` on inputs padded on the left, and without bias
    to :func:`~gdl.sequences.causal_toeplitz`; delays of the input by zeros delay the
    output, which centred padding breaks. Source: van den Oord et al., WaveNet, arXiv 1609.03499.
    Chapter: ``sequences``.

    >>> layer = CausalConv1d(1, 1, 2, bias=False)
    >>> nn.init.ones_(layer.weight).shape
    torch.Size([1, 1, 2])
    >>> layer(torch.tensor([[1.0], [2.0], [4.0]])).flatten().tolist()
    [1.0, 3.0, 6.0]
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel_size: int,
        *,
        dilation: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        require.sizes(c_in=c_in, c_out=c_out, kernel_size=kernel_size, dilation=dilation)
        check.boolean("bias", bias)
        made = require.made(device, dtype)
        self.dilation = int(dilation)
        self.weight = nn.Parameter(torch.empty(c_out, c_in, kernel_size, **made))
        self.bias = nn.Parameter(torch.empty(c_out, **made)) if bias else None
        self.reset_parameters()

    @property
    def memory(self) -> int:
        """The number of past inputs that an output reads, ``(k - 1) d``."""
        return (self.weight.shape[2] - 1) * self.dilation

    def reset_parameters(self) -> None:
        """Uniform between plus and minus one over the root of the number of inputs."""
        bound = (self.weight.shape[1] * self.weight.shape[2]) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor, past: Tensor | None = None) -> Tensor:
        require.sequence("x", x, self.weight.shape[1])
        x = require.weighted("x", x, self.weight)
        shape = (*x.shape[:-2], self.memory, x.shape[-1])
        known = x.new_zeros(shape) if past is None else require.state("past", past, shape, x)
        steps = torch.cat([known, x], -2)
        channels = steps.reshape(-1, *steps.shape[-2:]).transpose(1, 2)
        y = conv1d(channels, self.weight, self.bias, dilation=self.dilation)
        return require.unspoilt("x", y.transpose(1, 2).reshape(*x.shape[:-1], -1))

    def impulse_response(self) -> Tensor:
        """The kernel of the layer without its bias, ``(memory + 1, c_out, c_in)``."""
        taps = self.weight.flip(2).movedim(2, 0)
        kernel = taps.new_zeros(self.memory + 1, *taps.shape[1:])
        return kernel.index_copy(
            0, self.dilation * torch.arange(len(taps), device=taps.device), taps
        )

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        c_out, c_in, taps = self.weight.shape
        return f"{c_in}, {c_out}, {taps}, dilation={self.dilation}, bias={self.bias is not None}"


class CausalConvStack(nn.Module):
    r"""Dilated causal convolutions in residual blocks: a recurrence of finite memory.

        h^0 = W_in x + b_in,    h^l = h^{l-1} + W_l relu(conv_l(h^{l-1})) + b_l,    y = W h^L + b

    Before the first input each block reads zeros (``rest=False``, as most networks do), or what it
    would read if the input had been 0 forever (``rest=True``). With biases these differ, as the
    start 0 of a recurrent network differs from its fixed point: a stack that starts at rest
    commutes with all delays, one that starts at 0 does so only once it has forgotten its start,
    from the step ``receptive_field`` on. Without biases the rest is 0.

    Args:
        c_in, width, c_out: channels of the inputs, in the blocks, of the outputs.
        kernel_size: k, taps of each convolution.
        dilations: steps d between taps, one for each block.
        rest: start at rest.
        bias: whether all layers have one.
        device, dtype: of the weights.

    Shapes: ``model(x)`` with x ``(..., T, c_in)`` returns ``(..., T, c_out)``.

    Raises: TypeError or ValueError for other arguments, no dilations, empty sequences, entries that
        are not finite, products that overflow.

    Law tested: the Jacobian is 0 above its diagonal and from ``receptive_field`` steps below it on,
    and not before; run in pieces, down to single steps, it is the same function; ``model(Sx)`` is
    ``model(x)`` one step later with the resting output in front, for all steps at rest or without
    biases, else from ``receptive_field`` on. Source: van den Oord et al., WaveNet, arXiv
    1609.03499; Bai, Kolter and Koltun, arXiv 1803.01271. Chapter: ``sequences``.

    >>> model = CausalConvStack(1, 4, 2)
    >>> model.receptive_field, model(torch.ones(5, 20, 1)).shape
    (16, torch.Size([5, 20, 2]))
    """

    def __init__(
        self,
        c_in: int,
        width: int,
        c_out: int,
        *,
        kernel_size: int = 2,
        dilations: Sequence[int] = (1, 2, 4, 8),
        rest: bool = False,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        require.sizes(c_in=c_in, width=width, c_out=c_out, kernel_size=kernel_size)
        if not isinstance(dilations, Sequence):
            raise TypeError(f"dilations: expected a sequence, got {type(dilations).__name__}")
        if not dilations:
            raise ValueError("dilations: expected at least one, got none")
        for dilation in dilations:
            check.integer("dilations", dilation, 1)
        self.rest = check.boolean("rest", rest)
        made = {"bias": check.boolean("bias", bias), **require.made(device, dtype)}
        self.entry = nn.Linear(c_in, width, **made)
        self.blocks = nn.ModuleList(_Block(width, kernel_size, d, made) for d in dilations)
        self.exit = nn.Linear(width, c_out, **made)

    @property
    def receptive_field(self) -> int:
        """The number of inputs that an output reads, ``1 + sum_l (k - 1) d_l``."""
        return 1 + sum(block.conv.memory for block in self.blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.stream(x)[0]

    def stream(self, x: Tensor, state: Memory | None = None) -> tuple[Tensor, Memory]:
        """A piece of a sequence after the pieces before it, as a recurrence.

        Args:
            x: the piece, ``(..., T, c_in)``.
            state: what each block keeps of the pieces before, its last ``(k - 1) d_l`` inputs
                ``(..., (k - 1) d_l, width)``, or ``(width,)`` if they were constant; the start by
                default.

        Returns:
            The outputs ``(..., T, c_out)`` and the state after the piece.

        Raises: TypeError or ValueError for other arguments.
        """
        require.sequence("x", x, self.entry.in_features)
        x = require.weighted("x", x, self.entry.weight)
        after, h = [], self.entry(x)
        for block, past in zip(self.blocks, self._start(x, state), strict=True):
            after.append(torch.cat([past, h], -2)[..., h.shape[-2] :, :])
            h = block(h, past)
        return require.unspoilt("x", self.exit(h)), tuple(after)

    def resting_state(self) -> Memory:
        """The fixed point for the input 0: for each block the constant it reads, ``(width,)``."""
        weight = self.entry.weight
        h, state = self.entry(weight.new_zeros(self.entry.in_features)), []
        for block in self.blocks:
            state.append(h)
            h = block(h[None], h)[0]
        return tuple(state)

    def _start(self, x: Tensor, state: Memory | None) -> Memory:
        """The given state, checked, or the start, for inputs ``(..., T, c_in)``."""
        width = self.entry.out_features
        shapes = [(*x.shape[:-2], block.conv.memory, width) for block in self.blocks]
        if state is None:
            state = self.resting_state() if self.rest else (x.new_zeros(width),) * len(shapes)
        if not isinstance(state, tuple):
            raise TypeError(f"state: expected a tuple of tensors, got {type(state).__name__}")
        if len(state) != len(shapes):
            raise ValueError(f"state: expected {len(shapes)} tensors, got {len(state)}")
        return tuple(require.state("state", p, s, x) for p, s in zip(state, shapes, strict=True))


class _Block(nn.Module):
    """What a block adds to its input: a causal convolution, rectified and mixed."""

    def __init__(self, width: int, kernel_size: int, dilation: int, made: dict):
        super().__init__()
        self.conv = CausalConv1d(width, width, kernel_size, dilation=dilation, **made)
        self.mix = nn.Linear(width, width, **made)

    def forward(self, h: Tensor, past: Tensor) -> Tensor:
        return h + self.mix(torch.relu(self.conv(h, past)))
