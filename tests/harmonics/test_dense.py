"""Transforms by matrix products have the values of the other transforms, in the parts they state."""

from __future__ import annotations

import pytest
import torch

from geocnn.errors import MapError
from geocnn.groups.field_type import FieldType
from geocnn.harmonics import (
    eb_from_spin,
    equiangular,
    field_analysis,
    field_synthesis,
    gauss_legendre,
    healpix_grid,
)
from geocnn.harmonics.dense import dense_analysis, dense_synthesis, is_dense

GRIDS = [gauss_legendre(8, 16), gauss_legendre(9, 20), equiangular(8, 17), equiangular(9, 16, poles=True)]


def real_parts(alm: torch.Tensor, t: FieldType) -> torch.Tensor:
    """Coefficients [B, copies, l, signed m] in the layout of `dense_analysis`, functions in channel order."""
    lmax, parts = alm.shape[-2] - 1, {}
    for irrep, part in zip(t.irreps, alm.split([t.multiplicity(i) for i in t.irreps], 1), strict=True):
        functions = eb_from_spin(part) if irrep.frequency else [part[..., lmax:]]
        parts[irrep] = torch.stack(tuple(functions), 1).movedim((1, 2), (-2, -1))
    return torch.view_as_real(t.join(parts)).permute(1, 3, 2, 4, 0)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("text", ["3x0", "2x0 + 1x1 + 2x2", "1x3 + 1x0 + 2x1 + 1x3"])
def test_they_are_the_transforms_of_fields(grid, text):
    t, lmax = FieldType(text), grid.lmax - 1
    assert is_dense(grid, lmax)
    x = torch.randn(3, grid.n_points, t.dim, dtype=torch.float64)
    alm = field_analysis(x, t, grid, lmax)
    parts = dense_analysis(x, t, grid, lmax)
    torch.testing.assert_close(parts, real_parts(alm, t), rtol=0, atol=1e-13)
    y = dense_synthesis(parts, t, grid)
    torch.testing.assert_close(y, field_synthesis(alm, t, grid), rtol=0, atol=1e-12)
    assert y.stride(0) == 1


def test_only_direct_grids_of_short_rings_are_dense():
    assert is_dense(gauss_legendre(64, 128), 63)
    assert not is_dense(gauss_legendre(65, 130), 20)
    assert not is_dense(gauss_legendre(8, 16), 8)
    assert not is_dense(healpix_grid(4), 4)


def test_values_of_another_grid_are_refused():
    with pytest.raises(MapError, match="do not lie on"):
        dense_analysis(torch.randn(2, 100, 1), FieldType("1x0"), gauss_legendre(8, 16), 5)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.complex64])
def test_only_single_and_double_precision(dtype):
    with pytest.raises(MapError, match="float32"):
        dense_analysis(torch.ones(2, 28, 3, dtype=dtype), FieldType("1x0 + 1x1"), gauss_legendre(4, 7), 3)
