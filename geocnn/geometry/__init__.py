"""Discretised surfaces: points, frames, areas, exp, log, transport; the stencils layers gather with."""

from geocnn.geometry.cone import cone
from geocnn.geometry.connection import Connection
from geocnn.geometry.curvature import angle_defects, gauss_bonnet, gaussian_curvature
from geocnn.geometry.diagnose import Diagnosis, diagnose
from geocnn.geometry.flat import cylinder, klein_bottle, mobius_strip, plane, torus
from geocnn.geometry.hierarchy import Hierarchy
from geocnn.geometry.holonomy import (
    face_holonomy,
    fundamental_group,
    holonomy,
    holonomy_group,
    vertex_holonomy,
)
from geocnn.geometry.io import (
    RawMesh,
    VertexValues,
    raw_mesh,
    read_mesh,
    read_vertex_values,
    write_mesh,
)
from geocnn.geometry.kernels import invariant_kernels, transport_coefficients, transport_kernel
from geocnn.geometry.laplacian import connection_laplacian, extend_vectors
from geocnn.geometry.mesh import Mesh
from geocnn.geometry.meshes import load, mesh
from geocnn.geometry.one_sided import OneSidedMesh
from geocnn.geometry.quotient import projective_plane
from geocnn.geometry.repair import repair
from geocnn.geometry.results import Disc, Exp, Log, SurfacePoint
from geocnn.geometry.ring_grid import ring_grid
from geocnn.geometry.sphere import healpix, icosphere
from geocnn.geometry.stencil import Stencil
from geocnn.geometry.surface import Surface
from geocnn.geometry.transport import transport

__all__ = [
    "Connection",
    "Diagnosis",
    "Disc",
    "Exp",
    "Hierarchy",
    "Log",
    "Mesh",
    "OneSidedMesh",
    "RawMesh",
    "Stencil",
    "Surface",
    "SurfacePoint",
    "VertexValues",
    "angle_defects",
    "cone",
    "connection_laplacian",
    "cylinder",
    "diagnose",
    "extend_vectors",
    "face_holonomy",
    "fundamental_group",
    "gauss_bonnet",
    "gaussian_curvature",
    "healpix",
    "holonomy",
    "holonomy_group",
    "icosphere",
    "invariant_kernels",
    "klein_bottle",
    "load",
    "mesh",
    "mobius_strip",
    "plane",
    "projective_plane",
    "raw_mesh",
    "read_mesh",
    "read_vertex_values",
    "repair",
    "ring_grid",
    "torus",
    "transport",
    "transport_coefficients",
    "transport_kernel",
    "vertex_holonomy",
    "write_mesh",
]
