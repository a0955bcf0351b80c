"""A stencil that comes from no surface: uneven and empty rows, repeated pairs, arbitrary transporters and
flips.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geocnn.geometry import Stencil
from geocnn.groups import Group, group


def random_stencil(
    structure: Group | str, n_target: int = 11, n_source: int = 7, most: int = 9, seed: int = 0
) -> Stencil:
    """Rows of 0 to `most` entries; every third entry repeats the source of the one before it."""
    g, structure = torch.Generator().manual_seed(seed), group(structure)
    counts = torch.randint(most + 1, (n_target,), generator=g)
    counts[n_target // 2] = 0
    n = int(counts.sum())
    source = torch.randint(n_source, (n,), generator=g)
    source[1::3] = source[0 : n - 1 : 3][: len(source[1::3])]
    angle, flip = structure.sample(n, g)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=g, dtype=torch.float64)

    return Stencil(
        row_ptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        source=source,
        r=uniform(0, 1.5),
        theta=uniform(-3, 3),
        weight=uniform(-0.2, 1),
        angle=angle,
        flip=flip,
        radius=1.5,
        n_source=n_source,
        group=structure,
    )
