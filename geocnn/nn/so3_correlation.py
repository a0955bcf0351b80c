"""SO3Correlation: the equivariant linear maps between fields on the sphere, degree by degree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from geocnn.errors import FieldTypeError, GeometryError
from geocnn.geometry.core.sampling import radial_quadrature
from geocnn.groups.field_type import FieldType
from geocnn.groups.irrep import Irrep
from geocnn.groups.radial import Cosine, RadialBasis, read_radial
from geocnn.groups.wigner import wigner_d_column
from geocnn.harmonics.dense import dense_analysis, dense_synthesis, is_dense
from geocnn.harmonics.fields import conjugate, field_analysis, field_synthesis, sphere_type
from geocnn.harmonics.grid import RingGrid
from geocnn.harmonics.sht import check_grid
from geocnn.nn.kernel_weights import (
    initialise,
    invariant_channels,
    kernel_basis,
    kernel_weights,
    with_bias,
)
from geocnn.ops.gather import at_least_single
from geocnn.ops.moments import MomentBasis

if TYPE_CHECKING:
    from geocnn.nn.gauge_conv import GaugeConv


class _Path(NamedTuple):
    """From a source irrep, or its conjugate, to a target irrep; the kernel's angular frequency; which of the
    moments between them it is.
    """

    target: Irrep
    source: Irrep
    conjugated: bool
    frequency: int
    moment: int

    def profile(self, lmax: int, radial: RadialBasis, radius: float | None) -> Tensor:
        """Return [lmax + 1, rings]: (2/R²) ∫ R_ring(r/R) d^l_mn(r) r dr; free: 1 where l ≥ |m|, |n|."""
        m, n = self.target.frequency, self.source.frequency * (-1 if self.conjugated else 1)
        if radius is None:
            return (torch.arange(lmax + 1) >= max(m, abs(n))).double()[:, None]
        t, weight = _between_knots(radial.pieces(self.frequency), 24 + math.ceil(lmax * radius))
        d = wigner_d_column(lmax, m, n, radius * t)
        return d.mT @ (weight[:, None] * radial(t, self.frequency))


def _between_knots(n: int, order: int) -> tuple[Tensor, Tensor]:
    """Return nodes and weights for ∫₀¹ f(t) 2t dt of functions that are smooth between multiples of 1/n."""
    t, weight = radial_quadrature(order)
    # its weights hold 2t dt
    nodes = (t + torch.arange(n)[:, None]).flatten() / n
    return nodes, (weight / (2 * t)).repeat(n) * 2 * nodes / n


class SO3Correlation(nn.Module):
    """Correlation with a kernel on SO(3), in the harmonic domain of the sphere.

        y^m_lk = Σ_n W^mn_l x^n_lk + V^mn_l (x̄^n)_lk
        x [..., n_points, D_in], grid -> [..., n_points, D_out]

    over all frequencies n of the input, m of the output, degrees l up to `lmax` and orders k; x^n are a
    frequency-n field's spin-n coefficients. Between scalars that is a zonal kernel's correlation on S², from
    scalars to all frequencies S² → SO(3), in general SO(3) → SO(3): the frequencies of a field are the third
    angle of a function on SO(3). By Schur's lemma no other linear map commutes with all rotations (Cohen et
    al. 2018, section 3; Esteves et al. 2020, section 3).

    W and V are free numbers per degree; with `rings` and `radius` they are those of the kernel that GaugeConv
    has with as many rings on a stencil of that radius (radians), and the layer's weights are GaugeConv's:

        W^mn_l = (2/R²) ∫₀ᴿ a(r) d^l_mn(r) r dr         V^mn_l with b(r) and d^l_m,-n

    `radial` gives other radial functions, as in GaugeConv, and takes the place of `rings`. `max_frequency`
    bounds that kernel's angular frequency. The output has degrees up to lmax and lies on
    `out_grid`, by default the input's grid; the bias acts on invariant channels. Under autocast it computes
    in float32, which it also does in half precision.

    Raises FieldTypeError (types, group), GeometryError (rings, radius; lmax the grid cannot carry) and
    MapError (values).

    >>> from geocnn.harmonics import gauss_legendre
    >>> layer = SO3Correlation("1x0", "4x0 + 2x1", lmax=7)
    >>> layer(torch.randn(5, 128, 1), gauss_legendre(8, 16)).shape
    torch.Size([5, 128, 8])
    """

    def __init__(
        self,
        in_type: FieldType | str,
        out_type: FieldType | str,
        lmax: int,
        rings: int | None = None,
        radius: float | None = None,
        max_frequency: int | None = None,
        bias: bool = True,
        radial: RadialBasis | None = None,
    ):
        super().__init__()
        self.in_type, self.out_type = sphere_type(in_type), sphere_type(out_type)
        self.lmax, self.radius = lmax, radius
        is_local = rings is not None or radial is not None
        if is_local != (radius is not None):
            raise GeometryError("a local kernel has both rings and a radius, a free one neither")
        if lmax < self.in_type.max_frequency or lmax < self.out_type.max_frequency:
            raise FieldTypeError(
                f"a field of frequency n has degrees from n on: {self.in_type} -> {self.out_type} needs "
                f"lmax ≥ {max(self.in_type.max_frequency, self.out_type.max_frequency)}, got {lmax}"
            )
        if radius is not None and not 0 < radius <= math.pi:
            raise GeometryError(
                f"a kernel's radius lies between 0 and π radians, got {radius}; divide a length by the "
                "radius of the sphere"
            )
        types = self.in_type, self.out_type
        self.basis = kernel_basis(
            *types, read_radial(rings, radial) if is_local else Cosine(1), max_frequency
        )
        self.weight = kernel_weights(self.basis, *types)
        initialise(self.weight, self.basis, *types)
        if not is_local:
            # these draws are dropped; without them a seed would give other free weights than before
            self.weight = _free(self.weight, self.basis, *types, lmax)
        channels = invariant_channels(self.out_type)
        self.bias = nn.Parameter(torch.zeros(len(channels))) if bias and len(channels) else None
        self.register_buffer("_invariant", channels, persistent=False)
        self._path = {path: k for k, path in enumerate(self._paths())}
        profiles = [path.profile(lmax, self.basis.radial, radius) for path in self._path]
        self.register_buffer("_profiles", torch.stack(profiles), persistent=False)

    _invariant: Tensor
    _profiles: Tensor

    def to_local(self) -> GaugeConv:
        """Return the GaugeConv with this layer's parameters: see `geocnn.nn.twins`."""
        from geocnn.nn.twins import to_local

        return to_local(self)

    def forward(self, x: Tensor, grid: RingGrid, out_grid: RingGrid | None = None) -> Tensor:
        self.in_type.check(x)
        for each in (grid, out_grid or grid):
            check_grid(each)
        x, dtype = at_least_single(x)
        with torch.autocast(x.device.type, enabled=False):
            return self._correlated(x, grid, out_grid or grid).to(dtype)

    def _correlated(self, x: Tensor, grid: RingGrid, out_grid: RingGrid) -> Tensor:
        if is_dense(grid, self.lmax) and is_dense(out_grid, self.lmax):
            y = self._dense(x, grid, out_grid)
        else:
            alm = field_analysis(x, self.in_type, grid, self.lmax)
            y = field_synthesis(self.correlate(alm), self.out_type, out_grid)
        return with_bias(y, self.bias, self._invariant)

    def _dense(self, x: Tensor, grid: RingGrid, out_grid: RingGrid) -> Tensor:
        """Compute the same as `forward`, two to three times as fast on short rings."""
        self.in_type.check(x)
        batch = x.shape[:-2]
        parts = dense_analysis(x.reshape(-1, *x.shape[-2:]), self.in_type, grid, self.lmax)
        dense = torch.bmm(self.real_matrices().to(x.dtype), parts.flatten(2))
        y = dense_synthesis(dense.unflatten(-1, parts.shape[2:]), self.out_type, out_grid)
        return y if len(batch) == 1 else y.unflatten(0, batch) if batch else y[0]

    def correlate(self, alm: Tensor) -> Tensor:
        """Map the coefficients [..., copies, lmax + 1, 2 lmax + 1] of the input to those of the output."""
        parts = alm.split([self.in_type.multiplicity(i) for i in self.in_type.irreps], -3)
        inputs = []
        for irrep, part in zip(self.in_type.irreps, parts, strict=True):
            inputs += [part, conjugate(part, irrep.frequency)] if irrep.frequency else [part]
        stacked = torch.cat(inputs, -3)
        batch = stacked.shape[:-3]
        columns = stacked.flatten(0, -4) if batch else stacked[None]
        # one product a degree: [degree, batch · order, copies] by [degree, copies, copies]
        columns = columns.permute(2, 0, 3, 1)
        outputs = torch.bmm(columns.flatten(1, 2), self.matrices().to(alm.dtype))
        outputs = outputs.unflatten(1, columns.shape[1:3]).permute(1, 3, 0, 2)
        return outputs.reshape(*batch, *outputs.shape[1:])

    def matrices(self) -> Tensor:
        """Return the complex weights [lmax + 1, rows, copies out] per degree.

        The rows are the copies of each input irrep and, but for frequency 0, their conjugates.
        """
        paths = {(p.target, p.source, p.conjugated): p for p in self._path}
        columns = []
        for target in self.out_type.irreps:
            moments, rows = self._moments(target), []
            for source in self.in_type.irreps:
                for conjugated in (False, True)[: 1 + (source.frequency > 0)]:
                    path = paths.get((target, source, conjugated))
                    none = path is None
                    rows.append(self._none(source, target) if none else self._block(path, moments[source]))
            columns.append(torch.cat(rows, 1))
        return torch.cat(columns, 2)

    def real_matrices(self) -> Tensor:
        """Return `matrices` between real functions, [lmax + 1, D_out, D_in], as `dense_analysis` has them."""
        paths = {(p.target, p.source, p.conjugated): p for p in self._path}
        targets = {}
        for target in self.out_type.irreps:
            moments, sources = self._moments(target), {}
            for source in self.in_type.irreps:
                parts = []
                for conjugated in (False, True)[: 1 + (source.frequency > 0)]:
                    path = paths.get((target, source, conjugated))
                    if path is None:
                        parts.append(torch.view_as_real(self._none(source, target)).movedim(-1, 0))
                    else:
                        parts.append(self._parts(path, moments[source]))
                sources[source] = _real_block(source, target, *parts).permute(2, 1, 4, 0, 3)
            targets[target] = self.in_type.join(sources).permute(0, 3, 1, 2)
        return self.out_type.join(targets).mT

    def _none(self, source: Irrep, target: Irrep) -> Tensor:
        first = next(iter(self.weight.values()))
        copies = self.in_type.multiplicity(source), self.out_type.multiplicity(target)
        return first.new_zeros(
            self.lmax + 1, *copies, dtype=torch.promote_types(first.dtype, torch.complex64)
        )

    def _moments(self, target: Irrep) -> dict[Irrep, list[Tensor]]:
        """Return the weights of each source's moments, [parts, rings, copies, copies out]; free ones have the
        degree before that, and one ring.
        """
        sources = [source for source in self.basis.sources for _ in self.basis.of(source, target)]
        sizes = [(self.basis.rings, self.in_type.multiplicity(source)) for source in sources]
        weight = self.weight[str(target)]
        # complex numbers have no half precision
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
        rows = weight.split([math.prod(size) for size in sizes], -2)
        result = {source: [] for source in self.basis.sources}
        for source, size, part in zip(sources, sizes, rows, strict=True):
            result[source].append(part.unflatten(-2, size))
        return result

    def _block(self, path: _Path, moments: list[Tensor]) -> Tensor:
        """[lmax + 1, copies, copies_out]: the weights of a path over its profile."""
        return torch.complex(*self._parts(path, moments).unbind())

    def _parts(self, path: _Path, moments: list[Tensor]) -> Tensor:
        """Return the real and the imaginary part of `_block`."""
        profile = self._profiles[self._path[path]].to(moments[0])

        def kernel(moment: int) -> Tensor:
            rows = moments[moment]
            if rows.ndim == 4:
                return torch.einsum("lr,prio->plio", profile, rows)
            return (profile[:, :, None, None] * rows.squeeze(2)).transpose(0, 1)

        real = kernel(path.moment)
        if path.target.frequency:
            return real
        # the real part of (v − iw) u is v Re u + w Im u
        imaginary = -kernel(path.moment + 1) if path.source.frequency else torch.zeros_like(real)
        return torch.cat([real, imaginary])

    def _paths(self) -> list[_Path]:
        """Return all ways from an input irrep, or its conjugate, to an output irrep."""
        paths = []
        for target in self.out_type.irreps:
            for source in self.basis.sources:
                for k, m in enumerate(self.basis.of(source, target)):
                    conjugated = m.frequency + source.frequency < 0
                    # the second moment of a scalar target is the imaginary part of the first
                    if target.frequency or k == 0:
                        paths.append(_Path(target, source, conjugated, m.frequency, k))
        return paths

    def extra_repr(self) -> str:
        kernel = "" if self.radius is None else f", rings={self.basis.rings}, radius={self.radius:.4g}"
        return f"{self.in_type} -> {self.out_type}, lmax={self.lmax}{kernel}"


def _real_block(source: Irrep, target: Irrep, w: Tensor, v: Tensor | None = None) -> Tensor:
    """Return [components, components out, l, copies, copies out] of two irreps, of parts [2, l, copies,
    copies out] of W and V.

    A field's coefficients are a = -(E + iB), and those of its conjugate -(-1)^n (E - iB).
    """
    if v is None:
        return (-w if target.frequency else w[:1])[None]
    plus, minus = (w - v, w + v) if source.frequency % 2 else (w + v, w - v)
    if target.frequency:
        return torch.stack([plus, torch.stack([-minus[1], minus[0]])])
    return torch.stack([-plus[:1], minus[1:]])


def _free(
    weight: nn.ParameterDict, basis: MomentBasis, in_type: FieldType, out_type: FieldType, lmax: int
) -> nn.ParameterDict:
    """Make weights per degree in place of those of one ring; white input keeps its unit variance."""
    free = nn.ParameterDict()
    for irrep in out_type.irreps:
        power = 0
        for source in basis.sources:
            # a frequency-n field has two components, and a complex weight mixes both
            both = 2 if irrep.frequency and source.frequency else 1
            power += both * len(basis.of(source, irrep)) * in_type.multiplicity(source)
        drawn = torch.randn(lmax + 1, *weight[str(irrep)].shape) / math.sqrt(power)
        free[str(irrep)] = nn.Parameter(drawn)
    return free
