"""The networks of the recipe body-parts, their score, and the folders they are kept in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geocnn.console import progress
from geocnn.data.bodies import PARTS
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep
from geocnn.nn import SurfaceUNet
from geocnn.train.files import load_model, save_model
from geocnn.train.recipes.part_surfaces import AREA, batch, shares
from geocnn.train.score import Score
from geocnn.train.settings import tuples

if TYPE_CHECKING:
    from rich.console import Console

    from geocnn.data.surface_data import SurfaceData

FORMAT = "geocnn body-parts 1"

FEATURES = FieldType("11x0 + 5x1 + 1x2")
"""The type of `shape_features`."""


class PartsNetwork(nn.Module):
    """A SurfaceUNet from shape features to a logit a part and vertex: SurfaceData -> [N, 8].

    Args:
        widths, convs, dropout, rings: as in BodyPartsSettings.
        blind: it is given the invariant features only. With widths of frequency 0 only, nothing in it
            depends on a direction.
    """

    def __init__(
        self, *, widths: Sequence[str], convs: Sequence[int], dropout: float, rings: int, blind: bool
    ) -> None:
        super().__init__()
        self.blind = blind
        taken = f"{FEATURES.multiplicity(_SCALAR)}x0" if blind else FEATURES
        logits = f"{len(PARTS)}x0"
        self.unet = SurfaceUNet(taken, widths, logits, convs=convs, rings=rings, dropout=dropout)

    def forward(self, data: SurfaceData) -> Tensor:
        x = FEATURES.select(data.x, _SCALAR).squeeze(-2) if self.blind else data.x
        return self.unet(x, data.hierarchy)


class AreaNetwork(nn.Module):
    """The baseline that sees of each vertex its own area and its neighbours' mean: SurfaceData -> [N, 8]."""

    def __init__(self, *, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(2),
            nn.Linear(2, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, len(PARTS)),
        )

    def forward(self, data: SurfaceData) -> Tensor:
        return self.layers(data.local_areas)


_SCALAR = Irrep(0, "")


def build_network(description: dict[str, Any]) -> nn.Module:
    """The untrained network of a description: its "kind", "parts" or "area", and its arguments."""
    arguments = tuples(description)
    return PartsNetwork(**arguments) if arguments.pop("kind") == "parts" else AreaNetwork(**arguments)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def save_network(
    network: nn.Module, description: dict[str, Any], geometry: dict[str, Any], folder: Path
) -> None:
    model = {"format": FORMAT, "recipe": "body-parts", "classes": list(PARTS), "area": AREA}
    save_model(network, model | {"network": description, "geometry": geometry}, folder)


def load_network(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """A trained network and its model.json. Raises CheckpointError if the folder holds none."""
    return load_model(folder, FORMAT, build_network)


def score(network: nn.Module, data: SurfaceData) -> Score:
    """Cross-entropy and accuracy, weighted by area within each body, every body counting alike."""
    assert data.y is not None
    logits, share = network(data).float(), shares(data)
    n = int(data.batch[-1]) + 1
    loss = (F.cross_entropy(logits, data.y, reduction="none") * share).sum() / n
    return Score(loss, ((logits.argmax(-1) == data.y) * share).sum() / n, n)


@torch.no_grad()
def probabilities(
    network: nn.Module,
    surfaces: Sequence[SurfaceData],
    device: torch.device,
    console: Console | None = None,
    task: str = "labelling",
) -> list[Tensor]:
    """Of each surface [N, 8] on the CPU, rows sum to 1; `console` shows how far they are."""
    network = network.to(device).eval()
    found = []
    with progress(console, task, len(surfaces)) as advance:
        for surface in surfaces:
            found.append(network(batch([surface]).to(str(device))).float().softmax(-1).cpu())
            advance(1)
    return found
