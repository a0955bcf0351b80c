"""Analysis on the sphere: ring grids, (spin-weighted) transforms, rotation, SO(3), vector calculus."""

from geocnn.groups.wigner import rotate_coefficients

# exported programs that are loaded after `import geocnn.harmonics` find the operators
from geocnn.harmonics import dense as dense
from geocnn.harmonics.coefficients import (
    alm_from_healpy,
    alm_to_healpy,
    eb_from_spin,
    polarisation_from_spin,
    power_spectrum,
    random_coefficients,
    real_part,
    signed_orders,
    spin_from_eb,
    spin_from_polarisation,
)
from geocnn.harmonics.fields import field_analysis, field_synthesis
from geocnn.harmonics.grid import RingGrid, equiangular, gauss_legendre, healpix_grid
from geocnn.harmonics.invariants import bispectrum
from geocnn.harmonics.points import evaluate
from geocnn.harmonics.sht import analysis, integral, synthesis
from geocnn.harmonics.so3 import so3_analysis, so3_synthesis
from geocnn.harmonics.vector import (
    divergence,
    gradient,
    helmholtz,
    potentials,
    spin_from_wind,
    vorticity,
    wind_from_spin,
)

__all__ = [
    "RingGrid",
    "alm_from_healpy",
    "alm_to_healpy",
    "analysis",
    "bispectrum",
    "divergence",
    "eb_from_spin",
    "equiangular",
    "evaluate",
    "field_analysis",
    "field_synthesis",
    "gauss_legendre",
    "gradient",
    "healpix_grid",
    "helmholtz",
    "integral",
    "polarisation_from_spin",
    "potentials",
    "power_spectrum",
    "random_coefficients",
    "real_part",
    "rotate_coefficients",
    "signed_orders",
    "so3_analysis",
    "so3_synthesis",
    "spin_from_eb",
    "spin_from_polarisation",
    "spin_from_wind",
    "synthesis",
    "vorticity",
    "wind_from_spin",
]
