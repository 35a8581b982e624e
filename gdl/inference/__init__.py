"""Random fields and their mean field as layers; attend, infer, repeat with two estimators.

Chapter: ``inference``.
"""

from gdl.inference.attend_infer_repeat import (
    AttendInferRepeat,
    Inference,
    Unfolding,
    train_air,
    window_errors,
)
from gdl.inference.crf import (
    MeanFieldCRF,
    PixelClassifier,
    SegmentationNet,
    mean_iou,
    train_segmentation,
)
from gdl.inference.estimators import (
    best_baseline,
    count_log_probabilities,
    enumerated,
    gradient_variance,
    mixed,
    sampled,
    score_gradients,
    without_value,
)
from gdl.inference.fields import Enumeration, PairwiseField, doubled
from gdl.inference.kernels import (
    bilateral_kernel,
    gaussian_kernel,
    normalized_kernel,
    pixel_colours,
    pixel_positions,
    spatial_kernel,
)
from gdl.inference.spatial_transformer import glimpse, glimpse_matrix, paste, paste_matrix
from gdl.inference.updates import Descent, MeanField, descent_threshold, mean_field, step_descent

__all__ = [
    "AttendInferRepeat",
    "Descent",
    "Enumeration",
    "Inference",
    "MeanField",
    "MeanFieldCRF",
    "PairwiseField",
    "PixelClassifier",
    "SegmentationNet",
    "Unfolding",
    "best_baseline",
    "bilateral_kernel",
    "count_log_probabilities",
    "descent_threshold",
    "doubled",
    "enumerated",
    "gaussian_kernel",
    "glimpse",
    "glimpse_matrix",
    "gradient_variance",
    "mean_field",
    "mean_iou",
    "mixed",
    "normalized_kernel",
    "paste",
    "paste_matrix",
    "pixel_colours",
    "pixel_positions",
    "sampled",
    "score_gradients",
    "spatial_kernel",
    "step_descent",
    "train_air",
    "train_segmentation",
    "window_errors",
    "without_value",
]
