"""The colours of all pictures."""

from __future__ import annotations

RIGHT, WRONG, INK, FAINT = "#1a7f5a", "#c4372b", "#22252b", "#8a8f98"
TRAINING_COLOURS = ("#2b5fa8", "#d9822b", "#8a8f98", "#1a7f5a")
LABEL_COLOURS = ("#e0a030", "#3d6fb6", "#58a05c", "#b9c94a", "#c4372b", "#7b5ea7", "#46b0b8", "#d97ba6")
"""Of the labels 0 to 7."""
