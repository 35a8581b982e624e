"""Tiny files in the layout of Cora and of the TU collection, under their own checksums."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

import gdl.data.graphs

# Planetoid takes the 500 nodes after the labelled ones to validate.
CLASSES, LABELLED, OTHERS, TESTED, WORDS = 7, 14, 500, 32, 20
NODES = LABELLED + OTHERS + TESTED


def cora_files() -> dict[str, bytes]:
    """Random papers on a ring of citations; the test papers are stored in a shuffled order."""
    rng = np.random.default_rng(0)
    words = scipy.sparse.csr_matrix((rng.random((NODES, WORDS)) < 0.3).astype(np.float32))
    topics = np.eye(CLASSES, dtype=np.int32)[np.arange(NODES) % CLASSES]
    known = LABELLED + OTHERS
    order = rng.permutation(np.arange(known, NODES))
    parts = {
        "x": words[:LABELLED],
        "allx": words[:known],
        "tx": words[order],
        "y": topics[:LABELLED],
        "ally": topics[:known],
        "ty": topics[order],
        "graph": {i: [(i - 1) % NODES, (i + 1) % NODES] for i in range(NODES)},
    }
    files = {f"ind.cora.{name}": pickle.dumps(part, protocol=2) for name, part in parts.items()}
    index = "".join(f"{node}\n" for node in order)
    return {**files, "ind.cora.test.index": index.encode()}


def tu_texts(name: str, kinds: int) -> dict[str, str]:
    """24 rings of 4 to 6 nodes; the classes +1 and -1 alternate."""
    sizes = [4 + g % 3 for g in range(24)]
    columns: dict[str, list[str]] = {"A": [], "graph_indicator": [], "node_labels": []}
    for graph, size in enumerate(sizes):
        first = 1 + sum(sizes[:graph])
        for i in range(size):
            a, b = first + i, first + (i + 1) % size
            columns["A"] += [f"{a}, {b}", f"{b}, {a}"]
            columns["graph_indicator"].append(f"{graph + 1}")
            columns["node_labels"].append(f"{(graph + i) % kinds}")
    columns["graph_labels"] = ["1" if graph % 2 == 0 else "-1" for graph in range(24)]
    return {f"{name}_{part}.txt": "\n".join(lines) + "\n" for part, lines in columns.items()}


def tu_archive(name: str, kinds: int = 3) -> bytes:
    """The texts as the archives hold them: in a folder, beside a file that is no data."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{name}/README.txt", "What is what.\n")
        for file, text in tu_texts(name, kinds).items():
            archive.writestr(f"{name}/{file}", text)
    return content.getvalue()


def write_cora(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Store the tiny Cora, with the loader's checksums set to its."""
    files = cora_files()
    for name, content in files.items():
        store(root / "Cora" / "raw" / name, content)
        monkeypatch.setitem(gdl.data.graphs.CORA_FILES, name, sha256(content))
    return files


def write_tu(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Store tiny archives under every name, with the loader's checksums set to theirs."""
    files = {name: tu_archive(name) for name in gdl.data.graphs.TU_FILES}
    for name, content in files.items():
        store(root / name / "raw" / f"{name}.zip", content)
        monkeypatch.setitem(gdl.data.graphs.TU_FILES, name, sha256(content))
    return files


def store(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def sha256(content: bytes) -> str:
    """Its checksum in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
