"""Data sets: real images and graphs that ship inside dependencies, and others from checked copies.

Nothing is read, imported or downloaded when this package is imported. Images are float32 tensors
of shape (N, 1, height, width), in [0, 1] unless said otherwise; labels are int64 tensors of shape
(N,).
Licences and sources stand in ``data/README.md``.
"""

from gdl.data.blurs import cartoons, motion_kernels
from gdl.data.canvases import Canvases, digit_canvases
from gdl.data.folders import grey_folder
from gdl.data.graphs import LabelledGraph, cora, karate, stratified_folds, tu_dataset
from gdl.data.handwriting import digits, digits_on_canvas, place
from gdl.data.idx import DataUnavailable, MnistFile, data_root, mnist, parse_idx
from gdl.data.meshes import LabelledMeshes, faust, read_mesh_file, shrec11
from gdl.data.molecules import molecules
from gdl.data.pictures import IMAGES, images, textures
from gdl.data.rotated import rotate, rotated_mnist
from gdl.data.saliency import saliency_scenes
from gdl.data.scenes import colour_scenes
from gdl.data.sequential import pixel_order, pixels, rows
from gdl.data.spherical import project_on_sphere, spherical_digits, spherical_mnist
from gdl.data.sums import digit_sums
from gdl.data.videos import LayeredVideo, Video, background_video, cuboids, pedestrian_video

__all__ = [
    "Canvases",
    "DataUnavailable",
    "IMAGES",
    "LabelledGraph",
    "LabelledMeshes",
    "LayeredVideo",
    "MnistFile",
    "Video",
    "background_video",
    "cartoons",
    "colour_scenes",
    "cora",
    "cuboids",
    "data_root",
    "digit_canvases",
    "digit_sums",
    "digits",
    "digits_on_canvas",
    "faust",
    "grey_folder",
    "images",
    "karate",
    "mnist",
    "molecules",
    "motion_kernels",
    "parse_idx",
    "pedestrian_video",
    "pixel_order",
    "pixels",
    "place",
    "project_on_sphere",
    "read_mesh_file",
    "rotate",
    "rotated_mnist",
    "rows",
    "saliency_scenes",
    "shrec11",
    "spherical_digits",
    "spherical_mnist",
    "stratified_folds",
    "textures",
    "tu_dataset",
]
