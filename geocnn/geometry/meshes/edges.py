"""The edges of a triangulation as connections: between its vertices along them, between its faces across."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.half_edges import following
from geocnn.geometry.meshes.triangulation import Triangulation


def halves(t: Triangulation) -> Tensor:
    """One half-edge of each edge [E], the lower of two."""
    h = torch.arange(len(t.tail), device=t.faces.device)
    return h[(t.twin < 0) | (h < t.twin)]


def along_edges(t: Triangulation, h: Tensor) -> Connection:
    """The edges that half-edges h [E] run along, between the axes of their ends.

    A direction keeps its polar angle to the edge: what leaves along it arrives along it.
    """
    onward = following(h)
    head = t.tail[onward]
    # the edge seen from its head, counted from the face's other edge there
    back = t.polar[onward] + t.angle[onward] * t.scale[head]
    return Connection(t.tail[h], head, t.polar[h] - back - math.pi)


def hinge(t: Triangulation, h: Tensor) -> Tensor:
    """The angle [K] from the plane of the face across half-edges h [K] to that of h's own face, laid flat
    beside it.
    """
    return torch.angle(-t.side[h] * t.side[t.twin[h]].conj())


def across_edges(t: Triangulation, h: Tensor) -> Connection:
    """The dual connection: faces as points, in the gauge of their planes (e₁ along the first edge), joined
    across those of the half-edges h that have a twin.

    Nothing is rescaled here, so the holonomy around a vertex is its angle defect; every curvature of the mesh
    is a defect.
    """
    h = h[t.twin[h] >= 0]
    return Connection(h // 3, t.twin[h] // 3, hinge(t, h))
