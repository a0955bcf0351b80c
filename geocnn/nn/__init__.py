"""Layers and networks; they hold weights, the floors below hold the mathematics."""

from geocnn.nn.blocks import ConvBlock, ResidualBlock
from geocnn.nn.dropout import FieldDropout
from geocnn.nn.fourier import FourierNonlinearity
from geocnn.nn.gauge_conv import GaugeConv
from geocnn.nn.harmonic import HarmonicBlock, HarmonicEncoder, spectral_pool, sphere_mean
from geocnn.nn.linear import FieldLinear
from geocnn.nn.models import SurfaceEncoder, SurfaceUNet
from geocnn.nn.nonlinearity import Gated, NormNonlinearity
from geocnn.nn.norm import FieldNorm
from geocnn.nn.pool import Pool, surface_mean
from geocnn.nn.so3_correlation import SO3Correlation

__all__ = [
    "ConvBlock",
    "FieldDropout",
    "FieldLinear",
    "FieldNorm",
    "FourierNonlinearity",
    "Gated",
    "GaugeConv",
    "HarmonicBlock",
    "HarmonicEncoder",
    "NormNonlinearity",
    "Pool",
    "ResidualBlock",
    "SO3Correlation",
    "SurfaceEncoder",
    "SurfaceUNet",
    "spectral_pool",
    "sphere_mean",
    "surface_mean",
]
