"""Fields to measure with: noise, smooth functions that are the same on every grid, and ways to move them.

A smooth field is one function, drawn from a seed, which is sampled at a surface's points; on a finer grid it
is the same function. Scalars are sums of waves no shorter than `wavelength`. For frequency n, three such sums
(two on flat surfaces) are the components of a vector v, and z = v·e₁ + i v·e₂ gives zⁿ.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float, Float64
from torch import Tensor

from geocnn.geometry.core.surface import Surface
from geocnn.geometry.flat.rectangles import Flat
from geocnn.groups.field_type import Block, FieldType
from geocnn.groups.wigner import rotate_coefficients
from geocnn.harmonics import RingGrid, analysis, random_coefficients, synthesis

WAVES = 24


def noise(n: int, field_type: FieldType, seed: int) -> Float64[Tensor, "1 {n} {field_type.dim}"]:
    """Draw independent normal numbers: every point differs from its neighbours."""
    return torch.randn(
        1, n, field_type.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def smooth(
    surface: Surface, field_type: FieldType, wavelength: float, seed: int
) -> Float64[Tensor, "1 n {field_type.dim}"]:
    """Draw a smooth field on the surface, in its frames.

    On a flat surface the field is periodic where sides are glued, and vanishes towards open sides, so that a
    move by up to an eighth of the surface pushes nothing out.
    """
    generator = torch.Generator().manual_seed(seed)
    runs = []
    for b in field_type.blocks:
        shape = (b.multiplicity, 1 if b.irrep.frequency == 0 else surface.points.shape[1])
        waves = _waves(surface, wavelength, math.prod(shape), generator).unflatten(-1, shape)
        runs.append(_in_frames(b, waves, surface.frames).flatten(-2))
    x = torch.cat(runs, -1)
    return (x * _inside(surface)[:, None] if isinstance(surface, Flat) else x)[None]


def _waves(
    surface: Surface, wavelength: float, n: int, generator: torch.Generator
) -> Float64[Tensor, "points {n}"]:
    """Return n sums of waves at the points."""
    p = surface.points
    phase = 2 * math.pi * torch.rand(WAVES, n, dtype=torch.float64, generator=generator)
    direction = torch.randn(WAVES, p.shape[1], n, dtype=torch.float64, generator=generator)
    direction = direction / direction.norm(dim=1, keepdim=True)
    if isinstance(surface, Flat):
        size = torch.tensor([surface.shape[1], surface.shape[0]], dtype=torch.float64) * surface.step
        wave = 2 * math.pi * (direction * (size / wavelength)[:, None]).round() / size[:, None]
    else:
        wave = 2 * math.pi / wavelength * direction
    return (torch.einsum("nd,kdc->nkc", p, wave) + phase).cos().sum(1) / math.sqrt(WAVES / 2)


def _in_frames(
    b: Block, waves: Float64[Tensor, "n mul _"], frames: Float64[Tensor, "n 2 _"]
) -> Float64[Tensor, "n dim mul"]:
    """Return a block's components of waves, which are scalars or vectors [d]."""
    if b.irrep.frequency == 0:
        return waves.mT
    z = torch.view_as_complex(torch.einsum("nmd,nkd->nmk", waves, frames).contiguous())
    z = z**b.irrep.frequency
    return z.real[:, None] if b.dim == 1 else torch.stack([z.real, z.imag], 1)


def _inside(s: Flat) -> Float64[Tensor, " n"]:
    """Return a window: 1 in the middle, and smoothly 0 from a quarter before the open sides on."""
    window = torch.ones(s.n_points, dtype=torch.float64)
    for axis, (cells, glued) in enumerate(zip((s.shape[1], s.shape[0]), s.glued, strict=True)):
        if not glued:
            t = (s.points[:, axis] + 0.5) / (cells * s.step)
            window = window * torch.cos(math.pi * (2 * t - 1)).clamp_min(0).square()
    return window


# ---------------------------------------------------------------------- on rings: rotated in the spectrum


def random_spectrum(
    grid: RingGrid, field_type: FieldType, degree: int, rotation: Float64[Tensor, "3 3"], seed: int
) -> tuple[Float64[Tensor, "1 n d"], Float64[Tensor, "1 n d"]]:
    """Draw a random field of harmonic degree `degree`; also return it rotated exactly."""
    generator = torch.Generator().manual_seed(seed)
    runs, rotated_runs = [], []
    for b in field_type.blocks:
        if b.dim == 1:
            alm = random_coefficients(degree, b.multiplicity, generator)
            maps = [synthesis(a, grid).mT for a in (alm, rotate_coefficients(alm, rotation))]
        else:
            n = b.irrep.frequency
            shape = (b.multiplicity, degree + 1, 2 * degree + 1)
            alm = torch.randn(shape, dtype=torch.complex128, generator=generator)
            maps = [_components(synthesis(a, grid, n)) for a in (alm, rotate_coefficients(alm, rotation))]
        runs.append(maps[0])
        rotated_runs.append(maps[1])
    return torch.cat(runs, -1)[None], torch.cat(rotated_runs, -1)[None]


def rotated(
    x: Float[Tensor, "*batch n d"],
    field_type: FieldType,
    rotation: Float64[Tensor, "3 3"],
    grid: RingGrid,
) -> Float[Tensor, "*batch n d"]:
    """Rotate a field in the frames (south, east) in its spectrum.

    Frequency n is spin n. Degrees beyond the grid's largest are lost (on HEALPix, beyond 2 nside).
    """
    lmax, runs = grid.lmax_accurate, []
    for b in field_type.blocks:
        part = b.view(x.to("cpu", torch.float64)).movedim(-3, -1)  # [..., dim, multiplicity, N]
        if b.dim == 1:
            alm = analysis(part[..., 0, :, :], grid, lmax)
            runs.append(synthesis(rotate_coefficients(alm, rotation), grid).mT)
        else:
            n = b.irrep.frequency
            z = torch.complex(part[..., 0, :, :], part[..., 1, :, :])
            alm = analysis(z, grid, lmax, n)
            runs.append(_components(synthesis(rotate_coefficients(alm, rotation), grid, n)))
    return torch.cat(runs, -1).to(x)


def _components(z: Complex[Tensor, "*batch mul n"]) -> Float[Tensor, "*batch n channels"]:
    """Return complex fields as 2 mul real channels, component-major."""
    return torch.cat([z.real, z.imag], -2).mT


# --------------------------------------------------------------------------- on grids: shifted by any length


def shifted(
    y: Float[Tensor, "*batch h w"], by: tuple[float, float], glued: tuple[bool, bool]
) -> Float[Tensor, "*batch h w"]:
    """Shift a grid by (x, y) cells: y'(p) = y(p − by).

    A shift by whole cells copies values; where a side is open, the edge is repeated. A shift by parts of a
    cell is a factor e^{−2πi k·by} in the Fourier transform.
    """
    for axis, amount, closes in ((-1, by[0], glued[0]), (-2, by[1], glued[1])):
        n = y.shape[axis]
        if float(amount).is_integer():
            index = torch.arange(n, device=y.device) - int(amount)
            y = y.index_select(axis, index.remainder(n) if closes else index.clamp(0, n - 1))
        else:
            k = torch.fft.rfftfreq(n, dtype=torch.float64, device=y.device)
            turn = torch.exp(-2j * math.pi * amount * k)
            turn = turn if axis == -1 else turn[:, None]
            y = torch.fft.irfft(torch.fft.rfft(y.double(), dim=axis) * turn, n=n, dim=axis).to(y.dtype)
    return y
