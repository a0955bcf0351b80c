"""A run that cannot start says why in one line and leaves no folder behind."""

import pytest

from geocnn.cli import main
from geocnn.data.bodies import Body
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.train.memory import available_memory
from geocnn.train.recipes.body_parts import BodyPartsSettings
from geocnn.train.recipes.part_networks import needs as bodies_needs
from geocnn.train.recipes.sphere_networks import needs
from geocnn.train.recipes.spherical_digits import PRESETS

LOOP = {
    "epochs": ["0", "-1", "nan", "inf", "1e300"],
    "batch-size": ["0", "-4"],
    "learning-rate": ["0", "-0.1", "nan", "inf"],
    "weight-decay": ["-1", "nan", "inf"],
    "warmup": ["-0.1", "1.5", "nan"],
    "check-every": ["0", "-5"],
    "patience": ["0", "-1"],
    "max-minutes": ["0", "-3", "nan", "inf", "1e300"],
    "seed": ["-1", "5000000000", "99999999999999999999"],
    "precision": ["16", "fp8", "", "16-mixed"],
    "workers": ["-1", "1000"],
    "devices": ["0", "-1", "tpu", "gpu", "gpu:a", "gpu:", "gpu:99", "2.5", "100000", ""],
    "widths": [
        "",
        "4",
        "4y0, 8x0",
        "4x0, 8x-1",
        "0x0",
        "4x0e",
        "1x9999",
        f"1{400 * '0'}x0",
        "1000000x0, 1000000x0, 1000000x0",
    ],
    "convs": ["1", "0,0,-1", "0,0,0,0", "0,0,1000", "99999999999,0,0"],
    "dropout": ["-1", "1", "2", "nan", "inf"],
    "rings": ["0", "-2", "1000000"],
    "radius": ["0", "-1", "nan", "inf", "1e300"],
    "stencil": ["", "linear", "LOG"],
}
DIGITS = {
    "train-size": ["0", "-1", "55001"],
    "val-size": ["0", "-1", "5001"],
    "test-size": ["0", "-1", "10001"],
    "seeds": ["0", "-1", "100000"],
    "nside": ["0", "-1", "15", "2", "1024", "1048576"],
    "lmax": ["8,4", "-1,4,4", "40,20,10"],
    "stretch": ["-0.1", "1", "nan"],
    "refine": ["-1", "nan", "inf"],
}
BODIES = {
    "train-size": ["0", "-1", "161"],
    "val-size": ["0", "21"],
    "test-size": ["0", "41"],
    "seeds": ["0", "-1", "100000"],
    "processes": ["-1", "100000"],
}
CASES = [
    (recipe, name, value)
    for recipe, own in (("spherical-digits", DIGITS), ("body-parts", BODIES))
    for name, values in (LOOP | own).items()
    for value in values
]
SMALL = {
    "spherical-digits": ["--train-size=16", "--val-size=4", "--nside=4", "--widths=2x0, 4x0, 4x0"],
    "body-parts": ["--train-size=2", "--val-size=1", "--widths=2x0 + 2x1, 4x0, 4x0", "--convs=0,0,0"],
}


@pytest.fixture(autouse=True)
def egg(monkeypatch, tmp_path):
    from geocnn.train.recipes import body_parts

    ball = Icosahedron(2)
    body = Body(ball.points, ball.faces[-1], ball.points[:, 1].gt(0).long(), 0, "rest")
    monkeypatch.setattr(body_parts, "bodies", lambda split: [body] * 2)
    monkeypatch.setenv("GEOCNN_CACHE", str(tmp_path / "cache"))


def refused(capsys, recipe, *options, folder):
    with pytest.raises(SystemExit) as ended:
        main(["train", recipe, "--run", str(folder), *SMALL[recipe], "--devices=cpu", *options])
    said = capsys.readouterr()
    assert not folder.exists(), said.out
    assert ended.value.code == 2 and "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize(("recipe", "name", "value"), CASES)
def test_a_bad_setting_is_named_before_anything_is_written(recipe, name, value, tmp_path, capsys):
    said = refused(capsys, recipe, f"--{name}={value}", folder=tmp_path / "run")
    assert name in said or name.replace("-", "_") in said or "memory" in said


def test_all_bad_settings_are_named_together(tmp_path, capsys):
    options = ("--dropout=nan", "--epochs=0", "--nside=0", "--rings=0")
    said = refused(capsys, "spherical-digits", *options, folder=tmp_path / "run")
    assert all(name in said for name in ("dropout", "epochs", "nside", "rings"))
    options = ("--nside=12", "--convs=1", "--widths=2q0, 4x0")
    said = refused(capsys, "spherical-digits", *options, folder=tmp_path / "run")
    assert all(name in said for name in ("nside", "convs", "2q0"))


def test_what_only_the_first_step_tells_is_refused(tmp_path, capsys):
    # nothing invariant is left to read
    said = refused(capsys, "spherical-digits", "--widths=2x0, 4x0, 4x1", folder=tmp_path / "run")
    assert "invariant" in said


def test_the_presets_fit_and_what_they_need_was_measured():
    # peak resident memory of a step in MB, less that before the network was built; a factor of two is allowed
    measured = {"quick": 151, "long": 183, "local": 470}
    for name, most in measured.items():
        assert most / 2 < sum(needs(PRESETS[name])) / 1e6 < 2 * most
    assert sum(bodies_needs(BodyPartsSettings())) < 2e9 < available_memory()
