"""Users' maps are checked on the way in and come out in ring order."""

import numpy as np
import pytest
import torch

from geocnn.data.maps import read_maps
from geocnn.errors import MapError

healpy = pytest.importorskip("healpy")
RAMP = np.arange(192.0)


def test_npy_of_one_or_many_maps(tmp_path):
    np.save(tmp_path / "one.npy", RAMP)
    np.save(tmp_path / "two.npy", np.stack([RAMP, RAMP + 1]).astype(np.float32))
    assert read_maps(tmp_path / "one.npy").tolist() == [RAMP.tolist()]
    assert read_maps(tmp_path / "two.npy").shape == (2, 192)


def test_nested_maps_are_put_in_ring_order(tmp_path):
    np.save(tmp_path / "nested.npy", healpy.reorder(RAMP, r2n=True))
    assert torch.equal(read_maps(tmp_path / "nested.npy", nested=True)[0], torch.from_numpy(RAMP).float())


@pytest.mark.parametrize("nested_file", [False, True])
@pytest.mark.parametrize("nested_flag", [False, True])
def test_the_header_of_a_fits_file_overrules_the_flag(tmp_path, nested_file, nested_flag):
    values = healpy.reorder(RAMP, r2n=True) if nested_file else RAMP
    healpy.write_map(tmp_path / "map.fits", values, nest=nested_file, dtype=np.float64)
    assert torch.equal(
        read_maps(tmp_path / "map.fits", nested=nested_flag)[0], torch.from_numpy(RAMP).float()
    )


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(MapError, match="no file"):
        read_maps(tmp_path / "none.npy")
    cases = {
        "hole": (np.where(RAMP == 7, np.nan, RAMP), "NaN"),
        "unseen": (np.where(RAMP == 7, healpy.UNSEEN, RAMP), "UNSEEN"),
        "size": (np.zeros(100), "100"),
        "words": (np.array(["a"] * 192), "expected numbers"),
        "empty": (np.zeros((0, 192)), "holds no map"),
        "cube": (np.zeros((2, 2, 192)), "expected numbers"),
    }
    for name, (values, message) in cases.items():
        np.save(tmp_path / f"{name}.npy", values)
        with pytest.raises(MapError, match=message):
            read_maps(tmp_path / f"{name}.npy")
    (tmp_path / "map.txt").write_text("1 2 3")
    with pytest.raises(MapError, match=r"neither \.npy nor \.fits"):
        read_maps(tmp_path / "map.txt")
    (tmp_path / "map.fits").write_text("1 2 3")
    with pytest.raises(MapError, match="healpy cannot read"):
        read_maps(tmp_path / "map.fits")


def test_pickles_are_never_opened(tmp_path):
    opened = []

    class Trap:
        def __reduce__(self):
            return opened.append, (1,)

    np.save(tmp_path / "trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(MapError, match="not a plain NumPy array"):
        read_maps(tmp_path / "trap.npy")
    assert opened == []
