"""Files of a run: written so that a reader never meets half of one, and read without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from geocnn.errors import CheckpointError


def replace_json(value: Any, file: Path) -> None:
    """Write JSON in one step: to a neighbouring file first, which then takes the place of the old one."""
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(part, file)


def save_weights(network: nn.Module, file: Path) -> None:
    """The network's state dict as safetensors, in one step."""
    from safetensors.torch import save_file

    part = file.with_name(file.name + ".part")
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}, part
    )
    os.replace(part, file)


def load_weights(network: nn.Module, file: Path) -> None:
    """Load a safetensors file, or a checkpoint of the loop (.ckpt), into a network of the same shape.

    Raises CheckpointError if it does not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if file.suffix == ".ckpt":
            state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
            state = {name.removeprefix("network."): tensor for name, tensor in state.items()}
        else:
            state = load_file(file)
        network.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, KeyError, UnpicklingError) as error:
        raise CheckpointError(f"the weights {file} cannot be loaded: {error}") from error


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises CheckpointError if there is none."""
    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{file} does not hold a JSON object")
    return value


def save_model(network: nn.Module, model: dict[str, Any], folder: Path) -> None:
    """model.safetensors and model.json: all that `load_model` needs, no pickle.

    model["format"] names the kind of model, model["network"] describes the network.
    """
    save_weights(network, folder / "model.safetensors")
    replace_json(model, folder / "model.json")


def load_model(
    folder: Path, format: str, build: Callable[[dict[str, Any]], nn.Module]
) -> tuple[nn.Module, dict[str, Any]]:
    """A trained network, in evaluation mode, and its model.json; `build` makes it from its description.

    Instead of the folder a file of other weights in it may be named. Raises CheckpointError if the folder
    holds no model of that format.
    """
    weights = folder if folder.is_file() else folder / "model.safetensors"
    folder = weights.parent
    model = read_json(folder / "model.json")
    if model.get("format") != format:
        raise CheckpointError(
            f"{folder / 'model.json'} has format {model.get('format')!r}, expected {format!r}"
        )
    network = build(model["network"])
    load_weights(network, weights)
    return network.eval(), model
