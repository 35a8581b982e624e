r"""Data sets: real images that ship inside dependencies, and MNIST from a checked copy.

Nothing is read, imported or downloaded when this module is imported. Images are float32 tensors of
shape (N, 1, height, width) with values in [0, 1]; labels are int64 tensors of shape (N,).
Licences and sources stand in ``data/README.md``.

Downloaded files live under ``GDL_DATA`` (default ``~/.cache/gdl``) as ``MNIST/raw/NAME.gz``; a
plain ``MNIST/raw/NAME`` is read too. A file is parsed only after the sha256 of its decompressed
bytes has been checked, and it appears under its name only when it is complete.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import math
import os
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TEST_DIGITS = 500
DIGIT_SIDE = 8

# Luminance weights of ITU-R BT.709, as in skimage.color.rgb2gray.
LUMINANCE = (0.2125, 0.7154, 0.0721)

IMAGES = {
    "astronaut": "public domain",
    "brick": "CC0",
    "camera": "CC0",
    "cat": "CC0",
    "cell": "CC0",
    "clock": "public domain",
    "coffee": "CC0",
    "grass": "CC0",
    "gravel": "CC0",
    "horse": "CC0",
    "hubble_deep_field": "public domain",
    "microaneurysms": "CC0",
    "retina": "CC0",
    "rocket": "public domain",
    "text": "public domain",
}


@dataclass(frozen=True)
class MnistFile:
    """What the decompressed bytes of one MNIST file must be.

    Attributes:
        sha256: their checksum, in hexadecimal digits.
        size: their number; nothing longer is ever unpacked.

    >>> MNIST_FILES["t10k-labels-idx1-ubyte"].size  # a header of 8 bytes, then one byte a label
    10008
    """

    sha256: str
    size: int


MNIST_FILES: dict[str, MnistFile] = {
    "train-images-idx3-ubyte": MnistFile(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 47040016
    ),
    "train-labels-idx1-ubyte": MnistFile(
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60008
    ),
    "t10k-images-idx3-ubyte": MnistFile(
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 7840016
    ),
    "t10k-labels-idx1-ubyte": MnistFile(
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10008
    ),
}
MNIST_SPLITS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
MNIST_MIRRORS = [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
]

# Seconds of silence after which a connection is given up, and seconds for one whole file.
SILENCE_SECONDS = 20.0
DOWNLOAD_SECONDS = 600.0

# Compressed bytes that a mirror may send beyond the size of the decompressed file.
GZIP_OVERHEAD = 2**16


class DataUnavailable(OSError):
    """A data set is neither on this machine nor, as asked, reachable over the network.

    >>> try:
    ...     mnist("test", source="embedded", root="nowhere")
    ... except DataUnavailable as error:
    ...     print(str(error).partition(" in ")[0])
    MNIST file t10k-images-idx3-ubyte.gz is not
    """


def digits(split: str = "train", *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The 1797 handwritten digits of 8 x 8 pixels that ship inside scikit-learn.

    The split is stratified (each class keeps its share) and random over images, so that the same
    writers occur on both sides: it measures new images, not new writers.

    Args:
        split: ``"train"`` (1297 images), ``"test"`` (500) or ``"all"`` (1797, in stored order).
        seed: which stratified split; has no effect on ``"all"``.

    Returns:
        Images (N, 1, 8, 8), float32, the stored counts 0..16 divided by 16; labels (N,), int64.

    Raises:
        ValueError: ``split`` is none of the three.

    Tested: train and test partition the stored digits, and each image keeps its label. Source:
    Alpaydin and Kaynak, UCI Machine Learning Repository 1998. Used first in the chapter
    "one_equation".

    >>> x, y = digits("test")
    >>> x.shape, y.dtype, float(x.max())
    (torch.Size([500, 1, 8, 8]), torch.int64, 1.0)
    """
    _check_choice("split", split, ("train", "test", "all"))
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    x = torch.as_tensor(bunch.images / 16, dtype=torch.float32)[:, None]
    y = torch.as_tensor(bunch.target, dtype=torch.int64)
    if split == "all":
        return x, y
    train, test = train_test_split(
        np.arange(len(y)), test_size=TEST_DIGITS, stratify=bunch.target, random_state=seed
    )
    chosen = torch.as_tensor(train if split == "train" else test)
    return x[chosen], y[chosen]


def place(images: Tensor, size: int, offsets: Tensor) -> Tensor:
    """Each image on a zero canvas, its top left corner at its offset.

    ``place(images, size, offsets)[n, c, r_n + i, k_n + j] = images[n, c, i, j]`` with
    ``(r_n, k_n) = offsets[n]``, and zero elsewhere.

    Args:
        images: (N, C, h, w), any dtype.
        size: side of the square canvas, in pixels.
        offsets: (N, 2), int64, (row, column) with row in 0..size-h and column in 0..size-w.

    Returns:
        (N, C, size, size), dtype of ``images``.

    Raises:
        ValueError: shapes that do not match, a canvas that is too small, an offset outside it.

    Law: moving an offset by (a, b) is the shift of the canvas by (a, b), as ``torch.roll`` does it.
    Used in the chapter "grids".

    >>> place(torch.ones(1, 1, 1, 2), 3, torch.tensor([[2, 1]]))[0, 0].int().tolist()
    [[0, 0, 0], [0, 0, 0], [0, 1, 1]]
    """
    if images.ndim != 4:
        raise ValueError(f"images: expected shape (N, C, h, w), got {tuple(images.shape)}")
    n, channels, h, w = images.shape
    if size < max(h, w):
        raise ValueError(f"size: expected at least {max(h, w)} for {h} x {w} images, got {size}")
    if offsets.shape != (n, 2) or offsets.dtype != torch.int64:
        raise ValueError(
            f"offsets: expected int64 of shape {(n, 2)}, got {offsets.dtype} of shape "
            f"{tuple(offsets.shape)}"
        )
    _check_corners("offsets", offsets, size - h, size - w)
    rows = offsets[:, 0, None, None] + torch.arange(h)[:, None]
    columns = offsets[:, 1, None, None] + torch.arange(w)
    canvas = images.new_zeros(n, size, size, channels)
    canvas[torch.arange(n)[:, None, None], rows, columns] = images.permute(0, 2, 3, 1)
    return canvas.permute(0, 3, 1, 2).contiguous()


def digits_on_canvas(
    size: int = 16,
    positions: Sequence[tuple[int, int]] | None = None,
    *,
    split: str = "train",
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """The 8 x 8 digits on a larger zero canvas: train at one place, test at another.

    Args:
        size: side of the canvas, at least 8.
        positions: the allowed (row, column) of the digit's top left corner, each in 0..size-8.
            Every digit goes to one of them, drawn uniformly; None allows them all.
        split: as in :func:`digits`.
        seed: seeds the draw of the places. The split is always that of ``digits(split)``.

    Returns:
        Images (N, 1, size, size), float32; labels (N,), int64; offsets (N, 2), int64.

    Raises:
        ValueError: ``size`` below 8, ``positions`` empty or outside the canvas, an unknown
            ``split``.

    Tested: the canvas holds the digit at its offset and nothing else, and every allowed place is
    drawn. Used first in the chapter "one_equation".

    >>> x, y, offsets = digits_on_canvas(16, [(4, 4)], split="test")
    >>> x.shape, offsets.unique(dim=0).tolist()
    (torch.Size([500, 1, 16, 16]), [[4, 4]])
    """
    if size < DIGIT_SIDE:
        raise ValueError(f"size: expected at least {DIGIT_SIDE}, got {size}")
    x, y = digits(split)
    if positions is None:
        side = torch.arange(size - DIGIT_SIDE + 1)
        allowed = torch.cartesian_prod(side, side)
    else:
        allowed = _pairs("positions", positions)
        _check_corners("positions", allowed, size - DIGIT_SIDE, size - DIGIT_SIDE)
    generator = torch.Generator().manual_seed(seed)
    offsets = allowed[torch.randint(len(allowed), (len(x),), generator=generator)]
    return place(x, size, offsets), y, offsets


def images(names: str | Sequence[str] = "camera", size: int = 64) -> Tensor:
    """Grey photographs and textures that ship inside scikit-image, all free of rights.

    The central square is cut out, turned to grey by luminance and reduced by averaging over areas.
    Nothing is downloaded: ``IMAGES`` lists only files inside the wheel, with their licence.

    Args:
        names: one name or several names of ``IMAGES``.
        size: side in pixels, at most the smaller side of each image.

    Returns:
        (N, 1, size, size), float32 in [0, 1], one image for each name.

    Raises:
        ValueError: no name or an unknown one, or a size that would need enlarging.

    Tested: each pixel is the mean over its area, and no image needs a network. Sources: the
    gallery of scikit-image, see ``data/README.md``. Used in the chapter "grids".

    >>> images(["camera", "brick"], size=32).shape
    torch.Size([2, 1, 32, 32])
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise ValueError("names: expected at least one name, got none")
    for name in names:
        _check_choice("names", name, tuple(IMAGES))
    return torch.cat([_image(name, size) for name in names])


def mnist(
    split: str = "train", *, source: str = "auto", root: str | Path | None = None
) -> tuple[Tensor, Tensor]:
    """MNIST: handwritten digits of 28 x 28 pixels, 60,000 to train and 10,000 to test.

    No dependency ships MNIST, so ``"embedded"`` means a copy that is already on this machine.

    Args:
        split: ``"train"`` or ``"test"``.
        source: ``"embedded"`` reads the local copy and never touches the network; ``"auto"`` reads
            the local copy and downloads what is missing; ``"online"`` downloads afresh and
            replaces the local copy.
        root: folder that holds ``MNIST/raw``; default: see :func:`data_root`.

    Returns:
        Images (N, 1, 28, 28), float32 in [0, 1]; labels (N,), int64.

    Raises:
        DataUnavailable: no local copy and no network, or none allowed.
        ValueError: an unknown ``split`` or ``source``; a local file whose checksum is wrong.

    Tested: ``"embedded"`` opens no connection, a damaged file is refused before it is parsed, and
    an interrupted download leaves nothing behind. Source: LeCun, Cortes and Burges,
    http://yann.lecun.com/exdb/mnist/. Used by the full runs of "one_equation" and "grids".

    >>> mnist(source="embedded", root="nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    gdl.data.DataUnavailable: MNIST file train-images-idx3-ubyte.gz is not in nowhere...
    """
    _check_choice("split", split, tuple(MNIST_SPLITS))
    _check_choice("source", source, ("auto", "embedded", "online"))
    folder = data_root(root) / "MNIST" / "raw"
    pixels, labels = (parse_idx(_mnist_bytes(folder, f, source), f) for f in MNIST_SPLITS[split])
    x = torch.from_numpy(pixels.copy())[:, None].to(torch.float32) / 255
    return x, torch.from_numpy(labels.astype(np.int64))


def data_root(root: str | Path | None = None) -> Path:
    """The folder of downloaded data: ``root``, else ``GDL_DATA``, else the user's cache.

    Tested: the order of the three; the cache is ``XDG_CACHE_HOME``, or ``~/.cache``, with ``gdl``.

    >>> data_root("here").name
    'here'
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(root or os.environ.get("GDL_DATA") or cache / "gdl").expanduser()


def parse_idx(content: bytes, name: str = "content") -> np.ndarray:
    """The array of unsigned bytes in an idx file.

    The file is: two zero bytes, the type code 8, the number of dimensions, each dimension as a
    big-endian 32-bit integer, then the entries in row-major order and nothing else.

    Args:
        content: the decompressed bytes of the file.
        name: what to call it in an error.

    Returns:
        A read-only uint8 array of the stated dimensions.

    Raises:
        ValueError: a wrong magic number, a short header, more or fewer entries than stated.

    Law: it inverts the format for every shape, and any other bytes give a ValueError. Source: the
    description of the format on http://yann.lecun.com/exdb/mnist/.

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7])).tolist()
    [5, 7]
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or content[3] == 0:
        raise ValueError(
            f"{name}: expected an idx file of unsigned bytes, which starts with 00 00 08 and a "
            f"positive number of dimensions, got {content[:4].hex(' ') or 'no bytes'}"
        )
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise ValueError(f"{name}: expected a header of {header} bytes, got {len(content)}")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    # Python integers cannot overflow, so a huge claimed shape is refused before any allocation.
    if math.prod(shape) != len(content) - header:
        raise ValueError(
            f"{name}: expected {math.prod(shape)} entries for shape {shape}, "
            f"got {len(content) - header}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{argument}: expected one of {', '.join(choices)}, got {value!r}")


def _pairs(argument: str, values: Sequence[tuple[int, int]]) -> Tensor:
    pairs = torch.as_tensor(values)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) == 0 or pairs.is_floating_point():
        raise ValueError(
            f"{argument}: expected at least one (row, column) pair of integers, "
            f"got {pairs.dtype} of shape {tuple(pairs.shape)}"
        )
    return pairs.to(torch.int64)


def _check_corners(argument: str, corners: Tensor, last_row: int, last_column: int) -> None:
    outside = (corners < 0) | (corners > torch.tensor([last_row, last_column]))
    if outside.any():
        worst = tuple(corners[outside.any(1)][0].tolist())
        raise ValueError(
            f"{argument}: expected rows in 0..{last_row} and columns in 0..{last_column}, "
            f"got {worst}"
        )


def _image(name: str, size: int) -> Tensor:
    import skimage.data

    stored = getattr(skimage.data, name)()
    pixels = torch.as_tensor(stored / np.float64(255 if stored.dtype == np.uint8 else 1))
    if pixels.ndim == 3:
        pixels = pixels @ torch.tensor(LUMINANCE, dtype=pixels.dtype)
    side = min(pixels.shape)
    if not 1 <= size <= side:
        raise ValueError(f"size: expected 1..{side} for {name!r}, got {size}")
    top, left = ((length - side) // 2 for length in pixels.shape)
    square = pixels[None, None, top : top + side, left : left + side]
    return F.interpolate(square, size=(size, size), mode="area").to(torch.float32)


def _mnist_bytes(folder: Path, name: str, source: str) -> bytes:
    """The checked decompressed bytes of one file, from the disc or a mirror."""
    local = _local_copy(folder, name)
    if source == "online" or (source == "auto" and local is None):
        return _download(folder, name)
    if local is None:
        raise DataUnavailable(
            f"MNIST file {name}.gz is not in {folder}: point GDL_DATA to a folder with "
            f"MNIST/raw/{name}.gz, or use source='auto' with a network."
        )
    try:
        return _unpack(name, local.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{local} is damaged ({error}); delete it, or replace it with source='online'."
        ) from error


def _local_copy(folder: Path, name: str) -> Path | None:
    # The compressed name comes first because that is the one a download replaces.
    candidates = (folder / f"{name}.gz", folder / name)
    return next((path for path in candidates if path.is_file()), None)


def _unpack(name: str, raw: bytes) -> bytes:
    """Decompress where needed, never to more than the known size, and check the sha256."""
    expected = MNIST_FILES[name]
    try:
        content = _gunzip(raw, expected.size + 1) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"not a complete gzip file: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != expected.sha256:
        raise ValueError(f"expected sha256 {expected.sha256}, got {found}")
    return content


def _gunzip(raw: bytes, most: int) -> bytes:
    with gzip.open(io.BytesIO(raw)) as file:
        return file.read(most)


def _download(folder: Path, name: str) -> bytes:
    """Fetch, check, store under the final name in one step; hand back the decompressed bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for mirror in MNIST_MIRRORS:
        url = f"{mirror}{name}.gz"
        try:
            raw = _fetch(url, MNIST_FILES[name].size + GZIP_OVERHEAD)
            content = _unpack(name, raw)
        except (OSError, http.client.HTTPException, ValueError) as error:
            failures.append(f"{url}: {error}")
            continue
        _write_atomically(folder / f"{name}.gz", raw)
        return content
    raise DataUnavailable(
        f"MNIST file {name}.gz could not be downloaded ({'; '.join(failures)}): connect to a "
        f"network, or point GDL_DATA to a folder with MNIST/raw/{name}.gz and use "
        "source='embedded'."
    )


def _fetch(url: str, limit: int) -> bytes:
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    received = bytearray()
    with urllib.request.urlopen(url, timeout=SILENCE_SECONDS) as response:
        while chunk := response.read1(2**16):
            received += chunk
            if len(received) > limit:
                raise ValueError(f"expected at most {limit} bytes, got more")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not complete after {DOWNLOAD_SECONDS:.0f} s")
    return bytes(received)


def _write_atomically(path: Path, content: bytes) -> None:
    # A folder beside the target is on the same file system, where os.replace is atomic.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as scratch:
        part = Path(scratch) / path.name
        part.write_bytes(content)
        os.replace(part, path)
