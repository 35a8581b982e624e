"""Groups and representations: the language in which every layer of the book is derived."""

from gdl.representations.averaging import invariant_inner_product, orthogonalise, reynolds
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
from gdl.representations.irreps import (
    CharacterTable,
    Summand,
    character_table,
    decompose,
    frobenius_schur,
    irreps,
)
from gdl.representations.lie import SO, O, lorentz, one_parameter, rotation, symplectic
from gdl.representations.orbits import burnside, conjugacy_classes, orbits, stabiliser
from gdl.representations.powers import symmetric_power, tensor_power
from gdl.representations.relations import Relation
from gdl.representations.standard import (
    circular_irrep,
    cosets,
    regular,
    spherical_irrep,
    trivial,
)
from gdl.representations.tables import associator_defects, from_table, multiplication_table

__all__ = [
    "CharacterTable",
    "Element",
    "Group",
    "O",
    "Relation",
    "Representation",
    "SO",
    "Summand",
    "alternating",
    "associator_defects",
    "burnside",
    "character_table",
    "circular_irrep",
    "conjugacy_classes",
    "cosets",
    "cyclic",
    "decompose",
    "dihedral",
    "direct_product",
    "frobenius_schur",
    "from_table",
    "invariant_inner_product",
    "irreps",
    "lorentz",
    "multiplication_table",
    "one_parameter",
    "orbits",
    "orthogonalise",
    "plane_group",
    "pull_back",
    "quaternion",
    "regular",
    "reynolds",
    "rotation",
    "spherical_irrep",
    "stabiliser",
    "symmetric",
    "symmetric_power",
    "symplectic",
    "tensor_power",
    "translations",
    "trivial",
    "wreath",
]
