"""Stencils side by side, the points of each after those of the one before; their entries are joined when
asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from geocnn.errors import GeometryError

if TYPE_CHECKING:
    from geocnn.geometry.core.stencil import Stencil


class SideBySide(NamedTuple):
    """The stencils that `Stencil.cat` joins."""

    parts: tuple[Stencil, ...]

    @property
    def n_entries(self) -> int:
        return sum(s.n_entries for s in self.parts)

    @property
    def target_ptr(self) -> Int64[Tensor, " targets_and_one"]:
        """Return where the entries of each target begin."""
        before = accumulate((s.n_entries for s in self.parts), initial=0)
        later = [s.row_ptr[1:] + k for s, k in zip(self.parts, before, strict=False)]
        return torch.cat([self.parts[0].row_ptr[:1], *later])

    def columns(self) -> dict[str, Tensor | None]:
        """Join the entries of all."""
        own = [s.columns() for s in self.parts]
        before = accumulate((s.n_source for s in self.parts), initial=0)
        mirrors = any(part["flip"] is not None for part in own)
        for part, s, k in zip(own, self.parts, before, strict=False):
            part["source"] = part["source"] + k  # type: ignore[operator]
            if mirrors and part["flip"] is None:
                part["flip"] = torch.zeros(s.n_entries, dtype=torch.bool, device=s.device)
        joined = {name: [part[name] for part in own] for name in own[0]}
        return {name: None if ts[0] is None else torch.cat(ts) for name, ts in joined.items()}  # type: ignore[arg-type]


def check_alike(values: Sequence[torch.dtype] | Sequence[torch.device], remedy: str) -> None:
    """Raise GeometryError unless all are equal: joining would convert some without a word, or fail."""
    if len(set(values)) > 1:
        ids = {value: [k for k, other in enumerate(values) if other == value] for value in values}
        each = ", ".join(f"{value}: {own[:8]}" for value, own in ids.items())
        raise GeometryError(f"stencils that are joined differ ({each}, counted from 0); {remedy} first")
