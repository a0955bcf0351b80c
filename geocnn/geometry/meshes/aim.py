"""Decide whether a straightest geodesic follows a shortest path, by tracing the geodesic to its end.

      goal             A shortest path may touch a vertex v and be straight on one side of it only: there
       │               the corners between its two halves sum to π, on the other side to more. A geodesic
more   v   π           that goes exactly through v divides the corners into equal sums, so it leads to
       │               another place; if v lies on the boundary it stops. A geodesic that passes beside v,
     start             on the side of π, leads to the goal.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from geocnn.geometry.meshes.trace import AT_VERTEX, Traced, trace_from_vertices
from geocnn.geometry.meshes.triangulation import Triangulation

ASIDE = 5e-11, -5e-11, 2e-9, -2e-9
"""Radians by which a path is turned so that it passes beside the vertices it touches; the first that works is
used. Unfolding sees vertices up to `unfold.SIGHT` radians beside a path. Tracing goes through vertices nearer
than AT_VERTEX of an edge, which is a greater angle where faces are narrow.
"""

CLOSE = 1e-8
"""A geodesic leads to its goal if it misses it by at most this share of its length: a deviation of ASIDE
grows where the geodesic passes curved vertices. An end as near to a corner counts as at it
(`trace.AT_CORNER`).
"""


def aimed(
    t: Triangulation,
    start: Int64[Tensor, " k"],
    polar: Float64[Tensor, " k"],
    length: Float64[Tensor, " k"],
    goal: Int64[Tensor, " k"],
) -> tuple[Float64[Tensor, " k"], Bool[Tensor, " k"]]:
    """Aim geodesics of given lengths from vertices `start`, in polar directions, at vertices `goal`.

    Return (turn, met): the polar angle by which each has to be turned to lead to its goal, and whether that
    works. The turn is 0 where it does not.
    """
    turns, met = torch.zeros_like(polar), torch.zeros_like(polar, dtype=torch.bool)
    astray = torch.arange(len(polar), device=polar.device)
    for aside in (0.0, *ASIDE):
        if not len(astray):
            break
        turn = aside * t.scale[start[astray]]
        end = trace_from_vertices(t, start[astray], polar[astray] + turn, length[astray])
        leads = end.inside & (_miss(t, end, goal[astray]) <= CLOSE * length[astray])
        turns[astray[leads]], met[astray[leads]] = turn[leads], True
        astray = astray[~leads]
    return turns, met


def touching(t: Triangulation) -> Float64[Tensor, ""]:
    """Return the angle in radians beside a path within which tracing may go through a vertex.

    A path with no vertex that near needs no tracing: its geodesic leads to the goal. If faces are so narrow
    that unfolding rounds by more than CLOSE, this is π, so that all paths are traced.
    """
    return torch.where(1e-15 * t.narrowness > CLOSE, math.pi, 2 * AT_VERTEX * t.narrowness)


def _miss(t: Triangulation, end: Traced, goal: Int64[Tensor, " k"]) -> Float64[Tensor, " k"]:
    """Return the distances of ends from their goals, infinite where it is no corner of the end's face."""
    h = 3 * end.face.clamp_min(0)[:, None] + torch.arange(3, device=goal.device)
    distance = (end.place[:, None] - t.place[h]).abs()
    return torch.where(t.tail[h] == goal[:, None], distance, math.inf).amin(1)
