"""Learning in high dimensions: hulls, samples, folds, margins, and programs that sort."""

from gdl.high_dimensions.folding import Fold, crumple, random_folds, sheet, uncrumple
from gdl.high_dimensions.hulls import HullReport, in_hull
from gdl.high_dimensions.margins import Margins, linear_margins
from gdl.high_dimensions.networks import gradient_norms, interpolant, layer_outputs
from gdl.high_dimensions.samples import wasserstein, wendel
from gdl.high_dimensions.sorting import apply_network, search_sorting_network

__all__ = [
    "Fold",
    "HullReport",
    "Margins",
    "apply_network",
    "crumple",
    "gradient_norms",
    "in_hull",
    "interpolant",
    "layer_outputs",
    "linear_margins",
    "random_folds",
    "search_sorting_network",
    "sheet",
    "uncrumple",
    "wasserstein",
    "wendel",
]
