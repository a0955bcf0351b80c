"""Single errors of layers and models: gauge, anchor and rotation.

A measured function is called as function(x, where), as layers and models are: x [..., N, D], `where` a
`Stencil` or a `Hierarchy`. Its output is a field of `out_type` on the stencil's targets or the hierarchy's
finest level; `out_type` None means that the output is invariant and no field, as an encoder's answer is. The
function must be deterministic: call `model.eval()` if it has dropout. Errors are relative,
‖measured − expected‖₂ / ‖expected‖₂:

- gauge: frames are a free choice, so this error is rounding alone, or something is broken;
- anchor, rotation: these are errors of quadrature and interpolation, which shrink as the grid is refined, or
  something is broken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from geocnn.errors import FieldTypeError, GeocnnError, GeometryError
from geocnn.geometry.core.hierarchy import Hierarchy
from geocnn.geometry.core.stencil import Stencil, gauge_change
from geocnn.geometry.core.surface import Surface
from geocnn.geometry.flat.rectangles import Flat
from geocnn.geometry.spheres.pixels import nside_of
from geocnn.geometry.spheres.surfaces import Sphere
from geocnn.groups.field_type import FieldType
from geocnn.groups.planar import Element, compose, inverse
from geocnn.groups.rotations import random_rotations
from geocnn.groups.wigner import rotate_coefficients
from geocnn.harmonics import analysis, healpix_grid, random_coefficients, synthesis

Geometry = TypeVar("Geometry", Stencil, Hierarchy)
Function = Callable[[Tensor, Geometry], Tensor]


class Deviation(NamedTuple):
    """Relative L2 errors: one per random gauge, anchor or rotation."""

    samples: Float64[Tensor, " n"]

    @property
    def mean(self) -> float:
        """The mean error."""
        return float(self.samples.mean())

    @property
    def max(self) -> float:
        """The largest error."""
        return float(self.samples.max())


class GaugeError(NamedTuple):
    """The errors of the output, and of the gradient by all weights of a random linear functional of it.

    `gradient` is None for a function without weights, for example one that is not a module.
    """

    output: Deviation
    gradient: Deviation | None


def gauge_error(
    function: Function,
    x: Float[Tensor, "*batch n_source d"],
    where: Geometry,
    in_type: FieldType | str,
    out_type: FieldType | str | None,
    generator: torch.Generator,
    gauges: int = 1,
) -> GaugeError:
    """Measure the error under random frames: every frame is turned, and mirrored where the group mirrors.

    Stencils turn with the frames, and so do the input's components; the output's components are turned back
    and compared. A correct layer or network has only rounding: 1e-10 or less in float64, 1e-5 in float32.

    Args:
        function: (x, where) -> y; the gradient is measured where it is a module.
        x: a field of in_type, in the dtype to measure in.
        where: a stencil or a hierarchy.
        in_type: field type of x; frames turn by random elements of its group.
        out_type: field type of y, or None where y is invariant.
        generator: source of randomness, on the CPU.
        gauges: number of random gauges.

    Raises:
        FieldTypeError: x or y does not have the dimension of its type.
        GeocnnError: y is zero everywhere, so no error is relative to it.

    >>> import geocnn.geometry as geometry
    >>> from geocnn.nn import GaugeConv
    >>> x = torch.randn(192, 1, dtype=torch.float64)
    >>> layer, where = GaugeConv("1x0", "2x0 + 1x1").double(), geometry.healpix(4).stencil(0.6)
    >>> error = gauge_error(layer, x, where, "1x0", "2x0 + 1x1", torch.Generator().manual_seed(0))
    >>> error.output.max < 1e-12, error.gradient.max < 1e-12
    (True, True)
    """
    source = FieldType(in_type)
    target = None if out_type is None else FieldType(out_type)
    source.check(x)
    weights = [w for w in function.parameters() if w.requires_grad] if isinstance(function, nn.Module) else []
    expected = function(x, where)
    cotangent = torch.randn(expected.shape, dtype=torch.float64, generator=generator).to(expected)
    expected_gradient = _gradient(expected, cotangent, weights)
    outputs, gradients = [], []
    for _ in range(gauges):
        turned_where, at_source, at_target = _random_gauge(where, source, generator)
        y = function(source.act(x, *at_source), turned_where)
        if target is not None:
            target.check(y)
            y = target.act(y, *inverse(at_target))
        outputs.append(relative(y.detach(), expected.detach()))
        if weights:
            gradients.append(relative(_gradient(y, cotangent, weights), expected_gradient))
    return GaugeError(Deviation(torch.stack(outputs)), Deviation(torch.stack(gradients)) if weights else None)


def anchor_error(
    function: Function,
    x: Float[Tensor, "*batch n d"],
    surface: Surface,
    build: Callable[[Surface], Geometry],
    generator: torch.Generator,
    anchors: int = 1,
) -> Deviation:
    """Measure how much the output changes when every point's sampling grid is turned at random.

    The direction that a sampling grid begins with is its anchor. Frames stay, so outputs are compared as they
    are. A `log` stencil has no grid and no such error.

    Args:
        function: (x, where) -> y.
        x: a field on the surface's points.
        surface: the points; coarser levels that a hierarchy asks it for keep their own anchors.
        build: makes the stencil or hierarchy, for example `lambda s: s.stencil(radius=0.4)`.
        generator: source of randomness, on the CPU.
        anchors: number of random anchors.

    Raises:
        GeocnnError: y is zero everywhere, so no error is relative to it.
        GeometryError: the surface is neither flat nor a sphere.

    >>> import geocnn.geometry as geometry
    >>> from geocnn.nn import GaugeConv
    >>> layer, x = GaugeConv("1x0", "1x1").double(), torch.randn(192, 1, dtype=torch.float64)
    >>> random = torch.Generator().manual_seed(0)
    >>> coarse = anchor_error(layer, x, geometry.healpix(4), lambda s: s.stencil(0.6, samples=(3, 5)), random)
    >>> fine = anchor_error(layer, x, geometry.healpix(4), lambda s: s.stencil(0.6, samples=(3, 50)), random)
    >>> fine.mean < 0.1 * coarse.mean
    True
    """
    with torch.no_grad():
        expected = function(x, build(surface))
        outputs = [function(x, build(reanchored(surface, generator))) for _ in range(anchors)]
    return Deviation(torch.stack([relative(y, expected) for y in outputs]))


def rotation_error(
    function: Function,
    where: Geometry,
    in_type: FieldType | str,
    out_type: FieldType | str | None,
    degree: int,
    generator: torch.Generator,
    rotations: int = 8,
    nested: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Deviation:
    """Measure the error under rotations of the sphere, on HEALPix, for scalar input and output.

    The input has random harmonic coefficients and is rotated exactly, in its spectrum, by Haar rotations R.
    function(R input) is compared with R function(input), where the output is rotated in its own spectrum
    (degree 2 nside, three iterations). One call evaluates the input and all its rotations.

    Args:
        function: (x, where) -> y, x [1 + rotations, npix, channels].
        where: a stencil or a hierarchy of `healpix(nside, nested)`.
        in_type, out_type: invariant channels, for example "4x0"; None where y is an invariant answer, no map.
        degree: the input's largest harmonic degree, every coefficient of unit variance.
        generator: source of randomness, on the CPU.
        rotations: number of rotations.
        nested: the pixels' order.
        dtype: dtype of the input; everything else is float64.

    Raises:
        FieldTypeError: a type has channels that are not invariant, or y does not have its type's dimension.
        MapError: the number of points is not that of a HEALPix sphere.
        GeocnnError: y is zero everywhere, so no error is relative to it.

    >>> import geocnn.geometry as geometry
    >>> from geocnn.nn import GaugeConv
    >>> random = torch.manual_seed(0)
    >>> layer = GaugeConv("1x0", "1x0").double()
    >>> rotation_error(layer, geometry.healpix(8).stencil(0.6), "1x0", "1x0", 4, random).mean < 0.02
    True
    """
    source = _scalars(in_type)
    target = None if out_type is None else _scalars(out_type)
    level = _finest(where)
    alm = random_coefficients(degree, source.dim, generator)
    rotation = random_rotations(rotations, generator)
    rotated_alm = rotate_coefficients(alm, rotation[:, None])
    x = synthesis(torch.cat([alm[None], rotated_alm]), healpix_grid(nside_of(level.n_source), nested)).mT
    with torch.no_grad():
        y = function(x.to(level.device, dtype), where).to("cpu", torch.float64)
    expected = y[:1].expand_as(y[1:])
    if target is not None:
        target.check(y)
        nside = nside_of(y.shape[-2])
        grid = healpix_grid(nside, nested)
        coefficients = analysis(y[0].mT, grid, lmax=2 * nside, iterations=3)
        expected = synthesis(rotate_coefficients(coefficients, rotation[:, None]), grid).mT
    return Deviation(torch.stack([relative(a, b) for a, b in zip(y[1:], expected, strict=True)]))


def relative(y: Tensor, expected: Tensor) -> Float64[Tensor, ""]:
    """Return ‖y − expected‖₂ / ‖expected‖₂ over all entries, summed in float64.

    Raises GeocnnError where `expected` is zero.
    """
    y, expected = (a.to("cpu", torch.promote_types(a.dtype, torch.float64)) for a in (y, expected))
    size = torch.linalg.vector_norm(expected)
    if size == 0:
        raise GeocnnError(
            "the output (or its gradient by the weights) is zero everywhere, so no error is relative to it; "
            "give another input, or initialise the weights"
        )
    return torch.linalg.vector_norm(y - expected) / size


def _gradient(y: Tensor, cotangent: Tensor, weights: list[nn.Parameter]) -> Tensor:
    """Return the gradient of ⟨cotangent, y⟩ by all weights, one vector; 0 for weights without effect on y."""
    if not weights:
        return y.new_zeros(0)
    gradients = torch.autograd.grad((cotangent * y).sum(), weights, allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in gradients])


def _random_gauge(
    where: Geometry, source: FieldType, generator: torch.Generator
) -> tuple[Geometry, Element, Element]:
    """Return `where` in random frames, and how components change at its sources and at its targets."""
    device = _finest(where).device

    def draw(n: int) -> Element:
        alpha, flip = source.group.sample(n, generator)
        return alpha.to(device), None if flip is None else flip.to(device)

    if isinstance(where, Hierarchy):
        alpha, flip = zip(*(draw(s.n_target) for s in where.stencils), strict=True)
        change = gauge_change(alpha[0], flip[0])
        return where.turn_frames(alpha, flip), change, change
    at_source = draw(where.n_source)
    at_target = at_source if where.n_source == where.n_target else draw(where.n_target)
    return where.turn_frames(*at_source, *at_target), gauge_change(*at_source), gauge_change(*at_target)


def reanchored(surface: Surface, generator: torch.Generator) -> Surface:
    """Return the surface in its own frames with the axes of its sampling grids turned by random angles.

    Raises GeometryError where those axes cannot be turned: on a mesh, edges determine them.
    """
    if not isinstance(surface, Flat | Sphere):
        raise GeometryError(
            f"the edges or the cover of a {type(surface).__name__} determine its sampling grids, so "
            "they cannot be turned; compare with more samples, or with a 'log' stencil"
        )
    angle = 2 * torch.pi * torch.rand(surface.n_points, dtype=torch.float64, generator=generator)
    angle = angle.to(surface.anchor)
    anchor, flipped = compose((surface.anchor, surface.flipped), (angle, None))
    c, s = torch.cos(angle)[:, None], torch.sin(angle)[:, None]
    e1, e2 = surface.axes.unbind(1)
    axes = torch.stack([c * e1 + s * e2, c * e2 - s * e1], 1)
    return replace(surface, axes=axes, anchor=anchor, flipped=flipped)


def _finest(where: Stencil | Hierarchy) -> Stencil:
    return where.stencils[0] if isinstance(where, Hierarchy) else where


def _scalars(field_type: FieldType | str) -> FieldType:
    scalars = FieldType(field_type)
    if not all(scalars.is_invariant(irrep) for irrep in scalars.irreps):
        raise FieldTypeError(
            f"rotation errors are measured between invariant channels, got {scalars}; give for example '4x0'"
        )
    return scalars
