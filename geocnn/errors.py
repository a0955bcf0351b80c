"""The errors geocnn raises for input it cannot use; a message says what is wrong, where, and what to do."""

from __future__ import annotations


class GeocnnError(ValueError):
    """Base of every error geocnn raises on bad input."""


class FieldTypeError(GeocnnError):
    """A feature type cannot be parsed, does not fit its group, or does not match a tensor."""


class GroupError(GeocnnError):
    """A structure group is unknown, or does not contain the group a stencil's transporters live in."""


class GeometryError(GeocnnError):
    """Points, frames, resolutions or stencils that do not describe what was asked for."""


class RadiusWarning(UserWarning):
    """A radius much shorter or longer than is usual beside the point spacing, perhaps in another unit."""


class SamplingError(GeometryError):
    """A stencil has too few samples for the angular frequencies a layer asks of it."""


class MapError(GeocnnError):
    """A map of sphere values has bad values, a wrong number of pixels, or an order that is not told."""


class BadValueError(MapError):
    """Values are NaN, infinite, or a number that stands for no value, such as UNSEEN or 1e20."""


class DatasetError(GeocnnError):
    """A shipped data file is missing or its checksum is wrong."""


class RecipeError(GeocnnError):
    """A recipe is unknown, or its file or package fails or holds none."""


class CheckpointError(GeocnnError):
    """A run folder or checkpoint cannot be read, or belongs to other settings."""
