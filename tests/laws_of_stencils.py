"""The laws of discs, stencils and interpolation on every Surface; conventions are those of `tests.laws`."""

from __future__ import annotations

import math
import pickle
from unittest import mock
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from geocnn.geometry import Stencil, Surface
from geocnn.geometry.core import recognised
from geocnn.geometry.flat.cones import Cone
from geocnn.geometry.flat.rectangles import Flat
from geocnn.geometry.meshes.one_sided import OneSidedMesh
from geocnn.geometry.meshes.surface import Mesh
from tests.laws import Case, act, in_frames, operator, random_gauge


def sent(stencil: Stencil) -> Stencil:
    """Return the stencil as another process would receive it, where no stencil is known by its name."""
    with mock.patch.object(recognised, "_named", WeakValueDictionary()):
        return pickle.loads(pickle.dumps(stencil))


def discs_hold_the_points_within_the_radius_and_their_logs(case: Case) -> None:
    """Not those an unfolded distance puts within rounding of the rim on either side of it."""
    s, base = case.surface, torch.arange(case.surface.n_points - 1, 0, -max(1, case.surface.n_points // 12))
    d = s.disc(case.radius, base)
    first = torch.cat([torch.tensor([True]), d.base.diff() != 0])
    assert torch.equal(d.base[first], base)
    assert (d.log.distance <= case.radius * (1 + 1e-11)).all()
    p, q = torch.cartesian_prod(base, torch.arange(s.n_points)).unbind(1)
    log = s.log(p, q)
    within = log.distance < case.radius * (1 - 1e-6)
    assert within.sum() > 5 * len(base)
    key, pair = d.base * s.n_points + d.source, (p * s.n_points + q)[within]
    assert torch.isin(pair, key).all()
    # of several ways to a point the shortest is log's
    key, row = key.unique(return_inverse=True)
    shortest = torch.full((len(key),), math.inf, dtype=torch.float64)
    shortest.scatter_reduce_(0, row, d.log.distance, "amin")
    found = shortest[torch.searchsorted(key, pair)]
    case.close(found, log.distance[within], case.exact)


def stencils_are_gauge_covariant(case: Case) -> None:
    s = case.surface
    some = torch.arange(0, s.n_points, 3)
    coarse = s.coarser()
    gauges = [
        (*random_gauge(s.n_points, flips, seed=6), *random_gauge(coarse.n_points, flips, seed=7))
        for flips in (False, True)
    ]
    for make in (
        lambda x, t: x.stencil(case.radius, targets=t),
        lambda x, t: x.stencil(case.radius, samples=(2, 6), targets=t),
        lambda x, t: x.stencil(case.radius, kind="log", targets=t),
        lambda x, t: x.stencil(case.radius, kind="log", boundary="normalise", targets=t),
        lambda x, t: x.interpolation(x if t is None else t),
    ):
        before = [make(s, targets) for targets in (None, some, coarse)]
        for alpha, flip, beta, other_flip in gauges:
            turned_s, turned_c = s.turn_frames(alpha, flip), coarse.turn_frames(beta, other_flip)
            of_some = (alpha[some], None if flip is None else flip[some])
            after = [make(turned_s, targets) for targets in (None, some, turned_c)]
            for old, new, gauge in zip(before, after, ((), of_some, (beta, other_flip)), strict=True):
                expected = old.turn_frames(alpha, flip, *gauge)
                torch.testing.assert_close(operator(new), operator(expected), rtol=0, atol=1e-9)
                assert expected.group.contains(new.group)
                assert new.group.flips == (flip is not None or s.group.flips)


def samples_stay_where_they_are_when_frames_turn(case: Case) -> None:
    s = case.surface
    alpha, flip = random_gauge(s.n_points, True, seed=8)
    before, after = (x.stencil(case.radius, samples=(2, 5)) for x in (s, s.turn_frames(alpha, flip)))
    # without angles the operator holds only which points are read, how much of each, and at what distance
    torch.testing.assert_close(operator(after)[:2].sum(1), operator(before)[:2].sum(1), rtol=0, atol=1e-9)


# ------------------------------------------------------------------------------------------------------
# quadrature


def _room(s: Surface, targets: Surface, with_apex: bool = True) -> Tensor:
    """How far each target is from the surface's outermost points, half a step within the edge, or on it; and
    from a cone's apex.
    """
    p = targets.points
    room = torch.full((len(p),), math.inf, dtype=torch.float64)
    if isinstance(s, Flat):
        for axis, glued in enumerate(s.glued):
            if not glued:
                low, high = s.points[:, axis].aminmax()
                room = torch.minimum(room, torch.minimum(p[:, axis] - low, high - p[:, axis]))
    elif isinstance(s, Cone):
        room = s.points.norm(dim=1).max() - p.norm(dim=1)
        room = torch.minimum(room, p.norm(dim=1)) if with_apex else room
    elif isinstance(s, Mesh | OneSidedMesh):
        t = s.triangulation if isinstance(s, Mesh) else s.cover.triangulation
        if t.boundary.any():
            room = torch.cdist(p, t.vertices[t.boundary]).amin(1)
    return room


def _row_sums(stencil: Stencil) -> Tensor:
    target = torch.repeat_interleave(torch.arange(stencil.n_target), stencil.row_ptr.diff())
    return torch.zeros(stencil.n_target, dtype=torch.float64).index_add_(0, target, stencil.weight)


def exp_weights_of_a_full_disc_sum_to_one(case: Case) -> None:
    s = case.surface
    for samples in (None, (1, 5), (3, 8)):
        total = _row_sums(s.stencil(case.radius, samples=samples))
        full = _room(s, s) > case.radius
        assert full.any()
        torch.testing.assert_close(total[full], torch.ones_like(total[full]), rtol=0, atol=1e-12)
        assert (total < 1 + 1e-12).all()
        assert bool((total[~full] < 1 - 1e-3).any()) == bool(_room(s, s).isfinite().any())


def log_weights_of_a_full_disc_sum_to_one_as_the_grid_is_refined(case: Case) -> None:
    radius = 5 * case.pair[1].spacing
    found = []
    for s in case.pair:
        total = _row_sums(s.stencil(radius, kind="log"))
        full = _room(s, s) > radius
        assert full.any()
        error = float((total[full] - 1).square().mean().sqrt())
        # 2πR/h cells of h² straddle the rim at random; a half of them, ± ½ cell, is σ = ½ h² √(2πR/h);
        # tripled for lattices, whose cells come and go together
        bound = 3 * 0.5 * s.spacing**2 * math.sqrt(2 * math.pi * radius / s.spacing) / (math.pi * radius**2)
        assert error < bound, (error, bound)
        found.append(error)
    assert found[1] < 0.75 * found[0], found


def normalised_weights_sum_to_one_everywhere(case: Case) -> None:
    for kind in ("exp", "log"):
        total = _row_sums(case.surface.stencil(case.radius, kind=kind, boundary="normalise"))
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)


# ----------------------------------------------------------------------------------------------------
# interpolation


def interpolation_converges_on_smooth_fields(case: Case) -> None:
    errors = []
    for s in case.pair:
        read = s.interpolation(case.probe)
        inner = _room(s, case.probe, with_apex=False) > 0
        target = torch.repeat_interleave(torch.arange(read.n_target), read.row_ptr.diff())

        def at_probe(z: Tensor, read=read, target=target) -> Tensor:
            entries = read.weight * act(read.angle, read.flip, z[read.source])
            return z.new_zeros(read.n_target).index_add_(0, target, entries)

        scalar = torch.zeros(read.n_target, dtype=torch.float64).index_add_(
            0, target, read.weight * case.scalar(s.points)[read.source]
        )
        tangent = at_probe(in_frames(s, case.tangent(s.points)))
        exact = in_frames(case.probe, case.tangent(case.probe.points))
        errors.append(
            (
                float((scalar - case.scalar(case.probe.points))[inner].square().mean().sqrt()),
                float((tangent - exact)[inner].abs().square().mean().sqrt()),
            )
        )
    for coarse, fine in zip(*errors, strict=True):
        assert math.log2(coarse / fine) > case.order, errors


LAWS_OF_STENCILS = (
    discs_hold_the_points_within_the_radius_and_their_logs,
    stencils_are_gauge_covariant,
    samples_stay_where_they_are_when_frames_turn,
    exp_weights_of_a_full_disc_sum_to_one,
    normalised_weights_sum_to_one_everywhere,
)

# These speak of two resolutions in their own frames: no gauge to vary.
CONVERGENCE_LAWS = (
    log_weights_of_a_full_disc_sum_to_one_as_the_grid_is_refined,
    interpolation_converges_on_smooth_fields,
)
