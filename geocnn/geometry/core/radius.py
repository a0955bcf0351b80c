"""Which radii make sense on a surface, beside its point spacing and its extent."""

from __future__ import annotations

import math
import operator
import warnings
from typing import TYPE_CHECKING, NamedTuple

from geocnn.errors import GeometryError, RadiusWarning

if TYPE_CHECKING:
    from geocnn.geometry.core.surface import Surface

USUAL = 2.5
"""The radius of a kernel in point spacings, unless another is asked for."""

NARROW, NOTHING = 1.0, 0.1
"""In spacings: below the first discs hold hardly a point but their own; below the second all do."""

WIDE = 25.0
"""In spacings: such a disc holds 2,000 points. Who wants that many knows; others have taken another unit."""

MOST_ENTRIES = 2**31
"""Of a stencil: the operators made from it count in 32 bits."""


def check_radius(radius: float) -> float:
    """The radius as a plain number. Raises GeometryError unless it is positive and finite."""
    try:
        length = float(radius)
    except (TypeError, ValueError, RuntimeError):
        length = math.nan
    if not (math.isfinite(length) and length > 0):
        raise GeometryError(f"radius must be a positive length in the surface's units, got {radius!r}")
    return length


def check_samples(samples: tuple[int, int]) -> tuple[int, int]:
    """(rings, angles) as plain numbers. Raises GeometryError unless they are two positive integers."""
    try:
        rings, angles = (operator.index(n) for n in samples)
    except (TypeError, ValueError):
        rings = angles = 0
    if rings < 1 or angles < 1:
        raise GeometryError(f"samples must be (rings, angles), two positive integers, got {samples!r}")
    return rings, angles


class Doubt(NamedTuple):
    """What speaks for another unit of a radius; hopeless: a network could make nothing of it."""

    message: str
    hopeless: bool


def doubt(surface: Surface, radius: float, everywhere: bool = True) -> Doubt | None:
    """Whether discs of that radius can be meant on a surface, all of them (`everywhere`) or a few."""
    spacing, extent, conjugate = surface.spacing, surface.extent, surface.conjugate
    spacings = radius / spacing
    found = f"radius {radius:.6g} is {spacings:.3g} times the point spacing, {spacing:.4g}"
    unit = "radians" if conjugate == math.pi else "the surface's own units"
    usual = (
        f"give it in {unit}, about {USUAL * spacing:.4g}, which is {USUAL:g} times the spacing, or bring the "
        "surface to another scale"
    )
    # a surface of few points has long spacings
    if radius > conjugate * (1 + 1e-9) or (radius > extent * (1 + 1e-9) and spacings > USUAL):
        return Doubt(f"{found}, and longer than the whole surface, {extent:.4g}; {usual}", True)
    if spacings < NOTHING:
        return Doubt(f"{found}: no point would see another; {usual}", True)
    # rounding of a radius that was meant as one spacing
    if spacings < NARROW * (1 - 1e-6):
        return Doubt(f"{found}: a disc reaches hardly another point; {usual}", False)
    if spacings > WIDE and everywhere:
        points = min(math.pi * spacings**2, surface.n_points)
        return Doubt(f"{found}: each disc holds some {points:.0f} points; {usual}", False)
    return None


def check_unit(surface: Surface, radius: float, everywhere: bool = True, stacklevel: int = 3) -> None:
    """Mistakes of the unit end here, before they build networks that see nothing, or everything.

    Raises GeometryError below a tenth of the point spacing and beyond the surface's extent. Warns
    (RadiusWarning) below one spacing and, where discs are asked for everywhere, above 25.
    """
    found = doubt(surface, radius, everywhere)
    if found is None:
        return
    if found.hopeless:
        raise GeometryError(found.message)
    warnings.warn(found.message, RadiusWarning, stacklevel)


def check_entries(surface: Surface, radius: float, targets: int, samples: tuple[int, int] | None) -> None:
    """Raises GeometryError where a stencil would have more than 2^31 entries, before any is made. `samples`
    are those of an `exp` stencil, None for `log`.
    """
    spacings = radius / surface.spacing
    each = min(math.pi * spacings**2, surface.n_points) if samples is None else samples[0] * samples[1]
    if targets * each > MOST_ENTRIES:
        raise GeometryError(
            f"a stencil of radius {radius:.6g}, {spacings:.3g} times the point spacing, would have some "
            f"{targets * each:.2g} entries; give a radius of about {USUAL * surface.spacing:.4g}, or fewer "
            + ("targets" if samples is None else "samples or targets")
        )
