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


def band(twists: int, n: int = 24, width: int = 4, size: float = 1.0):
    """A band with half twists: with an odd number of them it has only one side."""
    turn = torch.arange(n, dtype=torch.float64)[:, None] * (2 * torch.pi / n)
    across = torch.linspace(-0.3, 0.3, width, dtype=torch.float64)
    r, z = 1 + across * torch.cos(twists * turn / 2), across * torch.sin(twists * turn / 2)
    v = size * torch.stack([r * torch.cos(turn), r * torch.sin(turn), z], -1).reshape(-1, 3)
    last = torch.arange(width).flip(0) if twists % 2 else torch.arange(width)
    ids = torch.cat([torch.arange(n * width).reshape(n, width), last[None]])
    a, b, c, d = ids[:-1, :-1], ids[1:, :-1], ids[1:, 1:], ids[:-1, 1:]
    return v, torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)]).reshape(-1, 3)


def bands(folder: Path, twists: int, count: int = 6) -> Path:
    """Bands with a heat and a wind at their vertices, and a label of each vertex: where the heat is."""
    folder.mkdir(parents=True)
    for k in range(count):
        v, f = band(twists, n=24 + k, size=1 + k / 20)
        heat = torch.cos(torch.atan2(v[:, 1], v[:, 0]) + k)
        raw = raw_mesh(v, f).with_attributes({"heat": heat, "wind": v, "label": (heat > 0).int()})
        write_mesh(folder / f"b{k}.ply", raw)
    return folder


def pairs(folder: Path, count: int = 6) -> Path:
    """Meshes of an egg, closed, and a band, with a boundary, beside it; the label of a vertex says which."""
    folder.mkdir(parents=True)
    for k in range(count):
        (v, f), (w, g) = egg(k), band(2)
        label = (torch.arange(len(v) + len(w)) >= len(v)).int()
        save_ply(folder / f"p{k}.ply", torch.cat([v, w + 4]), torch.cat([f, g + len(v)]), label=label)
    return folder


def map_pairs(folder: Path, count: int = 6, nested: bool = False) -> Path:
    """Maps of nside 2 in FITS files, and in the folder `truth` maps to be learnt: their squares in mK."""
    from geocnn.data import write_map_file
    from geocnn.geometry.spheres.healpix_maps import reorder

    (folder / "sky").mkdir(parents=True)
    (folder / "truth").mkdir()
    for k in range(count):
        x = torch.sin(torch.arange(48, dtype=torch.float32) / 9 + k)
        for name, values in (("sky", x), ("truth", x**2)):
            values = reorder(values, to="nested") if nested else values
            write_map_file(folder / name / f"m{k}.fits", values, nested=nested, coordinates="galactic")
    return folder


def labelled_faces(folder: Path, count: int = 6, suffix: str = ".txt") -> Path:
    """Meshes of quadrilaterals, and files of labels 3 and 7 of these beside them."""
    from geocnn.geometry.io import write_vertex_values

    folder.mkdir(parents=True)
    for k in range(count):
        v, _ = band(2, n=24 + k)
        ids = torch.cat([torch.arange(len(v)).reshape(-1, 4), torch.arange(4)[None]])
        quads = torch.stack([ids[:-1, :-1], ids[1:, :-1], ids[1:, 1:], ids[:-1, 1:]], -1).reshape(-1, 4)
        text = ["OFF", f"{len(v)} {len(quads)} 0", *(" ".join(map(str, p)) for p in v.tolist())]
        text += [" ".join(map(str, [4, *quad])) for quad in quads.tolist()]
        (folder / f"q{k}.off").write_text("\n".join(text) + "\n")
        label = torch.where(v[quads].mean(1)[:, 0] > 0, 7, 3)
        write_vertex_values(folder / f"q{k}{suffix}", label)
    return folder
