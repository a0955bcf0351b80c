"""The bodies are what their docstring says: closed, uniform, labelled, and no split knows another's."""

import shutil

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from geocnn.data.bodies import PARTS, SPLITS, Body, bodies
from geocnn.data.store import datasets_folder
from geocnn.errors import DatasetError

SIZES = {"train": 160, "val": 20, "test": 40}


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Body]]:
    return {split: bodies(split) for split in SPLITS}


def every(splits: dict[str, list[Body]]) -> list[Body]:
    return [body for found in splits.values() for body in found]


def half_edges(body: Body) -> tuple[torch.Tensor, torch.Tensor]:
    return body.faces.flatten(), body.faces[:, [1, 2, 0]].flatten()


def vertex_areas(body: Body) -> torch.Tensor:
    """[N], a third of the adjacent triangles."""
    a, b, c = body.vertices[body.faces].unbind(1)
    triangles = torch.linalg.cross(b - a, c - a, dim=-1).norm(dim=-1) / 2
    areas = torch.zeros(len(body.vertices), dtype=torch.float64)
    return areas.index_add_(0, body.faces.flatten(), triangles.repeat_interleave(3) / 3)


def regions(body: Body, chosen: torch.Tensor) -> int:
    """Into how many connected regions of the surface the chosen vertices [N] bool fall."""
    source, target = half_edges(body)
    within = chosen[source] & chosen[target]
    source, target = source[within], target[within]
    n = len(body.vertices)
    graph = coo_matrix((np.ones(len(source)), (source.numpy(), target.numpy())), (n, n))
    return int(connected_components(graph, directed=False)[0]) - int((~chosen).sum())


def test_splits_have_their_sizes_and_share_neither_person_nor_pose(splits):
    assert {split: len(found) for split, found in splits.items()} == SIZES
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        for field in ("identity", "pose"):
            one, other = ({getattr(body, field) for body in splits[split]} for split in (first, second))
            assert not one & other


def test_all_surfaces_are_closed_oriented_connected_and_of_genus_0(splits):
    for body in every(splits):
        n = len(body.vertices)
        source, target = half_edges(body)
        forth, back = source * n + target, target * n + source
        # Each half-edge once and its opposite once: closed, edge-manifold, consistently oriented.
        assert len(forth.unique()) == len(forth) and torch.equal(forth.sort().values, back.sort().values)
        # Walking once around each vertex (next half-edge: opposite of the previous one in its face) meets
        # every half-edge that leaves it, unless two fans meet at the vertex.
        turned = torch.empty_like(forth)
        place = forth.argsort()
        previous = torch.arange(len(forth)).reshape(-1, 3)[:, [2, 0, 1]].flatten()
        turned = place[torch.searchsorted(forth[place], back[previous])]
        assert _orbits(turned) == n
        assert n - len(forth) // 2 + len(body.faces) == 2
        assert regions(body, torch.ones(n, dtype=torch.bool)) == 1


def _orbits(permutation: torch.Tensor) -> int:
    """How many cycles a permutation has whose cycles are short (vertex degrees)."""
    smallest = at = torch.arange(len(permutation))
    for _ in range(16):
        at = permutation[at]
        smallest = torch.minimum(smallest, at)
    assert torch.equal(smallest, smallest[permutation])
    return len(smallest.unique())


def test_normals_point_outwards(splits):
    for body in every(splits):
        a, b, c = body.vertices[body.faces].unbind(1)
        litres = 1000 * float((torch.linalg.cross(a, b, dim=-1) * c).sum() / 6)
        assert 25 < litres < 160  # a person's volume


def test_meshes_are_uniform(splits):
    for body in every(splits):
        source, target = half_edges(body)
        lengths = (body.vertices[source] - body.vertices[target]).norm(dim=-1)
        areas = vertex_areas(body)
        assert 2800 < len(body.vertices) < 3200
        # Coefficients of variation; the base mesh has 0.9 and 1.5.
        assert lengths.std() / lengths.mean() < 0.15
        assert areas.std() / areas.mean() < 0.25


def test_vertices_are_stored_finely_and_centred(splits):
    for body in every(splits):
        assert body.vertices.dtype == torch.float64 and body.faces.dtype == torch.int64
        # Steps of 0.05 mm, of which rounding leaves half at most.
        assert float(body.vertices.mean(0).abs().max()) < 2.5e-5
        assert 0.8 < float((body.vertices.max(0).values - body.vertices.min(0).values).max()) < 2.7


def test_every_body_has_every_part_in_a_sensible_share_of_its_area(splits):
    shares = []
    for body in every(splits):
        areas = vertex_areas(body)
        shares.append(torch.bincount(body.labels, areas, len(PARTS)) / areas.sum())
    mean = torch.stack(shares).mean(0)
    # The chart of Lund and Browder (1944) for adults, the trunk with buttocks and genitals. MakeHuman's
    # thighs begin higher, and fingers without gaps have less skin.
    chart = torch.tensor([0.09, 0.32, 0.08, 0.06, 0.05, 0.19, 0.14, 0.07], dtype=torch.float64)
    assert float((mean - chart).abs().max()) < 0.06
    assert float(torch.stack(shares).min()) > 0.01


def test_the_parts_follow_each_other_along_the_limbs(splits):
    n = len(PARTS)
    allowed = [a * n + b for a, b in ((0, 1), (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7))]
    for body in every(splits):
        a, b = (body.labels[ends] for ends in half_edges(body))
        assert (a * n + b)[a < b].unique().tolist() == allowed


def test_each_part_is_one_region_or_a_left_and_a_right_one(splits):
    for body in every(splits):
        found = [regions(body, body.labels == part) for part in range(len(PARTS))]
        assert found == [1, 1, 2, 2, 2, 2, 2, 2]


def test_bad_requests_and_damaged_files_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match=r"'dev'.*train, val, test"):
        bodies("dev")
    copy = tmp_path / "body_parts"
    copy.mkdir()
    for name in ("dataset.toml", "val.npz"):
        shutil.copy(datasets_folder() / "body_parts" / name, copy / name)
    content = bytearray((copy / "val.npz").read_bytes())
    content[5000] ^= 1
    (copy / "val.npz").write_bytes(content)
    monkeypatch.setenv("GEOCNN_DATASETS", str(tmp_path))
    with pytest.raises(DatasetError, match=r"val\.npz.*SHA-256.*restore"):
        bodies("val")
    with pytest.raises(DatasetError, match=r"test\.npz is missing"):
        bodies("test")
