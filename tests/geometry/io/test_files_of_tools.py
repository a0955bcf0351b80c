"""What other programs write is read as they meant it, and what is left out is told."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import read_mesh
from geocnn.geometry.io import load_triangles
from tests.geometry.io.test_io import PLY, POSITIONS, V, write

TETRAHEDRON = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
SIDES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
POINTS = "".join("{:g} {:g} {:g}\n".format(*p) for p in TETRAHEDRON)


def off(points: str, faces: str, keyword: str = "OFF\n") -> str:
    return f"{keyword}4 4 0\n{points}{faces}"


LINES = "".join("3 {} {} {}\n".format(*f) for f in SIDES)
LOOSE = {
    "broken faces": off(POINTS, LINES.replace(" ", "\n")),
    "broken after the second": off(POINTS, "".join("3 {} {}\n{}\n".format(*f) for f in SIDES)),
    "two faces on a line": off(POINTS, "3 0 2 1 3 0 1 3\n3 0 3 2 3 1 2 3\n"),
    "two vertices on a line": off("0 0 0 1 0 0\n0 1 0 0 0 1\n", LINES),
    "all on one line": off(POINTS.replace("\n", " ") + "\n", LINES.replace("\n", " ")),
    "no keyword": off(POINTS, LINES, ""),
    "no keyword, comments": off(POINTS, LINES, "# made by hand\n\n"),
    "counts on a line each": off(POINTS, LINES).replace("4 4 0", "4\n4\n0"),
    "broken faces with colours": off(POINTS, "".join("3 {}\n{} {} 9 9 9\n".format(*f) for f in SIDES)),
    "broken, polygon colours uneven": off(POINTS, "3 0\n2 1 7\n3 0 1 3\n3 0 3 2 1 2 3\n3 1 2 3\n"),
}


@pytest.mark.parametrize("content", LOOSE.values(), ids=LOOSE.keys())
def test_off_may_break_its_lines_anywhere(tmp_path, content):
    raw = read_mesh(write(tmp_path, "a.off", content))
    assert raw.vertices.tolist() == TETRAHEDRON.tolist() and raw.faces.tolist() == SIDES.tolist()
    assert ("colour" in raw.face_attributes) == ("9 9 9" in content)
    assert raw.left_out == (("colours of some faces",) if "1 2 3\n3 1" in content else ())


@pytest.mark.parametrize("content", LOOSE.values(), ids=LOOSE.keys())
def test_loose_off_cut_short_is_refused(tmp_path, content):
    words = content.split(" ")
    for k in range(len(words) - 3):
        with pytest.raises(GeometryError):
            read_mesh(write(tmp_path, "a.off", " ".join(words[:k])))


@pytest.mark.parametrize(
    ("keyword", "order"),
    [
        ("CNOFF", "normal colour"),  # Geomview, CGAL
        ("NCOFF", "colour normal"),  # MeshLab
        ("STCNOFF", "normal colour uv"),
        ("NCSTOFF", "colour normal uv"),
        ("NOFF", "normal"),
        ("NSTOFF", "normal uv"),
        ("STOFF", "uv"),
    ],
)
@pytest.mark.parametrize("by_line", [True, False], ids=["lines", "broken"])
def test_prefixes_of_off_say_what_vertices_have(tmp_path, keyword, order, by_line):
    values = {"normal": "0 0 1", "colour": "9 8 7 255", "uv": "0.25 0.5"}
    rest = " ".join(values[name] for name in order.split())
    points = "".join(f"{line} {rest}\n" for line in POINTS.splitlines())
    points = points if by_line else points.replace(" ", "\n")
    raw = read_mesh(write(tmp_path, "a.off", off(points, LINES, f"{keyword}\n")))
    assert raw.vertices.tolist() == TETRAHEDRON.tolist() and raw.faces.tolist() == SIDES.tolist()
    assert list(raw.vertex_attributes) == order.split()
    for name, array in raw.vertex_attributes.items():
        assert array.tolist() == [[float(word) for word in values[name].split()]] * 4


def test_binary_off_is_read(tmp_path):
    """As Geomview writes it: big-endian, colours of faces after their corners."""
    content = b"COFF BINARY\n" + struct.pack(">3i", 4, 4, 6)
    for point in TETRAHEDRON:
        content += struct.pack(">7f", *point, 0.5, 0.25, 1, 1)
    for face in SIDES:
        content += struct.pack(">4ii3f", 3, *face, 3, 1, 0, 0.5)
    raw = read_mesh(write(tmp_path, "a.off", content))
    assert raw.vertices.tolist() == TETRAHEDRON.tolist() and raw.faces.tolist() == SIDES.tolist()
    assert raw.vertex_attributes["colour"].tolist() == [[0.5, 0.25, 1, 1]] * 4
    assert raw.face_attributes["colour"].tolist() == [[1, 0, 0.5]] * 4
    for k in range(len(content)):
        with pytest.raises(GeometryError):
            read_mesh(write(tmp_path, "a.off", content[:k]))


# Numbers


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("kind", ["int64", "uint64"])
def test_ply_of_64_bits_is_read_to_the_last_one(tmp_path, encoding, kind):
    labels = np.array([2**53 + 1, 0, 2**62 + 3, 5], np.int64 if kind == "int64" else np.uint64)
    header = (
        f"ply\nformat {encoding} 1.0\nelement vertex 4\nproperty double x\nproperty double y\n"
        f"property double z\nproperty {kind} label\nelement face 4\n"
        "property list uchar int64 vertex_indices\n"
        f"property {kind} part\nend_header\n"
    ).encode()
    order = ">" if encoding.endswith("big_endian") else "<"
    if encoding == "ascii":
        rows = [f"{p} {n}\n" for p, n in zip(POINTS.splitlines(), labels, strict=True)]
        rows += [f"{p} {n}\n" for p, n in zip(LINES.splitlines(), labels, strict=True)]
        body = "".join(rows).encode()
    else:
        code = "q" if kind == "int64" else "Q"
        body = b"".join(
            struct.pack(f"{order}3d{code}", *p, n) for p, n in zip(TETRAHEDRON, labels, strict=True)
        )
        body += b"".join(
            struct.pack(f"{order}B3q{code}", 3, *f, n) for f, n in zip(SIDES, labels, strict=True)
        )
    raw = read_mesh(write(tmp_path, "a.ply", header + body))
    assert raw.faces.tolist() == SIDES.tolist()
    for array in (raw.vertex_attributes["label"], raw.face_attributes["part"]):
        assert np.array_equal(array, labels) and array.dtype == labels.dtype
        torch.from_numpy(array)


def test_arrays_are_of_this_machine_and_ones_own(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        v=TETRAHEDRON.astype(">f4"),
        f=SIDES.astype(">i8"),
        label=np.arange(4, dtype=">i2"),
    )
    raw = read_mesh(tmp_path / "a.npz")
    label = torch.from_numpy(raw.vertex_attributes["label"])
    label += 1
    assert label.tolist() == [1, 2, 3, 4] and raw.vertices.dtype == torch.float64
    for array in (raw.vertex_attributes["label"], raw.vertices.numpy()):
        assert array.dtype.isnative and array.flags.writeable


WRONG = ["1_0", "0x1", "1e", "1,5", "--1", "1d0", "१", "1\x00", "1e999", "one", ".", "+", "1..0", "1 \x0110"]


@pytest.mark.parametrize("word", WRONG)
def test_what_is_no_number_is_refused_by_its_line(tmp_path, word):
    texts = {
        "a.obj": (V.replace("v 0 1 0", f"v 0 1 {word}") + "f 1 2 3\n", 4),
        "b.obj": (V + f"f 1 2 3\nf 1 2 \\\n {word}\n", 9),
        "c.obj": (V + f"vn 1 0 0\n\nvn 1 0 {word}\nf 1//1 2//1 3//2\n", 10),
        "d.obj": (V + f"vt 1 0\nf 1/{word.replace(' ', '')} 2/1 3/1\n", 9),
        "a.off": (off(POINTS, LINES).replace("0 1 0", f"0 {word} 0"), 5),
        "b.off": ("\n# a\n" + off(POINTS, LINES.replace("3 0 3 2", f"3 0 {word} 2")), 11),
        "c.off": (off(POINTS, LINES.replace("3 0 3 2", f"3\n0 {word} 2")), 10),
        "a.ply": (PLY + POSITIONS.replace("0 1 0", f"0 1 {word}") + "3 0 1 2\n3 0 1 2\n", 14),
        "a.stl": (f"solid\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 {word}\n"
                  "endloop\nendfacet\nendsolid\n", 6),
    }  # fmt: skip
    for name, (text, line) in texts.items():
        with pytest.raises(GeometryError, match=f"line {line}: " if " " not in word else "line"):
            read_mesh(write(tmp_path, name, text))
    vtp = (Path(__file__).parent / "files" / "ascii.vtp").read_text()
    with pytest.raises(GeometryError):
        read_mesh(write(tmp_path, "a.vtp", vtp.replace("0.125", word)))


@pytest.mark.parametrize("word", ["nan", "NaN", "-nan", "nan(ind)", "-nan(ind)", "1.#QNAN", "-1.#IND00"])
def test_normals_that_are_no_numbers_do_not_matter(tmp_path, word):
    facet = f"facet normal {word} {word} {word}\nouter loop\n" + "vertex 0 1 2\n" * 3 + "endloop\nendfacet\n"
    raw = read_mesh(write(tmp_path, "a.stl", f"solid a\n{facet}endsolid a\n"))
    assert raw.vertices.tolist() == [[0, 1, 2]] * 3 and np.isnan(raw.face_attributes["normal"]).all()


@pytest.mark.parametrize("word", ["inf", "-Infinity", "1.#INF", "+INF"])
def test_infinity_is_spelt_in_many_ways(tmp_path, word):
    raw = read_mesh(write(tmp_path, "a.obj", V.replace("v 0 1 0", f"v 0 1 {word}") + "f 1 2 3\n"))
    assert raw.vertices[3, 2] == (-torch.inf if word[0] == "-" else torch.inf)


# Bytes and lines that a format does not have


@pytest.mark.parametrize("tail", [b"\n", b"\0", b"made by a scanner"])
def test_stl_may_have_a_tail(tmp_path, tail):
    content = b" " * 80 + struct.pack("<I", 2) + struct.pack("<12fH", *[float("nan")] * 3, *range(9), 0) * 2
    raw = read_mesh(write(tmp_path, "a.stl", content + tail))
    assert raw.vertices.tolist() == np.arange(9).reshape(3, 3).tolist() * 2
    assert raw.left_out == (f"{len(tail)} bytes after the last triangle",)
    for wrong in (content[:-1], content + b"\0" * 50):
        with pytest.raises(GeometryError, match="as long as"):
            read_mesh(write(tmp_path, "a.stl", wrong))


def test_lines_that_no_obj_has_are_told(tmp_path):
    text = "mtllib a.mtl\n" + V + "usemtl a\nf 1 2 3\nfo 1 2 4\nf`1 4 3\nusemtl b\nvv\n"
    path = write(tmp_path, "a.obj", text)
    raw = read_mesh(path)
    assert len(raw.faces) == 1
    assert raw.left_out == (
        "line 1, 'mtllib …'",
        "line 9, 'usemtl …', and 1 more like it",
        "line 11, 'fo …'",
        "line 12, 'f`1 …'",
        "line 14, 'vv …'",
    )
    with pytest.warns(UserWarning, match=r"a\.obj: not read: line 11, 'fo …', line 12, 'f`1 …', line 14"):
        load_triangles(path)
    many = "".join(f"w{k}\n" for k in range(1000))
    assert len(read_mesh(write(tmp_path, "b.obj", text + many)).left_out) == 2 + 9


def test_lines_that_every_obj_may_have_raise_no_warning(tmp_path):
    path = write(tmp_path, "a.obj", "o a\n" + V + "g a b\ns off\nl 1 2\np 1\nf 1 2 3\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_triangles(path)


def test_arrays_of_words_in_vtp_are_told(tmp_path):
    vtp = (Path(__file__).parent / "files" / "ascii.vtp").read_text()
    names = '<Array type="String" Name="region" format="ascii">97 0 97 0</Array>'
    vtp = vtp.replace("</PointData>", names + "</PointData>").replace(
        "<PolyData>", f"<PolyData><FieldData>{names}</FieldData>"
    )
    raw = read_mesh(write(tmp_path, "a.vtp", vtp))
    assert {"array region of String", "array region of the whole data set"} <= set(raw.left_out)


# Strips


def test_strips_of_ply_are_cut(tmp_path):
    """As in Stanford's files: one list of all strips, which −1 ends; one per material elsewhere."""
    header = PLY.replace("element face 2", "element tristrips {}") + POSITIONS
    whole = header.format(1) + "11 0 1 2 3 4 -1 5 4 3 3 6\n"
    raw = read_mesh(write(tmp_path, "a.ply", whole))
    assert raw.faces.tolist() == [[0, 1, 2], [3, 2, 1], [2, 3, 4], [5, 4, 3]]
    assert raw.left_out == ("2 triangles of strips with a vertex twice",)
    several = (
        header.replace("end_header", "property int part\nend_header").format(2) + "4 0 1 2 3 7\n3 4 5 6 8\n"
    )
    raw = read_mesh(write(tmp_path, "b.ply", several))
    assert raw.faces.tolist() == [[0, 1, 2], [3, 2, 1], [4, 5, 6]]
    assert raw.face_attributes["part"].tolist() == [7, 7, 8]


def test_strips_and_pieces_of_vtp_are_joined(tmp_path):
    def array(name: str, kind: str, values: str, components: int = 1) -> str:
        return (
            f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{components}" format="ascii">'
            f"{values}</DataArray>"
        )

    piece = (
        '<Piece NumberOfPoints="4" NumberOfVerts="0" NumberOfLines="0" NumberOfStrips="1" NumberOfPolys="1">'
        f"<Points>{array('Points', 'Float64', POINTS, 3)}</Points>"
        f"<Polys>{array('connectivity', 'Int32', '0 2 1')}{array('offsets', 'Int32', '3')}</Polys>"
        f"<Strips>{array('connectivity', 'Int32', '0 1 3 2')}{array('offsets', 'Int32', '4')}</Strips>"
        f"<CellData>{array('part', 'Int64', f'{2**60 + 1} 6')}</CellData></Piece>"
    )
    vtp = f'<VTKFile type="PolyData"><PolyData>{piece}{piece}</PolyData></VTKFile>'
    raw = read_mesh(write(tmp_path, "a.vtp", vtp))
    once = [[0, 2, 1], [0, 1, 3], [2, 3, 1]]
    assert raw.faces.tolist() == once + (np.array(once) + 4).tolist() and len(raw.vertices) == 8
    assert raw.face_attributes["part"].tolist() == [2**60 + 1, 6, 6] * 2
