"""The harmonic network of spherical-digits: its size, what a rotation changes, and its way through a run."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from geocnn.data import SphericalDigits
from geocnn.data.spherical_digits import digit_features
from geocnn.errors import GeocnnError
from geocnn.groups.rotations import random_rotations
from geocnn.groups.wigner import rotate_coefficients
from geocnn.harmonics import analysis, healpix_grid, real_part, signed_orders, synthesis
from geocnn.train import runs
from geocnn.train.prediction import measured, predict
from geocnn.train.recipe import Request
from geocnn.train.recipes import spherical_digits as recipe
from geocnn.train.recipes.sphere_networks import build_network

PRESET = recipe.PRESETS["long"]
TINY = dataclasses.replace(
    PRESET, widths=("2x0 + 2x1", "4x0"), lmax=(8, 4), nside=8, train_size=64, val_size=16, test_size=24,
    epochs=2, batch_size=16, check_every=2, devices="cpu", dropout=0.2,
)  # fmt: skip


def network(settings):
    torch.manual_seed(0)
    return build_network(recipe.trainings(settings)[0].description)


def test_it_is_as_small_as_asked_and_every_weight_learns():
    model = network(PRESET)
    assert sum(p.numel() for p in model.parameters()) <= 60_000
    x, y = SphericalDigits("train", False, size=8).__getitems__(range(8))
    torch.nn.functional.cross_entropy(model(x), y).backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in model.parameters())


def test_it_does_not_see_a_generic_rotation():
    """Digits, band-limited, are rotated exactly, by their coefficients."""
    model, sky, lmax = network(PRESET).double(), healpix_grid(16), PRESET.lmax[0]
    maps = SphericalDigits("test", False, size=12).maps(range(12)).double()
    alm = signed_orders(analysis(maps, sky, lmax))
    turned = [
        alm,
        *(rotate_coefficients(alm, r) for r in random_rotations(3, torch.Generator().manual_seed(0))),
    ]
    with torch.no_grad():
        # running statistics of these digits, so that what follows works where it works when trained
        for module in model.modules():
            if hasattr(module, "momentum"):
                module.momentum = 1.0
        upright, *others = (digit_features(synthesis(real_part(a), sky)).double() for a in turned)
        model(upright)
        model.eval()
        logits = model(upright)
        spread = (logits - logits.mean(0)).norm()
        for other in others:
            assert (model(other) - logits).norm() < 0.05 * spread


def train(settings, folder):
    said = io.StringIO()
    runs.train(recipe.RECIPE, settings, folder, Console(file=said, width=200))
    return said.getvalue()


def test_a_stopped_run_goes_on_and_its_network_reads_digits(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    train(TINY, whole)
    shutil.copytree(whole, parts)
    for name in ("training.json", "last.ckpt", "best.safetensors"):
        (parts / "nr" / name).unlink()
    assert "continuing nr from" in train(TINY, parts)
    a, b = (load_file(folder / "model.safetensors") for folder in (whole, parts))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    found = json.loads((whole / "results.json").read_text())
    assert found["accuracy"].keys() == {"geocnn"} and found["accuracy"]["geocnn"].keys() == {"NR/NR", "NR/R"}
    predict(recipe.RECIPE, Request(whole, None, 2, False, tmp_path), Console(file=io.StringIO()))
    assert (tmp_path / "digits-predictions.csv").is_file()
    described = recipe.RECIPE.load(whole)[1]["network"]
    assert described["kind"] == "harmonic" and described["lmax"] == [8, 4]
    assert measured(recipe.RECIPE, whole).model(torch.zeros(1, 768, 1, dtype=torch.float64)).shape == (1, 10)


def test_what_does_not_fit_is_refused():
    with pytest.raises(GeocnnError, match="1 lmax"):
        dataclasses.replace(TINY, lmax=(8,))
    with pytest.raises(GeocnnError, match="refine = 1"):
        dataclasses.replace(TINY, refine=1.0)
    with pytest.raises(GeocnnError, match="degrees up to 16"):
        network(dataclasses.replace(TINY, lmax=(20, 4)))
