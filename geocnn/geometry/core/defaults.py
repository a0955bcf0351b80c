"""The defaults of stencils and hierarchies, chosen and explained in one place.

`Surface.stencil` and `Surface.hierarchy` take them where an argument is left out. Recipes, examples and
reports whose numbers are recorded name theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from geocnn.geometry.core.surface import Surface

Kind = Literal["exp", "log"]

KIND: Kind = "exp"
"""`exp` stencils read samples where exp leads, by interpolation; `log` stencils take the points of a disc
where they lie.

Both were measured on spheres at the default radius, and `exp` errs less under
rotations. Three random layers of scalars and vectors err by 0.4 to 5.5 % (`log`: 6.5 to 19 %), on an
irregular mesh of 2,562 vertices by 1.0 % (13 %). Layers of vectors alone err by 3 to 23 %, and with `log`
they are useless (39 to 148 %): 20 points in irregular places sample directions unevenly. A `log` stencil has
a seventh to a ninth of the entries and is made 1.7 to 57 times faster; a layer takes 0.5 to 1.1 times as
long. At equal cost, that is 3.5 spacings for `log`, `exp` still errs less on icospheres and meshes, and not
on coarse HEALPix grids. Choose `log` where memory, or the time to prepare many surfaces, matters more.
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
