"""The cache stores geometry on disk and finds it again by the content of the mesh.

The name of a file holds the SHA-256 of the mesh and the options (its key), of its own bytes, and of the code
that computes (`fingerprint`). So a result can never belong to another mesh, to other options or to another
version of the code. A file that was cut off or changed is recognised, computed again and reported by a
warning. `cache_room` bounds what all files take together.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from uuid import uuid4

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from geocnn.errors import GeometryError
from geocnn.geometry.cache_room import cache_limit, make_room, touch
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.core.radius import check_radius
from geocnn.geometry.core.stencil import load_tensors, save_tensors
from geocnn.geometry.fingerprint import fingerprint
from geocnn.geometry.meshes.descriptors import shape_features
from geocnn.geometry.meshes.one_sided import OneSidedMesh
from geocnn.geometry.meshes.surface import Mesh
from geocnn.groups.field_type import FieldType

ENVIRONMENT_VARIABLE = "GEOCNN_CACHE"

ENTRY = re.compile(r"[0-9a-f]{64}-([0-9a-f]{16})\.([0-9a-f]{16})\.safetensors")
"""The name of a file: key, digest of the content, fingerprint of the code."""

OLDER = re.compile(r"[0-9a-f]{64}-[0-9a-f]{16}(\.\d+)?\.safetensors")
"""The names of files in earlier versions."""

UNFINISHED_NAME = re.compile(r"[0-9a-f]{64}\.[\w.]+\.(new|partial)")

PATIENCE = 3600.0
"""After so many seconds without a change an unfinished file counts as lost; writing one takes seconds."""

State = Literal["whole", "damaged", "stale", "unfinished", "being written", "foreign"]

V = TypeVar("V")


class Entry(NamedTuple):
    """A file in the cache folder. Only whole files are ever read.

    A damaged file was cut off or changed: its digest is not the one in its name. A stale one belongs to
    another version of the code. An unfinished one was left by a process that ended early. One that is being
    written changed within the hour. The cache did not make a foreign one.
    """

    path: Path
    state: State
    size: int


def cache_folder() -> Path:
    """Return the folder named by GEOCNN_CACHE, else `geocnn` in the platform's folder for a user's caches.

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
    """Return `mesh.hierarchy(**options)`, bit for bit; compute it only if the cache does not have it.

    Raises GeometryError as `hierarchy` does, and where the cache folder cannot be used. A full disc is a
    warning.

    >>> import tempfile, torch, geocnn.geometry as geometry
    >>> s = geometry.mesh(torch.eye(4)[:, :3], [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     os.environ["GEOCNN_CACHE"] = folder
    ...     h = [cached_hierarchy(s, levels=1, kind="log") for _ in range(2)]   # the second time it is read
    ...     del os.environ["GEOCNN_CACHE"]
    >>> torch.equal(h[0].stencils[0].r, h[1].stencils[0].r)
    True
    """
    key = _hierarchy_key(mesh, options)
    hierarchy = _cached(key, lambda: mesh.hierarchy(**options), Hierarchy.save, Hierarchy.load)
    return hierarchy.to(mesh.points.device)


def cached_features(mesh: Mesh) -> tuple[Float64[Tensor, "n features"], FieldType]:
    """Return `shape_features(mesh)`; compute them only if the cache does not have them.

    Raises GeometryError as that does, and where the cache folder cannot be used. A full disc is a warning.
    """
    key = _key(mesh, "shape_features", {})
    x, field_type = _cached(key, lambda: shape_features(mesh), _save_field, _load_field)
    return x.to(mesh.points.device), field_type


def is_cached(mesh: Mesh, features: bool = True, **options: Any) -> bool:
    """Return whether the cache has the hierarchy with these options and, unless `features` is False, the
    features of the mesh.

    Files are not read, so a damaged one counts.
    """
    keys = [_hierarchy_key(mesh, options)] + ([_key(mesh, "shape_features", {})] if features else [])
    return all(_files(key) for key in keys)


def cache_entries() -> list[Entry]:
    """Return all files of the cache, which are hashed for this, and anything else in its folder.

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
    """Remove all files that the cache made and nobody is writing; return them."""
    removed = [entry for entry in cache_entries() if entry.state not in ("foreign", "being written")]
    for entry in removed:
        entry.path.unlink(missing_ok=True)
    for part in {entry.path.parent for entry in removed}:
        with suppress(OSError):  # other files are in it, or another process has removed it
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
    if UNFINISHED_NAME.fullmatch(path.name):
        return "unfinished" if age > PATIENCE else "being written"
    name = ENTRY.fullmatch(path.name)
    if name is None:
        return "stale" if OLDER.fullmatch(path.name) else "foreign"
    if name[2] != fingerprint(__name__):
        return "stale"
    return "whole" if _digest(path) == name[1] else "damaged"


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _hierarchy_key(mesh: Mesh | OneSidedMesh, options: dict[str, Any]) -> str:
    # defaults are part of the key, so that changing one changes it
    bound = inspect.signature(mesh.hierarchy).bind(**options)
    bound.apply_defaults()
    radius = bound.arguments["radius"]
    bound.arguments["radius"] = None if radius is None else check_radius(radius)
    return _key(mesh, "hierarchy", bound.arguments)


def _key(mesh: Mesh | OneSidedMesh, kind: str, options: dict[str, Any]) -> str:
    if not isinstance(mesh, Mesh | OneSidedMesh):
        raise GeometryError(f"the cache is only for triangle meshes, got a {type(mesh).__name__}")
    t = mesh.triangulation
    # the gauge is part of the result; vertex and areas say which level of the surface it is
    parts = (t.vertices, t.faces, mesh.vertex, mesh.areas, mesh.frames, mesh.anchor, mesh.flipped)
    shapes = [None if part is None else list(part.shape) for part in parts]
    request = [
        fingerprint(__name__),
        kind,
        {name: _plain(option) for name, option in options.items()},
        shapes,
    ]
    key = hashlib.sha256(json.dumps(request, sort_keys=True, default=repr).encode())
    for part in parts:
        if part is not None:
            key.update(part.detach().cpu().contiguous().numpy().tobytes())
    return key.hexdigest()


def _plain(option: Any) -> Any:
    """Convert numbers of NumPy and torch to Python's, and tuples to lists, for JSON."""
    if isinstance(option, list | tuple):
        return [_plain(part) for part in option]
    return option.tolist() if isinstance(option, np.generic | np.ndarray | Tensor) else option


def _cached(key: str, make: Callable[[], V], save: Callable[[V, Path], None], load: Callable[[Path], V]) -> V:
    limit = cache_limit(cache_folder())
    with _usable_folder():
        for file in _files(key):
            with suppress(FileNotFoundError):  # another process may remove it meanwhile
                touch(file)
                state = _state(file, 0.0)
                if state == "whole":
                    return load(file)
                if state == "damaged":
                    warnings.warn(f"{file} in the cache is damaged; it is computed again", stacklevel=3)
                    file.unlink()
        # before what may take long
        with _unless_full():
            if limit:
                _folder(key).mkdir(parents=True, exist_ok=True)
    value = make()
    if limit:
        try:
            make_room(cache_folder(), _store(key, lambda path: save(value, path), limit), _is_ours)
        except OSError as error:
            warnings.warn(
                f"geometry was computed but is not kept: {error}; make room, or name another folder in the "
                f"environment variable {ENVIRONMENT_VARIABLE}",
                stacklevel=3,
            )
    return value


@contextmanager
def _usable_folder() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GeometryError(
            f"the cache folder {cache_folder()} cannot be used ({error}); name another folder in the "
            f"environment variable {ENVIRONMENT_VARIABLE}"
        ) from error


@contextmanager
def _unless_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def _store(key: str, save: Callable[[Path], None], limit: int) -> int:
    """Write a file, and return its size; 0 where it alone would be more than the limit, and is not kept."""
    # no two writers share this name, whatever their thread, process or machine
    new = _folder(key) / f"{key}.{uuid4().hex}.new"
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        save(new)
        size = new.stat().st_size
        if size > limit:
            return 0
        os.replace(new, new.with_name(f"{key}-{_digest(new)}.{fingerprint(__name__)}.safetensors"))
        return size
    finally:
        new.unlink(missing_ok=True)


def _is_ours(file: Path) -> bool:
    """Return whether the cache made a file and nobody is writing it."""
    if UNFINISHED_NAME.fullmatch(file.name):
        return time.time() - file.lstat().st_mtime > PATIENCE
    named = ENTRY.fullmatch(file.name) or OLDER.fullmatch(file.name)
    return bool(named) and file.is_file() and not file.is_symlink()


def _folder(key: str) -> Path:
    # 256 folders, so that finding a file lists few others
    return cache_folder() / key[:2]


def _files(key: str) -> list[Path]:
    return sorted(_folder(key).glob(f"{key}-*.{fingerprint(__name__)}.safetensors"))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _save_field(field: tuple[Tensor, FieldType], path: Path) -> None:
    save_tensors(path, {"x": field[0]}, {"field": {"type": str(field[1])}})


def _load_field(path: Path) -> tuple[Tensor, FieldType]:
    tensors, metadata = load_tensors(path, "field")
    return tensors["x"], FieldType(metadata["type"])
