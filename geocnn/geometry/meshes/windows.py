"""Windows, their sources, what they see, and the paths found: the values that `unfold` works on."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Complex128, Float64, Int64
from torch import Tensor

Parts = TypeVar("Parts", bound=tuple)

STRAIGHT, BENT, JOINED = range(3)
"""Kinds of sources: a base; a vertex where paths bend; a point that stands for several sources."""


class Sources(NamedTuple):
    """Points from which rays leave in straight lines, in a plane of their own with the source at 0.

    distance: length of the path from the base to the source. kind: one of STRAIGHT, BENT, JOINED. A ray at
    the angle a in the source's plane belongs to a path that leaves the base in the polar direction `leaving`
    + a · `leaving_slope`. That direction, transported along the path to a point on the ray, is turned from
    the ray's own direction by `turn` − (`first` + a · `first_slope`).
    """

    base: Int64[Tensor, " s"]
    kind: Int64[Tensor, " s"]
    distance: Float64[Tensor, " s"]
    leaving: Float64[Tensor, " s"]
    leaving_slope: Float64[Tensor, " s"]
    turn: Float64[Tensor, " s"]
    first: Float64[Tensor, " s"]
    first_slope: Float64[Tensor, " s"]


class Windows(NamedTuple):
    """Bundles of rays that look across a half-edge, in the plane of their source.

    source: row of `Sources`. edge: the half-edge that the window looks across, with its tail at `right` and
    its head at `left`. low, high: the outermost rays, as unit vectors.
    """

    source: Int64[Tensor, " w"]
    edge: Int64[Tensor, " w"]
    right: Complex128[Tensor, " w"]
    left: Complex128[Tensor, " w"]
    low: Complex128[Tensor, " w"]
    high: Complex128[Tensor, " w"]


class Sightings(NamedTuple):
    """Vertices that sources see, in the plane of the source.

    corner: the clockwise half-edge of the corner in which the ray reaches the vertex. place: where the vertex
    lies. side: that half-edge as a vector. touches: whether the ray passes (nearly) through another vertex.
    """

    source: Int64[Tensor, " p"]
    corner: Int64[Tensor, " p"]
    place: Complex128[Tensor, " p"]
    side: Complex128[Tensor, " p"]
    touches: Bool[Tensor, " p"]


class Unfolded(NamedTuple):
    """P pairs (base, vertex), sorted, and the shortest path of each pair.

    base: position in the list of bases. vector: the path's length, in the polar direction in which it leaves
    the base. arrival: the polar direction, at the vertex, of the vector that is parallel to that direction
    along the path. met: whether the straightest geodesic along `vector` ends at the vertex; `aim.CLOSE` says
    how closely; it is false where windows were joined. Where only a slightly turned vector leads there,
    `vector` and `arrival` are turned.
    """

    base: Int64[Tensor, " p"]
    vertex: Int64[Tensor, " p"]
    vector: Complex128[Tensor, " p"]
    arrival: Float64[Tensor, " p"]
    met: Bool[Tensor, " p"]


def directions(
    sources: Sources, source: Int64[Tensor, " k"], ray: Complex128[Tensor, " k"]
) -> tuple[Float64[Tensor, " k"], Float64[Tensor, " k"]]:
    """Return (leaving, turn) of rays, as `Sources` explains them."""
    angle = torch.angle(ray)
    leaving, leaving_slope, turn, first, first_slope = (take(x, source) for x in sources[3:])
    return leaving + angle * leaving_slope, turn - (first + angle * first_slope)


def concatenated(*parts: Parts) -> Parts:
    """Concatenate tuples of tensors, field by field."""
    return type(parts[0])(*(torch.cat(x) for x in zip(*parts, strict=True)))


def selected(values: Parts, k: Tensor) -> Parts:
    """Select rows k from every tensor of a tuple."""
    return type(values)(*(take(x, k) for x in values))


def take(x: Tensor, k: Tensor) -> Tensor:
    # half the time of x[k]
    return x.index_select(0, k)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Return the signed area of the parallelogram of two complex vectors."""
    return (a.conj() * b).imag
