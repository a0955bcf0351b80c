"""Where log reports `met`, exp leads to the target: on parts with flat rows and creases, on boundaries, and
past vertices.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from geocnn.geometry import mesh
from geocnn.geometry.meshes.aim import CLOSE
from geocnn.geometry.meshes.curvature import euler_characteristic
from tests.laws import leads_where_met, random_gauge
from tests.shapes import bricks, cube, sheet, twisted, without, wound


def plate() -> Tensor:
    """Cells of a plate with seven holes."""
    solid = torch.ones(13, 7, 1, dtype=torch.bool)
    solid[[2, 4, 6, 8], 2] = False
    solid[[3, 6, 9], 4] = False
    return solid


def angle_piece() -> Tensor:
    solid = torch.zeros(6, 5, 3, dtype=torch.bool)
    solid[:2], solid[:, :2] = True, True
    return solid


def uneven(n: int, seed: int) -> Tensor:
    """Return positions of n planes, 0.05 to 1.05 apart."""
    g = torch.Generator().manual_seed(seed)
    return (0.05 + torch.rand(n, generator=g, dtype=torch.float64)).cumsum(0)


def narrow_column(ratio: float) -> tuple[Tensor, Tensor]:
    """Return a rough sheet in which one column of squares is narrower by the ratio."""
    v, f = sheet(10, 8, 0.3, seed=3)
    beyond = (v[:, 0] - 5).clamp(0, 1)
    v[:, 0] += beyond / ratio - beyond
    v[:, 2] = 0.5 * v[:, 0].sin() * (0.7 * v[:, 1]).cos()
    return v, f


# shapes, and the least share of pairs within three spacings that are met
PARTS = {
    "cube": (cube, 1.0),
    "box": (lambda: bricks(torch.ones(3, 4, 5)), 1.0),
    "angle piece": (lambda: bricks(angle_piece()), 0.99),
    "plate of genus 7": (lambda: bricks(plate()), 0.95),
    "plate of uneven rows": (lambda: bricks(plate(), uneven(14, 0), uneven(8, 1), uneven(2, 2)), 0.8),
    "flat sheet": (lambda: sheet(9, 7), 1.0),
    "sheet, moved within": (lambda: sheet(9, 7, 0.3), 1.0),
    "sheet with a hole": (
        lambda: without(sheet(9, 9), (sheet(9, 9)[0][:, :2] - 4).abs().amax(1) < 1.5),
        0.95,
    ),
    "band of one side": (lambda: twisted(30, 9), 0.8),
    "disc of one turn and a quarter": (lambda: wound(9, 4, math.radians(50)), 0.75),
    "ramp of six turns": (lambda: wound(40, 3, math.radians(50), 0.3), 0.65),
    "slit": (lambda: wound(8, 4, math.radians(45)), 0.85),
    "faces of a thousandth": (lambda: narrow_column(1e3), 0.95),
    "faces of a billionth": (lambda: narrow_column(1e9), 0.95),
}


@pytest.mark.parametrize("gauge", ["own frames", "random flips"])
@pytest.mark.parametrize("name", PARTS)
def test_exp_leads_where_log_says_met(name, gauge):
    shape, share = PARTS[name]
    s = mesh(*shape())
    if gauge != "own frames":
        s = s.turn_frames(*random_gauge(s.n_points, flips=True, seed=1))
    met = leads_where_met(s, 3 * s.spacing)
    assert met.double().mean() >= share


def test_the_plate_has_seven_holes():
    assert euler_characteristic(mesh(*bricks(plate())).triangulation) == 2 - 2 * 7


def test_a_path_that_is_straight_on_one_side_of_a_vertex_is_passed_on_that_side():
    """The path from a to b leads through o along two edges. The corners below it sum to π, those above to
    more.
    """
    o, a, b, c = [0, 0, 0], [-1, 0, 0], [1, 0, 0], [0, -1, 0]
    s = mesh([o, a, b, c, [3, 3, 5], [-3, 3, -5]], [[1, 3, 0], [3, 2, 0], [0, 2, 4], [0, 4, 5], [0, 5, 1]])
    assert s.triangulation.defect[0] < -0.1
    there = torch.tensor([1, 2])
    log = s.log(there, there.flip(0))
    assert log.met.all()
    end = s.exp(there, log.vectors)
    torch.testing.assert_close(end.points, s.points[there.flip(0)], rtol=0, atol=2 * CLOSE)
    torch.testing.assert_close(log.distance, torch.full((2,), 2.0).double(), rtol=0, atol=1e-12)


def test_a_path_that_bends_by_as_much_on_both_sides_of_a_vertex_is_met():
    """Around the middle vertex the corners sum to 10 · 45° or 11 · 40°. Opposite a ray lies the fifth ray of
    ten, but of eleven rays none.
    """
    for n, step, met in ((10, 45, [True, True, True]), (11, 40, [False, False, False])):
        vertices, faces = wound(n, 2, math.radians(step))
        # the last ray is the first
        s = mesh(vertices[:-2], torch.where(faces > 2 * n, faces - 2 * n, faces))
        assert math.isclose(float(s.triangulation.defect[0]), 2 * math.pi - n * math.radians(step))
        p, q = torch.tensor([1, 1, 2]), torch.tensor([1 + 2 * 5, 2 + 2 * 5, 2 + 2 * 5])
        assert s.log(p, q).met.tolist() == met
