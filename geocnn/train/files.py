"""Files of a run: each takes its name in one step, when it is whole, and is checked when it is read; no
pickle.

JSON and weights carry the SHA-256 of what they hold. Archives of the loop (.ckpt) are zip files, which have a
checksum for every part.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geocnn.errors import CheckpointError, RecipeError
from geocnn.files import replacing, write_safetensors

MODEL, WEIGHTS = "model.json", "model.safetensors"


# ---------------------------------------------------------------------------------------------------- writing


def replace_text(text: str, file: Path) -> None:
    """Write a text in one step."""
    with replacing(file) as part:
        part.write_text(text, encoding="utf-8")


def replace_json(value: Any, file: Path) -> None:
    """Write JSON in one step. Raises RecipeError where JSON cannot hold the value."""
    check_json(value, file.name)
    replace_text(json.dumps(value, indent=2) + "\n", file)


def check_json(value: Any, name: str) -> None:
    """Raise RecipeError, naming the part, unless a file can hold the value: numbers, text, True, False, None,
    lists and tuples of them, and dictionaries whose keys are text.

    >>> check_json({"widths": ["4x0"], "rings": 2}, "description")
    """
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str):
                raise RecipeError(f"{name} has the key {key!r}, which JSON cannot hold; keys must be text")
            check_json(part, f"{name}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            check_json(part, f"{name}[{number}]")
    elif not (value is None or isinstance(value, (bool, int, float, str))):
        raise RecipeError(
            f"{name} is a {type(value).__name__}, which JSON cannot hold; give numbers, text, lists or "
            "dictionaries"
        )


def write_record(value: Mapping[str, Any], file: Path, files: Sequence[Path] = ()) -> None:
    """Write a JSON object with its checksum, and the checksums of other files in the same folder.

    Written last, it makes the writing of all these files one step: `read_record` takes all or nothing.
    """
    value = dict(value)
    check_json(value, file.name)
    if files:
        value["files"] = {other.name: file_checksum(other) for other in files}
    replace_json({**value, "sha256": _checksum(value)}, file)


def save_weights(network: nn.Module, file: Path) -> None:
    """Write the network's state dict as safetensors, in one step."""
    save_state(weights_of(network), file)


def save_state(state: Mapping[str, Tensor], file: Path) -> None:
    """Write a state dict as safetensors, in one step, with its checksum."""
    write_safetensors(dict(state), file, {"sha256": _state_checksum(state)})


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the network's state dict, on the CPU."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in network.state_dict().items()
    }


def save_model(network: nn.Module, model: dict[str, Any], folder: Path) -> None:
    """Write model.safetensors and model.json in one step: all that `load_model` needs.

    model["format"] names the kind of model, model["network"] describes the network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(network, folder / WEIGHTS)
    write_record(model, folder / MODEL, [folder / WEIGHTS])


# ---------------------------------------------------------------------------------------------------- reading


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object from a file. Raises CheckpointError if there is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{file} does not hold a JSON object")
    return value


def read_record(file: Path, check_files: bool = True) -> dict[str, Any]:
    """Read what `write_record` wrote; leave out the checksums.

    Raises:
        CheckpointError: the file, or with `check_files` one that it has a checksum of, is missing, damaged or
            not the one that was written with it.
    """
    value = read_json(file)
    if value.pop("sha256", None) != _checksum(value):
        raise CheckpointError(f"{file} is damaged or was changed: its checksum does not fit")
    files = value.pop("files", {})
    for name, checksum in files.items() if check_files else ():
        other = file.with_name(name)
        if not other.is_file():
            raise CheckpointError(f"{other} is missing, which was written with {file.name}")
        if file_checksum(other) != checksum:
            raise CheckpointError(f"{other} is damaged, or not the file that was written with {file.name}")
    return value


def read_description(file: Path, check_files: bool = True) -> dict[str, Any]:
    """Read a model.json. Raises CheckpointError as `read_record` does, and says what to do."""
    try:
        return read_record(file, check_files)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; resume its run (--resume) to have it written anew") from error


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read a checkpoint of the loop (.ckpt). Raises CheckpointError if it is damaged or is none."""
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"its part {damaged} is damaged")
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive fails in many ways
        raise CheckpointError(f"{file} cannot be read ({_one_line(error)})") from error
    if not (isinstance(content, dict) and isinstance(content.get("state_dict"), dict)):
        raise CheckpointError(f"{file} is no checkpoint of a training")
    return content


def load_weights(network: nn.Module, file: Path) -> None:
    """Load a safetensors file, or a checkpoint of the loop (.ckpt), into a network of the same shape.

    Raises CheckpointError if it is damaged or does not fit.
    """
    state = checkpoint_weights(read_checkpoint(file)) if file.suffix == ".ckpt" else _read_state(file)
    try:
        network.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise CheckpointError(f"the weights {file} cannot be loaded: {_one_line(error)}") from error


def checkpoint_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the network's state dict in a checkpoint of the loop."""
    return {name.removeprefix("network."): tensor for name, tensor in checkpoint["state_dict"].items()}


def load_model(
    folder: Path, format: str, build: Callable[[dict[str, Any]], nn.Module]
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a trained network, in evaluation mode, and its model.json.

    `build` makes the network from its description.
    Instead of the folder a file of other weights in it may be named. Raises CheckpointError if the folder
    holds no model of that format, or a damaged one.
    """
    weights = folder if folder.is_file() else folder / WEIGHTS
    file = weights.with_name(MODEL)
    model = read_description(file, check_files=weights.name == WEIGHTS)
    if model.get("format") != format:
        raise CheckpointError(f"{file} has format {model.get('format')!r}, expected {format!r}")
    try:
        network = build(model["network"])
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{file} does not describe a network ({_one_line(error)})") from error
    load_weights(network, weights)
    return network.eval(), model


# -------------------------------------------------------------------------------------------------- checksums


def file_checksum(file: Path) -> str:
    """Compute the SHA-256 of a file, as `sha256sum` prints it."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _checksum(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _state_checksum(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read_state(file: Path) -> dict[str, Tensor]:
    """Read a safetensors file; compare its checksum where it has one: files of other origin have none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as content:
            state = {name: content.get_tensor(name) for name in content.keys()}
            checksum = (content.metadata() or {}).get("sha256")
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"the weights {file} cannot be loaded: {_one_line(error)}") from error
    if checksum not in (None, _state_checksum(state)):
        raise CheckpointError(f"the weights {file} are damaged: their checksum does not fit")
    return state


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
