"""Lengths of a data set are counted in one unit, the median point spacing of its training meshes.

One factor serves the whole set where the spacings are alike, as those of proteins and scans are. Meshes that
were all simplified to one number of points are alike at unit area instead. Where the area of a mesh tells
nothing about its target, each mesh may be brought to unit area too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.errors import DatasetError

Scale = Literal["set", "each"]
"""One factor for the whole set, or one for each mesh, which brings it to unit area."""

UNLIKE_UNITS = 300.0
"""Meshes whose sizes differ by more than this, with a gap of a tenth of it between, have unlike units."""

UNLIKE_RESOLUTION = 3.0
"""Spacings (in units of the set) whose ratio exceeds this are reported."""

UNLIKE_SPACINGS = 0.1
"""The largest standard deviation of the logarithms of spacings at which kernels of one radius suit all
meshes."""

SIGNIFICANT = 0.05
"""The largest p-value at which area is said to tell something."""


def area_and_spacing(vertices: Float64[Tensor, "v 3"], faces: Int64[Tensor, "f 3"]) -> tuple[float, float]:
    """Return the area of a mesh and its point spacing: the side of a square of the mean area per vertex.

    >>> area, spacing = area_and_spacing(torch.eye(3).double(), torch.tensor([[0, 1, 2]]))
    >>> round(area, 6), round(spacing, 6)
    (0.866025, 0.537285)
    """
    corner = vertices[faces]
    cross = torch.linalg.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0], dim=-1)
    area = float(cross.norm(dim=-1).sum()) / 2
    return area, math.sqrt(area / len(faces.unique()))


def check_units(names: Sequence[str], areas: Sequence[float]) -> None:
    """Raise DatasetError where some meshes seem to be in another unit of length, by a gap in their sizes.

    >>> check_units(["a", "b", "c"], [1.0, 2.0, 1e6])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    geocnn.errors.DatasetError: 1 of 3 meshes is about 828 times as large as the others (c): are lengths ...
    """
    sizes = np.sqrt(np.asarray(areas))
    order = np.argsort(sizes)
    ordered = sizes[order]
    if len(ordered) < 2 or ordered[-1] / ordered[0] < UNLIKE_UNITS:
        return
    gap = int(np.argmax(ordered[1:] / ordered[:-1])) + 1
    if ordered[gap] / ordered[gap - 1] < UNLIKE_UNITS / 10:
        return
    few, larger = (order[gap:], True) if gap > len(order) / 2 else (order[:gap], False)
    ratio = np.median(ordered[gap:]) / np.median(ordered[:gap])
    shown = ", ".join(str(names[k]) for k in few[:3]) + (f" and {len(few) - 3} more" if len(few) > 3 else "")
    how = f"{ratio:.3g} times as {'large' if larger else 'small'} as the others"
    raise DatasetError(
        f"{len(few)} of {len(order)} meshes {'is' if len(few) == 1 else 'are'} about {how} ({shown}): are "
        "lengths in one unit? Convert them, or let --scale each bring every mesh to unit area"
    )


def area_tells(areas: Sequence[float], targets: Sequence[str] | Float64[np.ndarray, "n k"]) -> float:
    """Return the p-value of the hypothesis that the area of a mesh tells nothing about its class or numbers.

    Classes: the rank test of Kruskal and Wallis, 1952. Numbers: Spearman's rank correlation of each, the
    least p-value times their count (Bonferroni).

    >>> area_tells([1.0, 1.1, 1.2, 5.0, 5.1, 5.2], ["a", "a", "a", "b", "b", "b"]) < 0.06
    True
    """
    from scipy.stats import kruskal, spearmanr

    area = np.asarray(areas)
    if isinstance(targets, np.ndarray):
        if len(area) < 3 or np.ptp(area) == 0:
            return 1.0
        of_each = [float(spearmanr(area, t)[1]) for t in targets.T if np.ptp(t) > 0]  # pyright: ignore[reportArgumentType]
        return min(1.0, len(of_each) * min(of_each, default=1.0))
    groups = [area[[k for k, t in enumerate(targets) if t == name]] for name in sorted(set(targets))]
    if len(groups) < 2 or np.ptp(area) == 0:
        return 1.0
    return float(kruskal(*groups).pvalue)


def alike_at_unit_area(areas: Sequence[float], spacings: Sequence[float]) -> bool:
    """Return whether meshes have unlike point spacings, and much less unlike ones at unit area.

    Kernels of one radius then hold points in like numbers at unit area only.

    >>> alike_at_unit_area([1.0, 9.0], [0.1, 0.3]), alike_at_unit_area([1.0, 9.0], [0.1, 0.1])
    (True, False)
    """
    own, scaled = (np.log(values) for values in (spacings, np.asarray(spacings) / np.sqrt(areas)))
    return bool(own.std() > UNLIKE_SPACINGS and scaled.std() < own.std() / 2)


def factors(
    areas: Sequence[float], spacings: Sequence[float], training: Sequence[bool], scale: Scale
) -> tuple[list[float], float]:
    """Return the factor of each mesh's lengths, and the unit: the median spacing of the training meshes.

    With "set" all factors are 1 / unit. With "each" meshes have unit area when the unit is taken.

    >>> factors([4.0, 16.0], [0.1, 0.2], [True, True], "each")[0]
    [10.0, 5.0]
    """
    own = [1.0 if scale == "set" else 1 / math.sqrt(area) for area in areas]
    scaled = [s * f for s, f, used in zip(spacings, own, training, strict=True) if used]
    unit = float(np.median(scaled))
    return [f / unit for f in own], unit


def factor_of(
    vertices: Float64[Tensor, "v 3"], faces: Int64[Tensor, "f 3"], unit: float, scale: Scale
) -> tuple[float, float]:
    """Return what the lengths of one more mesh are multiplied by, and its point spacing after that.

    >>> factor, spacing = factor_of(4 * torch.eye(3).double(), torch.tensor([[0, 1, 2]]), 2.0, "set")
    >>> factor, round(spacing, 4)
    (0.5, 1.0746)
    """
    area, spacing = area_and_spacing(vertices, faces)
    factor = (1 / math.sqrt(area) if scale == "each" else 1.0) / unit
    return factor, spacing * factor


def unlike_resolution(names: Sequence[str], spacings: Sequence[float]) -> str:
    """Describe meshes whose spacings in units of the set differ much, or return ""."""
    low, high = int(np.argmin(spacings)), int(np.argmax(spacings))
    ratio = spacings[high] / spacings[low]
    if ratio <= UNLIKE_RESOLUTION:
        return ""
    return (
        f"meshes have unlike resolution: the points of '{names[high]}' lie {ratio:.3g} times as far apart as "
        f"those of '{names[low]}', and kernels of one radius hold that much more or less; remesh them alike "
        "if results disappoint"
    )
