"""Tiny files in the layout of all real data, with the checksums that the prelude accepts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.colab.prelude import CHECKSUMS
from tests.graph_files import sha256, write_cora, write_tu
from tests.mesh_files import write_faust, write_shrec11

SIZES = {"train": 64, "t10k": 24}


def write_data(root: Path) -> Path:
    """All data sets, below one folder."""
    with pytest.MonkeyPatch.context() as patch:
        graphs = {"Cora": write_cora(root, patch), "TU": write_tu(root, patch)}
    checksums = {
        kind: {name: sha256(content) for name, content in files.items()}
        for kind, files in graphs.items()
    }
    checksums["MNIST"] = {
        name: [sha256(content), len(content)] for name, content in write_mnist(root).items()
    }
    write_faust(root)
    write_shrec11(root)
    (root / CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")
    return root


def write_mnist(root: Path) -> dict[str, bytes]:
    """Random pictures in place of MNIST."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    files = {}
    for split, size in SIZES.items():
        files[f"{split}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (size, 28, 28)))
        files[f"{split}-labels-idx1-ubyte"] = idx(np.arange(size) % 10)
    for name, content in files.items():
        (raw / name).write_bytes(content)
    return files


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the idx format of MNIST."""
    shape = np.array(array.shape, dtype=">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + shape + array.astype(np.uint8).tobytes()
