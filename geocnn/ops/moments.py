"""Which moments of a field a steerable kernel needs, and the angular kernel of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep, has_complex_structure, irrep_dim
from geocnn.groups.planar import Group
from geocnn.groups.radial import RadialBasis
from geocnn.groups.steerable import Moment, moments_between

Mix = Mapping[tuple[Irrep, Irrep], Tensor]
"""For each (target, source) irrep the weights [parts, K, copies] that mix the K moments between them: real
numbers, or complex ones of two parts (`groups.irrep.has_complex_structure`).
"""


@dataclass(frozen=True)
class MomentBasis:
    """Which moments are formed: those of `source` irreps landing in `target` irreps, each on the functions of
    a radial basis.
    """

    group: Group
    moments: tuple[Moment, ...]
    radial: RadialBasis

    @staticmethod
    def between(
        source: FieldType, target: FieldType, radial: RadialBasis, max_frequency: int | None = None
    ) -> MomentBasis:
        result = moments_between(list(source.irreps), list(target.irreps), source.group, max_frequency)
        return MomentBasis(source.group, tuple(result), radial)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.group, self.moments, self.radial))

    @property
    def rings(self) -> int:
        return self.radial.rings

    @property
    def sources(self) -> list[Irrep]:
        return list(dict.fromkeys(m.source for m in self.moments))

    @property
    def max_frequency(self) -> int:
        return max([0, *(abs(m.frequency) for m in self.moments)])

    def of(self, source: Irrep, target: Irrep | None = None) -> list[Moment]:
        """Return the moments of one source irrep, grouped by where they land (in order of first landing)."""
        mine = [m for m in self.moments if m.source == source]
        order = list(dict.fromkeys(m.target for m in mine))
        return [m for t in order if target in (None, t) for m in mine if m.target == t]

    def runs(self, source: Irrep) -> list[tuple[Irrep, int, int, int]]:
        """Return (target irrep, its dimension, moments × rings, first row) per run of an operator's rows."""
        result, start = [], 0
        for target in dict.fromkeys(m.target for m in self.of(source)):
            dim, count = irrep_dim(target, self.group), len(self.of(source, target)) * self.rings
            result.append((target, dim, count, start))
            start += dim * count
        return result

    def complex_sources(self, dtype: torch.dtype) -> list[bool]:
        """Return for each source irrep whether features and moments are computed as complex numbers.

        A complex moment stands for two rows, those of the two components or of the real and imaginary part.
        """
        has_complex = dtype in (torch.float32, torch.float64)
        return [has_complex and has_complex_structure(source, self.group) for source in self.sources]

    def n_rows(self, source: Irrep) -> int:
        return sum(dim * count for _, dim, count, _ in self.runs(source))


def angular_kernel(m: Moment, group: Group, theta: Tensor) -> Tensor:
    """Return the angular kernel of a moment at angles [E]: matrix · rotation(ℓθ), restricted to the source's
    components.
    """
    c, s = torch.cos(m.frequency * theta), torch.sin(m.frequency * theta)
    turn = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)
    matrix = torch.tensor(m.matrix, dtype=theta.dtype, device=theta.device)
    return (matrix @ turn)[..., : irrep_dim(m.source, group)]
