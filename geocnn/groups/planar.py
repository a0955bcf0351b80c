"""Structure groups: the closed subgroups of O(2) a tangent frame may be ambiguous by.

An element is g = (angle, flip), acting on R² = C by z ↦ e^{iφ} z, or z ↦ e^{iφ} z̄ when flipped.
Where nothing is flipped, `flip` is None, not an array of zeros.

    identity  compose(g, (0, None)) = g        inverse  compose(g, inverse(g)) = (0, …)
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from geocnn.errors import GroupError

Element = tuple[Tensor, Tensor | None]

N_MAX = 360
"""The finest rotation group told from SO(2)."""

ROUNDING, MOST_ROUNDING = 2.0, 1e-5
"""Angles count as equal within so many units of their last place, unless these are longer than the second:
so far apart are the multiples of 2π/N, N ≤ 360.
"""


@dataclass(frozen=True)
class Group:
    """A subgroup of O(2): `rotations` N by multiples of 2π/N (None: by any angle), with or without flips.

    >>> print(SO2, cyclic(4), dihedral(6), TRIVIAL)
    SO2 C4 D6 trivial
    >>> O2.contains(cyclic(5)), cyclic(6).contains(cyclic(4))
    (True, False)
    """

    rotations: int | None
    flips: bool

    def __post_init__(self) -> None:
        if self.rotations is not None and self.rotations < 1:
            raise GroupError(
                f"a finite group needs at least one rotation, got {self.rotations}; use 1 or more"
            )

    def __str__(self) -> str:
        if self.rotations is None:
            return "O2" if self.flips else "SO2"
        if self.rotations == 1:
            return "reflection" if self.flips else "trivial"
        return f"{'D' if self.flips else 'C'}{self.rotations}"

    def __repr__(self) -> str:
        return f"group({str(self)!r})"

    @property
    def is_finite(self) -> bool:
        return self.rotations is not None

    def contains(self, other: Group) -> bool:
        """Whether every element of `other` is one of this group."""
        if other.flips and not self.flips:
            return False
        if self.rotations is None:
            return True
        return other.rotations is not None and self.rotations % other.rotations == 0

    def join(self, other: Group) -> Group:
        """The smallest group of this family that contains both."""
        rotations = (
            None
            if self.rotations is None or other.rotations is None
            else math.lcm(self.rotations, other.rotations)
        )
        return Group(rotations, self.flips or other.flips)

    def elements(self) -> Element:
        """All elements of a finite group: angles [n] float64 and flips [n] (None without flips).

        >>> cyclic(2).elements()[0]
        tensor([0.0000, 3.1416], dtype=torch.float64)
        """
        if self.rotations is None:
            raise GroupError(f"{self} has infinitely many elements; use sample()")
        angle = torch.arange(self.rotations, dtype=torch.float64) * (2 * math.pi / self.rotations)
        if not self.flips:
            return angle, None
        return angle.repeat(2), torch.arange(2).repeat_interleave(self.rotations).bool()

    def sample(self, n: int, generator: torch.Generator | None = None) -> Element:
        """`n` elements drawn uniformly (Haar): angles [n] float64, flips [n] or None."""
        if self.rotations is None:
            angle = torch.rand(n, dtype=torch.float64, generator=generator) * (2 * math.pi)
        else:
            step = torch.randint(self.rotations, (n,), generator=generator)
            angle = step.to(torch.float64) * (2 * math.pi / self.rotations)
        flip = torch.randint(2, (n,), generator=generator).bool() if self.flips else None
        return angle, flip


TRIVIAL = Group(1, False)
REFLECTION = Group(1, True)
SO2 = Group(None, False)
O2 = Group(None, True)


def cyclic(n: int) -> Group:
    """C_N, the rotations by multiples of 2π/N."""
    return Group(n, False)


def dihedral(n: int) -> Group:
    """D_N, those rotations and the flips z ↦ e^{2πik/N} z̄ (2N elements)."""
    return Group(n, True)


def group(name: str | Group) -> Group:
    """The group of that name: trivial, reflection, C4, D6, SO2 or SO(2), O2 or O(2).

    Raises GroupError for any other name.

    >>> group("SO(2)") == SO2, group("D4") == dihedral(4)
    (True, True)
    """
    if isinstance(name, Group):
        return name
    named = {"trivial": TRIVIAL, "reflection": REFLECTION, "SO2": SO2, "SO(2)": SO2, "O2": O2, "O(2)": O2}
    text = name.strip()
    if text in named:
        return named[text]
    match = re.fullmatch(r"([CD])\(?([1-9]\d*)\)?", text)
    if match is None:
        raise GroupError(f"no structure group named {name!r}; use trivial, reflection, C<N>, D<N>, SO2 or O2")
    return Group(int(match[2]), match[1] == "D")


def smallest_group(angle: Tensor, flip: Tensor | None = None) -> Group:
    """The smallest group of this family that holds the elements (angle [n], flip [n] or None).

    Rotations count as multiples of 2π/N, N ≤ 360, when they are within the rounding of their dtype, in
    float64 to 1e-9 rad.

    >>> smallest_group(torch.tensor([0.0, torch.pi / 2], dtype=torch.float64))
    group('C4')
    """
    return exact_rotations(angle, flip)[1]


def exact_rotations(angle: Tensor, flip: Tensor | None = None) -> tuple[Tensor, Group]:
    """Angles [n] in float64, and the smallest group of the elements (angle, flip). Where it is finite, angles
    that a lower precision rounded are its own.

    >>> angle, group = exact_rotations(torch.tensor([torch.pi / 2], dtype=torch.float32))
    >>> float(angle) == torch.pi / 2, group
    (True, group('C4'))
    """
    exact, has_flips = angle.to(torch.float64), flip is not None and bool(flip.any())
    rounding = ROUNDING * torch.finfo(angle.dtype).eps if angle.is_floating_point() else 0.0
    tolerance = max(1e-9, rounding * float(exact.abs().max() if len(exact) else 0.0))
    # in half precision any angle would be a multiple
    n = rotation_group(wrapped(exact), tolerance)[0] if tolerance < MOST_ROUNDING else None
    if n is not None and angle.dtype != torch.float64:
        exact = (exact * (n / (2 * math.pi))).round() * (2 * math.pi / n)
    return exact, Group(n, has_flips)


def rotation_group(angle: Tensor, tolerance: float) -> tuple[int | None, Tensor]:
    """(N, which angles [K] prove it): the smallest group of rotations by 2π/N that holds the angles; N is
    None for SO(2).

    Grown by the angle farthest from the group so far, until all are in it.
    """
    orders = torch.arange(1, N_MAX + 1, device=angle.device)
    n, proving = 1, []
    while len(angle):
        off = _off(angle, n)
        k = int(off.argmax())
        if float(off[k]) <= tolerance:
            break
        proving.append(k)
        fits = _off(angle[k], orders) <= tolerance
        order = int(orders[fits][0]) if bool(fits.any()) else N_MAX + 1
        n = math.lcm(n, order)
        if n > N_MAX:
            return None, torch.tensor(proving, device=angle.device)
    return n, torch.tensor(proving, dtype=torch.int64, device=angle.device)


def _off(angle: Tensor, n: int | Tensor) -> Tensor:
    """The distance of angles from the nearest multiple of 2π/n."""
    return (angle - (angle * n / (2 * math.pi)).round() * (2 * math.pi) / n).abs()


def compose(g: Element, h: Element) -> Element:
    """g∘h, first h, then g.

    >>> a, _ = compose((torch.tensor(0.5), None), (torch.tensor(0.25), None)); a
    tensor(0.7500)
    """
    (a, s), (b, t) = g, h
    if s is None:
        return a + b, t
    return a + torch.where(s, -b, b), s if t is None else s ^ t


def inverse(g: Element) -> Element:
    """The element that undoes g; a flip undoes itself.

    >>> inverse((torch.tensor(0.5), None))[0]
    tensor(-0.5000)
    """
    angle, flip = g
    return (-angle, None) if flip is None else (torch.where(flip, angle, -angle), flip)


def act(g: Element, z: Tensor) -> Tensor:
    """The element applied to complex numbers z [...]: e^{iφ} z, or e^{iφ} z̄ where it flips.

    Law: act(compose(g, h), z) = act(g, act(h, z)).

    >>> act((torch.tensor(torch.pi / 2), torch.tensor(True)), torch.tensor(1 + 1j)).real.round()
    tensor(1.)
    """
    angle, flip = g
    z = z if flip is None else torch.where(flip, z.conj(), z)
    return torch.polar(torch.ones_like(angle), angle).to(z.dtype) * z


def product(g: Element) -> Element:
    """g₁ ∘ g₂ ∘ … ∘ g_L of elements [..., L], the last first: [...].

    >>> quarter, flips = torch.full((2,), torch.pi / 2), torch.tensor([True, False])
    >>> product((quarter, None))[0], product((quarter, flips))[0]
    (tensor(3.1416), tensor(0.))
    """
    angle, flip = g
    if flip is None:
        return angle.sum(-1), None
    turned = flip.cumsum(-1) - flip.long()
    return torch.where(turned % 2 == 1, -angle, angle).sum(-1), flip.sum(-1) % 2 == 1


def wrapped(angle: Tensor) -> Tensor:
    """The same angle from −π up to π.

    >>> wrapped(torch.tensor([torch.pi, 7.0]))
    tensor([-3.1416,  0.7168])
    """
    return (angle + math.pi).remainder(2 * math.pi) - math.pi


def product_table(group: Group) -> Tensor:
    """The number of g∘h for all elements of a finite group, in the order of `Group.elements`: [n, n] int64.

    Row g is the permutation by which g acts on the group itself, its regular representation; its argsort is
    that of g⁻¹.

    >>> product_table(cyclic(3)).tolist()
    [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    if group.rotations is None:
        raise GroupError(f"{group} has infinitely many elements, and no table")
    n = group.rotations
    number = torch.arange(2 * n if group.flips else n)
    step, flip = number % n, number // n
    sense = 1 - 2 * flip
    turned = (step[:, None] + sense[:, None] * step) % n
    return turned + n * (flip[:, None] ^ flip)
