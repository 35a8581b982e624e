r"""Pooling inside a fibre, over the group or its cosets, and between neighbouring pixels.

Chapter: ``groups``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gdl.groups._checks as check
from gdl.equivariance import Constant
from gdl.groups.fibres import _fibres, _lengths, blocks
from gdl.groups.plane import lattice_of
from gdl.representations import Element, Group, Representation, cosets, regular


class CosetPool(nn.Module):
    r"""Pooling from functions on H to functions on the cosets H/K: ``y(hK) = max_k f(h k)``.

    With K = H the fibre becomes a single invariant number, as in :class:`GroupPool`.

    Args:
        group: a finite group H.
        subgroup: elements that generate K.
        reduce: "max" or "mean".

    Shapes: ``(B, C |H|, h, w) -> (B, C |H/K|, h, w)``; the field carries ``cosets(group,
    subgroup)``.

    Raises: TypeError and ValueError for other groups, elements, reductions, or inputs.
    Law tested: ``f(g.x) = g.f(x)`` from the regular to the coset representation; pooling over right
    cosets instead breaks it. Source: Cohen and Welling 2016, section 6.3. Chapter: ``groups``.

    >>> from gdl.representations import dihedral
    >>> D4 = dihedral(4)
    >>> CosetPool(D4, [D4.generator(1)])(torch.zeros(1, 3 * 8, 5, 5)).shape
    torch.Size([1, 12, 5, 5])
    """

    def __init__(self, group: Group, subgroup: Sequence[Element], reduce: str = "max"):
        super().__init__()
        check.one_of("reduce", reduce, ("max", "mean"))
        check.group("group", group)
        if not isinstance(subgroup, Sequence):
            raise TypeError(f"subgroup: expected a list of elements, got {type(subgroup).__name__}")
        with torch.device("cpu"):
            self.rho_in, self.rho_out = regular(group), cosets(group, subgroup)
            # The identity comes first, so that K itself is coset 0; h carries it to h K.
            coset = torch.tensor([int(self.rho_out.image(h)[0]) for h in group.elements()])
        self.reduce = reduce
        self.members = Constant(torch.argsort(coset, stable=True))

    def forward(self, x: Tensor) -> Tensor:
        channels = check.field("x", x, self.rho_in.dim)
        fibres = _fibres(x, channels, self.rho_in.dim).index_select(-3, self.members())
        grouped = fibres.unflatten(-3, (self.rho_out.dim, -1))
        pooled = grouped.amax(-3) if self.reduce == "max" else grouped.mean(-3)
        return pooled.flatten(-4, -3)


class GroupPool(nn.Module):
    r"""Invariants of each fibre: the largest or mean entry of a permuted block, or its length.

    Args:
        rho: the representation on the fibre: permutations for "max" and "mean", orthogonal for
            "norm".
        reduce: "max", "mean" or "norm".

    Shapes: ``(B, C d, h, w) -> (B, C k, h, w)`` with one invariant for each of the k blocks of rho.

    Raises: TypeError and ValueError for other representations, reductions or inputs.
    Law tested: ``f(g.x)`` is f(x) moved, without turning a fibre. Source: Cohen and Welling 2016,
    section 6.3. Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> GroupPool(regular(cyclic(4)))(torch.zeros(1, 3 * 4, 5, 5)).shape
    torch.Size([1, 3, 5, 5])
    """

    def __init__(self, rho: Representation, reduce: str = "max"):
        super().__init__()
        check.one_of("reduce", reduce, ("max", "mean", "norm"))
        if reduce == "norm":
            check.orthogonal("rho", rho)
        else:
            check.permutation("rho", rho, f"the {reduce} of other fibres is no invariant, use norm")
        self.rho, self.reduce, self.sizes = rho, reduce, blocks(rho)

    def forward(self, x: Tensor) -> Tensor:
        fibres = _fibres(x, check.field("x", x, self.rho.dim), self.rho.dim)
        if self.reduce == "norm":
            return _lengths(fibres, self.sizes).flatten(-4, -3)
        parts = fibres.split(self.sizes, -3)
        pooled = [p.amax(-3) if self.reduce == "max" else p.mean(-3) for p in parts]
        return torch.stack(pooled, -3).flatten(-4, -3)


class FieldPool2d(nn.Module):
    r"""Pooling of neighbouring pixels, with a check that its windows keep the symmetry.

    Args:
        rho: the representation on the fibre; "max" needs permutations, since the largest entry of a
            rotated vector is not the rotated largest entry.
        kernel_size, stride, padding: as in ``torch.nn.MaxPool2d``; the stride is the kernel size
            by default. Padding counts as missing for "max" and as zeros for "mean".
        reduce: "max" or "mean".
        exact: refuse images that the group does not map to themselves, as in ``FieldConv2d``.

    Shapes: ``(B, C d, h, w) -> (B, C d, h', w')``.

    Raises: TypeError or ValueError for other representations, sizes or inputs; when called, for
    images that break the symmetry, with the reason and the cure.
    Law tested: equivariance; equal to ``nn.MaxPool2d`` and ``nn.AvgPool2d``. Source: Cohen and
    Welling 2016, equation (17). Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> FieldPool2d(regular(cyclic(4)), 2)(torch.zeros(1, 4, 8, 8)).shape
    torch.Size([1, 4, 4, 4])
    """

    def __init__(
        self,
        rho: Representation,
        kernel_size: int,
        stride: int | None = None,
        padding: int = 0,
        *,
        reduce: str = "max",
        exact: bool = True,
    ):
        super().__init__()
        check.one_of("reduce", reduce, ("max", "mean"))
        self.rho, self.lattice = check.representation("rho", rho), lattice_of("rho", rho)
        if reduce == "max":
            check.permutation("rho", rho, "the maximum of each entry does not commute with it")
        self.kernel_size = check.integer("kernel_size", kernel_size, 1)
        self.stride = kernel_size if stride is None else check.integer("stride", stride, 1)
        self.padding = check.integer("padding", padding, 0)
        if 2 * padding > kernel_size:
            raise ValueError(f"padding: expected at most half of {kernel_size}, got {padding}")
        self.reduce, self.exact = reduce, exact

    def forward(self, x: Tensor) -> Tensor:
        check.field("x", x, self.rho.dim)
        window = (self.kernel_size, self.stride, self.padding)
        if min(x.shape[-2:]) + 2 * self.padding < self.kernel_size:
            raise ValueError(f"x: a window of {window[0]} does not fit into {tuple(x.shape)}")
        if self.exact:
            self.lattice.require((x.shape[-2], x.shape[-1]), *((n, n) for n in window))
        return (F.max_pool2d if self.reduce == "max" else F.avg_pool2d)(x, *window)

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        return f"{self.reduce}, kernel_size={self.kernel_size}, stride={self.stride}"
