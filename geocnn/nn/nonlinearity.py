"""Nonlinearities that commute with the structure group: gates, norms and lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geocnn import safe
from geocnn.errors import FieldTypeError
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep
from geocnn.groups.planar import Group

Act = Callable[[FieldType], nn.Module]
"""What makes a nonlinearity that gives a type: a module from its `in_type`, which may have more channels, to
its `out_type`, the type asked for. `Gated`, `NormNonlinearity` and `FourierNonlinearity` are such.
"""


def make_act(act: Act, out_type: FieldType) -> Any:
    """Make the nonlinearity of a type. Raises FieldTypeError unless it names that type and its input's."""
    module = act(out_type)
    if not isinstance(getattr(module, "in_type", None), FieldType) or module.out_type != out_type:
        raise FieldTypeError(
            f"act={act!r} makes no nonlinearity that gives {out_type}: the module has an in_type and that "
            "out_type, as Gated has; functools.partial(Gated, activation=torch.tanh) takes another activation"
        )
    return module


class Gated(nn.Module):
    """Apply `activation` to invariant channels; multiply every other copy by the sigmoid of its own gate.

        x [..., N, in_type.dim]  ->  [..., N, out_type.dim]

    The gates are invariant channels behind the features: `in_type` is `out_type` + one invariant per gated
    copy (Weiler et al. 2018, §3). The layer is exactly equivariant.

    Raises FieldTypeError for another feature dimension.

    >>> gated = Gated("4x0 + 2x1"); str(gated.in_type)
    '4x0 + 2x1 + 2x0'
    >>> gated(torch.randn(10, gated.in_type.dim)).shape
    torch.Size([10, 8])
    """

    def __init__(
        self, out_type: FieldType | str, activation: Callable[[Tensor], Tensor] = nn.functional.silu
    ):
        super().__init__()
        self.out_type = FieldType(out_type)
        self.activation = activation
        self.n_gates = _n_gated(self.out_type)
        self.in_type = self.out_type
        if self.n_gates:
            gates = _invariant(self.out_type.group)
            self.in_type = FieldType.of([*self.out_type.terms, (self.n_gates, gates)], self.out_type.group)

    def forward(self, x: Float[Tensor, "*batch n d_in"]) -> Float[Tensor, "*batch n d_out"]:
        self.in_type.check(x)
        parts, gates, is_invariant = self.in_type.split(x), iter(()), self.out_type.is_invariant
        if self.n_gates:
            copies = [b.multiplicity for b in self.out_type.blocks if not is_invariant(b.irrep)]
            gates = iter(torch.sigmoid(parts.pop()).split(copies, -1))
        runs = [
            self.activation(part.flatten(-2)) if is_invariant(b.irrep) else (part * next(gates)).flatten(-2)
            for part, b in zip(parts, self.out_type.blocks, strict=True)
        ]
        return torch.cat(runs, -1)

    def extra_repr(self) -> str:
        return str(self.out_type)


class NormNonlinearity(nn.Module):
    """Scale each copy of an irrep by activation(|x| + b) / |x|, with a learnt b; activate invariant channels.

        x [..., N, D]  ->  [..., N, D]

    The layer is exactly equivariant; at x = 0 the result and its derivative are 0 (Worrall et al. 2017, §4.2;
    Cohen et al. 2019). Raises FieldTypeError for another feature dimension.

    >>> NormNonlinearity("4x0 + 2x1")(torch.zeros(3, 8)).abs().max().item()
    0.0
    """

    def __init__(
        self, field_type: FieldType | str, activation: Callable[[Tensor], Tensor] = nn.functional.silu
    ):
        super().__init__()
        self.in_type = self.out_type = FieldType(field_type)
        self.activation = activation
        self.bias = nn.Parameter(torch.zeros(_n_gated(self.in_type)))

    def forward(self, x: Float[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n d"]:
        self.in_type.check(x)
        first, runs = 0, []
        for b, v in zip(self.in_type.blocks, self.in_type.split(x), strict=True):
            if self.in_type.is_invariant(b.irrep):
                runs.append(self.activation(v.flatten(-2)))
                continue
            length = safe.norm(v, dim=-2)
            new_length = self.activation(length + self.bias[first : first + b.multiplicity])
            runs.append((safe.normalise(v, dim=-2) * new_length.unsqueeze(-2)).flatten(-2))
            first += b.multiplicity
        return torch.cat(runs, -1)

    def extra_repr(self) -> str:
        return str(self.in_type)


class WithLengths(nn.Module):
    """Append the length of each copy of an irrep that is not invariant: what a field says without a frame.

        x [..., N, in_type.dim]  ->  [..., N, out_type.dim]

    `out_type` is `in_type` + one invariant per such copy. At x = 0 the lengths' derivatives are 0. Raises
    FieldTypeError for another feature dimension.

    >>> appended = WithLengths("2x0 + 1x1"); print(appended.out_type)
    2x0 + 1x1 + 1x0
    >>> appended(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    tensor([[1., 2., 3., 4., 5.]])
    """

    def __init__(self, field_type: FieldType | str):
        super().__init__()
        self.in_type = FieldType(field_type)
        copies, group = _n_gated(self.in_type), self.in_type.group
        self.out_type = FieldType.of([*self.in_type.terms, (copies, _invariant(group))], group)

    def forward(self, x: Float[Tensor, "*batch n d_in"]) -> Float[Tensor, "*batch n d_out"]:
        self.in_type.check(x)
        pairs = zip(self.in_type.blocks, self.in_type.split(x), strict=True)
        lengths = [safe.norm(v, dim=-2) for b, v in pairs if not self.in_type.is_invariant(b.irrep)]
        return torch.cat([x, *lengths], -1)

    def extra_repr(self) -> str:
        return str(self.in_type)


def _invariant(group: Group) -> Irrep:
    """Return the irrep on which the group acts as the identity."""
    return Irrep(0, "e" if group.flips else "")


def _n_gated(field_type: FieldType) -> int:
    """Count the copies of irreps that are not invariant."""
    return sum(b.multiplicity for b in field_type.blocks if not field_type.is_invariant(b.irrep))
