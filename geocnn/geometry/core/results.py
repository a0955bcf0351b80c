"""What a surface's exp, log and disc give, and where they start: points with a gauge, points inside faces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Exp(NamedTuple):
    """exp_p(v) for K pairs, and how to read a field there.

    points [K, d]; source, weight, angle [K, S], flip [K, S] or None: the value at the end point, in the gauge
    of the base, is Σ_s weight · rho(angle, flip) x[source]. inside [K]: no boundary stopped it. travelled
    [K]: the length gone. On a mesh also the end's face [K] (−1 where none was entered) and its barycentric
    coordinates [K, 3].
    """

    points: Tensor
    source: Tensor
    weight: Tensor
    angle: Tensor
    flip: Tensor | None
    inside: Tensor
    travelled: Tensor
    face: Tensor | None = None
    barycentric: Tensor | None = None


class Log(NamedTuple):
    """log_p(q) for K pairs: vectors [K, 2] in the base's frame; (angle, flip) [K] takes q's gauge to p's;
    reached [K].

    Not reached is what no geodesic found leads to: points on another component, a sphere's antipodes, points
    of a cone behind its apex. On a mesh the vector is the shortest path's: its length, in the direction it
    sets out in. met [K] says where exp leads back to q; elsewhere the path bends around vertices.
    """

    vectors: Tensor
    angle: Tensor
    flip: Tensor | None
    reached: Tensor
    met: Tensor | None = None

    @property
    def distance(self) -> Tensor:
        """The lengths of the vectors [K]; NaN where not reached."""
        return torch.where(self.reached, self.vectors.norm(dim=-1), math.nan)

    def take(self, index: Tensor | slice) -> Log:
        return Log(*(None if t is None else t[index] for t in self))  # type: ignore[arg-type]


class SurfacePoint(NamedTuple):
    """K points inside faces of a mesh: face [K] int64, barycentric [K, 3], weights of the face's corners."""

    face: Tensor
    barycentric: Tensor


class Disc(NamedTuple):
    """P pairs (base, source) no farther apart than a radius, sorted by base: base and source [P], the log of
    each pair, and jacobian [P], the area element of exp over that of the tangent plane.

    Within `_disc` bases are numbered by their place in the list, in `Surface.disc` by their ids.
    """

    base: Tensor
    source: Tensor
    log: Log
    jacobian: Tensor


class Placed(NamedTuple):
    """Points with a gauge: points [K, d], frames [K, 2, d], axes [K, 2, d], and (anchor, flipped) [K], the
    element that takes components in the axes to components in the frames; flipped may be None. On a mesh
    also the vertex [K] each point is.
    """

    points: Tensor
    frames: Tensor
    axes: Tensor
    anchor: Tensor
    flipped: Tensor | None
    vertex: Tensor | None = None

    def take(self, index: Tensor) -> Placed:
        return Placed(*(None if t is None else t[index] for t in self))  # type: ignore[arg-type]


def blocks(points: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Points [K, d] in blocks of at most `size`, each with the place of its first; of no points one, empty.

    >>> [(k, len(block)) for k, block in blocks(torch.zeros(5, 2), 3)]
    [(0, 3), (3, 2)]
    """
    return zip(range(0, max(1, len(points)), size), points.split(size), strict=True)
