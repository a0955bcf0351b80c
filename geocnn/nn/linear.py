"""FieldLinear: the linear maps of a point's features that commute with the structure group."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geocnn.errors import FieldTypeError
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import has_complex_structure, irrep_dim


class FieldLinear(nn.Module):
    """Mix the copies of each irrep at a point.

        x [..., N, D_in]  ->  [..., N, D_out]

    By Schur's lemma (Serre 1977, §2.2) no other linear map is equivariant. Copies of one irrep are mixed by
    real numbers, or by complex ones where the irrep commutes with those. Different irreps do not mix, so an
    irrep of the output that the input lacks is 0. The bias acts on invariant channels only. Initial weights
    keep the variance of independent input.

    Raises FieldTypeError for types of different groups, types that share no irrep, and another feature
    dimension.

    >>> FieldLinear("4x0 + 2x1", "8x0 + 3x1")(torch.randn(5, 100, 8)).shape
    torch.Size([5, 100, 14])
    """

    def __init__(self, in_type: FieldType | str, out_type: FieldType | str, bias: bool = True):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        group = self.in_type.group
        if group != self.out_type.group:
            raise FieldTypeError(
                f"input {self.in_type} and output {self.out_type} belong to different groups; give both one"
            )
        shared = [i for i in self.out_type.irreps if i in self.in_type.irreps]
        if not shared:
            raise FieldTypeError(
                f"{self.in_type} and {self.out_type} share no irrep, and different ones do not mix at a "
                "point: the output would be 0; give them an irrep in common"
            )
        self.weight = nn.ParameterDict()
        for irrep in shared:
            parts = 2 if has_complex_structure(irrep, group) else 1
            copies = self.in_type.multiplicity(irrep), self.out_type.multiplicity(irrep)
            self.weight[str(irrep)] = nn.Parameter(torch.empty(parts, *copies))
        invariant = sum(b.multiplicity for b in self.out_type.blocks if self.out_type.is_invariant(b.irrep))
        self.bias = nn.Parameter(torch.empty(invariant)) if bias and invariant else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights of variance 1 / (parts · copies of the irrep in the input); set the bias to 0."""
        for weight in self.weight.values():
            nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[0] * weight.shape[1]))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n d_out"]:
        self.in_type.check(x)
        parts, given = {}, self.in_type.by_irrep(x)
        for irrep in self.out_type.irreps:
            shape = irrep_dim(irrep, self.out_type.group), self.out_type.multiplicity(irrep)
            if str(irrep) in self.weight:
                weight = self.weight[str(irrep)]
                copies = given[irrep]
                is_complex = weight.shape[0] == 2
                y = (copies.flatten(-2) if is_complex else copies) @ real_matrix(weight)
                y = y.unflatten(-1, shape) if is_complex else y
            else:
                y = x.new_zeros(*x.shape[:-1], *shape)
            if self.bias is not None and self.out_type.is_invariant(irrep):
                y = y + self.bias
            parts[irrep] = y
        return self.out_type.join(parts)

    def extra_repr(self) -> str:
        return f"{self.in_type} -> {self.out_type}, bias={self.bias is not None}"


def real_matrix(weight: Float[Tensor, "parts k m"]) -> Float[Tensor, "parts*k parts*m"]:
    """Return weights as one real matrix by which rows are multiplied.

    One part is a real matrix. Two parts are a complex matrix a + ib, and act on rows (re, im):

                        ⎡  a  b ⎤
        (re, im)   ↦    ⎣ −b  a ⎦  from the right, since (x + iy)(a + ib) = (xa − yb) + i(xb + ya)

    >>> real_matrix(torch.tensor([[[0.0]], [[1.0]]])).tolist()
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    if weight.shape[0] == 1:
        return weight[0]
    a, b = weight
    return torch.cat([torch.cat([a, b], 1), torch.cat([-b, a], 1)])
