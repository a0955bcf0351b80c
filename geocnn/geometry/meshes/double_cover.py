"""The orientation double cover of triangles: every face twice, as given and turned over, joined as they fit.

Over a surface with one side it is a connected surface with two; over any other, two copies of it. The two
copies of a vertex are the two senses of going around it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geocnn.geometry.core.half_edges import components, edges_of, following, sides_of
from geocnn.geometry.meshes.triangulation import Triangulation


def double_cover(faces: Tensor, n: int) -> Tensor:
    """The faces [2F, 3] of the cover of a 2-manifold of n vertices, oriented.

    Face f is as given and f + F the same turned over, its second and third corner swapped. Vertices v and v +
    n lie over v; v is the one whose sense the first face at v has as given.

    >>> double_cover(torch.tensor([[0, 1, 2]]), 3).tolist()
    [[0, 1, 2], [3, 5, 4]]
    """
    h, g, same = sides_of(faces, edges_of(faces, n))
    twice = torch.cat([faces, faces[:, [0, 2, 1]]])
    # half-edge k of a face is half-edge 2 − k of the face turned over
    over_h, over_g = (k - k % 3 + 2 - k % 3 + faces.numel() for k in (h, g))
    one = torch.cat([h, over_h])
    two = torch.cat([torch.where(same, over_g, g), torch.where(same, g, over_g)])
    # now neighbours run through their edge in opposite directions: one starts where the other ends
    after_one, after_two = following(one), following(two)
    label = components(twice.numel(), torch.cat([one, after_one]), torch.cat([after_two, two]))
    vertex = twice.flatten()
    first = torch.full((n,), twice.numel(), device=faces.device).scatter_reduce_(0, vertex, label, "amin")
    return (vertex + n * (label != first[vertex])).view(-1, 3)


def other_sense(t: Triangulation) -> Tensor:
    """The polar direction [V] at each vertex's other copy of its axis, in a triangulation by `double_cover`.

    What is at polar direction a of one copy is at other_sense − a of the other.
    """
    n, f = len(t.vertices) // 2, len(t.faces) // 2
    with_faces = (t.fan_ptr.diff() > 0).nonzero()[:, 0]
    axis = t.fan[t.fan_ptr[with_faces]]
    # the same corner, turned over: the axis is its second side there
    corner = 3 * ((axis // 3 + f) % (2 * f)) + (3 - axis % 3) % 3
    there = (with_faces + n) % (2 * n)
    found = t.polar.new_zeros(2 * n)
    found[with_faces] = t.polar[corner] + t.angle[corner] * t.scale[there]
    return found
