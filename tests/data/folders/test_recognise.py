"""Folders speak for themselves where they are unambiguous; else the message says what to give."""

import numpy as np
import pytest

from geocnn.data.folders.found import Source, Wishes
from geocnn.data.folders.recognise import recognise
from geocnn.errors import DatasetError
from geocnn.geometry.io import raw_mesh, read_mesh, save_ply, write_mesh
from tests.data.folders import made


def test_class_folders(tmp_path):
    found = recognise(made.class_folders(tmp_path / "a"))
    assert (found.task, found.surfaces, len(found.samples)) == ("classify", "meshes", 12)
    assert {s.target for s in found.samples} == {"long", "round"}
    assert found.samples[0].name == "long/long0"


def test_class_folders_below_splits(tmp_path):
    for name in ("train", "validation", "Test"):
        made.class_folders(tmp_path / "a" / name, each=2)
    found = recognise(tmp_path / "a")
    assert {s.split for s in found.samples} == {"train", "val", "test"}
    assert {s.target for s in found.samples} == {"long", "round"} and len(found.samples) == 12


def test_a_table_of_numbers(tmp_path):
    found = recognise(made.with_table(tmp_path / "a"))
    assert (found.task, found.target) == ("regress", ("length",))
    assert found.samples[2].target == (1.4,)


def test_a_table_of_classes_with_splits_groups_and_weights(tmp_path):
    rows = "\n".join(f"m{k},{k % 2},{'train val test'.split()[k % 3]},g{k // 2},{k + 1}" for k in range(6))
    folder = made.with_table(tmp_path / "a", "file;label;split;group;weight\n".replace(";", ",") + rows)
    found = recognise(folder)
    assert found.task == "classify"  # whole numbers under "label" are classes
    last = found.samples[-1]
    assert (last.target, last.split, last.group, last.weight) == ("1", "test", "g2", 6.0)
    assert recognise(folder, Wishes(task="regress")).samples[-1].target == (1.0,)


def test_values_beside_meshes_are_labels_of_points(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    found = recognise(folder)
    assert found.task == "classify-points"
    assert found.samples[1].target == Source(folder / "s1.npy")


def test_lists_name_the_splits(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    (folder / "train.txt").write_text("s0\ns1\ns2.ply\n")
    (folder / "test.txt").write_text("s3 s4 s5\n")
    assert [s.split for s in recognise(folder).samples] == ["train"] * 3 + ["test"] * 3
    (folder / "test.txt").write_text("s3 s9\n")
    with pytest.raises(DatasetError, match=r"test\.txt names s9"):
        recognise(folder)


def test_labels_in_another_folder_belong_by_name(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    (folder / "labels").mkdir()
    for k in range(6):
        (folder / f"s{k}.npy").rename(folder / "labels" / f"s{k}.npy")
    assert recognise(folder).samples[0].target == Source(folder / "labels" / "s0.npy")


def test_a_property_of_the_files(tmp_path):
    for k in range(3):
        v, f = made.egg(k)
        save_ply(tmp_path / f"a{k}.ply", v, f, label=(v[:, 0] > 0).int(), height=v[:, 2])
    assert recognise(tmp_path).task == "classify-points"
    found = recognise(tmp_path, Wishes(target=("height",)))
    assert found.task == "regress-points" and found.samples[0].target == Source(tmp_path / "a0.ply", "height")
    with pytest.raises(DatasetError, match=r"there is no 'width'.*label, height"):
        recognise(tmp_path, Wishes(target=("width",)))


def test_fields_on_one_mesh(tmp_path):
    found = recognise(made.fields_on_one(tmp_path / "a"))
    assert (found.surfaces, found.task, len(found.samples)) == ("one mesh", "classify", 12)
    assert found.samples[3].name == "sub-3" and found.samples[3].target == "b"
    assert found.samples[3].inputs == (Source(tmp_path / "a" / "fields.npy", None, 3),)


def test_fields_and_labels_in_one_archive(tmp_path):
    folder = made.fields_on_one(tmp_path / "a", table=False)
    x = np.load(folder / "fields.npy")
    (folder / "fields.npy").unlink()
    np.savez(folder / "all.npz", x=x, y=np.arange(12) % 3)
    found = recognise(folder)
    assert found.task == "classify" and [s.target for s in found.samples[:4]] == ["0", "1", "2", "0"]


def test_maps(tmp_path):
    found = recognise(made.maps(tmp_path / "a"))
    assert (found.surfaces, found.task, len(found.samples)) == ("healpix", "regress", 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nm0,a\nm9.obj,b\n", r"labels\.csv, line 3: there is no file 'm9\.obj'"),
        ("file,label\nm0,a\nm0.obj,b\n", r"lines 2 and 3: both are about 'm0\.obj'"),
        ("file,label\nm0,a,b\n", r"line 2: 3 cells, but 2 columns"),
        ("file,label\n", "no rows"),
        ("thing,label\nm0,a\n", "no column that names files"),
        ("file\nm0\n", "no column of targets"),
        ("file,label,split\nm0,a,maybe\n", "the split 'maybe' is none of"),
        ("file,label,weight\nm0,a,-1\n", "weight -1 is below 0"),
        ("file,label,label\nm0,a,b\n", "column 'label' twice"),
    ],
)
def test_wrong_tables_are_named_by_line(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        recognise(made.with_table(tmp_path / "a", text))


def test_folders_that_say_nothing(tmp_path):
    with pytest.raises(DatasetError, match="no folder"):
        recognise(tmp_path / "none")
    with pytest.raises(DatasetError, match="holds neither meshes nor maps; a folder may hold"):
        recognise(tmp_path)
    write_mesh(tmp_path / "a.obj", raw_mesh(*made.egg(0)))
    with pytest.raises(DatasetError, match=r"nothing in .* says what is true of its 1 mesh"):
        recognise(tmp_path)
    write_mesh(tmp_path / "a.ply", read_mesh(tmp_path / "a.obj"))
    with pytest.raises(DatasetError, match=r"the files a\.obj, a\.ply have the same name"):
        recognise(tmp_path)


def test_values_beside_some_meshes_only(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    (folder / "s2.npy").unlink()
    with pytest.raises(DatasetError, match="5 of 6 meshes have a file of values beside them, but not s2"):
        recognise(folder)


def test_a_table_without_targets_gives_groups_splits_and_weights(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    (folder / "folds.csv").write_text("name,fold\n" + "\n".join(f"s{k},{k // 2}" for k in range(5)))
    found = recognise(folder)
    assert found.task == "classify-points" and [s.group for s in found.samples] == list("00112")
    assert found.remarks == ["1 file without a row in folds.csv left out: s5"]
    table = (folder / "folds.csv").rename(folder / "mine.csv")
    table.write_text(
        "file,split,weight\n" + "\n".join(f"s{k}.ply,{'train' if k else 'test'},{k}" for k in range(6))
    )
    found = recognise(folder, Wishes(labels=table))
    assert [s.split for s in found.samples] == ["test"] + ["train"] * 5
    assert [s.weight for s in found.samples] == [0, 1, 2, 3, 4, 5]
    table.write_text("file,split\ns9,train\n")
    with pytest.raises(DatasetError, match="line 2: there is no file 's9'"):
        recognise(folder, Wishes(labels=table))


def test_a_property_is_the_target_beside_a_table_of_other_columns(tmp_path):
    folder = tmp_path / "a"
    for k in range(4):
        raw = raw_mesh(*made.egg(k))
        raw.vertex_attributes["iface"] = (raw.vertices[:, 0] > 0).int().numpy()
        folder.mkdir(exist_ok=True)
        write_mesh(folder / f"p{k}.ply", raw)
    (folder / "labels.csv").write_text(
        "file,group,year\n" + "\n".join(f"p{k}.ply,g{k},{k}" for k in range(4))
    )
    assert recognise(folder).task == "regress"
    found = recognise(folder, Wishes(target=("iface",)))
    assert found.task == "classify-points" and found.samples[3].group == "g3"
    with pytest.raises(DatasetError, match=r"there is no 'ifaces' in p0.ply nor in labels.csv"):
        recognise(folder, Wishes(target=("ifaces",)))


def test_class_folders_below_a_common_folder(tmp_path):
    for name in ("train", "test"):
        made.class_folders(tmp_path / "a" / "data" / name, each=2)
    found = recognise(tmp_path / "a")
    assert {s.split for s in found.samples} == {"train", "test"}
    assert {s.target for s in found.samples} == {"long", "round"}


def test_a_table_of_a_spreadsheet(tmp_path):
    """A byte order mark, semicolons, decimal commas, and paths of another machine."""
    rows = "".join(f"C:\\scans\\m{k}.obj;{k},5;{'MF'[k % 2]}\r\n" for k in range(6))
    folder = made.with_table(tmp_path / "a", "\ufeffFile;Age;Sex\r\n" + rows)
    found = recognise(folder, Wishes(target=("Age",)))
    assert found.task == "regress" and found.samples[3].target == (3.5,)
    assert recognise(folder, Wishes(target=("Sex",))).samples[3].target == "F"


def test_missing_cells_are_named_by_line(tmp_path):
    rows = "".join(f"m{k},{k if k != 3 else 'n/a'}\n" for k in range(6))
    folder = made.with_table(tmp_path / "a", "file,age\n" + rows)
    with pytest.raises(DatasetError, match="line 5: 'n/a' in column 'age' is no finite number, unlike most"):
        recognise(folder)
    folder = made.with_table(tmp_path / "b", "file,label\n" + rows.replace("n/a", ""))
    with pytest.raises(DatasetError, match="line 5: the cell of 'label' is empty"):
        recognise(folder)
