r"""How groups of the plane move pixels and fields, exactly.

A field is a function f from the pixels to a fibre, on which a representation rho acts. A group
element moves the pixels and turns the fibre, ``(g.f)(x) = rho(g) f(g^-1 x)``. Pixels have the
coordinates (x, y), x to the right and y up, from the centre of the image: whole numbers for an odd
side and half numbers for an even one. Quarter turns and mirrors permute them, so that integers do.

Chapter: ``groups``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

import gdl.groups._checks as check
from gdl.representations import (
    SO,
    Element,
    Group,
    O,
    Representation,
    circular_irrep,
    cyclic,
    dihedral,
)

# A quarter turn maps the square grid to itself; 5, 7, 8 ... fold symmetry no grid has.
GRID_ORDERS = (1, 2, 4)


def plane(group: Group) -> Representation:
    r"""The representation of Z_n, D_n, SO(2) or O(2) on the coordinates (x, y) of the plane.

    The rotation r turns counter-clockwise by 2 pi / n, the reflection is (x, y) -> (x, -y). For n =
    1, 2 and 4 all entries are whole numbers, exactly.

    Raises: TypeError if ``group`` is no Group; ValueError if it is none of the four.
    Law tested: relations; integers for n = 1, 2, 4. Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> plane(cyclic(4))(cyclic(4).generator(0)).int().tolist()
    [[0, -1], [1, 0]]
    """
    return _plane("group", check.group("group", group))


def _plane(argument: str, group: Group) -> Representation:
    """The representation on the plane; the error names the argument that brought the group."""
    n = group.relations[0].power if group.is_finite and group.relations else 0
    known = (cyclic(n), dihedral(n)) if n else (SO(2), O(2))
    if group not in known:
        raise ValueError(f"{argument}: expected Z_n, D_n, SO(2) or O(2), got {group.name}")
    if not n:
        return circular_irrep(group, 1)
    if n >= 3:
        return circular_irrep(group, 1)
    turn = torch.eye(2, dtype=torch.float64) * (-1) ** (n + 1)
    images = {"r": turn, "s": torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))}
    return Representation(group, [images[name] for name in group.generator_names], name="plane")


def offsets(kernel_size: int | tuple[int, int], dilation: int | tuple[int, int] = 1) -> Tensor:
    r"""The coordinates (x, y) of the taps of a kernel, row by row, from its centre.

    Args:
        kernel_size: K, or (rows, columns).
        dilation: distance of the taps, an int or one per axis.

    Returns:
        float64 ``(rows * columns, 2)``: whole numbers for odd K, halves for even K.

    Raises: TypeError or ValueError unless the sizes are positive ints.
    Law tested: closed under quarter turns and mirrors. Chapter: ``groups``.

    >>> offsets(2).tolist()
    [[-0.5, 0.5], [0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]
    """
    rows, columns = check.pair("kernel_size", kernel_size, 1)
    down, right = check.pair("dilation", dilation, 1)
    y = down * ((rows - 1) / 2 - torch.arange(rows, dtype=torch.float64))
    x = right * (torch.arange(columns, dtype=torch.float64) - (columns - 1) / 2)
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([grid_x, grid_y], dim=-1).reshape(-1, 2)


def grid_element(rho_plane: Representation, g: Element) -> Tensor:
    r"""The integer matrix by which g moves (row, column), measured from the centre of an image.

    Args:
        rho_plane: the result of :func:`plane`.
        g: a quarter turn, a mirror, or a product of them.

    Returns:
        int64 ``(2, 2)``, a signed permutation.

    Raises: TypeError for another type; ValueError if g does not map the pixel grid to itself.
    Law tested: the pixels move as ``torch.rot90`` and ``torch.flip`` move them.
    Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> grid_element(plane(cyclic(4)), cyclic(4).generator(0)).tolist()
    [[0, -1], [1, 0]]
    """
    if check.representation("rho_plane", rho_plane).dim != 2:
        raise ValueError(f"rho_plane: expected the result of plane(group), got {rho_plane}")
    matrix = rho_plane(g)
    whole = matrix.round()
    if float((matrix - whole).abs().max()) > 1e-9:
        raise ValueError(
            f"g: {g} does not map the grid of pixels to itself; other angles need interpolation, "
            "see gdl.data.rotate"
        )
    # (row, column) = (-y, x): a change of basis by S with S^-1 = S^T.
    S = torch.tensor([[0, -1], [1, 0]])
    return S @ whole.to(torch.int64) @ S.T


def _move(matrix: Tensor, x: Tensor) -> Tensor:
    """The image with ``moved[M p] = x[p]`` for the signed permutation M."""
    if matrix[0, 0] == 0:
        x = x.transpose(-2, -1)
    axes = [axis - 2 for axis in range(2) if int(matrix[axis].sum()) < 0]
    return x.flip(axes) if axes else x


def field_action(rho: Representation) -> Callable[[Element, Tensor], Tensor]:
    r"""The action on feature fields, ``(g.f)(x) = rho(g) f(g^-1 x)``, without interpolation.

    The result is what :func:`gdl.equivariance.equivariance_error` and ``diagnose`` take as an
    action. On channels that fields share, ``trivial(group)`` moves the pixels only.

    Args:
        rho: representation of Z_n, D_n, SO(2) or O(2) on the fibre, dimension d.

    Returns:
        A function of g and of a tensor ``(B, C * d, h, w)`` or ``(C * d, h, w)``; a quarter turn
        swaps h and w. It raises a ValueError for elements that do not map the grid to itself, and
        for channels that are no multiple of d.

    Raises: TypeError if ``rho`` is no Representation; ValueError for other groups.
    Law tested: ``(gh).f = g.(h.f)``; equal to ``torch.rot90`` on the trivial fibre. Source: Cohen,
    Geiger, Weiler 2019. Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> r = cyclic(4).generator(0)
    >>> arrow = torch.tensor([1.0, 0.0]).reshape(2, 1, 1)  # points to the right
    >>> field_action(plane(cyclic(4)))(r, arrow).flatten().tolist()  # and now up
    [0.0, 1.0]
    """
    rho_plane = _plane("rho", check.representation("rho", rho).group)

    def act(g: Element, x: Tensor) -> Tensor:
        channels = check.field("x", x, rho.dim)
        moved = _move(grid_element(rho_plane, g), x)
        fibres = moved.unflatten(-3, (channels, rho.dim)).movedim(-3, -1)
        return rho.act(g, fibres).movedim(-1, -3).flatten(-4, -3)

    return act


def acts_on_grid(group: Group) -> bool:
    r"""Whether every element of the group maps the grid of pixels to itself.

    Law tested: exactly Z_n and D_n with n = 1, 2, 4. Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> acts_on_grid(cyclic(4)), acts_on_grid(cyclic(8))
    (True, False)
    """
    plane(group)
    return group.is_finite and group.relations[0].power in GRID_ORDERS


def grid_elements(group: Group) -> tuple[Element, ...]:
    r"""The elements of a group of the plane that map the grid of pixels to itself.

    Args:
        group: Z_n, D_n, SO(2) or O(2).

    Returns:
        The identity, the half and the quarter turns that the group has, and each of them after its
        mirror (x, y) -> (x, -y), if it has one.

    Raises: TypeError or ValueError for other groups.
    Law tested: all of Z_n and D_n for n = 1, 2, 4; four or eight elements of SO(2) and O(2).
    Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> len(grid_elements(O(2))), len(grid_elements(cyclic(6)))
    (8, 2)
    """
    plane(group)
    if group.is_finite:
        n = group.relations[0].power
        count = math.gcd(n, 4)
        turns = [Element(group, (1,) * (k * n // count)) for k in range(count)]
    else:
        turns = [group.exp(k * math.pi / 2) for k in range(4)]
    mirrors = [group.identity()]
    if "s" in group.generator_names:
        mirrors.append(group.generator(group.generator_names.index("s")))
    return tuple(turn * mirror for turn in turns for mirror in mirrors)


class Lattice:
    r"""Which images and strides a group of the plane leaves exact.

    A strided window is laid down from the upper left corner. A group element maps the positions of
    the windows to each other if the same positions result when they are laid down from the other
    end, along every axis that it reverses: if ``(n + 2 p - d (K - 1) - 1) mod s = 0``. A quarter
    turn needs a square image, windows and strides as well.

    Args:
        group: Z_n, D_n, SO(2) or O(2). Of the last two, and of n = 4 k, the quarter turns count.

    Law tested: a convolution with a fitting size is equivariant to rounding, with another it is
    not. Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> lattice = Lattice(cyclic(4))
    >>> lattice.problem((9, 9), (3, 3), (2, 2), (0, 0), (1, 1)) is None
    True
    >>> lattice.problem((8, 8), (3, 3), (2, 2), (0, 0), (1, 1))
    '(8 + 2*0 - 1*(3 - 1) - 1) mod 2 = 1: no window reaches the last one of the padded rows'
    """

    def __init__(self, group: Group):
        rho = plane(group)
        matrices = [grid_element(rho, g) for g in grid_elements(group)]
        self.group_name = group.name
        self.turns = any(int(m[0, 0]) == 0 for m in matrices)
        self.reverses = [self.turns or any(int(m[a, a]) < 0 for m in matrices) for a in range(2)]

    def require_equal(self, name: str, values: tuple[int, int]) -> None:
        """Raise if a pair differs along the axes although a quarter turn swaps them."""
        if self.turns and values[0] != values[1]:
            raise ValueError(
                f"{name}: expected one value for both axes, a quarter turn of {self.group_name} "
                f"swaps them, got {values}"
            )

    def problem(
        self,
        size: tuple[int, int],
        kernel_size: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
    ) -> str | None:
        """Why the windows break the symmetry on images of that size, or None."""
        if self.turns and size[0] != size[1]:
            return f"a quarter turn makes {size[1]} x {size[0]} out of {size[0]} x {size[1]}"
        for axis, name in enumerate(("rows", "columns")):
            n, K, s = size[axis], kernel_size[axis], stride[axis]
            p, d = padding[axis], dilation[axis]
            rest = self._rest(axis, n, kernel_size, stride, padding, dilation)
            if self.reverses[axis] and rest:
                sum_ = f"({n} + 2*{p} - {d}*({K} - 1) - 1) mod {s} = {rest}"
                last = "the last one" if rest == 1 else f"the last {rest}"
                return f"{sum_}: no window reaches {last} of the padded {name}"
        return None

    def _near(self, size: tuple[int, int], *window: tuple[int, int]) -> list[tuple[int, int]]:
        """One or two sizes close to this one that keep the symmetry."""
        side = range(1, 4 * sum(size))
        if self.turns:
            fits = [(n, n) for n in side if self.problem((n, n), *window) is None]
            return sorted(fits, key=lambda fit: abs(fit[0] - max(size)))[:2]
        alone = [
            [n for n in side if self._rest(axis, n, *window) == 0 or not self.reverses[axis]]
            for axis in range(2)
        ]
        if not all(alone):
            return []
        return [
            tuple(min(ns, key=lambda n, s=s: abs(n - s)) for ns, s in zip(alone, size, strict=True))
        ]

    def _rest(
        self,
        axis: int,
        n: int,
        kernel_size: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
    ) -> int:
        """The pixels at the end of an axis that no window reaches."""
        reach = dilation[axis] * (kernel_size[axis] - 1)
        return (n + 2 * padding[axis] - reach - 1) % stride[axis]

    def require(
        self,
        size: tuple[int, int],
        kernel_size: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int] = (1, 1),
    ) -> None:
        """Raise a ValueError with the reason and the cure if the windows break the symmetry."""
        window = (kernel_size, stride, padding, dilation)
        reason = self.problem(size, *window)
        if reason is None:
            return
        near = self._near(size, *window)
        cure = f"Pad or crop to {' or '.join(f'{a} x {b}' for a, b in near)}, or say exact=False"
        raise ValueError(
            f"x: {self.group_name} does not act exactly on images of {size[0]} x {size[1]} here: "
            f"{reason}. {cure if near else 'Say exact=False to use it all the same'}"
        )


def lattice_of(argument: str, rho: Representation) -> Lattice:
    """The ``Lattice`` of the group of rho; an error names the argument.

    Chapter: ``groups``.

    >>> from gdl.representations import cyclic
    >>> lattice_of("rho", cyclic(4).defining).turns
    True
    """
    _plane(argument, rho.group)
    return Lattice(rho.group)
