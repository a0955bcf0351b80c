"""The convolution as small dense products: gather the sources of a tile of targets, multiply by the tile's
block, mix.

Neighbouring targets share most of their sources. A tile of k targets with U sources between them is one dense
block [k · rows, U · components], and a batched product of such blocks costs no index per number, unlike the
same sum as a sparse matrix. For one sample and one source irrep:

    X [tiles, U · components, C] = x[member]       M [T, rows, C] = block @ X       y += M[run] @ weight[run]

Tiles of about equal U form a class, which is one array; targets are numbered class by class.

The map is linear in x and in the weights, so with a cotangent g it is one trilinear form ⟨g, F(x, W)⟩. Its
three derivatives, `convolve`, `convolve_transpose` and `convolve_weight`, are each other's gradients, to any
order. Nothing but x and W is kept for the backward pass: moments are formed again, a piece at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Moments of one piece, in numbers: about what a core's cache holds; a GPU wants enough work for one launch.
PIECE = {"cpu": 2**18, "cuda": 2**26}


class RowRun(NamedTuple):
    """Rows of one source irrep that land in one target irrep: [dim, count] from row `start`, mixed to `width`
    copies.

    When `is_complex`, the two components are mixed together, by a matrix [2 · count · C, 2 · width];
    otherwise each component by the same matrix [count · C, width]. `out` is the first output channel.
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

    def _columns(self, first: int, rows: int, channels: int) -> slice:
        return slice((self.start + first) * channels, (self.start + first + rows) * channels)


def _runs(plan: Sequence[int]) -> list[RowRun]:
    return [RowRun(*plan[i : i + 7]) for i in range(0, len(plan), 7)]


class TileClass(NamedTuple):
    """A class of tiles: member [tiles, U], a block per source irrep, and where its targets and slots lie."""

    member: Tensor
    block: Sequence[Tensor]
    targets: slice
    slots: slice
    k: int

    def targets_of(self, tile: slice) -> slice:
        """Return where the targets of some tiles lie; the last tile may be cut short."""
        first = self.targets.start
        return slice(first + tile.start * self.k, min(first + tile.stop * self.k, self.targets.stop))

    def pieces(self, b: int, per_target: int) -> Iterator[tuple[slice, slice, slice]]:
        """Yield slices of the batch, of tiles, and of the targets of these tiles, of bounded work."""
        tiles, device = self.member.shape[0], self.member.device
        for batch in _pieces(b, self.k * tiles * per_target, device):
            for tile in _pieces(tiles, (batch.stop - batch.start) * self.k * per_target, device):
                yield batch, tile, self.targets_of(tile)


def _classes(
    block: Sequence[Tensor], member: Sequence[Tensor], count: Sequence[int], k: int
) -> Iterator[TileClass]:
    n, target, slot = len(block) // len(member), 0, 0
    for c, (own, targets) in enumerate(zip(member, count, strict=True)):
        yield TileClass(
            own,
            block[c * n : (c + 1) * n],
            slice(target, target + targets),
            slice(slot, slot + own.numel()),
            k,
        )
        target, slot = target + targets, slot + own.numel()


def _pieces(n: int, per_item: int, device: torch.device) -> Iterator[slice]:
    step = max(1, PIECE.get(device.type, 2**26) // max(1, per_item))
    return (slice(i, min(i + step, n)) for i in range(0, n, step))


def _gathered(x: Tensor, member: Tensor, components: int) -> Tensor:
    """x [b, N, components · C] at the members of some tiles, as [tiles, U · components, b · C]."""
    result = x[:, member]
    b, tiles, u, _ = result.shape
    result = result.view(b, tiles, u * components, -1)
    return result[0] if b == 1 else result.permute(1, 2, 0, 3).reshape(tiles, u * components, -1)


def _batch_first(m: Tensor, b: int, n_target: int, n_rows: int) -> Tensor:
    """Reorder moments [tiles, k · rows, b · C] to [b, T, rows · C]."""
    m = m.view(-1, n_rows, b, m.shape[-1] // b)[:n_target]
    return m.permute(2, 0, 1, 3).reshape(b, n_target, -1)


def _batch_last(m: Tensor, tiles: int, k: int, n_rows: int) -> Tensor:
    """Return the transpose of `_batch_first`, padded with zeros to whole tiles of k targets."""
    b, t, _ = m.shape
    m = m.view(b, t, n_rows, -1).permute(1, 2, 0, 3).reshape(t, -1)
    if k * tiles != t:
        m = torch.nn.functional.pad(m, (0, 0, 0, k * tiles - t))
    return m.view(tiles, k * n_rows, -1)


def _moment_pieces(
    x: Sequence[Tensor], block: Sequence[Tensor], member: Sequence[Tensor], count: Sequence[int], k: int
) -> Iterator[tuple[int, slice, slice, Tensor]]:
    """Yield (source irrep, batch slice, target slice, moments [b, t, rows · C]) for all pieces."""
    for tiles in _classes(block, member, count, k):
        u = tiles.member.shape[1]
        for s, (field, a) in enumerate(zip(x, tiles.block, strict=True)):
            components, n_rows = a.shape[2] // u, a.shape[1] // k
            channels = field.shape[2] // components
            for batch, tile, target in tiles.pieces(field.shape[0], n_rows * channels):
                moments = torch.bmm(a[tile], _gathered(field[batch], tiles.member[tile], components))
                b, t = batch.stop - batch.start, target.stop - target.start
                yield s, batch, target, _batch_first(moments, b, t, n_rows)


@torch.library.custom_op("geocnn::convolve", mutates_args=())
def convolve(
    x: list[Tensor],
    weight: list[Tensor],
    block: list[Tensor],
    member: list[Tensor],
    slot_ptr: Tensor,
    slot: Tensor,
    place: Tensor | None,
    count: list[int],
    k: int,
    n_out: int,
    plan: list[int],
) -> Tensor:
    """y [B, targets, n_out] from x, one [B, N, components · C] per source irrep, one weight matrix per run
    of `plan`.

    `count` says how many targets each class of tiles has, and `place` [targets] where each target lies among
    those of all classes, None if in order; a tile has k targets.
    """
    runs = _runs(plan)
    y = x[0].new_zeros(x[0].shape[0], sum(count), n_out)
    for s, batch, target, m in _moment_pieces(x, block, member, count, k):
        for run, w in zip(runs, weight, strict=True):
            if run.source == s:
                for columns, out in run.pieces(w.shape[0] // run.count // (run.dim if run.is_complex else 1)):
                    y[batch, target, out] += m[..., columns] @ w
    return y if place is None else y.index_select(1, place)


@torch.library.custom_op("geocnn::convolve_weight", mutates_args=())
def convolve_weight(
    x: list[Tensor],
    g: Tensor,
    block: list[Tensor],
    member: list[Tensor],
    slot_ptr: Tensor,
    slot: Tensor,
    place: Tensor | None,
    count: list[int],
    k: int,
    plan: list[int],
) -> list[Tensor]:
    """Return the derivative of ⟨g, convolve(x, W)⟩ by W: for each run Mᵀ g."""
    runs, channels = _runs(plan), _channels(x, block, member)
    g, gradients = _by_class(g, place), []
    for run in runs:
        both = run.dim if run.is_complex else 1
        gradients.append(g.new_zeros(both * run.count * channels[run.source], both * run.width))
    for s, batch, target, m in _moment_pieces(x, block, member, count, k):
        for run, w in zip(runs, gradients, strict=True):
            if run.source == s:
                for columns, out in run.pieces(channels[s]):
                    w += torch.einsum("btk,bto->ko", m[..., columns], g[batch, target, out])
    return gradients


@torch.library.custom_op("geocnn::convolve_transpose", mutates_args=())
def convolve_transpose(
    g: Tensor,
    weight: list[Tensor],
    block: list[Tensor],
    member: list[Tensor],
    slot_ptr: Tensor,
    slot: Tensor,
    place: Tensor | None,
    count: list[int],
    k: int,
    plan: list[int],
) -> list[Tensor]:
    """Return the derivative of ⟨g, convolve(x, W)⟩ by x: one [B, N, components · C] per source irrep."""
    runs, result, g = _runs(plan), [], _by_class(g, place)
    for s in range(len(block) // len(member)):
        mine = [(run, w) for run, w in zip(runs, weight, strict=True) if run.source == s]
        run, w = mine[0]
        channels = w.shape[0] // run.count // (run.dim if run.is_complex else 1)
        components = block[s].shape[2] // member[0].shape[1]
        back = g.new_empty(g.shape[0], slot_ptr.shape[0] - 1, components * channels)
        for batch in _pieces(g.shape[0], slot.shape[0] * components * channels, g.device):
            spread = _spread(g[batch], mine, s, _classes(block, member, count, k), slot.shape[0], channels)
            back[batch] = _collected(spread, slot_ptr, slot, components, batch.stop - batch.start)
        result.append(back)
    return result


def _spread(
    g: Tensor,
    mine: list[tuple[RowRun, Tensor]],
    s: int,
    classes: Iterator[TileClass],
    n_slots: int,
    channels: int,
) -> Tensor:
    """Return what each slot contributes to its source, [slots, components · b · C], for one source irrep."""
    b, spread = g.shape[0], None
    for tiles in classes:
        a, (n_tiles, u), k = tiles.block[s], tiles.member.shape, tiles.k
        components, n_rows = a.shape[2] // u, a.shape[1] // k
        if spread is None:
            spread = g.new_empty(n_slots, components * b * channels)
        own = spread[tiles.slots].view(n_tiles, u * components, b * channels)
        for tile in _pieces(n_tiles, b * k * n_rows * channels, g.device):
            target = tiles.targets_of(tile)
            m = g.new_zeros(b, target.stop - target.start, n_rows * channels)
            for run, w in mine:
                for columns, out in run.pieces(channels):
                    m[..., columns] = g[:, target, out] @ w.T
            moments = _batch_last(m, tile.stop - tile.start, k, n_rows)
            torch.bmm(a[tile].transpose(1, 2), moments, out=own[tile])
    assert spread is not None
    return spread


def _collected(spread: Tensor, slot_ptr: Tensor, slot: Tensor, components: int, b: int) -> Tensor:
    """Transpose `_gathered`: sum over each source's slots, [b, N, components · C], without atomics."""
    ones = spread.new_ones(slot.shape[0])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        matrix = torch.sparse_csr_tensor(
            slot_ptr, slot, ones, (slot_ptr.shape[0] - 1, slot.shape[0]), check_invariants=False
        )
    total = matrix @ spread
    n = total.shape[0]
    return total.view(n, components, b, -1).permute(2, 0, 1, 3).reshape(b, n, -1)


def _by_class(g: Tensor, place: Tensor | None) -> Tensor:
    """Bring targets from the stencil's order into that of the classes."""
    return g if place is None else g.index_select(1, torch.argsort(place))


def _channels(x: Sequence[Tensor], block: Sequence[Tensor], member: Sequence[Tensor]) -> list[int]:
    """Return the copies of each source irrep; blocks of the first class tell their components."""
    u = member[0].shape[1]
    return [field.shape[2] * u // a.shape[2] for field, a in zip(x, block, strict=False)]


@convolve.register_fake
def _(x, weight, block, member, slot_ptr, slot, place, count, k, n_out, plan):
    return x[0].new_empty(x[0].shape[0], sum(count), n_out)


@convolve_weight.register_fake
def _(x, g, block, member, slot_ptr, slot, place, count, k, plan):
    channels, shapes = _channels(x, block, member), []
    for run in _runs(plan):
        both = run.dim if run.is_complex else 1
        shapes.append((both * run.count * channels[run.source], both * run.width))
    return [g.new_empty(shape) for shape in shapes]


@convolve_transpose.register_fake
def _(g, weight, block, member, slot_ptr, slot, place, count, k, plan):
    result = []
    for s in range(len(block) // len(member)):
        run, w = next((r, w) for r, w in zip(_runs(plan), weight, strict=True) if r.source == s)
        channels = w.shape[0] // run.count // (run.dim if run.is_complex else 1)
        components = block[s].shape[2] // member[0].shape[1]
        result.append(g.new_empty(g.shape[0], slot_ptr.shape[0] - 1, components * channels))
    return result


def _keep(ctx, x, weight, g, index, plan) -> None:
    block, member, slot_ptr, slot, place, count, k = index
    ctx.sizes = len(x), len(weight), len(g), len(block), len(member)
    ctx.plan, ctx.targets = plan, (count, k)
    ctx.save_for_backward(*x, *weight, *g, *block, *member, slot_ptr, slot, place)


def _kept(ctx):
    """Return x, weight, [g], and (block, member, slot_ptr, slot, place, count, k), as `_keep` kept them."""
    parts, start, saved = [], 0, list(ctx.saved_tensors)
    for size in ctx.sizes:
        parts.append(saved[start : start + size])
        start += size
    x, weight, g, block, member = parts
    return x, weight, g, (block, member, *saved[start:], *ctx.targets)


def _no_gradients(index) -> tuple:
    """Return the gradients by an operator: none."""
    block, member, *_ = index
    return [None] * len(block), [None] * len(member), None, None, None, None, None


def _setup_convolve(ctx, inputs, output) -> None:
    x, weight, *index, _, plan = inputs
    _keep(ctx, x, weight, [], index, plan)


def _backward_convolve(ctx, g: Tensor):
    x, weight, _, index = _kept(ctx)
    needs = ctx.needs_input_grad
    dx = convolve_transpose(g.contiguous(), weight, *index, ctx.plan) if _any(needs[0]) else [None] * len(x)
    dw = convolve_weight(x, g.contiguous(), *index, ctx.plan) if _any(needs[1]) else [None] * len(weight)
    return dx, dw, *_no_gradients(index), None, None


def _setup_weight(ctx, inputs, output) -> None:
    x, g, *index, plan = inputs
    _keep(ctx, x, [], [g], index, plan)


def _backward_weight(ctx, dw: list[Tensor]):
    x, _, (g,), index = _kept(ctx)
    dx = convolve_transpose(g, list(dw), *index, ctx.plan)
    dg = convolve(x, list(dw), *index, g.shape[2], ctx.plan)
    return dx, dg, *_no_gradients(index), None


def _setup_transpose(ctx, inputs, output) -> None:
    g, weight, *index, plan = inputs
    _keep(ctx, [], weight, [g], index, plan)


def _backward_transpose(ctx, dx: list[Tensor]):
    _, weight, (g,), index = _kept(ctx)
    dg = convolve(list(dx), weight, *index, g.shape[2], ctx.plan)
    dw = convolve_weight(list(dx), g, *index, ctx.plan)
    return dg, dw, *_no_gradients(index), None


def _any(needed) -> bool:
    return any(needed) if isinstance(needed, (list, tuple)) else bool(needed)


convolve.register_autograd(_backward_convolve, setup_context=_setup_convolve)
convolve_weight.register_autograd(_backward_weight, setup_context=_setup_weight)
convolve_transpose.register_autograd(_backward_transpose, setup_context=_setup_transpose)
for _device in ("cpu", "cuda"):
    # sums over hundreds of terms lose a half-precision result's last digits, and equivariance with them
    convolve.register_autocast(_device, torch.float32)
