"""The defaults of stencils and hierarchies, chosen and explained in one place.

`Surface.stencil` and `Surface.hierarchy` take them where an argument is left out. Recipes, examples and reports
whose numbers are recorded name their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from geocnn.geometry.core.surface import Surface

Kind = Literal["exp", "log"]

KIND: Kind = "exp"
"""How a stencil meets the points of a disc: samples are interpolated where exp leads (`exp`), or points are
taken where log finds them (`log`).

benchmarks/kinds.py compares both: random layers on irregular meshes of a sphere err under rotations by TODO.
"""

SPACINGS = 2.5
"""The radius of a kernel, in point spacings. Such a disc holds about 20 points."""

FEWEST = 40
"""The points that a coarse level must have, twice as many as a kernel of that radius holds.

Two layers on such a level see the whole surface, so a still coarser one would add nothing.
"""


def default_radius(surface: Surface) -> float:
    """Return the default radius of the surface's kernels, in its own units."""
    return SPACINGS * surface.spacing
