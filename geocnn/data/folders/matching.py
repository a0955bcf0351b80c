"""Samples are found by the names that tables and lists give them, and files by the samples they belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from geocnn.data.folders.files import stem
from geocnn.data.folders.found import Sample


class Finder:
    """Finds samples by name: with or without extension and folders, also as other machines write them."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.by_end: dict[str, list[Sample]] = {}
        for sample in samples:
            ends = {Path(sample.name).name}
            if sample.surface is not None:
                ends.add(sample.surface.name)
            ends |= {source.path.name for source in sample.inputs if source.row is None}
            for end in ends:
                self.by_end.setdefault(end, []).append(sample)

    def find(self, name: str) -> list[Sample]:
        """Return the samples that a name may mean: those whose folders are not other ones than it says.

        One whose folders are all given, and no others, is meant alone.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        known = self.by_end.get(path.name) or self.by_end.get(stem(Path(path.name)), [])
        folders = path.parts[:-1]
        exact = [sample for sample in known if _folders(sample) == folders]
        return exact or [sample for sample in known if _agree(_folders(sample), folders)]


def _folders(sample: Sample) -> tuple[str, ...]:
    return PurePosixPath(sample.name).parts[:-1]


def _agree(one: Sequence[str], two: Sequence[str]) -> bool:
    """Return whether the last folders are the same, as far as both paths say them."""
    return all(a == b for a, b in zip(reversed(one), reversed(two), strict=False))


def files_of_samples(
    samples: Sequence[Sample],
    files: Sequence[Path],
    folder: Path,
    several: Callable[[Sample, list[Path]], Exception],
) -> list[Path | None]:
    """Return the file of each sample's name, or None.

    Where samples in several folders have one name, files lie in the same folder or in a like one below
    another (`meshes/a/x.ply` and `labels/a/x.txt`). Raises what `several` makes where there are several.
    """
    by_stem: dict[str, list[Path]] = {}
    for file in files:
        by_stem.setdefault(stem(file), []).append(file)
    alike: dict[str, int] = {}
    for sample in samples:
        end = Path(sample.name).name
        alike[end] = alike.get(end, 0) + 1
    return [_file_of(sample, by_stem, alike, folder, several) for sample in samples]


def _file_of(
    sample: Sample,
    by_stem: Mapping[str, list[Path]],
    alike: Mapping[str, int],
    folder: Path,
    several: Callable[[Sample, list[Path]], Exception],
) -> Path | None:
    end = Path(sample.name).name
    known, own = by_stem.get(end, []), _folders(sample)
    places = {file: file.relative_to(folder).parts[:-1] for file in known}
    if alike[end] > 1:
        known = [file for file in known if places[file] == own or _parallel(own, places[file])]
    if len(known) > 1:
        known = [file for file in known if places[file] == own] or known
    if len(known) > 1:
        raise several(sample, known)
    return known[0] if known else None


def _parallel(one: tuple[str, ...], two: tuple[str, ...]) -> bool:
    """Return whether two folders differ in one part of several, or one has a part more.

    >>> _parallel(("in", "a"), ("truth", "a")), _parallel(("a",), ("labels", "a")), _parallel(("a",), ("b",))
    (True, True, False)
    """
    if len(one) == len(two):
        return len(one) > 1 and sum(a != b for a, b in zip(one, two, strict=True)) == 1
    short, long = sorted((one, two), key=len)
    return len(short) > 0 and any(long[:k] + long[k + 1 :] == short for k in range(len(long)))
