"""Discs are unfolded once per level: a level's stencil, the next level and the stencil to it share them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geocnn.geometry import mesh
from geocnn.geometry.meshes import discs
from tests.shapes import beside, jittered_sphere


def alone(surface, coarser, radius: float):
    """The stencils of a level and to the next, each by itself."""
    return surface.stencil(radius, kind="log"), surface.stencil(radius, kind="log", targets=coarser)


@pytest.mark.parametrize("spacings", [2.0, 2.5, 3.5])
@pytest.mark.parametrize("turned", [False, True])
def test_shared_discs_are_those_that_each_stencil_would_make(spacings, turned):
    """Sums over a disc round differently where it is part of a wider one, or in another block."""
    s = mesh(*beside(jittered_sphere(300), jittered_sphere(100, seed=1)))
    if turned:
        s = s.turn_frames(torch.linspace(0, 5, s.n_points))
    radius = spacings * s.spacing
    h, coarser = s.hierarchy(levels=3, radius=radius, kind="log"), s.coarser()
    levels = [(s, coarser, radius), (coarser, coarser.coarser(), 2 * radius)]
    for i, level in enumerate(levels):
        for ours, theirs in zip((h.stencils[i], h.down[i]), alone(*level), strict=True):
            assert ours.metadata() == theirs.metadata()
            for a, b in zip(ours.tensors().values(), theirs.tensors().values(), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("most", "times"), [(1e9, 1), (0, 2)])
def test_each_disc_is_unfolded_once_unless_there_are_too_many_to_keep(most, times, monkeypatch):
    unfold, bases = discs.unfold, []

    def counted(t, base: Tensor, *arguments, **options):
        bases.append(len(base))
        return unfold(t, base, *arguments, **options)

    s = mesh(*jittered_sphere(400))
    monkeypatch.setattr("geocnn.geometry.meshes.levels.unfold", counted)
    monkeypatch.setattr(discs, "unfold", counted)
    monkeypatch.setattr("geocnn.geometry.meshes.surface.MOST_PAIRS", most)
    s.hierarchy(levels=3, kind="log")
    reading = 100 + 25
    once = 400 + 100 + 25
    assert sum(bases) == once + reading + (times - 1) * (400 + 100)
