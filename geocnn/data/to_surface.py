"""A transform of PyG: data with triangles become SurfaceData, so PyG's data sets of meshes feed our networks.

This module imports PyG, so import it only where it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from geocnn.data.folders.samples import SHAPE, scalar_type, tangent_and_normal, vector_type
from geocnn.data.folders.scaling import Scale, factor_of
from geocnn.data.surface_data import SurfaceData
from geocnn.errors import GeometryError
from geocnn.geometry import OneSidedMesh, mesh
from geocnn.geometry.cache import cached_features, cached_hierarchy
from geocnn.geometry.core.defaults import Kind
from geocnn.groups.field_type import FieldType
from geocnn.groups.named_fields import NamedFields


@dataclass(frozen=True)
class ToSurface(BaseTransform):
    """Turn a PyG Data with pos [N, 3] and face [3, F] into a SurfaceData.

    Its x [N, D] are shape features, then the given fields; `in_type` (text) is their type. `y` stays, one
    label per mesh [1] or a row per vertex. All other attributes stay too. Geometry is cached; as
    `pre_transform` of an `InMemoryDataset` it is computed once and saved with the data set.

    Args:
        radius: radius of kernels, in the unit that lengths are counted in. Data folders take 2.5 times the
            point spacing.
        levels: number of levels of every mesh: only meshes of as many levels share a batch.
        kind: kind of stencils, "log" or "exp".
        scale: "set" divides lengths by `unit`; "each" brings every mesh to unit area first.
        unit: the unit of length, one for the whole data set.
        shape: whether shape features come in.
        scalars: names of attributes [N] or [N, channels] that come in as scalars, where the Data has them.
        vectors: names of attributes [N, 3], vectors in space, that come in by their normal and tangent parts.
        dtype: dtype of features and stencils.

    Raises GeometryError where pos and face are no surface, where a field does not have one row per vertex,
    and where nothing comes in.

    >>> from geocnn.geometry import icosphere
    >>> ball = Data(pos=icosphere(1).points, face=icosphere(1).grid.solid.faces[-1].T, y=torch.tensor([3]))
    >>> data = ToSurface(radius=1.0, levels=2)(ball)
    >>> data.x.shape, data.in_type, data.y, data.hierarchy.n_levels
    (torch.Size([42, 23]), '11x0 + 5x1 + 1x2', tensor([3]), 2)
    """

    radius: float
    levels: int = 3
    kind: Kind = "log"
    scale: Scale = "set"
    unit: float = 1.0
    shape: bool = True
    scalars: tuple[str, ...] = ("x",)
    vectors: tuple[str, ...] = ()
    dtype: torch.dtype = torch.float32

    def forward(self, data: Data) -> SurfaceData:
        """Return the SurfaceData of a Data."""
        own = mesh(data)
        factor, _ = factor_of(own.vertices, own.faces, self.unit, self.scale)
        surface = own if factor == 1 else mesh(own.vertices * factor, own.faces)
        fields: dict[str, tuple[Tensor, FieldType | str]] = {}
        if self.shape:
            if isinstance(surface, OneSidedMesh):
                raise GeometryError("a mesh with only one side has no shape features; give shape=False")
            fields["shape"] = cached_features(surface)[0], SHAPE
        for name in self.scalars:
            if data.get(name) is not None:
                value = _rows(data[name], name, surface.n_points)
                fields[name] = value, scalar_type(value.shape[1], surface.group)
        for name in self.vectors:
            if data.get(name) is None:
                raise GeometryError(f"the Data has no attribute '{name}', which vectors= names")
            value = _rows(data[name], name, surface.n_points, 3)
            fields[name] = tangent_and_normal(surface, value), vector_type(surface.group)
        if not fields:
            raise GeometryError(
                "nothing comes in: take shape=True, or name attributes of the Data by scalars"
            )
        joined = NamedFields.join(fields)
        hierarchy = cached_hierarchy(surface, levels=self.levels, radius=self.radius, kind=self.kind)
        hierarchy = hierarchy.to(dtype=self.dtype)
        kept = {name: value for name, value in data.to_dict().items() if name not in OWN}
        y = data.get("y")
        return SurfaceData(
            joined.x.to(self.dtype), y, hierarchy.areas[0], hierarchy, in_type=str(joined.type), **kept
        )


OWN = ("x", "y", "areas", "hierarchy", "in_type")
"""Attributes of SurfaceData, which are made here."""


def _rows(value: Tensor, name: str, n: int, channels: int | None = None) -> Float64[Tensor, "n c"]:
    """Return a field with one row per vertex."""
    shape = list(value.shape)
    if not shape or shape[0] != n or len(shape) > 2 or (channels is not None and shape[1:] != [channels]):
        wanted = f"[{n}, {channels}]" if channels else f"[{n}] or [{n}, channels]"
        raise GeometryError(f"the field '{name}' is {wanted}, got {shape}")
    return value.double().reshape(n, -1)
