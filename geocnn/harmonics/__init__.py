"""Analysis on the sphere: ring grids, transforms between maps and spherical harmonic coefficients."""

from geocnn.groups.wigner import rotate_coefficients
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
from geocnn.harmonics.grid import RingGrid, equiangular, gauss_legendre, healpix_grid
from geocnn.harmonics.sht import analysis, integral, synthesis

__all__ = [
    "RingGrid",
    "alm_from_healpy",
    "alm_to_healpy",
    "analysis",
    "eb_from_spin",
    "equiangular",
    "gauss_legendre",
    "healpix_grid",
    "integral",
    "polarisation_from_spin",
    "power_spectrum",
    "random_coefficients",
    "real_part",
    "rotate_coefficients",
    "signed_orders",
    "spin_from_eb",
    "spin_from_polarisation",
    "synthesis",
]
