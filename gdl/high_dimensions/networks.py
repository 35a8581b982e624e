r"""Networks to look into: one written down in closed form, gradients and outputs of every layer.

Chapter: ``high_dimensions``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gdl.high_dimensions._checks import _vector


def interpolant(f: Callable[[Tensor], Tensor], knots: Tensor) -> nn.Sequential:
    r"""The network with one hidden ReLU layer that interpolates f linearly between the knots.

    ``f(k_0) + sum_j (s_j - s_{j-1}) relu(x - k_j)`` with the slopes ``s_j`` between knots and
    ``s_{-1} = 0``; one neuron for each of the n pieces. Left of the first knot it is constant,
    right of the last one it goes straight on.

    Args:
        f: maps the knots (n + 1,) to finite values (n + 1,).
        knots: (n + 1,), increasing, at least two.

    Returns:
        A float64 network from (N, 1) to (N, 1).

    Raises:
        TypeError: knots that are no tensor of real numbers, or an f that cannot be called.
        ValueError: knots that do not increase, values of another shape or not finite, or slopes
            that are not finite.

    Law tested: equal to f at the knots; error of at most ``h^2 / 8 max|f''|`` between them; equal
    to ``numpy.interp``. Source: e.g. de Boor, A Practical Guide to Splines, chapter III, eq. (2).
    Chapter: ``high_dimensions``.

    >>> net = interpolant(torch.square, torch.tensor([0.0, 1.0, 2.0]))
    >>> net(torch.tensor([[0.5], [2.0]], dtype=torch.float64))[:, 0].tolist()
    [0.5, 4.0]
    """
    if not callable(f):
        raise TypeError(f"f: expected a function, got {type(f).__name__}")
    knots = _vector("knots", knots)
    if len(knots) < 2 or not bool((knots.diff() > 0).all()):
        raise ValueError("knots: expected at least two numbers in increasing order")
    values = _vector("f", f(knots), len(knots))
    slopes = values.diff() / knots.diff()
    bends = slopes.diff(prepend=torch.zeros(1, dtype=torch.float64))
    if not torch.isfinite(bends).all():
        raise ValueError("f: expected values with finite slopes, got an overflow")
    network = nn.Sequential(nn.Linear(1, len(slopes)), nn.ReLU(), nn.Linear(len(slopes), 1))
    network = network.double()
    with torch.no_grad():
        network[0].weight.fill_(1.0)
        network[0].bias.copy_(-knots[:-1])
        network[2].weight.copy_(bends[None])
        network[2].bias.copy_(values[:1])
    return network


def gradient_norms(model: nn.Module, loss: Tensor) -> list[float]:
    r"""The Frobenius norm of ``d loss / d weight`` for every layer, the first layer first.

    Args:
        model: its modules with a weight matrix or kernel (two axes or more) are the layers, in the
            order of ``model.modules()``.
        loss: a scalar that was computed with the model. Its graph is kept.

    Raises:
        TypeError: no module, or no tensor.
        ValueError: a loss that is no scalar or does not depend on a layer, no layers, or frozen
            ones.

    Law tested: equal to finite differences; the chain rule on a product of numbers. Chapter:
    ``high_dimensions``.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> gradient_norms(net, 3 * net.weight.sum())
    [3.0]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a module, got {type(model).__name__}")
    if not isinstance(loss, Tensor):
        raise TypeError(f"loss: expected a tensor, got {type(loss).__name__}")
    if loss.numel() != 1 or not loss.requires_grad:
        raise ValueError("loss: expected a scalar with a graph")
    weights = [
        module.weight
        for module in model.modules()
        if isinstance(getattr(module, "weight", None), Tensor) and module.weight.ndim >= 2
    ]
    if not weights:
        raise ValueError("model: expected at least one layer with a weight, got none")
    if not all(weight.requires_grad for weight in weights):
        raise ValueError("model: expected weights that require a gradient, got a frozen layer")
    gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    if any(gradient is None for gradient in gradients):
        raise ValueError("loss: expected a loss that depends on every layer of the model")
    return [float(gradient.norm()) for gradient in gradients]


def layer_outputs(model: nn.Sequential, x: Tensor) -> list[Tensor]:
    r"""What each step of a sequential model puts out, the first step first.

    Raises: TypeError if the model is not sequential, or x no tensor.
    Law tested: the last output is the model's; steps that work in place spoil none. Chapter:
    ``high_dimensions``.

    >>> [tuple(h.shape) for h in layer_outputs(
    ...     nn.Sequential(nn.Linear(2, 5), nn.ReLU()), torch.zeros(3, 2))]
    [(3, 5), (3, 5)]
    """
    if not isinstance(model, nn.Sequential):
        raise TypeError(f"model: expected a Sequential, got {type(model).__name__}")
    if not isinstance(x, Tensor):
        raise TypeError(f"x: expected a tensor, got {type(x).__name__}")
    outputs = [x]
    for step in model:
        # A copy, because an in-place step would overwrite the output before it.
        outputs.append(step(outputs[-1].clone()))
    return outputs[1:]
