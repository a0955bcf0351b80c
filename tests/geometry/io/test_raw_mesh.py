"""What files hold, defects and attributes too: read whole, written back, or refused by a typed error."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry.doctor.repairs import REPAIRS, repair
from geocnn.geometry.io import WRITERS, RawMesh, load_triangles, raw_mesh, read_mesh, write_mesh
from tests.geometry.io.test_io import (
    FACES,
    GOOD,
    PLY,
    POSITIONS,
    VERTICES,
    V,
    binary_ply,
    read,
    refused,
    write,
)

FILES = sorted((Path(__file__).parent / "files").iterdir())
"""Written by VTK 9 and nibabel 5: seven vertices; a quad between two triangles (.vtp), or these (.gii)."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_of_other_programs_are_read_with_their_attributes(path):
    raw = read_mesh(path)
    points = np.array(VERTICES)
    points[2, 2], points[4:6, 2] = 0.125, -0.5
    assert np.array_equal(raw.vertices.numpy(), points)
    if path.suffix == ".vtp":
        assert raw.faces.tolist() == [[4, 2, 1], [3, 4, 2], [3, 2, 1], [3, 4, 1]]
        assert raw.face_map.tolist() == [0, 1, 1, 2]
        assert raw.vertex_attributes["label"].tolist() == list(range(7))
        assert raw.vertex_attributes["label"].dtype == np.uint8
        assert raw.vertex_attributes["heat"].tolist() == (np.arange(21).reshape(7, 3) / 8).tolist()
        # cell data begin with a line's, which is left out
        assert raw.face_attributes["part"].tolist() == [5, 6, 6, 7]
        assert raw.left_out == ("1 cells that are points or lines",)
    else:
        assert read(path) == (points.tolist(), FACES)
        assert raw.vertex_attributes["sulcal_depth"].tolist() == (np.arange(7) / 8).tolist()
        assert raw.face_attributes["label"].tolist() == [5, 6]


def facet(corners: list) -> str:
    loop = "".join(f"   vertex {x!r} {y!r} {z!r}\n" for x, y, z in corners)
    return f" facet normal 0 0.5 1\n  outer loop\n{loop}  endloop\n endfacet\n"


def stl_text() -> str:
    return "solid a\n" + "".join(facet([VERTICES[i] for i in face]) for face in FACES) + "endsolid a\n"


def stl_binary() -> bytes:
    content = b"solid, though binary".ljust(80) + struct.pack("<I", len(FACES))
    for k, face in enumerate(FACES):
        content += struct.pack("<12fH", 0, 0.5, 1, *(x for i in face for x in VERTICES[i]), k)
    return content


@pytest.mark.parametrize("content", [stl_text().encode(), stl_binary()], ids=["text", "binary"])
def test_stl_is_read_unwelded(tmp_path, content):
    raw = read_mesh(write(tmp_path, "a.stl", content))
    corners = torch.tensor(VERTICES, dtype=torch.float64)[torch.tensor(FACES)].view(-1, 3)
    exact = content.startswith(b"solid a")
    assert torch.equal(raw.vertices, corners if exact else corners.float().double())
    assert raw.faces.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert raw.face_attributes["normal"].tolist() == [[0, 0.5, 1]] * 2


def test_keywords_of_stl_may_be_capitals(tmp_path):
    raw = read_mesh(write(tmp_path, "a.stl", stl_text().upper()))
    assert len(raw.faces) == 2


def test_places_in_vtp_are_whole_numbers(tmp_path):
    path = write(tmp_path, "a.vtp", changed("ascii.vtp", "3 7 10", "3.5 7 10"))
    with pytest.raises(GeometryError, match=r"end at places that are no whole numbers: 0;"):
        read_mesh(path)


def test_words_in_npz_are_left_out_and_told(tmp_path):
    np.savez(tmp_path / "a.npz", v=VERTICES, f=FACES, name=np.array("bunny"))
    raw = read_mesh(tmp_path / "a.npz")
    assert raw.faces.tolist() == FACES and raw.left_out == ("array name of <U5",)


def test_stl_of_several_solids_is_one_mesh(tmp_path):
    raw = read_mesh(write(tmp_path, "a.stl", stl_text() + stl_text().replace("solid a", "solid facet 1")))
    assert len(raw.faces) == 4


def test_an_stl_file_is_welded_as_its_refusal_says(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    trimesh.creation.icosahedron().export(tmp_path / "a.stl")
    refused(tmp_path / "a.stl")
    write_mesh(tmp_path / "a.ply", repair(read_mesh(tmp_path / "a.stl"), ["merge"])[0])
    assert [len(t) for t in load_triangles(tmp_path / "a.ply")] == [12, 20]


def full_mesh() -> RawMesh:
    """An attribute of every kind."""
    raw = raw_mesh(VERTICES, FACES)
    raw.vertex_attributes.update(red=np.linspace(0, 1, 7), green=np.zeros(7), blue=np.ones(7))
    raw.vertex_attributes["label"] = np.arange(7, dtype=np.uint16)
    raw.vertex_attributes["normal"] = np.arange(21, dtype=np.float32).reshape(7, 3)
    raw.vertex_attributes["count"] = np.arange(7) + 2**40
    raw.face_attributes["part"] = np.array([-3, 4], dtype=np.int8)
    raw.corner_attributes["uv"] = np.arange(12).reshape(2, 3, 2) / 7
    raw.corner_attributes["normal"] = np.arange(18).reshape(2, 3, 3) / 3
    return raw


@pytest.mark.parametrize("extension", WRITERS)
def test_what_is_written_is_read_back(tmp_path, extension):
    raw = full_mesh()
    left_out = write_mesh(tmp_path / f"a{extension}", raw)
    back = read_mesh(tmp_path / f"a{extension}")
    assert torch.equal(back.vertices, raw.vertices) and torch.equal(back.faces, raw.faces)
    expected = {
        ".npz": (set(), 6, 1, 2),
        ".ply": ({"count"}, 4 + 3, 1, 2),
        ".obj": ({"label", "normal", "count", "part"}, 3, 0, 2),
        ".vtp": ({"uv", "normal"}, 6, 1, 0),
        ".gii": ({"count", "part", "uv", "normal"}, 5, 0, 0),
        ".off": ({*raw.vertex_attributes, "part", "uv", "normal"}, 0, 0, 0),
    }[extension]
    held = (back.vertex_attributes, back.face_attributes, back.corner_attributes)
    assert (set(left_out), *map(len, held)) == expected
    own = (raw.vertex_attributes, raw.face_attributes, raw.corner_attributes)
    for kept, given in zip(held, own, strict=True):
        for name, values in kept.items():
            # .ply has columns instead of tables
            k = {"nx": 0, "ny": 1, "nz": 2}.get(name)
            wanted = given[name] if k is None else given["normal"][:, k]
            assert np.array_equal(values, wanted), name
            assert extension not in (".npz", ".vtp") or values.dtype == wanted.dtype


def test_no_mesh_is_written_elsewhere(tmp_path):
    for path in (tmp_path / "a.stl", tmp_path / "nowhere" / "a.ply"):
        with pytest.raises(
            GeometryError, match=r"\.ply, \.obj, \.off, \.vtp, \.gii, \.npz, in a folder that exists"
        ):
            write_mesh(path, full_mesh())


def test_polygons_are_cut_and_corners_go_along(tmp_path):
    uv = "".join(f"vt {k} 0\n" for k in range(9))
    text = V + uv + "f 1/1 2/2 3/3 4/4\nf 5/5 6/6\nf 1/7 2/8 3/9\n"
    raw = read_mesh(write(tmp_path, "a.obj", text))
    assert raw.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert (raw.face_map.tolist(), raw.skipped.tolist()) == ([0, 0, 2], [1])
    assert raw.corner_attributes["uv"][:, :, 0].tolist() == [[0, 1, 2], [0, 2, 3], [6, 7, 8]]
    rows = read_mesh(write(tmp_path, "a.ply", binary_ply(">", "3 4 6 2 3", extra=True)))
    assert rows.face_map.tolist() == [0, 1, 1, 2, 2, 2, 2, 4]
    assert rows.face_attributes["k"].tolist() == [-1] * 8
    assert rows.vertex_attributes["red"].tolist() == [200] * 7


def test_ids_of_no_vertex_are_left_for_the_doctor(tmp_path):
    off = "OFF 7 2 0\n" + POSITIONS.replace("9 9 9", "nan 9 9") + "3 0 1 99\n3 -4 1 2\n"
    raw = read_mesh(write(tmp_path, "a.off", off))
    assert raw.faces.tolist() == [[0, 1, 99], [-4, 1, 2]]
    for bad in ("2.5", "nan", "1e300"):
        path = write(tmp_path, "a.off", off.replace("99", bad))
        with pytest.raises(GeometryError, match=r"no whole numbers: 0;"):
            read_mesh(path)


def contents() -> dict[str, bytes]:
    """A file of every format and coding."""
    held = {name: text.encode() for name, text in GOOD.items()}
    held |= {path.name: path.read_bytes() for path in FILES}
    held |= {"binary.ply": binary_ply("<"), "uneven.ply": binary_ply(">", "3 4 2", extra=True)}
    return held | {"text.stl": stl_text().encode(), "binary.stl": stl_binary()}


@pytest.mark.parametrize("name", contents())
def test_a_file_cut_anywhere_is_refused_or_shorter(tmp_path, name):
    """Only .obj declares no counts: cut off there, it holds fewer lines. Text may also lose part of its
    last line.
    """
    content = contents()[name]
    whole, step = read_mesh(write(tmp_path, name, content)), max(1, len(content) // 400)
    end = len(content.rstrip())
    for k in range(0, end, 10 if len(content) > 600 else step):
        try:
            cut = read_mesh(write(tmp_path, name, content[:k]))
        except GeometryError as fault:
            assert name in str(fault)
            continue
        assert name.lower().endswith(".obj") or (name in [*GOOD, "text.stl"] and b"\n" not in content[k:end])
        assert len(cut.vertices) <= len(whole.vertices) and len(cut.faces) <= len(whole.faces)


@pytest.mark.parametrize("name", [*contents(), "a.npz"])
def test_changed_bytes_are_a_refusal_or_a_mesh(tmp_path, name):
    """Never another error, whatever single byte is changed."""
    np.savez(tmp_path / "a.npz", v=VERTICES, f=FACES)
    content = contents().get(name) or (tmp_path / "a.npz").read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(content)
        for at in generator.integers(len(content), size=2):
            changed[at] = generator.integers(256)
        try:
            read_mesh(write(tmp_path, name, bytes(changed)))
        except GeometryError:
            pass


def changed(name: str, old: str, new: str) -> bytes:
    content = next(path for path in FILES if path.name == name).read_bytes()
    assert old.encode() in content
    return content.replace(old.encode(), new.encode())


LIES = {
    "count.ply": PLY.replace("vertex 7", f"vertex {10**15}").encode() + POSITIONS.encode(),
    "list.ply": binary_ply("<").replace(b"list uchar int", b"list uint int "),
    "count.off": b"OFF 999999999999 999999999999 0\n" + POSITIONS.encode(),
    "word.obj": b"v " + b"1" * 10_000_000 + b" 2 3\n" + b"v 1 2 3\n" * 1000,
    "count.stl": b" " * 80 + struct.pack("<I", 2**32 - 1),
    "points.vtp": changed("ascii.vtp", 'Points="7"', 'Points="99999999999"'),
    "blocks.vtp": changed("binary-zlib-64.vtp", "AQAAAAAAAAA", "/////////38"),
    "dims.gii": changed("gzip.gii", 'Dim0="7"', 'Dim0="9999999999999"'),
    "deep.gii": b"<GIFTI>" + b"<a>" * 200_000,
    "laughs.gii": b'<!DOCTYPE GIFTI [<!ENTITY a "%s">%s]><GIFTI>&j;</GIFTI>' % (
        b"x" * 1000, b"".join(b'<!ENTITY %c "%s">' % (98 + k, b"&%c;" % (97 + k) * 100) for k in range(9))
    ),
}  # fmt: skip
"""Files that claim to be, or could become, far larger than they are."""


@pytest.mark.parametrize("name", [*LIES, "shape.npz"])
def test_a_lying_header_costs_neither_memory_nor_time(tmp_path, name):
    resource = pytest.importorskip("resource")
    content = LIES.get(name) or lying_npz()
    path = write(tmp_path, name, content)
    before = resource.getrusage(resource.RUSAGE_SELF)
    with pytest.raises(GeometryError):
        read_mesh(path)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_maxrss - before.ru_maxrss < 500_000  # kB
    assert after.ru_utime - before.ru_utime < 5


def lying_npz() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("v", "f"):
            with archive.open(f"{name}.npy", "w") as member:
                header = {"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)}
                np.lib.format.write_array_header_1_0(member, header)
    return stream.getvalue()


BEYOND = {
    ".ply": [2**31, -(2**31) - 1],
    ".obj": [-1, -2, 2**53],
    ".off": [2**53],
    ".gii": [2**31],
    ".vtp": [2**53],
}


@pytest.mark.parametrize("extension", WRITERS)
def test_ids_of_no_vertex_are_written_as_they_are_or_refused(tmp_path, extension):
    path = tmp_path / f"a{extension}"
    for lost in (-1, -2, 3, 99, 2**31 - 1, -(2**31), *BEYOND.get(extension, [2**62, -(2**62)])):
        faces = torch.tensor([[0, 1, 2], [0, 1, lost]])
        raw = RawMesh(torch.eye(3, dtype=torch.float64), faces, torch.arange(2), torch.arange(0))
        path.unlink(missing_ok=True)
        if lost in BEYOND.get(extension, []) or (extension == ".obj" and lost < 0):
            with pytest.raises(GeometryError, match=rf"{extension} files cannot hold: 1; repair 'range'"):
                write_mesh(path, raw)
            assert not path.exists()
        else:
            write_mesh(path, raw)
            found = np.load(path)["faces"] if extension == ".npz" else read_mesh(path).faces
            assert found.tolist() == faces.tolist()


@pytest.mark.parametrize("extension", WRITERS)
def test_a_mesh_without_faces_is_written_with_what_is_attached(tmp_path, extension):
    raw = full_mesh()
    empty, _ = repair(
        RawMesh(raw.vertices, raw.faces + 99, *list(vars(raw).values())[2:]), ["range", "merge"]
    )
    write_mesh(tmp_path / f"a{extension}", empty)
    assert len(read_mesh(tmp_path / f"a{extension}").faces) == 0
    nothing, _ = repair(empty, list(REPAIRS))
    assert len(nothing.vertices) == 0
