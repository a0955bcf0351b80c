"""Maps that are written are read back as they were, by us and by healpy."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch

from geocnn.data import MapFile, read_map_file, write_map_file
from geocnn.errors import MapError
from geocnn.geometry.spheres.healpix_maps import reorder

fits = pytest.importorskip("astropy.io.fits")
G = torch.Generator().manual_seed(0)
MAPS = torch.randn(3, 192, generator=G, dtype=torch.float64)


@pytest.mark.parametrize("name", ["m.fits", "m.fit", "m.fts", "M.FITS", "m.fits.gz"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("nested", [False, True])
def test_maps_come_back_to_the_last_bit(tmp_path, name, dtype, nested):
    maps, hits = MAPS.to(dtype), torch.randint(0, 9, (192,), generator=G)
    stored = reorder(maps, to="nested") if nested else maps
    write_map_file(
        tmp_path / name,
        stored,
        ["I_STOKES", "Q_STOKES", "U_STOKES"],
        ["K_CMB", "mK", "1e-6 MJy/sr"],
        nested=nested,
        coordinates="galactic",
        convention="IAU",
        other={"HITS": reorder(hits, to="nested") if nested else hits},
    )
    found = read_map_file(tmp_path / name)
    assert found.values.dtype == dtype and torch.equal(found.values, maps)
    assert found.names == ("I_STOKES", "Q_STOKES", "U_STOKES")
    assert found.units == ("K_CMB", "mK", "1e-6 MJy/sr")
    assert (found.coordinates, found.convention) == ("galactic", "IAU")
    assert torch.equal(found.other["HITS"], hits.double())
    assert found.header["ORDERING"] == ("NESTED" if nested else "RING")
    again = tmp_path / f"again.{name}"
    write_map_file(again, found)
    back = read_map_file(again)
    assert torch.equal(back.values, maps) and back.values.dtype == dtype
    for field in ("names", "units", "coordinates", "convention"):
        assert getattr(back, field) == getattr(found, field)
    assert torch.equal(back.other["HITS"], found.other["HITS"])


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("nside", [1, 4, 32])
def test_healpy_reads_the_same(tmp_path, nside, nested):
    healpy = pytest.importorskip("healpy")
    maps = torch.randn(2, 12 * nside**2, generator=G)
    write_map_file(tmp_path / "m.fits", maps, nested=nested, units="K", coordinates="ecliptic")
    seen, header = healpy.read_map(
        tmp_path / "m.fits", field=None, nest=None, h=True, dtype=None
    )  # in the file's order
    assert np.array_equal(np.atleast_2d(seen), maps.numpy()) and np.asarray(seen).dtype.itemsize == 4
    words = dict(header)
    assert words["COORDSYS"] == "E" and words["TUNIT2"] == "K" and words["TTYPE1"] == "MAP_0"
    in_ring = healpy.read_map(tmp_path / "m.fits", field=0)
    assert np.array_equal(in_ring, reorder(maps[0], to="ring").numpy() if nested else maps[0].numpy())


@pytest.mark.parametrize(
    ("values", "letter"),
    [
        (torch.arange(48).int(), "J"),
        (torch.arange(48), "K"),
        (torch.arange(48).byte(), "B"),
        (np.arange(48, dtype=np.uint16), "J"),
        (np.arange(48, dtype=">f8"), "D"),
        (torch.arange(48) % 2 == 0, "B"),
        (torch.arange(48).half(), "E"),
        (torch.arange(48).bfloat16().requires_grad_(), "E"),
        (list(range(48)), "K"),
    ],
)
def test_every_kind_of_number_is_held(tmp_path, values, letter):
    write_map_file(tmp_path / "m.fits", values)
    expected = np.asarray(values.detach().double() if isinstance(values, torch.Tensor) else values, float)
    assert np.array_equal(read_map_file(tmp_path / "m.fits", nested=False).values[0].double(), expected)
    with fits.open(tmp_path / "m.fits") as extensions:
        assert extensions[1].columns[0].format == letter and extensions[1].columns[0].name == "MAP"


def test_unseen_pixels_are_written_and_refused_when_read(tmp_path):
    maps = MAPS.clone()
    maps[0, 7] = -1.6375e30
    write_map_file(tmp_path / "m.fits", maps)
    with pytest.raises(MapError, match=r"UNSEEN.*first at \[7\]"):
        read_map_file(tmp_path / "m.fits")


def test_equal_maps_are_equal_files(tmp_path):
    for name in ("a.fits", "a.fits.gz"):
        write_map_file(tmp_path / name, MAPS)
        first = (tmp_path / name).read_bytes()
        write_map_file(tmp_path / name, MAPS)
        assert (tmp_path / name).read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fits", "a.fits.gz"]


def test_another_word_for_coordinates_is_kept(tmp_path):
    write_map_file(tmp_path / "m.fits", MAPS, coordinates="supergalactic")
    assert read_map_file(tmp_path / "m.fits").coordinates == "supergalactic"


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"maps": torch.zeros(100)}, "100"),
        ({"maps": torch.zeros(0, 192)}, r"got \[0, 192\]"),
        ({"maps": torch.zeros(2, 2, 48)}, r"got \[2, 2, 48\]"),
        ({"maps": torch.zeros(48, dtype=torch.complex64)}, "real numbers"),
        ({"maps": ["a"] * 48}, "real numbers"),
        ({"names": ["I", "Q"]}, "3 maps need as many names"),
        ({"names": "IQU"}, "3 maps need as many names"),
        ({"units": ["K"]}, "as many names and units"),
        ({"names": ["I", "Q", "i"]}, "two columns have the name i;"),
        ({"names": ["I", "Q", "Größe"]}, "'Größe' is no name of a column"),
        ({"names": ["I", "Q", "x" * 69]}, "1 to 68"),
        ({"units": "µK"}, "'µK' is no unit"),
        ({"coordinates": "a\nb"}, "no word for coordinates"),
        ({"other": {"HITS": torch.zeros(48)}}, r"column HITS has shape \[48\], the maps have 192"),
        ({"maps": MapFile(MAPS, ("a", "b", "c"), ("", "", "")), "nested": True}, "leave nested out"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, wishes, message):
    with pytest.raises(MapError, match=message):
        write_map_file(tmp_path / "m.fits", **({"maps": MAPS} | wishes))
    assert not list(tmp_path.iterdir())


def test_other_places_are_refused(tmp_path):
    for path in (tmp_path / "m.npy", tmp_path / "m.fits.xz", tmp_path / "nowhere" / "m.fits"):
        with pytest.raises(MapError, match=r"ends in \.fits or \.fits\.gz, in a folder that exists"):
            write_map_file(path, MAPS)


def test_without_astropy_its_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name.startswith("astropy"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MapError, match=r"needs astropy: pip install 'geocnn\[fits\]'"):
        write_map_file(tmp_path / "m.fits", MAPS)
