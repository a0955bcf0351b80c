"""Files are read as they stand: every vertex and face in its place, or a refusal that says why."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry.io import load_triangles, save_ply

# Shuffled order, the first and the last vertex isolated, two vertices in one place, a number of 17 digits.
VERTICES = [
    [9, 9, 9],
    [0, 0, 0],
    [1, 0, 0.12345678901234567],
    [0, 1, 0],
    [1, 1, -1.5e-7],
    [1, 1, -1.5e-7],
    [7, 7, 7],
]
FACES = [[4, 2, 1], [3, 4, 1]]

POSITIONS = "".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in VERTICES)
V = "".join(f"v {line}\n" for line in POSITIONS.splitlines())
PLY = """ply
format ascii 1.0
comment by hand
element vertex 7
property double x
property double y
property double z
element face 2
property list uchar int vertex_indices
end_header
"""

GOOD = {
    "plain.obj": V + "f 5 3 2\nf 4 5 2\n",
    "normals.obj": V + "vn 0 0 1\nvn 0 1 0\nvn 0 0 1\nf 5//1 3//2 2//3\nf 4//1 5//3 2//2\n",
    "uv.obj": V + "vt 0 0\nvt 0 1\nvt 1 1\nf 5/1 3/2 2/3\nf 4/1 5/3 2/2\n",
    "both.obj": "mtllib a.mtl\n" + V + "vt 0 0\nvt 0 1\nvn 0 0 1\nf 5/1/1 3/2/1 2/2/1\nf 4/1/1 5/2/1 2/2/1\n",
    "negative.obj": V + "f -3 -5 -6\nf -4/1/-1 -3 -6\n",
    "faces between.obj": V.replace("v 7", "f -2 -4 -5\nf -3/-1 5//-2 2\nv 7"),
    "groups.obj": "o a\n" + V + "usemtl m\ng one\ns 1\nf 5 3 2\nusemtl n\ng two\nf 4 5 2\n",
    "colours.obj": V.replace("9 9 9", "9 9 9 1 0 0").replace("7 7 7", "7 7 7 1.0") + "f 5 3 2\nf 4 5 2\n",
    "spaced.obj": "# a b\n\n" + V.replace("v ", "\tv   ") + "l 1 2\nf 5 \\\n 3 2 # f 1 2 3\n  f\t4 5  2",
    "windows.obj": (V + "f 5 3 2\nf 4 5 2\n").replace("\n", "\r\n"),
    "upper.OBJ": "\ufeff" + V + "f 5 3 2\nf 4 5 2\n",
    "plain.off": "OFF\n7 2 0\n" + POSITIONS + "3 4 2 1\n3 3 4 1\n",
    "comments.off": "OFF # shape\n# by hand\n\n7 2 9\n"
    + POSITIONS
    + "\n3 4 2 1 255 0 0\n3 3 4 1 0.2 0.3 0.4\n\n",
    "one line.off": "OFF 7 2\n" + POSITIONS + "3 4 2 1\n3 3 4 1",
    "glued.off": "OFF7 2 0\n" + POSITIONS + "3 4 2 1\n3 3 4 1\n",
    "colours.off": "COFF\n7 2 0\n" + POSITIONS.replace("\n", " 1 2 3 4\n") + "3 4 2 1\n3 3 4 1\n",
    "plain.ply": PLY + POSITIONS + "3 4 2 1\n3 3 4 1\n",
    "windows.ply": (PLY + POSITIONS + "3 4 2 1\n3 3 4 1\n").replace("\n", "\r\n"),
    "uv.ply": PLY.replace("end_header", "property uchar red\nproperty list uchar float texcoord\nend_header")
    + POSITIONS
    + "3 4 2 1 255 6 0 0 1 1 0 1\n3 3 4 1 255 0\n",
    "normals.ply": PLY.replace(
        "property double x", "property float nx\nproperty uchar red\nproperty double x"
    )
    + "".join(f"0.5 255 {line}\n" for line in POSITIONS.splitlines())
    + "3 4 2 1\n3 3 4 1\n",
    "more elements.ply": PLY.replace(
        "element vertex", "element camera 1\nproperty float f\nelement vertex"
    ).replace("end_header", "element edge 1\nproperty int vertex1\nproperty int vertex2\nend_header")
    + "1.5\n"
    + POSITIONS
    + "3 4 2 1\n3 3 4 1\n1 2\n",
    "index.ply": PLY.replace("vertex_indices", "vertex_index") + POSITIONS + "3 4 2 1\n3 3 4 1\n",
}


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def read(path: Path) -> tuple[list, list]:
    v, f = load_triangles(path)
    assert (v.dtype, f.dtype) == (torch.float64, torch.int64)
    return v.tolist(), f.tolist()


def refused(path: Path) -> str:
    with pytest.raises(GeometryError) as error:
        load_triangles(path)
    assert str(path.name) in str(error.value)
    return str(error.value)


def binary_ply(order: str, rows: str = "3 3", extra: bool = False) -> bytes:
    """VERTICES with a colour before x, faces of so many corners that begin like FACES, uv where `extra`."""
    layout = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    lengths = [int(n) for n in rows.split()]
    header = PLY.replace("ascii", layout).replace(
        "property double x", "property uchar red\nproperty double x"
    )
    header = header.replace("face 2", f"face {len(lengths)}")
    if extra:
        header = header.replace(
            "end_header", "property list int float texcoord\nproperty short k\nend_header"
        )
    content = header.encode()
    for x, y, z in VERTICES:
        content += struct.pack(f"{order}Bddd", 200, x, y, z)
    for i, n in enumerate(lengths):
        corners = [*FACES[i % 2], 0, 5, 6][:n]
        content += struct.pack(f"{order}B{n}i", n, *corners)
        if extra:
            content += struct.pack(f"{order}i6fh", 6, *range(6), -1)
    return content


# Lossless


@pytest.mark.parametrize("name", GOOD)
def test_text_is_read_as_it_stands(tmp_path, name):
    assert read(write(tmp_path, name, GOOD[name])) == (VERTICES, FACES)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [False, True], ids=["plain", "uv"])
def test_binary_ply_is_read_as_it_stands(tmp_path, order, extra):
    assert read(write(tmp_path, "a.ply", binary_ply(order, extra=extra))) == (VERTICES, FACES)


@pytest.mark.parametrize("names", [("vertices", "faces"), ("v", "f")])
def test_npz_is_read_as_it_stands(tmp_path, names):
    np.savez_compressed(tmp_path / "a.npz", **dict(zip(names, (VERTICES, np.uint32(FACES)), strict=True)))
    assert read(tmp_path / "a.npz") == (VERTICES, FACES)


def test_single_precision_is_kept_exactly(tmp_path):
    v = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    save_ply(tmp_path / "a.ply", v, FACES)
    assert b"property float x" in (tmp_path / "a.ply").read_bytes()
    assert torch.equal(load_triangles(tmp_path / "a.ply")[0], v.double())


def test_points_without_faces_are_read(tmp_path):
    for name in ("a.obj", "a.off", "a.ply", "b.ply"):
        binary = binary_ply("<", rows="")
        content = {"a.obj": V, "a.off": "OFF\n7 0 0\n" + POSITIONS, "b.ply": binary}.get(
            name, PLY.replace("face 2", "face 0") + POSITIONS
        )
        v, f = load_triangles(write(tmp_path, name, content))
        assert v.tolist() == VERTICES and f.shape == (0, 3)


# Refused


def test_polygons_are_named(tmp_path):
    faces = {".obj": "f 1 2 3\nf 1 2 3 4\nf 1 2 3\nf 1 2\n", ".off": "3 0 1 2\n4 0 1 2 3\n3 0 1 2\n2 0 1\n"}
    contents = {
        "a.obj": V + faces[".obj"],
        "a.off": "OFF 7 4 0\n" + POSITIONS + faces[".off"],
        "a.ply": PLY.replace("face 2", "face 4") + POSITIONS + faces[".off"],
    }
    for name, content in contents.items():
        message = refused(write(tmp_path, name, content))
        assert "not three corners: 1, 3; only triangles are read: triangulate" in message
    np.savez(tmp_path / "a.npz", v=VERTICES, f=[[0, 1, 2, 3]])
    assert "not three corners: 0;" in refused(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("4 4", "not three corners: 0, 1; only triangles"),
        ("3 3 4 3", "not three corners: 2; only triangles"),
        ("4 3 3", "not three corners: 0; only triangles"),
    ],
)
def test_polygons_of_binary_ply_are_named(tmp_path, rows, message):
    assert message in refused(write(tmp_path, "a.ply", binary_ply("<", rows)))


def test_another_list_may_vary(tmp_path):
    content = binary_ply("<", "3 3 3", extra=True)
    row = struct.calcsize("<B3ii6fh")
    start = len(content) - 2 * row
    odd = content[: start + 13] + struct.pack("<ih", 0, -1) + content[-row:]
    assert read(write(tmp_path, "a.ply", odd)) == (VERTICES, [*FACES, FACES[0]])


def test_stl_is_to_be_welded(tmp_path):
    message = refused(write(tmp_path, "shape.stl", "solid\nendsolid\n"))
    assert "share no vertices; merge them" in message
    assert "geocnn inspect shape.stl --repair shape.ply --fix merge" in message


@pytest.mark.parametrize("name", ["a.blend", "a", "a.gz", "a.glb.gz"])
def test_unknown_formats_get_the_known_ones(tmp_path, name):
    assert "known formats are .ply, .obj, .off, .stl, .vtp, .gii, .npz" in refused(write(tmp_path, name, "x"))


def test_missing_files_and_folders_are_refused(tmp_path):
    assert "there is no file" in refused(tmp_path / "a.ply")
    (tmp_path / "b.ply").mkdir()
    assert "is a folder; give one file" in refused(tmp_path / "b.ply")


@pytest.mark.parametrize("name", ["a.ply", "a.obj", "a.off", "a.npz"])
@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\x93NUMPY\x00\xff\xfe", b"PK\x03\x04", b"ply\nend_header\n"]
)
def test_files_of_something_else_are_refused(tmp_path, name, content):
    assert "write the file again" in refused(write(tmp_path, name, content))


@pytest.mark.parametrize("name", [name for name in GOOD if name.endswith((".ply", ".off"))])
def test_text_cut_at_any_line_is_refused(tmp_path, name):
    lines = GOOD[name].rstrip().splitlines(keepends=True)
    for k in range(len(lines)):
        refused(write(tmp_path, name, "".join(lines[:k])))


@pytest.mark.parametrize("extra", [False, True], ids=["plain", "uv"])
def test_binary_ply_cut_at_any_byte_is_refused(tmp_path, extra):
    content = binary_ply("<", extra=extra)
    for k in range(len(content)):
        refused(write(tmp_path, "a.ply", content[:k]))


def test_npz_cut_or_changed_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", v=VERTICES, f=FACES)
    content = (tmp_path / "a.npz").read_bytes()
    for k in range(0, len(content), 7):
        refused(write(tmp_path, "a.npz", content[:k]))
    np.savez(tmp_path / "a.npz", v=VERTICES, triangles=FACES)
    assert "it has v, triangles" in refused(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", v=VERTICES, f=np.array([[0, 1, None]], dtype=object))
    assert "arrays vertices and faces (or v and f) of numbers" in refused(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.obj", V + "f 1 2 8\n", r"\(counted from 0\) with ids of none of the 7 vertices: 0;"),
        ("a.obj", V + "f 1 2 3\nf 0 1 2\nf -8 1 2\n", "vertices: 1, 2;"),
        ("a.obj", V + "f 1 2 2.5\n", "line 8: faces .* no whole numbers: 0;"),
        ("a.obj", V + "v 1 2\nv\nf 1 2 3\n", "fewer than three coordinates: 7, 8;"),
        ("a.obj", V + "f 1 2 x\n", "no number"),
        ("a.obj", "f 1 2 3\n", "vertices: 0;"),
        ("a.off", "OFF 7 2 0\n" + POSITIONS + "3 0 1 2\n3 0 1 -1\n", "vertices: 1;"),
        ("a.off", "OFF 7 2 0\n" + POSITIONS + "3 0 1 2\n3 0 1\n", "cut off: 1;"),
        ("a.off", "OFF 7 2 0\n" + POSITIONS + "3 0 1 2\nnan 0 1 2\n", "cut off: 1;"),
        ("a.off", "OFF 7 1 0\n" + POSITIONS + "3 0 1 2\n3 0 1 3\n", "7 vertices and 1 face .*it has 9"),
        ("a.off", "4OFF 7 1 0\n", "begin with OFF"),
        ("a.ply", PLY + POSITIONS + "3 0 1 2\n3 0 1 7\n", "vertices: 1;"),
        ("a.ply", PLY + POSITIONS + "3 0 1 2\n3 0 1\n", "cut off: 1;"),
        ("a.ply", PLY + POSITIONS + "3 0 1 2\n3 0 1 2 5\n", "face 1: there are more numbers"),
        (
            "a.ply",
            PLY + POSITIONS.replace("9 9 9", "9 9") + "3 0 1 2\n3 0 1 2\n",
            "vertex 0: a number is missing",
        ),
        (
            "a.ply",
            PLY + POSITIONS + "3 0 1 2\n3 0 1 2\n3 0 1 2\n",
            "has 10 lines of elements, its header declares 9",
        ),
        (
            "a.ply",
            PLY.replace("end_header", "element face 1\nproperty list uchar int more\nend_header") + POSITIONS,
            "declares an element twice",
        ),
        ("a.ply", PLY.replace("list uchar", "list double") + POSITIONS, "lengths that are no whole numbers"),
        ("a.ply", PLY.replace("int", "long"), "the line 'property list uchar long vertex_indices'"),
        ("a.ply", PLY.replace("format ascii 1.0\n", ""), "no line that says its format"),
        ("a.ply", PLY.replace("face 2", "polygons 0") + POSITIONS, "it has vertex, polygons"),
    ],
)
def test_damage_is_located(tmp_path, name, content, message):
    path = write(tmp_path, name, content)
    with pytest.raises(GeometryError, match=message):
        load_triangles(path)


# Saving


def test_what_is_saved_is_read_back_with_its_attributes_by_other_programs(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    n = len(VERTICES)
    saved = {
        "label": torch.arange(n, dtype=torch.uint8),
        "red": torch.full((n,), 255, dtype=torch.uint8),
        "index": torch.arange(n) - 3,
        "small": np.arange(n, dtype=np.int16),
        "mask": torch.arange(n) % 2 == 0,
        "heat": torch.rand(n),
        "exact": torch.rand(n, dtype=torch.float64).requires_grad_(),
        "half": torch.rand(n).bfloat16(),
        "big_endian": np.arange(n, dtype=">i4"),
    }
    save_ply(tmp_path / "a.ply", VERTICES, FACES, **saved)
    assert read(tmp_path / "a.ply") == (VERTICES, FACES)
    raw = trimesh.load(tmp_path / "a.ply", process=False).metadata["_ply_raw"]["vertex"]["data"]
    for name, values in saved.items():
        expected = values.detach().double().numpy() if isinstance(values, torch.Tensor) else values
        np.testing.assert_array_equal(raw[name].ravel(), expected, err_msg=name)
    types = {name: raw[name].dtype.str[1:] for name in saved}
    assert list(types.values()) == ["u1", "u1", "i4", "i2", "u1", "f4", "f8", "f4", "i4"]


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ({"label": torch.zeros(6)}, r"'label' has shape \[6\].*\[7\]"),
        ({"label": torch.zeros(7, 3)}, r"'label' has shape \[7, 3\]"),
        ({"x": torch.zeros(7)}, "other than x, y, z"),
        ({"two words": torch.zeros(7)}, "plain name"),
        ({"label": torch.arange(7) + 2**31}, "'label' of int64.*32 bits"),
        ({"label": ["a"] * 7}, "label must be numbers"),
        ({"label": [[1], [1, 2]]}, "label has rows of different lengths"),
        ({"label": torch.zeros(7, dtype=torch.complex64)}, "label must be numbers"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(tmp_path, attribute, message):
    with pytest.raises(GeometryError, match=message):
        save_ply(tmp_path / "a.ply", VERTICES, FACES, **attribute)
    assert not list(tmp_path.iterdir())


def test_other_places_and_shapes_are_refused(tmp_path):
    for path in (tmp_path / "a.obj", tmp_path / "nowhere" / "a.ply"):
        with pytest.raises(GeometryError, match=r"name that ends in \.ply, in a folder that exists"):
            save_ply(path, VERTICES, FACES)
    with pytest.raises(GeometryError, match=r"vertices are \[N, 3\].*\[7, 3\] and \[1, 4\]"):
        save_ply(tmp_path / "a.ply", VERTICES, [[0, 1, 2, 3]])
    with pytest.raises(GeometryError, match="none of the 7 vertices: 0;"):
        save_ply(tmp_path / "a.ply", VERTICES, [[0, 1, 7]])
    assert not list(tmp_path.iterdir())


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    save_ply(tmp_path / "a.ply", VERTICES, FACES)
    before = (tmp_path / "a.ply").read_bytes()

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        save_ply(tmp_path / "a.ply", VERTICES, FACES[:1])
    assert [path.name for path in tmp_path.iterdir()] == ["a.ply"]
    assert (tmp_path / "a.ply").read_bytes() == before
