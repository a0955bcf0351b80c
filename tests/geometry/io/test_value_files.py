"""Values of vertices go to files and come back, in our reader and in those of the formats' own libraries."""

from __future__ import annotations

import gzip
import os

import numpy as np
import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import VertexValues, read_vertex_values, write_vertex_values
from geocnn.geometry.io import libraries
from tests.geometry.io.test_io import write

G = np.random.default_rng(0)
N = 50
VALUES = {
    "label": G.integers(-5, 5, N),
    "depth": np.concatenate(
        [[np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.7e308, 0.1], G.standard_normal(N - 7)]
    ),
    "small": G.standard_normal(N).astype(np.float32),
    "byte": G.integers(0, 255, N).astype(np.uint8),
    "large": G.integers(-(2**62), 2**62, N),
}


def read(path):
    return read_vertex_values(path).values


@pytest.mark.parametrize("extension", [".csv", ".npz", ".csv.gz", ".npz.gz"])
def test_tables_come_back_by_name_to_the_last_bit(tmp_path, extension):
    path = tmp_path / f"a{extension}"
    assert write_vertex_values(path, VALUES) == []
    if extension.endswith(".gz"):
        assert gzip.decompress(path.read_bytes())
    back = read(path)
    assert list(back) == list(VALUES)
    for name, values in VALUES.items():
        assert back[name].dtype.kind == ("i" if values.dtype.kind in "iu" else "f") or "npz" in extension
        assert np.array_equal(back[name].astype(values.dtype), values, equal_nan=True), name
        assert np.array_equal(np.signbit(back[name]), np.signbit(values))


@pytest.mark.parametrize("values", [G.integers(0, 9, N), G.standard_normal((N, 3)), torch.rand(N)])
@pytest.mark.parametrize("extension", [".txt", ".npy", ".csv"])
def test_one_array_needs_no_name(tmp_path, values, extension):
    assert write_vertex_values(tmp_path / f"a{extension}", values) == []
    back = read(tmp_path / f"a{extension}")
    if extension == ".csv" and values.ndim == 2:
        assert list(back) == ["values_0", "values_1", "values_2"]
        back = {"values": np.stack([*back.values()], 1)}
    (array,) = back.values()
    expected = np.asarray(values)
    assert array.shape == expected.shape and np.array_equal(array.astype(expected.dtype), expected)
    if extension == ".txt":  # numpy reads the same
        assert np.array_equal(np.loadtxt(tmp_path / "a.txt").astype(expected.dtype), expected)


TEXTS = {
    "plain.txt": "1\n2\n3\n",
    "comments.txt": "# made by hand\n1 # first\n2\n3\n\n\n",
    "windows.txt": "\ufeff1\r\n2\r\n3\r\n",
    "no end.txt": "1\n2\n3",
    "plain.csv": "values\n1\n2\n3\n",
    "no names.csv": "1\n2\n3\n",
    "quoted.csv": '"values"\r\n"1"\r\n"2"\r\n"3"\r\n\r\n',
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_read_as_it_stands(tmp_path, name):
    (array,) = read(write(tmp_path, name, TEXTS[name])).values()
    assert array.tolist() == [1, 2, 3] and array.dtype == np.int64


@pytest.mark.parametrize("separator", [",", ";", "\t", ", "])
def test_tables_have_several_separators(tmp_path, separator):
    rows = [["label", "two words"], ["3", "0.5"], ["1", "nan"]]
    content = "".join(f"{separator.join(row)}\n" for row in rows)
    back = read(write(tmp_path, "a.csv", content))
    assert back["label"].tolist() == [3, 1] and np.isnan(back["two words"][1])
    (bare,) = read(write(tmp_path, "b.csv", content.partition("\n")[2])).values()
    assert bare.shape == (2, 2) and bare[0].tolist() == [3, 0.5]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "1\ntwo\n3\n", "line 2: 'two' is no number"),
        ("a.txt", "1 2\n3 4\n5\n", "line 3: it has 1 number, the rows before have 2"),
        ("a.txt", "# x\n1 2\n# y\n3 4 5\n", "line 4: it has 3 numbers"),
        ("a.txt", "1\n\n3\n", "line 2: it is empty"),
        ("a.txt", "1,5\n2\n", "line 1: '1,5' is no number"),
        ("a.txt", "", "line 1: it is empty"),
        ("a.txt", "# none\n", "it has no numbers"),
        ("a.csv", "", "line 1: it has no names"),
        ("a.csv", "a,b\n1,2\n3\n", "line 3: it has 1 cell, the first line has 2"),
        ("a.csv", "a,b\n1,2\n3,4,5\n", "line 3: it has 3 cells"),
        ("a.csv", "a,b\n1,2\n3,\n", "line 3: a cell is empty; write nan"),
        ("a.csv", "a,b\n1,2\n3,cortex\n", "line 3: 'cortex' is no number"),
        ("a.csv", "a,b\n1,2\n\n3,4\n", "line 3: it has 1 cell"),
        ("a.csv", "a\n1\n\n3\n", "line 3: it is empty"),
        ("a.csv", "a,b\n,2\n3,4\n", "line 2: a cell is empty"),
        ("a.csv", "1,2,3\n1,,3\n", "line 2: a cell is empty"),
        ("a.csv", "a;b\n1;2\n1;2\n3; \n", "line 4: a cell is empty"),
        ("a.csv", "x" * 200_000, "line 1: its names of columns cannot be read"),
        ("a.csv", "a,a\n1,2\n", "'a' is empty or stands twice"),
        ("a.csv", "a,\n1,2\n", "'' is empty or stands twice"),
        ("a.csv", "a;b\n1,5;2\n", "line 2: '1,5' is no number"),
        ("a.csv", "a\n1 2\n3 4\n", "2 columns of numbers and 1 names"),
    ],
)
def test_what_is_wrong_in_text_is_told_with_its_line(tmp_path, name, content, message):
    with pytest.raises(GeometryError, match=rf"{name}: .*{message}"):
        read(write(tmp_path, name, content))


def test_arrays_that_are_no_numbers_or_no_rows_are_refused(tmp_path):
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.save(tmp_path / "scalar.npy", np.array(3.0))
    np.savez(tmp_path / "rows.npz", a=np.zeros(3), b=np.zeros(4))
    np.savez(tmp_path / "mesh.npz", v=np.zeros((3, 3)), f=np.zeros((1, 3)))
    np.savez(tmp_path / "words.npz", a=np.array("x"))
    messages = {
        "words.npy": "give numbers",
        "objects.npy": "give numbers",
        "scalar.npy": r"values \[\]",
        "rows.npz": r"a \[3\], b \[4\]",
        "mesh.npz": "read_mesh reads it",
        "words.npz": "no array",
    }
    for name, message in messages.items():
        with pytest.raises(GeometryError, match=rf"{name}.*{message}"):
            read(tmp_path / name)
    np.save(tmp_path / "whole.npy", np.arange(9))
    content = (tmp_path / "whole.npy").read_bytes()
    for k in range(0, len(content), 5):
        with pytest.raises(GeometryError, match="not a plain array"):
            read(write(tmp_path, "cut.npy", content[:k]))
    # numpy reads the header as Python
    for old, new in ((b"}", b"("), (b"'shape'", b"'ship' "), (b"(9,)", b"(9)"), (b"(9,)", b"-9 ")):
        with pytest.raises(GeometryError, match="not a plain array"):
            read(write(tmp_path, "odd.npy", content.replace(old, new, 1)))


def test_other_files_and_folders_get_the_known_formats(tmp_path):
    with pytest.raises(GeometryError, match=r"there is no file .*; give values, one row per vertex: \.csv"):
        read(tmp_path / "a.csv")
    with pytest.raises(GeometryError, match="is a folder; give one file; there is none in it"):
        read(tmp_path)
    packed = [tmp_path / "lh.thickness.gz", tmp_path / "a.annot.gz"]  # FreeSurfer does not pack its own
    for path in (tmp_path / "a.xlsx", tmp_path / "nowhere" / "a.csv", *packed):
        with pytest.raises(GeometryError, match=r"give a name for values.*in a folder that exists"):
            write_vertex_values(path, [1, 2])


def test_what_does_not_fit_a_format_is_refused_or_told(tmp_path):
    pytest.importorskip("nibabel")
    two = {"a": [1, 2], "b": [3, 4]}
    cases = [
        ("a.npy", two, "an .npy file holds one array, not a, b"),
        ("a.curv", two, "one number per vertex, not a, b"),
        ("a.annot", two, "one number per vertex, not a, b"),
        ("a.csv", {"a": [1], "b": [3, 4]}, r"a \[1\], b \[2\]"),
        ("a.csv", {}, "no array"),
        ("a.csv", ["x", "y"], "must be numbers"),
        ("a.csv", np.zeros((3, 0)), r"\[3, 0\]"),
        ("a.label.gii", [0.5, 1], "no labels, whole numbers"),
        ("a.label.gii", [2**40, 1], "no labels, whole numbers"),
        ("a.func.gii", [2**40, 1], "integers of up to 32 bits"),
        ("a.annot", [0.5, 1], "regions are whole numbers"),
        ("a.annot", [-2, 1], "regions are whole numbers"),
    ]
    for name, values, message in cases:
        with pytest.raises(GeometryError, match=message):
            write_vertex_values(tmp_path / name, values)
    assert not list(tmp_path.iterdir())
    named = {"names": ["x", "y"], "colours": ["#ff0000", (0, 1, 0)]}
    assert write_vertex_values(tmp_path / "a.csv", [0, 1], **named) == [
        "names of labels",
        "colours of labels",
    ]
    assert write_vertex_values(tmp_path / "a.txt", two) == ["names of columns"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    write_vertex_values(tmp_path / "a.csv", [1, 2])

    def full(*_):
        raise OSError(28, "no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(GeometryError, match=r"a\.csv cannot be read or written \(no space left\)"):
        write_vertex_values(tmp_path / "a.csv", [3, 4])
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert read(tmp_path / "a.csv")["values"].tolist() == [1, 2]


# GIFTI


@pytest.mark.parametrize(("end", "intent"), [("func", "NONE"), ("shape", "SHAPE")])
def test_numbers_of_gifti_are_one_array_per_column(tmp_path, end, intent):
    nibabel = pytest.importorskip("nibabel")
    values = {
        "depth": VALUES["depth"],
        "wind": G.standard_normal((N, 2)).astype(np.float32),
        "label": np.arange(N),
    }
    assert write_vertex_values(tmp_path / f"a.{end}.gii", values) == []
    image = nibabel.load(tmp_path / f"a.{end}.gii")
    assert [a.data.shape for a in image.darrays] == [(N,)] * 4
    assert [a.data.dtype for a in image.darrays] == [np.float64, np.float32, np.float32, np.int32]
    assert {a.intent for a in image.darrays} == {nibabel.nifti1.intent_codes[f"NIFTI_INTENT_{intent}"]}
    back = read(tmp_path / f"a.{end}.gii")
    assert list(back) == ["depth", "wind_0", "wind_1", "label"]
    assert np.array_equal(back["depth"], values["depth"], equal_nan=True)
    assert np.array_equal(np.stack([back["wind_0"], back["wind_1"]], 1), values["wind"])
    assert back["label"].tolist() == list(range(N))


def test_labels_of_gifti_have_a_table_of_names_and_colours(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    labels = np.array([3, 0, -1, 7, 3])
    path = tmp_path / "lh.areas.label.gii"
    given = {
        "names": {0: "???", 3: "V1 & V2", 9: "unused"},
        "colours": {3: (0.25, 0.5, 1, 0.5), 0: "#ff0080"},
    }
    assert write_vertex_values(path, {"areas": labels}, **given) == []
    image = nibabel.load(path)
    assert image.darrays[0].intent == nibabel.nifti1.intent_codes["NIFTI_INTENT_LABEL"]
    assert image.darrays[0].data.dtype == np.int32 and image.darrays[0].data.tolist() == labels.tolist()
    assert image.labeltable.get_labels_as_dict() == {
        -1: "none", 0: "???", 3: "V1 & V2", 7: "label 7", 9: "unused"
    }  # fmt: skip
    table = {label.key: label.rgba for label in image.labeltable.labels}
    assert table[3] == (0.25, 0.5, 1, 0.5) and table[0] == pytest.approx((1, 0, 128 / 255, 1))
    assert table[-1][3] == 0 and table[7][3] == 1
    back = read_vertex_values(path)
    assert back.values["areas"].tolist() == labels.tolist() and back.names[3] == "V1 & V2"
    for name in ("again.label.gii", "again.label.gii.gz"):
        write_vertex_values(tmp_path / name, back)
        again = read_vertex_values(tmp_path / name)
        assert (again.names, again.colours) == (back.names, back.colours)


def test_colours_that_are_chosen_differ():
    from geocnn.geometry.io.values import with_every_label

    _, colours = with_every_label(VertexValues({}), np.arange(400))
    shades = np.array([*colours.values()])
    assert ((shades >= 0) & (shades <= 1)).all()
    assert len(np.unique((255 * shades).round().astype(int), axis=0)) == 400
    near = np.abs(shades[:12, None] - shades[None, :12]).max(-1) + np.eye(12)
    assert near.min() > 0.1


@pytest.mark.parametrize("colour", ["red", "#ff00", (255, 0, 0), (1, 0), 3, (float("nan"), 0, 0)])
def test_what_is_no_colour_is_refused(tmp_path, colour):
    with pytest.raises(GeometryError, match="the colour of label 1 is"):
        write_vertex_values(tmp_path / "a.label.gii", [0, 1], colours={1: colour})


# FreeSurfer


def test_values_of_freesurfer_are_read_by_nibabel(tmp_path):
    freesurfer = pytest.importorskip("nibabel.freesurfer")
    thickness = G.standard_normal(N)
    for name in ("lh.thickness", "a.curv", "rh.my_answer"):
        assert write_vertex_values(tmp_path / name, thickness) == []
        assert np.array_equal(freesurfer.read_morph_data(tmp_path / name), thickness.astype(np.float32))
        (back,) = read(tmp_path / name).values()
        assert np.array_equal(back, thickness.astype(np.float32))


def test_regions_of_freesurfer_come_back_with_names_and_colours(tmp_path):
    freesurfer = pytest.importorskip("nibabel.freesurfer")
    regions = np.array([2, 0, -1, 5, 2, 0])
    names, colours = {0: "unknown", 2: "bankssts", 5: "cuneus"}, {2: (25 / 255, 100 / 255, 40 / 255)}
    path = tmp_path / "lh.areas.annot"
    assert write_vertex_values(path, {"areas": regions}, names, colours) == []
    labels, table, spelt = freesurfer.read_annot(path)
    assert labels.tolist() == regions.tolist() and table.shape == (6, 5)
    assert [spelt[k] for k in (0, 2, 5)] == [b"unknown", b"bankssts", b"cuneus"]
    assert table[2, :4].tolist() == [25, 100, 40, 0]
    back = read_vertex_values(path)
    assert back.values["annot"].tolist() == regions.tolist()
    assert {k: back.names[k] for k in names} == names and back.colours[2] == pytest.approx((*colours[2], 1))
    write_vertex_values(tmp_path / "again.annot", back)
    assert (tmp_path / "again.annot").read_bytes() == path.read_bytes()


def test_regions_of_one_colour_are_refused(tmp_path):
    pytest.importorskip("nibabel")
    with pytest.raises(GeometryError, match=r"regions \[1\] have the colour of another"):
        write_vertex_values(tmp_path / "a.annot", [0, 1], colours=["#102030", "#102030"])
    with pytest.raises(GeometryError, match=r"regions \[1\] .* black, of none"):
        write_vertex_values(tmp_path / "a.annot", [0, 1, -1], colours=["#102030", "#000000"])
    write_vertex_values(tmp_path / "a.annot", [0, 1], colours=["#102030", "#000000"])
    assert read(tmp_path / "a.annot")["annot"].tolist() == [0, 1]


def test_without_nibabel_the_smallest_extra_is_named(tmp_path, monkeypatch):
    def missing(name: str) -> None:
        raise ImportError(name=name)

    monkeypatch.setattr(libraries, "import_module", missing)
    for name in ("a.func.gii", "lh.curv", "a.annot"):
        with pytest.raises(GeometryError, match=r"takes nibabel.*pip install 'geocnn\[neuro\]'"):
            write_vertex_values(tmp_path / name, [0, 1])
