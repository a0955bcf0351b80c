"""Discretised surfaces: points, frames, areas, exp, log, transport; the stencils layers gather with."""

from geocnn.geometry.flat import plane, torus
from geocnn.geometry.hierarchy import Hierarchy
from geocnn.geometry.mesh import Mesh, load, mesh
from geocnn.geometry.sphere import healpix, icosphere
from geocnn.geometry.stencil import Stencil
from geocnn.geometry.surface import Exp, Log, Surface

__all__ = [
    "Exp",
    "Hierarchy",
    "Log",
    "Mesh",
    "Stencil",
    "Surface",
    "healpix",
    "icosphere",
    "load",
    "mesh",
    "plane",
    "torus",
]
