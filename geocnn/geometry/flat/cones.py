"""Flat cones: a sector of the plane whose two sides are glued; all of the curvature is in the apex.

In polar coordinates (r, φ) a cone of total angle α is the sector 0 ≤ φ < α, which beyond 2π overlaps itself.
Its points lie on rings of radius (i + ½) · step, about one step apart. Frames are e₁ = ∂_x, e₂ = ∂_y of the
sector's plane, the anchor is e₁: they jump on the cut φ = 0, by the rotation α, and nowhere else. So
transporters are multiples of α: a cyclic group where α is a fraction of 2π.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.results import Disc, Exp, Log, Placed, blocks
from geocnn.geometry.core.surface import Surface
from geocnn.groups.planar import Element, act, compose, inverse, smallest_group

AT_APEX = 1e-12
"""A geodesic that passes the apex by this share of its start's distance goes through it, within rounding."""


class _Polar(NamedTuple):
    """Places on the cone: r and phi [K]; phi in [0, α), or anywhere where the cone is unrolled."""

    r: Tensor
    phi: Tensor

    @property
    def place(self) -> Tensor:
        """In the sector's plane, complex."""
        return torch.polar(self.r, self.phi)


@dataclass(frozen=True, eq=False, repr=False)
class Cone(Surface):
    """The cone of total angle `angle` (radians), `rings` rings of width `step` around the apex, then an edge.

    Points are those of a cone in space, [N, 3], up to a full turn. Wider ones have no room there: their
    circle winds around a second one, [N, 4].
    """

    angle: float
    rings: int
    step: float

    def _exp(self, base: Placed, vectors: Tensor, reflect: bool = False) -> Exp:
        start, v = self._polar(base.points), _in_axes(base, vectors)
        portion, inside, at_apex = self._until_edge(start.place, v)
        place = start.place + portion * v
        # straight on, one turns by less than a half around the apex
        turned = torch.where(at_apex, 0.0, torch.angle(place * start.place.conj()))
        end = _Polar(torch.where(at_apex, 0.0, place.abs()), start.phi + turned)
        travelled, mirrored = portion * v.abs(), None
        if reflect:
            on = ~inside & ~at_apex
            there, further, (turn, odd) = self._reflected(end, v, (1 - portion) * v.abs())
            end = _Polar(torch.where(on, there.r, end.r), torch.where(on, there.phi, end.phi))
            travelled = travelled + torch.where(on, further, 0.0)
            inside = inside | (on & (there.r > 0))
            mirrored = torch.where(on, turn, 0.0)[:, None], (on & odd)[:, None]
        source, weight, angle = self._read(end)
        angle, flip = _seen(base, self.placed.take(source), angle, mirrored)
        points, _ = embed(end.r, end.phi, self.angle)
        return Exp(points, source, weight, angle, flip, inside, travelled)

    def _reflected(
        self, rim: _Polar, v: Tensor, left: Tensor
    ) -> tuple[_Polar, Tensor, tuple[Tensor, Tensor]]:
        """Where rays that reach the rim at `rim` along v end after a further way `left`, mirrored in it: all
        chords are as long and turn as far. The end, what is gone of the way, which ends in the apex where a
        chord meets it, and the element from the end's directions to those at the start; all [K].
        """
        outward = torch.polar(torch.ones_like(rim.phi), rim.phi)
        u = v / v.abs().clamp_min(1e-300)
        # how steeply it meets the rim, and into what it is mirrored there
        steep, leaves = (outward.conj() * u).real.clamp_min(1e-9), -outward.square() * u.conj()
        through_apex = (outward.conj() * u).imag.abs() <= AT_APEX
        chord = 2 * rim.r * steep
        gone = torch.where(through_apex, left.minimum(rim.r), left)
        chords = torch.where(through_apex, 0.0, (gone / chord).floor())
        around = torch.angle((outward * rim.r + chord * leaves) * outward.conj())
        last = rim.r + (gone - chords * chord) * leaves * outward.conj()
        at_apex = through_apex & (left >= rim.r)
        turned = chords * around + torch.where(at_apex, 0.0, torch.angle(last))
        end = _Polar(torch.where(at_apex, 0.0, last.abs()), rim.phi + turned)
        # of the directions along the ray, at the start and at the end
        first, ahead, flip = torch.angle(u), torch.angle(leaves) + chords * around, chords % 2 == 0
        return end, gone, (torch.where(flip, first + ahead, first - ahead), flip)

    def _polar(self, points: Tensor) -> _Polar:
        around = torch.atan2(points[..., 1], points[..., 0]).remainder(2 * math.pi)
        return _Polar(points.norm(dim=-1), around * (self.angle / (2 * math.pi)))

    def _until_edge(self, p: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The portion of each segment p + t v, t in [0, 1], before the rim or the apex; whether that is all
        of it; whether it was the apex.
        """
        size2, radius = v.abs().square().clamp_min(1e-300), self.rings * self.step
        along, across = (p.conj() * v).real, (p.conj() * v).imag
        root = (along.square() + size2 * (radius**2 - p.abs().square()).clamp_min(0)).sqrt()
        # a segment that ends on the rim within rounding has not left it
        rim = (root - along) / size2 * (1 + 1e-12)
        foot = -along / size2
        at_apex = (across.abs() <= AT_APEX * p.abs() * v.abs()) & (foot > 0) & (foot <= 1 + AT_APEX)
        portion = torch.where(at_apex, foot, rim).clamp(max=1)
        return portion, ~at_apex & (rim >= 1), at_apex

    def _read(self, at: _Polar) -> tuple[Tensor, Tensor, Tensor]:
        """(source, weight, angle between axes) [K, 4] of places: linear between two rings and along each.

        Within half a step of the apex, and of the rim, along the nearest ring alone.
        """
        counts = ring_counts(self.angle, self.rings).to(at.r.device)
        first = counts.cumsum(0) - counts
        u = (at.r / self.step - 0.5).clamp(0, self.rings - 1)
        low = u.floor().to(torch.int64)
        ring = torch.stack([low, (low + 1).clamp_max(self.rings - 1)], -1)
        out = (u - low)[:, None]
        s = at.phi[:, None] * counts[ring] / self.angle - 0.5
        along = s - s.floor()
        place = s.floor().to(torch.int64)[..., None] + torch.arange(2, device=ring.device)
        turns = place.div(counts[ring][..., None], rounding_mode="floor")
        source = first[ring][..., None] + place - turns * counts[ring][..., None]
        weight = torch.cat([1 - out, out], -1)[..., None] * torch.stack([1 - along, along], -1)
        return source.flatten(1), weight.flatten(1), turns.flatten(1).to(at.phi) * self.angle

    def _log(self, base: Placed, target: Placed) -> Log:
        p, q = self._polar(base.points), self._polar(target.points)
        turns = -((q.phi - p.phi) / self.angle).round()
        apart = q.phi - p.phi + turns * self.angle
        # from half a turn on the shortest way leads through the apex
        reached = apart.abs() < math.pi * (1 - AT_APEX)
        return self._along(base, target, p, _Polar(q.r, p.phi + apart), turns, reached)

    def _along(
        self, base: Placed, target: Placed, p: _Polar, q: _Polar, turns: Tensor, reached: Tensor
    ) -> Log:
        """The log of targets unrolled to q, `turns` times around from their places."""
        v = torch.where(reached, q.place - p.place, 0.0)
        angle, flip = _seen(
            base, target.take(torch.arange(len(v), device=v.device)[:, None]), (turns * self.angle)[:, None]
        )
        return Log(_in_frames(base, v), angle[:, 0], None if flip is None else flip[:, 0], reached)

    def _disc(self, base: Placed, radius: float) -> Disc:
        """Around the apex a point may be met on several ways, as exp meets it: each is a pair."""
        q, most = self._polar(self.points), math.floor(math.pi / self.angle) + 1
        turns = torch.arange(-most, most + 1, device=base.points.device, dtype=torch.float64)
        unrolled = q.phi[:, None] + turns * self.angle
        pairs = []
        size = max(1, 4_000_000 // unrolled.numel())
        for k, block in blocks(base.points, size):
            p = self._polar(block)
            apart = unrolled - p.phi[:, None, None]
            gap = torch.polar(q.r, apart.movedim(-1, 0)).movedim(0, -1) - p.r[:, None, None]
            seen = apart.abs() < math.pi * (1 - AT_APEX)
            target, source, turn = (seen & (gap.abs() <= radius * (1 + 1e-12))).nonzero(as_tuple=True)
            pairs.append((target + k, source, turns[turn]))
        target, source, turn = (torch.cat(p) for p in zip(*pairs, strict=True))
        at, there = base.take(target), _Polar(q.r[source], q.phi[source] + turn * self.angle)
        reached = torch.ones_like(turn, dtype=torch.bool)
        log = self._along(at, self.placed.take(source), self._polar(at.points), there, turn, reached)
        return Disc(target, source, log, torch.ones_like(turn))

    def _curvature(self) -> Tensor:
        return torch.zeros_like(self.areas)

    def is_same_as(self, other: Surface) -> bool:
        return isinstance(other, Cone) and (self.angle, self.rings * self.step) == (
            other.angle,
            other.rings * other.step,
        )

    def coarser(self) -> Cone:
        if self.rings % 2:
            raise GeometryError(f"{self.rings} rings cannot be halved; use an even number or fewer levels")
        return _cone(self.angle, self.rings // 2, 2 * self.step)


def _in_axes(base: Placed, vectors: Tensor) -> Tensor:
    """Components [K, 2] in the frames as complex ones [K] in the axes."""
    return act(inverse((base.anchor, base.flipped)), torch.view_as_complex(vectors.contiguous()))


def _in_frames(base: Placed, z: Tensor) -> Tensor:
    """Complex components [K] in the axes as components [K, 2] in the frames."""
    return torch.view_as_real(act((base.anchor, base.flipped), z))


def _seen(base: Placed, other: Placed, angle: Tensor, mirrored: Element | None = None) -> Element:
    """Transporters [K, S] between axes, `mirrored` [K, 1] after that, as those from the frames of `other`
    [K, S] to the base's [K].
    """
    at = base.anchor[:, None], None if base.flipped is None else base.flipped[:, None]
    at = at if mirrored is None else compose(at, mirrored)
    seen, flip = compose(at, compose((angle, None), inverse((other.anchor, other.flipped))))
    return seen, None if flip is None else flip.expand_as(seen)


def ring_counts(angle: float, rings: int) -> Tensor:
    """The number of points on each ring [rings]: one a step, at least three.

    >>> ring_counts(math.pi, 3).tolist()
    [3, 5, 8]
    """
    middle = torch.arange(rings, dtype=torch.float64) + 0.5
    return (angle * middle).round().clamp_min(3).to(torch.int64)


def embed(r: Tensor, phi: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """Points [K, d] of the embedded cone of that total angle and its frames [K, 2, d] there, isometric to the
    sector's (∂_x, ∂_y).

    With k = α/2π and ψ = φ/k: r (k cos ψ, k sin ψ, −√(1 − k²)) up to a full turn; beyond, with an integer m >
    k, r (a cos ψ, a sin ψ, b cos mψ, b sin mψ), where a² + b² = 1 and a² + m² b² = k².
    """
    k = angle / (2 * math.pi)
    psi = phi / k
    c, s = psi.cos(), psi.sin()
    if k <= 1:
        height = torch.full_like(c, -math.sqrt(1 - k * k))
        radial, around = torch.stack([k * c, k * s, height], -1), torch.stack([-s, c, 0 * c], -1)
    else:
        m = math.floor(k) + 1
        b = math.sqrt((k * k - 1) / (m * m - 1))
        a, cm, sm = math.sqrt(1 - b * b), (m * psi).cos(), (m * psi).sin()
        radial = torch.stack([a * c, a * s, b * cm, b * sm], -1)
        around = torch.stack([-a * s, a * c, -m * b * sm, m * b * cm], -1) / k
    x, y = phi.cos()[:, None], phi.sin()[:, None]
    return r[:, None] * radial, torch.stack([x * radial - y * around, y * radial + x * around], 1)


def _cone(angle: float, rings: int, step: float) -> Cone:
    counts = ring_counts(angle, rings)
    ring = torch.repeat_interleave(torch.arange(rings), counts)
    place = torch.arange(len(ring)) - (counts.cumsum(0) - counts)[ring]
    middle, phi = ring.double() + 0.5, (place.double() + 0.5) * angle / counts[ring]
    points, frames = embed(middle * step, phi, angle)
    return Cone(
        points=points,
        frames=frames,
        axes=frames,
        areas=angle * middle * step**2 / counts[ring],
        anchor=torch.zeros(len(ring), dtype=torch.float64),
        flipped=None,
        group=smallest_group(torch.tensor([angle], dtype=torch.float64)),
        angle=angle,
        rings=rings,
        step=step,
    )


def cone(angle: float, rings: int) -> Cone:
    """The flat cone of total angle `angle` (radians), `rings` unit cells from the apex to its edge.

    Less than 2π is a cone as of paper; more, a saddle with creases in all directions. The apex is no point: a
    geodesic that meets it stops there. Two points whose shortest way leads through it are not reached by log.
    Its group is cyclic(N / gcd(k, N)) for angle = 2πk/N with that order at most 360, SO(2) for any other.

    Raises GeometryError unless the angle lies between 0.01 and 100, and rings is a positive integer.

    >>> s = cone(2 * torch.pi * 5 / 6, rings=8); s.group
    group('C6')
    >>> round(float(s.areas.sum() / torch.pi), 9)  # angle · rings² / 2
    53.333333333
    """
    if not isinstance(angle, (int, float)) or not 0.01 <= angle <= 100:
        raise GeometryError(f"a cone's total angle is a number of radians from 0.01 to 100, got {angle!r}")
    if not isinstance(rings, int) or rings < 1:
        raise GeometryError(f"rings must be a positive integer, got {rings!r}")
    return _cone(float(angle), rings, 1.0)
