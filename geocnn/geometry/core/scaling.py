"""A surface is brought to another unit of length: by a factor, or to a total area."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from geocnn.errors import GeometryError

if TYPE_CHECKING:
    from geocnn.geometry.core.surface import Surface


def scale_factor(surface: Surface, factor: float | None, area: float | None) -> float:
    """Return the factor of lengths, given itself or by the total area that is wanted.

    Raises GeometryError unless exactly one of both is given, as a positive finite number.
    """
    if (factor is None) == (area is None):
        raise GeometryError("give a factor of lengths or a total area: scaled(0.001) or scaled(area=1.0)")
    given = factor if area is None else area
    try:
        number = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        what = "factor of lengths" if area is None else "total area"
        raise GeometryError(f"the {what} must be a positive number, got {given!r}")
    return number if area is None else math.sqrt(number / float(surface.areas.sum()))
