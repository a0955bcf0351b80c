"""Samples of a data folder become inputs and targets of networks, with lengths in its unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.data.folders.card import Card, DataFolder, Row
from geocnn.data.folders.polarisation import POLARISED, in_frames
from geocnn.errors import DatasetError
from geocnn.geometry import Mesh, OneSidedMesh, Surface, healpix, mesh
from geocnn.groups.field_type import FieldType
from geocnn.groups.planar import SO2, Group

SHAPE = FieldType("11x0 + 5x1 + 1x2")
"""The type of shape features."""


def surface_of(tensors: Mapping[str, Tensor], factor: float) -> Mesh | OneSidedMesh:
    """Return the mesh of a sample, its lengths multiplied by a factor."""
    return mesh(tensors["vertices"] * factor, tensors["faces"])


def shared_surface(data: DataFolder) -> Surface:
    """Return the surface that all samples share. Raises DatasetError where each has its own."""
    if data.card.surfaces == "healpix":
        return healpix(data.card.nside)
    if data.card.surfaces == "one mesh":
        return surface_of(data.surface(), 1 / data.card.unit)
    raise DatasetError(f"each sample of {data.path} has a mesh of its own")


def shared_unit(card: Card) -> float:
    """Return the spacing that kernels count in: 1, or that of HEALPix pixels on the unit sphere."""
    return (4 * torch.pi / (12 * card.nside**2)) ** 0.5 if card.nside else 1.0


def field_type_of(card: Card) -> FieldType | None:
    """Return the type of all fields together, None where there are none.

    >>> known = {"name": "a", "task": "regress", "surfaces": "meshes", "target": ("t",)}
    >>> card = Card(**known, field_types=("2x0", "1x0 + 1x1"))
    >>> print(field_type_of(card))
    2x0 + 1x0 + 1x1
    """
    types = [FieldType(text) for text in card.field_types]
    return None if not types else FieldType.of([term for t in types for term in t.terms], types[0].group)


def in_type_of(card: Card) -> FieldType:
    """Return the type of x: shape features, size, then fields."""
    fields = field_type_of(card)
    parts = [SHAPE] if card.shape else []
    parts += [scalar_type(1, SO2 if fields is None else fields.group)] if card.size else []
    parts += [] if fields is None else [fields]
    return sum(parts[1:], parts[0])


def scalar_type(channels: int, group: Group = SO2) -> FieldType:
    """Return the type of scalars; on surfaces with only one side, whose group flips, they are even.

    >>> from geocnn.groups.planar import O2
    >>> print(scalar_type(2), scalar_type(2, O2), sep="; ")
    2x0; O2: 2x0e
    """
    return FieldType(f"{channels}x0{'e' if group.flips else ''}", group)


def vector_type(group: Group = SO2) -> FieldType:
    """Return the type of `tangent_and_normal`; with only one side, the normal has no sign of its own.

    >>> from geocnn.groups.planar import O2
    >>> print(vector_type(), vector_type(O2), sep="; ")
    1x0 + 1x1; O2: 1x0o + 1x1
    """
    return FieldType(f"1x0{'o' if group.flips else ''} + 1x1", group)


def size_field(surface: Surface, factor: float) -> Float64[Tensor, "n 1"]:
    """Return a field that tells the size that a surface had before its lengths were multiplied by a factor.

    It is the logarithm of each point's distance from the centroid; with the squares of distances a hundredth
    of the area is added, so that none is 0. A constant would tell the size as well, but in a batch of one
    surface it has no variance, by which norms divide.

    >>> from geocnn.geometry import icosphere
    >>> field = size_field(icosphere(1), 0.1)
    >>> field.shape, round(float(field.exp().mean()), 1)
    (torch.Size([42, 1]), 10.6)
    """
    areas = surface.areas / surface.areas.sum()
    offset = surface.points - (areas[:, None] * surface.points).sum(0)
    square = offset.square().sum(1, keepdim=True) + 0.01 * surface.areas.sum()
    return square.log() / 2 - math.log(factor)


def fields_on(
    surface: Surface, tensors: Mapping[str, Tensor], card: Card
) -> Float64[Tensor, "n channels"] | None:
    """Return the fields of a sample side by side, in the surface's frames, None where there are none.

    A vector in space becomes its part along the normal and its part in the tangent plane. Raises DatasetError
    where one is missing.
    """
    parts = []
    for name, kind in zip(card.fields, card.field_types, strict=True):
        if f"field.{name}" not in tensors:
            raise DatasetError(f"the network learns from the field '{name}', which a sample does not have")
        value, own = tensors[f"field.{name}"].double(), FieldType(kind)
        if card.nside and name == POLARISED:
            value = in_frames(surface, value, own)
        parts.append(tangent_and_normal(surface, value) if own == vector_type(own.group) else value)
    return torch.cat(parts, 1) if parts else None


def tangent_and_normal(surface: Surface, vectors: Float64[Tensor, "n 3"]) -> Float64[Tensor, "n 3"]:
    """Return (normal component, two tangent components in the frames) of vectors in space.

    >>> from geocnn.geometry import icosphere
    >>> s = icosphere(1)
    >>> tangent_and_normal(s, s.points)[:, 0].allclose(torch.ones(42, dtype=torch.float64))
    True
    """
    normal = torch.linalg.cross(surface.frames[:, 0], surface.frames[:, 1], dim=-1)
    along = (surface.frames * vectors[:, None]).sum(-1)
    return torch.cat([(normal * vectors).sum(-1, keepdim=True), along], 1)


def truth_of(
    row: Row, tensors: Mapping[str, Tensor], card: Card
) -> Int64[Tensor, " n"] | Float64[Tensor, "n k"]:
    """Return what is true of a sample: class numbers, [N] or [1], −1 where nobody knows; or numbers, [N, k]
    or [1, k], less their mean and divided by their standard deviation.
    """
    if card.task == "classify":
        return torch.tensor([card.classes.index(str(row.target))])
    if card.task == "regress":
        return normalised(torch.tensor([row.target], dtype=torch.float64), card)
    if card.task == "regress-points":
        return normalised(tensors["truth"].double().reshape(len(tensors["truth"]), -1), card)
    return class_numbers(tensors["truth"], card.labels)


def class_numbers(labels: Int64[Tensor, " n"], known: Sequence[int]) -> Int64[Tensor, " n"]:
    """Return the place of each label among the known ones, which are in order; −1 for others.

    >>> class_numbers(torch.tensor([7, 3, 5]), [3, 7]).tolist()
    [1, 0, -1]
    """
    every = torch.tensor(list(known))
    place = torch.searchsorted(every, labels).clamp(max=len(every) - 1)
    return torch.where(every[place] == labels, place, -1)


def normalised(numbers: Float64[Tensor, "n k"], card: Card) -> Float64[Tensor, "n k"]:
    """Return (number − mean) / std, as networks learn them."""
    mean, std = (numbers.new_tensor(part) for part in (card.mean, card.std))
    return (numbers - mean) / std


def in_units(answer: Tensor, card: Card) -> Tensor:
    """Return numbers in the unit of the data from an answer [..., k]; `normalised` is the inverse."""
    mean, std = (torch.tensor(part, dtype=torch.float64) for part in (card.mean, card.std))
    return answer.double() * std + mean
