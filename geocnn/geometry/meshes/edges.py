"""Connections of a triangulation: between vertices along its edges, and between faces across its edges."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.half_edges import following
from geocnn.geometry.meshes.triangulation import Triangulation


def halves(t: Triangulation) -> Int64[Tensor, " e"]:
    """Return one half-edge per edge, of two the lower."""
    h = torch.arange(len(t.tail), device=t.faces.device)
    return h[(t.twin < 0) | (h < t.twin)]


def along_edges(t: Triangulation, h: Int64[Tensor, " e"]) -> Connection:
    """Return the transport along half-edges h, between the axes of their two ends.

    A direction keeps its polar angle to the edge: the direction along the edge at one end becomes the
    direction along the edge at the other.
    """
    onward = following(h)
    head = t.tail[onward]
    # the direction back along the edge from its head: one corner past the face's next half-edge
    back = t.polar[onward] + t.angle[onward] * t.scale[head]
    return Connection(t.tail[h], head, t.polar[h] - back - math.pi)


def hinge(t: Triangulation, h: Int64[Tensor, " k"]) -> Float64[Tensor, " k"]:
    """Return the angles that take directions in the face across h to directions in h's own face, if both
    faces are laid flat.
    """
    return torch.angle(-t.side[h] * t.side[t.twin[h]].conj())


def across_edges(t: Triangulation, h: Int64[Tensor, " e"]) -> Connection:
    """Return the dual connection: faces are its points, joined across the half-edges h that have a twin.

    The gauge of a face has e₁ along the face's first edge. Angles are not rescaled, so the holonomy around a
    vertex is its angle defect, and all curvature of the mesh sits in these defects.
    """
    h = h[t.twin[h] >= 0]
    return Connection(h // 3, t.twin[h] // 3, hinge(t, h))
