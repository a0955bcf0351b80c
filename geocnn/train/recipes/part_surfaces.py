"""Bodies as the networks of the recipe body-parts take them.

Every surface is scaled to the area AREA first. Features and kernels are then the same for a child, a giant,
and a mesh in millimetres; and kernels have one radius, which the surfaces of a batch must share.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.utils.data import Dataset

from geocnn.errors import GeometryError
from geocnn.geometry import Mesh, mesh

if TYPE_CHECKING:
    from rich.console import Console

    from geocnn.data.surface_data import SurfaceData

AREA = 1.673
"""m²: the mean area of the training bodies (they have 1.07 to 2.42), to which every surface is scaled."""


def standard_mesh(vertices: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]) -> Mesh:
    """Scale a mesh to AREA. Raises GeometryError as `two_sided` does."""
    surface = two_sided(vertices, faces)
    return two_sided(vertices.double() * math.sqrt(AREA / float(surface.areas.sum())), faces)


def two_sided(vertices: Float[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]) -> Mesh:
    """Return the mesh of the faces. Raises GeometryError as `mesh` does, and where it has only one side."""
    surface = mesh(vertices, faces)
    if not isinstance(surface, Mesh):
        raise GeometryError("the surface has only one side, like a Möbius band: a body has two")
    return surface


def local_areas(surface: Mesh) -> Float32[Tensor, "n 2"]:
    """Return the logarithms of a vertex's area and of its neighbours' mean area, over the mean area."""
    own, n = surface.areas / surface.areas.mean(), surface.n_points
    a, b = surface.faces.flatten(), surface.faces.roll(-1, 1).flatten()
    # each edge from both its ends, once
    pairs = torch.cat([a * n + b, b * n + a]).unique()
    around = torch.zeros_like(own).index_add_(0, pairs // n, own[pairs % n])
    mean = around / torch.bincount(pairs // n, minlength=n).clamp(min=1)
    return torch.stack([own, mean], 1).clamp(min=1e-6).log().float()


def prepared(
    meshes: Sequence[Mesh],
    labels: Sequence[Int64[Tensor, " _"]] | None,
    geometry: dict[str, Any],
    processes: int,
    console: Console | None,
) -> list[SurfaceData]:
    """Prepare the meshes with all that the networks take. Raises GeometryError as `prepare` does."""
    from geocnn.data.surface_data import prepare

    cores = os.cpu_count() or 1
    surfaces = prepare(meshes, labels, processes=min(processes or cores, cores), console=console, **geometry)
    for surface, source in zip(surfaces, meshes, strict=True):
        surface.local_areas = local_areas(source)
    return surfaces


class Batches(Dataset["SurfaceData"]):
    """Surfaces that are fetched as whole batches, the way the training loop does it."""

    def __init__(self, surfaces: Sequence[SurfaceData]) -> None:
        self.surfaces = surfaces

    def __len__(self) -> int:
        return len(self.surfaces)

    def __getitems__(self, index: Sequence[int]) -> SurfaceData:
        return batch([self.surfaces[k] for k in index])


def batch(surfaces: Sequence[SurfaceData]) -> SurfaceData:
    """Join surfaces to one batch. Raises GeometryError where there are none."""
    if not surfaces:
        raise GeometryError("a batch of no surfaces was asked for; name one or more")
    from torch_geometric.data import Batch

    return Batch.from_data_list(list(surfaces))  # pyright: ignore[reportArgumentType, reportReturnType]


def shares(data: SurfaceData) -> Float[Tensor, " n"]:
    """Return the share of each vertex of a batch in its body's area; over each body they sum to 1."""
    areas = data.areas.double()  # sums of thousands of terms in a row
    total = areas.new_zeros(int(data.batch[-1]) + 1).index_add_(0, data.batch, areas)
    return (areas / total[data.batch]).to(data.areas.dtype)
