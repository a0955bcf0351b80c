"""Symmetry: structure groups, feature types, and the kernels and maps they allow."""

from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep, irrep_dim, irreps
from geocnn.groups.named_fields import NamedFields
from geocnn.groups.planar import (
    O2,
    REFLECTION,
    SO2,
    TRIVIAL,
    Group,
    compose,
    cyclic,
    dihedral,
    group,
    inverse,
    product_table,
)
from geocnn.groups.radial import Bessel, Cosine, Gaussian, RadialBasis
from geocnn.groups.schur import (
    generated,
    grid_symmetries,
    intertwiners,
    orbit_equivariant,
    permutation_matrices,
)
from geocnn.groups.steerable import null_space_basis, steerable_basis

__all__ = [
    "O2",
    "REFLECTION",
    "SO2",
    "TRIVIAL",
    "Bessel",
    "Cosine",
    "FieldType",
    "Gaussian",
    "Group",
    "Irrep",
    "NamedFields",
    "RadialBasis",
    "compose",
    "cyclic",
    "dihedral",
    "generated",
    "grid_symmetries",
    "group",
    "intertwiners",
    "inverse",
    "irrep_dim",
    "irreps",
    "null_space_basis",
    "orbit_equivariant",
    "permutation_matrices",
    "product_table",
    "steerable_basis",
]
