"""Answers for points are written in the format in which the fields came, and labels in that of the labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from geocnn.data.fits import FITS_NAME
from geocnn.data.fits_writing import WRITTEN, write_map_file
from geocnn.data.folders.card import Card
from geocnn.data.folders.files import is_fits, stem, values_suffix
from geocnn.data.folders.reading import Mended, Read
from geocnn.data.maps import read_map_file
from geocnn.files import replacing
from geocnn.geometry.io import WRITERS, write_mesh, write_vertex_values
from geocnn.geometry.io.npz import archive_bytes
from geocnn.geometry.spheres.healpix_maps import reorder

Points = Float[Tensor, "n k"]
Columns = dict[str, np.ndarray]


def write_points(
    reads: Sequence[Read],
    answers: Sequence[Points],
    spreads: Sequence[Points | None],
    card: Card,
    folder: Path,
    nested: bool | None,
    root: Path | None = None,
) -> list[Path]:
    """Write the answers for the points of samples; return the files, which lie in `folder` as those that were
    asked about lie in `root`.

    Meshes: NAME.answers with their extension (.ply for those that hold no values), and where labels came in
    files beside the meshes, one like these. Fields: a file per sample, or per file of several samples, in its
    format. Maps keep the order of pixels of their file: `nested` is what the user said of it.
    """
    columns = [columns_of(own, doubt, card) for own, doubt in zip(answers, spreads, strict=True)]
    if card.surfaces == "meshes":
        each = zip(reads, answers, columns, strict=True)
        return [
            file
            for read, own, named in each
            for file in _write_mesh(read, own, named, card, _place(read.sample.surface, root, folder))
        ]
    together: dict[Path, list[int]] = {}
    for k, read in enumerate(reads):
        together.setdefault(read.sample.inputs[0].path, []).append(k)
    files = []
    for path, members in together.items():
        own = [columns[k] for k in members]
        place = _place(path, root, folder)
        if is_fits(path):
            files.append(_write_map(path, own[0], card, place, nested))
            continue
        if card.nside and nested:
            own = [{name: _nested(array) for name, array in one.items()} for one in own]
        names = [reads[k].sample.inputs[0].name or reads[k].sample.name for k in members]
        several = len(members) > 1 or reads[members[0]].sample.inputs[0].row is not None
        files.append(_write_values(path, own, names if several else None, card, place))
    return files


def _place(path: Path | None, root: Path | None, folder: Path) -> Path:
    """Return the folder in `folder` that is where a file's is in `root`; it is made."""
    if path is None or root is None:
        return folder
    place = folder / path.parent.relative_to(root)
    place.mkdir(parents=True, exist_ok=True)
    return place


def columns_of(answers: Points, spread: Points | None, card: Card) -> Columns:
    """Return values of points by name: the label as files have it and its probability, or the numbers; and
    their spread over the members of an ensemble.
    """
    if not card.is_classes:
        columns = {name: answers[:, k].numpy() for k, name in enumerate(card.target)}
        spreads = {} if spread is None else {f"{n}_spread": spread[:, k] for k, n in enumerate(card.target)}
        return columns | {name: value.numpy() for name, value in spreads.items()}
    best, place = answers.max(-1)
    labels = torch.tensor(card.labels)[place]
    columns = {"answer": labels.to(torch.int32).numpy(), "probability": best.float().numpy()}
    if spread is not None:
        columns["spread"] = spread.gather(1, place[:, None])[:, 0].float().numpy()
    return columns


# -------------------------------------------------------------------------------------------------- meshes


def _write_mesh(read: Read, answers: Points, columns: Columns, card: Card, folder: Path) -> list[Path]:
    assert read.raw is not None and read.sample.surface is not None
    suffix = read.sample.surface.suffix.lower()
    # .obj and .off files cannot hold values of vertices
    suffix = suffix if suffix in WRITERS and suffix not in (".obj", ".off") else ".ply"
    name = Path(read.sample.name).name
    file = folder / f"{name}.answers{suffix}"
    raw, mended = read.raw, read.mended
    of_triangles = answers[raw.faces].mean(1)
    if card.per_face:
        raw = raw.with_attributes(face=columns_of(of_triangles, None, card))
    write_mesh(file, raw.with_attributes(columns))
    labels = folder / f"{name}.answers{card.values_suffix}"
    if not card.values_suffix or labels == file or mended is None:
        return [file]
    own = _of_faces(mended, of_triangles, card) if card.per_face else _of_file(mended.vertex, answers, card)
    names = dict(zip(card.labels, card.classes, strict=True)) if card.is_classes else None
    write_vertex_values(labels, _learnt(own, card, card.values_suffix), names)
    return [file, labels]


def _of_faces(mended: Mended, of_triangles: Float[Tensor, "f k"], card: Card) -> Columns:
    """Return the answers for the faces of the file: the mean over the triangles of each."""
    n, kept = int(mended.polygon.max()) + 1, mended.triangle >= 0
    polygon, values = mended.polygon[kept], of_triangles[mended.triangle[kept]]
    total = values.new_zeros(n, values.shape[1]).index_add_(0, polygon, values)
    count = torch.bincount(polygon, minlength=n)
    place = torch.where(count > 0, torch.arange(n), -1)
    return _of_file(place, total / count.clamp_min(1)[:, None], card)


def _of_file(place: Int64[Tensor, " n"], answers: Points, card: Card) -> Columns:
    """Return the answers at places; at −1, which repairs took out, no label and no number."""
    columns = columns_of(answers[place.clamp_min(0)], None, card)
    nothing = -1 if card.unlabelled is None else card.unlabelled
    lost = (place < 0).numpy()
    return {
        name: np.where(lost, nothing if own.dtype.kind == "i" else np.nan, own).astype(own.dtype)
        for name, own in columns.items()
    }


def _learnt(columns: Columns, card: Card, suffix: str) -> Columns | np.ndarray:
    """Return what files of labels hold: the labels, or the numbers, by name where the format has names."""
    if card.is_classes or len(card.target) == 1 or suffix in (".npy", ".txt"):
        return _one_array(columns, card)
    return {name: columns[name] for name in card.target}


# -------------------------------------------------------------------------------------------------- fields


def _write_map(path: Path, columns: Columns, card: Card, folder: Path, nested: bool | None) -> Path:
    """Write a FITS file in the order of pixels and with the coordinates of another."""
    given = read_map_file(path, nested, gaps=True)
    order = str(given.header.get("ORDERING", "")).strip().upper()
    turned = order.startswith("NEST") if order else bool(nested)
    if turned:
        columns = {name: _nested(array) for name, array in columns.items()}
    found = FITS_NAME.search(path.name)
    suffix = found[0] if found and WRITTEN.search(path.name) else ".fits"
    file = folder / f"{stem(path)}.answers{suffix}"
    chosen = ["answer"] if card.is_classes else list(card.target)
    # FITS takes no accents
    words = {name: re.sub(r"[^!-~ ]", "_", name) for name in columns}
    other = {words[name]: array for name, array in columns.items() if name not in chosen}
    write_map_file(
        file,
        np.stack([columns[name] for name in chosen]),
        [words[name] for name in chosen],
        nested=turned,
        coordinates=given.coordinates,
        other=other,
    )
    return file


def _nested(values: np.ndarray) -> np.ndarray:
    return reorder(torch.from_numpy(values), to="nested").numpy()


def _write_values(
    path: Path, columns: Sequence[Columns], names: Sequence[str] | None, card: Card, folder: Path
) -> Path:
    """Write a file like another one; of several samples (`names`) arrays of rows, or a column of each."""
    suffix = values_suffix(path)
    if suffix in (".npy", ".npz"):
        arrays = {name: np.stack([one[name] for one in columns]) for name in columns[0]}
        arrays = arrays if names is not None else {name: rows[0] for name, rows in arrays.items()}
        file = folder / f"{stem(path)}.answers{suffix}"
        with replacing(file) as new, new.open("wb") as stream:
            if suffix == ".npz":
                stream.write(archive_bytes(arrays))
            else:
                array = _one_array(arrays, card)
                # the file of one sky has a row per map
                np.save(stream, array.T if card.nside and names is None else array)
        return file
    if not card.is_classes and suffix.removesuffix(".gz") in (".annot", ".label.gii"):
        suffix = ".npy"  # these hold labels alone
    file = folder / f"{stem(path)}.answers{suffix}"
    known = dict(zip(card.labels, card.classes, strict=True)) if card.is_classes else None
    of_each = [_learnt(one, card, suffix) for one in columns]
    if names is None:
        write_vertex_values(file, of_each[0], known)
        return file
    held: dict[str, np.ndarray] = {}
    for name, own in zip(names, of_each, strict=True):
        held |= {f"{name}_{k}": a for k, a in own.items()} if isinstance(own, Mapping) else {name: own}
    write_vertex_values(file, held, known)
    return file


def _one_array(arrays: Mapping[str, np.ndarray], card: Card) -> np.ndarray:
    """Return the labels [..., n], or the numbers [..., n] or [..., n, k]."""
    if card.is_classes:
        return arrays["answer"]
    numbers = [arrays[name] for name in card.target]
    return numbers[0] if len(numbers) == 1 else np.stack(numbers, -1)
