"""A folder is recognised: meshes with classes, numbers or labels of vertices; fields on one mesh; maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geocnn.data.folders.contents import Contents, contents_of
from geocnn.data.folders.files import SPLITS
from geocnn.data.folders.found import TASKS, Found, Sample, Source, Task, Wishes
from geocnn.data.folders.matching import files_of_samples
from geocnn.data.folders.one_surface import fields_of
from geocnn.data.folders.point_values import holds_classes, read_values
from geocnn.data.folders.tabled import (
    LABELS,
    from_table,
    is_of_targets,
    named_samples,
    some,
    with_rows,
    with_splits,
)
from geocnn.errors import DatasetError
from geocnn.geometry.io import read_mesh
from geocnn.wording import counted

FORMS = (
    "meshes in folders named by their class; meshes with a labels.csv (file, label); meshes, each with a "
    "file of labels of its vertices beside it (NAME.ply, NAME.txt); one mesh with fields on it and a "
    "labels.csv; HEALPix maps with a labels.csv"
)


def recognise(folder: Path, wishes: Wishes | None = None) -> Found:
    """Return what a folder holds. Files are looked at, but values are not checked yet.

    Raises DatasetError where there is nothing to learn from, where the folder can be read in several ways,
    where rows of a table name no file, and where samples have the same name.

    >>> from geocnn.data.store import datasets_folder
    >>> recognise(datasets_folder() / "meshes")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    geocnn.errors.DatasetError: nothing in ... says what is true of its 7 meshes...
    """
    wishes = wishes or Wishes()
    if wishes.task is not None and wishes.task not in TASKS:
        raise DatasetError(f"there is no task '{wishes.task}'; choose one of {', '.join(TASKS)}")
    contents = contents_of(folder, wishes)
    if contents.meshes and (len(contents.meshes) > 1 or not contents.values):
        return _meshes(contents, wishes)
    if contents.meshes:
        return fields_of(contents, wishes)
    if contents.maps:
        return fields_of(contents, wishes)
    raise DatasetError(f"{folder} holds neither meshes nor maps; a folder may hold {FORMS}")


# -------------------------------------------------------------------------------------------------- meshes


def _meshes(contents: Contents, wishes: Wishes) -> Found:
    samples = named_samples(contents.folder, contents.meshes)
    if contents.table is not None and is_of_targets(contents.table, wishes):
        found = from_table(contents.folder, "meshes", samples, contents.table, wishes)
    elif (beside := _beside(contents, samples, wishes)) is not None:
        found = with_rows(beside, contents.table)
    elif (classes := _class_folders(contents.folder, samples)) is not None:
        where = "the folder of each mesh is its class"
        found = Found(contents.folder, "meshes", "classify", classes, ("class",), where)
        found = with_rows(found, contents.table)
    else:
        found = with_rows(_from_property(contents, samples, wishes), contents.table)
    if wishes.task is not None and found.task != wishes.task:
        raise DatasetError(
            f"{contents.folder} was read as '{found.task}' ({found.where}), not as '{wishes.task}'; "
            "name what is to be learnt by --labels or --target"
        )
    return with_splits(contents, found)


def _beside(contents: Contents, samples: Sequence[Sample], wishes: Wishes) -> Found | None:
    """Return the samples with files of the same name as targets of their points, if there are such files."""
    values = [f for f in contents.values if not _is_input(f, contents.folder, wishes)]
    if wishes.target:
        values = [f for f in values if _is_called(f, contents.folder, wishes.target[0])]
    targets = files_of_samples(samples, values, contents.folder, _several)
    if not any(targets):
        return None
    missing = [sample.name for sample, target in zip(samples, targets, strict=True) if target is None]
    if missing:
        raise DatasetError(
            f"{contents.folder}: {len(samples) - len(missing)} of {counted(len(samples), 'mesh')} have a "
            f"file of values beside them, but not {some(missing)}; add theirs, or take these meshes out"
        )
    first = next(target for target in targets if target is not None)
    name = wishes.target[0] if wishes.target and not first.name.endswith(wishes.target[0]) else None
    sources = [Source(target, None) for target in targets if target is not None]
    classes = holds_classes(read_values(sources[0]))
    task: Task = wishes.task or ("classify-points" if classes else "regress-points")
    result = [replace(s, target=source) for s, source in zip(samples, sources, strict=True)]
    where = f"files such as {first.relative_to(contents.folder)} beside the meshes"
    return Found(contents.folder, "meshes", task, result, (name or "label",), where)


def _several(sample: Sample, files: list[Path]) -> DatasetError:
    return DatasetError(
        f"beside {sample.name} lie {', '.join(f.name for f in files)}; say by --target which extension or "
        "folder holds what is to be learnt"
    )


def _is_called(file: Path, folder: Path, name: str) -> bool:
    """Return whether a file has an extension (`npy`, `.label.gii`, `_seg.txt`), or lies in a folder."""
    before = file.name.removesuffix(name)[-1:]
    ends = file.name.endswith(name) and not (before.isalnum() and name[:1].isalnum())
    return ends or name.strip("/") in file.relative_to(folder).parts[:-1]


def _is_input(file: Path, folder: Path, wishes: Wishes) -> bool:
    return any(_is_called(file, folder, name) for name in wishes.inputs)


def _class_folders(folder: Path, samples: Sequence[Sample]) -> list[Sample] | None:
    """Return the samples with the name of their folder as the class, if they lie in two folders or more."""
    folders = [Path(sample.name).parts[:-1] for sample in samples]
    while all(folders) and len({parts[0] for parts in folders}) == 1:
        folders = [parts[1:] for parts in folders]
    result = []
    for sample, own in zip(samples, folders, strict=True):
        parts = [part for part in own if part.lower() not in SPLITS]
        splits = [SPLITS[part.lower()] for part in own if part.lower() in SPLITS]
        if len(parts) != 1:
            return None
        result.append(replace(sample, target=parts[0], split=splits[0] if splits else ""))
    return result if len({sample.target for sample in result}) > 1 else None


def _from_property(contents: Contents, samples: Sequence[Sample], wishes: Wishes) -> Found:
    """Return the samples with a property of their files as the target."""
    first = contents.meshes[0]
    raw = read_mesh(first)
    names = [*raw.vertex_attributes, *raw.face_attributes]
    wanted = list(wishes.target) or [name for name in names if name.lower() in LABELS]
    if len(wanted) != 1 or wanted[0] not in names:
        table = "" if contents.table is None else contents.table.path.name
        nor = f" nor in {table}" if table else ""
        named = f"there is no '{wanted[0]}' in {first.name}{nor}. " if wishes.target else ""
        named += f"{table} has no column of targets. " if table and not named else ""
        known = (
            f"The properties of {first.name} are {', '.join(names)}: name one by --target. " if names else ""
        )
        raise DatasetError(
            f"nothing in {contents.folder} says what is true of its {counted(len(samples), 'mesh')}. "
            f"{named}{known}A folder may hold {FORMS}"
        )
    assert first is not None
    sources = [Source(sample.surface, wanted[0]) for sample in samples if sample.surface is not None]
    classes = holds_classes(read_values(sources[0]))
    task: Task = wishes.task or ("classify-points" if classes else "regress-points")
    result = [replace(s, target=source) for s, source in zip(samples, sources, strict=True)]
    return Found(
        contents.folder, "meshes", task, result, (wanted[0],), f"the property '{wanted[0]}' of the files"
    )
