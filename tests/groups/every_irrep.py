"""The groups that tests of feature types try, and types, elements and features of them."""

from __future__ import annotations

import torch

from geocnn.groups import (
    O2,
    REFLECTION,
    SO2,
    TRIVIAL,
    FieldType,
    Group,
    cyclic,
    dihedral,
    irreps,
)

FINITE = [TRIVIAL, REFLECTION, *map(cyclic, range(2, 9)), *map(dihedral, range(2, 7))]
GROUPS = [*FINITE, SO2, O2]
# frequencies to 4 times angles to 4π: phases of 50 with roundings of 1e-14
TOLERANCE = {"rtol": 0, "atol": 1e-12}


def every_irrep(g: Group) -> FieldType:
    """A type with each irrep up to frequency 4, in unequal multiplicities and one of them in two blocks."""
    found = irreps(g, 4)
    return FieldType.of([(k % 3 + 1, irrep) for k, irrep in enumerate(found)] + [(2, found[0])], g)


def draw(g: Group, n: int, seed: int):
    return g.sample(n, torch.Generator().manual_seed(seed))


def features(t: FieldType, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    x = torch.randn(*shape, t.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    return x.to(dtype)
