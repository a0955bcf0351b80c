"""Flat surfaces on a regular grid are rectangles whose opposite sides are open, glued, or glued mirrored.

sides x    sides y    surface
open       open       plane           Point (row i, column j) of shape (h, w) has the id i·w + j and lies at
glued      open       cylinder        x = j, y = i (on a coarser level at the centre of its larger cell). A
mirrored   open       Möbius strip    cell extends half a step around its point. Frames are e₁ = ∂_x,
glued      glued      torus           e₂ = ∂_y; the anchor is e₁. Mirrored sides identify (x + width, y) with
mirrored   glued      Klein bottle    (x, height − 1 − y): crossing them turns ∂_y into −∂_y.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from geocnn.errors import GeometryError, ResolutionError
from geocnn.geometry.core.connection import Connection
from geocnn.geometry.core.near import logs_of, near_pairs
from geocnn.geometry.core.results import Disc, Exp, Log, Placed
from geocnn.geometry.core.surface import Surface
from geocnn.groups.planar import REFLECTION, TRIVIAL, Element, compose
from geocnn.lasting import one_thread


@dataclass(frozen=True, eq=False, repr=False)
class Flat(Surface):
    """A rectangle of shape[0] × shape[1] square cells of side `step`.

    `glued` says whether its two sides x = const are one, and whether its two sides y = const are; `mirrored`
    says whether the former are glued with y reversed. Sides that are not glued are edges.
    """

    shape: tuple[int, int]
    step: float
    glued: tuple[bool, bool]
    mirrored: bool

    @property
    def _size(self) -> Float64[Tensor, " 2"]:
        """Return width and height."""
        return self.points.new_tensor([self.shape[1], self.shape[0]]) * self.step

    def _exp(self, base: Placed, vectors: Float64[Tensor, "k 2"], reflect: bool = False) -> Exp:
        v = (vectors[..., None] * base.frames).sum(1)
        if reflect:
            portion, inside = torch.ones_like(v[:, 0]), torch.ones_like(v[:, 0], dtype=torch.bool)
        else:
            portion, inside = self._until_edge(base.points, v)
        end = base.points + portion[:, None] * v
        source, weight, mirror = self._bilinear(end, reflect)
        angle, flip = self._turn(base, self.placed.take(source), mirror)
        length = portion * vectors.norm(dim=-1)
        folded, _ = self._folded(end + 0.5, self._size, reflect)
        return Exp(folded - 0.5, source, weight, angle, flip, inside, length)

    def _until_edge(
        self, p: Float64[Tensor, "k 2"], v: Float64[Tensor, "k 2"]
    ) -> tuple[Float64[Tensor, " k"], Bool[Tensor, " k"]]:
        """Return the portion of each segment p + t v, t in [0, 1], before an edge, and whether it is all."""
        room = torch.where(v > 0, self._size - 0.5 - p, p + 0.5)
        room = torch.where(torch.tensor(self.glued, device=p.device), torch.inf, room)
        # a segment that ends on the edge within rounding has not left it
        portion = (room / v.abs().clamp_min(1e-300)).amin(-1) * (1 + 1e-12)
        return portion.clamp(max=1), portion >= 1

    def _folded(
        self, places: Float64[Tensor, "*k 2"], size: Float64[Tensor, " 2"], reflect: bool
    ) -> tuple[Float64[Tensor, "*k 2"], Float64[Tensor, "*k 2"] | None]:
        """Map places of the unrolled plane, from the rectangle's corner on, into a rectangle of that size.

        Also return the signs that vectors get on the way, or None where this surface changes none. Reflecting
        sides lead into the rectangle's mirror image; places beyond sides that stop do not move.
        """
        turns = (places / size).floor()
        glued = torch.tensor(self.glued, device=places.device)
        there = torch.where(glued | reflect, places - turns * size, places)
        odd = turns.remainder(2) == 1
        mirrored = odd & ~glued & reflect
        if self.mirrored:
            mirrored = torch.stack([mirrored[..., 0], mirrored[..., 1] ^ odd[..., 0]], -1)
        there = torch.where(mirrored, size - there, there)
        return there, 1 - 2 * mirrored.to(places) if self.mirrored or reflect else None

    def _bilinear(
        self, points: Float64[Tensor, "k 2"], reflect: bool = False
    ) -> tuple[Int64[Tensor, "k 4"], Float64[Tensor, "k 4"], Float64[Tensor, "k 4 2"] | None]:
        """Return the four cells around points of the unrolled plane, their weights, and the signs of vectors.

        There is no cell beyond an edge that stops, so its weight is zero; beyond an edge that reflects lie
        mirror images.
        """
        h, w = self.shape
        cell = (points + 0.5) / self.step - 0.5
        low = cell.floor()
        t = cell - low
        corner = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], device=points.device)
        weight = torch.where(corner == 1, t[:, None], 1 - t[:, None]).prod(-1)
        middle, mirror = self._folded(low[:, None] + corner + 0.5, self._size / self.step, reflect)
        column, row = middle.floor().to(torch.int64).unbind(-1)
        weight = weight * ((column >= 0) & (column < w) & (row >= 0) & (row < h))
        return row.clamp(0, h - 1) * w + column.clamp(0, w - 1), weight, mirror

    def _turn(self, base: Placed, other: Placed, mirror: Float64[Tensor, "k s 2"] | None) -> Element:
        """Return (angle, flip) [K, S] from the gauge of `other` [K, S] to that of the base [K].

        `mirror` are the signs that vectors get on the way; nothing else turns them.
        """
        e1, flips = other.frames[..., 0, :], [x for x in (other.flipped,) if x is not None]
        if base.flipped is not None:
            flips.append(base.flipped[:, None])
        if mirror is not None:
            e1 = e1 * mirror
            flips.append(mirror.prod(-1) < 0)
        along = (base.frames[:, None] * e1[..., None, :]).sum(-1)
        flip = None
        for each in flips:
            flip = each if flip is None else flip ^ each
        angle = torch.atan2(along[..., 1], along[..., 0])
        return angle, None if flip is None else flip.expand_as(angle)

    def _log(self, base: Placed, target: Placed) -> Log:
        v, passed = self._difference(base.points, target.points)
        other = target.take(torch.arange(len(v), device=v.device)[:, None])
        mirror = None
        if self.mirrored:
            mirror = torch.stack([torch.ones_like(passed), 1 - 2 * passed.remainder(2)], -1)[:, None].to(v)
        angle, flip = self._turn(base, other, mirror)
        vectors = (base.frames * v[:, None]).sum(-1)
        reached = torch.ones(len(v), dtype=torch.bool, device=v.device)
        return Log(vectors, angle[:, 0], None if flip is None else flip[:, 0], reached)

    def _difference(
        self, p: Float64[Tensor, "*k 2"], q: Float64[Tensor, "*n 2"]
    ) -> tuple[Float64[Tensor, "*kn 2"], Int64[Tensor, "*kn"]]:
        """Return the shortest vectors from p to q and how often each crosses the sides x.

        Of two equally short vectors it is everywhere the one to smaller x, then to smaller y.
        """
        size = self._size
        candidates = []
        for turns in (-1, 0, 1) if self.glued[0] else (0,):
            x, y = q.unbind(-1)
            if self.mirrored and turns % 2:
                y = size[1] - 1 - y
            dx, dy = x + turns * size[0] - p[..., 0], y - p[..., 1]
            if self.glued[1]:
                # into [−½, ½) of the height
                dy = dy - (dy / size[1] + 0.5).floor() * size[1]
            candidates.append(torch.stack([dx, dy], -1))
        vectors = torch.stack(candidates)
        length = vectors.norm(dim=-1)
        first = (length <= length.amin(0) * (1 + 1e-12)).long().argmax(0)
        shortest = vectors.gather(0, first[None, ..., None].expand(1, *vectors.shape[1:]))[0]
        return shortest, first - len(candidates) // 2

    def _disc(self, base: Placed, radius: float) -> Disc:
        around = [float(s) for s, glued in zip(self._size, self.glued, strict=True) if glued]
        if around and 2 * radius > min(around):
            raise GeometryError(
                f"a log disc of radius {radius} overlaps itself on a surface that closes after "
                f"{min(around):g}; use kind='exp' or a radius up to {min(around) / 2:g}"
            )
        radius = radius * (1 + 1e-12)
        image, of = self._images(base.points, radius)
        pair, source = near_pairs(image, self.points, radius)
        # two images of a base may be equally far away
        key = torch.unique(of[pair] * self.n_points + source)
        target, source = key // self.n_points, key % self.n_points
        log = logs_of(self, base, (target, source))
        return Disc(target, source, log, torch.ones_like(log.angle))

    def _images(
        self, points: Float64[Tensor, "k 2"], radius: float
    ) -> tuple[Float64[Tensor, "m 2"], Int64[Tensor, " m"]]:
        """Return the points and their copies beyond glued sides, as far as the radius reaches from there.

        Also return which point each is a copy of.
        """
        size, of = self._size, torch.arange(len(points), device=points.device)
        turns = [(-1, 0, 1) if glued else (0,) for glued in self.glued]
        images = []
        for x, y in itertools.product(*turns):
            shift = size * points.new_tensor([x, y])
            own = torch.stack([points[:, 0], size[1] - 1 - points[:, 1]], 1)
            image = (own if self.mirrored and x else points) + shift
            near = ((image + 0.5 > -radius) & (image + 0.5 < size + radius)).all(1)
            images.append((image[near], of[near]))
        image, of = (torch.cat(parts) for parts in zip(*images, strict=True))
        return image, of

    def connection(self) -> Connection:
        """Connect each cell with those to the right and below, which exp finds.

        So a neighbour that is reached in two directions, across a seam, has two edges.
        """
        quarter = torch.arange(2, device=self.points.device).repeat_interleave(self.n_points)
        tail = torch.arange(self.n_points, device=self.points.device).repeat(2)
        base = self.placed.take(tail)
        angle, _ = compose((base.anchor, base.flipped), (quarter * (math.pi / 2), None))
        e = self._exp(base, self.step * torch.stack([angle.cos(), angle.sin()], -1))
        weight, slot = e.weight.max(1, keepdim=True)
        source, angle = e.source.gather(1, slot)[:, 0], e.angle.gather(1, slot)[:, 0]
        flip = None if e.flip is None else e.flip.expand_as(e.source).gather(1, slot)[:, 0]
        # beyond an edge of the rectangle there is no cell
        exists = e.inside & (weight[:, 0] > 1 - 1e-6)
        return Connection(tail[exists], source[exists], angle[exists], None if flip is None else flip[exists])

    def _curvature(self) -> Float64[Tensor, " n"]:
        return torch.zeros_like(self.areas)

    def _orbits(self) -> Int64[Tensor, "d ..."] | None:
        if self.mirrored or not any(self.glued):
            return None
        points = torch.arange(self.n_points, device=self.points.device).view(self.shape)
        return points[None] if all(self.glued) else points if self.glued[0] else points.T

    def is_same_as(self, other: Surface) -> bool:
        return (
            isinstance(other, Flat)
            and (self.glued, self.mirrored) == (other.glued, other.mirrored)
            and torch.equal(self._size, other._size)
        )

    def coarser(self) -> Flat:
        h, w = self.shape
        if h % 2 or w % 2:
            raise ResolutionError(
                f"a grid of {h} x {w} cells cannot be halved; use even sides or fewer levels"
            )
        return _flat((h // 2, w // 2), self.glued, self.mirrored, 2 * self.step)

    def finer(self) -> Flat:
        """Return the same surface with every cell cut in four; `coarser` is the inverse.

        >>> plane((2, 3)).finer().shape
        (4, 6)
        """
        h, w = self.shape
        return _flat((2 * h, 2 * w), self.glued, self.mirrored, self.step / 2)


@one_thread()
def _flat(
    shape: tuple[int, int], glued: tuple[bool, bool], mirrored: bool = False, step: float = 1.0
) -> Flat:
    h, w = _check_shape(shape)
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
        group=REFLECTION if mirrored else TRIVIAL,
        shape=(h, w),
        step=step,
        glued=glued,
        mirrored=mirrored,
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
    """Return a rectangle of the plane with h × w unit cells, an image; its transporters are the identity.

    Raises GeometryError for a shape that is not two positive integers, as do its quotients below.

    >>> plane((2, 3)).points[4]
    tensor([1., 1.], dtype=torch.float64)
    """
    return _flat(shape, (False, False))


def cylinder(shape: tuple[int, int]) -> Flat:
    """Return the rectangle with its left and right side glued; its transporters are the identity.

    >>> cylinder((2, 8)).log(torch.tensor([0]), torch.tensor([7])).vectors
    tensor([[-1.,  0.]], dtype=torch.float64)
    """
    return _flat(shape, (True, False))


def torus(shape: tuple[int, int]) -> Flat:
    """Return the flat torus: the rectangle with opposite sides glued.

    >>> s = torus((4, 6)); s.n_points, float(s.areas.sum())
    (24, 24.0)
    """
    return _flat(shape, (True, True))


def mobius_strip(shape: tuple[int, int]) -> Flat:
    """Return the flat Möbius strip: the rectangle with left and right side glued, one of them upside down.

    One way around the strip flips e₂, so features need the group "reflection" or O(2).

    >>> l = mobius_strip((3, 8)).log(torch.tensor([0]), torch.tensor([2 * 8 + 7]))
    >>> l.vectors.tolist(), l.flip.tolist()
    ([[-1.0, 0.0]], [True])
    """
    return _flat(shape, (True, False), mirrored=True)


def klein_bottle(shape: tuple[int, int]) -> Flat:
    """Return the flat Klein bottle: the Möbius strip whose upper and lower side are glued as well.

    >>> s = klein_bottle((4, 6)); s.exp(torch.tensor([0]), torch.tensor([[6.0, 0.0]])).points
    tensor([[0., 3.]], dtype=torch.float64)
    """
    return _flat(shape, (True, True), mirrored=True)
