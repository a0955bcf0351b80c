"""The memory and the operations of products over stencils, from sizes alone.

How many tiles a piece holds is asked of the code that multiplies (`ops.pieces`). What lives beside a piece is
counted here as `ops.blocks` and `ops.product` read, in real numbers of the features' precision.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from geocnn.groups.irrep import irrep_dim
from geocnn.ops.blocks import RowRun, runs_of
from geocnn.ops.pieces import TileClass, batches
from geocnn.ops.plan import GatherPlan
from geocnn.ops.sizes import TilingSize


class Part(NamedTuple):
    """The part of an operator that reads one source irrep: rows per target, components and channels, where
    complex ones count as one of two numbers.
    """

    rows: int
    components: int
    channels: int
    both: int
    runs: list[RowRun]

    @property
    def numbers(self) -> int:
        """Return how many real numbers a cell holds."""
        return self.rows * self.components * self.both

    @property
    def columns(self) -> int:
        """Return how many real numbers a source holds."""
        return self.components * self.channels * self.both


class Shape(NamedTuple):
    """The shapes of one product: the tiles it goes through, the plan, samples, precision and device."""

    size: TilingSize
    plan: GatherPlan
    batch: int
    dtype: torch.dtype
    device: torch.device

    @property
    def parts(self) -> list[Part]:
        """Return the part of each source irrep."""
        plan, parts, runs = self.plan, [], runs_of(self.plan.runs)
        for i, (irrep, pairs) in enumerate(zip(plan.sources, plan.complex_sources(self.dtype), strict=True)):
            own = [run for run in runs if run.source == i]
            rows = max(run.start + run.dim * run.count for run in own)
            dim, copies = irrep_dim(irrep, plan.source.group), plan.source.multiplicity(irrep)
            both = 1 + pairs
            parts.append(Part(rows // both, 1 if pairs else dim, copies, both, own))
        return parts

    @property
    def numbers(self) -> int:
        """Return how many real numbers each cell holds."""
        return sum(part.numbers for part in self.parts)

    @property
    def result(self) -> int:
        """Return the numbers of y."""
        return self.batch * self.size.n_target * self.plan.n_out

    @property
    def by_tile(self) -> int:
        """Return the numbers of y by tile, where that is another order than that of the targets."""
        return 0 if self.size.in_order else self.batch * self.size.targets * self.plan.n_out

    @property
    def split(self) -> int:
        """Return the numbers of x that are copied: complex ones, and those that do not lie together."""
        t, lie_together = self.plan.source, len(self.plan.source.blocks) == len(self.plan.source.irreps)
        copied = sum(part.columns for part in self.parts if part.both == 2 or not lie_together)
        return self.batch * self.size.n_source * min(copied, t.dim)

    def samples(self, channels: int, per_sample: int) -> int:
        """Return how many samples are multiplied together."""
        first = next(batches(self.batch, per_sample, channels, self.device))
        return first.stop - first.start

    def pieces(self, part: Part, b: int) -> list[PieceSize]:
        """Return the size of the first piece of each class, which is the largest, for b samples at once."""
        result, one = [], torch.empty(())
        for tiles, k, u in dict.fromkeys((c.tiles, c.k, c.u) for c in self.size.classes):
            block = one.expand(tiles // self.size.copies, k * part.rows, u * part.components)
            member = torch.empty((), dtype=torch.int64, device=self.device).expand(tiles, u)
            own = TileClass(member, [block], slice(0), slice(0), k)
            shapes, copies, _ = next(own.pieces(b, part.channels, part.rows)).member.shape
            is_one_of_many = shapes * copies < tiles
            result.append(PieceSize(shapes * copies, k, u, copies > 1 or b > 1, copies > 1, is_one_of_many))
        return result


class PieceSize(NamedTuple):
    """So many tiles of k targets and u sources; whether their moments are reordered, whether they are copies,
    and whether their class has more pieces.
    """

    tiles: int
    k: int
    u: int
    reordered: bool
    copied: bool
    is_one_of_many: bool

    def moments(self, part: Part, b: int) -> int:
        return self.tiles * self.k * part.rows * part.both * b * part.channels

    def near(self, part: Part, b: int) -> int:
        """Return the numbers of gathered features."""
        return self.tiles * self.u * part.columns * b


def walk_numbers(s: Shape, cotangent: bool, held: bool = False) -> float:
    """Return the most numbers that live at once while moments of x are multiplied: by weights, or also by a
    cotangent; the results are included. Moments may be held already, which are not counted.
    """
    per_target = s.size.targets * max(part.rows * part.channels for part in s.parts)
    b = s.samples(min(part.channels for part in s.parts), per_target)
    n, n_out = s.size.targets * b, s.plan.n_out
    y, ordered = n * n_out, b * s.size.n_target * n_out
    done = s.result - ordered
    back = 0
    if cotangent:
        back = s.by_tile + (y if b > 1 else 0)
    during = s.split + done + y + back + (0 if held else _moments(s, b))
    after = s.split + done + back + y + (0 if s.size.in_order else ordered)
    by_irrep = len(s.plan.target.irreps) < len(s.plan.target.blocks)
    end = s.result * (2 if b > 1 or done or by_irrep else 1)
    return max(during, after, s.split + end)


def _moments(s: Shape, b: int) -> float:
    """Return the most numbers of x as it is gathered, and of moments, over all pieces in turn."""
    inner = near = moments = reordered = most = 0.0
    for part in s.parts:
        # what the last piece left stays until that of the next takes its name
        most = max(most, inner + s.size.n_source * part.columns * b + near + moments + reordered)
        inner, own_near, own_moments = s.size.n_source * part.columns * b, 0.0, 0.0
        for piece in s.pieces(part, b):
            if (new := piece.near(part, b)) > own_near:
                rows = 2 * piece.tiles * piece.u * part.components * piece.copied * 8 / s.dtype.itemsize
                most = max(most, inner + near + new + rows + moments + reordered)
                own_near = new
            near = own_near
            if (new := piece.moments(part, b)) > own_moments:
                most = max(most, inner + near + moments + new + reordered)
                own_moments = new
            moments = own_moments
            new = piece.moments(part, b) if piece.reordered else 0
            before = max(reordered, new if piece.is_one_of_many else 0)
            most = max(most, inner + near + moments + before + new)
            reordered = new
    return most


def transpose_numbers(s: Shape) -> float:
    """Return the same for the derivative by x."""
    most, done = 0.0, 0
    for part in s.parts:
        whole = s.batch * s.size.n_source * part.columns
        b = s.samples(part.channels, s.size.slots * part.components * part.channels)
        n_out = s.plan.n_out
        inner = s.size.targets * b * n_out if b > 1 else 0
        pieces = (
            piece.moments(part, b) * (1 + piece.reordered)
            + piece.tiles * piece.k * b * n_out
            + (piece.near(part, b) if piece.copied else 0)
            for piece in s.pieces(part, b)
        )
        copied = 2 if b > 1 or part.components > 1 else 1
        collected = s.size.slots + s.size.n_source * part.columns * b * copied
        spread = s.size.slots * part.columns * b + max(collected, *pieces)
        done += whole
        most = max(most, s.by_tile + inner + done + spread)
    real = sum(s.batch * s.size.n_source * part.columns for part in s.parts if part.both == 2)
    return max(most, done + real + s.batch * s.size.n_source * s.plan.source.dim)


def operations(s: Shape, mixings: int = 1) -> float:
    """Return the operations of moments, and of so many products of them with matrices."""
    blocks = sum(2 * part.numbers * part.both * part.channels for part in s.parts)
    # a cell of complex numbers multiplies each of them by two
    mixed = 0
    for part in s.parts:
        for run in part.runs:
            rows, columns = run.shape(part.channels)
            mixed += rows * columns * (1 if run.is_complex else run.dim)
    return s.batch * (s.size.pairs * blocks + 2.0 * mixings * s.size.targets * mixed)
