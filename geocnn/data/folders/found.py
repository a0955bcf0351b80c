"""What is found in a folder: samples, where the surface, input and target of each are, and the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, get_args

Task = Literal["classify", "regress", "classify-points", "regress-points"]
"""What a network learns: a class or numbers, per surface or per point."""

TASKS: tuple[str, ...] = get_args(Task)

Surfaces = Literal["meshes", "one mesh", "healpix"]
"""Every sample has a mesh of its own, or all are fields on one mesh, or on the pixels of a HEALPix sphere."""


Polarisation = Literal["COSMO", "IAU", "none"]
"""The sign of Stokes U in maps: of HEALPix ("COSMO") or of the IAU; "none": Q and U are scalars."""


class Source(NamedTuple):
    """Where values are: in a file, there under a name where it holds several arrays, in a row of that array
    where it holds several samples.
    """

    path: Path
    name: str | None = None
    row: int | None = None


Target = Source | str | tuple[float, ...] | None
"""Values of points in a file, the name of a class, numbers, or nothing where nothing is known."""


@dataclass(frozen=True)
class Sample:
    """A sample of a folder; `surface` is None where all samples share one."""

    name: str
    surface: Path | None
    inputs: tuple[Source, ...] = ()
    target: Target = None
    split: str = ""
    group: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class Wishes:
    """What a user says about a folder where it does not speak for itself."""

    task: Task | None = None
    labels: Path | None = None
    """A table with a row per sample."""
    target: tuple[str, ...] = ()
    """Columns of that table; or the property, the extension or the folder that holds the values of points."""
    inputs: tuple[str, ...] = ()
    """Properties of mesh files, extensions of files beside them, or folders, that networks get as fields; or
    columns of maps."""
    shape: bool | None = None
    """Whether networks get shape features; None: unless there are other inputs."""
    unlabelled: int | None = None
    """The label of points whose class nobody knows."""
    nested: bool | None = None
    """Whether pixels of maps are in nested order; None: a header or smoothness tells."""
    fill: tuple[float, ...] = ()
    """Numbers that stand for no value."""
    polarisation: Polarisation | None = None
    """The convention of Stokes U in maps; None: names of columns and the header tell."""


@dataclass(frozen=True)
class Found:
    """What a folder holds, in words (`remarks`) and as samples."""

    folder: Path
    surfaces: Surfaces
    task: Task
    samples: Sequence[Sample]
    target: tuple[str, ...]
    """Names of what is learnt."""
    where: str
    """Where targets come from, in words."""
    template: Path | None = None
    """The mesh that all samples share."""
    points: int = 0
    """The number of its points, as its file has them."""
    remarks: list[str] = field(default_factory=list)

    @property
    def per_point(self) -> bool:
        return self.task.endswith("points")

    @property
    def classes(self) -> bool:
        return self.task.startswith("classify")
