"""The contract of every Surface, as theorems about a `Case`; tests/test_laws.py applies each to each surface.
Those of discs, stencils and interpolation stand in tests/laws_of_stencils.py.

Conventions are ARCHITECTURE.md's: components are complex numbers z = v₁ + i v₂, an element (angle, flip)
takes z to e^{i angle} z, or to e^{i angle} z̄ where flipped. What is compared against is written out here,
without geocnn.ops.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from geocnn.geometry import Stencil, Surface
from geocnn.geometry.flat.cones import Cone
from geocnn.geometry.flat.rectangles import Flat
from geocnn.geometry.meshes.one_sided import OneSidedMesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.geometry.spheres.projective import ProjectivePlane

# Geometry is float64: a few dozen operations on numbers near 1, or on coordinates up to 24, of which rounding
# keeps 15 digits; near the antipode or a pole a handful of digits less.
EXACT = 1e-11


@dataclass(frozen=True)
class Case:
    """A surface and what is known of it: its area, the length below which geodesics are unique (half that of
    the shortest closed one), smooth fields on it.

    `pair` is the same surface at two resolutions, a factor of two apart, and `probe` other points of it to
    read at. `tangent` gives vectors in the embedding. `order` is the order at which exp reads, `own_weight`
    how closely an end point on a grid point takes that point's value alone.

    On a mesh laws about pairs hold for a `share` of them: behind a vertex of more than 2π lies a shadow that
    no straightest geodesic enters, and two geodesics pass a vertex of less. Where one is found it is found to
    `exact`; its length is that of the smooth surface to a relative `longer`, and the curvature it encloses to
    `uneven`, for curvature sits in vertices, and those beside its three sides lie within or without.

    `normal` gives the unit normals at points of a surface that is neither flat, a mesh nor round.
    """

    surface: Surface
    area: float
    reach: float
    pair: tuple[Surface, Surface]
    probe: Surface
    scalar: Callable[[Tensor], Tensor]
    tangent: Callable[[Tensor], Tensor]
    order: float
    own_weight: float = EXACT
    exact: float = EXACT
    share: float = 1.0
    longer: float = 0.0
    uneven: float = 0.0
    normal: Callable[[Tensor], Tensor] | None = None

    @property
    def radius(self) -> float:
        """Of the discs tried: two and a half point spacings."""
        return 2.5 * self.surface.spacing

    @property
    def is_round(self) -> bool:
        """Whether it has curvature 1; else it has none, but for the apex of a cone, and CURVED meshes."""
        s = self.surface
        return not isinstance(s, Flat | Cone) and bool((s.points[:, 2] != 0).any())

    @property
    def is_mesh(self) -> bool:
        return isinstance(self.surface, Mesh | OneSidedMesh)

    @property
    def normals(self) -> Tensor:
        s = self.surface
        if self.normal is not None:
            return self.normal(s.points)
        if isinstance(s, Mesh):
            return s.triangulation.normals[s.vertex]
        if isinstance(s, OneSidedMesh):
            return s.cover.triangulation.normals[s.cover.vertex][: s.n_points]
        return torch.linalg.cross(*s.axes.unbind(1), dim=-1) if isinstance(s, Cone) else s.points

    def close(self, actual: Tensor, expected: Tensor, atol: float, pairs: int = 1) -> None:
        """At least `share` of the rows agree, where each needs one pair, or several."""
        torch.testing.assert_close(actual.isfinite(), torch.ones_like(actual, dtype=torch.bool))
        off = (actual - expected).abs().reshape(len(actual), -1).amax(1)
        agree = float((off <= atol).double().mean())
        assert agree >= self.share**pairs, (
            f"{1 - agree:.2%} of {len(off)} pairs are off, by up to {float(off.max())}"
        )


def random_gauge(n: int, flips: bool, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Angles [n] and flips [n] (or None)."""
    g = torch.Generator().manual_seed(seed)
    alpha = 2 * math.pi * torch.rand(n, generator=g, dtype=torch.float64)
    return alpha, torch.randint(2, (n,), generator=g).bool() if flips else None


def act(angle: Tensor, flip: Tensor | None, z: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angle), angle) * (
        z if flip is None else torch.where(flip, z.conj(), z)
    )


def turned(z: Tensor, alpha: Tensor, flip: Tensor | None) -> Tensor:
    """Components z after their frame is turned by alpha, then mirrored where `flip`."""
    z = torch.polar(torch.ones_like(alpha), -alpha) * z
    return z if flip is None else torch.where(flip, z.conj(), z)


def components(vectors: Tensor) -> Tensor:
    return torch.view_as_complex(vectors.contiguous())


def in_frames(surface: Surface, vectors: Tensor) -> Tensor:
    """Embedded tangent vectors [N, d] as complex components [N]."""
    return components((surface.frames * vectors[:, None]).sum(-1))


def operator(stencil: Stencil) -> Tensor:
    """The stencil as dense matrices [8, 2, T, S]: Σ_e w r^k e^{iℓθ} e^{in·angle} for some k, ℓ and n, entries
    with and without flip apart. Two stencils with equal matrices gather the same, whatever the order of their
    entries. k > 0 unless ℓ = 0, as in every kernel: θ has no meaning at r = 0.
    """
    target = torch.repeat_interleave(torch.arange(stencil.n_target), stencil.row_ptr.diff())
    flip = torch.zeros_like(target) if stencil.flip is None else stencil.flip.long()
    t = stencil.r / stencil.radius
    found = []
    for power, l, n in (
        (0, 0, 0),
        (1, 0, 0),
        (1, 1, 0),
        (2, 0, 1),
        (1, 1, 1),
        (2, 2, 1),
        (1, -1, 2),
        (1, 3, -2),
    ):
        value = torch.polar(stencil.weight * t**power, l * stencil.theta + n * stencil.angle)
        dense = value.new_zeros(2, stencil.n_target, stencil.n_source)
        found.append(dense.index_put_((flip, target, stencil.source), value, accumulate=True))
    return torch.stack(found)


def around_the_apex(p: Tensor, q: Tensor) -> Tensor:
    """The angle from p to q around the axis of an embedded cone, from −π up to π."""
    return torch.angle(torch.complex(q[:, 0], q[:, 1]) * torch.complex(p[:, 0], -p[:, 1]))


def distance(s: Surface, p: Tensor, q: Tensor) -> Tensor:
    """Between points [K, d], through the plane a flat surface or a cone unrolls to, or along the sphere."""
    if isinstance(s, Flat):
        (h, w), found = (s.step * n for n in s.shape), []
        for i in range(-2, 3) if s.glued[0] else (0,):
            for j in range(-1, 2) if s.glued[1] else (0,):
                y = h - 1 - q[:, 1] if s.mirrored and i % 2 else q[:, 1]
                found.append(torch.hypot(q[:, 0] + i * w - p[:, 0], y + j * h - p[:, 1]))
        return torch.stack(found).amin(0)
    if isinstance(s, Cone):
        a, b, apart = p.norm(dim=1), q.norm(dim=1), around_the_apex(p, q) * s.angle / (2 * math.pi)
        return (a.square() + b.square() - 2 * a * b * apart.cos()).clamp_min(0).sqrt()
    chord = (p - q).norm(dim=1)
    if isinstance(s, ProjectivePlane):
        chord = torch.minimum(chord, (p + q).norm(dim=1))
    # chord to arc: ill-conditioned only near the antipode, where half an arc sine loses half the digits
    return 2 * torch.asin((chord / 2).clamp(max=1)) if (s.points[:, 2] != 0).any() else chord


def pairs_within_reach(case: Case, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Random pairs of points with one shortest geodesic between them; a tenth of them pairs of a point with
    itself.
    """
    s, g = case.surface, torch.Generator().manual_seed(seed)
    # on a mesh the reach is a few points
    count = 2000 if case.is_mesh else 300
    p, q = torch.randint(s.n_points, (2, count), generator=g)
    q = torch.where(torch.arange(count) % 10 == 0, p, q)
    log = s.log(p, q)
    near = log.reached & (log.vectors.norm(dim=1) < 0.95 * case.reach)
    if isinstance(s, Cone):
        # opposite each other two ways around the apex are as short
        near = near & (around_the_apex(s.points[p], s.points[q]).abs() < 0.95 * math.pi)
    assert near.sum() > count / 10, "the law would be empty"
    return p[near], q[near]


# ------------------------------------------------------------------------------------------------ frames and
# areas


def frames_are_orthonormal_and_tangent(case: Case) -> None:
    s = case.surface
    gram = s.frames @ s.frames.transpose(1, 2)
    torch.testing.assert_close(gram, torch.eye(2, dtype=torch.float64).expand_as(gram), rtol=0, atol=EXACT)
    mirrored = torch.zeros(s.n_points, dtype=torch.bool) if s.flipped is None else s.flipped
    if s.points.shape[1] == 4:
        return
    if s.points.shape[1] == 3:
        assert (s.frames @ case.normals[..., None]).abs().max() < EXACT
        orientation = torch.linalg.det(torch.cat([s.frames, case.normals[:, None]], 1))
    else:
        orientation = torch.linalg.det(s.frames)
    torch.testing.assert_close(orientation, torch.where(mirrored, -1.0, 1.0).double(), rtol=0, atol=EXACT)


def areas_sum_to_the_surface(case: Case) -> None:
    assert (case.surface.areas > 0).all()
    assert math.isclose(float(case.surface.areas.sum()), case.area, rel_tol=1e-12)


# ------------------------------------------------------------------------------------------- exp, log and
# transport


def log_inverts_exp(case: Case) -> None:
    s = case.surface
    p, q = pairs_within_reach(case)
    there = s.log(p, q)
    assert there.reached.all()
    e = s.exp(p, there.vectors)
    case.close(e.points, s.points[q], case.exact)
    case.close(e.inside.double(), torch.ones(len(p), dtype=torch.float64), 0.0)
    case.close(e.travelled, there.vectors.norm(dim=1), case.exact)
    # the end point is a grid point: reading there is reading that point, with the transporter of log
    own = e.source == q[:, None]
    case.close((e.weight * own).sum(1), torch.ones(len(p), dtype=torch.float64), case.own_weight)
    rows, slots = (own & (e.weight.abs() > 0.5)).nonzero(as_tuple=True)
    assert rows.unique().numel() >= case.share * len(p)
    one = torch.tensor(1 + 2j, dtype=torch.complex128)
    read = act(e.angle[rows, slots], None if e.flip is None else e.flip[rows, slots], one)
    carried = act(there.angle[rows], None if there.flip is None else there.flip[rows], one)
    case.close(read, carried, case.exact)


def exp_leads_to_every_point_that_log_says_is_met(case: Case) -> None:
    met = leads_where_met(case.surface, case.radius)
    assert case.is_mesh or bool(met.all())


def leads_where_met(s: Surface, radius: float) -> Tensor:
    """Whether log says met of each pair of different points within the radius [P], where exp must end at the
    point: to within 1e-8 of the way, as docs/exp-log.md promises of meshes.
    """
    d = s.disc(radius)
    met = (d.log.reached if d.log.met is None else d.log.met)[(apart := d.base != d.source)]
    base, source, log = d.base[apart][met], d.source[apart][met], d.log.take(apart.nonzero()[:, 0][met])
    e = s.exp(base, log.vectors)
    miss = (e.points - s.points[source]).norm(dim=1)
    assert (miss <= 1e-8 * log.distance + EXACT).all(), f"missed by up to {float(miss.max())}"
    assert e.inside.all()
    torch.testing.assert_close(e.travelled, log.distance, rtol=0, atol=EXACT)
    return met


def log_is_as_long_as_the_shortest_geodesic(case: Case) -> None:
    s = case.surface
    p, q = pairs_within_reach(case)
    length, expected = s.log(p, q).vectors.norm(dim=1), distance(s, s.points[p], s.points[q])
    exact = 1e-8 if case.is_round else case.exact
    case.close(length, expected, exact + case.longer * case.reach)


def transport_there_and_back_is_the_identity(case: Case) -> None:
    s, one = case.surface, torch.tensor(1 + 2j, dtype=torch.complex128)
    p, q = pairs_within_reach(case)
    there, back = s.log(p, q), s.log(q, p)
    again = act(there.angle, there.flip, act(back.angle, back.flip, one))
    case.close(again, one.expand_as(again), case.exact)
    # log at q back to p is minus log at p, carried to q
    carried = act(back.angle, back.flip, components(there.vectors))
    case.close(components(back.vectors), -carried, max(1e-9, case.exact))


def holonomy_of_a_triangle_is_the_curvature_it_encloses(case: Case) -> None:
    s, one = case.surface, torch.tensor(1 + 2j, dtype=torch.complex128)
    g = torch.Generator().manual_seed(3)
    p, q, r = torch.randint(s.n_points, (3, 400), generator=g)
    sides = torch.stack([s.log(a, b).vectors.norm(dim=1) for a, b in ((p, q), (q, r), (r, p))])
    small = sides.amax(0) < math.pi / 2 if case.is_round else sides.isfinite().all(0)
    if isinstance(s, Flat | ProjectivePlane):
        # short enough to be drawn together
        small = small & (sides.sum(0) < 1.9 * case.reach)
    if isinstance(s, Cone):
        for a, b in ((p, q), (q, r), (r, p)):
            small = small & s.log(a, b).reached
            small = small & (around_the_apex(s.points[a], s.points[b]).abs() < 0.95 * math.pi)
    assert small.sum() > 20, "the law would be empty"
    p, q, r = p[small], q[small], r[small]
    z = one.expand(len(p))
    for start, end in ((p, q), (q, r), (r, p)):
        step = s.log(end, start)
        z = act(step.angle, step.flip, z)
    enclosed = _curvature_of_triangles(case, p, q, r, sides[:, small])
    # seen in a mirrored frame a turn changes its sense
    if s.flipped is not None:
        enclosed = torch.where(s.flipped[p], -enclosed, enclosed)
    # the root in L'Huilier's formula halves the digits of thin triangles
    case.close(z, act(enclosed, None, one.expand(len(p))), 1e-6 + case.uneven, pairs=3)


def _curvature_of_triangles(case: Case, p: Tensor, q: Tensor, r: Tensor, sides: Tensor) -> Tensor:
    """Inside triangles of points (ids) with sides [3, K], counted as their sense is in the axes of p."""
    s = case.surface
    corners = [s.points[x] for x in (p, q, r)]
    if isinstance(s, Cone):
        turns = sum(around_the_apex(a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True))
        return (turns / (2 * math.pi)).round() * (2 * math.pi - s.angle)
    if not case.is_round:
        return torch.zeros(len(p), dtype=torch.float64)
    if isinstance(s, ProjectivePlane):
        # the antipodes that lie near p
        corners = [x * torch.where((x * corners[0]).sum(1) < 0, -1.0, 1.0)[:, None] for x in corners]
    a, b, c = sides
    half = (a + b + c) / 2
    # L'Huilier: tan²(E/4) = tan(s/2) tan((s−a)/2) tan((s−b)/2) tan((s−c)/2)
    product = torch.stack([half, half - a, half - b, half - c]).div(2).tan().prod(0)
    return 4 * torch.atan(product.clamp_min(0).sqrt()) * torch.linalg.det(torch.stack(corners, 1)).sign()


# -------------------------------------------------------------------------------------------------------
# gauge


def exp_and_log_are_gauge_covariant(case: Case) -> None:
    s = case.surface
    p, q = pairs_within_reach(case)
    g = torch.Generator().manual_seed(4)
    v = torch.randn(len(p), 2, generator=g, dtype=torch.float64) * case.radius / 3
    for flips in (False, True):
        alpha, flip = random_gauge(s.n_points, flips, seed=5)
        at = lambda ids, f=flip: None if f is None else f[ids]  # noqa: E731
        other = s.turn_frames(alpha, flip)
        torch.testing.assert_close(other.points, s.points, rtol=0, atol=0)
        here, there = s.log(p, q), other.log(p, q)
        torch.testing.assert_close(
            components(there.vectors), turned(components(here.vectors), alpha[p], at(p)), rtol=0, atol=EXACT
        )
        z = torch.full((len(p),), 1 + 2j, dtype=torch.complex128)
        torch.testing.assert_close(
            act(there.angle, there.flip, turned(z, alpha[q], at(q))),
            turned(act(here.angle, here.flip, z), alpha[p], at(p)),
            rtol=0,
            atol=EXACT,
        )
        same = torch.view_as_real(turned(components(v), alpha[p], at(p)))
        before, after = s.exp(p, v), other.exp(p, same)
        torch.testing.assert_close(after.points, before.points, rtol=0, atol=EXACT)
        field = torch.randn(s.n_points, generator=g, dtype=torch.complex128)
        read = _read(before, field)
        read_after = _read(after, turned(field, alpha, flip))
        torch.testing.assert_close(read_after, turned(read, alpha[p], at(p)), rtol=0, atol=1e-9)


def _read(e, field: Tensor) -> Tensor:
    return (e.weight * act(e.angle, e.flip, field[e.source])).sum(1)


LAWS = (
    frames_are_orthonormal_and_tangent,
    areas_sum_to_the_surface,
    log_inverts_exp,
    exp_leads_to_every_point_that_log_says_is_met,
    transport_there_and_back_is_the_identity,
    exp_and_log_are_gauge_covariant,
)

# These know the curvature: 0 or 1 everywhere, or in an apex.
LAWS_OF_SPHERE_AND_PLANE = (
    log_is_as_long_as_the_shortest_geodesic,
    holonomy_of_a_triangle_is_the_curvature_it_encloses,
)
