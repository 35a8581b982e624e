"""Small molecules with real geometries.

Used in the chapter "rotations".
"""

from __future__ import annotations

import torch
from torch import Tensor

from gdl.data._checks import _check_choice

# Atomic numbers, and positions in angstrom: MP2(full)/6-31G(d) geometries of the G2/97 test set,
# Curtiss, Raghavachari, Redfern and Pople, J. Chem. Phys. 106, 1063 (1997).
EMBEDDED = {
    "water": [
        (8, 0.0, 0.0, 0.119262),
        (1, 0.0, 0.763239, -0.477047),
        (1, 0.0, -0.763239, -0.477047),
    ],
    "ammonia": [
        (7, 0.0, 0.0, 0.116489),
        (1, 0.0, 0.939731, -0.271808),
        (1, 0.813831, -0.469865, -0.271808),
        (1, -0.813831, -0.469865, -0.271808),
    ],
    "methane": [
        (6, 0.0, 0.0, 0.0),
        (1, 0.629118, 0.629118, 0.629118),
        (1, -0.629118, -0.629118, 0.629118),
        (1, 0.629118, -0.629118, -0.629118),
        (1, -0.629118, 0.629118, -0.629118),
    ],
    "hydrogen peroxide": [
        (8, 0.0, 0.734058, -0.05275),
        (8, 0.0, -0.734058, -0.05275),
        (1, 0.839547, 0.880752, 0.422001),
        (1, -0.839547, -0.880752, 0.422001),
    ],
    "methanol": [
        (6, -0.047131, 0.664389, 0.0),
        (8, -0.047131, -0.758551, 0.0),
        (1, -1.092995, 0.969785, 0.0),
        (1, 0.878534, -1.048458, 0.0),
        (1, 0.437145, 1.080376, 0.891772),
        (1, 0.437145, 1.080376, -0.891772),
    ],
    "ethanol": [
        (6, 1.168181, -0.400382, 0.0),
        (6, 0.0, 0.559462, 0.0),
        (8, -1.190083, -0.227669, 0.0),
        (1, -1.946623, 0.381525, 0.0),
        (1, 0.042557, 1.207508, 0.886933),
        (1, 0.042557, 1.207508, -0.886933),
        (1, 2.115891, 0.1448, 0.0),
        (1, 1.128599, -1.037234, 0.885881),
        (1, 1.128599, -1.037234, -0.885881),
    ],
}


def molecules(source: str = "embedded") -> dict[str, tuple[Tensor, Tensor]]:
    """Molecules at rest: for each name the atomic numbers and the positions.

    Args:
        source: "embedded" for six small molecules; "g2" for the 162 molecules and atoms of ASE's
            collection ``g2``, which needs the package ``ase``.

    Returns:
        Name -> atomic numbers int64 ``(n,)`` and positions float64 ``(n, 3)`` in angstrom.

    Raises: ValueError for another source; ModuleNotFoundError for "g2" without ``ase``.
    Tested: bond lengths, symmetry, the handedness of hydrogen peroxide. Source: Curtiss et al.
    1997. Used in the chapter "rotations".

    Chapter: ``rotations``.

    >>> numbers, positions = molecules()["water"]
    >>> numbers.tolist(), round(float((positions[0] - positions[1]).norm()), 3)
    ([8, 1, 1], 0.969)
    """
    _check_choice("source", source, ("embedded", "g2"))
    if source == "g2":
        return _from_ase()
    return {
        name: (
            torch.tensor([row[0] for row in rows]),
            torch.tensor([row[1:] for row in rows], dtype=torch.float64),
        )
        for name, rows in EMBEDDED.items()
    }


def _from_ase() -> dict[str, tuple[Tensor, Tensor]]:
    try:
        from ase.collections import g2
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            'source: "g2" needs the package ase, which is not installed: pip install ase'
        ) from missing
    return {
        name: (
            torch.from_numpy(g2[name].numbers.astype("int64")),
            torch.from_numpy(g2[name].positions.astype("float64")),
        )
        for name in g2.names
    }
