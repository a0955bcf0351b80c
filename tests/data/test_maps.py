"""Users' maps are checked on the way in and come out in ring order."""

import bz2
import gzip

import numpy as np
import pytest
import torch

from geocnn.data.maps import read_map_file, read_maps
from geocnn.errors import BadValueError, MapError
from geocnn.harmonics import spin_from_polarisation

healpy = pytest.importorskip("healpy")
fits = pytest.importorskip("astropy.io.fits")
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
        "words": (np.array(["a"] * 192), "give numbers"),
        "empty": (np.zeros((0, 192)), "holds no map"),
        "cube": (np.zeros((2, 2, 192)), "give numbers"),
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


def test_damaged_arrays_are_refused(tmp_path):
    np.save(tmp_path / "m.npy", RAMP)
    whole = (tmp_path / "m.npy").read_bytes()
    np.savez(tmp_path / "archive.npz", RAMP)
    headers = [whole.replace(old, new) for old, new in ((b"}", b" "), (b"192", b"1e9"), (b"<f8", b"<q9"))]
    for content in (*headers, whole[:40], whole[:-1], b"", (tmp_path / "archive.npz").read_bytes()):
        (tmp_path / "m.npy").write_bytes(content)
        with pytest.raises(MapError, match="not a plain NumPy array"):
            read_maps(tmp_path / "m.npy")


def test_pickles_are_never_opened(tmp_path):
    opened = []

    class Trap:
        def __reduce__(self):
            return opened.append, (1,)

    np.save(tmp_path / "trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(MapError, match="not a plain NumPy array"):
        read_maps(tmp_path / "trap.npy")
    assert opened == []


def map_hdu(columns, **header):
    """A binary table of columns (name, unit, values) as a HEALPix extension."""
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name=n, unit=u, array=v, format=_format(v)) for n, u, v in columns]
    )
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": 4} | header)
    return table


def _format(values):
    return {"f4": "E", "f8": "D", "i4": "J", "i2": "I", "u1": "B"}[values.dtype.str[1:]]


def write(file, *extensions):
    fits.HDUList([fits.PrimaryHDU(), *extensions]).writeto(file)
    return file


def test_what_the_header_says_comes_beside_the_values(tmp_path):
    stokes = [("I_STOKES", "K_CMB", RAMP), ("Q_STOKES", "K_CMB", -RAMP), ("U_STOKES", "mK_CMB", 2 * RAMP)]
    hits = ("HITS", "", np.arange(192, dtype=np.int32) + 5)
    file = write(
        tmp_path / "m.fits", map_hdu([*stokes, hits], COORDSYS="G", POLCCONV="IAU", OBJECT="FULLSKY")
    )
    found = read_map_file(file)
    assert found.names == ("I_STOKES", "Q_STOKES", "U_STOKES")
    assert found.units == ("K_CMB", "K_CMB", "mK_CMB")
    assert (found.coordinates, found.convention) == ("galactic", "IAU")
    assert torch.equal(found.values, torch.from_numpy(np.stack([v for *_, v in stokes])))
    assert found.other["HITS"].tolist() == hits[2].tolist()
    assert found.header["OBJECT"] == "FULLSKY"
    assert torch.equal(read_maps(file), found.values)
    only = read_map_file(file, columns=["HITS", "U_STOKES"])
    assert only.names == ("HITS", "U_STOKES") and only.values[0].tolist() == hits[2].tolist()
    assert list(only.other) == ["I_STOKES", "Q_STOKES"]
    with pytest.raises(MapError, match=r"no column MASK; it has I_STOKES, .*HITS"):
        read_map_file(file, columns=["MASK"])
    # IAU's U has the other sign: the field is Q - iU
    field = spin_from_polarisation(*found.values[1:], found.convention)
    assert torch.equal(field.imag, -found.values[2])


@pytest.mark.parametrize(
    ("word", "frame"), [("E", "ecliptic"), ("C", "equatorial"), ("EQUATORIAL", "equatorial")]
)
def test_coordinates_are_named(tmp_path, word, frame):
    file = write(tmp_path / "m.fits", map_hdu([("T", "", RAMP)], COORDSYS=word))
    assert read_map_file(file).coordinates == frame


def test_counts_stay_behind_in_nested_order_too_and_are_maps_where_there_is_nothing_else(tmp_path):
    hits = healpy.reorder(np.arange(192, dtype=np.int32), r2n=True)
    sky = ("T", "K", healpy.reorder(RAMP, r2n=True))
    found = read_map_file(
        write(tmp_path / "both.fits", map_hdu([("N_OBS", "", hits), sky], ORDERING="NESTED"))
    )
    assert found.values.tolist() == [RAMP.tolist()] and found.other["N_OBS"].tolist() == list(range(192))
    alone = read_map_file(write(tmp_path / "one.fits", map_hdu([("N_OBS", "", hits)], ORDERING="NESTED")))
    assert alone.values.tolist() == [list(range(192))]


@pytest.mark.parametrize(
    ("stored", "read"),
    [("f8", torch.float64), ("f4", torch.float32), ("i2", torch.float32), ("i4", torch.float64)],
)
def test_no_digit_of_a_file_is_lost(tmp_path, stored, read):
    values = (RAMP * 10 + (300.000001 if stored == "f8" else 300)).astype(stored)
    np.save(tmp_path / "m.npy", values)
    for file in (tmp_path / "m.npy", write(tmp_path / "m.fits", map_hdu([("T", "K", values)]))):
        found = read_maps(file)
        assert found.dtype == read and found[0].double().tolist() == values.astype(np.float64).tolist()


@pytest.mark.parametrize(
    "name", ["m.fits.gz", "m.fits.bz2", "m.FITS", "m.fit.gz", "m.fits.fz", "m.FIT", "m.fts"]
)
def test_names_of_fits_files(tmp_path, name):
    compress = {"gz": gzip.compress, "bz2": bz2.compress}.get(name.rpartition(".")[2], bytes)
    plain = write(tmp_path / "plain.fits", map_hdu([("T", "K", RAMP)]))
    (tmp_path / name).write_bytes(compress(plain.read_bytes()))
    assert read_maps(tmp_path / name).tolist() == [RAMP.tolist()]


def test_a_map_is_found_in_any_extension_and_in_images(tmp_path):
    beam = fits.BinTableHDU.from_columns([fits.Column(name="BEAM", array=np.ones(7), format="D")])
    second = write(tmp_path / "second.fits", beam, map_hdu([("T", "K", RAMP)]))
    assert read_maps(second).tolist() == [RAMP.tolist()]
    image = fits.ImageHDU(np.stack([RAMP, RAMP + 1]).astype(np.float32))
    image.header.update({"ORDERING": "RING", "BUNIT": "K"})
    found = read_map_file(write(tmp_path / "image.fits", image))
    assert found.values.tolist() == [RAMP.tolist(), (RAMP + 1).tolist()] and found.units == ("K", "K")
    packed = fits.CompImageHDU(np.arange(192, dtype=np.int32).reshape(1, 192))
    packed.header.update({"ORDERING": "RING", "PIXTYPE": "HEALPIX"})
    assert read_maps(write(tmp_path / "packed.fits.fz", packed)).tolist() == [RAMP.tolist()]
    with pytest.raises(MapError, match="none of its 2 extensions holds a HEALPix map"):
        read_maps(write(tmp_path / "beam.fits", beam))
    beam.header["ZTABLE"] = True
    with pytest.raises(MapError, match="funpack"):
        read_maps(write(tmp_path / "table.fits.fz", beam))


def test_a_table_of_some_pixels_needs_them_all(tmp_path):
    pixel = np.random.default_rng(0).permutation(192).astype(np.int32)
    header = {"INDXSCHM": "EXPLICIT", "OBJECT": "PARTIAL"}
    every = map_hdu([("PIXEL", "", pixel), ("T", "K", RAMP[pixel])], **header)
    assert read_maps(write(tmp_path / "every.fits", every)).tolist() == [RAMP.tolist()]
    some = map_hdu([("PIXEL", "", pixel[:100]), ("T", "K", RAMP[pixel[:100]])], **header)
    with pytest.raises(BadValueError, match="92 of 192 pixels are not in the file"):
        read_maps(write(tmp_path / "some.fits", some))


def test_what_a_header_calls_bad_is_refused_by_its_name(tmp_path):
    hole = np.where(RAMP == 7, -99.0, RAMP)
    with pytest.raises(
        BadValueError, match=r"column T: 1 of 192 pixels are BAD_DATA \(-99\), first at \[7\]"
    ):
        read_maps(write(tmp_path / "a.fits", map_hdu([("T", "K", hole)], BAD_DATA=-99.0)))
    usual = np.where(RAMP == 7, np.float32(-1.6375e30), RAMP.astype(np.float32))
    with pytest.raises(BadValueError, match=r"BAD_DATA|UNSEEN"):
        read_maps(write(tmp_path / "b.fits", map_hdu([("T", "K", usual)], BAD_DATA=-1.6375e30)))
    null = fits.BinTableHDU.from_columns(
        [fits.Column(name="T", array=np.where(RAMP == 7, -1, RAMP).astype(np.int32), format="J", null=-1)]
    )
    null.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING"})
    with pytest.raises(BadValueError, match="TNULL"):
        read_maps(write(tmp_path / "c.fits", null))


def test_damaged_files_are_refused(tmp_path):
    whole = write(tmp_path / "whole.fits", map_hdu([("T", "K", RAMP)])).read_bytes()
    for size in (10, 2880, 5000, 6000, 7000, len(whole) - 2880):
        (tmp_path / "cut.fits").write_bytes(whole[:size])
        with pytest.raises(MapError, match=r"cut\.fits"):
            read_maps(tmp_path / "cut.fits")
    wrong = map_hdu([("T", "K", RAMP)], NSIDE=8)
    with pytest.raises(MapError, match="768"):
        read_maps(write(tmp_path / "wrong.fits", wrong))
    with pytest.raises(MapError, match="ORDERING"):
        read_maps(write(tmp_path / "odd.fits", map_hdu([("T", "K", RAMP)], ORDERING="SPIRAL")))


# -------------------------------------------------------------------------------------- the order of pixels


def sources(n, nside=16, seed=0):
    """n pixels of light on a dark sky, at random places."""
    generator = np.random.default_rng(1000 * n + seed)
    values = np.zeros(12 * nside**2)
    values[generator.choice(len(values), n, replace=False)] = generator.uniform(1, 2, n)
    return values


@pytest.mark.parametrize("nside", [16, 64])
def test_a_few_sources_are_no_evidence(tmp_path, nside):
    file = tmp_path / "m.npy"
    for n in range(1, 11):
        for seed in range(4):
            values = sources(n, nside, seed)
            np.save(file, values)
            with pytest.raises(MapError, match="pass nested=False or nested=True"):
                read_maps(file)
            # and what it says to pass is taken
            assert np.array_equal(read_maps(file, nested=False)[0], values)
            assert np.array_equal(read_maps(file, nested=True)[0], healpy.reorder(values, n2r=True))


@pytest.mark.parametrize("ordering", ["RING", "NESTED"])
def test_a_header_decides_whatever_the_values_look_like(tmp_path, ordering):
    for values in (
        sources(3, 4),
        sources(10, 4),
        healpy.reorder(RAMP, r2n=True),
        healpy.reorder(RAMP, n2r=True),
    ):
        file = write(
            tmp_path / f"{hash(values.tobytes())}.fits", map_hdu([("T", "", values)], ORDERING=ordering)
        )
        expected = values if ordering == "RING" else healpy.reorder(values, n2r=True)
        assert np.array_equal(read_maps(file)[0], expected)


def test_a_header_that_tells_no_order_leaves_it_to_the_values(tmp_path):
    told = map_hdu([("T", "", healpy.reorder(RAMP, r2n=True))])
    del told.header["ORDERING"]
    file = write(tmp_path / "m.fits", told)
    with pytest.raises(MapError, match="look like nested order; pass nested=True"):
        read_maps(file)
    assert read_maps(file, nested=True).tolist() == [RAMP.tolist()]


def test_a_smooth_map_is_refused_in_the_wrong_order_either_way(tmp_path):
    ring, nested = tmp_path / "ring.npy", tmp_path / "nested.npy"
    np.save(ring, RAMP)
    np.save(nested, healpy.reorder(RAMP, r2n=True))
    with pytest.raises(MapError, match=r"look like ring order, not nested; pass nested=False"):
        read_maps(ring, nested=True)
    for said in (None, False):
        with pytest.raises(MapError, match=r"look like nested order.*pass nested=True"):
            read_maps(nested, nested=said)
    assert torch.equal(read_maps(ring, nested=False), read_maps(nested, nested=True))


def test_where_both_orders_are_the_same_nothing_is_asked(tmp_path):
    np.save(tmp_path / "constant.npy", np.full(768, 3.0))
    np.save(tmp_path / "small.npy", np.array([3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]))
    assert read_maps(tmp_path / "constant.npy").tolist() == [[3.0] * 768]
    assert read_maps(tmp_path / "small.npy")[0, :3].tolist() == [3, 1, 4]


@pytest.mark.parametrize("bad", [np.nan, -np.inf, 1e20, 9.969209968386869e36, -1.6375e30, 9.999e20, -9999.0])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_kind_of_bad_value_is_refused_by_pixel_and_name(tmp_path, bad, dtype):
    np.save(tmp_path / "m.npy", np.where(RAMP == 7, bad, RAMP).astype(dtype))
    if bad == -9999.0:  # data may have it
        assert float(read_maps(tmp_path / "m.npy", nested=False).min()) == -9999.0
    with pytest.raises(BadValueError, match=r"m\.npy: 1 of 192 pixels are .*, first at \[7\]"):
        read_maps(tmp_path / "m.npy", nested=False, fill=-9999)


@pytest.mark.parametrize(("scale", "zero"), [(0.01, 0.0), (1, 32768), (None, None)])
def test_a_null_of_a_scaled_column_is_missing(tmp_path, scale, zero):
    """TNULL is one of the stored whole numbers: after scaling another value stands for it."""
    stored = np.arange(192, dtype=np.int16)
    stored[5] = -32768
    column = fits.Column("T", format="I", array=stored, null=-32768)
    table = fits.BinTableHDU.from_columns([column])
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": 4})
    write(tmp_path / "plain.fits", table)
    with fits.open(tmp_path / "plain.fits") as extensions:
        if scale is not None:
            extensions[1].header.update({"TSCAL1": scale, "TZERO1": zero})
        extensions.writeto(tmp_path / "m.fits")
    with pytest.raises(BadValueError, match=r"1 of 192 pixels are TNULL.*\[5\]"):
        read_maps(tmp_path / "m.fits")


def test_columns_are_told_apart_by_whole_words(tmp_path):
    names = ["T", "WHITE_NOISE", "VARIABLES", "MASK", "T_STD", "N_OBS", "II_COV", "HITS"]
    file = write(tmp_path / "m.fits", map_hdu([(name, "", RAMP) for name in names]))
    assert read_map_file(file).names == ("T", "WHITE_NOISE", "VARIABLES")


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ([*range(191), 7], r"lists 1 pixel more than once, first \[7\]"),
        ([*range(191), 190.5], "not whole, first 190.5"),
    ],
)
def test_pixel_numbers_that_make_no_map_are_refused(tmp_path, pixels, message):
    columns = [("PIXEL", "", np.array(pixels, dtype=float)), ("T", "", RAMP)]
    file = write(tmp_path / "m.fits", map_hdu(columns, INDXSCHM="EXPLICIT"))
    with pytest.raises(MapError, match=message):
        read_maps(file)
