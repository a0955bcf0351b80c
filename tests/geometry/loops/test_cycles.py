"""Forests span, cycles close, and topology determines the number of a mesh's generators."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geocnn.data.meshes import mesh_file
from geocnn.geometry import fundamental_group, holonomy, icosphere, load, mesh, torus
from geocnn.geometry.core.half_edges import components
from geocnn.geometry.loops.cycles import fundamental_cycles, spanning_forest
from geocnn.geometry.meshes.curvature import euler_characteristic
from geocnn.groups.planar import wrapped
from tests.laws import act, random_gauge
from tests.shapes import beside, cube, jittered_sphere, ring, sheet, tetrahedron, without


def random_graph(n: int, m: int, seed: int) -> tuple[Tensor, Tensor]:
    return torch.randint(n, (2, m), generator=torch.Generator().manual_seed(seed)).unbind(0)  # type: ignore


@pytest.mark.parametrize("m", [0, 5, 60, 300])
def test_a_forest_has_one_tree_a_component_by_shortest_ways(m):
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import shortest_path

    n = 80
    tail, head = random_graph(n, m, seed=m)
    forest, root = spanning_forest(n, tail, head), components(n, tail, head)
    at_root = forest.parent == torch.arange(n)
    assert torch.equal(at_root, root == torch.arange(n))
    assert torch.equal(at_root, forest.edge < 0)
    node = (~at_root).nonzero()[:, 0]
    edge, up = forest.edge[node], forest.up[node]
    assert torch.equal(torch.where(up, tail[edge], head[edge]), node)
    assert torch.equal(torch.where(up, head[edge], tail[edge]), forest.parent[node])
    paths = forest.paths(torch.arange(n))
    assert torch.equal(paths[:, -1], root)
    ones = torch.ones(m).double().numpy()
    graph = coo_array((ones, (tail.numpy(), head.numpy())), shape=(n, n))
    far = torch.from_numpy(shortest_path(graph, directed=False, unweighted=True))
    steps = (paths.diff(dim=1) != 0).sum(1)
    assert torch.equal(steps.double(), far[torch.arange(n), root])


@pytest.mark.parametrize("surface", [icosphere(1), torus((4, 5)), mesh(*ring(9, 7)), mesh(*sheet(4, 3, 0.3))])
@pytest.mark.parametrize("flips", [False, True])
def test_the_element_of_a_cycle_is_the_holonomy_of_its_loop(surface, flips):
    s = surface.turn_frames(*random_gauge(surface.n_points, flips, seed=2))
    c = s.connection()
    cycles = fundamental_cycles(c)
    assert len(cycles.edge) == len(c.tail) - s.n_points + 1
    one = torch.tensor(1 + 2j, dtype=torch.complex128)
    for k, loop in enumerate(cycles.loops(torch.arange(len(cycles.edge)))):
        assert loop[0] == cycles.root[k] == 0
        there = act(cycles.angle[k], None if cycles.flip is None else cycles.flip[k], one)
        assert (act(*holonomy(s, loop), one) - there).abs() < 1e-11


def punctured(shape, *corners):
    gone = torch.zeros(len(shape[0]), dtype=torch.bool)
    gone[list(corners)] = True
    return without(shape, gone)


SHAPES = {
    "sphere": (jittered_sphere(80), 0),
    "cube": (cube(), 0),
    "ring": (ring(12, 8), 2),
    "disc": (sheet(4, 3), 0),
    "annulus": (punctured(jittered_sphere(200), 0, 150), 1),
    "three holes": (punctured(jittered_sphere(300), 0, 150, 299), 2),
    "ring with a hole": (punctured(ring(12, 8), 40), 2),
    "ring with two holes": (punctured(ring(14, 9), 3, 60), 3),
    "two": (beside(ring(12, 8), tetrahedron(), punctured(jittered_sphere(200), 0, 150)), 3),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_mesh_has_two_generators_a_handle_and_one_for_each_hole_but_one(name):
    shape, count = SHAPES[name]
    found = fundamental_group(mesh(*shape))
    assert len(found.loops) == len(found.angle) == count


@pytest.mark.parametrize(("name", "count"), [("torus", 2), ("skull", 4), ("spot", 0), ("hand", 0)])
def test_shipped_meshes_have_the_generators_of_their_genus(name, count):
    s = load(mesh_file(name))
    found = fundamental_group(s)
    assert len(found.loops) == count
    for k, loop in enumerate(found.loops):
        assert wrapped(holonomy(s, loop)[0] - found.angle[k]).abs() < 1e-9


def test_generators_cannot_be_shrunk():
    """A loop that bounds nothing winds around the torus's axis, around its tube, or both."""
    import math

    n, m = 16, 10
    s = mesh(*ring(n, m))
    windings = []
    for loop in fundamental_group(s).loops:
        u, v = loop // m, loop % m
        turns = []
        for angle, period in ((u, n), (v, m)):
            step = (torch.cat([angle, angle[:1]]).diff() + period // 2) % period - period // 2
            turns.append(int(step.sum()) // period)
        windings.append(turns)
    # they generate all windings: determinant ±1
    (a, b), (c, d) = windings
    assert math.isclose(abs(a * d - b * c), 1)


def test_the_characteristic_counts_no_vertex_without_faces():
    for name, (shape, _) in SHAPES.items():
        t = mesh(*shape).triangulation
        expected = {"sphere": 2, "cube": 2, "ring": 0, "disc": 1, "annulus": 0, "two": 0 + 2 + 0}
        if name in expected:
            assert euler_characteristic(t) == expected[name], name
