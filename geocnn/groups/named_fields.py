"""NamedFields: several fields on the same points, joined to one x and one type, found again by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from geocnn.errors import FieldTypeError
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep


@dataclass(frozen=True)
class NamedFields:
    """Features x [..., N, D] with the name and type of each field, in the order of the channels.

    >>> rain, wind = torch.rand(5, 1), torch.randn(5, 2)
    >>> fields = NamedFields.join({"rain": (rain, "1x0"), "wind": (wind, "1x1")}); print(fields.type)
    1x0 + 1x1
    >>> bool((fields["wind"] == wind).all()), fields.select("rain").x.shape, list(fields.types)
    (True, torch.Size([5, 1]), ['rain', 'wind'])
    >>> print((fields | NamedFields.join({"height": (rain, "1x0")})).type)
    1x0 + 1x1 + 1x0
    """

    x: Float[Tensor, "*batch n d"]
    types: dict[str, FieldType]

    @classmethod
    def join(cls, fields: Mapping[str, tuple[Tensor, FieldType | str]]) -> NamedFields:
        """Join fields, given by name as a tensor [..., N, d] and its type.

        Raises FieldTypeError where there are none, where one does not have its type's shape, and for other
        numbers of points, groups, dtypes or devices.
        """
        types = {name: FieldType(of) for name, (_, of) in fields.items()}
        parts = {name: x for name, (x, _) in fields.items()}
        if not parts:
            raise FieldTypeError("there are no fields to join; give one or more by name")
        first, like = next(iter(parts.items()))
        for name, x in parts.items():
            try:
                types[name].check(x)
            except FieldTypeError as fault:
                raise FieldTypeError(f"the field '{name}': {fault}") from fault
            for what, own, other in (
                ("points", list(x.shape[:-1]), list(like.shape[:-1])),
                ("group", types[name].group, types[first].group),
                ("dtype", x.dtype, like.dtype),
                ("device", x.device, like.device),
            ):
                if own != other:
                    raise FieldTypeError(
                        f"the field '{name}' has {what} {own}, '{first}' has {other}; fields that are joined "
                        "have one"
                    )
        return cls(torch.cat(list(parts.values()), -1), types)

    @property
    def type(self) -> FieldType:
        """The type of x: that of all fields in order. Neighbouring irreps of one component count together."""
        terms: list[tuple[int, Irrep]] = []
        for own in self.types.values():
            for block in own.blocks:
                alike = terms and terms[-1][1] == block.irrep and block.dim == 1
                terms.append((block.multiplicity + (terms.pop()[0] if alike else 0), block.irrep))
        return FieldType.of(terms, next(iter(self.types.values())).group)

    @property
    def slices(self) -> dict[str, slice]:
        """The channels of each field."""
        ends = accumulate((own.dim for own in self.types.values()), initial=0)
        return {name: slice(*pair) for name, pair in zip(self.types, pairwise(ends), strict=True)}

    def __getitem__(self, name: str) -> Float[Tensor, "*batch n _"]:
        """Return the field of that name. Raises FieldTypeError for another name."""
        if name not in self.types:
            raise FieldTypeError(f"there is no field '{name}'; there are {', '.join(self.types)}")
        return self.x[..., self.slices[name]]

    def select(self, *names: str) -> NamedFields:
        """Return the fields of these names, in this order. Raises FieldTypeError for other names or none."""
        return NamedFields.join({name: (self[name], self.types[name]) for name in names})

    def __or__(self, other: NamedFields) -> NamedFields:
        """Join the fields of both. Raises FieldTypeError where they share a name, and as `join` does."""
        shared = [name for name in other.types if name in self.types]
        if shared:
            raise FieldTypeError(f"both have a field '{shared[0]}'; give one of them another name")
        both = [(f, name) for f in (self, other) for name in f.types]
        return NamedFields.join({name: (f[name], f.types[name]) for f, name in both})
