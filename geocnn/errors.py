"""geocnn raises these errors for input it cannot use; a message says what is wrong, where, and what to do."""

from __future__ import annotations


class GeocnnError(ValueError):
    """The base of every error that geocnn raises for bad input."""


class FieldTypeError(GeocnnError):
    """A feature type cannot be parsed, does not fit its group, or does not match a tensor."""


class GroupError(GeocnnError):
    """A structure group is unknown, or does not contain the group a stencil's transporters live in."""


class GeometryError(GeocnnError):
    """Points, frames, resolutions or stencils do not fit what was asked for."""


class ResolutionError(GeometryError):
    """A surface has no coarser level: its resolution cannot be halved."""


class RadiusWarning(UserWarning):
    """A radius is unusually short or long compared with the point spacing; it may be in another unit."""


class SamplingError(GeometryError):
    """A stencil has too few samples for the angular frequencies of a layer."""


class MapError(GeocnnError):
    """A map of sphere values has missing values, a wrong number of pixels, or an unknown order."""


class BadValueError(MapError):
    """Values are NaN, infinite, or a number that means "missing", such as UNSEEN or 1e20."""


class DatasetError(GeocnnError):
    """A shipped data file is missing or its checksum is wrong."""


class RecipeError(GeocnnError):
    """A recipe is unknown, or its file or package fails or holds none."""


class CheckpointError(GeocnnError):
    """A run folder or checkpoint cannot be read, or belongs to other settings."""
