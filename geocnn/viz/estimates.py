"""What a sweep found, as curves with error bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from geocnn.viz import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_estimates(
    axis: Axes, found: Mapping[tuple[Any, ...], Any], key: tuple[Any, ...], **style: Any
) -> None:
    """The estimates (`geocnn.train.sweep.estimates`) whose keys begin with `key`, against what their keys end
    with; bars are one standard deviation. `style` goes to Axes.errorbar."""
    points = sorted((k[-1], e.mean, e.deviation) for k, e in found.items() if k[:-1] == key)
    x, y, bars = zip(*points, strict=True)
    axis.errorbar(x, y, bars, capsize=2, linewidth=1.2, markersize=3, **style)


def dress(axis: Axes, title: str, **properties: Any) -> None:
    """Title, labels and limits in the voice of the other pictures."""
    axis.set_title(title, fontsize=10, loc="left", color=INK)
    axis.set(**properties)
    axis.grid(alpha=0.2)
    axis.spines[["top", "right"]].set_visible(False)
