"""The kernels that loops leave alone are those of the holonomy group, and those a layer has weights for."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.geometry import (
    angle_defects,
    cylinder,
    healpix,
    holonomy,
    holonomy_group,
    invariant_kernels,
    klein_bottle,
    load,
    mobius_strip,
    plane,
)
from geocnn.nn import GaugeConv
from tests.example import example

survival = example("surviving_kernels")

SURFACES = {
    "plane": (lambda: plane((6, 5)), 9),
    "cylinder": (lambda: cylinder((4, 9)), 9),
    "Möbius strip": (lambda: mobius_strip((4, 9)), 5),
    "Klein bottle": (lambda: klein_bottle((4, 9)), 5),
    "cube": (lambda: survival.cube(3), 3),
    "sphere": (lambda: healpix(4), 1),
    "mesh": (lambda: load(survival.BUNNY), 1),
}


@pytest.mark.parametrize("name", SURFACES)
def test_what_all_loops_leave_alone_are_the_kernels_of_the_holonomy_group(name):
    make, count = SURFACES[name]
    surface = make()
    left = survival.changes(surface) < 1e-8
    assert int(left.sum()) == count
    frequency = invariant_kernels(holonomy_group(surface).group, rings=1, max_frequency=4).angular.frequency
    assert frequency.tolist() == [(k + 1) // 2 for k in left.nonzero()[:, 0].tolist()]
    # what does not survive is not nearly left alone either
    assert bool((survival.changes(surface)[~left] > 1).all())


@pytest.mark.parametrize(
    ("scalar", "count"), [("trivial: 1x0", 9), ("reflection: 1x0e", 5), ("C4: 1x0", 3), ("1x0", 1)]
)
def test_a_layer_between_scalars_has_a_weight_for_each(scalar, count):
    layer = GaugeConv(scalar, scalar, rings=1, max_frequency=4, bias=False)
    assert sum(weight.numel() for weight in layer.parameters()) == count


def test_the_nine_kernels_are_cosines_and_sines():
    r, theta = torch.tensor(0.6, dtype=torch.float64), torch.linspace(0, 6, 7, dtype=torch.float64)
    at = r * torch.stack([theta.cos(), theta.sin()], -1)
    for k, c in enumerate(survival.coefficients()):
        l = (k + 1) // 2
        wave = (theta * l).cos() if k % 2 or k == 0 else (theta * l).sin()
        torch.testing.assert_close(survival.kernel(c)(at), (1 - r**2) * r**l * wave, rtol=0, atol=1e-14)


def test_the_cube_is_one_and_a_loop_around_a_corner_a_quarter_turn():
    box = survival.cube(6)
    assert box.areas.sum().item() == pytest.approx(6, abs=1e-12)
    defect = angle_defects(box)
    corners = defect > 1e-9
    assert int(corners.sum()) == 8
    torch.testing.assert_close(defect[corners], torch.full((8,), math.pi / 2, dtype=torch.float64))
    for corner in corners.nonzero()[:, 0].tolist():
        loop = survival.around(box, corner, 0.45)
        assert holonomy(box, loop)[0].item() == pytest.approx(math.pi / 2, abs=1e-12)
