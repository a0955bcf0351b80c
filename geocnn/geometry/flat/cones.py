"""A flat cone is a sector of the plane whose two sides are glued; all of its curvature is in the apex.

In polar coordinates (r, φ) a cone of total angle α is the sector 0 ≤ φ < α, which overlaps itself beyond 2π.
Its points lie on rings of radius (i + ½) · step, about one step apart. Frames are e₁ = ∂_x, e₂ = ∂_y of the
sector's plane, the anchor is e₁: they jump on the cut φ = 0, by the rotation α, and nowhere else. So
transporters are rotations by multiples of α, a cyclic group where α is a fraction of 2π.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Complex128, Float64, Int64
from torch import Tensor

from geocnn.errors import GeometryError, ResolutionError
from geocnn.geometry.core.near import near_pairs
from geocnn.geometry.core.results import Disc, Exp, Log, Placed
from geocnn.geometry.core.surface import Surface
from geocnn.groups.planar import Element, act, compose, inverse, smallest_group
from geocnn.lasting import one_thread

AT_APEX = 1e-12
"""A geodesic hits the apex, within rounding, if it passes it at this fraction of its start's distance."""


class _Polar(NamedTuple):
    """Places on the cone; phi lies in [0, α), or anywhere where the cone is unrolled."""

    r: Float64[Tensor, " k"]
    phi: Float64[Tensor, " k"]

    @property
    def place(self) -> Complex128[Tensor, " k"]:
        """Return the places as complex numbers in the sector's plane."""
        return torch.polar(self.r, self.phi)


@dataclass(frozen=True, eq=False, repr=False)
class Cone(Surface):
    """The cone of total angle `angle` (radians), with `rings` rings of width `step` from the apex to an edge.

    Up to a full turn, points are those of a cone in space, [N, 3]. Space has no room for wider ones: their
    circle winds around a second one, [N, 4].
    """

    angle: float
    rings: int
    step: float

    def _exp(self, base: Placed, vectors: Float64[Tensor, "k 2"], reflect: bool = False) -> Exp:
        start, v = self._polar(base.points), _in_axes(base, vectors)
        portion, inside, at_apex = self._until_edge(start.place, v)
        place = start.place + portion * v
        # seen from the apex, a straight segment turns by less than half a turn
        turned = torch.where(at_apex, 0.0, torch.angle(place * start.place.conj()))
        end = _Polar(torch.where(at_apex, 0.0, place.abs()), start.phi + turned)
        travelled, mirrored = portion * v.abs(), None
        if reflect:
            at_rim = ~inside & ~at_apex
            there, further, (turn, odd) = self._reflected(end, v, (1 - portion) * v.abs())
            end = _Polar(torch.where(at_rim, there.r, end.r), torch.where(at_rim, there.phi, end.phi))
            travelled = travelled + torch.where(at_rim, further, 0.0)
            inside = inside | (at_rim & (there.r > 0))
            mirrored = torch.where(at_rim, turn, 0.0)[:, None], (at_rim & odd)[:, None]
        source, weight, angle = self._read(end)
        angle, flip = _in_gauge(base, self.placed.take(source), angle, mirrored)
        points, _ = embed(end.r, end.phi, self.angle)
        return Exp(points, source, weight, angle, flip, inside, travelled)

    def _reflected(
        self, rim: _Polar, v: Complex128[Tensor, " k"], left: Float64[Tensor, " k"]
    ) -> tuple[_Polar, Float64[Tensor, " k"], tuple[Float64[Tensor, " k"], Bool[Tensor, " k"]]]:
        """Follow rays that reach the rim at `rim` along v for a further distance `left`, mirrored in the rim.

        All chords have the same length and turn by the same angle. Return the end, the distance covered (a
        ray stops where it hits the apex), and the element from directions at the end to those at the start.
        """
        outward = torch.polar(torch.ones_like(rim.phi), rim.phi)
        u = v / v.abs().clamp_min(1e-300)
        # the cosine of the angle to the rim's normal, and the direction after the reflection
        steep, leaves = (outward.conj() * u).real.clamp_min(1e-9), -outward.square() * u.conj()
        through_apex = (outward.conj() * u).imag.abs() <= AT_APEX
        chord = 2 * rim.r * steep
        covered = torch.where(through_apex, left.minimum(rim.r), left)
        chords = torch.where(through_apex, 0.0, (covered / chord).floor())
        around = torch.angle((outward * rim.r + chord * leaves) * outward.conj())
        last = rim.r + (covered - chords * chord) * leaves * outward.conj()
        at_apex = through_apex & (left >= rim.r)
        turned = chords * around + torch.where(at_apex, 0.0, torch.angle(last))
        end = _Polar(torch.where(at_apex, 0.0, last.abs()), rim.phi + turned)
        # the directions of the ray at its start and at its end
        first, ahead, flip = torch.angle(u), torch.angle(leaves) + chords * around, chords % 2 == 0
        return end, covered, (torch.where(flip, first + ahead, first - ahead), flip)

    def _polar(self, points: Float64[Tensor, "*k d"]) -> _Polar:
        around = torch.atan2(points[..., 1], points[..., 0]).remainder(2 * math.pi)
        return _Polar(points.norm(dim=-1), around * (self.angle / (2 * math.pi)))

    def _until_edge(
        self, p: Complex128[Tensor, " k"], v: Complex128[Tensor, " k"]
    ) -> tuple[Float64[Tensor, " k"], Bool[Tensor, " k"], Bool[Tensor, " k"]]:
        """Return the portion of each segment p + t v, t in [0, 1], before the rim or the apex.

        Also return whether the whole segment lies before them, and whether it hits the apex.
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

    def _read(
        self, at: _Polar
    ) -> tuple[Int64[Tensor, "k 4"], Float64[Tensor, "k 4"], Float64[Tensor, "k 4"]]:
        """Return (source, weight, angle between axes) of places: linear between two rings and along each.

        Within half a step of the apex, and of the rim, only the nearest ring is read.
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
        # beyond half a turn the shortest path leads through the apex
        reached = apart.abs() < math.pi * (1 - AT_APEX)
        return self._along(base, target, p, _Polar(q.r, p.phi + apart), turns, reached)

    def _along(
        self,
        base: Placed,
        target: Placed,
        p: _Polar,
        q: _Polar,
        turns: Float64[Tensor, " k"],
        reached: Bool[Tensor, " k"],
    ) -> Log:
        """Return the log of targets unrolled to q, `turns` times around the apex from their places."""
        v = torch.where(reached, q.place - p.place, 0.0)
        angle, flip = _in_gauge(
            base, target.take(torch.arange(len(v), device=v.device)[:, None]), (turns * self.angle)[:, None]
        )
        return Log(_in_frames(base, v), angle[:, 0], None if flip is None else flip[:, 0], reached)

    def _disc(self, base: Placed, radius: float) -> Disc:
        """Pair base with the points of each disc; around the apex several geodesics to a point make pairs."""
        q, most = self._polar(self.points), math.floor(math.pi / self.angle) + 1
        turns = torch.arange(-most, most + 1, device=base.points.device, dtype=torch.float64)
        p, pairs = self._polar(base.points), []
        # the embedding keeps lengths, so points are no farther apart in space than along the cone
        near = near_pairs(base.points, self.points, radius * (1 + 1e-9))
        for target, source in zip(*(ids.split(4_000_000 // len(turns)) for ids in near), strict=True):
            apart = (q.phi[source] - p.phi[target])[:, None] + turns * self.angle
            gap = torch.polar(q.r[source][:, None].expand_as(apart), apart) - p.r[target][:, None]
            visible = apart.abs() < math.pi * (1 - AT_APEX)
            pair, turn = (visible & (gap.abs() <= radius * (1 + 1e-12))).nonzero(as_tuple=True)
            pairs.append((target[pair], source[pair], turns[turn]))
        target, source, turn = (torch.cat(ids) for ids in zip(*pairs, strict=True))
        at, there = base.take(target), _Polar(q.r[source], q.phi[source] + turn * self.angle)
        reached = torch.ones_like(turn, dtype=torch.bool)
        log = self._along(at, self.placed.take(source), self._polar(at.points), there, turn, reached)
        return Disc(target, source, log, torch.ones_like(turn))

    def _curvature(self) -> Float64[Tensor, " n"]:
        return torch.zeros_like(self.areas)

    def is_same_as(self, other: Surface) -> bool:
        return isinstance(other, Cone) and (self.angle, self.rings * self.step) == (
            other.angle,
            other.rings * other.step,
        )

    def coarser(self) -> Cone:
        if self.rings % 2:
            raise ResolutionError(f"{self.rings} rings cannot be halved; use an even number or fewer levels")
        return _cone(self.angle, self.rings // 2, 2 * self.step)


def _in_axes(base: Placed, vectors: Float64[Tensor, "k 2"]) -> Complex128[Tensor, " k"]:
    """Convert components in the frames to complex components in the axes."""
    return act(inverse((base.anchor, base.flipped)), torch.view_as_complex(vectors.contiguous()))


def _in_frames(base: Placed, z: Complex128[Tensor, " k"]) -> Float64[Tensor, "k 2"]:
    """Convert complex components in the axes to components in the frames."""
    return torch.view_as_real(act((base.anchor, base.flipped), z))


def _in_gauge(
    base: Placed, other: Placed, angle: Float64[Tensor, "k s"], mirrored: Element | None = None
) -> Element:
    """Convert transporters between axes to those from the frames of `other` [K, S] to the base's [K].

    `mirrored` [K, 1] is applied after the transporters.
    """
    at = base.anchor[:, None], None if base.flipped is None else base.flipped[:, None]
    at = at if mirrored is None else compose(at, mirrored)
    turn, flip = compose(at, compose((angle, None), inverse((other.anchor, other.flipped))))
    return turn, None if flip is None else flip.expand_as(turn)


def ring_counts(angle: float, rings: int) -> Int64[Tensor, " {rings}"]:
    """Return the number of points on each ring: one per step along it, at least three.

    >>> ring_counts(math.pi, 3).tolist()
    [3, 5, 8]
    """
    middle = torch.arange(rings, dtype=torch.float64) + 0.5
    return (angle * middle).round().clamp_min(3).to(torch.int64)


def embed(
    r: Float64[Tensor, " k"], phi: Float64[Tensor, " k"], angle: float
) -> tuple[Float64[Tensor, "k d"], Float64[Tensor, "k 2 d"]]:
    """Return points of the embedded cone of that total angle, and the frames there.

    The embedding is isometric; frames are the images of the sector's (∂_x, ∂_y). With k = α/2π and ψ = φ/k a
    point is r (k cos ψ, k sin ψ, −√(1 − k²)) up to a full turn. Beyond, with an integer m > k, it is
    r (a cos ψ, a sin ψ, b cos mψ, b sin mψ), where a² + b² = 1 and a² + m² b² = k².
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


@one_thread()
def cone(angle: float, rings: int) -> Cone:
    """Return the flat cone of total angle `angle` (radians), with `rings` unit cells from apex to edge.

    Below 2π it can be folded from paper; beyond, it is a saddle with creases in all directions. The apex is
    not one of its points: a geodesic that hits it stops there, and log does not reach points behind it. The
    group is cyclic(N / gcd(k, N)) for angle = 2πk/N with that order at most 360, SO(2) for any other angle.

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
