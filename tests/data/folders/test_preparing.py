"""A data folder holds what a user's folder says, checked; nothing half-written counts as one."""

import math

import numpy as np
import pytest
import torch

from geocnn.data.folders.card import open_folder
from geocnn.data.folders.changes import Options, check_unchanged
from geocnn.data.folders.found import Wishes
from geocnn.data.folders.items import items_of
from geocnn.data.folders.preparing import prepare_folder
from geocnn.data.folders.samples import in_type_of, in_units, truth_of
from geocnn.errors import DatasetError
from geocnn.geometry.io import raw_mesh, read_mesh, save_ply, write_mesh
from geocnn.geometry.spheres.healpix_maps import reorder
from tests.data.folders import made


def prepared(folder, out, wishes=None, **options):
    lines = []
    data = prepare_folder(folder, out, wishes, Options(**options), lines.append)
    return open_folder(data.path), "\n".join(lines)


def test_classes_in_millimetres(tmp_path):
    data, said = prepared(made.class_folders(tmp_path / "a", each=8), tmp_path / "o")
    assert data.card.classes == ("long", "round") and data.card.task == "classify"
    assert "16 meshes; to learn: a class of each" in said
    row = data.of("train")[0]
    tensors = data.tensors(row)
    raw = read_mesh(tmp_path / "a" / f"{row.name}.ply")
    assert torch.equal(tensors["vertices"], raw.vertices) and torch.equal(tensors["faces"], raw.faces)
    # areas differ by class and numbers of points do not: spacings are alike at unit area, and size comes in
    assert data.card.scale == "each" and data.card.size
    assert data.card.unit == pytest.approx(math.sqrt(1 / 60))
    kept, _ = prepared(tmp_path / "a", tmp_path / "o2", scale="set")
    row = kept.of("train")[0]
    # one factor, the inverse of the median spacing
    assert kept.card.scale == "set" and row.factor == pytest.approx(1 / kept.card.unit)
    spacing = math.sqrt(4 * math.pi * 1e6 * 1.3 / 60)
    assert kept.card.unit == pytest.approx(spacing, rel=0.2)


def test_area_that_tells_nothing_is_taken_out(tmp_path):
    g = torch.Generator().manual_seed(0)
    for c in ("a", "b"):
        (tmp_path / "in" / c).mkdir(parents=True)
        for k in range(12):
            size = float(torch.rand(1, generator=g)) * 3 + 1
            save_ply(tmp_path / "in" / c / f"{c}{k}.ply", *made.egg(50 * (c == "a") + k, size=size))
    data, said = prepared(tmp_path / "in", tmp_path / "o")
    assert data.card.scale == "each" and "area tells nothing about class" in said
    for row in data.rows:
        v, f = (data.tensors(row)[name] for name in ("vertices", "faces"))
        a, b, c = (v * row.factor * data.card.unit)[f].unbind(1)
        area = torch.linalg.cross(b - a, c - a, dim=1).norm(dim=1).sum() / 2
        assert float(area) == pytest.approx(1)
    kept, _ = prepared(tmp_path / "in", tmp_path / "o2", scale="set")
    assert kept.card.scale == "set"


def test_meshes_of_like_spacings_at_unit_area_alone_get_that_and_their_size_comes_in(tmp_path):
    for c, size in (("large", 2.0), ("small", 1.0)):
        (tmp_path / "in" / c).mkdir(parents=True)
        for k in range(8):
            save_ply(tmp_path / "in" / c / f"{c}{k}.ply", *made.egg(k, size=size))
    data, said = prepared(tmp_path / "in", tmp_path / "o")
    assert data.card.scale == "each" and data.card.size
    assert "sizes are kept, as a field that comes in; point spacings are alike at unit area alone" in said
    assert str(in_type_of(data.card)) == "11x0 + 5x1 + 1x2 + 1x0"
    # the eggs of one number differ by their size alone: so does what comes in, in its last channel alone
    rows = {row.name.split("/")[-1]: row for row in data.rows}
    large, small = items_of(data, [rows["large3"], rows["small3"]], 1)
    assert torch.allclose(large.x[:, :-1], small.x[:, :-1], atol=1e-4)
    assert torch.allclose(large.x[:, -1] - small.x[:, -1], torch.full((60,), math.log(2)), atol=1e-5)
    kept, _ = prepared(tmp_path / "in", tmp_path / "o2", scale="set")
    assert kept.card.scale == "set" and not kept.card.size


def test_labelled_meshes_of_unlike_sizes_get_unit_area_without_their_size(tmp_path):
    made.labelled_points(tmp_path / "in")
    for k, file in enumerate(sorted((tmp_path / "in").glob("*.ply"))):
        raw = read_mesh(file)
        save_ply(file, (1 + k) * raw.vertices, raw.faces)
    data, said = prepared(tmp_path / "in", tmp_path / "o")
    assert data.card.scale == "each" and not data.card.size and "alike at unit area alone" in said


def test_numbers_are_normalised_over_the_training_samples(tmp_path):
    data, _ = prepared(made.with_table(tmp_path / "a", count=10), tmp_path / "o")
    training = [row.target[0] for row in data.of("train")]
    assert data.card.mean[0] == pytest.approx(np.mean(training))
    truth = torch.cat([truth_of(row, data.tensors(row), data.card) for row in data.of("train")])
    assert float(truth.mean()) == pytest.approx(0, abs=1e-12) and float(truth.std(correction=0)) == (
        pytest.approx(1)
    )
    back = in_units(truth, data.card)[:, 0]
    assert back.tolist() == pytest.approx(training)


def test_labels_of_points_become_classes_in_order(tmp_path):
    data, _ = prepared(made.labelled_points(tmp_path / "a"), tmp_path / "o")
    assert (data.card.labels, data.card.classes) == ((3, 7), ("3", "7"))
    row = data.rows[0]
    truth = truth_of(row, data.tensors(row), data.card)
    v, _ = made.egg(0)
    assert torch.equal(truth, (v[:, 0] > 0).long())


def test_points_without_a_label(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    for k in range(6):
        labels = np.load(folder / f"s{k}.npy")
        labels[:3] = -1
        np.save(folder / f"s{k}.npy", labels)
    data, _ = prepared(folder, tmp_path / "o", Wishes(unlabelled=-1))
    assert data.card.labels == (3, 7)
    assert truth_of(data.rows[0], data.tensors(data.rows[0]), data.card)[:4].tolist()[:3] == [-1] * 3
    every, _ = prepared(folder, tmp_path / "o2")
    assert every.card.labels == (-1, 3, 7)


def test_labels_per_face_are_carried_to_vertices(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    for k in range(6):
        raw = read_mesh(folder / f"s{k}.ply")
        above = raw.vertices[raw.faces].mean(1)[:, 0] > 0
        np.save(folder / f"s{k}.npy", np.where(above, 7, 3))
    data, _ = prepared(folder, tmp_path / "o")
    assert data.card.per_face
    v, _ = made.egg(0)
    truth = truth_of(data.rows[0], data.tensors(data.rows[0]), data.card)
    clear = v[:, 0].abs() > 0.5
    assert torch.equal(truth[clear], (v[clear, 0] > 0).long())


def test_labels_of_another_length_are_named_before_any_geometry(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    np.save(folder / "s4.npy", np.zeros(59, dtype=int))
    with pytest.raises(DatasetError, match=r"s4\.npy has 59 rows, its mesh 60 vertices and 116 triangles"):
        prepared(folder, tmp_path / "o")
    with pytest.raises(DatasetError, match="no data folder"):
        open_folder(tmp_path / "o")
    np.save(folder / "s4.npy", np.full(60, 3))
    prepared(folder, tmp_path / "o")  # what the failure left is written anew


def test_broken_meshes_are_all_named_and_mended_on_demand(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    for k in (1, 3):
        v, f = made.egg(k)
        # a vertex twice, so that the surface is torn, and a face twice
        write_mesh(folder / f"s{k}.ply", raw_mesh(v, torch.cat([f, f[:1]])))
    with pytest.raises(DatasetError, match=r"2 of 6 meshes are no surfaces: s1\.ply.*s3\.ply"):
        prepared(folder, tmp_path / "o")
    data, _ = prepared(folder, tmp_path / "o", fixes=("duplicates",))
    row = next(row for row in data.rows if row.name == "s1")
    tensors = data.tensors(row)
    assert len(tensors["faces"]) == 116 and len(tensors["truth"]) == len(tensors["vertices"])


def test_repairs_take_labels_along(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    v, f = made.egg(2)
    loose = torch.cat([torch.zeros(1, 3, dtype=torch.float64), v])
    write_mesh(folder / "s2.ply", raw_mesh(loose, f + 1))
    np.save(folder / "s2.npy", np.concatenate([[3], np.where(v[:, 0] > 0, 7, 3)]))
    data, _ = prepared(folder, tmp_path / "o", fixes=("unreferenced",))
    row = next(row for row in data.rows if row.name == "s2")
    assert torch.equal(truth_of(row, data.tensors(row), data.card), (v[:, 0] > 0).long())


def test_unlike_units_are_refused(tmp_path):
    folder = made.with_table(tmp_path / "a", count=8)
    raw = read_mesh(folder / "m5.obj")
    write_mesh(folder / "m5.obj", raw_mesh(raw.vertices * 1000, raw.faces))
    with pytest.raises(DatasetError, match=r"1 of 8 meshes is about .* times as large as the others \(m5\)"):
        prepared(folder, tmp_path / "o")
    prepared(folder, tmp_path / "o", scale="each")


def test_one_shape_in_two_splits_is_told(tmp_path):
    folder = made.with_table(tmp_path / "a", count=8)
    raw = read_mesh(folder / "m0.obj")
    order = torch.randperm(len(raw.vertices), generator=torch.Generator().manual_seed(0))
    write_mesh(
        folder / "m7.obj", raw_mesh(2 * raw.vertices[order.argsort()].flip(1), order[raw.faces].flip(1))
    )
    rows = [f"m{k},{k / 5},{'test' if k == 7 else 'train'}" for k in range(8)]
    (folder / "labels.csv").write_text("file,length,split\n" + "\n".join(rows))
    _, said = prepared(folder, tmp_path / "o")
    assert "1 mesh of one split has the shape of one in another ('m0' in" in said


def test_classes_of_one_sample(tmp_path):
    folder = made.class_folders(tmp_path / "a", each=4)
    (folder / "odd").mkdir()
    save_ply(folder / "odd" / "x.ply", *made.egg(1))
    with pytest.raises(DatasetError, match="the class 'odd' has 1 sample"):
        prepared(folder, tmp_path / "o")


def test_a_label_that_never_trains(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    (folder / "train.txt").write_text("s0 s1 s2 s3")
    (folder / "test.txt").write_text("s5")
    (folder / "val.txt").write_text("s4")
    np.save(folder / "s5.npy", np.full(60, 11))
    with pytest.raises(DatasetError, match="the label 11 is in no training sample"):
        prepared(folder, tmp_path / "o")


def test_values_that_are_missing_are_refused_by_name(tmp_path):
    folder = made.fields_on_one(tmp_path / "a")
    x = np.load(folder / "fields.npy")
    x[4, 7] = np.nan
    np.save(folder / "fields.npy", x)
    with pytest.raises(ValueError, match="1 of 80 rows of 'field' of sub-4 are NaN"):
        prepared(folder, tmp_path / "o")


def test_the_table_may_be_edited_and_is_checked(tmp_path):
    data, _ = prepared(made.class_folders(tmp_path / "a"), tmp_path / "o")
    table = data.path / "samples.csv"
    text = table.read_text()
    table.write_text(text.replace(",train,", ",test,", 1))
    assert len(open_folder(data.path).of("test")) == len(data.of("test")) + 1
    table.write_text(text.replace(",round\n", ",square\n", 1))
    with pytest.raises(DatasetError, match=r"samples\.csv, line \d+: there is no class 'square'"):
        open_folder(data.path)


def test_a_folder_in_use_and_one_whose_sources_changed(tmp_path):
    folder = made.with_table(tmp_path / "a")
    data, _ = prepared(folder, tmp_path / "o")
    with pytest.raises(DatasetError, match="is a data folder already"):
        prepared(folder, tmp_path / "o")
    check_unchanged(data, folder, Wishes(), Options())
    with pytest.raises(DatasetError, match="prepared with other options"):
        check_unchanged(data, folder, Wishes(), Options(scale="each"))
    write_mesh(folder / "m0.obj", raw_mesh(*made.egg(77)))
    with pytest.raises(DatasetError, match=r"m0\.obj has changed since"):
        check_unchanged(data, folder, Wishes(), Options())


def test_maps_and_fields(tmp_path):
    with pytest.raises(ValueError, match="does not state the order of its pixels"):
        prepared(made.maps(tmp_path / "a"), tmp_path / "o")
    data, _ = prepared(tmp_path / "a", tmp_path / "o", Wishes(nested=True))
    x = torch.from_numpy(np.load(tmp_path / "a" / "map0.npy"))
    assert torch.equal(data.tensors(data.rows[0])["field.field"][:, 0], reorder(x, to="ring"))
    assert data.card.nside == 2 and data.card.fields == ("field",) and not data.card.shape
    data, _ = prepared(made.fields_on_one(tmp_path / "b"), tmp_path / "p")
    assert data.surface()["vertices"].shape == (80, 3)
    np.save(tmp_path / "a" / "map3.npy", np.zeros(12))
    with pytest.raises(DatasetError, match="'map3' has 12 pixels, 'map0' 48"):
        prepared(tmp_path / "a", tmp_path / "o2", Wishes(nested=True))


def test_nothing_of_the_user_s_is_removed(tmp_path):
    """A folder whose only content is called "samples" looks like what an interrupted call leaves."""
    folder = made.class_folders(tmp_path / "a" / "samples").parent
    for out in (folder, folder / "out", tmp_path):
        with pytest.raises(DatasetError, match="name a folder"):
            prepared(folder, out)
    (tmp_path / "mine" / "samples").mkdir(parents=True)
    (tmp_path / "mine" / "samples" / "precious.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"is not empty \(samples\)"):
        prepared(folder, tmp_path / "mine")
    assert (tmp_path / "mine" / "samples" / "precious.txt").is_file()
    assert len(list(folder.rglob("*.ply"))) == 12


def test_names_stay_inside_the_folder_and_apart(tmp_path):
    folder = made.fields_on_one(tmp_path / "a", count=6)
    columns = np.load(folder / "fields.npy").T
    (folder / "fields.npy").unlink()
    names = ["../../up", "a/b", "c d", "e", "f", "g"]
    lines = [",".join(names), *(",".join(f"{x:.9g}" for x in row) for row in columns)]
    (folder / "fields.csv").write_text("\n".join(lines))
    (folder / "labels.csv").write_text(
        "sample,label\n" + "\n".join(f"{n},{'ab'[k % 2]}" for k, n in enumerate(names))
    )
    data, _ = prepared(folder, tmp_path / "deep" / "o")
    inside = (tmp_path / "deep" / "o" / "samples").resolve()
    files = [(data.path / row.file).resolve() for row in data.rows]
    assert all(file.is_relative_to(inside) and file.is_file() for file in files) and len(set(files)) == 6
    (folder / "fields.csv").unlink()
    np.save(folder / "fields.npy", columns.T)
    (folder / "labels.csv").write_text(
        "sample,label\n" + "\n".join(f"{n},a" for n in ("x.npy", "x.txt", *"pqrs"))
    )
    with pytest.raises(DatasetError, match=r"two rows of .*labels.csv are named 'x'"):
        prepared(folder, tmp_path / "o2")


def test_numbers_of_points_that_are_missing_are_refused_by_name(tmp_path):
    folder = made.labelled_points(tmp_path / "a")
    for k in range(6):
        values = made.egg(k)[0][:, 0].numpy().copy()
        values[7] = np.nan if k == 4 else values[7]
        np.save(folder / f"s{k}.npy", values)
    with pytest.raises(ValueError, match="1 of 60 rows of the target of s4 are NaN"):
        prepared(folder, tmp_path / "o")
