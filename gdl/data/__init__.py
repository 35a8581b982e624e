"""Data sets: real images that ship inside dependencies, and MNIST from a checked copy.

Nothing is read, imported or downloaded when this package is imported. Images are float32 tensors
of shape (N, 1, height, width), in [0, 1] unless said otherwise; labels are int64 tensors of shape
(N,).
Licences and sources stand in ``data/README.md``.
"""

from gdl.data.handwriting import digits, digits_on_canvas, place
from gdl.data.idx import DataUnavailable, MnistFile, data_root, mnist, parse_idx
from gdl.data.molecules import molecules
from gdl.data.pictures import IMAGES, images, textures
from gdl.data.rotated import rotate, rotated_mnist
from gdl.data.spherical import project_on_sphere, spherical_digits, spherical_mnist

__all__ = [
    "DataUnavailable",
    "IMAGES",
    "MnistFile",
    "data_root",
    "digits",
    "digits_on_canvas",
    "images",
    "mnist",
    "molecules",
    "parse_idx",
    "place",
    "project_on_sphere",
    "rotate",
    "rotated_mnist",
    "spherical_digits",
    "spherical_mnist",
    "textures",
]
