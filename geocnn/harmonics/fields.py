"""Features of a FieldType on a ring grid, and their harmonic coefficients.

A field of frequency n in the frames (south, east) is a spin-n function. One tensor holds the coefficients of
all copies of all irreps, [..., copies, lmax + 1, 2 lmax + 1], in the order of the type's irreps; those of
frequency 0 belong to real functions, a_{l,-m} = (-1)^m conj(a_lm).
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from geocnn.errors import FieldTypeError, MapError
from geocnn.groups.field_type import FieldType
from geocnn.groups.planar import SO2
from geocnn.harmonics.coefficients import real_part, signed_orders
from geocnn.harmonics.grid import RingGrid
from geocnn.harmonics.sht import synthesis, unchecked_analysis


def field_analysis(
    x: Float[Tensor, "*batch n d"],
    field_type: FieldType | str,
    grid: RingGrid,
    lmax: int,
    iterations: int | None = None,
) -> Complex[Tensor, "*batch copies {lmax}+1 2*{lmax}+1"]:
    """Return the coefficients of features. Layers call this, so it does not look for bad values.

    Raises FieldTypeError for features that are not of the type and for a type whose group is not SO(2);
    MapError and GeometryError as `analysis` does.

    >>> from geocnn.harmonics import gauss_legendre
    >>> field_analysis(torch.randn(5, 28, 3), "1x0 + 1x1", gauss_legendre(4, 7), 3).shape
    torch.Size([5, 2, 4, 7])
    """
    field_type = sphere_type(field_type)
    field_type.check(x)
    coefficients = []
    for irrep in field_type.irreps:
        part = field_type.select(x, irrep)
        if irrep.frequency == 0:
            values = part.squeeze(-2).mT
            coefficients.append(signed_orders(unchecked_analysis(values, grid, lmax, None, iterations)))
        else:
            values = torch.complex(*part.unbind(-2)).mT
            coefficients.append(unchecked_analysis(values, grid, lmax, irrep.frequency, iterations))
    return torch.cat(coefficients, -3)


def field_synthesis(
    coefficients: Complex[Tensor, "*batch copies degrees 2*degrees-1"],
    field_type: FieldType | str,
    grid: RingGrid,
) -> Float[Tensor, "*batch n d"]:
    """Return the features with these coefficients; frequency 0 is the real part of its functions.

    Raises FieldTypeError for a type whose group is not SO(2), MapError for coefficients of another shape.

    >>> from geocnn.harmonics import gauss_legendre
    >>> grid, x = gauss_legendre(4, 7), torch.randn(28, 3, dtype=torch.float64)
    >>> smooth = field_synthesis(field_analysis(x, "1x0 + 1x1", grid, 2), "1x0 + 1x1", grid)
    >>> again = field_synthesis(field_analysis(smooth, "1x0 + 1x1", grid, 2), "1x0 + 1x1", grid)
    >>> bool((smooth - again).abs().max() < 1e-12)
    True
    """
    field_type = sphere_type(field_type)
    copies = [field_type.multiplicity(irrep) for irrep in field_type.irreps]
    if coefficients.ndim < 3 or coefficients.shape[-3] != sum(copies):
        raise MapError(
            f"coefficients of type {field_type} are [..., {sum(copies)}, lmax + 1, 2 lmax + 1], got "
            f"{list(coefficients.shape)}"
        )
    parts = {}
    for irrep, alm in zip(field_type.irreps, coefficients.split(copies, -3), strict=True):
        if irrep.frequency == 0:
            parts[irrep] = synthesis(real_part(alm), grid).mT.unsqueeze(-2)
        else:
            values = synthesis(alm, grid, irrep.frequency).mT
            parts[irrep] = torch.stack([values.real, values.imag], -2)
    return field_type.join(parts)


def conjugate(
    alm: Complex[Tensor, "*batch degrees 2*degrees-1"], spin: int
) -> Complex[Tensor, "*batch degrees 2*degrees-1"]:
    """Return coefficients of a spin-s function's conjugate, (-1)^(s+m) conj(a_{l,-m}); it has spin -s.

    >>> conjugate(torch.tensor([[0, 0, 0], [1, 2j, 0]]), 1)[1].tolist()
    [0j, 2j, (1+0j)]
    """
    lmax = alm.shape[-2] - 1
    order = torch.arange(-lmax, lmax + 1, device=alm.device) + spin
    return alm.flip(-1).conj() * (1 - 2 * (order % 2)).to(alm.real.dtype)


def sphere_type(field_type: FieldType | str) -> FieldType:
    """Return the field type. Raises FieldTypeError unless its group is SO(2)."""
    field_type = FieldType(field_type)
    if field_type.group != SO2:
        raise FieldTypeError(
            f"harmonic layers take types of SO(2), the sphere's group, got {field_type}; write e.g. 4x0 + 2x1"
        )
    return field_type
