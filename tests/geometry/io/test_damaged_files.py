"""Damaged files of every format are refused by a typed error or read: no other error, no end of memory."""

from __future__ import annotations

import gzip
import lzma
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from geocnn.errors import GeometryError
from geocnn.geometry.io import load_triangles, raw_mesh, read_mesh, read_vertex_values, write_mesh
from geocnn.geometry.io.xml import LZMA, MOST_DEFLATED, inflated
from tests.geometry.io.test_files_of_tools import LINES, LOOSE, POINTS, SIDES, TETRAHEDRON, off
from tests.geometry.io.test_io import PLY, POSITIONS, write
from tests.geometry.io.test_raw_mesh import contents

MOST = 700_000
"""Kilobytes by which a reader may grow the process; it grows by half of it when libraries are imported."""

STRIPS = PLY.replace("element face 2", "element tristrips 1") + POSITIONS + "11 0 1 2 3 4 -1 5 4 3 3 6\n"


def files(folder: Path) -> dict[str, bytes]:
    """A file of every format and coding, those of libraries too."""
    trimesh = pytest.importorskip("trimesh")
    nibabel = pytest.importorskip("nibabel")
    held = contents() | {"strips.ply": STRIPS.encode()}
    held |= {f"loose {k}.off": text.encode() for k, text in enumerate(LOOSE.values())}
    held["colours.off"] = off(POINTS.replace("\n", " 1 2 3 4\n"), LINES, "NCOFF\n").encode()
    write_mesh(folder / "a.npz", raw_mesh(TETRAHEDRON, SIDES))
    held["a.npz"] = (folder / "a.npz").read_bytes()
    held["packed.ply.gz"] = gzip.compress(held["binary.ply"])
    scene = trimesh.Scene([trimesh.Trimesh(TETRAHEDRON, SIDES), trimesh.Trimesh(TETRAHEDRON, SIDES[:2])])
    held |= {f"a.{kind}": scene.export(file_type=kind) for kind in ("glb", "3mf")}
    held["a.dae"] = trimesh.exchange.dae.export_collada(list(scene.geometry.values()))
    nibabel.freesurfer.write_geometry(str(folder / "lh.pial"), TETRAHEDRON, SIDES)
    nibabel.freesurfer.write_morph_data(str(folder / "lh.curv"), np.arange(4))
    colours = np.array([[10, 20, 30, 0, 0], [40, 50, 60, 0, 0]])
    nibabel.freesurfer.write_annot(str(folder / "lh.annot"), np.array([1, 0, 1, -1]), colours, ["a", "b"])
    return held | {name: (folder / name).read_bytes() for name in ("lh.pial", "lh.curv", "lh.annot")}


def flipped(content: bytes, draw: np.random.Generator) -> bytes:
    found = bytearray(content)
    for at in draw.integers(len(content), size=draw.integers(1, 6)):
        found[at] ^= 1 << draw.integers(8)
    return bytes(found)


def cut(content: bytes, draw: np.random.Generator) -> bytes:
    return content[: draw.integers(len(content))]


def without_lines(content: bytes, draw: np.random.Generator) -> bytes:
    lines = content.splitlines(keepends=True)
    at = draw.integers(len(lines))
    return b"".join(lines[:at] + lines[at + draw.integers(1, 4) :])


def without_bytes(content: bytes, draw: np.random.Generator) -> bytes:
    at = draw.integers(len(content))
    return content[:at] + content[at + draw.integers(1, 9) :]


def doubled(content: bytes, draw: np.random.Generator) -> bytes:
    start, stop = sorted(draw.integers(len(content) + 1, size=2))
    return content[:stop] + content[start:]


ODD = [b"-1", b"0", b"1_0", b"1e", b"nan", b"0x7", b"2.5", b"99999", b"4294967295", b"9" * 18, b"1e308", b"x"]


def renumbered(content: bytes, draw: np.random.Generator) -> bytes:
    """One number in text is another; huge counts are among them."""
    found = list(re.finditer(rb"\d+(?:\.\d+)?", content))
    chosen = found[draw.integers(len(found))] if found else None
    return (
        content[: chosen.start()] + ODD[draw.integers(len(ODD))] + content[chosen.end() :] if chosen else b""
    )


def recounted(content: bytes, draw: np.random.Generator) -> bytes:
    """Four bytes in a row say a huge number, of either byte order."""
    at = draw.integers(max(1, len(content) - 4))
    huge = int(draw.choice([2**31 - 1, 2**32 - 1, 2**31, 10**6, 2**24])).to_bytes(4, "little")
    return content[:at] + (huge if draw.random() < 0.5 else huge[::-1]) + content[at + 4 :]


DAMAGE = [flipped, cut, without_lines, without_bytes, doubled, renumbered, recounted]


def outcomes(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Of so many damaged files, how many were read and how many refused; any other error is raised."""
    draw, held = np.random.default_rng(seed), list(files(folder).items())
    found = {"read": 0, "refused": 0}
    for k in range(count):
        name, content = held[k % len(held)]
        damage: Callable[[bytes, np.random.Generator], bytes] = DAMAGE[draw.integers(len(DAMAGE))]
        path = write(folder, name, damage(content, draw))
        readers = [read_vertex_values] if name in ("lh.curv", "lh.annot") else [read_mesh, load_triangles]
        for reader in readers[: 1 + k % 2]:
            try:
                reader(path)
                found["read"] += 1
            except GeometryError as fault:
                assert name in str(fault)
                found["refused"] += 1
    return found


def grown(folder: Path, count: int, seed: int) -> dict[str, int]:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "(?s).*not read")
        found = outcomes(folder, count, seed)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST
    assert min(found.values()) > count // 10  # both happen, or the damage is none or too much
    return found


def test_a_hundred_damaged_files(tmp_path):
    grown(tmp_path, 120, 0)


@pytest.mark.slow
def test_three_thousand_damaged_files(tmp_path):
    print(grown(tmp_path, 3000, 1))


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", vertices=np.zeros((4_000_000, 3)), faces=np.zeros((1, 3), int))
    assert (tmp_path / "bomb.npz").stat().st_size < 1_000_000
    with pytest.raises(GeometryError, match="unpack"):
        read_mesh(tmp_path / "bomb.npz")


def test_lzma_is_inflated_up_to_the_limit_of_zlib():
    block = bytes(2**15)
    assert inflated(lzma.compress(block), len(block), LZMA) == block
    bomb = lzma.compress(bytes(2**20))
    assert len(bomb) < 2**20 / MOST_DEFLATED
    with pytest.raises(GeometryError, match="1032 times as many"):
        inflated(bomb, 2**20, LZMA)
