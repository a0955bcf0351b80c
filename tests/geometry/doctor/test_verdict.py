"""The doctor, `mesh` and `load` have one verdict, and what they advise suffices: it is run here."""

from __future__ import annotations

import random
import shlex

import pytest
import torch

from geocnn.cli import main
from geocnn.errors import GeometryError
from geocnn.geometry import diagnose, load, mesh, raw_mesh, read_mesh, repair
from geocnn.geometry.doctor.repairs import REPAIRS, plan
from geocnn.geometry.io import RawMesh
from geocnn.wording import counted
from tests.geometry import broken
from tests.shapes import beside, cube, ring, sheet, tetrahedron

FORMATS = (".ply", ".off", ".obj")


def content(v: list, f: list, extension: str) -> str:
    """A text file with faces of any number of corners."""
    points = "".join("{!r} {!r} {!r}\n".format(*p) for p in v)
    if extension == ".obj":
        # ids of .obj files count from 1; negative ones count back
        faces = "".join(f"f {' '.join(str(i + 1 if i >= 0 else len(v) + 9) for i in face)}\n" for face in f)
        return "".join(f"v {line}\n" for line in points.splitlines()) + faces
    faces = "".join(f"{len(face)} {' '.join(map(str, face))}\n" for face in f)
    if extension == ".off":
        return f"OFF\n{len(v)} {len(f)} 0\n{points}{faces}"
    axes = "".join(f"property double {x}\n" for x in "xyz")
    head = f"ply\nformat ascii 1.0\nelement vertex {len(v)}\n{axes}element face {len(f)}\n"
    return f"{head}property list uchar int vertex_indices\nend_header\n{points}{faces}"


def random_file(folder, seed: int):
    """A broken mesh in one of the formats, a third of them with polygons, loose ends or both."""
    r = random.Random(seed)
    v, f = broken.broken(seed)
    # .ply files have ids of 32 bits
    f = [[max(min(i, 2**31 - 1), -(2**31)) for i in face] for face in f]
    for _ in range(r.choice([0, 0, 1, 3])):
        k = r.randrange(len(f))
        f[k] = r.choice([f[k] + [r.randrange(len(v)) for _ in range(r.randrange(1, 4))], f[k][:2]])
    path = folder / f"a{FORMATS[seed % 3]}"
    path.write_text(content(v, f, path.suffix))
    return path


def refusal(path) -> str | None:
    try:
        load(path)
    except GeometryError as fault:
        return str(fault)
    return None


def run(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def test_the_verdict_is_one_and_the_advice_suffices(tmp_path, capsys):
    """Exit code 0 where `load` loads, else 1; the printed command, which the refusal names too, mends it."""
    seen = set()
    for seed in range(18):
        path = random_file(tmp_path, seed)
        code, said = run(["inspect", str(path)]), refusal(path)
        assert code == (0 if said is None else 1)
        last = capsys.readouterr().out.strip().splitlines()[-1]
        if said is not None and last.startswith("to mend it: "):
            command = last.removeprefix("to mend it: ")
            assert command in said
            words = shlex.split(command)[1:]
            assert run(words) == 0
            capsys.readouterr()
            assert refusal(words[words.index("--repair") + 1]) is None
            seen |= set(words) & set(REPAIRS)
        elif said is not None:
            assert "no repair makes a surface of it" in said
    assert {"triangulate", "split", "degenerate", "orient"} <= seen


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(5))
def test_the_verdict_is_one_on_a_thousand_meshes(batch, tmp_path):
    for seed in range(200 * batch, 200 * (batch + 1)):
        path = random_file(tmp_path, 10_000 + seed)
        raw = read_mesh(path)
        assert diagnose(raw).usable is (refusal(path) is None)
        repairs, left = plan(raw)
        assert diagnose(repair(raw, repairs)[0]).usable is not bool(left)


def accepted(raw: RawMesh) -> bool:
    try:
        mesh(raw)
    except GeometryError:
        return False
    return True


def test_polygons_are_refused_by_all_with_the_repair_that_cuts_them(tmp_path):
    square = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    raw = raw_mesh(square, [[0, 1, 2, 3]])
    assert not diagnose(raw).usable and not accepted(raw)
    with pytest.raises(GeometryError, match=r'repair\(raw_mesh\(vertices, faces\), \["triangulate"\]\)'):
        mesh(square, [[0, 1, 2, 3]])
    (tmp_path / "a b.off").write_text(content(square, [[0, 1, 2, 3]], ".off"))
    said = refusal(tmp_path / "a b.off")
    assert said is not None and f"geocnn inspect '{tmp_path}/a b.off' --repair" in said
    cut, _ = repair(raw, ["triangulate"])
    assert diagnose(cut).usable and mesh(cut).n_points == 4


def test_a_soup_is_refused_by_all():
    v, f = cube()
    soup = raw_mesh(v[f].reshape(-1, 3), torch.arange(36).view(-1, 3))
    assert not diagnose(soup).usable and not accepted(soup)
    with pytest.raises(GeometryError, match=r'mend it by repair\(raw, \["merge"\]\)'):
        mesh(soup)
    # three faces around what would be one edge are no soup: welding would not make a surface of them
    book = torch.tensor([[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, -1, 0]], dtype=torch.float64)
    pages = book[torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]])].reshape(-1, 3)
    assert accepted(raw_mesh(pages, torch.arange(9).view(-1, 3)))


def test_a_refused_pinched_mesh_names_split(tmp_path):
    v, f = tetrahedron()
    pinched = torch.cat([f, torch.where(f == 0, 0, f + 3)])
    points = torch.cat([v, v[1:] + torch.tensor([5.0, 0, 0])])
    with pytest.raises(GeometryError, match=r'repair\(raw_mesh\(vertices, faces\), \["split"\]\)'):
        mesh(points, pinched)
    (tmp_path / "a.obj").write_text(content(points.tolist(), pinched.tolist(), ".obj"))
    said = refusal(tmp_path / "a.obj")
    assert said is not None and 'repair(read_mesh("' in said and '["split"])' in said


def test_what_nothing_mends_says_why():
    with pytest.raises(GeometryError, match=r"no repair makes a surface of it: .*another unit of length"):
        mesh(1e-100 * cube()[0], cube()[1])
    with pytest.raises(GeometryError, match="no repair makes a surface of it: there are no faces"):
        mesh(torch.rand(3, 3), [[0, 1, 7]])


# The other repairs


def test_solids_that_touch_along_an_edge_are_parted_and_stay_closed():
    v, f = cube()
    other = v + torch.tensor([1.0, 1.0, 0.0])
    raw, _ = repair(raw_mesh(torch.cat([v, other]), torch.cat([f, f + 8])), ["merge"])
    found = diagnose(raw)
    assert len(found.defect("nonmanifold_edge").ids) == 1  # type: ignore[union-attr]
    for turned in (raw, RawMesh(raw.vertices, raw.faces.flip(1), raw.face_map, raw.skipped)):
        mended = diagnose(repair(turned, ["split"])[0])
        assert mended.usable and mended.watertight
    mended = diagnose(repair(raw, ["split"])[0])
    assert (mended.components, mended.genus) == (2, [0, 0])


def test_a_surface_that_touches_itself_along_an_edge_stays_closed_where_it_can():
    """Two opposite edges of a torus' hole are made one."""
    v, f = ring(8, 6)
    a, b, c, d = 3, 9, 3 + 24, 9 + 24  # inner rim, across the hole
    renamed = torch.arange(len(v))
    renamed[c], renamed[d] = b, a
    raw = raw_mesh(v, renamed[f])
    mended = diagnose(repair(raw, ["split"])[0])
    assert len(diagnose(raw).defect("nonmanifold_edge").ids) == 1  # type: ignore[union-attr]
    assert mended.usable and mended.watertight


def test_orient_turns_the_outside_out_and_leaves_cavities():
    v, f = cube()
    f[2:] = f[2:].flip(1)
    mended, report = repair(raw_mesh(v, f), ["orient"])
    assert report.changes[0][1] == 10 and diagnose(mended).defects == []
    inside_out = diagnose(cube()[0], cube()[1].flip(1))
    assert [defect.kind for defect in inside_out.defects] == ["inside_out"] and inside_out.usable
    shell, hole = cube(), cube()
    hollow = beside(shell, (0.5 * hole[0] + 0.25, hole[1].flip(1)))
    # `beside` may set shapes apart: the hole is put back
    hollow[0][8:] = 0.5 * hole[0] + 0.25
    hollow[0][:8] = shell[0]
    assert diagnose(*hollow).defects == []
    assert repair(raw_mesh(*hollow), ["orient"])[1].changes[0][1] == 0


DART = [[0, 0], [4, 0], [4, 4], [3, 1]]
COMB = [[0, 0], [6, 0], [6, 4], [5, 1], [4, 4], [3, 1], [2, 4], [1, 1], [0, 4]]
T_SHAPED = [[0, 0], [2, 0], [4, 0], [4, 2], [4, 4], [0, 4]]


@pytest.mark.parametrize("outline", [DART, COMB, T_SHAPED], ids=["dart", "comb", "corners on sides"])
@pytest.mark.parametrize("turn", [0, 1, 2])
def test_polygons_are_cut_within_their_outline(outline, turn):
    """From whatever corner they are listed, in whatever plane, both ways round."""
    flat = torch.tensor(outline[turn:] + outline[:turn], dtype=torch.float64)
    x, y = flat.T
    twice = float((x * y.roll(-1) - y * x.roll(-1)).sum())
    for points in (flat, flat.flip(0)):
        tilted = torch.stack([points[:, 0], points[:, 1], 0.3 * points[:, 0] - 2 * points[:, 1]], 1)
        raw = raw_mesh(tilted, [list(range(len(outline)))])
        cut, report = repair(raw, ["triangulate"])
        assert diagnose(cut).usable and cut.face_map.tolist() == list(range(len(outline) - 2))
        a, b, c = cut.vertices[cut.faces][..., :2].unbind(1)
        areas = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
        # none overlaps another: each counts forwards, and together they are the polygon
        assert bool((areas * (1 if points is flat else -1) > 0).all())
        assert float(areas.abs().sum()) == pytest.approx(twice, rel=1e-12)
        assert report.changes[0][2] == f"cut 1 polygon into {counted(len(outline) - 2, 'triangle')}"


def test_values_of_polygons_corners_follow():
    raw = raw_mesh([[*p, 0] for p in DART[1:] + DART[:1]], [[0, 1, 2, 3]])
    raw.corner_attributes["vertex"] = raw.faces.numpy()[:, :, None].copy()
    cut, _ = repair(raw, ["triangulate"])
    assert cut.corner_attributes["vertex"][:, :, 0].tolist() == cut.faces.tolist()


def test_a_sound_mesh_needs_no_repair():
    for shape in (cube(), sheet(2, 2)):
        assert plan(raw_mesh(*shape)) == ([], [])
