"""Layers and networks; they hold weights, the floors below hold the mathematics."""

from geocnn.nn.blocks import ConvBlock
from geocnn.nn.gauge_conv import GaugeConv
from geocnn.nn.models import SurfaceEncoder
from geocnn.nn.nonlinearity import Gated, NormNonlinearity
from geocnn.nn.norm import FieldNorm
from geocnn.nn.pool import Pool, surface_mean

__all__ = [
    "ConvBlock",
    "FieldNorm",
    "Gated",
    "GaugeConv",
    "NormNonlinearity",
    "Pool",
    "SurfaceEncoder",
    "surface_mean",
]
