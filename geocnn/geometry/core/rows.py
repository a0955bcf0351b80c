"""Rows of a stencil: the entries of some of its targets, taken out of all or formed alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


class Rows(NamedTuple):
    """The entries of n rows of a stencil: the row of each, counted from 0, and the stencil's fields there."""

    n: int
    row: Int64[Tensor, " e"]
    source: Int64[Tensor, " e"]
    weight: Float[Tensor, " e"]
    angle: Float[Tensor, " e"]
    flip: Bool[Tensor, " e"] | None
    r: Float[Tensor, " e"]
    theta: Float[Tensor, " e"]


def run_of(rows: Int64[Tensor, " k"]) -> slice | Int64[Tensor, " k"]:
    """Return ascending numbers of rows, as a slice where none is left out.

    >>> run_of(torch.tensor([3, 4, 5])), run_of(torch.tensor([3, 5]))
    (slice(3, 6, None), tensor([3, 5]))
    """
    if not len(rows):
        return slice(0, 0)
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first == len(rows) - 1 else rows


def entries_of(
    row_ptr: Int64[Tensor, " n_1"], rows: slice | Int64[Tensor, " k"]
) -> tuple[slice | Int64[Tensor, " e"], Int64[Tensor, " k"]]:
    """Return which entries the rows have, and how many each, given where the entries of all rows begin.

    >>> entries_of(torch.tensor([0, 2, 5, 6]), torch.tensor([0, 2]))
    (tensor([0, 1, 5]), tensor([2, 1]))
    """
    if isinstance(rows, slice):
        ends = row_ptr[rows.start : rows.stop + 1]
        return slice(int(ends[0]), int(ends[-1])), ends.diff()
    start = row_ptr[rows]
    counts = row_ptr[rows + 1] - start
    rank = torch.arange(int(counts.sum()), device=rows.device)
    return rank + (start - counts.cumsum(0) + counts).repeat_interleave(counts), counts
