"""Makes `body_parts_model`, the trained model that ships, of a finished run of the recipe body-parts:

    geocnn train body-parts --run runs/shipped
    python datasets/body_parts_model/make.py runs/shipped

The settings of the run are in its results.json, from which the card, dataset.toml, takes the command, times,
versions and the accuracy. Weights are a function of these settings, the versions and the number of threads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import shutil
import sys
from pathlib import Path

from geocnn.train.recipes.body_parts import BodyPartsSettings

HERE = Path(__file__).resolve().parent
FILES = ("model.json", "model.safetensors", "LICENSE")
MOST_BYTES = 2_000_000
LEFT_OUT = ("devices", "processes", "max_minutes", "workers")
"""Settings that say where and how fast a run is, not what it gives."""

CARD = '''name = "body_parts_model"
title = "A trained network for the parts of human bodies"
description = """
model.json and model.safetensors: the network of the recipe body-parts, {parameters:,} weights. It labels each
vertex of a triangle mesh of a person (head, torso, upper arm, forearm, hand, thigh, shin, foot). It learnt on
the training bodies of the data set body_parts and has seen no scans. On the 40 test bodies, people and poses
it has not seen, it labels {accuracy:.2f} % of the area right (mean over bodies; the worst has {worst:.2f} %).
`geocnn predict body-parts scan.ply` uses it.
"""
authors = ["geocnn"]
source = "trained on datasets/body_parts by make.py"
licence = "CC0 1.0"
licence_url = "https://creativecommons.org/publicdomain/zero/1.0/"
licence_note = """
The bodies that the network learnt on are CC0 1.0, of MakeHuman's assets; the weights are dedicated to the
public domain likewise.
"""
citation = """
MakeHuman Community: MakeHuman, www.makehumancommunity.org. Assets under CC0 1.0.
"""

[generation]
command = "geocnn train body-parts{options} --run runs/shipped && python make.py runs/shipped"
seed = {seed}
test_accuracy = {test_accuracy}
training_seconds = {seconds:.0f}
machine = "{machine}"
packages = [{packages}]
'''


def options(settings: dict) -> str:
    """The command's options: the settings that differ from the defaults."""
    words = ""
    for field in dataclasses.fields(BodyPartsSettings):
        value = settings.get(field.name, field.default)
        value = tuple(value) if isinstance(value, list) else value
        if value != field.default and field.name not in LEFT_OUT:
            flag = "--" + field.name.replace("_", "-")
            words += "".join(f" {flag} {part}" for part in (value if isinstance(value, tuple) else [value]))
    return words


def main(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    network = next(iter(results["networks"].values()))
    machine = results["machine"]
    for name in FILES[:2]:
        shutil.copyfile(run / name, HERE / name)
    size = sum((HERE / name).stat().st_size for name in FILES)
    if size > MOST_BYTES:
        sys.exit(f"the model has {size:,} bytes; at most {MOST_BYTES:,} ship")
    card = CARD.format(
        parameters=network["parameters"],
        accuracy=100 * network["accuracy"],
        worst=100 * network["worst body"],
        options=options(results["settings"]),
        seed=results["seed"],
        test_accuracy=round(network["accuracy"], 5),
        seconds=network["seconds"],
        machine=f"{platform.machine()}, {machine['torch_threads']} of {machine['cpu_count']} cores, "
        f"{len(machine['gpus'])} GPUs",
        packages=", ".join(f'"{name} {version}"' for name, version in results["versions"].items()),
    )
    for name in FILES:
        content = (HERE / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        card += f'\n[[files]]\npath = "{name}"\nsize = {len(content)}\nsha256 = "{digest}"\n'
    (HERE / "dataset.toml").write_text(card)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python make.py RUN_FOLDER")
    main(Path(sys.argv[1]))
