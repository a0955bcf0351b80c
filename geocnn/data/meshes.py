"""Small meshes that ship for tests and examples; `datasets/meshes/dataset.toml` has their licences."""

from __future__ import annotations

from pathlib import Path

from geocnn.data.store import dataset_file, describe
from geocnn.errors import DatasetError


def mesh_file(name: str) -> Path:
    """Return the file of a shipped mesh: bunny, spot, sphere, torus, hand (bounded), goathead, skull.

    Raises DatasetError for another name, or where the file is missing or damaged.

    >>> mesh_file("spot").name
    'spot_low_resolution.obj'
    """
    files = {entry["mesh"]: entry["path"] for entry in describe("meshes")["files"] if "mesh" in entry}
    if name not in files:
        raise DatasetError(f"no shipped mesh is called '{name}'; there are: {', '.join(files)}")
    return dataset_file("meshes", files[name])
