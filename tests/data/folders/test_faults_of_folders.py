"""Folders in which something is wrong or odd: each is met with one line, and nothing is taken for another."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from geocnn.data.folders.card import open_folder, save_folder
from geocnn.data.folders.changes import Options, check_unchanged
from geocnn.data.folders.files import files_in
from geocnn.data.folders.found import Wishes
from geocnn.data.folders.preparing import prepare_folder
from geocnn.data.folders.recognise import recognise
from geocnn.data.folders.splitting import split_samples
from geocnn.errors import DatasetError
from tests.data.folders import made


def prepared(folder, out, **wishes):
    return prepare_folder(folder, out, Wishes(**wishes))


def targets(found):
    return {s.name: s.target.path.parent.name + "/" + s.target.path.name for s in found.samples}


def test_targets_of_fields_in_subfolders_are_their_own(tmp_path):
    folder = made.fields_on_one(tmp_path / "a")
    values = np.load(folder / "fields.npy")
    for name in ("fields.npy", "labels.csv"):
        (folder / name).unlink()
    for what in ("in", "truth"):
        for k, part in enumerate("ab"):
            (folder / what / part).mkdir(parents=True)
            for row in range(3):
                np.save(folder / what / part / f"{row}.npy", values[row] + 100 * k * (what == "truth"))
    found = recognise(folder, Wishes(target=("truth",)))
    assert targets(found) == {f"in/{p}/{k}": f"{p}/{k}.npy" for p in "ab" for k in range(3)}


def test_a_file_of_labels_serves_one_mesh(tmp_path):
    folder = made.labelled_points(tmp_path / "a" / "one").parent
    shutil.copytree(folder / "one", folder / "two")
    assert targets(recognise(folder))["two/s3"] == "two/s3.npy"
    for file in (folder / "two").glob("*.npy"):
        file.unlink()
    with pytest.raises(DatasetError, match=r"6 of 12 meshes have a file of values .* but not two/s0"):
        recognise(folder)


def test_a_row_is_not_about_the_file_of_another_folder(tmp_path):
    folder = made.class_folders(tmp_path / "a", each=3)
    (folder / "labels.csv").write_text("file,label\nlong/long0.ply,x\nround/long1.ply,y\n")
    with pytest.raises(DatasetError, match=r"line 3: there is no file 'round/long1\.ply'"):
        recognise(folder)


def test_lists_name_samples_by_their_folders(tmp_path):
    folder = tmp_path / "a"
    for name in ("long", "round"):
        made.labelled_points(folder / name)
        for file in (folder / name).glob("*.npy"):
            file.unlink()
    (folder / "test.txt").write_text("long/s0.ply\nround/s1.ply\n")
    (folder / "train.txt").write_text("\n".join(f"{p}/s{k}" for p in ("long", "round") for k in range(2, 6)))
    split = {s.name: s.split for s in recognise(folder).samples}
    assert (split["long/s0"], split["round/s1"], split["long/s1"]) == ("test", "test", "")
    assert split["round/s2"] == "train"
    (folder / "test.txt").write_text("s0\n")
    with pytest.raises(DatasetError, match="'s0' may be long/s0, round/s0"):
        recognise(folder)
    (folder / "test.txt").write_text("long/s3\n")
    with pytest.raises(DatasetError, match=r"long/s3 is in (test and in train|train and in test)"):
        recognise(folder)


def test_a_name_with_a_blank_in_a_list(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    for end in (".ply", ".npy"):
        (folder / f"s0{end}").rename(folder / f"my scan{end}")
    (folder / "test.txt").write_text("my scan.ply\ns1 s2\n")
    assert {s.name for s in recognise(folder).samples if s.split == "test"} == {"my scan", "s1", "s2"}


def test_answers_are_no_data(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    shutil.copy(folder / "s0.ply", folder / "s0.answers.ply")
    shutil.copy(folder / "s0.npy", folder / "s0.answers.npy")
    shutil.copytree(folder, folder / "some-answers")
    assert len(recognise(folder).samples) == 6


def test_links_that_lead_back_are_not_followed(tmp_path):
    folder = made.class_folders(tmp_path / "a", each=3)
    (folder / "long" / "loop").symlink_to(folder, target_is_directory=True)
    assert len(list(files_in(folder))) == 6


def test_what_changed_since_is_told(tmp_path):
    folder = made.with_table(
        tmp_path / "a", "file,label\n" + "".join(f"m{k},{'ab'[k % 2]}\n" for k in range(6))
    )
    data = prepared(folder, tmp_path / "o")
    check_unchanged(data, folder, Wishes(), Options())
    text = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(text.replace("m0,a", "m0,b"))
    with pytest.raises(DatasetError, match=r"labels\.csv has changed"):
        check_unchanged(data, folder, Wishes(), Options())
    (folder / "labels.csv").write_text(text)
    first = next(folder.glob("m0.*"))
    shutil.copy(first, first.with_stem("m9"))
    with pytest.raises(DatasetError, match="files were added"):
        check_unchanged(data, folder, Wishes(), Options())
    first.with_stem("m9").unlink()
    first.unlink()
    with pytest.raises(DatasetError, match="is gone"):
        check_unchanged(data, folder, Wishes(), Options())


def test_a_group_has_one_split():
    with pytest.raises(DatasetError, match="samples of the group 'g' are in train and in test"):
        split_samples(["a"] * 3, ["g", "g", ""], ["train", "test", "val"])


def test_the_deviation_of_numbers_far_from_zero(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(60, generator=generator, dtype=torch.float64) + 1e9 for _ in range(6)]
    for k, value in enumerate(values):
        np.save(folder / f"s{k}.npy", value.numpy())
    data = prepared(folder, tmp_path / "o", task="regress-points")
    training = torch.cat([values[int(row.name[1:])] for row in data.of("train")])
    assert data.card.std[0] == pytest.approx(float(training.std(correction=0)), rel=1e-6)


def test_labels_that_need_more_bits_than_files_have(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    for file in folder.glob("*.npy"):
        np.save(file, np.load(file).astype(np.int64) + 3_000_000_000)
    with pytest.raises(DatasetError, match="needs more than 32 bits"):
        prepared(folder, tmp_path / "o")


def test_splits_without_training_samples(tmp_path):
    rows = "".join(f"m{k},{k},{'val' if k % 2 else 'test'}\n" for k in range(6))
    folder = made.with_table(tmp_path / "a", "file,length,split\n" + rows)
    with pytest.raises(DatasetError, match="has no training samples: all are test or val"):
        prepared(folder, tmp_path / "o")


def test_a_target_is_not_called_as_a_column_of_samples(tmp_path):
    folder = made.with_table(tmp_path / "a", "file,factor\n" + "".join(f"m{k},{k}\n" for k in range(6)))
    with pytest.raises(DatasetError, match="the column 'factor'"):
        prepared(folder, tmp_path / "o")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [lines[0].replace("name", "sample"), *lines[1:]], "lacks the column 'name'"),
        (lambda lines: [*lines, lines[1]], "both are the sample"),
        (lambda lines: [lines[0], lines[1].replace(",1,", ",-1,", 1), *lines[2:]], "a weight is at least 0"),
    ],
)
def test_a_table_of_samples_that_was_edited_wrongly(tmp_path, change, message):
    data = prepared(made.class_folders(tmp_path / "a"), tmp_path / "o")
    table = data.path / "samples.csv"
    table.write_text("\n".join(change(table.read_text().splitlines())) + "\n")
    with pytest.raises(DatasetError, match=message):
        open_folder(data.path)


def test_odd_characters_and_long_names(tmp_path):
    folder = made.class_folders(tmp_path / "a", each=4)
    (folder / "long" / "long0.ply").rename(folder / "long" / "a\x7fb.ply")
    (folder / "long" / "long1.ply").rename(folder / "long" / f"{'x' * 240}.ply")
    data = open_folder(prepared(folder, tmp_path / "o").path)
    assert {"long/a\x7fb", f"long/{'x' * 240}"} <= {row.name for row in data.rows}
    assert all(data.tensors(row)["vertices"].shape[1] == 3 for row in data.rows)


def test_the_origin_of_a_folder_stays_when_its_table_is_edited(tmp_path):
    data = prepared(made.class_folders(tmp_path / "a"), tmp_path / "o")
    rows = [replace(row, weight=2.0) for row in data.rows]
    changed = save_folder(data.path, data.card, rows)
    assert changed.digest != data.digest or (data.path / "samples.csv").is_file()
    assert changed.origin == data.origin
