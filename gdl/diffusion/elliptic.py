r"""Diffusion at rest: a linear elliptic system on a graph, as an implicit layer.

Chapter: ``diffusion``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

import gdl._checks as check

# The system is factorised as a dense matrix: 6400 vertices are an image of 80 times 80.
MOST_VERTICES = 6400
LONGEST_WALK = 100_000


def grid_edges(height: int, width: int, *, device: torch.device | str | None = None) -> Tensor:
    r"""The edges between pixels of an image that share a side.

    Pixel (row, column) is vertex ``row * width + column``.

    Args:
        height, width: size of the image, at least one pixel.
        device: of the result.

    Returns:
        Edge index (2, E), int64, each edge once; E = 2 height width - height - width.

    Raises: TypeError or ValueError for other sizes.

    Law tested: equal to networkx's grid graph; a turned image has the turned edges. Chapter:
    ``diffusion``.

    >>> grid_edges(2, 2)
    tensor([[0, 2, 0, 1],
            [1, 3, 2, 3]])
    """
    check.integer("height", height, 1)
    check.integer("width", width, 1)
    vertices = torch.arange(height * width, device=device).reshape(height, width)
    across = torch.stack([vertices[:, :-1].flatten(), vertices[:, 1:].flatten()])
    down = torch.stack([vertices[:-1].flatten(), vertices[1:].flatten()])
    return torch.cat([across, down], 1)


def similarity_weights(
    features: Tensor, edge_index: Tensor, contrast: Tensor | float = 1.0
) -> Tensor:
    r"""Weights of edges that are small where features jump.

        K_pq = exp(-contrast |h_p - h_q|^2)

    Args:
        features: h, (..., n, d), floating-point and finite.
        edge_index: (2, E), int64.
        contrast: a number or a tensor of one entry, at least 0; 0 makes all weights 1.

    Returns:
        K, (..., E), in the dtype of the features, between 0 and 1.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: other shapes, vertices out of range, entries that are not finite, a negative
            contrast.

    Law tested: the formula edge by edge; unchanged by shifts and rotations of the features.
    Chapter: ``diffusion``.

    >>> similarity_weights(torch.tensor([[0.0], [0.0], [1.0]]), torch.tensor([[0, 1], [1, 2]]))
    tensor([1.0000, 0.3679])
    """
    check.finite("features", check.shaped("features", features, None, None))
    check.edges("edge_index", edge_index, features.shape[-2], features.device)
    contrast = _coefficient("contrast", contrast, features)
    source, target = edge_index
    jumps = features[..., source, :] - features[..., target, :]
    # A jump whose square overflows is as far as numbers go; infinity times 0 would be NaN.
    distances = jumps.square().sum(-1).clamp(max=torch.finfo(features.dtype).max)
    return (-contrast * distances).exp()


def diffusion_matrix(
    weights: Tensor, edge_index: Tensor, lam: Tensor | float, held: Tensor
) -> Tensor:
    r"""The matrix of the system, with the rows and columns of held vertices those of the identity.

        M_pp = sum_q K_pq + lam,    M_pq = -K_pq    for p and q free

    Args:
        weights: K, (..., E), of edges between different vertices; several edges add up.
        edge_index: (2, E), int64.
        lam: a number or a tensor of one entry.
        held: (..., n), bool, where the solution is given.

    Returns:
        M, (..., n, n), symmetric; positive definite if no weight is negative, ``lam`` is not, and
        either ``lam`` is positive or every connected part has a held vertex.

    Arguments are not checked, so that broken twins can be built.

    Law tested: equal to networkx's Laplacian plus lam on free vertices, in the system of
    :func:`~gdl.diffusion.solve_diffusion`. Chapter: ``diffusion``.

    >>> edges, held = torch.tensor([[0, 1], [1, 2]]), torch.tensor([True, False, False])
    >>> diffusion_matrix(torch.tensor([2.0, 3.0]), edges, 1.0, held)
    tensor([[ 1.,  0.,  0.],
            [ 0.,  6., -3.],
            [ 0., -3.,  4.]])
    """
    n = held.shape[-1]
    source, target = edge_index
    batch = torch.broadcast_shapes(weights.shape[:-1], held.shape[:-1])
    free = (~held).to(weights.dtype)
    inner = weights * free[..., source] * free[..., target]
    M = weights.new_zeros(*batch, n * n)
    inner = inner.expand(*batch, -1)
    M = M.index_add(-1, source * n + target, -inner).index_add(-1, target * n + source, -inner)
    degree = weights.new_zeros(*batch, n)
    full = weights.expand(*batch, -1)
    degree = degree.index_add(-1, source, full).index_add(-1, target, full)
    diagonal = torch.where(held, torch.ones_like(degree), degree + lam)
    return M.reshape(*batch, n, n) + torch.diag_embed(diagonal)


def solve_diffusion(
    weights: Tensor,
    edge_index: Tensor,
    guidance: Tensor,
    lam: Tensor | float,
    held: Tensor,
    values: Tensor,
) -> Tensor:
    r"""Diffusion at rest: the solution of a linear elliptic system with given values.

        sum_q K_pq (f_p - f_q) + lam (f_p - g_p) = 0 where p is free,    f_p = v_p where it is held

    One Cholesky factorisation serves the solution and, in the backward pass, the adjoint: with a
    the solution of the same system for the incoming gradient, 0 on held vertices,

        d/dg_p = lam a_p,    d/dlam = sum_p a_p (g_p - f_p),    d/dK_pq = -(a_p - a_q) (f_p - f_q)

    Args:
        weights: K, (..., E), float32 or float64, not negative.
        edge_index: (2, E), int64, no edge from a vertex to itself.
        guidance: g, (..., n).
        lam: a number or a tensor of one entry, not negative; how strongly f is drawn to g.
        held: (n,) or (..., n), bool; where f is given, as on seeds and background.
        values: v, (n,) or (..., n); read where f is held.

    Returns:
        f, the shape of the guidance, differentiable once in weights, guidance, lam and values.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: other shapes, vertices out of range, entries that are not finite, negative
            weights or lam, more than 6400 vertices, a system that is singular up to rounding, a
            solution that overflows.

    Law tested: equal to ``torch.linalg.solve``, values and gradients, to 1e-12; f lies between the
    least and the greatest of g and v; it is the minimum of the energy, the average of what random
    walks collect, the limit of time steps, and for lam = 0 the harmonic extension; renumbered
    vertices renumber f. Chapter: ``diffusion``.

    >>> edges, held = torch.tensor([[0, 1], [1, 2]]), torch.tensor([True, False, True])
    >>> ends = torch.tensor([0.0, 0.0, 4.0])
    >>> solve_diffusion(torch.tensor([1.0, 3.0]), edges, torch.zeros(3), 0.0, held, ends)
    tensor([0., 3., 4.])
    """
    lam, held = _checked(weights, edge_index, guidance, lam, held, values)
    f = _Diffusion.apply(weights, guidance, lam, values.expand_as(guidance), edge_index, held)
    if check.readable(f) and not check.all_finite(f):
        raise ValueError("guidance, lam, values: expected a finite solution, got an overflow")
    return f


class _Diffusion(torch.autograd.Function):
    """The system as one node of the tape, with its adjoint written out."""

    @staticmethod
    def forward(ctx, weights, guidance, lam, values, edge_index, held):
        M = diffusion_matrix(weights, edge_index, lam, held)
        factor = _factorised(M)
        fixed = torch.where(held, values, torch.zeros_like(values))
        inflow = lam * guidance + _gathered(weights, edge_index, fixed)
        right = torch.where(held, values, inflow)
        f = torch.cholesky_solve(right[..., None], factor)[..., 0]
        ctx.save_for_backward(weights, guidance, lam, edge_index, held, factor, f)
        return f

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        weights, guidance, lam, edge_index, held, factor, f = ctx.saved_tensors
        free = torch.where(held, torch.zeros_like(grad), grad)
        a = torch.cholesky_solve(free[..., None], factor)[..., 0]
        source, target = edge_index
        by_weight = -(a[..., source] - a[..., target]) * (f[..., source] - f[..., target])
        by_lam = (a * (guidance - f)).sum().reshape(lam.shape)
        by_value = torch.where(held, grad + _gathered(weights, edge_index, a), torch.zeros_like(a))
        return by_weight, lam * a, by_lam, by_value, None, None


def random_walks(
    weights: Tensor,
    edge_index: Tensor,
    guidance: Tensor,
    lam: Tensor | float,
    held: Tensor,
    values: Tensor,
    *,
    start: int,
    walks: int,
    seed: int = 0,
) -> Tensor:
    r"""What random walks collect: the same system, solved by playing.

    At a held vertex the walk ends and collects v. At a free vertex p it stops with probability
    lam / (d_p + lam), where d_p is the sum of the weights at p, and collects g_p; else it goes to a
    neighbour q with probability K_pq / (d_p + lam).

    Args:
        weights, edge_index, guidance, lam, held, values: as in
            :func:`~gdl.diffusion.solve_diffusion`, of one graph, without batch.
        start: the vertex where all walks begin.
        walks: how many.
        seed: of the steps.

    Returns:
        What each walk collected, (walks,). Its mean estimates f at the start.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: other shapes or ranges, walks that do not end within 100000 steps.

    Law tested: the mean is f within four standard errors. Chapter: ``diffusion``.

    >>> edges, held = torch.tensor([[0, 1], [1, 2]]), torch.tensor([True, False, True])
    >>> play = dict(lam=0.0, held=held, values=torch.tensor([0.0, 0.0, 4.0]), start=1, walks=1000)
    >>> random_walks(torch.tensor([1.0, 3.0]), edges, torch.zeros(3), **play).unique()
    tensor([0., 4.])
    """
    lam, held = _checked(weights, edge_index, guidance, lam, held, values)
    if guidance.ndim != 1:
        raise ValueError(f"guidance: expected shape (n,), got {tuple(guidance.shape)}")
    n = len(guidance)
    check.integer("start", start, 0, n - 1)
    check.integer("walks", walks, 1)
    check.integer("seed", seed, 0, 2**32 - 1)
    source, target = edge_index
    K = weights.detach().new_zeros(n * n).index_add(0, source * n + target, weights.detach())
    K = (K.reshape(n, n) + K.reshape(n, n).T).double()
    # Column n is the end: there a free vertex pays g, a held one v.
    steps = torch.cat([K, torch.full((n, 1), float(lam), dtype=K.dtype, device=K.device)], 1)
    steps[held] = torch.eye(n + 1, dtype=K.dtype, device=K.device)[n]
    if bool((steps.sum(1) == 0).any()):
        raise ValueError("lam: expected a positive one where a free vertex has no neighbour")
    pay = torch.where(held, values, guidance).detach()
    generator = torch.Generator(weights.device).manual_seed(seed)
    place = torch.full((walks,), start, device=weights.device)
    last = place.clone()
    for _ in range(LONGEST_WALK):
        going = (place < n).nonzero()[:, 0]
        if not len(going):
            return pay[last]
        last[going] = place[going]
        drawn = torch.multinomial(steps[place[going]], 1, generator=generator)
        place[going] = drawn[:, 0]
    raise ValueError(f"lam: expected walks that end within {LONGEST_WALK} steps, some go on")


def _factorised(M: Tensor) -> Tensor:
    """Cholesky's factor, or an error where the system is singular up to rounding."""
    factor, failed = torch.linalg.cholesky_ex(M)
    if check.readable(M):
        left = torch.diagonal(factor, dim1=-2, dim2=-1).square()
        whole = torch.diagonal(M, dim1=-2, dim2=-1)
        # Rounding errors of the last pivots grow like the root of the number of vertices.
        lost = left < 20 * math.sqrt(M.shape[-1]) * torch.finfo(M.dtype).eps * whole
        if bool(failed.any()) or bool(lost.any()) or not check.all_finite(factor):
            raise ValueError(
                "weights, lam, held: expected a regular system, got one that is singular up to "
                "rounding; each connected part needs a held vertex, or lam must be larger"
            )
    return factor


def _gathered(weights: Tensor, edge_index: Tensor, f: Tensor) -> Tensor:
    """The sum over neighbours, ``sum_q K_pq f_q``."""
    source, target = edge_index
    flow = torch.zeros_like(f).index_add(-1, target, weights * f[..., source])
    return flow.index_add(-1, source, weights * f[..., target])


def _checked(
    weights: Tensor,
    edge_index: Tensor,
    guidance: Tensor,
    lam: Tensor | float,
    held: Tensor,
    values: Tensor,
) -> tuple[Tensor, Tensor]:
    """Refuse systems that do not fit together; lam as a tensor, and held for every graph."""
    check.finite("guidance", check.shaped("guidance", guidance, None))
    if guidance.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"guidance: expected float32 or float64, got {guidance.dtype}")
    n, batch = guidance.shape[-1], guidance.shape[:-1]
    if not 1 <= n <= MOST_VERTICES:
        raise ValueError(f"guidance: expected 1 to {MOST_VERTICES} vertices, got {n}")
    check.edges("edge_index", edge_index, n, guidance.device)
    if check.readable(edge_index) and bool((edge_index[0] == edge_index[1]).any()):
        raise ValueError("edge_index: expected edges between different vertices, got a loop")
    _same("weights", weights, guidance, (*batch, edge_index.shape[1]))
    if check.readable(weights) and bool((weights < 0).any()):
        raise ValueError("weights: expected none below 0, got a negative one")
    _same("values", values, guidance, guidance.shape, (n,))
    if not isinstance(held, Tensor) or held.dtype != torch.bool:
        got = held.dtype if isinstance(held, Tensor) else type(held).__name__
        raise TypeError(f"held: expected a bool tensor, got {got}")
    if held.shape not in (guidance.shape, (n,)) or held.device != guidance.device:
        raise ValueError(
            f"held: expected shape {(*batch, n)} on {guidance.device}, "
            f"got {tuple(held.shape)} on {held.device}"
        )
    return _coefficient("lam", lam, guidance), held.expand(guidance.shape)


def _same(name: str, x: Tensor, like: Tensor, *shapes: tuple[int, ...]) -> None:
    """A finite tensor of one of these shapes, in the dtype and on the device of another."""
    check.finite(name, check.floating(name, x))
    if x.dtype != like.dtype:
        raise TypeError(f"{name}: expected {like.dtype}, the dtype of the guidance, got {x.dtype}")
    if x.device != like.device:
        raise ValueError(f"{name}: expected device {like.device}, got {x.device}")
    if tuple(x.shape) not in [tuple(shape) for shape in shapes]:
        raise ValueError(f"{name}: expected shape {tuple(shapes[0])}, got {tuple(x.shape)}")


def _coefficient(name: str, value: Tensor | float, like: Tensor) -> Tensor:
    """A number of at least 0 as a scalar tensor that fits another."""
    if not isinstance(value, Tensor):
        return like.new_tensor(check.number(name, value, 0.0))
    check.finite(name, check.floating(name, value))
    if value.numel() != 1 or value.dtype != like.dtype or value.device != like.device:
        raise ValueError(
            f"{name}: expected a number or one entry of {like.dtype} on {like.device}, "
            f"got shape {tuple(value.shape)} of {value.dtype} on {value.device}"
        )
    if check.readable(value) and float(value.detach()) < 0:
        raise ValueError(f"{name}: expected a number of at least 0, got {float(value.detach())}")
    return value.reshape(())
