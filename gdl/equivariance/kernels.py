r"""Equivariant kernels on points: solve at one point of each orbit, then transport.

Chapter: ``one_equation`` (theory), ``groups`` (use).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gdl.equivariance.basis import Basis
from gdl.equivariance.solver import _require_representation, equivariant_basis, solve_pairs
from gdl.representations import Element, Representation


def kernel_basis(
    rho_in: Representation,
    rho_out: Representation,
    points: Tensor,
    stabiliser: Representation,
    *,
    method: str = "auto",
) -> Tensor:
    r"""All kernels with ``K(h x) = rho_out(h) K(x) rho_in(h)^-1`` on a finite set of points.

    A map between fields over a homogeneous space G/H is a convolution whose kernel satisfies this
    constraint for the stabiliser H of the origin. On one orbit of H the kernel is fixed by its
    value at one point x, which must commute with the elements that fix x; transport gives the
    rest. Where H only permutes, also inside the fibres, the kernels are indicators of the orbits
    of H on the triples (output, input, point).

    Args:
        rho_in: representation of H on the input fibre, dimension ``d_in``.
        rho_out: representation of H on the output fibre, dimension ``d_out``.
        points: ``(n, k)`` offsets, real, closed under H; any unit.
        stabiliser: the representation of the finite group H on R^k that moves the points.
        method: ``"transport"``, ``"orbits"`` (both fibres are permuted), or ``"auto"``.

    Returns:
        float64 ``(r, d_out, d_in, n)``, orthonormal.

    Raises:
        TypeError: an argument that is no Representation, or points that are no real tensor.
        ValueError: different groups, an infinite group, points of the wrong shape, repeated, not
            finite, or not closed under H, an unknown method, orbits asked of matrices.

    Law tested: the dimension is ``1/|H| sum_h Fix(h) chi_out(h) chi_in(h^-1)`` (Mackey, Burnside);
    the kernels solve the equation of the whole group on a torus; both methods span one space.
    Source: Cohen, Geiger, Weiler 2019, theorem 3.1. Chapter: ``one_equation``.

    >>> from gdl.representations import circular_irrep, cyclic, regular
    >>> C4 = cyclic(4)
    >>> grid = torch.cartesian_prod(torch.arange(-1.0, 2), torch.arange(-1.0, 2))
    >>> kernel_basis(regular(C4), regular(C4), grid, circular_irrep(C4, 1)).shape
    torch.Size([36, 4, 4, 9])
    """
    space = kernel_space(rho_in, rho_out, points, stabiliser, method=method)
    return space.dense().reshape(-1, rho_out.dim, rho_in.dim, len(points))


def kernel_space(
    rho_in: Representation,
    rho_out: Representation,
    points: Tensor,
    stabiliser: Representation,
    *,
    method: str = "auto",
) -> Basis:
    r"""The kernels of :func:`kernel_basis` as a ``Basis`` of maps from patches to one fibre.

    A kernel on n points is a linear map from a patch, ``rho_in`` at each point, to the fibre of the
    output: W[o, i n + x] = K[o, i, x]. The constraint on K is the one equation for W, with H acting
    on patches by ``rho_in`` and the permutation of the points. By orbits this never becomes dense:
    the 7688 kernels of D_4 on 31 x 31 points take 0.5 MB of labels instead of 3.8 GB.

    Args, raises and laws are those of :func:`kernel_basis`. Chapter: ``groups``.

    Returns:
        A ``Basis`` of maps ``(d_out, d_in n)``.

    >>> from gdl.representations import circular_irrep, cyclic, regular
    >>> C4 = cyclic(4)
    >>> cross = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> kernel_space(regular(C4), regular(C4), cross, circular_irrep(C4, 1))
    Basis(16 maps of 4 x 16, orbits)
    """
    _validate(rho_in, rho_out, points, stabiliser)
    if method not in ("auto", "orbits", "transport"):
        raise ValueError(f'method: expected "auto", "orbits" or "transport", got {method!r}')
    points = points.detach().to("cpu", torch.float64)
    if method == "auto":
        permutes = rho_in.is_permutation and rho_out.is_permutation
        method = "orbits" if permutes else "transport"
    if method == "orbits":
        moves = [
            _permutation_of_points(points, stabiliser(stabiliser.group.generator(i)))
            for i in range(len(stabiliser.group.generator_names))
        ]
        patch = rho_in * Representation(stabiliser.group, moves, name="points", check=False)
        return equivariant_basis(patch, rho_out, method="orbits")
    kernels = _transported(rho_in, rho_out, points, stabiliser)
    return Basis(stack=kernels.flatten(2), method="transport")


def _transported(
    rho_in: Representation, rho_out: Representation, points: Tensor, stabiliser: Representation
) -> Tensor:
    elements = stabiliser.group.elements()
    moved = torch.stack([_permutation_of_points(points, stabiliser(h)) for h in elements])
    images = [(rho_out(h), torch.linalg.inv(rho_in(h))) for h in elements]
    spaces = [torch.zeros(0, rho_out.dim, rho_in.dim, len(points), dtype=torch.float64)]
    for orbit in _orbits(moved):
        origin = orbit[0]
        fixing = [h for h in range(len(elements)) if moved[h, origin] == origin]
        carrier = {x: int((moved[:, origin] == x).nonzero()[0]) for x in orbit}
        kernels = []
        for K in _commuting(rho_in, rho_out, [elements[h] for h in fixing]):
            kernel = torch.zeros(rho_out.dim, rho_in.dim, len(points), dtype=torch.float64)
            for x, h in carrier.items():
                kernel[:, :, x] = images[h][0] @ K @ images[h][1]
            kernels.append(kernel)
        # Orbits share no point, so that each may be made orthonormal on its own.
        spaces += [_orthonormal(torch.stack(kernels))] if kernels else []
    return torch.cat(spaces)


def _validate(
    rho_in: Representation, rho_out: Representation, points: Tensor, stabiliser: Representation
) -> None:
    _require_representation("rho_in", rho_in)
    _require_representation("rho_out", rho_out)
    _require_representation("stabiliser", stabiliser)
    for argument, rho in (("rho_in", rho_in), ("rho_out", rho_out)):
        if rho.group != stabiliser.group:
            raise ValueError(
                f"{argument}: expected a representation of {stabiliser.group.name}, "
                f"like stabiliser, got one of {rho.group.name}"
            )
    if not stabiliser.group.is_finite:
        raise ValueError(
            f"stabiliser: expected a finite group, got {stabiliser.group.name}; "
            "for SO(2) and SO(3) solve on harmonics with equivariant_basis"
        )
    if not isinstance(points, Tensor):
        raise TypeError(f"points: expected a tensor, got {type(points).__name__}")
    if points.is_complex():
        raise TypeError(f"points: expected real coordinates, got {points.dtype}")
    if points.ndim != 2 or points.shape[1] != stabiliser.dim or not len(points):
        raise ValueError(
            f"points: expected shape (n, {stabiliser.dim}) with n >= 1, got {tuple(points.shape)}"
        )
    if not torch.isfinite(points).all():
        raise ValueError("points: expected finite coordinates, got NaN or infinity")


def _permutation_of_points(points: Tensor, matrix: Tensor) -> Tensor:
    """Index of ``h x`` for every point x."""
    distance = torch.cdist(points @ matrix.T, points)
    nearest = distance.argmin(1)
    tolerance = 1e-6 * float(points.abs().max())
    if float(distance.min(1).values.max()) > tolerance:
        raise ValueError("points: expected a set closed under the group, a point leaves it")
    if len(nearest.unique()) < len(points):
        raise ValueError("points: expected distinct points, got repeated ones")
    return nearest


def _orbits(moved: Tensor) -> list[list[int]]:
    """Orbits of the points, from the index of ``h x`` for each element h and point x."""
    orbits, seen = [], set()
    for x in range(moved.shape[1]):
        if x not in seen:
            orbits.append([x, *sorted(set(moved[:, x].tolist()) - {x})])
            seen.update(orbits[-1])
    return orbits


def _commuting(rho_in: Representation, rho_out: Representation, elements: list[Element]) -> Tensor:
    pairs = [(rho_out(h), rho_in(h)) for h in elements]
    everywhere = torch.ones(rho_out.dim, rho_in.dim, dtype=torch.bool)
    return solve_pairs(pairs, everywhere).stack


def _orthonormal(kernels: Tensor) -> Tensor:
    """Orthonormal kernels of the same span; transport by non-orthogonal images changes lengths."""
    q, r = torch.linalg.qr(kernels.flatten(1).T)
    return (q * torch.sign(torch.diagonal(r))).T.reshape(kernels.shape)
