"""Settings survive the disk, and a resumed run cannot silently become another one."""

import dataclasses

import pytest

from geocnn.errors import CheckpointError, GeocnnError
from geocnn.train.recipes import RECIPES, find_recipe
from geocnn.train.recipes.spherical_digits import SphericalDigitsSettings
from geocnn.train.settings import LoopSettings, load_settings, resumed_settings, save_settings


def test_settings_survive_the_disk(tmp_path):
    settings = SphericalDigitsSettings(widths=("4x0", "8x0 + 2x1"), convs=(0, 2), epochs=7)
    save_settings(settings, tmp_path / "s.json")
    assert load_settings(SphericalDigitsSettings, tmp_path / "s.json") == settings
    with pytest.raises(CheckpointError, match="LoopSettings"):
        load_settings(LoopSettings, tmp_path / "s.json")
    text = (tmp_path / "s.json").read_text()
    (tmp_path / "s.json").write_text(text.replace('"epochs": 7', '"epochs": 5'))
    with pytest.raises(CheckpointError, match="checksum"):
        load_settings(SphericalDigitsSettings, tmp_path / "s.json")
    # else it would be a run with all the defaults
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(CheckpointError, match="checksum"):
        load_settings(SphericalDigitsSettings, tmp_path / "s.json")
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(CheckpointError, match="start a new run"):
        load_settings(SphericalDigitsSettings, tmp_path / "s.json")


def test_only_what_leaves_the_result_alone_may_change():
    saved = LoopSettings(epochs=3)
    assert resumed_settings(saved, {"epochs": 3, "max_minutes": 5.0}) == dataclasses.replace(
        saved, max_minutes=5.0
    )
    with pytest.raises(CheckpointError, match=r"epochs = 3, not 4.*devices"):
        resumed_settings(saved, {"epochs": 4})


def test_impossible_settings_are_refused():
    for bad in ({"epochs": 0}, {"learning_rate": -1.0}, {"warmup": 2.0}, {"learning_rate": float("nan")}):
        with pytest.raises(GeocnnError, match=next(iter(bad))):
            LoopSettings(**bad)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_every_setting_of_every_recipe_has_help(recipe):
    for settings in recipe.presets.values():
        assert all(field.metadata["help"] for field in dataclasses.fields(settings))


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(GeocnnError, match="spherical-digits"):
        find_recipe("digits")
