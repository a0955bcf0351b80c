"""Training on a data set in Python, as the command does it, and answers of what was trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geocnn.console import make_console, terminal_console
from geocnn.data.folders.card import SURFACE, Card, DataFolder, Row, load_sample, open_folder
from geocnn.data.folders.samples import surface_of
from geocnn.data.folders.scaling import factor_of
from geocnn.errors import CheckpointError, DatasetError
from geocnn.geometry import Mesh, OneSidedMesh, healpix
from geocnn.groups.field_type import FieldType
from geocnn.train.files import MODEL, read_description
from geocnn.train.folders import choose_run, open_run
from geocnn.train.model_recipes import recipe_of_model
from geocnn.train.recipes.data_folder import RECIPE, folder_recipe
from geocnn.train.recipes.folder_answers import AT_ONCE, answer_rows, card_of, told_by
from geocnn.train.recipes.folder_batches import FolderBatch, batch
from geocnn.train.recipes.folder_networks import Together
from geocnn.train.recipes.folder_report import metric_of, truths_of
from geocnn.train.runs import train

if TYPE_CHECKING:
    from rich.console import Console

    from geocnn.data.dataset import SurfaceDataset
    from geocnn.train.measures.measured import Measures

Told = tuple[Tensor, Tensor | None]
"""Answers [rows, k], and their spread over the members of an ensemble."""


class TrainedRun:
    """A finished run on a data folder: `folder` with all its files, `results` of its test set, `predict`.

    Raises CheckpointError where the folder holds no network of a data folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        recipe_of_model(self.folder, None)
        network, model = RECIPE.load(self.folder)
        self.network: nn.Module = network
        self.card: Card = card_of(model)

    @property
    def results(self) -> dict[str, Any]:
        """Return results.json: metrics, settings, seeds, versions, times."""
        return json.loads((self.folder / "results.json").read_text(encoding="utf-8"))

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of classes, in the order of the columns of an answer."""
        return self.card.classes

    def predict(
        self, given: Any, fields: Mapping[str, Tensor] | None = None
    ) -> Float[Tensor, "rows k"] | list[Float[Tensor, "rows k"]]:
        """Answer a surface, or several.

        Args:
            given: a mesh in the unit of the training files, or where the surface was one for all samples a
                field [N, channels] on it, Stokes Q and U (with HEALPix's signs) after scalars; or a list of
                them.
            fields: by name, [N] or [N, channels], of a mesh whose network was trained with fields.

        Returns:
            Probabilities of the classes or numbers in their own units: [1, k], or [N, k] per point. A list
            for a list. An ensemble answers with the mean of its members.

        Raises DatasetError and GeometryError for what the network was not trained on.
        """
        several = isinstance(given, list | tuple)
        answers = [mean for mean, _ in self._answers(list(given) if several else [given], fields or {})]
        return answers if several else answers[0]

    def spread(
        self, given: Any, fields: Mapping[str, Tensor] | None = None
    ) -> Float[Tensor, "rows k"] | list[Float[Tensor, "rows k"]]:
        """Return the standard deviation of the members' answers, of the same form as `predict`'s.

        Raises as `predict` does, and CheckpointError where the run has a single network (`members=`).
        """
        if not isinstance(self.network, Together):
            raise CheckpointError(f"{self.folder} holds one network; train several with members=5, say")
        several = isinstance(given, list | tuple)
        pairs = self._answers(list(given) if several else [given], fields or {})
        spreads = [spread for _, spread in pairs if spread is not None]
        return spreads if several else spreads[0]

    @torch.no_grad()
    def _answers(self, samples: list[Any], fields: Mapping[str, Tensor]) -> list[Told]:
        return (
            self._of_meshes(samples, fields) if self.card.surfaces == "meshes" else self._of_fields(samples)
        )

    def _of_meshes(self, meshes: Sequence[Any], fields: Mapping[str, Tensor]) -> list[Told]:
        from geocnn.data.folders.items import items_with_meshes

        tensors = []
        for k, one in enumerate(meshes):
            if not isinstance(one, Mesh | OneSidedMesh):
                raise DatasetError(f"item {k} is a {type(one).__name__}; this network answers meshes")
            missing = [name for name in self.card.fields if name not in fields]
            if missing:
                raise DatasetError(f"the network was trained with the field '{missing[0]}'; give fields=")
            given = {name: torch.as_tensor(fields[name]).double() for name in self.card.fields}
            own = {f"field.{name}": value.reshape(len(value), -1) for name, value in given.items()}
            tensors.append({"vertices": one.vertices, "faces": one.faces, **own})
        card = self.card
        factors = [factor_of(t["vertices"], t["faces"], card.unit, card.scale)[0] for t in tensors]
        items = items_with_meshes(self.card, tensors, factors, [None] * len(tensors), 1, terminal_console())
        return [self.answer(batch([item], self.card)) for item in items]

    def _of_fields(self, values: Sequence[Any]) -> list[Told]:
        from geocnn.data.folders.items import Shared

        if self.card.surfaces == "healpix":
            shared = Shared(healpix(self.card.nside), self.card)
        else:
            shared = Shared(surface_of(load_sample(self.folder / SURFACE), 1 / self.card.unit), self.card)
        sizes = [FieldType(text).dim for text in self.card.field_types]
        names = [f"field.{name}" for name in self.card.fields]
        arrays = [torch.as_tensor(value).double() for value in values]
        arrays = [value[:, None] if value.ndim == 1 else value for value in arrays]
        for value in arrays:
            if value.shape[-1] != sum(sizes):
                fields = ", ".join(
                    f"{n} of '{name}'" for n, name in zip(sizes, self.card.fields, strict=True)
                )
                raise DatasetError(f"a field has {sum(sizes)} channels ({fields}), got {list(value.shape)}")
        parts = [dict(zip(names, value.split(sizes, -1), strict=True)) for value in arrays]
        items = [shared.item(own, None) for own in parts]
        answers: list[Told] = []
        for k in range(0, len(items), AT_ONCE):
            group = items[k : k + AT_ONCE]
            mean, spread = self.answer(batch(group, self.card))
            spreads = [None] * len(group) if spread is None else spread.chunk(len(group))
            answers += zip(mean.chunk(len(group)), spreads, strict=True)
        return answers

    def answer(self, given: FolderBatch) -> Told:
        """Return the answers to a batch, a row per sample or point, and their spread over members."""
        return told_by(answer_rows(self.network, given)[0], self.card)


def fit(
    data: SurfaceDataset | DataFolder | str | Path,
    run: str | Path | None = None,
    *,
    resume: bool = False,
    console: Console | None = None,
    **settings: Any,
) -> TrainedRun:
    """Train on a data set, as `geocnn train` does, and return what was trained.

    Args:
        data: a data set, or a data folder that `geocnn prepare` wrote.
        run: the run folder; by default runs/<name>-<n>.
        resume: go on with the run in that folder.
        settings: those of the command, such as `epochs=20`, `size="small"`, `seed=1`.

    Raises GeocnnError as the command does.
    """
    if isinstance(data, str | Path):
        folder = open_folder(Path(data))
    else:
        folder = data if isinstance(data, DataFolder) else data.folder
    recipe = folder_recipe(folder.path)
    unknown = [name for name in settings if not hasattr(recipe.default, name)]
    if unknown:
        raise DatasetError(f"there is no setting '{unknown[0]}'; docs/data.md lists them")
    place = choose_run(folder.card.name, None if run is None else Path(run), resume)
    place, chosen = open_run(recipe, "default", settings, place, resume)
    train(recipe, chosen, place, console or make_console())
    return TrainedRun(place)


@torch.no_grad()
def evaluate(run: str | Path, data: DataFolder | str | Path, split: str = "test") -> Measures:
    """Measure a trained network on a split of a data folder, with intervals over its samples.

    Raises CheckpointError where the folder holds no such network, DatasetError where the data folder has
    another task, other classes or other fields, or no sample in the split.
    """
    from geocnn.data.folders.items import items_of
    from geocnn.train.recipes.folder_batches import FolderBatches

    trained = TrainedRun(run)
    folder = data if isinstance(data, DataFolder) else open_folder(Path(data))
    for name in ("task", "surfaces", "classes", "target", "fields", "field_types", "shape", "nside"):
        ours, theirs = getattr(trained.card, name), getattr(folder.card, name)
        if ours != theirs:
            raise DatasetError(f"the network learnt with {name} {ours}, {folder.path} has {theirs}")
    model = read_description(trained.folder / MODEL)
    if model.get("folds") and folder.origin == model.get("origin"):
        raise DatasetError(
            f"the networks of {trained.folder} learnt from all samples of {folder.path} in turn; its "
            "results.json holds what they answered to those they had not seen. Evaluate on another folder"
        )
    rows = [_counted_in(row, folder.card, trained.card) for row in folder.of(split)]
    if not rows:
        raise DatasetError(f"{folder.path} has no samples in the split '{split}'")
    geometry = {"unit", "scale", "size", "radius", "levels", "kind"}
    card = Card.of(vars(folder.card) | {name: getattr(trained.card, name) for name in geometry})
    items = items_of(DataFolder(folder.path, card, tuple(rows)), rows, 0, terminal_console())
    batches = FolderBatches(items, folder.card)
    metric = metric_of(trained.card)
    for k, known in enumerate(truths_of(batches)):
        metric.update(trained.answer(batches.__getitems__([k]))[0], *known)
    return metric.measures()


def _counted_in(row: Row, own: Card, other: Card) -> Row:
    """Return a row whose lengths are counted in the unit of another card."""
    if own.scale != other.scale:
        raise CheckpointError(
            f"the network learnt with scale '{other.scale}', this folder was prepared with '{own.scale}'; "
            f"prepare it with --scale {other.scale}"
        )
    return Row(**{**vars(row), "factor": row.factor * own.unit / other.unit})
