"""Meshes as PyG data: PyG's loaders collate them, and their geometry is computed once and in parallel.

This module imports PyG, so import it only where it is needed.
"""

from __future__ import annotations

import copy
import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import Data

from geocnn.console import progress, terminal_console
from geocnn.errors import GeometryError, RadiusWarning
from geocnn.geometry import Hierarchy, Mesh, OneSidedMesh, Stencil, Surface
from geocnn.geometry.cache import cached_features, cached_hierarchy, is_cached
from geocnn.geometry.core.defaults import KIND, default_radius
from geocnn.geometry.core.hierarchy import resolutions
from geocnn.geometry.core.radius import check_radius, doubt
from geocnn.geometry.core.shifts import Shifts
from geocnn.geometry.core.values import check_values
from geocnn.groups.planar import Group
from geocnn.wording import counted

if TYPE_CHECKING:
    from rich.console import Console


class SurfaceData(Data):
    """Features x [N, D], labels y [N] or None, areas [N] and the hierarchy of one surface, or of a batch.

    `torch_geometric.loader.DataLoader` collates it: tensors as always in PyG, hierarchies by `Hierarchy.cat`
    at the first access to `hierarchy`. `batch` [N] and `ptr` give the surface of each point. All surfaces of
    a batch need the same radii and numbers of levels.

    Where y is one label per surface, [1], the y of a batch is [surfaces]. PyG's `InMemoryDataset` saves and
    loads a data set of them.

    Raises:
        GeometryError: x or areas do not have one row per point, or y has neither that nor one label in all.
        BadValueError: one of them has NaN, infinity, UNSEEN or another value that means "no value".

    >>> import geocnn.geometry as geometry
    >>> from torch_geometric.loader import DataLoader
    >>> h = geometry.icosphere(1).hierarchy(levels=2)
    >>> one = SurfaceData(x=torch.zeros(42, 3), areas=h.areas[0], hierarchy=h)
    >>> batch = next(iter(DataLoader([one, one], batch_size=2)))
    >>> batch.x.shape, batch.stencil.n_target, batch.hierarchy.n_surfaces
    (torch.Size([84, 3]), 84, 2)
    """

    x: Tensor
    y: Tensor | None
    areas: Tensor
    batch: Tensor

    def __init__(
        self,
        x: Float[Tensor, "n d"] | None = None,
        y: Tensor | None = None,
        areas: Float[Tensor, " n"] | None = None,
        hierarchy: Hierarchy | list[Hierarchy] | None = None,
        **other: Any,
    ) -> None:
        # a list where PyG makes a batch anew from its parts
        if isinstance(hierarchy, Hierarchy):
            n = len(hierarchy.areas[0])
            for name, rows, allowed in (("x", x, [n]), ("y", y, [n, 1]), ("areas", areas, [n])):
                if rows is not None and not (isinstance(rows, Tensor) and rows.ndim):
                    raise GeometryError(f"{name} must be a tensor of one row per point, got {rows!r}")
                if rows is not None and len(rows) not in allowed:
                    raise GeometryError(
                        f"the hierarchy has {counted(n, 'point')}, but {name} has {len(rows)} rows"
                    )
                if rows is not None:
                    check_values(rows, 0, f"rows of {name}")
        super().__init__(x=x, y=y, areas=areas, **other)  # pyright: ignore[reportArgumentType]
        if hierarchy is not None:
            self._store["hierarchy"] = hierarchy

    @property
    def hierarchy(self) -> Hierarchy:
        """The hierarchy of the surface, or that of all surfaces of the batch side by side."""
        stored = self._store.get("hierarchy")
        if stored is None:
            raise AttributeError("this SurfaceData has no hierarchy; `prepare` makes data with one")
        if isinstance(stored, Hierarchy):
            return stored
        # the list stays, since PyG separates a batch by it
        own = vars(self)
        if "_joined" not in own:
            own["_joined"] = Hierarchy.cat(stored)
        return own["_joined"]

    @property
    def stencil(self) -> Stencil:
        """The stencil of the finest level."""
        return self.hierarchy.stencils[0]

    def apply(self, func: Callable[[Tensor], Tensor], *args: str) -> SurfaceData:
        """Apply a function as PyG does to move and clone; the geometry only follows to the device."""
        super().apply(func, *args)
        stored = self._store.get("hierarchy")
        if stored is not None and (not args or "hierarchy" in args):
            first = stored if isinstance(stored, Hierarchy) else stored[0]
            self._place(func(first.areas[0][:0]).device)
        return self

    def to(self, device: int | str, *args: str, non_blocking: bool = False) -> SurfaceData:
        """Move tensors and geometry to a device, as PyG moves tensors."""
        if not args or "hierarchy" in args:
            self._place(device, non_blocking)
        return super().to(device, *args, non_blocking=non_blocking)  # pyright: ignore[reportReturnType]

    def _place(self, device: torch.device | int | str, non_blocking: bool = False) -> None:
        """Move the geometry; what lies on the device already stays."""
        stored, own = self._store.get("hierarchy"), vars(self)
        if isinstance(stored, Hierarchy):
            self._store["hierarchy"] = stored.to(device, non_blocking=non_blocking)
        elif stored is not None:
            self._store["hierarchy"] = [h.to(device, non_blocking=non_blocking) for h in stored]
        if "_joined" in own:
            own["_joined"] = own["_joined"].to(device, non_blocking=non_blocking)

    def pin_memory(self, *args: str) -> SurfaceData:
        """Pin tensors and geometry; PyG's loaders call this for `pin_memory=True`."""
        super().pin_memory(*args)
        stored = self._store.get("hierarchy")
        if isinstance(stored, Hierarchy):
            self._store["hierarchy"] = stored.pin_memory()
        elif stored is not None:
            # networks take the joined hierarchy, so its parts need not be pinned
            vars(self)["_joined"] = self.hierarchy.pin_memory()
        return self


# `torch.load` may construct these, so that data sets saved by PyG load without other pickled objects
torch.serialization.add_safe_globals([SurfaceData, Hierarchy, Stencil, Shifts, Group])


def prepare(
    meshes: Iterable[Mesh],
    labels: Iterable[Tensor] | Tensor | None = None,
    *,
    processes: int = 1,
    console: Console | None = None,
    dtype: torch.dtype = torch.float32,
    features: bool = True,
    **options: Any,
) -> list[SurfaceData]:
    """Compute shape features and hierarchies of meshes in parallel, with a cache, and return them as data.

    Args:
        meshes: the meshes.
        labels: per mesh, one label per vertex, [N] int64, or one number.
        processes: number of processes, one core each; fewer where meshes are so small that starting more
            would take longer. Several are started by "spawn", so a script that calls this needs the usual
            `if __name__ == "__main__":`.
        console: shows progress if geometry must be computed; by default standard error, if it is a terminal.
            A quiet one, `rich.console.Console(quiet=True)`, shows nothing.
        dtype: dtype of features, areas and stencils; the cache has them in float64.
        features: whether x are shape features; else it is None. A mesh with only one side has none.
        options: arguments of `Surface.hierarchy`. Give a radius: meshes of different radii cannot share a
            batch. All meshes get the same number of levels, by default that of the mesh of the fewest points.

    Raises:
        GeometryError: no features or hierarchy can be computed for a mesh, which is named by its number; or
            the numbers of labels and meshes or of labels and points differ; or the radius is in another unit
            (see `Surface.stencil`). Faults of labels and radius are raised before any geometry is computed.

    >>> from geocnn.geometry import load
    >>> (data,) = prepare([load("datasets/meshes/bunny_small.ply")], levels=1, kind="log")
    >>> data.x.shape
    torch.Size([1241, 23])
    """
    meshes = _checked_meshes(meshes)
    own_labels = None if labels is None else _checked_labels(meshes, labels)
    _check_units(meshes, options)
    options = _with_levels(meshes, options)
    missing = [k for k, mesh in enumerate(meshes) if not is_cached(mesh, features, **options)]
    processes = _worthwhile(processes, [len(meshes[k]) for k in missing])
    together = f", {processes} at a time" if processes > 1 else ""
    task = f"geometry of meshes{together} (once: it is cached)"

    def data(k: int, mesh: Mesh) -> SurfaceData:
        x, hierarchy = _geometry(k, mesh, options, features)
        hierarchy = hierarchy.to(dtype=dtype)
        y = None if own_labels is None else own_labels[k]
        return SurfaceData(None if x is None else x.to(dtype), y, hierarchy.areas[0], hierarchy)

    # each is taken as soon as it is there: the cache may have no room for all
    made = {k: data(k, meshes[k]) for k in sorted({*range(len(meshes))} - {*missing})}
    with progress(console or terminal_console(), task, len(missing)) as advance:
        if processes > 1:
            for k in _computed(meshes, missing, options, features, processes):
                made[k] = data(k, meshes[k])
                advance(1)
        else:
            for k in missing:
                # a copy, for a mesh keeps what was derived from it on the way
                made[k] = data(k, copy.deepcopy(meshes[k]))
                advance(1)
    return [made[k] for k in range(len(meshes))]


def _checked_meshes(meshes: Iterable[Mesh]) -> list[Mesh]:
    """Return the meshes as a list. Raises GeometryError for an empty one, and for what is no mesh."""
    if isinstance(meshes, Surface | str | Path):
        raise GeometryError(f"prepare takes a list of meshes, got {meshes!r}; write [mesh]")
    meshes = list(meshes)
    if not meshes:
        raise GeometryError("there are no meshes; is the folder or pattern that they come from right?")
    for k, one in enumerate(meshes):
        if not isinstance(one, Mesh | OneSidedMesh):
            raise GeometryError(f"item {k} is a {type(one).__name__}, not a mesh; load(file) makes one")
    return meshes


def _checked_labels(meshes: Sequence[Mesh], labels: Iterable[Tensor] | Tensor) -> list[Tensor]:
    """Return the labels of each mesh, [N] or [1]."""
    labels = list(labels)
    if len(labels) != len(meshes):
        raise GeometryError(
            f"given are {counted(len(meshes), 'mesh')} but labels for {len(labels)}; give one per mesh"
        )
    tensors = [_label(own, k) for k, own in enumerate(labels)]
    for k, (mesh, own) in enumerate(zip(meshes, tensors, strict=True)):
        if own.numel() != 1 and own.shape[:1] != (mesh.n_points,):
            raise GeometryError(
                f"mesh {k} has {counted(mesh.n_points, 'vertex')}, but labels of shape {list(own.shape)}; "
                "give one label per vertex, or one in all"
            )
    return [own.reshape(1) if own.ndim == 0 else own for own in tensors]


def _label(own: Any, k: int) -> Tensor:
    try:
        return torch.as_tensor(own)
    except (TypeError, ValueError, RuntimeError) as no_numbers:
        raise GeometryError(f"labels of mesh {k} must be numbers, got {own!r}") from no_numbers


def _check_units(meshes: Sequence[Mesh], options: dict[str, Any]) -> None:
    """Raise and warn about a radius in another unit as `Surface.hierarchy` does, once for all meshes."""
    if options.get("radius") is None:
        return
    radius = check_radius(options["radius"])
    doubts = {k: own for k, mesh in enumerate(meshes) if (own := doubt(mesh, radius))}
    for k, own in doubts.items():
        if own.hopeless:
            raise GeometryError(f"mesh {k}: {own.message}")
    if doubts:
        k, first = next(iter(doubts.items()))
        others = f" (and {len(doubts) - 1} other meshes)" if len(doubts) > 1 else ""
        warnings.warn(f"mesh {k}{others}: {first.message}", RadiusWarning, stacklevel=3)


def _with_levels(meshes: Sequence[Mesh], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with a number of levels for all meshes, by default that of the smallest."""
    if options.get("levels") is not None:
        return options
    smallest = min(meshes, key=len)
    radius = options.get("radius") or default_radius(smallest)
    return options | {"levels": len(resolutions(smallest, None, radius, options.get("kind", KIND)))}


PER_PROCESS = 20_000
"""Vertices of meshes for which a further process starts: so many take as long as its start, some seconds."""


def _worthwhile(processes: int, sizes: Sequence[int]) -> int:
    """Return how many of the processes have enough to do, with meshes of these numbers of vertices."""
    return max(1, min(processes, len(sizes), sum(sizes) // PER_PROCESS))


def _geometry(
    number: int, mesh: Mesh, options: dict[str, Any], features: bool
) -> tuple[Tensor | None, Hierarchy]:
    """Return features, if they are wanted, and hierarchy of a mesh, from the cache if it has them."""
    try:
        x = cached_features(mesh)[0] if features else None
        with warnings.catch_warnings():
            # `_check_units` has warned once for all
            warnings.simplefilter("ignore", RadiusWarning)
            return x, cached_hierarchy(mesh, **options)
    except GeometryError as fault:
        raise GeometryError(f"mesh {number}: {fault}") from fault


def _computed(
    meshes: Sequence[Mesh], numbers: list[int], options: dict[str, Any], features: bool, processes: int
) -> Iterator[int]:
    """Yield the number of each mesh as soon as its geometry is in the cache."""
    # spawned, because a fork of a process that has used several threads may hang
    with (
        _one_thread_each(),
        ProcessPoolExecutor(processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool,
    ):
        # meshes are sent as bytes: each tensor would take a file descriptor, of which a process has few
        jobs = [pool.submit(_compute, k, pickle.dumps(meshes[k]), options, features) for k in numbers]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _compute(number: int, pickled: bytes, options: dict[str, Any], features: bool) -> int:
    _geometry(number, pickle.loads(pickled), options, features)
    return number


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let numerical libraries use one thread in processes that start inside."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
