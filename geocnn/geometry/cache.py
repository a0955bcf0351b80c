"""Geometry kept on disk: what was computed once for a mesh is found again by its content.

A file is named after the SHA-256 of all that determines it (its key), that of its own bytes, and FORMAT. So
an answer can never belong to another mesh or to other options; a file that was cut off or changed is known
as such, computed again and reported by a warning.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.hierarchy import Hierarchy
from geocnn.geometry.stencil import load_tensors, save_tensors
from geocnn.groups.field_type import FieldType

if TYPE_CHECKING:
    from geocnn.geometry.mesh import Mesh
    from geocnn.geometry.one_sided import OneSidedMesh

FORMAT = 1
"""A part of every key. Raise it with any change to what is computed: older files are then never met again."""

ENVIRONMENT_VARIABLE = "GEOCNN_CACHE"

ENTRY = re.compile(r"[0-9a-f]{64}-([0-9a-f]{16})\.(\d+)\.safetensors")
"""The names of files: key, digest and FORMAT. Without a format they are older than this rule."""

UNFINISHED = re.compile(r"[0-9a-f]{64}\.\d+\.new")

PATIENCE = 3600.0
"""Seconds without a change after which an unfinished file is given up for lost; writing one takes seconds."""

State = Literal["whole", "damaged", "stale", "unfinished", "being written", "foreign"]

V = TypeVar("V")


class Entry(NamedTuple):
    """A file in the cache folder. Only what is whole is ever read.

    damaged: cut off or changed, its digest is not its name's. stale: of another FORMAT. unfinished: left by
    a process that ended early. being written: changed within the hour. foreign: not of the cache's making.
    """

    path: Path
    state: State
    size: int


def cache_folder() -> Path:
    """The folder named by GEOCNN_CACHE, else `geocnn` in the platform's folder for a user's caches.

    It may be deleted at any time.
    """
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "geocnn"


def cached_hierarchy(mesh: Mesh | OneSidedMesh, **options: Any) -> Hierarchy:
    """`mesh.hierarchy(**options)`, computed only where the cache does not have it; the same bit for bit.

    Raises GeometryError as `hierarchy` does, and where the cache folder cannot be written.

    >>> import tempfile, torch, geocnn.geometry as geometry
    >>> s = geometry.mesh(torch.eye(4)[:, :3], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     os.environ["GEOCNN_CACHE"] = folder
    ...     h = [cached_hierarchy(s, levels=1, kind="log") for _ in range(2)]   # the second time it is read
    ...     del os.environ["GEOCNN_CACHE"]
    >>> torch.equal(h[0].stencils[0].r, h[1].stencils[0].r)
    True
    """
    return _cached(
        _hierarchy_key(mesh, options), lambda: mesh.hierarchy(**options), Hierarchy.save, Hierarchy.load
    )


def cached_features(mesh: Mesh) -> tuple[Tensor, FieldType]:
    """`shape_features(mesh)`, computed only where the cache does not have it.

    Raises GeometryError as that does, and where the cache folder cannot be written.
    """
    from geocnn.geometry.descriptors import shape_features

    return _cached(_key(mesh, "shape_features", {}), lambda: shape_features(mesh), _save_field, _load_field)


def is_cached(mesh: Mesh, **options: Any) -> bool:
    """Whether the cache has both the hierarchy with these options and the features of the mesh.

    What is found is not read: a damaged file counts.
    """
    keys = _hierarchy_key(mesh, options), _key(mesh, "shape_features", {})
    return all(_files(key) for key in keys)


def cache_entries() -> list[Entry]:
    """All files of the cache, and what else lies in its folder, not looked into. Whole files are hashed for
    this.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     os.environ["GEOCNN_CACHE"] = folder
    ...     _ = (Path(folder) / "notes.txt").write_text("mine")
    ...     [(entry.path.name, entry.state) for entry in cache_entries()], clear_cache()
    ...     del os.environ["GEOCNN_CACHE"]
    ([('notes.txt', 'foreign')], [])
    """
    folder = cache_folder()
    if not folder.is_dir():
        return []
    own = [path for path in folder.iterdir() if re.fullmatch("[0-9a-f]{2}", path.name) and _is_folder(path)]
    others = [path for path in folder.iterdir() if path not in own]
    return [_entry(path) for path in sorted([*others, *(path for part in own for path in part.iterdir())])]


def clear_cache() -> list[Entry]:
    """Removes all files of the cache's making that are not being written; returns them."""
    removed = [entry for entry in cache_entries() if entry.state not in ("foreign", "being written")]
    for entry in removed:
        entry.path.unlink(missing_ok=True)
    for part in {entry.path.parent for entry in removed}:
        if not any(part.iterdir()):
            part.rmdir()
    return removed


def _entry(path: Path) -> Entry:
    try:
        status = path.lstat()
    except FileNotFoundError:  # removed by another process
        return Entry(path, "unfinished", 0)
    return Entry(path, _state(path, time.time() - status.st_mtime), status.st_size)


def _state(path: Path, age: float) -> State:
    if path.is_symlink() or not path.is_file() or path.parent.name != path.name[:2]:
        return "foreign"
    if UNFINISHED.fullmatch(path.name):
        return "unfinished" if age > PATIENCE else "being written"
    if re.fullmatch(r"[0-9a-f]{64}-[0-9a-f]{16}\.safetensors", path.name):
        return "stale"
    name = ENTRY.fullmatch(path.name)
    if name is None:
        return "foreign"
    if int(name[2]) != FORMAT:
        return "stale"
    return "whole" if _digest(path) == name[1] else "damaged"


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _hierarchy_key(mesh: Mesh | OneSidedMesh, options: dict[str, Any]) -> str:
    # with the defaults spelt out, so that changing one changes the key
    bound = inspect.signature(mesh.hierarchy).bind(**options)
    bound.apply_defaults()
    return _key(mesh, "hierarchy", bound.arguments)


def _key(mesh: Mesh | OneSidedMesh, kind: str, options: dict[str, Any]) -> str:
    t = mesh.triangulation
    # the frames too: the gauge is part of the answer; vertex and areas say which level of the surface it is
    parts = (t.vertices, t.faces, mesh.vertex, mesh.areas, mesh.frames, mesh.anchor, mesh.flipped)
    shapes = [None if part is None else list(part.shape) for part in parts]
    key = hashlib.sha256(json.dumps([FORMAT, kind, options, shapes], sort_keys=True).encode())
    for part in parts:
        if part is not None:
            key.update(part.detach().cpu().contiguous().numpy().tobytes())
    return key.hexdigest()


def _cached(key: str, make: Callable[[], V], save: Callable[[V, Path], None], load: Callable[[Path], V]) -> V:
    for file in _files(key):
        name = ENTRY.fullmatch(file.name)
        if name and _digest(file) == name[1]:
            return load(file)
        warnings.warn(f"{file} in the cache is damaged; it is computed again", stacklevel=3)
        file.unlink(missing_ok=True)
    value = make()
    try:
        _store(key, lambda path: save(value, path))
    except OSError as error:
        raise GeometryError(
            f"the cache folder {cache_folder()} cannot be written ({error}); make room, or name another "
            f"folder in the environment variable {ENVIRONMENT_VARIABLE}"
        ) from error
    return value


def _store(key: str, save: Callable[[Path], None]) -> None:
    folder = _folder(key)
    folder.mkdir(parents=True, exist_ok=True)
    # by process, so that two writers do not share it
    new = folder / f"{key}.{os.getpid()}.new"
    try:
        save(new)
        os.replace(new, folder / f"{key}-{_digest(new)}.{FORMAT}.safetensors")
    finally:
        new.unlink(missing_ok=True)


def _folder(key: str) -> Path:
    # in 256 parts: finding a file then lists few others
    return cache_folder() / key[:2]


def _files(key: str) -> list[Path]:
    return sorted(_folder(key).glob(f"{key}-*.{FORMAT}.safetensors"))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _save_field(field: tuple[Tensor, FieldType], path: Path) -> None:
    save_tensors(path, {"x": field[0]}, {"field": {"type": str(field[1])}})


def _load_field(path: Path) -> tuple[Tensor, FieldType]:
    tensors, metadata = load_tensors(path, "field")
    return tensors["x"], FieldType(metadata["type"])
