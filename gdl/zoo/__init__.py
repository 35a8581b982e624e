"""The zoo: which assumptions lead to which architecture, and other roads to symmetry."""

from gdl.zoo.assumptions import Assumptions, Layer, possible, solve, vocabulary
from gdl.zoo.menus import Explorer, explorer
from gdl.zoo.roads import FrameAverage, GroupAverage, ScoredFrame, quarter_turn
from gdl.zoo.roads_frames import direction_frame, farthest_frame, principal_frame, rotate
from gdl.zoo.roads_relaxed import RelaxedLinear
from gdl.zoo.rows import dimension_by_cosets, double_cosets, layer_maps

__all__ = [
    "Assumptions",
    "Explorer",
    "FrameAverage",
    "GroupAverage",
    "Layer",
    "RelaxedLinear",
    "ScoredFrame",
    "dimension_by_cosets",
    "direction_frame",
    "double_cosets",
    "explorer",
    "farthest_frame",
    "layer_maps",
    "possible",
    "principal_frame",
    "quarter_turn",
    "rotate",
    "solve",
    "vocabulary",
]
