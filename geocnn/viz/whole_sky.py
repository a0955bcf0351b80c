"""A whole HEALPix map in one flat picture."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from geocnn.errors import GeocnnError
from geocnn.geometry.spheres.healpix_maps import check_map
from geocnn.viz.colours import INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def mollweide(values: Tensor, title: str = "", nested: bool = False) -> Figure:
    """Draw the whole HEALPix map in Mollweide projection, east on the right, by healpy (an optional extra).

    Raises:
        GeocnnError: healpy is not installed.
        MapError: not a HEALPix map.
    """
    try:
        import healpy
        from healpy.projector import MollweideProj
    except ImportError as error:
        raise GeocnnError("the Mollweide picture needs healpy: pip install 'geocnn[healpy]'") from error
    from matplotlib.figure import Figure

    check_map(values)
    projector = MollweideProj(xsize=900, flipconv="geo")
    nside = healpy.npix2nside(len(values))
    pixel_of = partial(healpy.vec2pix, nside, nest=nested)
    picture = projector.projmap(values.double().numpy(), pixel_of)
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(
        np.where(np.isfinite(picture), picture, np.nan),
        extent=projector.get_extent(),
        origin="lower",
        cmap="viridis",
    )
    axis.axis("off")
    axis.set_title(title, fontsize=11, color=INK)
    figure.colorbar(shown, ax=axis, orientation="horizontal", shrink=0.5, pad=0.03)
    return figure
