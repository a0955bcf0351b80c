"""Flat surfaces on a regular grid: the plane's rectangle and its quotient, the torus.

Point (row i, column j) of shape (h, w) is number i·w + j, at x = j, y = i (a coarser level: centres of its
larger cells). Frames are e₁ = ∂_x, e₂ = ∂_y; the anchor is e₁. A pixel's cell reaches half a step around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.connection import Connection
from geocnn.geometry.surface import Disc, Exp, Log, Placed, Surface
from geocnn.groups.planar import TRIVIAL, compose


@dataclass(frozen=True, eq=False)
class Flat(Surface):
    """A rectangle of shape[0] × shape[1] square cells of side `step`; `periodic`: whether opposite sides are
    glued.
    """

    shape: tuple[int, int]
    step: float
    periodic: bool

    @property
    def _size(self) -> Tensor:
        """Width and height."""
        return self.points.new_tensor([self.shape[1], self.shape[0]]) * self.step

    def _exp(self, base: Placed, vectors: Tensor) -> Exp:
        v = (vectors[..., None] * base.frames).sum(1)
        length, inside = vectors.norm(dim=-1), torch.ones(len(v), dtype=torch.bool, device=v.device)
        portion = torch.ones_like(length)
        if not self.periodic:
            portion, inside = self._until_edge(base.points, v)
        end = base.points + portion[:, None] * v
        if self.periodic:
            end = (end + 0.5).remainder(self._size) - 0.5
        source, weight = self._bilinear(end)
        angle, flip = _turn(base.frames[:, None], self.frames[source], base.flipped, self.flipped, source)
        return Exp(end, source, weight, angle, flip, inside, portion * length)

    def _until_edge(self, p: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The portion of each segment p + t v, t in [0, 1], inside the rectangle, and whether that is all of
        it.
        """
        room = torch.where(v > 0, self._size - 0.5 - p, p + 0.5)
        # a segment that ends on the edge within rounding has not left it
        portion = (room / v.abs().clamp_min(1e-300)).amin(-1) * (1 + 1e-12)
        return portion.clamp(max=1), portion >= 1

    def _bilinear(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The four cells around each point; beyond an edge there is none, and its weight is zero."""
        cell = (points + 0.5) / self.step - 0.5
        low = cell.floor()
        t = cell - low
        corner = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], device=points.device)
        weight = torch.where(corner == 1, t[:, None], 1 - t[:, None]).prod(-1)
        at = low.to(torch.int64)[:, None] + corner
        n = torch.tensor([self.shape[1], self.shape[0]], device=points.device)
        if self.periodic:
            at = at.remainder(n)
        else:
            weight = weight * ((at >= 0) & (at < n)).all(-1)
            at = torch.minimum(at.clamp_min(0), n - 1)
        return at[..., 1] * self.shape[1] + at[..., 0], weight

    def _log(self, base: Placed, target: Placed) -> Log:
        v = self._difference(base.points, target.points)
        vectors = (base.frames * v[:, None]).sum(-1)
        angle, flip = _turn(base.frames, target.frames, base.flipped, target.flipped, None)
        return Log(vectors, angle, flip, torch.ones(len(v), dtype=torch.bool, device=v.device))

    def _difference(self, p: Tensor, q: Tensor) -> Tensor:
        v = q - p
        # into [−½, ½) of each side: of two ways as short as each other the same one at every point
        return v - (v / self._size + 0.5).floor() * self._size if self.periodic else v

    def _disc(self, base: Placed, radius: float) -> Disc:
        if self.periodic and 2 * radius > float(self._size.min()):
            raise GeometryError(
                f"a log disc of radius {radius} meets itself on a torus of size {self._size.tolist()}; "
                "use kind='exp' or a radius up to half the shorter side"
            )
        pairs = []
        for k, block in zip(range(0, len(base.points), 1024), base.points.split(1024), strict=True):
            near = self._difference(block[:, None], self.points).norm(dim=-1) <= radius * (1 + 1e-12)
            target, source = near.nonzero(as_tuple=True)
            pairs.append((target + k, source))
        target, source = (torch.cat(p) for p in zip(*pairs, strict=True))
        log = self._log(base.take(target), self.placed.take(source))
        return Disc(target, source, log, torch.ones_like(log.angle))

    def connection(self) -> Connection:
        """The cells to the right and below, found by exp, so that both ways to one neighbour count across a
        seam.
        """
        way = torch.arange(2, device=self.points.device).repeat_interleave(self.n_points)
        tail = torch.arange(self.n_points, device=self.points.device).repeat(2)
        base = self.placed.take(tail)
        angle, _ = compose((base.anchor, base.flipped), (way * (math.pi / 2), None))
        e = self._exp(base, self.step * torch.stack([angle.cos(), angle.sin()], -1))
        weight, slot = e.weight.max(1, keepdim=True)
        source, angle = e.source.gather(1, slot)[:, 0], e.angle.gather(1, slot)[:, 0]
        flip = None if e.flip is None else e.flip.expand_as(e.source).gather(1, slot)[:, 0]
        # beyond an edge of the rectangle there is no cell
        on = e.inside & (weight[:, 0] > 1 - 1e-6)
        return Connection(tail[on], source[on], angle[on], None if flip is None else flip[on])

    def is_same_as(self, other: Surface) -> bool:
        return (
            isinstance(other, Flat)
            and self.periodic == other.periodic
            and torch.equal(self._size, other._size)
        )

    def coarser(self) -> Flat:
        h, w = self.shape
        if h % 2 or w % 2:
            raise GeometryError(f"a grid of {h} x {w} cells cannot be halved; use even sides or fewer levels")
        return _flat((h // 2, w // 2), 2 * self.step, self.periodic)


def _turn(
    frame: Tensor, other: Tensor, flipped: Tensor | None, other_flipped: Tensor | None, source: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """(angle, flip) from the gauge `other` [..., 2, 2] to `frame`: flat transport moves no vector."""
    along = (frame * other[..., :1, :]).sum(-1)
    angle = torch.atan2(along[..., 1], along[..., 0])
    if flipped is None and other_flipped is None:
        return angle, None
    flip = torch.zeros_like(angle, dtype=torch.bool)
    if other_flipped is not None:
        flip = flip ^ (other_flipped if source is None else other_flipped[source])
    if flipped is not None:
        flip = flip ^ (flipped if source is None else flipped[:, None])
    return angle, flip


def _flat(shape: tuple[int, int], step: float, periodic: bool) -> Flat:
    h, w = shape
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    cells = torch.stack([x.flatten(), y.flatten()], 1).to(torch.float64)
    n = h * w
    frames = torch.eye(2, dtype=torch.float64).expand(n, 2, 2).contiguous()
    return Flat(
        points=(cells + 0.5) * step - 0.5,
        frames=frames,
        axes=frames,
        areas=torch.full((n,), step * step, dtype=torch.float64),
        anchor=torch.zeros(n, dtype=torch.float64),
        flipped=None,
        group=TRIVIAL,
        shape=(h, w),
        step=step,
        periodic=periodic,
    )


def _check_shape(shape: tuple[int, int]) -> tuple[int, int]:
    if (
        not isinstance(shape, (tuple, list))
        or len(shape) != 2
        or any(not isinstance(n, int) or n < 1 for n in shape)
    ):
        raise GeometryError(f"shape must be (rows, columns), two positive integers, got {shape!r}")
    return shape[0], shape[1]


def plane(shape: tuple[int, int]) -> Flat:
    """A rectangle of the plane, h × w unit cells: an image. Its transporters are all the identity.

    Raises GeometryError for a shape that is not two positive integers.

    >>> plane((2, 3)).points[4]
    tensor([1., 1.], dtype=torch.float64)
    """
    return _flat(_check_shape(shape), 1.0, periodic=False)


def torus(shape: tuple[int, int]) -> Flat:
    """The flat torus: that rectangle with opposite sides glued.

    >>> s = torus((4, 6)); s.n_points, float(s.areas.sum())
    (24, 24.0)
    """
    return _flat(_check_shape(shape), 1.0, periodic=True)
