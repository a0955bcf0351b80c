"""geocnn view: what is on a mesh or a map is told in lines, drawn, and written as a page."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch

from geocnn.cli import main
from geocnn.data.maps import read_map_file
from geocnn.geometry import raw_mesh, write_mesh
from geocnn.geometry.io import write_vertex_values
from geocnn.geometry.spheres.healpix_maps import reorder
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.geometry.spheres.pixels import pixel_to_vector
from geocnn.looking import averaged
from tests.geometry import broken

pytest.importorskip("matplotlib")

BALL = Icosahedron(2)
N, F = len(BALL.points), len(BALL.faces[-1])


@pytest.fixture
def scan(tmp_path):
    raw = raw_mesh(BALL.points, BALL.faces[-1])
    thickness = np.linspace(0.5, 4, N)
    thickness[:5] = math.nan
    raw.vertex_attributes.update(
        thickness=thickness,
        flow=BALL.points.flip(1).numpy(),
        uv=BALL.points[:, :2].numpy(),
        parcel=np.arange(N) % 9,
    )
    raw.face_attributes.update(group=np.arange(F) % 2, thickness=np.arange(F) / 7)
    write_mesh(tmp_path / "scan.npz", raw)
    return tmp_path / "scan.npz"


def run(*arguments):
    try:
        main(["view", *map(str, arguments)])
    except SystemExit as end:
        return end.code or 0
    return 0


def said_by(capsys, *arguments):
    assert run(*arguments) == 0
    return capsys.readouterr().out.splitlines()


def refused(capsys, *arguments):
    assert run(*arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("Error: ") and "Traceback" not in message and message.count("\n") == 1
    return message


def fields_of(page):
    """The fields of a page, in its order."""
    data = re.search(r'application/json">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert data
    return json.loads(data[1])["fields"]


def test_each_field_has_a_line_and_the_first_is_drawn(scan, capsys):
    lines = said_by(capsys, scan)
    assert lines == [
        f"{N} vertices and {F} faces, 7 fields",
        f"thickness: numbers from {0.5 + 5 * 3.5 / (N - 1):.6g} to 4; 5 of {N} without a value",
        "flow: vectors of size 1 to 1",
        *(f"uv_{k}: numbers from {u.min():.6g} to {u.max():.6g}" for k, u in enumerate(BALL.points[:, :2].T)),
        "parcel: 9 labels: 0, 1, 2, 3, 4, 5, …",
        "group: 2 labels: 0, 1",
        f"thickness of faces: numbers from 0 to {(F - 1) / 7:.6g}",
        f"wrote {scan.with_name('scan-view.png')}, of thickness",
    ]
    assert scan.with_name("scan-view.png").stat().st_size > 10_000


def test_a_field_is_chosen_by_name_and_a_page_opens_at_it(scan, tmp_path, capsys):
    html, out = tmp_path / "a.html", tmp_path / "b.pdf"
    lines = said_by(capsys, scan, "--field", "flow", "--html", html, "--limits", "-1", "3", "--up", "z")
    assert lines[-1] == f"wrote {html}, a page for a browser" and not scan.with_name("scan-view.png").exists()
    fields = fields_of(html)
    assert [field["name"] for field in fields[:2]] == ["flow", "thickness"] and len(fields) == 7
    assert fields[0]["limits"] == [-1, 3] and fields[0]["arrows"]
    lines = said_by(capsys, scan, "--field", "group", "--out", out)
    assert lines[-1] == f"wrote {out}, of group" and out.read_bytes().startswith(b"%PDF")


def test_vectors_that_a_file_holds_in_columns_are_joined_and_colours_are_left_out(tmp_path, capsys):
    raw = raw_mesh(BALL.points, BALL.faces[-1])
    points = BALL.points.float().numpy()
    raw.vertex_attributes.update(
        flow=points, normal=points, four=np.tile(points, 2)[:, :4], colour=np.zeros((N, 3), np.uint8)
    )
    write_mesh(tmp_path / "a.ply", raw)
    lines = said_by(capsys, tmp_path / "a.ply")
    names = [line.split(":")[0] for line in lines[1:-2]]
    assert names == ["flow", "normal", *(f"four_{k}" for k in range(4))]
    assert lines[1] == "flow: vectors of size 1 to 1" and lines[-2] == "not shown, colours: red, green, blue"


def test_values_beside_a_mesh_come_first_and_labels_have_names(tmp_path, capsys):
    write_mesh(tmp_path / "lh.ply", raw_mesh(BALL.points, BALL.faces[-1]))
    assert said_by(capsys, tmp_path / "lh.ply")[0] == f"{N} vertices and {F} faces, 0 fields"
    np.savetxt(tmp_path / "lh.thickness.csv", np.arange(N) / 2, header="mm", comments="")
    write_vertex_values(
        tmp_path / "lh.parts.label.gii", {"parts": np.arange(N) % 3}, {0: "none", 1: "gyrus", 2: "sulcus"}
    )
    values = ("--values", tmp_path / "lh.parts.label.gii", "--values", tmp_path / "lh.thickness.csv")
    lines = said_by(capsys, tmp_path / "lh.ply", *values, "--html", tmp_path / "a.html")
    assert lines[1] == "parts: 3 labels: none, gyrus, sulcus" and lines[2].endswith(
        f"numbers from 0 to {(N - 1) / 2:g}"
    )
    assert fields_of(tmp_path / "a.html")[0]["classes"] == {"0": "none", "1": "gyrus", "2": "sulcus"}
    np.save(tmp_path / "short.npy", np.zeros(7))
    message = refused(capsys, tmp_path / "lh.ply", "--values", tmp_path / "short.npy")
    assert "short.npy has 7 rows" in message and f"{N} vertices and {F} faces" in message


def test_a_cortex_stands_upright_and_its_regions_have_names(tmp_path, capsys):
    freesurfer = pytest.importorskip("nibabel.freesurfer")
    freesurfer.write_geometry(tmp_path / "lh.pial", 50 * BALL.points.numpy(), BALL.faces[-1].numpy())
    labels, colours = np.arange(N) % 2, np.array([[200, 30, 30, 0], [30, 30, 200, 0]])
    labels[:7] = -1
    annotation = tmp_path / "lh.aparc.annot"
    freesurfer.write_annot(annotation, labels, colours, ["insula", "cuneus"], fill_ctab=True)
    page = tmp_path / "a.html"
    lines = said_by(capsys, tmp_path / "lh.pial", "--values", annotation, "--html", page)
    assert lines[1].endswith(f"2 labels: insula, cuneus; 7 of {N} without a value")
    up = json.loads(page.read_text().split('application/json">')[1].split("</script>")[0])["view"][1]
    assert up[2] > 0.9
    # lh.white beside it is another surface
    assert said_by(capsys, tmp_path / "lh.pial")[-1] == f"wrote {tmp_path / 'lh.pial-view.png'}"


@pytest.mark.parametrize("nested", [False, True])
def test_maps_are_drawn_with_their_gaps(tmp_path, capsys, nested):
    z = pixel_to_vector(16, torch.arange(3072), nested=nested)[:, 2].clone()
    z[100:110] = torch.tensor([math.nan, 1e20, -1.6375e30, math.inf, *[-9999.0] * 6])
    np.save(tmp_path / "sky.npy", torch.stack([z, 2 * z]).numpy())
    order = "--nested" if nested else "--ring"
    lines = said_by(capsys, tmp_path / "sky.npy", order, "--fill", "-9999", "--html", tmp_path / "a.html")
    low = float(pixel_to_vector(16, torch.tensor([3071]))[0, 2])
    assert lines[0] == "HEALPix, nside 16, 3072 pixels"
    assert lines[1].startswith(f"map 0: numbers from {low:.6g} to ") and lines[1].endswith(
        "; 10 of 3,072 without a value"
    )
    assert [field["missing"] for field in fields_of(tmp_path / "a.html")] == [10, 2]
    assert fields_of(tmp_path / "a.html")[0]["of"] == "pixel"
    maps = read_map_file(tmp_path / "sky.npy", nested, -9999, gaps=True).values
    expected = reorder(z, to="ring") if nested else z
    known = ~maps[0].isnan()
    assert int((~known).sum()) == 10 and torch.equal(maps[0][known], expected[known])


def test_a_part_of_the_sky_is_drawn(tmp_path, capsys):
    healpy = pytest.importorskip("healpy")
    values = np.full(768, healpy.UNSEEN)
    values[:300] = np.arange(300) + 0.5
    healpy.write_map(
        tmp_path / "part.fits", values, partial=True, column_names=["T"], column_units=["mK"], dtype=float
    )
    lines = said_by(capsys, tmp_path / "part.fits", "--out", tmp_path / "a.png")
    assert lines[1] == "T: numbers from 0.5 to 299.5 mK; 468 of 768 without a value"


def test_fine_maps_are_averaged_to_what_a_picture_shows(tmp_path, capsys):
    fine = torch.rand(12 * 8**2, generator=torch.Generator().manual_seed(0)).double()
    healpy = pytest.importorskip("healpy")
    expected = healpy.ud_grade(fine.numpy(), 2)
    torch.testing.assert_close(averaged(fine, 2), torch.from_numpy(expected))
    fine[:20] = math.nan
    assert not averaged(fine, 2)[10:].isnan().any()
    np.save(tmp_path / "fine.npy", pixel_to_vector(256, torch.arange(12 * 256**2))[:, 0].numpy())
    said_by(capsys, tmp_path / "fine.npy", "--html", tmp_path / "a.html", "--ring")
    assert (tmp_path / "a.html").stat().st_size < 20e6
    np.save(tmp_path / "many.npy", torch.rand(90, 12 * 64**2).numpy())
    said_by(capsys, tmp_path / "many.npy", "--html", tmp_path / "a.html", "--ring")
    assert len(fields_of(tmp_path / "a.html")) == 90 and (tmp_path / "a.html").stat().st_size < 30e6


def test_broken_meshes_are_drawn_or_named(tmp_path, capsys):
    for seed in range(12):
        raw = raw_mesh(*broken.broken(seed))
        raw.vertex_attributes["v"] = np.arange(len(raw.vertices)) / 3
        write_mesh(tmp_path / "a.npz", raw)
        code = run(tmp_path / "a.npz", "--html", tmp_path / f"{seed}.html", "--out", tmp_path / "a.png")
        said = capsys.readouterr()
        assert code == 0 or "no face that can be drawn" in said.err, said


def test_what_cannot_be_met_is_one_line(scan, tmp_path, capsys):
    message = refused(capsys, scan, "--field", "thicknes")
    assert "no field 'thicknes'; it has thickness, flow, uv_0" in message
    write_mesh(tmp_path / "plain.off", raw_mesh(BALL.points, BALL.faces[-1]))
    assert "give some by --values" in refused(capsys, tmp_path / "plain.off", "--field", "a")
    assert "no file" in refused(capsys, tmp_path / "none.ply")
    assert "ends in .png, .pdf" in refused(capsys, scan, "--out", tmp_path / "a.gif")
    assert "ends in .html" in refused(capsys, scan, "--html", tmp_path / "none" / "a.html")
    assert "the lower first" in refused(capsys, scan, "--limits", "3", "1")
    (tmp_path / "empty.ply").write_bytes(b"")
    assert "empty.ply" in refused(capsys, tmp_path / "empty.ply")
    np.save(tmp_path / "odd.npy", np.zeros(100))
    assert "100" in refused(capsys, tmp_path / "odd.npy")
    np.save(tmp_path / "map.npy", np.zeros(12))
    assert "vertices of a mesh" in refused(capsys, tmp_path / "map.npy", "--values", scan)
    (tmp_path / "points.off").write_text("OFF 3 0\n0 0 0\n1 0 0\n0 1 0\n")
    assert "no face that can be drawn" in refused(capsys, tmp_path / "points.off")
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob("*.png"))
