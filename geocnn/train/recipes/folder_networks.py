"""Networks of a data folder: one, several that answer together, or one that starts from a trained one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geocnn.errors import CheckpointError, FieldTypeError
from geocnn.geometry import Hierarchy
from geocnn.nn.presets import build_network
from geocnn.train.files import MODEL, load_model, read_description
from geocnn.train.recipes.folder_batches import FolderBatch, rows_of

TOGETHER = "Together"


class Together(nn.Module):
    """Networks that answer together, with the mean of their probabilities or of their numbers.

    Args:
        members: networks that take x [..., N, D] and a hierarchy.
        of_classes: whether they answer with logits of classes; the joint answer is the logarithm of the mean
            probability then.
    """

    def __init__(self, members: Sequence[nn.Module], of_classes: bool) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.of_classes = of_classes

    def forward(self, x: Tensor, hierarchy: Hierarchy) -> Tensor:
        answers = torch.stack([member(x, hierarchy) for member in self.members])
        if not self.of_classes:
            return answers.mean(0)
        return answers.log_softmax(-1).logsumexp(0) - torch.tensor(float(len(self.members))).log()


def member_rows(network: nn.Module, given: FolderBatch) -> Float[Tensor, "members rows k"]:
    """Return the answers of each member, or of the one network, a row per sample or per point."""
    members = network.members if isinstance(network, Together) else [network]
    return torch.stack([rows_of(member, given) for member in members])


def join(
    networks: Sequence[nn.Module], description: Mapping[str, Any], of_classes: bool
) -> tuple[Together, dict[str, Any]]:
    """Return networks of one description as one, with its description."""
    own = {"class": TOGETHER, "of": dict(description), "members": len(networks), "of_classes": of_classes}
    return Together(networks, of_classes), own


def build_folder_network(network: dict[str, Any]) -> nn.Module:
    """Build the untrained network of a description. Raises GeocnnError where it describes none."""
    if network.get("class") != TOGETHER:
        return build_network(network)
    return Together(
        [build_network(network["of"]) for _ in range(network["members"])], bool(network["of_classes"])
    )


def description_in(run: Path, in_type: str, levels: int, answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a trained network with the answers of another task.

    Args:
        run: a run folder, or a folder with model.json.
        in_type: the type of the input.
        levels: those that the surfaces have.
        answers: "n_out", or "out_type".

    Raises CheckpointError where the network there takes another input or more levels, or answers per point
    where one answer is wanted, or the other way round.
    """
    found = read_description(run / MODEL)["network"]
    found = found["of"] if found.get("class") == TOGETHER else found
    given = found.get("arguments", {})
    if given.get("in_type") != in_type:
        raise CheckpointError(
            f"the network in {run} takes inputs of type {given.get('in_type')}, these data have {in_type}; "
            "start from one with the same inputs"
        )
    if not answers.keys() <= given.keys():
        per = {"n_out": "per surface", "out_type": "per point"}
        raise CheckpointError(
            f"the network in {run} does not answer {per[next(iter(answers))]}, as asked here"
        )
    if len(given["widths"]) > levels:
        raise CheckpointError(
            f"the network in {run} works on {len(given['widths'])} levels, these surfaces have {levels}"
        )
    return {**found, "arguments": {**given, **answers}}


class StartFrom:
    """Gives a network the trained weights in a run folder that fit it; the others stay as they are."""

    def __init__(self, run: Path, format: str) -> None:
        self.run, self.format = run, format

    def __call__(self, network: nn.Module) -> None:
        trained, _ = load_model(self.run, self.format, build_folder_network)
        source = trained.members[0] if isinstance(trained, Together) else trained
        known, own = source.state_dict(), network.state_dict()
        fitting = {name: value for name, value in known.items() if own[name].shape == value.shape}
        if not fitting:
            raise FieldTypeError(f"no weight of the network in {self.run} fits")
        network.load_state_dict(fitting, strict=False)
