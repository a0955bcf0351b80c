"""Meshes and values of samples are read, checked against each other, and mended where a repair is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.data.folders.files import is_fits, is_map_file
from geocnn.data.folders.found import Found, Sample, Source, Wishes
from geocnn.data.folders.point_values import Arrays, Values, is_property, read_values
from geocnn.data.folders.polarisation import map_fields
from geocnn.data.maps import is_nested, read_map_file
from geocnn.errors import DatasetError, GeometryError
from geocnn.geometry.core.values import check_values
from geocnn.geometry.doctor.defects import fatal_defects
from geocnn.geometry.doctor.repairs import REPAIRS, plan, repair
from geocnn.geometry.io import RawMesh, read_mesh
from geocnn.geometry.spheres.healpix_maps import reorder
from geocnn.wording import counted

NO_NAMES: dict[int, str] = {}

ROWS_FOR_ORDER = 16
"""Maps of an array that are looked at to see the order of its pixels."""


@dataclass(frozen=True, eq=False)
class Mended:
    """A mesh after its repairs, and where the vertices and faces of its file are in it, −1 where nowhere."""

    raw: RawMesh
    vertex: Int64[Tensor, " n_file"]
    vertex_source: Int64[Tensor, " n"]
    """The file's vertex that each vertex was."""
    triangle: Int64[Tensor, " f_file"]
    polygon: Int64[Tensor, " f_file"]
    """The face of the file that each of its triangles is cut from."""

    @classmethod
    def of(cls, raw: RawMesh, fixes: Sequence[str]) -> Mended:
        """Make repairs where they apply."""
        if not fixes:
            every = torch.arange(len(raw.vertices))
            return cls(raw, every, every, torch.arange(len(raw.faces)), raw.face_map)
        mended, report = repair(raw, fixes)
        return cls(mended, report.vertex_map, report.vertex_source, report.face_map, raw.face_map)


@dataclass(frozen=True, eq=False)
class Read:
    """A sample in memory: its mesh (None where all share one), its fields by name, [N, channels] each, and
    the values of its points or faces that are to be learnt, as the file has them.
    """

    sample: Sample
    raw: RawMesh | None
    fields: dict[str, Float64[Tensor, "n c"]]
    truth: Tensor | None
    names: dict[int, str] = field(default_factory=dict)
    """Names of labels by number, where the file has some."""
    per_face: bool = False
    """Whether the file's values belong to faces; `truth` has them per vertex."""
    mended: Mended | None = None
    """Its own mesh, and where its file's vertices and faces are."""


class Reader:
    """Reads the samples of a folder, one after another."""

    def __init__(self, found: Found, wishes: Wishes, fixes: Sequence[str] = ()) -> None:
        self.found, self.wishes, self.fixes = found, wishes, tuple(fixes)
        self.opened: Arrays = {}
        self.nested: dict[tuple[Path, str | None], bool] = {}
        self.remarks: list[str] = []
        self.shared = None if found.template is None else self._mesh(found.template)

    @property
    def template(self) -> RawMesh | None:
        """Return the mesh that all samples share."""
        return None if self.shared is None else self.shared.raw

    def __iter__(self) -> Iterator[Read]:
        """Yield the samples. Raises DatasetError, naming all broken meshes with what mends each."""
        broken: list[_Broken] = []
        for sample in self.found.samples:
            try:
                yield self.read(sample)
            except _Broken as fault:
                broken.append(fault)
        if broken:
            shown = "; ".join(map(str, broken[:5]))
            shown += f"; and {len(broken) - 5} more" if len(broken) > 5 else ""
            repairs = [name for name in REPAIRS if any(name in fault.repairs for fault in broken)]
            cure = f". --fix {' --fix '.join(repairs)} mends what can be mended" if repairs else ""
            raise DatasetError(
                f"{len(broken)} of {len(self.found.samples)} meshes are no surfaces: {shown}{cure}"
            )

    def read(self, sample: Sample) -> Read:
        """Read one sample. Raises DatasetError where the numbers of its values and points differ."""
        own = None if sample.surface is None else self._mesh(sample.surface)
        mended = own or self.shared
        raw = None if mended is None else mended.raw
        fields = self._fields(sample, raw, None if mended is None else len(mended.vertex))
        truth, names, per_face = None, {}, False
        if isinstance(sample.target, Source):
            values = self._values(sample.target, raw)
            names = values.names
            truth, per_face = self._of_points(values, sample.target, mended)
        if mended is not None:
            fields = {name: value[mended.vertex_source] for name, value in fields.items()}
        if truth is not None and truth.is_floating_point():
            check_values(truth, 0, f"rows of the target of {sample.name}", self.wishes.fill)
        for name, value in fields.items():
            check_values(value, 0, f"rows of '{name}' of {sample.name}", self.wishes.fill)
        return Read(sample, None if own is None else own.raw, fields, truth, names, per_face, own)

    def _mesh(self, path: Path) -> Mended:
        mended = Mended.of(read_mesh(path), self.fixes)
        defects = fatal_defects(mended.raw)
        if defects:
            repairs, left = plan(mended.raw)
            cure = f"; {left[0].remedy}" if left else ""
            raise _Broken(f"{path.name}: {defects[0].what}{cure}", repairs)
        return mended

    def _values(self, source: Source, raw: RawMesh | None) -> Values:
        """Read values; properties are those of the file, before repairs."""
        if source.row is None and self.found.surfaces == "healpix" and is_map_file(source.path):
            maps = read_map_file(source.path, self.wishes.nested, self.wishes.fill)
            return Values(maps.values.T.double().numpy(), NO_NAMES)
        unmended = None if self.fixes else raw
        values = read_values(
            source, unmended if is_property(source) else None, self.opened, self.found.points
        )
        if source.row is None or self.found.surfaces != "healpix" or not self._is_nested(source):
            return values
        return Values(reorder(torch.from_numpy(values.array.copy()), to="ring", dim=0).numpy(), values.names)

    def _is_nested(self, source: Source) -> bool:
        """Return whether rows of an array are maps in nested order, as its first ones show."""
        key = source[:2]
        if key not in self.nested:
            rows = torch.from_numpy(np.array(self.opened[key][:ROWS_FOR_ORDER], dtype=np.float64))
            maps = rows.reshape(*rows.shape[:2], -1).movedim(1, -1).reshape(-1, rows.shape[1])
            self.nested[key] = is_nested(maps, self.wishes.nested, source.path)
        return self.nested[key]

    def _fields(self, sample: Sample, raw: RawMesh | None, n: int | None) -> dict[str, Tensor]:
        if self.found.surfaces == "healpix":
            return self._map_fields(sample.inputs[0])
        fields: dict[str, Tensor] = {}
        sources = list(sample.inputs) or [
            Source(sample.surface, name) for name in self.wishes.inputs if sample.surface is not None
        ]
        for source in sources:
            value = _numbers(self._values(source, raw).array, source)
            if n is not None and len(value) != n:
                raise DatasetError(
                    f"{_named(source)} has {len(value)} rows, the mesh of '{sample.name}' {n} vertices"
                )
            fields[source.name if is_property(source) and source.name else "field"] = value
        return fields

    def _map_fields(self, source: Source) -> dict[str, Tensor]:
        """Read the columns of a map; what they are taken for is told once."""
        if self.wishes.inputs and not is_fits(source.path):
            raise DatasetError(f"{source.path} has no names of columns, so --inputs cannot choose among them")
        if source.row is None:
            maps = read_map_file(
                source.path, self.wishes.nested, self.wishes.fill, self.wishes.inputs or None
            )
            values, names, header = maps.values.T.double(), maps.names, maps.convention
            left = f"; left out: {', '.join(maps.other)}" if maps.other else ""
        else:
            values, header, left = _numbers(self._values(source, None).array, source), None, ""
            names = ("",) * values.shape[1]
        fields, line = map_fields(values, names, header, self.wishes.polarisation)
        if line and line + left not in self.remarks:
            self.remarks.append(line + left)
        return fields

    def _of_points(self, values: Values, source: Source, mended: Mended | None) -> tuple[Tensor, bool]:
        """Return values per vertex; those of faces are carried to vertices."""
        array = values.array
        value = torch.from_numpy(np.array(array)) if array.dtype.kind in "iub" else None
        value = _numbers(array, source) if value is None else value.long()
        if self.found.classes:
            value = value.reshape(len(value), -1)[:, 0]
            if value.is_floating_point() and bool((value != value.round()).any()):
                raise DatasetError(f"{_named(source)} has labels that are no whole numbers")
            value = value.long()
        if mended is None:
            return value, False
        n = len(mended.vertex)
        if len(value) == n:
            return value[mended.vertex_source], False
        of_triangles = _per_triangle(value, mended)
        if of_triangles is not None:
            return _to_vertices(of_triangles, mended.raw, self.found.classes), True
        raise DatasetError(
            f"{_named(source)} has {counted(len(value), 'row')}, its mesh {counted(n, 'vertex')} and "
            f"{counted(len(mended.triangle), 'triangle')}; give one row per vertex, in the order of the file"
        )


def _per_triangle(value: Tensor, mended: Mended) -> Tensor | None:
    """Return values per triangle where there is one per triangle or polygon of the file, else None."""
    if len(value) == int(mended.polygon.max()) + 1:
        value = value[mended.polygon]
    if len(value) != len(mended.triangle):
        return None
    kept = mended.triangle >= 0
    result = value.new_zeros((len(mended.raw.faces), *value.shape[1:]))
    result[mended.triangle[kept]] = value[kept]
    return result


class _Broken(GeometryError):
    """A mesh is no surface; `repairs` mend what can be mended."""

    def __init__(self, what: str, repairs: Sequence[str]) -> None:
        super().__init__(what)
        self.repairs = tuple(repairs)


def _named(source: Source) -> str:
    part = f", '{source.name}'" if source.name else ""
    return f"{source.path}{part}" + (f", row {source.row}" if source.row is not None else "")


def _numbers(array: np.ndarray, source: Source) -> Float64[Tensor, "n c"]:
    if array.dtype.kind not in "iubf":
        raise DatasetError(f"{_named(source)} holds {array.dtype}, not numbers")
    value = torch.from_numpy(np.array(array, dtype=np.float64))
    return value.reshape(len(value), -1)


def _to_vertices(value: Tensor, raw: RawMesh, classes: bool) -> Tensor:
    """Carry values of triangles to vertices: the mean by area, or the label of the largest area around."""
    corner = raw.vertices[raw.faces]
    area = torch.linalg.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0], dim=-1).norm(dim=-1)
    n, vertex, share = len(raw.vertices), raw.faces.flatten(), area.repeat_interleave(3)
    if not classes:
        value = value.double().reshape(len(value), -1)
        total = value.new_zeros(n, value.shape[1]).index_add_(
            0, vertex, value.repeat_interleave(3, 0) * share[:, None]
        )
        return total / share.new_zeros(n).index_add_(0, vertex, share).clamp_min(1e-300)[:, None]
    known, label = value.unique(return_inverse=True)
    return known[_largest(n, vertex, label.repeat_interleave(3), share, len(known))]


def _largest(
    n: int,
    vertex: Int64[Tensor, " k"],
    label: Int64[Tensor, " k"],
    share: Float64[Tensor, " k"],
    count: int,
) -> Int64[Tensor, " {n}"]:
    """Return the label of the largest share at each vertex; 0 where there is none."""
    pair, inverse = (vertex * count + label).unique(return_inverse=True)
    total = share.new_zeros(len(pair)).index_add_(0, inverse, share)
    order = torch.argsort(total, stable=True)
    result = torch.zeros(n, dtype=torch.int64)
    # later, larger ones overwrite
    order = order[torch.argsort((pair // count)[order], stable=True)]
    last = torch.cat([(pair // count)[order].diff() != 0, torch.ones(1, dtype=torch.bool)])
    result[(pair // count)[order][last]] = (pair % count)[order][last]
    return result
