"""Coarse levels of uneven meshes in many pieces: each piece is read as it would be alone, in its own time."""

import pytest
import torch

from geocnn.geometry import mesh
from geocnn.geometry.meshes import discs, levels
from geocnn.geometry.meshes.levels import read_from
from geocnn.geometry.meshes.unfold import unfold
from tests.shapes import jittered_sphere

TETRAHEDRON = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
SIDES = torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])


def fine_and_coarse(n, pieces, seed=0):
    """A fine ball of n vertices among large tetrahedra."""
    generator = torch.Generator().manual_seed(seed)
    points, faces = (torch.as_tensor(part) for part in jittered_sphere(n))
    places = 1000 * torch.rand(pieces, 1, 3, generator=generator, dtype=torch.float64)
    tetrahedra = (4 * TETRAHEDRON + places).flatten(0, 1)
    corners = (SIDES + 4 * torch.arange(pieces)[:, None, None] + n).flatten(0, 1)
    return mesh(torch.cat([points, tetrahedra]), torch.cat([faces, corners]))


@pytest.mark.parametrize("kind", ["log", "exp"])
def test_a_fine_piece_is_not_unfolded_as_a_whole_from_each_of_its_points(monkeypatch, kind):
    """The spacing is that of the large pieces, so the ball lies within everyone's reach: 360,000 pairs."""
    s = fine_and_coarse(600, 300)
    pairs = []

    def counted(*arguments, **options):
        paths = unfold(*arguments, **options)
        pairs.append(len(paths.base))
        return paths

    for module in (discs, levels):
        monkeypatch.setattr(module, "unfold", counted)
    radius = 0.12 * s.spacing
    coarser = (s.knowing(radius) if kind == "log" else s).coarser()
    assert coarser.n_points == s.n_points // 4
    assert sum(pairs) < 20 * s.n_points
    assert len(torch.unique(s.triangulation.component[coarser.vertex])) == 301


def test_a_piece_is_read_as_it_is_alone():
    """One tetrahedron is far too large for the radius; the others are read within it."""
    s = fine_and_coarse(200, 3)
    alone = mesh(s.points[:200], s.faces[: 2 * 200 - 4])
    chosen = torch.arange(0, 200, 4)
    own = read_from(alone.triangulation, chosen, 0.5)
    both = read_from(s.triangulation, torch.cat([chosen, torch.tensor([200, 204, 208])]), 0.5)
    width = own.source.shape[1]
    for ours, theirs in zip(own, both, strict=True):
        assert torch.equal(ours, theirs[:200, :width]) and not theirs[:200, width:].any()
    corners = both.source[200:].gather(1, both.weight[200:].argmax(1, keepdim=True))[:, 0]
    assert torch.equal(corners, torch.tensor([50, 51, 52]).repeat_interleave(4))
    torch.testing.assert_close(both.weight.sum(1), torch.ones(212, dtype=torch.float64))


def test_vertices_without_a_point_in_reach_read_as_at_twice_the_radius():
    """They look for points themselves, and the others keep their radius."""
    t = mesh(*jittered_sphere(300)).triangulation
    chosen = torch.arange(0, 300, 30)
    near, far = read_from(t, chosen, 0.45), read_from(t, chosen, 0.9)
    reached = torch.bincount(unfold(t, chosen, 0.45).vertex, minlength=300) > 0
    waiting = ~reached & (torch.bincount(unfold(t, chosen, 0.9).vertex, minlength=300) > 0)
    assert int(waiting.sum()) > 20 and int(reached.sum()) > 20

    def seen(reading, v):
        used = reading.weight[v] > 0
        order = reading.source[v][used].argsort()
        return [part[v][used][order] for part in reading]

    for v in waiting.nonzero()[:, 0].tolist():
        for ours, theirs in zip(seen(near, v), seen(far, v), strict=True):
            turned = (ours - theirs) if ours.dtype == torch.int64 else torch.sin((ours - theirs) / 2)
            assert float(turned.abs().max()) < 1e-6


def test_bases_with_radii_of_their_own_are_as_alone():
    t = mesh(*jittered_sphere(120)).triangulation
    base, radius = torch.tensor([3, 50, 90]), torch.tensor([0.3, 1.1, 0.7], dtype=torch.float64)
    together = unfold(t, base, radius)
    for k in range(3):
        alone, mine = unfold(t, base[k : k + 1], float(radius[k])), together.base == k
        assert torch.equal(alone.vertex, together.vertex[mine])
        # the last numbers of an array are not rounded as those before them
        torch.testing.assert_close(alone.vector, together.vector[mine], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(alone.arrival, together.arrival[mine], rtol=1e-12, atol=1e-12)


def test_no_path_is_longer_than_the_bound_of_its_component():
    s = fine_and_coarse(40, 4)
    t = s.triangulation
    paths = unfold(t, torch.arange(s.n_points), 1e3)
    assert bool((paths.vector.abs() <= t.farthest[paths.vertex]).all())
    # every vertex of the component is there
    assert len(paths.base) == 40**2 + 4 * 16
