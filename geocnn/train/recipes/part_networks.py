"""The networks of the recipe body-parts, the memory that they need, their score and their answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from geocnn.data.bodies import PARTS
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep
from geocnn.nn import SurfaceUNet, pointwise_control
from geocnn.train.memory import Layer, Need, estimate
from geocnn.train.recipes.part_surfaces import AREA, shares
from geocnn.train.score import Answer
from geocnn.train.settings import tuples

if TYPE_CHECKING:
    from geocnn.data.surface_data import SurfaceData
    from geocnn.train.recipes.body_parts import BodyPartsSettings

FEATURES = FieldType("11x0 + 5x1 + 1x2")
"""The type of `shape_features`."""


class PartsNetwork(nn.Module):
    """A SurfaceUNet from shape features to one logit per part and vertex: SurfaceData -> [N, 8].

    Args:
        widths, convs, pointwise, dropout, rings: as in BodyPartsSettings.
        blind: it takes the invariant features only. With widths of frequency 0 only, nothing in it
            depends on a direction.
    """

    def __init__(
        self,
        *,
        widths: Sequence[str],
        convs: Sequence[int],
        pointwise: int,
        dropout: float,
        rings: int,
        blind: bool,
    ) -> None:
        super().__init__()
        self.blind = blind
        taken = f"{FEATURES.multiplicity(_SCALAR)}x0" if blind else FEATURES
        logits = f"{len(PARTS)}x0"
        self.unet = SurfaceUNet(taken, widths, logits, convs, rings, dropout=dropout, pointwise=pointwise)

    def forward(self, data: SurfaceData) -> Float[Tensor, "n parts"]:
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

    def forward(self, data: SurfaceData) -> Float[Tensor, "n parts"]:
        return self.layers(data.local_areas)


_SCALAR = Irrep(0, "")


def build_network(description: dict[str, Any]) -> nn.Module:
    """Build the untrained network of a description: its "kind", "parts" or "area", and its arguments."""
    arguments = tuples(description)
    return PartsNetwork(**arguments) if arguments.pop("kind") == "parts" else AreaNetwork(**arguments)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def parts_description(settings: BodyPartsSettings) -> dict[str, Any]:
    names = ("widths", "convs", "pointwise", "dropout", "rings")
    return {"kind": "parts", "blind": False} | {name: getattr(settings, name) for name in names}


def blind_description(settings: BodyPartsSettings) -> dict[str, Any]:
    """Describe the network of `parts_description` with invariant channels only and as many weights."""
    seeing = parts_description(settings)
    channels = [sum(n for n, _ in FieldType(width).terms) for width in settings.widths]

    def blind(factor: float) -> dict[str, Any]:
        return seeing | {"blind": True, "widths": tuple(f"{max(1, round(factor * n))}x0" for n in channels)}

    wanted = parameters(build_network(seeing))
    low, high = 0.5, 8.0
    for _ in range(12):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if parameters(build_network(blind(middle))) < wanted else (low, middle)
    return blind(high)


def control_description(settings: BodyPartsSettings) -> dict[str, Any]:
    """Describe the pointwise control of the network of `parts_description`."""
    seeing = parts_description(settings)
    return seeing | pointwise_control({"class": "SurfaceUNet", "arguments": seeing})["arguments"]


def needs(settings: BodyPartsSettings) -> Need:
    """Estimate the memory of one process, for bodies of 3,000 vertices."""
    points = [3000 / 4**level for level in range(len(settings.widths))]
    dims = [FieldType(width).dim for width in settings.widths]
    layers = []
    for level, (dim, convs) in enumerate(zip(dims, settings.convs, strict=True)):
        # a residual block has two convolutions; one on the way down and one on the way up
        layers += [Layer(dim, dim, points[level])] * (4 * convs + (0 if level else 4 * settings.pointwise))
        layers.append(Layer(dims[level - 1] if level else FEATURES.dim, 2 * dim, points[level]))
    around = 3000 * math.pi * settings.radius * settings.radius / AREA
    entries = sum(n * min(n, around) for n in points)
    bodies = settings.train_size + settings.val_size + settings.test_size
    batch_size = min(settings.batch_size, settings.train_size)
    return estimate(layers, settings.rings, batch_size, 3000 * FEATURES.dim, entries, bodies)


def score(network: nn.Module, data: SurfaceData) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Return cross-entropy and accuracy, weighted by area within a body; all bodies count the same."""
    assert data.y is not None
    logits, share = network(data).float(), shares(data)
    n = int(data.batch[-1]) + 1
    loss = (F.cross_entropy(logits, data.y, reduction="none") * share).sum() / n
    return loss, {"accuracy": ((logits.argmax(-1) == data.y) * share).sum() / n}


def answer(network: nn.Module, data: SurfaceData) -> Answer:
    """Return probabilities [N, 8], whose rows sum to 1, the labels [N], and the areas [N] as weights."""
    return network(data).float().softmax(-1), data.y, data.areas
