"""One map in two forms: a local layer and its harmonic twin on the sphere share their parameters."""

from __future__ import annotations

from geocnn.errors import FieldTypeError
from geocnn.nn.gauge_conv import GaugeConv
from geocnn.nn.so3_correlation import SO3Correlation


def to_harmonic(layer: GaugeConv, radius: float, lmax: int) -> SO3Correlation:
    """Return the same map on the sphere by harmonics of degree up to lmax, for stencils of that radius.

    Harmonics know angles: `radius` is in radians, a stencil's radius divided by the sphere's. The twin has
    the layer's parameters, not copies, and the two agree as the grid is refined. Raises FieldTypeError for a
    group other than SO(2) and GeometryError for a radius above π.

    >>> to_harmonic(GaugeConv("1x0", "4x0 + 2x1"), radius=0.6, lmax=15).matrices().shape
    torch.Size([16, 1, 6])
    """
    basis, bias = layer.basis, layer.bias is not None
    twin = SO3Correlation(
        *(layer.in_type, layer.out_type, lmax),
        radius=radius,
        max_frequency=basis.max_frequency,
        bias=bias,
        radial=basis.radial,
    )
    twin.weight, twin.bias = layer.weight, layer.bias
    return twin.to(next(layer.parameters()).device)


def to_local(layer: SO3Correlation) -> GaugeConv:
    """Return the GaugeConv with the layer's parameters, for stencils of the layer's radius.

    Raises FieldTypeError where the layer has free weights: no kernel on `rings` has them.
    """
    if layer.radius is None:
        raise FieldTypeError(
            "free weights per degree belong to no kernel on rings; give rings and radius to have one"
        )
    basis, bias = layer.basis, layer.bias is not None
    twin = GaugeConv(
        *(layer.in_type, layer.out_type),
        max_frequency=basis.max_frequency,
        bias=bias,
        radial=basis.radial,
    )
    twin.weight, twin.bias = layer.weight, layer.bias
    return twin.to(next(layer.parameters()).device)
