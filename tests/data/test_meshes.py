"""The shipped meshes are what their card says."""

from __future__ import annotations

import pytest

from geocnn.data.meshes import mesh_file
from geocnn.data.store import describe
from geocnn.errors import DatasetError
from geocnn.geometry.doctor.verdict import check_triangles
from geocnn.geometry.io import load_triangles

MESHES = {entry["mesh"]: entry for entry in describe("meshes")["files"] if "mesh" in entry}


@pytest.mark.parametrize("name", MESHES)
def test_a_mesh_is_a_surface_of_the_stated_topology(name):
    v, f = check_triangles(*load_triangles(mesh_file(name)))
    edges = f[:, [[0, 1], [1, 2], [2, 0]]].flatten(0, 1).sort(1).values
    edges, uses = edges.unique(dim=0, return_counts=True)
    card = MESHES[name]
    assert (len(v), len(f)) == (card["vertices"], card["faces"])
    assert int((uses == 1).sum()) == card["boundary_edges"]
    assert len(v) - len(edges) + len(f) == card["euler_characteristic"]


@pytest.mark.parametrize("name", MESHES)
def test_a_mesh_has_a_licence_and_someone_to_thank(name):
    assert {"licence", "licence_url", "attribution", "source"} <= MESHES[name].keys()


def test_an_unknown_mesh_is_answered_with_the_known_ones():
    with pytest.raises(DatasetError, match=r"'teapot'; there are: bunny, spot, .*skull"):
        mesh_file("teapot")
