"""Samples get their names, and from a table of the folder their targets, splits, groups and weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geocnn.data.folders.contents import Contents
from geocnn.data.folders.files import SPLITS, stem
from geocnn.data.folders.found import Found, Sample, Surfaces, Target, Wishes
from geocnn.data.folders.matching import Finder
from geocnn.data.folders.table import GROUP, SampleTable, are_numbers, number
from geocnn.errors import DatasetError
from geocnn.wording import counted

RESERVED = ("name", "file", "split", "group", "weight", "factor")
"""Columns of samples.csv, which no target may be called."""

LABELS = ("label", "labels", "class", "classes", "segment", "segmentation", "part", "y", "target")
"""Names of properties of a mesh file that are taken as the target without a word of the user."""


def named_samples(folder: Path, files: Sequence[Path]) -> list[Sample]:
    """Name a sample per file: by its path in the folder, without the extension.

    Raises DatasetError where two files would have the same name.
    """
    names = [(f.relative_to(folder).parent / stem(f)).as_posix() for f in files]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        same = [f.name for f, name in zip(files, names, strict=True) if name == twice[0]]
        raise DatasetError(
            f"{folder}: the files {', '.join(same)} have the same name; keep one of them, or rename one"
        )
    return [Sample(name, file) for name, file in zip(names, files, strict=True)]


def from_table(
    folder: Path, surfaces: Surfaces, samples: Sequence[Sample], table: SampleTable, wishes: Wishes
) -> Found:
    """Return samples with the targets of a table's rows."""
    columns = list(wishes.target or _target_columns(table))
    cells = [table.column(name) for name in columns]
    numbers = all(are_numbers(own) for own in cells)
    if wishes.task is None and not numbers:
        _check_nearly_numbers(table, columns)
    task = wishes.task or ("regress" if numbers and not _are_labels(columns, cells) else "classify")
    if task not in ("classify", "regress"):
        raise DatasetError(f"{table.path} has a row per sample, which cannot be learnt as '{task}'")
    if task == "classify" and len(columns) > 1:
        raise DatasetError(
            f"{table.path}: a class is one column, but {', '.join(columns)} may be targets; name one by "
            "--target"
        )
    reserved = [name for name in columns if task == "regress" and name in RESERVED]
    if reserved:
        raise DatasetError(
            f"{table.path}: give the column '{reserved[0]}' another name; samples.csv has one of its own"
        )
    rows = rows_of(table, samples)
    result = []
    for sample in samples:
        if sample.name not in rows:
            continue
        line, row = rows[sample.name]
        target: Target = row[columns[0]]
        if task == "classify" and not target:
            raise DatasetError(
                f"{table.path}, line {line}: the cell of '{columns[0]}' is empty; give a class, or take "
                "the row out"
            )
        if task == "regress":
            target = tuple(number(row[name], table.path, line, name) for name in columns)
        result.append(_described(replace(sample, target=target), row, line, table))
    remarks = [] if len(result) == len(samples) else [_left_out(samples, result, table)]
    where = f"column {', '.join(columns)} of {table.path.name}"
    return Found(folder, surfaces, task, result, tuple(columns), where, remarks=remarks)


def is_of_targets(table: SampleTable | None, wishes: Wishes) -> bool:
    """Return whether a table says what is to be learnt; else it may say splits, groups and weights."""
    if table is None or (wishes.task is not None and wishes.task.endswith("points")):
        return False
    return all(name in table.columns for name in wishes.target) if wishes.target else bool(table.targets)


def with_rows(found: Found, table: SampleTable | None) -> Found:
    """Return samples, whose targets lie elsewhere, with the splits, groups and weights of a table's rows.

    Samples without a row are left out. Raises DatasetError where no row is left, or as `rows_of` does.
    """
    if table is None:
        return found
    rows = rows_of(table, found.samples)
    kept = [sample for sample in found.samples if sample.name in rows]
    result = [_described(s, rows[s.name][1], rows[s.name][0], table) for s in kept]
    left_out = [] if len(kept) == len(found.samples) else [_left_out(found.samples, kept, table)]
    return replace(found, samples=result, remarks=[*found.remarks, *left_out])


def rows_of(table: SampleTable, samples: Sequence[Sample]) -> dict[str, tuple[int, dict[str, str]]]:
    """Return the row of each sample by its name: rows name a file, with or without folder and extension.

    Raises DatasetError for a row that names no sample or several, and for two rows of one sample.
    """
    key = table.key
    if key is None:
        raise DatasetError(
            f"{table.path} has no column that names files; call it 'file' (its columns are "
            f"{', '.join(table.columns)})"
        )
    finder = Finder(samples)
    result: dict[str, tuple[int, dict[str, str]]] = {}
    for line, cells in table.rows:
        known = finder.find(cells[key])
        if not known:
            raise DatasetError(f"{table.path}, line {line}: there is no file '{cells[key]}' in the folder")
        if len(known) > 1:
            names = ", ".join(sample.name for sample in known[:3])
            raise DatasetError(
                f"{table.path}, line {line}: '{cells[key]}' may be {names}; give its path in the folder"
            )
        if known[0].name in result:
            first = result[known[0].name][0]
            raise DatasetError(f"{table.path}, lines {first} and {line}: both are about '{cells[key]}'")
        result[known[0].name] = line, dict(cells)
    return result


def _target_columns(table: SampleTable) -> tuple[str, ...]:
    if not table.targets:
        raise DatasetError(
            f"{table.path} has no column of targets beside {', '.join(table.columns)}; add one, such as "
            "'label'"
        )
    named = [name for name in table.targets if name.lower() in LABELS]
    return tuple(named[:1]) or table.targets


def _check_nearly_numbers(table: SampleTable, columns: Sequence[str]) -> None:
    """Raise DatasetError where a column, not called a label, has numbers in most rows but not in all."""
    for name in columns:
        if name.lower() in LABELS:
            continue
        strange = [(line, row[name]) for line, row in table.rows if not are_numbers([row[name]])]
        if 0 < len(strange) < len(table.rows) / 2:
            line, cell = strange[0]
            raise DatasetError(
                f"{table.path}, line {line}: '{cell}' in column '{name}' is no finite number, unlike most of "
                "them; mend it or take the row out, or say --task classify"
            )


def _are_labels(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> bool:
    """Return whether a column of whole numbers is a label, by its name."""
    whole = all(float(cell) == int(float(cell)) for cell in cells[0])
    return len(columns) == 1 and whole and columns[0].lower() in LABELS[:7]


def _described(sample: Sample, row: dict[str, str], line: int, table: SampleTable) -> Sample:
    """Return a sample with the split, group and weight of its row."""
    lower = {name.lower(): (name, cell) for name, cell in row.items()}
    split = lower.get("split", ("", ""))[1]
    group = next((lower[name][1] for name in GROUP if name in lower), "")
    if split and split.lower() not in SPLITS:
        raise DatasetError(f"{table.path}, line {line}: the split '{split}' is none of train, val, test")
    weight = 1.0
    if "weight" in lower:
        name, cell = lower["weight"]
        weight = number(cell, table.path, line, name)
        if weight < 0:
            raise DatasetError(f"{table.path}, line {line}: the weight {cell} is below 0")
    return replace(sample, split=SPLITS.get(split.lower(), ""), group=group, weight=weight)


def _left_out(samples: Sequence[Sample], result: Sequence[Sample], table: SampleTable) -> str:
    known = {sample.name for sample in result}
    others = [sample.name for sample in samples if sample.name not in known]
    return f"{counted(len(others), 'file')} without a row in {table.path.name} left out: {some(others)}"


def some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def with_splits(contents: Contents, found: Found) -> Found:
    """Return samples with the splits of lists such as train.txt, and of folders such as train/.

    Raises DatasetError where a list names no sample.
    """
    finder, listed = Finder(found.samples), dict[str, str]()
    for split, file in contents.lists.items():
        for name in _listed(file, finder):
            known = finder.find(name)
            if not known:
                raise DatasetError(f"{file} names {name}, which no file in the folder is")
            if len(known) > 1:
                raise DatasetError(
                    f"{file}: '{name}' may be {some([s.name for s in known])}; give its path in the folder"
                )
            if listed.setdefault(known[0].name, split) != split:
                raise DatasetError(f"{known[0].name} is in {listed[known[0].name]} and in {split} ({file})")
    samples = []
    for sample in found.samples:
        parts = [SPLITS[p.lower()] for p in Path(sample.name).parts[:-1] if p.lower() in SPLITS]
        split = sample.split or (parts[0] if parts else "") or listed.get(sample.name, "")
        samples.append(replace(sample, split=split))
    return replace(found, samples=samples)


def _listed(file: Path, finder: Finder) -> list[str]:
    """Return the names in a list: one per line, or several separated by blanks."""
    names = []
    for line in file.read_text(encoding="utf-8-sig").splitlines():
        whole = line.strip()
        names += [whole] if finder.find(whole) else whole.split()
    return names
