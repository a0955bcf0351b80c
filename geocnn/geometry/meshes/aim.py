"""Whether a straightest geodesic follows a shortest path, decided by tracing it to its end.

A path that touches a vertex may be straight on one side of it only: there the corners between its two halves
sum to π, on the other side to more. A geodesic through the vertex halves the sum and leads elsewhere, and at
the boundary it stops. One that passes beside the vertex, on the side where the path is straight, gets there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geocnn.geometry.meshes.trace import AT_VERTEX, Traced, trace_from_vertices
from geocnn.geometry.meshes.triangulation import Triangulation

ASIDE = 5e-11, -5e-11, 2e-9, -2e-9
"""Radians by which a path is turned, the first that help, so that it passes beside the vertices it touches. A
vertex is seen up to `unfolding.SIGHT` beside a path; it is passed at AT_VERTEX of an edge, which is a greater
angle where faces are narrow.
"""

CLOSE = 1e-8
"""The share of its length by which a geodesic may miss its goal and still be said to lead there: what ASIDE
turns it by grows past curved vertices. An end as near to a corner counts as at it (`tracing.AT_CORNER`).
"""


def aimed(
    t: Triangulation, start: Tensor, polar: Tensor, length: Tensor, goal: Tensor
) -> tuple[Tensor, Tensor]:
    """(turn, met) [K] of paths of some lengths that leave vertices `start` in polar directions for vertices
    `goal`: by what to turn them so that the geodesic leads there, and whether one does; 0 where none does.
    """
    found, met = torch.zeros_like(polar), torch.zeros_like(polar, dtype=torch.bool)
    astray = torch.arange(len(polar), device=polar.device)
    for turned in (0.0, *ASIDE):
        if not len(astray):
            break
        turn = turned * t.scale[start[astray]]
        end = trace_from_vertices(t, start[astray], polar[astray] + turn, length[astray])
        leads = end.inside & (_miss(t, end, goal[astray]) <= CLOSE * length[astray])
        found[astray[leads]], met[astray[leads]] = turn[leads], True
        astray = astray[~leads]
    return found, met


def touching(t: Triangulation) -> Tensor:
    """Radians [] beside a path within which a vertex may be one that tracing goes through.

    Paths that touch none need no tracing, except across faces so narrow that their unfolding rounds by more
    than CLOSE: there all are said to touch.
    """
    return torch.where(1e-15 * t.narrowness > CLOSE, math.pi, 2 * AT_VERTEX * t.narrowness)


def _miss(t: Triangulation, end: Traced, goal: Tensor) -> Tensor:
    """The distances [K] of ends from vertices, infinite where the vertex is no corner of the end's face."""
    h = 3 * end.face.clamp_min(0)[:, None] + torch.arange(3, device=goal.device)
    apart = (end.place[:, None] - t.place[h]).abs()
    return torch.where(t.tail[h] == goal[:, None], apart, math.inf).amin(1)
