"""Data sets of what is in memory: they hold what was given, in the order it was given."""

import numpy as np
import pytest
import torch

from geocnn.data import SurfaceDataset
from geocnn.data.folders.found import Wishes
from geocnn.errors import DatasetError, GeometryError, MapError
from geocnn.geometry import mesh
from geocnn.geometry.spheres.healpix_maps import reorder
from tests.data.folders import made

SPLIT = ["train", "train", "train", "val", "test", "train"]


def smooth_maps(count=6, channels=None, nside=4):
    """Maps whose values show their order, [count, npix(, channels)]."""
    from geocnn.geometry import healpix

    points = healpix(nside).points
    directions = torch.randn(
        count, channels or 1, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    values = (points @ directions.movedim(-1, -2)).exp()
    return values if channels else values[..., 0]


def test_maps_with_classes(tmp_path):
    maps = smooth_maps()
    data = SurfaceDataset.from_maps(maps, ["a", "b"] * 3, tmp_path / "sky", split=SPLIT)
    assert data.card.task == "classify" and data.card.classes == ("a", "b") and data.card.nside == 4
    assert [row.split for row in data.rows] == SPLIT
    for item, given, k in zip(data, maps, [0, 1] * 3, strict=True):
        assert torch.equal(item.x[:, 0], given.float()) and item.y.tolist() == [k]


def test_maps_in_nested_order_become_those_in_ring_order(tmp_path):
    maps = smooth_maps(channels=2)
    target = maps.sum(-1)
    nested = SurfaceDataset.from_maps(
        reorder(maps, to="nested", dim=1), reorder(target, to="nested"), tmp_path / "nested", nested=True
    )
    ring = SurfaceDataset.from_maps(maps.numpy(), target.numpy(), tmp_path / "ring")
    assert nested.card.task == "regress-points" and str(nested.in_type) == "2x0"
    for a, b in zip(nested, ring, strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y)
    with pytest.raises(MapError, match="look like ring order"):
        SurfaceDataset.from_maps(maps, target, tmp_path / "wrong", nested=True)


def test_whole_numbers_of_pixels_are_classes(tmp_path):
    maps = smooth_maps()
    labels = (maps > 1).long() + 4
    data = SurfaceDataset.from_maps(maps, labels, tmp_path / "sky")
    assert data.card.task == "classify-points" and data.card.labels == (4, 5)
    assert torch.equal(data[2].y, labels[2] - 4)


def test_numbers_and_whole_numbers_of_samples(tmp_path):
    maps = smooth_maps()
    number = SurfaceDataset.from_maps(maps, torch.arange(6) / 2, tmp_path / "a")
    assert number.card.task == "regress" and number.card.target == ("number",)
    several = SurfaceDataset.from_maps(maps, maps[:, :3], tmp_path / "b")
    assert several.card.target == ("number_0", "number_1", "number_2")
    row = next(row for row in several.rows if row.name.endswith("3"))
    np.testing.assert_allclose(row.target, maps[3, :3])
    whole = SurfaceDataset.from_maps(maps, torch.arange(6) % 2, tmp_path / "c")
    assert whole.card.task == "classify" and whole.card.classes == ("0", "1")
    counts = SurfaceDataset.from_maps(
        maps, torch.arange(6) % 2, tmp_path / "d", wishes=Wishes(task="regress")
    )
    assert counts.card.task == "regress"


def test_fields_on_one_mesh(tmp_path):
    v, f = made.egg(0)
    fields = torch.randn(6, len(v), 2, generator=torch.Generator().manual_seed(0))
    data = SurfaceDataset.from_fields((v, f), fields, fields[..., 0] * 2, tmp_path / "a", split=SPLIT)
    assert data.card.surfaces == "one mesh" and data.card.task == "regress-points"
    assert torch.equal(data[4].x, fields[4])
    mean, std = data.card.mean[0], data.card.std[0]
    assert torch.allclose(data[4].y[:, 0] * std + mean, fields[4, :, 0] * 2, atol=1e-5)
    classes = SurfaceDataset.from_fields(mesh(v, f), fields[..., 0], list("aabbab"), tmp_path / "b")
    assert classes.card.classes == ("a", "b") and [item.y.item() for item in classes] == [0, 0, 1, 1, 0, 1]
    with pytest.raises(DatasetError, match=r"fields on this mesh are \[samples, 60\]"):
        SurfaceDataset.from_fields((v, f), fields[:, :50], [1.0] * 6, tmp_path / "c")


def test_meshes_with_fields(tmp_path):
    shapes = [made.egg(k, n=60 + k) for k in range(6)]
    fields = [{"heat": v[:, 0] ** 2, "wind": v.numpy()} for v, _ in shapes]
    labels = [(v[:, 2] > 0).long() for v, _ in shapes]
    data = SurfaceDataset.from_meshes(shapes, labels, tmp_path / "a", fields=fields, split=SPLIT, processes=1)
    assert data.card.fields == ("heat", "wind") and str(data.in_type) == "1x0 + 1x0 + 1x1"
    assert data.card.task == "classify-points" and [row.split for row in data.rows] == SPLIT
    for item, (v, _), y in zip(data, shapes, labels, strict=True):
        assert torch.allclose(item.x[:, 0], v[:, 0].float() ** 2) and torch.equal(item.y, y)
        assert torch.allclose(item.x[:, 1:].norm(dim=-1), v.norm(dim=-1).float(), rtol=1e-5)
    wrong = [fields[0] | {"heat": torch.zeros(3)}, *fields[1:]]
    with pytest.raises(GeometryError, match="heat"):
        SurfaceDataset.from_meshes(shapes, labels, tmp_path / "b", fields=wrong)
    with pytest.raises(DatasetError, match="mesh 5 has other fields"):
        SurfaceDataset.from_meshes(
            shapes, labels, tmp_path / "c", fields=[*fields[:5], {"heat": shapes[5][0]}]
        )


def test_labels_of_faces_in_memory(tmp_path):
    shapes = [made.egg(k) for k in range(6)]
    labels = [(v[f].mean(1)[:, 2] > 0).long() for v, f in shapes]
    data = SurfaceDataset.from_meshes(shapes, labels, tmp_path / "a", processes=1)
    assert data.card.per_face and data.card.task == "classify-points"


def test_a_field_may_be_called_as_an_extension_ends(tmp_path):
    shapes = [made.egg(k) for k in range(6)]
    fields = [{"y": v[:, 0]} for v, _ in shapes]
    labels = [(v[:, 2] > 0).long() for v, _ in shapes]
    data = SurfaceDataset.from_meshes(shapes, labels, tmp_path / "a", fields=fields, processes=1)
    assert data.card.task == "classify-points"


@pytest.mark.parametrize(
    ("y", "split", "message"),
    [
        (["a"] * 5, None, "6 fields, but 5 targets; give one per field"),
        (["a"] * 6, ["train"], "6 fields, but splits of 1"),
        (["a"] * 6, ["training"] * 6, "the split 'training' is none of train, val, test"),
        ([[1.0], [1.0, 2.0]] * 3, None, r"targets have \[1, 2\] numbers"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, y, split, message):
    with pytest.raises(DatasetError, match=message):
        SurfaceDataset.from_maps(smooth_maps(), y, tmp_path / "sky", split=split)
