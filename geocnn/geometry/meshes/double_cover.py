"""The orientation double cover of triangles: every face twice, as given and turned over.

Copies of neighbouring faces are joined where they run around in the same sense. Above a component with one
side the cover is connected and has two sides; above any other component it is two copies of that component.
The two copies of a vertex are the two senses of going around it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.geometry.core.half_edges import components, edges_of, following, sides_of
from geocnn.geometry.meshes.triangulation import Triangulation


def double_cover(faces: Int64[Tensor, "f 3"], n: int) -> Int64[Tensor, "2*f 3"]:
    """Return the oriented faces of the cover of a 2-manifold with n vertices.

    Face f is as given; face f + F is f turned over, with its second and third corner swapped. Vertices v and
    v + n lie above v; v is the copy whose sense agrees with the first face at v as given.

    >>> double_cover(torch.tensor([[0, 1, 2]]), 3).tolist()
    [[0, 1, 2], [3, 5, 4]]
    """
    h, g, same = sides_of(faces, edges_of(faces, n))
    twice = torch.cat([faces, faces[:, [0, 2, 1]]])
    # half-edge k of a face is half-edge 2 − k of the same face turned over
    over_h, over_g = (k - k % 3 + 2 - k % 3 + faces.numel() for k in (h, g))
    one = torch.cat([h, over_h])
    two = torch.cat([torch.where(same, over_g, g), torch.where(same, g, over_g)])
    # now neighbours run through their common edge in opposite directions: one starts where the other ends
    after_one, after_two = following(one), following(two)
    label = components(twice.numel(), torch.cat([one, after_one]), torch.cat([after_two, two]))
    vertex = twice.flatten()
    first = torch.full((n,), twice.numel(), device=faces.device).scatter_reduce_(0, vertex, label, "amin")
    return (vertex + n * (label != first[vertex])).view(-1, 3)


def other_sense(t: Triangulation) -> Float64[Tensor, " v"]:
    """Return, for each vertex, the polar direction of its axis at the vertex's other copy.

    The triangulation is one of faces by `double_cover`. The polar direction a at one copy is the polar
    direction other_sense − a at the other copy.
    """
    n, f = len(t.vertices) // 2, len(t.faces) // 2
    with_faces = (t.fan_ptr.diff() > 0).nonzero()[:, 0]
    axis = t.fan[t.fan_ptr[with_faces]]
    # in the same corner turned over the axis is the second side
    corner = 3 * ((axis // 3 + f) % (2 * f)) + (3 - axis % 3) % 3
    copy = (with_faces + n) % (2 * n)
    polar = t.polar.new_zeros(2 * n)
    polar[with_faces] = t.polar[corner] + t.angle[corner] * t.scale[copy]
    return polar
