"""What reports say, show, and refuse to say."""

from __future__ import annotations

import io
import json
import math

import pytest
import torch
from rich.console import Console
from torch import nn

from geocnn.equivariance import SYMMETRIES, assert_equivariant, judged, report
from geocnn.errors import FieldTypeError, GeocnnError
from geocnn.geometry import healpix, torus
from geocnn.nn import (
    GaugeConv,
)
from tests.equivariance.models import Layers, VectorBias, log, verdicts


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_rounding_discretisation_and_breakage():
    assert judged("", [1e-14, 1e-13], 0.75).verdict == "exact"
    assert judged("", [0.4, 0.1], 0.75).order == pytest.approx(2)
    # of three grids the last refinement counts: what fell before says nothing about what is left
    assert judged("", [0.4, 0.4, 0.1], 0.75).order == pytest.approx(2)
    assert judged("", [0.8, 0.02, 0.019], 0.75).verdict == "broken"
    # half an order is what a spoilt edge has, in the mean square
    assert judged("", [0.1, 0.1 / math.sqrt(2)], 0.75).verdict == "broken"
    assert judged("", [0.1], 0.75).verdict == "undecided" and judged("", [0.1], None).verdict == "broken"


@pytest.mark.parametrize("seed", range(3))
def test_grids_whose_errors_first_cancel_are_not_called_broken(seed):
    torch.manual_seed(seed)
    found = report(GaugeConv("1x0", "1x1"), torus((16, 16)), symmetries=["refinement"], seed=seed)
    assert verdicts(found) == {"refinement": "converging"} and found["refinement"].model.order < 1.0


def test_on_a_coarse_grid_a_fault_that_hides_below_its_error_is_not_taken_for_convergence():
    model = Layers("1x0", "2x1", "1x0", between=VectorBias())
    rotation = report(model, healpix(4), log(0.6), symmetries=["rotation"])["rotation"]
    # the whole falls from 0.28 to 0.10, the layer stays near 0.3
    assert rotation.model.verdict == "undecided" and rotation.layer == "between"


def test_assert_equivariant_names_symmetry_and_layer():
    model = Layers("1x0", "2x1", "1x0", between=nn.ReLU())
    with pytest.raises(AssertionError, match="gauge is broken by between: errors"):
        assert_equivariant(model, healpix(2), build=log(0.9), symmetries=["gauge"])
    right = Layers("1x0", "2x1", "1x0")
    assert_equivariant(right, healpix(2), build=log(0.9), symmetries=["gauge"], within=1e-10)
    with pytest.raises(AssertionError, match="more than 1e-06"):
        assert_equivariant(right, healpix(4), build=log(0.6), symmetries=["rotation"], within=1e-6)


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    model = Layers("1x0", "2x1", "1x0", between=nn.ReLU())
    return report(model, healpix(2), log(0.9), symmetries=["gauge", "rotation", "shift"])


def test_a_report_is_a_table(found):
    console = Console(record=True, width=120)
    found.show(console)
    said = console.export_text()
    assert "gauge" in said and "broken" in said and "between" in said and "no finer grid mends" in said


def test_a_terminal_is_told_what_is_being_measured():
    console = Console(force_terminal=True, record=True, file=io.StringIO())
    report(GaugeConv("1x0", "1x0"), torus((4, 4)), symmetries=["gauge", "shift"], console=console)
    assert "measuring shift, 2 of 2" in console.file.getvalue()


def test_a_report_is_json(found):
    read = json.loads(found.json())
    assert read["findings"][0]["symmetry"] == "gauge" and read["findings"][0]["layer"] == "between"
    assert read["points"] == [48, 192] and read["left_out"] == ["shift"] and "explanation" in read


def test_a_report_is_one_page_that_needs_nothing_else(found, tmp_path):
    found.html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "data:image/png;base64," in page and "between" in page and "http" not in page


def test_what_cannot_be_measured_says_so():
    layer = GaugeConv("1x0", "1x0")
    with pytest.raises(GeocnnError, match="no symmetry 'guage'; there are gauge, relabelling"):
        report(layer, healpix(2), symmetries=["guage"])
    with pytest.raises(GeocnnError, match="on a surface, got a Stencil; `build` makes"):
        report(layer, healpix(2).stencil(1.0))
    with pytest.raises(FieldTypeError, match="no in_type; give one"):
        report(nn.Conv2d(1, 1, 3), torus((8, 8)))
    with pytest.raises(FieldTypeError, match="field on 48 points but the model has no out_type"):
        report(lambda x, where: x, healpix(2), in_type="1x0")


def test_a_place_for_every_point_learnt_breaks_their_numbering_and_fits_no_finer_grid():
    class Place(nn.Module):
        def __init__(self):
            super().__init__()
            self.place = nn.Parameter(torch.randn(48, 2))

        def forward(self, x):
            return x + self.place

    model = Layers("1x0", "2x0", "1x0", between=Place())
    found = report(model, healpix(2), log(0.9), symmetries=["relabelling"])
    assert verdicts(found) == {"relabelling": "broken"} and found["relabelling"].layer == "between"
    with pytest.raises(GeocnnError, match=r"on 48 points and not on the 192 .* give refinements=0"):
        report(model, healpix(2), log(0.9), symmetries=["rotation"])


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda x: x / 0, "48 of 48 values of the answer are not finite"),
        (lambda x: (x, x), "answers with a tuple"),
        (nn.functional.dropout, "answers differently when called again"),
        (torch.zeros_like, "zero everywhere"),
    ],
    ids=["not finite", "two answers", "random", "zero"],
)
def test_answers_that_say_nothing_are_refused_and_pass_no_test_suite(spoilt, said):
    with pytest.raises(GeocnnError, match=said):
        assert_equivariant(lambda x, where: spoilt(x), healpix(2), in_type="1x0", out_type="1x0")
    with pytest.raises(GeocnnError, match=said.replace("48 of 48", "64 of 64")):
        assert_equivariant(spoilt, torus((8, 8)), in_type="trivial: 1x0")


@pytest.mark.parametrize("answer", [torch.sum, lambda x: x.sum((0, 1)), lambda x: x.sum(1)])
def test_an_answer_may_have_no_axis(answer):
    found = report(lambda x, where: answer(x), healpix(2), in_type="2x0", symmetries=["relabelling"])
    assert verdicts(found) == {"relabelling": "exact"}
    found = report(lambda x, where: answer(x[:, 0]), healpix(2), in_type="2x0", symmetries=["relabelling"])
    assert verdicts(found) == {"relabelling": "broken"}


def test_what_was_not_measured_is_no_silent_success():
    layer = GaugeConv("1x0", "1x0")
    with pytest.raises(AssertionError, match=r"^shift was not measured"):
        assert_equivariant(layer, healpix(2), symmetries=["gauge", "shift"])
    with pytest.raises(GeocnnError, match="'shift' was not measured; measured are: gauge"):
        report(layer, healpix(2), symmetries=["gauge"])["shift"]


def test_complex_weights_keep_their_imaginary_parts():
    class Filter(nn.Module):
        def __init__(self):
            super().__init__()
            self.response = nn.Parameter(1j * torch.linspace(0, 1, 5))

        def forward(self, x):
            return torch.fft.irfft(self.response * torch.fft.rfft(x), 8)

    found = report(Filter(), torus((8, 8)), in_type="trivial: 1x0")
    assert set(verdicts(found).values()) == {"exact"} and found.dtype == "float32"
    assert 1e-9 < found["shift"].own_error < 1e-6


def test_every_symmetry_has_a_name_and_a_meaning():
    assert len(SYMMETRIES) == 10 and all(s.meaning for s in SYMMETRIES.values())
