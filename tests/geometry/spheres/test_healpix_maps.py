"""Whole HEALPix maps: their order against healpy and by smoothness, and what is refused."""

import math

import pytest
import torch

from geocnn.errors import GeometryError, MapError
from geocnn.geometry.spheres.healpix_maps import UNSEEN, check_map, detect_order, reorder
from geocnn.geometry.spheres.pixels import npix, nside_of, pixel_to_vector


@pytest.fixture(scope="module")
def healpy():
    return pytest.importorskip("healpy")


def smooth_map(nside, nested=False):
    x, y, z = pixel_to_vector(nside, torch.arange(npix(nside)), nested=nested).unbind(-1)
    return x * y * z + y**2 - 0.5 * x + z**3


@pytest.mark.parametrize("nside", [1, 4, 32])
def test_reorder_is_healpys_and_undone_by_the_other(healpy, nside):
    values = torch.randn(npix(nside), 3, generator=torch.Generator().manual_seed(0))
    nested = reorder(values, to="nested", dim=0)
    expected = healpy.reorder(values[:, 1].numpy(), r2n=True)
    assert torch.equal(nested[:, 1], torch.from_numpy(expected))
    assert torch.equal(reorder(nested, to="ring", dim=0), values)
    assert torch.equal(reorder(values.T, to="nested"), nested.T)


@pytest.mark.parametrize("nside", [8, 16, 64])
def test_order_of_a_smooth_map_is_detected(nside):
    assert detect_order(smooth_map(nside)) == "ring"
    assert detect_order(smooth_map(nside, nested=True).float()) == "nested"
    assert detect_order(smooth_map(nside, nested=True)[:, None].expand(-1, 2), dim=0) == "nested"


def test_order_of_a_map_without_structure_is_undecided():
    shuffle = torch.randperm(npix(16), generator=torch.Generator().manual_seed(0))
    assert detect_order(smooth_map(16)[shuffle]) is None
    assert detect_order(torch.ones(npix(16))) is None
    assert detect_order(smooth_map(1)) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("bad", "name"), [(math.nan, "NaN"), (math.inf, "infinite"), (-math.inf, "infinite"), (UNSEEN, "UNSEEN")]
)
def test_map_with_bad_pixels_is_refused(bad, name, dtype):
    values = torch.zeros(2, 192, dtype=dtype)
    values[0, 7] = values[1, 7] = values[1, 40] = bad
    with pytest.raises(MapError, match=rf"2 of 192 pixels are {name}.*\[7, 40\]"):
        check_map(values)
    with pytest.raises(MapError, match=name):
        check_map(values.double().T, dim=0)
    with pytest.raises(MapError, match=name):
        detect_order(values)


def test_unseen_is_healpys(healpy):
    assert UNSEEN == healpy.UNSEEN


def test_map_of_a_wrong_size_is_refused():
    assert check_map(torch.zeros(192, dtype=torch.int64), nside=4) == 4
    with pytest.raises(MapError, match=r"192 values \(nside 4\), not 768 \(nside 8\)"):
        check_map(torch.zeros(192), nside=8)
    with pytest.raises(MapError, match=r"200 values.*192 \(nside 4\) or 768 \(nside 8\)"):
        check_map(torch.zeros(200))
    with pytest.raises(MapError, match=r"nearest valid sizes are 12 \(nside 1\)$"):
        nside_of(0)
    with pytest.raises(MapError, match=r"108 values"):  # 12 * 3^2: an nside, but no power of two
        nside_of(108)


def test_map_is_reordered_to_ring_or_nested_only():
    with pytest.raises(GeometryError, match='"ring" or to "nested", not to \'nest\''):
        reorder(torch.zeros(48), to="nest")


def test_nothing_depends_on_the_default_dtype_or_device():
    """On the meta device nothing has a value: a tensor made there instead of on the input's device fails."""
    values = smooth_map(16)
    copy, expected = values.clone(), reorder(values, to="nested")
    torch.set_default_dtype(torch.float16)
    try:
        with torch.device("meta"):
            assert torch.equal(reorder(values, to="nested"), expected)
            assert detect_order(values) == "ring"
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(values, copy)


def test_blocks_of_a_nested_map_are_not_taken_for_belts_of_a_ring_map():
    """The first blocks of pixels read as rings are a cap, which is smooth; so the map shows no order."""
    pixel = torch.arange(npix(16))
    for blocks in (12, 48):
        for count in range(1, blocks):
            values = (pixel < npix(16) // blocks * count).double()
            assert detect_order(values) != "ring"
    assert detect_order((pixel // 256).double().sin()) != "ring"
