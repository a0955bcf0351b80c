"""Geometric deep learning on meshes and spheres: one steerable convolution for every surface.

A layer takes features, whose `FieldType` says how they turn with the tangent frame, and a `Stencil`, which
holds the frames, transport and exponential map of a surface; so no choice of frames changes its result.
The public names below are imported on first use, so that `import geocnn` alone loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geocnn.geometry import (
        Hierarchy,
        Mesh,
        Stencil,
        Surface,
        cone,
        cylinder,
        healpix,
        icosphere,
        klein_bottle,
        load,
        mesh,
        mobius_strip,
        plane,
        projective_plane,
        ring_grid,
        torus,
    )
    from geocnn.groups import FieldType
    from geocnn.nn import GaugeConv, SurfaceEncoder, SurfaceUNet

__version__ = "0.1.0"

__all__ = [
    "FieldType",
    "GaugeConv",
    "Hierarchy",
    "Mesh",
    "Stencil",
    "Surface",
    "SurfaceEncoder",
    "SurfaceUNet",
    "cone",
    "cylinder",
    "healpix",
    "icosphere",
    "klein_bottle",
    "load",
    "mesh",
    "mobius_strip",
    "plane",
    "projective_plane",
    "ring_grid",
    "torus",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        for room in ("groups", "geometry", "nn"):
            module = import_module(f"geocnn.{room}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module 'geocnn' has no attribute {name!r}; its names are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
