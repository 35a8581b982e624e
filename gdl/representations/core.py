r"""Groups and their representations, given by generators.

A group is a handful of generators; a representation is one image per generator. Everything else
follows: an element of the group is a *word* in the generators, its matrix is the product of the
images of the letters, and direct sums, tensor products and duals act image by image. Discrete
generators and one-parameter subgroups ``exp(t X)`` are treated alike, so that the same few lines
serve the shifts of a grid, the permutations of a set, the rotations of space and the boosts of
special relativity.

Conventions: left action, ``(g.f)(x) = f(g^-1 x)``; column vectors; a permutation ``p`` sends the
basis vector ``e_i`` to ``e_{p[i]}``, so its matrix has ``P[p[i], i] = 1``; tensor products are
row-major, ``(rho1 * rho2)(g) = kron(rho1(g), rho2(g))``; rotations are counter-clockwise.

The chapter ``one_equation`` introduces what is needed here.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gdl.representations.images import (
    _as_matrix,
    _direct_sum,
    _exponential,
    _inverse_image,
    _positive,
    _tensor_derivative,
    _tensor_product,
    _validated_images,
)
from gdl.representations.relations import (
    Relation,
    _known_relations,
    _relation_error,
    _require_presentation,
    _require_relations,
    _Structure,
    _structure,
)
from gdl.representations.words import (
    Element,
    Letter,
    _breadth_first,
    _keys,
    _random_word,
    _require_element,
    _require_same_group,
)

__all__ = ["Element", "Group", "Representation"]


class Group:
    r"""A group given by named generators in a faithful ("defining") representation.

    Args:
        name: the name shown to readers, for instance ``"Z_4"``.
        generators: discrete generators by name, each an int64 permutation ``(d,)`` or a float64
            matrix ``(d, d)``.
        algebra: a basis ``X_a`` of the Lie algebra by name, each a float64 matrix ``(d, d)``.
        class_quadrature: for compact Lie groups, ``degree -> [(weight, Element), ...]``, a rule
            that integrates class functions of that degree exactly against the Haar measure.
        relations: a presentation, ``Relation``s that hold for the generators and imply all others.
            Every representation is checked against it. Without one, the Cayley graph is followed
            for groups of at most 2000 elements, and larger ones are left to ``relation_error()``.

    Raises:
        TypeError: images without names, or complex ones.
        ValueError: images of different sizes, not square, not invertible, or not finite; a relation
            that fails for them.

    Law tested: the enumeration of a finite group is closed and has the order found by sympy.
    Chapter: ``one_equation``.

    >>> from gdl.representations import cyclic, symmetric
    >>> cyclic(6).order, symmetric(4).order
    (6, 24)
    """

    def __init__(
        self,
        name: str,
        generators: Mapping[str, Tensor],
        algebra: Mapping[str, Tensor] | None = None,
        class_quadrature: Callable[[Group, int], list[tuple[float, Element]]] | None = None,
        relations: Sequence[Relation] | None = None,
    ):
        algebra = {} if algebra is None else algebra
        for argument, images in (("generators", generators), ("algebra", algebra)):
            if not isinstance(images, Mapping):
                raise TypeError(f"{argument}: expected images by name, got {type(images).__name__}")
        if not generators and not algebra:
            raise ValueError("generators: expected at least one generator, got none")
        self.name = name
        self.generator_names = tuple(generators)
        self.algebra_names = tuple(algebra)
        self.relations = None if relations is None else tuple(relations)
        images = tuple(generators.values()), tuple(algebra.values())
        self.defining = Representation(self, *images, name="defining", check=False)
        _require_presentation(self, self.relations or ())
        self._class_quadrature = class_quadrature

    def __repr__(self) -> str:
        return f"Group({self.name})"

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Group) and self._signature == other._signature

    def __hash__(self) -> int:
        return hash(self.name)

    @cached_property
    def _signature(self) -> tuple:
        images = self.defining.generators + self.defining.algebra
        return (
            self.name,
            self.generator_names,
            self.algebra_names,
            tuple(image.numpy().tobytes() for image in images),
        )

    @cached_property
    def _structure(self) -> _Structure:
        return _structure(self)

    @cached_property
    def _known_relations(self) -> tuple[Relation, ...]:
        return _known_relations(self)

    @property
    def is_finite(self) -> bool:
        """Whether the group has no continuous generators."""
        return not self.algebra_names

    def identity(self) -> Element:
        """The empty word."""
        return Element(self, ())

    def generator(self, index: int) -> Element:
        """The discrete generator with that index."""
        count = len(self.generator_names)
        if _positive("index", index, least=0) >= count:
            raise ValueError(f"index: {self.name} has {count} discrete generators, got {index}")
        return Element(self, (index + 1,))

    def exp(self, *coefficients: float) -> Element:
        """The element ``exp(sum_a c_a X_a)``."""
        if len(coefficients) != len(self.algebra_names) or not self.algebra_names:
            raise ValueError(
                f"coefficients: expected {len(self.algebra_names)} for {self.name}, "
                f"got {len(coefficients)}"
            )
        if not all(isinstance(c, numbers.Real) and math.isfinite(c) for c in coefficients):
            raise ValueError(f"coefficients: expected finite numbers, got {coefficients}")
        return Element(self, (tuple(float(c) for c in coefficients),))

    def elements(self) -> tuple[Element, ...]:
        """All elements of a finite group, the identity first, as shortest words.

        Raises:
            ValueError: the group is infinite, or larger than 50,000 elements or 512 MiB.
        """
        return tuple(self._enumeration.values())

    @cached_property
    def _enumeration(self) -> dict[bytes, Element]:
        if not self.is_finite:
            raise ValueError(f"group: expected a finite group, got {self.name}")
        return _breadth_first(self)

    @property
    def order(self) -> int:
        """The number of elements of a finite group."""
        return len(self._enumeration)

    def index(self, g: Element) -> int:
        """The position of ``g`` in ``elements()``."""
        _require_element("g", self, g)
        return self._positions[_keys(self.defining.image(g)[None])[0]]

    @cached_property
    def _positions(self) -> dict[bytes, int]:
        return {key: i for i, key in enumerate(self._enumeration)}

    def random(self, count: int, seed: int = 0) -> list[Element]:
        """``count`` random words: Gaussian exponentials and up to 32 discrete letters.

        The words are for testing laws, not for sampling the Haar measure.
        """
        _positive("count", count)
        rng = np.random.default_rng(_positive("seed", seed, least=0))
        return [Element(self, _random_word(self, rng)) for _ in range(count)]

    def class_quadrature(self, degree: int) -> list[tuple[float, Element]]:
        """Weights and elements that average class functions over the group.

        Exact for every finite group, and for SO(2), O(2), SO(3), O(3) up to ``degree``, the largest
        frequency in the function (Weyl's integration formula, sampled).

        Raises:
            ValueError: the group has no finite Haar measure here (a non-compact group).
        """
        _positive("degree", degree, least=0)
        if self.is_finite:
            elements = self.elements()
            return [(1.0 / len(elements), g) for g in elements]
        if self._class_quadrature is None:
            raise ValueError(f"group: no Haar average is available for {self.name}")
        return self._class_quadrature(self, degree)


class Representation:
    r"""A representation of a group: one invertible matrix for each generator.

    Discrete generators have images ``rho(s)``, elements of the Lie algebra have images
    ``drho(X) = d/dt rho(exp tX) at t = 0``. Where every image is a permutation, only the index
    arrays are stored, and the solver works on orbits.

    ``rho1 + rho2`` is the direct sum, ``rho1 * rho2`` the tensor product, ``n * rho`` stands for n
    copies, ``rho.dual`` for the dual, ``rho(g)`` for the matrix of ``g``.

    Args:
        group: the group represented.
        generators: images of the discrete generators, each an int64 permutation ``(d,)`` or a
            matrix ``(d, d)``.
        algebra: images of the basis of the Lie algebra, each ``(d, d)``.
        name: shown to readers.
        check: refuse images that break a relation of the group, exactly for permutations and to
            1e-8 of their size for matrices. False builds a broken twin on purpose, for a negative
            control.

    Raises:
        TypeError: no Group, or complex images.
        ValueError: wrong number of images, shapes that differ, singular or non-finite images,
            matrices of more than 6000 rows; a relation that fails, which is named.

    Law tested: ``rho(g h) = rho(g) rho(h)``; ``relation_error()`` measures how far the images are
    from satisfying the relations of the group. Source: Serre 1977, chapter 1.
    Chapter: ``one_equation``.

    >>> from gdl.representations import cyclic, regular
    >>> rho = regular(cyclic(3))
    >>> (rho * rho + 2 * rho).dim
    15
    >>> Representation(cyclic(3), [[1, 0]])
    Traceback (most recent call last):
    ValueError: generators: r^3 = 1 holds in Z_3 but fails for these images (error 1.0)
    >>> rho.character(rho.group.identity())
    3.0
    """

    def __init__(
        self,
        group: Group,
        generators: Sequence[Tensor],
        algebra: Sequence[Tensor] = (),
        name: str = "rho",
        check: bool = True,
    ):
        _require_group("group", group)
        expected = (len(group.generator_names), len(group.algebra_names))
        if (len(generators), len(algebra)) != expected:
            raise ValueError(
                f"generators, algebra: expected {expected[0]} and {expected[1]} images for "
                f"{group.name}, got {len(generators)} and {len(algebra)}"
            )
        self.group = group
        self.name = name
        self.generators, self.algebra = _validated_images(generators, algebra)
        self.dim = (self.generators + self.algebra)[0].shape[0]
        if check:
            _require_relations(self)

    @property
    def is_permutation(self) -> bool:
        """Whether every generator permutes the basis."""
        return not self.algebra and all(image.ndim == 1 for image in self.generators)

    def __repr__(self) -> str:
        return f"Representation({self.name} of {self.group.name}, dim={self.dim})"

    def image(self, g: Element) -> Tensor:
        """``rho(g)`` as it is stored: a permutation ``(d,)`` where possible, or a matrix."""
        _require_element("g", self.group, g)
        if self.is_permutation:
            result = torch.arange(self.dim)
            for letter in reversed(g.word):
                result = self._letter_image(letter)[result]
            return result
        result = torch.eye(self.dim, dtype=torch.float64)
        for letter in g.word:
            result = result @ _as_matrix(self._letter_image(letter))
        return result

    def _letter_image(self, letter: Letter) -> Tensor:
        if isinstance(letter, tuple):
            return _exponential(self._exponent(letter))
        if not 1 <= abs(letter) <= len(self.generators):
            raise ValueError(f"g: {self.group.name} has no letter {letter}")
        image = self.generators[abs(letter) - 1]
        return image if letter > 0 else _inverse_image(image)

    def _exponent(self, letter: tuple[float, ...]) -> Tensor:
        if not len(letter) == len(self.algebra) > 0:
            raise ValueError(f"g: {self.group.name} has no letter {letter}")
        return sum(c * X for c, X in zip(letter, self.algebra, strict=True))

    def __call__(self, g: Element) -> Tensor:
        """The matrix ``rho(g)``, float64 of shape ``(dim, dim)``."""
        return _as_matrix(self.image(g))

    def act(self, g: Element, x: Tensor) -> Tensor:
        """``rho(g) x`` along the last axis of ``x``, whose size is ``dim``; any leading shape."""
        if not isinstance(x, Tensor) or x.ndim < 1 or x.shape[-1] != self.dim:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x: expected a tensor of shape (..., {self.dim}), got {got}")
        image = self.image(g)
        if image.ndim == 1:
            return x[..., _inverse_image(image).to(x.device)]
        if not (x.is_floating_point() or x.is_complex()):
            raise TypeError(f"x: expected a floating-point tensor, got {x.dtype}")
        return x @ image.to(x).T

    def character(self, g: Element) -> float:
        """The trace of ``rho(g)``."""
        image = self.image(g)
        if image.ndim == 1:
            return float((image == torch.arange(self.dim)).sum())
        return float(torch.trace(image))

    def __add__(self, other: Representation) -> Representation:
        if not isinstance(other, Representation):
            return NotImplemented
        return self._combine(other, _direct_sum, torch.block_diag, "+")

    def __mul__(self, other: Representation) -> Representation:
        if not isinstance(other, Representation):
            return NotImplemented
        return self._combine(other, _tensor_product, _tensor_derivative, "*")

    def _combine(
        self,
        other: Representation,
        on_group: Callable[[Tensor, Tensor], Tensor],
        on_algebra: Callable[[Tensor, Tensor], Tensor],
        symbol: str,
    ) -> Representation:
        _require_same_group("other", self.group, other.group)
        return Representation(
            self.group,
            [on_group(a, b) for a, b in zip(self.generators, other.generators, strict=True)],
            [on_algebra(a, b) for a, b in zip(self.algebra, other.algebra, strict=True)],
            name=f"({self.name} {symbol} {other.name})",
            check=False,
        )

    def __rmul__(self, copies: int) -> Representation:
        if isinstance(copies, bool) or not isinstance(copies, int):
            return NotImplemented
        if copies < 1:
            raise ValueError(f"copies: expected a positive integer, got {copies}")
        eye, zero = torch.arange(copies), torch.zeros(copies, copies, dtype=torch.float64)
        return Representation(
            self.group,
            [_tensor_product(eye, a) for a in self.generators],
            [_tensor_derivative(zero, X) for X in self.algebra],
            name=f"{copies}*{self.name}",
            check=False,
        )

    @property
    def dual(self) -> Representation:
        """The dual representation, ``rho*(g) = rho(g^-1)^T``, which acts on linear functionals."""
        return Representation(
            self.group,
            [a if a.ndim == 1 else _inverse_image(a).T for a in self.generators],
            [-X.T for X in self.algebra],
            name=f"{self.name}*",
            check=False,
        )

    @property
    def determinant(self) -> Representation:
        """The one-dimensional representation ``g -> det rho(g)``."""
        return Representation(
            self.group,
            [torch.linalg.det(_as_matrix(a)).reshape(1, 1) for a in self.generators],
            [torch.trace(X).reshape(1, 1) for X in self.algebra],
            name=f"det {self.name}",
            check=False,
        )

    def relation_error(self) -> float:
        """How far the images are from satisfying the relations of the group; 0 for a homomorphism.

        The largest entry by which a relation fails: those of the group's presentation, or, where it
        has none, all edges of the Cayley graph of its discrete part; and for the continuous part
        the brackets ``[X_a, X_b]`` and the conjugates ``s X_a s^-1``, which must have the
        coordinates that they have in the defining representation.

        Raises:
            ValueError: without a presentation, an infinite discrete part; or an algebra that is not
                closed under brackets.
        """
        return _relation_error(self)


# --- arguments -----------------------------------------------------------------------------------


def _require_group(argument: str, value: object) -> None:
    if not isinstance(value, Group):
        raise TypeError(f"{argument}: expected a Group, got {type(value).__name__}")
