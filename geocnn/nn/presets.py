"""Networks that need no tuning: chosen by task, number of samples and number of points, in plain JSON values.

docs/networks.md states what was measured, and the weights, memory and time of each size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from geocnn.errors import FieldTypeError, GeocnnError
from geocnn.geometry.core.defaults import FEWEST, SPACINGS
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep, irreps
from geocnn.groups.planar import Group
from geocnn.nn.models import SurfaceEncoder, SurfaceUNet

Task = Literal["classify", "regress", "classify-points", "regress-points"]
Size = Literal["small", "base", "large"]

Widths = tuple[tuple[int, int], ...]
"""Invariant channels, and fields of frequency 1, per level; further levels are like the last."""

OF_SURFACES: dict[Size, Widths] = {
    "small": ((24, 12), (24, 12)),
    "base": ((48, 24), (48, 24)),
    "large": ((96, 48), (96, 48)),
}
OF_POINTS: dict[Size, Widths] = {
    "small": ((16, 8), (24, 12), (32, 16)),
    "base": ((32, 16), (32, 16), (48, 24)),
    "large": ((48, 24), (64, 32), (96, 48)),
}

FEWEST_READ = 4 * FEWEST
"""The points that a coarse level must have where its means are the answer: with fewer it was worse than
without that level.
"""

MOST_LEVELS = 5
"""Of a hierarchy. At 100,000 points the coarsest has 400."""

BATCH_POINTS = 6_000
"""Points of a batch, so that a step takes seconds on a core and its memory stays below a few hundred MB."""

POINT_VISITS = 12_000_000
"""Points that a training sees in all, so that a folder of large surfaces takes minutes on two cores. Surfaces
of more points teach more per visit.
"""

FEWEST_VISITS = 200
"""Surfaces that a training sees at least, those that come again included."""

NETWORKS = {"SurfaceEncoder": SurfaceEncoder, "SurfaceUNet": SurfaceUNet}


@dataclass(frozen=True)
class Preset:
    """A network and how to train it, in plain values that JSON holds.

    network: "class", a name in `geocnn.nn`, and its "arguments"; `build_network` makes the module.
    hierarchy: "levels", "kind" and "spacings", the kernels' radius on the finest level in point spacings.
    training: "learning_rate" (the peak of one cycle), "epochs", "batch_size", "weight_decay".
    """

    network: dict[str, Any]
    hierarchy: dict[str, Any]
    training: dict[str, Any]

    @property
    def control(self) -> dict[str, Any] | None:
        """Return the description of the network's pointwise control: the same inputs, no surface operator.

        None where the output has irreps that the input lacks: no function of a point alone gives them.
        """
        given = self.network["arguments"]
        asked = FieldType(given.get("out_type", given["in_type"]))
        lacks = any(not asked.is_invariant(i) and i not in FieldType(given["in_type"]) for i in asked.irreps)
        return None if lacks else pointwise_control(self.network)


def preset(
    task: Task,
    n_samples: int,
    n_points: int,
    in_type: FieldType | str,
    out: FieldType | str | int,
    size: Size | None = None,
) -> Preset:
    """Return the network for a task, and the training that fits the number of samples.

    Args:
        task: "classify" and "regress" give one answer per surface, "classify-points" and "regress-points"
            one per point.
        n_samples: surfaces (or fields on one surface) to learn from.
        n_points: points of a surface, the median where they differ.
        in_type: the type of the input.
        out: the number of classes or of numbers; per point also a feature type, such as "1x1" for a vector.
        size: "small", "base" or "large"; by default by the number of samples.

    Few samples get a smaller network, more passes, more dropout and more weight decay.

    Raises FieldTypeError for another task, size, type or number of answers.

    >>> chosen = preset("classify", n_samples=300, n_points=252, in_type="11x0 + 5x1 + 1x2", out=30)
    >>> chosen.network["class"], chosen.hierarchy
    ('SurfaceEncoder', {'levels': 1, 'spacings': 2.5, 'kind': 'log'})
    >>> build_network(chosen.network).head[-1].out_features
    30
    """
    in_type, per_point = FieldType(in_type), task in ("classify-points", "regress-points")
    if size is None:
        size = "small" if n_samples < 30 else "base" if n_samples < 5_000 else "large"
    _check_word("task", task, get_args(Task))
    _check_word("size", size, get_args(Size))
    _check_count("n_samples", n_samples)
    _check_count("n_points", n_points)
    if isinstance(out, int) or not per_point:
        _check_count("out", out)
    fewest, widths = (FEWEST, OF_POINTS[size]) if per_point else (FEWEST_READ, OF_SURFACES[size])
    levels = 1
    while levels < MOST_LEVELS and n_points >= fewest * 4**levels:
        levels += 1
    pairs = [widths[min(level, len(widths) - 1)] for level in range(levels)]
    arguments: dict[str, Any] = {
        "in_type": str(in_type),
        "widths": [str(_width(*pair, in_type.group)) for pair in pairs],
        "rings": 2,
        "pointwise": 2 if per_point else 4,
        "dropout": 0.3 if n_samples < 200 else 0.1 if n_samples < 2_000 else 0.0,
    }
    if in_type.group.is_finite:
        arguments["max_frequency"] = 2
    if per_point:
        terms = FieldType(out).terms if not isinstance(out, int) else [(out, _invariant(in_type.group))]
        arguments["out_type"] = str(FieldType.of(terms, in_type.group))
    else:
        arguments["n_out"] = out
    # batches of surfaces give the norms their statistics; per point each surface gives thousands
    at_once = max(1 if per_point else 4, min(16, BATCH_POINTS // n_points))
    visits = min(3_000 if per_point else 12_000, max(FEWEST_VISITS, POINT_VISITS // n_points))
    training = {
        "learning_rate": 0.005,
        "epochs": max(5, min(100, round(visits / n_samples))),
        "batch_size": max(1, min(at_once, n_samples // 4)),
        "weight_decay": 0.05 if n_samples < 200 else 0.01,
    }
    network = {"class": "SurfaceUNet" if per_point else "SurfaceEncoder", "arguments": arguments}
    return Preset(network, {"levels": levels, "spacings": SPACINGS, "kind": "log"}, training)


def pointwise_control(network: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a network that sees each point by itself: the same class and inputs, the
    finest level alone, no convolutions.

    It has as many blocks as the network has on its finest level, all pointwise, and twice the channels. A
    hierarchy of one level suffices, and of it no stencil is read.

    >>> network = preset("classify-points", 40, 750, "11x0 + 5x1 + 1x2", 8).network
    >>> control = pointwise_control(network)["arguments"]; control["widths"], control["convs"]
    (['64x0 + 32x1'], [0])
    """
    given = network["arguments"]
    finest = FieldType(given["widths"][0])
    wide = FieldType.of([(2 * copies, irrep) for copies, irrep in finest.terms], finest.group)
    blocks = (given.get("convs") or [1])[0] + given.get("pointwise", 2)
    blocks *= 2 if network["class"] == "SurfaceUNet" else 1
    changed = {"widths": [str(wide)], "convs": [0], "pointwise": blocks}
    return {**network, "arguments": {**given, **changed}}


def build_network(network: dict[str, Any]) -> nn.Module:
    """Build the untrained network of a description: its "class" and its "arguments".

    Raises GeocnnError for another class, and what the class raises.

    >>> arguments = {"in_type": "1x0", "widths": ["2x0"], "out_type": "1x0"}
    >>> type(build_network({"class": "SurfaceUNet", "arguments": arguments})).__name__
    'SurfaceUNet'
    """
    if network.get("class") not in NETWORKS:
        raise GeocnnError(f"a network's class is one of {', '.join(NETWORKS)}, got {network.get('class')!r}")
    return NETWORKS[network["class"]](**network["arguments"])


def _check_word(name: str, value: object, words: tuple[str, ...]) -> None:
    if value not in words:
        raise FieldTypeError(f"{name} must be one of {', '.join(map(repr, words))}, got {value!r}")


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or value < 1:
        raise FieldTypeError(f"{name} must be a whole number of at least 1, got {value!r}")


def _invariant(group: Group) -> Irrep:
    return Irrep(0, "e" if group.flips else "")


def _width(scalars: int, fields: int, group: Group) -> FieldType:
    """Return invariants and the group's fields of the lowest frequency, where it has any."""
    others = [i for i in irreps(group, 1) if i != _invariant(group)]
    terms = [(fields, i) for i in others if i.frequency == 1] or [(fields, i) for i in others]
    return FieldType.of([(scalars, _invariant(group)), *terms], group)
