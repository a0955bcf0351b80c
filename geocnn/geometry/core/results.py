"""The results of exp, log and disc on a surface, and where they start: points with a gauge or in faces."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64, Int64, Shaped
from torch import Tensor

GEODESICS, ELSEWHERE = {"cpu": 1 << 14}, 1 << 18
"""Geodesics that are followed at once: on the way they take several times the memory of the answer."""


class Exp(NamedTuple):
    """exp_p(v) for K pairs, and how to read a field there.

    A field's value at the end point, in the gauge of the base, is Σ_s weight · rho(angle, flip) x[source].
    `inside` holds where no boundary stopped the geodesic; `travelled` is the distance covered. On a mesh
    `face` (−1 where the geodesic entered none) and `barycentric` say where it ends.
    """

    points: Float64[Tensor, "k d"]
    source: Int64[Tensor, "k s"]
    weight: Float64[Tensor, "k s"]
    angle: Float64[Tensor, "k s"]
    flip: Bool[Tensor, "k s"] | None
    inside: Bool[Tensor, " k"]
    travelled: Float64[Tensor, " k"]
    face: Int64[Tensor, " k"] | None = None
    barycentric: Float64[Tensor, "k 3"] | None = None


def geodesics_at_once(device: torch.device) -> int:
    """Return how many geodesics are followed together."""
    return GEODESICS.get(device.type, ELSEWHERE)


def exp_of_parts(parts: Iterable[Exp], n: int) -> Exp:
    """Return the exp of n pairs, given those of some pairs after those of others; columns are allocated once.

    >>> import geocnn.geometry as geometry
    >>> e = geometry.torus((4, 4)).exp([0, 5], [[1.0, 0.0], [0.0, 1.0]])
    >>> one, other = (Exp(*(None if t is None else t[i : i + 1] for t in e)) for i in range(2))
    >>> torch.equal(exp_of_parts([one, other], 2).points, e.points)
    True
    """
    whole, start = None, 0
    for part in parts:
        if len(part.points) == n:
            return part
        if whole is None:
            whole = Exp(*(None if t is None else t.new_empty(n, *t.shape[1:]) for t in part))  # type: ignore[arg-type]
        stop = start + len(part.points)
        for column, t in zip(whole, part, strict=True):
            if column is not None and t is not None:
                column[start:stop] = t
        start = stop
    assert whole is not None
    return whole


class Log(NamedTuple):
    """log_p(q) for K pairs: vectors in the base's frame; (angle, flip) takes q's gauge to p's.

    `reached` is False where log has no geodesic to q: on another component, at a sphere's antipode, behind a
    cone's apex. On a mesh a vector has the length of the shortest path and points where the path sets out.
    `met` is True where exp leads back to q; elsewhere the path bends around vertices.
    """

    vectors: Float64[Tensor, "k 2"]
    angle: Float64[Tensor, " k"]
    flip: Bool[Tensor, " k"] | None
    reached: Bool[Tensor, " k"]
    met: Bool[Tensor, " k"] | None = None

    @property
    def distance(self) -> Float64[Tensor, " k"]:
        """Return the lengths of the vectors; NaN where q is not reached.

        >>> import geocnn.geometry as geometry
        >>> geometry.plane((1, 4)).log([0, 0], [1, 3]).distance
        tensor([1., 3.], dtype=torch.float64)
        """
        return torch.where(self.reached, self.vectors.norm(dim=-1), math.nan)

    def take(self, index: Shaped[Tensor, " n"] | slice) -> Log:
        """Return some of the pairs, chosen by ids, a mask or a slice."""
        return Log(*(None if t is None else t[index] for t in self))  # type: ignore[arg-type]


class SurfacePoint(NamedTuple):
    """K points inside faces of a mesh; barycentric coordinates are the weights of the face's corners."""

    face: Int64[Tensor, " k"]
    barycentric: Float64[Tensor, "k 3"]


class Disc(NamedTuple):
    """Pairs (base, source) no farther apart than a radius, sorted by base, with the log of each pair.

    `jacobian` is the area element of exp divided by that of the tangent plane. `_disc` numbers bases by their
    place in the list, `Surface.disc` by their ids.
    """

    base: Int64[Tensor, " pairs"]
    source: Int64[Tensor, " pairs"]
    log: Log
    jacobian: Float64[Tensor, " pairs"]


class Placed(NamedTuple):
    """Points with a gauge. (anchor, flipped) takes components in the axes to components in the frames.

    On a mesh `vertex` is the id of the vertex at each point.
    """

    points: Float64[Tensor, "*k d"]
    frames: Float64[Tensor, "*k 2 d"]
    axes: Float64[Tensor, "*k 2 d"]
    anchor: Float64[Tensor, "*k"]
    flipped: Bool[Tensor, "*k"] | None
    vertex: Int64[Tensor, "*k"] | None = None

    def take(self, index: Shaped[Tensor, "*n"] | slice) -> Placed:
        """Return some of the points, chosen by ids, a mask or a slice."""
        return Placed(*(None if t is None else t[index] for t in self))  # type: ignore[arg-type]
