"""Diffusion as a network: learned equations, saliency, TNRD, generalized thresholds, deblurring.

Chapter: ``diffusion``.
"""

from gdl.diffusion.baselines import OracleDenoising, oracle_nlm, oracle_tv
from gdl.diffusion.blurring import (
    align,
    blur,
    centre_kernel,
    estimate_kernels,
    gradients,
    sharpen,
    sparse_energy,
    wiener,
)
from gdl.diffusion.deblurring import BlindDeconvolution, train_deconvolution
from gdl.diffusion.elliptic import (
    diffusion_matrix,
    grid_edges,
    random_walks,
    similarity_weights,
    solve_diffusion,
)
from gdl.diffusion.evolution import EvolutionPDE, perona_malik, regress_equation, train_evolution
from gdl.diffusion.filters import (
    MOVES,
    adjoint_responses,
    dct_filters,
    filter_responses,
    move,
    orbit,
)
from gdl.diffusion.invariants import (
    INVARIANTS,
    differential_invariants,
    jet_invariants,
    jet_representation,
    laplacian_eigenvalues,
    laplacian_stencil,
    stencil_jet,
)
from gdl.diffusion.potentials import influence, influence_knots, potential
from gdl.diffusion.quality import psnr
from gdl.diffusion.saliency import LearningToDiffuse, train_saliency
from gdl.diffusion.seeds import (
    Choice,
    best_choice,
    diffusion_seeds,
    diffusion_value,
    greedy_choice,
    least_gain_and_curvature,
)
from gdl.diffusion.thresholding import generalized_soft_threshold, gst_jump, gst_threshold
from gdl.diffusion.tnrd import TNRD, denoise, random_crops, train_tnrd

__all__ = [
    "BlindDeconvolution",
    "Choice",
    "EvolutionPDE",
    "INVARIANTS",
    "LearningToDiffuse",
    "MOVES",
    "OracleDenoising",
    "TNRD",
    "adjoint_responses",
    "align",
    "best_choice",
    "blur",
    "centre_kernel",
    "dct_filters",
    "denoise",
    "differential_invariants",
    "diffusion_matrix",
    "diffusion_seeds",
    "diffusion_value",
    "estimate_kernels",
    "filter_responses",
    "generalized_soft_threshold",
    "gradients",
    "greedy_choice",
    "grid_edges",
    "gst_jump",
    "gst_threshold",
    "influence",
    "influence_knots",
    "jet_invariants",
    "jet_representation",
    "laplacian_eigenvalues",
    "laplacian_stencil",
    "least_gain_and_curvature",
    "move",
    "oracle_nlm",
    "oracle_tv",
    "orbit",
    "perona_malik",
    "potential",
    "psnr",
    "random_crops",
    "random_walks",
    "regress_equation",
    "sharpen",
    "similarity_weights",
    "solve_diffusion",
    "sparse_energy",
    "stencil_jet",
    "train_deconvolution",
    "train_evolution",
    "train_saliency",
    "train_tnrd",
    "wiener",
]
