"""Tiny mesh files in the layouts of SHREC 2011 and FAUST."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import trimesh

CLASSES = ("ants", "bird", "hand")


def bumpy(seed: int, scale: float = 1.0, level: int = 1) -> trimesh.Trimesh:
    """A closed mesh whose vertices are in no order."""
    rng = np.random.default_rng(seed)
    ball = trimesh.creation.icosphere(level)
    vertices = scale * (ball.vertices + 0.1 / 2**level * rng.random(ball.vertices.shape))
    order = rng.permutation(len(vertices))
    faces = np.argsort(order)[ball.faces]
    return trimesh.Trimesh(vertices[order], faces, process=False, validate=False)


def export(mesh: trimesh.Trimesh, path: Path, **options) -> Path:
    """Write a mesh in the format of the path."""
    return write(path, mesh.export(file_type=path.suffix[1:], **options))


def write(path: Path, content: str | bytes) -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def faust_archive(meshes: int = 100, level: int = 1) -> bytes:
    """The registrations of FAUST, in their folder, beside files that are none."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("MPI-FAUST/README.txt", "What is what.\n")
        archive.writestr("MPI-FAUST/training/scans/tr_scan_000.ply", b"no data")
        for k in range(meshes):
            name = f"MPI-FAUST/training/registrations/tr_reg_{k:03d}.ply"
            archive.writestr(name, bumpy(k, 1 + k / 50, level).export(file_type="ply"))
    return content.getvalue()


def write_faust(root: Path) -> Path:
    """Store a tiny FAUST whose meshes have 162 vertices."""
    return write(root / "FAUST" / "raw" / "MPI-FAUST.zip", faust_archive(level=2))


def write_shrec11(root: Path, per_class: int = 12) -> None:
    """Store a tiny SHREC 2011 of meshes of 162 vertices in the folders of MeshCNN."""
    for label, name in enumerate(CLASSES):
        for k in range(per_class):
            number = label * per_class + k
            folder = root / "SHREC11" / "raw" / "shrec_16" / name / ("train" if k % 4 else "test")
            mesh = bumpy(number, level=2)
            mesh.vertices = mesh.vertices * [1, 1, 1 + label]
            export(mesh, folder / f"T{number}.obj")
