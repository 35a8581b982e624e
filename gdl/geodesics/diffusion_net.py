r"""DiffusionNet: learned diffusion, gradients, and a perceptron at each vertex.

What travels on the surface travels by the heat equation, for a time that each channel learns; what
has a direction is measured by inner products of gradients; all else happens at one vertex at a
time. The mesh enters through the Laplacian, areas and gradients only, so the same weights serve
another mesh of the same surface, and a bent one.

Chapter: ``geodesics``.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

import gdl._checks as check
import gdl.geodesics._layers as parts
from gdl.equivariance import full_precision
from gdl.geodesics._factor import SymmetricFactor
from gdl.geodesics.operators import SurfaceOperators

METHODS = ("spectral", "implicit")
READOUTS = ("vertices", "faces", "global")


def diffuse(
    surface: SurfaceOperators, f: Tensor, times: Tensor, method: str = "spectral"
) -> Tensor:
    r"""Let heat flow from functions, in each channel for a time of its own.

        "spectral"    Phi exp(-Lambda t) Phi^T M f       exact in time, of the modes that are there
        "implicit"    (M + t L)^-1 M f                   one backward Euler step, of all modes

    Both keep the total heat. They differ at t = 0, where the first is the projection to the modes
    and the second the identity, and for large t lambda, where they damp by e^{-t lambda} and
    1 / (1 + t lambda). The second factorises a sparse matrix for each time that occurs, on the CPU
    in float64, in each call.

    Args:
        surface: the surface.
        f: ``(n, C)``, in the dtype of the surface.
        times: ``(C,)``, at least 0, in units of area.
        method: ``"spectral"`` or ``"implicit"``.

    Returns:
        ``(n, C)``, differentiable in f and the times (once, if implicit).

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes that do not fit, negative times, another method, entries that are not
            finite.

    Law tested: total heat is kept, a constant stays; both agree with dense matrix functions, and
    derivatives with differences; spectral times add. Source: Sharp, Attaiki, Crane and Ovsjanikov,
    DiffusionNet, ACM Transactions on Graphics 2022. Chapter: ``geodesics``.

    >>> from gdl.geodesics.mesh import Mesh
    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> surface = SurfaceOperators.from_mesh(square, 4)
    >>> heat = torch.tensor([[0.0], [6.0], [0.0], [0.0]], dtype=torch.float64)
    >>> late = torch.tensor([1e6], dtype=torch.float64)
    >>> [diffuse(surface, heat, late, method).round(decimals=3)[0].item() for method in METHODS]
    [1.0, 1.0]
    """
    check.floating("times", times)
    f = parts.features("f", f, surface, None, times)
    check.one_of("method", method, METHODS)
    if times.shape != (f.shape[1],):
        raise ValueError(f"times: expected shape ({f.shape[1]},), got {tuple(times.shape)}")
    check.finite("times", times)
    if check.readable(times) and bool((times < 0).any()):
        raise ValueError(f"times: expected at least 0, got {float(times.detach().min()):.3g}")
    return _diffused(surface, f, times, method)


class LearnedDiffusion(nn.Module):
    r"""Diffusion in which each channel learns its time.

        t = |s|,    dt/ds = -1 for s < 0, and 1 for s >= 0

    A step of an optimiser that would leave t >= 0 is reflected. The slope is nowhere 0, also not at
    the start, s = 0, where that of torch's ``abs`` would be.

    Args:
        channels: C.
        method: as in :func:`diffuse`.
        device, dtype: of the times.

    Attributes:
        time: the parameter s ``(C,)``, from 0.

    Shapes: ``layer(x, surface)`` with x ``(n, C)``; returns ``(n, C)``.

    Raises: TypeError or ValueError as :func:`diffuse` does.
    Law tested: at least 0 whatever the parameter; found by gradient descent, at 0 and away from it,
    from 0 and from either side. Chapter: ``geodesics``.

    >>> layer = LearnedDiffusion(2)
    >>> nn.init.constant_(layer.time, -1.5).tolist(), layer.times().tolist()
    ([-1.5, -1.5], [1.5, 1.5])
    """

    def __init__(
        self,
        channels: int,
        *,
        method: str = "spectral",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.channels = check.integer("channels", channels, 1)
        check.one_of("method", method, METHODS)
        self.method = method
        self.time = nn.Parameter(torch.zeros(channels, **parts.made(device, dtype)))

    def times(self) -> Tensor:
        """The times ``(C,)``, at least 0."""
        return torch.where(self.time < 0, -self.time, self.time)

    def forward(self, x: Tensor, surface: SurfaceOperators) -> Tensor:
        x = parts.features("x", x, surface, self.channels, self.time)
        return _diffused(surface, x, self.times(), self.method)


class GradientFeatures(nn.Module):
    r"""Inner products of gradients, which no frame enters.

        z = grad x on a face, one complex number for each channel, in a frame of that face
        p_a = Re( conj(z_a) (A z)_a )           A learned
        y   = tanh( mean of p over the faces at a vertex, by area )

    Turning the frame of a face multiplies its z by a phase, which cancels in p. With a real A the
    feature does not see the orientation of the surface; the imaginary part of A multiplies the
    sine of the angle from one gradient to another, which changes its sign when the surface is
    turned inside out or mirrored.

    It differs from the published layer: there a gradient is fitted at each vertex, by least squares
    in a tangent plane that is read from coordinates in space, and the product is taken afterwards.
    Here products are taken on the faces, where the gradient is exact and made of the three side
    lengths, and then averaged, so the feature is intrinsic to the last digit, and the squared
    gradient, A = I, is the density of the Dirichlet energy.

    Args:
        channels: C.
        orientation: whether A is complex.
        device, dtype: of the weights.

    Attributes:
        real, imaginary: the parts of A, linear maps without bias; the second is None for a real A.

    Shapes: ``layer(x, surface)`` with x ``(n, C)``; returns ``(n, C)``.

    Raises: TypeError or ValueError as :func:`diffuse` does.
    Law tested: independent of frames; invariant under isometry, and with a real A under mirrors;
    with an imaginary A a mirror changes the sign. Source: adapted from Sharp, Attaiki, Crane and
    Ovsjanikov, DiffusionNet, ACM Transactions on Graphics 2022. Chapter: ``geodesics``.

    >>> from gdl.geodesics.mesh import Mesh
    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> surface = SurfaceOperators.from_mesh(square, 1).to(dtype=torch.float32)
    >>> GradientFeatures(2)(torch.ones(4, 2), surface).abs().max().item() < 1e-6
    True
    """

    def __init__(
        self,
        channels: int,
        *,
        orientation: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.channels = check.integer("channels", channels, 1)
        check.boolean("orientation", orientation)
        made = {"bias": False, **parts.made(device, dtype)}
        self.real = nn.Linear(channels, channels, **made)
        self.imaginary = nn.Linear(channels, channels, **made) if orientation else None

    def forward(self, x: Tensor, surface: SurfaceOperators) -> Tensor:
        x = parts.features("x", x, surface, self.channels, self.real.weight)
        with full_precision(x.device):
            z = surface.gradient_parts(x)
            products = (z * self.real(z)).sum(0)
            if self.imaginary is not None:
                turned = self.imaginary(z)
                products = products + z[1] * turned[0] - z[0] * turned[1]
            return surface.to_vertices(products).tanh()


class DiffusionBlock(nn.Module):
    r"""Diffusion, gradient features of what was diffused, and a perceptron with a residual.

        v = diffusion(x),   y = x + mlp(x, v, gradients(v))

    Args:
        channels: C, also the width of the perceptron, which has two hidden layers.
        method: of the diffusion, as in :func:`diffuse`.
        gradient_features: whether they are there.
        orientation: whether they see the orientation of the surface.
        dropout: the share of hidden units dropped in training, from 0 to less than 1.
        device, dtype: of the weights.

    Shapes: ``block(x, surface)`` with x ``(n, C)``; returns ``(n, C)``.

    Raises: TypeError or ValueError as :func:`diffuse` does, and for a dropout out of range.
    Law tested: as for :class:`DiffusionNet`. Source: Sharp, Attaiki, Crane and Ovsjanikov,
    DiffusionNet, ACM Transactions on Graphics 2022. Chapter: ``geodesics``.

    >>> from gdl.geodesics.mesh import Mesh
    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> surface = SurfaceOperators.from_mesh(square, 3).to(dtype=torch.float32)
    >>> DiffusionBlock(8)(torch.ones(4, 8), surface).shape
    torch.Size([4, 8])
    """

    def __init__(
        self,
        channels: int,
        *,
        method: str = "spectral",
        gradient_features: bool = True,
        orientation: bool = True,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        made = parts.made(device, dtype)
        self.diffusion = LearnedDiffusion(channels, method=method, **made)
        self.gradients = None
        if check.boolean("gradient_features", gradient_features):
            self.gradients = GradientFeatures(channels, orientation=orientation, **made)
        heard = (3 if gradient_features else 2) * channels
        self.mlp = _perceptron([heard, channels, channels, channels], _share(dropout), made)

    def forward(self, x: Tensor, surface: SurfaceOperators) -> Tensor:
        diffused = self.diffusion(x, surface)
        heard = [x, diffused]
        if self.gradients is not None:
            heard.append(self.gradients(diffused, surface))
        return x + self.mlp(torch.cat(heard, dim=1))


class DiffusionNet(nn.Module):
    r"""A network on surfaces: a linear map, diffusion blocks, a linear map, a readout.

    Whatever features are fed decide what it sees: with intrinsic ones (heat kernel signatures, or
    ones) its output depends on the side lengths of the mesh alone; with coordinates it sees the
    pose. Times and gradients have units: scale all surfaces to one total area, say.

    Args:
        in_channels, out_channels: of features and output.
        width: channels of the blocks.
        blocks: how many.
        readout: ``"vertices"``; ``"faces"``, the mean of the three corners; ``"global"``, the mean
            by area.
        method, gradient_features, orientation, dropout, device, dtype: as in
            :class:`DiffusionBlock`.

    Shapes: ``network(x, surface)`` with x ``(n, in_channels)`` returns ``(n, out_channels)``,
    ``(m, out_channels)`` or ``(out_channels,)``. One surface at a time.

    Raises:
        TypeError: arguments of other types or dtypes (the surface has the dtype of the network:
            :meth:`SurfaceOperators.to`).
        ValueError: shapes or devices that do not fit, names or sizes out of range, entries that are
            not finite.

    Law tested: a permutation of the vertices permutes; frames of faces do not matter; an isometry
    changes nothing, nor a mirror with a real A; a complex one sees it; nearly the same values on a
    finer mesh. Source: Sharp, Attaiki, Crane and Ovsjanikov, DiffusionNet, ACM Transactions on
    Graphics 2022; the gradient features are others, see :class:`GradientFeatures`.
    Chapter: ``geodesics``.

    >>> from gdl.geodesics.mesh import Mesh
    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> surface = SurfaceOperators.from_mesh(square, 3).to(dtype=torch.float32)
    >>> DiffusionNet(3, 10, width=8, blocks=2, readout="global")(torch.ones(4, 3), surface).shape
    torch.Size([10])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 32,
        blocks: int = 4,
        readout: str = "vertices",
        method: str = "spectral",
        gradient_features: bool = True,
        orientation: bool = True,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.in_channels = check.integer("in_channels", in_channels, 1)
        self.out_channels = check.integer("out_channels", out_channels, 1)
        check.integer("width", width, 1)
        check.integer("blocks", blocks)
        check.one_of("readout", readout, READOUTS)
        self.readout = readout
        made = parts.made(device, dtype)
        options = {"method": method, "gradient_features": gradient_features}
        options |= {"orientation": orientation, "dropout": dropout}
        self.first = nn.Linear(in_channels, width, **made)
        self.blocks = nn.ModuleList(DiffusionBlock(width, **options, **made) for _ in range(blocks))
        self.last = nn.Linear(width, out_channels, **made)

    def forward(self, x: Tensor, surface: SurfaceOperators) -> Tensor:
        x = self.first(parts.features("x", x, surface, self.in_channels, self.first.weight))
        for block in self.blocks:
            x = block(x, surface)
        return _read(surface, self.last(x), self.readout)


def _read(surface: SurfaceOperators, x: Tensor, readout: str) -> Tensor:
    if readout == "vertices":
        return x
    with full_precision(x.device):
        x = x.to(surface.dtype)
        return surface.to_faces(x) if readout == "faces" else surface.mean(x)


def _perceptron(sizes: list[int], dropout: float, made: dict) -> nn.Sequential:
    layers = [nn.Linear(sizes[0], sizes[1], **made)]
    for inputs, outputs in zip(sizes[1:-1], sizes[2:], strict=True):
        layers += [nn.ReLU(), nn.Dropout(dropout), nn.Linear(inputs, outputs, **made)]
    return nn.Sequential(*layers)


def _share(dropout: float) -> float:
    check.number("dropout", dropout, 0)
    if dropout >= 1:
        raise ValueError(f"dropout: expected a number from 0 to less than 1, got {dropout}")
    return float(dropout)


def _diffused(surface: SurfaceOperators, f: Tensor, times: Tensor, method: str) -> Tensor:
    if method == "implicit":
        return _backward_euler(surface, f, times)
    with full_precision(f.device):
        damping = torch.exp(-surface.values[:, None] * times)
        return surface.synthesise(damping * surface.project(f))


def _backward_euler(surface: SurfaceOperators, f: Tensor, times: Tensor) -> Tensor:
    # Not a decorator: to load the compiler takes two seconds, and few need it.
    return torch.compiler.disable(_BackwardEuler.apply)(f, times, surface)


class _BackwardEuler(torch.autograd.Function):
    """v = (M + t L)^-1 M u. With w = (M + t L)^-1 v' for the gradient v' of v, u' = M w and
    t' = -w^T L v, by the symmetry of M + t L.
    """

    @staticmethod
    def forward(ctx, u: Tensor, times: Tensor, surface: SurfaceOperators) -> Tensor:
        ctx.surface = surface
        steps, ctx.step_of = np.unique(_exact(times), return_inverse=True)
        ctx.factors = [_step_factor(surface, step) for step in steps]
        v = _solved(ctx, surface.exact_areas[:, None] * _exact(u))
        ctx.flux = surface.laplacian @ v
        return torch.from_numpy(v).to(u)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        w = _solved(ctx, _exact(gradient))
        of_u = torch.from_numpy(ctx.surface.exact_areas[:, None] * w).to(gradient)
        of_times = torch.from_numpy(-(w * ctx.flux).sum(0)).to(gradient)
        return of_u, of_times, None


def _step_factor(surface: SurfaceOperators, time: float) -> SymmetricFactor:
    matrix = csr_array(diags_array(surface.exact_areas) + time * surface.laplacian)
    return SymmetricFactor(matrix, surface.elimination_order)


def _solved(ctx, b: np.ndarray) -> np.ndarray:
    """A solution for each channel, with the matrix of its time."""
    x = np.empty_like(b)
    for index, factor in enumerate(ctx.factors):
        channels = ctx.step_of == index
        x[:, channels] = factor.solve(b[:, channels])
    return x


def _exact(x: Tensor) -> np.ndarray:
    return x.detach().double().cpu().numpy()
