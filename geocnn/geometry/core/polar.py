"""The entries of an `exp` stencil in few bytes, formed when they are read.

Each target has the same polar grid of samples, and all entries of a sample lie at its (r, θ). Rows that
shifts of the surface take to each other are stored once. `rows` forms those of some targets, as operators are
made, `columns` forms all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int16, Int32, Int64
from torch import Tensor

from geocnn.geometry.core.placement import Movable
from geocnn.geometry.core.rows import Rows, entries_of
from geocnn.geometry.core.shifts import Shifts
from geocnn.lasting import keep_normal


@dataclass(frozen=True, eq=False)
class Polar(Movable):
    """Rows of samples and their entries: `count` says how many entries each sample has.

    Entries come in the order of rows and samples; row i has entries row_ptr[i] to row_ptr[i + 1]. With shifts
    a row stands for the first target of an orbit.
    """

    row_ptr: Int64[Tensor, " rows_and_one"]
    count: Int16[Tensor, "rows samples"]
    theta: Float[Tensor, "rows samples"]
    r: Float[Tensor, " samples"]
    angle: Float[Tensor, " e"]
    weight: Float[Tensor, " e"]
    flip: Bool[Tensor, " e"] | None
    source: Int32[Tensor, " e"]
    shifts: Shifts | None

    def __post_init__(self) -> None:
        keep_normal(self)

    @property
    def n_entries(self) -> int:
        """Return the number of entries of all targets."""
        return len(self.source) * (1 if self.shifts is None else self.shifts.copies)

    @property
    def target_ptr(self) -> Int64[Tensor, " targets_and_one"]:
        """Return where the entries of each target begin."""
        if self.shifts is None:
            return self.row_ptr
        counts = self.row_ptr.new_empty(self.shifts.target.numel())
        counts[self.shifts.target.flatten(1)] = self.row_ptr.diff()[:, None]
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def places(self, row_ptr: Tensor) -> tuple[Tensor | None, ...]:
        """Return all tensors as `Stencil.places` orders them."""
        orbits = (None, None) if self.shifts is None else (self.shifts.target, self.shifts.source)
        entries = self.source, self.r, self.theta, self.weight, self.angle, self.flip
        return row_ptr, *entries, self.count, *orbits

    @staticmethod
    def from_places(places: Sequence[Tensor | None]) -> Polar:
        """Return what has these places."""
        _, source, r, theta, weight, angle, flip, count, *orbits = places
        assert count is not None
        counts = count.sum(1, dtype=torch.int64)
        row_ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        shifts = None if orbits[0] is None else Shifts(*orbits)  # type: ignore[arg-type]
        return Polar(row_ptr, count, theta, r, angle, weight, flip, source, shifts)  # type: ignore[arg-type]

    def rows(self, which: slice | Int64[Tensor, " k"]) -> Rows:
        """Form some rows."""
        entry, counts = entries_of(self.row_ptr, which)
        count, n = self.count[which].flatten().long(), len(counts)
        return Rows(
            n,
            torch.arange(n, device=counts.device).repeat_interleave(counts),
            self.source[entry].long(),
            self.weight[entry],
            self.angle[entry],
            None if self.flip is None else self.flip[entry],
            self.r.repeat(n).repeat_interleave(count),
            self.theta[which].flatten().repeat_interleave(count),
        )

    def columns(self) -> dict[str, Tensor | None]:
        """Form the entries of all targets."""
        if self.source.device.type == "meta":
            return self._unknown()
        own = self.rows(slice(0, len(self.row_ptr) - 1))
        columns = {name: t for name, t in own._asdict().items() if name not in ("n", "row")}
        if self.shifts is None:
            return columns
        orbit = self.shifts.target.flatten(1)
        place = torch.empty_like(orbit.flatten())
        place[orbit.flatten()] = torch.arange(len(place), device=place.device)
        row, copy = place // self.shifts.copies, place % self.shifts.copies
        entry, counts = entries_of(self.row_ptr, row)
        moved = self.shifts.moved(own.source)[entry, copy.repeat_interleave(counts)]
        return {name: None if t is None else t[entry] for name, t in columns.items()} | {"source": moved}

    def _unknown(self) -> dict[str, Tensor | None]:
        """Return what `columns` returns where no count can be read."""
        names = "source", "weight", "angle", "flip", "r", "theta"
        own = {name: getattr(self, name) for name in names}
        entries = {name: None if t is None else t.new_empty(self.n_entries) for name, t in own.items()}
        return entries | {"source": self.row_ptr.new_empty(self.n_entries)}

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, without those of the shifts."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: t for name, t in own.items() if isinstance(t, Tensor)}
