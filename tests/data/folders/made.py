"""Small folders as users have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from geocnn.geometry.io import raw_mesh, save_ply, write_mesh
from tests.shapes import jittered_sphere


def egg(seed: int, n: int = 60, long: float = 1.3, size: float = 1.0):
    """A sphere drawn out along z, turned at random."""
    v, f = jittered_sphere(n, seed=seed)
    v = v * torch.tensor([1.0, 1.0, long], dtype=torch.float64) * size
    g = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=g, dtype=torch.float64))
    return v @ (q * torch.det(q).sign()).T, f


def class_folders(folder: Path, each: int = 6) -> Path:
    """Long and round eggs in millimetres, in a folder per class."""
    for c, long in (("long", 1.8), ("round", 1.0)):
        (folder / c).mkdir(parents=True)
        for k in range(each):
            save_ply(folder / c / f"{c}{k}.ply", *egg(100 * len(c) + k, long=long, size=1000))
    return folder


def with_table(folder: Path, text: str = "", count: int = 6) -> Path:
    """Meshes m0.obj … and a table; by default of numbers."""
    folder.mkdir(parents=True)
    rows = ["file,length"]
    for k in range(count):
        write_mesh(folder / f"m{k}.obj", raw_mesh(*egg(k, long=1 + k / 5)))
        rows.append(f"m{k}.obj,{1 + k / 5}")
    (folder / "labels.csv").write_text(text or "\n".join(rows) + "\n")
    return folder


def labelled_points(folder: Path, count: int = 6) -> Path:
    """Meshes with a .npy of labels 3 and 7 of their vertices beside them."""
    folder.mkdir(parents=True)
    for k in range(count):
        v, f = egg(k)
        save_ply(folder / f"s{k}.ply", v, f)
        np.save(folder / f"s{k}.npy", np.where(v[:, 0] > 0, 7, 3))
    return folder


def fields_on_one(folder: Path, count: int = 12, table: bool = True) -> Path:
    """One mesh, an array of fields on it, and a table of classes."""
    folder.mkdir(parents=True)
    v, f = egg(0, n=80)
    save_ply(folder / "cortex.ply", v, f)
    rng = np.random.default_rng(0)
    np.save(folder / "fields.npy", rng.normal(size=(count, len(v))).astype(np.float32))
    if table:
        rows = [f"sub-{k},{'ab'[k % 2]}" for k in range(count)]
        (folder / "labels.csv").write_text("subject,label\n" + "\n".join(rows) + "\n")
    return folder


def maps(folder: Path, count: int = 8) -> Path:
    """HEALPix maps of nside 2 in files of their own, and a table of numbers."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["file,tilt"]
    for k in range(count):
        x = np.sin(np.arange(48) * (1 + k)) + 0.1 * rng.normal(size=48)
        np.save(folder / f"map{k}.npy", x)
        rows.append(f"map{k}.npy,{k}.5")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder
