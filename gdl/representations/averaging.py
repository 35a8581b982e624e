r"""Averages over a finite group: onto equivariant maps, and onto an invariant inner product.

Chapter: ``symmetry``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gdl.representations.cayley import _require_representation, _walk
from gdl.representations.core import Representation
from gdl.representations.words import _require_same_group

# Relative to the sizes that are compared: what a representation may miss by rounding.
TOLERANCE = 1e-8


def reynolds(W: Tensor, rho_in: Representation, rho_out: Representation) -> Tensor:
    r"""The group average ``R[W] = 1/|G| sum_g rho_out(g)^-1 W rho_in(g)``.

    R is a projector onto the equivariant maps, orthogonal if the representations are; its trace is
    their dimension.

    Args:
        W: ``(..., d_out, d_in)``, any number of maps.
        rho_in: representation of a finite group on the inputs.
        rho_out: representation of the same group on the outputs.

    Returns:
        float64, the shape of W.

    Raises:
        TypeError: an argument that is no Representation, or W complex.
        ValueError: an infinite group, different groups, a wrong shape, or entries that are not
            finite.

    Law tested: ``R R = R``; ``R[W]`` is equivariant; ``tr R`` is the dimension. Source: Serre 1977,
    section 2.2. Chapters: ``symmetry``, ``one_equation``.

    >>> from gdl.representations import cyclic, regular
    >>> rho = regular(cyclic(2))
    >>> reynolds(torch.tensor([[1.0, 2.0], [4.0, 3.0]]), rho, rho).tolist()
    [[2.0, 3.0], [3.0, 2.0]]
    """
    _require_representation("rho_in", rho_in)
    _require_representation("rho_out", rho_out)
    _require_same_group("rho_out", rho_in.group, rho_out.group)
    if not isinstance(W, Tensor) or tuple(W.shape[-2:]) != (rho_out.dim, rho_in.dim):
        got = tuple(W.shape) if isinstance(W, Tensor) else type(W).__name__
        raise ValueError(f"W: expected shape (..., {rho_out.dim}, {rho_in.dim}), got {got}")
    if W.is_complex():
        raise TypeError(f"W: expected real entries, got {W.dtype}")
    if not torch.isfinite(W).all():
        raise ValueError("W: expected finite entries, got NaN or infinity")
    W = W.to(torch.float64)
    # The dual is the transposed inverse, and one product an element is enough for both walks.
    walks = zip(_walk(rho_out.dual), _walk(rho_in), strict=True)
    return sum(_moved(W, a, b) for (_, a), (_, b) in walks) / rho_in.group.order


def _moved(W: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``a^T W b``; permutations only move entries."""
    W = W[..., a, :] if a.ndim == 1 else a.T @ W
    return W[..., b] if b.ndim == 1 else W @ b


def invariant_inner_product(rho: Representation) -> Tensor:
    r"""The group average of the inner product, ``B = 1/|G| sum_g rho(g)^T rho(g)``.

    Lengths measured by it, ``x^T B x``, are the same for x and ``rho(g) x``.

    Args:
        rho: a representation of a finite group.

    Returns:
        ``(d, d)``, float64, symmetric and positive definite.

    Raises:
        TypeError: ``rho`` is no Representation.
        ValueError: an infinite group, or images that are no representation.

    Law tested: ``rho(g)^T B rho(g) = B``; the identity for orthogonal matrices; the solver's
    invariant form. Source: Serre 1977, section 1.3. Chapter: ``symmetry``.

    >>> from gdl.representations import quaternion
    >>> torch.equal(invariant_inner_product(quaternion().defining), torch.eye(4).double())
    True
    """
    _require_representation("rho", rho)
    one = torch.eye(rho.dim, dtype=torch.float64)
    B = reynolds(one, rho, rho.dual)
    for image in rho.generators:
        size = max(1.0, float(torch.linalg.matrix_norm(image, 2)) ** 2) if image.ndim == 2 else 1.0
        moved = _moved(_moved(B, image, torch.arange(rho.dim)), torch.arange(rho.dim), image)
        if not float((moved - B).abs().max()) <= TOLERANCE * size * float(B.abs().max()):
            raise ValueError("rho: expected a representation, got images that break a relation")
    return B


def orthogonalise(rho: Representation) -> tuple[Representation, Tensor]:
    r"""An equivalent representation by orthogonal matrices, ``rho'(g) = C rho(g) C^-1``.

    ``C`` is the symmetric root of the invariant inner product, ``C^2 = B`` (Weyl's unitarian
    trick). If every generator permutes the basis, the representation is orthogonal already and
    comes back.

    Args:
        rho: a representation of a finite group.

    Returns:
        The representation, and C, ``(d, d)``, float64.

    Raises:
        TypeError: ``rho`` is no Representation.
        ValueError: an infinite group, images that are no representation, or so far from orthogonal
            ones that rounding spoils the result.

    Law tested: ``rho'(g)^T rho'(g) = 1``; ``rho'(g) C = C rho(g)``; the identity where nothing is
    to be done. Source: Serre 1977, section 1.3; Weyl 1925. Chapter: ``symmetry``.

    >>> from gdl.representations import symmetric
    >>> rho, C = orthogonalise(symmetric(3).defining)
    >>> rho.is_permutation, torch.equal(C, torch.eye(3).double())
    (True, True)
    """
    _require_representation("rho", rho)
    one = torch.eye(rho.dim, dtype=torch.float64)
    if rho.is_permutation:
        rho.group.elements()
        return rho, one
    straight, change = rho, one
    # The second pass removes the rounding of the first, which grows with the change of lengths.
    for _ in range(2):
        root, inverse = _roots(invariant_inner_product(straight))
        images = [root @ image @ inverse for image in straight.generators]
        straight = Representation(rho.group, images, name=f"{rho.name}, orthogonal", check=False)
        change = root @ change
    errors = [float((image.T @ image - one).abs().max()) for image in straight.generators]
    if max(errors) > TOLERANCE:
        raise ValueError(
            "rho: expected a well-conditioned representation, got lengths that change by up to "
            f"{float(torch.linalg.cond(change)):.1e}"
        )
    return straight, change


def _roots(B: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric root of a positive matrix and its inverse."""
    values, vectors = torch.linalg.eigh(B)
    if float(values[0]) <= 0:
        raise ValueError(
            "rho: expected a well-conditioned representation, got an invariant inner product that "
            "rounding leaves indefinite"
        )
    roots = values.sqrt()
    return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T
