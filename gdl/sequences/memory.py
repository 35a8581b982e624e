r"""How long a recurrence remembers: forgetting times, chrono initialisation, reach of gradients.

Chapter: ``sequences``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.sequences import _checks as require
from gdl.sequences.cells import Cell, GatedCell, GRUCell, LSTMCell

# The block of each gate that decides what is kept, and the sign with which log u enters it.
KEEPING = {LSTMCell: {0: -1, 1: 1}, GatedCell: {1: -1}, GRUCell: {1: 1}}


def forgetting_time(bias: Tensor) -> Tensor:
    r"""How many steps a state lasts that is multiplied by sigmoid(b) at each of them.

        T = 1 / (1 - sigmoid(b)) = 1 + exp(b)

    After T steps (1 - 1/T)^T of the state is left, less than 1/e by no more than 1/T. For a gate g
    that forgets, as in ``h' = g c + (1 - g) h``, the bias has to be turned: ``1 - sigmoid(b) =
    sigmoid(-b)``.

    Args:
        bias: b, floating point, any shape, finite.

    Returns:
        T, of the shape and dtype of ``bias``, at least 1, in steps.

    Raises: TypeError or ValueError for other arguments, and where the time is infinite in the dtype
    (b above 88 in float32).

    Law tested: equal to the sum of a geometric series; a cell without weights forgets at this
    rate. Chapter: ``sequences``.

    >>> [round(t, 2) for t in forgetting_time(torch.tensor([0.0, 1.0, 4.6])).tolist()]
    [2.0, 3.72, 100.48]
    """
    time = 1 + torch.exp(check.finite("bias", check.floating("bias", bias)))
    if check.readable(time) and not bool(torch.isfinite(time).all()):
        raise ValueError(
            f"bias: expected finite forgetting times in {bias.dtype}, got {float(bias.max())}"
        )
    return time


def gate_bias(time: Tensor) -> Tensor:
    r"""The bias of a keeping gate with this forgetting time: ``b = log(T - 1)``.

    Args:
        time: T, floating point, any shape, above 1 and finite, in steps.

    Returns:
        b, of the shape and dtype of ``time``.

    Raises: TypeError or ValueError for other arguments.
    Law tested: the inverse of :func:`forgetting_time`. Chapter: ``sequences``.

    >>> [round(b, 2) for b in gate_bias(torch.tensor([2.0, 100.0])).tolist()]
    [0.0, 4.6]
    """
    check.finite("time", check.floating("time", time))
    if check.readable(time) and not bool((time > 1).all()):
        raise ValueError(f"time: expected times above 1 step, got {float(time.min())}")
    return torch.log(time - 1)


def chrono_(cell: Cell, longest: float, *, seed: int) -> Cell:
    r"""Start a gated cell with forgetting times spread evenly over [2, longest], in place.

        b = log u,    u uniform in [1, longest - 1],    T = 1 + u

    An LSTM gets the bias b at its forget gate and -b at its input gate, so that what enters and
    what is kept add up to 1; a GRU gets b at its update gate, which keeps; a :class:`GatedCell`
    gets -b at its gate, which forgets. A cell has two biases of which only the sum counts: log u
    stands in ``bias_ih`` and 0 in that block of ``bias_hh``. All other biases and all weights stay
    as they are.

    Args:
        cell: an LSTMCell, a GRUCell or a GatedCell.
        longest: the longest time to remember, in steps, at least 2. At most 2/eps of the cell's
            dtype: for longer times gates round to 1, which never forgets.
        seed: fixes u, from 0 to 2**32 - 1.

    Returns:
        The cell.

    Raises: TypeError or ValueError for other arguments, and for cells without such a gate.
    Law tested: the times are uniform by the test of Kolmogorov and Smirnov, which exponential and
    log-uniform times fail; the states of a cell without weights decay at these times.
    Source: Tallec and Ollivier, Can recurrent neural networks warp time?, ICLR 2018,
    arXiv:1804.11188. Chapter: ``sequences``.

    >>> cell = chrono_(LSTMCell(1, 4), 100, seed=0)
    >>> times = forgetting_time((cell.bias_ih + cell.bias_hh)[4:8])
    >>> bool((times >= 2).all() and (times <= 100).all())
    True
    """
    blocks = next((b for kind, b in KEEPING.items() if isinstance(cell, kind)), None)
    if blocks is None:
        known = ", ".join(kind.__name__ for kind in KEEPING)
        raise TypeError(f"cell: expected one of {known}, got {type(cell).__name__}")
    dtype = cell.bias_ih.dtype
    longest = check.number("longest", longest, 2, 2 / torch.finfo(dtype).eps)
    generator = torch.Generator("cpu").manual_seed(check.integer("seed", seed, 0, 2**32 - 1))
    uniform = {"generator": generator, "dtype": torch.float64, "device": "cpu"}
    b = torch.log(1 + (longest - 2) * torch.rand(cell.hidden_size, **uniform))
    with torch.no_grad():
        for block, sign in blocks.items():
            rows = slice(block * cell.hidden_size, (block + 1) * cell.hidden_size)
            cell.bias_ih[rows] = (sign * b).to(cell.bias_ih)
            cell.bias_hh[rows] = 0
    return cell


def gradient_reach(layer: nn.Module, x: Tensor) -> Tensor:
    r"""How far back gradients reach: the derivative of the last output by each of the inputs.

        r_t = || d h_{T-1} / d x_t ||_F

    Exact, by one backward pass for each of the H outputs. Without gates it vanishes or explodes
    like the powers of ``W_h``.

    Args:
        layer: maps x to outputs ``(..., T, H)``, or to a tuple that begins with them, each sequence
            by itself.
        x: ``(..., T, c)``, T >= 1, finite.

    Returns:
        r, ``(..., T)``, in the dtype of x; no gradient of a parameter is touched.

    Raises: TypeError or ValueError for other arguments, for a layer whose outputs have another
    shape or do not depend on x, and for gradients that overflow.

    Law tested: ``||W_h^(T-1-t) W_x||_F`` for a plain cell at rest; differences for other cells.
    Chapter: ``sequences``.

    >>> from gdl.sequences.cells import PlainCell
    >>> from gdl.sequences.recurrent import Recurrent
    >>> layer = Recurrent(PlainCell(1, 1))
    >>> for parameter in layer.parameters():
    ...     _ = nn.init.constant_(parameter, 0.5)
    >>> bool((gradient_reach(layer, torch.zeros(4, 1)).diff() > 0).all())
    True
    """
    require.sequence("x", x, None)
    if not callable(layer):
        raise TypeError(f"layer: expected a layer of sequences, got {type(layer).__name__}")
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        last = _outputs(layer(leaf), leaf)[..., -1, :]
        squares = torch.zeros_like(x[..., 0], dtype=torch.float64)
        for unit in last.unbind(-1):
            (slope,) = torch.autograd.grad(unit.sum(), leaf, retain_graph=True)
            # Squares of what has nearly vanished would underflow in float32.
            squares += slope.double().square().sum(-1)
    return require.unspoilt("layer, x", squares.sqrt().to(x.dtype))


def clip_gradients_(model: nn.Module, largest: float) -> nn.Module:
    r"""Bound the gradient of each parameter from now on, in place: what explodes becomes a step.

        g -> g min(1, largest / ||g||)

    One exploded gradient spoils Adam's running mean of squares for about a thousand steps.

    Args:
        model: a module with parameters.
        largest: the bound on the norm of each parameter's gradient, positive.

    Returns:
        The model, whose trainable parameters now carry a hook; copies of it carry none.

    Raises: TypeError or ValueError for other arguments; during the backward pass, ValueError for a
    gradient that is not finite, which has no direction.

    Law tested: long gradients keep their direction and get this norm, up to the largest numbers of
    their dtype, short ones stay. Source: Pascanu, Mikolov and Bengio, On the difficulty of training
    recurrent neural networks, ICML 2013, for each parameter by itself. Chapter: ``sequences``.

    >>> model = clip_gradients_(nn.Linear(2, 1, bias=False), 1.0)
    >>> model(torch.tensor([30.0, 40.0])).backward()
    >>> [round(g, 4) for g in model.weight.grad[0].tolist()]
    [0.6, 0.8]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a module, got {type(model).__name__}")
    largest = check.positive("largest", largest)

    def clipped(g: Tensor) -> Tensor:
        if check.readable(g) and not bool(torch.isfinite(g).all()):
            raise ValueError("model: expected finite gradients, got NaN or infinity")
        # First by the largest entry: squares of what has exploded would overflow.
        g = g * (largest / g.abs().max().clamp(min=largest))
        return g * (largest / torch.linalg.vector_norm(g).clamp(min=largest))

    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_hook(clipped)
    return model


def lyapunov_exponents(cell: Cell, x: Tensor, state: Tensor | None = None) -> Tensor:
    r"""The mean rates at which small differences between states grow or shrink along a sequence.

        J_t Q_{t-1} = Q_t R_t,    lambda_i = (1/T) sum_t log |(R_t)_ii|,    J_t = d z_t / d z_{t-1}

    Exponents below 0 are directions that are forgotten, at about ``-1 / lambda`` steps; those
    above 0 make gradients explode.

    Args:
        cell: a cell whose state is one tensor, H numbers.
        x: one sequence, ``(T, input_size)``, T >= 1, finite.
        state: the start, ``(H,)``; None is 0.

    Returns:
        lambda, ``(H,)``, per step, in the order of the axes of Q, which for long sequences is
        falling. Where a direction is lost at once, -inf, or about ``log(eps)`` if rounding
        leaves a rest of it.

    Raises: TypeError or ValueError for other arguments, for a cell with more than one state or in
    another dtype than float32 and float64, and for Jacobians that overflow.

    Law tested: their sum is the mean of ``log |det J_t|``, at any length; at rest they become
    ``log |eigenvalue|`` of ``W_h``. Chapter: ``sequences``.

    >>> from gdl.sequences.cells import PlainCell
    >>> cell = PlainCell(1, 1)
    >>> for parameter in cell.parameters():
    ...     _ = nn.init.zeros_(parameter)
    >>> _ = nn.init.constant_(cell.weight_hh, 0.5)
    >>> round(lyapunov_exponents(cell, torch.zeros(5, 1)).item(), 4)
    -0.6931
    """
    if not isinstance(cell, Cell):
        raise TypeError(f"cell: expected a Cell, got {type(cell).__name__}")
    if cell.parts != 1:
        raise ValueError(f"cell: expected a cell with one state, got {type(cell).__name__}")
    if cell.weight_ih.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"cell: expected float32 or float64, got {cell.weight_ih.dtype}")
    require.sequence("x", x, cell.input_size)
    x = require.weighted("x", x, cell.weight_ih)
    if x.ndim != 2:
        raise ValueError(f"x: expected shape (T, {cell.input_size}), got {tuple(x.shape)}")
    with torch.no_grad():
        (h,) = cell.states(state, x[0])
        axes = torch.eye(cell.hidden_size, dtype=x.dtype, device=x.device)
        rates = torch.zeros_like(h)
        for driven in cell.drive(x):
            step = torch.func.jacrev(lambda h, driven=driven: cell.advance(driven, h)[0])
            axes, stretched = torch.linalg.qr(require.unspoilt("cell, x", step(h) @ axes))
            rates += stretched.diagonal().abs().log()
            (h,) = cell.advance(driven, h)
    return rates / len(x)


def _outputs(returned: Tensor | tuple, x: Tensor) -> Tensor:
    """The outputs among what a layer returns, if they are differentiable and one for each step."""
    outputs = returned[0] if isinstance(returned, tuple) else returned
    if not isinstance(outputs, Tensor):
        raise TypeError(f"layer: expected outputs (..., T, H), got {type(outputs).__name__}")
    if outputs.shape[:-1] != x.shape[:-1]:
        raise ValueError(
            f"layer: expected outputs {(*x.shape[:-1], 'H')}, got {tuple(outputs.shape)}"
        )
    if not _depends(outputs, x):
        raise ValueError("layer: expected outputs that depend on x, got constants")
    return outputs


def _depends(y: Tensor, x: Tensor) -> bool:
    """Whether y was computed from x."""
    if not y.requires_grad:
        return False
    (slope,) = torch.autograd.grad(y.sum(), x, retain_graph=True, allow_unused=True)
    return slope is not None
