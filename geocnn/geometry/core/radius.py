"""Radii are checked against the point spacing and the extent of a surface."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, NamedTuple

from geocnn.errors import GeometryError
from geocnn.geometry.core.defaults import SPACINGS, default_radius

if TYPE_CHECKING:
    from geocnn.geometry.core.surface import Surface

NARROW, NOTHING = 1.0, 0.1
"""In spacings: below the first, most discs hold only their own point; below the second, all do."""

WIDE = 25.0
"""In spacings: such a disc holds 2,000 points, which usually means that the radius is in another unit."""

BROAD, MANY = 10.0, 2_000_000
"""In spacings, and in points or samples of all discs: beyond both, a mesh's stencil takes 5 s and more, and
over 16 times what one of the default radius takes, so its cost is told before.
"""

MOST_ENTRIES = 2**31
"""A stencil has at most so many entries, for the operators made from it count in 32 bits."""


def check_radius(radius: float) -> float:
    """Return the radius as a plain number. Raises GeometryError unless it is positive and finite."""
    try:
        length = float(radius)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        length = math.nan
    # areas are proportional to its square
    if not (math.isfinite(length * length) and length > 0):
        raise GeometryError(f"radius must be a positive length in the surface's units, got {radius!r}")
    return length


def check_samples(samples: tuple[int, int]) -> tuple[int, int]:
    """Return (rings, angles) as plain numbers. Raises GeometryError unless both are positive integers."""
    try:
        rings, angles = (operator.index(n) for n in samples)
    except (TypeError, ValueError):
        rings = angles = 0
    if rings < 1 or angles < 1:
        raise GeometryError(f"samples must be (rings, angles), two positive integers, got {samples!r}")
    return rings, angles


class Doubt(NamedTuple):
    """Why a radius seems to be in another unit; `hopeless` where no network could use it, `long` where the
    stencil of all points takes long.
    """

    message: str
    hopeless: bool
    long: bool = False


def doubt(
    surface: Surface, radius: float, everywhere: bool = True, held: float | None = None
) -> Doubt | None:
    """Return why discs of that radius seem a mistake, around every point (`everywhere`) or a few; or None.

    All discs together hold so many points or samples (`held`), by default the points that lie in them.
    """
    spacing, extent, conjugate = surface.spacing, surface.extent, surface.conjugate
    spacings = radius / spacing
    start = f"radius {radius:.6g} is {spacings:.3g} times the point spacing, {spacing:.4g}"
    unit = "radians" if conjugate == math.pi else "the surface's own units"
    usual = (
        f"give it in {unit}, about {default_radius(surface):.4g}, which is {SPACINGS:g} times the spacing, "
        "or bring the surface to another scale"
    )
    # a surface of few points has long spacings
    if radius > conjugate * (1 + 1e-9) or (radius > extent * (1 + 1e-9) and spacings > SPACINGS):
        return Doubt(f"{start}, and longer than the whole surface, {extent:.4g}; {usual}", True)
    if spacings < NOTHING:
        return Doubt(f"{start}: no point would see another; {usual}", True)
    # a radius of one spacing may be rounded down
    if spacings < NARROW * (1 - 1e-6):
        return Doubt(f"{start}: most discs would hold only their own point; {usual}", False)
    points = math.pi * spacings**2
    held = surface.n_points * points if held is None else held
    if everywhere and (spacings > WIDE or (spacings > BROAD and held > MANY)):
        seen = min(points, surface.n_points)
        message = f"{start}: each disc holds about {seen:.0f} points; {usual}"
        return Doubt(message, False, MANY < held <= MOST_ENTRIES)
    return None


def check_entries(surface: Surface, radius: float, targets: int, samples: tuple[int, int] | None) -> None:
    """Raise GeometryError where a stencil would have more than 2^31 entries, before any is made.

    `samples` are those of an `exp` stencil, None for `log`.
    """
    spacings = radius / surface.spacing
    each = min(math.pi * spacings**2, surface.n_points) if samples is None else samples[0] * samples[1]
    if targets * each > MOST_ENTRIES:
        raise GeometryError(
            f"a stencil of radius {radius:.6g}, {spacings:.3g} times the point spacing, would have about "
            f"{targets * each:.2g} entries; give a radius of about {default_radius(surface):.4g}, or fewer "
            + ("targets" if samples is None else "samples or targets")
        )
