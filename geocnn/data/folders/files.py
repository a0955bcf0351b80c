"""Files of a folder are meshes, values beside meshes, maps of the sphere, or tables; their names and contents
tell which.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geocnn.data.fits import FITS_NAME
from geocnn.errors import MapError
from geocnn.geometry.io import READERS
from geocnn.geometry.io.freesurfer import SURFACE
from geocnn.geometry.spheres.pixels import nside_of

VALUES = re.compile(
    r"\.(txt|npy|csv|annot|(func|shape|label)\.gii(\.gz)?)$|(^|[lr]h\.)(curv|thickness|sulc|area|volume)$",
    re.IGNORECASE,
)
"""Names of files with a row per vertex, beside those archives (.npz) that hold no mesh."""

PARTS_OF_NAMES = (".func", ".shape", ".label", ".surf", ".labels", "_labels", "_label", ".seg", "_seg")
"""What stands between the name of a sample and the extension in the names of its files."""

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
SPLITS |= {"dev": "val", "test": "test", "testing": "test"}
"""Names of splits, and what this package calls them."""


def files_in(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield all files below a folder, sorted, without hidden ones and what systems leave behind.

    Answers that `geocnn predict` wrote among them (NAME.answers.*, NAME-answers/) are no data of the user's.
    Folders `above`, which links may lead back to, are left out.
    """
    above = (*above, folder.resolve())
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__")) or path.name in ("Thumbs.db", "desktop.ini"):
            continue
        if ".answers." in path.name or path.name.endswith("-answers"):
            continue
        if path.is_dir() and path.resolve() not in above:
            yield from files_in(path, above)
        elif path.is_file():
            yield path


def is_mesh(path: Path) -> bool:
    """Return whether a file is a mesh, by its name; archives and unknown extensions by content."""
    name = path.name.lower().removesuffix(".gz")
    if VALUES.search(name):
        return False
    suffix = Path(name).suffix
    if suffix == ".npz":
        return {"vertices", "faces"} <= _arrays(path) or {"v", "f"} <= _arrays(path)
    if suffix in READERS:
        return True
    with path.open("rb") as stream:
        return stream.read(3) == SURFACE


def is_values(path: Path) -> bool:
    """Return whether a file holds values of vertices: numbers as text, arrays, GIFTI data, FreeSurfer's."""
    return bool(VALUES.search(path.name)) or (path.suffix.lower() == ".npz" and not is_mesh(path))


def values_suffix(path: Path) -> str:
    """Return what says the format at the end of the name of a file of values.

    >>> [values_suffix(Path(name)) for name in ("a_labels.txt", "a.label.gii", "lh.thickness", "all.npz")]
    ['.txt', '.label.gii', '.thickness', '.npz']
    """
    found = VALUES.search(path.name)
    return f".{found[0].rpartition('h.')[2].lstrip('.')}".lower() if found else path.suffix.lower()


def is_fits(path: Path) -> bool:
    """Return whether a file is FITS by its name."""
    return bool(FITS_NAME.search(path.name))


def is_map_file(path: Path) -> bool:
    """Return whether a file holds maps of the sphere: FITS, or an array [pixels], [n, pixels] or
    [n, pixels, channels] of 12 nside² pixels.
    """
    if is_fits(path):
        return True
    shape = array_shape(path)
    if path.suffix.lower() != ".npy" or len(shape) not in (1, 2, 3):
        return False
    pixels = shape[0] if len(shape) == 1 else shape[1]
    if pixels < 12:
        return False
    try:
        return nside_of(pixels) >= 1
    except MapError:
        return False


def array_shape(path: Path) -> tuple[int, ...]:
    """Return the shape of the array in a .npy file; () where it is none."""
    if path.suffix.lower() != ".npy":
        return ()
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (ValueError, OSError, EOFError):
        return ()


def stem(path: Path) -> str:
    """Return the name of the sample that a file belongs to.

    >>> [stem(Path(name)) for name in ("a/scan.ply", "scan.label.gii", "scan_labels.txt", "lh.pial")]
    ['scan', 'scan', 'scan', 'lh.pial']
    """
    name = path.name.removesuffix(".gz")
    suffix = Path(name).suffix.lower()
    if suffix in READERS or VALUES.search(name) or FITS_NAME.search(path.name):
        name = name.removesuffix(Path(name).suffix)
    for part in PARTS_OF_NAMES:
        name = name.removesuffix(part) or name
    return name


def _arrays(path: Path) -> set[str]:
    """Return the names of the arrays in an archive; none where it is damaged, which its reader tells."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {Path(name).stem for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError):
        return set()
