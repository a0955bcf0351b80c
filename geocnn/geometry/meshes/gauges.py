"""Vectors and directions in the axes of vertices become components and transporters in frames."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Complex128, Float64
from torch import Tensor

from geocnn.geometry.core.results import Log
from geocnn.groups.planar import Element, compose, inverse, wrapped


def components_in(vector: Complex128[Tensor, " k"], gauge: Element) -> Float64[Tensor, "k 2"]:
    """Return the components, in frames with this gauge, of vectors given in the axes."""
    # by its angle: a vector along a boundary must not turn off the surface by rounding
    direction, _ = compose(gauge, (torch.angle(vector), None))
    return torch.view_as_real(torch.polar(vector.abs(), direction))


def log_between(
    here: Element,
    there: Element,
    vector: Complex128[Tensor, " k"],
    arrival: Float64[Tensor, " k"],
    reached: Bool[Tensor, " k"],
    own: Bool[Tensor, " k"],
) -> Log:
    """Return the log, in the gauges of base and target, of vectors and directions of arrival in the axes;
    `own` marks bases that are their own targets.
    """
    vector = torch.where(reached, vector, torch.zeros_like(vector))
    angle = torch.where(own | ~reached, torch.zeros_like(arrival), torch.angle(vector) - arrival)
    angle, flip = compose(here, compose((angle, None), inverse(there)))
    return Log(components_in(vector, here), wrapped(angle), flip, reached)
