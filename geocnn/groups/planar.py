"""Structure groups: the closed subgroups of O(2), by whose elements a choice of tangent frames may differ.

An element is g = (angle, flip) and acts on R² = C by z ↦ e^{iφ} z, or z ↦ e^{iφ} z̄ when flipped.
Where nothing is flipped, `flip` is None, not an array of zeros.

    identity  compose(g, (0, None)) = g        inverse  compose(g, inverse(g)) = (0, …)
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64, Num
from torch import Tensor

from geocnn.errors import GroupError

Element = tuple[Tensor, Tensor | None]
"""(angle, flip): radians and booleans of one shape, flip None where nothing is flipped."""

N_MAX = 360
"""The finest rotation group that is distinguished from SO(2)."""

ROUNDING, MOST_ROUNDING = 2.0, 1e-5
"""Angles count as equal within this many units of their last place, as long as these are below the second
number: the multiples of all 2π/N, N ≤ 360, are farther apart.
"""


@dataclass(frozen=True)
class Group:
    """A subgroup of O(2): `rotations` N by multiples of 2π/N (None for any angle), with or without flips.

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
        """Whether the group has finitely many elements."""
        return self.rotations is not None

    def contains(self, other: Group) -> bool:
        """Return whether every element of `other` is one of this group."""
        if other.flips and not self.flips:
            return False
        if self.rotations is None:
            return True
        return other.rotations is not None and self.rotations % other.rotations == 0

    def join(self, other: Group) -> Group:
        """Return the smallest group of this family that contains both."""
        rotations = (
            None
            if self.rotations is None or other.rotations is None
            else math.lcm(self.rotations, other.rotations)
        )
        return Group(rotations, self.flips or other.flips)

    def elements(self) -> Element:
        """Return all elements of a finite group: angles [n] float64 and flips [n] (None without flips).

        Raises GroupError for an infinite group.

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
        """Draw `n` elements uniformly (Haar): angles [n] float64, flips [n] or None."""
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
    """Return C_N, the rotations by multiples of 2π/N."""
    return Group(n, False)


def dihedral(n: int) -> Group:
    """Return D_N, the rotations of C_N and the flips z ↦ e^{2πik/N} z̄ (2N elements)."""
    return Group(n, True)


def group(name: str | Group) -> Group:
    """Return the group of that name: trivial, reflection, C4, D6, SO2 or SO(2), O2 or O(2).

    Raises GroupError for any other name.

    >>> group("SO(2)") == SO2, group("D4") == dihedral(4)
    (True, True)
    """
    if isinstance(name, Group):
        return name
    groups = {"trivial": TRIVIAL, "reflection": REFLECTION, "SO2": SO2, "SO(2)": SO2, "O2": O2, "O(2)": O2}
    text = name.strip()
    if text in groups:
        return groups[text]
    match = re.fullmatch(r"([CD])\(?([1-9]\d*)\)?", text)
    if match is None:
        raise GroupError(f"no structure group named {name!r}; use trivial, reflection, C<N>, D<N>, SO2 or O2")
    return Group(int(match[2]), match[1] == "D")


def smallest_group(angle: Num[Tensor, " n"], flip: Bool[Tensor, " n"] | None = None) -> Group:
    """Return the smallest group of this family that contains the elements (angle, flip).

    Rotations count as multiples of 2π/N, N ≤ 360, when they are within the rounding of their dtype, in
    float64 to 1e-9 rad.

    >>> smallest_group(torch.tensor([0.0, torch.pi / 2], dtype=torch.float64))
    group('C4')
    """
    return exact_rotations(angle, flip)[1]


def exact_rotations(
    angle: Num[Tensor, " n"], flip: Bool[Tensor, " n"] | None = None
) -> tuple[Float64[Tensor, " n"], Group]:
    """Return angles in float64, and the smallest group of the elements (angle, flip).

    Where that group is finite, angles in a lower precision become its exact ones.

    >>> angle, group = exact_rotations(torch.tensor([torch.pi / 2], dtype=torch.float32))
    >>> float(angle) == torch.pi / 2, group
    (True, group('C4'))
    """
    exact, has_flips = angle.to(torch.float64), flip is not None and bool(flip.any())
    rounding = ROUNDING * torch.finfo(angle.dtype).eps if angle.is_floating_point() else 0.0
    tolerance = max(1e-9, rounding * float(exact.abs().max() if len(exact) else 0.0))
    # in half precision, any angle would be a multiple
    n = rotation_group(wrapped(exact), tolerance)[0] if tolerance < MOST_ROUNDING else None
    if n is not None and angle.dtype != torch.float64:
        exact = (exact * (n / (2 * math.pi))).round() * (2 * math.pi / n)
    return exact, Group(n, has_flips)


def rotation_group(angle: Float64[Tensor, " n"], tolerance: float) -> tuple[int | None, Int64[Tensor, " k"]]:
    """Return N of the smallest group of rotations by 2π/N with the angles (None: SO(2)), and its generators.

    The k generators are numbers of angles. The group grows by the angle that is farthest from it, until it
    contains all.
    """
    orders = torch.arange(1, N_MAX + 1, device=angle.device)
    n, generators = 1, []
    while len(angle):
        distance = _distance(angle, n)
        k = int(distance.argmax())
        if float(distance[k]) <= tolerance:
            break
        generators.append(k)
        fits = _distance(angle[k], orders) <= tolerance
        order = int(orders[fits][0]) if bool(fits.any()) else N_MAX + 1
        n = math.lcm(n, order)
        if n > N_MAX:
            return None, torch.tensor(generators, device=angle.device)
    return n, torch.tensor(generators, dtype=torch.int64, device=angle.device)


def _distance(angle: Tensor, n: int | Tensor) -> Tensor:
    """Return the distance of angles from the nearest multiple of 2π/n."""
    return (angle - (angle * n / (2 * math.pi)).round() * (2 * math.pi) / n).abs()


def compose(g: Element, h: Element) -> Element:
    """Return g∘h: first h, then g.

    >>> a, _ = compose((torch.tensor(0.5), None), (torch.tensor(0.25), None)); a
    tensor(0.7500)
    """
    (a, s), (b, t) = g, h
    if s is None:
        return a + b, t
    return a + torch.where(s, -b, b), s if t is None else s ^ t


def inverse(g: Element) -> Element:
    """Return the element that reverses g; a flip reverses itself.

    >>> inverse((torch.tensor(0.5), None))[0]
    tensor(-0.5000)
    """
    angle, flip = g
    return (-angle, None) if flip is None else (torch.where(flip, angle, -angle), flip)


def act(g: Element, z: Tensor) -> Tensor:
    """Apply an element to complex numbers z [...]: e^{iφ} z, or e^{iφ} z̄ where it flips.

    act(compose(g, h), z) = act(g, act(h, z)).

    >>> act((torch.tensor(torch.pi / 2), torch.tensor(True)), torch.tensor(1 + 1j)).real.round()
    tensor(1.)
    """
    angle, flip = g
    z = z if flip is None else torch.where(flip, z.conj(), z)
    return torch.polar(torch.ones_like(angle), angle).to(z.dtype) * z


def product(g: Element) -> Element:
    """Return g₁ ∘ g₂ ∘ … ∘ g_L, [...], of elements [..., L]; the last acts first.

    >>> quarter, flips = torch.full((2,), torch.pi / 2), torch.tensor([True, False])
    >>> product((quarter, None))[0], product((quarter, flips))[0]
    (tensor(3.1416), tensor(0.))
    """
    angle, flip = g
    if flip is None:
        return angle.sum(-1), None
    n_flips = flip.cumsum(-1) - flip.long()
    return torch.where(n_flips % 2 == 1, -angle, angle).sum(-1), flip.sum(-1) % 2 == 1


def wrapped(angle: Num[Tensor, "*shape"]) -> Num[Tensor, "*shape"]:
    """Return the same angles between −π and π.

    >>> wrapped(torch.tensor([torch.pi, 7.0]))
    tensor([-3.1416,  0.7168])
    """
    return (angle + math.pi).remainder(2 * math.pi) - math.pi


def product_table(group: Group) -> Int64[Tensor, "n n"]:
    """Return the number of g∘h for all elements of a finite group, in the order of `Group.elements`.

    Row g is the permutation by which g acts on the group itself, its regular representation; its argsort is
    that of g⁻¹. Raises GroupError for an infinite group.

    >>> product_table(cyclic(3)).tolist()
    [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    if group.rotations is None:
        raise GroupError(f"{group} has infinitely many elements and no table; give a finite group, as C8")
    n = group.rotations
    number = torch.arange(2 * n if group.flips else n)
    step, flip = number % n, number // n
    sense = 1 - 2 * flip
    steps = (step[:, None] + sense[:, None] * step) % n
    return steps + n * (flip[:, None] ^ flip)
