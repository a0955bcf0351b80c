"""Analysis on the sphere: transforms between maps and spherical harmonic coefficients."""

from geocnn.harmonics.sht import (
    alm_from_healpy,
    alm_to_healpy,
    analysis,
    power_spectrum,
    random_coefficients,
    spin_analysis,
    spin_synthesis,
    synthesis,
)

__all__ = [
    "alm_from_healpy",
    "alm_to_healpy",
    "analysis",
    "power_spectrum",
    "random_coefficients",
    "spin_analysis",
    "spin_synthesis",
    "synthesis",
]
