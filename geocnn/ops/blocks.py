"""The convolution as small dense products: gather the sources of a tile of targets, multiply by the tile's
block, mix.

Neighbouring targets share most of their sources. A tile of k targets with U sources between them is one dense
block [k · rows, U · components], and a batched product of such blocks costs no index per number, unlike the
same sum as a sparse matrix. For one sample and one source irrep:

    X [tiles, U · components, C] = x[member]       M [T, rows, C] = block @ X       y += M[run] @ weight[run]

Where the complex numbers commute with a source irrep, features, blocks and moments of it are complex: one
component, half the rows, and half the numbers of a block. Complex moments are mixed as pairs of real ones.

Tiles of about equal U form a class, which is one array; targets are numbered class by class. Tiles that a
symmetry of the surface takes to each other share one block. Samples stand side by side as columns, and where
they are few, tiles that share a block do as well.

The map is linear in x and in the weights, so with a cotangent g it is one trilinear form ⟨g, F(x, W)⟩.
`convolve` gives its derivatives by g and W, `convolve_transpose` that by x. Moments exist a piece at a time,
and are formed again for the backward pass, unless they are so few that the caller keeps them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from geocnn.ops.pieces import Piece, Room, TileClass, batches, tile_classes


class RowRun(NamedTuple):
    """Rows of one source irrep that land in one target irrep: [dim, count] from row `start`, mixed to `width`
    copies.

    When `is_complex`, the two components are mixed together, by a matrix [2 · count · C, 2 · width];
    otherwise each component by the same matrix [count · C, width]. `out` is the first output channel. Rows
    are counted as real ones; a complex row stands for two.
    """

    source: int
    start: int
    dim: int
    count: int
    is_complex: int
    out: int
    width: int

    def pieces(self, channels: int) -> Iterator[tuple[slice, slice]]:
        """(columns of M, channels of y) of each product."""
        if self.is_complex:
            rows = self.dim * self.count
            yield self._columns(0, rows, channels), slice(self.out, self.out + self.dim * self.width)
            return
        for i in range(self.dim):
            out = self.out + i * self.width
            yield self._columns(i * self.count, self.count, channels), slice(out, out + self.width)

    def shape(self, channels: int) -> tuple[int, int]:
        """Return the shape of the run's matrix."""
        both = self.dim if self.is_complex else 1
        return both * self.count * channels, both * self.width

    def _columns(self, first: int, rows: int, channels: int) -> slice:
        return slice((self.start + first) * channels, (self.start + first + rows) * channels)


def runs_of(plan: Sequence[int]) -> list[RowRun]:
    """Return the runs of a plan, which lists the fields of each one after another."""
    return [RowRun(*plan[i : i + 7]) for i in range(0, len(plan), 7)]


def _moment_pieces(
    x: Sequence[Tensor],
    block: Sequence[Tensor],
    member: Sequence[Tensor],
    k: Sequence[int],
    known: Iterator[Tensor] | None,
    keep: list[Tensor] | None,
) -> Iterator[tuple[int, Piece, Tensor]]:
    """Yield (source irrep, piece, moments [targets · b, real rows · C]) for all pieces.

    Moments may be known, one tensor per piece, or be kept in a list.
    """
    for s, field in enumerate(x):
        components, n_rows = block[s].shape[2] // member[0].shape[1], block[s].shape[1] // k[0]
        b, channels = field.shape[0], field.shape[2] // components
        inner = field.unflatten(2, (components, channels)).permute(1, 2, 0, 3)
        inner = inner if known else inner.contiguous()
        # the memory of one piece serves the next: new memory costs as much as the product
        room = Room(field)
        for tiles in tile_classes(block, member, k):
            for piece in tiles.pieces(b, channels, n_rows):
                if known:
                    yield s, piece, next(known)
                    continue
                own, near = tiles.block[s][piece.shape], piece.gathered(inner, room)
                moments = room.of("moments", len(own), own.shape[1], near.shape[2])
                torch.bmm(own, near, out=moments)
                m = as_real(piece.by_target(moments, b)).flatten(0, 3)
                if keep is not None:
                    keep.append(m.clone() if m.data_ptr() == moments.data_ptr() else m)
                yield s, piece, m


def convolve(
    x: Sequence[Tensor],
    weight: Sequence[Tensor] | None,
    g: Tensor | None,
    block: Sequence[Tensor],
    member: Sequence[Tensor],
    slot_ptr: Tensor,
    slot: Tensor,
    place: Tensor | None,
    k: Sequence[int],
    n_out: int,
    plan: Sequence[int],
    moments: list[Tensor] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Return y [B, targets, n_out] if weights are given, one matrix per run of `plan`; if g, like y, is
    given, the derivatives of ⟨g, y⟩ by these matrices, for each run Mᵀ g.

    x holds one [B, N, components · C] per source irrep. `k` says how many targets a tile of each class has,
    and `place` [targets] where each target lies among those of all tiles, None if in order. Moments, of the
    same x, are kept in a list that is given empty, and read from one that is not.
    """
    known = iter(moments) if moments else None
    keep = moments if known is None else None
    runs, channels, n = runs_of(plan), _channels(x, block, member), n_targets(member, k)
    like, parts = x[0].real, []
    mine = [[(i, run) for i, run in enumerate(runs) if run.source == s] for s in range(len(x))]
    gradients = [] if g is None else [like.new_zeros(run.shape(channels[run.source])) for run in runs]
    g = None if g is None else _by_tile(g, place, member, k)
    work = n * max(a.shape[1] // k[0] * c for a, c in zip(block, channels, strict=False))
    for batch in batches(x[0].shape[0], work, min(channels), like.device):
        b = batch.stop - batch.start
        # targets come first, so that those of a piece are rows of one matrix
        y = like.new_zeros(n, b, n_out)
        back = None if g is None else g[batch].transpose(0, 1).contiguous()
        for s, piece, m in _moment_pieces([field[batch] for field in x], block, member, k, known, keep):
            into = piece.targets(y)
            rows, given = into.flatten(0, 3), None if back is None else piece.targets(back).flatten(0, 3)
            for i, run in mine[s]:
                for columns, out in run.pieces(channels[s]):
                    if weight is not None:
                        rows[:, out].addmm_(m[:, columns], weight[i])
                    if given is not None:
                        gradients[i].addmm_(m[:, columns].T, given[:, out])
            if rows.data_ptr() != into.data_ptr():
                into.copy_(rows.view_as(into))
        parts.append((y if place is None else y.index_select(0, place)).transpose(0, 1))
    return (parts[0].contiguous() if len(parts) == 1 else torch.cat(parts)), gradients


def convolve_transpose(
    g: Tensor,
    weight: Sequence[Tensor],
    block: Sequence[Tensor],
    member: Sequence[Tensor],
    slot_ptr: Tensor,
    slot: Tensor,
    place: Tensor | None,
    k: Sequence[int],
    plan: Sequence[int],
) -> list[Tensor]:
    """Return the derivative of ⟨g, y⟩ by x: one [B, N, components · C] per source irrep.

    For complex ones give the weights of conjugate moments; the result is the conjugate of the derivative.
    """
    runs, result, g = runs_of(plan), [], _by_tile(g, place, member, k)
    n_slots, n_source = sum(own.numel() for own in member), slot_ptr.shape[0] - 1
    for s in range(len(block) // len(member)):
        mine = [(run, w) for run, w in zip(runs, weight, strict=True) if run.source == s]
        run, w = mine[0]
        channels = w.shape[0] // run.count // (run.dim if run.is_complex else 1)
        components, dtype = block[s].shape[2] // member[0].shape[1], block[s].dtype
        back = g.new_empty(g.shape[0], n_source, components * channels, dtype=dtype)
        for batch in batches(g.shape[0], n_slots * components * channels, channels, g.device):
            inner, b = g[batch].transpose(0, 1).contiguous(), batch.stop - batch.start
            spread = g.new_empty(n_slots, components * b * channels, dtype=dtype)
            for tiles in tile_classes(block, member, k):
                _spread(inner, mine, tiles, s, channels, spread)
            back[batch] = _collected(spread, slot_ptr, slot, components, b)
            del spread  # it is large; the next one takes its place
        result.append(back)
    return result


def _spread(
    g: Tensor, mine: list[tuple[RowRun, Tensor]], tiles: TileClass, s: int, channels: int, spread: Tensor
) -> None:
    """Write what each slot of a class contributes to its source, [slots, components · b · C]."""
    b, block, room = g.shape[1], tiles.block[s], Room(g)
    n_rows = block.shape[1] // tiles.k
    for piece in tiles.pieces(b, channels, n_rows):
        back = piece.targets(g).flatten(0, 3)
        m = room.of("moments", len(back), n_rows * channels * (2 if block.is_complex() else 1))
        for run, w in mine:
            for columns, out in run.pieces(channels):
                torch.mm(back[:, out], w.T, out=m[:, columns])
        m = torch.view_as_complex(m.unflatten(1, (-1, 2))) if block.is_complex() else m
        piece.spread(block, piece.by_tile(m, b, n_rows), spread)


def _collected(spread: Tensor, slot_ptr: Tensor, slot: Tensor, components: int, b: int) -> Tensor:
    """Transpose `_gathered`: sum over each source's slots, [b, N, components · C], without atomics."""
    # sparse products know no half precision, which would also lose digits in sums over slots
    dtype, real = spread.dtype, as_real(spread)
    real = real.to(torch.promote_types(real.dtype, torch.float32))
    ones, n_slots = real.new_ones(slot.shape[0]), real.shape[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        matrix = torch.sparse_csr_tensor(
            slot_ptr, slot, ones, (slot_ptr.shape[0] - 1, n_slots), check_invariants=False
        )
    total = matrix @ real
    total = torch.view_as_complex(total.unflatten(1, (-1, 2))) if dtype.is_complex else total.to(dtype)
    n = total.shape[0]
    return total.view(n, components, b, -1).permute(2, 0, 1, 3).reshape(b, n, -1)


def n_targets(member: Sequence[Tensor], k: Sequence[int]) -> int:
    """Return the number of targets of all tiles, those included that stand for none."""
    return sum(each * len(own) for each, own in zip(k, member, strict=True))


def as_real(x: Tensor) -> Tensor:
    """Return x [..., C], complex ones as [..., C · 2]."""
    return torch.view_as_real(x).flatten(-2) if x.is_complex() else x


def _by_tile(g: Tensor, place: Tensor | None, member: Sequence[Tensor], k: Sequence[int]) -> Tensor:
    """Bring targets from the stencil's order into that of the tiles; those that stand for none get 0."""
    if place is None:
        return g
    return g.new_zeros(g.shape[0], n_targets(member, k), g.shape[2]).index_copy_(1, place, g)


def _channels(x: Sequence[Tensor], block: Sequence[Tensor], member: Sequence[Tensor]) -> list[int]:
    """Return the copies of each source irrep; blocks of the first class tell their components."""
    u = member[0].shape[1]
    return [field.shape[2] * u // a.shape[2] for field, a in zip(x, block, strict=False)]
