"""Reports measure a model in training mode too, where norms take the moments of what they are given."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from geocnn.equivariance import assert_equivariant, report
from geocnn.geometry import healpix, mesh, ring_grid
from geocnn.nn import FieldNorm, GaugeConv, HarmonicBlock, SurfaceEncoder, SurfaceUNet
from tests.shapes import jittered_sphere


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class PlainNorm(FieldNorm):
    """Every point counts alike, whatever its area."""

    def forward(self, x, weight=None):
        return super().forward(x)


def harmonic_block(norm=None):
    block = HarmonicBlock("1x0", "4x0 + 4x1", lmax=5, samples=16)
    block.norm = block.norm if norm is None else norm(block.act.in_type)
    return block


def test_moments_over_areas_turn_with_the_field_and_plain_means_do_not():
    found = report(harmonic_block(), ring_grid(16), symmetries=["rotation"])["rotation"]
    assert found.training is not None and found.training.verdict == "converging" and not found.broken
    fault = report(harmonic_block(PlainNorm), ring_grid(16), symmetries=["rotation"])
    assert fault["rotation"].model.verdict == "converging"
    assert fault["rotation"].training.verdict == "broken" and fault["rotation"].training.errors[-1] > 0.01
    assert fault["rotation"].layer == "norm" and fault.broken
    with pytest.raises(AssertionError, match="rotation is broken in training by norm"):
        assert_equivariant(harmonic_block(PlainNorm), ring_grid(16), symmetries=["rotation"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: SurfaceUNet("1x0", ["3x0 + 2x1", "3x0 + 2x1"], "2x0", dropout=0.3),
        lambda: SurfaceEncoder("1x0", ["3x0 + 2x1", "3x0 + 2x1"], n_out=2, dropout=0.3),
    ],
    ids=["SurfaceUNet", "SurfaceEncoder"],
)
@pytest.mark.parametrize("surface", [ring_grid(8), mesh(*jittered_sphere(200))], ids=["rings", "mesh"])
def test_networks_are_right_in_training_too(make, surface):
    found = report(make(), surface, symmetries=["gauge", "relabelling", "rotation"])
    assert not found.broken and found.untrained is None
    assert found["gauge"].training.verdict == "exact"


def test_what_is_small_on_the_coarse_grid_by_chance_is_not_called_broken():
    """The first draw's errors are 1.2e-4 and 1.7e-4: too small on the coarse grid to fall."""
    torch.manual_seed(36)
    model = SurfaceEncoder("1x0", ["3x0 + 2x1", "3x0 + 2x1"], n_out=2, dropout=0.3)
    found = report(model, ring_grid(8), symmetries=["rotation"])["rotation"]
    assert found.model.verdict == "converging" and found.model.errors[0] > 1e-3


def test_a_model_that_answers_alike_in_training_is_measured_once():
    found = report(GaugeConv("1x0", "1x0 + 1x1"), healpix(4), symmetries=["gauge"])
    assert found["gauge"].training is None and found.untrained is None
    assert json.loads(found.json())["findings"][0]["training"] is None


class Headed(nn.Module):
    """Means over all points, and what follows them."""

    def __init__(self, head):
        super().__init__()
        self.in_type, self.head = "4x0", head

    def forward(self, x, stencil):
        return self.head(x.mean(-2))


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x) if self.training else x


@pytest.mark.parametrize(
    ("head", "reason"), [(nn.BatchNorm1d(4), "more than 1 value per channel"), (Noise(), "differently there")]
)
def test_what_cannot_be_measured_in_training_is_said(head, reason, capsys):
    found = report(Headed(head), healpix(2), symmetries=["gauge"])
    assert found.untrained is not None and reason in found.untrained
    found.show()
    assert "Training mode was not measured" in capsys.readouterr().out
