"""The colours of all pictures."""

from __future__ import annotations

RIGHT, WRONG, INK, FAINT = "#1a7f5a", "#c4372b", "#22252b", "#8a8f98"
TRAINING_COLOURS = ("#2b5fa8", "#d9822b", "#8a8f98", "#1a7f5a")
MISSING, PLAIN = "#c7c7c7", "#d6d2c9"
"""Of places without a value, and of shapes that show no field."""

SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
"""Colour maps that people with any colour vision can read."""

LABEL_COLOURS = (
    "#e69f00", "#0072b2", "#009e73", "#f0e442", "#d55e00", "#56b4e9", "#cc79a7", "#332288",
    "#790d1f", "#436767", "#c1d39d", "#af1f0d", "#0d7955", "#0d4343", "#67e5f7", "#1f8bf7",
    "#430de5", "#435579", "#e58b9d", "#315543", "#79af67", "#0d8b79", "#e5e5d3", "#798b43",
    "#436731", "#1f798b", "#9dd367", "#43439d", "#c1f78b", "#67c1d3", "#5543f7", "#d30dc1",
    "#1f8b8b", "#0d4355", "#8b0d0d", "#679d8b", "#c179c1", "#d3c1af", "#f78bc1", "#677943",
)  # fmt: skip
"""Of the labels 0 to 39; later labels use them again.

The first eight are those of Okabe and Ito 2008. Each further one is the farthest from all before it, from
MISSING and from white, by CIEDE2000, in the least favourable of normal, deuteranope and protanope vision.
"""
