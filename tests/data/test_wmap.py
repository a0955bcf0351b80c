"""The maps are the numbers that healpy gets from WMAP's, in ring order and Galactic coordinates."""

from __future__ import annotations

import pytest
import torch

from geocnn.data.wmap import read_wmap
from geocnn.errors import DatasetError
from geocnn.geometry.spheres.healpix_maps import check_map
from geocnn.geometry.spheres.pixels import pixel_to_angle


@pytest.mark.parametrize("band", ["V", "W"])
def test_the_milky_way_is_bright_along_the_equator_of_galactic_coordinates(band):
    maps = read_wmap(band)
    assert maps.shape == (3, 12288) and maps.dtype == torch.float32
    assert check_map(maps) == 32
    theta, phi = pixel_to_angle(32, torch.arange(12288))
    plane = (theta - torch.pi / 2).abs() < 0.05
    assert maps[0, plane].mean() > 10 * maps[0, ~plane].median()
    centre = plane & ((phi < 0.1) | (phi > 2 * torch.pi - 0.1))
    # synchrotron light of a field along the plane is polarised across it: Q > 0 (from south)
    assert maps[0, centre].mean() > 1.5 and maps[1, centre].mean() > 0.02


def test_other_bands_are_answered_with_the_known_ones():
    with pytest.raises(DatasetError, match=r"'K'.*V, W"):
        read_wmap("K")
