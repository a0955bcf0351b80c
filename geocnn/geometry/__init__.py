"""Discretised surfaces have points, frames, areas, exp, log and transport, and make stencils for layers."""

from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.core.results import Disc, Exp, Log, SurfacePoint
from geocnn.geometry.core.stencil import Stencil
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.diagnosis import Diagnosis, diagnose
from geocnn.geometry.doctor.repairs import repair
from geocnn.geometry.flat.cones import cone
from geocnn.geometry.flat.rectangles import cylinder, klein_bottle, mobius_strip, plane, torus
from geocnn.geometry.io import (
    RawMesh,
    VertexValues,
    raw_mesh,
    read_mesh,
    read_vertex_values,
    write_mesh,
    write_polylines,
    write_vertex_values,
)
from geocnn.geometry.loops.holonomy_groups import (
    face_holonomy,
    fundamental_group,
    holonomy,
    holonomy_group,
    vertex_holonomy,
)
from geocnn.geometry.loops.kernels import invariant_kernels, transport_coefficients, transport_kernel
from geocnn.geometry.loops.paths import transport
from geocnn.geometry.meshes.build import load, mesh
from geocnn.geometry.meshes.curvature import angle_defects, gauss_bonnet, gaussian_curvature
from geocnn.geometry.meshes.descriptors import laplacian_spectrum, shape_features, shape_fields
from geocnn.geometry.meshes.laplacian import connection_laplacian, extend_vectors
from geocnn.geometry.meshes.one_sided import OneSidedMesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.geometry.spheres.projective import projective_plane
from geocnn.geometry.spheres.rings import ring_grid
from geocnn.geometry.spheres.surfaces import healpix, icosphere

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
    "laplacian_spectrum",
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
    "shape_features",
    "shape_fields",
    "torus",
    "transport",
    "transport_coefficients",
    "transport_kernel",
    "vertex_holonomy",
    "write_mesh",
    "write_polylines",
    "write_vertex_values",
]
