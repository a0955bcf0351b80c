"""A Quotient computes its geodesics on its double cover, which has two points over each of the quotient's.

An isometry of the cover without fixed points swaps the two; one of them is chosen. Geodesics are lifted to
the cover and start from the chosen point of each pair. Where they end at the other point of a pair, the
isometry carries its gauge to the chosen one. The isometry reverses the orientation, so a one-sided surface
gets its transporters, which flip, from a two-sided one.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.results import Disc, Exp, Log, Placed
from geocnn.geometry.core.surface import Surface
from geocnn.groups.planar import Element, compose, inverse


@dataclass(frozen=True, eq=False, repr=False)
class Quotient(Surface):
    """`cover`, a surface of 2N points in its own frames, modulo an isometry that swaps pairs of them.

    `point` says which point of the quotient each point of the cover lies over; that point has the axes of the
    chosen one of the two. (turn, other) is the element from these axes to the axes of the cover's point;
    `other` marks the points of the cover that are not chosen.
    """

    cover: Surface
    point: Int64[Tensor, " 2n"]
    turn: Float64[Tensor, " 2n"]
    other: Bool[Tensor, " 2n"]

    @property
    def conjugate(self) -> float:
        return self.cover.conjugate

    @property
    def extent(self) -> float:
        return self.cover.extent

    @abstractmethod
    def _image(self, placed: Placed) -> Placed:
        """Apply the isometry to points of the cover, with their frames."""

    @abstractmethod
    def _folded(self, e: Exp) -> Exp:
        """Convert end points in the cover to points of the quotient."""

    def _exp(self, base: Placed, vectors: Float64[Tensor, "k 2"], reflect: bool = False) -> Exp:
        return self._lowered(self.cover._exp(base, vectors, reflect))

    def _lowered(self, e: Exp) -> Exp:
        """Convert an Exp of the cover to one of the quotient."""
        e = self._folded(e)
        angle, flip = self._carried(e.source, e.angle, e.flip)
        return e._replace(source=self.point[e.source], angle=angle, flip=flip)

    def _carried(
        self,
        source: Int64[Tensor, "*k"],
        angle: Float64[Tensor, "*k"],
        flip: Bool[Tensor, "*k"] | None,
    ) -> Element:
        """Convert transporters from axes of the cover to transporters from the frames below them."""
        return compose((angle, flip), self._lift(source))

    def _lift(self, point: Int64[Tensor, "*k"]) -> Element:
        """Return the elements from the frames below points of the cover to the axes there."""
        at = self.point[point]
        own = self.anchor[at], None if self.flipped is None else self.flipped[at]
        return compose((self.turn[point], self.other[point]), inverse(own))

    def _below(self, c: Connection) -> Connection:
        """Convert a connection between axes of the cover to one between the frames below."""
        angle, flip = compose(inverse(self._lift(c.tail)), compose((c.angle, c.flip), self._lift(c.head)))
        return Connection(self.point[c.tail], self.point[c.head], angle, flip)

    def _curvature(self) -> Float64[Tensor, " n"]:
        return self.cover._curvature()[~self.other]

    def _log(self, base: Placed, target: Placed) -> Log:
        return self._nearer(self.cover._log(base, target), self.cover._log(base, self._image(target)))

    def _nearer(self, here: Log, there: Log) -> Log:
        """Return the shorter of the logs to the two points of each pair."""
        nearer = there.vectors.norm(dim=-1) < here.vectors.norm(dim=-1) * (1 - 1e-12)
        use = there.reached & (nearer | ~here.reached)

        def shorter(a: Tensor | None, b: Tensor | None) -> Tensor:
            none = torch.zeros_like(use)
            a, b = none if a is None else a, none if b is None else b
            return torch.where(use.view(-1, *[1] * (a.ndim - 1)), b, a)

        fields = [shorter(a, b) for a, b in zip(here[:4], there[:4], strict=True)]
        return Log(*fields, met=None if here.met is None else shorter(here.met, there.met))

    def _disc(self, base: Placed, radius: float) -> Disc:
        """Return one pair per geodesic that leads to either of the two points over a point."""
        pairs = self.cover._disc(base, radius)
        angle, flip = self._carried(pairs.source, pairs.log.angle, pairs.log.flip)
        log = pairs.log._replace(angle=angle, flip=flip)
        return pairs._replace(source=self.point[pairs.source], log=log)

    @property
    def _pads(self) -> bool:
        return self.cover._pads

    def is_same_as(self, other: Surface) -> bool:
        return isinstance(other, type(self)) and self.cover.is_same_as(other.cover)
