"""GaugeConv: the steerable convolution on any stencil.

    (k ⋆ f)(p) = 1/(πR²) ∫ K(v) Γ f(exp_p v) dv  over the disc |v| < R in the tangent plane at p
               ≈ Σ_e w_e K(r_e/R, θ_e) rho(g_e) f(source_e)

A stencil lists for each target point p its entries e: a source point, its polar coordinates (r, θ) in the
tangent plane at p, its weight w and the transporter g that carries a feature from the source's frame to p's.
The kernel K is a sum of learnt coefficients times R_ring(r/R) (radial functions) times harmonics of θ.

`gather_reference` computes this sum as it reads. `GaugeConv` computes the same map in the fast form of
`geocnn/ops/gather.py`, whose operators are made in `geocnn/ops/operators.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from geocnn.errors import FieldTypeError, SamplingError
from geocnn.geometry.core.stencil import Stencil
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep, has_complex_structure, rho
from geocnn.groups.radial import RadialBasis, read_radial
from geocnn.nn.kernel_weights import (
    initialise,
    invariant_channels,
    kernel_basis,
    kernel_weights,
    mixing_weights,
    with_bias,
)
from geocnn.nn.linear import real_matrix
from geocnn.ops.gather import check_input, gather
from geocnn.ops.moments import Mix, MomentBasis, angular_kernel
from geocnn.ops.plan import GatherPlan

if TYPE_CHECKING:
    from geocnn.nn.so3_correlation import SO3Correlation


def gather_reference(
    x: Tensor, stencil: Stencil, source: FieldType, target: FieldType, basis: MomentBasis, mix: Mix
) -> Tensor:
    """Evaluate the formula, entry by entry: x [B, n_source, D] -> [B, n_target, D'].

    It is slow, and its memory grows with the number of entries times channels. `x` has the channels of
    `source`, the result those of `target`, and `basis` names the moments between them. For each (target,
    source) pair of irreps `mix` holds the learnt coefficients that mix these moments (`GaugeConv.mix`). The
    bias of a layer is added afterwards. Inputs are not checked.

    >>> import geocnn.geometry as geometry
    >>> layer, stencil = GaugeConv("1x0", "2x1"), geometry.healpix(2).stencil(1.0)
    >>> x = torch.randn(1, 48, 1)
    >>> y = gather_reference(x, stencil.float(), layer.in_type, layer.out_type, layer.basis, layer.mix())
    >>> bool((y - layer(x, stencil.float())).abs().max() < 1e-5)
    True
    """
    t, y = stencil.r / stencil.radius, {}
    for irrep in basis.sources:
        feature = source.select(x, irrep)[:, stencil.source]
        transporter = rho(irrep, basis.group, stencil.angle, stencil.flip).to(x.dtype)
        carried = torch.einsum("eij,bejc->beic", transporter, feature)
        for landing, dim, _, _ in basis.runs(irrep):
            moments = []
            for m in basis.of(irrep, landing):
                radial = basis.radial(t, m.frequency).to(x.dtype)
                angular = angular_kernel(m, basis.group, stencil.theta).to(x.dtype)
                terms = torch.einsum(
                    "e,er,eij,bejc->beirc", stencil.weight.to(x.dtype), radial, angular, carried
                )
                sums = terms.new_zeros(x.shape[0], stencil.n_target, *terms.shape[2:])
                moments.append(sums.index_add(1, stencil.target, terms))
            moments, matrix = torch.stack(moments, 3).flatten(3), real_matrix(mix[landing, irrep])
            if has_complex_structure(landing, target.group):
                mixed = (moments.flatten(2) @ matrix).unflatten(-1, (dim, -1))
            else:
                mixed = moments @ matrix
            y[landing] = y.get(landing, 0) + mixed
    return target.join(y)


class GaugeConv(nn.Module):
    """The convolution above with a learnt kernel that the structure group allows.

    The kernel is a sum of angular harmonics times `rings` radial functions of r/R (3 by default), with learnt
    coefficients; the bias acts on invariant channels only. The same layer runs on every surface, and its
    answer does not depend on frames. `radial` gives other functions than raised cosines, such as
    `geocnn.groups.Bessel(3)`.

        x [..., n_source, D_in], stencil  ->  [..., n_target, D_out]

    `max_frequency` bounds the kernel's angular frequency; finite groups need it.

    The first call on a stencil derives an operator from it and keeps it there.

    Raises FieldTypeError (feature dimension or dtype, different groups, nothing can reach an output irrep),
    GeometryError (number of points), GroupError (the stencil's transporters leave the layer's group) and
    SamplingError (too few samples).

    >>> import geocnn.geometry as geometry
    >>> layer = GaugeConv("1x0", "4x0 + 2x1", rings=3)
    >>> layer(torch.randn(5, 192, 1), geometry.healpix(4).stencil(radius=0.6)).shape
    torch.Size([5, 192, 8])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        rings: int | None = None,
        max_frequency: int | None = None,
        bias: bool = True,
        radial: RadialBasis | None = None,
    ):
        super().__init__()
        self.in_type, self.out_type = FieldType(in_type), FieldType(out_type)
        self.basis = kernel_basis(self.in_type, self.out_type, read_radial(rings, radial), max_frequency)
        self._plan = GatherPlan(self.in_type, self.out_type, self.basis)
        self.weight = kernel_weights(self.basis, self.in_type, self.out_type)
        channels = invariant_channels(self.out_type)
        self.bias = nn.Parameter(torch.zeros(len(channels))) if bias and len(channels) else None
        self.register_buffer("_invariant", channels, persistent=False)
        self.reset_parameters()

    _invariant: Tensor

    def reset_parameters(self) -> None:
        """Draw weights that keep the variance of independent input (`kernel_weights.initialise`); no bias."""
        initialise(self.weight, self.basis, self.in_type, self.out_type)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, stencil: Stencil | None = None) -> Tensor:
        stencil = self._checked(x, stencil)
        y = gather(x.reshape(-1, *x.shape[-2:]), stencil, self._plan, self.mix())
        y = with_bias(y, self.bias, self._invariant)
        return y.reshape(*x.shape[:-2], *y.shape[-2:])

    def mix(self) -> dict[tuple[Irrep, Irrep], Tensor]:
        """Return the weights that mix the moments between each (target, source) pair of irreps."""
        return mixing_weights(self.weight, self.basis, self.in_type, self.out_type)

    def to_harmonic(self, radius: float, lmax: int) -> SO3Correlation:
        """Return the same map on the sphere by harmonics, with the same parameters: see `geocnn.nn.twins`."""
        from geocnn.nn.twins import to_harmonic

        return to_harmonic(self, radius, lmax)

    def _checked(self, x: Tensor, stencil: Stencil | None) -> Stencil:
        stencil = check_input(x, stencil, self.in_type)
        dtype = next(iter(self.weight.values())).dtype
        if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
            raise FieldTypeError(
                f"x is {x.dtype}, the layer's weights are {dtype}; cast one, "
                f"with x.to({dtype}) or layer.double()"
            )
        highest = self.basis.max_frequency
        if stencil.samples is not None and stencil.samples[1] <= 2 * highest:
            raise SamplingError(
                f"kernels of angular frequency {highest} need at least {2 * highest + 1} angles, the stencil "
                f"has samples={stencil.samples}; give samples=({stencil.samples[0]}, {2 * highest + 1}) "
                "or lower max_frequency"
            )
        return stencil

    def extra_repr(self) -> str:
        basis = self.basis
        return f"{self.in_type} -> {self.out_type}, rings={basis.rings}, max_frequency={basis.max_frequency}"
