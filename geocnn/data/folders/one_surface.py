"""Many fields on one surface: on a mesh, with files or rows of an array as samples, or on HEALPix pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from geocnn.data.folders.contents import Contents
from geocnn.data.folders.field_tables import is_field_table, read_field_table
from geocnn.data.folders.files import is_fits, stem
from geocnn.data.folders.found import Found, Sample, Source, Surfaces, Target, Task, Wishes
from geocnn.data.folders.matching import Finder, files_of_samples
from geocnn.data.folders.point_values import Values, array_of, holds_classes, read_values
from geocnn.data.folders.table import are_numbers
from geocnn.data.folders.tabled import from_table, is_of_targets, named_samples, some, with_rows, with_splits
from geocnn.errors import DatasetError
from geocnn.geometry.io import read_mesh
from geocnn.wording import counted

TRUTHS = ("y", "labels", "targets", "label", "target", "truth")
"""Names of arrays and files that are taken as targets."""


def fields_of(contents: Contents, wishes: Wishes) -> Found:
    """Return the samples of a folder whose surface is one: fields on its only mesh, or HEALPix maps.

    Raises DatasetError where nothing says what is true of them.
    """
    surfaces: Surfaces = "one mesh" if contents.meshes else "healpix"
    n = len(read_mesh(contents.meshes[0]).vertices) if contents.meshes else None
    files = contents.values if contents.meshes else contents.maps
    truths = [f for f in [*contents.values, *contents.maps] if is_truth(f, contents.folder, wishes)]
    inputs = [f for f in files if f not in truths]
    if not inputs:
        raise DatasetError(
            f"{contents.folder} holds no fields beside {counted(len(truths), 'file')} of targets"
        )
    samples, own_truth = samples_of(contents.folder, inputs, n)
    template = contents.meshes[0] if contents.meshes else None
    if contents.table is not None and not truths and is_of_targets(contents.table, wishes):
        samples, remark = _in_order(samples, contents)
        found = from_table(contents.folder, surfaces, samples, contents.table, wishes)
        found.remarks.extend(remark)
    else:
        targets, where = _targets(samples, truths, own_truth, contents, wishes)
        found = _with_targets(contents.folder, surfaces, samples, targets, where, wishes)
        found = with_rows(found, contents.table)
    return with_splits(contents, replace(found, template=template, points=n or 0))


def is_truth(file: Path, folder: Path, wishes: Wishes) -> bool:
    """Return whether a file says what is true, by its name or that of its folder."""
    names = (file.name, stem(file), *file.relative_to(folder).parts[:-1])
    if wishes.target:
        return any(name.strip("/") in names for name in wishes.target)
    return any(name.lower() in TRUTHS for name in names)


def samples_of(folder: Path, files: Sequence[Path], n: int | None) -> tuple[list[Sample], Source | None]:
    """Return a sample per file; of a single file with several fields, one per row or per column.

    `n` is the number of points, None where maps tell it. The second result is an array of targets in that
    single file. Raises DatasetError where the file has another shape.
    """
    if len(files) > 1 or is_fits(files[0]):
        named = named_samples(folder, files)
        inputs = [(Source(file),) for file in files]
        return [replace(s, surface=None, inputs=i) for s, i in zip(named, inputs, strict=True)], None
    (file,) = files
    name, truth, array = None, None, None
    if file.suffix.lower() == ".npy":
        array = array_of(file, None)
    elif file.suffix.lower() == ".npz":
        name, truth = _arrays_of(file, n)
        array = array_of(file, name)
    elif n is not None and is_field_table(file):
        names, array = read_field_table(file, n)
        return [Sample(own, None, (Source(file, None, k),)) for k, own in enumerate(names)], None
    elif n is not None:
        return _columns(file), None
    if array is not None and array.ndim == 1 and n in (None, len(array)):
        return [Sample(stem(file), None, (Source(file, name),))], None
    if array is not None and array.ndim >= 2 and n in (None, array.shape[1]):
        digits = len(str(len(array) - 1))
        rows = range(len(array))
        return [Sample(f"{stem(file)}-{k:0{digits}}", None, (Source(file, name, k),)) for k in rows], truth
    shape = "" if array is None else f", of shape {list(array.shape)}"
    points = "pixels" if n is None else n
    wanted = f"[samples, {points}] or [samples, {points}, channels]"
    raise DatasetError(
        f"{file} is the only file of fields{shape}; give an array {wanted}, or a file per sample"
    )


def _columns(file: Path) -> list[Sample]:
    from geocnn.geometry.io import read_vertex_values

    return [Sample(name, None, (Source(file, name),)) for name in read_vertex_values(file).values]


def _arrays_of(file: Path, n: int | None) -> tuple[str, Source | None]:
    """Return the array of fields in an archive, and its array of targets."""
    with np.load(file, allow_pickle=False) as stored:
        shapes = {name: stored[name].shape for name in stored.files}
    fields = [
        k for k, s in shapes.items() if len(s) >= 2 and (n is None or s[1] == n) and k.lower() not in TRUTHS
    ]
    if len(fields) != 1:
        shown = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise DatasetError(f"{file} must hold one array of fields [samples, points, …]; it holds {shown}")
    samples = shapes[fields[0]][0]
    truths = [k for k, s in shapes.items() if k.lower() in TRUTHS and s[:1] == (samples,)]
    return fields[0], Source(file, truths[0]) if len(truths) == 1 else None


def _in_order(samples: list[Sample], contents: Contents) -> tuple[list[Sample], list[str]]:
    """Name samples that are rows of an array after the rows of a table of the same number of rows."""
    table = contents.table
    assert table is not None
    if any(source.row is None for sample in samples for source in sample.inputs):
        return samples, []
    if table.key is not None:
        finder = Finder(samples)
        if all(len(finder.find(name)) == 1 for name in table.column(table.key)):
            return samples, []
    if len(table.rows) != len(samples):
        raise DatasetError(
            f"{table.path} has {counted(len(table.rows), 'row')}, "
            f"{samples[0].inputs[0].path.name} {counted(len(samples), 'field')}; give one row per field"
        )
    if table.key is None:
        raise DatasetError(f"{table.path} has no column that names samples; call it 'sample'")
    names = [(Path(name).parent / stem(Path(name))).as_posix() for name in table.column(table.key)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DatasetError(
            f"two rows of {table.path} are named '{twice[0]}'; give each its own name, and a column 'group' "
            "to what belongs together"
        )
    named = [replace(s, name=name) for s, name in zip(samples, names, strict=True)]
    return named, [f"rows of {table.path.name} belong to those of {samples[0].inputs[0].path.name} in order"]


def _targets(
    samples: Sequence[Sample],
    truths: Sequence[Path],
    own: Source | None,
    contents: Contents,
    wishes: Wishes,
) -> tuple[list[Source], str]:
    """Return where the target of each sample is: rows of one array, or files of the same names."""
    if len(truths) == 1 or (not truths and own is not None):
        source = own if not truths else Source(truths[0])
        assert source is not None
        count = len(array_of(source.path, source.name)) if source.path.suffix in (".npy", ".npz") else 0
        if count == len(samples):
            return [Source(source.path, source.name, k) for k in range(count)], f"rows of {source.path.name}"
        if count:
            raise DatasetError(
                f"{source.path} has {counted(count, 'row')} for {counted(len(samples), 'sample')}; give one "
                "each"
            )
    files = files_of_samples(samples, truths, contents.folder, _several)
    missing = [s.name for s, file in zip(samples, files, strict=True) if file is None]
    if not truths or missing:
        what = f"there is no target of {some(missing)}" if truths else "nothing says what is true of them"
        raise DatasetError(
            f"{contents.folder}: {counted(len(samples), 'field')} on one surface, but {what}. Give a "
            "labels.csv (file, label), an array of labels named y, or by --target a folder of files of the "
            "same names"
        )
    return [Source(file) for file in files if file is not None], f"files in {truths[0].parent.name}"


def _several(sample: Sample, files: list[Path]) -> DatasetError:
    return DatasetError(
        f"the target of {sample.name} may be in {', '.join(f.name for f in files)}; say by --target which "
        "folder holds targets"
    )


def _are_classes(source: Source, surfaces: Surfaces) -> bool:
    """Return whether values of points are labels; of pixels, which may hold counts, only those that are
    stored as whole numbers.
    """
    if surfaces == "one mesh":
        return holds_classes(read_values(source))
    if is_fits(source.path):
        return False
    array = array_of(source.path, source.name)
    array = np.asarray(array if source.row is None else array[source.row])
    return array.dtype.kind in "iub" and holds_classes(Values(array.ravel(), {}))


def _with_targets(
    folder: Path,
    surfaces: Surfaces,
    samples: Sequence[Sample],
    sources: Sequence[Source],
    where: str,
    wishes: Wishes,
) -> Found:
    """Return samples with targets of points, or with one class or number each."""
    first = sources[0]
    each = first.row is not None and array_of(first.path, first.name).ndim == 1
    if not each:
        classes = _are_classes(first, surfaces)
        task: Task = wishes.task or ("classify-points" if classes else "regress-points")
        result = [replace(s, target=source) for s, source in zip(samples, sources, strict=True)]
        return Found(folder, surfaces, task, result, ("target",), where)
    values = array_of(first.path, first.name)
    classes = holds_classes(Values(np.asarray(values), {})) and len(np.unique(values)) < len(values)
    task = wishes.task or ("classify" if classes else "regress")
    cells = [str(value) for value in values.tolist()]
    if task == "regress" and not are_numbers(cells):
        raise DatasetError(f"{first.path}: targets are not all finite numbers")
    targets: list[Target] = [*cells] if task == "classify" else [(float(cell),) for cell in cells]
    result = [replace(s, target=target) for s, target in zip(samples, targets, strict=True)]
    return Found(folder, surfaces, task, result, (first.name or stem(first.path),), where)
