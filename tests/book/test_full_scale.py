"""Every chapter with SCALE = "full", on tiny files in the layout of the real data, in two steps.

This shows that the full runs still work; what they claim about real data is recorded and not
checked, since two steps on random pictures train nothing.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import socket
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

import gdl.data.idx
from gdl import claims, data
from tests.book.chapters import CHAPTERS, code_cells
from tests.graph_files import write_cora, write_tu
from tests.mesh_files import write_faust, write_shrec11
from tools import nb as nbtool

SIZES = {"train": 64, "t10k": 32}


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the idx format of MNIST."""
    shape = np.array(array.shape, dtype=">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + shape + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random pictures in place of MNIST, with the loader's checksums set to theirs."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, size in SIZES.items():
        contents = {
            f"{split}-images-idx3-ubyte": idx(rng.integers(0, 256, (size, 28, 28))),
            f"{split}-labels-idx1-ubyte": idx(np.arange(size) % 10),
        }
        for name, content in contents.items():
            (raw / name).write_bytes(content)
            expected = data.MnistFile(hashlib.sha256(content).hexdigest(), len(content))
            monkeypatch.setitem(gdl.data.idx.MNIST_FILES, name, expected)


def _refuse(*_):
    raise OSError("this test runs without a network")


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """The claims that a chapter makes here; also the tiny data, and no display or network."""
    statements: list[str] = []
    signature = inspect.signature(claims.claim)

    def record(*arguments, **keywords):
        statements.append(signature.bind(*arguments, **keywords).arguments["statement"])

    write_mnist(tmp_path, monkeypatch)
    write_cora(tmp_path, monkeypatch)
    write_tu(tmp_path, monkeypatch)
    write_faust(tmp_path)
    write_shrec11(tmp_path)
    monkeypatch.setenv("GDL_DATA", str(tmp_path))
    monkeypatch.setenv("GDL_MAX_STEPS", "2")
    monkeypatch.setattr(claims, "claim", record)
    monkeypatch.setattr(plt, "show", lambda: None)
    monkeypatch.setattr(socket.socket, "connect", _refuse)
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    with matplotlib.rc_context(), np.printoptions():
        yield statements
    plt.close("all")
    torch.set_printoptions(profile="default")


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_full_scale(path, recorded):
    namespace = {"__name__": "__main__", "display": lambda *shown: None}
    for number, cell in enumerate(code_cells(nbtool.read(path)), start=1):
        source = re.sub(r'^SCALE = "small"', 'SCALE = "full"', cell.source, flags=re.MULTILINE)
        exec(compile(source, f"{path.stem}, code cell {number}", "exec"), namespace)
        plt.close("all")
    assert namespace["SCALE"] == "full"
    assert len(recorded) >= 10


def test_the_tiny_files_are_read(recorded):
    pictures, labels = data.mnist("train", source="embedded")
    assert pictures.shape == (64, 1, 28, 28)
    assert labels.tolist() == [k % 10 for k in range(64)]


def test_the_tiny_meshes_are_read(recorded):
    shapes, people = data.shrec11(), data.faust()
    assert len(shapes.classes) == 3 and len(shapes.train) == 30 and len(shapes.test) == 6
    assert len(people.meshes) == 100 and people.meshes[99][0].shape == (162, 3)


def test_a_call_that_claim_would_refuse_is_refused_here(recorded):
    with pytest.raises(TypeError):
        claims.claim("no measurement")
    claims.claim("one is one", 1, equals=1, oracle=1)
    assert recorded == ["one is one"]
