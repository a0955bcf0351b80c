"""A sheet shows several surfaces with one key for fields of one name."""

from __future__ import annotations

import math

import pytest
import torch

from geocnn.errors import GeometryError
from geocnn.geometry import healpix, icosphere, raw_mesh

pytest.importorskip("matplotlib")

from geocnn.viz import Field, Panel, sheet

BALL = icosphere(2)


def bars(figure):
    """The label and the limits of each colour bar."""
    return [(axis.get_ylabel(), axis.get_ylim()) for axis in figure.axes if axis.get_ylabel()]


def test_numbers_of_one_name_share_limits():
    z = BALL.points[:, 2]
    low, high = (Field(values, unit="m") for values in (z, 3 * z))
    figure = sheet([Panel(BALL, low, "a", "h"), Panel(BALL, high, "b", "h"), Panel(BALL, Field(z), "c", "w")])
    span = float(z.abs().max())
    assert [label for label, _ in bars(figure)] == ["h (m)", "w"]
    assert bars(figure)[0][1] == pytest.approx((-3 * span, 3 * span))
    assert bars(figure)[1][1] == pytest.approx((-span, span))
    given = Field(z, limits=(0.0, 0.5))
    assert bars(sheet([Panel(BALL, low, "", "h"), Panel(BALL, given, "", "h")]))[0][1] == (0.0, 0.5)


def test_vectors_are_shown_by_size_from_zero():
    figure = sheet([Panel(BALL, Field(2 * BALL.points, "vector"), "", "speed")])
    ((label, limits),) = bars(figure)
    assert label == "speed" and limits == pytest.approx((0, 2))


def test_labels_share_a_legend_with_the_places_without_a_value():
    side = (BALL.points[:, 2] > 0).long()
    gaps = side.clone()
    gaps[:5] = -1
    classes = ["down", "up"]
    fields = [Field(torch.zeros_like(side), classes=classes), Field(gaps, classes=classes)]
    figure = sheet([Panel(BALL, field, "", "side") for field in fields])
    (key,) = figure.legends
    n = BALL.n_points
    assert [text.get_text() for text in key.get_texts()] == ["down", "up", f"no value (5 of {2 * n})"]


def test_maps_shapes_and_broken_meshes_stand_side_by_side():
    broken = raw_mesh(
        torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [math.nan, 0, 0]]), [[0, 1, 2], [0, 1, 3]]
    )
    figure = sheet(
        [Panel(healpix(2), Field(torch.arange(48.0))), Panel(broken), Panel(BALL)], "all", columns=2
    )
    drawn = [len(axis.images) for axis in figure.axes]
    assert drawn == [1, 1, 1, 0, 0] and figure.get_suptitle() == "all"


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(GeometryError, match="at least one panel"):
        sheet([])
    with pytest.raises(GeometryError, match="7 values"):
        sheet([Panel(BALL, Field(torch.arange(7.0)))])
