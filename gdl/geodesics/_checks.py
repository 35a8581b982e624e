"""Checks of meshes: each raises an error that names the argument and the offending indices."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

import gdl._checks as check
from gdl.geodesics._arrays import read_array
from gdl.geodesics.mesh import Mesh


def require(mesh: Mesh, *properties: str, name: str = "mesh") -> Mesh:
    """Return ``mesh`` if it is one, and has these properties of :meth:`MeshReport.refusal`."""
    refusal = typed(mesh, name).report().refusal(*properties)
    if refusal:
        raise ValueError(f"{name}: {refusal}")
    return mesh


def measurable(mesh: Mesh, *, name: str = "mesh") -> Mesh:
    """Return ``mesh`` if every face has an area and every vertex a face: operators need that."""
    if typed(mesh, name).is_measurable:
        return mesh
    return require(mesh, "areas", "compact", name=name)


def numbers(name: str, values: ArrayLike | Tensor, count: int) -> Tensor:
    """Finite real numbers (count,) as float64."""
    read = read_array(name, values)
    if read.dtype.kind not in "iuf":
        raise TypeError(f"{name}: expected {count} real numbers, got {read.dtype}")
    if read.shape != (count,):
        raise ValueError(f"{name}: expected shape ({count},), got {read.shape}")
    # Only a copy is writable and in the order of bytes and strides that torch knows.
    return check.finite(name, torch.from_numpy(read.astype(np.float64)))


def positive_numbers(name: str, values: ArrayLike | Tensor, count: int) -> Tensor:
    """Positive numbers (count,) as float64."""
    read = numbers(name, values, count)
    if not bool((read > 0).all()):
        raise ValueError(f"{name}: expected {count} positive numbers, got {read.tolist()}")
    return read


def typed(mesh: Mesh, name: str = "mesh") -> Mesh:
    """Return ``mesh`` if it is one, whatever its defects."""
    if not isinstance(mesh, Mesh):
        raise TypeError(f"{name}: expected a Mesh, got {type(mesh).__name__}")
    return mesh
