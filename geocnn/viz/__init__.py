"""Pictures. Every function returns a matplotlib Figure for the caller to save; matplotlib is imported inside.

Figures are made without pyplot, so nothing depends on a display or on global state.
"""

from geocnn.viz.colours import FAINT, INK, LABEL_COLOURS, RIGHT, TRAINING_COLOURS, WRONG
from geocnn.viz.confusion_matrix import confusion
from geocnn.viz.field_pictures import field, mollweide, shape
from geocnn.viz.fields import Field
from geocnn.viz.html_pages import page
from geocnn.viz.mesh_colours import painted
from geocnn.viz.mesh_pages import mesh_page
from geocnn.viz.score_pictures import (
    calibration_curve,
    precision_recall_curves,
    predicted_against_true,
    roc_curves,
)
from geocnn.viz.sheets import Panel, sheet
from geocnn.viz.sphere_pictures import orthographic, sphere_page
from geocnn.viz.training_curves import curves

__all__ = [
    "FAINT",
    "INK",
    "LABEL_COLOURS",
    "RIGHT",
    "TRAINING_COLOURS",
    "WRONG",
    "Field",
    "Panel",
    "calibration_curve",
    "confusion",
    "curves",
    "field",
    "mesh_page",
    "mollweide",
    "orthographic",
    "page",
    "painted",
    "precision_recall_curves",
    "predicted_against_true",
    "roc_curves",
    "shape",
    "sheet",
    "sphere_page",
]
