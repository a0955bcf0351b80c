"""Surfaces seen through their double cover: one whose points lie two by two over those of the quotient.

An isometry of the cover without fixed points swaps the two. Geodesics are lifted to the cover, from the
chosen point of each pair; what is met there is read at the chosen point, its gauge carried along by the
isometry, which reverses the orientation. So a surface of one side gets its transporters, which flip, from one
of two.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.results import Disc, Exp, Log, Placed
from geocnn.geometry.core.surface import Surface
from geocnn.groups.planar import Element, compose, inverse


@dataclass(frozen=True, eq=False, repr=False)
class Quotient(Surface):
    """`cover`, a surface of 2N points in its own frames, modulo an isometry that swaps them two by two.

    point [2N]: the point each of them lies over. (turn, other) [2N]: the element from the axes of that point,
    which are those of the chosen one of the two, to those of the cover's; other marks the ones that are not
    chosen.
    """

    cover: Surface
    point: Tensor
    turn: Tensor
    other: Tensor

    @property
    def conjugate(self) -> float:
        return self.cover.conjugate

    @property
    def extent(self) -> float:
        return self.cover.extent

    @abstractmethod
    def _image(self, placed: Placed) -> Placed:
        """Points of the cover where the isometry takes them, their frames carried along."""

    @abstractmethod
    def _folded(self, e: Exp) -> Exp:
        """The end points in the cover as points of the quotient."""

    def _exp(self, base: Placed, vectors: Tensor, reflect: bool = False) -> Exp:
        return self._lowered(self.cover._exp(base, vectors, reflect))

    def _lowered(self, e: Exp) -> Exp:
        """Ends in the cover as ends here."""
        e = self._folded(e)
        angle, flip = self._carried(e.source, e.angle, e.flip)
        return e._replace(source=self.point[e.source], angle=angle, flip=flip)

    def _carried(self, source: Tensor, angle: Tensor, flip: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Transporters from the axes of points of the cover as transporters from the frames below them."""
        return compose((angle, flip), self._lift(source))

    def _lift(self, point: Tensor) -> Element:
        """The elements from the frames below points of the cover to the axes there."""
        at = self.point[point]
        own = self.anchor[at], None if self.flipped is None else self.flipped[at]
        return compose((self.turn[point], self.other[point]), inverse(own))

    def _below(self, c: Connection) -> Connection:
        """A connection between axes of the cover as one between the frames below."""
        angle, flip = compose(inverse(self._lift(c.tail)), compose((c.angle, c.flip), self._lift(c.head)))
        return Connection(self.point[c.tail], self.point[c.head], angle, flip)

    def _curvature(self) -> Tensor:
        return self.cover._curvature()[~self.other]

    def _log(self, base: Placed, target: Placed) -> Log:
        return self._nearer(self.cover._log(base, target), self.cover._log(base, self._image(target)))

    def _nearer(self, here: Log, there: Log) -> Log:
        """Of the logs to the two points of each pair the shorter one."""
        nearer = there.vectors.norm(dim=-1) < here.vectors.norm(dim=-1) * (1 - 1e-12)
        use = there.reached & (nearer | ~here.reached)

        def chosen(a: Tensor | None, b: Tensor | None) -> Tensor:
            none = torch.zeros_like(use)
            a, b = none if a is None else a, none if b is None else b
            return torch.where(use.view(-1, *[1] * (a.ndim - 1)), b, a)

        fields = [chosen(a, b) for a, b in zip(here[:4], there[:4], strict=True)]
        return Log(*fields, met=None if here.met is None else chosen(here.met, there.met))

    def _disc(self, base: Placed, radius: float) -> Disc:
        """A point is met on each way that leads to one of the two over it, as exp meets it."""
        found = self.cover._disc(base, radius)
        angle, flip = self._carried(found.source, found.log.angle, found.log.flip)
        log = found.log._replace(angle=angle, flip=flip)
        return found._replace(source=self.point[found.source], log=log)

    @property
    def _pads(self) -> bool:
        return self.cover._pads

    def is_same_as(self, other: Surface) -> bool:
        return isinstance(other, type(self)) and self.cover.is_same_as(other.cover)
