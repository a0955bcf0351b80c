"""A user's folder becomes a data folder: read, checked, split and scaled; what was found and done is told."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geocnn.data.folders.card import (
    SURFACE,
    Card,
    DataFolder,
    Row,
    file_digest,
    is_data_folder,
    save_folder,
    save_sample,
)
from geocnn.data.folders.changes import Options, listing_of, said
from geocnn.data.folders.contents import contents_of
from geocnn.data.folders.files import values_suffix
from geocnn.data.folders.found import Found, Source, Wishes
from geocnn.data.folders.kept import Kept, files_of, kept_of
from geocnn.data.folders.learnt import classes_of, moments_of, strata_of
from geocnn.data.folders.likeness import repeated
from geocnn.data.folders.point_values import is_property
from geocnn.data.folders.polarisation import POLARISED
from geocnn.data.folders.reading import Reader
from geocnn.data.folders.recognise import recognise
from geocnn.data.folders.samples import (
    scalar_type,
    shared_surface,
    shared_unit,
    surface_of,
    vector_type,
)
from geocnn.data.folders.scaling import (
    SIGNIFICANT,
    Scale,
    alike_at_unit_area,
    area_and_spacing,
    area_tells,
    check_units,
    factors,
    unlike_resolution,
)
from geocnn.data.folders.splitting import split_samples
from geocnn.errors import DatasetError
from geocnn.geometry.core.half_edges import wound_alike
from geocnn.geometry.core.hierarchy import resolutions
from geocnn.geometry.io import RawMesh
from geocnn.geometry.spheres.pixels import nside_of
from geocnn.groups.planar import O2, SO2, Group
from geocnn.wording import counted

MOST_LEVELS = 5
"""Levels of hierarchies, the finest included: no network has more."""

MARK = ".geocnn-unfinished"
"""A file that says that all in a folder was written by a call that has not ended."""

Told = Callable[[str], None]
"""What takes a line for the user."""


def prepare_folder(
    folder: Path,
    out: Path,
    wishes: Wishes | None = None,
    options: Options | None = None,
    told: Told = lambda line: None,
) -> DataFolder:
    """Read a folder of meshes or maps, check it, and write a data folder to `out`.

    Nothing of the input is changed. Geometry is not computed here: `open_dataset` does that, with a cache.

    Args:
        folder: the user's files, in one of the forms of docs/data.md.
        out: a folder that does not exist or is empty, or holds what an interrupted call left.
        told: takes each line about what was found and done.

    Raises DatasetError and GeometryError, naming the file: see `recognise` and `Reader`; for `out` that is
    in use, a class with a single sample, and lengths in unlike units.
    """
    wishes, options = wishes or Wishes(), options or Options()
    _make_out(folder, out)
    remarks: list[str] = []

    def note(line: str) -> None:
        remarks.append(line)
        told(line)

    found = recognise(folder, wishes)
    note(_what(found))
    for remark in found.remarks:
        note(remark)
    reader = Reader(found, wishes, options.fixes)
    files = files_of([sample.name for sample in found.samples])
    kept = [kept_of(read, out, files[read.sample.name]) for read in reader]
    for remark in reader.remarks:
        note(remark)
    if not kept:
        raise DatasetError(f"{folder} holds no samples")
    splits = split_samples(
        strata_of(found, kept), [s.group for s in found.samples], _given(found), options.seed
    )
    if "train" not in splits:
        raise DatasetError(f"{folder} has no training samples: all are {' or '.join(sorted(set(splits)))}")
    note(_splits_told(splits, found))
    card = _card(found, kept, splits, wishes, options, reader.template)
    _tell_repeated(kept, splits, note)
    factor, unit, scale, size = _scaled(found, kept, splits, options, reader.template, note)
    if reader.template is not None:
        raw = reader.template
        save_sample(out / SURFACE, {"vertices": raw.vertices, "faces": raw.faces})
    rows = [
        Row(k.name, k.file, name, s.group, s.weight, None if isinstance(s.target, Source) else s.target, own)
        for k, s, name, own in zip(kept, found.samples, splits, factor, strict=True)
    ]
    card = replace(card, unit=unit, scale=scale, size=size, remarks=tuple(remarks))
    card = replace(card, listing=listing_of(folder, wishes))
    data = save_folder(out, replace(card, levels=options.levels or _levels(card, rows, kept, out)), rows)
    (out / MARK).unlink()
    return data


def _make_out(folder: Path, out: Path) -> None:
    """Make the folder that is written to, without what an interrupted call left in it: that is marked.

    Raises DatasetError where it holds anything else, or lies in the user's folder or around it.
    """
    if is_data_folder(out):
        raise DatasetError(f"{out} is a data folder already; train it, or name another one")
    ours, theirs = out.resolve(), folder.resolve()
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise DatasetError(f"{out} and {folder} lie in each other; name a folder apart from it")
    if out.is_file():
        raise DatasetError(f"{out} is a file; name a folder to write to")
    if (out / MARK).is_file():
        shutil.rmtree(out)
    elif out.is_dir() and any(out.iterdir()):
        raise DatasetError(f"{out} is not empty ({next(out.iterdir()).name}); name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()


def _what(found: Found) -> str:
    what = {"meshes": "mesh", "one mesh": "field", "healpix": "map"}[found.surfaces]
    on = "" if found.template is None else f" on {found.template.name}"
    learnt = {
        "classify": "a class of each",
        "regress": f"{', '.join(found.target)} of each",
        "classify-points": "a class per point",
        "regress-points": "numbers per point",
    }[found.task]
    return f"{counted(len(found.samples), what)}{on}; to learn: {learnt} ({found.where})"


def _given(found: Found) -> list[str]:
    return [sample.split for sample in found.samples]


def _splits_told(splits: Sequence[str], found: Found) -> str:
    counts = Counter(splits)
    how = (
        "as given"
        if all(_given(found))
        else "chosen at random, alike in each class"
        if found.task == ("classify")
        else "chosen at random"
    )
    groups = ", whole groups together" if any(s.group for s in found.samples) else ""
    shown = ", ".join(f"{counts[name]} {name}" for name in ("train", "val", "test")) + f" ({how}{groups})"
    return shown if counts["val"] else shown + "; without a validation set the last weights are kept"


def _card(
    found: Found,
    kept: Sequence[Kept],
    splits: Sequence[str],
    wishes: Wishes,
    options: Options,
    template: RawMesh | None,
) -> Card:
    """Return the card, but for the scale."""
    classes, labels = classes_of(found, kept, splits, wishes)
    fields = kept[0].fields
    for k in kept:
        if k.fields != fields:
            raise DatasetError(
                f"the fields of '{k.name}' have {k.fields} channels, those of '{kept[0].name}' {fields}"
            )
    nside = nside_of(kept[0].n) if found.surfaces == "healpix" else 0
    if nside and len({k.n for k in kept}) > 1:
        other = next(k for k in kept if k.n != kept[0].n)
        raise DatasetError(
            f"'{other.name}' has {other.n} pixels, '{kept[0].name}' {kept[0].n}; give maps of one nside"
        )
    group = _group_of(kept, template)
    shape = found.surfaces != "healpix" and (wishes.shape if wishes.shape is not None else not fields)
    if shape and group.flips:
        raise DatasetError(
            f"{_one_sided(kept)} has only one side, where shape features have no sign; let fields come in by "
            "--inputs, without --shape, or take it out"
        )
    mean, std = moments_of(found, kept, splits)
    sources = {s.surface for s in found.samples} | {source.path for s in found.samples for source in s.inputs}
    sources |= {s.target.path for s in found.samples if isinstance(s.target, Source)} | {found.template}
    contents = contents_of(found.folder, wishes)
    sources |= {*contents.lists.values(), None if contents.table is None else contents.table.path}
    points = int(np.median([k.n for k in kept]))
    return Card(
        name=found.folder.resolve().name,
        task=found.task,
        surfaces=found.surfaces,
        target=found.target
        if len(found.target) == max(1, len(mean))
        else tuple(f"{found.target[0]}_{k}" for k in range(len(mean))),
        classes=classes,
        labels=labels,
        unlabelled=wishes.unlabelled,
        per_face=any(k.per_face for k in kept),
        values_suffix=_values_suffix(found),
        mean=mean,
        std=std,
        fields=tuple(fields),
        field_types=tuple(_type_of(name, count, found, group) for name, count in fields.items()),
        columns=wishes.inputs if found.surfaces == "healpix" else (),
        polarisation=wishes.polarisation or "",
        shape=shape,
        nside=nside,
        points=points,
        radius=options.radius,
        levels=options.levels or 0,
        kind=options.kind,
        fixes=options.fixes,
        given=said(wishes, options),
        sources={
            path.relative_to(found.folder).as_posix()
            if path.is_relative_to(found.folder)
            else path.resolve().as_posix(): file_digest(path)
            for path in sorted(p for p in sources if p is not None)
        },
    )


def _values_suffix(found: Found) -> str:
    """Return what ends the names of files of values beside meshes, "" where there are none."""
    first = found.samples[0].target
    beside = found.surfaces == "meshes" and isinstance(first, Source) and not is_property(first)
    return values_suffix(first.path) if beside and isinstance(first, Source) else ""


def _group_of(kept: Sequence[Kept], template: RawMesh | None) -> Group:
    """Return the group of fields: with flips where a mesh has only one side."""
    shared = template is not None and not wound_alike(template.faces, len(template.vertices))
    return O2 if shared or any(k.one_sided for k in kept) else SO2


def _one_sided(kept: Sequence[Kept]) -> str:
    return next((f"'{k.name}'" for k in kept if k.one_sided), "the mesh")


def _type_of(name: str, channels: int, found: Found, group: Group) -> str:
    """Three channels of a field on a mesh are a vector in space: its normal and its tangent part."""
    if found.surfaces == "healpix":
        return f"{channels // 2}x2" if name == POLARISED else f"{channels}x0"
    vector = channels == 3
    return str(vector_type(group) if vector else scalar_type(channels, group))


def _scaled(
    found: Found,
    kept: Sequence[Kept],
    splits: Sequence[str],
    options: Options,
    template: RawMesh | None,
    told: Told,
) -> tuple[list[float], float, Scale, bool]:
    """Return the factor of each sample's lengths, the unit, how it was chosen, and whether size comes in."""
    if found.surfaces == "healpix":
        return [1.0] * len(kept), 1.0, "set", False
    if template is not None:
        _, spacing = area_and_spacing(template.vertices, template.faces)
        return [1 / spacing] * len(kept), spacing, "set", False
    names, areas, spacings = [k.name for k in kept], [k.area for k in kept], [k.spacing for k in kept]
    training = [name == "train" for name in splits]
    chosen = [k for k, used in enumerate(training) if used]
    if options.scale == "auto":
        truths = [found.samples[k].target for k in chosen]
        scale, size, why = _scale_by_itself(
            found, truths, [areas[k] for k in chosen], [spacings[k] for k in chosen]
        )
        if why:
            told(f"{why}; --scale {'set' if scale == 'each' else 'each'} does the opposite")
    else:
        scale, size = options.scale, False
    if scale == "set" or size:
        check_units(names, areas)
    factor, unit = factors(areas, spacings, training, scale)
    told(
        f"lengths are counted in {unit:.4g}, the median point spacing of the training meshes"
        + (" at unit area" if scale == "each" else "")
    )
    unlike = unlike_resolution(names, [s * f for s, f in zip(spacings, factor, strict=True)])
    if unlike:
        told(unlike)
    return factor, unit, scale, size


def _scale_by_itself(
    found: Found, truths: Sequence[Any], areas: Sequence[float], spacings: Sequence[float]
) -> tuple[Scale, bool, str]:
    """Return the scale for training meshes of these areas and spacings, whether size comes in, and why."""
    telling = ""
    if not found.per_point:
        numbers = np.array(truths, dtype=np.float64) if found.task == "regress" else [str(t) for t in truths]
        p = area_tells(areas, numbers)
        about = f"about {found.target[0]} (p = {p:.2g})"
        if p > SIGNIFICANT:
            return "each", False, f"area tells nothing {about}: every mesh gets unit area"
        telling = f"area tells something {about}: sizes are kept"
    if not alike_at_unit_area(areas, spacings):
        return "set", False, telling
    alike = "point spacings are alike at unit area alone: every mesh gets that"
    if found.task == "classify-points":
        return "each", False, alike
    return "each", True, f"{telling or 'sizes are kept'}, as a field that comes in; {alike}"


def _tell_repeated(kept: Sequence[Kept], splits: Sequence[str], told: Told) -> None:
    """Tell of shapes that are in two splits."""
    outlines = [k.outline for k in kept if k.outline is not None]
    across = [(a, b) for a, b in repeated(outlines) if splits[a] != splits[b]]
    if across:
        a, b = across[0]
        told(
            f"{counted(len(across), 'mesh')} of one split {'has' if len(across) == 1 else 'have'} the shape "
            f"of one in another ('{kept[a].name}' in {splits[a]}, '{kept[b].name}' in {splits[b]}): a column "
            "'group' keeps them together, else results look better than they are"
        )


def _levels(card: Card, rows: Sequence[Row], kept: Sequence[Kept], out: Path) -> int:
    """Return the number of levels that the smallest surface allows, at most MOST_LEVELS."""
    draft = DataFolder(out, card, tuple(rows))
    if card.surfaces == "meshes":
        k = min(range(len(kept)), key=lambda k: kept[k].n)
        surface = surface_of(draft.tensors(rows[k]), rows[k].factor)
    else:
        surface = shared_surface(draft)
    radius = card.radius * shared_unit(card)
    return min(MOST_LEVELS, len(resolutions(surface, None, radius, card.kind)))
