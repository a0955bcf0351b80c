"""Stencils of a surface sample discs along exp, collect the points of discs by log, or interpolate."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.core.defaults import Kind
from geocnn.geometry.core.polar import Polar
from geocnn.geometry.core.radius import check_entries, check_samples
from geocnn.geometry.core.results import Placed
from geocnn.geometry.core.shifts import Shifts
from geocnn.geometry.core.stencil import Stencil
from geocnn.groups.planar import Group, compose

if TYPE_CHECKING:
    from geocnn.geometry.core.surface import Boundary, Surface

MOST_SOURCES = 500_000
"""Sources of samples that are interpolated at once, in about 60 MB."""

DISCS = 1 << 14
"""Discs that are computed before they become entries of a stencil, which take less memory."""


def disc_stencil(
    surface: Surface,
    radius: float,
    kind: Kind,
    samples: tuple[int, int] | None,
    base: Placed,
    boundary: Boundary,
    group: Group,
    shifts: Shifts | None,
) -> Stencil:
    """Return the stencil of a kind on the discs around `base`, in a group, which some shifts leave as it is.

    Raises GeometryError for other kinds and samples, and for more than 2^31 entries.
    """
    n = len(base.points)
    if kind == "exp":
        if samples is None:
            # a disc has at least as many samples as points
            check_entries(surface, radius, n, None)
        grid = surface.default_samples(radius) if samples is None else check_samples(samples)
        check_entries(surface, radius, n, grid)
        polar = exp_rows(surface, radius, grid, base, boundary == "normalise", shifts)
        return Stencil.deferred(polar, radius, surface.n_points, group, grid)
    if kind != "log":
        raise GeometryError(f"kind must be 'exp' or 'log', got {kind!r}")
    if samples is not None:
        raise GeometryError("a log stencil meets the points where they lie: samples= belongs to kind='exp'")
    check_entries(surface, radius, n, None)
    stencil = replace(log_stencil(surface, radius, base), group=group)
    stencil = without_empty(stencil) if surface._pads else stencil
    stencil = renormalised(stencil) if boundary == "normalise" else stencil
    return stencil.with_shifts(shifts)


def exp_rows(
    surface: Surface,
    radius: float,
    samples: tuple[int, int],
    base: Placed,
    normalise: bool,
    shifts: Shifts | None,
) -> Polar:
    """Sample a polar grid of (rings, angles) tangent vectors at each of `base` and interpolate there.

    With shifts only the first of each orbit is sampled.
    """
    rings, angles = samples
    t, weight = radial_quadrature(rings)
    device = surface.points.device
    r = (radius * t).repeat_interleave(angles).to(device)
    turn = torch.arange(angles, dtype=torch.float64) * (2 * math.pi / angles)
    grid = turn.repeat(rings).to(device)
    vectors = torch.stack([grid.cos(), grid.sin()], -1) * r[:, None]
    share = (weight / angles).repeat_interleave(angles).to(device)
    # Geodesics are traced in the axes and expressed in the frames afterwards, so samples are the same to the
    # last bit in every gauge. On a seam, where interpolation may jump, rounding would choose the side.
    base = base._replace(frames=base.axes)
    if shifts is not None:
        base = base.take(shifts.target.flatten(1)[:, 0])
    n, k = len(base.points), rings * angles
    each = surface._exp(base.take(slice(1)), vectors[:1]).source.shape[1]
    theta, count = base.anchor.new_empty(n, k), torch.full((n, k), each, dtype=torch.int16, device=device)
    # columns are allocated at once, for parts of them would leave gaps in memory
    source = torch.empty(n * k * each, dtype=torch.int32, device=device)
    weight, angle, flip = theta.new_empty(len(source)), theta.new_empty(len(source)), None
    filled = 0
    for rows in torch.arange(n, device=device).split(max(1, MOST_SOURCES // (k * max(16, each)))):
        at = base.take(rows.repeat_interleave(k))
        unturned = at._replace(anchor=torch.zeros_like(at.anchor), flipped=None)
        e = surface._exp(unturned, vectors.repeat(len(rows), 1))
        gauge = at.anchor[:, None], None if at.flipped is None else at.flipped[:, None]
        theta[rows] = compose(gauge, (grid.repeat(len(rows))[:, None], None))[0].view(-1, k)
        w = e.weight * (share.repeat(len(rows)) * e.inside)[:, None]
        turned, mirrored = compose(gauge, (e.angle, e.flip))
        used = w != 0 if surface._pads else torch.ones_like(w, dtype=torch.bool)
        count[rows] = used.sum(1, dtype=torch.int16).view(-1, k)
        w = w[used]
        if normalise:
            w = _shares(w, count[rows].sum(1, dtype=torch.int64))
        new = slice(filled, filled + len(w))
        source[new], weight[new], angle[new] = e.source[used], w, turned.expand_as(used)[used]
        if mirrored is not None:
            flip = torch.empty_like(source, dtype=torch.bool) if flip is None else flip
            flip[new] = mirrored.expand_as(used)[used]
        filled = new.stop
    row_ptr = torch.cat([count.new_zeros(1, dtype=torch.int64), count.sum(1, dtype=torch.int64).cumsum(0)])
    source, weight, angle = _first(source, filled), _first(weight, filled), _first(angle, filled)
    flip = None if flip is None else _first(flip, filled)
    return Polar(row_ptr, count, theta, r, angle, weight, flip, source, shifts)


def _first(column: Tensor, n: int) -> Tensor:
    """Return the first n elements, without the memory of the others."""
    return column if len(column) == n else column[:n].clone()


def _shares(weight: Tensor, counts: Tensor) -> Tensor:
    """Divide weights by the sum of their row's, of which each has so many; a sum of 0 leaves them."""
    row = torch.repeat_interleave(counts)
    total = weight.new_zeros(len(counts)).index_add_(0, row, weight)
    return weight / torch.where(total > 0, total, torch.ones_like(total))[row]


def log_stencil(surface: Surface, radius: float, base: Placed) -> Stencil:
    """Collect the points of the surface within the radius of each of `base`, at their log coordinates."""
    parts, n = [], len(base.points)
    for chunk in torch.arange(n, device=base.points.device).split(discs_at_once(n)):
        target, source, l, jacobian = surface._disc(base.take(chunk), radius)
        r, theta = l.vectors.norm(dim=-1), torch.atan2(l.vectors[:, 1], l.vectors[:, 0])
        weight = surface.areas[source] / (jacobian * math.pi * radius**2)
        counts = torch.bincount(target, minlength=len(chunk))
        parts.append([counts, source, r, theta, weight, l.angle, l.flip])
    return _assembled(surface, radius, parts)


def discs_at_once(n: int) -> int:
    """Return how many of n discs are computed together.

    Each block may sort all points of the surface, so there are at most eight.
    """
    return max(DISCS, n // 8 + 1)


def _assembled(surface: Surface, radius: float, parts: list[list[Tensor | None]]) -> Stencil:
    """Return the stencil of parts (entries per target, source, r, theta, weight, angle, flip), which are
    emptied, so that memory holds only one column twice.
    """

    def column() -> Tensor | None:
        first = [part.pop(0) for part in parts]
        return None if first[0] is None else torch.cat(first)  # type: ignore[arg-type]

    counts, source, r, theta, weight, angle, flip = (column() for _ in range(7))
    assert counts is not None and source is not None and r is not None
    assert theta is not None and weight is not None and angle is not None
    return Stencil(
        row_ptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        source=source,
        r=r,
        theta=theta,
        weight=weight,
        angle=angle,
        flip=flip,
        radius=radius,
        n_source=surface.n_points,
        group=surface.group,
    )


def interpolation(surface: Surface, base: Placed, group: Group) -> Stencil:
    """Read a field of the surface at each of `base`, by entries at r = 0 whose weights sum to 1."""
    e = surface._exp(base, base.points.new_zeros(len(base.points), 2))
    n, s = e.source.shape
    zero = torch.zeros_like(e.weight).flatten()
    read = Stencil(
        row_ptr=torch.arange(n + 1, device=zero.device) * s,
        source=e.source.flatten(),
        r=zero,
        theta=zero,
        weight=e.weight.flatten(),
        angle=e.angle.flatten(),
        flip=None if e.flip is None else e.flip.flatten(),
        radius=1.0,
        n_source=surface.n_points,
        group=group,
    )
    # near an edge of the surface some of the weight belongs to points that do not exist
    return without_empty(renormalised(read))


def renormalised(stencil: Stencil) -> Stencil:
    """Divide the weights of each row by their sum; rows whose weights sum to 0 stay as they are."""
    return replace(stencil, weight=_shares(stencil.weight, stencil.row_ptr.diff()))


def without_empty(stencil: Stencil) -> Stencil:
    """Remove entries of weight 0: they read nothing, and may name points that lie elsewhere."""
    used = stencil.weight.nonzero()[:, 0]
    if len(used) == stencil.n_entries:
        return stencil
    counts = torch.bincount(stencil.target[used], minlength=stencil.n_target)
    names = "source", "r", "theta", "weight", "angle", "flip"
    entries = {name: None if (t := getattr(stencil, name)) is None else t[used] for name in names}
    return replace(stencil, row_ptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]), **entries)


def polar_samples(radius: float, spacing: float) -> tuple[int, int]:
    """Return (rings, angles) of the smallest polar grid whose neighbours are at most one spacing apart.

    It has at least five angles.

    >>> polar_samples(2.5, 1.0)
    (3, 16)
    """
    spacings = radius / spacing
    angles = max(math.ceil(2 * math.pi * spacings), 5)
    # the widest gap between Gauss-Legendre nodes of (0, 1) is above 1.5 / (rings + 1)
    rings = max(1, math.floor(1.5 * spacings) - 1)
    while _largest_gap(rings) * spacings > 1:
        rings += 1
    return rings, angles


def radial_quadrature(rings: int) -> tuple[Float64[Tensor, " {rings}"], Float64[Tensor, " {rings}"]]:
    """Return Gauss–Legendre nodes t in (0, 1) and weights for ∫₀¹ f(t) 2t dt, exact to degree 2·rings − 2.

    >>> t, w = radial_quadrature(3); round(float((w * t**2).sum()), 12)
    0.5
    """
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(rings)
    t = torch.from_numpy(nodes + 1) / 2
    return t, torch.from_numpy(weights) * t


def _largest_gap(rings: int) -> float:
    t, _ = radial_quadrature(rings)
    # the innermost ring's samples lie opposite each other
    return float(torch.cat([-t[:1], t]).diff().max())
