"""Stokes Q and U of maps are one field of frequency 2, whatever the convention, the frames or the file."""

import numpy as np
import pytest
import torch

from geocnn.data import write_map_file
from geocnn.data.folders.card import open_folder
from geocnn.data.folders.found import Wishes
from geocnn.data.folders.items import Shared, items_of
from geocnn.data.folders.polarisation import in_frames, map_fields, pairs_of
from geocnn.data.folders.preparing import prepare_folder
from geocnn.data.folders.samples import in_type_of
from geocnn.errors import DatasetError, GeometryError, MapError
from geocnn.geometry import healpix
from geocnn.groups import FieldType
from geocnn.harmonics import analysis, healpix_grid

pytest.importorskip("astropy")

NSIDE = 4
NAMES = ["I_STOKES", "Q_STOKES", "U_STOKES"]


def skies(count=6, seed=0):
    """Smooth I, Q and U with HEALPix's signs, [count, 3, npix]: Q + iU = ð²I / 2, which has no B modes."""
    sphere = healpix(NSIDE)
    theta = torch.arccos(sphere.points[:, 2])
    phi = torch.atan2(sphere.points[:, 1], sphere.points[:, 0])
    # by hand: ∂θ² − cot θ ∂θ − ∂φ² / sin²θ, and 2 (∂θ − cot θ) ∂φ / sin θ
    i = torch.sin(theta) ** 2 * torch.cos(2 * phi)
    q = (1 + torch.cos(theta) ** 2) * torch.cos(2 * phi)
    u = -2 * torch.cos(theta) * torch.sin(2 * phi)
    g = torch.Generator().manual_seed(seed)
    return (1 + torch.rand(count, 1, 1, generator=g, dtype=torch.float64)) * torch.stack([i, q, u])


def written(folder, maps, convention=None, names=NAMES, nested=False, **other):
    folder.mkdir(parents=True)
    for k, own in enumerate(maps):
        write_map_file(folder / f"m{k}.fits", own, names, convention=convention, nested=nested, **other)
    rows = "\n".join(f"m{k}.fits,{k}.5" for k in range(len(maps)))
    (folder / "labels.csv").write_text(f"file,tilt\n{rows}\n")
    return folder


def prepared(folder, out, **wishes):
    told = []
    return prepare_folder(folder, out, Wishes(**wishes), told=told.append), told


def test_pairs_are_found_by_name():
    assert pairs_of(["TEMPERATURE", "Q_POLARISATION", "U_POLARISATION"]) == [(1, 2)]
    assert pairs_of(["I", "Q", "U"]) == [(1, 2)] and pairs_of(["u-143", "q-143", "Q_217", "U_217"]) == [
        (1, 0),
        (2, 3),
    ]
    assert pairs_of(["QUALITY", "UNIT"]) == [] and pairs_of(["Q", "I"]) == []


def test_the_made_sky_has_the_signs_of_healpix():
    """With these signs it has degree 2 alone; with the other sign of U it would have all degrees."""
    _, q, u = skies(1)[0]
    right, wrong = (
        analysis(torch.complex(q, s * u), healpix_grid(NSIDE), lmax=6, spin=2).abs() for s in (1, -1)
    )
    # quadrature of HEALPix, with iterations
    assert right[3:].max() < 1e-3 * right[2].max() and wrong[3:].max() > 0.1 * wrong[2].max()


def test_columns_of_a_file_become_a_scalar_and_a_field_of_frequency_2(tmp_path):
    maps = skies()
    counts = {"N_OBS": np.ones(maps.shape[-1])}
    data, told = prepared(written(tmp_path / "a", maps, "COSMO", other=counts), tmp_path / "d")
    assert data.card.fields == ("field", "polarisation") and data.card.field_types == ("1x0", "1x2")
    assert str(in_type_of(data.card)) == "1x0 + 1x2"
    assert any("I_STOKES as scalars; Q_STOKES and U_STOKES as one field of frequency 2" in t for t in told)
    assert any("convention COSMO (as stated); left out: N_OBS" in t for t in told)
    for item, own in zip(items_of(data, data.rows), maps, strict=True):
        torch.testing.assert_close(item.x, own.T.float())


def test_both_conventions_and_orders_give_one_field(tmp_path):
    from geocnn.geometry.spheres.healpix_maps import reorder

    maps, sign = skies(), torch.tensor([1, 1, -1])[:, None]
    known, _ = prepared(written(tmp_path / "a", maps), tmp_path / "d")
    iau, _ = prepared(written(tmp_path / "b", maps * sign, "IAU"), tmp_path / "e")
    asked, _ = prepared(written(tmp_path / "c", maps * sign), tmp_path / "f", polarisation="IAU")
    nested = written(tmp_path / "n", reorder(maps, to="nested"), nested=True)
    for other in (iau, asked, prepared(nested, tmp_path / "g")[0]):
        for a, b in zip(items_of(known, known.rows), items_of(other, other.rows), strict=True):
            assert torch.equal(a.x, b.x)
    with pytest.raises(DatasetError, match="states the polarisation convention IAU, not COSMO"):
        prepared(tmp_path / "b", tmp_path / "h", polarisation="COSMO")


def test_arrays_without_names(tmp_path):
    maps = skies()
    folder = tmp_path / "a"
    folder.mkdir()
    np.save(folder / "maps.npy", maps.movedim(1, 2).numpy())
    (folder / "labels.csv").write_text("sample,tilt\n" + "".join(f"s{k},{k}.5\n" for k in range(6)))
    plain, _ = prepared(folder, tmp_path / "d")
    assert plain.card.field_types == ("3x0",)
    data, told = prepared(folder, tmp_path / "e", polarisation="COSMO")
    assert data.card.field_types == ("1x0", "1x2")
    assert any("column 2 and column 3 as one field" in line for line in told)
    torch.testing.assert_close(items_of(data, data.rows)[1].x, maps[1].T.float())


def test_chosen_columns_and_no_polarisation(tmp_path):
    folder = written(tmp_path / "a", skies(), "COSMO")
    assert prepared(folder, tmp_path / "b", inputs=("I_STOKES",))[0].card.field_types == ("1x0",)
    assert prepared(folder, tmp_path / "c", inputs=("Q_STOKES", "U_STOKES"))[0].card.field_types == ("1x2",)
    assert prepared(folder, tmp_path / "d", polarisation="none")[0].card.field_types == ("3x0",)
    assert open_folder(tmp_path / "b").card.columns == ("I_STOKES",)
    with pytest.raises(MapError, match="has no column T; it has I_STOKES"):
        prepared(folder, tmp_path / "e", inputs=("T",))


def test_several_pairs_are_component_major():
    values = torch.arange(10.0, dtype=torch.float64).reshape(2, 5)
    fields, _ = map_fields(values, ["Q_a", "U_a", "T", "Q_b", "U_b"], "IAU", None)
    assert fields["field"].tolist() == [[2], [7]]
    assert fields["polarisation"].tolist() == [[0, 3, -1, -4], [5, 8, -6, -9]]
    with pytest.raises(DatasetError, match="no Stokes Q and U among the columns, T"):
        map_fields(values[:, :1], ["T"], None, "IAU")
    with pytest.raises(DatasetError, match="one of COSMO, IAU, none, got 'cosmo'"):
        map_fields(values, ["a"] * 5, None, "cosmo")  # type: ignore[arg-type]


def test_a_field_moves_into_turned_frames(tmp_path):
    """The same field in the frames (south, east) and in others: components turn by twice the angle."""
    data, _ = prepared(written(tmp_path / "a", skies(), "COSMO"), tmp_path / "d")
    sphere, own = healpix(NSIDE), data.tensors(data.rows[0])
    alpha = torch.rand(len(sphere.points), generator=torch.Generator().manual_seed(0)).double() * 6
    plain = Shared(sphere, data.card).item(own, None).x.double()
    turned = Shared(sphere.turn_frames(alpha), data.card).item(own, None).x.double()
    torch.testing.assert_close(turned, in_type_of(data.card).act(plain, -alpha), rtol=1e-5, atol=1e-6)
    z, w = (torch.complex(x[:, 1], x[:, 2]) for x in (plain, turned))
    torch.testing.assert_close(w, z * torch.exp(-2j * alpha), rtol=1e-5, atol=1e-6)  # by hand
    mirrored = sphere.turn_frames(alpha, torch.ones(len(alpha), dtype=torch.bool))
    with pytest.raises(GeometryError, match="mirrored"):
        in_frames(mirrored, own["field.polarisation"], FieldType("1x2"))


def test_a_network_answers_alike_in_any_frames(tmp_path):
    from geocnn.nn.presets import build_network
    from geocnn.train.recipes.data_folder import preset_of

    data, _ = prepared(written(tmp_path / "a", skies(), "COSMO"), tmp_path / "d")
    torch.manual_seed(0)
    network = build_network(preset_of(data.card, 6, "small").network).eval()
    sphere, own = healpix(NSIDE), data.tensors(data.rows[0])
    alpha = torch.rand(len(sphere.points), generator=torch.Generator().manual_seed(0)).double() * 6
    plain, turned = (Shared(s, data.card).item(own, None) for s in (sphere, sphere.turn_frames(alpha)))
    with torch.no_grad():
        expected, found = (network(one.x, one.hierarchy) for one in (plain, turned))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)  # float32
        # and it is the field that it reads: in frames that the components do not follow, it differs
        assert (network(plain.x, turned.hierarchy) - expected).abs().max() > 1e-2 * expected.abs().max()


def test_the_mirrored_sky_is_the_field_mirrored(tmp_path):
    """φ → −φ maps pixels of a ring to pixels: I and Q follow, U changes its sign."""
    sphere = healpix(NSIDE)
    mirror = sphere.points * torch.tensor([1.0, -1.0, 1.0])
    image = torch.cdist(mirror, sphere.points).argmin(1)
    assert torch.allclose(sphere.points[image], mirror)
    maps = skies(1)[0]
    _, q, u = (map_ for map_ in maps)
    assert torch.allclose(q[image], q, atol=1e-9) and torch.allclose(u[image], -u, atol=1e-9)
    fields, _ = map_fields(maps.T, NAMES, "COSMO", None)
    seen = FieldType("O2: 1x2").act(
        fields["polarisation"][image], torch.zeros(len(image)), torch.ones(len(image), dtype=torch.bool)
    )
    torch.testing.assert_close(seen, fields["polarisation"])
