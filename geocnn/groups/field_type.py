"""FieldType: what a feature is, a direct sum of irreps of a structure group."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from geocnn.errors import FieldTypeError, GeocnnError
from geocnn.groups.irrep import Irrep, check_irrep, irrep_dim, irreps, read_irrep, rho
from geocnn.groups.planar import SO2, Group
from geocnn.groups.planar import group as named_group


@dataclass(frozen=True)
class Block:
    """`multiplicity` copies of one irrep: a run of `dim * multiplicity` channels, component-major."""

    multiplicity: int
    irrep: Irrep
    dim: int
    start: int

    def __iter__(self) -> Iterator[int | Irrep]:
        """multiplicity and irrep, so that `for multiplicity, irrep in field_type` reads a type."""
        return iter((self.multiplicity, self.irrep))

    def __str__(self) -> str:
        return f"{self.multiplicity}x{self.irrep}"

    @property
    def stop(self) -> int:
        return self.start + self.dim * self.multiplicity

    def view(self, x: Tensor) -> Tensor:
        """Return the block of x [..., D] as [..., dim, multiplicity]."""
        return x[..., self.start : self.stop].unflatten(-1, (self.dim, self.multiplicity))


class FieldType:
    """A direct sum of irreps of a structure group, SO(2) unless the text or `group` says otherwise.

    Immutable and hashable; printing gives a text that parses back, and equals the type. Features of this type
    have shape [..., N, D], irreps in the written order, each block component-major: [dim, multiplicity].

    A type is also a sequence of its blocks, each `multiplicity` copies of one `irrep`: `len`, iteration and
    `t[0]` give blocks, a slice such as `t[1:]` gives a type, `+` and `*` give direct sums.

    Raises FieldTypeError when the text does not parse or names an irrep the group lacks, GroupError when
    there is no group of that name.

    >>> t = FieldType("16x0 + 8x1"); t.dim, str(t)
    (32, '16x0 + 8x1')
    >>> print(2 * t, t[1:], [multiplicity for multiplicity, irrep in t], "1" in t, sep="; ")
    16x0 + 8x1 + 16x0 + 8x1; 8x1; [16, 8]; True
    >>> print(FieldType("O2: 4x0e + 2x1"))
    O2: 4x0e + 2x1
    >>> print(FieldType.regular("C8", 2))
    C8: 2x0 + 2x1 + 2x2 + 2x3 + 2x4
    """

    def __init__(self, text: str | FieldType, group: Group | str | None = None):
        if isinstance(text, FieldType):
            terms, own = [(b.multiplicity, b.irrep) for b in text.blocks], text.group
        else:
            terms, own = _parse(text)
        self._setup(terms, own, group, text)

    def _setup(self, terms, own: Group | None, given: Group | str | None, text: object) -> None:
        chosen = own if given is None else named_group(given)
        if own is not None and chosen != own:
            raise FieldTypeError(f"{str(text)!r} has the group {own}, but group={chosen} was given; drop one")
        chosen = chosen or SO2
        if not terms:
            raise FieldTypeError("a feature type needs at least one irrep, this one has none: write e.g. 1x0")
        blocks, start = [], 0
        for multiplicity, irrep in terms:
            check_irrep(irrep, chosen)
            block = Block(multiplicity, irrep, irrep_dim(irrep, chosen), start)
            blocks.append(block)
            start = block.stop
        object.__setattr__(self, "group", chosen)
        object.__setattr__(self, "blocks", tuple(blocks))
        object.__setattr__(self, "dim", start)
        object.__setattr__(self, "irreps", tuple(dict.fromkeys(b.irrep for b in blocks)))

    group: Group
    blocks: tuple[Block, ...]
    dim: int
    irreps: tuple[Irrep, ...]
    """The distinct irreps, in order of first appearance."""

    @classmethod
    def of(cls, terms: list[tuple[int, Irrep]], group: Group) -> FieldType:
        """Return the type with these (multiplicity, irrep) terms."""
        result = object.__new__(cls)
        result._setup([(n, i) for n, i in terms if n > 0], group, None, terms)
        return result

    @classmethod
    def regular(cls, group: Group | str, multiplicity: int = 1) -> FieldType:
        """`multiplicity` copies of the regular representation of C_N or D_N, as irreps (Serre 1977, §2.4).

        Two-dimensional irreps of D_N occur twice, all others once.
        """
        g = named_group(group)
        if not g.is_finite:
            raise FieldTypeError(f"the regular representation of {g} is infinite; take a finite group, as C8")
        copies = [2 if g.flips and irrep_dim(i, g) == 2 else 1 for i in irreps(g)]
        return cls.of([(multiplicity * k, i) for k, i in zip(copies, irreps(g), strict=True)], g)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("FieldType is immutable; make a new one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("FieldType is immutable; make a new one")

    def __reduce__(self):
        return FieldType, (str(self),)

    def __str__(self) -> str:
        terms = " + ".join(map(str, self.blocks))
        return terms if self.group == SO2 else f"{self.group}: {terms}"

    def __repr__(self) -> str:
        return f"FieldType({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            try:
                other = FieldType(other)
            except GeocnnError:
                return False
        return isinstance(other, FieldType) and (self.group, self.blocks) == (other.group, other.blocks)

    def __hash__(self) -> int:
        return hash((self.group, self.blocks))

    def __add__(self, other: FieldType | str) -> FieldType:
        return FieldType.of(self.terms + FieldType(other, self.group).terms, self.group)

    def __radd__(self, other: str) -> FieldType:
        return FieldType(other, self.group) + self

    def __mul__(self, copies: int) -> FieldType:
        """Return the direct sum of so many copies of the type, t * 2 = t + t."""
        try:
            count = operator.index(copies)
        except TypeError:
            return NotImplemented
        if count < 1:
            raise FieldTypeError(f"{count} copies of {self} have no irrep; take one copy or more")
        return FieldType.of(self.terms * count, self.group)

    __rmul__ = __mul__

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    @overload
    def __getitem__(self, index: int) -> Block: ...
    @overload
    def __getitem__(self, index: slice) -> FieldType: ...
    def __getitem__(self, index: int | slice) -> Block | FieldType:
        if isinstance(index, slice):
            return FieldType.of(self.terms[index], self.group)
        return self.blocks[index]

    def __contains__(self, irrep: Irrep | str) -> bool:
        return self.multiplicity(irrep) > 0

    @property
    def terms(self) -> list[tuple[int, Irrep]]:
        """(multiplicity, irrep) of each block, in order."""
        return [(b.multiplicity, b.irrep) for b in self.blocks]

    def multiplicity(self, irrep: Irrep | str) -> int:
        """Count an irrep in all blocks. Raises FieldTypeError for one that the group lacks.

        >>> FieldType("16x0 + 8x1 + 4x0").multiplicity("0")
        20
        """
        wanted = read_irrep(irrep, self.group)
        return sum(b.multiplicity for b in self.blocks if b.irrep == wanted)

    def slices(self) -> list[slice]:
        """Return the channels of each block.

        >>> FieldType("16x0 + 8x1").slices()
        [slice(0, 16, None), slice(16, 32, None)]
        """
        return [slice(b.start, b.stop) for b in self.blocks]

    def simplify(self) -> FieldType:
        """Return the type whose neighbouring blocks of one irrep are joined; blocks are not sorted.

        Features keep their order of channels where a joined irrep has one component. Where it has two, the
        copies' first components come to stand before the second ones: `join` and `select` rearrange them.

        >>> t = FieldType("1x0 + 2x0 + 1x1 + 1x1"); simple = t.simplify(); print(simple)
        3x0 + 2x1
        >>> simple.join({i: t.select(torch.arange(7), i) for i in t.irreps}).tolist()
        [0, 1, 2, 3, 5, 4, 6]
        """
        terms: list[tuple[int, Irrep]] = []
        for multiplicity, irrep in self.terms:
            if terms and terms[-1][1] == irrep:
                multiplicity += terms.pop()[0]
            terms.append((multiplicity, irrep))
        return FieldType.of(terms, self.group)

    def randn(
        self,
        *size: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draw random features of this type, every component normal with variance 1; the last size is -1,
        which stands for the channels.

        >>> FieldType("16x0 + 8x1").randn(5, 100, -1).shape
        torch.Size([5, 100, 32])
        """
        if size[-1:] != (-1,):
            raise FieldTypeError(f"sizes end with -1, which stands for the channels, got {size}")
        return torch.randn(*size[:-1], self.dim, generator=generator, dtype=dtype, device=device)

    @property
    def max_frequency(self) -> int:
        return max(b.irrep.frequency for b in self.blocks)

    def is_invariant(self, irrep: Irrep | str) -> bool:
        """Return whether the group acts on the irrep as the identity: only there may a bias be added."""
        irrep = read_irrep(irrep, self.group)
        return irrep.frequency == 0 and irrep.parity != "o"

    def split(self, x: Tensor) -> list[Tensor]:
        """Return the blocks of x, each [..., dim, multiplicity].

        Derivatives by all blocks are put together at once, where those by views of each would be added up.
        """
        parts = x.split([b.dim * b.multiplicity for b in self.blocks], -1)
        return [p.unflatten(-1, (b.dim, b.multiplicity)) for p, b in zip(parts, self.blocks, strict=True)]

    def by_irrep(self, x: Tensor) -> dict[Irrep, Tensor]:
        """Return all channels of each irrep, [..., dim, multiplicity], split as `split` does."""
        parts: dict[Irrep, list[Tensor]] = {}
        for b, part in zip(self.blocks, self.split(x), strict=True):
            parts.setdefault(b.irrep, []).append(part)
        return {irrep: own[0] if len(own) == 1 else torch.cat(own, -1) for irrep, own in parts.items()}

    def select(self, x: Tensor, irrep: Irrep | str) -> Tensor:
        """Return all channels of one irrep, [..., dim, multiplicity]. Raises FieldTypeError where there are
        none.
        """
        irrep = read_irrep(irrep, self.group)
        views = [b.view(x) for b in self.blocks if b.irrep == irrep]
        if not views:
            present = ", ".join(map(str, self.irreps))
            raise FieldTypeError(f"type {self} has no irrep {irrep}; it has {present}")
        return views[0] if len(views) == 1 else torch.cat(views, -1)

    def join(self, parts: dict[Irrep, Tensor]) -> Tensor:
        """Return the inverse of `select`: x [..., D] from {irrep: [..., dim, multiplicity]}."""
        used = dict.fromkeys(self.irreps, 0)
        runs = []
        for b in self.blocks:
            k = used[b.irrep]
            runs.append(parts[b.irrep][..., k : k + b.multiplicity].flatten(-2))
            used[b.irrep] = k + b.multiplicity
        return torch.cat(runs, -1)

    def check(self, x: Tensor) -> None:
        """Raise FieldTypeError unless x is a tensor [..., N, D] with this type's D."""
        if not isinstance(x, Tensor):
            raise FieldTypeError(
                f"features are a torch.Tensor, got a {type(x).__name__}; give torch.as_tensor(x), in the "
                "dtype of the layer's weights"
            )
        if not (x.is_floating_point() or x.is_complex()):
            raise FieldTypeError(f"features are real numbers, got {x.dtype}; give x.float()")
        if x.ndim < 2 or x.shape[-1] != self.dim:
            hint = ""
            if x.ndim > 1 and x.shape[-2] == self.dim:
                hint = "; channels come last: give x.mT"
            elif self.dim == 1:
                hint = "; a missing channel axis is added by x.unsqueeze(-1)"
            raise FieldTypeError(
                f"features of type {self} have shape [..., points, {self.dim}], got {list(x.shape)}{hint}"
            )

    def act(self, x: Tensor, angle: Tensor, flip: Tensor | None = None) -> Tensor:
        """x with the element (angle, flip) applied at each point: x [..., N, D], angle [N], flip [N] or None.

        Laws: act by the identity is x; act(act(x, h), g) = act(x, g∘h). `rho` is the same map as a matrix.

        >>> t = FieldType("1x1"); t.act(torch.tensor([[1.0, 0.0]]), torch.tensor([torch.pi / 2])).round()
        tensor([[-0., 1.]])
        """
        self.check(x)
        self._check_flip(flip)
        # numbers in float64, whatever torch's default
        angle = torch.as_tensor(angle, dtype=None if hasattr(angle, "dtype") else torch.float64).to(x.device)
        flip = None if flip is None else torch.as_tensor(flip, device=x.device)
        parts = [_act_block(b, self.group, b.view(x), angle, flip).flatten(-2) for b in self.blocks]
        return torch.cat(parts, -1)

    def rho(self, angle: Tensor, flip: Tensor | None = None) -> Tensor:
        """Return the matrices [..., D, D] of elements (angle [...], flip [...] or None): act's reference."""
        self._check_flip(flip)
        matrix = angle.new_zeros(*angle.shape, self.dim, self.dim)
        for b in self.blocks:
            block = slice(b.start, b.stop)
            copies = torch.eye(b.multiplicity, dtype=angle.dtype, device=angle.device)
            matrix[..., block, block] = torch.kron(rho(b.irrep, self.group, angle, flip), copies)
        return matrix

    def _check_flip(self, flip: Tensor | None) -> None:
        if flip is not None and not self.group.flips:
            raise FieldTypeError(
                f"a flip cannot act on {self}: its group {self.group} has none; use O2 or a dihedral group"
            )


def _act_block(b: Block, g: Group, x: Tensor, angle: Tensor, flip: Tensor | None) -> Tensor:
    """Act on one block x [..., N, dim, multiplicity]; angles keep their dtype up to sine and cosine."""
    n = b.irrep.frequency
    c, s = torch.cos(n * angle).to(x.dtype)[..., None], torch.sin(n * angle).to(x.dtype)[..., None]
    mirror = None if flip is None else 1 - 2 * flip.to(x)[..., None]
    if b.dim == 1:
        sign = c if mirror is None or b.irrep.parity != "o" else c * mirror
        return x if n == 0 and b.irrep.parity != "o" else x * sign[..., None]
    re, im = x[..., 0, :], x[..., 1, :]
    im = im if mirror is None else im * mirror
    return torch.stack([c * re - s * im, s * re + c * im], -2)


def _parse(text: str) -> tuple[list[tuple[int, Irrep]], Group | None]:
    if not isinstance(text, str):
        scalars = f"; {text} scalar channels are '{text}x0'" if isinstance(text, int) else ""
        raise FieldTypeError(
            f"a feature type is a text such as '16x0 + 8x1', got {text!r} ({type(text).__name__}){scalars}"
        )
    head, colon, body = text.rpartition(":")
    own = named_group(head) if colon else None
    terms = []
    for term in body.split("+"):
        match = re.fullmatch(r"\s*(?:(\d+)\s*x\s*)?(\d+)([eo]?)\s*", term)
        if match is None:
            raise FieldTypeError(
                f"cannot read {term.strip()!r} in {text!r}; write terms like 16x0 + 8x1, or O2: 4x0e + 2x1"
            )
        terms.append((int(match[1] or 1), Irrep(int(match[2]), match[3])))
    empty = [str(i) for n, i in terms if n == 0]
    if empty:
        raise FieldTypeError(f"multiplicity 0 of irrep {', '.join(empty)} in {text!r}; leave the term out")
    return terms, own
