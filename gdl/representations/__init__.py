"""Groups and representations: the language in which every layer of the book is derived."""

from gdl.representations.core import Element, Group, Representation
from gdl.representations.finite import (
    alternating,
    cyclic,
    dihedral,
    direct_product,
    plane_group,
    pull_back,
    quaternion,
    symmetric,
    translations,
    wreath,
)
from gdl.representations.lie import SO, O, lorentz, one_parameter, symplectic
from gdl.representations.standard import (
    circular_irrep,
    cosets,
    regular,
    spherical_irrep,
    trivial,
)

__all__ = [
    "Element",
    "Group",
    "O",
    "Representation",
    "SO",
    "alternating",
    "circular_irrep",
    "cosets",
    "cyclic",
    "dihedral",
    "direct_product",
    "lorentz",
    "one_parameter",
    "plane_group",
    "pull_back",
    "quaternion",
    "regular",
    "spherical_irrep",
    "symmetric",
    "symplectic",
    "translations",
    "trivial",
    "wreath",
]
