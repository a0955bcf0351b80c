"""FieldNorm: batch normalisation that keeps features equivariant."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from geocnn.errors import GeometryError
from geocnn.groups.field_type import FieldType
from geocnn.lasting import snapshot

Norm = Callable[[FieldType], nn.Module]
"""What makes a norm of a type: a module that is called with features and the areas of their points."""


def make_norm(norm: Norm | None, field_type: FieldType) -> nn.Module:
    """Make the norm of a type; None makes a module that leaves features as they are."""
    return Unnormed() if norm is None else norm(field_type)


class Unnormed(nn.Module):
    """Stands where a norm would stand: x, weight -> x."""

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        return x


class FieldNorm(nn.Module):
    """Scale every channel to unit mean square over batch and points, and centre invariant channels.

        x [..., N, D], weight [..., N] or None  ->  [..., N, D]

    Channels on which the group acts trivially also lose their mean and get a learnt shift; on any other irrep
    a shift would break gauge symmetry. `weight` is the area of each point: with it, statistics are integrals
    over the surface and do not depend on the density of points. Without it every point counts alike. Points
    of weight 0 do not count.

    Training uses the batch's statistics and tracks their running means with `momentum`; evaluation uses the
    running means, as torch.nn.BatchNorm does (Ioffe & Szegedy 2015). A single value per channel, for example
    one surface in the batch of a readout, has no variance: in training it is normalised by the running means
    as in evaluation, and its distance from the running mean is tracked as variance. Statistics that are not
    finite are not tracked. They are computed in float32 or better, whatever the dtype of x.

    Raises FieldTypeError for another feature dimension, GeometryError for weights of other points.

    >>> norm = FieldNorm("2x0 + 1x1"); y = norm(5 * torch.randn(8, 100, 4) + 3)
    >>> bool((y[..., :2].mean((0, 1)).abs() < 1e-5).all())
    True
    """

    running_mean: Tensor
    running_power: Tensor

    def __init__(self, field_type: FieldType | str, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.in_type = self.out_type = FieldType(field_type)
        self.momentum, self.eps = momentum, eps
        copies = sum(b.multiplicity for b in self.in_type.blocks)
        invariant = sum(b.multiplicity for b in self.in_type.blocks if self.in_type.is_invariant(b.irrep))
        self.scale = nn.Parameter(torch.ones(copies))
        self.shift = nn.Parameter(torch.zeros(invariant))
        self.register_buffer("running_mean", torch.zeros(invariant))
        self.register_buffer("running_power", torch.ones(copies))

    def forward(
        self, x: Float[Tensor, "*batch n d"], weight: Float[Tensor, "*points"] | None = None
    ) -> Float[Tensor, "*batch n d"]:
        self.in_type.check(x)
        if weight is not None and weight.shape != x.shape[x.ndim - 1 - weight.ndim : -1]:
            raise GeometryError(
                f"weight has shape {list(weight.shape)}, x {list(x.shape)}; give one area per point, [points]"
            )
        with torch.autocast(x.device.type, enabled=False):
            values = x.to(torch.promote_types(x.dtype, torch.float32))
            mean, power = self._moments(values, weight) if self.training else self._running(values)
            scale = self.scale.to(values) * torch.rsqrt(power + self.eps)
            shift = self.shift.to(values) - mean * self._of_invariant(scale)
            return torch.addcmul(self._shift_per_channel(shift), values, self._per_channel(scale)).to(x.dtype)

    def _running(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return copies, since a later step changes the buffers in place before derivatives are computed."""
        if torch.compiler.is_compiling() and self.training:
            return snapshot(self.running_mean).to(like), snapshot(self.running_power).to(like)
        return self.running_mean.to(like, copy=True), self.running_power.to(like, copy=True)

    def _moments(self, x: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return means of invariant channels; their variances, and mean squares per component elsewhere."""
        share, count = _shares(x, weight)
        running_mean, running_power = self._running(x)
        mean = self._mean_per_invariant(_weighted_sum(x, share))
        is_single = count <= 1
        centre = torch.where(is_single, running_mean, mean)
        # E[x²] − E[x]² would lose all digits, and could be negative, where the mean is large
        square = (x - self._shift_per_channel(centre)).square()
        power = self._mean_per_copy(_weighted_sum(square, share))
        track = self._track if torch.compiler.is_compiling() else partial(_Track.apply, self._track)
        track(mean.detach(), power.detach(), count > 0)
        return centre, torch.where(is_single, running_power, power)

    @torch.no_grad()
    def _track(self, mean: Tensor, power: Tensor, has_values: Tensor) -> None:
        new_mean = self.running_mean.to(mean).lerp(mean, self.momentum).to(self.running_mean.dtype)
        new_power = self.running_power.to(power).lerp(power, self.momentum).to(self.running_power.dtype)
        is_valid = new_power.isfinite() & has_values
        mean_is_valid = self._of_invariant(is_valid) & new_mean.isfinite()
        self.running_power.copy_(torch.where(is_valid, new_power, self.running_power))
        self.running_mean.copy_(torch.where(mean_is_valid, new_mean, self.running_mean))

    # A tensor holds one number per channel [D], per copy of an irrep, or per copy of an invariant irrep.

    def _per_channel(self, per_copy: Tensor) -> Tensor:
        parts = per_copy.split([b.multiplicity for b in self.in_type.blocks])
        return torch.cat([p.repeat(b.dim) for p, b in zip(parts, self.in_type.blocks, strict=True)])

    def _shift_per_channel(self, per_invariant: Tensor) -> Tensor:
        """Return one shift per channel, 0 on channels that are not invariant."""
        parts, start = [], 0
        for b in self.in_type.blocks:
            if self.in_type.is_invariant(b.irrep):
                parts.append(per_invariant[start : start + b.multiplicity])
                start += b.multiplicity
            else:
                parts.append(per_invariant.new_zeros(b.dim * b.multiplicity))
        return torch.cat(parts)

    def _mean_per_copy(self, per_channel: Tensor) -> Tensor:
        return torch.cat([b.view(per_channel).mean(0) for b in self.in_type.blocks])

    def _mean_per_invariant(self, per_channel: Tensor) -> Tensor:
        return self._of_invariant(self._mean_per_copy(per_channel))

    def _of_invariant(self, per_copy: Tensor) -> Tensor:
        parts = per_copy.split([b.multiplicity for b in self.in_type.blocks])
        pairs = zip(parts, self.in_type.blocks, strict=True)
        return torch.cat([per_copy[:0], *(p for p, b in pairs if self.in_type.is_invariant(b.irrep))])

    def extra_repr(self) -> str:
        return str(self.in_type)


class _Track(torch.autograd.Function):
    """Calls what tracks statistics with plain numbers, also inside of `torch.func.grad` and such; of examples
    that `vmap` maps over, with their mean.
    """

    @staticmethod
    def forward(track: Callable[..., None], mean: Tensor, power: Tensor, has_values: Tensor) -> Tensor:
        track(mean, power, has_values)
        return mean.new_empty(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, track: Callable[..., None], *values: Tensor) -> tuple[Tensor, None]:
        mean, power, has_values = (
            v if dim is None else v.movedim(dim, 0).to(torch.promote_types(v.dtype, torch.float32)).mean(0)
            for v, dim in zip(values, in_dims[1:], strict=True)
        )
        return _Track.apply(track, mean, power, has_values > 0), None


def _shares(x: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the share of each point of x [..., N, D], a number or of weight's shape; the number of values.

    The shares of all points and examples sum to 1. Both results stay on the device, so nothing waits for it.
    """
    rows = x.numel() // x.shape[-1]
    if weight is None:
        return x.new_full((), 1 / max(rows, 1)), x.new_full((), rows)
    examples = rows // max(weight.numel(), 1)
    total = weight.to(x).sum() * examples
    return weight.to(x) / torch.where(total > 0, total, 1), (weight > 0).sum() * examples


def _weighted_sum(x: Tensor, share: Tensor) -> Tensor:
    """Sum x [..., N, D] with shares, a number, [N] or [..., N], over all axes but the last.

    torch.sum adds products in pairs of pairs; a matrix product would add them one by one.
    """
    if share.ndim == 0:
        return x.flatten(0, -2).sum(0) * share
    examples = tuple(range(x.ndim - 1 - share.ndim))
    x = x.sum(examples) if examples else x
    return (x * share.unsqueeze(-1)).flatten(0, -2).sum(0)
