"""Label the parts of human bodies, of people and in poses never seen, from the shape of the surface alone.

A SurfaceUNet on meshes of about 3,000 vertices takes shape features and gives one of eight labels per vertex.
Three baselines show what that is worth. One sees only the areas of a vertex and its neighbours, which give
the tessellation away, if anything does. Another is the same network with invariant channels only, and so is
blind to direction. The third is the pointwise control: the same features, and no surface operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from geocnn.console import make_console
from geocnn.data.bodies import PARTS, Body, bodies
from geocnn.errors import GeocnnError
from geocnn.train.devices import is_main_process
from geocnn.train.recipe import Recipe, Subject, Training
from geocnn.train.recipes.part_agreement import agreement
from geocnn.train.recipes.part_networks import (
    PartsNetwork,
    answer,
    blind_description,
    build_network,
    control_description,
    needs,
    parts_description,
    score,
)
from geocnn.train.recipes.part_predictions import check_libraries, draw, inputs, present
from geocnn.train.recipes.part_surfaces import AREA, Batches, prepared, standard_mesh
from geocnn.train.reporting import per_cent
from geocnn.train.settings import POSITIVE, Range, SurfaceSettings, other, setting

if TYPE_CHECKING:
    from torchmetrics import Metric

    from geocnn.train.runs import Run


@dataclass(frozen=True, kw_only=True)
class BodyPartsSettings(SurfaceSettings):
    """The settings of the recipe."""

    train_size: int = setting(160, "training bodies, at most 160", Range(1, 160))
    val_size: int = setting(20, "validation bodies, at most 20", Range(1, 20))
    test_size: int = setting(40, "test bodies, at most 40", Range(1, 40))
    epochs: float = other(SurfaceSettings, "epochs", 5)
    batch_size: int = other(SurfaceSettings, "batch_size", 1)
    learning_rate: float = other(SurfaceSettings, "learning_rate", 0.005)
    check_every: int = other(SurfaceSettings, "check_every", 160)
    max_minutes: float = other(SurfaceSettings, "max_minutes", 40.0)
    widths: tuple[str, ...] = setting(
        ("32x0 + 16x1", "32x0 + 16x1", "48x0 + 24x1", "48x0 + 24x1"),
        "feature types, one per level, each with a quarter of the points",
    )
    convs: tuple[int, ...] = other(
        SurfaceSettings, "convs", (1, 1, 1, 1), "residual convolutions of each level, on the way down and up"
    )
    pointwise: int = setting(
        2,
        "residual blocks of the finest level that look at no neighbour, on the way down and up",
        Range(0, 100),
    )
    radius: float = setting(0.06, f"of the finest kernels, in metres on a body scaled to {AREA} m²", POSITIVE)
    baseline: bool = setting(
        False, "train also on vertex areas alone, a network of invariants only, and one without convolutions"
    )
    processes: int = setting(
        0, "processes that compute geometry at once; 0: one per core", Range(0, 1000), may_change=True
    )

    @property
    def validation_batch(self) -> int:
        return self.batch_size

    @property
    def test_batch(self) -> int:
        return 1


def trainings(settings: BodyPartsSettings) -> list[Training]:
    kinds = [("parts", "geocnn", parts_description(settings))]
    if settings.baseline:
        kinds.append(("area", "vertex areas alone", {"kind": "area"}))
        kinds.append(("blind", "frame-blind", blind_description(settings)))
        kinds.append(("control", "pointwise control", control_description(settings)))
    return [
        Training(folder=name + "-{seed}", title=title, description=network) for name, title, network in kinds
    ]


def chosen_bodies(settings: BodyPartsSettings, split: str) -> Sequence[Body]:
    sizes = {"train": settings.train_size, "val": settings.val_size, "test": settings.test_size}
    return bodies(split)[: sizes[split]]


def data(settings: BodyPartsSettings, name: str) -> Batches:
    check_libraries()
    chosen = chosen_bodies(settings, name)
    meshes = [standard_mesh(body.vertices, body.faces) for body in chosen]
    labels, console = [body.labels for body in chosen], make_console(quiet=not is_main_process())
    return Batches(prepared(meshes, labels, geometry(settings), settings.processes, console))


def geometry(settings: BodyPartsSettings) -> dict[str, Any]:
    """Return the options of `Surface.hierarchy` with which the networks' hierarchies are built."""
    return {"levels": len(settings.widths), "radius": settings.radius, "kind": settings.stencil}


def metrics() -> dict[str, Metric]:
    from geocnn.train.measures.metrics import PointClasses

    names = {
        "accuracy": "accuracy",
        "accuracy per vertex": "accuracy per point",
        "worst body": "worst surface",
        "mean IoU": "mean IoU",
    }
    return {name: PointClasses(PARTS, headline) for name, headline in names.items()}


def examine(run: Run) -> dict[str, Any]:
    meshes = [standard_mesh(b.vertices, b.faces) for b in chosen_bodies(run.settings, "test")[:3]]
    return {"agreement": agreement(run, meshes, geometry(run.settings))}


def subject(network: nn.Module, model: dict[str, Any]) -> Subject:
    """Put the network on the first test body. Finer meshes take minutes and are tried only on request.

    Raises GeocnnError for the network of areas alone.
    """
    if not isinstance(network, PartsNetwork):
        raise GeocnnError("the network of vertex areas takes no field on a surface: nothing to measure")
    body = bodies("test")[0]
    surface, quick = standard_mesh(body.vertices, body.faces), ("gauge", "relabelling", "rigid motion")
    return Subject(network.unet, surface, lambda s: s.hierarchy(**model["geometry"]), None, quick, 0)


RECIPE = Recipe(
    name="body-parts",
    summary="parts of human bodies on triangle meshes; tested on unseen people in unseen poses",
    about=f"Every mesh is scaled to an area of {AREA} m² first; it should have about 3,000 vertices.",
    presets={"default": BodyPartsSettings()},
    trainings=trainings,
    build=build_network,
    data=data,
    score=score,
    answer=answer,
    metrics=metrics,
    examine=examine,
    draw=lambda run: draw(run, chosen_bodies(run.settings, "test")),
    headline="Share of the area labelled right, on unseen people in unseen poses",
    show=per_cent,
    needs=needs,
    model_entries=lambda s: {"classes": list(PARTS), "area": AREA, "geometry": geometry(s)},
    inputs=inputs,
    present=present,
    subject=subject,
)
