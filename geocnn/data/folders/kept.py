"""What stays in memory of each sample while a folder is prepared; its arrays are written at once."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geocnn.data.folders.card import SAMPLES, save_sample
from geocnn.data.folders.likeness import outline
from geocnn.data.folders.reading import Read
from geocnn.data.folders.scaling import area_and_spacing
from geocnn.errors import DatasetError
from geocnn.geometry.core.half_edges import wound_alike

MOST_BYTES = 180
"""Of the name of a sample's file; disks take 255, with the extension and what is written beside."""


@dataclass(eq=False)
class Kept:
    """What stays in memory of a sample whose arrays were written."""

    name: str
    file: str
    n: int
    area: float
    spacing: float
    outline: Tensor | None
    labels: Counter[int]
    sums: np.ndarray | None
    """Count, mean and sum of squared differences from it, of each number of its points."""
    names: dict[int, str]
    per_face: bool
    fields: dict[str, int]
    """Channels by name of field."""
    one_sided: bool
    """Whether its mesh has a component with only one side."""


def files_of(names: Sequence[str]) -> dict[str, str]:
    """Return the file of each sample in a data folder: its name, where that is one.

    Raises DatasetError where two samples have the same name.

    >>> files_of(["long/egg 1", "../up"])
    {'long/egg 1': 'samples/long/egg 1.safetensors', '../up': 'samples/___up.safetensors'}
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DatasetError(f"two samples have the name '{twice[0]}'; give each its own")
    stems: dict[str, str] = {}
    taken: set[str] = set()  # in lower case: some disks take A and a for one file
    for name in names:
        plain = re.fullmatch(r"[\w-][\w .+-]*(/[\w-][\w .+-]*)*", name)
        stems[name] = name if plain else re.sub(r"[^\w +-]", "_", name)
        if max(len(part.encode()) for part in stems[name].split("/")) > MOST_BYTES:
            stems[name] = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
        while stems[name].lower() in taken:
            stems[name] += "_"
        taken.add(stems[name].lower())
    return {name: f"{SAMPLES}/{stem}.safetensors" for name, stem in stems.items()}


def kept_of(read: Read, out: Path, file: str) -> Kept:
    """Write the arrays of a sample into a file of `out`; return what is needed of all samples together."""
    raw, tensors = read.raw, {f"field.{name}": value for name, value in read.fields.items()}
    area = spacing = 0.0
    if raw is not None:
        tensors |= {"vertices": raw.vertices, "faces": raw.faces}
        area, spacing = area_and_spacing(raw.vertices, raw.faces)
    labels: Counter[int] = Counter()
    sums = None
    if read.truth is not None:
        tensors["truth"] = read.truth
        if read.truth.is_floating_point():
            value = read.truth.reshape(len(read.truth), -1).double()
            mean = value.mean(0)
            sums = torch.stack([torch.ones_like(value).sum(0), mean, (value - mean).square().sum(0)]).numpy()
        else:
            known, count = read.truth.unique(return_counts=True)
            labels = Counter(dict(zip(known.tolist(), count.tolist(), strict=True)))
    save_sample(out / file, tensors)
    sizes = {name: value.shape[1] for name, value in read.fields.items()}
    n = len(raw.vertices) if raw is not None else len(next(iter(read.fields.values())))
    own = None if raw is None else outline(raw)
    one_sided = raw is not None and not wound_alike(raw.faces, n)
    truths = labels, sums, read.names, read.per_face
    return Kept(read.sample.name, file, n, area, spacing, own, *truths, sizes, one_sided)
