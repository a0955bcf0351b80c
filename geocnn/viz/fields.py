"""A Field is values on a surface and how they are to be shown; read, it has limits, colours and gaps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float64, Int64, Real
from numpy.typing import ArrayLike
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.io.raw import as_array, owned
from geocnn.viz.colours import DIVERGING, LABEL_COLOURS, MISSING, SEQUENTIAL
from geocnn.viz.skins import Skin

FieldKind = Literal["scalar", "vector", "labels"]

Classes = Sequence[str] | Mapping[int, str]
"""Names of labels, from label 0 on or by label."""

MOST_LABELS = 40
"""Whole numbers with more different values than this are taken for numbers, not for labels."""


@dataclass(frozen=True, eq=False)
class Field:
    """Values on a surface and how they are to be shown.

    Attributes:
        values: one row per point of the surface or, on a mesh, per face. Numbers [N]; labels [N], whole
            numbers; vectors [N, 2] by their components in the frames, or [N, 3] in space. What is not finite,
            and labels below zero, are no value.
        kind: "scalar", "vector" or "labels"; None takes whole numbers of few kinds for labels.
        unit: of the values, for the colour bar.
        limits: the values at the ends of the colour bar; None takes the least and the greatest, or, where
            values change sign, plus and minus the greatest size.
        classes: names of labels, from label 0 on or by label.
    """

    values: Tensor | ArrayLike
    kind: FieldKind | None = None
    unit: str = ""
    limits: tuple[float, float] | None = None
    classes: Classes | None = None


@dataclass(frozen=True, eq=False)
class ReadField:
    """A checked field: `levels` are numbers, sizes of vectors, or labels, NaN where there is no value."""

    kind: FieldKind
    levels: Float64[Tensor, " n"]
    vectors: Real[Tensor, "n k"] | None
    limits: tuple[float, float]
    unit: str
    classes: Mapping[int, str]

    @property
    def missing(self) -> int:
        """The number of rows without a value."""
        return int(self.levels.isnan().sum())

    @property
    def colour_map(self) -> str:
        """The colour map's name: diverging where zero is in the middle of the limits."""
        low, high = self.limits
        return DIVERGING if low < 0 and low == -high else SEQUENTIAL

    @property
    def beyond(self) -> Literal["neither", "min", "max", "both"]:
        """The ends of the limits that values lie beyond, in matplotlib's words."""
        known = self.levels[~self.levels.isnan()]
        below, above = bool((known < self.limits[0]).any()), bool((known > self.limits[1]).any())
        return "both" if below and above else "min" if below else "max" if above else "neither"

    @property
    def counts(self) -> dict[int, int]:
        """The labels that occur, and how often."""
        labels, counts = self.levels[~self.levels.isnan()].long().unique(return_counts=True)
        return dict(zip(labels.tolist(), counts.tolist(), strict=True))

    def class_name(self, label: int) -> str:
        return self.classes.get(label, str(label))

    def colours(self, levels: Float64[Tensor, "*k"]) -> Float64[Tensor, "*k 3"]:
        """Return red, green and blue, from 0 to 1, of some levels."""
        from matplotlib import colormaps
        from matplotlib.colors import to_rgb

        gap = levels.isnan()
        if self.kind == "labels":
            table = torch.tensor([to_rgb(colour) for colour in LABEL_COLOURS], dtype=torch.float64)
            colours = table[levels.nan_to_num(0).long() % len(table)]
        else:
            low, high = self.limits
            share = ((levels.nan_to_num(low) - low) / (high - low)).clamp(0, 1)
            colours = torch.from_numpy(colormaps[self.colour_map](share.numpy())[..., :3])
        return torch.where(gap[..., None], torch.tensor(to_rgb(MISSING), dtype=torch.float64), colours)

    def arrows(self, skin: Skin) -> Float64[Tensor, "n 3"] | None:
        """Return vectors in the space of the skin, zero where there is no value; None for other kinds."""
        if self.vectors is None:
            return None
        v = self.vectors.double().masked_fill(self.levels.isnan()[:, None], 0)
        if v.shape[1] == 3:
            return v * v.new_tensor([1.0, -1.0, 1.0]) if skin.flat else v
        if skin.frames is None:
            raise GeometryError(
                "vectors of two components need frames at the points: give a surface, made by mesh(...), and "
                "vectors per point, or vectors of three components"
            )
        return torch.einsum("nk,nkd->nd", v, skin.frames)


def read_field(field: Field | Tensor | ArrayLike, name: str = "values") -> ReadField:
    """Check a field and find its kind, limits and gaps.

    Raises:
        GeometryError: values are no numbers or of another shape than the kind's, labels are no whole numbers,
            limits are not two finite numbers in order, or there are labels without a class.

    >>> read = read_field(Field([-1.0, 0.5, float("nan")]))
    >>> read.kind, read.limits, read.missing
    ('scalar', (-1.0, 1.0), 1)
    """
    field = field if isinstance(field, Field) else Field(field)
    array = as_array(name, field.values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if not len(array) or array.ndim > 2 or (array.ndim == 2 and array.shape[1] not in (2, 3)):
        raise GeometryError(
            f"{name} has shape {list(array.shape)}; give one number or label per point [N], or vectors, "
            "[N, 2] or [N, 3]"
        )
    kind = field.kind or _kind_of(array, field.classes is not None)
    if kind not in get_args(FieldKind):
        raise GeometryError(f"the kind of {name} is {kind!r}; give one of {', '.join(get_args(FieldKind))}")
    if (kind == "vector") != (array.ndim == 2):
        raise GeometryError(f"{name} has shape {list(array.shape)}, which is no {kind} field")
    numbers = torch.from_numpy(owned(array.astype(np.float64)))
    numbers = numbers.masked_fill(~numbers.isfinite(), math.nan)
    levels = numbers.norm(dim=1) if kind == "vector" else numbers
    classes = _by_label(field.classes)
    if kind == "labels":
        levels = _labels(levels, classes, name)
    vectors = numbers if kind == "vector" else None
    limits = _limits(levels, kind, field.limits, name)
    return ReadField(kind, levels, vectors, limits, field.unit, classes)


def _kind_of(array: np.ndarray, named: bool) -> FieldKind:
    if array.ndim == 2:
        return "vector"
    few = array.dtype.kind in "iub" and len(np.unique(array)) <= MOST_LABELS
    return "labels" if named or few else "scalar"


def _by_label(classes: Classes | None) -> dict[int, str]:
    if isinstance(classes, Mapping):
        return {int(label): str(name) for label, name in classes.items()}
    return dict(enumerate(map(str, classes or ())))


def _labels(levels: Float64[Tensor, " n"], classes: dict[int, str], name: str) -> Float64[Tensor, " n"]:
    """Return labels, NaN for those below zero."""
    known = levels[~levels.isnan()]
    if (known != known.floor()).any():
        raise GeometryError(f"{name} are no labels, {float(known[known != known.floor()][0]):g} among them")
    named = torch.tensor(list(classes) or [-1], dtype=torch.float64)
    unnamed = known[(known >= 0) & ~torch.isin(known, named)]
    if classes and len(unnamed):
        raise GeometryError(
            f"{name} has the label {int(unnamed[0])}, but classes are named for {sorted(classes)}"
        )
    return levels.masked_fill(levels < 0, math.nan)


def _limits(
    levels: Float64[Tensor, " n"], kind: FieldKind, given: tuple[float, float] | None, name: str
) -> tuple[float, float]:
    if given is not None:
        low, high = map(float, given)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise GeometryError(f"the limits of {name} are {given}; give two finite numbers, the lower first")
        return low, high
    known = levels[~levels.isnan()]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    if kind == "vector":
        low = 0.0
    elif low < 0 < high:
        high = max(-low, high)
        low = -high
    # a constant field has no range of its own
    return (low, high) if low < high else (low, low + max(abs(low), 1.0))


def blended(
    levels: Float64[Tensor, " n"],
    rows: Int64[Tensor, "*k s"],
    weights: Float64[Tensor, "*k s"],
    kind: FieldKind,
) -> Float64[Tensor, "*k"]:
    """Return the level of each pixel that shows rows with weights; NaN where it shows none.

    Numbers are interpolated. Labels, and numbers beside one that is missing, are those of the row with the
    greatest weight.

    >>> levels, rows = torch.tensor([1.0, 3.0, math.nan]).double(), torch.tensor([[0, 1], [1, 2], [-1, -1]])
    >>> blended(levels, rows, torch.tensor([[0.5, 0.5], [0.6, 0.4], [0.5, 0.5]]).double(), "scalar")
    tensor([2., 3., nan], dtype=torch.float64)
    """
    each = levels[rows.clamp_min(0)].masked_fill(rows < 0, math.nan)
    nearest = each.gather(-1, weights.argmax(-1, keepdim=True))[..., 0]
    if kind == "labels":
        return nearest
    mean = (each * weights).sum(-1)
    return torch.where(mean.isnan(), nearest, mean)


def shortened(name: str, most: int = 40) -> str:
    """Return a name, or the beginning of a long one.

    >>> shortened("superior temporal sulcus", 10)
    'superior …'
    """
    return name if len(name) <= most else f"{name[: most - 1]}…"
