"""Data sets: real images that ship inside dependencies, and MNIST from a checked copy.

Nothing is read, imported or downloaded when this package is imported. Images are float32 tensors
of shape (N, 1, height, width), in [0, 1] unless said otherwise; labels are int64 tensors of shape
(N,).
Licences and sources stand in ``data/README.md``.
"""

from gdl.data.handwriting import digits, digits_on_canvas, place
from gdl.data.idx import DataUnavailable, MnistFile, data_root, mnist, parse_idx
from gdl.data.pictures import IMAGES, images, textures
from gdl.data.rotated import rotate, rotated_mnist

__all__ = [
    "DataUnavailable",
    "IMAGES",
    "MnistFile",
    "data_root",
    "digits",
    "digits_on_canvas",
    "images",
    "mnist",
    "parse_idx",
    "place",
    "rotate",
    "rotated_mnist",
    "textures",
]
