"""Irreps: the real irreducible representations of the planar groups."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geocnn.errors import FieldTypeError
from geocnn.groups.planar import Group


@dataclass(frozen=True, order=True)
class Irrep:
    """A real irreducible representation: a frequency and, where flips distinguish two, a parity e or o."""

    frequency: int
    parity: str = ""

    def __str__(self) -> str:
        return f"{self.frequency}{self.parity}"


def read_irrep(irrep: Irrep | str, g: Group) -> Irrep:
    """Return an irrep of the group, which a text such as "1" or "0e" may name.

    Raises FieldTypeError for another text, and for an irrep that the group does not have.
    """
    if not isinstance(irrep, Irrep):
        match = re.fullmatch(r"\s*(\d+)([eo]?)\s*", irrep) if isinstance(irrep, str) else None
        if match is None:
            raise FieldTypeError(
                f"cannot read the irrep {irrep!r}; write its frequency as a text: '1', or '0e'"
            )
        irrep = Irrep(int(match[1]), match[2])
    check_irrep(irrep, g)
    return irrep


def _is_character(frequency: int, g: Group) -> bool:
    """Return whether rotations act on this frequency by a sign (one component), not as rotations (two)."""
    return frequency == 0 or (g.rotations is not None and 2 * frequency == g.rotations)


def check_irrep(irrep: Irrep, g: Group) -> None:
    """Raise FieldTypeError unless `irrep` is one of the group's."""
    n, parity = irrep.frequency, irrep.parity
    if n < 0 or parity not in ("", "e", "o"):
        raise FieldTypeError(f"no irrep {irrep}: a frequency is 0 or more, a parity e, o or absent")
    if g.rotations is not None and n > g.rotations // 2:
        top = g.rotations // 2
        raise FieldTypeError(f"{g} has frequencies 0 to {top}, not {n}; they repeat modulo {g.rotations}")
    wants_parity = g.flips and _is_character(n, g)
    if wants_parity and not parity:
        raise FieldTypeError(f"{g} has two irreps of frequency {n}: write {n}e or, if a flip gives −1, {n}o")
    if parity and not wants_parity:
        raise FieldTypeError(f"irrep {irrep} has no parity in {g}: write {n}")


def irrep_dim(irrep: Irrep, g: Group) -> int:
    """Return the number of real components, 1 or 2."""
    return 1 if _is_character(irrep.frequency, g) else 2


def has_complex_structure(irrep: Irrep, g: Group) -> bool:
    """Return whether the complex numbers commute with the irrep (Schur), and not the real ones alone."""
    return irrep_dim(irrep, g) == 2 and not g.flips


def irreps(g: Group, max_frequency: int | None = None) -> list[Irrep]:
    """Return the irreps of `g` up to a frequency, which is required for infinite groups.

    Raises FieldTypeError for an infinite group without max_frequency.

    >>> from geocnn.groups import dihedral
    >>> print(*irreps(dihedral(4)))
    0e 0o 1 2e 2o
    """
    if g.rotations is not None:
        top = g.rotations // 2
        top = top if max_frequency is None else min(top, max_frequency)
    elif max_frequency is not None:
        top = max_frequency
    else:
        raise FieldTypeError(f"{g} has infinitely many irreps; give max_frequency")
    every = []
    for n in range(top + 1):
        parities = ("e", "o") if g.flips and _is_character(n, g) else ("",)
        every += [Irrep(n, parity) for parity in parities]
    return every


def rho(
    irrep: Irrep, g: Group, angle: Float[Tensor, "*batch"], flip: Bool[Tensor, "*batch"] | None = None
) -> Float[Tensor, "*batch d d"]:
    """Return the matrices by which elements (angle, flip) act on one irrep: rho(g∘h) = rho(g) rho(h)."""
    n = irrep.frequency
    c, s = torch.cos(n * angle), torch.sin(n * angle)
    mirror = torch.ones_like(c) if flip is None else 1 - 2 * flip.to(c)
    if irrep_dim(irrep, g) == 1:
        return (c * mirror if irrep.parity == "o" else c)[..., None, None]
    return torch.stack([torch.stack([c, -s * mirror], -1), torch.stack([s, c * mirror], -1)], -2)
