r"""Equations of evolution as residual networks: untrained the heat equation, trained another one.

Chapter: ``diffusion``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import gdl._checks as check
from gdl.diffusion._images import BOUNDARIES, bordered, check_images
from gdl.diffusion.invariants import INVARIANTS, differential_invariants
from gdl.training import History, fit


class EvolutionPDE(nn.Module):
    r"""A learned equation, solved by explicit steps: each step is a residual layer.

        u_{t+1} = u_t + step * sum_j a_tj inv_j(u_t)

    The terms inv_j are invariants of the jet, see :func:`~gdl.diffusion.differential_invariants`,
    and only their coefficients are learned. So the network commutes with quarter turns and flips,
    whatever it learns. Untrained it is the heat equation, stable for steps up to 1/4.

    Args:
        layers: number of steps.
        step: length of a step in time, positive.
        shared: one set of coefficients for all layers: an equation that does not change with time.
        invariants: the terms that may be used, names from ``INVARIANTS``, among them "lap u".
        boundary: ``"replicate"`` or ``"circular"``, see :func:`~gdl.diffusion.stencil_jet`.
        device, dtype: of the coefficients.

    Attributes:
        coefficients: ``(layers, terms)``, or ``(1, terms)`` if shared.

    Shapes: images ``(B, 1, H, W)`` to the same, in the dtype of the coefficients.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: sizes, names or shapes that do not fit, images that are not finite, an evolution
            that overflows.

    Law tested: untrained it is a loop of convolutions with the 5-point stencil, to 1e-12, and the
    solution of the heat equation by eigenvectors; it keeps the bounds of the image for steps up to
    1/4; a chessboard grows without bound for longer ones; it commutes with quarter turns and flips,
    and with shifts if circular, to 1e-12; its gradients are those of finite differences and of the
    adjoint equation. Source: Liu, Lin, Zhang, Tang and Su 2013. Chapter: ``diffusion``.

    >>> spot = torch.zeros(1, 1, 3, 3)
    >>> spot[0, 0, 1, 1] = 1.0
    >>> EvolutionPDE(1, step=0.25)(spot).detach()[0, 0, 1]
    tensor([0.2500, 0.0000, 0.2500])
    """

    def __init__(
        self,
        layers: int,
        *,
        step: float,
        shared: bool = False,
        invariants: Sequence[str] = INVARIANTS,
        boundary: str = "replicate",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.layers = check.integer("layers", layers, 1)
        self.step = check.positive("step", step)
        self.shared = check.boolean("shared", shared)
        self.invariants = _names(invariants)
        if "lap u" not in self.invariants:
            raise ValueError(f"invariants: expected 'lap u' among them, got {self.invariants}")
        check.one_of("boundary", boundary, BOUNDARIES)
        self.boundary = boundary
        dtype = check.real_dtype(torch.get_default_dtype() if dtype is None else dtype)
        shape = (1 if shared else layers, len(self.invariants))
        self.coefficients = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Make it the heat equation."""
        with torch.no_grad():
            self.coefficients.zero_()
            self.coefficients[:, self.invariants.index("lap u")] = 1.0

    def path(self, images: Tensor) -> Tensor:
        r"""The image at all times, the first included: ``(layers + 1, B, 1, H, W)``.

        Arguments and errors are those of the layer.
        """
        u = check_images(check.typed("images", images, self.coefficients.dtype))
        if u.device != self.coefficients.device:
            raise ValueError(f"images: expected {self.coefficients.device}, got {u.device}")
        states = [u]
        for coefficients in self.coefficients.expand(self.layers, -1):
            u = u + self.step * self._velocity(u, coefficients)
            if check.readable(u) and not check.all_finite(u):
                raise ValueError(
                    f"step: expected an evolution that stays finite, got an overflow in step "
                    f"{len(states)} of length {self.step}"
                )
            states.append(u)
        return torch.stack(states)

    def forward(self, images: Tensor) -> Tensor:
        return self.path(images)[-1]

    def _velocity(self, u: Tensor, coefficients: Tensor) -> Tensor:
        terms = differential_invariants(u, self.boundary)
        chosen = terms[:, [INVARIANTS.index(name) for name in self.invariants]]
        return torch.einsum("j,bjhw->bhw", coefficients, chosen)[:, None]

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        return (
            f"layers={self.layers}, step={self.step}, shared={self.shared}, "
            f"terms={len(self.invariants)}, boundary={self.boundary}"
        )


def train_evolution(
    model: EvolutionPDE,
    first: Tensor,
    last: Tensor,
    *,
    steps: int = 300,
    lr: float = 1e-2,
    batch_size: int = 16,
    seed: int = 0,
) -> History:
    r"""Find the coefficients whose evolution leads from the first images to the last.

        minimise the mean of (u_T - last)^2  with  u_0 = first

    It is a problem of optimal control, whose controls are the coefficients; backpropagation solves
    the adjoint equation. The training is :func:`gdl.training.fit`.

    Args:
        model: trained in place, from the coefficients that it has.
        first, last: (N, 1, H, W), in the dtype of the coefficients.
        steps, lr, batch_size, seed: see :func:`gdl.training.fit`.

    Returns:
        The losses.

    Raises:
        TypeError or ValueError: other arguments; an evolution that overflows, or a training that
            diverges: choose a smaller ``lr``, or a shorter step.

    Law tested: from images before and after ten steps it finds the coefficients of the heat
    equation, and of one with a gradient and a reaction term, within 1e-2, others within 0.05. From
    an equation that prefers a direction it finds none. Chapter: ``diffusion``.

    >>> first = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> model = EvolutionPDE(1, step=0.1)
    >>> history = train_evolution(model, first, first, steps=5)
    >>> history.step_losses[-1] < history.step_losses[0]
    True
    """
    if not isinstance(model, EvolutionPDE):
        raise TypeError(f"model: expected an EvolutionPDE, got {type(model).__name__}")
    for name, images in (("first", first), ("last", last)):
        check_images(images, name)
    if first.shape != last.shape:
        raise ValueError(f"last: expected shape {tuple(first.shape)}, got {tuple(last.shape)}")
    history = fit(
        model, first, last, steps=steps, lr=lr, batch_size=batch_size, loss=mse_loss, seed=seed
    )
    start, end = history.step_losses[0], history.step_losses[-1]
    if end > 10 * max(start, float(last.square().mean())):
        raise ValueError(
            f"lr: expected a training that converges, got a loss of {start:.3g} at first and "
            f"{end:.3g} in the end, lr={lr}; the terms of higher degree can run away"
        )
    return history


def regress_equation(
    before: Tensor,
    after: Tensor,
    step: float,
    *,
    invariants: Sequence[str] = INVARIANTS,
    boundary: str = "replicate",
) -> tuple[Tensor, float]:
    r"""Read the coefficients off two neighbouring moments, by linear least squares.

        minimise over a:  |(after - before) / step - sum_j a_j inv_j(before)|^2

    The equation is linear in its coefficients, so that one step needs no training. Noise in
    ``before`` is amplified by the derivatives and biases the result; through several steps,
    :func:`~gdl.diffusion.train_evolution` sees less of it.

    Args:
        before, after: (N, 1, H, W), of the same floating dtype.
        step: time between them, positive.
        invariants: the terms, names from ``INVARIANTS``.
        boundary: ``"replicate"`` or ``"circular"``, see :func:`~gdl.diffusion.stencil_jet`.

    Returns:
        The coefficients, (terms,), float64, and the share of the change that they leave
        unexplained, between 0 and 1: the norm of the residual over that of the change.

    Raises:
        TypeError: arguments of other types.
        ValueError: shapes or names that do not fit, images in which nothing changes, or in which
            the terms are linearly dependent, as in constant ones.

    Law tested: a step of :class:`~gdl.diffusion.EvolutionPDE` is read exactly, to 1e-8. Where an
    equation prefers a direction, and the images come in all turned and flipped versions, the result
    is the average of the equation over the group. Chapter: ``diffusion``.

    >>> before = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    >>> heat = EvolutionPDE(1, step=0.1, dtype=torch.float64)
    >>> coefficients, left = regress_equation(before, heat(before).detach(), 0.1)
    >>> round(float(coefficients[3]), 6), left < 1e-9
    (1.0, True)
    """
    check_images(before, "before")
    check_images(after, "after")
    if (before.shape, before.dtype) != (after.shape, after.dtype):
        raise ValueError(
            f"after: expected {before.dtype} of shape {tuple(before.shape)}, got {after.dtype} of "
            f"shape {tuple(after.shape)}"
        )
    step = check.positive("step", step)
    names = _names(invariants)
    before, after = before.double(), after.double()
    terms = differential_invariants(before, boundary)[:, [INVARIANTS.index(n) for n in names]]
    library = terms.transpose(0, 1).reshape(len(names), -1).T
    change = check.finite("step", ((after - before) / step).reshape(-1))
    scales = library.norm(dim=0)
    if check.readable(change) and not bool(change.any()):
        raise ValueError("after: expected images that differ from before, got the same")
    if not bool((scales > 0).all()) or torch.linalg.cond(library / scales) > 1e10:
        raise ValueError("before: expected images in which the terms are linearly independent")
    scaled = torch.linalg.lstsq(library / scales, change[:, None]).solution[:, 0]
    residual = change - (library / scales) @ scaled
    return scaled / scales, float((residual.norm() / change.norm()).detach())


def perona_malik(
    images: Tensor, steps: int, *, step: float = 0.2, contrast: float, boundary: str = "replicate"
) -> Tensor:
    r"""Diffusion that stops at edges: the flow from a neighbour q to p is ``g(d) d``.

        u_p += step * sum_q g(d_pq) d_pq,    d_pq = u_q - u_p,    g(d) = 1 / (1 + (d / contrast)^2)

    Args:
        images: (B, 1, H, W), floating-point.
        steps: number of steps, at least 0.
        step: length of a step, from 0 to 1/4, which keeps the bounds of the image.
        contrast: differences much smaller than this are smoothed, larger ones kept; positive.
        boundary: ``"replicate"`` or ``"circular"``, see :func:`~gdl.diffusion.stencil_jet`.

    Returns:
        (B, 1, H, W).

    Raises: TypeError or ValueError for other arguments.

    Law tested: the heat equation for large contrast; keeps the sum and the bounds of the image;
    commutes with quarter turns and flips; lowers the energy whose gradient it follows, and this
    gradient is that of torch. Source: Perona and Malik 1990. Chapter: ``diffusion``.

    >>> edge = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(1, 1, 4, 4)
    >>> round(float(perona_malik(edge, 1, contrast=0.1)[0, 0, 0, 1]), 4)
    0.002
    """
    u = check_images(images)
    check.integer("steps", steps)
    step = check.number("step", step, 0.0, 0.25)
    contrast = check.positive("contrast", contrast)
    if contrast < torch.finfo(u.dtype).tiny:
        raise ValueError(f"contrast: expected a number that {u.dtype} can hold, got {contrast}")
    for _ in range(steps):
        p = bordered(u, boundary)
        flows = [
            d / (1 + (d / contrast) ** 2)
            for d in (
                p[..., :-2, 1:-1] - u,
                p[..., 2:, 1:-1] - u,
                p[..., 1:-1, :-2] - u,
                p[..., 1:-1, 2:] - u,
            )
        ]
        u = u + step * ((flows[0] + flows[1]) + (flows[2] + flows[3]))
    check.finite("images", u)
    return u


def _names(invariants: Sequence[str]) -> tuple[str, ...]:
    if isinstance(invariants, str) or not isinstance(invariants, Sequence) or not invariants:
        raise TypeError(f"invariants: expected several names, got {invariants!r}")
    for name in invariants:
        check.one_of("invariants", name, INVARIANTS)
    if len(set(invariants)) != len(invariants):
        raise ValueError(f"invariants: expected different names, got {tuple(invariants)}")
    return tuple(invariants)
