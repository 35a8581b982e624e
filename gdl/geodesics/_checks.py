"""Checks of meshes: each raises an error that names the argument and the offending indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

import gdl._checks as check
from gdl.geodesics.mesh import Mesh


def require(mesh: Mesh, *properties: str, name: str = "mesh") -> Mesh:
    """Return ``mesh`` if it is one, and has these properties of :meth:`MeshReport.refusal`."""
    if not isinstance(mesh, Mesh):
        raise TypeError(f"{name}: expected a Mesh, got {type(mesh).__name__}")
    refusal = mesh.report().refusal(*properties)
    if refusal:
        raise ValueError(f"{name}: {refusal}")
    return mesh


def measurable(mesh: Mesh, *, name: str = "mesh") -> Mesh:
    """Return ``mesh`` if every face has an area and every vertex a face: operators need that."""
    return require(mesh, "areas", "compact", name=name)


def numbers(name: str, values: Sequence[float] | Tensor, count: int) -> Tensor:
    """Finite real numbers (count,) as float64."""
    try:
        read = torch.as_tensor(values if isinstance(values, Tensor) else np.asarray(values))
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name}: expected {count} numbers, got {values!r}") from None
    if read.is_complex() or read.dtype == torch.bool or read.is_meta:
        raise TypeError(f"{name}: expected real numbers, got {read.dtype} on {read.device}")
    if read.shape != (count,):
        raise ValueError(f"{name}: expected shape ({count},), got {tuple(read.shape)}")
    return check.finite(name, read.detach().double())


def positive_numbers(name: str, values: Sequence[float] | Tensor, count: int) -> Tensor:
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
