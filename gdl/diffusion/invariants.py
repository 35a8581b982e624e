r"""Derivatives of an image by differences, and what of them does not turn with the image.

The value, the gradient and the Hessian of an image at a pixel are its **jet** of order 2. A turn of
the image turns the gradient as a vector and the Hessian as a quadratic form. The polynomials of the
jet that do not notice are those of five generators, and these are the terms from which
:class:`~gdl.diffusion.EvolutionPDE` builds its equations.

Chapter: ``diffusion``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import gdl._checks as check
from gdl.diffusion._images import BOUNDARIES, bordered, check_images
from gdl.representations import Group, Representation, circular_irrep, symmetric_power, trivial

JET = ("u", "u_r", "u_c", "u_rr", "u_rc", "u_cc")
INVARIANTS = ("1", "u", "|grad u|^2", "lap u", "grad^T H grad", "tr H^2")


def stencil_jet(images: Tensor, boundary: str = "replicate") -> Tensor:
    r"""Value, gradient and Hessian at each pixel, by central differences.

        u_r  = (u[i+1, j] - u[i-1, j]) / 2
        u_rr = u[i+1, j] - 2 u[i, j] + u[i-1, j]
        u_rc = (u[i+1, j+1] - u[i+1, j-1] - u[i-1, j+1] + u[i-1, j-1]) / 4

    All are exact for polynomials of degree 2, up to the border.

    Args:
        images: (B, 1, H, W), floating-point, with at least 3 rows and 3 columns.
        boundary: ``"replicate"`` continues an image by its mirror image at the outer edges of its
            pixels (no flow through the border), ``"circular"`` periodically.

    Returns:
        (B, 6, H, W): u, u_r, u_c, u_rr, u_rc, u_cc, where r counts rows and c columns.

    Raises: TypeError or ValueError for other arguments.

    Law tested: equal to convolutions with the stencils; exact for quadratic polynomials inside the
    image; a plane wave is multiplied by the symbols of the stencils. Chapter: ``diffusion``.

    >>> rows = torch.arange(4.0).reshape(1, 1, 4, 1).expand(1, 1, 4, 4)
    >>> stencil_jet(rows**2)[0, 1:4, 1, 1]
    tensor([2., 0., 2.])
    """
    check_images(images)
    u, p = images, bordered(images, boundary)
    above, below = p[..., :-2, 1:-1], p[..., 2:, 1:-1]
    left, right = p[..., 1:-1, :-2], p[..., 1:-1, 2:]
    # Falling minus rising diagonal: each sum is kept whole by a quarter turn, so that no rounding
    # tells an image from its turned twin.
    falling, rising = p[..., :-2, :-2] + p[..., 2:, 2:], p[..., :-2, 2:] + p[..., 2:, :-2]
    first = [u, (below - above) / 2, (right - left) / 2]
    second = [below + above - 2 * u, (falling - rising) / 4, right + left - 2 * u]
    return torch.cat(first + second, dim=1)


def jet_invariants(jet: Tensor) -> Tensor:
    r"""The five generators of the invariant polynomials of a jet, and the constant 1.

        1,  u,  |grad u|^2,  lap u = tr H,  grad^T H grad,  tr H^2

    Args:
        jet: (N, 6, ...): u, u_r, u_c, u_rr, u_rc, u_cc along axis 1, floating-point.

    Returns:
        (N, 6, ...), in the order of ``INVARIANTS``.

    Raises: TypeError or ValueError for other arguments.

    Law tested: unchanged when :func:`~gdl.diffusion.jet_representation` of O(2) acts on the jet.
    For degrees up to 5 their products are linearly independent and as many as the solver and the
    characters count invariants, so they span. Chapter: ``diffusion``.

    >>> jet_invariants(torch.tensor([[5.0, 1.0, 2.0, 3.0, 0.0, 4.0]])).tolist()
    [[1.0, 5.0, 5.0, 7.0, 19.0, 25.0]]
    """
    check.finite("jet", check.floating("jet", jet))
    if jet.ndim < 2 or jet.shape[1] != len(JET):
        raise ValueError(f"jet: expected shape (N, 6, ...), got {tuple(jet.shape)}")
    u, r, c, rr, rc, cc = jet.unbind(1)
    terms = [torch.ones_like(u), u, r * r + c * c, rr + cc]
    terms.append((rr * (r * r) + cc * (c * c)) + 2 * (rc * (r * c)))
    terms.append((rr * rr + cc * cc) + 2 * (rc * rc))
    return torch.stack(terms, dim=1)


def differential_invariants(images: Tensor, boundary: str = "replicate") -> Tensor:
    r"""The six terms of a learned equation at each pixel: ``INVARIANTS``.

    It is :func:`~gdl.diffusion.jet_invariants` of :func:`~gdl.diffusion.stencil_jet`.

    Args:
        images: (B, 1, H, W), floating-point, with at least 3 rows and 3 columns.
        boundary: ``"replicate"`` or ``"circular"``, see :func:`~gdl.diffusion.stencil_jet`.

    Returns:
        (B, 6, H, W), in the order of ``INVARIANTS``.

    Raises: TypeError or ValueError for other arguments.

    Law tested: quarter turns and flips of the images turn and flip the output, to 1e-12; with the
    boundary ``"circular"`` shifts do, too. Chapter: ``diffusion``.

    >>> rows = torch.arange(4.0).reshape(1, 1, 4, 1).expand(1, 1, 4, 4)
    >>> differential_invariants(rows**2)[0, :, 1, 1]
    tensor([1., 1., 4., 2., 8., 4.])
    """
    return jet_invariants(stencil_jet(images, boundary))


def jet_representation(group: Group, fields: int = 1) -> Representation:
    r"""How a group of turns and flips of the plane acts on jets of order 2: ``1 + V + Sym^2 V``.

    V is the plane, ``circular_irrep(group, 1)``. The basis is u, u_r, u_c, u_rr, sqrt(2) u_rc,
    u_cc, for each field in turn; with the factor ``sqrt(2)`` the representation is orthogonal.

    Args:
        group: one that turns the plane: O(2), SO(2), or ``dihedral(n)`` or ``cyclic(n)``, n >= 3.
        fields: number of images that turn together.

    Returns:
        A representation of dimension 6 for each field.

    Raises: TypeError or ValueError for other arguments.

    Law tested: it carries the jet of a polynomial to that of the turned polynomial, whose
    derivatives torch takes; it is orthogonal. Chapter: ``diffusion``.

    >>> from gdl.representations import O
    >>> jet_representation(O(2)).dim
    6
    """
    if not isinstance(group, Group):
        raise TypeError(f"group: expected a Group, got {type(group).__name__}")
    check.integer("fields", fields, 1)
    plane = circular_irrep(group, 1)
    if plane.dim != 2:
        raise ValueError(f"group: expected one that turns the plane, got {group.name}")
    return fields * (trivial(group) + plane + symmetric_power(plane, 2))


def laplacian_stencil(corners: float = 0.0) -> Tensor:
    r"""The 3 x 3 stencils for the Laplacian that quarter turns and flips leave as they are.

        (1 - g) [0 1 0; 1 -4 1; 0 1 0]  +  g/2 [1 0 1; 0 -4 0; 1 0 1]

    Every symmetric stencil that gives 0 for constants is a multiple of one of them, or of the
    difference of the two.

    Args:
        corners: the share g of the diagonal neighbours: 0 for the 5-point stencil, 1/3 for the one
            whose leading error does not depend on the direction.

    Returns:
        (3, 3), float64.

    Raises: TypeError or ValueError for another share.

    Law tested: the 5-point stencil and ``[1 4 1; 4 -20 4; 1 4 1] / 6``; ``Laplacian + O(h^2)`` for
    every share; for 1/3, and no other share that was tried, the directions differ by O(h^4).
    Chapter: ``diffusion``.

    >>> laplacian_stencil()[1]
    tensor([ 1., -4.,  1.], dtype=torch.float64)
    """
    g = check.number("corners", corners)
    edge = torch.tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)
    corner = torch.tensor([[1, 0, 1], [0, -4, 0], [1, 0, 1]], dtype=torch.float64)
    return (1 - g) * edge + g / 2 * corner


def laplacian_eigenvalues(height: int, width: int, boundary: str = "replicate") -> Tensor:
    r"""All eigenvalues of the 5-point Laplacian on a grid, in closed form.

        l_ab = -4 sin^2(alpha_a / 2) - 4 sin^2(beta_b / 2)

    with ``alpha_a = pi a / H`` for mirrored borders and ``2 pi a / H`` for periodic ones. They lie
    between -8 and 0, so an explicit step of the heat equation is stable up to 1/4.

    Args:
        height, width: numbers of pixels, at least 3.
        boundary: ``"replicate"`` or ``"circular"``, see :func:`~gdl.diffusion.stencil_jet`.

    Returns:
        (H, W), float64; the first is 0.

    Raises: TypeError or ValueError for other arguments.

    Law tested: those of the matrix of :func:`~gdl.diffusion.stencil_jet`. Chapter: ``diffusion``.

    >>> laplacian_eigenvalues(4, 4, "circular").min()
    tensor(-8., dtype=torch.float64)
    """
    check.integer("height", height, 3)
    check.integer("width", width, 3)
    check.one_of("boundary", boundary, BOUNDARIES)
    turn = math.pi if boundary == "replicate" else 2 * math.pi
    rows, columns = (
        -4 * (turn / n * torch.arange(n, dtype=torch.float64) / 2).sin() ** 2
        for n in (height, width)
    )
    return rows[:, None] + columns
