"""Several pieces are joined to one mesh, and strips are cut into triangles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64, Real

from geocnn.geometry.io.raw import Attributes, Polygons
from geocnn.wording import counted


def joined(pieces: Sequence[Polygons]) -> Polygons:
    """Join pieces in their order and renumber ids; keep the attributes that every piece has."""
    if len(pieces) == 1:
        return pieces[0]
    first = np.cumsum([0, *(len(piece.vertices) for piece in pieces)])
    mesh = Polygons(
        np.concatenate([np.empty((0, 3)), *(piece.vertices for piece in pieces)]),
        np.concatenate([np.empty(0, int), *(piece.counts for piece in pieces)]),
        np.concatenate([np.empty(0, int), *(p.corners + k for p, k in zip(pieces, first, strict=False))]),
    )
    for place in ("vertex", "face", "corner"):
        setattr(mesh, place, _common([getattr(piece, place) for piece in pieces], place, mesh.left_out))
    mesh.left_out += dict.fromkeys(what for piece in pieces for what in piece.left_out)
    return mesh


def _common(pieces: list[Attributes], place: str, left_out: list[str]) -> Attributes:
    names = dict.fromkeys(name for attributes in pieces for name in attributes)
    common: Attributes = {}
    for name in names:
        arrays = [attributes[name] for attributes in pieces if name in attributes]
        if len(arrays) == len(pieces) and len({values.shape[1:] for values in arrays}) == 1:
            common[name] = np.concatenate(arrays)
        else:
            left_out.append(f"{name} of {place}, which not all pieces have")
    return common


def cut_strips(
    lengths: Int64[np.ndarray, " strips"], ids: Real[np.ndarray, " ids"]
) -> tuple[Real[np.ndarray, "f 3"], Int64[np.ndarray, " f"], list[str]]:
    """Cut strips of the given lengths into triangles; an id −1 ends a strip, as in Stanford's .ply files.

    Every second triangle is wound the other way round. A vertex that is written twice joins two strips: the
    triangles that have it twice are noted and not returned.

    Returns the triangles, the strip of each, and what was left out.

    >>> cut_strips(np.array([6]), np.array([0, 1, 2, 3, -1, 4]))[0].tolist()
    [[0, 1, 2], [3, 2, 1]]
    """
    strip = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(ids))
    starts = np.concatenate([[True], (strip[1:] != strip[:-1]) | (ids[:-1] == -1)])[: len(ids)]
    run = np.cumsum(starts)
    begin = np.maximum.accumulate(np.where(starts, place, 0))
    if len(ids) < 3:
        return np.empty((0, 3), ids.dtype), np.empty(0, int), []
    first = ((run[:-2] == run[2:]) & (ids[2:] != -1)).nonzero()[0]
    a, b, c = ids[first], ids[first + 1], ids[first + 2]
    odd = (first - begin[first]) % 2 == 1
    triangles = np.stack([np.where(odd, c, a), b, np.where(odd, a, c)], 1)
    double = (a == b) | (b == c) | (a == c)
    left_out = [f"{counted(double.sum(), 'triangle')} of strips with a vertex twice"] if double.any() else []
    return triangles[~double], strip[first][~double], left_out
