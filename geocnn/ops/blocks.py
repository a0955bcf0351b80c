"""The convolution as small dense products: gather the sources of a tile of targets, multiply by the tile's
block, mix.

Neighbouring targets share most of their sources. A tile of k targets with U sources between them is one dense
block [k · rows, U · components], and a batched product of such blocks costs no index per number, unlike the
same sum as a sparse matrix. For one sample and one source irrep:

    X [tiles, U · components, C] = x[member]       M [T, rows, C] = block @ X       y += M[run] @ weight[run]

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


def _moment_pieces(x: Sequence[Tensor], member: Tensor, block: Sequence[Tensor], n_target: int):
    """(source irrep, batch slice, target slice, moments [b, t, rows · C]) for all pieces."""
    tiles, u = member.shape
    k = -(-n_target // tiles)
    for s, (field, a) in enumerate(zip(x, block, strict=True)):
        components, n_rows = a.shape[2] // u, a.shape[1] // k
        channels = field.shape[2] // components
        for batch in _pieces(field.shape[0], k * tiles * n_rows * channels, field.device):
            b = batch.stop - batch.start
            for tile in _pieces(tiles, b * k * n_rows * channels, field.device):
                moments = torch.bmm(a[tile], _gathered(field[batch], member[tile], components))
                target = slice(tile.start * k, min(tile.stop * k, n_target))
                yield s, batch, target, _batch_first(moments, b, target.stop - target.start, n_rows)


@torch.library.custom_op("geocnn::convolve", mutates_args=())
def convolve(
    x: list[Tensor],
    weight: list[Tensor],
    block: list[Tensor],
    member: Tensor,
    slot_ptr: Tensor,
    slot: Tensor,
    n_target: int,
    n_out: int,
    plan: list[int],
) -> Tensor:
    """y [B, n_target, n_out] from x, one [B, N, components · C] per source irrep, one weight matrix per run
    of `plan`.
    """
    runs = _runs(plan)
    y = x[0].new_zeros(x[0].shape[0], n_target, n_out)
    for s, batch, target, m in _moment_pieces(x, member, block, n_target):
        for run, w in zip(runs, weight, strict=True):
            if run.source == s:
                for columns, out in run.pieces(w.shape[0] // run.count // (run.dim if run.is_complex else 1)):
                    y[batch, target, out] += m[..., columns] @ w
    return y


@torch.library.custom_op("geocnn::convolve_weight", mutates_args=())
def convolve_weight(
    x: list[Tensor],
    g: Tensor,
    block: list[Tensor],
    member: Tensor,
    slot_ptr: Tensor,
    slot: Tensor,
    plan: list[int],
) -> list[Tensor]:
    """Return the derivative of ⟨g, convolve(x, W)⟩ by W: for each run Mᵀ g."""
    runs, u = _runs(plan), member.shape[1]
    channels = [field.shape[2] * u // a.shape[2] for field, a in zip(x, block, strict=True)]
    gradients = []
    for run in runs:
        both = run.dim if run.is_complex else 1
        gradients.append(g.new_zeros(both * run.count * channels[run.source], both * run.width))
    for s, batch, target, m in _moment_pieces(x, member, block, g.shape[1]):
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
    member: Tensor,
    slot_ptr: Tensor,
    slot: Tensor,
    plan: list[int],
) -> list[Tensor]:
    """Return the derivative of ⟨g, convolve(x, W)⟩ by x: one [B, N, components · C] per source irrep."""
    runs, (tiles, u), n_target = _runs(plan), member.shape, g.shape[1]
    k, n_source = -(-n_target // tiles), slot_ptr.shape[0] - 1
    result = []
    for s, a in enumerate(block):
        components, n_rows = a.shape[2] // u, a.shape[1] // k
        mine = [(run, w) for run, w in zip(runs, weight, strict=True) if run.source == s]
        run, w = mine[0]
        channels = w.shape[0] // run.count // (run.dim if run.is_complex else 1)
        back = g.new_empty(g.shape[0], n_source, components * channels)
        for batch in _pieces(g.shape[0], k * tiles * n_rows * channels, g.device):
            b = batch.stop - batch.start
            spread = g.new_empty(tiles, u * components, b * channels)
            for tile in _pieces(tiles, b * k * n_rows * channels, g.device):
                target = slice(tile.start * k, min(tile.stop * k, n_target))
                m = g.new_zeros(b, target.stop - target.start, n_rows * channels)
                for run, w in mine:
                    for columns, out in run.pieces(channels):
                        m[..., columns] = g[batch, target, out] @ w.T
                torch.bmm(
                    a[tile].transpose(1, 2),
                    _batch_last(m, tile.stop - tile.start, k, n_rows),
                    out=spread[tile],
                )
            back[batch] = _collected(spread, slot_ptr, slot, components, b)
        result.append(back)
    return result


def _collected(spread: Tensor, slot_ptr: Tensor, slot: Tensor, components: int, b: int) -> Tensor:
    """Transpose `_gathered`: sum over each source's slots, [b, N, components · C], without atomics."""
    columns = spread.view(slot.shape[0], -1)
    ones = columns.new_ones(slot.shape[0])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        matrix = torch.sparse_csr_tensor(
            slot_ptr, slot, ones, (slot_ptr.shape[0] - 1, slot.shape[0]), check_invariants=False
        )
    total = matrix @ columns
    n = total.shape[0]
    return total.view(n, components, b, -1).permute(2, 0, 1, 3).reshape(b, n, -1)


@convolve.register_fake
def _(x, weight, block, member, slot_ptr, slot, n_target, n_out, plan):
    return x[0].new_empty(x[0].shape[0], n_target, n_out)


@convolve_weight.register_fake
def _(x, g, block, member, slot_ptr, slot, plan):
    u = member.shape[1]
    shapes = []
    for run in _runs(plan):
        both = run.dim if run.is_complex else 1
        channels = x[run.source].shape[2] * u // block[run.source].shape[2]
        shapes.append((both * run.count * channels, both * run.width))
    return [g.new_empty(shape) for shape in shapes]


@convolve_transpose.register_fake
def _(g, weight, block, member, slot_ptr, slot, plan):
    result = []
    for s, a in enumerate(block):
        run, w = next((r, w) for r, w in zip(_runs(plan), weight, strict=True) if r.source == s)
        channels = w.shape[0] // run.count // (run.dim if run.is_complex else 1)
        result.append(
            g.new_empty(g.shape[0], slot_ptr.shape[0] - 1, a.shape[2] // member.shape[1] * channels)
        )
    return result


def _keep(ctx, x, weight, g, tail, plan) -> None:
    ctx.counts = len(x or []), len(weight or []), g is not None
    ctx.plan = plan
    block, *index = tail
    ctx.n_block = len(block)
    ctx.save_for_backward(*(x or []), *(weight or []), *([g] if g is not None else []), *block, *index)


def _kept(ctx):
    saved = list(ctx.saved_tensors)
    n_x, n_w, has_g = ctx.counts
    x, weight, rest = saved[:n_x], saved[n_x : n_x + n_w], saved[n_x + n_w :]
    g, rest = (rest[0], rest[1:]) if has_g else (None, rest)
    return x, weight, g, (rest[: ctx.n_block], *rest[ctx.n_block :])


def _setup_convolve(ctx, inputs, output) -> None:
    x, weight, block, member, slot_ptr, slot, n_target, n_out, plan = inputs
    ctx.size = n_target, n_out
    _keep(ctx, x, weight, None, (block, member, slot_ptr, slot), plan)


def _backward_convolve(ctx, g: Tensor):
    x, weight, _, tail = _kept(ctx)
    needs = ctx.needs_input_grad
    dx = convolve_transpose(g.contiguous(), weight, *tail, ctx.plan) if _any(needs[0]) else [None] * len(x)
    dw = convolve_weight(x, g.contiguous(), *tail, ctx.plan) if _any(needs[1]) else [None] * len(weight)
    return dx, dw, [None] * ctx.n_block, None, None, None, None, None, None


def _setup_weight(ctx, inputs, output) -> None:
    x, g, block, member, slot_ptr, slot, plan = inputs
    _keep(ctx, x, None, g, (block, member, slot_ptr, slot), plan)


def _backward_weight(ctx, dw: list[Tensor]):
    x, _, g, tail = _kept(ctx)
    assert g is not None
    dx = convolve_transpose(g, list(dw), *tail, ctx.plan)
    dg = convolve(x, list(dw), *tail, g.shape[1], g.shape[2], ctx.plan)
    return dx, dg, [None] * ctx.n_block, None, None, None, None


def _setup_transpose(ctx, inputs, output) -> None:
    g, weight, block, member, slot_ptr, slot, plan = inputs
    _keep(ctx, None, weight, g, (block, member, slot_ptr, slot), plan)


def _backward_transpose(ctx, dx: list[Tensor]):
    _, weight, g, tail = _kept(ctx)
    assert g is not None
    dg = convolve(list(dx), weight, *tail, g.shape[1], g.shape[2], ctx.plan)
    dw = convolve_weight(list(dx), g, *tail, ctx.plan)
    return dg, dw, [None] * ctx.n_block, None, None, None, None


def _any(needed) -> bool:
    return any(needed) if isinstance(needed, (list, tuple)) else bool(needed)


convolve.register_autograd(_backward_convolve, setup_context=_setup_convolve)
convolve_weight.register_autograd(_backward_weight, setup_context=_setup_weight)
convolve_transpose.register_autograd(_backward_transpose, setup_context=_setup_transpose)
for _device in ("cpu", "cuda"):
    # sums over hundreds of terms lose a half-precision result's last digits, and equivariance with them
    convolve.register_autocast(_device, torch.float32)
