"""Layers and networks; they hold weights, the floors below hold the mathematics."""

from geocnn.nn.blocks import BottleneckBlock, ConvBlock, PointwiseBlock, ResidualBlock
from geocnn.nn.costs import ModuleCost, cost
from geocnn.nn.dropout import FieldDropout
from geocnn.nn.fourier import FourierNonlinearity
from geocnn.nn.gauge_conv import GaugeConv
from geocnn.nn.harmonic import HarmonicBlock, HarmonicEncoder, HarmonicUNet, spectral_pool, sphere_mean
from geocnn.nn.linear import FieldLinear
from geocnn.nn.models import SurfaceEncoder, SurfaceUNet
from geocnn.nn.nonlinearity import Gated, NormNonlinearity, WithLengths
from geocnn.nn.norm import FieldNorm
from geocnn.nn.on_surface import OnSurface
from geocnn.nn.planar.background import to_full
from geocnn.nn.planar.full_conv import FullConv1d, FullConv2d, FullConv3d
from geocnn.nn.planar.group_conv import GroupConv, GroupPool, IsotropicConv2d, LiftingConv
from geocnn.nn.planar.layer_taps import taps
from geocnn.nn.planar.subsample import BlurPool2d, EquivariantSubsample2d
from geocnn.nn.pool import Pool, surface_mean
from geocnn.nn.presets import Preset, build_network, pointwise_control, preset
from geocnn.nn.readout import Readout, surface_max
from geocnn.nn.so3_correlation import SO3Correlation

__all__ = [
    "BlurPool2d",
    "BottleneckBlock",
    "ConvBlock",
    "EquivariantSubsample2d",
    "FieldDropout",
    "FieldLinear",
    "FieldNorm",
    "FourierNonlinearity",
    "FullConv1d",
    "FullConv2d",
    "FullConv3d",
    "Gated",
    "GaugeConv",
    "GroupConv",
    "GroupPool",
    "HarmonicBlock",
    "HarmonicEncoder",
    "HarmonicUNet",
    "IsotropicConv2d",
    "LiftingConv",
    "ModuleCost",
    "NormNonlinearity",
    "OnSurface",
    "PointwiseBlock",
    "Pool",
    "Preset",
    "Readout",
    "ResidualBlock",
    "SO3Correlation",
    "SurfaceEncoder",
    "SurfaceUNet",
    "WithLengths",
    "build_network",
    "cost",
    "pointwise_control",
    "preset",
    "spectral_pool",
    "sphere_mean",
    "surface_max",
    "surface_mean",
    "taps",
    "to_full",
]
