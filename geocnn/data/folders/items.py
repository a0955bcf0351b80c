"""Samples with their geometry, as PyG data; geometry is computed once and cached.

This module imports PyG, so import it only where it is needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from geocnn.data.folders.card import Card, DataFolder, Row
from geocnn.data.folders.samples import (
    fields_on,
    shared_surface,
    shared_unit,
    size_field,
    surface_of,
    truth_of,
)
from geocnn.data.surface_data import SurfaceData, prepare
from geocnn.errors import GeometryError
from geocnn.geometry import Hierarchy, Mesh, OneSidedMesh, Surface
from geocnn.geometry.cache import cached_features, cached_hierarchy

if TYPE_CHECKING:
    from rich.console import Console

Tensors = Mapping[str, Tensor]


def geometry_of(card: Card) -> dict[str, Any]:
    """Return the arguments of `Surface.hierarchy` with which networks of this folder work."""
    return {"levels": card.levels, "radius": card.radius * shared_unit(card), "kind": card.kind}


class Shared:
    """The one surface of all samples, its hierarchy and its shape features, computed once."""

    def __init__(self, surface: Surface, card: Card) -> None:
        self.surface, self.card = surface, card
        self.shape: Tensor | None = None
        if isinstance(surface, Mesh | OneSidedMesh):
            hierarchy = cached_hierarchy(surface, **geometry_of(card))
            if card.shape:
                self.shape = cached_features(surface)[0].float()  # pyright: ignore[reportArgumentType]
        else:
            hierarchy = surface.hierarchy(**geometry_of(card))
        self.hierarchy: Hierarchy = hierarchy.to(dtype=torch.float32)

    def item(self, tensors: Tensors, truth: Tensor | None) -> SurfaceData:
        """Return a sample as data."""
        fields = fields_on(self.surface, tensors, self.card)
        n = self.surface.n_points
        if fields is not None and len(fields) != n:
            raise GeometryError(f"the field has {len(fields)} rows, the surface {n} points")
        parts = [
            part for part in (self.shape, None if fields is None else fields.float()) if part is not None
        ]
        return _data(torch.cat(parts, 1), truth, self.hierarchy)


def items_with_meshes(
    card: Card,
    samples: Sequence[Tensors],
    factors: Sequence[float],
    truths: Sequence[Tensor | None],
    processes: int = 0,
    console: Console | None = None,
) -> list[SurfaceData]:
    """Return samples that have a mesh each as data; `processes` 0 stands for one per core."""
    meshes = [surface_of(own, factor) for own, factor in zip(samples, factors, strict=True)]
    cores = os.cpu_count() or 1
    some: Any = meshes
    at_once = min(processes or cores, cores)
    prepared = prepare(some, processes=at_once, console=console, features=card.shape, **geometry_of(card))
    items = []
    for data, surface, own, factor, truth in zip(prepared, meshes, samples, factors, truths, strict=True):
        fields = fields_on(surface, own, card)
        parts = [data.x] if card.shape else []
        parts += [size_field(surface, factor).float()] if card.size else []
        parts += [] if fields is None else [fields.float()]
        items.append(_data(torch.cat(parts, 1), truth, data.hierarchy))
    return items


def items_of(
    data: DataFolder, rows: Sequence[Row], processes: int = 0, console: Console | None = None
) -> list[SurfaceData]:
    """Return samples of a data folder as data, with what is true of them."""
    tensors = [data.tensors(row) for row in rows]
    truths = [truth_of(row, own, data.card) for row, own in zip(rows, tensors, strict=True)]
    if data.card.surfaces == "meshes":
        factors = [row.factor for row in rows]
        items = items_with_meshes(data.card, tensors, factors, truths, processes, console)
    else:
        shared = Shared(shared_surface(data), data.card)
        items = [shared.item(own, truth) for own, truth in zip(tensors, truths, strict=True)]
    for item, row in zip(items, rows, strict=True):
        item.weight = torch.tensor([row.weight])
    return items


def _data(x: Tensor, truth: Tensor | None, hierarchy: Hierarchy) -> SurfaceData:
    if truth is not None and truth.is_floating_point():
        truth = truth.float()
    return SurfaceData(x, truth, hierarchy.areas[0], hierarchy)
