"""Radial bases: the functions of the distance that a kernel is a sum of.

A basis of one's own is a frozen dataclass, here or anywhere: a RadialBasis with `__call__`. Every layer and
network takes it by `radial=`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cache

import torch
from torch import Tensor

from geocnn.errors import FieldTypeError
from geocnn.lasting import lasting


@dataclass(frozen=True)
class RadialBasis(ABC):
    """`rings` continuous functions of t = r/R, the distance over the kernel's radius.

    They are 0 at t = 1, where the kernel ends. They are 0 at t = 0 for every angular frequency but 0, since
    no direction is distinguished there. Bases are values: equal ones share the operators of a stencil.

    Raises FieldTypeError unless `rings` is a positive whole number.
    """

    rings: int

    def __post_init__(self) -> None:
        if not isinstance(self.rings, int) or self.rings < 1:
            raise FieldTypeError(
                f"a kernel needs at least one ring, a whole number, got rings={self.rings!r}"
            )

    @abstractmethod
    def __call__(self, t: Tensor, frequency: int) -> Tensor:
        """Evaluate the functions of one angular frequency, of either sign, at t [...]: [..., rings]."""

    def pieces(self, frequency: int) -> int:
        """Count equal pieces of [0, 1] on which the functions are smooth, for quadratures piece by piece."""
        return self.rings + 1

    def check(self, frequency: int) -> None:
        """Raise FieldTypeError unless the functions have the right shape, and vanish where they must."""
        known = {f.name for f in fields(self)}
        if others := [n for n in vars(self) if n not in known and not hasattr(type(self), n)]:
            raise FieldTypeError(
                f"{type(self).__name__} has {', '.join(others)} beside its dataclass fields, so bases that "
                "differ there would compare equal; declare them as fields of a @dataclass(frozen=True)"
            )
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64, device="cpu")
        values = self(ends, frequency)
        if values.shape != (2, self.rings):
            raise FieldTypeError(
                f"{self} gives values of shape {list(values.shape)} at 2 distances; give [2, {self.rings}]"
            )
        if not bool(values.isfinite().all()):
            raise FieldTypeError(
                f"{self} is {values.tolist()} at t = 0 and 1 for angular frequency {frequency}; "
                "give finite values"
            )
        for place, at in enumerate([0, 1]):
            if (at == 1 or frequency != 0) and not bool((values[place].abs() <= 1e-6).all()):
                raise FieldTypeError(
                    f"{self} is {values[place].tolist()} at t = {at} for angular frequency {frequency}; a "
                    "kernel is 0 at its radius, and at the centre unless the frequency is 0"
                )


@dataclass(frozen=True)
class Cosine(RadialBasis):
    """Raised cosines. Neighbouring ones overlap by half and sum to 1 between their centres; their derivative
    is continuous.

    >>> Cosine(2)(torch.tensor([0.0, 1.0]), 0).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    >>> Cosine(2)(torch.tensor([0.0, 1.0]), 1).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """

    def __call__(self, t: Tensor, frequency: int) -> Tensor:
        n, first = self.pieces(frequency), 0 if frequency == 0 else 1
        centre = torch.arange(first, first + self.rings, dtype=t.dtype, device=t.device) / n
        phase = ((t[..., None] - centre) * n).clamp(-1, 1)
        return 0.5 + 0.5 * torch.cos(math.pi * phase)

    def pieces(self, frequency: int) -> int:
        return self.rings if frequency == 0 else self.rings + 1


@dataclass(frozen=True)
class Bessel(RadialBasis):
    """The vibrations of a disc with a fixed rim: J_ℓ(z t), z the first zeros of the Bessel function J_ℓ.

    Times e^{iℓθ} they are an orthonormal basis of functions on the disc, of rising frequency in every
    direction alike. Their slope at the rim is not 0.

    >>> Bessel(2)(torch.tensor([0.0, 1.0], dtype=torch.float64), 1).abs().amax().item() < 1e-12
    True
    """

    def __call__(self, t: Tensor, frequency: int) -> Tensor:
        order = abs(frequency)
        zeros = torch.tensor(bessel_zeros(order, self.rings), dtype=t.dtype, device=t.device)
        # ∫₀¹ J_ℓ(zt)² 2t dt = J_{ℓ+1}(z)²  (DLMF 10.22.37)
        return bessel_j(order, t[..., None] * zeros) / bessel_j(order + 1, zeros).abs()


@dataclass(frozen=True)
class Gaussian(RadialBasis):
    """Gaussian bumps at equal distances, `width` times as wide as these (standard deviation), made to vanish
    at the rim and, unless the angular frequency is 0, at the centre.

    >>> Gaussian(3, width=0.5)(torch.tensor([1.0]), 0).tolist()
    [[0.0, 0.0, 0.0]]
    """

    width: float = 0.6

    def __call__(self, t: Tensor, frequency: int) -> Tensor:
        n, first = (self.rings, 0) if frequency == 0 else (self.rings + 1, 1)
        centre = torch.arange(first, first + self.rings, dtype=t.dtype, device=t.device) / n
        t, spread = t[..., None], self.width / n
        bumps = torch.exp(-0.5 * ((t - centre) / spread).square()) * (1 - t.square())
        return bumps if frequency == 0 else bumps * -torch.expm1(-0.5 * (t / spread).square())


def read_radial(rings: int | None, radial: RadialBasis | None) -> RadialBasis:
    """Return the basis that `rings` or `radial` names: Cosine(3) where neither is given.

    Raises FieldTypeError where both are given and disagree, and for another value.
    """
    if radial is None:
        return Cosine(3 if rings is None else rings)
    if not isinstance(radial, RadialBasis):
        raise FieldTypeError(f"radial is a RadialBasis such as Bessel(3), got {radial!r}")
    if rings not in (None, radial.rings):
        raise FieldTypeError(f"rings={rings}, but radial={radial} has {radial.rings}; leave rings out")
    return radial


def bessel_j(order: int, x: Tensor) -> Tensor:
    """J_order(x) by Bessel's integral, 1/π ∫₀^π cos(order τ − x sin τ) dτ, to rounding: the trapezoidal rule
    converges exponentially.

    >>> bessel_j(0, torch.tensor([0.0])).item()
    1.0
    """
    largest = float(x.abs().max()) if x.numel() else 0.0
    nodes = math.ceil(largest) + order + 24
    total = torch.zeros_like(x)
    for k in range(nodes):
        tau = math.pi * (k + 0.5) / nodes
        total += torch.cos(order * tau - math.sin(tau) * x)
    return total / nodes


@cache
@lasting()
def bessel_zeros(order: int, count: int) -> tuple[float, ...]:
    """Return the first positive zeros of J_order, by bisection.

    >>> [round(z, 6) for z in bessel_zeros(0, 2)]
    [2.404826, 5.520078]
    """
    # zeros lie above the order, more than 3 apart, and the k-th below order + 4 k + 2 √order
    x = torch.arange(
        0.5, order + 4 * count + 2 * math.sqrt(order) + 2, 0.5, dtype=torch.float64, device="cpu"
    )
    value = bessel_j(order, x)
    at = ((value[1:] * value[:-1] < 0) & (x[1:] > order)).nonzero()[:count, 0]
    low, high = x[at], x[at + 1]
    for _ in range(60):
        middle = (low + high) / 2
        same = bessel_j(order, middle) * bessel_j(order, low) > 0
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    return tuple(low.tolist())
